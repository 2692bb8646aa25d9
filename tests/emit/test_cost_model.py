"""The kernel choice: laws of the forecast, and agreement with recorded measurements."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.emit import cost_model
from connectome_compiler.emit.cost_model import (
    COSTS,
    Forecast,
    choose_kernel,
    forecast,
    forecast_rollout,
    terms,
)

sizes = st.integers(1, 100_000)
batches = st.integers(1, 1024)
densities = st.floats(0, 1)

# Kernels that were faster by 1.3x or more in benchmarks/crossover.py: neurons, density, batch.
MEASURED = [
    (512, 0.05, 1, "edges"),
    (512, 0.05, 16, "edges"),
    (512, 0.3, 64, "edges"),
    (1024, 0.1, 1, "edges"),
    (1024, 0.3, 4, "edges"),
    (1024, 0.3, 64, "edges"),
    (1024, 0.5, 256, "dense"),
    (2048, 0.05, 64, "edges"),
    (2048, 0.3, 256, "edges"),
    (2048, 0.5, 256, "dense"),
    (4096, 0.1, 1, "edges"),
    (4096, 0.2, 16, "edges"),
    (4096, 0.3, 64, "edges"),
    (4096, 0.5, 1, "dense"),
    (4096, 0.5, 4, "dense"),
    (4096, 0.5, 16, "dense"),
]


@pytest.mark.parametrize(("n", "density", "batch", "kernel"), MEASURED)
def test_chooses_what_was_measured_to_be_faster(
    n: int, density: float, batch: int, kernel: str
) -> None:
    assert choose_kernel(n, n, round(density * n * n), batch) == kernel


@pytest.mark.parametrize("batch", [1, 16, 64, 256])
def test_a_sparse_connectome_runs_on_its_edges(batch: int) -> None:
    assert choose_kernel(140_000, 140_000, 15_000_000, batch) == "edges"


@pytest.mark.parametrize("batch", [16, 64, 256])
def test_a_complete_layer_is_dense(batch: int) -> None:
    assert choose_kernel(1000, 2000, 2_000_000, batch) == "dense"


def test_windows_are_worth_their_cover() -> None:
    n, connections = 4096, round(0.27 * 4096**2)
    whole = forecast(n, n, connections, 64)["dense"].step_us
    covered = forecast(n, n, connections, 64, cover=0.55)["dense"].step_us
    assert covered < 0.75 * whole


@given(sizes, sizes, densities, batches)
def test_a_choice_is_the_cheapest_forecast(
    n_post: int, n_pre: int, density: float, batch: int
) -> None:
    layer = n_post, n_pre, round(density * n_post * n_pre), batch
    costs = forecast(*layer)
    chosen = choose_kernel(*layer)
    assert list(costs) == list(COSTS) == ["edges", "dense"]
    assert all(cost.step_us > 0 for cost in costs.values())
    assert costs[chosen].step_us == min(cost.step_us for cost in costs.values())


@given(sizes, sizes, densities, batches)
def test_more_work_takes_longer(n_post: int, n_pre: int, density: float, batch: int) -> None:
    n_connections = round(density * n_post * n_pre)
    costs = forecast(n_post, n_pre, n_connections, batch)
    wider = forecast(n_post, n_pre, n_connections, 2 * batch)
    threaded = forecast(n_post, n_pre, n_connections, batch, threads=4)
    denser = forecast(n_post, n_pre, n_connections + 1000, batch)
    for kernel, cost in costs.items():
        assert wider[kernel].step_us >= cost.step_us
        assert denser[kernel].step_us > cost.step_us
        assert denser[kernel].state_bytes == cost.state_bytes + 28_000
        assert cost.step_us / 4 <= threaded[kernel].step_us < cost.step_us


@given(sizes, sizes, densities, batches)
def test_a_forecast_is_the_sum_of_its_terms(
    n_post: int, n_pre: int, density: float, batch: int
) -> None:
    layer = n_post, n_pre, round(density * n_post * n_pre), batch
    for kernel, cost in forecast(*layer).items():
        counts = terms(kernel, *layer)
        assert len(counts) == len(COSTS[kernel])
        total = sum(c * t for c, t in zip(COSTS[kernel], counts, strict=True))
        assert cost.step_us == pytest.approx(total)


def test_state_counts_weights_moments_and_structure() -> None:
    costs = forecast(100, 50, 2000, 8)
    # weight, gradient, two moments, pre, and 8 bytes of plan; two pointers, or one
    assert costs["edges"].state_bytes == 2000 * (4 * 4 + 4 + 8) + 4 * (101 + 51)
    assert costs["dense"].state_bytes == 2000 * (4 * 4 + 4 + 8) + 4 * 101


@pytest.mark.parametrize("kernel", COSTS)
def test_a_rollout_costs_less_than_its_steps_one_by_one(kernel: str) -> None:
    one, roll = forecast(302, 302, 3709, 16)[kernel], forecast_rollout(302, 3709, 16, 20, kernel)
    assert 10 * one.step_us < roll.step_us < 20 * one.step_us
    assert roll.state_bytes == one.state_bytes


def test_forecasts_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Forecast(1.0, 2).step_us = 3.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        COSTS["edges"] = ()  # type: ignore[index]


def test_constants_are_those_of_the_layer() -> None:
    edge_linear = pytest.importorskip("connectome_compiler.nn.edge_linear")
    assert tuple(COSTS) == edge_linear.KERNELS
    assert cost_model.TILE_COLUMNS == edge_linear.TILE_COLUMNS


def test_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; import connectome_compiler.emit.cost_model; "
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
