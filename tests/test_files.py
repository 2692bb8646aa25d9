"""Locks, drafts and scratch folders: what the dead leave goes; what lives or is not ours stays."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_modules import fake
from kills import deaths

from connectome_compiler import files
from connectome_compiler.errors import CompileError

NOBODY = 65534
DRAFT = f".ccompile-{'0' * 16}"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_with_the_rights_of_others(tmp_path: Path) -> None:
    files.write(tmp_path / "ours", b"one")
    (tmp_path / "theirs").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode
    assert names(tmp_path) == ["ours", "theirs"]


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old" * 100)
    found = []
    for _ in deaths(lambda: files.write(path, b"new" * 100)):
        found.append(path.read_bytes())
        assert found[-1] in (b"old" * 100, b"new" * 100)
        assert len(names(tmp_path)) <= 2  # drafts of earlier deaths are gone
        path.write_bytes(b"old" * 100)
    assert names(tmp_path) == ["file"]
    assert len(set(found)) == 2


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with files.locked(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with files.locked(tmp_path) as folder:
        assert folder.alone
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder as ``flock FOLDER command`` does, and anybody who may read it."""
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


def test_who_holds_a_folder_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / DRAFT).write_bytes(b"of a writer, maybe")
    began = time.monotonic()
    with held(tmp_path):
        files.write(tmp_path / "file", b"new")
    assert time.monotonic() - began < 10
    assert names(tmp_path) == [DRAFT, "file"]
    who = f"process {os.getpid()}" if sys.platform == "linux" else "another process"
    assert f"{tmp_path}: locked by {who}; continuing without the lock" in caplog.text


DATA = b"arrays"
ARRAYS = f"net-{hashlib.sha256(DATA).hexdigest()[:12]}.bin"


@pytest.mark.parametrize("stands", [True, False])
def test_what_a_writer_beside_others_relies_on_is_not_swept(stands: bool, tmp_path: Path) -> None:
    if stands:
        (tmp_path / ARRAYS).write_bytes(DATA)
    with contextlib.ExitStack() as stack:
        with held(tmp_path):
            writer = stack.enter_context(files.locked(tmp_path))
        draft = writer._draft(b"half a module")
        writer.add(ARRAYS, DATA)
        with files.locked(tmp_path) as sweeper:
            assert (writer.alone, sweeper.alone) == (False, True)
            sweeper.remove(tmp_path / ARRAYS)
        assert draft.exists()
        assert (tmp_path / ARRAYS).read_bytes() == DATA
    with files.locked(tmp_path) as sweeper:  # nobody relies on them any more
        sweeper.remove(tmp_path / ARRAYS)
    assert names(tmp_path) == []


@pytest.mark.parametrize("named", [True, False])
def test_a_writer_finds_a_file_that_is_being_swept_or_writes_it_anew(
    named: bool, tmp_path: Path
) -> None:
    (tmp_path / ARRAYS).write_bytes(DATA)

    def write() -> None:
        with files.locked(tmp_path) as writer:
            writer.add(ARRAYS, DATA)
            assert (tmp_path / ARRAYS).read_bytes() == DATA
            writer.swap("net", b"")
        done.append(writer.alone)

    def look(path: Path) -> bool:
        thread.start()
        time.sleep(files.PATIENCE_S + 0.3)  # by now the other one goes on, and meets the sweeper
        return named

    thread, done = threading.Thread(target=write), list[bool]()
    with files.locked(tmp_path, look) as sweeper:
        sweeper.remove(tmp_path / ARRAYS)
        thread.join()
    assert done == [False]
    assert names(tmp_path) == sorted([ARRAYS, "net"])
    assert (tmp_path / ARRAYS).read_bytes() == DATA


def test_a_writer_that_fails_takes_nothing_back_that_another_relies_on(tmp_path: Path) -> None:
    def fail(*others: files.Folder) -> None:
        with files.locked(tmp_path) as writer:
            for each in (writer, *others):
                each.add(ARRAYS, DATA)
            raise RuntimeError("on purpose")

    with held(tmp_path), pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == [ARRAYS]
    (tmp_path / ARRAYS).unlink()
    with contextlib.ExitStack() as stack:
        with held(tmp_path):
            other = stack.enter_context(files.locked(tmp_path))
        with pytest.raises(RuntimeError):
            fail(other)
        assert names(tmp_path) == [ARRAYS]
    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == [ARRAYS]  # which stood there before


def test_a_kill_of_a_writer_beside_others_leaves_the_old_module_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    out, (old, new) = tmp_path / "net.py", (fake(DATA * k) for k in (1, 2))
    old.write(out)
    found = []
    with held(tmp_path):
        for _ in deaths(lambda: new.write(out)):
            text = out.read_text()
            found.append(next(m for m in (old, new) if text.startswith(m.source.rstrip())))
            for name, data in found[-1].contents("net.py").items():
                assert (tmp_path / name).read_bytes() == data
            old.write(out)
    assert old in found
    assert new in found
    for k in range(2):  # what the dead left goes with the next that are alone
        fake(None, f"# {k}").write(out)
    assert names(tmp_path) == ["net.py"]


def test_where_files_cannot_be_linked_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # FAT

    monkeypatch.setattr(os, "link", unsupported)
    with files.locked(tmp_path) as folder:
        folder.add(ARRAYS, DATA)
        folder.swap("net", b"")
    assert names(tmp_path) == sorted([ARRAYS, "net"])


def test_a_folder_that_cannot_be_read_is_written_to() -> None:
    base = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        base.chmod(0o755)
        folder = base / "drop"
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o333)
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:  # who may read everything
                    os.setuid(NOBODY)
                for k in (1, 2):
                    fake(b"arrays", f"# {k}").write(folder / "net.py")
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        folder.chmod(0o755)
        assert len(names(folder)) == 2
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize(
    ("code", "help_"),
    [
        (errno.EACCES, "change its permissions"),
        (errno.EPERM, "change its permissions"),
        (errno.EROFS, "change its permissions"),
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
    ],
)
def test_a_hint_fits_what_went_wrong(
    code: int, help_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(CompileError) as raised:
        fake(None).write(tmp_path / "net.py")
    assert raised.value.hint == f"choose another --out, or {help_}"


HOLDER = """
import sys, time
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from connectome_compiler import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    home = str(Path(files.__file__).parents[1])
    command = [sys.executable, "-c", HOLDER, str(tmp_path), home]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        began = time.monotonic()
        files.write(tmp_path / "file", b"")
        assert time.monotonic() - began < 5
    assert names(tmp_path) == ["file"]


def test_a_folder_that_its_holder_takes_away_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    thread = threading.Thread(target=lambda: files.write(folder / "file", b"second"))

    def fail() -> None:
        with files.locked(folder):
            thread.start()
            time.sleep(0.2)
            raise RuntimeError("the first writer fails")

    with pytest.raises(RuntimeError):
        fail()
    thread.join()
    assert (folder / "file").read_bytes() == b"second"


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / DRAFT).write_bytes(b"another's, at work")
    (tmp_path / DRAFT[1:]).mkdir()
    files.write(tmp_path / "file", b"")
    with files.scratch(tmp_path):
        pass
    assert names(tmp_path) == [DRAFT, DRAFT[1:], "file"]


def test_a_draft_of_somebody_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / DRAFT).write_bytes(b"theirs")
    monkeypatch.setattr(files, "_user", lambda: os.geteuid() + 1)
    files.write(tmp_path / "file", b"")
    assert names(tmp_path) == [DRAFT, "file"]


# --- scratch folders ------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [True, False])
def test_scratch_of_the_dead_goes_and_of_the_living_stays(hidden: bool, tmp_path: Path) -> None:
    mine = tmp_path / ("." * hidden + "ccompile-of-mine")
    mine.mkdir()
    with files.scratch(tmp_path, hidden=hidden) as living:
        (living / "file").write_bytes(b"")
        dead = living.with_name(living.name[:-16] + "0" * 16)
        dead.mkdir()
        (dead / "model.py").write_bytes(b"")
        link = living.with_name(living.name[:-16] + "1" * 16)
        link.symlink_to(mine)
        with files.scratch(tmp_path, hidden=hidden) as other:
            assert other.stat().st_mode & 0o777 == 0o700
            assert not dead.exists()
        assert (living / "file").exists()
        assert not other.exists()
    assert names(tmp_path) == sorted([mine.name, link.name])


@pytest.mark.parametrize("hidden", [True, False])
def test_scratch_of_a_process_killed_at_any_call_goes(hidden: bool, tmp_path: Path) -> None:
    def work() -> None:
        with files.scratch(tmp_path / "deep", hidden=hidden) as folder:
            files.write(folder / "sub" / "file", b"12")

    left = []
    for _ in deaths(work):
        left += names(tmp_path / "deep") if (tmp_path / "deep").exists() else []
        with files.scratch(tmp_path / "deep", hidden=hidden) as folder:
            assert names(tmp_path / "deep") == [folder.name]
    assert left


def test_scratch_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.scratch(tmp_path / "a" / "b"):
        raise RuntimeError("on purpose")
    assert names(tmp_path) == []
