"""Where populations lie, for the passes that work on areas; unknown places are refused."""

from __future__ import annotations

from collections.abc import Iterable

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Place


def places(where: str, graph: Graph) -> dict[str, Place]:
    """Return the place of every population of neurons; raise `CompileError` for those without."""
    known = {p.name: p.place for p in graph.biological if p.place is not None}
    if lost := [p.name for p in graph.biological if p.name not in known]:
        problem = f"the area of {listed(lost)} is unknown"
        raise CompileError(where, problem, "use a source with areas: ccompile list mesoscale")
    return known


def levels(where: str, graph: Graph) -> dict[str, int]:
    """Return the hierarchy level of every population of neurons, 0 first."""
    known = places(where, graph)
    if lost := [name for name, place in known.items() if place.level is None]:
        problem = f"the hierarchy level of {listed(lost)} is unknown"
        raise CompileError(where, problem, 'add [[pass]] use = "level-areas" before this pass')
    return {name: place.level for name, place in known.items() if place.level is not None}


def listed(names: Iterable[str], most: int = 8) -> str:
    """Join names, at most the first ``most`` of them."""
    all_ = list(names)
    more = f" and {len(all_) - most} more" if len(all_) > most else ""
    return ", ".join(all_[:most]) + more
