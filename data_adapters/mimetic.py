"""Artificial networks with windowed layers, from a table of their layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import Any, ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Port, Projection
from connectome_compiler.ir.laws import AllToAll, Connectivity, Window
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.operators import LINEAR, Conv2d, ConvTranspose2d, Operator
from connectome_compiler.ir.provenance import Evidence, Provenance, Step
from connectome_compiler.nn.window_rules import widths_near
from connectome_compiler.options import spell

from ._citations import MIZUTANI_2022, SAIGA_2025
from ._windows import window_numbers

PAPERS = {"2d": (SAIGA_2025,), "diagonal": (MIZUTANI_2022,)}


@dataclass(frozen=True, slots=True)
class Layer:
    """The units of one layer, and how those of the previous layer drive them.

    ``shape`` is ``(n,)`` or, of maps, ``(channels, height, width)``. A convolution has a square
    ``kernel`` and torch's other numbers. Where ``window``, only units (of a convolution, channels)
    near each other are joined; ``widths`` are those of the grids of inputs and outputs, by default
    near the square root of their number. Only form "2d" has grids.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    shape: tuple[int, ...]
    operator: Literal["linear", "conv2d", "conv-transpose2d"] = "linear"
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    dilation: int = 1
    groups: int = 1
    window: bool = False
    widths: tuple[int, ...] = ()
    normalisation: Literal["none", "batch"] = "none"
    activation: Literal["linear", "relu", "tanh", "sigmoid", "softplus"] = "linear"

    def __post_init__(self) -> None:
        where = f"layer {self.name}"
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            hint = "use [n] for units, or [channels, height, width] for maps"
            raise CompileError(where, f"invalid shape {list(self.shape)}", hint)
        if len(self.widths) not in (0, 2):
            raise CompileError(
                where, f"widths must be two, of inputs and outputs, not {list(self.widths)}"
            )
        if self.widths and not self.window:
            raise CompileError(where, "has grid widths, but no window", "set window = true")

    def made_operator(self) -> Operator:
        """Return how the weights act; raise `CompileError` for an invalid geometry."""
        if self.operator == "linear":
            return LINEAR
        numbers: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("kernel", "stride", "padding", "dilation", "groups")
        }
        if self.operator == "conv2d":
            return Conv2d(**numbers)
        return ConvTranspose2d(**numbers, output_padding=(self.output_padding,) * 2)


@dataclass(frozen=True, slots=True)
class Mimetic:
    """A feed-forward network of which some layers have windows: mouse- and schizophrenia-mimetic.

    ``layers`` is a table; the first is the input. Windows have one ``form`` in all layers: "2d"
    joins units less than ``radius`` of the grid's side apart, in the ``mode`` "paper" by the rule
    that ran in the published layers, or "clean" by the exact distance, with opposite sides joined
    where ``torus``. "diagonal" keeps a band, "random" single weights and "kernel" single kernels,
    all minus ``reduction``, the fraction to leave out; the last two are drawn with ``seed``, plus
    one for each previous layer. Options that the form does not use must not be set.

    Layers that a window leads to or from count as neurons, the others as artificial: their weights
    are those of ordinary layers.
    """

    name: ClassVar[str] = "mimetic"

    #: tables of layers, the first is the input: name, shape, window, activation, ...
    layers: tuple[Layer, ...]
    form: Literal["2d", "diagonal", "random", "kernel"] = "2d"  #: form of all windows
    radius: float = 0.4  #: radius of 2d windows, as a fraction of the grid's side
    #: rule of 2d windows: as published (paper), or by exact distance (clean)
    mode: Literal["paper", "clean"] = "paper"
    torus: bool = False  #: join opposite sides of the grid (2d)
    reduction: float = 0.5  #: fraction of weights to leave out, 0 to 1 (diagonal, random, kernel)
    seed: int = 0  #: seed of random windows, plus one for each previous layer
    dataset: str = "windowed-network"  #: name of the network in its provenance
    title: str = "A network with windowed layers"  #: one-line description of the network

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            raise CompileError(f"{self.name}.layers", f"a name occurs twice in {', '.join(names)}")
        if not any(layer.window for layer in self.layers[1:]):
            problem = "no layer after the first has a window"
            raise CompileError(f"{self.name}.layers", problem, "set window = true in some")
        self._numbers()

    def load(self) -> Graph:
        """Return the graph; raise `CompileError` for layers that do not match."""
        joined = {
            name
            for pre, post in pairwise(self.layers)
            if post.window
            for name in (pre.name, post.name)
        }
        populations = tuple(
            Population(
                layer.name,
                layer.shape,
                node=Swept(layer.activation, layer.normalisation),
                artificial=layer.name not in joined,
            )
            for layer in self.layers
        )
        projections = tuple(
            Projection(
                pre.name,
                post.name,
                self._connectivity(pre, post, k),
                delay=0,
                operator=post.made_operator(),
            )
            for k, (pre, post) in enumerate(pairwise(self.layers))
        )
        graph = Graph(
            populations,
            projections,
            Provenance(
                dataset=self.dataset,
                title=self.title,
                connectivity=Evidence.MODELLED,
                made="units are connected within windows over their positions",
                licence="none needed: made by a rule",
                citations=PAPERS.get(self.form, ()),
            ),
            (
                Port(self.layers[0].name, self.layers[0].name, "in"),
                Port(self.layers[-1].name, self.layers[-1].name, "out"),
            ),
        )
        graph.verify()
        notes = [
            note
            for q, layer in zip(graph.projections, self.layers[1:], strict=True)
            for note in self._notes(graph, q, layer)
        ]
        numbers = {"form": self.form, **self._numbers()}
        options = ", ".join(f"{name}={spell(value)}" for name, value in numbers.items())
        step = Step.first("lay-windows", options, graph.n_neurons, graph.n_connections, notes)
        return Graph(
            graph.populations, graph.projections, graph.provenance.with_step(step), graph.ports
        )

    def _connectivity(self, pre: Layer, post: Layer, number: int) -> Connectivity:
        if not post.window:
            return AllToAll()
        operator = post.made_operator()
        numbers = self._numbers() | {"transposed": isinstance(operator, ConvTranspose2d)}
        if "seed" in numbers:
            numbers["seed"] += number
        if self.form == "2d":
            n_post, n_pre = operator.pairs(post.shape, pre.shape)
            widths = post.widths or tuple(widths_near(n, isqrt(n), 1)[0] for n in (n_pre, n_post))
            numbers |= {"pre_width": widths[0], "post_width": widths[1]}
        return Window.of(f"layer {post.name}", form=self.form, **numbers)

    def _notes(self, graph: Graph, q: Projection, layer: Layer) -> Iterator[str]:
        """Yield the fraction of weights that a projection keeps, and anomalies."""
        n_post, n_pre = graph.shape(q)
        n_kept = graph.count(q)
        yield f"{q.key}: {q.connectivity.describe()}, {n_kept / (n_post * n_pre):.2%} kept"
        if not isinstance(q.connectivity, Window):
            return
        if n_kept == n_post * n_pre:
            yield f"{q.key}: the window keeps every weight, as an ordinary layer does"
        unfed, unread = q.connectivity.rule.dead(n_post, n_pre)
        if unfed or unread:
            yield f"{q.key}: {unfed:,} outputs without input, {unread:,} inputs without output"
        if layer.widths and self.form != "2d":
            yield f"{q.key}: form {self.form!r} has no grids, so grid widths are ignored"

    def _numbers(self) -> dict[str, Any]:
        """Return the options that the form uses."""
        return window_numbers(self, "radius", "mode", "torus", "reduction", "seed")
