from dataclasses import replace
from typing import Any

import pytest
from columns import column, laminar
from hypothesis import given
from hypothesis import strategies as st
from strategies import connectomes, graphs
from worms import worm

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Fixed, Graph, LowRank, Named, PerConnection, Tied, Weights
from connectome_compiler.ir.ties import groups, n_weights
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.partition_by import PartitionBy
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_weights import SetWeights
from connectome_compiler.text import counted

steps = st.builds(
    SetWeights,
    share=st.sampled_from(["none", "type-pair", "pre-type"]),
    column=st.sampled_from(["cell_type", "cortical_layer"]),
    trained=st.booleans(),
) | st.builds(
    SetWeights,
    start=st.sampled_from(["uniform", "weight", "low-rank"]),
    rank=st.integers(1, 5),
    trained=st.booleans(),
)


@given(graphs(), steps)
def test_sets_the_connectome_and_nothing_else(graph: Graph, step: SetWeights) -> None:
    digest = graph.digest()
    after = step(graph)
    after.verify()
    inner = {q.key for q in graph.connectome}
    for before, q in zip(graph.projections, after.projections, strict=True):
        assert q.connectivity is before.connectivity
        wanted = before.weights
        if q.key in inner:  # the sign is another pass's
            assert isinstance(wanted, PerConnection)
            held: dict[str, Any] = {"sign": wanted.sign, "trained": step.trained}
            if step.share != "none":
                wanted = Tied(step.share, step.column, **held)
            elif step.start == "low-rank":
                wanted = LowRank(step.rank, **held)
            else:
                wanted = PerConnection(start=step.start, **held)
        assert q.weights == wanted
    assert after.populations == graph.populations
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest


@given(connectomes(), steps)
def test_reports_how_many_there_are(graph: Graph, step: SetWeights) -> None:
    if not graph.n_neurons:
        return
    after = run(graph, [step])
    notes = after.provenance.steps[-1].notes
    fate = "" if step.trained else ", frozen"
    n = n_weights(after)
    connections = counted(graph.n_connections, "connection")
    assert notes[0] == f"{counted(n, 'weight')} for {connections}{fate}"
    unknown = sum(p.column(step.column).null_count for p in graph.populations)
    assert len(notes) == 1 + (step.share != "none" and unknown > 0)


def test_a_partition_makes_no_weights() -> None:
    """A gap junction between two populations stands in two projections, and has one weight."""
    whole = run(worm(12), [SetWeights()])
    parts = run(worm(12), [PartitionBy("role"), SetWeights()])
    assert whole.provenance.steps[-1].notes == parts.provenance.steps[-1].notes
    assert n_weights(parts) < parts.n_connections


def test_gap_junctions_are_tied_by_both_types() -> None:
    for step in (SetWeights("type-pair"), SetWeights("pre-type")):
        graph = run(worm(12), [step])
        types = graph.populations[0].column("cell_type").to_pylist()
        electrical = graph.projections[1]
        pairs = {
            frozenset((types[i], types[j]))
            for i, j in zip(electrical.synapses.post, electrical.synapses.pre, strict=True)
        }
        found = groups(graph, electrical)
        assert found is not None
        assert len(set(found.tolist())) == len(pairs)


def test_signs_stay() -> None:
    graph = run(worm(12), [ApplyDale(), SetWeights(start="weight")])
    assert [q.weights.holds_signs for q in graph.projections] == [True, False]
    after = run(graph, [ApplyDale()])  # and the other way round
    assert [q.weights for q in after.projections] == [q.weights for q in graph.projections]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "set-weights.rank: must be at least 1, not 0"),
        (
            {"share": "pre-type", "start": "weight"},
            "set-weights.start: must be 'uniform' for shared weights, not 'weight'",
        ),
        (
            {"share": "kernel", "start": "low-rank"},
            "set-weights.start: must be 'uniform' for shared weights, not 'low-rank'",
        ),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        SetWeights(**options)


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="neurons: column 'type'"):
        run(worm(), [SetWeights(share="type-pair", column="type")])
    with pytest.raises(CompileError, match=r"neurons.u: there is no such column"):
        run(worm(), [SetWeights(share="kernel")])


def test_reading_in_and_out_stays_free() -> None:
    graph = run(laminar(column()), [SetWeights(trained=False)])
    outer = [q for q in graph.projections if q not in graph.connectome]
    assert outer
    assert all(q.weights.trained for q in outer)
    assert not any(q.weights.trained for q in graph.connectome)


@pytest.mark.parametrize("weights", [Named("gain", 1), Fixed(-1)])
def test_weights_of_a_motif_are_refused(weights: Weights) -> None:
    graph = worm().map_connectome(lambda q: replace(q, weights=weights))
    with pytest.raises(CompileError, match=r"has (Named|Fixed)\(") as caught:
        SetWeights(trained=False)(graph)
    assert caught.value.where == f"projection {graph.connectome[0].key}"
