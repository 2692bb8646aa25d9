"""Put balanced starts to the test: they are the numbers that are drawn, times factors known here.

A network is built twice from one seed, balanced and not. The law of what is drawn is compared for
the second alone; what balancing makes of it is computed again here, unit by unit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.meaning import Case
from connectome_compiler.certify.plain import connections

SUMS = {1: 1.0, -1: 0.75}  # of the sizes of a unit's weights, by sign
SLACK = 1e-5  # of single precision
DONE = "balanced starts are those drawn, with weights of each unit that sum to 1, and to -0.75"


def starts_balanced(
    case: Case,
    drive: Callable[[str, str], Hashable],
    others: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
) -> None:
    """Compare balanced starts with those that are drawn.

    Chemical projections add up where ``drive(pre, post)`` is the same. ``others`` returns, of the
    state that is drawn, what else starts elsewhere. All the rest must be equal.
    """
    plain, balanced = (_built(case, balanced) for balanced in (False, True))
    drawn = {name: value.clone() for name, value in plain.state_dict().items()}
    wanted = {**drawn, **others(drawn), **dict(_weights(plain, drive))}
    for name, found in balanced.state_dict().items():
        apart = (found.double() - wanted[name].double()).abs()
        size = wanted[name].double().abs()
        if apart.numel() and float(apart.max()) > SLACK * float(size.max()):
            raise Wrong(name, "does not start balanced, from the numbers that are drawn")


def _built(case: Case, balanced: bool) -> Any:
    torch.manual_seed(0)
    return case.build(**{**case.meaning.unscaled, "balanced": balanced})


def _weights(network: Any, drive: Callable[[str, str], Hashable]) -> Iterator[tuple[str, Tensor]]:
    """Yield name and start of the weights of each projection, and of its bias, if it has any."""
    names = {id(layer): name for name, layer in network.named_modules()}
    layers = [
        (drive(pre, post), layer)
        for pre, post, layer in network.named_projections()
        if layer.kind == "chemical"
    ]
    none = torch.zeros((), dtype=torch.float64)
    sums: dict[tuple[Hashable, int], Tensor] = {}  # of each unit, by drive and sign
    degrees: dict[Hashable, Tensor] = {}
    listed = {}
    for to, layer in layers:
        post, _, weight = (x.detach() for x in connections(layer))
        sign = layer.sign.expand(len(post))
        listed[id(layer)] = post, sign
        of_units = none.expand(layer.n_post)
        for one in SUMS:
            sizes = torch.where(sign == one, weight.double().abs(), 0)
            sums[to, one] = sums.get((to, one), of_units).index_add(0, post, sizes)
        ones = torch.ones(len(post), dtype=torch.float64)
        degrees[to] = degrees.get(to, of_units).index_add(0, post, ones)
    for to, layer in layers:
        post, sign = listed[id(layer)]
        factors = (layer.ptr.diff() / degrees[to].clamp(min=1)).sqrt()[post]
        for one, total in SUMS.items():
            of_units = total / sums[to, one].clamp(min=1e-30)
            factors = torch.where(sign == one, of_units[post], factors)
        group = getattr(layer, "group", None)
        if group is not None:
            nothing = torch.zeros(layer.weight.shape, dtype=torch.float64)
            n = nothing.index_add(0, group, torch.ones_like(factors)).clamp(min=1)
            factors = nothing.index_add(0, group, factors) / n
        name = names[id(layer)]
        yield f"{name}.weight", layer.weight.detach() * factors
        if layer.bias is not None:
            yield f"{name}.bias", torch.zeros_like(layer.bias)
