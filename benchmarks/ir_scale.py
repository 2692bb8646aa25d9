"""Build, verify, partition, save and load a graph of the size of a fly's brain.

140,000 neurons and 10 million connections (FlyWire 783 has 139,255 and about 15 million; Dorkenwald
et al. 2024, Nature 634:124), drawn at random. Each stage prints its wall-clock seconds, its CPU
seconds and the highest resident memory so far. Goal: 4 GB and about a minute on two cores.

    python benchmarks/ir_scale.py [--neurons N] [--connections N] [--profile STAGE]
"""

import argparse
import cProfile
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing

import numpy as np
import numpy.typing as npt

from connectome_compiler.ir import Graph, Population, Projection, Provenance, Synapses, neuron_table
from connectome_compiler.ir.edit import keep_connections, keep_neurons, regroup

FIRST_ID = 720575940600000000  # root ids of FlyWire: above 2**53
TYPES = np.array([f"type {k:03d}" for k in range(800)])
GROUPS = [f"group {k}" for k in range(10)]

T = TypeVar("T")
Edges = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]


def draw_edges(n: int, m: int, rng: np.random.Generator) -> Edges:
    """Return ``m`` distinct pairs in random order, as a data set would give them, and counts."""
    codes = np.unique(rng.integers(0, n * n, m + m // 50))
    codes = rng.permutation(codes)[:m]
    post, pre = np.divmod(codes, n)
    weight = rng.poisson(4, len(codes)) + 1
    return post.astype(np.int32), pre.astype(np.int32), weight.astype(np.int32)


def build(n: int, edges: Edges, rng: np.random.Generator) -> Graph:
    """Return one population of all neurons, from edges in any order."""
    table = neuron_table(
        {
            "neuron_id": FIRST_ID + rng.permutation(n),
            "cell_type": TYPES[rng.integers(0, len(TYPES), n)],
            "sign": rng.choice(np.array([1, -1], np.int8), n),
            **{axis: rng.uniform(0, 500, n) for axis in ("x_um", "y_um", "z_um")},
            "nucleus_id": rng.integers(0, 2**60, n),
        }
    )
    synapses = Synapses.from_edges(*edges)
    return Graph(
        (Population("neurons", (n,), table),),
        (Projection("neurons", "neurons", synapses),),
        Provenance("benchmark"),
    )


def drop_a_tenth(graph: Graph, rng: np.random.Generator) -> Graph:
    """Return the graph without a tenth of its neurons and a tenth of its connections."""
    graph = keep_neurons(graph, {p.name: rng.random(p.n_units) > 0.1 for p in graph.populations})
    return keep_connections(
        graph, {p.key: rng.random(graph.count(p)) > 0.1 for p in graph.projections}
    )


def main() -> None:
    """Run all stages in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--neurons", type=int, default=140_000)
    parser.add_argument("--connections", type=int, default=10_000_000)
    parser.add_argument("--profile", default="", help="stage whose calls are listed")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    n = options.neurons
    total = 0.0

    def stage(name: str, work: Callable[[], T]) -> T:
        nonlocal total
        profile = cProfile.Profile()
        wall, cpu = time.perf_counter(), time.process_time()
        result = profile.runcall(work) if name == options.profile else work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        total += wall
        print(f"{name:22}{wall:8.2f} s{cpu:8.2f} s CPU{peak_gb():8.2f} GB", flush=True)
        if name == options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(20)
        return result

    print(f"{n:,} neurons, {options.connections:,} connections")
    edges = draw_edges(n, options.connections, rng)
    print(f"{'(drawing the edges)':22}{'':23}{peak_gb():8.2f} GB")
    graph = stage("build", partial(build, n, edges, rng))
    del edges
    stage("verify", graph.verify)
    stage("digest", graph.digest)
    label = rng.integers(0, len(GROUPS), n)
    parts = stage("partition", lambda: regroup(graph, label, GROUPS))
    stage("verify partitioned", parts.verify)
    stage("partition again", lambda: regroup(parts, rng.integers(0, 10, n), GROUPS))
    stage("drop a tenth", lambda: drop_a_tenth(parts, rng))
    stage("repr", lambda: repr(parts))
    with tempfile.TemporaryDirectory() as folder:
        path = stage("save", lambda: parts.save(Path(folder) / "graph"))
        size = sum(f.stat().st_size for f in path.rglob("*.parquet")) / 1e6
        again = stage("load", lambda: Graph.load(path))
    print(f"{'all':22}{total:8.2f} s{'':14}{peak_gb():8.2f} GB, {size:.0f} MB on disk")
    assert again.digest() == parts.digest()


def peak_gb() -> float:
    """Return the highest resident memory of this process so far, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


if __name__ == "__main__":
    main()
