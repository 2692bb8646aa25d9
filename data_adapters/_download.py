"""Fetch a published file into the cache: resumed after an interruption, checked before use.

A file has its own name only when its size and sha256 are right; until then it is ``NAME.part``. So
an interrupted, short or altered download never looks like a finished one.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectome_compiler.errors import CompileError

log = logging.getLogger(__name__)

CHUNK = 1 << 18  # bytes
BACK_OFF_S = (1.0, 2.0, 4.0)  # waits before the second, third and fourth attempt
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0  # without a byte; a slow transfer may take as long as it likes
PASSING = {429, 500, 502, 503, 504}  # statuses that may be gone a moment later


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file: its name, and by what its content is known."""

    name: str
    n_bytes: int
    sha256: str
    n_rows: int = 0  # of the table; 0: not stated


class UnreachableError(CompileError):
    """Not a single byte could be had: no network, no such host, nobody listening."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches files into ``folder``. The waits are options so that tests need not wait."""

    folder: Path
    back_off_s: Sequence[float] = BACK_OFF_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    progress: bool | None = None  # None: when standard error is a terminal

    def fetch(self, file: RemoteFile, address: str) -> Path:
        """Return the checked file, from the cache or else from ``address``.

        Raises `UnreachableError` if the server cannot be reached at all, `CompileError` for all
        that is wrong with its answer, with the cache folder or with the disk.
        """
        target = self.folder / file.name
        if is_right(target, file):
            return target
        with self._locked():
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
                problem = "was altered after its download, and the network is out of reach"
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
            # The pieces may come from different states of the server: once more, in one.
        problem = f"the download is not the published file: {found}"
        expected = f"expected {file.n_bytes:,} bytes, sha256 {file.sha256[:16]}"
        hint = "the publisher changed it, or something on the way did; nothing was kept"
        raise CompileError(address, f"{problem}, {expected}", hint)

    def _complete(self, file: RemoteFile, address: str) -> bool:
        """Append to the part file until the server has no more; try again after hiccups.

        Return whether the file was pieced together from several answers.
        """
        part = self._part(file)
        start = resumed = part.stat().st_size if part.exists() else 0
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
                start = part.stat().st_size if part.exists() else 0
            except UnreachableError as error:
                if attempt == 0:
                    raise
                raise CompileError(address, f"{error.problem}, after it was there") from error
            else:
                return bool(resumed or attempt)
        return True

    def _request(self, file: RemoteFile, address: str, start: int) -> None:
        """Append what one request yields; raise `_PassingError` if it stopped early."""
        import requests

        # "identity": a server must not unpack what is published packed.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        timeout = (self.connect_timeout_s, self.read_timeout_s)
        try:
            with requests.get(address, headers=headers, timeout=timeout, stream=True) as answer:
                if answer.status_code in PASSING:
                    raise _PassingError(f"the server answers {_status(answer)}")
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    return  # nothing after the part: size and hash will tell
                if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
                    hint = "check the address, or read files of your own with source=files"
                    raise CompileError(address, f"the server answers {_status(answer)}", hint)
                if answer.status_code == requests.codes.ok:
                    start = 0  # the server ignores ranges: begin again
                self._write(file, answer.iter_content(CHUNK), start)
                # With a stated length a cut is an error by itself.
                if "Content-Length" not in answer.headers and not self._is_long_enough(file):
                    raise _PassingError("the connection broke off")
        except requests.exceptions.SSLError as error:
            problem = f"no trusted connection: {error}"
            raise CompileError(address, problem, "a proxy or firewall may stand between") from error
        except requests.exceptions.RequestException as error:
            if _unreachable(error):
                raise UnreachableError(
                    address, "cannot be reached", "check the network connection"
                ) from error
            if _stalled(error):
                problem = f"nothing came for {self.read_timeout_s:g} s"
                raise _PassingError(problem) from error
            broken = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)
            if isinstance(error, broken):
                raise _PassingError("the connection broke off") from error
            raise CompileError(address, f"cannot be fetched: {error}") from error

    def _write(self, file: RemoteFile, chunks: Iterator[bytes], start: int) -> None:
        """Append to the part file from byte ``start`` on."""
        with self._disk(file):
            if (free := shutil.disk_usage(self.folder).free) < file.n_bytes - start:
                raise OSError(errno.ENOSPC, f"{free:,} bytes are free")
            # Unbuffered, so that closing has nothing left to write, on a full disk neither.
            out = self._part(file).open("r+b" if start else "wb", buffering=0)
        with out, _bar(file, start, self.progress) as advance:
            out.seek(start)
            for chunk in chunks:
                left = memoryview(chunk)
                while left:
                    with self._disk(file):
                        left = left[out.write(left) :]
                if out.tell() > file.n_bytes:
                    return  # too long: the check refuses it without filling the disk
                advance(len(chunk))

    def _is_long_enough(self, file: RemoteFile) -> bool:
        return self._part(file).stat().st_size >= file.n_bytes

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

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time fetch into the folder; the others wait, then find the file.

        The kernel frees the lock of a process that dies. Without locks of this kind (Windows), two
        processes may spoil each other's part file, which the hash then reveals.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / LOCK).open("wb")
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
            raise CompileError(str(self.folder), problem, ELSEWHERE) from error
        with file:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield


PART, LOCK = ".part", ".lock"
ELSEWHERE = "point CCOMPILE_CACHE to another folder"


class _PassingError(Exception):
    """What may go well a moment later."""


def cache_folder() -> Path:
    """Return the folder for downloads: ``CCOMPILE_CACHE``, else the platform's user cache."""
    if own := os.environ.get("CCOMPILE_CACHE"):
        return Path(own).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("connectome-compiler", appauthor=False)


def has_anything(folder: Path) -> bool:
    """Return whether any download into ``folder`` has finished or begun."""
    return folder.is_dir() and any(p.name != LOCK for p in folder.iterdir())


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
    """Return whether no connection came about: no name, no route, refused, or no proxy."""
    from requests.exceptions import ConnectTimeout, ProxyError
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, ConnectTimeout | ProxyError):
        return True
    # requests wraps urllib3's MaxRetryError, whose reason is what happened.
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), NewConnectionError)


def _stalled(error: Exception) -> bool:
    """Return whether the server was silent for too long, before or within its answer."""
    from requests.exceptions import Timeout
    from urllib3.exceptions import ReadTimeoutError

    within = error.args[0] if error.args else None
    return isinstance(error, Timeout) or isinstance(within, ReadTimeoutError)


@contextmanager
def _bar(file: RemoteFile, start: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error, if that is a terminal and the file is not a trifle."""
    show = sys.stderr.isatty() if wanted is None else wanted
    if not show or file.n_bytes < CHUNK:
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
