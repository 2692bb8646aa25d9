"""Graph algorithms on a directed graph of the size of a fly's brain, from arrays of connections.

140,000 neurons and 4 million connections drawn at random with heavy-tailed degrees, four in five
of them local (FlyWire 783 has 139,255 neurons; Dorkenwald et al. 2024, Nature 634:124). Every task
runs in a process of its own: CPU seconds, and how far the peak of resident memory rises above that
with the arrays.

Goals: components, condensation and levels in 1.5 CPU-s and 200 MB, 25 times faster than networkx,
which first builds its graph; an order of few feedback connections in 1 CPU-s, with no more of them
than the plain heuristic of Eades, Lin & Smyth 1993. networkx runs on a smaller graph, as do we
beside it.

    python benchmarks/graph_algorithms.py [TASK ...] [--neurons N] [--connections N]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing

import numpy as np
import numpy.typing as npt
from ir_scale import build

from connectome_compiler.ir import Graph
from connectome_compiler.passes import _digraph
from connectome_compiler.passes.partition_by import PartitionBy
from connectome_compiler.passes.partition_by_community import PartitionByCommunity
from connectome_compiler.passes.runner import Pass, run

Arcs = tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]
SMALLER = 10  # times: networkx takes minutes and gigabytes on the whole


def draw(n: int, m: int) -> Arcs:
    """Return ``n`` and the ends ``pre, post`` of about ``m`` connections, sorted by post, pre."""
    rng = np.random.default_rng(0)
    share = rng.lognormal(size=(2, n))
    more = m + m // 4
    pre = rng.choice(n, more, p=share[0] / share[0].sum())
    near = (pre + np.rint(rng.laplace(0, n / 200, more)).astype(np.int64)) % n
    far = rng.choice(n, more, p=share[1] / share[1].sum())
    post = np.where(rng.random(more) < 0.8, near, far)
    name = rng.permutation(n)
    key = np.unique(name[post[pre != post]] * n + name[pre[pre != post]])
    key = np.sort(rng.permutation(key)[:m])
    return n, (key % n).astype(np.int32), (key // n).astype(np.int32)


def levels(arcs: Arcs) -> str:
    component, level = _digraph.strong_components(*arcs)
    largest = np.bincount(component).max()
    return f"{len(level):,} components, largest {largest:,}, {level.max() + 1} levels"


def levels_networkx(arcs: Arcs) -> str:
    import networkx as nx

    graph = as_networkx(arcs)
    condensed = nx.condensation(graph)
    depth = sum(1 for _ in nx.topological_generations(condensed))
    largest = max(len(members) for _, members in condensed.nodes(data="members"))
    return f"{len(condensed):,} components, largest {largest:,}, {depth} levels"


def feedback(arcs: Arcs) -> str:
    return back(arcs, _digraph.feedback_order(*arcs))


def feedback_sifted(arcs: Arcs) -> str:
    return back(arcs, _digraph.sifted(*arcs, _digraph.feedback_order(*arcs), 20))


def feedback_plain(arcs: Arcs) -> str:
    """Eades, Lin & Smyth as published, one neuron at a time, in plain Python."""
    import heapq

    n, pre, post = arcs
    targets: list[list[int]] = [[] for _ in range(n)]
    sources: list[list[int]] = [[] for _ in range(n)]
    for a, b in zip(pre.tolist(), post.tolist(), strict=True):
        targets[a].append(b)
        sources[b].append(a)
    n_out, n_in = [len(t) for t in targets], [len(s) for s in sources]
    heap = [(n_in[v] - n_out[v], v) for v in range(n)]
    heapq.heapify(heap)
    alive = [True] * n
    front: list[int] = []
    end: list[int] = []
    sinks = [v for v in range(n) if not n_out[v]]
    starts = [v for v in range(n) if not n_in[v]]
    while heap:
        if sinks or starts:
            v = (sinks or starts).pop()
        else:
            key, v = heapq.heappop(heap)
            if alive[v] and key != n_in[v] - n_out[v]:  # it has lost outputs since
                heapq.heappush(heap, (n_in[v] - n_out[v], v))
                continue
        if not alive[v]:
            continue
        alive[v] = False
        (front if n_out[v] else end).append(v)
        for u in targets[v]:
            if alive[u]:
                n_in[u] -= 1
                heapq.heappush(heap, (n_in[u] - n_out[u], u))
                if not n_in[u]:
                    starts.append(u)
        for u in sources[v]:
            if alive[u]:
                n_out[u] -= 1
                if not n_out[u]:
                    sinks.append(u)
    return back(arcs, _digraph.inverse(np.array(front + end[::-1])))


def signal_flow(arcs: Arcs) -> str:
    return back(arcs, -_digraph.signal_flow(*arcs, np.ones(len(arcs[1]))))


def core(arcs: Arcs) -> str:
    n, pre, post = arcs
    return f"{_digraph.in_core(n, [(pre, post), (post, pre)], 30).sum():,} neurons in the 30-core"


def core_networkx(arcs: Arcs) -> str:
    import networkx as nx

    return f"{len(nx.k_core(as_networkx(arcs), 30)):,} neurons in the 30-core"


def communities(arcs: Arcs) -> str:
    cut = passed(arcs, PartitionByCommunity())
    return cut.provenance.steps[0].notes[1]


def by_type(arcs: Arcs) -> str:
    return f"{len(passed(arcs, PartitionBy('cell_type')).projections):,} projections"


def passed(arcs: Arcs, step: Pass) -> Graph:
    """Build a graph whose neurons have 800 types, and run a pass, with all checks."""
    n, pre, post = arcs
    return run(build(n, (post, pre, np.ones_like(pre)), np.random.default_rng(0)), [step])


def as_networkx(arcs: Arcs) -> Any:
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(arcs[0]))
    graph.add_edges_from(zip(arcs[1].tolist(), arcs[2].tolist(), strict=True))
    return graph


def back(arcs: Arcs, place: npt.NDArray[Any]) -> str:
    """Count the connections that run against an order."""
    _, pre, post = arcs
    against = int((place[pre] > place[post]).sum())
    return f"{against:,} connections run back ({against / len(pre):.2%})"


# What runs: name, ours or the other's, and whether on the smaller graph. Further tasks go here.
TASKS: dict[str, tuple[Callable[[Arcs], str], bool]] = {
    "levels": (levels, False),
    "levels, smaller": (levels, True),
    "levels, networkx": (levels_networkx, True),
    "feedback": (feedback, False),
    "feedback, 20 sweeps": (feedback_sifted, False),
    "feedback, plain": (feedback_plain, False),
    "signal flow": (signal_flow, False),
    "core": (core, False),
    "core, smaller": (core, True),
    "core, networkx": (core_networkx, True),
    "communities": (communities, False),
    "800 types": (by_type, False),
}


def measure(name: str, path: str) -> dict[str, Any]:
    """Run one task here; its imports are warm: a graph of three neurons goes first."""
    work, _ = TASKS[name]
    ring = np.arange(3, dtype=np.int32)
    work((3, ring, np.roll(ring, -1)))
    with np.load(path) as arrays:
        arcs = int(arrays["n"]), arrays["pre"], arrays["post"]
    before, start = peak_mb(), time.process_time()
    said = work(arcs)
    return {"s": time.process_time() - start, "mb": peak_mb() - before, "said": said}


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def alone(*arguments: str) -> str:
    """Run this script in a process of its own, on one thread; return what it prints."""
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return ran.stdout


def main() -> None:
    """Run the tasks in turn, each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", help=f"by default all: {', '.join(TASKS)}")
    parser.add_argument("--neurons", type=int, default=140_000)
    parser.add_argument("--connections", type=int, default=4_000_000)
    parser.add_argument("--arrays", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arrays and options.tasks == ["draw"]:
        n, pre, post = draw(options.neurons, options.connections)
        np.savez(options.arrays, n=n, pre=pre, post=post)
        return
    if options.arrays:
        print(json.dumps(measure(options.tasks[0], options.arrays)))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for times in (1, SMALLER):
            n, m = options.neurons // times, options.connections // times
            paths[times] = str(Path(folder) / f"{times}.npz")
            size = ["--neurons", str(n), "--connections", str(m)]
            # Not here: a process begins with the peak of the one that started it.
            alone("draw", "--arrays", paths[times], *size)
        print(f"{'':22}{'neurons':>9}{'connections':>13}{'CPU s':>9}{'MB':>7}")
        for name in options.tasks or TASKS:
            times = SMALLER if TASKS[name][1] else 1
            found = json.loads(alone(name, "--arrays", paths[times]))
            drawn = f"{options.neurons // times:9,}{options.connections // times:13,}"
            figures = f"{drawn}{found['s']:9.2f}{found['mb']:7.0f}"
            print(f"{name:22}{figures}  {found['said']}", flush=True)


if __name__ == "__main__":
    main()
