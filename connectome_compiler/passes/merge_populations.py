"""Make one population of all neurons again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from connectome_compiler.ir.edit import regroup
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._groups import must_be_name


@dataclass(frozen=True, slots=True)
class MergePopulations:
    """Join all populations into one called ``population``, as a loaded connectome is. Idempotent.

    Neurons keep their order. Raises `CompileError` where populations or projections differ in what
    one of them has in common: node models, delays, weights, units.
    """

    name: ClassVar[str] = "merge-populations"

    population: str = "neurons"  #: name of the population that all become

    def __post_init__(self) -> None:
        must_be_name(f"{self.name}.population", self.population)

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph as one population."""
        return regroup(graph, np.zeros(graph.n_neurons, np.intp), [self.population])

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count what was joined."""
        populations, projections = len(before.biological), len(before.connectome)
        yield f"{populations:,} populations and {projections:,} projections joined"
