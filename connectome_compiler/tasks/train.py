"""Train the network of an emitted module on a task: progress, checkpoints, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.files import write
from connectome_compiler.options import Raw, configure, guess
from connectome_compiler.recipe import parse_settings
from connectome_compiler.tasks import pictures
from connectome_compiler.tasks._physics import require
from connectome_compiler.tasks.evolution import EvolutionStrategies, n_parameters
from connectome_compiler.tasks.policy import acting, digest, load_policy, network, reset
from connectome_compiler.tasks.policy_gradient import ProximalPolicyOptimisation
from connectome_compiler.tasks.state import read_tensors, write_tensors
from connectome_compiler.tasks.swim import Swim, returns

METHODS = {m.name: m for m in (EvolutionStrategies, ProximalPolicyOptimisation)}
TASKS = ("swim",)
POLICIES = ("module", "mlp")
TEST_SEEDS = range(5)  # training draws its episodes' seeds from 2**20 on
NET = "policy."
BEST = "best."
CHECKPOINT = "checkpoint.safetensors"


class Training(Protocol):
    """A training under way. All randomness of an iteration comes from its number and the seed."""

    steps_per_iteration: int

    def iterate(self, iteration: int) -> list[float]:
        """Do one iteration on the policy in place; return what its episodes reached."""

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs, beside the policy's weights."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to."""

    folder: Path
    files: tuple[Path, ...]
    iterations: int
    n_parameters: int
    before: tuple[float, float]  # mean and sd of the test returns
    after: tuple[float, float]
    best_iteration: int  # the first of the highest mean; its weights are the ones written
    best: tuple[float, float]

    def lines(self) -> list[str]:
        """Return the result as text."""
        tests = {
            "before": self.before,
            "after": self.after,
            f"best, iteration {self.best_iteration}": self.best,
        }
        return [
            f"trained {self.n_parameters:,} parameters for {self.iterations} iterations",
            f"test return of {len(TEST_SEEDS)} episodes",
            *(f"  {mean:.1f} (sd {sd:.1f}) {when}" for when, (mean, sd) in tests.items()),
            *(f"  wrote {file}" for file in self.files),
        ]


def train(
    module: Path,
    out: Path,
    *,
    task: str = "swim",
    method: str = "es",
    policy: str = "module",
    settings: Mapping[str, Any] | Sequence[str] = (),
    seed: int = 0,
    iterations: int = 50,
    resume: bool = False,
    say: Callable[[str], None] = lambda words: None,
) -> Trained:
    """Train ``module`` up to iteration ``iterations``; write all of it into the folder ``out``.

    ``settings`` are options of the module's ``build`` by name, or of the method, such as
    ``es.sigma``. Written are the weights that did best in the test episodes, which training never
    sees. After every iteration the checkpoint is replaced whole, so an interrupted training loses
    one iteration at most; resumed, it ends with the very bytes of an uninterrupted one. Raises
    `CompileError`.
    """
    for kind, name, known in (("task", task, TASKS), ("policy", policy, POLICIES)):
        if name not in known:
            raise UnknownNameError.among(kind, name, known)
    if method not in METHODS:
        raise UnknownNameError.among("method", method, METHODS)
    if seed < 0:
        raise CompileError("--seed", f"is {seed}", "give 0 or more")
    if iterations < 1:
        raise CompileError("--iterations", f"is {iterations}", "give at least 1")
    require("matplotlib")  # found missing now, not after an hour
    given = settings if isinstance(settings, Mapping) else parse_settings(settings)
    own, build_options = _split(method, given)
    options = configure(method, METHODS[method], own)
    controller = load_policy(module, build_options, policy, seed)
    training: Training = options.start(controller, seed)
    record: dict[str, Any] = {
        "task": task,
        "method": {"name": method, **asdict(options)},
        "policy": policy,
        "seed": seed,
        "options": build_options,
        "module": digest(module),
    }
    checkpoint = out / CHECKPOINT
    swimmers = [Swim(controller.n_joints, clock=True) for _ in TEST_SEEDS]

    def test() -> list[float]:
        return returns(acting(controller), swimmers, TEST_SEEDS)

    if resume:
        history, best = _resume(checkpoint, record, controller, training)
    else:
        if checkpoint.exists():
            problem = "already holds a training"
            raise CompileError(
                str(out), problem, "continue it with --resume, or choose another folder"
            )
        out.mkdir(parents=True, exist_ok=True)
        say("testing the untrained network")
        history = [{"steps": 0, "reached": [], "test": test()}]
        best = weights_of(controller)
        _save(checkpoint, record, history, controller, best, training)
    try:
        for k in range(len(history), iterations + 1):
            say(f"iteration {k} of {iterations}: test return {np.mean(history[-1]['test']):.1f}")
            reached = training.iterate(k)
            steps = k * training.steps_per_iteration
            history.append({"steps": steps, "reached": reached, "test": test()})
            if _best(history) == k:
                best = weights_of(controller)
            _save(checkpoint, record, history, controller, best, training)
    except KeyboardInterrupt:
        _, kept = read_tensors(checkpoint)
        problem = f"interrupted after {len(kept['history']) - 1} of {iterations} iterations"
        hint = f"{checkpoint} is complete: continue with the same command and --resume"
        raise CompileError(str(out), problem, hint) from None
    controller.load_state_dict(best)
    name = module.stem if policy == "module" else policy
    title = f"{name}, {method}, seed {seed}"
    strip = pictures.frames(acting(controller), swimmers[0], TEST_SEEDS[0])
    text = json.dumps(record | {"history": history}, sort_keys=True)
    written = (
        checkpoint,
        write_tensors(out / "policy.safetensors", weights_of(network(controller)), record),
        write(out / "history.json", text.encode()),
        write(out / "curves.png", pictures.curves(history, title)),
        write(out / "frames.png", strip),
    )
    return Trained(
        out,
        written,
        len(history) - 1,
        n_parameters(controller),
        _spread(history[0]["test"]),
        _spread(history[-1]["test"]),
        _best(history),
        _spread(history[_best(history)]["test"]),
    )


def _split(method: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the method and those of the module's ``build``."""
    own, others = {}, {}
    for key, value in given.items():
        stage, dot, name = key.rpartition(".")
        if not dot:
            others[key] = guess(value.text) if isinstance(value, Raw) else value
        elif stage == method:
            own[name] = value
        else:
            raise UnknownNameError.among("--set: stage", stage, [method])
    return own, others


def _resume(
    checkpoint: Path, record: dict[str, Any], controller: torch.nn.Module, training: Training
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Restore a training; raise `CompileError` if the checkpoint is of another one."""
    tensors, kept = read_tensors(checkpoint)
    for key, value in json.loads(json.dumps(record)).items():
        if (was := kept.get(key)) != value:
            if isinstance(was, dict):  # of many options, those that differ
                was, value = (
                    {name: a[name] for name in a if name not in b or a[name] != b[name]}
                    for a, b in ((was, value), (value, was))
                )
            problem = f"is of another training: {key} was {was}, now {value}"
            hint = "resume with the original options, or start in another folder"
            raise CompileError(str(checkpoint), problem, hint)
    weights, best = (
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        for prefix in (NET, BEST)
    )
    try:
        history = list(kept["history"])
        controller.load_state_dict(best)  # that it fits shows now, not at the end
        controller.load_state_dict(weights)
        training.restore({k: v for k, v in tensors.items() if not k.startswith((NET, BEST))})
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        problem = f"does not fit: {error}"
        raise CompileError(str(checkpoint), problem, "start again in another folder") from error
    return history, best


def _save(
    checkpoint: Path,
    record: dict[str, Any],
    history: list[dict[str, Any]],
    controller: torch.nn.Module,
    best: dict[str, Tensor],
    training: Training,
) -> None:
    weights = {NET + name: value for name, value in weights_of(controller).items()}
    weights |= {BEST + name: value for name, value in best.items()}
    write_tensors(checkpoint, weights | training.state(), record | {"history": history})


def _best(history: list[dict[str, Any]]) -> int:
    """Return the iteration with the highest mean test return, the first of equals."""
    return int(np.argmax([np.mean(row["test"]) for row in history]))


def weights_of(net: torch.nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's weights and buffers, at step 0."""
    reset(net)
    return {name: v.detach().clone().contiguous() for name, v in net.state_dict().items()}


def _spread(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1))
