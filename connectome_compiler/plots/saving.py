"""Pictures as files: complete or not at all, and only over our own that nobody edited since.

A picture holds the hash of the rest of it, as a built module does: SVG and PDF in a comment at
the end, PNG in a text chunk.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from connectome_compiler import files
from connectome_compiler.errors import CompileError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "pdf", "png")
PNG_END = 12  # bytes of the last chunk of a PNG, which has to stay the last
SEAL = b"ccompile sha256"


def check_path(path: Path) -> str:
    """Return the format of a picture to be written; raise `CompileError` if it cannot be."""
    suffix = path.suffix.removeprefix(".").lower()
    if path.is_dir():
        raise CompileError(str(path), "is a folder", "name a file in it, such as picture.svg")
    if suffix not in FORMATS:
        problem = f"a picture's name ends in {', '.join(f'.{f}' for f in FORMATS)}"
        raise CompileError(str(path), problem, f"--out {path.stem}.svg")
    for folder in path.parents:
        if folder.is_file():
            raise CompileError(str(folder), "is a file, not a folder", "choose another --out")
    if path.exists() and not is_ours(path.read_bytes(), suffix):
        problem = "exists, and was not made by ccompile, or was edited since"
        raise CompileError(str(path), problem, "move it away, or choose another --out")
    return suffix


def write(axes: Axes, path: Path) -> Path:
    """Write the picture of `plot`, whose figure is its own, in the format that the name ends in."""
    from connectome_compiler.plots.canvas import Sheet

    assert isinstance(axes.figure, Sheet)
    suffix = check_path(path)
    data = sealed(axes.figure.in_format(suffix), suffix)
    try:
        files.write(Path(os.path.realpath(path)), data)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        hint = files.way_out(error, "choose another --out")
        raise CompileError(str(path), problem, hint) from error
    return path


def sealed(picture: bytes, suffix: str) -> bytes:
    """Return a picture with its hash in it."""
    digest = hashlib.sha256(picture).hexdigest().encode()
    end = len(picture) - _behind(suffix)
    return picture[:end] + _seal(digest, suffix) + picture[end:]


def is_ours(data: bytes, suffix: str) -> bool:
    """Whether a file is a picture that was written here, and is as it was written."""
    end = len(data) - _behind(suffix)
    begin = end - len(_seal(b"0" * 64, suffix))
    return begin > 0 and sealed(data[:begin] + data[end:], suffix) == data


def _behind(suffix: str) -> int:
    return PNG_END if suffix == "png" else 0


def _seal(digest: bytes, suffix: str) -> bytes:
    if suffix == "svg":
        return b"<!-- %s %s -->\n" % (SEAL, digest)
    if suffix == "pdf":
        return b"%% %s %s\n" % (SEAL, digest)
    chunk = b"tEXt%s\0%s" % (SEAL, digest)
    length = len(chunk) - len("tEXt")
    return length.to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
