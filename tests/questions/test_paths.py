"""Paths, against networkx and against all walks one by one."""

from itertools import pairwise, product
from math import prod

import networkx as nx
import numpy as np
import pytest
from brains import brain, wired
from hypothesis import given
from hypothesis import strategies as st
from worms import worm

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph
from connectome_compiler.questions import paths as paths_module
from connectome_compiler.questions.paths import By

LETTERS = "abcdefg"


@st.composite
def small(draw: st.DrawFn) -> Graph:
    pairs = draw(st.sets(st.tuples(*[st.sampled_from(LETTERS)] * 2), min_size=1, max_size=30))
    return wired([(a, b, draw(st.integers(1, 5))) for a, b in sorted(pairs)], more=LETTERS)


def view(graph: Graph) -> "nx.DiGraph[str]":
    made: nx.DiGraph[str] = nx.DiGraph()
    made.add_nodes_from(LETTERS)
    rows = graph.connections()
    received = rows.groupby("post").weight.sum()
    for _, row in rows.iterrows():
        if row.pre != row.post:
            share = row.weight / received[row.post]
            made.add_edge(row.pre, row.post, weight=row.weight, share=share)
    return made


def simple(graph: Graph, sources: set[str], targets: set[str], most: int) -> list[tuple[str, ...]]:
    """All paths that meet no neuron twice, and neither sources nor targets between their ends."""
    found = []
    whole = view(graph)
    for a, b in product(sources, targets):
        if a == b:
            for out in set(whole[a]) - sources - targets:
                found += [(a, *p) for p in nx.all_simple_paths(whole, out, a, most - 1)]
        else:
            found += [tuple(p) for p in nx.all_simple_paths(whole, a, b, most)]
    return [p for p in found if not set(p[1:-1]) & (sources | targets)]


ends = st.sets(st.sampled_from(LETTERS), min_size=1, max_size=2)


@given(small(), ends, ends, st.integers(1, 5), st.sampled_from(["product", "min"]))
def test_strongest_and_counts(
    graph: Graph, sources: set[str], targets: set[str], most: int, by: By
) -> None:
    found = graph.paths(sorted(sources), sorted(targets), most, by=by, strongest=1000)
    edges = view(graph).edges
    expected = simple(graph, sources, targets, most)

    def strength(path: tuple[str, ...]) -> float:
        pairs = list(pairwise(path))
        if by == "product":
            return float(prod(edges[p]["share"] for p in pairs))
        return float(min(edges[p]["weight"] for p in pairs))

    rows = found.strongest.to_pylist()
    listed = [tuple(row["path"].split(" -> ")) for row in rows]
    assert sorted(listed) == sorted(expected)
    assert [row["strength"] for row in rows] == pytest.approx([strength(p) for p in listed])
    strengths = [row["strength"] for row in rows]
    assert strengths == pytest.approx(sorted(strengths, reverse=True))
    assert found.complete
    few = graph.paths(sorted(sources), sorted(targets), most, by=by, strongest=2)
    assert few.strongest.column("strength").to_pylist() == pytest.approx(strengths[:2])

    counted = dict(
        zip(*(found.counts.column(c).to_pylist() for c in ("steps", "paths")), strict=True)
    )
    for steps in range(1, most + 1):
        n = sum(len(p) == steps + 1 for p in expected)
        assert counted[steps] == n if steps < 4 else counted[steps] >= n
    reached = [
        len({p[-1] for p in expected if len(p) <= steps + 1})
        for steps in range(1, min(most, 3) + 1)
    ]
    assert found.counts.column("targets_reached").to_pylist()[:3] == reached
    lengths = [len(p) - 1 for p in expected]
    assert found.shortest == min(lengths, default=found.shortest)


@given(small(), st.integers(1, 6))
def test_counts_are_those_of_all_walks(graph: Graph, most: int) -> None:
    whole = view(graph)
    found = graph.paths("a", "b", most)
    inner = nx.to_numpy_array(whole, nodelist=list(LETTERS[2:]), weight="none")
    out = np.array([whole.has_edge("a", x) for x in LETTERS[2:]], float)
    back = np.array([whole.has_edge(x, "b") for x in LETTERS[2:]], float)
    expected = [float(whole.has_edge("a", "b"))]
    expected += [float(out @ np.linalg.matrix_power(inner, k) @ back) for k in range(most - 1)]
    assert found.counts.column("paths").to_pylist() == expected


def test_signs_multiply_and_steps_are_listed() -> None:
    signs = {"a": 1, "b": -1, "c": -1}
    graph = wired([("a", "b", 3), ("b", "c", 1), ("c", "d", 2), ("e", "d", 6)], signs)
    found = graph.paths("a", "d")
    (row,) = found.strongest.to_pylist()
    assert row["path"] == "a -> b -> c -> d"
    assert row["strength"] == pytest.approx(1 * 1 * 2 / 8)
    assert row["sign"] == 1
    assert found.steps.column("pre").to_pylist() == ["a", "b", "c"]
    assert found.steps.column("share").to_pylist() == pytest.approx([1, 1, 0.25])
    assert graph.paths("a", "c").strongest.column("sign").to_pylist() == [-1]
    assert graph.paths("e", "d").strongest.column("sign").to_pylist() == [0]
    assert graph.paths("a", "d", by="min").strongest.column("strength").to_pylist() == [1.0]
    assert "no path from d to a in at most 3 steps" in str(graph.paths("d", "a"))
    assert "1 path from a to d in at most 3 steps; the shortest takes 3 steps" in str(found)


def test_wrong_options_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = worm(12)
    with pytest.raises(UnknownNameError, match="did you mean 'product'"):
        graph.paths("N0", "N1", by="products")  # type: ignore[arg-type]
    with pytest.raises(CompileError, match=r"paths.max_steps: must be between 1 and 12, not 0"):
        graph.paths("N0", "N1", 0)
    with pytest.raises(UnknownNameError, match="did you mean"):
        graph.paths("N0", "N111")
    monkeypatch.setattr(paths_module, "MOST_TRIED", 2)
    short = graph.paths("N0", "N1", 6)
    assert not short.complete
    assert "ended after 2 partial paths" in str(short)


@pytest.mark.slow
def test_questions_of_a_whole_brain_take_seconds() -> None:
    graph = brain()
    assert graph.n_connections > 4_000_000
    name = "720575940600000005"
    assert graph.neuron(name).neuron_id == int(name)
    assert graph.select('cell_type == "T5"').n_neurons == 18
    found = graph.paths("T5", "T77", 4)
    assert found.shortest is not None
    assert found.complete
    for signed in (False, True):
        answer = graph.influence("T5", signed=signed)
        assert answer.neurons.num_rows == graph.n_neurons
    assert graph.motifs(0).counts.num_rows == 15
