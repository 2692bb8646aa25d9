"""What the benchmarks share: random connections, rival layers, and a fair clock.

Other programs run on the same machine, so: the CPU time of one thread, all variants in turn in
one process, medians. Only the ratios within one run mean something.
"""

import argparse
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing

import numpy as np
import torch
from torch import Tensor, nn

from connectome_compiler.nn.edge_linear import EdgeLinear

torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

# Connection probabilities [post, pre] of the eight populations of a cortical column, and their
# relative sizes: Potjans & Diesmann 2014, Cereb. Cortex 24:785, table 5.
COLUMN_SIZES = (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)
COLUMN_PROBABILITIES = (
    (0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0),
    (0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0),
    (0.0077, 0.0059, 0.0497, 0.135, 0.0067, 0.0003, 0.0453, 0.0),
    (0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0),
    (0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0),
    (0.0548, 0.0269, 0.0257, 0.0022, 0.06, 0.3158, 0.0086, 0.0),
    (0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252),
    (0.0364, 0.001, 0.0034, 0.0005, 0.0277, 0.008, 0.0658, 0.1443),
)


@dataclass(frozen=True)
class Connections:
    """Connections of ``n`` neurons with each other, sorted by post, then pre."""

    n: int
    post: Tensor  # int64, (n_connections,)
    pre: Tensor  # int32, (n_connections,)
    ptr: Tensor  # int32, (n + 1,)
    start: Tensor  # float32, (n_connections,)

    def dense(self) -> Tensor:
        """Return the matrix ``[post, pre]`` of the starting weights."""
        matrix = torch.zeros(self.n, self.n)
        matrix[self.post, self.pre.long()] = self.start
        return matrix

    def mask(self) -> Tensor:
        """Return where connections are, float32 ``[post, pre]``."""
        mask = torch.zeros(self.n, self.n)
        mask[self.post, self.pre.long()] = 1
        return mask


def connections(case: str, seed: int = 0) -> Connections:
    """Draw a case: ``random:N:density``, ``laminar:N:density`` or ``window:N:half width``.

    ``laminar`` has the blocks of a cortical column; ``window`` is a square grid of units, each
    connected to those at most that fraction of the grid's side away.
    """
    kind, size, parameter = case.split(":")
    n, p = int(size), float(parameter)
    rng = np.random.default_rng(seed)
    if kind == "window":
        side = round(n**0.5)
        row, column = np.divmod(np.arange(n), side)
        inside = abs(row[:, None] - row) <= p * side
        post, pre = np.nonzero(inside & (abs(column[:, None] - column) <= p * side))
    else:
        probability = np.full((1, 1), p)
        block = np.zeros(n, np.int64)
        if kind == "laminar":
            ends = np.cumsum(COLUMN_SIZES) / sum(COLUMN_SIZES) * n
            block = np.searchsorted(ends, np.arange(n), side="right").clip(max=7)
            probability = np.array(COLUMN_PROBABILITIES)
            probability *= p / probability[block][:, block].mean()
        if n > 20_000:  # a fixed number, drawn without a pass over all pairs
            cells = np.unique(rng.integers(0, n * n, int(p * n * n)))
            post, pre = np.divmod(cells, n)
        else:
            rows = [np.nonzero(rng.random(n) < probability[b][block])[0] for b in block]
            post = np.repeat(np.arange(n), [len(row) for row in rows])
            pre = np.concatenate(rows)
    ptr = np.concatenate(([0], np.cumsum(np.bincount(post, minlength=n))))
    start = rng.standard_normal(len(pre)) / max(1, len(pre) / n) ** 0.5
    return Connections(
        n,
        torch.from_numpy(post),
        torch.from_numpy(pre.astype(np.int32)),
        torch.from_numpy(ptr.astype(np.int32)),
        torch.from_numpy(start.astype(np.float32)),
    )


class MaskedLinear(nn.Module):
    """``F.linear(x, weight * mask)``: what masked layers usually do."""

    mask: Tensor

    def __init__(self, c: Connections) -> None:
        super().__init__()
        self.weight = nn.Parameter(c.dense())
        self.register_buffer("mask", c.mask())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask)


class MaskedGradient(MaskedLinear):
    """A plain product; a hook masks the gradient of the weight."""

    def __init__(self, c: Connections) -> None:
        super().__init__(c)

        def hide(weight: Tensor) -> None:
            assert weight.grad is not None
            weight.grad.mul_(self.mask)

        self.weight.register_post_accumulate_grad_hook(hide)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


class NativeSparse(nn.Module):
    """torch's own CSR tensor and its autograd."""

    def __init__(self, c: Connections) -> None:
        super().__init__()
        self.weight, self.c = nn.Parameter(c.start.clone()), c

    def forward(self, x: Tensor) -> Tensor:
        c = self.c
        matrix = torch.sparse_csr_tensor(
            c.ptr, c.pre, self.weight, (c.n, c.n), check_invariants=False
        )
        return (matrix @ x.t().contiguous()).t()


class GatherScatter(nn.Module):
    """Message passing: gather the sources, scale, add to the targets."""

    def __init__(self, c: Connections) -> None:
        super().__init__()
        self.weight, self.c = nn.Parameter(c.start.clone()), c

    def forward(self, x: Tensor) -> Tensor:
        messages = x.t()[self.c.pre.long()] * self.weight[:, None]
        return x.new_zeros(self.c.n, x.shape[0]).index_add(0, self.c.post, messages).t()


def edge_linear(c: Connections, kernel: str = "edges", sign: Tensor | int = 0) -> EdgeLinear:
    """Build the layer under test with the starting weights of the case."""
    return EdgeLinear(c.n, c.ptr, c.pre, kernel=kernel, sign=sign, start=c.start)


def training_step(layer: nn.Module, x: Tensor, g: Tensor) -> Callable[[], None]:
    """Return forward, backward to input and weights, and a fused Adam step, as one call."""
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        layer(x).backward(g)
        optimiser.step()
        optimiser.zero_grad()
        x.grad = None

    return step


def time_in_turn(
    steps: Mapping[str, Callable[[], object]],
    repetitions: int = 15,
    budget_s: float = 20.0,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, list[float]]:
    """Return the milliseconds of each repetition; all variants take turns, after one warm-up.

    The order is drawn anew at each turn: what follows a large matrix finds the cache empty. Ends
    early, but not before five turns, when ``budget_s`` seconds of wall clock are over.
    """
    order, shuffle = list(steps), random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    end = time.monotonic() + budget_s
    for turn in range(repetitions):
        if turn >= 5 and time.monotonic() > end:
            break
        shuffle(order)
        for name in order:
            begin = clock()
            steps[name]()
            times[name].append((clock() - begin) * 1e3)
    return times


def report(title: str, times: Mapping[str, Sequence[float]], baseline: str) -> None:
    """Print median, quartiles, and how many times faster than ``baseline`` each variant is."""
    print(f"\n{title}\n{'':24}{'median ms':>10}{'quartiles':>20}{'x faster':>10}")
    base = statistics.median(times[baseline])
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        spread = f"{low:.2f} - {high:.2f}"
        print(f"{name:24}{middle:10.2f}{spread:>20}{base / middle:10.2f}", flush=True)


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean."""
    return statistics.geometric_mean(values)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows the script's docstring."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
