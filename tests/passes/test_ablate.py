from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph, Projection, Synapses
from connectome_compiler.passes.ablate import Ablate
from connectome_compiler.passes.runner import run

HERE, THERE = "sign == 1", 'cortical_layer == "L4"'
HOLDS: dict[str, Any] = {
    HERE: lambda row: row["sign"] == 1,
    THERE: lambda row: row["cortical_layer"] == "L4",
    "": lambda row: True,
}
ends = st.sampled_from([(HERE, THERE), (HERE, ""), ("", THERE), (HERE, HERE)])
steps = (
    st.builds(
        Ablate,
        st.sampled_from([HERE, THERE]),
        st.sampled_from(["inputs", "outputs"]),
        kind=st.sampled_from(["chemical", "electrical", "both"]),
    )
    | ends.flatmap(
        lambda two: st.builds(
            Ablate,
            what=st.just("connections"),
            pre=st.just(two[0]),
            post=st.just(two[1]),
            kind=st.sampled_from(["chemical", "electrical", "both"]),
        )
    )
    | st.builds(Ablate, st.sampled_from([HERE, THERE]))
)


@given(graphs(), steps)
def test_agrees_with_a_slow_reading(graph: Graph, step: Ablate) -> None:
    digest = graph.digest()
    people = neurons(graph)
    chosen = {
        field: {i for i, row in people.items() if HOLDS[getattr(step, field)](row)}
        for field in ("where", "pre", "post")
    }
    if any(getattr(step, field) and not chosen[field] for field in chosen):
        with pytest.raises(CompileError, match="ablate: none of"):
            step(graph)
        return
    after = step(graph)
    after.verify()
    assert graph.digest() == digest
    wanted = edges(graph)
    if step.what == "neurons":
        left = people.keys() - chosen["where"]
        assert neurons(after) == {i: row for i, row in people.items() if i in left}
        assert edges(after) == {e: v for e, v in wanted.items() if {e[1], e[2]} <= left}
        return
    senders = chosen["where"] if step.what == "outputs" else chosen["pre"]
    receivers = chosen["where"] if step.what == "inputs" else chosen["post"]

    def gone(kind: str, pre: Any, post: Any) -> bool:
        if step.kind not in (kind, "both"):
            return False
        forth = pre in senders and post in receivers
        return forth or (kind == "electrical" and post in senders and pre in receivers)

    assert edges(after) == {e: v for e, v in wanted.items() if not gone(*e)}
    assert neurons(after) == people
    assert step(after).digest() == after.digest()
    lost = {k: sum(gone(*e) for e in wanted if e[0] == k) for k in ("chemical", "electrical")}
    note = next(step.report(graph, after))
    assert note.startswith(f"{lost['chemical']} chemical and {lost['electrical']} electrical")


CELLS = small(
    {"cells": {"cell_type": ["AVA", "AVB", None]}}, [("cells", "cells", [(0, 1), (1, 2)])]
)


def test_counts_neurons_and_names_strangers() -> None:
    after = run(CELLS, [Ablate('cell_type in ("AVA", "AVD")')])
    assert list(neurons(after)) == [2, 3]
    assert after.provenance.steps[0].notes == (
        "1 neuron ablated",
        "1 chemical and 0 electrical connections ablated; a gap junction counts in both directions",
        "no neuron has cell_type 'AVD'",
    )


@pytest.mark.parametrize(
    "options",
    [
        {"where": 'cell_type == "AVA"', "what": "outputs"},
        {"where": 'cell_type == "AVA"', "what": "inputs"},
        {"what": "connections", "pre": 'cell_type == "AVA"', "post": 'cell_type == "AVB"'},
    ],
)
def test_a_gap_junction_goes_in_both_directions(options: dict[str, Any]) -> None:
    table = {"cells": {"cell_type": ["AVA", "AVB", "AVC"]}}
    one = Synapses.from_edges([0, 1, 1, 2], [1, 0, 2, 1], [3, 3, 4, 4])
    bare = small(table, [])
    graph = bare.with_projections([Projection("cells", "cells", one, kind="electrical")])
    after = run(graph, [Ablate(**options)])
    assert sorted(edges(after)) == [("electrical", 2, 3), ("electrical", 3, 2)]
    assert Ablate(**options, kind="chemical")(graph).digest() == graph.digest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "ablate.where: is empty"),
        ({"where": " ", "what": "inputs"}, "ablate.where: is empty"),
        ({"what": "connections"}, "ablate.pre: is empty"),
        ({"where": HERE, "what": "connections", "pre": HERE}, "ablate.where: has no effect"),
        ({"where": HERE, "post": HERE}, 'ablate.post: has no effect with .*="neurons"'),
        ({"where": HERE, "kind": "chemical"}, "neurons are removed with all their connections"),
        ({"where": "sign =="}, "is not an expression"),
        ({"what": "connections", "post": "sign =="}, "is not an expression"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        Ablate(**options)


def test_selections_that_fit_nothing() -> None:
    with pytest.raises(
        CompileError, match=r"none of 3 neurons matches .*\n.*no neuron has cell_type"
    ):
        Ablate('cell_type == "AVD"')(CELLS)
    with pytest.raises(UnknownNameError, match="'cell_typ'"):
        Ablate('cell_typ == "AVD"', "outputs")(CELLS)


@given(connectomes())
def test_outputs_and_inputs_leave_no_connection(graph: Graph) -> None:
    both = [Ablate("not sign == 7 or sign is None", what) for what in ("inputs", "outputs")]
    for step in both:
        if graph.n_neurons:
            assert not step(graph).n_connections
