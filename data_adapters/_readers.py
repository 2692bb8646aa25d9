"""Readers of whole-graph formats (matrices, GraphML, SONATA, ...), chosen by a file's content.

A reader turns a file into a `Raw`; what its columns mean, and all checks, are those of the adapter
``table``. To add a format, write ``recognise`` and ``read`` and add a line to
`READERS`. ``recognise`` runs before every other format is tried, so it must be quick and sure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import pyarrow as pa

from ._content import is_flyvis, is_graphml, is_hdf5, is_text_matrix, is_workbook, unzipped
from ._raw import Raw

HEAD_BYTES = 65536  # what `Reader.recognise` sees of a file

Orientation = Literal["", "pre-post", "post-pre"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of the adapter ``table`` that a format may take."""

    orientation: Orientation = ""  # square matrices: "pre-post" has presynaptic rows
    sheet: str = ""  # of a workbook
    population: str = ""  # of a file with several
    header: Literal["", "none", "first"] = ""  # of a text: which line names the columns
    mirror: Literal["", "yes", "no"] = ""  # whether a triangular matrix is half of a symmetric one
    totals: Literal["", "keep", "drop"] = ""  # what the last row and column of a matrix are
    decimal: Literal["", "comma", "point"] = ""  # how a text writes the point in numbers
    weight: str = ""  # the attribute of edges that is the weight; "none": each counts 1
    kind: str = ""  # the attribute that says chemical or electrical; "none": all are chemical


Read = Callable[[Path, ReadOptions], Raw]


@dataclass(frozen=True, slots=True)
class Reader:
    """One format. ``read`` is "module:function", imported only when a file needs it.

    ``options`` names those of `ReadOptions` that it takes. ``has_cells`` is false if a file has
    nothing about cells but their names.
    """

    what: str  # "an Excel workbook": for people
    recognise: Callable[[bytes, Path], bool]  # first bytes, unzipped; and the path
    read: str
    options: tuple[str, ...] = ()
    has_cells: bool = True

    def load(self, path: Path, options: ReadOptions) -> Raw:
        """Read the file; raise `CompileError` if it is not valid."""
        module, _, function = self.read.partition(":")
        read: Read = getattr(import_module(module), function)
        return read(path, options)


def whole_numbers(values: pa.Array) -> pa.Array:
    """Return numbers as int64 if all are integers that fit, else as they are."""
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:  # 0.5, 1e19
        return values


READERS: tuple[Reader, ...] = (
    Reader(
        "an Excel workbook", is_workbook, f"{__package__}._matrix:read_workbook",
        ("orientation", "sheet"), has_cells=False,
    ),
    Reader("GraphML", is_graphml, f"{__package__}._graphml:read", ("weight", "kind")),
    Reader("a SONATA file", is_hdf5, f"{__package__}._sonata:read", ("population", "weight")),
    Reader("a connectome of flyvis", is_flyvis, f"{__package__}._flyvis:read"),
    Reader(
        "an adjacency matrix", is_text_matrix, f"{__package__}._matrix:read_text",
        ("orientation",), has_cells=False,
    ),
)  # fmt: skip


def reader_of(path: Path) -> Reader | None:
    """Return the reader that recognises the file; none for a plain table."""
    with unzipped(path) as file:
        head = file.read(HEAD_BYTES)
    return next((r for r in READERS if r.recognise(head, path)), None)
