"""All connections of a graph as one edge list, across populations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Index
from connectome_compiler.ir.graph import Graph, Kind

CHEMICAL: tuple[Kind, ...] = ("chemical",)
BOTH: tuple[Kind, ...] = ("chemical", "electrical")


@dataclass(frozen=True, slots=True, eq=False)
class EdgeList:
    """Connections among neurons ``0..n-1``, in any order; arrays of shape ``(n_connections,)``."""

    n: int
    pre: Index
    post: Index
    weight: npt.NDArray[Any]

    def without_autapses(self) -> EdgeList:
        """Return the connections that join two neurons."""
        kept = self.pre != self.post
        return EdgeList(self.n, self.pre[kept], self.post[kept], self.weight[kept])

    def renumbered(self, number: npt.NDArray[np.integer[Any]]) -> EdgeList:
        """Return the same connections, with neuron ``i`` renumbered to ``number[i]``."""
        new = np.asarray(number, np.int32)
        return EdgeList(self.n, new[self.pre], new[self.post], self.weight)


def edge_list(graph: Graph, kinds: Collection[Kind] = CHEMICAL) -> EdgeList:
    """Return the connections of some kinds; neurons are numbered across `Graph.biological`.

    Raises `CompileError` if one of the projections is a law, not an edge list.
    """
    first = starts(graph)
    chosen = [q for q in graph.connectome if q.kind in kinds]
    nothing: list[npt.NDArray[Any]] = [np.zeros(0, np.int32)]
    pre = [q.synapses.pre + first[q.pre] for q in chosen]
    post = [q.synapses.post + first[q.post] for q in chosen]
    return EdgeList(
        graph.n_neurons,
        np.concatenate(pre or nothing, dtype=np.int32),
        np.concatenate(post or nothing, dtype=np.int32),
        np.concatenate([q.synapses.weight for q in chosen] or nothing),
    )


def starts(graph: Graph) -> dict[str, np.int32]:
    """Return the index of each population's first neuron."""
    sizes = [p.n_units for p in graph.biological]
    first = np.cumsum([0, *sizes], dtype=np.int32)
    return {p.name: k for p, k in zip(graph.biological, first, strict=False)}


def by_population(graph: Graph, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Split values of all neurons, shape ``(n_neurons,)``, by population."""
    first = starts(graph)
    return {p.name: values[first[p.name] :][: p.n_units] for p in graph.biological}


def rank_of_ids(graph: Graph) -> npt.NDArray[np.int32]:
    """Return each neuron's rank by id among all neurons, shape ``(n_neurons,)``.

    Results computed with this numbering do not depend on the order of the neuron tables.
    """
    for p in graph.biological:
        if p.neurons is None:
            raise CompileError(f"population {p.name}", "has no neuron table")
    rank = np.empty(graph.n_neurons, np.int32)
    if len(rank):  # empty arrays may be of another type
        ids = [p.column("neuron_id") for p in graph.biological if p.n_units]
        rank[pc.sort_indices(pa.chunked_array(ids)).to_numpy()] = np.arange(len(rank))
    return rank
