from dataclasses import replace

import pytest
from hypothesis import given
from references import edges, neurons
from strategies import graphs
from worms import worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graded, Graph, Leaky, Node
from connectome_compiler.options import Raw, configure
from connectome_compiler.passes.set_node_model import SetNodeModel


@given(graphs())
def test_sets_all_neurons_and_nothing_else(graph: Graph) -> None:
    digest = graph.digest()
    step = SetNodeModel(normalisation="rms", noise_std=0.5)
    after = step(graph)
    after.verify()
    for p, q in zip(graph.populations, after.populations, strict=True):
        if p.artificial:
            assert q is p
        else:
            assert q.node == replace(p.node, normalisation="rms", noise_std=0.5)
    assert edges(after) == edges(graph)
    assert neurons(after) == neurons(graph)
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest


@pytest.mark.parametrize("noise", ["-0.1", "nan", "inf"])
def test_refuses_noise_that_makes_no_sense(noise: str) -> None:
    with pytest.raises(CompileError, match=r"noise_std: must be finite and at least 0"):
        configure("set-node-model", SetNodeModel, {"noise_std": Raw(noise)})


def test_refuses_an_unknown_normalisation() -> None:
    with pytest.raises(CompileError, match="is 'batch': expected 'layer', 'rms' or 'none'"):
        configure("set-node-model", SetNodeModel, {"normalisation": "batch"})


@pytest.mark.parametrize("node", [Leaky(20.0), Graded()])
def test_refuses_units_that_have_no_normalisation(node: Node) -> None:
    graph = worm().map_populations(lambda p: replace(p, node=node))
    with pytest.raises(CompileError, match="only units without memory have normalisation"):
        SetNodeModel()(graph)
