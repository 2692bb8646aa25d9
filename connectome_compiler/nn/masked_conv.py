"""Convolutions of which only some entries are open, as between areas of the cortex.

Which entries are open is part of the state, is never trained, and acts in every forward pass, so
no initialiser, optimiser or weight decay can open another. `MaskedConv2d` and its transpose are
torch's layers with a mask beside their dense weight; `LiveConv2d` and its transpose keep the open
entries alone, as a list, and compute the same from the same start.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from connectome_compiler.nn.eager import has_hooks, runs_eagerly
from connectome_compiler.nn.open_conv import OpenEntries, join_entries, open_convolution
from connectome_compiler.nn.same_structure import SameStructure
from connectome_compiler.nn.signs import size_with_sign, start_as_sizes

CONVOLUTION_KERNELS = ("auto", "dense", "open")
FAN_INS = ("dense", "open")
# Measured on x86 with AVX-512: a list of the open entries is faster than the dense kernel below
# this share of them, and pays for its tables from this many entries.
OPEN_SHARE = 0.13
OPEN_CELLS = 2**11

Device = torch.device | str | int | None
Size = int | tuple[int, int]


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class _Masked(SameStructure):
    """What the four layers share: a dense weight, of which only what is on the mask acts."""

    weight: Tensor
    bias: Tensor | None
    in_channels: int
    out_channels: int
    kernel_size: Any
    stride: Any
    padding: Any
    end_padding: tuple[int, int]
    output_padding: Any
    mask: Tensor  # bool, in torch's layout of the weight
    index: Tensor  # int64, (n_open,): the open entries of the flattened kernel, ascending
    sign: Tensor | None  # int8, (n_open,): +1, -1, or 0 where the weight is free
    shape: tuple[int, ...]  # of the kernel, in torch's layout
    fan_in: str
    kernel: str

    structure = ("mask", "sign")
    advice = "; set_weight takes weights of other layers"
    _transposed = False  # torch then stores [in, out] instead of [out, in]
    _any_free: bool
    _entries: OpenEntries

    def _set_open(self, mask: Tensor, sign: Tensor | None, fan_in: str, kernel: str) -> None:
        """Check the arguments, register what is open, and mask the weights that torch drew."""
        for what, name, known in (
            ("fan_in", fan_in, FAN_INS),
            ("kernel", kernel, CONVOLUTION_KERNELS),
        ):
            if name not in known:
                raise ValueError(f"no {what} {name!r}; there are {', '.join(known)}")
        channels = (self.out_channels, self.in_channels)
        shape = (*(channels[::-1] if self._transposed else channels), *self.kernel_size)
        if mask.dtype != torch.bool or mask.shape != shape or mask.is_meta:
            raise ValueError(
                f"mask is {mask.dtype} {tuple(mask.shape)} on {mask.device}; it must be torch.bool "
                f"{shape}, on a device that holds numbers"
            )
        mask = mask.detach().cpu()
        self.shape, self.fan_in, self.kernel = shape, fan_in, kernel
        index = mask.flatten().nonzero().squeeze(1)
        sign = None if sign is None else self._read_sign(sign.detach().cpu(), mask)
        self._any_free = sign is not None and bool((sign == 0).any())
        self._entries = OpenEntries.of(index, shape, self.stride, self.padding)
        n_open, cells = len(index), mask.numel()
        if kernel == "auto":
            pays = cells >= OPEN_CELLS and n_open <= OPEN_SHARE * cells
            self.kernel = "open" if pays else "dense"
        if not n_open:
            self.kernel = "dense"
        self.hold(self.weight.device, index=index, sign=sign)
        if "mask" in self.structure:
            self.hold(self.weight.device, mask=mask)
        self._start()

    def _read_sign(self, sign: Tensor, mask: Tensor) -> Tensor:
        """Return a sign for every open entry."""
        n_open = int(mask.sum())
        readings = []
        if sign.shape == mask.shape:
            readings.append(sign[mask])
        if sign.shape == (n_open,):
            readings.append(sign)
        if sign.shape == (self.in_channels,):
            channel = sign.view(-1, 1, 1, 1) if self._transposed else sign.view(-1, 1, 1)
            readings.append(channel.expand(mask.shape)[mask])
        if not readings:
            raise ValueError(
                f"sign is {tuple(sign.shape)}; it must be one for each of the {self.in_channels} "
                f"input channels, of the {n_open} open entries, or of the kernel's "
                f"{tuple(mask.shape)}"
            )
        first, *others = readings
        if not all(torch.equal(first, other) for other in others):
            raise ValueError(
                f"there are {n_open} input channels and as many open entries, so sign could be of "
                f"either: give it in the kernel's shape {tuple(mask.shape)}"
            )
        if wrong := set(first.tolist()) - {-1, 0, 1}:
            raise ValueError(f"sign has {min(wrong)}; possible are +1, -1 and 0, which is free")
        return first.to(torch.int8)

    @torch.no_grad()
    def _start(self) -> None:
        """Mask what torch has drawn, and widen it where the fan-in is of the open entries.

        Where an entry has a sign, its weight starts at 0 or above: it acts by its size.
        """
        if self.fan_in == "open":
            outputs = int(self._transposed)
            rest = [d for d in range(4) if d != outputs]
            dense = math.prod(self.shape[1:])  # as torch counts it, the transpose's outputs
            fan_in = self.mask.sum(dim=rest).clamp(min=1)
            factor = (dense / fan_in).sqrt().to(self.weight.dtype)
            self.weight.mul_(factor.view([-1 if d == outputs else 1 for d in range(4)]))
            if self.bias is not None:
                self.bias.mul_(factor)
        if self.sign is not None:
            start_as_sizes(self.weight, self._spread(self.sign))
        self._close()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights as torch's layer does, then mask them."""
        super().reset_parameters()  # type: ignore[misc]
        if self.kept:  # else called by the constructor of torch's layer
            self._start()

    @torch.no_grad()
    def _close(self) -> None:
        # `.data`: what is off the mask has no part in any graph, so none has to be redone.
        self.weight.data.masked_fill_(~self.mask, 0)

    @torch.no_grad()
    def set_weight(self, weight: Tensor) -> None:
        """Take dense weights in torch's layout, without what is off the mask."""
        if weight.shape != self.shape:
            raise ValueError(f"weight is {tuple(weight.shape)}, expected {self.shape}")
        self.weight.copy_(weight)
        self._close()

    def _signed(self, values: Tensor) -> Tensor:
        if self.sign is None:
            return values
        return size_with_sign(values, self.sign, self._any_free)

    def open_values(self) -> Tensor:
        """Return the weights that act, ``(n_open,)``, in the order of the mask."""
        return self._signed(self.weight.flatten().index_select(0, self.index))

    def _spread(self, values: Tensor) -> Tensor:
        cells = values.new_zeros(math.prod(self.shape))
        return cells.index_copy(0, self.index, values).view(self.shape)

    def effective_weight(self) -> Tensor:
        """Return the weights that act, dense, in torch's layout."""
        if self.sign is not None:
            return self._spread(self.open_values())
        return torch.where(self.mask, self.weight, 0)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Use torch's own convolution."""
        if self._transposed:
            return nn.functional.conv_transpose2d(
                x, weight, bias, self.stride, self.padding, self.output_padding
            )
        if self.end_padding != (0, 0):
            x = nn.functional.pad(x, (0, self.end_padding[1], 0, self.end_padding[0]))
        return nn.functional.conv2d(x, weight, bias, self.stride, self.padding)

    def _size(self, x: Tensor) -> tuple[int, int]:
        """Return height and width of the output."""
        sizes = []
        for d in (0, 1):
            n, k, s, p = x.shape[2 + d], self.kernel_size[d], self.stride[d], self.padding[d]
            if self._transposed:
                sizes.append((n - 1) * s - 2 * p + k + self.output_padding[d])
            else:
                sizes.append((n + 2 * p + self.end_padding[d] - k) // s + 1)
        return sizes[0], sizes[1]

    def _lists(self, x: Tensor) -> bool:
        """Return whether the list of open entries is used; else torch also reports errors."""
        return (
            self.kernel == "open"
            and runs_eagerly(x, self.weight)
            and x.dtype in (torch.float32, torch.float64)
            and x.dim() == 4
            and x.shape[1] == self.in_channels
            and x.numel() > 0
            and min(self._size(x)) > 0
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(batch, in_channels, height, width)``."""
        return _together(x, self)[0]

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={tuple(self.kernel_size)}"
        text += f", stride={self.stride}, padding={self.padding}"
        for name in ("end_padding", "output_padding"):
            if (size := tuple(getattr(self, name))) != (0, 0):
                text += f", {name}={size}"
        n_open, cells = self.index.numel(), math.prod(self.shape)
        text += f", open={n_open} of {cells} ({n_open / max(1, cells):.2%}), kernel={self.kernel}"
        text += "" if self.sign is None else ", signed"
        return text + ("" if self.bias is not None else ", bias=False")

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self._close()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_same(state_dict, prefix, *rest)
        self.join(self.weight)
        self._close()


class MaskedConv2d(_Masked, nn.Conv2d):
    """`nn.Conv2d` with a mask over its weights.

    ``mask`` is bool, ``(out_channels, in_channels, height, width)`` of the kernel, True where an
    entry is open. ``end_padding`` are rows and columns of zeros more at the bottom and at the right
    than ``padding`` says. ``sign`` has +1, -1 or 0 (free) for each input channel, or each open
    entry in the order of the mask, or in the shape of the mask; what acts is ``sign * |weight|``.
    Open entries stay open: ``mask`` and ``sign`` of the layer can be read and saved, but must not
    be written to; `set_weight` can set entries to zero.

    Weights and biases are drawn as `nn.Conv2d` does, uniformly up to 1 / sqrt(fan-in), where
    ``fan_in`` counts all entries ("dense"), or those of each output channel that are open.

    ``kernel`` selects how the product is computed, with the same result: "dense" masks the weight
    and calls torch; "open" multiplies by the open entries only, if torch runs eagerly on the CPU;
    "auto" does so where few entries of a large kernel are open. `convolve_together` shares work
    between layers that read the same map.

    Raises `ValueError` for a mask or signs that do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        mask: Tensor,
        stride: Size = 1,
        padding: Size = 0,
        end_padding: Size = 0,
        bias: bool = True,
        sign: Tensor | None = None,
        fan_in: str = "dense",
        kernel: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            _pair(kernel_size),
            _pair(stride),
            _pair(padding),
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.end_padding = _pair(end_padding)
        self._set_open(mask, sign, fan_in, kernel)


class MaskedConvTranspose2d(_Masked, nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with a mask over its weights.

    ``mask`` is in its layout, ``(in_channels, out_channels, height, width)``; all else is as in
    `MaskedConv2d`. With ``fan_in="dense"`` torch's own count for transposed layers holds, which is
    of the output channels.
    """

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        mask: Tensor,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        bias: bool = True,
        sign: Tensor | None = None,
        fan_in: str = "dense",
        kernel: str = "auto",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            _pair(kernel_size),
            _pair(stride),
            _pair(padding),
            _pair(output_padding),
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.end_padding = (0, 0)
        self._set_open(mask, sign, fan_in, kernel)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve ``(batch, in_channels, height, width)``."""
        return _together(x, self)[0]


class _Live(_Masked):
    """The open entries alone: once drawn, the weight becomes the list of them."""

    structure = ("index", "sign")

    @property
    def mask(self) -> Tensor:  # type: ignore[override]
        """Where the kernel is open, bool, in torch's layout."""
        mask = self.index.new_zeros(math.prod(self.shape), dtype=torch.bool)
        return mask.index_fill_(0, self.index, True).view(self.shape)

    @torch.no_grad()
    def _start(self) -> None:
        super()._start()
        self.weight = nn.Parameter(self.weight.flatten().index_select(0, self.index))

    def _close(self) -> None:
        """Do nothing: a list has nothing off the mask."""

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights as the masked layer does."""
        if not self.kept:  # called by the constructor of torch's layer
            super().reset_parameters()
            return
        listed = self.weight
        self.weight = nn.Parameter(listed.new_empty(self.shape))
        super().reset_parameters()
        listed.copy_(self.weight)
        self.weight = listed

    @torch.no_grad()
    def set_weight(self, weight: Tensor) -> None:
        """Take dense weights in torch's layout, without what is not open."""
        if weight.shape != self.shape:
            raise ValueError(f"weight is {tuple(weight.shape)}, expected {self.shape}")
        self.weight.copy_(weight.flatten().to(self.index.device).index_select(0, self.index))

    def open_values(self) -> Tensor:
        """Return the weights that act, ``(n_open,)``, in the order of the mask."""
        return self._signed(self.weight)

    def effective_weight(self) -> Tensor:
        """Return the weights that act, dense, in torch's layout."""
        return self._spread(self.open_values())


class LiveConv2d(_Live, MaskedConv2d):
    """`MaskedConv2d` that keeps the open entries only: ``weight`` is ``(n_open,)``.

    They are in the order of the mask; ``index`` has the place of each in the flattened kernel.
    Arguments, starts and results are those of `MaskedConv2d`.
    """


class LiveConvTranspose2d(_Live, MaskedConvTranspose2d):
    """`MaskedConvTranspose2d` that keeps the open entries only, as `LiveConv2d` does."""


def convolve_together(x: Tensor, *layers: nn.Module) -> list[Tensor]:
    """Return the maps that several layers make of the same one: each is ``layer(x)``.

    Layers that multiply by the open entries only, with one stride and to one size, share the
    table of the map. A layer with hooks is called by itself, so that they run, and so is what has
    been put in a layer's place.
    """
    joined = [layer for layer in layers if _may_join(layer)]
    maps = dict(zip(joined, _together(x, *joined), strict=True))
    return [maps[layer] if layer in maps else layer(x) for layer in layers]


def _may_join(layer: nn.Module) -> TypeGuard[_Masked]:
    return isinstance(layer, _Masked) and not has_hooks(layer)


def _together(x: Tensor, *layers: _Masked) -> list[Tensor]:
    found: list[Tensor | None] = [None] * len(layers)
    groups: dict[Any, list[int]] = {}
    for k, layer in enumerate(layers):
        layer.join(layer.weight)
        if layer._lists(x):
            alone = k if layer._transposed else None
            groups.setdefault((alone, layer.stride, layer._size(x)), []).append(k)
        else:
            found[k] = layer._convolve(x, layer.effective_weight(), layer.bias)
    for (_, _, size), members in groups.items():
        maps = _convolve_alike(x, [layers[k] for k in members], size)
        for k, y in zip(members, maps, strict=True):
            found[k] = y
    return [y for y in found if y is not None]


def _convolve_alike(
    x: Tensor, layers: Sequence[_Masked], size: tuple[int, int]
) -> Sequence[Tensor]:
    """Convolve one map by lists of open entries, of layers of the same stride."""
    first, *others = layers
    n_open = [layer.index.numel() for layer in layers]

    def plain(x: Tensor, values: Tensor) -> Tensor:
        pairs = zip(layers, values.split(n_open), strict=True)
        return torch.cat([layer._convolve(x, layer._spread(part)) for layer, part in pairs], 1)

    values = torch.cat([layer.open_values() for layer in layers])
    entries = join_entries(*(layer._entries for layer in layers))
    y = open_convolution(x, values, entries, size, plain, transposed=first._transposed)
    if any(layer.bias is not None for layer in layers):
        biases = [
            values.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
            for layer in layers
        ]
        y += torch.cat(biases).view(-1, 1, 1)  # in place: nothing else knows of it
    return y.split([layer.out_channels for layer in layers], 1) if others else [y]
