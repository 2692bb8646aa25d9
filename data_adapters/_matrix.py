"""The rules of adjacency matrices, wherever they come from: text, workbooks, arrays, memory.

A source gives the cells of a matrix and the names of its rows and columns, if it has any; what it
leaves unsaid is asked here: the direction, whether labels are labels, whether the last row and
column are totals, whether it is half of a symmetric matrix, whether it is of gap junctions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError

from ._ask import unsaid
from ._matrix_layout import PREFIXES
from ._raw import Facts, Raw
from ._readers import ReadOptions, whole_numbers

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]

BLOCK_CELLS = 1 << 21  # of an array, looked at at a time
MOST_NEURONS = 1 << 27  # of a matrix without names
INTEGER = re.compile(r"0|-?[1-9]\d{0,18}")
ROUNDED = re.compile(r"\d+(\.\d*)?([eE]\+?\d+)?")
TOTALS = (  # as spreadsheets, pandas and R call them
    *("total", "totals", "grand total", "sum", "sums", "all", "row total", "column total"),
    *("gesamtergebnis", "gesamt", "summe", "total general", "total général"),
)
SURE_SEQUENCE = 10  # so many labels 0, 1, 2, ... are no weights
FEW = 3  # connections that say nothing about the shape of a matrix


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The nonzero cells of a matrix, arrays of shape ``(n_cells,)``, and what its source tells.

    ``rows`` and ``columns`` are names; none: it has none. ``may_be_weights``: the names could also
    be the numbers of a first row and column whose corner is blank. ``said`` are notes of the
    source, ``shown`` its first rows, for questions.
    """

    row: Ints
    column: Ints
    value: Numbers
    n_rows: int
    n_columns: int
    rows: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    n_blank: int = 0
    n_outside: int = 0  # numbers beyond the rows and columns that have names
    may_be_weights: bool = False
    what: str = "an adjacency matrix"
    kind: Literal["", "chemical", "electrical"] = ""
    unit: str = ""
    orientation: str = ""  # of the layout
    may_differ: bool = False  # names of rows and of columns
    said: tuple[str, ...] = ()
    shown: Sequence[Sequence[Any]] = ()


@dataclass(slots=True)
class Found:
    """The nonzero cells of a matrix, as they are read in blocks of rows."""

    row: list[Ints] = field(default_factory=list)
    column: list[Ints] = field(default_factory=list)
    value: list[Numbers] = field(default_factory=list)
    n_rows: int = 0

    def add(self, row: Ints, column: Ints, value: Numbers) -> None:
        """Add cells; ``row`` counts from the first row of the block."""
        self.row.append(row + self.n_rows)
        self.column.append(column)
        self.value.append(value)

    def arrays(self) -> tuple[Ints, Ints, Numbers]:
        """Return row, column and value of all cells."""
        if not self.row:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        return np.concatenate(self.row), np.concatenate(self.column), np.concatenate(self.value)


def raw_of(where: str, matrix: Matrix, options: ReadOptions) -> Raw:
    """Return a matrix as connections between named or numbered neurons; ask what is not said."""
    if matrix.may_be_weights and not options.header and _like_weights(matrix):
        problem = "is a matrix of numbers alone with a blank in its first cell, or the numbers "
        problem += "in its first row and column are names"
        raise unsaid(
            where, problem, matrix.shown, ("header=first", "they are names"),
            ("header=none", "they are weights; neurons are numbered from 0"),
        )  # fmt: skip
    notes = [*matrix.said]
    matrix = _without_totals(where, matrix, options.totals, notes)
    size = f"a matrix of {matrix.n_rows:,} rows and {matrix.n_columns:,} columns"
    if matrix.n_blank:
        notes.append(f"{matrix.n_blank:,} blank cells: no connection")
    if matrix.n_outside:
        notes.append(f"{matrix.n_outside:,} numbers outside the named rows and columns left out")
    ids, row, column = _numbered(where, matrix, notes)
    value = matrix.value
    apart = row != column
    is_symmetric = _is_symmetric(row, column, value, len(ids))
    square = matrix.n_rows == matrix.n_columns == len(ids)
    # Of a triangle, the row or column without numbers may be left out.
    cut = len(ids) == max(matrix.n_rows, matrix.n_columns)
    cut &= abs(matrix.n_rows - matrix.n_columns) == 1
    half = (square or cut) and int(apart.sum()) >= FEW
    half = half and bool(np.all(row <= column) or np.all(row >= column))
    if half and not options.mirror:
        side = "below" if np.all(row <= column) else "above"
        problem = f"has nothing {side} its diagonal, so no pair is connected in both directions: "
        problem += "is it half of a symmetric matrix?"
        raise unsaid(
            where, problem, matrix.shown, ("mirror=yes", "yes: each pair in both directions"),
            ("mirror=no", "no: connections run one way"),
        )  # fmt: skip
    mirrored = options.mirror == "yes"
    if mirrored and not half and not is_symmetric:
        problem = "has numbers on both sides of its diagonal, so it is not half of a matrix"
        raise CompileError(where, problem, "leave mirror out")
    direction = options.orientation or matrix.orientation
    if not (direction or mirrored or is_symmetric):
        problem = "is a matrix, which does not say in which direction connections run"
        raise unsaid(
            where, problem, matrix.shown,
            ("orientation=pre-post", "row i, column j is the connection from i to j"),
            ("orientation=post-pre", "row i, column j is the connection from j to i"),
        )  # fmt: skip
    n_pairs = int(apart.sum()) // 2
    if is_symmetric and n_pairs >= 2 and not (matrix.kind or options.kind or mirrored):
        problem = f"is exactly symmetric ({n_pairs:,} pairs), as gap junctions are"
        raise unsaid(
            where, problem, matrix.shown,
            ("kind=electrical", "gap junctions: each pair once, without a sign"),
            ("kind=chemical", "synapses that happen to be symmetric: each way a connection"),
        )  # fmt: skip
    runs = "exactly symmetric" if is_symmetric and n_pairs else direction
    notes.insert(len(matrix.said), f"{size}, {'mirrored' if mirrored else runs}")
    pre, post = (column, row) if direction == "post-pre" else (row, column)
    edges = {"pre": ids.take(pa.array(pre)), "post": ids.take(pa.array(post))}
    edges["weight"] = whole_numbers(pa.array(value))
    if both := mirrored and not is_symmetric:
        edges["undirected"] = pa.array(np.ones(len(value), np.bool_))
    facts = Facts(
        *(matrix.what, "matrix", "pre", "post", "weight", "undirected" if both else ""),
        kind=matrix.kind, unit=matrix.unit, cell_id="neuron_id", numbered=matrix.rows is None,
        n=len(ids),
    )  # fmt: skip
    return Raw(pa.table(edges), pa.table({"neuron_id": ids}), facts, tuple(notes))


IN_ORDER = "rows have no names: they are taken in the order of the columns"


def named_as_columns(where: str, columns: list[str], n_rows: int) -> list[str]:
    """Return the names of the rows of a matrix whose columns alone have names."""
    if n_rows != len(columns):
        problem = f"has {n_rows:,} rows without names and {len(columns):,} names of columns"
        raise CompileError(where, problem, "give the rows names in the first column")
    return [*columns]


# --- labels or weights ----------------------------------------------------------------------------


def _like_weights(matrix: Matrix) -> bool:
    """Whether labels could be weights: they lie within the range of the others."""
    assert matrix.columns is not None
    labels = np.array([float(label) for label in matrix.columns])
    n = len(labels)
    if n >= SURE_SEQUENCE and any(np.array_equal(labels, np.arange(n) + k) for k in (0, 1)):
        return False
    if not len(matrix.value):
        return True
    low, high = float(matrix.value.min()), float(matrix.value.max())
    return bool(labels.min() >= min(low, 0) and labels.max() <= 2 * high)


# --- totals ---------------------------------------------------------------------------------------


def _without_totals(where: str, matrix: Matrix, choice: str, notes: list[str]) -> Matrix:
    """Drop or keep a last row and column of totals; ask where there are any."""
    row, column = _totals(matrix)
    if not (row or column) or choice == "keep":
        return matrix
    parts = [side for side, told in (("row", row), ("column", column)) if told]
    if not choice:
        called = next(
            (f" ({names[-1]!r})" for names in (matrix.rows, matrix.columns) if names and
             _is_total(names)), ""
        )  # fmt: skip
        is_are = "look like totals" if len(parts) > 1 else "looks like totals"
        problem = f"its last {' and '.join(parts)}{called} {is_are}, not like a neuron"
        raise unsaid(
            where, problem, matrix.shown, ("totals=drop", "leave them out"),
            ("totals=keep", "they are of a neuron"),
        )  # fmt: skip
    notes.append(f"the last {' and '.join(parts)} left out: totals")
    n_rows, n_columns = matrix.n_rows - row, matrix.n_columns - column
    kept = (matrix.row < n_rows) & (matrix.column < n_columns)
    return replace(
        matrix, row=matrix.row[kept], column=matrix.column[kept], value=matrix.value[kept],
        n_rows=n_rows, n_columns=n_columns,
        rows=None if matrix.rows is None else matrix.rows[:n_rows],
        columns=None if matrix.columns is None else matrix.columns[:n_columns],
    )  # fmt: skip


def _totals(matrix: Matrix) -> tuple[bool, bool]:
    """Return whether the last row and the last column are totals: by name, or as sums."""
    row, column = (
        names is not None and _is_total(names) for names in (matrix.rows, matrix.columns)
    )
    if row or column or matrix.n_rows < FEW or matrix.n_columns < FEW:
        return row, column
    last = matrix.n_rows - 1, matrix.n_columns - 1
    at = matrix.row == last[0], matrix.column == last[1]
    if not (at[0].any() and at[1].any()):
        return False, False
    if matrix.n_rows != matrix.n_columns:
        return _extra_sums(matrix, at)
    value = matrix.value.astype(np.float64)
    down = np.bincount(matrix.column[~at[0]], value[~at[0]], matrix.n_columns)
    across = np.bincount(matrix.row[~at[1]], value[~at[1]], matrix.n_rows)
    bottom = np.bincount(matrix.column[at[0]], value[at[0]], matrix.n_columns)
    right = np.bincount(matrix.row[at[1]], value[at[1]], matrix.n_rows)
    sums = np.allclose(down, bottom, rtol=1e-6) and np.allclose(across, right, rtol=1e-6)
    return sums, sums


def _extra_sums(matrix: Matrix, last: tuple[Any, Any]) -> tuple[bool, bool]:
    """Return whether the one row or column that has no twin holds the sums of the others."""
    if matrix.rows is None or matrix.columns is None:
        return False, False
    value = matrix.value.astype(np.float64)
    rows, columns = [*matrix.rows], [*matrix.columns]
    if columns[:-1] == rows:
        ends, n, at = matrix.row, matrix.n_rows, last[1]
    elif rows[:-1] == columns:
        ends, n, at = matrix.column, matrix.n_columns, last[0]
    else:
        return False, False
    sums = np.allclose(
        np.bincount(ends[~at], value[~at], n), np.bincount(ends[at], value[at], n), rtol=1e-6
    )
    return bool(sums) and columns[:-1] != rows, bool(sums) and columns[:-1] == rows


def _is_total(names: Sequence[str]) -> bool:
    return len(names) > 1 and names[-1].strip().lower() in TOTALS


# --- names ----------------------------------------------------------------------------------------


def _numbered(where: str, matrix: Matrix, notes: list[str]) -> tuple[pa.Array, Ints, Ints]:
    """Return the ids of all neurons, and the row and column of each cell as places among them."""
    if matrix.rows is None or matrix.columns is None:
        n_rows, n_columns = matrix.n_rows, matrix.n_columns
        if n_rows != n_columns:
            hint = "a matrix without labels must be square: is the file complete, or is it a list "
            hint += "of connections? Then set header=none and name its columns: pre=1 post=2"
            raise CompileError(where, f"has {n_rows:,} rows and {n_columns:,} columns", hint)
        if n_rows > MOST_NEURONS:
            problem = f"has {n_rows:,} rows; the limit is {MOST_NEURONS:,}"
            raise CompileError(where, problem, "write it as a list of connections")
        notes.append("no labels: neurons are numbered from 0")
        return pa.array(np.arange(n_rows)), matrix.row, matrix.column
    rows, columns = [*matrix.rows], [*matrix.columns]
    if prefix := _prefix(rows, columns):
        columns = [name.removeprefix(prefix) for name in columns]
        notes.append(f"columns are called as rows, with a {prefix} in front: read without it")
    names = _names(where, rows, columns, notes, matrix.may_differ)
    place = pa.array(names)
    return (
        _ids(where, names), _places(rows, place)[matrix.row],
        _places(columns, place)[matrix.column],
    )  # fmt: skip


def _prefix(rows: Sequence[str], columns: Sequence[str]) -> str:
    """Return the letter that R put before numbers in the names of columns alone."""
    return next(
        (p for p in PREFIXES if len(rows) == len(columns)
         and all(c == p + r for r, c in zip(rows, columns, strict=True))), ""
    )  # fmt: skip


def _places(labels: Sequence[str], names: pa.Array) -> Ints:
    found = pc.index_in(pa.array(labels, pa.string()), value_set=names)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


def _names(
    where: str, rows: list[str], columns: list[str], notes: list[str], may_differ: bool
) -> list[str]:
    """Return the labels of all neurons: of the rows, then of columns without a row."""
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
    apart = len(only_rows) == len(rows)  # inputs by outputs
    counted = _counts(rows) and _counts(columns)
    if counted or (only_rows and only_columns and not (apart or may_differ)):
        differ = (
            *(f"row {label!r} has no column" for label in rows if label in only_rows),
            *(f"column {label!r} has no row" for label in columns if label in only_columns),
        )
        raise CompileError(
            where,
            f"{differ[0]} ({len(rows):,} rows, {len(columns):,} columns; {len(differ):,} differ)",
            "is the file complete? A neuron without outputs needs a row or column of zeros",
        )
    some = [label for label in (*rows, *columns) if label in only_rows | only_columns]
    notes.append(
        f"{len(only_rows):,} neurons have a row but no column, {len(only_columns):,} a column but "
        f"no row: {', '.join(some[:3])}{', ...' if len(some) > 3 else ''}"
    )
    return [*rows, *(label for label in columns if label in only_columns)]


def _counts(labels: Sequence[str]) -> bool:
    """Whether labels are 0, 1, 2, ..., as pandas numbers rows and columns without names."""
    return all(label == str(k) for k, label in enumerate(labels))


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


# --- shape ----------------------------------------------------------------------------------------


def _is_symmetric(row: Ints, column: Ints, value: Numbers, n: int) -> bool:
    """Whether the cells equal those of the transposed matrix."""
    if row.sum() != column.sum() or not np.isclose((row * value).sum(), (column * value).sum()):
        return False  # without sorting
    there, back = row * n + column, column * n + row
    order, reverse = np.argsort(there, kind="stable"), np.argsort(back, kind="stable")
    return np.array_equal(there[order], back[reverse]) and np.array_equal(
        value[order], value[reverse]
    )


# --- arrays ---------------------------------------------------------------------------------------


def matrix_of(where: str, values: Any, what: str = "an adjacency matrix") -> Matrix:
    """Return the nonzero cells of an array of numpy, or of a sparse one of scipy, ``(n, m)``."""
    if getattr(values, "ndim", 0) != 2:
        shape = " x ".join(map(str, getattr(values, "shape", ())))
        raise CompileError(where, f"is an array of shape {shape}, not a matrix (n x n)")
    if values.dtype.kind not in "biuf":
        problem = f"is an array of {values.dtype}, not of numbers"
        raise CompileError(where, problem, "objects are never opened: they can run code")
    n_rows, n_columns = values.shape
    said: list[str] = []
    if hasattr(values, "tocoo"):
        try:  # indices that point outside would be followed
            if hasattr(values, "check_format"):
                values.check_format(full_check=True)
            if np.any(np.diff(getattr(values, "indptr", ())) < 0):
                raise ValueError("its rows or columns begin before the ones ahead of them")
            cells = values.tocoo()
        except (ValueError, TypeError) as error:
            raise CompileError(where, f"is a broken sparse matrix: {error}") from error
        row, column = (np.asarray(c, np.int64) for c in (cells.row, cells.col))
        value = _numeric(cells.data)
        if (zero := value == 0).any():
            said.append(f"{int(zero.sum()):,} stored zeros: no connection")
            row, column, value = row[~zero], column[~zero], value[~zero]
    else:
        found = Found()
        for block in _blocks(values):
            at, column = np.nonzero(block)
            found.add(at, column, _numeric(block[at, column]))
            found.n_rows += len(block)
        row, column, value = found.arrays()
    if values.dtype.kind == "b":
        said.append("true counts 1, false is no connection")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        k = int(np.argmax(~np.isfinite(value)))
        place = f"{where}, row {row[k]}, column {column[k]} (from 0)"
        hint = "write 0 where there is no connection"
        raise CompileError(place, f"{value[k]} is not a finite weight", hint)
    return Matrix(row, column, value, n_rows, n_columns, what=what, said=tuple(said))


def _blocks(values: Any) -> Iterator[Numbers]:
    n = max(1, BLOCK_CELLS // max(1, values.shape[1]))
    for start in range(0, values.shape[0], n):
        yield np.asarray(values[start : start + n])


def _numeric(values: Any) -> Numbers:
    """Return numbers as int64 where they are whole by type and fit, else as float64."""
    values = np.asarray(values)
    dtype: Any = np.float64
    if values.dtype.kind in "bi" or (
        values.dtype.kind == "u" and values.max(initial=0) <= np.iinfo(np.int64).max
    ):
        dtype = np.int64
    return np.asarray(values, dtype)


def shown_of(values: Any) -> list[list[Any]]:
    """Return the first rows of a matrix, for a question."""
    top = values[:4, :8] if not hasattr(values, "tocsr") else values.tocsr()[:4, :8].toarray()
    rows = np.asarray(top).tolist()
    return [["", *range(len(rows[0]) if rows else 0)], *([k, *row] for k, row in enumerate(rows))]
