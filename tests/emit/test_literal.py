"""Literals read back as what they were, and nothing in them becomes code."""

import ast
import subprocess
import sys
from enum import IntEnum, StrEnum
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.emit.literal import WIDTH, code, docstring, literal, packed, printable
from connectome_compiler.errors import CompileError

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=30), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_literals_read_back(value: object) -> None:
    assert ast.literal_eval(literal(value)) == value
    assert ast.literal_eval(literal(value, 8, 90)) == value


@given(st.dictionaries(st.text(max_size=20), values, min_size=1, max_size=6))
def test_packed_literals_read_back(value: dict[str, object]) -> None:
    source = packed(value)
    assert ast.literal_eval(source) == value
    assert source.data[0].value == value
    assert (0, len(source)) == source.data[0][:2]


def test_packed_literals_fill_their_lines() -> None:
    rows = [[f"name{k}", k, "x" * 20] for k in range(9)]
    value = {
        "text": "some words " * 30,
        "rows": {"all": [rows, rows], "none": []},
        "t": (("y " * 70,),),
    }
    source = packed(value)
    assert ast.literal_eval(source) == value
    lines = source.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) < 24


class Word(StrEnum):
    A = 'a"'


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (float("inf"), "1e999"),
        (-float("inf"), "-1e999"),
        (np.float64(0.5), "0.5"),
        (np.int64(-3), "-3"),
        (np.bool_(True), "True"),
        (np.str_("a"), '"a"'),
        (Word.A, "'a\"'"),
        (Number.ONE, "1"),
        ("\ud800\u202e\x00", '"\\ud800\\u202e\\x00"'),
        ((), "()"),
        ((1.0,), "(1.0,)"),
    ],
)
def test_values_of_other_kinds_are_spelled_as_plain_ones(value: object, spelled: str) -> None:
    assert literal(value) == spelled


@pytest.mark.parametrize("value", [float("nan"), [np.nan], {1}, b"x", 1j, np.zeros(2), object()])
def test_what_no_literal_reads_back_as_is_refused(value: object) -> None:
    with pytest.raises(CompileError, match="cannot spell"):
        literal(value)


@given(st.text())
def test_docstrings_stay_closed(text: str) -> None:
    source = docstring("x" + text + "x")
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Constant)
    assert node.value.value == printable("x" + text + "x") + "\n"
    assert source.replace("\n", "").isprintable()


QUOTES = ["".join(chosen) for n in (1, 3, 4) for chosen in product("a'\"\\", repeat=n)]


def test_literals_are_formatted_as_ruff_does() -> None:
    pytest.importorskip("ruff", reason="of the extra [dev]")
    value = {"name": "x" * 50, "list": ["y" * 30] * 4, "quotes": QUOTES, "t": (1,)}
    source = f"VALUE = {literal(value)}\n"
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=100", "-"]
    done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True)
    assert done.stdout == source


def test_text_that_says_it_is_a_constant_is_no_code() -> None:
    class Equal(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("pass")

    assert Equal("import os") in test_text_that_says_it_is_a_constant_is_no_code.__code__.co_consts
    with pytest.raises(CompileError, match="takes a constant of the program as code"):
        code(Equal("import os"))
