"""Distributions over neurons and connections: degrees, weights, distances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Index, Synapses
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import Law
from connectome_compiler.ir.operators import Linear
from connectome_compiler.plots.canvas import (
    BLACK,
    COLOURS,
    EFFECTS,
    ELECTRICAL,
    ORANGE,
    PURPLE,
    STYLES,
    effects,
    legend_inside,
    open_frame,
    quoted,
    title,
)
from connectome_compiler.text import counted

WIDE, HIGH = 4.4, 3.4  # inches
CHUNK = 1 << 20  # connections whose distances are computed at once
N_PAIRS = 200_000  # drawn for the distances that chance gives
N_BINS = 40
SHORT = 200.0  # from end to end of a logarithmic axis: has room for 2 and 5
COORDINATES = ("x_um", "y_um", "z_um")

Real = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Degrees:
    """The share of neurons with at least so many inputs, and outputs.

    Outputs are those of neurons whose axons were read: of others they are not known.
    """

    name: ClassVar[str] = "degrees"

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return a small picture's size."""
        return WIDE, HIGH

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the distributions."""
        inputs, outputs, junctions = degrees(graph)
        series = [("inputs", inputs, ORANGE, "-"), ("outputs", outputs, PURPLE, "--")]
        series += (
            [("gap junctions", junctions, COLOURS[ELECTRICAL], ":")] if junctions.any() else []
        )
        handles = []
        for word, values, colour, style in series:
            none = int((values == 0).sum())
            label = f"{word}, mean {values.mean() if len(values) else 0:.3g}"
            label += f"\n{counted(none, 'neuron')} without" if none else ""
            handles += survival(axes, values, label, colour, style)
        axes.set(xlabel="connections of a neuron", ylabel="share of neurons with as many or more")
        legend_inside(axes, handles, "lower left")
        title(graph, axes, f"Degrees of {counted(graph.n_neurons, 'neuron')}")


@dataclass(frozen=True, slots=True)
class Weights:
    """The share of connections that are at least so strong, by sign, in the unit of the data."""

    name: ClassVar[str] = "weights"

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return a small picture's size."""
        return WIDE, HIGH

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the distributions."""
        found: dict[tuple[int, str], list[Real]] = {}
        for q in graph.connectome:
            if isinstance(q.connectivity, Synapses):
                weight = np.abs(np.asarray(q.connectivity.weight, np.float64))
                effect_of = effects(graph, q)
                for effect in EFFECTS:
                    if (of := effect_of == effect).any():
                        found.setdefault((effect, q.connectivity.unit), []).append(weight[of])
        if not found:
            problem = "no projection between neurons has a list of connections, with weights"
            raise CompileError("plot 'weights'", problem, 'add [[pass]] use = "materialise-laws"')
        units = list(dict.fromkeys(unit for _, unit in found))
        handles = []
        for (effect, unit), parts in sorted(
            found.items(), key=lambda at: list(EFFECTS).index(at[0][0])
        ):
            values = np.concatenate(parts)
            label = f"{EFFECTS[effect]}, mean {values.mean():.3g}" + f" {quoted(unit, 20)}" * (
                len(units) > 1
            )
            handles += survival(axes, values, label, COLOURS[effect], STYLES[effect])
        named = quoted(units[0], 30) if len(units) == 1 else "in the units of the legend"
        axes.set(xlabel=f"weight of a connection ({named})")
        axes.set(ylabel="share of connections as strong or stronger")
        legend_inside(axes, handles, "lower left")
        title(graph, axes, "Weights of connections")


@dataclass(frozen=True, slots=True)
class Distances:
    """How far apart the somata of connected neurons are, beside pairs drawn at random.

    The pairs are of the same populations, in the same proportions.
    """

    name: ClassVar[str] = "distances"

    def size(self, graph: Graph) -> tuple[float, float]:
        """Return a small picture's size."""
        return WIDE, HIGH

    def draw(self, graph: Graph, axes: Axes) -> None:
        """Draw the distributions."""
        somata = {p.name: positions(p) for p in graph.populations}
        known = [xyz[np.isfinite(xyz).all(1)] for xyz in somata.values()]
        if not any(map(len, known)):
            problem = "no neuron has a position: x_um, y_um and z_um are empty"
            hint = "positions, in micrometres, are columns of the source's table of cells"
            raise CompileError("plot 'distances'", problem, hint)
        all_ = np.concatenate(known)
        most = float(np.linalg.norm(np.ptp(all_, axis=0)))
        edges = np.linspace(0.0, most or 1.0, N_BINS + 1)
        counts = {effect: np.zeros(N_BINS, np.int64) for effect in EFFECTS}
        chance, n_lost = np.zeros(N_BINS), 0
        generator = np.random.default_rng(0)
        total = sum(map(graph.count, graph.connectome))
        for q in graph.connectome:
            post, pre = listed("distances", graph, q)
            effect_of = effects(graph, q)
            for part in _parts(len(post)):
                apart = _apart(somata, q, post[part], pre[part])
                n_lost += int(np.isnan(apart).sum())
                for effect in EFFECTS:
                    counts[effect] += np.histogram(apart[effect_of[part] == effect], edges)[0]
            n_post, n_pre = graph.shape(q)
            n_pairs = round(N_PAIRS * len(post) / max(total, 1))
            pairs = (
                generator.integers(n_post, size=n_pairs),
                generator.integers(n_pre, size=n_pairs),
            )
            drawn, _ = np.histogram(_apart(somata, q, *pairs), edges)
            chance += drawn
        last = max(
            (int(np.flatnonzero(c)[-1]) for c in (*counts.values(), chance) if c.any()), default=0
        )
        handles = []
        for effect, of in counts.items():
            if of.any():
                handles += _steps(axes, edges, of, f"{EFFECTS[effect]} ({of.sum():,})",
                                  color=COLOURS[effect], linestyle=STYLES[effect])  # fmt: skip
        if chance.any():
            handles += _steps(axes, edges, chance, "random pairs", color=BLACK, linewidth=0.9,
                              linestyle="-.")  # fmt: skip
        axes.set(xlim=(0, edges[last + 1]), ylim=(0, None), xlabel="distance between somata (µm)")
        axes.set_ylabel(f"share per {edges[1]:.3g} µm")
        open_frame(axes)
        legend_inside(axes, handles, "upper right")
        more = f"; {n_lost:,} without positions" if n_lost else ""
        n = sum(int(c.sum()) for c in counts.values())
        title(graph, axes, f"Distances of {counted(n, 'connection')}{more}")


def degrees(graph: Graph) -> tuple[Real, Real, Real]:
    """Return inputs and outputs of the neurons, and their gap junctions.

    Shapes ``(n_neurons,)``, but outputs are those of neurons alone whose axons were read.
    """
    inputs, outputs, junctions = (
        {p.name: np.zeros(p.n_units) for p in graph.populations} for _ in range(3)
    )
    for q in graph.connectome:
        post, pre = listed("degrees", graph, q)
        n_post, n_pre = graph.shape(q)
        into = junctions if q.kind == "electrical" else inputs
        into[q.post] += np.bincount(post, minlength=n_post)
        if q.kind == "chemical":
            outputs[q.pre] += np.bincount(pre, minlength=n_pre)

    def joined(parts: Iterable[Real]) -> Real:
        return np.concatenate([np.zeros(0), *parts])

    return (
        joined(inputs[p.name] for p in graph.biological),
        joined(outputs[p.name][p.has_outputs()] for p in graph.biological),
        joined(junctions[p.name] for p in graph.biological),
    )


def listed(kind: str, graph: Graph, q: Projection) -> tuple[Index, Index]:
    """Return ``(post, pre)`` of single neurons; raise `CompileError` where there are none."""
    where = f"plot {kind!r}"
    if not isinstance(q.operator, Linear):
        problem = f"{q.key} joins channels of maps, not single neurons"
        raise CompileError(where, problem, 'kind="kernels" shows them')
    if isinstance(q.connectivity, Law) and not q.connectivity.has_list:
        problem = f"{q.key} is {q.connectivity.describe()}, which has no list of connections"
        raise CompileError(where, problem, 'kind="raster", by="population" counts them')
    return q.connectivity.entries(*graph.shape(q))


def survival(axes: Axes, values: Real, label: str, colour: str, style: str) -> list[Any]:
    """Draw the share of ``values`` that are at least so large, on logarithmic axes."""
    at, counts = np.unique(values, return_counts=True)
    share = 1.0 - (np.cumsum(counts) - counts) / max(len(values), 1)
    above = at > 0
    open_frame(axes)
    axes.set(xscale="log", yscale="log")
    drawn = axes.plot(
        at[above], share[above], color=colour, linestyle=style, label=label,
        marker="." if above.sum() < 2 else "", drawstyle="steps-pre", linewidth=1.6,
    )  # fmt: skip
    _plain_ticks(axes)
    return drawn


def _plain_ticks(axes: Axes) -> None:
    """Put plain numbers on the horizontal axis: 1, 2, 5, or powers of ten where it is long."""
    low, high = axes.get_xlim()
    steps = (1.0, 2.0, 5.0) if high < SHORT * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def positions(p: Population) -> Real:
    """Return the somata of a population in micrometres, shape ``(n_units, 3)``; nan = unknown."""
    if p.neurons is None:
        return np.full((p.n_units, 3), np.nan)
    columns = [p.column(c).to_numpy(zero_copy_only=False) for c in COORDINATES]
    return np.stack([np.asarray(c, np.float64) for c in columns], axis=1)


def _apart(somata: dict[str, Real], q: Projection, post: Any, pre: Any) -> Real:
    return np.asarray(np.linalg.norm(somata[q.post][post] - somata[q.pre][pre], axis=1), np.float64)


def _parts(n: int) -> Iterator[slice]:
    return (slice(k, k + CHUNK) for k in range(0, n, CHUNK))


def _steps(axes: Axes, edges: Real, counts: Any, label: str, **style: Any) -> list[Any]:
    share = np.append(counts, counts[-1]) / counts.sum()
    return axes.plot(
        edges, share, drawstyle="steps-post", label=label, **{"linewidth": 1.6, **style}
    )
