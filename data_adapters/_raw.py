"""What every source becomes before any rule is applied: its connections, its cells, and its facts.

A reader parses and no more: columns keep the names of the source, and nothing is dropped. What
columns mean is decided once for all sources, by the adapter ``table``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

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
