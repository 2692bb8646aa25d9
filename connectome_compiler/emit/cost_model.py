"""What a layer of connections will cost, and which kernel of `EdgeLinear` suits it.

The step is one training step on one thread: forward, backward to input and weights, fused Adam.
The model is linear in a few counts; its constants were fitted to measurements, least squares on
the relative error. ``benchmarks/calibrate.py`` fits them to another machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from types import MappingProxyType

# As in `connectome_compiler.nn.edge_linear`, which this module must not import: it needs torch.
TILE_COLUMNS = 64

CACHED_BYTES = 2**20  # beyond, what the "edges" kernel gathers from falls out of the L2 cache
GEMM_COLUMNS = 12  # fewer take as long, except one, which is a matrix-vector product

# Microseconds per count of `terms`, in its order. Measured in 2026 on one core of an AMD EPYC with
# 1 MiB of L2 cache, PyTorch 2.13: 140 random layers of 512 to 4096 neurons, 1 to 50 % of all
# connections, batch 1 to 256; and the "edges" alone up to 140,000 neurons, 4 million connections.
COSTS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "edges": (225, 0.00621, 0.000116, 6.38e-05, 2.64e-05, 0.00371),
        "dense": (216, 0.00251, 7.41e-05, 0.000708, 0.00115),
    }
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of one layer with one kernel."""

    step_us: float  # one training step
    state_bytes: int  # weights, gradient, two moments of Adam and structure, in float32


def terms(
    kernel: str, n_post: int, n_pre: int, n_connections: int, batch: int, cover: float = 1.0
) -> tuple[float, ...]:
    """Return the counts that the step time is linear in."""
    activity = float((n_post + n_pre) * batch)
    if kernel == "edges":
        width = max(n_post, n_pre) * min(batch, TILE_COLUMNS)
        out_of_cache = max(0.0, log2(4 * width / CACHED_BYTES)) if width else 0.0
        work = float(n_connections * batch)
        wide = float(n_connections * max(0, batch - TILE_COLUMNS))  # not all of it runs in tiles
        return 1.0, float(n_connections), work, work * out_of_cache, wide, activity
    cells = cover * n_post * n_pre
    columns = max(batch, GEMM_COLUMNS) if batch > 1 else batch
    return 1.0, float(n_connections), cells * columns, cells, activity


def forecast(
    n_post: int,
    n_pre: int,
    n_connections: int,
    batch: int,
    threads: int = 1,
    cover: float = 1.0,
) -> dict[str, Forecast]:
    """Return the cost of a layer by kernel.

    ``cover`` is the share of the matrix that the strips of the "dense" kernel span: 1 unless the
    connections lie in windows. With several ``threads`` all but the fixed cost is shared evenly.
    """
    found = {}
    for kernel, costs in COSTS.items():
        counts = terms(kernel, n_post, n_pre, n_connections, batch, cover)
        fixed, *shared = (cost * count for cost, count in zip(costs, counts, strict=True))
        pointers = n_post + 1 + (n_pre + 1 if kernel == "edges" else 0)
        found[kernel] = Forecast(fixed + sum(shared) / threads, 28 * n_connections + 4 * pointers)
    return found


def forecast_rollout(
    n: int, n_connections: int, batch: int, steps: int, kernel: str = "edges"
) -> Forecast:
    """Return the cost of training ``n`` neurons over ``steps`` steps of time, once.

    The weights are read twice a step of time, but their gradient is one product at the end: of the
    work per connection and column, two thirds are done step by step, and a third at once.
    """
    one = forecast(n, n, n_connections, batch)[kernel]
    wide = forecast(n, n, n_connections, batch * steps)[kernel]
    return Forecast(steps * one.step_us * 2 / 3 + wide.step_us / 3, one.state_bytes)


def choose_kernel(
    n_post: int,
    n_pre: int,
    n_connections: int,
    batch: int,
    threads: int = 1,
    cover: float = 1.0,
) -> str:
    """Return the kernel with the shortest step; of equal ones, the first."""
    costs = forecast(n_post, n_pre, n_connections, batch, threads, cover)
    return min(costs, key=lambda kernel: costs[kernel].step_us)
