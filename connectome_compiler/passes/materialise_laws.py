"""Turn laws into lists of connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Index, Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import GaussianKernel, Window


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
        law = q.connectivity
        if isinstance(law, Synapses):
            return q
        if isinstance(law, Window):
            law = law.drawn_anew(self.seed + number)
        shape = graph.shape(q)
        if isinstance(law, GaussianKernel):
            post, pre = _drawn(law, shape, legacy or np.random.default_rng([self.seed, number]))
        else:
            post, pre = law.entries(*shape)
        if isinstance(law, Window) and law.rule.form == "gaussian":
            factors = np.array(list(law.rule.values(*shape)), np.float64).reshape(-1)
            return replace(q, connectivity=Synapses(post, pre, factors, "factor"))
        return replace(q, connectivity=Synapses(post, pre, np.ones(len(post), np.int32)))

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


def _drawn(
    law: GaussianKernel,
    shape: tuple[int, int],
    generator: np.random.RandomState | np.random.Generator,
) -> tuple[Index, Index]:
    """Return ``(post, pre)`` of the weights that are open, sorted by post, then pre."""
    chance = law.probability().reshape(-1)
    n_post, n_pre = shape
    drawn = generator.random((n_post, n_pre // len(chance), len(chance)))
    post, pre = np.nonzero((drawn < chance).reshape(shape))
    return post.astype(np.int32), pre.astype(np.int32)
