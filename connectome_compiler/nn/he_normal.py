"""Initial weights for a layer of ReLU units."""

import math

import torch
from torch import Tensor, nn

CUT_SPREAD = 0.87962566103423978  # standard deviation of N(0, 1) truncated at -2 and 2


@torch.no_grad()
def draw_he_normal(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Draw weights like the initialiser ``he_normal`` of Keras, and set biases to 0.

    A normal distribution truncated at two standard deviations, of variance 2 / fan-in (He et al.
    2015, ICCV). Fan-in is that of torch, ignoring windows; a windowed layer keeps the weights on
    its mask, times its gain.
    """
    mask: Tensor | None = getattr(layer, "mask", None)
    weight = torch.empty_like(layer.weight if mask is None else mask, dtype=layer.weight.dtype)
    spread = math.sqrt(2 / weight[0].numel()) / CUT_SPREAD
    nn.init.trunc_normal_(weight, std=spread, a=-2 * spread, b=2 * spread)
    if mask is None:
        layer.weight.copy_(weight)
    else:
        layer.start_from(weight, mask)  # type: ignore[operator]
        layer.set_weight(weight)  # type: ignore[operator]
    if layer.bias is not None:
        layer.bias.zero_()
