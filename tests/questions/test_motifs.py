"""Motifs, against the triadic census of networkx."""

from itertools import permutations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worms import worm

from connectome_compiler.errors import CompileError
from connectome_compiler.passes.null_model import NullModel
from connectome_compiler.questions import motifs as module
from connectome_compiler.questions.motifs import TRIADS


@pytest.mark.parametrize("most", [20_000_000, 7])
@given(n=st.integers(1, 14), density=st.floats(0, 1), seed=st.integers(0, 99))
def test_counts_are_those_of_networkx(most: int, n: int, density: float, seed: int) -> None:
    graph = worm(n, density, seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MOST_PRODUCTS", most)
        found = graph.motifs(0).counts
    counts = dict(zip(*(found.column(c).to_pylist() for c in ("motif", "count")), strict=True))
    view: nx.DiGraph[str] = nx.DiGraph()
    view.add_nodes_from(f"N{k}" for k in range(n))
    rows = graph.connections()
    chemical = rows[rows.kind == "chemical"] if len(rows) else rows
    view.add_edges_from(
        (row.pre, row.post) for _, row in chemical.iterrows() if row.pre != row.post
    )
    if n >= 3:
        census = nx.triadic_census(view)
        assert {name: counts[name] for name in TRIADS} == {name: census[name] for name in TRIADS}
    loops = sum(
        view.has_edge(a, b) and view.has_edge(b, c) and view.has_edge(c, a)
        and not (view.has_edge(b, a) or view.has_edge(c, b) or view.has_edge(a, c))
        for a, b, c in permutations(view, 3)
    )  # fmt: skip
    assert counts["030C"] == loops / 3
    if view.number_of_edges():
        assert counts["reciprocity"] == pytest.approx(nx.overall_reciprocity(view))


def test_null_models_have_seeds_and_give_scores() -> None:
    graph = worm(20, 0.2)
    heard: list[str] = []
    answer = graph.motifs(3, seed=5, say=heard.append)
    assert heard == [f"counting motifs: null model {k} of 3" for k in (1, 2, 3)]
    drawn = [
        NullModel("degrees", null_seed=k)(graph).motifs(0).counts.column("count").to_numpy()
        for k in (5, 6, 7)
    ]
    mean, sd = np.mean(drawn, axis=0), np.std(drawn, axis=0, ddof=1)
    np.testing.assert_allclose(answer.counts.column("mean").to_numpy(), mean)
    np.testing.assert_allclose(answer.counts.column("sd").to_numpy(), sd)
    count = answer.counts.column("count").to_numpy()
    for k, z in enumerate(answer.counts.column("z").to_pylist()):
        assert z == pytest.approx((count[k] - mean[k]) / sd[k]) if sd[k] else z is None
    assert "3 null models 'degrees', seeds 5 to 7" in answer.notes[0]
    assert "feed-forward loop" in str(answer)


def test_wrong_options_are_told() -> None:
    with pytest.raises(CompileError, match="must be 0, or at least 2, not 1"):
        worm(6).motifs(1)
    with pytest.raises(CompileError, match="none: changes nothing"):
        worm(6).motifs(2, model="none")
    with pytest.raises(CompileError, match="did you mean 'degrees'"):
        worm(6).motifs(2, model="degree")
