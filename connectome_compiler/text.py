"""Text layout: columns, wrapped lines, and text that is safe for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 100
INDENT = 12  # indentation beside the words on the left
LONGEST = 600  # characters shown of one text; a value from a file can have millions

# Everything that moves the cursor, sets a title or changes the text direction, except newlines.
_ACTING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)

Row = tuple[str, ...]
SIDES = {"<": "left", ">": "right"}


def table(rows: Sequence[Row | None], align: str = "<", indent: str = "  ") -> list[str]:
    """Return lines with the cells of ``rows`` in columns; None is a rule across all columns.

    ``align`` has "<" or ">" for each column, its last letter for all further ones.
    """
    cells = [row for row in rows if row is not None]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = tuple("-" * width for width in widths)
    lines = []
    for row in rows:
        padded = (
            cell.rjust(width) if side == ">" else cell.ljust(width)
            for cell, side, width in zip(row or rule, _sides(align, widths), widths, strict=True)
        )
        lines.append((indent + "  ".join(padded)).rstrip())
    return lines


def html_table(rows: Sequence[Row | None], align: str = "<", caption: str = "") -> str:
    """Return the table as HTML; its first row is the head, and rules are left out.

    It has no colours of its own, so it reads as well in the dark.
    """
    lines = []
    for tag, row in zip(["th"] + ["td"] * len(rows), filter(None, rows), strict=False):
        cells = (
            f"<{tag} style='text-align:{SIDES[side]}'>{in_html(cell)}</{tag}>"
            for cell, side in zip(row, _sides(align, row), strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    below = f"<caption style='caption-side:bottom'>{in_html(caption)}</caption>" if caption else ""
    head, body = lines[0], "".join(lines[1:])
    return f"<table>{below}<thead>{head}</thead><tbody>{body}</tbody></table>"


def html_heading(text: str, more: str = "") -> str:
    """Return a paragraph in bold type, and what follows it, as HTML."""
    return f"<p><b>{in_html(text)}</b>{in_html(more)}</p>"


def in_html(text: str) -> str:
    """Return text from anywhere as HTML that shows it, and does nothing else."""
    from html import escape  # not for every command

    return escape(printable(text))


def _sides(align: str, columns: Sequence[object]) -> str:
    return align.ljust(len(columns), align[-1])[: len(columns)]


def wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """Return ``text`` wrapped into lines that begin with ``first`` and ``rest``."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def beside(word: str, text: str) -> list[str]:
    """Return ``text`` wrapped to the right of a word."""
    return wrapped(text, f"{word:<{INDENT}}", " " * INDENT)


def notes(texts: Iterable[str]) -> list[str]:
    """Return each text as indented lines."""
    return [line for text in texts for line in wrapped(text, " " * 6, " " * 8)]


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return how many there are: ``1 neuron``, ``1,302 neurons``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def cut(text: str, most: int) -> str:
    """Return ``text`` without its end if it is longer than ``most``."""
    return text if len(text) <= most else text[: most - 3] + "..."


def shortened(text: str) -> str:
    """Return ``text`` without its middle if it is very long."""
    if (left_out := len(text) - LONGEST) <= 0:
        return text
    half = LONGEST // 2
    return f"{text[:half]} [... {left_out:,} characters left out ...] {text[-half:]}"


def printable(text: str) -> str:
    r"""Return ``text`` for a terminal, with control characters escaped, as in ``\x1b``.

    Newlines stay. Names and titles come from data, and could otherwise control the terminal.
    """
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
