"""pandas and networkx views, for notebooks; the compiler itself never works on them."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import networkx as nx
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Index, Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Linear

CHANNELS = ("pre_channel", "post_channel", "row", "column")  # of connections of a convolution
MANY_EDGES = 1_000_000  # networkx needs 15 s and 950 MB for four million

# With plain numpy types, one missing value would turn a column of integers into floats, which are
# not exact above 2**53: 864691135000000001 would become another neuron's id.
PANDAS_TYPES: dict[pa.DataType, Any] = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def neurons(graph: Graph) -> pd.DataFrame:
    """Return all neurons, one row each, with their ``population`` and index within it.

    Integers and booleans are nullable pandas types; a population without neuron table has nulls.
    """
    tables = []
    for p in graph.biological:
        table = pa.table({}) if p.neurons is None else p.neurons
        names = pa.array([p.name]).take(pa.array(np.zeros(p.n_units, np.int8)))
        table = table.select([c for c in table.column_names if c not in ("population", "index")])
        columns = {"population": names, "index": pa.array(np.arange(p.n_units))}
        columns.update(zip(table.column_names, table.columns, strict=True))
        tables.append(pa.table(columns))
    if not tables:
        return pd.DataFrame()
    joined = pa.concat_tables(tables, promote_options="permissive")
    frame: pd.DataFrame = joined.to_pandas(types_mapper=PANDAS_TYPES.get)
    return frame


def connections(graph: Graph) -> pd.DataFrame:
    """Return all connections between neurons, one row each, by neuron id.

    ``sign`` is that of the connection, else of the presynaptic neuron; 0 = not known. Units of a
    population without neuron table are named by their index. A connection of a convolution joins
    channels, not neurons: it has no ``pre`` and ``post``, but ``pre_channel`` and ``post_channel``,
    and ``row`` and ``column`` in the kernel if it is a single weight. They are -1 elsewhere.
    """
    tables = []
    ends: dict[str, Any]
    maps = any(not isinstance(q.operator, Linear) for q in graph.connectome)
    for q in graph.connectome:
        post, pre = q.connectivity.entries(*graph.shape(q))
        if isinstance(q.operator, Linear):
            ends = {"pre": _ids(graph, q.pre)[pre], "post": _ids(graph, q.post)[post]}
            channels = dict.fromkeys(CHANNELS, -1) if maps else {}
        else:
            ends = dict.fromkeys(("pre", "post"), pd.array([pd.NA] * len(pre), "Int64"))
            channels = _channels(graph, q, q.operator, post, pre)
        columns: dict[str, Any] = {
            **ends,
            **channels,
            "pre_population": q.pre,
            "post_population": q.post,
            "kind": q.kind,
            "sign": graph.signs(q),
        }
        if isinstance(q.connectivity, Synapses):
            columns["weight"] = q.connectivity.weight
            if q.connectivity.size is not None:
                columns["size"] = q.connectivity.size
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _channels(
    graph: Graph, q: Projection, operator: Conv2d | ConvTranspose2d, post: Index, pre: Index
) -> dict[str, Any]:
    """Return what the connections of a convolution join, groups of channels counted through."""
    n_post, n_pre = (graph.population(name).shape[0] // operator.groups for name in (q.post, q.pre))
    row: Any = -1
    column: Any = -1
    if operator.per_position:
        (pre, place), width = np.divmod(pre, math.prod(operator.kernel)), operator.kernel[1]
        row, column = np.divmod(place, width)
    if isinstance(operator, ConvTranspose2d):
        post = post + pre // n_pre * n_post
    else:
        pre = pre + post // n_post * n_pre
    return dict(zip(CHANNELS, (pre, post, row, column), strict=True))


def to_networkx(graph: Graph, level: Literal["population", "neuron"]) -> nx.DiGraph[Any]:
    """Return a directed networkx graph, edges from presynaptic to postsynaptic.

    Level "population": nodes are populations, edges carry ``n_connections`` and ``density``. Level
    "neuron": nodes are neuron ids with the columns of their table, edges ``weight`` and ``sign``.
    The attributes of the networkx graph hold source, licence and evidence, which `Table` reads
    back. Electrical connections have a ``kind`` of their own; if there are any, the result is a
    multigraph.
    """
    if level not in ("population", "neuron"):
        raise UnknownNameError.among("level", level, ("population", "neuron"))
    mixed = len({q.kind for q in graph.projections}) > 1
    view: nx.DiGraph[Any] = nx.MultiDiGraph() if mixed else nx.DiGraph()
    origin = graph.provenance
    known = {"evidence": str(origin.connectivity), "licence": origin.licence}
    view.graph.update({"source": origin.source, **known})
    if level == "population":
        for p in graph.populations:
            view.add_node(p.name, n_units=p.n_units, artificial=p.artificial)
        for q in graph.projections:
            view.add_edge(
                q.pre,
                q.post,
                kind=q.kind,
                delay=q.delay,
                n_connections=graph.count(q),
                density=graph.density(q),
            )
        return view
    if graph.n_connections > MANY_EDGES:
        warnings.warn(
            f"{graph.n_connections:,} connections: networkx will take minutes and gigabytes;"
            " graph.connections() or the arrays of a projection take less",
            stacklevel=3,
        )
    for p in graph.biological:
        if p.neurons is None:
            problem = "has no neuron table, so its units have no ids"
            raise CompileError(f"population {p.name}", problem, 'use level="population"')
        for k, row in enumerate(p.neurons.to_pylist()):
            known = {name: v for name, v in row.items() if v is not None and name != "neuron_id"}
            view.add_node(row["neuron_id"], **{**known, "population": p.name, "index": k})
    edges = connections(graph)
    data = [c for c in edges.columns if c not in ("pre", "post")]
    view.add_edges_from(
        (row["pre"], row["post"], {c: row[c] for c in data}) for row in edges.to_dict("records")
    )
    return view


def _ids(graph: Graph, name: str) -> npt.NDArray[Any]:
    population = graph.population(name)
    if population.neurons is None:
        return np.arange(population.n_units)
    ids: npt.NDArray[Any] = population.column("neuron_id").to_numpy(zero_copy_only=False)
    return ids
