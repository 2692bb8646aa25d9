"""Source of a module, and the only ways in which something becomes source.

`code` places the text of our own programs, `literal` and `docstring` spell what comes from data.
All return `Source`, which knows where in it data stand. Nothing else is accepted as source: not by
`code` and `Source.join`, not by a template (`emit.render`), not by a module (`emit.proven`).
"""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np

from connectome_compiler.errors import CompileError

WIDTH = 100  # characters, as everywhere in the project


class Datum(NamedTuple):
    """A literal of data in source: the characters where it stands, and what it must read as."""

    start: int
    end: int
    value: Any


class Source(str):
    """Source of Python whose words are a program's own; of data it holds literals alone.

    ``data`` are these literals, in their order. Made by `code`, `literal`, `docstring`,
    `identifier`; calling the class vouches for a text, as for the layers that are copied. What
    other operations of ``str`` return is plain text again.
    """

    __slots__ = ("data",)
    data: tuple[Datum, ...]

    def __new__(cls, text: str, data: Iterable[Datum] = ()) -> Self:
        """Vouch for ``text``, whose words are not of data but for ``data``."""
        made = super().__new__(cls, text)
        made.data = tuple(data)
        return made

    def join(self, parts: Iterable[Any]) -> Source:
        """Return ``parts`` with this source in between; numbers are spelled."""
        joined: list[Source] = []
        for part in parts:
            joined += [self, placed(part)] if joined else [placed(part)]
        length, data = 0, []
        for part in joined:
            data += [Datum(d.start + length, d.end + length, d.value) for d in part.data]
            length += len(part)
        return Source("".join(joined), data)

    def lines(self) -> list[Source]:
        """Return the lines, each a source; no literal may go over several."""
        lines, start = [], 0
        for text in self.split("\n"):
            end = start + len(text)
            inside = [d for d in self.data if d.start < end and d.end > start]
            if any(d.start < start or d.end > end for d in inside):
                raise ValueError("a literal goes over several lines")
            data = [Datum(d.start - start, d.end - start, d.value) for d in inside]
            lines.append(Source(text, data))
            start = end + 1
        return lines


def code(text: str, *parts: Any) -> Source:
    """Return ``text`` as source, with ``parts`` in the places of ``{}``.

    ``text`` must be a constant of the calling function, so that no computed text passes for code;
    parts are source, or numbers.
    """
    constants = sys._getframe(1).f_code.co_consts
    if type(text) is not str or text not in constants:  # a subclass may say that it equals them
        problem = f"takes a constant of the program as code, not {_shown(text)}"
        raise CompileError("code()", problem, "write {} for what differs")
    words = text.split("{}")
    if len(words) != len(parts) + 1:
        raise CompileError("code()", f"has {len(parts)} parts for {len(words) - 1} places")
    between = zip(map(Source, words[1:]), parts, strict=True)
    return Source("").join(
        [Source(words[0]), *(part for word, given in between for part in (given, word))]
    )


def identifier(name: str) -> Source:
    """Return ``name`` as source; raise `CompileError` unless Python reads it as that one name."""
    if not is_name(name):
        hint = "letters, digits and _, no digit first"
        raise CompileError(f"name {_shown(name)}", "is not a valid Python name", hint)
    return Source(name)


def is_name(text: str) -> bool:
    """Whether Python reads ``text`` as one name, spelled in the same way."""
    one_word = text.isidentifier() and not keyword.iskeyword(text)
    return one_word and unicodedata.normalize("NFKC", text) == text  # Python takes ｅval for eval


def placed(value: Any) -> Source:
    """Return what may stand in source as it is: source, numbers, None, and tuples of these."""
    if isinstance(value, Source):
        return value
    if isinstance(value, str):
        problem = f"plain text where source is built: {_shown(value)}"
        raise CompileError("template", problem, "spell it by literal(), docstring() or code()")
    return literal(value)


def literal(value: Any, indent: int = 0, room: int = 0) -> Source:
    """Spell dicts, lists, tuples, strings, numbers; one item per line where a line is too long.

    ``indent`` is that of the line on which the literal begins; ``room`` the characters before it.
    Raises `CompileError` for what no literal reads back as: NaN, objects of other kinds.
    """
    text = _spell(value, indent, room)
    is_text = isinstance(value, str | dict | list | tuple)
    return Source(text, [Datum(0, len(text), value)] if is_text else ())


def packed(value: dict[str, Any]) -> Source:
    """Spell a dict between lines of its brackets, what is inside on as few lines as it needs."""
    text = f"{{\n    {_filled(_parts(value), 4, 4, 1, False)},\n}}"
    return Source(text, [Datum(0, len(text), value)])


def docstring(text: str, indent: int = 0) -> Source:
    """Spell ``text`` as a docstring, closed on a line of its own, ``indent`` characters in.

    What is not printable shows as a space: nothing may hide how the source reads.
    """
    value = f"{printable(text)}\n{' ' * indent}"
    escaped = value.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    spelled = f'"""{escaped}"""'
    return Source(spelled, [Datum(0, len(spelled), value)])


def printable(text: str) -> str:
    """Return ``text`` with a space for each character that is not printable, lines apart."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _spell(value: Any, indent: int, room: int) -> str:
    short = _flat(value)
    if len(short) + indent + room + 1 <= WIDTH or not isinstance(value, dict | list | tuple):
        return short
    if not value:
        return short
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        lines = [
            f"{pad}{_flat(k)}: {_spell(v, indent + 4, len(_flat(k)) + 2)},"
            for k, v in value.items()
        ]
        return "{\n" + "\n".join(lines) + "\n" + " " * indent + "}"
    lines = [f"{pad}{_spell(v, indent + 4, 0)}," for v in value]
    ends = "[]" if isinstance(value, list) else "()"
    return ends[0] + "\n" + "\n".join(lines) + "\n" + " " * indent + ends[1]


def _fill(value: Any, column: int, indent: int, after: int, in_list: bool) -> str:
    """Spell a value that begins at ``column`` of a line that is indented by ``indent``.

    ``after`` characters follow on its last line. Lines after the first stand below its first item,
    if it is in a list or all items are short; else they are indented by one level more.
    """
    short = _flat(value)
    if column + len(short) + after <= WIDTH or not value:
        return short
    if isinstance(value, str):
        room = WIDTH - column - 2 * in_list - after
        text = f"\n{' ' * (column + in_list)}".join(_pieces(value, room))
        return f"({text})" if in_list and "\n" in text else text
    if not isinstance(value, dict | list | tuple):
        return short
    parts = _parts(value)
    below = in_list or all(
        not isinstance(part, dict | list | tuple)
        and column + 1 + len(head + _flat(part)) + 1 + after <= WIDTH
        for head, part in parts
    )
    inner = column + 1 if below else indent + 4
    if isinstance(value, dict):
        first, last = "{}"
        here = below or column + 1 + len("".join(map(_flat, parts[0]))) < WIDTH
    else:
        first, last = "[]" if isinstance(value, list) else ("(", ",)")
        here = below
    begin = column + 1 if here else inner
    text = _filled(parts, begin, inner, len(last) + after, not isinstance(value, dict))
    return f"{first}{text}{last}" if here else f"{first}\n{' ' * inner}{text}{last}"


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the items of a container, each with what stands before it."""
    if isinstance(value, dict):
        return [(f"{_flat(key)}: ", part) for key, part in value.items()]
    return [("", part) for part in value]


def _filled(
    parts: list[tuple[str, Any]], column: int, indent: int, after: int, in_list: bool
) -> str:
    """Spell items from ``column`` on, as many on a line as fit; what is longer has its own."""
    lines = [""]
    for k, (head, part) in enumerate(parts):
        text, end = head + _flat(part), after if k == len(parts) - 1 else 1
        start = indent if len(lines) > 1 else column
        if lines[-1] and start + len(lines[-1]) + 1 + len(text) + end > WIDTH:
            lines.append("")
            start = indent
        if start + len(text) + end > WIDTH:
            text = head + _fill(part, start + len(head), start, end, in_list)
        lines[-1] += " " * bool(lines[-1]) + text + ","
        if "\n" in text:
            lines.append("")
    return f"\n{' ' * indent}".join(line for line in lines if line).removesuffix(",")


def _pieces(text: str, room: int) -> list[str]:
    """Spell a text as several, each ending after a space, that Python joins."""
    pieces: list[str] = []
    for word in re.split("(?<= )", text):
        if pieces and len(quote(pieces[-1] + word)) <= room:
            pieces[-1] += word
        else:
            pieces.append(word)
    return [quote(piece) for piece in pieces]


def _flat(value: Any) -> str:
    """Spell a value in one line."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return quote(str(value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(k)}: {_flat(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(v) for v in value) + "]"
    if isinstance(value, tuple):
        tail = "," if len(value) == 1 else ""
        return "(" + ", ".join(_flat(v) for v in value) + tail + ")"
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float) and value == value:
        return float.__repr__(value).replace("inf", "1e999")  # which reads as infinity
    raise CompileError("literal()", f"cannot spell {_shown(value)}", "text, numbers, lists, dicts")


def quote(text: str) -> str:
    """Spell a string as ruff does: double quotes, unless those would need more escapes."""
    inner = repr(text)[1:-1]
    if text.count('"') > text.count("'"):  # as repr has it
        return f"'{inner}'"
    if repr(text)[0] == "'":  # repr escaped the single quotes, if any
        inner = inner.replace('"', '\\"').replace("\\'", "'")
    return f'"{inner}"'


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
