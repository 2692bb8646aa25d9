"""Every hint, followed: what comes out is right."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import openpyxl
import pandas as pd
import pytest
from references import edges

from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.options import Raw
from connectome_compiler.recipe import load_recipe


def followed(error: CompileError, answer: str, given: dict[str, Any]) -> Table:
    """Return the adapter with the options of an answer, as the command line takes them."""
    if isinstance(error, UnsaidError):
        assert answer in [option for option, _ in error.answers]
    else:
        assert all(part in error.hint for part in answer.split(" --set "))
    said = dict(part.split("=", 1) for part in answer.split(" --set "))
    said = {name: value.strip('"') for name, value in said.items()}
    settings = {**given, **{name: Raw(value) for name, value in said.items()}}
    adapter = load_recipe("table", settings).source.make()
    assert isinstance(adapter, Table)
    return adapter


def weights(adapter: Table) -> dict[Any, Any]:
    """Return weights by pre and post, and the kind of electrical ones."""
    return {
        (pre, post) if kind == "chemical" else (kind, pre, post): value[0]
        for (kind, pre, post), value in edges(adapter.load()).items()
    }


# --- lists, rules, cells --------------------------------------------------------------------------

AB, BC = ("a", "b"), ("b", "c")
BOTH = {AB: 5, BC: 7}
GAP = {("electrical", "a", "b"), ("electrical", "b", "a")}
LIST = "pre,post,n; a,b,5; b,c,7"
GAPS = "pre,post,n,type; a,b,4,gap; b,a,6,gap"

# Connections, cells, options; what is said; the answer that is followed; what comes out.
Case = tuple[str, str, dict[str, Any], str, str, dict[Any, Any]]
CASES: list[Case] = [
    ("pre,post,foo; a,b,5; b,c,7", "", {}, "foo holds numbers", "weight=foo", BOTH),
    ("pre,post,foo; a,b,5; b,c,7", "", {}, "foo holds numbers", "weight=none", {AB: 1, BC: 1}),
    ("pre,post,a b; a,b,5; b,c,7", "", {}, "a b holds", 'weight="a b"', BOTH),
    ("pre,post,weight,count; a,b,5,1; b,c,7,1", "", {}, "both be", "weight=weight", BOTH),
    ("pre,post,weight,count; a,b,5,1; b,c,7,1", "", {}, "both be", "weight=none", {AB: 1, BC: 1}),
    ("pre,post,contact_area; a,b,5; b,c,7", "", {}, "by their name", "unit=um2", BOTH),
    ("pre,post,contact_area; a,b,5; b,c,7", "", {}, "by their name", "unit=synapses", BOTH),
    ("pre,post,weight; a,b,5; b,c,-7", "", {}, "are negative", "signs=weight", BOTH),
    (
        *("pre,post,weight; a,b,5; b,c,-7", "", {}, "are negative"),
        *("signs=none --set unit=a.u.", {AB: 5, BC: -7}),
    ),
    (
        *("pre,post,weight; a,b,5; b,c,-7", "", {"unit": "mV"}, "are negative", "signs=none"),
        {AB: 5, BC: -7},
    ),
    ("pre,post,weight; a,b,0.5; b,c,7", "", {}, "is not a synapse count", "unit=um2",
     {AB: 0.5, BC: 7}),
    ("a,b,5; b,c,7", "", {}, "could be data", "header=none", BOTH),
    ("a,b; c,d; e,f", "", {}, "no known names of both ends", "header=none",
     {AB: 1, ("c", "d"): 1, ("e", "f"): 1}),
    ("a,b,5; a,c,7", "", {"pre": "a", "post": "b", "weight": "5"}, "could be data",
     "header=first", {("a", "c"): 7}),
    ("1,2,5; 2,3,7; 3,1,2", "", {}, "could be a list", "header=none",
     {(1, 2): 5, (2, 3): 7, (3, 1): 2}),
    ("1,5; 7,2", "", {}, "could be a list", "header=none --set orientation=pre-post",
     {(0, 0): 1, (0, 1): 5, (1, 0): 7, (1, 1): 2}),
    ("1,5; 7,2", "", {}, "could be a list", "header=none --set orientation=post-pre",
     {(0, 0): 1, (1, 0): 5, (0, 1): 7, (1, 1): 2}),
    ("presyn,postsyn,n; a,b,5; b,c,7", "", {}, "no known names", "pre=presyn --set post=postsyn",
     BOTH),
    ("pre x,post x,n; a,b,5; b,c,7", "", {}, "no known", 'pre="pre x" --set post="post x"', BOTH),
    ("pre,post,source,target,n; a,b,x,y,5; b,c,y,x,7", "", {}, "could be pre and post or source",
     "pre=pre --set post=post", BOTH),
    (GAPS, "", {}, "different weights", "unequal=max", dict.fromkeys(GAP, 6)),
    (GAPS, "", {}, "different weights", "unequal=mean", dict.fromkeys(GAP, 5)),
    (GAPS, "", {}, "different weights", "unequal=sum", dict.fromkeys(GAP, 10)),
    ("pre,post,n,type; a,b,5,x; b,c,7,y", "", {}, "does not say whether", "kind=none", BOTH),
    ("pre,post,n,type; a,b,5,x", "", {}, "does not say", "kind=electrical", dict.fromkeys(GAP, 5)),
    ("pre,post,n,type; a,b,5,chemical; b,c,7,y", "", {}, "is not a kind", "kind=none", BOTH),
    ("pre,post,n,type,kind; a,b,5,gap,chem; b,c,7,gap,chem", "", {}, "both be the kind",
     "kind=kind", BOTH),
    ("bodyId_pre,bodyId_post,roi,weight; 1,2,EB,9; 1,2,EBr1,4", "", {}, "once per region",
     "roi=sum", {(1, 2): 13}),
    ("bodyId_pre,bodyId_post,roi,weight; 1,2,EB,9; 1,2,EBr1,4; 1,2,FB,1", "", {},
     "once per region", "roi=EB,EBr1", {(1, 2): 13}),
    ("pre;post;n\na;b;0,5\n", "", {}, "has a comma", "decimal=comma --set unit=a.u.", {AB: 0.5}),
    ('pre,post,n\na,b,"1,200"\n', "", {}, "has a comma", "decimal=point", {AB: 1200}),
    (LIST, "id; a; b; b; c", {}, "occurs twice", "repeated_cells=first", BOTH),
    ("pre,post,n; a,b,5; a,c,7", "id; a; b; b; c", {}, "occurs twice", "repeated_cells=drop",
     {("a", "c"): 7}),
    (LIST, "id; a; b", {}, "not in the cell table", "unknown_neurons=drop", {AB: 5}),
    (LIST, "soma,x; a,1; b,2; c,3", {}, "no column of ids", "cell_id=soma", BOTH),
    ("pre,post,n; 1,2,5", "id,root_id; 1,2; 2,1", {}, "both have ids", "cell_id=id", {(1, 2): 5}),
    ("0,5,0; 0,0,7; 0,0,0", "soma,x; a,1; b,2; c,3", {"orientation": "pre-post"},
     "no column of ids", "cell_id=order", {(0, 1): 5, (1, 2): 7}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "cells", "given", "problem", "answer", "expected"), CASES)
def test_a_hint_that_is_followed_leads_to_the_right_connections(
    tmp_path: Path,
    text: str,
    cells: str,
    given: dict[str, Any],
    problem: str,
    answer: str,
    expected: dict[Any, Any],
) -> None:
    options = dict(given)
    for name, content in (("edges", text), ("cells", cells)):
        if content:
            rows = content if "\n" in content else "\n".join(content.split("; ")) + "\n"
            (tmp_path / f"{name}.csv").write_text(rows)
            options[name] = str(tmp_path / f"{name}.csv")
    with pytest.raises(CompileError, match=problem) as caught:
        Table(**options).load()
    found = weights(followed(caught.value, answer, options))
    assert found == expected


def test_a_list_that_repeats_pairs_can_be_summed(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("pre,post,n\na,b,5\na,b,7\n")
    given = {"edges": str(path), "duplicates": "error"}
    with pytest.raises(CompileError, match="occurs twice") as caught:
        Table(**given).load()
    assert weights(followed(caught.value, "duplicates=sum", given)) == {AB: 12}


def test_columns_without_known_names_are_named(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("one,two,n\na,b,5\nb,c,7\n")
    with pytest.raises(UnsaidError, match="no columns for both ends") as caught:
        Table(str(path)).load()
    assert caught.value.answers[0][0] == "pre=COLUMN --set post=COLUMN"
    assert weights(Table(str(path), pre="one", post="two")) == BOTH


# --- matrices, networks, formats ------------------------------------------------------------------

SYMMETRIC = ",a,b,c; a,,5,; b,5,,7; c,,7,"
UPPER = "0,12,3; 0,0,7; 0,0,0"
PIVOT = ",a,b,All; a,0,5,5; b,2,0,2; All,2,5,7"
CORNER = ",3,5; 3,,4; 5,6,"
TWO_WAYS = {AB: 5, ("b", "a"): 2}
MATRICES: list[tuple[str, dict[str, Any], str, str, dict[Any, Any]]] = [
    (",a,b; a,0,5; b,2,0", {}, "which does not say", "orientation=pre-post", TWO_WAYS),
    (",a,b; a,0,5; b,2,0", {}, "which does not say", "orientation=post-pre",
     {AB: 2, ("b", "a"): 5}),
    (SYMMETRIC, {}, "exactly symmetric", "kind=chemical",
     {AB: 5, ("b", "a"): 5, BC: 7, ("c", "b"): 7}),
    (SYMMETRIC, {}, "exactly symmetric", "kind=electrical",
     {**dict.fromkeys(GAP, 5), **{("electrical", *p): 7 for p in (BC, BC[::-1])}}),
    (UPPER, {"orientation": "pre-post"}, "nothing below its diagonal", "mirror=no",
     {(0, 1): 12, (0, 2): 3, (1, 2): 7}),
    (UPPER, {"orientation": "pre-post"}, "nothing below its diagonal", "mirror=yes",
     {(0, 1): 12, (0, 2): 3, (1, 2): 7, (1, 0): 12, (2, 0): 3, (2, 1): 7}),
    (PIVOT, {"orientation": "pre-post"}, "look like totals", "totals=drop", TWO_WAYS),
    (CORNER, {"orientation": "pre-post"}, "numbers alone", "header=first", {(3, 5): 4, (5, 3): 6}),
    (CORNER, {"orientation": "pre-post"}, "numbers alone", "header=none",
     {(0, 1): 3, (0, 2): 5, (1, 0): 3, (1, 2): 4, (2, 0): 5, (2, 1): 6}),
    ("1,2,3,4; 4,3,2,1; 2,1,4,3", {"orientation": "pre-post"}, "3 rows and 4 columns",
     "header=none --set pre=1 --set post=2", {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "given", "problem", "answer", "expected"), MATRICES)
def test_what_is_said_of_a_matrix(
    tmp_path: Path, text: str, given: dict[str, Any], problem: str, answer: str, expected: Any
) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\n".join(text.split("; ")) + "\n")
    options = {"edges": str(path), **given}
    with pytest.raises(CompileError, match=problem) as caught:
        Table(**options).load()
    if not expected:  # the direction that was given is then one too many
        options = {"edges": str(path), "weight": "3"}
        expected = {(1, 2): 3, (4, 3): 2, (2, 1): 4}
    assert weights(followed(caught.value, answer, options)) == expected


def test_sheets_and_variables_are_chosen(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for k, title in enumerate(("herm chemical", "male")):
        page = book.create_sheet(title)
        for row in ([None, "a", "b"], ["a", 0, 5 + k], ["b", 2, 0]):
            page.append(row)
    book.save(tmp_path / "m.xlsx")
    np.savez(tmp_path / "m.npz", A=np.array([[0, 5], [2, 0]]), B=np.array([[0, 6], [2, 0]]))
    for name, answer, end in (("m.xlsx", 'sheet="herm chemical"', 5), ("m.xlsx", "sheet=male", 6),
                              ("m.npz", "part=A", 5), ("m.npz", "part=B", 6)):  # fmt: skip
        given = {"edges": str(tmp_path / name), "orientation": "pre-post"}
        with pytest.raises(UnsaidError) as caught:
            Table(**given).load()
        assert end in weights(followed(caught.value, answer, given)).values()


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "edges.csv").write_text("pre,post,n\na,b,5\nb,c,7\n")
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.write(tmp_path / "edges.csv", "edges.csv")
    with pytest.raises(CompileError, match="holds one file") as caught:
        Table(str(tmp_path / "e.zip")).load()
    assert caught.value.hint == "unpack it, then set edges=edges.csv"
    assert weights(Table(str(tmp_path / "edges.csv"))) == BOTH


def test_lines_of_python_that_convert_a_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the error says is run, on the file that it was said of."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"pre": ["a", "b"], "post": ["b", "c"], "n": [5, 7]})
    with sqlite3.connect("e.sqlite") as db:
        frame.to_sql("x", db, index=False)
    Path("e.json").write_text(frame.to_json(orient="records"))
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", n=5)
    graph.add_edge("b", "c", n=7)
    Path("c.json").write_text(json.dumps(nx.cytoscape_data(graph)))
    for name, made in (
        ("e.sqlite", "edges.csv"),
        ("e.json", "edges.csv"),
        ("c.json", "net.graphml"),
    ):
        with pytest.raises(CompileError, match="cannot be read: it is") as caught:
            Table(name).load()
        exec(caught.value.hint, {})
        assert weights(Table(made, weight="n")) == BOTH
        Path(made).unlink()


# --- data in memory -------------------------------------------------------------------------------
