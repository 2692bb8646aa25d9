"""Open tables of cells and of connections in any format, even if larger than memory.

A file is recognised by its content, a column by its name (`_names`), and errors are reported with
file, row and column. DuckDB reads them: it filters and counts while it reads, within a fixed
amount of memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler import files
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import SourceFile
from connectome_compiler.reading import must_be_file
from connectome_compiler.sources import Data, Place

from ._content import FETCH_AGAIN, HEAD_BYTES, MOST_RATIO, gunzipped, is_gzip
from ._frames import content_of, is_bare, read_frame
from ._names import CHEMICAL, COUNT, ENDS, SIGN, SIZE, squeezed
from ._raw import Locate
from ._readers import TABLES, refuse_other_formats
from ._text import Header, Layout, layout_of, line_of_row, must_be_narrow, opened

MEMORY = "600MB"  # DuckDB's limit; beyond it, it spills to a temporary folder
OFF = ("autoinstall_known_extensions", "autoload_known_extensions", "allow_community_extensions")

INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
INTEGERS |= {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
FLOATS = {"FLOAT", "DOUBLE"}


# --- opening --------------------------------------------------------------------------------------


@contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an empty database in memory that spills to a temporary folder, removed afterwards."""
    with files.scratch(Path(tempfile.gettempdir())) as scratch:
        folder = str(scratch)
        # Nothing is downloaded, and no extension from a home folder is run.
        db = duckdb.connect(config=dict.fromkeys(OFF, False))
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
    path: Place
    columns: dict[str, str]
    layout: Layout | None = None  # of a text: its rows are lines, all its columns text
    is_file: bool = True  # its rows are those of the file, not made from it by a reader
    locate: Locate | None = None  # says where a row stands that a reader made
    decimal: Literal["", "comma", "point"] = ""  # how its texts write the point in numbers
    place: str = ""  # column with the number of each row, where rows were left out or doubled
    text_ids: bool = False  # ids are names, though some of them look like numbers
    unnamed: bool = False  # its columns are called 1, 2, ... since they have no names

    @property
    def is_text(self) -> bool:
        """Whether this is a text, whose rows are lines."""
        return self.layout is not None

    def find(self, *synonyms: str) -> str | None:
        """Return the first column that goes by one of the names, in their order."""
        spelled = {squeezed(c): c for c in reversed(self.columns)}
        return next((spelled[k] for s in synonyms if (k := squeezed(s)) in spelled), None)

    def value(self, column: str) -> str:
        """Return SQL for a column: numbers, true and false as they are, else trimmed text."""
        kind = self.columns[column]
        if kind in INTEGERS | FLOATS | {"BOOLEAN"} or kind.startswith("DECIMAL"):
            return identifier(column)
        return f"nullif(trim({identifier(column)}::VARCHAR), '')"

    def number(self, column: str) -> str:
        """Return SQL for a number, exact to 9 decimals, so that sums do not depend on order."""
        return self._cast(column, "DECIMAL(38, 9)")

    def real(self, column: str) -> str:
        """Return SQL for a number: a whole one as it is, else a float; null where it is none."""
        return self._cast(column, "DOUBLE")

    def _cast(self, column: str, dtype: str) -> str:
        value, kind = self.value(column), self.columns[column]
        if kind in INTEGERS:
            return value
        if kind == "BOOLEAN":  # true is no 1
            return f"NULL::{dtype}"
        cast = f"TRY_CAST({value} AS {dtype})"
        if kind != "VARCHAR":
            return cast
        if self.decimal:
            return self._spelled(value, dtype)
        # DuckDB reads 1_000 as a number, but tables do not use that notation.
        return f"CASE WHEN NOT contains({value}, '_') THEN {cast} END"

    def _spelled(self, value: str, dtype: str) -> str:
        """Return SQL for a number with marks between its thousands, or a decimal comma."""
        point, mark = (",", ".") if self.decimal == "comma" else (".", ",")
        form = rf"[-+]?(\d+|\d{{1,3}}([{mark}]\d{{3}})+)?([{point}]\d*)?([eE][-+]?\d+)?"
        bare = f"replace(replace({value}, {quoted(mark)}, ''), {quoted(point)}, '.')"
        return (
            f"CASE WHEN regexp_full_match({value}, {quoted(form)}) "
            f"THEN TRY_CAST({bare} AS {dtype}) END"
        )

    def key(self, column: str, as_text: bool) -> str:
        """Return SQL for an id as BIGINT or as text; null where it is neither, or inexact."""
        value, kind = self.value(column), self.columns[column]
        if as_text or kind == "BOOLEAN":
            return f"{value}::VARCHAR" if as_text else "NULL::BIGINT"
        if kind in INTEGERS:
            return value if kind == "BIGINT" else f"TRY_CAST({value} AS BIGINT)"
        if kind in FLOATS:  # beyond 2^53 neighbouring integers are the same float
            exact = f"{value} = floor({value}) AND abs({value}) <= 9007199254740992"
            return f"CASE WHEN {exact} THEN {value}::BIGINT END"
        # A cast alone would take 8.6e17 and 1.5.
        return f"CASE WHEN TRY_CAST({value} AS BIGINT)::VARCHAR = {value} THEN {value}::BIGINT END"

    def at(self, row: int, column: str = "") -> str:
        """Return the location of a row: by line in a text file."""
        if self.locate is not None:
            return f"{self.path}, {self.locate(row, column)}"
        if not self.is_file:
            return str(self.path)
        place = f"row {row}"
        if self.layout is not None and not isinstance(self.path, Data):
            place = f"line {line_of_row(self.path, self.layout, row)}"
        return f"{self.path}, {place}" + (f", column {column}" if column else "")


def open_table(
    db: duckdb.DuckDBPyConnection, path: Place, name: str, header: Header = "first"
) -> Table:
    """Make a file, or data in memory, a table of the database; raise `CompileError` if it is none.

    ``header`` is that of `layout_of`.
    """
    if isinstance(path, Data):
        db.register(name, read_frame(path))
        unnamed = header == "none" and is_bare(path)
        return _described(db, Table(name, path, {}, unnamed=unnamed))
    must_be_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror}") from error
    if not head:
        raise CompileError(str(path), "is empty")
    refuse_other_formats(path)
    if head.startswith(b"PAR1"):
        view(db, name, path, "read_parquet")
        return _described(db, Table(name, path, {}))
    if head.startswith(b"ARROW1"):
        db.register(name, _arrow(path))
        return _described(db, Table(name, path, {}))
    layout = layout_of(path, header, f"read are {TABLES}")
    types = dict.fromkeys(layout.columns, "VARCHAR")
    text, n_above = path, layout.n_above
    if layout.rewritten:
        text, n_above = (
            _written(db, path, name, lambda: (s.encode() for s in opened(path, layout))),
            0,
        )
    elif is_gzip(head):
        text = _written(db, path, name, lambda: gunzipped(path))
    view_of_text(
        db, name, text, types, layout.delimiter, header=layout.header, skip=n_above, zipped=False
    )
    if not query(db, str(path), f"SELECT 1 FROM {name} LIMIT 1"):
        raise CompileError(str(path), "is empty: a header and no rows")
    return Table(name, path, types, layout)


def view(
    db: duckdb.DuckDBPyConnection, name: str, path: Path, function: str, options: str = ""
) -> None:
    """Make a file a view of the database, using its content and nothing of its path.

    DuckDB would read a folder called ``weight=99`` as a column, and ``*`` as a pattern.
    """
    source = quoted(re.sub(r"([*?[])", r"[\1]", str(path)))
    sql = f"SELECT * FROM {function}([{source}], hive_partitioning=false{options})"
    query(db, str(path), f"CREATE VIEW {name} AS {sql}")


def view_of_text(
    db: duckdb.DuckDBPyConnection,
    name: str,
    path: Path,
    columns: dict[str, str],
    delimiter: str,
    *,
    header: bool,
    zipped: bool,
    skip: int = 0,
    buffer_size: int | None = None,
) -> None:
    """Make a text of the ``columns``, with their DuckDB types, a view of the database."""
    types = ", ".join(f"{quoted(c)}: {quoted(kind)}" for c, kind in columns.items())
    options = (
        f", columns={{{types}}}, header={header}, skip={skip}, delim={quoted(delimiter)}, "
        f"quote='\"', escape='\"', auto_detect=false, compression='{'gzip' if zipped else 'none'}'"
    )
    if buffer_size is not None:
        options += f", buffer_size={buffer_size}"
    view(db, name, path, "read_csv", options)


def source_file(path: Place) -> SourceFile:
    """Return name, sha256 and size of a file, or of data in memory, that was read."""
    if isinstance(path, Data):
        return content_of(path)
    must_be_file(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return SourceFile(path.name, digest.hexdigest(), file.tell())


def _written(
    db: duckdb.DuckDBPyConnection, path: Path, name: str, pieces: Callable[[], Iterable[bytes]]
) -> Path:
    """Write a text into the temporary folder of the database; raise `CompileError` if damaged.

    DuckDB could read gzip, but does not look at its checksums, and unzips it for every query.
    """
    ((folder,),) = query(db, str(path), "SELECT current_setting('temp_directory')")
    text = Path(folder) / f"{name}.txt"
    most = MOST_RATIO * path.stat().st_size + (1 << 24)
    try:
        with text.open("xb", buffering=0) as out:
            for piece in pieces():
                out.write(piece)
                if out.tell() > most:
                    problem = f"unpacks to more than {most:,} bytes, more than real data do"
                    raise CompileError(str(path), problem, FETCH_AGAIN)
    except OSError as error:
        problem = f"cannot be written into {folder}: {error.strerror or error}"
        hint = "free disk space there, set TMPDIR, or unzip the file yourself"
        raise CompileError(str(path), problem, hint) from error
    return text


def _arrow(path: Path) -> Any:
    import pyarrow.dataset as ds

    try:
        return ds.dataset(path, format="ipc")
    except (pa.ArrowException, OSError) as error:
        raise CompileError(str(path), f"is a broken Arrow file: {error}", FETCH_AGAIN) from error


def _described(db: duckdb.DuckDBPyConnection, table: Table) -> Table:
    """Return a table with its columns; raise `CompileError` if it has no rows."""
    name, where = table.name, str(table.path)
    rows = query(db, where, f"SELECT column_name, column_type FROM (DESCRIBE {name})")
    must_be_narrow(where, len(rows))
    if not query(db, where, f"SELECT 1 FROM {name} LIMIT 1"):
        raise CompileError(where, "is empty: no rows")
    return replace(table, columns=dict(rows))


def registered(
    db: duckdb.DuckDBPyConnection,
    name: str,
    path: Place,
    rows: pa.Table,
    locate: Locate | None = None,
) -> Table:
    """Make what a reader got from ``path`` a table of the database; raise if it has no rows."""
    db.register(name, rows)
    return _described(db, Table(name, path, {}, is_file=False, locate=locate))


def filled_down(
    db: duckdb.DuckDBPyConnection, table: Table, columns: Iterable[str], notes: list[str]
) -> Table:
    """Return a table in which a blank of the ``columns`` repeats the value above it.

    Codex publishes the coordinates of FlyWire's synapses so. Rows are streamed through a file in
    the temporary folder.
    """
    where = str(table.path)
    blank = " OR ".join(f"({table.value(c)}) IS NULL" for c in columns)
    ((n,),) = query(db, where, f"SELECT count(*) FROM {table.name} WHERE {blank}")
    if not n:
        return table
    notes.append(f"{n:,} rows with a blank id, which repeats the row above")
    ((folder,),) = query(db, where, "SELECT current_setting('temp_directory')")
    path = Path(folder) / f"{table.name}.arrow"
    rest = [c for c in table.columns if c not in columns]
    wanted = [*(f"{table.value(c)} AS {identifier(c)}" for c in columns), *map(identifier, rest)]
    above: dict[str, Any] = {}
    with rows_in_order(db, where), translated(where):
        sql = f"SELECT {', '.join(wanted)} FROM {table.name}"
        rows: Any = db.sql(sql).to_arrow_reader(1 << 16)
        with pa.ipc.new_file(path, rows.schema) as out:
            for batch in rows:
                filled = {c: pc.fill_null_forward(batch.column(c)) for c in columns}
                for c in columns:
                    if c in above:
                        filled[c] = pc.if_else(filled[c].is_null(), above[c], filled[c])
                    above[c] = filled[c][-1]
                arrays = [filled.get(c, batch.column(c)) for c in rows.schema.names]
                out.write_batch(pa.record_batch(arrays, schema=rows.schema))
    name = f"{table.name}_filled"
    db.register(name, _arrow(path))
    return replace(_described(db, replace(table, name=name)), layout=table.layout)


def query(db: duckdb.DuckDBPyConnection, where: str, sql: str) -> list[Any]:
    """Run SQL and return its rows; ``where`` names the file in errors."""
    with translated(where):
        return db.execute(sql).fetchall()


def arrow(db: duckdb.DuckDBPyConnection, where: str, sql: str) -> pa.Table:
    """Run SQL and return an Arrow table."""
    with translated(where):
        return db.sql(sql).to_arrow_table()


@contextmanager
def rows_in_order(db: duckdb.DuckDBPyConnection, where: str) -> Iterator[None]:
    """Have queries return rows in the order of the file, which costs time and memory."""
    query(db, where, "SET preserve_insertion_order=true")
    try:
        yield
    finally:
        query(db, where, "SET preserve_insertion_order=false")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Translate DuckDB's errors about a file into our own."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, RuntimeError) as error:  # RuntimeError: of C++
        text = str(error)
        if "gzip" in text.replace(where, "").lower():  # a folder may be called so
            raise CompileError(where, "is a truncated or broken gzip file", FETCH_AGAIN) from error
        if line := re.search(r"CSV Error on Line: (\d+)", text):
            found = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
            problem = f"has {found[2]} values, expected {found[1]}" if found else ""
            if "unicode" in text:
                problem = "is not UTF-8 text"
            if "unterminated quote" in text:
                problem = "has a quote that is never closed"
            problem = problem or " ".join(text.split("\n")[2:3]).strip() or "is not a row"
            hint = "save it as UTF-8" if "unicode" in text else ""
            raise CompileError(f"{where}, line {line[1]}", problem, hint) from error
        if "Out of Memory" in text or "No space left" in text:
            hint = f"free disk space in {tempfile.gettempdir()}"
            raise CompileError(
                where, "too large for memory and the temporary folder", hint
            ) from error
        hint = FETCH_AGAIN if isinstance(error, duckdb.IOException) else ""
        raise CompileError(where, f"cannot be read: {text.splitlines()[0]}", hint) from error


def identifier(name: str) -> str:
    """Quote a column's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


Signed = Literal["", "weight", "none"]


@dataclass(frozen=True, slots=True)
class Edges:
    """A table of connections with the columns that were recognised.

    ``kind`` is a column; without one all rows are of the kind ``every``. ``signed`` says what a
    negative weight is: "weight", an inhibitory one; "none", a number like others; "", not said.
    ``transmitter`` is a column with the transmitter of each row's synapses, or ``scores`` are
    columns of their mean scores, by transmitter.
    """

    table: Table
    pre: str
    post: str
    count: str | None = None  # none: every row is one synapse
    size: str | None = None
    sign: str | None = None
    kind: str | None = None
    every: int = CHEMICAL
    signed: Signed = "none"
    transmitter: str | None = None
    scores: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, db: duckdb.DuckDBPyConnection, path: Place) -> Edges:
        """Open a table of connections; raise `CompileError` if it does not name both ends."""
        table = open_table(db, path, "edges")
        for names in ENDS:
            pre, post = (table.find(n) for n in names)
            if pre is not None and post is not None:
                count, size, sign = (table.find(*names) for names in (COUNT, SIZE, SIGN))
                return cls(table, pre, post, count, size, sign)
        accepted = "; ".join(" and ".join(pair) for pair in ENDS)
        problem = f"no columns for both ends of a connection among: {', '.join(table.columns)}"
        raise CompileError(str(path), problem, f"accepted: {accepted}")

    @property
    def ignored(self) -> list[str]:
        """The columns that are not read, in their order."""
        used = {self.pre, self.post, self.count, self.size, self.sign, self.kind}
        used |= {self.transmitter, *self.scores}
        return [c for c in self.table.columns if c not in used]


def first_row(
    db: duckdb.DuckDBPyConnection, table: Table, column: str, condition: str, skip: int = 0
) -> tuple[int, Any]:
    """Return number (from 1) and value of the first row that meets an SQL condition.

    ``skip`` leaves out that many rows that meet it.
    """
    where = str(table.path)
    place = identifier(table.place) if table.place else "row_number() OVER ()"
    sql = f"SELECT {place} AS place, * FROM {table.name}"
    sql = f"SELECT place, {identifier(column)} FROM ({sql}) WHERE {condition}"
    sql += f" ORDER BY 1 LIMIT 1 OFFSET {skip}"
    with rows_in_order(db, where):
        ((row, value),) = query(db, where, sql)
    return int(row), value


def typed(column: pa.ChunkedArray) -> pa.Array:
    """Convert text to integers, numbers or booleans if all of it allows that.

    Blanks become null. "True" and "False" are as pandas writes them.
    """
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_finite(values), values, None)  # NaN: a missing number
    if not pa.types.is_string(values.type) or values.null_count == len(values):
        return values
    try:
        numbers = values.cast(pa.float64())
    except pa.ArrowInvalid:
        words = set(values.unique().to_pylist()) - {None}
        return values.cast(pa.bool_()) if words <= {"True", "False"} else values
    if pc.any(pc.match_substring_regex(values, r"^0\d")).as_py():
        return values  # a code such as 007
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return pc.if_else(pc.is_finite(numbers), numbers, None)
