from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import references
from hypothesis import given
from hypothesis import strategies as st
from references import neurons

from connectome_compiler.data_adapters import _sonata
from connectome_compiler.data_adapters._raw import Raw
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError


def read(path: Path, population: str = "") -> Raw:
    reader = reader_of(path)
    assert reader is not None
    assert reader.what in ("a SONATA file", "arrays in HDF5 (also MATLAB 7.3)")
    return reader.load(path, ReadOptions(population=population))


def edges(raw: Raw) -> list[tuple[Any, ...]]:
    columns = ["pre", "post", *(c for c in ("nsyns", "syn_weight") if c in raw.edges.column_names)]
    return sorted(tuple(e.values()) for e in raw.edges.select(columns).to_pylist())


def add_nodes(file: Any, name: str, types: list[int], **attributes: list[Any]) -> None:
    group = file.create_group(f"nodes/{name}")
    group["node_type_id"] = types
    group["node_id"] = np.arange(len(types))
    group["node_group_id"] = np.zeros(len(types), int)
    group["node_group_index"] = np.arange(len(types))
    inner = group.create_group("0")
    for key, values in attributes.items():
        inner[key] = values


def add_edges(
    file: Any, name: str, pre: tuple[str, list[int]], post: tuple[str, list[int]], **attributes: Any
) -> Any:
    group = file.create_group(f"edges/{name}")
    for column, (population, ids) in (("source_node_id", pre), ("target_node_id", post)):
        group[column] = np.array(ids, np.uint64)
        group[column].attrs["node_population"] = population
    n = len(pre[1])
    group["edge_type_id"] = np.full(n, 100)
    group["edge_group_id"] = np.zeros(n, int)
    group["edge_group_index"] = np.arange(n)
    inner = group.create_group("0")
    for key, values in attributes.items():
        inner[key] = values
    return group


@pytest.fixture
def circuit(tmp_path: Path) -> Path:
    """Three cells of V1 that a cell of the LGN drives, in one file."""
    path = tmp_path / "net.h5"
    with h5py.File(path, "w") as file:
        add_nodes(file, "v1", [1, 1, 2], x=[0.5, 1.5, 2.5], label=["p", "q", "r"])
        add_nodes(file, "lgn", [3])
        recurrent = {"nsyns": np.array([2, 3], np.uint16), "delay": [1.0, 2.0]}
        add_edges(file, "v1_to_v1", ("v1", [0, 2]), ("v1", [1, 0]), **recurrent)
        add_edges(file, "lgn_to_v1", ("lgn", [0, 0]), ("v1", [2, 2]))
    return path


def test_nodes_and_edges_of_all_populations(circuit: Path) -> None:
    raw = read(circuit)
    assert raw.cells is not None
    assert {r["neuron_id"]: r for r in raw.cells.to_pylist()} == {
        f"v1/{k}": {
            "neuron_id": f"v1/{k}", "population": "v1", "node_type_id": t, "x": k + 0.5,
            "label": "pqr"[k],
        }
        for k, t in enumerate([1, 1, 2])
    } | {
        "lgn/0": {
            "neuron_id": "lgn/0", "population": "lgn", "node_type_id": 3, "x": None, "label": None,
        }
    }  # fmt: skip
    assert edges(raw) == [
        ("lgn/0", "v1/2", 1), ("lgn/0", "v1/2", 1), ("v1/0", "v1/1", 2), ("v1/2", "v1/0", 3),
    ]  # fmt: skip
    for note in (
        "3 nodes of population v1",
        "2 edges of population v1_to_v1, v1 to v1, with delay, nsyns",
        "2 edges of population lgn_to_v1, lgn to v1",
        "2 edges without nsyns: each is one synapse",
        "no table of node types beside it (net_node_types.csv)",
        "no table of edge types beside it (net_edge_types.csv)",
    ):
        assert note in raw.notes


def test_one_population_of_edges(circuit: Path) -> None:
    raw = read(circuit, "lgn_to_v1")
    assert edges(raw) == [("lgn/0", "v1/2")] * 2
    assert (raw.facts.weight, raw.facts.rows_are) == ("", "synapses")
    with pytest.raises(UnknownNameError, match="lgn_to_v2") as caught:
        read(circuit, "lgn_to_v2")
    assert "lgn_to_v1" in caught.value.hint


def test_types_of_nodes_are_joined(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v1_nodes.h5", "w") as file:
        add_nodes(file, "v1", [7, 5])
    types = tmp_path / "v1_node_types.csv"
    types.write_text('node_type_id pop_name ei\n5 "e 4" e\n7 i4Pvalb NULL\n')
    raw = read(tmp_path / "v1_nodes.h5")
    assert raw.cells is not None
    assert raw.cells.column("pop_name").to_pylist() == ["i4Pvalb", "e 4"]
    assert raw.cells.column("ei").to_pylist() == [None, "e"]
    assert raw.edges.num_rows == 0
    for text, message in (
        ("node_type_id ei\n5 e\n", "node_type_id 7 of node 0 is not in the table"),
        ("node_type_id ei\n5\n", "line 2: has 1 values, expected 2"),
        ("node_type_id ei\n5 e\n5 i\n", "a type occurs twice"),
        ("node_type_id ei\nx e\n", "holds no whole numbers"),
        ("ei\ne\n", "has no column node_type_id"),
        ("", "is not a table of types"),
    ):
        types.write_text(text)
        with pytest.raises(CompileError, match=message):
            read(tmp_path / "v1_nodes.h5")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 1)), max_size=9))
def test_attributes_in_several_groups(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("made") / "e.h5"
    weights = [[0.5 * k + 100 * g for k in range(len(rows))] for g in (0, 1)]
    with h5py.File(path, "w") as file:
        ends = (("a", [r[0] for r in rows]), ("b", [r[1] for r in rows]))
        group = add_edges(file, "e", *ends, syn_weight=np.array(weights[0], np.float32))
        group["1/syn_weight"] = np.array(weights[1], np.float64)
        group["edge_group_id"][:] = [r[2] for r in rows]
        group["edge_group_index"][:] = np.arange(len(rows))[::-1]
    raw = read(path)
    assert raw.cells is None
    backwards = range(len(rows) - 1, -1, -1)
    assert edges(raw) == sorted(
        (f"a/{pre}", f"b/{post}", weights[g][k])
        for (pre, post, g), k in zip(rows, backwards, strict=True)
    )


def test_a_single_group_needs_no_index(circuit: Path) -> None:
    with h5py.File(circuit, "a") as file:
        for name in ("edge_group_id", "edge_group_index"):
            del file[f"edges/v1_to_v1/{name}"]
    assert edges(read(circuit, "v1_to_v1")) == [("v1/0", "v1/1", 2), ("v1/2", "v1/0", 3)]


def change(name: str, *values: Any) -> Any:
    def changed(file: Any) -> None:
        attributes = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        for value in values:
            file[name] = value
            file[name].attrs.update(attributes)

    return changed


E = "edges/v1_to_v1"


@pytest.mark.parametrize(
    ("altered", "message"),
    [
        (change(f"{E}/target_node_id", [1, 3]), r"target_node_id, edge 1: is 3, expected 0 to 2"),
        (change(f"{E}/source_node_id", [-1, 0]), r"source_node_id, edge 0: is -1, expected"),
        (change(f"{E}/source_node_id", [0.5, 1]), "holds float64, expected whole numbers"),
        (change(f"{E}/source_node_id", [0]), "has 1 sources and 2 targets"),
        (change(f"{E}/source_node_id"), "has no source_node_id, only"),
        (change(f"{E}/0/nsyns", [2]), "edge 1 is row 1 of group 0, which has 1"),
        (change(f"{E}/0/nsyns", ["a", "b"]), "nsyns must hold numbers, not string"),
        (change(f"{E}/edge_group_id", [0, 4]), "there is no group 4"),
        (change(f"{E}/edge_group_id", [0]), "edge_group_id or _index does not have 2 values"),
        (change("nodes/v1/node_type_id"), "has no node_type_id"),
        (change("nodes/v1/node_id", [0, 2, 1]), "must be 0 to 2 in order"),
        (change("nodes/v1", 5), "/nodes/v1: is not a group"),
        (change("edges", [1]), "/edges: is not a group"),
        (lambda f: f[f"{E}/source_node_id"].attrs.clear(), "has no attribute node_population"),
        (
            lambda f: f.move("nodes", "cells") or f.move("edges", "links"),
            "without a matrix of numbers: cells/",
        ),
    ],
)
def test_a_bad_file_names_the_place(circuit: Path, altered: Any, message: str) -> None:
    with h5py.File(circuit, "a") as file:
        altered(file)
    with pytest.raises(CompileError, match=message) as caught:
        read(circuit)
    assert caught.value.where.startswith(str(circuit))


def test_an_unknown_population_of_nodes(circuit: Path) -> None:
    with h5py.File(circuit, "a") as file:
        file[f"{E}/source_node_id"].attrs["node_population"] = "v2"
    with pytest.raises(UnknownNameError, match="node population 'v2'") as caught:
        read(circuit)
    assert caught.value.hint == "known: lgn, v1"


@pytest.mark.parametrize("kept", [8, 100, 2000])
def test_a_truncated_file(circuit: Path, kept: int) -> None:
    circuit.write_bytes(circuit.read_bytes()[:kept])
    with pytest.raises(CompileError, match="is a broken HDF5 file") as caught:
        read(circuit)
    assert "again" in caught.value.hint


def test_without_h5py_it_says_how_to_get_it(circuit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CompileError, match="need the package h5py") as caught:
        read(circuit)
    assert "'.[files]'" in caught.value.hint


def test_through_the_adapter_table(circuit: Path) -> None:
    graph = Table(str(circuit)).load()
    assert graph.n_neurons == 4
    assert graph.n_connections == 3
    assert graph.projections[0].synapses.weight.sum() == 7
    table = graph.populations[0]
    assert table.column("neuron_id").to_pylist() == ["lgn/0", "v1/0", "v1/1", "v1/2"]
    with h5py.File(circuit, "a") as file:
        file[f"{E}/0/nsyns"][...] = 0
    graph = Table(str(circuit)).load()  # an edge of no synapse is no connection
    assert graph.n_connections == 1
    assert any("2 rows of weight 0" in n for s in graph.provenance.steps for n in s.notes)


def test_types_of_edges_are_joined(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v1_edges.h5", "w") as file:
        group = add_edges(file, "e", ("v1", [0, 1, 2]), ("v1", [1, 2, 0]), delay=[1.0, 2.0, 3.0])
        group["edge_type_id"][...] = [100, 101, 100]
    types = tmp_path / "v1_edge_types.csv"
    types.write_text(
        "edge_type_id target_query syn_weight delay\n100 * 0.5 9\n101 \"ei=='i'\" -2 9\n"
    )
    raw = read(tmp_path / "v1_edges.h5")
    assert raw.edges.drop_columns(["pre", "post"]).to_pylist() == [
        {"delay": d, "edge_type_id": t, "target_query": q, "syn_weight": w}
        for d, t, q, w in ((1, 100, "*", 0.5), (2, 101, "ei=='i'", -2), (3, 100, "*", 0.5))
    ]
    assert raw.facts.rows_are == ""
    assert "types of edges from v1_edge_types.csv" in raw.notes
    types.write_text("edge_type_id syn_weight\n100 0.5\n")
    with pytest.raises(CompileError, match="edge_type_id 101 of edge 1 is not in the table"):
        read(tmp_path / "v1_edges.h5")


def test_a_number_that_is_not_known_is_missing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v1_nodes.h5", "w") as file:
        add_nodes(file, "v1", [1, 1], angle=[0.5, float("nan")])
    raw = read(tmp_path / "v1_nodes.h5")
    assert raw.cells is not None
    assert raw.cells.column("angle").to_pylist() == [0.5, None]


def test_many_attributes_are_left_where_they_are(
    circuit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sonata, "MOST_READ", 3)
    raw = read(circuit, "v1_to_v1")
    assert raw.edges.column_names == ["pre", "post", "nsyns"]
    assert "attributes of edges v1_to_v1 that are not read, to save memory: delay" in raw.notes


def test_the_user_says_which_attribute_is_the_weight(circuit: Path) -> None:
    one = {"population": "v1_to_v1"}
    graph = Table(str(circuit), weight="delay", unit="ms", **one).load()
    assert sorted(graph.projections[0].synapses.weight.tolist()) == [1, 2]
    graph = Table(str(circuit), weight="none", **one).load()
    assert graph.projections[0].synapses.weight.tolist() == [1, 1]
    with pytest.raises(UnknownNameError, match="did you mean 'delay'"):
        Table(str(circuit), weight="delai", **one).load()


def test_nodes_and_edges_in_files_of_their_own(circuit: Path, tmp_path: Path) -> None:
    together = Table(str(circuit)).load()
    for part, other in (("nodes", "edges"), ("edges", "nodes")):
        (tmp_path / f"net_{part}.h5").write_bytes(circuit.read_bytes())
        with h5py.File(tmp_path / f"net_{part}.h5", "a") as file:
            del file[other]
    paths = str(tmp_path / "net_edges.h5"), str(tmp_path / "net_nodes.h5")
    apart = Table(*paths).load()
    assert neurons(apart) == neurons(together)
    assert references.edges(apart) == references.edges(together)
    with pytest.raises(CompileError, match="is a SONATA file without cells"):
        Table(paths[0], paths[0]).load()
