"""Attach the image that is shown and the classes that are read out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Population, Port, Projection
from connectome_compiler.ir.laws import AllToAll
from connectome_compiler.passes.split_flow import stages


@dataclass(frozen=True, slots=True)
class AttachIo:
    """Add an ``image`` population that drives ``inputs``, and ``classes`` read from ``outputs``.

    Both are artificial, connected all to all: no connectome says how an image enters or a class
    leaves. By default the image drives the populations of the first layer in the order of flow,
    and the excitatory population of the last layer is read out. The default sizes are those of the
    paper's task (FER-2013: grey images of 48 x 48 pixels, 7 classes).
    """

    name: ClassVar[str] = "attach-io"

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    channels: int = 1
    height: int = 48  # pixels
    width: int = 48  # pixels
    classes: int = 7

    def __post_init__(self) -> None:
        for field in ("channels", "height", "width", "classes"):
            if getattr(self, field) < 1:
                raise CompileError(
                    f"{self.name}.{field}", f"{getattr(self, field)} is not positive"
                )

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with ports; raise `CompileError` for unknown or doubled populations."""
        if graph.ports:
            raise CompileError(self.name, "the graph has ports already", "use the pass once")
        inputs = self.inputs or first_stage(graph)
        outputs = self.outputs or last_stage(graph)
        if not inputs or not outputs:
            raise CompileError(self.name, "the graph has no neurons to attach them to")
        for field, names in (("inputs", inputs), ("outputs", outputs)):
            for k, name in enumerate(names):
                if graph.population(name).artificial or name in names[:k]:
                    problem = "occurs twice" if name in names[:k] else "is no population of neurons"
                    raise CompileError(f"{self.name}.{field}", f"{name!r} {problem}")
        image = Population("image", (self.channels, self.height, self.width), artificial=True)
        classes = Population("classes", (self.classes,), artificial=True)
        if {"image", "classes"} & {p.name for p in graph.populations}:
            raise CompileError(self.name, "a population is called image or classes already")
        return replace(
            graph,
            populations=(image, *graph.populations, classes),
            projections=(
                *(Projection("image", name, AllToAll(), delay=0) for name in inputs),
                *graph.projections,
                *(Projection(name, "classes", AllToAll(), delay=0) for name in outputs),
            ),
            ports=(Port("image", "image", "in"), Port("classes", "classes", "out")),
        )

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Name where the image enters and the classes leave, and count neurons nothing reaches."""
        shown = ", ".join(p.post for p in after.projections if p.pre == "image")
        read = ", ".join(p.pre for p in after.projections if p.post == "classes")
        yield f"image -> {shown}; {read} -> classes"
        silent = 0
        for population in after.biological:
            reached = np.zeros(population.n_units, np.bool_)
            for p in after.projections:
                if p.post == population.name:
                    law = not isinstance(p.connectivity, Synapses)  # those reach every unit
                    reached[slice(None) if law else p.synapses.post] = True
            silent += int((~reached).sum())
        if silent:
            yield f"{silent:,} neurons have no input left: their activity is constant"


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
