"""A file is recognised by how it begins, whatever it is called, and unzipped to its end."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from connectome_compiler.data_adapters import _content
from connectome_compiler.data_adapters._content import (
    delimiter,
    first_lines,
    gunzipped,
    is_flyvis,
    is_graphml,
    is_hdf5,
    is_number,
    is_text_matrix,
    is_workbook,
    matrix_layout,
    must_not_burst,
    unzipped,
)
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
    ("text", "whole", "layout"),
    [
        (",a,b;a,0,1;b,1,0", True, "labelled"),
        (",a,b;a,0,;b, ,0", True, "labelled"),  # blanks are zeros
        (",a,b;c,0,1;b,1,0", True, "labelled"),  # one row is called like a column
        (",a,b;c,0,1;d,1,0", True, None),
        (",a,b;a,x,y;b,y,x", True, None),
        ("pre,post;pre,1", True, None),
        ("0,1;1,0", True, "plain"),
        ("0,1;1,0", False, None),  # a table that lost its header?
        ("1,2;2,1;1,1", True, None),
        ("0,1,2;0,1,2;0,1,2", True, "plain"),
        ("0,1,2;0,1,2;0,1,2", False, None),
        ("0,1,2,3;0,1,2,3", False, "plain"),
        ("0,1,2,3;0,1,2,3", True, "plain"),
        ("0,1,2,x;0,1,2,3", True, None),
        ("0;1", True, None),
        ("0,1,2,3", True, None),
    ],
)
def test_a_matrix_is_square_or_has_labels(text: str, whole: bool, layout: str | None) -> None:
    assert matrix_layout(text.split(";"), whole) == layout


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
    assert first_lines(content[:n], path) == (lines, whole)


def test_a_line_has_a_length_that_can_be_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_content, "LONGEST_LINE", 9)
    path = tmp_path / "data"
    for length in (8, 9):  # with the line break 9 and 10
        path.write_bytes(b"x" * length + b"\nb\n")
        if length == 8:
            assert first_lines(b"x", path)[0] == ["x" * 8 + "\n", "b\n"]
            continue
        with pytest.raises(CompileError, match="9 bytes"):
            first_lines(b"x", path)


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
