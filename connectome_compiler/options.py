"""Options of adapters, passes and templates: their fields, checked by name and by type.

Every stage of a recipe is a frozen dataclass. Its fields are its options, its annotations the
schema; pydantic does the checking, and its findings are spelled as our errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_origin, get_type_hints

from connectome_compiler.errors import CompileError, UnknownNameError


@dataclass(frozen=True, slots=True)
class Raw:
    """An option's value as typed on a command line: text, whatever the field's type is."""

    text: str


def configure(where: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return ``cls`` made from ``values``; raise `CompileError` naming the option that is wrong."""
    from pydantic import TypeAdapter, ValidationError

    hints = option_types(cls)
    for key in values:
        if key not in hints:
            raise UnknownNameError.among(f"{where}: option", key, hints)
    ready = {key: _ready(value, hints[key]) for key, value in values.items()}
    for key, value in ready.items():
        if isinstance(value, bool) and hints[key] in (int, float):
            raise CompileError(f"{where}.{key}", f"is {value}, expected a number")
    try:
        return TypeAdapter(cls).validate_python(ready)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        given = values.get(str(first["loc"][0]) if first["loc"] else "")
        shown = given.text if isinstance(given, Raw) else repr(given)
        raise CompileError(f"{where}.{key}", f"is {shown}: {first['msg']}") from error


def option_types(cls: type[Any]) -> dict[str, Any]:
    """Return the options of a stage with their types, in order."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls) if f.init}


def option_defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the options of a stage with their default values, for `ccompile list`."""
    return {
        f.name: None if f.default is MISSING and f.default_factory is MISSING else _default(f)
        for f in fields(cls)
        if f.init
    }


def _default(field: Any) -> Any:
    return field.default if field.default is not MISSING else field.default_factory()


def _ready(value: Any, hint: Any) -> Any:
    """Turn text from a command line into what ``hint`` asks for, as far as TOML can say it."""
    if isinstance(value, Raw):
        if get_origin(hint) in (tuple, list):
            try:
                value = tomllib.loads(f"value = {value.text}")["value"]
            except tomllib.TOMLDecodeError:
                value = [part.strip() for part in value.text.split(",") if part.strip()]
            if not isinstance(value, list):
                value = [value]
        else:
            return value.text
    return tuple(value) if isinstance(value, list) and get_origin(hint) is tuple else value
