"""Modules are told of their neurons what is known of some, in the order of their units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from columns import column, laminar
from worms import worm

from connectome_compiler.ir import Graph
from connectome_compiler.ir.names import told, told_digests


def with_column(graph: Graph, name: str, values: pa.Array) -> Graph:
    """Return a graph of one population with another column, or one more."""
    (p,) = graph.populations
    assert p.neurons is not None
    table = p.neurons
    if name in table.column_names:
        table = table.drop_columns([name])
    table = table.append_column(name, values)
    return graph.map_populations(lambda p: replace(p, neurons=table))


def test_what_is_known_of_no_neuron_is_left_out() -> None:
    assert list(told(worm(12))) == ["neuron_id", "cell_type", "role"]
    layered = told(laminar(column()))
    assert list(layered) == ["neuron_id", "cell_class", "cortical_layer"]
    assert layered["neuron_id"].type == pa.int64()


def test_columns_are_in_the_order_of_units() -> None:
    graph = laminar(column())
    assert told(graph)["neuron_id"].to_pylist() == graph.neurons()["neuron_id"].tolist()


def test_names_are_told_if_they_are_words() -> None:
    named = with_column(worm(3), "name", pa.array(["a", None, "b"]))
    assert told(named)["name"].to_pylist() == ["a", None, "b"]
    assert "name" not in told(with_column(worm(3), "name", pa.array([1, 2, 3])))


def test_places_are_told_if_asked_for_and_nan_is_not_known() -> None:
    graph = with_column(worm(3), "x_um", pa.array([1.5, None, float("nan")]))
    assert "x_um" not in told(graph)
    found = told(graph, places=True)
    assert found["x_um"].to_pylist() == [1.5, None, None]
    assert "y_um" not in found


def test_a_population_without_table_is_unknown() -> None:
    graph = laminar(column())
    first, *_ = graph.biological
    bare = graph.map_populations(lambda p: replace(p, neurons=None) if p == first else p)
    ids = told(bare)["neuron_id"].to_pylist()
    assert ids[: first.n_units] == [None] * first.n_units
    assert ids[first.n_units :] == told(graph)["neuron_id"].to_pylist()[first.n_units :]
    assert told(graph.map_populations(lambda p: replace(p, neurons=None))) == {}


@pytest.mark.parametrize(
    "values", [["AVA", "AVB", None], ["AVB", "AVA", None], ["AVA", "AVB", ""], ["A", "VAAVB", None]]
)
def test_hashes_tell_columns_apart(values: list[Any]) -> None:
    hashes = [
        told_digests(told(with_column(worm(3), "cell_type", pa.array(some, pa.string()))))
        for some in (["AVA", "AVB", None], values)
    ]
    same = values == ["AVA", "AVB", None]
    assert (hashes[0]["cell_type"] == hashes[1]["cell_type"]) == same
    assert hashes[0]["neuron_id"] == hashes[1]["neuron_id"]
