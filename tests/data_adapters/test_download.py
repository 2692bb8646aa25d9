from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
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
        ("cut", "broke off, 4 times", 4),
        ("stall", "nothing came for 0.3 s, 4 times", 4),
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_writing(down: Downloader, at: str) -> None:
    down.folder.mkdir(parents=True)
    part(down).symlink_to("/dev/full")
    with pytest.raises(CompileError, match="disk is full"):
        down.fetch(FILE, at)
    assert not (down.folder / FILE.name).exists()


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
