import pytest
from hypothesis import given
from references import edges, neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.laminar_partition import LaminarPartition
from connectome_compiler.passes.runner import run
from connectome_compiler.text import counted

ORDER = ("L4", "L2/3", "L5")
WORD = {1: "exc", -1: "inh", None: "unsigned"}
DROP = LaminarPartition(ORDER, others="drop")


@given(connectomes(min_populations=1))
def test_every_neuron_lands_in_its_layer_and_takes_its_connections_along(graph: Graph) -> None:
    digest = graph.digest()
    inside = {i: r for i, r in neurons(graph).items() if r["cortical_layer"] in ORDER}
    if len({p.node for p in graph.populations}) != 1:
        return
    after = DROP(graph)
    after.verify()
    assert neurons(after) == {
        i: {**row, "population": f"{row['cortical_layer']}.{WORD[row['sign']]}"}
        for i, row in inside.items()
    }
    wanted = {k: v for k, v in edges(graph).items() if k[1] in inside and k[2] in inside}
    assert edges(after) == wanted
    names = [f"{layer}.{word}" for layer in ORDER for word in ("inh", "exc", "unsigned")]
    made = {row["population"] for row in neurons(after).values()}
    assert [p.name for p in after.populations] == [name for name in names if name in made]
    for q in after.connectome:
        assert after.count(q)
    assert graph.digest() == digest


@given(connectomes(min_populations=1))
def test_neurons_keep_their_order(graph: Graph) -> None:
    after = DROP(graph)
    before = list(neurons(graph))
    for p in after.populations:
        here = [before.index(i) for i in p.column("neuron_id").to_pylist()]
        assert here == sorted(here)


@given(connectomes(min_populations=1))
def test_refuses_neurons_of_other_layers_and_counts_those_dropped(graph: Graph) -> None:
    layers = [row["cortical_layer"] for row in neurons(graph).values()]
    outside = [layer for layer in layers if layer not in ORDER]
    if outside:
        with pytest.raises(CompileError, match="are in none of the layers L4, L2/3, L5") as caught:
            LaminarPartition(ORDER)(graph)
        assert f"{counted(outside.count(None), 'neuron')} of no layer" in str(caught.value)
    else:
        assert LaminarPartition(ORDER)(graph).digest() == DROP(graph).digest()
    if len(outside) < len(layers):
        notes = run(graph, [DROP]).provenance.steps[-1].notes
        assert (f"{counted(len(outside), 'neuron')} of other layers dropped" in notes) == bool(
            outside
        )


CELLS = small(
    {"cells": {"cortical_layer": ["L4", "WM", None, "L4"], "sign": [1, 1, None, None]}},
    [("cells", "cells", [(0, 3), (3, 0), (1, 0), (2, 1)])],
)


def test_says_who_is_outside_and_what_to_do() -> None:
    with pytest.raises(CompileError) as caught:
        LaminarPartition()(CELLS)
    assert "1 neuron of WM, 1 neuron of no layer" in str(caught.value)
    assert 'laminar-partition.others to "drop"' in caught.value.hint


def test_unsigned_neurons_are_a_population_and_missing_layers_are_named() -> None:
    after = run(CELLS, [LaminarPartition(others="drop")])
    assert [(p.name, p.n_units) for p in after.populations] == [("L4.exc", 1), ("L4.unsigned", 1)]
    assert [q.key for q in after.projections] == ["L4.unsigned->L4.exc", "L4.exc->L4.unsigned"]
    assert after.provenance.steps[-1].notes == (
        "L4.exc 1, L4.unsigned 1",
        "2 neurons of other layers dropped",
        "no neurons in L2/3, L1, L5, L6",
    )


def test_nobody_left_is_an_error() -> None:
    with pytest.raises(CompileError, match="no neuron is left"):
        run(CELLS, [LaminarPartition(("L6",), others="drop")])


@pytest.mark.parametrize("order", [(), ("L4", "L4")])
def test_refuses_an_order_that_is_none(order: tuple[str, ...]) -> None:
    with pytest.raises(CompileError, match="must name layers, each once"):
        LaminarPartition(order)
