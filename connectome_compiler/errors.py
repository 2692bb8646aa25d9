"""Errors raised on purpose: where, what, and what to do next."""

from __future__ import annotations

import contextlib
import errno
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from connectome_compiler.text import LONGEST, shortened

MOST_NAMES = 50  # in a list of known names

# Out-of-memory messages of torch, C++, numpy, DuckDB, the dynamic loader and threads.
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
    """A graph or an emitted module violates an invariant."""


class RecipeError(CompileError):
    """All errors of a recipe, shown together; ``errors`` has them one by one."""

    def __init__(self, errors: Sequence[CompileError]) -> None:
        first = errors[0]
        super().__init__(first.where, first.problem, first.hint)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        listed = textwrap.indent("\n".join(str(error) for error in self.errors), "  ")
        return f"{len(self.errors)} errors:\n{listed}"


class Faults:
    """Errors that are collected, so that the user sees them all at once."""

    def __init__(self) -> None:
        self.errors: list[CompileError] = []

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Record an error raised inside, and continue after."""
        try:
            yield
        except CompileError as error:
            new = error.errors if isinstance(error, RecipeError) else (error,)
            known = {str(e) for e in self.errors}
            self.errors += [e for e in new if str(e) not in known]

    def raise_any(self) -> None:
        """Raise what was recorded: a single error as it is, several as `RecipeError`."""
        if len(self.errors) > 1:
            raise RecipeError(self.errors)
        if self.errors:
            raise self.errors[0]


class UnknownNameError(CompileError):
    """No adapter, pass, template, recipe, option or column has this name."""

    @classmethod
    def among(
        cls, kind: str, name: str, known: Iterable[str], titles: Mapping[str, str] | None = None
    ) -> UnknownNameError:
        """Suggest the nearest of *known*, or list at most `MOST_NAMES` of them.

        Where none is near, suggest the first whose title has the word.
        """
        names = sorted(known)
        word = re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
        told = [n for n in names if titles and len(name) > 2 and word.search(titles[n])]
        close = nearest(name, names) or (told or [""])[0]
        more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        listed = (", ".join(names[:MOST_NAMES]) or "none") + more
        hint = f"did you mean {close!r}?" if close else f"known: {listed}"
        return cls(f"{kind} {name!r}", "no such name", hint)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what ``word`` probably meant, "" if nothing is near.

    The only one whose last word it is (``null_seed``), the most similar, or the only one with it.
    """
    names = list(known)
    if not word or len(word) >= LONGEST:
        return ""
    whole = [name for name in names if name.endswith(f"_{word}")]
    if len(whole) == 1 and word not in names:
        return whole[0]
    alike = get_close_matches(word, names, n=1)
    longer = [name for name in names if word in name and len(word) > 2]
    return alike[0] if alike else longer[0] if len(longer) == 1 else ""


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error``, or one of its causes, is a lack of memory, in any library."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or getattr(seen, "errno", None) == errno.ENOMEM:
            return True
        if type(seen).__name__ == "OutOfMemoryException":  # DuckDB's, which is not a MemoryError
            return True
        if isinstance(seen, RuntimeError | ImportError) and says_no_memory(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def says_no_memory(text: str) -> bool:
    """Whether a library's message reports a lack of memory."""
    return _NO_MEMORY.search(text) is not None
