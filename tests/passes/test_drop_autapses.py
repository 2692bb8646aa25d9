from dataclasses import replace

import numpy as np
from hypothesis import given
from references import edges, neurons, small
from strategies import graphs

from connectome_compiler.ir import Graph, Synapses
from connectome_compiler.passes.drop_autapses import DropAutapses
from connectome_compiler.passes.runner import run


@given(graphs())
def test_drops_self_connections_and_only_them(graph: Graph) -> None:
    digest = graph.digest()
    after = DropAutapses()(graph)
    after.verify()
    assert edges(after) == {k: v for k, v in edges(graph).items() if k[1] != k[2]}
    assert neurons(after) == neurons(graph)
    assert DropAutapses()(after).digest() == after.digest()
    assert graph.digest() == digest


def test_equal_places_in_two_populations_are_two_neurons() -> None:
    graph = small(
        {"a": {"sign": [1, 1]}, "b": {"sign": [1, 1]}},
        [("a", "b", [(0, 0), (1, 1)]), ("a", "a", [(0, 0), (0, 1)])],
    )
    after = run(graph, [DropAutapses()])
    assert {k[1:] for k in edges(after)} == {(1, 3), (2, 4), (1, 2)}


def test_electrical_ones_go_too() -> None:
    graph = small({"a": {"sign": [1, 1]}}, [("a", "a", [(0, 1)])], kind="electrical")
    (q,) = graph.projections
    self_joined = Synapses.from_edges(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([1, 2, 2]))
    graph = graph.with_projections([replace(q, connectivity=self_joined)])
    assert {k[1:] for k in edges(run(graph, [DropAutapses()]))} == {(1, 2), (2, 1)}
