"""How many weights of a network act: rows by layer, totals by named denominators."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectome_compiler.nn.window_rules import WindowRule
from connectome_compiler.text import Row, html_table, table

if TYPE_CHECKING:
    import pandas as pd

ALIGN = "<<<<>"  # names, then numbers


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """What a layer has and uses. ``shape`` is that of the weight in torch's layout."""

    name: str
    kind: str
    shape: tuple[int, ...]
    window: WindowRule | None
    n_weights: int
    n_before: int  # used before the rules were applied; what is used now, if none were
    n_kept: int
    is_convolution: bool
    note: str = ""

    @property
    def size(self) -> str:
        """Return the shape as text: 64x32x3x3."""
        return "x".join(map(str, self.shape))

    @property
    def share(self) -> float:
        """Return the share of the weights that is used."""
        return self.n_kept / self.n_weights


@dataclass(frozen=True, slots=True)
class Total:
    """A named denominator: ``n_kept`` of ``n_weights`` are used."""

    n_weights: int
    n_before: int
    n_kept: int

    @property
    def share(self) -> float:
        """Return the share that is used."""
        return self.n_kept / self.n_weights if self.n_weights else 1.0


@dataclass(frozen=True, slots=True, repr=False)
class UsageTable:
    """Weights that act, layer by layer and by named denominators. Prints as a table.

    ``n_other`` counts the parameters that are not weights of layers listed (biases, normalisation)
    and ``n_other_weights`` those of them with two or more dimensions (embeddings, recurrent
    weights). A parameter that several modules share counts once.
    """

    layers: tuple[LayerUsage, ...]
    n_other: int
    n_other_weights: int

    @property
    def totals(self) -> dict[str, Total]:
        """Return the totals by denominator, from the narrowest to the widest."""
        convolutions = [u for u in self.layers if u.is_convolution]
        masked = [u for u in self.layers if u.window is not None]
        totals = {"masked layers": _total(masked)}
        if len({u.kind for u in masked}) > 1:
            for kind in sorted({u.kind for u in masked}):
                totals[f"masked {kind}"] = _total([u for u in masked if u.kind == kind])
        if convolutions:
            totals["all convolution weights"] = _total(convolutions)
        if linear := [u for u in self.layers if not u.is_convolution]:
            totals["all linear weights"] = _total(linear)
        totals["all weights"] = _total(self.layers, self.n_other_weights)
        totals["all parameters, biases too"] = _total(self.layers, self.n_other)
        return totals

    def to_pandas(self) -> pd.DataFrame:
        """Return layers and totals as a data frame, one row each."""
        import pandas as pd

        def row(
            name: str, kind: str, shape: str, window: str, n: LayerUsage | Total
        ) -> dict[str, object]:
            words = {"layer": name, "kind": kind, "shape": shape, "window": window}
            counts = {"weights": n.n_weights, "used_before": n.n_before, "used": n.n_kept}
            return {**words, **counts, "share": n.share}

        layers = [
            row(u.name, u.kind, u.size, u.window.describe() if u.window else "", u)
            for u in self.layers
        ]
        totals = [row(name, "total", "", "", total) for name, total in self.totals.items()]
        return pd.DataFrame(layers + totals)

    def _rows(self) -> list[Row | None]:
        changed = any(u.n_before != u.n_kept for u in self.layers)
        head = ("layer", "kind", "shape", "window", "weights", *(["before"] * changed), "used", "%")

        def numbers(u: LayerUsage | Total) -> Row:
            counts = (u.n_weights, *((u.n_before,) * changed), u.n_kept)
            return (*(f"{n:,}" for n in counts), f"{100 * u.share:.2f}")

        layers = [
            (u.name or ".", u.kind, u.size, _short(u.window) + "*" * bool(u.note), *numbers(u))
            for u in self.layers
        ]
        totals = [("", "", "", name, *numbers(total)) for name, total in self.totals.items()]
        return [head, None, *layers, None, *totals]

    def _footnotes(self) -> list[str]:
        return [f"* {u.name or '.'}: {u.note}" for u in self.layers if u.note]

    def __repr__(self) -> str:
        return "\n".join([*table(self._rows(), ALIGN, indent=""), *self._footnotes()])

    def _repr_html_(self) -> str:
        notes = "".join(f"<br>{html.escape(note)}" for note in self._footnotes())
        return html_table(self._rows(), ALIGN) + notes


def _total(layers: Sequence[LayerUsage], more: int = 0) -> Total:
    n = sum(u.n_weights for u in layers)
    return Total(
        n + more, sum(u.n_before for u in layers) + more, sum(u.n_kept for u in layers) + more
    )


def _short(window: WindowRule | None) -> str:
    if window is None:
        return ""
    if window.form != "2d":
        return window.describe().replace(" window,", "")
    more = ", torus" if window.torus else ""
    grids = f"{window.pre_width} to {window.post_width} wide"
    return f"{window.form} r={window.radius:g}, {grids}, {window.mode}{more}"
