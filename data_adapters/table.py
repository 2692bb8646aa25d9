"""Any connectome in files: a table of connections, and optionally tables of cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Any, ClassVar, Literal

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
from connectome_compiler.sources import (
    Data,
    Names,
    Place,
    Source,
    Sources,
    called,
    located,
    stem,
    take_sources,
)

from ._ask import unsaid
from ._cell_tables import (
    Cells,
    CellSource,
    Keys,
    Repeated,
    are_root_ids,
    in_order,
    neuron_columns,
    read_cells,
    read_labels,
    register_codes,
)
from ._cells import Kind, Words, believed, signs_by_class
from ._connections import Connections, NoCountError, read_connections
from ._evidence import Vouched, vouched
from ._frames import in_python, is_bare, square_in_memory
from ._ids import SAMPLE_ROWS, ends_are_text, refuse_no_names, refuse_rounded
from ._names import CELL, ELECTRICAL, plain
from ._presets import about, published
from ._raw import Facts, Raw, has_text_ids, renamed
from ._readers import Orientation, ReadOptions, reader_of
from ._rules import SYNAPSES, Given, Said, recognise, refuse_unread_weights
from ._tables import (
    Edges,
    Signed,
    arrow,
    database,
    first_row,
    open_table,
    quoted,
    registered,
    source_file,
)
from ._text import Header, square_of_numbers

ORDER = "order"  # cell_id: rows of the cells are in the order of the neurons
# Options about columns that a source of each shape can use, and those that only some sources take.
USED = {
    "list": ("preset", "pre", "post", "weight", "kind", "sign", "transmitter", "signs", "roi"),
    "network": ("weight", "kind", "sign", "transmitter", "signs"),
    "matrix": ("kind", "signs"),
}
SOURCES = (
    *("orientation", "sheet", "population", "part", "labels", "header", "mirror", "totals"),
    "decimal",
)
OF_TEXT = ("header", "decimal")  # of these, what a list in a text takes


@dataclass(frozen=True, slots=True)
class Table:
    """A connectome from files: tables, matrices, GraphML, SONATA, flyvis, recognised by content.

    ``edges`` is a table of connections in CSV, TSV (also gzipped), Feather or Parquet; or a square
    matrix in CSV, TSV or Excel; GraphML; SONATA (HDF5); or the JSON of flyvis. A table has one row
    per connection, per connection and region, or per synapse. ``cells`` are tables of cells (or
    GraphML, SONATA), joined on the id, separated by commas; without any, the neurons are the ends
    of the connections. ``labels`` are the names of the neurons of a matrix that has none, one per
    line. ``unknown_neurons`` says what to do with connections to other cells: "error" or "drop".

    Columns are recognised by the headers of published data sets (``preset``), else by usual names.
    ``pre``, ``post``, ``weight``, ``kind``, ``sign`` and ``transmitter`` name them; "none": there
    is no such column. ``kind`` can also be chemical or electrical, for all rows. What remains
    unsaid stops with a question that names the options: whether line 1 is a ``header``, which
    number is the ``weight``, whether negative weights are inhibitory (``signs``), how regions are
    summed (``roi``), in which direction a matrix runs (``orientation``: "pre-post" has presynaptic
    rows). ``sheet`` selects one of a workbook, ``population`` one of the edge populations of
    SONATA. An option that a file cannot use is an error.

    Where ``unit`` is synapses, weights are whole numbers from 1; in other units any number. Rows of
    weight 0 are no connections. Rows of a pair are summed, or refused with ``duplicates="error"``;
    then pairs below ``min_weight`` (in magnitude) are dropped. Rows of electrical synapses become
    connections in both directions; ``unequal`` says what to do if these differ.

    With ``species`` neurons get signs from their transmitters; a preset of the fly implies it.
    A class that says excitatory or inhibitory gives a sign where nothing else does. "none" uses
    neither. ``dataset``, ``title``, ``licence``, ``citation`` and ``evidence`` (how the connections
    are known) are written into every module.
    """

    name: ClassVar[str] = "table"

    edges: Source  #: connections: a list, a matrix or a network
    cells: Sources = ()  #: tables of cells, separated by commas; none: the ends of the connections
    labels: Names = ""  #: names of a matrix's neurons, one per line, in their order
    #: published data set that the files come from
    preset: Literal[
        "auto", "none", "flywire", "codex", "banc", "larva", "malecns", "hemibrain", "neuprint"
    ] = "auto"
    pre: str = ""  #: column of the presynaptic neuron; empty: recognised by name
    post: str = ""  #: column of the postsynaptic neuron; empty: recognised by name
    weight: str = ""  #: column of the weight; empty: recognised by name; none: one synapse per row
    #: chemical, electrical, or the column that says so; empty: recognised by name; none: chemical
    kind: str = ""
    sign: str = ""  #: column of the connections' signs; empty: recognised by name; none
    transmitter: str = ""  #: column of the connections' transmitters; empty: by name; none
    signs: Signed = ""  #: negative weights are inhibitory (weight), or numbers like others (none)
    cell_id: str = ""  #: column of the cells' ids; empty: recognised; order: rows are in order
    #: which line of a text names its columns; none: they are called 1, 2, ...
    header: Header = ""
    orientation: Orientation = ""  #: direction of a matrix: pre-post has presynaptic rows
    sheet: str = ""  #: sheet of a workbook
    population: str = ""  #: edge population of a SONATA file
    part: str = ""  #: variable of a file of arrays, or list of a sheet that has several
    roi: str = ""  #: regions to sum, separated by commas; sum: all, since none contains another
    unit: str = ""  #: unit of the weights; empty: synapses, which are whole numbers from 1
    #: smallest weight of a pair, summed over rows, in the given unit; 0 keeps all
    min_weight: float = 0
    #: species whose transmitters give neurons their signs; none: no signs
    species: Literal["", "none", "worm", "fly", "mouse"] = ""
    duplicates: Literal["sum", "error"] = "sum"  #: what to do with several rows of one pair
    #: what to do with connections to cells that are not in the tables
    unknown_neurons: Literal["error", "drop"] = "error"
    #: what to do with cells in several rows: error, take the first row, or drop the cells
    repeated_cells: Repeated = "error"
    #: what to do with electrical pairs whose directions have different weights
    unequal: Literal["error", "mean", "max", "sum"] = "error"
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
        take_sources(self)
        if isinstance(self.edges, str) and not self.edges.strip():
            raise CompileError("table.edges", "is empty", "name a file of connections")
        if not (isfinite(self.min_weight) and self.min_weight >= 0):
            raise CompileError("table.min_weight", f"must be at least 0, not {self.min_weight}")
        for here, there in (("pre", "post"), ("post", "pre")):
            if getattr(self, here) and not getattr(self, there):
                problem = f"{here} is given, but not {there}"
                raise CompileError(f"table.{there}", problem, "name the columns of both ends")
        if self.unit and not self.unit.strip():
            raise CompileError("table.unit", "is empty", "for example synapses, sections or um2")

    @staticmethod
    def about(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """Return what is known of the published data set that ``options`` choose."""
        return about(str(options.get("preset", "auto")))

    def load(self) -> Graph:
        """Read the files into one population; raise `CompileError` naming file, row and column."""
        _refuse_remote([self.edges, *self.cells, self.labels])
        with self._words():
            return self._load(self.cell_paths)

    def _load(self, cell_paths: list[Place]) -> Graph:
        steps: list[Step] = []
        with database() as db:
            given, tables = self._open(db, self.edges_path, steps)
            for k, p in enumerate(cell_paths):
                tables.append(self._open_cells(db, p, f"cells{k}", tables, given.facts, steps))
            source = self._source(db, given, tables)
            found = self._connections(db, source)
            refuse_unread_weights(db, given.known, found)
            votes, unequal = _votes(db, source)
            pairs = self._split(db, source, found)
        pairs = replace(pairs, first=(*pairs.first, *unequal))
        return self._graph(source, found, pairs, votes, steps, cell_paths)

    def outline(self) -> str:
        """Return how the files would be read, and what has to be said first."""
        from ._outline import outline

        return outline(self)

    @property
    def edges_path(self) -> Place:
        """The connections: a file, or data in memory."""
        return located(self.edges)

    @property
    def cell_paths(self) -> list[Place]:
        """The cells: files, or data in memory."""
        return [located(part) for part in self.cells]

    def opened(self, db: duckdb.DuckDBPyConnection) -> Given:
        """Open the connections in a database, and tell what their columns mean."""
        with self._words():
            return self._open(db, self.edges_path, [])[0]

    @contextmanager
    def _words(self) -> Iterator[None]:
        """Spell the options in hints as Python does where data come from there."""
        try:
            yield
        except CompileError as error:
            if any(isinstance(given, Data) for given in (self.edges, self.labels, *self.cells)):
                error.hint = in_python(error.hint)
            raise

    # --- opening ----------------------------------------------------------------------------------

    def _open(
        self, db: duckdb.DuckDBPyConnection, path: Place, steps: list[Step]
    ) -> tuple[Given, list[CellSource]]:
        """Open the connections, and cells in the same file; tell what the columns mean."""
        options = ReadOptions(**{f.name: getattr(self, f.name) for f in fields(ReadOptions)})
        reader = None if self._is_list(path) else reader_of(path, options)
        if reader and "orientation" in reader.options and (known_one := published(self.preset)):
            options = replace(options, orientation=options.orientation or known_one.orientation)
        said = Said(**{f.name: getattr(self, f.name) for f in fields(Said)})
        if reader is None:
            facts = Facts()
            of_text = OF_TEXT if is_bare(path) else OF_TEXT[1:]
            self._refuse_useless(path, facts.what, (*USED["list"], *of_text))
            table = open_table(db, path, "edges", self.header)
            table = replace(table, decimal=self.decimal)
            return Given(recognise(db, table, facts, said), facts), []
        ours = (*reader.options, "labels")
        if "orientation" in reader.options and self.header == "none":  # true of a bare matrix
            ours = (*ours, "header")
        before = (*USED["list"], *ours)
        self._refuse_useless(path, reader.what, before, reader.options)
        raw = reader.load(path, options)
        facts = raw.facts
        used = tuple(o for o in USED[facts.shape] if not (o == "weight" and facts.weight))
        used = (*used, *(o for o in ours if o != "labels" or facts.numbered))
        self._refuse_useless(path, reader.what, used)
        raw = self._named(path, raw)
        steps.append(_read_step(path, reader.what, raw.notes))
        if not raw.edges.num_rows:
            raise CompileError(str(path), "has no connections", "; ".join(raw.notes))
        text = has_text_ids(raw)
        table = registered(db, "edges", path, raw.edges, raw.locate)
        table = replace(table, text_ids=text)
        known = recognise(db, table, facts, said)
        own: list[CellSource] = []
        if raw.cells is not None:
            cells = replace(registered(db, "own_cells", path, raw.cells), text_ids=text)
            own.append((cells, facts.cell_id))
        return Given(known, facts, raw.evidence), own

    def _refuse_useless(
        self, path: Place, what: str, used: tuple[str, ...], named: tuple[str, ...] = ()
    ) -> None:
        """Raise `CompileError` for an option that the source has no use for."""
        for option in (*USED["list"], *SOURCES):
            value = getattr(self, option)
            if option in used or value in ("", "auto") or (option == "kind" and value == "none"):
                continue
            if option == "preset" and "orientation" in used and published(value):
                continue
            problem = f"does not apply to {called(path)}, which is {what}"
            hint = f"leave it out; options for {what}: {', '.join(named or used) or 'none'}"
            raise CompileError(f"table.{option}", problem, hint)

    def _is_list(self, path: Place) -> bool:
        """Whether a block of numbers is a list of connections; ask where it could be a matrix.

        Two rows of two numbers, or three of three, are both, unless a blank or 0 ends a row.
        """
        rows = square_in_memory(path) if isinstance(path, Data) else square_of_numbers(path)
        if not rows or (self.header == "none" and self.orientation):
            return False
        if self.header or self.pre or self.post:
            return True
        n = len(rows)
        weights = ", weights in 3" if n == 3 else ""
        raise unsaid(
            str(path),
            f"could be a list of {n} connections or a matrix of {n} neurons",
            [[str(k + 1) for k in range(n)], *rows],
            ("header=none", f"a list without a header: from column 1 to column 2{weights}"),
            ("header=none --set orientation=pre-post", "a matrix whose rows are presynaptic"),
            ("header=none --set orientation=post-pre", "a matrix whose rows are postsynaptic"),
        )

    def _named(self, path: Place, raw: Raw) -> Raw:
        """Return a source whose neurons have the names in ``labels``, or in a column of theirs."""
        own, chosen = raw.facts.cell_id, self.cell_id
        if raw.cells is None or not own:
            return raw
        if self.labels:
            names = read_labels(located(self.labels), raw.cells.num_rows)
            return renamed(raw, names, str(self.labels))
        if chosen not in ("", ORDER, own) and chosen in raw.cells.column_names:
            names = raw.cells.column(chosen).combine_chunks()
            return renamed(raw, names, f"{path}, column {chosen} of the nodes")
        return raw

    def _open_cells(
        self,
        db: duckdb.DuckDBPyConnection,
        path: Place,
        name: str,
        before: list[CellSource],
        facts: Facts,
        steps: list[Step],
    ) -> CellSource:
        """Open a table of cells, or a file such as the nodes of SONATA."""
        reader = None if self.cell_id == ORDER else reader_of(path)
        if reader is None:
            if self.cell_id == ORDER:
                return in_order(db, path, name, before, facts.what)
            table = open_table(db, path, name)
            return table, self.cell_id if table.find(self.cell_id) else ""
        if not reader.has_cells:
            problem = f"is {reader.what}, not a table of cells"
            hint = "give a frame" if isinstance(path, Data) else "export it as CSV"
            raise CompileError(str(path), problem, f"{hint} with a column of their ids")
        raw = reader.load(path, ReadOptions(sheet=self.sheet, header="first"))
        if raw.facts.shape == "list":
            steps.append(_read_step(path, reader.what, raw.notes))
            table = registered(db, name, path, raw.edges, raw.locate)
            return table, self.cell_id if table.find(self.cell_id) else ""
        if raw.cells is None:
            raise CompileError(str(path), f"is {reader.what} without cells")
        if self.cell_id in raw.cells.column_names and raw.facts.cell_id:
            raw = self._named(path, raw)
        unread = f"{raw.edges.num_rows:,} connections in it are not read: it was given as cells"
        notes = (*raw.notes, unread) if raw.edges.num_rows else raw.notes
        steps.append(_read_step(path, reader.what, notes))
        table = registered(db, name, path, raw.cells)
        return replace(table, text_ids=has_text_ids(raw)), raw.facts.cell_id

    # --- reading ----------------------------------------------------------------------------------

    def _source(
        self, db: duckdb.DuckDBPyConnection, given: Given, tables: list[CellSource]
    ) -> _Source:
        """Give neurons their numbers, and put them into table ``codes`` of the database."""
        edges = given.edges
        if not tables:
            keys, as_text = _ends_of(db, edges)
            none = keys[:0]
            notes = []
            if are_root_ids(edges.pre) and not as_text and (keys == 0).any():
                keys, none = keys[keys != 0], keys[keys == 0]
                notes.append("root id 0 is no cell: its rows are dropped")
            notes.append(
                f"{len(keys):,} neurons: the ends of the connections, since no cells were given"
            )
            register_codes(db, keys, none)
            return _Source(given, Cells(keys, as_text, {}, (), tuple(notes)), len(keys), False)
        chosen = self.cell_id not in ("", ORDER)
        if chosen and not any(table.find(self.cell_id) for table, _ in tables):
            known = dict.fromkeys(c for table, _ in tables for c in table.columns)
            raise UnknownNameError.among("table.cell_id: column of cells", self.cell_id, known)
        every = read_cells(db, tables, edges, given.preset, self.repeated_cells)
        kept = np.ones(every.n, np.bool_)
        notes = list(every.notes)
        if given.preset is not None and (required := given.preset.required):
            if (name := every.find(required)) is not None:
                kept = np.asarray(every.columns[name].values.is_valid())
                notes.append(f"{(~kept).sum():,} cells without a {name} dropped: not neurons")
            else:
                notes.append(f"no column {required}: every cell counts as a neuron")
        if not kept.any():
            raise CompileError(str(tables[0][0].path), "no neuron is left", "; ".join(notes))
        register_codes(db, every.key[kept], np.concatenate([every.key[~kept], every.dropped]))
        cells = every.keep(kept)
        return _Source(given, replace(cells, notes=tuple(notes)), every.n, True)

    def _connections(self, db: duckdb.DuckDBPyConnection, source: _Source) -> Connections:
        try:
            return read_connections(
                db,
                source.given.edges,
                "codes",
                source.cells.as_text,
                self.unknown_neurons == "drop",
                are_counts=source.given.are_counts,
                at_least=self.min_weight,
                repeated=self.duplicates,
                listed=False,
            )
        except NoCountError as error:
            hint = (
                "if weights are not counts, give their unit, for example --set unit=um2 (or a.u.)"
            )
            raise CompileError(error.where, error.problem, hint) from error

    # --- assembling -------------------------------------------------------------------------------

    def _graph(
        self,
        source: _Source,
        found: Connections,
        pairs: _Pairs,
        votes: Words | None,
        steps: list[Step],
        cell_paths: list[Place],
    ) -> Graph:
        given, cells = source.given, source.cells
        path, preset = given.edges.table.path, given.preset
        chemical, electrical = pairs.chemical, pairs.electrical
        notes = [*pairs.first, *self._notes(given, found), *pairs.notes]
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
        if "neurotransmitter" in columns and not species and self.species != "none":
            notes.append("transmitters give no signs without a species (worm, fly or mouse)")
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
        steps += [
            read,
            read.then("read-connections", self._options(given), cells.n, n_edges, notes),
        ]
        provenance = self._provenance(given, signed, tuple(steps), cell_paths)
        if self.species != "none":
            passes += _signing(neurons, species)
        return run(Graph((neurons,), projections, provenance), passes)

    def _options(self, given: Given) -> str:
        """Return the options that shaped the connections, as a recipe would spell them."""
        shown = {"unit": given.known.unit}
        for name in ("min_weight", "duplicates", "unknown_neurons"):
            shown[name] = getattr(self, name)
        for name in SHAPING:
            if (value := getattr(self, name)) not in ("", "error", "auto"):
                shown[name] = value
        spelled = [f"{name}={spell(value)}" for name, value in shown.items()]
        return ", ".join([f"edges={located(self.edges).name}", *spelled])

    def _notes(self, given: Given, found: Connections) -> list[str]:
        """Report what was left out, merged or repeated, and then what was read."""
        e = given.edges
        notes = list(given.known.notes)
        for n, what in (
            (found.n_dropped_rows, "rows from or to cells that are not kept"),
            (found.n_unknown_rows, "rows from or to cells not in the cell table"),
            (found.n_zero_rows, "rows of weight 0 left out: no connection"),
            (found.n_received_rows, "rows left out that repeat a synapse, as seen from its target"),
            (found.n_repeated_rows, "rows repeat a pair: their weights are summed"),
            (found.n_rows_without_size, "rows without a size: sizes left out"),
            (found.n_sign_conflicts, "connections whose rows disagree on the sign: unknown"),
            (int((found.weight == 0).sum()), "connections whose weights sum to 0: kept"),
            (int((found.weight < 0).sum()), "negative weights: not used as signs"),
        ):
            if n:
                notes.append(f"{n:,} {what}")
        if self.min_weight > (1 if given.are_counts else 0):
            notes.append(self._weak(given, "pairs", found.n_below, found.weight_below))
        known = f", {given.layout.what}" if given.layout else ""
        per = f"weights in {e.count}" if e.count else "one per synapse"
        notes.append(f"{found.n_rows:,} rows{known}: from {e.pre} to {e.post}, {per}")
        if given.preset is not None:
            notes.append(f"preset {given.preset.name}: {given.preset.title}")
            if given.preset.name == "neuprint":
                notes.append("hemibrain has the same columns: set preset=hemibrain if it is that")
        if given.evidence is Evidence.UNKNOWN:
            notes.append(vouched(self.evidence))
        if found.sign is not None:
            electric = found.kind == ELECTRICAL
            plus, minus, unknown = (int((found.sign[~electric] == s).sum()) for s in (1, -1, 0))
            told = f"{plus:,} +1, {minus:,} -1, {unknown:,} unknown"
            column = "their weights" if e.signed == "weight" else f"column {e.sign}"
            notes.append(f"signs of connections from {column}: {told}")
            if lost := int((found.sign[electric] != 0).sum()):
                notes.append(f"{lost:,} signs of electrical connections left out: they have none")
        if e.transmitter and given.layout is None:
            notes.append(f"transmitters of presynaptic neurons from column {e.transmitter}")
        return notes

    def _split(self, db: duckdb.DuckDBPyConnection, source: _Source, found: Connections) -> _Pairs:
        """Return chemical and electrical connections, these in both directions."""
        given, unit = source.given, source.given.known.unit
        electric = found.kind == ELECTRICAL
        whole = Synapses(
            found.post, found.pre, found.weight, unit, size=found.size, sign=found.sign
        )
        if not electric.any():
            alike = given.facts.shape == "matrix" and not self.kind
            first = (SYMMETRIC,) if alike and _is_symmetric(whole, source) else ()
            return _Pairs(whole, whole.keep(electric), (_count(whole, "connections"),), first)
        chemical = whole.keep(~electric)
        both, merged, notes = self._symmetric(db, source, whole.keep(electric))
        strong = np.abs(both.weight) >= self.min_weight
        electrical = both.keep(strong)
        once = electrical.keep(electrical.pre <= electrical.post)
        if not strong.all():
            weak = both.weight[~strong & (both.pre <= both.post)]
            notes.append(self._weak(given, "electrical pairs", len(weak), weak.sum()))
        if len(chemical.post):
            notes.append(_count(chemical, "chemical connections"))
        notes.append(_count(once, "electrical pairs, each a connection in both directions"))
        return _Pairs(chemical, electrical, tuple(notes), tuple(merged))

    def _symmetric(
        self, db: duckdb.DuckDBPyConnection, source: _Source, one_way: Synapses
    ) -> tuple[Synapses, list[str], list[str]]:
        """Return electrical connections in both directions, and notes: of what was merged, more."""
        n = source.cells.n
        low, high = np.minimum(one_way.post, one_way.pre), np.maximum(one_way.post, one_way.pre)
        pair = low.astype(np.int64) * n + high
        order = np.argsort(pair, kind="stable")
        pair, weight = pair[order], one_way.weight[order].astype(np.float64)  # exact for counts
        twice = pair[1:] == pair[:-1]
        differ = twice & (weight[1:] != weight[:-1])
        first = np.concatenate([[True], ~twice])
        unit, merged, notes = one_way.unit, list[str](), list[str]()
        if differ.any():
            k = int(np.flatnonzero(differ)[0])
            if self.unequal == "error":
                raise _unequal(db, source, int(pair[k]), weight[k : k + 2], int(differ.sum()))
            at = np.flatnonzero(differ)
            one, other = weight[at], weight[at + 1]
            joined = {"max": np.maximum(one, other), "sum": one + other}
            weight[at] = joined.get(self.unequal, (one + other) / 2)
            if np.any(weight[at] % 1) and unit == SYNAPSES:
                unit = f"mean {SYNAPSES}"
            merged.append(
                f"{len(at):,} electrical pairs with different weights in their directions: "
                f"{self.unequal} of both"
            )
        dtype = one_way.weight.dtype if unit == one_way.unit else np.float64
        low, high, weight = low[order][first], high[order][first], weight[first].astype(dtype)
        apart = low != high
        if n_single := int(apart.sum() - twice.sum()):
            notes.append(f"{n_single:,} electrical pairs given in one direction, used for both")
        made = Synapses.from_edges(
            np.concatenate([high, low[apart]]),
            np.concatenate([low, high[apart]]),
            np.concatenate([weight, weight[apart]]),
            unit=unit,
        )
        return made, merged, notes

    def _weak(self, given: Given, what: str, n: int, weight: float) -> str:
        unit = given.known.unit
        below = f"{n:,} {what} below {self.min_weight:g} {unit} dropped"
        return f"{below}, {weight:,.15g} {unit} in all"

    def _evidence(self, given: Given) -> Evidence:
        """Return how the connections are known, according to the file, else to the user."""
        told, said = given.evidence, Evidence(self.evidence)
        if told is Evidence.UNKNOWN or said is Evidence.MODELLED:
            return said
        if said not in (Evidence.UNKNOWN, told):
            problem = f"is {said}, but {given.edges.table.path.name} says {told}"
            raise CompileError("table.evidence", problem, "leave it out")
        return told

    def _provenance(
        self, given: Given, signed: bool, steps: tuple[Step, ...], cell_paths: list[Place]
    ) -> Provenance:
        paths = [given.edges.table.path, *self._labels(), *cell_paths]
        preset, layout = given.preset, given.layout
        dataset = preset.dataset if preset else f"table:{stem(paths[0])}"
        evidence = self._evidence(given)
        if evidence is Evidence.MODELLED:  # must not have the name of the measured data set
            dataset += "-modelled"
        cited: tuple[str, ...] = (self.citation,) if self.citation else ()
        if preset is not None:
            cited += preset.citations + (layout.citations if layout else ())
        return Provenance(
            dataset=self.dataset or dataset,
            title=self.title
            or (
                preset.title
                if preset
                else f"Connections of {' and '.join(called(p) for p in paths)}"
            ),
            connectivity=evidence,
            signs=Evidence.PREDICTED if signed else Evidence.NONE,
            licence=self.licence
            or (preset.licence if preset else "not stated by the files: see their source"),
            citations=cited,
            files=tuple(source_file(p) for p in paths),
            steps=steps,
        )

    def _labels(self) -> list[Place]:
        return [located(self.labels)] if self.labels else []


# Options that are told with the connections where they are set.
SHAPING = ("weight", "kind", "sign", "transmitter", "signs", "roi", "unequal", "header", "decimal")


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Connections to read, and the neurons that they may join, sorted by id."""

    given: Given
    cells: Cells
    n_cells: int  # before any were dropped
    has_table: bool  # else neurons are the ends of the connections


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Connections as a graph has them, and notes."""

    chemical: Synapses
    electrical: Synapses  # in both directions
    notes: tuple[str, ...]
    first: tuple[str, ...] = ()  # notes of what was merged


SYMMETRIC = (
    "every connection has an equal one in the other direction: if these are gap junctions, set "
    "kind=electrical"
)


def _refuse_remote(given: Iterable[Any]) -> None:
    """Raise `CompileError` for an address instead of a file."""
    for path in given:
        if isinstance(path, str) and "://" in path:
            hint = "download it first: curl -LO ADDRESS, or a browser"
            raise CompileError(path, "is an address; files are read from this machine", hint)


def _read_step(path: Place, what: str, notes: tuple[str, ...]) -> Step:
    return Step.first("read-file", path.name, 0, 0, (f"is {what}", *notes))


def _signing(neurons: Population, species: str) -> Iterator[AssignSigns]:
    """Yield the passes that assign signs, by what the tables give: transmitters first."""
    assert neurons.neurons is not None
    table = neurons.neurons
    if species and "neurotransmitter" in table.column_names:
        yield AssignSigns(species=species)  # type: ignore[arg-type]  # one of a preset
    for name in table.column_names:
        column = table.column(name)
        if plain(name) not in (*CELL["class"], "cell_type") or not pa.types.is_string(column.type):
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
    if as_text:
        refuse_no_names(db, edges, keys)
    refuse_rounded(where, keys[:SAMPLE_ROWS])
    return keys, as_text


def _votes(db: duckdb.DuckDBPyConnection, source: _Source) -> tuple[Words | None, tuple[str, ...]]:
    """Return each neuron's transmitter by its output synapses, or none without such a column.

    The word of most synapses, or the one with the highest mean score over all synapses; all rows
    count, whatever their target. Ties are resolved alphabetically.
    """
    edges = source.given.edges
    if not (edges.transmitter or edges.scores):
        return None, ()
    table = edges.table
    key = table.key(edges.pre, source.cells.as_text)
    weight = f"TRY_CAST({table.value(edges.count)} AS BIGINT)" if edges.count else "1"
    votes: npt.NDArray[np.object_] = np.full(source.cells.n, None, object)
    if edges.transmitter:
        sql = f"""SELECT code, {table.value(edges.transmitter)} AS word
                  FROM {table.name} JOIN codes ON {key} = codes.key
                  WHERE code >= 0 AND word IS NOT NULL GROUP BY code, word
                  ORDER BY code, sum({weight}) DESC, word"""
        found = arrow(db, str(table.path), sql)
        code, first = np.unique(found.column("code").to_numpy(), return_index=True)
        votes[code] = found.column("word").to_numpy()[first]
        several = int((np.diff(np.append(first, found.num_rows)) > 1).sum())
        note = "neurons whose rows have several transmitters: that of most synapses counts"
        return votes, (f"{several:,} {note}",) if several else ()
    # Decimals, whose sums do not depend on the order of rows.
    scores = ", ".join(
        f"coalesce(sum(({weight})::DECIMAL(10, 0) * "
        f"TRY_CAST({table.value(column)} AS DECIMAL(9, 8))), 0)::DOUBLE AS {word}"
        for column, word in edges.scores.items()
    )
    sql = f"""SELECT code, {scores} FROM {table.name} JOIN codes ON {key} = codes.key
              WHERE code >= 0 GROUP BY code ORDER BY code"""
    found = arrow(db, str(table.path), sql)
    names = np.array(list(edges.scores.values()), object)
    sums = np.stack([found.column(name).to_numpy() for name in names])
    told = sums.max(axis=0) > 0
    votes[found.column("code").to_numpy()[told]] = names[sums.argmax(axis=0)[told]]
    return votes, ()


def _votes_where(given: Given) -> str:
    column = given.edges.transmitter or ""
    return f"{given.edges.table.path}" + (f", column {column}" if column else "")


def _unequal(
    db: duckdb.DuckDBPyConnection,
    source: _Source,
    pair: int,
    weights: npt.NDArray[Any],
    n: int,
) -> CompileError:
    """Return the error that names both rows of an electrical pair whose weights differ."""
    edges, cells = source.given.edges, source.cells
    table = edges.table
    a, b = (cells.key[i] for i in divmod(pair, cells.n))
    keys = [table.key(c, cells.as_text) for c in (edges.pre, edges.post)]
    places, shown = [], [[edges.pre, edges.post, edges.count or "rows"]]
    for (one, other), weight in zip(((b, a), (a, b)), weights, strict=True):
        ends = (quoted(x) if isinstance(x, str) else str(x) for x in (one, other))
        same = " AND ".join(f"{key} = {end}" for key, end in zip(keys, ends, strict=True))
        row, _ = first_row(db, table, edges.pre, same)
        places.append(table.at(row).removeprefix(f"{table.path}, "))
        shown.append([one, other, weight])
    where = f"{table.path}, {' and '.join(places)}" if table.is_file else str(table.path)
    return unsaid(
        where,
        f"the electrical connection of {a} and {b} has different weights in its directions "
        f"({n:,} such pairs)",
        shown,
        ("unequal=max", "the larger one"),
        ("unequal=mean", "their mean"),
        ("unequal=sum", "their sum: each direction counts other junctions"),
    )


def _is_symmetric(edges: Synapses, source: _Source) -> bool:
    """Whether every connection has one of equal weight in the other direction."""
    n = source.cells.n
    here = edges.post.astype(np.int64) * n + edges.pre
    there = edges.pre.astype(np.int64) * n + edges.post
    apart = edges.pre != edges.post
    if not apart.any():
        return False
    one, other = np.argsort(here), np.argsort(there)
    same = np.array_equal(here[one], there[other])
    return same and np.array_equal(edges.weight[one], edges.weight[other])


def _count(edges: Synapses, what: str) -> str:
    total = f"{edges.weight.sum():,.15g} {edges.unit}"
    autapses = int((edges.post == edges.pre).sum())
    return f"{len(edges.post):,} {what}, {total}; {autapses:,} autapses"
