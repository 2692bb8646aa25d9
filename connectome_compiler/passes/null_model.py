"""Randomise the wiring, preserving what a null model promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Index, Synapses, edge_order
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.provenance import NULL_MODEL, Evidence, Provenance, null_of
from connectome_compiler.passes import _rewire
from connectome_compiler.passes._rewire import Pairs

AXES = ("x_um", "y_um", "z_um")
ONLY = {"swaps": "degrees", "column": "blocks", "bins": "distance"}  # the model of an option
Known = dict[str, npt.NDArray[np.bool_]]  # for each population, which outputs are known, (n_units,)


@dataclass(frozen=True, slots=True)
class NullModel:
    """Replace the connections by random ones; ``model`` says what is exactly preserved.

    "none": everything; nothing is done.
    "degrees": the in- and out-degree of each neuron in each projection. A neuron keeps the weights
    of its outgoing connections, and so their sum. ``swaps`` are proposed per connection.
    "density": the number of connections of each projection.
    "blocks": the number of connections between each pair of groups of neurons, in each projection;
    groups are the values of ``column``, and neurons without a value form a group too.
    "distance": the number of connections in each of ``bins`` bins of the distance between somata,
    which hold equal numbers of them; none becomes longer than the longest.
    "weights": which neurons are connected; only the weights are permuted within each projection.

    All of them preserve neurons and their signs, and in each projection (in each block or bin) the
    set of weights, with their sizes. No pair occurs twice. Autapses and connections from axons
    that were not proofread stay where they are, and none are added. Signs of single connections
    belong to the presynaptic neuron: "degrees" moves them with the connections, "weights" leaves
    them, and the others draw from the signs of that neuron's connections. Electrical connections
    stay symmetric: a junction moves as a whole, and degrees, blocks and bins are those of
    junctions, whichever end is called presynaptic.

    The result depends on ``null_seed`` alone. It is modelled, not measured: the name of the data
    set says which null it is, ``-null-degrees``. It is a control: a build refuses it where it
    changes nothing that the network uses.
    """

    name: ClassVar[str] = NULL_MODEL

    #: what the randomised connections preserve; none: nothing is randomised
    model: Literal["none", "degrees", "density", "blocks", "distance", "weights"] = "none"
    null_seed: int = 0  #: seed of the random connections
    swaps: float = 10.0  #: proposed swaps per connection (degrees)
    column: str = "cell_type"  #: column whose values are the groups (blocks)
    bins: int = 20  #: number of distance bins (distance)

    def __post_init__(self) -> None:
        if self.null_seed < 0:
            raise CompileError(f"{self.name}.null_seed", f"{self.null_seed} is negative")
        if not (isfinite(self.swaps) and self.swaps > 0):
            hint = "10 swaps per connection are usual"
            raise CompileError(
                f"{self.name}.swaps", f"must be positive and finite, not {self.swaps}", hint
            )
        if self.bins < 1:
            raise CompileError(f"{self.name}.bins", f"must be at least 1, not {self.bins}")
        for field in fields(self):
            model = ONLY.get(field.name, self.model)
            if getattr(self, field.name) != field.default and self.model not in (model, "none"):
                problem = f'has no effect with {self.name}.model="{self.model}"'
                hint = f"leave it out, or set {self.name}.model={model}"
                raise CompileError(f"{self.name}.{field.name}", problem, hint)

    @property
    def control(self) -> bool:
        """Whether its network is compared with the one without it."""
        return self.model != "none"

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with random connections; raise `CompileError` if data are missing."""
        if self.model == "none":
            return graph
        for q in graph.connectome:
            if not isinstance(q.operator, Linear):
                problem = "is a convolution: its connections are between channels, not neurons"
                raise CompileError(f"projection {q.key}", problem, f"leave out {self.name}")
        rng = np.random.default_rng(self.null_seed)
        known = _known(graph)
        moved: dict[str, _Moved] = {}
        by_key = {q.key: q for q in graph.connectome}
        for q in graph.connectome:
            if q.key in moved:  # the mirror image of an electrical one
                continue
            moved[q.key] = _Moved.of(q.synapses)
            rows = _movable(known, q)
            post, pre, sign = self._drawn(graph, q, _pairs(known, q), rows, rng)
            moved[q.key].put(rows, post, pre, sign)
            if q.kind == "electrical":
                back = by_key[f"{q.post}->{q.pre}:electrical"]
                moved.setdefault(back.key, _Moved.of(back.synapses))
                turned = edge_order(back.synapses.pre, back.synapses.post)[rows]
                moved[back.key].put(turned, pre, post, None)
        p = graph.provenance
        named = replace(
            p,
            dataset=null_of(p.dataset, self.model),
            title=f"Null model ({self.model}) of {p.title or p.source}",
            connectivity=Evidence.MODELLED,
            made=self._made(p),
        )
        return replace(
            graph.with_projections(
                replace(q, connectivity=moved[q.key].synapses(q.synapses)) if q.key in moved else q
                for q in graph.projections
            ),
            provenance=named,
        )

    def _made(self, before: Provenance) -> str:
        """Say how the connections were made, from data or from an earlier model."""
        control = "this is a null model, a control, not the connectome; its neurons are those of"
        made = f"{control} the data, its {self._words()}"
        return f"{made}; before that, {before.made}" if before.made else made

    def _words(self) -> str:
        how = f"the null model {self.model!r}, null_seed {self.null_seed}"
        return f"connections were randomised by {how}"

    def _drawn(
        self,
        graph: Graph,
        q: Projection,
        pairs: Pairs,
        rows: npt.NDArray[np.intp],
        rng: np.random.Generator,
    ) -> tuple[Index, Index, npt.NDArray[np.int8] | None]:
        """Return the new ends, and signs if there are any, of the connections ``rows``."""
        edges = q.synapses
        post, pre = edges.post[rows], edges.pre[rows]
        sign = None if edges.sign is None else edges.sign[rows]
        ends = graph.population(q.post), graph.population(q.pre)
        if self.model == "weights":
            other = rng.permutation(len(rows))
            return post[other], pre[other], None if sign is None else sign[other]
        if self.model == "degrees":
            return *_rewire.swap_ends(pairs, post, pre, self.swaps, rng), sign
        if self.model == "distance":
            at_post, at_pre = (_positions(self.name, p) for p in ends)
            new = _rewire.scatter_by_distance(pairs, post, pre, at_post, at_pre, self.bins, rng)
        else:
            column = self.column if self.model == "blocks" else None
            group_post, group_pre = (_groups(p, column) for p in ends)
            new = _rewire.scatter(pairs, post, pre, group_post, group_pre, rng)
        drawn = None if edges.sign is None else _signs(edges.pre, edges.sign, new[1], rng)
        return *new, drawn

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Name the model, and count what changed and what could not."""
        if self.model == "none":
            return
        yield self._words()
        total = before.n_connections
        pairs = list(zip(before.connectome, after.connectome, strict=True))
        if self.model == "weights":
            n = sum(int((a.synapses.weight != b.synapses.weight).sum()) for a, b in pairs)
            yield f"{_share(n, total)} have a different weight than in the data"
        else:
            n = sum(_n_new(a.synapses, b.synapses) for a, b in pairs)
            yield f"{_share(n, total)} are not in the data"
        known = _known(before)
        if n := total - sum(len(_movable(known, q, both=True)) for q in before.connectome):
            yield f"{_share(n, total)} stay: autapses, or from axons that were not proofread"
        if self.model == "blocks":
            columns = [p.column(self.column) for p in before.biological if p.neurons is not None]
            if missing := sum(c.null_count for c in columns):
                yield f"{missing:,} neurons without {self.column} form a group of their own"


@dataclass(slots=True, eq=False)
class _Moved:
    """The ends and signs of a projection's connections during randomisation."""

    post: Index
    pre: Index
    sign: npt.NDArray[np.int8] | None

    @classmethod
    def of(cls, edges: Synapses) -> _Moved:
        return cls(
            edges.post.copy(), edges.pre.copy(), None if edges.sign is None else edges.sign.copy()
        )

    def put(
        self,
        rows: npt.NDArray[np.intp],
        post: Index,
        pre: Index,
        sign: npt.NDArray[np.int8] | None,
    ) -> None:
        """Give the connections ``rows`` new ends."""
        self.post[rows], self.pre[rows] = post, pre
        if self.sign is not None and sign is not None:
            self.sign[rows] = sign

    def synapses(self, edges: Synapses) -> Synapses:
        """Return ``edges`` with these ends and signs, in order."""
        return Synapses.from_edges(
            self.post, self.pre, edges.weight, unit=edges.unit, size=edges.size, sign=self.sign
        )


def _known(graph: Graph) -> Known:
    return {p.name: p.has_outputs() for p in graph.populations}


def _movable(known: Known, q: Projection, *, both: bool = False) -> npt.NDArray[np.intp]:
    """Return the connections that may move; of a junction's two, the first, unless ``both``."""
    edges = q.synapses
    able = known[q.pre][edges.pre]
    if q.kind == "electrical":
        able &= known[q.post][edges.post]
    if q.pre == q.post:
        halved = q.kind == "electrical" and not both
        able &= edges.post > edges.pre if halved else edges.post != edges.pre
    return np.flatnonzero(able)


def _pairs(known: Known, q: Projection) -> Pairs:
    able = known[q.post] if q.kind == "electrical" else np.ones_like(known[q.post])
    return Pairs(
        post=np.flatnonzero(able).astype(np.int32),
        pre=np.flatnonzero(known[q.pre]).astype(np.int32),
        n_pre=len(known[q.pre]),
        within=q.pre == q.post,
        mutual=q.pre == q.post and q.kind == "electrical",
    )


def _groups(population: Population, column: str | None) -> npt.NDArray[np.intp]:
    """Return each neuron's group index, by ``column`` (null is a value), or one group for all."""
    if column is None:
        return np.zeros(population.n_units, np.intp)
    encoded = population.column(column).dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.intp)


def _positions(where: str, population: Population) -> npt.NDArray[np.float64]:
    """Return the soma positions in um, shape ``(n_units, 3)``; every neuron must have one."""
    columns = [population.column(axis) for axis in AXES]
    lacking = pc.or_(pc.or_(pc.is_null(columns[0]), pc.is_null(columns[1])), pc.is_null(columns[2]))
    if n := pc.sum(lacking).as_py():
        problem = f"{n:,} of {population.n_units:,} neurons of {population.name} have no position"
        hint = f"select those that have one: {' and '.join(f'{a} is not None' for a in AXES)}"
        raise CompileError(where, problem, hint)
    return np.stack([c.to_numpy(zero_copy_only=False).astype(np.float64) for c in columns], axis=1)


def _signs(
    pre: Index, sign: npt.NDArray[np.int8], new_pre: Index, rng: np.random.Generator
) -> npt.NDArray[np.int8]:
    """Return a sign for each new connection, drawn from those of its presynaptic neuron; 0 if none.

    So a neuron whose connections all have one sign keeps it: Dale's principle is preserved.
    """
    size = np.bincount(pre, minlength=int(new_pre.max(initial=-1)) + 1)
    by_pre = sign[np.argsort(pre, kind="stable")]
    start = np.cumsum(size) - size
    nth = (rng.random(len(new_pre)) * size[new_pre]).astype(np.intp)
    if not len(by_pre):
        return np.zeros(len(new_pre), np.int8)
    drawn = by_pre[np.minimum(start[new_pre] + nth, len(by_pre) - 1)]
    return np.where(size[new_pre] > 0, drawn, 0).astype(np.int8)


def _n_new(before: Synapses, after: Synapses) -> int:
    """Return how many connections of ``after`` are not in ``before``."""
    width = int(max(before.pre.max(initial=0), after.pre.max(initial=0))) + 1
    old, new = (e.post.astype(np.int64) * width + e.pre for e in (before, after))
    return int(np.isin(new, old, assume_unique=True, invert=True).sum())


def _share(n: int, total: int) -> str:
    return f"{n:,} of {total:,} connections ({n / max(total, 1):.1%})"
