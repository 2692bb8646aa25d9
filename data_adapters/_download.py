"""Fetch a published file into the cache: resumed after an interruption, checked before use.

A file has its own name only when its size and sha256 are right; until then it is ``NAME.part``. So
an interrupted, short or altered download never looks like a finished one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import queue
import shutil
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar, cast

from connectome_compiler.errors import CompileError
from connectome_compiler.text import printable

log = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK = 1 << 14  # bytes
TRIFLE = 1 << 18  # bytes; for less, no progress is shown
BACK_OFF_S = (1.0, 2.0, 4.0)  # waits before the second, third and fourth attempt
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0  # without a byte
# A transfer may take any time at `CHUNK` bytes in this many seconds, about 270 bytes/s; an answer
# must begin within it. A server that trickles data would otherwise hold the cache forever.
SLOWEST_S = 60.0
PASSING = {429, 500, 502, 503, 504}  # statuses that may be transient


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file: its name, size and hash."""

    name: str
    n_bytes: int
    sha256: str
    n_rows: int = 0  # of the table; 0: not stated


class UnreachableError(CompileError):
    """Nothing was received: no network, no such host, or connection refused."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches files into ``folder``. The waits are options so that tests need not wait."""

    folder: Path
    back_off_s: Sequence[float] = BACK_OFF_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    slowest_s: float = SLOWEST_S
    progress: bool | None = None  # None: when standard error is a terminal

    def fetch(self, file: RemoteFile, address: str) -> Path:
        """Return the checked file, from the cache or else from ``address``.

        Raises `UnreachableError` if the server cannot be reached at all, and `CompileError` for
        any other failure of the server, the cache folder or the disk.
        """
        target = self.folder / file.name
        self._refuse_open_folders()
        if is_right(target, file):
            return target
        with self._locked(file):
            if is_right(target, file):  # another process has fetched it meanwhile
                return target
            altered = target.exists()
            if altered:
                log.warning("%s is not the file that was published; fetching it again", target)
            try:
                self._download(file, address)
            except UnreachableError as error:
                if not altered:
                    raise
                problem = "was altered after its download, and the network cannot be reached"
                raise CompileError(str(target), problem, f"delete {target}") from error
            with self._disk(file):
                self._part(file).replace(target)
        return target

    def _download(self, file: RemoteFile, address: str) -> None:
        """Fill the part file until size and hash are right."""
        part = self._part(file)
        for _ in range(2):
            pieced = self._complete(file, address)
            if is_right(part, file):
                return
            found = f"{part.stat().st_size:,} bytes, sha256 {sha256(part)[:16]}"
            with self._disk(file):
                part.unlink()
            if not pieced:
                break
            # The parts may come from different versions on the server: try again in one piece.
        problem = f"the download is not the published file: {found}"
        expected = f"expected {file.n_bytes:,} bytes, sha256 {file.sha256[:16]}"
        hint = "the publisher or something in between changed it; nothing was kept"
        raise CompileError(address, f"{problem}, {expected}", hint)

    def _complete(self, file: RemoteFile, address: str) -> bool:
        """Append to the part file until the server has no more; try again after hiccups.

        Return whether the file was pieced together from several answers.
        """
        start = resumed = self._part_size(file)
        for attempt in range(len(self.back_off_s) + 1):
            if start >= file.n_bytes:
                break
            try:
                self._request(file, address, start)
            except _PassingError as error:
                if attempt == len(self.back_off_s):
                    problem = f"{error}, {attempt + 1} times in a row"
                    raise CompileError(address, problem, "try again later") from error
                time.sleep(self.back_off_s[attempt])
                start = self._part_size(file)
            except UnreachableError as error:
                if attempt == 0:
                    raise
                raise CompileError(
                    address, f"{error.problem}, after it had been reached"
                ) from error
            else:
                return bool(resumed or attempt)
        return True

    def _request(self, file: RemoteFile, address: str, start: int) -> None:
        """Append what one request yields; raise `_PassingError` if it stopped early."""
        import requests

        # "identity": the server must not decompress what is published compressed.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = (self.connect_timeout_s, self.read_timeout_s)

        def received() -> Iterator[requests.Response | bytes]:
            with requests.get(address, headers=headers, timeout=timeout, stream=True) as answer:
                yield answer
                yield from answer.iter_content(CHUNK)

        try:
            with _in_time(received(), self.slowest_s) as pieces:
                answer = next(pieces)
                assert isinstance(answer, requests.Response)
                if answer.status_code in PASSING:
                    raise _PassingError(f"the server answered {_status(answer)}")
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    return  # nothing after the part: size and hash are checked
                if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
                    hint = "check the address, or read files of your own with source=files"
                    raise CompileError(address, f"the server answered {_status(answer)}", hint)
                if answer.status_code == requests.codes.ok:
                    start = 0  # the server ignores ranges: begin again
                self._write(file, cast("Iterator[bytes]", pieces), start)
                # With a stated length a cut is an error by itself.
                if "Content-Length" not in answer.headers and not self._is_long_enough(file):
                    raise _PassingError("the connection was lost")
        except requests.exceptions.SSLError as error:
            problem = f"the connection is not trusted: {error}"
            raise CompileError(address, problem, "a proxy or firewall may intercept it") from error
        except requests.exceptions.RequestException as error:
            if _unreachable(error):
                raise UnreachableError(
                    address, "cannot be reached", "check the network connection"
                ) from error
            if _stalled(error):
                problem = f"nothing was received for {self.read_timeout_s:g} s"
                raise _PassingError(problem) from error
            broken = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)
            if isinstance(error, broken):
                raise _PassingError("the connection was lost") from error
            raise CompileError(address, f"cannot be fetched: {error}") from error
        except ValueError as error:  # requests lets those of a redirect through
            problem = f"redirects to an invalid address: {error}"
            raise CompileError(address, problem, "check the address") from error

    def _write(self, file: RemoteFile, chunks: Iterator[bytes], start: int) -> None:
        """Append to the part file from byte ``start`` on."""
        with self._disk(file):
            if (free := shutil.disk_usage(self.folder).free) < file.n_bytes - start:
                raise OSError(errno.ENOSPC, f"{free:,} bytes are free")
            out = self._open_part(file, start)
        with out, _bar(file, start, self.progress) as advance:
            for chunk in chunks:
                # One excess byte is enough for the check to fail: no server can fill the disk.
                left = memoryview(chunk)[: file.n_bytes + 1 - out.tell()]
                while left:
                    with self._disk(file):
                        left = left[out.write(left) :]
                if out.tell() > file.n_bytes:
                    return
                advance(len(chunk))

    def _open_part(self, file: RemoteFile, start: int) -> IO[bytes]:
        """Open the part file to append, from its end if ``start``, else a new one; never a link."""
        part = self._part(file)
        self._part_size(file)  # refuses what is not ours to replace
        if not start:
            part.unlink(missing_ok=True)
        new = 0 if start else os.O_CREAT | os.O_EXCL
        handle = os.open(part, os.O_WRONLY | os.O_APPEND | new | NO_LINK, 0o666)
        # Unbuffered, so that closing has nothing left to write, even on a full disk.
        return os.fdopen(handle, "ab", buffering=0)

    def _part_size(self, file: RemoteFile) -> int:
        """Return how much of the file exists; refuse links and files with other names."""
        part = self._part(file)
        try:
            found = part.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return 0
        _refuse_odd(part, found)
        return found.st_size

    def _is_long_enough(self, file: RemoteFile) -> bool:
        return self._part_size(file) >= file.n_bytes

    def _part(self, file: RemoteFile) -> Path:
        return self.folder / (file.name + PART)

    @contextmanager
    def _disk(self, file: RemoteFile) -> Iterator[None]:
        """Say what to do about a folder that cannot be written, or a disk that is full."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                problem = f"the disk is full; {file.name} needs {file.n_bytes:,} bytes"
                raise CompileError(
                    str(self.folder), problem, f"free some space, or {ELSEWHERE}"
                ) from error
            problem = f"cannot be written: {error.strerror}"
            raise CompileError(str(self.folder), problem, ELSEWHERE) from error

    def _refuse_open_folders(self) -> None:
        """Refuse a cache in which anyone may change a file after its check.

        What a group may write is fine: a lab shares its cache so. So is a link of one's own, to a
        larger disk.
        """
        if os.name != "posix":
            return
        for folder in (self.folder, self.folder.parent):
            try:
                itself, found = folder.lstat(), folder.stat()
            except OSError:
                continue  # not there yet: it is made
            if stat.S_ISLNK(itself.st_mode) and itself.st_uid not in (os.geteuid(), 0):
                problem = "is a link made by another user"
                raise CompileError(str(folder), problem, f"inspect it, or {ELSEWHERE}")
            # With the sticky bit, as in /tmp, what is in a folder stays its owner's.
            guarded = folder != self.folder and found.st_mode & stat.S_ISVTX
            if found.st_mode & stat.S_IWOTH and not guarded:
                problem = "is writable by anyone, who could change a file after its check"
                raise CompileError(str(folder), problem, f"chmod o-w {folder}, or {ELSEWHERE}")

    @contextmanager
    def _locked(self, file: RemoteFile) -> Iterator[None]:
        """Let one process at a time download into the folder; the others wait, then find the file.

        The kernel frees the lock of a process that dies. Without locks of this kind (Windows, some
        network drives), two processes may spoil each other's part file, which the hash reveals.
        """
        path = self.folder / LOCK
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(parents=True, exist_ok=True, mode=0o775)
            handle = _open_lock(path)
        except OSError as error:
            if path.is_symlink():
                _refuse_odd(path, path.lstat())
            problem = f"cannot be written: {error.strerror}"
            raise CompileError(str(self.folder), problem, ELSEWHERE) from error
        try:
            _refuse_odd(path, os.fstat(handle))
            self._wait_for_lock(handle, file)
            with self._named_as_holder():
                yield
        finally:
            os.close(handle)

    def _wait_for_lock(self, handle: int, file: RemoteFile) -> None:
        """Take the lock, reporting which process holds it while waiting."""
        if sys.platform == "win32":
            return
        import fcntl

        with contextlib.suppress(OSError):  # no locks here: BlockingIOError is caught before
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self._holder() or "another process"
                log.warning(
                    "waiting for %s: %s is fetching into %s", file.name, holder, self.folder
                )
                fcntl.flock(handle, fcntl.LOCK_EX)

    @contextmanager
    def _named_as_holder(self) -> Iterator[None]:
        """Record which process downloads, for those that wait. A new file: no link is followed."""
        path = self.folder / HOLDER
        words = f"process {os.getpid()} on {socket.gethostname()}"
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(words)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _holder(self) -> str:
        """Return who holds the lock, or "" if unknown."""
        try:
            handle = os.open(self.folder / HOLDER, os.O_RDONLY | NO_LINK)
            with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
                return printable(" ".join(file.read(200).split()))  # not necessarily text
        except OSError:
            return ""


PART, LOCK, HOLDER = ".part", ".lock", ".holder"
ELSEWHERE = "set CCOMPILE_CACHE to another folder"
# Neither follow a link nor wait for the other end of a pipe. (Windows has neither flag.)
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _open_lock(path: Path) -> int:
    """Open the lock file as it is, or make one."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    except PermissionError:  # of another member of the group: to lock it, reading is enough
        return os.open(path, os.O_RDONLY | NO_LINK)


def _refuse_odd(path: Path, found: os.stat_result) -> None:
    """Refuse a link, pipe or device, and a file that has another name elsewhere."""
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        problem = "is not a regular file with a single name"
        raise CompileError(str(path), problem, f"inspect and remove it, or {ELSEWHERE}")


class _PassingError(Exception):
    """A failure that may be transient."""


def cache_folder() -> Path:
    """Return the folder for downloads: ``CCOMPILE_CACHE``, else the platform's user cache."""
    own = os.environ.get("CCOMPILE_CACHE")
    try:
        if own:
            return Path(own).expanduser()
        from platformdirs import user_cache_path

        folder = user_cache_path("connectome-compiler", appauthor=False)
    except RuntimeError as error:  # ~nobody
        problem = "there is no such home folder"
        raise CompileError(f"CCOMPILE_CACHE={own}", problem, ELSEWHERE) from error
    if not folder.is_absolute():
        problem = "this user has no home folder for downloads"
        raise CompileError("cache", problem, "set CCOMPILE_CACHE to a folder")
    return folder


def has_anything(folder: Path) -> bool:
    """Return whether any download into ``folder`` has finished or begun."""
    return folder.is_dir() and any(p.name not in (LOCK, HOLDER) for p in folder.iterdir())


def is_right(path: Path, file: RemoteFile) -> bool:
    """Return whether ``path`` has the published content."""
    try:
        return path.stat().st_size == file.n_bytes and sha256(path) == file.sha256
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CompileError(str(path), f"cannot be read: {error.strerror}", ELSEWHERE) from error


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _status(answer: object) -> str:
    code, reason = (getattr(answer, name, "") for name in ("status_code", "reason"))
    return f"{code} {reason}".strip()


def _unreachable(error: Exception) -> bool:
    """Return whether no connection was established: no name, no route, refused, or no proxy."""
    from requests.exceptions import ConnectTimeout, ProxyError
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, ConnectTimeout | ProxyError):
        return True
    # requests wraps urllib3's MaxRetryError, whose reason is what happened.
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), NewConnectionError)


def _stalled(error: Exception) -> bool:
    """Return whether the server timed out, before or during its answer."""
    from requests.exceptions import Timeout
    from urllib3.exceptions import ReadTimeoutError

    within = error.args[0] if error.args else None
    return isinstance(error, Timeout) or isinstance(within, ReadTimeoutError)


@contextmanager
def _in_time(source: Iterator[T], limit_s: float) -> Iterator[Iterator[T]]:
    """Yield what ``source`` yields; raise `_PassingError` if it takes longer than that for one.

    It runs in a thread, since a server that trickles single bytes never triggers a socket
    timeout. An abandoned thread ends with its connection, or with the process.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=8)
    left = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put((item, error), timeout=1)
                return True
        return False

    def work() -> None:
        with contextlib.closing(source):  # type: ignore[type-var]
            try:
                for item in source:
                    if not put(item, None):
                        return
                put(None, StopIteration())
            except BaseException as error:  # raised where the items are read
                put(None, error)

    def items() -> Iterator[T]:
        while True:
            try:
                item, error = waiting.get(timeout=limit_s)
            except queue.Empty:
                problem = f"fewer than {CHUNK:,} bytes were received in {limit_s:g} s"
                raise _PassingError(problem) from None
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    threading.Thread(target=work, daemon=True).start()
    try:
        yield items()
    finally:
        left.set()


@contextmanager
def _bar(file: RemoteFile, start: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error, if that is a terminal and the file is large."""
    show = sys.stderr.isatty() if wanted is None else wanted
    if not show or file.n_bytes < TRIFLE:
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(file.name, total=file.n_bytes, completed=start)
        yield lambda n: bars.advance(task, n)
