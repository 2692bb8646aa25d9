import warnings
from dataclasses import replace
from typing import Any, Literal

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    AllToAll,
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    interop,
    neuron_table,
)
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d

BIG = 864691135000000001


def graph() -> Graph:
    a = neuron_table(
        {
            "neuron_id": [BIG, BIG + 1],
            "sign": [1, None],
            "nucleus_id": [2**53 + 1, None],
            "proofread": [True, None],
            "cell_type": ["BC", None],
        }
    )
    b = neuron_table({"neuron_id": [BIG + 2]})
    edges = Synapses([0, 0], [0, 1], [3, 4], size=[0.5, 1.5])  # type: ignore[arg-type]
    return Graph(
        (Population("a", (2,), a), Population("b", (1,), b)),
        (Projection("a", "b", edges),),
        Provenance("t"),
    )


def test_no_integer_becomes_a_float() -> None:
    table = graph().neurons()
    assert table["neuron_id"].tolist() == [BIG, BIG + 1, BIG + 2]
    assert table["nucleus_id"].tolist() == [2**53 + 1, pd.NA, pd.NA]
    assert table["sign"].tolist() == [1, pd.NA, pd.NA]
    assert table["proofread"].tolist() == [True, pd.NA, pd.NA]
    assert str(table.dtypes["nucleus_id"]) == "Int64"
    assert table["population"].tolist() == ["a", "a", "b"]
    assert table["index"].tolist() == [0, 1, 0]


@pytest.mark.filterwarnings("error")
@given(connectomes())
def test_tables_have_all_rows(g: Graph) -> None:
    assert len(g.neurons()) == g.n_neurons
    assert len(g.connections()) == g.n_connections
    if g.n_neurons:
        ids = [i for p in g.biological for i in p.column("neuron_id").to_pylist()]
        assert g.neurons()["neuron_id"].tolist() == ids


def test_connections_by_id() -> None:
    (first, second) = graph().connections().to_dict("records")
    assert first["pre"] == BIG
    assert first["post"] == BIG + 2
    assert (first["weight"], first["size"], first["sign"]) == (3, 0.5, 1)
    assert (second["pre_population"], second["post_population"], second["sign"]) == ("a", "b", 0)


def test_populations_without_table_are_listed() -> None:
    bare = Population("c", (3,))
    g = Graph((*graph().populations, bare), graph().projections, Provenance("t"))
    table = g.neurons()
    assert table["population"].tolist() == ["a", "a", "b", "c", "c", "c"]
    assert table["neuron_id"].isna().tolist() == [False] * 3 + [True] * 3
    assert Graph((bare,), (), Provenance("t")).neurons()["index"].tolist() == [0, 1, 2]
    with pytest.raises(CompileError, match="population c: has no neuron table"):
        g.to_networkx("neuron")


@given(graphs())
def test_networkx_has_every_population_and_projection(g: Graph) -> None:
    view = g.to_networkx()
    assert list(view) == [p.name for p in g.populations]
    assert view.number_of_edges() == len(g.projections)
    total = sum(data["n_connections"] for _, _, data in view.edges(data=True))
    assert total == sum(g.count(q) for q in g.projections)


@given(connectomes())
def test_networkx_has_every_neuron_and_connection(g: Graph) -> None:
    view = g.to_networkx("neuron")
    assert view.number_of_nodes() == g.n_neurons
    assert view.number_of_edges() == g.n_connections
    table = g.connections()
    if len(table):
        expected = sorted(zip(table["pre"], table["post"], table["weight"], strict=True))
        assert sorted(view.edges(data="weight")) == expected


def test_networkx_leaves_out_what_is_not_known() -> None:
    view: Any = graph().to_networkx("neuron")
    assert view.nodes[BIG]["nucleus_id"] == 2**53 + 1
    assert "nucleus_id" not in view.nodes[BIG + 1]
    assert nx.descendants(view, BIG) == {BIG + 2}


def test_unknown_level() -> None:
    level: Literal["neuron"] = "neurons"  # type: ignore[assignment]
    with pytest.raises(UnknownNameError, match="did you mean 'neuron'"):
        graph().to_networkx(level)


def test_a_view_is_a_copy() -> None:
    g = graph()
    before = g.digest()
    table = g.connections()
    table["weight"] = 0
    frame = g.neurons()
    frame["neuron_id"] = np.arange(3)
    assert g.digest() == before


def electrical() -> Graph:
    """Return `graph`, with gap junctions between its populations as well."""
    there, back = (
        Projection(pre, post, Synapses(p, q, [1], "nS"), kind="electrical")  # type: ignore[arg-type]
        for pre, post, p, q in (("a", "b", [0], [1]), ("b", "a", [1], [0]))
    )
    g = graph()
    return g.with_projections([*g.projections, there, back])


def test_a_view_says_where_it_is_from_and_what_each_part_is() -> None:
    g = Graph(
        (*graph().populations, Population("image", (1, 2, 3), artificial=True)),
        (*graph().projections, Projection("image", "a", AllToAll(), delay=0)),
        Provenance("worm", "7", connectivity=Evidence.PREDICTED, licence="CC BY 4.0"),
    )
    for view in (g.to_networkx(), g.to_networkx("neuron")):
        assert view.graph == {
            "source": "worm@7",
            "evidence": "predicted",
            "licence": "CC BY 4.0",
        }
    view = g.to_networkx("population")
    assert dict(view.nodes(data=True)) == {
        "a": {"n_units": 2, "artificial": False},
        "b": {"n_units": 1, "artificial": False},
        "image": {"n_units": 6, "artificial": True},
    }
    known = {"kind": "chemical", "density": 1.0}
    assert list(view.edges(data=True)) == [
        ("a", "b", {**known, "n_connections": 2, "delay": 1}),
        ("image", "a", {**known, "n_connections": 12, "delay": 0}),
    ]
    neurons = g.to_networkx("neuron")
    assert set(neurons) == {BIG, BIG + 1, BIG + 2}
    places = [(data["population"], data["index"]) for _, data in neurons.nodes(data=True)]
    assert places == [("a", 0), ("a", 1), ("b", 0)]
    assert all("neuron_id" not in data for _, data in neurons.nodes(data=True))
    assert set(neurons.edges[BIG, BIG + 2]) == {
        "pre_population",
        "post_population",
        "kind",
        "sign",
        "weight",
        "size",
    }


def test_kinds_are_edges_of_their_own() -> None:
    assert not graph().to_networkx("neuron").is_multigraph()
    g = electrical()
    assert g.connections()["kind"].tolist() == ["chemical"] * 2 + ["electrical"] * 2
    assert g.connections().index.tolist() == [0, 1, 2, 3]
    for level in ("population", "neuron"):
        view: Any = g.to_networkx(level)
        assert view.is_multigraph()
    assert sorted(d["kind"] for d in view.get_edge_data(BIG + 1, BIG + 2).values()) == [
        "chemical",
        "electrical",
    ]


def test_units_without_ids_go_by_their_index() -> None:
    area = Population("area", (2,))
    law = Projection("area", "a", AllToAll())
    table = Graph((area, graph()["a"]), (law,), Provenance("t")).connections()
    assert table["pre"].tolist() == [0, 1, 0, 1]
    assert table["post"].tolist() == [BIG, BIG, BIG + 1, BIG + 1]
    assert list(table.columns) == [
        "pre",
        "post",
        "pre_population",
        "post_population",
        "kind",
        "sign",
    ]
    assert Graph((area,), (), Provenance("t")).connections().empty
    assert Graph((), (), Provenance("t")).neurons().empty


@pytest.mark.parametrize("transposed", [False, True])
def test_connections_of_a_convolution_are_of_channels(transposed: bool) -> None:
    """Two groups of channels: 2 -> 4 maps, kernels of 2 x 3, single weights and whole kernels."""
    kind: Any = ConvTranspose2d if transposed else Conv2d
    few, many = Population("few", (2, 4, 6)), Population("many", (4, 4, 6))
    neurons = graph()
    for per_position in (True, False):
        how = kind((2, 3), padding=(0, 1), groups=2, per_position=per_position)
        made = (4, 4 + (1 if transposed else -1), 6)
        post, pre = ([0, 1], [1, 0]) if transposed else ([1, 2], [0, 0])
        pre = [6 * k + 5 for k in pre] if per_position else pre
        law = Synapses.from_edges(post, pre, [1, 1])
        q = Projection("few", "many", law, operator=how)
        both = (few, replace(many, shape=made), *neurons.populations)
        both_graph = Graph(both, (q, *neurons.projections), Provenance("t"))
        both_graph.verify()
        table = both_graph.connections()
        maps, others = table[table.pre_population == "few"], table[table.pre_population == "a"]
        assert maps["pre"].isna().all()
        assert maps["post"].isna().all()
        assert maps["pre_channel"].tolist() == ([1, 0] if transposed else [0, 1])
        assert maps["post_channel"].tolist() == ([2, 1] if transposed else [1, 2])
        place = ([1, 1], [2, 2]) if per_position else ([-1, -1], [-1, -1])
        assert (maps["row"].tolist(), maps["column"].tolist()) == place
        assert others["pre"].tolist() == [BIG, BIG + 1]
        assert others["pre_channel"].tolist() == [-1, -1]
    assert "pre_channel" not in neurons.connections()


def test_columns_that_are_called_as_ours_give_way() -> None:
    mine = neuron_table({"neuron_id": [1, 2], "population": ["x", "y"], "index": [7, 8]})
    table = Graph((Population("a", (2,), mine),), (), Provenance("t")).neurons()
    assert table["population"].tolist() == ["a", "a"]
    assert table["index"].tolist() == [0, 1]
    assert table.columns.is_unique


@pytest.mark.parametrize("n", [1, 2])
def test_a_graph_that_networkx_is_slow_on_warns(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interop, "MANY_EDGES", n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph().to_networkx("population")
        assert not caught
        graph().to_networkx("neuron")
    assert [w.filename for w in caught] == [__file__] * (n < graph().n_connections)
