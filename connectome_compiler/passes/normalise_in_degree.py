"""Scale in-degrees so that neurons of every population have the same number of inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import fsum, isfinite
from typing import ClassVar

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import GaussianLaw

Target = tuple[str, bool]  # population, and whether the projection is feedback


@dataclass(frozen=True, slots=True)
class NormaliseInDegree:
    """Scale the in-degrees of Gaussian laws so that they sum to ``total`` for every target.

    Projections that act within a sweep and those that act on the previous sweep (feedback) sum to
    ``total`` separately. A law with a peak is a measured probability, and is not scaled. 1,000 is
    the placeholder of Shi et al. 2022 (PLoS Comput. Biol. 18:e1010427): the relative numbers of
    sources are measured, their sum is not.
    """

    name: ClassVar[str] = "normalise-in-degree"

    total: float = 1000.0  #: number of inputs of each target neuron, summed over projections

    def __post_init__(self) -> None:
        if not (isfinite(self.total) and self.total > 0):
            raise CompileError(
                f"{self.name}.total", f"must be positive and finite, not {self.total}"
            )

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with scaled laws."""
        sums = _sums(graph)
        return graph.with_projections(
            replace(q, connectivity=replace(law, in_degree=law.in_degree * self.total / sums[t]))
            if (t := _target(q)) and isinstance(law := q.connectivity, GaussianLaw)
            else q
            for q in graph.projections
        )

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Report the sum of in-degrees of each target before scaling."""
        number = defaultdict[Target, int](int)
        for q in before.projections:
            if target := _target(q):
                number[target] += 1
        for target, found in _sums(before).items():
            back = " of feedback" if target[1] else ""
            laws = f"{number[target]} projection{'s' * (number[target] > 1)}{back}"
            yield f"{target[0]}: {laws} of in-degree {found:,.6g}, now {self.total:,.6g}"


def _target(q: Projection) -> Target | None:
    """Return the sum to which the in-degree of ``q`` belongs; None if it is not scaled."""
    law = q.connectivity
    return (q.post, q.delay > 0) if isinstance(law, GaussianLaw) and law.peak is None else None


def _sums(graph: Graph) -> dict[Target, float]:
    degrees = defaultdict[Target, list[float]](list)
    for q in graph.projections:
        if (target := _target(q)) and isinstance(q.connectivity, GaussianLaw):
            degrees[target].append(q.connectivity.in_degree)
    return {target: fsum(found) for target, found in degrees.items()}
