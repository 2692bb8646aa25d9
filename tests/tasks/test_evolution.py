"""The search direction of evolution strategies."""

import pytest

from connectome_compiler.errors import CompileError

pytest.importorskip("gymnasium")

import torch
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.tasks.evolution import EvolutionStrategies, gradient

RETURNS = st.lists(st.integers(0, 1000), min_size=2, max_size=12)


def moves(n: int) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(n))


def test_it_is_the_sum_of_moves_by_rank() -> None:
    made = moves(3)
    expected = (0.5 * made[1] - 0.5 * made[0]) / (3 * 2.0)
    assert torch.allclose(gradient([-5.0, 900.0, 3.0], made, 2.0), expected)


@given(RETURNS)
def test_only_the_order_of_returns_counts(reached: list[int]) -> None:
    made = moves(len(reached))
    raw = gradient([float(r) for r in reached], made, 1.0)
    assert torch.equal(raw, gradient([float(r) ** 3 - 7 for r in reached], made, 1.0))
    assert (raw.abs() <= 1).all()


def test_equal_returns_point_nowhere() -> None:
    assert torch.equal(gradient([4.0] * 6, moves(6), 0.1), torch.zeros(3))


def test_it_climbs() -> None:
    centre, target = torch.zeros(3), torch.tensor([1.0, -2.0, 0.5])
    for k in range(300):
        half = torch.randn(8, 3, generator=torch.Generator().manual_seed(k))
        made = torch.cat([half, -half])
        reached = [-float((centre + 0.1 * m - target).square().sum()) for m in made]
        centre = centre + 0.01 * gradient(reached, made, 0.1)
    assert (centre - target).abs().max() < 0.1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"population": 5}, "even"),
        ({"population": 0}, "even"),
        ({"sigma": 0.0}, "positive"),
        ({"sigma": float("nan")}, "positive"),
        ({"learning_rate": -1.0}, "positive"),
        ({"weight_decay": -1.0}, "switches it off"),
        ({"episodes": 0}, "at least 1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, float], problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        EvolutionStrategies(**options)  # type: ignore[arg-type]
