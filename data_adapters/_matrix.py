"""Adjacency matrices, as text and in Excel workbooks; never held as a whole.

With labels, the first row names the columns and the first column the rows; the workbook of Cook et
al. (2019, Nature 571:63, SI 5) has its names two cells further in, and presynaptic rows. For any
other matrix the user has to give the orientation: files do not say.
"""

from __future__ import annotations

import csv
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from connectome_compiler.errors import CompileError, UnknownNameError

from ._content import (
    BROKEN_ZIP,
    FETCH_AGAIN,
    delimiter,
    first_lines,
    matrix_layout,
    must_not_burst,
    unzipped,
)
from ._names import ENDS, plain
from ._raw import Facts, Raw
from ._readers import HEAD_BYTES, Orientation, ReadOptions, whole_numbers

BLOCK_BYTES = 1 << 22  # of text, read at a time; in memory its numbers take four times as much
INTEGER = re.compile(r"0|-?[1-9]\d{0,18}")
ROUNDED = re.compile(r"\d+(\.\d*)?([eE]\+?\d+)?")
MOST_ROWS, MOST_COLUMNS = 1_048_576, 16_384  # of a sheet
COOK = (2, 2)  # where names begin: row 3 from column D, column C from row 4


@dataclass(slots=True)
class _Found:
    """The nonzero cells of a matrix, as they are read."""

    rows: list[str] = field(default_factory=list)  # labels
    row: list[npt.NDArray[np.int64]] = field(default_factory=list)
    column: list[npt.NDArray[np.int64]] = field(default_factory=list)
    value: list[npt.NDArray[np.float64]] = field(default_factory=list)
    n_rows: int = 0
    n_told: int = 0  # cells that hold something, even zero
    n_columns: int = 0  # of the widest row, where columns have no names
    n_outside: int = 0  # numbers beyond the rows and columns that have names


def read_text(path: Path, options: ReadOptions) -> Raw:
    """Read a matrix in CSV or TSV, zipped or not; raise `CompileError` with line and column."""
    orientation = _declared(str(path), options.orientation)
    with unzipped(path) as file:
        head = file.read(HEAD_BYTES)
    lines, whole = first_lines(head, path)
    labelled = matrix_layout(lines, whole) == "labelled"
    mark = delimiter(lines[0])
    header = next(csv.reader(lines[:1], delimiter=mark))
    columns = [label.strip() for label in header[1:]] if labelled else None
    n = len(header) - labelled
    found = _Found()
    with unzipped(path) as file, _translated(path, columns):
        for batch in _batches(file, n, labelled, mark, len(lines[0])):
            if labelled:
                found.rows += [label.strip() for label in batch.column(0).to_pylist()]
                batch = batch.select(range(1, n + 1))
            dense = batch.to_tensor(null_to_nan=True, row_major=True).to_numpy()
            _collect(path, found, dense, sum(c.null_count for c in batch.columns), columns)
    return _raw(str(path), found, columns, n, orientation)


def _batches(
    file: Any, n: int, labelled: bool, mark: str, line_length: int
) -> Iterator[pa.RecordBatch]:
    names = [str(k) for k in range(n)]
    types = dict.fromkeys(names, pa.float64())
    if labelled:
        names, types = ["label", *names], {**types, "label": pa.string()}
    return iter(
        pacsv.open_csv(
            file,
            pacsv.ReadOptions(
                column_names=names,
                skip_rows=int(labelled),
                use_threads=False,  # so that errors come with the number of their line
                block_size=max(BLOCK_BYTES, 16 * line_length),
            ),
            pacsv.ParseOptions(delimiter=mark),
            pacsv.ConvertOptions(column_types=types, null_values=["", " "]),
        )
    )


def _collect(
    path: Path,
    found: _Found,
    dense: npt.NDArray[np.float64],
    n_blank: int,
    columns: Sequence[str] | None,
) -> None:
    """Add a block of rows, ``(n, n_columns)``, NaN where blank."""
    row, column = np.nonzero(dense)
    value = dense[row, column]
    blank = np.isnan(value)
    if blank.sum() != n_blank or np.isinf(value).any():
        k = int(np.flatnonzero(np.isinf(value) if blank.sum() == n_blank else blank)[0])
        line = found.n_rows + row[k] + 1 + (columns is not None)
        raise CompileError(
            f"{path}, line {line}, column {_called(columns, column[k])}",
            f"{value[k]} is not a finite weight",
            "leave the cell blank or 0 if there is no connection",
        )
    found.row.append(row[~blank] + found.n_rows)
    found.column.append(column[~blank])
    found.value.append(value[~blank])
    found.n_told += dense.size - n_blank
    found.n_rows += len(dense)


@contextmanager
def _translated(path: Path, columns: Sequence[str] | None) -> Iterator[None]:
    """Translate Arrow's errors about a text into our own, with line and column."""
    try:
        yield
    except pa.ArrowInvalid as error:
        text = str(error)
        where, problem = str(path), f"cannot be read: {text.splitlines()[0]}"
        if bad := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text):
            where += f", line {bad[1]}"
            problem = f"has {bad[3]} values, expected {bad[2]}"
        elif bad := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.*)'", text):
            place = _called(columns, int(bad[1]) - (columns is not None))
            where += f", line {bad[2]}, column {place}"
            problem = f"{bad[3]!r} is not a number"
        raise CompileError(where, problem) from error


def _called(columns: Sequence[str] | None, k: int) -> str:
    return columns[k] if columns else str(k + 1)


# --- Excel ----------------------------------------------------------------------------------------


def read_workbook(path: Path, options: ReadOptions) -> Raw:
    """Read a sheet of an Excel workbook; raise `CompileError` with sheet and cell."""
    try:
        import openpyxl
    except ImportError:
        hint = "pip install -c constraints.txt '.[files]'"
        raise CompileError(str(path), "Excel files need the package openpyxl", hint) from None
    with _broken(str(path)), zipfile.ZipFile(path) as archive:
        must_not_burst(archive, str(path))
    with _broken(str(path)):
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    with closing(book):
        sheet = _sheet(path, book, options.sheet)
        where = f"{path}, sheet {sheet.title}"
        found = _Found()
        columns, cook = _read_sheet(where, _cells(where, sheet), found)
    notes = [f"sheet {sheet.title}"]
    kind = "electrical" if re.search(r"\bgap|electric", sheet.title.lower()) else ""
    if kind:
        notes.append("connections are electrical, by the name of the sheet")
    if cook:
        notes.append("laid out as in Cook et al. 2019: rows presynaptic, headings not read")
    orientation = options.orientation or ("pre-post" if cook else "")
    n = found.n_columns if columns is None else len(columns)
    return _raw(where, found, columns, n, _declared(where, orientation), kind, notes, cook)


@contextmanager
def _broken(where: str) -> Iterator[None]:
    """Translate what openpyxl raises for a truncated or altered file into our own error."""
    try:
        yield
    except (*BROKEN_ZIP, SyntaxError) as error:
        raise CompileError(where, f"is a broken workbook: {error}", FETCH_AGAIN) from error
    except (KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise CompileError(where, f"is a broken workbook: {error!r}", FETCH_AGAIN) from error


def _cells(where: str, sheet: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a sheet, with blank ones where row numbers are skipped.

    openpyxl's parser is used without its worksheet reader, which pads rows and columns to whatever
    the file declares, and reads a formula without a stored value as a blank cell.
    """
    from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

    class Parser(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
        def parse_cell(self, element: Any) -> Any:
            cell = super().parse_cell(element)
            if cell["value"] is None and element.find(FORMULA_TAG) is not None:
                place = f"{where}, cell {_letters(cell['column'])}{cell['row']}"
                hint = "open and save the workbook in a spreadsheet program, or export it as CSV"
                raise CompileError(place, "has a formula whose value is not stored", hint)
            return cell

    book, n_rows = sheet.parent, 0
    with ExitStack() as open_:
        with _broken(where):
            source = open_.enter_context(sheet._get_source())
        rows = Parser(
            source, sheet._shared_strings, data_only=True, epoch=book.epoch,
            date_formats=book._date_formats, timedelta_formats=book._timedelta_formats,
        ).parse()  # fmt: skip
        while True:
            with _broken(where):
                found = next(rows, None)
            if found is None:
                return
            number, cells = found
            width = max((cell["column"] for cell in cells), default=0)
            if number > MOST_ROWS or width > MOST_COLUMNS:
                problem = f"has a row {number:,} of {width:,} columns"
                hint = f"a sheet has at most {MOST_ROWS:,} rows and {MOST_COLUMNS:,} columns"
                raise CompileError(where, problem, hint)
            if number <= n_rows:  # stated twice: the first counts, as in openpyxl
                continue
            for _ in range(n_rows + 1, number):
                yield ()
            row = [None] * width
            for cell in cells:
                row[cell["column"] - 1] = cell["value"]
            yield tuple(row)
            n_rows = number


def _letters(column: int) -> str:
    from openpyxl.utils import get_column_letter

    return str(get_column_letter(column))


def _sheet(path: Path, book: Any, name: str) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name:
        if name not in sheets:
            raise UnknownNameError.among(f"{path}: sheet", name, sheets)
        return sheets[name]
    if len(sheets) != 1:
        hint = f"choose one with sheet=: {', '.join(sheets)}"
        raise CompileError(str(path), f"has {len(sheets)} sheets", hint)
    return next(iter(sheets.values()))


def _read_sheet(
    where: str, rows: Iterator[tuple[Any, ...]], found: _Found
) -> tuple[list[str] | None, bool]:
    """Read all cells into ``found``; return the columns' names, and if the layout is Cook's."""
    top = [*islice(rows, 4)]

    def cell(row: int, column: int) -> Any:
        inside = row < len(top) and column < len(top[row])
        return _blank_is_none(top[row][column]) if inside else None

    if isinstance(cell(0, 0), int | float):
        _read_rows(where, chain(top, rows), found, (-1, -1), MOST_COLUMNS)
        return None, False
    words = {plain(x) for x in top[0] if isinstance(x, str)} if top else set()
    if any(words >= set(ends) for ends in ENDS):
        hint = "only matrices are read from workbooks: export the sheet as CSV"
        raise CompileError(where, "is a table of connections", hint)
    corners = ((0, 0), COOK)
    named = (at for at in corners if None not in (cell(at[0], at[1] + 1), cell(at[0] + 1, at[1])))
    at = next(named, None)
    if at is None:
        hint = (
            "expected names in row 1 and column A or in row 3 and column C (Cook et al. 2019), or "
            "numbers only, from A1"
        )
        raise CompileError(where, "holds no adjacency matrix", hint)
    header = [_blank_is_none(x) for x in top[at[0]][at[1] + 1 :]]
    n = header.index(None) if None in header else len(header)
    columns = [str(x).strip() for x in header[:n]]
    _read_rows(where, chain(top[at[0] + 1 :], rows), found, at, n)
    return columns, at == COOK


def _read_rows(
    where: str,
    rows: Iterator[tuple[Any, ...]],
    found: _Found,
    corner: tuple[int, int],
    n: int,
) -> None:
    """Read rows until one has no name; ``corner`` is the cell above the rows' names."""
    first, named = corner[1] + 1, True
    for k, cells in enumerate(rows):
        values = _trimmed(cells)
        if first:
            label = _blank_is_none(values[corner[1]]) if len(values) > corner[1] else None
            named = named and label is not None
        else:
            label = ""
            named = named and bool(values)
        body = values[first : first + n] if named else ()
        found.n_outside += sum(isinstance(x, int | float) for x in values[first + len(body) :])
        if not named:
            continue
        at = [j for j, x in enumerate(body) if x is False or (x and _blank_is_none(x) is not None)]
        for j in at:
            if not _is_weight(body[j]):
                place = f"{_letters(first + j + 1)}{corner[0] + k + 2}"
                raise CompileError(f"{where}, cell {place}", f"{body[j]!r} is not a number")
        found.rows.append(str(label).strip())
        found.row.append(np.full(len(at), found.n_rows))
        found.column.append(np.array(at, np.int64))
        found.value.append(np.array([body[j] for j in at], np.float64))
        found.n_rows += 1
        found.n_columns = max(found.n_columns, len(body))
        found.n_told += sum(_blank_is_none(x) is not None for x in body)


def _is_weight(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _trimmed(cells: tuple[Any, ...]) -> tuple[Any, ...]:
    n = len(cells)
    while n and _blank_is_none(cells[n - 1]) is None:
        n -= 1
    return cells[:n]


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


# --- both -----------------------------------------------------------------------------------------


def _declared(where: str, orientation: Orientation | str) -> str:
    if orientation not in ("pre-post", "post-pre"):
        raise CompileError(
            where,
            "is a matrix, which does not say in which direction connections run",
            "set orientation=pre-post if row i, column j is the connection from i to j, or "
            "orientation=post-pre if it is the one from j to i",
        )
    return orientation


def _raw(
    where: str,
    found: _Found,
    columns: Sequence[str] | None,
    n: int,
    orientation: str,
    kind: str = "",
    notes: Sequence[str] = (),
    may_differ: bool = False,
) -> Raw:
    """Give the cells the ids of their row and column."""
    said = [*notes, f"a matrix of {found.n_rows:,} rows and {n:,} columns, {orientation}"]
    row, column, value = (
        np.concatenate(parts) if parts else np.zeros(0)
        for parts in (found.row, found.column, found.value)
    )
    if columns is None:
        if found.n_rows != n:
            hint = (
                "a matrix without labels must be square: is the file complete, or has it a header?"
            )
            raise CompileError(where, f"has {found.n_rows:,} rows and {n:,} columns", hint)
        ids = pa.array(np.arange(n))
        said.append("no labels: neurons are numbered from 0")
    else:
        names = _names(where, found.rows, columns, said, may_differ)
        ids = _ids(where, names)
        place = pa.array(names)
        row = _places(found.rows, place)[row.astype(np.int64)]
        column = _places(columns, place)[column.astype(np.int64)]
    if n_blank := found.n_rows * n - found.n_told:
        said.append(f"{n_blank:,} blank cells: no connection")
    if found.n_outside:
        said.append(f"{found.n_outside:,} numbers outside the named rows and columns left out")
    pre, post = (row, column) if orientation == "pre-post" else (column, row)
    edges = {
        "pre": ids.take(pa.array(pre, pa.int64())),
        "post": ids.take(pa.array(post, pa.int64())),
        "weight": whole_numbers(pa.array(value)),
    }
    if kind:
        edges["kind"] = pa.repeat(kind, len(value))
    facts = Facts(
        *("an adjacency matrix", "matrix", "pre", "post", "weight"),
        cell_id="neuron_id", numbered=columns is None, n=len(ids),
    )  # fmt: skip
    return Raw(pa.table(edges), pa.table({"neuron_id": ids}), facts, tuple(said))


def _places(labels: Sequence[str], names: pa.Array) -> npt.NDArray[np.int64]:
    found = pc.index_in(pa.array(labels, pa.string()), value_set=names)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


def _names(
    where: str, rows: list[str], columns: Sequence[str], notes: list[str], may_differ: bool
) -> list[str]:
    """Return the labels of all neurons; refuse rows and columns that differ, unless allowed."""
    for side, labels in (("row", rows), ("column", columns)):
        if "" in labels:
            place = f"{where}, {side} {labels.index('') + 1} of the matrix"
            raise CompileError(place, "has no label")
        if len(set(labels)) < len(labels):
            twice = next(label for label, n in Counter(labels).items() if n > 1)
            raise CompileError(where, f"{side} label {twice!r} occurs twice")
    only_rows, only_columns = set(rows) - set(columns), set(columns) - set(rows)
    if not only_rows and not only_columns:
        return rows
    if not may_differ:
        differ = (
            *(f"row {label!r} has no column" for label in rows if label in only_rows),
            *(f"column {label!r} has no row" for label in columns if label in only_columns),
        )
        raise CompileError(
            where,
            f"{differ[0]} ({len(rows):,} rows, {len(columns):,} columns; {len(differ):,} differ)",
            "is the file complete? A neuron without outputs needs a row or column of zeros",
        )
    notes.append(
        f"{len(only_rows):,} neurons have a row but no column, {len(only_columns):,} a column but "
        "no row"
    )
    return [*rows, *(label for label in columns if label in only_columns)]


def _ids(where: str, labels: Sequence[str]) -> pa.Array:
    """Return labels as int64 where all are whole numbers, else as text."""
    if all(INTEGER.fullmatch(label) for label in labels):
        try:
            return pa.array([int(label) for label in labels], pa.int64())
        except (OverflowError, pa.ArrowInvalid):
            return pa.array(labels, pa.string())
    bad = next((label for label in labels if not label.isdigit()), "")
    if bad and all(ROUNDED.fullmatch(label) for label in labels):
        raise CompileError(
            where,
            f"label {bad!r} is an id that was converted to a floating-point number",
            "such ids are rounded above 2**53: export them as integers or text",
        )
    return pa.array(labels, pa.string())
