"""From a list of open entries to a mask, and back to a list."""

import math
from typing import Any

import torch
from torch import Tensor


def open_entries(index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the mask of ``shape``, True at the flat indices ``index``."""
    mask = torch.zeros(math.prod(shape), dtype=torch.bool, device="cpu")
    mask[index.long()] = True
    return mask.view(shape)


def open_weight(layer: Any) -> Tensor:
    """Return the open weights of a layer, as they act, as a sparse COO tensor in torch's layout."""
    return torch.sparse_coo_tensor(
        layer.mask.nonzero().t(),
        layer.open_values(),
        layer.mask.shape,
        is_coalesced=True,
        check_invariants=False,
    )
