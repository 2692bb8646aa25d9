"""SGD, Adam and AdamW in plain tensors, to train modules that are put to the test.

As in `torch.optim`, whose classes import torch's compiler when the first one is made: that takes as
long as all the rest of a check.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

OPTIMIZERS = ("SGD", "Adam", "AdamW")


class Stepper:
    """Steps of one optimiser over ``parameters``, with its usual constants and weight decay."""

    def __init__(
        self, kind: str, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
    ) -> None:
        self.kind, self.lr, self.decay = kind, lr, weight_decay
        self.parameters = list(parameters)
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.count = 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        self.count += 1
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            if (grad := parameter.grad) is None:
                continue
            if self.kind == "AdamW":
                parameter.mul_(1 - self.lr * self.decay)
            else:
                grad = grad.add(parameter, alpha=self.decay)
            if self.kind == "SGD":
                parameter.sub_(grad, alpha=self.lr)
                continue
            mean.lerp_(grad, 0.1)
            square.lerp_(grad.square(), 0.001)
            size = (square / (1 - 0.999**self.count)).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, size, value=-self.lr / (1 - 0.9**self.count))
