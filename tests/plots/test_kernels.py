"""Windows and kernels are those of the graph, channel by channel."""

from typing import Any

import numpy as np
import pytest
from areas import LAID, convolution, mousenet
from stacks import stack
from worms import worm

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.materialise_laws import MaterialiseLaws

KEY = "VISp2/3->VISl4"


def pictures(axes: Any) -> list[tuple[str, np.ndarray]]:
    found = []
    for panel in axes.child_axes:
        (image,) = panel.images
        found.append((panel.get_title(), np.ma.filled(image.get_array(), 0)))
    return found


@pytest.fixture(scope="module")
def laid() -> Graph:
    return mousenet(*LAID)


@pytest.fixture(scope="module")
def drawn(laid: Graph) -> Graph:
    return laid.run(MaterialiseLaws(seed=1))


def test_a_law_shows_its_probability(laid: Graph) -> None:
    ((word, picture),) = pictures(laid.plot("kernels", projections=[KEY]))
    law: Any = laid.projection(KEY).connectivity
    assert (picture == law.probability()).all()
    assert word == f"probability, {picture.min():.2g} to {picture.max():.2g}"


def test_kernels_show_how_often_weights_are_open_and_single_channels(drawn: Graph) -> None:
    q = drawn.projection(KEY)
    kernel = convolution(q).kernel
    n_post, n_pre = drawn.shape(q)
    flat = np.zeros((n_post, n_pre), bool)
    flat[q.synapses.post, q.synapses.pre] = True
    mask = flat.reshape(n_post, -1, *kernel)
    (_, share), *channels = pictures(drawn.plot("kernels", projections=[KEY], channels=3))
    assert share == pytest.approx(mask.mean((0, 1)))
    assert [word for word, _ in channels] == [f"channels {k} → 0" for k in range(3)]
    for k, (_, picture) in enumerate(channels):
        assert (picture == mask[0, k]).all()


def test_law_and_kernels_stand_side_by_side(laid: Graph, drawn: Graph) -> None:
    axes: Any = laid.plot("kernels", beside=drawn, rows=2, channels=3)
    left, right = axes.child_axes
    assert (len(left.child_axes), len(right.child_axes)) == (2, 2 + 6)
    widths = [panel.child_axes[0].get_position().width for panel in (left, right)]
    assert widths[0] == pytest.approx(widths[1])


def test_windows_show_what_a_corner_an_edge_and_the_middle_hear() -> None:
    graph = stack()
    for q in graph.connectome:
        rule = getattr(q.connectivity, "rule", None)
        if rule is None or rule.form != "2d":
            continue
        n_post, n_pre = graph.shape(q)
        dense = np.zeros((n_post, n_pre))
        dense[q.connectivity.entries(n_post, n_pre)] = 1
        middle = rule.post_width // 2
        units = {0, middle, n_post // rule.post_width // 2 * rule.post_width + middle}
        found = pictures(graph.plot("kernels", projections=[q.key]))
        assert len(found) == len(units)
        for unit, (word, picture) in zip(sorted(units), found, strict=True):
            assert (picture.ravel() == dense[unit]).all()
            assert picture.shape[1] == rule.pre_width
            assert word == f"output {unit}: {int(dense[unit].sum())}"


@pytest.mark.parametrize("form", ["diagonal", "kernel"])
def test_other_windows_show_which_channels_are_joined(form: str) -> None:
    graph = stack(form=form, reduction=0.5)
    found = pictures(graph.plot("kernels"))
    assert found
    for word, picture in found:
        assert picture.any()
        assert word


def test_a_graph_without_any_is_refused() -> None:
    with pytest.raises(CompileError, match="no projection has a window") as caught:
        worm().plot("kernels")
    assert caught.value.hint == 'kind="raster" shows connections'
    worm().plot(kind="raster")


def test_projections_get_the_nearest_name(laid: Graph) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{KEY}'"):
        laid.plot("kernels", projections=["VISp2/3->VISl44"])
