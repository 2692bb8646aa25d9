"""Decisions of the MouseNet style; `module.py.jinja` only places their text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.emit import state
from connectome_compiler.emit.arrays import Arrays
from connectome_compiler.emit.carries import LISTS, Carries, must_carry, only
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, literal
from connectome_compiler.emit.module import assemble
from connectome_compiler.emit.names import identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.budget import must_fit
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Linear
from connectome_compiler.ir.weights import PerConnection
from connectome_compiler.lower import Edges, Lowered, lower
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
    indented,
    norm_lines,
    norms,
    numbers,
    stated,
    summed,
    swept,
)

STYLE = (
    "Populations are maps, whose units stand for the neurons of an area and layer. What reaches one"
    " is summed, then normalised over the batch, then rectified. Of each convolution's weights only"
    " some are open, drawn once from an anatomical probability; the others are zero in every"
    " forward pass, whatever draws or trains the weights."
)
CLASSES = {
    ("masked", False): code("MaskedConv2d"),
    ("masked", True): code("MaskedConvTranspose2d"),
    ("live", False): code("LiveConv2d"),
    ("live", True): code("LiveConvTranspose2d"),
}


@dataclass(frozen=True, slots=True)
class Mousenet:
    """Areas and layers as maps, joined by masked convolutions: MouseNet (Shi et al. 2022).

    Needs maps with one port in, whose convolutions are joined per position, as `lay-kernels` and
    `materialise-laws` leave them. The maps of the ports out are averaged to ``pool`` x ``pool``,
    concatenated in the order of the ports, and read by one linear layer into ``classes``.
    ``weights`` "masked" holds each kernel whole, with a mask, as the published network does; "live"
    holds the open weights alone. ``fan_in`` is what starts are scaled by: "dense" the size of the
    kernel, as published, or "open" the number of open weights, which lets every projection start
    with its share. ``bias`` gives each convolution one, though normalisation takes it away again.
    With feedback the populations are gone through ``steps`` times; 0 is once without feedback, and
    six times with it. Classes, ``fan_in`` and steps are defaults of the emitted ``build()``.
    ``allow_free_signs`` lets weights be free whose sign is known. ``class_name`` names the network;
    by default its recipe does.
    """

    name: ClassVar[str] = "mousenet"
    carries: ClassVar[Carries] = Carries(
        units=(UNITS,),
        weights=(only(PerConnection, polarity=(0,), trained=(True,), start=("uniform",)),),
        connections=(LISTS,),
        operators=tuple(
            only(kind, per_position=(True,), groups=(1,), dilation=((1, 1),))
            for kind in (Conv2d, ConvTranspose2d)
        ),
        timing="by flow",
    )

    classes: int = 1000  #: number of classes
    pool: int = 4  #: side that output maps are averaged to, in pixels
    #: hold kernels whole, with a mask (masked), or the open weights alone (live)
    weights: Literal["masked", "live"] = "masked"
    #: what starts are scaled by: size of the kernel (dense), or its open weights
    fan_in: Literal["dense", "open"] = "dense"
    bias: bool = True  #: a bias for every convolution
    steps: int = 0  #: sweeps through the populations; 0: six with feedback, else one
    allow_free_signs: bool = False  #: let weights be free whose sign is known
    class_name: str = ""  #: name of the network's class; empty: by the recipe

    def __post_init__(self) -> None:
        for field, least in (("classes", 1), ("pool", 1), ("steps", 0)):
            if getattr(self, field) < least:
                raise CompileError(f"template.{field}", f"{getattr(self, field)} is under {least}")
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError(
                "template.class_name", f"{self.class_name!r} is not a valid Python name"
            )

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        image, read = _ends(graph)
        self._must_pool(read)
        must_carry(self, graph)
        check_input(self.name, image)
        _check_kernels(graph)
        names = identifiers((p.name for p in graph.populations), OWN)
        normed = norms(graph, names)
        layers = between(graph, names, [*OWN, *names.values(), *normed.values()])
        features = sum(p.shape[0] for p in read) * self.pool**2
        must_fit("template.classes", weights=(features + 1) * self.classes)
        net = _Net(lower(graph), image, read, features, self._sweeps(graph), names, normed, layers)
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers=normed,
            read_in={},
            read_out={p.name: "read_out" for p in read},
            more={
                "stack": self._stack(net),
                "options": {"classes": self.classes, "fan_in": self.fan_in}
                | ({"steps": net.sweeps} if net.back() else {}),
                "state": self._state(net),
            },
        )
        return assemble(
            net.lowered,
            recipe,
            "mousenet/module.py.jinja",
            layers=["convolve_together", "open_entries", "open_weight", *self._classes(graph)],
            class_name=self.class_name,
            allow_free_signs=self.allow_free_signs,
            wiring=wiring,
            paragraphs=[STYLE, self._said(graph, features)],
            arrays=_arrays(net.lowered),
            context=self._context(net),
        )

    def _stack(self, net: _Net) -> dict[str, Any]:
        """Return what `meaning` needs to compute the same."""
        maps = [p.name for p in net.read]
        return {
            **stated(net.graph.populations, net.graph.projections, net.layers, net.normed),
            "sweeps": net.sweeps,
            "read_out": {"layer": "read_out", "pool": self.pool, "maps": maps},
        }

    def _context(self, net: _Net) -> dict[str, Any]:
        """Return what the template places."""
        graph, image, names, layers = net.graph, net.image, net.names, net.layers
        back = net.back()
        return {
            "doc": docstring(_doc(image, net.read, net.sweeps), 4),
            "classes": self.classes,
            "fan_in": literal(self.fan_in),
            "bias": self.bias,
            "pool": self.pool,
            "features": net.features,
            "sweeps": net.sweeps if back else 0,
            "pad": code("    ") if back else code(""),
            "input": {
                "name": names[image.name],
                "shape": image.shape,
                "sizes": numbers(image.shape),
            },
            "read": [{"name": literal(p.name), "channels": p.shape[0]} for p in net.read],
            "holders": self._holders(graph),
            "projections": [
                {
                    "attr": layers[q.key],
                    "pre": literal(q.pre),
                    "post": literal(q.post),
                    "made": _made(graph, q, layers[q.key]),
                    "inner": True,
                }
                for q in graph.projections
            ],
            "norms": norm_lines(graph, net.normed),
            "silent": [
                {"var": names[p.name], "sizes": numbers(p.shape)}
                for p in graph.populations
                if p.name in back
            ],
            "feedback": [line for p in graph.populations for line in net.sent(p, delay=1)],
            "units": [
                {
                    "var": names[p.name],
                    "name": literal(p.name),
                    "steps": [*net.received(p), *net.sent(p, delay=0)],
                }
                for p in graph.populations
            ],
        }

    def _must_pool(self, read: list[Population]) -> None:
        """Refuse more means per side than a map has pixels."""
        smallest = min(read, key=lambda p: min(p.shape[1:]))
        if self.pool > (most := min(smallest.shape[1:])):
            problem = f"{self.pool} x {self.pool} means of the {most} pixels a side of"
            hint = f"use at most {most}"
            raise CompileError("template.pool", f"{problem} {smallest.name}", hint)

    def _sweeps(self, graph: Graph) -> int:
        """Return how often the populations are gone through for one image."""
        delayed = [q for q in graph.projections if q.delay]
        if not delayed:
            if self.steps > 1:
                problem = f"is {self.steps}, but nothing acts on the sweep before"
                raise CompileError("template.steps", problem, "have feedback, or steps=0")
            return 1
        if self.steps == 1:
            problem = f"is 1: {delayed[0].key} would never act, nor any feedback"
            raise CompileError("template.steps", problem, "at least 2, or 0 for six")
        return self.steps or 6

    def _state(self, net: _Net) -> state.State:
        """Return what the module's state holds."""
        graph, layers, normed = net.graph, net.layers, net.normed
        found: state.State = {}
        for q in graph.projections:
            assert not isinstance(q.operator, Linear)
            name, n_open = layers[q.key], graph.count(q)
            transposed = isinstance(q.operator, ConvTranspose2d)
            pre, post = graph.population(q.pre).shape[0], graph.population(q.post).shape[0]
            shape = [*((pre, post) if transposed else (post, pre)), *q.operator.kernel]
            fan_in = "open" if self.fan_in == "open" else np.prod(shape[1:]).item()
            weight = state.drawn(shape, fan_in, post_axis=int(transposed))
            if self.weights == "live":
                weight |= {"shape": [n_open], "kernel": shape}
                found[f"{name}.index"] = state.held([n_open])
            else:
                found[f"{name}.mask"] = state.held(shape)
            if q.weights.holds_signs:
                found[f"{name}.sign"] = state.held([n_open])
            found[f"{name}.weight"] = weight
            if self.bias:
                found[f"{name}.bias"] = weight | {"shape": [post]}
        for p in graph.populations:
            if normed[p.name]:
                found |= state.batch_norm(normed[p.name], p.shape[0])
        return found | state.linear("read_out", self.classes, net.features)

    def _holders(self, graph: Graph) -> list[dict[str, Any]]:
        """Return the classes of layers, and the function in the module that makes each."""
        kinds = sorted({isinstance(q.operator, ConvTranspose2d) for q in graph.projections})
        signed = any(q.weights.holds_signs for q in graph.projections)
        return [
            {
                "function": code("conv_transpose") if transposed else code("conv"),
                "class": CLASSES[self.weights, transposed],
                "transposed": transposed,
                "signed": signed,
            }
            for transposed in kinds
        ]

    def _classes(self, graph: Graph) -> list[str]:
        return [holder["class"] for holder in self._holders(graph)]

    def _said(self, graph: Graph, features: int) -> str:
        """Return how many weights there are, and how many of them act."""
        whole = sum(np.prod(graph.shape(q)).item() for q in graph.projections)
        n_open = sum(graph.count(q) for q in graph.projections)
        biases = sum(graph.population(q.post).shape[0] for q in graph.projections) * self.bias
        others = (
            sum(2 * p.shape[0] for p in graph.populations if swept(p).normalisation == "batch")
            + (features + 1) * self.classes
        )
        held = n_open if self.weights == "live" else whole
        return (
            f"{n_open:,} of {whole:,} weights of the convolutions are open ({n_open / whole:.2%})."
            f" {held + biases + others:,} numbers are trained, {n_open + biases + others:,} of them"
            f" act: open weights, {biases:,} biases, {others:,} of normalisation and read-out."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Net:
    """A graph as the style lays it out."""

    lowered: Lowered
    image: Population
    read: list[Population]  # in the order of the ports out
    features: int  # means of maps that are read
    sweeps: int
    names: dict[str, Source]  # of populations
    normed: dict[str, Source]  # attribute of each population's normalisation, "" for none
    layers: dict[str, Source]  # attribute of each projection, by key

    @property
    def graph(self) -> Graph:
        """The graph itself."""
        return self.lowered.graph

    def back(self) -> set[str]:
        """Return the populations that act on the sweep after."""
        return {q.pre for q in self.graph.projections if q.delay}

    def received(self, p: Population) -> list[Source]:
        """Return the lines that compute a population's activity from what was sent to it."""
        terms = [self.layers[q.key] for q in self.graph.projections if q.post == p.name]
        if not terms:
            return []
        var, drive = self.names[p.name], terms[0]
        lines: list[Source] = []
        if len(terms) > 1:
            drive, lines = var, summed(var, terms)
        active = activity(p, drive, self.normed[p.name])
        return lines if active == var else [*lines, code("{} = {}", var, active)]

    def sent(self, p: Population, delay: int) -> list[Source]:
        """Return the lines that compute what a population sends: all at once, which is faster."""
        leaving = [q for q in self.graph.projections if q.pre == p.name and q.delay == delay]
        sent = [self.layers[q.key] for q in leaving]
        if not sent:
            return []
        if len(sent) == 1:
            return [code("{} = self.{}({})", sent[0], sent[0], self.names[p.name])]
        given = [code("{},", self.names[p.name]), *(code("self.{},", name) for name in sent)]
        return [
            code("("),
            *indented(code("{},", name) for name in sent),
            code(") = convolve_together("),
            *indented(given),
            code(")"),
        ]


def _ends(graph: Graph) -> tuple[Population, list[Population]]:
    """Return the population of the input, and those that are read, in the order of their ports."""
    entering = [p for p in graph.ports if p.direction == "in"]
    if len(entering) != 1:
        problem = f"has {len(entering)} ports of direction 'in', not one"
        raise CompileError("mousenet", problem, "use the adapter mesoscale")
    read = [graph.population(p.population) for p in graph.ports if p.direction == "out"]
    if not read:
        raise CompileError("mousenet", "no population is read out", "give one a port out")
    for p in graph.populations:
        if len(p.shape) != 3:
            problem = f"has shape {p.shape}: the style has maps (channels, height, width)"
            raise CompileError(f"mousenet: {p.name}", problem, 'add [[pass]] use = "size-maps"')
    image = graph.population(entering[0].population)
    if odd := [p.name for p in graph.populations if p.artificial and p is not image]:
        problem = "is artificial: beside the input, all maps are neurons"
        raise CompileError(f"mousenet: {odd[0]}", problem, "leave it out, or make it biological")
    for p in graph.populations:
        if (p is image) == any(q.post == p.name and not q.delay for q in graph.projections):
            problem = (
                "is not reached from the input in one sweep" if p is not image else "is driven"
            )
            raise CompileError(f"mousenet: {p.name}", problem, "join it, or leave it out")
    return image, read


def _check_kernels(graph: Graph) -> None:
    for q in graph.projections:
        if not isinstance(q.operator, Linear) and len(set(q.operator.kernel)) > 1:
            problem = f"has a kernel of {q.operator.kernel}, which is not square"
            raise CompileError(f"mousenet: {q.key}", problem)


def _arrays(lowered: Lowered) -> Arrays:
    """Return which weights are open, as indices into each kernel in torch's layout, and signs."""
    arrays: Arrays = {}
    for key, e in lowered.edges.items():
        order, index = _native(e)
        arrays[f"{key}.open"] = index.astype(np.int32)
        if e.projection.weights.holds_signs:
            arrays[f"{key}.sign"] = e.enforced[order]
    return arrays


def _native(e: Edges) -> tuple[npt.NDArray[np.intp] | slice, npt.NDArray[np.int64]]:
    """Return the order of connections, and the index of each, in torch's layout of the kernel."""
    post, pre = e.post.astype(np.int64), e.pre.astype(np.int64)
    operator = e.projection.operator
    if not isinstance(operator, ConvTranspose2d):
        return slice(None), post * e.n_pre + pre
    area = operator.kernel[0] * operator.kernel[1]  # torch has [pre, post]
    index = (pre // area * e.n_post + post) * area + pre % area
    order = np.argsort(index)
    return order, index[order]


def _made(graph: Graph, q: Projection, attr: Source) -> list[Source]:
    """Return the lines that make one layer."""
    pre, post = graph.population(q.pre).shape[0], graph.population(q.post).shape[0]
    assert not isinstance(q.operator, Linear)
    transposed = isinstance(q.operator, ConvTranspose2d)
    function = code("conv_transpose") if transposed else code("conv")
    given = [literal(q.key), pre, post, *geometry(q.operator)]
    return call(code("self.{} = {}", attr, function), given)


def _doc(image: Population, read: list[Population], sweeps: int) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    shape = ", ".join(["batch", *map(str, image.shape)])
    first = "An image, through the areas of visual cortex, to classes."
    text = (
        f"Maps images ``({shape})`` to logits ``(batch, classes)``, read out of"
        f" {', '.join(p.name for p in read)}, averaged and concatenated in this order. Weights"
        ' start within ``1 / sqrt(fan_in)``: "dense" counts the whole kernel, "open" what is open.'
    )
    if sweeps > 1:
        text += " Feedback acts over ``steps`` sweeps, on the activity of the one before."
    body = textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ")
    return f"{first}\n\n{body}"
