"""The 49 masked convolutions of MouseNet, as a whole network, against dense weight x mask.

    python benchmarks/mousenet.py [--batch 1 16 64] [--threads 1 2] [--repetitions 9]
    python benchmarks/mousenet.py --edges [--batch 1 16] [--threads 1]
    python benchmarks/mousenet.py --memory [--batch 1 16 64] [--threads 2]

"w*m" pads the map, multiplies a dense weight by a float mask and calls `F.conv2d`, edge by edge.
"masked" and "live" are `MaskedConv2d` and `LiveConv2d` with kernel "auto", all edges that read one
map together; "alone" is "masked" edge by edge. All compute the same: populations are sums of their
edges, then batch normalisation and ReLU; seven maps are pooled and read out linearly. Inference is
in evaluation mode without gradients; training is forward, backward and SGD with momentum.

Variants take turns in one process; the clock is the thread's own for one thread, and the wall's
for more. Memory is the peak of two steps above what a fresh process held before it had the network.
"""

import copy
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import parser, report, time_in_turn
from torch import Tensor, nn

import connectome_compiler as cc
from connectome_compiler.ir import Conv2d, Graph, Projection
from connectome_compiler.nn.masked_conv import LiveConv2d, MaskedConv2d, convolve_together

VARIANTS = ("w*m", "masked", "live", "alone")


class WeightTimesMask(nn.Module):
    """A convolution as masked layers are usually written."""

    mask: Tensor

    def __init__(self, layer: MaskedConv2d) -> None:
        super().__init__()
        assert layer.bias is not None
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("mask", layer.mask.float())
        (first, _), (end, _) = layer.padding, layer.end_padding
        self.pad, self.stride = (first, first + end) * 2, layer.stride

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, self.pad)
        return nn.functional.conv2d(x, self.weight * self.mask, self.bias, self.stride)


def mousenet() -> Graph:
    """Return the published network, with the masks of seed 2021."""
    with warnings.catch_warnings():  # that it is modelled, not measured
        warnings.simplefilter("ignore")
        return cc.load_graph("mousenet", rng="legacy", mask_seed=2021)


def lay(graph: Graph, q: Projection, live: bool) -> MaskedConv2d | LiveConv2d:
    """Return the layer of one projection."""
    assert isinstance(q.operator, Conv2d)
    pre, post = graph.population(q.pre).shape[0], graph.population(q.post).shape[0]
    mask = np.zeros(graph.shape(q), bool)
    mask[q.synapses.post, q.synapses.pre] = True
    kernel = q.operator.kernel
    return (LiveConv2d if live else MaskedConv2d)(
        pre,
        post,
        kernel,
        mask=torch.from_numpy(mask).view(post, pre, *kernel),
        stride=q.operator.stride,
        padding=q.operator.padding,
        end_padding=q.operator.end_padding,
        fan_in="open",
    )


class Network(nn.Module):
    """MouseNet, with weights of seed 0."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.together = variant in ("masked", "live")
        self.graph = graph = mousenet()
        torch.manual_seed(0)
        self.edges = nn.ModuleList()
        for q in graph.connectome:
            layer = lay(graph, q, variant == "live")
            if variant == "w*m":
                assert isinstance(layer, MaskedConv2d)
                self.edges.append(WeightTimesMask(layer))
            else:
                self.edges.append(layer)
        self.norms = nn.ModuleList(nn.BatchNorm2d(p.shape[0]) for p in graph.biological)
        self.read = [p.population for p in graph.ports if p.direction == "out"]
        features = 16 * sum(graph.population(name).shape[0] for name in self.read)
        self.read_out = nn.Linear(features, 1000)

    def forward(self, x: Tensor) -> Tensor:
        sums: dict[str, Tensor] = {"input": x}
        maps: dict[str, Tensor] = {}
        for number, p in enumerate(self.graph.populations):
            y = sums.pop(p.name)
            if number:
                y = self.norms[number - 1](y).relu()
            if p.name in self.read:
                maps[p.name] = nn.functional.adaptive_avg_pool2d(y, 4).flatten(1)
            out = [(k, q.post) for k, q in enumerate(self.graph.connectome) if q.pre == p.name]
            layers: list[Any] = [self.edges[k] for k, _ in out]
            found = (
                convolve_together(y, *layers) if self.together else (layer(y) for layer in layers)
            )
            for (_, target), z in zip(out, found, strict=True):
                sums[target] = sums[target] + z if target in sums else z
        read: Tensor = self.read_out(torch.cat([maps[name] for name in self.read], 1))
        return read


def inference(network: Network, batch: int) -> Callable[[], object]:
    """Return one forward pass as a call."""
    x = torch.randn(batch, 3, 64, 64)

    def run() -> None:
        network.eval()
        with torch.no_grad():
            network(x)

    return run


def training(network: Network, batch: int) -> Callable[[], object]:
    """Return one training step as a call; without the noise of a loss."""
    x, g = torch.randn(batch, 3, 64, 64), torch.randn(batch, 1000)
    optimiser = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9)

    def run() -> None:
        network.train()
        network(x).backward(g)
        optimiser.step()
        optimiser.zero_grad()

    return run


def compare(batches: list[int], threads: list[int], variants: list[str], repetitions: int) -> None:
    """Time the whole network."""
    networks = {variant: Network(variant) for variant in variants}
    print(f"{networks[variants[0]].graph.n_connections} open entries")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = networks["w*m"].eval()(x)
        for variant, network in networks.items():
            error = (network.eval()(x) - wanted).norm() / wanted.norm()
            print(f"{variant}: relative difference {error:.1e}")
    for n in threads:
        torch.set_num_threads(n)
        clock = time.thread_time if n == 1 else time.perf_counter
        for batch in batches:
            for what in (inference, training):
                steps = {name: what(network, batch) for name, network in networks.items()}
                times = time_in_turn(steps, repetitions, 60.0, clock)
                report(f"{what.__name__}, batch {batch}, {n} threads", times, "w*m")


def compare_edges(batches: list[int], threads: list[int], repetitions: int) -> None:
    """Time edge by edge, both kernels, whichever "auto" takes."""
    network, rivals = Network("alone"), Network("w*m").edges
    projections = list(zip(network.graph.connectome, network.edges, rivals, strict=True))
    for n in threads:
        torch.set_num_threads(n)
        clock = time.thread_time if n == 1 else time.perf_counter
        for batch in batches:
            print(f"\nbatch {batch}, {n} threads: best of inference and of training, ms")
            print(f"{'':20}{'in out  k  open':>20}{'auto':>6}" + f"{'w*m  dense   open':>24}" * 2)
            for q, layer, rival in projections:
                assert isinstance(layer, MaskedConv2d)
                line = f"{q.pre:>8} -> {q.post:8}{layer.in_channels:4}{layer.out_channels:4}"
                share = layer.open_values().numel() / layer.weight.numel()
                line += f"{layer.kernel_size[0]:3}{share:6.3f}{layer.kernel:>6}"
                dense, listed = copy.deepcopy(layer), copy.deepcopy(layer)
                dense.kernel, listed.kernel = "dense", "open"
                modules = {"w*m": rival, "dense": dense, "open": listed}
                x = torch.randn(batch, *network.graph.population(q.pre).shape)
                x.requires_grad_(q.pre != "input")
                for what in (convolve, differentiate):
                    steps = {name: what(module, x) for name, module in modules.items()}
                    times = time_in_turn(steps, repetitions, 1.0, clock)
                    line += "   " + "".join(f"{min(t):7.2f}" for t in times.values())
                print(line, flush=True)


def convolve(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a forward pass as a call."""

    def run() -> None:
        with torch.no_grad():
            module(x)

    return run


def differentiate(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return forward and backward as a call."""
    g = torch.randn_like(module(x))
    return lambda: module(x).backward(g)


def resident_mb(field: str) -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (peak) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def measure(variant: str, what: str, batch: int, threads: int) -> None:
    """Print the peak memory of two steps."""
    torch.set_num_threads(threads)
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now
    step = {"inference": inference, "training": training}[what](Network(variant), batch)
    for _ in range(2):
        step()
    print(f"{what}, batch {batch}, {variant:8}{resident_mb('VmHWM') - before:9.1f} MB")


def main() -> None:
    """Run the parts asked for."""
    p = parser(__doc__)
    p.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64])
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    p.add_argument("--repetitions", type=int, default=9)
    p.add_argument("--edges", action="store_true", help="edge by edge, both kernels")
    p.add_argument("--memory", action="store_true", help="peak memory instead of time")
    p.add_argument("--measure", help=f"one of {', '.join(VARIANTS)}, in this process")
    p.add_argument("--what", choices=("inference", "training"), default="training")
    options = p.parse_args()
    if options.measure:
        measure(options.measure, options.what, options.batch[0], options.threads[0])
    elif options.edges:
        compare_edges(options.batch, options.threads, options.repetitions)
    elif options.memory:
        for what in ("inference", "training"):
            for batch in options.batch:
                for variant in options.variants:
                    command = [sys.executable, __file__, "--measure", variant, "--what", what]
                    command += ["--batch", str(batch), "--threads", str(options.threads[-1])]
                    environment = {**os.environ, "MKL_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}
                    subprocess.run(command, check=True, env=environment)
    else:
        compare(options.batch, options.threads, options.variants, options.repetitions)


if __name__ == "__main__":
    main()
