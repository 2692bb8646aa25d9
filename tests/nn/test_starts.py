"""Low-rank starts and spectral radii, against numpy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from connectome_compiler.nn import starts
from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import LeakyRates
from connectome_compiler.nn.starts import draw_low_rank, scale_to_radius, spectral_radius
from connectome_compiler.nn.tied_edge_linear import GapJunctions, TiedEdgeLinear

Matrix = npt.NDArray[np.float64]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep torch from waiting for a second core to add up thirty numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def layer_of(matrix: Matrix, **options: Any) -> EdgeLinear:
    """Return a layer with the entries of ``matrix`` that are not zero."""
    post, pre = np.nonzero(matrix)
    ptr = torch.from_numpy(np.searchsorted(post, np.arange(len(matrix) + 1)))
    start = torch.from_numpy(matrix[post, pre])
    arrays = ptr, torch.from_numpy(pre)
    return EdgeLinear(matrix.shape[1], *arrays, **{"start": start} | options)


def radius_of(matrix: Matrix, dense: bool = False) -> float:
    layer = layer_of(matrix)
    units = LeakyRates(len(matrix), [(layer, 0, 0)], dense=dense)
    return spectral_radius(units, [layer.effective_weight()])


def exact(matrix: Matrix) -> float:
    return float(abs(np.linalg.eigvals(matrix)).max())


def sparse_random(n: int, degree: float, seed: int = 0) -> Matrix:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n)) * (rng.random((n, n)) < degree / n)


def rotation(n: int, seed: int = 0) -> Matrix:
    """Return a sparse matrix whose largest eigenvalues are a complex pair, 1.5 exp(+-i)."""
    matrix = 0.2 * sparse_random(n, 5, seed)
    matrix[:2], matrix[:, :2] = 0, 0
    matrix[:2, :2] = 1.5 * np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    matrix[0, 5], matrix[7, 1] = 1, 1
    return matrix


def reducible(n: int, seed: int = 0) -> Matrix:
    """Return two networks, of which only one drives the other."""
    matrix = sparse_random(n, 6, seed)
    matrix[: n // 2, n // 2 :] = 0
    matrix[n // 2 :, n // 2 :] *= 0.3
    return matrix


# --- spectral radius ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 40, 300, 700])
@pytest.mark.parametrize("make", [lambda n: sparse_random(n, 8), reducible, rotation])
def test_radius_is_that_of_numpy(n: int, make: Any) -> None:
    if make is rotation and n < 10:
        pytest.skip("needs a few neurons")
    matrix = make(n)
    found = radius_of(matrix)
    assert found == pytest.approx(exact(matrix), rel=1e-5 if n <= starts.FEW else 0.02, abs=1e-7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("make", [lambda n, s: sparse_random(n, 8, s), reducible, rotation])
def test_the_arnoldi_process_finds_it(
    make: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "FEW", 0)
    for n in (20, 300):
        matrix = make(n, seed)
        assert radius_of(matrix) == pytest.approx(exact(matrix), rel=0.02)


def test_the_arnoldi_process_finds_positive_and_oscillating_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starts, "FEW", 0)
    positive = abs(sparse_random(200, 8))
    assert radius_of(positive) == pytest.approx(exact(positive), rel=1e-4)
    ring = np.roll(np.eye(100), 1, axis=0) * 0.7  # all eigenvalues are of one magnitude
    assert radius_of(ring) == pytest.approx(0.7, rel=0.02)
    twins = np.diag([1.0, -1.0, 0.5])
    assert radius_of(twins) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("few", [0, 512])
@pytest.mark.parametrize("n", [1, 5, 300])
def test_no_cycle_no_radius(n: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "FEW", few)
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    chain = np.zeros((n, n))
    chain[order[1:], order[:-1]] = 3.0
    assert radius_of(chain) == 0.0
    forward = np.tril(rng.normal(size=(n, n)), -1)[order][:, order]
    assert radius_of(forward) == 0.0
    assert radius_of(np.zeros((n, n))) == 0.0
    if n > 1:
        chain[order[0], order[-1]] = 3.0  # a ring
        assert radius_of(chain) == pytest.approx(3.0, rel=0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 999), st.floats(0.05, 0.6))
def test_radius_of_any_small_network(n: int, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, n)) * (rng.random((n, n)) < density)
    for dense in (False, True):
        assert radius_of(matrix, dense) == pytest.approx(exact(matrix), rel=1e-4, abs=1e-5)


def test_the_radius_is_of_the_whole_network() -> None:
    matrix = sparse_random(40, 6)
    whole = layer_of(matrix)
    cut = [layer_of(matrix[:, :15]), layer_of(matrix[:, 15:])]
    units = LeakyRates(40, [(cut[0], 0, 0), (cut[1], 0, 15)])
    found = spectral_radius(units, [layer.effective_weight() for layer in cut])
    assert found == pytest.approx(exact(matrix), rel=1e-5)
    before = scale_to_radius(units, cut, 0.5)
    assert before == pytest.approx(found)
    scaled = np.concatenate([x.sparse_weight().to_dense().detach().numpy() for x in cut], axis=1)
    assert exact(scaled) == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(
        scaled, whole.sparse_weight().to_dense().detach() * 0.5 / found, 1e-5
    )


def test_scaling_keeps_signs_and_leaves_gap_junctions_alone() -> None:
    matrix = sparse_random(30, 6)
    sign = torch.from_numpy(np.sign(matrix[matrix != 0]))
    chemical = layer_of(matrix, sign=sign)
    nn.init.uniform_(chemical.weight, -1, 1)
    pairs = layer_of(np.ones((30, 30)) - np.eye(30))
    group = torch.zeros(len(pairs.pre), dtype=torch.int64)
    electrical = GapJunctions(30, pairs.ptr, pairs.pre, group)
    held = electrical.weight.detach().clone()
    units = LeakyRates(30, [(electrical, 0, 0), (chemical, 0, 0)])
    scale_to_radius(units, [electrical, chemical], 1.3)
    assert exact(chemical.sparse_weight().to_dense().detach().double().numpy()) == pytest.approx(
        1.3, rel=1e-5
    )
    assert (chemical.effective_weight() * sign >= 0).all()
    assert torch.equal(electrical.weight, held)


def test_no_cycle_cannot_be_scaled() -> None:
    layer = layer_of(np.tril(np.ones((5, 5)), -1))
    units = LeakyRates(5, [(layer, 0, 0)])
    with pytest.raises(ValueError, match="is 0"):
        scale_to_radius(units, [layer], 0.9)


def test_shared_weights_are_scaled() -> None:
    all_pairs = layer_of(np.ones((20, 20)))
    group = torch.arange(400) % 3
    layer = TiedEdgeLinear(20, all_pairs.ptr, all_pairs.pre, group)
    scale_to_radius(LeakyRates(20, [(layer, 0, 0)]), [layer], 2.0)
    assert exact(layer.sparse_weight().to_dense().detach().double().numpy()) == pytest.approx(
        2.0, rel=1e-4
    )


# --- low rank -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("sign", ["free", "Dale"])
def test_all_to_all_weights_have_the_rank(rank: int, sign: str) -> None:
    torch.manual_seed(0)
    n = 30
    own = torch.tensor([1, -1]).repeat(n // 2).repeat(n)  # of each source
    layer = layer_of(np.ones((n, n)), sign=own if sign == "Dale" else 0).double()
    draw_low_rank(layer, rank)
    matrix = layer.sparse_weight().to_dense().detach()
    sizes = torch.linalg.svdvals(matrix)
    assert (sizes[:rank] > 1e-3 * sizes[0]).all()
    assert (sizes[rank:] < 1e-12 * sizes[0]).all()
    if sign == "Dale":
        assert torch.equal(matrix.sign(), own.view(n, n).double())


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("sign", [0, 1])
def test_low_rank_weights_are_as_large_as_uniform_ones(rank: int, sign: int) -> None:
    torch.manual_seed(1)
    layer = layer_of(abs(sparse_random(400, 40)), sign=sign)
    uniform = layer.weight.detach().clone()
    degree = layer.ptr.diff().repeat_interleave(layer.ptr.diff())
    squares = []
    for _ in range(10):
        draw_low_rank(layer, rank)
        squares.append((layer.weight.detach().square() * degree).mean())
        layer.reset_parameters()
        uniform = layer.weight.detach()
    expected = (uniform.square() * degree).mean()
    assert torch.stack(squares).mean() == pytest.approx(float(expected), rel=0.15)


def test_draws_follow_the_generator_of_torch() -> None:
    layer = layer_of(sparse_random(50, 8))
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        draw_low_rank(layer, 2)
        drawn.append(layer.weight.detach().clone())
    assert torch.equal(*drawn)


def test_no_connection_is_no_trouble() -> None:
    layer = layer_of(np.zeros((4, 4)))
    draw_low_rank(layer, 2)
    assert layer.weight.numel() == 0
