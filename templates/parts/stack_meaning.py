"""What stacks of maps compute, written plainly: layers that act one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from connectome_compiler.certify.meaning import Meaning, Options, Read, Stated, Values
from connectome_compiler.certify.plain import EPSILON, PHI, acted, acting

MOMENTUM = 0.1  # of batch normalisation, as torch has it by default


class Stacked(Meaning):
    """Layers that act one after the other, once or in sweeps."""

    reads_neurons = False
    keys = Meaning.keys | {"stack"}
    values: ClassVar[Values] = {
        "classes": (7, 2),
        "fan_in": ("open", "dense"),
        "gain": ("none", "fan-in", "1/usage", "1/sqrt(usage)"),
        "steps": (2, 5),
    }
    nonsense: ClassVar[Options] = {
        "classes": 0,
        "fan_in": "?",
        "gain": "?",
        "kernel": "?",
        "steps": 1,
    }
    starts = frozenset({"fan_in", "gain"})

    def read(self, network: Any, stated: Stated, x: Tensor, state: Tensor | None = None) -> Read:
        """Compute one population after the other, in their order, sweep by sweep."""
        return stacked(network, stated, x)

    def operators(self, stated: Stated) -> dict[str, dict[str, Any]]:
        """Return the operator of each layer."""
        return {f"{q['pre']}->{q['post']}": q["operator"] for q in stated["stack"]["layers"]}

    def n_products(self, stated: Stated) -> int:
        """Count those of convolutions: at each place of the smaller map, or of the new one."""
        shapes = {p["name"]: p["shape"] for p in stated["stack"]["units"]}
        total = 0
        for q in stated["stack"]["layers"]:
            if (kind := q["operator"]["kind"]) != "Linear":
                pre, post = shapes[q["pre"]], shapes[q["post"]]
                places = math.prod((pre if kind == "ConvTranspose2d" else post)[1:])
                total += math.prod(q["operator"]["kernel"]) * pre[0] * post[0] * places
        return total

    def units(self, stated: Stated) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the activation of each population, and its normalisation."""
        for p in stated["stack"]["units"]:
            normalisation = "batch" if p["normalisation"] else "none"
            yield p["name"], {"activation": p["activation"], "normalisation": normalisation}

    def restated(self, stated: Stated) -> Stated:
        """State the sweeps and the starts that the options choose."""
        chosen, state = stated["options"], stated["state"]
        stack = stated["stack"]
        if "steps" in chosen:
            stack = {**stack, "sweeps": chosen["steps"]}
        new = {name: _start(name, state, chosen) for name in state}
        return {**stated, "stack": stack, "state": new}


MEANING = Stacked()


def _start(name: str, state: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return where a parameter starts; ``fan_in`` is an option of layers with kernels alone."""
    entry: dict[str, Any] = state[name]
    if "gain" in entry and "gain" in chosen:
        return {**entry, "gain": chosen["gain"]}
    if "post_axis" in entry and "fan_in" in chosen:
        weight = state[f"{name.rpartition('.')[0]}.weight"]
        whole = math.prod(weight.get("kernel", weight["shape"])[1:])
        return {**entry, "fan_in": "open" if chosen["fan_in"] == "open" else whole}
    return entry


def stacked(network: Any, stated: Stated, x: Tensor) -> Read:
    """Return the activity of every population, ``(batch, *shape)``, and what is read out."""
    stack = stated["stack"]
    rates = {p["name"]: x.new_zeros(len(x), *p["shape"]) for p in stack["units"]}
    for _ in range(stack.get("sweeps", 1)):
        for p in stack["units"]:
            drive = None
            for q in stack["layers"]:
                if q["post"] != p["name"]:
                    continue
                layer = getattr(network, q["layer"])
                term = acted(q["operator"], acting(layer), rates[q["pre"]])
                if layer.bias is not None:
                    term = term + layer.bias.reshape(-1, *[1] * (term.dim() - 2))
                term = term.unflatten(1, p["shape"]) if term.dim() == 2 else term
                drive = term if drive is None else drive + term
            if drive is None:  # the input
                rates[p["name"]] = x
                continue
            if p["normalisation"]:
                drive = _by_sample(drive, getattr(network, p["normalisation"]))
            rates[p["name"]] = PHI[p["activation"]](drive)
    if "read_out" not in stack:
        return Read(rates, rates[p["name"]])
    read, layer = stack["read_out"], getattr(network, stack["read_out"]["layer"])
    seen = [averaged(rates[name], read["pool"]).flatten(1) for name in read["maps"]]
    return Read(rates, torch.cat(seen, 1) @ layer.weight.t() + layer.bias)


def averaged(x: Tensor, size: int) -> Tensor:
    """Return maps of ``size`` x ``size`` means, each over its share of the rows and columns."""
    for dim in (2, 3):
        n = x.shape[dim]
        ends = [(k * n // size, -(-(k + 1) * n // size)) for k in range(size)]
        x = torch.stack([x.narrow(dim, a, b - a).mean(dim) for a, b in ends], dim)
    return x


def _by_sample(drive: Tensor, norm: Any) -> Tensor:
    """Normalise each unit or channel over samples and places: in training, over those at hand.

    Then means and variances are followed, the variance with the correction of torch.
    """
    over = [k for k in range(drive.dim()) if k != 1]
    shape = (-1, *[1] * (drive.dim() - 2))
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        mean, variance = drive.mean(over), drive.var(over, correction=0)
        n = drive.numel() // drive.shape[1]
        with torch.no_grad():
            norm.running_mean.lerp_(mean, MOMENTUM)
            norm.running_var.lerp_(variance * (n / (n - 1)), MOMENTUM)
            norm.num_batches_tracked += 1
    centred = drive - mean.reshape(shape)
    scale = norm.weight / (variance + EPSILON).sqrt()
    normalised: Tensor = centred * scale.reshape(shape) + norm.bias.reshape(shape)
    return normalised
