"""Starts of low rank are told from those of another rank, law or size."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.low_rank import low_rank_starts
from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.starts import draw_low_rank

# Four by four neurons, of which no three share three: the rank shows in the numbers alone.
PTR = torch.tensor([0, 2, 3, 5, 6], dtype=torch.int32)
PRE = torch.tensor([0, 3, 1, 1, 2, 0], dtype=torch.int32)
MIXED = torch.tensor([1, 0, -1, 0, 1, 0])


def judged(draw: Callable[[EdgeLinear], object], sign: int | Tensor) -> None:
    def built(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        layer = EdgeLinear(4, PTR, PRE, sign=sign)
        with torch.no_grad():
            draw(layer)
        return {f"layer.{name}": value.clone() for name, value in layer.state_dict().items()}

    low_rank_starts({"layer.weight": 2}, {"layer.weight": []}, built(0), built)


@pytest.mark.parametrize("sign", [0, 1, MIXED], ids=["free", "signed", "mixed"])
def test_starts_of_the_rank_stated_pass(sign: int | Tensor) -> None:
    judged(lambda layer: draw_low_rank(layer, 2), sign)


@pytest.mark.parametrize("sign", [0, 1, MIXED], ids=["free", "signed", "mixed"])
@pytest.mark.parametrize("rank", [1, 9])
def test_another_rank_is_found(rank: int, sign: int | Tensor) -> None:
    with pytest.raises(Wrong, match="not those of rank 2"):
        judged(lambda layer: draw_low_rank(layer, rank), sign)


@pytest.mark.parametrize("sign", [0, 1, MIXED], ids=["free", "signed", "mixed"])
def test_another_size_is_found(sign: int | Tensor) -> None:
    def draw(layer: EdgeLinear) -> None:
        draw_low_rank(layer, 2)
        layer.weight.mul_(1.5)

    with pytest.raises(Wrong, match="not those of rank 2"):
        judged(draw, sign)


def test_another_law_is_found() -> None:
    with pytest.raises(Wrong, match="not those of rank 2"):
        judged(lambda layer: layer.weight.uniform_(-1, 1), 0)
    with pytest.raises(Wrong, match="factors are not positive"):
        judged(lambda layer: layer.weight.uniform_(-1, 1), 1)


def test_numbers_that_do_not_go_together_are_found() -> None:
    """Each has the law of an entry, and all are independent, as no matrix of rank 2 is."""

    def draw(layer: EdgeLinear) -> None:
        total = torch.randn(2, 2, 6).prod(0).abs().sum(0)
        degree = layer.ptr.diff().repeat_interleave(layer.ptr.diff())
        square = 2 + 2 * (2 / math.pi) ** 2  # expected
        layer.weight.copy_(total / (3 * square * degree).sqrt())

    with pytest.raises(Wrong, match="not those of rank 2"):
        judged(draw, 1)
