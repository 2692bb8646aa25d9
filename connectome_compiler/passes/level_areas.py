"""Assign every area its level in the hierarchy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._places import levels, listed, places


@dataclass(frozen=True, slots=True)
class LevelAreas:
    """Assign every area its level in the hierarchy, from 0; all layers of an area share it.

    By "table" an area has the level that the source gives any of its populations. By "flow" it is
    the length of the longest path from an area without input, along the projections between
    areas; areas that project in a cycle are refused.
    """

    name: ClassVar[str] = "level-areas"

    #: levels of areas: from the source (table), or the longest path to each (flow)
    by: Literal["table", "flow"] = "table"

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with levels; raise `CompileError` naming areas without one."""
        level = self._by_flow(graph) if self.by == "flow" else self._by_table(graph)
        return graph.map_populations(
            lambda p: (
                p
                if p.artificial or p.place is None
                else replace(p, place=replace(p.place, level=level[p.place.area]))
            )
        )

    def _by_table(self, graph: Graph) -> dict[str, int]:
        given: dict[str, set[int]] = {}
        for place in places(self.name, graph).values():
            found = given.setdefault(place.area, set())
            if place.level is not None:
                found.add(place.level)
        if lost := [area for area, found in given.items() if not found]:
            problem = f"the source gives no level for {listed(lost)}"
            raise CompileError(f"{self.name}.by", problem, "add them to the source, or set by=flow")
        for area, found in given.items():
            if len(found) > 1:
                problem = f"populations of {area} have levels {listed(map(str, sorted(found)))}"
                raise CompileError(f"{self.name}.by", problem, "give an area one level")
        return {area: found.pop() for area, found in given.items()}

    def _by_flow(self, graph: Graph) -> dict[str, int]:
        place = places(self.name, graph)
        sources: dict[str, set[str]] = {p.area: set() for p in place.values()}
        for q in graph.connectome:
            if q.pre in place and place[q.pre].area != place[q.post].area:
                sources[place[q.post].area].add(place[q.pre].area)
        try:
            order = tuple(TopologicalSorter(sources).static_order())
        except CycleError as error:
            problem = f"areas project in a cycle: {' -> '.join(error.args[1])}"
            hint = "set by=table and give levels, or leave out feedback projections"
            raise CompileError(f"{self.name}.by", problem, hint) from None
        level: dict[str, int] = {}
        for area in order:
            level[area] = max((level[pre] + 1 for pre in sources[area]), default=0)
        return level

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """List the areas of each level."""
        areas: dict[int, dict[str, None]] = {}
        found = levels(self.name, after)
        for name, place in places(self.name, after).items():
            areas.setdefault(found[name], {})[place.area] = None
        for level in sorted(areas):
            yield f"level {level}: {', '.join(areas[level])}"
