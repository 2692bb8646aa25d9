from __future__ import annotations

from pathlib import Path

import pytest

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph, Population, Provenance, Step, stages
from connectome_compiler.ir.stages import kept_stages
from connectome_compiler.ir.storage import move


def graph(n_neurons: int, *steps: str) -> Graph:
    taken = tuple(Step(name, "", n_neurons, n_neurons, 0, 0) for name in steps)
    return Graph((Population("cells", (n_neurons,)),), (), Provenance("made by hand", steps=taken))


def save(folder: Path, graphs: dict[str, Graph]) -> None:
    with kept_stages(folder) as keep:
        for name, made in graphs.items():
            assert keep(name, made) == folder / name


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


FIRST = {"00-source": graph(2, "read"), "01-thin": graph(2, "read", "thin")}


def test_the_stages_of_a_build_replace_those_of_an_earlier_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model.graphs"
    save(folder, FIRST)
    mine = {
        "01-other": graph(5, "read", "thin"),  # none of these has its last step for a name
        "1-thin": graph(5, "read", "thin"),
        "02-source.old": graph(5, "read"),
    }
    for name, made in mine.items():
        made.save(folder / name)
    (folder / "02-thin").mkdir()
    (folder / "notes.txt").write_text("a day of work")
    (folder / "03-thin").symlink_to(folder / "01-other")
    save(folder, {"00-source": graph(3, "read"), "01-dale": graph(3, "read", "dale")})
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["00-source", "01-dale", *mine, "02-thin", "03-thin", "notes.txt"]
    )
    assert Graph.load(folder / "00-source").n_neurons == 3
    assert Graph.load(folder / "01-other").n_neurons == 5
    assert [p.name for p in tmp_path.iterdir()] == ["model.graphs"]  # no draft is left


def test_a_build_that_fails_leaves_the_earlier_stages(tmp_path: Path) -> None:
    folder = tmp_path / "model.graphs"

    def fail() -> None:
        with kept_stages(folder) as keep:
            keep("00-source", graph(9))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not any(tmp_path.iterdir())
    save(folder, FIRST)
    before = content(tmp_path)
    with pytest.raises(KeyError):
        fail()
    assert content(tmp_path) == before


def test_stages_that_cannot_be_moved_leave_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model.graphs"
    save(folder, FIRST)

    def refuse(here: Path, there: Path) -> None:
        if there == folder / "01-dale":
            raise OSError(28, "No space left on device")
        move(here, there)

    monkeypatch.setattr(stages, "move", refuse)
    with pytest.raises(CompileError, match="cannot be written: No space left") as error:
        save(folder, {"00-source": graph(3, "read"), "01-dale": graph(3, "read", "dale")})
    assert error.value.where == str(folder)
    assert {p.name: Graph.load(p).n_neurons for p in folder.iterdir()} == {
        "00-source": 3,
        "01-thin": 2,
    }
    assert [p.name for p in tmp_path.iterdir()] == ["model.graphs"]


def test_nothing_is_made_where_no_stage_is_kept(tmp_path: Path) -> None:
    save(tmp_path / "model.graphs", {})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("parent", "is a file, not a folder"),
        ("file", "is a file, not a folder"),
        ("folder", "holds notes.txt, which is not part of a graph"),
        ("graph", "is not a stage that ccompile saved"),
        ("link", "is not a stage that ccompile saved"),
    ],
)
def test_what_is_no_stage_is_refused(what: str, problem: str, tmp_path: Path) -> None:
    folder = tmp_path / "model.graphs"
    place = folder / "01-thin"
    if what == "parent":
        folder.write_text("a day of work")
    else:
        folder.mkdir()
    if what == "file":
        place.write_text("a day of work")
    if what == "folder":
        place.mkdir()
        (place / "notes.txt").write_text("a day of work")
    if what == "graph":
        graph(5, "read").save(place)
    if what == "link":
        graph(5, "read", "thin").save(tmp_path / "mine")
        place.symlink_to(tmp_path / "mine")
    before = content(tmp_path)
    with kept_stages(folder) as keep, pytest.raises(CompileError, match=problem) as error:
        keep("01-thin", FIRST["01-thin"])
    assert error.value.where == str(folder if what == "parent" else place)
    assert content(tmp_path) == before
    assert place.is_symlink() == (what == "link")


def test_an_empty_folder_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "model.graphs"
    (folder / "01-thin").mkdir(parents=True)
    save(folder, FIRST)
    assert Graph.load(folder / "01-thin").n_neurons == 2
