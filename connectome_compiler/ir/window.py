"""Windows: connectivity by a rule on the place of units in their lists, or on grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Index
from connectome_compiler.ir.records import check_fields
from connectome_compiler.nn.window_rules import FORMS, SEEDS, WindowRule


@dataclass(frozen=True, slots=True)
class Window:
    """The units, or channels, that ``rule`` joins.

    A law: no connection is listed until somebody asks. A rule that draws has its own seed.
    """

    rule: WindowRule

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of(cls, where: str, **numbers: Any) -> Window:
        """Return the window of a rule; raise `CompileError` at ``where`` for numbers without one.

        Numbers are the fields of `WindowRule`.
        """
        try:
            return cls(WindowRule(**numbers))
        except ValueError as error:
            raise CompileError(where, str(error)) from error

    def drawn_anew(self, further: int) -> Window:
        """Return the window of a seed ``further`` on, if its rule draws; else the same."""
        if "seed" not in FORMS[self.rule.form]:
            return self
        return Window(replace(self.rule, seed=(self.rule.seed + further) % SEEDS))

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return ``(post, pre)``, sorted by post, then pre; memory grows with the connections."""
        _fits(self.rule.check, n_post, n_pre)
        flat = chain.from_iterable(self.rule.runs(n_post, n_pre))
        runs = np.fromiter(flat, np.int64).reshape(-1, 3)
        post, first, length = runs[:, 0], runs[:, 1], runs[:, 2] - runs[:, 1]
        # Each run counts up from its first source: subtract where the run begins in the list.
        begins = np.cumsum(length) - length
        pre = np.arange(length.sum()) - np.repeat(begins - first, length)
        return np.repeat(post, length).astype(np.int32), pre.astype(np.int32)

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of connections; raise `CompileError` where the rule does not fit."""
        _fits(self.rule.check, n_post, n_pre)
        return self.rule.count(n_post, n_pre)

    def describe(self) -> str:
        """Return the rule in a few words."""
        return self.rule.describe()


def _fits(check: Callable[[int, int], None], n_post: int, n_pre: int) -> None:
    try:
        check(n_post, n_pre)
    except ValueError as error:
        raise CompileError("window", str(error)) from error
