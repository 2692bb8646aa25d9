"""Decisions of the style; `lif.py.jinja` only places their text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from connectome_compiler.emit import state
from connectome_compiler.emit.arrays import Arrays
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import docstring, identifier, literal
from connectome_compiler.emit.module import array, assemble, sign
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import AllToAll, Graph
from connectome_compiler.ir.connectivity import entries_ptr
from connectome_compiler.ir.nodes import Leaky
from connectome_compiler.ir.weights import PerConnection
from connectome_compiler.options import spell_options
from connectome_compiler.statement import Wiring

DOC = """Spiking neurons: leaky integration, a spike where the potential passes 1.

    A spike takes 1 away from the potential, and arrives one step later. Maps currents
    ``(steps, batch, inputs)`` to ``(steps, batch, outputs)``, sums of spikes, and to the state at
    the end, ``(batch, 2 n)``: potentials and last spikes. An input without steps is one step.
    Gradients pass a spike by the slope of a sigmoid."""


@dataclass(frozen=True, slots=True)
class Lif:
    """Leaky integrate-and-fire neurons, trained through a surrogate gradient.

    Needs one population of leaky neurons (`set-dynamics`) and the ports of `attach-ports`.
    ``dt_ms`` is the step of time.
    """

    name: ClassVar[str] = "lif"

    dt_ms: float = 1.0  #: step of time, in ms

    def __post_init__(self) -> None:
        if not 0 < self.dt_ms < float("inf"):
            problem = f"must be positive and finite, not {self.dt_ms}"
            raise CompileError("template.dt_ms", problem)

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``."""
        tau_ms = _check(graph)
        (neurons,), (inner,) = graph.biological, graph.connectome
        n_in, n_out = (graph.population(port).n_units for port in ("input", "output"))
        post, pre = inner.connectivity.entries(*graph.shape(inner))
        arrays: Arrays = {f"{inner.key}.ptr": entries_ptr(post, neurons.n_units)}
        arrays[f"{inner.key}.pre"] = pre
        arrays[f"{inner.key}.sign"] = graph.enforced_signs(inner)
        options = {"inputs": n_in, "outputs": n_out, "tau_ms": tau_ms, "dt_ms": self.dt_ms}
        held = state.linear("read_in", neurons.n_units, n_in, bias=False)
        held |= state.linear("read_out", n_out, neurons.n_units)
        held |= state.edges(graph, inner, "synapses")
        more: dict[str, Any] = {"options": options, "state": held}
        return assemble(
            graph,
            recipe,
            "spiking_nets:lif.py.jinja",
            imports=["import math"],
            layers=["EdgeLinear"],
            class_name="",
            wiring=Wiring(
                f"{self.name}({spell_options(self)})",
                {neurons.name: ""},
                {neurons.name: "read_in"},
                {neurons.name: "read_out"},
                more,
            ),
            paragraphs=["Read-in and read-out stand for no connection."],
            arrays=arrays,
            context={
                "doc": docstring(DOC, 4),
                "options": [
                    {"name": identifier(k), "type": identifier(type(v).__name__), "default": v}
                    for k, v in options.items()
                ],
                "n": neurons.n_units,
                "population": literal(neurons.name),
                "key": literal(inner.key),
                "ptr": array(f"{inner.key}.ptr"),
                "pre": array(f"{inner.key}.pre"),
                "sign": sign(graph, inner),
            },
        )


def _check(graph: Graph) -> float:
    """Return the time constant of all neurons; refuse what the module could not carry."""
    if len(graph.biological) != 1 or len(graph.connectome) != 1:
        problem = "has several populations or projections, not one joined to itself"
        raise CompileError("lif", problem, "leave out passes that partition it")
    (neurons,), (inner,) = graph.biological, graph.connectome
    node = neurons.node
    if not isinstance(node, Leaky) or (node.tau_per, node.bias_per) != ("fixed", "none"):
        raise CompileError("lif", f"has {node}", "set-dynamics: tau_per=fixed, bias_per=none")
    if inner.kind != "chemical" or inner.weights != PerConnection(sign="abs"):
        problem = "needs synapses with signs and a weight each"
        raise CompileError("lif", problem, "apply-dale")
    ports = [q for q in graph.projections if q is not inner]
    if [(q.pre, q.post) for q in ports] != [("input", neurons.name), (neurons.name, "output")]:
        raise CompileError("lif", "has no ports", 'add [[pass]] use = "attach-ports"')
    if any(q.connectivity != AllToAll() for q in ports):
        hint = 'attach-ports: linear, with into="" and out_of="", which is all neurons'
        raise CompileError("lif", "not all neurons are driven and read", hint)
    return node.tau_ms
