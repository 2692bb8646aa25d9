"""Names for emitted source: identifiers from populations, class names from recipes."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterable

from connectome_compiler.errors import CompileError


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return one Python identifier per name: ``L2/3.exc`` becomes ``l2_3_exc``; none twice."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_") or "unnamed"
        if plain[0].isdigit() or keyword.iskeyword(plain) or keyword.issoftkeyword(plain):
            plain = f"p_{plain}"
        unique, k = plain, 1
        while unique in found.values():
            k += 1
            unique = f"{plain}_{k}"
        found[name] = unique
    return found


SURROGATE = "-surrogate"  # ends the name of every data set modelled after a measured one


def network_name(chosen: str, recipe: str, dataset: str) -> str:
    """Return the class to emit: ``chosen``, else the recipe's; a surrogate always says so."""
    name = chosen or class_name(recipe)
    modelled = dataset.endswith(SURROGATE) and "surrogate" not in name.lower()
    return f"{name}Surrogate" if modelled else name


RESERVED = {"PROVENANCE", "ARRAYS", "ARRAYS_SHA256", "build", "read_arrays"}  # of every module


def check_class_name(name: str, source: str) -> None:
    """Raise `CompileError` unless a class may be called ``name`` beside ``source``."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
        raise CompileError(f"class name {name!r}", "is no Python name", "set class_name")
    taken = {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            taken.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            taken.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    if name in taken | set(dir(builtins)) | RESERVED:
        raise CompileError(f"class name {name!r}", "is taken in the module", "set class_name")


def class_name(recipe: str) -> str:
    """Return the class of a recipe: ``microns-v1-surrogate`` becomes ``MicronsV1Surrogate``."""
    words = re.findall(r"[A-Za-z0-9]+", recipe)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and not name[0].isdigit() else f"Network{name}"
