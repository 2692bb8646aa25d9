from typing import Any, Literal

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph, Population, Projection, Provenance, Synapses, neuron_table

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
