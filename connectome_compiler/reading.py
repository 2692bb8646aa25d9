"""Files that users name: only regular ones are opened, and only up to a limit.

A pipe may block, a device can be endless or have side effects. Links to files are followed, since
data sets are often linked into a folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from connectome_compiler.errors import CompileError


def place(where: str, given: object) -> Path:
    """Return the path that a caller gave; raise `CompileError` for what cannot be one."""
    hint = "give text, or a pathlib.Path"
    if not isinstance(given, str | os.PathLike):
        raise CompileError(where, f"must be a path, not {given!r}", hint)
    try:
        path = Path(given)
        path.exists()
        str(path).encode()
    except PermissionError:
        return path  # the next check gives a better message
    except (OSError, TypeError, ValueError) as error:  # too long; of bytes; not UTF-8
        why = getattr(error, "strerror", None) or error
        raise CompileError(f"{where} {given!r}", f"is not a path: {why}", hint) from error
    if "\0" in str(path):
        raise CompileError(f"{where} {given!r}", "is not a path: it contains a NUL character")
    return path


def must_be_file(path: Path, hint: str = "") -> int:
    """Return the size of a file; raise `CompileError`, with ``hint``, if it cannot be read."""
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
    """Return the content of a file; raise `CompileError` if it has more than ``most`` bytes."""
    size = must_be_file(path, hint)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror or error}") from error
    if len(content) > most:
        raise CompileError(str(path), f"has {size:,} bytes; the limit is {most:,}")
    return content
