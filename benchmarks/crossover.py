"""Whether the kernel that the cost model chooses is the fastest one.

Sweeps size, density and batch; per layer one training step with each kernel and with the usual
masked layers. Prints the gain over always using ``F.linear(x, weight * mask)``, the gain an oracle
would have, the regret, and the density at which "edges" and "dense" cross.

    python benchmarks/crossover.py [--sizes 512 1024 2048] [--batch 1 4 16 64 256]
        [--density .01 .02 .05 .1 .2 .3 .5] [--fit] [--save points.json] [--load points.json]

``--fit`` judges the model with constants fitted to these measurements, and prints them.
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _common import (
    MaskedGradient,
    MaskedLinear,
    connections,
    edge_linear,
    geometric_mean,
    parser,
    time_in_turn,
    training_step,
)
from scipy.optimize import nnls
from torch import nn

from connectome_compiler import files
from connectome_compiler.emit.cost_model import COSTS, terms

Costs = dict[str, tuple[float, ...]]
LARGEST_MATRIX = 2**25  # cells; beyond, only the edges are measured


@dataclass(frozen=True)
class Point:
    """One measured layer: median milliseconds of a training step by variant."""

    n: int
    density: float
    batch: int
    n_connections: int
    step_ms: dict[str, float]

    def predicted_us(self, kernel: str, costs: Sequence[float]) -> float:
        """Return the step time that the cost model gives."""
        counts = terms(kernel, self.n, self.n, self.n_connections, self.batch)
        return sum(c * t for c, t in zip(costs, counts, strict=True))


def measure(
    sizes: Iterable[int], densities: Iterable[float], batches: Sequence[int], repetitions: int = 7
) -> list[Point]:
    """Time random layers."""
    points = []
    for n in sizes:
        for density in densities:
            c = connections(f"random:{n}:{density}")
            layers: dict[str, nn.Module] = {"edges": edge_linear(c, "edges")}
            if n * n <= LARGEST_MATRIX:
                layers["dense"] = edge_linear(c, "dense")
                layers["w*m"] = MaskedLinear(c)
                layers["masked gradient"] = MaskedGradient(c)
            for batch in batches:
                x, g = torch.randn(batch, n, requires_grad=True), torch.randn(batch, n)
                steps = {name: training_step(layer, x, g) for name, layer in layers.items()}
                times = time_in_turn(steps, repetitions, budget_s=5)
                step_ms = {name: statistics.median(values) for name, values in times.items()}
                points.append(Point(n, density, batch, len(c.pre), step_ms))
                shown = "  ".join(f"{name} {value:8.2f}" for name, value in step_ms.items())
                print(f"N={n:5d} density={density:5.3f} B={batch:4d}  {shown}", flush=True)
    return points


def fit(points: Sequence[Point]) -> Costs:
    """Fit the constants of the cost model, least squares on the relative error."""
    costs: Costs = {}
    for kernel in COSTS:
        used = [p for p in points if kernel in p.step_ms]
        counts = np.array(
            [terms(kernel, p.n, p.n, p.n_connections, p.batch) for p in used], dtype=np.float64
        )
        measured = np.array([p.step_ms[kernel] * 1e3 for p in used])
        scale = np.maximum(counts.max(axis=0), 1e-12)
        solution, _ = nnls(counts / scale / measured[:, None], np.ones(len(used)))
        costs[kernel] = tuple(float(f"{value:.3g}") for value in solution / scale)
    return costs


def print_costs(costs: Costs, points: Sequence[Point]) -> None:
    """Print constants as they stand in the cost model, and their median relative error."""
    for kernel, values in costs.items():
        error = statistics.median(
            abs(p.predicted_us(kernel, values) / p.step_ms[kernel] / 1e3 - 1)
            for p in points
            if kernel in p.step_ms
        )
        shown = ", ".join(f"{value:.3g}" for value in values)
        print(f'        "{kernel}": ({shown}),  # median error {error:.0%}')


def judge(points: Sequence[Point], costs: Costs) -> None:
    """Print how good the choices of the model are, where there is a choice."""
    points = [p for p in points if len(p.step_ms) > 1]
    chosen = [min(costs, key=lambda k: p.predicted_us(k, costs[k])) for p in points]
    taken = [p.step_ms[kernel] for p, kernel in zip(points, chosen, strict=True)]
    ours = [min(p.step_ms[kernel] for kernel in costs) for p in points]
    best = [min(p.step_ms.values()) for p in points]
    masked = [p.step_ms["w*m"] for p in points]

    def gain(steps: Sequence[float]) -> float:
        return geometric_mean(m / t for m, t in zip(masked, steps, strict=True))

    regret = [t / o for t, o in zip(taken, ours, strict=True)]
    slower = [m / t for m, t in zip(masked, taken, strict=True) if m > 3]
    print(f"\nover {len(points)} layers, geometric-mean gain over always w*m:")
    print(f"  chosen kernel {gain(taken):.2f}x, oracle of our kernels {gain(ours):.2f}x", end="")
    print(f" ({gain(taken) / gain(ours):.1%}), of all variants {gain(best):.2f}x")
    print(
        f"  mean regret {statistics.mean(regret) - 1:.1%}, worst {max(regret):.2f}x, within 5 %",
        end="",
    )
    print(f" of the best in {sum(r < 1.05 for r in regret)} of {len(points)}")
    print(
        f"  slowest choice where w*m takes over 3 ms: {min(slower, default=math.nan):.2f}x of w*m"
    )

    print("\ndensity below which edges are faster than dense:")
    for n in sorted({p.n for p in points}):
        for batch in sorted({p.batch for p in points}):
            print(f"  N={n:5d} B={batch:4d}  {crossing(points, n, batch)}")


def crossing(points: Sequence[Point], n: int, batch: int) -> str:
    """Return where "edges" and "dense" take the same time, interpolated on a log scale."""
    ratios = [
        (p.density, math.log(p.step_ms["edges"] / p.step_ms["dense"]))
        for p in sorted(points, key=lambda p: p.density)
        if (p.n, p.batch) == (n, batch)
    ]
    for (d, low), (e, high) in pairwise(ratios):
        if low < 0 <= high:
            return f"{d * (e / d) ** (low / (low - high)):.2f}"
    return f"above {ratios[-1][0]}" if ratios[-1][1] < 0 else f"below {ratios[0][0]}"


def main() -> None:
    """Parse, measure or load, judge."""
    p = parser(__doc__)
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048])
    p.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    p.add_argument(
        "--density", type=float, nargs="+", default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5]
    )
    p.add_argument("--fit", action="store_true")
    p.add_argument("--save", type=Path)
    p.add_argument("--load", type=Path)
    options = p.parse_args()
    if options.load:
        points = [Point(**row) for row in json.loads(options.load.read_text())]
    else:
        points = measure(options.sizes, options.density, options.batch)
    if options.save:
        files.write(options.save, json.dumps([asdict(point) for point in points]).encode())
    costs = fit(points) if options.fit else dict(COSTS)
    print("\nconstants, microseconds per count:")
    print_costs(costs, points)
    judge(points, costs)


if __name__ == "__main__":
    main()
