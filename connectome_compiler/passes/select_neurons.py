"""Keep the neurons that an expression describes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._expression import matches, parsed, strangers


@dataclass(frozen=True, slots=True)
class SelectNeurons:
    """Keep the neurons for which ``where`` holds, and the connections among them. Idempotent.

    ``where`` compares columns of the neuron table: ``region == "V1" and x_um < 500``. Empty: all.
    Raises `CompileError` if no neuron is left.
    """

    name: ClassVar[str] = "select-neurons"

    where: str = ""

    def __post_init__(self) -> None:
        if self.where.strip():
            parsed(self.where)  # a slip shows before any data are read

    def __call__(self, graph: Graph) -> Graph:
        """Return the smaller graph."""
        if not self.where.strip():
            return graph
        kept = {
            p.name: matches(p.neurons, self.where)
            for p in graph.biological
            if p.neurons is not None
        }
        if not any(np.any(mask) for mask in kept.values()):
            problem = f"no neuron of {graph.n_neurons:,} fits {self.where!r}"
            said = "; ".join(self.report(graph, graph))
            raise CompileError(self.name, problem, said or "ccompile inspect shows the columns")
        return keep_neurons(graph, kept)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Name the words that occur nowhere: most are misspelt."""
        tables = [p.neurons for p in before.biological if p.neurons is not None]
        if self.where.strip() and tables:
            yield from strangers(pa.concat_tables(tables, promote_options="permissive"), self.where)
