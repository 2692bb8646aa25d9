"""Layers whose connections share weights, against layers with weights of their own."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from connectome_compiler.nn.edge_linear import KERNELS, EdgeLinear
from connectome_compiler.nn.tied_edge_linear import GapJunctions, TiedEdgeLinear

Mask = npt.NDArray[np.bool_]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Keep torch from waiting for a second core to add up thirty numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_mask(n_post: int = 12, n_pre: int = 15, density: float = 0.3, seed: int = 0) -> Mask:
    mask = np.random.default_rng(seed).random((n_post, n_pre)) < density
    mask[3 % n_post], mask[:, 5 % n_pre] = False, False
    return mask


def compressed(mask: Mask) -> tuple[int, Tensor, Tensor]:
    """Return ``n_pre``, ``ptr`` and ``pre`` of a mask ``[post, pre]``."""
    ptr = np.concatenate(([0], np.cumsum(mask.sum(axis=1))))
    return mask.shape[1], torch.from_numpy(ptr), torch.from_numpy(np.nonzero(mask)[1])


def tied(mask: Mask, n_groups: int = 4, seed: int = 0, **options: Any) -> TiedEdgeLinear:
    """Return a layer with drawn groups, scales and signs, in float64."""
    rng, n = np.random.default_rng(seed), int(mask.sum())
    group = rng.integers(0, n_groups, n)
    group[:n_groups] = np.arange(n_groups)[:n]  # none is empty
    given: dict[str, Any] = {
        "scale": torch.from_numpy(rng.poisson(4, n) + 1.0),
        "sign": torch.from_numpy(rng.choice([-1, 0, 1], n)),
    } | options
    return TiedEdgeLinear(*compressed(mask), torch.from_numpy(group), **given).double()


def junctions(mask: Mask, **options: Any) -> GapJunctions:
    """Return gap junctions between the pairs in ``mask``, both ways, one weight for each pair."""
    both = mask | mask.T
    post, pre = np.nonzero(both)
    pair = np.minimum(post, pre) * len(mask) + np.maximum(post, pre)
    group = torch.from_numpy(np.unique(pair, return_inverse=True)[1])
    return GapJunctions(*compressed(both), group, **options)


def expanded(layer: TiedEdgeLinear) -> EdgeLinear:
    """Return the layer with a weight for each connection, of the same value."""
    scale = 1.0 if layer.scale is None else layer.scale
    start = layer.weight.detach()[layer.group.long()] * scale
    return EdgeLinear(
        layer.n_pre,
        layer.ptr,
        layer.pre,
        sign=layer.sign,
        kernel=layer.kernel,
        start=start,
        dtype=torch.float64,  # from the beginning: products of scales are not rounded
    )


# --- the product and its gradients ----------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 99),
    st.sampled_from(KERNELS),
    st.sampled_from([1, 3, 20]),
    st.sampled_from([-1, 0, 1, None]),
    st.booleans(),
)
def test_equals_a_layer_with_expanded_weights(
    seed: int, kernel: str, batch: int, sign: int | None, scaled: bool
) -> None:
    options: dict[str, Any] = {"kernel": kernel}
    if sign is not None:
        options["sign"] = sign
    if not scaled:
        options["scale"] = None
    layer = tied(random_mask(seed=seed), seed=seed, **options)
    alone = expanded(layer)
    x = torch.randn(batch, 15).double().requires_grad_()
    g = torch.randn(batch, 12).double()
    found, wanted = layer(x), alone(x)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
    dx, dw = torch.autograd.grad((found * g).sum(), (x, layer.weight))
    dx_alone, dw_alone = torch.autograd.grad((wanted * g).sum(), (x, alone.weight))
    torch.testing.assert_close(dx, dx_alone)
    scale = 1.0 if layer.scale is None else layer.scale
    summed = torch.zeros_like(layer.weight).index_add(0, layer.group.long(), dw_alone * scale)
    torch.testing.assert_close(dw, summed)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(kernel: str) -> None:
    layer = tied(random_mask(4, 5, 0.6), kernel=kernel)
    x = torch.randn(3, 5).double().requires_grad_()
    weight = layer.weight.detach().requires_grad_()

    def call(x: Tensor, weight: Tensor) -> Any:
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(call, (x, weight))
    assert torch.autograd.gradgradcheck(call, (x, weight), fast_mode=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_connection(kernel: str) -> None:
    mask = np.zeros((3, 4), bool)
    layer = TiedEdgeLinear(*compressed(mask), torch.empty(0, dtype=torch.int64), kernel=kernel)
    assert layer.weight.numel() == 0
    assert torch.equal(layer(torch.randn(2, 4)), torch.zeros(2, 3))


@pytest.mark.parametrize("start", [2.0, -2.0, 0.0])
def test_signs_hold_through_training(start: float) -> None:
    mask = random_mask()
    layer = tied(mask)
    nn.init.constant_(layer.weight, start)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.5)
    x, target = torch.randn(8, 15).double(), 10 * torch.randn(8, 12).double()
    before = layer.weight.detach().clone()
    for _ in range(5):
        optimiser.zero_grad()
        (layer(x) - target).square().mean().backward()
        optimiser.step()
        matrix = layer(torch.eye(15).double()).T.detach().numpy()
        assert (matrix[~mask] == 0).all()
        assert (matrix[mask] * layer.sign.numpy() >= 0).all()
    assert not torch.equal(layer.weight, before)
    effective = layer.effective_weight().abs()
    for k in range(4):  # the weights of a group are what they share, times their scale
        members = layer.group == k
        assert layer.scale is not None
        shared = effective[members] / layer.scale[members]
        torch.testing.assert_close(shared, shared[:1].expand_as(shared))


# --- gap junctions --------------------------------------------------------------------------------


def test_gap_junctions_stay_symmetric_and_positive() -> None:
    layer = junctions(random_mask(12, 12)).double()
    assert len(layer.weight) < len(layer.pre)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.3)
    for _ in range(6):
        optimiser.zero_grad()
        (layer(torch.randn(8, 12).double()) + 5).square().mean().backward()
        optimiser.step()
        matrix = layer.sparse_weight().to_dense()
        assert torch.equal(matrix, matrix.T)
        assert (matrix >= 0).all()
    assert (layer.weight < 0).any()  # so it is not the optimiser that keeps them positive


def test_mirror_layers_share_one_parameter() -> None:
    mask = random_mask(12, 7)
    post, pre = np.nonzero(mask)
    order = np.lexsort((post, pre))  # the mirror image lists them by source
    pair = torch.arange(len(post))
    there = GapJunctions(*compressed(mask), pair)
    scale = torch.linspace(1, 2, len(post))
    back = GapJunctions(
        *compressed(mask.T), pair[torch.from_numpy(order)], weight=there.weight, scale=None
    )
    assert back.weight is there.weight
    net = nn.ModuleList([there, back])
    assert len(list(net.parameters())) == 1
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    before = there.weight.detach().clone()
    for _ in range(3):
        optimiser.zero_grad()
        (there(torch.randn(4, 7)).square().sum() + back(torch.randn(4, 12)).sum()).backward()
        optimiser.step()
        a, b = (layer.sparse_weight().to_dense() for layer in (there, back))
        assert torch.equal(a, b.T)
    assert not torch.equal(there.weight, before)
    again = copy.deepcopy(net)
    assert again[0].weight is again[1].weight
    again.load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match="weight has 3 numbers"):
        GapJunctions(*compressed(mask), pair, weight=nn.Parameter(torch.zeros(3)), scale=scale)


# --- starts ---------------------------------------------------------------------------------------


def test_drives_vary_as_with_weights_of_their_own() -> None:
    torch.manual_seed(0)
    mask = random_mask(300, 300, 0.1)
    x = torch.randn(200, 300).double()
    alone = EdgeLinear(*compressed(mask)).double()(x).var()
    drawn = [tied(mask, 2000, scaled)(x).var() for scaled in range(4)]
    plain = [tied(mask, 2000, seed, scale=None)(x).var() for seed in range(4)]
    for values in (drawn, plain):
        assert 0.7 < torch.stack(values).mean() / alone < 1.4


def test_starts_from_data() -> None:
    mask, start = random_mask(), torch.tensor([1.0, -2, 3, 0.5])
    layer = tied(mask, start=start)
    assert torch.equal(layer.weight, start.double())
    start.zero_()
    assert (layer.weight != 0).all()


def test_bad_arguments_are_refused() -> None:
    arguments = compressed(random_mask())
    n = len(arguments[2])
    group = torch.zeros(n, dtype=torch.int64)
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: TiedEdgeLinear(*arguments, group[1:]), "must have a value for each"),
        (lambda: TiedEdgeLinear(*arguments, group, scale=torch.ones(3)), "must have a value"),
        (lambda: TiedEdgeLinear(*arguments, group - 1), "group must not be negative"),
        (lambda: TiedEdgeLinear(*arguments, group, scale=-torch.ones(n)), "scale must not be neg"),
        (
            lambda: TiedEdgeLinear(*arguments, group, scale=torch.full((n,), float("nan"))),
            "scale must not be neg",
        ),
        (lambda: TiedEdgeLinear(*arguments, group, start=torch.ones(3)), "start is"),
        (lambda: TiedEdgeLinear(*arguments, group, sign=2), "sign must be"),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message):
            call()


# --- saving, precisions, compilers ----------------------------------------------------------------


def stored(layer: nn.Module) -> dict[str, Tensor]:
    """Return the state after a way through a file."""
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    loaded: dict[str, Tensor] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scaled", [True, False])
def test_checkpoints_and_copies(kernel: str, scaled: bool) -> None:
    options: dict[str, Any] = {} if scaled else {"scale": None}
    layer, other = tied(random_mask(), kernel=kernel, **options), tied(random_mask(), **options)
    assert set(layer.state_dict()) == {"weight", "ptr", "pre", "sign", "group"} | (
        {"scale"} if scaled else set()
    )
    x = torch.randn(3, 15).double()
    with torch.no_grad():
        other.weight.add_(1)
    other.load_state_dict(stored(layer))
    torch.testing.assert_close(other(x), layer(x))
    single = tied(random_mask(), **options).float()
    single.load_state_dict(stored(layer))  # from double precision
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        with torch.no_grad():
            twin.weight.zero_()
        assert not torch.equal(twin(x), layer(x))


def foreign() -> dict[str, TiedEdgeLinear]:
    mask = random_mask()
    n = int(mask.sum())
    ones = torch.ones(n)
    group = tied(mask).group
    same: dict[str, Any] = {"scale": tied(mask).scale, "sign": tied(mask).sign}
    return {
        "group": TiedEdgeLinear(*compressed(mask), group.flip(0), **same),
        "scale": TiedEdgeLinear(*compressed(mask), group, scale=ones, sign=same["sign"]),
        "sign": TiedEdgeLinear(*compressed(mask), group, scale=same["scale"], sign=1),
        "pre": tied(mask[:, ::-1].copy()),
    }


@pytest.mark.parametrize("name", list(foreign()))
@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_network_are_refused(name: str, strict: bool) -> None:
    layer = tied(random_mask())
    before = layer.weight.detach().clone()
    with pytest.raises(RuntimeError, match=r"(ptr|pre|sign|group|scale) differs"):
        layer.load_state_dict(stored(foreign()[name].double()), strict=strict)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("name", ["group", "scale"])
def test_weights_without_structure_are_refused(name: str) -> None:
    layer = tied(random_mask())
    state = {k: v for k, v in stored(layer).items() if k != name}
    with pytest.raises(RuntimeError, match=f'Missing key.*"{name}"'):
        layer.load_state_dict(state)
    without = tied(random_mask(), scale=None)
    with pytest.raises(RuntimeError, match="scale is not of this layer"):
        without.load_state_dict(stored(layer), strict=False)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_other_precisions(kernel: str, dtype: torch.dtype) -> None:
    layer = tied(random_mask(), kernel=kernel)
    x = torch.randn(4, 15).double()
    cast = copy.deepcopy(layer).to(dtype)
    assert cast.group.dtype == torch.int32
    y = cast(x.to(dtype))
    assert y.dtype == dtype
    y.sum().backward()
    layer(x).sum().backward()
    torch.testing.assert_close(y.double(), layer(x), rtol=0.05, atol=0.05)
    assert cast.weight.grad is not None
    assert layer.weight.grad is not None
    assert (cast.weight.grad.double() - layer.weight.grad).norm() <= 0.1 * layer.weight.grad.norm()


@pytest.mark.parametrize("kernel", KERNELS)
def test_compiles_in_one_graph_and_exports(kernel: str) -> None:
    torch._dynamo.reset()
    layer = tied(random_mask(), kernel=kernel)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(4, 15).double()
    results = []
    for call in (compiled, layer):
        y = call(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), layer.weight)))
    torch.testing.assert_close(*results)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    x = torch.randn(9, 15).double()
    torch.testing.assert_close(program.module()(x), layer(x))


@given(st.integers(0, 99))
def test_weights_whose_connections_all_have_a_sign_start_as_sizes(seed: int) -> None:
    torch.manual_seed(seed)
    layer = tied(random_mask(seed=seed), n_groups=9, seed=seed)
    torch.manual_seed(seed)
    drawn = tied(random_mask(seed=seed), n_groups=9, seed=seed, sign=0).weight.detach()
    for k, weight in enumerate(layer.weight.detach()):
        signed = bool((layer.sign[layer.group == k] != 0).all())
        assert weight == (drawn[k].abs() if signed else drawn[k])


def test_conductances_start_as_sizes() -> None:
    assert bool((junctions(random_mask(12, 12)).weight >= 0).all())
