"""Keep the neurons that an expression selects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._expression import parsed, select, strangers_in


@dataclass(frozen=True, slots=True)
class SelectNeurons:
    """Keep the neurons for which ``where`` holds, and the connections among them. Idempotent.

    ``where`` compares columns of the neuron table: ``region == "V1" and x_um < 500``, or the name
    of the ``population``. Empty: all.
    Raises `CompileError` if no neuron is left.
    """

    name: ClassVar[str] = "select-neurons"

    where: str = ""  #: neurons to keep: region == "V1" and x_um < 500; empty: all

    def __post_init__(self) -> None:
        if self.where.strip():
            parsed(self.where)  # so that a typo shows before any data are read

    def __call__(self, graph: Graph) -> Graph:
        """Return the smaller graph."""
        if not self.where.strip():
            return graph
        return keep_neurons(graph, select(self.name, graph, self.where))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Name the words that occur in no row: they are often misspelt."""
        yield from strangers_in(before, self.where)
