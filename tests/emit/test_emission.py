"""A module reaches the disk whole, or not at all, and nothing of the user's is touched."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from columns import column, laminar, load_module
from kills import deaths

from connectome_compiler import files
from connectome_compiler.emit import emission as under_test
from connectome_compiler.emit.emission import MARK, SEAL, STATED, Emission, arrays_name
from connectome_compiler.emit.validate import validate
from connectome_compiler.errors import CompileError
from connectome_compiler.templates.bionic.style import Bionic

SOURCE = f"{MARK}}}\n"


def fake(arrays: bytes | None, remark: str = "") -> Emission:
    """Make a module as far as writing looks at it."""
    stated = f'ARRAYS_SHA256 = "{hashlib.sha256(arrays).hexdigest()}"\n' if arrays else ""
    return Emission("Net", f"{SOURCE}{stated}# {remark}\n", arrays)


EMISSION = fake(b"arrays")
BESIDE = next(iter(EMISSION.contents("net.py")))


def listing(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_writes_both_files_and_their_folder(tmp_path: Path) -> None:
    written = EMISSION.write(tmp_path / "new" / "folder" / "net.py")
    assert [p.name for p in written] == [BESIDE, "net.py"]
    assert listing(written[0].parent) == EMISSION.contents("net.py")
    assert BESIDE.startswith("net.connectome-")
    assert BESIDE.endswith(".safetensors")
    assert written[0].read_bytes() == b"arrays"
    assert written[1].read_text().startswith(EMISSION.source)


@pytest.mark.parametrize("name", ["net", "net.txt", "my-net.py", "1.py", "a b.py"])
def test_names_that_cannot_be_imported_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError):
        EMISSION.write(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").mkdir()
    with pytest.raises(CompileError, match="is a folder"):
        EMISSION.write(tmp_path / "net.py")


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompileError, match="file: is a file, not a folder"):
        EMISSION.write(tmp_path / "file" / "net.py")


@pytest.mark.parametrize("name", ["class.py", "torch.py", "random.py", "safetensors.py"])
def test_names_that_would_hide_what_it_needs_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"cannot be imported|would hide"):
        EMISSION.write(tmp_path / name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_failure_in_the_middle_leaves_what_was_there(
    error: BaseException,
    before: bool,
    call: str,
    nth: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "deep" / "net.py"
    if before:
        EMISSION.write(out)
        standing = listing(out.parent)
    owner = Path if call == "replace" else os
    work, calls = getattr(owner, call), []

    def fail(*args: object) -> object:
        calls.append(args)
        synced = call == "fsync" and nth == 2  # of the folder, in between
        if len(calls) == nth + synced:
            raise error
        return work(*args)

    monkeypatch.setattr(owner, call, fail)
    with pytest.raises((CompileError, KeyboardInterrupt)) as raised:
        fake(b"new").write(out)
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert "No space left" in str(raised.value)
    if before:
        assert listing(out.parent) == standing
    else:
        assert list(tmp_path.iterdir()) == []


def test_an_interrupt_after_the_swap_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        replace(self, target)
        if target.suffix == ".py":
            raise KeyboardInterrupt
        return target

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EMISSION.write(tmp_path / "net.py")
    assert listing(tmp_path) == EMISSION.contents("net.py")


# --- what is not ours -----------------------------------------------------------------------------


def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("print('a day of work')")
    with pytest.raises(CompileError, match="not made by ccompile"):
        EMISSION.write(mine)
    assert mine.read_text() == "print('a day of work')"


def edited_in_the_middle(text: str) -> str:
    return text.replace("# ", "# edited: ", 1)


EDITS: dict[str, Callable[[str], str]] = {
    "middle": edited_in_the_middle,
    "end": lambda text: text + "MORE = 1\n",
    "before the last line": lambda text: text.replace(SEAL, f"MORE = 1\n{SEAL}"),
    "hash": lambda text: text[:-10] + "0" * 9 + "\n",
    "all but the statement": lambda text: SOURCE,
}


@pytest.mark.parametrize("how", EDITS)
def test_an_edited_module_is_not_built_over(how: str, tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    EMISSION.write(out)
    out.write_text(EDITS[how](out.read_text()))
    standing = listing(tmp_path)
    with pytest.raises(CompileError, match="was edited since ccompile wrote it") as raised:
        fake(None).write(out)
    assert listing(tmp_path) == standing
    # The hint is true: under another name it lives on, with its arrays, whatever is built here.
    assert "keep it under another name (net.py" in raised.value.hint
    if how != "all but the statement":
        assert BESIDE in raised.value.hint
    kept = tmp_path / "mine.py"
    out.rename(kept)
    for k in range(3):
        fake(b"%d" % k).write(out)
    assert kept.read_text() == EDITS[how](EMISSION.contents("net.py")["net.py"].decode())
    if how != "all but the statement":  # which states no arrays any more
        assert (tmp_path / BESIDE).read_bytes() == b"arrays"


def test_other_ends_of_lines_are_no_edit(tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    EMISSION.write(out)
    out.write_bytes(out.read_bytes().replace(b"\n", b"\r\n"))  # a checkout of git on Windows
    EMISSION.write(out)
    assert listing(tmp_path) == EMISSION.contents("net.py")


@pytest.mark.parametrize("name", ["net.safetensors", f"net.connectome-{'0' * 12}.safetensors"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_weights_beside_the_module_are_never_touched(name: str, when: str, tmp_path: Path) -> None:
    theirs = tmp_path / name
    if when == "between":
        EMISSION.write(tmp_path / "net.py")
    theirs.write_bytes(b"somebody's weights")
    for k, arrays in enumerate((b"one", None, b"two", None, None)):
        fake(arrays, str(k)).write(tmp_path / "net.py")
        assert theirs.read_bytes() == b"somebody's weights"


def test_what_has_the_name_of_the_arrays_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / BESIDE).write_bytes(b"somebody's weights")
    with pytest.raises(CompileError, match="does not hold what its name says"):
        EMISSION.write(tmp_path / "net.py")
    assert listing(tmp_path) == {BESIDE: b"somebody's weights"}


def test_drafts_of_others_stay(tmp_path: Path) -> None:
    mine = {".net.py.old": b"1", ".ccompile-notes": b"2", ".net.py.swp": b"3", "ccompile-1": b"4"}
    for name, data in mine.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "target").write_bytes(b"5")
    (tmp_path / f".ccompile-{'0' * 16}").symlink_to(tmp_path / "target")
    (tmp_path / f".ccompile-{'1' * 16}").mkdir()
    EMISSION.write(tmp_path / "net.py")
    assert listing(tmp_path).items() >= mine.items()
    assert (tmp_path / f".ccompile-{'0' * 16}").is_symlink()
    assert (tmp_path / f".ccompile-{'1' * 16}").is_dir()


# --- arrays of older builds -----------------------------------------------------------------------


def test_arrays_stay_for_one_build_more(tmp_path: Path) -> None:
    """Whoever has read a module that is replaced just then still finds what it names."""
    names = [next(iter(fake(b"%d" % k).contents("net.py"))) for k in range(4)]
    for k in range(4):
        fake(b"%d" % k).write(tmp_path / "net.py")
        assert set(listing(tmp_path)) == {"net.py", *names[max(0, k - 1) : k + 1]}
    for left in (names[-1:], []):
        fake(None).write(tmp_path / "net.py")
        assert set(listing(tmp_path)) == {"net.py", *left}


def test_arrays_that_another_module_names_stay(tmp_path: Path) -> None:
    EMISSION.write(tmp_path / "net.py")
    (tmp_path / "copy.py").write_text((tmp_path / "net.py").read_text())
    for _ in range(3):
        fake(None).write(tmp_path / "net.py")
    assert (tmp_path / BESIDE).exists()


def test_modules_in_one_folder_leave_each_other_alone(tmp_path: Path) -> None:
    for _ in range(3):
        fake(b"a").write(tmp_path / "net.py")
        fake(b"b").write(tmp_path / "net_2.py")
        fake(None).write(tmp_path / "other.py")
    assert len(listing(tmp_path)) == 5


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
def test_of_a_link_the_target_is_replaced(there: bool, tmp_path: Path) -> None:
    link, target = tmp_path / "net.py", tmp_path / "runs" / "first.py"
    if there:
        fake(b"old").write(target)
    link.symlink_to(target)
    written = EMISSION.write(link)
    assert link.is_symlink()
    assert target.read_bytes() == EMISSION.contents("first.py")["first.py"]
    assert [p.parent for p in written] == [target.parent, link.parent]


def test_a_link_is_imported_with_the_arrays_of_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectome_compiler.emit.arrays.MOST_INLINE_EDGES", 0)
    link, target = tmp_path / "net.py", tmp_path / "runs" / "first.py"
    link.symlink_to(target)
    Bionic().emit(laminar(column()), "toy").write(link)
    assert load_module(link).read_arrays()
    assert load_module(target).read_arrays()


@pytest.mark.parametrize("points_to", ["net.py", "torch.py", "notes.txt"])
def test_a_link_to_what_can_be_no_module_is_refused(points_to: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").symlink_to(tmp_path / points_to)
    with pytest.raises(CompileError):
        EMISSION.write(tmp_path / "net.py")
    assert [p.name for p in tmp_path.iterdir()] == ["net.py"]
    assert (tmp_path / "net.py").is_symlink()


# --- kills, and builds at the same time -----------------------------------------------------------


def legacy(emission: Emission) -> dict[str, bytes]:
    """Return the files that version 0.1.0 wrote: no hash of the text, other names."""
    text = emission.source
    if emission.arrays is None:
        return {"net.py": text.encode()}
    start, end = text.index('    name = f".connectome-'), text.index("    data = path.read")
    old = """\
    path = Path(__file__).with_suffix(".safetensors")
    if not path.exists():
        raise RuntimeError(f"{path} is missing: copy or rename it with {__file__}")
"""
    return {
        "net.safetensors": emission.arrays,
        "net.py": (text[:start] + old + text[end:]).encode(),
    }


def emitted(seed: int, inline: bool, monkeypatch: pytest.MonkeyPatch) -> Emission:
    monkeypatch.setattr("connectome_compiler.emit.arrays.MOST_INLINE_EDGES", 10**6 * inline)
    emission: Emission = Bionic().emit(laminar(column(seed=seed)), "toy")
    assert (emission.arrays is None) == inline
    return emission


STANDING = ("nothing", "inline", "arrays", "legacy inline", "legacy arrays")
SHORT = {("nothing", False), ("arrays", False), ("legacy arrays", True)}  # run always
CASES = [
    pytest.param(*case, marks=[] if case in SHORT else pytest.mark.slow)
    for case in itertools.product(STANDING, (False, True))
]


@pytest.mark.parametrize(("standing", "inline"), CASES)
def test_a_kill_at_any_call_leaves_the_old_or_the_new_module(
    standing: str, inline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow, and of no use against kills
    new, third = (emitted(seed, inline, monkeypatch) for seed in (1, 2))
    old: dict[str, bytes] = {}
    if standing != "nothing":
        before = emitted(0, standing.endswith("inline"), monkeypatch)
        old = legacy(before) if standing.startswith("legacy") else before.contents("net.py")
    theirs = {} if "net.safetensors" in old else {"net.safetensors": b"somebody's weights"}
    draft = {f".ccompile-{'0' * 16}": b"half a mod"}  # of an earlier kill
    states: list[str] = []
    folder = tmp_path / "0"

    def start(k: int) -> None:
        nonlocal folder
        folder = tmp_path / str(k)
        folder.mkdir()
        for name, data in {**old, **theirs, **draft}.items():
            (folder / name).write_bytes(data)

    start(0)
    for n in deaths(lambda: new.write(folder / "net.py")):
        found = state(folder, old, new)
        if found != "nothing" and found not in states:
            assert load_module(folder / "net.py").read_arrays()
        states.append(found)
        assert listing(folder).items() >= theirs.items()
        for _ in range(3):  # what is left of the kill blocks no build, and goes
            third.write(folder / "net.py")
        left = listing(folder)
        if standing == "legacy arrays" and found == "new":
            left.pop("net.safetensors", None)  # no module states its hash any more: it stays
        assert left == {**theirs, **third.contents("net.py")}
        start(n)
    assert state(folder, old, new) == "new"
    first = states.index("new") if "new" in states else len(states)
    assert set(states[:first]) == {"nothing" if standing == "nothing" else "old"}
    assert set(states[first:]) <= {"new"}
    assert len(states) > 20


def state(folder: Path, old: dict[str, bytes], new: Emission) -> str:
    found = listing(folder)
    if found.items() >= new.contents("net.py").items():
        return "new"
    if "net.py" not in found and "net.py" not in old:
        return "nothing"
    assert found.items() >= old.items()
    return "old"


def test_a_module_of_version_0_1_0_still_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in legacy(emitted(0, False, monkeypatch)).items():
        (tmp_path / name).write_bytes(data)
    assert validate(tmp_path / "net.py").n_connections > 0
    text = (tmp_path / "net.py").read_text()
    (tmp_path / "net.py").write_text(text.replace('"title": "A toy column"', '"title": "Mine"'))
    with pytest.raises(CompileError, match="was edited"):
        EMISSION.write(tmp_path / "net.py")


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from connectome_compiler.emit.emission import Emission, MARK
import hashlib
me, n = int(sys.argv[2]), int(sys.argv[3])
for k in range(n):
    data = b"%d %d " % (me, k) * 20000
    text = f'{MARK}}}\\nARRAYS_SHA256 = "{hashlib.sha256(data).hexdigest()}"\\n' + "# pad\\n" * 5000
    Emission("Net", text, data if k % 3 else None).write(Path(sys.argv[1]))
"""


def write_and_read(path: Path, n_writers: int, n_writes: int) -> int:
    """Let several processes build one module, and read it all the time; return how often."""
    command = [sys.executable, "-c", WRITER, str(path)]
    home = str(Path(under_test.__file__).parents[2])
    writers = [
        subprocess.Popen([*command, str(k), str(n_writes), home], stderr=subprocess.PIPE, text=True)
        for k in range(n_writers)
    ]
    n_reads = 0

    def read() -> None:
        text = path.read_text()
        assert text.rstrip().rpartition(SEAL)[2]
        (sha256,) = STATED.findall(text)
        beside = path.with_name(arrays_name(path.stem, sha256))
        if files.sha256(beside) not in (sha256, ""):
            raise AssertionError("arrays of another build")
        if not beside.exists() and sha256 not in inline:
            raise CompileError(str(path), "its arrays are missing")

    inline = {
        hashlib.sha256(b"%d %d " % (me, k) * 20000).hexdigest()
        for me in range(n_writers)
        for k in range(0, n_writes, 3)
    }
    while any(w.poll() is None for w in writers):
        if path.exists():
            files.settled(path, read)
            n_reads += 1
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said
        assert all("waiting for another process" in line for line in said.splitlines()), said
    return n_reads


def test_builds_at_the_same_time_all_succeed_and_readers_see_whole_ones(tmp_path: Path) -> None:
    assert write_and_read(tmp_path / "net.py", 4, 8) > 10
    assert len(listing(tmp_path)) <= 3


@pytest.mark.slow
def test_many_builds_at_the_same_time(tmp_path: Path) -> None:
    for n_writers in (1, 2, 4, 8):
        path = tmp_path / str(n_writers) / "net.py"
        assert write_and_read(path, n_writers, 60) > 100
        assert len(listing(path.parent)) <= 3
