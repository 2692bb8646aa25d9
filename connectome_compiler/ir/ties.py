"""Which connections share one weight, which neurons one constant, and how many there are."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses, edge_order
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.nodes import Leaky
from connectome_compiler.ir.weights import Named, Tied

Groups = npt.NDArray[np.int32]


def scale(projection: Projection) -> npt.NDArray[np.float32]:
    """Return the factor by which each connection scales a shared weight: its own weight's size."""
    return np.abs(projection.synapses.weight).astype(np.float32)


def groups(graph: Graph, projection: Projection) -> Groups | None:
    """Return the index of each connection's weight, shape ``(n_connections,)``, from 0 on.

    None where every connection has a weight of its own, in the order of the connections. Both
    directions of a gap junction share one, and so do a projection and its mirror image. Groups are
    numbered by type of post, type of pre, and distance, in ascending order; neurons without a type
    form a type of their own, the first. Gap junctions have no presynaptic side: the types of both
    ends count. A named weight is shared with other projections of that name.
    """
    held, edges = projection.weights, projection.synapses
    electrical = projection.kind == "electrical"
    if isinstance(held, Named):
        return np.zeros(len(edges.post), np.int32)
    if not isinstance(held, Tied):
        return _junctions(projection) if electrical else None
    pre, post = (graph.population(name) for name in (projection.pre, projection.post))
    type_of_pre, type_of_post = _codes(pre, post, held.column)
    sender, target = type_of_pre[edges.pre], type_of_post[edges.post]
    if electrical:  # a junction has no presynaptic side
        sender, target = np.minimum(sender, target), np.maximum(sender, target)
    keys = [sender] if held.by == "pre-type" and not electrical else [target, sender]
    if held.by == "kernel":
        if electrical:
            problem = "gap junctions conduct both ways, but a kernel has a direction"
            raise CompileError(f"projection {projection.key}", problem, "tie them by type-pair")
        for axis in ("u", "v"):
            place_pre, place_post = (_places(p, axis) for p in (pre, post))
            keys.append(place_post[edges.post] - place_pre[edges.pre])
    return _ranked(keys)


def n_weights(graph: Graph) -> int:
    """Return the number of weights of the connectome, each shared one counted once."""
    total, named = 0, set()
    for q in graph.connectome:
        if is_mirror(q):
            continue  # its junctions have the weights of the other direction
        if isinstance(q.weights, Named):
            named.add(q.weights.name)
            continue
        tied = groups(graph, q) if isinstance(q.connectivity, Synapses) else None
        own = graph.count(q) if tied is None else int(tied.max(initial=-1)) + 1
        total += own * q.operator.area
    return total + len(named)


def n_junctions(projection: Projection) -> int:
    """Return the number of gap junctions of an electrical projection, each counted once."""
    edges = projection.synapses
    if projection.pre != projection.post:
        return len(edges.post)
    return int((edges.pre <= edges.post).sum())


def is_mirror(projection: Projection) -> bool:
    """Whether the weights are held by the projection's mirror image, which sorts first by name."""
    return projection.kind == "electrical" and projection.pre > projection.post


def constants(graph: Graph, field: Literal["tau_per", "bias_per"]) -> Groups:
    """Return the index of each leaky unit's trained time constant, or bias, in graph order.

    Each population has values of its own: one for all, one per cell type (neurons without one are a
    type of their own), or one per neuron. Empty if nothing is trained.
    """
    index, used = [np.zeros(0, np.int32)], 0
    for p in graph.biological:
        per = getattr(p.node, field) if isinstance(p.node, Leaky) else "none"
        if per in ("fixed", "none"):
            continue
        if per == "cell_type":
            own = _ranked([_codes(p, p, "cell_type")[0]])
        else:
            own = np.arange(p.n_units) * (per == "neuron")
        index.append((own + used).astype(np.int32))
        used += int(own.max(initial=-1)) + 1
    return np.concatenate(index)


def _junctions(projection: Projection) -> Groups:
    """Return one number per gap junction, the same for both of its directions."""
    edges = projection.synapses
    if projection.pre == projection.post:
        low, high = np.minimum(edges.pre, edges.post), np.maximum(edges.pre, edges.post)
        return _ranked([low, high])
    if not is_mirror(projection):  # one of the two mirror images sets the order
        return np.arange(len(edges.post), dtype=np.int32)
    rank = np.empty(len(edges.post), np.int32)
    rank[edge_order(edges.pre, edges.post)] = np.arange(len(edges.post))
    return rank


def _codes(
    pre: Population, post: Population, column: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rank of each neuron's value among those of both populations; null is 0."""
    first, second = pre.column(column), post.column(column)
    if first.type != second.type:
        problem = f"holds {first.type} in {pre.name} and {second.type} in {post.name}"
        raise CompileError(f"column {column}", problem)
    values = pa.concat_arrays([first, second]).dictionary_encode()
    known = values.dictionary
    rank = np.zeros(len(known) + 1, np.int64)
    rank[pc.sort_indices(known)] = np.arange(1, len(known) + 1)
    codes = rank[values.indices.fill_null(len(known)).to_numpy()]
    return codes[: len(first)], codes[len(first) :]


def _places(population: Population, axis: str) -> npt.NDArray[np.int64]:
    hint = "a kernel needs integer columns u and v: a grid position for every neuron"
    if population.neurons is None or axis not in population.neurons.column_names:
        raise CompileError(f"{population.name}.{axis}", "there is no such column", hint)
    column: Any = population.column(axis)
    if not pa.types.is_integer(column.type) or column.null_count:
        problem = f"holds {column.type}, {column.null_count:,} of {len(column):,} missing"
        raise CompileError(f"{population.name}.{axis}", problem, hint)
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
    return code.astype(np.int32)
