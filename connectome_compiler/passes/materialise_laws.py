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
    """List the connections of the connectome that are given by a law: windows, all to all, kernels.

    Each becomes a connection of one synapse; those of a Gaussian window get its factor as their
    weight. A rule that draws has a seed of its own: ``seed`` is added to it, and the number of the
    projection in the graph, so that projections of one rule are drawn independently. Read-in and
    read-out stay laws.

    The weights of a Gaussian kernel are drawn one by one, target channel by source channel by
    position: open where a uniform number is below the probability. ``stream`` "fast" has a
    generator for every projection, of ``seed`` and its number. "legacy" has one old generator of
    numpy (Mersenne Twister) for the whole graph, projections in their order: seed 2021 draws the
    masks of the published MouseNet code (Shi et al. 2022, PLoS Comput. Biol. 18:e1010427).
    """

    name: ClassVar[str] = "materialise-laws"

    seed: int = 0
    stream: Literal["fast", "legacy"] = "fast"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise CompileError(f"{self.name}.seed", f"{self.seed} is negative")
        if self.stream == "legacy" and self.seed >= 2**32:
            problem = f"{self.seed} is above {2**32 - 1}, the last of the legacy generator"
            raise CompileError(f"{self.name}.seed", problem, "set stream=fast")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with edge lists; what is a list already stays as it is."""
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
        """Name the laws, and count what came of them."""
        kernels = []
        for q, listed in zip(before.projections, after.projections, strict=True):
            if q is not listed and isinstance(q.connectivity, GaussianKernel):
                kernels.append(listed)  # often many, and alike: their sum will do
            elif q is not listed:
                n = f"{after.count(listed):,} connections"
                yield f"{q.key}: {q.connectivity.describe()}, {n}"
        if kernels:
            n_open = sum(after.count(q) for q in kernels)
            n_weights = sum(prod(after.shape(q)) for q in kernels)
            yield f"{n_open:,} of {n_weights:,} weights of {len(kernels)} kernels are open"
