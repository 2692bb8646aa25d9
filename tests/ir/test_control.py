"""How far a network is from its data reads well, and survives being written down."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from worms import driven, worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.ir.control import Control
from connectome_compiler.ir.provenance import Provenance, Step

SAME = Control(("null-model",), (9, 9, 9), (30, 30, 30), 0, None, None, None, "ab")


ALL = (
    "all 30 connections are those of the network without null-model; of these, 0 have another sign"
)
NO_COUNTS = "; no weight starts from synapse counts or is multiplied by them"
PART = "of 30 connections 6 (20.0%) are among the 30 of the network without null-model; of these, 2"
TWO = "of 8 neurons 8 (100.0%) are among the 9 of the network without ablate and null-model; all 30"


@pytest.mark.parametrize(
    ("changes", "nothing", "said"),
    [
        ({}, True, ALL + NO_COUNTS),
        ({"connections": (30, 30, 6), "signs": 2, "starts": 5}, False, PART),
        ({"controls": ("ablate", "null-model"), "neurons": (8, 9, 8)}, False, TWO),
        ({"starts": 5}, False, f"{ALL}; 5 start at another weight"),
        ({"counts": 1}, False, f"{ALL}; 1 are multiplied by another synapse count"),
        ({"inhibition": 1}, False, f"{ALL}; graded inhibition differs in 1 neuron{NO_COUNTS}"),
        ({"connections": (0, 1, 0)}, False, "of 0 connections 0 are among the 1 of"),
        ({"signs": 1}, False, ALL.replace("0 have", "1 have")),
        ({"starts": 0, "counts": 0, "inhibition": 0}, True, ALL),
    ],
)
def test_says_what_differs(changes: dict[str, object], nothing: bool, said: str) -> None:
    control = replace(SAME, **changes)  # type: ignore[arg-type]
    assert control.nothing == nothing
    assert str(control).startswith(said)


def test_is_saved_with_its_graph(tmp_path: Path) -> None:
    graph = driven(worm())
    told = replace(SAME, starts=3, graph_sha256=graph.digest())
    stating = replace(graph, provenance=replace(graph.provenance, control=told))
    assert Graph.load(stating.save(tmp_path / "graph")).provenance.control == told
    origin = stating.provenance
    assert Provenance.from_dict(json.loads(json.dumps(origin.to_dict()))) == origin
    assert "control" not in graph.provenance.to_dict()


def test_is_of_no_graph_that_came_after() -> None:
    origin = Provenance("worm", control=SAME)
    assert origin.with_step(Step("drop-autapses", "", 9, 9, 30, 29)).control is None


def test_refuses_what_is_no_count() -> None:
    with pytest.raises(CompileError, match=r"Control\.signs"):
        replace(SAME, signs="many")  # type: ignore[arg-type]
