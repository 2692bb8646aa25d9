"""Ties against a slow reading, connection by connection."""

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import ids, small
from strategies import connectomes

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    AllToAll,
    Fixed,
    Graph,
    Leaky,
    Named,
    OneToOne,
    PerConnection,
    Population,
    Projection,
    Provenance,
    Synapses,
    Tied,
    Weights,
    neuron_table,
)
from connectome_compiler.ir.ties import constants, groups, is_mirror, n_junctions, n_weights

TIES = st.sampled_from(["none", "type-pair", "pre-type"])


def tied(graph: Graph, tie: Any, by: str = "cell_type") -> Graph:
    weights = PerConnection() if tie == "none" else Tied(tie, by)
    return graph.with_projections(replace(q, weights=weights) for q in graph.projections)


def shares(graph: Graph, q: Projection) -> list[Hashable]:
    """Return for each connection what it shares a weight by."""
    pre, post = graph.population(q.pre), graph.population(q.post)
    held = q.weights if isinstance(q.weights, Tied) else None
    by = held.column if held else "cell_type"
    sources, targets = pre.column(by).to_pylist(), post.column(by).to_pylist()
    found: list[Hashable] = []
    for i, j in zip(q.synapses.post, q.synapses.pre, strict=True):
        pair: tuple[Any, ...] = targets[i], sources[j]
        if held is None:
            pair = ids(post)[i], ids(pre)[j]
        elif held.by == "pre-type" and q.kind == "chemical":
            pair = (sources[j],)
        found.append(frozenset(pair) if q.kind == "electrical" else pair)
    return found


@given(connectomes(), TIES, st.sampled_from(["cell_type", "cortical_layer", "sign"]))
def test_agrees_with_a_slow_reading(graph: Graph, tie: Any, by: str) -> None:
    graph = tied(graph, tie, by)
    weights: set[Hashable] = set()
    for q in graph.connectome:
        found, wanted = groups(graph, q), shares(graph, q)
        weights |= (
            {(q.kind, frozenset((q.pre, q.post)), key) for key in wanted}
            if (q.kind == "electrical")
            else {(q.kind, q.pre, q.post, key) for key in wanted}
        )
        if found is None:
            assert (tie, q.kind) == ("none", "chemical")
            continue
        assert found.dtype == np.int32
        # Two connections have one number where they have one key, and numbers go from 0 on.
        assert len(set(zip(found.tolist(), wanted, strict=True))) == len(set(wanted))
        assert set(found.tolist()) == set(range(len(set(wanted))))
    assert n_weights(graph) == len(weights)


@given(connectomes(min_populations=2), TIES)
def test_mirror_images_share(graph: Graph, tie: Any) -> None:
    graph = tied(graph, tie)
    by_key = {q.key: q for q in graph.projections}
    for q in graph.projections:
        if q.kind != "electrical":
            assert not is_mirror(q)
            continue
        back = by_key[f"{q.post}->{q.pre}:electrical"]
        assert is_mirror(q) + is_mirror(back) == (q is not back)
        one, other = groups(graph, q), groups(graph, back)
        assert one is not None
        assert other is not None
        there = dict(zip(zip(q.synapses.post, q.synapses.pre, strict=True), one, strict=True))
        ends = zip(back.synapses.pre, back.synapses.post, strict=True)
        assert there == dict(zip(ends, other, strict=True))
        pairs = set(shares(graph, replace(q, weights=PerConnection())))
        assert n_junctions(q) == n_junctions(back) == len(pairs)


def test_groups_are_numbered_by_post_then_pre() -> None:
    graph = small({"a": {"cell_type": ["B", None, "A"]}}, [("a", "a", [(0, 0), (1, 0), (2, 1)])])
    (q,) = tied(graph, "type-pair").projections  # connections: 0 <- 0, 0 <- 1, 1 <- 2
    assert list(zip(q.synapses.post, q.synapses.pre, strict=True)) == [(0, 0), (0, 1), (1, 2)]
    found = groups(graph, q)
    assert found is not None
    assert found.tolist() == [2, 1, 0]  # B <- B, B <- none, none <- A
    (q,) = tied(graph, "pre-type").projections
    found = groups(graph, q)
    assert found is not None
    assert found.tolist() == [2, 0, 1]


def grid(**columns: Any) -> Graph:
    table = neuron_table({"neuron_id": [1, 2, 3], "cell_type": ["A", "A", "B"], **columns})
    edges = Synapses.from_edges([0, 1, 2, 1], [1, 2, 1, 0], [1, 1, 1, 1])
    graph = Graph(
        (Population("a", (3,), table),), (Projection("a", "a", edges),), Provenance("grid")
    )
    return tied(graph, "kernel")


def test_a_kernel_has_a_weight_per_distance() -> None:
    graph = grid(u=np.array([0, 1, 2]), v=np.array([0, 0, -5]))
    (q,) = graph.projections
    # A <- A from 1 to the right, A <- A from 1 to the left, A <- B, B <- A
    found = groups(graph, q)
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3]
    graph = grid(u=np.array([0, 2**40, 2**41]), v=np.array([0, 0, 0]))
    assert n_weights(graph) == 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "a.u: there is no such column"),
        ({"u": np.array([0, 1, 2])}, "a.v: there is no such column"),
        ({"u": [0, 1, None], "v": np.array([0, 0, 0])}, "a.u: holds int64, 1 of 3 missing"),
        ({"u": np.array([0.0, 0.5, 1.0]), "v": np.array([0, 0, 0])}, "a.u: holds double"),
    ],
)
def test_a_kernel_needs_places(columns: dict[str, Any], message: str) -> None:
    graph = grid(**columns)
    with pytest.raises(CompileError, match=message) as found:
        groups(graph, graph.projections[0])
    assert "columns u and v" in found.value.hint


def test_what_has_no_groups_is_refused() -> None:
    gaps = small(
        {"a": {"u": np.array([0, 1]), "v": np.array([0, 0])}},
        [("a", "a", [(0, 1)])],
        kind="electrical",
    )
    with pytest.raises(CompileError, match="a kernel has a direction"):
        groups(gaps, tied(gaps, "kernel").projections[0])
    with pytest.raises(UnknownNameError, match="did you mean 'cell_type'"):
        groups(gaps, tied(gaps, "type-pair", "cell_typ").projections[0])
    law = replace(gaps.projections[0], connectivity=AllToAll(), kind="chemical")
    with pytest.raises(CompileError, match="is all to all, not an edge list"):
        groups(gaps, law)
    mixed = small({"a": {"mine": ["x"]}, "b": {"mine": np.array([1])}}, [("a", "b", [(0, 0)])])
    with pytest.raises(CompileError, match="column mine: holds string in a and int64 in b"):
        groups(mixed, tied(mixed, "type-pair", "mine").projections[0])


def leaky(graph: Graph, **node: Any) -> Graph:
    return graph.map_populations(
        lambda p: replace(p, node=Leaky(10.0, **{"tau_per": "fixed", **node}))
    )


@given(connectomes(), st.sampled_from(["fixed", "shared", "cell_type", "neuron"]))
def test_constants_agree_with_a_slow_reading(graph: Graph, per: Any) -> None:
    keys: list[Hashable] = []
    for p in graph.populations:
        for k, kind in enumerate(p.column("cell_type").to_pylist()):
            own: dict[str, Hashable] = {"shared": 0, "cell_type": kind, "neuron": k}
            keys += [(p.name, own[per])] if per in own else []
    found = constants(leaky(graph, tau_per=per), "tau_per").tolist()
    assert len(found) == len(keys)
    assert len(set(zip(found, keys, strict=True))) == len(set(keys))
    assert set(found) == set(range(len(set(keys))))
    assert found == sorted(found) or per == "cell_type"
    assert not len(constants(graph, "bias_per"))  # units without memory have none to train
    assert not len(constants(leaky(graph, bias_per="none"), "bias_per"))


def test_a_name_is_one_weight_wherever_it_stands() -> None:
    cells = [Population(name, (3,)) for name in "abc"]
    one, other = (Named(name, 1) for name in ("one", "other"))
    listed = Synapses([0, 2], [1, 1], [5, 6])  # type: ignore[arg-type]
    graph = Graph(
        tuple(cells),
        (
            Projection("a", "b", OneToOne(), one),
            Projection("b", "c", listed, one),
            Projection("a", "c", AllToAll(), other),
            Projection("c", "a", OneToOne()),
        ),
        Provenance("t"),
    )
    assert groups(graph, graph.projections[1]).tolist() == [0, 0]  # type: ignore[union-attr]
    assert n_weights(graph) == 2 + 3


def test_polarity_is_the_sign_of_what_has_none() -> None:
    cells = (Population("a", (3,)), Population("b", (3,)))
    held: list[tuple[Weights, int]] = [
        (PerConnection(polarity=-1), 0),
        (PerConnection(sign="abs", polarity=-1), -1),
        (Tied("pre-type", sign="abs", polarity=-1), -1),
        (Named("w", -1, "clamp"), -1),
        (Fixed(-1), -1),
    ]
    for weights, enforced in held:
        q = Projection("a", "b", OneToOne(), weights)
        graph = Graph(cells, (q,), Provenance("t"))
        assert graph.signs(q).tolist() == [-1] * 3
        assert graph.enforced_signs(q).tolist() == [enforced] * 3
        assert graph.signs(q).dtype == np.int8
