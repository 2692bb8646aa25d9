"""What an emitted module states of itself: ``PROVENANCE``, described, written and read here alone.

In the module it is one literal, with nothing twice: records of one kind are a table, whose columns
stand once, like the values that most of its rows have; see `tabulated`.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from connectome_compiler import __version__
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.digest import array_digest, statement_digest
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.laws import Window
from connectome_compiler.ir.nodes import Swept, words
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.provenance import Provenance, standing
from connectome_compiler.ir.records import made
from connectome_compiler.ir.signs import SignCount
from connectome_compiler.ir.ties import n_junctions
from connectome_compiler.ir.weights import Named
from connectome_compiler.lower import Edges, Lowered
from connectome_compiler.text import Row, html_table

MARK = "PROVENANCE: dict[str, Any] = {"  # in every emitted module: no other file is overwritten
FORMAT = 4  # 1 had neither options nor state, 2 had no tables, 3 had gap currents inside phi
REBUILD = "the module was altered: build it again"
ALTERED = "is not what ccompile wrote"
OTHER_HASH = "was altered: it does not have the hash that it was written with"
TABLE = ("columns", "each", "rows")
MOST = 0.75  # of rows: a value that so many have is stated once


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a template laid the graph out: what validation needs to interpret the module."""

    template: str  # its name and options, as a recipe would spell them
    layers: Mapping[str, str]  # attribute of each population
    read_in: Mapping[str, str]  # attribute of the read-in of each population that sees the input
    read_out: Mapping[str, str]
    more: dict[str, Any]  # what the style's semantics need: see `certify.meaning`


@dataclass(frozen=True, slots=True)
class StatedPopulation:
    """A population of neurons; of leaky ones, what they do stands under "dynamics"."""

    name: str
    units: int
    layer: str  # attribute of the module's class, "" if it has none
    axons_read: int | None  # None where nobody knows
    normalisation: str | None = None
    noise_std: float | None = None
    inhibition: str | None = None
    inhibition_strength: float | None = None
    inhibition_sha256: str | None = None

    @classmethod
    def of(cls, graph: Graph, p: Population, layer: str) -> StatedPopulation:
        """Describe a population of ``graph``."""
        unknown = p.neurons is None or p.column("axon_coverage").null_count == p.n_units
        read = None if unknown else int(p.has_outputs().sum())
        if not isinstance(p.node, Swept):  # what it does is stated by the style
            return cls(p.name, p.n_units, layer, read)
        told = {**words(p.node)}
        told.pop("activation")
        if p.node.inhibition:
            told["inhibition_sha256"] = array_digest(p.attenuation())
        return cls(p.name, p.n_units, layer, read, **told)

    def plain(self) -> dict[str, Any]:
        """Return what is stated."""
        return _given(self, "axons_read")


@dataclass(frozen=True, slots=True)
class StatedProjection:
    """A projection between neurons: how many connections, and hashes of which and how."""

    key: str
    shape: tuple[int, int]  # post, pre
    delay: int
    connections: int
    density: float
    signs: SignCount
    indices_sha256: str
    signs_sha256: str
    weights: int | None = None  # where these are not as many as the connections
    groups_sha256: str | None = None
    weight: str | None = None  # the name of the one weight
    scale_sha256: str | None = None
    junctions: int | None = None  # of a projection of gap junctions
    window: str | None = None
    trained: bool = True

    @classmethod
    def of(cls, graph: Graph, edges: Edges) -> StatedProjection:
        """Describe a projection of ``graph``."""
        q = edges.projection
        own = edges.group is None and isinstance(q.operator, Linear)  # one for each connection
        return cls(
            q.key,
            (edges.n_post, edges.n_pre),
            q.delay,
            len(edges.post),
            round(graph.density(q), 6),
            edges.signs,
            edges.indices_sha256,
            edges.signs_sha256,
            None if own else edges.n_weights,
            edges.groups_sha256,
            q.weights.name if isinstance(q.weights, Named) else None,
            edges.scale_sha256,
            n_junctions(q) if q.kind == "electrical" else None,
            repr(q.connectivity.rule) if isinstance(q.connectivity, Window) else None,
            q.weights.trained,
        )

    @classmethod
    def read(cls, where: str, row: Mapping[str, Any]) -> StatedProjection:
        """Undo `row`; raise `CompileError` at ``where`` if it is no such one."""
        rest = dict(row)
        excitatory, inhibitory = rest.pop("excitatory"), rest.pop("inhibitory")
        enforced = excitatory + inhibitory - rest.pop("free")
        rest["signs"] = signs = SignCount(excitatory, inhibitory, rest.pop("unknown"), enforced)
        if (alike := _alike(signs, rest["connections"])) is not None:
            rest.setdefault("signs_sha256", alike)
        return made(where, cls, rest)

    def row(self) -> dict[str, Any]:
        """Return what is stated, hashes last, without what follows from the rest."""
        signs, row = self.signs, self.plain()
        if self.signs_sha256 == _alike(signs, self.connections):
            del row["signs_sha256"]
        row |= {"excitatory": signs.excitatory, "inhibitory": signs.inhibitory}
        row |= {"unknown": signs.unknown, "free": signs.free}
        del row["signs"]
        return dict(sorted(row.items(), key=lambda item: item[0].endswith("sha256")))

    def plain(self) -> dict[str, Any]:
        """Return all that is known."""
        plain = _given(self) | {"shape": list(self.shape), "signs": asdict(self.signs)}
        if self.trained:
            del plain["trained"]
        return plain


def _alike(signs: SignCount, n: int) -> str | None:
    """Return the hash of the enforced signs of ``n`` connections, if all are equal."""
    if not signs.enforced:
        sign = 0
    elif n in (signs.excitatory, signs.inhibitory):
        sign = 1 if signs.excitatory else -1
    else:
        return None
    return array_digest(np.full(n, sign, np.int8))


def _given(record: Any, *always: str) -> dict[str, Any]:
    """Return the fields that are not None, and those that are stated ``always``."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    return {k: value for k, value in values.items() if value is not None or k in always}


@dataclass(frozen=True, slots=True)
class Statement:
    """Origin, licence, every step, and digests to check a module by."""

    name: str  # of the recipe, or that a graph was built under
    provenance: Provenance
    template: str  # name and options
    populations: tuple[StatedPopulation, ...]
    projections: tuple[StatedProjection, ...]
    read_in: Mapping[str, str]
    read_out: Mapping[str, str]
    style: Mapping[str, Any]  # what is the style's own: "dynamics", "stack", "motif", "options" ...
    graph_sha256: str
    header_sha256: str
    compiler: str

    @classmethod
    def of(cls, lowered: Lowered, name: str, wiring: Wiring, header: str) -> Statement:
        """Describe the module that is made of a graph, with this docstring."""
        graph = lowered.graph
        return cls(
            name,
            graph.provenance,
            wiring.template,
            tuple(StatedPopulation.of(graph, p, wiring.layers[p.name]) for p in graph.biological),
            tuple(StatedProjection.of(graph, edges) for edges in lowered.edges.values()),
            wiring.read_in,
            wiring.read_out,
            wiring.more,
            graph.digest(),
            header_digest(header),
            f"connectome-compiler {__version__}",
        )

    @classmethod
    def read(cls, stated: Any, header: str | None, where: str = "") -> Statement:
        """Return what ``PROVENANCE`` states; ``header`` is the docstring of its module.

        Raises `CompileError` for a statement that was altered, or that another version made;
        ``where`` is what it calls the module.
        """
        prefix = f"{where}: " if where else ""
        try:
            if stated["sha256"] != statement_digest(stated):
                raise CompileError(f"{prefix}PROVENANCE", OTHER_HASH, REBUILD)
            if stated["header_sha256"] != header_digest(header or ""):
                raise CompileError(f"{prefix}header", OTHER_HASH, REBUILD)
            if (form := stated.get("statement", 1)) != FORMAT:
                problem = f"has the format {form}; this ccompile reads {FORMAT}"
                hint = f"build it again with this ccompile: it was made by {stated['compiler']}"
                raise CompileError(f"{prefix}PROVENANCE", problem, hint)
            return cls._read({k: expanded(v) for k, v in stated.items()}, f"{prefix}PROVENANCE")
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            lacks = f"lacks {error}" if isinstance(error, KeyError) else ALTERED
            raise CompileError(f"{prefix}PROVENANCE", lacks, REBUILD) from error

    @classmethod
    def _read(cls, rest: dict[str, Any], where: str) -> Statement:
        origin = {name: rest.pop(name) for name in _ORIGIN}
        origin["control"] = rest.pop("control", None)
        origin["files"] = [
            {"n_bytes" if k == "bytes" else k: v for k, v in f.items()} for f in rest.pop("files")
        ]
        origin["steps"] = [
            {
                "name": s["name"],
                "options": s["options"],
                **dict(zip(_NEURONS, s["neurons"], strict=True)),
                **dict(zip(_CONNECTIONS, s["connections"], strict=True)),
                "notes": s["notes"],
            }
            for s in rest.pop("steps")
        ]
        provenance = Provenance.from_dict(origin, where)
        if rest.pop("measured") != provenance.measured:
            raise ValueError("measured")
        own = {name: rest.pop(name) for name in _OWN}
        own["populations"] = tuple(
            made(f"{where}.populations[{k}]", StatedPopulation, row)
            for k, row in enumerate(own["populations"])
        )
        own["projections"] = tuple(
            StatedProjection.read(f"{where}.projections[{k}]", row)
            for k, row in enumerate(own["projections"])
        )
        style = {key: value for key, value in rest.items() if key not in ("statement", "sha256")}
        return cls(provenance=provenance, style=style, **own)

    def stated(self) -> dict[str, Any]:
        """Return ``PROVENANCE``, with its own hash."""
        stated = self.plain() | {
            "populations": _table([p.plain() for p in self.populations]),
            "projections": _table([q.row() for q in self.projections]),
            **{key: tabulated(value) for key, value in self.style.items()},
        }
        return {**stated, "sha256": statement_digest(stated)}

    def plain(self) -> dict[str, Any]:
        """Return all that is stated, one dict for each record: what `certify` reads."""
        p = self.provenance
        return {
            "name": self.name,
            "dataset": p.dataset,
            "version": p.version,
            "title": p.title,
            "measured": p.measured,
            "connectivity": str(p.connectivity),
            "made": p.made,
            **({"control": p.control.plain()} if p.control else {}),
            "signs": str(p.signs),
            "licence": p.licence,
            "citations": list(p.citations),
            "files": [
                {"name": f.name, "sha256": f.sha256, "bytes": f.n_bytes, "address": f.address}
                for f in p.files
            ],
            "steps": [
                {
                    "name": s.name,
                    "options": s.options,
                    "neurons": [s.n_neurons_before, s.n_neurons_after],
                    "connections": [s.n_connections_before, s.n_connections_after],
                    "notes": list(s.notes),
                }
                for s in p.steps
            ],
            "template": self.template,
            "populations": [q.plain() for q in self.populations],
            "projections": [q.plain() for q in self.projections],
            "read_in": dict(self.read_in),
            "read_out": dict(self.read_out),
            **self.style,
            "graph_sha256": self.graph_sha256,
            "header_sha256": self.header_sha256,
            "compiler": self.compiler,
            "statement": FORMAT,
        }

    def _repr_html_(self) -> str:
        p = self.provenance
        known: list[Row] = [("", self.name), ("data", f"{p.source}, {standing(p.connectivity)}")]
        known += [("title", p.title), ("licence", p.licence), ("style", self.template)]
        known += [("citation", text) for text in p.citations]
        known += [("graph", f"sha256 {self.graph_sha256}"), ("made by", self.compiler)]
        files: list[Row] = [("file", "bytes", "sha256")]
        files += [(f.name, f"{f.n_bytes:,}", f.sha256[:12]) for f in p.files]
        people: list[Row] = [("population", "units")]
        people += [(q.name, f"{q.units:,}") for q in self.populations]
        joined: list[Row] = [("projection", "connections", "density", "excitatory", "inhibitory")]
        joined += [
            (
                q.key,
                f"{q.connections:,}",
                f"{q.density:.4f}",
                f"{q.signs.excitatory:,}",
                f"{q.signs.inhibitory:,}",
            )
            for q in self.projections
        ]
        tables = [html_table([row for row in known if row[1]]), p._repr_html_()]
        tables += [html_table(rows, "<>") for rows in (files, people, joined) if len(rows) > 1]
        return "".join(tables)


_NEURONS = ("n_neurons_before", "n_neurons_after")
_CONNECTIONS = ("n_connections_before", "n_connections_after")
_ORIGIN = ("dataset", "version", "title", "connectivity", "made", "signs", "licence", "citations")
_OWN = (
    "name",
    "template",
    "populations",
    "projections",
    "read_in",
    "read_out",
    "graph_sha256",
    "header_sha256",
    "compiler",
)


def header_digest(docstring: str) -> str:
    """Return the hash of a module's docstring, however much of its margin Python kept."""
    return hashlib.sha256(inspect.cleandoc(docstring).encode()).hexdigest()


def tabulated(value: Any) -> Any:
    """Return ``value`` with tables in place of lists and dicts of records, where they are shorter.

    A table is ``{"columns": [...], "each": {...}, "rows": ...}``. A row has a value for each
    column, and last, if there are more, a dict of them. ``each`` is what holds for all rows that do
    not say otherwise; of a column that holds dicts, for these. Rows of a dict have its keys.
    """
    if isinstance(value, dict):
        if sorted(value) == list(TABLE):
            raise ValueError(f"a record with the fields {', '.join(TABLE)} would read as a table")
        inner: Any = {key: tabulated(part) for key, part in value.items()}
        records = list(value.values())
    elif isinstance(value, list):
        inner = [tabulated(part) for part in value]
        records = value
    else:
        return value
    if len(records) < 2 or not all(isinstance(r, dict) and r for r in records):
        return inner
    table = _table(records)
    if isinstance(value, dict):
        table["rows"] = dict(zip(value, table["rows"], strict=True))
    return min(inner, table, key=lambda spelled: len(repr(spelled)))


def _table(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return records as a table."""
    each = _usual(records)
    common = [key for key in records[0] if all(key in r for r in records)] if records else []
    columns = [key for key in common if key not in each]
    for key in columns:
        if all(isinstance(r[key], dict) for r in records):  # of which a part may be usual
            each |= {key: usual} if (usual := _usual([r[key] for r in records])) else {}
    rows = []
    for r in records:
        more = {key: part for key, part in r.items() if key not in columns}
        more = _unusual(more, each)
        cells = [_unusual(r[key], each[key]) if key in each else r[key] for key in columns]
        rows.append([*cells, *([more] if more else [])])
    return {"columns": columns, "each": each, "rows": rows}


def _usual(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the values that most records have, of the fields that all of them have."""
    usual = {}
    for key in records[0] if records else ():
        spelled = Counter(repr(r[key]) for r in records if key in r)  # 1 is not True
        ((most, n),) = spelled.most_common(1)
        if spelled.total() == len(records) and n >= max(2, MOST * len(records)):
            usual[key] = next(r[key] for r in records if repr(r[key]) == most)
    return usual


def _unusual(record: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not as usual."""
    return {k: v for k, v in record.items() if k not in usual or repr(usual[k]) != repr(v)}


def expanded(value: Any) -> Any:
    """Undo `tabulated`."""
    if isinstance(value, list):
        return [expanded(part) for part in value]
    if not isinstance(value, dict):
        return value
    if sorted(value) != list(TABLE):
        return {key: expanded(part) for key, part in value.items()}
    columns, each, rows = (value[key] for key in TABLE)

    def record(row: list[Any]) -> dict[str, Any]:
        more = row[len(columns)] if len(row) > len(columns) else {}
        cells = dict(zip(columns, row, strict=False))
        merged = {
            key: {**each[key], **cell} if key in each else cell for key, cell in cells.items()
        }
        return {**each, **merged, **more}

    if isinstance(rows, dict):
        return {name: record(row) for name, row in rows.items()}
    return [record(row) for row in rows]


def style_of(stated: Mapping[str, Any]) -> str:
    """Return the name of the style that a module says it was made with."""
    return str(stated["template"]).partition("(")[0]
