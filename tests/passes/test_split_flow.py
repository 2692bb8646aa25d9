from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from references import edges, ids, neurons, small
from strategies import graphs

from connectome_compiler.ir import (
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.passes.laminar_partition import LaminarPartition
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.split_flow import SplitFlow, stages

fates = st.sampled_from(["keep", "drop"])
steps = st.builds(SplitFlow, skip=fates, within=fates, feedback=fates)


def places(graph: Graph) -> dict[str, tuple[int, int]]:
    """Position and stage of each population of neurons."""
    seen: list[Any] = []
    found = {}
    for k, p in enumerate(graph.biological):
        layers = {row["cortical_layer"] for row in p.neurons.to_pylist()} if p.neurons else set()
        one = len(layers) == 1 and None not in layers
        mark = ("layer", layers.pop()) if one else ("alone", p.name)
        if mark not in seen:
            seen.append(mark)
        found[p.name] = (k, seen.index(mark))
    return found


def direction(place: dict[str, tuple[int, int]], q: Projection) -> str:
    on = place[q.post][1] - place[q.pre][1]
    on = -abs(on) if q.kind == "electrical" else on
    return "within" if on == 0 else "feedback" if on < 0 else "skip" if on > 1 else "forward"


@given(graphs(), steps)
def test_agrees_with_a_slow_reading(graph: Graph, step: SplitFlow) -> None:
    digest = graph.digest()
    place = places(graph)
    fate = {"forward": "keep", "skip": step.skip, "within": step.within, "feedback": step.feedback}
    wanted = {}
    for q in graph.connectome:
        way = direction(place, q)
        if fate[way] == "keep":
            back = q.kind == "electrical" or place[q.pre][0] >= place[q.post][0]
            wanted[q.key] = int(back)
    after = step(graph)
    after.verify()
    assert {q.key: q.delay for q in after.connectome} == wanted
    kept = {q.key for q in after.connectome}
    lost = graph.with_projections([q for q in graph.projections if q.key not in kept])
    assert edges(after).items() == edges(graph).items() - edges(lost).items()
    assert neurons(after) == neurons(graph)
    artificial = [q.key for q in graph.projections if q not in graph.connectome]
    assert [q.key for q in after.projections if q not in after.connectome] == artificial
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest
    notes = " ".join(step.report(graph, after))
    for way in fate:
        keys = [q for q in graph.connectome if direction(place, q) == way]
        assert f"{sum(graph.count(q) for q in keys)} {way}" in notes


COLUMN = small(
    {
        name: {"cortical_layer": [name.split(".")[0]] * 2}
        for name in ("L4.inh", "L4.exc", "L2/3.exc", "L5.exc")
    },
    [
        (pre, post, [(0, 0), (1, 1)])
        for pre, post in (
            ("L4.inh", "L4.exc"),
            ("L4.exc", "L4.inh"),
            ("L4.exc", "L4.exc"),
            ("L4.exc", "L2/3.exc"),
            ("L4.exc", "L5.exc"),
            ("L5.exc", "L4.exc"),
        )
    ],
)


def test_a_column() -> None:
    assert stages(COLUMN) == {"L4.inh": 0, "L4.exc": 0, "L2/3.exc": 1, "L5.exc": 2}
    after = run(COLUMN, [SplitFlow()])
    assert {q.key: q.delay for q in after.projections} == {
        "L4.inh->L4.exc": 0,
        "L4.exc->L4.inh": 1,
        "L4.exc->L4.exc": 1,
        "L4.exc->L2/3.exc": 0,
    }
    assert after.provenance.steps[-1].notes == (
        "kept: 2 forward, 6 within",
        "dropped: 2 skip, 2 feedback",
    )
    whole = run(COLUMN, [SplitFlow("keep", "keep", "keep")])
    assert edges(whole) == edges(COLUMN)
    assert whole.provenance.steps[-1].notes == ("kept: 2 forward, 2 skip, 6 within, 2 feedback",)


def test_one_layer_alone_is_kept_whole() -> None:
    graph = small(
        {"L2/3.exc": {"cortical_layer": ["L2/3", "L2/3"]}},
        [("L2/3.exc", "L2/3.exc", [(0, 1), (1, 0)])],
    )
    after = run(graph, [SplitFlow()])
    assert edges(after) == edges(graph)


def test_a_population_named_like_a_layer_is_not_that_layer() -> None:
    graph = small(
        {"a": {"cortical_layer": ["L4"]}, "L4": {"cortical_layer": [None]}}, [("a", "L4", [(0, 0)])]
    )
    assert stages(graph) == {"a": 0, "L4": 1}
    assert ids(graph.population("L4")) == [2]


def test_the_few_cells_of_layer_1_do_not_cut_the_way_to_layer_5() -> None:
    layers = ("L4", "L2/3", "L1", "L5")
    table = neuron_table(
        {
            "neuron_id": [1, 2, 3, 4],
            "sign": [1, 1, 1, 1],
            "cortical_layer": layers,
        }
    )
    chain = Synapses.from_edges(np.array([1, 2, 3, 3]), np.array([0, 1, 1, 2]), np.ones(4, int))
    graph = Graph(
        (Population("neurons", (4,), table),),
        (Projection("neurons", "neurons", chain),),
        Provenance("toy"),
    )
    after = run(graph, [LaminarPartition(), SplitFlow()])
    assert [p.stage for p in after.populations] == [0, 1, 1, 2]
    assert {q.key: q.delay for q in after.projections} == {
        "L4.exc->L2/3.exc": 0,
        "L2/3.exc->L1.exc": 0,
        "L2/3.exc->L5.exc": 0,
        "L1.exc->L5.exc": 0,
    }
