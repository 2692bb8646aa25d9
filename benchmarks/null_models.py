"""Time the null models on random connections at the size of a fly's brain.

140,000 neurons and 4 million connections. Prints CPU seconds, how many connections are new, and the
highest resident memory so far. Goal for "degrees" at 10 swaps per connection: 30 CPU-s. For
comparison the usual algorithm, swaps one by one with a hash set, compiled by numba, where that is
installed: as many proposals on the same connections, and nothing else. In Python such a swap takes
tens of microseconds (networkx 3, `directed_edge_swap`).

    python benchmarks/null_models.py [--neurons N] [--connections N] [--models degrees density]
"""

# mypy: disable-error-code="untyped-decorator"

import argparse
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from ir_scale import build, draw_edges, peak_gb

from connectome_compiler.ir import Graph
from connectome_compiler.passes.null_model import NullModel

T = TypeVar("T")
MODELS = ("degrees", "density", "blocks", "distance", "weights")


def one_by_one(graph: Graph, swaps: float) -> None:
    """Time the usual algorithm on the connections of ``graph``."""
    try:
        from numba import njit
    except ImportError:
        print("one by one        numba is not installed")
        return

    @njit
    def find(table: Any, key: int) -> int:
        """Return where ``key`` is in a hash table with open addresses, or where it should go."""
        at = (key * 0x9E3779B97F4A7C1) >> 17 & (len(table) - 1)
        while table[at] != -1 and table[at] != key:
            at = (at + 1) & (len(table) - 1)
        return at

    @njit
    def remove(table: Any, key: int) -> None:
        """Take ``key`` out; what follows moves up, so that searches end where they should."""
        mask = len(table) - 1
        hole = find(table, key)
        at = (hole + 1) & mask
        while table[at] != -1:
            home = (table[at] * 0x9E3779B97F4A7C1) >> 17 & mask
            if (at - home) & mask >= (at - hole) & mask:
                table[hole] = table[at]
                hole = at
            at = (at + 1) & mask
        table[hole] = -1

    @njit
    def swap(post: Any, pre: Any, n: int, proposals: int, table: Any) -> int:
        """Swap the ends of two random connections at a time, in place; return how often."""
        np.random.seed(0)  # noqa: NPY002  numba's own stream
        m, done = len(post), 0
        for k in range(m):
            key = pre[k] * n + post[k]
            table[find(table, key)] = key
        for _ in range(proposals):
            a, b = np.random.randint(m), np.random.randint(m)  # noqa: NPY002
            if pre[a] == pre[b] or post[a] == post[b] or pre[a] == post[b] or pre[b] == post[a]:
                continue
            new_a, new_b = pre[a] * n + post[b], pre[b] * n + post[a]
            if table[find(table, new_a)] == new_a or table[find(table, new_b)] == new_b:
                continue
            remove(table, pre[a] * n + post[a])
            remove(table, pre[b] * n + post[b])
            table[find(table, new_a)] = new_a
            table[find(table, new_b)] = new_b
            end = post[a]
            post[a] = post[b]
            post[b] = end
            done += 1
        return done

    def empty(m: int) -> Any:
        return np.full(1 << (3 * m).bit_length(), -1, np.int64)

    swap(np.array([0, 1]), np.array([1, 0]), 2, 1, empty(2))  # compiles
    e = graph.projections[0].synapses
    post, pre, m = e.post.astype(np.int64), e.pre.astype(np.int64), len(e.post)
    n_proposals = int(swaps * m)
    seconds, done = cpu(lambda: swap(post, pre, graph.n_neurons, n_proposals, empty(m)))
    told = f"{done:,} of {n_proposals:,} proposals accepted"
    print(f"{'one by one, numba':18}{seconds:8.2f} CPU-s  {told:64}{peak_gb():7.2f} GB")


def cpu(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU seconds of this process that ``work`` takes, and its result."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def main() -> None:
    """Run the models in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--neurons", type=int, default=140_000)
    parser.add_argument("--connections", type=int, default=4_000_000)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    n = options.neurons
    graph = build(n, draw_edges(n, options.connections, rng), rng)
    print(f"{n:,} neurons, {graph.n_connections:,} connections{'':12}{peak_gb():7.2f} GB")
    for model in options.models:
        step = NullModel(model)
        seconds, made = cpu(lambda step=step: step(graph))  # type: ignore[misc]
        told = list(step.report(graph, made))[1]
        print(f"{model:18}{seconds:8.2f} CPU-s  {told:64}{peak_gb():7.2f} GB", flush=True)
    if "degrees" in options.models:
        one_by_one(graph, NullModel().swaps)


if __name__ == "__main__":
    main()
