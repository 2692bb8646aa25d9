"""Make some channels of every map inhibitory, the others excitatory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.provenance import Evidence


@dataclass(frozen=True, slots=True)
class SignChannels:
    """Give all outgoing weights of a channel one sign.

    Policy "none" leaves weights free, as in the published MouseNet. "dale": in every population
    the last channels, a fraction ``inhibitory`` rounded down, are inhibitory and all others
    excitatory (Dale's principle), and weights keep that sign in training. No data say which
    channels are inhibitory, so the signs are modelled. Weights from the image stay free.
    """

    name: ClassVar[str] = "sign-channels"

    #: signs of channels: none, or one for all outgoing weights of a channel (dale)
    policy: Literal["none", "dale"] = "none"
    inhibitory: float = 0.0  #: fraction of the channels that is inhibitory, 0 to 1

    def __post_init__(self) -> None:
        if not 0 <= self.inhibitory <= 1:
            raise CompileError(
                f"{self.name}.inhibitory", f"must be between 0 and 1, not {self.inhibitory}"
            )
        if self.inhibitory and self.policy == "none":
            problem = f"{self.inhibitory} has no effect with policy=none"
            raise CompileError(f"{self.name}.inhibitory", problem, "set policy=dale as well")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with signs; laws must have been materialised."""
        if self.policy == "none":
            return graph
        signed = graph.map_connectome(
            lambda q: q if graph.population(q.pre).artificial else self._signed(graph, q)
        )
        return replace(signed, provenance=replace(graph.provenance, signs=Evidence.MODELLED))

    def _signed(self, graph: Graph, q: Projection) -> Projection:
        operator = q.operator
        if isinstance(operator, Linear) or operator.groups != 1:
            problem = f"is {operator}, not a convolution of all channels"
            raise CompileError(f"projection {q.key}", problem, "use sign-channels for maps only")
        channels = graph.population(q.pre).shape[0]
        positions = operator.kernel[0] * operator.kernel[1] if operator.per_position else 1
        first_inhibitory = channels - self._n_inhibitory(channels)
        inhibitory = q.synapses.pre // positions >= first_inhibitory
        sign = np.where(inhibitory, -1, 1).astype(np.int8)
        return replace(
            q,
            connectivity=replace(q.synapses, sign=sign),
            weights=q.weights.holding_signs(),
        )

    def _n_inhibitory(self, channels: int) -> int:
        # 0.29 of 100 is 28.999999999999996 in floating point.
        return int(self.inhibitory * channels + 1e-9)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the channels of each sign."""
        if self.policy == "none":
            return
        channels = {p.name: p.shape[0] for p in after.biological}
        inhibitory = {name: self._n_inhibitory(n) for name, n in channels.items()}
        n = sum(inhibitory.values())
        yield f"{sum(channels.values()) - n:,} channels are excitatory, {n:,} inhibitory"
        if self.inhibitory and (none := [name for name, k in inhibitory.items() if not k]):
            yield f"too few channels for any to be inhibitory: {', '.join(none)}"
