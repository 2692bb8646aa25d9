"""The task ``swim``: a chain of links in a viscous fluid, rewarded for swimming forwards.

After Bhattasali, Zador & Engel (2022), Neural Circuit Architectural Priors for Embodied Control,
NeurIPS: the swimmer of dm_control (Tunyasuvunakool et al. 2020, Software Impacts 6:100022) with
another reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.tasks._physics import require, require_physics

require("gymnasium")
import gymnasium  # noqa: E402  after the line that says what to do where it is missing

Array = npt.NDArray[np.float32]

DESIRED_SPEED = 0.1  # m/s; faster pays no more
N_STEPS = 1000  # of an episode
STEP_S = 0.03
N_SUBSTEPS = 15  # of the simulation, 0.002 s each
HALF_LINK = 0.05  # m
HEAD_Y = 1  # of the velocities: the head's own y axis points to the tail


class Swim(gymnasium.Env[Array, Array]):
    """A swimmer of ``n_joints`` joints, hence ``n_joints + 1`` links, at least 3.

    The observation is float32: the joint angles in radians, then for each link, head first, its own
    velocities x, y (m/s) and its turning (rad/s); with ``clock``, last, the step of the episode,
    mapped from 0..1000 to [-1, 1]. The action is one torque per joint in [-1, 1]; the motors clamp
    what lies beyond. The reward of a step is the head's forward speed over 0.1 m/s, clipped to
    [0, 1]. An episode is truncated after 1000 steps of 0.03 s and never ends earlier, so a return
    is at most 1000. It starts at rest, with random angles and heading.

    ``reset(seed=s)`` starts the very episode that dm_control draws from ``RandomState(s)``; without
    a seed the stream goes on. Raises `CompileError` for a missing or another simulator, for actions
    of a wrong shape or not finite, and for a step outside an episode.
    """

    def __init__(self, n_joints: int = 5, *, clock: bool = False) -> None:
        if isinstance(n_joints, bool) or not isinstance(n_joints, int | np.integer) or n_joints < 2:
            raise CompileError(
                "swim: n_joints", f"is {n_joints!r}", "give an integer of at least 2"
            )
        require_physics()
        from dm_control.suite import swimmer

        self.n_joints, self.clock = int(n_joints), clock
        self._random = np.random.RandomState()
        self._physics = _body(self.n_joints).copy()
        self._start = swimmer.Swimmer(random=self._random)  # asked for its starts alone
        self._step = N_STEPS  # no episode yet
        n_observed = self.n_joints + 3 * (self.n_joints + 1) + clock
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (n_observed,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.n_joints,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode; return the first observation and an empty dict."""
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(seed)
        with self._physics.reset_context():
            self._start.initialize_episode(self._physics)
        self._step = 0
        return self._observe(), {}

    def step(self, action: npt.ArrayLike) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Apply torques for 0.03 s; return observation, reward, False, whether time is up, info.

        ``info["speed"]`` is the head's forward speed in m/s, before clipping.
        """
        if self._step >= N_STEPS:
            raise CompileError("swim", "there is no episode", "call reset() first")
        torques = np.asarray(action, np.float64)
        if torques.shape != (self.n_joints,):
            problem = f"has shape {torques.shape}, not ({self.n_joints},)"
            raise CompileError("swim: action", problem, "give one torque per joint")
        if not np.isfinite(torques).all():
            joint = int(np.flatnonzero(~np.isfinite(torques))[0])
            problem = f"torque of joint {joint} at step {self._step} is {torques[joint]}"
            raise CompileError("swim: action", problem, "the policy diverged: check its weights")
        self._physics.set_control(torques)
        self._physics.step(N_SUBSTEPS)
        self._step += 1
        speed = -float(self._physics.body_velocities()[HEAD_Y])
        reward = min(max(speed / DESIRED_SPEED, 0.0), 1.0)
        return self._observe(), reward, False, self._step == N_STEPS, {"speed": speed}

    def midline(self) -> npt.NDArray[np.float64]:
        """Return where the body is: ``(n_joints + 2, 2)``, in m, nose, then joints, then tail."""
        position = self._physics.data.xpos[1:, :2]  # body 0 is the world
        forwards = self._physics.data.xmat[1:].reshape(-1, 3, 3)[:, :2, 1]
        ends = position - HALF_LINK * forwards
        return np.vstack([ends, position[-1:] + HALF_LINK * forwards[-1:]])

    def _observe(self) -> Array:
        time = [self._step / N_STEPS * 2 - 1] if self.clock else []
        parts = (self._physics.joints(), self._physics.body_velocities(), time)
        return np.concatenate(parts).astype(np.float32)


@cache
def _body(n_joints: int) -> Any:
    """Return the physics of a swimmer, to be copied: compiling it takes far longer."""
    from dm_control.suite import swimmer

    xml, assets = swimmer.get_model_and_assets(n_joints + 1)
    return swimmer.Physics.from_xml_string(xml, assets=assets)


def joint_limit(n_joints: int) -> float:
    """Return how far a joint turns, in radians: controllers see angles as shares of it."""
    return 2 * np.pi / (n_joints + 1)


def returns(
    policy: Callable[[Array], Array], swimmers: Sequence[Swim], seeds: Sequence[int]
) -> list[float]:
    """Return the return of one whole episode per seed, swum side by side.

    ``policy`` maps a batch of observations to torques; row k is ``swimmers[k]``.
    """
    rows = [swim.reset(seed=s)[0] for swim, s in zip(swimmers, seeds, strict=True)]
    totals = [0.0] * len(rows)
    for _ in range(N_STEPS):
        torques = policy(np.stack(rows))
        for k, swim in enumerate(swimmers):
            rows[k], reward, *_ = swim.step(torques[k])
            totals[k] += reward
    return totals
