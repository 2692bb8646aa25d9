"""Python literals that read like hand-written ones."""

from __future__ import annotations

from typing import Any

WIDTH = 100  # characters, as everywhere in the project


def literal(value: Any, indent: int = 0, room: int = 0) -> str:
    """Spell dicts, lists, tuples, strings, numbers; one item per line where a line is too long.

    ``indent`` is that of the line on which the literal begins; ``room`` the characters before it.
    """
    short = _flat(value)
    if len(short) + indent + room + 1 <= WIDTH or not isinstance(value, dict | list | tuple):
        return short
    if not value:
        return short
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        lines = [
            f"{pad}{_flat(k)}: {literal(v, indent + 4, len(_flat(k)) + 2)},"
            for k, v in value.items()
        ]
        return "{\n" + "\n".join(lines) + "\n" + " " * indent + "}"
    lines = [f"{pad}{literal(v, indent + 4)}," for v in value]
    ends = "[]" if isinstance(value, list) else "()"
    return ends[0] + "\n" + "\n".join(lines) + "\n" + " " * indent + ends[1]


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(k)}: {_flat(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(v) for v in value) + "]"
    if isinstance(value, tuple):
        tail = "," if len(value) == 1 else ""
        return "(" + ", ".join(_flat(v) for v in value) + tail + ")"
    return repr(value)


def quote(text: str) -> str:
    """Spell a string as ruff does: double quotes, unless those would need more escapes."""
    inner = repr(text)[1:-1]
    if text.count('"') > text.count("'"):  # as repr has it
        return f"'{inner}'"
    if repr(text)[0] == "'":  # repr escaped the single quotes, if any
        inner = inner.replace('"', '\\"').replace("\\'", "'")
    return f'"{inner}"'


def inside_docstring(text: str) -> str:
    """Make text from data safe within a triple-quoted string."""
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return printable.replace("\\", "\\\\").replace('"""', "'''")
