"""Drop neurons without connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._edge_list import BOTH, by_population, edge_list
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class DropUnconnected:
    """Drop neurons without any connection, chemical or electrical. Idempotent.

    Autapses count as connections: run `drop-autapses` first to ignore them.
    """

    name: ClassVar[str] = "drop-unconnected"

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph of the neurons that have a connection."""
        edges = edge_list(graph, BOTH)
        linked = np.zeros(edges.n, np.bool_)
        linked[edges.post] = linked[edges.pre] = True
        return keep_neurons(graph, by_population(graph, linked))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the neurons that were dropped."""
        lost = before.n_neurons - after.n_neurons
        yield f"{counted(lost, 'neuron')} without any connection dropped"
