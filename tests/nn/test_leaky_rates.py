"""The roll-out of leaky units against a plain dense loop in float64, and what it must not cost."""

import copy
import gc
import io
import pickle
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from connectome_compiler.nn import edge_linear, leaky_rates
from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import ACTIVATIONS, CURRENTS, STRUCTURE, LeakyRates
from connectome_compiler.nn.tied_edge_linear import GapJunctions

Mask = npt.NDArray[np.bool_]
Layers = list[tuple[EdgeLinear, int, int]]
KERNELS = (False, True)  # edges, dense
PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
    "linear": torch.clone,
}
N = 14


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep torch from waiting for a second core to add up a dozen numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Make every run draw the same numbers."""
    torch.manual_seed(0)


def random_mask(n_post: int = N, n_pre: int = N, density: float = 0.3, seed: int = 0) -> Mask:
    mask = np.random.default_rng(seed).random((n_post, n_pre)) < density
    mask[3 % n_post], mask[:, 5 % n_pre] = False, False
    return mask


def layer_of(mask: Mask, seed: int = 0, **options: Any) -> EdgeLinear:
    """Return a layer whose connections have signs -1, 0 and 1."""
    rng = np.random.default_rng(seed)
    ptr = torch.from_numpy(np.concatenate(([0], np.cumsum(mask.sum(axis=1)))))
    sign = torch.from_numpy(rng.choice([-1, 0, 1], int(mask.sum())))
    start = torch.from_numpy(rng.normal(0, 0.5, int(mask.sum())))
    pre = torch.from_numpy(np.nonzero(mask)[1])
    return EdgeLinear(mask.shape[1], ptr, pre, **{"sign": sign, "start": start} | options).double()


def junctions_of(mask: Mask) -> GapJunctions:
    """Return symmetric gap junctions between the pairs in ``mask``, one weight for each pair."""
    both = mask | mask.T
    post, pre = np.nonzero(both)
    _, group = np.unique(
        np.minimum(post, pre) * len(mask) + np.maximum(post, pre), return_inverse=True
    )
    ptr = np.concatenate(([0], np.cumsum(both.sum(axis=1))))
    arrays = (torch.from_numpy(x) for x in (ptr, pre, group))
    return GapJunctions(len(mask), *arrays).double()


def units_of(layers: Layers, n: int = N, **options: Any) -> LeakyRates:
    """Return units with time constants from a third of the step to ten times, and biases."""
    each = {"tau_of": torch.arange(n), "bias_of": torch.arange(n)}
    units = LeakyRates(n, layers, **each | options).double()
    with torch.no_grad():
        units.log_tau.add_(torch.linspace(-2, 1.5, len(units.log_tau)).double())
        if units.bias is not None:
            units.bias.add_(torch.linspace(-1, 1, len(units.bias)).double())
    return units


def weights_of(layers: Layers) -> list[Tensor]:
    return [layer.effective_weight() for layer, *_ in layers]


def plain(
    units: LeakyRates,
    layers: Layers,
    drive: Tensor,
    inputs: Tensor,
    outputs: Tensor,
    state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what `LeakyRates.forward` does, from its definition, with dense matrices."""
    n, (steps, batch, _) = units.n, drive.shape
    matrix, gaps = torch.zeros(n, n).to(drive), torch.zeros(n, n).to(drive)
    for layer, first_post, first_pre in layers:
        post = slice(first_post, first_post + layer.n_post)
        into = gaps if layer.kind == "electrical" else matrix
        into[post, first_pre : first_pre + layer.n_pre] += layer.sparse_weight().to_dense()
    out = gaps.sum(1)
    tau = units.log_tau.exp()
    tau = tau.expand(n) if units.tau_of is None else tau[units.tau_of.long()]
    bias = torch.zeros(n).to(drive)
    if units.bias is not None and units.bias_of is not None:
        bias = units.bias[units.bias_of.long()]
    into = torch.zeros(n, len(inputs)).to(drive)
    for k, unit in enumerate(inputs.tolist()):
        into[unit, k] += 1
    alone = 1 - torch.exp(-units.dt_ms / tau)
    gone = (1 / (alone**-2 + (1 + 2 * out) ** 2 - 1)).sqrt()
    r = torch.zeros(batch, n).to(drive) if state is None else state
    rates = []
    for t in range(steps):
        phi = PHI[units.activation](r @ matrix.T + bias + drive[t] @ into.T)
        r = (1 - gone * (1 + out)) * r + gone * (phi + r @ gaps.T)
        rates.append(r[:, outputs.long()])
    return torch.stack(rates) if steps else drive.new_zeros(0, batch, len(outputs)), r


def gradients_are_right(units: LeakyRates, layers: Layers, columns: int) -> bool:
    """Compare with finite differences, by every number that a step depends on."""
    names = [name for name, _ in units.named_parameters()]
    inputs, outputs = torch.tensor([0, 2]), torch.tensor([1, 2])

    def call(drive: Tensor, state: Tensor, chemical: Tensor, gaps: Tensor, *own: Tensor) -> Any:
        arguments = (drive, [chemical, gaps], inputs, outputs, state)
        return torch.func.functional_call(units, dict(zip(names, own, strict=True)), arguments)

    leaves = [torch.randn(2, columns, 2), torch.randn(columns, units.n)]
    leaves += [w.detach() for w in weights_of(layers)] + [p.detach() for p in units.parameters()]
    return torch.autograd.gradcheck(call, [x.double().requires_grad_() for x in leaves])


def check(
    units: LeakyRates,
    layers: Layers,
    steps: int,
    batch: int,
    inputs: Sequence[int] = (0, 3, 5, 9),
    outputs: Sequence[int] = (1, 5, 12, 2),
    from_rest: bool = False,
    tolerance: float = 1e-10,
) -> None:
    """Compare values, final state and all gradients with the plain loop in float64."""
    entering, read = torch.tensor(inputs).long(), torch.tensor(outputs).long()
    source = torch.Generator().manual_seed(steps * 100 + batch)
    drive = torch.randn(steps, batch, len(inputs), generator=source).double().requires_grad_()
    state = None
    if not from_rest:
        state = torch.randn(batch, units.n, generator=source).double().requires_grad_()
    parameters = {
        name: p
        for k, module in enumerate((units, *(layer for layer, *_ in layers)))
        for name, p in ((f"{k}.{name}", p) for name, p in module.named_parameters())
    }
    leaves = {"drive": drive, **({} if state is None else {"state": state}), **parameters}
    found = units(drive, weights_of(layers), entering, read, state)
    wanted = plain(units, layers, drive, entering, read, state)
    seeds = [torch.randn(y.shape, generator=source).double() for y in wanted]
    results = []
    for values in (found, wanted):
        loss = torch.stack([(y * g).sum() for y, g in zip(values, seeds, strict=True)]).sum()
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        results.append(dict(zip(("rates", "last", *leaves), (*values, *grads), strict=True)))
    for name, want in results[1].items():
        have = results[0][name]
        want = torch.zeros_like(leaves[name]) if want is None else want
        have = torch.zeros_like(want) if have is None else have
        assert have.shape == want.shape, name
        assert (have - want).norm() <= tolerance * (1e-3 + want.norm()), name


# --- values and gradients -------------------------------------------------------------------------


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch", [1, 3, 20, 70])
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_agrees_with_a_plain_loop(steps: int, batch: int, activation: str, dense: bool) -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    units = units_of(layers, activation=activation, dense=dense)
    check(units, layers, steps, batch)


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 3, 8, 20])
@pytest.mark.parametrize("cached", [0, 2**20])
def test_agrees_whatever_the_grouping_of_steps(
    batch: int, cached: int, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaky_rates, "CACHED_BYTES", cached)
    monkeypatch.setattr(leaky_rates, "DENSE_COLUMNS", 7)
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    for steps in (1, 2, 8, 9, 64, 65):
        check(units_of(layers, dense=dense), layers, steps, batch)


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_from_rest(dense: bool, batch: int) -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    for steps in (1, 2, 9):
        check(units_of(layers, dense=dense), layers, steps, batch, from_rest=True)


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 5, 20])
def test_chemical_and_electrical_between_the_same_pairs(batch: int, dense: bool) -> None:
    chemical, electrical = layer_of(random_mask()), junctions_of(random_mask(seed=1))
    both = chemical.sparse_weight().to_dense() * electrical.sparse_weight().to_dense()
    assert both.count_nonzero() > 5
    cases: list[Layers] = [[(chemical, 0, 0), (electrical, 0, 0)], [(electrical, 0, 0)]]
    for layers in cases:
        check(units_of(layers, dense=dense), layers, 9, batch)


@pytest.mark.parametrize("tau_of", [None, [0] * N, [k % 3 for k in range(N)]])
@pytest.mark.parametrize("bias_of", [None, [0] * N, [k % 4 for k in range(N)]])
def test_shared_and_held_constants(tau_of: list[int] | None, bias_of: list[int] | None) -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    index: dict[str, Any] = {
        name: None if of is None else torch.tensor(of, dtype=torch.int32)
        for name, of in (("tau_of", tau_of), ("bias_of", bias_of))
    }
    units = units_of(layers, **index)
    assert {name for name, _ in units.named_parameters()} == {
        name for name, of in (("log_tau", tau_of), ("bias", bias_of)) if of is not None
    }
    check(units, layers, 7, 3)


@pytest.mark.parametrize("dense", KERNELS)
def test_inputs_and_outputs_repeat_overlap_and_lack(dense: bool) -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    for inputs, outputs in (
        ([2, 2, 7], [7, 2, 2, 2]),
        (list(range(N)), list(range(N))[::-1]),
        ([], [4]),
        ([4], []),
    ):
        for batch in (1, 3):
            check(units_of(layers, dense=dense), layers, 7, batch, inputs, outputs)


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [0, 1, 3, 20])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_no_connection_no_step_no_sample(steps: int, batch: int, dense: bool) -> None:
    for layers in (
        [],
        [(layer_of(np.zeros((N, N), bool)), 0, 0)],
        [(layer_of(random_mask()), 0, 0)],
    ):
        units = units_of(layers, dense=dense)
        check(units, layers, steps, batch)
        drive = torch.randn(steps, batch, 1).double()
        with torch.no_grad():
            rates, last = units(drive, weights_of(layers), torch.tensor([1]), torch.arange(N))
        assert rates.shape == (steps, batch, N)
        assert last.shape == (batch, N)


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_projections_between_populations_are_one_network(batch: int, dense: bool) -> None:
    """Cut a network into populations in any order: nothing changes."""
    mask = random_mask()
    whole = layer_of(mask)
    matrix = whole.sparse_weight().to_dense().detach()
    cuts = [slice(0, 5), slice(5, 6), slice(6, N)]
    pieces: Layers = []
    for pre in cuts:
        for post in reversed(cuts):
            part = mask[post, pre]
            start = matrix[post, pre][torch.from_numpy(part)]
            kernel = "dense" if pre.start else "edges"
            layer = layer_of(part, sign=0, start=start, kernel=kernel)
            pieces.append((layer, post.start, pre.start))
    units = units_of(pieces, dense=dense)
    check(units, pieces, 9, batch)
    alone: Layers = [(whole, 0, 0)]
    drive, inputs, outputs = torch.randn(9, batch, 3).double(), torch.arange(3), torch.arange(N)
    expected = units_of(alone)(drive, weights_of(alone), inputs, outputs)
    torch.testing.assert_close(units(drive, weights_of(pieces), inputs, outputs), expected)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_network(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    some = st.lists(st.integers(0, n - 1), max_size=4)
    layers: Layers = []
    for _ in range(data.draw(st.integers(0, 3))):
        seed = data.draw(st.integers(0, 99))
        mask = np.random.default_rng(seed).random((n, n)) < 0.4
        electrical = data.draw(st.booleans())
        layers.append((junctions_of(mask) if electrical else layer_of(mask, seed), 0, 0))
    activation, dense = data.draw(st.sampled_from(ACTIVATIONS)), data.draw(st.booleans())
    units = units_of(layers, n, activation=activation, dense=dense)
    steps, batch = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([1, 2, 12]))
    check(units, layers, steps, batch, data.draw(some), data.draw(some), data.draw(st.booleans()))


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("activation", ["tanh", "softplus", "sigmoid", "linear"])
@pytest.mark.parametrize("columns", [1, 3, 13])
def test_gradcheck(columns: int, activation: str, dense: bool) -> None:
    mask = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0]], bool)
    layers: Layers = [(layer_of(mask), 0, 0), (junctions_of(mask), 0, 0)]
    units = units_of(layers, 3, activation=activation, dense=dense)
    assert gradients_are_right(units, layers, columns)


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 4, 16, 70])
def test_float32_is_accurate(batch: int, dense: bool) -> None:
    layers: Layers = [(layer_of(random_mask(200, 200, 0.1)), 0, 0)]
    layers[0][0].float()
    with torch.no_grad():
        layers[0][0].weight.div_(20**0.5)
    units = units_of(layers, 200, dense=dense).float()
    exact = copy.deepcopy(units).double()
    exact_layers: Layers = [(copy.deepcopy(layers[0][0]).double(), 0, 0)]
    drive, inputs, outputs = torch.randn(20, batch, 50), torch.arange(50), torch.arange(100, 200)
    g = torch.randn(20, batch, 100)
    rates, last = units(drive.requires_grad_(), weights_of(layers), inputs, outputs)
    rates.backward(g)
    leaf = drive.detach().double().requires_grad_()
    wanted, last_wanted = plain(exact, exact_layers, leaf, inputs, outputs)
    wanted.backward(g.double())
    pairs = [(rates, wanted), (last, last_wanted), (drive.grad, leaf.grad)]
    modules = ((units, exact), (layers[0][0], exact_layers[0][0]))
    pairs += [
        (p.grad, q.grad)
        for a, b in modules
        for p, q in zip(a.parameters(), b.parameters(), strict=True)
    ]
    for found, want in pairs:
        assert found is not None
        assert want is not None
        assert (found.double() - want).norm() <= 1e-6 * want.norm()


def test_two_calls_are_one_longer_call() -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0), (junctions_of(random_mask(seed=1)), 0, 0)]
    units = units_of(layers)
    drive, inputs, outputs = torch.randn(9, 3, 4).double(), torch.arange(4), torch.arange(N)
    whole, last = units(drive, weights_of(layers), inputs, outputs)
    first, between = units(drive[:4], weights_of(layers), inputs, outputs)
    second, end = units(drive[4:], weights_of(layers), inputs, outputs, between)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    torch.testing.assert_close(end, last)
    leaves = [layers[0][0].weight, *units.parameters()]
    joint = torch.autograd.grad(second.sum() + first.sum(), leaves)
    torch.testing.assert_close(joint, torch.autograd.grad(whole.sum(), leaves))


def test_gap_junctions_pull_together_and_keep_the_sum() -> None:
    """Linear units that are driven by nothing but junctions go to their common mean."""
    ring = np.roll(np.eye(N, dtype=bool), 1, axis=0)
    layers: Layers = [(junctions_of(ring), 0, 0)]
    with torch.no_grad():
        layers[0][0].weight.fill_(0.4)
    units = LeakyRates(N, layers, activation="linear", tau_ms=10.0, dt_ms=1.0).double()
    start, nothing = torch.rand(1, N).double(), torch.zeros(30, 1, 0).double()
    _, last = units(nothing, weights_of(layers), torch.arange(0), torch.arange(N), start)
    alpha = torch.tensor(-np.expm1(-0.1))  # of 1 ms and 10 ms; all are coupled alike
    left = (1 - leaky_rates.slowed(alpha, torch.tensor(0.8))) ** 30
    torch.testing.assert_close(last.sum(), start.sum() * left)
    assert (last / left - start.mean()).square().sum() < 0.5 * (start - start.mean()).square().sum()


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("columns", [1, 3, 13])
def test_units_that_never_move_have_gradients_too(
    columns: int, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit that goes exactly nowhere keeps its rate, and is differentiated as any other."""
    mask = np.array([[1, 1, 0, 1], [0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]], bool)
    layers: Layers = [(layer_of(mask), 0, 0), (junctions_of(mask), 0, 0)]
    units = units_of(layers, 4, dense=dense)
    held, alpha = torch.tensor([0, 1, 0, 1]).double(), LeakyRates.alpha
    monkeypatch.setattr(LeakyRates, "alpha", lambda self: alpha(self) * held)
    state, every = torch.randn(columns, 4).double(), torch.arange(4)
    drive = torch.randn(5, columns, 4).double()
    rates, _ = units(drive, weights_of(layers), every, every, state)
    assert torch.equal(rates[..., [0, 2]], state[:, [0, 2]].expand(5, -1, -1))
    assert (rates[..., [1, 3]] != state[:, [1, 3]]).all()
    assert gradients_are_right(units, layers, columns)


@pytest.mark.parametrize("dense", KERNELS)
def test_units_that_are_held_keep_the_rates_that_they_are_given(dense: bool) -> None:
    """In all steps, over those of the state; as if each step put them back, for all others."""
    layers: Layers = [(layer_of(random_mask()), 0, 0), (junctions_of(random_mask(seed=1)), 0, 0)]
    units, every = units_of(layers, dense=dense), torch.arange(N)
    weights, drive = weights_of(layers), torch.randn(6, 3, N).double()
    state, levels, at = torch.randn(3, N).double(), torch.randn(3, 2).double(), torch.tensor([4, 1])
    given = state.clone()
    rates, last = units(drive, weights, every, every, state, (at, levels))
    assert torch.equal(state, given)
    assert torch.equal(rates[..., at], levels.expand(6, -1, -1))
    state = state.index_copy(1, at, levels)
    for step, found in zip(drive, rates, strict=True):
        _, state = units(step.unsqueeze(0), weights, every, every, state)
        state = state.index_copy(1, at, levels)
        torch.testing.assert_close(found, state)
    assert torch.equal(last, rates[-1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_each_rate_is_a_mean_whatever_the_step(data: st.DataObject) -> None:
    """Without chemical connections: of the rate before, of ``phi`` and the partners' rates."""
    n, seed = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 99))
    dt_ms = data.draw(st.floats(1e-3, 1e6))
    size = data.draw(st.floats(-4, 4))
    layer = junctions_of(np.random.default_rng(seed).random((n, n)) < 0.6)
    with torch.no_grad():
        layer.weight.mul_(10**size)
    layers: Layers = [(layer, 0, 0)]
    units = LeakyRates(n, layers, activation="tanh", tau_ms=50.0, dt_ms=dt_ms).double()
    source = torch.Generator().manual_seed(seed)
    drive, state = (torch.randn(shape, generator=source).double() for shape in ((1, 2, n), (2, n)))
    every = torch.arange(n)
    with torch.no_grad():
        rates, _ = units(drive, weights_of(layers), every, every, state)
        sources = torch.cat((drive[0].tanh(), state), 1)
        linked = torch.cat((torch.eye(n), torch.eye(n)), 1).bool()  # its own phi and rate
        linked[:, n:] |= layer.sparse_weight().to_dense() > 0
        for new, values in zip(rates[0], sources, strict=True):
            low = torch.where(linked, values, torch.inf).amin(1)
            high = torch.where(linked, values, -torch.inf).amax(1)
            assert (new >= low - 1e-9 * (1 + low.abs())).all()
            assert (new <= high + 1e-9 * (1 + high.abs())).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1e6), st.floats(1e-6, 1e6))
def test_a_step_leaves_as_much_as_partners_give(conductance: float, dt_over_tau: float) -> None:
    g, alone = (torch.tensor(x, dtype=torch.float64) for x in (conductance, dt_over_tau))
    alone = -torch.expm1(-alone)
    alpha = leaky_rates.slowed(alone, g)
    assert 0 < alpha <= min(alone, 1 / (1 + 2 * g)) * (1 + 1e-12)
    assert 1 - alpha * (1 + g) >= alpha * g - 1e-12
    assert leaky_rates.slowed(alone, torch.zeros(())) == alone  # to the bit
    assert leaky_rates.slowed(0 * alone, g) == 0


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_the_step_is_of_first_order(activation: str) -> None:
    """Against the continuous system by steps a thousand times as short: half the step, half off."""
    layers: Layers = [(layer_of(random_mask()), 0, 0), (junctions_of(random_mask(seed=1)), 0, 0)]
    inputs, outputs = torch.arange(3), torch.arange(N)
    state, now = torch.randn(1, N).double(), torch.randn(1, 1, 3).double()

    def after(dt_ms: float) -> Tensor:
        units = units_of(layers, activation=activation, dt_ms=dt_ms)
        drive = now.expand(round(40 / dt_ms), 1, 3)
        with torch.no_grad():
            last: Tensor = units(drive, weights_of(layers), inputs, outputs, state)[1]
        return last

    exact = after(0.004)
    apart = [float((after(dt) - exact).norm()) for dt in (4.0, 2.0, 1.0, 0.5)]
    for one, half in pairwise(apart):
        assert 1.6 < one / half < 2.5
    if activation == "linear":
        from scipy.linalg import expm

        units = units_of(layers, activation=activation)
        chemical, electrical = (layer.sparse_weight().to_dense() for layer, *_ in layers)
        pull = chemical + electrical - torch.diag(1 + electrical.sum(1))
        with torch.no_grad():
            rate = (pull / units.log_tau.exp().unsqueeze(1)).numpy()
            force = torch.zeros(N).double().index_add(0, inputs, now[0, 0])
            assert units.bias is not None
            force = (force + units.bias).numpy() / units.log_tau.exp().numpy()
        rest = -np.linalg.solve(rate, force)
        there = rest + expm(40 * rate) @ (state[0].numpy() - rest)
        assert np.linalg.norm(exact[0].numpy() - there) < 3e-3 * np.linalg.norm(there)


# --- the contract of torch ------------------------------------------------------------------------


def operator_arguments(dense: bool, batch: int, steps: int = 5) -> tuple[Any, ...]:
    layers: Layers = [(layer_of(random_mask()), 0, 0), (junctions_of(random_mask(seed=1)), 0, 0)]
    units = units_of(layers, dense=dense)
    weight = units._merged(weights_of(layers)).detach().requires_grad_()
    structure = [getattr(units, name) for name in (*STRUCTURE, *CURRENTS)]
    current = torch.rand(len(structure[7])).double().requires_grad_()
    structure += [torch.tensor([1, 4]), torch.tensor([2, 4, 5])]
    drive, start = torch.randn(steps, 2, batch).double(), torch.randn(N, batch).double()
    alpha, bias = (x.requires_grad_() for x in torch.rand(2, N, 1).double().unbind())
    parts = [drive.requires_grad_(), weight, current, alpha, bias, start.requires_grad_()]
    return *parts, structure, "tanh", dense


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 16])
def test_operators_keep_the_contract_of_torch(batch: int, dense: bool) -> None:
    arguments = operator_arguments(dense, batch)
    operators = getattr(torch.ops, edge_linear.OP_LIBRARY)
    torch.library.opcheck(operators.rate_rollout, arguments)
    held = tuple(x.detach() if isinstance(x, Tensor) else x for x in arguments)
    torch.library.opcheck(operators.rate_rollout, held)
    rates, last, kept = operators.rate_rollout(*held)
    _, weight, current, alpha, *_, structure, activation, _ = held
    for wanted in ([True] * 6, [False] * 6, [False, True, False, True, False, False]):
        rest = (kept, weight, current, alpha, structure, activation, dense, wanted)
        torch.library.opcheck(operators.rate_rollout_backward, (rates, last, *rest))


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 16])
def test_the_operator_and_the_eager_function_agree(batch: int, dense: bool) -> None:
    arguments = operator_arguments(dense, batch)
    results = []
    for call in (leaky_rates.rate_rollout, getattr(torch.ops, edge_linear.OP_LIBRARY).rate_rollout):
        rates, last, *_ = call(*arguments)
        grads = torch.autograd.grad(rates.sum() + last.square().sum(), arguments[:6])
        results.append((rates, last, *grads))
    torch.testing.assert_close(*results, rtol=0, atol=0)


class Net(nn.Module):
    """A network of two kinds of connections between linear maps, as modules are emitted."""

    def __init__(self, dense: bool = False, **options: Any) -> None:
        super().__init__()
        self.into = nn.Linear(2, 4, bias=False)
        self.chemical = layer_of(random_mask()).float()
        self.electrical = junctions_of(random_mask(seed=1)).float()
        layers: Layers = [(self.chemical, 0, 0), (self.electrical, 0, 0)]
        each = {"tau_of": torch.arange(N), "bias_of": torch.arange(N)}
        self.units = LeakyRates(N, layers, dense=dense, **each | options)
        self.out = nn.Linear(3, 2)
        self.register_buffer("inputs", torch.tensor([0, 3, 5, 9]), persistent=False)
        self.register_buffer("outputs", torch.tensor([1, 5, 12]), persistent=False)

    def forward(self, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        weights = [self.chemical.effective_weight(), self.electrical.effective_weight()]
        rates, last = self.units(self.into(u), weights, self.inputs, self.outputs, state)
        return self.out(rates), last


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(backend: str, dense: bool) -> None:
    torch._dynamo.reset()
    net = Net(dense)
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    for steps, batch in ((3, 4), (5, 1), (6, 20)):
        u, state = torch.randn(steps, batch, 2), torch.randn(batch, N)
        found, wanted = (f(u, state) for f in (compiled, net))
        torch.testing.assert_close(found, wanted)
        grads = (
            torch.autograd.grad(y.sum() + last.square().sum(), list(net.parameters()))
            for y, last in (found, wanted)
        )
        torch.testing.assert_close(*grads)
    with torch.no_grad():
        torch.testing.assert_close(compiled(u), net(u))


@pytest.mark.parametrize("dense", KERNELS)
def test_exports_with_any_batch_and_length(dense: bool) -> None:
    net = Net(dense)
    steps, batch = torch.export.Dim("steps", min=2), torch.export.Dim("batch", min=2)
    shapes = ({0: steps, 1: batch},)
    program = torch.export.export(net, (torch.randn(3, 4, 2),), dynamic_shapes=shapes)
    for shape in ((2, 2, 2), (7, 20, 2)):
        u = torch.randn(shape)
        torch.testing.assert_close(program.module()(u), net(u))


def test_gradients_of_torch_func() -> None:
    net = Net().double()
    u = torch.randn(4, 3, 2).double()
    parameters: dict[str, Tensor] = dict(net.named_parameters())

    def loss(parameters: dict[str, Tensor]) -> Any:
        y, last = torch.func.functional_call(net, parameters, (u,))
        return y.square().sum() + last.sum()

    found = torch.func.grad(loss)(parameters)
    wanted = torch.autograd.grad(loss(parameters), list(parameters.values()))
    torch.testing.assert_close(tuple(found.values()), wanted)


def test_it_can_be_differentiated_twice() -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0), (junctions_of(random_mask(seed=1)), 0, 0)]
    units = units_of(layers)
    u = torch.randn(3, 2, 1).double().requires_grad_()

    def call(u: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        rates, last = units(u, weights, torch.tensor([1]), torch.arange(N))
        return rates, last

    inputs = (u, *(w.detach().requires_grad_() for w in weights_of(layers)))
    assert torch.autograd.gradgradcheck(call, inputs)
    rates, _ = call(*inputs)
    rates.sum().backward(retain_graph=True)
    rates.sum().backward()  # what was kept is not used up
    with pytest.raises(RuntimeError, match="second time"):
        rates.sum().backward()


# --- step by step, in functions that are torch's own ----------------------------------------------


def stepping() -> tuple[Any, Tensor, Tensor]:
    """Return a network, inputs and a state, in double precision."""
    return Net().double(), torch.randn(4, 3, 2).double(), torch.randn(3, N).double()


def test_torch_can_transform_it() -> None:
    net, u, state = stepping()
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters: dict[str, Tensor], u: Tensor, state: Tensor) -> Tensor:
        y, last = torch.func.functional_call(net, parameters, (u[:, None], state[None]))
        found: Tensor = y.square().sum() + last.sin().sum()
        return found

    each = torch.func.vmap(torch.func.grad(loss), (None, 1, 0))(parameters, u, state)
    y, last = net(u, state)
    (y.square().sum() + last.sin().sum()).backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(each[name].sum(0), p.grad)
    jacobian = torch.func.jacrev(lambda state: net(u, state)[1])(state)
    torch.testing.assert_close(torch.func.jacfwd(lambda state: net(u, state)[1])(state), jacobian)
    wanted = torch.autograd.functional.jacobian(lambda state: net(u, state)[1], state)
    torch.testing.assert_close(jacobian, wanted)


def test_a_checkpoint_computes_it_anew() -> None:
    net, u, state = stepping()
    found = []
    for call in (net, lambda *x: checkpoint(net, *x, use_reentrant=False)):
        net.zero_grad()
        call(u, state)[0].square().sum().backward()
        found.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*found)


def test_plain_it_is_the_same_network() -> None:
    net, u, state = stepping()
    wanted = net(u, state)
    net.units.plain = True
    torch.testing.assert_close(net(u, state), wanted)
    torch.testing.assert_close(torch.jit.trace(net, (u, state))(u, state), wanted)


@pytest.mark.parametrize("what", ["hook", "forward", "bias"])
def test_projections_are_called_at_each_step_if_that_says_more(what: str) -> None:
    net, u, state = stepping()
    layers = [net.chemical, net.electrical]
    units = torch.tensor([0, 3, 5, 9]), torch.arange(N)
    drive = net.into(u)
    wanted = net.units(drive, layers, *units, state)
    calls: list[Tensor] = []
    if what == "hook":
        net.chemical.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0]))
    elif what == "forward":
        own = net.chemical.forward
        net.chemical.forward = lambda x: 2 * own(x)
    else:
        net.chemical.bias = nn.Parameter(torch.full((N,), 0.5).double())
    found = net.units(drive, layers, *units, state)
    if what == "hook":
        torch.testing.assert_close(found, wanted)
        rates = torch.cat((state[None], wanted[0][:-1]))
        torch.testing.assert_close(torch.stack(calls), rates)
        return
    with torch.no_grad():
        if what == "forward":
            del net.chemical.forward
            net.chemical.weight.mul_(2)
        else:
            net.chemical.bias = None
            net.units.bias.add_(0.5)
    torch.testing.assert_close(found, net.units(drive, layers, *units, state))


# --- what it keeps, and what it leaves out --------------------------------------------------------


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (50, 1), (50, 16)])
def test_memory_is_in_proportion_to_states_and_connections(
    steps: int, batch: int, dense: bool
) -> None:
    n = 150
    layers: Layers = [(layer_of(random_mask(n, n, 0.2), sign=0), 0, 0)]
    edges = len(layers[0][0].weight)
    units = units_of(layers, n, dense=dense)
    drive, inputs = torch.randn(steps, batch, 5).double(), torch.arange(5)
    saved: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        units(drive, weights_of(layers), inputs, torch.arange(n))
    per_edge = 8 + 3 * 4 + 8 * dense  # the weight, indices, and its place in the matrix
    given = 8 * batch * (n + 5 * steps)  # start and drive, of which second derivatives are taken
    limit = 8 * n * batch * (2 * steps + 1) + per_edge * edges + 8 * 10 * n + given
    assert sum(saved.values()) <= limit


def test_nothing_is_kept_without_gradients() -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    units = units_of(layers)
    drive, inputs = torch.randn(40, 3, 2).double(), torch.arange(2)
    expected = units(drive, weights_of(layers), inputs, torch.arange(N))
    with torch.no_grad():
        found = units(drive, weights_of(layers), inputs, torch.arange(N))
        torch.testing.assert_close(found, expected)
        for value in found:  # nor a view of all states
            assert value.untyped_storage().nbytes() == 8 * value.numel()
    assert not any(value.requires_grad for value in found)


@pytest.mark.parametrize("cached", [1, 100, 2**20])
def test_long_runs_without_gradients_go_in_parts(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaky_rates, "CACHED_BYTES", cached)
    largest = 0
    roll = leaky_rates._roll

    def watch(*arguments: Any) -> Any:
        nonlocal largest
        found = roll(*arguments)
        largest = max(largest, found[-1].numel())
        return found

    monkeypatch.setattr(leaky_rates, "_roll", watch)
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    units = units_of(layers)
    drive, state = torch.randn(40, 3, 2).double(), torch.randn(3, N).double()
    inputs, outputs = torch.arange(2), torch.arange(N)
    with torch.no_grad():
        found = units(drive, weights_of(layers), inputs, outputs, state)
    assert largest <= max(3 * cached, 3 * N * 3)
    torch.testing.assert_close(found, plain(units, layers, drive, inputs, outputs, state))


def test_what_is_kept_is_freed() -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    units = units_of(layers)
    rates, last = units(torch.randn(4, 2, 1).double(), weights_of(layers), *[torch.arange(1)] * 2)
    kept = weakref.ref(rates.grad_fn.next_functions[0][0] if rates.grad_fn else rates)
    del rates, last
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("junctions", [False, True])
def test_frozen_weights_cost_no_product(
    junctions: bool, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    layers += [(junctions_of(random_mask(seed=1)), 0, 0)] * junctions
    for layer, *_ in layers:
        layer.weight.requires_grad_(False)
    # Time constants learn from the currents: only where they are held as well is there no product.
    held: dict[str, Any] = {"tau_of": None} if junctions else {}
    units = units_of(layers, dense=dense, **held)

    def refuse(*_: Any) -> None:
        raise AssertionError("the gradient of frozen weights was computed")

    monkeypatch.setattr(leaky_rates, "_WeightGradient", refuse)
    drive = torch.randn(9, 3, 2).double().requires_grad_()
    outputs = torch.arange(N)
    rates, _ = units(drive, weights_of(layers), torch.arange(2), outputs)
    rates.sum().backward()
    wanted = plain(units, layers, drive, torch.arange(2), outputs)[0].sum()
    assert drive.grad is not None
    torch.testing.assert_close(drive.grad, torch.autograd.grad(wanted, drive)[0])
    assert layers[0][0].weight.grad is None


@pytest.mark.parametrize("batch", [1, 3, 20])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_number_reaches_only_targets(batch: int, bad: float) -> None:
    mask = random_mask() & ~np.eye(N, dtype=bool)
    layers: Layers = [(layer_of(mask, sign=0), 0, 0)]
    units = units_of(layers, activation="linear")
    drive, inputs, outputs = torch.zeros(2, batch, 1).double(), torch.tensor([7]), torch.arange(N)
    drive[0, 0] = bad
    rates, _ = units(drive, weights_of(layers), inputs, outputs)
    reached = ~rates.isfinite()
    assert torch.equal(reached[0, 0], outputs == 7)
    assert np.array_equal(reached[1, 0].numpy(), mask[:, 7] | (np.arange(N) == 7))
    assert not reached[:, 1:].any()


# --- precisions, devices, saving ------------------------------------------------------------------


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("batch", [1, 20])
def test_other_precisions(batch: int, dtype: torch.dtype, dense: bool) -> None:
    net = Net(dense)
    u = torch.randn(5, batch, 2)
    expected, expected_last = net(u)
    expected.square().sum().backward()
    cast = copy.deepcopy(net).to(dtype)
    assert cast.units.ptr.dtype == torch.int32
    y, last = cast(u.to(dtype))
    assert y.dtype == dtype
    assert last.dtype == torch.promote_types(dtype, torch.float32)
    y, last = cast(u.to(dtype), last)  # the state can go on
    y, last = cast(u.to(dtype))
    y.square().sum().backward()
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    torch.testing.assert_close(last.float(), expected_last, rtol=0.05, atol=0.05)
    for p, q in zip(cast.parameters(), net.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert p.grad.dtype == dtype
        assert (p.grad.float() - q.grad).norm() <= 0.1 * q.grad.norm()


@pytest.mark.parametrize("dense", KERNELS)
@pytest.mark.parametrize("batch", [1, 4, 16, 70])
def test_under_autocast(batch: int, dense: bool) -> None:
    net = Net(dense)
    u = torch.randn(4, batch, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y, last = net(u)
        assert last.dtype == torch.float32
        y.float().sum().backward()
        with torch.no_grad():
            torch.testing.assert_close(net(u)[1], last)
    expected = torch.autograd.grad(net(u)[0].sum(), list(net.parameters()))
    for p, wanted in zip(net.parameters(), expected, strict=True):
        assert p.grad is not None
        assert (p.grad - wanted).norm() <= 0.1 * wanted.norm()


@pytest.mark.parametrize("dense", KERNELS)
def test_copies_pickles_and_checkpoints(dense: bool) -> None:
    net = Net(dense)
    u = torch.randn(4, 3, 2)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = Net(not dense)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(other(u), net(u))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(u)[0], net(u)[0])
        twin(u)[0].sum().backward()
        with torch.no_grad():
            for p in twin.parameters():
                p.zero_()
        assert not torch.equal(twin(u)[0], net(u)[0])


def test_the_state_holds_constants_and_their_sharing_and_no_plan() -> None:
    assert list(Net().units.state_dict()) == ["log_tau", "bias", "tau_of", "bias_of"]
    held = LeakyRates(N, [])
    assert list(held.state_dict()) == ["log_tau"]


@pytest.mark.parametrize("name", ["tau_of", "bias_of"])
def test_constants_of_other_units_are_refused(name: str) -> None:
    index = torch.arange(N).roll(1)
    moved: dict[str, Any] = {name: index}
    net, other = Net(), Net(**moved)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(RuntimeError, match=f"units.{name} differs"):
        net.load_state_dict(other.state_dict())
    assert torch.equal(net.units.log_tau, before["units.log_tau"])
    without = {k: v for k, v in other.state_dict().items() if not k.endswith(name)}
    with pytest.raises(RuntimeError, match=f'Missing key.*"units.{name}"'):
        net.load_state_dict(without)


@pytest.mark.parametrize("dense", KERNELS)
def test_moves_to_meta(dense: bool) -> None:
    net = Net(dense).to("meta")
    u = torch.empty(4, 3, 2, device="meta")
    for context in (torch.enable_grad, torch.no_grad):
        with context():
            y, last = net(u)
        assert (y.shape, last.shape) == ((4, 3, 2), (3, N))
        assert y.is_meta


@pytest.mark.parametrize("dense", KERNELS)
def test_made_on_meta_and_filled_later(dense: bool) -> None:
    net, u = Net(dense), torch.randn(4, 3, 2)
    filled = Net(dense).to("meta").to_empty(device="cpu")
    filled.inputs, filled.outputs = net.inputs, net.outputs  # the test's own
    filled.load_state_dict(net.state_dict())
    assert torch.equal(filled(u)[0], net(u)[0])
    pieces: Layers = [(layer_of(random_mask()), 0, 0), (junctions_of(random_mask()), 0, 0)]
    for some in (pieces, pieces[:1], []):
        with torch.device("meta"):
            units = LeakyRates(N, some, dense=dense, tau_of=torch.arange(N, device="cpu"))
        ptr: Tensor = LeakyRates(N, some, dense=dense).kept["ptr"]
        assert torch.equal(units.kept["ptr"], ptr)


def test_bad_arguments_are_refused() -> None:
    layers: Layers = [(layer_of(random_mask()), 0, 0)]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"activation": "thanh"}, "activation must be one of .*, not 'thanh'"),
        ({"tau_ms": 0.0}, "must be positive, not 0.0 and"),
        ({"dt_ms": -1.0}, "must be positive, not .* and -1.0"),
        ({"tau_ms": float("inf")}, "must be positive, not inf and"),
        ({"tau_of": torch.arange(3)}, r"expected \(14,\)"),
        ({"bias_of": torch.arange(3)}, r"expected \(14,\)"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            LeakyRates(N, layers, **options)
    with pytest.raises(ValueError, match="bias"):
        LeakyRates(N, [(layer_of(random_mask(), bias=True), 0, 0)])
    units = units_of(layers)
    drive, unit = torch.zeros(2, 3, 1).double(), torch.arange(1)
    with pytest.raises(ValueError, match=r"state is \(4, 14\)"):
        units(drive, weights_of(layers), unit, unit, torch.zeros(4, N))
    with pytest.raises(ValueError, match=r"expected \(steps, batch, 2\)"):
        units(drive, weights_of(layers), torch.arange(2), unit)


def test_use_is_quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in (1, 2, 20):
            Net()(torch.randn(4, batch, 2))[0].sum().backward()
