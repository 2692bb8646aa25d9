"""The one importer of emitted modules: run the text of one, and call its ``build()``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.registry import extensions
from connectome_compiler.statement import MARK


def run_module(path: Path, text: bytes, name: str = "") -> ModuleType:
    """Return the module that ``text``, read from ``path``, makes; with a ``name`` it is kept.

    Not by an import: that would run a ``__pycache__`` beside the file, whatever is in it, and write
    one. Whatever the module raises comes out.
    """
    module = ModuleType(name or path.stem)
    module.__file__ = str(path)
    known = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses in it look themselves up there
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    finally:
        if not name:
            del sys.modules[module.__name__]
            if known is not None:
                sys.modules[module.__name__] = known
    return module


@contextmanager
def alone() -> Iterator[None]:
    """Keep the compiler and its plugins out of reach: the module must do without them."""
    tops = {"connectome_compiler", *extensions()} - sys.stdlib_module_names
    mine = {name: m for name, m in sys.modules.items() if name.partition(".")[0] in tops}
    blocked: Any = dict.fromkeys([*mine, *tops])
    sys.modules.update(blocked)  # importing them fails from here on
    try:
        yield
    finally:
        for name in tops - mine.keys():
            sys.modules.pop(name, None)
        sys.modules.update(mine)


def load_alone(path: Path) -> ModuleType:
    """Run the module at ``path`` with the compiler out of its reach."""
    text = path.read_bytes()
    if MARK.encode() not in text:
        raise Wrong("module", "has no PROVENANCE: it was not made by ccompile")
    with alone(), finding("import"):
        module = run_module(path, text)
    for name in ("PROVENANCE", "build"):
        if not hasattr(module, name):
            raise Wrong("module", f"has no {name}: it was not made by ccompile")
    return module


def build_network(where: str, module: ModuleType, options: Mapping[str, Any]) -> nn.Module:
    """Return ``module.build(**options)``; ``where`` is what errors call the module.

    Raises `CompileError` for a module without ``build()``, and for options that it refuses.
    """
    build: Any = getattr(module, "build", None)
    if not callable(build):
        raise CompileError(where, "has no build()", "give it a module that ccompile built")
    known = _options(module, build)
    for name in options:
        if known is not None and name not in known:
            raise UnknownNameError.among(f"{where}: build: option", name, known)
    try:
        network = build(**options)
    except Exception as error:  # whatever the module says of its options
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise CompileError(f"{where}: build({given})", str(error)) from error
    if not isinstance(network, nn.Module):
        problem = f"returned {type(network).__name__}, not an nn.Module"
        raise CompileError(f"{where}: build()", problem)
    return network


def _options(module: ModuleType, build: Any) -> Mapping[str, Any] | None:
    """Return the options of ``build``, or of the class that it passes them on to, if known."""
    signature = inspect.signature(build)
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return signature.parameters
    made = signature.return_annotation
    cls = getattr(module, made, None) if isinstance(made, str) else made
    if made is signature.empty or not isinstance(cls, type):
        return None
    own = {name: p for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}
    return {**inspect.signature(cls).parameters, **own}
