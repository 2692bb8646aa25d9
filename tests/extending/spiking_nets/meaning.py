"""What leaky integrate-and-fire neurons compute, written plainly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from connectome_compiler.certify.meaning import Meaning, Options, Read, Stated, Values
from connectome_compiler.certify.plain import connections, linear, summed


class Spiking(Meaning):
    """``v' = decay v + current + W s - s``, and a spike ``s`` where ``v`` is above 1."""

    in_time = True
    smooth = False
    values: ClassVar[Values] = {
        "dt_ms": (0.5, 3.0), "inputs": (5, 2), "outputs": (3, 6), "tau_ms": (8.0, 90.0),
    }  # fmt: skip
    nonsense: ClassVar[Options] = {"dt_ms": -1.0, "tau_ms": 0.0}

    def read(self, network: Any, stated: Stated, x: Tensor, state: Tensor | None = None) -> Read:
        """Compute step by step, connection by connection."""
        (population,) = stated["populations"]
        n, options = population["units"], stated["options"]
        decay = math.exp(-options["dt_ms"] / options["tau_ms"])
        weights = connections(network.synapses)
        v, s = x.new_zeros(2, x.shape[1], n) if state is None else (state[:, :n], state[:, n:])
        spikes = []
        for current in linear(network.read_in, x):
            v = decay * v + current + summed(weights, s, n) - s
            surrogate = (1 + (2 * v - 2).tanh()) / 2
            s = torch.where(v > 1, 1.0, 0.0).to(v) + (surrogate - surrogate.detach())
            spikes.append(s)
        whole = torch.stack(spikes)
        output = linear(network.read_out, whole)
        return Read({population["name"]: whole}, output, torch.cat((v, s), 1))

    def units(self, stated: Stated) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the time constant of each population."""
        tau = {"tau_ms": stated["options"]["tau_ms"]}
        yield from ((p["name"], tau) for p in stated["populations"])

    def activities(
        self, network: Any, rates: dict[str, Tensor], stated: Stated
    ) -> dict[str, tuple[str, Tensor]]:
        """Return the spikes of each population."""
        return {name: ("spike", s.flatten(0, 1)) for name, s in rates.items()}


MEANING = Spiking()
