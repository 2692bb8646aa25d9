"""A window lists what its rule says, and is a law in every other respect."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    Conv2d,
    ConvTranspose2d,
    Graph,
    Population,
    Projection,
    Provenance,
    Window,
)
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.nn.window_rules import WindowRule

RULES = st.sampled_from(
    [
        WindowRule("2d", radius=0.4, pre_width=4, post_width=6),
        WindowRule("2d", radius=0.6, pre_width=4, post_width=6, mode="clean", torus=True),
        WindowRule("diagonal", reduction=0.5),
        WindowRule("diagonal", reduction=0.3, transposed=True),
        WindowRule("random", reduction=0.5, seed=3),
        WindowRule("kernel", reduction=0.2, seed=4, transposed=True),
        WindowRule("gaussian", reduction=0.5),
        WindowRule("stripes", width=4),
        WindowRule("exact", width=5, seed=1),
        WindowRule("block", width=6),
    ]
)


@given(RULES, st.sampled_from([(24, 24), (12, 16), (36, 20)]))
def test_entries_are_those_of_the_mask(rule: WindowRule, shape: tuple[int, int]) -> None:
    law, square = Window(rule), shape[0] == shape[1]
    if rule.form in ("stripes", "exact", "block") and not square:
        with pytest.raises(CompileError, match="as many outputs as inputs"):
            law.count(*shape)
        return
    if rule.form == "gaussian":
        mask = np.ones(shape, bool)
    else:
        mask = np.array([list(row) for row in rule.rows(*shape)], bool)
    post, pre = law.entries(*shape)
    assert post.dtype == pre.dtype == np.int32
    np.testing.assert_array_equal(np.nonzero(mask), (post, pre))
    assert law.count(*shape) == mask.sum()
    assert law.describe() == rule.describe()


def windowed(rule: WindowRule, **options: Any) -> Graph:
    shapes = options.pop("shapes", ((24,), (24,)))
    a, b = (Population(name, shape) for name, shape in zip("ab", shapes, strict=True))
    return Graph((a, b), (Projection("a", "b", Window(rule), delay=0, **options),), Provenance("t"))


@given(RULES)
def test_saved_and_hashed(tmp_path_factory: pytest.TempPathFactory, rule: WindowRule) -> None:
    rule = replace(rule, transposed=False)
    g = windowed(rule)
    again = Graph.load(g.save(tmp_path_factory.mktemp("g") / "g"))
    assert again.projections[0].connectivity == Window(rule)
    assert again.digest() == g.digest()


def test_every_number_counts() -> None:
    rule = WindowRule("2d", radius=0.4, pre_width=4, post_width=6)
    others = [
        replace(rule, radius=0.41),
        replace(rule, pre_width=6),
        replace(rule, mode="clean"),
        WindowRule("diagonal", reduction=0.4),
        WindowRule("random", reduction=0.4),
        WindowRule("random", reduction=0.4, seed=1),
    ]
    digests = {windowed(r).digest() for r in (rule, *others)}
    assert len(digests) == len(others) + 1


def test_a_large_window_needs_memory_for_its_connections_alone() -> None:
    import tracemalloc

    rule = WindowRule("2d", radius=0.03, pre_width=100, post_width=100, mode="clean")
    tracemalloc.start()
    post, _ = Window(rule).entries(10_000, 10_000)  # as a matrix: 100 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 200_000 < len(post) < 400_000
    assert peak < 25e6


MAPS = ((24, 4, 4), (24, 4, 4))


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (lambda: windowed(WindowRule("2d", radius=0.4, pre_width=5, post_width=6)), "divide"),
        (lambda: windowed(WindowRule("2d", radius=0.01, pre_width=4, post_width=6)), "without"),
        (
            lambda: windowed(
                WindowRule("diagonal", reduction=0.5),
                operator=ConvTranspose2d((1, 1)),
                shapes=MAPS,
            ),
            "transposed=False",
        ),
        (
            lambda: windowed(
                WindowRule("kernel", reduction=0.5, transposed=True),
                operator=Conv2d((1, 1)),
                shapes=MAPS,
            ),
            "transposed=True",
        ),
        (
            lambda: windowed(
                WindowRule("random", reduction=0.5), operator=Conv2d((1, 1)), shapes=MAPS
            ),
            "form 'kernel'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(graph: Any, problem: str) -> None:
    with pytest.raises(VerifyError, match=r"projection a->b") as found:
        graph().verify()
    assert problem in str(found.value)


def test_what_needs_a_list_says_so(tmp_path: Path) -> None:
    g = windowed(WindowRule("diagonal", reduction=0.5))
    for edit in (
        lambda: g.projections[0].synapses,
        lambda: keep_neurons(g, {"a": np.arange(24) < 3}),
    ):
        with pytest.raises(CompileError, match="not an edge list") as found:
            edit()
        assert "materialise-laws" in found.value.hint


def test_numbers_of_no_rule_are_refused() -> None:
    with pytest.raises(CompileError, match="layer x: radius is a fraction"):
        Window.of("layer x", form="2d", radius=-1.0, pre_width=2, post_width=2)
