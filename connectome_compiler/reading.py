"""Files that users name: only regular ones are opened, and no more is read than was meant.

A pipe never ends, a device can be endless or act when it is opened. Links to files are followed:
data sets are often linked into a folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from connectome_compiler.errors import CompileError


def place(where: str, given: object) -> Path:
    """Return what a caller gives as a path; raise `CompileError` for what none can be."""
    hint = "give text, or a pathlib.Path"
    if not isinstance(given, str | os.PathLike):
        raise CompileError(where, f"is {given!r}, not a path", hint)
    try:
        path = Path(given)
        path.exists()
        str(path).encode()
    except PermissionError:
        return path  # what comes next says more
    except (OSError, TypeError, ValueError) as error:  # too long; of bytes; not UTF-8
        why = getattr(error, "strerror", None) or error
        raise CompileError(f"{where} {given!r}", f"is not a path: {why}", hint) from error
    if "\0" in str(path):
        raise CompileError(f"{where} {given!r}", "is not a path: it has a NUL character in it")
    return path


def must_be_file(path: Path, hint: str = "") -> int:
    """Return the size of a file; raise `CompileError`, with ``hint``, if it is none to be read."""
    try:
        str(path).encode()
        found = path.stat()
    except FileNotFoundError:
        raise CompileError(str(path), "no such file", hint) from None
    except UnicodeEncodeError as error:
        problem = "cannot be read: its name is not UTF-8"
        raise CompileError(ascii(str(path))[1:-1], problem, "rename it") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise CompileError(repr(str(path))[1:-1], f"cannot be read: {why}") from error
    if stat.S_ISDIR(found.st_mode):
        raise CompileError(str(path), "cannot be read: Is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise CompileError(str(path), "cannot be read: is a pipe, socket or device, not a file")
    return found.st_size


def read_bytes(path: Path, most: int, hint: str = "") -> bytes:
    """Return what a file holds; raise `CompileError` if that is more than ``most`` bytes."""
    size = must_be_file(path, hint)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror or error}") from error
    if len(content) > most:
        raise CompileError(str(path), f"has {size:,} bytes, at most {most:,} are read")
    return content
