"""Matrices and networks in memory, by the rules of those in files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.sources import Data

from ._arrays import as_matrix_or_list
from ._frames import fingerprint, is_unnamed, labels_of
from ._matrix import Matrix, matrix_of, raw_of, shown_of
from ._names import ENDS, squeezed
from ._networks import network_of
from ._raw import Raw
from ._readers import ReadOptions

DIRECTION = {  # of a matrix whose axes have names, as a pivot table has
    **{(squeezed(pre), squeezed(post)): "pre-post" for pre, post in ENDS},
    **{(squeezed(post), squeezed(pre)): "post-pre" for pre, post in ENDS},
}


def read_array(data: Data, options: ReadOptions) -> Raw:
    """Read an array or a sparse matrix, as from a file of numpy or scipy."""
    values = data.value
    if isinstance(values, np.ma.MaskedArray):
        raise CompileError(str(data), "is masked", "fill it: array.filled(0)")
    if values.ndim != 2:
        hint = "an adjacency matrix has two; names of neurons are labels="
        raise CompileError(str(data), f"has {values.ndim} axes", hint)
    if hasattr(values, "tocsr"):
        values = values.tocsr()
        if values.has_canonical_format is False:
            values = values.copy() if values is data.value else values
            values.sum_duplicates()
    raw = as_matrix_or_list(str(data), values, options, f"a {data.kind}")
    if raw.facts.shape == "matrix":
        _learn(data, matrix_of(str(data), values))
    else:
        data.learnt["file"] = fingerprint(raw.edges)
    return raw


def read_matrix(data: Data, options: ReadOptions) -> Raw:
    """Read a frame whose index has the names of its columns, or neither has any."""
    frame, where = data.value, str(data)
    array = frame.to_numpy(np.float64, na_value=np.nan)
    blank = np.isnan(array)
    found = matrix_of(where, np.where(blank, 0, array))
    shown = shown_of(frame.iloc[:4, :8].to_numpy())
    if not is_unnamed(frame):
        rows, columns = labels_of(frame.index), labels_of(frame.columns)
        ends = (squeezed(str(frame.index.name or "")), squeezed(str(frame.columns.name or "")))
        shown = [["", *columns[:8]], *([n, *r[1:]] for n, r in zip(rows, shown[1:], strict=False))]
        found = replace(found, rows=rows, columns=columns, orientation=DIRECTION.get(ends, ""))
    found = replace(found, n_blank=int(blank.sum()), shown=shown)
    _learn(data, found)
    return raw_of(where, found, options)


def read_network(data: Data, options: ReadOptions) -> Raw:
    """Read a graph of networkx with all its attributes."""
    raw = network_of(data.value, where=str(data))
    assert raw.cells is not None
    data.learnt["file"] = fingerprint(raw.cells, raw.edges)
    return raw


def _learn(data: Data, found: Matrix) -> None:
    """Note the hash of a matrix: of its cells in order, whatever holds them, and of its names."""
    order = np.lexsort((found.column, found.row))
    cells = [found.row[order], found.column[order], found.value[order]]
    shape = pa.table({"shape": [found.n_rows, found.n_columns]})
    names = [pa.table({"name": names}) for names in (found.rows, found.columns) if names]
    data.learnt["file"] = fingerprint(pa.table(cells, ["row", "column", "value"]), shape, *names)
