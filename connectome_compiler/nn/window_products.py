"""Products with a masked weight that skip some of what is off the mask, on the CPU.

Strip by strip of outputs, so that the masked copy of a large weight stays in the cache; or patch
by patch, each over the inputs that it sees alone. All of them compute what ``weight * mask`` in
plain torch does, gradients and gradients of gradients included, and `runs_eagerly` says where they
may stand in for it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from connectome_compiler.nn.window_rules import WindowRule

PATCH = 8  # units a side of a patch of outputs; 64 in a row where there is no grid
# Numbers of a masked copy that fit the cache; larger weights are masked strip by strip, or patch by
# patch, where they are multiplied.
CACHE_CELLS = 2**19

Sizes = tuple[tuple[int, int], ...]
Patches = list[tuple[Tensor, Tensor]]  # the outputs of each patch and the inputs that it sees


def keep_live(values: Tensor, live: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``values`` where ``live`` is -1 (int8), and zero where it is 0."""
    if values.dtype != torch.float32:
        return torch.mul(values, live.bool(), out=out)
    bits = None if out is None else out.view(torch.int32)  # all bits or none: no multiplication
    return torch.bitwise_and(values.view(torch.int32), live, out=bits).view(torch.float32)


class _StripProduct(torch.autograd.Function):
    """``x @ (weight * mask).T``, strip by strip of outputs; ``x`` is ``(rows, n_pre)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, mask)
        y = x.new_empty(x.shape[0], weight.shape[0])
        for rows, strip, _ in _masked_strips(weight, mask):
            torch.mm(x, strip.t(), out=y[:, rows])
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, mask = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            return grad @ (weight * mask), (grad.t() @ x) * mask, None
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for rows, strip, live in _masked_strips(weight, mask):
            if grad_x is not None:
                grad_x.addmm_(grad[:, rows], strip)
            if grad_weight is not None:
                part = grad_weight[rows]
                torch.mm(grad[:, rows].t(), x, out=part)
                keep_live(part, live, out=part)
        return grad_x, grad_weight, None


strip_product: Callable[..., Tensor] = _StripProduct.apply


def _masked_strips(weight: Tensor, mask: Tensor) -> Iterable[tuple[slice, Tensor, Tensor]]:
    """Yield the rows of each strip, its masked weights (overwritten by the next), its mask."""
    n_post, n_pre = weight.shape
    height = min(n_post, max(1, CACHE_CELLS // n_pre))
    strip = weight.new_empty(height, n_pre)
    live = mask.new_empty(height, n_pre, dtype=torch.int8)
    for first in range(0, n_post, height):
        rows = slice(first, min(first + height, n_post))
        n = rows.stop - first
        torch.neg(mask[rows].view(torch.int8), out=live[:n])
        yield rows, keep_live(weight[rows], live[:n], out=strip[:n]), live[:n]


class _PatchProduct(torch.autograd.Function):
    """One product per patch of outputs, over the inputs that it sees; ``x`` is ``(n_pre, k)``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        live: Tensor,
        pre: Tensor,
        order: Tensor,
        place: Tensor,
        sizes: Sizes,
    ) -> Tensor:
        if weight.numel() <= CACHE_CELLS:  # in the cache at once, else patch by patch
            parts = parts_of(keep_live(weight, live), sizes)
        else:
            pairs = zip(parts_of(weight, sizes), parts_of(live, sizes), strict=True)
            parts = [keep_live(part, alive) for part, alive in pairs]
        sources = pre.split([n_pre for _, n_pre in sizes])
        rows = [part @ x.index_select(0, seen) for part, seen in zip(parts, sources, strict=True)]
        ctx.save_for_backward(x, weight, live, pre, order, place)
        ctx.sizes, ctx.parts = sizes, parts
        return torch.cat(rows).index_select(0, place)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, live, pre, order, place = ctx.saved_tensors
        sizes = ctx.sizes
        if torch.is_grad_enabled():  # to be differentiated again
            with torch.enable_grad():
                y = patch_formula(x, weight, live, pre, place, sizes)
                found = torch.autograd.grad(y, (x, weight), grad, create_graph=True)
            return *found, None, None, None, None, None
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        sources = pre.split([n_pre for _, n_pre in sizes])
        grads = grad.index_select(0, order).split([n_post for n_post, _ in sizes])
        if grad_x is not None:
            for part, g, seen in zip(ctx.parts, grads, sources, strict=True):
                grad_x.index_add_(0, seen, part.t() @ g)
        if grad_weight is not None:
            at_once = weight.numel() <= CACHE_CELLS
            out, bits = parts_of(grad_weight, sizes), parts_of(live, sizes)
            for part, alive, g, seen in zip(out, bits, grads, sources, strict=True):
                torch.mm(g, x.index_select(0, seen).t(), out=part)
                if not at_once:
                    keep_live(part, alive, out=part)
            if at_once:
                keep_live(grad_weight, live, out=grad_weight)
        return grad_x, grad_weight, None, None, None, None, None


patch_product: Callable[..., Tensor] = _PatchProduct.apply


def parts_of(packed: Tensor, sizes: Sizes) -> list[Tensor]:
    """Return the matrices of a packed weight, one for each patch."""
    flat = packed.split([n_post * n_pre for n_post, n_pre in sizes])
    return [part.view(shape) for part, shape in zip(flat, sizes, strict=True)]


def patch_formula(
    x: Tensor,
    weight: Tensor,
    live: Tensor,
    pre: Tensor,
    place: Tensor,
    sizes: Sizes,
) -> Tensor:
    """Do what `_PatchProduct` does, in plain torch, for everything that takes programs apart."""
    masked = parts_of(weight * live.bool(), sizes)
    sources = pre.split([n_pre for _, n_pre in sizes])
    rows = [part @ x.index_select(0, seen) for part, seen in zip(masked, sources, strict=True)]
    return torch.cat(rows).index_select(0, place)


@dataclass(frozen=True, slots=True)
class ConvolutionPlan:
    """The patches of a convolution, on the CPU: nothing else is made for them."""

    patches: Patches
    place: Tensor  # int64, where each output is when the patches follow each other


class _PatchConvolution(torch.autograd.Function):
    """One convolution per patch of output channels, over the input channels that it sees."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        pairs: Tensor,
        plan: ConvolutionPlan,
        how: tuple[Any, ...],
    ) -> Tensor:
        transposed = how[3]
        parts = [
            _cut(weight, patch, transposed).mul_(_cut(pairs, patch, transposed))
            for patch in plan.patches
        ]
        maps = [
            torch.ops.aten.convolution(x.index_select(1, pre), part, None, *how, 1)
            for part, (_, pre) in zip(parts, plan.patches, strict=True)
        ]
        ctx.save_for_backward(x, weight, pairs)
        ctx.parts, ctx.plan, ctx.how = parts, plan, how
        return torch.cat(maps, 1).index_select(1, plan.place)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, pairs = ctx.saved_tensors
        plan, how = ctx.plan, ctx.how
        if torch.is_grad_enabled():  # to be differentiated again
            y = torch.ops.aten.convolution(x, weight * pairs, None, *how, 1)
            found = torch.autograd.grad(y, (x, weight), grad, create_graph=True)
            return *found, None, None, None
        wanted = [*ctx.needs_input_grad[:2], False]
        grad_x = torch.zeros_like(x) if wanted[0] else None
        grad_weight = torch.zeros_like(weight) if wanted[1] else None
        for part, patch in zip(ctx.parts, plan.patches, strict=True):
            post, pre = patch
            part_x, part_weight, _ = torch.ops.aten.convolution_backward(
                grad.index_select(1, post), x.index_select(1, pre), part, None, *how, 1, wanted
            )
            if grad_x is not None:
                grad_x.index_add_(1, pre, part_x)
            if grad_weight is not None:
                rows, columns = (pre, post) if how[3] else (post, pre)
                part_weight *= _cut(pairs, patch, how[3])
                grad_weight[rows[:, None], columns] = part_weight
        return grad_x, grad_weight, None, None, None


patch_convolution: Callable[..., Tensor] = _PatchConvolution.apply


def _cut(matrix: Tensor, patch: tuple[Tensor, Tensor], transposed: bool) -> Tensor:
    """Return the part of a weight that a patch uses, as a copy."""
    post, pre = patch
    return matrix[pre[:, None], post] if transposed else matrix[post[:, None], pre]


def patches_of(window: WindowRule, mask: Tensor) -> Patches:
    """Cut the outputs of a mask ``[post, pre]`` into patches."""
    units = torch.arange(mask.shape[0], device=mask.device)
    width = window.post_width
    if width is None or mask.shape[0] % width:
        posts = list(units.split(PATCH * PATCH))
    else:
        posts = [
            patch.flatten()
            for rows in units.view(-1, width).split(PATCH)
            for patch in rows.split(PATCH, 1)
        ]
    return [(post, mask[post].any(0).nonzero().squeeze(1)) for post in posts]


def cover(patches: Patches, mask: Tensor) -> float:
    """Return the share of the matrix that the patches see."""
    return sum(len(post) * len(pre) for post, pre in patches) / mask.numel()
