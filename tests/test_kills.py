"""Commands killed at random moments: nothing half-written, no litter, no orphan. Slow."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_server import Server, serving

from connectome_compiler.data_adapters._download import Downloader, RemoteFile

CCOMPILE = Path(sys.executable).parent / "ccompile"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CCOMPILE.exists(), reason="the package is not installed"),
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks into /proc"),
]
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
NCAP = ("build", "ncap-swimmer", "--out", "model.py", "--set", "turn_control=true")
COLUMN = ("build", "microns-v1-surrogate", "--out", "model.py", "--set", "seed=1")
KINDS: dict[str, tuple[str, ...]] = {
    "build": (*COLUMN, "--no-verify"),
    "build and verify": NCAP,
    "save": (*COLUMN, "--no-verify", "--save-after", "all"),
    "verify": ("verify", "model.py"),
    "train": ("train", "model.py", "--out", "trained", "--iterations", "40"),
}
SECONDS = {"build": 6, "build and verify": 12, "save": 8, "verify": 12, "train": 20}  # till killed
FETCH = """
import sys
from pathlib import Path
from connectome_compiler.__main__ import Interrupts
from connectome_compiler.data_adapters._download import Downloader, RemoteFile
Interrupts().unmute()
folder, name, size, sha, address = sys.argv[1:]
Downloader(Path(folder), back_off_s=(0,)).fetch(RemoteFile(name, int(size), sha), address)
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module of an earlier build, which later ones replace."""
    folder = tmp_path_factory.mktemp("before")
    words = ("build", "ncap-swimmer", "--no-verify", "--out", "model.py")
    subprocess.run([CCOMPILE, *words], cwd=folder, check=True, capture_output=True)
    return folder


def is_whole(module: Path) -> bool:
    """Whether a module is complete, and its arrays lie beside it if it has any."""
    text = module.read_text()
    compile(text, "model.py", "exec")
    stated = re.search(r'^ARRAYS_SHA256 = "(\w+)"', text, re.MULTILINE)
    if stated is None or 'ARRAYS = """' in text:
        return True
    beside = [hashlib.sha256(p.read_bytes()).hexdigest() for p in module.parent.glob("*.saf*")]
    return stated[1] in beside


def orphans(folder: Path) -> list[int]:
    """Return the processes that have something to do with ``folder``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            about = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if process.name.isdigit() and os.fsencode(folder) in about:
            found.append(int(process.name))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_leaves_the_old_or_the_new(
    kind: str, seed: int, before: Path, tmp_path: Path
) -> None:
    if kind == "train":
        pytest.importorskip("dm_control")
    rng = random.Random(f"{kind} {seed}")
    number, to_all = rng.choice(SIGNALS), rng.random() < 0.5
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    shutil.copytree(before, out)
    running = subprocess.Popen(
        [CCOMPILE, *KINDS[kind]],
        cwd=out,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    wait = rng.uniform(0, SECONDS[kind])
    try:
        running.wait(wait)
    except subprocess.TimeoutExpired:
        (os.killpg if to_all else os.kill)(running.pid, number)
    _, said = running.communicate(timeout=60)
    what = f"{number.name} after {wait:.2f} s, code {running.returncode}: {said}"

    assert "Traceback" not in said or wait < 0.3, what  # the interpreter itself may just begin
    assert running.returncode in ((0, -9) if number == signal.SIGKILL else (0, 1)) or wait < 0.3
    end = time.monotonic() + 30
    while orphans(temporary) and time.monotonic() < end:
        time.sleep(0.1)
    assert orphans(temporary) == [], what
    assert is_whole(out / "model.py"), what
    for graph in out.glob("model.graphs/[!.]*"):
        assert (graph / "graph.json").is_file(), what
    if running.returncode == -signal.SIGKILL:  # the next one removes what it could not
        subprocess.run([CCOMPILE, "--version"], env={**os.environ, "TMPDIR": str(temporary)})
    else:
        assert [p.name for p in out.rglob(".*") if p.suffix != ".lock"] == [], what
    assert list(temporary.iterdir()) == [], what


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.mark.parametrize("seed", range(8))
def test_a_kill_leaves_a_download_to_resume(
    seed: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    rng = random.Random(seed)
    body = rng.randbytes(200_000_000)
    file = RemoteFile("table.gz", len(body), hashlib.sha256(body).hexdigest())
    server.files[file.name] = body
    address = f"{server.address}/{file.name}"
    cache, words = tmp_path / "cache", (file.name, str(file.n_bytes), file.sha256, address)
    for _ in range(3):
        running = subprocess.Popen(
            [sys.executable, "-c", FETCH, cache, *words], stderr=subprocess.PIPE
        )
        wait = rng.uniform(0.2, 3)
        try:
            running.wait(wait)
        except subprocess.TimeoutExpired:
            running.send_signal(rng.choice(SIGNALS))
        running.communicate(timeout=60)
        if (cache / file.name).exists():
            assert (cache / file.name).stat().st_size == file.n_bytes
    assert Downloader(cache).fetch(file, address).read_bytes() == body
    assert {p.name for p in cache.iterdir()} <= {".lock", ".holder", file.name}
