from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, ids
from strategies import graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph, Population, Provenance
from connectome_compiler.passes._edge_list import BOTH, by_population, edge_list, rank_of_ids


def all_ids(graph: Graph) -> list[Any]:
    return [i for p in graph.biological for i in ids(p)]


@given(graphs(), st.sampled_from([("chemical",), ("electrical",), BOTH]))
def test_lists_the_connections_of_all_populations(graph: Graph, kinds: Any) -> None:
    listed, names = edge_list(graph, kinds), all_ids(graph)
    assert listed.n == graph.n_neurons
    assert listed.pre.dtype == listed.post.dtype == np.int32
    found = sorted(
        (names[a], names[b], w)
        for a, b, w in zip(listed.pre, listed.post, listed.weight.tolist(), strict=True)
    )
    assert found == sorted((a, b, v[0]) for (k, a, b), v in edges(graph).items() if k in kinds)
    plain = listed.without_autapses()
    assert len(plain.pre) == sum(a != b for a, b, _ in found)
    turned = listed.renumbered(np.arange(listed.n)[::-1])
    assert (turned.pre == listed.n - 1 - listed.pre).all()
    assert (turned.post == listed.n - 1 - listed.post).all()


@given(graphs())
def test_ids_are_ranked_and_cut_by_population(graph: Graph) -> None:
    names = all_ids(graph)
    rank = rank_of_ids(graph)
    assert [sorted(names)[k] for k in rank] == names
    cut = by_population(graph, np.array(names, object))
    assert {name: list(values) for name, values in cut.items()} == {
        p.name: ids(p) for p in graph.biological
    }


def test_neurons_without_ids_have_no_rank() -> None:
    bare = Graph((Population("a", (2,)),), (), Provenance("t"))
    with pytest.raises(CompileError, match="population a: has no neuron table"):
        rank_of_ids(bare)
