"""Where the discs of populations go: by area and level, by depth, by the flow, or in a circle.

A layout depends on the graph alone: equal graphs have equal pictures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import numpy as np

from connectome_compiler.ir.graph import Graph, Population

Point = tuple[float, float]
ACROSS = 2.2  # between populations side by side
AREA_DOWN = 0.75  # between the cortical layers of an area
AREA_GAP = 0.4  # between areas one above the other
DOWN = 1.5  # between cortical layers


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of each population, y upwards, and the side of its disc that the name stands at."""

    places: dict[str, Point]
    names: Literal["right", "below"]
    means: str  # what the places mean


def layout(graph: Graph) -> Layout:
    """Return the layout that says most of what the graph knows."""
    inner = graph.biological
    flow = _flow(graph)
    if inner and all(p.place is not None and p.place.level is not None for p in inner):
        made = _by_area(inner)
        found = Layout(made, "right", "areas by level, layers by depth")
    elif len(inner) > 1 and all(layer_of(p) for p in inner):
        found = Layout(_by_depth(inner), "right", "cortical layers by depth")
    elif len({p.stage for p in inner if p.stage is not None}) > 1:
        stages = {p.name: -1 if p.stage is None else p.stage for p in inner}
        found = Layout(_in_columns(stages), "below", "stages from left to right")
    elif len(inner) > 1 and flow is not None:
        found = Layout(_in_columns(flow), "below", "from left to right along the connections")
    else:
        found = Layout(_in_a_circle([p.name for p in inner]), "below", "")
    return _with_artificial(graph, found)


def layer_of(p: Population) -> str:
    """Return the cortical layer of most neurons of a population, "" if none is known."""
    if p.place is not None and p.place.cortical_layer is not None:
        return p.place.cortical_layer
    if p.neurons is None:
        return ""
    known = Counter(v for v in p.column("cortical_layer").to_pylist() if v)
    return min(known, key=lambda layer: (-known[layer], layer)) if known else ""


def from_pia(layers: Iterable[str]) -> list[str]:
    """Return layers by depth: by their number, those without (white matter) last."""

    def depth(layer: str) -> tuple[float, str]:
        number = re.search(r"\d+", layer)
        return (float(number[0]) if number else math.inf), layer

    return sorted(set(layers), key=depth)


def sign_of(p: Population) -> int:
    """Return the sign of most neurons of a population whose sign is known; 0 if there are none."""
    if p.neurons is None:
        return 0
    return int(np.sign(np.sum(p.column("sign").fill_null(0).to_numpy(zero_copy_only=False))))


def _by_area(inner: tuple[Population, ...]) -> dict[str, Point]:
    """Stack the areas of one level, and the layers of each from pia to white matter."""
    places: dict[str, Point] = {}
    columns: dict[int, dict[str, list[Population]]] = {}
    for p in inner:
        assert p.place is not None
        assert p.place.level is not None
        columns.setdefault(p.place.level, {}).setdefault(p.place.area, []).append(p)
    for level, areas in columns.items():
        y = 0.0
        column: dict[str, float] = {}
        for people in areas.values():
            for p in sorted(people, key=_depth_key(people)):
                column[p.name] = y
                y -= AREA_DOWN
            y -= AREA_GAP
        middle = (y + AREA_DOWN + AREA_GAP) / 2
        rank = sorted(columns).index(level)
        places |= {name: (2 * ACROSS * rank, at - middle) for name, at in column.items()}
    return places


def _by_depth(inner: tuple[Population, ...]) -> dict[str, Point]:
    """Put each cortical layer into a row, excitatory populations first."""
    places: dict[str, Point] = {}
    for row, layer in enumerate(from_pia(map(layer_of, inner))):
        people = [p for p in inner if layer_of(p) == layer]
        people.sort(key=lambda p: -sign_of(p))
        signs = {sign_of(q) for q in inner}
        for k, p in enumerate(people):
            alone = len(people) == 1 and len(signs) > 1 and sign_of(p) < 0
            places[p.name] = (ACROSS * (k + alone), -DOWN * row)
    return places


def _depth_key(people: list[Population]) -> Callable[[Population], int]:
    order = from_pia(map(layer_of, people))
    return lambda p: order.index(layer_of(p))


def _flow(graph: Graph) -> dict[str, int] | None:
    """Return how many steps of projections lead to each population; None if they close a circle."""
    view: nx.DiGraph[str] = nx.DiGraph()
    view.add_nodes_from(p.name for p in graph.biological)
    inner = {p.name for p in graph.biological}
    ends = [(q.pre, q.post) for q in graph.connectome if q.pre != q.post and q.pre in inner]
    view.add_edges_from(ends)
    if not ends or not nx.is_directed_acyclic_graph(view):
        return None
    return {name: k for k, many in enumerate(nx.topological_generations(view)) for name in many}


def _in_columns(columns: dict[str, int]) -> dict[str, Point]:
    places: dict[str, Point] = {}
    for x, column in enumerate(sorted(set(columns.values()))):
        names = [name for name, at in columns.items() if at == column]
        for k, name in enumerate(names):
            places[name] = (1.2 * ACROSS * x, DOWN * ((len(names) - 1) / 2 - k))
    return places


def _in_a_circle(names: list[str]) -> dict[str, Point]:
    """Go clockwise from the top; neighbours are as far from each other as in other layouts."""
    n = len(names)
    if n == 1:
        return {names[0]: (0.0, 0.0)}
    radius = DOWN / (2 * math.sin(math.pi / max(n, 3)))
    angles = [math.pi / 2 - 2 * math.pi * k / n for k in range(n)]
    return {
        name: (radius * math.cos(angle), radius * math.sin(angle))
        for name, angle in zip(names, angles, strict=True)
    }


def _with_artificial(graph: Graph, found: Layout) -> Layout:
    """Put images to the left and classes to the right, level with what they are joined to."""
    inner = dict(found.places)
    xs = [x for x, _ in inner.values()] or [0.0]
    driven = {q.post for q in graph.projections}
    sides: dict[float, list[tuple[float, str]]] = {}
    for p in graph.populations:
        if p.artificial:
            near = [
                q.post if q.pre == p.name else q.pre
                for q in graph.projections
                if p.name in (q.pre, q.post)
            ]
            ys = [inner[name][1] for name in near if name in inner] or [0.0]
            x = max(xs) + ACROSS if p.name in driven else min(xs) - ACROSS
            sides.setdefault(x, []).append((sum(ys) / len(ys), p.name))
    for x, column in sides.items():
        y = math.inf
        for wanted, name in sorted(column, reverse=True):
            y = min(wanted, y - 1.0)
            inner[name] = (x, y)
    return Layout(inner, found.names, found.means)
