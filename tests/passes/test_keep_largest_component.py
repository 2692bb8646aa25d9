from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import graphs

from connectome_compiler.ir import Graph
from connectome_compiler.passes.keep_largest_component import KeepLargestComponent
from connectome_compiler.passes.runner import run


@given(graphs(), st.sampled_from(["weak", "strong"]))
def test_agrees_with_networkx(graph: Graph, connection: Any) -> None:
    digest = graph.digest()
    whole: nx.DiGraph[Any] = nx.DiGraph()
    whole.add_nodes_from(neurons(graph))
    whole.add_edges_from((pre, post) for _, pre, post in edges(graph))
    parts: Any = nx.weakly_connected_components if connection == "weak" else None
    found = list((parts or nx.strongly_connected_components)(whole))
    place = {i: k for k, i in enumerate(neurons(graph))}
    ranked = sorted(found, key=lambda part: (-len(part), min(place[i] for i in part)))
    step = KeepLargestComponent(connection)
    after = step(graph)
    after.verify()
    largest = ranked[0] if ranked else set()
    assert neurons(after) == {i: row for i, row in neurons(graph).items() if i in largest}
    wanted = {k: v for k, v in edges(graph).items() if {k[1], k[2]} <= largest}
    assert edges(after) == wanted
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest
    (note,) = step.report(graph, after)
    lost = graph.n_neurons - len(largest)
    others = max(len(found) - 1, 0)
    assert note == f"{lost} neurons of {others} smaller {connection} components dropped"


@pytest.mark.parametrize(("connection", "kept"), [("weak", [1, 2, 3, 4]), ("strong", [2, 3])])
def test_directions(connection: Any, kept: list[int]) -> None:
    arcs = [(0, 1), (1, 2), (2, 1), (3, 2)]
    graph = small({"cells": {"sign": [1] * 6}}, [("cells", "cells", arcs)])
    assert list(neurons(run(graph, [KeepLargestComponent(connection)]))) == kept
