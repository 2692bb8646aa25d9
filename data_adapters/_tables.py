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
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import SourceFile

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
)
COUNT = ("n_syn", "n_synapses", "syn_count", "synapses", "count", "weight")
SIZE = ("sum_size", "size", "cleft_vx", "cleft_size")
SIGN = ("sign", "synapse_sign")

# What a sign is written as, besides numbers; lower case. NaN is how pandas writes a missing number.
SIGN_WORDS: dict[int, tuple[str, ...]] = {
    1: ("+", "excitatory", "exc", "e"),
    -1: ("-", "\u2212", "inhibitory", "inh", "i"),
    0: ("unknown", "unsure", "nan"),
}

CELL_ID = (
    *("nucleus_id", "nuc_id", "target_id", "neuron_id", "cell_id"),
    *("pt_root_id", "root_id", "segment_id", "id"),
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
        spelled = {_plain(c): c for c in reversed(self.columns)}
        return next((spelled[s] for s in synonyms if s in spelled), None)

    def value(self, column: str) -> str:
        """Return SQL for a column: numbers as they are, all else as trimmed text or null."""
        kind = self.columns[column]
        if kind in INTEGERS or kind in FLOATS or kind.startswith("DECIMAL"):
            return identifier(column)
        return f"nullif(trim({identifier(column)}::VARCHAR), '')"

    def number(self, column: str) -> str:
        """Return SQL for a number, exact to 9 decimals, so that sums do not depend on order."""
        return f"TRY_CAST({self.value(column)} AS DECIMAL(38, 9))"

    def key(self, column: str, as_text: bool) -> str:
        """Return SQL for an id as BIGINT or as text; null where it is neither, or not exact."""
        value, kind = self.value(column), self.columns[column]
        if as_text:
            return f"{value}::VARCHAR"
        if kind in INTEGERS:
            return f"TRY_CAST({value} AS BIGINT)"
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
    if twice := sorted({n for n in names if [_plain(m) for m in names].count(_plain(n)) > 1}):
        raise CompileError(f"{path}, line 1", f"column {twice[0]!r} occurs twice")
    return names, delimiter


FETCH_AGAIN = "fetch or copy the file again"


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


def _plain(name: str) -> str:
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
        used = (self.pre, self.post, self.count, self.size, self.sign)
        return [c for c in self.table.columns if c not in used]


@dataclass(frozen=True, slots=True, eq=False)
class Connections:
    """Connections among the neurons that are kept, sorted by post, then pre.

    Arrays of shape ``(n_connections,)``. ``n_rows`` were read; in ``n_dropped_rows`` one end or
    both was a cell that is not kept, in ``n_unknown_rows`` one that the cell table does not have.
    ``size`` is none where the table has none, or lacks it in ``n_rows_without_size``. ``sign`` is
    none where the table has none, and 0 where no row of a pair tells it, or where the rows of a
    pair disagree, as in ``n_sign_conflicts`` pairs. ``n_repeated_rows`` have counts and a pair that
    an earlier row has. ``listed`` are the neurons with any row as pre, whatever its post.
    """

    post: npt.NDArray[np.int32]
    pre: npt.NDArray[np.int32]
    n_synapses: npt.NDArray[np.int32]
    size: npt.NDArray[np.float64] | None
    sign: npt.NDArray[np.int8] | None
    listed: npt.NDArray[np.int32]
    n_rows: int
    n_dropped_rows: int
    n_unknown_rows: int
    n_rows_without_size: int
    n_repeated_rows: int
    n_sign_conflicts: int


def read_connections(
    db: duckdb.DuckDBPyConnection, edges: Edges, codes: str, as_text: bool, drop_unknown: bool
) -> Connections:
    """Count the synapses of every pair of kept neurons.

    ``codes`` is a table of the database with columns ``key`` (an id, unique) and ``code`` (the
    index of a kept neuron, or `DROPPED`). Both ends are looked up before the rows are grouped: that
    is several times faster, and memory is bounded by what is kept instead of what is in the file.
    """
    table, where = edges.table, str(edges.table.path)
    pre, post = table.key(edges.pre, as_text), table.key(edges.post, as_text)
    count = table.number(edges.count) if edges.count else "1"
    good_count = "n >= 1 AND n = floor(n)" if edges.count else "true"
    size = table.number(edges.size) if edges.size else "NULL::DECIMAL(38, 9)"
    given = f"{table.value(edges.size)} IS NOT NULL" if edges.size else "false"
    sign = _sign(table, edges.sign) if edges.sign else "0"
    code = "CASE WHEN {0} IS NULL THEN {1} ELSE coalesce({0}_cell.code, {2}) END"
    sql = f"""
        WITH e AS (SELECT {pre} AS pre, {post} AS post, {count} AS n, {size} AS s, {given} AS given,
                          {sign} AS sign
                   FROM {table.name})
        SELECT {code.format("post", MALFORMED, UNKNOWN)} AS post,
               {code.format("pre", MALFORMED, UNKNOWN)} AS pre,
               count(*) AS n_rows, sum(CASE WHEN {good_count} THEN n ELSE 0 END)::BIGINT AS n,
               sum(s)::DOUBLE AS size, (count(*) FILTER (s IS NULL)) AS no_size,
               (count(*) FILTER (({good_count}) IS NOT TRUE)) AS bad_n,
               (count(*) FILTER (given AND (s IS NULL OR s < 0))) AS bad_s,
               (count(*) FILTER (sign > 0)) AS plus, (count(*) FILTER (sign < 0)) AS minus,
               (count(*) FILTER (sign IS NULL)) AS bad_sign
        FROM e LEFT JOIN {codes} pre_cell ON e.pre = pre_cell.key
               LEFT JOIN {codes} post_cell ON e.post = post_cell.key
        GROUP BY 1, 2 ORDER BY 1, 2"""
    found = arrow(db, where, sql)
    got = {name: found.column(name).to_numpy() for name in found.column_names}
    worst = np.minimum(got["post"], got["pre"])
    rows = {c: int(got["n_rows"][worst == c].sum()) for c in (DROPPED, UNKNOWN, MALFORMED)}

    if rows[MALFORMED]:
        column = edges.pre if np.any(got["pre"] == MALFORMED) else edges.post
        _refuse_id(db, table, column, as_text)
    if rows[UNKNOWN] and not drop_unknown:
        column = edges.pre if np.any(got["pre"] == UNKNOWN) else edges.post
        key = table.key(column, as_text)
        row, value = first_row(db, table, column, f"{key} NOT IN (SELECT key FROM {codes})")
        problem = f"{value} is no cell of the cell table (in {rows[UNKNOWN]:,} rows an end is none)"
        hint = "add the cells, or drop such connections with unknown_neurons=drop"
        raise CompileError(table.at(row, column), problem, hint)
    if got["bad_n"].any() and edges.count:
        wrong = f"({count.join('()')} >= 1 AND {count} = floor({count})) IS NOT TRUE"
        row, value = first_row(db, table, edges.count, wrong)
        problem = f"{value!r} is no number of synapses (a whole number, 1 or more)"
        raise CompileError(table.at(row, edges.count), problem)
    if got["bad_s"].any() and edges.size:
        row, value = first_row(db, table, edges.size, f"{given} AND ({size} >= 0) IS NOT TRUE")
        raise CompileError(table.at(row, edges.size), f"{value!r} is no size (a number, 0 or more)")
    if got["bad_sign"].any() and edges.sign:
        row, value = first_row(db, table, edges.sign, f"{sign} IS NULL")
        hint = "such as 1, -1 and 0, + and -, excitatory and inhibitory; blank where not known"
        raise CompileError(table.at(row, edges.sign), f"{value!r} is no sign", hint)

    kept = worst >= 0
    n_synapses = got["n"][kept]
    if n_synapses.max(initial=0) > np.iinfo(np.int32).max:
        raise CompileError(where, "a connection has more than 2,147,483,647 synapses")
    without = int(got["no_size"][kept].sum()) if edges.size else 0
    has_size = edges.size is not None and without == 0
    plus, minus = got["plus"][kept] > 0, got["minus"][kept] > 0
    return Connections(
        post=got["post"][kept].astype(np.int32),
        pre=got["pre"][kept].astype(np.int32),
        n_synapses=n_synapses.astype(np.int32),
        size=got["size"][kept].astype(np.float64) if has_size else None,
        sign=plus.astype(np.int8) - minus.astype(np.int8) if edges.sign else None,
        listed=np.unique(got["pre"][got["pre"] >= 0]).astype(np.int32),
        n_rows=int(got["n_rows"].sum()),
        n_dropped_rows=rows[DROPPED],
        n_unknown_rows=rows[UNKNOWN],
        n_rows_without_size=without,
        n_repeated_rows=int((got["n_rows"][kept] - 1).sum()) if edges.count else 0,
        n_sign_conflicts=int((plus & minus).sum()),
    )


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
    db: duckdb.DuckDBPyConnection, table: Table, column: str, condition: str
) -> tuple[int, Any]:
    """Return number (from 1) and value of the first row that meets an SQL condition."""
    where = str(table.path)
    query(db, where, "SET preserve_insertion_order=true")
    sql = f"SELECT row_number() OVER () AS place, * FROM {table.name}"
    sql = f"SELECT place, {identifier(column)} FROM ({sql}) WHERE {condition} ORDER BY 1 LIMIT 1"
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


# --- cells ----------------------------------------------------------------------------------------


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
    candidates = [c for c in cells.columns if _plain(c) in CELL_ID or "_id" in _plain(c)]
    if not candidates:
        problem = f"no column of ids among: {', '.join(cells.columns)}"
        raise CompileError(str(cells.path), problem, f"accepted: {', '.join(CELL_ID)}")
    share: dict[str, float] = {}
    texts: dict[str, bool] = {}
    where = str(edges.table.path)
    for column in candidates:
        as_text = texts[column] = ids_are_text(db, cells, column)
        ends = ", ".join(edges.table.key(c, as_text) for c in (edges.pre, edges.post))
        sql = f"""
            WITH sample AS (SELECT unnest([{ends}]) AS key
                            FROM (SELECT * FROM {edges.table.name} LIMIT {SAMPLE_ROWS})),
                 ends AS (SELECT DISTINCT key FROM sample WHERE key IS NOT NULL)
            SELECT avg((key IN (SELECT {cells.key(column, as_text)} FROM {cells.name}))::INTEGER)
            FROM ends"""
        share[column] = query(db, where, sql)[0][0] or 0.0
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
