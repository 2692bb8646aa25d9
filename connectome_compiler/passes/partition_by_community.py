"""Split a connectome into communities: groups with more connections within than between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import set_column
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.passes._digraph import weak_or_strong
from connectome_compiler.passes._edge_list import EdgeList, by_population, edge_list, rank_of_ids
from connectome_compiler.passes._groups import into_groups, sizes

REST = "rest"


@dataclass(frozen=True, slots=True)
class PartitionByCommunity:
    """Make one population per community: ``community1`` (the largest), ``community2``, ...

    The Louvain algorithm (Blondel et al. 2008, J. Stat. Mech. P10008) maximises the modularity of
    chemical connections, weighted by the magnitude of their weights: directed (Dugué & Perez
    2015), or with ``directed`` false that of Newman 2006 (PNAS 103:8577), on the connections of
    both directions together. Disconnected communities, which it can produce (Traag et al. 2019,
    Sci. Rep. 9:5233), are split, which also raises the modularity. A higher ``resolution``
    gives more communities. Those of fewer than ``smallest`` neurons form the population ``rest``;
    the column ``community`` keeps them all apart, numbered from 1.

    Needs scikit-network, in the extra [graph]. Equal graphs and seeds give equal communities,
    whatever the order of the neurons. Populations get no stage: communities have no order of flow.
    """

    name: ClassVar[str] = "partition-by-community"

    resolution: float = 1.0  #: resolution of the modularity: a higher value gives more communities
    directed: bool = True  #: use the direction of connections
    smallest: int = 2  #: smallest community that becomes a population
    seed: int = 0  #: seed of the algorithm

    def __post_init__(self) -> None:
        if not (isfinite(self.resolution) and self.resolution > 0):
            raise CompileError(
                f"{self.name}.resolution", f"must be positive, not {self.resolution}"
            )
        if not 0 <= self.seed < 2**32:
            raise CompileError(f"{self.name}.seed", f"{self.seed} is outside 0..{2**32 - 1}")

    def __call__(self, graph: Graph) -> Graph:
        """Return the partitioned graph; raise `CompileError` if there are no connections."""
        rank = rank_of_ids(graph)
        edges = edge_list(graph).renumbered(rank)
        if not np.any(edges.weight):
            raise CompileError(
                self.name, "no chemical connection has a weight: there are no communities"
            )
        label = self._found(edges)[rank]
        size = np.bincount(label)
        columns = by_population(graph, label + 1)

        def labelled(p: Population) -> Population:
            return set_column(p, "community", pa.array(columns[p.name], pa.int32()))

        graph = graph.map_populations(lambda p: p if p.artificial else labelled(p))
        n_large = int((size >= self.smallest).sum())  # communities are numbered by size
        names = [*(f"community{k + 1}" for k in range(n_large)), REST]
        return into_groups(self.name, graph, np.minimum(label, n_large), names)

    def _found(self, edges: EdgeList) -> npt.NDArray[np.intp]:
        """Return each neuron's community, ordered by size, then by first neuron."""
        clustering = _sknetwork()
        from scipy.sparse import csr_matrix

        # Not its Leiden (0.33.5): that draws from C's rand(), whatever the seed, and compares sums
        # of float32 with 0, so that on some networks it never ends.
        method = clustering.Louvain(
            resolution=self.resolution,
            modularity="dugue" if self.directed else "newman",
            shuffle_nodes=True,
            return_probs=False,
            return_aggregate=False,
            random_state=self.seed,
        )
        weight = np.abs(edges.weight).astype(np.float64)
        matrix = csr_matrix((weight, (edges.pre, edges.post)), (edges.n, edges.n))
        if not self.directed:
            matrix = matrix + matrix.T
        label = method.fit_predict(matrix)
        within = (label[edges.pre] == label[edges.post]) & (weight > 0)
        _, label = weak_or_strong(edges.n, edges.pre[within], edges.post[within], "weak")
        _, first, size = np.unique(label, return_index=True, return_counts=True)
        number = np.empty(len(size), np.intp)
        number[np.lexsort((first, -size))] = np.arange(len(size))
        return number[label]

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """List the populations and their modularity, and count merged communities."""
        yield from sizes(after)
        edges = edge_list(after)
        sizes_after = [p.n_units for p in after.biological]
        label = np.repeat(np.arange(len(sizes_after)), sizes_after)
        value = modularity(edges, label, self.resolution, directed=self.directed)
        which = "directed" if self.directed else "undirected"
        yield f"{which} modularity of the populations {value:.4f}, at resolution {self.resolution}"
        for p in after.biological:
            if p.name == REST:
                merged = len(p.column("community").unique())
                yield f"{merged:,} communities of fewer than {self.smallest} neurons in {REST}"


def modularity(
    edges: EdgeList, label: npt.NDArray[np.intp], resolution: float, *, directed: bool
) -> float:
    """Return the fraction of weight within groups, minus that expected from in- and out-weights.

    ``sum_c (w_c / w - resolution out_c in_c / w^2)``; undirected, each direction counts half.
    """
    weight = np.abs(edges.weight).astype(np.float64)
    weight /= weight.max(initial=0.0) or 1.0  # squares of very small weights would be 0
    pre, post, k = label[edges.pre], label[edges.post], int(label.max(initial=-1)) + 1
    out, into = np.bincount(pre, weight, k), np.bincount(post, weight, k)
    by_chance = out * into if directed else ((out + into) / 2) ** 2
    total = weight.sum()
    return float(weight[pre == post].sum() / total - resolution * by_chance.sum() / total**2)


def _sknetwork() -> Any:
    try:
        from sknetwork import clustering
    except ImportError as error:
        hint = "pip install -c constraints.txt '.[graph]'"
        problem = "needs scikit-network, which is not installed"
        raise CompileError(PartitionByCommunity.name, problem, hint) from error
    return clustering
