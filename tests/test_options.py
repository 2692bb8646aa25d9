"""Options are checked by name and by type, from a recipe and from a command line."""

import contextlib
import math
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, RecipeError, UnknownNameError
from connectome_compiler.options import (
    Raw,
    configure,
    option_defaults,
    option_docs,
    option_types,
    spell,
)
from connectome_compiler.registry import find


@dataclass(frozen=True, slots=True)
class Stage:
    name: ClassVar[str] = "stage"

    count: int = 2
    rate: float = 0.5
    on: bool = False
    word: str = ""
    policy: Literal["keep", "drop"] = "keep"
    layers: tuple[str, ...] = ("L4",)
    pair: tuple[int, int] = (8, 16)
    path: str | None = None
    extra: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Demanding:
    file: str


def value(option: str, given: Any) -> Any:
    return getattr(configure("stage", Stage, {option: given}), option)


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("count", "-3", -3),
        ("rate", "-1.5e-3", -0.0015),
        ("rate", "2", 2.0),
        ("on", "true", True),
        ("on", "no", False),
        ("word", "", ""),
        ("word", 'x == "a" and y != "b=c"', 'x == "a" and y != "b=c"'),
        ("word", "[1]", "[1]"),
        ("policy", "drop", "drop"),
        ("layers", "L4", ("L4",)),
        ("layers", "L4, L2/3,", ("L4", "L2/3")),
        ("layers", '["L4", "L2/3"]', ("L4", "L2/3")),
        ("layers", "[L4, L2/3]", ("L4", "L2/3")),
        ("layers", '"L4"', ("L4",)),
        ("layers", "4", ("4",)),
        ("layers", "2024-01-01", ("2024-01-01",)),
        ("layers", "", ()),
        ("layers", "[]", ()),
        ("pair", "4,8", (4, 8)),
        ("pair", "[4, 8]", (4, 8)),
        ("path", "a b.csv", "a b.csv"),
        ("extra", "1,-2", [1, -2]),
    ],
)
def test_text_of_a_command_line_is_read_as_what_the_field_holds(
    option: str, text: str, expected: Any
) -> None:
    found = value(option, Raw(text))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("count", "two", "is 'two': expected an integer$"),
        ("count", "2.5", "is '2.5'"),
        ("count", "", "is ''"),
        ("rate", "fast", "is 'fast': expected a number$"),
        ("on", "maybe", "is 'maybe': expected true or false$"),
        ("policy", "Keep", "is 'Keep': expected 'keep' or 'drop'"),
        ("pair", "1", "is '1'"),
        ("pair", "1,2,3", "is '1,2,3'"),
        ("pair", "1,b", r"stage.pair\[1\]: is '1,b'"),
    ],
)
def test_text_that_does_not_fit(option: str, text: str, words: str) -> None:
    with pytest.raises(CompileError, match=words) as caught:
        value(option, Raw(text))
    assert caught.value.where.startswith(f"stage.{option}")
    assert "\n" not in caught.value.problem


@pytest.mark.parametrize(
    ("option", "given"),
    [
        *(("count", x) for x in (True, "2", 2.0, None, [2])),
        *(("rate", x) for x in (True, "2", None)),
        *(("on", x) for x in (1, "true", None)),
        *(("word", x) for x in (1, True, None, ["a"])),
        *(("policy", x) for x in ("Keep", True, None)),
        *(("layers", x) for x in ("L4", [4], [True], {"L4": 1})),
        *(("pair", x) for x in ([1], [1, True], [1, 2, 3], "12")),
        *(("path", x) for x in (1, True)),
    ],
)
def test_a_recipe_must_give_the_fields_type(option: str, given: Any) -> None:
    with pytest.raises(CompileError, match=r"stage.\w+(\[\d\])?: is .*: "):
        value(option, given)


def test_values_of_the_right_type_pass() -> None:
    assert value("rate", 2) == 2.0
    assert value("layers", ["L4", "L5"]) == ("L4", "L5")
    assert value("pair", (1, 2)) == (1, 2)
    assert value("path", None) is None
    assert value("path", Path("a/b")) == "a/b"
    assert value("layers", [Path("a"), "b"]) == ("a", "b")
    assert value("count", np.int64(3)) == 3
    assert value("rate", np.float64(0.25)) == 0.25
    assert math.isnan(value("rate", float("nan")))  # each stage refuses what makes no sense to it


def test_unknown_options_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"stage: option 'polcy': .*\n.*'policy'"):
        configure("stage", Stage, {"polcy": "keep"})
    with pytest.raises(UnknownNameError):
        configure("stage", Stage, {"name": "no option"})


@pytest.mark.parametrize(
    ("option", "given", "hint"),
    [
        ("policy", Raw("kep"), "did you mean 'keep'?"),
        ("policy", "dro", "did you mean 'drop'?"),
        ("policy", "zebra", ""),
        ("pair", Raw("8x16"), "for example pair=[8, 16]"),
        ("layers", 5, 'for example layers=["L4"]'),
        ("count", "x", ""),
    ],
)
def test_what_was_meant(option: str, given: Any, hint: str) -> None:
    with pytest.raises(CompileError) as caught:
        value(option, given)
    assert caught.value.hint == hint


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        configure("stage", Stage, {"count": "x", "polcy": "keep", "rate": True})
    assert [e.where for e in caught.value.errors] == [
        "stage.count",
        "stage: option 'polcy'",
        "stage.rate",
    ]


def test_what_has_no_default_must_be_given() -> None:
    with pytest.raises(CompileError, match=r"x.file: is not set"):
        configure("x", Demanding, {})
    assert configure("x", Demanding, {"file": "a"}) == Demanding("a")


def test_a_stage_is_a_dataclass() -> None:
    with pytest.raises(CompileError, match="int: is not a dataclass"):
        configure("x", int, {})


def test_types_and_defaults_are_those_of_the_fields() -> None:
    assert list(option_types(Stage)) == list(option_defaults(Stage))
    assert option_types(Stage)["layers"] == tuple[str, ...]
    assert option_defaults(Stage)["extra"] == []
    assert option_defaults(Demanding) == {"file": None}


@dataclass(frozen=True)
class Told:
    name: ClassVar[str] = "told"  #: no option

    count: int = 2  #: how many
    rate: Literal[
        "slow",  # not for the user
        "fast",
    ] = "slow"  #: how fast, in ms
    #: a line above
    on: bool = False
    # Not for the user.
    #: two lines,
    #: joined
    word: str = "#: no comment"
    pair: tuple[int, int] = (1, 2)  # not for the user
    plain: int = 0


@dataclass(frozen=True)
class Heir(Told):
    plain: int = 1  #: said by the heir


def test_what_the_source_says_of_an_option() -> None:
    said = {"count": "how many", "rate": "how fast, in ms", "on": "a line above"}
    assert option_docs(Told) == {**said, "word": "two lines, joined"}
    assert option_docs(Heir) == {**option_docs(Told), "plain": "said by the heir"}
    assert option_docs(make_dataclass("Sourceless", [("a", int)])) == {}


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for option in option_types(Stage):
        with contextlib.suppress(CompileError):
            value(option, Raw(text))


@given(st.lists(st.text(alphabet="L456/.'\"\\ é", max_size=6), max_size=4))
def test_lists_as_spelled_are_read_back(layers: list[str]) -> None:
    assert value("layers", Raw(spell(layers))) == tuple(layers)


@pytest.mark.parametrize(
    ("option", "given", "words"),
    [
        ("count", 10**30, "about 31 digits, too many for int64"),
        pytest.param("count", 10**6_000, "digits, too many", id="thousands of digits"),
        ("extra", [1, 2**63], "too many for int64"),
        ("pair", (1, -(2**63) - 1), "too many for int64"),
        ("word", "x" * 70_000, "has 70,000 characters; the limit is 65,536"),
        ("word", Raw("x" * 70_000), "has 70,000 characters; the limit is 65,536"),
        ("layers", ("x",) * 10_001, "has 10,001 items; the limit is 10,000"),
        ("pair", Raw("[" * 2_000), "stage.pair"),
        ("extra", Raw("[" + "9" * 5_000 + "]"), "stage.extra"),
    ],
)
def test_values_that_nothing_can_hold(option: str, given: Any, words: str) -> None:
    with pytest.raises(CompileError, match=words) as caught:
        value(option, given)
    assert len(str(caught.value)) < 2_000


def test_what_is_no_value_is_named_by_its_type() -> None:
    """Not by its content, which may be pages long."""
    table = pd.DataFrame({"pre": [1, 2]})
    with pytest.raises(CompileError, match=r"preset: is a pandas frame, 2 x 1: it takes no data"):
        configure("table", find("adapter", "table"), {"preset": table})
