"""How a file would be read: its format, what its columns mean, and what has to be said first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import duckdb

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.sources import Place
from connectome_compiler.text import table as laid_out
from connectome_compiler.text import wrapped

from ._ask import UnsaidError, aligned
from ._cell_tables import ROLE, TYPE
from ._names import CELL, CELL_ID, POSITION, TRANSMITTER, squeezed
from ._rules import Given, Recognised, first_rows
from ._tables import Table, database, open_table
from ._text import Header


class Source(Protocol):
    """The adapter whose files are shown."""

    @property
    def header(self) -> Header:
        """Which line of a text names its columns."""

    @property
    def edges_path(self) -> Place:
        """The file, or data in memory, of connections."""

    @property
    def cell_paths(self) -> list[Place]:
        """The files, or data in memory, of cells."""

    def opened(self, db: duckdb.DuckDBPyConnection) -> Given:
        """Open the connections, and tell what their columns mean."""

    def load(self) -> Graph:
        """Read everything."""


NOT_READ = "not read"
MOST_COLUMNS = 40  # that are listed
_CELLS = {
    "id": CELL_ID,
    "cell_type": TYPE,
    "cell_class": CELL["class"],
    "cortical_layer": CELL["layer"],
    "region": CELL["region"],
    "role": ROLE,
    "sign": ("sign",),
    "neurotransmitter": TRANSMITTER,
    "axon_coverage": CELL["coverage"],
    "position": tuple(axis for axes, _ in POSITION for axis in axes),
}


def outline(adapter: Source) -> str:
    """Return how the files of ``adapter`` would be read, and the question that stops it, if any.

    Files are read as for a build, but nothing is made from them.
    """
    lines: list[str] = []
    question: CompileError | None = None
    with database() as db:
        try:
            opened = adapter.opened(db)
        except CompileError as error:
            question = error
            lines += _unread(db, adapter, error)
        else:
            known, facts = opened.known, opened.facts
            lines += _headline(known.edges.table, facts.what)
            lines += _roles((c, _role(c, known)) for c in known.edges.table.columns)
            lines += ["", "  first rows", *aligned(first_rows(db, known.edges.table))]
        for path in adapter.cell_paths:
            try:
                cells = open_table(db, path, f"cells_{len(lines)}")
            except CompileError:
                continue  # it has a format of its own; the reading below tells what is wrong
            lines += ["", *_headline(cells, "cells"), *_roles(_cell_roles(cells))]
            lines += ["", "  first rows", *aligned(first_rows(db, cells))]
    if question is None:
        try:
            graph = adapter.load()
        except CompileError as error:
            question = error
        else:
            lines += ["", f"read as {graph.n_neurons:,} neurons"]
            for step in graph.provenance.steps:
                for note in step.notes:
                    lines += wrapped(note, "  ", "    ")
    if question is not None:
        word = "asked" if isinstance(question, UnsaidError) else "stopped"
        lines += ["", f"{word}: {question}"]
    return "\n".join(lines)


def _headline(table: Table, what: str) -> list[str]:
    text = table.layout
    if text is None:
        return [f"{table.path.name}: {what}"]
    mark = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "blanks"}
    by = mark.get(text.delimiter, repr(text.delimiter))
    header = f"names in line {text.n_above + 1}" if text.header else "no line of names"
    return [f"{table.path.name}: {what}, columns separated by {by}, {header}"]


def _role(column: str, known: Recognised) -> str:
    """Return what a column of connections means."""
    e = known.edges
    roles: dict[str | None, str] = {
        e.pre: "presynaptic neuron (pre)",
        e.post: "postsynaptic neuron (post)",
        e.count: f"weight, in {known.unit}",
        e.kind: "kind: chemical or electrical",
        e.sign: "sign",
        e.transmitter: "transmitter of the presynaptic neuron",
        e.size: "size of a synapse",
        known.undirected: "undirected: such rows run both ways",
        **dict.fromkeys(e.scores, "score of a transmitter"),
    }
    return roles.get(column, NOT_READ)


def _cell_roles(table: Table) -> Iterable[tuple[str, str]]:
    """Yield the columns of a table of cells with what they mean, by their names."""
    for column in table.columns:
        found = [
            role
            for role, names in _CELLS.items()
            if squeezed(column) in {squeezed(name) for name in names}
        ]
        yield column, " or ".join(found) or "kept under its name"


def _roles(roles: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(roles)
    shown = rows[:MOST_COLUMNS]
    more = [f"  ... and {len(rows) - len(shown):,} more"] if len(rows) > len(shown) else []
    return [*laid_out(shown), *more]


def _unread(db: duckdb.DuckDBPyConnection, adapter: Source, error: CompileError) -> list[str]:
    """Return what can be told of connections that are not understood: columns and first rows."""
    try:
        table = open_table(db, adapter.edges_path, "unread", adapter.header or "first")
    except CompileError:
        return [f"{adapter.edges_path.name}: not understood"]
    lines = [f"{adapter.edges_path.name}: not clear yet"]
    roles = list(_cell_roles(table))
    if any(role.startswith("id") for _, role in roles):
        lines += ["  as a table of cells, for --set cells=FILE beside connections:", *_roles(roles)]
    if not getattr(error, "shown", ()):  # else the question shows them
        lines += ["", "  first rows", *aligned(first_rows(db, table))]
    return lines
