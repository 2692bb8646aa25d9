"""States of another structure: refused whole, strict or not, in words that say why."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from connectome_compiler.emit.source import copy_definitions
from connectome_compiler.nn.rate_units import RateUnits
from connectome_compiler.nn.same_structure import SameStructure


class Layer(SameStructure):
    """Two numbers, of a structure of each kind."""

    structure = ("index", "scale", "absent")

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, device=device))
        self.register_buffer("index", torch.tensor([3, 4], dtype=torch.int32, device=device))
        self.register_buffer("scale", torch.tensor([0.1, 0.2], device=device))
        self.register_buffer("absent", None)


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
    "missing": ({"scale": None}, "scale is missing: the weights could be of any network"),
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


def test_a_layer_without_numbers_takes_no_state() -> None:
    with pytest.raises(RuntimeError, match="index is on the meta device: it cannot be compared"):
        Layer("meta").load_state_dict(stored(), assign=True)


WIDE, NARROW = (torch.float64, torch.float32), (torch.float16, torch.bfloat16)


@pytest.mark.parametrize(
    ("saved", "loading"),
    [
        *((wide, other) for wide in WIDE for other in (*WIDE, *NARROW)),
        *((narrow, other) for narrow in NARROW for other in (*WIDE, narrow)),
    ],
)
def test_the_same_structure_loads_in_other_precisions(
    saved: torch.dtype, loading: torch.dtype
) -> None:
    layer = Layer().to(loading)
    state = stored(scale=torch.tensor([0.1, 0.2]).to(saved))
    layer.load_state_dict(state)
    assert (layer.weight == 1).all()


def test_what_else_is_missing_is_for_torch_to_say() -> None:
    state = stored()
    del state["weight"]
    layer = Layer()
    with pytest.raises(RuntimeError, match="Missing key"):
        layer.load_state_dict(state)
    layer.load_state_dict(state, strict=False)


def test_units_without_inhibition_may_take_the_state_of_others() -> None:
    inhibition = torch.rand(4)
    whole, without = RateUnits(4, inhibition=inhibition), RateUnits(4)
    state: dict[str, Tensor] = {**whole.state_dict(), "normalise.weight": torch.full((4,), 2.0)}
    with pytest.raises(RuntimeError, match="Unexpected key"):
        without.load_state_dict(state)
    without.load_state_dict(state, strict=False)
    assert torch.equal(without.state_dict()["normalise.weight"], state["normalise.weight"])
    for strict in (True, False):
        with pytest.raises(RuntimeError, match="inhibition is missing"):
            whole.load_state_dict(RateUnits(4).state_dict(), strict=strict)


@pytest.mark.parametrize("layer", ["EdgeLinear", "LeakyRates", "RateUnits", "LiveConv2d"])
def test_it_is_copied_with_every_layer_once(layer: str) -> None:
    text = copy_definitions([layer]).text
    assert text.count("class SameStructure(nn.Module):") == 1
    assert text.index("class SameStructure") < text.index(f"class {layer}")
    assert text.count("_load_from_state_dict") == 2  # it, and torch's that it calls
