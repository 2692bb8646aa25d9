"""A table of connections and a table of cells, from your disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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
from connectome_compiler.ir.edit import set_column
from connectome_compiler.passes.drop_unconnected import DropUnconnected
from connectome_compiler.passes.runner import run
from connectome_compiler.sources import Source, called, located, stem, take_sources

from ._cell_tables import (
    Axes,
    CellFile,
    Cells,
    coverage_of,
    neuron_columns,
    read_file,
    register_codes,
    usual_position,
)
from ._cell_tables import Column as CellColumn
from ._cells import (
    Floats,
    Kind,
    Words,
    believed,
    class_of_word,
    column_cells,
    first_known,
    kinds,
    layer_of_word,
    layers_told,
    missing,
    oriented,
)
from ._column import CELL_TYPE_SOURCE, PRISM_WIDTH_UM, Column
from ._connections import Connections, read_connections
from ._evidence import Vouched, vouched
from ._names import CELL
from ._tables import Edges, database, open_table, source_file, typed

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MicronsFiles:
    """A connectome in two tables: CSV, CSV.gz, TSV, Feather, Parquet, or frames in memory.

    ``edges`` has one row per synapse, or one per connection with a column such as ``n_syn``;
    ``cells`` one row per cell, with an id and an excitatory or inhibitory class or type. Cells that
    are not neurons, or whose class is unknown, are dropped and counted, with their connections; a
    neuron that occurs twice is an error.

    A column ``sign`` of ``edges`` gives connections signs of their own. ``coverage="all"`` keeps
    the outputs of axons that were not proofread; their ``axon_coverage`` is then null, not "none".
    """

    name: ClassVar[str] = "microns-files"

    edges: Source
    cells: Source
    cortical_layer: str | None = None  # of all cells for which the tables give none
    column: Column = "auto"  # prism only on request: the frame of positions in files is unknown
    cell_type_source: str = CELL_TYPE_SOURCE
    prism_width_um: float = PRISM_WIDTH_UM
    coverage: Literal["proofread", "all"] = "proofread"  # whose output connections are kept
    unconnected: Literal["drop", "keep"] = "drop"  # neurons without any connection
    unknown_neurons: Literal["error", "drop"] = "error"  # connections with cells not in the table
    evidence: Vouched = "unknown"  # what the user vouches for

    def __post_init__(self) -> None:
        take_sources(self)

    def load(self) -> Graph:
        """Read the files into one population; raise `CompileError` naming file, row and column."""
        with database() as db:
            edges = Edges.open(db, located(self.edges))
            file = read_file(db, open_table(db, located(self.cells), "cells"), edges)
            rows = _Rows.of(file)
            kept, notes = self._kept(rows)
            chosen = rows.take(np.flatnonzero(kept)[np.argsort(file.key[kept], kind="stable")])
            cells = chosen.cells
            register_codes(db, cells.key, np.setdiff1d(file.key[rows.has_segment], cells.key))
            found = read_connections(
                db, edges, "codes", file.as_text, self.unknown_neurons == "drop"
            )
        coverage, *_ = coverage_of(cells, *CELL["coverage"])
        if coverage is not None and self.coverage == "all":
            listed = np.zeros(cells.n, np.bool_)
            listed[found.listed] = True
            coverage, note = believed(coverage, listed)
            edge_list, more = _edge_list(found, None), [note]
        else:
            edge_list, more = _edge_list(found, coverage), _followed(found, coverage)
        if not len(edge_list.post if self.unconnected == "drop" else cells.key):
            raise CompileError(
                str(edges.table.path), "no connection joins two neurons of the cell table"
            )
        columns, told = chosen.columns(coverage)
        n_rows, path = file.n_without_id + rows.cells.n, edges.table.path
        read = Step.first("read-cells", f"cells={file.table.path.name}", n_rows, 0, rows.unplaced())
        keep = read.then("keep-neurons", f'column="{self.column}"', cells.n, 0, (*notes, *told))
        count = keep.then(
            "read-connections", f"edges={path.name}", cells.n, len(edge_list.post),
            (*_counts(edges, file, found, self.evidence), *more, _amount(edge_list)),
        )  # fmt: skip
        neurons = Population("neurons", (cells.n,), neuron_table(columns))
        signed = edge_list.sign is not None and bool(edge_list.sign.any())
        signed |= neurons.column("sign").null_count < cells.n
        graph = Graph(
            (neurons,),
            (Projection("neurons", "neurons", edge_list),),
            Provenance(
                dataset=f"files:{stem(path)}",
                title=f"Neurons and connections of {called(path)} and {called(file.table.path)}",
                connectivity=Evidence(self.evidence),
                signs=Evidence.PREDICTED if signed else Evidence.NONE,
                licence="not stated by the files: see their source",
                files=(source_file(path), source_file(file.table.path)),
                steps=(read, keep, count),
            ),
        )
        graph = run(graph, (DropUnconnected(),) if self.unconnected == "drop" else ())
        return self._with_layers(graph, str(file.table.path))

    def _kept(self, rows: _Rows) -> tuple[Mask, list[str]]:
        """Return the rows of neurons to keep, and what was dropped."""
        file, kind = rows.file, rows.kind
        where = str(file.table.path)
        neuron = np.isin(kind, (Kind.EXCITATORY, Kind.INHIBITORY))
        if not neuron.any():
            problem = "no cell is known to be excitatory or inhibitory"
            accepted = ", ".join((*CELL["class"], *CELL["type"], *CELL["mtype"]))
            raise CompileError(where, problem, f"columns that can say so: {accepted}")
        notes = []
        if lacking := file.n_without_id + int((~rows.has_segment).sum()):
            notes.append(f"{lacking:,} cells without an id dropped")
        glia = rows.has_segment & np.asarray(kind == Kind.GLIA)
        if glia.any():
            notes.append(f"{glia.sum():,} glia and other non-neurons dropped")
        _, times = np.unique(file.key[glia], return_counts=True)
        if (times > 1).any():
            notes.append(f"{(times > 1).sum():,} ids of glia occur more than once")
        unsure = rows.has_segment & np.asarray(kind == Kind.UNSURE)
        if unsure.any():
            notes.append(f"{unsure.sum():,} cells of uncertain class dropped")
        untyped = rows.has_segment & missing(kind)
        if untyped.any():
            words = sorted({str(w) for w in rows.first_words()[untyped] if w is not None})
            named = f" ({', '.join(words[:5])})" if words else ""
            notes.append(f"{untyped.sum():,} cells without a known class dropped{named}")

        kept = rows.has_segment & neuron
        file.refuse_twice(kept, "neuron")
        inside, how = column_cells(
            where, self.column, rows.cells.words(*CELL["type_source"]), self.cell_type_source,
            rows.oriented() if self.column == "prism" else None, self.prism_width_um,
        )  # fmt: skip
        if inside is not None:
            notes.append(f"{(kept & ~inside).sum():,} neurons outside the column dropped")
            kept &= inside
        e = int(np.count_nonzero(kind[kept] == Kind.EXCITATORY))
        notes += [how, f"{e:,} excitatory, {kept.sum() - e:,} inhibitory neurons"]
        return kept, notes

    def _with_layers(self, graph: Graph, where: str) -> Graph:
        """Return the graph with the requested layer where the tables give none.

        Raises `CompileError` if some layer is unknown, and none was requested.
        """
        (neurons,) = graph.populations
        layers = neurons.column("cortical_layer")
        n, n_none = neurons.n_units, layers.null_count
        if self.cortical_layer is None:
            if n_none:
                problem = f"the cortical layer of {n_none:,} of {n:,} neurons is unknown"
                first = neurons.column("neuron_id")[pc.index(layers.is_null(), True).as_py()]
                hint = "give those a layer, for example cortical_layer=L2/3"
                raise CompileError(where, f"{problem}, first that of {first}", hint)
            return graph
        option = f"cortical_layer={self.cortical_layer}"
        note = f"{n_none:,} of {n:,} neurons given the requested layer"
        if not n_none:
            note = f"{option} was not needed: the tables give the layer of each cell"
        given = layers.fill_null(layer_of_word(self.cortical_layer))
        step = graph.provenance.steps[-1].then(
            "give-layer", option, n, graph.n_connections, (note,)
        )
        return replace(
            graph,
            populations=(set_column(neurons, "cortical_layer", given),),
            provenance=graph.provenance.with_step(step),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows of a table of cells, and what they say about each cell."""

    file: CellFile
    cells: Cells  # one per row
    kind: Words
    position: Axes | None  # um
    names: tuple[str, ...]  # of the columns of the position

    @classmethod
    def of(cls, file: CellFile) -> _Rows:
        """Return all rows; raise `CompileError` at an unknown class."""
        cells = file.rows()
        position, names = usual_position(cells, _numbers)
        return cls(file, cells, _kinds(cells), position, names)

    def take(self, order: npt.NDArray[np.intp]) -> _Rows:
        """Return the rows at these places, in this order."""
        axes = self.position
        return replace(
            self,
            cells=self.cells.take(order),
            kind=self.kind[order],
            position=None if axes is None else tuple(axis.take(pa.array(order)) for axis in axes),
        )

    @property
    def has_segment(self) -> Mask:
        """Which cells have one: root id 0 stands for "no segment" in these data sets."""
        is_root = "root_id" in self.file.key_column.lower()
        return np.asarray(self.cells.key != 0) if is_root else np.ones(self.cells.n, np.bool_)

    def first_words(self) -> Words:
        """Return what the table calls each cell, in whichever column of class or type."""
        every = (self.cells.words(*CELL[m]) for m in ("class", "type", "mtype"))
        given = [w for w in every if w is not None]
        return first_known(*given) if given else np.full(self.cells.n, None, object)

    def oriented(self) -> tuple[Floats, Floats, Floats] | None:
        """Return positions in the pia-oriented frame of minnie65, um, or None."""
        if self.position is None:
            return None
        x, y, z = (np.asarray(v.to_numpy(zero_copy_only=False), np.float64) for v in self.position)
        # Positions in um are taken as oriented already, as in this project's own tables.
        return (x, y, z) if self.names[0].endswith("_um") else oriented(x, y, z)

    def unplaced(self) -> tuple[str, ...]:
        """Say how many cells have a position or depth that is not a number, if any do."""
        depth = self.cells.find("depth_um")
        places = dict.fromkeys((*self.names, *((depth,) if depth else ())))
        wrong = {name: self.cells.columns[name].numbers()[1] for name in places}
        if not (columns := [name for name, bad in wrong.items() if bad.any()]):
            return ()
        n = np.any([wrong[name] for name in columns], axis=0).sum()
        note = f"{n:,} cells whose position is not a number ({', '.join(columns)})"
        return (f"{note}: taken as unknown",)

    def layers(self) -> Words:
        """Return each cell's layer, by its column, type or depth; None if unknown."""
        depth, name = np.full(self.cells.n, np.nan), self.cells.find("depth_um")
        if name is not None:
            depth = _numbers(self.cells.columns[name]).to_numpy(zero_copy_only=False)
        types = (self.cells.words(*CELL[meaning]) for meaning in ("type", "mtype"))
        return layers_told(self.cells.words(*CELL["layer"], meaning=layer_of_word), types, depth)

    def columns(self, coverage: Words | None) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the columns of the neuron table, and notes."""
        made, notes = neuron_columns(self.cells, numbers=_numbers)
        if "cell_type" not in made and (types := self.cells.words(*CELL["mtype"])) is not None:
            made["cell_type"] = types
        made |= {"cell_class": self.kind, "cortical_layer": self.layers()}
        if coverage is not None:
            made["axon_coverage"] = coverage
        if self.position is not None:  # the unit is determined from all rows, not only those kept
            made.update(zip(("x_um", "y_um", "z_um"), self.position, strict=True))
        # Nucleus ids, where the table has them, since they survive proofreading.
        name = self.cells.find("nucleus_id", "nuc_id")
        if name is not None and name != self.file.key_column:
            ids = typed(pa.chunked_array([self.cells.columns[name].values]))
            if not ids.null_count and len(ids.unique()) == len(ids):
                made["neuron_id"] = ids
        return made, notes


def _numbers(column: CellColumn) -> pa.Array:
    """Return numbers, null for other text, which `_Rows.unplaced` counts."""
    return column.numbers()[0]


def _kinds(cells: Cells) -> Words:
    """Return each cell's kind; raise `CompileError` at an unknown class."""
    words, types, mtypes = (cells.words(*CELL[m]) for m in ("class", "type", "mtype"))
    for word in sorted({w for w in words if w is not None}) if words is not None else ():
        if class_of_word(word) is None:
            where = cells.columns[str(cells.find(*CELL["class"]))].where(word)
            hint = "known: excitatory, inhibitory, nonneuron, unsure"
            raise CompileError(where, f"{word!r} is not a known class", hint)
    if words is None and types is None and mtypes is None:
        return np.full(cells.n, None, object)
    return kinds(words, types, mtypes)


def _edge_list(found: Connections, coverage: Words | None) -> Synapses:
    """Return the connections of axons whose coverage is not "none"."""
    every = Synapses(found.post, found.pre, found.weight, size=found.size, sign=found.sign)
    return every if coverage is None else every.keep((coverage != "none")[found.pre])


def _followed(found: Connections, coverage: Words | None) -> list[str]:
    """Report how many connections are dropped because of the coverage of their axons."""
    if coverage is None:
        return ["axon coverage unknown: the tables have no such column"]
    n = int(np.count_nonzero(coverage[found.pre] == "none"))
    return [f"{n:,} connections of axons that were not proofread"]


def _counts(edges: Edges, file: CellFile, found: Connections, evidence: Vouched) -> list[str]:
    """Report what was read of the connections, and what was not kept."""
    per = f"counts in {edges.count}" if edges.count else "one per synapse"
    notes = [f"{found.n_rows:,} rows, {per}; cells matched by {file.key_column}"]
    notes.append(vouched(evidence))
    for n, what in (
        (found.n_dropped_rows, "rows from or to cells that are not kept"),
        (found.n_unknown_rows, "rows from or to cells not in the cell table"),
        (found.n_rows_without_size, "rows without a size: sizes left out"),
        (found.n_repeated_rows, "rows repeat a pair: their counts are summed"),
    ):
        if n:
            notes.append(f"{n:,} {what}")
    if found.sign is not None:
        notes += _sign_notes(edges, found)
    if edges.ignored:
        notes.append(f"ignored columns: {', '.join(edges.ignored)}")
    return notes


def _amount(edges: Synapses) -> str:
    autapses = int((edges.post == edges.pre).sum())
    return f"{int(edges.weight.sum()):,} synapses; {autapses:,} autapses"


def _sign_notes(edges: Edges, found: Connections) -> list[str]:
    assert found.sign is not None
    plus, minus = int((found.sign > 0).sum()), int((found.sign < 0).sum())
    unknown = len(found.sign) - plus - minus
    told = f"{plus:,} +1, {minus:,} -1, {unknown:,} unknown"
    notes = [
        f"signs of connections from column {edges.sign}: {told}",
        "signs count as predicted: the table does not say how they were determined",
    ]
    if found.n_sign_conflicts:
        notes.append(
            f"{found.n_sign_conflicts:,} connections whose rows disagree on the sign: unknown"
        )
    return notes
