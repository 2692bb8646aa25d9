from __future__ import annotations

import gzip
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectome_compiler.data_adapters._connections import DROPPED, Connections, read_connections
from connectome_compiler.data_adapters._ids import how_rounded, matching_id
from connectome_compiler.data_adapters._tables import (
    Edges,
    database,
    open_table,
    query,
    translated,
    typed,
    view_of_text,
)
from connectome_compiler.errors import CompileError

BIG = 864691135000000001  # above 2**53: a float would end in ...000


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """Write a table in the format that the name asks for."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return path
    if path.suffix == ".feather":
        pf.write_feather(pa.table(columns), path, compression="lz4")
        return path
    sep = "\t" if ".tsv" in path.name else ","
    rows = [columns.keys(), *zip(*columns.values(), strict=True)]
    text = "".join(sep.join("" if v is None else str(v) for v in row) + "\n" for row in rows)
    body = text.encode()
    path.write_bytes(gzip.compress(body, mtime=0) if path.suffix == ".gz" else body)
    return path


def connections(path: Path, keys: list[Any], codes: list[int], **options: Any) -> Connections:
    with database() as db:
        edges = Edges.open(db, path)
        db.register("codes", pa.table({"key": keys, "code": pa.array(codes, pa.int32())}))
        as_text = isinstance(keys[0], str)
        return read_connections(db, edges, "codes", as_text, options.get("drop_unknown", False))


FORMATS = ["e.csv", "e.csv.gz", "e.tsv", "e.tsv.gz", "e.feather", "e.parquet"]


@pytest.mark.parametrize("name", FORMATS)
def test_reads_every_format_and_keeps_ids_exact(tmp_path: Path, name: str) -> None:
    a, b, c = BIG, BIG + 1, BIG + 2
    path = write(
        tmp_path / name,
        {"pre_root_id": [a, b, a, a], "post_root_id": [b, a, b, c], "size": [3, 4, 5, 6]},
    )
    found = connections(path, [a, b, c], [0, 1, DROPPED])
    assert found.post.tolist() == [0, 1]
    assert found.pre.tolist() == [1, 0]
    assert found.weight.tolist() == [1, 2]
    assert found.size is not None
    assert found.size.tolist() == [4, 8]
    assert (found.n_rows, found.n_dropped_rows) == (4, 1)
    assert found.post.dtype == found.pre.dtype == found.weight.dtype == np.int32


@pytest.mark.parametrize("name", ["e.csv", "e.feather", "e.parquet"])
def test_the_name_of_a_file_does_not_matter(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {"pre": ["a"], "post": ["b"]})
    assert connections(path.rename(tmp_path / "data"), ["a", "b"], [0, 1]).pre.tolist() == [0]


def test_ids_may_be_text_and_categories(tmp_path: Path) -> None:
    ids = pa.array(["AVAL", "AVAR"]).dictionary_encode()
    pf.write_feather(
        pa.table({"source": ids, "target": ids.take(pa.array([1, 0]))}), tmp_path / "e"
    )
    assert connections(tmp_path / "e", ["AVAL", "AVAR"], [0, 1]).pre.tolist() == [1, 0]


@pytest.mark.parametrize("column", ["n_syn", "weight", "Syn Count", "COUNT"])
def test_counts_that_are_aggregated_already_are_summed(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "e.csv", {"pre": [1, 1, 2], "post": [2, 2, 1], column: [3, 4, "1.0"]})
    found = connections(path, [1, 2], [0, 1])
    assert found.weight.tolist() == [1, 7]
    assert found.size is None


def test_a_connection_has_at_most_as_many_synapses_as_32_bits_hold(tmp_path: Path) -> None:
    most = 2**31 - 1
    path = write(tmp_path / "e.csv", {"pre": [1, 1], "post": [2, 2], "n_syn": [most - 1, 1]})
    assert connections(path, [1, 2], [0, 1]).weight.tolist() == [most]
    path = write(tmp_path / "f.csv", {"pre": [1, 1], "post": [2, 2], "n_syn": [most, 1]})
    with pytest.raises(CompileError, match=f"{most:,}"):
        connections(path, [1, 2], [0, 1])


def test_repeated_pairs_are_counted_where_rows_are_counts(tmp_path: Path) -> None:
    rows = {"pre": [1, 1, 1, 2, 3, 3], "post": [2, 2, 2, 1, 1, 1]}
    path = write(tmp_path / "e.csv", {**rows, "n_syn": [3, 4, 1, 1, 1, 1]})
    found = connections(path, [1, 2, 3], [0, 1, DROPPED])
    assert found.weight.tolist() == [1, 8]
    assert found.n_repeated_rows == 2  # those of a cell that is dropped do not matter
    path = write(tmp_path / "f.csv", rows)
    assert connections(path, [1, 2, 3], [0, 1, DROPPED]).n_repeated_rows == 0


@pytest.mark.parametrize(
    ("plus", "minus", "unknown"),
    [
        ("1", "-1", "0"),
        ("+1", "-1.0", ""),
        ("+", "-", None),
        ("Excitatory", " inhibitory", "unknown"),
        ("exc", "inh", "unsure"),
    ],
)
def test_signs_are_read_however_they_are_spelled(
    tmp_path: Path, plus: str, minus: str, unknown: str | None
) -> None:
    table = {"pre": [1, 2, 3], "post": [2, 3, 1], "sign": [plus, minus, unknown]}
    found = connections(write(tmp_path / "e.csv", table), [1, 2, 3], [0, 1, 2])
    assert found.sign is not None
    assert found.sign.dtype == np.int8
    assert list(zip(found.pre.tolist(), found.sign.tolist(), strict=True)) == [
        (2, 0),
        (0, 1),
        (1, -1),
    ]


@pytest.mark.parametrize("kind", [pa.int8(), pa.float64()])
def test_signs_may_be_numbers_in_a_binary_table(tmp_path: Path, kind: pa.DataType) -> None:
    signs = pa.array([1, -1, None if kind == pa.int8() else float("nan")], kind)
    table = {"pre": [1, 2, 3], "post": [2, 3, 1], "sign": signs}
    found = connections(write(tmp_path / "e.parquet", table), [1, 2, 3], [0, 1, 2])
    assert found.sign is not None
    assert found.sign.tolist() == [0, 1, -1]


def test_rows_of_a_pair_that_disagree_on_its_sign_leave_it_unknown(tmp_path: Path) -> None:
    table = {"pre": [1, 1, 2, 2, 2], "post": [2, 2, 1, 1, 1], "sign": ["+", "-", "-", "", "-"]}
    found = connections(write(tmp_path / "e.csv", table), [1, 2], [0, 1])
    assert found.sign is not None
    assert found.sign.tolist() == [-1, 0]
    assert found.n_sign_conflicts == 1


def test_a_table_without_signs_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", {"pre": [1], "post": [2]})
    assert connections(path, [1, 2], [0, 1]).sign is None


def test_columns_that_are_not_used_are_known(tmp_path: Path) -> None:
    columns = ("roi", "pre", "post", "n_syn", "weight", "sign", "size", "nt")
    path = write(tmp_path / "e.csv", {c: [1] for c in columns})
    with database() as db:
        assert Edges.open(db, path).ignored == ["roi", "weight", "nt"]


def test_axons_are_listed_whatever_they_contact(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", {"pre": [1, 3, 9], "post": [3, 2, 2]})
    found = connections(path, [1, 2, 3], [0, 1, DROPPED], drop_unknown=True)
    assert found.listed.tolist() == [0]


def test_sums_of_sizes_do_not_depend_on_order(tmp_path: Path) -> None:
    size = np.random.default_rng(0).lognormal(size=5000).round(9)
    one, two = (
        connections(
            write(tmp_path / f"{k}.csv", {"pre": [1] * 5000, "post": [2] * 5000, "size": list(s)}),
            [1, 2], [0, 1],
        )
        for k, s in enumerate((size, size[::-1]))
    )  # fmt: skip
    assert one.size is not None
    assert two.size is not None
    assert one.size[0] == two.size[0] == pytest.approx(size.sum())


def test_sizes_that_are_missing_in_places_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", {"pre": [1, 1], "post": [2, 2], "size": [1, None]})
    found = connections(path, [1, 2], [0, 1])
    assert found.size is None
    assert found.n_rows_without_size == 1


def test_unknown_cells_are_an_error_or_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", {"pre": [1, 7, 2], "post": [2, 1, 8]})
    with pytest.raises(CompileError, match=r"7 is not in the cell table .2 rows") as caught:
        connections(path, [1, 2], [0, 1])
    assert caught.value.where == f"{path}, line 3, column pre"
    found = connections(path, [1, 2], [0, 1], drop_unknown=True)
    assert found.n_unknown_rows == 2
    assert len(found.post) == 1


@pytest.mark.parametrize(
    ("bad", "column", "problem"),
    [
        ({"pre": "abc"}, "pre", "'abc' is not a number"),
        ({"pre": "8.64e17"}, "pre", "not an exact id"),
        ({"post": "2.5"}, "post", "not an exact id"),
        ({"post": ""}, "post", "the id is missing"),
        ({"n_syn": -3}, "n_syn", "'-3' is not a synapse count"),
        ({"n_syn": 1.5}, "n_syn", "'1.5' is not a synapse count"),
        ({"n_syn": "many"}, "n_syn", "'many' is not a synapse count"),
        ({"n_syn": ""}, "n_syn", "is not a synapse count"),
        ({"size": "big"}, "size", "'big' is not a size"),
        ({"size": -1}, "size", "'-1' is not a size"),
        ({"sign": "2"}, "sign", "'2' is not a sign"),
        ({"sign": "gaba?"}, "sign", r"'gaba\?' is not a sign"),
    ],
)
def test_a_bad_value_is_named_with_line_and_column(
    tmp_path: Path, bad: dict[str, Any], column: str, problem: str
) -> None:
    rows = [{"pre": 1, "post": 2, "n_syn": 1, "size": 5, "sign": "+"} for _ in range(6)]
    rows[4] |= bad
    rows[5] |= bad
    path = write(tmp_path / "e.csv", {c: [r[c] for r in rows] for c in rows[0]})
    with pytest.raises(CompileError, match=problem) as caught:
        connections(path, [1, 2], [0, 1])
    assert caught.value.where == f"{path}, line 6, column {column}"


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    """Blank lines are not rows, and quoted text can have several."""
    path = tmp_path / "e.csv"
    path.write_text('pre,post,n_syn\n"a\nb",c,1\n\n\na,c,x\n')
    with pytest.raises(CompileError, match="'x' is not a synapse count") as caught:
        connections(path, ["a", "a\nb", "c"], [0, 1, 2])
    assert caught.value.where == f"{path}, line 6, column n_syn"


def test_thousands_of_columns(tmp_path: Path) -> None:
    """The header alone is longer than what is looked at first."""
    genes = {f"gene_number_{k}": [k] for k in range(5_000)}
    path = write(tmp_path / "e.csv", {"pre": [1], "post": [2], **genes})
    with database() as db:
        assert len(open_table(db, path, "t").columns) == 5_002


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (["1.0", "2.0"], "1.0 is not an exact id"),
        (["007", "12"], "'007' is not an int64 in plain digits"),
        (["9223372036854775808", "1"], "'9223372036854775808' is not an int64"),
    ],
)
def test_ids_that_are_neither_numbers_nor_text(
    tmp_path: Path, ids: list[str], problem: str
) -> None:
    path = write(tmp_path / "e.csv", {"pre": ids, "post": ids})
    with pytest.raises(CompileError, match=problem) as caught:
        connections(path, [1, 2], [0, 1])
    assert caught.value.where == f"{path}, line 2, column pre"
    with pytest.raises(CompileError, match=problem) as caught:
        matched(tmp_path, {"id": ids}, {"pre": [1, 2], "post": [2, 1]})
    assert caught.value.where == f"{tmp_path / 'c.csv'}, line 2, column id"


def test_a_bad_value_in_a_binary_table_is_named_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", {"pre": [1, 1], "post": [2, 2], "weight": [1.0, 0.5]})
    with pytest.raises(CompileError, match=r"0\.5 is not a synapse count") as caught:
        connections(path, [1, 2], [0, 1])
    assert caught.value.where == f"{path}, row 2, column weight"


def test_ids_stored_as_floats_are_taken_only_where_they_are_exact(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", {"pre": [1.0, 2.0], "post": [2.0, 1.0]})
    assert len(connections(path, [1, 2], [0, 1]).pre) == 2
    path = write(tmp_path / "f.parquet", {"pre": [1.0, float(BIG)], "post": [2.0, 1.0]})
    with pytest.raises(CompileError, match="not an exact id"):
        connections(path, [1, 2], [0, 1])


# Without a time in its header, so that every process collects the same tests.
GZIPPED = gzip.compress(b"pre,post\n" + b"12,13\n" * 99999, mtime=0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"pre,post\n", "a header and no rows"),
        (b"1,2\n3,4\n", "is not a header"),
        (b"a,b\n1,2\n", "no columns for both ends of a connection among: a, b"),
        (b"pre,post,pre\n1,2,3\n", "'pre' occurs twice"),
        (b"pre,post\n1,2\n3\n", "has 1 values, expected 2"),
        (b"pre,post\n1,2\n3,4,5\n", "has 3 values, expected 2"),
        ("pre,post\nM\xfcller,2\n".encode("latin1"), "is not UTF-8"),
        (b"\x01\x02\x00\x00", "binary data"),
        (b"PK\x03\x04rest", "is a broken zip file"),
        (b"\x80\x04pickled", "pickle"),
        (b'{"pre": [1, 2]}', "JSON"),
        (b"\xd0\xcf\x11\xe0", r"it is a workbook \(.xls"),
        (b'pre,post\n"1,2\n', "a quote that is never closed"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"PAR1 but no parquet", "cannot be read"),
        (b"ARROW1 but no arrow", "broken Arrow"),
        (GZIPPED[:90], "broken gzip"),
        (GZIPPED[:-90], "truncated or broken gzip"),
        (b"\x1f\x8b not gzip at all", "broken gzip"),
    ],
)
def test_what_is_no_table_of_connections_is_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "e"
    path.write_bytes(content)
    with pytest.raises(CompileError, match=problem) as caught:
        connections(path, [1, 2, 12, 13], [0, 1, 2, 3])
    assert str(path) in caught.value.where


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (GZIPPED[:90], "", "broken gzip"),
        (GZIPPED[:-90], "", "broken gzip"),
        (b"\x1f\x8b not gzip at all", "", "broken gzip"),
        (b"pre,post\n1,2\n", "", "broken gzip"),
        (gzip.compress(b"pre,post\n1,2\n3\n", mtime=0), ", line 3", "1 values, expected 2"),
        (gzip.compress(b"pre,post\nx,2\n", mtime=0), ", line 2", "'BIGINT'"),
        (gzip.compress(b"pre,post\n1,\xfc\n", mtime=0), ", line 2", "UTF-8"),
    ],
)
def test_what_duckdb_unzips_is_checked_too(
    tmp_path: Path, content: bytes, line: str, problem: str
) -> None:
    path = tmp_path / "gzip" / "e.csv.gz"  # the folder's name says nothing
    path.parent.mkdir()
    path.write_bytes(content)

    def read(db: duckdb.DuckDBPyConnection) -> None:
        columns = {"pre": "BIGINT", "post": "VARCHAR"}
        view_of_text(db, "t", path, columns, ",", header=True, zipped=True)
        query(db, str(path), "SELECT sum(pre), max(post) FROM t")

    with database() as db, pytest.raises(CompileError) as caught:
        read(db)
    assert caught.value.where == f"{path}{line}"
    assert problem in caught.value.problem
    assert bool(caught.value.hint) == (problem in ("broken gzip", "UTF-8"))


@pytest.mark.parametrize(
    ("error", "where", "problem", "hint"),
    [
        (duckdb.IOException("IO Error: no such thing\nmore"), "e.csv", "no such thing", "again"),
        (duckdb.CatalogException("Catalog Error: no such thing"), "e.csv", "no such thing", ""),
        (RuntimeError("Failed to decode gzip stream"), "e.csv", "broken gzip", "again"),
        (pa.ArrowInvalid("Invalid: no such thing"), "e.csv", "no such thing", ""),
        (duckdb.OutOfMemoryException("Out of Memory Error: x"), "e.csv", "too large", "disk"),
        (duckdb.IOException("IO Error: No space left on device"), "e.csv", "too large", "disk"),
        (duckdb.InvalidInputException("CSV Error on Line: 7"), "e.csv, line 7", "is not a row", ""),
        (
            duckdb.InvalidInputException("CSV Error on Line: 7\nOriginal Line: x\nIt is odd. \ny"),
            "e.csv, line 7",
            "It is odd.",
            "",
        ),
    ],
)
def test_what_goes_wrong_in_a_query_is_said_of_the_file(
    error: Exception, where: str, problem: str, hint: str
) -> None:
    with pytest.raises(CompileError) as caught, translated("e.csv"):
        raise error
    assert caught.value.where == where
    assert problem in caught.value.problem
    assert "\n" not in caught.value.problem
    assert (hint in caught.value.hint) if hint else not caught.value.hint
    with pytest.raises(KeyError), translated("e.csv"):  # a bug of ours stays one
        raise KeyError


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with database() as db, pytest.raises(CompileError, match=r"no such file|cannot be read"):
            open_table(db, path, "t")


def test_a_byte_order_mark_quotes_and_windows_line_ends_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "e's.csv"
    path.write_bytes(b'\xef\xbb\xbf"pre";post\r\n"1";2\r\n')
    assert connections(path, [1, 2], [0, 1]).pre.tolist() == [0]


def matched(tmp_path: Path, cells: Mapping[str, Any], edges: Mapping[str, Any]) -> Any:
    with database() as db:
        table = open_table(db, write(tmp_path / "c.csv", cells), "cells")
        return matching_id(db, table, Edges.open(db, write(tmp_path / "e.csv", edges)))


def test_the_column_of_ids_is_the_one_that_the_edges_use(tmp_path: Path) -> None:
    cells = {"id": [1, 2, 3], "root_id": [BIG, BIG + 1, BIG + 2], "name_id": ["x", "y", "z"]}
    assert matched(tmp_path, cells, {"pre": [BIG], "post": [BIG + 2]}) == ("root_id", False)
    assert matched(tmp_path, cells, {"pre": [1], "post": [3]}) == ("id", False)
    assert matched(tmp_path, cells, {"pre": ["x"], "post": ["z"]}) == ("name_id", True)


def test_no_or_two_matching_columns_of_ids_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no end of a connection, for example 7, is an id"):
        matched(tmp_path, {"id": [1, 2]}, {"pre": [7], "post": [8]})
    with pytest.raises(CompileError, match="columns id and root_id both have ids"):
        matched(tmp_path, {"id": [1, 2], "root_id": [2, 1]}, {"pre": [1], "post": [2]})
    same = {"id": [1, 2], "target_id": [1, 2]}
    assert matched(tmp_path, same, {"pre": [1], "post": [2]}) == ("id", False)
    with pytest.raises(CompileError, match="no column of ids among: soma"):
        matched(tmp_path, {"soma": [1]}, {"pre": [1], "post": [2]})
    with pytest.raises(CompileError, match="'x7' is not a number") as caught:
        matched(tmp_path, {"id": [1, 2, "x7"]}, {"pre": [1], "post": [2]})
    assert caught.value.where.endswith("line 4, column id")


def test_a_column_of_words_and_numbers_does_not_hide_the_ids(tmp_path: Path) -> None:
    cells = {"id": [1, 2, 3], "name": ["x", 7, "y"]}
    assert matched(tmp_path, cells, {"pre": [1], "post": [3]}) == ("id", False)


@settings(max_examples=50)
@given(st.lists(st.integers(2**53 + 1, 2**62), min_size=20, unique=True))
def test_rounded_ids_are_told_from_others(ids: list[int]) -> None:
    exact = np.array(ids, np.int64) | 1
    assert how_rounded(exact) == ""
    near = 720575940000000000 + exact % 10**9
    for unit, how in ((128, "through float64"), (1000, "to 15 digits")):
        wrong = np.unique(near // unit * unit)
        assume(len(wrong) >= 3)  # fewer could be so by chance
        assert how_rounded(wrong).startswith(how)
    assert how_rounded(np.arange(0, 10**6, 1000)) == ""
    assert how_rounded(np.array(["720575940621039104"], object)) == ""


@pytest.mark.parametrize("name", ["e.csv", "e.parquet"])
@pytest.mark.parametrize("listed", [True, False])
def test_pairs_below_the_threshold_are_summed_up(tmp_path: Path, name: str, listed: bool) -> None:
    rows = {"pre": [1, 1, 2, 2, 9], "post": [2, 2, 1, 3, 1], "weight": [2, 1, 2, 7, 8]}
    path = write(tmp_path / name, {**rows, "size": [1, 2, 3, 4, 5], "sign": [1, 1, -1, -1, 1]})
    with database() as db:
        keys = pa.table({"key": [1, 2, 3], "code": pa.array([0, 1, DROPPED], pa.int32())})
        db.register("codes", keys)
        edges = Edges.open(db, path)
        edges = replace(edges, count="weight")
        found = read_connections(db, edges, "codes", False, True, at_least=3, listed=listed)
    assert (found.pre.tolist(), found.post.tolist(), found.weight.tolist()) == ([0], [1], [3])
    assert found.size is not None
    assert found.sign is not None
    assert (found.size.tolist(), found.sign.tolist()) == ([3], [1])
    assert (found.n_below, found.weight_below) == (1, 2)
    assert (found.n_rows, found.n_dropped_rows, found.n_unknown_rows) == (5, 1, 1)


def test_text_columns_become_numbers_only_where_nothing_is_lost() -> None:
    def kind(*values: str | None) -> str:
        return str(typed(pa.chunked_array([pa.array(values, pa.string())])).type)

    assert kind("1", None, "-2") == "int64"
    assert kind("1.5", "2") == "double"
    assert kind("007", "8") == "string"
    assert kind("t", "f") == "string"
    assert kind(None, None) == "string"
    assert kind(str(2**63)) != "int64"


@pytest.mark.slow
def test_two_million_rows_take_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = BIG + np.arange(2000)
    ends = pa.table({k: rng.choice(ids, 2_000_000) for k in ("pre", "post")})
    pq.write_table(ends, tmp_path / "e.parquet")
    started = time.process_time()
    found = connections(tmp_path / "e.parquet", ids.tolist(), list(range(2000)))
    assert found.weight.sum() == 2_000_000
    assert time.process_time() - started < 20
