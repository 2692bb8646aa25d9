"""The nervous system of Caenorhabditis elegans, from the tables that ship or from cect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
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
from connectome_compiler.passes.assign_signs import AssignSigns
from connectome_compiler.passes.runner import run

from . import _citations as cite
from ._cect import DATA_SETS, ELECTRICAL, DataSet, read_matrices
from ._facts import read_fact

SHIPPED = "cook2019"
SHIPPED_VERSION = "2020-07"  # of the supplement's corrected sheets
KINDS = {
    "neurons": ("neuron",),
    "neurons+muscles": ("neuron", "muscle"),
    "all": ("neuron", "muscle", "other"),
}
SIGNS = ("nt", "fenyves", "none")
LICENCE = "MIT (tables of cect and c302); transmitters of Wang et al. 2024: CC BY 4.0"
FENYVES_LICENCE = "signs of Fenyves et al. 2020: CC BY 4.0"
NATURE = {
    "extrasynaptic": "monoamines and peptides",
    "contact": "contacts",
}
EVIDENCE = {
    "anatomical": Evidence.MEASURED,
    "contact": Evidence.MEASURED,
    "functional": Evidence.MEASURED,
    # Drawn between cells that express a ligand and cells that express its receptor.
    "extrasynaptic": Evidence.PREDICTED,
}
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Celegans:
    """The worm's nervous system, by data set; ``cook2019`` ships, the others need the package cect.

    ``dataset``: ``cook2019`` (hermaphrodite), ``cook2019-male``, ``cook2020-pharynx``,
    ``white-whole``, ``white-n2u``, ``white-jsh``, ``varshney``, ``witvliet1`` to ``witvliet8``,
    ``wang2024``, ``wang2024-male``; contacts: ``brittin2021``, ``yim2024-contacts`` (``-raw``);
    volumes of active zones: ``yim2024`` (``-raw``); extrasynaptic: ``bentley-monoamines``,
    ``bentley-peptides``, ``ripoll-sanchez-short``, ``-mid``, ``-long``; functional: ``randi2023``.

    ``signs``: "nt" gives a neuron the sign of its first fast transmitter (Wang et al. 2024;
    acetylcholine and glutamate +, GABA -, a convention); "fenyves" gives connections the signs that
    Fenyves et al. 2020 predicted from receptors, and falls back to "nt"; "none" gives none.
    Connections without a sign are counted. Extrasynaptic connections and contacts have none;
    responses have their own.

    ``path`` is a wheel of cect or a folder with its files, to read instead of the installed one.
    """

    name: ClassVar[str] = "celegans"

    #: data set of the worm: cook2019 is included, the others need the package cect
    dataset: str = SHIPPED
    cells: Literal["neurons", "neurons+muscles", "all"] = "neurons"  #: which cells become units
    #: signs of neurons by transmitter (nt), of connections by receptors (fenyves), or none
    signs: Literal["nt", "fenyves", "none"] = "nt"
    path: str = ""  #: wheel of cect, or a folder with its files; empty: the installed package

    def __post_init__(self) -> None:
        for field, known in (("dataset", DATA_SETS), ("cells", KINDS), ("signs", SIGNS)):
            if (value := getattr(self, field)) not in known:
                raise UnknownNameError.among(f"{self.name}.{field}", value, known)
        nature = DATA_SETS[self.dataset].nature
        if self.signs == "fenyves" and nature != "anatomical":
            problem = f"its predictions are of synapses, but {self.dataset} is {nature}"
            raise CompileError(f"{self.name}.signs", f"fenyves: {problem}", "use nt or none")

    def load(self) -> Graph:
        """Return one population; raise `CompileError` if the data set is not available."""
        meta = DATA_SETS[self.dataset]
        table, cells_file = _facts("celegans_cells")
        if self.dataset == SHIPPED and not self.path:
            raw = _from_facts(table)
        else:
            raw = _from_cect(self.dataset, meta, self.path)
        cells = _of(raw, table)
        keep = np.isin(cells.column("kind").to_numpy(), KINDS[self.cells])
        if not keep.any():
            raise CompileError(f"{self.name}, {self.dataset}", "has no cells of the requested kind")
        kept = raw.where(keep)
        loops = kept.electrical.loops()
        gaps = kept.electrical.where(~loops)
        own, files, told = self._own_signs(kept, meta)
        read = Step.first(
            "read-connectome", f'dataset="{self.dataset}"', raw.n, raw.n_connections,
            (*raw.notes, *_whole(raw, meta), *_orphans(raw)),
        )  # fmt: skip
        chosen = read.then(
            "keep-cells", f'cells="{self.cells}"', kept.n,
            kept.n_connections - int(loops.sum()), _chosen(raw, kept, cells, keep, meta),
        )  # fmt: skip
        signed = chosen.then(
            "read-signs", f'signs="{self.signs}"', kept.n, chosen.n_connections_after, told
        )

        chemical = Synapses.from_edges(
            kept.chemical.post, kept.chemical.pre, kept.chemical.weight, unit=meta.unit, sign=own
        )
        projections = [Projection("neurons", "neurons", chemical)]
        if gaps.n:
            junctions = Synapses.from_edges(
                gaps.post, gaps.pre, gaps.weight, unit=meta.electrical_unit
            )
            projections.append(Projection("neurons", "neurons", junctions, kind="electrical"))
        graph = Graph(
            (Population("neurons", (kept.n,), _neurons(cells.filter(pa.array(keep)))),),
            tuple(projections),
            Provenance(
                dataset=f"celegans-{self.dataset}",
                version=raw.version,
                title=meta.title,
                connectivity=EVIDENCE[meta.nature],
                signs=Evidence.NONE if own is None else Evidence.PREDICTED,
                licence="; ".join((LICENCE, *((FENYVES_LICENCE,) if files else ()))),
                citations=(
                    meta.citation,
                    *((cite.WANG_2024,) if meta.citation != cite.WANG_2024 else ()),
                    *((cite.FENYVES_2020,) if files else ()),
                    cite.CECT,
                    cite.C302_2018,
                ),
                files=(raw.file, cells_file, *files),
                steps=(read, chosen, *((signed,) if told else ())),
            ),
        )
        has_nt = self.signs != "none" and meta.nature in ("anatomical", "functional")
        return run(graph, (AssignSigns(species="worm"),) if has_nt else ())

    def _own_signs(
        self, kept: _Raw, meta: DataSet
    ) -> tuple[npt.NDArray[np.int8] | None, tuple[SourceFile, ...], list[str]]:
        """Return the signs of single connections, their files, and notes with counts.

        They are in the order of ``kept.chemical``; None where connections have none of their own.
        """
        if self.signs == "none":
            return None, (), ["no signs, as requested"]
        if meta.nature == "functional":
            signs = np.sign(kept.chemical.weight).astype(np.int8)
            note = f"signs of responses: {(signs > 0).sum():,} +, {(signs < 0).sum():,} -"
            return signs, (), [note]
        if meta.nature != "anatomical":
            return None, (), [f"no signs: {NATURE[meta.nature]} have no fast transmitter"]
        if self.signs == "nt":
            return None, (), []
        table, file = _facts("celegans_fenyves2020")
        pre, post = (_codes(kept.names, table.column(end)) for end in ("pre", "post"))
        known = (pre >= 0) & (post >= 0)
        listed = pa.array(post[known].astype(np.int64) * kept.n + pre[known])
        asked = pa.array(kept.chemical.post.astype(np.int64) * kept.n + kept.chemical.pre)
        at = pc.index_in(asked, value_set=listed)
        words = table.column("sign").combine_chunks().filter(pa.array(known)).take(at)
        found = words.fill_null("").to_numpy(zero_copy_only=False)
        signs = (found == "+").astype(np.int8) - (found == "-").astype(np.int8)
        n_found = len(at) - at.null_count
        plus, minus, complex_, none = (
            int((found == w).sum()) for w in ("+", "-", "complex", "none")
        )
        instead = f"{complex_:,} that it calls complex, {none:,} without a prediction"
        notes = [
            f"by Fenyves et al. 2020: {plus:,} connections +, {minus:,} -",
            f"by transmitter instead: {instead}, {at.null_count:,} not listed",
            f"{table.num_rows - n_found:,} of its {table.num_rows:,} connections are not in it",
        ]
        return signs, (file,), notes


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Connections between cells by index; shape ``(n,)``."""

    post: npt.NDArray[np.int32]
    pre: npt.NDArray[np.int32]
    weight: npt.NDArray[Any]

    @property
    def n(self) -> int:
        return len(self.post)

    def loops(self) -> Mask:
        looped: Mask = self.post == self.pre
        return looped

    def where(self, kept: Mask) -> _Edges:
        return _Edges(self.post[kept], self.pre[kept], self.weight[kept])

    def among(self, cells: Mask) -> _Edges:
        """Return the connections among the chosen cells, by their new indices."""
        inside = self.where(cells[self.post] & cells[self.pre])
        place = (np.cumsum(cells) - 1).astype(np.int32)
        return _Edges(place[inside.post], place[inside.pre], inside.weight)


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """A data set as read: its cells, sorted by name, and their connections.

    Electrical connections are listed in both directions, autapses once.
    """

    names: pa.Array
    chemical: _Edges
    electrical: _Edges
    file: SourceFile
    version: str
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return len(self.names)

    @property
    def n_connections(self) -> int:
        return self.chemical.n + self.electrical.n

    def where(self, cells: Mask) -> _Raw:
        edges = self.chemical.among(cells), self.electrical.among(cells)
        return _Raw(self.names.filter(pa.array(cells)), *edges, self.file, self.version, self.notes)


def _facts(name: str) -> tuple[pa.Table, SourceFile]:
    """Return a shipped table as text, blanks null."""
    fact = read_fact(name)
    table = pa.Table.from_pylist(list(fact.rows))
    blank = [pc.if_else(pc.equal(c, ""), None, c).combine_chunks() for c in table.columns]
    return pa.Table.from_arrays(blank, names=table.column_names), fact.file


def _codes(names: pa.Array, words: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Return the index of each word in ``names``, -1 if it is not there."""
    codes = pc.index_in(words, value_set=names).fill_null(-1)
    return np.asarray(codes.to_numpy(), np.int32)


def _from_facts(cells: pa.Table) -> _Raw:
    """Read Cook et al. 2019 as it ships."""
    names = cells.filter(pc.equal(cells.column("cook2019"), "yes")).column("name").combine_chunks()
    table, file = _facts("celegans_cook2019")
    post, pre = (_codes(names, table.column(end)) for end in ("post", "pre"))
    weight = table.column("weight").cast(pa.float64()).to_numpy()
    electrical = np.asarray(pc.equal(table.column("kind"), "electrical"))
    back = electrical & (post != pre)  # each pair is in the table once
    gaps = _Edges(
        np.concatenate([post[electrical], pre[back]]),
        np.concatenate([pre[electrical], post[back]]),
        np.concatenate([weight[electrical], weight[back]]),
    )
    chemical = _Edges(post, pre, weight).where(~electrical)
    return _Raw(names, chemical, gaps, file, SHIPPED_VERSION)


def _from_cect(dataset: str, meta: DataSet, path: str) -> _Raw:
    """Read a file of cect; all classes of chemical connections become one."""
    source = read_matrices(meta.reader, path)
    where = source.file.name
    order = sorted(range(len(source.names)), key=lambda k: source.names[k])
    by_class = {k: m[np.ix_(order, order)] for k, m in source.by_class.items()}
    chemical = [k for k in by_class if k != ELECTRICAL]
    used = [k for k in chemical if k in meta.classes or not meta.classes]
    if not used:
        problem = f"has none of the classes of {dataset}, only {', '.join(by_class) or 'none'}"
        raise CompileError(where, problem, f"expected: {', '.join(meta.classes) or 'any'}")
    notes = []
    if left := [k for k in chemical if k not in used]:
        n = sum(int(np.count_nonzero(by_class[k])) for k in left)
        notes.append(f"{n:,} connections of {', '.join(left)} left out: they are not synaptic")
    stacked = np.stack([by_class[k] for k in used])
    total, times = stacked.sum(axis=0), np.count_nonzero(stacked, axis=0)
    if len(used) > 1:
        counts = ", ".join(f"{k} {int(np.count_nonzero(by_class[k])):,}" for k in used)
        notes.append(f"merged: {counts}; {int((times > 1).sum()):,} pairs are in more than one")
    gaps = by_class.get(ELECTRICAL, np.zeros_like(total))
    if (gaps != gaps.T).any():
        i, j = np.argwhere(gaps != gaps.T)[0]
        names = [source.names[order[k]] for k in (i, j)]
        problem = f"{names[0]} - {names[1]} has {gaps[i, j]:g} one way, {gaps[j, i]:g} the other"
        raise CompileError(f"{where}, {ELECTRICAL}", problem, "a gap junction conducts both ways")
    version = f"cect-{source.version}" if source.version else ""
    return _Raw(
        pa.array([source.names[k] for k in order], pa.string()),
        _nonzero(f"{where}, {', '.join(used)}", total, times > 0, meta.unit),
        _nonzero(f"{where}, {ELECTRICAL}", gaps, gaps != 0, meta.electrical_unit),
        source.file, version, tuple(notes),
    )  # fmt: skip


def _nonzero(where: str, matrix: npt.NDArray[np.float64], present: Mask, unit: str) -> _Edges:
    """Return the entries of a matrix ``[pre, post]``; counts of synapses as whole numbers."""
    pre, post = (index.astype(np.int32) for index in np.nonzero(present))
    weight = matrix[pre, post]
    if unit == "synapses":
        bad = (weight < 1) | (weight != np.floor(weight))
        if bad.any():
            problem = f"{weight[bad][0]:g} is not a synapse count (a whole number of at least 1)"
            raise CompileError(where, problem)
        return _Edges(post, pre, weight.astype(np.int32))
    return _Edges(post, pre, weight)


def _of(raw: _Raw, table: pa.Table) -> pa.Table:
    """Return the rows of the table of cells in the order of ``raw``."""
    rows = pc.index_in(raw.names, value_set=table.column("name").combine_chunks())
    if rows.null_count:
        name = raw.names[pc.index(rows.is_null(), True).as_py()].as_py()
        known = table.column("name").to_pylist()
        raise UnknownNameError.among(f"{raw.file.name}: cell", name, known)
    return table.take(rows)


def _neurons(cells: pa.Table) -> pa.Table:
    """Return the neuron table."""
    return neuron_table(
        {
            "neuron_id": cells.column("name"),
            "cell_type": cells.column("class"),
            "cell_class": cells.column("type"),
            "neurotransmitter": cells.column("transmitters").combine_chunks(),
            "role": cells.column("role"),
            **{k: cells.column(k).cast(pa.float64()) for k in ("x_um", "y_um", "z_um")},
            "side": cells.column("side"),
            "kind": cells.column("kind"),
        }
    )


# --- what was counted -----------------------------------------------------------------------------


def _amount(edges: _Edges, unit: str) -> str:
    return f"{edges.weight.sum():,.10g} {unit}"


def _pairs(edges: _Edges) -> _Edges:
    """Return electrical connections once per pair."""
    return edges.where(edges.pre <= edges.post)


def _whole(raw: _Raw, meta: DataSet) -> Iterator[str]:
    """Count what the data set has, cells of all kinds included."""
    loops = int(raw.chemical.loops().sum())
    what = {"anatomical": "chemical connections", "contact": "contacts, in both directions"}
    yield (
        f"{raw.chemical.n:,} {what.get(meta.nature, 'directed pairs')}, "
        f"{_amount(raw.chemical, meta.unit)}; {loops:,} of a cell with itself"
    )
    if raw.electrical.n:
        pairs = _pairs(raw.electrical)
        yield (
            f"{pairs.n:,} electrical pairs, {_amount(pairs, meta.electrical_unit)}; "
            f"{int(pairs.loops().sum()):,} of a cell with itself"
        )


def _orphans(raw: _Raw) -> Iterator[str]:
    """Count cells without any connection."""
    linked = np.zeros(raw.n, np.bool_)
    for edges in (raw.chemical, raw.electrical):
        linked[edges.post] = linked[edges.pre] = True
    if not linked.all():
        yield f"{int((~linked).sum()):,} cells without any connection"


def _chosen(raw: _Raw, kept: _Raw, cells: pa.Table, keep: Mask, meta: DataSet) -> Iterator[str]:
    """Count what was kept and what was dropped."""
    kinds = cells.column("kind").to_numpy()
    nouns = {"neuron": "neurons", "muscle": "muscles", "other": "other cells"}
    for verb, mask in (("kept", keep), ("dropped", ~keep)):
        counts = {noun: int((mask & (kinds == kind)).sum()) for kind, noun in nouns.items()}
        if mask.any():
            yield f"{verb}: " + ", ".join(f"{n:,} {noun}" for noun, n in counts.items() if n)
    yield (
        f"{kept.chemical.n:,} connections kept, {_amount(kept.chemical, meta.unit)}; "
        f"{raw.chemical.n - kept.chemical.n:,} from or to other cells dropped"
    )
    if raw.electrical.n:
        pairs, before = _pairs(kept.electrical), _pairs(raw.electrical)
        between = pairs.where(~pairs.loops())
        yield (
            f"{between.n:,} electrical pairs kept, {_amount(between, meta.electrical_unit)}; "
            f"{before.n - pairs.n:,} from or to other cells dropped; {pairs.n - between.n:,} of a "
            "cell with itself dropped: no current flows"
        )
