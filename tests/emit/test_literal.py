"""Literals read back as what they were, and nothing in them becomes code."""

import ast
import subprocess
import sys
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.emit.literal import docstring, literal

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
    spelled = literal(value).replace("inf", "1e999")
    assert ast.literal_eval(spelled) == value


@given(st.text())
def test_docstrings_stay_closed(text: str) -> None:
    source = docstring("x" + text + "x")
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Constant)


QUOTES = ["".join(chosen) for n in (1, 3, 4) for chosen in product("a'\"\\", repeat=n)]


def test_literals_are_formatted_as_ruff_does() -> None:
    value = {"name": "x" * 50, "list": ["y" * 30] * 4, "quotes": QUOTES, "t": (1,)}
    source = f"VALUE = {literal(value)}\n"
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=100", "-"]
    done = subprocess.run(ruff, input=source, capture_output=True, text=True, check=True)
    assert done.stdout == source
