"""Windowed layers: what they compute, what must not leak, and what a state may be loaded into."""

import copy
import io
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from connectome_compiler.nn import window_layers, window_products
from connectome_compiler.nn.window_layers import (
    GAINS,
    WindowConv2d,
    WindowConvTranspose2d,
    WindowLinear,
)
from connectome_compiler.nn.window_rules import WindowRule

Layer = WindowLinear | WindowConv2d | WindowConvTranspose2d


def grid(
    radius: float = 0.4, pre_width: int = 8, post_width: int = 4, **options: Any
) -> WindowRule:
    return WindowRule("2d", radius=radius, pre_width=pre_width, post_width=post_width, **options)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _small_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small layers take the ways of large ones."""
    monkeypatch.setattr(window_layers, "LARGE_CELLS", 1000)
    monkeypatch.setattr(window_products, "CACHE_CELLS", 256)
    monkeypatch.setattr(window_products, "PATCH", 3)


@pytest.fixture(params=["small", "large"])
def _of_both_sizes(request: pytest.FixtureRequest) -> None:
    if request.param == "large":
        request.getfixturevalue("_small_is_big")


def linear(kernel: str = "dense", window: WindowRule | None = None, **options: Any) -> WindowLinear:
    """48 inputs, 8 wide, to 32 outputs, 4 wide."""
    return WindowLinear(48, 32, window=window or grid(), kernel=kernel, **options)


def conv(kernel: str = "dense", window: WindowRule | None = None, **options: Any) -> WindowConv2d:
    options = {"kernel_size": 3, **options}
    return WindowConv2d(48, 32, window=window or grid(), kernel=kernel, **options)


def conv_t(
    kernel: str = "dense", window: WindowRule | None = None, **options: Any
) -> WindowConvTranspose2d:
    options = {"kernel_size": 4, "stride": 2, **options}
    return WindowConvTranspose2d(48, 32, window=window or grid(), kernel=kernel, **options)


def activity(layer: Layer, n: int = 3) -> Tensor:
    """Draw an input of the dtype of the layer."""
    shape = (n, 48) if isinstance(layer, WindowLinear) else (n, 48, 5, 6)
    return torch.randn(shape, dtype=layer.weight.dtype)


def plain(layer: Layer, x: Tensor, weight: Tensor) -> Tensor:
    """Do what torch does with a dense weight."""
    f = nn.functional
    if isinstance(layer, WindowLinear):
        return f.linear(x, weight, layer.bias)
    if isinstance(layer, WindowConv2d):
        return f.conv2d(
            x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )
    return f.conv_transpose2d(
        x,
        weight,
        layer.bias,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.dilation,
    )


MAKERS = [linear, conv, conv_t]
KERNELS = ["dense", "patches"]
BOTH = pytest.mark.parametrize(
    ("make", "kernel"), list(product(MAKERS, KERNELS)), ids=lambda v: getattr(v, "__name__", v)
)
Make = Callable[..., Any]


# --- what they compute ----------------------------------------------------------------------------


@BOTH
@pytest.mark.usefixtures("_of_both_sizes")
@pytest.mark.parametrize("bias", [True, False])
def test_products_and_gradients(make: Make, kernel: str, bias: bool) -> None:
    torch.manual_seed(0)
    layer = make(kernel, bias=bias, dtype=torch.float64)
    assert layer.kernel == kernel
    x = activity(layer).requires_grad_()
    y = layer(x)
    # A graph of the dense weight, to be compared with, and of the raw one, to be differentiated.
    dense = layer.effective_weight().detach().requires_grad_()
    wanted = plain(layer, x, dense)
    torch.testing.assert_close(y, wanted)
    assert y.is_contiguous()
    g = torch.randn_like(y)
    grad_x, grad_weight = torch.autograd.grad(y, (x, layer.weight), g)
    wanted_x, wanted_weight = torch.autograd.grad(wanted, (x, dense), g)
    torch.testing.assert_close(grad_x, wanted_x)
    with torch.no_grad():
        packed = layer.weight.clone()
        layer.weight.copy_(grad_weight)
        torch.testing.assert_close(layer.effective_weight(), wanted_weight * layer.mask)
        if layer.weight.shape == layer.mask.shape:
            assert not grad_weight[~layer.mask].any()
        layer.weight.copy_(packed)


@BOTH
@pytest.mark.usefixtures("_small_is_big")
def test_float32_and_float64_agree(make: Make, kernel: str) -> None:
    layer = make(kernel)
    x = activity(layer).requires_grad_()
    y = layer(x)
    double = copy.deepcopy(layer).double()
    z = double(x.double())
    torch.testing.assert_close(y, z.float(), rtol=1e-4, atol=1e-5)
    g = torch.randn_like(y)
    (found,) = torch.autograd.grad(y, layer.weight, g)
    (wanted,) = torch.autograd.grad(z, double.weight, g.double())
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-4)


@BOTH
@pytest.mark.usefixtures("_small_is_big")
def test_gradients_of_gradients(make: Make, kernel: str) -> None:
    torch.manual_seed(0)
    layer = make(kernel, dtype=torch.float64)
    x = activity(layer, 1).requires_grad_()

    def penalty(y: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return slope.square().sum()

    found = torch.autograd.grad(penalty(layer(x)), layer.weight)[0]
    dense = plain(layer, x, layer.effective_weight())
    wanted = torch.autograd.grad(penalty(dense), layer.weight)[0]
    torch.testing.assert_close(found, wanted)
    assert found.any()


@pytest.mark.filterwarnings("ignore:.*without")
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_convolutions_take_what_those_of_torch_take(groups: int, mode: str) -> None:
    window = grid(0.5, 4, 4)
    options: dict[str, Any] = {"dilation": 2, "groups": groups, "padding_mode": mode}
    layer = WindowConv2d(48, 32, (3, 1), (2, 1), (2, 1), window=window, **options)
    other = nn.Conv2d(48, 32, (3, 1), (2, 1), (2, 1), **options)
    assert layer.mask.shape == other.weight.shape == (32, 48 // groups, 3, 1)
    rows = b"".join(window.rows(32, 48 // groups))
    wanted = torch.frombuffer(bytearray(rows), dtype=torch.bool).view(32, -1)
    assert torch.equal(layer.mask[:, :, 2, 0], wanted)
    with torch.no_grad():
        other.weight.copy_(layer.effective_weight())
        assert other.bias is not None
        assert layer.bias is not None
        other.bias.copy_(layer.bias)
    x = torch.randn(2, 48, 9, 8)
    torch.testing.assert_close(layer(x), other(x))
    torch.testing.assert_close(layer(x[0]), other(x[0]))  # without a batch
    assert WindowConv2d(48, 32, 3, padding="same", window=window)(x).shape == (2, 32, 9, 8)


@pytest.mark.filterwarnings("ignore:.*without")
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolutions_take_what_those_of_torch_take(groups: int) -> None:
    window = grid(0.5, 4, 4)
    options: dict[str, Any] = {"output_padding": (1, 0), "groups": groups, "dilation": 2}
    layer = WindowConvTranspose2d(48, 32, (3, 4), 2, 1, window=window, **options)
    other = nn.ConvTranspose2d(48, 32, (3, 4), 2, 1, **options)
    assert layer.mask.shape == other.weight.shape == (48, 32 // groups, 3, 4)
    assert layer.window.transposed
    rows = b"".join(layer.window.rows(32 // groups, 48))
    wanted = torch.frombuffer(bytearray(rows), dtype=torch.bool).view(-1, 48).t()
    assert torch.equal(layer.mask[:, :, 2, 3], wanted)
    other.load_state_dict({"weight": layer.effective_weight(), "bias": layer.bias})
    x = torch.randn(2, 48, 5, 6)
    torch.testing.assert_close(layer(x), other(x))
    y = layer(x, output_size=[12, 16])
    torch.testing.assert_close(y, other(x, output_size=[12, 16]))


def test_patches_of_a_convolution_know_the_size_asked_for() -> None:
    torch.manual_seed(0)
    dense, patches = conv_t(), conv_t("patches")
    patches.load_state_dict(dense.state_dict())
    x = activity(dense)
    torch.testing.assert_close(
        patches(x, output_size=[13, 15]), dense(x, output_size=[13, 15]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("_small_is_big")
def test_activity_of_any_shape(kernel: str) -> None:
    layer = linear(kernel)
    for shape in ((48,), (0, 48), (1, 48), (2, 3, 48)):
        x = torch.randn(shape)
        wanted = nn.functional.linear(x, layer.effective_weight(), layer.bias)
        torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises((ValueError, RuntimeError), match="49"):
        layer(torch.randn(2, 49))


@pytest.mark.parametrize(
    "window",
    [
        WindowRule("diagonal", reduction=0.6),
        WindowRule("diagonal", reduction=0.6, transposed=True),
        WindowRule("individual", reduction=0.6, seed=1),
        WindowRule("kernel", reduction=0.6, seed=1),
        grid(0.3, mode="clean", torus=True),
    ],
    ids=repr,
)
@BOTH
@pytest.mark.usefixtures("_small_is_big")
def test_all_forms(make: Make, kernel: str, window: WindowRule) -> None:
    if make is not linear and window.form == "individual":
        kernel = "dense"
    layer = make(kernel, window)
    x = activity(layer)
    wanted = plain(layer, x, layer.effective_weight())
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    assert not layer.effective_weight()[~layer.mask].any()
    if window.form != "individual":
        swap = isinstance(layer, WindowConvTranspose2d)
        mask = layer.mask.transpose(0, 1) if swap else layer.mask
        rows = b"".join(layer.window.rows(32, 48))
        flat = mask.flatten(2)[..., 0] if mask.dim() > 2 else mask
        assert flat.contiguous().numpy().tobytes() == rows


def test_each_weight_is_drawn_in_the_layout_of_torch() -> None:
    window = WindowRule("individual", reduction=0.5, seed=11)
    for layer in (linear(window=window), conv(window=window), conv_t(window=window)):
        draws = np.random.RandomState(11).random_sample(tuple(layer.weight.shape))
        np.testing.assert_array_equal(layer.mask.numpy(), draws >= 0.5)


@pytest.mark.parametrize("make", MAKERS)
def test_bells_multiply_in_every_pass(make: Make) -> None:
    window = WindowRule("gaussian", reduction=0.5)
    torch.manual_seed(0)
    layer = make("auto", window)
    x = activity(layer)
    torch.testing.assert_close(layer(x), plain(layer, x, layer.weight * layer.values))
    rows = torch.tensor(list(layer.window.values(32, 48)))
    values = layer.values.flatten(2)[..., 0] if layer.values.dim() > 2 else layer.values
    if isinstance(layer, WindowConvTranspose2d):
        values = values.t()
    torch.testing.assert_close(values, rows, rtol=1e-5, atol=1e-7)
    other = make("auto", window)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x))
    copy.deepcopy(other).half().load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="values is of another window"):
        other.load_state_dict(make("auto", WindowRule("gaussian", reduction=0.6)).state_dict())


def test_patches_are_chosen_where_they_pay() -> None:
    def kernel(n: int, radius: float, **options: Any) -> str:
        side = round(n**0.5)
        window = grid(radius, side, side)
        return WindowLinear(n, n, window=window, device="meta", **options).kernel

    assert kernel(1024, 0.3) == "patches"
    assert kernel(1024, 0.6) == "dense"
    assert kernel(2304, 0.6) == "patches"
    assert kernel(2304, 0.9) == "dense"
    assert kernel(100, 0.1) == "dense"
    assert kernel(1024, 0.3, kernel="dense") == "dense"
    window = WindowRule("individual", reduction=0.5)
    assert WindowLinear(600, 600, window=window).kernel == "dense"
    gan: dict[str, Any] = {"kernel_size": 5, "stride": 2, "device": "meta"}
    for radius, wanted in ((0.4, "patches"), (0.6, "dense")):
        layer = WindowConvTranspose2d(1024, 512, window=grid(radius, 32, 32), **gan)
        assert layer.kernel == wanted


# --- starting weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gain", GAINS)
def test_gains(gain: str, kernel: str) -> None:
    torch.manual_seed(5)
    stock = nn.Linear(48, 32)
    torch.manual_seed(5)
    layer = linear(kernel, gain=gain)
    assert stock.bias is not None
    assert layer.bias is not None
    assert torch.equal(layer.bias, stock.bias)
    usage = layer.mask.double().mean().item()
    assert layer.usage == usage
    g: Any = {"none": 1, "1/usage": 1 / usage, "1/sqrt(usage)": usage**-0.5}.get(gain)
    if gain == "fan-in":
        g = (48 / layer.mask.sum(1, keepdim=True)).sqrt()
    wanted = stock.weight * layer.mask * g
    torch.testing.assert_close(layer.effective_weight(), wanted)
    torch.manual_seed(5)
    layer.reset_parameters()
    torch.testing.assert_close(layer.effective_weight(), wanted)


@pytest.mark.parametrize("make", [conv, conv_t])
@pytest.mark.parametrize("gain", GAINS)
def test_gains_of_convolutions(make: Make, gain: str) -> None:
    torch.manual_seed(5)
    layer = make(gain=gain)
    torch.manual_seed(5)
    base = nn.Conv2d if make is conv else nn.ConvTranspose2d
    stock: Any = base(48, 32, layer.kernel_size, layer.stride)
    outputs = int(make is conv_t)
    rest = [d for d in range(4) if d != outputs]
    n = layer.mask.numel() // 32
    g: Any = {"none": 1, "1/usage": 1 / layer.usage, "1/sqrt(usage)": layer.usage**-0.5}.get(gain)
    if gain == "fan-in":
        g = (n / layer.mask.sum(rest, keepdim=True)).sqrt()
    torch.testing.assert_close(layer.weight, stock.weight * layer.mask * g)


# --- leaks ----------------------------------------------------------------------------------------


def dcgan_init(module: nn.Module) -> None:
    """Do what every DCGAN script does."""
    name = type(module).__name__
    if "Conv" in name or "Linear" in name:
        nn.init.normal_(module.weight.data, 0.0, 0.02)  # type: ignore[arg-type]


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "Adam": lambda p: torch.optim.Adam(p, lr=2e-4, betas=(0.5, 0.999)),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
}


@BOTH
@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.usefixtures("_of_both_sizes")
def test_nothing_leaks(make: Make, kernel: str, name: str) -> None:
    torch.manual_seed(0)
    layer = make(kernel)
    layer.apply(dcgan_init)
    optimiser = OPTIMISERS[name](layer.parameters())
    x = activity(layer)
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias"]
    before = layer.mask.clone()
    for _ in range(4):
        effective = layer.effective_weight().detach()
        assert not effective[~layer.mask].any()
        assert effective[layer.mask].all()
        # The output is that of the masked weight alone.
        torch.testing.assert_close(layer(x), plain(layer, x, effective), rtol=1e-3, atol=1e-5)
        optimiser.zero_grad()
        layer(x).square().mean().backward()
        optimiser.step()
    saved = layer.state_dict()
    assert not saved["weight"][~before].any()
    assert saved["weight"][before].any()
    assert torch.equal(layer.mask, before)
    assert not layer.mask.requires_grad


@BOTH
def test_not_even_bad_numbers_leak_into_a_saved_state(make: Make, kernel: str) -> None:
    layer = make(kernel)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    state = layer.state_dict()
    assert torch.equal(state["weight"], 3.0 * layer.mask)
    with torch.no_grad():
        layer.set_weight(torch.ones_like(state["weight"]))
    assert torch.equal(layer.effective_weight().detach(), layer.mask.float())
    with torch.no_grad():
        state["weight"] = torch.ones_like(state["weight"])
    layer.load_state_dict(state)
    assert torch.equal(layer.effective_weight().detach(), layer.mask.float())


def test_a_state_can_be_read_between_forward_and_backward() -> None:
    for make, kernel in product(MAKERS, KERNELS):
        layer = make(kernel)
        y = layer(activity(layer)).sum()
        layer.state_dict()
        y.backward()


# --- states, copies, devices ----------------------------------------------------------------------


@BOTH
def test_states_go_round(make: Make, kernel: str) -> None:
    layer = make(kernel)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert {*state} == {"weight", "bias", "mask"}
    assert state["mask"].dtype == torch.bool
    assert state["weight"].shape == state["mask"].shape
    x = activity(layer)
    for other_kernel in KERNELS:
        other = make(other_kernel)
        other.load_state_dict(state)
        torch.testing.assert_close(other(x), layer(x), rtol=1e-4, atol=1e-5)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        assert twin.window == layer.window


@BOTH
def test_the_state_of_another_mask_is_refused(make: Make, kernel: str) -> None:
    layer, other = make(kernel), make(kernel, grid(0.5))
    before = layer.effective_weight().detach().clone()
    expected = re.escape(layer.digest()[:12])
    with pytest.raises(RuntimeError, match=f"mask is of another window: .*{expected}"):
        layer.load_state_dict(other.state_dict())
    state = layer.state_dict()
    del state["mask"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"mask"'):
        layer.load_state_dict(state)
    with pytest.raises(RuntimeError, match="load_published_state"):
        layer.load_state_dict({**state, "window": torch.ones(1)})
    for strange in (torch.ones(3), torch.tensor(True), torch.ones((2,) * 7), 1, None):
        with pytest.raises(RuntimeError, match=r'mask (differs in shape|is of type int)|"mask"'):
            layer.load_state_dict({**state, "mask": strange})
    assert torch.equal(layer.effective_weight(), before)


def test_digests_are_those_of_the_rule() -> None:
    for rule in (
        grid(),
        WindowRule("diagonal", reduction=0.5),
        WindowRule("kernel", reduction=0.4),
    ):
        layer = linear(window=rule)
        assert layer.digest() == rule.digest(32, 48)
        layer_t = conv_t(window=rule, kernel_size=1)
        assert layer_t.digest() == layer_t.window.digest(32, 48)


@BOTH
def test_layers_without_memory(make: Make, kernel: str) -> None:
    layer = make(kernel)
    x = activity(layer)
    with torch.device("meta"):
        empty = make(kernel)
    assert empty.weight.is_meta
    assert torch.equal(empty.kept["mask"], layer.mask)
    assert empty.kernel == kernel
    assert empty.usage == layer.usage
    assert empty(x.to("meta")).shape == layer(x).shape
    empty.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(empty(x), layer(x))

    filled = make(kernel, device="meta").to_empty(device="cpu")
    filled.load_state_dict(layer.state_dict())
    assert torch.equal(filled(x), layer(x))

    drawn = make(kernel, device="meta").to_empty(device="cpu")
    torch.manual_seed(3)
    drawn.reset_parameters()
    torch.manual_seed(3)
    wanted = make(kernel)
    assert torch.equal(drawn(x), wanted(x))


@BOTH
@pytest.mark.usefixtures("_small_is_big")
def test_precisions(make: Make, kernel: str) -> None:
    layer = make(kernel, dtype=torch.float16)
    assert layer.weight.dtype == torch.float16
    assert layer.mask.dtype == torch.bool
    assert layer(activity(layer)).dtype == torch.float16
    double = make(kernel).to(torch.float64)
    assert double.mask.dtype == torch.bool
    assert double(activity(double)).dtype == torch.float64
    layer = make(kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(activity(layer))
    assert y.dtype == torch.bfloat16
    y.sum().backward()


@BOTH
@pytest.mark.usefixtures("_small_is_big")
def test_transforms_and_export(make: Make, kernel: str) -> None:
    layer = make(kernel)
    x = activity(layer)
    wanted = layer(x)
    mapped = torch.func.vmap(layer)(torch.stack((x, x)))
    torch.testing.assert_close(mapped[1], wanted, rtol=1e-4, atol=1e-5)
    parameters = dict(layer.named_parameters())

    def loss(p: dict[str, Tensor]) -> Any:
        return torch.func.functional_call(layer, p, (x,)).square().sum()

    slopes = torch.func.grad(loss)(parameters)
    layer(x).square().sum().backward()
    torch.testing.assert_close(slopes["weight"], layer.weight.grad, rtol=1e-3, atol=1e-4)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), wanted, rtol=1e-4, atol=1e-5)
    if layer.weight.shape == layer.mask.shape:  # a packed weight cannot be taken apart by proxy
        traced = torch.fx.symbolic_trace(nn.Sequential(layer))
        torch.testing.assert_close(traced(x), wanted, rtol=1e-4, atol=1e-5)


@BOTH
def test_compiling(make: Make, kernel: str) -> None:
    layer = make(kernel)
    x = activity(layer)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-5)
    compiled(x).square().sum().backward()
    found, layer.weight.grad = layer.weight.grad, None
    layer(x).square().sum().backward()
    torch.testing.assert_close(found, layer.weight.grad, rtol=1e-3, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([0.5, 0.7, 1.0]),
    st.integers(1, 3),
)
def test_kernels_agree(a: int, hx: int, b: int, hy: int, radius: float, batch: int) -> None:
    window = grid(radius, a, b)
    n_pre, n_post = a * hx, b * hy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dense = WindowLinear(n_pre, n_post, window=window, kernel="dense")
        except ValueError:  # a coarse grid next to a fine one
            return
        patches = WindowLinear(n_pre, n_post, window=window, kernel="patches")
    patches.load_state_dict(dense.state_dict())
    x = torch.randn(batch, n_pre)
    torch.testing.assert_close(patches(x), dense(x), rtol=1e-4, atol=1e-5)
    assert torch.equal(patches.effective_weight(), dense.effective_weight())


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("window", "kernel"),
    [
        (grid(0.4, 4, 6), "dense"),
        (grid(0.4, 4, 6), "patches"),
        (WindowRule("gaussian", reduction=0.5), "dense"),
    ],
)
def test_transformers_do_not_read_past_the_mask(
    window: WindowRule, kernel: str, padded: bool
) -> None:
    """In evaluation their fused path would take the raw weight, without calling the layer."""
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(16, 2, 36, dropout=0.0, batch_first=True)
    encoder.linear1 = WindowLinear(16, 36, window=window, kernel=kernel)
    net = nn.TransformerEncoder(encoder, 2)
    for module in net.modules():
        if isinstance(module, WindowLinear):
            nn.init.normal_(module.weight)
    x = torch.randn(2, 5, 16)
    absent = torch.zeros(2, 5, dtype=torch.bool)
    absent[1, 3:] = padded
    options = {"src_key_padding_mask": absent} if padded else {}
    wanted = net(x, **options)
    net = pickle.loads(pickle.dumps(net)).eval()
    with torch.no_grad():
        found = net(x, **options)
    torch.testing.assert_close(found[~absent], wanted[~absent], rtol=1e-4, atol=1e-5)


def test_attention_reads_the_raw_weight_of_its_projection() -> None:
    """A limit: it never calls the layer. If this fails, torch has changed: say so in the docs."""
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    layer = WindowLinear(16, 16, window=grid(0.4, 4, 4))
    attention.out_proj = layer  # type: ignore[assignment]
    x = torch.randn(2, 5, 16)
    before = attention(x, x, x)[0]
    with torch.no_grad():
        layer.weight[~layer.mask] = 1.0
    assert not torch.allclose(attention(x, x, x)[0], before)


# --- what is said and refused ---------------------------------------------------------------------


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="no gain 'x'"):
        linear(gain="x")
    with pytest.raises(ValueError, match="no kernel 'sparse'"):
        conv("sparse")
    with pytest.raises(ValueError, match="pre_width 7 does not divide the 48 inputs"):
        linear(window=grid(0.4, 7, 4))
    with pytest.raises(ValueError, match="pre_width 8 does not divide the 12 inputs"):
        conv(groups=4)  # 12 inputs a group
    with pytest.raises(ValueError, match="gaussian"):
        linear("patches", WindowRule("gaussian", reduction=0.5))
    with pytest.raises(ValueError, match="groups=1"):
        conv("patches", grid(0.5, 4, 4), groups=2)
    with pytest.raises(ValueError, match="expected"):
        linear("patches").set_weight(torch.zeros(48, 32))


def test_what_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="keeps every weight"):
        linear(window=grid(1.4))
    with pytest.warns(UserWarning, match="of 48 outputs without input"):
        WindowLinear(4, 48, window=WindowRule("diagonal", reduction=0.97))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear()


def test_groups_see_only_their_part_of_the_outputs() -> None:
    """The published rule spreads the inputs of one group over the grid of all outputs."""
    with pytest.warns(UserWarning, match="0 of 32 outputs .* 8 of 64 inputs without output"):
        layer = WindowConv2d(64, 32, 3, groups=2, window=grid())
    reads = [layer.mask[16 * g : 16 * (g + 1)].flatten(2).any(2).any(0) for g in (0, 1)]
    assert int((~torch.cat(reads)).sum()) == 8
    with pytest.warns(UserWarning, match="8 of 64 outputs .* 0 of 32 inputs without output"):
        WindowConvTranspose2d(32, 64, 3, groups=2, window=grid(0.4, 4, 8))


def test_they_are_layers_of_torch() -> None:
    for layer, base in ((linear(), nn.Linear), (conv(), nn.Conv2d), (conv_t(), nn.ConvTranspose2d)):
        assert isinstance(layer, base)
        assert "window=WindowRule('2d', radius=0.4" in repr(layer)
