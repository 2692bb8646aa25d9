"""A linear layer with one weight per connection, for connectomes.

Matrices are never stored: a layer holds the list of its connections in compressed rows, `[post,
pre]` like `nn.Linear.weight`, and as many weights. So there is nothing to mask, and no optimiser,
initialiser or checkpoint can make a connection that is not in the list.

Sparse autograd of torch would allocate the dense gradient (140,000 neurons: 78 GB), hence the two
operators below. Each is linear in both of its arguments, and the gradients of one are calls of the
other, so they can be differentiated as often as one likes.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.eager import in_transform, is_stand_in, is_taken_apart
from connectome_compiler.nn.same_structure import SameStructure
from connectome_compiler.nn.signs import size_with_sign, start_as_sizes

OP_LIBRARY = "connectome_compiler"  # the torch.library namespace of the operators
KERNELS = ("edges", "dense")

# Columns are the samples of a batch: the kernels hold activity as (neurons, samples). A CSR product
# is faster for few of them, embedding_bag for many; measured on one x86 core.
EMBEDDING_BAG_COLUMNS = 12
TILE_COLUMNS = 64  # of embedding_bag: the rows that it gathers from should stay in the L2 cache
# A strip of the "dense" kernel: 2 MiB of float32 stay in the cache between their uses, and are far
# below the 32 MiB from which glibc maps and clears fresh pages at every step.
STRIP_CELLS = 2**19
PLAIN_CELLS = 2**22  # of a matrix that torch's own functions multiply by: 16 MiB of float32


def _operator(
    fake: Callable[..., Tensor], save: Callable[..., None], formula: Callable[..., Any]
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Make a function differentiable by ``formula``, in two ways that compute the same.

    As a torch operator of that name, which `torch.compile` and `torch.export` see as one step (an
    operator that is already registered is reused); and as an autograd function for all other calls,
    since the overhead of an operator written in Python exceeds the run time of a small layer.
    """

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @wraps(function)
        def in_full_precision(x: Tensor, *rest: Any) -> Tensor:
            if not torch.is_autocast_enabled(x.device.type):
                return function(x, *rest)
            with torch.autocast(x.device.type, enabled=False):
                return function(x, *rest)

        name = function.__name__
        library = getattr(torch.ops, OP_LIBRARY)
        if not hasattr(library, name):
            op = torch.library.custom_op(
                f"{OP_LIBRARY}::{name}", in_full_precision, mutates_args=()
            )
            op.register_fake(fake)
            op.register_autograd(
                lambda ctx, grad: formula(
                    ctx, grad, library.connection_product, library.connection_gradient
                ),
                setup_context=save,
            )
        operator = getattr(library, name).default

        class Eager(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Any) -> Tensor:
                output = in_full_precision(*inputs)
                save(ctx, inputs, output)
                return output

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> Any:
                return formula(ctx, grad, connection_product, connection_gradient)

        class Transformed(torch.autograd.Function):
            """`Eager` in the form that `torch.func` requires, which is slower to call."""

            forward = staticmethod(in_full_precision)
            setup_context = staticmethod(save)
            backward = staticmethod(Eager.backward)

            @staticmethod
            def vmap(info: Any, dims: Any, *inputs: Any) -> tuple[Tensor, int]:
                pairs = list(zip(inputs, dims, strict=True))
                one_by_one = (  # simple, not fast: a batch belongs in the shape of the activity
                    call(*(x.select(d, k) if isinstance(d, int) else x for x, d in pairs))
                    for k in range(info.batch_size)
                )
                return torch.stack(list(one_by_one)), 0

        @wraps(function)
        def call(*inputs: Any) -> Tensor:
            if torch.compiler.is_compiling() or is_stand_in(inputs[0]):
                run = operator
            elif in_transform():
                run = Transformed.apply
            else:
                run = Eager.apply if torch.is_grad_enabled() else in_full_precision
            result: Tensor = run(*inputs)
            return result

        return call

    return register


def _csr(ptr: Tensor, index: Tensor, values: Tensor, n_columns: int) -> Tensor:
    return torch.sparse_csr_tensor(
        ptr,
        index,
        values,
        (ptr.numel() - 1, n_columns),
        device=values.device,  # else torch would take the default device
        check_invariants=False,
    )


def _edge_product(ptr: Tensor, index: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """Multiply a matrix in compressed rows by ``x`` ``(n, columns)``."""
    x = x.contiguous()
    if x.shape[1] == 1:
        return (_csr(ptr, index, values, x.shape[0]) @ x.squeeze(1)).unsqueeze(1)
    if x.is_cuda or x.shape[1] < EMBEDDING_BAG_COLUMNS:
        return _csr(ptr, index, values, x.shape[0]) @ x
    if x.shape[1] > TILE_COLUMNS:
        starts = range(0, x.shape[1], TILE_COLUMNS)
        tiles = [_edge_product(ptr, index, values, x[:, k : k + TILE_COLUMNS]) for k in starts]
        return torch.cat(tiles, 1)
    return nn.functional.embedding_bag(
        index, x, ptr, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _edge_gradient(ptr: Tensor, pre: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """Return the entries of ``g @ x.T`` at the connections: ``(n_connections,)``."""
    if 1 < x.shape[1] < 8:  # torch is 5-10 times slower for 2 to 7 columns than for 8
        pad = (0, 8 - x.shape[1])
        g, x = nn.functional.pad(g, pad), nn.functional.pad(x, pad)
    out = _csr(ptr, pre, g.new_zeros(pre.numel()), x.shape[0])
    torch.sparse.sampled_addmm(out, g.contiguous(), x.contiguous().t(), beta=0.0, out=out)
    return out.values()


def _strips(strips: list[int]) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the targets, the sources and the connections of each strip."""
    for a, b, c, d, e, f in zip(*[iter(strips)] * 6, strict=True):
        yield slice(a, b), slice(c, d), slice(e, f)


def _strip_matrix(values: Tensor, cell: Tensor, n_post: int, n_pre: int) -> Tensor:
    """Write the weights of one strip into a dense matrix ``(n_post, n_pre)``."""
    if values.numel() == n_post * n_pre:  # all to all: the list is the matrix
        return values.view(n_post, n_pre)
    return values.new_zeros(n_post * n_pre).scatter_(0, cell, values).view(n_post, n_pre)


def _strip_product(
    x: Tensor, weight: Tensor, cell: Tensor, strips: list[int], n_out: int, transposed: bool
) -> Tensor:
    """Multiply by the matrix of all strips, or by its transpose, one dense product per strip."""
    rows = x.t()
    out = rows.new_zeros(rows.shape[0], n_out)
    for post, pre, edges in _strips(strips):
        shape = post.stop - post.start, pre.stop - pre.start
        matrix = _strip_matrix(weight[edges], cell[edges], *shape)
        if transposed:
            out[:, pre].addmm_(rows[:, post], matrix)
        else:
            torch.mm(rows[:, pre], matrix.t(), out=out[:, post])
    return out.t()


def _strip_gradient(cell: Tensor, strips: list[int], g: Tensor, x: Tensor) -> Tensor:
    """Return the entries of ``g @ x.T`` at the connections, one dense product per strip."""
    out = g.new_empty(cell.numel())
    for post, pre, edges in _strips(strips):
        product = (g[post] @ x[pre].t()).reshape(-1)
        if product.numel() == edges.stop - edges.start:
            out[edges] = product
        else:
            torch.index_select(product, 0, cell[edges], out=out[edges])
    return out


def _fake_product(
    x: Tensor,
    weight: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
    transposed: bool,
) -> Tensor:
    n_out = n_pre if transposed else ptr.shape[0] - 1
    if strips:
        return x.new_empty(x.shape[1], n_out).t()
    return x.new_empty(n_out, x.shape[1])


def _save_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.strips, ctx.n_pre, ctx.transposed = inputs[7:]


def _product_backward(
    ctx: Any, grad: Tensor, product: Callable[..., Tensor], gradient: Callable[..., Tensor]
) -> tuple[Tensor | None, ...]:
    x, weight, *index = ctx.saved_tensors
    structure = *index, ctx.strips, ctx.n_pre
    grad_x = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_x = product(grad, weight, *structure, not ctx.transposed)
    if ctx.needs_input_grad[1]:
        g, x = (x, grad) if ctx.transposed else (grad, x)
        grad_weight = gradient(g, x, *structure)
    return grad_x, grad_weight, *[None] * 8


@_operator(_fake_product, _save_product, _product_backward)
def connection_product(
    x: Tensor,
    weight: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
    transposed: bool,
) -> Tensor:
    """Multiply activity by the weights of the connections, from pre to post or ``transposed``.

    ``x`` is ``(n_pre, columns)`` and the result ``(n_post, columns)``; transposed, the other way
    round. ``strips`` is empty for the "edges" kernel; `EdgeLinear._plan` explains the rest.
    """
    n_post = ptr.numel() - 1
    n_out = n_pre if transposed else n_post
    if not (weight.numel() and x.numel()):
        return _fake_product(
            x, weight, ptr, pre, tptr, tpost, order, strips, n_pre, transposed
        ).zero_()
    if not strips:
        if transposed:
            return _edge_product(tptr, tpost, weight.index_select(0, order), x)
        return _edge_product(ptr, pre, weight, x)
    if x.is_cuda or math.isfinite(x.sum().item()):  # a GPU would have to wait for the sum
        return _strip_product(x, weight, order, strips, n_out, transposed)
    # 0 * nan is nan: in a dense matrix one bad neuron would reach those it has no connection to.
    layout = torch.sparse_csc_tensor if transposed else torch.sparse_csr_tensor
    size = (n_out, x.shape[0])
    matrix = layout(ptr, pre, weight, size, device=weight.device, check_invariants=False)
    return (matrix @ x.contiguous()).t().contiguous().t()


def _fake_gradient(
    g: Tensor,
    x: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
) -> Tensor:
    return g.new_empty(pre.shape[0])


def _save_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.strips, ctx.n_pre = inputs[7:]


def _gradient_backward(
    ctx: Any, grad: Tensor, product: Callable[..., Tensor], gradient: Callable[..., Tensor]
) -> tuple[Tensor | None, ...]:
    g, x, *index = ctx.saved_tensors
    structure = *index, ctx.strips, ctx.n_pre
    grad_g = grad_x = None
    if ctx.needs_input_grad[0]:
        grad_g = product(x, grad, *structure, False)
    if ctx.needs_input_grad[1]:
        grad_x = product(g, grad, *structure, True)
    return grad_g, grad_x, *[None] * 7


@_operator(_fake_gradient, _save_gradient, _gradient_backward)
def connection_gradient(
    g: Tensor,
    x: Tensor,
    ptr: Tensor,
    pre: Tensor,
    tptr: Tensor,
    tpost: Tensor,
    order: Tensor,
    strips: list[int],
    n_pre: int,
) -> Tensor:
    """Return ``(g @ x.T)[post, pre]`` at the connections only: ``(n_connections,)``.

    ``g`` is ``(n_post, columns)``, ``x`` is ``(n_pre, columns)``.
    """
    if strips:
        return _strip_gradient(order, strips, g, x)
    return _edge_gradient(ptr, pre, g, x)


class EdgeLinear(SameStructure):
    """Linear map with one weight per connection: ``y[i] = sum over j of weight[i, j] * x[j]``.

    Target ``i`` has the connections ``ptr[i]:ptr[i + 1]``, from the neurons ``pre`` of this range,
    in ascending order. The weight that acts is ``sign * |weight|`` where a connection has a sign,
    and ``weight`` itself where ``sign`` is 0: no update can flip it.

    ``kernel`` selects how the product is computed, with the same result: "edges" uses the list of
    connections; "dense" writes it, strip by strip, into a dense matrix, which is faster when more
    than about a third of all possible connections exist.

    ``start`` gives the initial weights, ``(n_connections,)``; without it they are drawn by
    `reset_parameters`. The layer is made on ``device``, by default that of ``ptr`` or, if this is
    the CPU, torch's default device. Raises `ValueError` if the connections are malformed.
    """

    weight: nn.Parameter  # (n_connections,), before the sign is applied
    bias: nn.Parameter | None  # (n_post,)
    ptr: Tensor  # int32, (n_post + 1,)
    pre: Tensor  # int32, (n_connections,)
    sign: Tensor  # int8, () if all connections share it, else (n_connections,): +1, -1, 0 = free

    kind = "chemical"
    plain = False  # whether `multiply` always uses torch's own functions
    structure: tuple[str, ...] = ("ptr", "pre", "sign")

    def __init__(
        self,
        n_pre: int,
        ptr: Tensor,
        pre: Tensor,
        *,
        sign: Tensor | int = 0,
        bias: bool = False,
        kernel: str = "edges",
        start: Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise ValueError(f"no kernel {kernel!r}; there are {', '.join(KERNELS)}")
        _check_connections(n_pre, ptr, pre)
        if device is None:
            device = torch.get_default_device() if ptr.device.type == "cpu" else ptr.device
        self.n_pre, self.n_post, self.kernel = n_pre, ptr.numel() - 1, kernel
        ptr, pre = (index.to("cpu", torch.int32).contiguous() for index in (ptr, pre))
        sign = _compact_sign(sign, pre.numel())
        # Asked once, not at each step: signs cannot change.
        self._any_sign, self._any_free = bool(sign.any()), bool((sign == 0).any())
        self.hold("cpu", ptr=ptr, pre=pre, sign=sign)
        self._plan()
        with warnings.catch_warnings():  # torch says once per process that its CSR is beta
            warnings.simplefilter("ignore")
            _csr(ptr, pre, torch.empty(pre.numel(), device="cpu"), n_pre)

        self.weight = nn.Parameter(torch.empty(pre.numel(), device=device, dtype=dtype))
        self.register_parameter(
            "bias",
            nn.Parameter(torch.empty(self.n_post, device=device, dtype=dtype)) if bias else None,
        )
        self.join(self.weight)
        if start is None or bias:
            self.reset_parameters()
        if start is not None:
            if start.shape != self.weight.shape:
                raise ValueError(f"start is {tuple(start.shape)}, not {tuple(self.weight.shape)}")
            with torch.no_grad():
                self.weight.copy_(start)

    def _plan(self) -> None:
        """Derive from the connections what the kernel needs; saved nowhere.

        "edges": the transpose, with ``tpost`` the targets of each source and ``order`` the place
        of each of these connections in the list. "dense": ``order`` is the place of each
        connection in the matrix of its strip.
        """
        device = self.ptr.device
        empty = torch.empty(0, dtype=torch.int32, device=device)
        degree = self.ptr.diff()
        post = torch.arange(self.n_post, dtype=torch.int32, device=device)
        post = post.repeat_interleave(degree, output_size=self.pre.numel())
        self.cuts: list[int] = []
        if self.kernel == "edges":
            pre, order = torch.sort(self.pre, stable=True)
            sources = torch.arange(self.n_pre + 1, dtype=torch.int32, device=device)
            tptr = torch.searchsorted(pre, sources, out_int32=True)
            tpost, order = post.index_select(0, order), order.to(torch.int32)
        else:
            tptr = tpost = empty
            self.cuts, order = _cut_strips(self.n_pre, self.ptr, self.pre, post)
        self.hold("cpu", tptr=tptr, tpost=tpost, order=order)

    def reset_parameters(self) -> None:
        """Draw weights and bias uniformly within ``1 / sqrt(in-degree of the target)``.

        That is what `nn.Linear` does, with the fan-in that exists. Weights that act by their size,
        since their connection has a sign, start at 0 or above: so a step that adds to a weight
        strengthens its synapse.
        """
        degree = self.ptr.diff()
        bound = degree.clamp(min=1).rsqrt()
        with torch.no_grad():
            per_connection = bound.repeat_interleave(degree, output_size=self.pre.numel())
            self.weight.uniform_(-1, 1).mul_(per_connection)
            start_as_sizes(self.weight, self.sign)
            if self.bias is not None:
                self.bias.uniform_(-1, 1).mul_(bound * (degree > 0))

    def effective_weight(self) -> Tensor:
        """Return the weights that act, ``(n_connections,)``; differentiable."""
        self.join(self.weight)
        return self._signed(self.weight)

    def _signed(self, weight: Tensor) -> Tensor:
        """Give weights, ``(n_connections,)``, the signs of their connections."""
        if not self._any_sign:
            return weight
        return size_with_sign(weight, self.sign, self._any_free)

    def sparse_weight(self) -> Tensor:
        """Return the weights that act as a coalesced sparse COO tensor, ``[post, pre]``."""
        weight = self.effective_weight()
        return torch.sparse_coo_tensor(
            torch.stack((self._targets(), self.pre.long())),
            weight,
            (self.n_post, self.n_pre),
            is_coalesced=True,
            check_invariants=False,
        )

    def _targets(self) -> Tensor:
        """Return the target of each connection: how many end before it, ``(n_connections,)``."""
        ends = self.ptr[1:].long()  # ONNX cannot repeat each target by its in-degree
        ended = ends.new_zeros(self.pre.numel() + 1).index_add(0, ends, torch.ones_like(ends))
        return ended.cumsum(0)[:-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map activity ``(..., n_pre)`` to drive ``(..., n_post)``."""
        return self.multiply(x, self.effective_weight())

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """`forward` with a given `effective_weight`, to compute that once before a time loop."""
        if x.shape[-1:] != (self.n_pre,):
            raise ValueError(f"activity is {tuple(x.shape)}, expected (..., {self.n_pre})")
        dtype = torch.promote_types(x.dtype, weight.dtype)
        # The CPU has no sparse kernels for half precision, and float32 sums are the better ones.
        precision = torch.promote_types(dtype, torch.float32)
        columns = x.reshape(math.prod(x.shape[:-1]), self.n_pre).t().to(precision)
        weight = weight.to(precision)
        if self.plain or is_taken_apart(x, weight):
            y = plain_product(weight, self._targets(), self.pre, self.n_post, self.n_pre)(columns)
        else:
            y = connection_product(
                # The list is read with a row of memory per neuron; no copy if x came from a layer.
                columns if self.kernel == "dense" else columns.contiguous(),
                weight,
                self.ptr,
                self.pre,
                self.tptr,
                self.tpost,
                self.order,
                self.cuts,
                self.n_pre,
                False,
            )
        y = y.t().reshape(*x.shape[:-1], self.n_post).to(dtype)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return (
            f"n_pre={self.n_pre}, n_post={self.n_post}, n_connections={self.pre.numel()}, "
            f"bias={self.bias is not None}, kernel={self.kernel!r}"
        )


def plain_product(
    weight: Tensor, post: Tensor, pre: Tensor, n_post: int, n_pre: int
) -> Callable[[Tensor], Tensor]:
    """Return the product with activity ``(n_pre, columns)``, in functions that are torch's own.

    So torch can transform, trace and export it, and differentiate it as often as one likes.
    Connection ``k`` leads from ``pre[k]`` to ``post[k]``.
    """
    if n_post * n_pre <= PLAIN_CELLS:
        cells = weight.new_zeros(n_post * n_pre).index_add(0, post * n_pre + pre, weight)
        matrix = cells.view(n_post, n_pre)
        return lambda x: matrix @ x

    def product(x: Tensor) -> Tensor:
        sent = x.index_select(0, pre) * weight.unsqueeze(1)
        return x.new_zeros(n_post, x.shape[1]).index_add(0, post, sent)

    return product


def _check_connections(n_pre: int, ptr: Tensor, pre: Tensor) -> None:
    """Raise `ValueError` unless the connections are sorted by post, then pre, and unique."""
    for name, index in (("ptr", ptr), ("pre", pre)):
        if index.dim() != 1 or index.is_floating_point() or index.dtype == torch.bool:
            raise ValueError(f"{name} must be a list of integers")
    if ptr.is_meta or pre.is_meta:
        raise ValueError("ptr and pre have no numbers on the meta device: give device='meta'")
    n_connections = pre.numel()
    if not ptr.numel() or int(ptr[0]) != 0 or int(ptr[-1]) != n_connections:
        raise ValueError(f"ptr must go from 0 to the number of connections, {n_connections}")
    if bool((ptr[1:] < ptr[:-1]).any()):
        raise ValueError("ptr must not decrease")
    if not n_connections:
        return
    low, high = (int(end) for end in pre.aminmax())
    if low < 0 or high >= n_pre:
        raise ValueError(f"pre must lie in 0..{n_pre - 1}, found {low}..{high}")
    ascending = torch.cat((pre.new_zeros(1, dtype=torch.bool), pre[1:] > pre[:-1]))
    ascending[ptr[:-1][ptr.diff() > 0].long()] = True  # the first source of a target may be any
    if not bool(ascending.all()):
        raise ValueError("pre must ascend within each target, without repeats")


def _compact_sign(sign: Tensor | int, n_connections: int) -> Tensor:
    """Return signs as int8, ``(n_connections,)``, or ``()`` when they are all the same."""
    if not isinstance(sign, Tensor):
        sign = torch.tensor(sign, device="cpu")
    if sign.shape not in ((), (n_connections,)):
        raise ValueError(f"sign is {tuple(sign.shape)}, expected () or ({n_connections},)")
    low, high = (int(end) for end in sign.aminmax()) if sign.numel() else (0, 0)
    if low < -1 or high > 1:
        raise ValueError("sign must be +1, -1 or 0")
    if low == high:
        return torch.tensor(low, dtype=torch.int8, device=sign.device)
    return sign.to(torch.int8).contiguous()


def _cut_strips(n_pre: int, ptr: Tensor, pre: Tensor, post: Tensor) -> tuple[list[int], Tensor]:
    """Cut the matrix into strips of targets, each over the range of sources that it uses.

    Returns six numbers per strip (first and last target, source, connection; the last excluded)
    and, for each connection, its place in the matrix of its strip.
    """
    n_post = ptr.numel() - 1
    height = max(1, min(n_post, STRIP_CELLS // max(1, n_pre)))
    strips, cells = [], []
    for first in range(0, n_post, height):
        last = min(first + height, n_post)
        start, stop = int(ptr[first]), int(ptr[last])
        if start == stop:
            continue
        sources = pre[start:stop].long()
        low, high = (int(end) for end in sources.aminmax())
        strips += [first, last, low, high + 1, start, stop]
        cells.append((post[start:stop] - first).long() * (high + 1 - low) + sources - low)
    return strips, torch.cat(cells) if cells else pre.long()
