"""Turn numbers of neurons into feature maps: their size and channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isqrt
from typing import ClassVar

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.passes._places import levels, listed, places


@dataclass(frozen=True, slots=True)
class SizeMaps:
    """Make every population a feature map with about as many units as it has neurons.

    The map of an area is ``input_size`` wide and high, halved once for every level in ``halve_at``
    up to that of the area. It has as many channels as its neurons fill, rounded down; the loss is
    reported. An input with n channels becomes a map of ``input_size`` with n channels.
    """

    name: ClassVar[str] = "size-maps"

    input_size: int = 64  #: width and height of the image, in pixels
    halve_at: tuple[int, ...] = (2,)  #: levels of the hierarchy at which maps are halved

    def __post_init__(self) -> None:
        if self.input_size < 1:
            raise CompileError(
                f"{self.name}.input_size", f"must be positive, not {self.input_size}"
            )
        if min(self.halve_at, default=0) < 0:
            problem = f"level {min(self.halve_at)} is negative"
            raise CompileError(f"{self.name}.halve_at", problem, "the first level is 0")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph of maps; raise `CompileError` for sizes that do not fit."""
        neurons = self._neurons(graph)
        halvings = {
            name: sum(at <= level for at in self.halve_at)
            for name, level in levels(self.name, graph).items()
        }
        step = 2 ** max(halvings.values(), default=0)
        # The largest input whose maps have no more positions than there are neurons.
        most = min((isqrt(n) << halvings[name] for name, n in neurons.items()), default=0)
        fits = f"up to {most - most % step} fit" if most >= step else "no size fits"
        if self.input_size % step:
            problem = f"{self.input_size} cannot be halved {step.bit_length() - 1} times"
            hint = f"use a multiple of {step}; {fits} these numbers of neurons"
            raise CompileError(f"{self.name}.input_size", problem, hint)
        sizes = {name: self.input_size >> times for name, times in halvings.items()}
        if small := {name: n for name, n in neurons.items() if n < sizes[name] ** 2}:
            shown = (f"{k} ({n:,} of {sizes[k]} x {sizes[k]})" for k, n in small.items())
            problem = f"no channel for {listed(shown)}: fewer neurons than positions in the map"
            hint = f"set a smaller input_size ({fits}), or add levels to halve_at"
            raise CompileError(f"{self.name}.input_size", problem, hint)

        def sized(p: Population) -> Population:
            if p.artificial:
                return self._input(p)
            size = sizes.get(p.name)
            return replace(p, shape=(neurons[p.name] // size**2, size, size)) if size else p

        return graph.map_populations(sized)

    def _neurons(self, graph: Graph) -> dict[str, int]:
        """Return how many neurons every population stands for."""
        known = places(self.name, graph)
        for p in graph.biological:
            if p.neurons is not None:
                problem = f"population {p.name} has a neuron table: its units are cells, not maps"
                raise CompileError(self.name, problem)
        if lost := [name for name, place in known.items() if place.n_neurons is None]:
            problem = f"the source gives no number of neurons for {listed(lost)}"
            raise CompileError(self.name, problem)
        return {k: place.n_neurons for k, place in known.items() if place.n_neurons is not None}

    def _input(self, p: Population) -> Population:
        if len(p.shape) != 1:
            problem = f"{p.name} has shape {p.shape}, not a number of channels"
            raise CompileError(self.name, problem, "use the pass once")
        return replace(p, shape=(p.shape[0], self.input_size, self.input_size))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Report how many neurons are lost by rounding to whole channels, and where most are."""
        neurons = self._neurons(before)
        lost = {p.name: 1 - p.n_units / neurons[p.name] for p in after.biological}
        total, kept = sum(neurons.values()), after.n_neurons
        most = max(lost, key=lambda name: lost[name])
        yield (
            f"{total:,} neurons -> {kept:,} units, since channels are whole: "
            f"{1 - kept / total:.1%} lost, most in {most}, {lost[most]:.1%}"
        )
        for p in after.biological:
            sides = " x ".join(map(str, p.shape))
            yield f"{p.name}: {sides} for {neurons[p.name]:,} neurons, {lost[p.name]:.1%} lost"
