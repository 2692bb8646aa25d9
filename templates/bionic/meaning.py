"""What swept populations compute, written plainly, and what of them alone is checked."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from connectome_compiler.certify.balanced import DONE, starts_balanced
from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.layers import shake
from connectome_compiler.certify.meaning import Case, Meaning, Options, Read, Stated, Values
from connectome_compiler.certify.plain import EPSILON, connections, linear, summed
from connectome_compiler.certify.state import noise_is_normal
from connectome_compiler.ir.digest import array_digest

CALIBRATING = 16  # images


class Swept(Meaning):
    """Populations of rates, through which an image passes in a few sweeps."""

    refuses_sizes = False  # images have the size that their features have
    keys = Meaning.keys | {"seen", "sweeps"}
    knows_neurons = True
    values: ClassVar[Values] = {
        "attention": (True, False),
        "balanced": (False, True),
        "channels": (2, 3),
        "classes": (7, 2),
        "filters": ((4, 6), (5, 12)),
        "graded_inhibition": (True, False),
        "image_size": (12, (8, 13)),
        "inhibition_strength": (0.25, 0.75),
        "lateral_inhibition": (0.4, 0.0, 0.2),
        "noise_std": (0.3, 0.0),
        "normalisation": ("rms", "none", "layer"),
        "steps": (2, 5),
        "within": (True, False),
    }
    nonsense: ClassVar[Options] = {
        "classes": 0, "image_size": 3, "inhibition_strength": 2.0, "noise_std": -1.0,
        "normalisation": "?", "steps": 1,
    }  # fmt: skip
    unscaled: ClassVar[Options] = {"balanced": False}

    def read(self, network: Any, stated: Stated, x: Tensor, state: Tensor | None = None) -> Read:
        """Compute one population after the other, in their order, sweep by sweep."""
        return swept(network, stated, x)

    def check_built(self, case: Case, network: Any) -> tuple[str, ...]:
        """Compare balanced starts with those drawn: what settles is a drive of its own."""
        n_maps = case.stated["options"]["filters"][1]
        read_in = case.stated["read_in"].values()
        starts_balanced(
            case,
            lambda pre, post: (post, pre == post),
            lambda drawn: {k: x for name in read_in for k, x in _centred(name, drawn, n_maps)},
        )
        return (DONE,)

    def check_shaken(self, case: Case, network: Any) -> tuple[str, ...]:
        """Compare the noise of the units with its law, and calibration with its own."""
        calibrates(network, case.stated)
        double = copy.deepcopy(network).double()
        shake(self, double)
        for p in case.stated["populations"]:
            units = double.get_submodule(p["layer"])
            units.noise_std = p["noise_std"] or 0.1  # an option of build(), also where it is 0
            with finding(p["name"]):
                noise_is_normal(p["name"], units, p["units"], units.noise_std)
        return (
            "noise in training is normal, of the size stated",
            "calibrate() gives drives a mean of 0, populations a variance of 1, and no more",
        )

    def check_units(self, network: Any, stated: Stated) -> None:
        """Compare what single units are inhibited by, and their noise."""
        for p in stated["populations"]:
            units = network.get_submodule(p["layer"])
            held = units.inhibition
            digest = None if held is None else array_digest(held.float().numpy())
            if held is not None and digest != p.get("inhibition_sha256"):
                raise Wrong(p["name"], "its neurons are inhibited otherwise than in the graph")
            if units.noise_std != p["noise_std"]:
                raise Wrong(p["name"], f"noise_std is {units.noise_std}, not {p['noise_std']}")
        for post, digest in stated["seen"].get("places_sha256", {}).items():
            places = network.get_submodule(stated["read_in"][post]).places
            if array_digest(places.float().numpy()) != digest:
                raise Wrong(f"image->{post}", "sees windows at other places than the graph's")

    def quiet(self, network: Any) -> None:
        """Put out the noise of all units."""
        for layer in network.modules():
            if hasattr(layer, "noise_std"):
                layer.noise_std = 0.0

    def restated(self, stated: Stated) -> Stated:
        """State the units, sweeps and projections that the options choose."""
        chosen = stated["options"]
        new = {**stated, "sweeps": chosen.get("steps") or stated["sweeps"]}
        own = {
            k: chosen[k]
            for k in ("normalisation", "noise_std", "inhibition_strength")
            if k in chosen
        }
        graded = chosen.get("graded_inhibition", True)
        new["populations"] = [_unit(p, own, graded) for p in stated["populations"]]
        if not chosen.get("within", True):
            kept = [p for p in stated["projections"] if not _is_within(p["key"])]
            new["projections"] = kept
        return new


MEANING = Swept()


def _unit(p: dict[str, Any], own: dict[str, Any], graded: bool) -> dict[str, Any]:
    if p["inhibition"] == "none":
        own = {k: v for k, v in own.items() if k != "inhibition_strength"}
    elif not graded:
        own = {**own, "inhibition": "none"}
    return {**p, **own}


def _centred(name: str, drawn: Mapping[str, Tensor], n_maps: int) -> Iterator[tuple[str, Tensor]]:
    """Yield where a read-in starts: the weights of a unit for a map have a mean of 0."""
    key = f"{name}.inward" if f"{name}.inward" in drawn else f"{name}.weight"
    weight = drawn[key].flatten(1)
    parts = [
        part - part.mean(1, keepdim=True) if part.shape[1] > 1 else part
        for part in weight.double().chunk(n_maps, 1)
    ]
    yield key, torch.cat(parts, 1).view(drawn[key].shape)
    yield f"{name}.bias", torch.zeros_like(drawn[f"{name}.bias"])


def _is_within(key: str) -> bool:
    pre, _, post = key.partition("->")
    return pre == post


def calibrates(network: Any, stated: Stated) -> None:
    """Compare a network after ``calibrate()`` with one that is calibrated here, plainly."""
    found, wanted = (copy.deepcopy(network).double().train() for _ in range(2))
    image = found.example_input(CALIBRATING)
    for layer in found.modules():  # an option of build(), also where it is 0
        if hasattr(layer, "noise_std"):
            layer.noise_std = 0.1
    state = torch.random.get_rng_state()
    found.calibrate(image)
    if not found.training or not torch.equal(torch.random.get_rng_state(), state):
        raise Wrong("calibrate()", "leaves another mode, or draws random numbers")
    into: dict[str, list[Any]] = {p["name"]: [] for p in stated["populations"]}
    for post, name in stated["read_in"].items():
        into[post].append(wanted.get_submodule(name))
    for pre, post, layer in wanted.named_projections():
        if pre != post:
            into[post].append(layer)
    with torch.no_grad():
        for name, layers in into.items():
            drives: dict[str, Tensor] = {}
            swept(wanted, stated, image, drives)
            drive = drives[name]
            mean = drive.mean(0)
            spread = float((drive - mean).square().mean()) ** 0.5
            for layer in layers:
                if layer.bias is not None:
                    layer.bias -= mean
                for parameter in (layer.weight, *([] if layer.bias is None else [layer.bias])):
                    parameter /= spread if spread > 1e-5 * float(drive.abs().max()) else 1.0
    own = dict(wanted.named_parameters())
    for name, parameter in found.named_parameters():
        if not torch.allclose(parameter, own[name], rtol=1e-6, atol=1e-9):
            raise Wrong("calibrate()", f"sets {name} otherwise than is documented")


def swept(
    network: Any, stated: Stated, image: Tensor, drives: dict[str, Tensor] | None = None
) -> Read:
    """Return rates ``(batch, units)`` by population, and the output; note the last drives."""
    layers = {f"{a}->{b}": layer for a, b, layer in network.named_projections()}
    weights = {key: connections(layer) for key, layer in layers.items()}
    features = _features(network.front_end, stated.get("options"), image)
    seen = {
        post: _drive(network, name, features, stated["seen"])
        for post, name in stated["read_in"].items()
    }
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
                    drive = drive + summed(weights[key], rates[pre], p["units"])
                    drive = drive if layer.bias is None else drive + layer.bias
            if drives is not None:
                drives[name] = drive
            units = getattr(network, p["layer"])
            drive = _normalised(drive, p["normalisation"], units)
            activity = drive.clamp(min=0)
            if f"{name}->{name}" in layers:
                settled = drive + summed(weights[f"{name}->{name}"], activity, p["units"])
                activity = settled.clamp(min=0)
            rates[name] = _attenuated(activity, p, units)
    output = sum(
        linear(getattr(network, name), rates[pre]) for pre, name in stated["read_out"].items()
    )
    assert isinstance(output, Tensor)
    return Read(rates, output)


def _drive(network: Any, name: str, features: Tensor, seen: dict[str, Any]) -> Tensor:
    """Return what a read-in makes of features, unit by unit where each sees its own window."""
    layer = getattr(network, name)
    if seen["by"] == "dense":
        return linear(layer, features)
    if seen["by"] == "low-rank":
        product: Tensor = features @ (layer.weight @ layer.inward).t() + layer.bias
        return product
    size = [length // 4 for length in network.image_shape[1:]]
    maps = features.unflatten(1, (-1, *size))
    side = [min(seen["window"], length) for length in size]
    drives = []
    for place, weight, bias in zip(layer.places, layer.weight, layer.bias, strict=True):
        corner = [round(float(p) * (n - k)) for p, n, k in zip(place, size, side, strict=True)]
        rows, columns = (slice(a, a + k) for a, k in zip(corner, side, strict=True))
        drives.append((maps[:, :, rows, columns] * weight).sum((1, 2, 3)) + bias)
    return torch.stack(drives, 1)


def _features(front_end: Any, options: dict[str, Any] | None, image: Tensor) -> Tensor:
    """Return what the front end makes of images, ``(batch, features)``."""
    if options is None:
        made: Tensor = front_end(image)
        return made
    functional = torch.nn.functional
    x = functional.conv2d(image, front_end.conv1.weight, front_end.conv1.bias, padding=1)
    if strength := options["lateral_inhibition"]:
        high, wide = x.shape[2:]
        padded = functional.pad(x, (1, 1, 1, 1))
        shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
        around = sum(padded[:, :, i : i + high, j : j + wide] for i, j in shifts)
        x = x - strength / 8 * around
    x = functional.max_pool2d(torch.relu(x), 2)
    x = functional.conv2d(x, front_end.conv2.weight, front_end.conv2.bias, padding=1)
    x = functional.max_pool2d(torch.relu(x), 2)
    if options["attention"]:
        channels = [
            torch.relu(pooled @ front_end.attention.squeeze.weight.t())
            @ front_end.attention.excite.weight.t()
            for pooled in (x.mean((2, 3)), x.amax((2, 3)))
        ]
        x = x * (channels[0] + channels[1]).sigmoid()[:, :, None, None]
        places = torch.stack((x.mean(1), x.amax(1)), 1)
        place = functional.conv2d(places, front_end.attention.place.weight, padding=3)
        x = x * place.sigmoid()
    return x.flatten(1)


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
