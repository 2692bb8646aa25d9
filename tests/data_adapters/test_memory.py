"""Data in memory are read as files are: the same rules, the same graphs, the same questions."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import connectome_compiler as cc
from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._frames import fingerprint, in_python, read_frame, table_of
from connectome_compiler.data_adapters.mesoscale import Mesoscale
from connectome_compiler.data_adapters.microns_v1 import MicronsV1
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.sources import data

pytestmark = pytest.mark.filterwarnings("ignore:.*not known to be measured")
BIG = 720575940621039145  # above 2**53, not a multiple of 128
EDGES = pd.DataFrame(
    {"pre": ["a", "a", "b", "c"], "post": ["b", "c", "c", "a"], "weight": [3, 2, 1, 5]}
)
CELLS = pd.DataFrame(
    {"name": ["a", "b", "c"], "neurotransmitter": ["ACh", "GABA", None], "note": ["x", "y", "z"]}
)
IDS = EDGES.assign(
    pre=EDGES["pre"].map({"a": BIG, "b": BIG + 1, "c": BIG + 2}),
    post=EDGES["post"].map({"a": BIG, "b": BIG + 1, "c": BIG + 2}),
)
MATRIX: Any = np.array([[0, 3, 2, 0], [0, 0, 1, 0], [5, 0, 0, 4], [0, 1, 0, 2]])

MASKED: Any = np.ma.MaskedArray(MATRIX, MATRIX == 0)  # type: ignore[no-untyped-call]


def indexed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index(list(frame.columns[:2]))


LISTS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas, a slice": lambda frame: pd.concat([frame, frame]).iloc[: len(frame)],
    "pandas, numbers of rows as they were": lambda frame: frame.set_index(
        pd.Index(range(7, 7 + 2 * len(frame), 2))
    ),
    "pandas, an index of names": indexed,
    "pandas, Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "pandas, nullable": lambda frame: frame.convert_dtypes(),
    "pandas, categories": lambda frame: frame.astype({"pre": "category", "post": "category"}),
    "polars": pl.from_pandas,
    "polars, categories": lambda frame: pl.from_pandas(frame).with_columns(
        pl.col(pl.String).cast(pl.Categorical)
    ),
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "pyarrow, chunks": lambda frame: pa.concat_tables(
        [pa.Table.from_pandas(part, preserve_index=False) for part in (frame[:1], frame[1:])]
    ),
    "pyarrow, a batch": lambda frame: pa.RecordBatch.from_pandas(frame, preserve_index=False),
    "numpy, fields": lambda frame: frame.to_records(index=False),
}


def told(graph: Graph) -> list[str]:
    return [note for step in graph.provenance.steps for note in step.notes]


def same(graph: Graph, other: Graph) -> None:
    """Check that two graphs agree in all but their origin, notes included."""
    assert graph == other
    assert graph.digest() == other.digest()
    assert graph.neurons().equals(other.neurons())
    assert [s.name for s in graph.provenance.steps] == [s.name for s in other.provenance.steps]
    names = [
        re.escape(f.name) for g in (graph, other) for f in g.provenance.files
    ]  # told where they came from
    origin = re.compile("|".join(sorted(names, key=len, reverse=True)))
    assert [origin.sub("", n) for n in told(graph)] == [origin.sub("", n) for n in told(other)]


# --- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", ["text", "numbers"])
@pytest.mark.parametrize("kind", LISTS)
def test_every_kind_of_frame_gives_the_graph_of_the_file(
    kind: str, ids: str, tmp_path: Path
) -> None:
    edges = EDGES if ids == "text" else IDS
    edges.to_parquet(tmp_path / "e.parquet")
    edges.to_csv(tmp_path / "e.csv", index=False)
    made = cc.load("table", edges=LISTS[kind](edges), min_weight=2)
    for name in ("e.parquet", "e.csv"):
        same(made, cc.load("table", edges=tmp_path / name, min_weight=2))
    (file,) = made.provenance.files
    assert file.name == "from memory"
    assert file.sha256 == fingerprint(table_of(named(edges))).sha256  # whatever holds them
    assert made.provenance.dataset == "table:memory"
    assert made.provenance.title == "Connections of edges from memory"


def named(value: Any, option: str = "edges") -> Any:
    from dataclasses import replace

    found = data(value)
    assert found is not None
    return replace(found, option=option)


def test_cells_come_from_files_and_frames_in_any_mixture(tmp_path: Path) -> None:
    EDGES.to_csv(tmp_path / "e.csv", index=False)
    CELLS.to_csv(tmp_path / "c.csv", index=False)
    more = pd.DataFrame({"name": ["a", "b", "c"], "side": ["L", "R", "L"]})
    more.to_csv(tmp_path / "d.csv", index=False)
    files = Table(tmp_path / "e.csv", f"{tmp_path}/c.csv,{tmp_path}/d.csv", species="fly").load()
    assert files.neurons()["sign"].tolist()[:2] == [1, -1]
    mixtures: list[Any] = [
        [CELLS, more],
        [tmp_path / "c.csv", more],
        (str(tmp_path / "c.csv"), tmp_path / "d.csv"),
        [pl.from_pandas(CELLS), pa.Table.from_pandas(more)],
        [CELLS.set_index("name"), more],
        CELLS.merge(more),
    ]
    for cells in mixtures:
        graph = cc.load("table", edges=EDGES, cells=cells, species="fly")
        assert graph == files
        assert graph.neurons().equals(files.neurons())
    graph = cc.load("table", edges=tmp_path / "e.csv", cells=[CELLS, tmp_path / "d.csv"])
    assert [f.name for f in graph.provenance.files] == ["e.csv", "from memory", "d.csv"]
    assert graph.provenance.title == "Connections of e.csv and cells[0] from memory and d.csv"


def test_ids_in_an_index_without_a_name_are_found() -> None:
    cells = pd.DataFrame({"kind_of": ["x", "y", "z"]}, index=[BIG, BIG + 1, BIG + 2])
    graph = cc.load("table", edges=IDS, cells=cells, cell_id="column0")
    assert graph.neurons()["kind_of"].tolist() == ["x", "y", "z"]
    texts = pd.DataFrame({"kind_of": ["x", "y", "z"]}, index=["a", "b", "c"])
    graph = cc.load("table", edges=EDGES, cells=texts, cell_id="column0")
    assert graph.neurons()["kind_of"].tolist() == ["x", "y", "z"]


def test_an_index_that_counts_rows_is_no_column() -> None:
    shuffled = EDGES.sample(frac=1, random_state=1)
    assert read_frame(named(shuffled)).column_names == ["pre", "post", "weight"]
    again = EDGES.set_index("pre", drop=False)
    assert read_frame(named(again)).column_names == ["pre", "post", "weight"]


def test_a_query_of_cave_works_as_it_is() -> None:
    rng = np.random.default_rng(0)
    n = 40
    synapses = pd.DataFrame(
        {
            "id": np.arange(n) + 3_000_000,
            "created": pd.Timestamp("2020-11-04", tz="UTC"),
            "superceded_id": np.nan,
            "valid": True,
            "size": rng.integers(100, 9000, n),
            "pre_pt_supervoxel_id": rng.integers(8 * 10**16, 9 * 10**16, n),
            "pre_pt_root_id": BIG + rng.integers(0, 4, n),
            "post_pt_supervoxel_id": rng.integers(8 * 10**16, 9 * 10**16, n),
            "post_pt_root_id": BIG + rng.integers(0, 4, n),
            "pre_pt_position": [np.array([k, 2 * k, 3 * k]) for k in range(n)],
            "post_pt_position": [[k, 2 * k, 3 * k] for k in range(n)],
            "ctr_pt_position": [[k, 2 * k, 3 * k] for k in range(n)],
        }
    )
    cells = pd.DataFrame(
        {
            "pt_root_id": BIG + np.arange(4),
            "cell_type": ["23P", "BC", "4P", "MC"],
            "pt_position": [np.array([1000 * k, 500, 250]) for k in range(4)],
        }
    )
    graph = cc.load("table", edges=synapses, cells=cells)
    assert graph.projections[0].synapses.weight.sum() == n
    assert graph.projections[0].synapses.size is not None
    assert graph.projections[0].synapses.size.sum() == synapses["size"].sum()
    neurons = graph.neurons()
    assert neurons["x_um"].tolist() == [0.0, 4.0, 8.0, 12.0]
    assert neurons["z_um"].tolist() == [10.0] * 4


def test_positions_in_one_column_are_read_from_every_form(tmp_path: Path) -> None:
    position = [[1000 * k, 500, 250] for k in range(3)]
    cells = pd.DataFrame({"name": ["a", "b", "c"], "pt_position": position})
    cells.to_csv(tmp_path / "c.csv", index=False)
    cells.to_feather(tmp_path / "c.feather")
    split = pd.DataFrame(position, columns=[f"pt_position_{axis}" for axis in "xyz"])
    split.insert(0, "name", cells["name"])
    every = [cells, pl.from_pandas(cells), tmp_path / "c.csv", tmp_path / "c.feather", split]
    found = [cc.load("table", edges=EDGES, cells=c).neurons() for c in every]
    assert found[0]["x_um"].tolist() == [0.0, 4.0, 8.0]
    for neurons in found[1:]:
        assert neurons.equals(found[0])


MIXED: dict[str, tuple[Any, list[Any]]] = {
    "numbers and text": ([1, "x", 2.5, None], ["1", "x", "2.5", None]),
    "numbers and true": ([1, True, None, 2], ["1", "True", None, "2"]),
    "decimals": ([Decimal("1.5"), Decimal("2"), None, Decimal("0")], [1.5, 2.0, None, 0.0]),
    "dates": (
        [dt.date(2020, 1, k + 1) for k in range(4)],
        [f"2020-01-0{k + 1}" for k in range(4)],
    ),
    "times": (pd.date_range("2020", periods=4), [f"2020-01-0{k + 1} 00:00:00" for k in range(4)]),
    "nullable numbers": (pd.array([1, None, 3, 4], "Int64"), [1, None, 3, 4]),
    "categories of numbers": (pd.Categorical([1, 1, 2, 3]), [1, 1, 2, 3]),
    "small numbers": (np.array([1, 2, 3, 4], np.uint8), [1, 2, 3, 4]),
    "half precision": (np.array([0.5, 1, 2, 4], np.float16), [0.5, 1.0, 2.0, 4.0]),
    "blank": ([None] * 4, [None] * 4),
    "bytes that are text": ([b"a", b"b", b"c", b"d"], ["a", "b", "c", "d"]),
    "lists": ([[1, 2], [], [3], None], ["[1, 2]", "[]", "[3]", None]),
    "periods": (
        pd.period_range("2020-01", periods=4, freq="M"),
        [f"2020-0{k}" for k in range(1, 5)],
    ),
    "mostly zero": (pd.arrays.SparseArray([0, 0, 1, 0]), [0, 0, 1, 0]),
}


@pytest.mark.parametrize("kind", MIXED)
def test_other_types_of_columns_survive_as_files_would_have_them(kind: str) -> None:
    values, expected = MIXED[kind]
    cells = pd.DataFrame({"name": ["a", "b", "c", "d"], "extra": values})
    edges = EDGES.assign(post=["b", "c", "d", "a"])
    found = cc.load("table", edges=edges, cells=cells).neurons()
    assert [None if pd.isna(v) else v for v in found["extra"]] == expected if expected[0] else True


REFUSED: dict[str, tuple[Any, str]] = {
    "objects": ([object()] * 4, "holds a value of type object in row 1"),
    "a set among text": (["a", {1}, "b", "c"], "holds a value of type set in row 2"),
    "complex": (np.ones(4) * 1j, "holds numbers of type complex128"),
    "bytes": ([b"\xff"] * 4, "holds bytes that are not text"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_file_could_hold_is_refused_by_name(kind: str) -> None:
    values, words = REFUSED[kind]
    frame = EDGES.assign(extra=values)
    with pytest.raises(CompileError) as caught:
        cc.load("table", edges=frame)
    assert caught.value.where == "edges (pandas frame, 4 x 4), column extra"
    assert words in caught.value.problem
    assert "frame.drop(columns='extra')" in caught.value.hint
    assert cc.load("table", edges=frame.drop(columns="extra")) == cc.load("table", edges=EDGES)


def test_what_arrow_does_not_have_is_refused_by_name() -> None:
    wide = pl.from_pandas(EDGES).with_columns(pl.col("weight").cast(pl.Int128).alias("wide"))
    with pytest.raises(CompileError, match="column wide: is of type Int128"):
        cc.load("table", edges=wide)
    objects = pl.DataFrame(
        {"pre": ["a"], "post": ["b"], "o": pl.Series([object()], dtype=pl.Object)}
    )
    with pytest.raises(CompileError, match="column o: holds Python objects"):
        cc.load("table", edges=objects)


SHORT: dict[str, tuple[Any, str, str]] = {
    "a series": (
        EDGES.groupby(["pre", "post"])["weight"].sum(),
        "edges (pandas series, 4): is not a table",
        'series.reset_index(name="weight")',
    ),
    "a lazy frame": (pl.LazyFrame({"a": [1]}), "edges (polars lazy frame): is not", "collect()"),
    "no rows": (EDGES[:0], "edges (pandas frame, 0 x 3): is empty: no rows", ""),
    "no columns": (pd.DataFrame(index=range(3)), "edges (pandas frame, 3 x 0): has no", ""),
    "two levels of names": (
        EDGES.set_axis(pd.MultiIndex.from_product([["x"], EDGES.columns]), axis=1),
        "edges (pandas frame, 4 x 3): has names of columns in 2 levels",
        "frame.columns = [",
    ),
    "a column twice": (EDGES.assign(Weight=1), "column weight and Weight: occurs twice", "rename"),
    "a number among weights": (
        EDGES.assign(weight=[1, 2, "x", 4]),
        "edges (pandas frame, 4 x 3), row 3, column weight: 'x' is not a synapse count",
        "write a number",
    ),
    "half a synapse": (
        EDGES.assign(weight=[1, 2, 0.5, 4]),
        "edges (pandas frame, 4 x 3), row 3, column weight: 0.5 is not a synapse count",
        'unit="um2"',
    ),
    "floats as ids": (
        EDGES.assign(pre=[7.2e17, 1.5, 2, 3]),
        "edges (pandas frame, 4 x 3), row 1, column pre",
        "whole numbers",
    ),
    "three axes": (np.zeros((2, 2, 2)), "edges (numpy array, 2 x 2 x 2): has 3 axes", "labels"),
    "masked": (
        MASKED,
        "edges (numpy array, 4 x 4): is masked",
        "filled(0)",
    ),
    "objects": (np.array([[None]]), "edges (numpy array, 1 x 1): is an array of objects", ""),
    "complex": (MATRIX * 1j, "edges (numpy array, 4 x 4): is an array of complex128", ""),
    "a blank": (
        np.full((3, 3), np.nan),
        "row 0, column 0 (from 0): nan is not a finite",
        "write 0",
    ),
}


@pytest.mark.parametrize("kind", SHORT)
def test_errors_name_the_argument_and_are_short(kind: str) -> None:
    value, words, hint = SHORT[kind]
    with pytest.raises(CompileError) as caught:
        cc.load("table", edges=value)
    text = str(caught.value)
    assert words in text
    assert hint in caught.value.hint
    assert len(text.splitlines()) <= 2
    assert len(text) < 400


# --- hints, followed ------------------------------------------------------------------------------


def test_hints_of_memory_are_right_when_they_are_followed() -> None:
    expected = cc.load("table", edges=EDGES)
    series = EDGES.groupby(["pre", "post"])["weight"].sum()
    assert cc.load("table", edges=series.reset_index(name="weight")) == expected
    lazy = pl.from_pandas(EDGES).lazy()
    assert cc.load("table", edges=lazy.collect()) == expected
    rows = [tuple(row) for row in EDGES.itertuples(index=False)]
    with pytest.raises(CompileError, match="is a list of 4") as caught:
        cc.load("table", edges=rows)
    assert 'pandas.DataFrame(rows, columns=["pre", "post", "weight"])' in caught.value.hint
    frame = pd.DataFrame(rows, columns=["pre", "post", "weight"])
    assert cc.load("table", edges=frame) == expected
    made = cc.load("table", edges=MASKED.filled(0), orientation="pre-post")
    assert made == cc.load("table", edges=MATRIX, orientation="pre-post")


def test_questions_spell_their_answers_as_python_does() -> None:
    other = EDGES.rename(columns={"weight": "strong contacts"})
    with pytest.raises(UnsaidError) as caught:
        cc.load("table", edges=other)
    assert "edges (pandas frame, 4 x 3): no column of weights is known" in str(caught.value)
    assert 'weight="strong contacts"' in caught.value.hint
    assert 'weight="none"' in caught.value.hint
    assert "--set" not in caught.value.hint
    assert cc.load("table", edges=other, weight="strong contacts") == cc.load("table", edges=EDGES)
    one = cc.load("table", edges=other, weight="none")
    assert one.projections[0].synapses.weight.tolist() == [1] * 4
    assert in_python("--set min_weight=5 or --set unit=um2") == 'min_weight=5 or unit="um2"'
    assert in_python("--set pre=1 --set post=2  x") == 'pre="1", post="2"  x'


def test_a_frame_without_names_is_asked_for_as_a_list_without_a_header_is(tmp_path: Path) -> None:
    bare = pd.DataFrame([["a", "b", 3], ["a", "c", 2], ["b", "c", 1], ["c", "a", 5]])
    with pytest.raises(UnsaidError) as caught:
        cc.load("table", edges=bare)
    assert 'pre="1", post="2"' in caught.value.hint
    with pytest.raises(UnsaidError, match="no column of weights is known, but 3 holds"):
        cc.load("table", edges=bare, pre="1", post="2")
    expected = cc.load("table", edges=EDGES)
    assert cc.load("table", edges=bare, pre="1", post="2", weight="3") == expected
    assert cc.load("table", edges=bare, header="none") == expected
    with pytest.raises(CompileError, match="does not apply to edges from memory"):
        cc.load("table", edges=EDGES, header="none")


def test_three_rows_of_three_numbers_are_asked_about() -> None:
    bare = pd.DataFrame([[1, 2, 7], [2, 3, 8], [3, 1, 9]])
    with pytest.raises(UnsaidError, match="a list of 3 connections or a matrix of 3") as caught:
        cc.load("table", edges=bare)
    assert 'header="none", orientation="pre-post"' in caught.value.hint
    graph = cc.load("table", edges=bare, header="none")
    assert graph.projections[0].synapses.weight.tolist() == [9, 7, 8]
    graph = cc.load("table", edges=bare, header="none", orientation="pre-post")
    assert graph.projections[0].synapses.weight.tolist() == [1, 2, 3, 2, 3, 1, 7, 8, 9]


# --- matrices -------------------------------------------------------------------------------------

NAMES = ["AVAL", "AVAR", "DVA", "PVCL"]
FORMS = ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")


def in_form(form: Any, matrix: Any) -> Any:
    return sparse.coo_array(matrix).asformat(form)


MATRICES: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda m: m,
    "numpy, columns first": np.asfortranarray,
    "numpy, real": lambda m: m.astype(float),
    "numpy, small": lambda m: m.astype(np.uint8),
    **{f"scipy {form}": partial(in_form, form) for form in FORMS},
    "scipy, an old matrix": sparse.csr_matrix,
    "pandas": pd.DataFrame,
}


@pytest.mark.parametrize("orientation", ["pre-post", "post-pre"])
@pytest.mark.parametrize("kind", MATRICES)
def test_every_kind_of_matrix_gives_the_graph_of_the_file(
    kind: str, orientation: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "m.npy", MATRIX)
    np.savetxt(tmp_path / "m.csv", MATRIX, fmt="%d", delimiter=",")
    made = cc.load("table", edges=MATRICES[kind](MATRIX), orientation=orientation)
    for name in ("m.npy", "m.csv"):
        assert made == cc.load("table", edges=tmp_path / name, orientation=orientation)
    (file,) = made.provenance.files
    other = cc.load("table", edges=MATRIX, orientation="pre-post")
    assert (file.name, file.sha256) == ("from memory", other.provenance.files[0].sha256)


def test_cells_that_occur_twice_in_a_sparse_matrix_are_summed_and_it_stays_as_it_was() -> None:
    twice = sparse.coo_array(([1, 2, 4], ([0, 0, 1], [1, 1, 2])), shape=(3, 3))
    graph = cc.load("table", edges=twice, orientation="pre-post")
    assert graph.projections[0].synapses.weight.tolist() == [3, 4]
    assert twice.nnz == 3
    csr = sparse.csr_array(([1, 2, 4], [1, 1, 2], [0, 2, 3, 3]), shape=(3, 3))
    assert cc.load("table", edges=csr, orientation="pre-post") == graph
    assert csr.nnz == 3


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        tuple(NAMES),
        np.array(NAMES),
        pd.Series(NAMES),
        pd.Index(NAMES),
        pl.Series(NAMES),
        pa.array(NAMES),
    ],
    ids=lambda value: type(value).__module__ + "." + type(value).__name__,
)
def test_labels_in_memory_name_the_neurons(labels: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("\n".join(NAMES) + "\n")
    pd.DataFrame(MATRIX, NAMES, NAMES).to_csv(tmp_path / "m.csv")
    expected = cc.load("table", edges=tmp_path / "m.csv", orientation="pre-post")
    made = cc.load("table", edges=MATRIX, labels=labels, orientation="pre-post")
    assert made == expected
    assert made == cc.load(
        "table", edges=MATRIX, labels=tmp_path / "labels.csv", orientation="pre-post"
    )
    assert [f.name for f in made.provenance.files] == ["from memory"] * 2
    with pytest.raises(CompileError, match="has 4 names for 2 neurons"):
        cc.load("table", edges=MATRIX[:2, :2], labels=labels, orientation="pre-post")


def test_labels_that_are_no_names_are_refused() -> None:
    for labels, words in (
        (["a", "b", None, "d"], "item 3: is a NoneType, not a name"),
        (["a", "b", "", "d"], "cell 3 has no name"),
        (["a", "b", "b", "d"], "'b' is the name of several cells"),
        (MATRIX, "is not a list of names"),
    ):
        with pytest.raises(CompileError, match=words):
            cc.load("table", edges=MATRIX, labels=labels, orientation="pre-post")


def test_a_frame_with_equal_names_on_both_axes_is_a_matrix(tmp_path: Path) -> None:
    frame = pd.DataFrame(MATRIX, NAMES, NAMES)
    frame.to_csv(tmp_path / "m.csv")
    with pytest.raises(UnsaidError, match="does not say in which direction") as caught:
        cc.load("table", edges=frame)
    assert 'orientation="pre-post"' in caught.value.hint
    assert "AVAR" in str(caught.value)
    for orientation in ("pre-post", "post-pre"):
        same(
            cc.load("table", edges=frame, orientation=orientation),
            cc.load("table", edges=tmp_path / "m.csv", orientation=orientation),
        )
    numbered = pd.DataFrame(MATRIX, [12, 15, 17, 99], [12, 15, 17, 99])
    graph = cc.load("table", edges=numbered, orientation="pre-post")
    assert graph.neurons()["neuron_id"].tolist() == [12, 15, 17, 99]
    blank = frame.astype(float).mask(frame == 0)
    assert cc.load("table", edges=blank, orientation="pre-post") == cc.load(
        "table", edges=frame, orientation="pre-post"
    )
    tall = frame[["AVAL", "DVA"]]  # two have no inputs
    tall.to_csv(tmp_path / "tall.csv")
    assert cc.load("table", edges=tall, orientation="pre-post") == cc.load(
        "table", edges=tmp_path / "tall.csv", orientation="pre-post"
    )


def test_a_pivot_table_says_in_which_direction_it_runs() -> None:
    listed = cc.load("table", edges=EDGES)
    wide = EDGES.pivot_table(index="pre", columns="post", values="weight")
    assert cc.load("table", edges=wide) == listed
    assert cc.load("table", edges=wide.T) == listed
    turned = cc.load("table", edges=wide, orientation="post-pre")  # the user has the last word
    assert turned == cc.load("table", edges=EDGES.rename(columns={"pre": "post", "post": "pre"}))


def test_a_symmetric_matrix_in_memory_is_asked_about() -> None:
    both = MATRIX + MATRIX.T
    with pytest.raises(UnsaidError, match="exactly symmetric") as caught:
        cc.load("table", edges=both)
    assert 'kind="electrical"' in caught.value.hint
    graph = cc.load("table", edges=both, kind="electrical")
    assert [p.kind for p in graph.projections] == ["electrical"]


def test_an_array_of_three_columns_is_a_list() -> None:
    rows = np.array([[1, 2, 3], [1, 3, 2], [2, 3, 1], [3, 1, 5]])
    with pytest.raises(UnsaidError) as caught:
        cc.load("table", edges=rows)
    assert 'pre="1", post="2"' in caught.value.hint
    graph = cc.load("table", edges=rows, pre="1", post="2", weight="3")
    assert graph.projections[0].synapses.weight.tolist() == [5, 3, 2, 1]


# --- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nx.DiGraph, nx.Graph, nx.MultiDiGraph, nx.MultiGraph])
def test_every_kind_of_network_gives_the_graph_of_the_file(kind: Any, tmp_path: Path) -> None:
    network = kind()
    for name, transmitter in (("a", "ACh"), ("b", "GABA"), ("c", "Glu")):
        network.add_node(name, neurotransmitter=transmitter)
    for pre, post, weight in EDGES.itertuples(index=False):
        network.add_edge(pre, post, weight=int(weight))
    nx.write_graphml(network, tmp_path / "n.graphml")
    made = cc.load("table", edges=network, species="fly")
    assert made == cc.load("table", edges=tmp_path / "n.graphml", species="fly")
    assert made.neurons()["neurotransmitter"].tolist() == ["acetylcholine", "gaba", "glutamate"]
    assert made.provenance.files[0].name == "from memory"
    cells = cc.load("table", edges=EDGES, cells=network, species="fly")
    assert cells.neurons()["sign"].tolist() == [1, -1, -1]


def test_a_modelled_network_stays_modelled() -> None:
    network = cc.load("table", edges=EDGES, evidence="modelled").to_networkx(level="neuron")
    again = cc.load("table", edges=network)
    assert again.provenance.connectivity == "modelled"


# --- hashes ---------------------------------------------------------------------------------------


def hashed(value: Any) -> str:
    return str(fingerprint(table_of(named(value))).sha256)


def test_equal_data_have_one_hash_whatever_holds_them() -> None:
    frame = pd.DataFrame(
        {
            "number": [1, 2, 3],
            "real": [0.5, np.nan, 2.0],
            "text": ["a", None, "\u00e9"],
            "yes": [True, False, True],
            "time": pd.date_range("2020", periods=3),
            "list": [[1, 2], [3], []],
        }
    )
    first = hashed(frame)
    polars = pl.from_pandas(frame)
    table = pa.Table.from_pandas(frame)
    for other in (
        polars, table, frame.convert_dtypes(), frame.astype({"text": "category"}),
        frame.astype({"number": "int8"}), frame.astype({"number": float}),
        pa.concat_tables([table[:1], table[1:]]), table.to_batches()[0],
        polars.with_columns(pl.col("text").cast(pl.Categorical)),
        polars.with_columns(pl.col("real").fill_null(float("nan"))),
        frame.set_axis([5, 6, 7]),
    ):  # fmt: skip
        assert hashed(other) == first


def test_other_data_have_another_hash() -> None:
    frame = pd.DataFrame({"a": ["x", "yz"], "b": [1, 2]})
    columns: list[tuple[str, list[Any]]] = [
        *(("a", x) for x in (["xy", "z"], ["x", None], ["x", ""])),
        *(("b", x) for x in ([1, 3], [1.5, 2], ["1", "2"], [1, None], [True, False])),
        *(("b", x) for x in ([1, 2**40], [-1, 2], [[1], [2]], [[1, 2], []])),
    ]
    others = [
        *(frame[["b", "a"]], frame.rename(columns={"b": "c"}), frame[:1], frame[::-1]),
        *(frame.assign(**{name: pd.Series(values)}) for name, values in columns),
    ]
    hashes = [hashed(frame), *map(hashed, others)]
    assert len(set(hashes)) == len(hashes)


def test_a_matrix_is_hashed_with_its_names_and_shape() -> None:
    def of(value: Any, **options: Any) -> str:
        graph = cc.load("table", edges=value, orientation="pre-post", **options)
        return graph.provenance.files[0].sha256

    wide = np.pad(MATRIX, ((0, 1), (0, 1)))
    hashes = {of(MATRIX), of(wide), of(MATRIX * 2), of(pd.DataFrame(MATRIX, NAMES, NAMES))}
    assert len(hashes) == 4
    assert of(MATRIX, labels=NAMES) == of(MATRIX)


def test_a_stream_that_can_be_read_once_is_kept() -> None:
    adapter = Table(pa.Table.from_pandas(EDGES).to_reader())
    assert adapter.load() == adapter.load() == cc.load("table", edges=EDGES)
    assert "read as 3 neurons" in adapter.outline()


def test_frames_of_numbers_are_not_copied() -> None:
    frame = pd.DataFrame({"pre": np.arange(1000), "post": np.arange(1000), "w": np.ones(1000)})
    table = table_of(named(frame))
    for name in frame:
        there = table.column(name).chunk(0).buffers()[1].address
        assert there == frame[name].to_numpy().ctypes.data
    arrow = pa.table({"pre": ["a"], "post": ["b"]})
    assert table_of(named(arrow)).column("pre").chunk(0).buffers()[2].address == (
        arrow.column("pre").chunk(0).buffers()[2].address
    )


# --- modules --------------------------------------------------------------------------------------


def test_a_module_from_memory_is_that_of_the_files_but_for_its_origin(tmp_path: Path) -> None:
    """To the byte, where the files have the name that data in memory have."""
    for folder, frame in (("e", EDGES), ("c", CELLS), ("files", None)):
        (tmp_path / folder).mkdir()
        if frame is not None:
            frame.to_csv(tmp_path / folder / "from memory", index=False)
    options: dict[str, Any] = {"species": "fly", "data_title": "Mine", "dataset": "mine"}
    paths: dict[str, Any] = {
        "edges": tmp_path / "e" / "from memory",
        "cells": tmp_path / "c" / "from memory",
    }
    files = cc.build("table", tmp_path / "files" / "net.py", **paths, **options)
    built = cc.build("table", tmp_path / "net.py", edges=EDGES, cells=CELLS, **options)
    assert built.graph == files.graph
    assert built.graph.digest() == files.graph.digest()
    assert built.emission.source != files.emission.source
    assert without_hashes(built) == without_hashes(files)
    text = built.written[-1].read_text()
    assert text.count("from memory, sha256") == 2
    assert str(tmp_path) not in text
    again: dict[str, Any] = {"edges": pl.from_pandas(EDGES), "cells": [pa.Table.from_pandas(CELLS)]}
    other = cc.build("table", tmp_path / "net.py", verify=False, **again, **options)
    assert other.emission.source == built.emission.source
    saved = built.graph.save(tmp_path / "saved")
    assert cc.verify(tmp_path / "net.py", saved).n_connections == 4


def without_hashes(built: cc.Built) -> str:
    """Return the text of a module without hash and size of its files, and the hashes over that."""
    text = built.emission.source
    for file in built.graph.provenance.files:
        text = text.replace(file.sha256, "HASH").replace(file.sha256[:16], "HASH")
        text = re.sub(rf'"bytes": {file.n_bytes}\b', "BYTES", text)
    return re.sub(r'"(header_|graph_)?sha256": "[0-9a-f]{64}"', "HASH", text)


def test_it_is_the_same_recipe_from_the_command_line(tmp_path: Path) -> None:
    """There and in a recipe, options are paths."""
    EDGES.to_csv(tmp_path / "e.csv", index=False)
    (tmp_path / "my.toml").write_text('extends = "table"\n[set]\nedges = "e.csv"\n')
    by_word = cc.load_recipe("table", [f"edges={tmp_path}/e.csv"]).make().source
    assert by_word.edges == str(tmp_path / "e.csv")
    assert cc.load_recipe(tmp_path / "my.toml").make().source.edges == "e.csv"
    changed = cc.load_recipe(tmp_path / "my.toml", edges=EDGES)
    assert cc.load_graph(changed, after="source") == by_word.load()


def test_an_outline_shows_data_in_memory() -> None:
    shown = Table(EDGES, CELLS).outline()
    assert "from memory: a table" in shown
    assert "read as 3 neurons" in shown


# --- other adapters -------------------------------------------------------------------------------


def test_the_column_reads_frames() -> None:
    edges = pd.DataFrame({"pre_pt_root_id": [1, 2, 3], "post_pt_root_id": [2, 3, 1]})
    cells = pd.DataFrame(
        {"pt_root_id": [1, 2, 3], "cell_type": ["23P", "BC", "23P"], "cortical_layer": ["L2/3"] * 3}
    )
    graph = cc.load("microns-v1", edges=edges, cells=pl.from_pandas(cells))
    assert graph.n_connections == 3
    assert graph.provenance.dataset == "files:memory"
    assert [f.name for f in graph.provenance.files] == ["from memory"] * 2
    assert MicronsV1() == MicronsV1()
    with pytest.raises(CompileError, match="source=files needs cells"):
        cc.load("microns-v1", edges=edges)


def test_areas_are_read_from_frames(tmp_path: Path) -> None:
    columns = {"area": ["LGN", "V1", "V1"], "layer": ["", "4", "2/3"], "n_neurons": [400, 900, 900]}
    areas = pd.DataFrame({**columns, "output": [None, None, 1], "surface_mm2": [None, 0.5, 0.5]})
    within = pd.DataFrame({"pre_layer": ["4"], "post_layer": ["2/3"], "probability": [0.2]})
    within["width_um"] = 100
    ends = {"pre": ["input", "LGN"], "post": ["LGN", "V14"], "width": [2, 1], "unit": ["px", "px"]}
    between = pd.DataFrame({**ends, "in_degree": [None, 9], "peak": [0.5, 1.0]})
    for name, frame in (("p", areas), ("i", within), ("b", between)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    expected = Mesoscale(tmp_path / "p.csv", tmp_path / "i.csv", tmp_path / "b.csv").load()
    made = Mesoscale(areas, pl.from_pandas(within), between).load()
    assert made.digest() == expected.digest()
    assert made.provenance.dataset == "mesoscale:memory"
    with pytest.raises(CompileError, match=r"populations \(pandas frame, 3 x 5\), row 2, col"):
        Mesoscale(areas.assign(n_neurons=[10, "x", 3]), within, between).load()


# --- random frames --------------------------------------------------------------------------------

TEXTS = (
    st.text(st.sampled_from("abXY12_-\u00e9 "), min_size=1, max_size=4)
    .map(str.strip)
    .filter(lambda text: bool(text) and not re.fullmatch(r"[\d_-]+", text))
)
IDENTITIES = st.one_of(
    st.lists(TEXTS, min_size=2, max_size=5, unique_by=str.lower),
    st.lists(st.integers(0, 2**62), min_size=2, max_size=5, unique=True),
)


@st.composite
def frames(draw: Any) -> pd.DataFrame:
    ids = draw(IDENTITIES)
    n = draw(st.integers(1, 12))
    end = st.lists(st.sampled_from(ids), min_size=n, max_size=n)
    weights = draw(st.lists(st.integers(1, 10**6), min_size=n, max_size=n))
    return pd.DataFrame({"pre": draw(end), "post": draw(end), "weight": weights})


@given(frames(), st.sampled_from(sorted(LISTS)), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_random_frames_give_the_graph_of_their_file(
    tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame, kind: str, least: int
) -> None:
    path = tmp_path_factory.mktemp("random") / "edges.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)

    def outcome(edges: Any) -> Any:
        try:
            return Table(edges, min_weight=least).load()
        except CompileError as error:
            return error.problem

    assert outcome(LISTS[kind](frame)) == outcome(path)
