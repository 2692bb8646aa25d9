"""The static public export of MICrONS (volume minnie65): measured; no account is needed.

The tables are headerless CSV, gzipped; a small file beside each names its columns and types.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import duckdb
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
    SourceFile,
    Step,
    Synapses,
    neuron_table,
)

from ._cells import (
    STRATEGIES,
    Kind,
    Words,
    believed,
    class_of_word,
    column_cells,
    kinds,
    layers_told,
    missing,
    oriented,
    words_of,
)
from ._citations import ELABBADY_2025, MICRONS_2025, SCHNEIDER_MIZELL_2025
from ._column import CELL_TYPE_SOURCE, PRISM_WIDTH_UM, Column
from ._download import Downloader, RemoteFile, cache_folder
from ._names import VOXEL_UM
from ._tables import arrow, database, identifier, typed, view_of_text

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Published:
    """One table of the release and the small file that names its columns."""

    table: RemoteFile
    header: RemoteFile


@dataclass(frozen=True, slots=True)
class Release:
    """One version of the export."""

    address: str
    synapses: Published
    cells: Published
    proofreading: Published

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files, the small ones first."""
        every = (self.proofreading, self.cells, self.synapses)
        return (*(p.header for p in every), *(p.table for p in every))


# Layout: tutorial.microns-explorer.org/static-repositories.html. Sizes, hashes and row counts as
# recorded on 26 September 2026 by the MICrONS lab of NeuroTrailblazers
# (github.com/wrgr/neurotrailblazers, assets/notebooks/microns-lab/methods_record.json).
# Version 1507 (31 July 2025) is the only one with a table of the synapses of proofread axons alone.
RELEASES: dict[int, Release] = {
    1507: Release(
        address="https://storage.googleapis.com/mat_dbs/public/minnie65_phase3_v1/v1507/",
        synapses=Published(
            RemoteFile(
                "synapses_with_axon_proofreading.csv.gz",
                80_191_720,
                "3f0841cafb39531e9b42d8a936211da66db9f09cea96c74ec88e0d05e3d06fd5",
                2_089_627,
            ),
            RemoteFile(
                "synapses_with_axon_proofreading_header.csv",
                271,
                "e9265a2ba4537ebe095f8b3f9136b0f11d996b451a01884c9025a1652f8ef597",
            ),
        ),
        cells=Published(
            RemoteFile(
                "aibs_cell_info_merged.csv.gz",
                5_696_726,
                "f26299762ef15a782a9323e9b8ae0740b85bb50fa1be7b42fbecb4adfac1b7f8",
                144_120,
            ),
            RemoteFile(
                "aibs_cell_info_merged_header.csv",
                372,
                "48551ea524e8567a76d3d5bf629ba201303781a6708aaa9ade9b55f4beebf9a2",
            ),
        ),
        proofreading=Published(
            RemoteFile(
                "proofreading_status_and_strategy_merged.csv.gz",
                69_077,
                "d10300976fc3dd5fdb411dd0308dff75ee1385bc08b69639c9f8d7e970a1c4b1",
                2_182,
            ),
            RemoteFile(
                "proofreading_status_and_strategy_merged_header.csv",
                223,
                "0576b8b864f3441bcd9ca1a40915dbd76bcbb54c9bb7d8758318b796cfdb621c",
            ),
        ),
    ),
}
LICENCE = "CC BY 4.0 (www.microns-explorer.org/terms-and-conditions)"
CITATIONS = (MICRONS_2025, SCHNEIDER_MIZELL_2025, ELABBADY_2025)
# Neurons of the column: 1,351 with M-types (Schneider-Mizell et al. 2025), 1,355 at version 1718.
PUBLISHED_COLUMN = "1,351 to 1,355"

# What the adapter reads of each table; a header without one of these is refused.
SYNAPSE_COLUMNS = ("pre_pt_root_id", "post_pt_root_id", "size")
PROOFREADING_COLUMNS = ("pt_root_id", "valid_id", "status_axon", "strategy_axon")
CELL_COLUMNS = (
    *("id", "pt_root_id", "broad_type", "cell_type", "mtype"),
    *("pt_position_x", "pt_position_y", "pt_position_z"),
)
COVERAGES = np.array(["none", "partial", "full"], object)  # in growing order


@dataclass(frozen=True, slots=True)
class MicronsRelease:
    """The V1 column as measured: typed neurons, and the synapses of their proofread axons.

    The key of a neuron is its nucleus id, which no proofreading changes. Only proofread axons have
    known outputs: in the other neurons, which stay as targets, ``axon_coverage`` is "none".
    ``coverage="all"`` also keeps outputs of axons that were edited again after their proofreading;
    how far those were followed is unknown, so their ``axon_coverage`` is null.
    """

    name: ClassVar[str] = "microns-release"

    version: int = 1507
    address: str = ""  # another folder with the same files; they must have the same hashes
    column: Column = "auto"
    cell_type_source: str = CELL_TYPE_SOURCE
    prism_width_um: float = PRISM_WIDTH_UM
    coverage: Literal["proofread", "all"] = "proofread"

    @property
    def release(self) -> Release:
        """The files of this version; raises `CompileError` if none are known."""
        if self.version not in RELEASES:
            known = ", ".join(map(str, RELEASES))
            problem = f"there is no known export of version {self.version}"
            raise CompileError("microns-v1", problem, f"known versions: {known}")
        return RELEASES[self.version]

    @property
    def folder(self) -> Path:
        """Where the files of this version are cached."""
        return cache_folder() / f"minnie65-v{self.version}"

    def fetch(self, progress: bool | None = None) -> list[Path]:
        """Return the files, downloaded where the cache lacks them; all are checked by hash."""
        address = self.address or self.release.address
        downloader = Downloader(self.folder, progress=progress)
        files = self.release.files
        return [downloader.fetch(f, f"{address.rstrip('/')}/{f.name}") for f in files]

    def load(self) -> Graph:
        """Download the files if necessary, and read them."""
        self.fetch()
        return self.read()

    def read(self) -> Graph:
        """Read the fetched files: one population, the neurons of the column."""
        release = self.release
        with database() as db:
            cells, steps = self._column(db, release)
            cells, edges, notes = self._connections(db, release, cells)
        options, n_neurons = f'coverage="{self.coverage}"', cells.num_rows
        steps.append(steps[-1].then("read-synapses", options, n_neurons, len(edges.post), notes))
        neurons = Population("neurons", (cells.num_rows,), neuron_table(_neurons(cells)))
        graph = Graph(
            (neurons,),
            (Projection("neurons", "neurons", edges),),
            Provenance(
                dataset="microns-v1",
                version=str(self.version),
                title="V1 column of the MICrONS volume minnie65, mouse visual cortex",
                connectivity=Evidence.MEASURED,
                licence=LICENCE,
                citations=CITATIONS,
                files=tuple(
                    SourceFile(f.name, f.sha256, f.n_bytes, release.address + f.name)
                    for f in release.files
                ),
                steps=tuple(steps),
            ),
        )
        graph.verify()
        return graph

    def _column(
        self, db: duckdb.DuckDBPyConnection, release: Release
    ) -> tuple[pa.Table, list[Step]]:
        """Return the neurons of the column, sorted by nucleus id, and how they were chosen."""
        columns = self._open(db, release.cells, "cells", CELL_COLUMNS)
        self._open(db, release.proofreading, "proofreading", PROOFREADING_COLUMNS)
        where = release.cells.table.name
        root = _whole("pt_root_id")
        others = "".join(f", {identifier(c)}" for c in columns if c not in ("id", "pt_root_id"))
        query = f"SELECT {_whole('id')} AS id, {root} AS pt_root_id{others} FROM cells ORDER BY 1"
        cells = arrow(db, where, query)
        _check_cells(cells, where)
        n = cells.num_rows
        steps = [Step.first("read-cells", f"version={self.version}", n, 0)]

        def choose(name: str, kept: Mask, *notes: str, options: str = "") -> None:
            nonlocal cells
            cells = cells.filter(pa.array(kept))
            steps.append(steps[-1].then(name, options, cells.num_rows, 0, notes))

        roots = _int(cells, "pt_root_id")
        choose(
            "drop-cells-without-segment", roots != 0, f"{(roots == 0).sum():,} cells with root id 0"
        )
        roots = _int(cells, "pt_root_id")
        _, index, times = np.unique(roots, return_inverse=True, return_counts=True)
        single = times[index] == 1
        note = f"{(~single).sum():,} cells share {(times > 1).sum():,} segments: merged neurons"
        choose("drop-merged-cells", single, note)

        sources = _words(cells, "cell_type_source") if "cell_type_source" in columns else None
        position = oriented(
            *(
                _number(cells, f"pt_position_{a}") * um
                for a, um in zip("xyz", VOXEL_UM, strict=True)
            )
        )
        for axis, values in zip("xyz", position, strict=True):
            cells = cells.append_column(f"_{axis}_um", pa.array(values, from_pandas=True))
        inside, how = column_cells(
            where, self.column, sources, self.cell_type_source, position, self.prism_width_um
        )
        options = f'column="{self.column}", cell_type_source="{self.cell_type_source}"'
        everywhere = np.ones(cells.num_rows, np.bool_)
        choose("select-column", everywhere if inside is None else inside, how, options=options)

        kind = kinds(*(_words(cells, c) for c in ("broad_type", "cell_type", "mtype")))
        neuron = np.isin(kind, (Kind.EXCITATORY, Kind.INHIBITORY))
        counts = {
            "non-neurons": kind == Kind.GLIA,
            "neurons of unsure type": kind == Kind.UNSURE,
            "cells without a type": missing(kind),
        }
        notes = [
            f"{c:,} {what}" for what, is_it in counts.items() if (c := np.count_nonzero(is_it))
        ]
        cells = cells.append_column("_class", pa.array(kind, pa.string()))
        e = int(np.count_nonzero(kind == Kind.EXCITATORY))
        notes.append(
            f"{neuron.sum():,} neurons, {e:,} excitatory; published for the column: "
            f"{PUBLISHED_COLUMN}"
        )
        choose("keep-typed-neurons", neuron, *notes)
        if not cells.num_rows:
            raise CompileError(where, "no neuron is left", f"column={self.column!r} selects none")

        roots = _int(cells, "pt_root_id")
        coverage, found = _coverage(db, release.proofreading.table.name, roots)
        cells = cells.append_column("_coverage", pa.array(coverage, pa.string()))
        choose("read-proofreading", np.ones(cells.num_rows, np.bool_), *found)
        return cells, steps

    def _connections(
        self, db: duckdb.DuckDBPyConnection, release: Release, cells: pa.Table
    ) -> tuple[pa.Table, Synapses, list[str]]:
        """Count the synapses of every pair of the column's neurons; return the neurons, and notes.

        Both ends are looked up before the rows are grouped, which is several times faster.
        """
        where = release.synapses.table.name
        types = {"pre_pt_root_id": "BIGINT", "post_pt_root_id": "BIGINT", "size": "BIGINT"}
        self._open(db, release.synapses, "synapses", SYNAPSE_COLUMNS, types)
        index = pa.array(np.arange(cells.num_rows), pa.int32())
        db.register("neurons", pa.table({"root": cells.column("pt_root_id"), "i": index}))
        pairs = arrow(
            db,
            where,
            """SELECT post.i AS post, pre.i AS pre, count(*) AS n, sum(size)::BIGINT AS size,
                      count(*) FILTER (size IS NULL OR size < 0) AS wrong
               FROM synapses s LEFT JOIN neurons pre ON s.pre_pt_root_id = pre.root
                               LEFT JOIN neurons post ON s.post_pt_root_id = post.root
               GROUP BY 1, 2 ORDER BY 1, 2""",
        )
        n_rows = int(pa.compute.sum(pairs.column("n")).as_py())
        _check_rows(where, n_rows, release.synapses.table)
        if wrong := pa.compute.sum(pairs.column("wrong")).as_py():
            raise CompileError(f"{where}, column size", f"{wrong:,} rows have no size of 0 or more")
        joined = pairs.drop_null()
        post, pre, n, size = (joined.column(c).to_numpy() for c in ("post", "pre", "n", "size"))
        edges = Synapses(post, pre, n.astype(np.int32), size=size.astype(np.float64))
        n_inside = int(n.sum())
        notes = [
            f"{n_rows:,} synapses of proofread axons, {n_inside:,} of them within the column",
            f"{(post == pre).sum():,} autapses",
        ]
        coverage = _words(cells, "_coverage")
        if self.coverage == "all":
            # An axon without synapses in the table was not included in it: its outputs are unknown.
            listed = np.zeros(cells.num_rows, np.bool_)
            listed[pairs.column("pre").drop_null().to_numpy()] = True
            coverage, note = believed(coverage, listed)
            place = cells.column_names.index("_coverage")
            cells = cells.set_column(place, "_coverage", pa.array(coverage, pa.string()))
            notes.append(note)
        else:
            known_edge = (coverage != "none")[edges.pre]
            notes.append(
                f"{int(n[~known_edge].sum()):,} synapses of axons without a valid proofreading "
                "status dropped"
            )
            edges = edges.keep(known_edge)
        notes.append(f"{int(edges.weight.sum()):,} synapses in {len(edges.post):,} connections")
        return cells, edges, notes

    def _open(
        self,
        db: duckdb.DuckDBPyConnection,
        file: Published,
        view: str,
        needed: tuple[str, ...],
        types: dict[str, str] | None = None,
    ) -> list[str]:
        """Make a table of the release a view; return its columns, which its header file names."""
        header = self.folder / file.header.name
        with header.open(encoding="utf-8-sig", newline="") as lines:
            columns = [row[0].strip() for row in csv.reader(lines) if row and row[0].strip()]
        lacking = [c for c in needed if c not in columns]
        if lacking or len(set(columns)) < len(columns):
            problem = f"names no column {', '.join(lacking)}" if lacking else "names a column twice"
            raise CompileError(file.header.name, problem, f"it names {', '.join(columns)}")
        kinds_ = {c: (types or {}).get(c, "VARCHAR") for c in columns}
        # A small buffer: gzip is read by one thread, so larger ones only cost memory.
        view_of_text(
            db, view, self.folder / file.table.name, kinds_, ",",
            header=False, zipped=True, buffer_size=4_194_304,
        )  # fmt: skip
        if types is None:  # small tables are counted here, the large one while it is read
            rows = arrow(db, file.table.name, f"SELECT count(*) AS n FROM {view}")
            _check_rows(file.table.name, rows.column("n")[0].as_py(), file.table)
        return columns


def _check_rows(where: str, n_rows: int, file: RemoteFile) -> None:
    if file.n_rows and n_rows != file.n_rows:
        raise CompileError(where, f"{n_rows:,} rows, expected {file.n_rows:,}")


def _whole(column: str) -> str:
    """Return SQL for an integer, null where the text is not one; never rounded."""
    return f"CASE WHEN TRY_CAST({column} AS BIGINT)::VARCHAR = {column} THEN {column}::BIGINT END"


def _check_cells(cells: pa.Table, where: str) -> None:
    """Refuse a table whose columns do not hold what their names say."""
    for column in ("id", "pt_root_id"):
        if n := cells.column(column).null_count:
            raise CompileError(f"{where}, column {column}", f"{n:,} rows have no whole number")
    ids = _int(cells, "id")
    if (twice := np.flatnonzero(np.diff(ids) == 0)).size:
        raise CompileError(f"{where}, column id", f"nucleus {ids[twice[0]]} occurs twice")
    for word in pa.compute.unique(cells.column("broad_type")).to_pylist():
        if word is not None and class_of_word(word) is None:
            known = "expected excitatory, inhibitory, nonneuron"
            raise CompileError(
                f"{where}, column broad_type", f"{word!r} is not a known class", known
            )
    for axis in "xyz":
        column = f"pt_position_{axis}"
        if not np.isfinite(_number(cells, column)).any():
            raise CompileError(f"{where}, column {column}", "holds no numbers")


def _coverage(
    db: duckdb.DuckDBPyConnection, where: str, roots: npt.NDArray[np.int64]
) -> tuple[Words, list[str]]:
    """Return how far the axon of each segment was followed, and notes.

    A row counts only if ``valid_id`` is the current segment: an axon that was edited after its
    proofreading was assessed may have lost branches or gained false ones.
    """
    columns = f"{_whole('pt_root_id')} AS root, {_whole('valid_id')} AS valid"
    table = arrow(db, where, f"SELECT {columns}, status_axon, strategy_axon FROM proofreading")
    for column in ("root", "valid"):
        if n := table.column(column).null_count:
            raise CompileError(f"{where}, column {column}", f"{n:,} rows have no whole number")
    status = np.array(table.column("status_axon").to_pylist(), object)
    for word in set(status.tolist()) - {"t", "f", None}:
        raise CompileError(f"{where}, column status_axon", f"{word!r} must be t or f")
    strategy = np.array(table.column("strategy_axon").to_pylist(), object)
    for word in {w for w in strategy.tolist() if w is not None} - STRATEGIES.keys():
        raise CompileError(f"{where}, column strategy_axon", f"{word!r} is not a known strategy")
    covered = words_of(pa.array(strategy, pa.string()), lambda word: STRATEGIES[word])
    rank = np.select([covered == "full", covered == "none"], [2, 0], 1)
    rank[status != "t"] = 0
    valid = _int(table, "root") == _int(table, "valid")
    known, place = np.unique(roots, return_inverse=True)
    mine = np.searchsorted(known, _int(table, "root")).clip(max=len(known) - 1)
    here = known[mine] == _int(table, "root")
    best = np.zeros(len(known), np.int64)
    np.maximum.at(best, mine[here & valid], rank[here & valid])
    outdated = int((here & ~valid & (rank > 0)).sum())
    coverage: Words = COVERAGES[best[place]]
    counts = ", ".join(f"{np.count_nonzero(coverage == c):,} {c}" for c in COVERAGES)
    notes = [
        f"axons followed: {counts}",
        f"{outdated:,} axons were edited after they were proofread: their coverage counts as none",
    ]
    return coverage, notes


def _neurons(cells: pa.Table) -> dict[str, Any]:
    """Return the columns of the neuron table; those of the release keep their names."""
    types, mtypes = _words(cells, "cell_type"), _words(cells, "mtype")
    made = {
        "neuron_id": cells.column("id"),
        "cell_type": types,
        "cell_class": cells.column("_class"),
        "cortical_layer": layers_told(None, (types, mtypes), _number(cells, "_y_um")),
        "x_um": cells.column("_x_um"),
        "y_um": cells.column("_y_um"),
        "z_um": cells.column("_z_um"),
        "axon_coverage": cells.column("_coverage"),
        "root_id": cells.column("pt_root_id"),
    }
    if "visual_area" in cells.column_names:
        made["region"] = _words(cells, "visual_area")
    used = {"id", "pt_root_id", "visual_area"}
    for name in cells.column_names:
        if name not in used and not name.startswith(("_", "pt_position")) and name not in made:
            made[name] = typed(cells.column(name))
    return made


def _int(cells: pa.Table, column: str) -> npt.NDArray[np.int64]:
    return np.asarray(cells.column(column).to_numpy(), np.int64)


def _number(cells: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """Return a column as numbers, NaN where it is blank; raise `CompileError` at other text."""
    values = cells.column(column).combine_chunks()
    try:
        numbers = values.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise CompileError(f"column {column}", f"holds text: {error}") from error
    return np.asarray(numbers.fill_null(float("nan")).to_numpy(zero_copy_only=False), np.float64)


def _words(cells: pa.Table, column: str) -> Words:
    return words_of(cells.column(column).combine_chunks(), lambda word: word)
