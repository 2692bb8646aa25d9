"""Measure swimmers, untrained and trained: the tables of docs/swimmer.md.

    ccompile build ncap-swimmer --out swimmer.py
    python scripts/measure_swimmer.py swimmer.py                      # untrained
    python scripts/measure_swimmer.py swimmer.py --train runs         # trained, in runs/

Trainings that are in the folder already are resumed or read. Needs this project with its extra
[swimmer]. Prints Markdown; the sd is that of a sample (n - 1).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import starmap
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from connectome_compiler.tasks.evolution import n_parameters
from connectome_compiler.tasks.policy import MlpPolicy, acting, load_policy, network
from connectome_compiler.tasks.swim import Array, Swim, returns
from connectome_compiler.tasks.train import CHECKPOINT, TEST_SEEDS, train

Act = Callable[[Array], Array]
Row = tuple[str, Sequence[float]]

DRAWN = {
    "uniform start": {"constant_init": False},
    "uniform start, not shared": {"constant_init": False, "weight_sharing": False},
    "start ±1, signs free": {"sign_constraints": False},
    "start ±1, signs free, not shared": {"sign_constraints": False, "weight_sharing": False},
    "uniform start, signs free": {"constant_init": False, "sign_constraints": False},
    "uniform start, signs free, not shared": {
        "constant_init": False,
        "sign_constraints": False,
        "weight_sharing": False,
    },
}
FIXED = {"no proprioception": {"proprioception": False}, "no oscillator": {"oscillator": False}}
BODIES = range(2, 14)
PERIODS = (20, 30, 40, 50, 60, 70, 80, 100, 120)
TRAININGS: dict[str, dict[str, Any]] = {
    "NCAP, evolution strategies": {"method": "es", "iterations": 15},
    "NCAP, PPO": {"method": "ppo", "iterations": 10},
    **{
        f"{name}, evolution strategies": {"method": "es", "iterations": 15, "settings": options}
        for name, options in {
            "uniform start": {"constant_init": False},
            "start ±1, signs free": {"sign_constraints": False},
            "not shared": {"weight_sharing": False},
            **FIXED,
        }.items()
    },
    "MLP, evolution strategies": {
        "method": "es",
        "policy": "mlp",
        "iterations": 15,
        "settings": {"es.learning_rate": 0.02},
    },
}
TRAINING_SEEDS = range(3)


def swim(act: Act, n_joints: int, seeds: Sequence[int]) -> list[float]:
    """Return the returns of one policy."""
    return returns(act, [Swim(n_joints, clock=True) for _ in seeds], seeds)


def built(module: Path, seeds: Sequence[int], **options: Any) -> list[float]:
    """Return the returns of the module as it starts, which draws nothing."""
    policy = load_policy(module, options)
    return swim(acting(policy), policy.n_joints, seeds)


def drawn(module: Path, seeds: Sequence[int], **options: Any) -> list[float]:
    """Return the returns of starts that are drawn, each in the episode of its own seed."""
    return [swim(acting(load_policy(module, options, seed=s)), 5, [s])[0] for s in seeds]


def noisy(act: Act, sd: float, draw: np.random.Generator) -> Act:
    """Return a policy with noise on its torques."""
    return lambda o: act(o) + sd * draw.standard_normal((len(o), 5), np.float32)


def untrained(module: Path) -> Iterator[Row]:
    """Yield the policies that nobody trained."""
    yield "NCAP, default weights", built(module, range(20))
    act, draw = acting(load_policy(module, {})), np.random.default_rng(0)
    yield "same, noise of sd 0.1 on the torques", swim(noisy(act, 0.1, draw), 5, range(5))
    for name, options in DRAWN.items():
        yield name, drawn(module, range(20), **options)
    for name, options in FIXED.items():
        yield name, built(module, range(5), **options)
    values = []
    for seed in range(10):
        torch.manual_seed(seed)
        values += swim(acting(MlpPolicy(5, n_hidden=256)), 5, [seed])
    yield "MLP (256, 256), random start", values
    noise = np.random.default_rng(0)
    uniform = swim(lambda o: noise.uniform(-1, 1, (len(o), 5)).astype(np.float32), 5, range(5))
    yield "uniformly random torques", uniform
    yield "no torques", swim(lambda o: np.zeros((len(o), 5), np.float32), 5, range(5))


def trained(module: Path, folder: Path, name: str, seed: int) -> tuple[str, int, list[float]]:
    """Train, or read what was trained; return the number of weights and the returns.

    They are those of 20 episodes that neither trained the network nor chose its weights.
    """
    options = TRAININGS[name]
    torch.set_num_threads(1)
    out = folder / f"{name.replace(', ', '-').replace(' ', '-').lower()}-{seed}"
    resume = (out / CHECKPOINT).exists()
    train(module, out, seed=seed, resume=resume, **options)
    build = {k: v for k, v in options.get("settings", {}).items() if "." not in k}
    policy = load_policy(module, build, options.get("policy", "module"), seed)
    network(policy).load_state_dict(load_file(out / "policy.safetensors"))
    print(f"{out.name} done", file=sys.stderr, flush=True)
    return (
        name,
        n_parameters(policy),
        swim(acting(policy), 5, range(len(TEST_SEEDS), len(TEST_SEEDS) + 20)),
    )


def spread(values: Sequence[float]) -> str:
    """Return mean, sd, range and number as cells of a table."""
    sd = np.std(values, ddof=1)
    low, high = min(values), max(values)
    return f"{np.mean(values):.1f} | {sd:.1f} | {low:.0f} to {high:.0f} | {len(values)}"


def print_untrained(module: Path) -> None:
    """Print the tables of what nobody trained."""
    print("| untrained, 5 joints | mean | sd | range | seeds |\n| --- | --- | --- | --- | --- |")
    for name, values in untrained(module):
        print(f"| {name} | {spread(values)} |", flush=True)
    print("\n| joints | mean | sd | range | seeds |\n| --- | --- | --- | --- | --- |")
    for n in BODIES:
        print(f"| {n} | {spread(built(module, range(10), n_joints=n))} |", flush=True)
    print(f"\n| period | {' | '.join(map(str, PERIODS))} |\n|{' --- |' * (len(PERIODS) + 1)}")
    cells = [f"{built(module, [0], oscillator_period=p)[0]:.0f}" for p in PERIODS]
    print(f"| return, seed 0 | {' | '.join(cells)} |", flush=True)


def print_trained(module: Path, folder: Path, jobs: int) -> None:
    """Train, and print what came of it."""
    print("| trained | parameters | seed | mean | sd | range | episodes |\n|" + " --- |" * 7)
    tasks = [(module, folder, name, s) for name in TRAININGS for s in TRAINING_SEEDS]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = list(starmap(pool.submit, ((trained, *task) for task in tasks)))
        for task, future in zip(tasks, waiting, strict=True):
            name, n, values = future.result()
            print(f"| {name} | {n:,} | {task[-1]} | {spread(values)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("module", type=Path, help="an emitted swimmer")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train, here")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    chosen = parser.parse_args()
    torch.set_num_threads(1)

    if chosen.train is None:
        print_untrained(chosen.module)
    else:
        print_trained(chosen.module, chosen.train, chosen.jobs)


if __name__ == "__main__":
    main()
