"""A hash of what a graph is, independent of how it was made or stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.neurons import is_supported


def digest(graph: Graph) -> str:
    """Return the sha256 of populations, projections and ports, in their order, to the bit.

    Provenance is left out: however a graph was made, its digest is the same. Every record states
    its length, so no two graphs hash the same bytes.
    """
    sha = hashlib.sha256()
    for p in graph.populations:
        names = None if p.neurons is None else p.neurons.column_names
        _text(sha, ["population", p.name, p.shape, p.artificial, p.stage, names])
        _text(sha, ["node", type(p.node).__name__, _fields(p.node)])
        if p.place is not None:
            _text(sha, ["place", _fields(p.place)])
        for name in names or ():
            _column(sha, f"{p.name}.{name}", p.column(name))
    for q in graph.projections:
        law = type(q.connectivity).__name__
        _text(sha, ["projection", q.pre, q.post, q.kind, q.delay, law])
        _text(sha, ["weights", type(q.weights).__name__, _fields(q.weights)])
        _text(sha, ["operator", type(q.operator).__name__, _fields(q.operator)])
        if isinstance(q.connectivity, Synapses):
            edges = q.connectivity
            _text(sha, ["unit", edges.unit])
            for field in ("post", "pre", "weight", "size", "sign"):
                _array(sha, field, getattr(edges, field))
        else:
            _text(sha, _fields(q.connectivity))
    for port in graph.ports:
        _text(sha, ["port", port.name, port.population, port.direction])
    return sha.hexdigest()


def statement_digest(stated: dict[str, Any]) -> str:
    """Return the sha256 of what a module or a saved graph states, without its own entry."""
    rest = {key: value for key, value in stated.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def array_digest(*arrays: np.ndarray[Any, Any]) -> str:
    """Return the sha256 of arrays, by type, shape and little-endian bytes."""
    sha = hashlib.sha256()
    for array in arrays:
        _array(sha, "", array)
    return sha.hexdigest()


def column_digest(name: str, column: pa.Array) -> str:
    """Return the sha256 of a column of a neuron table: its type, nulls and values."""
    sha = hashlib.sha256()
    _column(sha, name, column)
    return sha.hexdigest()


def _fields(value: Any) -> dict[str, Any]:
    """Return the options of a model or law that are not at their defaults.

    So a field that is added later leaves existing digests unchanged. A whole float is spelled as
    an integer.
    """
    given = {f.name: getattr(value, f.name) for f in fields(value)}
    return {f.name: _plain(given[f.name]) for f in fields(value) if given[f.name] != f.default}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _fields(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(sha: Any, value: Any) -> None:
    sha.update(json.dumps(value, sort_keys=True).encode() + b"\n")


def _array(sha: Any, name: str, array: np.ndarray[Any, Any] | None) -> None:
    if array is None:
        return _text(sha, [name, None])
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    _text(sha, [name, little.dtype.str, list(array.shape)])
    sha.update(little.reshape(-1).view(np.uint8).data)
    return None


def _column(sha: Any, where: str, column: pa.Array) -> None:
    """Hash type, nulls and values; the undefined values under nulls are left out."""
    dtype, n = column.type, len(column)
    if not is_supported(dtype):
        raise CompileError(where, f"a column of {dtype} cannot be hashed", "use numbers or text")
    _text(sha, [str(dtype), n])
    if pa.types.is_null(dtype):
        return
    missing = np.asarray(column.is_null().to_numpy(zero_copy_only=False), np.bool_)
    _array(sha, "null", missing)
    if pa.types.is_boolean(dtype):
        _array(sha, "values", column.fill_null(False).to_numpy(zero_copy_only=False))
    elif pa.types.is_string(dtype) or pa.types.is_binary(dtype):
        filled = column.fill_null(pa.scalar("", dtype))
        ends = _buffer(filled, 1).view(np.int32)[filled.offset : filled.offset + n + 1]
        _array(sha, "lengths", np.diff(ends))
        _array(sha, "values", _buffer(filled, 2)[ends[0] : ends[-1]] if n else ends[:0])
    else:
        width = dtype.bit_width // 8
        rows = _buffer(column, 1)[column.offset * width : (column.offset + n) * width]
        rows = rows.reshape(n, width)
        if column.null_count:
            rows = np.where(missing[:, None], np.uint8(0), rows)
        _array(sha, "values", rows)


def _buffer(column: pa.Array, k: int) -> np.ndarray[Any, Any]:
    buffer = column.buffers()[k]
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
