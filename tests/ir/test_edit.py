from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import connectomes, graphs, masks

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    AllToAll,
    Graph,
    OneToOne,
    PerConnection,
    Population,
    Port,
    Projection,
    Provenance,
    Swept,
    Synapses,
    neuron_table,
)
from connectome_compiler.ir.edit import (
    drop_populations,
    keep_connections,
    keep_neurons,
    regroup,
    reorder,
    set_column,
)

Edge = tuple[Any, Any, str]  # presynaptic id, postsynaptic id, kind


def rows(graph: Graph) -> list[dict[str, Any]]:
    """Return all neurons as plain rows, in their order."""
    return [r for p in graph.biological if p.neurons is not None for r in p.neurons.to_pylist()]


def edges(graph: Graph, projections: Iterable[Projection] | None = None) -> dict[Edge, Any]:
    """Return all connections by neuron id with their values: what every edit must respect."""
    found: dict[Edge, Any] = {}
    for q in graph.connectome if projections is None else projections:
        pre = graph.population(q.pre).column("neuron_id").to_pylist()
        post = graph.population(q.post).column("neuron_id").to_pylist()
        e = q.synapses
        for k in range(len(e.post)):
            edge = (pre[e.pre[k]], post[e.post[k]], q.kind)
            assert edge not in found
            size = None if e.size is None else float(e.size[k])
            sign = 0 if e.sign is None else int(e.sign[k])
            found[edge] = (e.weight[k].item(), e.unit, size, sign, q.delay, q.weights)
    return found


@given(st.data())
def test_keep_neurons_loses_their_connections_and_no_others(data: st.DataObject) -> None:
    g = data.draw(graphs())
    before = g.digest()
    named = [p for p in g.biological if data.draw(st.booleans())]
    kept = {p.name: data.draw(masks(p.n_units)) for p in named}
    smaller = keep_neurons(g, kept)
    smaller.verify()

    lost = {
        i
        for name, mask in kept.items()
        for i, keep in zip(g.population(name).column("neuron_id").to_pylist(), mask, strict=True)
        if not keep
    }
    expected = {e: v for e, v in edges(g).items() if not {e[0], e[1]} & lost}
    assert edges(smaller) == expected
    assert rows(smaller) == [r for r in rows(g) if r["neuron_id"] not in lost]
    assert [p.name for p in smaller.populations] == [p.name for p in g.populations]
    assert g.digest() == before
    everyone = {p.name: np.ones(p.n_units, np.bool_) for p in smaller.populations}
    assert keep_neurons(smaller, everyone).digest() == smaller.digest()


@given(st.data())
def test_keep_connections_keeps_the_chosen(data: st.DataObject) -> None:
    g = data.draw(graphs())
    before = g.digest()
    # Half a gap junction would be refused.
    some = [q for q in g.connectome if q.kind == "chemical" and data.draw(st.booleans())]
    kept = {q.key: data.draw(masks(g.count(q))) for q in some}
    thinned = keep_connections(g, kept)
    thinned.verify()

    expected: dict[Edge, Any] = {}
    for q in g.connectome:
        here = edges(g, [q])
        mask = kept.get(q.key, np.ones(len(here), np.bool_))
        expected.update({e: v for (e, v), k in zip(here.items(), mask, strict=True) if k})
    assert edges(thinned) == expected
    assert rows(thinned) == rows(g)
    assert g.digest() == before


@given(st.data())
def test_drop_populations_takes_their_projections_and_ports(data: st.DataObject) -> None:
    g = data.draw(graphs())
    gone = {p.name for p in g.populations if data.draw(st.booleans())}
    rest = drop_populations(g, gone)
    rest.verify()
    assert [p.name for p in rest.populations] == [
        p.name for p in g.populations if p.name not in gone
    ]
    assert [q.key for q in rest.projections] == [
        q.key for q in g.projections if q.pre not in gone and q.post not in gone
    ]
    assert rest.ports == tuple(port for port in g.ports if port.population not in gone)
    assert drop_populations(rest, ()).digest() == rest.digest()


@given(st.data())
def test_regroup_moves_neurons_and_changes_no_connection(data: st.DataObject) -> None:
    g = data.draw(connectomes(min_populations=1))
    before = g.digest()
    names = ["L4", "x", "L2/3", "e"][: data.draw(st.integers(1, 4))]
    group = st.integers(0, len(names) - 1)
    label = np.array(
        data.draw(st.lists(group, min_size=g.n_neurons, max_size=g.n_neurons)), np.intp
    )
    parts = regroup(g, label, names)
    parts.verify()

    assert edges(parts) == edges(g)
    assert [p.name for p in parts.populations] == names
    for k, name in enumerate(names):
        table = parts.population(name).neurons
        assert table is not None
        expected = [r for r, i in zip(rows(g), label, strict=True) if i == k]
        assert table.to_pylist() == expected
    assert all(len(q.synapses.post) for q in parts.projections)
    assert g.digest() == before
    same = np.repeat(np.arange(len(names)), [p.n_units for p in parts.populations])
    assert regroup(parts, same, names).digest() == parts.digest()


@given(connectomes(min_populations=1))
def test_regroup_into_one_and_back(g: Graph) -> None:
    names = [p.name for p in g.populations]
    label = np.repeat(np.arange(len(names)), [p.n_units for p in g.populations])
    one = regroup(g, np.zeros(g.n_neurons, np.intp), ["all"])
    back = regroup(one, label, names)
    assert back.digest() == regroup(g, label, names).digest()


def test_many_groups() -> None:
    n = 600  # 360,000 pairs of groups: more than 16 bits
    rng = np.random.default_rng(0)
    post, pre = np.nonzero(rng.random((n, n)) < 0.01)
    table = neuron_table({"neuron_id": np.arange(n)})
    whole = Projection("a", "a", Synapses.from_edges(post, pre, np.ones(len(post), np.int32)))
    g = Graph((Population("a", (n,), table),), (whole,), Provenance("t"))
    parts = regroup(g, rng.permutation(n), [f"p{k}" for k in range(n)])
    parts.verify()
    assert edges(parts) == edges(g)


def two(**second: Any) -> Graph:
    """Two populations with a projection each; ``second`` changes the second projection."""
    a, b = (
        Population(name, (2,), neuron_table({"neuron_id": [first, first + 1]}))
        for name, first in (("a", 1), ("b", 5))
    )
    values: dict[str, Any] = {"size": None, "sign": None, "unit": "synapses"}
    values.update({k: second.pop(k) for k in list(second) if k in values})
    one = Synapses([0, 1], [1, 0], [2, 3])  # type: ignore[arg-type]
    other = Synapses([0, 1], [1, 0], [4, 5], **values)  # type: ignore[arg-type]
    q = replace(Projection("b", "b", other), **second)
    return Graph((a, b), (Projection("a", "a", one), q), Provenance("t"))


def test_signs_of_some_connections_survive_beside_none() -> None:
    merged = regroup(two(sign=[1, -1]), np.zeros(4, np.intp), ["all"])
    (q,) = merged.projections
    assert q.synapses.sign is not None
    assert q.synapses.sign.tolist() == [0, 0, 1, -1]


@pytest.mark.parametrize(
    "second",
    [{"size": [1, 2]}, {"unit": "um2"}, {"delay": 2}, {"weights": PerConnection(sign="abs")}],
)
def test_unlike_connections_are_not_mixed_in_silence(second: dict[str, Any]) -> None:
    apart = regroup(two(**second), np.array([0, 0, 1, 1]), ["x", "y"])
    assert edges(apart) == edges(two(**second))
    with pytest.raises(CompileError, match="projection all->all: its connections differ"):
        regroup(two(**second), np.zeros(4, np.intp), ["all"])


def test_more_columns_of_one_population_are_null_in_the_other() -> None:
    g = two()
    a = set_column(g.populations[0], "mine", pa.array([2**60 + 1, 2]))
    parts = regroup(replace(g, populations=(a, g.populations[1])), np.zeros(4, np.intp), ["all"])
    assert parts.populations[0].column("mine").to_pylist() == [2**60 + 1, 2, None, None]


FOUR = np.zeros(4, np.intp)
IMAGE = Population("image", (2,), artificial=True)


@pytest.mark.parametrize(
    ("graph", "label", "names", "message"),
    [
        (two(), FOUR[:3], ["x"], r"regroup: \(3,\) labels for 4 neurons"),
        (two(), FOUR + 1, ["x"], "regroup: label 1 of neuron 0 has no name"),
        (two(), FOUR - 1, ["x"], "regroup: label -1 of neuron 0 has no name"),
        (two(), FOUR, ["x", "x"], "regroup: a name occurs twice"),
        (replace(two(), ports=(Port("p", "a", "in"),)), FOUR, ["x"], "port p"),
        (replace(two(), populations=(*two().populations, IMAGE)), FOUR, ["x"], "population image"),
        (two(connectivity=AllToAll()), FOUR, ["x"], "projection b->b: is all to all"),
        (Graph((), (), Provenance("t")), FOUR[:0], ["x"], "regroup: populations have 0 node"),
        (
            replace(
                two(),
                populations=(
                    replace(two().populations[0], node=Swept("linear")),
                    two().populations[1],
                ),
            ),
            FOUR,
            ["x"],
            "regroup: populations have 2 node models",
        ),
        (
            replace(two(), populations=(Population("a", (2,)), two().populations[1])),
            FOUR,
            ["x"],
            "population a: has no neuron table",
        ),
    ],
)
def test_what_cannot_be_regrouped(graph: Graph, label: Any, names: list[str], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        regroup(graph, label, names)


def test_names_that_do_not_exist_are_not_ignored() -> None:
    yes = np.ones(2, np.bool_)
    with pytest.raises(UnknownNameError):
        keep_neurons(two(), {"c": yes})
    with pytest.raises(UnknownNameError, match="did you mean 'a->a'"):
        keep_connections(two(), {"a-a": yes})
    with pytest.raises(UnknownNameError):
        drop_populations(two(), ["c"])


def test_masks_must_fit() -> None:
    with pytest.raises(CompileError, match=r"population a: mask is bool \(1,\)"):
        keep_neurons(two(), {"a": np.ones(1, np.bool_)})
    with pytest.raises(CompileError, match="population a: mask is int64"):
        keep_neurons(two(), {"a": np.array([0, 1])})
    with pytest.raises(CompileError, match=r"expected bool \(2,\)"):
        keep_connections(two(), {"a->a": np.ones(3, np.bool_)})
    image = Graph((Population("image", (1, 2, 2)),), (), Provenance("t"))
    with pytest.raises(CompileError, match="population image: is a feature map"):
        keep_neurons(image, {"image": np.array([True, False, True, True])})


@given(st.data())
def test_selected_units_stay_the_same_neurons(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    chosen = tuple(sorted(data.draw(st.sets(st.integers(0, n - 1)))))
    law: Any = data.draw(st.sampled_from([AllToAll, OneToOne]))
    cells = Population("cells", (n,), neuron_table({"neuron_id": np.arange(n)}))
    drive = Population("drive", (len(chosen),), artificial=True)
    g = Graph(
        (drive, cells),
        (Projection("drive", "cells", law(chosen)), Projection("cells", "drive", AllToAll())),
        Provenance("t"),
    )
    kept = data.draw(masks(n))
    if law is OneToOne and not kept[list(chosen)].all():
        # A channel would lose its neuron, and those after it would be taken for others'.
        with pytest.raises(CompileError, match=r"drive->cells: is one to one.* paired differently"):
            keep_neurons(g, {"cells": kept})
        return
    after = keep_neurons(g, {"cells": kept})
    after.verify()
    q, whole = after.projections
    ids = after.population("cells").column("neuron_id").to_pylist()
    driven = {ids[i] for i in q.connectivity.entries(*after.shape(q))[0]}
    assert driven == ({i for i in chosen if kept[i]} if len(chosen) else set())
    assert whole.connectivity == AllToAll()


def test_set_column_replaces_or_adds() -> None:
    a = two().populations[0]
    assert set_column(a, "region", pa.array(["V1", None])).column("region").to_pylist()[0] == "V1"
    assert a.column("region").null_count == 2
    with pytest.raises(CompileError, match=r"population a.mine: 3 values for 2 neurons"):
        set_column(a, "mine", pa.array([1, 2, 3]))
    with pytest.raises(CompileError, match="population image: has no neuron table"):
        set_column(IMAGE, "mine", pa.array([1, 2]))


@given(graphs(), st.data())
def test_reorder_moves_neurons_with_all_that_is_theirs(g: Graph, data: st.DataObject) -> None:
    before = g.digest()
    order = {
        p.name: np.array(data.draw(st.permutations(range(p.n_units))), np.intp)
        for p in g.biological
        if data.draw(st.booleans())
    }
    moved = reorder(g, order)
    moved.verify()
    assert edges(moved) == edges(g)
    assert [q.key for q in moved.projections] == [q.key for q in g.projections]
    for p in g.biological:
        given = rows(replace(g, populations=(p,)))
        wanted = [given[k] for k in order.get(p.name, range(p.n_units))]
        assert rows(replace(g, populations=(moved.population(p.name),))) == wanted
    back = {name: np.argsort(k) for name, k in order.items()}
    assert reorder(moved, back).digest() == g.digest() == before


def test_reorder_refuses_what_it_cannot_keep() -> None:
    turned = np.array([1, 0])
    assert reorder(two(connectivity=AllToAll()), {"b": turned}).n_connections == 6
    (_, inner) = reorder(two(connectivity=AllToAll(pre_units=(1,))), {"b": turned}).projections
    assert inner.connectivity == AllToAll(pre_units=(0,))
    paired = two(connectivity=OneToOne())
    with pytest.raises(CompileError, match=r"projection b->b: is one to one.* paired differently"):
        reorder(paired, {"b": turned})
    assert reorder(paired, {"a": turned, "b": turned[::-1]}).n_connections > 2
    for bad in ([0, 0], [0, 2], [-1, 0], [0], [0, 1, 2]):
        with pytest.raises(CompileError, match="reorder, population a: not a permutation of 2"):
            reorder(two(), {"a": np.array(bad)})
    with pytest.raises(UnknownNameError, match="population 'c'"):
        reorder(two(), {"c": turned})
    image = replace(two(), populations=(*two().populations, Population("m", (1, 1, 2))))
    with pytest.raises(CompileError, match=r"population m: is a feature map of shape \(1, 1, 2\)"):
        reorder(image, {"m": turned})
