"""Spare a process torch's compiler, which torch imports to ask it to stay out of what it runs.

Second gradients, `torch.func` and operators of one's own do so: the import takes longer than all
the rest of a small network's check.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


class _Absent(ModuleType):
    """A module of the compiler that compiles nothing; it gives way as soon as more is asked."""

    def __getattr__(self, name: str) -> Any:
        _give_way()
        return getattr(import_module(self.__name__), name)


def _disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
    return function


@contextmanager
def without_compiler() -> Iterator[None]:
    """Answer for torch's compiler, unless it is there."""
    if NAME in sys.modules:
        yield
        return
    compiler: Any = _Absent(NAME)
    autograd: Any = _Absent(f"{NAME}.compiled_autograd")
    compiler.disable, compiler.compiled_autograd = _disable, autograd
    autograd._disable = nullcontext
    sys.modules[NAME] = torch.__dict__["_dynamo"] = compiler
    try:
        yield
    finally:
        _give_way()


def _give_way() -> None:
    if isinstance(sys.modules.get(NAME), _Absent):
        del sys.modules[NAME], torch.__dict__["_dynamo"]
