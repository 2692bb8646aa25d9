"""Choose how units turn input into activity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.nodes import Swept


@dataclass(frozen=True, slots=True)
class SetNodeModel:
    """Set activation, normalisation and noise of all neurons.

    Normalisation "layer" is that of Ba et al. 2016 (arXiv 1607.06450) over a population, with gain
    and bias. It subtracts the mean, so one neuron's excitation lowers the others: where Dale's
    principle is to hold for weights alone use "none", or "rms", a divisive normalisation without
    gain: it turns no sign, but what one neuron gets it takes from the others. ``noise_std`` is
    the standard deviation of synaptic noise in training, in units of activity.
    """

    name: ClassVar[str] = "set-node-model"

    activation: Literal["relu"] = "relu"  #: activation of the units
    #: normalisation of each population's activity
    normalisation: Literal["layer", "rms", "none"] = "layer"
    noise_std: float = 0.05  #: standard deviation of noise in training, in units of activity

    def __post_init__(self) -> None:
        if not 0 <= self.noise_std < float("inf"):
            problem = f"must be finite and not negative, not {self.noise_std}"
            raise CompileError(f"{self.name}.noise_std", problem)

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with the node model of all neurons set."""
        return graph.map_populations(lambda p: p if p.artificial else self._set(p))

    def _set(self, p: Population) -> Population:
        if not isinstance(p.node, Swept):
            problem = f"has {p.node}: only units without memory have normalisation and noise"
            hint = "leave set-node-model out, or what made them so, such as set-dynamics"
            raise CompileError(f"population {p.name}", problem, hint)
        node = replace(
            p.node,
            activation=self.activation,
            normalisation=self.normalisation,
            noise_std=float(self.noise_std),
        )
        return replace(p, node=node)
