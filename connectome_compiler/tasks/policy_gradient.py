"""Proximal policy optimisation (Schulman et al. 2017), as Stable-Baselines3 does it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from connectome_compiler.errors import CompileError
from connectome_compiler.tasks._physics import require
from connectome_compiler.tasks.policy import reset
from connectome_compiler.tasks.state import adam_state, load_adam_state, stream
from connectome_compiler.tasks.swim import N_STEPS, Swim

CRITIC = "critic."


@dataclass(frozen=True, slots=True)
class ProximalPolicyOptimisation:
    """Follow the gradient of the return, with noise of a fixed sd around the network's torques.

    Each iteration swims ``episodes`` whole episodes side by side, then makes up to ``epochs`` steps
    of Adam on all of them, fewer where the policy would move by more than ``target_kl``. A critic
    of two hidden layers of 64 sees all observations. Discount, trace, clipping and ``noise`` are
    those of Bhattasali, Zador & Engel (2022).
    """

    name: ClassVar[str] = "ppo"

    episodes: int = 4
    epochs: int = 80
    learning_rate: float = 3e-3
    target_kl: float = 0.015
    clip: float = 0.2
    discount: float = 0.99
    trace: float = 0.97
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("episodes", "epochs"):
            if getattr(self, name) < 1:
                raise CompileError(f"ppo.{name}", f"is {getattr(self, name)}", "give at least 1")
        for name in ("learning_rate", "target_kl", "clip", "noise"):
            if not 0 < getattr(self, name) < math.inf:
                raise CompileError(f"ppo.{name}", f"is {getattr(self, name)}", "must be positive")
        for name in ("discount", "trace"):
            if not 0 <= getattr(self, name) <= 1:
                raise CompileError(f"ppo.{name}", f"is {getattr(self, name)}", "from 0 to 1")

    def start(self, policy: Any, seed: int) -> Climbing:
        """Return the training of ``policy``, which it changes in place."""
        return Climbing(self, policy, seed)


class Climbing:
    """A training by policy gradients, one iteration at a time."""

    def __init__(self, options: ProximalPolicyOptimisation, policy: Any, seed: int) -> None:
        require("stable_baselines3", "stable-baselines3")
        from stable_baselines3 import PPO
        from stable_baselines3.common.monitor import Monitor
        from stable_baselines3.common.vec_env import DummyVecEnv

        self.policy, self.seed = policy, seed
        self.steps_per_iteration = options.episodes * N_STEPS

        def swimmer() -> gymnasium.Env[Any, Any]:
            return Monitor(Swim(policy.n_joints, clock=True))

        with _own_randomness():
            self.learner = PPO(
                "MlpPolicy",
                DummyVecEnv([swimmer] * options.episodes),
                learning_rate=options.learning_rate,
                n_steps=N_STEPS,
                batch_size=self.steps_per_iteration,
                n_epochs=options.epochs,
                gamma=options.discount,
                gae_lambda=options.trace,
                clip_range=options.clip,
                target_kl=options.target_kl,
                policy_kwargs={"net_arch": {"pi": [], "vf": [64, 64]}},
                seed=seed % 2**32,
                device="cpu",
            )
        # With no layer of its own before it, the head sees the observation itself.
        both = self.learner.policy
        both.action_net = policy
        noise = torch.full((policy.n_joints,), math.log(options.noise))
        both.log_std = nn.Parameter(noise, requires_grad=False)
        self.adam = torch.optim.Adam(both.parameters(), lr=options.learning_rate, eps=1e-5)
        both.optimizer = self.adam

    def iterate(self, iteration: int) -> list[float]:
        """Do iteration ``iteration``; return what each episode reached, noise included."""
        with _own_randomness():
            self.learner.set_random_seed(int(stream(self.seed, iteration).integers(2**20, 2**31)))
            reset(self.policy)
            self.learner.learn(self.steps_per_iteration)
            reset(self.policy)
        return [float(episode["r"]) for episode in self.learner.ep_info_buffer or ()]

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs to continue as if uninterrupted."""
        critic = {
            f"{CRITIC}{name}": value
            for name, value in self.learner.policy.state_dict().items()
            if not name.startswith("action_net.")
        }
        return critic | adam_state(self.adam)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`; the policy's own weights are restored by the caller."""
        critic = {k.removeprefix(CRITIC): v for k, v in state.items() if k.startswith(CRITIC)}
        self.learner.policy.load_state_dict(critic, strict=False)
        load_adam_state(self.adam, state)


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Give the library the global generators, which it seeds, and then put them back."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
