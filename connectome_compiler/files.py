"""How files are written: completely or not at all, and only over our own.

A file is written under a hidden name beside its target and replaces that by one rename. What
belongs together (a module and its arrays, a page and its tables) needs no second rename: all but
one file have the hash of their content in their name, and the last file, which names them, is the
swap. So a process killed at any moment leaves the old state or the new one, and perhaps files that
nothing names; these are recognised by name and content, and the next writer removes them.

Two kinds of locks make that safe. Writers wait for each other at the folder, but not for long,
since anyone who may read a folder can lock it. A writer whose wait timed out continues, but sweeps
nothing, and holds a shared lock on each file that it relies on until the swap that names it. A
sweeper takes an exclusive lock on a file, then checks whether anything names it, and removes it
under that lock. Hashed files never replace others. So only files that nobody relies on and nothing
names are removed.

Every command starts here, with a folder for its temporary files: slow imports happen where they
are used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
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

NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}  # of a file system: FAT, some networks
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
DRAFT = re.compile(r"\.ccompile-[0-9a-f]{16}")  # 64 random bits: a name that nothing else has
SCRATCH = re.compile(r"ccompile-[0-9a-f]{16}")
HASHED = re.compile(r".+[.-]([0-9a-f]{12})\.\w+")  # the last but one part of a name
CHUNK = 1 << 20  # bytes
PATIENCE_S = 1.0  # until a writer continues beside another one
GIVE_UP_S = 10.0  # attempts, before files that others keep making and removing are an error
POLL_S = 0.01


def sha256(path: Path) -> str:
    """Return the hash of a regular file, "" of anything else: links, folders, devices, nothing."""
    import hashlib

    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def is_hashed(path: Path) -> bool:
    """Return whether the content of a file has the hash in its name: then it is ours."""
    match = HASHED.fullmatch(path.name)
    return match is not None and sha256(path).startswith(match[1])


def way_out(error: OSError, choice: str) -> str:
    """Return the hint for a failed write: ``choice``, or what to do about the folder."""
    return f"{choice}, or " + (
        "change its permissions" if error.errno in FORBIDDEN else "make room"
    )


def write(path: Path, data: bytes) -> Path:
    """Write one file, completely or not at all."""
    with locked(path.parent) as folder:
        folder.swap(path.name, data)
    return path


@dataclass(slots=True)
class Folder:
    """A folder that this process writes to; see `locked`."""

    path: Path
    alone: bool  # exclusive: what nothing names is an orphan, not work in progress
    names: Callable[[Path], bool]  # whether a file in the folder names this one
    _new: list[Path] = field(default_factory=list)  # files and folders to remove on failure
    _held: list[int] = field(default_factory=list)  # handles of files that no sweeper may remove

    def add(self, name: str, data: bytes) -> Path:
        """Write a file with its hash in its name, before the one that names it.

        If it exists already there is nothing to do; anything else of that name is refused.
        """
        target, began = self.path / name, time.monotonic()
        while not self._stands(target, data):
            try:
                if not target.parent.exists():
                    self._new.append(target.parent)
                    target.parent.mkdir()
                self._new.append(target)
                self._place(target, data)
                break
            except (FileExistsError, FileNotFoundError):  # another writer was here just now
                if time.monotonic() - began > GIVE_UP_S:
                    raise
                time.sleep(POLL_S)
        return target

    def _stands(self, target: Path, data: bytes) -> bool:
        """Return whether ``target`` already holds ``data``, and keep it until we are done."""
        import hashlib

        if not os.path.lexists(target):
            return False
        if sha256(target) != hashlib.sha256(data).hexdigest():
            if not os.path.lexists(target):  # it was removed meanwhile
                return False
            problem = "exists, and its content does not match the hash in its name"
            raise CompileError(str(target), problem, "move it away")
        if self.alone:
            return True
        try:
            handle = _lock_now(target, shared=True)
        except (BlockingIOError, FileNotFoundError):  # it is being swept
            return False
        if handle is not None:
            self._held.append(handle)
        return True

    def swap(self, name: str, data: bytes) -> Path:
        """Put the last file in place: from here on nothing is undone."""
        target = self.path / name
        draft = self._draft(data)
        new, self._new = self._new, []
        try:
            draft.replace(target)
        except BaseException:
            if draft.exists():  # else an interrupt came after the rename: the new files are named
                draft.unlink()
                self._new = new
            raise
        _sync(target.parent)
        return target

    def sweep(self) -> None:
        """Remove the drafts of killed writers."""
        if self.alone:
            for path in self.path.iterdir():
                if DRAFT.fullmatch(path.name) and _is_own(path, stat.S_IFREG):
                    self.remove(path)

    def remove(self, path: Path) -> None:
        """Remove one of our files, if nothing names it and no writer is about to."""
        with contextlib.suppress(OSError):
            handle = _lock_now(path)
            if handle is not None:
                try:
                    if not self.names(path):
                        path.unlink()
                finally:
                    os.close(handle)

    def _place(self, target: Path, data: bytes) -> None:
        draft = self._draft(data)
        try:
            try:
                os.link(draft, target)  # unlike a rename it replaces nothing
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        _sync(target.parent)

    def _draft(self, data: bytes) -> Path:
        while True:
            path = self.path / f".ccompile-{os.urandom(8).hex()}"
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
            if self.alone or _share(handle):
                break
            os.close(handle)  # a sweeper came before the lock
            path.unlink(missing_ok=True)
        try:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(handle, left[:CHUNK]) :]
                os.fsync(
                    handle
                )  # after a power failure, a rename may persist while the content does not
            finally:
                if self.alone:
                    os.close(handle)
                else:
                    self._held.append(handle)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _undo(self) -> None:
        """Remove what is new, unless another writer may have begun to rely on it."""
        for path in reversed(self._new if self.alone else []):
            with contextlib.suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                else:
                    self.remove(path)

    def _let_go(self) -> None:
        while self._held:
            os.close(self._held.pop())


@contextlib.contextmanager
def locked(path: Path, names: Callable[[Path], bool] = lambda path: False) -> Iterator[Folder]:
    """Make a folder, keep other writers out of it, and undo what fails midway.

    ``names`` says whether a file in the folder names another one, which then stays.
    The folder itself is locked: there is no lock file to be left behind, linked or forged, and the
    kernel releases the locks of a dead process. If a folder cannot be locked (Windows, NFS, folders
    that may be written but not read), or another process holds it for long, writers still swap
    complete states, but do not sweep.
    """
    made = [p for p in (path, *path.parents) if not p.exists()]
    handle = None
    try:
        handle = _lock(path)
        folder = Folder(path, handle is not None, names)
        try:
            folder.sweep()
            yield folder
        except BaseException:
            folder._undo()
            raise
        finally:
            folder._let_go()
    except BaseException:
        _remove_empty(made)  # still locked: a waiting process finds it gone and makes it again
        raise
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def scratch(parent: Path, *, hidden: bool = False) -> Iterator[Path]:
    """Make a private folder for drafts in ``parent``, locked for the life of this process.

    Those of killed processes, whose locks are free, are removed first. Cleaners of temporary
    folders such as systemd-tmpfiles respect these locks.
    """
    made = [p for p in (parent, *parent.parents) if not p.exists()]
    folder = parent / f"{'.' * hidden}ccompile-{os.urandom(8).hex()}"
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
    """Return what ``read`` makes of ``path`` and of the files it names.

    If the file is replaced meanwhile, the files it names may be gone: then it is read again, so
    that the result is the old state or the new one, never a mixture.
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
    """Make and lock a folder; return the handle, or None if it cannot be locked soon."""
    began = time.monotonic()
    while True:
        waited = time.monotonic() - began
        try:
            path.mkdir(mode, parents=True, exist_ok=True)
            return _lock_now(path)
        except FileNotFoundError:  # its last holder removed it
            if waited > GIVE_UP_S:
                raise
        except BlockingIOError:
            if waited > PATIENCE_S:
                import logging

                problem = "%s: locked by %s; continuing without the lock"
                logging.getLogger(__name__).warning(problem, path, _holder(path))
                return None
        time.sleep(POLL_S)


def _holder(path: Path) -> str:
    """Return who has locked a folder, if the system says so (Linux)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 08:01:393 0 EOF
            same = words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode)
            if same and int(words[4]) > 0:  # else it belongs to another container
                return f"process {words[4]}"
    return "another process"


if sys.platform == "win32":
    _BINARY = os.O_BINARY

    def _user() -> int:
        return 0

    def _lock_now(path: Path, *, shared: bool = False) -> int | None:
        return None

    def _share(handle: int) -> bool:
        return True

    def _sync(path: Path) -> None:
        """Do nothing: folders cannot be opened."""

else:
    import fcntl

    _BINARY = 0
    _user = os.geteuid

    def _lock_now(path: Path, *, shared: bool = False) -> int | None:
        """Lock what is there; raise `BlockingIOError` where another process holds it."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except PermissionError:  # it may be written to, but not read
            return None
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
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

    def _share(handle: int) -> bool:
        """Hold a new draft; return whether it is still there."""
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without such locks: nobody sweeps
            return True
        return os.fstat(handle).st_nlink > 0

    def _sync(path: Path) -> None:
        """Make the renames in a folder durable, where possible."""
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
