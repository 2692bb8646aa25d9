"""The runner verifies around each pass, counts, and says who broke a rule."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import Graph, Projection
from connectome_compiler.ir.laws import AllToAll
from connectome_compiler.options import spell_options
from connectome_compiler.passes import BUILTIN
from connectome_compiler.passes.drop_autapses import DropAutapses
from connectome_compiler.passes.drop_weak_connections import DropWeakConnections
from connectome_compiler.passes.runner import Ran, run
from connectome_compiler.passes.select_neurons import SelectNeurons
from connectome_compiler.registry import find

GRAPH = small({"cells": {"sign": [1, -1, None]}}, [("cells", "cells", [(0, 0), (0, 1), (1, 2)])])


@dataclass(frozen=True)
class Breaks:
    """Leaves a projection without its population."""

    name: ClassVar[str] = "breaks"

    def __call__(self, graph: Graph) -> Graph:
        return graph.with_projections([Projection("cells", "nowhere", AllToAll())])


@dataclass(frozen=True)
class Empties:
    """Leaves no neuron."""

    name: ClassVar[str] = "empties"

    def __call__(self, graph: Graph) -> Graph:
        return replace(graph, populations=(), projections=())


class Plain:
    """Not a dataclass, so without options."""

    name: ClassVar[str] = "plain"

    def __call__(self, graph: Graph) -> Graph:
        return graph


@dataclass(frozen=True)
class Forgets:
    """Returns nothing."""

    name: ClassVar[str] = "forgets"

    def __call__(self, graph: Graph) -> Graph:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Plain(), "Plain object at .* is not a pass\n.*frozen dataclass with a name"),
        (print, "is not a pass"),
        ("drop-autapses", "'drop-autapses' is not a pass"),
        (DropAutapses, r"DropAutapses is the class of a pass\n  hint: call .*: DropAutapses\("),
        (Forgets(), "forgets: returned NoneType, not a graph"),
    ],
)
def test_what_is_no_pass_is_refused(given: Any, words: str) -> None:
    with pytest.raises(CompileError, match=words):
        GRAPH.run(DropAutapses(), given)


@dataclass(frozen=True)
class Miscounts:
    """Fails when it reports."""

    name: ClassVar[str] = "miscounts"

    def __call__(self, graph: Graph) -> Graph:
        return graph

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        yield f"{before.population('other').n_units}"


@pytest.mark.parametrize("broken", [Breaks(), Empties(), Miscounts()])
def test_names_the_pass_that_broke_a_rule(broken: Any) -> None:
    with pytest.raises(CompileError) as caught:
        run(GRAPH, (DropAutapses(), broken))
    assert caught.value.__notes__ == [f"in pass {broken.name}"]


def test_refuses_a_graph_that_is_broken_already() -> None:
    with pytest.raises(VerifyError) as caught:
        run(Breaks()(GRAPH), ())
    assert not hasattr(caught.value, "__notes__")


def test_records_every_pass_in_order() -> None:
    seen: list[Ran] = []
    started = perf_counter()
    after = run(GRAPH, (DropAutapses(), DropWeakConnections(3)), seen.append)
    took = perf_counter() - started
    assert [s.name for s in after.provenance.steps] == ["drop-autapses", "drop-weak-connections"]
    assert [str(s) for s in after.provenance.steps] == [
        "drop-autapses: 3 neurons, 3 -> 2 connections",
        "drop-weak-connections(min_weight=3): 3 neurons, 2 -> 1 connection",
    ]
    assert [r.step for r in seen] == list(after.provenance.steps)
    assert [r.graph.n_connections for r in seen] == [2, 1]
    assert all(r.seconds > 0 for r in seen)
    assert sum(r.seconds for r in seen) < took
    assert GRAPH.provenance.steps == ()


@given(connectomes(min_populations=1), st.integers(1, 9))
def test_counts_are_those_of_the_graphs(graph: Graph, least: int) -> None:
    if not graph.n_neurons:
        return
    seen: list[Ran] = []
    where = "" if all(r["sign"] is None for r in neurons(graph).values()) else "sign in (1, -1)"
    run(graph, (DropAutapses(), SelectNeurons(where), DropWeakConnections(least)), seen.append)
    before = graph
    for ran in seen:
        assert (ran.step.n_neurons_before, ran.step.n_neurons_after) == (
            before.n_neurons,
            ran.graph.n_neurons,
        )
        assert (ran.step.n_connections_before, ran.step.n_connections_after) == (
            before.n_connections,
            ran.graph.n_connections,
        )
        before = ran.graph


@dataclass(frozen=True)
class Words:
    where: str


@given(st.text(max_size=20))
def test_options_are_spelled_as_toml(where: str) -> None:
    spelled = spell_options(Words(where))
    assert tomllib.loads(spelled.encode("utf-8", "replace").decode())["where"] == (
        where.encode("utf-8", "replace").decode()
    )
    assert "\n" not in spelled


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_pass_is_spelled_three_ways(name: str) -> None:
    cls = find("pass", name)
    assert cls.name == name
    assert cls.__module__.rpartition(".")[2] == name.replace("-", "_")
    assert cls.__name__ == "".join(word.capitalize() for word in name.split("-"))
    assert cls.__doc__
    assert cls.__dataclass_params__.frozen
