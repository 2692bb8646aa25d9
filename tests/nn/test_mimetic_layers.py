"""The layers under the lab's names: same arguments, same masks, none of the leaks."""

import inspect
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from connectome_compiler import mimetic
from connectome_compiler.mimetic import (
    load_published_state,
    mConv2d,
    mConvTranspose2d,
    mLinear,
)
from connectome_compiler.nn.window_rules import WindowRule

LAB = (
    "halfbandwidth",
    "param_reduction",
    "form",
    "input2d_width",
    "output2d_width",
    "window2d_width",
    "print_param_usage",
)
DEFAULTS = (0, 0.5, "diagonal", 10, 10, 1.41, False)


def arguments(layer: type) -> list[str]:
    found = inspect.signature(layer).parameters.values()
    return [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]


@pytest.mark.parametrize(
    ("layer", "stock"),
    [(mLinear, nn.Linear), (mConv2d, nn.Conv2d), (mConvTranspose2d, nn.ConvTranspose2d)],
)
def test_arguments_are_those_of_the_lab(layer: Any, stock: type) -> None:
    theirs = arguments(stock)
    assert theirs[-2:] == ["device", "dtype"]
    assert arguments(layer) == [*theirs[:-2], *LAB, "device", "dtype"]
    found = inspect.signature(layer).parameters
    assert tuple(found[name].default for name in LAB) == DEFAULTS
    assert found["mask_seed"].kind is inspect.Parameter.KEYWORD_ONLY
    for name in theirs:
        wanted = inspect.signature(stock).parameters[name].default
        assert found[name].default == wanted


def test_input2d_width_is_that_of_the_first_axis() -> None:
    """Inputs for linear and convolution; outputs for transposed convolution."""
    grids: dict[str, Any] = {"form": "2d", "input2d_width": 4, "output2d_width": 8}
    linear = mLinear(16, 64, window2d_width=0.4, **grids)
    assert linear.window == WindowRule("2d", radius=0.4, pre_width=4, post_width=8)
    conv = mConv2d(16, 64, 3, window2d_width=0.4, **grids)
    assert torch.equal(conv.mask[..., 1, 2], linear.mask)
    turned = mConvTranspose2d(64, 16, 3, window2d_width=0.4, **grids)
    assert turned.window.pre_width == 8
    assert turned.window.post_width == 4
    # x is 16 channels 4 wide and y is 64 channels 8 wide in all three, so the masks are the same.
    assert torch.equal(turned.mask[..., 0, 0], linear.mask)


@pytest.mark.parametrize(
    ("channels", "widths", "printed"),
    [
        ((1024, 512), (32, 32), "34.18846"),
        ((512, 256), (16, 16), "34.51538"),
        ((256, 128), (16, 8), "34.49707"),
        ((128, 64), (8, 8), "35.88867"),
    ],
)
def test_usage_is_printed(
    channels: tuple[int, int],
    widths: tuple[int, int],
    printed: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    layer = mConvTranspose2d(
        *channels,
        1,
        form="2d",
        input2d_width=widths[0],
        output2d_width=widths[1],
        window2d_width=0.4,
        print_param_usage=True,
    )
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith(f"mConvTranspose2d: {printed} %")
    assert layer.get_num_weights() == channels[0] * channels[1]
    assert layer.get_num_zeros() == int((~layer.mask).sum())
    assert layer.get_reduced_ratio() == pytest.approx(1 - float(printed) / 100, abs=1e-7)


def test_usage_of_the_generator() -> None:
    """Both figures of the papers: 34.21 % of the masked layers, 39.96 % of the generator."""
    widths = ((1024, 512, 32, 32), (512, 256, 32, 16), (256, 128, 16, 16))
    masked = [
        mConvTranspose2d(
            n_pre,
            n_post,
            5,
            form="2d",
            input2d_width=a,
            output2d_width=b,
            window2d_width=0.4,
            device="meta",
        )
        for n_pre, n_post, a, b in widths
    ]
    kept = sum(layer.get_num_weights() - layer.get_num_zeros() for layer in masked)
    total = sum(layer.get_num_weights() for layer in masked)
    assert round(100 * kept / total, 2) == 34.21
    rest = 100 * 4 * 4 * 1024 + 128 * 3 * 25
    assert round(100 * (kept + rest) / (total + rest), 2) == 39.96


def test_bands() -> None:
    layer = mLinear(100, 100)
    assert layer.usage == 0.5030
    assert layer.get_halfbandwidth() == pytest.approx(20.7106781)
    assert layer.get_num_zeros() == 4970
    with pytest.warns(UserWarning, match="halfbandwidth=3 has no effect"):
        ignored = mConv2d(10, 20, 3, halfbandwidth=3)
    assert torch.equal(ignored.mask, mConv2d(10, 20, 3).mask)
    assert ignored.get_halfbandwidth() != 3
    transposed = mConvTranspose2d(10, 20, 3, groups=2)
    assert transposed.get_halfbandwidth() == mConv2d(10, 10, 3).get_halfbandwidth()


def test_draws_need_a_seed_and_no_global_generator() -> None:
    torch.manual_seed(1)
    first = mConv2d(8, 12, 3, form="individual", mask_seed=4)
    draws = np.random.RandomState(4).random_sample((12, 8, 3, 3))
    np.testing.assert_array_equal(first.mask.numpy(), draws >= 0.5)
    assert not torch.equal(first.mask, mConv2d(8, 12, 3, form="individual", mask_seed=5).mask)
    kernel = mConv2d(8, 12, 3, form="kernel", mask_seed=4)
    assert torch.equal(kernel.mask, kernel.mask[..., :1, :1].expand_as(kernel.mask))


def test_the_published_start() -> None:
    torch.manual_seed(2)
    layer = mLinear(100, 100, form="2d", window2d_width=0.4)
    torch.manual_seed(2)
    stock = nn.Linear(100, 100)
    gain = 10_000 / int(layer.mask.sum())
    assert torch.equal(layer.weight, stock.weight * layer.mask * gain)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mLinear(10, 10, form="column"), "no window form 'column'; there are 2d"),
        (lambda: mLinear(10, 10, form="diagnal"), "did you mean 'diagonal'"),
        (lambda: mLinear(10, 10, form="stripes"), "no window form 'stripes'"),
        (
            lambda: mLinear(100, 105, form="2d", window2d_width=0.5),
            "output2d_width 10 does not divide the 105 outputs.*3, 5, 7, 15",
        ),
        (
            lambda: mConv2d(3, 100, 3, form="2d", window2d_width=0.5),
            "input2d_width 10 is more than the 3 inputs",
        ),
        (
            lambda: mConvTranspose2d(100, 105, 3, form="2d", window2d_width=0.5),
            "input2d_width 10 does not divide the 105 outputs",
        ),
        (lambda: mLinear(100, 100, form="2d", window2d_width=0), "window2d_width is a fraction"),
        (lambda: mLinear(100, 100, param_reduction=1), "param_reduction is the share"),
        (lambda: mConv2d(10, 10, 3, form="individual", param_reduction=-1), "param_reduction"),
        (
            lambda: mLinear(100, 100, False, 0, 0.5, "2d", 5, 20, 0.05),
            "window2d_width 0.05 leaves 65 of 100 outputs.*0.16 leaves none",
        ),
    ],
)
def test_dead_layers_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_ordinary_layer_is_allowed() -> None:
    with pytest.warns(UserWarning, match="keeps every weight"):
        layer = mLinear(100, 100, form="2d", window2d_width=1.4)
    assert layer.mask.all()


def test_bells() -> None:
    layer = mLinear(20, 20, form="gaussian")
    spread = layer.get_halfbandwidth()
    i, j = np.indices((20, 20))
    bell = np.exp(-((i - j) ** 2) / (2 * spread**2))
    assert layer.get_reduced_ratio() == pytest.approx(1 - bell.mean())
    assert mLinear(20, 20, form="gaussian", device="meta").get_reduced_ratio() == pytest.approx(
        1 - bell.mean()
    )


def test_a_bell_takes_the_halfbandwidth_that_it_is_given() -> None:
    """As the dense layer of the Keras version, which alone had bells, does: not times 1.5."""
    layer = mLinear(20, 30, form="gaussian", halfbandwidth=4)
    assert layer.get_halfbandwidth() == 4
    y, x = np.indices((30, 20))
    bell = np.exp(-((x - y * 19 / 29) ** 2) / (2 * 4.0**2))
    assert layer.get_reduced_ratio() == pytest.approx(1 - bell.mean())
    assert layer.values is not None
    np.testing.assert_allclose(layer.values.numpy(), bell / bell.mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="halfbandwidth must be positive"):
        mLinear(20, 30, form="gaussian", halfbandwidth=-4)


# --- states of the published port -----------------------------------------------------------------


def published_state(layer: nn.Module, leak: bool) -> dict[str, Tensor]:
    """Return what training has made of weight and window there."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, value in layer.state_dict().items():
        if not name.endswith("mask"):
            state[name] = value.clone()
            continue
        prefix = name.removesuffix("mask")
        window = value.float()
        window[value] += 0.1 * torch.rand(int(value.sum()))
        if leak:
            window[~value] = 0.01
            state[f"{prefix}weight"] = torch.randn_like(window)
        state[f"{prefix}window"] = window
    return state


@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("kernel", ["dense", "patches"])
def test_published_states_load_with_a_report(leak: bool, kernel: str) -> None:
    window = WindowRule("2d", radius=0.4, pre_width=10, post_width=10)
    net = nn.Sequential(
        mConv2d(16, 16, 3, form="2d", input2d_width=4, output2d_width=4, window2d_width=0.5),
        nn.BatchNorm2d(16),
        nn.Flatten(),
        mimetic.WindowLinear(100, 100, window=window, kernel=kernel),
    )
    state = published_state(net, leak)
    reports = load_published_state(net, state)
    assert [r.name for r in reports] == ["0", "3"]
    for report in reports:
        layer: Any = net.get_submodule(report.name)
        acted = state[f"{report.name}.weight"] * state[f"{report.name}.window"]
        wanted = torch.where(layer.mask, acted, 0)
        torch.testing.assert_close(layer.effective_weight(), wanted)
        n_off = int((~layer.mask).sum())
        assert report.n_on_mask == report.n_weights - n_off
        assert report.n_drifted == report.n_weights - (0 if leak else n_off)
        assert report.n_leaked == (n_off if leak else 0)
        assert 1 < report.drift[0] < report.drift[1] < 1.11
        assert (report.leaked_energy > 0) == leak
        assert f"{report.n_leaked} of {n_off} weights off the mask acted" in str(report)


@pytest.mark.parametrize("assign", [False, True])
def test_the_labs_layers_take_published_states_as_they_take_their_own(assign: bool) -> None:
    def made() -> nn.Module:
        return nn.Sequential(mLinear(20, 20), nn.Tanh(), mConvTranspose2d(4, 6, 3))

    net, other = made(), made()
    state = published_state(net, leak=True)
    reports = load_published_state(other, state)
    with pytest.warns(UserWarning, match="weights off the mask acted") as caught:
        net.load_state_dict(state, assign=assign)
    assert [str(w.message) for w in caught] == [str(r) for r in reports]
    for name, value in other.state_dict().items():
        assert torch.equal(net.state_dict()[name], value)
    assert all(p.requires_grad for p in net.parameters())


def test_a_published_state_of_another_mask_is_refused() -> None:
    layer = mLinear(100, 100)
    state = published_state(mLinear(100, 100, param_reduction=0.6), leak=False)
    with pytest.raises(ValueError, match=r"window is of another mask: .* are zero in it"):
        load_published_state(layer, state)
    before = layer.weight.detach().clone()
    with pytest.raises(RuntimeError, match="window is of another mask"):
        layer.load_state_dict(state)
    del state["weight"]
    with pytest.raises(RuntimeError, match="weight is not in the state"):
        layer.load_state_dict(state)
    assert torch.equal(layer.weight, before)


def test_published_states_of_other_networks() -> None:
    layer = mLinear(100, 100)
    state = published_state(layer, leak=False)
    with pytest.raises(KeyError, match="window is not in the state"):
        load_published_state(layer, {"weight": state["weight"]})
    with pytest.raises(ValueError, match=r"expected \(100, 100\)"):
        load_published_state(layer, published_state(mLinear(50, 100), leak=False))
    with pytest.raises(RuntimeError, match="unexpected"):
        load_published_state(layer, {**state, "unexpected": torch.ones(1)})


def test_a_masked_generator_learns_without_leaks() -> None:
    grids: dict[str, Any] = {"form": "2d", "window2d_width": 0.5}
    net = nn.Sequential(
        mConvTranspose2d(16, 64, 4, 1, 0, input2d_width=8, output2d_width=4, **grids),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        mConvTranspose2d(64, 16, 4, 2, 1, input2d_width=4, output2d_width=8, **grids),
    )
    for module in net:
        if "Conv" in type(module).__name__:
            nn.init.normal_(module.weight.data, 0.0, 0.02)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.999))
    x, wanted = torch.randn(8, 16, 1, 1), torch.randn(8, 16, 8, 8)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = (net(x) - wanted).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for module in net:
        if isinstance(module, mConvTranspose2d):
            assert not module.effective_weight()[~module.mask].any()


def test_users_import_one_name() -> None:
    code = "from connectome_compiler.mimetic import mLinear, WindowRule; print(mLinear(10, 10))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "mLinear(in_features=10" in ran.stdout
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(getattr(mimetic, name) for name in mimetic.__all__)
