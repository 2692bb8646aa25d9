from __future__ import annotations

import random
import struct
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from raws import damaged, edges, ids, read

from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# --- Excel ----------------------------------------------------------------------------------------


def workbook(path: Path, **sheets: list[Any]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name.replace("_", " "))
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


PLAIN_SHEET = [[None, "A", "B"], ["A", 1, None], ["B", "", 2.5]]
COOK_SHEET = [
    [None, None, None, "PHARYNX"],
    [],
    [None, None, None, "I1L", "I1R", "pm1"],
    ["PHARYNX", None, "I1L", None, 10, 3],
    [None, None, "I1R", 2, None, None, "I1R"],  # names again at the right border
    [None, None, None, "I1L", "I1R", "pm1"],  # and below
    [None, None, None, 2, 10, 3],
]


def test_a_labelled_sheet(tmp_path: Path) -> None:
    raw = read(workbook(tmp_path / "m.xlsx", only=PLAIN_SHEET))
    assert edges(raw) == {("A", "A"): 1, ("B", "B"): 2.5}
    assert "sheet only" in raw.notes


def test_blank_cells_do_not_make_a_sheet_that_of_cook(tmp_path: Path) -> None:
    rows = [[None, "A", "B", "C"], ["A", 1, 2, 3], ["B", 4, None, 5], ["C", 6, 7, None]]
    path = workbook(tmp_path / "m.xlsx", only=rows)
    assert sum(edges(read(path)).values()) == 28
    with pytest.raises(CompileError, match="in which direction"):
        read(path, ReadOptions())


def test_a_sheet_of_numbers(tmp_path: Path) -> None:
    raw = read(workbook(tmp_path / "m.xlsx", only=[[0, 1, None], [2, 0, 0], [0, 0, 3], [None]]))
    assert edges(raw) == {(0, 1): 1, (1, 0): 2, (2, 2): 3}


def test_the_layout_of_cook_2019(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.xlsx", hermaphrodite_chemical=COOK_SHEET, herm_gap_jn=COOK_SHEET)
    raw = read(path, ReadOptions(sheet="hermaphrodite chemical"))
    assert ids(raw) == ["I1L", "I1R", "pm1"]
    assert edges(raw) == {("I1L", "I1R"): 10, ("I1L", "pm1"): 3, ("I1R", "I1L"): 2}
    assert (raw.facts.kind, raw.facts.unit) == ("chemical", "sections")
    assert "0 neurons have a row but no column, 1 a column but no row: pm1" in raw.notes
    assert "3 numbers outside the named rows and columns left out" in raw.notes
    raw = read(path, ReadOptions(sheet="herm gap jn"))
    assert raw.facts.kind == "electrical"
    assert "connections are electrical, by the name of the sheet" in raw.notes


def test_a_workbook_with_several_sheets_asks(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.xlsx", alpha=PLAIN_SHEET, beta=PLAIN_SHEET)
    with pytest.raises(UnsaidError, match="has 2 sheets") as caught:
        read(path)
    assert caught.value.answers == (("sheet=alpha", ""), ("sheet=beta", ""))
    with pytest.raises(UnknownNameError, match="betta") as unknown:
        read(path, ReadOptions(sheet="betta"))
    assert "'beta'" in unknown.value.hint
    assert len(edges(read(path, ReadOptions("pre-post", "beta")))) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[None, "A", "B"], ["A", 1, "x"], ["B", 0, 0]], "sheet s, cell C2: 'x' is not a number"),
        ([[None, "A", "B"], ["A", 1, 2], ["C", 0, 0]], "row 'C' has no column"),
        ([[0, 1], [2, 3], [4]], "has 3 rows and 2 columns"),
        ([[0, 1], [2, 3], [4, 5]], "has 3 rows and 2 columns"),
        ([["a title"]], "holds no adjacency matrix"),
        ([], "holds no adjacency matrix"),
        ([*COOK_SHEET[:3], [None, None, "I1L", None, "many"]], "cell E4: 'many' is not a number"),
    ],
)
def test_a_bad_sheet_names_the_cell(tmp_path: Path, rows: list[list[Any]], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        read(workbook(tmp_path / "m.xlsx", s=rows))


def test_a_sheet_must_be_told_its_orientation(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="in which direction"):
        read(workbook(tmp_path / "m.xlsx", s=[*PLAIN_SHEET[:2], ["B", 4, 2.5]]), ReadOptions())


def test_a_truncated_workbook(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.xlsx", s=PLAIN_SHEET)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CompileError, match="is a broken workbook"):
        read(path)


def test_a_workbook_that_lacks_its_sheet(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "m.xlsx", s=PLAIN_SHEET)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "n.xlsx", "w") as new:
        for name in old.namelist():
            if "sheet1" not in name:
                new.writestr(name, old.read(name))
    with pytest.raises(CompileError, match=r"broken|has 0 sheets"):
        read(tmp_path / "n.xlsx")


def test_a_zip_is_no_workbook(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.csv", "1,2")
    with pytest.raises(CompileError, match=r"is a zip archive that holds one file, a\.csv"):
        reader_of(tmp_path / "a.zip")


# --- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [["a", "b"], [1, 2], [123456789012345, 12.0]])
def test_a_list_is_read_like_its_csv(tmp_path: Path, ids: list[Any]) -> None:
    rows = [["Pre", "Post", "type", "N Syn", "note"], [*ids, "EJ", 3, None], [*ids, "S", 2.0, "x"]]
    path = workbook(tmp_path / "m.xlsx", one=rows)
    text = "".join(",".join("" if c is None else f"{c:.0f}" if isinstance(c, float) else str(c)
                            for c in row) + "\n" for row in rows)  # fmt: skip
    graph = Table(str(path)).load()
    assert graph.digest() != ""
    same = Table(str(write(tmp_path / "m.csv", text))).load()
    for made, expected in zip(graph.projections, same.projections, strict=True):
        assert made.kind == expected.kind
        assert made.synapses.weight.tolist() == expected.synapses.weight.tolist()
    assert graph.populations[0].column("neuron_id").equals(same.populations[0].column("neuron_id"))


TITLES = [
    ["Table S1. Connections"],
    [None, "made", "by hand"],
    ["id", "presynaptic", "postsynaptic"],
]


def test_rows_above_the_header_are_told(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "m.xlsx", s=[*TITLES, [1, "a", "b"], [1, "a", "b"], [], [2, "b", "a"]]
    )
    raw = read(path, ReadOptions())
    assert raw.edges.column_names == ["id", "presynaptic", "postsynaptic"]
    assert raw.edges.num_rows == 3
    assert "row 1 above the header: Table S1. Connections" in raw.notes
    assert raw.locate is not None
    assert raw.locate(3, "postsynaptic") == "sheet s, cell C7"
    bad = workbook(tmp_path / "n.xlsx", s=[*TITLES, [1, "a", "b"], [2, "b", None]])
    with pytest.raises(CompileError, match="sheet s, cell C5: the id is missing"):
        Table(str(bad)).load()


def test_lists_side_by_side_are_parts(tmp_path: Path) -> None:
    rows = [["Table S1"], ["worm 1", None, "worm 2"], ["from", "to", "from", "to"],
            ["a", "b", "c", "d"], ["b", "a", None, None]]  # fmt: skip
    path = workbook(tmp_path / "m.xlsx", s=rows)
    with pytest.raises(UnsaidError, match="2 lists side by side") as caught:
        Table(str(path)).load()
    options = [option for option, _ in caught.value.answers]
    assert options == ['part="worm 1"', 'part="worm 2"']
    assert Table(str(path), part="worm 1").load().n_connections == 2
    graph = Table(str(path), part="worm 2").load()
    assert graph.populations[0].column("neuron_id").to_pylist() == ["c", "d"]
    with pytest.raises(UnknownNameError, match="worm 3"):
        Table(str(path), part="worm 3").load()


def test_a_list_without_a_header(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.xlsx", s=[["a", "b", 5], ["b", "c", 2], ["c", "a", 1]])
    graph = Table(str(path), header="none", pre="1", post="2", weight="3").load()
    assert sorted(graph.projections[0].synapses.weight.tolist()) == [1, 2, 5]


def test_sheets_without_a_table_are_not_asked_about(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.xlsx", legend=[["what this is"], ["and how"]], data=PLAIN_SHEET,
                    blank=[])  # fmt: skip
    raw = read(path)
    assert edges(raw) == {("A", "A"): 1, ("B", "B"): 2.5}
    assert {"sheet data", "without a table: sheets legend, blank"} <= set(raw.notes)


def test_numbers_that_are_stored_as_text(tmp_path: Path) -> None:
    raw = read(workbook(tmp_path / "m.xlsx", s=[[None, "A", "B"], ["A", "0", "5"], ["B", "NA", 1]]))
    assert edges(raw) == {("A", "B"): 5, ("B", "B"): 1}


def test_a_sheet_of_cells(tmp_path: Path) -> None:
    cells = workbook(tmp_path / "c.xlsx", s=[["name", "layer"], ["a", "L4"], ["b", "L5"]])
    path = write(tmp_path / "e.csv", "pre,post\na,b\n")
    graph = Table(str(path), str(cells)).load()
    assert graph.populations[0].column("neuron_id").to_pylist() == ["a", "b"]


# --- other workbooks ------------------------------------------------------------------------------


def xls(path: Path, rows: list[list[Any]]) -> Path:
    """Write a workbook as Excel 97 had it: records in a stream of a compound file."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    def text(value: str, size: str) -> bytes:
        return struct.pack(size, len(value)) + b"\0" + value.encode("latin-1")

    begin = record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 6))
    sheet = record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 6))
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            at = struct.pack("<HHH", r, c, 0)
            if isinstance(value, str):
                sheet += record(0x204, at + text(value, "<H"))
            elif value is not None:
                sheet += record(0x203, at + struct.pack("<d", value))
    sheet += record(0x0A, b"")
    name = text("Sheet1", "<B")
    bound = record(0x85, struct.pack("<IH", 0, 0) + name)
    start = len(begin) + len(bound) + 4
    bound = record(0x85, struct.pack("<IH", start, 0) + name)
    stream = begin + bound + record(0x0A, b"") + sheet
    stream = stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0")
    n = len(stream) // 512
    fat = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, n + 2), 0xFFFFFFFE]

    def entry(name: str, kind: int, child: int, first: int, size: int) -> bytes:
        told = (name + "\0").encode("utf-16-le") if name else b""
        head = told.ljust(64, b"\0") + struct.pack("<HBB", len(told), kind, 1)
        return (
            head + struct.pack("<iii", -1, -1, child) + b"\0" * 36 + struct.pack("<IQ", first, size)
        )

    folder = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + entry("Workbook", 2, -1, 2, len(stream))
    folder += entry("", 0, -1, 0, 0) * 2
    head = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 16
    head += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0,
                        0xFFFFFFFE, 0)  # fmt: skip
    head += struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(512, b"\xff")
    path.write_bytes(head + table + folder + stream)
    return path


def test_lists_and_matrices_in_xls(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["Neuron 1", "Neuron 2", "Type", "Nbr"],
        ["ADAL", "ADAR", "EJ", 1.0],
        ["b", "ADAL", "S", 3.0],
    ]
    path = xls(tmp_path / "NeuronConnect.xls", rows)
    graph = Table(str(path)).load()
    assert [(p.kind, p.synapses.weight.tolist()) for p in graph.projections] == [
        ("chemical", [3]), ("electrical", [1, 1])
    ]  # fmt: skip
    raw = read(xls(tmp_path / "m.xls", [[None, "A", "B"], ["A", 0.0, 2.0], ["B", None, 4.0]]))
    assert edges(raw) == {("A", "B"): 2, ("B", "B"): 4}
    assert "1 blank cells: no connection" in raw.notes


def test_xls_that_was_cut_or_altered(tmp_path: Path) -> None:
    path, rng = xls(tmp_path / "m.xls", [["pre", "post"], ["a", "b"]]), random.Random(0)
    for content in damaged(path.read_bytes(), rng, 60):
        path.write_bytes(content)
        said = ""
        try:
            Table(str(path)).load()
        except CompileError as error:
            said = str(error)
        assert len(said) < 2_000


def test_a_file_that_is_named_otherwise_is_read_by_its_content(tmp_path: Path) -> None:
    path = workbook(tmp_path / "m.csv", s=PLAIN_SHEET)
    note = "is named .csv, but is an Excel workbook: read by its content"
    assert note in read(path).notes
    graph = Table(str(write(tmp_path / "m.xls", "pre\tpost\n1\t2\n"))).load()
    assert graph.n_connections == 1


def test_row_1_of_a_list_that_could_be_data_is_asked_about(tmp_path: Path) -> None:
    path = str(workbook(tmp_path / "l.xlsx", s=[["a", "b", 5], ["b", "c", 7], ["c", "a", 1]]))
    with pytest.raises(UnsaidError, match="row 1: could be data or the names") as caught:
        Table(path).load()
    assert caught.value.answers[0][0] == "header=none"
    graph = Table(path, header="none", pre="1", post="2", weight="3").load()
    assert graph.projections[0].synapses.weight.sum() == 13


def test_no_row_of_a_matrix_is_lost_behind_a_blank_one(tmp_path: Path) -> None:
    rows = [[None, "a", "b"], ["a", 0, 5], [], ["b", 1, 0]]
    with pytest.raises(CompileError, match=r"row 4 \(b\) comes after a row without a name"):
        read(workbook(tmp_path / "m.xlsx", s=rows))


def test_a_triangle_without_its_last_row_is_asked_about(tmp_path: Path) -> None:
    rows = [[None, "a", "b", "c"], ["a", None, 5, 2], ["b", None, None, 3]]
    path = str(workbook(tmp_path / "m.xlsx", s=rows))
    with pytest.raises(UnsaidError, match="half of a symmetric matrix"):
        Table(path, orientation="pre-post").load()
    assert Table(path, orientation="pre-post", mirror="yes").load().n_connections == 6


def test_a_sheet_with_names_of_columns_alone(tmp_path: Path) -> None:
    rows = [["a", "b", "c"], [0, 1, 0], [1, 0, 0], [4, 2, 0]]
    raw = read(workbook(tmp_path / "m.xlsx", s=rows))
    assert edges(raw) == {("a", "b"): 1, ("b", "a"): 1, ("c", "a"): 4, ("c", "b"): 2}


def test_a_date_is_no_neuron(tmp_path: Path) -> None:
    rows = [["pre", "post", "weight"], ["a", datetime(2020, 3, 2), 5], ["b", "c", 7]]
    path = str(workbook(tmp_path / "l.xlsx", s=rows))
    with pytest.raises(CompileError, match="is a date") as caught:
        Table(path).load()
    assert caught.value.where.endswith("cell B2")
