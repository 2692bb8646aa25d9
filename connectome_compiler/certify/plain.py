"""The plain reading of one projection, and of what units make of it: none of the module's code.

In double precision, from the parameters of the module: the measure of what its layers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "linear": torch.clone,
}
AT_ONCE = 2**22  # numbers of connections and samples
EPSILON = 1e-5  # of all normalisations, as torch has it by default


def connections(layer: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return post and pre of the connections that a layer lists, and the weights that act."""
    n = layer.pre.numel()
    post = torch.arange(layer.n_post).repeat_interleave(layer.ptr.diff(), output_size=n)
    weight: Tensor = layer.weight
    if (group := getattr(layer, "group", None)) is not None:
        weight = weight.index_select(0, group)
        weight = weight if layer.scale is None else weight * layer.scale
    return post, layer.pre.long(), torch.where(layer.sign == 0, weight, layer.sign * weight.abs())


def summed(weight: tuple[Tensor, Tensor, Tensor], rates: Tensor, n: int) -> Tensor:
    """Return what each of ``n`` targets gets: ``(batch, n)``, connection by connection."""
    post, pre, values = weight
    if torch.is_grad_enabled() or len(rates) * len(values) < AT_ONCE:
        return rates.new_zeros(len(rates), n).index_add(1, post, rates[:, pre] * values)
    sums = rates.new_zeros(len(rates), n)
    for total, sent in zip(sums, rates, strict=True):  # one by one: it takes less memory
        total.index_add_(0, post, sent[pre] * values)
    return sums


def linear(layer: Any, x: Tensor) -> Tensor:
    """Return what a linear layer makes of ``x``."""
    drive: Tensor = x @ layer.weight.t()
    return drive if layer.bias is None else drive + layer.bias


def acting(layer: Any) -> Tensor:
    """Return the weights of a layer that act, dense, in torch's layout: of what is on its mask."""
    mask: Tensor | None = getattr(layer, "mask", None)
    weight: Tensor = layer.weight
    if mask is None:
        return weight
    places = mask.flatten().nonzero().squeeze(1)
    if hasattr(layer, "live"):  # a list of patches, each of some outputs and the inputs they see
        posts, pres = (layer.order, layer.pre)
        n_posts, n_pres = zip(*layer.sizes, strict=True)
        parts = weight.split([a * b for a, b in layer.sizes])
        weight = weight.new_zeros(mask.shape)
        for part, post, pre in zip(parts, posts.split(n_posts), pres.split(n_pres), strict=True):
            shape = len(post), len(pre)
            weight = weight.index_put((post[:, None], pre), part.view(shape))
    elif weight.shape != mask.shape:  # a list of what is open
        cells = weight.new_zeros(mask.numel()).index_copy(0, places, weight)
        weight = cells.view(mask.shape)
    sign: Tensor | None = getattr(layer, "sign", None)
    if sign is not None:
        of_all = sign.new_zeros(mask.numel()).index_copy(0, places, sign).view(mask.shape)
        weight = torch.where(of_all == 0, weight, of_all * weight.abs())
    values: Tensor | None = getattr(layer, "values", None)
    if values is not None:
        weight = weight * values
    return torch.where(mask, weight, 0)


def acted(operator: dict[str, Any], weight: Tensor, x: Tensor) -> Tensor:
    """Return what the weights make of ``x``: torch's operator of that name, in its geometry."""
    if operator["kind"] == "Linear":
        drive: Tensor = x.flatten(1) @ weight.t()
        return drive
    stride, padding, dilation = (tuple(operator[k]) for k in ("stride", "padding", "dilation"))
    groups = operator["groups"]
    if operator["kind"] == "ConvTranspose2d":
        more = tuple(operator["output_padding"])
        return torch.nn.functional.conv_transpose2d(
            x, weight, None, stride, padding, more, groups, dilation
        )
    (top, left), (more_y, more_x) = padding, operator["end_padding"]
    x = torch.nn.functional.pad(x, (left, left + more_x, top, top + more_y))
    if groups == 1 and x.dtype == torch.float64 and not torch.is_grad_enabled():
        return _entry_by_entry(weight, x, stride, dilation)
    return torch.nn.functional.conv2d(x, weight, None, stride, 0, dilation, groups)


def _entry_by_entry(
    weight: Tensor, x: Tensor, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Tensor:
    """Convolve with what is not 0 of a kernel: torch is slow in double precision."""
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    # What each position sees, without a copy: (samples, channels, *places, *kernel).
    seen = x.unfold(2, reach[0], stride[0]).unfold(3, reach[1], stride[1])
    seen = seen[..., :: dilation[0], :: dilation[1]].movedim((4, 5), (2, 3))
    maps = x.new_zeros(len(x), len(weight), *seen.shape[4:])
    for into, kernel in zip(maps.unbind(1), weight, strict=True):
        for part in kernel.nonzero().split(2**12):
            channel, i, j = part.t()
            factors = kernel[channel, i, j]
            into += torch.einsum("bnyx,n->byx", seen[:, channel, i, j], factors)
    return maps
