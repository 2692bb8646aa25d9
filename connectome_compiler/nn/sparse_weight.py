"""The weights of dense layers as sparse tensors, which show the connections."""

import torch
from torch import Tensor, nn


def sparse_weight(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Return the weights that act, as a sparse COO tensor in torch's layout, to differentiate.

    Of a convolution whole kernels are listed: its first two dimensions are sparse, the others
    dense. In a layer with a ``mask`` only what is on it is listed, and all of that.
    """
    if (mask := getattr(layer, "mask", None)) is None:
        weight = layer.weight
        kept = torch.ones(weight.shape[:2], dtype=torch.bool, device=weight.device)
    else:
        weight = layer.effective_weight()  # type: ignore[operator]
        kept = mask.reshape(*mask.shape[:2], -1).any(2)
    index = kept.nonzero().t()
    return torch.sparse_coo_tensor(
        index,
        weight[index[0], index[1]],
        weight.shape,
        is_coalesced=True,
        check_invariants=False,
    )
