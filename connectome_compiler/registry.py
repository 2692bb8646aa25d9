"""Adapters, passes, templates, recipes and IR records by name; imported only when needed.

Built-in ones are listed in tables of strings beside the code. Other packages list theirs under
the entry point groups ``connectome_compiler.adapters``, ``.passes``, ``.templates``, ``.laws``,
``.nodes`` and ``.weights``; and under ``connectome_compiler.recipes`` the package that holds
``NAME.toml``.
"""

from __future__ import annotations

import ast
import inspect
from contextlib import suppress
from functools import cache
from importlib import import_module, resources
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from connectome_compiler import __version__
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.own_code import FILE, from_file

Kind = Literal["adapter", "pass", "template", "law", "node", "weights"]
HOME: dict[Kind, tuple[str, str]] = {
    "adapter": ("connectome_compiler.data_adapters", "connectome_compiler.adapters"),
    "pass": ("connectome_compiler.passes", "connectome_compiler.passes"),
    "template": ("connectome_compiler.templates", "connectome_compiler.templates"),
    "law": ("connectome_compiler.ir.laws", "connectome_compiler.laws"),
    "node": ("connectome_compiler.ir.nodes", "connectome_compiler.nodes"),
    "weights": ("connectome_compiler.ir.weights", "connectome_compiler.weights"),
}
RECIPES = "connectome_compiler.recipes"  # the package of built-in ones, and the entry point group


def known(kind: Kind) -> dict[str, EntryPoint]:
    """Return everything of ``kind`` that is installed, by name; nothing is imported yet."""
    module, group = HOME[kind]
    builtin: dict[str, str] = import_module(module).BUILTIN
    found = {name: EntryPoint(name, value, group) for name, value in builtin.items()}
    for point in _plugins(group):
        found.setdefault(point.name, point)  # of two, `_the_one` returns neither
    return found


@cache
def _plugins(group: str) -> tuple[EntryPoint, ...]:
    """Return what other packages list; cached, since it scans all installed packages."""
    return tuple(entry_points(group=group))


def find(kind: Kind, name: str, where: str = "", folder: Path = Path()) -> type[Any]:
    """Return the class called ``name``; raise `UnknownNameError` naming the nearest.

    ``where`` names the source of the request in errors: ``my.toml``. An adapter or pass may also be
    ``FILE.py:NAME``, the path starting at ``folder``: the file is run.
    """
    place = f"{where}: {kind}" if where else kind
    if kind != "template" and (own := FILE.fullmatch(name)):
        cls = from_file(folder / own["path"], own["name"])
        if cls.name in known(kind):
            problem = f"is called {cls.name!r}, like an installed one"
            raise CompileError(f"{place} {name!r}", problem, "give it another name")
        return cls
    if kind != "template" and name.endswith(".py"):
        hint = f"say which class or function of the file: {name}:NAME"
        raise CompileError(f"{place} {name!r}", "has no NAME", hint)
    point = entry(kind, name, place)
    try:
        found: type[Any] = point.load()
    except Exception as error:  # whatever the code of a plugin raises
        raise _broken(place, name, error) from error
    return found


def by_class(kind: Kind, name: str) -> type[Any]:
    """Return the class of that name: ``DropWeakConnections``; raise `AttributeError` otherwise.

    It lets packages offer their classes as attributes, each imported when it is first asked for.
    Two classes of that name are an error: which is meant, only `find` can tell.
    """
    points = [point for point in known(kind).values() if point.attr == name]
    if not points:
        raise AttributeError(f"no {kind} has a class called {name!r}")
    if len(points) > 1:
        owners = " and ".join(sorted(f"{p.name} of {owner(p)}" for p in points))
        hint = "import the one that you mean from its own package"
        raise CompileError(f"{kind} {name}", f"is the class of {owners}", hint)
    return find(kind, points[0].name)


def class_names(kind: Kind) -> list[str]:
    """Return what `by_class` knows; nothing is imported."""
    return sorted({point.attr for point in known(kind).values()})


def recipe_names() -> list[str]:
    """Return the names of all installed recipes, without reading them."""
    return sorted(_recipes())


def recipe_text(name: str) -> str:
    """Return the text of the recipe ``name``, one of `recipe_names`."""
    package = _the_one(_recipes(), RECIPES, name, "recipe").value
    try:
        return resources.files(package).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    except (ImportError, OSError, ValueError) as error:
        raise _broken("recipe", name, error) from error


def _recipes() -> dict[str, EntryPoint]:
    files = [Path(file.name) for file in resources.files(RECIPES).iterdir()]
    shipped = [file.stem for file in files if file.suffix == ".toml"]
    found = {name: EntryPoint(name, RECIPES, RECIPES) for name in shipped}
    for point in _plugins(RECIPES):
        found.setdefault(point.name, point)
    return found


def _broken(place: str, name: str, error: Exception) -> CompileError:
    hint = "reinstall the package that provides it"
    expected = isinstance(error, ImportError | AttributeError | OSError)
    why = error if expected else f"{type(error).__name__}: {error}"
    return CompileError(f"{place} {name!r}", f"cannot be imported: {why}", hint)


def docstring(kind: Kind, name: str) -> str:
    """Return the docstring of the class ``name``, read from its source without importing it.

    A class that is not defined in the module it is listed under is imported after all.
    """
    point = entry(kind, name, kind)
    with suppress(ImportError, AttributeError, ValueError, OSError, SyntaxError):
        spec = find_spec(point.module)
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name == point.attr:
                return ast.get_docstring(node) or ""
    return inspect.cleandoc(find(kind, name).__doc__ or "")


def entry(kind: Kind, name: str, place: str) -> EntryPoint:
    """Return what is called ``name``, not imported; errors are at ``place``."""
    return _the_one(known(kind), HOME[kind][1], name, place)


def _the_one(found: dict[str, EntryPoint], group: str, name: str, place: str) -> EntryPoint:
    """Return what is called ``name``; raise `CompileError` if nothing is, or two packages' are."""
    if name not in found:
        raise UnknownNameError.among(place, name, found)
    chosen = found[name]
    others = [p for p in _plugins(group) if p.name == name and p is not chosen]
    if others:  # it is ambiguous which of them is meant
        *all_but, last = sorted(owner(point) for point in (chosen, *others))
        owners = f"{', '.join(all_but)} and {last}"
        ours = chosen.module.split(".")[0] == __name__.split(".")[0]
        hint = f"uninstall {', '.join(map(owner, others)) if ours else 'all but one'}"
        raise CompileError(f"{place} {name!r}", f"is provided by {owners}", hint)
    return chosen


def owner(point: EntryPoint) -> str:
    """Return which distribution lists an entry point, with its version."""
    if point.dist:
        return f"{point.dist.name} {point.dist.version}"
    ours = point.module.startswith("connectome_compiler.")
    return f"connectome-compiler {__version__}" if ours else point.value


def extensions() -> set[str]:
    """Return the packages of all plugins that are installed, by their names for ``import``."""
    points = (point for _, group in HOME.values() for point in _plugins(group))
    return {point.module.partition(".")[0] for point in points}
