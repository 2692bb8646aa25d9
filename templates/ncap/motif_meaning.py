"""What a motif over repeated joints computes, written plainly: the measure of emitted ones.

Cell by cell and connection by connection, by the populations and terms that ``PROVENANCE`` states
under "motif", for a body of any length and any choice of parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from connectome_compiler.certify.plain import PHI


def weight_names(motif: dict[str, Any], options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each parameter with its weight, in the order in which they are made."""
    on = {name for name, w in motif["weights"].items() if not w["switch"] or options[w["switch"]]}
    if options["weight_sharing"]:
        yield from ((name, name) for name in motif["weights"] if name in on)
        return
    sizes = _sizes(motif, options)
    for joint in range(sizes[motif["output"]]):
        for term in motif["terms"]:
            if term["weight"] in on and _source(term, joint, sizes, options) is not None:
                yield f"{term['weight']}_{term['side']}_{joint}", term["weight"]


def motif_rates(
    motif: dict[str, Any],
    options: dict[str, Any],
    weights: dict[str, Tensor],
    inputs: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the activity ``(batch, units)`` of every population that is on.

    ``weights`` are the raw parameters by name, ``inputs`` those of all populations that are inputs.
    """
    sizes = _sizes(motif, options)
    rates: dict[str, Tensor] = {}
    for p in motif["populations"]:
        name = p["name"]
        terms = [term for term in motif["terms"] if term["post"] == name]
        if p["switch"] and not options[p["switch"]]:
            continue
        if name in inputs:
            rates[name] = inputs[name]
            continue
        cells = []
        for unit in range(sizes[name]):
            drive = torch.full_like(inputs[motif["joints"]][:, 0], p["rest"])
            for term in terms:
                source = _source(term, unit, sizes, options)
                if source is not None and term["pre"] in rates and _is_on(motif, options, term):
                    drive = drive + rates[term["pre"]][:, source] * _acting(
                        motif, options, weights, term, unit
                    )
            cells.append(_activity(p, options, drive, unit))
        rates[name] = torch.stack(cells, 1)
    return {name: rate for name, rate in rates.items() if name not in inputs}


def _sizes(motif: dict[str, Any], options: dict[str, Any]) -> dict[str, int]:
    found = {p["name"]: p["units"] for p in motif["populations"]}
    return {name: options[n] if isinstance(n, str) else n for name, n in found.items()}


def _is_on(motif: dict[str, Any], options: dict[str, Any], term: dict[str, Any]) -> bool:
    switch = motif["weights"][term["weight"]]["switch"] if term["weight"] else ""
    return bool(options[switch]) if switch else True


def _source(
    term: dict[str, Any], unit: int, sizes: dict[str, int], options: dict[str, Any]
) -> int | None:
    """Return the unit of ``pre`` that ``unit`` of ``post`` hears; None if it hears none."""
    first = term["first"]
    if first is not None and unit >= (options[first] if first in options else int(first)):
        return None
    if term["shift"] is not None:
        source = unit - int(term["shift"])
        return source if 0 <= source < sizes[term["pre"]] else None
    if not term["weight"] and sizes[term["pre"]] == sizes[term["post"]]:
        return unit
    return int(term["unit"])


def _acting(
    motif: dict[str, Any],
    options: dict[str, Any],
    weights: dict[str, Tensor],
    term: dict[str, Any],
    joint: int,
) -> Tensor | float:
    name, sign = term["weight"], term["sign"]
    if not name:
        return float(sign)
    raw: Tensor = weights[name if options["weight_sharing"] else f"{name}_{term['side']}_{joint}"]
    return signed(motif["mechanism"], sign, raw) if options["sign_constraints"] else raw


def signed(mechanism: str, sign: int, raw: Tensor) -> Tensor:
    """Return what a weight that must have a sign acts as."""
    if mechanism == "abs":
        return raw * torch.where(raw.signbit(), -sign, sign)  # so there is a slope at 0
    if mechanism == "smooth":
        softplus = PHI["softplus"]
        smooth: Tensor = sign * (softplus(sign * raw) / softplus(torch.ones_like(raw)))
        return smooth
    return raw.clamp(min=0) if sign > 0 else raw.clamp(max=0)


def _activity(p: dict[str, Any], options: dict[str, Any], drive: Tensor, unit: int) -> Tensor:
    if p["activation"] == "square-wave":
        period = options[p["period"]]
        phases = [round(step) % period for step in drive.tolist()]  # halves to even
        return drive.new_tensor([float((phase < period // 2) == (unit == 0)) for phase in phases])
    if p["activation"] == "graded":
        return drive.clamp(0, 1)
    return PHI[p["activation"]](drive)
