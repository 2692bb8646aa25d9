"""Structure: nothing changes it, and states of another one are refused in words that say why."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from connectome_compiler.emit.source import copy_definitions
from connectome_compiler.nn.rate_units import RateUnits
from connectome_compiler.nn.same_structure import SameStructure


class Layer(SameStructure):
    """Two numbers, of a structure of each kind."""

    index: Tensor
    scale: Tensor
    absent: Tensor | None

    structure = ("index", "scale", "absent")

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, device=device))
        index, scale = torch.tensor([3, 4], dtype=torch.int32), torch.tensor([0.1, 0.2])
        self.hold(index=index, scale=scale, absent=None)


def stored(**parts: Any) -> dict[str, Any]:
    """Return a state that loads, but for ``parts``; those that are None are left out."""
    state = {**Layer().state_dict(), "weight": torch.ones(2), **parts}
    return {name: part for name, part in state.items() if part is not None}


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "other": ({"index": torch.tensor([3, 5]).int()}, "index differs in 1 of 2 places"),
    "shape": (
        {"index": torch.arange(3).int()},
        r"index differs in shape, \(3,\) instead",
    ),
    "type": (
        {"index": torch.tensor([3, 4]) + 2**32},  # the same, were it cut to 32 bits
        "index differs in type, torch.int64 instead of torch.int32",
    ),
    "numbers": ({"index": torch.tensor([3.0, 4.0])}, "index differs in type, torch.float32"),
    "too many": ({"absent": torch.ones(1)}, "absent is not of this layer, which has none"),
    "no tensor": ({"index": 3}, "index is of type int, not a tensor"),
    "meta": ({"scale": torch.ones(2, device="meta")}, "scale is on the meta device"),
    "rounded otherwise": ({"scale": torch.tensor([0.1, 0.2004]).half()}, "scale differs in 1 of 2"),
}


@pytest.mark.parametrize("case", list(FOREIGN))
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_foreign_states_are_refused_whole(case: str, strict: bool, assign: bool) -> None:
    parts, message = FOREIGN[case]
    net = nn.Sequential(Layer())
    state = {f"0.{name}": part for name, part in stored(**parts).items()}
    with pytest.raises(RuntimeError, match=f"0.{message}"):
        net.load_state_dict(state, strict=strict, assign=assign)
    assert not net.state_dict()["0.weight"].any()


def whole(layer: nn.Module) -> bool:
    """Return whether a layer's structure is as it was made, in the precision of its weights."""
    assert isinstance(layer, Layer)
    index, scale = torch.tensor([3, 4], dtype=torch.int32), torch.tensor([0.1, 0.2])
    same = torch.equal(layer.index, index) and torch.equal(layer.scale, scale.to(layer.weight))
    saved = layer.state_dict()
    same = same and torch.equal(saved["index"], index) and torch.equal(saved["scale"], scale)
    return same and layer.absent is None


def test_a_layer_without_memory_keeps_its_structure() -> None:
    layer = Layer("meta")
    layer.load_state_dict(stored(), assign=True)
    assert (layer.weight == 1).all()
    empty = Layer().to("meta").to_empty(device="cpu")
    assert whole(layer)
    assert whole(empty)


def test_weights_are_swapped_in_and_out() -> None:
    layer, first, second = Layer(), Layer(), Layer()
    own = layer.state_dict(keep_vars=True)
    for other in (first, layer, second):
        state = own if other is layer else other.state_dict(keep_vars=True)
        layer.load_state_dict(state, assign=True)
        assert layer.weight is state["weight"]


PRECISIONS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("saved", PRECISIONS)
@pytest.mark.parametrize("since", PRECISIONS)
@pytest.mark.parametrize("loading", PRECISIONS)
def test_the_same_structure_loads_in_other_precisions(
    saved: torch.dtype, since: torch.dtype, loading: torch.dtype
) -> None:
    layer = Layer().to(loading)
    layer.load_state_dict(stored(scale=torch.tensor([0.1, 0.2]).to(saved).to(since).to(saved)))
    assert (layer.weight == 1).all()
    assert whole(layer)


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.999, 0.9995, 0.9999])
def test_averages_of_weights_and_buffers_leave_it_alone(decay: float) -> None:
    net = nn.Sequential(Layer(), nn.BatchNorm1d(2))
    for average in (
        AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True),
        AveragedModel(net, use_buffers=False),
    ):
        for _ in range(3):
            average.update_parameters(net)
        assert whole(average.module.get_submodule("0"))
    assert not list(net[0].buffers())


@pytest.mark.parametrize("assign", [True, False])
def test_layers_that_share_weights_go_on_sharing_them(assign: bool) -> None:
    net = nn.ModuleList([Layer(), Layer(), Layer()])
    first, second, apart = net
    second.weight = first.weight
    state = net.state_dict()
    net.to("meta")
    if not assign:
        net.to_empty(device="cpu")
    net.load_state_dict(state, assign=assign)
    assert first.weight is second.weight
    assert first.weight is not apart.weight
    assert not first.weight.is_meta
    assert len(list(net.parameters())) == 2


def test_what_is_done_to_a_state_stays_there() -> None:
    layer = Layer()
    for part in layer.state_dict().values():
        part.mul_(2)
    assert whole(layer)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.half().float(),
        lambda layer: layer.bfloat16(),
        lambda layer: layer.to(torch.float16).double(),
        lambda layer: layer.to_empty(device="cpu"),
        lambda layer: layer.share_memory(),
        lambda layer: layer.cpu(),
        copy.deepcopy,
        lambda layer: pickle.loads(pickle.dumps(layer)),
    ],
)
def test_nothing_that_torch_does_to_weights_changes_it(change: Callable[[Layer], Layer]) -> None:
    assert whole(change(Layer()))


def test_what_else_is_missing_is_for_torch_to_say() -> None:
    state = stored()
    del state["weight"]
    layer = Layer()
    with pytest.raises(RuntimeError, match="Missing key"):
        layer.load_state_dict(state)
    layer.load_state_dict(state, strict=False)


def test_units_without_inhibition_may_take_the_state_of_others() -> None:
    inhibition = torch.rand(4)
    inhibited, without = RateUnits(4, inhibition=inhibition), RateUnits(4)
    state: dict[str, Tensor] = {**inhibited.state_dict(), "normalise.weight": torch.full((4,), 2.0)}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        without.load_state_dict(state)
    without.load_state_dict(state, strict=False)
    assert torch.equal(without.state_dict()["normalise.weight"], state["normalise.weight"])
    with pytest.raises(RuntimeError, match=r'Missing key.*"inhibition"'):
        inhibited.load_state_dict(RateUnits(4).state_dict())


@pytest.mark.parametrize("layer", ["EdgeLinear", "LeakyRates", "RateUnits", "LiveConv2d"])
def test_it_is_copied_with_every_layer_once(layer: str) -> None:
    text = copy_definitions([layer]).text
    assert text.count("class SameStructure(nn.Module):") == 1
    assert text.index("class SameStructure") < text.index(f"class {layer}")
    assert text.count("_load_from_state_dict") == 2  # it, and torch's that it calls
