"""HDF5 files, read with h5py: what is in them, without following links into other files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectome_compiler.errors import CompileError
from connectome_compiler.reading import must_be_file

from ._content import FETCH_AGAIN

MOST_VALUES = 1 << 31  # of a column or an array
MOST_RATIO = 1032  # the highest compression ratio of deflate


@contextmanager
def opened(path: Path, what: str) -> Iterator[Any]:
    """Open an HDF5 file, translating h5py's errors into our own."""
    try:
        import h5py
    except ImportError:
        hint = "pip install -c constraints.txt '.[files]'"
        raise CompileError(str(path), f"{what} need the package h5py", hint) from None
    must_be_file(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    # The content is read only on demand, and can be just as broken.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        problem = f"is a broken HDF5 file: {error}"
        raise CompileError(str(path), problem, FETCH_AGAIN) from error


def names_in(group: Any) -> list[str]:
    """Return the names of the members of a group; raise `CompileError` for external links.

    Another file would be read without its hash being recorded.
    """
    for name in group:
        if type(group.get(name, getlink=True)).__name__ not in ("HardLink", "SoftLink"):
            where = f"{group.file.filename}, {group.name}/{name}"
            raise CompileError(where, "is a link into another file", "copy it into this one")
    return list(group)


def is_group(item: Any) -> bool:
    """Whether this is a group, not an array."""
    return hasattr(item, "items")


def values_of(path: Path, array: Any) -> Any:
    """Return all values of an array; raise `CompileError` if the file cannot hold so many.

    HDF5 fills in what was never written, so that a small file can declare any number.
    """
    must_be_whole(path, array)
    return array.asstr()[...] if array.dtype.kind in "OS" else array[...]


def must_be_whole(path: Path, array: Any) -> None:
    """Raise `CompileError` if values of an array lie elsewhere, or are more than can be here."""
    where = f"{path}, {array.name}"
    if array.is_virtual or array.external:
        raise CompileError(where, "is stored in other files", "write it into this one")
    size = path.stat().st_size
    if array.size > MOST_VALUES or array.size * array.dtype.itemsize > MOST_RATIO * size:
        problem = f"declares {array.size:,} values, which a file of {size:,} bytes cannot hold"
        raise CompileError(where, problem, FETCH_AGAIN)
