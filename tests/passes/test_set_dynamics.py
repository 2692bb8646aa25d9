from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import connectomes, graphs
from worms import worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Attenuation, Graded, Graph, Leaky, Node, Swept
from connectome_compiler.ir.ties import constants
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_dynamics import SetDynamics
from connectome_compiler.text import counted

steps = st.builds(
    SetDynamics,
    activation=st.sampled_from(["relu", "tanh", "sigmoid", "softplus", "linear"]),
    tau_ms=st.floats(0.1, 1e4),
    tau_per=st.sampled_from(["fixed", "shared", "cell_type", "neuron"]),
    bias_per=st.sampled_from(["none", "shared", "cell_type", "neuron"]),
)


@given(graphs(), steps)
def test_sets_the_neurons_and_nothing_else(graph: Graph, step: SetDynamics) -> None:
    digest = graph.digest()
    after = step(graph)
    after.verify()
    for before, p in zip(graph.populations, after.populations, strict=True):
        if p.artificial:
            assert p.node == before.node
            continue
        assert p.node == Leaky(step.tau_ms, step.activation, step.tau_per, step.bias_per)
        assert p.neurons == before.neurons
    assert after.projections == graph.projections
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest


@given(connectomes(), steps)
def test_reports_what_is_trained(graph: Graph, step: SetDynamics) -> None:
    if not graph.n_neurons:
        return
    after = run(graph, [step])
    notes = after.provenance.steps[-1].notes
    taus, biases = (len(set(constants(after, f).tolist())) for f in ("tau_per", "bias_per"))
    constant = f"{counted(taus, 'time constant')} starting at {step.tau_ms:g} ms"
    if not taus:
        constant = f"a fixed time constant of {step.tau_ms:g} ms"
    bias = counted(biases, "bias", "biases")
    assert notes[0] == f"{step.activation} units with {constant}, {bias}"
    unknown = sum(p.column("cell_type").null_count for p in graph.populations)
    by_type = "cell_type" in (step.tau_per, step.bias_per)
    assert len(notes) == 1 + (by_type and unknown > 0)


@pytest.mark.parametrize(
    "node",
    [
        Swept(normalisation="rms"),
        Swept(noise_std=0.5),
        Swept(inhibition=Attenuation("subtractive", 0.5)),
        Graded("relu"),
    ],
)
def test_refuses_units_of_which_it_would_lose_something(node: Node) -> None:
    graph = worm().map_populations(lambda p: replace(p, node=node))
    with pytest.raises(CompileError, match="of which a leaky unit would keep only") as caught:
        SetDynamics()(graph)
    assert caught.value.where == f"population {graph.populations[0].name}"


def test_one_case() -> None:
    after = run(worm(12), [SetDynamics(tau_per="cell_type", bias_per="shared")])
    assert after.provenance.steps[-1].notes == (
        "tanh units with 4 time constants starting at 50 ms, 1 bias",
        "2 neurons without a cell type are treated as one type",
    )


@pytest.mark.parametrize("tau", [0.0, -5.0, float("inf"), float("nan")])
def test_a_time_constant_is_a_time(tau: Any) -> None:
    with pytest.raises(CompileError, match=r"set-dynamics.tau_ms: must be positive and finite"):
        SetDynamics(tau_ms=tau)
