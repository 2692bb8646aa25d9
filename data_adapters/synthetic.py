"""Networks of no brain: neurons on grids, connected within windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.budget import must_fit
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import Window
from connectome_compiler.ir.neurons import neuron_table
from connectome_compiler.ir.provenance import Evidence, Provenance, Step
from connectome_compiler.options import spell_options

from ._citations import SAIGA_2025
from ._windows import window_numbers

Grid = tuple[int, int]  # rows, columns


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Sheets of excitatory and inhibitory neurons on grids, each connected to its neighbours.

    ``layers`` names the sheets in the order of flow, ``grids`` are their rows and columns: one for
    all, or one for each. Every sheet fills a square of ``side_um``. Connections run ``within`` each
    sheet, forward to the next, and with ``feedback`` back from it; there are no autapses. Without
    ``within`` and ``feedback`` it is a feed-forward chain.

    ``form`` "2d" joins neurons less than ``radius`` apart, as a fraction of the sheet's side, with
    opposite sides joined where ``torus``; "diagonal" keeps a band around the diagonal, "random"
    single connections, both minus ``reduction``, the fraction to leave out. A fraction
    ``exc_fraction`` of each sheet is excitatory, at positions drawn with ``seed``, and the rest
    inhibitory. Every connection has one synapse. Options that the form does not use must not be
    set.
    """

    name: ClassVar[str] = "synthetic"

    layers: tuple[str, ...] = ("L1",)  #: names of the sheets, in the order of flow
    grids: tuple[Grid, ...] = ((16, 16),)  #: rows and columns of each sheet, or of all: [[16, 16]]
    within: bool = True  #: connect neurons within each sheet
    feedback: bool = True  #: connect each sheet back to the previous one
    #: which neurons are connected: near ones (2d), a band, or random ones
    form: Literal["2d", "diagonal", "random"] = "2d"
    radius: float = 0.25  #: radius of 2d windows, as a fraction of the sheet's side
    torus: bool = True  #: join opposite sides of the sheets (2d)
    reduction: float = 0.5  #: fraction of connections to leave out, 0 to 1 (diagonal, random)
    exc_fraction: float = 0.8  #: fraction of the neurons that is excitatory, 0 to 1
    side_um: float = 500.0  #: side of the square that each sheet fills, in um
    seed: int = 0  #: seed of signs, and of random connections

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise CompileError(
                f"{self.name}.layers", f"must be different names, not {list(self.layers)}"
            )
        if len(self.grids) not in (1, len(self.layers)):
            problem = f"{len(self.grids)} grids for {len(self.layers)} layers"
            raise CompileError(f"{self.name}.grids", problem, "give one for all, or one for each")
        for grid in self.grids:
            if min(grid) < 1:
                raise CompileError(f"{self.name}.grids", f"{grid} is not a grid (rows, columns)")
        if not 0 <= self.exc_fraction <= 1:
            problem = f"must be between 0 and 1, not {self.exc_fraction}"
            raise CompileError(f"{self.name}.exc_fraction", problem)
        if not 0 < self.side_um < float("inf"):
            raise CompileError(
                f"{self.name}.side_um", f"must be positive and finite, not {self.side_um}"
            )
        if self.seed < 0:
            raise CompileError(f"{self.name}.seed", f"{self.seed} is negative")
        if len(self.layers) == 1 and not self.within:
            raise CompileError(
                f"{self.name}.within",
                "is false, but there is only one layer: nothing would be connected",
                "name more layers",
            )
        self._numbers()

    def load(self) -> Graph:
        """Return the graph; raise `CompileError` for windows that leave neurons unconnected."""
        grids = self.grids * len(self.layers) if len(self.grids) == 1 else self.grids
        sizes = [rows * columns for rows, columns in grids]
        must_fit(f"{self.name}.grids", units=sum(sizes))
        for source, target in self._pairs():
            must_fit(f"{self.name}.grids", weights=sizes[source] * sizes[target])
        first = np.cumsum([0, *sizes])
        post: list[npt.NDArray[Any]] = []
        pre: list[npt.NDArray[Any]] = []
        notes = []
        for k, (source, target) in enumerate(self._pairs()):
            law = self._window(grids[source], grids[target], k)
            i, j = law.entries(sizes[target], sizes[source])
            if source == target:
                i, j = i[i != j], j[i != j]
                if not len(i):
                    self._refuse_empty(self.layers[source], grids[source])
            post.append(i + first[target])
            pre.append(j + first[source])
            names = f"{self.layers[source]} to {self.layers[target]}"
            notes.append(f"{names}: {law.describe()}, {len(i):,} connections")
        joined = np.concatenate(post), np.concatenate(pre)
        edges = Synapses.from_edges(*joined, np.ones(len(joined[0]), np.int32))
        table = neuron_table(self._columns(grids))
        n = int(first[-1])
        step = Step.first("lay-windows", spell_options(self), n, len(edges.post), notes)
        graph = Graph(
            (Population("neurons", (n,), table),),
            (Projection("neurons", "neurons", edges),),
            Provenance(
                dataset="synthetic-window",
                version=f"seed-{self.seed}",
                title=f"{first[-1]:,} neurons on {_counted(len(grids))}, connected within windows",
                connectivity=Evidence.MODELLED,
                made="neurons on grids are connected within windows over their positions",
                signs=Evidence.MODELLED,
                licence="none needed: made by a rule",
                citations=(SAIGA_2025,) if self.form == "2d" else (),
                steps=(step,),
            ),
        )
        graph.verify()
        return graph

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Yield the sheets that are connected, (source, target)."""
        for k in range(len(self.layers)):
            if self.within:
                yield k, k
            if k + 1 < len(self.layers):
                yield k, k + 1
                if self.feedback:
                    yield k + 1, k

    def _refuse_empty(self, layer: str, grid: Grid) -> NoReturn:
        """Raise `CompileError` for a sheet whose window contains only the neuron itself."""
        hint = "use a smaller reduction"
        if max(grid) == 1:
            hint = "use more than one neuron, or within=false"
        elif self.form == "2d":
            hint = f"use a radius above {1 / max(grid):g}, the distance of nearest neighbours"
        raise CompileError(self.name, f"no neurons are connected within {layer}", hint)

    def _numbers(self) -> dict[str, Any]:
        """Return the options that the form uses, except the seed, which signs need in any case."""
        return window_numbers(self, "radius", "torus", "reduction")

    def _window(self, pre: Grid, post: Grid, number: int) -> Window:
        numbers = self._numbers()
        if self.form == "2d":
            numbers |= {"pre_width": pre[1], "post_width": post[1], "mode": "clean"}
        elif self.form == "random":
            numbers["seed"] = self.seed + number
        return Window.of(self.name, form=self.form, **numbers)

    def _columns(self, grids: tuple[Grid, ...]) -> dict[str, Any]:
        """Return the columns of the neuron table."""
        excitatory, x, y, layer = [], [], [], []
        for k, (rows, columns) in enumerate(grids):
            n = rows * columns
            drawn = np.random.default_rng((self.seed, k)).permutation(n)
            excitatory.append(drawn < round(self.exc_fraction * n))
            place = np.arange(n)
            x.append(place % columns / columns * self.side_um)
            y.append(place // columns / rows * self.side_um)
            layer.append(np.full(n, k))
        excites = np.concatenate(excitatory)
        return {
            "neuron_id": np.arange(1, len(excites) + 1),
            "cell_type": np.where(excites, "E", "I"),
            "cell_class": np.where(excites, "excitatory", "inhibitory"),
            "sign": np.where(excites, 1, -1),
            "cortical_layer": np.array(self.layers, dtype=object)[np.concatenate(layer)],
            "region": np.full(len(excites), self.name),
            "axon_coverage": np.full(len(excites), "full"),
            "x_um": np.concatenate(x),
            "y_um": np.concatenate(y),
        }


def _counted(n: int) -> str:
    return "a grid" if n == 1 else f"{n} grids"
