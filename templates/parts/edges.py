"""Connections one by one: what styles of neurons write in the same way, and refuse."""

from __future__ import annotations

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.nodes import Leaky, Swept
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.weights import LowRank, PerConnection, Tied


def refuse_others(graph: Graph) -> None:
    """Refuse units, weights and operators that there are no layers of neurons for."""
    for q in graph.connectome:
        if not isinstance(q.operator, Linear):
            problem = f"is a {type(q.operator).__name__}, which this style has no layer for"
            raise CompileError(f"projection {q.key}", problem, "use the mimetic style")
    hint = "use the style that has them: for a motif, ncap"
    for p in graph.populations:
        if not isinstance(p.node, Swept | Leaky):
            problem = f"has {p.node}, which this style has no layer for"
            raise CompileError(f"population {p.name}", problem, hint)
    for q in graph.projections:
        if not isinstance(q.weights, PerConnection | LowRank | Tied):
            problem = f"has {q.weights}, which this style has no layer for"
            raise CompileError(f"projection {q.key}", problem, hint)
