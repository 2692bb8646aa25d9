"""Which connections of a projection share one weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import edge_order
from connectome_compiler.ir.graph import Graph, Population, Projection

Groups = npt.NDArray[np.int32]


def groups(graph: Graph, projection: Projection) -> Groups | None:
    """Return the index of each connection's weight, shape ``(n_connections,)``, from 0 on.

    None where every connection has a weight of its own, in the order of the connections. Both
    directions of a gap junction share one, and so do a projection and its mirror image. Groups are
    numbered by type of post, type of pre, and distance, in ascending order; neurons without a type
    are a type of their own, the first. Gap junctions have no sender: types of both ends count.
    """
    tie, edges = projection.weights.tie, projection.synapses
    electrical = projection.kind == "electrical"
    if tie == "none":
        return _junctions(projection) if electrical else None
    pre, post = (graph.population(name) for name in (projection.pre, projection.post))
    by = projection.weights.tie_by
    type_of_pre, type_of_post = _codes(pre, post, by)
    sender, target = type_of_pre[edges.pre], type_of_post[edges.post]
    if electrical:  # a junction has no sender
        sender, target = np.minimum(sender, target), np.maximum(sender, target)
    keys = [sender] if tie == "pre-type" and not electrical else [target, sender]
    if tie == "kernel":
        if electrical:
            problem = "gap junctions conduct both ways: a kernel has a direction"
            raise CompileError(f"projection {projection.key}", problem, "tie them by type-pair")
        for axis in ("u", "v"):
            place_pre, place_post = (_places(p, axis) for p in (pre, post))
            keys.append(place_post[edges.post] - place_pre[edges.pre])
    return _ranked(keys)


def type_index(population: Population, column: str) -> Groups:
    """Return the index of each neuron's value of ``column``, shape ``(n_units,)``."""
    codes, _ = _codes(population, population, column)
    return _ranked([codes])


def _junctions(projection: Projection) -> Groups:
    """Return one number per gap junction, the same for both of its directions."""
    edges = projection.synapses
    if projection.pre == projection.post:
        low, high = np.minimum(edges.pre, edges.post), np.maximum(edges.pre, edges.post)
        return _ranked([low, high])
    if projection.pre < projection.post:  # of two mirror images, one sets the order
        return np.arange(len(edges.post), dtype=np.int32)
    rank = np.empty(len(edges.post), np.int32)
    rank[edge_order(edges.pre, edges.post)] = np.arange(len(edges.post))
    return rank


def _codes(
    pre: Population, post: Population, column: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rank of each neuron's value among those of both populations; null is 0."""
    both = [pa.chunked_array([p.column(column)]) for p in (pre, post)]
    if len({c.type for c in both}) > 1:
        problem = f"holds {both[0].type} in {pre.name} and {both[1].type} in {post.name}"
        raise CompileError(f"column {column}", problem)
    values = pa.chunked_array([*both[0].chunks, *both[1].chunks], both[0].type)
    known = pc.unique(values.drop_null())
    known = known.take(pc.sort_indices(known))
    found = [
        pc.add(pc.index_in(c, value_set=known).fill_null(-1), 1).to_numpy().astype(np.int64)
        for c in both
    ]
    return found[0], found[1]


def _places(population: Population, axis: str) -> npt.NDArray[np.int64]:
    column: Any = population.column(axis)
    if not pa.types.is_integer(column.type) or column.null_count:
        problem = f"has no whole number for every neuron, but {column.type}"
        raise CompileError(f"{population.name}.{axis}", problem, "a kernel needs columns u and v")
    places: npt.NDArray[np.int64] = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _ranked(keys: list[Any]) -> Groups:
    """Return numbers for the distinct rows of ``keys``, in ascending order."""
    code = np.zeros(len(keys[0]), np.int64)
    for key in keys:
        low = int(key.min(initial=0))
        width = int(key.max(initial=0)) - low + 1
        code = code * width + (key - low)
        code = np.unique(code, return_inverse=True)[1].astype(np.int64)
    return np.unique(code, return_inverse=True)[1].astype(np.int32)
