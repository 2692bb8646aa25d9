"""Pictures of a training: its curve, and the swimmer itself, frame by frame."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from connectome_compiler.tasks._physics import require
from connectome_compiler.tasks.swim import N_STEPS, STEP_S, Array, Swim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
FIRST_FRAME = 300  # by then it swims steadily
BETWEEN = 12  # steps between frames: six frames are a stroke of 60 steps
N_FRAMES = 8


def curves(history: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Return the returns over the steps of training, as PNG.

    The band spans the copies or episodes of an iteration; the points are test episodes.
    """
    figure = _figure(6.4, 4.0)
    axes = figure.add_subplot()
    trained = [row for row in history if row["reached"]]
    steps = [row["steps"] for row in trained]
    reached = [row["reached"] for row in trained]
    low, high = [min(r) for r in reached], [max(r) for r in reached]
    axes.fill_between(steps, low, high, alpha=0.2, linewidth=0, label="training, range")
    axes.plot(steps, [np.mean(r) for r in reached], ".-", markersize=4, label="training, mean")
    tests = [np.mean(row["test"]) for row in history]
    axes.plot([row["steps"] for row in history], tests, "k.-", markersize=4, label="test, mean")
    axes.set(xlabel="steps of the environment", ylabel="return", ylim=(0, N_STEPS), title=title)
    axes.legend(loc="lower right", frameon=False)
    return _png(figure)


def frames(policy: Callable[[Array], Array], swimmer: Swim, seed: int) -> bytes:
    """Return a strip of the swimmer in motion, as PNG, one stroke and more.

    All frames show the same piece of water. Joints are coloured by torque: red bends the body to
    one side, blue to the other.
    """
    body, torques = _film(policy, swimmer, seed)
    centre = (body.min((0, 1)) + body.max((0, 1))) / 2
    # The strip runs across: its frames are narrow, so the way it swam is turned upright.
    way = body[-1].mean(0) - body[0].mean(0)
    angle = np.pi / 2 - np.arctan2(way[1], way[0])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    body = (body - centre) @ turn
    low, high = body.min((0, 1)) - 0.05, body.max((0, 1)) + 0.05
    shape = (high - low) / (high - low).max()
    figure = _figure(min(1.0 + 3.2 * shape[0] * N_FRAMES, 18.0), 3.2 * shape[1] + 0.6)
    for k, axes in enumerate(figure.subplots(1, N_FRAMES)):
        line, dots = body[k], body[k, 1:-1]
        axes.plot(body[0, :, 0], body[0, :, 1], color="0.88", linewidth=3, zorder=0)
        axes.plot(line[:, 0], line[:, 1], color="0.35", linewidth=3, solid_capstyle="round")
        axes.scatter(*dots.T, c=torques[k], cmap="coolwarm", vmin=-1, vmax=1, s=22, zorder=3)
        axes.plot(*line[0], "o", color="k", markersize=5)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.set_title(f"{(FIRST_FRAME + k * BETWEEN) * STEP_S:.2f} s", fontsize=8)
        axes.set_axis_off()
    return _png(figure)


def _film(policy: Callable[[Array], Array], swimmer: Swim, seed: int) -> tuple[Any, Any]:
    observation, _ = swimmer.reset(seed=seed)
    body, torques = [], []
    for step in range(FIRST_FRAME + (N_FRAMES - 1) * BETWEEN + 1):
        action = policy(observation[None])[0]
        if step >= FIRST_FRAME and (step - FIRST_FRAME) % BETWEEN == 0:
            body.append(swimmer.midline())
            torques.append(action)
        observation, *_ = swimmer.step(action)
    return np.array(body), np.array(torques)


def _figure(width: float, height: float) -> Figure:
    require("matplotlib")
    from matplotlib.figure import Figure  # no pyplot: its state is global

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
