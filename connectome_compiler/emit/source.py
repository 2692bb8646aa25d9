"""Copy the layers that a model uses out of ``connectome_compiler.nn`` into its own source.

Whatever the wanted classes need of their files comes along: helpers, constants, imports. So a layer
lives once, tested, and every module is complete. What is wanted comes first and helpers last, as
far as Python lets them: names are looked up when a function is called, but bases, annotations,
decorators, defaults and constants are needed at once. Two files may use one name, but not in one
module.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from connectome_compiler.emit.literal import Source
from connectome_compiler.errors import UnknownNameError

OP_LIBRARY = "OP_LIBRARY"  # the constant that names the operators' library


@dataclass(frozen=True, slots=True)
class Definition:
    """A class, function or constant at the top level of a file in ``nn``."""

    name: str
    text: str
    uses: frozenset[str]  # every name that occurs in it
    names: frozenset[str]  # those that must exist before it: its bases, and in annotations
    runs: frozenset[str]  # and those that are called or read as it is defined
    comes_from: str  # file name
    line: int
    is_block: bool  # a class or function, which two blank lines set apart


@dataclass(frozen=True, slots=True)
class Copied:
    """The source to paste: imports (by statement) and definitions."""

    imports: tuple[Source, ...]
    text: Source


def copy_definitions(wanted: Iterable[str], also_uses: Iterable[str] = ()) -> Copied:
    """Return the source of ``wanted`` and of all that it needs, as one text.

    ``also_uses`` are import statements that the rest of the module needs. Operators are registered
    under a name that carries the hash of the copied source, so that two models, made by two
    versions of the compiler, can live in one process.
    """
    library = _library()
    chosen: dict[str, Definition] = {}
    wanted = set(wanted)
    waiting = [library.find(name) for name in wanted]
    while waiting:
        next_one = waiting.pop()
        if (known := chosen.setdefault(next_one.name, next_one)) is not next_one:
            files = f"{known.comes_from} and {next_one.comes_from}"
            raise ValueError(f"{next_one.name!r} is needed of {files}: rename one of them")
        uses = (library.used(next_one.comes_from, use) for use in next_one.uses)
        waiting += [use for use in uses if use and chosen.get(use.name) is not use]
    ordered = library.in_reading_order(chosen.values(), wanted)
    text = ""
    for before, definition in zip([None, *ordered], ordered, strict=False):
        text += "" if before is None else _gap(before, definition)
        text += definition.text
    if OP_LIBRARY in chosen:
        version = hashlib.sha256(text.encode()).hexdigest()[:12]
        line = chosen[OP_LIBRARY].text
        named = line.replace('"connectome_compiler"', f'"connectome_compiler_{version}"')
        text = text.replace(line, named)
    statements = [
        statement
        for definition in ordered
        for use in definition.uses
        if (statement := library.imports.get((definition.comes_from, use)))
    ]
    imports = merge_imports([*statements, *also_uses])
    return Copied(tuple(map(Source, imports)), Source(text))


def merge_imports(statements: Iterable[str]) -> tuple[str, ...]:
    """Sort import statements as ruff does: standard library first, ``import`` before ``from``."""
    plain: set[str] = set()
    members: dict[str, set[str]] = {}
    for statement in statements:
        node = ast.parse(statement).body[0]
        if isinstance(node, ast.Import):
            plain.update(ast.unparse(ast.Import([alias])) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = {ast.unparse(alias) for alias in node.names}
            members.setdefault(node.module or "", set()).update(names)
    # `import` before `from`, each by module; the standard library apart.
    lines = [(0, s.split()[1], s) for s in plain]
    lines += [
        (1, m, f"from {m} import {', '.join(sorted(n, key=_case))}") for m, n in members.items()
    ]
    standard: list[str] = []
    other: list[str] = []
    for _, module, line in sorted(lines):
        known = module.split(".")[0] in sys.stdlib_module_names
        (standard if known else other).append(line)
    between = [""] if standard and other else []
    return (*standard, *between, *other)


def _case(name: str) -> tuple[int, str]:
    """Sort key of ruff's isort: CONSTANTS, Classes, functions."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def _gap(before: Definition, after: Definition) -> str:
    if before.is_block or after.is_block:
        return "\n\n\n"
    return "\n\n" if after.text.startswith("#") else "\n"


@dataclass(frozen=True, slots=True)
class Library:
    """What the files of ``nn`` define and import, by (file, name)."""

    definitions: dict[tuple[str, str], Definition]
    imports: dict[tuple[str, str], str]  # statements, of other packages
    siblings: dict[tuple[str, str], str]  # files of ``nn`` that names are imported of
    files: tuple[str, ...]  # each after those that it imports

    def find(self, name: str) -> Definition:
        """Return the definition called ``name``, wherever it is."""
        known = [d for d in self.definitions.values() if d.name == name]
        if not known:
            raise UnknownNameError.among("layer", name, {n for _, n in self.definitions})
        if len(known) > 1:
            raise ValueError(f"nn defines {name!r} twice")
        return known[0]

    def used(self, file: str, name: str) -> Definition | None:
        """Return what ``name`` means in ``file``, if it is of ``nn``."""
        return self.definitions.get((self.siblings.get((file, name), file), name))

    def in_reading_order(self, chosen: Iterable[Definition], wanted: set[str]) -> list[Definition]:
        """Return what is wanted, then what else is public, then helpers.

        What a definition needs at once stands before it all the same.
        """
        in_files = sorted(chosen, key=lambda d: (self.files.index(d.comes_from), d.line))
        place = {d.name: k for k, d in enumerate(in_files)}
        ordered: dict[str, Definition] = {}

        def put(definition: Definition) -> None:
            # What it needs stands above it in its file, too: all else is for when it is called.
            needed = sorted(place[name] for name in self._needs(definition) & place.keys())
            for k in needed:
                if k < place[definition.name]:
                    put(in_files[k])
            ordered.setdefault(definition.name, definition)

        for definition in sorted(in_files, key=lambda d: (d.name not in wanted, _is_helper(d))):
            put(definition)
        return list(ordered.values())

    def _needs(self, definition: Definition) -> set[str]:
        """Return what must be there before a definition; what runs may use all that it names."""
        found: set[str] = set()
        waiting = [(definition.comes_from, name) for name in definition.runs]
        while waiting:
            used = self.used(*waiting.pop())
            if used and used.name not in found:
                found.add(used.name)
                waiting += [(used.comes_from, name) for name in used.uses]
        return found | definition.names


def _is_helper(definition: Definition) -> bool:
    """Whether a definition is private, or made by something private."""
    return any(name.startswith("_") for name in (definition.name, *definition.runs))


@cache
def _library() -> Library:
    """Read all files of ``nn``."""
    definitions: dict[tuple[str, str], Definition] = {}
    imports: dict[tuple[str, str], str] = {}
    siblings: dict[tuple[str, str], str] = {}
    needs: dict[str, set[str]] = {}
    folder = resources.files("connectome_compiler.nn")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".py") or file.name == "__init__.py":
            continue
        needs[file.name] = set()
        source = file.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                if (sibling := _sibling(node)) and isinstance(node, ast.ImportFrom):
                    siblings.update({(file.name, alias.name): sibling for alias in node.names})
                    needs[file.name].add(sibling)
                else:
                    _note_imports(node, file.name, imports)
                continue
            for name in _names(node):
                block = isinstance(node, ast.ClassDef | ast.FunctionDef)
                definitions[file.name, name] = Definition(
                    name,
                    _text(node, lines),
                    _uses([node]),
                    _uses(_named(node)),
                    _uses(_run(node)),
                    file.name,
                    node.lineno,
                    block,
                )
    return Library(definitions, imports, siblings, _in_order(needs))


def _in_order(needs: dict[str, set[str]]) -> tuple[str, ...]:
    """Return the files by name, but each after those that it needs."""
    ordered: list[str] = []
    while waiting := sorted(needs.keys() - ordered):
        ready = [file for file in waiting if needs[file] <= set(ordered)]
        ordered.append(ready[0])
    return tuple(ordered)


def _sibling(node: ast.Import | ast.ImportFrom) -> str:
    """Return the file of ``nn`` that an import is of, or ""."""
    module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    package = "connectome_compiler.nn."
    return f"{module.removeprefix(package)}.py" if module.startswith(package) else ""


def _note_imports(
    node: ast.Import | ast.ImportFrom, file: str, imports: dict[tuple[str, str], str]
) -> None:
    for alias in node.names:
        name = alias.asname or alias.name.split(".")[0]
        if isinstance(node, ast.Import):
            imports[file, name] = f"import {ast.unparse(alias)}"
        elif node.level == 0:
            imports[file, name] = f"from {node.module} import {ast.unparse(alias)}"


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _uses(nodes: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset(n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))


def _named(node: ast.stmt) -> list[ast.expr]:
    """Return bases and annotations: Python evaluates them, which calls nothing.

    Annotations as strings would spare it that; but dataclasses with such look for their module in
    ``sys.modules``, where not everyone who runs one puts it.
    """
    if isinstance(node, ast.FunctionDef):
        a = node.args
        every = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
        found = [arg.annotation for arg in every if arg]
        return [e for e in (*found, node.returns) if e]
    if isinstance(node, ast.ClassDef):
        bases = [*node.bases, *(keyword.value for keyword in node.keywords)]
        return [*bases, *(e for inner in node.body for e in _named(inner))]
    return [node.annotation] if isinstance(node, ast.AnnAssign) else []


def _run(node: ast.stmt) -> list[ast.expr]:
    """Return the expressions that Python evaluates as it defines ``node``, but for `_named`."""
    if isinstance(node, ast.FunctionDef):
        defaults = [*node.args.defaults, *node.args.kw_defaults]
        return [*node.decorator_list, *(d for d in defaults if d)]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *(e for inner in node.body for e in _run(inner))]
    value = getattr(node, "value", None)
    return [value] if isinstance(value, ast.expr) else []


def _text(node: ast.stmt, lines: list[str]) -> str:
    """Return the lines of a definition with its decorators and the comment right above it."""
    first = node.lineno - 1
    if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.decorator_list:
        first = node.decorator_list[0].lineno - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])
