"""What the adapters that lay windows share."""

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
            where, problem = f"{adapter.name}.{option.name}", f"form {adapter.form!r} has none"
            raise CompileError(where, problem, f"it has {', '.join(read)}")
    return read
