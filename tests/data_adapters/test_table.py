from __future__ import annotations

import gzip
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import edges

from connectome_compiler.data_adapters import _readers
from connectome_compiler.data_adapters import table as table_module
from connectome_compiler.data_adapters._raw import Facts, Raw
from connectome_compiler.data_adapters._readers import Reader, ReadOptions
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence, Graph

BIG = 720575940621039145  # above 2**53, not a multiple of 128


def write(path: Path, text: str) -> str:
    """Write rows that are separated by line breaks or ``;``, blanks at their ends removed."""
    rows = [row.strip() for row in text.replace(";", "\n").splitlines()]
    path.write_text("\n".join(row for row in rows if row) + "\n")
    return str(path)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(edges: str, cells: str = "", **options: Any) -> Graph:
        if cells:
            options["cells"] = write(tmp_path / "cells.csv", cells)
        graph = Table(write(tmp_path / "edges.csv", edges), **options).load()
        assert isinstance(graph, Graph)
        return graph

    return load


def notes(graph: Graph) -> str:
    return "\n".join(note for step in graph.provenance.steps for note in step.notes)


def column(graph: Graph, name: str) -> list[Any]:
    values: list[Any] = graph.populations[0].column(name).to_pylist()
    return values


def weights(graph: Graph) -> dict[Any, Any]:
    return {key: value[0] for key, value in edges(graph).items()}


def test_each_step_tells_what_it_did_to_the_numbers(load: Any) -> None:
    graph = load("pre,post,weight\n1,2,3\n2,1,4\n", "id\n1\n2\n5\n")
    told = {
        s.name: (
            (s.n_neurons_before, s.n_neurons_after),
            (s.n_connections_before, s.n_connections_after),
        )
        for s in graph.provenance.steps
    }
    assert told["read-cells"] == ((3, 3), (0, 0))
    assert told["read-connections"] == ((3, 3), (0, 2))


def test_steps_say_which_options_shaped_them(load: Any) -> None:
    graph = load("pre,post,weight; 1,2,3", "id; 1; 2", min_weight=2, unknown_neurons="drop")
    read, joined = graph.provenance.steps[:2]
    assert (read.name, read.options) == ("read-cells", "cells=cells.csv")
    assert joined.options == (
        'edges=edges.csv, unit="synapses", min_weight=2, duplicates="sum", unknown_neurons="drop"'
    )
    assert load("pre,post; 1,2").provenance.steps[0].options == ""


def test_what_nobody_says_of_the_origin_is_made_of_the_names_of_files(load: Any) -> None:
    for cells, names in (("", ["edges.csv"]), ("id; 1; 2", ["edges.csv", "cells.csv"])):
        origin = load("pre,post; 1,2", cells).provenance
        assert all(name in origin.title for name in names)
        assert [f.name for f in origin.files] == names
        assert "not stated" in origin.licence
        assert origin.citations == ()


# --- what comes out -------------------------------------------------------------------------------


def test_without_cells_the_neurons_are_the_ends_in_sorted_order(load: Any) -> None:
    graph = load("pre,post,weight; c,a,3; a,b,1; c,a,2")
    (projection,) = graph.projections
    assert projection.key == "neurons->neurons"
    assert column(graph, "neuron_id") == ["a", "b", "c"]
    assert weights(graph) == {("chemical", "c", "a"): 5, ("chemical", "a", "b"): 1}
    assert projection.synapses.weight.dtype == np.int32
    assert graph.provenance.dataset == "table:edges"
    assert graph.provenance.connectivity is Evidence.UNKNOWN
    assert graph.provenance.signs is Evidence.NONE
    assert "1 rows repeat a pair" in notes(graph)
    assert notes(graph).count("3 rows") == 1
    assert "not kept" not in notes(graph)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "parquet", "feather"])
def test_every_format_gives_one_graph(tmp_path: Path, suffix: str) -> None:
    columns = {"source": [BIG, BIG + 1, BIG], "target": [BIG + 1, BIG, BIG + 1], "count": [1, 2, 3]}
    path = tmp_path / f"e.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table(columns), path)
    elif suffix == "feather":
        pf.write_feather(pa.table(columns), path)
    else:
        rows = [columns.keys(), *zip(*columns.values(), strict=True)]
        sep = "\t" if suffix == "tsv" else ","
        body = "".join(sep.join(map(str, row)) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(body, mtime=0) if suffix == "csv.gz" else body)
    expected = {("chemical", BIG, BIG + 1): 4, ("chemical", BIG + 1, BIG): 2}
    assert weights(Table(str(path)).load()) == expected


NAMES = st.sampled_from("abcdef")
ROWS = st.lists(st.tuples(NAMES, NAMES, st.integers(1, 9)), min_size=1, max_size=60)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, least=st.integers(0, 12), known=st.sets(NAMES, min_size=1), binary=st.booleans())
def test_agrees_with_a_dictionary(
    rows: list[tuple[str, str, int]], least: int, known: set[str], binary: bool
) -> None:
    """Sum rows of a pair, then drop weak pairs and unknown ends: a slow, plain reference."""
    total: Counter[tuple[str, str]] = Counter()
    for pre, post, n in rows:
        if {pre, post} <= known:
            total[pre, post] += n
    expected = {("chemical", *pair): n for pair, n in total.items() if n >= least}
    n_unknown = sum(not {pre, post} <= known for pre, post, _ in rows)
    with tempfile.TemporaryDirectory() as folder:
        path, cells = Path(folder) / "e", Path(folder) / "c"
        if binary:
            arrays = dict(
                zip(("pre", "post", "weight"), map(list, zip(*rows, strict=True)), strict=True)
            )
            pq.write_table(pa.table(arrays), path)
        else:
            write(path, "\n".join(["pre,post,weight", *(f"{a},{b},{n}" for a, b, n in rows)]))
        write(cells, "\n".join(["id,cell_type", *(f"{c},T{c}" for c in known)]))
        table = Table(str(path), str(cells), min_weight=least, unknown_neurons="drop")
        if not expected:
            with pytest.raises(CompileError):
                table.load()
            return
        graph = table.load()
    assert weights(graph) == expected
    assert column(graph, "neuron_id") == sorted(known)
    assert column(graph, "cell_type") == [f"T{c}" for c in sorted(known)]
    text = notes(graph)
    assert (f"{n_unknown:,} rows from or to cells not in the cell table" in text) == (n_unknown > 0)
    if least > 1:
        weak = [n for n in total.values() if n < least]
        assert f"{len(weak)} pairs below {least} synapses dropped, {sum(weak)} synapses" in text


def test_the_order_of_rows_does_not_change_a_byte(load: Any) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{w:.17g}" for a, b, w in zip(
        rng.integers(0, 5, 400), rng.integers(0, 5, 400), rng.normal(size=400) * 10.0 **
        rng.integers(-9, 9, 400), strict=True)]  # fmt: skip
    one = load("\n".join(["pre,post,weight", *rows]), unit="dF/F", signs="none")
    two = load("\n".join(["pre,post,weight", *rows[::-1]]), unit="dF/F", signs="none")
    assert one.digest() == two.digest()


def test_a_threshold_is_on_pairs_not_on_rows(load: Any) -> None:
    rows = "pre,post,neuropil,syn_count; 1,2,AL,3; 1,2,MB,2; 2,1,AL,4; 3,1,AL,5"
    graph = load(rows, min_weight=5)
    assert weights(graph) == {("chemical", 1, 2): 5, ("chemical", 3, 1): 5}
    assert "1 pairs below 5 synapses dropped, 4 synapses in all" in notes(graph)
    assert "ignored columns: neuropil" in notes(graph)


def test_weak_pairs_are_counted_once_however_many_rows_they_have(load: Any) -> None:
    rows = "pre,post,neuropil,syn_count; 1,2,AL,9; 2,1,AL,1; 2,1,MB,2; 2,1,LH,1; 1,3,AL,3"
    graph = load(rows, min_weight=5)
    assert "2 pairs below 5 synapses dropped, 7 synapses in all" in notes(graph)


def test_neurons_of_a_cell_table_stay_without_connections_but_ends_of_dropped_rows_do_not(
    load: Any,
) -> None:
    rows = "pre,post,weight; 1,2,5; 3,1,1"
    assert column(load(rows, min_weight=2), "neuron_id") == [1, 2]
    graph = load(rows, "id; 1; 2; 3; 4", min_weight=2)
    assert column(graph, "neuron_id") == [1, 2, 3, 4]
    assert "2 neurons without any connection" in notes(graph)


def test_other_units_may_be_real_and_negative(load: Any) -> None:
    real = {"unit": "dF/F", "signs": "none"}
    graph = load("pre,post,weight; a,b,-0.5; b,a,1e-12; a,b,0.25", **real)
    assert weights(graph) == {("chemical", "a", "b"): -0.25, ("chemical", "b", "a"): 1e-12}
    graph = load("pre,post,weight; a,b,-0.5; b,a,0.1", **real, min_weight=0.3)
    assert weights(graph) == {("chemical", "a", "b"): -0.5}
    assert graph.projections[0].synapses.unit == "dF/F"


def test_rows_without_weights_are_synapses(load: Any) -> None:
    graph = load("pre,post,size; 1,2,10; 1,2,30; 2,1,5")
    (projection,) = graph.projections
    assert projection.synapses.weight.tolist() == [1, 2]
    assert projection.synapses.size is not None
    assert projection.synapses.size.tolist() == [5, 40]
    with pytest.raises(CompileError, match="no column of weights, so rows would be counted"):
        load("pre,post; 1,2", unit="um2")


def test_what_the_user_says_of_the_origin_travels(load: Any) -> None:
    options = {"dataset": "mine", "title": "Mine", "licence": "CC0", "citation": "Me (2026)."}
    origin = load("pre,post; 1,2", **options, evidence="modelled").provenance
    assert (origin.dataset, origin.title, origin.licence) == ("mine", "Mine", "CC0")
    assert origin.citations == ("Me (2026).",)
    assert origin.connectivity is Evidence.MODELLED
    assert [f.name for f in origin.files] == ["edges.csv"]
    origin = load("pre,post; 1,2", evidence="modelled").provenance
    assert origin.dataset == "table:edges-modelled"


def test_nobody_vouches_for_a_file_but_the_user(load: Any) -> None:
    graph = load("pre,post; 1,2")
    assert graph.provenance.connectivity is Evidence.UNKNOWN
    assert graph.provenance.dataset == "table:edges"
    assert "neither the files nor the user say how the connections are known" in notes(graph)
    assert load("pre,post; 1,2", evidence="measured").provenance.measured


@pytest.mark.parametrize(
    ("unit", "least", "dropped"),
    [
        ("synapses", 0, ""),
        ("synapses", 1, ""),  # no pair has less
        ("synapses", 2, "1 pairs below 2 synapses dropped, 1 synapses"),
        ("um2", 0, ""),
        ("um2", 0.5, "0 pairs below 0.5 um2 dropped, 0 um2"),
        ("um2", 1.5, "1 pairs below 1.5 um2 dropped, 1 um2"),
    ],
)
def test_a_threshold_is_told_where_it_could_drop_anything(
    load: Any, unit: str, least: float, dropped: str
) -> None:
    told = notes(load("pre,post,weight; 1,2,3; 2,1,1", unit=unit, min_weight=least))
    assert ("below" in told) == bool(dropped)
    assert dropped in told


def test_a_column_of_sizes_may_be_the_weight(load: Any) -> None:
    rows = "pre,post,weight,size; 1,2,3,0.5; 1,2,4,0.25; 2,1,1,2"
    counts = load(rows).projections[0].synapses
    assert counts.size is not None
    assert (counts.weight.tolist(), counts.size.tolist()) == ([1, 7], [2, 0.75])
    sizes = load(rows, weight="size", unit="um2").projections[0].synapses
    assert sizes.size is None
    assert sizes.weight.tolist() == [2, 0.75]


def test_sizes_of_some_rows_are_no_sizes(load: Any) -> None:
    graph = load("pre,post,size; 1,2,5; 1,2,; 2,1,")
    assert graph.projections[0].synapses.size is None
    assert "2 rows without a size" in notes(graph)


@pytest.mark.parametrize("unit", ["", "um2"])
def test_rows_of_weight_zero_are_no_connections(load: Any, unit: str) -> None:
    graph = load("pre,post,weight; 1,2,0; 2,1,1; 2,3,0", unit=unit)
    assert weights(graph) == {("chemical", 2, 1): 1}
    assert "2 rows of weight 0 left out: no connection" in notes(graph)
    assert "weight 0" not in notes(load("pre,post,weight; 1,2,1"))


def test_an_axon_with_gap_junctions_alone_is_as_unread_as_before(load: Any) -> None:
    cells = "id,axon_coverage; 1,none; 2,none; 3,full"
    graph = load("pre,post,kind; 1,3,chem; 2,3,gap", cells)
    assert column(graph, "axon_coverage") == [None, "none", "full"]


def test_negative_weights_are_told(load: Any) -> None:
    graph = load("pre,post,weight; 1,2,-3; 2,1,4; 2,3,-1", unit="a.u.", signs="none")
    assert "2 negative weights: not used as signs" in notes(graph)
    assert "negative" not in notes(load("pre,post,weight; 1,2,3"))


# --- which column is which ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        *("pre,post,weight", "source,target,count", "src,dst,n_syn", "from,to,synapses"),
        *("Origin,Target,Number of Connections", "Neuron 1,Neuron 2,Nbr", "Source,Target,Weight"),
        *("pre_pt_root_id,post_pt_root_id,syn_count", "presynaptic_id,postsynaptic_id,weight"),
        *("body_pre,body_post,weight", "bodyId_pre,bodyId_post,weight"),
    ],
)
def test_usual_names_are_known(load: Any, header: str) -> None:
    assert weights(load(f"{header}; 7,8,3")) == {("chemical", 7, 8): 3}


def test_columns_can_be_named(load: Any) -> None:
    rows = "A,B,N,type; x,y,3,fast; y,x,2,slow"
    graph = load(rows, pre="B", post="a", weight="n", kind="none")
    assert weights(graph) == {("chemical", "y", "x"): 3, ("chemical", "x", "y"): 2}
    graph = load("pre,post,weight; a,b,7; a,b,7", weight="none")
    assert weights(graph) == {("chemical", "a", "b"): 2}
    with pytest.raises(UnknownNameError, match="did you mean 'weigth'"):
        load("pre,post,weigth; a,b,7", weight="weight")
    with pytest.raises(CompileError, match="pre is given, but not post"):
        load("a,post; a,b", pre="a")
    with pytest.raises(CompileError, match="post is given, but not pre") as caught:
        load("a,post; a,b", post="a")
    assert caught.value.where == "table.pre"


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("pre,post,weight,count", "weight and count could both be the weight"),
        ("pre,post,source,target", "pre and post or source and target"),
        ("pre,post,type,kind", "type and kind could both be the kind"),
    ],
)
def test_two_columns_for_one_role_are_refused(load: Any, header: str, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        load(f"{header}; 1,2,gap,gap" if "kind" in header else f"{header}; 1,2,3,4")


def test_an_unknown_layout_lists_what_was_seen_and_what_is_accepted(load: Any) -> None:
    with pytest.raises(CompileError, match="among: left, right, n") as caught:
        load("left,right,n; 1,2,3")
    assert "--set pre=COLUMN --set post=COLUMN" in caught.value.hint
    assert "pre and post" in caught.value.hint


def test_one_column_cannot_have_two_roles(load: Any) -> None:
    for options in ({"pre": "a", "post": "a"}, {"weight": "b"}, {"kind": "n", "weight": "n"}):
        with pytest.raises(CompileError, match="cannot be two of pre, post, weight and kind"):
            load("a,b,n; 1,2,3", **{"pre": "a", "post": "b", **options})


# --- kinds ----------------------------------------------------------------------------------------


def test_electrical_synapses_are_symmetric_given_once_or_twice(load: Any) -> None:
    rows = """Source,Target,Weight,Type; A , B ,3,chemical; A,C,2,electrical; C,A,2,electrical
              B,C,1,electrical; C,C,4,electrical"""
    graph = load(rows)
    assert weights(graph) == {
        ("chemical", "A", "B"): 3,
        ("electrical", "A", "C"): 2,
        ("electrical", "C", "A"): 2,
        ("electrical", "B", "C"): 1,
        ("electrical", "C", "B"): 1,
        ("electrical", "C", "C"): 4,
    }
    assert [p.kind for p in graph.projections] == ["chemical", "electrical"]
    assert "1 electrical pairs given in one direction" in notes(graph)


def test_electrical_weights_that_differ_by_direction_are_refused(load: Any) -> None:
    for least in (0, 3):  # the weaker one must not vanish first
        with pytest.raises(CompileError, match="A and C has different weights") as e:
            load("pre,post,weight,kind; A,C,5,gap; C,A,2,gap", min_weight=least)
        assert e.value.where.endswith("edges.csv, line 3 and line 2")


def test_weak_electrical_pairs_are_counted_once(load: Any) -> None:
    rows = "pre,post,weight,kind; A,C,2,gap; C,A,2,gap; A,B,5,gap; C,C,1,gap; A,B,3,chemical"
    graph = load(rows, min_weight=3)
    assert weights(graph) == {
        ("chemical", "A", "B"): 3, ("electrical", "A", "B"): 5, ("electrical", "B", "A"): 5
    }  # fmt: skip
    assert "2 electrical pairs below 3 synapses dropped, 3 synapses in all" in notes(graph)
    assert "1 electrical pairs, each a connection in both directions, 5 synapses" in notes(graph)


def test_electrical_connections_have_no_sign(load: Any) -> None:
    graph = load("pre,post,kind,sign; A,B,chem,-; B,A,chem,+; A,B,gap,+")
    assert "1 +1, 1 -1, 0 unknown\n1 signs of electrical connections left out" in notes(graph)


def test_a_table_of_gap_junctions_only(load: Any) -> None:
    graph = load("pre,post,kind; A,B,gap junction")
    assert [p.key for p in graph.projections] == ["neurons->neurons:electrical"]


def test_the_list_of_varshney_counts_each_synapse_once(load: Any) -> None:
    """Rows R and Rp tell again, from the target, what S and Sp tell."""
    rows = """Neuron 1,Neuron 2,Type,Nbr; A,B,S,2; B,A,R,2; A,C,Sp,1; C,A,Rp,1; A,B,Sp,1; B,A,Rp,1
              A,C,EJ,3; C,A,EJ,3"""
    graph = load(rows)
    assert weights(graph) == {
        ("chemical", "A", "B"): 3,
        ("chemical", "A", "C"): 1,
        ("electrical", "A", "C"): 3,
        ("electrical", "C", "A"): 3,
    }
    assert "3 rows left out that repeat a synapse" in notes(graph)
    strong = load(rows, min_weight=3)
    assert weights(strong).keys() == {
        ("chemical", "A", "B"), ("electrical", "A", "C"), ("electrical", "C", "A")
    }  # fmt: skip
    assert "1 pairs below 3 synapses dropped, 1 synapses" in notes(strong)


def test_a_word_that_is_no_kind_is_named(load: Any) -> None:
    with pytest.raises(CompileError, match="'dendrodendritic' is not a kind of synapse") as caught:
        load("pre,post,type; A,B,chemical; A,B,dendrodendritic")
    assert caught.value.where.endswith("edges.csv, line 3, column type")


# --- cells and signs ------------------------------------------------------------------------------

CELLS = """neuron_id,cell_type,neurotransmitter,region,x_nm,y_nm,z_nm,volume,code
           1,KC,ACh,MB,1000,2000,3000,1.5,007
           2,APL,gaba,MB,0,0,500,2.5,012
           3,DAN,dopamine,,,,,,
           4,PN,,AL,4,4,4,1,001"""


def test_columns_of_cells_get_their_types_and_survive(load: Any) -> None:
    graph = load("pre,post; 1,2; 2,3; 3,4; 4,1", CELLS)
    assert column(graph, "neuron_id") == [1, 2, 3, 4]
    assert column(graph, "neurotransmitter") == ["acetylcholine", "gaba", "dopamine", None]
    assert column(graph, "region") == ["MB", "MB", None, "AL"]
    assert column(graph, "x_um") == [1, 0, None, pytest.approx(0.004)]
    assert column(graph, "volume") == [1.5, 2.5, None, 1]
    assert column(graph, "code") == ["007", "012", None, "001"]
    assert column(graph, "sign") == [None] * 4
    assert graph.provenance.signs is Evidence.NONE
    assert "x_nm" not in graph.populations[0].neurons.column_names


def test_signs_come_from_transmitters_by_the_species(load: Any) -> None:
    rows = "pre,post; 1,2; 2,3; 3,4; 4,1"
    graph = load(rows, CELLS, species="fly")
    assert column(graph, "sign") == [1, -1, None, None]
    assert graph.provenance.signs is Evidence.PREDICTED
    assert "1 excitatory, 1 inhibitory, 2 without sign (by neurotransmitter)" in notes(graph)
    assert "convention for the fly: acetylcholine +; gaba, glut" in notes(graph)
    cells = "id,nt; 1,glutamate; 2,glutamate; 3,glu; 4,GLUT"
    assert column(load(rows, cells, species="worm"), "sign") == [1] * 4
    assert column(load(rows, cells, species="fly"), "sign") == [-1] * 4


def test_a_transmitter_that_the_species_lacks_is_named(load: Any) -> None:
    with pytest.raises(CompileError, match="'unobtainium'") as caught:
        load("pre,post; 1,2", "id,nt; 1,ach; 2,unobtainium", species="fly")
    assert caught.value.where.endswith("cells.csv, line 3, column nt")


CLASSES = """id,cell_type,classification_system
             1,23P,excitatory_neuron
             2,BC,inhibitory_neuron
             3,astrocyte,nonneuron
             4,4P,aibs_coarse_excitatory
             5,MC,"""


@pytest.mark.parametrize("species", ["", "mouse", "fly"])
def test_a_class_that_says_so_gives_the_sign(load: Any, species: str) -> None:
    graph = load("pre,post; 1,2; 2,3; 3,4; 4,5", CLASSES, species=species)
    assert column(graph, "sign") == [1, -1, None, 1, None]
    assert graph.provenance.signs is Evidence.PREDICTED
    said = notes(graph)
    assert "2 excitatory, 1 inhibitory, 2 without sign (by cell_class)" in said
    assert "column classification_system is renamed to cell_class" in said
    assert ("no table gives the transmitters of this" in said) == bool(species)
    unsigned = load("pre,post; 1,2; 2,3; 3,4; 4,5", CLASSES, species="none")
    assert column(unsigned, "sign") == [None] * 5
    assert unsigned.provenance.signs is Evidence.NONE


def test_transmitters_say_more_than_a_class_and_every_column_of_classes_is_asked(load: Any) -> None:
    cells = """id,nt,cell_class,ei
               1,gaba,excitatory,exc
               2,,ALPN,inh
               3,,,exc
               4,dopamine,,"""
    graph = load("pre,post; 1,2; 2,3; 3,4", cells, species="mouse")
    assert column(graph, "sign") == [-1, -1, 1, None]
    assert column(graph, "ei") == ["exc", "inh", "exc", None]
    assert "signs that were already known differ" in notes(graph)


@pytest.mark.parametrize(
    ("words", "species", "signs"),
    [
        (("e", "i", "glia"), "", [1, -1, None]),  # letters, among classes
        (("e", "i", "c"), "", [None] * 3),  # letters, among others
        (("e", "i", "c"), "mouse", [None] * 3),
        (("pyramidal", "interneuron", "e"), "", [None, None, 1]),
        (("pyramidal", "interneuron", "e"), "mouse", [1, -1, 1]),
        (("sensory", "interneuron", "motor"), "worm", [None] * 3),  # of the worm: no sign
        (("interneuron", "interneuron", ""), "worm", [None] * 3),
        (("glutamatergic", "gabaergic", ""), "fly", [None] * 3),  # glutamate inhibits there
        (("glutamatergic", "gabaergic", ""), "mouse", [1, -1, None]),
        (("inhibitory neuron", "modulatory", "Exc"), "worm", [-1, None, 1]),
    ],
)
def test_a_word_that_need_not_mean_a_sign_gives_none(
    load: Any, words: tuple[str, ...], species: str, signs: list[int | None]
) -> None:
    cells = "id,class" + "".join(f"; {k},{word}" for k, word in enumerate(words, 1))
    graph = load("pre,post; 1,2; 2,3", cells, species=species)
    assert column(graph, "sign") == signs
    assert column(graph, "cell_class") == [word or None for word in words]


def test_a_column_of_signs_wins_and_what_it_lacks_transmitters_tell(load: Any) -> None:
    cells = "id,nt,sign; 1,ach,-1; 2,ach,; 3,gaba,+; 4,,inhibitory"
    graph = load("pre,post; 1,2; 2,3; 3,4", cells, species="fly")
    assert column(graph, "sign") == [-1, 1, 1, -1]
    assert "signs of 3 cells from column sign" in notes(graph)
    assert "2 signs that were already known differ from these, and are kept" in notes(graph)
    with pytest.raises(CompileError, match="'2' is not a sign") as caught:
        load("pre,post; 1,2", "id,sign; 1,1; 2,2")
    assert caught.value.where.endswith("cells.csv, line 3, column sign")


def test_signs_of_connections(load: Any) -> None:
    graph = load("pre,post,sign; a,b,+; b,a,-; a,a,")
    signs = {key: value[2] for key, value in edges(graph).items()}
    assert signs == {
        ("chemical", "a", "b"): 1,
        ("chemical", "b", "a"): -1,
        ("chemical", "a", "a"): 0,
    }
    assert graph.provenance.signs is Evidence.PREDICTED


def test_roles_are_known_words(load: Any) -> None:
    cells = "id,role; 1,sensory; 2,Interneuron; 3,motor neuron; 4,"
    graph = load("pre,post; 1,2; 2,3; 3,4", cells)
    assert column(graph, "role") == ["sensory", "inter", "motor", None]
    with pytest.raises(CompileError, match="'boss' is not a known role") as caught:
        load("pre,post; 1,2", "id,role; 1,motor; 2,boss")
    assert caught.value.where.endswith("line 3, column role")


def test_axons_that_nobody_read_but_the_table_lists_are_not_known(load: Any) -> None:
    graph = load("pre,post; 1,2; 2,3", "id,axon_coverage; 1,none; 2,full; 3,none")
    assert column(graph, "axon_coverage") == [None, "full", "none"]


def test_files_of_cells_are_joined_on_the_id(tmp_path: Path, load: Any) -> None:
    one = write(tmp_path / "one.csv", "root_id,side,note; 2,L,x; 1,R,y")
    two = write(tmp_path / "two.csv", "id,cell_type,note,side; 3,T3,z,R; 1,T1,w,R; 2,T2,v,L")
    rows = write(tmp_path / "e.csv", "pre,post; 1,2; 2,3")
    for cells in (f"{one},{two}", f"{two}, {one}"):
        graph = Table(rows, cells).load()
        assert column(graph, "neuron_id") == [1, 2, 3]
        assert column(graph, "cell_type") == ["T1", "T2", "T3"]
        assert "1 cells are not in one.csv" in notes(graph)
        assert len(graph.provenance.files) == 3
    graph = Table(rows, f"{one},{two}").load()
    assert column(graph, "note") == ["y", "x", None]
    assert column(graph, "note_2") == ["w", "v", "z"]


def test_a_cell_that_occurs_twice_is_named(load: Any) -> None:
    with pytest.raises(CompileError, match="cell 1 occurs twice, first in line 2") as caught:
        load("pre,post; 1,2", "id,cell_type; 1,a; 2,b; ,c; 1,d")
    assert caught.value.where.endswith("cells.csv, line 5, column id")


# --- bad input ------------------------------------------------------------------------------------


def test_connections_of_unknown_neurons_are_refused_or_dropped(load: Any, tmp_path: Path) -> None:
    rows, cells = "pre,post; 1,2; 2,9; 9,1", "id; 1; 2"
    with pytest.raises(CompileError, match=r"9 is not in the cell table .2 rows") as caught:
        load(rows, cells)
    assert caught.value.where.endswith("edges.csv, line 4, column pre")
    assert "unknown_neurons=drop" in caught.value.hint
    graph = load(rows, cells, unknown_neurons="drop")
    assert weights(graph) == {("chemical", 1, 2): 1}
    pq.write_table(pa.table({"pre": [1, 2], "post": [2, 9]}), tmp_path / "e.parquet")
    with pytest.raises(CompileError, match="9 is not in the cell table") as caught:
        Table(str(tmp_path / "e.parquet"), str(tmp_path / "cells.csv")).load()
    assert caught.value.where.endswith("e.parquet, row 2, column post")


@pytest.mark.parametrize(
    ("value", "problem"),
    [("1.5", "'1.5'"), ("many", "'many'"), ("nan", "'nan'"), ("", "a blank")],
)
@pytest.mark.parametrize("least", [0, 2])
def test_weights_that_are_no_counts_name_line_column_and_the_option(
    load: Any, value: str, problem: str, least: int
) -> None:
    with pytest.raises(CompileError, match=problem) as caught:
        load(f"pre,post,weight; a,b,1; a,b,{value}", min_weight=least)
    assert caught.value.where.endswith("edges.csv, line 3, column weight")
    assert ("unit=" in caught.value.hint) == (value == "1.5")  # no unit makes others a number


@pytest.mark.parametrize("value", [-4, None])
@pytest.mark.parametrize("least", [0, 2])
def test_whole_numbers_that_are_no_counts(tmp_path: Path, value: int | None, least: int) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({"pre": [1, 1], "post": [2, 2], "weight": [9, value]}), path)
    shown = "a blank" if value is None else value
    with pytest.raises(CompileError, match=f"{shown} is not a synapse count") as caught:
        Table(str(path), min_weight=least, signs="none").load()
    assert caught.value.where == f"{path}, row 2, column weight"


@pytest.mark.parametrize("value", ["many", "nan", "inf", ""])
def test_weights_of_other_units_are_finite_numbers(load: Any, value: str) -> None:
    with pytest.raises(CompileError, match="is not finite") as caught:
        load(f"pre,post,weight; a,b,0.5; a,b,{value}", unit="um2", min_weight=0.1)
    assert caught.value.where.endswith("edges.csv, line 3, column weight")


@pytest.mark.parametrize("rows", ["1,2,AL,3; 2,1,AL,1; 1,2,MB,2", "a,b,AL,3; b,a,AL,1; a,b,MB,2"])
def test_repeated_pairs_are_refused_where_they_should_not_be(load: Any, rows: str) -> None:
    with pytest.raises(CompileError, match=r"(1 -> 2|a -> b) occurs twice .1 such") as caught:
        load(f"pre,post,neuropil,weight; {rows}", duplicates="error")
    assert caught.value.where.endswith("edges.csv, line 4")
    graph = load("pre,post,weight,kind; a,b,1,gap; a,b,1,chemical", duplicates="error")
    assert len(weights(graph)) == 3


def rounded(n: int, unit: int) -> list[int]:
    rng = np.random.default_rng(0)
    ids = BIG + rng.choice(10**9, n, replace=False)
    return [int(i) // unit * unit for i in ids]


@pytest.mark.parametrize(("unit", "how"), [(128, "through float64"), (1000, "to 15 digits")])
@pytest.mark.parametrize("drop", ["error", "drop"])
def test_ids_that_were_rounded_are_found(load: Any, unit: int, how: str, drop: str) -> None:
    exact, wrong = rounded(9, 1), rounded(9, unit)
    rows = "; ".join(["pre,post", *(f"{a},{b}" for a, b in pairwise(wrong))])
    with pytest.raises(CompileError, match=f"ids seem to be rounded {how}"):
        load(rows)
    cells = "; ".join(["id", *map(str, exact)])
    with pytest.raises(CompileError, match=f"ids seem to be rounded {how}") as caught:
        load(rows, cells, unknown_neurons=drop)
    assert "edges.csv" in caught.value.where
    # One exact pair, so that the files fit together.
    with pytest.raises(CompileError, match=f"ids seem to be rounded {how}"):
        load(f"{rows}; {exact[0]},{exact[1]}", cells, unknown_neurons=drop)
    mixed = "; ".join(["id", *map(str, wrong)])
    good = "; ".join(["pre,post", *(f"{a},{b}" for a, b in pairwise(exact))])
    with pytest.raises(CompileError, match=f"ids seem to be rounded {how}") as caught:
        load(good, mixed, unknown_neurons=drop)
    assert "cells.csv" in caught.value.where
    assert load(good, cells).n_neurons == 9


@pytest.mark.parametrize("value", ["7.2057594062103915e+17", "7.2e17", "720575940621039145.0"])
def test_ids_in_floating_point_spelling_are_refused(load: Any, value: str) -> None:
    for rows in (f"1,2; {value},2", f"{value},{value}"):
        with pytest.raises(CompileError, match="is not an exact id") as caught:
            load(f"pre,post; {rows}")
        assert "column pre" in caught.value.where
    with pytest.raises(CompileError, match="is not an exact id"):
        load(f"pre,post; {BIG},{BIG}; {value},{BIG}", f"id; {BIG}")


def test_ids_in_columns_of_floats_are_refused_beyond_2_53(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({"pre": [1.0, float(BIG)], "post": [2.0, 1.0]}), path)
    with pytest.raises(CompileError, match="is not an exact id") as caught:
        Table(str(path)).load()
    assert caught.value.where == f"{path}, row 2, column pre"
    pq.write_table(pa.table({"pre": [1.0, 3.0], "post": [2.0, 1.0]}), path)
    assert column(Table(str(path)).load(), "neuron_id") == [1, 2, 3]


def test_small_ids_and_names_are_never_taken_for_rounded(load: Any) -> None:
    rows = "; ".join(f"{128 * k},{1000 * k}" for k in range(1, 40))
    assert load(f"pre,post; {rows}").n_connections == 39
    assert column(load("pre,post; 1e5a,E5"), "neuron_id") == ["1e5a", "E5"]


def test_ids_that_are_partly_text_are_refused(load: Any) -> None:
    with pytest.raises(CompileError, match="'x' is not a number, unlike other ids") as caught:
        load("pre,post; 1,2; x,3")
    assert caught.value.where.endswith("line 3, column pre")
    with pytest.raises(CompileError, match="the id is missing"):
        load("pre,post; a,b; ,c")


def test_nothing_left_after_filters_says_what_was_dropped(load: Any) -> None:
    with pytest.raises(CompileError, match="no connections are left") as caught:
        load("pre,post,weight; a,b,1; b,c,2", min_weight=5)
    assert "2 pairs below 5 synapses dropped, 3 synapses" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "where"),
    [({"min_weight": -1}, "min_weight"), ({"min_weight": float("nan")}, "min_weight"),
     ({"unit": " "}, "unit")],
)  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any], where: str) -> None:
    with pytest.raises(CompileError) as caught:
        Table("e.csv", **options)
    assert caught.value.where == f"table.{where}"


@pytest.mark.parametrize("name", ["orientation", "sheet", "population"])
def test_options_that_a_plain_table_has_no_use_for(load: Any, name: str) -> None:
    with pytest.raises(CompileError, match="which is a table") as caught:
        load("pre,post; 1,2", **{name: "pre-post"})
    assert caught.value.where == f"table.{name}"


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a?.csv", "it's.csv"])
def test_no_other_file_is_read_than_the_one_that_is_named(tmp_path: Path, name: str) -> None:
    """DuckDB takes such names for patterns."""
    for other in ("a1.csv", "ab.csv"):
        write(tmp_path / other, "pre,post; x,y")
    graph = Table(write(tmp_path / name, "pre,post; a,b")).load()
    assert weights(graph) == {("chemical", "a", "b"): 1}


def test_connections_of_weight_zero_are_counted(load: Any) -> None:
    graph = load("pre,post,weight; a,b,0; a,c,2; a,c,-2; b,a,1", unit="mV", signs="none")
    assert "1 rows of weight 0 left out: no connection" in notes(graph)
    assert "1 connections whose weights sum to 0: kept" in notes(graph)


def test_true_and_false_stay_what_they_are(load: Any, tmp_path: Path) -> None:
    graph = load("pre,post; 1,2; 2,3", "id,flag,word; 1,True,true; 2,False,no; 3,,yes")
    assert column(graph, "flag") == [True, False, None]
    assert column(graph, "word") == ["true", "no", "yes"]
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3], "flag": [True, None, False]}), path)
    graph = Table(write(tmp_path / "e.csv", "pre,post; 1,2; 2,3"), str(path)).load()
    assert column(graph, "flag") == [True, None, False]


def test_no_file_is_an_error() -> None:
    with pytest.raises(CompileError, match="is empty") as caught:
        Table(" ").load()
    assert caught.value.where == "table.edges"


def test_a_matrix_is_no_table_of_cells(load: Any, tmp_path: Path) -> None:
    cells = write(tmp_path / "m.csv", "id,a,b; a,0,1; b,1,0")
    with pytest.raises(CompileError, match="is an adjacency matrix, not a table of cells"):
        Table(write(tmp_path / "e.csv", "pre,post; a,b"), cells).load()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no such file"):
        Table(str(tmp_path / "none.csv")).load()
    with pytest.raises(CompileError, match=r"none\.csv: no such file"):
        Table(write(tmp_path / "e.csv", "pre,post; 1,2"), str(tmp_path / "none.csv")).load()


# --- readers of other formats ---------------------------------------------------------------------


def made(path: Path, options: ReadOptions) -> Raw:
    assert options.sheet == "two"
    cells = pa.table({"neuron_id": ["b", "a"], "nt": ["ach", "gaba"]})
    rows = {"pre": ["a", "b", "a"], "post": ["b", "a", "a"], "weight": [2, 3, 4]}
    kinds = {"kind": ["chemical", "chemical", "electrical"]}
    signs = {"sign": pa.array([1, 0, 0], pa.int8())}
    facts = Facts("a made file", "network", "pre", "post", cell_id="neuron_id")
    edges = pa.table({**rows, **kinds, **signs})
    return Raw(edges, cells, facts, (f"read from {path.name}",))


def test_what_a_reader_returns_goes_through_the_same_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Reader(
        "a made file", lambda head, path: head.startswith(b"MADE"), f"{__name__}:made", ("sheet",)
    )
    monkeypatch.setattr(_readers, "READERS", (own,))
    monkeypatch.setattr(_readers, "import_module", lambda name: __import__("sys").modules[name])
    path = tmp_path / "graph"
    path.write_bytes(gzip.compress(b"MADE by hand"))
    graph = Table(str(path), species="fly", sheet="two").load()
    assert weights(graph) == {
        ("chemical", "a", "b"): 2, ("chemical", "b", "a"): 3, ("electrical", "a", "a"): 4
    }  # fmt: skip
    assert column(graph, "sign") == [-1, 1]
    assert edges(graph)["chemical", "a", "b"][2] == 1
    assert "is a made file\nread from graph" in notes(graph)
    for name in ("preset", "pre", "roi", "orientation", "population"):
        value = {"preset": "flywire", "orientation": "pre-post"}.get(name, "x")
        more = {"post": "x"} if name == "pre" else {}
        with pytest.raises(CompileError, match="which is a made file") as caught:
            Table(str(path), sheet="two", **{name: value}, **more).load()
        assert caught.value.where == f"table.{name}"
        assert "sheet" in caught.value.hint.partition("options for a made file: ")[2]
    extra = write(tmp_path / "more.csv", "name,cell_type; a,T; b,U")
    graph = Table(str(path), extra, sheet="two").load()
    assert column(graph, "cell_type") == ["T", "U"]
    with pytest.raises(CompileError, match="does not apply to graph, which is a made file") as e:
        Table(str(path), sheet="two", pre="a", post="b").load()
    assert e.value.where == "table.pre"
    assert table_module.reader_of is _readers.reader_of


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fly_brain_takes_seconds(tmp_path: Path) -> None:
    """Four million connections of 140,000 neurons, with ids of FlyWire's length."""
    rng = np.random.default_rng(0)
    ids = BIG + rng.choice(10**9, 140_000, replace=False)
    ends = {c: rng.choice(ids, 4_000_000) for c in ("pre_root_id", "post_root_id")}
    pq.write_table(pa.table({**ends, "syn_count": rng.integers(1, 9, 4_000_000)}), tmp_path / "e")
    pq.write_table(pa.table({"root_id": ids}), tmp_path / "c")
    started = time.process_time()
    graph = Table(str(tmp_path / "e"), str(tmp_path / "c")).load()
    assert graph.n_neurons == 140_000
    assert time.process_time() - started < 20
