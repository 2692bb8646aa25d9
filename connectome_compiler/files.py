"""How files reach the disk: whole or not at all, one writer at a time, and only over our own.

A file is written under a hidden name beside its place and takes the place by one rename. What
belongs together (a module and its arrays, a page and its tables) needs no second rename: all but
one file have the hash of their content in their name, and the last file, which names them, is the
swap. So a process that is killed at any moment leaves the old state or the new one, besides files
that nothing names; these are known by name and content, and the next writer takes them away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from connectome_compiler.errors import CompileError

T = TypeVar("T")

log = logging.getLogger(__name__)

DRAFT = re.compile(r"\.ccompile-[0-9a-f]{16}")  # 64 random bits: nobody else's name
SCRATCH = re.compile(r"ccompile-[0-9a-f]{16}")
HASHED = re.compile(r".+[.-]([0-9a-f]{12})\.\w+")  # the last but one part of a name
CHUNK = 1 << 20  # bytes
TELL_S, PATIENCE_S = 1.0, 600.0  # until a wait for another writer is told of; until it is given up
POLL_S = 0.01


def sha256(path: Path) -> str:
    """Return the hash of a regular file, "" of anything else: links, folders, devices, nothing."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def is_hashed(path: Path) -> bool:
    """Return whether a file holds what the hash in its name says: then it is ours."""
    match = HASHED.fullmatch(path.name)
    return match is not None and sha256(path).startswith(match[1])


def write(path: Path, data: bytes) -> Path:
    """Write one file, whole or not at all."""
    with locked(path.parent) as folder:
        folder.swap(path.name, data)
    return path


@dataclass(slots=True)
class Folder:
    """A folder that this process writes to; see `locked`."""

    path: Path
    alone: bool  # others are kept out: what nothing names is an orphan, not work in progress
    _new: list[Path] = field(default_factory=list)  # files and folders to take back

    def add(self, name: str, data: bytes) -> Path:
        """Write a file with its hash in its name, before the one that names it.

        Where it stands already there is nothing to do; anything else of that name is refused.
        """
        target = self.path / name
        if os.path.lexists(target):
            if sha256(target) != hashlib.sha256(data).hexdigest():
                problem = "is there and does not hold what its name says"
                raise CompileError(str(target), problem, "move it away")
            return target
        if not target.parent.exists():
            self._new.append(target.parent)
            target.parent.mkdir()
        self._new.append(target)
        self._place(target, data)
        return target

    def swap(self, name: str, data: bytes) -> Path:
        """Put the last file in place: from here on the new state holds, and nothing is undone."""
        target = self.path / name
        draft = self._draft(data)
        new, self._new = self._new, []
        try:
            draft.replace(target)
        except BaseException:
            if draft.exists():  # else an interrupt came after the rename: what is new is named
                draft.unlink()
                self._new = new
            raise
        _sync(target.parent)
        return target

    def sweep(self) -> None:
        """Take away what killed writers left half-written: their drafts."""
        if self.alone:
            for path in self.path.iterdir():
                if DRAFT.fullmatch(path.name) and _is_own(path, stat.S_IFREG):
                    self.remove(path)

    def remove(self, path: Path) -> None:
        """Take one file away; whoever calls has shown that it is ours."""
        with contextlib.suppress(OSError):
            path.unlink()

    def _place(self, target: Path, data: bytes) -> None:
        draft = self._draft(data)
        try:
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync(target.parent)

    def _draft(self, data: bytes) -> Path:
        path = self.path / f".ccompile-{secrets.token_hex(8)}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        try:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(handle, left[:CHUNK]) :]
                os.fsync(handle)  # a rename may outlive a power cut that the content does not
            finally:
                os.close(handle)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _undo(self) -> None:
        for path in reversed(self._new):
            with contextlib.suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Folder]:
    """Make a folder, keep other writers of ours out of it, and take back what fails midway.

    The folder itself is locked: there is no lock file to be left behind, linked or forged, and the
    kernel frees what a dead process held. Where folders cannot be locked (Windows, NFS), writers
    still swap whole states, but nobody sweeps.
    """
    made = [p for p in (path, *path.parents) if not p.exists()]
    handle = None
    try:
        handle = _lock(path)
        folder = Folder(path, alone=handle is not None)
        try:
            folder.sweep()
            yield folder
        except BaseException:
            folder._undo()
            raise
    except BaseException:
        _remove_empty(made)  # still locked: whoever waits finds it gone and makes it again
        raise
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def scratch(parent: Path, *, hidden: bool = False) -> Iterator[Path]:
    """Make a folder for drafts in ``parent``, private and ours as long as we live.

    Those of killed processes go first: their locks are free. What cleans temporary folders
    respects such locks as well (systemd-tmpfiles).
    """
    made = [p for p in (parent, *parent.parents) if not p.exists()]
    folder = parent / f"{'.' * hidden}ccompile-{secrets.token_hex(8)}"
    handle = None
    try:
        handle = _lock(folder, 0o700)
        _sweep_scratch(parent, DRAFT if hidden else SCRATCH)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(made)
        if handle is not None:
            os.close(handle)


def _sweep_scratch(parent: Path, name: re.Pattern[str]) -> None:
    with contextlib.suppress(OSError):
        for path in parent.iterdir():
            if name.fullmatch(path.name) and _is_own(path, stat.S_IFDIR):
                with contextlib.suppress(OSError):  # it is in use
                    if (handle := _lock_now(path)) is not None:
                        shutil.rmtree(path, ignore_errors=True)
                        os.close(handle)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def settled(path: Path, read: Callable[[], T]) -> T:
    """Return what ``read`` makes of ``path`` and of what it names.

    A file that is replaced meanwhile may name others than those that are left: then it is read
    anew, so that the old state is seen or the new one, and never parts of both.
    """
    while True:
        before = _stamp(path)
        try:
            return read()
        except CompileError:
            if _stamp(path) == before:
                raise


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_own(path: Path, kind: int) -> bool:
    """Return whether this user owns ``path``, which is of that kind and no link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_IFMT(found.st_mode) == kind and found.st_uid == _user()


def _lock(path: Path, mode: int = 0o777) -> int | None:
    """Make and lock a folder; return the handle, or None where there are no such locks.

    Raises `CompileError` if another process holds it for too long.
    """
    started, told = time.monotonic(), False
    while True:
        waited = time.monotonic() - started
        try:
            path.mkdir(mode, parents=True, exist_ok=True)
            return _lock_now(path)
        except FileNotFoundError:  # its last holder took it away
            if waited > TELL_S:
                raise
        except BlockingIOError as error:
            if waited > PATIENCE_S:
                problem = f"another process has been writing there for {waited:.0f} s"
                hint = "end that process, or choose another folder"
                raise CompileError(str(path), problem, hint) from error
            if waited > TELL_S and not told:
                log.warning("%s: waiting for another process that writes there", path)
                told = True
        time.sleep(POLL_S)


if sys.platform == "win32":
    _BINARY = os.O_BINARY

    def _user() -> int:
        return 0

    def _lock_now(path: Path) -> int | None:
        return None

    def _sync(path: Path) -> None:
        """Do nothing: folders cannot be opened."""

else:
    import fcntl

    _BINARY = 0
    _user = os.geteuid

    def _lock_now(path: Path) -> int | None:
        """Lock a folder that is there; raise `BlockingIOError` where another process holds it."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except (BlockingIOError, FileNotFoundError):
            os.close(handle)
            raise
        except OSError:  # a file system without such locks
            os.close(handle)
            return None
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def _sync(path: Path) -> None:
        """Make the renames in a folder last, where that can be done."""
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
