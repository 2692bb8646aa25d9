"""Networks of networkx, in memory and in the formats that it reads."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raws import damaged

from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._networks import network_of
from connectome_compiler.data_adapters._raw import Raw
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence


def read(path: Path, **options: Any) -> Raw:
    reader = reader_of(path)
    assert reader is not None
    return reader.load(path, ReadOptions(**options))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def rows(raw: Raw) -> list[tuple[Any, ...]]:
    return [tuple(e.values()) for e in raw.edges.to_pylist()]


# --- in memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph])
def test_all_four_classes_of_graphs(kind: Any) -> None:
    graph = kind([(2, 1, {"weight": 5, "roi": "EB"}), (1, 1, {"weight": 2})])
    graph.add_node(7, layer="L4", depth=float("nan"))
    raw = network_of(graph)
    assert raw.cells is not None
    assert raw.cells.to_pylist() == [
        {"neuron_id": 2, "layer": None, "depth": None},
        {"neuron_id": 1, "layer": None, "depth": None},
        {"neuron_id": 7, "layer": "L4", "depth": None},
    ]
    both = {} if graph.is_directed() else {"undirected": True}
    assert raw.edges.to_pylist() == [
        {"pre": 2, "post": 1, **both, "weight": 5, "roi": "EB"},
        {"pre": 1, "post": 1, **both, "weight": 2, "roi": None},
    ]
    assert (raw.facts.shape, raw.facts.n, raw.facts.cell_id) == ("network", 3, "neuron_id")
    assert raw.facts.undirected == ("undirected" if both else "")


def test_pairs_that_occur_several_times_stay_apart() -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    graph.add_edge("a", "b", weight=1)
    graph.add_edge("a", "b", weight=2)
    assert rows(network_of(graph)) == [("a", "b", 1), ("a", "b", 2)]
    graph.add_edge("a", "b", "AL", weight=3)
    assert network_of(graph).edges.column("key").to_pylist() == ["0", "1", "AL"]


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ([1, 2], [1, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([1, None], [1, None]),
        ([True, False], [True, False]),
        (["a", 1], ["a", "1"]),
        ([2**70, 1], [2.0**70, 1.0]),
        ([{"r": 1}, [2]], ["{'r': 1}", "[2]"]),
        ([1, True], ["1", "True"]),
        (["\ud800", "b"], ["?", "b"]),
    ],
)
def test_values_of_every_type(values: list[Any], made: list[Any]) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", x=values[0])
    graph.add_edge("b", "a", x=values[1])
    assert network_of(graph).edges.column("x").to_pylist() == made


def test_names_that_are_taken_get_a_number() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node("a", neuron_id=5)
    graph.add_edge("a", "b", pre="L", post="R")
    raw = network_of(graph)
    assert raw.edges.column_names == ["pre", "post", "pre_2", "post_2"]
    assert raw.cells is not None
    assert raw.cells.column_names == ["neuron_id", "neuron_id_2"]


def test_names_of_nodes() -> None:
    for names, told in (([1, 2], [1, 2]), ([1, "b"], ["1", "b"]), ([(1, 2), "b"], ["(1, 2)", "b"])):
        graph: nx.DiGraph[Any] = nx.DiGraph()
        graph.add_nodes_from(names)
        cells = network_of(graph).cells
        assert cells is not None
        assert cells.column("neuron_id").to_pylist() == told
    graph = nx.DiGraph([(1, "1")])
    with pytest.raises(CompileError, match="two nodes called '1'"):
        network_of(graph)


def test_what_the_graph_says_of_its_evidence() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph(evidence="modelled")
    graph.add_edge("a", "b")
    assert network_of(graph).evidence is Evidence.MODELLED
    graph.graph["evidence"] = "measured"
    assert network_of(graph).evidence is Evidence.UNKNOWN


# --- files ----------------------------------------------------------------------------------------

WRITERS: dict[str, Any] = {
    "g.gml": nx.write_gml,
    "g.gexf": nx.write_gexf,
    "g.net": nx.write_pajek,
    "links.json": lambda g, p: p.write_text(json.dumps(nx.node_link_data(g, edges="links"))),
    "edges.json": lambda g, p: p.write_text(json.dumps(nx.node_link_data(g, edges="edges"))),
}
attributes = st.fixed_dictionaries({"weight": st.integers(1, 99)})


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    kinds = [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph]
    made: Any = draw(st.sampled_from(kinds))()
    ids = [f"n{k}" for k in range(draw(st.integers(2, 5)))]
    made.add_nodes_from(ids)
    ends = st.tuples(st.sampled_from(ids), st.sampled_from(ids))
    for a, b in draw(st.lists(ends, min_size=1, max_size=6)):
        made.add_edge(a, b, **draw(attributes))
    return made


@given(graphs(), st.sampled_from(sorted(WRITERS)))
def test_equals_what_networkx_wrote(
    tmp_path_factory: pytest.TempPathFactory, graph: Any, name: str
) -> None:
    path = tmp_path_factory.mktemp("made") / name
    WRITERS[name](graph, path)
    raw = read(path)

    def pair(a: Any, b: Any) -> tuple[Any, ...]:
        return (a, b) if graph.is_directed() else tuple(sorted((a, b)))

    found = sorted((*pair(e["pre"], e["post"]), e["weight"]) for e in raw.edges.to_pylist())
    assert found == sorted((*pair(a, b), d["weight"]) for a, b, d in graph.edges(data=True))
    assert bool(raw.facts.undirected) == (not graph.is_directed())
    assert raw.cells is not None
    assert raw.cells.column("neuron_id").to_pylist() == list(graph.nodes)


def test_gml_by_labels_else_by_ids(tmp_path: Path) -> None:
    text = 'Creator "x"\ngraph [ directed 1 node [ id 3 label "%s" ] node [ id 4 label "b" ]\n'
    text += "edge [ source 3 target 4 value 2 ] edge [ source 3 target 4 value 5 ] ]"
    raw = read(write(tmp_path / "a.gml", text % "a"))
    assert rows(raw) == [("a", "b", 2), ("a", "b", 5)]  # also where it is not said to be many
    assert raw.cells is not None
    assert raw.cells.to_pylist()[0] == {"neuron_id": "a", "gml_id": 3}
    raw = read(write(tmp_path / "b.gml", text % "b"))
    assert rows(raw) == [(3, 4, 2), (3, 4, 5)]
    assert raw.cells is not None
    assert raw.cells.to_pylist()[0] == {"neuron_id": 3, "label": "b"}


def test_gexf_of_gephi(tmp_path: Path) -> None:
    text = """<?xml version="1.0" encoding="UTF-8"?>
<gexf xmlns="http://gexf.net/1.3" xmlns:viz="http://gexf.net/1.3/viz" version="1.3">
<graph defaultedgetype="directed"><nodes><node id="0" label="AVAL"/><node id="1" label="b"/></nodes>
<edges><edge id="0" source="0" target="1" weight="5.0"/></edges></graph></gexf>"""
    path = write(tmp_path / "g.gexf", text)
    graph = Table(str(path), cell_id="label").load()
    assert graph.populations[0].column("neuron_id").to_pylist() == ["AVAL", "b"]
    assert graph.projections[0].synapses.weight.tolist() == [5]
    bomb = text.replace("<gexf", '<!DOCTYPE lolz [<!ENTITY a "lol">]>\n<gexf', 1)
    with pytest.raises(CompileError, match="line 2: declares a document type"):
        read(write(tmp_path / "b.gexf", bomb))


PAJEK = """*Vertices 3
1 "AVA L" 0.1 0.2 0.5
3 c
*Arcs :1 "chemical"
1 2 5
1 2 1
*Edges :2 "gap"
2 3 7
"""


def test_arcs_run_one_way_and_edges_both(tmp_path: Path) -> None:
    raw = read(write(tmp_path / "g.net", PAJEK))
    assert raw.edges.select(["pre", "post", "undirected", "weight", "relation"]).to_pylist() == [
        {"pre": p, "post": q, "undirected": u, "weight": w, "relation": r}
        for p, q, u, w, r in (
            ("AVA L", "2", False, 5, ':1 "chemical"'), ("AVA L", "2", False, 1, ':1 "chemical"'),
            ("2", "c", True, 7, ':2 "gap"'),
        )
    ]  # fmt: skip
    graph = Table(str(tmp_path / "g.net")).load()
    assert graph.n_connections == 3
    raw = read(write(tmp_path / "m.net", "*Vertices 2\n1 a\n2 b\n*Matrix\n0 3\n0 0\n"))
    assert rows(raw) == [("a", "b", 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PAJEK.replace("3 c", '3 "AVA L"'), "3 vertices have 2 labels"),
        (PAJEK.replace("2 3 7", "2 9 7"), "3 vertices have 4 labels"),
        (PAJEK.replace("*Edges", "*Arcslist"), r"a section '\*arcslist', which is not read"),
        ("*Vertices 2\n1 a\n2 b\n", "has neither"),
        ("*Vertices many\n*Arcs\n1 2\n", "is not a network of Pajek"),
        (PAJEK.replace("3 c", "3 c'"), "is not valid Pajek: No closing quotation"),
    ],
)
def test_a_bad_network_of_pajek(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        read(write(tmp_path / "g.net", text))


def test_json_that_does_not_say_whether_it_is_directed(tmp_path: Path) -> None:
    data = {"nodes": [{"id": "a"}, {"id": "b"}], "links": [{"source": "a", "target": "b"}]}
    path = write(tmp_path / "g.json", json.dumps(data))
    with pytest.raises(UnsaidError, match="whether its edges are directed") as caught:
        Table(str(path)).load()
    assert [option for option, _ in caught.value.answers] == ["mirror=no", "mirror=yes"]
    assert Table(str(path), mirror="no").load().n_connections == 1
    assert Table(str(path), mirror="yes").load().n_connections == 2


def test_links_of_a_pair_are_not_lost(tmp_path: Path) -> None:
    link = {"source": "a", "target": "b"}
    links: list[Any] = [{**link, "weight": 2, "key": "x"}, {**link, "weight": 3, "key": "y"}]
    data: dict[str, Any] = {"directed": True, "multigraph": False, "links": links}
    data["nodes"] = [{"id": "a"}, {"id": "b"}]
    raw = read(write(tmp_path / "g.json", json.dumps(data)))
    assert rows(raw) == [("a", "b", 2, "x"), ("a", "b", 3, "y")]
    data |= {"multigraph": True, "links": [{**link, "key": 1}, {**link, "key": 1}]}
    with pytest.raises(CompileError, match="2 links make 1 edges"):
        read(write(tmp_path / "g.json", json.dumps(data)))
    data |= {"links": [{"source": "a", "target": "c"}]}
    with pytest.raises(CompileError, match="lists 2 nodes, but its links join 3"):
        read(write(tmp_path / "g.json", json.dumps(data)))
    with pytest.raises(CompileError, match="is JSON, but not a node-link graph"):
        read(write(tmp_path / "g.json", '{"nodes": []}'))


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_were_cut_or_altered(tmp_path: Path, name: str) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", weight=3, kind="chemical")
    graph.add_edge("b", "c", weight=2.5)
    path, rng = tmp_path / name, random.Random(name)
    WRITERS[name](graph, path)
    for content in damaged(path.read_bytes(), rng, 60):
        path.write_bytes(content)
        said = ""
        try:
            Table(str(path), unit="nS").load()
        except CompileError as error:
            said = str(error)
        assert len(said) < 2_000
