"""Windows of windowed layers, and kernels of convolutions whose weights are open or closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import GaussianKernel, Window
from connectome_compiler.ir.operators import Linear
from connectome_compiler.plots.canvas import GREY, filled, frame, quoted, title
from connectome_compiler.plots.raster import COUNTS, MOST_BINS
from connectome_compiler.text import counted

Panel = tuple[str, Any]  # what stands above it, and the picture, rows first
PANEL = 1.0  # inches, of a panel
LEFT = 1.5  # inches, for the names of projections
ABOVE = 0.22  # inches, for what stands above a panel


@dataclass(frozen=True, slots=True)
class Kernels:
    """A row of panels for each projection with a window, or with kernels that are partly open.

    Of a window on grids, the channels that a channel in a corner, at an edge and in the middle
    hears; of kernels, the probability or share of open weights, then those of single channels.
    """

    name: ClassVar[str] = "kernels"

    #: the projections to show, as "pre->post"; by default the first few
    projections: tuple[str, ...] = ()
    #: how many projections are shown where none are named
    rows: int = 6
    #: of how many source channels the kernels are shown
    channels: int = 5

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return a size at which every panel is as large as the others."""
        rows = self._rows(graph)
        widest = max(len(panels) for _, panels in rows)
        return LEFT + PANEL * widest, (PANEL + ABOVE) * len(rows) + 0.7

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the panels, as insets of the axes."""
        rows = self._rows(graph)
        widest = max(len(panels) for _, panels in rows)
        frame(axes)
        left = LEFT / (LEFT + PANEL * widest)
        for k, (q, panels) in enumerate(rows):
            height = PANEL / (PANEL + ABOVE) / len(rows)
            bottom = 1.0 - (k + 1) / len(rows)
            for column, (word, picture) in enumerate(panels):
                x = left + (1.0 - left) * column / widest
                inner = axes.inset_axes((x, bottom, 0.9 * (1.0 - left) / widest, height))
                inner.imshow(picture, cmap=COUNTS, vmin=0, interpolation="nearest")
                inner.set(xticks=[], yticks=[])
                inner.spines[:].set(color=GREY, linewidth=0.5)
                inner.set_title(word, fontsize=6.5, pad=2)
            axes.text(left - 0.02, bottom + height / 2, f"{quoted(q.key, 30)}\n{_size(q, graph)}",
                      transform=axes.transAxes, ha="right", va="center", fontsize=7)  # fmt: skip
        shown = f"{len(rows)} of " if len(rows) < len(_shown(graph)) else ""
        n = counted(len(_shown(graph)), "projection")
        title(graph, axes, f"Windows and kernels of {shown}{n}")

    def _rows(self, graph: Graph) -> list[tuple[Projection, list[Panel]]]:
        known = {q.key: q for q in _shown(graph)}
        if not known:
            problem = "no projection has a window, or a kernel with open and closed weights"
            raise CompileError("plot 'kernels'", problem, 'kind="raster" shows connections')
        for key in self.projections:
            if key not in known:
                raise UnknownNameError.among("plot 'kernels': projection", key, known)
        chosen = self.projections or tuple(known)[: max(1, self.rows)]
        return [(known[key], list(self._panels(graph, known[key]))) for key in chosen]

    def _panels(self, graph: Graph, q: Projection) -> Iterator[Panel]:
        law = q.connectivity
        if isinstance(law, GaussianKernel):
            chance = law.probability()
            yield f"probability, {_range(chance)}", chance
            return
        if isinstance(law, Window) and law.rule.form == "2d":
            yield from _grids(graph, q, law)
            return
        post, pre = law.entries(*graph.shape(q))
        if isinstance(q.operator, Linear) or not q.operator.per_position:
            yield "[post, pre]", filled(_binned(post, pre, graph.shape(q)))
            return
        n_post, n_pre = graph.shape(q)
        area = q.operator.kernel[0] * q.operator.kernel[1]
        share = np.bincount(pre % area, minlength=area) / max(1, n_post * n_pre // area)
        share = share.reshape(q.operator.kernel)
        yield f"open, {_range(share)}", share
        heard = pre[post == 0]
        for channel in range(min(self.channels, n_pre // area)):
            mask = np.zeros(area)
            mask[heard[heard // area == channel] % area] = 1
            yield f"channels {channel} → 0", filled(mask.reshape(q.operator.kernel))


def _shown(graph: Graph) -> list[Projection]:
    """Return the projections that have windows or kernels."""
    return [
        q
        for q in graph.connectome
        if isinstance(q.connectivity, Window | GaussianKernel)
        or (isinstance(q.connectivity, Synapses) and not isinstance(q.operator, Linear))
    ]


def _grids(graph: Graph, q: Projection, law: Window) -> Iterator[Panel]:
    """Yield which channels are heard by one in a corner, at an edge, and in the middle."""
    rule, (n_post, n_pre) = law.rule, graph.shape(q)
    assert rule.pre_width is not None
    assert rule.post_width is not None
    post, pre = law.entries(n_post, n_pre)
    middle, rows = rule.post_width // 2, n_post // rule.post_width
    for unit in dict.fromkeys((0, middle, rows // 2 * rule.post_width + middle)):
        heard = np.zeros(n_pre)
        heard[pre[post == unit]] = 1
        picture = filled(heard.reshape(-1, rule.pre_width))
        yield f"output {unit}: {int(heard.sum()):,}", picture


def _binned(post: Any, pre: Any, shape: tuple[int, int]) -> Any:
    sides = [min(n, MOST_BINS) for n in shape]
    ends = (
        post.astype(np.int64) * sides[0] // shape[0],
        pre.astype(np.int64) * sides[1] // shape[1],
    )
    flat = np.bincount(ends[0] * sides[1] + ends[1], minlength=sides[0] * sides[1])
    return flat.reshape(sides)


def _range(share: Any) -> str:
    return f"{share.min():.2g} to {share.max():.2g}"


def _size(q: Projection, graph: Graph) -> str:
    if isinstance(q.operator, Linear) or not q.operator.per_position:
        n_post, n_pre = graph.shape(q)
        return f"{n_pre:,} to {n_post:,}"
    return f"kernel {q.operator.kernel[0]} x {q.operator.kernel[1]}"
