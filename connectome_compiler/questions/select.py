"""The graph of some neurons."""

from __future__ import annotations

import contextlib
import json

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes.select_neurons import SelectNeurons
from connectome_compiler.questions.wiring import Roll, Term, is_expression


def select(graph: Graph, which: Term) -> Graph:
    """Return the graph of the neurons that ``which`` names; see `Graph.select`."""
    roll = Roll.of(graph)
    terms = [which] if isinstance(which, str | int) else list(which)
    if len(terms) == 1 and is_expression(str(terms[0])):
        return graph.run(SelectNeurons(str(terms[0])))
    numbers = roll.find(terms)
    if not len(numbers):
        raise CompileError("select", "no neurons are named", "name one, or give an expression")
    where = " or ".join(dict.fromkeys(_expression(roll, str(term)) for term in terms))
    return graph.run(SelectNeurons(where))


def _expression(roll: Roll, term: str) -> str:
    """Return the expression of `select-neurons` that finds what a term names."""
    numbers, quoted = roll.find(term), json.dumps(term, ensure_ascii=False)
    candidates = [f"cell_type == {quoted}", f"population == {quoted}"]
    if is_expression(term):
        candidates.append(f"({term})")
    for where in candidates:
        with contextlib.suppress(CompileError):  # there are none
            if np.array_equal(roll.find(where), numbers):
                return where
    ids = (json.dumps(i, ensure_ascii=False) for i in roll.ids(numbers).to_pylist())
    return " or ".join(f"neuron_id == {i}" for i in ids)
