"""Your own adapters and passes, directly from a file: ``use = "mine.py:Halve"``.

Naming a file runs it. A class is used as it is; a function becomes a pass that calls it with a
graph, and its other parameters are the options.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import field, is_dataclass, make_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.reading import read_bytes

MOST_BYTES = 1 << 20
FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[^/:]+)", re.DOTALL)
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def from_file(path: Path, name: str) -> type[Any]:
    """Run the file ``path`` and return its class or function ``name`` as a class with options.

    Raises `CompileError` for what cannot be run, or is not an adapter or pass.
    """
    where = f"{path}:{name}"
    # Dataclasses look up their module. A changed file is run again, in a module of its own.
    module = ModuleType(f"_own_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    source = read_bytes(path, MOST_BYTES)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = f"line {lines[-1]}: " if lines else ""
        problem = f"cannot be run: {line}{type(error).__name__}: {error}"
        raise CompileError(str(path), problem) from error
    own = {
        key: thing
        for key, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__ and callable(thing)
    }
    if name not in own:
        raise UnknownNameError.among(f"{path}: class or function", name, own)
    found = own[name]
    cls: Any = _as_class(where, found) if inspect.isfunction(found) else found
    if not (inspect.isclass(cls) and is_dataclass(cls)):
        raise CompileError(where, "is not a dataclass", "its fields are its options")
    if not NAME.fullmatch(str(getattr(cls, "name", ""))):
        hint = 'for example name: ClassVar[str] = "drop-weak-connections"'
        raise CompileError(where, "needs a name in lower-case letters and hyphens", hint)
    digest = hashlib.sha256(source).hexdigest()
    own_class: Any = cls
    own_class.own_code = f"by code of {path.name}, sha256 {digest[:16]}..."  # a note of its step
    return cls


def _as_class(where: str, function: Callable[..., Any]) -> type[Any]:
    """Return a pass that calls ``function`` with a graph; its other parameters are fields."""
    hints = get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        problem = "must take a graph, and options by name"
        raise CompileError(
            where, problem, "for example def halve(graph: Graph, share: float = 0.5)"
        )
    options = parameters[1:]
    if untyped := [p.name for p in options if p.name not in hints]:
        problem = f"parameter {untyped[0]!r} has no type annotation"
        raise CompileError(where, problem, "for example share: float = 0.5")

    def call(self: Any, graph: Any) -> Any:
        return function(graph, **{p.name: getattr(self, p.name) for p in options})

    made: type[Any] = make_dataclass(
        function.__name__,
        [
            (p.name, hints[p.name])
            if p.default is p.empty
            else (p.name, hints[p.name], field(default=p.default))
            for p in options
        ],
        namespace={"name": function.__name__.strip("_").replace("_", "-"), "__call__": call},
        frozen=True,
        kw_only=True,
    )
    made.__doc__ = function.__doc__
    return made
