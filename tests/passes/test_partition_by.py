from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.passes.laminar_partition import LaminarPartition
from connectome_compiler.passes.partition_by import PartitionBy
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.split_flow import SplitFlow
from connectome_compiler.text import counted

SIGNS = {-1: "inh", 1: "exc", None: "unsigned"}


def rows(graph: Graph) -> dict[Any, dict[str, Any]]:
    return {
        i: {k: v for k, v in row.items() if k != "population"} for i, row in neurons(graph).items()
    }


@given(
    connectomes(min_populations=1),
    st.sampled_from(["cortical_layer", "x_um", "axon_coverage", "sign"]),
    st.permutations(["L4", "partial", "L5", "-1"]).flatmap(
        lambda words: st.integers(0, 4).map(lambda k: tuple(words[:k]))
    ),
    st.sampled_from(["group", "drop"]),
    st.booleans(),
)
def test_agrees_with_a_slow_reading(
    graph: Graph, column: str, order: tuple[str, ...], missing: Any, by_sign: bool
) -> None:
    digest = graph.digest()
    step = PartitionBy(column, order, missing, by_sign)
    all_rows = rows(graph)
    kept = {i: r for i, r in all_rows.items() if missing == "group" or r[column] is not None}
    after = step(graph)
    after.verify()
    assert rows(after) == kept
    wanted = {k: v for k, v in edges(graph).items() if k[1] in kept and k[2] in kept}
    assert edges(after) == wanted

    values = {r[column] for r in kept.values()}
    named = sorted((v for v in values if str(v) in order), key=lambda v: order.index(str(v)))
    rest = sorted(v for v in values - {None} if str(v) not in order)
    flow = [*named, *rest, *([None] if None in values else [])]
    expected = []
    for stage, value in enumerate(flow):
        name = "unknown" if value is None else str(value)
        for sign, word in SIGNS.items() if by_sign else [("any", "")]:
            members = [
                i
                for i, r in kept.items()
                if r[column] == value and (not by_sign or r["sign"] == sign)
            ]
            if members:
                expected.append((f"{name}.{word}" if word else name, stage, members))
    made = [(p.name, p.stage, p.column("neuron_id").to_pylist()) for p in after.populations]
    assert made == expected
    if kept:  # a graph without populations has no column
        assert step(after).digest() == after.digest()
    assert graph.digest() == digest
    notes = " ".join(step.report(graph, after))
    n_missing = sum(r[column] is None for r in all_rows.values())
    assert (f"{counted(n_missing, 'neuron')} without {column}" in notes) == bool(n_missing)


WORM = small(
    {
        "neurons": {
            "role": ["motor", None, "sensory", "inter", "muscle", "inter"],
            "sign": [1, None, 1, -1, None, 1],
        }
    },
    [("neurons", "neurons", [(2, 3), (3, 0), (0, 4), (0, 3), (2, 0), (1, 2)])],
)


def test_roles_stand_in_the_order_of_flow() -> None:
    after = run(WORM, [PartitionBy(), SplitFlow(skip="keep", feedback="keep")])
    assert [p.name for p in after.populations] == ["sensory", "inter", "motor", "muscle", "unknown"]
    assert [p.stage for p in after.populations] == [0, 1, 2, 3, 4]
    assert after.provenance.steps[0].notes == (
        "sensory 1, inter 2, motor 1, muscle 1, unknown 1",
        "1 neuron without role: in unknown",
    )
    assert after.provenance.steps[1].notes == ("kept: 3 forward, 1 skip, 0 within, 2 feedback",)


def test_by_sign_inhibition_comes_first() -> None:
    after = PartitionBy(by_sign=True, missing="drop")(WORM)
    assert [(p.name, p.stage) for p in after.populations] == [
        ("sensory.exc", 0),
        ("inter.inh", 1),
        ("inter.exc", 1),
        ("motor.exc", 2),
        ("muscle.unsigned", 3),
    ]


def test_it_says_what_became_of_those_without_a_value() -> None:
    for missing, place in (("group", "unknown"), ("drop", "dropped")):
        step = PartitionBy(missing=missing)  # type: ignore[arg-type]
        (note,) = list(step.report(WORM, step(WORM)))[1:]
        assert note.startswith("1 ")
        assert place in note
    everyone = PartitionBy("sign", ("1",), by_sign=True)
    known = small({"a": {"sign": [1, 1]}}, [])
    assert len(list(everyone.report(known, everyone(known)))) == 1


def test_what_order_leaves_out_and_what_it_names_in_vain_is_reported() -> None:
    step = PartitionBy(order=("motor", "sensry"))
    after = step(WORM)
    assert [p.name for p in after.populations] == ["motor", "inter", "muscle", "sensory", "unknown"]
    assert list(step.report(WORM, after))[2:] == [
        "no neuron has role 'sensry'",
        "not in partition-by.order: inter, muscle, sensory",
    ]


def test_truth_and_numbers_are_names() -> None:
    cells: dict[str, dict[str, Any]] = {
        "a": {"checked": [True, False]},
        "b": {"checked": [None, True]},
    }
    names = [p.name for p in PartitionBy("checked")(small(cells, [])).populations]
    assert names == ["false", "true", "unknown"]
    many = small({"a": {"number": [10, 9, -1]}}, [])
    assert [p.name for p in PartitionBy("number")(many).populations] == ["-1", "9", "10"]


def test_a_column_of_some_populations_is_missing_in_the_others() -> None:
    graph = small({"a": {"mine": ["x", "y"]}, "b": {"sign": [1]}}, [])
    after = PartitionBy("mine")(graph)
    assert [(p.name, p.n_units) for p in after.populations] == [("x", 1), ("y", 1), ("unknown", 1)]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["a", "b"], {"column": "rol"}, "partition-by: column 'rol': no such name\n.*'role'"),
        (["a", None], {"missing": "error"}, "1 of 2 neurons have no mine\n.*missing"),
        (["unknown", None], {}, "'unknown' is a value, and also the name for neurons without"),
        (["a->b", "c"], {}, "'a->b' cannot name a population\n.*one line"),
        (["", "c"], {}, "'' cannot name"),
        (["a", "a"], {"order": ("a", "b", "a")}, "must name each value once"),
        (np.arange(5000), {}, "would make 5,000 populations; the limit is 4,096\n.*coarsely"),
    ],
)
def test_bad_columns(values: Any, options: dict[str, Any], message: str) -> None:
    graph = small({"cells": {"mine": values}}, [])
    with pytest.raises(CompileError, match=message):
        PartitionBy(**{"column": "mine", **options})(graph)


def test_columns_of_text_and_numbers_do_not_mix() -> None:
    graph = small({"a": {"mine": ["x"]}, "b": {"mine": [1.5]}}, [])
    with pytest.raises(CompileError, match="column mine: differs between populations"):
        PartitionBy("mine")(graph)


@given(connectomes(min_populations=1))
def test_layers_by_sign_are_the_laminar_partition(graph: Graph) -> None:
    layers = ("L5", "L4", "L2/3")
    by_column = PartitionBy("cortical_layer", layers, "drop", by_sign=True)(only(graph, layers))
    laminar = LaminarPartition(layers, "drop")(graph)
    assert [p.name for p in by_column.populations] == [p.name for p in laminar.populations]
    assert neurons(by_column) == neurons(laminar)
    assert edges(by_column) == edges(laminar)


def only(graph: Graph, layers: tuple[str, ...]) -> Graph:
    kept = {
        p.name: np.array([v in layers for v in p.column("cortical_layer").to_pylist()], bool)
        for p in graph.populations
    }
    return keep_neurons(graph, kept)
