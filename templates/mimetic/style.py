"""Decisions of the mimetic style; `module.py.jinja` only places their text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, fields
from math import prod
from typing import Any, ClassVar, Literal

from connectome_compiler.emit import state
from connectome_compiler.emit.carries import Carries, must_carry, only
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, identifier, literal
from connectome_compiler.emit.module import assemble
from connectome_compiler.emit.names import identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import AllToAll, Window
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Linear
from connectome_compiler.ir.weights import PerConnection
from connectome_compiler.lower import lower
from connectome_compiler.nn.window_rules import WindowRule
from connectome_compiler.options import spell_options
from connectome_compiler.statement import Wiring

from ..parts.stack import (
    OWN,
    UNITS,
    activity,
    between,
    call,
    check_input,
    geometry,
    norm_lines,
    norms,
    numbers,
    stated,
    summed,
    swept,
)

STYLE = (
    "Where a layer has a window, only units (of maps: channels) near each other are joined. The"
    " mask of each is computed from the numbers of its rule, saved with the weights and applied in"
    " every forward pass, whatever draws or trains the weights."
)
CLASSES = {
    Linear: code("Linear"),
    Conv2d: code("Conv2d"),
    ConvTranspose2d: code("ConvTranspose2d"),
}


@dataclass(frozen=True, slots=True)
class Mimetic:
    """A feed-forward stack of layers, of which some have windows.

    Needs a graph with one port in and one out, as the adapter `mimetic` makes it. Weights ``start``
    as torch's do; with "he-normal", those into ReLU units as Keras's ``he_normal`` does, and their
    biases at 0. Then they are multiplied by ``gain``, where a window keeps a share ``usage`` of
    them: "1/usage" is that of the papers, "1/sqrt(usage)" keeps the variance of the sums, "fan-in"
    that of each unit. Gain and ``kernel``, how linear layers multiply, are defaults of the emitted
    ``build()``. ``class_name`` names the network; by default its recipe does.
    """

    name: ClassVar[str] = "mimetic"
    carries: ClassVar[Carries] = Carries(
        units=(UNITS,),
        weights=(
            only(PerConnection, sign=("none",), polarity=(0,), trained=(True,), start=("uniform",)),
        ),
        connections=(only(Window), only(AllToAll, post_units=(None,), pre_units=(None,))),
        operators=(
            only(Linear),
            only(Conv2d, end_padding=((0, 0),), per_position=(False,)),
            only(ConvTranspose2d, per_position=(False,)),
        ),
        timing="at once",
    )

    #: where weights start: as torch's, or as Keras's he_normal
    start: Literal["torch", "he-normal"] = "torch"
    #: what starts are multiplied by, where a window keeps a share of the weights
    gain: Literal["none", "1/usage", "1/sqrt(usage)", "fan-in"] = "1/usage"
    kernel: Literal["auto", "dense", "patches"] = "auto"  #: how windowed layers are multiplied
    class_name: str = ""  #: name of the network's class; empty: by the recipe

    def __post_init__(self) -> None:
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError(
                "template.class_name", f"{self.class_name!r} is not a valid Python name"
            )

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        first, last = _ends(graph)
        must_carry(self, graph)
        check_input(self.name, first)
        names = identifiers((p.name for p in graph.populations), OWN)
        normed = norms(graph, names)
        layers = between(graph, names, normed.values())
        net = _Net(graph, first, last, names, normed, layers, self._started(graph))
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers=normed,
            read_in={q.post: layers[q.key] for q in graph.projections if q.pre == first.name},
            read_out={q.pre: layers[q.key] for q in graph.projections if q.post == last.name},
            more={
                "stack": stated(graph.populations, graph.projections, layers, normed),
                "usage": _usage(graph),
                "options": {"gain": self.gain}
                | ({"kernel": self.kernel} if "WindowLinear" in _classes(graph) else {}),
                "state": self._state(net),
            },
        )
        drawn = ["draw_he_normal"] if net.started else []
        return assemble(
            lower(graph),
            recipe,
            "mimetic/module.py.jinja",
            layers=["sparse_weight", *_classes(graph), *drawn],
            class_name=self.class_name,
            wiring=wiring,
            paragraphs=[STYLE, _said(graph)],
            arrays={},
            allow_free_signs=True,  # the style has no signs
            context=self._context(net),
        )

    def _context(self, net: _Net) -> dict[str, Any]:
        """Return what the template places."""
        graph, first, names, layers = net.graph, net.first, net.names, net.layers
        inner = {q.key for q in graph.connectome}
        return {
            "doc": docstring(_doc(graph, first, net.last), 4),
            "gain": literal(self.gain),
            "kernel": literal(self.kernel) if "WindowLinear" in _classes(graph) else "",
            "input": {
                "name": names[first.name],
                "shape": first.shape,
                "sizes": numbers(first.shape),
            },
            "output": literal(net.last.name),
            "projections": [
                {
                    "attr": layers[q.key],
                    "key": literal(q.key),
                    "pre": literal(q.pre),
                    "post": literal(q.post),
                    "made": _made(graph, q, layers[q.key]),
                    "inner": q.key in inner,
                }
                for q in graph.projections
            ],
            "norms": norm_lines(graph, net.normed),
            "started": [code("draw_he_normal(self.{})", layers[q.key]) for q in net.started],
            "units": [
                {
                    "var": names[p.name],
                    "name": literal(p.name),
                    "steps": _steps(graph, p, names, layers, net.normed[p.name]),
                }
                for p in graph.populations
            ],
        }

    def _state(self, net: _Net) -> state.State:
        """Return what the module's state holds."""
        graph, layers, normed = net.graph, net.layers, net.normed
        found: state.State = {}
        for q in graph.projections:
            name, post = layers[q.key], graph.population(q.post)
            shape = _weight_shape(graph, q)
            weight = state.drawn(shape, prod(shape[1:]))
            bias = state.drawn(
                [post.shape[0] if len(shape) == 4 else post.n_units], prod(shape[1:])
            )
            if q in net.started:
                weight |= {"start": "he-normal"}
                bias = state.constant(bias["shape"], 0.0)
            if isinstance(q.connectivity, Window):
                weight |= {
                    "gain": self.gain,
                    "post_axis": int(isinstance(q.operator, ConvTranspose2d)),
                }
                found[f"{name}.mask"] = state.held(shape)
                if q.connectivity.rule.form == "gaussian":
                    found[f"{name}.values"] = state.held([*shape[:2], *(1 for _ in shape[2:])])
            found |= {f"{name}.weight": weight, f"{name}.bias": bias}
        for p in graph.populations:
            if normed[p.name]:
                found |= state.batch_norm(normed[p.name], p.shape[0])
        return found

    def _started(self, graph: Graph) -> list[Projection]:
        """Return what leads to ReLU, if that starts in its own way."""
        if self.start == "torch":
            return []
        found = [
            q for q in graph.projections if swept(graph.population(q.post)).activation == "relu"
        ]
        if not found:
            problem = f"is {self.start!r}, but no layer is of ReLU units"
            raise CompileError("template.start", problem, 'start="torch"')
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Net:
    """A graph as the style lays it out."""

    graph: Graph
    first: Population  # the input
    last: Population  # the output
    names: dict[str, Source]  # of populations
    normed: dict[str, Source]  # attribute of each population's normalisation, "" for none
    layers: dict[str, Source]  # attribute of each projection, by key
    started: list[Projection]  # those that do not start as torch's do


def _ends(graph: Graph) -> tuple[Population, Population]:
    """Return where the input enters, and where the output leaves."""
    ends = []
    for direction in ("in", "out"):
        ports = [port for port in graph.ports if port.direction == direction]
        if len(ports) != 1:
            problem = f"has {len(ports)} ports of direction {direction!r}, not one"
            raise CompileError("mimetic", problem, "use the adapter mimetic")
        ends.append(graph.population(ports[0].population))
    first, last = ends
    if not graph.connectome:
        raise CompileError("mimetic", "the graph has no windows", "give a layer one")
    for p in graph.populations:
        arriving = sum(q.post == p.name for q in graph.projections)
        leaving = sum(q.pre == p.name for q in graph.projections)
        if bool(arriving) != (p is not first) or bool(leaving) != (p is not last):
            problem = "is not on a way from the input to the output"
            raise CompileError(f"mimetic: {p.name}", problem, "join it, or leave it out")
    return first, last


def _classes(graph: Graph) -> list[str]:
    windowed = [q for q in graph.projections if isinstance(q.connectivity, Window)]
    layers = {f"Window{CLASSES[type(q.operator)]}" for q in windowed}
    return sorted(layers | ({"WindowRule"} if layers else set()))


def _made(graph: Graph, q: Projection, attr: Source) -> list[Source]:
    """Return the lines that make one layer."""
    pre, post = graph.population(q.pre), graph.population(q.post)
    kind = CLASSES[type(q.operator)]
    if isinstance(q.operator, Linear):
        arguments: list[Any] = [pre.n_units, post.n_units]
    else:
        arguments = [pre.shape[0], post.shape[0], *geometry(q.operator)]
    if not isinstance(q.connectivity, Window):
        return call(code("self.{} = nn.{}", attr, kind), arguments)
    arguments += [code("window={}", _rule(q.connectivity.rule)), code("gain=gain")]
    if isinstance(q.operator, Linear):
        arguments.append(code("kernel=kernel"))
    return call(code("self.{} = Window{}", attr, kind), arguments, always=True)


def _rule(rule: WindowRule) -> Source:
    given = [
        code("{}={}", identifier(f.name), literal(getattr(rule, f.name)))
        for f in fields(rule)[1:]
        if getattr(rule, f.name) != f.default
    ]
    lines = call(code("WindowRule"), [literal(rule.form), *given], room=20)
    return code("\n").join(lines)


def _steps(
    graph: Graph,
    p: Population,
    names: dict[str, Source],
    layers: dict[str, Source],
    norm: Source,
) -> list[Source]:
    """Return the lines that compute the activity of one population; of the input none."""
    terms = []
    for q in graph.projections:
        if q.post != p.name:
            continue
        source = names[q.pre]
        linear = isinstance(q.operator, Linear)
        if linear and len(graph.population(q.pre).shape) > 1:
            source = code("{}.flatten(1)", source)
        term = code("self.{}({})", layers[q.key], source)
        if linear and len(p.shape) > 1:
            term = code("{}.unflatten(1, {})", term, p.shape)
        terms.append(term)
    if not terms:
        return []
    var = names[p.name]
    lines, active = summed(var, terms), activity(p, var, norm)
    return lines if active == var else [*lines, code("{} = {}", var, active)]


def _weight_shape(graph: Graph, q: Projection) -> list[int]:
    """Return the shape of a layer's weight, in torch's layout."""
    n_post, n_pre = graph.shape(q)
    if isinstance(q.operator, Linear):
        return [n_post, n_pre]
    pairs = [n_pre, n_post] if isinstance(q.operator, ConvTranspose2d) else [n_post, n_pre]
    return [*pairs, *q.operator.kernel]


def _usage(graph: Graph) -> dict[str, list[int]]:
    """Return weights kept and weights of the dense layer, of each layer and of several."""
    usage = {}
    masked, everything = [0, 0], [0, 0]
    for q in graph.projections:
        n_post, n_pre = graph.shape(q)
        counts = [graph.count(q) * q.operator.area, n_post * n_pre * q.operator.area]
        usage[q.key] = counts
        for total in (masked, everything)[not isinstance(q.connectivity, Window) :]:
            total[:] = [a + b for a, b in zip(total, counts, strict=True)]
    return {**usage, "layers with a window": masked, "all layers": everything}


def _said(graph: Graph) -> str:
    """Return the share of weights that are kept, layer by layer, as the header states it."""
    usage = _usage(graph)
    width = max(len(key) for key in usage)
    lines = ["Weights kept of those of ordinary layers, biases apart:"]
    for key, (kept, dense) in usage.items():
        lines.append(f"  {key:<{width}}  {kept:>12,} of {dense:>12,}  {kept / dense:7.2%}")
    return "\n".join(lines)


def _doc(graph: Graph, first: Population, last: Population) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    takes, gives = (", ".join(["batch", *map(str, p.shape)]) for p in (first, last))
    windowed = sum(isinstance(q.connectivity, Window) for q in graph.projections)
    head = f"{len(graph.projections)} layers, {windowed} of them with a window."
    text = (
        f"Maps {first.name} ``({takes})`` to {last.name} ``({gives})``. ``gain`` is what weights on"
        ' a mask are multiplied by at the start: "1/usage", "1/sqrt(usage)", "fan-in" (of each'
        ' unit) or "none".'
    )
    if "WindowLinear" in _classes(graph):
        text += ' ``kernel`` is how linear layers multiply: "auto", "dense" or "patches".'
    whole = textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ")
    return f"{head}\n\n{whole}"
