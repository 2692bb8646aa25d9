"""Whether torch runs a call step by step, or traces, transforms or compiles it."""

import torch
from torch import Tensor

# Whether a transform of `torch.func` is running, such as grad or vmap; torch does not document it.
in_transform = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def has_shape(x: Tensor) -> bool:
    """Return whether ``x`` has a numeric shape; a `torch.fx` proxy or nested tensor does not."""
    return not isinstance(x, torch.fx.Proxy) and not x.is_nested


def runs_eagerly(x: Tensor, weight: Tensor) -> bool:
    """Return whether torch runs eagerly on the CPU, where our own functions can be used."""
    return (
        has_shape(x)
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not in_transform()
        and not torch.is_autocast_enabled("cpu")
        and torch.autograd.forward_ad.unpack_dual(x).tangent is None
        and torch.autograd.forward_ad.unpack_dual(weight).tangent is None
    )
