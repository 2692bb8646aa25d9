"""Read tables of cells and of connections, in whatever format they come, larger than memory too.

A file is recognised by its content, a column by its name (the synonyms below), and everything that
is wrong with either is reported with file, row and column. DuckDB does the reading: it filters
and counts while it reads, within a fixed amount of memory.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import SourceFile

from ._content import FETCH_AGAIN

MEMORY = "600MB"  # DuckDB's limit; beyond it, it spills to a temporary folder

# --- the names that columns go by, best first ------------------------------------------------

ENDS = (  # (pre, post)
    ("pre_pt_root_id", "post_pt_root_id"),
    ("pre_root_id", "post_root_id"),
    ("pre_nucleus_id", "post_nucleus_id"),
    ("pre_nuc_id", "post_nuc_id"),
    ("pre_neuron_id", "post_neuron_id"),
    ("pre_id", "post_id"),
    ("id_pre", "id_post"),
    ("pre", "post"),
    ("source", "target"),
    ("from", "to"),
    ("src", "dst"),
    ("src", "tgt"),
    ("origin", "target"),
    ("bodyid_pre", "bodyid_post"),
    ("body_pre", "body_post"),
    ("presynaptic_id", "postsynaptic_id"),
    ("presynaptic", "postsynaptic"),
    ("neuron_1", "neuron_2"),
)
COUNT = (
    *("n_syn", "n_synapses", "syn_count", "synapses", "count", "weight"),
    *("number_of_connections", "nbr"),
)
SIZE = ("sum_size", "size", "cleft_vx", "cleft_size")
SIGN = ("sign", "synapse_sign")

KIND = ("kind", "type", "synclass", "synapse_type")

# What kinds of synapses are written as, lower case, blanks and "-" as "_". The list of Varshney et
# al. (2011, PLoS Comput Biol 7:e1001066) has chemical synapses twice: as sent (S, Sp) and, seen
# from the target, as received (R, Rp).
CHEMICAL, ELECTRICAL, RECEIVED = 0, 1, 2
KIND_WORDS: dict[int, tuple[str, ...]] = {
    CHEMICAL: (
        *("chemical", "chem", "chemical_synapse", "synapse", "generic_cs", "cs"),
        *("s", "sp", "send", "send_joint", "nmj"),
    ),
    ELECTRICAL: (
        *("electrical", "electric", "electrical_synapse", "ej", "gap", "gap_junction"),
        *("gapjunction", "generic_gj", "gj"),
    ),
    RECEIVED: ("r", "rp", "receive", "receive_joint"),
}

# What a sign is written as, besides numbers; lower case. NaN is how pandas writes a missing number.
SIGN_WORDS: dict[int, tuple[str, ...]] = {
    1: ("+", "excitatory", "exc", "e"),
    -1: ("-", "\u2212", "inhibitory", "inh", "i"),
    0: ("unknown", "unsure", "nan"),
}

CELL_ID = (
    *("nucleus_id", "nuc_id", "target_id", "neuron_id", "cell_id"),
    *("pt_root_id", "root_id", "segment_id", "id"),
    *("bodyid", "body", "neuron", "cell", "cell_name", "name"),
)
CELL = {
    "class": ("cell_class", "broad_type", "classification_system", "class", "ei"),
    "type": ("cell_type", "type"),
    "mtype": ("mtype", "m_type"),
    "type_source": ("cell_type_source",),
    "layer": ("cortical_layer", "layer"),
    "region": ("region", "visual_area", "brain_area", "area"),
    "coverage": (
        *("axon_coverage", "axon_strategy", "strategy_axon"),
        *("status_axon", "axon_proofread", "axon_cleaned"),
    ),
}
# Positions, with micrometres per unit along x, y and z. The pt_position of MICrONS is in voxels of
# 4 x 4 x 40 nm; a client that was asked for nanometres writes them under the same name.
VOXEL_UM = (0.004, 0.004, 0.04)
NM_UM = (0.001, 0.001, 0.001)
POSITION: tuple[tuple[tuple[str, str, str], tuple[float, float, float]], ...] = (
    (("x_um", "y_um", "z_um"), (1.0, 1.0, 1.0)),
    (("x_um", "depth_um", "z_um"), (1.0, 1.0, 1.0)),
    (("x_nm", "y_nm", "z_nm"), NM_UM),
    (("soma_x_nm", "soma_y_nm", "soma_z_nm"), NM_UM),
    (("pt_position_x", "pt_position_y", "pt_position_z"), VOXEL_UM),
)
# The volume minnie65 has 27,904 sections, so a larger z cannot be one.
N_SECTIONS = 30_000

INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
INTEGERS |= {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
FLOATS = {"FLOAT", "DOUBLE"}

# What an endpoint of an edge can be, instead of the index of a neuron that is kept.
DROPPED, UNKNOWN, MALFORMED = -1, -2, -3
BELOW = -4  # both ends of the one row that stands for all pairs below a threshold


# --- opening --------------------------------------------------------------------------------------


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty database in memory that spills to a temporary folder, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ccompile-") as folder:
        db = duckdb.connect()
        try:
            db.execute(f"SET memory_limit='{MEMORY}'; SET temp_directory={quoted(folder)}")
            db.execute(f"SET threads={min(4, os.cpu_count() or 1)}")
            db.execute("SET preserve_insertion_order=false; SET enable_progress_bar=false")
            yield db
        finally:
            db.close()


@dataclass(frozen=True, slots=True)
class Table:
    """A file that can be queried: ``name`` in the database, ``columns`` with their DuckDB types."""

    name: str
    path: Path
    columns: dict[str, str]
    is_text: bool  # its rows are lines below a header, all its columns text

    def find(self, *synonyms: str) -> str | None:
        """Return the first column that goes by one of the names, in their order."""
        spelled = {plain(c): c for c in reversed(self.columns)}
        return next((spelled[s] for s in synonyms if s in spelled), None)

    def value(self, column: str) -> str:
        """Return SQL for a column: numbers as they are, all else as trimmed text or null."""
        kind = self.columns[column]
        if kind in INTEGERS or kind in FLOATS or kind.startswith("DECIMAL"):
            return identifier(column)
        return f"nullif(trim({identifier(column)}::VARCHAR), '')"

    def number(self, column: str) -> str:
        """Return SQL for a number, exact to 9 decimals, so that sums do not depend on order."""
        if self.columns[column] in INTEGERS:
            return identifier(column)
        return f"TRY_CAST({self.value(column)} AS DECIMAL(38, 9))"

    def key(self, column: str, as_text: bool) -> str:
        """Return SQL for an id as BIGINT or as text; null where it is neither, or not exact."""
        value, kind = self.value(column), self.columns[column]
        if as_text:
            return f"{value}::VARCHAR"
        if kind in INTEGERS:
            return value if kind == "BIGINT" else f"TRY_CAST({value} AS BIGINT)"
        if kind in FLOATS:  # beyond 2^53 neighbouring integers are the same float
            exact = f"{value} = floor({value}) AND abs({value}) <= 9007199254740992"
            return f"CASE WHEN {exact} THEN {value}::BIGINT END"
        # A cast alone would take 8.6e17 and 1.5.
        return f"CASE WHEN TRY_CAST({value} AS BIGINT)::VARCHAR = {value} THEN {value}::BIGINT END"

    def at(self, row: int, column: str = "") -> str:
        """Return where a row is, as people find it: by line in a text file."""
        place = f"line {row + 1}" if self.is_text else f"row {row}"
        return f"{self.path}, {place}" + (f", column {column}" if column else "")


def open_table(db: duckdb.DuckDBPyConnection, path: str | Path, name: str) -> Table:
    """Make the file at ``path`` a table of the database; raise `CompileError` if it is none."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(65536)
    except FileNotFoundError:
        raise CompileError(str(path), "no such file") from None
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror}") from error
    if not head:
        raise CompileError(str(path), "is empty")
    formats = "CSV, CSV.gz, TSV, Feather (Arrow) and Parquet are read"
    for magic, what in NOT_READ.items():
        if head.startswith(magic):
            raise CompileError(str(path), f"is {what}, not a table that can be read", formats)
    source = quoted(str(path))
    if head.startswith(b"PAR1"):
        query(db, str(path), f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{source}])")
        return _described(db, name, path, is_text=False)
    if head.startswith(b"ARROW1"):
        db.register(name, _arrow(path))
        return _described(db, name, path, is_text=False)
    zipped = head.startswith(b"\x1f\x8b")
    columns, delimiter = _header(path, zipped)
    types = ", ".join(f"{quoted(c)}: 'VARCHAR'" for c in columns)
    sql = (
        f"CREATE VIEW {name} AS SELECT * FROM read_csv([{source}], columns={{{types}}}, "
        f"header=true, delim={quoted(delimiter)}, quote='\"', escape='\"', auto_detect=false, "
        f"compression='{'gzip' if zipped else 'none'}')"
    )
    query(db, str(path), sql)
    table = Table(name, path, dict.fromkeys(columns, "VARCHAR"), is_text=True)
    if not query(db, str(path), f"SELECT 1 FROM {name} LIMIT 1"):
        raise CompileError(str(path), "is empty: a header and no rows")
    return table


# How files begin that people take for tables.
NOT_READ = {
    b"PK\x03\x04": "a zip or Excel file",
    b"FEA1": "a Feather file of the old version 1",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\x89HDF": "an HDF5 file",
    b"SQLite": "an SQLite database",
    b"\x80": "a pickle, which is never opened since it can run code,",
    b"<": "an HTML or XML page, such as a server's error or login page,",
}


def source_file(path: Path) -> SourceFile:
    """Return name, sha256 and size of a file that was read."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SourceFile(path.name, digest, path.stat().st_size)


def _header(path: Path, zipped: bool) -> tuple[list[str], str]:
    """Return the column names of a text table and what stands between them."""
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            head = file.read(65536)
    except (OSError, EOFError) as error:
        raise CompileError(str(path), f"is a broken gzip file: {error}", FETCH_AGAIN) from error
    if b"\x00" in head:
        raise CompileError(str(path), "is not a table: it holds binary data")
    first = head.splitlines()[0] if head.strip() else b""
    try:
        line = first.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CompileError(f"{path}, line 1", "is not UTF-8 text") from error
    if not line.strip():
        problem = "is empty" if not head.strip() else "begins with an empty line, not a header"
        raise CompileError(str(path), problem)
    delimiter = max(",\t;|", key=line.count)
    names = [n.strip() for n in next(csv.reader([line], delimiter=delimiter))]
    if all(re.fullmatch(r"[-+.\deE]*", n) for n in names):
        raise CompileError(
            f"{path}, line 1", f"is no header: {line[:60]!r}", "put the columns' names in line 1"
        )
    names = [n or f"column{k}" for k, n in enumerate(names)]  # pandas writes its index unnamed
    if twice := sorted({n for n in names if [plain(m) for m in names].count(plain(n)) > 1}):
        raise CompileError(f"{path}, line 1", f"column {twice[0]!r} occurs twice")
    return names, delimiter


def _arrow(path: Path) -> Any:
    import pyarrow.dataset as ds

    try:
        return ds.dataset(path, format="ipc")
    except (pa.ArrowException, OSError) as error:
        raise CompileError(str(path), f"is a broken Arrow file: {error}", FETCH_AGAIN) from error


def _described(db: duckdb.DuckDBPyConnection, name: str, path: Path, is_text: bool) -> Table:
    rows = query(db, str(path), f"SELECT column_name, column_type FROM (DESCRIBE {name})")
    table = Table(name, path, dict(rows), is_text)
    if not query(db, str(path), f"SELECT 1 FROM {name} LIMIT 1"):
        raise CompileError(str(path), "is empty: no rows")
    return table


def registered(db: duckdb.DuckDBPyConnection, name: str, path: Path, rows: pa.Table) -> Table:
    """Make what was read from ``path`` a table of the database; raise if it has no rows."""
    db.register(name, rows)
    return _described(db, name, path, is_text=False)


def query(db: duckdb.DuckDBPyConnection, where: str, sql: str) -> list[Any]:
    """Run SQL and return its rows; ``where`` names the file in errors."""
    with translated(where):
        return db.execute(sql).fetchall()


def arrow(db: duckdb.DuckDBPyConnection, where: str, sql: str) -> pa.Table:
    """Run SQL and return an Arrow table."""
    with translated(where):
        return db.sql(sql).to_arrow_table()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what DuckDB says about a file into our own error."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        text = str(error)
        if "GZIP" in text or "gzip" in text:
            raise CompileError(where, "is a truncated or broken gzip file", FETCH_AGAIN) from error
        if line := re.search(r"CSV Error on Line: (\d+)", text):
            found = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
            problem = f"has {found[2]} values, expected {found[1]}" if found else ""
            if "unicode" in text:
                problem = "is not UTF-8 text"
            problem = problem or text.split("\n")[2].strip()
            raise CompileError(f"{where}, line {line[1]}", problem) from error
        if "Out of Memory" in text or "No space left" in text:
            hint = f"free disk space in {tempfile.gettempdir()}"
            raise CompileError(where, "too large for memory and temporary folder", hint) from error
        hint = FETCH_AGAIN if isinstance(error, duckdb.IOException) else ""
        raise CompileError(where, f"cannot be read: {text.splitlines()[0]}", hint) from error


def identifier(name: str) -> str:
    """Quote a column's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def plain(name: str) -> str:
    """Return a column's name as synonyms are spelled: lower case, ``_`` for blanks."""
    return name.strip().lower().replace(" ", "_")


# --- connections ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edges:
    """An edge table with the columns that were recognised."""

    table: Table
    pre: str
    post: str
    count: str | None  # none: every row is one synapse
    size: str | None
    sign: str | None
    kind: str | None = None  # chemical or electrical; none: all chemical

    @classmethod
    def open(cls, db: duckdb.DuckDBPyConnection, path: str | Path) -> Edges:
        """Open an edge table; raise `CompileError` if it does not name both ends."""
        table = open_table(db, path, "edges")
        for names in ENDS:
            pre, post = (table.find(n) for n in names)
            if pre is not None and post is not None:
                rest = (table.find(*names) for names in (COUNT, SIZE, SIGN))
                return cls(table, pre, post, *rest)
        accepted = "; ".join(" and ".join(pair) for pair in ENDS)
        problem = f"no columns for both ends of a connection among: {', '.join(table.columns)}"
        raise CompileError(str(path), problem, f"accepted: {accepted}")

    @property
    def ignored(self) -> list[str]:
        """The columns that nothing is read from, in their order."""
        used = (self.pre, self.post, self.count, self.size, self.sign, self.kind)
        return [c for c in self.table.columns if c not in used]


@dataclass(frozen=True, slots=True, eq=False)
class Connections:
    """Connections among the neurons that are kept, sorted by post, then pre (then kind).

    Arrays of shape ``(n_connections,)``. ``n_rows`` were read; in ``n_dropped_rows`` one end or
    both was a cell that is not kept, in ``n_unknown_rows`` one that the cell table does not have.
    ``weight`` is int32 where it counts synapses, else float64. ``kind`` is `CHEMICAL` or
    `ELECTRICAL`; ``n_received_rows`` were the second mention of a synapse.
    ``size`` is none where the table has none, or lacks it in ``n_rows_without_size``. ``sign`` is
    none where the table has none, and 0 where no row of a pair tells it, or where the rows of a
    pair disagree, as in ``n_sign_conflicts`` pairs. ``n_repeated_rows`` have counts and a pair that
    an earlier row has. ``listed`` are the neurons with any row as pre, whatever its post.
    ``n_below`` pairs, of ``weight_below`` in all, were below the threshold.
    """

    post: npt.NDArray[np.int32]
    pre: npt.NDArray[np.int32]
    weight: npt.NDArray[np.int32] | npt.NDArray[np.float64]
    kind: npt.NDArray[np.int8]
    size: npt.NDArray[np.float64] | None
    sign: npt.NDArray[np.int8] | None
    listed: npt.NDArray[np.int32]
    n_rows: int
    n_dropped_rows: int
    n_unknown_rows: int
    n_received_rows: int
    n_rows_without_size: int
    n_repeated_rows: int
    n_sign_conflicts: int
    n_below: int
    weight_below: float


def read_connections(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    drop_unknown: bool,
    *,
    are_counts: bool = True,
    at_least: float = 0,
    repeated: Literal["sum", "error"] = "sum",
    listed: bool = True,
) -> Connections:
    """Sum the weights of every pair of kept neurons, and keep the pairs of ``at_least`` in size.

    ``codes`` is a table of the database with columns ``key`` (an id, unique) and ``code`` (the
    index of a kept neuron, or `DROPPED`). Both ends are looked up before the rows are grouped: that
    is several times faster, and memory is bounded by what is kept instead of what is in the file.
    Weights are whole numbers of synapses where they ``are_counts``, else real. Without ``listed``,
    which a caller may not need, rows of unknown cells are not even looked at where that is cheaper.
    """
    table, where = edges.table, str(edges.table.path)
    # Text is parsed once only; the number of rows of a binary table is known.
    inner = not listed and not table.is_text
    got = _summed(db, edges, codes, as_text, are_counts, at_least, inner)
    worst = np.minimum(got["post"], got["pre"])
    rows = {c: int(got["n_rows"][worst == c].sum()) for c in (DROPPED, UNKNOWN, MALFORMED)}
    n_rows = int(got["n_rows"].sum())
    if inner:
        ((n_all,),) = query(db, where, f"SELECT count(*) FROM {table.name}")
        if n_all > n_rows:
            rows[MALFORMED] = _malformed(db, edges, as_text)
            rows[UNKNOWN], n_rows = n_all - n_rows, n_all

    if rows[MALFORMED]:
        _refuse_id(db, table, _which_end(db, edges, as_text, "{0} IS NULL"), as_text)
    if rows[UNKNOWN]:
        column = _which_end(db, edges, as_text, f"{{0}} NOT IN (SELECT key FROM {codes})")
        key = table.key(column, as_text)
        missing = f"{key} NOT IN (SELECT key FROM {codes})"
        _refuse_rounded(db, edges, codes, as_text, column, missing)
        if not drop_unknown:
            row, value = first_row(db, table, column, missing)
            some = f"in {rows[UNKNOWN]:,} rows an end is none"
            problem = f"{value} is no cell of the cell table ({some})"
            hint = "add the cells, or drop such connections with unknown_neurons=drop"
            raise CompileError(table.at(row, column), problem, hint)
    if edges.kind and np.any(got["kind"] < 0):
        row, value = first_row(db, table, edges.kind, f"{_kind(table, edges.kind)} < 0")
        known = ", ".join(w for words in KIND_WORDS.values() for w in words)
        problem = f"{value!r} is no kind of synapse"
        raise CompileError(table.at(row, edges.kind), problem, f"known: {known}")
    used = (worst >= DROPPED) | (worst == BELOW)
    if edges.count and got["bad_n"][used].any():
        _refuse_weight(db, edges, are_counts)
    if edges.size and got["bad_s"][used].any():
        size = table.number(edges.size)
        wrong = f"{table.value(edges.size)} IS NOT NULL AND ({size} >= 0) IS NOT TRUE"
        row, value = first_row(db, table, edges.size, wrong)
        raise CompileError(table.at(row, edges.size), f"{value!r} is no size (a number, 0 or more)")
    if edges.sign and got["bad_sign"][used].any():
        row, value = first_row(db, table, edges.sign, f"{_sign(table, edges.sign)} IS NULL")
        hint = "such as 1, -1 and 0, + and -, excitatory and inhibitory; blank where not known"
        raise CompileError(table.at(row, edges.sign), f"{value!r} is no sign", hint)

    kept = (worst >= 0) & (got["kind"] != RECEIVED)
    if repeated == "error" and (got["n_rows"][kept] > 1).any():
        _refuse_repeated(db, edges, codes, as_text, {c: v[kept] for c, v in got.items()})
    weight = got["n"][kept]
    if are_counts and weight.max(initial=0) > np.iinfo(np.int32).max:
        raise CompileError(where, "a connection has more than 2,147,483,647 synapses")
    without = int(got["no_size"][kept].sum())
    has_size = edges.size is not None and without == 0
    plus, minus = got["plus"][kept], got["minus"][kept]
    below = worst == BELOW
    sources = np.unique(got["pre"][got["pre"] >= 0]) if listed else np.empty(0)
    return Connections(
        post=got["post"][kept],
        pre=got["pre"][kept],
        weight=weight.astype(np.int32 if are_counts else np.float64),
        kind=got["kind"][kept].astype(np.int8),
        size=got["size"][kept].astype(np.float64) if has_size else None,
        sign=plus.astype(np.int8) - minus.astype(np.int8) if edges.sign else None,
        listed=sources.astype(np.int32),
        n_rows=n_rows,
        n_dropped_rows=rows[DROPPED],
        n_unknown_rows=rows[UNKNOWN],
        n_received_rows=int(got["n_rows"][(worst >= 0) & (got["kind"] == RECEIVED)].sum()),
        n_rows_without_size=without,
        n_repeated_rows=int((got["n_rows"][kept] - 1).sum()) if edges.count else 0,
        n_sign_conflicts=int((plus & minus).sum()),
        n_below=int(got["pairs"][below].sum()),
        weight_below=float(got["n"][below].sum()),
    )


def _summed(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    are_counts: bool,
    at_least: float,
    inner: bool,
) -> dict[str, npt.NDArray[Any]]:
    """Return one row per pair and kind as arrays, sorted by post, then pre, then kind.

    ``n`` is the summed weight, ``n_rows`` the number of rows, ``bad_n`` whether any has no weight,
    and so on. Where pairs are too weak, one row with ends `BELOW` sums them up; ``pairs`` is how
    many they are. With ``inner`` rows of unknown and malformed ids are left out.
    """
    sql = _grouped(edges, codes, as_text, are_counts, at_least, inner)
    found = arrow(db, str(edges.table.path), sql)
    n = found.num_rows
    got: dict[str, npt.NDArray[Any]] = {
        **{name: np.zeros(n, np.int8) for name in ("kind", "pairs", "no_size")},
        **{name: np.zeros(n, np.bool_) for name in ("bad_n", "bad_s", "bad_sign")},
        **{name: np.zeros(n, np.bool_) for name in ("plus", "minus")},
    }
    for name in found.column_names:
        got[name] = found.column(name).to_numpy()
        found = found.drop_columns([name])  # so that memory holds one column twice, not all
    return {"n": got["n_rows"], **got}


def _grouped(
    edges: Edges, codes: str, as_text: bool, are_counts: bool, at_least: float, inner: bool
) -> str:
    """Return SQL for `_summed`: only what the table has, since each sum costs memory per pair."""
    table = edges.table
    taken = {c: table.key(getattr(edges, c), as_text) for c in ("pre", "post")}
    sums = {"n_rows": "count(*)::UINTEGER"}
    strength = "n_rows"
    if edges.count:
        strength = "n"
        taken["n"] = _weight(table, edges.count)
        good = _good_weight("n", are_counts)
        sums["n"] = f"sum(CASE WHEN {good} THEN n::BIGINT ELSE 0 END)::BIGINT"
        sums["bad_n"] = f"bool_or(({good}) IS NOT TRUE)"
        if not are_counts:  # in one order, since a sum of real numbers depends on it
            sums["n"] = f"coalesce(sum(n ORDER BY n) FILTER ({good}), 0)"
        elif table.columns[edges.count] in INTEGERS:  # the same, several times faster
            sums["n"] = "coalesce(sum(n), 0)::BIGINT"
            sums["bad_n"] = "count(n) < count(*) OR min(n) < 1"
    if edges.size:
        taken["s"] = table.number(edges.size)
        taken["given"] = table.value(edges.size)
        sums["size"] = "sum(s)::DOUBLE"
        sums["no_size"] = "(count(*) - count(s))::UINTEGER"
        sums["bad_s"] = "coalesce(min(s) < 0, false) OR count(given) > count(s)"
    if edges.sign:
        taken["sign"] = _sign(table, edges.sign)
        sums["plus"] = "coalesce(bool_or(sign > 0), false)"
        sums["minus"] = "coalesce(bool_or(sign < 0), false)"
        sums["bad_sign"] = "bool_or(sign IS NULL)"
    if edges.kind:
        taken["kind"] = _kind(table, edges.kind)
    columns = ", ".join(f"{source} AS {name}" for name, source in taken.items())
    values = ", ".join(f"{value} AS {name}" for name, value in sums.items())
    code = f"CASE WHEN {{0}} IS NULL THEN {MALFORMED} ELSE coalesce({{0}}_cell.code, {UNKNOWN}) END"
    code, join = ("{0}_cell.code", "JOIN") if inner else (code, "LEFT JOIN")
    ends = ", ".join(f"{code.format(end)} AS {end}" for end in ("post", "pre"))
    key = "post, pre, kind" if edges.kind else "post, pre"
    grouped = f"""
        SELECT {ends}, {"e.kind AS kind, " if edges.kind else ""} {values}
        FROM (SELECT {columns} FROM {table.name}) e
             {join} {codes} pre_cell ON e.pre = pre_cell.key
             {join} {codes} post_cell ON e.post = post_cell.key
        GROUP BY ALL"""
    if at_least <= (1 if are_counts else 0):
        return f"{grouped} ORDER BY {key}"
    strong = f"least(post, pre) < 0 OR abs({strength}) >= {at_least!r}"
    if edges.kind:
        strong += f" OR kind NOT IN ({CHEMICAL}, {ELECTRICAL})"
    total = {
        "size": "NULL",
        "n": "sum(n)::BIGINT" if are_counts else "sum(n ORDER BY n)",
        **{name: f"sum({name})::UINTEGER" for name in ("n_rows", "no_size")},
    }
    totals = ", ".join(total.get(name, f"bool_or({name})") for name in sums)
    return f"""
        WITH pairs AS MATERIALIZED ({grouped})
        SELECT *, 1::UINTEGER AS pairs FROM pairs WHERE {strong}
        UNION ALL
        SELECT {BELOW}, {BELOW}, {f"{CHEMICAL}::TINYINT, " if edges.kind else ""} {totals},
               count(*)::UINTEGER
        FROM pairs WHERE NOT ({strong}) HAVING count(*) > 0
        ORDER BY {key}"""


def _malformed(db: duckdb.DuckDBPyConnection, edges: Edges, as_text: bool) -> int:
    """Return the number of rows in which an id is missing or none."""
    table = edges.table
    wrong = " OR ".join(f"{table.key(c, as_text)} IS NULL" for c in (edges.pre, edges.post))
    ((n,),) = query(db, str(table.path), f"SELECT count(*) FROM {table.name} WHERE {wrong}")
    return int(n)


def _which_end(db: duckdb.DuckDBPyConnection, edges: Edges, as_text: bool, condition: str) -> str:
    """Return the column, pre or else post, of which any id meets an SQL condition on ``{0}``."""
    table = edges.table
    bad = condition.format(table.key(edges.pre, as_text))
    found = query(db, str(table.path), f"SELECT 1 FROM {table.name} WHERE {bad} LIMIT 1")
    return edges.pre if found else edges.post


def _weight(table: Table, column: str) -> str:
    """Return SQL for a weight: a whole number as it is, all else as a real one or null."""
    value = table.value(column)
    return value if table.columns[column] in INTEGERS else f"TRY_CAST({value} AS DOUBLE)"


def _good_weight(n: str, are_counts: bool) -> str:
    """Return SQL for whether ``n`` is a weight. NaN is larger than all numbers."""
    whole = f"({n} >= 1 AND {n} = floor({n}) AND {n} < 1e15)"
    return whole if are_counts else f"isfinite(({n})::DOUBLE)"


def _refuse_weight(db: duckdb.DuckDBPyConnection, edges: Edges, are_counts: bool) -> None:
    assert edges.count is not None
    table = edges.table
    good = _good_weight(_weight(table, edges.count), are_counts)
    row, value = first_row(db, table, edges.count, f"({good}) IS NOT TRUE")
    place = table.at(row, edges.count)
    if are_counts:
        raise NoCountError(place, f"{value!r} is no number of synapses (a whole number, 1 or more)")
    raise CompileError(place, f"{value!r} is no finite number")


class NoCountError(CompileError):
    """A weight is no number of synapses."""


def _refuse_repeated(
    db: duckdb.DuckDBPyConnection, edges: Edges, codes: str, as_text: bool, pairs: dict[str, Any]
) -> None:
    """Raise `CompileError` naming the first pair that occurs twice, and the row where it does."""
    table = edges.table
    k = int(np.argmax(pairs["n_rows"] > 1))
    ends, same = [], []
    for end in ("pre", "post"):
        sql = f"SELECT key FROM {codes} WHERE code = {pairs[end][k]}"
        ((key,),) = query(db, str(table.path), sql)
        ends.append(key)
        value = quoted(key) if isinstance(key, str) else str(key)
        same.append(f"{table.key(getattr(edges, end), as_text)} = {value}")
    if edges.kind:
        same.append(f"{_kind(table, edges.kind)} = {pairs['kind'][k]}")
    row, _ = first_row(db, table, edges.pre, " AND ".join(same), skip=1)
    n = int((pairs["n_rows"] > 1).sum())
    problem = f"the connection {ends[0]} -> {ends[1]} occurs twice ({n:,} such pairs)"
    raise CompileError(table.at(row), problem, "sum such rows with duplicates=sum")


def _kind(table: Table, column: str) -> str:
    """Return SQL for the kind of a synapse, -1 where the word is none."""
    text = f"regexp_replace(lower({table.value(column)}::VARCHAR), '[ -]+', '_', 'g')"
    words = " ".join(
        f"WHEN {text} IN ({', '.join(map(quoted, known))}) THEN {kind}"
        for kind, known in KIND_WORDS.items()
    )
    return f"(CASE {words} ELSE -1 END)::TINYINT"


def _sign(table: Table, column: str) -> str:
    """Return SQL for a sign: 1, -1, 0 where it is not given, null where it is none."""
    text = f"lower({table.value(column)}::VARCHAR)"
    words = " ".join(
        f"WHEN {text} IN ({', '.join(map(quoted, known))}) THEN {sign}"
        for sign, known in SIGN_WORDS.items()
    )
    number = f"TRY_CAST({text} AS DOUBLE)"
    return (
        f"CASE WHEN {text} IS NULL THEN 0 {words} "
        f"WHEN {number} IN (-1, 0, 1) THEN {number}::TINYINT END"
    )


def first_row(
    db: duckdb.DuckDBPyConnection, table: Table, column: str, condition: str, skip: int = 0
) -> tuple[int, Any]:
    """Return number (from 1) and value of the first row that meets an SQL condition.

    ``skip`` leaves out that many rows that meet it.
    """
    where = str(table.path)
    query(db, where, "SET preserve_insertion_order=true")
    sql = f"SELECT row_number() OVER () AS place, * FROM {table.name}"
    sql = f"SELECT place, {identifier(column)} FROM ({sql}) WHERE {condition}"
    sql += f" ORDER BY 1 LIMIT 1 OFFSET {skip}"
    rows = query(db, where, sql)
    query(db, where, "SET preserve_insertion_order=false")
    row, value = rows[0]
    return int(row), value


def _refuse_id(db: duckdb.DuckDBPyConnection, table: Table, column: str, as_text: bool) -> None:
    row, value = first_row(db, table, column, f"{table.key(column, as_text)} IS NULL")
    if value is None or not str(value).strip():
        raise CompileError(table.at(row, column), "the id is missing")
    if isinstance(value, float) or re.fullmatch(r"[\d.]+([eE]\+?\d+)?", str(value).strip()):
        problem = f"{value} is not an exact id: it was written as a floating-point number"
        raise CompileError(table.at(row, column), problem, "write ids as whole numbers or as text")
    raise CompileError(table.at(row, column), f"{value!r} is not a number, as other ids are")


def how_rounded(ids: npt.NDArray[Any]) -> str:
    """Say by what whole numbers look rounded, if they do.

    Above 2^53 a float holds multiples of 2, 4, ... 128 (near 7.2e17) only; a spreadsheet keeps 15
    digits. Ids that are all such multiples have been one: by chance, at most 1 set in a million is.
    """
    if ids.dtype != np.int64:
        return ""
    big = np.unique(ids[ids > 2**53])
    if not len(big):
        return ""
    spacing = np.spacing(big.astype(np.float64)).astype(np.int64)
    thousands = 10 ** (np.floor(np.log10(big)).astype(np.int64) - 14)
    for unit, what in (
        (thousands, "to 15 digits, as in a spreadsheet"),
        (spacing, "through float64"),
    ):
        if not np.any(big % unit) and np.log2(unit).sum() >= 20:
            return what
    return ""


def refuse_rounded(where: str, ids: npt.NDArray[Any]) -> None:
    """Raise `CompileError` if ids look as if they had been rounded."""
    if how := how_rounded(ids):
        problem = f"ids look rounded {how}: all end like {ids[ids > 2**53][0]}"
        hint = "export them again as whole numbers or text; pandas needs dtype=str or Int64"
        raise CompileError(where, problem, hint)


def _refuse_rounded(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    column: str,
    missing: str,
) -> None:
    """Raise `CompileError` if the ids that no cell has, or those of all cells, look rounded."""
    table = edges.table
    if as_text:
        return
    key = table.key(column, as_text)
    for where, sql in (
        (
            f"{table.path}, column {column}",
            f"SELECT {key} AS key FROM {table.name} WHERE {missing}",
        ),
        ("cell table", f"SELECT key FROM {codes}"),
    ):
        found = arrow(db, str(table.path), f"{sql} LIMIT {SAMPLE_ROWS}")
        refuse_rounded(where, found.column("key").drop_null().to_numpy())


# --- cells ----------------------------------------------------------------------------------------


def ends_are_text(db: duckdb.DuckDBPyConnection, edges: Edges) -> bool:
    """Return whether the ids of the first rows' ends are text; raise if only some of them are."""
    table, numbers, every = edges.table, 0, 0
    head = f"(SELECT * FROM {table.name} LIMIT {SAMPLE_ROWS})"
    for column in (edges.pre, edges.post):
        as_number, as_text = table.key(column, False), table.key(column, True)
        sql = f"SELECT count({as_number}), count({as_text}) FROM {head}"
        ((n_numbers, n_all),) = query(db, str(table.path), sql)
        if table.columns[column] in INTEGERS | FLOATS and n_numbers < n_all:
            _refuse_id(db, table, column, as_text=False)
        rounded = f"regexp_matches({as_text}, {quoted(FLOAT_ID)})"
        if query(db, str(table.path), f"SELECT 1 FROM {head} WHERE {rounded} LIMIT 1"):
            row, value = first_row(db, table, column, rounded)
            problem = f"{value} is not an exact id: it was written as a floating-point number"
            hint = "write ids as whole numbers or as text"
            raise CompileError(table.at(row, column), problem, hint)
        numbers, every = numbers + n_numbers, every + n_all
    if 0 < numbers < every:
        for column in (edges.pre, edges.post):
            condition = f"{table.key(column, False)} IS NULL"
            if query(db, str(table.path), f"SELECT 1 FROM {head} WHERE {condition} LIMIT 1"):
                _refuse_id(db, table, column, as_text=False)
    return numbers == 0


# An id of some program that takes all numbers for floats: 7.2057594e+17, 720575940621039145.0.
FLOAT_ID = r"^\d(\.\d+)?[eE]\+?\d\d$|^\d{16,}\.0*$"


def ids_are_text(db: duckdb.DuckDBPyConnection, table: Table, column: str) -> bool:
    """Return whether the ids of a column are text; raise `CompileError` if only some are."""
    as_number, as_text = table.key(column, False), table.key(column, True)
    sql = f"SELECT count({as_number}), count({as_text}) FROM {table.name}"
    ((n_numbers, n_all),) = query(db, str(table.path), sql)
    if n_numbers == n_all:
        return False
    if n_numbers or table.columns[column] in INTEGERS | FLOATS:
        condition = f"{as_number} IS NULL AND {as_text} IS NOT NULL"
        row, value = first_row(db, table, column, condition)
        _refuse = f"{value!r} is not an exact whole number, as other ids are"
        raise CompileError(table.at(row, column), _refuse, "ids are whole numbers, or all text")
    return True


def matching_id(db: duckdb.DuckDBPyConnection, cells: Table, edges: Edges) -> tuple[str, bool]:
    """Return which column of ``cells`` has the ids that ``edges`` uses, and if they are text.

    Cell tables often have several ids (nucleus, segment, row). The one that contains most of the
    ends of the first rows of ``edges`` is taken; raises `CompileError` if none contains any, or if
    another one contains at least half as many and differs from it.
    """
    candidates = [c for c in cells.columns if plain(c) in CELL_ID or "_id" in plain(c)]
    if not candidates:
        problem = f"no column of ids among: {', '.join(cells.columns)}"
        raise CompileError(str(cells.path), problem, f"accepted: {', '.join(CELL_ID)}")
    share: dict[str, float] = {}
    texts: dict[str, bool] = {}
    where = str(edges.table.path)
    refused: list[CompileError] = []
    for column in tuple(candidates):
        try:
            as_text = texts[column] = ids_are_text(db, cells, column)
        except CompileError as error:  # tells more than that no column matches, if none does
            refused.append(error)
            candidates.remove(column)
            continue
        ends = ", ".join(edges.table.key(c, as_text) for c in (edges.pre, edges.post))
        sql = f"""
            WITH sample AS (SELECT unnest([{ends}]) AS key
                            FROM (SELECT * FROM {edges.table.name} LIMIT {SAMPLE_ROWS})),
                 ends AS (SELECT DISTINCT key FROM sample WHERE key IS NOT NULL)
            SELECT avg((key IN (SELECT {cells.key(column, as_text)} FROM {cells.name}))::INTEGER)
            FROM ends"""
        share[column] = query(db, where, sql)[0][0] or 0.0
    if refused and not any(share.values()):
        raise refused[0]
    best = max(candidates, key=lambda c: share[c])  # the first of equals
    if share[best] == 0:
        ((pre,),) = query(
            db, where, f"SELECT {identifier(edges.pre)} FROM {edges.table.name} LIMIT 1"
        )
        if pre is not None and not all(texts.values()):
            # A wrong id explains itself better than a table that does not fit.
            bad = f"{edges.table.key(edges.pre, False)} IS NULL"
            if query(db, where, f"SELECT 1 FROM {edges.table.name} WHERE {bad} LIMIT 1"):
                _refuse_id(db, edges.table, edges.pre, False)
        key = f"SELECT {edges.table.key(edges.pre, False)} AS key FROM {edges.table.name}"
        sample = arrow(db, where, f"{key} LIMIT {SAMPLE_ROWS}").column("key").drop_null()
        refuse_rounded(f"{where}, column {edges.pre}", sample.to_numpy())
        for column in candidates:
            if not texts[column]:
                key = f"SELECT {cells.key(column, False)} AS key FROM {cells.name}"
                sample = arrow(db, where, f"{key} LIMIT {SAMPLE_ROWS}").column("key").drop_null()
                refuse_rounded(f"{cells.path}, column {column}", sample.to_numpy())
        problem = f"no end of a connection, such as {pre}, is an id of {cells.path}"
        hint = f"its columns of ids are {', '.join(candidates)}; do both files belong together?"
        raise CompileError(where, problem, hint)
    for other in candidates:
        if other != best and share[other] >= share[best] / 2:
            mine, theirs = (cells.key(c, texts[c]) for c in (best, other))
            differs = f"({mine})::VARCHAR IS DISTINCT FROM ({theirs})::VARCHAR"
            if query(db, where, f"SELECT 1 FROM {cells.name} WHERE {differs} LIMIT 1"):
                problem = f"columns {best} and {other} both have ids that {where} uses"
                raise CompileError(str(cells.path), problem, "remove the wrong one")
    return best, texts[best]


SAMPLE_ROWS = 10_000  # of the edge table, to find the column of ids that it uses


def typed(column: pa.ChunkedArray) -> pa.Array:
    """Turn text into whole numbers or numbers where all of it is; blanks into null."""
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(pa.string())
    if not pa.types.is_string(values.type) or values.null_count == len(values):
        return values
    try:
        numbers = values.cast(pa.float64())
    except pa.ArrowInvalid:
        return values
    if pa.compute.any(pa.compute.match_substring_regex(values, r"^0\d")).as_py():
        return values  # a code such as 007
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.compute.if_else(pa.compute.is_finite(numbers), numbers, None)
