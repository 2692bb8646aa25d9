"""Each null model keeps what it promises, changes the rest, and draws all that is left equally."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import ceil, dist
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import edges, ids, neurons, small
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.ir.operators import Conv2d
from connectome_compiler.ir.provenance import NULL_MODELS
from connectome_compiler.passes.null_model import ONLY, NullModel
from connectome_compiler.passes.runner import run

MODELS: tuple[Any, ...] = get_args(get_type_hints(NullModel)["model"])[1:]
seeds = st.integers(0, 9)


def placed(graph: Graph) -> Graph:
    """Give every neuron a position: the first two of each population share theirs."""
    people = []
    for p in graph.populations:
        if p.neurons is None:
            people.append(p)
            continue
        row = np.maximum(np.arange(p.n_units), 1)
        table = p.neurons
        for axis, step in (("x_um", 1.0), ("y_um", 2.0), ("z_um", 0.5)):
            at = table.column_names.index(axis)
            table = table.set_column(at, axis, [np.mod(step * row * row, 7.0)])
        people.append(replace(p, neurons=table))
    return replace(graph, populations=tuple(people))


def tally(graph: Graph, what: Callable[[str, Any, Any, tuple[Any, ...]], Any]) -> Counter[Any]:
    """Count ``what(projection, pre, post, values)`` over all connections, in plain Python."""
    found = Counter[Any]()
    for q in graph.connectome:
        pre, post = ids(graph.population(q.pre)), ids(graph.population(q.post))
        e = q.synapses
        for k in range(len(e.post)):
            size = None if e.size is None else float(e.size[k])
            sign = 0 if e.sign is None else int(e.sign[k])
            values = (e.weight[k].item(), size, sign)
            found[what(q.key, pre[e.pre[k]], post[e.post[k]], values)] += 1
    return found


def unread(graph: Graph) -> set[Any]:
    rows = neurons(graph).items()
    return {i for i, row in rows if row["axon_coverage"] == "none"}


# --- what every model keeps -----------------------------------------------------------------------


@given(graphs().map(placed), st.sampled_from(MODELS), seeds)
def test_neurons_weights_and_what_cannot_move_stay(graph: Graph, model: Any, seed: int) -> None:
    digest = graph.digest()
    step = NullModel(model, seed)
    after = step(graph)
    after.verify()  # nothing twice, in order, junctions symmetric
    assert graph.digest() == digest
    assert after.populations == graph.populations
    assert after.ports == graph.ports
    assert [p.key for p in after.projections] == [p.key for p in graph.projections]
    assert step(graph).digest() == after.digest()

    def values(key: str, pre: Any, post: Any, found: tuple[Any, ...]) -> Any:
        return key, found[:2]  # weight and size: together

    assert tally(after, values) == tally(graph, values)

    silent = unread(graph)

    def fixed(key: str, pre: Any, post: Any, found: tuple[Any, ...]) -> Any:
        stays = pre == post or pre in silent or ("electrical" in key and post in silent)
        return (key, pre, post, found) if stays else None

    assert tally(after, fixed) == tally(graph, fixed)  # none is lost, none comes


@given(connectomes().map(placed), st.sampled_from(MODELS), seeds)
def test_who_has_one_sign_keeps_it(graph: Graph, model: Any, seed: int) -> None:
    def signs(g: Graph) -> dict[Any, set[int]]:
        found: dict[Any, set[int]] = {}
        for kind, pre, _, sign in tally(g, lambda key, i, j, v: (key, i, j, v[2])):
            found.setdefault((kind, pre), set()).add(sign)
        return found

    before, after = signs(graph), signs(NullModel(model, seed)(graph))
    for key, found in after.items():
        assert found <= before.get(key, {0})


@given(graphs())
def test_none_does_nothing(graph: Graph) -> None:
    step = NullModel()
    assert step(graph) is graph
    assert not list(step.report(graph, graph))


# --- what each promises ---------------------------------------------------------------------------


@settings(max_examples=150)
@given(connectomes(), seeds, st.sampled_from([0.3, 10.0]))
def test_degrees(graph: Graph, seed: int, swaps: float) -> None:
    after = NullModel("degrees", seed, swaps)(graph)
    for side in (
        lambda key, pre, post, values: (key, "in", post),
        lambda key, pre, post, values: (key, "out", pre),
        # The weights that a neuron sends out, with their sizes and signs, stay its own.
        lambda key, pre, post, values: "electrical" in key or (key, pre, values),
    ):
        assert tally(after, side) == tally(graph, side)


@settings(max_examples=150)
@given(connectomes(), seeds)
def test_density(graph: Graph, seed: int) -> None:
    after = NullModel("density", seed)(graph)
    assert [after.count(p) for p in after.projections] == [
        graph.count(p) for p in graph.projections
    ]
    for p, q in zip(graph.connectome, after.connectome, strict=True):
        assert graph.density(p) == after.density(q)


@settings(max_examples=150)
@given(connectomes(), seeds, st.sampled_from(["cell_type", "sign", "role"]))
def test_blocks(graph: Graph, seed: int, column: str) -> None:
    after = NullModel("blocks", seed, column=column)(graph)
    row = neurons(graph)

    def block(key: str, pre: Any, post: Any, values: tuple[Any, ...]) -> Any:
        return key, row[pre][column], row[post][column], values[:2]

    assert tally(after, block) == tally(graph, block)


@settings(max_examples=150)
@given(connectomes().map(placed), seeds, st.sampled_from([1, 2, 3, 20]))
def test_distance(graph: Graph, seed: int, bins: int) -> None:
    after = NullModel("distance", seed, bins=bins)(graph)
    rows, silent = neurons(graph), unread(graph)

    def length(pre: Any, post: Any) -> float:
        a, b = ([rows[i][axis] for axis in ("x_um", "y_um", "z_um")] for i in (pre, post))
        return round(dist(a, b), 9)

    def movable(g: Graph) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for key, pre, post, values in tally(g, lambda *all_of_it: all_of_it).elements():
            both = {pre, post} if "electrical" in key else {pre}
            if pre != post and not both & silent:
                found.setdefault(key, []).append((length(pre, post), values[:2]))
        return found

    before, new = movable(graph), movable(after)
    assert before.keys() == new.keys()
    for key, found in before.items():
        pre, post = key.removesuffix(":electrical").split("->")
        twice = 2 if "electrical" in key and pre == post else 1  # each junction is met twice
        ordered = sorted(d for d, _ in found)[::twice]
        # The limits are the longest of the first 1/bins, 2/bins, ... of the connections.
        limits = {ordered[ceil(k * len(ordered) / bins - 1e-9) - 1] for k in range(1, bins + 1)}

        def binned(some: list[Any], limits: set[float] = limits) -> Counter[Any]:
            return Counter((sum(d > limit for limit in limits), v) for d, v in some)

        assert binned(new[key]) == binned(found)


@given(connectomes(), seeds)
def test_weights(graph: Graph, seed: int) -> None:
    after = NullModel("weights", seed)(graph)

    def wiring(key: str, pre: Any, post: Any, values: tuple[Any, ...]) -> Any:
        return key, pre, post, values[2]

    assert tally(after, wiring) == tally(graph, wiring)


# --- all wirings that are left are equally probable -----------------------------------------------


def wirings(graph: Graph, step: NullModel, n: int) -> Counter[Any]:
    """Count the wirings that ``n`` seeds give."""
    return Counter(frozenset(edges(replace(step, null_seed=s)(graph))) for s in range(n))


def even(found: Counter[Any], n_states: int) -> None:
    """Check that there are ``n_states``, and that none is much rarer than another."""
    assert len(found) == n_states
    expected = found.total() / n_states
    chi2 = sum((n - expected) ** 2 for n in found.values()) / expected
    # Mean n_states - 1, variance twice that: five standard deviations.
    assert chi2 < n_states - 1 + 5 * (2 * (n_states - 1)) ** 0.5


def of_degrees(pairs: list[tuple[int, int]], candidates: list[tuple[int, int]]) -> int:
    """Count the wirings that have the degrees of ``pairs``, by trying all."""

    def degrees(chosen: Any) -> Any:
        return Counter(i for i, _ in chosen), Counter(j for _, j in chosen)

    wanted = degrees(pairs)
    return sum(degrees(chosen) == wanted for chosen in combinations(candidates, len(pairs)))


@pytest.mark.parametrize(
    ("pairs", "n_states"),
    [
        ([(0, 0), (0, 1), (0, 2), (1, 0), (2, 3), (3, 3)], 18),
        ([(0, 1), (1, 0)], 2),
        ([(0, 1), (1, 1), (2, 0), (3, 0)], 6),  # two swaps at once would block each other
        ([(0, 0), (1, 1), (1, 2), (2, 2)], 5),
    ],
)
def test_all_wirings_of_given_degrees_are_equally_probable(
    pairs: list[tuple[int, int]], n_states: int
) -> None:
    four = {"x_um": [0.0] * 4}
    graph = small({"a": four, "b": four}, [("a", "b", pairs)])
    assert of_degrees(pairs, [(i, j) for i in range(4) for j in range(4)]) == n_states
    even(wirings(graph, NullModel("degrees"), 60 * n_states), n_states)


def test_without_autapses_too() -> None:
    pairs = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 1)]
    graph = small({"a": {"x_um": [0.0] * 4}}, [("a", "a", pairs)])
    n = of_degrees(pairs, [(i, j) for i in range(4) for j in range(4) if i != j])
    assert n == 7
    even(wirings(graph, NullModel("degrees"), 100 * n), n)


def test_junctions_too() -> None:
    six = {"a": {"x_um": [0.0] * 6}}
    graph = small(six, [("a", "a", [(0, 1), (2, 3), (4, 5)])], kind="electrical")
    even(wirings(graph, NullModel("degrees"), 1500), 15)  # ways to join six in pairs


@pytest.mark.parametrize(
    ("pairs", "n_states"),
    [([(0, 1), (1, 2)], 15), ([(0, 1), (1, 2), (2, 0), (1, 0)], 15), ([(0, 1)], 6)],
)
def test_all_wirings_of_given_density_are_equally_probable(
    pairs: list[tuple[int, int]], n_states: int
) -> None:
    graph = small({"a": {"x_um": [0.0] * 3}}, [("a", "a", pairs)])
    even(wirings(graph, NullModel("density"), 100 * n_states), n_states)


def test_blocks_are_drawn_evenly() -> None:
    kinds = {"a": {"cell_type": ["s", "s", "t", "t", None]}}
    graph = small(kinds, [("a", "a", [(0, 2), (2, 3), (4, 0)])])
    even(wirings(graph, NullModel("blocks"), 1600), 4 * 2 * 2)


def test_distances_are_drawn_evenly() -> None:
    line = {"a": {axis: [0.0, 1.0, 2.0, 3.0, 4.0] for axis in ("x_um", "y_um", "z_um")}}
    graph = small(line, [("a", "a", [(0, 1), (0, 2), (4, 3), (3, 1)])])
    # Two of the eight pairs of neighbours, two of the six at the double distance.
    even(wirings(graph, NullModel("distance", bins=2), 4200), 28 * 15)


# --- large and awkward cases ----------------------------------------------------------------------


def wide(n: int, post: Any, pre: Any, **columns: Any) -> Graph:
    """Make one population of ``n`` neurons with these connections."""
    table = neuron_table({"neuron_id": np.arange(n), **columns})
    e = Synapses.from_edges(post, pre, np.arange(1, len(post) + 1))
    return Graph(
        (Population("neurons", (n,), table),),
        (Projection("neurons", "neurons", e),),
        Provenance("made", "3", "A made network", Evidence.MEASURED),
    )


def on_line(n: int) -> dict[str, Any]:
    return {"x_um": np.arange(float(n)), "y_um": np.zeros(n), "z_um": np.zeros(n)}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n_absent", [0, 1, 30])
def test_hardly_a_place_is_left(model: Any, n_absent: int) -> None:
    n = 60
    post, pre = np.nonzero(~np.eye(n, dtype=bool))
    kept = np.ones(len(post), bool)
    kept[np.random.default_rng(0).choice(len(post), n_absent, replace=False)] = False
    types = np.array(["s", "t", "u"])[np.arange(n) % 3]
    graph = wide(n, post[kept], pre[kept], cell_type=types, **on_line(n))
    after = run(graph, [NullModel(model)])
    assert after.n_connections == kept.sum()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n_absent", [0, 1, 30])
def test_hardly_a_place_is_left_for_junctions(model: Any, n_absent: int) -> None:
    n, rng = 30, np.random.default_rng(0)
    post, pre = np.tril_indices(n, -1)
    kept = rng.permutation(len(post))[n_absent:]
    low, high = pre[kept], post[kept]
    both = Synapses.from_edges(
        np.append(high, low), np.append(low, high), np.ones(2 * len(kept), int)
    )
    # Of any two types, either may stand in front: both are one block.
    graph = wide(
        n, [], [], cell_type=np.array(["s", "t", "u"])[rng.integers(0, 3, n)], **on_line(n)
    )
    gaps = Projection("neurons", "neurons", both, kind="electrical")
    after = run(graph.with_projections([gaps]), [NullModel(model)])
    assert after.n_connections == 2 * len(kept)


@pytest.mark.parametrize("kind", ["chemical", "electrical"])
def test_a_full_bin_among_millions_of_pairs_is_found(kind: Any) -> None:
    n = 3000  # 9 million pairs, of which the shortest bin has 3 thousand, all of them taken
    near, far = np.arange(n - 1), np.random.default_rng(1).choice(n // 2, 500, replace=False)
    post, pre = np.append(near + 1, far + n // 2), np.append(near, far)
    if kind == "electrical":
        graph = wide(n, np.append(post, pre), np.append(pre, post), **on_line(n))
        same = replace(graph.projections[0].synapses, weight=np.ones(2 * len(post), int))
        graph = graph.with_projections([Projection("neurons", "neurons", same, kind=kind)])
    else:
        graph = wide(n, post, pre, **on_line(n))
    after = run(graph, [NullModel("distance", bins=7)])
    e = after.projections[0].synapses
    apart = abs(e.post - e.pre)
    if kind == "electrical":
        assert (apart == 1).sum() == 2 * (n - 1)
    else:
        assert (apart == 1).sum() == n - 1
        assert (e.post < e.pre).any()  # it was all one way
    assert apart.max() <= n // 2
    assert (apart > 1).sum() == (2 if kind == "electrical" else 1) * 500


def test_mixes_a_larger_network_and_says_so() -> None:
    rng = np.random.default_rng(0)
    post, pre = np.divmod(rng.choice(400 * 400, 8000, replace=False), 400)
    graph = wide(400, post, pre, **on_line(400))
    for model in ("degrees", "density", "distance"):
        ran = run(graph, [NullModel(model, null_seed=3)])
        (step,) = ran.provenance.steps
        before, after = set(edges(graph)), set(edges(ran))
        n = len(after - before)
        assert n > 7200  # at random, 5 % would be the same
        assert step.notes[:2] == (
            f"connections were randomised by the null model '{model}', null_seed 3",
            f"{n:,} of 8,000 connections ({n / 8000:.1%}) are not in the data",
        )
        assert f"{int((post == pre).sum())} of 8,000" in step.notes[2]
        assert edges(run(graph, [NullModel(model, null_seed=4)])) != edges(ran)
    few = set(edges(NullModel("degrees", swaps=0.01)(graph))) - set(edges(graph))
    assert 100 < len(few) <= 200  # two for each of about 80 swaps
    weights = run(graph, [NullModel("weights")]).provenance.steps[0]
    assert "have a different weight than in the data" in weights.notes[1]


def test_counts_neurons_without_a_group() -> None:
    graph = small({"a": {"cell_type": ["s", None, None]}}, [("a", "a", [(0, 1)])])
    (step,) = run(graph, [NullModel("blocks")]).provenance.steps
    assert step.notes[-1] == "2 neurons without cell_type form a group of their own"


def test_says_that_it_is_not_the_connectome() -> None:
    graph = wide(3, [0, 1], [1, 2])
    once = run(graph, [NullModel("degrees", 7)])
    p = once.provenance
    assert graph.provenance.measured
    assert p.connectivity is Evidence.MODELLED
    assert (p.dataset, p.version) == ("made-null-degrees", "3")
    assert p.title == "Null model (degrees) of A made network"
    assert p.caveat == (
        "made-null-degrees@3 is modelled, not measured: "
        "connections were randomised by the null model 'degrees', null_seed 7"
    )
    assert run(once, [NullModel("density")]).provenance.dataset == "made-null-degrees-density"


# --- errors ---------------------------------------------------------------------------------------


def test_refuses_what_makes_no_sense() -> None:
    wrong: list[dict[str, Any]] = [{"null_seed": -1}, {"swaps": 0.0}, {"swaps": float("nan")}]
    for options in (*wrong, {"bins": 0}):
        with pytest.raises(CompileError, match=rf"null-model\.{next(iter(options))}: (must|-1)"):
            NullModel("degrees", **options)


def test_refuses_channels() -> None:
    graph = small({"a": {"cell_type": ["x"]}}, [("a", "a", [(0, 0)])])
    (q,) = graph.projections
    between = replace(q, operator=Conv2d((3, 3), padding=(1, 1)))
    maps = Population("a", (1, 4, 4))
    graph = replace(graph, populations=(maps,), projections=(between,))
    for model in MODELS:
        with pytest.raises(CompileError, match=r"a->a: is a convolution.*channels, not neurons"):
            NullModel(model)(graph)


@pytest.mark.parametrize(("option", "value"), [("swaps", 3.0), ("column", "role"), ("bins", 7)])
def test_refuses_options_of_another_model(option: str, value: Any) -> None:
    for model in MODELS:
        if model == ONLY[option]:
            assert getattr(NullModel(model, **{option: value}), option) == value
            continue
        problem = rf'null-model\.{option}: has no effect with null-model\.model="{model}"'
        with pytest.raises(CompileError, match=problem) as caught:
            NullModel(model, **{option: value})
        assert caught.value.hint == f"leave it out, or set null-model.model={ONLY[option]}"
    NullModel("none", **{option: value})  # it is left out, which is said elsewhere


def test_its_models_are_those_that_names_of_data_sets_have() -> None:
    assert tuple(MODELS) == NULL_MODELS
    assert not NullModel().control
    assert [NullModel(m).control for m in MODELS] == [True] * len(MODELS)


def test_names_what_is_missing() -> None:
    graph = small({"a": {"x_um": [1.0, None, 3.0], "y_um": [0.0] * 3, "z_um": [0.0] * 3}}, [])
    graph = graph.with_projections([Projection("a", "a", Synapses.from_edges([0], [1], [1]))])
    with pytest.raises(CompileError, match="1 of 3 neurons of a have no position") as error:
        NullModel("distance")(graph)
    assert "x_um is not None" in error.value.hint
    with pytest.raises(UnknownNameError, match="did you mean 'cell_type'"):
        NullModel("blocks", column="cell_typ")(graph)
