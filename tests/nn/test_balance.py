"""Balanced starts: what each unit's weights sum to, and what a read-in then does not see."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from connectome_compiler.nn.balance import INHIBITION, REST, balance, centre, rest
from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import LeakyRates
from connectome_compiler.nn.tied_edge_linear import TiedEdgeLinear


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep torch from waiting for a second core to add up thirty numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def layer_of(seed: int, signs: tuple[int, ...], n_post: int = 7, bias: bool = False) -> EdgeLinear:
    """Return a layer of random connections between few units; some have none."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n_post, 5)) < 0.5
    ptr = torch.from_numpy(np.concatenate(([0], np.cumsum(mask.sum(1)))))
    sign = torch.from_numpy(rng.choice(signs, mask.sum()))
    return EdgeLinear(5, ptr, torch.from_numpy(np.nonzero(mask)[1]), sign=sign, bias=bias)


def sums(layers: list[EdgeLinear], sign: int) -> Tensor:
    """Return what the weights of one sign onto each unit sum to, unit by unit."""
    total = torch.zeros(layers[0].n_post)
    for layer in layers:
        signs = layer.sign.expand(layer.pre.shape)
        for i in range(layer.n_post):
            at = slice(int(layer.ptr[i]), int(layer.ptr[i + 1]))
            total[i] += layer.effective_weight()[at][signs[at] == sign].detach().sum()
    return total


@given(st.integers(0, 999))
def test_weights_of_a_unit_sum_up_over_all_layers_that_reach_it(seed: int) -> None:
    joined = [layer_of(seed, (-1, 0, 1)), layer_of(seed + 1, (1,)), layer_of(seed + 2, (-1,))]
    apart = layer_of(seed + 3, (-1, 1))
    found = {sign: sums(joined, sign) for sign in (1, -1)}
    balance([*(("a drive", layer) for layer in joined), ("another", apart)])
    for layers in (joined, [apart]):
        for sign, size in ((1, 1.0), (-1, -INHIBITION)):
            reached = sums(layers, sign)
            if layers is joined:
                assert torch.equal(reached != 0, found[sign] != 0)
            torch.testing.assert_close(
                reached[reached != 0], torch.full_like(reached, size)[reached != 0]
            )


def test_sizes_keep_their_proportions_within_a_unit() -> None:
    layer = layer_of(3, (1,))
    before = layer.weight.detach().clone()
    balance([("drive", layer)])
    for i in range(layer.n_post):
        at = slice(int(layer.ptr[i]), int(layer.ptr[i + 1]))
        if before[at].numel():
            torch.testing.assert_close(layer.weight[at].detach(), before[at] / before[at].sum())


def test_free_weights_are_scaled_to_the_whole_in_degree() -> None:
    one, other = layer_of(0, (0,), n_post=400), layer_of(1, (0,), n_post=400)
    own, whole = one.ptr.diff(), one.ptr.diff() + other.ptr.diff()
    before = one.weight.detach().clone()
    balance([(0, one), (0, other)])
    factor = (own / whole.clamp(min=1)).sqrt().repeat_interleave(own)
    torch.testing.assert_close(one.weight.detach(), before * factor)
    alone = layer_of(2, (0,))
    before = alone.weight.detach().clone()
    balance([(0, alone)])
    assert torch.equal(alone.weight, before)


def test_biases_start_at_0() -> None:
    layer = layer_of(0, (1,), bias=True)
    balance([("drive", layer)])
    assert layer.bias is not None
    assert not layer.bias.any()


def test_a_shared_weight_takes_the_mean_of_its_connections() -> None:
    ptr, pre = torch.tensor([0, 1, 3]), torch.tensor([0, 0, 1])
    start = torch.tensor([2.0, 4.0])
    layer = TiedEdgeLinear(2, ptr, pre, torch.tensor([0, 0, 1]), sign=1, start=start)
    balance([("drive", layer)])
    factors = (1 / 2, 1 / (2 + 4))  # of the first target, and of the second
    wanted = torch.tensor([2 * sum(factors) / 2, 4 * factors[1]])
    torch.testing.assert_close(layer.weight.detach(), wanted)


@pytest.mark.parametrize("signs", [(1,), (-1, 1), (-1, 0, 1)])
def test_what_is_balanced_stays_as_it_is(signs: tuple[int, ...]) -> None:
    layer = layer_of(5, signs)
    balance([("drive", layer)])
    once = layer.weight.detach().clone()
    balance([("drive", layer)])
    torch.testing.assert_close(layer.weight.detach(), once)


def test_brightness_does_not_drive_a_centred_read_in() -> None:
    layer = nn.Linear(3 * 8, 5).double()
    drawn = layer.weight.detach().clone()
    centre(layer, 3)
    bright = torch.rand(4, 3, 1, dtype=torch.float64).expand(4, 3, 8).flatten(1)
    assert float(layer(bright).detach().abs().max()) < 1e-12
    x = torch.randn(4, 3, 8, dtype=torch.float64)
    contrast = (x - x.mean(2, keepdim=True)).flatten(1)
    torch.testing.assert_close(layer(x.flatten(1)), contrast @ drawn.t())


def test_maps_of_one_place_are_read_as_they_are() -> None:
    layer = nn.Linear(3, 5)
    drawn = layer.weight.detach().clone()
    centre(layer, 3)
    assert torch.equal(layer.weight, drawn)
    assert not layer.bias.any()


@pytest.mark.parametrize(("activation", "bias"), [("relu", REST), ("tanh", 0.0)])
def test_rectified_units_start_with_a_rate(activation: str, bias: float) -> None:
    units = LeakyRates(3, [], activation=activation, bias_of=torch.arange(3))
    rest(units)
    assert units.bias is not None
    assert torch.equal(units.bias, torch.full((3,), bias))
    rest(LeakyRates(3, [], activation=activation))  # without biases there is none to set
