import sys
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.edit import reorder
from connectome_compiler.passes._edge_list import edge_list
from connectome_compiler.passes.partition_by_community import PartitionByCommunity, modularity
from connectome_compiler.passes.runner import run

pytest.importorskip("sknetwork")

steps = st.builds(
    PartitionByCommunity,
    directed=st.booleans(),
    smallest=st.integers(0, 4),
    seed=st.integers(0, 3),
)


def cliques(sizes: list[int], alone: int = 0) -> Graph:
    """Groups that connect all to all, in a ring of single connections; neurons in random order."""
    n = sum(sizes)
    name = np.random.default_rng(0).permutation(n + alone)
    group = np.repeat(np.arange(len(sizes)), sizes)
    arcs = [(a, b) for a in range(n) for b in range(n) if a != b and group[a] == group[b]]
    first = [int(np.flatnonzero(group == k)[0]) for k in range(len(sizes))]
    arcs += [(a, b) for a, b in zip(first, np.roll(first, -1).tolist(), strict=True) if a != b]
    turned = [(int(name[a]), int(name[b])) for a, b in arcs]
    truth = np.full(n + alone, -1)
    truth[name[:n]] = group
    return small({"cells": {"truth": truth}}, [("cells", "cells", turned)])


def at_random(n: int, m: int, seed: int) -> Graph:
    """About ``m`` random connections of ``n`` neurons."""
    key = np.unique(np.random.default_rng(seed).integers(0, n * n, m))
    pairs = list(zip((key // n).tolist(), (key % n).tolist(), strict=True))
    return small({"cells": {"x_um": [0.0] * n}}, [("cells", "cells", pairs)])


@given(connectomes(), steps, st.data())
def test_nothing_is_lost_in_whatever_order(
    graph: Graph, step: PartitionByCommunity, data: st.DataObject
) -> None:
    chemical = edge_list(graph)
    if not chemical.weight.any():
        with pytest.raises(CompileError, match="no chemical connection has a weight"):
            step(graph)
        return
    after = step(graph)
    after.verify()
    assert edges(after) == edges(graph)
    found, before = neurons(after), neurons(graph)
    assert found.keys() == before.keys()
    sizes = np.bincount([row["community"] for row in found.values()])[1:]
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()
    for row in found.values():
        small_one = sizes[row["community"] - 1] < step.smallest
        name = "rest" if small_one else f"community{row['community']}"
        assert row["population"] == name
    order = {
        p.name: np.array(data.draw(st.permutations(range(p.n_units))), np.intp)
        for p in graph.biological
    }
    assert neurons(step(reorder(graph, order))) == found
    assert all(p.stage is None for p in after.populations)


@pytest.mark.parametrize("directed", [True, False])
def test_planted_communities_are_found(directed: bool) -> None:
    graph = cliques([12, 9, 7, 1])
    after = run(graph, [PartitionByCommunity(directed=directed, smallest=7)])
    assert [p.name for p in after.populations][:3] == ["community1", "community2", "community3"]
    for name, truth in (("community1", 0), ("community2", 1), ("community3", 2)):
        assert set(after.population(name).column("truth").to_pylist()) <= {truth, 3}


def test_a_seed_gives_the_same_again_and_another_seed_does_not() -> None:
    graph = at_random(300, 900, seed=0)
    step = PartitionByCommunity(directed=False)
    assert len({step(graph).digest() for _ in range(4)}) == 1
    assert step(graph).digest() != replace(step, seed=1)(graph).digest()


def test_communities_hang_together() -> None:
    graph = at_random(40, 60, seed=740)  # where Louvain's algorithm leaves one in two parts
    after = PartitionByCommunity(resolution=0.5)(graph)
    for p in after.biological:
        if p.name != "rest":
            (inside,) = (q for q in after.connectome if q.pre == q.post == p.name)
            e = inside.synapses
            assert nx.is_connected(nx.Graph(zip(e.pre, e.post, strict=True)))
            assert set(e.pre) | set(e.post) == set(range(p.n_units))


def test_small_communities_are_counted() -> None:
    graph = cliques([8, 8, 5], alone=2)
    step = PartitionByCommunity(smallest=6)
    after = step(graph)
    assert [(p.name, p.n_units) for p in after.populations] == [
        ("community1", 8),
        ("community2", 8),
        ("rest", 7),
    ]
    sizes, value, merged = step.report(graph, after)
    assert sizes == "community1 8, community2 8, rest 7"
    assert value.startswith("directed modularity of the populations 0.")
    assert merged == "3 communities of fewer than 6 neurons in rest"


def test_a_higher_resolution_gives_more() -> None:
    graph = cliques([6] * 20)
    few, many = (len(PartitionByCommunity(resolution=r)(graph).populations) for r in (0.05, 4))
    assert few < many


@given(connectomes(min_populations=1), st.booleans(), st.sampled_from([0.5, 1.0, 2.0]))
def test_modularity_is_that_of_networkx(graph: Graph, directed: bool, resolution: float) -> None:
    listed = edge_list(graph)
    if not listed.weight.any():
        return
    network: Any = nx.DiGraph() if directed else nx.Graph()
    network.add_nodes_from(range(listed.n))
    shares = np.abs(listed.weight) / np.abs(listed.weight).max()  # whose squares are not 0
    for a, b, w in zip(listed.pre, listed.post, shares, strict=True):
        before = network.get_edge_data(int(a), int(b), {"weight": 0})["weight"]
        network.add_edge(int(a), int(b), weight=before + float(w))
    label = np.arange(listed.n) % 3
    groups = [set(np.flatnonzero(label == k).tolist()) for k in range(3)]
    wanted = nx.community.modularity(network, groups, resolution=resolution)
    assert modularity(listed, label, resolution, directed=directed) == pytest.approx(wanted)


def test_without_scikit_network_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sknetwork", None)
    with pytest.raises(CompileError, match=r"needs scikit-network.*\n.*\[graph\]"):
        PartitionByCommunity()(cliques([3, 3]))


@pytest.mark.parametrize(
    "options", [{"resolution": 0.0}, {"resolution": float("nan")}, {"seed": -1}, {"seed": 2**32}]
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match=f"partition-by-community.{next(iter(options))}"):
        PartitionByCommunity(**options)
