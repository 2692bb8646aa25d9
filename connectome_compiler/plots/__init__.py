"""Pictures of a graph: `plot` draws one, of a kind in `KINDS`; the extra ``plot`` has matplotlib.

A kind is a frozen dataclass whose fields are its options. matplotlib is imported when a picture is
asked for, without pyplot: nothing global is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.options import configure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {
    "populations": "populations:Populations",
    "lamina": "lamina:Lamina",
    "raster": "raster:Raster",
    "degrees": "distributions:Degrees",
    "weights": "distributions:Weights",
    "distances": "distributions:Distances",
    "kernels": "kernels:Kernels",
}
INSTALL = "pip install -c constraints.txt '.[plot]'"
GAP = 2.8  # inches between two graphs side by side: for a legend, and names


class Kind(Protocol):
    """What a kind of picture is: a frozen dataclass, its fields the options."""

    name: ClassVar[str]

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return the width and height that the picture needs, in inches."""

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the graph; raise `CompileError` if it does not have what the picture shows."""


def plot(
    graph: Graph,
    kind: str = "populations",
    ax: Axes | None = None,
    *,
    beside: Graph | None = None,
    options: Mapping[str, Any] | None = None,
) -> Axes:
    """Draw a graph, and another one ``beside`` it on the same scales; return the axes.

    Without ``ax`` they are in a figure of their own, which notebooks show. Two graphs share these
    axes as their insets. Raises `CompileError`.
    """
    made = check_kind(kind, options or {})
    from connectome_compiler.plots.canvas import frame, new_axes, same_scales

    graphs = [graph] if beside is None else [graph, beside]
    for one in graphs:
        one.verify()
    sizes = [made.size(one) for one in graphs]
    total = sum(width for width, _ in sizes) + GAP * (len(sizes) - 1)
    if ax is None:
        ax = new_axes(total, max(height for _, height in sizes))
    if beside is None:
        made.draw(graph, ax)
        return ax
    left, right = (width / total for width, _ in sizes)
    panels = [ax.inset_axes((0, 0, left, 1)), ax.inset_axes((1 - right, 0, right, 1))]
    frame(ax)
    for one, panel in zip(graphs, panels, strict=True):
        made.draw(one, panel)
    same_scales(panels)
    return ax


def check_kind(name: str, options: Mapping[str, Any]) -> Kind:
    """Return a kind of picture with its options.

    Raises `CompileError` where there is no such kind or option, or no matplotlib.
    """
    if name not in KINDS:
        raise UnknownNameError.among("plot", name, KINDS)
    try:
        import_module("matplotlib")
    except ModuleNotFoundError as error:
        problem = f"pictures need the package matplotlib (no module {error.name!r})"
        raise CompileError(f"plot {name!r}", problem, INSTALL) from error
    module, _, of_kind = KINDS[name].partition(":")
    kind = getattr(import_module(f"{__name__}.{module}"), of_kind)
    made: Kind = configure(f"plot {name!r}", kind, options)
    return made
