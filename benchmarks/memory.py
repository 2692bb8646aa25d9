"""Peak memory of training steps, and bytes of state per connection.

    python benchmarks/memory.py [--case laminar:10000:0.01] [--batch 64] [--variants ...]

Each variant takes two steps in a process of its own; what is reported is the peak resident memory
above what the process had when its layer was about to be built.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from _common import (
    Connections,
    MaskedGradient,
    MaskedLinear,
    NativeSparse,
    connections,
    edge_linear,
    parser,
    training_step,
)
from torch import nn

VARIANTS: Mapping[str, Callable[[Connections], nn.Module]] = {
    "w*m": MaskedLinear,
    "masked-gradient": MaskedGradient,
    "torch-csr": NativeSparse,
    "edges": edge_linear,
    "edges-signed": lambda c: edge_linear(c, sign=1 - 2 * (c.pre % 2)),
    "dense": lambda c: edge_linear(c, kernel="dense"),
}


def resident_mb(field: str) -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (peak) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def measure(case: str, batch: int, variant: str) -> None:
    """Print the peak of two steps, and the state."""
    c = connections(case)
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now
    layer = VARIANTS[variant](c)
    step = training_step(
        layer, torch.randn(batch, c.n, requires_grad=True), torch.randn(batch, c.n)
    )
    for _ in range(2):
        step()
    peak = resident_mb("VmHWM") - before
    own = [4 * t.numel() * t.element_size() for t in layer.parameters()]  # with gradient and Adam
    own += [t.numel() * t.element_size() for t in layer.buffers()]
    if variant == "torch-csr":
        own += [c.ptr.nbytes, c.pre.nbytes]
    state = sum(own) / len(c.pre)
    print(f"{variant:18}{len(c.pre):12}{peak:14.0f}{state:22.2f}", flush=True)


def main() -> None:
    """Start a process per variant."""
    p = parser(__doc__)
    p.add_argument("--case", default="laminar:10000:0.01")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    p.add_argument("--here", action="store_true", help="measure one variant in this process")
    options = p.parse_args()
    if options.here:
        measure(options.case, options.batch, *options.variants)
        return
    print(f"{options.case}, batch {options.batch}")
    print(f"{'':18}{'connections':>12}{'peak MB':>14}{'state B/connection':>22}", flush=True)
    for variant in options.variants:
        command = [sys.executable, __file__, "--here", "--case", options.case]
        command += ["--batch", str(options.batch), "--variants", variant]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
