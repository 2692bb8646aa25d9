"""Every hint, followed: what comes out is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


# --- data in memory -------------------------------------------------------------------------------
