import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons
from strategies import graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph, Projection
from connectome_compiler.ir.laws import AllToAll
from connectome_compiler.options import configure
from connectome_compiler.passes.drop_weak_connections import DropWeakConnections


@given(graphs(), st.integers(0, 10) | st.floats(0, 10))
def test_keeps_the_strong_and_only_them(graph: Graph, least: float) -> None:
    digest = graph.digest()
    step = DropWeakConnections(least)
    after = step(graph)
    after.verify()
    assert edges(after) == {k: v for k, v in edges(graph).items() if abs(v[0]) >= least}
    assert neurons(after) == neurons(graph)
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest


@pytest.mark.parametrize("least", [-1, float("nan"), float("inf")])
def test_refuses_a_threshold_that_makes_no_sense(least: float) -> None:
    with pytest.raises(CompileError, match=r"min_weight: must be finite and at least 0, not"):
        configure("drop-weak-connections", DropWeakConnections, {"min_weight": least})


@given(graphs())
def test_a_law_between_neurons_has_no_weights(graph: Graph) -> None:
    if not graph.biological:
        return
    name = graph.biological[0].name
    law = graph.with_projections([Projection(name, name, AllToAll())])
    with pytest.raises(CompileError, match="not an edge list"):
        DropWeakConnections()(law)
