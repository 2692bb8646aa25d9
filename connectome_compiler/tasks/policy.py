"""What is trained: the network of an emitted module, or a multilayer perceptron as a baseline."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from connectome_compiler.certify.importing import build_network, run_module
from connectome_compiler.errors import CompileError
from connectome_compiler.tasks.swim import N_STEPS, Array, joint_limit

DEFAULT_JOINTS = 5


class JointPolicy(nn.Module):
    """Observations of `Swim` with its clock to torques, through a network of joints alone.

    The network gets the joint angles as shares of their range and, if its ``forward`` takes it, the
    step of the episode, both ``(batch, ...)``. Velocities are not shown to it.
    """

    def __init__(self, net: nn.Module, n_joints: int) -> None:
        super().__init__()
        self.net, self.n_joints = net, n_joints
        self.takes_step = "step" in inspect.signature(net.forward).parameters

    def forward(self, observation: Tensor) -> Tensor:
        """Map ``(batch, n_observed)`` to ``(batch, n_joints)``."""
        joints = (observation[:, : self.n_joints] / joint_limit(self.n_joints)).clamp(-1, 1)
        if not self.takes_step:
            return _tensor(self.net(joints))
        step = torch.round((observation[:, -1:] + 1) / 2 * N_STEPS)
        return _tensor(self.net(joints, step))


class MlpPolicy(nn.Sequential):
    """Observations to torques through two hidden layers; the torques pass a tanh."""

    def __init__(self, n_joints: int, n_hidden: int = 64) -> None:
        n_observed = n_joints + 3 * (n_joints + 1) + 1
        super().__init__(
            nn.Linear(n_observed, n_hidden),
            nn.Tanh(),
            nn.Linear(n_hidden, n_hidden),
            nn.Tanh(),
            nn.Linear(n_hidden, n_joints),
            nn.Tanh(),
        )
        self.n_joints = n_joints


def network(policy: nn.Module) -> nn.Module:
    """Return the network as the module's ``build`` returned it."""
    return policy.net if isinstance(policy, JointPolicy) else policy


def reset(policy: nn.Module) -> None:
    """Reset the state that the network keeps between steps, if any."""
    forget = getattr(network(policy), "reset", None)
    if callable(forget):
        forget()


def acting(policy: nn.Module) -> Any:
    """Return the policy, freshly reset, as a function of arrays."""
    reset(policy)

    def act(observations: Array) -> Array:
        with torch.no_grad():
            torques: Array = policy(torch.from_numpy(observations)).numpy()
        return torques

    return act


def load_policy(
    module: Path, options: Mapping[str, Any], kind: str = "module", seed: int = 0
) -> JointPolicy | MlpPolicy:
    """Build the network of a module file, as a policy; ``kind`` "mlp" puts another in its place.

    ``options`` go to the module's ``build``. What is drawn at the start is drawn from ``seed``.
    Importing the file runs its code. Raises `CompileError` for a file that is no such module, and
    for options that it refuses.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, n_joints = _network(module, options)
        policy = JointPolicy(net, n_joints)
        if kind == "mlp":
            torch.manual_seed(seed)
            return MlpPolicy(n_joints)
    if not any(p.requires_grad for p in policy.parameters()):
        raise CompileError(str(module), "has no weights to train")
    _probe(module, policy)
    return policy


def digest(module: Path) -> str:
    """Return the sha256 of a module's text, which states that of its arrays."""
    return hashlib.sha256(module.read_bytes()).hexdigest()


def _network(module: Path, options: Mapping[str, Any]) -> tuple[nn.Module, int]:
    where = str(module)
    if not module.is_file():
        raise CompileError(where, "no such file", "ccompile build RECIPE --out swimmer.py")
    if module.suffix != ".py":
        raise CompileError(where, "is not a Python file", "give it a module that ccompile built")
    try:
        namespace = run_module(module, module.read_bytes(), f"_trained_{module.stem}")
    except (Exception, SystemExit) as error:
        raise CompileError(where, f"cannot be imported: {type(error).__name__}: {error}") from error
    net = build_network(where, namespace, options)
    known = [getattr(net, "n_joints", None), options.get("n_joints")]
    if (taken := inspect.signature(namespace.build).parameters.get("n_joints")) is not None:
        known.append(taken.default)
    for n_joints in known:
        if isinstance(n_joints, int):
            return net, n_joints
    return net, DEFAULT_JOINTS


def _probe(module: Path, policy: JointPolicy) -> None:
    """Check that joints go in and as many torques come out."""
    n = policy.n_joints
    where = f"{module}: forward"
    try:
        with torch.no_grad():
            torques = policy(torch.zeros(1, n + 3 * (n + 1) + 1))
    except Exception as error:  # whatever another's network does with our joints
        problem = f"does not take joints (1, {n}) alone: {type(error).__name__}: {error}"
        raise CompileError(where, problem, "the task gives joints and step, no command") from error
    if torques.shape != (1, n):
        raise CompileError(where, f"returned {tuple(torques.shape)}, not {(1, n)} torques")
    reset(policy)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
