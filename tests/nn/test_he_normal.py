"""Where layers of ReLU units start: spread, cut, biases, and what a window makes of it."""

from typing import Any

import pytest
import torch
from torch import nn

from connectome_compiler.nn.he_normal import draw_he_normal
from connectome_compiler.nn.window_layers import WindowConv2d, WindowLinear
from connectome_compiler.nn.window_rules import WindowRule

DISC = WindowRule("2d", radius=0.3, pre_width=16, post_width=16)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Linear(300, 400), 300),
        (nn.Conv2d(64, 80, 3, groups=2), 32 * 9),
        (nn.ConvTranspose2d(80, 64, 3), 64 * 9),  # as torch and Keras count it
    ],
    ids=lambda value: type(value).__name__,
)
def test_spread_cut_and_biases(layer: Any, fan_in: int) -> None:
    torch.manual_seed(0)
    draw_he_normal(layer)
    spread = (2 / fan_in) ** 0.5
    weight = layer.weight.detach()
    assert weight.std().item() == pytest.approx(spread, rel=0.02)
    assert weight.abs().max().item() == pytest.approx(2 * spread / 0.87963, rel=0.01)
    assert not layer.bias.any()


@pytest.mark.parametrize("kernel", ["dense", "patches"])
@pytest.mark.parametrize("gain", ["none", "1/usage", "1/sqrt(usage)"])
def test_a_window_masks_the_draw_and_multiplies_it(kernel: str, gain: str) -> None:
    plain = nn.Linear(256, 256, bias=False)
    layer = WindowLinear(256, 256, bias=False, window=DISC, gain=gain, kernel=kernel)
    for drawn in (plain, layer):
        torch.manual_seed(0)
        draw_he_normal(drawn)
    factor = {"none": 1, "1/usage": 1 / layer.usage, "1/sqrt(usage)": layer.usage**-0.5}[gain]
    expected = torch.where(layer.mask, plain.weight * factor, 0)
    torch.testing.assert_close(layer.effective_weight(), expected)


def test_precision_stays_and_no_memory_is_no_error() -> None:
    layer = WindowConv2d(256, 256, 1, window=DISC, dtype=torch.float64)
    draw_he_normal(layer)
    assert layer.weight.dtype == torch.float64
    assert layer.weight.requires_grad
    draw_he_normal(WindowLinear(256, 256, window=DISC, device="meta"))
