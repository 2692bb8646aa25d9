"""Attach an input, channels or an image, and an output to a nervous system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Population, Port, Projection
from connectome_compiler.ir.laws import AllToAll, OneToOne, units
from connectome_compiler.passes._expression import parsed, select, strangers_in
from connectome_compiler.passes.split_flow import stages

AUTO = "auto"
Chosen = dict[str, tuple[int, ...] | None]  # selected units of each population; None is all
How = Literal["linear", "direct"]


@dataclass(frozen=True, slots=True)
class AttachPorts:
    """Add a population ``input`` that drives some neurons, and ``output`` that reads some.

    ``into`` and ``out_of`` select the neurons: an expression on the neuron table, as in
    `select-neurons`. "auto" selects sensory and motor neurons (column role), or all neurons if
    none has that role. ``read_in`` "linear": ``inputs`` channels, each with a weight to every
    selected neuron; "direct": one channel per neuron, its current. ``read_out`` "linear":
    ``outputs`` weighted sums over the selected neurons; "direct": their rates. Direct channels
    are in the order of the neurons.

    With an ``image``, (channels, height, width), the populations are ``image`` and ``classes``, and
    "auto" selects the first layer in the order of flow, and the excitatory neurons of the last.

    Linear read-in and read-out do not represent connections: no connectome says how an image
    enters or a class is read.
    """

    name: ClassVar[str] = "attach-ports"

    inputs: int = 8  #: number of input channels, if read_in is linear and there is no image
    outputs: int = 4  #: number of output channels, or of classes, if read_out is linear
    into: str = AUTO  #: neurons that get input: role == "sensory"; auto: sensory ones, else all
    out_of: str = AUTO  #: neurons that are read: role == "motor"; auto: motor ones, else all
    #: weighted input channels (linear), or one channel per neuron (direct)
    read_in: How = "linear"
    #: weighted sums of rates (linear), or the rates themselves (direct)
    read_out: How = "linear"
    image: tuple[int, ...] = ()  #: channels, height and width in pixels; empty: no image

    def __post_init__(self) -> None:
        sizes = [("inputs", self.inputs), ("outputs", self.outputs)]
        for field, size in (*sizes, *(("image", size) for size in self.image)):
            if size < 1:
                raise CompileError(f"{self.name}.{field}", f"must be positive, not {size}")
        if len(self.image) not in (0, 3):
            problem = f"must be 3 numbers, channels, height and width, not {len(self.image)}"
            raise CompileError(f"{self.name}.image", problem, "such as [1, 48, 48]")
        if self.image and self.read_in == "direct":
            problem = (
                "must be linear with an image, which has a weight to every neuron that sees it"
            )
            raise CompileError(
                f"{self.name}.read_in", problem, "set read_in=linear, or do not set image"
            )
        for where in (self.into, self.out_of):
            if where.strip():
                parsed(where)  # a slip shows before any data are read

    @property
    def _names(self) -> tuple[str, str]:
        """The populations that are added."""
        return ("image", "classes") if self.image else ("input", "output")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with ports; raise `CompileError` if nothing is selected."""
        here, there = self._names
        if graph.ports:
            raise CompileError(self.name, "the graph already has ports", "use the pass once")
        if {here, there} & {p.name for p in graph.populations}:
            raise CompileError(self.name, f"a population is already called {here} or {there}")
        if not graph.n_neurons:
            raise CompileError(self.name, "the graph has no neurons", "keep some")
        driven, read = self._driven(graph), self._read(graph)
        n_in = self.inputs if self.read_in == "linear" else _count(graph, driven)
        n_out = self.outputs if self.read_out == "linear" else _count(graph, read)
        return replace(
            graph,
            populations=(
                Population(here, self.image or (n_in,), artificial=True),
                *graph.populations,
                Population(there, (n_out,), artificial=True),
            ),
            projections=(
                *(
                    Projection(here, name, _law(self.read_in, chosen, channels), delay=0)
                    for name, chosen, channels in _channels(graph, driven, self.read_in)
                ),
                *graph.projections,
                *(
                    Projection(name, there, _law(self.read_out, channels, chosen), delay=0)
                    for name, chosen, channels in _channels(graph, read, self.read_out)
                ),
            ),
            ports=(Port(here, here, "in"), Port(there, there, "out")),
        )

    def _driven(self, graph: Graph) -> Chosen:
        """Return the units that the input drives."""
        if self.into == AUTO and self.image:
            return dict.fromkeys(first_stage(graph))
        return self._selected(graph, "into", self.into, "sensory")

    def _read(self, graph: Graph) -> Chosen:
        """Return the units that the output reads."""
        if self.out_of == AUTO and self.image:
            return dict.fromkeys(last_stage(graph))
        return self._selected(graph, "out_of", self.out_of, "motor")

    def _selected(self, graph: Graph, field: str, where: str, role: str) -> Chosen:
        """Return the units for which ``where`` holds."""
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
        for where, chosen, role, verb, how in (
            (self.into, self._driven(before), "sensory", "driven", self.read_in),
            (self.out_of, self._read(before), "motor", "read", self.read_out),
        ):
            n = _count(after, chosen)
            note = ", through one channel each" if how == "direct" else ""
            if where == AUTO and self.image:
                note += f": {', '.join(chosen)}"
            elif where == AUTO and not _has_role(before, role):
                note += f" (none is known to be {role})"
            yield f"{n:,} of {after.n_neurons:,} neurons are {verb}{note}"
            if where != AUTO:
                yield from strangers_in(before, where)
        reached = {p.name: np.zeros(p.n_units, np.bool_) for p in after.biological}
        for q in after.projections:
            if q.post in reached:
                reached[q.post][_reached(q, len(reached[q.post]))] = True
        if silent := sum(int((~mask).sum()) for mask in reached.values()):
            yield f"{silent:,} neurons have no input: their activity is constant"


def first_stage(graph: Graph) -> tuple[str, ...]:
    """Return the populations of the first cortical layer in the order of flow."""
    return tuple(name for name, stage in stages(graph).items() if stage == 0)


def last_stage(graph: Graph) -> tuple[str, ...]:
    """Return the excitatory populations of the last layer with any, else the last population."""
    stage = stages(graph)
    excitatory = [
        p.name
        for p in graph.biological
        if p.neurons is not None and 1 in p.column("sign").to_pylist()
    ]
    if not excitatory:
        return tuple(p.name for p in graph.biological[-1:])
    last = max(stage[name] for name in excitatory)
    return tuple(name for name in excitatory if stage[name] == last)


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


def _reached(projection: Projection, n: int) -> npt.NDArray[np.integer[Any]] | slice:
    """Return the units of the postsynaptic population, of ``n``, that have an input."""
    law = projection.connectivity
    if isinstance(law, Synapses):
        return law.post
    return units(law.post_units, n, "post") if isinstance(law, AllToAll | OneToOne) else slice(None)


def _count(graph: Graph, chosen: Chosen) -> int:
    return sum(
        graph.population(name).n_units if index is None else len(index)
        for name, index in chosen.items()
    )
