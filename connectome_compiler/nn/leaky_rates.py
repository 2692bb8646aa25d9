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

from connectome_compiler.nn.eager import in_transform
from connectome_compiler.nn.edge_linear import (
    EMBEDDING_BAG_COLUMNS,
    OP_LIBRARY,
    EdgeLinear,
    _csr,
    _edge_product,
)
from connectome_compiler.nn.same_structure import SameStructure

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "linear")

# What `_merge` derives from the connections: rows and sources, the transpose, places if dense.
STRUCTURE = ("ptr", "pre", "tptr", "tpost", "order", "cell")

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
    weight: Tensor, structure: Sequence[Tensor], like: Tensor, dense: bool, transposed: bool
) -> Callable[[Tensor, Tensor], object]:
    """Return a function that adds the connections times its first argument to its second.

    Both are ``(n, columns)`` as ``like`` is.
    """
    n, columns = like.shape
    ptr, pre, tptr, tpost, order, cell = structure[:6]
    weight = weight.detach()  # embedding_bag prepares for its backward pass if it has one
    if not (weight.numel() and columns):
        return lambda x, total: None
    if dense:  # connections of one pair add up
        matrix = weight.new_zeros(n * n).index_add_(0, cell, weight).view(n, n)
        matrix = matrix.t() if transposed else matrix
    else:
        if transposed:
            ptr, pre, weight = tptr, tpost, weight.index_select(0, order)
        if columns >= EMBEDDING_BAG_COLUMNS and not like.is_cuda:
            return lambda x, total: total.add_(_edge_product(ptr, pre, weight, x))
        matrix = _csr(ptr, pre, weight, n)
    if columns == 1:
        return lambda x, total: total.view(n).addmv_(matrix, x.view(n))
    return lambda x, total: total.addmm_(matrix, x)


def _current_adder(
    weight: Tensor,
    conductance: Tensor,
    structure: Sequence[Tensor],
    like: Tensor,
    dense: bool,
    transposed: bool = False,
) -> Callable[[Tensor, Tensor], object]:
    """`_adder`, minus the current that flows out through gap junctions."""
    add_product = _adder(weight, structure, like, dense, transposed)
    if not conductance.numel():
        return add_product

    def add_current(x: Tensor, total: Tensor) -> None:
        add_product(x, total)
        total.addcmul_(conductance, x, value=-1)

    return add_current


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
    conductance: Tensor,
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
    inputs, outputs = (units.long() for units in structure[6:])  # torch adds by int32 slowly
    steps = drive.shape[0]
    kept = start.new_empty(2 * steps + 1, *start.shape)
    states, activity = kept[: steps + 1], kept[steps + 1 :]
    states[0] = start
    # What drives the units lies where their activity will be, and is turned into it step by step.
    activity.copy_(bias) if bias.numel() else activity.zero_()
    _add_at(inputs, drive, activity)
    add_current = _current_adder(weight, conductance, structure, start, dense)
    state = states[0]
    for t, (total, after) in enumerate(zip(activity, states[1:], strict=True)):
        if t or state.any():  # nothing flows from rest
            add_current(state, total)
        _activate(activation, total)
        state = torch.lerp(state, total, alpha, out=after)
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
    conductance: Tensor,
    alpha: Tensor,
    structure: Sequence[Tensor],
    activation: str,
    dense: bool,
    wanted: list[bool],
) -> tuple[Tensor, ...]:
    """Return the gradients of drive, weight, conductance, alpha, bias and start.

    Those that are not ``wanted`` are empty.
    """
    inputs, outputs = (units.long() for units in structure[6:])
    steps, (n, columns) = kept.shape[0] // 2, grad_last.shape
    states, activity = kept[: steps + 1], kept[steps + 1 :]
    want_drive, want_weight, want_conductance, want_alpha, want_bias, want_start = wanted
    add_current = _current_adder(weight, conductance, structure, grad_last, dense, transposed=True)
    gradient = _WeightGradient(weight, structure, n, columns, dense) if want_weight else None
    many = max(1, min(steps, gradient.many if gradient else CACHED_COLUMNS // max(1, columns)))
    grad_drive = alpha.new_empty(steps if want_drive else 0, inputs.numel(), columns)
    # Of what each unit has one number of, the sum over samples is left to the end.
    by_conductance, by_alpha, by_bias = (
        alpha.new_zeros(n if want else 0, columns)
        for want in (want_conductance, want_alpha, want_bias)
    )
    # Of some steps, the gradients of what the activation is taken of, and of the states after.
    inner, outer = alpha.new_empty(2, many, n, columns)
    actives, befores, intos, totals = (x.unbind() for x in (activity, states, inner, outer))
    into: Tensor | None = None
    back = torch.zeros_like(grad_last)  # of a state, times alpha: so that a step back is one lerp
    still, by_still = alpha == 0, torch.zeros_like(grad_last)  # of rates that are held
    for last in range(steps, 0, -many):
        first = max(0, last - many)
        _add_at(outputs, grad_rates[first:last], outer.zero_()[: last - first])
        for t in range(last - 1, first - 1, -1):
            active, state, total = actives[t], befores[t], totals[t - first]
            if into is None:
                total += grad_last
            else:
                add_current(into, total)
            torch.lerp(back, total, alpha, out=back)
            into = intos[t - first]
            _times_slope(activation, back, active, out=into)
            if want_bias:
                by_bias += into
            if want_conductance:
                by_conductance.addcmul_(into, state, value=-1)
            if want_alpha:
                by_alpha.addcmul_(active - state, back)
        if want_drive:
            torch.index_select(inner[: last - first], 1, inputs, out=grad_drive[first:last])
        if gradient and (last > 1 or states[0].any()):  # nothing flows from rest
            gradient.add(inner[: last - first], states[first:last])
        if want_start and still.any():
            by_still += outer[: last - first].sum(0)
    grad_start = grad_last.clone()
    if into is not None and want_start:
        grad_start = torch.where(still, by_still, back / alpha - back)
        add_current(into, grad_start)
    return (
        grad_drive,
        gradient.total() if gradient else weight.new_empty(0),
        by_conductance.sum(1, keepdim=True),
        by_alpha.sum(1, keepdim=True).div_(alpha if want_alpha else 1),
        by_bias.sum(1, keepdim=True),
        grad_start if want_start else back.new_empty(0, columns),
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
    "(Tensor drive, Tensor weight, Tensor conductance, Tensor alpha, Tensor bias, Tensor start,"
    " Tensor[] structure, str activation, bool dense) -> (Tensor, Tensor, Tensor)"
)
ROLLOUT_BACKWARD = (
    "(Tensor grad_rates, Tensor grad_last, Tensor kept, Tensor weight, Tensor conductance,"
    " Tensor alpha, Tensor[] structure, str activation, bool dense, bool[] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _save_rollout(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, weight, conductance, alpha, _, _, structure, ctx.activation, ctx.dense = inputs
    ctx.save_for_backward(*output[2:], weight, conductance, alpha, *structure)
    ctx.set_materialize_grads(False)  # else zeros as large as all states


def _rollout_backward(
    ctx: Any, grads: Sequence[Tensor | None], roll_back: Callable[..., tuple[Tensor, ...]]
) -> list[Tensor | None]:
    """Return the gradients that are wanted, of the first six arguments."""
    parts, structure = ctx.saved_tensors[:4], list(ctx.saved_tensors[4:])
    kept, (grad_rates, grad_last) = parts[0], grads[:2]
    if grad_rates is None:
        steps, outputs = kept.shape[0] // 2, structure[-1].shape[0]
        grad_rates = kept.new_zeros(steps, outputs, kept.shape[2])
    if grad_last is None:
        grad_last = kept.new_zeros(kept.shape[1:])
    wanted = list(ctx.needs_input_grad[:6])
    ends = grad_rates.contiguous(), grad_last.contiguous()
    found = roll_back(*ends, *parts, structure, ctx.activation, ctx.dense, wanted)
    return [grad if want else None for grad, want in zip(found, wanted, strict=True)]


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
        _, last, kept, weight, _, alpha, structure, _, _, wanted = parts
        steps, columns, inputs = kept.shape[0] // 2, kept.shape[2], structure[6].shape[0]
        shapes = [(steps, inputs, columns), weight.shape, *[alpha.shape] * 3, last.shape]
        none = [(0, inputs, columns), (0,), *[(0, 1)] * 3, (0, columns)]
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
        found = _rollout_backward(ctx, grads, library.rate_rollout_backward)
        return *found, [None] * (len(ctx.saved_tensors) - 4), None, None

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
        once_more = torch.is_grad_enabled() or in_transform()
        roll_back = _RollBack.apply if once_more else _roll_back
        return *_rollout_backward(ctx, grads, roll_back), None, None, None


class _TransformedRollout(_Rollout):
    """`_Rollout` in the form that `torch.func` requires, which is slower to call."""

    forward = staticmethod(_roll)
    setup_context = staticmethod(_save_rollout)


class _RollBack(torch.autograd.Function):
    """The backward pass as a function of its own, which cannot be differentiated again."""

    forward = staticmethod(_roll_back)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError("the roll-out can be differentiated once, not twice")


def rate_rollout(
    drive: Tensor,
    weight: Tensor,
    conductance: Tensor,
    alpha: Tensor,
    bias: Tensor,
    start: Tensor,
    structure: list[Tensor],
    activation: str,
    dense: bool,
) -> tuple[Tensor, Tensor]:
    """Roll ``n`` leaky units through the steps of ``drive``; return their rates and last state.

    ``r <- r + alpha (phi(W r - conductance r + bias + drive) - r)``, with ``drive`` ``(steps,
    inputs, columns)``, ``weight`` ``(n_connections,)``, ``alpha``, ``bias`` and ``conductance``
    ``(n, 1)`` (the last two, if none, ``(0, 1)``), ``start`` ``(n, columns)``. ``structure`` is the
    matrix in compressed rows and its transpose (ptr, pre, tptr, tpost, order), the places of the
    connections in a dense one, the units that inputs enter, and those whose rates are given:
    ``(steps, outputs, columns)``. It can be differentiated once.
    """
    parts = drive, weight, conductance, alpha, bias, start
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in parts)
    if torch.compiler.is_compiling() or drive.is_meta:
        run = _rollout
    elif learns or in_transform():
        run = (_TransformedRollout if in_transform() else _Rollout).apply
    else:
        run = _roll_in_parts
    rates, last, *_ = run(*parts, structure, activation, dense)
    return rates, last


def _targets(layer: EdgeLinear, first: int) -> Tensor:
    """Return the unit that each connection goes to, ``(n_connections,)``."""
    post = torch.arange(first, first + layer.n_post, device=layer.ptr.device)
    return post.repeat_interleave(layer.ptr.diff(), output_size=layer.pre.numel())


def _count(index: Tensor, n: int) -> int:
    """Return how many values ``index`` shares among ``n`` units."""
    if index.shape != (n,):
        raise ValueError(f"the index of values is {tuple(index.shape)}, expected ({n},)")
    return int(index.max()) + 1 if n else 0


class LeakyRates(SameStructure):
    """The units of a network: ``tau dr/dt = -r + phi(W r + input + bias)``.

    Gap junctions add ``sum over j of g[i, j] (r[j] - r[i])`` to what ``phi`` is taken of.

    Steps are exact for a drive that is constant over ``dt_ms`` (exponential Euler): ``r <- r +
    (1 - exp(-dt / tau)) (phi(...) - r)``, stable whatever the step. ``tau_ms`` and ``bias`` are
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
        self.register_buffer("tau_of", tau_of)
        self.register_buffer("bias_of", bias_of)
        device = layers[0][0].ptr.device if layers else None
        log_tau = torch.empty(1 if tau_of is None else _count(tau_of, n), device=device)
        if tau_of is None:
            self.register_buffer("log_tau", log_tau)
        else:
            self.log_tau = nn.Parameter(log_tau)
        self.bias = None
        if bias_of is not None:
            self.bias = nn.Parameter(torch.empty(_count(bias_of, n), device=device))
        self._merge(layers)
        self.reset_parameters()

    def _merge(self, layers: Sequence[tuple[EdgeLinear, int, int]]) -> None:
        """Merge the connections of all layers into one matrix; saved nowhere."""
        place: Tensor | None = None
        only = layers[0][0] if len(layers) == 1 else None
        if only is not None and only.kernel == "edges" and only.n_post == only.n_pre == self.n:
            parts: list[Any] = [only.ptr, only.pre, only.tptr, only.tpost, only.order]
        else:
            rows, sources = [self.log_tau[:0].long()], [self.log_tau[:0].long()]
            for layer, first_post, first_pre in layers:
                rows.append(_targets(layer, first_post))
                sources.append(layer.pre.long() + first_pre)
            post, pre = torch.cat(rows), torch.cat(sources)
            place = torch.argsort(post * self.n + pre, stable=True)
            post, pre = post[place], pre[place]
            order = torch.argsort(pre, stable=True)
            bounds = torch.arange(self.n + 1, device=post.device)
            ptr, tptr = torch.searchsorted(post, bounds), torch.searchsorted(pre[order], bounds)
            parts = [x.int() for x in (ptr, pre, tptr, post[order], order)]
            place = place.int()
        ptr, pre = parts[:2]
        cell = pre[:0].long()
        # torch's sampled product takes no more connections than there are pairs.
        self.dense = self.dense or pre.numel() > self.n**2
        if self.dense:
            post = torch.arange(self.n, device=ptr.device)
            cell = post.repeat_interleave(ptr.diff(), output_size=pre.numel()) * self.n + pre
        for name, buffer in zip(STRUCTURE, (*parts, cell), strict=True):
            self.register_buffer(name, buffer, persistent=False)
        self.register_buffer("place", place, persistent=False)
        self.gap_layers = [k for k, (layer, *_) in enumerate(layers) if layer.kind == "electrical"]
        gap_post = None
        if self.gap_layers:
            gap_post = torch.cat([_targets(*layers[k][:2]) for k in self.gap_layers])
        self.register_buffer("gap_post", gap_post, persistent=False)

    def reset_parameters(self) -> None:
        """Reset every time constant to its initial value, and every bias to 0."""
        with torch.no_grad():
            self.log_tau.fill_(self.start_tau_ms).log_()
            if self.bias is not None:
                self.bias.zero_()

    def alpha(self) -> Tensor:
        """Return the fraction by which each unit approaches its drive in one step, ``(n,)``."""
        alpha = -torch.expm1(-self.dt_ms * torch.exp(-self.log_tau))
        if self.tau_of is None:
            return alpha.expand(self.n)
        return alpha.index_select(0, self.tau_of)

    def forward(
        self,
        drive: Tensor,
        weights: Sequence[Tensor],
        inputs: Tensor,
        outputs: Tensor,
        state: Tensor | None = None,
        held: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the rates of ``outputs`` ``(steps, batch, n_outputs)`` and the state at the end.

        ``drive`` ``(steps, batch, n_inputs)`` enters the units ``inputs``; ``weights`` are the
        effective weights of each layer; ``state`` ``(batch, n)`` is 0 by default. It is kept in
        float32 where weights and drive are of less precision. ``held`` are units that keep their
        rates, and these, ``(batch, n_held)``.
        """
        if drive.dim() != 3 or drive.shape[2] != inputs.numel():
            expected = f"(steps, batch, {inputs.numel()})"
            raise ValueError(f"drive is {tuple(drive.shape)}, expected {expected}")
        weight = self._merged(weights)
        given = torch.promote_types(drive.dtype, weight.dtype)
        dtype = torch.promote_types(given, torch.float32)  # the CPU has no sparse half precision
        if state is None:
            state = drive.new_zeros(drive.shape[1], self.n)
        if state.shape != (drive.shape[1], self.n):
            shape = drive.shape[1], self.n
            raise ValueError(f"state is {tuple(state.shape)}, expected (batch, n) = {shape}")
        alpha = self.alpha().to(dtype)
        leak = bias = weight.new_empty(0)
        if self.gap_post is not None:
            gaps = torch.cat([weights[k] for k in self.gap_layers])
            leak = weight.new_zeros(self.n).index_add(0, self.gap_post, gaps)
        if self.bias is not None and self.bias_of is not None:
            bias = self.bias.index_select(0, self.bias_of)
        structure = [getattr(self, name) for name in STRUCTURE]
        if held is not None:  # a unit that goes no part of its way stays where it is
            units, levels = held
            state = state.to(dtype).index_copy(1, units, levels.to(dtype))
            alpha = alpha.index_fill(0, units, 0)
        rates, last = rate_rollout(
            drive.to(dtype).transpose(1, 2).contiguous(),
            weight.to(dtype),
            leak.to(dtype).unsqueeze(1),
            alpha.unsqueeze(1),
            bias.to(dtype).unsqueeze(1),
            state.to(dtype).t().contiguous(),
            [*structure, inputs, outputs],
            self.activation,
            self.dense,
        )
        return rates.transpose(1, 2).to(given), last.t()

    def multiply(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the product of the merged matrix with ``x`` ``(n, columns)``."""
        structure = [getattr(self, name) for name in STRUCTURE]
        total = torch.zeros_like(x)
        _adder(self._merged(weights), structure, x, self.dense, transposed=False)(x, total)
        return total

    def _merged(self, weights: Sequence[Tensor]) -> Tensor:
        weight = (
            weights[0] if len(weights) == 1 else torch.cat([self.log_tau.detach()[:0], *weights])
        )
        return weight if self.place is None else weight.index_select(0, self.place)

    def extra_repr(self) -> str:
        """Return what `print` shows of the units."""
        return f"n={self.n}, activation={self.activation!r}, dt_ms={self.dt_ms}"
