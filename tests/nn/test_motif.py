from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.nn.motif import (
    Connections,
    matched_weights,
    square_wave,
    whole_number,
)


@given(st.integers(-300, 300), st.integers(1, 61))
def test_square_waves_follow_a_plain_reading(halves: int, period: int) -> None:
    first = float(round(halves / 2) % period < period // 2)  # Python, too, rounds halves to even
    wave = square_wave(torch.tensor([[halves / 2]]), period)
    assert wave.tolist() == [[bool(first), not first]]
    if halves % 2 == 0:
        assert torch.equal(square_wave(torch.tensor([[halves // 2]]), period), wave)


@pytest.mark.parametrize("value", [0, -3, 10, 10**30, 2.0, 2.5, torch.tensor(2.5), "2", None, True])
def test_only_integers_from_one_on_count(value: Any) -> None:
    assert whole_number("n", 2) == 2
    with pytest.raises(ValueError, match=r"n is .*, expected an integer from 1 to 9"):
        whole_number("n", value, 9)


def test_connections_act_from_pre_to_post() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    layer = Connections((3, 2), [0, 2], [1, 0], weight, weight.expand(2), 1)
    assert layer(torch.tensor([[5.0, 7.0]])).tolist() == [[14.0, 0.0, 10.0]]
    assert layer.sparse_weight().to_dense().tolist() == [[0.0, 2.0], [0.0, 0.0], [2.0, 0.0]]
    layer(torch.ones(1, 2)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0]


def test_names_that_begin_alike_are_told_apart() -> None:
    sides = {"gain": ["d", "v"], "gain_d": ["d"]}
    given_ = {"gain_d_0": torch.ones(1), "gain_v_0": torch.ones(1), "gain_d_d_0": torch.zeros(1)}
    found, used = matched_weights([("gain", "gain"), ("gain_d", "gain_d")], sides, given_, False)
    assert {name: float(value) for name, value in found.items()} == {"gain": 1.0, "gain_d": 0.0}
    assert used == set(given_)
