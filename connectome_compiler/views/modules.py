"""Emitted modules, read as text and never run: what they state, and the arrays they hold."""

from __future__ import annotations

import ast
import base64
import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.statement import ALTERED, OTHER_HASH, REBUILD, Statement


def read_statement(path: Path) -> Statement:
    """Return what an emitted module states, read as text without executing it."""
    tree = parsed(path)
    header = ast.get_docstring(tree, clean=False)
    return Statement.read(_provenance(path, tree), header, str(path))


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module; raise `CompileError` if it cannot be read."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CompileError(
            str(path), "no such file", "ccompile build RECIPE --out model.py"
        ) from None
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise CompileError(str(path), f"is not a Python module: {error}") from error


def _provenance(path: Path, tree: ast.Module) -> dict[str, Any]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if "PROVENANCE" in names and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError) as error:
                raise CompileError(f"{path}: PROVENANCE", ALTERED, REBUILD) from error
            if not isinstance(value, dict):
                raise CompileError(f"{path}: PROVENANCE", ALTERED, REBUILD)
            return value
    raise CompileError(str(path), "has no PROVENANCE: it was not made by ccompile")


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an emitted module: rows and sources of its connections, signs and so on.

    Raises `CompileError` if they are missing, or not those that it was written with.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    values = _constants(parsed(path), "ARRAYS", "ARRAYS_SHA256")
    if "ARRAYS_SHA256" not in values:
        return {}
    sha256 = values["ARRAYS_SHA256"]
    beside = path.resolve().with_suffix(f".connectome-{sha256[:12]}.safetensors")
    try:
        if "ARRAYS" in values:
            data = zlib.decompress(base64.b64decode(values["ARRAYS"]))
        else:
            data = beside.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CompileError(f"{path}: ARRAYS", OTHER_HASH, REBUILD)
        return dict(load(data))
    except FileNotFoundError:
        hint = "copy it from where the module was built, or build it again"
        raise CompileError(str(beside), "no such file: it holds the connections", hint) from None
    except (OSError, ValueError, zlib.error, SafetensorError) as error:
        raise CompileError(f"{path}: ARRAYS", ALTERED, REBUILD) from error


def layer_of(path: Path, key: str) -> str:
    """Return the attribute of the network that holds a projection, "" if it is not clear.

    It is the one that is made of the projection's arrays.
    """
    found = {
        target.attr
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assign)
        and isinstance(target := node.targets[0], ast.Attribute)
        and any(isinstance(c, ast.Constant) and c.value == f"{key}.ptr" for c in ast.walk(node))
    }
    return found.pop() if len(found) == 1 else ""


def _constants(tree: ast.Module, *names: str) -> dict[str, str]:
    """Return the texts that a module binds to these names."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            if name in names and isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[name] = value.value
    return found
