"""Text stands in columns and lines of one width, and a terminal can be sent it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.text import (
    WIDTH,
    beside,
    counted,
    cut,
    html_table,
    notes,
    printable,
    table,
    wrapped,
)

CELLS = st.text("abc de", max_size=6)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[CELLS] * n), min_size=1)))
def test_columns_are_aligned(rows: list[tuple[str, ...]]) -> None:
    lines = table([rows[0], None, *rows[1:]], "<>", indent="  ")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    assert lines.pop(1).split() == ["-" * width for width in widths if width]
    for row, line in zip(rows, lines, strict=True):
        assert line == line.rstrip()
        line = line.ljust(2 + sum(widths) + 2 * (len(widths) - 1))
        for k, (cell, width) in enumerate(zip(row, widths, strict=True)):
            start = 2 + sum(widths[:k]) + 2 * k
            padded = cell.rjust(width) if k else cell.ljust(width)
            assert line[start : start + width] == padded


def test_one_thing_is_not_several() -> None:
    assert [counted(n, "neuron") for n in (0, 1, 1302)] == [
        "0 neurons",
        "1 neuron",
        "1,302 neurons",
    ]
    assert [counted(n, "bias", "biases") for n in (1, 2)] == ["1 bias", "2 biases"]


def test_a_table_without_rows_has_no_lines() -> None:
    assert table([]) == []


def test_a_table_by_hand() -> None:
    rows = [("name", "n", "what"), None, ("a", "12", "first"), ("long name", "1", "")]
    assert table(rows, "<><") == [
        "  name        n  what",
        "  ---------  --  -----",
        "  a          12  first",
        "  long name   1",
    ]
    assert html_table(rows[:3], "<>", caption="a < b") == (
        "<table><caption style='caption-side:bottom'>a &lt; b</caption><thead><tr>"
        "<th style='text-align:left'>name</th><th style='text-align:right'>n</th>"
        "<th style='text-align:right'>what</th></tr></thead><tbody><tr>"
        "<td style='text-align:left'>a</td><td style='text-align:right'>12</td>"
        "<td style='text-align:right'>first</td></tr></tbody></table>"
    )


@given(st.lists(st.text("ab-", min_size=1, max_size=20), min_size=1))
def test_lines_fit_and_no_word_is_broken(words: list[str]) -> None:
    for lines, first, rest in (
        (wrapped(" ".join(words), "* ", "  "), "* ", "  "),
        (beside("word", " ".join(words)), "word".ljust(12), " " * 12),
        (notes([" ".join(words)]), " " * 6, " " * 8),
    ):
        assert max(map(len, lines)) <= WIDTH
        assert lines[0].startswith(first)
        assert all(line.startswith(rest) for line in lines[1:])
        kept = lines[0][len(first) :].split() + [w for line in lines[1:] for w in line.split()]
        assert kept == words


def test_what_is_cut_says_so() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abc..."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\nb"),
        ("größer → 😀 🇨🇭", "größer → 😀 🇨🇭"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("a\rb\tc\bd\x00\x7f", "a\\rb\\tc\\x08d\\x00\\x7f"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),  # C1: one character that is both ESC and [
        ("\u202eevil\u2066\u200f\u061c", "\\u202eevil\\u2066\\u200f\\u061c"),
        ("\u2028\udcff", "\\u2028\\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()
