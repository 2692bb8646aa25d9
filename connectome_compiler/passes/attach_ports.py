"""Attach the channels through which a nervous system is driven and read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Port, Projection
from connectome_compiler.ir.laws import AllToAll, OneToOne, units
from connectome_compiler.passes._expression import parsed, select, strangers_in

AUTO = "auto"
Chosen = dict[str, tuple[int, ...] | None]  # units of each population that has any; None is all
How = Literal["linear", "direct"]


@dataclass(frozen=True, slots=True)
class AttachPorts:
    """Add a population ``input`` that drives some neurons, and ``output`` that reads some.

    ``into`` and ``out_of`` select the neurons: an expression on the neuron table, as in
    `select-neurons`. "auto" takes sensory and motor neurons (the column role), or all neurons where
    none has that role. ``read_in`` "linear": ``inputs`` channels, each with a weight to every
    selected neuron; "direct": one channel per neuron, its current. ``read_out`` "linear":
    ``outputs`` sums over the selected neurons; "direct": their rates. Direct channels have the
    order of the neurons. What is linear stands for no connection.
    """

    name: ClassVar[str] = "attach-ports"

    inputs: int = 8
    outputs: int = 4
    into: str = AUTO
    out_of: str = AUTO
    read_in: How = "linear"
    read_out: How = "linear"

    def __post_init__(self) -> None:
        for field in ("inputs", "outputs"):
            if getattr(self, field) < 1:
                problem = f"{getattr(self, field)} is not positive"
                raise CompileError(f"{self.name}.{field}", problem)
        for where in (self.into, self.out_of):
            if where.strip():
                parsed(where)  # a slip shows before any data are read

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with ports; raise `CompileError` if nothing is selected."""
        if graph.ports:
            raise CompileError(self.name, "the graph has ports already", "use the pass once")
        if {"input", "output"} & {p.name for p in graph.populations}:
            raise CompileError(self.name, "a population is called input or output already")
        driven = self._selected(graph, "into", self.into, "sensory")
        read = self._selected(graph, "out_of", self.out_of, "motor")
        n_in = self.inputs if self.read_in == "linear" else _count(graph, driven)
        n_out = self.outputs if self.read_out == "linear" else _count(graph, read)
        return replace(
            graph,
            populations=(
                Population("input", (n_in,), artificial=True),
                *graph.populations,
                Population("output", (n_out,), artificial=True),
            ),
            projections=(
                *(
                    Projection("input", name, _law(self.read_in, chosen, channels), delay=0)
                    for name, chosen, channels in _channels(graph, driven, self.read_in)
                ),
                *graph.projections,
                *(
                    Projection(name, "output", _law(self.read_out, channels, chosen), delay=0)
                    for name, chosen, channels in _channels(graph, read, self.read_out)
                ),
            ),
            ports=(Port("input", "input", "in"), Port("output", "output", "out")),
        )

    def _selected(self, graph: Graph, field: str, where: str, role: str) -> Chosen:
        """Return the units that fit ``where``."""
        if not graph.n_neurons:
            raise CompileError(self.name, "the graph has no neurons", "keep some")
        for p in graph.biological:
            if p.neurons is None:
                raise CompileError(f"population {p.name}", "has no neuron table to select from")
        everywhere: Chosen = {p.name: None for p in graph.biological if p.n_units}
        expression = f'role == "{role}"' if where == AUTO else where
        if not expression.strip() or (where == AUTO and not _has_role(graph, role)):
            return everywhere
        found = select(f"{self.name}.{field}", graph, expression)
        return {
            name: None if mask.all() else tuple(np.flatnonzero(mask).tolist())
            for name, mask in found.items()
            if mask.any()
        }

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the neurons that are driven and read, and those that nothing reaches."""
        driven = {p.post: _units(p, "post_units") for p in after.projections if p.pre == "input"}
        read = {p.pre: _units(p, "pre_units") for p in after.projections if p.post == "output"}
        for where, chosen, role, verb in (
            (self.into, driven, "sensory", "driven"),
            (self.out_of, read, "motor", "read"),
        ):
            n = _count(after, chosen)
            known = where != AUTO or _has_role(before, role)
            note = "" if known else f" (none is known to be {role})"
            how = self.read_in if verb == "driven" else self.read_out
            alone = ", through a channel each" if how == "direct" else ""
            yield f"{n:,} of {after.n_neurons:,} neurons are {verb}{alone}{note}"
            if where != AUTO:
                yield from strangers_in(before, where)
        reached = {p.name: np.zeros(p.n_units, np.bool_) for p in after.biological}
        for q in before.connectome:
            reached[q.post][q.synapses.post] = True
        for name, index in driven.items():
            reached[name][units(index, len(reached[name]), "post")] = True
        if silent := sum(int((~mask).sum()) for mask in reached.values()):
            yield f"{silent:,} neurons have no input: they rest at their bias"


def _has_role(graph: Graph, role: str) -> bool:
    return any(role in p.column("role").unique().to_pylist() for p in graph.biological)


def _channels(
    graph: Graph, chosen: Chosen, how: How
) -> Iterator[tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Yield name and units of each population, and the channels that are theirs; None is all."""
    first = 0
    for name, index in chosen.items():
        last = first + _count(graph, {name: index})
        shared = how == "linear" or len(chosen) == 1
        yield name, index, None if shared else tuple(range(first, last))
        first = last


def _law(
    how: How, post: tuple[int, ...] | None, pre: tuple[int, ...] | None
) -> AllToAll | OneToOne:
    return AllToAll(post, pre) if how == "linear" else OneToOne(post, pre)


def _units(projection: Projection, side: str) -> tuple[int, ...] | None:
    law = projection.connectivity
    assert isinstance(law, AllToAll | OneToOne)
    chosen: tuple[int, ...] | None = getattr(law, side)
    return chosen


def _count(graph: Graph, chosen: Chosen) -> int:
    return sum(
        graph.population(name).n_units if index is None else len(index)
        for name, index in chosen.items()
    )
