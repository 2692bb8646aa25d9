"""Gaussian laws, places, and convolutions joined position by position."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    AllToAll,
    Conv2d,
    ConvTranspose2d,
    GaussianKernel,
    GaussianLaw,
    Graph,
    Linear,
    Place,
    Population,
    Projection,
    Provenance,
    Synapses,
    Window,
)
from connectome_compiler.nn.window_rules import WindowRule

PLACE = Place("VISp", "4", level=1, n_neurons=108_623, surface_mm2=4.3271)
KERNEL = GaussianKernel(peak=0.5, width=1.5, kernel=(3, 3))
CONV = Conv2d((3, 3), padding=(1, 1), per_position=True)


def maps(connectivity: Any = KERNEL, operator: Any = CONV, **changed: Any) -> Graph:
    """Two channels of 6 x 6 onto three."""
    pre = Population("a", (2, 6, 6), place=PLACE)
    post = Population("b", changed.pop("post", (3, 6, 6)))
    q = Projection("a", "b", connectivity, operator=operator, delay=0)
    return Graph((replace(pre, **changed), post), (q,), Provenance("t"))


@given(
    st.floats(0.01, 5),
    st.floats(0.3, 12),
    st.integers(0, 5).map(lambda h: 2 * h + 1),
)
def test_the_probability_is_the_gaussian_cut_at_one(peak: float, width: float, k: int) -> None:
    law = GaussianKernel(peak, width, (k, k))
    p = law.probability()
    for y in range(k):
        for x in range(k):
            dy, dx = y - k // 2, x - k // 2
            plain = peak * np.exp(-(dx**2 + dy**2) / (2 * width**2))
            assert p[y, x] == pytest.approx(min(plain, 1), rel=1e-12)
    assert law.count(3, 2 * k * k) == round(3 * 2 * p.sum())


def test_laws_have_no_list_until_they_are_drawn() -> None:
    with pytest.raises(CompileError, match="materialise-laws"):
        KERNEL.entries(3, 18)
    with pytest.raises(CompileError, match="lay-kernels"):
        GaussianLaw(100.0, 20.0).entries(3, 4)
    assert GaussianLaw(100.0, 20.5).count(10, 4) == 205


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: GaussianLaw(0.0, 1.0), "width"),
        (lambda: GaussianLaw(1.0, float("nan")), "in_degree"),
        (lambda: GaussianLaw(1.0, 1.0, peak=1.2), "1.2 is no probability"),
        (lambda: GaussianLaw(1.0, 1.0, unit="mm"), "neither um nor px"),  # type: ignore[arg-type]
        (lambda: GaussianKernel(0.0, 1.0, (1, 1)), "peak"),
        (lambda: GaussianKernel(1.0, 1.0, (0, 1)), "no size"),
        (lambda: Conv2d((1, 1), per_position=2), "neither true nor false"),  # type: ignore[arg-type]
    ],
)
def test_laws_that_are_none_are_refused(make: Any, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        make()


def test_a_connection_per_position_is_one_weight() -> None:
    graph = maps()
    (q,) = graph.projections
    assert graph.shape(q) == (3, 2 * 9)
    assert q.operator.area == 1
    assert graph.count(q) == round(3 * 2 * KERNEL.probability().sum())
    whole = maps(AllToAll(), replace(CONV, per_position=False)).projections[0]
    assert whole.operator.area == 9
    turned = ConvTranspose2d((4, 4), (2, 2), (1, 1), per_position=True)
    assert turned.pairs((3, 12, 12), (2, 6, 6)) == (3, 2 * 16)


@given(st.integers(1, 7), st.integers(1, 3), st.integers(4, 11))
def test_end_padding_counts_as_torch_counts_zeros(k: int, stride: int, size: int) -> None:
    total = max(k - stride, 0)
    before, after = total // 2, total - total // 2
    made = (size + total - k) // stride + 1
    op = Conv2d((k, k), (stride,) * 2, (before,) * 2, end_padding=(after - before,) * 2)
    op.check((1, made, made), (1, size, size))
    with pytest.raises(CompileError, match="makes maps of"):
        op.check((1, made + 1, made), (1, size, size))


def test_laws_of_other_kernels_are_refused() -> None:
    maps().verify()
    with pytest.raises(VerifyError, match="both have one kernel"):
        maps(replace(KERNEL, kernel=(5, 5))).verify()
    with pytest.raises(VerifyError, match="per_position"):
        maps(operator=replace(CONV, per_position=False)).verify()
    with pytest.raises(VerifyError, match="per_position"):
        maps(operator=Linear()).verify()
    disc = Window(WindowRule("2d", radius=0.5, pre_width=1, post_width=1))
    with pytest.raises(VerifyError, match="leave out per_position"):
        maps(disc).verify()
    drawn = Window(WindowRule("individual", reduction=0.5, seed=0))
    maps(drawn).verify()
    assert drawn.count(3, 18) == len(drawn.entries(3, 18)[0])


@pytest.mark.parametrize("wrong", [{"level": -1}, {"n_neurons": -1}, {"surface_mm2": 0.0}])
def test_places_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VerifyError, match=next(iter(wrong))):
        maps(place=replace(PLACE, **wrong)).verify()


@pytest.mark.parametrize(
    "connectivity", [KERNEL, Synapses.from_edges([0, 2], [17, 3], [1, 1])], ids=["law", "list"]
)
def test_saved_and_loaded_it_is_the_same(connectivity: Any, tmp_path: Path) -> None:
    graph = maps(connectivity)
    again = Graph.load(graph.save(tmp_path / "g"))
    assert again.digest() == graph.digest()
    assert again.population("a").place == PLACE
    law = Graph(
        (Population("a", (9,)),), (Projection("a", "a", GaussianLaw(9.5, 2.0)),), Provenance("t")
    )
    assert Graph.load(law.save(tmp_path / "l")).projections[0].connectivity == GaussianLaw(9.5, 2.0)


def test_places_are_part_of_the_digest() -> None:
    found = {maps(place=p).digest() for p in (None, PLACE, replace(PLACE, level=2))}
    assert len(found) == 3


def test_an_image_wired_as_a_brain_is_counts_as_source() -> None:
    image = maps(artificial=True)
    assert image.connectome == image.projections
    dense = maps(AllToAll(), replace(CONV, per_position=False), artificial=True)
    assert dense.connectome == ()
