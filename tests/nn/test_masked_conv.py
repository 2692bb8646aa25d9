"""Masked convolutions: what they compute, what must stay closed, which states load."""

import copy
import gc
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad

from connectome_compiler.emit.source import copy_definitions
from connectome_compiler.nn import masked_conv, open_conv
from connectome_compiler.nn.masked_conv import (
    CONVOLUTION_KERNELS,
    LiveConv2d,
    LiveConvTranspose2d,
    MaskedConv2d,
    MaskedConvTranspose2d,
    convolve_together,
)

Layer = MaskedConv2d | MaskedConvTranspose2d | LiveConv2d | LiveConvTranspose2d
KINDS = (MaskedConv2d, MaskedConvTranspose2d, LiveConv2d, LiveConvTranspose2d)
ALL = pytest.mark.parametrize("kind", KINDS)
MASKED = pytest.mark.parametrize("kind", KINDS[:2])
LIVE = pytest.mark.parametrize("kind", KINDS[2:])
BOTH = pytest.mark.parametrize("kernel", ["dense", "open"])
Kind = Callable[..., Any]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def _small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small maps be read by groups of channels, as large ones are."""
    monkeypatch.setattr(open_conv, "WINDOW_CELLS", 300)


def is_transposed(kind: Kind) -> bool:
    return kind in (MaskedConvTranspose2d, LiveConvTranspose2d)


def draw_mask(
    kind: Kind, n_pre: int = 6, n_post: int = 4, size: int = 5, share: float = 0.1
) -> Tensor:
    channels = (n_pre, n_post) if is_transposed(kind) else (n_post, n_pre)
    return torch.rand(*channels, size, size) < share


def make(kind: Kind, kernel: str = "open", **options: Any) -> Any:
    """6 channels to 4, a tenth of a 5x5 kernel open, in float64."""
    options = {"stride": 2, "padding": 2, "dtype": torch.float64, **options}
    mask = options.pop("mask", None)
    return kind(6, 4, 5, mask=draw_mask(kind) if mask is None else mask, kernel=kernel, **options)


def plain(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do what torch does, zeros written out."""
    if is_transposed(type(layer)):
        return nn.functional.conv_transpose2d(
            x, weight, bias, layer.stride, layer.padding, layer.output_padding
        )
    (top, left), (down, right) = layer.padding, layer.end_padding
    x = nn.functional.pad(x, (left, left + right, top, top + down))
    return nn.functional.conv2d(x, weight, bias, layer.stride)


def gradient(of: Tensor | None) -> Tensor:
    assert of is not None
    assert of.grad is not None
    return of.grad


def grad_of(layer: Layer, gradient: Tensor) -> Tensor:
    """Return the gradient of a layer's weight in the shape of its kernel."""
    if gradient.shape == layer.shape:
        return gradient
    return torch.zeros(layer.shape, dtype=gradient.dtype).masked_scatter(layer.mask, gradient)


# --- what they compute ----------------------------------------------------------------------------


@ALL
@BOTH
@pytest.mark.parametrize("bias", [True, False])
def test_maps_and_gradients_are_those_of_the_dense_convolution(
    kind: Kind, kernel: str, bias: bool
) -> None:
    layer = make(kind, kernel, bias=bias)
    assert layer.kernel == kernel
    x = torch.randn(3, 6, 11, 13, dtype=torch.float64, requires_grad=True)
    weight = layer.effective_weight().detach().requires_grad_()
    assert torch.equal(weight != 0, layer.mask)
    y, wanted = layer(x), plain(layer, x, weight, layer.bias)
    g = torch.randn_like(wanted)
    found = torch.autograd.grad(y, [x, *layer.parameters()], g)
    known = torch.autograd.grad(wanted, [x, weight, *([layer.bias] if bias else [])], g)
    assert (y - wanted).abs().max() < 1e-12
    assert (found[0] - known[0]).abs().max() < 1e-12
    assert (grad_of(layer, found[1]) - known[1] * layer.mask).abs().max() < 1e-11
    if bias:
        torch.testing.assert_close(found[2], known[2])


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, Any]:
    """Draw sizes that fit each other, with padding up to the whole kernel."""
    pair = st.tuples
    kernel = draw(pair(st.integers(1, 5), st.integers(1, 5)))
    padding = tuple(draw(st.integers(0, k)) for k in kernel)
    stride = draw(pair(st.integers(1, 3), st.integers(1, 3)))
    return {
        "kernel": kernel,
        "padding": padding,
        "stride": stride,
        "end": draw(pair(st.integers(0, 2), st.integers(0, 2))),
        "extra": tuple(draw(st.integers(0, s - 1)) for s in stride),
        "size": tuple(draw(st.integers(k, 9)) for k in kernel),
        "channels": draw(pair(st.integers(1, 5), st.integers(1, 5))),
        "images": draw(st.integers(1, 4)),
        "window": draw(st.sampled_from([20, 200, 2**17])),
        "seed": draw(st.integers(0, 999)),
    }


@given(geometries(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_geometry(shape: dict[str, Any], transposed: bool) -> None:
    torch.manual_seed(shape["seed"])
    n_pre, n_post = shape["channels"]
    channels = (n_pre, n_post) if transposed else (n_post, n_pre)
    mask = torch.rand(*channels, *shape["kernel"]) < 0.3
    how: dict[str, Any] = {
        "stride": shape["stride"],
        "padding": shape["padding"],
        "dtype": torch.float64,
    }
    how |= {"output_padding": shape["extra"]} if transposed else {"end_padding": shape["end"]}
    kind: Kind = MaskedConvTranspose2d if transposed else MaskedConv2d
    layer = kind(n_pre, n_post, shape["kernel"], mask=mask, kernel="open", **how)
    x = torch.randn(shape["images"], n_pre, *shape["size"], dtype=torch.float64, requires_grad=True)
    if min(layer._size(x)) < 1:
        return
    weight = layer.effective_weight().detach().requires_grad_()
    wanted = plain(layer, x, weight, layer.bias)
    window, open_conv.WINDOW_CELLS = open_conv.WINDOW_CELLS, shape["window"]
    try:
        y = layer(x)
        assert y.shape == wanted.shape
        assert (y - wanted).abs().max() < 1e-9
        g = torch.randn_like(y)
        found = torch.autograd.grad(y, [x, layer.weight], g)
        known = torch.autograd.grad(wanted, [x, weight], g)
    finally:
        open_conv.WINDOW_CELLS = window
    assert (found[0] - known[0]).abs().max() < 1e-9
    assert (found[1] - known[1] * mask).abs().max() < 1e-9


@ALL
@BOTH
def test_float32(kind: Kind, kernel: str) -> None:
    layer = make(kind, kernel)
    x = torch.randn(2, 6, 12, 12, dtype=torch.float64)
    wanted = layer(x)
    found = layer.float()(x.float())
    assert found.dtype == torch.float32
    assert (found - wanted).norm() / wanted.norm() < 1e-6


@ALL
@pytest.mark.usefixtures("_small_window")
def test_gradients_of_gradients(kind: Kind) -> None:
    mask = draw_mask(kind, 2, 3, 3, 0.4)
    layer = kind(2, 3, 3, mask=mask, stride=2, kernel="open", dtype=torch.float64)
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)

    def call(x: Tensor, weight: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return y

    weight = layer.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(call, (x, weight))
    assert torch.autograd.gradgradcheck(call, (x, weight))


@BOTH
def test_channels_without_open_entries(kernel: str) -> None:
    mask = torch.zeros(4, 6, 5, 5, dtype=torch.bool)
    mask[1, 2, 4, 0] = mask[3, 2, 0, 0] = True
    layer = make(MaskedConv2d, kernel, mask=mask, bias=False)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, plain(layer, x, layer.effective_weight()))
    assert not y[:, [0, 2]].any()
    y.sum().backward()
    assert not gradient(x)[:, [0, 1, 3, 4, 5]].any()
    assert gradient(x)[:, 2].any()


@ALL
def test_nothing_open(kind: Kind) -> None:
    layer = make(kind, mask=draw_mask(kind, share=0), bias=False)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert not y.any()
    assert not gradient(x).any()


@ALL
def test_shapes_that_lists_are_not_for(kind: Kind) -> None:
    layer = make(kind)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    wanted = layer(x)
    torch.testing.assert_close(layer(x[0]), wanted[0])  # no batch
    assert layer(x[:0]).shape[0] == 0
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), wanted)
    torch.testing.assert_close(layer(x.transpose(2, 3).contiguous().transpose(2, 3)), wanted)
    with pytest.raises(RuntimeError, match="channels"):
        layer(x[:, :5])


def test_maps_too_small_are_refused_as_torch_does() -> None:
    with pytest.raises(RuntimeError, match="Kernel size"):
        make(MaskedConv2d, padding=0)(torch.randn(1, 6, 3, 3, dtype=torch.float64))


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("small", [False, True])
def test_together_is_one_by_one(live: bool, small: bool, request: pytest.FixtureRequest) -> None:
    if small:
        request.getfixturevalue("_small_window")
    kind: Kind = LiveConv2d if live else MaskedConv2d
    how: dict[str, Any] = {"stride": 2, "dtype": torch.float64}
    layers = [
        kind(6, 4, 5, mask=draw_mask(kind), padding=2, kernel="open", **how),
        kind(6, 3, 3, mask=draw_mask(kind, 6, 3, 3), padding=1, kernel="open", **how),
        kind(6, 2, 3, mask=draw_mask(kind, 6, 2, 3), padding=1, kernel="dense", **how),
        kind(6, 2, 3, mask=draw_mask(kind, 6, 2, 3), kernel="open", dtype=torch.float64),
        kind(6, 5, 5, mask=draw_mask(kind, 6, 5), padding=2, kernel="open", bias=False, **how),
        make(LiveConvTranspose2d if live else MaskedConvTranspose2d),
    ]
    x = torch.randn(3, 6, 10, 12, dtype=torch.float64, requires_grad=True)
    together, alone = convolve_together(x, *layers), [layer(x) for layer in layers]
    assert len(together) == len(alone)
    gradients = [torch.randn_like(y) for y in alone]
    parameters = [x, *(p for layer in layers for p in layer.parameters())]
    found = torch.autograd.grad(together, parameters, gradients)
    wanted = torch.autograd.grad(alone, parameters, gradients)
    for a, b in zip([*together, *found], [*alone, *wanted], strict=True):
        torch.testing.assert_close(a, b)
    assert convolve_together(x) == []
    heard: list[Tensor] = []
    layers[1].register_forward_hook(lambda _, __, y: heard.append(y))
    together = convolve_together(x, *layers)
    assert len(heard) == 1  # hooks run
    assert heard[0] is together[1]
    mixed = convolve_together(x, layers[0], nn.Sequential(layers[1]), layers[4])
    for a, b in zip(mixed, (alone[0], alone[1], alone[4]), strict=True):
        torch.testing.assert_close(a, b)


def test_what_is_kept_of_a_layer_goes_with_it() -> None:
    x = torch.randn(1, 6, 9, 9, dtype=torch.float64)
    gc.collect()
    before = len(open_conv._joined), len(open_conv._ways)
    layers = [make(MaskedConv2d), make(LiveConv2d)]
    convolve_together(x, *layers)
    layers[0](x)
    assert (len(open_conv._joined), len(open_conv._ways)) == (before[0] + 1, before[1] + 2)
    for size in range(7, 7 + 2 * open_conv.MOST_SIZES):
        layers[0](torch.randn(1, 6, size, 9, dtype=torch.float64))
    assert len(open_conv._ways[layers[0]._entries]) <= open_conv.MOST_SIZES
    layers.clear()
    gc.collect()
    assert (len(open_conv._joined), len(open_conv._ways)) == before


@ALL
@BOTH
def test_outputs_may_be_changed_in_place(kind: Kind, kernel: str) -> None:
    layer = make(kind, kernel)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(layer(x).relu().square().sum(), x)
    (found,) = torch.autograd.grad(layer(x).relu_().square().sum(), x)
    torch.testing.assert_close(found, wanted)


@ALL
def test_frozen_weights_and_inputs(kind: Kind) -> None:
    layer = make(kind)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    layer(x).sum().backward()
    assert layer.weight.grad.any()
    layer.weight.requires_grad_(False)
    x.requires_grad_()
    layer(x).sum().backward()
    assert gradient(x).any()
    with torch.inference_mode():
        assert layer(x).any()


# --- what stays closed ----------------------------------------------------------------------------


@MASKED
@BOTH
def test_nothing_opens_another_entry(kind: Kind, kernel: str) -> None:
    layer = make(kind, kernel)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    assert not layer.weight[~layer.mask].any()
    assert layer.weight[layer.mask].all()
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}
    wanted = layer(x)
    with torch.no_grad():
        layer.weight[~layer.mask] = float("nan")
    torch.testing.assert_close(layer(x), wanted)
    assert not layer.state_dict()["weight"][~layer.mask].any()

    optimiser = torch.optim.AdamW(layer.parameters(), 0.1, weight_decay=0.1)
    before = layer.weight.detach().clone()
    layer(x).square().sum().backward()
    assert not layer.weight.grad[~layer.mask].any()
    optimiser.step()
    assert not layer.weight[~layer.mask].any()
    assert (layer.weight != before)[layer.mask].all()

    layer.set_weight(torch.ones(layer.shape))
    assert torch.equal(layer.weight != 0, layer.mask)
    state = layer.state_dict()
    state["weight"] = torch.ones(layer.shape)
    layer.load_state_dict(state)
    assert torch.equal(layer.weight != 0, layer.mask)


@LIVE
def test_a_list_has_no_other_entries(kind: Kind) -> None:
    layer = make(kind)
    assert layer.weight.shape == (int(layer.mask.sum()),)
    assert set(layer.state_dict()) == {"weight", "bias", "index"}
    dense = torch.randn(layer.shape, dtype=torch.float64)
    layer.set_weight(dense)
    torch.testing.assert_close(layer.effective_weight(), dense * layer.mask)


@ALL
@BOTH
def test_a_state_loads_into_its_own_mask_alone(kind: Kind, kernel: str) -> None:
    layer, mask = make(kind, kernel), draw_mask(kind)
    twin, other = make(kind, mask=layer.mask), make(kind, mask=mask)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file))
    torch.testing.assert_close(twin.effective_weight(), layer.effective_weight())
    before = other.effective_weight()
    for strict in (True, False):
        with pytest.raises(RuntimeError, match="set_weight takes weights of other layers"):
            other.load_state_dict(layer.state_dict(), strict=strict)
    assert torch.equal(other.effective_weight(), before)
    state = {name: t for name, t in layer.state_dict().items() if name in ("weight", "bias")}
    with pytest.raises(RuntimeError, match="Missing key"):
        twin.load_state_dict(state)
    twin.load_state_dict(state, strict=False)
    torch.testing.assert_close(twin.effective_weight(), layer.effective_weight())
    signs = torch.tensor([1, 1, 1, 1, -1, -1])
    signed = make(kind, mask=layer.mask, sign=signs)
    with pytest.raises(RuntimeError, match=r'Missing key.*"sign"'):
        signed.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="sign is not of this layer"):
        layer.load_state_dict(signed.state_dict(), strict=False)
    with pytest.raises(RuntimeError, match=r"sign differs in \d+ of"):
        make(kind, mask=layer.mask, sign=-signs).load_state_dict(signed.state_dict())


# --- signs and starts -----------------------------------------------------------------------------


@ALL
@BOTH
def test_signs_hold_whatever_the_weights(kind: Kind, kernel: str) -> None:
    mask = draw_mask(kind, share=0.3)
    sign = torch.tensor([1, 1, 1, -1, -1, 0], dtype=torch.int8)
    shape = (6, 1, 1, 1) if is_transposed(kind) else (1, 6, 1, 1)
    full = sign.view(shape).expand(mask.shape)
    layer = make(kind, kernel, mask=mask, sign=sign)
    for other in (full, full[mask]):
        assert torch.equal(make(kind, kernel, mask=mask, sign=other).sign, layer.sign)
    weight = torch.randn(mask.shape, dtype=torch.float64)
    layer.set_weight(weight)
    wanted = torch.where(full == 0, weight, full * weight.abs()) * mask
    torch.testing.assert_close(layer.effective_weight(), wanted)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    y = layer(x)
    torch.testing.assert_close(y, plain(layer, x, wanted, layer.bias))
    y.square().sum().backward()
    optimiser = torch.optim.SGD(layer.parameters(), 10.0)
    optimiser.step()
    acts = layer.effective_weight()
    assert (acts * full >= 0).all()
    assert torch.equal(acts != 0, mask)


@ALL
def test_weights_with_a_sign_start_as_sizes(kind: Kind) -> None:
    mask = draw_mask(kind, share=0.3)
    sign = torch.tensor([1, 1, 1, -1, -1, 0], dtype=torch.int8)
    raw = []
    for held in (sign, sign * 0):
        torch.manual_seed(3)
        layer = make(kind, mask=mask, sign=held)
        raw.append(layer.weight if layer.weight.dim() == 1 else layer.weight[mask])
    signed, drawn = raw
    held = make(kind, mask=mask, sign=sign).sign
    assert torch.equal(signed, torch.where(held == 0, drawn, drawn.abs()))


@pytest.mark.parametrize(
    ("masked", "live"), [(MaskedConv2d, LiveConv2d), (MaskedConvTranspose2d, LiveConvTranspose2d)]
)
@pytest.mark.parametrize("fan_in", ["dense", "open"])
def test_lists_and_masks_start_alike(masked: Kind, live: Kind, fan_in: str) -> None:
    mask = draw_mask(masked)
    layers = []
    for kind in (masked, live):
        torch.manual_seed(3)
        layers.append(make(kind, mask=mask, fan_in=fan_in))
    first, second = layers
    torch.testing.assert_close(first.effective_weight(), second.effective_weight())
    torch.testing.assert_close(first.bias, second.bias)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(first(x), second(x))
    for layer in layers:
        torch.manual_seed(4)
        layer.reset_parameters()
    torch.testing.assert_close(first.effective_weight(), second.effective_weight())
    torch.testing.assert_close(first.bias, second.bias)


@MASKED
def test_dense_fan_in_is_the_start_of_torch(kind: Kind) -> None:
    mask = draw_mask(kind)
    torch.manual_seed(3)
    layer = make(kind, mask=mask)
    torch.manual_seed(3)
    torch_kind: Kind = nn.ConvTranspose2d if is_transposed(kind) else nn.Conv2d
    wanted = torch_kind(6, 4, 5, stride=2, padding=2, dtype=torch.float64)
    assert torch.equal(layer.weight, wanted.weight * mask)
    assert torch.equal(layer.bias, wanted.bias)


@ALL
def test_open_fan_in_counts_what_is_open(kind: Kind) -> None:
    channels = (20, 3) if is_transposed(kind) else (3, 20)
    mask = torch.zeros(*channels, 9, 9, dtype=torch.bool)
    by_output = mask.transpose(0, 1) if is_transposed(kind) else mask
    by_output[0, :, 4:], by_output[1, :, :, 0] = True, True
    layer = kind(20, 3, 9, mask=mask, fan_in="open")
    weight = layer.effective_weight()
    weight = weight.transpose(0, 1) if is_transposed(kind) else weight
    for row, n_open in ((0, 900), (1, 180)):
        bound = n_open**-0.5
        largest = float(weight[row].detach().abs().max())
        assert 0.98 * bound < largest <= bound * 1.000001
        assert abs(float(layer.bias.detach()[row])) <= bound * 1.000001
    assert torch.isfinite(weight).all()


# --- arguments ------------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mask": torch.ones(2, 2, 5, 5, dtype=torch.bool)},
            r"must be torch.bool \(\d, \d, 5, 5\)",
        ),
        ({"mask": torch.ones(4, 6, 5, 5)}, "float32"),
        ({"kernel": "opne"}, "no kernel 'opne'; there are auto, dense, open"),
        ({"fan_in": "all"}, "no fan_in 'all'; there are dense, open"),
        ({"sign": torch.ones(5)}, r"sign is \(5,\); it must be one for each of the 6 input"),
        ({"sign": torch.full((6,), 2)}, "sign has 2; possible are"),
    ],
)
def test_bad_arguments(kind: Kind, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(kind, **options)


def test_a_sign_that_could_mean_two_things() -> None:
    mask = torch.zeros(1, 2, 1, 2, dtype=torch.bool)
    mask[0, 0] = True
    sign = torch.tensor([1, -1])
    with pytest.raises(ValueError, match="give it in the kernel's shape"):
        MaskedConv2d(2, 1, (1, 2), mask=mask, sign=sign)
    given = sign.view(1, 1, 1, 2).expand(1, 2, 1, 2)
    layer = MaskedConv2d(2, 1, (1, 2), mask=mask, sign=given)
    assert layer.sign is not None
    assert layer.sign.tolist() == [1, -1]


def test_auto_takes_the_list_of_large_kernels_with_few_open_entries() -> None:
    chosen = {}
    for size, share in ((19, 0.03), (19, 0.5), (3, 0.03)):
        mask = draw_mask(MaskedConv2d, 6, 4, size, share)
        chosen[size, share] = MaskedConv2d(6, 4, size, mask=mask).kernel
    assert chosen == {(19, 0.03): "open", (19, 0.5): "dense", (3, 0.03): "dense"}
    assert set(CONVOLUTION_KERNELS) == {"auto", "dense", "open"}


@ALL
def test_text(kind: Kind) -> None:
    text = repr(make(kind, sign=torch.ones(6)))
    assert "6, 4, kernel_size=(5, 5), stride=(2, 2)" in text
    assert "of 600" in text
    assert "kernel=open" in text
    assert "signed" in text


# --- what torch does with modules -----------------------------------------------------------------


@ALL
@BOTH
def test_copies_and_dtypes(kind: Kind, kernel: str) -> None:
    layer = make(kind, kernel, sign=torch.tensor([1, 1, 1, 1, -1, -1]))
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    wanted = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(x), wanted)
        with torch.no_grad():
            other.weight.zero_()
    torch.testing.assert_close(layer(x), wanted)
    for dtype in (torch.float16, torch.bfloat16):
        low = copy.deepcopy(layer).to(dtype)
        assert low.mask.dtype == torch.bool
        torch.testing.assert_close(low(x.to(dtype)).double(), wanted, rtol=0.1, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.float()(x.float()).dtype == torch.bfloat16


@ALL
@BOTH
def test_transforms_and_export(kind: Kind, kernel: str) -> None:
    layer = make(kind, kernel)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    wanted = layer(x)
    torch.testing.assert_close(torch.func.vmap(layer)(x.unsqueeze(0)), wanted.unsqueeze(0))
    with forward_ad.dual_level():
        _, slope = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x))))
    with torch.no_grad():  # linear, but for the bias
        torch.testing.assert_close(slope, layer(x + 1) - wanted)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), wanted)
    torch._dynamo.reset()
    compiled: Kind = torch.compile(layer, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, wanted)
    y.square().sum().backward()
    found = layer.weight.grad.clone()
    layer.zero_grad()
    layer(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, found)


@ALL
@BOTH
def test_made_empty_and_filled_later(kind: Kind, kernel: str) -> None:
    layer = make(kind, kernel)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    for assign in (False, True):
        empty = make(kind, kernel, mask=layer.mask, device="meta")
        if not assign:
            empty = empty.to_empty(device="cpu")
        empty.load_state_dict(layer.state_dict(), assign=assign)
        torch.testing.assert_close(empty(x), layer(x))
    empty = make(kind, kernel, mask=layer.mask, device="meta").to_empty(device="cpu")
    torch.manual_seed(1)
    empty.reset_parameters()
    torch.manual_seed(1)
    layer.reset_parameters()
    assert torch.equal(empty.mask, layer.mask)
    torch.testing.assert_close(empty(x), layer(x))


def test_an_emitted_copy_is_complete() -> None:
    copied = copy_definitions(["LiveConv2d", "MaskedConvTranspose2d", "convolve_together"])
    assert all("connectome_compiler" not in line for line in copied.imports)
    scope: dict[str, Any] = {"__name__": "emitted"}
    exec("\n".join(copied.imports) + "\n" + copied.text, scope)
    mask = draw_mask(LiveConv2d)
    layers = []
    for kind in (LiveConv2d, scope["LiveConv2d"]):
        torch.manual_seed(0)
        layers.append(kind(6, 4, 5, mask=mask, kernel="open", end_padding=(0, 1)))
    x = torch.randn(2, 6, 9, 9)
    assert torch.equal(layers[0](x), scope["convolve_together"](x, layers[1])[0])
    assert masked_conv.__doc__
