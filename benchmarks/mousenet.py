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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import parser, report, time_in_turn
from torch import Tensor, nn

from connectome_compiler.nn.masked_conv import LiveConv2d, MaskedConv2d, convolve_together

# Map sizes and channels of the populations, and edges with their kernels, peak probabilities and
# widths in pixels: Shi et al. 2022, PLoS Comput. Biol. 18:e1010427, and its public tables.
POPULATIONS = {
    "input": (64, 3),
    "LGNd": (64, 5),
    "VISp4": (64, 26),
    "VISp2/3": (64, 42),
    "VISp5": (64, 32),
    "VISl4": (32, 15),
    "VISl2/3": (32, 21),
    "VISl5": (32, 20),
    "VISrl4": (32, 14),
    "VISrl2/3": (32, 22),
    "VISrl5": (32, 18),
    "VISli4": (32, 5),
    "VISli2/3": (32, 9),
    "VISli5": (32, 11),
    "VISpl4": (32, 3),
    "VISpl2/3": (32, 17),
    "VISpl5": (32, 19),
    "VISal4": (32, 9),
    "VISal2/3": (32, 15),
    "VISal5": (32, 15),
    "VISpor4": (32, 5),
    "VISpor2/3": (32, 29),
    "VISpor5": (32, 29),
}
EDGES = (
    ("input", "LGNd", 9, 1, 4),
    ("LGNd", "VISp4", 3, 1, 1),
    ("VISp4", "VISp2/3", 9, 0.16182472, 4.3294256),
    ("VISp4", "VISl4", 19, 0.029706808, 9.7309459),
    ("VISp4", "VISrl4", 19, 0.031981067, 9.529546),
    ("VISp4", "VISli4", 19, 0.031883587, 9.2185778),
    ("VISp4", "VISpl4", 19, 0.032135599, 9.0304261),
    ("VISp4", "VISal4", 17, 0.038994988, 8.610531),
    ("VISp4", "VISpor4", 17, 0.013296069, 8.601684),
    ("VISp2/3", "VISp5", 3, 0.16733836, 1.8682405),
    ("VISp2/3", "VISl4", 19, 0.038376488, 9.6104511),
    ("VISp2/3", "VISrl4", 21, 0.031912903, 10.011694),
    ("VISp2/3", "VISli4", 17, 0.04520006, 8.9466825),
    ("VISp2/3", "VISpl4", 17, 0.047369579, 8.3844856),
    ("VISp2/3", "VISal4", 15, 0.062543685, 7.8498877),
    ("VISp2/3", "VISpor4", 19, 0.01271772, 9.0683224),
    ("VISl4", "VISl2/3", 9, 0.16182472, 4.7766246),
    ("VISl4", "VISpor4", 15, 0.01360737, 7.0167724),
    ("VISrl4", "VISrl2/3", 11, 0.16182472, 5.6753606),
    ("VISrl4", "VISpor4", 7, 0.074348699, 3.9601246),
    ("VISli4", "VISli2/3", 17, 0.16182472, 8.0643678),
    ("VISli4", "VISpor4", 17, 0.017435728, 8.9787102),
    ("VISpl4", "VISpl2/3", 19, 0.16182472, 9.3998235),
    ("VISpl4", "VISpor4", 3, 0.18969392, 1.4967175),
    ("VISal4", "VISal2/3", 13, 0.16182472, 6.5304754),
    ("VISal4", "VISpor4", 3, 0.5510993, 1.7802866),
    ("VISpor4", "VISpor2/3", 13, 0.16182472, 6.6259122),
    ("VISp5", "VISl4", 19, 0.042248547, 9.7969699),
    ("VISp5", "VISrl4", 19, 0.041704492, 9.7929674),
    ("VISp5", "VISli4", 19, 0.042882002, 9.8843197),
    ("VISp5", "VISpl4", 17, 0.053400161, 8.7503067),
    ("VISp5", "VISal4", 15, 0.064235544, 7.5170947),
    ("VISp5", "VISpor4", 19, 0.015873964, 9.379908),
    ("VISl2/3", "VISl5", 5, 0.16733836, 2.1424629),
    ("VISl2/3", "VISpor4", 15, 0.016114239, 7.1231461),
    ("VISrl2/3", "VISrl5", 5, 0.16733836, 2.4294845),
    ("VISrl2/3", "VISpor4", 9, 0.063517369, 4.0436494),
    ("VISli2/3", "VISli5", 7, 0.16733836, 3.1318716),
    ("VISli2/3", "VISpor4", 17, 0.021863031, 8.3714055),
    ("VISpl2/3", "VISpl5", 5, 0.16733836, 2.5200733),
    ("VISpl2/3", "VISpor4", 5, 0.053544272, 2.3683706),
    ("VISal2/3", "VISal5", 5, 0.16733836, 2.7739574),
    ("VISal2/3", "VISpor4", 1, 4.3617238, 0.60516544),
    ("VISpor2/3", "VISpor5", 3, 0.16733836, 1.7419913),
    ("VISl5", "VISpor4", 15, 0.018903559, 7.4745717),
    ("VISrl5", "VISpor4", 9, 0.064061524, 4.3847974),
    ("VISli5", "VISpor4", 15, 0.028161072, 7.5849478),
    ("VISpl5", "VISpor4", 5, 0.078629357, 2.1446058),
    ("VISal5", "VISpor4", 1, 4.2130427, 0.68748355),
)
READ_OUT = ("VISpor5", "VISal5", "VISpl5", "VISli5", "VISrl5", "VISl5", "VISp5")
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


class Network(nn.Module):
    """MouseNet, with masks of seed 2021 and weights of seed 0."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.together = variant in ("masked", "live")
        stream = np.random.RandomState(2021)
        torch.manual_seed(0)
        self.edges = nn.ModuleList()
        self.n_open = 0
        for source, target, k, peak, width in EDGES:
            (size, n_pre), (out, n_post) = POPULATIONS[source], POPULATIONS[target]
            away = np.arange(k) - k // 2
            p = peak * np.exp(-(away[:, None] ** 2 + away**2) / (2 * width**2))
            mask = torch.from_numpy(stream.random_sample((n_post, n_pre, k, k)) < p)
            self.n_open += int(mask.sum())
            stride = size // out
            first = (k - stride) // 2
            how: dict[str, Any] = {"stride": stride, "padding": first, "fan_in": "open"}
            how |= {"end_padding": k - stride - 2 * first, "mask": mask}
            if variant == "live":
                self.edges.append(LiveConv2d(n_pre, n_post, k, **how))
            else:
                layer = MaskedConv2d(n_pre, n_post, k, **how)
                self.edges.append(WeightTimesMask(layer) if variant == "w*m" else layer)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(n) for name, (_, n) in POPULATIONS.items() if name != "input"
        )
        self.read_out = nn.Linear(16 * sum(POPULATIONS[name][1] for name in READ_OUT), 1000)

    def forward(self, x: Tensor) -> Tensor:
        sums: dict[str, Tensor] = {"input": x}
        maps: dict[str, Tensor] = {}
        for number, name in enumerate(POPULATIONS):
            y = sums.pop(name)
            if number:
                y = self.norms[number - 1](y).relu()
            if name in READ_OUT:
                maps[name] = nn.functional.adaptive_avg_pool2d(y, 4).flatten(1)
            out = [(k, edge[1]) for k, edge in enumerate(EDGES) if edge[0] == name]
            layers: list[Any] = [self.edges[k] for k, _ in out]
            found = (
                convolve_together(y, *layers) if self.together else (layer(y) for layer in layers)
            )
            for (_, target), z in zip(out, found, strict=True):
                sums[target] = sums[target] + z if target in sums else z
        read: Tensor = self.read_out(torch.cat([maps[name] for name in READ_OUT], 1))
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
    print(f"{networks[variants[0]].n_open} open entries")
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
    layers, rivals = Network("alone").edges, Network("w*m").edges
    for n in threads:
        torch.set_num_threads(n)
        clock = time.thread_time if n == 1 else time.perf_counter
        for batch in batches:
            print(f"\nbatch {batch}, {n} threads: best of inference and of training, ms")
            print(f"{'':20}{'in out  k  open':>20}{'auto':>6}" + f"{'w*m  dense   open':>24}" * 2)
            for edge, layer, rival in zip(EDGES, layers, rivals, strict=True):
                assert isinstance(layer, MaskedConv2d)
                line = f"{edge[0]:>8} -> {edge[1]:8}{layer.in_channels:4}{layer.out_channels:4}"
                share = layer.open_values().numel() / layer.weight.numel()
                line += f"{edge[2]:3}{share:6.3f}{layer.kernel:>6}"
                dense, listed = copy.deepcopy(layer), copy.deepcopy(layer)
                dense.kernel, listed.kernel = "dense", "open"
                modules = {"w*m": rival, "dense": dense, "open": listed}
                size = POPULATIONS[edge[0]][0]
                x = torch.randn(batch, layer.in_channels, size, size)
                x.requires_grad_(edge[0] != "input")
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
