"""What differs between two graphs, against sets of rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from brains import wired
from hypothesis import given
from strategies import connectomes, graphs
from worms import driven, worm

import connectome_compiler as cc
from connectome_compiler.ir import Graph, Population, Projection, Synapses
from connectome_compiler.questions.compare import REST


def rows(graph: Graph) -> dict[tuple[str, str, str], tuple[float, int]]:
    """The connections of a graph, by the text of their ids."""
    listed = graph.connections()
    if not len(listed):
        return {}
    keys = zip(listed.pre.map(str), listed.post.map(str), listed.kind, strict=True)
    values = zip(listed.weight.map(float), listed["sign"].map(int), strict=True)
    return dict(zip(keys, values, strict=True))


def ids(graph: Graph) -> set[str]:
    return {str(i) for p in graph.populations for i in p.column("neuron_id").to_pylist()}


@given(connectomes(), connectomes())
def test_neurons_and_connections_gained_lost_and_changed(one: Graph, other: Graph) -> None:
    found = one.diff(other)
    what = found.to_pandas("neurons")
    assert set(what[what.what == "gained"].neuron) == ids(other) - ids(one)
    assert set(what[what.what == "lost"].neuron) == ids(one) - ids(other)
    a, b = rows(one), rows(other)
    listed = found.to_pandas("connections")
    keys = list(zip(listed.pre, listed.post, listed.kind, strict=True))
    for word, expected in (
        ("gained", b.keys() - a.keys()),
        ("lost", a.keys() - b.keys()),
        ("changed", {k for k in a.keys() & b.keys() if a[k] != b[k]}),
    ):
        assert {k for k, w in zip(keys, listed.what, strict=True) if w == word} == expected
    assert len(keys) == len(set(keys))
    for key, (_, row) in zip(keys, listed.iterrows(), strict=True):
        for side, known in (("before", a), ("after", b)):
            cells = (row[f"weight_{side}"], row[f"sign_{side}"])
            if key in known:
                assert tuple(cells) == known[key]
            else:
                assert pd.isna(cells[0])
                assert pd.isna(cells[1])
    counts = found.to_pandas("projections")
    assert counts.gained.sum() == (listed.what == "gained").sum()
    assert counts.lost.sum() == (listed.what == "lost").sum()
    assert found.equal == (one == other)


@given(graphs())
def test_a_graph_is_equal_to_itself(graph: Graph) -> None:
    found = graph.diff(graph)
    assert found.equal
    assert all(table.num_rows == 0 for table in found.tables.values())
    assert str(found).endswith(": equal")


def test_changed_neurons_say_in_what() -> None:
    graph = worm(9)
    table = graph["neurons"].neurons
    assert table is not None
    types = ["new" if k == 3 else t for k, t in enumerate(table.column("cell_type").to_pylist())]
    at = table.column_names.index("cell_type")
    other = replace(
        graph.populations[0], neurons=table.set_column(at, "cell_type", pa.array(types))
    )
    found = graph.diff(graph.map_populations(lambda p: other))
    assert found.neurons.to_pylist() == [
        {
            "what": "changed",
            "neuron": "N3",
            "population_before": "neurons",
            "population_after": "neurons",
            "columns": "cell_type",
        }
    ]
    (row,) = found.populations.to_pylist()
    assert (row["population"], row["changed"], row["gained"]) == ("neurons", 1, 0)
    assert "1 neuron changed" in str(found)


def test_other_populations_have_the_same_connections() -> None:
    graph = worm(12)
    parts = graph.run(cc.passes.PartitionBy("role"))
    found = graph.diff(parts)
    assert found.connections.num_rows == 0
    assert set(found.neurons.column("what").to_pylist()) == {"changed"}
    assert set(found.neurons.column("columns").to_pylist()) == {"population"}
    assert found.neurons.num_rows == 12


def test_settings_are_compared_field_by_field() -> None:
    graph = driven(worm(9))
    other = graph.run(cc.passes.SetDynamics(tau_ms=77.0))
    found = graph.diff(other)
    assert not found.equal
    (row,) = found.settings.to_pylist()
    assert (row["where"], row["what"], row["after"]) == (
        "population neurons",
        "node.tau_ms",
        "77.0",
    )
    assert "1 setting changed" in found.headline
    places = worm(9).diff(graph).settings.column("where").to_pylist()
    assert {"population input", "projection input->neurons", "port input"} <= set(places)


def test_weights_and_signs_are_counted_by_projection() -> None:
    one = wired([("a", "b", 3), ("b", "c", 1)], {"a": 1, "b": 1})
    other = wired([("a", "b", 4), ("b", "c", 1), ("c", "a", 2)], {"a": 1, "b": -1})
    found = one.diff(other)
    (row,) = found.projections.to_pylist()
    assert row == {
        "projection": "neurons->neurons",
        "gained": 1,
        "lost": 0,
        "weight_changed": 1,
        "sign_changed": 1,
    }
    signs = {(r["pre"], r["post"]): (r["sign_before"], r["sign_after"]) for r in
             found.connections.to_pylist()}  # fmt: skip
    assert signs == {("c", "a"): (None, 0), ("a", "b"): (1, 1), ("b", "c"): (1, -1)}
    text = found.headline
    assert "1 connection gained" in text
    assert "2 connections changed" in text
    assert "1 neuron changed" in text  # its sign


def test_another_order_is_told() -> None:
    graph = worm(6)
    assert len(graph.projections) == 2
    other = graph.with_projections(graph.projections[::-1])
    assert REST in graph.diff(other).headline
    sized = np.ones(graph.count(graph.projections[0]))
    first = graph.projections[0]
    with_sizes = replace(first, connectivity=replace(first.synapses, size=sized))
    found = graph.diff(graph.with_projections([with_sizes, graph.projections[1]]))
    (row,) = found.settings.to_pylist()
    assert row["after"] == "edge list in synapses, with sizes"


def test_units_without_ids_are_matched_by_their_place() -> None:
    def bare(post: list[int]) -> Graph:
        edges = Synapses.from_edges(post, [0] * len(post), [1] * len(post))
        made = worm(3)
        return replace(
            made,
            populations=(Population("p", (3,)),),
            projections=(Projection("p", "p", edges),),
        )

    (row,) = bare([1]).diff(bare([1, 2])).connections.to_pylist()
    assert (row["what"], row["pre"], row["post"]) == ("gained", "p[0]", "p[2]")
