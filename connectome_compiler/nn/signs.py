"""How a weight keeps its sign: one formula for each way.

All have a slope at 0, so a weight that is exactly 0 learns.
"""

import torch
from torch import Tensor, nn

from connectome_compiler.nn.eager import in_transform, is_taken_apart


def clamp_to_sign(weight: Tensor, sign: int) -> Tensor:
    """Let a weight of the wrong sign act as 0, without a gradient except at 0 itself."""
    return weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)


def size_with_sign(weight: Tensor, sign: Tensor | int, any_free: bool = False) -> Tensor:
    """Let a weight act by its magnitude, with its prescribed sign: ``sign * |weight|``.

    Where ``sign`` is 0 the weight is free and acts as it is; ``any_free`` says if there are any.
    """
    if is_taken_apart() and not in_transform():  # ONNX has no copysign, which is much faster
        return weight * torch.where(weight.detach() * sign < 0, -1, 1)
    # Written as weight * 1 or weight * -1, since `abs` has no slope at zero.
    signed = weight.detach() * sign
    if any_free:
        signed = signed + 0.0  # -0.0 becomes 0.0: a weight whose sign is free keeps its own
    return weight * torch.copysign(signed.new_ones(()), signed)


@torch.no_grad()
def start_as_sizes(weight: Tensor, sign: Tensor) -> None:
    """Let weights that act by their size, where ``sign`` is not 0, start at 0 or above: in place.

    None acts otherwise for it.
    """
    weight.copy_(torch.where(sign == 0, weight, weight.abs()))


def smooth_with_sign(weight: Tensor, sign: int) -> Tensor:
    """Let a weight act by ``softplus(sign w) / softplus(1)``, with its prescribed sign.

    So +1 and -1 act as themselves, and a weight of the wrong sign acts a little, and learns.
    """
    softplus = nn.functional.softplus
    return sign * (softplus(sign * weight) / softplus(torch.ones_like(weight)))
