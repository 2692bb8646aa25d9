"""What a network of rate populations computes, written plainly: the measure of emitted ones.

One population after the other, in double precision, by the populations and projections that
``PROVENANCE`` states, with the weights that the module itself reports. Front end, read-in and
read-out are the module's own: no connectome says how they should be.

Two kinds: `swept` populations, through which an image passes in a few sweeps, and `leaky` ones,
which change in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "linear": torch.clone,
}
EPSILON = 1e-5  # of both normalisations, as torch has it by default


def rates_and_output(
    network: Any, stated: dict[str, Any], x: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the rates of every population and what is read out of them, for the input ``x``."""
    return (leaky if "dynamics" in stated else swept)(network, stated, x)


def leaky(network: Any, stated: dict[str, Any], u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return rates ``(steps, batch, units)`` by population, and the output, from a state of 0."""
    dynamics, units = stated["dynamics"], network.units
    phi = PHI[dynamics["activation"]]
    turned = u.transpose(0, 1) if network.batch_first else u
    sizes = {p["name"]: p["units"] for p in stated["populations"]}
    starts = dict(zip(sizes, torch.tensor([0, *sizes.values()]).cumsum(0).tolist(), strict=False))
    n, batch = sum(sizes.values()), turned.shape[1]
    # One time constant per unit, and the part of the way that is gone in one step.
    tau = units.log_tau.exp()
    tau = tau[units.tau_of] if units.tau_of is not None else tau.expand(n)
    gone = 1 - (-dynamics["dt_ms"] / tau).exp()
    bias = units.bias[units.bias_of] if units.bias is not None else torch.zeros_like(tau)
    layers = {
        f"{a}->{b}" + (":electrical" if w.kind == "electrical" else ""): (a, b, w.sparse_weight())
        for a, b, w in network.named_projections()
    }
    drive = turned
    if all(stated["read_in"].values()):  # else the input is the current of each driven unit
        parts = [getattr(network, name)(turned) for name in stated["read_in"].values()]
        drive = torch.cat(parts, -1)
    rates = {name: turned.new_zeros(batch, size) for name, size in sizes.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in sizes}
    for step in drive:
        entering = turned.new_zeros(batch, n).index_add(1, network.input_units, step)
        new = {}
        for name, size in sizes.items():
            here = slice(starts[name], starts[name] + size)
            total = entering[:, here] + bias[here]
            for key, (pre, post, weight) in layers.items():
                if post != name:
                    continue
                total = total + _sum(weight, rates[pre])
                if key.endswith(":electrical"):
                    i, _ = weight.indices()
                    loss = weight.values().new_zeros(size).index_add(0, i, weight.values())
                    total = total - loss * rates[name]
            new[name] = rates[name] + gone[here] * (phi(total) - rates[name])
        rates = new
        for name, now in rates.items():
            found[name].append(now)
    traces = {name: torch.stack(now) for name, now in found.items()}
    read = torch.cat(list(traces.values()), -1)[..., network.output_units]
    outputs, first = [], 0
    for name in stated["read_out"].values():
        if not name:  # the rates themselves
            outputs = [read]
            break
        last = first + getattr(network, name).in_features
        outputs.append(getattr(network, name)(read[..., first:last]))
        first = last
    output = sum(outputs[1:], outputs[0])
    if network.batch_first:
        traces = {name: x.transpose(0, 1) for name, x in traces.items()}
        output = output.transpose(0, 1)
    return traces, output


def swept(network: Any, stated: dict[str, Any], image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return rates ``(batch, units)`` by population, and the output."""
    weights = {f"{a}->{b}": w.sparse_weight() for a, b, w in network.named_projections()}
    layers = {f"{a}->{b}": layer for a, b, layer in network.named_projections()}
    features = network.front_end(image)
    seen = {post: getattr(network, name)(features) for post, name in stated["read_in"].items()}
    rates = {
        p["name"]: features.new_zeros(len(features), p["units"]) for p in stated["populations"]
    }
    for _ in range(stated["sweeps"]):
        for p in stated["populations"]:
            name = p["name"]
            drive = seen.get(name, torch.zeros_like(rates[name]))
            for key, layer in layers.items():
                pre, _, post = key.partition("->")
                if post == name != pre:
                    drive = drive + _sum(weights[key], rates[pre])
                    drive = drive if layer.bias is None else drive + layer.bias
            units = getattr(network, p["layer"])
            drive = _normalised(drive, p["normalisation"], units)
            activity = drive.clamp(min=0)
            if f"{name}->{name}" in layers:
                settled = drive + _sum(weights[f"{name}->{name}"], activity)
                activity = settled.clamp(min=0)
            rates[name] = _attenuated(activity, p, units)
    output = sum(getattr(network, name)(rates[pre]) for pre, name in stated["read_out"].items())
    assert isinstance(output, Tensor)
    return rates, output


def _sum(weight: Tensor, rates: Tensor) -> Tensor:
    """Return what each target gets: ``(batch, post)``, connection by connection."""
    post, pre = weight.indices()
    messages = rates[:, pre] * weight.values()
    return rates.new_zeros(len(rates), weight.shape[0]).index_add(1, post, messages)


def _normalised(drive: Tensor, kind: str, units: Any) -> Tensor:
    if kind == "layer":
        centred = drive - drive.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + EPSILON).sqrt()
        drive = centred / scale * units.normalise.weight + units.normalise.bias
    elif kind == "rms":
        drive = drive / (drive.square().mean(1, keepdim=True) + EPSILON).sqrt()
    return drive


def _attenuated(activity: Tensor, p: dict[str, Any], units: Any) -> Tensor:
    if p["inhibition"] == "none":
        return activity
    amount: Tensor = p["inhibition_strength"] * units.inhibition
    if p["inhibition"] == "multiplicative":
        return activity * (1 - amount)
    return (activity - amount).clamp(min=0)
