"""A graph as a folder that a person can look into.

``graph.json`` names populations, projections, ports and provenance; the tables lie beside it, with
the hash of their content in their names: ``neurons/<population>.<hash>.parquet`` and
``connections/<projection>.<hash>.parquet``. So a graph is replaced by replacing its page. Equal
graphs make equal files, byte for byte (with one version of pyarrow).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import unicodedata
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectome_compiler import files
from connectome_compiler.errors import CompileError, UnknownNameError, VerifyError
from connectome_compiler.ir.connectivity import (
    AllToAll,
    Connectivity,
    OneToOne,
    Shift,
    Synapses,
)
from connectome_compiler.ir.gaussian import GaussianKernel, GaussianLaw
from connectome_compiler.ir.graph import (
    Graph,
    NodeModel,
    Place,
    Population,
    Port,
    Projection,
    Weights,
)
from connectome_compiler.ir.operators import OPERATORS
from connectome_compiler.ir.provenance import Provenance
from connectome_compiler.ir.window import Window
from connectome_compiler.nn.window_rules import WindowRule

FORMAT = 4
PAGE = "graph.json"
FOLDERS = ("neurons", "connections")
LAWS: dict[str, type[Any]] = {
    law.__name__: law for law in (AllToAll, OneToOne, Shift, Window, GaussianLaw, GaussianKernel)
}


def save(graph: Graph, folder: Path) -> Path:
    """Write ``graph`` to ``folder``, whole or not at all; a graph that stands there is replaced."""
    graph.verify()
    try:
        tables, page = _write(graph)
        target = Path(os.path.realpath(folder))  # of a link, what it points to is replaced
        if target.exists():
            must_be_ours(folder)
        with files.locked(target) as desk:
            must_be_ours(folder)  # another process may have been there
            stale = _tables_of_old_format(target)
            for name, data in tables.items():
                desk.add(name, data)
            desk.swap(PAGE, page)
            with contextlib.suppress(OSError):  # the graph is saved
                _sweep(desk, tables.keys(), stale)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise CompileError(str(folder), problem, "choose another folder, or make room") from error
    except UnicodeEncodeError as error:
        raise CompileError(str(folder), f"provenance holds no text: {error.object!r}") from error
    return folder


def _sweep(desk: files.Folder, named: Collection[str], stale: list[Path]) -> None:
    """Take away the tables of the graph that was replaced, and of saves that were killed."""
    if not desk.alone:
        return
    for name in FOLDERS:
        folder = desk.path / name
        if folder.is_dir() and not folder.is_symlink():
            stale += [p for p in folder.iterdir() if files.is_hashed(p)]
    for path in stale:
        if path.relative_to(desk.path).as_posix() not in named:
            desk.remove(path)
    for name in FOLDERS:
        with contextlib.suppress(OSError):  # it holds tables
            (desk.path / name).rmdir()


def _tables_of_old_format(folder: Path) -> list[Path]:
    """Return the tables of a graph whose tables have plain names; they are ours if it loads."""
    try:
        page = json.loads((folder / PAGE).read_text(encoding="utf-8"))
        entries = [p["neurons"] for p in page["populations"]]
        entries += [q["connectivity"].get("table") for q in page["projections"]]
        tables = [folder / name for name in entries if name and not files.is_hashed(folder / name)]
        if tables:
            load(folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, CompileError):
        return []
    return tables


def load(folder: Path) -> Graph:
    """Read the graph in ``folder``; raise `CompileError` if it is none, or was altered."""
    page = folder / PAGE
    try:
        if not page.is_file():
            raise CompileError(str(folder), "is not a saved graph", f"it has no {PAGE}")
        text = json.loads(page.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        where = f"{page}, line {error.lineno}, column {error.colno}"
        raise CompileError(where, error.msg, "a file was altered: save the graph again") from error
    except (OSError, ValueError) as error:
        raise CompileError(str(page), f"cannot be read: {error}") from error
    if not isinstance(text, dict) or text.get("format") != FORMAT:
        found = text.get("format") if isinstance(text, dict) else None
        problem = f"format {found}, this version reads {FORMAT}"
        raise CompileError(str(page), problem, "save the graph again with this version")
    try:
        graph = Graph(
            populations=tuple(_population(folder, p) for p in text["populations"]),
            projections=tuple(_projection(folder, p) for p in text["projections"]),
            provenance=Provenance.from_dict(text["provenance"]),
            ports=tuple(Port(**p) for p in text["ports"]),
        )
        whole = graph.digest() == text["digest"]
    except KeyError as error:
        hint = "a file was altered: save the graph again"
        raise CompileError(str(page), f"lacks {error}", hint) from error
    except (TypeError, ValueError, AttributeError) as error:
        hint = "a file was altered: save the graph again"
        raise CompileError(str(page), f"cannot be read: {error}", hint) from error
    if not whole:
        problem = "the tables do not belong to the digest in graph.json"
        raise CompileError(str(folder), problem, "a file was altered: save the graph again")
    try:
        graph.verify()
    except VerifyError as error:
        error.add_note(f"in {folder}")
        raise
    return graph


def file_name(name: str, taken: set[str]) -> str:
    """Spell a population's or projection's name as a file name: ``L2-3.exc``."""
    plain = name.replace("->", "_to_")
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in plain).lstrip(".")[:50]
    plain = plain or "unnamed"
    unique, k = plain, 1
    # Some file systems do not tell L4 from l4, nor the two spellings of an accented letter.
    while (key := unicodedata.normalize("NFKC", unique).casefold()) in taken:
        k += 1
        unique = f"{plain}-{k}"
    taken.add(key)
    return unique


def must_be_ours(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a saved graph."""
    hint = "choose another folder, or remove it"
    if not folder.is_dir():
        raise CompileError(str(folder), "is a file, not a folder", hint)
    inside = sorted(p.name for p in folder.iterdir() if not files.DRAFT.fullmatch(p.name))
    if strange := [name for name in inside if name not in (PAGE, *FOLDERS)]:
        raise CompileError(str(folder), f"holds {strange[0]}, which is no part of a graph", hint)
    if PAGE in inside:
        ours = _is_page(folder / PAGE)
    else:  # a save may have been killed before it wrote its page
        ours = all(files.is_hashed(p) for name in inside for p in (folder / name).iterdir())
    if not ours:
        raise CompileError(str(folder), "exists and is not a saved graph", hint)


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(page, dict) and {"format", "digest", "populations"} <= page.keys()


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
            "node": asdict(p.node),
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
            "weights": asdict(q.weights),
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
            law: Any = q.connectivity
            entry["connectivity"] = {"kind": type(law).__name__, **asdict(law)}
        projections.append(entry)
    page = {
        "format": FORMAT,
        "digest": graph.digest(),
        "populations": populations,
        "projections": projections,
        "ports": [asdict(p) for p in graph.ports],
        "provenance": graph.provenance.to_dict(),
    }
    text = json.dumps(page, indent=1, ensure_ascii=False) + "\n"
    return tables, text.encode()


def _read_table(folder: Path, name: str) -> pa.Table:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CompileError(str(folder / PAGE), f"names {name!r}, outside the folder")
    try:
        # Not read_table: it would take a folder called "seed=1" on the way for a column.
        with pq.ParquetFile(path) as file:
            return file.read()
    except (OSError, pa.ArrowException) as error:
        hint = "a file is missing or was altered: save the graph again"
        raise CompileError(str(folder / name), f"cannot be read: {error}", hint) from error


def _population(folder: Path, entry: dict[str, Any]) -> Population:
    name = entry["neurons"]
    return Population(
        entry["name"],
        tuple(entry["shape"]),
        None if name is None else _read_table(folder, name),
        NodeModel(**entry["node"]),
        entry["artificial"],
        entry["stage"],
        None if entry["place"] is None else Place(**entry["place"]),
    )


def _projection(folder: Path, entry: dict[str, Any]) -> Projection:
    law = entry["connectivity"]
    connectivity: Connectivity
    if law["kind"] == "Synapses":
        table = _read_table(folder, law["table"])
        arrays = {
            name: _numpy(f"{law['table']}.{name}", column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        connectivity = Synapses(unit=law["unit"], **arrays)
    else:
        if law["kind"] not in LAWS:
            raise UnknownNameError.among("connectivity", law["kind"], LAWS)
        options = _options(law)
        if "rule" in options:
            options["rule"] = WindowRule(**options["rule"])
        connectivity = LAWS[law["kind"]](**options)
    operator = entry["operator"]
    if operator["kind"] not in OPERATORS:
        raise UnknownNameError.among("operator", operator["kind"], OPERATORS)
    return Projection(
        entry["pre"],
        entry["post"],
        connectivity,
        Weights(**entry["weights"]),
        entry["kind"],
        entry["delay"],
        OPERATORS[operator["kind"]](**_options(operator)),
    )


def _options(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k != "kind"}


def _numpy(where: str, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if column.null_count:
        raise CompileError(where, "a connection has a missing value")
    array: np.ndarray[Any, Any] = column.to_numpy()
    array.setflags(write=False)  # ours alone: Synapses need not copy it
    return array
