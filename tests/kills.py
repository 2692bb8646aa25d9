"""Processes that die at each of their calls to the file system: ``from kills import deaths``."""

import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

# Audited by Python itself, whoever calls: a call that is not traced would be one untested.
AUDITED = {
    *("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"),
    *("os.listdir", "os.scandir", "os.chmod", "os.truncate", "fcntl.flock", "shutil.rmtree"),
}


def deaths(work: Callable[[], object]) -> Iterator[int]:
    """Do ``work`` in children that die at their first, second, third call ... until one lives.

    Between them the caller looks at what is left. Writes are cut in halves, so that one can die in
    the middle of a file.
    """
    for n in itertools.count(1):
        if not _dies(work, n):
            return
        yield n


def _dies(work: Callable[[], object], last: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            _die_at(last)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _die_at(last: int) -> None:
    """Kill this process just before its call number ``last``."""
    left = [last]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, _: object) -> None:
        if event in AUDITED:
            count()

    real = os.write

    def write(handle: int, data: bytes | memoryview) -> int:
        count()
        return real(handle, data[: (len(data) + 1) // 2] if len(data) > 64 else data)

    def traced(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object) -> object:
            count()
            return call(*args)

        return counted

    os.write = write  # type: ignore[assignment]
    os.fsync, os.close = traced(os.fsync), traced(os.close)  # type: ignore[assignment]
    sys.addaudithook(audit)
