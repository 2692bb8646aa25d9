"""Questions: what a source leaves unsaid stops the reading, with the options that say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectome_compiler.errors import CompileError
from connectome_compiler.text import shortened, table

MOST_LETTERS = 24  # of a value that is shown
MOST_COLUMNS, MOST_ROWS = 8, 4  # that are shown

Answer = tuple[str, str]  # an option as it is spelled, "weight=syn_num"; and what it means


class UnsaidError(CompileError):
    """A source can be read in several ways; ``answers`` are the options that choose one.

    ``shown`` are its first lines as they were understood.
    """

    def __init__(
        self,
        where: str,
        problem: str,
        hint: str = "",
        shown: tuple[str, ...] = (),
        answers: tuple[Answer, ...] = (),
    ) -> None:
        super().__init__(where, problem, hint)
        self.shown, self.answers = shown, answers

    def __str__(self) -> str:
        head = f"{shortened(self.where)}: {shortened(self.problem)}"
        return "\n".join([head, *self.shown, f"  hint: {self.hint}"])


def unsaid(
    where: str, problem: str, shown: Sequence[Sequence[Any]], *answers: Answer
) -> UnsaidError:
    """Return the error that asks: what is not said, the first lines as understood, the answers.

    ``shown`` are rows of values, the first of them names; none are shown where it is empty.
    """
    width = max((len(option) for option, _ in answers), default=0)
    told = "\n        ".join(f"--set {option:{width}}  {means}" for option, means in answers)
    return UnsaidError(where, problem, told, tuple(aligned(shown)), answers)


def aligned(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return rows of values as lines of a table; what is too wide or too long is cut."""
    if not rows:
        return []
    n = min(max(map(len, rows)), MOST_COLUMNS)
    more = ("...",) if max(map(len, rows)) > n else ()
    return table(
        [
            (*(_short(v) for v in row[:n]), *("" for _ in range(n - len(row))), *more)
            for row in rows[: MOST_ROWS + 1]
        ],
        indent="    ",
    )


def _short(value: Any) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    text = text.strip()
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 3]}..."
