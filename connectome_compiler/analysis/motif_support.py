"""Support for the edges of a motor motif in the worm's connectome.

A motif has cell classes; the worm has cells. `RULES` says which cells stand for the two ends of
each edge, by the name of its weight, and between which cells an edge runs in two steps. The rest is
counted in a data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.weights import Named
from connectome_compiler.registry import find
from connectome_compiler.text import notes

Sides = Mapping[str, str]
MUSCLE_ROWS = (
    24  # of body wall muscles from nose to tail, in each quadrant (23 in the left ventral)
)

# Patterns of the names of cells, by side: dorsal, ventral.
B_TYPE: Sides = {"d": r"DB\d+", "v": r"VB\d+"}
D_TYPE: Sides = {"d": r"DD\d+", "v": r"VD\d+"}
BODY_WALL: Sides = {"d": r"MD[LR]\d+", "v": r"MV[LR]\d+"}
HEAD: Sides = {"d": r"(SMD|SMB|RMD)D[LR]", "v": r"(SMD|SMB|RMD)V[LR]"}
STEERING: Sides = {"d": r"SMDD[LR]", "v": r"SMDV[LR]|RIV[LR]"}
PREMOTOR: Sides = {"d": r"(AVB|PVC)[LR]", "v": r"(AVB|PVC)[LR]"}
WORDS = {
    B_TYPE["d"]: "DB",
    B_TYPE["v"]: "VB",
    D_TYPE["d"]: "DD",
    D_TYPE["v"]: "VD",
    BODY_WALL["d"]: "dorsal body wall muscles",
    BODY_WALL["v"]: "ventral body wall muscles",
    HEAD["d"]: "SMDD, SMBD, RMDD",
    HEAD["v"]: "SMDV, SMBV, RMDV",
    STEERING["d"]: "SMDD",
    STEERING["v"]: "SMDV, RIV",
    PREMOTOR["d"]: "AVB, PVC",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Which cells an edge is about, by the side of its end; ``via`` those of a second path."""

    pre: Sides
    post: Sides
    source: str
    via: Sides | None = None
    crosses: bool = False  # the presynaptic cells are of the other side
    remark: str = ""
    by_synapse: bool = True


RULES: dict[str, Rule] = {
    "prop": Rule(
        B_TYPE,
        B_TYPE,
        "Wen et al. 2012, Neuron 76:750",
        remark="not a synapse: B-type neurons sense the bend ahead themselves; below, what"
        " joins them",
        by_synapse=False,
    ),
    "speed": Rule(
        PREMOTOR,
        B_TYPE,
        "Chalfie et al. 1985, J. Neurosci. 5:956",
        remark="the brake is the motif's own; the worm's command neurons of forward movement drive",
    ),
    "turn": Rule(STEERING, B_TYPE, "Gray et al. 2005, PNAS 102:3184"),
    "osc": Rule(
        HEAD,
        B_TYPE,
        "Fouad et al. 2018, eLife 7:e29913",
        remark="which cells make the rhythm of the head is not settled; here its motor neurons",
    ),
    "ipsi": Rule(B_TYPE, BODY_WALL, "White et al. 1976, Phil. Trans. R. Soc. B 275:327"),
    "contra": Rule(
        B_TYPE,
        BODY_WALL,
        "White et al. 1976, Phil. Trans. R. Soc. B 275:327",
        via=D_TYPE,
        crosses=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Leg:
    """All connections of one kind between two groups of cells.

    ``weight`` is their sum, ``by_cell`` that by presynaptic cell; ``excitatory``, ``inhibitory``
    and ``unsigned`` count connections. Gap junctions count once.
    """

    pre: str
    post: str
    kind: str
    n: int
    weight: float
    unit: str
    excitatory: int
    inhibitory: int
    unsigned: int
    by_cell: tuple[tuple[str, float], ...]

    @property
    def sign(self) -> int:
        """+1 or -1 if most of the connections with a sign have it, else 0."""
        return int(np.sign(self.excitatory - self.inhibitory))

    def __str__(self) -> str:
        noun = ("gap junction" if self.kind == "electrical" else "connection") + "s" * (self.n != 1)
        if self.kind == "chemical":
            marks = (self.excitatory, "+"), (self.inhibitory, "-"), (self.unsigned, "no sign")
            noun += f" ({', '.join(f'{n:,} {mark}' for n, mark in marks if n)})"
        cells = ", ".join(f"{name} {weight:g}" for name, weight in self.by_cell)
        unit = self.unit.removesuffix("s") if self.weight == 1 else self.unit
        return f"{self.pre} -> {self.post}: {self.n:,} {noun}, {self.weight:g} {unit}: {cells}"


@dataclass(frozen=True, slots=True)
class Support:
    """What there is for one edge of a motif; ``paths`` has one or two legs each."""

    name: str  # "contra"
    edge: str  # "B.d->muscle.v"
    polarity: int
    paths: tuple[tuple[Leg, ...], ...]
    source: str
    remark: str = ""
    by_synapse: bool = True
    known: bool = True  # the data set has cells of both ends

    @property
    def signs(self) -> tuple[int, ...]:
        """The sign of each chemical path: the product of its legs'."""
        return tuple(
            int(np.prod([leg.sign for leg in path]))
            for path in self.paths
            if path[0].kind == "chemical"
        )

    @property
    def verdict(self) -> str:
        """In a few words, whether the worm has such an edge."""
        if not self.by_synapse:
            return "not by synapses"
        if not self.known:
            return "unknown: the data set has no such cells"
        if not self.paths:
            return "none"
        if not self.signs:
            return "only gap junctions, which have no sign"
        if self.polarity not in self.signs:
            return "only with another sign"
        chemical = (path for path in self.paths if path[0].kind == "chemical")
        right = [p for p, sign in zip(chemical, self.signs, strict=True) if sign == self.polarity]
        return "direct" if any(len(path) == 1 for path in right) else "in two steps"

    def lines(self) -> list[str]:
        """Return the finding as text."""
        sign = {1: "+", -1: "-"}.get(self.polarity, "?")
        head = f"{self.name:<7} {self.edge:<24} {sign}  {self.verdict} ({self.source})"
        details = [self.remark] if self.remark else []
        for path in self.paths:
            details += [str(leg) for leg in path]
        return [f"  {head}", *notes(details)]


def as_text(graph: Graph, worm: Graph) -> list[str]:
    """Return what the worm has for each edge of the motif, line by line."""
    origin = worm.provenance
    lines = [f"in the worm ({origin.source}, {origin.connectivity}; signs: {origin.signs})"]
    return [*lines, *(line for found in support(graph, worm) for line in found.lines())]


def in_the_worm(graph: Graph) -> list[str]:
    """Return what the worm has for the edges of a motif, if ``graph`` has any, line by line."""
    if not any(isinstance(q.weights, Named) for q in graph.connectome):
        return []
    worm = find("adapter", "celegans")(cells="neurons+muscles").load()
    return ["", *as_text(graph, worm)]


def support(graph: Graph, worm: Graph) -> tuple[Support, ...]:
    """Return for each edge of the motif in ``graph`` what there is for it in ``worm``.

    ``worm`` is a nervous system with muscles, its cells named as in the literature (``DB1``,
    ``MDL07``), such as the adapter ``celegans`` loads with ``cells="neurons+muscles"``. A path in
    two steps is by cells: only what passes through one and the same cell counts.
    """
    cells = _Cells.of(worm)
    found = []
    for q in graph.connectome:
        if not isinstance(q.weights, Named):  # not an edge of the motif
            continue
        name, side = q.weights.name, q.post.rpartition(".")[2]
        rule = RULES.get(name)
        if rule is None or side not in rule.post:
            remark = "no cells of the worm are known to stand for its ends"
            found.append(Support(name, q.key, q.weights.polarity, (), "no rule", remark))
            continue
        pre_side = ({"d": "v", "v": "d"}[side]) if rule.crosses else side
        pre, post = rule.pre[pre_side], rule.post[side]
        paths: list[tuple[Leg, ...]] = [(leg,) for leg in cells.legs(pre, post)]
        if rule.via is not None:
            paths += cells.in_two_steps(pre, rule.via[side], post)
        known = cells.has(pre) and cells.has(post)
        rest = rule.source, rule.remark, rule.by_synapse, known
        found.append(Support(name, q.key, q.weights.polarity, tuple(paths), *rest))
    return tuple(found)


def segment_gains(worm: Graph, n_joints: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return how many synapses B-type neurons make onto the muscles of each joint, mean 1.

    ``{"ipsi.d": (n_joints,), "ipsi.v": (n_joints,)}``, from the head. Body wall muscles stand in 24
    rows from nose to tail; the rows that B-type neurons reach on either side are cut into
    ``n_joints`` equal stretches, a row that two of them share counting for both by its parts. The
    rows before, in the head, have other motor neurons. Raises `CompileError` if there are no such
    synapses.
    """
    if n_joints < 1:
        raise CompileError("n_joints", f"must be at least 1, not {n_joints}")
    cells = _Cells.of(worm)
    weight = {side: np.zeros(MUSCLE_ROWS) for side in B_TYPE}
    for side, rows in weight.items():
        for q, edges, kept in cells.between(B_TYPE[side], BODY_WALL[side]):
            if q.kind == "chemical":
                row = [int(cells.names[k][3:]) - 1 for k in edges.post[kept]]
                np.add.at(rows, row, edges.weight[kept].astype(np.float64))
    reached = np.flatnonzero(sum(weight.values()))
    if any(not rows.any() for rows in weight.values()):
        problem = "has no synapses of DB and VB onto body wall muscles"
        hint = 'use cook2019 or cook2019-male, with cells="neurons+muscles"'
        raise CompileError(worm.provenance.source, problem, hint)
    first, last = reached[0], reached[-1] + 1
    ends = np.linspace(first, last, n_joints + 1)
    gains = {}
    for side, rows in weight.items():
        upto = np.interp(ends, np.arange(MUSCLE_ROWS + 1), np.append(0, np.cumsum(rows)))
        gains[f"ipsi.{side}"] = np.diff(upto) / np.diff(upto).mean()
    return gains


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """A nervous system in one population, its cells by name."""

    graph: Graph
    names: list[str]

    @staticmethod
    def of(worm: Graph) -> _Cells:
        """Take a graph as an adapter loads it; raise `CompileError` for one cut into parts."""
        if len(worm.populations) != 1 or worm.populations[0].neurons is None:
            problem = "is not one population of named cells"
            raise CompileError(worm.provenance.source, problem, "use it as its adapter loads it")
        return _Cells(worm, worm.populations[0].column("neuron_id").to_pylist())

    def _chosen(self, pattern: str) -> npt.NDArray[np.bool_]:
        return np.array([re.fullmatch(pattern, str(name)) is not None for name in self.names])

    def has(self, pattern: str) -> bool:
        """Whether there is such a cell."""
        return bool(self._chosen(pattern).any())

    def between(
        self, pre: str, post: str
    ) -> list[tuple[Projection, Synapses, npt.NDArray[np.bool_]]]:
        """Return the edges of each projection, and which of them join such cells."""
        from_, to = self._chosen(pre), self._chosen(post)
        return [
            (q, q.synapses, from_[q.synapses.pre] & to[q.synapses.post])
            for q in self.graph.projections
        ]

    def legs(self, pre: str, post: str) -> list[Leg]:
        """Return what joins the cells, by kind."""
        found = []
        for q, edges, kept in self.between(pre, post):
            if q.kind == "electrical" and pre == post:  # each junction stands there twice
                kept = kept & (edges.pre < edges.post)
            if kept.any():
                found.append(self._leg(q, edges, kept, WORDS[pre], WORDS[post]))
        return found

    def in_two_steps(self, pre: str, via: str, post: str) -> list[tuple[Leg, Leg]]:
        """Return what leads from cells to others through cells between them, by synapses."""
        found = []
        for (q, edges, first), (_, _, second) in zip(
            self.between(pre, via), self.between(via, post), strict=True
        ):
            passed = np.zeros(len(self.names), np.bool_)
            passed[np.intersect1d(edges.post[first], edges.pre[second])] = True
            if q.kind == "chemical" and passed.any():
                first, second = first & passed[edges.post], second & passed[edges.pre]
                found.append(
                    (
                        self._leg(q, edges, first, WORDS[pre], WORDS[via]),
                        self._leg(q, edges, second, WORDS[via], WORDS[post]),
                    )
                )
        return found

    def _leg(
        self, q: Projection, edges: Synapses, kept: npt.NDArray[np.bool_], pre: str, post: str
    ) -> Leg:
        signs = self.graph.signs(q)[kept]
        weight = edges.weight[kept].astype(np.float64)
        total = np.bincount(edges.pre[kept], weight, minlength=len(self.names))
        cells = sorted(np.flatnonzero(total), key=lambda k: _natural(self.names[k]))
        return Leg(
            pre,
            post,
            q.kind,
            int(kept.sum()),
            float(weight.sum()),
            edges.unit,
            excitatory=int((signs > 0).sum()),
            inhibitory=int((signs < 0).sum()),
            unsigned=int((signs == 0).sum()),
            by_cell=tuple((self.names[k], float(total[k])) for k in cells),
        )


def _natural(name: str) -> tuple[Any, ...]:
    """Sort key: DB2 before DB10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))
