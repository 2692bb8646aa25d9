from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Conv2d,
    Graph,
    PerConnection,
    Population,
    Projection,
    Provenance,
    Synapses,
    Tied,
)
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.runner import run
from connectome_compiler.text import counted

steps = st.builds(
    ApplyDale,
    policy=st.sampled_from(["majority", "drop", "report"]),
    unsigned=st.sampled_from(["keep", "drop"]),
)


def majority(graph: Graph) -> dict[Any, int]:
    """One sign per neuron: its own, else that of most of its signed chemical connections."""
    votes: dict[Any, int] = defaultdict(int)
    for (kind, pre, _), (_, _, sign) in edges(graph).items():
        votes[pre] += sign if kind == "chemical" else 0
    return {i: row["sign"] or (votes[i] > 0) - (votes[i] < 0) for i, row in neurons(graph).items()}


@given(graphs(), steps)
def test_agrees_with_a_slow_reading(graph: Graph, step: ApplyDale) -> None:
    digest = graph.digest()
    signs, before, rows = majority(graph), edges(graph), neurons(graph)
    wanted: dict[Any, int] = {}  # the sign that each connection has afterwards
    for key, (_, _, own) in before.items():
        kind, pre, _ = key
        if kind == "electrical":
            wanted[key] = own or rows[pre]["sign"] or 0
            continue
        if step.policy == "report":
            sign = own or rows[pre]["sign"] or 0
        elif step.policy == "drop" and own and signs[pre] and own != signs[pre]:
            continue
        else:
            sign = signs[pre]
        if sign or step.unsigned == "keep":
            wanted[key] = sign

    after = step(graph)

    after.verify()
    assert {k: v[:2] for k, v in edges(after).items()} == {k: before[k][:2] for k in wanted}
    held = {q.key: q.weights for q in graph.connectome}
    for q in after.connectome:
        assert q.weights == (PerConnection(sign="abs") if q.kind == "chemical" else held[q.key])
    found = {
        key: sign
        for q in after.connectome
        for key, sign in zip(
            edges(after.with_projections([q])), after.signs(q).tolist(), strict=True
        )
        if key[0] == "chemical"
    }
    assert found == {k: v for k, v in wanted.items() if k[0] == "chemical"}
    if step.policy != "report":
        signed = {i: {**row, "sign": signs[i] or None} for i, row in rows.items()}
        assert neurons(after) == signed
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest


@given(connectomes(min_populations=1), steps)
def test_reports_what_it_did(graph: Graph, step: ApplyDale) -> None:
    if not graph.n_neurons:
        return
    signs = majority(graph)
    chemical = {k: v[2] for k, v in edges(graph).items() if k[0] == "chemical"}
    broken = sum(own * signs[pre] < 0 for (_, pre, _), own in chemical.items())
    tied = {pre for (_, pre, _), own in chemical.items() if own and not signs[pre]}
    after = run(graph, [step])
    notes = after.provenance.steps[-1].notes
    verb = "violates" if broken == 1 else "violate"
    assert notes[0].startswith(f"{counted(broken, 'connection')} {verb} Dale's principle")
    assert len(notes) == 2 + bool(tied)
    if tied:
        have = "has" if len(tied) == 1 else "have"
        assert notes[1].startswith(
            f"{counted(len(tied), 'neuron')} {have} as many excitatory as inhibitory"
        )
    if step.unsigned == "drop":
        lost = graph.n_connections - after.n_connections - broken * (step.policy == "drop")
        assert notes[-1] == f"{counted(lost, 'connection')} of unknown sign dropped"
    else:
        free = sum(
            int((after.signs(q) == 0).sum()) for q in after.connectome if q.kind == "chemical"
        )
        assert notes[-1].startswith(f"{counted(free, 'connection')} of unknown sign")


FORK = small(
    {"a": {"sign": [None, None, -1]}, "b": {"sign": [1]}},
    [("a", "a", [(0, 1), (1, 0), (2, 0)]), ("a", "b", [(0, 0), (1, 0), (2, 0)])],
    signs={"a->a": [1, 1, -1], "a->b": [1, -1, 1]},
)


def test_the_policies_on_one_case() -> None:
    # neuron 1 votes twice +, neuron 2 once each, neuron 3 is known to be inhibitory
    after = run(FORK, [ApplyDale()])
    assert [row["sign"] for row in neurons(after).values()] == [1, None, -1, 1]
    assert after.provenance.steps[-1].notes == (
        "1 connection violates Dale's principle (overruled)",
        "1 neuron has as many excitatory as inhibitory connections: no sign",
        "2 connections of unknown sign; their weights are free",
    )
    dropped = run(FORK, [ApplyDale("drop", "drop")])
    assert set(edges(dropped)) == {
        ("chemical", 1, 2),
        ("chemical", 1, 4),
        ("chemical", 3, 1),
    }
    kept = run(FORK, [ApplyDale("report")])
    assert edges(kept) == edges(FORK)
    assert [row["sign"] for row in neurons(kept).values()] == [None, None, -1, 1]


@pytest.mark.parametrize(("policy", "wanted"), [("majority", [1, 1, 1]), ("report", [1, 1, -1])])
def test_neurons_without_a_table_keep_their_connections_signs(
    policy: Any, wanted: list[int]
) -> None:
    own = np.array([1, 1, -1], np.int8)
    made = Synapses.from_edges([0, 1, 2], [0, 0, 0], [1, 1, 1], sign=own)
    graph = Graph((Population("area", (3,)),), (Projection("area", "area", made),), Provenance("x"))
    after = ApplyDale(policy)(graph)
    assert after.signs(after.projections[0]).tolist() == wanted
    assert after.enforced_signs(after.projections[0]).tolist() == wanted


def test_the_other_choices_on_weights_stay() -> None:
    chosen = Tied("type-pair", "region", trained=False)
    free = FORK.with_projections([replace(q, weights=chosen) for q in FORK.projections])
    for policy in ("majority", "drop", "report"):
        after = run(free, [ApplyDale(policy)])
        assert {q.weights for q in after.projections} == {replace(chosen, sign="abs")}


@pytest.mark.parametrize("policy", ["majority", "report"])
def test_channels_are_no_neurons(policy: Any) -> None:
    maps = (Population("a", (40, 3, 3)), Population("b", (2, 3, 3)))
    edges = Synapses.from_edges([0, 1], [3, 39], [1, 1], sign=[1, -1])
    law = Projection("a", "b", edges, operator=Conv2d((3, 3), padding=(1, 1)))
    graph = Graph(maps, (law,), Provenance("t"))
    graph.verify()
    with pytest.raises(CompileError, match="a->b: joins channels") as caught:
        ApplyDale(policy)(graph)
    assert caught.value.hint == "use sign-channels"
