"""Adjacency matrices as text, read in blocks of rows and never held as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from connectome_compiler.errors import CompileError

from ._ask import unsaid
from ._content import HEAD_BYTES, Beginning, beginning, unzipped
from ._matrix import IN_ORDER, Found, Matrix, named_as_columns, raw_of
from ._matrix_layout import HEADED, MISSING, Layout, is_blank, is_number, layout_of, names_of
from ._raw import Raw
from ._readers import ReadOptions

INTEGER = re.compile(r"\+?\d+")
BLOCK_BYTES = 1 << 22  # of text, read at a time; in memory its numbers take four times as much


def read(path: Path, options: ReadOptions) -> Raw:
    """Read a matrix in CSV, TSV or separated by blanks; raise with line and column."""
    with unzipped(path) as file:
        start = beginning(file.read(HEAD_BYTES), path)
    said = bool(options.orientation or options.mirror or options.totals)
    rows = start.cells(options.decimal)
    layout = layout_of(rows, start.whole, header=options.header, said=said)
    if layout is None:  # recognised without options
        raise CompileError(str(path), "is not a matrix", f"is header={options.header} right?")
    columns = None if layout.header is None else names_of(rows[0], layout)
    n = len(rows[0]) if columns is None else len(columns)
    n_extra = int(columns is None and all(row[-1:] == [""] for row in rows))
    n -= n_extra  # where each line ends with a delimiter
    found, labels, counts = Found(), [], _Counts()
    with (
        unzipped(path) as file,
        _translated(path, columns, layout.labels is not None, start.n_skipped),
    ):
        for batch in _batches(start.text(file), n, n_extra, layout, start, options.decimal):
            if layout.labels is not None:
                labels += [label.strip() for label in batch.column(0).to_pylist()]
                batch = batch.select(range(1, n + 1))
            batch = batch.select(range(n))
            dense = batch.to_tensor(null_to_nan=True, row_major=True).to_numpy()
            first = start.n_skipped + 1 + (columns is not None)
            _collect(path, found, dense, batch, columns, first, counts)
    row, column, value = found.arrays()
    notes = start.notes
    if layout == HEADED and columns is not None:
        labels = named_as_columns(str(path), columns, found.n_rows)
        notes = (*notes, IN_ORDER)
    same = layout != HEADED and labels == columns and all(_is_float(label) for label in labels)
    matrix = Matrix(
        row, column, value, found.n_rows, n, labels if columns is not None else None, columns,
        n_blank=counts.blank,
        may_be_weights=same and not layout.is_short and is_blank(rows[0][0])
        and counts.diagonal < n,
        said=notes, shown=_shown(rows, layout),
    )  # fmt: skip
    if columns is None and options.header != "none":
        refuse_connections(str(path), rows, found.n_rows)
    return raw_of(str(path), matrix, options)


@dataclass(slots=True)
class _Counts:
    """Cells that are blank, and cells of the diagonal that are not."""

    blank: int = 0
    diagonal: int = 0


def _batches(
    file: Any, n: int, n_extra: int, layout: Layout, start: Beginning, decimal: str
) -> Iterator[pa.RecordBatch]:
    names = [str(k) for k in range(n + n_extra)]
    types = dict.fromkeys(names, pa.float64())
    if layout.labels is not None:
        names, types = ["label", *names], {**types, "label": pa.string()}
    return iter(
        pacsv.open_csv(
            file,
            pacsv.ReadOptions(
                column_names=names,
                skip_rows=int(layout.header is not None),
                use_threads=False,  # so that errors come with the number of their line
                block_size=max(BLOCK_BYTES, 16 * len(start.lines[0])),
            ),
            pacsv.ParseOptions(delimiter=start.delimiter),
            pacsv.ConvertOptions(
                column_types=types, null_values=["", " ", MISSING],
                decimal_point="," if start.has_comma(decimal) else ".",
            ),
        )
    )  # fmt: skip


def _collect(
    path: Path,
    found: Found,
    dense: npt.NDArray[np.float64],
    batch: pa.RecordBatch,
    columns: Sequence[str] | None,
    first: int,
    counts: _Counts,
) -> None:
    """Add a block of rows, ``(n, n_columns)``, NaN where blank; the first row is line ``first``."""
    n_blank = sum(c.null_count for c in batch.columns)
    row, column = np.nonzero(dense)
    value = dense[row, column]
    blank = np.isnan(value)
    if blank.sum() != n_blank or np.isinf(value).any():
        k = int(np.flatnonzero(np.isinf(value) if blank.sum() == n_blank else blank)[0])
        if blank.sum() != n_blank:  # "nan", among blanks
            told = [
                k
                for k in np.flatnonzero(blank)
                if batch.column(int(column[k])).is_valid()[int(row[k])].as_py()
            ]
            k = int(told[0])
        raise CompileError(
            f"{path}, line {first + found.n_rows + row[k]}, column {_called(columns, column[k])}",
            f"{value[k]} is not a finite weight",
            "leave the cell blank or 0 if there is no connection",
        )
    found.add(row[~blank], column[~blank], value[~blank])
    counts.blank += n_blank
    counts.diagonal += int((~np.isnan(np.diagonal(dense, found.n_rows))).sum())
    found.n_rows += len(dense)


@contextmanager
def _translated(
    path: Path, columns: Sequence[str] | None, labelled: bool, n_skipped: int
) -> Iterator[None]:
    """Translate Arrow's errors about a text into our own, with line and column."""
    try:
        yield
    except pa.ArrowInvalid as error:
        text = str(error)
        where, problem = str(path), f"cannot be read: {text.splitlines()[0]}"
        if bad := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text):
            where += f", line {int(bad[1]) + n_skipped}"
            problem = f"has {bad[3]} values, expected {bad[2]}"
        elif bad := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.*)'", text):
            place = _called(columns, int(bad[1]) - labelled)
            where += f", line {int(bad[2]) + n_skipped}, column {place}"
            problem = f"{bad[3]!r} is not a number"
        raise CompileError(where, problem) from error


def _called(columns: Sequence[str] | None, k: int) -> str:
    return columns[k] if columns else str(k + 1)


def _is_float(text: str) -> bool:
    return is_number(text) and isfinite(float(text))


def _shown(rows: Sequence[Sequence[str]], layout: Layout) -> list[list[str]]:
    """Return the first rows as they were understood, for a question."""
    if layout.header is None:
        width = max(map(len, rows[:4]))
        return [["", *map(str, range(width))], *([str(k), *r] for k, r in enumerate(rows[:4]))]
    head = [""] if layout.is_short else []
    return [[*head, *rows[0]], *map(list, rows[1:5])]


def refuse_connections(where: str, rows: Sequence[Sequence[str]], n_rows: int) -> None:
    """Raise where a small square of numbers could also be connections without a header."""
    n = len(rows[0])
    if n != n_rows or n > 4 or any(len(row) != n for row in rows):
        return
    ends = {tuple(c.strip() for c in row[:2]) for row in rows}
    if len(ends) < n or not all(INTEGER.fullmatch(c) for pair in ends for c in pair):
        return  # what is no id, or a pair that occurs twice
    if any(is_blank(c) or float(c) == 0 for row in rows for c in row[2:]):
        return  # what weighs nothing
    problem = f"holds {n} rows of {n} numbers: a matrix, or connections without a header"
    weight = " --set weight=3" if n > 2 else ""
    raise unsaid(
        where, problem, [[str(k + 1) for k in range(n)], *rows],
        ("header=none --set orientation=pre-post", "a matrix; row i, column j is from i to j"),
        ("header=none --set orientation=post-pre", "a matrix; row i, column j is from j to i"),
        (f"header=none --set pre=1 --set post=2{weight}", "connections, one per row"),
    )  # fmt: skip
