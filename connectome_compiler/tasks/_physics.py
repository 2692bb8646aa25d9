"""The simulator of the tasks, pinned to one version, since results depend on it."""

from __future__ import annotations

import os
import sys
from importlib import import_module, metadata
from types import ModuleType

from connectome_compiler.errors import CompileError

# dm_control 1.0.50 admits newer mujoco, which it then cannot load a model with (4.0.0:
# "flex_vertedge"); older ones give slightly other returns.
PINNED = {"dm_control": "1.0.50", "mujoco": "3.17.0"}
INSTALL = "pip install " + " ".join(f"{name}=={version}" for name, version in PINNED.items())
EXTRA = "pip install -c constraints.txt '.[swimmer]', in a checkout of the compiler"
NEWEST = (3, 12)  # dm_control requires labmaze, which has no wheels for later versions of Python


def require(package: str, distribution: str = "") -> ModuleType:
    """Import a package of the extra; raise `CompileError` with the command that installs it."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        problem = f"is not installed (no module {error.name!r})"
        raise CompileError(distribution or package, problem, EXTRA) from error


def require_physics() -> None:
    """Make ``dm_control.suite.swimmer`` importable, or raise `CompileError` saying how to.

    Versions are compared before anything is imported: a wrong pair fails late and obscurely.
    """
    for name, wanted in PINNED.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise _not_installed(name) from None
        if found != wanted:
            raise CompileError(name, f"is {found}, but the task needs {wanted}", INSTALL)
    # Nothing is rendered: without this the search for a screen warns where there is none.
    silent = "MUJOCO_GL" not in os.environ
    if silent:
        os.environ["MUJOCO_GL"] = "disable"
    try:
        import_module("dm_control.suite.swimmer")
    except Exception as error:
        raise CompileError("dm_control", f"cannot be imported: {error}", INSTALL) from error
    finally:
        if silent:
            del os.environ["MUJOCO_GL"]


def _not_installed(name: str) -> CompileError:
    if sys.version_info[:2] > NEWEST:
        newest = ".".join(map(str, NEWEST))
        problem = f"does not install with Python {sys.version_info[0]}.{sys.version_info[1]}"
        return CompileError(name, problem, f"train in an environment with Python {newest}")
    return CompileError(name, "is not installed", INSTALL)
