"""Decisions of the BioNIC style; `module.py.jinja` only places their text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.emit import state
from connectome_compiler.emit.arrays import Arrays, Counts, edge_arrays
from connectome_compiler.emit.carries import WHOLE, Carries, must_carry, only
from connectome_compiler.emit.cost_model import choose_kernel, forecast
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, literal
from connectome_compiler.emit.module import array, assemble, sign
from connectome_compiler.emit.names import MODULE, identifiers
from connectome_compiler.emit.neurons import Neurons
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.nodes import Attenuation, Swept
from connectome_compiler.ir.provenance import standing
from connectome_compiler.ir.weights import PerConnection
from connectome_compiler.lower import Edges, Lowered, lower
from connectome_compiler.options import spell_options
from connectome_compiler.statement import Wiring

from ..parts.stack import between, short

STYLE = (
    "BioNIC-style (after Prasanth & Tivnan 2026, arXiv 2601.20876). Reported of the original: a"
    " cortical column of 266, 349, 185 and 383 excitatory cells in the order L4, L2/3, L5, L6;"
    " weights masked by the connectome between and within layers; layer norm, graded inhibition,"
    " lateral inhibition, attention, synaptic noise. Its equations were not at hand: those"
    " used here are a proposed reading."
)
FREE = (
    "Every weight between neurons stands for a connection of the graph below, and each has its own."
    " Front end, read-in (image -> column) and read-out (column -> classes) do not: no connectome"
    " says how an image enters a column, or what it means."
)
LAYERS = ("EdgeLinear", "ImageFrontEnd", "RateUnits", "balance", "calibrate", "centre")
READ_INS = {"dense": (), "local": ("LocalReadIn",), "low-rank": ("LowRankReadIn",)}
# What the emitted class has and calls beside its populations.
OWN = {"self", "features", "drive", "len", "range", "front_end", "image_shape", "steps", "rates"}
OWN |= {"calibrate", "example_input", "named_projections", "effective_weights"}
OWN |= {"neurons", "index", *MODULE}


@dataclass(frozen=True, slots=True)
class Bionic:
    """Image front end, laminar populations joined by the connectome, read-out.

    Needs the image of `attach-ports`. ``filters``, ``lateral_inhibition`` (strength, 0 to leave it
    out), ``attention`` and ``steps`` (sweeps, where there is feedback) are the defaults of
    the emitted ``build()``; ``steps`` 0 is three sweeps where something acts on the sweep before,
    else one. ``read_in`` "local" gives each neuron a window of every feature map, of
    ``read_in_window`` places a side, where the neuron is in the column (x across, z down);
    "low-rank" lets all see the image through ``read_in_rank`` channels. ``balanced`` scales weights
    at the start so that no population is silent, or the same for all images. ``kernel`` "auto" asks
    the cost model, for ``batch`` images a step. ``allow_free_signs`` lets weights be free whose
    sign is known. ``keep`` adds counts of synapses, as ``layer.count``, and positions of neurons.
    ``class_name`` names the network; by default its recipe does.
    """

    name: ClassVar[str] = "bionic"
    carries: ClassVar[Carries] = Carries(
        units=(only(Swept, activation=("relu",), normalisation=("layer", "rms", "none")),),
        weights=(only(PerConnection, polarity=(0,), trained=(True,)),),
        timing="by flow",
        ends=("image", "classes"),
        ports=(WHOLE,),
    )

    filters: tuple[int, int] = (8, 16)  #: filters of the two convolutions of the front end
    #: strength of lateral inhibition in the front end; 0 leaves it out
    lateral_inhibition: float = 0.1
    attention: bool = True  #: attention in the front end
    #: sweeps through the populations; 0: three where something acts a sweep later, else one
    steps: int = 0
    #: weights of the image: dense; local (a window at each neuron's place); or of low-rank
    read_in: Literal["dense", "local", "low-rank"] = "dense"
    read_in_window: int = 3  #: side of a window of the feature maps (local)
    read_in_rank: int = 8  #: channels through which the image is seen (low-rank)
    #: start from balanced excitation and inhibition; false: as nn.Linear does, each layer alone
    balanced: bool = True
    #: how connections are multiplied; auto asks the cost model
    kernel: Literal["auto", "edges", "dense"] = "auto"
    batch: int = 32  #: images a step that the cost model reckons with
    allow_free_signs: bool = False  #: let weights be free whose sign is known
    #: what else of the data the module holds: counts of synapses, positions of neurons
    keep: tuple[Literal["counts", "positions"], ...] = ()
    class_name: str = ""  #: name of the network's class; empty: by the recipe

    def __post_init__(self) -> None:
        sizes = ("batch", "read_in_window", "read_in_rank")
        for field, least in (("steps", 0), *((size, 1) for size in sizes)):
            if getattr(self, field) < least:
                raise CompileError(f"template.{field}", f"{getattr(self, field)} is under {least}")
        if min(self.filters) < 1:
            raise CompileError("template.filters", f"{self.filters}: a layer without filters")
        if not 0 <= self.lateral_inhibition < float("inf"):
            raise CompileError(
                "template.lateral_inhibition", f"{self.lateral_inhibition} is negative"
            )
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError(
                "template.class_name", f"{self.class_name!r} is not a valid Python name"
            )

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        must_carry(self, graph)
        image, node = _image(graph), _common_node(graph)
        delayed = [q for q in graph.connectome if q.delay and q.pre != q.post]
        sweeps = self._sweeps(delayed)
        _check_path(graph, node, sweeps)
        lowered = lower(graph)
        names = identifiers((p.name for p in graph.populations), OWN)
        layers = between(graph, names, [*OWN, *names.values()])
        net = _Net(lowered, image, node, sweeps if delayed else 0, names, layers, self)
        places = net.places() if self.read_in == "local" else {}
        kernels = {key: self._kernel(e) for key, e in lowered.edges.items()}
        neurons = Neurons.of(graph, places="positions" in self.keep)
        counts = Counts.of(lowered, "counts" in self.keep)
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers=names,
            read_in={q.post: layers[q.key] for q in net.read_in()},
            read_out={q.pre: layers[q.key] for q in net.read_out()},
            more={
                "sweeps": sweeps,
                "options": self._options(net),
                "seen": net.seen_by(places),
                "state": self._state(net),
                "neurons": neurons.stated(),
                **counts.stated(),
            },
        )
        return assemble(
            lowered,
            recipe,
            "bionic/module.py.jinja",
            neurons=neurons,
            layers=[*LAYERS, *READ_INS[self.read_in]],
            class_name=self.class_name,
            allow_free_signs=self.allow_free_signs,
            wiring=wiring,
            paragraphs=[STYLE, FREE, self._cost(graph, kernels)],
            arrays={
                **_arrays(lowered),
                **counts.arrays(),
                **{f"{name}:place": at for name, at in places.items()},
            },
            context=self._context(net, delayed, kernels),
        )

    def _context(
        self, net: _Net, delayed: list[Projection], kernels: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return what the template places."""
        graph, node = net.graph, net.node
        return {
            "doc": docstring(_doc(graph, delayed), 4),
            "image": {"channels": net.image[0], "size": short(net.image[1:])},
            "classes": graph.population("classes").n_units,
            "filters": self.filters,
            "lateral_inhibition": self.lateral_inhibition,
            "attention": self.attention,
            "normalisation": literal(node.normalisation),
            "noise_std": node.noise_std,
            "strength": node.inhibition.strength if node.inhibition else 0.0,
            "graded": node.inhibition is not None,
            "has_within": any(q.pre == q.post for q in graph.connectome),
            "steps": net.steps,
            "balanced": self.balanced,
            "places": self.read_in == "local",
            "counts": "counts" in self.keep,
            "pad": code("    ") if delayed else code(""),
            "units": net.units(delayed),
            **net.ends(),
            "projections": [net.projection(e, kernels[e.key]) for e in net.lowered.edges.values()],
        }

    def _options(self, net: _Net) -> dict[str, Any]:
        """Return the options of the emitted ``build()`` with their defaults."""
        graph, node, (channels, height, width) = net.graph, net.node, net.image
        options: dict[str, Any] = {
            "channels": channels,
            "image_size": height if height == width else [height, width],
            "classes": graph.population("classes").n_units,
            "filters": list(self.filters),
            "lateral_inhibition": self.lateral_inhibition,
            "attention": self.attention,
            "normalisation": node.normalisation,
            "noise_std": node.noise_std,
        }
        if any(q.pre == q.post for q in graph.connectome):
            options["within"] = True
        if node.inhibition:
            strength = node.inhibition.strength
            options |= {"graded_inhibition": True, "inhibition_strength": strength}
        if net.steps:
            options["steps"] = net.steps
        return options | {"balanced": self.balanced}

    def _state(self, net: _Net) -> state.State:
        """Return what the module's state holds."""
        graph, node, layers, (channels, height, width) = net.graph, net.node, net.layers, net.image
        first, second = self.filters
        found = state.convolution("front_end.conv1", first, channels, 3)
        found |= state.convolution("front_end.conv2", second, first, 3)
        if self.attention:
            hidden = max(1, second // 4)
            found |= state.linear("front_end.attention.squeeze", hidden, second, bias=False)
            found |= state.linear("front_end.attention.excite", second, hidden, bias=False)
            found |= state.convolution("front_end.attention.place", 1, 2, 7, bias=False)
        features = second * (height // 4) * (width // 4)
        read_out = net.read_out()
        for q in graph.projections:
            n_post, n_pre = graph.shape(q)
            if q.pre == "image":
                found |= self._read_in(layers[q.key], n_post, features, (height // 4, width // 4))
            elif q in read_out:
                one = q is read_out[0]
                found |= state.linear(layers[q.key], n_post, n_pre, bias=one)
        for p in graph.biological:
            if node.normalisation == "layer":
                found |= state.affine(f"{net.names[p.name]}.normalise", p.n_units)
            if _attenuation(p):
                found[f"{net.names[p.name]}.inhibition"] = state.held([p.n_units])
        for key, e in net.lowered.edges.items():
            q = e.projection
            bias = q.pre != q.post and _has_bias(graph, q)
            found |= state.edges(e, layers[key], bias=bias)
        return found

    def _read_in(self, name: str, n: int, n_features: int, size: tuple[int, int]) -> state.State:
        """State a read-in of ``n`` units from maps of a ``size``."""
        if self.read_in == "local":
            shape = [self.filters[1], *(min(self.read_in_window, length) for length in size)]
            seen = math.prod(shape)
            return {
                f"{name}.weight": state.drawn([n, *shape], seen),
                f"{name}.bias": state.drawn([n], seen),
                f"{name}.window": state.held([n, math.prod(shape[1:])]),
            }
        if self.read_in == "low-rank":
            rank = self.read_in_rank
            inward = {f"{name}.inward": state.drawn([rank, n_features], n_features)}
            return inward | state.linear(name, n, rank)
        return state.linear(name, n, n_features)

    @staticmethod
    def told(stated: dict[str, Any]) -> dict[str, str]:
        """Return through what the image is seen, where that is not all to all."""
        seen = stated["seen"]
        if seen["by"] == "dense":
            return {}
        shapes = [
            entry["shape"]
            for key, entry in stated["state"].items()
            if key.rpartition(".")[0] in stated["read_in"].values() and "held" not in entry
        ]
        n = sum(math.prod(shape) for shape in shapes)
        if seen["by"] == "local":
            how = f"windows of {seen['window']} x {seen['window']} places of the feature maps"
        else:
            how = f"{seen['rank']} channels"
        into = ", ".join(stated["read_in"])
        return {"read-in": f"{how} into {into}: {n:,} numbers, in place of all to all"}

    def _sweeps(self, delayed: list[Projection]) -> int:
        """Return how often the populations are gone through for one image."""
        if not delayed:
            if self.steps > 1:
                problem = f"is {self.steps}, but nothing acts on the sweep before"
                raise CompileError("template.steps", problem, "keep feedback, or steps=0")
            return 1
        if self.steps == 1:
            problem = f"is 1: {delayed[0].key} would never act, nor any feedback"
            raise CompileError(
                "template.steps", problem, "at least 2, 0 for three, or feedback=drop"
            )
        return self.steps or 3

    def _kernel(self, e: Edges) -> str:
        if self.kernel != "auto":
            return self.kernel
        return choose_kernel(e.n_post, e.n_pre, len(e.post), self.batch)

    def _cost(self, graph: Graph, kernels: Mapping[str, str]) -> str:
        """Forecast the recurrent part's cost by the cost model, as the header states it."""
        predicted = [
            forecast(*graph.shape(q), graph.count(q), self.batch)[kernels[q.key]]
            for q in graph.connectome
        ]
        weights = sum(graph.count(q) for q in graph.connectome)
        return (
            f"{weights:,} connection weights; forecast for training on one CPU core:"
            f" {sum(f.state_bytes for f in predicted) / 1e6:.1f} MB of state,"
            f" {sum(f.step_us for f in predicted) / 1e3:.1f} ms for the connections in a step of"
            f" {self.batch} images."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Net:
    """A graph as the style lays it out."""

    lowered: Lowered
    image: tuple[int, int, int]  # channels, height, width
    node: Swept  # of all neurons; some may have no inhibition
    steps: int  # sweeps, 0 where there is one
    names: dict[str, Source]  # of populations
    layers: dict[str, Source]  # attribute of each projection, by key
    style: Bionic

    @property
    def graph(self) -> Graph:
        """The graph itself."""
        return self.lowered.graph

    def read_in(self) -> list[Projection]:
        """Return what the image drives."""
        return [q for q in self.graph.projections if q.pre == "image"]

    def read_out(self) -> list[Projection]:
        """Return what is read."""
        return [q for q in self.graph.projections if q.post == "classes"]

    def places(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the place of each driven unit in the column, from 0 to 1: down and across."""
        found = {}
        for q in self.read_in():
            p = self.graph.population(q.post)
            at = [p.column(axis).to_numpy(zero_copy_only=False) for axis in ("z_um", "x_um")]
            found[q.post] = np.stack(at, 1).astype(np.float64)
        every = np.concatenate(list(found.values()))
        if np.isnan(every).any():
            problem = f"{int(np.isnan(every).any(1).sum()):,} driven neurons have no x_um and z_um"
            hint = "read_in=dense, or read_in=low-rank"
            raise CompileError("template.read_in", f"is local, but {problem}", hint)
        low, span = every.min(0), np.ptp(every, 0)
        span[span == 0] = 1.0
        return {name: ((at - low) / span).astype(np.float32) for name, at in found.items()}

    def seen_by(self, places: Mapping[str, Any]) -> dict[str, Any]:
        """Return how a read-in is made, as it is stated."""
        style = self.style
        if style.read_in == "local":
            digests = {name: array_digest(at) for name, at in places.items()}
            return {"by": "local", "window": style.read_in_window, "places_sha256": digests}
        if style.read_in == "low-rank":
            return {"by": "low-rank", "rank": style.read_in_rank}
        return {"by": "dense"}

    def reads(self, q: Projection) -> dict[str, Any]:
        """Return how the read-in of a population is made, and the key of its first factor."""
        n = self.graph.population(q.post).n_units
        style = self.style
        if style.read_in == "local":
            places = array(f"{q.post}:place")
            made = code("LocalReadIn(maps, {}, {})", places, style.read_in_window)
            return {"made": made, "inward": ""}
        if style.read_in == "low-rank":
            made = code("LowRankReadIn(self.front_end.n_features, {}, {})", n, style.read_in_rank)
            inward = literal(f"{q.key}.inward")
            return {"made": made, "inward": inward}
        made = code("nn.Linear(self.front_end.n_features, {})", n)
        return {"made": made, "inward": ""}

    def seen(self) -> dict[str, Source]:
        """Return the variable of what each population sees of the image."""
        words = {q.post: f"seen {self.names[q.post]}" for q in self.read_in()}
        unique = identifiers(words.values(), [*OWN, *self.names.values(), *self.layers.values()])
        return {name: unique[spoken] for name, spoken in words.items()}

    def units(self, delayed: list[Projection]) -> list[dict[str, Any]]:
        """Return how each population is written."""
        seen = self.seen()
        read_in = {q.post: code("self.{}", self.layers[q.key]) for q in self.read_in()}
        return [
            {
                "attr": self.names[p.name],
                "name": literal(p.name),
                "n": p.n_units,
                "inhibition": literal(f"{p.name}:inhibition") if (a := _attenuation(p)) else "",
                "form": literal(a.form) if a else literal("none"),
                "drive": self.drive(p.name, seen),
                "read_in": read_in.get(p.name, code("")),
                "within": self.within(p.name),
                "from_before": any(q.pre == p.name for q in delayed),
            }
            for p in self.graph.biological
        ]

    def drive(self, name: str, seen: dict[str, Source]) -> list[Source]:
        """Return the terms of a population's drive, in graph order."""
        return [
            seen[name]
            if q.pre == "image"
            else code("self.{}({})", self.layers[q.key], self.names[q.pre])
            for q in self.graph.projections
            if q.post == name != q.pre
        ]

    def within(self, name: str) -> Source:
        """Return the further argument of the units of a population that settles."""
        within = [self.layers[q.key] for q in self.graph.connectome if q.pre == q.post == name]
        return code(", self.{}", within[0]) if within else code("")

    def ends(self) -> dict[str, list[dict[str, Any]]]:
        """Return how read-in and read-out are written."""
        n, seen = {p.name: p.n_units for p in self.graph.populations}, self.seen()
        return {
            "read_in": [
                {
                    "attr": self.layers[q.key],
                    "seen": seen[q.post],
                    "key": literal(q.key),
                    **self.reads(q),
                }
                for q in self.read_in()
            ],
            "read_out": [
                {
                    "attr": self.layers[q.key],
                    "n": n[q.pre],
                    "name": literal(q.pre),
                    "key": literal(q.key),
                }
                for q in self.read_out()
            ],
        }

    def projection(self, e: Edges, kernel: str) -> dict[str, Any]:
        """Return how one projection of the connectome is written."""
        q = e.projection
        return {
            "attr": self.layers[e.key],
            "pre": literal(q.pre),
            "post": literal(q.post),
            "ptr": array(f"{e.key}.ptr"),
            "sources": array(f"{e.key}.pre"),
            "n_pre": e.n_pre,
            "sign": sign(e),
            "bias": _has_bias(self.graph, q),
            "start": None if e.start is None else array(f"{e.key}.start"),
            "kernel": literal(kernel),
            "within": q.pre == q.post,
        }


def _doc(graph: Graph, delayed: list[Projection]) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    first = "An image, through the layers of a cortical column, to classes."
    if not graph.provenance.measured:
        known = standing(graph.provenance.connectivity).capitalize()
        first = f"{known}: an" + first.removeprefix("An")
    text = (
        "Maps images ``(batch, channels, height, width)`` to logits ``(batch, classes)``. The"
        " options switch its parts: ``lateral_inhibition`` (strength; 0 is none) and ``attention``"
        ' in the front end, ``normalisation`` ("layer", "rms", "none"), ``noise_std`` of the'
        " synaptic noise in training"
    )
    if any(q.pre == q.post for q in graph.connectome):
        text += ", the connections ``within`` a population"
    if any(_attenuation(p) for p in graph.biological):
        text += ", ``graded_inhibition`` and its ``inhibition_strength``"
    if delayed:
        text += ", and the number of sweeps (``steps``) over which feedback acts"
    text += (
        ". ``balanced`` starts at weights that sum to 1 for each neuron where they excite, and to"
        " 0.75 where they inhibit, and see contrast in the image; else all start as `nn.Linear`"
    )
    body = textwrap.fill(text + ".", 96, initial_indent="    ", subsequent_indent="    ")
    return f"{first}\n\n{body}"


def _image(graph: Graph) -> tuple[int, int, int]:
    """Return the image's (channels, height, width)."""
    channels, height, width = graph.population("image").shape
    if min(height, width) < 4:
        problem = f"images of {height} x {width} pixels vanish in two poolings"
        raise CompileError("bionic", problem, "attach-ports.image: at least 4 high and wide")
    return channels, height, width


def _attenuation(p: Population) -> Attenuation | None:
    return p.node.inhibition if isinstance(p.node, Swept) else None


def _common_node(graph: Graph) -> Swept:
    """Return the node model that all populations share; some may have no inhibition."""
    if not graph.n_neurons:
        raise CompileError("bionic", "the graph has no neurons", "keep some")
    nodes = (p.node for p in graph.biological)
    found = list(dict.fromkeys(node for node in nodes if isinstance(node, Swept)))
    attenuated = [node for node in found if node.inhibition]
    if len({replace(node, inhibition=None) for node in found}) > 1 or len(attenuated) > 1:
        raise CompileError("bionic", f"populations differ in their node model: {found}")
    (node, *_) = attenuated or found
    return node


def _check_path(graph: Graph, node: Swept, sweeps: int) -> None:
    """Refuse a network whose classes cannot depend on the image, sweep by sweep as it is run."""
    reached = {p.name: np.full(p.n_units, p.name == "image") for p in graph.populations}

    def arriving(q: Projection) -> np.ndarray[Any, np.dtype[np.bool_]]:
        at = np.zeros(graph.population(q.post).n_units, np.bool_)
        if isinstance(q.connectivity, Synapses):
            at[q.synapses.post[reached[q.pre][q.synapses.pre]]] = True
        else:
            at[:] = reached[q.pre].any()
        return at

    for _ in range(sweeps):
        for p in graph.biological:
            others = [q for q in graph.projections if q.post == p.name != q.pre]
            drive = np.any([arriving(q) for q in others], axis=0) if others else reached[p.name]
            if node.normalisation == "layer" and p.n_units == 1:
                drive = np.zeros(1, np.bool_)  # the mean of one is itself: nothing is left
            reached[p.name] = drive
            for q in graph.connectome:
                if q.pre == q.post == p.name:
                    reached[p.name] = drive | arriving(q)
    for q in graph.projections:
        if q.post == "classes":
            reached["classes"] = reached["classes"] | arriving(q)
    if not reached["classes"].any():
        raise CompileError(
            "bionic",
            "no path of connections leads from the image to the classes",
            "keep more: a lower min_synapses, skip=keep, or other into and out_of of attach-ports",
        )


def _arrays(lowered: Lowered) -> Arrays:
    """Return everything that comes from data: connections, signs that differ, inhibition."""
    attenuated = (p for p in lowered.graph.biological if _attenuation(p))
    return edge_arrays(lowered) | {f"{p.name}:inhibition": p.attenuation() for p in attenuated}


def _has_bias(graph: Graph, q: Projection) -> bool:
    """Give each population one bias: that of its read-in, else of its first forward projection."""
    arriving = [p for p in graph.projections if p.post == q.post and p.delay == 0]
    return bool(arriving) and arriving[0] is q
