"""The raster counts every connection once, and never holds a matrix of all neurons."""

import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from areas import LAID, WIRED, mousenet
from columns import column, laminar
from hypothesis import given
from strategies import graphs
from worms import worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.plots import raster
from connectome_compiler.plots.canvas import EFFECTS, ELECTRICAL
from connectome_compiler.plots.raster import _ticks, binned, by_majority, sides


def dense(graph: Graph, n_bins: int) -> Any:
    """Return what numpy counts, over the neurons of the graph one after the other."""
    start, n = {}, 0
    for p in sides(graph):
        start[p.name], n = n, n + p.n_units
    post: list[Any] = [np.zeros(0)]
    pre: list[Any] = [np.zeros(0)]
    for q in graph.connectome:
        rows, columns = q.connectivity.entries(*graph.shape(q))
        post.append(rows + start[q.post])
        pre.append(columns + start[q.pre])
    edges = np.arange(n_bins + 1) * n / n_bins
    # A neuron belongs to the bin in which its number lies; its middle never lies on an edge
    # between bins of at least one neuron.
    found, _, _ = np.histogram2d(np.concatenate(post), np.concatenate(pre), [edges, edges])
    return found


@given(graphs())
def test_by_neuron_it_is_numpys_histogram(g: Graph) -> None:
    if not g.n_neurons:
        return
    counts = binned(g)
    assert counts.sum() == g.n_connections
    assert (counts == dense(g, len(counts))).all()


@pytest.mark.parametrize("n_bins", [1, 3, 7, 12])
def test_bins_are_numpys(n_bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "MOST_BINS", n_bins)
    monkeypatch.setattr(raster, "CHUNK", 5)
    graph = laminar(column(61, 0.4), inhibition="units", flow="keep")
    counts = binned(graph)
    assert counts.shape == (n_bins, n_bins)
    assert counts.sum() == graph.n_connections
    assert (counts == dense(graph, n_bins)).all()


@given(graphs())
def test_by_population_it_counts_projections(g: Graph) -> None:
    names = [p.name for p in sides(g)]
    if not names:
        return
    counts = binned(g, "population")
    expected = np.zeros_like(counts)
    for q in g.connectome:
        expected[names.index(q.post), names.index(q.pre)] += g.count(q)
    assert (counts == expected).all()


@given(graphs())
def test_effects_are_parts_of_the_whole(g: Graph) -> None:
    if not g.n_neurons:
        return
    for by in ("neuron", "population"):
        parts = np.sum([binned(g, by, effect=effect) for effect in EFFECTS], axis=0)
        assert (parts == binned(g, by)).all()


def test_rows_are_targets() -> None:
    edges = Synapses([2], [0], [1])  # type: ignore[arg-type]
    table = neuron_table({"neuron_id": [1, 2, 3]})
    q = Projection("n", "n", edges)
    graph = Graph((Population("n", (3,), table),), (q,), Provenance("one"))
    assert np.argwhere(binned(graph)).tolist() == [[2, 0]]
    axes: Any = graph.plot("raster")
    (image,) = axes.images
    assert image.get_extent() == [-0.5, 2.5, 2.5, -0.5]  # the first row on top
    assert image.get_array().filled(0)[2, 0] == 1


def test_the_picture_holds_the_counts() -> None:
    graph = worm()
    axes: Any = graph.plot("raster")
    assert axes.images[0].get_array().sum() == graph.n_connections
    assert f"{graph.n_connections} connections between 12 neurons" in axes.get_title("left")
    assert axes.get_xlabel().startswith("presynaptic")
    assert axes.get_ylabel().startswith("postsynaptic")


def test_signs_have_colours_and_numbers() -> None:
    graph = worm()
    labels = [t.get_text() for t in graph.plot("raster", colour="sign").get_legend().get_texts()]  # type: ignore[union-attr]
    n = {effect: int(binned(graph, effect=effect).sum()) for effect in EFFECTS}
    assert labels == [f"{word}: {n[effect]:,}" for effect, word in EFFECTS.items()]
    assert n[ELECTRICAL] == graph.count(graph.projections[1])

    one = np.array([[2, 0], [1, 0]])
    other = np.array([[1, 0], [3, 0]])
    colours = by_majority({1: one, -1: other})
    assert colours[0, 0, 0] > 0.8  # vermillion
    assert colours[1, 0, 0] == 0  # blue
    assert (colours[:, 1, 3] == 0).all()  # nothing there
    assert (colours[:, 0, 3] > 0.5).all()


def test_populations_are_named_where_there_is_room() -> None:
    axes: Any = laminar(column(400, 0.05), inhibition="units").plot("raster")
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert "L4.exc" in names
    assert names == [label.get_text() for label in axes.get_xticklabels()]


def test_the_colour_bar_ends_at_the_most() -> None:
    assert _ticks(1) == [1]
    assert _ticks(2) == [1, 2]
    assert _ticks(42) == [1, 2, 5, 10, 20, 42]
    assert _ticks(85_849_821) == [10**k for k in range(8)] + [85_849_821]
    axes: Any = worm().plot("raster")
    (inset,) = axes.child_axes
    assert [label.get_text() for label in inset.get_yticklabels()] == ["1", "2"]


def test_what_has_no_room_for_names_is_numbered() -> None:
    many = tuple(Population(f"p{k}", (1,), neuron_table({"neuron_id": [k]})) for k in range(40))
    axes: Any = Graph(many, (), Provenance("many")).plot("raster", by="population")
    assert axes.get_xlabel() == "presynaptic (populations of the graph, in its order)"
    assert axes.get_ylabel() == "postsynaptic (populations of the graph, in its order)"


def test_what_has_no_neurons_or_list_is_counted_by_population() -> None:
    with pytest.raises(CompileError, match="has no list of connections") as caught:
        mousenet(*WIRED).plot("raster")
    assert caught.value.hint.startswith('by="population"')
    graph = mousenet(*LAID)
    with pytest.raises(CompileError, match="joins channels of maps"):
        graph.plot("raster")
    axes: Any = graph.plot("raster", by="population")
    assert axes.images[0].get_array().sum() == graph.n_connections
    assert binned(graph, "population", effect=0).sum() == graph.n_connections


def test_no_neurons_are_refused() -> None:
    with pytest.raises(CompileError, match="no neurons"):
        Graph((), (), Provenance("none")).plot("raster")


def random_brain(n: int, m: int) -> Graph:
    """Return ``n`` neurons with about ``m`` random connections between them."""
    rng = np.random.default_rng(0)
    key = np.unique(rng.integers(0, n * n, m))
    edges = Synapses(
        (key // n).astype(np.int32), (key % n).astype(np.int32), np.ones(len(key), np.int32)
    )
    table = neuron_table({"neuron_id": np.arange(n), "sign": np.where(np.arange(n) % 5, 1, -1)})
    q = Projection("neurons", "neurons", edges)
    return Graph((Population("neurons", (n,), table),), (q,), Provenance("random"))


def test_memory_does_not_grow_with_the_square_of_neurons() -> None:
    graph = random_brain(50_000, 20_000)
    tracemalloc.start()
    counts = binned(graph)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts.sum() == graph.n_connections
    assert peak < 20e6  # bytes; a matrix of all pairs has 2.5e9 entries


@pytest.mark.slow
def test_a_brain_takes_about_a_second() -> None:
    graph = random_brain(140_000, 4_000_000)
    graph.plot("raster")  # imports, fonts
    for colour in ("count", "sign"):
        began = time.process_time()
        graph.plot("raster", colour=colour).figure.draw_without_rendering()  # type: ignore[union-attr]
        assert time.process_time() - began < 3.0  # 0.9 s on a quiet core


def test_a_graph_is_not_changed() -> None:
    graph = worm()
    before = graph.digest()
    graph.plot("raster")
    assert replace(graph).digest() == before
