"""The emitted column against the same module with dense weights times mask, as peers do it.

One training step (forward, backward, fused Adam) of the whole network and of its connections
alone, parameters and training state. ``python benchmarks/column.py [--recipe microns-v1-dale]``.
"""

import copy
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _common import parser, report, time_in_turn
from torch import Tensor, nn

from connectome_compiler.pipeline import build


class DenseMasked(nn.Module):
    """The same projection as ``F.linear(x, sign * |weight| * mask)`` with a dense weight."""

    mask: Tensor
    sign: Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        post, pre = layer.sparse_weight().indices()
        raw = torch.zeros(layer.n_post, layer.n_pre)
        raw[post, pre] = layer.weight.detach()
        self.weight = nn.Parameter(raw)
        self.register_buffer("mask", (layer.sparse_weight().detach().to_dense() != 0).float())
        self.register_buffer("sign", layer.sparse_weight().detach().to_dense().sign())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.sign * self.weight.abs() * self.mask, self.bias)


def dense_twin(net: nn.Module) -> nn.Module:
    """Return a copy with every projection of the connectome dense."""
    twin = copy.deepcopy(net)
    for name, layer in list(twin.named_children()):
        if hasattr(layer, "sparse_weight"):
            setattr(twin, name, DenseMasked(layer))
    return twin


def step(net: nn.Module, batch: int, projections_only: bool) -> Callable[[], None]:
    """Return one training step of the network, or of its projections one by one."""
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-5, fused=True)
    labels = torch.zeros(batch, dtype=torch.long)
    images = torch.rand(batch, 1, 48, 48)
    layers = [m for m in net.children() if hasattr(m, "sparse_weight") or hasattr(m, "mask")]
    if projections_only:
        optimiser = torch.optim.Adam([p for m in layers for p in m.parameters()], fused=True)
    inputs = [torch.rand(batch, _n_pre(m), requires_grad=True) for m in layers]

    def run() -> None:
        if projections_only:
            total = torch.stack([m(x).sum() for m, x in zip(layers, inputs, strict=True)]).sum()
            total.backward()
        else:
            nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return run


def _n_pre(layer: Any) -> int:
    return int(layer.n_pre) if hasattr(layer, "n_pre") else int(layer.weight.shape[1])


def state_bytes(net: nn.Module, only_projections: bool) -> int:
    """Return the bytes of parameters, gradients, both moments of Adam, and buffers."""
    total = 0
    for layer in net.children():
        if only_projections and not (hasattr(layer, "sparse_weight") or hasattr(layer, "mask")):
            continue
        total += sum(4 * p.numel() * p.element_size() for p in layer.parameters())
        total += sum(b.numel() * b.element_size() for b in layer.buffers())
    return total


def main() -> None:
    """Build, check that both networks agree, and time them."""
    options = parser(__doc__)
    options.add_argument("--recipe", default="microns-v1")
    options.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256])
    options.add_argument("--kernel", default="auto")
    options.add_argument("--repetitions", type=int, default=15)
    args = options.parse_args()
    for batch in args.batch:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.py"
            settings = {"source": "statistics", "template.batch": batch}
            settings["template.kernel"] = args.kernel
            built = build(args.recipe, path, settings=settings, verify=False)
            spec = importlib.util.spec_from_file_location(f"model_{batch}", path)
            assert spec
            assert spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            net = module.build(noise_std=0.0)
        kernels = [layer.kernel for _, _, layer in net.named_projections()]
        twin = dense_twin(net)
        images = net.example_input(4)
        difference = (net(images) - twin(images)).norm() / twin(images).norm()
        print(f"\n{args.recipe}, batch {batch}: {built.graph.n_connections:,} connections,")
        print(
            f"kernels { ({k: kernels.count(k) for k in set(kernels)}) }, outputs differ by", end=" "
        )
        print(f"{difference.item():.1e} (relative)")
        for only in (True, False):
            times = time_in_turn(
                {
                    "dense weights x mask": step(twin, batch, only),
                    "emitted": step(net, batch, only),
                },
                args.repetitions,
            )
            report("connections alone" if only else "whole network", times, "dense weights x mask")
        for only, what in ((True, "connections"), (False, "whole network")):
            a, b = state_bytes(twin, only), state_bytes(net, only)
            print(f"training state, {what}: {a / 1e6:.2f} MB -> {b / 1e6:.2f} MB ({a / b:.1f}x)")


if __name__ == "__main__":
    main()
