"""Remove neurons or connections that an expression selects, as a control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import Mask, keep_connections, keep_neurons
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.passes._edge_list import BOTH
from connectome_compiler.passes._expression import parsed, select, strangers_in
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class Ablate:
    """Remove the neurons for which ``where`` holds, or only their outputs or inputs.

    ``what`` "neurons" removes them with all their connections. "outputs" and "inputs" keep the
    neurons and remove the connections that they send or receive. "connections" removes those from
    neurons for which ``pre`` holds to neurons for which ``post`` holds; an empty expression holds
    for all. Expressions are those of select-neurons.

    ``kind`` says which connections are removed: chemical, electrical or both. A gap junction is
    removed if either of its directions is. Raises `CompileError` if an expression holds for no
    neuron. It is a control: a build refuses it where it changes nothing that the network uses.
    """

    name: ClassVar[str] = "ablate"
    control: ClassVar[bool] = True

    where: str = ""  #: neurons to ablate: cell_type == "AVA"
    #: what is removed: the neurons, their inputs or outputs, or connections by pre and post
    what: Literal["neurons", "inputs", "outputs", "connections"] = "neurons"
    pre: str = ""  #: presynaptic neurons of the connections to remove; empty: all
    post: str = ""  #: postsynaptic neurons of the connections to remove; empty: all
    kind: Literal["chemical", "electrical", "both"] = "both"  #: which connections are removed

    def __post_init__(self) -> None:
        ends = self.what == "connections"
        asked, other = (("pre", "post"), ("where",)) if ends else (("where",), ("pre", "post"))
        if not any(getattr(self, field).strip() for field in asked):
            hint = "say what to ablate: an empty expression would remove everything"
            raise CompileError(f"{self.name}.{asked[0]}", "is empty", hint)
        for field in other:
            if getattr(self, field).strip():
                problem = f'has no effect with {self.name}.what="{self.what}"'
                raise CompileError(f"{self.name}.{field}", problem, f"set {' or '.join(asked)}")
        if self.what == "neurons" and self.kind != "both":
            problem = f'is "{self.kind}", but neurons are removed with all their connections'
            raise CompileError(f"{self.name}.kind", problem, 'set what to "inputs" or "outputs"')
        for field in asked:
            if getattr(self, field).strip():
                parsed(getattr(self, field))  # so that a typo shows before any data are read

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph without them."""
        if self.what == "neurons":
            gone = self._holds(graph, self.where)
            return keep_neurons(graph, {name: ~mask for name, mask in gone.items()})
        pre = self.where if self.what == "outputs" else self.pre
        post = self.where if self.what == "inputs" else self.post
        senders, receivers = self._holds(graph, pre), self._holds(graph, post)
        return keep_connections(
            graph,
            {
                q.key: ~_between(q, senders, receivers)
                for q in graph.connectome
                if self.kind in (q.kind, "both")
            },
        )

    def _holds(self, graph: Graph, expression: str) -> dict[str, Mask]:
        """Return for which neurons of each population an expression holds; empty: for all."""
        if not expression.strip():
            return {p.name: np.ones(p.n_units, np.bool_) for p in graph.biological}
        found = select(self.name, graph, expression)
        return {p.name: found.get(p.name, np.zeros(p.n_units, np.bool_)) for p in graph.biological}

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count what was removed, by kind."""
        if self.what == "neurons":
            yield f"{counted(before.n_neurons - after.n_neurons, 'neuron')} ablated"
        lost = {kind: _count(before, kind) - _count(after, kind) for kind in BOTH}
        words = " and ".join(f"{n:,} {kind}" for kind, n in lost.items())
        yield f"{words} connections ablated; a gap junction counts in both directions"
        for expression in (self.where, self.pre, self.post):
            if expression.strip():
                yield from strangers_in(before, expression)


def _count(graph: Graph, kind: str) -> int:
    return sum(graph.count(q) for q in graph.connectome if q.kind == kind)


def _between(q: Projection, senders: Mapping[str, Mask], receivers: Mapping[str, Mask]) -> Mask:
    """Return which connections run from ``pre`` to ``post`` neurons; gap junctions either way."""
    e = q.synapses
    forth = senders[q.pre][e.pre] & receivers[q.post][e.post]
    if q.kind == "chemical":
        return forth
    return forth | (senders[q.post][e.post] & receivers[q.pre][e.pre])
