from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worms import worm

from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._raw import Raw
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence


def read(path: Path) -> Raw:
    reader = reader_of(path)
    assert reader is not None
    assert reader.what == "GraphML"
    return reader.load(path, ReadOptions())


def edges(raw: Raw) -> list[tuple[Any, ...]]:
    return sorted(tuple(e.values()) for e in raw.edges.to_pylist())


@pytest.mark.parametrize("known", ["measured", "predicted", "modelled", "unknown"])
def test_an_export_that_comes_back_is_no_better_known(known: str, tmp_path: Path) -> None:
    made = worm(junctions=False)
    made = replace(made, provenance=replace(made.provenance, connectivity=Evidence(known)))
    path = tmp_path / "worm.graphml"
    nx.write_graphml(made.to_networkx("neuron"), path)
    back = Table(str(path)).load().provenance
    less = Evidence(known) if known in ("predicted", "modelled") else Evidence.UNKNOWN
    assert back.connectivity is less
    assert back.dataset == "table:worm" + "-modelled" * (known == "modelled")
    if less is Evidence.UNKNOWN:
        assert Table(str(path), evidence="measured").load().provenance.measured
    else:
        with pytest.raises(CompileError, match=f"is measured, but worm.graphml says {known}"):
            Table(str(path), evidence="measured").load()
    assert Table(str(path), evidence="modelled").load().provenance.connectivity == "modelled"


def page(inner: str, default: str = "directed", keys: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        f'{keys}<graph edgedefault="{default}">\n{inner}\n</graph></graphml>\n'
    )


NODES = '<node id="a"/><node id="b"/>'
WEIGHT = '<key id="w" for="edge" attr.name="weight" attr.type="double"/>'
KIND = '<key id="k" for="edge" attr.name="synapse_type" attr.type="string"/>'


def test_the_user_says_which_attributes_are_read(tmp_path: Path) -> None:
    keys = (
        WEIGHT
        + WEIGHT.replace("w", "c", 1).replace("weight", "count")
        + ('<key id="t" for="edge" attr.name="form" attr.type="string"/>')
    )
    data = '<data key="w">2</data><data key="c">5</data><data key="t">gap</data>'
    inner = f'{NODES}<edge source="a" target="b">{data}</edge>'
    path = str(write(tmp_path, page(inner, keys=keys)))
    with pytest.raises(UnsaidError, match="weight and count could both") as caught:
        Table(path).load()
    assert [option for option, _ in caught.value.answers] == [
        "weight=weight", "weight=count", "weight=none"
    ]  # fmt: skip
    for weight, n in (("weight", 2), ("count", 5), ("none", 1)):
        (projection,) = Table(path, weight=weight).load().projections
        assert projection.synapses.weight.tolist() == [n]
    (projection,) = Table(path, weight="none", kind="form").load().projections
    assert projection.kind == "electrical"
    with pytest.raises(UnknownNameError, match="did you mean 'count'"):
        Table(path, weight="cuont").load()
    with pytest.raises(CompileError, match=r"line 4: 5\.0 is not a kind"):
        Table(path, weight="none", kind="count").load()


def test_given_as_cells_it_says_what_it_leaves_out(tmp_path: Path) -> None:
    inner = f'{NODES}<edge source="a" target="b"/>'
    (tmp_path / "e.csv").write_text("pre,post\nb,a\n")
    cells = str(write(tmp_path, page(inner)))
    graph = Table(str(tmp_path / "e.csv"), cells).load()
    first = graph.provenance.steps[0]
    assert (first.name, first.options) == ("read-file", "g.graphml")
    assert {"is GraphML", "2 nodes, 1 edges"} <= set(first.notes)
    assert "1 connections in it are not read: it was given as cells" in first.notes


def write(folder: Path, text: str) -> Path:
    path = folder / "g.graphml"
    path.write_text(text)
    return path


def test_nodes_and_edges_with_their_attributes(tmp_path: Path) -> None:
    keys = (
        '<key id="n" for="node" attr.name="cell_name" attr.type="string"/>'
        '<key id="x" for="node" attr.name="size" attr.type="int"><default>7</default></key>'
        f"{WEIGHT}{KIND}"
    )
    inner = """<node id="a"><data key="n">AVA &amp; L</data></node>
    <node id="b"><data key="x">3</data></node>
    <edge source="a" target="b"><data key="w">2</data><data key="k">C</data></edge>
    <edge source="b" target="b"><data key="w">1.5</data><data key="k">EJ</data></edge>"""
    raw = read(write(tmp_path, page(inner, keys=keys)))
    assert raw.cells is not None
    assert raw.cells.to_pylist() == [
        {"neuron_id": "a", "cell_name": "AVA & L", "size": 7},
        {"neuron_id": "b", "cell_name": None, "size": 3},
    ]
    assert edges(raw) == [("a", "b", 2, "C"), ("b", "b", 1.5, "EJ")]
    assert raw.edges.column_names == ["pre", "post", "weight", "synapse_type"]
    assert "2 nodes, 2 edges" in raw.notes
    assert raw.locate is not None
    assert raw.locate(2, "weight") == "line 7"


def test_undirected_edges_run_both_ways_and_are_counted(tmp_path: Path) -> None:
    inner = f"""{NODES}<edge source="a" target="b"/><edge source="b" target="b"/>
    <edge source="b" target="a" directed="true"/>"""
    path = write(tmp_path, page(inner, "undirected"))
    raw = read(path)
    assert edges(raw) == [("a", "b", True), ("b", "a", False), ("b", "b", True)]
    assert raw.facts.undirected == "undirected"
    (projection,) = Table(str(path)).load().projections
    e = projection.synapses
    made = list(zip(e.post.tolist(), e.pre.tolist(), e.weight.tolist(), strict=True))
    assert made == [(0, 1, 2), (1, 0, 1), (1, 1, 1)]


def test_keys_of_one_name_are_one_attribute(tmp_path: Path) -> None:
    """networkx writes a key for each type of the values."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", weight=5)
    graph.add_edge("b", "a", weight=5.5)
    graph.add_node("a", size="large")
    graph.add_node("b", size=3)
    path = tmp_path / "g.graphml"
    nx.write_graphml_xml(graph, path)
    assert path.read_text().count('attr.name="weight"') == 2
    raw = read(path)
    assert edges(raw) == [("a", "b", 5), ("b", "a", 5.5)]
    assert raw.cells is not None
    assert raw.cells.column("size").to_pylist() == ["large", "3"]


attributes = st.fixed_dictionaries(
    {"weight": st.integers(1, 99)}, optional={"note": st.text("xyz<&>\"' é", min_size=1)}
)


@st.composite
def graphs(draw: st.DrawFn) -> nx.Graph[str]:
    made: nx.Graph[str] = draw(st.sampled_from([nx.Graph, nx.DiGraph, nx.MultiDiGraph]))()
    ids = [f"n<{k}>" for k in range(draw(st.integers(1, 5)))]
    for name in ids:
        made.add_node(name, depth=draw(st.floats(-1e6, 1e6)), soma=draw(st.booleans()))
    ends = st.tuples(st.sampled_from(ids), st.sampled_from(ids))
    for a, b in draw(st.lists(ends, max_size=8)):
        made.add_edge(a, b, **draw(attributes))
    return made


@given(graphs(), st.booleans())
def test_equals_what_networkx_wrote(
    tmp_path_factory: pytest.TempPathFactory, graph: nx.Graph[str], zipped: bool
) -> None:
    path = tmp_path_factory.mktemp("made") / "g.graphml"
    nx.write_graphml_xml(graph, path)
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    raw = read(path)
    assert raw.cells is not None
    table = {r["neuron_id"]: (r["depth"], r["soma"]) for r in raw.cells.to_pylist()}
    assert table == {n: (d["depth"], d["soma"]) for n, d in graph.nodes(data=True)}
    found = sorted((e["pre"], e["post"], e["weight"], e.get("note") or "") for e in
                   raw.edges.to_pylist())  # fmt: skip
    written = [(a, b, d["weight"], d.get("note", "").strip()) for a, b, d in graph.edges(data=True)]
    assert found == sorted(written)
    both_ways = bool(raw.facts.undirected)
    assert both_ways == (not graph.is_directed() and bool(written))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (page(NODES)[:-30], "is broken XML"),
        (page(NODES).replace("/><node", "><node"), r"line \d+: is broken XML"),
        (page(f'{NODES}<edge source="a" target="c"/>'), "line 4: target 'c' is not a node"),
        (page(f'{NODES}<edge source="a"/>'), "line 4: an element lacks its target"),
        (page('<node id="a"/>\n<node id="a"/>'), "line 5: node 'a' occurs twice"),
        (page(""), "has no node"),
        ("<graphml></graphml>", "has no <graph>"),
        (page("<node id='a'><graph/></node>"), "a second or nested graph"),
        (page("<hyperedge/>"), "a hyperedge is not a connection"),
        (page('<node id="a"><data key="q">1</data></node>'), "key 'q' was not declared"),
        (page(NODES, keys=WEIGHT.replace("double", "complex")), "attr.type 'complex'"),
        (
            page(f'{NODES}<edge source="a" target="b"><data key="w">x</data></edge>', keys=WEIGHT),
            "line 4: weight is 'x', expected double",
        ),
    ],
)
def test_a_bad_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        read(write(tmp_path, text))


KINDS = """<edge source="a" target="b"><data key="w">1</data><data key="k">C</data></edge>
<edge source="b" target="b"><data key="w">1</data><data key="k">peptide</data></edge>"""


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ('<edge source="a" target="b"/>', "line 4.*: a blank is not a synapse count"),
        (
            KINDS,
            "line 5.*'peptide' is not a kind of synapse",
        ),
    ],
)
def test_a_bad_value_names_the_line(tmp_path: Path, inner: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        Table(str(write(tmp_path, page(f"{NODES}{inner}", keys=WEIGHT + KIND)))).load()


def test_entities_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'
    text = page('<node id="&b;"/>').replace("<graphml", f"{bomb}<graphml")
    with pytest.raises(CompileError, match="line 2: declares a document type"):
        read(write(tmp_path, text))


def test_other_xml_is_not_graphml(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="an HTML page, such as a server's error"):
        reader_of(write(tmp_path, "<html><body>log in</body></html>"))


def test_through_the_adapter_table(tmp_path: Path) -> None:
    keys = f"{WEIGHT}{KIND}"
    inner = f"""{NODES}
    <edge source="a" target="b"><data key="w">2</data><data key="k">C</data></edge>
    <edge source="a" target="b"><data key="w">3</data><data key="k">E</data></edge>"""
    graph = Table(str(write(tmp_path, page(inner, keys=keys)))).load()
    assert [p.key for p in graph.projections] == ["neurons->neurons", "neurons->neurons:electrical"]
    assert graph.projections[0].synapses.weight.tolist() == [2]
    assert graph.projections[1].synapses.weight.tolist() == [3, 3]
    broken = page(inner.replace(">2<", ">-2<"), keys=keys)
    with pytest.raises(CompileError, match=r"1 of 2 weights are negative"):
        Table(str(write(tmp_path, broken))).load()
