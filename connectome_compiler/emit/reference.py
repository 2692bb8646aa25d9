"""What a network of rate populations computes, written plainly: the measure of emitted ones.

One population after the other, in double precision, by the populations and projections that
``PROVENANCE`` states, with the weights that the module itself reports. Front end, read-in and
read-out are the module's own: no connectome says how they should be.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5  # of both normalisations, as torch has it by default


def rates_and_output(
    network: Any, stated: dict[str, Any], image: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the rates of every population, ``(batch, units)``, and what is read out of them."""
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
