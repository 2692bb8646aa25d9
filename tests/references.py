"""A graph as plain dictionaries, to compare with: ``from references import edges, neurons``."""

from typing import Any

import numpy as np

from connectome_compiler.ir import Graph, Population, Projection, Provenance, neuron_table
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Kind

Edge = tuple[str, Any, Any]  # kind, id of pre, id of post


def ids(population: Population) -> list[Any]:
    """Return the ids of a population's neurons; of artificial units name and number."""
    if population.neurons is None:
        return [(population.name, k) for k in range(population.n_units)]
    return list(population.column("neuron_id").to_pylist())


def neurons(graph: Graph) -> dict[Any, dict[str, Any]]:
    """Return every neuron's row by id, with the population it is in."""
    return {
        row["neuron_id"]: {**row, "population": p.name}
        for p in graph.biological
        if p.neurons is not None
        for row in p.neurons.to_pylist()
    }


def edges(graph: Graph) -> dict[Edge, tuple[Any, ...]]:
    """Return weight, size and own sign of every connection between neurons, by its two ids."""
    found: dict[Edge, tuple[Any, ...]] = {}
    for q in graph.connectome:
        pre, post = ids(graph.population(q.pre)), ids(graph.population(q.post))
        e = q.synapses
        for k in range(len(e.post)):
            key = (q.kind, pre[e.pre[k]], post[e.post[k]])
            assert key not in found
            size = None if e.size is None else e.size[k]
            sign = 0 if e.sign is None else int(e.sign[k])
            found[key] = (e.weight[k], size, sign)
    return found


def small(
    columns: dict[str, dict[str, Any]],
    connections: list[tuple[str, str, list[tuple[int, int]]]],
    *,
    signs: dict[str, list[int]] | None = None,
    kind: Kind = "chemical",
) -> Graph:
    """Make a graph by hand: columns by population, and (pre, post, [(pre, post) indices]).

    Electrical connections are given once, and made in both directions.
    """
    people, first = [], 1
    for name, given in columns.items():
        n = len(next(iter(given.values())))
        table = neuron_table({"neuron_id": np.arange(first, first + n), **given})
        people.append(Population(name, (n,), table))
        first += n
    projections = []
    for pre, post, pairs in connections:
        sources, targets = np.array(pairs, np.int64).reshape(-1, 2).T
        own = (signs or {}).get(f"{pre}->{post}")
        weight = np.arange(1, len(pairs) + 1)
        if kind == "electrical" and pre == post:
            sources, targets = np.append(sources, targets), np.append(targets, sources)
            weight = np.tile(weight, 2)
        elif kind == "electrical":
            back = Synapses.from_edges(sources, targets, weight)
            projections.append(Projection(post, pre, back, kind=kind))
        made = Synapses.from_edges(targets, sources, weight, sign=own)
        projections.append(Projection(pre, post, made, kind=kind))
    graph = Graph(tuple(people), tuple(projections), Provenance("hand-made", "1"))
    graph.verify()
    return graph
