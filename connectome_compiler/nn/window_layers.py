"""Linear and convolution layers whose channels are connected within a window.

Drop-in subclasses of torch's layers with a mask that cannot be lost: it is part of the state, is
never trained, and acts in every forward pass, so no initialiser, optimiser or weight decay can
make a connection that is not in it. What lies off the mask in the raw weight is zeroed when the
layer is made and whenever its state is read, and its gradient is zero.
"""

import ctypes
import hashlib
import math
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.eager import has_shape, runs_eagerly
from connectome_compiler.nn.same_structure import SameStructure
from connectome_compiler.nn.window_products import (
    ConvolutionPlan,
    Sizes,
    cover,
    keep_live,
    parts_of,
    patch_convolution,
    patch_formula,
    patch_product,
    patches_of,
    strip_product,
)
from connectome_compiler.nn.window_rules import PER_WEIGHT, WindowRule

GAINS = ("none", "1/usage", "1/sqrt(usage)", "fan-in")
WINDOW_KERNELS = ("auto", "dense", "patches")

# Measured on one x86 core, for batches of 1 to 256: patches win where all that they see is less
# than this share of the matrix. Where the matrix is small, calls cost more than products; where it
# is large, so do the fresh pages of memory that a masked copy of it is written to at each step.
LARGE_CELLS = 2**22
LARGE_COVER = 0.8  # of linear layers
SMALL_COVER = 0.45
SMALL_CELLS = 2**20
CONVOLUTION_COVER = 0.75
CONVOLUTION_CELLS = 2**18

Device = torch.device | str | int | None
Size = int | tuple[int, int]


class _Windowed(SameStructure):
    """What the three layers share; their other base class is torch's layer."""

    weight: Tensor
    mask: Tensor  # bool, in torch's layout of the weight
    values: Tensor | None  # the factors of "gaussian", one per pair of channels
    window: WindowRule
    gain: str
    usage: float  # share of the weights that are on the mask

    structure = ("mask", "values")
    advice = "; set_weight takes weights of other layers"
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
        for what, name, known in (("gain", gain, GAINS), ("kernel", kernel, WINDOW_KERNELS)):
            if name not in known:
                raise ValueError(f"no {what} {name!r}; there are {', '.join(known)}")
        self.window, self.gain = window, gain
        n_post, n_pre, positions = self._sizes()
        window.check(n_post, n_pre, math.prod(positions))
        mask = self._build_mask()
        self.usage = int(mask.sum()) / mask.numel()
        values = self._build_values() if self.window.form == "gaussian" else None
        if values is not None:
            values = values.to(self.weight.dtype)
        elif self.usage == 1:
            _warn(f"{self.window.describe()} keeps every weight: this is an ordinary layer")
        else:
            self._warn_of_dead(mask)
        self.hold(self.weight.device, mask=mask, values=values)
        return mask

    def _warn_of_dead(self, mask: Tensor) -> None:
        """Warn of units without a connection; with groups, each sees only those of its group."""
        groups: int = getattr(self, "groups", 1)
        first, second, *_ = mask.shape
        pairs = mask.view(groups, first // groups, second, -1).any(3)
        live = [pairs.any(2), pairs.any(1)]
        post, pre = live[::-1] if self._transposed_layout else live
        if not (post.all() and pre.all()):
            _warn(
                f"{self.window.describe()} leaves {int((~post).sum())} of {post.numel()} outputs "
                f"without input and {int((~pre).sum())} of {pre.numel()} inputs without output"
            )

    def start_from(self, weight: Tensor, mask: Tensor) -> None:
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

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights as torch's layer does, then apply mask and gain."""
        super().reset_parameters()  # type: ignore[misc]
        if self.kept:  # else called by the constructor of torch's layer
            self.start_from(self.weight, self.mask)

    def effective_weight(self) -> Tensor:
        """Return the weights that act, dense, in torch's layout."""
        if self.values is not None:
            return self.weight * self.values
        if self.mask.dim() == 2 or self.window.form in PER_WEIGHT:
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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load weights, but only those of the same mask."""
        if prefix + "window" not in state_dict:
            super()._load_from_state_dict(state_dict, prefix, *rest)
            return
        errors: list[str] = rest[-1]
        errors.append(
            f"{prefix}window is the trained mask of the published port; "
            "load_published_state loads it and reports what became of it"
        )

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_same(state_dict, prefix, *rest)
        self.join(self.weight)
        self._project()

    def _difference(self, stored: Tensor, own: Tensor) -> str:
        problem = super()._difference(stored, own)
        if not problem or stored.dim() != own.dim():
            return problem
        swap = self._transposed_layout
        return (
            f"is of another window: {_digest(stored, swap)[:12]} for {tuple(stored.shape)}, where "
            f"{self.window!r} has {_digest(own, swap)[:12]} for {tuple(own.shape)}"
        )


class WindowLinear(_Windowed, nn.Linear):
    """`nn.Linear` whose units are connected within a window.

    ``kernel`` says how the product is computed, never what: "dense" masks and multiplies strip by
    strip; "patches" stores and multiplies, for each patch of outputs, only the inputs that it
    sees; "auto" takes patches where they leave out enough of a large matrix. With patches
    ``weight`` is a list of numbers and not a matrix; `effective_weight`, `set_weight`, ``mask`` and
    the state are dense either way, and a state of one kernel loads into the other.

    The weights that act are those of `effective_weight`; ``weight`` is raw, and may hold anything
    off the mask after an initialiser has changed it. Code that reads it without calling the layer
    bypasses the mask. `nn.TransformerEncoderLayer` does so in evaluation, except for layers with a
    hook, which is why this one has one. `nn.MultiheadAttention` always does: do not replace its
    ``out_proj`` by a windowed layer.

    ``gain`` multiplies the weights once, when they are drawn: "1/usage" is that of the papers,
    "1/sqrt(usage)" keeps the variance, "fan-in" does so for each output by itself.

    Raises `ValueError` for a window that does not fit or leaves units dead; the message names
    numbers that would work. Warns if the window keeps every weight, or if a form without grids
    leaves units dead.
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
            raise ValueError("form 'gaussian' keeps all weights: use kernel='auto'")
        if self.values is None and kernel != "dense":
            plan = patches_of(window, mask)
            large = mask.numel() >= LARGE_CELLS
            pays = (large or mask.numel() >= SMALL_CELLS) and cover(plan, mask) <= (
                LARGE_COVER if large else SMALL_COVER
            )
            if kernel == "patches" or pays:
                self.kernel = "patches"
                self._fill_plan(mask)
        self.register_forward_pre_hook(_must_be_called)
        small = self.values is None and self.kernel == "dense" and mask.numel() < LARGE_CELLS
        self.hold(self.weight.device, factor=mask.to(self.weight.dtype) if small else None)
        with torch.no_grad():
            self.start_from(self.weight, self.mask)
            if self.kernel == "patches":
                self.weight = nn.Parameter(self._pack(self.weight))

    def _fill_plan(self, mask: Tensor) -> None:
        """Hold what `_PatchProduct` reads."""
        plan = patches_of(self.window, mask)
        self.sizes = tuple((len(post), len(pre)) for post, pre in plan)
        order = torch.cat([post for post, _ in plan])
        cells = [mask[post][:, pre].flatten().view(torch.int8) for post, pre in plan]
        self.hold(
            self.weight.device,
            live=-torch.cat(cells),
            pre=torch.cat([pre for _, pre in plan]),
            order=order,
            place=order.argsort(),
        )

    def _pack(self, weight: Tensor) -> Tensor:
        """Return the weights that the patches use, from a matrix."""
        posts = self.order.split([n_post for n_post, _ in self.sizes])
        sources = self.pre.split([n_pre for _, n_pre in self.sizes])
        cells = [weight[post][:, seen].flatten() for post, seen in zip(posts, sources, strict=True)]
        return keep_live(torch.cat(cells), self.live)

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
        packed.copy_(self._pack(self.weight))
        self.weight = packed

    def effective_weight(self) -> Tensor:
        """Return the weights that act, ``(out_features, in_features)``."""
        if self.factor is not None:
            return self.weight * self.factor
        if self.kernel == "dense":
            return super().effective_weight()
        parts = parts_of(self.weight * self.live.bool(), self.sizes)
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
            self.follow(device)
            state_dict = {**state_dict, prefix + "weight": self._pack(weight.to(device))}
        super()._load_same(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        self.join(self.weight)
        large = self.factor is None and self.values is None
        dense = self.kernel == "dense"
        if (dense and not (large and runs_eagerly(x, self.weight))) or not has_shape(x):
            return nn.functional.linear(x, self.effective_weight(), self.bias)
        if x.shape[-1] != self.in_features:
            raise ValueError(f"input is {tuple(x.shape)}, expected (..., {self.in_features})")
        rows = x.reshape(-1, self.in_features)
        if dense:
            y = strip_product(rows, self.weight, self.mask)
        else:
            columns = rows.t().contiguous()
            if runs_eagerly(x, self.weight):
                plan = self.live, self.pre, self.order, self.place, self.sizes
                y = patch_product(columns, self.weight, *plan)
            else:
                y = patch_formula(columns, self.weight, self.live, self.pre, self.place, self.sizes)
            y = y.t().contiguous()
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class _WindowedConvolution(_Windowed):
    """What the two convolutions share: a weight is dense, and patches are cut from it."""

    groups: int
    padding_mode: Any
    padding: Any
    _plan: ConvolutionPlan | None

    def _add_window(self, window: WindowRule, gain: str, kernel: str) -> Tensor:
        mask = super()._add_window(window, gain, kernel)
        with torch.no_grad():
            self.start_from(self.weight, self.mask)
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
            patches = patches_of(window, pairs)
            pays = mask.numel() >= CONVOLUTION_CELLS and cover(patches, pairs) <= CONVOLUTION_COVER
            if kernel == "patches" or pays:
                self._plan = ConvolutionPlan(
                    patches, torch.cat([post for post, _ in patches]).argsort()
                )
        self.kernel = "dense" if self._plan is None else "patches"
        return mask

    def _by_patches(self, x: Tensor, bias: Tensor | None, *how: Any) -> Tensor | None:
        """Convolve patch by patch, or return None where that cannot be done."""
        self.join(self.weight)
        if self._plan is None or not runs_eagerly(x, self.weight) or x.dim() != 4:
            return None
        if x.shape[1] != self.mask.shape[int(not self._transposed_layout)]:
            return None  # torch says what is wrong
        pairs = self.mask[..., :1, :1].to(self.weight.dtype)
        y = patch_convolution(x, self.weight, pairs, self._plan, how)
        return y if bias is None else y + bias.view(-1, 1, 1)


class WindowConv2d(_WindowedConvolution, nn.Conv2d):
    """`nn.Conv2d` whose channels are connected within a window, the same at all kernel positions.

    With ``groups`` the window is from the input channels of one group to all outputs, as published,
    though each group feeds only its own: a small one leaves inputs unread, with a warning.

    ``kernel`` is as in `WindowLinear`, but ``weight`` is always dense: "patches" convolves, for
    each patch of output channels, the input channels that it sees, and is used where torch runs
    step by step on the CPU. ``gain`` and what is refused are those of `WindowLinear`.
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

    With ``groups`` the window is from all inputs to the output channels of one group, as published,
    though each group is fed only by its own: a small one leaves outputs with nothing but their
    bias, with a warning.

    ``window`` is taken as a transposed rule. ``kernel``, ``gain`` and what is refused are those of
    `WindowConv2d`.
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


def _must_be_called(layer: nn.Module, inputs: Any) -> None:
    """Do nothing: where there is a hook, a fused path does not take the weight past the mask."""


def _digest(structure: Tensor, transposed: bool) -> str:
    """Return the SHA-256 of a mask or of factors as `WindowRule.digest` does, ``[post, pre]``."""
    if transposed and structure.dim() > 1:
        structure = structure.transpose(0, 1)
    n_post, n_pre = structure.shape[:2]
    form = torch.uint8 if structure.dtype == torch.bool else torch.float64
    cells = structure.detach().to("cpu", form).contiguous()
    sha = hashlib.sha256(f"{n_post} {n_pre} {cells.numel() // max(1, n_post * n_pre)}\n".encode())
    sha.update(ctypes.string_at(cells.data_ptr(), cells.nbytes))
    return sha.hexdigest()


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=5)
