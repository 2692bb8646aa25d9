"""Ways in which files go wrong, each from a small input: read right, or asked."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import h5py
import networkx as nx
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from references import edges

from connectome_compiler.cli import main
from connectome_compiler.data_adapters._ask import UnsaidError, aligned, unsaid
from connectome_compiler.data_adapters._names import is_no_weight
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Return a function that writes rows, separated by ``;`` unless there are line breaks."""

    def write(text: str, name: str = "edges.csv", encoding: str = "utf-8") -> str:
        rows = text if "\n" in text else "\n".join(row.strip() for row in text.split(";")) + "\n"
        (tmp_path / name).write_text(rows, encoding=encoding)
        return str(tmp_path / name)

    return write


def weights(graph: Graph) -> dict[Any, Any]:
    """Return weights by kind, pre and post."""
    return {key: value[0] for key, value in edges(graph).items()}


def signs(graph: Graph) -> dict[Any, Any]:
    """Return signs, of the connection or else of its neuron, by pre and post."""
    c = graph.connections()
    return {(a, b): s for a, b, s in zip(c.pre, c.post, c.sign, strict=True)}


def notes(graph: Graph) -> list[str]:
    """Return the notes of the connections."""
    return [n for step in graph.provenance.steps if step.name == "read-connections"
            for n in step.notes]  # fmt: skip


def column(graph: Graph, name: str) -> list[Any]:
    """Return a column of the neurons."""
    values: list[Any] = graph.populations[0].column(name).to_pylist()
    return values


def asked(**options: Any) -> dict[str, str]:
    """Return the answers to the question that stops the reading."""
    with pytest.raises(UnsaidError) as caught:
        Table(**options).load()
    for option, _ in caught.value.answers:
        assert f"--set {option}" in str(caught.value)
    return dict(caught.value.answers)


AB, BC = ("chemical", "a", "b"), ("chemical", "b", "c")

# --- lists, rules, cells --------------------------------------------------------------------------


def test_a_question_shows_the_first_lines_and_ends_with_the_options() -> None:
    shown = [["pre", "post", "n"], ["a" * 40, "b", None], ["c", "d", 0.5]]
    error = unsaid("e.csv", "says nothing", shown, ("weight=n", "yes"), ("weight=none", "no"))
    head, *table, first, second = str(error).splitlines()
    assert head == "e.csv: says nothing"
    assert table[0].split() == ["pre", "post", "n"]
    assert table[1].split() == ["a" * 21 + "...", "b"]
    assert table[2].split() == ["c", "d", "0.5"]
    assert (first.split(), second.split()) == (
        ["hint:", "--set", "weight=n", "yes"],
        ["--set", "weight=none", "no"],
    )
    wide = aligned([[str(k) for k in range(20)]])
    assert wide[0].split() == [*map(str, range(8)), "..."]
    assert str(unsaid("e", "x", ())) == "e: x\n  hint: "


WEIGHTS = (
    *("n", "w", "weights", "num_synapses", "n_synapse", "n_syns", "nsyn", "synapse_count"),
    *("SynapseCount", "Synapse Count", "syn_num", "syn_cnt", "synapse_weight", "syn_weight"),
    *("strength", "connection_strength", "edge_weight", "total_weight", "sum_weight", "value"),
    *("connectivity", "number", "syn.count", "N-Syn", "nSynapses"),
)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_known_by_many_names(file: Any, name: str) -> None:
    graph = Table(file(f"pre,post,{name}; a,b,5; b,c,7")).load()
    assert weights(graph) == {AB: 5, BC: 7}


@pytest.mark.parametrize(
    ("name", "unit"),
    [("sections", "sections"), ("contact_area", "um2"), ("weightRelative", "fraction"),
     ("number_of_fibers", "fibers"), ("Correlation", "correlation")],
)  # fmt: skip
def test_weights_that_are_no_counts_by_their_name_need_a_unit(
    file: Any, name: str, unit: str
) -> None:
    path = file(f"pre,post,{name}; a,b,5; b,c,7")
    assert [*asked(edges=path)] == [f"unit={unit}", "unit=synapses"]
    graph = Table(path, unit=unit).load()
    assert weights(graph) == {AB: 5, BC: 7}
    assert graph.projections[0].synapses.unit == unit
    assert Table(path, unit="synapses").load().projections[0].synapses.unit == "synapses"


def test_unread_numbers_beside_pairs_that_hardly_repeat_are_asked_about(file: Any) -> None:
    path = file("pre,post,foo,word; a,b,5,x; b,c,7,y")
    assert [*asked(edges=path)] == ["weight=foo", "weight=none"]
    assert weights(Table(path, weight="foo").load()) == {AB: 5, BC: 7}
    assert weights(Table(path, weight="none").load()) == {AB: 1, BC: 1}
    assert notes(Table(path, weight="none").load())[0] == "ignored columns: foo, word"


@pytest.mark.parametrize(
    "text",
    [
        "pre,post,foo; a,b,5; a,b,7; a,b,1; b,c,2",  # synapses: pairs repeat
        "pre,post,foo; a,b,x; b,c,y",  # no numbers
        "pre,post,index,x,y,z; a,b,4,1,2,3; b,c,9,1,2,3",  # an id and a place
        "pre,post,row; a,b,0; b,c,1; c,a,2",  # running numbers
        "pre,post,size,foo; a,b,4,1; b,c,9,1",  # a size is that of one synapse
        "pre,post; a,b; b,c",
    ],
)
def test_lists_of_synapses_are_not_asked_about(file: Any, text: str) -> None:
    graph = Table(file(text)).load()
    assert weights(graph)[AB] == text.count("a,b")


def test_a_threshold_does_not_hide_unread_weights(file: Any) -> None:
    path = file("pre,post,foo; a,b,5; b,c,7")
    assert "weight=foo" in asked(edges=path, min_weight=1)
    with pytest.raises(CompileError):
        Table(path, min_weight=5).load()


@pytest.mark.parametrize(
    "name",
    ["id", "ctr_pt_position_x", "pre_pt_supervoxel_id", "size", "z", "bodyId", "Unnamed: 0", "#"],
)
def test_names_of_places_and_ids_are_no_weights(name: str) -> None:
    assert is_no_weight(name)
    assert not is_no_weight("sum")


def test_two_columns_that_could_be_the_weight_are_asked_about(file: Any) -> None:
    path = file("pre,post,weight,synapses; a,b,5,1; b,c,7,2")
    assert [*asked(edges=path)] == ["weight=weight", "weight=synapses", "weight=none"]
    both = file("pre,post,weight,value; a,b,5,1; b,c,7,2")
    assert weights(Table(both).load()) == {AB: 5, BC: 7}  # one is sure
    assert "ignored columns: value" in notes(Table(both).load())


SIGNED = "pre,post,weight; a,b,5; b,c,-2"


@pytest.mark.parametrize("unit", ["", "mV"])
def test_negative_weights_are_signs_or_asked_about(file: Any, unit: str) -> None:
    path = file(SIGNED)
    first, second = asked(edges=path, unit=unit)
    assert first == "signs=weight"
    assert second == ("signs=none" if unit else "signs=none --set unit=a.u.")
    graph = Table(path, unit=unit, signs="weight").load()
    assert weights(graph) == {AB: 5, BC: 2}
    assert signs(graph) == {("a", "b"): 1, ("b", "c"): -1}
    free = Table(path, unit=unit or "a.u.", signs="none").load()
    assert weights(free) == {AB: 5, BC: -2}
    assert set(signs(free).values()) == {0}


def test_signed_matrices_follow_the_same_rule(file: Any) -> None:
    path = file(",a,b,c; a,0,5,0; b,0,0,-2; c,0,0,0")
    assert "signs=weight" in asked(edges=path, orientation="pre-post")
    graph = Table(path, orientation="pre-post", signs="weight").load()
    assert signs(graph) == {("a", "b"): 1, ("b", "c"): -1}
    assert weights(graph) == {AB: 5, BC: 2}


def test_a_pair_with_weights_of_both_signs_has_none(file: Any) -> None:
    path = file("pre,post,weight; a,b,5; a,b,-2; b,c,-1; b,c,-3")
    with pytest.raises(CompileError, match="a -> b is negative here and positive") as caught:
        Table(path, signs="weight").load()
    assert caught.value.where.endswith("line 3, column weight")
    graph = Table(file("pre,post,weight; a,b,5; b,c,-1; b,c,-3"), signs="weight").load()
    assert weights(graph)[BC] == 4


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(-4, 4)), min_size=1
)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_signs_and_magnitudes_agree_with_a_dictionary(rows: list[tuple[str, str, int]]) -> None:
    import tempfile

    total: dict[tuple[str, str], int] = {}
    for a, b, n in rows:
        if n and (total.get((a, b), n) > 0) == (n > 0):
            total[a, b] = total.get((a, b), 0) + n
        elif n:
            total[a, b] = 0  # both signs
            break
    body = "".join(f"{a},{b},{n}\n" for a, b, n in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.csv"
        path.write_text(f"pre,post,weight\n{body}")
        adapter = Table(str(path), signs="weight")
        if not total or 0 in total.values():
            with pytest.raises(CompileError):
                adapter.load()
            return
        graph = adapter.load()
    assert weights(graph) == {("chemical", *pair): abs(n) for pair, n in total.items()}
    assert signs(graph) == {pair: (n > 0) - (n < 0) for pair, n in total.items()}


@pytest.mark.parametrize("text", ["a,b,5; b,c,7; c,a,2", "a,a,5; a,b,7; b,a,1", "1,2,5; 2,4,7"])
def test_lists_without_header_are_asked_about(file: Any, text: str) -> None:
    path = file(text)
    assert [*asked(edges=path)] == ["header=none", "header=first"]
    wrong = {"pre": "a", "post": "b", "weight": "5"}
    assert [*asked(edges=path, **wrong)] == ["header=none", "header=first"]
    graph = Table(path, header="none").load()
    rows = [row.split(",") for row in text.split("; ")]
    assert [str(a) for _, a, _ in weights(graph)] != []
    assert sum(weights(graph).values()) == sum(int(n) for *_, n in rows)
    assert graph.n_connections == len(rows)
    assert "from 1 to 2, weights in 3" in "\n".join(notes(graph))


def test_columns_without_names_are_named_by_number(file: Any) -> None:
    path = file("x,a,b,9,5; y,b,c,9,7")
    with pytest.raises(UnsaidError):
        Table(path, header="none").load()
    graph = Table(path, header="none", pre="2", post="3", weight="5").load()
    assert weights(graph) == {AB: 5, BC: 7}


def test_a_header_that_looks_like_data_can_be_one(file: Any) -> None:
    path = file("a,b,2019; a,x,5; x,b,7")
    graph = Table(path, header="first", pre="a", post="b", weight="2019").load()
    assert sum(weights(graph).values()) == 12


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("pre post weight\na b 5\nb c 7\n", "utf-8"),
        ("pre  post\t weight\n a   b  5 \nb\tc 7\n", "utf-8"),
        ("pre\tpost\tweight\na\tb\t5\nb\tc\t7\n", "utf-16"),
        ("pre,post,weight\r\na,b,5\r\nb,c,7\r\n", "utf-16-be-bom"),
        ("sep=;\npre;post;weight\na;b;5\nb;c;7\n", "utf-8"),
        ('"sep=,"\npre,post,weight\na,b,5\nb,c,7\n', "utf-8"),
        ("# made by a tool\n# twice\npre,post,weight\na,b,5\nb,c,7\n", "utf-8"),
        ("pre,post,weight\n# half\na,b,5\n#a,c,9\nb,c,7\n", "utf-8"),
        ("# source target weight\na b 5\nb c 7\n", "utf-8"),
        ("% konect\nsource target weight\na b 5\nb c 7\n", "utf-8"),
        ('"from" "to" "n_syn"\n"1" "a" "b" 5\n"2" "b" "c" 7\n', "utf-8"),
        ('"from","to","n_syn"\n"1","a","b",5\n"2","b","c",7\n', "utf-8"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_texts_are_read_however_they_are_laid_out(
    tmp_path: Path, text: str, encoding: str, zipped: bool
) -> None:
    body = text.encode("utf-16-be") if encoding.endswith("bom") else text.encode(encoding)
    body = b"\xfe\xff" + body if encoding.endswith("bom") else body
    path = tmp_path / "e.txt"
    path.write_bytes(gzip.compress(body, mtime=0) if zipped else body)
    assert weights(Table(str(path)).load()) == {AB: 5, BC: 7}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pre  post weight\na b 5\nb  c x\n", 3),
        ("# one\n# two\npre,post,weight\na,b,5\nb,c,x\n", 5),
        ("sep=;\npre;post;weight\na;b;5\n\nb;c;x\n", 5),
        ("pre,post,weight\na,b,5\n# no\nb,c,x\n", 4),
    ],
)
def test_errors_name_the_line_of_the_file_as_it_is(file: Any, text: str, line: int) -> None:
    with pytest.raises(CompileError, match="'x' is not a synapse count") as caught:
        Table(file(text)).load()
    assert caught.value.where.endswith(f"line {line}, column weight")


def test_utf_16_without_its_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes("pre,post,weight\na,b,5\n".encode("utf-16-le"))
    with pytest.raises(CompileError, match="UTF-16 without its mark") as caught:
        Table(str(path)).load()
    assert caught.value.hint == "save it as UTF-8"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"pre  post weight\na b 5\n\xff c 7\n", "is not UTF-8 text"),
        ("pre,post,weight\na,b,5\n".encode("utf-16") + b"a", "is broken UTF-16"),
        (b"pre  post weight\na b 5\nb " + b"c" * (1 << 24) + b" 7\n", "line 3: is longer than"),
    ],
)
def test_texts_that_are_rewritten_are_checked(tmp_path: Path, body: bytes, problem: str) -> None:
    path = tmp_path / "e.txt"
    path.write_bytes(body)
    with pytest.raises(CompileError, match=problem):
        Table(str(path)).load()


NAMES = st.text("abcAB1 _#", min_size=1, max_size=6).map(str.strip).filter(
    lambda name: name != "" and not name.startswith("#")
)  # fmt: skip
TEXTS = st.lists(st.tuples(NAMES, NAMES, st.integers(1, 9)), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(rows=TEXTS, sep=st.sampled_from(",;\t| "), above=st.sampled_from(["", "# made\n", "sep"]))
def test_every_layout_gives_one_graph(
    rows: list[tuple[str, str, int]], sep: str, above: str
) -> None:
    """Names are quoted where they have blanks; the reference is a dictionary."""
    import csv
    import tempfile

    total: dict[tuple[str, str, str], int] = {}
    for a, b, n in rows:
        key = ("chemical", f"x{a}", f"x{b}")
        total[key] = total.get(key, 0) + n
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.txt"
        with path.open("w", newline="") as out:
            out.write(f"sep={sep}\n" if above == "sep" else above)
            writer = csv.writer(out, delimiter=sep, lineterminator="\n")
            writer.writerow(["pre", "post", "weight"])
            writer.writerows((f"x{a}", f"x{b}", n) for a, b, n in rows)
        found = weights(Table(str(path)).load())
    if sep == " ":  # runs of blanks are one, also in names
        joined: dict[tuple[str, str, str], int] = {}
        for (kind, a, b), n in total.items():
            key = (kind, " ".join(a.split()), " ".join(b.split()))
            joined[key] = joined.get(key, 0) + n
        total = joined
    assert found == total


def test_commas_in_numbers_are_asked_about(file: Any) -> None:
    path = file("pre;post;weight\na;b;0,5\nb;c;1.200,25\n")
    assert [*asked(edges=path)] == ["decimal=comma --set unit=a.u."]
    graph = Table(path, decimal="comma", unit="a.u.").load()
    assert weights(graph) == {AB: 0.5, BC: 1200.25}
    path = file('pre,post,weight\na,b,"1,200"\nb,c,7\n')
    assert [*asked(edges=path)] == ["decimal=comma --set unit=a.u.", "decimal=point"]
    assert weights(Table(path, decimal="point").load()) == {AB: 1200, BC: 7}
    with pytest.raises(CompileError, match="'0,5' is not a synapse count"):
        Table(file('pre,post,weight\na,b,"0,5"\n'), decimal="point").load()


def test_transmitters_of_connections_give_signs(file: Any) -> None:
    path = file("pre_root_id,post_root_id,syn_count,nt_type; 1,2,9,ACH; 2,3,7,GABA; 3,1,5,GLUT")
    graph = Table(path, species="fly").load()
    assert signs(graph) == {(1, 2): 1, (2, 3): -1, (3, 1): -1}
    assert column(graph, "neurotransmitter") == ["acetylcholine", "gaba", "glutamate"]
    assert "transmitters of presynaptic neurons from column nt_type" in notes(graph)
    unsigned = Table(path).load()
    assert set(signs(unsigned).values()) == {0}
    assert any("without a species" in note for note in notes(unsigned))
    none = Table(path, species="fly", transmitter="none").load()
    assert "ignored columns: nt_type" in notes(none)
    mixed = Table(file("pre,post,n,nt; a,b,9,ach; a,c,5,gaba; b,c,7,gaba"), species="fly").load()
    assert signs(mixed) == {("a", "b"): 1, ("a", "c"): 1, ("b", "c"): -1}
    assert notes(mixed)[0].startswith("1 neurons whose rows have several transmitters")
    other = file("pre,post,n,foo; a,b,9,ach; b,c,7,gaba")
    with pytest.raises(UnsaidError, match=r"foo .* seems to say the transmitter"):
        Table(other, species="fly").load()
    unread = Table(other, species="fly", transmitter="none").load()
    assert set(signs(unread).values()) == {0}
    assert signs(Table(other, species="fly", transmitter="foo").load())["b", "c"] == -1


@pytest.mark.parametrize(
    ("name", "plus", "minus"),
    [
        ("Neurotransmitter", "exc", "inh"),
        ("type", "excitatory", "inhibitory"),
        ("Excitatory", "1", "-1"),
        ("excitatory", "True", "False"),
        ("is_inhibitory", "False", "True"),
        ("ei", "E", "I"),
        ("sign", "+", "-"),
    ],
)
def test_classes_of_connections_are_signs(file: Any, name: str, plus: str, minus: str) -> None:
    graph = Table(file(f"pre,post,weight,{name}; a,b,5,{plus}; b,c,7,{minus}")).load()
    assert signs(graph) == {("a", "b"): 1, ("b", "c"): -1}
    assert weights(graph) == {AB: 5, BC: 7}
    if name == "sign":
        none = Table(file(f"pre,post,weight,{name}; a,b,5,{plus}; b,c,7,{minus}"), sign="none")
        assert set(signs(none.load()).values()) == {0}


def test_true_and_false_in_a_parquet_column_are_signs(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    rows = {"pre": ["a", "b"], "post": ["b", "c"], "excitatory": [True, False], "weight": [5, 7]}
    pq.write_table(pa.table(rows), path)
    assert signs(Table(str(path)).load()) == {("a", "b"): 1, ("b", "c"): -1}


def test_undirected_edges_of_gephi_run_both_ways(file: Any) -> None:
    head = "Source,Target,Type,Id,Label,Weight"
    graph = Table(file(f"{head}; a,b,Undirected,0,,3; b,c,Directed,1,,2; c,c,Undirected,2,,4"))
    assert weights(graph.load()) == {
        AB: 3, ("chemical", "b", "a"): 3, BC: 2, ("chemical", "c", "c"): 4,
    }  # fmt: skip
    assert "2 undirected rows used as connections in both directions" in notes(graph.load())
    with pytest.raises(CompileError, match="is not a synapse count") as caught:
        Table(file(f"{head}; a,b,Directed,0,,3; b,c,Undirected,1,,x")).load()
    assert caught.value.where.endswith("line 3, column Weight")


def test_regions_that_may_overlap_are_asked_about(file: Any) -> None:
    rows = "bodyId_pre,bodyId_post,roi,weight; 1,2,EB,10; 1,2,EBr1,6; 1,2,EBr2,4; 2,1,EB,3"
    path = file(f"{rows}; 2,1,EBr1,3")
    assert [*asked(edges=path)] == ["roi=sum", "roi=EB,EBr1"]
    assert weights(Table(path, roi="EB").load()) == {("chemical", 1, 2): 10, ("chemical", 2, 1): 3}
    summed = Table(path, roi="sum").load()
    assert weights(summed) == {("chemical", 1, 2): 20, ("chemical", 2, 1): 6}
    assert any("summed, as roi=sum says" in note for note in notes(summed)[:3])
    parts = Table(path, roi="EBr1, EBr2").load()
    assert weights(parts) == {("chemical", 1, 2): 10, ("chemical", 2, 1): 3}
    with pytest.raises(UnknownNameError, match="region 'EBr'"):
        Table(path, roi="EBr").load()
    once = file("bodyId_pre,bodyId_post,roi,weight; 1,2,EB,10; 2,1,FB,3")
    assert weights(Table(once).load()) == {("chemical", 1, 2): 10, ("chemical", 2, 1): 3}
    with pytest.raises(CompileError, match=r"table\.roi"):
        Table(file("pre,post; a,b"), roi="sum").load()


def test_rows_of_count_zero_are_no_connections(file: Any) -> None:
    rows = "Neuron 1,Neuron 2,Type,Nbr; ADAL,AIBL,S,2; ADAL,ADAR,EJ,1; FLPR,VB01,Sp,0"
    graph = Table(file(f"{rows}; AIBL,ADAL,R,2")).load()
    assert weights(graph) == {
        ("chemical", "ADAL", "AIBL"): 2,
        ("electrical", "ADAL", "ADAR"): 1, ("electrical", "ADAR", "ADAL"): 1,
    }  # fmt: skip
    assert notes(graph)[0] == "1 rows of weight 0 left out: no connection"


@pytest.mark.parametrize(("unequal", "weight"), [("mean", 4.5), ("max", 5), ("sum", 9)])
def test_gap_junctions_counted_unequally(file: Any, unequal: str, weight: float) -> None:
    path = file("Source,Target,Weight,Type; a,b,4,electrical; b,a,5,electrical; a,c,3,chemical")
    with pytest.raises(UnsaidError, match="different weights") as caught:
        Table(path).load()
    assert caught.value.where.endswith("edges.csv, line 3 and line 2")
    graph = Table(path, unequal=unequal).load()
    assert weights(graph) == {
        ("electrical", "a", "b"): weight, ("electrical", "b", "a"): weight,
        ("chemical", "a", "c"): 3,
    }  # fmt: skip
    assert any(f"1 electrical pairs with different weights in their directions: {unequal}" in n
               for n in notes(graph))  # fmt: skip
    units = {p.kind: p.synapses.unit for p in graph.projections}
    mean = "mean synapses" if unequal == "mean" else "synapses"
    assert units == {"chemical": "synapses", "electrical": mean}


def test_a_list_can_be_electrical_as_a_whole(file: Any) -> None:
    graph = Table(file("pre,post,weight; a,b,4; b,a,4; b,c,1"), kind="electrical").load()
    assert set(weights(graph)) == {
        ("electrical", "a", "b"), ("electrical", "b", "a"),
        ("electrical", "b", "c"), ("electrical", "c", "b"),
    }  # fmt: skip


def test_words_that_are_no_kinds_are_asked_about(file: Any) -> None:
    path = file("pre,post,n,type; a,b,5,aa; b,c,7,ad")
    assert [*asked(edges=path)] == ["kind=none", "kind=electrical"]
    assert weights(Table(path, kind="none").load()) == {AB: 5, BC: 7}


def test_symmetric_matrices_are_told_and_can_be_electrical(file: Any) -> None:
    """Two equal numbers may be chance, and are noted; more are asked about."""
    graph = Table(file(",a,b,c; a,0,5,0; b,5,0,0; c,0,0,0"), orientation="pre-post").load()
    assert any("kind=electrical" in note for note in notes(graph)[:2])
    path = file(",a,b,c; a,0,5,1; b,5,0,0; c,1,0,0")
    assert "kind=electrical" in asked(edges=path, orientation="pre-post")
    gaps = Table(path, orientation="pre-post", kind="electrical").load()
    assert {kind for kind, *_ in weights(gaps)} == {"electrical"}
    assert weights(gaps)["electrical", "a", "b"] == 5


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_of_cells_that_are_none_are_null(tmp_path: Path, file: Any, value: str) -> None:
    cells = tmp_path / "cells.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "x_soma": [float(value), 1.5]}), cells)
    for path in (str(cells), file(f"id,x_soma; a,{value}; b,1.5", "cells.csv")):
        graph = Table(file("pre,post,n; a,b,3"), path).load()
        assert column(graph, "x_soma") == [None, 1.5]
        told = any("1 infinite values of x_soma" in n for n in graph.provenance.steps[0].notes)
        assert told == (value == "inf" and path == str(cells))


ROOT = 864691135000000000


def test_cells_that_occur_twice(file: Any) -> None:
    cells = file(
        f"id,pt_root_id,cell_type; 100,0,BC; 101,0,23P; 102,{ROOT + 1},23P; 103,{ROOT + 2},BC; "
        f"104,{ROOT + 2},MC; 105,{ROOT + 3},MC", "cells.csv",
    )  # fmt: skip
    path = file(
        f"pre_pt_root_id,post_pt_root_id,n_syn; {ROOT + 1},{ROOT + 2},4; {ROOT + 1},{ROOT + 3},2; "
        f"{ROOT + 1},0,7"
    )
    with pytest.raises(CompileError, match=f"cell {ROOT + 2} occurs twice") as caught:
        Table(path, cells).load()
    assert "repeated_cells=first" in caught.value.hint
    first = Table(path, cells, repeated_cells="first").load()
    assert column(first, "cell_type") == ["23P", "BC", "MC"]
    assert len(weights(first)) == 2
    drop = Table(path, cells, repeated_cells="drop").load()
    assert column(drop, "neuron_id") == [ROOT + 1, ROOT + 3]
    assert weights(drop) == {("chemical", ROOT + 1, ROOT + 3): 2}
    assert "2 rows from or to cells that are not kept" in notes(drop)
    told = drop.provenance.steps[0].notes
    assert told[0] == "2 rows of cells.csv dropped: root id 0 is no cell"
    assert "1 cells with several rows dropped, with their connections" in told
    assert column(Table(path).load(), "neuron_id") == [ROOT + 1, ROOT + 2, ROOT + 3]


@pytest.mark.parametrize(
    "cells",
    [",Completed; 1,True; 4000001,True; 4000002,True",
     ",name,pair_id; 1,KC1,1; 4000001,KC2,1; 4000002,PN1,2"],
)  # fmt: skip
def test_ids_in_the_unnamed_first_column(file: Any, cells: str) -> None:
    path = file("pre,post,weight; 1,4000001,9; 4000001,4000002,3")
    graph = Table(path, file(cells, "cells.csv")).load()
    assert column(graph, "neuron_id") == [1, 4000001, 4000002]
    if "name" in cells:
        assert column(graph, "name") == ["KC1", "KC2", "PN1"]


def test_the_column_of_ids_can_be_named(file: Any) -> None:
    path = file("pre,post,weight; 1,2,9; 2,3,3")
    cells = file("soma,id,label; 1,2,a; 2,3,b; 3,1,c", "cells.csv")
    other = file("soma,x; 1,5; 2,6; 3,7", "other.csv")
    assert [*asked(edges=path, cells=other)] == ["cell_id=soma", "cell_id=x", "cell_id=order"]
    assert column(Table(path, cells, cell_id="soma").load(), "label") == ["a", "b", "c"]
    assert column(Table(path, cells, cell_id="id").load(), "label") == ["c", "a", "b"]
    with pytest.raises(UnknownNameError, match="column of cells 'some'"):
        Table(path, cells, cell_id="some").load()


def test_labels_and_cells_in_the_order_of_a_matrix(file: Any) -> None:
    matrix = file("0,5,0; 0,0,2; 0,0,0", "m.csv")
    labels = file("AVAL; PVCL; DVA", "labels.csv")
    given = {"edges": matrix, "orientation": "pre-post"}
    expected = {("chemical", "AVAL", "PVCL"): 5, ("chemical", "PVCL", "DVA"): 2}
    graph = Table(**given, labels=labels).load()
    assert weights(graph) == expected
    assert [f.name for f in graph.provenance.files] == ["m.csv", "labels.csv"]
    headed = Table(**given, labels=file("name; AVAL; PVCL; DVA", "l.csv"))
    assert weights(headed.load()) == expected
    cells = file("cell,cell_type; AVAL,AVA; PVCL,PVC; DVA,DVA", "cells.csv")
    graph = Table(**given, cells=cells, cell_id="order").load()
    assert column(graph, "cell") == ["AVAL", "PVCL", "DVA"]
    both = Table(**given, cells=cells, cell_id="order", labels=labels).load()
    assert weights(both) == expected
    assert dict(zip(column(both, "neuron_id"), column(both, "cell_type"), strict=True)) == {
        "AVAL": "AVA", "PVCL": "PVC", "DVA": "DVA",
    }  # fmt: skip
    by_class = Table(**given, cells=file("K; K; P", "c.csv"), cell_id="order").load()
    assert column(by_class, "label") == ["K", "K", "P"]
    indexed = Table(**given, cells=file("index,cell; 0,AVAL; 1,PVCL; 2,DVA", "i.csv")).load()
    assert column(indexed, "cell") == ["AVAL", "PVCL", "DVA"]


@pytest.mark.parametrize(
    ("labels", "problem", "hint"),
    [
        ("K; K; P", "'K' is the name of several cells", "cell_id=order"),
        ("a; b", "has 2 names for 3 neurons", "one name per line"),
        ("a,1; b,2; c,3", "has lines of 2 values", "cell_id=order"),
    ],
)
def test_labels_that_do_not_fit(file: Any, labels: str, problem: str, hint: str) -> None:
    matrix = file("0,5,0; 0,0,2; 0,0,0", "m.csv")
    with pytest.raises(CompileError, match=problem) as caught:
        Table(matrix, labels=file(labels, "l.csv"), orientation="pre-post").load()
    assert hint in caught.value.hint


def test_order_needs_a_source_that_has_one(file: Any) -> None:
    cells = file("cell; a; b", "cells.csv")
    with pytest.raises(CompileError, match="has no order"):
        Table(file("pre,post; a,b"), cells, cell_id="order").load()
    short, matrix = file("cell,x; a,1", "short.csv"), file("0,5,0; 0,0,2; 0,0,0", "m.csv")
    with pytest.raises(CompileError, match="has 1 rows for 3 neurons"):
        Table(matrix, short, cell_id="order", orientation="pre-post").load()
    with pytest.raises(CompileError, match=r"table\.labels"):
        Table(file("pre,post; a,b"), labels=cells).load()


@pytest.mark.parametrize(
    "cells",
    ["id,ei; 1,e; 2,i; 3,e", "id,cell_type; 1,excitatory; 2,inhibitory; 3,excitatory",
     "id,classification_system; 1,excitatory_neuron; 2,inhibitory_neuron; 3,excitatory_neuron"],
)  # fmt: skip
@pytest.mark.parametrize("species", ["", "mouse"])
def test_classes_of_cells_are_signs(file: Any, cells: str, species: str) -> None:
    path = file("pre,post,n_syn; 1,2,4; 2,3,5")
    graph = Table(path, file(cells, "cells.csv"), species=species).load()
    assert signs(graph) == {(1, 2): 1, (2, 3): -1}


def test_the_words_of_layers_survive(file: Any) -> None:
    path = file("pre,post,n_syn; 1,2,4; 2,3,5")
    graph = Table(path, file("id,layer; 1,2; 2,3; 3,4", "cells.csv")).load()
    assert column(graph, "cortical_layer") == ["L2/3", "L2/3", "L4"]
    assert column(graph, "layer") == [2, 3, 4]


@pytest.mark.parametrize("name", ["status_axon", "strategy_axon", "axon_coverage"])
def test_how_far_axons_were_followed_is_read(file: Any, name: str) -> None:
    path = file("pre,post,n_syn; 1,2,4; 2,3,5")
    cells = f"id,{name}; 1,axon_fully_extended; 2,axon_partially_extended; 3,none"
    graph = Table(path, file(cells, "cells.csv")).load()
    assert column(graph, "axon_coverage") == ["full", "partial", "none"]


def test_three_rows_of_numbers_can_be_two_things(file: Any) -> None:
    path = file("1,2,5; 2,3,7; 3,1,2")
    choices = ["header=none", *(f"header=none --set orientation={o}" for o in WAYS)]
    assert [*asked(edges=path)] == choices
    assert [*asked(edges=path, orientation="pre-post")] == choices
    as_list = Table(path, header="none").load()
    assert weights(as_list) == {
        ("chemical", 1, 2): 5, ("chemical", 2, 3): 7, ("chemical", 3, 1): 2,
    }  # fmt: skip
    matrix = Table(path, header="none", orientation="pre-post").load()
    assert weights(matrix)["chemical", 1, 2] == 7
    assert len(weights(matrix)) == 9
    sure = Table(file("0,2,5; 2,0,7; 3,1,0"), orientation="pre-post").load()
    assert len(weights(sure)) == 6


WAYS = ("pre-post", "post-pre")


def test_blank_ids_of_codex_repeat_the_row_above(file: Any) -> None:
    rows = "pre_root_id,post_root_id,x,y,z; 10,20,1,1,1; ,,2,2,2; ,30,3,3,3; 20,10,1,1,1"
    graph = Table(file(rows)).load()
    assert weights(graph) == {
        ("chemical", 10, 20): 2, ("chemical", 10, 30): 1, ("chemical", 20, 10): 1,
    }  # fmt: skip
    assert any("2 rows with a blank id" in note for note in notes(graph))
    with pytest.raises(CompileError, match="the id is missing"):
        Table(file("pre_root_id,post_root_id; 10,20; ,30")).load()


@pytest.mark.parametrize(
    ("header", "pre", "post"),
    [
        ("presyn,postsyn,n", "presyn", "postsyn"),
        ("i,j,w", "i", "j"),
        ("Presynaptic cell name,Postsynaptic cell name,n", '"Presynaptic cell name"', None),
        ("cell_1,cell_2,weight", "cell_1", "cell_2"),
    ],
)
def test_likely_ends_are_suggested(file: Any, header: str, pre: str, post: str | None) -> None:
    answers = asked(edges=file(f"{header}; a,b,5; b,c,7"))
    assert any(option.startswith(f"pre={pre} --set post={post or ''}") for option in answers)
    assert list(answers)[-1] == "header=none"  # names that nobody knows may be no names


def test_a_unit_needs_weights(file: Any) -> None:
    path = file("pre,post,n; a,b,5; b,c,7")
    for weight in ("", "none"):
        with pytest.raises(CompileError, match="rows would be counted instead of um2"):
            Table(file("pre,post; a,b") if not weight else path, weight=weight, unit="um2").load()


def test_addresses_are_not_files() -> None:
    with pytest.raises(CompileError, match="is an address") as caught:
        Table("https://example.org/edges.csv").load()
    assert "download it first" in caught.value.hint


def test_what_was_left_out_stands_first(file: Any) -> None:
    graph = Table(file("pre,post,n,foo; a,b,5,x; a,b,7,x; b,c,0,y")).load()
    assert notes(graph)[:3] == [
        "ignored columns: foo",
        "1 rows of weight 0 left out: no connection",
        "1 rows repeat a pair: their weights are summed",
    ]


def inspected(*arguments: str) -> str:
    """Return what ``ccompile inspect`` prints."""
    done = CliRunner().invoke(main, ["inspect", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_inspect_shows_how_a_list_would_be_read(file: Any, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    told = inspected(file("pre,post,syn_num,foo; a,b,5,x; b,c,7,y"))
    lines = [line.split() for line in told.splitlines()]
    assert ["syn_num", "weight,", "in", "synapses"] in lines
    assert ["foo", "not", "read"] in lines
    assert ["a", "b", "5", "x"] in lines
    assert "2 connections, 12 synapses" in told
    assert sorted(tmp_path.iterdir()) == [*before, tmp_path / "edges.csv"]  # nothing is built


def test_inspect_shows_what_is_asked(file: Any) -> None:
    path = file("a,b,5; b,c,7; c,a,1")
    assert "--set header=none" in inspected(path)
    told = inspected(path, "--set", "header=none")
    assert "asked" not in told
    assert ["3", "weight,", "in", "synapses"] in [line.split() for line in told.splitlines()]
    assert "--set weight=foo" in inspected(file("pre,post,foo; a,b,5; b,c,7"))


def test_inspect_shows_matrices_networks_and_cells(file: Any) -> None:
    matrix = file("0,5,0; 0,0,2; 0,0,0", "m.csv")
    assert "orientation=pre-post" in inspected(matrix)
    assert "2 connections, 7 synapses" in inspected(matrix, "--set", "orientation=pre-post")
    cells = file("id,cell_type,foo; a,T,1; b,U,2; c,V,3", "cells.csv")
    rows = [line.split() for line in inspected(cells).splitlines()]
    assert ["id", "id"] in rows
    assert ["cell_type", "cell_type"] in rows
    told = inspected(file("pre,post,n; a,b,5; b,c,7"), "--set", f"cells={cells}")
    assert "cells.csv: cells" in told
    assert "ids in id" in told


# --- matrices, networks, formats ------------------------------------------------------------------


PRE_POST = {"orientation": "pre-post"}


def sheet(folder: Path, rows: list[list[Any]], title: str = "s") -> str:
    """Write a workbook of one sheet."""
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(folder / "m.xlsx")
    return str(folder / "m.xlsx")


def total(graph: Graph) -> tuple[int, int, float]:
    """Return numbers of neurons and connections, and the sum of the weights."""
    return graph.n_neurons, graph.n_connections, sum(weights(graph).values())


def test_numbers_beside_the_names_of_a_sheet_are_not_its_names(tmp_path: Path) -> None:
    path = sheet(tmp_path, [
        [None, None, "A", "B", "C", "D"], [None, None, 1, 2, 3, 4], ["A", 1, 0, 5, 6, 7],
        ["B", 2, 8, 0, 9, 11], ["C", 3, 12, 13, 0, 14], ["D", 4, 15, 16, 17, 0],
    ])  # fmt: skip
    assert set(asked(edges=path)) == {"orientation=pre-post", "orientation=post-pre"}
    graph = Table(path, **PRE_POST).load()
    assert column(graph, "neuron_id") == ["A", "B", "C", "D"]
    assert total(graph) == (4, 12, 133)


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_a_blank_diagonal_does_not_make_weights_names(tmp_path: Path, file: Any, kind: str) -> None:
    rows = [[None, 3, 5, 7], [3, None, 2, 4], [5, 2, None, 6], [7, 4, 6, None]]
    text = "".join(",".join("" if c is None else str(c) for c in row) + "\n" for row in rows)
    path = sheet(tmp_path, rows) if kind == "xlsx" else file(text)
    options: dict[str, Any] = {"edges": path, **PRE_POST, "kind": "chemical"}
    assert set(asked(**options)) == {"header=first", "header=none"}
    graph = Table(**options, header="none").load()
    assert column(graph, "neuron_id") == [0, 1, 2, 3]
    assert total(graph) == (4, 12, 54)
    graph = Table(**options, header="first").load()
    assert column(graph, "neuron_id") == [3, 5, 7]
    assert total(graph) == (3, 6, 24)


@pytest.mark.parametrize(
    "text",
    [
        "x,3,5,7; 3,,2,4; 5,2,,6; 7,1,6,",  # something above the names
        ",30,50,70; 30,,2,4; 50,2,,6; 70,1,6,",  # beyond all weights
        ",3,5,7; 3,0,2,4; 5,2,0,6; 7,1,6,0",  # the corner is blank, the diagonal is not
    ],
)
def test_numbers_that_are_surely_names(file: Any, text: str) -> None:
    graph = Table(file(text), **PRE_POST).load()
    assert (graph.n_neurons, graph.n_connections) == (3, 6)


def test_a_matrix_of_gap_junctions(file: Any) -> None:
    path = file(",a,b,c; a,,2,; b,2,,1; c,,1,")
    assert set(asked(edges=path)) == {"kind=electrical", "kind=chemical"}
    for options in ({}, PRE_POST):  # a symmetric matrix has no direction
        graph = Table(path, kind="electrical", **options).load()
        assert weights(graph) == {
            ("electrical", *pair): w
            for (a, b), w in {("a", "b"): 2, ("b", "c"): 1}.items() for pair in ((a, b), (b, a))
        }  # fmt: skip
    assert Table(path, kind="chemical").load().n_connections == 4


def circuit(folder: Path, edges: list[tuple[int, int, int, int]], **groups: Any) -> dict[str, str]:
    """Write a SONATA circuit; an edge is its ends, its type and its group."""
    with h5py.File(folder / "c_edges.h5", "w") as f:
        g = f.create_group("edges/v1_to_v1")
        pre, post, types, of = (np.array(c, np.uint64) for c in zip(*edges, strict=True))
        for name, ids in (("source_node_id", pre), ("target_node_id", post)):
            g.create_dataset(name, data=ids).attrs["node_population"] = "v1"
        g["edge_type_id"], g["edge_group_id"] = types, of
        seen: dict[int, int] = {}
        g["edge_group_index"] = [seen.update({k: seen.get(k, -1) + 1}) or seen[k] for k in of]
        for number in set(of.tolist()):
            inner = g.create_group(str(number))
            for key, values in groups.get(f"g{number}", {}).items():
                inner[key] = values
    with h5py.File(folder / "c_nodes.h5", "w") as f:
        g = f.create_group("nodes/v1")
        g["node_type_id"] = np.ones(1 + max(max(e[:2]) for e in edges), int)
        g["node_group_id"] = np.zeros(len(g["node_type_id"]), int)
        g["node_group_index"] = np.arange(len(g["node_type_id"]))
        g.create_group("0")
    return {"edges": str(folder / "c_edges.h5"), "cells": str(folder / "c_nodes.h5")}


def test_weights_of_sonata_in_the_types_of_edges(tmp_path: Path) -> None:
    paths = circuit(tmp_path, [(0, 1, 100, 0), (1, 2, 101, 0), (2, 3, 100, 0)])
    types = "edge_type_id target_query source_query syn_weight\n100 * * 0.5\n101 * * -2.0\n"
    (tmp_path / "c_edge_types.csv").write_text(types)
    assert "signs=weight" in asked(**paths)
    graph = Table(**paths, weight="syn_weight", signs="none", unit="nS").load()
    assert list(weights(graph).values()) == [0.5, -2, 0.5]
    graph = Table(**paths, weight="syn_weight", signs="weight", unit="nS").load()
    assert list(signs(graph).values()) == [1, -1, 1]
    first = graph.provenance.steps[0]
    assert "types of edges from c_edge_types.csv" in first.notes
    assert Table(**paths, weight="none").load().n_connections == 3


def test_groups_of_sonata_with_and_without_counts(tmp_path: Path) -> None:
    edges = [(0, 1, 1, 0), (1, 2, 1, 0), (2, 0, 1, 1), (2, 0, 1, 1), (3, 1, 1, 1)]
    paths = circuit(tmp_path, edges, g0={"nsyns": [5, 3]}, g1={"coord_y": [0.5, 0.7, 0.1]})
    graph = Table(**paths).load()
    assert {k[1:]: w for k, w in weights(graph).items()} == {
        ("v1/0", "v1/1"): 5, ("v1/1", "v1/2"): 3, ("v1/2", "v1/0"): 2, ("v1/3", "v1/1"): 1,
    }  # fmt: skip
    assert "3 edges without nsyns: each is one synapse" in graph.provenance.steps[0].notes


def test_labels_beside_a_matrix(file: Any) -> None:
    labels = file("AVAL; PVCL; DVA", "labels.csv")
    graph = Table(file("0,5,0; 0,0,2; 0,0,0"), labels=labels, **PRE_POST).load()
    assert weights(graph) == {("chemical", "AVAL", "PVCL"): 5, ("chemical", "PVCL", "DVA"): 2}


def test_lists_in_workbooks(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["pre", "post", "type", "synapses"], ["a", "b", "chemical", 5]]
    graph = Table(sheet(tmp_path, [*rows, ["b", "c", "electrical", 2]])).load()
    gaps = dict.fromkeys([("electrical", "b", "c"), ("electrical", "c", "b")], 2)
    assert weights(graph) == {AB: 5, **gaps}
    rows = [["cell_1", "cell_2", "weight", "delta"], ["a", "b", 5, 1], ["b", "c", 2, 1]]
    path = sheet(tmp_path, rows)
    assert "pre=cell_1 --set post=cell_2" in asked(edges=path)
    assert weights(Table(path, pre="cell_1", post="cell_2").load()) == {AB: 5, BC: 2}


def test_matrices_separated_by_runs_of_blanks(file: Any) -> None:
    graph = Table(file("0  12  3\n0  0   7\n2  3   0\n", "m.txt"), **PRE_POST).load()
    assert total(graph) == (3, 5, 27)


def test_matrices_of_r(file: Any) -> None:
    for mark in (",", "\t", " "):
        text = '"a","b","c"\n"a",0,5,6\n"b",7,0,8\n"c",9,1,0\n'.replace(",", mark)
        graph = Table(file(text), **PRE_POST).load()
        assert column(graph, "neuron_id") == ["a", "b", "c"]
        assert (total(graph), weights(graph)[AB]) == ((3, 6, 36), 5)
    graph = Table(file(",a,b; a,NA,5; b,2,NA"), **PRE_POST).load()
    assert weights(graph) == {AB: 5, ("chemical", "b", "a"): 2}
    graph = Table(file('"","V1","V2"; "1",0,5; "2",2,0'), **PRE_POST).load()
    assert column(graph, "neuron_id") == [1, 2]
    with pytest.raises(CompileError, match=r"line 2, column a: nan is not a finite weight"):
        Table(file(",a,b; a,nan,5; b,2,0"), **PRE_POST).load()


def test_graphml_with_two_keys_of_one_name(tmp_path: Path) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edge("a", "b", weight=5.5)
    graph.add_edge("b", "a", weight=5)
    nx.write_graphml_xml(graph, tmp_path / "g.graphml")
    made = Table(str(tmp_path / "g.graphml"), unit="nS").load()
    assert weights(made) == {AB: 5.5, ("chemical", "b", "a"): 5}


def test_graphml_of_igraph(tmp_path: Path, file: Any) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for k, name in enumerate(("AVAL", "AVBL")):
        graph.add_node(f"n{k}", name=name)
    graph.add_edge("n0", "n1", weight=3)
    nx.write_graphml_xml(graph, tmp_path / "g.graphml")
    cells = file("name,neurotransmitter; AVAL,acetylcholine; AVBL,GABA", "cells.csv")
    made = Table(str(tmp_path / "g.graphml"), cells, species="worm", cell_id="name").load()
    assert column(made, "neuron_id") == ["AVAL", "AVBL"]
    assert column(made, "sign") == [1, -1]


def test_rectangular_matrices_are_read_alike(tmp_path: Path, file: Any) -> None:
    expected = {AB: 5, ("chemical", "a", "m1"): 2, ("chemical", "b", "a"): 3}
    path = sheet(tmp_path, [[None, "a", "b", "m1"], ["a", None, 5, 2], ["b", 3, None, None]])
    for each in (path, file(",a,b,m1; a,,5,2; b,3,,")):
        graph = Table(each, **PRE_POST).load()
        assert weights(graph) == expected
        told = [n for s in graph.provenance.steps for n in s.notes]
        assert "0 neurons have a row but no column, 1 a column but no row: m1" in told
    graph = Table(file(",o1,o2; i1,0,5; i2,3,1"), **PRE_POST).load()  # inputs by outputs
    assert weights(graph) == {
        ("chemical", "i1", "o2"): 5, ("chemical", "i2", "o1"): 3, ("chemical", "i2", "o2"): 1
    }  # fmt: skip


def test_a_formula_without_its_value_is_no_blank(tmp_path: Path) -> None:
    path = sheet(tmp_path, [[None, "A", "B"], ["A", 0, "=2+3"], ["B", 2, 0]])
    with pytest.raises(CompileError, match=r"cell C2: has a formula.*not stored \(=2\+3\)"):
        Table(path, **PRE_POST).load()


def test_the_unit_of_cook_2019(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[None, None, None, "PHARYNX"], [], [None, None, None, "I1L", "I1R"],
            ["PHARYNX", None, "I1L", None, 5], [None, None, "I1R", 2, None]]  # fmt: skip
    graph = Table(sheet(tmp_path, rows, "hermaphrodite chemical")).load()
    assert graph.projections[0].synapses.unit == "sections"
    assert total(graph) == (2, 2, 7)
    graph = Table(str(tmp_path / "m.xlsx"), unit="synapses").load()
    assert graph.projections[0].synapses.unit == "synapses"


@pytest.mark.parametrize(
    "text",
    [
        "Row Labels,a,b,Grand Total; a,0,5,5; b,2,0,2; Grand Total,2,5,7",
        ",a,b,All; a,0,5,5; b,2,0,2; All,2,5,7",
        ",a,b,x; a,0,5,5; b,2,0,2; x,2,5,7",  # sums of the others, by whatever name
    ],
)
def test_totals_are_no_neuron(file: Any, text: str) -> None:
    options: dict[str, Any] = {"edges": file(text), **PRE_POST}
    assert set(asked(**options)) == {"totals=drop", "totals=keep"}
    graph = Table(**options, totals="drop").load()
    assert weights(graph) == {AB: 5, ("chemical", "b", "a"): 2}
    assert total(Table(**options, totals="keep").load()) == (3, 7, 28)


def test_three_rows_of_three_numbers(tmp_path: Path, file: Any) -> None:
    rows = [[1, 2, 5], [2, 3, 7], [3, 1, 2]]
    text = "; ".join(",".join(map(str, row)) for row in rows)
    assert Table(file(text), header="none").load().n_connections == 3
    for path in (file(text), sheet(tmp_path, rows)):
        for options in ({}, PRE_POST):
            assert any("header=none" in option for option in asked(edges=path, **options))
        graph = Table(path, header="none", **PRE_POST).load()
        assert total(graph) == (3, 9, 26)
        graph = Table(path, header="none", pre="1", post="2", weight="3").load()
        assert total(graph) == (3, 3, 14)


def test_half_of_a_symmetric_matrix(file: Any) -> None:
    for text in ("0,12,3; 0,0,7; 0,0,0", "0,0,0; 12,0,0; 3,7,0"):
        path = file(text)
        assert set(asked(edges=path, **PRE_POST)) == {"mirror=yes", "mirror=no"}
        for options in ({}, PRE_POST):
            assert total(Table(path, mirror="yes", **options).load()) == (3, 6, 44)
        assert total(Table(path, mirror="no", **PRE_POST).load()) == (3, 3, 22)
    graph = Table(file("0,12,3; 0,0,7; 0,0,0"), mirror="yes", kind="electrical").load()
    assert len(weights(graph)) == 6
    with pytest.raises(CompileError, match="not half of a matrix"):
        Table(file("0,12,3; 1,0,7; 0,0,0"), mirror="yes").load()


def test_matrices_with_comments_decimal_commas_and_in_utf16(file: Any) -> None:
    for name, text in {"# of a tool\n0 5 0\n0 0 2\n0 0 0\n": "m.txt",
                       "sep=;\n0;5;0\n0;0;2\n0;0;0\n": "m.csv"}.items():  # fmt: skip
        for encoding in ("utf-8", "utf-16"):
            assert total(Table(file(name, text, encoding), **PRE_POST).load()) == (3, 2, 7)
    graph = Table(file("0;0,5;0\n0;0;2,25\n0;0;0\n"), unit="nS", **PRE_POST).load()
    assert total(graph) == (3, 2, 2.75)


# --- data in memory -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "problem", "answer"),
    [
        ("pre,post,n,polarity; a,b,5,excitatory; b,c,7,inhibitory", "the sign", "sign=polarity"),
        ("pre,post,n,nature; a,b,5,chemical; b,c,7,electrical", "the kind", "kind=nature"),
        ("pre,post,n,pre_nt; a,b,5,ACh; b,c,7,GABA", "transmitter", "transmitter=pre_nt"),
        ("pre,post,n,type; a,b,5,E; b,c,7,E", "E alone", "kind=electrical"),
        ("pre,post,n,is_gap_junction; a,b,5,False; b,c,7,True", "may say which", "kind=none"),
        ("pre,post,gap_junctions,x; a,b,5,u; b,c,7,v", "no column of weights", "weight="),
    ],
)
def test_words_in_a_column_of_any_name_are_asked_about(
    file: Any, rows: str, problem: str, answer: str
) -> None:
    with pytest.raises(UnsaidError, match=problem) as caught:
        Table(file(rows)).load()
    assert caught.value.answers[0][0].startswith(answer)


def test_weights_of_gap_junctions_are_not_chemical_in_silence(file: Any) -> None:
    path = file("pre,post,gap_junctions; a,b,5; b,c,7")
    with pytest.raises(UnsaidError, match="of gap junctions, by their name"):
        Table(path, weight="gap_junctions").load()
    graph = Table(path, weight="gap_junctions", kind="electrical").load()
    assert [p.kind for p in graph.projections] == ["electrical"]


@pytest.mark.parametrize(
    ("rows", "problem", "line"),
    [
        ("pre,post; a,b; pre,post; b,c", "repeats the names of the columns", 3),
        ("pre,post,n; a,b,5; Total,Total,5", "row of totals", 3),
        ("pre,post,n; a,b,5; b,nan,5", "missing value", 3),
    ],
)
def test_what_is_no_neuron_is_refused(file: Any, rows: str, problem: str, line: int) -> None:
    with pytest.raises(CompileError, match=problem) as caught:
        Table(file(rows)).load()
    assert f"line {line}" in caught.value.where


def test_lists_that_end_with_delimiters_or_have_the_relation_between(file: Any) -> None:
    graph = Table(file("pre,post,n; 1,2,5,; 2,3,7,")).load()
    assert graph.projections[0].synapses.weight.sum() == 12
    sif = file("a pp b; b pp c")
    with pytest.raises(UnsaidError, match="columns 1 and 3") as caught:
        Table(sif, header="none").load()
    assert caught.value.answers[0][0] == "pre=1 --set post=3"
    assert Table(sif, header="none", pre="1", post="3").load().n_neurons == 3
    with pytest.raises(CompileError, match="data in braces"):
        Table(file("a b {'weight': 3}; b c {'weight': 5}")).load()
