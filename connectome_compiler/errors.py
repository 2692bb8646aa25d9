"""Errors raised on purpose: where, what, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CompileError(Exception):
    """Raised on purpose; the command line prints it without a traceback."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        super().__init__(where, problem, hint)
        self.where, self.problem, self.hint = where, problem, hint

    def __str__(self) -> str:
        where, problem, hint = map(_shortened, (self.where, self.problem, self.hint))
        return f"{where}: {problem}" + (f"\n  hint: {hint}" if hint else "")


LONGEST = 600  # characters of each part of a message; a value from a file can have millions


def _shortened(text: str) -> str:
    """Leave out the middle of what nobody could read; the error itself keeps all."""
    if len(text) <= LONGEST:
        return text
    head, tail = text[: LONGEST * 2 // 3], text[-LONGEST // 4 :]
    return f"{head} ... [{len(text) - len(head) - len(tail):,} characters] ... {tail}"


class VerifyError(CompileError):
    """A graph, or an emitted module, breaks a rule that everything else relies on."""


class UnknownNameError(CompileError):
    """No adapter, pass, template, recipe, option or column has this name."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Suggest the nearest of *known*, or list them all."""
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
        return cls(f"{kind} {name!r}", "no such name", hint)
