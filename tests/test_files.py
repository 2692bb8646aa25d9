"""Locks, drafts and scratch folders: what the dead leave goes; what lives or is not ours stays."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kills import deaths

from connectome_compiler import files
from connectome_compiler.errors import CompileError

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


def test_one_writer_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    order = []

    def second() -> None:
        with files.locked(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with files.locked(tmp_path) as folder:
        assert folder.alone
        thread.start()
        time.sleep(1.5)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert "waiting for another process that writes there" in caplog.text


def test_the_wait_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.1)
    with (
        files.locked(tmp_path),
        pytest.raises(CompileError, match="another process has been writing there"),
        files.locked(tmp_path),
    ):
        pass


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
