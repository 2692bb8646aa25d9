"""A web server on this machine, an empty cache, and made files in the shape of a release."""

from __future__ import annotations

import gzip
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from web_server import Server, serving

from connectome_compiler.data_adapters import microns_release as release_module
from connectome_compiler.data_adapters._download import RemoteFile


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache, no proxy, and no waits."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("CCOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return tmp_path / "cache"


Publish = Callable[..., Server]


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return a function that makes tables version 1507 of the release, on the test's server.

    Each table is its columns and its rows of text.
    """

    def make(**tables: tuple[list[str], list[list[str]]]) -> Server:
        published = {}
        for role, name in NAMES.items():
            columns, rows = tables[role]
            text = "".join(",".join(row) + "\n" for row in rows)
            table = f"{name}.csv.gz", gzip.compress(text.encode(), mtime=0)
            header = f"{name}_header.csv", "".join(f"{c},text\n" for c in columns).encode()
            server.files |= dict((table, header))
            published[role] = release_module.Published(
                *(
                    RemoteFile(n, len(body), hashlib.sha256(body).hexdigest(), n_rows)
                    for (n, body), n_rows in ((table, len(rows)), (header, 0))
                )
            )
        release = release_module.Release(server.address, **published)
        monkeypatch.setitem(release_module.RELEASES, 1507, release)
        return server

    return make


NAMES = {
    "synapses": "synapses_with_axon_proofreading",
    "cells": "aibs_cell_info_merged",
    "proofreading": "proofreading_status_and_strategy_merged",
}
