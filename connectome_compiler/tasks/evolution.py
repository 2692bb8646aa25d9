"""Evolution strategies: follow the ranks of randomly moved copies (Salimans et al. 2017).

With antithetic pairs, centred ranks, clipped gradients and Adam, as Bhattasali, Zador & Engel
(2022) trained NCAP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from connectome_compiler.errors import CompileError
from connectome_compiler.tasks.policy import acting
from connectome_compiler.tasks.state import adam_state, load_adam_state, stream
from connectome_compiler.tasks.swim import N_STEPS, Swim, returns


@dataclass(frozen=True, slots=True)
class EvolutionStrategies:
    """Move the weights in the direction that makes perturbed copies swim further.

    Each iteration draws ``population`` copies in antithetic pairs, ``sigma`` away, and lets all of
    them swim the same ``episodes`` episodes. ``learning_rate`` and ``weight_decay`` (L2) are those
    of Adam.
    """

    name: ClassVar[str] = "es"

    population: int = 8
    sigma: float = 0.1
    learning_rate: float = 0.1
    weight_decay: float = 0.005
    episodes: int = 1

    def __post_init__(self) -> None:
        if self.population < 2 or self.population % 2:
            raise CompileError(
                "es.population",
                f"must be positive and even, not {self.population}",
                "give an even number",
            )
        if self.episodes < 1:
            raise CompileError("es.episodes", f"is {self.episodes}", "give at least 1")
        for name in ("sigma", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise CompileError(f"es.{name}", f"is {getattr(self, name)}", "must be positive")
        if not 0 <= self.weight_decay < float("inf"):
            raise CompileError("es.weight_decay", f"is {self.weight_decay}", "0 switches it off")

    def start(self, policy: Any, seed: int) -> Evolving:
        """Return the training of ``policy``, which it changes in place."""
        return Evolving(self, policy, seed)


class Evolving:
    """A training by evolution strategies, one iteration at a time."""

    def __init__(self, options: EvolutionStrategies, policy: Any, seed: int) -> None:
        self.options, self.policy, self.seed = options, policy, seed
        self.weights = [p for p in policy.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(
            self.weights, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.swimmers = [Swim(policy.n_joints, clock=True) for _ in range(options.episodes)]
        self.steps_per_iteration = options.population * options.episodes * N_STEPS

    def iterate(self, iteration: int) -> list[float]:
        """Do iteration ``iteration``; return what each copy reached."""
        options = self.options
        draw = stream(self.seed, iteration)
        centre = parameters_to_vector(self.weights).detach()
        half = draw.standard_normal((options.population // 2, len(centre)), np.float32)
        moves = torch.from_numpy(np.concatenate([half, -half]))
        episodes = [int(s) for s in draw.integers(2**20, 2**31, options.episodes)]
        try:
            reached = [self._swim(centre + options.sigma * move, episodes) for move in moves]
        finally:
            vector_to_parameters(centre, self.weights)
        self._climb(gradient(reached, moves, options.sigma))
        return reached

    def _swim(self, weights: Tensor, episodes: list[int]) -> float:
        vector_to_parameters(weights, self.weights)
        return float(np.mean(returns(acting(self.policy), self.swimmers, episodes)))

    def _climb(self, uphill: Tensor) -> None:
        pieces = uphill.split([p.numel() for p in self.weights])
        for weight, piece in zip(self.weights, pieces, strict=True):
            weight.grad = -piece.view_as(weight)
        self.adam.step()

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs to continue as if uninterrupted."""
        return adam_state(self.adam)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`; the weights themselves are restored by the caller."""
        load_adam_state(self.adam, state)


def gradient(reached: list[float], moves: Tensor, sigma: float) -> Tensor:
    """Return the direction of better returns, each component clipped to [-1, 1].

    Returns count by their rank, from -0.5 to 0.5; equal ones share the mean of their ranks.
    """
    ranks = (rankdata(reached) - 1) / (len(reached) - 1) - 0.5
    weight = torch.from_numpy(ranks.astype(np.float32))
    return (weight @ moves / (len(reached) * sigma)).clamp(-1, 1)


def n_parameters(policy: nn.Module) -> int:
    """Return how many numbers are trained."""
    return sum(p.numel() for p in policy.parameters() if p.requires_grad)
