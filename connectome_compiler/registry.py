"""Adapters, passes, templates and records of the IR by name; each is imported only when asked for.

Built-in ones are tables of strings, beside the things they name. Other packages list theirs under
the entry point groups ``connectome_compiler.adapters``, ``.passes``, ``.templates``, ``.laws``,
``.nodes`` and ``.weights``.
"""

from __future__ import annotations

import ast
import inspect
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from connectome_compiler.errors import CompileError, UnknownNameError

Kind = Literal["adapter", "pass", "template", "law", "node", "weights"]
HOME: dict[Kind, tuple[str, str]] = {
    "adapter": ("connectome_compiler.data_adapters", "connectome_compiler.adapters"),
    "pass": ("connectome_compiler.passes", "connectome_compiler.passes"),
    "template": ("connectome_compiler.templates", "connectome_compiler.templates"),
    "law": ("connectome_compiler.ir.laws", "connectome_compiler.laws"),
    "node": ("connectome_compiler.ir.nodes", "connectome_compiler.nodes"),
    "weights": ("connectome_compiler.ir.weights", "connectome_compiler.weights"),
}


def known(kind: Kind) -> dict[str, EntryPoint]:
    """Return everything of ``kind`` that is installed, by name; nothing is imported yet."""
    module, group = HOME[kind]
    builtin: dict[str, str] = import_module(module).BUILTIN
    found = {name: EntryPoint(name, value, group) for name, value in builtin.items()}
    for point in _plugins(group):
        found.setdefault(point.name, point)  # a plugin cannot replace what we ship
    return found


@cache
def _plugins(group: str) -> tuple[EntryPoint, ...]:
    """Return what other packages list; read once per process: it takes a look at all of them."""
    return tuple(entry_points(group=group))


def find(kind: Kind, name: str, where: str = "") -> type[Any]:
    """Return the class called ``name``; raise `UnknownNameError` naming the nearest.

    ``where`` says in the error who asked: ``my.toml``.
    """
    place = f"{where}: {kind}" if where else kind
    point = _the_one(kind, name, place)
    try:
        cls: type[Any] = point.load()
    except (ImportError, AttributeError) as error:
        problem = f"cannot be imported: {error}"
        raise CompileError(f"{place} {name!r}", problem, "reinstall what provides it") from error
    return cls


def docstring(kind: Kind, name: str) -> str:
    """Return what the class called ``name`` says of itself, read from its source: not imported.

    A class that does not stand in the file that it is listed under is imported after all.
    """
    point = _the_one(kind, name, kind)
    with suppress(ImportError, AttributeError, ValueError, OSError, SyntaxError):
        spec = find_spec(point.module)
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name == point.attr:
                return ast.get_docstring(node) or ""
    return inspect.cleandoc(find(kind, name).__doc__ or "")


def _the_one(kind: Kind, name: str, place: str) -> EntryPoint:
    """Return what is called ``name``; raise `CompileError` if nothing is, or two packages' are."""
    found = known(kind)
    if name not in found:
        raise UnknownNameError.among(place, name, found)
    rivals = [point for point in _plugins(HOME[kind][1]) if point.name == name]
    if found[name] in rivals[:1] and len(rivals) > 1:  # which of them is meant, nobody can tell
        owners = " and ".join(sorted(_owner(point) for point in rivals))
        raise CompileError(f"{place} {name!r}", f"is provided by {owners}", "uninstall all but one")
    return found[name]


def _owner(point: EntryPoint) -> str:
    """Return which package lists an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
