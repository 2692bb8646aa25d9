"""What is asked of one neuron, and how neurons are named."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from areas import LAID, mousenet
from brains import wired
from hypothesis import given
from hypothesis import strategies as st
from strategies import connectomes
from worms import worm

import connectome_compiler as cc
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph
from connectome_compiler.questions.answer import MOST_ROWS
from connectome_compiler.questions.wiring import Roll


@given(connectomes(min_populations=1), st.data())
def test_partners_are_those_of_the_table_of_connections(graph: Graph, data: st.DataObject) -> None:
    ids = [i for p in graph.populations for i in p.column("neuron_id").to_pylist()]
    if not ids:
        return
    name = data.draw(st.sampled_from(ids))
    found = graph.neuron(name)
    listed = graph.connections()
    if not len(listed):
        listed = pd.DataFrame(columns=["pre", "post", "kind", "weight", "sign"])
    chemical = listed[listed.kind == "chemical"]
    for table, end, other in ((found.inputs, "post", "pre"), (found.outputs, "pre", "post")):
        rows = chemical[chemical[end] == name]
        expected = {(r[other], abs(r["weight"]), r["sign"]) for _, r in rows.iterrows()}
        names, weights, signs = (table.column(c).to_pylist() for c in ("partner", "weight", "sign"))
        assert set(zip(names, weights, signs, strict=True)) == expected
        assert len(names) == len(rows)
        assert weights == sorted(weights, reverse=True)
        assert not sum(weights) or sum(table.column("share").to_pylist()) == pytest.approx(1)
    gaps = listed[(listed.kind == "electrical") & (listed.post == name)]
    assert sorted(found.junctions.column("partner").to_pylist()) == sorted(gaps.pre)
    assert graph[found.population].column("neuron_id")[found.index].as_py() == found.neuron_id
    assert str(name) in str(found)


def test_it_prints_and_gives_tables() -> None:
    graph = worm(40, 0.9)
    found = graph.neuron("N3")
    text = str(found)
    assert text.startswith("N3 (")
    assert "neurons[3]" in text
    assert f"... and {found.inputs.num_rows - MOST_ROWS} more" in text
    frame = found.to_pandas("outputs")
    assert list(frame.columns) == ["partner", "population", "cell_type", "weight", "share", "sign"]
    assert found.to_pandas().equals(found.to_pandas("inputs"))
    assert found.as_dict()["outputs"][0]["partner"] == frame.partner[0]
    with pytest.raises(UnknownNameError, match="did you mean 'inputs'"):
        found.table("input")


def test_wrong_names_get_the_nearest() -> None:
    graph = worm(12)
    with pytest.raises(UnknownNameError, match="did you mean 'N1"):
        graph.neuron("N1l")
    with pytest.raises(CompileError, match="is the cell type of 3 neurons") as caught:
        graph.neuron("AVA")
    hinted = caught.value.hint.removeprefix("name one of them: ").split(", ")
    assert [graph.neuron(name).known["cell_type"] for name in hinted] == ["AVA"] * 3
    assert graph.neuron("neurons[7]").neuron_id == "N7"
    for nothing in ("neurons[12]", "neurons[-1]", "other[0]", "neurons[99999999999999999999]"):
        with pytest.raises(UnknownNameError):
            graph.neuron(nothing)


def test_units_without_a_table_are_called_by_their_place() -> None:
    graph = worm(12)
    bare = graph.map_populations(lambda p: replace(p, neurons=None))
    found = bare.neuron("neurons[2]")
    assert found.neuron_id == "neurons[2]"
    partners = graph.neuron("N2").outputs.column("partner").to_pylist()
    assert found.outputs.column("partner").to_pylist() == [f"neurons[{p[1:]}]" for p in partners]
    assert found.outputs.column("cell_type").null_count == found.outputs.num_rows
    with pytest.raises(UnknownNameError, match=r"did you mean 'neurons\[0\]'"):
        bare.neuron("neuron[0]")


def test_groups_have_many_names() -> None:
    roll = Roll.of(worm(12))
    assert roll.find("N4").tolist() == [4]
    assert roll.find("AVA").tolist() == [0, 5, 10]
    assert roll.find("neurons").tolist() == list(range(12))
    assert roll.find('role == "motor"').tolist() == [8, 9, 10, 11]
    assert roll.find('not role == "motor"').tolist() == list(range(8))
    assert roll.find(["N4", "AVA", "N5"]).tolist() == [0, 4, 5, 10]
    assert roll.find([]).tolist() == []
    with pytest.raises(CompileError, match="no neuron has role 'motr'"):
        roll.find('role == "motr"')
    with pytest.raises(UnknownNameError, match="did you mean 'role'"):
        roll.find('roles == "motor"')


def test_signs_are_those_of_the_connections() -> None:
    graph = wired([("a", "b", 3), ("c", "b", 2), ("d", "b", 1)], {"a": 1, "c": -1})
    assert graph.neuron("b").inputs.column("sign").to_pylist() == [1, -1, 0]
    assert [line.split()[-1] for line in str(graph.neuron("b")).splitlines()[4:7]] == [
        "+",
        "-",
        "?",
    ]


def test_a_network_of_maps_has_no_neurons_to_ask() -> None:
    graph = mousenet(*LAID)
    with pytest.raises(CompileError, match="joins channels of maps"):
        graph.neuron(f"{graph.biological[0].name}[0]")


def test_select_by_names_and_by_expression() -> None:
    graph = worm(12)
    few = graph.select(["AVA", "N4"])
    assert few["neurons"].column("neuron_id").to_pylist() == ["N0", "N4", "N5", "N10"]
    assert few.provenance.steps[-1].name == "select-neurons"
    assert few.provenance.steps[-1].options == """where='cell_type == "AVA" or neuron_id == "N4"'"""
    assert few == graph.run(cc.passes.SelectNeurons('neuron_id in ("N0", "N4", "N5", "N10")'))
    mixed = graph.select(['role == "motor"', "N4"])
    assert mixed["neurons"].column("neuron_id").to_pylist() == ["N4", "N8", "N9", "N10", "N11"]
    with pytest.raises(CompileError, match="no neurons are named"):
        graph.select([])
    table = graph["neurons"].neurons
    assert table is not None
    named = table.append_column("population", pa.array(["neurons"] + ["x"] * 11))
    other = graph.map_populations(lambda p: replace(p, neurons=named))
    assert other.select("neurons").n_neurons == 12  # the column is of the data
    where = 'role == "motor" and sign == 1'
    assert graph.select(where) == graph.run(cc.passes.SelectNeurons(where))
    assert graph.select("neurons") == graph
    kept = graph.projection("neurons->neurons").synapses
    assert len(graph.select("N3").projection("neurons->neurons").synapses.post) == int(
        ((kept.post == 3) & (kept.pre == 3)).sum()
    )
    assert np.array_equal(kept.post, graph.projection("neurons->neurons").synapses.post)
