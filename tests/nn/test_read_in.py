"""Structured read-ins against dense matrices, entry by entry."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from connectome_compiler.nn.read_in import LocalReadIn, LowRankReadIn


def dense(layer: LocalReadIn) -> Tensor:
    """Return the weights ``(units, features)``, window by window."""
    n_units, n_maps, high, wide = layer.weight.shape
    matrix = torch.zeros(n_units, n_maps, *layer.size, dtype=torch.float64)
    for unit, (down, across) in enumerate(layer.places.tolist()):
        top, left = round(down * (layer.size[0] - high)), round(across * (layer.size[1] - wide))
        for i, j in itertools.product(range(high), range(wide)):
            matrix[unit, :, top + i, left + j] = layer.weight[unit, :, i, j].detach().double()
    return matrix.flatten(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_a_local_read_in_sees_windows_alone(high: int, wide: int, side: int, seed: int) -> None:
    places = torch.rand(5, 2, generator=torch.Generator().manual_seed(seed))
    layer = LocalReadIn((3, high, wide), places, side).double()
    assert layer.weight.shape == (5, 3, min(side, high), min(side, wide))
    x = torch.randn(4, 3 * high * wide, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x @ dense(layer).t() + layer.bias)


def test_windows_lie_where_the_units_do() -> None:
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    layer = LocalReadIn((1, 5, 7), corners, 3)
    seen = torch.zeros(5, 35)
    seen.scatter_(1, layer.window, 1.0)
    found = [map_.nonzero().min(0).values.tolist() for map_ in seen.view(5, 5, 7)]
    assert found == [[0, 0], [0, 4], [2, 0], [2, 4], [1, 2]]
    assert (seen.sum(1) == 9).all()


def test_all_features_of_a_map_that_fits_the_window_are_seen() -> None:
    layer = LocalReadIn((2, 2, 3), torch.rand(4, 2), 9)
    assert torch.equal(layer.window, torch.arange(6).expand(4, 6))


def test_weights_of_windows_elsewhere_are_refused() -> None:
    here, there = (LocalReadIn((1, 5, 7), torch.full((4, 2), at), 3) for at in (0.2, 0.8))
    here.load_state_dict(LocalReadIn((1, 5, 7), torch.full((4, 2), 0.2), 3).state_dict())
    with pytest.raises(RuntimeError, match="the weights are of another network"):
        here.load_state_dict(there.state_dict())


def test_a_low_rank_read_in_has_that_rank() -> None:
    layer = LowRankReadIn(20, 12, 3).double()
    matrix = layer(torch.eye(20, dtype=torch.float64)).t() - layer.bias[:, None]
    assert torch.linalg.matrix_rank(matrix.detach()) == 3
    torch.testing.assert_close(matrix, layer.weight @ layer.inward)


@pytest.mark.parametrize("part", ["weight", "bias", "inward"])
def test_starts_are_within_the_fan_in(part: str) -> None:
    torch.manual_seed(0)
    local = LocalReadIn((4, 8, 8), torch.rand(500, 2), 3)
    low = LowRankReadIn(64, 500, 4)
    for layer, fan_ins in (
        (local, {"weight": 36, "bias": 36}),
        (low, {"weight": 4, "bias": 4, "inward": 64}),
    ):
        if part in fan_ins:
            drawn = getattr(layer, part).detach().abs() * fan_ins[part] ** 0.5
            assert 0.95 < float(drawn.max()) <= 1.0001
            assert float(drawn.mean()) == pytest.approx(0.5, abs=0.05)
