"""Put layers, and whole networks, to the test in every way that torch can call them.

Gradients of gradients, `torch.func`, the operators that ``torch.compile`` sees, half precision,
inputs laid out otherwise, empty or of many samples: each is code of its own in some layer, and must
give what a plain reading of the connections gives.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.half import QuickHalves
from connectome_compiler.certify.plain import acted, acting, connections

Operator = dict[str, Any]
Call = Callable[[Tensor, Tensor], Tensor]  # of weights and input

SAMPLES = 5
MANY = (100, 130, 257)  # samples, for which layers run other code
PRODUCTS = 2**23  # of connections and samples, at most, where many samples are tried
KERNELS = 2**29  # likewise, of convolutions, whose products take no memory
LARGE = 2**20  # connections; above, two samples: what gradients of gradients keep takes memory
SLACK = 1e-9  # in double precision, relative to the largest
HALF = 0.05  # in bfloat16


class _With:
    """A layer with other weights."""

    def __init__(self, layer: Any, weight: Tensor) -> None:
        self._layer, self.weight = layer, weight

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


def layers_act_in_every_way(layers: Iterable[tuple[str, Any, Operator, tuple[int, ...]]]) -> None:
    """Compare the smallest layer of each kind with its connections, in each way of calling it.

    Each comes with its name, how its connections act, and the shape of an input of one sample.
    """
    chosen: dict[Any, tuple[str, Any, Operator, tuple[int, ...]]] = {}
    for entry in layers:
        layer = entry[1]
        if not layer.weight.numel():
            continue
        kind = _kind(layer, entry[2])
        if kind not in chosen or layer.weight.numel() < chosen[kind][1].weight.numel():
            chosen[kind] = entry
    for key, layer, operator, shape in chosen.values():
        double = copy.deepcopy(layer).double().eval()
        _draw(double)
        with finding(key):
            _acts(key, double, operator, shape)


def _kind(layer: Any, operator: Operator) -> tuple[Any, ...]:
    """Return by what layers differ in the code that they run."""
    sign = getattr(layer, "sign", None)
    signs = () if sign is None else tuple(sign.unique().tolist())
    parts = tuple(getattr(layer, name, None) is not None for name in ("group", "scale", "bias"))
    way = operator["kind"], tuple(operator.get("stride", ())), getattr(layer, "kernel", "")
    return (type(layer), way, signs, parts, layer.weight.requires_grad)


def _draw(layer: Any) -> None:
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in (layer.weight, layer.bias):
            if p is not None:
                drawn = torch.randn(p.shape, generator=generator, dtype=p.dtype)
                p.copy_(drawn + torch.where(drawn < 0, -0.1, 0.1))  # clear of 0, as of its kink


def _plain(layer: Any, operator: Operator) -> Call:
    """Return a plain reading of a layer's connections."""
    if hasattr(layer, "ptr"):

        def listed(weight: Tensor, x: Tensor) -> Tensor:
            post, pre, values = connections(_With(layer, weight))
            made = x.new_zeros(len(x), layer.n_post).index_add(1, post, x[:, pre] * values)
            return made if layer.bias is None else made + layer.bias.detach()

        return listed

    def dense(weight: Tensor, x: Tensor) -> Tensor:
        made = acted(operator, acting(_With(layer, weight)), x)
        bias = layer.bias
        return made if bias is None else made + bias.detach().view(-1, *[1] * (made.dim() - 2))

    return dense


def _acts(key: str, layer: Any, operator: Operator, shape: tuple[int, ...]) -> None:
    plain, held = _plain(layer, operator), layer.weight.detach().clone()
    generator = torch.Generator().manual_seed(9)
    lists = hasattr(layer, "ptr")
    size = max(held.numel(), layer.pre.numel()) if lists else held.numel()
    samples = 2 if size > LARGE else SAMPLES
    x = torch.randn(samples, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        right = plain(held, x)
    g = torch.randn(right.shape, generator=generator, dtype=torch.float64)

    def run(weight: Tensor, x: Tensor) -> Tensor:
        made: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return made

    def must(what: str, found: Tensor, wanted: Tensor, slack: float = SLACK) -> None:
        if found.dtype != wanted.dtype or not _near(found, wanted, slack):
            raise Wrong(key, f"{what} is not what its connections make")

    for what, found in _ways(layer, x):
        must(f"what it makes of an input {what}", found, right)
    wanted = _derived(plain, held, x, g)
    for what, found in zip(wanted, _derived(run, held, x, g).values(), strict=True):
        must(what, found, wanted[what], 1e3 * SLACK)
    for what, found in _transformed(run, held, x, g).items():
        must(f"{what} under torch.func", found, wanted[what], 1e3 * SLACK)
    if lists:
        with _compiling():
            must("what it makes where torch compiles", layer(x).detach(), right)
            compiled = _derived(run, held, x, g, twice=False)
        for what, found in compiled.items():
            must(f"{what} where torch compiles", found, wanted[what], 1e3 * SLACK)
        _bad_numbers_stay(key, layer, x)
        with torch.no_grad():
            must("what it makes of a list of samples", layer(x.unsqueeze(1)).squeeze(1), right)
            must("what it makes of one sample alone", layer(x[0]), right[0])
    most = PRODUCTS
    if right.dim() > 2:  # each weight acts at many places
        mask = getattr(layer, "mask", held)
        size, most = mask.numel() * math.prod(right.shape[2:]), KERNELS
    for batch in MANY:
        if batch * size <= most:
            distinct = batch if batch * size <= PRODUCTS else SAMPLES
            _makes_of_many(layer, plain, must, shape, batch, distinct)
    half = copy.deepcopy(layer).bfloat16()
    with torch.no_grad(), QuickHalves():
        must("what it makes in half precision", half(x.bfloat16()), right.bfloat16(), HALF)
        with torch.autocast("cpu", torch.bfloat16):
            found = copy.deepcopy(layer).float()(x.float())
        must("what it makes under autocast", found.double(), right, HALF)


def _ways(layer: Any, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield what the layer makes of the same input, laid out and called otherwise."""
    wide = torch.stack((x, x + 1), -1)[..., 0]
    turned = x.transpose(0, -1).contiguous().transpose(0, -1)
    yield "with gradients", layer(x.clone().requires_grad_()).detach()
    with torch.no_grad():
        yield "without gradients", layer(x)
        yield "laid out in steps", layer(wide)
        yield "laid out in columns", layer(turned)
        yield "sample by sample", torch.cat([layer(one) for one in x.split(1)])
    with torch.inference_mode():
        found = layer(x)
    yield "in inference mode", found.clone()


def _derived(call: Call, weight: Tensor, x: Tensor, g: Tensor, twice: bool = True) -> Any:
    """Return gradients of weights and input, and those of their squares, by what they are."""
    ends = [weight.clone().requires_grad_(), x.clone().requires_grad_()]
    grads = torch.autograd.grad(call(*ends), ends, g, create_graph=twice)
    found = {"the gradient of its weights": grads[0], "the gradient of its input": grads[1]}
    if twice:
        total = grads[0].square().sum() + grads[1].sin().sum()
        seconds = torch.autograd.grad(total, ends, allow_unused=True)
        for what, second, end in zip(list(found), seconds, ends, strict=True):
            found[f"the second {what[4:]}"] = torch.zeros_like(end) if second is None else second
    return {what: grad.detach() for what, grad in found.items()}


def _transformed(call: Call, weight: Tensor, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Return the gradients by the transforms of `torch.func`."""
    of_weight, of_input = torch.func.vjp(call, weight, x)[1](g)
    return {"the gradient of its weights": of_weight, "the gradient of its input": of_input}


@contextmanager
def _compiling() -> Iterator[None]:
    """Let layers take the operators that ``torch.compile`` would."""
    asked = torch.compiler.is_compiling
    try:
        torch.compiler.is_compiling = lambda: True
        yield
    finally:
        torch.compiler.is_compiling = asked


def _bad_numbers_stay(key: str, layer: Any, x: Tensor) -> None:
    """Make one activity infinite, or no number: only what is joined to that unit may notice."""
    post, pre, _ = connections(layer)
    for j in {0, int(pre[0]), int(pre[-1]), layer.n_pre - 1}:
        hit = torch.zeros(layer.n_post, dtype=torch.bool).index_fill_(0, post[pre == j], True)
        for bad in (torch.inf, torch.nan):
            x = x.clone()
            x[-1, j] = bad
            with torch.no_grad():
                found, calm = layer(x), layer(x.nan_to_num(0, 0, 0))
            if bool(found[-1, hit].isfinite().any()):
                raise Wrong(key, f"an activity of {bad} does not reach its targets")
            found[-1, hit] = calm[-1, hit]
            if not _near(found, calm, SLACK):
                raise Wrong(key, f"an activity of {bad} reaches units without a connection to it")
            x[-1, j] = 0


def _makes_of_many(
    layer: Any,
    plain: Call,
    must: Callable[..., None],
    shape: tuple[int, ...],
    batch: int,
    distinct: int,
) -> None:
    """Compare a batch, in which so many ``distinct`` samples come again in an order of chance."""
    generator = torch.Generator().manual_seed(batch)
    few = torch.randn(distinct, *shape, generator=generator, dtype=torch.float64)
    order = torch.arange(batch)
    if distinct < batch:
        order = torch.randint(distinct, order.shape, generator=generator)
    x, weight = few[order], layer.weight.detach()
    with torch.no_grad():
        right, found = plain(weight, few)[order], layer(x)
    must(f"what it makes of {batch} samples", found, right)
    if layer.weight.requires_grad:
        g = torch.randn(right.shape, generator=generator, dtype=torch.float64)
        of_few = torch.zeros_like(right[:distinct]).index_add(0, order, g)
        ends = [layer.weight], [weight.clone().requires_grad_()]
        (own,) = torch.autograd.grad(layer(x), ends[0], g)
        (wanted,) = torch.autograd.grad(plain(ends[1][0], few), ends[1], of_few)
        must(f"the gradient of its weights from {batch} samples", own, wanted, 1e3 * SLACK)


def _near(found: Tensor, wanted: Tensor, slack: float) -> bool:
    if found.shape != wanted.shape:
        return False
    if not wanted.numel():
        return True
    size = 1e-2 + wanted.abs().max()
    return bool(((found - wanted).abs() <= slack * size).all())


# --- whole networks -------------------------------------------------------------------------------


def answers_in_every_way(
    network: Any,
    answer: Callable[[Any, Tensor], Tensor],
    along: int,
    smooth: bool = True,
    size: Sequence[int] = (SAMPLES,),
    one: bool = False,
) -> None:
    """Compare a network's answers in double precision with those to other calls of the same.

    ``answer`` calls a network, whose samples lie ``along`` a dimension; inputs have a ``size``, as
    `example_input` takes it. In half precision it must answer almost the same, if it is ``smooth``.
    Where they learn under transforms, ``one`` sample in single precision is enough for large ones.
    What it answers where gradients are kept is compared elsewhere with the graph.
    """
    double = copy.deepcopy(network).double().eval()
    x = _noise(double.example_input(*size))
    before = x.clone()
    with finding("forward"):
        wanted = answer(double, x.clone().requires_grad_()).detach()
        for what, found in _called(double, x, answer):
            if not _near(found, wanted, SLACK):
                raise Wrong("forward", f"answers differently {what}")
        none = answer(double, x.narrow(along, 0, 0))
        if none.shape != wanted.narrow(along, 0, 0).shape:
            raise Wrong("forward", f"makes {tuple(none.shape)} of no samples")
        if not torch.equal(x, before):
            raise Wrong("forward", "changes its input")
        half, single = copy.deepcopy(double).bfloat16(), copy.deepcopy(double).float()
        with torch.no_grad(), QuickHalves():
            low = answer(half, x.bfloat16())
            with torch.autocast("cpu", torch.bfloat16):
                mixed = answer(single, x.float()).double()
        if low.dtype != torch.bfloat16 or (smooth and not _near(low.double(), wanted, 2 * HALF)):
            raise Wrong("forward", "answers differently in bfloat16")
        if mixed.shape != wanted.shape or (smooth and not _near(mixed, wanted, 2 * HALF)):
            raise Wrong("forward", "answers differently under autocast")
    if one:
        _learns_under_transforms(single, x.narrow(along, 0, 1).float(), answer, 1e-3)
    else:
        _learns_under_transforms(double, x, answer, 1e-6)


def _called(
    network: Any, x: Tensor, answer: Callable[[Any, Tensor], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    with torch.no_grad():
        yield "without gradients", answer(network, x)
        yield "to an input laid out in steps", answer(network, torch.stack((x, x + 1), -1)[..., 0])
        yield "at a second call", answer(network, x)
        yield "as a copy", answer(copy.deepcopy(network), x)
        state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        made = torch.func.functional_call(network, state, (x,))
        yield "under torch.func", made[0] if isinstance(made, tuple) else made
        if hasattr(network, "be_plain"):
            plain = copy.deepcopy(network)
            plain.be_plain()
            yield "in torch's own functions", answer(plain, x)
    with torch.inference_mode():
        found = answer(network, x)
    yield "in inference mode", found.clone()


def _learns_under_transforms(
    network: Any, x: Tensor, answer: Callable[[Any, Tensor], Tensor], slack: float
) -> None:
    """Compare gradients by `torch.func.grad` with those of autograd."""
    known = dict(network.named_parameters())
    trained = {n: p for n, p in known.items() if p.requires_grad}
    rest = {**{n: p for n, p in known.items() if n not in trained}, **dict(network.named_buffers())}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        made = torch.func.functional_call(network, {**rest, **parameters}, (x,))
        total: Tensor = (made[0] if isinstance(made, tuple) else made).atan().sum()
        return total

    with finding("torch.func"):
        found = torch.func.grad(loss)({n: p.detach() for n, p in trained.items()})
        total = answer(network, x).atan().sum()
        wanted = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
    for (name, grad), other in zip(found.items(), wanted, strict=True):
        if not _near(grad, torch.zeros_like(grad) if other is None else other, slack):
            raise Wrong(name, "has another gradient under torch.func")


def _noise(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(10)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype)
