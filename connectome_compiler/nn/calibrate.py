"""A start that is set from one batch of inputs."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

LEAST = 1e-5  # of the largest drive: what varies less does so by rounding


@torch.no_grad()
def calibrate(
    run: Callable[[], object], populations: Iterable[tuple[nn.Module, Sequence[nn.Module]]]
) -> None:
    """Give each unit a mean drive of 0 over what ``run`` runs, each population one of variance 1.

    ``populations`` are units, called with their drive, and the layers that add up to it, in the
    order in which ``run`` calls them. The mean is taken off the bias of that layer which has one,
    and the weights and bias of all are divided by one number. Of several calls the last counts. A
    population whose drive does not vary keeps its weights.
    """
    for units, layers in populations:
        drives: list[Tensor] = []
        hook = units.register_forward_pre_hook(lambda _, given, into=drives: into.append(given[0]))
        try:
            run()
        finally:
            hook.remove()
        drive = drives[-1].double()
        spread = (drive - drive.mean(0)).square().mean().sqrt()
        varies = spread > LEAST * drive.abs().max()
        for layer in layers:
            held = [x for x in (layer.bias, layer.weight) if isinstance(x, Tensor)]
            if len(held) == 2:
                held[0].sub_(drive.mean(0))
            for parameter in held:
                parameter.div_(torch.where(varies, spread, 1.0))
