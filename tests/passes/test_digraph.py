"""Array algorithms against networkx and against slow, plain readings."""

from itertools import pairwise

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.passes import _digraph
from connectome_compiler.passes._digraph import (
    feedback_order,
    in_core,
    levels,
    sifted,
    signal_flow,
    strong_components,
    weak_or_strong,
)

Arcs = tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int32]]


@st.composite
def digraphs(draw: st.DrawFn, acyclic: bool = False) -> Arcs:
    """Up to nine nodes, without autapses."""
    n = draw(st.integers(0, 9))
    pairs = [(a, b) for a in range(n) for b in range(n) if (a < b if acyclic else a != b)]
    arcs = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    pre, post = np.array(arcs, np.int32).reshape(-1, 2).T
    if acyclic:
        names = np.array(draw(st.permutations(range(n))), np.int32)
        pre, post = names[pre], names[post]
    return n, pre, post


def as_networkx(arcs: Arcs) -> "nx.DiGraph[int]":
    n, pre, post = arcs
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(zip(pre.tolist(), post.tolist(), strict=True))
    return graph


def back(arcs: Arcs, position: npt.NDArray[np.intp]) -> int:
    _, pre, post = arcs
    return int((position[pre] > position[post]).sum())


def drawn(n: int, m: int, seed: int = 0) -> Arcs:
    """A random digraph with heavy-tailed degrees."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(size=(2, n))
    pre, post = (rng.choice(n, m, p=s / s.sum()) for s in share)
    key = np.unique(post[pre != post] * n + pre[pre != post])
    return n, (key % n).astype(np.int32), (key // n).astype(np.int32)


@given(digraphs())
def test_components_and_levels_are_those_of_the_condensation(arcs: Arcs) -> None:
    n, pre, post = arcs
    component, level = strong_components(n, pre, post)
    found = {frozenset(np.flatnonzero(component == k).tolist()) for k in range(len(level))}
    graph = as_networkx(arcs)
    assert found == set(map(frozenset, nx.strongly_connected_components(graph)))
    condensed = nx.condensation(graph)
    for depth, generation in enumerate(nx.topological_generations(condensed)):
        for k in generation:
            members = list(condensed.nodes[k]["members"])
            assert (level[component[members]] == depth).all()
    between = component[pre] != component[post]
    assert (level[component[pre]] < level[component[post]])[between].all()
    first = [(level[k], np.flatnonzero(component == k)[0]) for k in range(len(level))]
    assert first == sorted(first)


@given(digraphs())
def test_weak_components_are_numbered_by_their_first_node(arcs: Arcs) -> None:
    k, label = weak_or_strong(*arcs, "weak")
    found = [set(np.flatnonzero(label == i).tolist()) for i in range(k)]
    wanted = nx.weakly_connected_components(as_networkx(arcs))
    assert found == sorted(map(set, wanted), key=min)


def test_a_long_chain_has_many_levels() -> None:
    n = 3000
    names = np.random.default_rng(0).permutation(n)
    level = levels(n, names[:-1], names[1:])
    assert level[names].tolist() == list(range(n))


@given(digraphs(acyclic=True))
def test_no_connection_of_an_acyclic_graph_runs_back(arcs: Arcs) -> None:
    position = feedback_order(*arcs)
    assert sorted(position) == list(range(arcs[0]))
    assert back(arcs, position) == 0


@given(digraphs(acyclic=True), st.data())
def test_of_a_pair_connected_both_ways_one_runs_back(arcs: Arcs, data: st.DataObject) -> None:
    n, pre, post = arcs
    m = len(pre)
    turned = np.array(data.draw(st.lists(st.booleans(), min_size=m, max_size=m)), bool)
    both = n, np.append(pre, post[turned]), np.append(post, pre[turned])
    assert back(both, feedback_order(*both)) == turned.sum()


@given(digraphs(), st.integers(0, 30))
def test_at_most_half_of_the_connections_run_back(arcs: Arcs, sweeps: int) -> None:
    n, pre, post = arcs
    position = feedback_order(n, pre, post)
    assert sorted(position) == list(range(n))
    assert 2 * back(arcs, position) <= len(pre)
    better = sifted(n, pre, post, position, sweeps)
    assert sorted(better) == list(range(n))
    assert back(arcs, better) <= back(arcs, position)


@given(digraphs(), st.data())
def test_after_sifting_no_single_move_helps(arcs: Arcs, data: st.DataObject) -> None:
    n, pre, post = arcs
    start = np.array(data.draw(st.permutations(range(n))), np.intp)
    position = sifted(n, pre, post, start, 1000)
    order = np.argsort(position)
    for v in range(n):
        others = [u for u in order if u != v]
        for k in range(n):
            moved = np.argsort([*others[:k], v, *others[k:]])
            assert back(arcs, moved) >= back(arcs, position)


def test_the_neuron_that_gains_most_moves_and_the_others_stay() -> None:
    pre, post = np.array([2, 2]), np.array([0, 1])
    position = sifted(3, pre, post, np.arange(3), 1)
    assert np.argsort(position).tolist() == [2, 0, 1]  # 0 would have gained by moving, too


@pytest.mark.parametrize("n", [3, 50, 2000])
def test_one_connection_of_a_ring_runs_back(n: int) -> None:
    ring = np.random.default_rng(0).permutation(n).astype(np.int32)
    arcs = n, ring, np.roll(ring, -1)
    assert back(arcs, feedback_order(*arcs)) == 1


def eades_lin_smyth(arcs: Arcs) -> npt.NDArray[np.intp]:
    """The published heuristic, one node at a time."""
    graph = as_networkx(arcs)
    front: list[int] = []
    end: list[int] = []
    while graph:
        while sinks := [v for v in graph if not graph.out_degree(v)]:
            end = sinks[::-1] + end
            graph.remove_nodes_from(sinks)
        while sources := [v for v in graph if not graph.in_degree(v)]:
            front += sources
            graph.remove_nodes_from(sources)
        if graph:
            best = max(graph, key=lambda v: graph.out_degree(v) - graph.in_degree(v))
            front.append(best)
            graph.remove_node(best)
    return np.argsort(front + end)


@pytest.mark.parametrize(("n", "m"), [(300, 3000), (1500, 20000)])
def test_no_more_runs_back_than_in_the_published_heuristic(n: int, m: int) -> None:
    arcs = drawn(n, m)
    plain = back(arcs, eades_lin_smyth(arcs))
    batches = feedback_order(*arcs)
    assert back(arcs, batches) < plain
    assert back(arcs, sifted(*arcs, batches, 20)) < 0.95 * plain


@given(st.lists(st.integers(-4, 4), min_size=1), st.data())
def test_largest(values: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    found = _digraph._largest(np.array(values), k)
    wanted = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert found.tolist() == [i for i in wanted if values[i] > 0]


@given(digraphs(), st.data())
def test_signal_flow_solves_the_published_equation(arcs: Arcs, data: st.DataObject) -> None:
    n, pre, post = arcs
    strengths = st.lists(st.integers(-5, 9), min_size=len(pre), max_size=len(pre))
    weight = np.array(data.draw(strengths), np.int32)
    matrix = np.zeros((n, n))
    matrix[pre, post] = np.abs(weight)
    both = (matrix + matrix.T) / 2
    right = (both * np.sign(matrix - matrix.T)).sum(1)
    wanted = np.linalg.pinv(np.diag(both.sum(1)) - both) @ right if n else np.zeros(0)
    np.testing.assert_allclose(signal_flow(n, pre, post, weight), wanted, atol=2e-6)


def test_signal_falls_by_one_with_each_connection_of_a_chain() -> None:
    chain = np.arange(5, dtype=np.int32)
    flow = signal_flow(6, chain[:-1], chain[1:], np.array([1, 7, 2, 3]))
    assert flow.tolist() == [2, 1, 0, -1, -2, 0]


def test_signal_flow_converges_on_a_long_chain() -> None:
    chain = np.random.default_rng(0).permutation(2000).astype(np.int32)
    flow = signal_flow(2000, chain[:-1], chain[1:], np.ones(1999))
    np.testing.assert_allclose([a - b for a, b in pairwise(flow[chain])], 1, atol=1e-5)


@given(digraphs(), st.integers(0, 6))
def test_cores(arcs: Arcs, k: int) -> None:
    n, pre, post = arcs
    graph = as_networkx(arcs)
    total = in_core(n, [(pre, post), (post, pre)], k)
    assert set(np.flatnonzero(total)) == set(nx.k_core(graph, k))
    inputs = in_core(n, [(post, pre)], k)
    while weak := [v for v in graph if graph.in_degree(v) < k]:
        graph.remove_nodes_from(weak)
    assert set(np.flatnonzero(inputs)) == set(graph)
