"""Paths from some neurons to others: how many, and the strongest."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import entries_ptr
from connectome_compiler.ir.graph import Graph
from connectome_compiler.questions.answer import Answer
from connectome_compiler.questions.wiring import Floats, Numbers, Term, Wiring
from connectome_compiler.text import counted

By = Literal["product", "min"]
MOST_STEPS = 12
MOST_TRIED = 1_000_000  # partial paths, before the search for the strongest gives up
# Bound and number of connections, negative, so that of equals the longest comes first; strength so
# far, the connections, and whether they end at a target.
Heap = list[tuple[float, int, float, tuple[int, ...], bool]]
Mask = npt.NDArray[np.bool_]
NOTE = (
    "Paths are of chemical connections without autapses; between its ends a path meets neither"
    " sources nor targets."
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Paths(Answer):
    """Paths from ``sources`` to ``targets`` of at most ``max_steps`` connections.

    ``counts`` has a row for each length: how many ``paths``, and how many targets are ``reached``
    by them or by shorter ones. ``strongest`` has the strongest paths, ``steps`` their connections,
    one row each. Strengths are products of shares of the input of each target, or the least
    weight of a connection; the sign of a path is the product of those of its connections.
    """

    sources: pa.Array  # ids
    targets: pa.Array
    max_steps: int
    by: By
    unit: str
    counts: pa.Table
    strongest: pa.Table
    steps: pa.Table
    complete: bool  # whether the search for the strongest came to its end

    @property
    def shortest(self) -> int | None:
        """The least number of connections that lead from a source to a target; None: too many."""
        able = [row["steps"] for row in self.counts.to_pylist() if row["paths"]]
        return min(able, default=None)

    @property
    def headline(self) -> str:
        """Whether there are any, and how long the shortest is."""
        ends = f"from {_called(self.sources)} to {_called(self.targets)}"
        if (least := self.shortest) is None:
            return f"no path {ends} in at most {counted(self.max_steps, 'step')}"
        total = sum(self.counts.column("paths").to_pylist())
        return (
            f"{_written(total)} {ends} in at most {counted(self.max_steps, 'step')}; "
            f"the shortest takes {counted(least, 'step')}"
        )

    @property
    def tables(self) -> dict[str, pa.Table]:
        """Strongest paths, counts by length, and the connections of the strongest."""
        return {"strongest": self.strongest, "counts": self.counts, "steps": self.steps}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is counted as a path, and how strengths are meant."""
        meant = (
            "the product of what share each connection is of the chemical input of its target"
            if self.by == "product"
            else f"the least weight on the way, in {self.unit}"
        )
        walks = " With 4 steps and more, counts include those that meet a neuron twice."
        gave_up = f" The search for the strongest ended after {MOST_TRIED:,} partial paths."
        more = f"{walks * (self.max_steps > 3)}{gave_up * (not self.complete)}"
        return (f"{NOTE}{more} Strength: {meant}.",)


def paths(
    graph: Graph, sources: Term, targets: Term, max_steps: int, by: By, strongest: int
) -> Paths:
    """Return the paths from ``sources`` to ``targets``; see `Graph.paths`."""
    if by not in ("product", "min"):
        raise UnknownNameError.among("by", str(by), ("product", "min"))
    for name, value, most in (("max_steps", max_steps, MOST_STEPS), ("strongest", strongest, 1000)):
        if not 1 <= value <= most:
            raise CompileError(f"paths.{name}", f"must be between 1 and {most}, not {value}")
    whole = Wiring.of(graph)
    roll = whole.roll
    start, end = roll.find(sources), roll.find(targets)
    received = np.bincount(whole.post, whole.weight, roll.n)
    wired = whole.keep((whole.post != whole.pre) & (whole.weight > 0))
    share = wired.weight / received[wired.post]
    strength = share if by == "product" else wired.weight
    search = _Search.of(wired, strength, start, end, max_steps, by)
    best, complete = search.best(strongest)
    rows = [(rank, strength, edges) for rank, (strength, edges) in enumerate(best, 1)]
    return Paths(
        roll.ids(start),
        roll.ids(end),
        max_steps,
        by,
        wired.unit,
        _counts(wired, start, end, max_steps),
        _listed(wired, rows),
        _steps(wired, share, rows),
        complete,
    )


def _counts(wired: Wiring, start: Numbers, end: Numbers, max_steps: int) -> pa.Table:
    """Count paths by sparse products: one vector for each length, never a matrix of all pairs."""
    matrix = wired.matrix(np.ones(len(wired.post)))
    passing = np.ones(wired.roll.n, np.bool_)
    passing[start] = passing[end] = False
    walks: Floats = np.zeros(wired.roll.n)
    walks[start] = 1.0
    reached = np.zeros(wired.roll.n, np.bool_)
    columns: dict[str, list[float]] = {"steps": [], "paths": [], "targets_reached": []}
    for steps in range(1, max_steps + 1):
        walks = matrix @ walks
        reached[end] |= walks[end] > 0
        columns["steps"].append(steps)
        columns["paths"].append(float(walks[end].sum()))
        columns["targets_reached"].append(int(reached.sum()))
        walks = walks * passing
    return pa.table({**columns, "paths": pa.array(columns["paths"], pa.float64())})


@dataclass(slots=True, eq=False)
class _Search:
    """Best-first search for the strongest paths, with the exact strength of the best remainder."""

    wired: Wiring
    value: Floats
    start: Numbers
    is_end: Mask
    passing: Mask  # neurons that a path may meet between its ends
    ahead: list[Floats]  # [k][i]: the best strength from neuron i to a target in at most k steps
    product: bool
    first: npt.NDArray[np.int32]  # where the connections of each source begin in `order`
    order: Numbers  # connections by presynaptic neuron

    @classmethod
    def of(
        cls, wired: Wiring, value: Floats, start: Numbers, end: Numbers, most: int, by: By
    ) -> _Search:
        n = wired.roll.n
        is_end, passing = np.zeros(n, np.bool_), np.ones(n, np.bool_)
        is_end[end] = True
        passing[start] = passing[end] = False
        order = np.argsort(wired.pre, kind="stable")
        first = entries_ptr(wired.pre, n)
        sends = np.flatnonzero(np.diff(first))
        ahead = [np.zeros(n)]
        post, along = wired.post[order], value[order]
        for _ in range(most):
            onward = np.where(passing, ahead[-1], 0.0)[post]
            onward = along * onward if by == "product" else np.minimum(along, onward)
            best = np.maximum(onward, along * is_end[post])
            reach = np.zeros(n)
            reach[sends] = np.maximum.reduceat(best, first[sends]) if len(sends) else 0.0
            ahead.append(reach)
        return cls(wired, value, start, is_end, passing, ahead, by == "product", first, order)

    def best(self, most: int) -> tuple[list[tuple[float, tuple[int, ...]]], bool]:
        """Return strengths and connections of the strongest paths, and whether these are they.

        They are not if too many partial paths were tried, of which very many are equal in strength.
        """
        top = len(self.ahead) - 1
        heap: Heap = []
        found: list[tuple[float, tuple[int, ...]]] = []
        for number in self.start:
            self._extend(heap, 1.0 if self.product else np.inf, (), int(number), top)
        for _ in range(MOST_TRIED):
            if not heap or len(found) == most:
                return found, True
            _, _, strength, edges, done = heapq.heappop(heap)
            if done:
                found.append((strength, edges))
            else:
                at = int(self.wired.post[edges[-1]])
                self._extend(heap, strength, edges, at, top - len(edges))
        return found, False

    def _extend(
        self,
        heap: Heap,
        strength: float,
        edges: tuple[int, ...],
        at: int,
        left: int,
    ) -> None:
        """Push all continuations of a partial path that can still end at a target."""
        out = self.order[self.first[at] : self.first[at + 1]]
        post, value = self.wired.post[out], self.value[out]
        so_far = strength * value if self.product else np.minimum(strength, value)
        met = {int(self.wired.post[e]) for e in edges}
        for k in np.flatnonzero(self.is_end[post]):
            item = (*edges, int(out[k]))
            heapq.heappush(heap, (-float(so_far[k]), -len(item), float(so_far[k]), item, True))
        hope = self.ahead[left - 1][post] * self.passing[post]
        bound = so_far * hope if self.product else np.minimum(so_far, hope)
        for k in np.flatnonzero(bound > 0):
            if int(post[k]) not in met:
                item = (*edges, int(out[k]))
                heapq.heappush(heap, (-float(bound[k]), -len(item), float(so_far[k]), item, False))


Rows = list[tuple[int, float, tuple[int, ...]]]


def _listed(wired: Wiring, rows: Rows) -> pa.Table:
    names = []
    for _, _, edges in rows:
        numbers = np.array([wired.pre[edges[0]], *wired.post[list(edges)]])
        names.append(" -> ".join(str(v) for v in wired.roll.ids(numbers).to_pylist()))
    return pa.table(
        {
            "rank": pa.array([rank for rank, _, _ in rows], pa.int64()),
            "path": pa.array(names, pa.string()),
            "steps": pa.array([len(edges) for _, _, edges in rows], pa.int64()),
            "strength": pa.array([strength for _, strength, _ in rows], pa.float64()),
            "sign": pa.array([int(np.prod(wired.sign[list(e)])) for _, _, e in rows], pa.int8()),
        }
    )


def _steps(wired: Wiring, share: Floats, rows: Rows) -> pa.Table:
    edges = np.array([e for _, _, along in rows for e in along], np.int64)
    return pa.table(
        {
            "rank": pa.array([rank for rank, _, along in rows for _ in along], pa.int64()),
            "step": pa.array([k + 1 for _, _, a in rows for k in range(len(a))], pa.int64()),
            "pre": wired.roll.ids(wired.pre[edges]),
            "post": wired.roll.ids(wired.post[edges]),
            "weight": wired.weight[edges],
            "share": share[edges],
            "sign": wired.sign[edges],
        }
    )


def _called(ids: pa.Array) -> str:
    return str(ids[0].as_py()) if len(ids) == 1 else counted(len(ids), "neuron")


def _written(total: float) -> str:
    return counted(int(total), "path") if total < 2**53 else f"about {total:.2g} paths"
