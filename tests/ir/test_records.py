from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
import pytest

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir.records import (
    check_fields,
    fitted,
    made,
    must_be_record,
    shown,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    """A record inside another."""

    side: Literal["left", "right"]
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Outer:
    """A record with every kind of default."""

    count: int
    share: float = 0.5
    inner: Inner | None = None
    sure: Inner = Inner("left")
    made_here: str = field(default="", init=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.count == 13:
            raise ValueError("13 is no count")


@dataclass
class Loose:
    """A dataclass that can be changed."""

    count: int


class Below(Inner):
    """No dataclass itself, but for its parent."""


LIMIT = 2**63
BIG = LIMIT - 1
TAKEN: list[tuple[Any, Any, Any]] = [
    (int, 3, 3),
    (int, np.int64(3), 3),
    (int, np.uint64(BIG), BIG),
    (int, -BIG, -BIG),
    (int, np.array(3), 3),
    (float, 3, 3),
    (float, 0.5, 0.5),
    (float, np.float32(0.5), 0.5),
    (float, 2.0**63, 2.0**63),
    (str, "é", "é"),
    (str, np.str_("a"), "a"),
    (bool, np.bool_(True), True),
    (bool, False, False),
    (int | None, None, None),
    (int | None, np.int8(3), 3),
    (int | str, "a", "a"),
    (int | str | None, None, None),
    (Literal["a", "b"], "b", "b"),
    (Literal["a", "b"], np.str_("b"), "b"),
    (Literal[1, 2], np.int64(2), 2),
    (tuple[int, ...], [], ()),
    (tuple[int, ...], [1, BIG], (1, BIG)),
    (tuple[int, ...], (-BIG, 2), (-BIG, 2)),
    (tuple[int, ...], [np.int64(1), 2], (1, 2)),
    (tuple[float, ...], [1, np.float64(0.5)], (1, 0.5)),
    (tuple[str, int], ["a", 1], ("a", 1)),
    (tuple[tuple[int, ...], ...], [[1], [2]], ((1,), (2,))),
    (Colour, Colour.RED, Colour.RED),
    (Colour, "blue", Colour.BLUE),
    (Inner, Inner("left"), Inner("left")),
]


@pytest.mark.parametrize(("hint", "value", "fit"), TAKEN)
def test_what_means_the_same_becomes_plain(hint: Any, value: Any, fit: Any) -> None:
    found = fitted("x", hint, value)
    assert found == fit
    assert repr(found) == repr(fit)  # True is no 1, and a number of numpy no plain one


@pytest.mark.parametrize("value", [("a", "b"), (1, 2), (), 3, "a", 0.5, None, Inner("left")])
def test_what_is_right_stays_the_same_object(value: Any) -> None:
    hint = {tuple: tuple[str | int, ...], type(None): int | None}.get(type(value), type(value))
    assert fitted("x", hint, value) is value


REFUSED: list[tuple[Any, Any, str, str]] = [
    (int, True, "x", "True, expected a whole number"),
    (int, 1.5, "x", "1.5, expected a whole number"),
    (int, "1", "x", "'1', expected a whole number"),
    (int, None, "x", "None, expected a whole number"),
    (int, LIMIT, "x", "64 bits"),
    (int, -LIMIT, "x", "64 bits"),
    (float, LIMIT, "x", "64 bits"),
    (float, True, "x", "True, expected a number"),
    (float, np.bool_(True), "x", "expected a number"),
    (float, "1", "x", "'1', expected a number"),
    (str, 1, "x", "1, expected text"),
    (str, b"a", "x", "expected text"),
    (str, "a\ud800", "x", "'a\\ud800'"),
    (bool, 1, "x", "1, expected true or false"),
    (bool, "true", "x", "expected true or false"),
    (int | None, "a", "x", "'a', expected a whole number"),
    (int | str, 1.5, "x", "1.5, expected a whole number or text"),
    (int | str, None, "x", "None, expected a whole number or text"),
    (Literal["a", "b", "c"], "d", "x", "'a', 'b' or 'c', not 'd'"),
    (Literal["a", "b"], 1, "x", "1, expected text"),
    (tuple[int, ...], "12", "x", "'12', expected a list"),
    (tuple[int, ...], b"12", "x", "expected a list"),
    (tuple[int, ...], {1}, "x", "expected a list"),
    (tuple[int, ...], [1, LIMIT], "x", "64 bits"),
    (tuple[int, ...], (-LIMIT, 1), "x", "64 bits"),
    (tuple[int, ...], [1, True], "x[1]", "True, expected a whole number"),
    (tuple[str, ...], ["a", 1], "x[1]", "1, expected text"),
    (tuple[int, int], [1], "x", "1 entries, expected 2"),
    (tuple[int, int], [1, 2, 3], "x", "3 entries, expected 2"),
    (tuple[tuple[int, ...], ...], [[1], ["a"]], "x[1][0]", "'a', expected a whole number"),
    (Colour, "green", "x", "must be one of red, blue, not 'green'"),
    (Colour, 1, "x", "1, expected a Colour"),
    (Inner, "left", "x", "'left', expected a Inner"),
    (Inner, {"side": "left"}, "x", "a table, expected a Inner"),
]


@pytest.mark.parametrize(("hint", "value", "where", "problem"), REFUSED)
def test_what_does_not_is_refused_at_its_place(
    hint: Any, value: Any, where: str, problem: str
) -> None:
    with pytest.raises(CompileError) as caught:
        fitted("x", hint, value)
    assert caught.value.where == where
    assert problem in caught.value.problem


def test_a_record_checks_its_fields_by_name() -> None:
    record = Outer(np.int64(2), share=1, sure=Inner("right", [1, 2]))  # type: ignore[arg-type]
    assert repr(record.count) == "2"
    assert record.sure.sizes == (1, 2)
    with pytest.raises(CompileError, match=r"^Outer\.share: is 'half'"):
        Outer(1, "half")  # type: ignore[arg-type]


SPELLED: list[tuple[Any, Outer]] = [
    ({"count": 1}, Outer(1)),
    ({"count": 1, "share": 2, "inner": None}, Outer(1, 2)),
    (
        {"count": 1, "inner": {"side": "left", "sizes": [3]}, "sure": {"side": "right"}},
        Outer(1, inner=Inner("left", (3,)), sure=Inner("right")),
    ),
]


@pytest.mark.parametrize(("entry", "record"), SPELLED)
def test_a_file_spells_records_inside_records(entry: Any, record: Outer) -> None:
    assert made("file", Outer, entry) == record


MISSPELLED: list[tuple[Any, str, str]] = [
    ([1], "file", "a list, expected a table"),
    ("count", "file", "'count', expected a table"),
    ({"count": 1, "cuont": 2}, "file", "'cuont'"),
    ({"count": 1, "made_here": "x"}, "file", "'made_here'"),
    ({"share": 1.0}, "file", "'count'"),
    ({"count": "1"}, "file.count", "'1', expected a whole number"),
    ({"count": {"side": "left"}}, "file.count", "a table, expected a whole number"),
    ({"count": 1, "inner": {}}, "file.inner", "'side'"),
    ({"count": 1, "sure": {"side": "up"}}, "file.sure.side", "'up'"),
    ({"count": 13}, "file", "13 is no count"),
]


@pytest.mark.parametrize(("entry", "where", "problem"), MISSPELLED)
def test_what_a_file_spells_wrongly_is_named(entry: Any, where: str, problem: str) -> None:
    with pytest.raises(CompileError) as caught:
        made("file", Outer, entry)
    assert caught.value.where == where
    assert problem in caught.value.problem


def test_only_frozen_dataclasses_are_records() -> None:
    must_be_record("here", Inner("left"))
    for value in (Loose(1), Below("left"), 3, None):
        with pytest.raises(VerifyError, match=f"^here: {type(value).__name__} "):
            must_be_record("here", value)


def test_an_error_shows_a_few_words_of_whatever_it_is() -> None:
    assert [shown(v) for v in (None, True, 1.5, "a")] == ["None", "True", "1.5", "'a'"]
    others: dict[str, Any] = {"a list": [1], "a table": {}, "a set": {1}, "a bytes": b"a"}
    assert [shown(v) for v in others.values()] == list(others)
    assert shown((1,)) == "a list"
    assert len(shown("a" * 1000)) == 60
