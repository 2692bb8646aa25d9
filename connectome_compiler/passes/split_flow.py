"""Classify projections as feed-forward, within a layer, or feedback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from connectome_compiler.ir.graph import Graph, Population

Direction = Literal["forward", "skip", "within", "feedback"]


@dataclass(frozen=True, slots=True)
class SplitFlow:
    """Order projections by the flow of information, and keep or drop each kind.

    Populations are in the order of flow. *forward*: to the next cortical layer; *skip*: over a
    layer (L4 -> L5); *within*: inside a layer; *feedback*: to an earlier layer.

    Projections to a later population act within a sweep (delay 0). Those to an earlier one act on
    the previous sweep (delay 1): feedback, and E -> I within a layer, since inhibition comes
    first; both need more than one sweep to have an effect. Recurrent connections of a population
    settle once in each sweep (delay 1). A plain feed-forward chain keeps forward and within; what
    is dropped is counted. Gap junctions between layers conduct both ways, so they count as
    feedback.
    """

    name: ClassVar[str] = "split-flow"

    skip: Literal["keep", "drop"] = "drop"  #: projections over a layer, such as L4 to L5
    within: Literal["keep", "drop"] = "keep"  #: projections inside a layer
    feedback: Literal["keep", "drop"] = "drop"  #: projections to an earlier layer

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with the delay of every projection set, and some dropped."""
        fate = {"forward": "keep", "skip": self.skip, "within": self.within}
        fate["feedback"] = self.feedback
        direction = directions(graph)
        position = {p.name: k for k, p in enumerate(graph.populations)}
        return graph.with_projections(
            replace(p, delay=int(p.kind == "electrical" or position[p.pre] >= position[p.post]))
            if p.key in direction
            else p
            for p in graph.projections
            if fate[direction.get(p.key, "forward")] == "keep"
        )

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the connections of each direction, kept and dropped."""
        direction = directions(before)
        fate = {"forward": "keep", "skip": self.skip}
        fate |= {"within": self.within, "feedback": self.feedback}
        for done in ("keep", "drop"):
            count = Counter({kind: 0 for kind, wish in fate.items() if wish == done})
            for p in before.connectome:
                if direction[p.key] in count:
                    count[direction[p.key]] += before.count(p)
            if count:
                words = "kept" if done == "keep" else "dropped"
                yield f"{words}: " + ", ".join(f"{n:,} {kind}" for kind, n in count.items())


def directions(graph: Graph) -> dict[str, Direction]:
    """Return the direction of every projection between neurons, by its key."""
    stage = stages(graph)
    return {
        p.key: _direction(stage[p.post] - stage[p.pre])
        if p.kind == "chemical"
        else _direction(-abs(stage[p.post] - stage[p.pre]))  # current flows back, too
        for p in graph.connectome
    }


def stages(graph: Graph) -> dict[str, int]:
    """Return the stage of each population: its own, else that of its cortical layer."""
    found: dict[tuple[str, str], int] = {}
    return {p.name: found.setdefault(_layer(p), len(found)) for p in graph.biological}


def _layer(population: Population) -> tuple[str, str]:
    if population.stage is not None:
        return "stage", str(population.stage)
    layers = [] if population.neurons is None else population.column("cortical_layer").unique()
    if len(layers) == 1 and layers[0].is_valid:
        return "layer", str(layers[0])
    # A population without a single cortical layer is a stage of its own.
    return "population", population.name


def _direction(stages_on: int) -> Direction:
    if stages_on == 0:
        return "within"
    if stages_on < 0:
        return "feedback"
    return "skip" if stages_on > 1 else "forward"
