"""A fresh process to check a module in: it ends with its parent, and leaves no files behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from connectome_compiler.errors import says_no_memory

MOST_SAID = 1 << 20  # bytes read of what the process printed, from the end


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process ended, and the last that it printed."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line on standard error: of a traceback, the exception."""
        return (self.err.strip().splitlines() or [""])[-1]

    @property
    def trouble(self) -> tuple[str, str] | None:
        """What kept the process from its work, and a hint, where that is not the module's fault."""
        leave_out = "a build without it: --no-verify"
        if says_no_memory(self.err) or "MemoryError" in self.last_words:
            return "there is not enough memory", f"close other programs; {leave_out}"
        if self.code == -getattr(signal, "SIGKILL", 9):
            problem = "its process was killed, as systems do that run out of memory"
            return problem, f"close other programs; {leave_out}"
        if self.code < 0:
            problem = f"its process was ended by {signal.Signals(-self.code).name}"
            return problem, f"run it again, with more memory if it is short; {leave_out}"
        if self.last_words.startswith(("ModuleNotFoundError: ", "ImportError: ")):
            return f"cannot run: {self.last_words}", f"install what is missing; {leave_out}"
        return None


def run_fresh(command: Sequence[str], word: str) -> Ended:
    """Run ``command``, which calls `tied_to_parent`, and return how it ended.

    Its standard input stays open for as long as this process waits, and is how it learns of our
    end, whatever ends us. Its temporary files lie in a folder that is removed afterwards.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ccompile-") as folder,
        Path(folder, "stdout").open("w+b") as out,
        Path(folder, "stderr").open("w+b") as err,
    ):
        with subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=_environment(folder),
        ) as process:
            try:
                if process.stdin:
                    with contextlib.suppress(BrokenPipeError):  # it has ended: its code tells
                        process.stdin.write(f"{word}\n".encode())
                code = process.wait()
            finally:
                process.kill()
        return Ended(code, _tail(out), _tail(err))


def tied_to_parent() -> str:
    """Return the word on standard input, and end this process as soon as its parent has gone.

    Read byte by byte: Python's own reader would hold a lock at the interpreter's end.
    """
    word = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        word += byte
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return word.decode()


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):  # the module closed it: then only the parent can end us
        while os.read(0, 1024):
            pass
        os._exit(1)


def _tail(file: IO[bytes]) -> str:
    """Return the end of what was written to ``file``."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_SAID))
    return file.read().decode(errors="replace")


def _environment(folder: str) -> dict[str, str]:
    """Return the environment of the fresh process, in which the compiler itself can be found."""
    home = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    # One thread: the layers are small, and a build must not take a shared machine. Docstrings are
    # there whatever the parent does without (-OO): the header is one of the things checked.
    return {
        **kept,
        "PYTHONPATH": home if not path else f"{home}{os.pathsep}{path}",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder),
    }
