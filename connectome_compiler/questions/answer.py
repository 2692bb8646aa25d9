"""What a question is answered with: a headline, tables, and notes on how to read them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from connectome_compiler.errors import UnknownNameError
from connectome_compiler.text import (
    Row,
    beside,
    cut,
    html_heading,
    html_table,
    in_html,
    printable,
    table,
    wrapped,
)

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 16  # of each table, as text
MOST_LETTERS = 60  # of each cell
CALLED = ("neuron", "partner", "pre", "post")  # columns of ids, which have no commas
SIGNS = ("sign", "sign_before", "sign_after", "own_sign", "neuron_sign")
MARKS = {1: "+", -1: "-", 0: "?"}  # of signs


class Answer(ABC):
    """An answer: prints as text, and gives its tables to pandas, JSON and pictures.

    Signs are +1, -1, or 0 where they are not known.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def headline(self) -> str:
        """The answer in a line."""

    @property
    @abstractmethod
    def tables(self) -> Mapping[str, pa.Table]:
        """All tables, by what their rows are; the main one first."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What is said in words, by a word for each."""
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be known to read the numbers."""
        return ()

    def to_pandas(self, name: str = "") -> pd.DataFrame:
        """Return the table of this name, by default the main one; integers are nullable types."""
        from connectome_compiler.ir.interop import PANDAS_TYPES

        frame: pd.DataFrame = self.table(name).to_pandas(types_mapper=PANDAS_TYPES.get)
        return frame

    def table(self, name: str = "") -> pa.Table:
        """Return the table of this name, by default the main one, as Arrow."""
        tables = self.tables
        if not name:
            return next(iter(tables.values()))
        if name not in tables:
            raise UnknownNameError.among("table", name, tables)
        return tables[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: each table as a list of records."""
        tables = {name: t.to_pylist() for name, t in self.tables.items()}
        said = {"facts": dict(self.facts)} if self.facts else {}
        return {"answer": self.headline, **said, **tables, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = wrapped(printable(self.headline))
        for k, (word, text) in enumerate(self.facts.items()):
            lines += [""] * (k == 0) + beside(word, printable(text))
        for name, rows in self.tables.items():
            if rows.num_rows:
                shown, align, more = _shown(rows)
                lines += ["", name, *table(shown, align), *([f"  {more}"] if more else [])]
        for note in self.notes:
            lines += ["", *wrapped(note)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        html = html_heading(self.headline)
        if self.facts:
            html += html_table([("", ""), *self.facts.items()])
        for name, rows in self.tables.items():
            if rows.num_rows:
                shown, align, more = _shown(rows)
                html += html_table(shown, align, caption=f"{name} {more}".rstrip())
        return html + "".join(f"<p><small>{in_html(note)}</small></p>" for note in self.notes)


def _shown(rows: pa.Table) -> tuple[list[Row], str, str]:
    """Return the first rows as text, head first, on which side columns are, and what was cut."""
    names, first = rows.column_names, rows.slice(0, MOST_ROWS)
    cells = [
        [_cell(name, value) for value in column.to_pylist()]
        for name, column in zip(names, first.columns, strict=True)
    ]
    align = "".join(
        "<" if name in SIGNS or not _is_number(kind) else ">"
        for name, kind in zip(names, rows.schema.types, strict=True)
    )
    head = tuple(name.replace("_", " ") for name in names)
    more = rows.num_rows - MOST_ROWS
    shown = [head, *zip(*cells, strict=True)]
    return shown, align, f"... and {more:,} more" if more > 0 else ""


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in SIGNS:
        return MARKS[value]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "share":
        return f"{value:.1%}"
    if isinstance(value, int):
        return str(value) if name in CALLED else f"{value:,}"
    if isinstance(value, float):
        return _number(value)
    return cut(printable(str(value)), MOST_LETTERS)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.1f}"
