"""What a template makes, and how it reaches the disk.

Beside ``model.py`` its arrays have a name with their hash in it, which the module knows. So writing
them first and replacing ``model.py`` last swaps both at once, and a file called
``model.safetensors`` is the user's: weights that were trained, as a rule.
"""

from __future__ import annotations

import contextlib
import hashlib
import keyword
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from connectome_compiler import files
from connectome_compiler.emit.proven import proven
from connectome_compiler.errors import CompileError
from connectome_compiler.statement import MARK

# What a module imports, and what torch does: a file of such a name would be imported instead.
NEEDED = {"torch", "safetensors", "numpy", "sympy", "mpmath", "networkx", "jinja2", "markupsafe"}
NEEDED |= {"filelock", "fsspec", "typing_extensions", "packaging", "setuptools"}
SEAL = "# sha256 of the lines above: "  # the last line of every written module
STATED = re.compile(r'^ARRAYS_SHA256 = "([0-9a-f]{64})"$', re.MULTILINE)
LARGE = 1 << 22  # bytes; of larger files only modules are searched for the names of arrays


@dataclass(frozen=True, slots=True)
class Emission:
    """A module's source, read back (`emit.proven`), and its arrays where they do not fit inside."""

    class_name: str
    source: str = field(repr=False)
    arrays: bytes | None = field(
        repr=False
    )  # the content of the .safetensors file beside the module, if any

    def __post_init__(self) -> None:
        """Prove the source: whoever writes or imports it has it from here."""
        object.__setattr__(self, "source", proven(self.source, self.class_name))

    def contents(self, module: str) -> dict[str, bytes]:
        """Return the files to write, by name, the module last; ``module`` is its file name."""
        text = self.source.rstrip("\n") + "\n"
        sealed = f"{text}\n\n{SEAL}{_sha256(text)}\n"
        if self.arrays is None:
            return {module: sealed.encode()}
        sha256 = hashlib.sha256(self.arrays).hexdigest()
        return {arrays_name(Path(module).stem, sha256): self.arrays, module: sealed.encode()}

    def write(self, path: Path) -> tuple[Path, ...]:
        """Write the module to ``path`` and its arrays beside it; return what was written.

        Folders are made. Both files appear whole and at once, or not at all: a full disk, an
        interrupt or a kill leaves what was there before. Of a link, what it points to is replaced.
        """
        _check_place(path)
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        *beside, (module, source) = self.contents(place.name).items()
        try:
            with files.locked(place.parent, _is_named) as folder:
                check_path(path)
                replaced = _read(place)
                for name, data in beside:
                    folder.add(name, data)
                folder.swap(module, source)
                with contextlib.suppress(OSError):  # the build has succeeded
                    if folder.alone:
                        _sweep(folder, place, {name for name, _ in beside}, replaced)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            hint = files.way_out(error, "choose another --out")
            raise CompileError(str(path), problem, hint) from error
        return (*(place.with_name(name) for name, _ in beside), path)


def arrays_name(stem: str, sha256: str) -> str:
    """Return what the file of arrays is called, as ``templates/parts/data.jinja`` reads it."""
    return f"{stem}.connectome-{sha256[:12]}.safetensors"


def _sweep(folder: files.Folder, module: Path, written: set[str], replaced: str) -> None:
    """Take away arrays of older builds that nothing in the folder names any more.

    Those of the module just replaced stay until the next build: whoever has read it may not have
    read them yet. They are ours by the hash in their name.
    """
    kept = written | {arrays_name(module.stem, sha256) for sha256 in STATED.findall(replaced)[-1:]}
    for path in folder.path.glob("*.safetensors"):
        ours = path.name.startswith(f"{module.stem}.connectome-") and path.name not in kept
        if ours and files.is_hashed(path):
            folder.remove(path)


def _is_named(arrays: Path) -> bool:
    """Return whether a file beside these arrays names them: a module, a copy kept as ``m.py.bak``.

    What cannot be read may name them as well.
    """
    match = files.HASHED.fullmatch(arrays.name)
    return match is not None and any(
        _says(path, match[1]) for path in arrays.parent.iterdir() if path.name != arrays.name
    )


def _says(path: Path, sha256: str) -> bool:
    try:
        if not path.is_file() or (path.suffix != ".py" and path.stat().st_size > LARGE):
            return False
        return sha256.encode() in path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _read(path: Path) -> str:
    """Return the text of a regular file, "" where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def check_path(path: Path) -> None:
    """Raise `CompileError` unless a module can be written to ``path`` and imported from there."""
    _check_place(path)
    if path.exists():
        _must_be_ours(path)


def _check_place(path: Path) -> None:
    """Check names alone, and where links lead."""
    if path.is_dir():
        raise CompileError(str(path), "is a folder", "name a file in it, such as model.py")
    for folder in path.parents:
        if folder.is_file():
            raise CompileError(str(folder), "is a file, not a folder", "choose another --out")
    _check_name(path)
    if path.is_symlink():
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise CompileError(str(path), "is a circular link", "remove it")
        _check_name(target)


def _must_be_ours(path: Path) -> None:
    """Refuse to replace what ccompile did not write, or what was edited since."""
    text = _read(path)
    if MARK not in text:
        raise CompileError(str(path), "exists and was not made by ccompile", "move it away")
    above, seal, rest = text.rpartition(f"\n{SEAL}")
    if seal and rest.strip() == _sha256(above.rstrip("\n") + "\n"):
        return
    stated = STATED.findall(text)[-1:]
    names = [arrays_name(path.stem, sha256) for sha256 in stated]
    names = [name for name in names if path.with_name(name).exists()]
    if seal:
        hint = "rename {} to keep it, or choose another --out"
        problem = "was edited since ccompile wrote it"
    else:
        hint = "move {} away, or choose another --out"
        problem = (
            "lacks the hash in its last line (an earlier version wrote none): "
            "edits cannot be detected"
        )
        oldest = path.with_suffix(".safetensors")  # as version 0.1.0 called the arrays
        names += [oldest.name] if stated == [files.sha256(oldest)] else []
    raise CompileError(str(path), problem, hint.format(" and ".join([path.name, *names])))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _check_name(path: Path) -> None:
    if path.suffix != ".py":
        hint = f"--out {path}.py" if path.name.strip(".") != "py" else "--out model.py"
        raise CompileError(str(path), "a module's name ends in .py", hint)
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise CompileError(str(path), f"{path.stem!r} cannot be imported", "use letters and _")
    if path.stem in {*sys.stdlib_module_names, *NEEDED}:
        problem = f"would hide the library {path.stem!r}, which it needs itself"
        raise CompileError(str(path), problem, "choose another name")
