"""The fields of a record are checked when it is made, wherever that is.

A record is a frozen dataclass of the IR, whose annotations give the types of its fields. numpy
scalars become plain numbers and lists become tuples, so that equal records are stored and hashed
alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from operator import index
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.text import cut

T = TypeVar("T")

LIMIT = 2**63  # integers are smaller in magnitude: they are stored and hashed as 64 bits
LONGEST = 60  # characters of a value, in an error
WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
    tuple: "a list",
    NoneType: "nothing",
}


def check_fields(record: Any) -> None:
    """Convert every field of ``record`` to its annotated type, or raise `CompileError`."""
    kind = type(record)
    for name, hint in _hints(kind).items():  # type: ignore[arg-type]  # types can be hashed
        held = getattr(record, name)
        fit = fitted(f"{kind.__name__}.{name}", hint, held)
        if fit is not held:
            object.__setattr__(record, name, fit)


def made(where: str, kind: type[T], entry: Any) -> T:
    """Return the record that a file describes; raise `CompileError` if it is not valid."""
    if not isinstance(entry, dict):
        raise CompileError(where, f"is {shown(entry)}, expected a table")
    hints = _hints(kind)  # type: ignore[arg-type]
    for name in entry:
        if name not in hints:
            raise CompileError(where, f"has no field {shown(name)}")
    for field in fields(kind):  # type: ignore[arg-type]  # a record is a dataclass
        required = field.init and field.default is MISSING
        if required and field.name not in entry:
            raise CompileError(where, f"lacks {field.name!r}")
    given = {n: _spelled(f"{where}.{n}", hints[n], value) for n, value in entry.items()}
    try:
        return kind(**given)
    except ValueError as error:  # values that this kind of record refuses
        raise CompileError(where, str(error)) from error


def _spelled(where: str, hint: Any, value: Any) -> Any:
    """Return a field of a record, which may itself be a record."""
    if isinstance(value, dict):
        for kind in get_args(hint) or (hint,):  # a record, or nothing
            if isinstance(kind, type) and is_dataclass(kind):
                return made(where, kind, value)
    return fitted(where, hint, value)


def must_be_record(where: str, value: Any) -> None:
    """Refuse a record of another package that could be neither saved nor hashed."""
    kind = type(value)
    if "__dataclass_fields__" not in vars(kind) or not kind.__dataclass_params__.frozen:
        problem = f"{kind.__name__} is not a frozen dataclass"
        raise VerifyError(where, problem, "@dataclass(frozen=True, slots=True) above the class")


def fitted(where: str, hint: Any, value: Any) -> Any:
    """Return ``value`` as the type ``hint``; raise `CompileError` at ``where`` if it is not one."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in inside:
            return None
        others = [h for h in inside if h is not NoneType]
        if len(others) == 1:
            return fitted(where, others[0], value)
        if isinstance(value, tuple(others)):
            return value
        raise _unfit(where, value, " or ".join(_named(h) for h in others))
    if origin is Literal:
        word = fitted(where, type(inside[0]), value)
        if word not in inside:
            known = ", ".join(map(repr, inside[:-1])) + f" or {inside[-1]!r}"
            raise CompileError(where, f"must be {known}, not {shown(word)}")
        return word
    if origin is tuple:
        return _tuple(where, inside, value)
    plain = value.item() if isinstance(value, np.generic) else value
    if hint is int and not isinstance(plain, bool):
        try:
            plain = index(plain)
        except TypeError:
            raise _unfit(where, value, WORDS[int]) from None
    right = isinstance(plain, int | float if hint is float else hint)
    if not right or (isinstance(plain, bool) and hint in (int, float)):
        if isinstance(hint, type) and issubclass(hint, Enum) and isinstance(plain, str):
            return _member(where, hint, plain)
        raise _unfit(where, value, _named(hint))
    if isinstance(plain, int) and abs(plain) >= LIMIT:
        raise CompileError(where, "is a number beyond 64 bits")
    if isinstance(plain, str) and not plain.isascii():
        try:
            plain.encode()
        except UnicodeEncodeError as error:
            raise CompileError(where, f"is not valid text: {shown(plain)}") from error
    return plain


def shown(value: Any) -> str:
    """Return a value from a file as an error shows it: a few words, whatever it is."""
    if isinstance(value, str | int | float | None):
        return cut(repr(value), LONGEST)
    return WORDS.get(type(value), f"a {type(value).__name__}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind) if f.init}


def _tuple(where: str, inside: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise _unfit(where, value, WORDS[tuple])
    hints = inside
    if inside[-1] is Ellipsis:
        if inside[0] is int and all(type(v) is int for v in value):  # there may be millions
            if value and not -LIMIT < min(value) <= max(value) < LIMIT:
                raise CompileError(where, "holds a number beyond 64 bits")
            return value if isinstance(value, tuple) else tuple(value)
        hints = inside[:1] * len(value)
    if len(hints) != len(value):
        raise CompileError(where, f"has {len(value)} entries, expected {len(hints)}")
    fit = tuple(
        fitted(f"{where}[{k}]", hint, v)
        for k, (hint, v) in enumerate(zip(hints, value, strict=True))
    )
    same = isinstance(value, tuple) and all(a is b for a, b in zip(fit, value, strict=True))
    return value if same else fit  # type: ignore[return-value]


def _member(where: str, kind: type[Enum], word: str) -> Enum:
    try:
        return kind(word)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise CompileError(where, f"must be one of {known}, not {shown(word)}") from None


def _named(hint: Any) -> str:
    return WORDS.get(hint, f"a {hint.__name__}" if isinstance(hint, type) else str(hint))


def _unfit(where: str, value: Any, expected: str) -> CompileError:
    return CompileError(where, f"is {shown(value)}, expected {expected}")
