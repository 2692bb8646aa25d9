"""Decisions of the recurrent style; `module.py.jinja` only places their text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.emit.arrays import Arrays
from connectome_compiler.emit.cost_model import choose_kernel, forecast_rollout
from connectome_compiler.emit.describe import Wiring, tied_arrays
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import literal
from connectome_compiler.emit.module import array, assemble, connection_arrays, shared_sign
from connectome_compiler.emit.names import identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import AllToAll, OneToOne, units
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph, NodeModel, Projection
from connectome_compiler.ir.ties import type_index
from connectome_compiler.options import spell_options

FREE = (
    "Every weight between neurons stands for connections of the data. What is linear between"
    " inputs, neurons and outputs does not: no connectome says what drives a nervous system, or"
    " how it is read."
)
MOST_DENSE = 4096  # neurons; beyond, a matrix of all pairs is out of the question


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A whole nervous system as a signed rate network: ``tau dr/dt = -r + phi(W r + input + b)``.

    Needs a graph with leaky neurons (`set-dynamics`) and the ports of `attach-ports`. Gap junctions
    add ``g (r_j - r_i)``. ``dt_ms`` is the integration step (exponential Euler), ``batch_first``
    the layout of sequences; both are options of the emitted ``build()``, too. ``spectral_radius``
    above 0 scales the chemical weights to it at the start. ``kernel`` "auto" asks the cost model,
    for ``batch`` samples and ``steps`` steps. ``class_name`` names the network; by default its
    recipe does.
    """

    name: ClassVar[str] = "recurrent"

    dt_ms: float = 20.0
    batch_first: bool = False
    spectral_radius: float = 0.0
    kernel: Literal["auto", "edges", "dense"] = "auto"
    batch: int = 16
    steps: int = 20
    class_name: str = ""

    def __post_init__(self) -> None:
        for field in ("batch", "steps"):
            if getattr(self, field) < 1:
                raise CompileError(f"template.{field}", f"{getattr(self, field)} is under 1")
        if not 0 < self.dt_ms < float("inf"):
            raise CompileError("template.dt_ms", f"{self.dt_ms} is no time step")
        if not 0 <= self.spectral_radius < float("inf"):
            raise CompileError("template.spectral_radius", f"{self.spectral_radius} is no radius")
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError("template.class_name", f"{self.class_name!r} is no Python name")

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        _check(graph)
        node = _common_node(graph)
        names = identifiers(["input", "output", *(p.name for p in graph.biological)])
        first = dict(
            zip(
                [p.name for p in graph.biological],
                np.cumsum([0, *(p.n_units for p in graph.biological)]).tolist(),
                strict=False,
            )
        )
        read_in = [q for q in graph.projections if q.pre == "input"]
        read_out = [q for q in graph.projections if q.post == "output"]
        unit_arrays = _unit_arrays(graph, node, first, read_in, read_out)
        dense = self._dense(graph)
        spoken = {q.key: q.key.replace("->", " to ") for q in graph.connectome}
        unique = identifiers(spoken.values())
        attributes = {key: unique[words] for key, words in spoken.items()}
        projections = [_projection(graph, attributes, first, q) for q in graph.connectome]
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers={p.name: "units" for p in graph.biological},
            read_in={q.post: _linear(names, q) for q in read_in},
            read_out={q.pre: _linear(names, q) for q in read_out},
            more={
                "dynamics": {
                    "activation": node.activation,
                    "dt_ms": self.dt_ms,
                    "tau_ms": node.tau_ms,
                    "tau_per": node.tau_per,
                    "bias_per": node.bias_per,
                    **{
                        f"{name}_sha256": array_digest(values)
                        for name, values in unit_arrays.items()
                    },
                }
            },
        )
        return assemble(
            graph,
            recipe,
            "recurrent/module.py.jinja",
            layers=_layers(graph, self.spectral_radius > 0),
            class_name=self.class_name,
            wiring=wiring,
            paragraphs=[FREE, self._cost(graph)],
            arrays={**connection_arrays(graph), **tied_arrays(graph), **unit_arrays},
            context={
                "doc": _doc(graph, read_in[0], read_out[0]),
                "n": graph.n_neurons,
                "inputs": graph.population("input").n_units,
                "outputs": graph.population("output").n_units,
                "linear_in": _is_linear(read_in[0]),
                "linear_out": _is_linear(read_out[0]),
                "read_in": [_channel(graph, names, q) for q in read_in],
                "read_out": _read_out(graph, names, read_out),
                "activation": node.activation,
                "tau_ms": node.tau_ms,
                "dt_ms": self.dt_ms,
                "batch_first": self.batch_first,
                "spectral_radius": self.spectral_radius or None,
                "tau_of": _sharing(node.tau_per, "tau_of", graph.n_neurons),
                "bias_of": _sharing(node.bias_per, "bias_of", graph.n_neurons),
                "dense": dense,
                "populations": [
                    {
                        "name": literal(p.name),
                        "first": first[p.name],
                        "last": first[p.name] + p.n_units,
                    }
                    for p in graph.biological
                ],
                "projections": projections,
                # A projection that uses the weights of another is made after it.
                "made": sorted(projections, key=lambda p: bool(p["borrows"])),
            },
        )

    def _dense(self, graph: Graph) -> bool:
        n = graph.n_neurons
        if self.kernel != "auto":
            if self.kernel == "dense" and n > MOST_DENSE:
                problem = f"a dense matrix of {n:,} neurons has {n * n:,} entries"
                raise CompileError("template.kernel", problem, "use edges")
            return self.kernel == "dense"
        return n <= MOST_DENSE and choose_kernel(n, n, graph.n_connections, self.batch) == "dense"

    def _cost(self, graph: Graph) -> str:
        """Forecast the cost by the cost model, as the header states it."""
        cost = forecast_rollout(graph.n_neurons, graph.n_connections, self.batch, self.steps)
        return (
            f"{graph.n_connections:,} connections (gap junctions in both directions); forecast for"
            f" training on one CPU core: {cost.state_bytes / 1e6:,.1f} MB of state,"
            f" {cost.step_us / 1e3:,.1f} ms for {self.steps} steps of {self.batch} samples."
        )


def _check(graph: Graph) -> None:
    """Refuse what the module could not carry as it stands."""
    hint = 'add [[pass]] use = "attach-ports"'
    for name in ("input", "output"):
        if not any(p.name == name and p.artificial for p in graph.populations):
            raise CompileError("recurrent", f"the graph has no {name}", hint)
    for q in graph.connectome:
        if q.delay != 1:
            problem = f"has delay {q.delay}; every connection acts on the step before"
            raise CompileError(f"recurrent: {q.key}", problem, "leave split-flow out")
    for q in graph.projections:
        if q not in graph.connectome and not isinstance(q.connectivity, AllToAll | OneToOne):
            raise CompileError(f"recurrent: {q.key}", f"is {q.connectivity.describe()}", hint)
    artificial = {p.name for p in graph.populations if p.artificial}
    if odd := artificial - {"input", "output"}:
        problem = f"has no place for the artificial population {min(odd)}"
        raise CompileError("recurrent", problem, hint)


def _common_node(graph: Graph) -> NodeModel:
    """Return the node model that all populations share."""
    nodes = {p.node for p in graph.biological}
    if len(nodes) > 1:
        raise CompileError("recurrent", f"populations differ in their node model: {nodes}")
    node = nodes.pop()
    hint = 'add [[pass]] use = "set-dynamics"'
    if not node.tau_ms:
        raise CompileError("recurrent", "neurons have no time constant", hint)
    if node.normalisation != "none" or node.noise_std or node.inhibition != "none":
        problem = "leaky units have no normalisation, noise or graded inhibition"
        raise CompileError("recurrent", problem, "leave set-node-model and fold-inhibition out")
    return node


def _projection(
    graph: Graph, attributes: dict[str, str], first: dict[str, int], q: Projection
) -> dict[str, Any]:
    """Return how one projection of the connectome is written."""
    electrical = q.kind == "electrical"
    tied = electrical or q.weights.tie != "none"
    options: list[str] = []
    if tied:
        options.append(array(f"{q.key}.group"))
    if q.weights.tie != "none":
        options.append(f"scale={array(f'{q.key}.scale')}")
    if not electrical:
        options.append(f"sign={shared_sign(graph, q) or array(f'{q.key}.sign')}")
    if q.weights.start == "weight":
        options.append(f"start={array(f'{q.key}.start')}")
    if borrows := electrical and q.pre > q.post:  # a junction has one weight for both directions
        mirror = attributes[f"{q.post}->{q.pre}:electrical"]
        options.append(f"weight=self.{mirror}.weight")
    return {
        "attr": attributes[q.key],
        "class": "GapJunctions" if electrical else "TiedEdgeLinear" if tied else "EdgeLinear",
        "pre": literal(q.pre),
        "post": literal(q.post),
        "n_pre": graph.shape(q)[1],
        "ptr": array(f"{q.key}.ptr"),
        "sources": array(f"{q.key}.pre"),
        "options": options,
        "rank": q.weights.rank if q.weights.start == "low-rank" and not electrical else 0,
        "frozen": not q.weights.trained,
        "first_post": first[q.post],
        "first_pre": first[q.pre],
        "borrows": borrows,
    }


def _unit_arrays(
    graph: Graph,
    node: NodeModel,
    first: dict[str, int],
    read_in: list[Projection],
    read_out: list[Projection],
) -> Arrays:
    """Return what is known of single units: those that are driven and read, and their types."""
    arrays: Arrays = {
        "input_units": _joined(
            units(_law(q).post_units, graph.population(q.post).n_units, "post") + first[q.post]
            for q in read_in
        ),
        "output_units": _joined(
            units(_law(q).pre_units, graph.population(q.pre).n_units, "pre") + first[q.pre]
            for q in read_out
        ),
    }
    for name, per in (("tau_of", node.tau_per), ("bias_of", node.bias_per)):
        if per == "cell_type":
            index, used = [], 0
            for p in graph.biological:  # each population has values of its own
                own = type_index(p, "cell_type") + used
                used = int(own.max(initial=used - 1)) + 1
                index.append(own)
            arrays[name] = _joined(index)
        elif per == "shared":
            sizes = [p.n_units for p in graph.biological]
            arrays[name] = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return arrays


def _joined(parts: Iterable[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    joined: npt.NDArray[np.int32] = np.concatenate([np.zeros(0, np.int32), *parts])
    return joined.astype(np.int32)


def _law(q: Projection) -> AllToAll | OneToOne:
    assert isinstance(q.connectivity, AllToAll | OneToOne)
    return q.connectivity


def _is_linear(q: Projection) -> bool:
    return isinstance(q.connectivity, AllToAll)


def _linear(names: dict[str, str], q: Projection) -> str:
    """Return the attribute of a read-in or read-out, "" where it is direct."""
    return f"{names[q.pre]}_to_{names[q.post]}" if _is_linear(q) else ""


def _channel(graph: Graph, names: dict[str, str], q: Projection) -> dict[str, Any]:
    n_post, n_pre = graph.shape(q)
    law = _law(q)
    return {
        "attr": _linear(names, q),
        "n_post": len(units(law.post_units, n_post, "post")),
        "n_pre": len(units(law.pre_units, n_pre, "pre")),
        "key": literal(q.key),
    }


def _read_out(
    graph: Graph, names: dict[str, str], read_out: list[Projection]
) -> list[dict[str, Any]]:
    """Return the read-outs, each with the range of the rates that it reads."""
    found, first = [], 0
    for q in read_out:
        channel = _channel(graph, names, q)
        last = first + channel["n_pre"]
        everything = len(read_out) == 1
        found.append({**channel, "range": "" if everything else f"[..., {first}:{last}]"})
        first = last
    return found


def _sharing(per: str, name: str, n: int) -> str:
    """Return the source of the index of each unit's value, or None where there is no value."""
    if per in ("fixed", "none"):
        return "None"
    return f"torch.arange({n})" if per == "neuron" else array(name)


def _layers(graph: Graph, scaled: bool) -> list[str]:
    """Return the layers of ``nn`` that the module uses."""
    wanted = {"LeakyRates", "EdgeLinear", "scale_to_radius"}
    for q in graph.connectome:
        if q.kind == "electrical":
            wanted.add("GapJunctions")
        elif q.weights.tie != "none":
            wanted.add("TiedEdgeLinear")
        elif q.weights.start == "low-rank":
            wanted.add("draw_low_rank")
    return sorted(wanted)


def _doc(graph: Graph, read_in: Projection, read_out: Projection) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    n = graph.n_neurons
    first = f"{n:,} neurons as a recurrent rate network."
    if not graph.provenance.measured:
        first = f"{str(graph.provenance.connectivity).capitalize()}, not measured: {first}"
    drive = "``inputs`` channels" if _is_linear(read_in) else "one current per driven neuron"
    read = "``outputs`` sums of rates" if _is_linear(read_out) else "the rates that are read"
    text = (
        f"Maps a sequence ``(steps, batch, {graph.population('input').n_units})`` of {drive} to"
        f" ``(steps, batch, {graph.population('output').n_units})``, {read}, and the state at the"
        " end ``(batch, neurons)``, from which the next call can go on. An input without steps,"
        " ``(batch, channels)``, is one step. With ``batch_first`` sequences are ``(batch, steps,"
        " channels)``. ``spectral_radius`` scales the chemical weights at the start."
    )
    body = textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ")
    return f"{first}\n\n{body}"
