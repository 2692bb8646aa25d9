from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from areas import LAID, WIRED, areas, convolution, mousenet, published_kernels
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Conv2d,
    ConvTranspose2d,
    GaussianKernel,
    GaussianLaw,
    Graph,
    Projection,
)
from connectome_compiler.passes.lay_kernels import LayKernels
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.size_maps import SizeMaps
from connectome_compiler.passes.wire_levels import WireLevels

SHORT = (
    "VISpor4: 901.4 of 1,000.0 inputs per neuron, 2 of 18 kernels clipped: "
    "VISal2/3->VISpor4 at 4.36, VISal5->VISpor4 at 4.21"
)


def kernel(projection: Projection) -> GaussianKernel:
    assert isinstance(projection.connectivity, GaussianKernel)
    return projection.connectivity


def two(law: GaussianLaw, low: int, high: int, *, pre: str = "A", **more: Any) -> Graph:
    """Maps A (level 0, ``low`` wide) and B (level 1, ``high`` wide) of 4 channels; one joins."""
    post = "B" if pre == "A" else "A"
    sizes = {"A": 4 * low**2, "B": 4 * high**2}
    graph = areas({"A": 0, "B": 1}, [(pre, post, law)], n_neurons=sizes, **more)
    shapes = {"input": (3, low, low), "A": (4, low, low), "B": (4, high, high)}
    maps = tuple(replace(p, shape=shapes[p.name]) for p in graph.populations)
    return replace(graph, populations=maps)


def test_the_published_kernels() -> None:
    graph = mousenet(*LAID)
    rows = published_kernels()
    for q, row in zip(graph.projections, rows, strict=True):
        assert (q.pre, q.post) == (row["pre"], row["post"])
        law, c = kernel(q), convolution(q)
        assert law.kernel == c.kernel == (row["kernel"], row["kernel"])
        assert c.stride == (row["stride"], row["stride"])
        assert c.padding == (row["padding_before"], row["padding_before"])
        assert c.end_padding[0] == c.end_padding[1] == row["padding_after"] - row["padding_before"]
        assert c.per_position
        assert law.peak == pytest.approx(row["peak"], rel=1e-12)
        assert law.width == pytest.approx(row["width_px"], rel=1e-12)
        found = row["pre_channels"] * law.probability().sum()
        assert found == pytest.approx(row["in_degree_cut"], rel=1e-12)
    assert sum(np.prod(graph.shape(q)) for q in graph.projections) == 2_151_649


def test_what_falls_short_is_reported() -> None:
    notes = mousenet(*LAID).provenance.steps[-1].notes
    assert notes == (
        "49 kernels of 1 to 21 pixels: 86,567 of 2,151,649 weights open on average (4.02%)",
        "from here on a connection is one kernel weight, shared by all positions of a map",
        "16 keep their peak and cover 34% to 78% of their Gaussian",
        SHORT,
    )
    quiet = run(mousenet(*LAID), [LayKernels()])
    assert quiet.provenance.steps[-1].notes == ("no projection has a Gaussian law",)
    assert quiet.digest() == mousenet(*LAID).digest()


def test_feedback_lies_on_the_larger_map() -> None:
    wired = (LevelAreas(), WireLevels(feedback="mirrored"), NormaliseInDegree())
    graph = mousenet(*wired, SizeMaps(), LayKernels())
    forward = {q.key: q for q in graph.projections if not q.delay}
    n = 0
    for q in graph.projections:
        if q.delay and isinstance(q.operator, ConvTranspose2d):
            there = forward[f"{q.post}->{q.pre}"]
            assert q.operator.kernel == convolution(there).kernel
            assert kernel(q).width == pytest.approx(kernel(there).width)  # of one law, on one sheet
            n += 1
    assert n == 18  # from areas of 32 pixels back to VISp
    # Cut probabilities, of feedback apart from what runs forward.
    notes = graph.provenance.steps[-1].notes
    assert notes[3] == SHORT
    assert any(note.startswith("VISal5 (feedback): 5.0 of 1,000.0 inputs") for note in notes)


sides = st.integers(1, 6)


@given(
    sides,
    st.integers(1, 4),
    st.floats(0.05, 3),
    st.floats(0.1, 2),
    st.booleans(),
    st.floats(1e-3, 0.2),
)
def test_kernels_fit_their_maps_and_keep_the_in_degree(
    small: int, ratio: int, width: float, z: float, back: bool, in_degree: float
) -> None:
    half = int(z * width)
    high = small + 4 * half + 4
    low = ratio * high
    # The micrometres that make this width in pixels, on a sheet of one square millimetre.
    law = GaussianLaw(width * 1000 / low, in_degree)
    graph = run(two(law, low, high, pre="B" if back else "A"), [LayKernels(z)])
    (q,) = graph.projections
    made, op = kernel(q), q.operator
    assert made.width == pytest.approx(width)
    assert made.kernel[0] in {2 * int(z * w) + 1 for w in (width, made.width)}
    probability = torch.from_numpy(made.gaussian())[None, None]
    pre = graph.population(q.pre).shape
    ones = torch.ones(1, 1, *pre[1:], dtype=torch.float64)
    if isinstance(op, ConvTranspose2d):
        out = functional.conv_transpose2d(
            ones, probability, stride=op.stride, padding=op.padding,
            output_padding=op.output_padding,
        )  # fmt: skip
    else:
        assert isinstance(op, Conv2d)
        (top, left), (below, right) = op.padding, op.end_padding
        padded = functional.pad(ones, (left, left + right, top, top + below))
        out = functional.conv2d(padded, probability, stride=op.stride)
    assert tuple(out.shape[2:]) == graph.population(q.post).shape[1:]
    # Away from the borders, and over all phases of the stride.
    stride = op.stride[0]
    edge = stride * -(-made.kernel[0] // stride) if back else made.kernel[0] // stride + 1
    inside = out[0, 0, edge:-edge, edge:-edge]
    assert pre[0] * inside.mean().item() == pytest.approx(in_degree)


def test_pixels_count_neurons_of_one_channel() -> None:
    """Neurons that no channel holds still lie on the sheet, as the published widths have it."""
    graph = areas({"A": 0, "B": 0}, [("A", "B", GaussianLaw(100.0, 1.0))], n_neurons=300)
    after = run(graph, [SizeMaps(16, ()), LayKernels()])
    assert kernel(after.projections[0]).width == pytest.approx(100 * sqrt(300) / 1000)


def test_a_given_peak_stays() -> None:
    for pre in "AB":
        law = GaussianLaw(80.0, 1e6, peak=0.3)
        after = run(two(law, 64, 32, pre=pre), [LayKernels()])
        assert kernel(after.projections[0]).peak == 0.3
    (note,) = [n for n in after.provenance.steps[-1].notes if "peak" in n]
    assert note.startswith("1 keep their peak and cover ")
    with pytest.raises(CompileError, match=r"peak: must be a probability above 0, not 1\.2"):
        GaussianLaw(1.0, 1.0, 1.2)


def test_pixels_of_the_sources() -> None:
    law = GaussianLaw(2.0, 5.0, 1.0, "px")
    forward = run(two(law, 64, 32, surface_mm2=None), [LayKernels()])
    assert kernel(forward.projections[0]) == GaussianKernel(1.0, 2.0, (5, 5))
    back = run(two(law, 64, 32, pre="B", surface_mm2=None), [LayKernels()])
    assert kernel(back.projections[0]) == GaussianKernel(1.0, 4.0, (9, 9))  # twice as many of A


@pytest.mark.parametrize(
    ("low", "high", "padding", "end"),
    [(8, 8, (0, 0), (0, 0)), (16, 8, (0, 0), (0, 0)), (24, 8, (0, 0), (0, 0))],
)
def test_single_pixels_need_no_padding(
    low: int, high: int, padding: tuple[int, int], end: tuple[int, int]
) -> None:
    law = GaussianLaw(0.5, 1.0, unit="px")
    (q,) = run(two(law, low, high), [LayKernels()]).projections
    made = convolution(q)
    assert (made.kernel, made.padding, made.end_padding) == ((1, 1), padding, end)
    assert made.stride == (low // high, low // high)


def test_what_has_no_kernel_is_refused() -> None:
    with pytest.raises(CompileError, match=r"input->LGNd: input of shape \(3,\) is not a map"):
        mousenet(*WIRED, LayKernels())
    with pytest.raises(CompileError, match="surface_mm2 of A is unknown"):
        run(two(GaussianLaw(1.0, 1.0), 8, 8, surface_mm2=None), [LayKernels()])
    with pytest.raises(CompileError, match=r"maps of \(12, 12\) do not divide maps of \(8, 8\)"):
        run(two(GaussianLaw(1.0, 1.0), 12, 8), [LayKernels()])
    with pytest.raises(CompileError, match="reaching 8,000 pixels to each side") as error:
        run(two(GaussianLaw(1.0, 1.0), 8, 8, surface_mm2=1e-12), [LayKernels()])
    assert "surface_mm2" in error.value.hint


@pytest.mark.parametrize("z", [0, -1, float("nan"), float("inf")])
def test_no_cut(z: float) -> None:
    with pytest.raises(CompileError, match=r"lay-kernels.z: must be positive and finite"):
        LayKernels(z)
