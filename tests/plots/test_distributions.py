"""Degrees, weights and distances are those that a plain count gives."""

from typing import Any

import numpy as np
import pytest
from areas import LAID, WIRED, mousenet
from columns import column
from hypothesis import given
from strategies import graphs
from worms import worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    AllToAll,
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.plots.canvas import COLOURS, EFFECTS, effects
from connectome_compiler.plots.distributions import degrees


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


@given(graphs())
def test_degrees_are_counted_connections(g: Graph) -> None:
    inputs, outputs, junctions = degrees(g)
    of = {kind: sum(g.count(q) for q in g.connectome if q.kind == kind)
          for kind in ("chemical", "electrical")}  # fmt: skip
    assert inputs.sum() == of["chemical"]
    assert junctions.sum() == of["electrical"]
    assert len(inputs) == len(junctions) == g.n_neurons
    assert len(outputs) == sum(int(p.has_outputs().sum()) for p in g.biological)
    assert outputs.sum() <= of["chemical"]  # those of unread axons, and of images, are left out


def test_degrees_are_those_of_a_dense_matrix() -> None:
    graph = worm()
    dense = np.zeros((12, 12), int)
    q = graph.projections[0]
    dense[q.synapses.post, q.synapses.pre] = 1
    inputs, outputs, _ = degrees(graph)
    assert (inputs == dense.sum(1)).all()
    assert (outputs == dense.sum(0)).all()
    axes: Any = graph.plot("degrees")
    assert [label.split(",")[0] for label in labels(axes)] == ["inputs", "outputs", "gap junctions"]
    line = axes.lines[0]
    for at, share in zip(line.get_xdata(), line.get_ydata(), strict=True):
        assert share == pytest.approx((inputs >= at).mean())
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_unread_axons_have_no_number_of_outputs() -> None:
    table = neuron_table({"neuron_id": [1, 2], "axon_coverage": ["full", "none"]})
    q = Projection("n", "n", Synapses([0, 1], [0, 0], [1, 1]))  # type: ignore[arg-type]
    graph = Graph((Population("n", (2,), table),), (q,), Provenance("two"))
    assert degrees(graph)[1].tolist() == [2]
    assert "1 neuron without" not in "".join(labels(graph.plot("degrees")))


def test_weights_are_by_sign_with_their_unit() -> None:
    graph = worm()
    axes: Any = graph.plot("weights")
    assert axes.get_xlabel() == "weight of a connection (synapses)"
    words = [label.split(",")[0] for label in labels(axes)]
    assert words == list(EFFECTS.values())
    assert [line.get_color() for line in axes.lines] == list(COLOURS.values())
    q = graph.projections[0]
    strong = q.synapses.weight[effects(graph, q) == 1]
    xs, ys = (np.asarray(values) for values in axes.lines[0].get_data())
    assert ys.tolist() == pytest.approx([(strong >= x).mean() for x in xs])


def test_several_units_are_told_apart() -> None:
    table = neuron_table({"neuron_id": [1, 2]})
    chemical = Synapses([0], [1], [3])  # type: ignore[arg-type]
    junction = Synapses([0, 1], [1, 0], [2.0, 2.0], "nS")  # type: ignore[arg-type]
    graph = Graph(
        (Population("n", (2,), table),),
        (Projection("n", "n", chemical), Projection("n", "n", junction, kind="electrical")),
        Provenance("units"),
    )
    axes: Any = graph.plot("weights")
    assert labels(axes) == ["sign unknown, mean 3 synapses", "gap junctions, mean 2 nS"]
    assert "units of the legend" in axes.get_xlabel()


def row(n: int = 5) -> Graph:
    """Return neurons in a row, 10 µm apart, each joined to the next; the last has no position."""
    x = [10.0 * k for k in range(n - 1)] + [None]
    table = neuron_table(
        {"neuron_id": range(n), "x_um": x, "y_um": [0.0] * n, "z_um": [0.0] * n, "sign": [1] * n}
    )
    edges = Synapses(range(1, n), range(n - 1), [1] * (n - 1))  # type: ignore[arg-type]
    q = Projection("n", "n", edges)
    return Graph((Population("n", (n,), table),), (q,), Provenance("row"))


def test_distances_are_between_somata_and_those_without_are_told() -> None:
    axes: Any = row().plot("distances")
    assert axes.get_title("left").startswith("Distances of 3 connections; 1 without positions")
    assert labels(axes) == ["excitatory (3)", "random pairs"]
    edges, share = (np.asarray(v) for v in axes.lines[0].get_data())
    (at,) = np.flatnonzero(share[:-1])
    assert edges[at] <= 10.0 < edges[at + 1]
    assert axes.get_xlabel() == "distance between somata (µm)"
    assert np.asarray(axes.lines[1].get_ydata())[:-1].sum() == pytest.approx(1)


def test_what_is_not_there_is_refused_with_a_way_out() -> None:
    with pytest.raises(CompileError, match="no neuron has a position") as caught:
        column().plot("distances")
    assert "table of cells" in caught.value.hint
    for kind in ("degrees", "distances"):
        with pytest.raises(CompileError) as caught:
            mousenet(*LAID).plot(kind)
        assert caught.value.hint
    with pytest.raises(CompileError, match="joins channels") as caught:
        mousenet(*LAID).plot("degrees")
    assert 'kind="kernels"' in caught.value.hint
    mousenet(*LAID).plot("kernels")
    with pytest.raises(CompileError, match="no list of connections") as caught:
        mousenet(*WIRED).plot("degrees")
    assert 'by="population"' in caught.value.hint
    mousenet(*WIRED).plot("raster", by="population")


def test_weights_of_laws_are_listed_first() -> None:
    from connectome_compiler.passes.materialise_laws import MaterialiseLaws

    q = Projection("n", "n", AllToAll())
    table = neuron_table({"neuron_id": [1, 2, 3]})
    graph = Graph((Population("n", (3,), table),), (q,), Provenance("law"))
    with pytest.raises(CompileError, match=r"no projection .* list") as caught:
        graph.plot("weights")
    assert "materialise-laws" in caught.value.hint
    listed = graph.run(MaterialiseLaws())
    listed.plot("weights")
