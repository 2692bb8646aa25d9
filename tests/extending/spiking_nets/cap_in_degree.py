"""Keep the strongest inputs of each neuron."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph, Synapses
from connectome_compiler.ir.edit import keep_connections


@dataclass(frozen=True, slots=True)
class CapInDegree:
    """Keep at most ``most`` connections onto each neuron, the strongest; of equals the first."""

    name: ClassVar[str] = "cap-in-degree"

    most: int = 4  #: connections onto each neuron

    def __post_init__(self) -> None:
        if self.most < 1:
            raise CompileError(f"{self.name}.most", f"must be at least 1, not {self.most}")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with fewer connections."""
        return keep_connections(graph, {q.key: self._kept(q.synapses) for q in graph.connectome})

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count what was dropped."""
        yield f"{before.n_connections - after.n_connections:,} connections dropped"

    def _kept(self, edges: Synapses) -> npt.NDArray[np.bool_]:
        order = np.lexsort((edges.pre, -np.abs(edges.weight), edges.post))
        post = edges.post[order]
        rank = np.arange(len(post)) - np.searchsorted(post, post)  # among those onto one neuron
        kept = np.zeros(len(post), np.bool_)
        kept[order] = rank < self.most
        return kept
