"""What every source becomes before any rule is applied: its connections, its cells, and its facts.

A reader parses and no more: columns keep the names of the source, and nothing is dropped. What
columns mean is decided once for all sources, by the adapter ``table``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence

Shape = Literal["list", "matrix", "network"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the format itself tells; empty where it tells nothing.

    ``pre``, ``post`` and ``weight`` name columns of the connections where they are certain; the
    ends of a matrix or a network always are. ``undirected`` names a boolean column: such a row runs
    both ways. ``kind`` and ``unit`` hold for all rows. With ``rows_are`` "synapses", a row without
    a weight is one synapse for sure. ``cell_id`` is the column of the cells with the ids that the
    ends use. Where the ends are ``numbered``, they are the places 0 to ``n`` - 1 of neurons without
    names, in the order of the source.
    """

    what: str = "a table"  # "an adjacency matrix", "GraphML": for people
    shape: Shape = "list"
    pre: str = ""
    post: str = ""
    weight: str = ""
    undirected: str = ""
    kind: Literal["", "chemical", "electrical"] = ""
    unit: str = ""
    rows_are: Literal["", "synapses"] = ""
    cell_id: str = ""
    numbered: bool = False
    n: int | None = None  # neurons, where the source tells


# From the number of a row, from 1, and a column (or ""): "line 3, column b", "cell C4", "edge 7".
Locate = Callable[[int, str], str]


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """A source as it was read: one row of ``edges`` per row, cell or edge of the source.

    ``cells`` has one row per cell, in the order of the source; none: it tells only the ends.
    ``notes`` say what was read. ``evidence`` is how the connections are known according to the
    source, where that is less than measured. ``locate`` says where a row of ``edges`` stands.
    """

    edges: pa.Table
    cells: pa.Table | None = None
    facts: Facts = Facts()
    notes: tuple[str, ...] = ()
    evidence: Evidence = Evidence.UNKNOWN
    locate: Locate | None = None


def renamed(raw: Raw, names: pa.Array, where: str) -> Raw:
    """Return a source whose cells, and ends of connections, have other ids: one name per cell.

    Ids of the source that are more than numbers stay in a column ``node``.
    Raises `CompileError` naming ``where`` if a name is missing or occurs twice.
    """
    facts = raw.facts
    assert raw.cells is not None
    names = names.cast(pa.string())
    if names.null_count:
        row = pc.index(names.is_null(), True).as_py() + 1
        raise CompileError(where, f"cell {row} has no name", "every cell needs one")
    if len(names.unique()) < len(names):
        twice = next(c["values"] for c in names.value_counts().to_pylist() if c["counts"] > 1)
        hint = "if these are classes, give the file as cells, with cell_id=order"
        raise CompileError(where, f"{twice!r} is the name of several cells", hint)
    old = raw.cells.column(facts.cell_id).combine_chunks()
    edges = raw.edges
    for end in (facts.pre, facts.post):
        at = pc.index_in(edges.column(end).combine_chunks(), value_set=old)
        edges = edges.set_column(edges.column_names.index(end), end, names.take(at))
    at = raw.cells.column_names.index(facts.cell_id)
    cells = raw.cells.set_column(at, facts.cell_id, names)
    if not facts.numbered and "node" not in cells.column_names:
        cells = cells.append_column("node", old)
    return replace(raw, edges=edges, cells=cells, facts=replace(facts, numbered=False))


def has_text_ids(raw: Raw) -> bool:
    """Whether the cells of a source have names that are not all numbers."""
    if raw.cells is None or not raw.facts.cell_id:
        return False
    names = raw.cells.column(raw.facts.cell_id)
    if not pa.types.is_string(names.type):
        return False
    return not pc.all(pc.match_substring_regex(names, r"^(0|-?[1-9]\d*)$")).as_py()
