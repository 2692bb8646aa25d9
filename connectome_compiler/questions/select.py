"""The graph of some neurons."""

from __future__ import annotations

from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes.select_neurons import SelectNeurons
from connectome_compiler.questions.wiring import Roll, Term, is_expression


def select(graph: Graph, which: Term) -> Graph:
    """Return the graph of the neurons that ``which`` names; see `Graph.select`."""
    if isinstance(which, str) and is_expression(which):
        return graph.run(SelectNeurons(which))
    roll = Roll.of(graph)
    ids = roll.ids(roll.find(which)).to_pylist()
    return graph.run(SelectNeurons(f"neuron_id in ({', '.join(map(repr, ids))},)"))
