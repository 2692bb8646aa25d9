"""Options of adapters, passes and templates: their fields, checked by name and by type.

Every stage of a recipe is a frozen dataclass. Its fields are its options, its annotations the
schema; pydantic does the checking, and its findings are spelled as our errors.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from connectome_compiler.errors import CompileError, UnknownNameError

LONGEST = 1 << 16  # characters of an option
MOST_ITEMS = 10_000  # of an option that is a list


@dataclass(frozen=True, slots=True)
class Raw:
    """An option's value as typed on a command line: text, whatever the field's type is."""

    text: str


def configure(where: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return ``cls`` made from ``values``; raise `CompileError` naming the option that is wrong.

    Text from a command line is read as what the field holds. A value from a recipe must be of the
    field's type: ``"7"`` and ``true`` are no numbers.
    """
    from pydantic import TypeAdapter, ValidationError

    hints = option_types(cls)
    must_exist(where, cls, values)
    ready = {}
    for key, value in values.items():
        raw = isinstance(value, Raw)
        given = _read(value.text, hints[key]) if isinstance(value, Raw) else value
        if hasattr(given, "item"):  # a number of numpy
            given = given.item()
        _must_be_bounded(f"{where}.{key}", given)
        holder = TypeAdapter(hints[key])
        try:
            if get_origin(hints[key]) is tuple and isinstance(given, list | tuple):
                # As JSON: lists in lists become tuples as well, and tables what they stand for.
                text = json.dumps(given, default=str)
                ready[key] = holder.validate_json(text, strict=not raw)
            else:
                ready[key] = holder.validate_python(given, strict=not raw)
        except ValidationError as error:
            first = error.errors()[0]
            inside = first["loc"]
            place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in inside)
            shown = repr(value.text) if isinstance(value, Raw) else repr(value)
            expected = first["msg"].replace("Input should be", "expected")
            raise CompileError(f"{where}.{key}{place}", f"is {shown}: {expected}") from error
    missing = [f.name for f in fields(cls) if f.init and _is_required(f) and f.name not in ready]
    if missing:
        raise CompileError(f"{where}.{missing[0]}", "is not set, and has no default")
    return cls(**ready)


def _must_be_bounded(where: str, value: Any) -> None:
    """Raise `CompileError` at a number that no int64 holds, or at a text too long to be meant."""
    if isinstance(value, str) and len(value) > LONGEST:
        problem = f"has {len(value):,} characters, at most {LONGEST:,} are read"
        raise CompileError(where, problem)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        digits = int(abs(value).bit_length() * 0.30103) + 1
        raise CompileError(where, f"is a number of about {digits:,} digits, too large for int64")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        if len(value) > MOST_ITEMS:
            problem = f"has {len(value):,} items, at most {MOST_ITEMS:,} are read"
            raise CompileError(where, problem)
        for item in value:
            _must_be_bounded(where, item)


def must_exist(where: str, cls: type[Any], names: Mapping[str, Any]) -> None:
    """Raise `UnknownNameError` for the first of ``names`` that is no option of ``cls``."""
    known = option_types(cls)
    for name in names:
        if name not in known:
            raise UnknownNameError.among(f"{where}: option", name, known)


def option_types(cls: type[Any]) -> dict[str, Any]:
    """Return the options of a stage with their types, in order."""
    if not is_dataclass(cls):
        raise CompileError(getattr(cls, "__name__", repr(cls)), "is no dataclass: it has no fields")
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls) if f.init}


def option_defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the options of a stage with their default values, for `ccompile list`."""
    return {f.name: None if _is_required(f) else _default(f) for f in fields(cls) if f.init}


def _is_required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Any) -> Any:
    return field.default if field.default is not MISSING else field.default_factory()


def _read(text: str, hint: Any) -> Any:
    """Read a list from a command line, ``L4, L5`` or as TOML spells it; all else stays text."""
    if get_origin(hint) not in (tuple, list):
        return text
    if text[:1] in ("[", '"', "'"):
        try:
            value = tomllib.loads(f"value = {text}")["value"]
            return value if isinstance(value, list) else [value]
        except (ValueError, RecursionError):
            text = text.removeprefix("[").removesuffix("]")  # a shell took the quotes away
    return [part.strip() for part in text.split(",") if part.strip()]


def spell_options(stage: Any) -> str:
    """Return the options of a stage as a recipe would spell them, defaults included."""
    return ", ".join(f"{f.name}={spell(getattr(stage, f.name))}" for f in fields(stage))


def spell(value: Any) -> str:
    """Return an option's value as a recipe would spell it."""
    if isinstance(value, bool):
        return str(value).lower()
    if is_dataclass(value):  # as an inline table, without what is left at its default
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
    """Return ``true``, ``none``, ``7`` and ``0.5`` as what they are; all else stays text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
