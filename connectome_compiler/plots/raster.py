"""The adjacency as a raster, ``[post, pre]``: by neuron or by population, in bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from matplotlib.patches import Patch

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import Law
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.plots.canvas import (
    COLOURS,
    EFFECTS,
    ELECTRICAL,
    LIGHT,
    SHARED,
    SMALL,
    effects,
    filled,
    legend,
    quoted,
    title,
)
from connectome_compiler.text import counted

MOST_BINS = 600  # to a side: about the pixels of the picture
CHUNK = 1 << 22  # connections that are binned at once
LEAST_SHARE = 0.03  # of the side: populations smaller than that have no room for a name
LETTER = 0.017  # of the side, the width of a letter of a name
MOST_RULES = 60
MANY_TICKS = 20_000  # a colour bar to more than that has ticks at powers of ten alone
COUNTS = LinearSegmentedColormap.from_list("counts", ["#7FB2D9", "#0072B2", "#00243D"])
SIDE = 4.6  # inches

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Raster:
    """Connections by target (down) and source (across), counted in bins.

    The colour says how many connections a bin has, or of which sign most of them are.
    """

    name: ClassVar[str] = "raster"

    #: rows and columns: each neuron, in the order of the graph, or each population
    by: Literal["neuron", "population"] = "neuron"
    #: what colours mean: how many connections, or the sign of most of them
    colour: Literal["count", "sign"] = "count"

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return a square with room for names and legend."""
        return SIDE + 1.8, SIDE + 0.9

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the raster."""
        ends = sides(graph)
        starts = np.cumsum([0, *(1 if self.by == "population" else p.n_units for p in ends)])
        n = int(starts[-1])
        if not n:
            raise CompileError("plot 'raster'", "the graph has no neurons", "load one that has")
        extent = (-0.5, n - 0.5, n - 0.5, -0.5)
        noun = f"{self.by}s"
        if self.colour == "sign":
            pile = {effect: binned(graph, self.by, effect=effect) for effect in EFFECTS}
            axes.imshow(by_majority(pile), extent=extent, interpolation="nearest", aspect="auto")
            handles = [
                Patch(color=COLOURS[effect], label=f"{EFFECTS[effect]}: {one.sum():,}")
                for effect, one in pile.items()
                if one.any()
            ]
            legend(axes, handles, "most of the connections")
            total = sum(int(one.sum()) for one in pile.values())
            side = len(pile[0])
        else:
            counts = binned(graph, self.by)
            side, total = len(counts), int(counts.sum())
            shown = filled(counts)
            norm = LogNorm(1, max(2, int(counts.max())))
            image = axes.imshow(
                shown, cmap=COUNTS, norm=norm, extent=extent, interpolation="nearest", aspect="auto"
            )
            image.set_gid(SHARED)
            bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.02, 0, 0.03, 1)))
            ticks = _ticks(int(counts.max()))
            bar.set_ticks(ticks, labels=[f"{tick:,}" for tick in ticks])
            bar.ax.minorticks_off()
            bar.ax.tick_params(labelsize=SMALL)
            each = "pair" if side == n else f"bin of {n / side:.3g} x {n / side:.3g} {noun}"
            bar.set_label(f"connections per {each}", fontsize=SMALL)
        axes.set_box_aspect(1)
        _name_sides(axes, ends, starts, f"{noun} of the graph, in its order")
        title(graph, axes, f"{counted(total, 'connection')} between {counted(n, self.by)}")


def sides(graph: Graph) -> list[Population]:
    """Return the populations of rows and columns: neurons, and images that count as sources."""
    used = {name for q in graph.connectome for name in (q.pre, q.post)}
    return [p for p in graph.populations if not p.artificial or p.name in used]


def binned(graph: Graph, by: str = "neuron", *, effect: int | None = None) -> Counts:
    """Return numbers of connections, ``[post, pre]``, in at most `MOST_BINS` bins to a side.

    With ``effect``, only those of this sign count, or gap junctions (`ELECTRICAL`). Raises
    `CompileError` where connections are not of single neurons: channels of convolutions, laws that
    have no list.
    """
    ends = sides(graph)
    whole = by == "population"
    starts = np.cumsum([0, *(1 if whole else p.n_units for p in ends)])
    first = {p.name: int(k) for p, k in zip(ends, starts, strict=False)}
    n = int(starts[-1])
    side = min(n, MOST_BINS)
    flat = np.zeros(side * side, np.int64)
    for q in graph.connectome:
        if whole:
            place = first[q.post] * side // n * side + first[q.pre] * side // n
            flat[place] += _count(graph, q, effect)
            continue
        for post, pre in _chunks(graph, q, effect):
            row = (post.astype(np.int64) + first[q.post]) * side // n
            row *= side
            row += (pre.astype(np.int64) + first[q.pre]) * side // n
            flat += np.bincount(row, minlength=len(flat))
    return flat.reshape(side, side)


def by_majority(pile: dict[int, Counts]) -> npt.NDArray[np.float64]:
    """Return colours, ``[post, pre, rgba]``: of the sign that most connections of a bin have."""
    stacked = np.stack(list(pile.values()))
    colours = np.array([to_rgb(COLOURS[effect]) for effect in pile])
    total = stacked.sum(0)
    opacity = np.where(total, 0.55 + 0.45 * np.log1p(total) / np.log1p(max(1, total.max())), 0.0)
    return np.concatenate([colours[stacked.argmax(0)], opacity[..., None]], -1)


def _count(graph: Graph, q: Projection, effect: int | None) -> int:
    if effect is None:
        return graph.count(q)
    if effect == ELECTRICAL or q.kind == "electrical":
        return graph.count(q) if effect == ELECTRICAL and q.kind == "electrical" else 0
    count = count_signs(graph, [q])
    return {1: count.excitatory, -1: count.inhibitory, 0: count.unknown}[effect]


def _chunks(
    graph: Graph, q: Projection, effect: int | None
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]]:
    hint = 'by="population" counts them'
    if not isinstance(q.operator, Linear):
        problem = f"{q.key} joins channels of maps, not single neurons"
        raise CompileError("plot 'raster'", problem, hint)
    if isinstance(q.connectivity, Law) and not q.connectivity.has_list:
        problem = f"{q.key} is {q.connectivity.describe()}, which has no list of connections"
        raise CompileError("plot 'raster'", problem, hint)
    post, pre = q.connectivity.entries(*graph.shape(q))
    kept = None if effect is None else effects(graph, q) == effect
    for k in range(0, len(post), CHUNK):
        part = slice(k, k + CHUNK)
        if kept is None:
            yield post[part], pre[part]
        else:
            yield post[part][kept[part]], pre[part][kept[part]]


def _ticks(most: int) -> list[int]:
    """Return round counts up to ``most``, and ``most`` itself."""
    steps = (1, 2, 5) if most < MANY_TICKS else (1,)
    round_ones = [step * 10**k for k in range(len(str(most))) for step in steps]
    return [n for n in round_ones if n <= 0.7 * most or n == 1] + [most] * (most > 1)


def _name_sides(
    axes: Axes, ends: list[Population], starts: npt.NDArray[np.int64], order: str
) -> None:
    """Name the populations that have room; where there are none, number rows and columns."""
    n = int(starts[-1])
    axes.tick_params(labelsize=SMALL)
    axes.set(xlabel="presynaptic", ylabel="postsynaptic")
    if len(ends) <= MOST_RULES:
        for at in starts[1:-1]:
            for rule in (axes.axhline, axes.axvline):
                rule(at - 0.5, color=LIGHT, linewidth=0.5)
    spans = [(p, a, b) for p, (a, b) in zip(ends, pairwise(starts.tolist()), strict=True)]
    named = [(quoted(p.name, 24), (a + b - 1) / 2) for p, a, b in spans if b - a >= LEAST_SHARE * n]
    if len(ends) == 1 or not named:
        axes.set(xlabel=f"presynaptic ({order})", ylabel=f"postsynaptic ({order})")
        return
    labels, places = [name for name, _ in named], [place for _, place in named]
    axes.set_yticks(places, labels)
    needs = [LETTER * n * (len(a) + len(b)) / 2 for a, b in pairwise(labels)]
    upright = any(b - a < need for (a, b), need in zip(pairwise(places), needs, strict=True))
    axes.set_xticks(places, labels, rotation=90 if upright else 0)
    axes.tick_params(length=2)
