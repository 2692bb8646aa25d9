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
from connectome_compiler.nn.starts import (
    draw_conductances,
    draw_low_rank,
    scale_to_radius,
    spectral_radius,
)
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


def junctions_of(n: int, degree: float, seed: int = 0) -> GapJunctions:
    """Return symmetric gap junctions, one weight for each pair."""
    both = np.triu(np.random.default_rng(seed).random((n, n)) < degree / n, 1)
    post, pre = np.nonzero(both | both.T)
    ends = np.minimum(post, pre) * n + np.maximum(post, pre)
    _, group = np.unique(ends, return_inverse=True)
    ptr = np.searchsorted(post, np.arange(n + 1))
    return GapJunctions(n, *(torch.from_numpy(x) for x in (ptr, pre, group)))


def dense(layer: EdgeLinear) -> Matrix:
    matrix: Matrix = layer.sparse_weight().to_dense().detach().double().numpy()
    return matrix


def pulled(chemical: EdgeLinear, electrical: EdgeLinear) -> float:
    """Return the spectral radius of (W + G) / (1 + g), by rows."""
    gaps = dense(electrical)
    return exact((dense(chemical) + gaps) / (1 + gaps.sum(1, keepdims=True)))


@pytest.mark.parametrize(("n", "few"), [(30, 512), (200, 512), (300, 0)])
@pytest.mark.parametrize("radius", [0.6, 1.3, 20.0])
def test_chemical_weights_are_scaled_until_the_radius_with_gap_junctions_is_reached(
    radius: float, n: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "FEW", few)
    torch.manual_seed(0)
    matrix = sparse_random(n, 6)
    sign = torch.from_numpy(np.sign(matrix[matrix != 0]))
    chemical, electrical = layer_of(matrix, sign=sign), junctions_of(n, 5)
    nn.init.uniform_(chemical.weight, -1, 1)
    before, held = (x.weight.detach().clone() for x in (chemical, electrical))
    was = pulled(chemical, electrical)
    units = LeakyRates(n, [(electrical, 0, 0), (chemical, 0, 0)])
    found = scale_to_radius(units, [electrical, chemical], radius)
    assert found == pytest.approx(was, rel=1e-5 if few else 0.02)
    reached = pulled(chemical, electrical)
    assert reached == pytest.approx(radius, rel=1e-5 if few else 0.02)
    factor = chemical.weight.detach() / before
    assert (factor > 0).all()
    torch.testing.assert_close(factor, factor[:1].expand(len(factor)))
    assert torch.equal(electrical.weight, held)


def test_no_radius_is_below_that_of_gap_junctions_alone() -> None:
    matrix = sparse_random(40, 6)
    chemical, electrical = layer_of(matrix), junctions_of(40, 5)
    units = LeakyRates(40, [(chemical, 0, 0), (electrical, 0, 0)])
    alone = pulled(layer_of(0 * matrix), electrical)
    with pytest.raises(ValueError, match=rf"alone have a spectral radius of {alone:.3g}.*more"):
        scale_to_radius(units, [chemical, electrical], 0.9 * alone)
    scale_to_radius(units, [chemical, electrical], 1.1 * alone)
    assert pulled(chemical, electrical) == pytest.approx(1.1 * alone, rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, -1e-3), st.floats(-0.9, 30), st.floats(0.3, 3))
def test_the_root_of_a_rising_function_is_found(at_0: float, more: float, power: float) -> None:
    calls = 0

    def rising(x: float) -> float:
        nonlocal calls
        calls += 1
        return at_0 + (more - at_0) * float(x**power)

    if rising(1.0) > 0:
        root = starts._root(rising, at_0, rising(1.0), 1e-9)
        assert abs(rising(root)) <= 1e-9
        assert calls < 60


# --- conductances ---------------------------------------------------------------------------------


def totals(*layers: tuple[GapJunctions, int, int], n: int) -> Matrix:
    """Return the total conductance of each neuron."""
    total = np.zeros(n)
    for layer, first_post, _ in layers:
        total[first_post : first_post + layer.n_post] += dense(layer).sum(1)
    return total


def test_a_neuron_conducts_at_most_as_much_as_its_leak() -> None:
    torch.manual_seed(0)
    layer = junctions_of(60, 6)
    degree = layer.ptr.diff().double()
    post = torch.arange(60).repeat_interleave(layer.ptr.diff())
    most = 1 / torch.maximum(degree[post], degree[layer.pre.long()])
    share = torch.cat([_redrawn(layer) / most for _ in range(40)])
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-6
    ordered, steps = share.sort().values, torch.linspace(0, 1, len(share)).double()
    assert (ordered - steps).abs().max() < 0.03  # uniform
    assert totals((layer, 0, 0), n=60).max() <= 1 + 1e-6


def _redrawn(layer: EdgeLinear) -> torch.Tensor:
    layer.reset_parameters()
    return layer.effective_weight().detach().double()


@pytest.mark.parametrize("scaled", [False, True])
def test_shared_conductances_count_what_they_are_multiplied_by(scaled: bool) -> None:
    torch.manual_seed(0)
    pairs = junctions_of(40, 6)
    rank = torch.arange(40) % 3
    post = torch.arange(40).repeat_interleave(pairs.ptr.diff())
    low, high = (
        torch.minimum(rank[post], rank[pairs.pre]),
        torch.maximum(rank[post], rank[pairs.pre]),
    )
    _, group = (low * 3 + high).unique(return_inverse=True)
    size = torch.randint(1, 9, (len(pairs.weight),))[pairs.group.long()].float()
    layer = GapJunctions(40, pairs.ptr, pairs.pre, group, scale=size if scaled else None)
    for _ in range(20):
        layer.reset_parameters()
        assert totals((layer, 0, 0), n=40).max() <= 1 + 1e-6


def test_conductances_of_several_projections_count_together() -> None:
    """Cut into populations, with mirror images, a network has the bounds of the whole."""
    torch.manual_seed(0)
    whole = junctions_of(50, 8)
    matrix = dense(whole) != 0
    cuts = [slice(0, 20), slice(20, 50)]
    placed: list[tuple[GapJunctions, int, int]] = []
    by_ends: dict[tuple[int, int], GapJunctions] = {}
    for a, post in enumerate(cuts):
        for b, pre in enumerate(cuts):
            part = matrix[post, pre]
            i, j = np.nonzero(part)
            ptr = np.searchsorted(i, np.arange(len(part) + 1))
            low, high = (np.minimum(i, j), np.maximum(i, j)) if a == b else (i, j)
            if a > b:
                low, high = j, i
            _, group = np.unique(low * 50 + high, return_inverse=True)
            arrays = [torch.from_numpy(x) for x in (ptr, j, group)]
            shared = by_ends[b, a].weight if a > b else None
            layer = GapJunctions(part.shape[1], *arrays, weight=shared)
            by_ends[a, b] = layer
            placed.append((layer, post.start, pre.start))
    units = LeakyRates(50, placed)
    own = [by_ends[0, 0], by_ends[0, 1], by_ends[1, 1]]
    layers = [layer for layer, *_ in placed]
    shares = []
    degree = matrix.sum(1)
    for _ in range(60):
        draw_conductances(units, layers, own)
        assert totals(*placed, n=50).max() <= 1 + 1e-6
        for layer, first_post, first_pre in placed:
            i, j = np.nonzero(dense(layer))
            most = 1 / np.maximum(degree[i + first_post], degree[j + first_pre])
            shares.append(dense(layer)[i, j] / most)
    share = np.sort(np.concatenate(shares))
    assert share[-1] <= 1 + 1e-6
    assert abs(share - np.linspace(0, 1, len(share))).max() < 0.02


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
