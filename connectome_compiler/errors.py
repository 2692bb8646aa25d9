"""Errors raised on purpose: where, what, and what to do next."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from difflib import get_close_matches

from connectome_compiler.text import LONGEST, shortened

MOST_NAMES = 50  # in a list of those that are known

# What libraries say where memory is short: torch, C++, numpy, DuckDB, the loader, the threads.
_NO_MEMORY = re.compile(
    "can(no|')t allocate memory|bad_alloc|bad allocation|unable to allocate|out of memory"
    "|failed to map segment|cannot allocate|can't start new thread",
    re.IGNORECASE,
)


class CompileError(Exception):
    """Raised on purpose; the command line prints it without a traceback."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        super().__init__(where, problem, hint)
        self.where, self.problem, self.hint = where, problem, hint

    def __str__(self) -> str:
        text = f"{shortened(self.where)}: {shortened(self.problem)}"
        return text + (f"\n  hint: {shortened(self.hint)}" if self.hint else "")


class VerifyError(CompileError):
    """A graph, or an emitted module, breaks a rule that everything else relies on."""


class UnknownNameError(CompileError):
    """No adapter, pass, template, recipe, option or column has this name."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Suggest the nearest of *known*, or list them, at most `MOST_NAMES`."""
        names = sorted(known)
        close = get_close_matches(name, names, n=1) if len(name) < LONGEST else []
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        listed = (", ".join(names[:MOST_NAMES]) or "none") + more
        hint = f"did you mean {close[0]!r}?" if close else f"known: {listed}"
        return cls(f"{kind} {name!r}", "no such name", hint)


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error``, or what it came of, is a lack of memory, whatever library says so."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or getattr(seen, "errno", None) == errno.ENOMEM:
            return True
        if type(seen).__name__ == "OutOfMemoryException":  # DuckDB's, which is no MemoryError
            return True
        if isinstance(seen, RuntimeError | ImportError) and says_no_memory(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def says_no_memory(text: str) -> bool:
    """Whether a library's message tells of a lack of memory."""
    return _NO_MEMORY.search(text) is not None
