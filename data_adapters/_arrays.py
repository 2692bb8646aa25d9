"""Matrices in files of arrays: numpy (.npy, .npz), scipy.sparse, MATLAB, Matrix Market, HDF5.

Nothing is unpickled: arrays of objects are refused. Where a file has several variables that could
be the matrix, it is asked which (``part``); a text of one name per neuron gives the labels.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError

from ._ask import unsaid
from ._content import BROKEN_ZIP, FETCH_AGAIN, MOST_UNPACKED, unzipped
from ._hdf5 import is_group, must_be_whole, names_in, opened, values_of
from ._matrix import matrix_of, raw_of, shown_of
from ._raw import Facts, Raw
from ._readers import ReadOptions

MOST_NESTED = 30  # cells in cells of MATLAB
DEEPEST = 3  # groups in groups of HDF5 that are looked into
OBJECTS = "objects are never opened, since they can run code: save numbers alone"
# What the libraries raise for a file that was cut or altered.
BROKEN = (
    *(*BROKEN_ZIP, TypeError, KeyError, IndexError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, NameError, RecursionError, SyntaxError, tokenize.TokenError),
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of a file: what it is, and how it is read."""

    shape: tuple[int, ...]
    kind: str  # of its values, as numpy spells it: "f", "i", "U", "O"; "sparse"
    load: Callable[[], Any]

    @property
    def is_matrix(self) -> bool:
        """Whether this could be an adjacency matrix."""
        square = len(self.shape) == 2 and self.shape[0] == self.shape[1] > 1
        return square and (self.kind == "sparse" or self.kind in "biuf")

    @property
    def is_text(self) -> bool:
        """Whether this could be names."""
        return self.kind in ("U", "S", "text")

    def __str__(self) -> str:
        size = " x ".join(f"{n:,}" for n in self.shape) or "1 value"
        return f"{size}{' sparse' if self.kind == 'sparse' else ''}"


def read_numpy(path: Path, options: ReadOptions) -> Raw:
    """Read an array that numpy wrote: a matrix, columns of connections, or a table of fields."""
    where = str(path)
    with _translated(where, "array of numpy"):
        with unzipped(path) as file:
            zipped = file.read(2) and type(file).__name__ == "GzipFile"
        if zipped:
            values = np.load(io.BytesIO(_content(path)), allow_pickle=False)
        else:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
    return as_matrix_or_list(where, values, options, "an array of numpy")


def read_npz(path: Path, options: ReadOptions) -> Raw:
    """Read an archive of numpy: a sparse matrix of scipy, or arrays by name."""
    where, what = str(path), "archive of numpy"
    with _translated(where, what), zipfile.ZipFile(path) as archive:
        total = sum(i.file_size for i in archive.infolist())
    if total > MOST_UNPACKED:
        problem = f"unpacks to {total:,} bytes; the limit is {MOST_UNPACKED:,}"
        raise CompileError(where, problem, "save the matrix as sparse, with scipy.sparse.save_npz")
    with _translated(where, what), np.load(path, allow_pickle=False) as file:
        if {"format", "shape", "data"} <= set(file.files):
            return as_matrix_or_list(
                where, _sparse(where, path, file), options, "a sparse matrix of scipy"
            )
        found: dict[str, Variable] = {}
        for name in file.files:
            try:
                values = file[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                found[name] = Variable((), "O", lambda: None)
                continue
            found[name] = Variable(values.shape, values.dtype.kind, partial(np.asarray, values))
        return _chosen(where, found, options, "an archive of numpy")


def _content(path: Path) -> bytes:
    with unzipped(path) as file:
        content = file.read(MOST_UNPACKED + 1)
    if len(content) > MOST_UNPACKED:
        problem = f"has more than {MOST_UNPACKED:,} bytes, unpacked"
        raise CompileError(str(path), problem, "save the matrix as sparse")
    return content


def _sparse(where: str, path: Path, file: Any) -> Any:
    """Return a matrix that scipy wrote; raise `CompileError` if its indices point outside."""
    from scipy import sparse

    shape = np.asarray(file["shape"])
    if shape.shape != (2,) or not (shape.min() > 0 and shape.max() < 1 << 31):
        raise CompileError(where, f"has a shape of {shape.tolist()}", FETCH_AGAIN)
    return sparse.load_npz(path)


def read_matlab(path: Path, options: ReadOptions) -> Raw:
    """Read a file of MATLAB, version 5 (to 7)."""
    from scipy import io as sio

    where, what = str(path), "file of MATLAB"
    content = _content(path)
    with _translated(where, what):
        order = {b"IM": "<", b"MI": ">"}[content[126:128]]
        _must_be_arrays(memoryview(content)[128:], order)
        file: Any = io.BytesIO(content)
        listed = sio.whosmat(file)
    found = {}
    for name, shape, kind in listed:
        if kind != "sparse" and np.prod([float(n) for n in shape]) * 8 > MOST_UNPACKED:
            problem = f"declares {' x '.join(map(str, shape))} values"
            raise CompileError(f"{where}, variable {name}", problem, FETCH_AGAIN)
        of = {"sparse": "sparse", "char": "text", "cell": "text", "logical": "b"}.get(
            kind, "f" if kind in ("double", "single") else "i" if "int" in kind else "O"
        )
        found[name] = Variable(tuple(shape), of, partial(_of_matlab, content, name))
    return _chosen(where, found, options, "a file of MATLAB")


def _of_matlab(content: bytes, name: str) -> Any:
    from scipy import io as sio

    file: Any = io.BytesIO(content)
    return sio.loadmat(file, variable_names=[name])[name]


# Types of elements in the format 5 of MATLAB; one that holds others, one that is compressed.
NUMERIC, LETTERS = {*range(1, 8), 9, 12, 13}, {1, 2, 3, 4, 16, 17, 18}
HOLDS, COMPRESSED = 14, 15
# What an array of each class holds after its flags, dimensions and name.
CELL, SPARSE, OPAQUE = 1, 5, 17
CLASSES = {1: {HOLDS}, 2: {HOLDS, 5, 1}, 3: {HOLDS, 5, 1}, 4: LETTERS, 5: NUMERIC,
           **dict.fromkeys(range(6, 16), NUMERIC), 16: {HOLDS}, 17: {*NUMERIC, HOLDS}}  # fmt: skip
Element = tuple[int, memoryview]


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Yield type and content of each element; raise `ValueError` where it ends too early."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start, end = at + 8, at + 8 + size
        at = end if kind in (HOLDS, COMPRESSED) else (end + 7) // 8 * 8
        if kind >> 16:  # a small element, within its own tag
            kind, size, start = kind & 0xFFFF, kind >> 16, start - 4
            at, end = start + 4, start + size if size <= 4 else len(data) + 1
        if end > len(data):
            raise ValueError(f"an element of type {kind} has {size:,} bytes")
        yield kind, data[start:end]


def _must_be_arrays(data: memoryview, order: str) -> None:
    """Raise `ValueError` if elements are not those of arrays, or have other types than these.

    scipy follows types and sizes wherever they lead, also out of its memory.
    """
    for kind, inner in _elements(data, order):
        if kind == COMPRESSED:
            unzip = zlib.decompressobj()
            inner = memoryview(unzip.decompress(inner, MOST_UNPACKED))
            if not unzip.eof:
                raise ValueError(f"is cut, or unpacks to more than {MOST_UNPACKED:,} bytes")
            ((kind, inner),) = _elements(inner, order)
        if kind != HOLDS:
            raise ValueError(f"an element of type {kind} is not an array")
        _must_be_array(inner, order)


def _must_be_array(data: memoryview, order: str, depth: int = 0) -> None:
    parts = list(_elements(data, order))
    if not parts:  # an empty cell
        return
    kinds = [kind for kind, _ in parts]
    flags, size = parts[0][1], len(parts[1][1]) if parts[1:] else 0
    of = flags[0 if order == "<" else 3] if len(flags) == 8 else 0
    if kinds[0] != 6 or of not in CLASSES or depth > MOST_NESTED:
        raise ValueError(f"is an array of class {of}")
    if of != OPAQUE and not (kinds[1:3] == [5, 1] and size % 4 == 0 and 8 <= size <= 128):
        raise ValueError("is an array without a shape")
    inner = parts[1 if of == OPAQUE else 3 :]
    if of in (CELL, *range(4, 16)):
        shape = struct.unpack(f"{order}{size // 4}i", parts[1][1])
        is_complex = bool(flags[1 if order == "<" else 2] & 8)
        n = prod(shape) if of == CELL else 1 + is_complex + 2 * (of == SPARSE)
        if len(inner) != n or (of == SPARSE and kinds[3:5] != [5, 5]):
            raise ValueError(f"is an array of {len(inner)} parts, expected {n}")
    if bad := {kind for kind, _ in inner} - CLASSES[of]:
        raise ValueError(f"is an array of class {of} that holds elements of type {min(bad)}")
    for kind, content in inner:
        if kind == HOLDS:
            _must_be_array(content, order, depth + 1)


def read_hdf5(path: Path, options: ReadOptions) -> Raw:
    """Read a matrix in HDF5, and a file of MATLAB of version 7.3, which is HDF5."""
    with opened(path, "HDF5 files") as file:
        with path.open("rb") as head:
            matlab = head.read(10) == b"MATLAB 7.3"
        what = "a file of MATLAB 7.3" if matlab else "an HDF5 file"
        found = dict(_variables(path, file, matlab))
        return _chosen(str(path), found, options, what)


def _variables(
    path: Path, group: Any, matlab: bool, depth: int = 0
) -> Iterator[tuple[str, Variable]]:
    """Yield the arrays of a group and of those in it, by their paths."""
    for name in names_in(group):
        if name.startswith("#"):  # what cells of MATLAB refer to
            continue
        item = group[name]
        full, attributes = item.name.lstrip("/"), item.attrs
        if is_group(item):
            if "MATLAB_sparse" in attributes and "jc" in names_in(item):
                shape = (int(attributes["MATLAB_sparse"]), len(item["jc"]) - 1)
                yield full, Variable(shape, "sparse", partial(_matlab_sparse, path, item, shape))
            elif {"data", "indices", "indptr"} <= set(names_in(item)) and "shape" in attributes:
                size = tuple(int(n) for n in attributes["shape"])
                yield full, Variable(size, "sparse", partial(_csr, path, item, size))
            elif depth < DEEPEST:
                yield from _variables(path, item, matlab, depth + 1)
            continue
        shape, kind = item.shape, item.dtype.kind
        if matlab:  # which writes columns first
            is_text = attributes.get("MATLAB_class") in (b"cell", b"char")
            load = partial(_matlab_texts if is_text else _transposed, path, item)
            yield full, Variable(shape[::-1], "text" if is_text else kind, load)
        else:
            is_text = kind == "S" or "vlen" in (item.dtype.metadata or {})
            yield full, Variable(shape, "text" if is_text else kind, partial(values_of, path, item))


def _transposed(path: Path, item: Any) -> Any:
    return values_of(path, item).T


def _matlab_sparse(path: Path, group: Any, shape: tuple[int, int]) -> Any:
    from scipy import sparse

    parts = [values_of(path, group[k]) if k in group else np.zeros(0) for k in ("data", "ir")]
    parts.append(values_of(path, group["jc"]))
    made: Any = sparse.csc_matrix
    return made(tuple(parts), shape=shape)


def _csr(path: Path, group: Any, shape: tuple[Any, ...]) -> Any:
    """Return a sparse matrix as anndata and others write it."""
    from scipy import sparse

    kind = str(group.attrs.get("encoding-type", group.attrs.get("format", "csr")))
    parts = [values_of(path, group[k]) for k in ("data", "indices", "indptr")]
    made: Any = sparse.csc_matrix if "csc" in kind else sparse.csr_matrix
    return made(tuple(parts), shape=shape)


def _matlab_texts(path: Path, item: Any) -> Any:
    """Return the texts of a cell array, each of which is an array of letters elsewhere."""
    import h5py

    must_be_whole(path, item)
    if item.dtype != h5py.ref_dtype:
        letters = np.asarray(item[...], np.uint32).T
        return np.array(["".join(map(chr, row)) for row in letters.reshape(letters.shape[0], -1)])
    texts = []
    for reference in item[...].ravel():
        letters = values_of(path, item.file[reference])
        texts.append("".join(map(chr, np.asarray(letters, np.uint32).ravel())))
    return np.array(texts)


def read_market(path: Path, options: ReadOptions) -> Raw:
    """Read Matrix Market; symmetric matrices of which half is stored come out whole."""
    from scipy import io as sio

    where = str(path)
    with _translated(where, "Matrix Market"):
        content = io.BytesIO(_content(path))
        rows, columns, entries, layout, field, symmetry = sio.mminfo(content)
        if entries > content.getbuffer().nbytes or max(rows, columns) >= 1 << 31:
            problem = f"declares {rows:,} rows, {columns:,} columns and {entries:,} values"
            raise CompileError(where, problem, FETCH_AGAIN)
        if field == "complex":
            raise CompileError(where, "holds complex numbers", "write real ones")
        content.seek(0)
        values = sio.mmread(content)
    raw = as_matrix_or_list(where, values, options, "Matrix Market")
    notes = [f"stored as {layout}, {field}, {symmetry}"]
    return replace(raw, notes=(*notes, *raw.notes))


# --- which, and what of it ------------------------------------------------------------------------


def _chosen(where: str, found: dict[str, Variable], options: ReadOptions, what: str) -> Raw:
    """Read the variable that is asked for, or the only one that can be a matrix."""
    if options.part:
        if options.part not in found:
            raise UnknownNameError.among(f"{where}: part", options.part, found)
        names = [options.part]
    else:
        names = [name for name, variable in found.items() if variable.is_matrix]
    listed = ", ".join(f"{name} ({variable})" for name, variable in found.items()) or "nothing"
    if not names:
        names = [
            n
            for n, v in found.items()
            if len(v.shape) == 2 and v.kind in "biuf" and min(v.shape) > 1
        ]
        if len(names) != 1:
            if any(v.kind == "O" for v in found.values()):
                problem = f"has no matrix of numbers, but objects: {listed}"
                raise CompileError(where, problem, OBJECTS)
            hint = "save one square matrix of numbers, or a list of connections as CSV"
            raise CompileError(where, f"is {what} without a matrix of numbers: {listed}", hint)
    if len(names) > 1:
        raise unsaid(
            where, f"has {len(names)} variables that could be the matrix", [],
            *((f"part={name}", str(found[name])) for name in names),
        )  # fmt: skip
    name = names[0]
    place = f"{where}, {name}"
    with _translated(place, "variable"):
        values = found[name].load()
    n = found[name].shape[0] if found[name].shape else 0
    texts = {t: v for t, v in found.items() if v.is_text and t != name and n in (*v.shape, 0)}
    labels, source = _labels(where, texts, n)
    others = [f"{t} ({v})" for t, v in found.items() if t not in (name, source)]
    notes = [f"variable {name}"] if len(found) > 1 or options.part else []
    if source:
        notes.append(f"labels from the variable {source}")
    if others:
        notes.append(f"variables that are not read: {', '.join(others)}")
    return as_matrix_or_list(place, values, options, what, labels, notes)


def _labels(where: str, texts: dict[str, Variable], n: int) -> tuple[list[str] | None, str]:
    """Return the names of neurons and their variable, if exactly one has ``n`` different texts."""
    found = []
    for name, variable in texts.items():
        with _translated(f"{where}, {name}", "variable"):
            values = [_plain(v) for v in np.asarray(variable.load()).ravel()]
        if len(values) == n and None not in values and len(set(values)) == n:
            found.append(([str(v).strip() for v in values], name))
    return found[0] if len(found) == 1 and "" not in found[0][0] else (None, "")


def _plain(value: Any) -> str | None:
    """Return a text, also one in a cell of MATLAB; none if it is something else."""
    while isinstance(value, np.ndarray):
        if value.size != 1:
            return None
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if isinstance(value, str) else None


def as_matrix_or_list(
    where: str,
    values: Any,
    options: ReadOptions,
    what: str,
    labels: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Raw:
    """Return a square array as a matrix, others as columns of connections."""
    if values.dtype.hasobject:
        raise CompileError(where, "is an array of objects", OBJECTS)
    facts = Facts(what, "list")
    if values.dtype.names:
        columns = {n: pa.array(np.ascontiguousarray(values[n].ravel())) for n in values.dtype.names}
        return Raw(pa.table(columns), None, facts, (*notes, "an array with fields: a list"))
    shape = values.shape
    if len(shape) == 2 and shape[0] != shape[1] and shape[1] <= 8 and not options.orientation:
        if hasattr(values, "toarray"):
            values = values.toarray()
        columns = {
            str(k + 1): pa.array(np.ascontiguousarray(values[:, k])) for k in range(shape[1])
        }
        note = f"{shape[0]:,} rows of {shape[1]} numbers: a list without a header"
        return Raw(pa.table(columns), None, facts, (*notes, note))
    matrix = matrix_of(where, values, what)
    matrix = replace(matrix, rows=labels, columns=labels, said=(*notes, *matrix.said),
                     shown=shown_of(values))  # fmt: skip
    return raw_of(where, matrix, options)


@contextmanager
def _translated(where: str, what: str) -> Iterator[None]:
    """Translate what a library raises for a broken file into our own error."""
    try:
        yield
    except BROKEN as error:
        if any(word in str(error) for word in ("allow_pickle", "Object arrays", "Python objects")):
            raise CompileError(where, "holds an array of objects", OBJECTS) from error
        why = str(error).split("\n")[0] or type(error).__name__
        raise CompileError(where, f"is a broken {what}: {why}", FETCH_AGAIN) from error
