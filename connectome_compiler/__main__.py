"""Where ``ccompile`` begins and ends: signals, streams and temporary files of its process.

Light, so that Ctrl-C meets no traceback while the rest is imported. Nothing here is for use inside
another program: the process belongs to the command.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
ECHO_S = 1.0  # a signal so soon after another is the same wish: a closing terminal sends several
PREFIX = "ccompile."  # of the folder for temporary files
LOCK = "in-use"  # a file in it, locked by the process that the folder belongs to


def main() -> None:
    """Run the command and end the process, with its exit code and without leftovers."""
    interrupts = Interrupts()
    _open_streams()
    folder = _own_folder()
    code: str | int | None = 1
    try:
        interrupts.unmute()
        from connectome_compiler.cli import main as command

        command(prog_name="ccompile")
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:  # before the command could say so itself
        print("Error: interrupted", file=sys.stderr)
    except MemoryError:
        print("Error: there is not enough memory to start", file=sys.stderr)
    finally:
        interrupts.muted = True
        interrupts.ignore()  # all is done: what comes now, comes too late to stop it
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        _flush()
    sys.exit(code)


class Interrupts:
    """Ctrl-C, a closed terminal and a batch system's SIGTERM, as one `KeyboardInterrupt`.

    A signal that was ignored when the process began stays so: under ``nohup``, or behind a ``&``
    in a script.
    """

    def __init__(self) -> None:
        self.muted, self.waits, self.last = True, False, -ECHO_S
        self.heard = [n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
        for number in self.heard:
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise, unless a signal came a moment ago or there is nothing to stop."""
        now = time.monotonic()
        again, self.last = now - self.last < ECHO_S, now
        self.waits = self.muted
        if not (self.muted or again):
            raise KeyboardInterrupt

    def unmute(self) -> None:
        """Raise from here on, and at once if a signal came meanwhile."""
        self.muted = False
        if self.waits:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Ignore them all, while the interpreter ends as well."""
        for number in self.heard:
            signal.signal(number, signal.SIG_IGN)


def _open_streams() -> None:
    """Put nothing where a standard stream is closed, and let each take any character.

    A file opened later would get the stream's number, and all that libraries print. Writing to
    what was closed stays an error for standard output, which has the results.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free
    if sys.stderr is None:  # whoever writes there may rely on it
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Give up what cannot be written: the interpreter would fail in it again."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _own_folder() -> Path | None:
    """Make a folder for every temporary file of this process, of torch and of the check.

    It is removed at the end; where the process is killed, by the next one. Return None where none
    can be made: whoever needs a temporary file says so.
    """
    try:
        base = Path(tempfile.gettempdir())
        _sweep(base)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    except OSError:
        return None
    with contextlib.suppress(OSError, ImportError):  # without locks (Windows) nobody sweeps
        import fcntl

        handle = os.open(folder / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)  # until the process ends, however it does
        (folder / "new").rename(folder / LOCK)
    tempfile.tempdir = str(folder)
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)))
    return folder


def _sweep(base: Path) -> None:
    """Remove the folders of processes of this user that were killed."""
    try:
        import fcntl
    except ImportError:
        return
    for entry in os.scandir(base):
        with contextlib.suppress(OSError):
            if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            lock = os.open(Path(entry.path, LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
            finally:
                os.close(lock)


if __name__ == "__main__":
    main()
