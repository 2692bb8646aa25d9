"""A graph as a folder that people can read.

``graph.json``, the page, lists populations, projections, ports and provenance; the tables are
beside it, with the hash of their content in their names: ``neurons/<population>.<hash>.parquet``
and ``connections/<projection>.<hash>.parquet``. So a graph is replaced by replacing its page. Equal
graphs give equal files, byte for byte (with the same version of pyarrow).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectome_compiler import files
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.digest import statement_digest
from connectome_compiler.ir.graph import (
    Graph,
    Place,
    Population,
    Port,
    Projection,
)
from connectome_compiler.ir.laws import Connectivity, Law
from connectome_compiler.ir.neurons import canonical
from connectome_compiler.ir.nodes import Node
from connectome_compiler.ir.operators import OPERATORS, Operator
from connectome_compiler.ir.provenance import Provenance
from connectome_compiler.ir.records import fitted, made, shown
from connectome_compiler.ir.weights import Weights
from connectome_compiler.registry import HOME, find

T = TypeVar("T")
Record = Literal["law", "node", "weights"]  # records that other packages may define
RECORDS: dict[Record, Any] = {"law": Law, "node": Node, "weights": Weights}

FORMAT = 6
PAGE = "graph.json"
ALTERED = "a file was altered: save the graph again"
FOLDERS = ("neurons", "connections")
COLUMNS = {"post", "pre", "weight", "size", "sign"}  # of a table of connections


def save(graph: Graph, folder: Path) -> Path:
    """Write ``graph`` to ``folder``, completely or not at all, replacing a graph saved there."""
    graph.verify()
    try:
        tables, page = _write(graph)
        target = Path(os.path.realpath(folder))  # the target of a link is replaced, not the link
        if target.exists():
            must_be_ours(folder)
        _put(target, tables, page)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        hint = files.way_out(error, "choose another folder")
        raise CompileError(str(folder), problem, hint) from error
    except UnicodeEncodeError as error:
        raise CompileError(
            str(folder), f"provenance is not valid text: {error.object!r}"
        ) from error
    return folder


def move(draft: Path, folder: Path) -> None:
    """Move the graph in ``draft``, a private folder, to ``folder`` as `save` would."""
    tables = {p.relative_to(draft).as_posix(): p.read_bytes() for p in draft.glob("*/*")}
    _put(folder, tables, (draft / PAGE).read_bytes())


def remove(folder: Path) -> None:
    """Remove the saved graph in ``folder``, and nothing else that is in it."""
    with files.locked(folder, _is_named) as desk:
        with contextlib.suppress(OSError):
            (folder / PAGE).unlink()
        _sweep(desk, ())
    with contextlib.suppress(OSError):  # it holds other files
        folder.rmdir()


def _put(folder: Path, tables: Mapping[str, bytes], page: bytes) -> None:
    with files.locked(folder, _is_named) as desk:
        must_be_ours(folder)  # another process may have removed it
        for name, data in tables.items():
            desk.add(name, data)
        desk.swap(PAGE, page)
        with contextlib.suppress(OSError):  # the graph is saved
            _sweep(desk, tables.keys())


def _sweep(desk: files.Folder, named: Collection[str]) -> None:
    """Remove the tables of the graph that was replaced, and those of killed saves."""
    if not desk.alone:
        return
    for name in FOLDERS:
        folder = desk.path / name
        if folder.is_dir() and not folder.is_symlink():
            for path in list(folder.iterdir()):
                if f"{name}/{path.name}" not in named and files.is_hashed(path):
                    desk.remove(path)
            with contextlib.suppress(OSError):  # it holds tables
                folder.rmdir()


def _is_named(table: Path) -> bool:
    """Return whether the current page names a table."""
    try:
        page = (table.parents[1] / PAGE).read_bytes()
    except FileNotFoundError:
        return False
    return os.fsencode(f'"{table.parent.name}/{table.name}"') in page


def load(folder: Path) -> Graph:
    """Read the graph in ``folder``; raise `CompileError` if there is none, or if it was altered."""
    page = _page(folder)
    try:
        origin = Provenance.from_dict(page["provenance"], f"{folder / PAGE}: provenance")
        graph = Graph(
            tuple(_population(folder, at, p) for at, p in _listed(folder, page, "populations")),
            tuple(_projection(folder, at, q) for at, q in _listed(folder, page, "projections")),
            origin,
            tuple(made(at, Port, p) for at, p in _listed(folder, page, "ports")),
        )
        if graph.digest() != page["digest"]:
            problem = "the tables do not match the digest in graph.json"
            raise CompileError(str(folder), problem, ALTERED)
        graph.verify()
    except CompileError as error:
        error.add_note(f"in {folder}")
        raise
    return graph


def _page(folder: Path) -> dict[str, Any]:
    """Return the content of ``graph.json``; raise `CompileError` if it was altered."""
    where = str(folder / PAGE)
    if not (folder / PAGE).exists():
        raise CompileError(str(folder), "is not a saved graph", f"it has no {PAGE}")
    try:
        page: Any = json.loads(_inside(folder, PAGE).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        at = f"{where}, line {error.lineno}, column {error.colno}"
        raise CompileError(at, error.msg, ALTERED) from error
    except RecursionError as error:
        raise CompileError(where, "is nested too deeply", ALTERED) from error
    except (OSError, ValueError) as error:  # ValueError: bytes that are not text, endless numbers
        raise CompileError(where, f"cannot be read: {_reason(error)}") from error
    found = page.get("format") if isinstance(page, dict) else None
    if type(found) is not int or found != FORMAT:
        problem = f"has format {shown(found)}; this version reads format {FORMAT}"
        raise CompileError(where, problem, _made_anew(page))
    for name, kind in (("digest", str), ("sha256", str), ("provenance", dict)):
        _entry(where, page, name, kind)
    if page["sha256"] != statement_digest(page):
        problem = "was altered: its hash is not the one it was written with"
        raise CompileError(where, problem, "save the graph again")
    return dict(page)


def _listed(folder: Path, page: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    """Return the entries of a list in the page, each with its location."""
    where = str(folder / PAGE)
    return [(f"{where}: {name}[{k}]", v) for k, v in enumerate(_entry(where, page, name, list))]


def _made_anew(page: Any) -> str:
    """Return how to remake a graph of another format, as far as its provenance can be read."""
    command = "ccompile build RECIPE --save-after all"
    origin = page.get("provenance") if isinstance(page, dict) else None
    try:
        known = Provenance.from_dict(origin, PAGE)
    except CompileError:
        return f"make it again: {command}"
    last = f", after {known.steps[-1].name}" if known.steps else ""
    return f"it holds {known.source}{last}; make it again: {command}"


def file_name(name: str, taken: set[str]) -> str:
    """Spell a population's or projection's name as a file name: ``L2-3.exc``."""
    plain = name.replace("->", "_to_")
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in plain).lstrip(".")[:50]
    plain = plain or "unnamed"
    unique, k = plain, 1
    # Some file systems do not distinguish L4 from l4, nor the two encodings of an accented letter.
    while (key := unicodedata.normalize("NFKC", unique).casefold()) in taken:
        k += 1
        unique = f"{plain}-{k}"
    taken.add(key)
    return unique


def must_be_ours(folder: Path, hint: str = "choose another folder, or remove it") -> None:
    """Refuse to replace a folder that holds anything but a saved graph."""
    if not folder.is_dir():
        raise CompileError(str(folder), "is a file, not a folder", hint)
    inside = sorted(p.name for p in folder.iterdir() if not files.DRAFT.fullmatch(p.name))
    if strange := [name for name in inside if name not in (PAGE, *FOLDERS)]:
        raise CompileError(str(folder), f"holds {strange[0]}, which is not part of a graph", hint)
    if PAGE in inside:
        found = _format(folder / PAGE)
        if found not in (None, FORMAT):  # this version cannot identify its tables
            raise CompileError(str(folder), f"holds a graph of format {found!r}", hint)
        ours = found == FORMAT
    else:  # a save may have been killed before it wrote the page
        ours = all(files.is_hashed(p) for name in inside for p in (folder / name).iterdir())
    if not ours:
        raise CompileError(str(folder), "exists and is not a saved graph", hint)


def _format(path: Path) -> int | None:
    """Return the format of a graph's page; None if it is not one."""
    if not path.is_file():
        return None
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    ours = isinstance(page, dict) and {"format", "digest", "populations"} <= page.keys()
    return page["format"] if ours and isinstance(page["format"], int) else None


def _write(graph: Graph) -> tuple[dict[str, bytes], bytes]:
    """Return the tables of a graph, by name, and its page."""
    tables: dict[str, bytes] = {}

    def place(table: pa.Table, folder: str, name: str) -> str:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        path = f"{folder}/{name}.{hashlib.sha256(data).hexdigest()[:12]}.parquet"
        tables[path] = data
        return path

    populations, projections = [], []
    taken: set[str] = set()
    for p in graph.populations:
        entry: dict[str, Any] = {
            "name": p.name,
            "shape": list(p.shape),
            "node": _spelled(f"population {p.name}", "node", p.node),
            "artificial": p.artificial,
            "stage": p.stage,
            "place": None if p.place is None else asdict(p.place),
            "neurons": None,
        }
        if p.neurons is not None:
            entry["neurons"] = place(p.neurons, "neurons", file_name(p.name, taken))
        populations.append(entry)
    taken = set()
    for q in graph.projections:
        entry = {
            "pre": q.pre,
            "post": q.post,
            "kind": q.kind,
            "delay": q.delay,
            "operator": {"kind": type(q.operator).__name__, **asdict(q.operator)},
            "weights": _spelled(f"projection {q.key}", "weights", q.weights),
        }
        if isinstance(q.connectivity, Synapses):
            columns = {
                name: values
                for name in ("post", "pre", "weight", "size", "sign")
                if (values := getattr(q.connectivity, name)) is not None
            }
            entry["connectivity"] = {
                "kind": "Synapses",
                "unit": q.connectivity.unit,
                "n_connections": len(q.connectivity.post),
                "table": place(pa.table(columns), "connections", file_name(q.key, taken)),
            }
        else:
            law = q.connectivity
            entry["connectivity"] = _spelled(f"projection {q.key}", "law", law)
        projections.append(entry)
    page = {
        "format": FORMAT,
        "digest": graph.digest(),
        "populations": populations,
        "projections": projections,
        "ports": [asdict(p) for p in graph.ports],
        "provenance": graph.provenance.to_dict(),
    }
    page["sha256"] = statement_digest(page)  # so that no change of origin goes unnoticed
    text = json.dumps(page, indent=1, ensure_ascii=False) + "\n"
    return tables, text.encode()


def _inside(folder: Path, name: str) -> Path:
    """Return a file of the folder; raise `CompileError` if it does not exist or lies elsewhere."""
    where = f"{folder / PAGE}: {shown(name)}"
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise CompileError(where, "lies outside the folder", ALTERED)
        if not S_ISREG(path.stat().st_mode):  # a pipe would block forever
            raise CompileError(where, "is not a regular file", ALTERED)
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; a byte 0 in the name
        raise CompileError(where, f"cannot be read: {_reason(error)}", ALTERED) from error
    return path


def _read_table(folder: Path, name: str) -> pa.Table:
    path = _inside(folder, name)
    try:
        # Not read_table: it would read a parent folder called "seed=1" as a column.
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)  # invalid text, lengths that point beyond it
        return canonical(table)
    except (OSError, MemoryError, ValueError, pa.ArrowException) as error:
        raise CompileError(str(path), f"cannot be read: {_reason(error)}", ALTERED) from error


def _reason(error: Exception) -> str:
    """Return a library's message about a file, shortened."""
    return str(getattr(error, "strerror", None) or error)[:200]


def _entry(where: str, entry: Any, name: str, kind: type) -> Any:
    """Return ``entry[name]``; raise `CompileError` if it is missing, or of another type."""
    if not isinstance(entry, dict):
        raise CompileError(where, f"is {shown(entry)}, expected a table", ALTERED)
    if name not in entry:
        raise CompileError(where, f"lacks {name!r}", ALTERED)
    return fitted(f"{where}.{name}", kind, entry[name])


def _population(folder: Path, where: str, entry: Any) -> Population:
    _entry(where, entry, "name", str)
    node = _record(f"{where}.node", "node", _entry(where, entry, "node", dict))
    ready = {**entry, "node": node}
    if ready.get("place") is not None:
        ready["place"] = made(f"{where}.place", Place, ready["place"])
    if ready.get("neurons") is not None:
        ready["neurons"] = _read_table(folder, _entry(where, entry, "neurons", str))
    return made(where, Population, ready)


def _projection(folder: Path, where: str, entry: Any) -> Projection:
    law = _entry(where, entry, "connectivity", dict)
    operator = _entry(where, entry, "operator", dict)
    at = f"{where}.connectivity"
    if _entry(at, law, "kind", str) == "Synapses":
        connectivity: Connectivity = _synapses(folder, at, law)
    else:
        connectivity = _record(at, "law", law)
    ready = {
        **entry,
        "connectivity": connectivity,
        "operator": _operator(f"{where}.operator", operator),
        "weights": _record(f"{where}.weights", "weights", _entry(where, entry, "weights", dict)),
    }
    return made(where, Projection, ready)


def _synapses(folder: Path, where: str, entry: dict[str, Any]) -> Synapses:
    name = _entry(where, entry, "table", str)
    table = _read_table(folder, name)
    if len(set(table.column_names)) < table.num_columns or not set(table.column_names) <= COLUMNS:
        raise CompileError(name, f"has columns {shown(', '.join(table.column_names))}", ALTERED)
    arrays = {c: _numpy(f"{name}.{c}", table.column(c)) for c in table.column_names}
    for column in ("post", "pre", "weight"):
        if column not in arrays:
            raise CompileError(name, f"lacks {column!r}", ALTERED)
    return Synapses(unit=_entry(where, entry, "unit", str), **arrays)


def _spelled(where: str, what: Record, record: Law | Node | Weights) -> dict[str, Any]:
    """Return a record of the IR as written to a page; refuse one that could not be loaded again."""
    kind = type(record)
    with contextlib.suppress(UnknownNameError):
        if find(what, kind.__name__) is kind:
            return {"kind": kind.__name__, **asdict(record)}
    problem = f"{what} {kind.__name__} could not be loaded again: no installed package lists it"
    point = f'{kind.__name__} = "{kind.__module__}:{kind.__qualname__}"'
    hint = f"list it in a package under the entry points {HOME[what][1]}: {point}"
    raise CompileError(where, problem, hint)


def _record(where: str, what: Record, entry: dict[str, Any]) -> Any:
    """Return the record that a page describes, of this or another package."""
    name = _entry(where, entry, "kind", str)
    try:
        kind = find(what, name, where)
    except UnknownNameError as error:
        problem = f"holds the {what} {shown(name)}, which no installed package provides"
        hint = f"install the package that the graph was made with; {error.hint}"
        raise CompileError(where, problem, hint) from None
    record = _made_of(where, kind, entry) if is_dataclass(kind) else None
    if not isinstance(record, RECORDS[what]):
        problem = f"holds the {what} {shown(name)}, but {kind!r} does not make one"
        raise CompileError(where, problem, "report it to the authors of the package that lists it")
    return record


def _operator(where: str, entry: dict[str, Any]) -> Operator:
    if (kind := _entry(where, entry, "kind", str)) not in OPERATORS:
        raise UnknownNameError.among("operator", kind, OPERATORS)
    operator: Operator = _made_of(where, OPERATORS[kind], entry)
    return operator


def _made_of(where: str, kind: type[T], entry: dict[str, Any]) -> T:
    return made(where, kind, {k: v for k, v in entry.items() if k != "kind"})


def _numpy(where: str, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if column.null_count:
        raise CompileError(where, "a connection has a missing value")
    array: np.ndarray[Any, Any] = column.to_numpy()
    array.setflags(write=False)  # not shared: Synapses need not copy it
    return array
