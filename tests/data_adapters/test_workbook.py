from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._raw import Raw
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.errors import CompileError, UnknownNameError

PRE_POST = ReadOptions(orientation="pre-post", kind="chemical", mirror="no", totals="keep")


def read(path: Path, options: ReadOptions = PRE_POST) -> Raw:
    reader = reader_of(path)
    assert reader is not None, "not recognised"
    return reader.load(path, options)


def edges(raw: Raw) -> dict[tuple[Any, Any], float]:
    found = {(e["pre"], e["post"]): e["weight"] for e in raw.edges.to_pylist()}
    assert len(found) == raw.edges.num_rows
    return found


def ids(raw: Raw) -> list[Any]:
    assert raw.cells is not None
    return list(raw.cells.column("neuron_id").to_pylist())


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
