"""The neuron table: one row per neuron, missing values null, never a magic number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError

# The columns that passes use; every table has them. Any other columns are kept as they are.
STANDARD: dict[str, pa.DataType] = {
    "cell_type": pa.string(),
    "cell_class": pa.string(),  # "excitatory", "inhibitory", or the source's word
    "neurotransmitter": pa.string(),
    "sign": pa.int8(),  # +1, -1
    "cortical_layer": pa.string(),
    "region": pa.string(),
    "role": pa.string(),  # sensory, inter, motor, muscle
    "x_um": pa.float64(),
    "y_um": pa.float64(),
    "z_um": pa.float64(),
    "axon_coverage": pa.string(),  # none, partial, full
}
ROLES = ("sensory", "inter", "motor", "muscle")
COVERAGES = ("none", "partial", "full")


def neuron_table(columns: Mapping[str, Any]) -> pa.Table:
    """Make a neuron table from arrays of equal length; only ``neuron_id`` is required.

    Ids become int64 or strings. Standard columns are cast to their types; those not given are null.
    """
    if "neuron_id" not in columns:
        raise CompileError("neuron table", "no column neuron_id", "every neuron needs a stable id")
    ids = _ids(columns["neuron_id"])
    made = {"neuron_id": ids}
    for name, dtype in STANDARD.items():
        if name in columns:
            made[name] = _column(name, columns[name], dtype)
        else:
            made[name] = pa.nulls(len(ids), dtype)
    made.update({n: _column(n, v, None) for n, v in columns.items() if n not in made})
    for name, column in made.items():
        if len(column) != len(ids):
            problem = f"{len(column)} values for {len(ids)} neurons"
            raise CompileError(f"neuron table, column {name}", problem)
    return canonical(pa.table(made))


def canonical(table: pa.Table) -> pa.Table:
    """Return ``table`` in the canonical form, in which equal tables are equal bytes.

    Each column is one chunk; dictionaries and the large and view kinds of strings become plain
    strings, times the types that Parquet has; metadata, such as that of pandas, is removed.
    """
    columns = []
    for column in table.columns:
        dtype = _plain(column.type)
        if column.type != dtype:
            column = column.cast(dtype)
        columns.append(column if column.num_chunks == 1 else _one_chunk(column))
    names = table.column_names
    schema = pa.schema([pa.field(n, c.type) for n, c in zip(names, columns, strict=True)])
    return pa.Table.from_arrays(columns, schema=schema)


def is_supported(dtype: pa.DataType) -> bool:
    """Whether a column of this type can be stored and hashed: one plain value per neuron."""
    tests = (
        *(pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
        *(pa.types.is_string, pa.types.is_binary, pa.types.is_decimal128),
        *(pa.types.is_date32, pa.types.is_time, pa.types.is_timestamp, pa.types.is_duration),
    )
    return any(test(dtype) for test in tests)


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(dtype):
        return _plain(dtype.value_type)
    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype) or pa.types.is_binary_view(dtype):
        return pa.binary()
    # Parquet has no seconds.
    if dtype == pa.time32("s"):
        return pa.time32("ms")
    if pa.types.is_timestamp(dtype) and dtype.unit == "s":
        return pa.timestamp("ms", dtype.tz)
    return dtype


def _one_chunk(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.num_chunks == 0:
        return pa.chunked_array([pa.array([], column.type)])
    return pa.chunked_array([pa.concat_arrays(column.chunks)])


def _ids(values: Any) -> pa.Array:
    where = "neuron table, column neuron_id"
    ids = _column("neuron_id", values, None)
    if isinstance(ids, pa.DictionaryArray):
        ids = ids.dictionary_decode()
    if pa.types.is_integer(ids.type):
        dtype = pa.int64()
    elif pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type) or not len(ids):
        dtype = pa.string()
    else:  # 864691135000000001 as a float is another neuron's id
        hint = "read them as int64 or as text: floats above 2**53 are not exact"
        raise CompileError(where, f"ids must be integers or text, not {ids.type}", hint)
    try:
        return ids.cast(dtype)
    except pa.ArrowException as error:
        raise CompileError(where, str(error), "give larger ids as text") from error


def _column(name: str, values: Any, dtype: pa.DataType | None) -> pa.Array:
    if isinstance(values, np.ndarray):
        values = values.copy()  # Arrow would share the memory, and the caller could write to it
    try:
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if isinstance(values, pa.Array):
            return values if dtype is None else values.cast(dtype)
        return pa.array(values, type=dtype, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise CompileError(f"neuron table, column {name}", str(error)) from error
