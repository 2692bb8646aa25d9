"""Where the command begins and ends: signals, streams, temporary files."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and shells of POSIX")

SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"]


def run(
    code: str, *words: str, ignored: Sequence[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    def ignore() -> None:
        for name in ignored:
            signal.signal(signal.Signals[name], signal.SIG_IGN)

    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=ignore,
        env={**os.environ, **env},
        timeout=60,
    )


HEARS = """
import os, signal, sys, time
from connectome_compiler.__main__ import Interrupts
interrupts = Interrupts()
number = signal.Signals[sys.argv[1]]
"""
COMMAND = """
import atexit, os, signal, sys, types
from connectome_compiler.__main__ import main
def command(prog_name):
    {does}
sys.modules["connectome_compiler.cli"] = types.SimpleNamespace(main=command)
main()
"""


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_an_interrupt_and_several_at_once_are_one(name: str) -> None:
    code = """
interrupts.unmute()
try:
    os.kill(os.getpid(), number)
    time.sleep(10)
except KeyboardInterrupt:
    for other in (signal.SIGHUP, signal.SIGTERM, number):
        os.kill(os.getpid(), other)
    print("interrupted once")
interrupts.last -= 2
try:
    os.kill(os.getpid(), number)
    time.sleep(10)
except KeyboardInterrupt:
    print("and again, later")
"""
    done = run(HEARS + code, name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "interrupted once\nand again, later\n"


@pytest.mark.parametrize("name", SIGNALS)
def test_what_was_ignored_at_the_start_stays_so(name: str) -> None:
    # nohup ignores SIGHUP; a shell without job control ignores SIGINT of what runs behind a &.
    code = 'interrupts.unmute()\nos.kill(os.getpid(), number)\nprint("went on")'
    done = run(HEARS + code, name, ignored=[name])
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_signal_before_the_folder_is_made_comes_through_afterwards() -> None:
    code = """
os.kill(os.getpid(), number)
print("not yet")
try:
    interrupts.unmute()
except KeyboardInterrupt:
    print("now")
"""
    assert run(HEARS + code, "SIGTERM").stdout == "not yet\nnow\n"


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("code", [0, 1, 2])
def test_after_the_work_a_signal_changes_nothing(name: str, code: int) -> None:
    does = f"atexit.register(os.kill, os.getpid(), signal.{name}); print('done'); sys.exit({code})"
    done = run(COMMAND.format(does=does))
    assert (done.returncode, done.stdout, done.stderr) == (code, "done\n", "")


def test_ctrl_c_during_imports_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code = "from connectome_compiler.__main__ import main; main()"
    done = run(code, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: interrupted\n")


def test_no_memory_to_start_is_said_in_words() -> None:
    done = run(COMMAND.format(does="raise MemoryError"))
    assert (done.returncode, done.stderr) == (1, "Error: not enough memory to start\n")


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    done = run(COMMAND.format(does="1 / 0"), TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- temporary files --------------------------------------------------------------------------


def test_temporary_files_go_with_the_process(tmp_path: Path) -> None:
    does = (
        "import tempfile; print(tempfile.mkdtemp(), os.environ['TMPDIR'], sep='\\n'); sys.exit(0)"
    )
    done = run(COMMAND.format(does=does), TMPDIR=str(tmp_path))
    made, own = map(Path, done.stdout.splitlines())
    assert made.parent == own
    assert own.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    does = "print('made', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", COMMAND.format(does=does)]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == b"made\n"
    assert len(list(tmp_path.iterdir())) == 2
    running[0].kill()
    running[0].communicate()
    for name in ("ccompile-thesis", "ccompile-old", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter.tex").write_text("mine")
    link = f"ccompile-{0:016x}"  # the name of one of ours
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    run(COMMAND.format(does="sys.exit(0)"), TMPDIR=str(tmp_path))
    left = {p.name for p in tmp_path.iterdir()}
    assert left >= {"ccompile-thesis", "ccompile-old", "elsewhere", link}
    assert len(left) == 5  # and that of the process that lives
    assert len(list(tmp_path.rglob("chapter.tex"))) == 3
    running[1].communicate(timeout=30)
    assert len(list(tmp_path.iterdir())) == 4


def test_without_a_place_for_temporary_files_the_rest_still_works(tmp_path: Path) -> None:
    code = "import os\ndef no(*_, **__): raise OSError(28, 'full')\nos.mkdir = no\n"
    done = run(code + COMMAND.format(does="print('works'); sys.exit(0)"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "works\n", "")


# --- streams ----------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["0", "1", "2", "012"])
def test_no_file_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    # Whatever a library prints would go into it.
    does = f"out = os.open({str(tmp_path / 'precious')!r}, os.O_CREAT | os.O_WRONLY); os._exit(out)"
    words = " ".join(f"{n}{'<' if n == '0' else '>'}&-" for n in closed)
    shell = f"'{sys.executable}' -c \"$CODE\" {words}"
    env = {**os.environ, "CODE": COMMAND.format(does=does), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["/bin/sh", "-c", shell], env=env, check=False)
    assert done.returncode > 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_error_does_not_change_the_exit_code() -> None:
    does = "with contextlib.suppress(OSError): print('Note', file=sys.stderr)\n    sys.exit(0)"
    code = f"import contextlib{COMMAND.format(does=does)}"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stderr=full, check=False)
    assert done.returncode == 0


def test_it_is_light() -> None:
    code = "import sys, connectome_compiler.__main__; print(*sys.modules)"
    assert not {"numpy", "torch", "click", "requests"} & set(run(code).stdout.split())
