from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from areas import LAID, mousenet, published_kernels
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    AllToAll,
    Conv2d,
    ConvTranspose2d,
    GaussianKernel,
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


def masks(graph: Graph, step: MaterialiseLaws) -> list[tuple[list[int], list[int]]]:
    return [
        (q.synapses.post.tolist(), q.synapses.pre.tolist()) for q in run(graph, [step]).projections
    ]


@st.composite
def stacks(draw: st.DrawFn) -> Graph:
    """Maps in a chain, joined by kernels of any size, some transposed."""
    channels = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    names = [f"m{k}" for k in range(len(channels))]
    maps = [Population(name, (n, 6, 6)) for name, n in zip(names, channels, strict=True)]
    projections = []
    for pre, post in pairwise(names):
        h, w = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        kernel = 2 * h + 1, 2 * w + 1
        law = GaussianKernel(draw(st.floats(0.01, 3)), draw(st.floats(0.2, 4)), kernel)
        kind = draw(st.sampled_from([Conv2d, ConvTranspose2d]))
        operator = kind(kernel, padding=(h, w), per_position=True)
        projections.append(Projection(pre, post, law, delay=0, operator=operator))
    return Graph(tuple(maps), tuple(projections), Provenance("t"))


@given(stacks(), st.integers(0, 2**32 - 1))
def test_the_legacy_stream_is_that_of_four_loops(g: Graph, seed: int) -> None:
    random = np.random.RandomState(seed)
    wanted = []
    for q in g.projections:
        law = q.connectivity
        assert isinstance(law, GaussianKernel)
        h, w = law.kernel
        post, pre = [], []
        for out in range(g.population(q.post).shape[0]):
            for channel in range(g.population(q.pre).shape[0]):
                for y in range(h):
                    for x in range(w):
                        apart = (y - h // 2) ** 2 + (x - w // 2) ** 2
                        chance = law.peak * np.exp(-apart / (2 * law.width**2))
                        if random.random_sample() < chance:
                            post.append(out)
                            pre.append((channel * h + y) * w + x)
        wanted.append((post, pre))
    assert masks(g, MaterialiseLaws(seed, "legacy")) == wanted


@given(stacks(), st.integers(0, 2**70))
def test_the_fast_stream_draws_each_projection_for_itself(g: Graph, seed: int) -> None:
    drawn = masks(g, MaterialiseLaws(seed))
    assert masks(g, MaterialiseLaws(seed)) == drawn
    first = replace(g, projections=g.projections[:1])
    assert masks(first, MaterialiseLaws(seed)) == drawn[:1]


def test_seeds_and_projections_do_not_share_streams() -> None:
    law = GaussianKernel(0.5, 9.0, (3, 3))
    operator = Conv2d((3, 3), padding=(1, 1), per_position=True)
    maps = tuple(Population(name, (9, 4, 4)) for name in "abc")
    pairs = (("a", "b"), ("b", "c"))
    chain = [Projection(pre, post, law, delay=0, operator=operator) for pre, post in pairs]
    g = Graph(maps, tuple(chain), Provenance("t"))
    drawn = [mask for seed in range(3) for mask in masks(g, MaterialiseLaws(seed))]
    assert all(mask != other for k, mask in enumerate(drawn) for other in drawn[:k])


def test_the_published_masks() -> None:
    before = mousenet(*LAID)
    after = run(before, [MaterialiseLaws(2021, "legacy")])
    opened = [after.count(q) for q in after.projections]
    assert opened == [row["open_seed_2021"] for row in published_kernels()]
    assert after.n_connections == 86_164
    assert after.provenance.steps[-1].notes == (
        "86,164 of 2,151,649 weights of 49 kernels are open",
    )
    after.verify()


@pytest.mark.parametrize("stream", ["fast", "legacy"])
def test_any_seed_opens_about_as_many(stream: Literal["fast", "legacy"]) -> None:
    before = mousenet(*LAID)
    counts = [run(before, [MaterialiseLaws(k, stream)]).n_connections for k in range(8)]
    assert all(abs(n - 86_567) < 1_000 for n in counts)
    assert len(set(counts)) == len(counts)
    # The mean of eight is within four of its standard deviations (288 each).
    assert abs(np.mean(counts) - 86_567) < 4 * 288 / np.sqrt(8)


def test_positions_open_with_their_probability() -> None:
    law = GaussianKernel(1.5, 1.1, (5, 5))
    maps = Population("a", (60, 8, 8)), Population("b", (60, 8, 8))
    operator = Conv2d((5, 5), padding=(2, 2), per_position=True)
    g = Graph(maps, (Projection("a", "b", law, delay=0, operator=operator),), Provenance("t"))
    for stream in ("fast", "legacy"):
        e = run(g, [MaterialiseLaws(3, stream)]).projections[0].synapses
        share = np.bincount(e.pre % 25, minlength=25) / 3600
        error = 5 * np.sqrt(0.25 / 3600)
        np.testing.assert_allclose(share, law.probability().reshape(-1), atol=error)
        assert share[12] == 1


def test_no_legacy_seed() -> None:
    MaterialiseLaws(2**32)
    with pytest.raises(
        CompileError, match="must be at most 4294967295 for the legacy generator, not 4294967296"
    ):
        MaterialiseLaws(2**32, "legacy")
