"""Read-ins with a structure: fewer free numbers between an image and a column than all to all.

No connectome says how an image enters a column. Where every unit has a weight for every feature,
these free weights are most of a network, and can do its work.
"""

import math

import torch
from torch import Tensor, nn

from connectome_compiler.nn.same_structure import SameStructure


class LocalReadIn(SameStructure):
    """Each unit sees a window of every feature map, at its own place in the column.

    Maps features ``(batch, n_maps * height * width)`` of ``maps``, these three numbers, to drive
    ``(batch, n_units)``. ``places``
    ``(n_units, 2)`` are from 0 to 1, down and across: the window, ``side`` places wide and high, or
    as the map where that is smaller, lies in the map as the place lies in the column.
    """

    weight: nn.Parameter  # (n_units, n_maps, height of the window, width of the window)
    bias: nn.Parameter  # (n_units,)
    window: Tensor  # int, (n_units, places in a window): which places of a map each unit sees

    structure = ("window",)

    def __init__(self, maps: tuple[int, int, int], places: Tensor, side: int) -> None:
        super().__init__()
        n_maps, *size = maps
        self.n_maps, self.size, self.places = n_maps, (size[0], size[1]), places
        high, wide = (min(side, length) for length in size)
        room = torch.tensor([size[0] - high, size[1] - wide], device="cpu")
        first = (places.double() * room).round().long()  # top left
        down = first[:, :1, None] + torch.arange(high, device="cpu")[:, None]
        across = first[:, 1:, None] + torch.arange(wide, device="cpu")
        self.hold(window=(down * size[1] + across).flatten(1))
        self.weight = nn.Parameter(torch.empty(len(places), n_maps, high, wide))
        self.bias = nn.Parameter(torch.empty(len(places)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and bias as `nn.Linear` does, with the fan-in of a window."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, features: Tensor) -> Tensor:
        """Return the drive of each unit."""
        self.join(features)
        maps = features.view(len(features), self.n_maps, math.prod(self.size))
        seen = maps[:, :, self.window]  # (batch, n_maps, n_units, places)
        return torch.einsum("bmup,ump->bu", seen, self.weight.flatten(2)) + self.bias

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        n_units, n_maps, high, wide = self.weight.shape
        return f"{n_units} units, {high} x {wide} of {n_maps} maps of {self.size}"


class LowRankReadIn(nn.Module):
    """All units see the features through a few channels: weights of low rank.

    Maps features ``(batch, n_features)`` to drive ``(batch, n_units)``, by ``weight @ inward``.
    """

    inward: nn.Parameter  # (rank, n_features)
    weight: nn.Parameter  # (n_units, rank)
    bias: nn.Parameter  # (n_units,)

    def __init__(self, n_features: int, n_units: int, rank: int) -> None:
        super().__init__()
        self.inward = nn.Parameter(torch.empty(rank, n_features))
        self.weight = nn.Parameter(torch.empty(n_units, rank))
        self.bias = nn.Parameter(torch.empty(n_units))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both factors, and the bias with the second, as two `nn.Linear` do."""
        for parameter, fan_in in (
            (self.inward, self.inward.shape[1]),
            (self.weight, self.weight.shape[1]),
            (self.bias, self.weight.shape[1]),
        ):
            nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, features: Tensor) -> Tensor:
        """Return the drive of each unit."""
        return nn.functional.linear(features @ self.inward.t(), self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return f"{self.inward.shape[1]} features, {len(self.weight)} units, rank {len(self.inward)}"
