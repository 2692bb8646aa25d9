"""Linear and convolution layers whose channels are connected within a window.

Drop-in subclasses of torch's layers with a mask that cannot be lost: it is part of the state, is
never trained, and acts in every forward pass, so no initialiser, optimiser or weight decay can
make a connection that is not in it. What lies off the mask in the raw weight is zeroed when the
layer is made and whenever its state is read, and its gradient is zero.
"""

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.window_rules import PER_WEIGHT, WindowRule

GAINS = ("none", "1/usage", "1/sqrt(usage)", "fan-in")
KERNELS = ("auto", "dense", "patches")

PATCH = 8  # units a side of a patch of outputs; 64 in a row where there is no grid
# Measured on one x86 core, for batches of 1 to 256: patches win where all that they see is less
# than this share of the matrix. Where the matrix is small, calls cost more than products; where it
# is large, so do the fresh pages of memory that a masked copy of it is written to at each step.
LARGE_CELLS = 2**22
LARGE_COVER = 0.8  # of linear layers
SMALL_COVER = 0.45
SMALL_CELLS = 2**20
CONVOLUTION_COVER = 0.75
CONVOLUTION_CELLS = 2**18
# Hence large matrices are masked strip by strip, in the cache, where they are multiplied.
STRIP_CELLS = 2**19

Device = torch.device | str | int | None
Size = int | tuple[int, int]
Sizes = tuple[tuple[int, int], ...]
Patches = list[tuple[Tensor, Tensor]]  # the outputs of each patch and the inputs that it sees
# Whether a transform of `torch.func` is running, such as grad or vmap; torch does not document it.
_in_transform = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def _keep(values: Tensor, live: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``values`` where ``live`` is -1 (int8), and zero where it is 0."""
    if values.dtype != torch.float32:
        return torch.mul(values, live.bool(), out=out)
    bits = None if out is None else out.view(torch.int32)  # all bits or none: no multiplication
    return torch.bitwise_and(values.view(torch.int32), live, out=bits).view(torch.float32)


def _runs_eagerly(x: Tensor, weight: Tensor) -> bool:
    """Say whether the functions below may run; they mean nothing to transforms of a program."""
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not _in_transform()
        and not torch.is_autocast_enabled("cpu")
    )


class _StripProduct(torch.autograd.Function):
    """``x @ (weight * mask).T``, strip by strip of outputs; ``x`` is ``(rows, n_pre)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, mask)
        y = x.new_empty(x.shape[0], weight.shape[0])
        for rows, strip, _ in _strips(weight, mask):
            torch.mm(x, strip.t(), out=y[:, rows])
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, mask = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            return grad @ (weight * mask), (grad.t() @ x) * mask, None
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for rows, strip, live in _strips(weight, mask):
            if grad_x is not None:
                grad_x.addmm_(grad[:, rows], strip)
            if grad_weight is not None:
                part = grad_weight[rows]
                torch.mm(grad[:, rows].t(), x, out=part)
                _keep(part, live, out=part)
        return grad_x, grad_weight, None


_strip_product: Callable[..., Tensor] = _StripProduct.apply


def _strips(weight: Tensor, mask: Tensor) -> Iterable[tuple[slice, Tensor, Tensor]]:
    """Yield the rows of each strip, its masked weights (overwritten by the next), its mask."""
    n_post, n_pre = weight.shape
    height = min(n_post, max(1, STRIP_CELLS // n_pre))
    strip = weight.new_empty(height, n_pre)
    live = mask.new_empty(height, n_pre, dtype=torch.int8)
    for first in range(0, n_post, height):
        rows = slice(first, min(first + height, n_post))
        n = rows.stop - first
        torch.neg(mask[rows].view(torch.int8), out=live[:n])
        yield rows, _keep(weight[rows], live[:n], out=strip[:n]), live[:n]


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
        if weight.numel() <= STRIP_CELLS:  # in the cache at once, else patch by patch
            parts = _parts(_keep(weight, live), sizes)
        else:
            pairs = zip(_parts(weight, sizes), _parts(live, sizes), strict=True)
            parts = [_keep(part, alive) for part, alive in pairs]
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
                y = _patch_formula(x, weight, live, pre, place, sizes)
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
            at_once = weight.numel() <= STRIP_CELLS
            out, bits = _parts(grad_weight, sizes), _parts(live, sizes)
            for part, alive, g, seen in zip(out, bits, grads, sources, strict=True):
                torch.mm(g, x.index_select(0, seen).t(), out=part)
                if not at_once:
                    _keep(part, alive, out=part)
            if at_once:
                _keep(grad_weight, live, out=grad_weight)
        return grad_x, grad_weight, None, None, None, None, None


_patch_product: Callable[..., Tensor] = _PatchProduct.apply


def _parts(packed: Tensor, sizes: Iterable[tuple[int, int]]) -> list[Tensor]:
    sizes = list(sizes)
    flat = packed.split([n_post * n_pre for n_post, n_pre in sizes])
    return [part.view(shape) for part, shape in zip(flat, sizes, strict=True)]


def _patch_formula(
    x: Tensor,
    weight: Tensor,
    live: Tensor,
    pre: Tensor,
    place: Tensor,
    sizes: Sizes,
) -> Tensor:
    """Do what `_PatchProduct` does, in plain torch, for everything that takes programs apart."""
    masked = _parts(weight * live.bool(), sizes)
    sources = pre.split([n_pre for _, n_pre in sizes])
    rows = [part @ x.index_select(0, seen) for part, seen in zip(masked, sources, strict=True)]
    return torch.cat(rows).index_select(0, place)


class _PatchConvolution(torch.autograd.Function):
    """One convolution per patch of output channels, over the input channels that it sees."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, pairs: Tensor, plan: "_Plan", how: tuple[Any, ...]
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


_patch_convolution: Callable[..., Tensor] = _PatchConvolution.apply


@dataclass(frozen=True, slots=True)
class _Plan:
    """The patches of a convolution, on the CPU: nothing else is made for them."""

    patches: Patches
    place: Tensor  # int64, where each output is when the patches follow each other


def _cut(matrix: Tensor, patch: tuple[Tensor, Tensor], transposed: bool) -> Tensor:
    """Return the part of a weight that a patch uses, as a copy."""
    post, pre = patch
    return matrix[pre[:, None], post] if transposed else matrix[post[:, None], pre]


class _Windowed(nn.Module):
    """What the three layers share; their other base class is torch's layer."""

    weight: Tensor
    mask: Tensor  # bool, in torch's layout of the weight
    values: Tensor | None  # the factors of "gaussian", one per pair of channels
    window: WindowRule
    gain: str
    usage: float  # share of the weights that are on the mask

    _transposed_layout = False  # whether torch stores [in, out] instead of [out, in]

    def _sizes(self) -> tuple[int, int, tuple[int, ...]]:
        """Return outputs and inputs that one weight matrix connects, and the kernel's size."""
        first, second, *kernel = self.weight.shape
        if self._transposed_layout:
            first, second = second, first
        return first, second, tuple(kernel)

    def _build_mask(self) -> Tensor:
        """Compute the mask on the CPU, in the layout of the weight."""
        n_post, n_pre, kernel = self._sizes()
        if self.window.form in PER_WEIGHT:
            drawn = self.window.draw(n_post, n_pre, math.prod(kernel))
            outer, inner = (n_pre, n_post) if self.window.transposed else (n_post, n_pre)
            mask = torch.frombuffer(drawn, dtype=torch.bool).view(outer, inner, *kernel)
            swap = self.window.transposed != self._transposed_layout
        else:
            rows = bytearray(b"".join(self.window.rows(n_post, n_pre)))
            mask = torch.frombuffer(rows, dtype=torch.bool).view(
                n_post, n_pre, *(1 for _ in kernel)
            )
            mask, swap = mask.expand(n_post, n_pre, *kernel), self._transposed_layout
        return (mask.transpose(0, 1) if swap else mask).contiguous()

    def _build_values(self) -> Tensor:
        n_post, n_pre, kernel = self._sizes()
        rows = list(self.window.values(n_post, n_pre))
        values = torch.tensor(rows, dtype=torch.float64, device="cpu")
        values = values.t() if self._transposed_layout else values
        return values.reshape(*values.shape, *(1 for _ in kernel)).contiguous()

    def _add_window(self, window: WindowRule, gain: str, kernel: str) -> Tensor:
        """Register the buffers of a layer that torch's constructor made; return the mask."""
        for what, name, known in (("gain", gain, GAINS), ("kernel", kernel, KERNELS)):
            if name not in known:
                raise ValueError(f"no {what} {name!r}; there are {', '.join(known)}")
        self.window, self.gain = window, gain
        n_post, n_pre, positions = self._sizes()
        window.check(n_post, n_pre, math.prod(positions))
        mask = self._build_mask()
        self.usage = int(mask.sum()) / mask.numel()
        values = self._build_values() if self.window.form == "gaussian" else None
        if values is not None:
            values = values.to(self.weight.device, self.weight.dtype)
        elif self.usage == 1:
            _warn(f"{self.window.describe()} keeps every weight: this is an ordinary layer")
        else:
            rest = [d for d in range(mask.dim()) if d != int(self._transposed_layout)]
            if dead := int((~mask).all(dim=rest).sum()):
                _warn(f"{self.window.describe()} leaves {dead} of {n_post} outputs without input")
        self.register_buffer("mask", mask.to(self.weight.device))
        self.register_buffer("values", values)
        return mask

    def _start(self, weight: Tensor, mask: Tensor) -> None:
        """Mask what torch has drawn and make up for the missing weights, once, in place."""
        factors = mask if self.values is None else self.values.expand(mask.shape)
        weight.mul_(factors)
        if self.gain == "fan-in":
            outputs = int(self._transposed_layout)
            rest = [d for d in range(mask.dim()) if d != outputs]
            fan_in = factors.to(torch.float64).sum(dim=rest, keepdim=True)
            dense = mask.numel() // mask.shape[outputs]
            weight.mul_((dense / fan_in.clamp(min=1e-300)).sqrt().to(weight.dtype))
        elif self.gain != "none" and self.values is None:  # the mean of the factors is 1
            weight.mul_(1 / self.usage if self.gain == "1/usage" else 1 / math.sqrt(self.usage))

    def _refill(self) -> None:
        """Write mask and factors again: after ``to_empty`` they hold anything."""
        self.mask.copy_(self._build_mask())
        if self.values is not None:
            self.values.copy_(self._build_values())

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights as torch's layer does, then apply mask and gain."""
        super().reset_parameters()  # type: ignore[misc]
        if "mask" not in self._buffers:  # called by the constructor of torch's layer
            return
        self._refill()
        self._start(self.weight, self.mask)

    def effective_weight(self) -> Tensor:
        """Return the weights that act, dense, in torch's layout."""
        if self.values is not None:
            return self.weight * self.values
        if self.weight.dim() == 2 or self.window.form in PER_WEIGHT:
            return self.weight * self.mask
        # The same at all positions of the kernel: read once, not once for each.
        return self.weight * self.mask[..., :1, :1].to(self.weight.dtype)

    @torch.no_grad()
    def set_weight(self, weight: Tensor) -> None:
        """Take dense weights in torch's layout, without what is off the mask."""
        self.weight.copy_(weight)
        self._project()

    @torch.no_grad()
    def _project(self) -> None:
        # `.data`: what is off the mask has no part in any graph, so none has to be redone.
        self.weight.data.mul_(self.mask)

    def digest(self) -> str:
        """Return the SHA-256 of shape and mask (of the factors for "gaussian")."""
        return _digest(self.mask if self.values is None else self.values, self._transposed_layout)

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return f"{super().extra_repr()}, window={self.window!r}, usage={self.usage:.4f}"

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self._project()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _own_structure(self) -> dict[str, Tensor]:
        """Return what a saved state must agree in, from the rule: the buffers may be empty."""
        own = {"mask": self._build_mask()}
        return own if self.values is None else {**own, "values": self._build_values()}

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load weights, but only those of the same mask."""
        if problem := self._other_mask(state_dict, prefix):
            error_msgs.append(problem)
            return
        self._load_same(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        self._project()

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _other_mask(self, state_dict: dict[str, Any], prefix: str) -> str:
        """Say why a state is not of this mask, or return "" if it is."""
        if prefix + "window" in state_dict:
            return (
                f"{prefix}window is the trained mask of the published port; "
                "load_published_state loads it and reports what became of it"
            )
        for name, own in self._own_structure().items():
            stored = state_dict.get(prefix + name)
            if stored is None:
                return f"{prefix}{name} is missing: set_weight takes weights of other layers"
            if stored.is_meta:
                return f"{prefix}{name} is on the meta device: it cannot be compared"
            if stored.shape == own.shape:
                # In the precision of the less precise one, as factors are rounded with the layer.
                low = min(stored.dtype, own.dtype, key=lambda dtype: dtype.itemsize)
                if torch.equal(stored.to(own.device, low), own.to(low)):
                    continue
            swap = self._transposed_layout
            return (
                f"{prefix}{name} is of another window: {_digest(stored, swap)[:12]} for "
                f"{tuple(stored.shape)}, where {self.window!r} has {_digest(own, swap)[:12]} for "
                f"{tuple(own.shape)}"
            )
        return ""


class WindowLinear(_Windowed, nn.Linear):
    """`nn.Linear` whose units are connected within a window.

    ``kernel`` says how the product is computed, never what: "dense" masks and multiplies strip by
    strip; "patches" stores and multiplies, for each patch of outputs, only the inputs that it
    sees; "auto" takes patches where they leave out enough of a large matrix. With patches
    ``weight`` is a list of numbers and not a matrix; `effective_weight`, `set_weight`, ``mask`` and
    the state are dense either way, and a state of one kernel loads into the other.

    ``gain`` multiplies the weights once, when they are drawn: "1/usage" is that of the papers,
    "1/sqrt(usage)" keeps the variance, "fan-in" does so for each output by itself.

    Raises `ValueError` for a window that does not fit or leaves units dead; the message names
    numbers that would work. Warns if the window keeps every weight.
    """

    factor: Tensor | None  # a small dense mask once more as numbers: twice as fast to multiply by
    # With patches; all of them follow from the mask.
    live: Tensor  # int8, for each number of `weight`: -1 if it is on the mask, else 0
    pre: Tensor  # int64, the inputs that each patch sees, one patch after the other
    order: Tensor  # int64, the outputs of each patch, one patch after the other
    place: Tensor  # int64, the inverse of `order`
    sizes: Sizes  # outputs and inputs of each patch

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        window: WindowRule,
        gain: str = "1/usage",
        kernel: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        mask = self._add_window(window, gain, kernel)
        self.kernel, self.sizes = "dense", ()
        if self.values is not None and kernel == "patches":
            raise ValueError("form 'gaussian' leaves nothing out: use kernel='auto'")
        if self.values is None and kernel != "dense":
            plan = _patches(window, mask)
            large = mask.numel() >= LARGE_CELLS
            pays = (large or mask.numel() >= SMALL_CELLS) and _cover(plan, mask) <= (
                LARGE_COVER if large else SMALL_COVER
            )
            if kernel == "patches" or pays:
                self.kernel = "patches"
                self._fill_plan(mask)
        small = self.values is None and self.kernel == "dense" and mask.numel() < LARGE_CELLS
        factor = self.mask.to(self.weight.dtype) if small else None
        self.register_buffer("factor", factor, persistent=False)
        with torch.no_grad():
            self._start(self.weight, self.mask)
            if self.kernel == "patches":
                self.weight = nn.Parameter(self._pack(self.weight))

    def _fill_plan(self, mask: Tensor, device: Device = None) -> None:
        """Register what `_PatchProduct` reads."""
        plan = _patches(self.window, mask)
        self.sizes = tuple((len(post), len(pre)) for post, pre in plan)
        order = torch.cat([post for post, _ in plan])
        cells = [mask[post][:, pre].flatten().view(torch.int8) for post, pre in plan]
        buffers = {
            "live": -torch.cat(cells),
            "pre": torch.cat([pre for _, pre in plan]),
            "order": order,
            "place": order.argsort(),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer.to(device or self.weight.device), persistent=False)

    def _pack(self, weight: Tensor) -> Tensor:
        """Return the weights that the patches use, from a matrix."""
        posts = self.order.split([n_post for n_post, _ in self.sizes])
        sources = self.pre.split([n_pre for _, n_pre in self.sizes])
        cells = [weight[post][:, seen].flatten() for post, seen in zip(posts, sources, strict=True)]
        return _keep(torch.cat(cells), self.live)

    def _sizes(self) -> tuple[int, int, tuple[int, ...]]:
        return self.out_features, self.in_features, ()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights as `nn.Linear` does, then apply mask and gain."""
        if getattr(self, "kernel", "dense") == "dense":
            super().reset_parameters()
            return
        packed = self.weight
        self.weight = nn.Parameter(packed.new_empty(self.out_features, self.in_features))
        super().reset_parameters()
        self._fill_plan(self._build_mask())
        packed.copy_(self._pack(self.weight))
        self.weight = packed

    def effective_weight(self) -> Tensor:
        """Return the weights that act, ``(out_features, in_features)``."""
        if self.factor is not None:
            return self.weight * self.factor
        if self.kernel == "dense":
            return super().effective_weight()
        parts = _parts(self.weight * self.live.bool(), self.sizes)
        sources = self.pre.split([n_pre for _, n_pre in self.sizes])
        rows = [
            part.new_zeros(part.shape[0], self.in_features).index_copy(1, seen, part)
            for part, seen in zip(parts, sources, strict=True)
        ]
        return torch.cat(rows).index_select(0, self.place)

    @torch.no_grad()
    def set_weight(self, weight: Tensor) -> None:
        """Take dense weights ``(out_features, in_features)``, without what is off the mask."""
        if weight.shape != self.mask.shape:
            raise ValueError(f"weight is {tuple(weight.shape)}, expected {tuple(self.mask.shape)}")
        if self.kernel == "dense":
            super().set_weight(weight)
            return
        self.weight.copy_(self._pack(weight.to(self.weight.device, self.weight.dtype)))

    def _project(self) -> None:
        if self.kernel == "dense":
            super()._project()
        else:
            self.weight.data.mul_(self.live.bool())

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.kernel == "patches":
            weight = self.effective_weight()
            destination[prefix + "weight"] = weight if keep_vars else weight.detach()

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(prefix + "weight")
        if self.kernel == "patches" and weight is not None and weight.shape == self.mask.shape:
            # A layer without memory takes the stored numbers where they are.
            device = (weight if self.weight.is_meta else self.weight).device
            self._fill_plan(self._build_mask(), device)
            state_dict = {**state_dict, prefix + "weight": self._pack(weight.to(device))}
        super()._load_same(state_dict, prefix, *rest)
        if self.factor is not None:
            self.factor = self.mask.to(self.weight.dtype)

    def _refill(self) -> None:
        super()._refill()
        if self.factor is not None:
            self.factor.copy_(self.mask)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        large = self.factor is None and self.values is None
        if self.kernel == "dense" and not (large and _runs_eagerly(x, self.weight)):
            return nn.functional.linear(x, self.effective_weight(), self.bias)
        if x.shape[-1] != self.in_features:
            raise ValueError(f"input is {tuple(x.shape)}, expected (..., {self.in_features})")
        rows = x.reshape(-1, self.in_features)
        if self.kernel == "dense":
            y = _strip_product(rows, self.weight, self.mask)
        else:
            columns = rows.t().contiguous()
            if _runs_eagerly(x, self.weight):
                plan = self.live, self.pre, self.order, self.place, self.sizes
                y = _patch_product(columns, self.weight, *plan)
            else:
                y = _patch_formula(
                    columns, self.weight, self.live, self.pre, self.place, self.sizes
                )
            y = y.t().contiguous()
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _WindowedConvolution(_Windowed):
    """What the two convolutions share: a weight is dense, and patches are cut from it."""

    groups: int
    padding_mode: Any
    padding: Any
    _plan: _Plan | None

    def _add_window(self, window: WindowRule, gain: str, kernel: str) -> Tensor:
        mask = super()._add_window(window, gain, kernel)
        with torch.no_grad():
            self._start(self.weight, self.mask)
        self._plan = None
        possible = (
            self.values is None
            and window.form not in PER_WEIGHT
            and self.groups == 1
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
        )
        if kernel == "patches" and not possible:
            raise ValueError(
                "kernel 'patches' needs groups=1, padding_mode='zeros', padding in numbers and a "
                "form that removes pairs of channels; use kernel='auto'"
            )
        if possible and kernel != "dense":
            pairs = mask.flatten(2)[..., 0]
            pairs = pairs.t() if self._transposed_layout else pairs
            patches = _patches(window, pairs)
            pays = mask.numel() >= CONVOLUTION_CELLS and _cover(patches, pairs) <= CONVOLUTION_COVER
            if kernel == "patches" or pays:
                self._plan = _Plan(patches, torch.cat([post for post, _ in patches]).argsort())
        self.kernel = "dense" if self._plan is None else "patches"
        return mask

    def _by_patches(self, x: Tensor, bias: Tensor | None, *how: Any) -> Tensor | None:
        """Convolve patch by patch, or return None where that cannot be done."""
        if self._plan is None or x.dim() != 4 or not _runs_eagerly(x, self.weight):
            return None
        if x.shape[1] != self.mask.shape[int(not self._transposed_layout)]:
            return None  # torch says what is wrong
        pairs = self.mask[..., :1, :1].to(self.weight.dtype)
        y = _patch_convolution(x, self.weight, pairs, self._plan, how)
        return y if bias is None else y + bias.view(-1, 1, 1)


class WindowConv2d(_WindowedConvolution, nn.Conv2d):
    """`nn.Conv2d` whose channels are connected within a window, the same at all kernel positions.

    With ``groups`` the window is over the input channels of one group. ``kernel`` is as in
    `WindowLinear`, but ``weight`` is always dense: "patches" convolves, for each patch of output
    channels, the input channels that it sees, and is used where torch runs step by step on the
    CPU. ``gain`` and what is refused are those of `WindowLinear`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        window: WindowRule,
        gain: str = "1/usage",
        kernel: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )
        self._add_window(window, gain, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(batch, in_channels, height, width)``."""
        how = self.stride, self.padding, self.dilation, False, (0, 0)
        y = self._by_patches(x, self.bias, *how)
        return self._conv_forward(x, self.effective_weight(), self.bias) if y is None else y


class WindowConvTranspose2d(_WindowedConvolution, nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` whose channels are connected within a window.

    With ``groups`` the window is over the output channels of one group. ``window`` is taken as a
    transposed rule. ``kernel``, ``gain`` and what is refused are those of `WindowConv2d`.
    """

    _transposed_layout = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        *,
        window: WindowRule,
        gain: str = "1/usage",
        kernel: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )
        self._add_window(replace(window, transposed=True), gain, kernel)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve ``(batch, in_channels, height, width)``."""
        extra = self._output_padding(
            x,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,
            self.kernel_size,  # type: ignore[arg-type]
            2,
            self.dilation,  # type: ignore[arg-type]
        )
        how = self.stride, self.padding, self.dilation, True, extra
        y = self._by_patches(x, self.bias, *how)
        if y is not None:
            return y
        return nn.functional.conv_transpose2d(
            x,
            self.effective_weight(),
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


def _patches(window: WindowRule, mask: Tensor) -> Patches:
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


def _cover(patches: Patches, mask: Tensor) -> float:
    """Return the share of the matrix that the patches see."""
    return sum(len(post) * len(pre) for post, pre in patches) / mask.numel()


def _digest(structure: Tensor, transposed: bool) -> str:
    """Return the SHA-256 of a mask or of factors as `WindowRule.digest` does, ``[post, pre]``."""
    if transposed and structure.dim() > 1:
        structure = structure.transpose(0, 1)
    n_post, n_pre = structure.shape[:2]
    form = torch.uint8 if structure.dtype == torch.bool else torch.float64
    cells = structure.detach().to("cpu", form).contiguous()
    sha = hashlib.sha256(f"{n_post} {n_pre} {cells.numel() // max(1, n_post * n_pre)}\n".encode())
    sha.update(bytes(cells.flatten().view(torch.uint8).tolist()))
    return sha.hexdigest()


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=5)
