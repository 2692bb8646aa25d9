"""What every network offers, whatever its style: how it is built, trained and exported."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def build_network(
    make: Callable[..., Any],
    options: dict[str, Any],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    seed: int | None,
) -> Any:
    """Return ``make(**options)``, with numbers drawn on the CPU, on a device and in a precision.

    With a ``seed`` it starts as it would after ``torch.manual_seed(seed)``, on any device, and
    torch's own generator goes on as if nothing had been drawn. On "meta" nothing is drawn.
    """
    place = torch.get_default_device() if device is None else torch.device(device)
    with (
        torch.device("meta" if place.type == "meta" else "cpu"),
        torch.random.fork_rng(devices=[], enabled=seed is not None),
    ):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        network = make(**options)
    return network.to(device=place, dtype=dtype)


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return what is trained as groups for an optimiser: with ``weight_decay``, and without.

    All weights decay, those of synapses, read-in, read-out and kernels. What has its natural size
    elsewhere than at 0 does not: biases, time constants, and the gains of normalisations.
    """
    norms = (nn.LayerNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d)
    decay: dict[nn.Parameter, bool] = {}  # each once, also if layers share it
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            free = name == "bias" or name.startswith("log_") or isinstance(module, norms)
            decay.setdefault(parameter, not free)
    return [
        {
            "params": [p for p, decays in decay.items() if decays == wanted and p.requires_grad],
            "weight_decay": weight_decay if wanted else 0.0,
        }
        for wanted in (True, False)
    ]


def set_plain(network: nn.Module, plain: bool) -> None:
    """Let all layers compute in torch's own functions alone, or by their own ones again."""
    for layer in network.modules():
        if isinstance(getattr(layer, "plain", None), bool):
            layer.plain = plain  # type: ignore[assignment]
