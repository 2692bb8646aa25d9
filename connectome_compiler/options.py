"""Options of adapters, passes and templates: their fields, checked by name and by type.

Every stage of a recipe is a frozen dataclass. Its fields are its options, its annotations the
schema; pydantic does the checking, and its findings are spelled as our errors.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
import textwrap
import tokenize
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from connectome_compiler.errors import CompileError, Faults, UnknownNameError, nearest
from connectome_compiler.sources import data, shown, source, takes

LONGEST = 1 << 16  # maximal number of characters of an option
MOST_ITEMS = 10_000  # of an option that is a list

# What is said of a value, by what pydantic found.
_IN_WORDS = {
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected an integer"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
    "string_type": "expected text",
}


@dataclass(frozen=True, slots=True)
class Raw:
    """An option's value as typed on a command line: text, whatever the field's type is."""

    text: str


def configure(where: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return ``cls`` made from ``values``; raise `CompileError` naming all options that are wrong.

    Text from a command line is read as what the field holds. A value from a recipe must be of the
    field's type: ``"7"`` and ``true`` are not numbers; a path may stand for its text. Fields that
    take data, in files or in memory, are of the types in `sources`.
    """
    hints = option_types(cls)
    faults = Faults()
    ready = {}
    for key, value in values.items():
        with faults.noted():
            must_exist(where, cls, key)
            ready[key] = _checked(f"{where}.{key}", hints[key], value, _example(cls, key))
    for key in required(cls):
        with faults.noted():
            if key not in values:
                file = takes(hints[key]) is not None
                hint = f"give it: {key}={'FILE, or data in memory' if file else '...'}"
                raise CompileError(f"{where}.{key}", "is not set, and has no default", hint)
    faults.raise_any()
    return cls(**ready)


def _checked(where: str, hint: Any, value: Any, example: str) -> Any:
    """Return an option's value, converted to the type of its field."""
    from pydantic import TypeAdapter, ValidationError

    raw = isinstance(value, Raw)
    if (taken := takes(hint)) is not None:
        text = value.text if isinstance(value, Raw) else value
        _must_be_bounded(where, text if isinstance(text, str) else None)
        many = isinstance(value, Raw) and taken.what == "several" and text[:1] == "["
        return source(where, _read(text, list) if many else text, taken)
    if (found := data(value)) is not None:
        raise CompileError(where, f"is a {found.what}: it takes no data", example)
    given = _read(value.text, hint) if isinstance(value, Raw) else _plain(value)
    _must_be_bounded(where, given)
    holder = TypeAdapter(hint)
    try:
        if get_origin(hint) is tuple and isinstance(given, list | tuple):
            # As JSON: nested lists become tuples as well, and tables become records.
            return holder.validate_json(json.dumps(given, default=str), strict=not raw)
        return holder.validate_python(given, strict=not raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        spelled = repr(value.text) if isinstance(value, Raw) else shown(value)
        spelled = spell(value) if isinstance(value, bool) else spelled
        expected = _IN_WORDS.get(first["type"]) or first["msg"].replace(
            "Input should be", "expected"
        )
        close = nearest(str(first["input"]), _words(hint))
        way = f"did you mean {close!r}?" if close else example
        raise CompileError(f"{where}{place}", f"is {spelled}: {expected}", way) from error


def _plain(value: Any) -> Any:
    """Return a numpy scalar or a path as a plain value."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if getattr(value, "shape", None) == () else value


def _words(hint: Any) -> list[str]:
    """Return the words that a type allows: ``keep`` and ``drop``."""
    if get_origin(hint) is Literal:
        return [word for word in get_args(hint) if isinstance(word, str)]
    return [word for part in get_args(hint) for word in _words(part)]


def _example(cls: type[Any], key: str) -> str:
    """Return how a list is spelled, by the option's default."""
    default = option_defaults(cls)[key]
    return f"for example {key}={spell(default)}" if isinstance(default, tuple) and default else ""


def _must_be_bounded(where: str, value: Any) -> None:
    """Raise `CompileError` for an integer beyond int64, or for text that is too long."""
    if isinstance(value, str) and len(value) > LONGEST:
        problem = f"has {len(value):,} characters; the limit is {LONGEST:,}"
        raise CompileError(where, problem)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        digits = int(abs(value).bit_length() * 0.30103) + 1
        raise CompileError(where, f"has about {digits:,} digits, too many for int64")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        if len(value) > MOST_ITEMS:
            problem = f"has {len(value):,} items; the limit is {MOST_ITEMS:,}"
            raise CompileError(where, problem)
        for item in value:
            _must_be_bounded(where, item)


def must_exist(where: str, cls: type[Any], name: str) -> None:
    """Raise `UnknownNameError` if ``name`` is not an option of ``cls``."""
    if name not in (known := option_types(cls)):
        raise UnknownNameError.among(f"{where}: option", name, known)


def pass_class(where: str, given: Any) -> type[Any]:
    """Return the class of a pass, or of a class itself; raise `CompileError` for anything else."""
    cls: type[Any] = given if isinstance(given, type) else type(given)
    if not (is_dataclass(cls) and hasattr(cls, "name") and callable(given)):
        hint = "a pass is a frozen dataclass with a name that is called with a graph"
        raise CompileError(where, f"{given!r} is not a pass", hint)
    return cls


def option_types(cls: type[Any]) -> dict[str, Any]:
    """Return the options of a stage with their types, in order."""
    if not is_dataclass(cls):
        raise CompileError(
            getattr(cls, "__name__", repr(cls)), "is not a dataclass: it has no fields"
        )
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name] for f in fields(cls) if f.init}


def option_defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the options of a stage with their default values, for `ccompile list`."""
    return {f.name: None if _is_required(f) else _default(f) for f in fields(cls) if f.init}


def required(cls: type[Any]) -> list[str]:
    """Return the options of a stage that have no default."""
    return [f.name for f in fields(cls) if f.init and _is_required(f)]


def option_docs(cls: type[Any]) -> dict[str, str]:
    """Return the description of each option: the comment ``#:`` behind its field, or above.

    Options without such a comment, or of a class without source code, are omitted.
    """
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError):
            docs |= _comments(textwrap.dedent(inspect.getsource(part)))
    return {name: docs[name] for name in option_types(cls) if name in docs}


def _comments(source: str) -> dict[str, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    docs = {line: t.string[2:].strip() for line, t in comments.items() if t.string[:2] == "#:"}
    alone = {n for n in docs if not comments[n].line[: comments[n].start[1]].strip()}
    found = {}
    (outer,) = ast.parse(source).body
    for node in ast.iter_child_nodes(outer):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        lines = [node.end_lineno or node.lineno]
        if lines[0] not in docs:
            above = node.lineno - 1
            lines = []
            while above in alone:
                lines.insert(0, above)
                above -= 1
        if lines:
            found[node.target.id] = " ".join(docs[n] for n in lines)
    return found


def _is_required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Any) -> Any:
    return field.default if field.default is not MISSING else field.default_factory()


def _read(text: str, hint: Any) -> Any:
    """Read a list from a command line, ``L4, L5`` or in TOML syntax; anything else stays text."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if hint not in (tuple, list) and get_origin(hint) not in (tuple, list):
        return text
    if text[:1] in ("[", '"', "'"):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
            return value if isinstance(value, list) else [value]
        except (ValueError, RecursionError):
            text = text.removeprefix("[").removesuffix("]")  # the shell removed the quotes
    return [part.strip() for part in text.split(",") if part.strip()]


def placeholder(hint: Any) -> str:
    """Return what stands for the value of an option in a hint: FILE, or VALUE."""
    return "VALUE" if takes(hint) is None else "FILE"


def spell_options(stage: Any) -> str:
    """Return the options of a stage as a recipe would spell them, defaults included."""
    return ", ".join(f"{f.name}={spell(getattr(stage, f.name))}" for f in fields(stage))


def spell(value: Any) -> str:
    """Return an option's value as a recipe would spell it."""
    if isinstance(value, bool):
        return str(value).lower()
    if is_dataclass(value):  # as an inline table, without fields at their defaults
        given = {f.name: getattr(value, f.name) for f in fields(value)}
        named = [
            f"{f.name} = {spell(given[f.name])}"
            for f in fields(value)
            if _is_required(f) or given[f.name] != _default(f)
        ]
        return "{" + ", ".join(named) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(spell(v) for v in value) + "]"
    if isinstance(value, str):
        if '"' in value and "'" not in value and value.isprintable():
            return f"'{value}'"  # an expression with quoted words stays readable
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "none" if value is None else str(value)


def guess(text: str) -> Any:
    """Return ``true``, ``none``, ``7`` and ``0.5`` as values; anything else stays text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
