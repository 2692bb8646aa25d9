"""GraphML: nodes and edges with typed attributes, read as a stream.

http://graphml.graphdrawing.org/specification.html. Document types and entities, with which a small
file can expand without bound, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence

from ._content import unzipped
from ._evidence import LESS_THAN_MEASURED
from ._raw import Facts, Raw
from ._readers import ReadOptions, unused

PIECE = 1 << 16  # bytes read at a time
LONGEST = 1 << 20  # bytes of an element's tag, a comment, or the text of an attribute
TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "string": pa.string(),
}


@dataclass(frozen=True, slots=True)
class _Key:
    """What a ``<key>`` declares: an attribute of nodes or of edges."""

    name: str
    dtype: pa.DataType
    domain: str  # "node", "edge" or "all"


@dataclass(slots=True)
class _Items:
    """Nodes or edges: their attributes as text, by key, and the line of each."""

    line: list[int] = field(default_factory=list)
    values: dict[str, dict[int, str]] = field(default_factory=dict)  # key to item to text


class _Parser:
    """Collect nodes and edges; raise `CompileError` with the line of what is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: dict[str, _Key] = {}
        self.default: dict[str, str] = {}
        self.nodes, self.edges = _Items(), _Items()
        self.ids: list[str] = []
        self.source: list[str] = []
        self.target: list[str] = []
        self.undirected: list[bool] = []
        self.by_default_undirected = False
        self.n_graphs = 0
        self.of_graph: dict[str, str] = {}  # attributes of the graph itself, by name
        self._item: _Items | None = None
        self._key = ""
        self._text: list[str] | None = None
        self._n_letters = 0
        self._expat = expat.ParserCreate(namespace_separator=" ")
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters
        self._expat.StartDoctypeDeclHandler = self._refuse_doctype

    def read(self, file: Any) -> None:
        n_read = 0
        try:
            while piece := file.read(PIECE):
                self._expat.Parse(piece, False)
                n_read += len(piece)
                # Older versions of expat rescan open elements with every chunk.
                if n_read - self._expat.CurrentByteIndex > LONGEST:
                    problem = f"has an element or comment of more than {LONGEST:,} bytes"
                    raise CompileError(self.where, problem, "is it GraphML?")
            self._expat.Parse(b"", True)
        except expat.ExpatError as error:
            where = f"{self.path}, line {error.lineno}"
            problem = f"is broken XML: {expat.ErrorString(error.code)}"
            raise CompileError(where, problem, "is the file complete?") from error
        except (LookupError, ValueError) as error:  # an encoding that is none, or of many bytes
            problem = f"is in an encoding that cannot be read: {error}"
            raise CompileError(str(self.path), problem, "save it as UTF-8") from error

    @property
    def where(self) -> str:
        return f"{self.path}, line {self._expat.CurrentLineNumber}"

    def _refuse_doctype(self, *_: Any) -> None:
        raise CompileError(self.where, "declares a document type", "remove the <!DOCTYPE ...>")

    def _start(self, tag: str, given: dict[str, str]) -> None:
        match tag.rpartition(" ")[2]:
            case "key":
                self._declare(given)
            case "graph":
                self.n_graphs += 1
                if self.n_graphs > 1:
                    problem = "contains a second or nested graph"
                    raise CompileError(self.where, problem, "use one graph per file")
                self.by_default_undirected = given.get("edgedefault") == "undirected"
            case "node":
                self.ids.append(self._required(given, "id"))
                self._begin(self.nodes)
            case "edge":
                self.source.append(self._required(given, "source"))
                self.target.append(self._required(given, "target"))
                told = given.get("directed", "")
                self.undirected.append(told == "false" if told else self.by_default_undirected)
                self._begin(self.edges)
            case "data":
                self._key = self._required(given, "key")
                if self._item is not None and self._key not in self.keys:
                    raise CompileError(self.where, f"key {self._key!r} was not declared")
                self._begin_text()
            case "default":
                self._begin_text()
            case "hyperedge":
                raise CompileError(
                    self.where, "a hyperedge is not a connection between two neurons"
                )

    def _declare(self, given: dict[str, str]) -> None:
        self._key = self._required(given, "id")
        kind = given.get("attr.type", "string")
        if kind not in TYPES:
            known = ", ".join(TYPES)
            raise CompileError(self.where, f"unknown attr.type {kind!r}", f"known: {known}")
        name = given.get("attr.name", self._key)
        self.keys[self._key] = _Key(name, TYPES[kind], given.get("for", "all"))

    def _begin(self, items: _Items) -> None:
        items.line.append(self._expat.CurrentLineNumber)
        self._item = items

    def _begin_text(self) -> None:
        self._text, self._n_letters = [], 0

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)
            self._n_letters += len(text)
            if self._n_letters > LONGEST:
                raise CompileError(self.where, f"has a text of more than {LONGEST:,} characters")

    def _end(self, tag: str) -> None:
        name = tag.rpartition(" ")[2]
        if name in ("data", "default") and self._text is not None:
            text = "".join(self._text).strip()
            self._text = None
            if name == "default":
                self.default[self._key] = text
            elif self._item is None:
                if self._key in self.keys:
                    self.of_graph[self.keys[self._key].name] = text
            else:
                self._item.values.setdefault(self._key, {})[len(self._item.line) - 1] = text
        elif name in ("node", "edge"):
            self._item = None

    def _required(self, given: dict[str, str], name: str) -> str:
        value = given.get(name, "").strip()
        if not value:
            raise CompileError(self.where, f"an element lacks its {name}")
        return value

    def columns(self, items: _Items, domain: str) -> dict[str, pa.Array]:
        """Return the attributes of all nodes or edges, null where missing.

        Writers that have one key per type, as networkx, give several keys one name.
        """
        made: dict[str, pa.Array] = {}
        for key, declared in self.keys.items():
            if declared.domain not in (domain, "all"):
                continue
            texts = items.values.get(key, {})
            if declared.domain == "all" and not texts:
                continue
            column, name = self._column(items, key, declared, texts), declared.name
            made[name] = self._merged(name, made[name], column, items) if name in made else column
        return made

    def _merged(self, name: str, first: pa.Array, second: pa.Array, items: _Items) -> pa.Array:
        """Return the values of two keys of one name; text where only that holds both."""
        both = pc.and_(first.is_valid(), second.is_valid())
        if (k := pc.index(both, True).as_py()) >= 0:
            where = f"{self.path}, line {items.line[k]}"
            raise CompileError(where, f"has two values of {name}, of two keys", "keep one")
        if first.type != second.type:
            numbers = all(pa.types.is_integer(t) or pa.types.is_floating(t)
                          for t in (first.type, second.type))  # fmt: skip
            dtype = pa.float64() if numbers else pa.string()
            first, second = first.cast(dtype), second.cast(dtype)
        return pc.coalesce(first, second)

    def _column(
        self, items: _Items, key: str, declared: _Key, texts: Mapping[int, str]
    ) -> pa.Array:
        column = np.full(len(items.line), self.default.get(key), object)
        column[list(texts)] = list(texts.values())
        told = pa.array(column, pa.string())
        told = pc.if_else(pc.equal(told, ""), None, told)
        try:
            return told.cast(declared.dtype)
        except pa.ArrowInvalid as error:
            where, text = f"{self.path}, the default", self.default.get(key)
            for k, given in texts.items():
                if not _casts(given or None, declared.dtype):
                    where, text = f"{self.path}, line {items.line[k]}", given
                    break
            problem = f"{declared.name} is {text!r}, expected {declared.dtype}"
            raise CompileError(where, problem) from error


def read(path: Path, options: ReadOptions) -> Raw:
    """Read a GraphML file; raise `CompileError` with the line of what is wrong."""
    parser = _Parser(path)
    with unzipped(path) as file:
        parser.read(file)
    if not parser.n_graphs:
        raise CompileError(str(path), "has no <graph>")
    if not parser.ids:
        raise CompileError(str(path), "has no node")
    ids = pa.array(parser.ids, pa.string())
    _known_ends(parser, ids)
    cells = {"neuron_id": ids}
    for name, values in parser.columns(parser.nodes, "node").items():
        cells[unused(name, cells)] = values
    edges: dict[str, pa.Array] = {
        "pre": pa.array(parser.source, pa.string()),
        "post": pa.array(parser.target, pa.string()),
    }
    notes = [f"{len(parser.ids):,} nodes, {len(parser.source):,} edges"]
    both = any(parser.undirected)
    if both:
        edges["undirected"] = pa.array(parser.undirected)
    for name, values in parser.columns(parser.edges, "edge").items():
        edges[unused(name, edges)] = values
    told = parser.of_graph.get("evidence", "")
    evidence = Evidence(told) if told in LESS_THAN_MEASURED else Evidence.UNKNOWN
    if told:
        notes.append(f"evidence according to the file: {told[:20]!r}")
    facts = Facts(
        *("GraphML", "network", "pre", "post"), undirected="undirected" if both else "",
        cell_id="neuron_id", n=len(ids),
    )  # fmt: skip
    lines = parser.edges.line

    def locate(row: int, column: str) -> str:
        return f"line {lines[row - 1]}" if 0 < row <= len(lines) else f"edge {row}"

    return Raw(pa.table(edges), pa.table(cells), facts, tuple(notes), evidence, locate)


def _known_ends(parser: _Parser, ids: pa.Array) -> None:
    if len(ids.unique()) < len(ids):
        twice = next(c["values"] for c in ids.value_counts().to_pylist() if c["counts"] > 1)
        k = len(parser.ids) - 1 - parser.ids[::-1].index(twice)
        where = f"{parser.path}, line {parser.nodes.line[k]}"
        raise CompileError(where, f"node {twice!r} occurs twice")
    for name, ends in (("source", parser.source), ("target", parser.target)):
        known = pc.is_in(pa.array(ends, pa.string()), value_set=ids)
        if (k := pc.index(known, False).as_py()) >= 0:
            where = f"{parser.path}, line {parser.edges.line[k]}"
            raise CompileError(where, f"{name} {ends[k]!r} is not a node")


def _casts(text: str | None, dtype: pa.DataType) -> bool:
    try:
        pa.array([text], pa.string()).cast(dtype)
    except pa.ArrowInvalid:
        return False
    return True
