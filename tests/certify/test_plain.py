"""The plain reading of a convolution is that of its definition, position by position."""

from typing import Any

import pytest
import torch
from torch import Tensor

from connectome_compiler.certify.plain import acted

CONV = {
    "kind": "Conv2d", "kernel": [3, 2], "stride": [2, 1], "padding": [1, 2], "dilation": [1, 2],
    "end_padding": [1, 0], "groups": 2,
}  # fmt: skip
BACK = {
    "kind": "ConvTranspose2d", "kernel": [2, 3], "stride": [2, 3], "padding": [1, 0],
    "dilation": [2, 1], "output_padding": [1, 2], "groups": 2,
}  # fmt: skip


def by_definition(operator: dict[str, Any], weight: Tensor, x: Tensor) -> Tensor:
    """Add up weight times activity, one pair of positions after the other."""
    (down, right), (top, left), (apart_y, apart_x), (high, wide) = (
        operator[k] for k in ("stride", "padding", "dilation", "kernel")
    )
    groups, n = operator["groups"], x.shape
    transposed = operator["kind"] == "ConvTranspose2d"
    more_y, more_x = operator["output_padding" if transposed else "end_padding"]
    if transposed:
        rows = (n[2] - 1) * down - 2 * top + apart_y * (high - 1) + 1 + more_y
        columns = (n[3] - 1) * right - 2 * left + apart_x * (wide - 1) + 1 + more_x
    else:
        rows = (n[2] + 2 * top + more_y - apart_y * (high - 1) - 1) // down + 1
        columns = (n[3] + 2 * left + more_x - apart_x * (wide - 1) - 1) // right + 1
    n_post = weight.shape[1] * groups if transposed else weight.shape[0]
    made = x.new_zeros(n[0], n_post, rows, columns)
    small, large = (x.shape, made.shape) if transposed else (made.shape, x.shape)
    for y in range(small[2]):
        for z in range(small[3]):
            for i in range(high):
                for j in range(wide):
                    at = y * down - top + i * apart_y, z * right - left + j * apart_x
                    if not (0 <= at[0] < large[2] and 0 <= at[1] < large[3]):
                        continue
                    for post in range(n_post):
                        of = post // (n_post // groups)
                        for pre in range(n[1]):
                            if pre // (n[1] // groups) != of:
                                continue
                            if transposed:
                                w = weight[pre, post % weight.shape[1], i, j]
                                made[:, post, at[0], at[1]] += w * x[:, pre, y, z]
                            else:
                                w = weight[post, pre % weight.shape[1], i, j]
                                made[:, post, y, z] += w * x[:, pre, at[0], at[1]]
    return made


@pytest.mark.parametrize("operator", [CONV, BACK], ids=["forward", "transposed"])
def test_convolutions_are_those_of_their_definition(operator: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (4, 3, 2, 3) if operator is BACK else (6, 2, 3, 2)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 4, 5, 6, generator=generator, dtype=torch.float64)
    right = by_definition(operator, weight, x)
    found = acted(operator, weight, x)
    assert found.shape == right.shape
    assert torch.allclose(found, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 3), (1, 2))])
def test_kernels_entry_by_entry_are_those_of_torch(
    stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 19, 23, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 6, 5, 4, generator=generator, dtype=torch.float64)
    weight *= torch.rand(weight.shape, generator=generator) > 0.6
    weight[2] = 0
    geometry = {"stride": stride, "padding": (2, 1), "end_padding": (1, 0), "dilation": dilation}
    operator = {"kind": "Conv2d", "groups": 1, **geometry}
    wanted = acted(operator, weight, x)  # where gradients are kept, torch's own
    with torch.no_grad():
        found = acted(operator, weight, x)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
