"""Merge all populations into one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from connectome_compiler.ir.edit import regroup
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._groups import must_be_name
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class MergePopulations:
    """Merge all populations into one called ``population``, as in a loaded connectome. Idempotent.

    Neurons keep their order. Raises `CompileError` if populations or projections differ in what
    must be common: node models, delays, weights, units.
    """

    name: ClassVar[str] = "merge-populations"

    population: str = "neurons"  #: name of the merged population

    def __post_init__(self) -> None:
        must_be_name(f"{self.name}.population", self.population)

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph as one population."""
        return regroup(graph, np.zeros(graph.n_neurons, np.intp), [self.population])

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count what was merged."""
        populations = counted(len(before.biological), "population")
        yield f"{populations} and {counted(len(before.connectome), 'projection')} merged"
