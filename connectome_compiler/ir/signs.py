"""How many connections have a known sign, and for how many it is enforced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import Law
from connectome_compiler.ir.operators import Linear


@dataclass(frozen=True, slots=True)
class SignCount:
    """Chemical connections by their sign; gap junctions have none.

    A sign is known where the data give it, for the connection or for its neuron. It is enforced
    where training cannot change it; an unknown sign never is.
    """

    excitatory: int = 0
    inhibitory: int = 0
    unknown: int = 0
    enforced: int = 0

    @property
    def known(self) -> int:
        """Number of connections whose sign is known."""
        return self.excitatory + self.inhibitory

    @property
    def free(self) -> int:
        """Number of connections whose sign is known, but which training may flip."""
        return self.known - self.enforced

    def __add__(self, other: SignCount) -> SignCount:
        return SignCount(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        total = max(1, self.known + self.unknown)
        return (
            f"{self.known:,} known ({self.excitatory:,} excitatory, {self.excitatory / total:.0%};"
            f" {self.inhibitory:,} inhibitory, {self.inhibitory / total:.0%}),"
            f" {self.enforced:,} enforced, {self.unknown:,} unknown"
        )

    def notes(self) -> Iterator[str]:
        """List which weights are free, and why."""
        if self.unknown:
            yield f"{self.unknown:,} connections have no known sign: their weights are free"
        if self.free:
            what = "connections have a known sign that is not enforced"
            yield f"{self.free:,} {what}: their weights are free"


def count_signs(graph: Graph, projections: Iterable[Projection] | None = None) -> SignCount:
    """Count the signs of ``projections``, by default of all between neurons."""
    total = SignCount()
    for q in graph.connectome if projections is None else projections:
        total += _of_one(graph, q)
    return total


def stated_signs(projections: Iterable[Mapping[str, Any]]) -> SignCount:
    """Return what a module states of these projections."""
    return sum((SignCount(**q["signs"]) for q in projections), SignCount())


def _of_one(graph: Graph, q: Projection) -> SignCount:
    if q.kind == "electrical":
        return SignCount()
    if isinstance(q.connectivity, Law) and not q.weights.polarity:
        bare = graph.population(q.pre).neurons is None or not isinstance(q.operator, Linear)
        if bare or not q.connectivity.has_list:
            return SignCount(unknown=graph.count(q))
    signs = graph.signs(q)
    excitatory, inhibitory = int((signs > 0).sum()), int((signs < 0).sum())
    enforced = excitatory + inhibitory if q.weights.holds_signs else 0
    return SignCount(excitatory, inhibitory, len(signs) - excitatory - inhibitory, enforced)
