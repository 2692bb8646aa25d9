"""The connections of a graph as modules hold them: computed once, for all that write them down.

`statement` has the counts and hashes, `emit` the arrays and the state, a style's template the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connectome_compiler.ir.connectivity import Index, Synapses
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph, Kind, Projection
from connectome_compiler.ir.signs import SignCount, count_signs
from connectome_compiler.ir.ties import Groups, groups, is_mirror, scale
from connectome_compiler.ir.weights import PerConnection, Tied

Floats = npt.NDArray[np.float32]
Sums = dict[str, npt.NDArray[np.float64]]  # of each neuron, by population


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The connections of one projection between neurons, sorted by post, then pre.

    Arrays have an item for each connection, ``start`` one for each weight. What is None holds for
    no connection: each has a weight of its own, acts by that alone, starts at what is drawn.
    """

    projection: Projection
    n_post: int  # of units, or of a convolution's channels
    n_pre: int
    post: Index
    pre: Index
    enforced: npt.NDArray[np.int8]  # the sign that a weight must keep, 0 where it is free
    sign: int | None  # of all; None where they differ
    signs: SignCount
    group: Groups | None  # index of the weight
    scale: Floats | None  # by what a shared weight is multiplied
    start: Floats | None
    indices_sha256: str
    signs_sha256: str
    groups_sha256: str | None
    scale_sha256: str | None
    start_sha256: str | None

    @property
    def key(self) -> str:
        """The key of the projection."""
        return self.projection.key

    @property
    def n_weights(self) -> int:
        """Number of weights: a shared one counts once."""
        if self.group is not None:
            return int(self.group.max(initial=-1)) + 1
        return len(self.post) * self.projection.operator.area


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A graph, and the connections of each projection between its neurons, by key."""

    graph: Graph
    edges: Mapping[str, Edges]

    @property
    def signs(self) -> SignCount:
        """The signs of all connections."""
        return sum((edges.signs for edges in self.edges.values()), SignCount())


def lower(graph: Graph) -> Lowered:
    """Return what modules of ``graph`` hold; raise `CompileError` where nothing is drawn yet."""
    started = {q.kind for q in graph.connectome if _starts_from_data(q)}
    received = {kind: _received(graph, kind) for kind in started}
    return Lowered(graph, {q.key: _edges(graph, q, received) for q in graph.connectome})


def _edges(graph: Graph, q: Projection, received: Mapping[Kind, Sums]) -> Edges:
    n_post, n_pre = graph.shape(q)
    post, pre = q.connectivity.entries(n_post, n_pre)
    enforced = graph.enforced_signs(q).astype(np.int8)
    group = groups(graph, q) if isinstance(q.connectivity, Synapses) else None
    factor = scale(q) if isinstance(q.weights, Tied) else None
    start = _start(q, group, received[q.kind]) if _starts_from_data(q) else None
    return Edges(
        q,
        n_post,
        n_pre,
        post,
        pre,
        enforced,
        _shared(enforced),
        count_signs(graph, [q]),
        group,
        factor,
        start,
        array_digest(post.astype(np.int32), pre.astype(np.int32)),
        array_digest(enforced),
        *(None if a is None else array_digest(a) for a in (group, factor, start)),
    )


def _shared(signs: npt.NDArray[np.int8]) -> int | None:
    """Return the sign that all connections share, 0 if there are none, or None if they differ."""
    if not len(signs):
        return 0
    low, high = int(signs.min()), int(signs.max())
    return low if low == high else None


def _received(graph: Graph, kind: str) -> Sums:
    """Return the summed size of the connections of one kind onto each neuron."""
    sums = {p.name: np.zeros(p.n_units) for p in graph.biological}
    for q in graph.connectome:
        if q.kind == kind:
            size, n_post = np.abs(q.synapses.weight), len(sums[q.post])
            sums[q.post] += np.bincount(q.synapses.post, size, n_post)
    return sums


def _starts_from_data(q: Projection) -> bool:
    """Whether its weights start at the numbers of its connections, and are not its mirror's."""
    own = isinstance(q.weights, PerConnection) and q.weights.start == "weight"
    return own and not is_mirror(q)


def _start(q: Projection, group: Groups | None, received: Sums) -> Floats:
    """Return where weights start: a connection's own number, over the sum that its target receives.

    Gap junctions are divided by the larger of the sums at both ends, so that they stay symmetric.
    """
    own = q.synapses.weight.astype(np.float64)
    total = received[q.post][q.synapses.post]
    if q.kind == "electrical":
        total = np.maximum(total, received[q.pre][q.synapses.pre])
    if group is not None:
        _, first = np.unique(group, return_index=True)
        own, total = own[first], total[first]
    start = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
    return start.astype(np.float32)
