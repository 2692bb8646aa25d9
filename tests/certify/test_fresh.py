"""The process of the check: it ends with its parent, and says what ended it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from connectome_compiler.certify import certificate as validate_module
from connectome_compiler.certify.certificate import validate
from connectome_compiler.certify.fresh import Ended, run_fresh
from connectome_compiler.errors import CompileError, VerifyError

WAITS = """
import sys, time
from pathlib import Path
from connectome_compiler.certify.fresh import tied_to_parent
Path(sys.argv[1]).write_text(tied_to_parent())
time.sleep(60)
"""
PARENT = """
import sys
from connectome_compiler.certify.fresh import run_fresh
run_fresh([sys.executable, "-c", sys.argv[1], sys.argv[2]], "word")
"""


def child(code: str, *words: str) -> Ended:
    imports = "import os, sys, tempfile\nfrom connectome_compiler.certify.fresh import *\n"
    return run_fresh([sys.executable, "-c", imports + code, *words], "word")


def test_hears_the_word_and_is_heard() -> None:
    done = child("print(tied_to_parent()); print('last', file=sys.stderr); sys.exit(3)")
    assert (done.code, done.out, done.last_words) == (3, "word\n", "last")
    assert done.trouble is None


def test_much_output_is_no_deadlock_and_only_its_end_is_kept() -> None:
    done = child("print('x' * 5_000_000); print('x' * 5_000_000, file=sys.stderr); print('end')")
    assert done.code == 0
    assert len(done.out) == 1 << 20
    assert done.out.endswith("\nend\n")


def test_docstrings_are_there_though_its_parent_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")  # python -OO
    assert (
        child("import json; print(sys.flags.optimize, json.__doc__[:10])").out == "0 JSON (Java\n"
    )


def test_its_temporary_files_are_removed() -> None:
    done = child("print(tempfile.mkdtemp())")
    assert not Path(done.out.strip()).exists()
    assert Path(done.out.strip()).parents[1] == Path(tempfile.gettempdir())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_ends_with_its_parent(how: str, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WAITS, heard], stderr=-3)
    end = time.monotonic() + 60
    while not (heard.exists() and heard.read_text() == "word"):
        assert time.monotonic() < end
        time.sleep(0.01)
    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    (pid,) = map(int, listed.split())
    parent.send_signal(signal.Signals[how])
    parent.wait(10)
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "problem", "hint"),
    [
        ("raise MemoryError", "not enough memory", "--no-verify"),
        ("raise RuntimeError('can\\'t allocate memory: 8 bytes')", "not enough memory", "close"),
        ("os.kill(os.getpid(), 9)", "was killed, as systems do that run out of memory", "close"),
        ("os.abort()", "ended by SIGABRT", "more memory"),
        ("import no_such_torch", "cannot run: ModuleNotFoundError: No module named", "install"),
    ],
)
def test_what_is_not_the_modules_fault_is_not_blamed_on_it(
    code: str, problem: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(validate_module, "run_fresh", lambda command, word: child(code))
    (tmp_path / "model.py").write_text("")
    with pytest.raises(CompileError, match=problem) as caught:
        validate(tmp_path / "model.py", shown="out/model.py")
    assert not isinstance(caught.value, VerifyError)
    assert caught.value.where == "check of out/model.py"
    assert hint in caught.value.hint
    assert "defect" not in str(caught.value)


def test_a_module_that_stops_the_process_is_at_fault(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("PROVENANCE: dict[str, Any] = {\nimport os")
    with pytest.raises(VerifyError, match="import"):
        validate(tmp_path / "model.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of POSIX")
def test_a_lack_of_memory_in_the_check_is_called_so(tmp_path: Path) -> None:
    code = """
import resource
word = tied_to_parent()
from connectome_compiler.certify.findings import finding
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
with finding("forward"):
    bytearray(1 << 32)
"""
    done = child(code)
    assert done.trouble is not None
    assert done.trouble[0] == "there is not enough memory"
