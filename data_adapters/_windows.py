"""Shared by the adapters that use windows."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from connectome_compiler.errors import CompileError
from connectome_compiler.nn.window_rules import FORMS


def window_numbers(adapter: Any, *names: str) -> dict[str, Any]:
    """Return those of the options ``names`` that ``adapter.form`` reads.

    Raises `CompileError` for another one that was set.
    """
    read = {name: getattr(adapter, name) for name in names if name in FORMS[adapter.form]}
    for option in fields(adapter):
        if option.name not in names or option.name in read:
            continue
        if getattr(adapter, option.name) != option.default:
            where, problem = (
                f"{adapter.name}.{option.name}",
                f"has no effect with form {adapter.form!r}",
            )
            raise CompileError(where, problem, f"options of this form: {', '.join(read)}")
    return read
