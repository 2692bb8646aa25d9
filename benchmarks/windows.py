"""Training step of windowed layers against dense x mask, on the shapes of the papers.

    python benchmarks/windows.py [linear convolution accuracy] [--repetitions 15] [--batch 8 32]

"w*m" is a dense weight times a float mask, as masked layers are usually written; "auto" and
"dense" are the kernels of ours. A step is forward, backward to input and weights, and fused Adam,
in float32 on one thread. Everything is timed twice: as users run it, and with the allocator of
glibc told to keep large blocks (``mallopt``), since otherwise every matrix above 32 MiB is written
to fresh pages of memory.
"""

import ctypes
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from _common import parser, report, time_in_turn, training_step
from torch import Tensor, nn

from connectome_compiler.nn.window_layers import (
    WindowConv2d,
    WindowConvTranspose2d,
    WindowLinear,
)
from connectome_compiler.nn.window_rules import WindowRule

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
Layer = WindowLinear | WindowConv2d | WindowConvTranspose2d


class Masked(nn.Module):
    """What a layer of ours computes, as a dense weight times a float mask."""

    mask: Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.effective_weight().detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone()) if layer.bias is not None else None
        self.register_buffer("mask", layer.mask.float())
        self.how: dict[str, Any] = {}
        self.function: Callable[..., Tensor] = nn.functional.linear
        if isinstance(layer, WindowConv2d):
            self.function = nn.functional.conv2d
            self.how = {"stride": layer.stride, "padding": layer.padding}
        elif isinstance(layer, WindowConvTranspose2d):
            self.function = nn.functional.conv_transpose2d
            self.how = {
                "stride": layer.stride,
                "padding": layer.padding,
                "output_padding": layer.output_padding,
            }

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight * self.mask, self.bias, **self.how)


def grid(radius: float, pre_width: int, post_width: int) -> WindowRule:
    return WindowRule("2d", radius=radius, pre_width=pre_width, post_width=post_width)


def linear(n: int, radius: float) -> Callable[[str], Layer]:
    side = round(n**0.5)
    return lambda kernel: WindowLinear(n, n, window=grid(radius, side, side), kernel=kernel)


def up(n_pre: int, n_post: int, widths: tuple[int, int], radius: float) -> Callable[[str], Layer]:
    """Return a layer of the papers' generator; ``widths`` are those of outputs and inputs."""
    window = grid(radius, widths[1], widths[0])
    how: dict[str, Any] = {"stride": 2, "padding": 2, "output_padding": 1, "window": window}
    return lambda kernel: WindowConvTranspose2d(n_pre, n_post, 5, kernel=kernel, **how)


def square(n: int, radius: float) -> Callable[[str], Layer]:
    side = round(n**0.5)
    window = grid(radius, side, side)
    return lambda kernel: WindowConv2d(n, n, 3, padding=1, window=window, kernel=kernel)


def compare(
    title: str, make: Callable[[str], Layer], shapes: Sequence[tuple[int, ...]], repetitions: int
) -> None:
    """Time a layer with all kernels, for inputs of several shapes."""
    layers: dict[str, nn.Module] = {"auto": make("auto"), "dense": make("dense")}
    first = layers["auto"]
    assert isinstance(first, WindowLinear | WindowConv2d | WindowConvTranspose2d)
    layers = {"w*m": Masked(first), **layers}
    for shape in shapes:
        x = torch.randn(shape, requires_grad=True)
        g = torch.randn_like(first(x))
        steps = {name: training_step(layer, x, g) for name, layer in layers.items()}
        times = time_in_turn(steps, repetitions, 12.0)
        name = f"{title}, kept {100 * first.usage:.0f} %, auto = {first.kernel}, batch {shape[0]}"
        report(name, times, "w*m")
        fastest[name] = statistics.median(times["w*m"]) / statistics.median(times["auto"])


fastest: dict[str, float] = {}  # how much faster "auto" is than "w*m"


def compare_linear(repetitions: int) -> None:
    for n, radii in ((4096, (0.345, 0.6)), (1024, (0.3, 0.4, 0.5, 0.6))):
        for radius in radii:
            shapes = [(batch, n) for batch in (1, 64, 256)]
            compare(f"linear {n}x{n} r={radius}", linear(n, radius), shapes, repetitions)


def compare_convolutions(batches: Sequence[int], repetitions: int) -> None:
    for radius in (0.3, 0.4, 0.6):
        for n_pre, n_post, widths, size in (
            (1024, 512, (32, 32), 4),
            (512, 256, (32, 16), 8),
            (256, 128, (16, 16), 16),
        ):
            shapes = [(batch, n_pre, size, size) for batch in batches]
            title = f"transposed {n_pre}->{n_post} r={radius}"
            compare(title, up(n_pre, n_post, widths, radius), shapes, repetitions)
        shapes = [(batch, 256, 16, 16) for batch in batches]
        compare(f"256 channels 3x3 r={radius}", square(256, radius), shapes, repetitions)


def print_errors() -> None:
    """Print relative errors of output and gradients against float64."""
    print(f"\nrelative norm of the error against float64\n{'':40}{'y':>10}{'dx':>10}{'dw':>10}")
    cases: tuple[tuple[str, Callable[[str], Layer], tuple[int, ...]], ...] = (
        ("linear 1024 r=0.4", linear(1024, 0.4), (64, 1024)),
        ("transposed 512->256 r=0.4", up(512, 256, (32, 16), 0.4), (4, 512, 8, 8)),
        ("256 channels 3x3 r=0.3", square(256, 0.3), (4, 256, 16, 16)),
    )
    for title, make, shape in cases:
        first = make("dense")
        wanted = Masked(first).double()
        x = torch.randn(shape, requires_grad=True)
        z = x.detach().double().requires_grad_()
        y = wanted(z)
        g = torch.randn_like(y)
        y.backward(g)
        for kernel in ("dense", "patches"):
            layer = make(kernel)
            layer.load_state_dict(first.state_dict())
            x.grad = None
            found = layer(x)
            found.backward(g.float())
            with torch.no_grad():
                assert layer.weight.grad is not None
                layer.weight.copy_(layer.weight.grad)  # so that it can be read in its dense form
                grad_weight = layer.effective_weight()
            assert x.grad is not None
            assert z.grad is not None
            assert wanted.weight.grad is not None
            pairs = (
                (found.detach(), y.detach()),
                (x.grad, z.grad),
                (grad_weight, wanted.weight.grad),
            )
            errors = [float((a.double() - b).norm() / b.norm()) for a, b in pairs]
            print(f"{f'{title}, {kernel}':40}" + "".join(f"{error:10.1e}" for error in errors))


def keep_large_blocks() -> bool:
    """Tell glibc to keep what is freed; return whether it listened."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def main() -> None:
    """Run the parts asked for."""
    p = parser(__doc__)
    parts = ("linear", "convolution", "accuracy")
    p.add_argument("parts", nargs="*", metavar="part", default=parts, help=", ".join(parts))
    p.add_argument("--repetitions", type=int, default=15)
    p.add_argument("--batch", type=int, nargs="+", default=[8, 32], help="of the convolutions")
    options = p.parse_args()
    torch.manual_seed(0)
    for allocator in ("default", "mallopt"):
        if allocator == "mallopt" and not keep_large_blocks():
            print("\nmallopt is not to be had here")
            break
        print(f"\n=== allocator: {allocator}")
        fastest.clear()
        if "linear" in options.parts:
            compare_linear(options.repetitions)
        if "convolution" in options.parts:
            compare_convolutions(options.batch, options.repetitions)
        if fastest:
            worst = min(fastest, key=fastest.__getitem__)
            print(f"\nauto is never below {fastest[worst]:.2f} times as fast as w*m ({worst})")
    if "accuracy" in options.parts:
        print_errors()


if __name__ == "__main__":
    main()
