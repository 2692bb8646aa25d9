"""Keep the largest connected component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._digraph import weak_or_strong
from connectome_compiler.passes._edge_list import BOTH, by_population, edge_list


@dataclass(frozen=True, slots=True)
class KeepLargestComponent:
    """Keep the largest component and drop all other neurons. Idempotent.

    "weak": neurons joined by connections in any direction; "strong": each reaches every other along
    the direction of connections. Chemical and electrical connections count. Among components of
    equal size the one with the first neuron is kept.
    """

    name: ClassVar[str] = "keep-largest-component"

    #: weakly or strongly connected component
    connection: Literal["weak", "strong"] = "weak"

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph of the largest component."""
        edges = edge_list(graph, BOTH)
        _, component = weak_or_strong(edges.n, edges.pre, edges.post, self.connection)
        size = np.bincount(component, minlength=1)
        return keep_neurons(graph, by_population(graph, component == size.argmax()))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the components, and the neurons of those that were dropped."""
        edges = edge_list(before, BOTH)
        k, _ = weak_or_strong(edges.n, edges.pre, edges.post, self.connection)
        lost = before.n_neurons - after.n_neurons
        yield f"{lost:,} neurons of {max(k - 1, 0):,} smaller {self.connection} components dropped"
