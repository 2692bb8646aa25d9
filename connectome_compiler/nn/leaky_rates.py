"""Leaky rate units, rolled out in time over the connections of a whole nervous system.

All steps run in one operator. Its backward pass goes back through the steps once and leaves the
gradient of the weights to the end, as few wide products at the connections: memory grows with
states and connections, not with connections times steps.
"""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.eager import has_hooks, is_stand_in, is_taken_apart
from connectome_compiler.nn.edge_linear import (
    EMBEDDING_BAG_COLUMNS,
    OP_LIBRARY,
    EdgeLinear,
    _csr,
    _edge_product,
    plain_product,
)
from connectome_compiler.nn.same_structure import SameStructure

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
    "linear": torch.clone,
}
ACTIVATIONS = tuple(PHI)

# What `_merge` derives from the connections: rows and sources, the transpose, places if dense; and
# the same of the currents through gap junctions.
STRUCTURE = ("ptr", "pre", "tptr", "tpost", "order", "cell")
CURRENTS = tuple(f"gap_{name}" for name in STRUCTURE)

# Products of connections and columns below which a call of embedding_bag costs more than it saves.
EMBEDDING_BAG_PRODUCTS = 2**17
CACHED_BYTES = 2**20  # what stays in the L2 cache
# Columns of one product for the gradient of the weights. At the connections, wide products cost
# less per column as long as what they gather from is cached; else 8 are as good.
CACHED_COLUMNS = 64
DENSE_COLUMNS = 256


def _activate(kind: str, drive: Tensor) -> None:
    """Replace ``drive`` by its activation."""
    if kind == "relu":
        drive.clamp_(min=0)
    elif kind == "softplus":
        torch.logaddexp(drive, drive.new_zeros(()), out=drive)
    elif kind == "tanh":
        drive.tanh_()
    elif kind == "sigmoid":
        drive.sigmoid_()


def _times_slope(kind: str, grad: Tensor, activity: Tensor, out: Tensor) -> None:
    """Write ``grad`` times the activation's derivative to ``out``, from the activation's value."""
    aten = torch.ops.aten
    if kind == "relu":
        aten.threshold_backward.grad_input(grad, activity, 0, grad_input=out)
    elif kind == "softplus":
        torch.mul(grad, -torch.expm1(-activity), out=out)
    elif kind == "tanh":
        aten.tanh_backward.grad_input(grad, activity, grad_input=out)
    elif kind == "sigmoid":
        aten.sigmoid_backward.grad_input(grad, activity, grad_input=out)
    else:
        out.copy_(grad)


def _in_full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep autocast out of a function of tensors."""

    @wraps(function)
    def call(first: Tensor, *rest: Any) -> Any:
        with torch.autocast(first.device.type, enabled=False):
            return function(first, *rest)

    return call


def _adder(
    weight: Tensor,
    structure: Sequence[Tensor],
    like: Tensor,
    dense: bool,
    transposed: bool = False,
) -> Callable[[Tensor, Tensor], object]:
    """Return a function that adds the connections times its first argument to its second.

    Both are ``(n, columns)`` as ``like`` is.
    """
    n, columns = like.shape
    if not (weight.numel() and columns):
        return lambda x, total: None
    ptr, pre, tptr, tpost, order, cell = structure
    weight = weight.detach()  # embedding_bag prepares for its backward pass if it has one
    if dense:  # connections of one pair add up
        matrix = weight.new_zeros(n * n).index_add_(0, cell, weight).view(n, n)
        matrix = matrix.t() if transposed else matrix
    else:
        if transposed:
            ptr, pre, weight = tptr, tpost, weight.index_select(0, order)
        many = weight.numel() * columns >= EMBEDDING_BAG_PRODUCTS
        if many and columns >= EMBEDDING_BAG_COLUMNS and not like.is_cuda:
            return lambda x, total: total.add_(_edge_product(ptr, pre, weight, x))
        matrix = _csr(ptr, pre, weight, n)
    if columns == 1:
        return lambda x, total: total.view(n).addmv_(matrix, x.view(n))
    return lambda x, total: total.addmm_(matrix, x)


def _current_adder(
    current: Tensor, structure: Sequence[Tensor], like: Tensor, transposed: bool = False
) -> Callable[[Tensor, Tensor], object]:
    """Return `_adder` of the currents, where there are any."""
    if not current.numel():
        return lambda x, total: None
    dense = structure[11].numel() > 0
    return _adder(current, structure[6:12], like, dense, transposed)


def _over_steps(x: Tensor) -> Tensor:
    """Return the sum over the steps: torch takes long to add up one."""
    return x[0] if len(x) == 1 else x.sum(0)


def _add_at(units: Tensor, values: Tensor, totals: Tensor) -> None:
    """Add ``values`` ``(steps, n_units, columns)`` to the ``totals`` of these units."""
    if units.numel() < 16 * len(totals):  # unit by unit, for all steps at once
        totals.index_add_(1, units, values)
        return
    for value, total in zip(values, totals, strict=True):
        total.index_add_(0, units, value)


@_in_full_precision
def _roll(
    drive: Tensor,
    weight: Tensor,
    current: Tensor,
    alpha: Tensor,
    bias: Tensor,
    start: Tensor,
    structure: Sequence[Tensor],
    activation: str,
    dense: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return rates, the state at the end, and what the backward pass needs: states and activity.

    They are one tensor: the states of all steps, then the activity, ``(2 steps + 1, n, columns)``.
    glibc gives back to the system what is freed of two blocks, but keeps one of up to 32 MiB.
    """
    inputs, outputs = (units.long() for units in structure[-2:])  # torch adds by int32 slowly
    steps = drive.shape[0]
    kept = start.new_empty(2 * steps + 1, *start.shape)
    states, activity = kept[: steps + 1], kept[steps + 1 :]
    states[0] = start
    # What drives the units lies where their activity will be, and is turned into it step by step.
    activity.copy_(bias) if bias.numel() else activity.zero_()
    _add_at(inputs, drive, activity)
    add_drive = _adder(weight, structure[:6], start, dense)
    add_current = _current_adder(current, structure, start)
    state = states[0]
    for t, (total, after) in enumerate(zip(activity, states[1:], strict=True)):
        # Nothing flows from rest; a GPU would have to wait for the answer.
        flows = t or state.is_cuda or state.any()
        if flows:
            add_drive(state, total)
        _activate(activation, total)
        before, state = state, torch.lerp(state, total, alpha, out=after)
        if flows:
            add_current(before, state)
    return states[1:].index_select(1, outputs), states[-1].clone(), kept


def _roll_in_parts(drive: Tensor, *parts: Any) -> tuple[Tensor, Tensor]:
    """Return rates and the state at the end, without keeping the states of all steps."""
    *constants, state, structure, activation, dense = parts
    many = max(1, CACHED_BYTES // max(1, state.numel()))
    rates = []
    for part in drive.split(many):
        found, state, _ = _roll(part, *constants, state, structure, activation, dense)
        rates.append(found)
    return torch.cat(rates), state


@_in_full_precision
def _roll_back(
    grad_rates: Tensor,
    grad_last: Tensor,
    kept: Tensor,
    weight: Tensor,
    current: Tensor,
    alpha: Tensor,
    structure: Sequence[Tensor],
    activation: str,
    dense: bool,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Return the gradients of drive, weight, current, alpha, bias and start.

    Those that are not ``wanted`` are empty.
    """
    inputs, outputs = (units.long() for units in structure[-2:])
    steps, (n, columns) = kept.shape[0] // 2, grad_last.shape
    states, activity = kept[: steps + 1], kept[steps + 1 :]
    want_drive, want_weight, want_current, want_alpha, want_bias, want_start = wanted
    add_drive = _adder(weight, structure[:6], grad_last, dense, transposed=True)
    add_current = _current_adder(current, structure, grad_last, transposed=True)
    gradient = _WeightGradient(weight, structure[:6], n, columns, dense) if want_weight else None
    flow = None
    if want_current:
        in_full = structure[11].numel() > 0
        flow = _WeightGradient(current, structure[6:12], n, columns, in_full)
    many = max(1, min(steps, gradient.many if gradient else CACHED_COLUMNS // max(1, columns)))
    grad_drive = alpha.new_empty(steps if want_drive else 0, inputs.numel(), columns)
    # Of what each unit has one number of, the sum over samples is left to the end.
    by_alpha, by_bias = (
        alpha.new_zeros(n if want else 0, columns) for want in (want_alpha, want_bias)
    )
    # Of some steps, the gradients of what the activation is taken of, and of the states after; and
    # of those that follow, from which the next ones come.
    here, there = alpha.new_empty(2, 2, many, n, columns)
    stays = 1 - alpha
    into = later = alpha[:0]

    def step_back(into: Tensor, later: Tensor, total: Tensor) -> None:
        """Add to the gradient of a state what it has by way of the state after."""
        total.addcmul_(stays, later)
        add_drive(into, total)
        add_current(later, total)

    for last in range(steps, 0, -many):
        first = max(0, last - many)
        here, there = there, here
        inner, outer = here[:, : last - first]
        before, active = states[first:last], activity[first:last]
        _add_at(outputs, grad_rates[first:last], outer.zero_())
        _times_slope(activation, alpha.expand_as(active), active, out=inner)
        for slope, total in zip(reversed(inner.unbind()), reversed(outer.unbind()), strict=True):
            if len(later):
                step_back(into, later, total)
            else:
                total += grad_last
            into, later = slope.mul_(total), total
        if want_bias:
            by_bias += _over_steps(inner)
        if want_alpha:
            by_alpha += _over_steps((active - before).mul_(outer))
        if want_drive:
            torch.index_select(inner, 1, inputs, out=grad_drive[first:last])
        if last > 1 or states.is_cuda or states[0].any():  # nothing flows from rest
            if gradient:
                gradient.add(inner, before)
            if flow:
                flow.add(outer, before)
    grad_start = grad_last.clone()
    if len(later) and want_start:
        grad_start = torch.zeros_like(grad_last)
        step_back(into, later, grad_start)
    return (
        grad_drive,
        gradient.total() if gradient else weight.new_empty(0),
        flow.total() if flow else current.new_empty(0),
        by_alpha.sum(1, keepdim=True),
        by_bias.sum(1, keepdim=True),
        grad_start if want_start else grad_last.new_empty(0, columns),
    )


class _WeightGradient:
    """The sum over steps and samples of ``inner state^T``, at the connections only."""

    def __init__(
        self, weight: Tensor, structure: Sequence[Tensor], n: int, columns: int, dense: bool
    ) -> None:
        self.cell = structure[5] if dense else None
        shape = (n, n) if dense else weight.shape
        self.sum = weight.new_zeros(shape)
        self.matrix = self.sum if dense else _csr(structure[0], structure[1], self.sum, n)
        cached = n * CACHED_COLUMNS * weight.element_size() <= CACHED_BYTES
        width = DENSE_COLUMNS if dense else CACHED_COLUMNS if cached else 8
        self.many = max(1, width // max(1, columns))  # steps that `add` should be given at once

    def add(self, inner: Tensor, state: Tensor) -> None:
        """Add some steps: ``(steps, n, columns)``."""
        if not self.sum.numel() or not inner.numel():
            return
        if len(inner) == 1:
            inner, state = inner[0], state[0]
        else:
            inner, state = (x.transpose(0, 1).reshape(x.shape[1], -1) for x in (inner, state))
        if self.cell is not None:
            self.sum.addmm_(inner, state.t())
            return
        if 1 < inner.shape[1] < 8:  # torch is 5-10 times slower for 2 to 7 columns than for 8
            pad = (0, 8 - inner.shape[1])
            inner, state = nn.functional.pad(inner, pad), nn.functional.pad(state, pad)
        torch.sparse.sampled_addmm(self.matrix, inner, state.t(), out=self.matrix)

    def total(self) -> Tensor:
        """Return the gradient, ``(n_connections,)``."""
        return self.sum if self.cell is None else self.sum.view(-1).index_select(0, self.cell)


ROLLOUT = (
    "(Tensor drive, Tensor weight, Tensor current, Tensor alpha, Tensor bias, Tensor start,"
    " Tensor[] structure, str activation, bool dense) -> (Tensor, Tensor, Tensor)"
)
ROLLOUT_BACKWARD = (
    "(Tensor grad_rates, Tensor grad_last, Tensor kept, Tensor weight, Tensor current,"
    " Tensor alpha, Tensor[] structure, str activation, bool dense, bool[] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _save_rollout(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *parts, structure, ctx.activation, ctx.dense = inputs
    ctx.save_for_backward(*output[2:], *parts, *structure)
    ctx.set_materialize_grads(False)  # else zeros as large as all states


def _rollout_backward(
    ctx: Any, grads: Sequence[Tensor | None], roll_back: Callable[..., tuple[Tensor, ...]]
) -> tuple[Any, ...]:
    """Return the gradients that are wanted, of all arguments."""
    # Read once: a checkpoint computes them anew at each reading.
    kept, *inputs = ctx.saved_tensors
    again, structure = tuple(inputs[:6]), inputs[6:]
    _, weight, current, alpha, *_ = again
    parts, (grad_rates, grad_last) = (kept, weight, current, alpha), grads[:2]
    none = [None] * len(structure), None, None
    if roll_back is _roll_back and torch.is_grad_enabled():
        return *_differentiable(ctx, again, structure, grads[:2]), *none
    if grad_rates is None:
        steps, outputs = kept.shape[0] // 2, structure[-1].shape[0]
        grad_rates = kept.new_zeros(steps, outputs, kept.shape[2])
    if grad_last is None:
        grad_last = kept.new_zeros(kept.shape[1:])
    wanted = list(ctx.needs_input_grad[:6])
    ends = grad_rates.contiguous(), grad_last.contiguous()
    found = roll_back(*ends, *parts, structure, ctx.activation, ctx.dense, wanted)
    return *(grad if want else None for grad, want in zip(found, wanted, strict=True)), *none


def _differentiable(
    ctx: Any, parts: tuple[Tensor, ...], structure: list[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of ``parts`` as functions, to be differentiated again."""
    with torch.enable_grad():
        drive, weight, current, alpha, bias, start = parts
        ends = roll_plainly(drive, weight, current, alpha, bias, start, structure, ctx.activation)
    pairs = [(end, grad) for end, grad in zip(ends, grads, strict=True) if grad is not None]
    wanted = [x for x, want in zip(parts, ctx.needs_input_grad[:6], strict=True) if want]
    found = torch.autograd.grad(
        *([end for end, _ in pairs], wanted, [grad for _, grad in pairs]),
        create_graph=torch.is_grad_enabled(),
        allow_unused=True,
    )
    given = iter(found)
    return [next(given) if want else None for want in ctx.needs_input_grad[:6]]


def _register_rollout() -> Any:
    """Make the operator that `torch.compile` and `torch.export` see as one step."""
    library = getattr(torch.ops, OP_LIBRARY)
    if hasattr(library, "rate_rollout"):
        return library.rate_rollout

    def fake(*parts: Any) -> tuple[Tensor, ...]:
        drive, start, (*_, outputs) = parts[0], parts[5], parts[6]
        steps, made = drive.shape[0], start.new_empty
        rates = made(steps, outputs.shape[0], start.shape[1])
        return rates, made(start.shape), made(2 * steps + 1, *start.shape)

    def fake_backward(*parts: Any) -> tuple[Tensor, ...]:
        _, last, kept, weight, current, alpha, structure, _, _, wanted = parts
        steps, columns, inputs = kept.shape[0] // 2, kept.shape[2], structure[-2].shape[0]
        units = [alpha.shape] * 2
        shapes = [(steps, inputs, columns), weight.shape, current.shape, *units, last.shape]
        none = [(0, inputs, columns), (0,), (0,), (0, 1), (0, 1), (0, columns)]
        return tuple(
            alpha.new_empty(shape if want else empty)
            for shape, empty, want in zip(shapes, none, wanted, strict=True)
        )

    def define(name: str, schema: str, body: Callable[..., Any], shapes: Callable[..., Any]) -> Any:
        full = f"{OP_LIBRARY}::{name}"
        made = torch.library.custom_op(full, body, mutates_args=(), schema=schema)
        made.register_fake(shapes)
        return made

    def formula(ctx: Any, *grads: Tensor | None) -> Any:
        return _rollout_backward(ctx, grads, library.rate_rollout_backward)

    define("rate_rollout_backward", ROLLOUT_BACKWARD, _roll_back, fake_backward)
    define("rate_rollout", ROLLOUT, _roll, fake).register_autograd(
        formula, setup_context=_save_rollout
    )
    return library.rate_rollout


_rollout = _register_rollout()


class _Rollout(torch.autograd.Function):
    """The same for all other calls: torch reaches an operator written in Python slowly."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = _roll(*inputs)
        _save_rollout(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        found, none = _rollout_backward(ctx, grads, _roll_back), None
        return *found[:6], none, none, none


def rate_rollout(
    drive: Tensor,
    weight: Tensor,
    current: Tensor,
    alpha: Tensor,
    bias: Tensor,
    start: Tensor,
    structure: list[Tensor],
    activation: str,
    dense: bool,
) -> tuple[Tensor, Tensor]:
    """Roll ``n`` leaky units through the steps of ``drive``; return their rates and last state.

    ``r <- r + alpha (phi(W r + bias + drive) - r) + C r``, with ``drive`` ``(steps, inputs,
    columns)``, ``alpha`` and ``bias`` ``(n, 1)`` (``bias``, if none, ``(0, 1)``), ``start`` ``(n,
    columns)``; ``weight`` and ``current`` are the entries of ``W`` and ``C``. ``structure`` is
    ``W`` in compressed rows and its transpose (ptr, pre, tptr, tpost, order), and the places of its
    entries in a dense matrix; the same of ``C``, if it has entries; the units that inputs enter,
    and those whose rates are given: ``(steps, outputs, columns)``.
    """
    parts = drive, weight, current, alpha, bias, start
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in parts)
    if is_taken_apart(*parts):
        return roll_plainly(*parts, structure, activation)
    if torch.compiler.is_compiling() or is_stand_in(drive):
        run = _rollout
    elif learns:
        run = _Rollout.apply
    else:
        run = _roll_in_parts
    rates, last, *_ = run(*parts, structure, activation, dense)
    return rates, last


def _rows(ptr: Tensor, n_connections: int) -> Tensor:
    """Return the target of each connection in compressed rows, ``(n_connections,)``."""
    post = torch.arange(ptr.numel() - 1, device=ptr.device)
    return post.repeat_interleave(ptr.diff(), output_size=n_connections)


def slowed(alpha: Tensor, conductance: Tensor) -> Tensor:
    """Return the fraction of the way to go in one step where gap junctions pull as well.

    ``a / sqrt(1 + 4 a^2 g (1 + g))``, for ``alpha`` ``a`` and a total ``conductance`` ``g`` of each
    unit: ``a`` itself for short steps, and never above ``1 / (1 + 2 g)``, for ``1 / a'^2 = 1 / a^2
    + (1 + 2 g)^2 - 1``. So of a rate, at least as much stays as its partners give.
    """
    return alpha * (1 + 4 * alpha.square() * (conductance + conductance.square())).rsqrt()


Carry = Callable[[Tensor], tuple[Tensor, Tensor | None]]


def roll_plainly(
    drive: Tensor,
    weight: Tensor,
    current: Tensor,
    alpha: Tensor,
    bias: Tensor,
    start: Tensor,
    structure: Sequence[Tensor],
    activation: str,
    carry: Carry | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what `rate_rollout` does, in functions that are torch's own, step by step.

    ``carry`` maps rates ``(n, columns)`` to what synapses carry from them to each unit, and to what
    gap junctions change in a step; by default these are the products with ``weight`` and
    ``current``.
    """
    inputs, outputs = (units.long() for units in structure[-2:])  # as ONNX needs them
    rates, found = start, []
    carry = carry or _carry_plainly(weight, current, structure, len(start))
    for entering in drive:
        total, flow = carry(rates)
        total = total.index_add(0, inputs, entering)
        total = total + bias if bias.numel() else total
        rates = step_rates(rates, total, flow, alpha, activation)
        found.append(rates)
    traces = torch.stack(found) if found else start.new_empty(0, *start.shape)
    return traces.index_select(1, outputs), rates


def step_rates(
    rates: Tensor, total: Tensor, flow: Tensor | None, alpha: Tensor, activation: str
) -> Tensor:
    """Return rates one step later, where ``total`` is all that drives the units.

    ``flow`` is what currents through gap junctions change, None without any.
    """
    after = rates + alpha * (PHI[activation](total) - rates)
    return after if flow is None else after + flow


def _carry_plainly(weight: Tensor, current: Tensor, structure: Sequence[Tensor], n: int) -> Carry:
    """Return what the connections carry, as `roll_plainly` needs it."""

    def product(entries: Tensor, parts: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
        _, pre, _, post, order, _ = parts
        listed = entries.index_select(0, order)
        return plain_product(listed, post.long(), pre.index_select(0, order), n, n)

    synapses = product(weight, structure[:6])
    if not current.numel():
        return lambda rates: (synapses(rates), None)
    flows = product(current, structure[6:12])
    return lambda rates: (synapses(rates), flows(rates))


def _count(index: Tensor, n: int) -> int:
    """Return how many values ``index`` shares among ``n`` units."""
    if index.shape != (n,):
        raise ValueError(f"the index of values is {tuple(index.shape)}, expected ({n},)")
    return int(index.max()) + 1 if n else 0


class LeakyRates(SameStructure):
    """The units of a network: ``tau dr/dt = -r + phi(W r + input + bias)``.

    Gap junctions add ``sum over j of g[i, j] (r[j] - r[i])``, a current, beside ``phi``.

    Steps are ``r <- r + a (phi(...) + current - r)``. Without gap junctions ``a`` is ``1 - exp(-dt
    / tau)``: exact for a drive that is constant over ``dt_ms`` (exponential Euler). With them it is
    smaller, see `slowed`, so that each new rate is a mean of the rate before, of ``phi`` and of the
    rates of those that it is coupled to, with weights that are never negative: however long the
    step, leak and currents alone cannot make rates grow or swing. ``tau_ms`` and ``bias`` are
    trained one per unit, or shared as ``tau_of`` and ``bias_of`` say: the index of each unit's
    value, ``(n,)``; ``tau_of`` none holds the time constant, ``bias_of`` none leaves the bias out.

    ``layers`` are the projections, each with the places of its first post and pre unit; they are
    merged into one matrix, whose entries `forward` is given as ``weights``, layer by layer.
    """

    log_tau: Tensor  # (n_taus,), of tau in ms; a parameter unless it is held
    bias: nn.Parameter | None  # (n_biases,)
    tau_of: Tensor | None
    bias_of: Tensor | None
    place: Tensor | None
    gap_post: Tensor | None  # the target of each gap junction, in the order of their layers
    gap_place: Tensor | None  # of each current: which junction, or, after those, which unit

    plain = False  # whether steps are always taken by `roll_plainly`
    structure = ("tau_of", "bias_of")

    def __init__(
        self,
        n: int,
        layers: Sequence[tuple[EdgeLinear, int, int]],
        *,
        activation: str = "tanh",
        tau_ms: float = 50.0,
        dt_ms: float = 20.0,
        tau_of: Tensor | None = None,
        bias_of: Tensor | None = None,
        dense: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}"
            )
        if not (0 < tau_ms < math.inf and 0 < dt_ms < math.inf):
            raise ValueError(f"tau_ms and dt_ms must be positive, not {tau_ms} and {dt_ms}")
        if any(layer.bias is not None for layer, *_ in layers):
            raise ValueError("layers must not have a bias: units have their own, bias_of")
        self.n, self.activation, self.dt_ms, self.dense = n, activation, dt_ms, dense
        self.start_tau_ms = tau_ms
        device = layers[0][0].weight.device if layers else None
        self.hold(device, tau_of=tau_of, bias_of=bias_of)
        log_tau = torch.empty(1 if tau_of is None else _count(tau_of, n), device=device)
        if tau_of is None:
            self.register_buffer("log_tau", log_tau)
        else:
            self.log_tau = nn.Parameter(log_tau)
        self.bias = None
        if bias_of is not None:
            self.bias = nn.Parameter(torch.empty(_count(bias_of, n), device=device))
        self._merge(layers)
        self.join(self.log_tau)
        self.reset_parameters()

    def _merge(self, layers: Sequence[tuple[EdgeLinear, int, int]]) -> None:
        """Merge the chemical connections into one matrix, and the currents; saved nowhere."""
        kinds: dict[str, list[int]] = {"chemical": [], "electrical": []}
        for k, (layer, *_) in enumerate(layers):
            kinds[layer.kind].append(k)
        self.chemical_layers, self.gap_layers = kinds.values()
        chemical = [layers[k] for k in self.chemical_layers]
        place: Tensor | None = None
        only = chemical[0][0] if len(chemical) == 1 else None
        if only is not None and only.kernel == "edges" and only.n_post == only.n_pre == self.n:
            parts: list[Any] = [only.kept[name] for name in STRUCTURE[:-1]]
        else:
            post, pre = self._ends(chemical)
            place = torch.argsort(post * self.n + pre, stable=True)
            parts = self._compressed(post[place], pre[place])
            place = place.int()
        ptr, pre = parts[:2]
        cell = pre[:0].long()
        # torch's sampled product takes no more connections than there are pairs.
        self.dense = self.dense or pre.numel() > self.n**2
        if self.dense:
            cell = _rows(ptr, pre.numel()) * self.n + pre
        self.hold(self._at, **dict(zip(STRUCTURE, (*parts, cell), strict=True)), place=place)
        self.places = [(post, of.n_post, pre, of.n_pre) for of, post, pre in layers]
        gap_post = gap_place = None
        if self.gap_layers:
            gap_post, pre = self._ends([layers[k] for k in self.gap_layers])
            each = torch.arange(self.n, device="cpu")  # on the diagonal, what flows out
            post, pre = torch.cat((gap_post, each)), torch.cat((pre, each))
            gap_place = torch.argsort(post * self.n + pre, stable=True)
            post, pre = post[gap_place], pre[gap_place]
            cell = post * self.n + pre if pre.numel() > self.n**2 else cell[:0]
            parts = [*self._compressed(post, pre), cell]
            self.hold(self._at, **dict(zip(CURRENTS, parts, strict=True)))
        self.hold(self._at, gap_post=gap_post, gap_place=gap_place)

    def _ends(self, layers: Sequence[tuple[EdgeLinear, int, int]]) -> tuple[Tensor, Tensor]:
        """Return targets and sources of all connections, layer by layer."""
        none = torch.empty(0, dtype=torch.int64, device="cpu")
        posts, pres = [none], [none]
        for layer, first_post, first_pre in layers:
            ptr, pre = layer.kept["ptr"], layer.kept["pre"]
            posts.append(_rows(ptr, pre.numel()) + first_post)
            pres.append(pre.long() + first_pre)
        return torch.cat(posts), torch.cat(pres)

    def _compressed(self, post: Tensor, pre: Tensor) -> list[Tensor]:
        """Return compressed rows of connections in order, and those of the transpose."""
        order = torch.argsort(pre, stable=True)
        bounds = torch.arange(self.n + 1, device=post.device)
        ptr, tptr = torch.searchsorted(post, bounds), torch.searchsorted(pre[order], bounds)
        return [x.int() for x in (ptr, pre, tptr, post[order], order)]

    def reset_parameters(self) -> None:
        """Reset every time constant to its initial value, and every bias to 0."""
        with torch.no_grad():
            self.log_tau.fill_(self.start_tau_ms).log_()
            if self.bias is not None:
                self.bias.zero_()

    def alpha(self) -> Tensor:
        """Return the fraction by which each unit, alone, approaches its drive in one step."""
        alpha = -torch.expm1(-self.dt_ms * torch.exp(-self.log_tau))
        if self.tau_of is None:
            return alpha.expand(self.n)
        return alpha.index_select(0, self.tau_of)

    def forward(
        self,
        drive: Tensor,
        layers: Sequence[EdgeLinear | Tensor],
        inputs: Tensor,
        outputs: Tensor,
        state: Tensor | None = None,
        held: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the rates of ``outputs`` ``(steps, batch, n_outputs)`` and the state at the end.

        ``drive`` ``(steps, batch, n_inputs)`` enters the units ``inputs``; ``layers`` are the
        projections, or their effective weights; ``state`` ``(batch, n)`` is 0 by default. It is
        kept in float32 where weights and drive are of less precision. ``held`` are units that keep
        their rates, and these, ``(batch, n_held)``. Where a layer has hooks, or another
        ``forward``, all layers are called at each step.
        """
        if drive.dim() != 3 or drive.shape[2] != inputs.numel():
            expected = f"(steps, batch, {inputs.numel()})"
            raise ValueError(f"drive is {tuple(drive.shape)}, expected {expected}")
        self.join(drive)
        called = any(_must_be_called(layer) for layer in layers)
        needed = self.gap_layers if called else range(len(layers))
        weights = {k: _effective(layers[k]) for k in needed}
        weight = self.log_tau.detach()[:0] if called else self._merged([*weights.values()])
        given = torch.promote_types(drive.dtype, weight.dtype)
        dtype = torch.promote_types(given, torch.float32)  # the CPU has no sparse half precision
        if state is None:
            state = drive.new_zeros(drive.shape[1], self.n)
        if state.shape != (drive.shape[1], self.n):
            shape = drive.shape[1], self.n
            raise ValueError(f"state is {tuple(state.shape)}, expected (batch, n) = {shape}")
        current, bias, alpha = weight.new_empty(0), weight.new_empty(0), self.alpha().to(dtype)
        conductance: Tensor | None = None
        structure = [getattr(self, name) for name in STRUCTURE]
        if held is not None:  # a unit that goes no part of its way stays where it is
            units, levels = held
            state = state.to(dtype).index_copy(1, units, levels.to(dtype))
            alpha = alpha.index_fill(0, units, 0)
        if self.gap_post is not None and self.gap_place is not None:
            gaps = torch.cat([weights[k] for k in self.gap_layers]).to(dtype)
            conductance = self.conductance(gaps)
            alpha = slowed(alpha, conductance)
            flows = gaps * alpha.index_select(0, self.gap_post), -alpha * conductance
            current = torch.cat(flows).index_select(0, self.gap_place)
            structure += [getattr(self, name) for name in CURRENTS]
        if self.bias is not None and self.bias_of is not None:
            bias = self.bias.index_select(0, self.bias_of)
        parts = (
            drive.to(dtype).transpose(1, 2).contiguous(),
            weight.to(dtype),
            current,
            alpha.unsqueeze(1),
            bias.to(dtype).unsqueeze(1),
            state.to(dtype).t().contiguous(),
            [*structure, inputs, outputs],
            self.activation,
        )
        if called or self.plain:
            carry = self._carry(layers, alpha, conductance) if called else None
            rates, last = roll_plainly(*parts, carry)
        else:
            rates, last = rate_rollout(*parts, self.dense)
        return rates.transpose(1, 2).to(given), last.t()

    def conductance(self, gaps: Tensor) -> Tensor:
        """Return the total conductance of each unit, ``(n,)``, from those of all gap junctions."""
        total = gaps.new_zeros(self.n)
        return total if self.gap_post is None else total.index_add(0, self.gap_post, gaps)

    def _carry(self, layers: Sequence[Any], alpha: Tensor, conductance: Tensor | None) -> Carry:
        """Return what maps rates ``(n, columns)`` to what all layers carry, and calls them."""

        def carry(rates: Tensor) -> tuple[Tensor, Tensor | None]:
            totals = {"chemical": torch.zeros_like(rates), "electrical": torch.zeros_like(rates)}
            for k, (layer, place) in enumerate(zip(layers, self.places, strict=True)):
                post, n_post, pre, n_pre = place
                sent = layer(rates[pre : pre + n_pre].t()).t()
                sent = nn.functional.pad(sent, (0, 0, post, self.n - post - n_post))
                kind = "electrical" if k in self.gap_layers else "chemical"
                totals[kind] = totals[kind] + sent
            if conductance is None:
                return totals["chemical"], None
            flow = totals["electrical"] - conductance.unsqueeze(1) * rates
            return totals["chemical"], alpha.unsqueeze(1) * flow

        return carry

    def multiply(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the product of the chemical connections with ``x`` ``(n, columns)``."""
        structure = [getattr(self, name) for name in STRUCTURE]
        total = torch.zeros_like(x)
        _adder(self._merged(weights), structure, x, self.dense)(x, total)
        return total

    def pull(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return ``(W x + G x) / (1 + g)`` for ``x`` ``(n, columns)``: of gap junctions ``G``.

        Towards that rates ``x`` are pulled where the activation has a slope of 1.
        """
        total = self.multiply(weights, x)
        if self.gap_place is None:
            return total
        gaps = torch.cat([weights[k] for k in self.gap_layers])
        conductance = self.conductance(gaps)
        entries = torch.cat((gaps, 0 * conductance)).index_select(0, self.gap_place)
        structure = [getattr(self, name) for name in CURRENTS]
        _adder(entries, structure, x, structure[5].numel() > 0)(x, total)
        return total / (1 + conductance).unsqueeze(1)

    def _merged(self, weights: Sequence[Tensor]) -> Tensor:
        chemical = [weights[k] for k in self.chemical_layers]
        if len(chemical) == 1:
            weight = chemical[0]
        else:
            weight = torch.cat([self.log_tau.detach()[:0], *chemical])
        return weight if self.place is None else weight.index_select(0, self.place)

    def extra_repr(self) -> str:
        """Return what `print` shows of the units."""
        return f"n={self.n}, activation={self.activation!r}, dt_ms={self.dt_ms}"


def _effective(layer: EdgeLinear | Tensor) -> Tensor:
    return layer if isinstance(layer, Tensor) else layer.effective_weight()


def _must_be_called(layer: nn.Module | Tensor) -> bool:
    """Return whether a projection does more than multiply by its effective weights."""
    if isinstance(layer, Tensor):
        return False
    own = {"forward", "multiply"} & vars(layer).keys() or getattr(layer, "bias", None) is not None
    kinds = isinstance(layer, EdgeLinear) and type(layer).forward is EdgeLinear.forward
    return bool(own) or not kinds or has_hooks(layer)
