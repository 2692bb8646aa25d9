"""Workbooks: a sheet is a list of connections, below any titles, or an adjacency matrix.

Excel's own format is read with openpyxl, which tells a formula without a stored value; those before
2007, binary ones and OpenDocument with python-calamine. Macros and links are never followed.
"""

from __future__ import annotations

import re
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError

from ._ask import unsaid
from ._content import BROKEN_ZIP, FETCH_AGAIN, must_not_burst
from ._matrix import IN_ORDER, Found, Matrix, named_as_columns, raw_of
from ._matrix_layout import HEADED, MISSING, Layout, is_number, layout_of, names_of
from ._matrix_layout import MOST_ROWS as N_TOP
from ._names import ENDS, plain
from ._raw import Facts, Raw
from ._readers import ReadOptions, unused
from ._text import must_be_header
from ._text_matrix import refuse_connections

MOST_ROWS, MOST_COLUMNS = 1_048_576, 16_384  # of a sheet
Row = tuple[Any, ...]


def read(path: Path, options: ReadOptions) -> Raw:
    """Read a sheet of an Excel workbook; raise `CompileError` with sheet and cell."""
    openpyxl = _needed(path, "openpyxl", "Excel files")
    with _broken(str(path)), zipfile.ZipFile(path) as archive:
        must_not_burst(archive, str(path))
    with path.open("rb") as file:  # by its name, openpyxl would refuse some
        with _broken(str(path)):
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        with closing(book), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions, such as conditional formats
            sheets = {sheet.title: sheet for sheet in book.worksheets}
            name, notes = _chosen(
                path, sheets, options.sheet, lambda s: _cells(f"{path}, sheet {s}", sheets[s])
            )
            where = f"{path}, sheet {name}"
            return _read_sheet(where, name, _cells(where, sheets[name]), options, notes)


def read_other(path: Path, options: ReadOptions) -> Raw:
    """Read a sheet of a workbook of another format: .xls, .xlsb, .ods."""
    calamine = _needed(path, "python_calamine", "workbooks of this format")
    if zipfile.is_zipfile(path):
        with _broken(str(path)), zipfile.ZipFile(path) as archive:
            must_not_burst(archive, str(path))

    def rows(name: str) -> Iterator[Row]:
        with _broken(f"{path}, sheet {name}"):
            sheet = book.get_sheet_by_name(name)
            start = sheet.start or (0, 0)
            yield from ((),) * start[0]
            for row in sheet.to_python():
                yield (None,) * start[1] + tuple(None if c == "" else c for c in row)

    try:
        with path.open("rb") as file, calamine.CalamineWorkbook.from_filelike(file) as book:
            sheets = dict.fromkeys(book.sheet_names)
            name, notes = _chosen(path, sheets, options.sheet, rows)
            return _read_sheet(f"{path}, sheet {name}", name, rows(name), options, notes)
    except calamine.PasswordError as error:
        raise CompileError(str(path), "is protected by a password", "save it without") from error
    except calamine.CalamineError as error:
        raise CompileError(str(path), f"is a broken workbook: {error}", FETCH_AGAIN) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, where a file breaks its rules
            raise
        raise CompileError(str(path), f"is a broken workbook: {error}", FETCH_AGAIN) from error


def _needed(path: Path, package: str, what: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        hint = "pip install -c constraints.txt '.[files]'"
        name = package.replace("_", "-")
        raise CompileError(str(path), f"{what} need the package {name}", hint) from None


@contextmanager
def _broken(where: str) -> Iterator[None]:
    """Translate what a library raises for a truncated or altered file into our own error."""
    try:
        yield
    except (*BROKEN_ZIP, SyntaxError) as error:
        raise CompileError(where, f"is a broken workbook: {error}", FETCH_AGAIN) from error
    except (KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise CompileError(where, f"is a broken workbook: {error!r}", FETCH_AGAIN) from error


def _cells(where: str, sheet: Any) -> Iterator[Row]:
    """Yield the rows of a sheet, with blank ones where row numbers are skipped.

    openpyxl's parser is used without its worksheet reader, which pads rows and columns to whatever
    the file declares, and reads a formula without a stored value as a blank cell.
    """
    from openpyxl.worksheet._reader import FORMULA_TAG, WorkSheetParser

    class Parser(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
        def parse_cell(self, element: Any) -> Any:
            cell = super().parse_cell(element)
            formula = element.find(FORMULA_TAG)
            if cell["value"] is None and formula is not None:
                place = f"{where}, cell {_letters(cell['column'])}{cell['row']}"
                told = f" (={formula.text[:40]})" if formula.text else ""
                hint = "open and save the workbook in a spreadsheet program, or export it as CSV"
                problem = f"has a formula whose value is not stored{told}"
                raise CompileError(place, problem, hint)
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
    """Return the name of a column, from 1."""
    name = ""
    while column:
        column, k = divmod(column - 1, 26)
        name = chr(ord("A") + k) + name
    return name


# --- sheets ---------------------------------------------------------------------------------------


def _chosen(path: Path, sheets: dict[str, Any], name: str, rows: Any) -> tuple[str, list[str]]:
    """Return the sheet to read, and notes: the one that is asked for, or the only one with rows."""
    if name:
        if name not in sheets:
            raise UnknownNameError.among(f"{path}: sheet", name, sheets)
        return name, [f"sheet {name}"]
    if not sheets:
        raise CompileError(str(path), "has 0 sheets")
    filled = list(sheets) if len(sheets) == 1 else [s for s in sheets if _has_table(rows(s))]
    if len(filled) == 1:
        blank = [s for s in sheets if s not in filled]
        notes = [f"sheet {filled[0]}"]
        return filled[0], [
            *notes,
            f"without a table: sheets {', '.join(blank)}",
        ] if blank else notes
    raise unsaid(
        str(path), f"has {len(sheets)} sheets", [],
        *((f"sheet={_spelled(s)}", "") for s in filled or sheets),
    )  # fmt: skip


def _spelled(text: str) -> str:
    return f'"{text}"' if re.search(r"\s", text) else text


def _has_table(rows: Iterator[Row]) -> bool:
    """Whether a sheet has two rows with two values or more: it is not blank, nor a text."""
    top = islice(rows, N_TOP)
    return sum(sum(_blank_is_none(c) is not None for c in row) > 1 for row in top) > 1


def _read_sheet(
    where: str, title: str, rows: Iterator[Row], options: ReadOptions, notes: list[str]
) -> Raw:
    top = [*islice(rows, N_TOP)]
    texts = [[_said(c) for c in row] for row in top]
    while texts and not any(texts[-1]):
        del texts[-1]
    whole = len(top) < N_TOP
    kind = "electrical" if re.search(r"\bgap|electric", title.lower()) else ""
    if not kind and re.search(r"chemical", title.lower()):
        kind = "chemical"
    if kind:
        notes.append(f"connections are {kind}, by the name of the sheet")
    said = bool(options.orientation or options.mirror or options.totals)
    header = None if said else _header(texts, options)
    layout = None
    if header is None:
        width = max(map(len, texts), default=0)
        square = [row + [""] * (width - len(row)) for row in texts]
        layout = layout_of(square, whole, header=options.header, deep=True, said=said)
    if layout is not None:
        return _matrix(where, chain(top, rows), square, layout, kind, options, notes)
    if said or len(texts) < 2 or max(map(len, texts)) < 2:
        problem = "holds no adjacency matrix, nor a list of connections"
        raise CompileError(where, problem, EXPECTED)
    return _list(where, title, chain(top, rows), texts, header, kind, options, notes)


EXPECTED = (
    "expected a list with a row of names, such as pre and post; or a matrix: names in row 1 and "
    "column A, or in row 3 and column C (Cook et al. 2019), or numbers only, from A1"
)


def _said(value: Any) -> str:
    """Return a cell as a CSV would have it."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


# --- lists ----------------------------------------------------------------------------------------


def _header(texts: list[list[str]], options: ReadOptions) -> int | None:
    """Return the row, from 0, that names the columns of a list; none: it is not one for sure."""
    wanted = {options.pre, options.post} - {""}
    if options.header == "none":
        return -1 if wanted else None
    filled = [k for k, row in enumerate(texts) if sum(map(bool, row)) > 1]
    if wanted and options.header != "first":
        named = next((k for k in filled if wanted <= set(texts[k])), None)
        if named is not None:
            return named
    for k in filled:
        names = {plain(c) for c in texts[k]}
        if any(names >= set(ends) for ends in ENDS):
            return k
    return next(iter(filled), None) if wanted or options.header == "first" else None


def _list(
    where: str,
    sheet: str,
    rows: Iterator[Row],
    texts: list[list[str]],
    header: int | None,
    kind: Any,
    options: ReadOptions,
    notes: list[str],
) -> Raw:
    """Return a list of connections: all columns as text, as in a CSV of the same sheet."""
    if header is None:
        filled = [k for k, row in enumerate(texts) if sum(map(bool, row)) > 1]
        header = -1 if options.header == "none" else filled[0]
        if header >= 0:
            named, *below = (row for row in texts[header:] if any(row))
            must_be_header(f"{where}, row {header + 1}", named, below)
    for k, row in enumerate(texts[: max(header, 0)]):
        if any(row):
            notes.append(f"row {k + 1} above the header: {' | '.join(filter(None, row))[:80]}")
    body = [[_said(c) or None for c in row] for row in islice(rows, header + 1, None)]
    width = max(map(len, [*body, texts[header] if header >= 0 else ()]), default=0)
    names = texts[header] if header >= 0 else []
    names = names + [""] * (width - len(names))
    first, last = _side_by_side(where, texts, header, names, options, notes)
    columns: dict[str, list[str | None]] = {}
    for j in range(first, last):
        values = [row[j] if j < len(row) else None for row in body]
        name = (names[j] or f"column{j}") if header >= 0 else str(j + 1)
        if names[j] or any(values):
            columns[unused(name, columns)] = values
    kept = [k for k, row in enumerate(body) if any(row[first:last])]
    if not kept:
        raise CompileError(where, "is empty: a header and no rows")
    place = {name: k + first + 1 for k, name in enumerate(columns)}
    table = pa.table({n: pa.array([v[k] for k in kept], pa.string()) for n, v in columns.items()})

    def locate(row: int, column: str) -> str:
        at = kept[row - 1] + header + 2
        cell = f"cell {_letters(place[column])}{at}" if column in place else f"row {at}"
        return f"sheet {sheet}, {cell}"

    facts = Facts("a list in a workbook", "list", kind=kind)
    return Raw(table, None, facts, tuple(notes), locate=locate)


def _side_by_side(
    where: str,
    texts: list[list[str]],
    header: int,
    names: Sequence[str],
    options: ReadOptions,
    notes: list[str],
) -> tuple[int, int]:
    """Return the first column and the one after the last of the list that is asked for.

    Some sheets have several lists side by side, under the same names.
    """
    times = Counter(plain(n) for n in names if n)
    twice = {n for n, k in times.items() if k > 1}
    if not twice:
        return 0, len(names)
    first = min(j for j, n in enumerate(names) if plain(n) in twice)
    starts = [j for j, n in enumerate(names) if plain(n) == plain(names[first])]
    titles = []
    for j in starts:
        above = [row[j] for row in texts[:header] if j < len(row) and row[j]]
        titles.append(above[-1] if above else _letters(j + 1))
    if options.part not in titles:
        if options.part:
            raise UnknownNameError.among(f"{where}: part", options.part, titles)
        problem = f"has {len(starts)} lists side by side, each with a column {names[first]!r}"
        shown = [[_letters(j + 1) for j in range(len(names))], *texts[header : header + 3]]
        raise unsaid(
            where, problem, shown,
            *((f"part={_spelled(t)}", f"the list from column {_letters(j + 1)}")
              for t, j in zip(titles, starts, strict=True)),
        )  # fmt: skip
    k = titles.index(options.part)
    notes.append(f"part {options.part}: columns from {_letters(starts[k] + 1)}")
    return (starts[k] if k else 0), (starts[k + 1] if k + 1 < len(starts) else len(names))


# --- matrices -------------------------------------------------------------------------------------


def _matrix(
    where: str,
    rows: Iterator[Row],
    texts: list[list[str]],
    layout: Layout,
    kind: Any,
    options: ReadOptions,
    notes: list[str],
) -> Raw:
    columns = None
    if layout.header is not None:
        columns = names_of(texts[layout.header], layout, deep=True)
    n = MOST_COLUMNS if columns is None else len(columns)
    read_ = _Read(where, Found(), [])
    read_.rows(islice(rows, layout.row, None), layout, n, named=layout.labels is not None,
        columns=columns)  # fmt: skip
    if layout == HEADED and columns is not None:
        read_.labels = named_as_columns(where, columns, read_.found.n_rows)
        notes.append(IN_ORDER)
    row, column, value = read_.found.arrays()
    corner = texts[0][0] if layout.header == 0 else "-"
    same = read_.labels == columns and all(is_number(name) for name in read_.labels)
    if layout.is_cook:
        notes.append(
            "laid out as in Cook et al. 2019: rows presynaptic, weights in EM sections, headings "
            "not read"
        )
    matrix = Matrix(
        row, column, value, read_.found.n_rows, read_.width if columns is None else n,
        None if columns is None else read_.labels, columns,
        n_blank=read_.found.n_rows * (read_.width if columns is None else n) - read_.n_told,
        n_outside=read_.n_outside,
        may_be_weights=same and not corner and layout == Layout(0, 0, 1, 1)
        and read_.n_diagonal < n,
        kind=kind, unit="sections" if layout.is_cook else "",
        orientation="pre-post" if layout.is_cook else "", may_differ=layout.is_cook,
        said=tuple(notes), shown=[[_letters(j + 1) for j in range(len(texts[0]))], *texts[:4]],
    )  # fmt: skip
    if columns is None and options.header != "none":
        refuse_connections(where, texts, matrix.n_rows)
    return raw_of(where, matrix, options)


@dataclass(slots=True)
class _Read:
    """What was read of a matrix, row by row."""

    where: str
    found: Found
    labels: list[str]
    width: int = 0
    n_told: int = 0  # cells that hold something, even zero
    n_diagonal: int = 0  # of these, on the diagonal
    n_outside: int = 0  # numbers beyond the rows and columns that have names

    def rows(
        self,
        rows: Iterator[Row],
        layout: Layout,
        n: int,
        *,
        named: bool,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Read rows until one has no name."""
        first, going = layout.column, True
        for k, cells in enumerate(rows):
            values = _trimmed(cells)
            if named:
                at = layout.labels or 0
                label = _blank_is_none(values[at]) if len(values) > at else None
                if not going and label is not None and _said(label) in (columns or ()):
                    place = f"row {layout.row + k + 1} ({_said(label)})"
                    problem = f"{place} comes after a row without a name"
                    raise CompileError(self.where, problem, "remove blank rows from the matrix")
                going = going and label is not None
            else:
                label = ""
                going = going and bool(values)
            body = values[first : first + n] if going else ()
            outside = values[first + len(body) :]
            self.n_outside += sum(isinstance(x, int | float) for x in outside)
            if going:
                self._row(k, layout, body)
                self.labels.append(_said(label))

    def _row(self, k: int, layout: Layout, body: Row) -> None:
        told = [j for j, x in enumerate(body) if _blank_is_none(x) is not None and x != MISSING]
        at = [j for j in told if body[j] is False or body[j]]
        values = np.zeros(len(at))
        for place, j in enumerate(at):
            number = _weight(body[j])
            if number is None:
                cell = f"{_letters(layout.column + j + 1)}{layout.row + k + 1}"
                raise CompileError(f"{self.where}, cell {cell}", f"{body[j]!r} is not a number")
            values[place] = number
        some = values != 0  # zeros written as text
        self.found.add(np.zeros(some.sum(), np.int64), np.array(at, np.int64)[some], values[some])
        self.n_told += len(told)
        self.n_diagonal += self.found.n_rows in told
        self.width = max(self.width, len(body))
        self.found.n_rows += 1


def _weight(value: Any) -> float | None:
    """Return a cell as a number; none if it is not a finite one."""
    if isinstance(value, str) and is_number(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def _trimmed(cells: Row) -> Row:
    n = len(cells)
    while n and _blank_is_none(cells[n - 1]) is None:
        n -= 1
    return cells[:n]
