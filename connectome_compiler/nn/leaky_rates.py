"""Leaky rate units, rolled through time over the connections of a whole nervous system.

All steps run in one operator. Its backward pass goes back through the steps once and leaves the
gradient of the weights to the end, as few wide products at the connections: memory grows with
states and connections, not with connections times steps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.edge_linear import OP_LIBRARY, EdgeLinear, _csr, _edge_product

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "linear")

# What `_merge` derives from the connections: rows and sources, the transpose, places if dense.
STRUCTURE = ("ptr", "pre", "tptr", "tpost", "order", "cell")

CACHED_BYTES = 2**20  # what stays in the L2 cache


def _activate(kind: str, drive: Tensor, out: Tensor) -> None:
    """Write the activation of ``drive`` to ``out``."""
    if kind == "relu":
        torch.clamp(drive, min=0, out=out)
    elif kind == "softplus":
        torch.logaddexp(drive, drive.new_zeros(()), out=out)
    elif kind == "tanh":
        torch.tanh(drive, out=out)
    elif kind == "sigmoid":
        torch.sigmoid(drive, out=out)
    else:
        out.copy_(drive)


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


def _matrix(weight: Tensor, structure: Sequence[Tensor], n: int) -> Tensor:
    """Write the weights into a dense matrix ``(n, n)``; connections of one pair add up."""
    return weight.new_zeros(n * n).index_add_(0, structure[5], weight).view(n, n)


def _multiplier(
    weight: Tensor, structure: Sequence[Tensor], n: int, dense: bool, transposed: bool
) -> Callable[[Tensor], Tensor]:
    """Return the product of the connections' matrix, or its transpose, with ``(n, columns)``."""
    ptr, pre, tptr, tpost, order = structure[:5]
    if not weight.numel():
        return torch.zeros_like
    if dense:
        matrix = _matrix(weight, structure, n)
        return (matrix.t() if transposed else matrix).mm
    if transposed:
        ptr, pre, weight = tptr, tpost, weight.index_select(0, order)
    return lambda x: _edge_product(ptr, pre, weight, x)


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
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return rates, the state at the end, and activity and states of all steps.

    Without ``keep``, the last two are of one step only.
    """
    inputs, outputs = structure[6:]
    steps, n, columns = drive.shape[0], *start.shape
    multiply = _multiplier(weight, structure, n, dense, transposed=False)
    rates = start.new_empty(steps, outputs.numel(), columns)
    activity = start.new_empty(steps if keep else 1, n, columns)
    states = start.new_empty(steps + 1 if keep else 1, n, columns)
    states[0] = start
    for t in range(steps):
        here, there = (t, t + 1) if keep else (0, 0)
        state = states[here]
        total = multiply(state)
        if bias.numel():
            total += bias
        if conductance.numel():
            total.addcmul_(conductance, state, value=-1)
        total.index_add_(0, inputs, drive[t])
        _activate(activation, total, out=activity[here])
        torch.lerp(state, activity[here], alpha, out=states[there])
        torch.index_select(states[there], 0, outputs, out=rates[t])
    return rates, states[-1].clone(), activity, states


def _roll_back(
    grad_rates: Tensor,
    grad_final: Tensor,
    activity: Tensor,
    states: Tensor,
    weight: Tensor,
    conductance: Tensor,
    alpha: Tensor,
    structure: Sequence[Tensor],
    activation: str,
    dense: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of drive, weight, conductance, alpha, bias and start.

    Those that are not ``wanted`` are empty, or wrong.
    """
    _, want_weight, _, want_alpha, want_bias, want_start = wanted
    inputs, outputs = structure[6:]
    steps, n, columns = activity.shape
    multiply = _multiplier(weight, structure, n, dense, transposed=True)
    gradient = _WeightGradient(weight, structure, n, dense)
    grad_drive = alpha.new_empty(steps, inputs.numel(), columns)
    grad_conductance = torch.zeros_like(conductance)
    grad_alpha = torch.zeros_like(alpha)
    grad_bias = torch.zeros_like(alpha) if want_bias else alpha.new_empty(0, 1)
    # Steps are handled in groups, as wide as the products for the gradient of the weights.
    many = max(1, min(steps, (64 if n * 1024 > CACHED_BYTES else 256) // columns))
    inner, outer = alpha.new_empty(2, many, n, columns)
    # What comes back to a state, times alpha: so that one step back is one lerp.
    back = grad_final.index_add(0, outputs, grad_rates[-1]).mul_(alpha)
    for last in range(steps, 0, -many):
        first = max(0, last - many)
        for t in range(last - 1, first - 1, -1):
            outer[t - first] = back
            into = inner[t - first]
            _times_slope(activation, back, activity[t], out=into)
            if not t and not want_start:
                break
            before = multiply(into)
            if conductance.numel():
                before.addcmul_(conductance, into, value=-1)
            if t:
                before.index_add_(0, outputs, grad_rates[t - 1])
            back = torch.lerp(back, before, alpha)
        into, state = inner[: last - first], states[first:last]
        torch.index_select(into, 1, inputs, out=grad_drive[first:last])
        if want_bias:
            grad_bias += into.sum((0, 2)).unsqueeze(1)
        if conductance.numel():
            grad_conductance -= (into * state).sum((0, 2)).unsqueeze(1)
        if want_weight:
            gradient.add(into, state)
        if want_alpha:
            moved = (activity[first:last] - state).mul_(outer[: last - first])
            grad_alpha += moved.sum((0, 2)).unsqueeze(1) / alpha
    grad_weight = gradient.total() if want_weight else weight.new_empty(0)
    return grad_drive, grad_weight, grad_conductance, grad_alpha, grad_bias, back / alpha


class _WeightGradient:
    """The sum over steps and samples of ``inner state^T``, at the connections only."""

    def __init__(self, weight: Tensor, structure: Sequence[Tensor], n: int, dense: bool) -> None:
        self.structure, self.n, self.dense = structure, n, dense
        self.sum = weight.new_zeros(n, n) if dense else torch.zeros_like(weight)

    def add(self, inner: Tensor, state: Tensor) -> None:
        """Add some steps: ``(steps, n, columns)``."""
        if not self.sum.numel():
            return
        inner, state = (x.transpose(0, 1).reshape(self.n, -1) for x in (inner, state))
        if self.dense:
            self.sum.addmm_(inner, state.t())
            return
        if 1 < inner.shape[1] < 8:  # torch is 5-10 times slower for 2 to 7 columns than for 8
            pad = (0, 8 - inner.shape[1])
            inner, state = nn.functional.pad(inner, pad), nn.functional.pad(state, pad)
        ptr, pre = self.structure[:2]
        out = _csr(ptr, pre, self.sum, self.n)
        torch.sparse.sampled_addmm(out, inner, state.t(), out=out)
        self.sum = out.values()

    def total(self) -> Tensor:
        """Return the gradient, ``(n_connections,)``."""
        return self.sum.view(-1).index_select(0, self.structure[5]) if self.dense else self.sum


ROLLOUT = (
    "(Tensor drive, Tensor weight, Tensor conductance, Tensor alpha, Tensor bias, Tensor start,"
    " Tensor[] structure, str activation, bool dense) -> (Tensor, Tensor, Tensor, Tensor)"
)
ROLLOUT_BACKWARD = (
    "(Tensor grad_rates, Tensor grad_final, Tensor activity, Tensor states, Tensor weight,"
    " Tensor conductance, Tensor alpha, Tensor[] structure, str activation, bool dense,"
    " bool[] wanted)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _register_rollout() -> Any:
    """Make the operator that autograd, `torch.compile` and `torch.export` see as one step."""
    library = getattr(torch.ops, OP_LIBRARY)
    if hasattr(library, "rate_rollout"):
        return library.rate_rollout

    def forward(*parts: Any) -> tuple[Tensor, ...]:
        arguments = [*parts, True]  # keep what the backward pass needs
        with torch.autocast(parts[0].device.type, enabled=False):
            return _roll(*arguments)

    def fake(*parts: Any) -> tuple[Tensor, ...]:
        drive, start, (*_, outputs) = parts[0], parts[5], parts[6]
        steps, (n, columns) = drive.shape[0], start.shape
        made = start.new_empty
        return (
            made(steps, outputs.shape[0], columns),
            made(n, columns),
            made(steps, n, columns),
            made(steps + 1, n, columns),
        )

    def fake_backward(*parts: Any) -> tuple[Tensor, ...]:
        _, last, activity, _, weight, conductance, alpha, structure, *_, wanted = parts
        drive = alpha.new_empty(activity.shape[0], structure[6].shape[0], activity.shape[2])
        grad_weight = weight.new_empty(weight.shape if wanted[1] else 0)
        grad_bias = alpha.new_empty(alpha.shape if wanted[4] else (0, 1))
        like = torch.empty_like
        return drive, grad_weight, like(conductance), like(alpha), grad_bias, like(last)

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, weight, conductance, alpha, _, _, structure, ctx.activation, ctx.dense = inputs
        ctx.save_for_backward(*output[2:], weight, conductance, alpha, *structure)
        ctx.set_materialize_grads(False)  # else zeros as large as all states

    def formula(ctx: Any, grad_rates: Tensor | None, grad_last: Tensor | None, *_: Any) -> Any:
        parts, structure = ctx.saved_tensors[:5], list(ctx.saved_tensors[5:])
        activity, states = parts[:2]
        if grad_rates is None:
            outputs = structure[-1].numel()
            grad_rates = states.new_zeros(activity.shape[0], outputs, activity.shape[2])
        if grad_last is None:
            grad_last = torch.zeros_like(states[0])
        wanted = list(ctx.needs_input_grad[:6])
        grads = library.rate_rollout_backward(
            grad_rates.contiguous(),
            grad_last.contiguous(),
            *(*parts, structure, ctx.activation, ctx.dense, wanted),
        )
        found = [grad if want else None for grad, want in zip(grads, wanted, strict=True)]
        return *found, [None] * len(structure), None, None

    def define(name: str, schema: str, body: Callable[..., Any], shapes: Callable[..., Any]) -> Any:
        full = f"{OP_LIBRARY}::{name}"
        made = torch.library.custom_op(full, body, mutates_args=(), schema=schema)
        made.register_fake(shapes)
        return made

    define("rate_rollout", ROLLOUT, forward, fake).register_autograd(formula, setup_context=save)
    define("rate_rollout_backward", ROLLOUT_BACKWARD, _roll_back, fake_backward)
    return library.rate_rollout


_rollout = _register_rollout()


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
    if learns or torch.compiler.is_compiling():
        rates, last, *_ = _rollout(*parts, structure, activation, dense)
    else:
        rates, last, *_ = _roll(*parts, structure, activation, dense, keep=False)
    return rates, last


def _targets(layer: EdgeLinear, first: int) -> Tensor:
    """Return the unit that each connection goes to, ``(n_connections,)``."""
    post = torch.arange(first, first + layer.n_post)
    return post.repeat_interleave(layer.ptr.diff().cpu())


class LeakyRates(nn.Module):
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
    bias_of: Tensor
    place: Tensor | None
    gap_post: Tensor | None  # the target of each gap junction, in the order of their layers

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
            raise ValueError(f"no activation {activation!r}; there are {', '.join(ACTIVATIONS)}")
        if not (tau_ms > 0 and dt_ms > 0):
            raise ValueError(f"tau_ms is {tau_ms}, dt_ms is {dt_ms}: both must be above 0")
        self.n, self.activation, self.dt_ms, self.dense = n, activation, dt_ms, dense
        self.start_tau_ms = tau_ms
        self.register_buffer("tau_of", tau_of)
        self.register_buffer("bias_of", bias_of)
        n_taus = 1 if tau_of is None else int(tau_of.max()) + 1
        log_tau = torch.empty(n_taus)
        if tau_of is None:
            self.register_buffer("log_tau", log_tau)
        else:
            self.log_tau = nn.Parameter(log_tau)
        self.bias = None if bias_of is None else nn.Parameter(torch.empty(int(bias_of.max()) + 1))
        self._merge(layers)
        self.reset_parameters()

    def _merge(self, layers: Sequence[tuple[EdgeLinear, int, int]]) -> None:
        """Merge the connections of all layers into one matrix; saved nowhere."""
        place: Tensor | None = None
        only = layers[0][0] if len(layers) == 1 else None
        if only is not None and only.kernel == "edges" and only.n_post == only.n_pre == self.n:
            parts: list[Any] = [only.ptr, only.pre, only.tptr, only.tpost, only.order]
        else:
            rows, sources = [torch.empty(0).long()], [torch.empty(0).long()]
            for layer, first_post, first_pre in layers:
                rows.append(_targets(layer, first_post))
                sources.append(layer.pre.cpu().long() + first_pre)
            post, pre = torch.cat(rows), torch.cat(sources)
            place = torch.argsort(post * self.n + pre, stable=True)
            post, pre = post[place], pre[place]
            order = torch.argsort(pre, stable=True)
            bounds = torch.arange(self.n + 1)
            ptr, tptr = torch.searchsorted(post, bounds), torch.searchsorted(pre[order], bounds)
            parts = [x.int() for x in (ptr, pre, tptr, post[order], order)]
        cell = torch.empty(0).long()
        if self.dense:
            post = torch.arange(self.n).repeat_interleave(parts[0].diff().cpu())
            cell = post * self.n + parts[1].cpu()
        for name, buffer in zip(STRUCTURE, (*parts, cell), strict=True):
            self.register_buffer(name, buffer, persistent=False)
        self.register_buffer("place", place, persistent=False)
        self.gap_layers = [k for k, (layer, *_) in enumerate(layers) if layer.kind == "electrical"]
        gap_post = None
        if self.gap_layers:
            gap_post = torch.cat([_targets(*layers[k][:2]) for k in self.gap_layers])
        self.register_buffer("gap_post", gap_post, persistent=False)

    def reset_parameters(self) -> None:
        """Set every time constant to its start, and every bias to 0."""
        with torch.no_grad():
            self.log_tau.fill_(self.start_tau_ms).log_()
            if self.bias is not None:
                self.bias.zero_()

    def alpha(self) -> Tensor:
        """Return how far each unit goes towards its drive in one step, ``(n,)``, 0 to 1."""
        tau = self.log_tau.exp()
        tau = tau.expand(self.n) if self.tau_of is None else tau.index_select(0, self.tau_of)
        return -torch.expm1(-self.dt_ms / tau)

    def forward(
        self,
        drive: Tensor,
        weights: Sequence[Tensor],
        inputs: Tensor,
        outputs: Tensor,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the rates of ``outputs`` ``(steps, batch, n_outputs)`` and the state at the end.

        ``drive`` ``(steps, batch, n_inputs)`` enters the units ``inputs``; ``weights`` are the
        effective weights of each layer; ``state`` ``(batch, n)`` is 0 by default.
        """
        weight = self._merged(weights)
        dtype = torch.promote_types(torch.promote_types(drive.dtype, weight.dtype), torch.float32)
        if state is None:
            state = drive.new_zeros(drive.shape[1], self.n)
        if state.shape != (drive.shape[1], self.n):
            expected = drive.shape[1], self.n
            raise ValueError(f"state is {tuple(state.shape)}, expected (batch, n) = {expected}")
        leak = bias = weight.new_empty(0)
        if self.gap_post is not None:
            gaps = torch.cat([weights[k] for k in self.gap_layers])
            leak = weight.new_zeros(self.n).index_add(0, self.gap_post, gaps)
        if self.bias is not None:
            bias = self.bias.index_select(0, self.bias_of)
        structure = [getattr(self, name) for name in STRUCTURE]
        rates, last = rate_rollout(
            drive.to(dtype).transpose(1, 2).contiguous(),
            weight.to(dtype),
            leak.to(dtype).unsqueeze(1),
            self.alpha().to(dtype).unsqueeze(1),
            bias.to(dtype).unsqueeze(1),
            state.to(dtype).t().contiguous(),
            [*structure, inputs, outputs],
            self.activation,
            self.dense,
        )
        return rates.transpose(1, 2), last.t()

    def multiply(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the product of the merged matrix with ``x`` ``(n, columns)``."""
        structure = [getattr(self, name) for name in STRUCTURE]
        return _multiplier(self._merged(weights), structure, self.n, self.dense, False)(x)

    def _merged(self, weights: Sequence[Tensor]) -> Tensor:
        weight = weights[0] if len(weights) == 1 else torch.cat([self.log_tau[:0], *weights])
        return weight if self.place is None else weight.index_select(0, self.place)

    def extra_repr(self) -> str:
        """Return what `print` shows of the units."""
        return f"n={self.n}, activation={self.activation!r}, dt_ms={self.dt_ms}"
