"""The sparse layer against a dense float64 reference, and what must not leak from it."""

import copy
import importlib.util
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor, nn

from connectome_compiler.nn import edge_linear
from connectome_compiler.nn.edge_linear import KERNELS, EdgeLinear

Mask = npt.NDArray[np.bool_]
BATCHES = (1, 2, 7, 12, 13, 64)

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))
kernels = st.sampled_from(KERNELS)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep torch from waiting for a second core to add up thirty numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compressed(mask: Mask) -> tuple[int, Tensor, Tensor]:
    """Return ``n_pre``, ``ptr`` and ``pre`` of a mask ``[post, pre]``."""
    ptr = np.concatenate(([0], np.cumsum(mask.sum(axis=1))))
    return mask.shape[1], torch.from_numpy(ptr), torch.from_numpy(np.nonzero(mask)[1])


def layer_of(mask: Mask, **options: Any) -> EdgeLinear:
    return EdgeLinear(*compressed(mask), **options)


def random_mask(n_post: int = 20, n_pre: int = 30, density: float = 0.3) -> Mask:
    mask = np.random.default_rng(0).random((n_post, n_pre)) < density
    mask[3], mask[:, 5] = False, False  # a target without input, a source without output
    return mask


def draw_signs(mask: Mask, choices: tuple[int, ...], seed: int = 0) -> Tensor:
    drawn = np.random.default_rng(seed).choice(choices, mask.sum())
    return torch.tensor(drawn)


def effective_matrix(mask: Mask, weight: Tensor, sign: Tensor) -> npt.NDArray[np.float64]:
    """Build ``[post, pre]`` slowly, one connection at a time, in float64."""
    matrix = np.zeros(mask.shape)
    signs = sign.expand(weight.shape)
    for k, (i, j) in enumerate(zip(*np.nonzero(mask), strict=True)):
        w, s = float(weight[k]), int(signs[k])
        matrix[i, j] = s * abs(w) if s else w
    return matrix


def check_against_reference(mask: Mask, layer: EdgeLinear, batch: int, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(batch)
    dtype = layer.weight.dtype
    x = torch.randn(batch, mask.shape[1], generator=generator, dtype=dtype, requires_grad=True)
    g = torch.randn(batch, mask.shape[0], generator=generator, dtype=dtype)
    matrix = effective_matrix(mask, layer.weight.detach(), layer.sign)
    xs, gs = x.detach().double().numpy(), g.double().numpy()
    raw, sign = (
        layer.weight.detach().double().numpy(),
        layer.sign.expand(layer.weight.shape).numpy(),
    )
    chain = np.where(sign == 0, 1.0, sign * np.sign(raw))

    y = layer(x)
    y.backward(g)

    assert x.grad is not None
    assert layer.weight.grad is not None
    for actual, expected in (
        (y, xs @ matrix.T),
        (x.grad, gs @ matrix),
        (layer.weight.grad, (gs.T @ xs)[mask] * chain),
    ):
        found = actual.detach().double().numpy()
        assert found.shape == expected.shape
        assert np.linalg.norm(found - expected) <= tolerance * (1e-30 + np.linalg.norm(expected))


@given(masks, st.sampled_from([(0,), (1,), (-1,), (-1, 0, 1)]), st.integers(0, 99))
def test_raw_weights_start_as_sizes_where_a_sign_holds(
    mask: Mask, signs: tuple[int, ...], seed: int
) -> None:
    torch.manual_seed(seed)
    sign = draw_signs(mask, signs)
    layer = layer_of(mask, sign=sign)
    torch.manual_seed(seed)
    drawn = layer_of(mask).weight.detach()
    assert torch.equal(layer.weight, torch.where(sign == 0, drawn, drawn.abs()))
    assert torch.equal(layer.effective_weight(), torch.where(sign == 0, drawn, sign * drawn.abs()))


def test_adding_to_raw_weights_strengthens_every_synapse_with_a_sign() -> None:
    mask = random_mask()
    layer = layer_of(mask, sign=draw_signs(mask, (-1, 1)))
    before = layer.effective_weight().detach().abs()
    with torch.no_grad():
        layer.weight.add_(1e-3)  # as a Hebbian rule does between steps
    assert bool((layer.effective_weight().abs() > before).all())


# --- the product and its gradients ----------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(masks, kernels, st.sampled_from(BATCHES), st.sampled_from([(0,), (1,), (-1,), (-1, 0, 1)]))
def test_agrees_with_a_dense_matrix(
    mask: Mask, kernel: str, batch: int, signs: tuple[int, ...]
) -> None:
    sign = draw_signs(mask, signs)
    layer = layer_of(mask, kernel=kernel, sign=sign, dtype=torch.float64)
    check_against_reference(mask, layer, batch, tolerance=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("batch", BATCHES)
def test_float32_is_accurate(kernel: str, batch: int) -> None:
    mask = random_mask(200, 300, 0.2)
    check_against_reference(mask, layer_of(mask, kernel=kernel), batch, tolerance=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_many_strips_agree(kernel: str, density: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_linear, "STRIP_CELLS", 100)
    mask = random_mask(40, 25, 0.1) if density < 1 else np.ones((40, 25), bool)
    layer = layer_of(mask, kernel=kernel, dtype=torch.float64)
    check_against_reference(mask, layer, 13, tolerance=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
def test_wide_batches_are_tiled_without_loss(kernel: str) -> None:
    mask = random_mask()
    check_against_reference(mask, layer_of(mask, kernel=kernel, dtype=torch.float64), 193, 1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("columns", [1, 3, 14])
@pytest.mark.parametrize("signs", [(0,), (-1, 0, 1)])
def test_gradients_of_any_order(kernel: str, columns: int, signs: tuple[int, ...]) -> None:
    mask = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 1, 1]], bool)
    layer = layer_of(mask, kernel=kernel, sign=draw_signs(mask, signs), dtype=torch.float64)
    x = torch.randn(columns, 3, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().requires_grad_()

    def call(x: Tensor, weight: Tensor) -> Tensor:
        y = torch.func.functional_call(layer, {"weight": weight}, (x,))
        assert isinstance(y, Tensor)
        return y

    assert torch.autograd.gradcheck(call, (x, weight))
    assert torch.autograd.gradgradcheck(call, (x, weight), fast_mode=True)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("columns", [1, 4, 16])
def test_operators_keep_the_contract_of_torch(kernel: str, columns: int) -> None:
    mask = random_mask()
    layer = layer_of(mask, kernel=kernel)
    plan = layer.tptr, layer.tpost, layer.order, layer.cuts
    structure = layer.ptr, layer.pre, *plan, layer.n_pre
    x = torch.randn(30, columns, requires_grad=True)
    g = torch.randn(20, columns, requires_grad=True)
    operators = getattr(torch.ops, edge_linear.OP_LIBRARY)
    product, gradient = operators.connection_product, operators.connection_gradient
    torch.library.opcheck(product, (x, layer.weight, *structure, False))
    torch.library.opcheck(product, (g, layer.weight, *structure, True))
    torch.library.opcheck(gradient, (g, x, *structure))


@pytest.mark.parametrize("kernel", KERNELS)
def test_only_the_gradients_asked_for(kernel: str) -> None:
    layer = layer_of(random_mask(), kernel=kernel)
    layer(torch.randn(4, 30)).sum().backward()
    assert layer.weight.grad is not None
    layer.weight.requires_grad_(False).grad = None
    x = torch.randn(4, 30, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


# --- shapes, precisions, bad numbers --------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,), (2, 3), (2, 0), (2, 3, 4)])
def test_leading_dimensions(kernel: str, shape: tuple[int, ...]) -> None:
    mask = random_mask()
    layer = layer_of(mask, kernel=kernel, bias=True)
    x = torch.randn(*shape, 30, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    dense = layer.sparse_weight().to_dense()
    torch.testing.assert_close(y, nn.functional.linear(x, dense, layer.bias))
    torch.testing.assert_close(x.grad, dense.sum(0).expand_as(x))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 3), (4, 5)])
@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize("batch", [0, 1, 3, 20])
def test_no_connection_and_one_neuron(
    kernel: str, shape: tuple[int, int], present: bool, batch: int
) -> None:
    mask = np.full(shape, present)
    layer = layer_of(mask, kernel=kernel, bias=True, dtype=torch.float64)
    x = torch.randn(batch, shape[1], dtype=torch.float64, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    dense = layer.sparse_weight().to_dense()
    torch.testing.assert_close(y, nn.functional.linear(x, dense, layer.bias))
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert layer.weight.grad.shape == (mask.sum(),)
    if not present:
        assert (x.grad == 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("batch", [1, 20])
def test_other_precisions(kernel: str, dtype: torch.dtype, batch: int) -> None:
    mask = random_mask()
    layer = layer_of(mask, kernel=kernel, bias=True, sign=draw_signs(mask, (-1, 1)))
    x = torch.randn(batch, 30)
    expected = layer(x)
    cast = copy.deepcopy(layer).to(dtype)
    assert cast.ptr.dtype == cast.pre.dtype == torch.int32
    assert cast.sign.dtype == torch.int8
    xs = x.to(dtype).requires_grad_()
    y = cast(xs)
    y.sum().backward()
    assert y.dtype == dtype
    assert xs.grad is not None
    assert cast.weight.grad is not None
    assert xs.grad.dtype == cast.weight.grad.dtype == dtype
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.02)
    expected.sum().backward()
    torch.testing.assert_close(cast.weight.grad.float(), layer.weight.grad, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kernel", KERNELS)
def test_under_autocast(kernel: str) -> None:
    net = nn.Sequential(nn.Linear(4, 30), layer_of(random_mask(), kernel=kernel))
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_a_bad_number_reaches_only_connected_neurons(kernel: str, bad: float, batch: int) -> None:
    mask = random_mask()
    layer = layer_of(mask, kernel=kernel)
    x = torch.randn(batch, 30)
    x[:, 7] = bad
    x.requires_grad_()
    y = layer(x)
    assert np.array_equal((~y.isfinite()).any(0).numpy(), mask[:, 7])

    g = torch.randn(batch, 20)
    g[:, 4] = bad
    torch.autograd.backward(y, g, inputs=[x])
    assert x.grad is not None
    assert np.array_equal((~x.grad.isfinite()).any(0).numpy(), mask[4])


def test_a_wrong_width_is_refused() -> None:
    layer = layer_of(random_mask())
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 30\)"):
        layer(torch.randn(4, 20))


# --- structure ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(masks, kernels)
def test_sparse_weight_is_exactly_the_mask(mask: Mask, kernel: str) -> None:
    layer = layer_of(mask, kernel=kernel)
    with torch.no_grad():
        layer.weight[::2] = 0
    sparse = layer.sparse_weight()
    assert sparse.is_coalesced()
    assert np.array_equal(sparse.indices().numpy(), np.stack(np.nonzero(mask)))
    assert torch.equal(sparse.values(), layer.effective_weight())
    assert sparse.shape == mask.shape


@settings(max_examples=40, deadline=None)
@given(masks, kernels)
def test_a_pulse_comes_out_at_the_targets(mask: Mask, kernel: str) -> None:
    layer = layer_of(mask, kernel=kernel, sign=-1)
    nn.init.constant_(layer.weight, 0.5)
    assert np.array_equal(layer(torch.eye(mask.shape[1])).T < 0, mask)


def _refuse_cases() -> dict[str, tuple[list[int], list[int]]]:
    return {
        "go from 0": ([1, 1, 2], [0, 1]),
        "number of connections, 2": ([0, 1, 1], [0, 1]),
        "decrease": ([0, 2, 1, 2], [0, 1]),
        "must lie in 0": ([0, 1, 2], [0, 3]),
        "found -1": ([0, 1, 2], [-1, 0]),
        "ascend": ([0, 2, 2], [1, 0]),
        "without repeats": ([0, 0, 2], [1, 1]),
    }


@pytest.mark.parametrize("message", list(_refuse_cases()))
def test_malformed_connections_are_refused(message: str) -> None:
    ptr, pre = _refuse_cases()[message]
    with pytest.raises(ValueError, match=message):
        EdgeLinear(3, torch.tensor(ptr), torch.tensor(pre))


def test_other_bad_arguments_are_refused() -> None:
    n_pre, ptr, pre = compressed(random_mask())
    with pytest.raises(ValueError, match="list of integers"):
        EdgeLinear(n_pre, ptr, pre.float())
    with pytest.raises(ValueError, match="0 to the number"):
        EdgeLinear(n_pre, torch.empty(0, dtype=torch.int32), pre)
    with pytest.raises(ValueError, match="sign is"):
        EdgeLinear(n_pre, ptr, pre, sign=torch.ones(3))
    with pytest.raises(ValueError, match="must be"):
        EdgeLinear(n_pre, ptr, pre, sign=torch.full(pre.shape, 2))
    with pytest.raises(ValueError, match="start is"):
        EdgeLinear(n_pre, ptr, pre, start=torch.ones(3))
    with pytest.raises(ValueError, match="no kernel 'desne'"):
        EdgeLinear(n_pre, ptr, pre, kernel="desne")


def test_indices_too_large_for_int32_are_refused() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        EdgeLinear(3, torch.tensor([0, 1]), torch.tensor([2**32]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_cost_of_a_connection_in_bytes(kernel: str) -> None:
    mask = random_mask(100, 100, 0.3)
    shared, own = (
        layer_of(mask, kernel=kernel, sign=sign) for sign in (1, draw_signs(mask, (-1, 1)))
    )
    for layer, limit in ((shared, 28), (own, 29)):
        held: list[Tensor] = list(layer.kept.values())
        per_connection = [t for t in held if t.shape == layer.weight.shape]
        structure = sum(t.element_size() for t in per_connection)
        training = 4 * layer.weight.element_size()  # weight, gradient, two moments of Adam
        assert structure + training <= limit
        rest = sum(t.numel() for t in held) - len(per_connection) * mask.sum()
        assert rest <= sum(mask.shape) + 3  # two pointers, one sign; nothing of the order n * n


# --- initial values -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_start_within_one_over_root_of_the_fan_in(kernel: str) -> None:
    mask = np.random.default_rng(1).random((50, 400)) < np.linspace(0.02, 1, 50)[:, None]
    layer = layer_of(mask, bias=True, kernel=kernel)
    bound = 1 / np.sqrt(mask.sum(1))
    matrix = layer.sparse_weight().to_dense().detach().abs().numpy()
    assert (matrix <= bound[:, None]).all()
    assert (matrix.max(1) > 0.5 * bound).all()
    assert layer.bias is not None
    assert (layer.bias.detach().abs().numpy() <= bound).all()
    assert layer.weight.detach().mean().abs() < 0.01


def test_no_fan_in_no_bias() -> None:
    layer = layer_of(random_mask(), bias=True)
    assert layer.bias is not None
    assert layer.bias[3] == 0
    assert (layer.bias != 0).sum() == 19


def test_draws_follow_the_generator_of_torch() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(layer_of(random_mask(), bias=True))
    assert torch.equal(drawn[0].weight, drawn[1].weight)
    assert not torch.equal(drawn[0].weight, layer_of(random_mask()).weight)


def test_starts_from_data() -> None:
    mask = random_mask()
    start = torch.linspace(-2, 3, int(mask.sum()))
    layer = layer_of(mask, start=start, sign=-1, bias=True)
    assert torch.equal(layer.weight, start)
    assert torch.equal(layer.effective_weight(), -start.abs())
    start.zero_()
    assert (layer.weight != 0).all()


# --- signs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signs", [(1,), (-1,), (-1, 1), (-1, 0, 1)])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zero_weights_can_be_trained(signs: tuple[int, ...], zero: float) -> None:
    mask = random_mask()
    sign = draw_signs(mask, signs)
    layer = layer_of(mask, sign=sign)
    nn.init.constant_(layer.weight, zero)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
    layer(torch.rand(8, 30)).sum().backward()
    assert layer.weight.grad is not None
    assert (layer.weight.grad != 0).all()
    optimiser.step()
    assert_nothing_leaks(layer, mask, sign)
    assert (layer.effective_weight() != 0).all()


def test_equal_signs_are_stored_once() -> None:
    mask = random_mask()
    assert layer_of(mask, sign=draw_signs(mask, (-1,))).sign.shape == ()
    assert layer_of(mask, sign=draw_signs(mask, (-1, 1))).sign.shape == (mask.sum(),)


OPTIMISERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.5, weight_decay=0.1),
    "Adam fused": lambda p: torch.optim.Adam(p, lr=0.5, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.5, weight_decay=0.5),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.5, weight_decay=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.5, weight_decay=0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.5, weight_decay=0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=5.0, weight_decay=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.5, weight_decay=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.5, momentum=0.9, weight_decay=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.5),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.5, weight_decay=0.1),
    "LBFGS": lambda p: torch.optim.LBFGS(p, lr=1.0, max_iter=3),
}
INITIALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "as built": lambda p: p,
    "normal": lambda p: nn.init.normal_(p, std=2.0),
    "uniform": lambda p: nn.init.uniform_(p, -3, 3),
    "constant": lambda p: nn.init.constant_(p, -1.0),
}


def assert_nothing_leaks(layer: EdgeLinear, mask: Mask, sign: Tensor) -> None:
    """Check, by pulses and by the listed weights, that only the connections act, by their sign."""
    matrix = layer(torch.eye(mask.shape[1])).T.detach().numpy()
    assert np.isfinite(matrix).all()
    assert (matrix[~mask] == 0).all()
    wanted = sign.expand(int(mask.sum())).numpy()
    assert (matrix[mask] * wanted >= 0).all()
    sparse = layer.sparse_weight()
    assert np.array_equal(sparse.indices().numpy(), np.stack(np.nonzero(mask)))
    assert (sparse.values().detach().numpy() * wanted >= 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("initialiser", INITIALISERS)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_makes_no_connection_and_flips_no_sign(
    optimiser: str, initialiser: str, kernel: str
) -> None:
    torch.manual_seed(0)
    mask = random_mask()
    sign = draw_signs(mask, (-1, 0, 1))
    layer = layer_of(mask, sign=sign, kernel=kernel)
    for parameter in layer.parameters():
        INITIALISERS[initialiser](parameter)
    before = layer.weight.detach().clone()
    optim = OPTIMISERS[optimiser](list(layer.parameters()))
    x, target = torch.randn(8, 30), 10 * torch.randn(8, 20)

    def loss() -> Tensor:
        optim.zero_grad()
        error: Tensor = (layer(x) - target).pow(2).mean()
        error.backward()
        return error

    for _ in range(3):
        optim.step(loss)  # type: ignore[arg-type]
        assert_nothing_leaks(layer, mask, sign)
    assert not torch.equal(layer.weight, before)

    again = layer_of(mask, sign=sign, kernel=kernel)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.effective_weight(), layer.effective_weight())
    assert_nothing_leaks(again, mask, sign)


# --- saving and loading ---------------------------------------------------------------------------


def stored(layer: nn.Module) -> dict[str, Tensor]:
    """Return the state after a way through a file."""
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    loaded: dict[str, Tensor] = torch.load(file, weights_only=True)
    return loaded


def test_the_state_holds_the_structure_and_no_plan() -> None:
    layer = layer_of(random_mask(), bias=True, sign=draw_signs(random_mask(), (-1, 1)))
    assert list(layer.state_dict()) == ["weight", "bias", "ptr", "pre", "sign"]


@pytest.mark.parametrize("saved_by", KERNELS)
@pytest.mark.parametrize("loaded_by", KERNELS)
@pytest.mark.parametrize("assign", [False, True])
def test_checkpoints_do_not_depend_on_the_kernel(
    saved_by: str, loaded_by: str, assign: bool
) -> None:
    mask = random_mask()
    sign = draw_signs(mask, (-1, 1))
    one = layer_of(mask, kernel=saved_by, bias=True, sign=sign)
    other = layer_of(mask, kernel=loaded_by, bias=True, sign=sign)
    other.load_state_dict(stored(one), assign=assign)
    x = torch.randn(5, 30)
    torch.testing.assert_close(other(x), one(x))


def other_structures() -> dict[str, EdgeLinear]:
    mask = random_mask()
    moved = mask.copy()
    row = int(np.nonzero(mask.any(1) & ~mask.all(1))[0][0])
    first, free = np.nonzero(mask[row])[0][0], np.nonzero(~mask[row])[0][0]
    moved[row, first], moved[row, free] = False, True
    swapped = mask.copy()
    swapped[[0, 1]] = mask[[1, 0]]
    return {
        "one connection moved": layer_of(moved, sign=1),
        "two targets swapped": layer_of(swapped, sign=1),
        "transposed": layer_of(mask.T, sign=1),
        "other sign": layer_of(mask, sign=-1),
        "free": layer_of(mask),
        "signs by connection": layer_of(mask, sign=draw_signs(mask, (-1, 1))),
        "fewer connections": layer_of(mask & (np.arange(30) > 3), sign=1),
    }


@pytest.mark.parametrize("other", list(other_structures()))
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_weights_of_another_connectome_are_refused(other: str, strict: bool, assign: bool) -> None:
    net = nn.Sequential(layer_of(random_mask(), sign=1))
    before = copy.deepcopy(net.state_dict())
    state = stored(nn.Sequential(other_structures()[other]))
    with pytest.raises(RuntimeError, match=r"0\.(ptr|pre|sign) differs"):
        net.load_state_dict(state, strict=strict, assign=assign)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["ptr", "pre", "sign"])
def test_weights_without_structure_are_refused(name: str) -> None:
    layer = layer_of(random_mask())
    state = {k: v for k, v in stored(layer).items() if k != name}
    with pytest.raises(RuntimeError, match=f'Missing key.*"{name}"'):
        layer.load_state_dict(state)


def test_parameters_alone_load_if_torch_need_not_be_strict() -> None:
    layer, other = layer_of(random_mask()), layer_of(random_mask())
    held = [other.ptr, other.pre, other.sign]
    found = other.load_state_dict(dict(layer.named_parameters()), strict=False)
    assert found.missing_keys == ["ptr", "pre", "sign"]
    assert torch.equal(other.weight, layer.weight)
    for now, before in zip([other.ptr, other.pre, other.sign], held, strict=True):
        assert now is before


def test_indices_of_another_type_are_refused() -> None:
    layer = layer_of(random_mask())
    state = stored(layer)
    state["pre"] = state["pre"].long() + 2**32  # the same, were it cut to 32 bits
    with pytest.raises(RuntimeError, match="pre differs"):
        layer.load_state_dict(state)


def test_missing_and_unexpected_weights_are_reported() -> None:
    layer = layer_of(random_mask())
    state = stored(layer)
    state["extra"] = state.pop("weight")
    with pytest.raises(RuntimeError, match=r'(?s)Missing.*"weight".*Unexpected.*"extra"|Unexp'):
        layer.load_state_dict(state)


@pytest.mark.parametrize("kernel", KERNELS)
def test_copies_and_pickles(kernel: str) -> None:
    mask = random_mask()
    layer = layer_of(mask, kernel=kernel, bias=True, sign=draw_signs(mask, (-1, 1)))
    x = torch.randn(5, 30)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        twin(x).sum().backward()
        with torch.no_grad():
            twin.weight.zero_()
        assert not torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("kernel", KERNELS)
def test_moves_with_to(kernel: str) -> None:
    layer = layer_of(random_mask(), kernel=kernel).to("meta")
    assert {t.device.type for t in layer.parameters()} == {"meta"}
    assert layer(torch.empty(4, 30, device="meta")).shape == (4, 20)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("by", ["context", "argument"])
def test_made_on_meta_it_knows_its_connections(kernel: str, shared: bool, by: str) -> None:
    mask = random_mask()
    n_pre, ptr, pre = compressed(mask)
    sign = 1 if shared else draw_signs(mask, (-1, 0, 1))
    options: dict[str, Any] = {"sign": sign, "bias": True, "kernel": kernel}
    if by == "argument":
        layer = EdgeLinear(n_pre, ptr, pre, **options, device="meta")
    else:
        with torch.device("meta"):
            layer = EdgeLinear(n_pre, ptr, pre, **options)
    assert {t.device.type for t in layer.parameters()} == {"meta"}
    assert layer(torch.empty(4, 30, device="meta")).shape == (4, 20)
    assert layer.sparse_weight().is_meta
    made = EdgeLinear(n_pre, ptr, pre, **options)
    layer.to_empty(device="cpu").load_state_dict(made.state_dict())
    x = torch.randn(4, 30)
    assert torch.equal(layer(x), made(x))
    with pytest.raises(ValueError, match="no numbers on the meta device: give device='meta'"):
        EdgeLinear(n_pre, ptr.to("meta"), pre.to("meta"))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("signs", [(1,), (-1, 1)])
def test_runs_where_it_is_under_a_meta_default(kernel: str, signs: tuple[int, ...]) -> None:
    mask = random_mask()
    layer = EdgeLinear(*compressed(mask), sign=draw_signs(mask, signs), kernel=kernel).double()
    with torch.device("meta"):
        bad = layer(torch.full((3, 30), float("nan"), device="cpu", dtype=torch.float64))
        layer.sparse_weight()
    assert bad.device.type == "cpu"
    check_against_reference(mask, layer, 3, tolerance=1e-13)


def test_arrays_are_checked_before_they_move_to_meta() -> None:
    n_pre, ptr, pre = compressed(random_mask())
    with pytest.raises(ValueError, match="must lie in"):
        EdgeLinear(n_pre, ptr, pre + n_pre, device="meta")
    with pytest.raises(ValueError, match="sign must be"):
        EdgeLinear(n_pre, ptr, pre, sign=2, device="meta")


# --- function transforms --------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("signs", [(0,), (-1, 0, 1)])
def test_transforms_of_torch_func(kernel: str, signs: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random((4, 6)) < 0.5
    layer = layer_of(mask, kernel=kernel, sign=draw_signs(mask, signs), dtype=torch.float64)
    x, weight = torch.randn(3, 6, dtype=torch.float64), layer.weight.detach()
    place, slope = torch.from_numpy(mask).nonzero(as_tuple=True), layer.effective_weight() / weight

    def sparse(x: Tensor, weight: Tensor) -> Any:
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    def dense(x: Tensor, weight: Tensor) -> Any:
        return x @ weight.new_zeros(mask.shape).index_put(place, weight * slope.detach()).T

    found: list[Tensor] = []
    expected: list[Tensor] = []
    for results, call in ((found, sparse), (expected, dense)):

        def loss(x: Tensor, weight: Tensor, call: Callable[..., Any] = call) -> Any:
            return call(x, weight).square().sum()

        func = torch.func
        per_sample = func.vmap(func.grad(loss, (0, 1)), (0, None))
        per_network = func.vmap(per_sample, (None, 0))
        results += [
            *func.grad(loss, (0, 1))(x, weight),
            *per_sample(x, weight),
            *per_network(x, torch.stack((weight, 2 * weight))),
            *func.jacrev(call, (0, 1))(x, weight),
            func.jacrev(func.grad(loss, 0), 1)(x, weight),
            func.vmap(call, (1, None))(x.T.contiguous(), weight),
        ]
        with torch.no_grad():
            results.append(func.vmap(call, (0, None))(x, weight))
    torch.testing.assert_close(found, expected)


# --- compilers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_in_one_graph(kernel: str, backend: str) -> None:
    torch._dynamo.reset()
    mask = random_mask()
    layer = layer_of(mask, kernel=kernel, bias=True, sign=draw_signs(mask, (-1, 0, 1)))
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    for shape in ((4, 30), (9, 30), (2, 3, 30), (30,), (1, 30)):
        x = torch.randn(*shape, requires_grad=True)
        expected = torch.autograd.grad(layer(x).square().sum(), (x, layer.weight))
        y = compiled(x)
        torch.testing.assert_close(y, layer(x))
        torch.testing.assert_close(
            torch.autograd.grad(y.square().sum(), (x, layer.weight)), expected
        )


@pytest.mark.parametrize("kernel", KERNELS)
def test_exports_with_any_batch(kernel: str) -> None:
    layer = layer_of(random_mask(), kernel=kernel, bias=True, sign=1)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (torch.randn(4, 30),), dynamic_shapes=({0: batch},))
    for n in (2, 17):
        x = torch.randn(n, 30)
        torch.testing.assert_close(program.module()(x), layer(x))


# --- the file as a part of an emitted module ------------------------------------------------------


def imported(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_imports_twice_and_under_another_library(tmp_path: Path) -> None:
    source = Path(edge_linear.__file__).read_text(encoding="utf-8")
    line = f'OP_LIBRARY = "{edge_linear.OP_LIBRARY}"'
    assert source.count(line) == 1
    copied = tmp_path / "copied.py"
    copied.write_text(source, encoding="utf-8")
    renamed = tmp_path / "renamed.py"
    renamed.write_text(source.replace(line, 'OP_LIBRARY = "connectome_0a1b2c"'), encoding="utf-8")

    arguments, x = compressed(random_mask()), torch.randn(6, 30)
    start = torch.randn(len(arguments[2]))
    first = EdgeLinear(*arguments, start=start)
    expected = first(x)
    for path in (copied, copied, renamed):
        module = imported(path, f"again_{path.stem}")
        for layer in (module.EdgeLinear(*arguments, start=start), first):
            assert torch.equal(layer(x), expected)
            layer(x).sum().backward()
    assert hasattr(torch.ops.connectome_0a1b2c, "connection_product")


def test_the_source_needs_only_torch() -> None:
    source = Path(edge_linear.__file__).read_text(encoding="utf-8")
    lines = [s for s in source.splitlines() if s.startswith(("import ", "from "))]
    others = [s for s in lines if not s.startswith("from connectome_compiler.nn.")]
    modules = {s.split()[1].split(".")[0] for s in others}
    assert modules <= {"collections", "functools", "math", "torch", "typing", "warnings"}


def test_use_is_quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kernel in KERNELS:
            layer = layer_of(random_mask(), kernel=kernel, sign=1)
            for batch in (1, 2, 20):
                layer(torch.randn(batch, 30)).sum().backward()
            layer.sparse_weight()
