"""The graph of populations: a disc for each, an arrow for each sign of each projection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Patch, Rectangle, Wedge
from matplotlib.patheffects import withStroke

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.plots.canvas import (
    COLOURS,
    EFFECTS,
    ELECTRICAL,
    GREY,
    SERIES,
    SIGNS,
    legend,
    quoted,
    title,
)
from connectome_compiler.plots.layout import Layout, Point, from_pia, layer_of, layout
from connectome_compiler.text import counted

MOST = 80  # populations: the names of more cannot be read
INCH = 0.7  # for one unit of the layout
LARGEST, LEAST = 0.34, 0.1  # radii of discs, in units of the layout
WIDEST, THINNEST = 4.5, 0.4  # arrows, in points
BENDS = {1: 0.12, -1: 0.24, 0: 0.18, ELECTRICAL: -0.2}
SQUARE = 0.36  # side of an image's or a read-out's square, in units of the layout
LOOPS = [math.radians(a) for a in (90, 270, 180, 0, 135, 45, 225, 315)]  # the first is preferred


@dataclass(frozen=True, slots=True)
class Populations:
    """Populations as discs, projections as arrows.

    The area of a disc grows with its units, the width of an arrow with its connections. Colours
    are those of signs, or of cortical layers where no sign is known.
    """

    name: ClassVar[str] = "populations"

    #: what colours mean; "auto" is the layer where no sign is known
    colour: Literal["auto", "sign", "layer"] = "auto"

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return the size at which names do not overlap."""
        _must_be_readable(graph)
        (left, right), (low, high) = _limits(layout(graph))
        return INCH * (right - left) + 1.9, INCH * (high - low) + 0.7

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the graph."""
        _must_be_readable(graph)
        found = layout(graph)
        (left, right), (low, high) = _limits(found)
        axes.set(xlim=(left, right), ylim=(low, high), aspect="equal")
        axes.set_axis_off()
        layers = from_pia(layer for p in graph.biological if (layer := layer_of(p)))
        known = count_signs(graph).known or any(map(_known_sign, graph.biological))
        by_layer = bool(layers) and (
            self.colour == "layer" or (self.colour == "auto" and not known)
        )
        colours = {name: SERIES[k % len(SERIES)] for k, name in enumerate(layers)}
        discs = {p.name: axes.add_patch(_outline(graph, p, found)) for p in graph.populations}
        for p in graph.biological:
            _fill(axes, p, discs[p.name], colours.get(layer_of(p), GREY) if by_layer else "")
        inner = [q.key for q in graph.connectome]
        shown = _arrows(graph, found, discs, axes, colours if by_layer else None)
        _names(graph, found, axes)
        handles: list[Any]
        if by_layer:
            handles = [Patch(color=c, label=f"layer {quoted(name)}") for name, c in colours.items()]
            if not all(map(layer_of, graph.biological)):
                handles.append(Patch(color=GREY, label="no layer"))
        else:
            handles = [
                Patch(color=COLOURS[e], label=word) for e, word in EFFECTS.items() if e in shown
            ]
        if len(inner) < len(graph.projections):
            handles += [Line2D([], [], color=GREY, linestyle="--", label="read-in, read-out")]
        most = max((graph.count(q) for q in graph.connectome), default=0)
        if most:
            handles += [
                Line2D(
                    [], [], color=GREY, linewidth=_width(n, most), label=counted(n, "connection")
                )
                for n in dict.fromkeys((most, max(1, most // 4)))
            ]
        legend(axes, handles)
        what = f"{counted(graph.n_neurons, 'neuron')}, {counted(graph.n_connections, 'connection')}"
        title(graph, axes, what + (f"; {found.means}" if found.means else ""))


def _must_be_readable(graph: Graph) -> None:
    if len(graph.populations) > MOST:
        problem = f"{len(graph.populations):,} populations have no room for their names"
        hint = 'use kind="raster", by="population"'
        raise CompileError("plot 'populations'", problem, hint)


def _limits(found: Layout) -> tuple[Point, Point]:
    xs, ys = zip(*found.places.values(), strict=True) if found.places else ((0.0,), (0.0,))
    beside = 1.5 if found.names == "right" else 0.8
    return (min(xs) - 0.8, max(xs) + beside), (min(ys) - 0.9, max(ys) + 0.7)


def _radius(graph: Graph, p: Population) -> float:
    """Return the radius of a disc, or half the side of a square, in units of the layout."""
    if p.artificial:
        return SQUARE / 2
    most = max((q.n_units for q in graph.biological), default=1)
    return max(LEAST, LARGEST * math.sqrt(p.n_units / max(most, 1)))


def _outline(graph: Graph, p: Population, found: Layout) -> Circle | Rectangle:
    """Return what arrows end at: a disc, still without its colours, or the square of an image."""
    (x, y), radius = found.places[p.name], _radius(graph, p)
    if not p.artificial:
        return Circle((x, y), radius, facecolor="none", edgecolor="none", zorder=3)
    style: dict[str, Any] = {"facecolor": "white", "edgecolor": GREY, "linestyle": "--"}
    return Rectangle((x - radius, y - radius), 2 * radius, 2 * radius, zorder=3, **style)


def _known_sign(p: Population) -> bool:
    return p.neurons is not None and p.column("sign").null_count < p.n_units


def _fill(axes: Axes, p: Population, disc: Any, colour: str) -> None:
    """Fill a disc with the colours of its neurons' signs, as shares of the circle."""
    if colour or p.neurons is None:
        shares = {colour or GREY: 1.0}
    else:
        signs = p.column("sign").fill_null(0).to_numpy(zero_copy_only=False)
        shares = {COLOURS[s]: float((signs == s).mean()) if len(signs) else 0.0 for s in SIGNS}
    start = 90.0
    for fill, share in shares.items():
        if share:
            x, y = disc.get_center()
            end = start - 360.0 * share
            wedge = Wedge((x, y), disc.get_radius(), end, start, facecolor=fill, edgecolor="white",
                          linewidth=0.6, zorder=4)  # fmt: skip
            axes.add_patch(wedge)
            start = end


def _arrows(
    graph: Graph,
    found: Layout,
    discs: dict[str, Any],
    axes: Axes,
    layers: dict[str, str] | None,
) -> set[int]:
    """Draw an arrow for each effect of each projection; return which effects have colours."""
    inner = {q.key for q in graph.connectome}
    most = max((graph.count(q) for q in graph.connectome), default=1)
    shown: set[int] = set()
    loops = {p.name: iter(_directions(graph, p.name, found)) for p in graph.populations}
    for q in graph.projections:
        if q.key not in inner:
            styles = [(0.0, {"color": GREY, "linewidth": 0.8, "linestyle": "--"})]
        elif layers is not None:
            colour = layers.get(layer_of(graph.population(q.pre)), GREY)
            styles = [(BENDS[1], {"color": colour, "linewidth": _width(graph.count(q), most)})]
        else:
            counts = {effect: n for effect, n in _counts(graph, q).items() if n}
            shown |= set(counts)
            styles = [
                (BENDS[effect], {"color": COLOURS[effect], "linewidth": _width(n, most)})
                for effect, n in counts.items()
            ]
        for bend, style in styles:
            if q.kind == "electrical":
                style |= {"arrowstyle": "-", "linestyle": ":"}
            if q.pre == q.post:
                arrow = _loop(found.places[q.pre], discs[q.pre], next(loops[q.pre]), style)
            else:
                arrow = _between(q, found, discs, bend, style)
            axes.add_patch(arrow)
    for p in graph.biological if layers is None else ():  # they may have no connections
        shown |= {0} if p.neurons is None else set(p.column("sign").fill_null(0).to_pylist())
    return shown


def _counts(graph: Graph, q: Projection) -> dict[int, int]:
    if q.kind == "electrical":
        return {ELECTRICAL: graph.count(q)}
    count = count_signs(graph, [q])
    return {1: count.excitatory, -1: count.inhibitory, 0: count.unknown}


def _width(n: int, most: int) -> float:
    return max(THINNEST, WIDEST * n / most)


def _common(style: dict[str, Any]) -> dict[str, Any]:
    return {
        "arrowstyle": "-|>",
        "mutation_scale": 5.0 + 1.5 * style["linewidth"],
        "alpha": 0.8,
        "zorder": 2,
        "joinstyle": "miter",
        "shrinkA": 0,
        "shrinkB": 1,
        **style,
    }


def _between(
    q: Projection, found: Layout, discs: dict[str, Any], bend: float, style: dict[str, Any]
) -> FancyArrowPatch:
    return FancyArrowPatch(
        found.places[q.pre],
        found.places[q.post],
        connectionstyle=f"arc3,rad={bend}",
        patchA=discs[q.pre],
        patchB=discs[q.post],
        **_common(style),
    )


def _loop(at: Point, disc: Any, towards: float, style: dict[str, Any]) -> FancyArrowPatch:
    """Return an arrow from a disc to itself, out at one angle and in at another."""
    radius = getattr(disc, "radius", SQUARE / 2)
    turn = math.radians(26) if radius > 2 * LEAST else math.radians(50)
    ends = [
        (at[0] + radius * math.cos(angle), at[1] + radius * math.sin(angle))
        for angle in (towards - turn, towards + turn)
    ]
    return FancyArrowPatch(*ends, connectionstyle="arc3,rad=1.5", **_common(style))


def _directions(graph: Graph, name: str, found: Layout) -> list[float]:
    """Return angles for loops, first those that meet fewest arrows and names."""
    x, y = found.places[name]
    joined = [q for q in graph.projections if name in (q.pre, q.post) and q.pre != q.post]
    partners = sorted({q.pre if q.post == name else q.post for q in joined})
    taken = [0.0 if found.names == "right" else -math.pi / 2]
    taken += [math.atan2(found.places[p][1] - y, found.places[p][0] - x) for p in partners]

    def room(angle: float) -> float:
        return min(abs((angle - a + math.pi) % (2 * math.pi) - math.pi) for a in taken)

    return sorted(LOOPS, key=lambda angle: -round(room(angle), 6))


def _names(graph: Graph, found: Layout, axes: Axes) -> None:
    halo = [withStroke(linewidth=2.0, foreground="white")]
    for p in graph.populations:
        (x, y), radius = found.places[p.name], _radius(graph, p)
        at, aligned = (x, y - radius - 0.04), {"ha": "center", "va": "top"}
        if found.names == "right":
            at, aligned = (x + radius + 0.08, y), {"ha": "left", "va": "center"}
        units = " x ".join(f"{n:,}" for n in p.shape)
        axes.text(
            *at,
            f"{quoted(p.name, 20)}\n{units}",
            fontsize=6.5,
            linespacing=0.95,
            path_effects=halo,
            zorder=5,
            **aligned,  # type: ignore[arg-type]
        )
