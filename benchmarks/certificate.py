"""Verify modules with two versions of the certificate, in turn.

Each module is checked by this checkout and by another, in a fresh process each time, as `ccompile
verify` does. Times are CPU seconds with imports (user and system) of all processes, memory is the
highest peak of a process. Medians, with the least and the most. ``--made N`` adds a network of
140,000 neurons and as many connections, four in five of them local.

Run: python benchmarks/certificate.py OTHER_CHECKOUT MODULE... [--made N] [--repetitions N]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from _versions import told

HERE = Path(__file__).resolve().parents[1]
NEURONS = 140_000


def measure(checkout: Path, module: Path) -> None:
    """Verify a module with one version, and print what its processes took."""
    sys.path.insert(0, str(checkout))
    import connectome_compiler
    from connectome_compiler.certify.certificate import validate

    assert Path(connectome_compiler.__file__).is_relative_to(checkout)
    validate(module)
    own, fresh = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    cpu = sum(used.ru_utime + used.ru_stime for used in (own, fresh))
    print(json.dumps([cpu, max(own.ru_maxrss, fresh.ru_maxrss) / 1e3]))


def made(folder: Path, n_connections: int) -> Path:
    """Build a module of random connections, with signs and counts; degrees are lognormal."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    import connectome_compiler as cc

    rng = np.random.default_rng(0)
    weight = rng.lognormal(0, 1, NEURONS)
    weight /= weight.sum()
    n = n_connections * 13 // 10
    post, far = (rng.choice(NEURONS, n, p=weight) for _ in range(2))
    near = (post + rng.normal(0, 1500, n).astype(np.int64)) % NEURONS
    pre = np.where(rng.random(n) < 0.8, near, far)
    pairs = np.unique(post[post != pre] * NEURONS + pre[post != pre])
    post, pre = np.divmod(rng.choice(pairs, n_connections, replace=False), NEURONS)
    sign = np.where(rng.random(NEURONS) < 0.8, 1, -1)
    columns = {"pre": pre, "post": post, "weight": rng.integers(1, 20, n_connections)}
    edges = folder / f"edges{n_connections}.parquet"
    pq.write_table(pa.table({**columns, "sign": sign[pre]}), edges)
    out = folder / f"made{n_connections}.py"
    cc.build("table", out, verify=False, edges=str(edges), evidence="modelled")
    return out


def main() -> None:
    """Verify in turn, print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("modules", type=Path, nargs="*")
    parser.add_argument("--made", type=int, action="append", default=[])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return measure(options.other, options.run)
    sides = {"this": HERE, "other": options.other.resolve()}
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        sys.path.insert(0, str(HERE))
        modules = [*options.modules, *(made(Path(name), n) for n in options.made)]
        for _ in range(options.repetitions):
            for module in modules:
                for side, checkout in sides.items():
                    command = [sys.executable, __file__, str(checkout), "--run", str(module)]
                    env = {**os.environ, "PYTHONPATH": str(checkout)}
                    run = subprocess.run(command, capture_output=True, text=True, env=env)
                    if run.returncode:
                        sys.exit(f"{module}, {side}: {run.stderr}")
                    runs.setdefault((module.stem, side), []).append(tuple(json.loads(run.stdout)))
    told(runs)
    return None


if __name__ == "__main__":
    main()
