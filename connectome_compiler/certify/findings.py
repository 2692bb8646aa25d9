"""What a check finds: a module that does what its graph does not say, or the reverse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
