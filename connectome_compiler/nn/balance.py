"""A start at which the drive of a unit depends on the input, and is not an offset of its own.

Weights of one sign add up: drawn as those of `nn.Linear`, which have both, they drive each unit
almost alike for all inputs, or keep it silent, and every layer has less of the input than the one
before.
"""

from collections.abc import Hashable, Iterable

import torch
from torch import Tensor, nn

from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import LeakyRates

# Measured: at 1, which is balance at equal rates, up to a quarter of a population stays silent.
INHIBITION = 0.75  # sum of the weights that inhibit, where those that excite sum to 1
REST = 0.1  # drive of rectified units without input: one that is only inhibited has a rate to lower


@torch.no_grad()
def balance(layers: Iterable[tuple[Hashable, EdgeLinear]]) -> None:
    """Scale weights: of each unit those that excite sum to 1, those that inhibit to `INHIBITION`.

    Layers of one name add up to one drive, so one scale holds over all of their connections. Free
    weights, drawn for the in-degree in their layer, are scaled to that in all layers. A weight that
    is shared takes the mean of what its connections would. Biases are set to 0.
    """
    drives: dict[Hashable, list[EdgeLinear]] = {}
    for name, layer in layers:
        drives.setdefault(name, []).append(layer)
    for joined in drives.values():
        n = joined[0].n_post
        excitation, inhibition = joined[0].weight.new_zeros(2, n)
        degree = joined[0].ptr.new_zeros(n)
        for layer in joined:
            weight, post = layer.effective_weight(), _post(layer)
            excitation.index_add_(0, post, torch.where(layer.sign > 0, weight, 0))
            inhibition.index_add_(0, post, torch.where(layer.sign < 0, -weight, 0))
            degree += layer.ptr.diff()
        least = torch.finfo(excitation.dtype).tiny
        for layer in joined:
            post, share = _post(layer), (layer.ptr.diff() / degree.clamp(min=1)).sqrt()
            factor = torch.where(
                layer.sign == 0,
                share.index_select(0, post),
                torch.where(
                    layer.sign > 0,
                    1 / excitation.clamp(min=least).index_select(0, post),
                    INHIBITION / inhibition.clamp(min=least).index_select(0, post),
                ),
            )
            layer.weight.mul_(_of_weights(layer, factor))
            if layer.bias is not None:
                layer.bias.zero_()


@torch.no_grad()
def rest(units: LeakyRates) -> None:
    """Set biases to 0, and to `REST` where rates are rectified."""
    if units.bias is not None:
        units.bias.fill_(REST if units.activation == "relu" else 0.0)


@torch.no_grad()
def centre(read_in: nn.Module, n_maps: int) -> None:
    """Let what a read-in weighs of each map sum to 0: contrast is seen, not brightness.

    Features are ``n_maps`` maps, one after the other; those of a single place stay as they are. A
    read-in of low rank weighs them by ``inward``. The bias is set to 0.
    """
    weight = read_in.get_parameter("inward" if hasattr(read_in, "inward") else "weight")
    of_maps = weight.view(len(weight), n_maps, -1)
    if of_maps.shape[-1] > 1:
        of_maps.sub_(of_maps.mean(-1, keepdim=True))
    read_in.get_parameter("bias").zero_()


def _post(layer: EdgeLinear) -> Tensor:
    """Return the target of each connection."""
    post = torch.arange(layer.n_post, device=layer.ptr.device)
    return post.repeat_interleave(layer.ptr.diff(), output_size=layer.pre.numel())


def _of_weights(layer: EdgeLinear, factor: Tensor) -> Tensor:
    """Return the factor of each weight from those of connections: the mean, where it is shared."""
    group: Tensor | None = getattr(layer, "group", None)
    if group is None:
        return factor
    none = torch.zeros_like(layer.weight)
    n_sharing = none.index_add(0, group, torch.ones_like(factor))
    return none.index_add(0, group, factor) / n_sharing.clamp(min=1)
