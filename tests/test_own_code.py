"""Code of one's own: run when it is named, checked before it is used, told by its hash."""

import hashlib
from pathlib import Path

import pytest

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Graph, Provenance
from connectome_compiler.options import configure, option_defaults, option_docs, option_types
from connectome_compiler.own_code import from_file
from connectome_compiler.passes.runner import run
from connectome_compiler.recipe import parse
from connectome_compiler.registry import find

CODE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from connectome_compiler.ir import Graph, Provenance


@dataclass(frozen=True, slots=True)
class Empty:
    \"\"\"No neuron.\"\"\"

    name: ClassVar[str] = "empty"

    dataset: str = "nothing"  #: name of the data set

    def load(self) -> Graph:
        return Graph((), (), Provenance(self.dataset))


def times_two(graph: Graph, times: int = 2, *, words: tuple[str, ...] = ()) -> Graph:
    \"\"\"Leave the graph as it is.\"\"\"
    assert type(times) is int and type(words) is tuple
    return graph


def needs(graph: Graph, share: float) -> Graph:
    return graph


def takes_all(*graphs):
    return graphs


class Plain:
    name = "plain"
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_a_class_is_taken_as_it_is(code: Path) -> None:
    cls = from_file(code, "Empty")
    assert configure("source", cls, {"dataset": "x"}).load().provenance.dataset == "x"
    assert option_docs(cls) == {"dataset": "name of the data set"}
    page = '[source]\nuse = "mine.py:Empty"\n[template]\nuse = "bionic"\n'
    recipe = parse(str(code.with_name("r.toml")), page)  # a path starts where the recipe is
    assert recipe.having({"dataset": "y"}).source.make().load().provenance.dataset == "y"


def test_a_function_is_a_pass_whose_parameters_are_options(code: Path) -> None:
    cls = from_file(code, "times_two")
    assert (cls.name, cls.__doc__) == ("times-two", "Leave the graph as it is.")
    assert option_types(cls) == {"times": int, "words": tuple[str, ...]}
    assert option_defaults(cls) == {"times": 2, "words": ()}
    made = configure("times-two", cls, {"times": 3, "words": ["a"]})
    assert made == configure("times-two", cls, {"times": 3, "words": ("a",)})
    graph = Graph((), (), Provenance("x"))
    assert made(graph) is graph
    with pytest.raises(CompileError, match=r"needs.share: is not set"):
        configure("needs", from_file(code, "needs"), {})


def test_its_hash_is_a_note_of_its_step(code: Path) -> None:
    from columns import column

    made = configure("times-two", from_file(code, "times_two"), {})
    (note,) = run(column(8), [made]).provenance.steps[-1].notes
    assert note == f"by code of mine.py, sha256 {hashlib.sha256(CODE.encode()).hexdigest()[:16]}..."


def test_a_file_that_changed_is_run_anew(code: Path) -> None:
    assert option_defaults(from_file(code, "Empty")) == {"dataset": "nothing"}
    code.write_text(CODE.replace('"nothing"', '"something"'))
    assert option_defaults(from_file(code, "Empty")) == {"dataset": "something"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("takes_all", "must take a graph, and options by name"),
        ("Plain", "mine.py:Plain: is not a dataclass"),
        ("Emty", r"class or function 'Emty'.*\n.*'Empty'"),
        ("Graph", "no such name"),  # it is imported, not of this file
    ],
)
def test_what_is_no_stage(name: str, words: str, code: Path) -> None:
    with pytest.raises(CompileError, match=words):
        from_file(code, name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = (", "cannot be run: SyntaxError"),
        ("\nimport no_such_module_at_all", "line 2: ModuleNotFoundError: No module named"),
        ("x = 1\0", "cannot be run: "),
    ],
)
def test_files_that_cannot_be_run(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(CompileError, match=words):
        from_file(path, "x")


def test_templates_come_from_packages_alone(code: Path) -> None:
    """The check of a module runs in a process of its own, which must find them by name."""
    with pytest.raises(UnknownNameError):
        find("template", "mine.py:Empty", "my.toml", code.parent)
