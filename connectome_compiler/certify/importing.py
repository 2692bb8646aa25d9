"""Run the text of an emitted module, and call its ``build()``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from connectome_compiler.errors import CompileError, UnknownNameError


def run_module(path: Path, text: bytes, name: str = "") -> ModuleType:
    """Return the module that ``text``, read from ``path``, makes; with a ``name`` it is kept.

    Not by an import: that would run a ``__pycache__`` beside the file, whatever is in it, and write
    one. Whatever the module raises comes out.
    """
    module = ModuleType(name or path.stem)
    module.__file__ = str(path)
    if name:
        sys.modules[name] = module  # dataclasses in it look themselves up there
    exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
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
        problem = f"returned {type(network).__name__}, no nn.Module"
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
    return inspect.signature(cls).parameters
