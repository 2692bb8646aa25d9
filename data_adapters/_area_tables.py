"""Small tables of areas, layers and projections: a user's CSV file, or one that ships."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.provenance import SourceFile
from connectome_compiler.reading import read_bytes
from connectome_compiler.sources import Data

from ._content import delimiter, is_number
from ._facts import read_fact
from ._frames import content_of, read_frame

ORIGINS = ("measured", "derived", "chosen", "placeholder")  # what a ``..._status`` may say
MOST_BYTES = 1 << 26  # of a table
MOST = 10**9  # a typo must not fill the memory; all the neurons of a mouse are 10**8


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``where`` names file and line. A column that the table lacks is blank."""

    where: str
    cells: Mapping[str, str]

    def at(self, column: str) -> str:
        """Return where a cell is, for errors."""
        return f"{self.where}, column {column}"

    def has(self, column: str) -> bool:
        """Whether a cell holds anything."""
        return bool(self.cells.get(column, ""))

    def text(self, column: str) -> str:
        """Return a cell; raise `CompileError` if it is blank."""
        if not self.has(column):
            raise CompileError(self.at(column), "is missing")
        return self.cells[column]

    def number(
        self, column: str, *, above: float | None = None, most: float | None = None
    ) -> float:
        """Return a number of at least 0, or ``above`` a limit, and at most ``most``."""
        text = self.text(column)
        if not is_number(text):
            raise CompileError(self.at(column), f"{text!r} is not a number")
        value = float(text)
        if not isfinite(value):
            raise CompileError(self.at(column), f"{text} is not finite")
        if value < 0 or (above is not None and value <= above):
            limit = "not above" if above == 0 and value == 0 else "below"
            raise CompileError(self.at(column), f"{text} is {limit} 0")
        if most is not None and value > most:
            raise CompileError(self.at(column), f"{text} is above {most:g}")
        return value

    def whole(self, column: str, least: int) -> int:
        """Return a whole number of at least ``least`` and at most `MOST`."""
        value = self.number(column, most=MOST)
        if value != int(value) or value < least:
            problem = f"{self.cells[column]} is not a whole number of at least {least}"
            raise CompileError(self.at(column), problem)
        return int(value)


@dataclass(frozen=True, slots=True)
class AreaTable:
    """The rows of one table, their source, and the columns that are not read."""

    file: SourceFile
    where: str
    shipped: bool
    rows: tuple[Row, ...]
    unread: tuple[str, ...]

    def origins(self) -> str:
        """Return how often each column is measured, derived, chosen or a placeholder, if stated.

        Raises `CompileError` for any other word.
        """
        told: dict[str, Counter[str]] = {}
        for row in self.rows:
            for name in row.cells:
                if name.endswith("_status") and row.has(name):
                    if (word := row.cells[name]) not in ORIGINS:
                        raise UnknownNameError.among(row.at(name), word, ORIGINS)
                    told.setdefault(name.removesuffix("_status"), Counter())[word] += 1
        parts = [
            f"{column} {', '.join(f'{words[w]:,} {w}' for w in ORIGINS if words[w])}"
            for column, words in told.items()
        ]
        return "; ".join(parts)


def read_table(
    path: str | Data, fact: str, required: Sequence[str], optional: Sequence[str]
) -> AreaTable:
    """Read a CSV file or a frame in memory, or the shipped table ``fact`` if there is no ``path``.

    Other columns are not read, except those that end in ``_source`` and ``_status``. Raises
    `CompileError` naming file, line and column if it is not a table or lacks a required column.
    """
    if not path:
        shipped = read_fact(fact)
        where, file = shipped.file.name, shipped.file
        names = list(shipped.rows[0])
        rows = [Row(f"{where}, line {k + 2}", cells) for k, cells in enumerate(shipped.rows)]
    else:
        where = str(path)
        file, lines = _in_memory(path) if isinstance(path, Data) else _in_file(path)
        names, rows = _rows(where, lines, required)
    known = {*required, *optional}
    told = tuple(f"{name}{end}" for name in known for end in ("_source", "_status"))
    unread = tuple(name for name in names if name not in known and name not in told)
    return AreaTable(file, where, not path, tuple(rows), unread)


Lines = list[tuple[str, list[str]]]  # where each is, and its cells; the names of columns first


def _in_memory(data: Data) -> tuple[SourceFile, Lines]:
    """Return a frame as a file would have it."""
    table = read_frame(data)
    columns = [[_text(x) for x in column.to_pylist()] for column in table.columns]
    rows = [
        (f"{data}, row {k + 1}", [*cells]) for k, cells in enumerate(zip(*columns, strict=True))
    ]
    return content_of(data), [(str(data), table.column_names), *rows]


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _in_file(path: str) -> tuple[SourceFile, Lines]:
    content = read_bytes(Path(path), MOST_BYTES)
    file = SourceFile(Path(path).name, hashlib.sha256(content).hexdigest(), len(content))
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CompileError(f"{path}, line {line}", "is not UTF-8 text", "save as CSV") from error
    if not lines or not lines[0].strip():
        raise CompileError(f"{path}, line 1", "is blank, expected the names of columns")
    reader = csv.reader(lines, delimiter=delimiter(lines[0]), strict=True)
    try:
        return file, [
            (f"{path}, line {reader.line_num}", [cell.strip() for cell in cells])
            for cells in reader
        ]
    except csv.Error as error:
        raise CompileError(f"{path}, line {reader.line_num}", f"is not CSV: {error}") from error


def _rows(where: str, lines: Lines, required: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Return the names of columns, and the rows that hold anything."""
    (top, header), *rest = lines
    names = [name.lower().replace(" ", "_") for name in header]
    if twice := sorted(name for name, n in Counter(names).items() if n > 1):
        raise CompileError(top, f"column {twice[0]!r} occurs twice")
    for name in required:
        if name not in names:
            raise UnknownNameError.among(f"{top}: column", name, names)
    rows = []
    for place, cells in rest:
        if not any(cells):
            continue
        if len(cells) != len(names):
            raise CompileError(place, f"has {len(cells)} values, expected {len(names)}")
        rows.append(Row(place, dict(zip(names, cells, strict=True))))
    if not rows:
        raise CompileError(where, "has no rows under its header")
    return names, rows
