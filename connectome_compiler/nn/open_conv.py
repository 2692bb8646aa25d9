"""Convolutions that multiply by the open entries of their kernels alone, on the CPU.

A map is copied once for every shift along its rows, into a table of rows as wide as the result.
Every row of a result is then a weighted sum of rows of the table, one for each open entry of its
kernel: an embedding bag. The gradient of the input is a sum of the same form, and that of the
weights a product sampled at the open entries, so nothing dense is ever made of a kernel.

A stride turns into channels first: a map of ``(channels, height, width)`` is read as one of
``(channels * stride**2, height / stride, width / stride)``, and all shifts are by whole rows.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# Numbers of the tables that one row of a result reads: as much as stays in the cache between two
# rows. Larger maps are read by groups of channels, smaller ones several images at a time.
WINDOW_CELLS = 2**17
MOST_SIZES = 16  # of maps, whose tables are kept for one kernel

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class OpenEntries:
    """The open entries of a kernel ``(post, pre, height, width)``.

    A unit is a channel of the map after the stride became channels, and shifts are of its rows and
    columns. Tensors are int32, (n_open,), on the CPU.
    """

    n_post: int
    n_pre: int
    stride: Pair
    post: Tensor
    unit: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, index: Tensor, shape: Sequence[int], stride: Pair, padding: Pair) -> "OpenEntries":
        """Read ascending indices into the flattened kernel of ``shape``."""
        n_post, n_pre, height, width = shape
        down, right = stride
        pre = index // (height * width) % n_pre
        row = index // width % height - padding[0]
        column = index % width - padding[1]
        return cls(
            n_post,
            n_pre,
            stride,
            (index // (n_pre * height * width)).int(),
            ((pre * down + row % down) * right + column % right).int(),
            torch.div(row, down, rounding_mode="floor").int(),
            torch.div(column, right, rounding_mode="floor").int(),
        )

    @property
    def n_units(self) -> int:
        """Return the number of channels after the stride became channels."""
        return self.n_pre * self.stride[0] * self.stride[1]


# What follows from entries is found once, as it would take as long as the convolution of a small
# map, and is forgotten with them.
_joined: WeakKeyDictionary[OpenEntries, dict[tuple[OpenEntries, ...], OpenEntries]]
_joined = WeakKeyDictionary()


def join_entries(first: OpenEntries, *others: OpenEntries) -> OpenEntries:
    """Return the entries of kernels as those of one; all read the same map with the same stride."""
    if not others:
        return first
    known = _joined.setdefault(first, {})
    if others not in known:
        known[others] = _join(first, *others)
    return known[others]


def _join(*several: OpenEntries) -> OpenEntries:
    first, post, n_post = several[0], [], 0
    for entries in several:
        post.append(entries.post + n_post)
        n_post += entries.n_post
    return OpenEntries(
        n_post,
        first.n_pre,
        first.stride,
        torch.cat(post),
        torch.cat([e.unit for e in several]),
        torch.cat([e.rows for e in several]),
        torch.cat([e.columns for e in several]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Sums over some of a map's channels, for the first row of the result."""

    channels: slice
    picked: Tensor  # int32, the entries, by target
    index: Tensor  # int32, the row of the table that each one reads
    step: int  # how much further down the table those of the next row are
    ptr: Tensor  # int32, (n_targets + 1,)

    def repeat(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Return ``index`` and ``ptr`` for all rows."""
        rows = torch.arange(n_rows, dtype=torch.int32, device="cpu").unsqueeze(1)
        ends = (self.ptr[1:] + rows * self.index.numel()).flatten()
        return (self.index + rows * self.step).flatten(), nn.functional.pad(ends, (1, 0))


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Weighted sums of shifted channels, for every one of ``n_targets`` a map of ``size``."""

    n_targets: int
    size: Pair
    corner: Pair  # the least shifts of rows and of columns
    reach: Pair  # how many more of each there are
    n_images: int  # to be taken at once
    blocks: tuple[_Block, ...]

    @classmethod
    def of(
        cls,
        n_sources: int,
        n_targets: int,
        source: Tensor,
        target: Tensor,
        rows: Tensor,
        columns: Tensor,
        size: Pair,
    ) -> "_Sums":
        top, left = int(rows.min()), int(columns.min())
        reach = int(rows.max()) - top, int(columns.max()) - left
        n_shifts = reach[1] + 1
        window = (reach[0] + 1) * n_shifts * n_sources * size[1]
        n_blocks = min(n_sources, -(-window // WINDOW_CELLS))
        width = -(-n_sources // n_blocks)
        blocks = []
        for first in range(0, n_sources, width):
            n = min(width, n_sources - first)
            inside = ((source >= first) & (source < first + n)).nonzero().squeeze(1)
            picked = inside[target[inside].argsort(stable=True)]
            step = n * n_shifts
            ptr = torch.zeros(n_targets + 1, dtype=torch.int32, device="cpu")
            ptr[1:] = target[picked].bincount(minlength=n_targets).cumsum(0)
            index = (rows[picked] - top) * step + (source[picked] - first) * n_shifts
            index += columns[picked] - left
            if len(picked):
                channels = slice(first, first + n)
                blocks.append(_Block(channels, picked.int(), index.int(), step, ptr))
        n_images = max(1, WINDOW_CELLS * len(blocks) // window)
        return cls(n_targets, size, (top, left), reach, n_images, tuple(blocks))

    def __call__(self, maps: Tensor, values: Tensor) -> Tensor:
        """Return the sums, with ``values`` of all entries as weights."""
        height, width = self.size
        out = maps.new_empty(maps.shape[0], self.n_targets, height, width)
        for k, block in enumerate(self.blocks):
            index, ptr = block.repeat(height)
            weights = values.index_select(0, block.picked).repeat(height)
            for images in self._parts(maps.shape[0]):
                rows = nn.functional.embedding_bag(
                    index,
                    self._table(maps[images, block.channels]),
                    ptr,
                    mode="sum",
                    per_sample_weights=weights,
                    include_last_offset=True,
                )
                found = rows.view(height, self.n_targets, -1, width).permute(2, 1, 0, 3)
                if k:
                    out[images] += found
                else:
                    out[images] = found
        return out

    def gradient(self, maps: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient of the values; ``grad`` is that of the sums."""
        height = self.size[0]
        out = maps.new_empty(sum(block.picked.numel() for block in self.blocks))
        for block in self.blocks:
            index, ptr = block.repeat(height)
            total = maps.new_zeros(index.numel())
            for images in self._parts(maps.shape[0]):
                table = self._table(maps[images, block.channels])
                rows = grad[images].permute(2, 1, 0, 3).reshape(-1, table.shape[1])
                size = rows.shape[0], table.shape[0]
                with warnings.catch_warnings():  # torch says once per process that its CSR is beta
                    warnings.simplefilter("ignore")
                    cells = torch.sparse_csr_tensor(ptr, index, total, size, check_invariants=False)
                total = torch.sparse.sampled_addmm(cells, rows, table.t(), out=cells).values()
            out.index_copy_(0, block.picked.long(), total.view(height, -1).sum(0))
        return out

    def _parts(self, n: int) -> Iterator[slice]:
        """Yield the images that are taken at once."""
        return (slice(k, k + self.n_images) for k in range(0, n, self.n_images))

    def _table(self, maps: Tensor) -> Tensor:
        """Return the shifted maps, rows of (row, channel, shift) and columns of (image, column)."""
        n, c, height, right = maps.shape
        (top, left), n_rows, n_shifts = self.corner, self.size[0] + self.reach[0], self.reach[1] + 1
        width = self.size[1]
        pad = (-left, width + self.reach[1] + left - right, -top, n_rows + top - height)
        maps = nn.functional.pad(maps, pad)
        by_image, by_channel, by_row, by_column = maps.stride()
        shifted = maps.as_strided(
            (n_rows, c, n_shifts, n, width), (by_row, by_channel, by_column, by_image, by_column)
        )
        return shifted.reshape(-1, n * width)


def _split(maps: Tensor, stride: Pair) -> Tensor:
    """Turn the stride into channels; the map ends in zeros where it is not a multiple of it."""
    if stride == (1, 1):
        return maps
    down, right = stride
    n, c, height, width = maps.shape
    maps = nn.functional.pad(maps, (0, -width % right, 0, -height % down))
    cells = maps.reshape(n, c, maps.shape[2] // down, down, maps.shape[3] // right, right)
    return cells.permute(0, 1, 3, 5, 2, 4).reshape(n, -1, cells.shape[2], cells.shape[4])


def _merge(maps: Tensor, stride: Pair, size: Pair) -> Tensor:
    """Undo `_split`, to a map of ``size``.

    Never a view, as autograd would not let it be changed in place.
    """
    if stride == (1, 1):
        return maps
    n, c, height, width = maps.shape
    c //= stride[0] * stride[1]
    out = maps.new_empty(n, c, height * stride[0], width * stride[1])
    cells = maps.view(n, c, *stride, height, width).permute(0, 1, 4, 2, 5, 3)
    out.view(cells.shape).copy_(cells)
    if out.shape[2:] == size:
        return out
    return out[..., : size[0], : size[1]].clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """From a large map, before the stride, to a small one, behind it; and back."""

    stride: Pair
    large: Pair
    down: _Sums
    up: _Sums

    def to_small(self, maps: Tensor, values: Tensor) -> Tensor:
        """Convolve a large map."""
        return self.down(_split(maps, self.stride), values)

    def to_large(self, maps: Tensor, values: Tensor) -> Tensor:
        """Convolve a small map with the transpose."""
        return _merge(self.up(maps, values), self.stride, self.large)

    def gradient(self, large: Tensor, small: Tensor) -> Tensor:
        """Return the gradient of the values, of an input and an output gradient or vice versa."""
        return self.down.gradient(_split(large, self.stride), small)


_ways: WeakKeyDictionary[OpenEntries, dict[tuple[Pair, Pair], _Way]] = WeakKeyDictionary()


def _find_way(entries: OpenEntries, large: Pair, small: Pair) -> _Way:
    known = _ways.setdefault(entries, {})
    if (way := known.get((large, small))) is None:
        if len(known) == MOST_SIZES:
            known.clear()
        way = known[large, small] = _lay_way(entries, large, small)
    return way


def _lay_way(entries: OpenEntries, large: Pair, small: Pair) -> _Way:
    e = entries
    units = -(-large[0] // e.stride[0]), -(-large[1] // e.stride[1])
    down = _Sums.of(e.n_units, e.n_post, e.unit, e.post, e.rows, e.columns, small)
    up = _Sums.of(e.n_post, e.n_units, e.post, e.unit, -e.rows, -e.columns, units)
    return _Way(e.stride, large, down, up)


class _OpenConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, way: _Way, transposed: bool, plain: Callable[..., Any]
    ) -> Tensor:
        ctx.save_for_backward(x, values)
        ctx.way, ctx.transposed, ctx.plain = way, transposed, plain
        return (way.to_large if transposed else way.to_small)(x, values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, values = ctx.saved_tensors
        way, transposed = ctx.way, ctx.transposed
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # to be differentiated again
            inputs = [t for t, want in zip((x, values), wanted, strict=True) if want]
            found = iter(torch.autograd.grad(ctx.plain(x, values), inputs, grad, create_graph=True))
            return *(next(found) if want else None for want in wanted), None, None, None
        grad_x = grad_values = None
        if wanted[0]:
            grad_x = (way.to_small if transposed else way.to_large)(grad, values)
        if wanted[1]:
            grad_values = way.gradient(*((grad, x) if transposed else (x, grad)))
        return grad_x, grad_values, None, None, None


_open_convolution: Callable[..., Tensor] = _OpenConvolution.apply


def open_convolution(
    x: Tensor,
    values: Tensor,
    entries: OpenEntries,
    size: Pair,
    plain: Callable[[Tensor, Tensor], Tensor],
    *,
    transposed: bool = False,
) -> Tensor:
    """Convolve maps ``x`` with the ``values`` of the open entries, to maps of ``size``.

    There must be an open entry. ``plain`` computes the same in torch's own functions, for
    gradients of gradients.
    """
    own = (x.shape[2], x.shape[3])
    way = _find_way(entries, *((size, own) if transposed else (own, size)))
    if torch.is_grad_enabled() and (x.requires_grad or values.requires_grad):
        return _open_convolution(x, values, way, transposed, plain)
    return (way.to_large if transposed else way.to_small)(x, values)
