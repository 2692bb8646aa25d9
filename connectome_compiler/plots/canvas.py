"""What all pictures share: figures that notebooks show, colours, titles and how text is quoted."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.provenance import standing
from connectome_compiler.text import cut, printable

# Okabe & Ito 2008, https://jfly.uni-koeln.de/color: told apart with any colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT = "#8C8C8C", "#D0D0D0"

ELECTRICAL = 2  # beside the signs: gap junctions have none
SIGNS = {1: "excitatory", -1: "inhibitory", 0: "sign unknown"}
EFFECTS = {**SIGNS, ELECTRICAL: "gap junctions"}
COLOURS = {1: VERMILLION, -1: BLUE, 0: GREY, ELECTRICAL: GREEN}
STYLES = {1: "-", -1: "--", 0: ":", ELECTRICAL: "-."}  # so that colour is not all that tells
MARKERS = {1: "^", -1: "o", 0: "s"}
SERIES = (ORANGE, SKY, GREEN, PURPLE, YELLOW, BLUE, VERMILLION)  # of what is not a sign

SMALL = 8.0  # points: of labels and legends
DPI = 144
MOST_LETTERS = 60  # of a name
MANY = 4_000  # marks: more are a picture within the picture in SVG and PDF

# Without dates, and with ids that depend on the content alone: equal pictures are equal files.
SAVED: dict[Any, Any] = {
    "svg.hashsalt": "connectome-compiler",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
}
MADE_BY = "connectome-compiler"
METADATA: dict[str, dict[str, str | None]] = {
    "svg": {"Creator": MADE_BY, "Date": None},
    "pdf": {"Creator": MADE_BY, "CreationDate": None},
    "png": {"Software": MADE_BY},
}


class Sheet(Figure):
    """A figure of its own, which pyplot does not know; equal pictures are saved as equal files."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save as `Figure.savefig` does, in the format that the name ends in."""
        given = options.get("format") or Path(str(fname)).suffix.removeprefix(".")
        known = METADATA.get(str(given or mpl.rcParams["savefig.format"]).lower(), {})
        options.setdefault("bbox_inches", "tight")  # a long name may stand out
        if known or "metadata" in options:
            options["metadata"] = {**known, **(options.get("metadata") or {})}
        with mpl.rc_context(SAVED):
            super().savefig(fname, **options)

    def in_format(self, suffix: str) -> bytes:
        """Return the picture as the content of a file whose name ends so."""
        file = io.BytesIO()
        self.savefig(file, format=suffix)
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self.in_format("png")


class ShownAxes(Axes):
    """Axes that a notebook shows, by their figure."""

    def _repr_png_(self) -> bytes:
        assert isinstance(self.figure, Sheet)
        return self.figure.in_format("png")


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure, its size in inches."""
    sheet = Sheet(figsize=(width, height), dpi=DPI, layout="constrained")
    axes: Axes = sheet.add_subplot(axes_class=ShownAxes)
    return axes


def frame(axes: Axes) -> None:
    """Leave of the axes what their insets show."""
    axes.set(xticks=[], yticks=[])
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)


def quoted(text: str, most: int = MOST_LETTERS) -> str:
    """Return a name from data as one line, in which ``$`` begins no formula."""
    return cut(" ".join(printable(text).split("\n")), most).replace("$", r"\$")


def filled(counts: Any) -> Any:
    """Return ``counts`` with zeros masked: what is empty has the colour of the paper."""
    return np.ma.masked_where(np.asarray(counts) == 0, counts)  # type: ignore[no-untyped-call]


def effects(graph: Graph, q: Projection) -> npt.NDArray[np.int8]:
    """Return the sign of every connection, shape ``(n_connections,)``, and `ELECTRICAL`."""
    if q.kind == "electrical":
        return np.full(graph.count(q), ELECTRICAL, np.int8)
    return graph.signs(q)


def title(graph: Graph, axes: Axes, what: str) -> None:
    """Say what is shown, of what, and whether it was measured."""
    p = graph.provenance
    origin = f"{quoted(p.source)}: {standing(p.connectivity)}"
    axes.set_title(f"{what}\n{origin}", loc="left", fontsize=9)


def open_frame(axes: Axes) -> None:
    """Leave the axes without a box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)


def legend(axes: Axes, handles: Iterable[Any], heading: str = "", *, indent: float = 0.0) -> None:
    """Put a legend to the right of the axes, ``indent`` points away."""
    away = ScaledTranslation(indent / 72, 0, axes.figure.dpi_scale_trans)
    axes.legend(
        handles=list(handles),
        title=heading or None,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        bbox_transform=axes.transAxes + away,
        borderaxespad=0.0,
        frameon=False,
        fontsize=SMALL,
        title_fontsize=SMALL,
        alignment="left",
    )


def legend_inside(
    axes: Axes, handles: Iterable[Any], corner: Literal["lower left", "upper right"]
) -> None:
    """Put a legend into a corner that the curves leave free."""
    axes.legend(handles=list(handles), loc=corner, frameon=False, fontsize=SMALL)


def same_scales(panels: Sequence[Axes]) -> None:
    """Give the panels one scale: of colours that are counts, and of axes with numbers."""
    shared = [image for panel in panels for image in panel.images if image.get_gid() == SHARED]
    most = max((image.get_clim()[1] or 1.0 for image in shared), default=1.0)
    for image in shared:
        image.set_clim(vmax=most)
    if any(panel.images or panel.child_axes or not panel.axison for panel in panels):
        return
    for bounds in ("xbound", "ybound"):  # of an axis that points either way
        ends = [end for panel in panels for end in getattr(panel, f"get_{bounds}")()]
        for panel in panels:
            getattr(panel, f"set_{bounds}")(min(ends), max(ends))


SHARED = "counts"  # the id of images whose colours are counts
