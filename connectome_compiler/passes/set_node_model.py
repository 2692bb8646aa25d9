"""Set the input-output function of units."""

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
    and bias. It subtracts the mean, so exciting one neuron lowers the others: if Dale's principle
    should hold for effects as well as for weights use "none", or "rms", a divisive normalisation
    without gain, which flips no sign but makes neurons compete. ``noise_std`` is the standard
    deviation of synaptic noise in training, in units of activity.
    """

    name: ClassVar[str] = "set-node-model"

    activation: Literal["relu"] = "relu"  #: activation function of the units
    #: normalisation of each population's activity
    normalisation: Literal["layer", "rms", "none"] = "layer"
    noise_std: float = 0.05  #: standard deviation of noise in training, in units of activity

    def __post_init__(self) -> None:
        if not 0 <= self.noise_std < float("inf"):
            problem = f"must be finite and at least 0, not {self.noise_std}"
            raise CompileError(f"{self.name}.noise_std", problem)

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with the node model of all neurons set."""
        return graph.map_populations(lambda p: p if p.artificial else self._set(p))

    def _set(self, p: Population) -> Population:
        if not isinstance(p.node, Swept):
            problem = f"has {p.node}, but only units without memory have normalisation and noise"
            hint = "leave out set-node-model, or the pass that set it, such as set-dynamics"
            raise CompileError(f"population {p.name}", problem, hint)
        node = replace(
            p.node,
            activation=self.activation,
            normalisation=self.normalisation,
            noise_std=float(self.noise_std),
        )
        return replace(p, node=node)
