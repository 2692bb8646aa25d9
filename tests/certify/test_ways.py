"""A layer that is sound in double precision, forward and once backward, may be wrong elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.ways import answers_in_every_way, layers_act_in_every_way
from connectome_compiler.nn.eager import in_transform
from connectome_compiler.nn.edge_linear import EdgeLinear

PTR = torch.tensor([0, 2, 3, 5, 6], dtype=torch.int32)
PRE = torch.tensor([0, 3, 1, 1, 2, 0], dtype=torch.int32)


def judged(change: Callable[[EdgeLinear, Tensor], Tensor], kernel: str = "edges") -> None:
    class Changed(EdgeLinear):
        def forward(self, x: Tensor) -> Tensor:
            return change(self, x)

    layer = Changed(4, PTR, PRE, sign=1, bias=True, kernel=kernel)
    layers_act_in_every_way([("a->b", layer, {"kind": "Linear"}, (4,))])


def plain(layer: EdgeLinear, x: Tensor) -> Tensor:
    return EdgeLinear.forward(layer, x)


class Twice(torch.autograd.Function):
    """What it was, with a second gradient that is twice as large."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g + 0 * g if not g.requires_grad else 2 * g - g.detach()


@pytest.mark.parametrize("kernel", ["edges", "dense"])
def test_a_sound_layer_passes(kernel: str) -> None:
    judged(plain, kernel)


def test_each_way_of_calling_is_tried() -> None:
    changes: dict[str, Callable[[EdgeLinear, Tensor], Tensor]] = {
        "in inference mode": lambda f, x: plain(f, x) * (1 + torch.is_inference_mode_enabled()),
        "without gradients": lambda f, x: plain(f, x) * (1 + (not torch.is_grad_enabled())),
        "laid out in steps": lambda f, x: plain(f, x) * (1 + (x.dim() == 2 and x.stride(1) == 2)),
        "sample by sample": lambda f, x: plain(f, x) * (1 + (len(x) == 1)),
        "130 samples": lambda f, x: plain(f, x) * (1 + (len(x) == 130)),
        "under torch.func": lambda f, x: plain(f, x * (1 + in_transform())),
        "where torch compiles": lambda f, x: plain(f, x) * (1 + torch.compiler.is_compiling()),
        "half precision": lambda f, x: plain(f, x) * (1 + (x.dtype == torch.bfloat16)),
        "under autocast": lambda f, x: plain(f, x) * (1 + torch.is_autocast_enabled("cpu")),
        "reaches units without": lambda f, x: plain(f, x) + 0 * x.sum(-1, keepdim=True),
        "does not reach": lambda f, x: plain(f, x.nan_to_num(0, 0, 0)),
        "the second gradient": lambda f, x: plain(f, Twice.apply(x)),  # type: ignore[no-untyped-call]
    }  # fmt: skip
    for what, change in changes.items():
        with pytest.raises(Wrong, match=what):
            judged(change)


class Network(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(3, 2), change

    def example_input(self, batch: int) -> Tensor:
        return torch.randn(batch, 3, dtype=self.layer.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return self.change(y)


def test_a_network_that_answers_otherwise_is_found() -> None:
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "without gradients": lambda y: y * (1 + (not torch.is_grad_enabled())),
        "in inference mode": lambda y: y * (1 + torch.is_inference_mode_enabled()),
        "in bfloat16": lambda y: y.float(),
        "no samples": lambda y: y if len(y) else y.sum(),
    }
    answers_in_every_way(Network(lambda y: y), lambda net, x: net(x), 0)
    for what, change in changes.items():
        with pytest.raises(Wrong, match=what):
            answers_in_every_way(Network(change), lambda net, x: net(x), 0)
