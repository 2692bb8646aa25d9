"""Decisions of the recurrent style; `module.py.jinja` only places their text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.emit import state
from connectome_compiler.emit.arrays import Counts, edge_arrays
from connectome_compiler.emit.carries import LISTS, Carries, must_carry, only
from connectome_compiler.emit.cost_model import choose_kernel, forecast_rollout
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, literal
from connectome_compiler.emit.module import array, assemble, sign
from connectome_compiler.emit.names import MODULE, identifiers
from connectome_compiler.emit.neurons import Neurons
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import AllToAll, OneToOne, units
from connectome_compiler.ir.nodes import Leaky
from connectome_compiler.ir.provenance import standing
from connectome_compiler.ir.ties import constants, is_mirror
from connectome_compiler.ir.weights import LowRank, PerConnection, Tied
from connectome_compiler.lower import Edges, Lowered, lower
from connectome_compiler.options import spell_options
from connectome_compiler.statement import Wiring

FREE = (
    "Every weight between neurons stands for connections of the graph below. What is linear between"
    " inputs, neurons and outputs does not: no connectome says what drives a nervous system, or"
    " how it is read."
)
# What the emitted class has beside its layers.
OWN = {"units", "input_units", "output_units", "batch_first", "n_inputs", "rates", *MODULE}
OWN |= {"example_input", "named_projections", "effective_weights", "neurons", "index"}
OWN |= {"linear_in", "linear_out"}
Units = npt.NDArray[np.int32]
MOST_DENSE = 4096  # neurons; beyond, a matrix of all pairs is out of the question
MOST_OF_GAPS = 0.5  # spectral radius at the start: of G / (1 + g), where all sums g are at most 1


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A whole nervous system as a signed rate network: ``tau dr/dt = -r + phi(W r + input + b)``.

    Needs a graph with leaky neurons (`set-dynamics`) and the ports of `attach-ports`. Gap junctions
    add ``g (r_j - r_i)`` to ``tau dr/dt``. ``dt_ms`` is the integration step (exponential Euler,
    shorter with gap junctions so that they cannot make it unstable), ``batch_first`` the layout of
    sequences; both are options of the emitted ``build()``, too. ``balanced`` scales chemical
    weights that are drawn so that no neuron is silent at the start; those from synapse counts, and
    frozen ones, start as they are. ``spectral_radius`` above 0 then scales all of them, so that
    what rates are pulled to, ``(W + G) / (1 + g)`` by rows, has that one; ``G`` are the gap
    junctions, ``g`` their sums. ``kernel`` "auto" asks the cost model, for ``batch`` samples and
    ``steps`` steps. ``allow_free_signs`` lets weights be free whose sign is known. ``keep`` adds
    counts of synapses, as ``layer.count``, and positions of neurons. ``class_name`` names the
    network; by default its recipe does.
    """

    name: ClassVar[str] = "recurrent"
    carries: ClassVar[Carries] = Carries(
        units=(only(Leaky),),
        weights=(only(PerConnection), only(LowRank), only(Tied)),
        connections=(LISTS,),
        kinds=("chemical", "electrical"),
        ends=("input", "output"),
    )

    dt_ms: float = 20.0  #: integration step, in ms
    #: sequences as (batch, time, channel) instead of (time, batch, channel)
    batch_first: bool = False
    #: spectral radius at the start, by the size of the chemical weights; 0: as they come
    spectral_radius: float = 0.0
    #: start from balanced excitation and inhibition; false: as nn.Linear does, each layer alone
    balanced: bool = True
    #: how connections are multiplied; auto asks the cost model
    kernel: Literal["auto", "edges", "dense"] = "auto"
    batch: int = 16  #: samples that the cost model reckons with
    steps: int = 20  #: steps of a sequence that the cost model reckons with
    allow_free_signs: bool = False  #: let weights be free whose sign is known
    #: what else of the data the module holds: counts of synapses, positions of neurons
    keep: tuple[Literal["counts", "positions"], ...] = ()
    class_name: str = ""  #: name of the network's class; empty: by the recipe

    def __post_init__(self) -> None:
        for field in ("batch", "steps"):
            if getattr(self, field) < 1:
                raise CompileError(f"template.{field}", f"{getattr(self, field)} is under 1")
        if not 0 < self.dt_ms < float("inf"):
            raise CompileError(
                "template.dt_ms", f"{self.dt_ms} is not a time step: it must be positive and finite"
            )
        if not 0 <= self.spectral_radius < float("inf"):
            raise CompileError(
                "template.spectral_radius",
                f"{self.spectral_radius} is not a radius: it must be finite and at least 0",
            )
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError(
                "template.class_name", f"{self.class_name!r} is not a valid Python name"
            )

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        must_carry(self, graph)
        read_in, read_out = _ports(graph)
        node = _common_node(graph)
        self._check_radius(graph)
        lowered = lower(graph)
        net = _Net(lowered, node, read_in, read_out, _first(graph), _attributes(graph))
        neurons = Neurons.of(graph, places="positions" in self.keep)
        counts = Counts.of(lowered, "counts" in self.keep)
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers={p.name: "units" for p in graph.biological},
            read_in={q.post: _linear(net.attributes, q) for q in read_in},
            read_out={q.pre: _linear(net.attributes, q) for q in read_out},
            more={
                "dynamics": self._dynamics(net),
                "options": self._options(net),
                "state": _state(net),
                "neurons": neurons.stated(),
                **counts.stated(),
            },
        )
        return assemble(
            lowered,
            recipe,
            "recurrent/module.py.jinja",
            neurons=neurons,
            layers=_layers(lowered),
            class_name=self.class_name,
            allow_free_signs=self.allow_free_signs,
            wiring=wiring,
            paragraphs=[FREE, self._cost(graph)],
            arrays={
                **edge_arrays(lowered),
                **counts.arrays(),
                **net.stored(),
            },
            context=self._context(net),
        )

    def _dynamics(self, net: _Net) -> dict[str, Any]:
        """Return what `meaning` needs to compute the same."""
        node, edges = net.node, net.lowered.edges
        return {
            "activation": node.activation,
            "dt_ms": self.dt_ms,
            "tau_ms": node.tau_ms,
            "tau_per": node.tau_per,
            "bias_per": node.bias_per,
            "spectral_radius": self.spectral_radius or None,
            "starts_sha256": {k: e.start_sha256 for k, e in edges.items() if e.start_sha256},
            **{f"{name}_sha256": array_digest(a) for name, a in net.of_units().items()},
        }

    def _context(self, net: _Net) -> dict[str, Any]:
        """Return what the template places."""
        graph, attributes = net.graph, net.attributes
        first_in, first_out = net.read_in[0], net.read_out[0]
        projections = [_projection(net, e) for e in net.lowered.edges.values()]
        return {
            "doc": docstring(_doc(graph, first_in, first_out), 4),
            "n": graph.n_neurons,
            "inputs": graph.population("input").n_units,
            "outputs": graph.population("output").n_units,
            "linear_in": _is_linear(first_in),
            "linear_out": _is_linear(first_out),
            "read_in": [_channel(graph, attributes, q) for q in net.read_in],
            "read_out": _read_out(graph, attributes, net.read_out),
            "activation": literal(net.node.activation),
            "tau_ms": net.node.tau_ms,
            "dt_ms": self.dt_ms,
            "batch_first": self.batch_first,
            "spectral_radius": self.spectral_radius or None,
            "balanced": self.balanced and _are_drawn(graph),
            **{name: _index_source(name, a, net.per(name)) for name, a in net.shared().items()},
            "dense": self._dense(graph),
            "counts": "counts" in self.keep,
            "populations": [
                {
                    "name": literal(p.name),
                    "first": net.first[p.name],
                    "last": net.first[p.name] + p.n_units,
                }
                for p in graph.biological
            ],
            "projections": projections,
            # A projection that uses the weights of another is made after it.
            "made": sorted(projections, key=lambda p: bool(p["borrows"])),
            "drawn": [net.attributes[key] for key in _drawn_together(net.lowered)],
        }

    @staticmethod
    def told(stated: dict[str, Any]) -> dict[str, str]:
        """Return how units change in time, and through what they are driven and read."""
        d = stated["dynamics"]
        words = {"fixed": "fixed", "none": "no bias", "cell_type": "one per cell type"}
        tau, bias = (
            words.get(per, f"one per {per}" if per == "neuron" else "one per population")
            for per in (d["tau_per"], d["bias_per"])
        )
        bias = bias if bias == "no bias" else f"biases {bias}"
        ports = [
            f"{how} {'linear' if all(of.values()) else 'direct'} {word} {', '.join(of)}"
            for how, word, of in (
                ("read-in", "into", stated["read_in"]),
                ("read-out", "out of", stated["read_out"]),
            )
        ]
        step = f"leaky rates, {d['activation']}, steps of {d['dt_ms']:g} ms"
        taus = f"time constants from {d['tau_ms']:g} ms, {tau}; {bias}"
        if tau == "fixed":
            taus = f"time constants of {d['tau_ms']:g} ms, fixed; {bias}"
        if d["spectral_radius"]:
            step += f", spectral radius {d['spectral_radius']:g} at the start"
        return {"dynamics": f"{step}; {taus}", "ports": "; ".join(ports)}

    def _options(self, net: _Net) -> dict[str, Any]:
        """Return the options of the emitted ``build()`` with their defaults."""
        node = net.node
        ends = {"inputs": ("input", net.read_in[0]), "outputs": ("output", net.read_out[0])}
        sizes = {
            name: net.graph.population(port).n_units if _is_linear(q) else None
            for name, (port, q) in ends.items()
        }
        return {
            **sizes,
            "activation": node.activation,
            "tau_ms": node.tau_ms,
            "dt_ms": self.dt_ms,
            "balanced": self.balanced and _are_drawn(net.graph),
            "spectral_radius": self.spectral_radius or None,
            "batch_first": self.batch_first,
        }

    def _dense(self, graph: Graph) -> bool:
        n = graph.n_neurons
        if self.kernel != "auto":
            if self.kernel == "dense" and n > MOST_DENSE:
                problem = f"a dense matrix of {n:,} neurons has {n * n:,} entries"
                raise CompileError("template.kernel", problem, "use edges")
            return self.kernel == "dense"
        return n <= MOST_DENSE and choose_kernel(n, n, graph.n_connections, self.batch) == "dense"

    def _check_radius(self, graph: Graph) -> None:
        """Refuse to scale a network to a spectral radius that it cannot have."""
        if not self.spectral_radius:
            return
        if self.spectral_radius <= MOST_OF_GAPS and any(
            q.kind == "electrical" for q in graph.connectome
        ):
            problem = f"is {self.spectral_radius:g}, but gap junctions alone may have as much as"
            hint = "set a larger one, or 0 to leave weights as they are drawn"
            raise CompileError("template.spectral_radius", f"{problem} {MOST_OF_GAPS:g}", hint)
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        place = _first(graph)
        edges = [q for q in graph.connectome if q.kind == "chemical"]
        post = _joined(q.synapses.post + place[q.post] for q in edges)
        pre = _joined(q.synapses.pre + place[q.pre] for q in edges)
        n = graph.n_neurons
        joined = csr_array((np.ones(len(post), np.int8), (post, pre)), (n, n))
        loops, _ = connected_components(joined, connection="strong")
        if loops == n and not (post == pre).any():
            problem = "no chemical connection leads back to where it came from: the radius is 0"
            raise CompileError("template.spectral_radius", problem, "leave it out")

    def _cost(self, graph: Graph) -> str:
        """Forecast the cost by the cost model, as the header states it."""
        kernel = "dense" if self._dense(graph) else "edges"
        n, count = graph.n_neurons, graph.n_connections
        cost = forecast_rollout(n, count, self.batch, self.steps, kernel)
        return (
            f"{count:,} connections (gap junctions in both directions), kernel {kernel!r}; forecast"
            f" for training on one CPU core: {cost.state_bytes / 1e6:,.1f} MB of state,"
            f" {cost.step_us / 1e3:,.1f} ms for {self.steps} steps of {self.batch} samples."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Net:
    """A graph as the style lays it out."""

    lowered: Lowered
    node: Leaky  # of all neurons
    read_in: list[Projection]
    read_out: list[Projection]
    first: dict[str, int]  # place of each population's first unit among those of all
    attributes: dict[str, Source]  # of each projection, by key

    @property
    def graph(self) -> Graph:
        """The graph itself."""
        return self.lowered.graph

    def shared(self) -> dict[str, Units]:
        """Return the index of each unit's time constant and bias, among those that are trained."""
        return {
            "tau_of": constants(self.graph, "tau_per"),
            "bias_of": constants(self.graph, "bias_per"),
        }

    def per(self, name: str) -> str:
        """Return what has a time constant or a bias of its own."""
        return self.node.tau_per if name == "tau_of" else self.node.bias_per

    def of_units(self) -> dict[str, Units]:
        """Return the units that are driven and read, and what they share."""
        return {
            "input_units": _places(self.graph, self.first, self.read_in, "post"),
            "output_units": _places(self.graph, self.first, self.read_out, "pre"),
            **{name: index for name, index in self.shared().items() if len(index)},
        }

    def stored(self) -> dict[str, Units]:
        """Return what of this cannot be written in a word."""
        own = {name for name in ("tau_of", "bias_of") if self.per(name) == "neuron"}
        return {name: index for name, index in self.of_units().items() if name not in own}


def _attributes(graph: Graph) -> dict[str, Source]:
    """Return the attribute of each projection."""
    # In no name of a population, so that no two projections are spoken alike.
    spoken = {q.key: q.key.replace("->", "\0to\0") for q in graph.projections}
    unique = identifiers(spoken.values(), OWN)
    return {key: unique[words] for key, words in spoken.items()}


def _ports(graph: Graph) -> tuple[list[Projection], list[Projection]]:
    """Return read-in and read-out; refuse what the module could not carry as it stands."""
    hint = 'add [[pass]] use = "attach-ports"'
    if not graph.connectome:
        raise CompileError("recurrent", "the graph has no connections", "keep some")
    read_in = [q for q in graph.projections if q.pre == "input"]
    read_out = [q for q in graph.projections if q.post == "output"]
    for many, end, channels in ((read_in, "post", "pre"), (read_out, "pre", "post")):
        name = "input" if many is read_in else "output"
        if not many or any(getattr(q, end) in ("input", "output") for q in many):
            raise CompileError(f"recurrent: {name}", "is not joined to neurons alone", hint)
        for q in many:
            if not isinstance(q.connectivity, AllToAll | OneToOne) or q.delay:
                problem = f"is {q.connectivity.describe()}, delay {q.delay}"
                raise CompileError(f"recurrent: {q.key}", problem, hint)
        if len({type(q.connectivity) for q in many}) > 1:
            raise CompileError(f"recurrent: {name}", "is direct in part, and linear in part", hint)
        n = graph.population(name).n_units
        chosen = [units(getattr(_law(q), f"{channels}_units"), n, channels) for q in many]
        in_turn = chosen if _is_linear(many[0]) else [_joined(chosen)]
        if any(not np.array_equal(index, np.arange(n)) for index in in_turn):
            raise CompileError(f"recurrent: {name}", "has channels that are not in order", hint)
    return read_in, read_out


def _common_node(graph: Graph) -> Leaky:
    """Return the node model that all populations share."""
    hint = 'add [[pass]] use = "set-dynamics"'
    if not graph.n_neurons:
        raise CompileError("recurrent", "the graph has no neurons", "keep some")
    first, *others = graph.biological
    node = first.node
    assert isinstance(node, Leaky)  # all that the style carries
    for p in others:
        if p.node != node:
            problem = f"{p.name} has {p.node}, {first.name} has {node}"
            raise CompileError("recurrent", problem, f"make them alike: {hint}")
    return node


def _projection(net: _Net, e: Edges) -> dict[str, Any]:
    """Return how one projection of the connectome is written."""
    q, attributes, first = e.projection, net.attributes, net.first
    electrical = q.kind == "electrical"
    options: list[Source] = []
    if e.group is not None:
        options.append(array(f"{q.key}.group"))
    if e.scale is not None:
        options.append(code("scale={}", array(f"{q.key}.scale")))
    if not electrical:
        options.append(code("sign={}", sign(e)))
    if e.start is not None:
        options.append(code("start={}", array(f"{q.key}.start")))
    if is_mirror(q):  # a junction has one weight for both directions
        mirror = attributes[f"{q.post}->{q.pre}:electrical"]
        options.append(code("weight=self.{}.weight", mirror))
    holder = code("EdgeLinear") if e.group is None else code("TiedEdgeLinear")
    return {
        "attr": attributes[q.key],
        "class": code("GapJunctions") if electrical else holder,
        "pre": literal(q.pre),
        "post": literal(q.post),
        "n_pre": e.n_pre,
        "ptr": array(f"{q.key}.ptr"),
        "sources": array(f"{q.key}.pre"),
        "options": options,
        "rank": q.weights.rank if isinstance(q.weights, LowRank) and not electrical else 0,
        "frozen": not (q.weights.trained or is_mirror(q)),
        "first_post": first[q.post],
        "first_pre": first[q.pre],
        "borrows": is_mirror(q),
    }


def _state(net: _Net) -> state.State:
    """Return what the module's state holds."""
    graph, attributes, shared = net.graph, net.attributes, net.shared()
    found: state.State = {}
    biased = True  # the first read-out
    for q in graph.projections:
        if q.pre == "input" and _is_linear(q):
            channel = _channel(graph, attributes, q)
            n_post, n_pre = channel["n_post"], channel["n_pre"]
            found |= state.linear(attributes[q.key], n_post, n_pre, bias=False)
        elif q.post == "output" and _is_linear(q):
            channel = _channel(graph, attributes, q)
            n_post, n_pre = channel["n_post"], channel["n_pre"]
            found |= state.linear(attributes[q.key], n_post, n_pre, bias=biased)
            biased = False
    for key, e in net.lowered.edges.items():
        q = e.projection
        of = attributes[f"{q.post}->{q.pre}:electrical"] if is_mirror(q) else ""
        found |= state.edges(e, attributes[key], of=of)
    held = {name: len(index) for name, index in shared.items() if len(index)}
    found |= {f"units.{name}": state.held([n]) for name, n in held.items()}
    sizes = {name: int(index.max(initial=-1)) + 1 for name, index in shared.items()}
    tau = {"shape": [sizes["tau_of"] if "tau_of" in held else 1], "start": "log-tau"}
    found["units.log_tau"] = tau if "tau_of" in held else {**tau, "trained": False}
    if "bias_of" in held:
        found["units.bias"] = state.constant([sizes["bias_of"]], 0.0)
    return found


def _places(
    graph: Graph, first: dict[str, int], many: list[Projection], end: Literal["pre", "post"]
) -> Units:
    """Return the units, counted through all populations, that ports drive or read."""
    index = []
    for q in many:
        name = getattr(q, end)
        chosen = units(getattr(_law(q), f"{end}_units"), graph.population(name).n_units, end)
        index.append(chosen + first[name])
    return _joined(index)


def _first(graph: Graph) -> dict[str, int]:
    """Return the place of each population's first unit among those of all."""
    starts = np.cumsum([0, *(p.n_units for p in graph.biological)]).tolist()
    return {p.name: start for p, start in zip(graph.biological, starts, strict=False)}


def _joined(parts: Iterable[Units]) -> Units:
    joined: Units = np.concatenate([np.zeros(0, np.int32), *parts])
    return joined.astype(np.int32)


def _law(q: Projection) -> AllToAll | OneToOne:
    assert isinstance(q.connectivity, AllToAll | OneToOne)
    return q.connectivity


def _are_drawn(graph: Graph) -> bool:
    """Whether chemical weights are trained from a start that is drawn."""
    held = [q.weights for q in graph.connectome if q.kind == "chemical"]
    return all(w.trained and getattr(w, "start", "") != "weight" for w in held)


def _is_linear(q: Projection) -> bool:
    return isinstance(q.connectivity, AllToAll)


def _linear(attributes: dict[str, Source], q: Projection) -> str:
    """Return the attribute of a read-in or read-out, "" where it is direct."""
    return attributes[q.key] if _is_linear(q) else ""


def _channel(graph: Graph, attributes: dict[str, Source], q: Projection) -> dict[str, Any]:
    n_post, n_pre = graph.shape(q)
    law = _law(q)
    return {
        "attr": _linear(attributes, q),
        "n_post": len(units(law.post_units, n_post, "post")),
        "n_pre": len(units(law.pre_units, n_pre, "pre")),
        "key": literal(q.key),
    }


def _read_out(
    graph: Graph, attributes: dict[str, Source], read_out: list[Projection]
) -> list[dict[str, Any]]:
    """Return the read-outs, each with the range of the rates that it reads."""
    found, first = [], 0
    for q in read_out:
        channel = _channel(graph, attributes, q)
        last = first + channel["n_pre"]
        part = code("[..., {}:{}]", first, last) if len(read_out) > 1 else code("")
        found.append({**channel, "range": part})
        first = last
    return found


def _index_source(name: str, index: Units, per: str) -> Source:
    """Return the source of the index of each unit's value."""
    if not len(index):
        return code("None")
    return code('torch.arange({}, device="cpu")', len(index)) if per == "neuron" else array(name)


def _drawn_together(lowered: Lowered) -> list[str]:
    """Return the gap junctions that are drawn once all layers are made: those of several."""
    gaps = {key: e for key, e in lowered.edges.items() if e.projection.kind == "electrical"}
    own = [key for key, e in gaps.items() if e.start is None and not is_mirror(e.projection)]
    return own if len(gaps) > 1 else []


def _layers(lowered: Lowered) -> list[str]:
    """Return the layers of ``nn`` that the module uses."""
    wanted = {"LeakyRates", "EdgeLinear", "scale_to_radius", "balance", "rest"}
    wanted |= {"port_units", "named_currents", "held_rates"}
    if _drawn_together(lowered):
        wanted.add("draw_conductances")
    for q in lowered.graph.connectome:
        if q.kind == "electrical":
            wanted.add("GapJunctions")
        elif isinstance(q.weights, Tied):
            wanted.add("TiedEdgeLinear")
        elif isinstance(q.weights, LowRank):
            wanted.add("draw_low_rank")
    return sorted(wanted)


def _doc(graph: Graph, read_in: Projection, read_out: Projection) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    first = f"{graph.n_neurons:,} neurons as a recurrent rate network."
    if not graph.provenance.measured:
        first = f"{standing(graph.provenance.connectivity).capitalize()}: {first}"
    gaps = any(q.kind == "electrical" for q in graph.connectome)
    drive = "``inputs`` channels" if _is_linear(read_in) else "one current per driven neuron"
    read = "``outputs`` sums of rates" if _is_linear(read_out) else "the rates that are read"
    n_in, n_out = (graph.population(name).n_units for name in ("input", "output"))
    dynamics = "Each follows ``tau dr/dt = -r + activation(W r + input + bias)``."
    if gaps:
        dynamics = (
            "Each follows ``tau dr/dt = -r + activation(W r + input + bias) + sum over j of"
            " g_j (r_j - r)``, the last through gap junctions."
        )
    maps = (
        f"Maps a sequence ``(steps, batch, {n_in})``, {drive}, to ``(steps, batch, {n_out})``,"
        f" {read}, and to the state at the end, ``(batch, {graph.n_neurons})``, from which the next"
        f" call can go on. An input without steps, ``(batch, {n_in})``, is one step. With"
        " ``batch_first`` sequences are ``(batch, steps, ...)``. Lists of neurons as ``inputs`` and"
        " ``outputs`` make each of them a channel, without weights."
    )
    start = (
        "``tau_ms`` is where time constants start, ``dt_ms`` the step, both in milliseconds."
        " ``balanced`` starts at chemical weights that sum to 1 for each neuron where they excite,"
        " and to 0.75 where they inhibit, and at biases of 0.1 for relu; ``spectral_radius``, if"
        f" not None, is that of {'``(W + G) / (1 + g)``' if gaps else '``W``'} then: chemical"
        " weights are scaled to it."
    )
    if gaps:
        start += " ``G`` are the conductances ``g_j``, and ``g`` the sum of each neuron's."
    return "\n\n".join([first, *(_indented(part) for part in (dynamics, maps, start))])


def _indented(text: str) -> str:
    whole = re.sub("``.+?``", lambda code: code[0].replace(" ", "\0"), text)  # no break in code
    lines = textwrap.fill(whole, 96, initial_indent="    ", subsequent_indent="    ")
    return lines.replace("\0", " ")
