"""Things by name: found only when asked for, and never replaced by a plugin."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import get_args

import pytest

from connectome_compiler import passes, registry
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.options import option_docs, option_types
from connectome_compiler.recipe import load_recipe
from connectome_compiler.registry import Kind, find, known
from connectome_compiler.views import catalogue

KINDS: tuple[Kind, ...] = get_args(Kind)
ALL = [(kind, name) for kind in KINDS for name in sorted(known(kind))]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_everything_that_is_listed_is_there(kind: Kind, name: str) -> None:
    cls = find(kind, name)
    own = vars(cls).get("name")
    # A record of the IR is called as its class; a name that it has is a field's.
    assert (own if isinstance(own, str) else cls.__name__) == name
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    verbs = {"adapter": "load", "pass": "__call__", "template": "emit", "law": "entries"}
    verbs |= {"node": "check", "weights": "check"}
    assert callable(getattr(cls, verbs[kind]))


@pytest.mark.parametrize(("kind", "name"), [of for of in ALL if of[0] in catalogue.KINDS])
def test_every_option_says_in_one_line_what_it_is(kind: Kind, name: str) -> None:
    """`ccompile list` shows the line, and a unit wherever the name has one."""
    cls = find(kind, name)
    docs = option_docs(cls)
    assert list(docs) == list(option_types(cls))
    for option, line in docs.items():
        assert 3 <= len(line) <= 100, option
        unit = option.rpartition("_")[2]
        assert unit not in ("um", "ms") or f"in {unit}" in line, option
    assert not {"use", "id", "after", "before", "when"} & set(docs), "these are keys of recipes"


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("adapter", "microns-v1-surogate", "microns-v1-surrogate"),
        ("pass", "drop-autapse", "drop-autapses"),
        ("template", "bionics", "bionic"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(kind: Kind, wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"^{kind} '{wrong}'.*\n.*'{right}'"):
        find(kind, wrong)
    with pytest.raises(UnknownNameError, match=f"^my.toml: {kind} '{wrong}'"):
        find(kind, wrong, "my.toml")


@pytest.fixture(autouse=True)
def not_kept() -> Iterator[None]:
    """What is installed is looked at once per process; these tests change it."""
    registry._plugins.cache_clear()
    yield
    registry._plugins.cache_clear()


def plug(monkeypatch: pytest.MonkeyPatch, name: str, *values: str) -> None:
    def points(group: str) -> list[EntryPoint]:
        wanted = group.endswith("passes")
        return [EntryPoint(name, value, group) for value in values if wanted]

    monkeypatch.setattr(registry, "entry_points", points)
    registry._plugins.cache_clear()


def test_plugins_are_found_and_replace_nothing_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, "mine", "fractions:Fraction")
    assert find("pass", "mine").__name__ == "Fraction"
    with pytest.raises(UnknownNameError):
        find("adapter", "mine")
    plug(monkeypatch, "drop-autapses", "fractions:Fraction")
    with pytest.raises(CompileError, match=r"by connectome-compiler .* and fractions:Fraction"):
        find("pass", "drop-autapses")


def test_two_classes_of_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, "mine", "somebody.passes:KeepCore")
    assert passes.DropAutapses.name == "drop-autapses"
    assert dir(passes).count("KeepCore") == 1
    with pytest.raises(CompileError, match=r"is the class of keep-core of .* and mine of someb"):
        passes.KeepCore  # noqa: B018


@pytest.mark.parametrize(
    "value",
    ["no_such_module:Pass", "fractions:NoSuchClass", "unfinished:Pass", "fails_at_once:Pass"],
)
def test_a_broken_plugin_is_named_and_hides_nothing(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unfinished.py").write_text("class Pass\n")
    (tmp_path / "fails_at_once.py").write_text('raise ValueError("no")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    plug(monkeypatch, "broken", value)
    with pytest.raises(CompileError, match=r"pass 'broken': cannot be imported: .*o"):
        find("pass", "broken")
    listed = catalogue.everything()
    assert "cannot be imported" in listed
    assert "drop-autapses" in listed


@pytest.mark.parametrize("value", ["fractions:Fraction", "json:JSONDecoder"])
def test_what_a_plugin_says_of_itself(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, "mine", value)  # json has the class from a file of its own
    first = (find("pass", "mine").__doc__ or "").splitlines()[0]
    assert f"mine                    {first}" in catalogue.everything()


def test_plugins_ship_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "their_recipes"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "theirs.toml").write_text('title = "Theirs"\nextends = "celegans"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [
            EntryPoint(name, value, group)
            for name, value in (
                ("theirs", "their_recipes"),
                ("lost", "their_recipes"),
                ("broken", "no_such_package"),
                ("synthetic", "their_recipes"),
            )
            if group == registry.RECIPES
        ],
    )
    registry._plugins.cache_clear()
    assert {"theirs", "synthetic"} <= set(registry.recipe_names())
    assert load_recipe("theirs").title == "Theirs"
    with pytest.raises(CompileError, match=r"recipe 'synthetic': is provided by .* and their_rec"):
        load_recipe("synthetic")
    for name in ("lost", "broken"):
        with pytest.raises(CompileError, match=f"recipe '{name}': cannot be imported"):
            load_recipe(name)
    assert re.search("^  theirs +Theirs$", catalogue.everything(), re.MULTILINE)
    assert "cannot" in catalogue.everything()
    assert "cannot be imported: No module named 'no_such_package'" in catalogue.everything()


def test_listing_names_imports_nothing() -> None:
    code = """
import sys
from connectome_compiler.registry import known
names = [n for kind in ("adapter", "pass", "template") for n in known(kind)]
assert "microns-v1" in names and "bionic" in names, names
heavy = {"numpy", "pyarrow", "torch", "duckdb", "jinja2"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_installed_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return []

    monkeypatch.setattr(registry, "entry_points", points)
    for _ in range(3):
        for kind, name in ALL:
            find(kind, name)
    assert len(asked) == len(set(asked)) == len(KINDS)


def test_two_packages_with_one_name_are_both_named(tmp_path: Path) -> None:
    for package, version in (("cortex-tools", "1.2"), ("worm-tools", "0.3")):
        info = tmp_path / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
        lists = "[connectome_compiler.passes]\nmine = fractions:Fraction\n"
        lists += f"{package} = fractions:Fraction\ndrop-autapses = fractions:Fraction\n"
        (info / "entry_points.txt").write_text(lists)
    code = """
from connectome_compiler.registry import find
from connectome_compiler.views import catalogue
assert find("pass", "worm-tools").__name__ == "Fraction"
listed = catalogue.everything()
assert "is provided by cortex-tools 1.2 and worm-tools 0.3" in listed
assert "is provided by connectome-compiler 0.1.0, cortex-tools 1.2 and worm-tools 0.3" in listed
find("pass", "mine", "my.toml")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert error.endswith(
        "my.toml: pass 'mine': is provided by cortex-tools 1.2 and worm-tools 0.3"
    )
    assert hint == "  hint: uninstall all but one"
