"""A table of connections and a table of cells, as scientists have them on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError
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

from ._cells import (
    COVERAGE_WORDS,
    Kind,
    Words,
    believed,
    class_of_word,
    column_cells,
    first_known,
    kinds,
    layer_of_depth,
    layer_of_type,
    layer_of_word,
    missing,
    oriented,
    words_of,
)
from ._column import CELL_TYPE_SOURCE, PRISM_WIDTH_UM, Column
from ._connections import DROPPED, Connections, read_connections
from ._evidence import Vouched, vouched
from ._ids import matching_id
from ._names import CELL, N_SECTIONS, NM_UM, POSITION, VOXEL_UM
from ._tables import (
    Edges,
    Table,
    arrow,
    database,
    identifier,
    open_table,
    query,
    source_file,
    typed,
)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MicronsFiles:
    """The connectome in two files: CSV, CSV.gz, TSV, Feather or Parquet, known by their headers.

    ``edges`` has one row per synapse, or one per connection with a column such as ``n_syn``;
    ``cells`` one row per cell, with an id and an excitatory or inhibitory class or type. Cells that
    are no neurons, or of no known class, are dropped and counted, with their connections; a neuron
    that occurs twice is an error.

    A column ``sign`` of ``edges`` gives connections signs of their own. ``coverage="all"`` keeps
    the outputs of axons that nobody proofread; their ``axon_coverage`` is null then, not "none".
    """

    name: ClassVar[str] = "microns-files"

    edges: str
    cells: str
    cortical_layer: str | None = None  # of all cells for which the tables tell none
    column: Column = "auto"  # prism only if asked for: positions of files have no known frame
    cell_type_source: str = CELL_TYPE_SOURCE
    prism_width_um: float = PRISM_WIDTH_UM
    coverage: Literal["proofread", "all"] = "proofread"  # whose output connections are kept
    unconnected: Literal["drop", "keep"] = "drop"  # neurons without any connection
    unknown_neurons: Literal["error", "drop"] = "error"  # connections with cells not in the table
    evidence: Vouched = "unknown"  # what the user vouches for

    def load(self) -> Graph:
        """Read the files into one population; raise `CompileError` naming file, row and column."""
        with database() as db:
            edges = Edges.open(db, self.edges)
            table = open_table(db, self.cells, "cells")
            key, as_text = matching_id(db, table, edges)
            every = _Cells.read(db, table, key, as_text)
            options = f"cells={Path(self.cells).name}"
            read = Step("read-cells", options, 0, every.n, 0, 0, every.unplaced())
            cells, keep = self._neurons(every)
            db.register("codes", _codes(every, cells))
            found = read_connections(db, edges, "codes", as_text, self.unknown_neurons == "drop")

        alive = np.ones(len(found.post), np.bool_)
        notes = [f"{found.n_rows:,} rows, {_per(edges)}; cells matched by {key}"]
        notes.append(vouched(self.evidence))
        if found.n_dropped_rows:
            notes.append(f"{found.n_dropped_rows:,} rows from or to cells that are not kept")
        if found.n_unknown_rows:
            notes.append(f"{found.n_unknown_rows:,} rows from or to cells not in the cell table")
        if found.n_rows_without_size:
            notes.append(f"sizes left out: {found.n_rows_without_size:,} rows have none")
        if found.n_repeated_rows:
            notes.append(f"{found.n_repeated_rows:,} rows repeat a pair: their counts are summed")
        if found.sign is not None:
            notes += _sign_notes(edges, found)
        if edges.ignored:
            notes.append(f"ignored columns: {', '.join(edges.ignored)}")
        cover = cells.coverage
        if cover is None:
            notes.append("axon coverage not known: the tables have no such column")
        elif self.coverage == "all":
            listed = np.zeros(cells.n, np.bool_)
            listed[found.listed] = True
            cover, note = believed(cover, listed)
            notes.append(note)
        else:
            alive = (cover != "none")[found.pre]
            notes.append(f"{(~alive).sum():,} connections of axons that were not proofread")
        edge_list = Synapses(
            found.post, found.pre, found.weight, size=found.size, sign=found.sign
        ).keep(alive)
        n_edges = len(edge_list.post)
        autapses = int((edge_list.post == edge_list.pre).sum())
        notes.append(
            f"{int(edge_list.weight.sum()):,} synapses; {autapses:,} connections of a neuron with "
            "itself"
        )
        count = Step(
            "read-connections", f"edges={edges.table.path.name}", cells.n, cells.n, 0, n_edges,
            tuple(notes),
        )  # fmt: skip
        steps = [read, keep, count]
        if self.unconnected == "drop":
            linked = np.zeros(cells.n, np.bool_)
            linked[edge_list.post] = linked[edge_list.pre] = True
            place = np.cumsum(linked) - 1
            edge_list = replace(edge_list, post=place[edge_list.post], pre=place[edge_list.pre])
            n_before, cells = cells.n, cells.where(linked)
            cover = None if cover is None else cover[linked]
            note = f"{n_before - cells.n:,} neurons without any connection dropped"
            steps.append(Step("drop-unconnected", "", n_before, cells.n, n_edges, n_edges, (note,)))
        if not cells.n:
            raise CompileError(self.edges, "no connection joins two neurons of the cell table")
        layers, n_given = cells.layers(self.cortical_layer)
        if self.cortical_layer is not None:
            option = f"cortical_layer={self.cortical_layer}"
            note = f"{n_given:,} of {cells.n:,} neurons given the layer that was asked for"
            if not n_given:
                note = f"no cell needed {option}: the tables tell the layer of each"
            steps.append(Step("give-layer", option, cells.n, cells.n, n_edges, n_edges, (note,)))
        neurons = Population("neurons", (cells.n,), cells.neurons(layers, cover))
        has_signs = edge_list.sign is not None and bool(edge_list.sign.any())
        stem = edges.table.path.name.split(".")[0]
        graph = Graph(
            (neurons,),
            (Projection("neurons", "neurons", edge_list),),
            Provenance(
                dataset=f"files:{stem}",
                title=f"Neurons and connections of {edges.table.path.name} and {table.path.name}",
                connectivity=Evidence(self.evidence),
                signs=Evidence.PREDICTED if has_signs else Evidence.NONE,
                licence="not stated by the files: see their source",
                files=(source_file(edges.table.path), source_file(table.path)),
                steps=tuple(steps),
            ),
        )
        graph.verify()
        return graph

    def _neurons(self, cells: _Cells) -> tuple[_Cells, Step]:
        """Return the neurons to keep, sorted by id, and what was dropped."""
        where = str(cells.table.path)
        kind = cells.kind()
        neuron = np.isin(kind, (Kind.EXCITATORY, Kind.INHIBITORY))
        if not neuron.any():
            problem = "no cell is known to be excitatory or inhibitory"
            accepted = ", ".join((*CELL["class"], *CELL["type"], *CELL["mtype"]))
            raise CompileError(where, problem, f"columns that can tell: {accepted}")
        notes = []
        has_id = cells.has_id()
        if not has_id.all():
            notes.append(f"{(~has_id).sum():,} cells without an id dropped")
        glia = has_id & np.asarray(kind == Kind.GLIA)
        if glia.any():
            notes.append(f"{glia.sum():,} glia and other non-neurons dropped")
        _, times = np.unique(cells.key[glia], return_counts=True)
        if (times > 1).any():
            notes.append(f"{(times > 1).sum():,} ids of glia occur more than once")
        unsure = has_id & np.asarray(kind == Kind.UNSURE)
        if unsure.any():
            notes.append(f"{unsure.sum():,} cells of uncertain class dropped")
        untyped = has_id & missing(kind)
        if untyped.any():
            words = sorted({str(w) for w in cells.first_words()[untyped] if w is not None})
            named = f" ({', '.join(words[:5])})" if words else ""
            notes.append(f"{untyped.sum():,} cells without a known class dropped{named}")

        kept = has_id & neuron
        _refuse_twice(cells, kept)
        inside, how = column_cells(
            where, self.column, cells.words("type_source"), self.cell_type_source,
            cells.oriented() if self.column == "prism" else None, self.prism_width_um,
        )  # fmt: skip
        if inside is not None:
            notes.append(f"{(kept & ~inside).sum():,} neurons outside the column dropped")
            kept &= inside
        notes.append(how)
        chosen = cells.where(kept, kind)
        e = int(np.count_nonzero(chosen.kinds == Kind.EXCITATORY))
        notes.append(f"{e:,} excitatory, {chosen.n - e:,} inhibitory neurons")
        options = f'column="{self.column}"'
        return chosen, Step("keep-neurons", options, cells.n, chosen.n, 0, 0, tuple(notes))


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Rows of a cell table, in the order of the file, or of their ids once chosen."""

    table: Table
    key_column: str
    key: npt.NDArray[Any]  # int64, or objects that are text or None
    data: pa.Table  # all columns of the file
    position: tuple[pa.Array, pa.Array, pa.Array] | None  # um
    position_names: tuple[str, ...]
    place_names: tuple[str, ...]  # of the positions, and of the depth where it has a column
    kinds: Words | None = None

    @classmethod
    def read(cls, db: Any, table: Table, key: str, as_text: bool) -> _Cells:
        """Read the whole table: cells are few."""
        where = str(table.path)
        columns = ", ".join(f"{table.value(c)} AS {identifier(c)}" for c in table.columns)
        extra = f"{table.key(key, as_text)} AS _key"
        position, scale = None, (1.0, 1.0, 1.0)
        names: tuple[str, ...] = ()
        for synonyms, unit in POSITION:
            found = [table.find(s) for s in synonyms]
            if all(found):
                names, scale = tuple(str(f) for f in found), unit
                break
        for axis, name in zip("xyz", names, strict=False):
            extra += f", {table.number(name)}::DOUBLE AS _{axis}"
        if (depth := table.find("depth_um")) is not None:
            extra += f", {table.number(depth)}::DOUBLE AS _depth"
        query(db, where, "SET preserve_insertion_order=true")
        data = arrow(db, where, f"SELECT {columns}, {extra} FROM {table.name}")
        query(db, where, "SET preserve_insertion_order=false")
        keys = data.column("_key").combine_chunks()
        if names:
            xyz = [data.column(f"_{axis}").combine_chunks() for axis in "xyz"]
            if scale == VOXEL_UM and (pa.compute.max(xyz[2]).as_py() or 0) > N_SECTIONS:
                scale = NM_UM
            x, y, z = (pa.compute.multiply(v, s) for v, s in zip(xyz, scale, strict=True))
            position = (x, y, z)
        key_array = np.array(keys.to_pylist(), object) if as_text else keys.fill_null(0).to_numpy()
        places = tuple(dict.fromkeys((*names, *((depth,) if depth else ()))))
        return cls(table, key, key_array, data, position, names, places)

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.key)

    def has_id(self) -> Mask:
        """Return which cells have an id. Root id 0 stands for "no segment" in these data sets."""
        given = np.asarray(self.data.column("_key").is_valid())
        if "root_id" in self.key_column.lower():
            given &= self.key != 0
        return given

    def words(self, meaning: str) -> Words | None:
        """Return a column by what it means, as text; None if the table has no such column."""
        name = self.table.find(*CELL[meaning])
        if name is None:
            return None
        return words_of(self.data.column(name).combine_chunks(), lambda word: word)

    def first_words(self) -> Words:
        """Return what the table calls each cell, in whichever column of class or type."""
        every = (self.words(m) for m in ("class", "type", "mtype"))
        given = [w for w in every if w is not None]
        return first_known(*given) if given else np.full(self.n, None, object)

    def kind(self) -> Words:
        """Return each cell's kind; raise `CompileError` at a word for a class that is not known."""
        words = self.words("class")
        if words is not None:
            for word in sorted({w for w in words if w is not None}):
                if class_of_word(word) is None:
                    row = int(np.flatnonzero(words == word)[0]) + 1
                    column = self.table.find(*CELL["class"]) or ""
                    problem = f"{word!r} is no class that is known"
                    hint = "such as excitatory, inhibitory, nonneuron, unsure"
                    raise CompileError(self.table.at(row, column), problem, hint)
        columns = (words, self.words("type"), self.words("mtype"))
        if all(column is None for column in columns):
            return np.full(self.n, None, object)
        return kinds(*columns)

    @property
    def coverage(self) -> Words | None:
        """How far each axon was followed; None if the table does not tell."""
        words = self.words("coverage")
        if words is None:
            return None
        for word in sorted({w for w in words if w is not None}):
            if word.lower() not in COVERAGE_WORDS:
                problem = f"{word!r} does not tell how far an axon was proofread"
                column = self.table.find(*CELL["coverage"])
                raise CompileError(
                    f"{self.table.path}, column {column}",
                    problem,
                    f"known: {', '.join(COVERAGE_WORDS)}",
                )
        return words_of(pa.array(words, pa.string()), lambda w: COVERAGE_WORDS[w.lower()])

    def oriented(self) -> Any:
        """Return positions in the pia-oriented frame of minnie65, um, or None."""
        if self.position is None:
            return None
        x, y, z = (np.asarray(v.to_numpy(zero_copy_only=False), np.float64) for v in self.position)
        # Positions in um are taken as oriented already, as in this project's own tables.
        return (x, y, z) if self.position_names[0].endswith("_um") else oriented(x, y, z)

    def where(self, kept: Mask, kind: Words | None = None) -> _Cells:
        """Return the chosen cells, sorted by id."""
        chosen = np.flatnonzero(kept)
        chosen = chosen[np.argsort(self.key[chosen], kind="stable")]
        rows = pa.array(chosen)
        every = self.kinds if kind is None else kind
        return _Cells(
            self.table,
            self.key_column,
            self.key[chosen],
            self.data.take(rows),
            None if self.position is None else tuple(v.take(rows) for v in self.position),
            self.position_names,
            self.place_names,
            None if every is None else every[chosen],
        )

    def unplaced(self) -> tuple[str, ...]:
        """Say in how many cells a position or depth holds what is no number, if there are any."""
        numbers = dict(zip(self.position_names, ("_x", "_y", "_z"), strict=False))
        wrong, columns = np.zeros(self.n, np.bool_), []
        for name in self.place_names:
            words = self.data.column(name).cast(pa.string())
            # NaN is how pandas writes a position that is missing.
            given = pa.compute.not_equal(pa.compute.utf8_lower(words), "nan").fill_null(False)
            number = self.data.column(numbers.get(name, "_depth"))
            bad = pa.compute.and_(given, number.is_null()).to_numpy()
            if bad.any():
                wrong |= bad
                columns.append(name)
        if not columns:
            return ()
        note = f"{wrong.sum():,} cells whose position is no number ({', '.join(columns)})"
        return (f"{note}: taken as not known",)

    def layers(self, given: str | None) -> tuple[Words, int]:
        """Return each cell's layer, by its column, its type, its depth, else the one ``given``.

        The number says how many cells the last was.
        """
        known = np.full(self.n, None, object)
        if (words := self.words("layer")) is not None:
            known = words_of(pa.array(words, pa.string()), layer_of_word)
        for meaning in ("type", "mtype"):
            if (words := self.words(meaning)) is not None:
                known = first_known(known, words_of(pa.array(words, pa.string()), layer_of_type))
        if "_depth" in self.data.column_names:
            depth = self.data.column("_depth").to_numpy()
            by_depth = layer_of_depth(depth).astype(object)
            by_depth[np.isnan(depth)] = None
            known = first_known(known, by_depth)
        none = missing(known)
        if given is not None:
            known[none] = layer_of_word(given)
        elif none.any():
            problem = f"the cortical layer of {none.sum():,} of {self.n:,} neurons is not known"
            first = self.key[np.flatnonzero(none)[0]]
            hint = "give those one layer with cortical_layer=, such as cortical_layer=L2/3"
            raise CompileError(str(self.table.path), f"{problem}, first that of {first}", hint)
        return known, int(none.sum())

    def neurons(self, layers: Words, coverage: Words | None) -> pa.Table:
        """Return the neuron table: standard columns first, then all others of the file."""
        assert self.kinds is not None
        types = self.words("type")
        made: dict[str, Any] = {
            "neuron_id": self._stable_id(),
            "cell_type": self.words("mtype") if types is None else types,
            "cell_class": self.kinds,
            "cortical_layer": layers,
            "region": self.words("region"),
            "axon_coverage": coverage,
        }
        if self.position is not None:
            made.update(zip(("x_um", "y_um", "z_um"), self.position, strict=True))
        made = {k: v for k, v in made.items() if v is not None}
        used = {
            _source for m in ("class", "layer", "region") if (_source := self.table.find(*CELL[m]))
        }
        used |= {self.table.find(*CELL["type"]) or "", *self.position_names}
        for name in self.data.column_names:
            if name not in used and name not in made and not name.startswith("_"):
                made[name] = typed(self.data.column(name))
        return neuron_table(made)

    def _stable_id(self) -> Any:
        """Return nucleus ids where the table has them, since they survive proofreading."""
        name = self.table.find("nucleus_id", "nuc_id")
        if name is not None and name != self.key_column:
            ids = typed(self.data.column(name))
            if not ids.null_count and len(ids.unique()) == len(ids):
                return ids
        return self.key


def _codes(every: _Cells, kept: _Cells) -> pa.Table:
    """Return the code of every id: its place among the kept, or `DROPPED`."""
    has_id = every.has_id()
    dropped = np.setdiff1d(every.key[has_id], kept.key)
    key = np.concatenate([kept.key, dropped])
    code = np.concatenate([np.arange(kept.n), np.full(len(dropped), DROPPED)])
    return pa.table({"key": pa.array(key), "code": pa.array(code, pa.int32())})


def _refuse_twice(cells: _Cells, kept: Mask) -> None:
    """Raise `CompileError` if the id of a neuron occurs in another row too."""
    ids, first, times = np.unique(cells.key[kept], return_index=True, return_counts=True)
    others = np.isin(ids, cells.key[~kept])
    bad = np.flatnonzero((times > 1) | others)
    if len(bad):
        neuron = ids[bad[np.argmin(first[bad])]]
        rows = np.flatnonzero(cells.key == neuron) + 1
        problem = (
            f"neuron {neuron} occurs twice, first in {cells.table.at(rows[0]).split(', ')[-1]}"
        )
        raise CompileError(
            cells.table.at(rows[1], cells.key_column), problem,
            f"one row per neuron; {len(bad):,} neurons occur more than once",
        )  # fmt: skip


def _per(edges: Edges) -> str:
    return f"counts in {edges.count}" if edges.count else "one per synapse"


def _sign_notes(edges: Edges, found: Connections) -> list[str]:
    assert found.sign is not None
    plus, minus = int((found.sign > 0).sum()), int((found.sign < 0).sum())
    unknown = len(found.sign) - plus - minus
    told = f"{plus:,} +1, {minus:,} -1, {unknown:,} not known"
    notes = [
        f"signs of connections from column {edges.sign}: {told}",
        "signs count as predicted: the table does not tell how they were found",
    ]
    if found.n_sign_conflicts:
        notes.append(
            f"{found.n_sign_conflicts:,} connections whose rows disagree on the sign: not known"
        )
    return notes
