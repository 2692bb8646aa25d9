from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from web_server import Server

from connectome_compiler.data_adapters import _download
from connectome_compiler.data_adapters._download import (
    Downloader,
    RemoteFile,
    UnreachableError,
    cache_folder,
)
from connectome_compiler.errors import CompileError

BODY = bytes(range(256)) * 4096  # 1 MiB
FILE = RemoteFile("table.csv.gz", len(BODY), hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def at(server: Server) -> str:
    server.files[FILE.name] = BODY
    return f"{server.address}/{FILE.name}"


@pytest.fixture
def down(own_cache: Path) -> Downloader:
    return Downloader(own_cache, back_off_s=(0, 0, 0), connect_timeout_s=2, read_timeout_s=0.3)


def part(down: Downloader) -> Path:
    return Path(down.folder, FILE.name + ".part")


def test_fetches_once_and_then_finds_it_in_the_cache(
    down: Downloader, at: str, server: Server
) -> None:
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert len(server.requests) == 1
    assert not part(down).exists()


def test_resumes_where_an_earlier_run_stopped(down: Downloader, at: str, server: Server) -> None:
    down.folder.mkdir(parents=True)
    part(down).write_bytes(BODY[:1000])
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert [r for _, r in server.requests] == ["bytes=1000-"]


def test_begins_again_where_the_server_ignores_ranges(
    down: Downloader, at: str, server: Server
) -> None:
    server.knows_ranges = False
    down.folder.mkdir(parents=True)
    part(down).write_bytes(BODY[:1000])
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert len(server.requests) == 1


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * len(BODY), b"x" * (len(BODY) + 1)])
def test_a_stale_part_is_thrown_away_and_fetched_once_more(
    down: Downloader, at: str, server: Server, stale: bytes
) -> None:
    down.folder.mkdir(parents=True)
    part(down).write_bytes(stale)
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert server.requests[-1][1] == ""


@pytest.mark.parametrize("fault", ["cut", "503", "429", "500", "stall"])
def test_tries_again_after_a_hiccup(down: Downloader, at: str, server: Server, fault: str) -> None:
    server.faults = [fault]
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_cut_connection_is_resumed_not_repeated(
    down: Downloader, at: str, server: Server
) -> None:
    server.faults = ["cut"]
    down.fetch(FILE, at)
    assert server.requests[1][1].startswith("bytes=")


@pytest.mark.parametrize(
    ("fault", "problem", "n_requests"),
    [
        ("404", "404", 1),
        ("403", "403", 1),
        ("500", "500 Internal Server Error, 4 times in a row", 4),
        ("cut", "was lost, 4 times", 4),
        ("stall", "nothing was received for 0.3 s, 4 times", 4),
        ("short", f"is not the published file: {len(BODY) // 2:,} bytes", 1),
        ("altered", "is not the published file", 1),
    ],
)
def test_a_bad_answer_is_an_error_and_leaves_nothing_finished(
    down: Downloader, at: str, server: Server, fault: str, problem: str, n_requests: int
) -> None:
    server.faults, server.stuck = [fault], True
    with pytest.raises(CompileError, match=problem) as caught:
        down.fetch(FILE, at)
    assert caught.value.where == at
    assert not isinstance(caught.value, UnreachableError)
    assert len(server.requests) == n_requests
    assert not (down.folder / FILE.name).exists()
    if fault in ("short", "altered"):
        assert not part(down).exists()


def test_more_than_was_published_is_an_error(down: Downloader, at: str, server: Server) -> None:
    server.files[FILE.name] = BODY + b"more"
    with pytest.raises(CompileError, match="is not the published file"):
        down.fetch(FILE, at)


@pytest.mark.parametrize("address", ["refused", "http://no-such-host.invalid/x"])
def test_no_network_has_an_error_of_its_own(down: Downloader, nobody: str, address: str) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        down.fetch(FILE, nobody if address == "refused" else address)


def test_a_connect_timeout_is_no_network(
    down: Downloader, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*args: Any, **kwargs: Any) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "connect", slow)
    with pytest.raises(UnreachableError):
        down.fetch(FILE, at)


def test_ctrl_c_leaves_a_part_to_resume(
    down: Downloader, at: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Downloader._write

    def interrupted(self: Downloader, file: RemoteFile, chunks: Any, start: int) -> None:
        def broken() -> Any:
            yield next(chunks)
            raise KeyboardInterrupt

        real(self, file, broken(), start)

    monkeypatch.setattr(Downloader, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        down.fetch(FILE, at)
    assert not (down.folder / FILE.name).exists()
    assert part(down).read_bytes() == BODY[: _download.CHUNK]

    monkeypatch.undo()
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert server.requests[-1][1] == f"bytes={_download.CHUNK}-"


def test_an_altered_cached_file_is_fetched_again(
    down: Downloader, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = down.fetch(FILE, at)
    path.write_bytes(BODY[:-1] + b"x")
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert "is not the file that was published" in caplog.text


def test_an_altered_cached_file_offline_is_an_error_that_says_which(
    down: Downloader, at: str, nobody: str
) -> None:
    path = down.fetch(FILE, at)
    path.write_bytes(b"x")
    with pytest.raises(CompileError, match="was altered") as caught:
        down.fetch(FILE, nobody)
    assert caught.value.hint == f"delete {path}"
    assert not isinstance(caught.value, UnreachableError)


def test_a_full_disk_names_folder_and_size(
    down: Downloader, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda folder: shutil._ntuple_diskusage(10, 10, 0),
    )
    with pytest.raises(CompileError, match=f"disk is full.*{len(BODY):,} bytes") as caught:
        down.fetch(FILE, at)
    assert caught.value.where == str(down.folder)


def test_a_disk_that_fills_up_while_writing(
    down: Downloader, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fdopen = os.fdopen

    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(handle: int, mode: str = "r", **options: Any) -> Any:
        return Full(handle, "ab") if mode == "ab" else fdopen(handle, mode, **options)

    monkeypatch.setattr(_download.os, "fdopen", opened)
    with pytest.raises(CompileError, match="disk is full"):
        down.fetch(FILE, at)
    assert not (down.folder / FILE.name).exists()


def test_closing_a_part_has_nothing_left_to_write(down: Downloader) -> None:
    down.folder.mkdir(parents=True)
    for start, content in ((0, b"ab"), (2, b"abab")):
        with down._open_part(FILE, start) as out:
            assert out.write(b"ab") == 2
            assert part(down).read_bytes() == content


def test_an_unwritable_cache_is_an_error(tmp_path: Path, at: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CompileError, match="cannot be written") as caught:
        Downloader(tmp_path / "file" / "cache").fetch(FILE, at)
    assert "CCOMPILE_CACHE" in caught.value.hint


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_with_the_file_serves_it(down: Downloader, at: str) -> None:
    path = down.fetch(FILE, at)
    down.folder.chmod(0o500)
    try:
        assert down.fetch(FILE, "http://nowhere.invalid") == path
    finally:
        down.folder.chmod(0o700)


def test_two_at_once_download_once(down: Downloader, at: str, server: Server) -> None:
    server.faults, server.stuck = ["slow"], True
    patient = replace(down, read_timeout_s=5)
    threads = [threading.Thread(target=patient.fetch, args=(FILE, at)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (down.folder / FILE.name).read_bytes() == BODY
    assert len(server.requests) == 1


def test_shows_nothing_where_standard_error_is_no_terminal(
    down: Downloader, at: str, capfd: pytest.CaptureFixture[str]
) -> None:
    down.fetch(FILE, at)
    assert capfd.readouterr() == ("", "")


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CCOMPILE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CCOMPILE_CACHE")
    assert cache_folder().name == "connectome-compiler"


def test_waits_longer_each_time(
    own_cache: Path, at: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(_download.time, "sleep", waits.append)
    server.faults, server.stuck = ["503"], True
    with pytest.raises(CompileError):
        Downloader(own_cache).fetch(FILE, at)
    assert waits == [1, 2, 4]


# --- what others may have put into the cache, or send ------------------------------------------


@pytest.mark.parametrize("name", [".lock", FILE.name + ".part"])
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_what_is_no_file_of_the_cache_is_refused_and_left_alone(
    name: str, kind: str, down: Downloader, at: str, tmp_path: Path
) -> None:
    mine = tmp_path / "thesis.tex"
    mine.write_bytes(b"years of work")
    down.folder.mkdir(parents=True)
    trap = down.folder / name
    if kind == "link":
        trap.symlink_to(mine)
    elif kind == "hard link":
        trap.hardlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(trap)
    else:
        trap.mkdir()
    with pytest.raises(CompileError):
        down.fetch(FILE, at)
    assert mine.read_bytes() == b"years of work"
    assert os.path.lexists(trap)


def test_a_lock_with_content_keeps_it(down: Downloader, at: str) -> None:
    down.folder.mkdir(parents=True)
    (down.folder / ".lock").write_text("mine")
    down.fetch(FILE, at)
    assert (down.folder / ".lock").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_anyone_may_write_is_refused(down: Downloader, at: str) -> None:
    down.folder.mkdir(parents=True)
    for mode in (0o777, 0o1777):
        down.folder.chmod(mode)
        with pytest.raises(CompileError, match="is writable by anyone") as caught:
            down.fetch(FILE, at)
        assert f"chmod o-w {down.folder}" in caught.value.hint
    down.folder.chmod(0o2775)  # a lab's
    assert down.fetch(FILE, at).read_bytes() == BODY
    down.folder.chmod(0o777)  # nor is it read
    with pytest.raises(CompileError, match="is writable by anyone"):
        down.fetch(FILE, at)
    down.folder.chmod(0o755)
    down.folder.parent.chmod(0o777)
    with pytest.raises(CompileError, match="is writable by anyone"):
        down.fetch(FILE, at)
    down.folder.parent.chmod(0o1777)
    assert down.fetch(FILE, at).read_bytes() == BODY


def test_a_link_of_ones_own_to_another_disk_is_fine(
    down: Downloader, at: str, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    down.folder.symlink_to(tmp_path / "disk")
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert (tmp_path / "disk" / FILE.name).read_bytes() == BODY


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can make one")
def test_a_link_of_another_user_is_refused(down: Downloader, at: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    down.folder.symlink_to(tmp_path / "disk")
    os.lchown(down.folder, 12345, 12345)
    with pytest.raises(CompileError, match="a link made by another user"):
        down.fetch(FILE, at)


@pytest.mark.parametrize("fault", ["drip", "drip-head"])
def test_a_server_that_drips_is_too_slow(
    fault: str, own_cache: Path, at: str, server: Server
) -> None:
    server.faults, server.stuck = [fault], True
    start = time.monotonic()
    with pytest.raises(
        CompileError, match=r"fewer than 16,384 bytes were received in 0.3 s, 2 times"
    ) as e:
        Downloader(own_cache, back_off_s=(0,), read_timeout_s=5, slowest_s=0.3).fetch(FILE, at)
    assert time.monotonic() - start < 5
    assert e.value.hint == "try again later"
    assert not (own_cache / FILE.name).exists()


def test_an_endless_answer_is_cut_at_the_stated_size(
    down: Downloader, at: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    real: Callable[[Path], str] = _download.sha256

    def looked_at(path: Path) -> str:
        written.append(path.stat().st_size)
        return real(path)

    monkeypatch.setattr(_download, "sha256", looked_at)
    server.faults, server.stuck = ["endless"], True
    with pytest.raises(CompileError, match="is not the published file"):
        down.fetch(FILE, at)
    assert written == [len(BODY) + 1]
    assert server.n_sent < 1 << 25  # what the network held
    assert not part(down).exists()


@pytest.mark.parametrize("place", ["http://[::bad", "http://", "file:///etc/passwd", "gopher://x"])
def test_a_redirect_to_nowhere(place: str, down: Downloader, at: str, server: Server) -> None:
    server.faults, server.stuck = [f"to {place}"], True
    with pytest.raises(CompileError) as caught:
        down.fetch(FILE, at)
    assert caught.value.where == at
    assert not (down.folder / FILE.name).exists()


HOLD = """
import fcntl, os, sys
from pathlib import Path
from connectome_compiler.data_adapters._download import Downloader, RemoteFile
down, file = Downloader(Path(sys.argv[1])), RemoteFile("x", 1, "")
with down._locked(file):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_who_waits_says_for_whom(
    down: Downloader, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, down.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        threading.Timer(0.3, other.stdin.close).start()
        assert down.fetch(FILE, at).read_bytes() == BODY
    assert f"waiting for {FILE.name}: process {other.pid} on " in caplog.text
    assert sorted(p.name for p in down.folder.iterdir()) == [".lock", FILE.name]


def test_what_others_write_of_themselves_is_safe_to_print(down: Downloader) -> None:
    down.folder.mkdir(parents=True)
    (down.folder / ".holder").write_bytes(b"\x1b]0;owned\x07\nError: \xff" + b"x" * 1000)
    assert down._holder().startswith("\\x1b]0;owned\\x07 Error: \N{REPLACEMENT CHARACTER}x")
    assert len(down._holder()) < 220
    (down.folder / ".holder").unlink()
    os.mkfifo(down.folder / ".holder")
    assert down._holder() == ""


def test_a_lock_whose_holder_was_killed_is_free(down: Downloader, at: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, down.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        other.kill()
    assert down.fetch(FILE, at).read_bytes() == BODY
    assert sorted(p.name for p in down.folder.iterdir()) == [".lock", FILE.name]


@pytest.mark.parametrize(
    ("cache", "problem"),
    [("~no-such-user/x", "no such home folder"), ("file", "cannot be written")],
)
def test_a_cache_that_cannot_be(
    cache: str, problem: str, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CCOMPILE_CACHE", cache)
    with pytest.raises(CompileError, match=problem) as caught:
        Downloader(cache_folder() / "v1").fetch(FILE, at)
    assert "CCOMPILE_CACHE" in caught.value.hint


def test_an_empty_or_relative_cache(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCOMPILE_CACHE", "")
    assert cache_folder().name == "connectome-compiler"
    monkeypatch.setenv("CCOMPILE_CACHE", "here")
    assert Downloader(cache_folder() / "v1").fetch(FILE, at).read_bytes() == BODY
    assert (tmp_path / "here" / "v1" / FILE.name).exists()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CCOMPILE_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *a, **k: Path("~/.cache/x"))
    with pytest.raises(CompileError, match="no home folder"):
        cache_folder()
