"""Turn laws into lists of connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.window import Window


@dataclass(frozen=True, slots=True)
class MaterialiseLaws:
    """List the connections of the connectome that are given by a law: windows, all to all.

    Each becomes a connection of one synapse; those of a Gaussian window get its factor as their
    weight. A rule that draws has a seed of its own: ``seed`` is added to it, and the number of the
    projection in the graph, so that projections of one rule are drawn independently. Read-in and
    read-out stay laws.
    """

    name: ClassVar[str] = "materialise-laws"

    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise CompileError(f"{self.name}.seed", f"{self.seed} is negative")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with edge lists; what is a list already stays as it is."""
        inner = {q.key for q in graph.connectome}
        return graph.with_projections(
            self._listed(graph, q, k) if q.key in inner else q
            for k, q in enumerate(graph.projections)
        )

    def _listed(self, graph: Graph, q: Projection, number: int) -> Projection:
        law = q.connectivity
        if isinstance(law, Synapses):
            return q
        if isinstance(law, Window):
            law = law.drawn_anew(self.seed + number)
        shape = graph.shape(q)
        post, pre = law.entries(*shape)
        if isinstance(law, Window) and law.rule.form == "gaussian":
            factors = np.array(list(law.rule.values(*shape)), np.float64).reshape(-1)
            return replace(q, connectivity=Synapses(post, pre, factors, "factor"))
        return replace(q, connectivity=Synapses(post, pre, np.ones(len(post), np.int32)))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Name the laws, and count what came of them."""
        for q, listed in zip(before.projections, after.projections, strict=True):
            if q is not listed:
                n = f"{after.count(listed):,} connections"
                yield f"{q.key}: {q.connectivity.describe()}, {n}"
