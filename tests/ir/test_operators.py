"""Geometry is torch's; what does not fit two populations is refused with its numbers."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    AllToAll,
    Conv2d,
    ConvTranspose2d,
    Graph,
    Linear,
    OneToOne,
    Population,
    Projection,
    Provenance,
    Synapses,
    Tied,
)
from connectome_compiler.ir.digest import statement_digest

PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))
PADS = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def geometries(draw: st.DrawFn) -> Conv2d | ConvTranspose2d:
    numbers: dict[str, Any] = {
        "kernel": draw(PAIRS),
        "stride": draw(PAIRS),
        "padding": draw(PADS),
        "dilation": draw(PAIRS),
        "groups": draw(st.sampled_from([1, 2, 3])),
    }
    if draw(st.booleans()):
        return Conv2d(**numbers)
    most = [max(s, d) for s, d in zip(numbers["stride"], numbers["dilation"], strict=True)]
    more = draw(st.tuples(*(st.integers(0, m - 1) for m in most)))
    return ConvTranspose2d(**numbers, output_padding=more)


def torch_layer(
    operator: Conv2d | ConvTranspose2d, n_pre: int, n_post: int
) -> nn.Conv2d | nn.ConvTranspose2d:
    numbers: dict[str, Any] = {
        name: getattr(operator, name) for name in ("stride", "padding", "dilation", "groups")
    }
    if isinstance(operator, Conv2d):
        return nn.Conv2d(n_pre, n_post, operator.kernel, **numbers)
    more = operator.output_padding
    return nn.ConvTranspose2d(n_pre, n_post, operator.kernel, output_padding=more, **numbers)


def joined(pre: tuple[int, ...], post: tuple[int, ...], **options: Any) -> Graph:
    populations = Population("a", pre), Population("b", post)
    projection = Projection("a", "b", options.pop("law", AllToAll()), delay=0, **options)
    return Graph(populations, (projection,), Provenance("t"))


@given(geometries(), st.integers(6, 14), st.integers(6, 14))
def test_geometry_is_that_of_torch(
    operator: Conv2d | ConvTranspose2d, height: int, width: int
) -> None:
    layer = torch_layer(operator, 6, 12)
    try:
        made = tuple(layer(torch.zeros(1, 6, height, width)).shape[1:])
    except RuntimeError:  # nothing is left of the map
        made = (12, 1, 1)
        with pytest.raises(VerifyError, match="makes maps of"):
            joined((6, height, width), made, operator=operator).verify()
        return
    g = joined((6, height, width), made, operator=operator)
    g.verify()
    (q,) = g.projections
    kernels = layer.weight.shape[:2] if isinstance(operator, Conv2d) else layer.weight.shape[1::-1]
    assert g.shape(q) == tuple(kernels)
    assert g.count(q) * operator.area == layer.weight.numel()
    assert g.density(q) == 1
    assert (g.signs(q) == 0).all()
    wrong = (made[0], made[1] + 1, made[2])
    with pytest.raises(VerifyError, match=f"not of {wrong[1]} x {wrong[2]}"):
        joined((6, height, width), wrong, operator=operator).verify()


def test_what_does_not_fit_is_refused_with_all_three_sizes() -> None:
    with pytest.raises(VerifyError) as caught:
        joined((1, 6, 7), (1, 8, 9), operator=Conv2d((2, 3))).verify()
    assert re.findall(r"\d+ x \d+", caught.value.problem) == ["5 x 5", "6 x 7", "8 x 9"]


def test_linear_joins_whatever_has_units() -> None:
    g = joined((2, 3, 4), (5,))
    g.verify()
    assert g.projections[0].operator == Linear()
    assert g.shape(g.projections[0]) == (5, 24)


def test_one_number_stands_for_two() -> None:
    assert Conv2d(3, 2) == Conv2d((3, 3), (2, 2))  # type: ignore[arg-type]
    assert Conv2d([3, 5]) == Conv2d((3, 5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Conv2d((0, 3)), "kernel"),
        (lambda: Conv2d((3, 3), padding=(-1, 0)), "padding"),
        (lambda: Conv2d((3, 3), groups=0), "groups"),
        (
            lambda: Conv2d((3, 3, 3)),  # type: ignore[arg-type]
            "kernel",
        ),
        (
            lambda: Conv2d((3.5, 3)),  # type: ignore[arg-type]
            "must be a whole number",
        ),
        (lambda: ConvTranspose2d((3, 3), output_padding=(1, 0)), "output_padding"),
    ],
)
def test_numbers_of_no_convolution_are_refused(make: Any, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        make()


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (lambda: joined((4,), (2, 3, 3), operator=Conv2d((1, 1))), "not a map"),
        (lambda: joined((4, 3, 3), (2, 3, 3), operator=Conv2d((1, 1), groups=4)), "4 groups"),
        (
            lambda: joined((2, 3, 3), (2, 3, 3), operator=Conv2d((1, 1)), kind="electrical"),
            "no gap junctions",
        ),
        (
            lambda: joined(
                (2, 3, 3), (2, 3, 3), operator=Conv2d((1, 1)), weights=Tied("type-pair")
            ),
            "no types",
        ),
        (
            lambda: joined(
                (2, 3, 3),
                (2, 3, 3),
                operator=Conv2d((1, 1)),
                law=Synapses.from_edges([2], [0], [1]),
            ),
            "outside 0..1",
        ),
        (
            lambda: joined((2, 3, 3), (4, 3, 3), operator=Conv2d((1, 1)), law=OneToOne()),
            "cannot be paired",
        ),
    ],
)
def test_what_does_not_fit_is_refused(graph: Any, problem: str) -> None:
    with pytest.raises(VerifyError, match=problem):
        graph().verify()


def test_saved_hashed_and_named(tmp_path: Any) -> None:
    operator = ConvTranspose2d((3, 5), (2, 2), (1, 2), (1, 1), groups=2)
    g = joined((4, 3, 3), (6, 6, 6), operator=operator)
    again = Graph.load(g.save(tmp_path / "g"))
    assert again.projections[0].operator == operator
    assert again.digest() == g.digest()
    other = replace(g.projections[0], operator=replace(operator, padding=(1, 1), groups=1))
    assert replace(g, projections=(other,)).digest() != g.digest()
    page = tmp_path / "g" / "graph.json"
    edited = json.loads(page.read_text().replace('"ConvTranspose2d"', '"Conv3d"'))
    page.write_text(json.dumps({**edited, "sha256": statement_digest(edited)}))
    with pytest.raises(CompileError, match="did you mean 'Conv2d'"):
        Graph.load(tmp_path / "g")
