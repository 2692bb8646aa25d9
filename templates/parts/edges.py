"""Connections one by one: what styles of neurons write in the same way, and refuse."""

from __future__ import annotations

import numpy as np

from connectome_compiler.emit.arrays import Arrays
from connectome_compiler.emit.module import shared_sign
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import entries_ptr
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.nodes import Leaky, Swept
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.weights import LowRank, PerConnection, Tied


def connection_arrays(graph: Graph) -> Arrays:
    """Return rows and sources of every projection of the connectome, and signs that differ."""
    _refuse_others(graph)
    arrays: Arrays = {}
    for q in graph.connectome:
        if not isinstance(q.operator, Linear):
            problem = f"is a {type(q.operator).__name__}, which this style has no layer for"
            raise CompileError(f"projection {q.key}", problem, "use the mimetic style")
        n_post, n_pre = graph.shape(q)
        post, pre = q.connectivity.entries(n_post, n_pre)
        arrays[f"{q.key}.ptr"] = entries_ptr(post, n_post)
        arrays[f"{q.key}.pre"] = pre.astype(np.int32)
        if shared_sign(graph, q) is None:
            arrays[f"{q.key}.sign"] = graph.enforced_signs(q)
    return arrays


def _refuse_others(graph: Graph) -> None:
    """Refuse units and weights of a motif, or of another package: there are no layers for them."""
    hint = "use the style that has them: for a motif, ncap"
    for p in graph.populations:
        if not isinstance(p.node, Swept | Leaky):
            problem = f"has {p.node}, which this style has no layer for"
            raise CompileError(f"population {p.name}", problem, hint)
    for q in graph.projections:
        if not isinstance(q.weights, PerConnection | LowRank | Tied):
            problem = f"has {q.weights}, which this style has no layer for"
            raise CompileError(f"projection {q.key}", problem, hint)
