"""Set the dynamics of units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.nodes import Leaky, Swept
from connectome_compiler.ir.ties import constants
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class SetDynamics:
    """Make all neurons leaky rate units: ``tau dr/dt = -r + activation(drive + bias)``.

    ``tau_ms`` (milliseconds) is the initial time constant; ``tau_per`` and ``bias_per`` say how
    many values are trained: one for all neurons of a population ("shared"), one per "cell_type",
    or one per "neuron"; "fixed" keeps tau at its start, "none" omits the bias. 50 ms is the
    initial value for the fly's visual system in Lappalainen et al. 2024 (Nature 634:1132).
    """

    name: ClassVar[str] = "set-dynamics"

    #: activation function of the rate units
    activation: Literal["relu", "tanh", "sigmoid", "softplus", "linear"] = "tanh"
    tau_ms: float = 50.0  #: initial time constant, in ms
    #: trained time constants: none, one per population, per type or per neuron
    tau_per: Literal["fixed", "shared", "cell_type", "neuron"] = "neuron"
    #: trained biases: none, one per population, per type or per neuron
    bias_per: Literal["none", "shared", "cell_type", "neuron"] = "neuron"

    def __post_init__(self) -> None:
        if not 0 < self.tau_ms < float("inf"):
            problem = f"must be positive and finite, not {self.tau_ms}"
            raise CompileError(f"{self.name}.tau_ms", problem)

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with the node model of all neurons set."""
        return graph.map_populations(lambda p: p if p.artificial else self._leaky(p))

    def _leaky(self, p: Population) -> Population:
        plain = isinstance(p.node, Swept) and p.node == Swept(p.node.activation)
        if not (plain or isinstance(p.node, Leaky)):
            problem = f"has {p.node}, of which a leaky unit would keep only the activation"
            hint = "leave out set-dynamics, or what set the rest: set-node-model, fold-inhibition"
            raise CompileError(f"population {p.name}", problem, hint)
        node = Leaky(float(self.tau_ms), self.activation, self.tau_per, self.bias_per)
        return replace(p, node=node)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count what is trained, and the neurons without a cell type."""
        taus = int(constants(after, "tau_per").max(initial=-1)) + 1
        biases = int(constants(after, "bias_per").max(initial=-1)) + 1
        tau = f"{counted(taus, 'time constant')} starting at {self.tau_ms:g} ms"
        if not taus:
            tau = f"a fixed time constant of {self.tau_ms:g} ms"
        yield f"{self.activation} units with {tau}, {counted(biases, 'bias', 'biases')}"
        if "cell_type" in (self.tau_per, self.bias_per):
            tables = [p.column("cell_type") for p in after.biological if p.neurons is not None]
            if unknown := sum(column.null_count for column in tables):
                yield f"{unknown:,} neurons without a cell type are treated as one type"
