"""Turn laws into lists of connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import GaussianKernel


@dataclass(frozen=True, slots=True)
class MaterialiseLaws:
    """List the connections of the connectome that laws define: windows, all to all, kernels.

    Each connection has one synapse; those of a Gaussian window have its factor as their weight.
    A random rule has a seed of its own, to which ``seed`` and the index of the projection in the
    graph are added, so that projections with the same rule are drawn independently. Read-in and
    read-out stay laws.

    The weights of a Gaussian kernel are drawn one by one, target channel by source channel by
    position: open where a uniform number is below the probability. ``stream`` "fast" uses one
    generator per projection, seeded with ``seed`` and its index. "legacy" uses one Mersenne
    Twister of numpy for the whole graph, projections in order: seed 2021 draws the masks of the
    published MouseNet code (Shi et al. 2022, PLoS Comput. Biol. 18:e1010427).
    """

    name: ClassVar[str] = "materialise-laws"

    seed: int = 0  #: seed of random connections
    #: generator: one per projection (fast), or that of the published code (legacy)
    stream: Literal["fast", "legacy"] = "fast"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise CompileError(f"{self.name}.seed", f"{self.seed} is negative")
        if self.stream == "legacy" and self.seed >= 2**32:
            problem = f"must be at most {2**32 - 1} for the legacy generator, not {self.seed}"
            raise CompileError(f"{self.name}.seed", problem, "set stream=fast")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with edge lists; existing lists are unchanged."""
        inner = {q.key for q in graph.connectome}
        legacy = np.random.RandomState(self.seed) if self.stream == "legacy" else None
        return graph.with_projections(
            self._listed(graph, q, k, legacy) if q.key in inner else q
            for k, q in enumerate(graph.projections)
        )

    def _listed(
        self, graph: Graph, q: Projection, number: int, legacy: np.random.RandomState | None
    ) -> Projection:
        if isinstance(q.connectivity, Synapses):
            return q
        law = q.connectivity.drawn_anew(self.seed + number)
        generator = legacy or np.random.default_rng([self.seed, number])
        return replace(q, connectivity=law.synapses(*graph.shape(q), generator))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Name the laws, and count their connections."""
        kernels = []
        for q, listed in zip(before.projections, after.projections, strict=True):
            if q is not listed and isinstance(q.connectivity, GaussianKernel):
                kernels.append(listed)  # often many and similar: only their sum is reported
            elif q is not listed:
                n = f"{after.count(listed):,} connections"
                yield f"{q.key}: {q.connectivity.describe()}, {n}"
        if kernels:
            n_open = sum(after.count(q) for q in kernels)
            n_weights = sum(prod(after.shape(q)) for q in kernels)
            yield f"{n_open:,} of {n_weights:,} weights of {len(kernels)} kernels are open"
