"""Put the options of an emitted network to the test: each choice is a network of its own.

With other options ``PROVENANCE`` says something else, too: `restated` is what it says then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from connectome_compiler.certify.findings import Wrong, alone

# Values for each option, of which some are not the default. All options are tried at once, each
# round with the next value of each, since an option that is ignored shows beside others.
VALUES: dict[str, tuple[Any, ...]] = {
    "activation": ("sigmoid", "softplus", "relu", "linear", "tanh"),
    "attention": (True, False),
    "batch_first": (True, False),
    "channels": (2, 3),
    "classes": (7, 2),
    "dt_ms": (7.0, 33.0),
    "fan_in": ("open", "dense"),
    "filters": ((4, 6), (5, 12)),
    "gain": ("none", "fan-in", "1/usage", "1/sqrt(usage)"),
    "graded_inhibition": (True, False),
    "image_size": (12, (8, 13)),
    "inhibition_strength": (0.25, 0.75),
    "inputs": (5, 2),
    "lateral_inhibition": (0.4, 0.0, 0.2),
    "noise_std": (0.3, 0.0),
    "normalisation": ("rms", "none", "layer"),
    "outputs": (4, 3),
    "spectral_radius": (0.7, None),
    "steps": (2, 5),
    "tau_ms": (33.0, 5.0),
    "within": (True, False),
}
STARTS = ("fan_in", "gain", "spectral_radius", "tau_ms")  # what they are of are starts
# What means nothing, and must be refused.
NONSENSE: dict[str, Any] = {
    "activation": "?", "classes": 0, "dt_ms": -1.0, "fan_in": "?", "gain": "?",
    "image_size": 3, "inhibition_strength": 2.0, "kernel": "?", "noise_std": -1.0,
    "normalisation": "?", "steps": 1, "tau_ms": 0.0, "no_such_option": 1,
}  # fmt: skip


def rounds(stated: dict[str, Any], most: int) -> Iterator[dict[str, Any]]:
    """Yield at most ``most`` choices of options, until each value of each was tried."""
    options = {name: VALUES[name] for name in stated["options"] if name in VALUES}
    others = {
        name: [v for v in values if v != stated["options"][name]]
        for name, values in options.items()
    }
    for k in range(min(most, 2 * max(map(len, others.values()), default=0))):
        yield {
            name: values[k % len(values)]
            for name, values in others.items()
            if k % 2 or not isinstance(values[0], bool)  # a part that is off hides its options
        }


def restated(stated: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return what ``PROVENANCE`` would state, had the options been the defaults."""
    new = {**stated, "options": {**stated["options"], **options}}
    chosen = new["options"]
    if "sweeps" in new and chosen.get("steps"):
        new["sweeps"] = chosen["steps"]
    if "sweeps" in new:  # populations of rates
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
    if "stack" in new and "steps" in chosen:
        new["stack"] = {**new["stack"], "sweeps": chosen["steps"]}
    if "dynamics" in new:
        named = {k: chosen[k] for k in ("activation", "dt_ms", "tau_ms", "spectral_radius")}
        new["dynamics"] = {**new["dynamics"], **named}
    new["state"] = {name: _start(name, stated["state"], chosen) for name in stated["state"]}
    return new


def _unit(p: dict[str, Any], own: dict[str, Any], graded: bool) -> dict[str, Any]:
    if p["inhibition"] == "none":
        own = {k: v for k, v in own.items() if k != "inhibition_strength"}
    elif not graded:
        own = {**own, "inhibition": "none"}
    return {**p, **own}


def _is_within(key: str) -> bool:
    pre, _, post = key.partition("->")
    return pre == post


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


def refuses_nonsense(emitted: ModuleType, stated: dict[str, Any]) -> None:
    """Build with options that mean nothing."""
    for name, value in NONSENSE.items():
        if name in stated["options"] or name == "no_such_option":
            try:
                with alone():
                    emitted.build(**{name: value})
            except (TypeError, ValueError):
                continue
            raise Wrong("build()", f"takes {name}={value!r}, which means nothing")
