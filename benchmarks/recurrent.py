"""Recurrent networks, rolled through time: ours against what others do at each step.

    python benchmarks/recurrent.py [worm small fly brain signs accuracy] [--batch N] [--repetitions]
    python benchmarks/recurrent.py memory [--batch N]

A step is forward through all time steps, backward to weights, time constants and biases, and fused
Adam, in float32 on one thread. All variants are the same leaky network, with tanh. A quarter of the
neurons is driven, a tenth read.

worm: the chemical connections between the 302 neurons of C. elegans, 100 steps. small: 300 neurons,
4 %, 50 steps. fly: 140,000 neurons, 4 million connections as between the neurons of a fly (mostly
local, some neurons with many), 10 steps. brain: the same with 15 million. memory: peaks, each in a
process of its own.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from _common import Connections, connections, edge_linear, parser, report, time_in_turn
from memory import resident_mb
from torch import Tensor, nn

from connectome_compiler.data_adapters.celegans import Celegans
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.nn.leaky_rates import LeakyRates

Indices = npt.NDArray[np.integer]
Product = Callable[[Tensor], Tensor]  # of the connections with rates (n, batch)


def compressed(post: Indices, pre: Indices, n: int) -> Connections:
    """Return connections that are sorted by post, then pre."""
    ptr = np.searchsorted(post, np.arange(n + 1)).astype(np.int32)
    start = np.random.default_rng(1).standard_normal(len(pre)) / (len(pre) / n) ** 0.5
    return Connections(
        n,
        torch.from_numpy(post.astype(np.int64)),
        torch.from_numpy(pre.astype(np.int32)),
        torch.from_numpy(ptr),
        torch.from_numpy(start.astype(np.float32)),
    )


def worm() -> Connections:
    """Return the chemical connections between the worm's neurons."""
    graph = Celegans().load()
    chemical = graph.projections[0].connectivity
    assert isinstance(chemical, Synapses)
    return compressed(chemical.post, chemical.pre, graph.n_neurons)


def brain(n: int, n_connections: int) -> Connections:
    """Draw the connections of a brain: four of five local, degrees lognormal, neurons shuffled."""
    rng = np.random.default_rng(0)
    place = rng.permutation(n)
    at = np.argsort(place)
    drawn = int(n_connections * 1.2)
    much, often = (np.cumsum(rng.lognormal(0, 1, n)) for _ in range(2))
    pre = np.searchsorted(much, rng.random(drawn) * much[-1])
    far = np.searchsorted(often, rng.random(drawn) * often[-1])
    near = at[np.clip(place[pre] + rng.laplace(0, n / 200, drawn).astype(int), 0, n - 1)]
    code = np.unique(np.where(rng.random(drawn) < 0.8, near, far) * np.int64(n) + pre)
    code = np.sort(rng.choice(code, n_connections, replace=False))
    return compressed(*np.divmod(code, n), n)


CASES: dict[str, tuple[Callable[[], Connections], int]] = {  # and steps
    "worm": (worm, 100),
    "small": (lambda: connections("random:300:0.04"), 50),
    "fly": (lambda: brain(140_000, 4_000_000), 10),
    "brain": (lambda: brain(140_000, 15_000_000), 10),
}


class Ours(nn.Module):
    """`LeakyRates` over an `EdgeLinear`."""

    def __init__(self, c: Connections, sign: Tensor | int = 0) -> None:
        super().__init__()
        self.layer = edge_linear(c, sign=sign)
        each = torch.arange(c.n)
        self.units = LeakyRates(c.n, [(self.layer, 0, 0)], tau_of=each, bias_of=each)
        self.inputs = each[: c.n // 4]
        self.outputs = each[c.n // 2 : c.n // 2 + c.n // 10]

    def forward(self, drive: Tensor) -> Tensor:
        weights = [self.layer.effective_weight()]
        rates: Tensor = self.units(drive, weights, self.inputs, self.outputs)[0]
        return rates


class Loop(Ours):
    """The same network as a loop over time steps, of ordinary operations."""

    def forward(self, drive: Tensor) -> Tensor:
        product, alpha = self.product(), self.units.alpha().unsqueeze(1)
        assert self.units.bias is not None
        bias = self.units.bias.unsqueeze(1)
        r = drive.new_zeros(self.units.n, drive.shape[1])
        rates = []
        for entering in drive:
            total = (product(r) + bias).index_add(0, self.inputs, entering.t())
            r = r + alpha * (torch.tanh(total) - r)
            rates.append(r.index_select(0, self.outputs).t())
        return torch.stack(rates)

    def product(self) -> Product:
        """Return the product with the connections: here, an operator at each step."""
        weight = self.layer.effective_weight()
        return lambda r: self.layer.multiply(r.t(), weight).t()


class Gather(Loop):
    """Message passing: gather the sources, scale, add to the targets."""

    def __init__(self, c: Connections) -> None:
        super().__init__(c)
        self.c = c

    def product(self) -> Product:
        weight, c, pre = self.layer.effective_weight(), self.c, self.c.pre.long()
        return lambda r: torch.zeros_like(r).index_add(0, c.post, r[pre] * weight[:, None])


class Masked(Loop):
    """Dense weights times mask at each step, as masked layers do; ``signed``, sign * |weight|."""

    def __init__(self, c: Connections, signed: bool = False, once: bool = False) -> None:
        super().__init__(c)
        self.layer.weight.requires_grad_(False)
        self.mask = c.mask() * (signs(c).view(1, -1) if signed else 1)
        self.weight, self.signed, self.once = nn.Parameter(c.dense()), signed, once

    def product(self) -> Product:
        def matrix() -> Tensor:
            return (self.weight.abs() if self.signed else self.weight) * self.mask

        fixed = matrix() if self.once else None
        return lambda r: (matrix() if fixed is None else fixed) @ r


BUILDERS: dict[str, Callable[[Connections], Ours]] = {
    "w*m at each step": Masked,
    "w*m once": lambda c: Masked(c, once=True),
    "gather, index_add": Gather,
    "operator at each step": Loop,
    "ours": Ours,
}
SPARSE = ("gather, index_add", "operator at each step", "ours")


def signs(c: Connections) -> Tensor:
    """Return a sign for each neuron, one in five inhibitory."""
    source = torch.Generator().manual_seed(2)
    return torch.where(torch.rand(c.n, generator=source) < 0.8, 1, -1)


def training(net: Ours, steps: int, batch: int) -> Callable[[], None]:
    """Return one training step as a call."""
    drive = torch.randn(steps, batch, len(net.inputs))
    g = torch.randn(steps, batch, len(net.outputs))
    learned = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=1e-6, fused=True)

    def step() -> None:
        net(drive).backward(g)
        optimiser.step()
        optimiser.zero_grad()

    return step


def compare(
    case: str, batches: Sequence[int], variants: Sequence[str], repetitions: int, budget_s: float
) -> None:
    """Time the variants of one case."""
    make, steps = CASES[case]
    c = make()
    nets = {name: BUILDERS[name](c) for name in variants}
    for batch in batches:
        calls = {name: training(net, steps, batch) for name, net in nets.items()}
        title = f"{case}: {c.n:,} neurons, {len(c.pre):,} connections, {steps} steps, batch {batch}"
        times = time_in_turn(calls, repetitions, budget_s)
        report(title, times, variants[0])
        each = float(np.median(times["ours"])) * 1e6 / len(c.pre) / steps / batch
        print(f"ours: {each:.2f} ns per connection, step and sample", flush=True)


def compare_signs(repetitions: int) -> None:
    """Time free and signed weights of whole roll-outs, and masked peers of the small network."""
    for case, batches in (("small", (1, 64)), ("fly", (1,))):
        make, steps = CASES[case]
        c = make()
        of_source = signs(c)[c.pre.long()]
        some = torch.where(torch.arange(len(of_source)) % 10 == 0, 0, of_source)
        nets = {"free": Ours(c), "Dale's signs": Ours(c, of_source), "some free": Ours(c, some)}
        if case == "small":
            nets["sign*|w|*m, each step"] = Masked(c, signed=True)
        for batch in batches:
            calls = {name: training(net, steps, batch) for name, net in nets.items()}
            report(f"signs, {case}, batch {batch}", time_in_turn(calls, repetitions), "free")


def print_errors() -> None:
    """Print relative errors against the dense loop in float64."""
    print(
        f"\nrelative norm of the error against float64\n{'':20}{'rates':>10}{'weight':>10}", end=""
    )
    print(f"{'bias':>10}{'log_tau':>10}")
    for case in ("worm", "small"):
        make, steps = CASES[case]
        c = make()
        for batch in (1, 4, 64):
            drive, found = torch.randn(steps, batch, c.n // 4), []
            g = torch.randn(steps, batch, c.n // 10)
            for net, precision in ((Ours(c), torch.float32), (Masked(c), torch.float64)):
                net.to(precision)
                if isinstance(net, Masked):
                    net.mask = net.mask.to(precision)
                y = net(drive.to(precision))
                y.backward(g.to(precision))
                own = net.layer.weight.grad
                if isinstance(net, Masked) and net.weight.grad is not None:
                    own = net.weight.grad[c.post, c.pre.long()]
                bias = net.units.bias
                assert bias is not None
                found.append((y.detach(), own, bias.grad, net.units.log_tau.grad))
            errors = [
                float((a.double() - b).norm() / b.norm())
                for a, b in zip(*found, strict=True)
                if a is not None and b is not None
            ]
            shown = "".join(f"{error:10.1e}" for error in errors)
            print(f"{f'{case}, batch {batch}':20}{shown}", flush=True)


def measure_memory(case: str, batch: int, variant: str) -> None:
    """Print the peak of two training steps and the state, of one variant in this process."""
    make, steps = CASES[case]
    c = make()
    torch.ones(8, requires_grad=True).square().sum().backward()  # what torch itself needs
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what drawing the connections left
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now
    net = BUILDERS[variant](c)
    step = training(net, steps, batch)
    for _ in range(2):
        step()
    peak = resident_mb("VmHWM") - before
    own = {t.data_ptr(): t.nbytes for t in net.buffers()}  # units and layer share theirs
    state = sum(own.values()) + sum(4 * p.nbytes for p in net.parameters())
    edges = len(c.pre)
    rest = (peak * 1e6 - 75 * edges) / (c.n * batch * steps)
    print(
        f"{case + ', batch ' + str(batch):18}{variant:24}{peak:10.0f}{state / edges:12.1f}"
        f"{rest:14.1f}",
        flush=True,
    )


def compare_memory(batch: int) -> None:
    """Start a process for each variant."""
    head = f"{'':42}{'peak MB':>10}{'state B/c.':>12}{'beyond 75 B/c.':>16}"
    print(f"\n{head}: B per neuron, step and sample", flush=True)
    cases = [("fly", 1, name) for name in SPARSE] + [("fly", batch, name) for name in SPARSE]
    for case, size, name in [*cases, ("brain", 1, "ours")]:
        command = [sys.executable, __file__, case, "--here", name, "--batch", str(size)]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def main() -> None:
    """Run the parts asked for."""
    p = parser(__doc__)
    parts = ("worm", "small", "fly", "brain", "signs", "accuracy")
    p.add_argument("parts", nargs="*", metavar="part", default=parts, help=", ".join(parts))
    p.add_argument("--batch", type=int, default=16, help="of the large network; 0 leaves it out")
    p.add_argument("--repetitions", type=int, default=15)
    p.add_argument("--here", default="", help="measure the memory of one variant in this process")
    options = p.parse_args()
    torch.manual_seed(0)
    if options.here:
        measure_memory(options.parts[0], options.batch, options.here)
        return
    for case in ("worm", "small"):
        if case in options.parts:
            compare(case, (1, 16, 64), tuple(BUILDERS), options.repetitions, 60)
    if "fly" in options.parts:
        compare("fly", (1,), SPARSE, 7, 60)
        if options.batch:
            compare("fly", (options.batch,), SPARSE, 2, 60)
    if "brain" in options.parts:
        compare("brain", (1,), ("ours",), 7, 60)
    if "signs" in options.parts:
        compare_signs(options.repetitions)
    if "accuracy" in options.parts:
        print_errors()
    if "memory" in options.parts:
        compare_memory(options.batch)


if __name__ == "__main__":
    main()
