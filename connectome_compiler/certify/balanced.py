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
    sums: dict[tuple[Hashable, int, int], float] = {}  # by drive, unit and sign
    degrees: dict[tuple[Hashable, int], int] = {}
    listed = {}
    for to, layer in layers:
        post, _, weight = (x.detach().tolist() for x in connections(layer))
        listed[id(layer)] = post, layer.sign.expand(len(post)).tolist()
        for i, w, sign in zip(post, weight, listed[id(layer)][1], strict=True):
            sums[to, i, sign] = sums.get((to, i, sign), 0.0) + abs(w)
            degrees[to, i] = degrees.get((to, i), 0) + 1
    for to, layer in layers:
        post, signs = listed[id(layer)]
        own = layer.ptr.diff().tolist()
        factors = torch.tensor(
            [
                (own[i] / degrees[to, i]) ** 0.5
                if sign == 0
                else SUMS[sign] / max(sums[to, i, sign], 1e-30)
                for i, sign in zip(post, signs, strict=True)
            ],
            dtype=torch.float64,
        )
        group = getattr(layer, "group", None)
        if group is not None:
            none = torch.zeros(layer.weight.shape, dtype=torch.float64)
            n = none.index_add(0, group, torch.ones_like(factors)).clamp(min=1)
            factors = none.index_add(0, group, factors) / n
        name = names[id(layer)]
        yield f"{name}.weight", layer.weight.detach() * factors
        if layer.bias is not None:
            yield f"{name}.bias", torch.zeros_like(layer.bias)
