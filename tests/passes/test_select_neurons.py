import pytest
from hypothesis import given
from references import edges, neurons, small
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.select_neurons import SelectNeurons

WHERE = 'sign == 1 or cortical_layer in ("L4", "L5") and not x_um > 100'


def fits(row: dict[str, object]) -> bool:
    x = row["x_um"]
    near = isinstance(x, float) and x <= 100
    return row["sign"] == 1 or (row["cortical_layer"] in ("L4", "L5") and near)


@given(connectomes(min_populations=1))
def test_keeps_the_neurons_that_fit_and_the_connections_among_them(graph: Graph) -> None:
    digest = graph.digest()
    chosen = {i: row for i, row in neurons(graph).items() if fits(row)}
    if not chosen:
        with pytest.raises(CompileError, match="none of"):
            SelectNeurons(WHERE)(graph)
        return
    after = run(graph, [SelectNeurons(WHERE)])
    assert neurons(after) == chosen
    wanted = {k: v for k, v in edges(graph).items() if k[1] in chosen and k[2] in chosen}
    assert edges(after) == wanted
    assert [p.name for p in after.populations] == [p.name for p in graph.populations]
    assert SelectNeurons(WHERE)(after).digest() == after.digest()
    assert graph.digest() == digest


@given(graphs())
def test_an_empty_expression_keeps_all(graph: Graph) -> None:
    assert SelectNeurons()(graph) is graph
    assert SelectNeurons("  \n")(graph) is graph


@given(graphs())
def test_images_and_classes_stay(graph: Graph) -> None:
    try:
        after = SelectNeurons("sign == 1")(graph)
    except CompileError:
        return
    after.verify()
    assert [p.shape for p in after.populations if p.artificial] == [
        p.shape for p in graph.populations if p.artificial
    ]
    assert after.ports == graph.ports


CELLS = small({"cells": {"cell_type": ["BC", None]}}, [])


def test_an_empty_selection_is_an_error_that_says_what_was_asked() -> None:
    with pytest.raises(CompileError, match="none of 2 neurons matches 'cell_type == \"MC\"'"):
        SelectNeurons('cell_type == "MC"')(CELLS)


def test_an_unknown_column_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cell_type'"):
        SelectNeurons('celltype == "BC"')(CELLS)


def test_misspelt_words_are_named() -> None:
    graph = small({"cells": {"cortical_layer": ["L4", "L5"]}}, [("cells", "cells", [(0, 1)])])
    step = SelectNeurons('cortical_layer in ("L4", "L23") or cell_type == "BC"')
    notes = list(step.report(graph, step(graph)))
    assert notes == ["no neuron has cortical_layer 'L23'", "no neuron has cell_type 'BC'"]
    with pytest.raises(CompileError, match="no neuron has cortical_layer 'L44'"):
        SelectNeurons('cortical_layer == "L44"')(graph)


def test_slips_show_before_any_data_are_read() -> None:
    with pytest.raises(CompileError, match="is not an expression"):
        SelectNeurons("cortical_layer ==")


def test_the_population_is_a_column_unless_the_data_have_their_own() -> None:
    graph = small({"L4.exc": {"sign": [1, 1]}, "L5.exc": {"sign": [1]}}, [])
    assert neurons(run(graph, [SelectNeurons('population == "L5.exc"')])).keys() == {3}
    assert "population" not in graph.populations[0].neurons.column_names  # type: ignore[union-attr]
    with pytest.raises(CompileError, match="none of 3 neurons matches") as caught:
        run(graph, [SelectNeurons('population == "L5.ex"')])
    assert caught.value.hint == "no neuron has population 'L5.ex'"
    own = small({"cells": {"sign": [1, 1], "population": ["a", "b"]}}, [])
    assert neurons(run(own, [SelectNeurons('population == "b"')])).keys() == {2}
