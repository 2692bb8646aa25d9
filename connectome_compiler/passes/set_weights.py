"""Set which connections share weights, and how weights are initialised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.ties import groups, n_weights
from connectome_compiler.ir.weights import LowRank, PerConnection, Tied
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Set which connections share a weight, how weights start, and whether they are trained.

    ``share`` "none": one weight per connection. "type-pair": one per pair of types of neurons
    (``column``), times the connection's synapse count, as in Lappalainen et al. 2024 (Nature
    634:1132). "pre-type": one per type of the presynaptic neuron, times the count. "kernel": one
    per pair of types and offset on a grid (columns u and v), times the count: a convolution.
    Weights are not shared across projections. A gap junction always has the same weight in both
    directions, and no presynaptic side: "pre-type" ties it by both types, "kernel" refuses it.

    ``start`` "uniform": drawn within 1 / sqrt(in-degree), or, of shared weights, so that drives
    vary as much; for gap junctions from 0 to 1 over the number of junctions of the end that has
    more. "weight": the synapse counts, divided by the sum over each neuron's inputs; for gap
    junctions by the larger of the sums at both ends. So the conductances of a neuron add up to at
    most 1, that of the leak. "low-rank": the entries of a random matrix of ``rank`` per projection,
    before signs are applied; gap junctions start as in "uniform". The last two are for weights that
    are not shared. ``trained`` false freezes all weights at their start, as in reservoir computing.
    """

    name: ClassVar[str] = "set-weights"
    counts_enter: ClassVar[Mapping[str, str]] = {"start": "weight", "share": "type-pair"}

    #: which connections share a weight
    share: Literal["none", "type-pair", "pre-type", "kernel"] = "none"
    column: str = "cell_type"  #: column of cell types that share weights
    #: initial weights: uniform, from synapse counts, or from a random low-rank matrix
    start: Literal["uniform", "weight", "low-rank"] = "uniform"
    rank: int = 1  #: rank of the random matrix (low-rank)
    trained: bool = True  #: train the weights; false freezes them at their start

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise CompileError(f"{self.name}.rank", f"must be at least 1, not {self.rank}")
        if self.share != "none" and self.start != "uniform":
            problem = f"must be 'uniform' for shared weights, not {self.start!r}"
            raise CompileError(f"{self.name}.start", problem, "set share=none, or start=uniform")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with the weights of all connections between neurons set."""
        changed = graph.map_connectome(lambda q: replace(q, weights=self._held(q)))
        for q in changed.connectome:
            groups(changed, q)  # raises for columns that are not there
        return changed

    def _held(self, q: Projection) -> PerConnection | LowRank | Tied:
        """Return the new weights of a projection; their signs stay."""
        if not isinstance(q.weights, PerConnection | LowRank | Tied):
            problem = f"has {q.weights}, but this pass applies only to weights of connections"
            raise CompileError(f"projection {q.key}", problem, "leave out set-weights")
        held: dict[str, Any] = {
            "sign": q.weights.sign,
            "polarity": q.weights.polarity,
            "trained": self.trained,
        }
        if self.share != "none":
            return Tied(self.share, self.column, **held)
        if self.start == "low-rank":
            return LowRank(self.rank, **held)
        return PerConnection(start=self.start, **held)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the weights, and the neurons without a type."""
        fate = "" if self.trained else ", frozen"
        connections = counted(after.n_connections, "connection")
        yield f"{counted(n_weights(after), 'weight')} for {connections}{fate}"
        if self.share != "none":
            columns = [p.column(self.column) for p in after.biological]
            if unknown := sum(column.null_count for column in columns):
                yield f"{unknown:,} neurons without {self.column} are treated as one type"
