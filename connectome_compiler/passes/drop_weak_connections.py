"""Remove connections below a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import keep_connections
from connectome_compiler.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class DropWeakConnections:
    """Remove connections weaker than ``min_weight``; keep all neurons. Idempotent.

    The weight is in the source's unit (synapses in MICrONS); real weights count by magnitude.
    """

    name: ClassVar[str] = "drop-weak-connections"

    #: smallest weight that is kept, in the source's unit (synapses in MICrONS)
    min_weight: float = 2

    def __post_init__(self) -> None:
        if not 0 <= self.min_weight < float("inf"):
            raise CompileError(
                f"{self.name}.min_weight", f"must be finite and at least 0, not {self.min_weight}"
            )

    def __call__(self, graph: Graph) -> Graph:
        """Return the thinned graph."""
        kept = {p.key: np.abs(p.synapses.weight) >= self.min_weight for p in graph.connectome}
        return keep_connections(graph, kept)
