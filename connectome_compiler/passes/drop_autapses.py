"""Remove autapses, the connections of neurons onto themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from connectome_compiler.ir.edit import keep_connections
from connectome_compiler.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class DropAutapses:
    """Remove autapses; keep all neurons. Idempotent.

    In electron microscopy most of them are segmentation errors, so they are commonly excluded
    (Schneider-Mizell et al. 2025, Nature 640:448).
    """

    name: ClassVar[str] = "drop-autapses"

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph without autapses."""
        kept = {
            p.key: p.synapses.post != p.synapses.pre for p in graph.connectome if p.pre == p.post
        }
        return keep_connections(graph, kept)
