"""Tables of cells in several files, joined on the id, and what their columns mean."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.neurons import ROLES
from connectome_compiler.ir.transmitters import canonical, signs_of
from connectome_compiler.sources import Data, Place

from . import _tables
from ._cells import COVERAGE_WORDS, Words, first_known, layer_of_word, missing, words_of
from ._connections import DROPPED
from ._content import UTF16, is_number, unzipped
from ._frames import read_names
from ._ids import ids_are_text, matching_id
from ._names import (
    CELL,
    N_SECTIONS,
    NM_UM,
    POSITION,
    POSITIONS,
    SIGN_WORDS,
    TRANSMITTER,
    VOTES,
    VOXEL_UM,
    plain,
    squeezed,
)
from ._presets import PERSONAL, CellLayout, Preset, cell_layout, role_of
from ._tables import arrow, identifier, rows_in_order, typed

Mask = npt.NDArray[np.bool_]
CellSource = tuple[_tables.Table, str]  # and the column of its ids; empty: to be recognised
Repeated = Literal["error", "first", "drop"]
Keys = npt.NDArray[Any]  # int64, or objects that are text

ROLE = ("role",)
TYPE = ("cell_type", "primary_type", "primary_cell_type", "type")
ROLE_WORDS = {
    **{role: role for role in ROLES},
    **dict.fromkeys(("interneuron", "intrinsic"), "inter"),
    **dict.fromkeys(("motor_neuron", "motoneuron", "motorneuron"), "motor"),
    "sensory_neuron": "sensory",
}

CONSENSUS = ("consensus_nt", "consensusnt")  # combines predictions: blank means unknown


@dataclass(frozen=True, slots=True, eq=False)
class CellFile:
    """One file of cells: its rows with an id, in their order."""

    table: _tables.Table
    key_column: str
    as_text: bool
    layout: CellLayout | None
    key: Keys
    row: npt.NDArray[np.int64]  # number of each row in the file, from 1
    data: pa.Table
    n_without_id: int

    def rows(self) -> Cells:
        """Return one cell per row, with all columns, in the order of the file."""
        columns = {
            name: Column(self.data.column(name).combine_chunks(), self, name)
            for name in self.data.column_names
        }
        return Cells(self.key, self.as_text, columns, (self,), ())

    def without(self, keys: Keys) -> CellFile:
        """Return the file less the rows of some ids."""
        kept = ~np.isin(self.key, keys)
        return replace(
            self, key=self.key[kept], row=self.row[kept], data=self.data.filter(pa.array(kept))
        )

    def repeated(self) -> Keys:
        """Return the ids of several rows."""
        unique, times = np.unique(self.key, return_counts=True)
        return np.asarray(unique[times > 1])

    def refuse_twice(self, kept: Mask | None = None, what: str = "cell") -> None:
        """Raise `CompileError` if a cell that is ``kept`` (none: any) occurs in several rows."""
        unique, first, place, times = np.unique(
            self.key, return_index=True, return_inverse=True, return_counts=True
        )
        twice = times > 1
        if kept is not None:
            twice &= np.bincount(place[kept], minlength=len(unique)) > 0
        if not twice.any():
            return
        k = int(first[twice].min())
        again = int(np.flatnonzero(self.key == self.key[k])[1])
        earlier = self.table.at(int(self.row[k])).split(", ")[-1]
        problem = f"{what} {self.key[k]} occurs twice, first in {earlier}"
        n = int(twice.sum())
        hint = (
            f"{n:,} of {len(unique):,} ids occur more than once: --set repeated_cells=first takes "
            "the first row of each, repeated_cells=drop leaves them out with their connections"
        )
        where = self.table.at(int(self.row[again]), self.key_column)
        raise CompileError(where, problem, hint)


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column of a table of cells, with where it comes from."""

    values: pa.Array  # one per cell
    file: CellFile
    name: str  # in its file

    def where(self, word: str) -> str:
        """Return the location of the first row with ``word``."""
        found = self.file.data.column(self.name).cast(pa.string())
        k = pc.index(found, word).as_py()
        return self.file.table.at(int(self.file.row[k]), self.name)

    def words(self, meaning: Callable[[str], str | None] = str) -> Words:
        """Return what each word means."""
        return words_of(self.values, meaning)

    def numbers(self) -> tuple[pa.Array, Mask]:
        """Return finite numbers, null where there is none, and where text stands in their place."""
        values, wrong = self.values, np.zeros(len(self.values), np.bool_)
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            known = self.words(lambda word: word if is_number(word) else None)
            wrong = np.asarray(values.is_valid()) & missing(known)
            values = pa.array(known, pa.string())
        numbers = values.cast(pa.float64())
        return pc.if_else(pc.is_finite(numbers), numbers, None), wrong


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells with the columns of all their files."""

    key: Keys
    as_text: bool
    columns: dict[str, Column]
    files: tuple[CellFile, ...]
    notes: tuple[str, ...]
    dropped: Keys = field(default_factory=lambda: np.zeros(0, np.int64))  # ids of no neuron

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.key)

    def find(self, *synonyms: str) -> str | None:
        """Return the first column with one of the names, in their order."""
        spelled = {squeezed(c): c for c in reversed(self.columns)}
        return next((spelled[k] for s in synonyms if (k := squeezed(s)) in spelled), None)

    def words(self, *synonyms: str, meaning: Callable[[str], str | None] = str) -> Words | None:
        """Return the meanings of the words in the first such column; none without one."""
        name = self.find(*synonyms)
        return None if name is None else self.columns[name].words(meaning)

    def keep(self, kept: Mask) -> Cells:
        """Return the cells where ``kept`` is true."""
        return self.take(np.flatnonzero(kept))

    def take(self, order: npt.NDArray[np.intp]) -> Cells:
        """Return the cells at these places, in this order."""
        rows = pa.array(order)
        columns = {
            name: replace(column, values=column.values.take(rows))
            for name, column in self.columns.items()
        }
        return replace(self, key=self.key[order], columns=columns)


# --- reading --------------------------------------------------------------------------------------


def read_cells(
    db: duckdb.DuckDBPyConnection,
    tables: Iterable[CellSource],
    edges: _tables.Edges,
    preset: Preset | None,
    repeated: Repeated = "error",
) -> Cells:
    """Read and join tables of cells, sorted by id.

    ``repeated`` says what to do with a cell in several rows of a file; its root id 0 is no cell.
    Raises `CompileError` naming file, row and column.
    """
    files: list[CellFile] = []
    told: list[str] = []
    dropped: list[Keys] = []
    for table, id_column in tables:
        layout = cell_layout(preset, table.columns)
        if named := [c for c in table.columns if plain(c) in PERSONAL]:
            problem = f"names people (column {named[0]}), and is therefore not read"
            hint = "leave the file out; processed_labels of Codex has the labels without the names"
            raise CompileError(str(table.path), problem, hint)
        file = read_file(db, table, edges, layout, id_column, asks=True)
        if are_root_ids(file.key_column) and not file.as_text and (file.key == 0).any():
            n = int((file.key == 0).sum())
            told.append(f"{n:,} rows of {table.path.name} dropped: root id 0 is no cell")
            dropped.append(np.zeros(1, np.int64))
            file = file.without(dropped[-1])
        if repeated == "drop" and len(again := file.repeated()):
            told.append(f"{len(again):,} cells with several rows dropped, with their connections")
            dropped.append(again)
            file = file.without(again)
        if files and file.as_text != files[0].as_text:
            mine, theirs = _ids(file.as_text), _ids(files[0].as_text)
            problem = f"column {file.key_column} holds {mine}, other cell tables {theirs}"
            raise CompileError(str(table.path), problem, "write ids in the same way in all files")
        if repeated != "first" and (layout is None or not layout.repeats):
            file.refuse_twice()
        files.append(file)
    if dropped:  # in one table they are out in all
        none = np.concatenate(dropped)
        files = [file.without(none) for file in files]
    keys = np.unique(np.concatenate([f.key for f in files]))
    columns: dict[str, Column] = {}
    for file in files:
        place = np.searchsorted(keys, file.key)
        row = np.full(len(keys), -1)
        row[place[::-1]] = np.arange(len(place))[::-1]  # the first of several
        index = pa.array(row, mask=row < 0)
        for name in file.data.column_names:
            if name == file.key_column:
                continue
            values = file.data.column(name).combine_chunks().take(index)
            made = name
            while made in columns and not values.equals(columns[made].values):
                made += "_2"
            columns.setdefault(made, Column(values, file, name))
    notes = [*told, *_notes(files, len(keys))]
    none = np.unique(np.concatenate(dropped)) if dropped else keys[:0]
    return Cells(keys, files[0].as_text, columns, tuple(files), tuple(notes), none)


def are_root_ids(column: str) -> bool:
    """Whether a column holds root ids, of which 0 means that nothing was segmented there."""
    return squeezed(column).endswith("rootid")


def _ids(as_text: bool) -> str:
    return "text" if as_text else "whole numbers"


def read_file(
    db: duckdb.DuckDBPyConnection,
    table: _tables.Table,
    edges: _tables.Edges,
    layout: CellLayout | None = None,
    id_column: str = "",
    asks: bool = False,
) -> CellFile:
    """Read a table of cells by the ids that ``edges`` uses; only ids are checked.

    ``id_column`` names theirs, where it is known, and ``asks`` is that of `matching_id`. Raises
    `CompileError` if no column has such ids.
    """
    if id_column:
        key = next((c for c in table.columns if c == id_column), table.find(id_column) or "")
        as_text = ids_are_text(db, table, key)
    elif layout is None:
        key, as_text = matching_id(db, table, edges, asks)
    else:
        key, as_text = layout.cell_id, ids_are_text(db, table, layout.cell_id)
    where = str(table.path)
    # Text is trimmed here: DuckDB's time for so many expressions grows with their square.
    texts = {c for c, kind in table.columns.items() if kind == "VARCHAR"}
    wanted = [
        *(identifier(c) if c in texts else f"{table.value(c)} AS {identifier(c)}"
          for c in table.columns),
        f"{table.key(key, as_text)} AS {identifier(_KEY)}",
    ]  # fmt: skip
    columns: dict[str, pa.ChunkedArray] = {}
    with rows_in_order(db, where):
        for k in range(0, len(wanted), AT_ONCE):
            some = ", ".join(wanted[k : k + AT_ONCE])
            found = arrow(db, where, f"SELECT {some} FROM {table.name}")
            columns.update(zip(found.column_names, found.columns, strict=True))
    data = pa.table({c: _trimmed(v) if c in texts else v for c, v in columns.items()})
    given = data.column(_KEY).is_valid()
    row = np.flatnonzero(np.asarray(given)) + 1
    data = data.filter(given)
    keys, n_lacking = data.column(_KEY).to_numpy(), len(given) - data.num_rows
    return CellFile(table, key, as_text, layout, keys, row, data.drop_columns([_KEY]), n_lacking)


def in_order(
    db: duckdb.DuckDBPyConnection,
    path: Place,
    name: str,
    before: list[CellSource],
    source: str,
) -> CellSource:
    """Read a table whose row k describes neuron k of the source, the first of ``before``."""
    if not before:
        problem = f"order cannot be used with {source}, which has no order of its neurons"
        raise CompileError("table.cell_id", problem, "name the column of their ids")
    own, key = before[0]
    where = str(path)
    with rows_in_order(db, where):
        ids = arrow(db, where, f"SELECT {identifier(key)} FROM {own.name}").column(0)
        table = _tables.open_table(db, path, f"{name}_rows")
        rows = arrow(db, where, f"SELECT * FROM {table.name}")
        if rows.num_rows + 1 == len(ids) and table.layout is not None:  # line 1 is a cell too
            table = _tables.open_table(db, path, f"{name}_lines", "none")
            rows = arrow(db, where, f"SELECT * FROM {table.name}")
            if rows.num_columns == 1:
                rows = rows.rename_columns(["label"])
    if rows.num_rows != len(ids):
        problem = f"has {rows.num_rows:,} rows for {len(ids):,} neurons of {own.path.name}"
        raise CompileError(where, problem, "cell_id=order needs one row per neuron, in their order")
    made = rows.append_column(_ORDER, ids)
    return _tables.registered(db, name, path, made), _ORDER


def read_labels(path: Place, n: int) -> pa.Array:
    """Return the ``n`` names in a list, or in a file, one per line, below a header or not."""
    if isinstance(path, Data):
        names = read_names(path)
        if len(names) != n:
            problem = f"has {len(names):,} names for {n:,} neurons"
            raise CompileError(str(path), problem, "one name for each, in the order of the matrix")
        return names
    with unzipped(path) as file:
        content = file.read(MOST_LABELS + 1)
    if len(content) > MOST_LABELS:
        raise CompileError(str(path), f"has more than {MOST_LABELS:,} bytes")
    try:
        text = content.decode("utf-16" if content[:2] in UTF16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise CompileError(str(path), "is not UTF-8 text", "save it as UTF-8") from error
    rows = [row for row in csv.reader(text.splitlines()) if "".join(row).strip()]
    if wide := [row for row in rows if len(row) > 1]:
        problem = f"has lines of {len(wide[0])} values, not of one name"
        hint = f"give it as a table of cells: --set cells={path.name} --set cell_id=order"
        raise CompileError(str(path), problem, hint)
    names = [row[0].strip() for row in rows]
    if len(names) == n + 1:  # a header
        names = names[1:]
    if len(names) != n:
        problem = f"has {len(names):,} names for {n:,} neurons"
        raise CompileError(str(path), problem, "one name per line, in the order of the matrix")
    return pa.array(names, pa.string())


MOST_LABELS = 1 << 28  # bytes


def _trimmed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts stripped of blanks, null where nothing is left."""
    trimmed = pc.utf8_trim(texts, " ")
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


AT_ONCE = 512  # columns, so that DuckDB's buffers fit its memory
_KEY = "\ue000key"  # no file has a column of this name
_ORDER = "neuron_id"  # the ids that rows get from their order


def register_codes(db: duckdb.DuckDBPyConnection, kept: Keys, dropped: Keys) -> None:
    """Make ``codes`` of the database: the place of each id among the kept, or `DROPPED`."""
    code = np.concatenate([np.arange(len(kept)), np.full(len(dropped), DROPPED)])
    key = pa.array(np.concatenate([kept, dropped]))
    db.register("codes", pa.table({"key": key, "code": pa.array(code, pa.int32())}))


def _notes(files: list[CellFile], n: int) -> list[str]:
    notes = []
    for file in files:
        what = f", {file.layout.what}" if file.layout else ""
        note = f"{file.table.path.name}{what}: {len(file.key):,} rows, ids in {file.key_column}"
        if file.n_without_id:
            note += f"; {file.n_without_id:,} rows without an id dropped"
        if n_repeated := len(file.key) - len(np.unique(file.key)):
            note += f"; {n_repeated:,} additional rows of a cell not used"
        notes.append(note)
        if lacking := n - len(np.unique(file.key)):
            notes.append(f"{lacking:,} cells are not in {file.table.path.name}")
    return notes


# --- what columns mean ----------------------------------------------------------------------------


def neuron_columns(
    cells: Cells,
    preset: Preset | None = None,
    species: str = "",
    votes: Words | None = None,
    votes_where: str = "",
    numbers: Callable[[Column], pa.Array] | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the columns of the neuron table, those of the source last, and notes.

    ``votes`` are transmitters by the neurons' own synapses, or none; ``votes_where`` names their
    file and column in errors. ``numbers`` reads positions, by default with an error at other text.
    """
    made: dict[str, Any] = {"neuron_id": cells.key}
    notes: list[str] = []
    used = set()
    for standard, synonyms, meaning in (
        ("cell_type", TYPE, str),
        ("cell_class", CELL["class"], str),
        ("region", CELL["region"], str),
        ("cortical_layer", CELL["layer"], layer_of_word),
    ):
        if (name := cells.find(*synonyms)) is not None:
            made[standard] = told = cells.columns[name].words(meaning)
            own = cells.columns[name].words()
            if name != standard and meaning is not str and (told != own).any():
                notes.append(f"{standard} from column {name}, which is kept")
                continue  # layers 2 and 3 are both L2/3: the source's words are worth more
            used.add(name)
            if name != standard:
                notes.append(renamed(name, standard))
    for standard, values, name, note in (
        ("role", *_roles(cells, preset)),
        ("axon_coverage", *_known_coverage(cells)),
    ):
        if values is not None:
            made[standard] = values
            notes.append(note)
            used.add(name)
    words, from_where = _transmitters_of(cells, species, votes, votes_where)
    if words is not None:
        made["neurotransmitter"] = words
        notes.append(from_where)
        used.add("neurotransmitter")
    elif species:
        notes.append(f"no table gives the transmitters of this {species}")
    if (name := cells.find("sign")) is not None:
        made["sign"] = signs = _own_signs(cells.columns[name])
        notes.append(f"signs of {cells.n - signs.null_count:,} cells from column {name}")
        used.add("sign")
    position, names, note = _position(cells, preset, numbers or _exact)
    if position is not None:
        made.update(zip(("x_um", "y_um", "z_um"), position, strict=True))
        used.update(names)
        notes.append(note)
    for name, column in cells.columns.items():
        is_key = name == "neuron_id" and column.name == column.file.key_column
        if name in used or is_key:
            continue
        free = name
        while free in made:
            free += "_2"
        made[free] = typed(pa.chunked_array([column.values]))
        if pa.types.is_floating(column.values.type):
            lost = pc.sum(pc.is_inf(column.values)).as_py()
            if lost:
                notes.append(f"{lost:,} infinite values of {name} left out")
    return made, tuple(notes)


def renamed(name: str, standard: str) -> str:
    """Return the note that says how a column was renamed."""
    return f"column {name} is renamed to {standard}"


Found = tuple[Words | None, str, str]  # values, the column they come from, a note


def _roles(cells: Cells, preset: Preset | None) -> Found:
    """Return roles, from their own column or a super class of the fly."""
    if (name := cells.find(*ROLE)) is not None:
        column = cells.columns[name]
        roles = column.words(lambda w: ROLE_WORDS.get(plain(w).replace("-", "_")))
        unknown = ~missing(column.words()) & missing(roles)
        if unknown.any():
            word = column.words()[unknown][0]
            known = f"known: {', '.join(ROLE_WORDS)}"
            problem = f"{word!r} is not a known role"
            hint = f"{known}; rename the column to keep it as it is"
            raise CompileError(column.where(word), problem, hint)
        return roles, name, f"roles from column {name}"
    name = cells.find("super_class", "superclass") if preset and preset.species == "fly" else None
    if name is None:
        return None, "", ""
    column = cells.columns[name]
    roles = column.words(role_of)
    told = int((~missing(roles)).sum())
    # The super class is kept too: it is more specific than the role.
    return roles, "role", f"roles of {told:,} of {cells.n:,} cells from column {name}"


def _known_coverage(cells: Cells) -> Found:
    """Return coverages of ``axon_coverage``, or of a column of CAVE whose words are all known."""
    for name in CELL["coverage"]:
        words = cells.words(name)
        if words is None:
            continue
        unknown = any(w.lower() not in COVERAGE_WORDS for w in words if w is not None)
        if name == "axon_coverage" or not unknown:
            return coverage_of(cells, name)
    return None, "", ""


def coverage_of(cells: Cells, *synonyms: str) -> Found:
    """Return how far each axon was proofread; raise `CompileError` at an unknown word."""
    if (name := cells.find(*synonyms)) is None:
        return None, "", ""
    column = cells.columns[name]
    for word in sorted({w for w in column.words() if w is not None}):
        if word.lower() not in COVERAGE_WORDS:
            problem = f"{word!r} is not a known extent of proofreading"
            raise CompileError(column.where(word), problem, f"known: {', '.join(COVERAGE_WORDS)}")
    return column.words(lambda w: COVERAGE_WORDS[w.lower()]), name, f"axon coverage from {name}"


def _transmitters_of(
    cells: Cells, species: str, votes: Words | None, votes_where: str
) -> tuple[Words | None, str]:
    """Return each cell's transmitter in our spelling, and how many came from each column."""
    known: Words = np.full(cells.n, None, object)
    told = []
    for source in TRANSMITTER:
        if source == VOTES:
            if votes is None:
                continue
            name, words = "the transmitters of the synapses", votes
            place: Callable[[str], str] = lambda word: votes_where  # noqa: E731
        else:
            found = cells.find(source)
            if found is None:
                continue
            name, words = f"column {found}", cells.columns[found].words()
            place = cells.columns[found].where
        if species:
            _must_be_transmitters(words, species, place)
        clean = canonical(pa.array(words, pa.string())).to_pylist()
        before = missing(known)
        known = first_known(known, np.array([*clean, None], object)[:-1])
        told.append(f"{int((before & ~missing(known)).sum()):,} from {name}")
        if source in CONSENSUS:
            break
    if not told:
        return None, ""
    n = int(missing(known).sum())
    return known, f"transmitters: {', '.join(told)}; {n:,} unknown"


def _must_be_transmitters(words: Words, species: str, place: Callable[[str], str]) -> None:
    """Raise `CompileError` at the first word that is not in the table of the species."""
    for word in sorted({w for w in words if w is not None}):
        try:
            signs_of(pa.array([word]), species, "")
        except CompileError as error:
            raise CompileError(place(word), error.problem, error.hint) from error


def _own_signs(column: Column) -> pa.Array:
    meanings = {word: sign for sign, words in SIGN_WORDS.items() for word in words}
    values: dict[str, int | None] = {}
    for word in sorted({w for w in column.words() if w is not None}):
        sign = meanings.get(word.lower())
        if sign is None:
            try:
                sign = {1.0: 1, -1.0: -1, 0.0: 0}[float(word)]
            except (ValueError, KeyError):
                hint = "use 1, -1, +, -, excitatory or inhibitory; blank if unknown"
                raise CompileError(column.where(word), f"{word!r} is not a sign", hint) from None
        values[word] = sign or None
    encoded = column.values.cast(pa.string()).dictionary_encode()
    by_word = pa.array([values[w] for w in encoded.dictionary.to_pylist()], pa.int8())
    return by_word.take(encoded.indices)


Axes = tuple[pa.Array, ...]


def usual_position(
    cells: Cells, numbers: Callable[[Column], pa.Array]
) -> tuple[Axes | None, tuple[str, ...]]:
    """Return positions in um by the usual names of columns, and the names that were found."""
    for synonyms, unit in POSITION:
        found = [cells.find(s) for s in synonyms]
        if all(found):
            names = tuple(str(f) for f in found)
            axes = [numbers(cells.columns[n]) for n in names]
            if unit == VOXEL_UM and (pc.max(axes[2]).as_py() or 0) > N_SECTIONS:
                unit = NM_UM
            return _scaled(axes, unit), names
    if name := cells.find(POSITIONS):  # as CAVE gives it, unless it is asked to split it
        axes = _triples(cells.columns[name])
        unit = NM_UM if (pc.max(axes[2]).as_py() or 0) > N_SECTIONS else VOXEL_UM
        return _scaled(axes, unit), (name,)
    return None, ()


def _position(
    cells: Cells, preset: Preset | None, numbers: Callable[[Column], pa.Array]
) -> tuple[Axes | None, tuple[str, ...], str]:
    """Return positions in um, the columns that they replace, and a note.

    Nothing is returned if the unit is unknown: such columns stay as they are.
    """
    position, names = usual_position(cells, numbers)
    if position is not None:
        return position, names, f"positions from columns {', '.join(names)}"
    for name, column in cells.columns.items():
        layout = column.file.layout
        if preset is None or layout is None or not layout.position:
            continue
        if isinstance(layout.position, str) and column.name == layout.position:
            axes, names = _triples(column), (name,)
        elif column.name == layout.position[0]:
            names = tuple(
                n for axis in layout.position for n, c in cells.columns.items()
                if c.file is column.file and c.name == axis
            )  # fmt: skip
            axes = [numbers(cells.columns[n]) for n in names]
        else:
            continue
        scale = preset.scale(pc.max(axes[2]).as_py() or 0)
        if scale is not None:
            spelled = " x ".join(f"{s * 1000:g}" for s in scale)
            note = f"positions from column {name}, in units of {spelled} nm"
            return _scaled(axes, scale), names, note
    return None, (), ""


def _scaled(axes: list[pa.Array], scale: tuple[float, float, float]) -> Axes:
    return tuple(pc.multiply(axis, unit) for axis, unit in zip(axes, scale, strict=True))


def _exact(column: Column) -> pa.Array:
    """Return a column as finite numbers, null where blank; raise `CompileError` at other text."""
    numbers, wrong = column.numbers()
    if wrong.any():
        word = column.values[int(wrong.argmax())].as_py()
        raise CompileError(column.where(str(word)), f"{word!r} is not a number")
    return numbers


def _triples(column: Column) -> list[pa.Array]:
    """Return the three numbers of texts such as ``[337944 204108 1160]``; null where blank."""
    pattern = r"^[\[({]?\s*(?P<x>-?[\d.]+)[\s,]+(?P<y>-?[\d.]+)[\s,]+(?P<z>-?[\d.]+)\s*[\])}]?$"
    text = column.values.cast(pa.string())
    found = pc.extract_regex(text, pattern)
    bad = pc.and_(text.is_valid(), found.is_null())
    if (k := pc.index(bad, True).as_py()) >= 0:
        word = text[k].as_py()
        raise CompileError(
            column.where(word), f"{word!r} is not a position", "use three numbers: [x y z]"
        )
    return [pc.struct_field(found, axis).cast(pa.float64()) for axis in "xyz"]
