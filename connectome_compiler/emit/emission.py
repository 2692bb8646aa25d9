"""What a template makes, and how it reaches the disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from connectome_compiler.errors import CompileError


@dataclass(frozen=True, slots=True)
class Emission:
    """A module's source, and its arrays where they do not fit inside."""

    class_name: str
    source: str
    arrays: bytes | None  # the content of the .safetensors file beside the module, if any

    def write(self, path: Path) -> tuple[Path, ...]:
        """Write the module to ``path`` and its arrays beside it; return what was written.

        Folders are made. Both files appear whole, or not at all: a full disk or an interrupt
        leaves what was there before.
        """
        check_path(path)
        contents = {path: self.source.encode("utf-8")}
        if self.arrays is not None:
            # The arrays first: a module is never there without them.
            contents = {path.with_suffix(".safetensors"): self.arrays, **contents}
        drafts: dict[Path, Path] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for target, data in contents.items():
                drafts[target] = _draft(target, data)
            for target, draft in drafts.items():
                draft.replace(target)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise CompileError(str(path), problem, "choose another --out, or make room") from error
        finally:
            for draft in drafts.values():
                with contextlib.suppress(OSError):
                    draft.unlink(missing_ok=True)
        return tuple(contents)


def check_path(path: Path) -> None:
    """Raise `CompileError` unless a module can be written to ``path`` and imported from there."""
    if path.is_dir():
        raise CompileError(str(path), "is a folder", "name a file in it, such as model.py")
    if path.suffix != ".py":
        raise CompileError(str(path), "a module's name ends in .py", f"--out {path}.py")
    if not path.stem.isidentifier():
        raise CompileError(str(path), f"{path.stem!r} cannot be imported", "use letters and _")


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
