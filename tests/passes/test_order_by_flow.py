from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.edit import reorder
from connectome_compiler.passes.merge_populations import MergePopulations
from connectome_compiler.passes.order_by_flow import OrderByFlow
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.split_flow import SplitFlow
from connectome_compiler.registry import find

COLUMNS = ("flow", "component", "flow_level")
methods = st.sampled_from(["feedback-arcs", "signal-flow"])
steps = st.builds(OrderByFlow, methods, sweeps=st.integers(0, 20))


def without_columns(graph: Graph) -> dict[Any, dict[str, Any]]:
    gone = {*COLUMNS, "population"}
    return {i: {k: v for k, v in row.items() if k not in gone} for i, row in neurons(graph).items()}


def drawn(n: int, m: int, seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, n * n, m))
    arcs = [(int(k % n), int(k // n)) for k in pairs]
    return small({"cells": {"sign": [None] * n}}, [("cells", "cells", arcs)])


@given(graphs(), steps)
def test_nothing_is_lost_and_neurons_stand_along_the_flow(graph: Graph, step: OrderByFlow) -> None:
    digest = graph.digest()
    after = step(graph)
    after.verify()
    assert edges(after) == edges(graph)
    assert without_columns(after) == without_columns(graph)
    assert [q.key for q in after.projections] == [q.key for q in graph.projections]
    found = neurons(after)
    population = {i: row["population"] for i, row in neurons(graph).items()}
    assert {i: row["population"] for i, row in found.items()} == population
    for p in after.biological:
        flow = p.column("flow").to_pylist()
        assert flow == sorted(flow, reverse=step.method == "signal-flow")
    assert graph.digest() == digest
    assert step(after).digest() == after.digest()


@given(graphs(), steps)
def test_components_and_levels_are_those_of_networkx(graph: Graph, step: OrderByFlow) -> None:
    after = step(graph)
    found = neurons(after)
    whole: nx.DiGraph[Any] = nx.DiGraph()
    whole.add_nodes_from(found)
    arcs = [(pre, post) for kind, pre, post in edges(graph) if kind == "chemical" and pre != post]
    whole.add_edges_from(arcs)
    parts: dict[int, set[Any]] = {}
    for i, row in found.items():
        parts.setdefault(row["component"], set()).add(i)
    known = {frozenset(part) for part in nx.strongly_connected_components(whole)}
    assert {frozenset(part) for part in parts.values()} == known
    assert sorted(parts) == list(range(len(known)))
    condensed = nx.condensation(whole)
    for level, generation in enumerate(nx.topological_generations(condensed)):
        for k in generation:
            members = condensed.nodes[k]["members"]
            assert {found[i]["flow_level"] for i in members} == {level}
    for pre, post in arcs:
        a, b = found[pre], found[post]
        if a["component"] != b["component"]:
            assert a["flow_level"] < b["flow_level"]
            assert a["component"] < b["component"]
            if step.method == "feedback-arcs":
                assert a["flow"] < b["flow"]


@given(connectomes(), steps, st.data())
def test_the_order_before_does_not_matter(
    graph: Graph, step: OrderByFlow, data: st.DataObject
) -> None:
    assert step(graph).digest() == step(shuffled(graph, data)).digest()


def shuffled(graph: Graph, data: st.DataObject) -> Graph:
    return reorder(
        graph,
        {
            p.name: np.array(data.draw(st.permutations(range(p.n_units))), np.intp)
            for p in graph.biological
        },
    )


@given(connectomes(min_populations=1), methods, st.integers(1, 6))
def test_stages_cut_the_flow_into_equal_parts(graph: Graph, method: Any, stages: int) -> None:
    step = OrderByFlow(method, stages)
    if graph.n_neurons < stages:
        with pytest.raises(CompileError, match=rf"stages: {stages} stages for {graph.n_neurons}"):
            step(graph)
        return
    after = step(graph)
    after.verify()
    assert edges(after) == edges(graph)
    assert without_columns(after) == without_columns(graph)
    assert [(p.name, p.stage) for p in after.populations] == [
        (f"stage{k + 1}", k) for k in range(stages)
    ]
    sizes = [p.n_units for p in after.populations]
    assert max(sizes) - min(sizes) <= 1
    flow = [f for p in after.populations for f in p.column("flow").to_pylist()]
    assert flow == sorted(flow, reverse=method == "signal-flow")
    assert step(after).digest() == after.digest()
    apart = OrderByFlow(method)(MergePopulations()(graph))
    order = [i for p in after.populations for i in p.column("neuron_id").to_pylist()]
    assert order == apart.populations[0].column("neuron_id").to_pylist()


def test_split_flow_tells_forward_from_feedback_along_the_stages() -> None:
    graph = run(drawn(60, 400), [OrderByFlow(stages=3)])
    kept = run(graph, [SplitFlow(skip="keep", within="drop", feedback="drop")])
    found = neurons(kept)
    assert kept.n_connections
    for _, pre, post in edges(kept):
        assert found[pre]["flow"] < found[post]["flow"]


def test_feedback_is_counted_before_and_after() -> None:
    # 1 -> 2 -> 3 -> 1 is one component; 4 drives it; 5 -> 4 stands against the order of the table.
    arcs = [(0, 1), (1, 2), (2, 0), (3, 0), (4, 3)]  # of weights 1 to 5
    graph = small({"cells": {"sign": [None] * 5}}, [("cells", "cells", arcs)])
    step = OrderByFlow()
    after = step(graph)
    assert after.populations[0].column("neuron_id").to_pylist()[:2] == [5, 4]
    assert after.populations[0].column("flow_level").to_pylist() == [0, 1, 2, 2, 2]
    assert after.populations[0].column("component").type == pa.int32()
    assert after.populations[0].column("flow").to_pylist() == [0, 0.25, 0.5, 0.75, 1]
    components, before, now = step.report(graph, after)
    assert components == "3 strongly connected components on 3 levels, the largest of 3 neurons"
    # 3 -> 1 (weight 3), 4 -> 1 (4) and 5 -> 4 (5), of 15
    assert before == ("before: 3 of 5 chemical connections run back (60.0%, 80.0% of the weight)")
    assert now.startswith("after: 1 of 5 chemical connections run back (20.0%")


def test_sweeps_leave_less_feedback() -> None:
    graph = drawn(300, 3000)

    def back(sweeps: int) -> int:
        note = list(OrderByFlow(sweeps=sweeps).report(graph, OrderByFlow(sweeps=sweeps)(graph)))[2]
        return int(note.split()[1].replace(",", ""))

    assert back(20) < 0.9 * back(0)


@pytest.mark.parametrize("method", ["feedback-arcs", "signal-flow"])
def test_the_worm_runs_from_sensory_to_motor_neurons(method: Any) -> None:
    worm = find("adapter", "celegans")().load()
    after = run(worm, [OrderByFlow(method)])
    flow = after.neurons().groupby("role")["flow"].mean()
    down = 1 if method == "signal-flow" else -1
    assert down * flow["sensory"] > down * flow["inter"] > down * flow["motor"]
    assert edges(after) == edges(worm)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": -1}, r"order-by-flow.stages: -1 is outside 0..4096"),
        ({"stages": 5000}, "5000 is outside"),
        ({"sweeps": -1}, "order-by-flow.sweeps: -1 is negative"),
    ],
)
def test_bad_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        OrderByFlow(**options)  # type: ignore[arg-type]


def test_neurons_alone_have_an_order_too() -> None:
    graph = small({"a": {"sign": [1, -1]}, "b": {"sign": [1]}}, [])
    after = run(graph, [OrderByFlow("signal-flow")])
    assert neurons(after)[1]["flow"] == 0
    assert list(OrderByFlow().report(graph, OrderByFlow()(graph)))[1] == (
        "before: 0 of 0 chemical connections run back (0.0%, 0.0% of the weight)"
    )
