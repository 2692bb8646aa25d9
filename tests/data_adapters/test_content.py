"""A file is recognised by how it begins, whatever it is called, and unzipped to its end."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from connectome_compiler.data_adapters import _content
from connectome_compiler.data_adapters._content import (
    beginning,
    delimiter,
    gunzipped,
    is_flyvis,
    is_graphml,
    is_hdf5,
    is_number,
    is_text_matrix,
    is_workbook,
    must_not_burst,
    unzipped,
)
from connectome_compiler.data_adapters._readers import READERS, formats, reader_of
from connectome_compiler.errors import CompileError

HEADS: list[tuple[bytes, str]] = [
    (b'{"nodes": 1, "pattern": 2}', "flyvis"),
    (b' \n{"offsets": 2}', "flyvis"),
    (b'{"nodes": 1}', ""),
    (b'["pattern"]', ""),
    (b"<graphml>", "graphml"),
    (b"\xef\xbb\xbf \r\n\t<?xml?><graphml>", "graphml"),
    (b"<html>graphml", ""),
    (b"x<graphml>", ""),
    (b"\x89HDF\r\n\x1a\n...", "hdf5"),
    (b"\x89HDF\n\x1a\n...", ""),
    (b",a,b\na,0,1\nb,1,0\n", "matrix"),
    (b"0 1 0 1\n1 0 1 1\n", "matrix"),
    (b"0 1\n1 0\n", "matrix"),
    (b"pre,post\n1,2\n", ""),
    (b"0 1 0 1\n1 0\x00 1 1\n", ""),
    (b",a,b\n\xff,0,1\nb,1,0\n", ""),
]


@pytest.mark.parametrize(("head", "what"), HEADS)
def test_a_file_is_known_by_how_it_begins(tmp_path: Path, head: bytes, what: str) -> None:
    path = tmp_path / "data"
    path.write_bytes(head)
    known = {
        "flyvis": is_flyvis,
        "graphml": is_graphml,
        "hdf5": is_hdf5,
        "workbook": is_workbook,
        "matrix": is_text_matrix,
    }
    assert [name for name, told in known.items() if told(head, path)] == [what] * bool(what)


@pytest.mark.parametrize(
    ("name", "known"), [("xl/workbook.xml", True), ("workbook.xml", False), ("xl/other", False)]
)
def test_a_workbook_has_its_part(tmp_path: Path, name: str, known: bool) -> None:
    path = tmp_path / "data"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, "x")
    assert is_workbook(path.read_bytes(), path) == known
    path.write_bytes(path.read_bytes()[:-10])  # without its list of parts
    assert is_workbook(path.read_bytes(), path) == ("xl/" in name)


@pytest.mark.parametrize(
    ("line", "between"),
    [
        ("a,b;c,d", ","),
        ("a\tb", "\t"),
        ("a;b;c,d", ";"),
        ("a|b", "|"),
        ("a b", " "),
        ('"a,b" c', " "),
    ],
)
def test_what_stands_oftenest_between_values_is_the_delimiter(line: str, between: str) -> None:
    assert delimiter(line) == between


def test_numbers_are_written_as_tables_have_them() -> None:
    assert all(map(is_number, ["1", "-1.5", " 2 ", "1e-3", "nan", "inf", "+.5"]))
    assert not any(map(is_number, ["", " ", "1_000", "\u0661", "0x1", "1,5", "x"]))


# --- first lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("text", "n", "lines", "whole"),
    [
        ("a\nb\n\nc\n", 100, ["a\n", "b\n", "c\n"], True),  # blank lines are none
        ("a\nb\nc\nd\n", 8, ["a\n", "b\n", "c\n", "d\n"], True),
        ("a\nb\nc\nd\ne\n", 8, ["a\n", "b\n", "c\n"], False),  # the last could have been cut
        ("a\nb\nc\nd\ne\n", 5, ["a\n", "b\n", "c\n"], False),
        ("aaaa\nbbbb\ncccc\ndddd\n", 6, ["aaaa\n", "bbbb\n", "cccc\n"], False),
        ("aaaa\nbbbb", 6, ["aaaa\n", "bbbb"], False),
        ("\ufeffa\n\ufeffb", 100, ["a\n", "\ufeffb"], True),
    ],
)
def test_first_lines_are_whole(
    tmp_path: Path, zipped: bool, text: str, n: int, lines: list[str], whole: bool
) -> None:
    path, content = tmp_path / "data", text.encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    start = beginning(content[:n], path)
    assert (start.lines, start.whole) == (lines, whole)


def test_a_line_has_a_length_that_can_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_content, "LONGEST_LINE", 9)
    path = tmp_path / "data"
    for length in (8, 9):  # with the line break 9 and 10
        path.write_bytes(b"x" * length + b"\nb\n")
        if length == 8:
            assert beginning(b"x", path).lines == ["x" * 8 + "\n", "b\n"]
            continue
        with pytest.raises(CompileError, match="9 bytes"):
            beginning(b"x", path)


@pytest.mark.parametrize(
    ("text", "delimiter", "cells", "skipped"),
    [
        ("sep=;\na;b\n", ";", [["a", "b"]], 1),
        ("# of MRtrix\n0 1\n1 0\n", " ", [["0", "1"], ["1", "0"]], 1),
        ("% of MATLAB\n0,1\n", ",", [["0", "1"]], 1),
        ("#,a\na,0\n", ",", [["#", "a"], ["a", "0"]], 0),  # a header
        (" 0   1\t2\n3  4 5 \n", "\t", [[" 0   1", "2"], ["3  4 5 "]], 0),
        ("  0   1  2\n3  4 5 \n", " ", [["0", "1", "2"], ["3", "4", "5"]], 0),
        ("0;1,5\n2;0\n", ";", [["0", "1.5"], ["2", "0"]], 0),  # a decimal comma
    ],
)
def test_what_stands_before_the_content_and_between_values(
    tmp_path: Path, text: str, delimiter: str, cells: list[list[str]], skipped: int
) -> None:
    path = tmp_path / "data"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        start = beginning(path.read_bytes(), path)
        assert (start.delimiter, start.cells(), start.n_skipped) == (delimiter, cells, skipped)
        with unzipped(path) as file:
            rest = start.text(file).read().decode("utf-8-sig")
        assert rest.split() == "".join(text.splitlines(True)[skipped:]).split()


def test_runs_of_blanks_are_one_in_pieces_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("  0   1 \n\t2    3\t\n" * 50)
    for n in (1, 3, 1 << 20):
        with unzipped(path) as file:
            stream, read = beginning(b"0 1\n", path).text(file), b""
            while piece := stream.read(n):
                assert len(piece) <= n
                read += piece
        assert read == b"0 1\n2 3\n" * 50


# --- formats that are not read --------------------------------------------------------------------

KNOWN: list[tuple[bytes, str, str]] = [
    (b"SQLite format 3\0" + b"\1" * 80, "an SQLite database", "read_sql"),
    (b"\x80\x04\x95\0\0", "a pickle, which is never opened", "to_parquet"),
    (b"FEA1\0\0\0\0", "a Feather file of the old version 1", "pf.write_feather"),
    (b"PARE\x15\0", "an encrypted Parquet file", "without encryption"),
    (b"ORC\x08\0", "an ORC file", "read_orc('x.dat')"),
    (b"RDX3\nX\n\0", "an .RData file of R", "load('x.dat')"),
    (b"X\n\0\0\0\3\0\4", "an .rds file of R", "readRDS('x.dat')"),
    (b"A\n3\n262657\n", "an .rds file of R", "readRDS"),
    (b"\x28\xb5\x2f\xfd\0", "compressed with zstd", "zstd -d 'x.dat'"),
    (b"BZh91AY&SY", "compressed with bzip2", "bunzip2"),
    (b"\xfd7zXZ\0\0", "compressed with xz", "unxz"),
    (b"x" * 257 + b"ustar\0", "a tar archive", "tar xf"),
    (b"%PDF-1.7\n", "a PDF document", "as CSV"),
    (b"\x89PNG\r\n", "a picture", "numbers"),
    (b'<?xml version="1.0"?><neuroml xmlns="http://www.neuroml.org/schema">', "NeuroML", "CSV"),
    (b"<!DOCTYPE html><html></html>", "an HTML page", "read_html"),
    (b'<?xml version="1.0"?><data/>', "XML of another kind", "as CSV"),
    (b'{"data": [], "elements": {"nodes": []}}', "JSON of Cytoscape", "nx.cytoscape_graph"),
    (b'[{"pre": 1}]', "JSON of another kind", "read_json"),
    (b"strict digraph G {\n a -> b\n}", "DOT of Graphviz", "read_dot"),
    (b">>graph6<<A_", "graph6", "read_graph6"),
    (b"nodedef>name VARCHAR\n", "GDF of GUESS", "Gephi"),
    (b"DL n = 3\n", "a network of UCINET", "as CSV"),
]


@pytest.mark.parametrize(("head", "what", "hint"), KNOWN)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_format_that_is_not_read_is_named_with_what_converts_it(
    tmp_path: Path, head: bytes, what: str, hint: str, zipped: bool
) -> None:
    path = tmp_path / "x.dat"
    path.write_bytes(gzip.compress(head) if zipped else head)
    with pytest.raises(CompileError, match=f"it is {what}") as caught:
        reader_of(path)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["PARENT,CHILD,n\na,b,1\n", "ORC,to\na,b\n", "graph,post\na,b\n", "A\n3\nx\n", "DL,n\n1,2\n"],
)
def test_tables_whose_first_letters_are_those_of_a_format(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert reader_of(path) is None


# --- zipped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [1, 2, 3, 10, 1 << 18])
@pytest.mark.parametrize("unzip", [1, 1 << 20])
def test_members_are_unzipped_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, unzip: int
) -> None:
    monkeypatch.setattr(_content, "READ_BYTES", read)
    monkeypatch.setattr(_content, "UNZIP_BYTES", unzip)
    content = np.random.default_rng(0).bytes(50)
    path = tmp_path / "data.gz"
    for members in (1, 2):
        zipped = gzip.compress(content * 3) + gzip.compress(content) * (members - 1)
        path.write_bytes(zipped)
        pieces = list(gunzipped(path))
        assert b"".join(pieces) == content * (2 + members)
        assert max(map(len, pieces)) <= unzip
        for bad in (
            zipped[:-1],
            zipped[:-8],
            zipped + b"x",
            zipped + b"\x1f",
            zipped + b"\x1f\x8b",
        ):
            path.write_bytes(bad)
            with pytest.raises(CompileError, match="gzip"):
                list(gunzipped(path))


def test_a_checksum_is_looked_at(tmp_path: Path) -> None:
    zipped = bytearray(gzip.compress(b"connectome"))
    zipped[-8] ^= 1
    path = tmp_path / "data.gz"
    path.write_bytes(zipped)
    with pytest.raises(CompileError, match="gzip") as caught:
        list(gunzipped(path))
    assert caught.value.hint
    with pytest.raises(CompileError, match="gzip"), unzipped(path) as file:
        file.read()


def test_what_is_not_zipped_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"\x1f\x8c")
    with unzipped(path) as file:
        assert file.read() == b"\x1f\x8c"
    with pytest.raises(CompileError) as caught, unzipped(path):
        raise OSError(5, "the disk broke")
    assert (caught.value.where, caught.value.hint) == (str(path), "")
    assert "the disk broke" in caught.value.problem


def test_an_archive_must_not_burst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "z", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("small", b"0" * 1000)
        file.writestr("zeros", bytes(32 << 20))  # unpacks to a thousand times as much
    with zipfile.ZipFile(tmp_path / "z") as file:
        must_not_burst(file, "z", ["small"])
        for names in ([], ["zeros"]):
            with pytest.raises(CompileError, match="more than real data do"):
                must_not_burst(file, "z", names)
        monkeypatch.setattr(_content, "MOST_UNPACKED", 1000)
        must_not_burst(file, "z", ["small"])
        monkeypatch.setattr(_content, "MOST_UNPACKED", 999)
        with pytest.raises(CompileError, match="1,000 bytes; the limit is 999"):
            must_not_burst(file, "z", ["small"])


# --- the one list ---------------------------------------------------------------------------------


def test_the_documents_name_every_format() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    for reader in READERS:
        name = reader.what.split(" (")[0].removeprefix("a connectome of ")
        assert name in page, reader.what
        assert reader.what in formats()
