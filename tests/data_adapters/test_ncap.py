from typing import Any

import pytest

from connectome_compiler.data_adapters.ncap import Ncap
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import AllToAll, Evidence, Graded, Shift
from connectome_compiler.ir.ties import n_weights


@pytest.mark.parametrize("n", [1, 2, 5, 13])
def test_the_motif_is_whole_at_every_joint(n: int) -> None:
    graph = Ncap(n_joints=n).load()
    graph.verify()
    counts = {q.key: graph.count(q) for q in graph.connectome}
    assert counts == {
        "proprioceptor.d->B.d": n - 1, "proprioceptor.v->B.v": n - 1,
        "brake->B.d": n, "brake->B.v": n, "turn.d->B.d": 1, "turn.v->B.v": 1,
        "oscillator->B.d": 1, "oscillator->B.v": 1,
        "B.d->muscle.d": n, "B.v->muscle.d": n, "B.v->muscle.v": n, "B.d->muscle.v": n,
    }  # fmt: skip
    assert n_weights(graph) == 6
    assert [q.key for q in graph.connectome] == list(counts)  # the order in which drives are added


def test_signs_are_those_of_the_paper() -> None:
    graph = Ncap().load()
    signs = {q.weights.name: q.weights.polarity for q in graph.connectome}
    assert signs == {"prop": 1, "speed": -1, "turn": 1, "osc": 1, "ipsi": 1, "contra": -1}
    fixed = {q.key: q.weights.polarity for q in graph.projections if not q.weights.trained}
    assert [key for key, sign in fixed.items() if sign < 0] == [
        "joints->proprioceptor.v", "speed->brake", "muscle.v->torque",
    ]  # fmt: skip
    assert graph.population("brake").node.rest == 1
    linear = {p.name for p in graph.populations if p.node == Graded("linear")}
    assert linear == {p.name for p in graph.populations if p.artificial}
    assert all((graph.enforced_signs(q) == q.weights.polarity).all() for q in graph.connectome)


def test_options_are_in_the_graph() -> None:
    graph = Ncap(n_joints=7, n_turn_joints=3, oscillator_period=31, mechanism="abs").load()
    laws = {q.key: q.connectivity for q in graph.projections}
    assert laws["turn.v->B.v"] == AllToAll((0, 1, 2))
    assert laws["proprioceptor.d->B.d"] == Shift(1)
    assert laws["oscillator->B.v"] == AllToAll((0,), (1,))
    assert graph.population("oscillator").node.period_steps == 31
    assert {q.weights.sign for q in graph.connectome} == {"abs"}
    assert graph.digest() != Ncap(n_joints=7, n_turn_joints=3).load().digest()


def test_it_does_not_look_measured() -> None:
    known = Ncap().load().provenance
    assert known.connectivity is known.signs is Evidence.MODELLED
    assert not known.measured
    assert "2022" in known.citations[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_joints": 0}, "ncap.n_joints: must be an integer from 1 to 2147483647, not 0"),
        (
            {"n_turn_joints": 0},
            "ncap.n_turn_joints: must be an integer from 1 to 2147483647, not 0",
        ),
        (
            {"oscillator_period": -60},
            "ncap.oscillator_period: must be an integer from 1 to 2147483647, not -60",
        ),
        (
            {"n_joints": 2, "n_turn_joints": 3},
            "ncap.n_turn_joints: must be at most n_joints, 2, not 3",
        ),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError) as caught:
        Ncap(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("field", ["n_joints", "oscillator_period"])
def test_sizes_fit_32_bits(field: str) -> None:
    options: dict[str, Any] = {field: 2**31}
    with pytest.raises(
        CompileError, match="must be an integer from 1 to 2147483647, not 2147483648"
    ):
        Ncap(**options)
