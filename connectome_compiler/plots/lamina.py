"""Somata where they are, from pia to white matter where cortical layers are known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.plots.canvas import (
    COLOURS,
    GREY,
    MANY,
    MARKERS,
    SIGNS,
    SMALL,
    legend,
    open_frame,
    quoted,
    title,
)
from connectome_compiler.plots.layout import from_pia
from connectome_compiler.text import counted

Axis = Literal["x_um", "y_um", "z_um"]
Real = npt.NDArray[np.float64]
INNER = 2.0  # percent of a layer's somata that may lie beyond its border


@dataclass(frozen=True, slots=True)
class Lamina:
    """Every soma at its position, in micrometres, by the sign of its neuron.

    Where cortical layers follow each other along the picture's height, the pia is on top and the
    layers are named.
    """

    name: ClassVar[str] = "lamina"

    #: the coordinate across
    across: Axis = "x_um"
    #: the coordinate along the picture's height: of depth where there are cortical layers
    along: Axis = "y_um"

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return a size in the shape of what is shown."""
        x, y, _ = self._somata(graph)
        wide, high = np.ptp(x), np.ptp(y)
        longest = max(wide, high, 1e-9)
        return 2.6 + max(1.6, 4.5 * wide / longest), 1.3 + max(1.2, 4.5 * high / longest)

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the somata."""
        x, y, known = self._somata(graph)
        signs = _column(graph, "sign", 0)[known].astype(np.int8)
        layers = _column(graph, "cortical_layer", "")[known].astype(str)
        n = len(x)
        handles = []
        for sign, word in SIGNS.items():
            of = signs == sign
            if of.any():
                label = f"{word} ({of.sum():,})"
                style: dict[str, Any] = {"marker": MARKERS[sign], "color": COLOURS[sign]}
                axes.scatter(
                    x[of],
                    y[of],
                    s=float(np.clip(6_000 / n, 0.3, 16)),
                    linewidths=0,
                    rasterized=n > MANY,
                    label=label,
                    **style,
                )
                handles.append(Line2D([], [], linestyle="", markersize=4, label=label, **style))
        open_frame(axes)
        axes.set_aspect("equal", adjustable="datalim")  # in a narrow box titles would not fit
        middles = {a: float(np.median(y[layers == a])) for a in from_pia(set(layers) - {""})}
        depths = list(middles.values())
        down = depths == sorted(depths)
        laminar = bool(depths) and (down or depths == sorted(depths, reverse=True))
        letters = {c: c.removesuffix("_um") for c in (self.across, self.along)}
        axes.set_xlabel(f"{letters[self.across]} (µm)")
        axes.set_ylabel(f"{'depth, ' if laminar else ''}{letters[self.along]} (µm)")
        if laminar:
            if down:
                axes.invert_yaxis()
            for at in borders(y, layers):
                axes.axhline(at, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
            for layer, middle in middles.items():
                axes.annotate(
                    quoted(layer, 12), (1.0, middle),
                    xycoords=("axes fraction", "data"), xytext=(3, 0), textcoords="offset points",
                    fontsize=SMALL, va="center", color="black",
                )  # fmt: skip
        legend(axes, handles, indent=32.0 if laminar else 0.0)
        lost = graph.n_neurons - n
        more = f", {counted(lost, 'other')} without a position" if lost else ""
        title(graph, axes, f"Somata of {counted(n, 'neuron')}{more}")

    def _somata(self, graph: Graph) -> tuple[Real, Real, npt.NDArray[np.bool_]]:
        """Return both coordinates of all somata whose position is known, and which they are."""
        x, y = (
            _column(graph, name, np.nan).astype(np.float64) for name in (self.across, self.along)
        )
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            problem = f"no neuron has a position: {self.across} and {self.along} are empty"
            hint = "positions, in micrometres, are columns of the source's table of cells"
            raise CompileError("plot 'lamina'", problem, hint)
        return x[known], y[known], known


def borders(depth: Real, layers: npt.NDArray[np.str_]) -> list[float]:
    """Return the depths between neighbouring layers, from pia down."""
    spans = [
        np.percentile(depth[layers == layer], [INNER, 100 - INNER])
        for layer in from_pia(set(layers) - {""})
    ]
    spans.sort(key=lambda span: float(span.sum()))
    return [float(above[1] + below[0]) / 2 for above, below in pairwise(spans)]


def _column(graph: Graph, name: str, missing: Any) -> npt.NDArray[np.object_]:
    """Return a column of all neurons' tables, in the order of the graph."""
    parts = [np.zeros(0, object)]
    for p in graph.biological:
        if p.neurons is None:
            parts.append(np.full(p.n_units, missing, object))
        else:
            values = np.asarray(p.column(name).to_numpy(zero_copy_only=False), object)
            absent = np.asarray(p.column(name).is_null().to_numpy(zero_copy_only=False), bool)
            parts.append(np.where(absent, missing, values))
    return np.concatenate(parts)
