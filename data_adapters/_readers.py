"""Readers of whole-graph formats (matrices, GraphML, SONATA, ...), chosen by a file's content.

A reader turns a file into a `Raw`; what its columns mean, and all checks, are those of the adapter
``table``. To add a format, write ``recognise`` and ``read`` and add a line to
`READERS`. ``recognise`` runs before every other format is tried, so it must be quick and sure.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.sources import Data, Place

from . import _content
from ._content import HEAD_BYTES, unzipped
from ._raw import Raw

Orientation = Literal["", "pre-post", "post-pre"]


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of the adapter ``table`` that a format may take."""

    orientation: Orientation = ""  # square matrices: "pre-post" has presynaptic rows
    sheet: str = ""  # of a workbook
    population: str = ""  # of a file with several
    part: str = ""  # of a file with several: a variable, a list beside others
    pre: str = ""  # column of a list; a list has to be found below titles, or told from a matrix
    post: str = ""
    header: Literal["", "none", "first"] = ""  # of a text: which line names the columns
    mirror: Literal["", "yes", "no"] = ""  # whether a triangular matrix is half of a symmetric one
    totals: Literal["", "keep", "drop"] = ""  # what the last row and column of a matrix are
    decimal: Literal["", "comma", "point"] = ""  # how a text writes the point in numbers
    weight: str = ""  # the attribute of edges that is the weight; "none": each counts 1
    kind: str = ""  # the attribute that says chemical or electrical; "none": all are chemical


Read = Callable[[Any, ReadOptions], Raw]  # of a path, or of data in memory


@dataclass(frozen=True, slots=True)
class Reader:
    """One format. ``read`` is "module:function", imported only when a file needs it.

    ``options`` names those of `ReadOptions` that it takes. ``has_cells`` is false if a file has
    nothing about cells but their names. ``suffixes`` are usual, and never what it is known by.
    """

    what: str  # "an Excel workbook": for people
    recognise: Callable[[bytes, Path], bool]  # first bytes, unzipped; and the path
    read: str
    options: tuple[str, ...] = ()
    has_cells: bool = True
    suffixes: tuple[str, ...] = ()

    def load(self, path: Place, options: ReadOptions) -> Raw:
        """Read the file; raise `CompileError` if it is not valid."""
        module, _, function = self.read.partition(":")
        read: Read = getattr(
            import_module(f"{__package__}.{module}" if module[0] == "_" else module), function
        )
        raw = read(path, options)
        if not isinstance(path, Data) and (note := misnamed(path, self)):
            raw = replace(raw, notes=(note, *raw.notes))
        return raw


def whole_numbers(values: pa.Array) -> pa.Array:
    """Return numbers as int64 if all are integers that fit, else as they are."""
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:  # 0.5, 1e19
        return values


def unused(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken: ``name``, or with _2, _3, ... behind it."""
    k, free = 1, name
    while free in taken:
        k += 1
        free = f"{name}_{k}"
    return free


def _own(place: str) -> str:
    return f"{__package__}.{place}"


# Besides the options of what is in them: of lists, matrices and networks.
MATRIX = ("orientation", "mirror", "totals", "header")
TEXT_MATRIX = Reader(
    "an adjacency matrix", _content.is_text_matrix, _own("_text_matrix:read"),
    (*MATRIX, "decimal"), has_cells=False, suffixes=(".csv", ".tsv", ".txt", ".dat"),
)  # fmt: skip
# The one list of formats: messages and docs/tables.md tell what stands here. The first that
# recognises a file reads it; what none recognises is a list as text, Feather or Parquet.
READERS: tuple[Reader, ...] = (
    Reader(
        "an Excel workbook", _content.is_workbook, _own("_workbook:read"),
        (*MATRIX, "sheet", "part"), suffixes=(".xlsx", ".xlsm"),
    ),
    Reader(
        "a workbook (.xls, .xlsb, .ods)", _content.is_other_workbook, _own("_workbook:read_other"),
        (*MATRIX, "sheet", "part"), suffixes=(".xls", ".xlsb", ".ods"),
    ),
    Reader(
        "an archive of numpy", _content.is_npz, _own("_arrays:read_npz"),
        (*MATRIX, "part"), has_cells=False, suffixes=(".npz",),
    ),
    Reader(
        "a connectivity of The Virtual Brain", _content.is_tvb, _own("_archives:read_tvb"),
        MATRIX, suffixes=(".zip",),
    ),
    Reader(
        "an array of numpy", _content.is_numpy, _own("_arrays:read_numpy"),
        MATRIX, has_cells=False, suffixes=(".npy",),
    ),
    Reader(
        "a file of MATLAB", _content.is_matlab, _own("_arrays:read_matlab"),
        (*MATRIX, "part"), has_cells=False, suffixes=(".mat",),
    ),
    Reader(
        "arrays in HDF5 (also MATLAB 7.3)", _content.is_arrays_hdf5, _own("_arrays:read_hdf5"),
        (*MATRIX, "part"), has_cells=False, suffixes=(".mat", ".h5", ".hdf5"),
    ),
    Reader(
        "a SONATA file", _content.is_hdf5, _own("_sonata:read"), ("population",),
        suffixes=(".h5", ".sonata"),
    ),
    Reader(
        "Matrix Market", _content.is_market, _own("_arrays:read_market"),
        MATRIX, has_cells=False, suffixes=(".mtx", ".mm"),
    ),
    Reader(
        "GraphML", _content.is_graphml, _own("_graphml:read"),
        suffixes=(".graphml", ".xml"),
    ),
    Reader("GEXF", _content.is_gexf, _own("_networks:read_gexf"), suffixes=(".gexf",)),
    Reader("GML", _content.is_gml, _own("_networks:read_gml"), suffixes=(".gml",)),
    Reader(
        "a network of Pajek", _content.is_pajek, _own("_networks:read_pajek"),
        suffixes=(".net", ".paj"),
    ),
    Reader("a connectome of flyvis", _content.is_flyvis, _own("_flyvis:read"), suffixes=(".json",)),
    Reader(
        "node-link JSON", _content.is_node_link, _own("_networks:read_json"), ("mirror",),
        suffixes=(".json",),
    ),
    TEXT_MATRIX,
)  # fmt: skip
TABLES = "lists as text (CSV, TSV, ..., also gzipped), Feather (Arrow) and Parquet"


def formats() -> str:
    """Return all formats that are read, for a message."""
    return f"read are {TABLES}; {', '.join(r.what for r in READERS)}"


IN_MEMORY = {
    "array": Reader(
        "an array in memory", lambda head, path: False, _own("_memory:read_array"),
        MATRIX, has_cells=False,
    ),
    "matrix": Reader(
        "an adjacency matrix", lambda head, path: False, _own("_memory:read_matrix"),
        MATRIX, has_cells=False,
    ),
    "network": Reader(
        "a networkx graph", lambda head, path: False, _own("_memory:read_network")
    ),
}  # fmt: skip


def reader_of(path: Place, options: ReadOptions | None = None) -> Reader | None:
    """Return the reader that recognises the file, or data in memory; none for a plain table.

    ``options`` tell a list from a matrix of text where both could be meant. Raises `CompileError`
    for a format that is known, but not read.
    """
    options = options or ReadOptions()
    is_matrix = bool(options.orientation or options.mirror or options.totals)
    if isinstance(path, Data):
        from ._frames import shape_of

        return IN_MEMORY.get(shape_of(path, is_matrix))
    head = _head(path)
    for reader in READERS:
        if reader is not TEXT_MATRIX and reader.recognise(head, path):
            return reader
    if TEXT_MATRIX not in READERS:
        return None
    _refuse(head, path)
    if options.pre or options.post:
        return None
    found = TEXT_MATRIX.recognise(head, path)
    return TEXT_MATRIX if found or (is_matrix and _content.could_be_matrix(head, path)) else None


def refuse_other_formats(path: Path) -> None:
    """Raise `CompileError` if a file is not a list as text, Feather or Parquet, by its content."""
    head = _head(path)
    _refuse(head, path)
    for reader in READERS:
        if reader is not TEXT_MATRIX and reader.recognise(head, path):
            problem = f"cannot be read as a table: it is {reader.what}"
            raise CompileError(str(path), problem, f"read are {TABLES}")


def _head(path: Path) -> bytes:
    with unzipped(path) as file:
        return file.read(HEAD_BYTES)


def _refuse(head: bytes, path: Path) -> None:
    _content.refuse_unread(head, path)
    if _content.is_zip(head, path) and not any(
        r.recognise(head, path) for r in READERS if r is not TEXT_MATRIX
    ):
        import_module(f"{__package__}._archives").refuse(path)


def misnamed(path: Path, reader: Reader | None) -> str:
    """Return a note where the name of a file says another format than its content."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    suffix = suffix.lower()
    texts = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".feather", ".arrow")
    known = {s for r in READERS for s in r.suffixes} | {*texts}
    own = reader.suffixes if reader else texts
    if suffix not in known or suffix in own or (suffix == ".txt" and reader):
        return ""
    return f"is named {suffix}, but is {reader.what if reader else 'a table'}: read by its content"
