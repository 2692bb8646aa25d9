"""A module states what its template makes of the saved graph, and nothing else."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from columns import column, laminar
from worms import driven, worm

from connectome_compiler.certify import again
from connectome_compiler.certify.again import SAME, follows
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.recurrent.style import Recurrent


def of(graph: Graph, style: Any, folder: Path) -> tuple[Path, Path, str]:
    """Write a module and its graph; return them, and the hash of its statement."""
    source = style.emit(graph, "toy").source
    path = folder / "net.py"
    path.write_text(source, encoding="utf-8")
    hashes = re.findall(r'"sha256": "(\w+)"', source)
    return path, graph.save(folder / "graph"), hashes[-1]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path, str]:
    graph = driven(worm(12, 0.4, junctions=False))
    style = Recurrent(kernel="edges", dt_ms=5.0, class_name="Worm")
    return of(graph, style, tmp_path)


def test_a_statement_follows_from_its_graph(made: tuple[Path, Path, str], tmp_path: Path) -> None:
    assert follows(*made) == (True, SAME)
    other = tmp_path / "bionic"
    other.mkdir()
    style = Bionic(filters=(4, 6), kernel="dense")  # a list among its options
    assert follows(*of(laminar(column(24, 0.6)), style, other)) == (True, SAME)


def test_the_field_that_differs_is_named(made: tuple[Path, Path, str]) -> None:
    """Here the graph's: `tests/mutants/forged.py` has modules that say they are of it."""
    path, saved, ran = made
    graph = Graph.load(saved)
    (neurons,) = graph.biological
    node = replace(neurons.node, activation="sigmoid")
    others = tuple(
        replace(p, node=node) if p.name == neurons.name else p for p in graph.populations
    )
    changed = replace(graph, populations=others).save(saved.with_name("other"))
    with pytest.raises(Wrong, match=r"dynamics\.activation is 'tanh'.*'sigmoid'"):
        follows(path, changed, ran)


def test_a_graph_that_its_template_refuses_is_said(
    made: tuple[Path, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Recurrent, graph: Graph, recipe: str) -> None:
        raise CompileError("recurrent", "has no place for it")

    monkeypatch.setattr(Recurrent, "emit", refuse)
    with pytest.raises(Wrong, match=r"makes no module, recurrent: has no place"):
        follows(*made)


def test_a_statement_that_changes_as_it_runs_is_refused(made: tuple[Path, Path, str]) -> None:
    with pytest.raises(Wrong, match="another in its text"):
        follows(made[0], made[1], "0" * 64)


def test_another_version_is_said(
    made: tuple[Path, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What both state alike is checked; where they differ, the certificate says so."""
    monkeypatch.setattr(again, "__version__", "99.0")
    assert follows(*made) == (True, SAME)
    monkeypatch.setattr(again, "_first", lambda *_: "tau is 1; of the saved graph follows 2")
    same, line = follows(*made)
    assert not same
    assert re.match(r"made by connectome-compiler [\d.]+\S*; version 99.0 states", line)


def test_a_template_that_is_not_there_is_said(made: tuple[Path, Path, str]) -> None:
    path, saved, ran = made
    path.write_text(path.read_text().replace('"recurrent(', '"gone('))
    same, line = follows(path, saved, ran)
    assert not same
    assert "its statement was not made again" in line
