"""Windows put into networks that exist: choosing, keeping state, refusing, counting, training."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.mimetic import Rule, mimic, mLinear, plan, usage_table
from connectome_compiler.mimetic.networks import DiffusionUNet, dcgan_generator
from connectome_compiler.mimetic.replace import OURS
from connectome_compiler.mimetic.usage import UsageTable
from connectome_compiler.nn.window_layers import (
    WindowConv2d,
    WindowConvTranspose2d,
    WindowLinear,
)

# Windows over groups leave some inputs unread; the layer says so.
pytestmark = pytest.mark.filterwarnings("ignore:.* without output:UserWarning")

EXAMPLES = Path(__file__).parents[2] / "examples"
GAN_RULES = [  # (inputs, outputs) of the published (a, b): x is the outputs
    Rule("4", radius=0.4, mode="paper", grid_widths=(32, 32)),
    Rule("7", radius=0.4, mode="paper", grid_widths=(16, 32)),
    Rule("10", radius=0.4, mode="paper", grid_widths=(16, 16)),
]
UNET_RULE = Rule(
    ("down.2.*.conv?", "middle.*.conv?", "up.[01].*.conv?"),
    radius=0.4,
    mode="paper",
    grid_widths="paper",
)


def mlp() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 36), nn.ReLU(), nn.Linear(36, 4))
    )


def cnn() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 36, 3, 2, 1, groups=4), nn.ReLU()),
        *(nn.Conv2d(36, 36, 3, padding="same", padding_mode="reflect", bias=False), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(36 * 4, 10)),
    )


def windowed_names(net: nn.Module) -> list[str]:
    kinds = WindowLinear | WindowConv2d | WindowConvTranspose2d
    return [name for name, layer in net.named_modules() if isinstance(layer, kinds)]


def part(net: nn.Module, name: str) -> Any:
    return net.get_submodule(name)


def mask_of(layer: Any) -> Tensor:
    """Return the mask in the shape of the weight."""
    mask: Tensor = layer.mask
    return mask.expand(layer.weight.shape)


# --- the published figures ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [plan, lambda net, rules: usage_table(mimic(net, rules))])
def test_both_figures_of_the_papers_generator(
    count: Callable[[nn.Module, list[Rule]], UsageTable],
) -> None:
    totals = count(dcgan_generator(), GAN_RULES).totals
    assert round(100 * totals["masked layers"].share, 2) == 34.21
    assert round(100 * totals["all weights"].share, 2) == 39.96
    assert totals["all weights"].n_weights == 18_851_200


@pytest.mark.parametrize("count", [plan, lambda net, rules: usage_table(mimic(net, rules))])
def test_both_figures_of_the_papers_diffusion_model(
    count: Callable[[nn.Module, Rule], UsageTable],
) -> None:
    table = count(DiffusionUNet(), UNET_RULE)
    assert sum(u.window is not None for u in table.layers) == 16
    assert {u.window.pre_width for u in table.layers if u.window} == {16}
    assert round(100 * table.totals["masked layers"].share, 2) == 34.57
    assert round(100 * table.totals["all convolution weights"].share, 2) == 43.97


def test_totals_by_hand() -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 16), nn.LayerNorm(16), nn.Linear(16, 16))
    table = usage_table(mimic(net, Rule("3", radius=0.3)))
    n_on = table.layers[1].n_kept
    assert 0 < n_on < 256
    totals = {name: (t.n_kept, t.n_weights) for name, t in table.totals.items()}
    assert totals == {
        "masked layers": (n_on, 256),
        "all linear weights": (64 + n_on, 64 + 256),
        "all weights": (20 + 64 + n_on, 20 + 64 + 256),
        "all parameters, biases too": (20 + 64 + n_on + 64, 20 + 64 + 256 + 64),
    }


def test_shared_weights_count_once() -> None:
    shared = nn.Linear(9, 9)
    tied = nn.Linear(9, 9)
    tied.weight = shared.weight
    table = usage_table(nn.ModuleList([shared, tied, shared]))
    assert table.totals["all weights"].n_weights == 81
    assert table.totals["all parameters, biases too"].n_weights == 81 + 18


def test_a_network_without_windows_uses_everything() -> None:
    table = usage_table(mlp())
    assert {t.share for t in table.totals.values()} == {1.0}
    assert usage_table(nn.ReLU()).totals["all weights"].n_weights == 0


def test_tables_read_well() -> None:
    table = plan(mlp(), Rule(skip_first=1, skip_last=1, radius=0.5))
    text = repr(table)
    assert len({len(line) for line in text.splitlines()}) == 1  # every column aligned
    for word in ("36x64", "2d r=0.5, 8 to 6 wide, clean", "before", "masked layers", "all weights"):
        assert word in text
    assert "before" not in repr(usage_table(mlp()))
    frame = table.to_pandas()
    assert frame.set_index("layer").loc["masked layers", "weights"] == 36 * 64
    assert frame["share"].between(0, 1).all()
    html = table._repr_html_()
    assert html.count("<tr>") == 1 + 3 + len(table.totals)
    assert "<td" in html


# --- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([Rule()], ["0", "2", "4"]),
        ([Rule("2")], ["2"]),
        ([Rule(("0", "4"))], ["0", "4"]),
        ([Rule(min_channels=20)], ["0", "2"]),
        ([Rule(skip_first=1)], ["2", "4"]),
        ([Rule(skip_last=1)], ["0", "2"]),
        ([Rule(skip_first=1, skip_last=1)], ["2"]),
        ([Rule(every=2)], ["0", "4"]),
        ([Rule(every=2, skip_first=1)], ["2"]),
        ([Rule("0", form="keep"), Rule()], ["2", "4"]),
        ([Rule(), Rule("0", form="keep")], ["0", "2", "4"]),
    ],
)
def test_rules_choose(rules: list[Rule], expected: list[str]) -> None:
    assert windowed_names(mimic(mlp(), rules)) == expected
    assert [u.name for u in plan(mlp(), rules).layers if u.window] == expected


def test_the_first_rule_that_fits_wins() -> None:
    net = mimic(mlp(), [Rule("2", radius=0.3), Rule(radius=0.6)])
    assert [part(net, k).window.radius for k in "024"] == [0.6, 0.3, 0.6]


def test_kinds_choose() -> None:
    assert windowed_names(mimic(cnn(), Rule(kinds="linear"))) == ["8"]
    assert windowed_names(mimic(cnn(), Rule(kinds=["conv2d"], skip_first=1))) == ["3", "5"]


def test_patterns_reach_into_nested_containers() -> None:
    net = nn.ModuleDict({"a": nn.ModuleList([mlp(), nn.Sequential(mlp())]), "b": mlp()})
    chosen = windowed_names(mimic(net, Rule("a.*.2")))
    assert chosen == ["a.0.2", "a.1.0.2"]


def test_drawn_masks_differ_from_layer_to_layer() -> None:
    net = nn.Sequential(*(nn.Linear(12, 12) for _ in range(3)))
    drawn: Any = mimic(net, Rule(form="individual", reduction=0.5, seed=7))
    assert [layer.window.seed for layer in drawn] == [7, 8, 9]
    assert not torch.equal(mask_of(drawn[0]), mask_of(drawn[1]))
    assert torch.equal(
        mask_of(drawn[0]), mask_of(mimic(net[0], Rule(form="individual", reduction=0.5, seed=7)))
    )


@pytest.mark.parametrize(
    "rule",
    [
        Rule(form="2d", radius=0.4),
        Rule(form="2d", radius=0.4, mode="paper"),
        Rule(form="2d", radius=0.4, torus=True),
        Rule(form="diagonal", reduction=0.5),
        Rule(form="diagonal", halfbandwidth=5.0),
        Rule(form="individual", reduction=0.4),
        Rule(form="kernel", reduction=0.4),
        Rule(form="block", width=9),
        Rule(form="stripes", width=9),
        Rule(form="exact", width=9),
    ],
    ids=lambda rule: f"{rule.form} {rule.mode} {rule.torus}",
)
@pytest.mark.parametrize("kind", ["linear", "conv2d", "conv_transpose2d"])
@pytest.mark.filterwarnings("ignore:block window")
def test_the_plan_is_what_is_built(rule: Rule, kind: str) -> None:
    make: dict[str, Callable[[], nn.Module]] = {
        "linear": lambda: nn.Linear(36, 36),
        "conv2d": lambda: nn.Conv2d(72, 36, 3, groups=2),
        "conv_transpose2d": lambda: nn.ConvTranspose2d(36, 72, 3, groups=2),
    }
    net = nn.Sequential(make[kind]())
    planned, built = plan(net, rule), usage_table(mimic(net, rule))
    assert planned.layers[0].n_kept == built.layers[0].n_kept
    assert planned.layers[0].n_kept < planned.layers[0].n_before
    assert planned.layers[0].window == built.layers[0].window


@pytest.mark.parametrize(
    ("kind", "n_in", "n_out", "widths"),
    [("linear", 100, 64, (10, 8)), ("linear", 512, 128, (16, 8)), ("linear", 105, 36, (7, 6))],
)
def test_grids_are_near_square(kind: str, n_in: int, n_out: int, widths: tuple[int, int]) -> None:
    (layer,) = plan(nn.Linear(n_in, n_out), Rule(kinds=(kind,), radius=0.5)).layers
    window = layer.window
    assert window is not None
    assert (window.pre_width, window.post_width) == widths


@given(st.integers(2, 60), st.integers(2, 60), st.sampled_from([0.2, 0.35, 0.5]))
def test_a_grid_that_is_chosen_leaves_no_unit_out(n_in: int, n_out: int, radius: float) -> None:
    try:
        layer = mimic(nn.Linear(n_in, n_out), Rule(radius=radius))
    except CompileError:
        return  # so small a radius on so few units
    mask = mask_of(layer)
    assert mask.any(0).all()
    assert mask.any(1).all()


def test_a_grid_that_had_to_move_is_noted() -> None:
    # 4 x 4 inputs to 2 x 1 outputs, radius 0.4: some inputs are out of reach of both.
    for n_in in range(4, 60):
        try:
            table = plan(nn.Linear(n_in, 6), Rule(radius=0.35))
        except CompileError:
            continue
        if note := table.layers[0].note:
            assert note.startswith("grids ")
            assert "without" in note
            assert " 0 " not in note
            assert note in repr(table)
            return
    pytest.fail("no grid moved")


# --- what is kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", ["none", "1/usage", "1/sqrt(usage)", "fan-in"])
def test_weights_on_the_mask_are_kept_times_the_gain(gain: str) -> None:
    net: Any = cnn()
    made: Any = mimic(net, Rule(kinds=("conv2d",), skip_first=1, radius=0.4, gain=gain))
    for k in ("3", "5"):
        old, new = part(net, k), part(made, k)
        fan_in = mask_of(new).float().sum((1, 2, 3), keepdim=True) / mask_of(new)[0].numel()
        factor = {
            "none": 1.0,
            "1/usage": 1 / new.usage,
            "1/sqrt(usage)": new.usage**-0.5,
            "fan-in": fan_in**-0.5,
        }[gain]
        expected = torch.where(mask_of(new), old.weight * factor, 0)
        torch.testing.assert_close(new.effective_weight(), expected)
        torch.testing.assert_close(new.weight, expected)
    assert torch.equal(made[3].bias, net[3].bias)
    assert made[5].bias is None
    assert made[5].padding_mode == "reflect"
    assert torch.equal(made[8].weight, net[8].weight)


def test_a_layer_that_packs_its_weights_keeps_them_too() -> None:
    net: Any = nn.Sequential(nn.Linear(256, 256))
    net[0].weight.requires_grad_(False)
    made: Any = mimic(net, Rule(radius=0.2, kernel="patches", gain="none"))
    assert made[0].kernel == "patches"
    assert not made[0].weight.requires_grad
    expected = torch.where(made[0].mask, net[0].weight, 0)
    torch.testing.assert_close(made[0].effective_weight(), expected)
    planned = plan(net, Rule(radius=0.2)).layers[0].n_kept
    assert usage_table(made).layers[0].n_kept == planned == int(made[0].mask.sum())
    assert usage_table(made).totals["all weights"].n_weights == 256 * 256
    # In place the parameter stays, so an optimiser that holds it goes on.
    mimic(net, Rule(radius=0.2), inplace=True)
    assert net[0].kernel == "dense"
    with pytest.raises(CompileError, match="optimiser"):
        mimic(nn.Sequential(nn.Linear(9, 9)), Rule(kernel="patches"), inplace=True)


def test_the_lab_s_layers_count_as_masked() -> None:
    net = nn.Sequential(mLinear(100, 100, form="2d", window2d_width=0.4), nn.Linear(100, 10))
    table = usage_table(net)
    assert round(100 * table.totals["masked layers"].share, 2) == 32.68
    with pytest.raises(CompileError, match="a window already"):
        mimic(net, Rule())
    assert windowed_names(mimic(net, Rule("1"))) == ["0", "1"]


def test_a_full_window_changes_nothing() -> None:
    net, x = cnn().eval(), torch.rand(2, 1, 8, 8)
    with pytest.warns(UserWarning, match="keeps every weight"):
        made: Any = mimic(net, Rule(radius=1.5))
    torch.testing.assert_close(made(x), net(x))


def test_it_is_pure() -> None:
    net = mlp()
    before = copy.deepcopy(net.state_dict())
    state = torch.get_rng_state()
    made: Any = mimic(net, Rule())
    assert torch.equal(torch.get_rng_state(), state)
    assert windowed_names(net) == []
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert not {id(p) for p in net.parameters()} & {id(p) for p in made.parameters()}


def test_in_place_keeps_the_parameters_of_an_optimiser() -> None:
    net: Any = mlp()
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    assert mimic(net, Rule(), inplace=True) is net
    before = net[2].effective_weight().clone()
    net(torch.rand(3, 20)).sum().backward()
    optimiser.step()
    assert not torch.equal(net[2].effective_weight(), before)
    assert list(map(id, net.parameters())) == list(map(id, optimiser.param_groups[0]["params"]))


def test_mode_dtype_device_gradient_flags_and_hooks_are_kept() -> None:
    net: Any = mlp().double().eval()
    net[2].weight.requires_grad_(False)
    net[2].note = "mine"
    net[2].register_buffer("calibration", torch.ones(3))
    calls: list[str] = []
    net[2].register_forward_hook(lambda *_: calls.append("forward"))
    net[2].register_forward_pre_hook(lambda *_: calls.append("pre"))
    net[2].register_full_backward_hook(lambda *_: calls.append("backward"))
    made: Any = mimic(net, Rule("2"), inplace=True)
    assert not made[2].training
    assert made[2].weight.dtype == torch.float64
    assert not made[2].weight.requires_grad
    assert made[2].bias.requires_grad
    assert made[2].note == "mine"
    assert torch.equal(made.state_dict()["2.calibration"], torch.ones(3))
    made(torch.rand(1, 20, dtype=torch.float64)).sum().backward()
    assert calls == ["pre", "forward", "backward"]
    assert made[2].weight.grad is None


def test_shared_modules_stay_shared() -> None:
    block = nn.Linear(16, 16)
    net = nn.ModuleDict({"a": block, "b": nn.Sequential(block, nn.ReLU())})
    made: Any = mimic(net, Rule("b.0"))  # either name will do
    assert made["a"] is made["b"][0]
    assert isinstance(made["a"], WindowLinear)
    assert len(list(made.parameters())) == 2


def test_a_single_layer_is_a_network_too() -> None:
    assert isinstance(mimic(nn.ConvTranspose2d(16, 16, 4), Rule()), WindowConvTranspose2d)
    with pytest.raises(CompileError, match="inplace"):
        mimic(nn.Linear(9, 9), Rule(), inplace=True)


def test_states_load_and_copy() -> None:
    made: Any = mimic(mlp(), Rule())
    again: Any = mimic(mlp(), Rule())
    again.load_state_dict(made.state_dict())
    x = torch.rand(2, 20)
    assert torch.equal(again(x), made(x))
    assert torch.equal(copy.deepcopy(made)(x), made(x))


def test_the_fast_path_of_a_transformer_does_not_pass_the_window_by() -> None:
    encoder = nn.TransformerEncoderLayer(16, 2, 36, dropout=0.0, batch_first=True)
    made: Any = mimic(nn.TransformerEncoder(encoder, 2), Rule("*.linear?"))
    for layer in made.layers:
        nn.init.normal_(layer.linear1.weight)  # absent weights are not zero any more
    x = torch.rand(2, 5, 16)
    expected = made(x)
    with torch.no_grad():
        torch.testing.assert_close(made.eval()(x), expected)


# --- what is refused ------------------------------------------------------------------------------


class OddLinear(nn.Linear):
    pass


def spoilt(how: str) -> nn.Module:
    layer: Any = nn.Linear(16, 16)
    if how == "parametrised":
        layer = parametrizations.weight_norm(layer)
    elif how == "spectral":
        layer = torch.nn.utils.spectral_norm(layer)
    elif how == "pruned":
        layer = prune.l1_unstructured(layer, "weight", 0.5)
    elif how == "lazy":
        layer = nn.LazyLinear(16)
    elif how == "derived":
        layer = OddLinear(16, 16)
    elif how == "quantised":
        layer = torch.ao.nn.quantized.Linear(16, 16)
    elif how == "replaced forward":
        layer.forward = layer.forward
    elif how == "windowed":
        layer = mimic(layer, Rule())
    elif how == "packed":
        layer = mimic(layer, Rule(kernel="patches"))
    elif how == "names taken":
        layer.register_buffer("mask", torch.ones(1))
        layer.usage = "mine"
    elif how == "attention":
        return nn.MultiheadAttention(16, 2)
    elif how == "tied":
        other = nn.Embedding(16, 16)
        layer.weight = other.weight
        return nn.ModuleDict({"layer": layer, "other": other})
    elif how == "listed":
        block: Any = nn.ReLU()
        block.order = {"first": layer}
        return nn.ModuleDict({"layer": layer, "block": block})
    return nn.ModuleDict({"layer": layer})


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("parametrised", "not a plain parameter"),
        ("spectral", "not a plain parameter"),
        ("pruned", "not a plain parameter"),
        ("lazy", "lazy"),
        ("derived", "OddLinear"),
        ("quantised", "quantized"),
        ("replaced forward", "forward was replaced"),
        ("windowed", "a window already"),
        ("packed", "a window already"),
        ("names taken", "it has mask and usage, names that"),
        ("attention", "NonDynamicallyQuantizableLinear"),
        ("tied", "layer and other share it"),
        ("listed", "also in 'block.order'"),
    ],
)
@pytest.mark.parametrize("verb", [mimic, plan])
def test_layers_that_cannot_be_windowed_are_refused_by_name(
    how: str, words: str, verb: Callable[[nn.Module, Rule], object]
) -> None:
    net = spoilt(how)
    name = "out_proj" if how == "attention" else "layer"
    with pytest.raises(CompileError, match=words) as caught:
        verb(net, Rule())
    assert name in caught.value.where
    assert "keep" in caught.value.hint or how == "lazy"


def test_names_that_a_window_needs_are_known() -> None:
    """What a windowed layer has and torch's has not; else a layer's own would be overwritten."""
    for plain in (nn.Linear(16, 16), nn.Conv2d(16, 16, 3), nn.ConvTranspose2d(16, 16, 3)):
        for kernel in ("dense", "patches"):
            made = mimic(plain, Rule(kernel=kernel))
            names = [{*vars(m), *m._buffers, *m._parameters} for m in (made, plain)]
            assert {n for n in names[0] - names[1] if not n.startswith("_")} <= OURS


def test_nothing_is_changed_before_an_error() -> None:
    net: Any = nn.Sequential(nn.Linear(16, 16), OddLinear(16, 16))
    weight = net[0].weight.clone()
    with pytest.raises(CompileError):
        mimic(net, Rule(), inplace=True)
    assert windowed_names(net) == []
    assert torch.equal(net[0].weight, weight)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Rule(form="column"), "column"),
        (lambda: Rule(kinds=("conv",)), "conv2d"),
        (lambda: Rule(grid_widths="square"), "square"),
        (lambda: Rule(gain="1/f"), "1/f"),
        (lambda: Rule(form="diagonal", radius=0.3), "has no radius"),
        (lambda: Rule(form="keep", seed=3), "'keep' has no seed"),
        (lambda: Rule(form="2d", reduction=0.3), "has no reduction.*it has radius"),
        (lambda: Rule(kernel="sparse"), "sparse"),
        (lambda: Rule(every=0), "every must be a whole number of at least 1, not 0"),
        (lambda: Rule(every=1.5), "whole number"),  # type: ignore[arg-type]
        (lambda: Rule(0), "names must be one or several strings"),  # type: ignore[arg-type]
        (lambda: Rule(kinds=[nn.Linear]), "kinds must be one or several strings"),  # type: ignore[list-item]
        (lambda: Rule(radius=0), r"rule for \*: radius .* 0\.\.2, 0 excluded"),
        (lambda: Rule("up", radius=3.0), r"rule for up: radius .* 0\.\.2"),
        (lambda: Rule(radius="0.4"), "radius must be a number"),  # type: ignore[arg-type]
        (lambda: Rule(form="diagonal"), "needs one of reduction, halfbandwidth, width"),
        (lambda: Rule(form="diagonal", reduction=1.0), "1 excluded"),
        (lambda: Rule(torus=True, mode="paper"), "mode='clean'"),
        (lambda: Rule(grid_widths=3), "must be two"),  # type: ignore[arg-type]
        (lambda: Rule(grid_widths=(3, 3, 3)), "must be two.*such as"),  # type: ignore[arg-type]
        (lambda: Rule(grid_widths=(0, 3)), "pre_width must be a whole number"),
        (lambda: Rule(form="gaussian", reduction=0.5, kernel="patches"), "kernel='auto'"),
        (lambda: plan(mlp(), "2d"), "'2' is not a rule"),  # type: ignore[arg-type]
        (lambda: plan(mlp(), [Rule(), {"form": "2d"}]), "not a rule"),  # type: ignore[list-item]
        (lambda: plan(cnn(), Rule("3", kernel="patches")), "layer '3'.*groups=1"),
        (lambda: plan(mlp(), Rule("head")), "matches no layer"),
        (lambda: plan(mlp(), [Rule(), Rule("head", form="keep")]), "there are 0, 2, 4"),
        (lambda: plan(mlp(), Rule(min_channels=100)), "matches no layer"),
        (lambda: plan(mlp(), Rule(grid_widths=(7, 8))), "layer '0'.*does not divide"),
        (lambda: plan(mlp(), Rule(radius=0.01)), "layer '0'.*radius 0.01 leaves"),
        (lambda: Rule(form="individual"), "needs reduction"),
        (lambda: Rule(mode="papers"), "mode"),
    ],
)
def test_bad_rules_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(CompileError) as caught:
        make()
    assert isinstance(caught.value, UnknownNameError) or caught.value.problem
    assert re.search(words, str(caught.value).replace("\n", " "))


# --- learning -------------------------------------------------------------------------------------


def digits_like(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of three classes, which a network can learn in a few steps."""
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    shape = (1, 8, 8) if isinstance(first, nn.Conv2d) else (first.in_features,)
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(3, *shape, generator=generator)
    labels = torch.arange(96) % 3
    return means[labels] + 0.3 * torch.randn(96, *shape, generator=generator), labels


@pytest.mark.parametrize("make", [mlp, cnn])
@pytest.mark.parametrize(
    "optimiser",
    [
        lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, weight_decay=1e-3),
        lambda p: torch.optim.Adam(p, 3e-3),
        lambda p: torch.optim.AdamW(p, 3e-3),
    ],
    ids=["SGD", "Adam", "AdamW"],
)
def test_stock_networks_learn_behind_windows(
    make: Callable[[], nn.Sequential], optimiser: Callable[[Any], torch.optim.Optimizer]
) -> None:
    torch.manual_seed(0)
    net = mimic(make(), Rule(radius=0.5, skip_first=1, skip_last=1))
    masks = {name: mask_of(part(net, name)).clone() for name in windowed_names(net)}
    assert masks
    for name in masks:
        nn.init.normal_(part(net, name).weight, 0.0, 0.1)  # fills absent entries too
    x, labels = digits_like(net)
    step = optimiser(net.parameters())
    losses = []
    for _ in range(60):
        step.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    for name, mask in masks.items():
        layer = part(net, name)
        assert torch.equal(mask_of(layer), mask)
        assert not layer.effective_weight()[~mask].any()


def test_a_generator_learns_behind_windows() -> None:
    torch.manual_seed(0)
    net = mimic(
        dcgan_generator((64, 36, 16), latent=8, out_channels=1, kernel_size=4),
        Rule(kinds=("conv_transpose2d",), skip_last=1, radius=0.4),
    )
    assert windowed_names(net) == ["4", "7"]
    z, goal = torch.randn(16, 8), torch.rand(16, 1, 32, 32).round()
    step = torch.optim.Adam(net.parameters(), 5e-3)
    losses = []
    for _ in range(25):
        step.zero_grad()
        loss = nn.functional.mse_loss(net(z), goal)
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for name in ("4", "7"):
        layer = part(net, name)
        assert not layer.effective_weight()[~mask_of(layer)].any()


def test_a_diffusion_model_learns_behind_windows() -> None:
    torch.manual_seed(0)
    net = DiffusionUNet((16, 32, 64), depth=1, channels=1, size=16, attention_at=8)
    made: Any = mimic(net, Rule(("middle.*.conv?", "up.0.*.conv?"), radius=0.4))
    clean = torch.rand(8, 1, 16, 16).round() * 2 - 1
    step = torch.optim.Adam(made.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        level, noise = torch.rand(8), torch.randn_like(clean)
        angle = level[:, None, None, None] * torch.pi / 2
        step.zero_grad()
        loss = nn.functional.mse_loss(made(angle.cos() * clean + angle.sin() * noise, level), noise)
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.slow
def test_the_notebook_learns_digits(tmp_path: Path) -> None:
    """Three minutes of a core; the page itself asserts a tenfold fall of the distance."""
    cells = json.loads((EXAMPLES / "mimetic_gan.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = os.environ | {"MIMETIC_STEPS": "500", "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
