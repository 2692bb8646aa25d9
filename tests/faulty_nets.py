"""Small networks with known faults: ``from faulty_nets import ...``."""

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """One number per name; what it does stands in ``forward``."""

    a: Tensor
    b: Tensor
    scale: Tensor
    unused: Tensor
    cancelled: Tensor
    asleep: Tensor
    wrong: Tensor
    contra: Tensor

    def __init__(self, **weights: float) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(torch.tensor([value])))

    def example_input(self, batch: int = 1) -> Tensor:
        return torch.linspace(-2, 2, 3 * batch).view(batch, 3)


class Faulty(Small):
    """``unused`` and ``cancelled`` are inert, ``asleep`` is so only where it starts."""

    def __init__(self) -> None:
        super().__init__(scale=1.5, unused=1.0, cancelled=1.0, asleep=1.0, wrong=-0.5)

    def forward(self, x: Tensor) -> Tensor:
        gone = (x[:, :1].clamp(0, 1) * self.cancelled.clamp(max=0)).clamp(0, 1)
        sleeping = (x[:, 1:2].clamp(0, 1) * self.asleep - 5).clamp(min=0)
        return x * self.scale + gone + sleeping + self.wrong.clamp(min=0) * x


class Branching(Small):
    """What it computes depends on the numbers that come in."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.a if float(x[0, 0]) > 0 else x


class InPlace(Small):
    def forward(self, x: Tensor) -> Tensor:
        y = x * self.a
        y.add_(1)
        return y


class Bent(Small):
    """A tanh is not a piecewise-linear function."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x * self.a)


class Layered(Small):
    """Of two hidden units one is never above 0; a check stands at the door."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(2, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 0.0]]))
            self.first.bias.copy_(torch.tensor([0.0, -9.0]))
            self.second.weight.copy_(torch.tensor([[1.0, 1.0]]))
            self.second.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not torch.isfinite(x).all():
            raise ValueError("input is not finite")
        y: Tensor = self.second(torch.relu(self.first(x)))
        return y
