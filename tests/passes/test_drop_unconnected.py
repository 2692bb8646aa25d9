import pytest
from hypothesis import given
from references import edges, neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.drop_unconnected import DropUnconnected
from connectome_compiler.passes.runner import run


@given(connectomes())
def test_drops_the_unconnected_and_only_them(graph: Graph) -> None:
    digest = graph.digest()
    after = DropUnconnected()(graph)
    after.verify()
    ends = {i for _, *pair in edges(graph) for i in pair}
    ids = neurons(graph)
    assert neurons(after) == {i: row for i, row in ids.items() if i in ends}
    assert edges(after) == edges(graph)
    assert [p.name for p in after.populations] == [p.name for p in graph.populations]
    assert DropUnconnected()(after).digest() == after.digest()
    assert graph.digest() == digest


def test_counts_what_was_dropped_and_believes_connections_with_oneself() -> None:
    graph = small({"a": {"sign": [1, 1, 1]}, "b": {"sign": [1]}}, [("a", "a", [(1, 1)])])
    (step,) = run(graph, [DropUnconnected()]).provenance.steps
    assert step.notes == ("3 neurons without any connection dropped",)
    assert (step.n_neurons_before, step.n_neurons_after) == (4, 1)


def test_junctions_connect() -> None:
    graph = small({"a": {"sign": [1, 1, 1]}}, [("a", "a", [(0, 1)])], kind="electrical")
    assert neurons(run(graph, [DropUnconnected()])).keys() == {1, 2}


def test_a_graph_without_connections_has_nothing_to_keep() -> None:
    with pytest.raises(CompileError, match="no neuron is left"):
        run(small({"a": {"sign": [1]}}, []), [DropUnconnected()])
