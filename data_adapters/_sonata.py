"""SONATA circuits in HDF5: populations of nodes, and of edges between them.

https://github.com/AllenInstitute/sonata, developer guide 1.0. A node is known by its population and
id, ``v1/12``, which no other node of the circuit is.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.reading import must_be_file, read_bytes

from ._content import FETCH_AGAIN
from ._raw import Facts, Raw
from ._readers import ReadOptions

Ids = npt.NDArray[np.int64]

COUNT = "nsyns"  # how many synapses an edge stands for
WEIGHT = "syn_weight"
NO_EDGES = pa.table({"pre": pa.nulls(0, pa.string()), "post": pa.nulls(0, pa.string())})
NO_EDGES = NO_EDGES.append_column("weight", pa.nulls(0, pa.int64()))


def read(path: Path, options: ReadOptions) -> Raw:
    """Read nodes and edges of a file; raise `CompileError` naming the group that is wrong."""
    try:
        import h5py
    except ImportError:
        hint = "pip install -c constraints.txt '.[files]'"
        raise CompileError(str(path), "SONATA files need the package h5py", hint) from None
    notes: list[str] = []
    must_be_file(path)
    with _opened(path, h5py) as file:
        nodes, edges = (_populations(path, file, name) for name in ("nodes", "edges"))
        if not nodes and not edges:
            has = ", ".join(_names(file)) or "nothing"
            raise CompileError(str(path), f"is HDF5, but not SONATA: it has {has}", ACCEPTED)
        if options.population and edges:
            if options.population not in edges:
                raise UnknownNameError.among(f"{path}: population", options.population, edges)
            edges = {options.population: edges[options.population]}
        cells = [_nodes(path, name, group, notes) for name, group in nodes.items()]
        sizes = {name: _n_nodes(path, group) for name, group in nodes.items()}
        tables = [
            _edges(path, name, group, sizes, options.weight, notes) for name, group in edges.items()
        ]
    found = pa.concat_tables([NO_EDGES, *tables], promote_options="permissive")
    joined = pa.concat_tables(cells, promote_options="permissive") if cells else None
    facts = Facts("SONATA", "network", "pre", "post", "weight", cell_id="neuron_id")
    return Raw(found, joined, facts, tuple(notes))


ACCEPTED = "SONATA has /nodes/<population>/node_type_id, /edges/<population>/source_node_id, ..."


@contextmanager
def _opened(path: Path, h5py: Any) -> Iterator[Any]:
    """Open an HDF5 file, translating h5py's errors into our own."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    # The content is read only on demand, and can be just as broken.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        problem = f"is a broken HDF5 file: {error}"
        raise CompileError(str(path), problem, FETCH_AGAIN) from error


def _names(group: Any) -> list[str]:
    """Return the names of the members of a group; raise `CompileError` for external links.

    Another file would be read without its hash being recorded.
    """
    for name in group:
        if type(group.get(name, getlink=True)).__name__ not in ("HardLink", "SoftLink"):
            where = f"{group.file.filename}, {group.name}/{name}"
            raise CompileError(where, "is a link into another file", "copy it into this one")
    return list(group)


def _is_group(item: Any) -> bool:
    return hasattr(item, "items")


def _populations(path: Path, file: Any, part: str) -> dict[str, Any]:
    if part not in _names(file):
        return {}
    groups = {part: file[part]}
    if _is_group(file[part]):
        groups |= {f"{part}/{name}": file[part][name] for name in _names(file[part])}
    for place, group in groups.items():
        if not _is_group(group):
            raise CompileError(f"{path}, /{place}", "is not a group", ACCEPTED)
    del groups[part]
    return {place.removeprefix(f"{part}/"): group for place, group in groups.items()}


def _read(path: Path, group: Any, name: str) -> Ids:
    """Return a column of a population; raise `CompileError` if it is not there."""
    where = f"{path}, {group.name}"
    if name not in _names(group):
        has = ", ".join(_names(group)) or "nothing"
        raise CompileError(where, f"has no {name}, only {has}", ACCEPTED)
    column = group[name]
    if getattr(column, "ndim", 0) != 1:
        raise CompileError(f"{where}/{name}", "is not a numeric column")
    if not np.issubdtype(column.dtype, np.integer):
        raise CompileError(f"{where}/{name}", f"holds {column.dtype}, expected whole numbers")
    values = _values(path, column)
    if values.dtype == np.uint64 and values.max(initial=0) > MOST_ID:
        raise CompileError(f"{where}/{name}", f"has {values.max()}; the limit is {MOST_ID}")
    return np.asarray(values, np.int64)


MOST_TYPES = 1 << 26  # bytes of a table of types
MOST_ID = np.iinfo(np.int64).max
MOST_VALUES = 1 << 31  # of a column
MOST_RATIO = 1032  # the highest compression ratio of deflate


def _values(path: Path, column: Any) -> Any:
    """Return all values of a column; raise `CompileError` if the file cannot hold so many.

    HDF5 fills in what was never written, so that a small file can declare any number.
    """
    where = f"{path}, {column.name}"
    if column.is_virtual or column.external:
        raise CompileError(where, "is stored in other files", "write it into this one")
    size = path.stat().st_size
    if column.size > MOST_VALUES or column.size * column.dtype.itemsize > MOST_RATIO * size:
        problem = f"declares {column.size:,} values, which a file of {size:,} bytes cannot hold"
        raise CompileError(where, problem, FETCH_AGAIN)
    return column.asstr()[:] if column.dtype.kind in "OS" else column[:]


# --- nodes ----------------------------------------------------------------------------------------


def _n_nodes(path: Path, group: Any) -> int:
    return len(_read(path, group, "node_type_id"))


def _nodes(path: Path, name: str, group: Any, notes: list[str]) -> pa.Table:
    """Return the nodes of a population, with the attributes of their groups and types."""
    kinds = _read(path, group, "node_type_id")
    n = len(kinds)
    if "node_id" in _names(group):
        ids = _read(path, group, "node_id")
        if len(ids) != n or not np.array_equal(ids, np.arange(n)):
            problem = f"must be 0 to {n - 1} in order, as in SONATA 1.0"
            raise CompileError(f"{path}, {group.name}/node_id", problem)
    columns: dict[str, pa.Array] = {
        "neuron_id": _named(name, np.arange(n)),
        "population": pa.repeat(name, n),
        "node_type_id": pa.array(kinds),
    }
    for attribute in _attributes(group):
        columns.setdefault(attribute, _attribute(path, group, attribute, "node", n))
    notes.append(f"{n:,} nodes of population {name}")
    types = _types_beside(path, "node", notes)
    if types is not None:
        found = pc.index_in(columns["node_type_id"], value_set=types.column("node_type_id"))
        if (k := pc.index(found.is_null(), True).as_py()) >= 0:
            problem = f"node_type_id {kinds[k]} of node {k} is not in the table of node types"
            raise CompileError(f"{path}, {group.name}", problem)
        for column in types.column_names:
            columns.setdefault(column, types.column(column).take(found).combine_chunks())
    return pa.table(columns)


def _types_beside(path: Path, part: str, notes: list[str]) -> pa.Table | None:
    """Read ``..._node_types.csv`` beside ``..._nodes.h5``, where there is one."""
    stem = path.name.removesuffix(".h5").removesuffix(f"_{part}s")
    beside = path.with_name(f"{stem}_{part}_types.csv")
    if not beside.is_file():
        notes.append(f"no table of {part} types beside it ({beside.name})")
        return None
    key = f"{part}_type_id"
    content = read_bytes(beside, MOST_TYPES)
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
        header, *rows = csv.reader(text, delimiter=" ")
    except (ValueError, csv.Error) as error:
        raise CompileError(str(beside), "is not a table of types separated by spaces") from error
    for k, row in enumerate(rows):
        if len(row) != len(header):
            problem = f"has {len(row)} values, expected {len(header)}"
            raise CompileError(f"{beside}, line {k + 2}", problem)
    if key not in header:
        raise CompileError(f"{beside}, line 1", f"has no column {key}")
    columns = {
        name: pa.array([None if row[k] in ("", "NULL") else row[k] for row in rows], pa.string())
        for k, name in enumerate(header)
    }
    try:
        columns[key] = columns[key].cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise CompileError(f"{beside}, column {key}", "holds no whole numbers") from error
    if len(columns[key].unique()) < len(rows):
        raise CompileError(f"{beside}, column {key}", "a type occurs twice")
    notes.append(f"types of {part}s from {beside.name}")
    return pa.table(columns)


# --- edges ----------------------------------------------------------------------------------------


def _edges(
    path: Path, name: str, group: Any, sizes: dict[str, int], weight_name: str, notes: list[str]
) -> pa.Table:
    """Return the edges of a population, with names for their ends."""
    ends, joined = {}, []
    for end, column in (("pre", "source_node_id"), ("post", "target_node_id")):
        ids = _read(path, group, column)
        population = group[column].attrs.get("node_population")
        where = f"{path}, {group.name}/{column}"
        if population is None:
            raise CompileError(where, "has no attribute node_population")
        if isinstance(population, bytes):
            population = population.decode(errors="replace")
        if not isinstance(population, str):
            raise CompileError(where, f"node_population is {population!r}, expected a name")
        if sizes and population not in sizes:
            raise UnknownNameError.among(f"{where}: node population", str(population), sizes)
        bad = (ids < 0) | (ids >= sizes.get(population, np.iinfo(np.int64).max))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            limit = f"0 to {sizes[population] - 1}" if population in sizes else "0 or more"
            raise CompileError(f"{where}, edge {k}", f"is {ids[k]}, expected {limit}")
        ends[end] = (population, ids)
        joined.append(population)
    (pre_name, pre), (post_name, post) = ends["pre"], ends["post"]
    if len(pre) != len(post):
        problem = f"has {len(pre):,} sources and {len(post):,} targets"
        raise CompileError(f"{path}, {group.name}", problem)
    attributes = _attributes(group)
    chosen = weight_name or next((a for a in (COUNT, WEIGHT) if a in attributes), "none")
    if chosen not in ("none", *attributes):
        raise UnknownNameError.among(f"{path}, {group.name}: attribute", chosen, attributes)
    weight = pa.array(np.ones(len(pre), np.int64))
    if chosen != "none":
        weight = _attribute(path, group, chosen, "edge", len(pre))
        if (k := pc.index(weight.is_null(), True).as_py()) >= 0:
            raise CompileError(f"{path}, {group.name}, edge {k}", f"has no {chosen}")
        if pa.types.is_integer(weight.type) or pa.types.is_floating(weight.type):
            weight = weight.cast(pa.int64() if pa.types.is_integer(weight.type) else pa.float64())
        else:
            raise CompileError(
                f"{path}, {group.name}", f"{chosen} must hold numbers, not {weight.type}"
            )
    told = f"weights in {chosen}" if chosen != "none" else "each counts 1"
    notes.append(f"{len(pre):,} edges of population {name}, {' to '.join(joined)}: {told}")
    if unread := [a for a in attributes if a != chosen]:
        notes.append(f"attributes of edges {name} that are not read: {', '.join(unread)}")
    return pa.table(
        {"pre": _named(pre_name, pre), "post": _named(post_name, post), "weight": weight}
    )


# --- both -----------------------------------------------------------------------------------------


def _named(population: str, ids: Ids) -> pa.Array:
    """Return the names of nodes, such as ``v1/12``."""
    texts = pa.array(ids).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(population), texts, "/")


def _groups(group: Any) -> dict[int, Any]:
    """Return the groups of attributes, by number."""
    numbered = [n for n in _names(group) if n.isascii() and n.isdigit() and len(n) < 10]
    for name in numbered:
        if not _is_group(group[name]):
            raise CompileError(f"{group.file.filename}, {group.name}/{name}", "is not a group")
    return {int(name): group[name] for name in numbered}


def _attributes(group: Any) -> list[str]:
    """Return the names of the columns that any group of attributes has, in order."""
    return sorted(
        {
            name
            for part in _groups(group).values()
            for name in _names(part)
            if getattr(part[name], "ndim", 0) == 1
        }
    )


def _attribute(path: Path, group: Any, name: str, part: str, n: int) -> pa.Array:
    """Return an attribute of all nodes or edges, null where their group does not have it."""
    groups = _groups(group)
    if f"{part}_group_id" in _names(group):
        of = _read(path, group, f"{part}_group_id")
        at = _read(path, group, f"{part}_group_index")
    elif len(groups) == 1:  # both columns may be left out where there is one group
        of, at = np.full(n, next(iter(groups))), np.arange(n)
    else:
        _read(path, group, f"{part}_group_id")
        raise AssertionError
    where = f"{path}, {group.name}"
    if not len(of) == len(at) == n:
        raise CompileError(where, f"{part}_group_id or _index does not have {n:,} values")
    if unknown := set(np.unique(of)) - groups.keys():
        raise CompileError(where, f"there is no group {min(unknown)}")
    parts, places = [], np.zeros(n, np.int64)
    start = 1  # the first value is null
    for number, inner in groups.items():
        inside = of == number
        if name not in _names(inner):
            continue
        values = inner[name]
        if getattr(values, "ndim", 0) != 1:
            raise CompileError(f"{where}/{number}/{name}", "is not a column")
        bad = inside & ((at < 0) | (at >= len(values)))
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            problem = f"{part} {k} is row {at[k]} of group {number}, which has {len(values):,}"
            raise CompileError(where, problem)
        try:
            parts.append(pa.array(_values(path, values)))
        except pa.ArrowException as error:
            problem = f"must hold numbers or text, not {values.dtype}"
            raise CompileError(f"{where}/{number}/{name}", problem) from error
        places[inside] = start + at[inside]
        start += len(values)
    dtype = parts[0].type
    try:
        every = pa.concat_arrays([pa.nulls(1, dtype), *(p.cast(dtype) for p in parts)])
    except pa.ArrowInvalid as error:
        raise CompileError(where, f"{name} has several types in its groups") from error
    return every.take(pa.array(places))
