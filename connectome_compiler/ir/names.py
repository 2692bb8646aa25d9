"""What a module tells of its neurons: ids, names and types, in the order of its units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from connectome_compiler.ir.digest import column_digest
from connectome_compiler.ir.graph import Graph, Population

# Columns of neuron tables that modules have where they are known; places, if asked for.
WORDS = (
    *("neuron_id", "name", "cell_type", "cell_class", "role", "neurotransmitter"),
    *("region", "cortical_layer"),
)
PLACES = ("x_um", "y_um", "z_um")


def told(graph: Graph, places: bool = False) -> dict[str, pa.Array]:
    """Return columns with an item for each unit, population by population, of what is known.

    A column of which nothing is known is left out, as is one that holds something else than ids,
    text, and, with ``places``, positions.
    """
    columns = {}
    for name in (*WORDS, *(PLACES if places else ())):
        parts = [_column(p, name) for p in graph.biological]
        types = {part.type for part in parts if part.null_count < len(part)}
        if len(types) == 1 and _is_told(name, *types):
            columns[name] = pa.concat_arrays([part.cast(*types) for part in parts])
    return columns


def told_digests(columns: Mapping[str, pa.Array]) -> dict[str, str]:
    """Return the hash of each column of what is told."""
    return {name: column_digest(name, column) for name, column in columns.items()}


def _column(p: Population, name: str) -> pa.Array:
    if p.neurons is None or name not in p.neurons.column_names:
        return pa.nulls(p.n_units)
    column = p.column(name)
    if pa.types.is_floating(column.type):  # not a number is not known
        values = column.to_numpy(zero_copy_only=False)
        return pa.array(values, pa.float64(), mask=np.isnan(values))
    return column


def _is_told(name: str, dtype: pa.DataType) -> bool:
    if name in PLACES:
        return bool(pa.types.is_floating(dtype))
    return bool(pa.types.is_string(dtype) or (name == WORDS[0] and pa.types.is_integer(dtype)))
