"""What a template makes, and how it reaches the disk."""

from __future__ import annotations

import contextlib
import keyword
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from connectome_compiler.errors import CompileError

# What a module imports, and what torch does: a file of such a name would be imported instead.
NEEDED = {"torch", "safetensors", "numpy", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"}
NEEDED |= {"filelock", "fsspec", "typing_extensions", "packaging", "setuptools"}
MARK = "PROVENANCE: dict[str, Any] = {"  # in every emitted module: no other file is overwritten


@dataclass(frozen=True, slots=True)
class Emission:
    """A module's source, and its arrays where they do not fit inside."""

    class_name: str
    source: str = field(repr=False)
    arrays: bytes | None = field(
        repr=False
    )  # the content of the .safetensors file beside the module, if any

    def write(self, path: Path) -> tuple[Path, ...]:
        """Write the module to ``path`` and its arrays beside it; return what was written.

        Folders are made. Both files appear whole, or not at all: a full disk or an interrupt
        leaves what was there before.
        """
        check_path(path)
        beside = path.with_suffix(".safetensors")
        contents = {path: self.source.encode("utf-8")}
        if self.arrays is not None:
            contents = {beside: self.arrays, **contents}
        drafts: dict[Path, Path] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for target, data in contents.items():
                drafts[target] = _draft(target, data)
            _swap(drafts, stale=() if self.arrays is not None else (beside,))
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise CompileError(str(path), problem, "choose another --out, or make room") from error
        finally:
            for draft in drafts.values():
                with contextlib.suppress(OSError):
                    draft.unlink(missing_ok=True)
        return tuple(contents)


def _swap(drafts: dict[Path, Path], stale: tuple[Path, ...]) -> None:
    """Put ``drafts`` in place and take ``stale`` files away, all together or not at all."""
    old: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        for target in (*drafts, *stale):
            if target.exists():
                aside = target.with_name(f".{target.name}.old")
                target.replace(aside)
                old[target] = aside
        for target, draft in drafts.items():
            draft.replace(target)
            placed.append(target)
    except BaseException:  # an interrupt as well: what was there comes back
        for target in placed:
            target.unlink(missing_ok=True)
        for target, aside in old.items():
            aside.replace(target)
        raise
    for aside in old.values():
        aside.unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Raise `CompileError` unless a module can be written to ``path`` and imported from there."""
    if path.is_dir():
        raise CompileError(str(path), "is a folder", "name a file in it, such as model.py")
    for folder in path.parents:
        if folder.is_file():
            raise CompileError(str(folder), "is a file, not a folder", "choose another --out")
    ours = path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")
    for file in (path, path.with_suffix(".safetensors")):
        if file.exists() and not ours:
            raise CompileError(str(file), "is there and was not made by ccompile", "move it away")
    if path.suffix != ".py":
        hint = f"--out {path}.py" if path.name.strip(".") != "py" else "--out model.py"
        raise CompileError(str(path), "a module's name ends in .py", hint)
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise CompileError(str(path), f"{path.stem!r} cannot be imported", "use letters and _")
    if path.stem in {*sys.stdlib_module_names, *NEEDED}:
        problem = f"would hide the library {path.stem!r}, which it needs itself"
        raise CompileError(str(path), problem, "choose another name")


def _draft(target: Path, data: bytes) -> Path:
    """Write ``data`` beside ``target`` under a hidden name."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)  # mkstemp makes it private
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft
