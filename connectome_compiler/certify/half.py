"""Convolutions in half precision, where processors have none: torch then takes minutes over them.

Modules that are put to the test call torch as ever; the products alone are made in single
precision, and rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class QuickHalves(TorchDispatchMode):
    """Convolve numbers of half precision in single precision."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].dtype == torch.bfloat16:
            wide = (a.float() if isinstance(a, Tensor) else a for a in args)
            return func(*wide, **kwargs or {}).bfloat16()
        return func(*args, **kwargs or {})
