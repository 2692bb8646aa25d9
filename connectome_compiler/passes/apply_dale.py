"""Give every neuron one sign, and count the connections that violate it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import keep_connections, set_column
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.text import counted

Signs = dict[str, npt.NDArray[np.int8]]  # of each population, shape (n_units,); 0 = unknown


@dataclass(frozen=True, slots=True)
class ApplyDale:
    """Apply Dale's principle (Eccles et al. 1954, J. Physiol. 126:524): one sign per neuron.

    A connection violates it if its own sign differs from that of its neuron. Policy "majority":
    the neuron takes the sign of most of its signed connections, and all take that; "drop":
    connections that disagree with the majority are removed; "report": they are counted and kept.
    A neuron's own sign, where known, takes precedence over its connections.

    Weights become ``sign * |w|``, so that training cannot flip them. Connections of unknown sign
    stay free, or are removed with ``unsigned`` "drop". Electrical connections are not affected.
    Idempotent.
    """

    name: ClassVar[str] = "apply-dale"

    #: connections that violate Dale's principle: overruled, dropped, or kept and counted
    policy: Literal["majority", "drop", "report"] = "majority"
    unsigned: Literal["keep", "drop"] = "keep"  #: what to do with connections of unknown sign

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with one sign per neuron, enforced by its weights.

        Raises `CompileError` for convolutions: their channels are not neurons.
        """
        for p in chemical(graph):
            if not isinstance(p.operator, Linear):
                problem = "joins channels, not neurons with a transmitter"
                raise CompileError(f"projection {p.key}", problem, "use sign-channels")
        if self.policy != "report":
            graph = self._one_sign(graph)
        if self.unsigned == "drop":
            graph = keep_connections(graph, {p.key: graph.signs(p) != 0 for p in chemical(graph)})
        return graph.map_connectome(
            lambda q: replace(q, weights=q.weights.holding_signs()) if q.kind == "chemical" else q
        )

    def _one_sign(self, graph: Graph) -> Graph:
        signs = majority(graph)
        if self.policy == "drop":
            graph = keep_connections(graph, {p.key: ~breaks(signs, p) for p in chemical(graph)})
        populations = tuple(
            set_column(p, "sign", pa.array(signs[p.name], mask=signs[p.name] == 0))
            if p.name in signs and p.neurons is not None
            else p
            for p in graph.populations
        )
        # The neuron's sign now says it all. Where votes tie it has none, and its connections are
        # reported as unsigned: nothing in the data tells which of them to believe.
        tables = {p.name for p in graph.populations if p.neurons is not None}
        held = {
            p.key: None if p.pre in tables else signs[p.pre][p.synapses.pre]
            for p in chemical(graph)
        }
        projections = tuple(
            replace(p, connectivity=replace(p.synapses, sign=held[p.key])) if p.key in held else p
            for p in graph.projections
        )
        return replace(graph, populations=populations, projections=projections)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count violations before, and what stays unsigned after."""
        signs = majority(before)
        broken = sum(int(breaks(signs, p).sum()) for p in chemical(before))
        done = {"majority": "overruled", "drop": "dropped", "report": "kept as they are"}
        found = f"{counted(broken, 'connection')} violate{'s' * (broken == 1)} Dale's principle"
        yield found + f" ({done[self.policy]})" * bool(broken)
        if tied := _n_tied(before, signs):
            many = f"{counted(tied, 'neuron')} {'has' if tied == 1 else 'have'} as many excitatory"
            yield f"{many} as inhibitory connections: no sign"
        if self.unsigned == "drop":
            lost = before.n_connections - after.n_connections
            lost -= broken * (self.policy == "drop")
            yield f"{counted(lost, 'connection')} of unknown sign dropped"
        else:
            free = count_signs(after).unknown
            yield (
                f"{counted(free, 'connection')} of unknown sign"
                + "; their weights are free" * bool(free)
            )


def chemical(graph: Graph) -> list[Projection]:
    """Return the projections between neurons that have a transmitter, and so a sign."""
    return [p for p in graph.connectome if p.kind == "chemical"]


def majority(graph: Graph) -> Signs:
    """Return one sign per neuron: its own, else that of most of its signed connections, else 0."""
    votes = {p.name: np.zeros(p.n_units, np.int64) for p in graph.biological}
    for q in chemical(graph):
        if q.synapses.sign is not None:
            np.add.at(votes[q.pre], q.synapses.pre, q.synapses.sign)
    signs: Signs = {}
    for p in graph.biological:
        own = np.zeros(p.n_units, np.int8)
        if p.neurons is not None:
            own = p.column("sign").fill_null(0).to_numpy(zero_copy_only=False)
        signs[p.name] = np.where(own != 0, own, np.sign(votes[p.name])).astype(np.int8)
    return signs


def breaks(signs: Signs, projection: Projection) -> npt.NDArray[np.bool_]:
    """Return which connections of ``projection`` differ in sign from their neuron."""
    own, edges = projection.synapses.sign, projection.synapses
    if own is None:
        return np.zeros(len(edges.pre), np.bool_)
    of_neuron = signs[projection.pre][edges.pre]
    broken: npt.NDArray[np.bool_] = (own != 0) & (of_neuron != 0) & (own != of_neuron)
    return broken


def _n_tied(graph: Graph, signs: Signs) -> int:
    """Count the neurons that have signed connections but no majority."""
    voted = {p.name: np.zeros(p.n_units, np.bool_) for p in graph.biological}
    for q in chemical(graph):
        if q.synapses.sign is not None:
            voted[q.pre][q.synapses.pre[q.synapses.sign != 0]] = True
    return sum(int((voted[name] & (signs[name] == 0)).sum()) for name in voted)
