"""Things by name: found only when asked for, and never replaced by a plugin."""

import subprocess
import sys
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint
from typing import get_args

import pytest

from connectome_compiler import registry
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.registry import Kind, find, known
from connectome_compiler.views import catalogue

KINDS: tuple[Kind, ...] = get_args(Kind)
ALL = [(kind, name) for kind in KINDS for name in sorted(known(kind))]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_everything_that_is_listed_is_there(kind: Kind, name: str) -> None:
    cls = find(kind, name)
    assert cls.name == name
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert callable(getattr(cls, {"adapter": "load", "pass": "__call__", "template": "emit"}[kind]))


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


def plug(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    def points(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group)] if group.endswith("passes") else []

    monkeypatch.setattr(registry, "entry_points", points)


def test_plugins_are_found_but_replace_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, "mine", "fractions:Fraction")
    assert find("pass", "mine").__name__ == "Fraction"
    with pytest.raises(UnknownNameError):
        find("adapter", "mine")
    plug(monkeypatch, "drop-autapses", "fractions:Fraction")
    assert find("pass", "drop-autapses").__name__ == "DropAutapses"


@pytest.mark.parametrize("value", ["no_such_module:Pass", "fractions:NoSuchClass"])
def test_a_broken_plugin_is_named_and_hides_nothing(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(monkeypatch, "broken", value)
    with pytest.raises(CompileError, match=r"pass 'broken': cannot be imported: .*o"):
        find("pass", "broken")
    listed = catalogue.everything()
    assert "cannot be imported" in listed
    assert "drop-autapses" in listed


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
