"""Any connectome in files: a table of connections, and optionally tables of cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import ClassVar, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    Step,
    Synapses,
    neuron_table,
)
from connectome_compiler.options import spell
from connectome_compiler.passes.assign_signs import AssignSigns
from connectome_compiler.passes.drop_unconnected import DropUnconnected
from connectome_compiler.passes.runner import Pass, run

from . import _tables
from ._cell_tables import Cells, Keys, neuron_columns, read_cells, register_codes
from ._cells import Kind, Words, believed, signs_by_class
from ._connections import Connections, NoCountError, read_connections
from ._evidence import Vouched, vouched
from ._ids import SAMPLE_ROWS, ends_are_text, refuse_rounded
from ._names import CELL, COUNT, ELECTRICAL, ENDS, KIND, SIGN, SIZE, plain
from ._presets import PRESETS, EdgeLayout, Preset, find_preset
from ._raw import Facts
from ._readers import READERS, Orientation, Reader, ReadOptions, reader_of
from ._tables import Edges, arrow, database, open_table, registered, source_file

SYNAPSES = "synapses"  # the unit whose weights are counts
OF_TABLES = ("preset", "pre", "post", "weight", "kind")  # options that tables of connections take


@dataclass(frozen=True, slots=True)
class Table:
    """A connectome from files: tables, matrices, GraphML, SONATA, flyvis, recognised by content.

    ``edges`` is a table of connections in CSV, TSV (also gzipped), Feather or Parquet; or a square
    matrix in CSV, TSV or Excel; GraphML; SONATA (HDF5); or the JSON of flyvis. A table has one row
    per connection, per connection and region, or per synapse. ``cells`` are tables of cells (or
    GraphML, SONATA), joined on the id, separated by commas; without any, the neurons are the ends
    of the connections. ``unknown_neurons`` says what to do with connections to other cells: "error"
    or "drop".

    Columns are recognised by the headers of published data sets (``preset``), else by usual names.
    ``pre``, ``post``, ``weight`` and ``kind`` name them, ``weight`` and ``kind`` also attributes of
    GraphML, ``weight`` one of SONATA; "none": there is no such column. ``orientation`` says
    the direction of a matrix: "pre-post" has presynaptic rows. ``sheet`` selects one of a workbook,
    ``population`` one of the edge populations of SONATA. An option that a file cannot use is
    an error.

    Where ``unit`` is synapses, weights are whole numbers from 1; in other units any number. Rows
    of a pair are summed, or refused with ``duplicates="error"``; then pairs below ``min_weight``
    (in magnitude) are dropped. Rows of electrical synapses become connections in both directions.

    With ``species`` neurons get signs from their transmitters; a preset of the fly implies it.
    A class that says excitatory or inhibitory gives a sign where nothing else does. "none" uses
    neither. ``dataset``, ``title``, ``licence``, ``citation`` and ``evidence`` (how the connections
    are known) are written into every module.
    """

    name: ClassVar[str] = "table"

    edges: str  #: file of connections: table, matrix, GraphML, SONATA, or JSON of flyvis
    cells: str = ""  #: files of cells, separated by commas; empty: the ends of the connections
    #: published data set that the files come from
    preset: Literal["auto", "none", "flywire", "codex", "malecns", "hemibrain", "neuprint"] = "auto"
    pre: str = ""  #: column of the presynaptic neuron; empty: recognised by name
    post: str = ""  #: column of the postsynaptic neuron; empty: recognised by name
    weight: str = ""  #: column of the weight; empty: recognised by name; none: one synapse per row
    kind: str = ""  #: column that says chemical or electrical; empty: recognised by name
    unit: str = SYNAPSES  #: unit of the weights; synapses are whole numbers from 1
    #: smallest weight of a pair, summed over rows, in the given unit; 0 keeps all
    min_weight: float = 0
    #: species whose transmitters give neurons their signs; none: no signs
    species: Literal["", "none", "worm", "fly", "mouse"] = ""
    duplicates: Literal["sum", "error"] = "sum"  #: what to do with several rows of one pair
    #: what to do with connections to cells that are not in the tables
    unknown_neurons: Literal["error", "drop"] = "error"
    orientation: Orientation = ""  #: direction of a matrix: pre-post has presynaptic rows
    sheet: str = ""  #: sheet of a workbook
    population: str = ""  #: edge population of a SONATA file
    #: which line of a text names its columns; none: none does, columns are 1, 2, ...
    header: Literal["", "none", "first"] = ""
    #: whether a matrix with nothing on one side of its diagonal is half of a symmetric one
    mirror: Literal["", "yes", "no"] = ""
    totals: Literal["", "keep", "drop"] = ""  #: what the last row and column of a matrix are
    decimal: Literal["", "comma", "point"] = ""  #: how a text writes the point in numbers
    dataset: str = ""  #: name of the data set; empty: that of the file
    title: str = ""  #: one-line description of the data set
    licence: str = ""  #: licence of the data
    citation: str = ""  #: paper to cite
    evidence: Vouched = "unknown"  #: how the connections are known, on your word

    def __post_init__(self) -> None:
        if not self.edges.strip():
            raise CompileError("table.edges", "is empty", "name a file of connections")
        if not (isfinite(self.min_weight) and self.min_weight >= 0):
            raise CompileError("table.min_weight", f"must be at least 0, not {self.min_weight}")
        if not self.unit.strip():
            raise CompileError("table.unit", "is empty", "for example synapses, sections or um2")

    @property
    def are_counts(self) -> bool:
        """Whether weights count synapses."""
        return self.unit == SYNAPSES

    def load(self) -> Graph:
        """Read the files into one population; raise `CompileError` naming file, row and column."""
        path = Path(self.edges)
        cell_paths = [Path(part.strip()) for part in self.cells.split(",") if part.strip()]
        reader = reader_of(path)
        self._refuse_useless(path, reader)
        steps: list[Step] = []
        tables: list[_tables.Table] = []
        with database() as db:
            if reader is None:
                given = self._open(db, path)
            else:
                given, tables = self._open_raw(db, path, reader, steps)
            tables += [_open_cells(db, p, f"cells{k}", steps) for k, p in enumerate(cell_paths)]
            source = self._source(db, given, tables)
            found = self._connections(db, source)
            votes = _votes(db, source)
        return self._graph(source, found, votes, steps, cell_paths)

    # --- opening ----------------------------------------------------------------------------------

    def _refuse_useless(self, path: Path, reader: Reader | None) -> None:
        """Raise `CompileError` for an option that does not apply to the file."""
        used, what = (reader.options, reader.what) if reader else (OF_TABLES, "a table")
        for name in dict.fromkeys((*OF_TABLES, *(f.name for f in fields(ReadOptions)))):
            if name not in used and getattr(self, name) not in ("", "auto"):
                problem = f"does not apply to {path.name}, which is {what}"
                hint = f"leave it out; options for {what}: {', '.join(used) or 'none'}"
                raise CompileError(f"table.{name}", problem, hint)

    def _open_raw(
        self, db: duckdb.DuckDBPyConnection, path: Path, reader: Reader, steps: list[Step]
    ) -> tuple[_Given, list[_tables.Table]]:
        """Make what a reader finds in a file tables of the database: connections and cells."""
        options = ReadOptions(**{f.name: getattr(self, f.name) for f in fields(ReadOptions)})
        raw = reader.load(path, options)
        steps.append(_read_step(path, reader.what, raw.notes))
        if not raw.edges.num_rows:
            raise CompileError(str(path), "has no connections", "; ".join(raw.notes))
        table = registered(db, "edges", path, raw.edges, raw.locate)
        own = [] if raw.cells is None else [registered(db, "own_cells", path, raw.cells)]
        return self._recognised(table, raw.facts, raw.evidence, reader.options), own

    def _open(self, db: duckdb.DuckDBPyConnection, path: Path) -> _Given:
        """Open a plain table of connections and recognise its columns."""
        return self._recognised(open_table(db, path, "edges"), Facts())

    def _recognised(
        self,
        table: _tables.Table,
        facts: Facts,
        evidence: Evidence = Evidence.UNKNOWN,
        done: tuple[str, ...] = (),
    ) -> _Given:
        """Return what the columns of the connections mean, whatever their source is."""
        path = table.path
        known = None
        if facts.shape == "list":
            known = find_preset(self.preset, str(path), table.columns)
        preset, layout = known or (None, None)
        pre, post = (facts.pre, facts.post) if facts.pre else self._ends(table, layout)
        ready = {} if layout is None else {"weight": layout.weight, "kind": "none"}
        weight = facts.weight or self._column(table, "weight", COUNT, ready)
        # A reader that takes the option itself made a column of this name.
        kind = table.find("kind") if "kind" in done else self._column(table, "kind", KIND, ready)
        if weight is None and not self.are_counts:
            problem = f"no column of weights, so rows would be counted instead of {self.unit}"
            raise CompileError(str(path), problem, "name it with weight=COLUMN")
        sign = layout.sign or None if layout else table.find(*SIGN)
        size = table.find(*SIZE) if layout is None else None
        if size == weight:
            size = None
        roles = [c for c in (pre, post, weight, kind) if c]
        if twice := [c for c in roles if roles.count(c) > 1]:
            problem = "cannot be two of pre, post, weight and kind"
            raise CompileError(
                f"{path}, column {twice[0]}", problem, "name a different column for each"
            )
        edges = Edges(table, pre, post, weight, size, sign, kind)
        return _Given(edges, preset, layout, evidence)

    def _ends(self, table: _tables.Table, layout: EdgeLayout | None) -> tuple[str, str]:
        if self.pre or self.post:
            if not (self.pre and self.post):
                here, there = ("pre", "post") if self.pre else ("post", "pre")
                problem = f"{here} is given, but not {there}"
                raise CompileError(f"table.{there}", problem, "name the columns of both ends")
            return _named(table, self.pre), _named(table, self.post)
        if layout is not None:
            return layout.pre, layout.post
        ends = [
            (pre, post)
            for names in ENDS
            if (pre := table.find(names[0])) and (post := table.find(names[1]))
        ]
        if len(ends) > 1:
            spelled = " or ".join(" and ".join(pair) for pair in ends)
            problem = f"the ends of a connection could be {spelled}"
            raise CompileError(
                str(table.path), problem, "name them with pre=COLUMN and post=COLUMN"
            )
        if not ends:
            raise _unknown_layout(table)
        return ends[0]

    def _column(
        self, table: _tables.Table, role: str, synonyms: tuple[str, ...], ready: Mapping[str, str]
    ) -> str | None:
        """Return the column that the option ``role`` names, the preset has, or a synonym finds."""
        if name := getattr(self, role) or ready.get(role):
            return None if name == "none" else _named(table, name)
        found = [c for c in table.columns if plain(c) in synonyms]
        if len(found) > 1:
            problem = f"columns {' and '.join(found)} could both be the {role}"
            raise CompileError(str(table.path), problem, f"choose with {role}=NAME or {role}=none")
        return found[0] if found else None

    # --- reading ----------------------------------------------------------------------------------

    def _source(
        self, db: duckdb.DuckDBPyConnection, given: _Given, tables: list[_tables.Table]
    ) -> _Source:
        """Give neurons their numbers, and put them into table ``codes`` of the database."""
        if not tables:
            keys, as_text = _ends_of(db, given.edges)
            notes = [
                f"{len(keys):,} neurons: the ends of the connections, since no cells were given"
            ]
            register_codes(db, keys, keys[:0])
            return _Source(given, Cells(keys, as_text, {}, (), tuple(notes)), len(keys), False)
        every = read_cells(db, tables, given.edges, given.preset)
        kept = np.ones(every.n, np.bool_)
        notes = list(every.notes)
        if given.preset is not None and (required := given.preset.required):
            if (name := every.find(required)) is not None:
                kept = np.asarray(every.columns[name].values.is_valid())
                notes.append(f"{(~kept).sum():,} cells without a {name} dropped: not neurons")
            else:
                notes.append(f"no column {required}: every cell counts as a neuron")
        if not kept.any():
            raise CompileError(str(tables[0].path), "no neuron is left", "; ".join(notes))
        register_codes(db, every.key[kept], every.key[~kept])
        cells = every.keep(kept)
        return _Source(
            given, Cells(cells.key, cells.as_text, cells.columns, cells.files, tuple(notes)),
            every.n, True,
        )  # fmt: skip

    def _connections(self, db: duckdb.DuckDBPyConnection, source: _Source) -> Connections:
        try:
            return read_connections(
                db,
                source.given.edges,
                "codes",
                source.cells.as_text,
                self.unknown_neurons == "drop",
                are_counts=self.are_counts,
                at_least=self.min_weight,
                repeated=self.duplicates,
                listed=False,
            )
        except NoCountError as error:
            hint = "if weights are not counts, give their unit, for example unit=um2"
            raise CompileError(error.where, error.problem, hint) from error

    # --- assembling -------------------------------------------------------------------------------

    def _graph(
        self,
        source: _Source,
        found: Connections,
        votes: Words | None,
        steps: list[Step],
        cell_paths: list[Path],
    ) -> Graph:
        given, cells = source.given, source.cells
        path, preset = given.edges.table.path, given.preset
        notes = self._notes(given, found)
        chemical, electrical, pair_notes = self._split(cells.key, found, path)
        notes += pair_notes
        if not (len(chemical.post) or len(electrical.post)):
            raise CompileError(str(path), "no connections are left", "; ".join(notes))
        linked = np.zeros(cells.n, np.bool_)
        for e in (chemical, electrical):
            linked[e.post] = linked[e.pre] = True
        passes: list[Pass] = []
        if not linked.all() and source.has_table:
            notes.append(f"{(~linked).sum():,} neurons without any connection")
        elif not linked.all():  # neurons are the ends of the connections that are kept
            passes.append(DropUnconnected())

        species = (
            "" if self.species == "none" else self.species or (preset.species if preset else "")
        )
        columns, cell_notes = neuron_columns(
            cells, preset, species, votes, _votes_where(given)
        )  # fmt: skip
        if "axon_coverage" in columns:
            listed = np.zeros(cells.n, np.bool_)
            listed[chemical.pre] = True
            columns["axon_coverage"], note = believed(columns["axon_coverage"], listed)
            notes.append(note)
        else:
            notes.append("axon coverage unknown: all connections are trusted")
        neurons = Population("neurons", (cells.n,), neuron_table(columns))
        every = (
            Projection("neurons", "neurons", chemical),
            Projection("neurons", "neurons", electrical, kind="electrical"),
        )
        projections = tuple(p for p in every if len(p.synapses.post))
        signed = chemical.sign is not None and bool(chemical.sign.any())
        signed |= neurons.column("sign").null_count < cells.n
        names = ",".join(p.name for p in cell_paths)
        read = Step(
            "read-cells", f"cells={names}" if names else "", source.n_cells, cells.n, 0, 0,
            (*cells.notes, *cell_notes),
        )  # fmt: skip
        n_edges = sum(len(p.synapses.post) for p in projections)
        steps += [read, read.then("read-connections", self._options(), cells.n, n_edges, notes)]
        provenance = self._provenance(given, signed, tuple(steps), cell_paths)
        if self.species != "none":
            passes += _signing(neurons, species)
        return run(Graph((neurons,), projections, provenance), passes)

    def _options(self) -> str:
        """Return the options that shaped the connections, as a recipe would spell them."""
        shown = ("unit", "min_weight", "duplicates", "unknown_neurons")
        spelled = [f"{name}={spell(getattr(self, name))}" for name in shown]
        return ", ".join([f"edges={Path(self.edges).name}", *spelled])

    def _notes(self, given: _Given, found: Connections) -> list[str]:
        """Report what was read and what was not kept."""
        e = given.edges
        known = f", {given.layout.what}" if given.layout else ""
        per = f"weights in {e.count}" if e.count else "one per synapse"
        notes = [f"{found.n_rows:,} rows{known}: from {e.pre} to {e.post}, {per}"]
        if given.preset is not None:
            notes.append(f"preset {given.preset.name}: {given.preset.title}")
            if given.preset.name == "neuprint":
                notes.append("hemibrain has the same columns: set preset=hemibrain if it is that")
        if given.evidence is Evidence.UNKNOWN:
            notes.append(vouched(self.evidence))
        for n, what in (
            (found.n_dropped_rows, "rows from or to cells that are not kept"),
            (found.n_unknown_rows, "rows from or to cells not in the cell table"),
            (found.n_received_rows, "rows left out that repeat a synapse, as seen from its target"),
            (found.n_repeated_rows, "rows repeat a pair: their weights are summed"),
            (found.n_rows_without_size, "rows without a size: sizes left out"),
            (found.n_sign_conflicts, "connections whose rows disagree on the sign: unknown"),
            (int((found.weight == 0).sum()), "connections of weight 0: kept"),
            (int((found.weight < 0).sum()), "negative weights: not used as signs"),
        ):
            if n:
                notes.append(f"{n:,} {what}")
        if self.min_weight > (1 if self.are_counts else 0):
            notes.append(self._weak("pairs", found.n_below, found.weight_below))
        if found.sign is not None:
            electric = found.kind == ELECTRICAL
            plus, minus, unknown = (int((found.sign[~electric] == s).sum()) for s in (1, -1, 0))
            told = f"{plus:,} +1, {minus:,} -1, {unknown:,} unknown"
            notes.append(f"signs of connections from column {e.sign}: {told}")
            if lost := int((found.sign[electric] != 0).sum()):
                notes.append(f"{lost:,} signs of electrical connections left out: they have none")
        if e.ignored:
            notes.append(f"ignored columns: {', '.join(e.ignored)}")
        return notes

    def _split(
        self, keys: Keys, found: Connections, path: Path
    ) -> tuple[Synapses, Synapses, list[str]]:
        """Return chemical and electrical connections, these in both directions."""
        electric = found.kind == ELECTRICAL
        whole = Synapses(
            found.post, found.pre, found.weight, self.unit, size=found.size, sign=found.sign
        )
        if not electric.any():
            return whole, whole.keep(electric), [_count(whole, "connections")]
        chemical = whole.keep(~electric)
        both, n_single = _symmetric(whole.keep(electric), keys, path)
        notes = [_count(chemical, "chemical connections")]
        notes.append(f"{n_single:,} electrical pairs given in one direction, used for both")
        strong = np.abs(both.weight) >= self.min_weight
        electrical = both.keep(strong)
        once = electrical.keep(electrical.pre <= electrical.post)
        if not strong.all():
            weak = both.weight[~strong & (both.pre <= both.post)]
            notes.append(self._weak("electrical pairs", len(weak), weak.sum()))
        notes.append(_count(once, "electrical pairs, each a connection in both directions"))
        return chemical, electrical, notes

    def _weak(self, what: str, n: int, weight: float) -> str:
        below = f"{n:,} {what} below {self.min_weight:g} {self.unit} dropped"
        return f"{below}, {weight:,.15g} {self.unit} in all"

    def _evidence(self, given: _Given) -> Evidence:
        """Return how the connections are known, according to the file, else to the user."""
        told, said = given.evidence, Evidence(self.evidence)
        if told is Evidence.UNKNOWN or said is Evidence.MODELLED:
            return said
        if said not in (Evidence.UNKNOWN, told):
            problem = f"is {said}, but {given.edges.table.path.name} says {told}"
            raise CompileError("table.evidence", problem, "leave it out")
        return told

    def _provenance(
        self, given: _Given, signed: bool, steps: tuple[Step, ...], cell_paths: list[Path]
    ) -> Provenance:
        paths = [given.edges.table.path, *cell_paths]
        preset, layout = given.preset, given.layout
        stem = paths[0].name.split(".")[0]
        dataset = preset.dataset if preset else f"table:{stem}"
        evidence = self._evidence(given)
        if evidence is Evidence.MODELLED:  # must not have the name of the measured data set
            dataset += "-modelled"
        cited: tuple[str, ...] = (self.citation,) if self.citation else ()
        if preset is not None and layout is not None:
            cited += preset.citations + layout.citations
        return Provenance(
            dataset=self.dataset or dataset,
            title=self.title
            or (
                preset.title if preset else f"Connections of {' and '.join(p.name for p in paths)}"
            ),
            connectivity=evidence,
            signs=Evidence.PREDICTED if signed else Evidence.NONE,
            licence=self.licence
            or (preset.licence if preset else "not stated by the files: see their source"),
            citations=cited,
            files=tuple(source_file(p) for p in paths),
            steps=steps,
        )


@dataclass(frozen=True, slots=True)
class _Given:
    """A table of connections with its columns, and what its header tells."""

    edges: Edges
    preset: Preset | None
    layout: EdgeLayout | None
    evidence: Evidence = Evidence.UNKNOWN  # what the file tells, if it is less than measured


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Connections to read, and the neurons that they may join, sorted by id."""

    given: _Given
    cells: Cells
    n_cells: int  # before any were dropped
    has_table: bool  # else neurons are the ends of the connections


def _named(table: _tables.Table, name: str) -> str:
    """Return the column called ``name``; raise `UnknownNameError` if there is none."""
    found = name if name in table.columns else table.find(plain(name))
    if found is None:
        raise UnknownNameError.among(f"{table.path}: column", name, table.columns)
    return found


def _unknown_layout(table: _tables.Table) -> CompileError:
    names = "; ".join(" and ".join(pair) for pair in ENDS)
    formats = ", ".join(reader.what for reader in READERS)
    also = f"; or {formats}" if formats else ""
    problem = f"no columns for both ends of a connection among: {', '.join(table.columns)}"
    hint = f"name them with pre=COLUMN and post=COLUMN; known: {names} ({', '.join(PRESETS)}){also}"
    return CompileError(str(table.path), problem, hint)


def _open_cells(
    db: duckdb.DuckDBPyConnection, path: Path, name: str, steps: list[Step]
) -> _tables.Table:
    """Open a table of cells, or a file such as the nodes of SONATA."""
    if (reader := reader_of(path)) is None:
        return open_table(db, path, name)
    if not reader.has_cells:
        raise CompileError(str(path), f"is {reader.what}, not a table of cells", "export it as CSV")
    raw = reader.load(path, ReadOptions(weight="none", kind="none"))
    if raw.cells is None:
        raise CompileError(str(path), f"is {reader.what} without cells")
    unread = f"{raw.edges.num_rows:,} connections in it are not read: it was given as cells"
    notes = (*raw.notes, unread) if raw.edges.num_rows else raw.notes
    steps.append(_read_step(path, reader.what, notes))
    return registered(db, name, path, raw.cells)


def _read_step(path: Path, what: str, notes: tuple[str, ...]) -> Step:
    return Step.first("read-file", path.name, 0, 0, (f"is {what}", *notes))


def _signing(neurons: Population, species: str) -> Iterator[AssignSigns]:
    """Yield the passes that assign signs, by what the tables give: transmitters first."""
    assert neurons.neurons is not None
    table = neurons.neurons
    if species and "neurotransmitter" in table.column_names:
        yield AssignSigns(species=species)  # type: ignore[arg-type]  # one of a preset
    for name in table.column_names:
        column = table.column(name)
        if plain(name) not in CELL["class"] or not pa.types.is_string(column.type):
            continue
        told = signs_by_class(column.unique().drop_null().to_pylist(), species)
        if told:
            words = {
                kind: tuple(sorted(word for word, said in told.items() if said == kind))
                for kind in (Kind.EXCITATORY, Kind.INHIBITORY)
            }
            yield AssignSigns(name, words[Kind.EXCITATORY], words[Kind.INHIBITORY])


def _ends_of(db: duckdb.DuckDBPyConnection, edges: Edges) -> tuple[Keys, bool]:
    """Return all ids that occur as an end, sorted, and whether they are text."""
    table, where = edges.table, str(edges.table.path)
    as_text = ends_are_text(db, edges)
    pre, post = (table.key(column, as_text) for column in (edges.pre, edges.post))
    found = arrow(
        db, where,
        f"SELECT DISTINCT key FROM (SELECT {pre} AS key FROM {table.name} UNION ALL "
        f"SELECT {post} FROM {table.name}) WHERE key IS NOT NULL ORDER BY key",
    )  # fmt: skip
    keys = found.column("key").to_numpy()
    refuse_rounded(where, keys[:SAMPLE_ROWS])
    return keys, as_text


def _votes(db: duckdb.DuckDBPyConnection, source: _Source) -> Words | None:
    """Return each neuron's transmitter by its output synapses, or none without such a column.

    The word of most synapses, or the one with the highest mean score over all synapses; all rows
    count, whatever their target. Ties are resolved alphabetically.
    """
    edges, layout = source.given.edges, source.given.layout
    if layout is None or not (layout.transmitter or layout.scores):
        return None
    table = edges.table
    key = table.key(edges.pre, source.cells.as_text)
    weight = f"TRY_CAST({table.value(edges.count)} AS BIGINT)" if edges.count else "1"
    votes: npt.NDArray[np.object_] = np.full(source.cells.n, None, object)
    if layout.transmitter:
        sql = f"""SELECT code, {table.value(layout.transmitter)} AS word
                  FROM {table.name} JOIN codes ON {key} = codes.key
                  WHERE code >= 0 AND word IS NOT NULL GROUP BY code, word
                  ORDER BY code, sum({weight}) DESC, word"""
        found = arrow(db, str(table.path), sql)
        code, first = np.unique(found.column("code").to_numpy(), return_index=True)
        votes[code] = found.column("word").to_numpy()[first]
        return votes
    # Decimals, whose sums do not depend on the order of rows.
    scores = ", ".join(
        f"coalesce(sum(({weight})::DECIMAL(10, 0) * "
        f"TRY_CAST({table.value(column)} AS DECIMAL(9, 8))), 0)::DOUBLE AS {word}"
        for column, word in layout.scores.items()
    )
    sql = f"""SELECT code, {scores} FROM {table.name} JOIN codes ON {key} = codes.key
              WHERE code >= 0 GROUP BY code ORDER BY code"""
    found = arrow(db, str(table.path), sql)
    names = np.array(list(layout.scores.values()), object)
    sums = np.stack([found.column(name).to_numpy() for name in names])
    told = sums.max(axis=0) > 0
    votes[found.column("code").to_numpy()[told]] = names[sums.argmax(axis=0)[told]]
    return votes


def _votes_where(given: _Given) -> str:
    column = given.layout.transmitter if given.layout else ""
    return f"{given.edges.table.path}" + (f", column {column}" if column else "")


def _symmetric(one_way: Synapses, keys: Keys, path: Path) -> tuple[Synapses, int]:
    """Return electrical connections in both directions, and how many were given in only one."""
    low, high = np.minimum(one_way.post, one_way.pre), np.maximum(one_way.post, one_way.pre)
    pair = low.astype(np.int64) * len(keys) + high
    order = np.argsort(pair, kind="stable")
    pair, weight = pair[order], one_way.weight[order]
    twice = pair[1:] == pair[:-1]
    differ = twice & (weight[1:] != weight[:-1])
    if differ.any():
        k = int(np.flatnonzero(differ)[0])
        a, b = (keys[i] for i in divmod(int(pair[k]), len(keys)))
        problem = f"the electrical connection of {a} and {b} has weight {weight[k]} in one "
        problem += f"direction and {weight[k + 1]} in the other ({differ.sum():,} such pairs)"
        raise CompileError(
            str(path), problem, "give only one direction, or the same weight in both"
        )
    first = np.concatenate([[True], ~twice])
    low, high, weight = low[order][first], high[order][first], weight[first]
    apart = low != high
    n_single = int(apart.sum() - twice.sum())
    made = Synapses.from_edges(
        np.concatenate([high, low[apart]]),
        np.concatenate([low, high[apart]]),
        np.concatenate([weight, weight[apart]]),
        unit=one_way.unit,
    )
    return made, n_single


def _count(edges: Synapses, what: str) -> str:
    total = f"{edges.weight.sum():,.15g} {edges.unit}"
    autapses = int((edges.post == edges.pre).sum())
    return f"{len(edges.post):,} {what}, {total}; {autapses:,} autapses"
