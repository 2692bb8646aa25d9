"""Networks as networkx has them, in memory or in its formats: GML, GEXF, Pajek, node-link JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence

from ._ask import unsaid
from ._content import FETCH_AGAIN, refuse_doctype, unzipped
from ._evidence import LESS_THAN_MEASURED
from ._raw import Facts, Raw
from ._readers import ReadOptions, unused

if TYPE_CHECKING:
    import networkx as nx

MOST_BYTES = 1 << 30  # of a file; as objects of Python it takes about ten times as much
ENDS = ("pre", "post")
UNDIRECTED = "undirected"
CELL_ID = "neuron_id"
# What the parsers of networkx raise where a file is not of their format, beside their own errors.
BROKEN = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, AssertionError),
    *(RecursionError, StopIteration, RuntimeError, MemoryError, ET.ParseError),
)


# --- graphs in memory -----------------------------------------------------------------------------


def network_of(graph: nx.Graph[Any], what: str = "a networkx graph", where: str = "") -> Raw:
    """Return a graph of networkx, of any of its four classes, with all attributes as columns.

    One row per edge; each edge of an undirected graph runs both ways. Nodes are known by their
    names, as int64 where all are whole numbers, else as text.
    """
    where = where or what
    names = list(graph.nodes)
    ids = _ids(where, names)
    place = dict(zip(names, range(len(names)), strict=True))
    cells = {CELL_ID: ids}
    for name in _names_of(d for _, d in graph.nodes(data=True)):
        values = [v for _, v in graph.nodes(data=name)]
        cells[unused(str(name), cells)] = column(values, missing=True)
    edges: dict[str, pa.Array] = {}
    for end, name in enumerate(ENDS):
        at = np.fromiter((place[e[end]] for e in graph.edges()), np.int64)
        edges[name] = ids.take(pa.array(at))
    n = len(edges["pre"])
    if not graph.is_directed():
        edges[UNDIRECTED] = pa.array(np.ones(n, np.bool_))
    if graph.is_multigraph():
        every: Any = graph.edges
        keys = [key for *_, key in every(keys=True)]
        if not all(isinstance(key, int) for key in keys):  # not those that networkx counts
            edges["key"] = column(keys)
    for name in _names_of(d for *_, d in graph.edges(data=True)):
        values = [v for *_, v in graph.edges(data=name)]
        edges[unused(str(name), edges)] = column(values)
    told = str(graph.graph.get("evidence", ""))
    directed = "directed" if graph.is_directed() else "undirected"
    notes = [f"{len(names):,} nodes, {n:,} {directed} edges"]
    if told:
        notes.append(f"evidence according to it: {told[:20]!r}")
    facts = Facts(
        *(what, "network", *ENDS),
        undirected="" if graph.is_directed() else UNDIRECTED, cell_id=CELL_ID, n=len(names),
    )  # fmt: skip
    evidence = Evidence(told) if told in LESS_THAN_MEASURED else Evidence.UNKNOWN
    return Raw(pa.table(edges), pa.table(cells), facts, tuple(notes), evidence)


def _names_of(attributes: Iterable[dict[Any, Any]]) -> list[Any]:
    """Return all names of attributes, in the order in which they first occur."""
    return list(dict.fromkeys(name for each in attributes for name in each))


def _ids(where: str, names: Sequence[Any]) -> pa.Array:
    if all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in names):
        try:
            return pa.array([int(n) for n in names], pa.int64())
        except (pa.ArrowInvalid, OverflowError):
            pass
    texts = [str(n) for n in names]
    if len(set(texts)) < len(texts):
        twice = next(t for k, t in enumerate(texts) if t in texts[:k])
        problem = f"has two nodes called {twice!r}: a number and a text"
        raise CompileError(where, problem, "rename one, for example with networkx.relabel_nodes")
    return pa.array(texts, pa.string())


def column(values: Sequence[Any], missing: bool = False) -> pa.Array:
    """Return values of one attribute, ``(n,)``; text where they have no type in common.

    With ``missing``, NaN is null.
    """
    if missing:
        values = [None if _is_nan(v) else v for v in values]
    try:
        made = pa.array(values, from_pandas=False)
        if pa.types.is_primitive(made.type) or pa.types.is_string(made.type):
            return made
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        pass
    if all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values):
        try:
            return pa.array([None if v is None else float(v) for v in values], pa.float64())
        except OverflowError:
            pass
    return pa.array([None if v is None else _text(v) for v in values], pa.string())


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)


def _text(value: Any) -> str:
    return str(value).encode(errors="replace").decode()


# --- files ----------------------------------------------------------------------------------------


def read_gml(path: Path, options: ReadOptions) -> Raw:
    """Read GML; nodes are known by their labels where these are unique, else by their ids."""
    import networkx as nx

    text = _content(path).decode("utf-8-sig", "replace")
    with _translated(path, "GML"):
        # As a multigraph nothing is lost where a pair occurs twice.
        many = re.sub(r"^(\s*graph\s*\[)", r"\1 multigraph 1 ", text, count=1, flags=re.MULTILINE)
        graph = nx.parse_gml(
            text if re.search(r"^\s*multigraph\s", text, re.M) else many, label="id"
        )
        labels = [label for _, label in graph.nodes(data="label")]
        if None in labels or len(set(map(str, labels))) < len(labels):
            return network_of(graph, "GML", str(path))
        for node, attributes in graph.nodes(data=True):
            attributes.pop("label")
            attributes["gml_id"] = node
        named = dict(zip(graph.nodes, map(str, labels), strict=True))
        return network_of(nx.relabel_nodes(graph, named), "GML", str(path))


def read_gexf(path: Path, options: ReadOptions) -> Raw:
    """Read GEXF 1.1 to 1.3, as Gephi writes it."""
    import io

    import networkx as nx

    refuse_doctype(path)
    # networkx knows the namespaces to 1.2; what 1.3 adds is optional.
    content = re.sub(rb'"https?://(www\.)?gexf\.net/1\.3"', b'"http://www.gexf.net/1.2draft"',
                     _content(path))  # fmt: skip
    with _translated(path, "GEXF"):
        return network_of(nx.read_gexf(io.BytesIO(content)), "GEXF", str(path))


def read_pajek(path: Path, options: ReadOptions) -> Raw:
    """Read a network of Pajek: arcs run one way, edges both."""
    import networkx as nx

    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # of Windows, as older versions of Pajek write
    vertices, sections = _sections(path, text)
    parts = []
    with _translated(path, "Pajek"):
        for title, lines in sections:
            word, _, relation = title.lower().partition(" ")
            graph = nx.parse_pajek([*vertices, word, *lines])
            if graph.number_of_nodes() != len(vertices) - 1:
                problem = f"{len(vertices) - 1:,} vertices have {graph.number_of_nodes():,} labels"
                raise CompileError(str(path), problem, "give each vertex a label of its own")
            part = network_of(graph, "a network of Pajek", str(path))
            if relation.strip() and len(sections) > 1:
                told = pa.repeat(title.partition(" ")[2].strip(), part.edges.num_rows)
                part = replace(part, edges=part.edges.append_column("relation", told))
            parts.append(part)
    return _joined(parts)


def _sections(path: Path, text: str) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the lines of all vertices, also of those without a line, and of arcs and edges."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("*"):
            found.append((line.strip(), []))
        elif found and line.strip() and not line.startswith("%"):
            found[-1][1].append(line.strip())
    vertices: list[str] = []
    sections = []
    for title, lines in found:
        word, _, rest = title.lower().partition(" ")
        if word == "*vertices":
            n = int(rest.split()[0]) if rest.split()[:1] and rest.split()[0].isdigit() else -1
            if vertices or not len(lines) <= n <= len(text):
                raise CompileError(str(path), f"is not a network of Pajek: {title[:60]!r}")
            own = {line.split()[0]: line for line in lines}
            vertices = [f"*vertices {n}", *(own.get(str(k), f'{k} "{k}"') for k in range(1, n + 1))]
        elif word in ("*arcs", "*edges", "*matrix"):
            sections.append((title, lines))
        elif word != "*network":
            hint = "save it in Pajek as arcs or edges"
            raise CompileError(str(path), f"has a section {word[:40]!r}, which is not read", hint)
    if not sections:
        raise CompileError(str(path), "has neither *Arcs nor *Edges")
    return vertices, sections


def _joined(parts: list[Raw]) -> Raw:
    """Return networks of the same nodes as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    tables = [
        p.edges if UNDIRECTED in p.edges.column_names
        else p.edges.append_column(UNDIRECTED, pa.array(np.zeros(p.edges.num_rows, np.bool_)))
        for p in parts
    ]  # fmt: skip
    edges = pa.concat_tables(tables, promote_options="permissive")
    notes = tuple(dict.fromkeys(n for p in parts for n in p.notes))
    facts = Facts(first.facts.what, "network", *ENDS, undirected=UNDIRECTED, cell_id=CELL_ID,
                  n=first.facts.n)  # fmt: skip
    return Raw(edges, first.cells, facts, notes)


def read_json(path: Path, options: ReadOptions) -> Raw:
    """Read node-link JSON, whose edges are called links or edges."""
    import networkx as nx

    where, what = str(path), "node-link JSON"
    with _translated(path, what):
        data = json.loads(_content(path))
        name = next((n for n in ("links", "edges") if n in data), "")
        if not (isinstance(data, dict) and name and isinstance(data.get("nodes"), list)):
            problem = "is JSON, but not a node-link graph: it needs nodes, and links or edges"
            raise CompileError(where, problem, "networkx writes it with node_link_data")
        if "directed" not in data and not options.mirror:
            shown = [
                ["source", "target"],
                *([e.get("source"), e.get("target")] for e in data[name][:3]),
            ]
            problem = "does not say whether its edges are directed"
            raise unsaid(
                where, problem, shown, ("mirror=no", "directed: from source to target"),
                ("mirror=yes", "undirected: each runs both ways"),
            )  # fmt: skip
        if "directed" not in data:
            data["directed"] = options.mirror == "no"
        # As a multigraph nothing is lost where a pair occurs twice.
        key = "key" if data.get("multigraph") else None
        if key is None:
            data[name] = [{"edge_key" if k == "key" else k: v for k, v in e.items()}
                          for e in data[name]]  # fmt: skip
        made: Any = nx.node_link_graph
        graph = made({**data, "multigraph": True}, edges=name, key=key)
        if graph.number_of_edges() != len(data[name]):
            problem = f"{len(data[name]):,} {name} make {graph.number_of_edges():,} edges"
            raise CompileError(where, problem, "is a key used twice for one pair of nodes?")
        if graph.number_of_nodes() != len(data["nodes"]):
            n, known = graph.number_of_nodes(), len(data["nodes"])
            problem = f"lists {known:,} nodes, but its {name} join {n:,}"
            raise CompileError(where, problem, "is an id used twice, or one not listed?")
        return network_of(graph, what, where)


def _content(path: Path) -> bytes:
    with unzipped(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        hint = "write it as GraphML or as a table of connections"
        raise CompileError(str(path), f"has more than {MOST_BYTES:,} bytes", hint)
    return content


@contextmanager
def _translated(path: Path, what: str) -> Iterator[None]:
    """Translate what networkx raises into our own error."""
    import networkx as nx

    try:
        yield
    except (nx.NetworkXException, *BROKEN) as error:
        why = str(error).strip().split("\n")[0] or type(error).__name__
        raise CompileError(str(path), f"is not valid {what}: {why}", FETCH_AGAIN) from error
