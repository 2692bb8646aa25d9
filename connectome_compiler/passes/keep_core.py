"""Keep the densely connected core of the network."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._digraph import in_core
from connectome_compiler.passes._edge_list import BOTH, by_population, edge_list
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class KeepCore:
    """Keep the k-core: the largest set in which each neuron has degree ``k`` or more. Idempotent.

    ``degree`` counts connections within the set: the inputs ("in"), the outputs ("out"), or both
    ("total": reciprocal pairs count twice). Chemical and electrical connections count (a gap
    junction is an input and an output), autapses do not. Raises `CompileError` if the core is
    empty (Seidman 1983, Soc. Networks 5:269).
    """

    name: ClassVar[str] = "keep-core"

    k: int = 2  #: smallest degree of a neuron that is kept
    degree: Literal["total", "in", "out"] = "total"  #: which connections of a neuron count

    def __post_init__(self) -> None:
        if self.k < 0:
            raise CompileError(f"{self.name}.k", f"{self.k} is negative")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph of the core."""
        kept = self._core(graph, self.k)
        if graph.n_neurons and not kept.any():
            tried = range(min(self.k, graph.n_connections + 1))  # no degree is higher
            most = bisect_left(tried, True, key=lambda k: not self._core(graph, k).any())
            problem = f"no neuron is in the core of {self.degree} degree {self.k}"
            raise CompileError(f"{self.name}.k", problem, f"the innermost core has k={most - 1}")
        return keep_neurons(graph, by_population(graph, kept))

    def _core(self, graph: Graph, k: int) -> npt.NDArray[np.bool_]:
        edges = edge_list(graph, BOTH).without_autapses()
        ends = {"in": (edges.post, edges.pre), "out": (edges.pre, edges.post)}
        counted = ["in", "out"] if self.degree == "total" else [self.degree]
        return in_core(edges.n, [ends[side] for side in counted], k)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the neurons outside."""
        lost = before.n_neurons - after.n_neurons
        yield f"{counted(lost, 'neuron')} outside the core of {self.degree} degree {self.k} dropped"
