"""Influence, against dense linear algebra and in cases that can be done by hand."""

import numpy as np
import pytest
from brains import brain, wired
from hypothesis import given, settings
from hypothesis import strategies as st
from worms import worm

from connectome_compiler.ir import Graph
from connectome_compiler.questions import influence as module
from connectome_compiler.questions.influence import largest_real_eigenvalue
from connectome_compiler.questions.wiring import Wiring


def dense(graph: Graph, signed: bool) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    names = graph["neurons"].column("neuron_id").to_pylist()
    weights = np.zeros((len(names), len(names)))
    rows = graph.connections()
    for _, row in rows[rows.kind == "chemical"].iterrows():
        sign = -1 if signed and row["sign"] < 0 else 1
        weights[names.index(row.post), names.index(row.pre)] = sign * row.weight
    return weights


def rates(graph: Graph, seed: str, signed: bool) -> dict[str, float]:
    found = graph.influence(seed, signed=signed).neurons
    names, values = (found.column(c).to_pylist() for c in ("neuron", "influence"))
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("small", [1000, 4])
@pytest.mark.parametrize("signed", [True, False])
@settings(max_examples=8)
@given(seed=st.integers(0, 99))
def test_it_is_the_steady_state(small: int, signed: bool, seed: int) -> None:
    graph = worm(40, 0.15, seed)
    weights = dense(graph, signed)
    largest = np.linalg.eigvals(weights).real.max()
    drive = np.zeros(40)
    drive[:2] = 1
    expected = np.linalg.solve(np.eye(40) - 0.99 / largest * weights, drive)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "SMALL", small)  # the ways of large graphs are tried as well
        answer = graph.influence(["N0", "N1"], signed=signed)
    found = answer.neurons
    assert answer.eigenvalue == pytest.approx(largest, rel=1e-4)
    values = dict(zip(*(found.column(c).to_pylist() for c in ("neuron", "influence")), strict=True))
    got = np.array([values[f"N{k}"] for k in range(40)])
    np.testing.assert_allclose(got, expected, rtol=2e-2, atol=1e-3 * np.abs(expected).max())
    sizes = np.abs(found.column("influence").to_numpy())
    assert (np.diff(sizes) <= 0).all()
    driven = found.filter(found.column("seed")).column("neuron").to_pylist()
    assert sorted(driven) == ["N0", "N1"]


def test_a_chain_is_not_scaled_and_signs_count() -> None:
    graph = wired([("a", "b", 2), ("b", "c", 3)], {"a": -1, "b": 1}, more="d")
    assert graph.influence("a").eigenvalue == 0.0
    assert rates(graph, "a", True) == {"a": 1.0, "b": -2.0, "c": -6.0, "d": 0.0}
    assert rates(graph, "a", False) == {"a": 1.0, "b": 2.0, "c": 6.0, "d": 0.0}
    text = " ".join(str(graph.influence("a")).split())
    assert "influence of a on 3 of 4 neurons, signed" in text
    assert "not scaled, as no eigenvalue is positive" in text


def test_a_loop_is_scaled_to_99_hundredths() -> None:
    graph = wired([("a", "b", 4), ("b", "a", 9), ("b", "c", 6)], {"a": 1})
    answer = graph.influence("a")
    assert answer.eigenvalue == pytest.approx(6)
    gain = 1 / (1 - 0.99**2)
    expected = {"a": gain, "b": 0.99 * 4 / 6 * gain, "c": 0.99**2 * 4 / 6 * gain}
    assert rates(graph, "a", True) == pytest.approx(expected)
    assert "2 connections of unknown sign count as excitatory" in answer.notes[0]
    assert "unknown" not in str(graph.influence("a", signed=False))
    (row,) = answer.populations.to_pylist()
    assert row["mean"] == pytest.approx((expected["b"] + expected["c"]) / 2)
    assert row["reached"] == row["neurons"] == 2


def test_inhibition_alone_has_no_positive_eigenvalue() -> None:
    graph = wired([("a", "a", 2)], {"a": -1})
    assert graph.influence("a").eigenvalue == -2.0
    assert rates(graph, "a", True) == {"a": pytest.approx(1 / 3)}


def test_the_largest_eigenvalue_of_a_larger_graph() -> None:
    graph = brain(1500, 20_000)
    wiring = Wiring.of(graph)
    for values in (wiring.weight, wiring.weight * wiring.sign):
        matrix = wiring.matrix(values)
        expected = np.linalg.eigvals(matrix.toarray()).real.max()
        assert largest_real_eigenvalue(matrix) == pytest.approx(expected, rel=1e-4)
