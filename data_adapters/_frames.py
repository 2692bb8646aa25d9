"""Frames in memory as Arrow tables, of any library; which form data have, and a hash of them.

A frame becomes one table without a copy, where its library holds its columns as Arrow does; only
what DuckDB cannot read is converted, and what has no meaning in a table is refused by its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import SourceFile
from connectome_compiler.sources import MEMORY, Data, Place

from ._names import CELL_ID, plain

if TYPE_CHECKING:
    import pandas as pd

# What a column of several types may hold: it becomes text, as CSV has it.
SCALARS = (str, int, float, Decimal, np.integer, np.floating, np.bool_)
UNNAMED = "column0"  # an index without a name, as the first column of a CSV file without one
SAMPLE = 10_000  # names of rows, to see whether they are those of columns
NUMBERS = ("min_weight",)  # options that are numbers
MOST_PLAIN = 3  # columns: a square frame of numbers without names may be a list of connections
COLUMNS = '["pre", "post", "weight"]'


def _refused(data: Data, column: str, problem: str, hint: str) -> CompileError:
    return CompileError(f"{data}, column {column}", problem, hint)


# --- reading --------------------------------------------------------------------------------------


def shape_of(
    data: Data, called_matrix: bool = False
) -> Literal["list", "array", "matrix", "network"]:
    """Return which form data have; ``called_matrix`` where an option says so of numbers alone."""
    if data.kind == "networkx graph":
        return "network"
    if data.kind in ("numpy array", "scipy sparse matrix"):
        return "list" if data.value.dtype.names else "array"
    is_frame = data.kind == "pandas frame" and data.option == "edges"
    return "matrix" if is_frame and _is_matrix(data.value, called_matrix) else "list"


def is_bare(place: Place) -> bool:
    """Whether columns have no names of their own: of a file, its text says so itself."""
    if not isinstance(place, Data):
        return True
    return place.kind == "pandas frame" and _is_range(place.value.columns)


def in_python(hint: str) -> str:
    """Spell the options in a hint as a call in Python does."""
    called = re.sub(r'--set (\w+)=("[^"]*"|[^\s,]+)', _argument, hint)
    return re.sub(r'("|\d) (?=\w+=["\d])', r"\1, ", called)


def _argument(found: re.Match[str]) -> str:
    name, value = found[1], found[2].strip('"')
    return f"{name}={value}" if name in NUMBERS else f'{name}="{value}"'


def square_in_memory(data: Data) -> list[list[str]]:
    """Return the rows of a frame without names that could be a list or a matrix; else none."""
    if data.kind != "pandas frame" or not is_unnamed(data.value):
        return []
    rows = data.value.to_numpy().tolist()
    square = 2 <= len(rows) == len(rows[0]) <= MOST_PLAIN
    sure = not square or any(row[-1] in (0, None) or row[-1] != row[-1] for row in rows)
    return [] if sure else [[str(x) for x in row] for row in rows]


def read_frame(data: Data) -> pa.Table:
    """Return a frame as a table, its columns under their names; raise `CompileError`."""
    table = table_of(data)
    data.learnt["file"] = fingerprint(table)
    return table


def read_names(data: Data) -> pa.Array:
    """Return a list of names, series or array as text; raise `CompileError` if it is none."""
    names = pa.array(["" if name is None else str(name).strip() for name in names_of(data)])
    data.learnt["file"] = fingerprint(pa.table({"name": names}))
    return pa.compute.if_else(pc.equal(names, ""), None, names)


def content_of(data: Data) -> SourceFile:
    """Return name, hash and size of data that were read."""
    found: SourceFile = data.learnt["file"]
    return found


def _is_matrix(frame: pd.DataFrame, called_matrix: bool) -> bool:
    """Whether a frame is a matrix: numbers, and its index has names of its columns.

    Without names it has to be square, and too wide for a list of connections.
    """
    if frame.columns.nlevels > 1 or frame.index.nlevels > 1 or frame.empty:
        return False
    if not all(kind.kind in "iufb" for kind in frame.dtypes):
        return False
    if is_unnamed(frame):
        wide = bool(frame.shape[1] > MOST_PLAIN)
        return frame.shape[0] == frame.shape[1] and (wide or called_matrix)
    return not set(labels_of(frame.columns)).isdisjoint(labels_of(frame.index[:SAMPLE]))


def is_unnamed(frame: pd.DataFrame) -> bool:
    """Whether rows and columns have numbers for names, as pandas counts them."""
    return _is_range(frame.columns) and frame.index.nlevels == 1 and _is_range(frame.index)


def labels_of(axis: Any) -> list[str]:
    return [str(name).strip() for name in axis]


# --- frames ---------------------------------------------------------------------------------------


def table_of(data: Data) -> pa.Table:
    """Return a frame as a table, its columns under their names; raise `CompileError`."""
    value = data.value
    if data.kind == "pandas frame":
        columns = _of_pandas(data, value)
    elif data.kind == "polars frame":
        columns = _of_polars(data, value)
    elif data.kind == "numpy array" and value.dtype.names:
        columns = ((name, _array(data, name, value[name])) for name in value.dtype.names)
    elif hasattr(value, "__arrow_c_stream__") and "series" not in data.kind:
        columns = _of_arrow(data, value)
    else:
        raise _no_frame(data)
    return _table(data, columns)


def _table(data: Data, columns: Iterable[tuple[str, pa.ChunkedArray]]) -> pa.Table:
    names, arrays = [], []
    seen: dict[str, str] = {}
    for name, array in columns:
        if (other := seen.setdefault(plain(name), name)) != name or name in names:
            spelled = name if other == name else f"{other} and {name}"
            raise _refused(data, spelled, "occurs twice", "rename one of them, or drop it")
        names.append(name)
        arrays.append(_readable(data, name, array))
    if not names:
        raise CompileError(str(data), "has no columns")
    return pa.table(arrays, names)


def _no_frame(data: Data) -> CompileError:
    hint = {
        "pandas series": 'make it a frame: series.reset_index(name="weight")',
        "pandas index": "make it a frame: index.to_frame(index=False)",
        "polars series": "make it a frame: series.to_frame()",
        "polars lazy frame": "collect it first: frame.collect()",
        "list": f"make it a frame: pandas.DataFrame(rows, columns={COLUMNS})",
        "numpy array": f"make it a frame: pandas.DataFrame(array, columns={COLUMNS})",
    }.get(data.kind, "give a frame, one row each")
    return CompileError(str(data), "is not a table with named columns", hint)


def _of_arrow(data: Data, value: Any) -> Iterator[tuple[str, pa.ChunkedArray]]:
    try:
        table = value if isinstance(value, pa.Table) else data.learnt.get("table")
        if table is None:
            table = pa.table(value)
        if data.shape is None:  # a stream can be read once
            data.learnt["table"] = table
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise CompileError(str(data), f"cannot be read: {_line(error)}") from error
    return zip(table.column_names, table.columns, strict=True)


def _of_polars(data: Data, frame: Any) -> Iterator[tuple[str, pa.ChunkedArray]]:
    for series in frame.iter_columns():
        if str(series.dtype) == "Object":
            raise _refused(data, series.name, "holds Python objects", _drop(series.name, "polars"))
        try:
            yield series.name, pa.chunked_array(series)
        except pa.ArrowException as error:
            problem = f"is of type {series.dtype}, which Arrow does not have"
            raise _refused(data, series.name, problem, "cast it to Int64 or String") from error
        except OSError as error:  # polars 1 hands on categories and times under another type
            problem = f"is of type {series.dtype}, which this version of polars hands on wrongly"
            hint = "cast it to Int64 or String, or install a later polars"
            raise _refused(data, series.name, problem, hint) from error


def _of_pandas(data: Data, frame: pd.DataFrame) -> Iterator[tuple[str, pa.ChunkedArray]]:
    if frame.columns.nlevels > 1:
        problem = f"has names of columns in {frame.columns.nlevels} levels"
        raise CompileError(str(data), problem, f"give each one name: frame.columns = {COLUMNS}")
    names = [str(name) for name in frame.columns]
    if _is_range(frame.columns):
        names = [str(k + 1) for k in range(len(names))]  # as those of a list without a header
    yield from _of_index(data, frame, names)
    for k, name in enumerate(names):
        yield name, _array(data, name, frame.iloc[:, k])


def _of_index(
    data: Data, frame: pd.DataFrame, names: list[str]
) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield the levels of an index that are columns: with a name, of text, or of ids.

    An index of numbers without a name counts rows; it stands for the ids of cells only where no
    column could.
    """
    ids = any(plain(name) in CELL_ID or "_id" in plain(name) for name in names)
    for k in range(frame.index.nlevels):
        level = frame.index.get_level_values(k)
        if level.name is None:
            counts = level.dtype.kind in "iu"
            if counts and (ids or not data.option.startswith("cells") or _is_range(level)):
                continue
        name = (f"{UNNAMED[:-1]}{k}") if level.name is None else str(level.name)
        if name in names and level.equals(_index_of(frame, names, name)):
            continue  # set_index(drop=False)
        yield name, _array(data, name, level.to_series())


def _index_of(frame: pd.DataFrame, names: list[str], name: str) -> Any:
    import pandas as pd

    return pd.Index(frame.iloc[:, names.index(name)])


def _is_range(labels: Any) -> bool:
    """Whether labels are the numbers of rows, as pandas makes them."""
    return labels.dtype.kind in "iu" and bool((labels == np.arange(len(labels))).all())


def _array(data: Data, name: str, values: Any) -> pa.ChunkedArray:
    """Return values of numpy or pandas as Arrow holds them; missing ones are null."""
    kind = getattr(values.dtype, "kind", "O")
    if hasattr(values, "sparse"):
        values = values.sparse.to_dense()
    if str(values.dtype).startswith(("period", "interval")):
        values = values.astype(str)
    if np.ndim(values) != 1:
        raise _refused(data, name, "has several numbers in a row", "give it a column each")
    try:
        found = pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        if kind != "O":
            problem = f"holds numbers of type {values.dtype}"
            raise _refused(data, name, problem, _drop(name)) from error
        found = _mixed(data, name, values)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _mixed(data: Data, name: str, values: Any) -> pa.Array:
    """Return text and numbers of one column as text, as a file would have them."""
    import pandas as pd

    texts = []
    for k, value in enumerate(values):
        missing = value is None or (np.ndim(value) == 0 and pd.isna(value) is True)
        if not missing and not isinstance(value, SCALARS):
            problem = f"holds a value of type {type(value).__name__} in row {k + 1}"
            raise _refused(data, name, problem, _drop(name))
        texts.append(None if missing else str(value))
    return pa.array(texts, pa.string())


def _drop(name: str, library: str = "pandas") -> str:
    spelled = f"[{name!r}]" if library == "polars" else f"columns={name!r}"
    return f"make it text or numbers, or drop it: frame.drop({spelled})"


def _readable(data: Data, name: str, array: Any) -> pa.ChunkedArray:
    """Return a column of a type that DuckDB reads; raise `CompileError` for others."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        array = pa.chunked_array([chunk.storage for chunk in array.chunks], kind.storage_type)
        kind = array.type
    if pa.types.is_float16(kind):
        return array.cast(pa.float32())
    if pa.types.is_decimal256(kind):
        return array.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return array.cast(pa.string())
        except pa.ArrowException as error:
            raise _refused(data, name, "holds bytes that are not text", _drop(name)) from error
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_union(kind):
        raise _refused(data, name, f"holds values of type {kind}", _drop(name))
    return array


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


# --- names ----------------------------------------------------------------------------------------


def names_of(data: Data) -> list[str | int]:
    """Return a list, series or array of names; raise `CompileError` if it is not one."""
    values = data.value
    if isinstance(values, list):
        wrong = [k for k, name in enumerate(values) if not isinstance(name, str | int | np.integer)]
        if wrong:
            found = type(values[wrong[0]]).__name__
            raise CompileError(f"{data}, item {wrong[0] + 1}", f"is a {found}, not a name")
        return [name if isinstance(name, str) else int(name) for name in values]
    if data.kind == "pyarrow array":
        return names_of(replace(data, value=values.to_pylist()))
    if np.ndim(values) != 1 or not hasattr(values, "dtype"):
        raise CompileError(str(data), "is not a list of names", "give one name for each neuron")
    return names_of(replace(data, value=_array(data, "names", values).to_pylist()))


# --- hashes ---------------------------------------------------------------------------------------


def fingerprint(*tables: pa.Table) -> SourceFile:
    """Return a hash of the content of tables: equal data have one, whatever library holds them.

    It covers the names of columns, in order, and their values: numbers by value, not by type; text,
    times and lists as such. A missing value is one, however it is spelled.
    """
    jobs = [
        (f"{k} {name} {table.num_rows}", table.column(c))
        for k, table in enumerate(tables)
        for c, name in enumerate(table.column_names)
    ]
    with ThreadPoolExecutor(2) as pool:  # hashing does not hold the interpreter
        hashed = list(pool.map(lambda job: _hashed(*job), jobs))
    whole = hashlib.sha256(b"".join(digest for digest, _ in hashed))
    return SourceFile(MEMORY, whole.hexdigest(), sum(n for _, n in hashed))


def _hashed(head: str, column: pa.ChunkedArray) -> tuple[bytes, int]:
    """Return hash and size of a column in its canonical form."""
    digest, n = hashlib.sha256(head.encode()), 0
    for part in _canonical(column):
        digest.update(part)
        n += len(part)
    return digest.digest(), n


def _canonical(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    """Yield a column as bytes that depend on its values alone, each kind under its name."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        words = [chunk.dictionary.cast(pa.large_string()) if _is_text(kind.value_type)
                 else chunk.dictionary for chunk in column.chunks]  # fmt: skip
        parts = [w.take(chunk.indices) for w, chunk in zip(words, column.chunks, strict=True)]
        column = pa.chunked_array(parts)
        kind = column.type
    if pa.types.is_floating(kind):
        column = _without_nan(column)
    yield _bits(column)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        yield b"bool"
        yield _bytes(column.cast(pa.uint8()))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        yield from _numbers(column)
    elif _is_list(kind):
        yield b"list"
        lengths = pc.list_value_length(column)
        yield from _numbers(lengths)
        yield from _canonical(pc.list_flatten(column))
    elif pa.types.is_struct(kind):
        for k in range(kind.num_fields):
            yield kind.field(k).name.encode()
            yield from _canonical(pc.struct_field(column, [k]))
    elif pa.types.is_timestamp(kind):
        yield f"time {kind.tz or ''}".encode()
        yield _bytes(column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()))
    else:
        yield b"text"
        yield from _texts(column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    wrong = pc.is_nan(column)
    return pc.if_else(wrong, None, column) if pc.any(wrong).as_py() else column


def _numbers(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    """Yield numbers in the narrowest type that holds all of them: 1 and 1.0 are the same."""
    if pa.types.is_floating(column.type):
        whole = column.cast(pa.float64())
        try:
            column = whole.cast(pa.int64())
        except pa.ArrowInvalid:
            yield b"real"
            yield _bytes(whole)
            return
    ends = pc.min_max(column).as_py()
    low, high = ends["min"] or 0, ends["max"] or 0
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint64()):
        bits = kind.bit_width - pa.types.is_signed_integer(kind)
        if high < 2**bits and low >= -(2**bits if pa.types.is_signed_integer(kind) else 0):
            break
    yield str(kind).encode()
    yield _bytes(column.cast(kind))


def _bits(column: pa.ChunkedArray) -> bytes:
    """Return which values are given: a bit each, or nothing if all are."""
    if not column.null_count:
        return b""
    return np.packbits(column.is_valid().to_numpy()).tobytes()


def _bytes(column: pa.ChunkedArray) -> memoryview:
    """Return fixed-width values as bytes, zero where they are missing."""
    filled = column.fill_null(0) if column.null_count else column
    return np.ascontiguousarray(filled.to_numpy()).view(np.uint8).data


def _texts(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    texts = column.cast(pa.large_string())
    texts = texts.fill_null("") if texts.null_count else texts
    yield from _numbers(pc.binary_length(texts))
    for chunk in texts.chunks:
        _, offsets, content = chunk.buffers()
        ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        if content is not None and len(ends):
            yield memoryview(content)[int(ends[0]) : int(ends[-1])]
