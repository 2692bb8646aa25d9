"""Formulas of clamps: whatever is built of them has the values of a plain evaluation."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectome_compiler.analysis.ramps import IDENTITY, Formula, NoFormula, Variable

NAMES = ("a", "b")
Pair = tuple[Formula, Callable[..., np.ndarray]]
numbers = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0])


def variable(name: str) -> Formula:
    return Formula.of(Variable(name, lambda given: given[name]))


@st.composite
def pairs(draw: st.DrawFn, depth: int = 3) -> Pair:
    """Draw a formula, and a function of the same values written plainly."""
    if depth == 0:
        name = draw(st.sampled_from(NAMES))
        return variable(name), lambda given, name=name: given[name]
    f, plain = draw(pairs(depth - 1))
    kind = draw(st.sampled_from(["add", "times", "shift", "clip"]))
    if kind == "add":
        g, other = draw(pairs(depth - 1))
        return f + g, lambda given: plain(given) + other(given)
    if kind == "times":
        by = draw(numbers)
        return f * by, lambda given: plain(given) * by
    if kind == "shift":
        by = draw(numbers)
        return f + by, lambda given: plain(given) + by
    low, high = sorted([draw(numbers), draw(numbers)])
    ends = draw(st.sampled_from([(low, high), (low, np.inf), (-np.inf, high)]))
    return f.clip(*ends), lambda given: np.clip(plain(given), *ends)


@settings(deadline=None, max_examples=60)
@given(pairs())
def test_a_formula_has_the_values_of_what_it_was_made_of(pair: Pair) -> None:
    formula, plain = pair
    given = dict(zip(NAMES, np.random.default_rng(0).normal(0, 4, (2, 200)), strict=True))
    np.testing.assert_allclose(
        np.broadcast_to(formula.value(given), 200), plain(given), atol=1e-9, rtol=1e-9
    )
    assert formula.text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (variable("a"), "a"),
        (variable("a") * 2 - 1, "2 * a - 1"),
        (variable("a").clip(0, 1) - (variable("a") * -1).clip(0, 1), "clamp(a, -1, 1)"),
        (variable("a").clip(-1, 0).clip(-3, 0.0) * -1, "clamp(-a, 0, 1)"),
        (variable("a").clip(0, np.inf), "max(a, 0)"),
        (variable("a").clip(-np.inf, 2), "min(a, 2)"),
        (variable("a").clip(0, 1).clip(2, 3), "2"),
        (variable("a") - variable("a"), "0"),
        ((variable("a") - variable("b")).clip(0, 1), "clamp(a - b, 0, 1)"),
        ((variable("a") + variable("b") * -1).clip(0, 1).clip(0, 1), "clamp(a - b, 0, 1)"),
    ],
)
def test_formulas_are_spelled_in_their_simplest_form(formula: Formula, text: str) -> None:
    assert formula.text == text


def test_products_of_what_changes_have_no_formula() -> None:
    with pytest.raises(NoFormula, match="multiplied"):
        variable("a") * variable("b")
    assert (variable("a") * Formula(2.0)).text == "2 * a"


def test_a_line_through_a_clamp_of_no_width_is_constant() -> None:
    assert IDENTITY.clip(1.0, 1.0).is_constant
