"""CPU time from a file of connections to a layer, beyond ``import torch``.

    python benchmarks/load.py [--connections 100000 10000000] [--repetitions 5]

Each repetition is a process of its own, the files in the page cache. Parts: read the arrays
(safetensors), build the layer (check the connections, derive the kernel's plan, start), and, to
compare, the layer with a random start instead of one from the file.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from _common import parser
from safetensors.torch import load_file, save_file

from connectome_compiler.nn.edge_linear import EdgeLinear

N_NEURONS = 140_000


def write(path: Path, n_connections: int) -> None:
    """Write random connections and weights; about ``n_connections``, without repeats."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.unique(torch.randint(0, N_NEURONS**2, (n_connections,), generator=generator))
    post, pre = cells // N_NEURONS, cells % N_NEURONS
    ptr = torch.zeros(N_NEURONS + 1, dtype=torch.int32)
    ptr[1:] = torch.bincount(post, minlength=N_NEURONS).cumsum(0)
    start = torch.randn(len(pre), generator=generator)
    save_file({"ptr": ptr, "pre": pre.to(torch.int32), "start": start}, path)


def measure(path: Path) -> dict[str, float]:
    """Return CPU seconds by part."""
    EdgeLinear(1, torch.tensor([0, 1]), torch.tensor([0]))  # first calls of torch cost extra
    begin = time.process_time()
    arrays = load_file(path)
    checksum = int(arrays["pre"].sum())  # the file is mapped: only use reads it
    read = time.process_time()
    assert checksum
    layer = EdgeLinear(N_NEURONS, arrays["ptr"], arrays["pre"], start=arrays["start"])
    built = time.process_time()
    layer._plan()
    planned = time.process_time()
    EdgeLinear(N_NEURONS, arrays["ptr"], arrays["pre"])
    drawn = time.process_time()
    plan = planned - built
    return {
        "read": read - begin,
        "build": built - read,
        "of it, plan": plan,
        "read and build without plan": built - begin - plan,
        "build, random start": drawn - planned,
    }


def main() -> None:
    """Start a process per repetition."""
    p = parser(__doc__)
    p.add_argument("--connections", type=int, nargs="+", default=[100_000, 10_000_000])
    p.add_argument("--repetitions", type=int, default=5)
    p.add_argument("--file", type=Path, help="measure this file in this process")
    options = p.parse_args()
    if options.file:
        print(json.dumps(measure(options.file)))
        return
    for n in options.connections:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "connections.safetensors"
            write(path, n)
            command = [sys.executable, __file__, "--file", str(path)]
            runs = [
                json.loads(
                    subprocess.run(
                        command,
                        check=True,
                        capture_output=True,
                        text=True,
                        env=os.environ | {"OMP_NUM_THREADS": "1"},
                    ).stdout
                )
                for _ in range(options.repetitions)
            ]
        print(f"\n{n} connections, {N_NEURONS} neurons: CPU seconds, median and range")
        for part in runs[0]:
            values = [run[part] for run in runs]
            print(f"  {part:30}{statistics.median(values):8.3f}", end="")
            print(f"   {min(values):.3f} - {max(values):.3f}")


if __name__ == "__main__":
    main()
