"""Graph transformations that several passes share; all pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Synapses, edge_order
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import AllToAll, OneToOne
from connectome_compiler.ir.nodes import Node

Mask = npt.NDArray[np.bool_]


def keep_neurons(graph: Graph, kept: Mapping[str, Mask]) -> Graph:
    """Return the graph with the neurons of each population where ``kept[name]`` is true.

    A population that is not named is kept whole. Connections of lost neurons go with them;
    populations stay, even if empty, so that neither their order nor their names are lost silently.
    """
    places = {}
    populations = []
    for name, asked in kept.items():
        _must_match(f"keep_neurons, population {name}", asked, graph.population(name).n_units)
    for p in graph.populations:
        mask = kept.get(p.name)
        if mask is None or mask.all():
            populations.append(p)
            continue
        if len(p.shape) > 1:
            raise CompileError(
                f"population {p.name}",
                f"is a feature map of shape {p.shape}, not a list of neurons",
            )
        places[p.name] = np.where(mask, np.cumsum(mask) - 1, -1).astype(np.int32)
        table = None if p.neurons is None else p.neurons.filter(pa.array(mask))
        populations.append(replace(p, shape=(int(mask.sum()),), neurons=table))
    return replace(
        graph,
        populations=tuple(populations),
        projections=tuple(_renumbered(q, places) for q in graph.projections),
    )


def _renumbered(q: Projection, places: Mapping[str, npt.NDArray[np.int32]]) -> Projection:
    """Return a projection whose neuron ``i`` of population ``name`` is now ``places[name][i]``.

    Those at -1 are gone, and so are their connections. Populations that are not named stay.
    """
    if not {q.pre, q.post} & places.keys():
        return q
    law = q.connectivity
    if isinstance(law, AllToAll | OneToOne):
        ends = {}
        for side, name in (("post_units", q.post), ("pre_units", q.pre)):
            if name not in places:
                continue
            selected = getattr(law, side)
            new = places[name] if selected is None else places[name][np.array(selected, np.intp)]
            if isinstance(law, OneToOne) and ((new < 0).any() or (np.diff(new) < 0).any()):
                problem = f"is {law.describe()}: units of {name} would be paired differently"
                hint = "select and sort neurons before inputs and outputs are attached"
                raise CompileError(f"projection {q.key}", problem, hint)
            if selected is not None:
                ends[side] = tuple(np.sort(new[new >= 0]).tolist())
        return replace(q, connectivity=replace(law, **ends))
    e = q.synapses
    post = places[q.post][e.post] if q.post in places else e.post
    pre = places[q.pre][e.pre] if q.pre in places else e.pre
    left = replace(e, post=post, pre=pre).keep((post >= 0) & (pre >= 0))
    return replace(q, connectivity=left.in_order())


def drop_populations(graph: Graph, names: Iterable[str]) -> Graph:
    """Return the graph without the named populations and their projections and ports."""
    gone = {graph.population(name).name for name in names}
    return replace(
        graph,
        populations=tuple(p for p in graph.populations if p.name not in gone),
        projections=tuple(p for p in graph.projections if not {p.pre, p.post} & gone),
        ports=tuple(p for p in graph.ports if p.population not in gone),
    )


def keep_connections(graph: Graph, kept: Mapping[str, Mask]) -> Graph:
    """Return the graph with the connections of projection ``key`` where ``kept[key]`` is true."""
    known = {p.key for p in graph.projections}
    for key in kept:
        if key not in known:
            raise UnknownNameError.among("projection", key, known)
    return graph.with_projections(
        replace(p, connectivity=p.synapses.keep(kept[p.key])) if p.key in kept else p
        for p in graph.projections
    )


def set_column(population: Population, name: str, values: pa.Array) -> Population:
    """Return the population with one column of its neuron table replaced or added."""
    table = population.neurons
    if table is None:
        raise CompileError(f"population {population.name}", "has no neuron table")
    if len(values) != population.n_units:
        problem = f"{len(values)} values for {population.n_units} neurons"
        raise CompileError(f"population {population.name}.{name}", problem)
    if name in table.column_names:
        at = table.column_names.index(name)
        return replace(population, neurons=table.set_column(at, name, values))
    return replace(population, neurons=table.append_column(name, values))


def reorder(graph: Graph, order: Mapping[str, npt.NDArray[np.intp]]) -> Graph:
    """Return the graph with the neurons of each named population in another order.

    ``order[name][k]`` is the present index of the neuron that becomes neuron ``k``. Connections
    stay with their neurons. Raises `CompileError` if an order is not a permutation, and for laws
    that pair units by their order.
    """
    moved = {}
    for name, asked in order.items():
        n = graph.population(name).n_units
        place = np.full(n, -1, np.int32)
        if asked.shape == (n,) and (not n or 0 <= asked.min() <= asked.max() < n):
            place[asked] = np.arange(n)
        if (place < 0).any() or asked.shape != (n,):
            raise CompileError(f"reorder, population {name}", f"not a permutation of {n} neurons")
        if (place != np.arange(n)).any():
            moved[name] = place
    populations = []
    for p in graph.populations:
        if p.name in moved:
            if len(p.shape) > 1:
                problem = f"is a feature map of shape {p.shape}, not a list of neurons"
                raise CompileError(f"population {p.name}", problem)
            table = None if p.neurons is None else p.neurons.take(pa.array(order[p.name]))
            p = replace(p, neurons=table)
        populations.append(p)
    return replace(
        graph,
        populations=tuple(populations),
        projections=tuple(_renumbered(q, moved) for q in graph.projections),
    )


def regroup(graph: Graph, label: npt.NDArray[np.intp], names: Sequence[str]) -> Graph:
    """Return the graph with its neurons sorted into new populations, in the order of ``names``.

    ``label[i]``, shape ``(n_neurons,)``, is the index in ``names`` of neuron ``i``, counted through
    the graph's present populations. Within a new population neurons keep their order; a projection
    is made for every pair of populations that any connection joins.

    Raises `CompileError` if there is anything that cannot be repartitioned: images and classes,
    ports, laws, populations without a neuron table or with different node models.
    """
    node, joined = _one_table(graph)
    _must_label(graph, label, names)
    groups = len(names)
    order = np.argsort(label, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=groups))])
    place = np.empty(len(label), np.int32)  # index of each neuron within its new population
    place[order] = np.arange(len(label)) - first[label[order]]

    table = joined.take(pa.array(order))
    populations = tuple(
        Population(name, (size := int(first[k + 1] - first[k]),), table.slice(first[k], size), node)
        for k, name in enumerate(names)
    )
    starts = np.cumsum([0, *(p.n_units for p in graph.populations)], dtype=np.int32)
    offset = {p.name: start for p, start in zip(graph.populations, starts, strict=False)}
    projections = [
        block
        for many in _alike(graph.projections)
        for block in _blocks(many, offset, label, place, names)
    ]
    _unique_keys(projections)
    position = {name: k for k, name in enumerate(names)}
    projections.sort(key=lambda p: (position[p.post], position[p.pre], p.kind))
    return replace(graph, populations=populations, projections=tuple(projections))


def _one_table(graph: Graph) -> tuple[Node, pa.Table]:
    """Return what all populations share: their node model, and their tables, joined."""
    hint = "partition before inputs and outputs are attached"
    if graph.ports:
        raise CompileError(f"port {graph.ports[0].name}", "would lose its population", hint)
    for p in graph.populations:
        if p.artificial:
            raise CompileError(f"population {p.name}", "is not a population of neurons", hint)
        if p.neurons is None:
            raise CompileError(f"population {p.name}", "has no neuron table")
    nodes = list(dict.fromkeys(p.node for p in graph.populations))
    if len(nodes) != 1:
        problem = f"populations have {len(nodes)} node models, not one"
        raise CompileError("regroup", problem, "partition before the node models are set")
    tables = [p.neurons for p in graph.populations]
    try:
        return nodes[0], pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise CompileError("regroup", f"the neuron tables cannot be joined: {error}") from error


def _must_label(graph: Graph, label: npt.NDArray[np.intp], names: Sequence[str]) -> None:
    if label.shape != (graph.n_neurons,):
        raise CompileError("regroup", f"{label.shape} labels for {graph.n_neurons} neurons")
    if len(label) and not 0 <= label.min() <= label.max() < len(names):
        at = int(np.flatnonzero((label < 0) | (label >= len(names)))[0])
        raise CompileError("regroup", f"label {label[at]} of neuron {at} has no name")
    if len(set(names)) < len(names):
        raise CompileError("regroup", f"a name occurs twice in {', '.join(names)}")


def _must_match(where: str, mask: Mask, n: int) -> None:
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise CompileError(where, f"mask is {mask.dtype} {mask.shape}, expected bool ({n},)")


def _unique_keys(projections: Iterable[Projection]) -> None:
    """Refuse connections of one pair that differ in what a projection must share."""
    seen: set[str] = set()
    for p in projections:
        if p.key in seen:
            problem = "its connections differ in unit, delay or weights, or only some have a size"
            raise CompileError(f"projection {p.key}", problem, "make them uniform, then partition")
        seen.add(p.key)


def _alike(projections: Iterable[Projection]) -> list[list[Projection]]:
    """Group projections that can be pooled and split again: same kind, unit, weights and delay."""
    groups: dict[object, list[Projection]] = {}
    for p in projections:
        e = p.synapses
        groups.setdefault((p.kind, p.weights, p.delay, e.unit, e.size is None), []).append(p)
    return list(groups.values())


def _blocks(
    many: list[Projection],
    offset: Mapping[str, np.int32],
    label: npt.NDArray[np.intp],
    place: npt.NDArray[np.int32],
    names: Sequence[str],
) -> list[Projection]:
    """Split the edges of ``many`` projections into one projection per pair of new populations."""
    model = many[0]
    post = np.concatenate([p.synapses.post + offset[p.post] for p in many])
    pre = np.concatenate([p.synapses.pre + offset[p.pre] for p in many])
    # Neurons keep their order within a population. So edges sorted by post, then pre stay sorted
    # inside each block: a stable sort by block is enough (and fast, since it sorts small integers).
    order = np.arange(len(post)) if len(many) == 1 else edge_order(post, pre)
    groups = len(names)
    small = np.min_scalar_type(groups**2)
    group = label.astype(small)
    block = group[post] * small.type(groups) + group[pre]
    order = order[np.argsort(block[order], kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=groups**2))])
    columns = {"post": place[post], "pre": place[pre], **_values(many)}
    columns = {name: values[order] for name, values in columns.items()}
    for values in columns.values():
        values.setflags(write=False)  # so blocks are views, not copies
    made = []
    for k in np.flatnonzero(np.diff(bounds)):
        block_of = {name: values[bounds[k] : bounds[k + 1]] for name, values in columns.items()}
        edges = Synapses(**block_of, unit=model.synapses.unit)
        i_post, i_pre = divmod(int(k), groups)
        made.append(replace(model, pre=names[i_pre], post=names[i_post], connectivity=edges))
    return made


def _values(many: list[Projection]) -> dict[str, npt.NDArray[Any]]:
    """Return weight, size and sign of all edges; a sign that is not given is 0 (unknown)."""
    edges = [p.synapses for p in many]
    values: dict[str, npt.NDArray[Any]] = {"weight": np.concatenate([e.weight for e in edges])}
    if edges[0].size is not None:
        values["size"] = np.concatenate([e.size for e in edges if e.size is not None])
    if any(e.sign is not None for e in edges):
        unknown = (np.zeros(len(e.post), np.int8) for e in edges)
        values["sign"] = np.concatenate(
            [zero if e.sign is None else e.sign for e, zero in zip(edges, unknown, strict=True)]
        )
    return values
