"""What the probes of emitted modules share: findings, and imports without the compiler."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectome_compiler.errors import CompileError, out_of_memory


class Wrong(Exception):  # noqa: N818  not an error of ours: a finding
    """Something that the module does and the graph does not say, or the reverse."""

    def __init__(self, where: str, problem: str, wanted: str = "", hint: str = "") -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem
        self.hint = hint  # where it is known better than by whoever asked for the check
        self.wanted = wanted  # of a graph: the digest of the right one


@contextmanager
def finding(where: str) -> Iterator[None]:
    """Turn whatever goes wrong inside the module into a finding at ``where``."""
    try:
        yield
    except Wrong:
        raise
    except Exception as error:
        if out_of_memory(error):  # says nothing about the module
            raise MemoryError(str(error)) from error
        if isinstance(error, CompileError):  # of the saved graph
            problem = f"{error.where}: {error.problem}"
            raise Wrong(where, problem, hint=error.hint) from error
        raise Wrong(where, f"{type(error).__name__}: {error}") from error


@contextmanager
def alone() -> Iterator[None]:
    """Keep the compiler out of reach: the module must do without it."""
    mine = {name: m for name, m in sys.modules.items() if name.startswith("connectome_compiler")}
    blocked: Any = dict.fromkeys(mine)
    sys.modules.update(blocked)  # importing them fails from here on
    try:
        yield
    finally:
        sys.modules.update(mine)
