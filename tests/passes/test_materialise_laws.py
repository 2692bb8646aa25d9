from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from strategies import graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    AllToAll,
    ConvTranspose2d,
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    Window,
)
from connectome_compiler.nn.window_rules import WindowRule
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.passes.runner import run


def windowed(*rules: WindowRule) -> Graph:
    """Make a chain of populations of 12 units, and one that reads them out."""
    names = [f"p{k}" for k in range(len(rules) + 1)]
    populations = [Population(name, (12,)) for name in names]
    read_out = Population("out", (2,), artificial=True)
    projections = [
        Projection(a, b, Window(rule), delay=0)
        for a, b, rule in zip(names, names[1:], rules, strict=False)
    ]
    projections.append(Projection(names[-1], "out", AllToAll(), delay=0))
    return Graph((*populations, read_out), tuple(projections), Provenance("t"))


def test_lists_what_the_law_says() -> None:
    before = windowed(WindowRule("diagonal", reduction=0.5), WindowRule("block", width=4))
    after = run(before, [MaterialiseLaws()])
    for old, new in zip(before.connectome, after.connectome, strict=True):
        np.testing.assert_array_equal(
            old.connectivity.entries(12, 12), (new.synapses.post, new.synapses.pre)
        )
        assert new.synapses.unit == "synapses"
        assert (new.synapses.weight == 1).all()
    assert isinstance(after.projections[-1].connectivity, AllToAll)  # no connection of neurons
    assert after.n_connections == before.n_connections
    notes = after.provenance.steps[-1].notes
    n = before.count(before.projections[0])
    assert notes[0] == f"p0->p1: diagonal window, reduction 0.5, {n} connections"
    assert len(notes) == 2


def test_a_gaussian_window_gives_weights() -> None:
    rule = WindowRule("gaussian", reduction=0.5)
    after = run(windowed(rule), [MaterialiseLaws()])
    weight = after.projections[0].synapses.weight
    np.testing.assert_allclose(weight, np.concatenate(list(map(np.array, rule.values(12, 12)))))
    assert weight.mean() == pytest.approx(1)


def test_drawn_rules_differ_by_seed_and_place() -> None:
    rule = WindowRule("random", reduction=0.5, seed=7)
    g = windowed(rule, rule)

    def lists(seed: int) -> list[list[int]]:
        return [q.synapses.pre.tolist() for q in run(g, [MaterialiseLaws(seed)]).connectome]

    first = lists(0)
    assert first == lists(0)
    assert first[0] != first[1]
    assert first[0] == Window(rule).entries(12, 12)[1].tolist()
    assert lists(5)[0] not in first


def test_channels_are_listed_as_units_are() -> None:
    rule = WindowRule("diagonal", reduction=0.5, transposed=True)
    g = Graph(
        (Population("a", (6, 2, 2)), Population("b", (4, 4, 4))),
        (Projection("a", "b", Window(rule), delay=0, operator=ConvTranspose2d((2, 2), (2, 2))),),
        Provenance("t"),
    )
    after = run(g, [MaterialiseLaws()])
    assert after.count(after.projections[0]) == g.count(g.projections[0])
    assert after.projections[0].operator == g.projections[0].operator


@given(graphs())
def test_lists_stay_as_they_are(g: Graph) -> None:
    after = MaterialiseLaws()(g)
    assert after.digest() == g.digest()
    assert MaterialiseLaws()(after).digest() == after.digest()


def test_all_to_all_between_neurons_is_listed() -> None:
    g = windowed()
    g = replace(g, projections=(Projection("p0", "p0", AllToAll()), *g.projections))
    after = MaterialiseLaws()(g)
    assert isinstance(after.projections[0].connectivity, Synapses)
    assert after.count(after.projections[0]) == 144


def test_no_seed() -> None:
    with pytest.raises(CompileError, match=r"materialise-laws.seed: -1"):
        MaterialiseLaws(-1)
