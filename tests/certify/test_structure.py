"""What a module states of its control is of this module, and is that of the saved graph."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worms import driven, worm

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.process import probe
from connectome_compiler.certify.structure import stated_control
from connectome_compiler.controls import difference
from connectome_compiler.ir import Graph
from connectome_compiler.ir.control import Control
from connectome_compiler.passes.null_model import NullModel
from connectome_compiler.passes.runner import run
from connectome_compiler.statement import Statement
from connectome_compiler.templates.recurrent.style import Recurrent

START = {"start": "weight"}


def null(**weights: Any) -> Graph:
    graph = driven(run(worm(), [NullModel("density")]), weights=weights)
    return stating(graph, difference(graph, driven(worm(), weights=weights), ("null-model",)))


def stating(graph: Graph, control: Control | None) -> Graph:
    return replace(graph, provenance=replace(graph.provenance, control=control))


def written(graph: Graph, path: Path) -> Path:
    Recurrent().emit(graph, "toy").write(path)
    return path


def test_a_certificate_repeats_how_far_a_null_is(tmp_path: Path) -> None:
    graph = null(**START)
    module = written(graph, tmp_path / "net.py")
    for saved in (None, graph.save(tmp_path / "graph")):
        notes = probe(module, saved)["notes"]
        assert f"a control, as it states: {graph.provenance.control}" in notes
        assert "the connectivity is modelled, not measured" in notes


def test_a_null_that_was_not_compared_says_so(tmp_path: Path) -> None:
    notes = probe(written(stating(null(), None), tmp_path / "net.py"), None)["notes"]
    assert "how far it is from the data was not compared: build it from a recipe" in notes
    notes = probe(written(driven(worm()), tmp_path / "worm.py"), None)["notes"]
    assert not any("control" in note or "compared" in note for note in notes)


def stated(graph: Graph) -> dict[str, Any]:
    """Return what a module of a graph states, as the certificate reads it."""
    space: dict[str, Any] = {}
    exec(Recurrent().emit(graph, "toy").source, space)
    return Statement.read(space["PROVENANCE"], space["__doc__"]).plain()


WRONG: dict[str, Callable[[dict[str, Any]], None]] = {
    "another graph": lambda c: c.update(graph_sha256="0" * 64),
    "more connections": lambda c: c["connections"].__setitem__(0, c["connections"][0] + 1),
    "more than there are": lambda c: c["connections"].__setitem__(2, c["connections"][1] + 1),
    "fewer neurons": lambda c: c["neurons"].__setitem__(0, 11),
    "too many signs": lambda c: c.update(signs=10**6),
    "a negative count": lambda c: c.update(starts=-1),
    "too much inhibition": lambda c: c.update(inhibition=13),
}


@pytest.mark.parametrize("name", WRONG)
def test_numbers_of_another_network_are_found(name: str) -> None:
    plain = stated(null(**START))
    assert stated_control(plain) is not None
    WRONG[name](plain["control"])
    with pytest.raises(Wrong, match="states of another network how far it is from the data"):
        stated_control(plain)


def test_what_the_graph_says_otherwise_is_found(tmp_path: Path) -> None:
    graph = null(**START)
    control = graph.provenance.control
    assert control is not None
    module = written(graph, tmp_path / "net.py")
    other = stating(graph, replace(control, starts=0)).save(tmp_path / "other")
    with pytest.raises(Wrong, match="another difference to the data than the graph"):
        probe(module, other)
    silent = stating(graph, replace(control, starts=None))
    with pytest.raises(Wrong, match="does not state of starts what the control changed"):
        probe(written(silent, module), silent.save(tmp_path / "silent"))
