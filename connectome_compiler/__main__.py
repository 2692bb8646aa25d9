"""Start and end of ``ccompile``: signals, streams and temporary files of its process.

Light, so that Ctrl-C gives no traceback while the rest is imported. Nothing here is for use inside
another program: the process belongs to the command.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
ECHO_S = 1.0  # signals in quick succession are one: a closing terminal sends several


def main() -> None:
    """Run the command and end the process, with its exit code and without leftovers."""
    interrupts = Interrupts()
    _open_streams()
    stack = contextlib.ExitStack()
    code: str | int | None = 1
    try:
        _own_folder(stack)
        interrupts.unmute()
        from connectome_compiler.cli import main as command

        command(prog_name="ccompile")
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:  # before the command could say so itself
        print("Error: interrupted", file=sys.stderr)
    except MemoryError:
        print("Error: not enough memory to start", file=sys.stderr)
    finally:
        interrupts.muted = True
        interrupts.ignore()  # all is done: signals from here on come too late
        stack.close()
        _flush()
    sys.exit(code)


class Interrupts:
    """Ctrl-C, a closed terminal and a batch system's SIGTERM, as one `KeyboardInterrupt`.

    A signal that was ignored when the process started stays ignored: under ``nohup``, or with
    ``&`` in a script.
    """

    def __init__(self) -> None:
        self.muted, self.waits, self.last = True, False, -ECHO_S
        self.heard = [n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
        for number in self.heard:
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise, unless a signal came just before or there is nothing to stop."""
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
        """Ignore them all, also during interpreter shutdown."""
        for number in self.heard:
            signal.signal(number, signal.SIG_IGN)


def _open_streams() -> None:
    """Replace closed standard streams by the null device, and let each accept any character.

    Otherwise a file opened later would get the stream's descriptor, and everything that libraries
    print. Writing to a closed standard output, which has the results, stays an error.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free
    if sys.stderr is None:  # code that writes there may rely on it
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Discard what cannot be written: the interpreter would fail on it again at exit."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _own_folder(stack: contextlib.ExitStack) -> None:
    """Make a folder for every temporary file of this process, of torch and of the check.

    It is removed with ``stack``; if the process is killed, by the next one. If it cannot be made,
    the code that needs a temporary file reports it.
    """
    from connectome_compiler.files import scratch

    with contextlib.suppress(OSError):
        folder = str(stack.enter_context(scratch(Path(tempfile.gettempdir()))))
        tempfile.tempdir = folder
        os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder))


if __name__ == "__main__":
    main()
