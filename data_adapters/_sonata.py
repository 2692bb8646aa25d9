"""SONATA circuits in HDF5: populations of nodes, and of edges between them.

https://github.com/AllenInstitute/sonata, developer guide 1.0. A node is known by its population and
id, ``v1/12``, which no other node of the circuit is.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.reading import read_bytes

from ._hdf5 import is_group, names_in, opened, values_of
from ._raw import Facts, Raw
from ._readers import ReadOptions, unused
from ._tables import typed

Ids = npt.NDArray[np.int64]

COUNT = "nsyns"  # how many synapses an edge stands for
WEIGHT = "syn_weight"
MOST_READ = 1 << 27  # values of attributes of edges; beyond it, only weights are read
NO_EDGES = pa.table({"pre": pa.nulls(0, pa.string()), "post": pa.nulls(0, pa.string())})


def read(path: Path, options: ReadOptions) -> Raw:
    """Read nodes and edges of a file; raise `CompileError` naming the group that is wrong."""
    notes: list[str] = []
    with opened(path, "SONATA files") as file:
        nodes, edges = (_populations(path, file, name) for name in ("nodes", "edges"))
        if not nodes and not edges:
            has = ", ".join(names_in(file)) or "nothing"
            raise CompileError(str(path), f"is HDF5, but not SONATA: it has {has}", ACCEPTED)
        if options.population and edges:
            if options.population not in edges:
                raise UnknownNameError.among(f"{path}: population", options.population, edges)
            edges = {options.population: edges[options.population]}
        cells = [_nodes(path, name, group, notes) for name, group in nodes.items()]
        sizes = {name: _n_nodes(path, group) for name, group in nodes.items()}
        types = _types_beside(path, "edge", notes) if edges else None
        tables = [
            _edges(path, name, group, sizes, types, options.weight, notes)
            for name, group in edges.items()
        ]
    found = _together(path, "edges", [NO_EDGES, *tables])
    joined = _together(path, "nodes", cells) if cells else None
    counted = COUNT in found.column_names
    if counted and (n := found.column(COUNT).null_count):
        at = found.column_names.index(COUNT)
        found = found.set_column(at, COUNT, pc.fill_null(found.column(COUNT), 1))
        notes.append(f"{n:,} edges without {COUNT}: each is one synapse")
    elif tables and not counted:
        notes.append("each edge is one synapse, unless weight names an attribute")
    facts = Facts(
        *("SONATA", "network", "pre", "post", COUNT if counted and not options.weight else ""),
        kind="" if "is_gap_junction" in found.column_names else "chemical",
        rows_are="" if WEIGHT in found.column_names else "synapses", cell_id="neuron_id",
    )  # fmt: skip
    return Raw(found, joined, facts, tuple(notes))


def _together(path: Path, part: str, tables: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        problem = "an attribute has numbers in one population and text in another"
        raise CompileError(f"{path}, /{part}", problem, "choose one with population=") from error


ACCEPTED = "SONATA has /nodes/<population>/node_type_id, /edges/<population>/source_node_id, ..."


def _populations(path: Path, file: Any, part: str) -> dict[str, Any]:
    if part not in names_in(file):
        return {}
    groups = {part: file[part]}
    if is_group(file[part]):
        groups |= {f"{part}/{name}": file[part][name] for name in names_in(file[part])}
    for place, group in groups.items():
        if not is_group(group):
            raise CompileError(f"{path}, /{place}", "is not a group", ACCEPTED)
    del groups[part]
    return {place.removeprefix(f"{part}/"): group for place, group in groups.items()}


def _read(path: Path, group: Any, name: str) -> Ids:
    """Return a column of a population; raise `CompileError` if it is not there."""
    where = f"{path}, {group.name}"
    if name not in names_in(group):
        has = ", ".join(names_in(group)) or "nothing"
        raise CompileError(where, f"has no {name}, only {has}", ACCEPTED)
    column = group[name]
    if getattr(column, "ndim", 0) != 1:
        raise CompileError(f"{where}/{name}", "is not a numeric column")
    if not np.issubdtype(column.dtype, np.integer):
        raise CompileError(f"{where}/{name}", f"holds {column.dtype}, expected whole numbers")
    values = values_of(path, column)
    if values.dtype == np.uint64 and values.max(initial=0) > MOST_ID:
        raise CompileError(f"{where}/{name}", f"has {values.max()}; the limit is {MOST_ID}")
    return np.asarray(values, np.int64)


MOST_TYPES = 1 << 26  # bytes of a table of types
MOST_ID = np.iinfo(np.int64).max


# --- nodes ----------------------------------------------------------------------------------------


def _n_nodes(path: Path, group: Any) -> int:
    return len(_read(path, group, "node_type_id"))


def _nodes(path: Path, name: str, group: Any, notes: list[str]) -> pa.Table:
    """Return the nodes of a population, with the attributes of their groups and types."""
    kinds = _read(path, group, "node_type_id")
    n = len(kinds)
    if "node_id" in names_in(group):
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
        values = _attribute(path, group, attribute, "node", n)
        if pa.types.is_floating(values.type):  # a number that is not known is written as NaN
            values = pc.if_else(pc.is_nan(values), None, values)
        columns.setdefault(attribute, values)
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
    path: Path,
    name: str,
    group: Any,
    sizes: dict[str, int],
    types: pa.Table | None,
    weight_name: str,
    notes: list[str],
) -> pa.Table:
    """Return the edges of a population, with names for their ends and all their attributes."""
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
    columns = {"pre": _named(pre_name, pre), "post": _named(post_name, post)}
    attributes = _attributes(group)
    kept = attributes
    if len(attributes) * len(pre) > MOST_READ:
        kept = [a for a in attributes if a in (COUNT, WEIGHT, weight_name)]
        left = ", ".join(a for a in attributes if a not in kept)
        notes.append(f"attributes of edges {name} that are not read, to save memory: {left}")
    for attribute in kept:
        values = _attribute(path, group, attribute, "edge", len(pre))
        numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        if attribute == COUNT and not numeric:
            problem = f"{COUNT} must hold numbers, not {values.type}"
            raise CompileError(f"{path}, {group.name}", problem)
        columns[unused(attribute, columns)] = values
    if types is not None:
        columns = _typed(path, group, columns, types, attributes)
    told = f", with {', '.join(attributes)}" if attributes else ""
    notes.append(f"{len(pre):,} edges of population {name}, {' to '.join(joined)}{told}")
    return pa.table(columns)


def _typed(
    path: Path, group: Any, columns: dict[str, pa.Array], types: pa.Table, attributes: list[str]
) -> dict[str, pa.Array]:
    """Add what the types of edges tell; an edge's own attribute counts before that of its type."""
    kinds = pa.array(_read(path, group, "edge_type_id"))
    if len(kinds) != len(columns["pre"]):
        problem = f"has {len(kinds):,} values, expected {len(columns['pre']):,}"
        raise CompileError(f"{path}, {group.name}/edge_type_id", problem)
    found = pc.index_in(kinds, value_set=types.column("edge_type_id"))
    if (k := pc.index(found.is_null(), True).as_py()) >= 0:
        problem = f"edge_type_id {kinds[k]} of edge {k} is not in the table of edge types"
        raise CompileError(f"{path}, {group.name}", problem)
    made = {**columns, "edge_type_id": kinds}
    for name in types.column_names:
        values = typed(types.column(name)).take(found)
        if name in attributes and name in made:
            made[name] = pc.coalesce(made[name], values.cast(made[name].type, safe=False))
        else:
            made.setdefault(name, values)
    return made


# --- both -----------------------------------------------------------------------------------------


def _named(population: str, ids: Ids) -> pa.Array:
    """Return the names of nodes, such as ``v1/12``."""
    texts = pa.array(ids).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(population), texts, "/")


def _groups(group: Any) -> dict[int, Any]:
    """Return the groups of attributes, by number."""
    numbered = [n for n in names_in(group) if n.isascii() and n.isdigit() and len(n) < 10]
    for name in numbered:
        if not is_group(group[name]):
            raise CompileError(f"{group.file.filename}, {group.name}/{name}", "is not a group")
    return {int(name): group[name] for name in numbered}


def _attributes(group: Any) -> list[str]:
    """Return the names of the columns that any group of attributes has, in order."""
    return sorted(
        {
            name
            for part in _groups(group).values()
            for name in names_in(part)
            if getattr(part[name], "ndim", 0) == 1
        }
    )


def _attribute(path: Path, group: Any, name: str, part: str, n: int) -> pa.Array:
    """Return an attribute of all nodes or edges, null where their group does not have it."""
    groups = _groups(group)
    if f"{part}_group_id" in names_in(group):
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
        if name not in names_in(inner):
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
            parts.append(pa.array(values_of(path, values)))
        except pa.ArrowException as error:
            problem = f"must hold numbers or text, not {values.dtype}"
            raise CompileError(f"{where}/{number}/{name}", problem) from error
        places[inside] = start + at[inside]
        start += len(values)
    dtype = parts[0].type
    try:
        every = pa.concat_arrays([pa.nulls(1, dtype), *(p.cast(dtype) for p in parts)])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise CompileError(where, f"{name} has several types in its groups") from error
    return every.take(pa.array(places))
