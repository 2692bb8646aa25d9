"""Signs: what acts, and that every weight learns that should, one at 0 included."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.masked_conv import LiveConv2d, MaskedConv2d
from connectome_compiler.nn.signs import clamp_to_sign, size_with_sign, smooth_with_sign

RAW = [-2.0, -0.0, 0.0, 0.5, float("inf"), -float("inf")]
SIGNS = pytest.mark.parametrize("sign", [1, -1])
DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def bits(x: Tensor) -> Tensor:
    """Return numbers so that 0.0 and -0.0 are two."""
    return x.detach().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


def signs(n: int, *, free: bool) -> Tensor:
    return torch.tensor([1, -1, 0] if free else [1, -1], dtype=torch.int8).repeat(n)[:n]


@SIGNS
def test_clamped_weights_learn_at_the_right_sign_and_at_zero(sign: int) -> None:
    raw = torch.tensor([-2.0, -0.0, 0.5], requires_grad=True)
    clamped = clamp_to_sign(raw, sign)
    assert clamped.tolist() == ([0.0, 0.0, 0.5] if sign > 0 else [-2.0, 0.0, 0.0])
    (gradient,) = torch.autograd.grad(clamped.sum(), raw)
    assert gradient.tolist() == ([0.0, 1.0, 1.0] if sign > 0 else [1.0, 1.0, 0.0])


@SIGNS
def test_smooth_weights_learn_at_the_wrong_sign_too(sign: int) -> None:
    raw = torch.tensor([-2.0, -0.0, 0.5], requires_grad=True)
    smooth = smooth_with_sign(raw, sign)
    assert (smooth * sign > 0).all()
    assert smooth_with_sign(torch.full((1,), float(sign)), sign).tolist() == [sign]
    (gradient,) = torch.autograd.grad(smooth.sum(), raw)
    assert (gradient > 0).all()


@SIGNS
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_with_one_sign_are_sign_times_abs_to_the_last_bit(
    sign: int, dtype: torch.dtype
) -> None:
    raw = torch.cat([torch.tensor(RAW, dtype=dtype), torch.randn(50, dtype=dtype)])
    wanted = sign * raw.abs()
    for given in (sign, torch.tensor(sign, dtype=torch.int8)):
        found = size_with_sign(raw, given)
        assert found.dtype == dtype
        assert torch.equal(bits(found), bits(wanted))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_with_signs_of_their_own_to_the_last_bit(dtype: torch.dtype) -> None:
    raw = torch.tensor(RAW, dtype=dtype).repeat_interleave(3)
    sign = signs(len(raw), free=False)
    assert torch.equal(bits(size_with_sign(raw, sign)), bits(sign * raw.abs()))
    raw = torch.tensor(RAW[:4], dtype=dtype).repeat_interleave(3)
    sign = signs(len(raw), free=True)
    found, wanted = size_with_sign(raw, sign, any_free=True), sign * raw.abs()
    assert torch.equal(bits(found[sign == 0]), bits(raw[sign == 0]))
    assert torch.equal(found[sign != 0], wanted[sign != 0])  # 0.0 and -0.0 are equal
    away = (sign != 0) & (raw != 0)
    assert torch.equal(bits(found[away]), bits(wanted[away]))


@pytest.mark.parametrize("free", [False, True])
def test_the_slope_is_that_of_the_size_and_at_zero_of_one_of_its_sides(free: bool) -> None:
    raw = torch.tensor([-2.0, -0.0, 0.0, 0.5]).repeat_interleave(3).requires_grad_()
    sign = signs(len(raw), free=free)
    (slope,) = torch.autograd.grad(size_with_sign(raw, sign, free).sum(), raw)
    assert (slope.abs() == 1).all()
    away = raw != 0
    assert torch.equal(slope[away], torch.where(sign == 0, 1, sign * raw.sign())[away])
    assert (slope[sign == 0] == 1).all()


@pytest.mark.parametrize("free", [False, True])
def test_gradients_and_second_ones(free: bool) -> None:
    raw = torch.randn(12, dtype=torch.float64, requires_grad=True)
    sign = signs(12, free=free)

    def curve(raw: Tensor) -> Tensor:
        return size_with_sign(raw, sign, free).pow(3)

    assert torch.autograd.gradcheck(curve, raw)
    assert torch.autograd.gradgradcheck(curve, raw)
    assert torch.autograd.gradcheck(curve, raw, check_forward_ad=True)
    at_zero = torch.zeros(12, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(
        size_with_sign(at_zero, sign, free).square().sum(), at_zero, create_graph=True
    )
    (second,) = torch.autograd.grad(slope.sum(), at_zero)
    assert (second == 2).all()  # of w * w


@pytest.mark.parametrize("free", [False, True])
def test_transforms_compilers_and_autocast(free: bool) -> None:
    raw = torch.tensor([-2.0, -0.0, 0.0, 0.5]).repeat_interleave(3)
    sign = signs(12, free=free)

    def act(raw: Tensor) -> Tensor:
        return size_with_sign(raw, sign, free)

    wanted = act(raw)
    leaf = raw.clone().requires_grad_()
    (slope,) = torch.autograd.grad(act(leaf).sum(), leaf)
    assert torch.equal(torch.func.vmap(act)(raw.unsqueeze(0)), wanted.unsqueeze(0))
    assert torch.equal(torch.func.grad(lambda w: act(w).sum())(raw), slope)
    assert torch.equal(torch.func.jvp(act, (raw,), (torch.ones(12),))[1], slope)
    assert torch.equal(torch.func.jacrev(act)(raw), torch.diag(slope))
    torch._dynamo.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(act, fullgraph=True, backend="aot_eager")
    leaf = raw.clone().requires_grad_()
    assert torch.equal(bits(compiled(leaf)), bits(wanted))
    assert torch.equal(torch.autograd.grad(compiled(leaf).sum(), leaf)[0], slope)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bits(act(raw)), bits(wanted))


def edge_linear(sign: Tensor) -> nn.Module:
    ptr, pre = torch.arange(5) * 3, torch.arange(3).repeat(4)
    return EdgeLinear(3, ptr, pre, sign=sign)


def convolution(kind: Callable[..., nn.Module]) -> Callable[[Tensor], nn.Module]:
    def make(sign: Tensor) -> nn.Module:
        mask = torch.ones(2, 3, 2, 1, dtype=torch.bool)
        return kind(3, 2, (2, 1), mask=mask, sign=sign, kernel="dense")

    return make


@pytest.mark.parametrize("make", [edge_linear, convolution(MaskedConv2d), convolution(LiveConv2d)])
@pytest.mark.parametrize("free", [False, True])
def test_every_layer_learns_from_zero(make: Callable[[Tensor], Any], free: bool) -> None:
    layer = make(signs(12, free=free))
    nn.init.zeros_(layer.weight)
    layer.effective_weight().sum().backward()
    assert (layer.weight.grad.abs() == 1).all()
