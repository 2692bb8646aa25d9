"""Whether torch runs a call step by step, or traces, transforms or compiles it."""

import torch
from torch import Tensor, nn

# Whether a transform of `torch.func` is running, such as grad or vmap; torch does not document it.
in_transform = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def has_shape(x: Tensor) -> bool:
    """Return whether ``x`` has a numeric shape; a `torch.fx` proxy or nested tensor does not."""
    return not isinstance(x, torch.fx.Proxy) and not x.is_nested


def has_hooks(layer: nn.Module) -> bool:
    """Return whether something is to happen when a layer is called."""
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )


def is_stand_in(x: Tensor) -> bool:
    """Return whether a tensor has a shape but no numbers: on the meta device, or a fake one."""
    return x.is_meta or type(x) is not Tensor


def is_taken_apart(*tensors: Tensor) -> bool:
    """Return whether torch transforms, traces or exports a call, and so needs its own functions.

    What it compiles it takes as one step, but for ONNX, which has no others than torch's.
    """
    if torch.compiler.is_compiling():
        return torch.onnx.is_in_onnx_export()
    return (
        in_transform()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or any(torch.autograd.forward_ad.unpack_dual(x).tangent is not None for x in tensors)
    )


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
