"""Convolutions of half precision, made in single precision: the same but for rounding."""

import torch

from connectome_compiler.certify.half import QuickHalves


def test_halves_are_convolved_as_torch_does() -> None:
    x, weight, bias = torch.randn(2, 3, 9, 8), torch.randn(4, 3, 3, 5), torch.randn(4)
    a, b, c = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
    with QuickHalves(), torch.no_grad():
        found = torch.conv2d(a, b, c, stride=2, padding=1)
        single = torch.conv2d(x, weight, bias, stride=2, padding=1)
    assert found.dtype == torch.bfloat16
    wanted = torch.conv2d(a.float(), b.float(), c.float(), stride=2, padding=1)
    assert torch.equal(found, wanted.bfloat16())
    assert torch.equal(single, torch.conv2d(x, weight, bias, stride=2, padding=1))


def test_under_autocast_and_transposed() -> None:
    x, weight = torch.randn(2, 3, 9, 8), torch.randn(3, 4, 5, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = torch.conv_transpose2d(x, weight, stride=2)
        with QuickHalves():
            found = torch.conv_transpose2d(x, weight, stride=2)
    assert found.dtype == wanted.dtype == torch.bfloat16
    assert torch.allclose(found.float(), wanted.float(), rtol=0.02, atol=0.05)
