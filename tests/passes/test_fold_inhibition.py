from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Attenuation, Graph, Leaky, Swept, Synapses
from connectome_compiler.passes.fold_inhibition import FoldInhibition
from connectome_compiler.passes.runner import run

steps = st.builds(
    FoldInhibition,
    policy=st.sampled_from(["graded", "units", "drop"]),
    measure=st.sampled_from(["synapses", "connections"]),
    form=st.sampled_from(["multiplicative", "subtractive"]),
)


def folded(graph: Graph) -> list[str]:
    """Names of the populations of inhibitory neurons alone."""
    signs: dict[str, set[int | None]] = {}
    for row in neurons(graph).values():
        signs.setdefault(row["population"], set()).add(row["sign"])
    return [name for name, found in signs.items() if found == {-1}]


@given(graphs(), steps)
def test_agrees_with_a_slow_reading(graph: Graph, step: FoldInhibition) -> None:
    digest = graph.digest()
    after = step(graph)
    after.verify()
    assert graph.digest() == digest
    if step.policy == "units":
        assert after.digest() == digest
        return
    gone = folded(graph)
    home = {i: row["population"] for i, row in neurons(graph).items()}
    received: Counter[Any] = Counter()
    for (kind, pre, post), (weight, _, _) in edges(graph).items():
        if kind == "chemical" and home[pre] in gone:
            received[post] += abs(weight) if step.measure == "synapses" else 1
    left = {i: row for i, row in neurons(graph).items() if home[i] not in gone}
    wanted = {k: v for k, v in edges(graph).items() if k[1] in left and k[2] in left}
    assert edges(after) == wanted
    most: dict[str, float] = {}
    for i, row in left.items():
        most[row["population"]] = max(most.get(row["population"], 0), received[i])
    for p in after.biological:
        graded = step.policy == "graded" and most.get(p.name, 0) > 0
        assert p.node == Swept(inhibition=Attenuation(step.form, 0.5) if graded else None)
    for i, row in neurons(after).items():
        if step.policy == "graded" and most[row["population"]] > 0:
            r = row.pop("inhibition")
            assert r == pytest.approx(received[i] / most[row["population"]])
            assert 0 <= r <= 1
        assert row == left[i]
    assert step(after).digest() == after.digest()


COLUMN = small(
    {
        "L4.inh": {"sign": [-1, -1]},
        "L4.exc": {"sign": [1, 1, 1]},
        "L5.exc": {"sign": [1]},
        "rest": {"sign": [-1, None]},
    },
    [
        ("L4.inh", "L4.exc", [(0, 0), (1, 0), (1, 1)]),  # 1, 2 and 3 synapses
        ("L4.exc", "L4.inh", [(0, 0)]),
        ("L4.inh", "L4.inh", [(0, 1), (1, 0)]),
        ("L4.exc", "L5.exc", [(2, 0)]),
        ("rest", "L5.exc", [(0, 0)]),
    ],
)


def test_attenuation_is_the_share_of_the_largest_in_degree() -> None:
    after = run(COLUMN, [FoldInhibition()])
    assert after.population("L4.exc").column("inhibition").to_pylist() == [1.0, 1.0, 0.0]
    connections = FoldInhibition(measure="connections")(COLUMN)
    assert connections.population("L4.exc").column("inhibition").to_pylist() == [1.0, 0.5, 0.0]
    assert after.provenance.steps[-1].notes == (
        "3 I->E connections folded into the attenuation of their targets",
        "1 E->I and 2 I->I connections dropped",
        "3 neurons in populations without inhibitory input: no attenuation",
        "1 inhibitory neurons not folded: their populations are mixed",
    )


def test_negative_weights_inhibit_by_their_size() -> None:
    q = COLUMN.projections[0]
    weight = np.array([-0.5, -1.0, -3.0])
    made = Synapses(q.synapses.post, q.synapses.pre, weight, "um2")
    graph = COLUMN.with_projections([replace(q, connectivity=made)])
    inhibition = FoldInhibition()(graph).population("L4.exc").column("inhibition")
    assert inhibition.to_pylist() == [0.5, 1.0, 0.0]


def test_inhibition_from_several_populations_adds_up() -> None:
    graph = small(
        {"pv": {"sign": [-1, -1]}, "sst": {"sign": [-1]}, "exc": {"sign": [1, 1, 1]}},
        [("pv", "exc", [(0, 0), (1, 0), (0, 1)]), ("sst", "exc", [(0, 1), (0, 2)])],
    )
    received = np.array([1 + 2, 3 + 1, 2])  # synapses
    inhibition = FoldInhibition()(graph).population("exc").column("inhibition")
    assert inhibition.to_pylist() == (received / 4).tolist()


def test_without_inhibitory_input_nothing_is_attenuated() -> None:
    alone = small({"L2/3.exc": {"sign": [1, 1]}}, [("L2/3.exc", "L2/3.exc", [(0, 1)])])
    after = FoldInhibition()(alone)
    assert after.digest() == alone.digest()


def test_electrical_connections_are_dropped_not_folded() -> None:
    graph = small(
        {"i": {"sign": [-1]}, "e": {"sign": [1]}}, [("i", "e", [(0, 0)])], kind="electrical"
    )
    after = run(graph, [FoldInhibition()])
    assert after["e"].node == Swept()
    assert after.provenance.steps[-1].notes[0].startswith("0 I->E connections folded")
    assert "2 electrical connections of inhibitory neurons dropped" in (
        after.provenance.steps[-1].notes
    )


def test_inhibitory_neurons_alone_leave_nobody() -> None:
    graph = small({"i": {"sign": [-1]}}, [])
    with pytest.raises(CompileError, match="no neuron is left"):
        run(graph, [FoldInhibition()])
    assert run(graph, [FoldInhibition("units")]).provenance.steps[-1].notes == (
        "1 inhibitory units kept",
    )


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_refuses_a_strength_outside_0_to_1(strength: float) -> None:
    with pytest.raises(
        CompileError, match=r"fold-inhibition.strength: must be between 0 and 1, not"
    ):
        FoldInhibition(strength=strength)


def test_units_with_a_memory_have_no_graded_inhibition() -> None:
    leaky = COLUMN.map_populations(lambda p: replace(p, node=Leaky(20.0)))
    with pytest.raises(CompileError, match="only units without memory can have graded inhibition"):
        FoldInhibition()(leaky)
    assert FoldInhibition("drop")(leaky).biological  # nothing is attenuated
