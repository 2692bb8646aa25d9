"""A module reaches the disk whole, or not at all, and nothing of the user's is touched."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from columns import column, laminar, load_module
from fake_modules import fake
from kills import deaths

from connectome_compiler import files
from connectome_compiler.certify.certificate import validate
from connectome_compiler.emit import emission as under_test
from connectome_compiler.emit.emission import SEAL, STATED, Emission, arrays_name
from connectome_compiler.emit.proven import Proven
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.statement import MARK
from connectome_compiler.templates.bionic.style import Bionic

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
@pytest.mark.parametrize(
    ("call", "nth"),
    [("write", 1), ("write", 2), ("fsync", 1), ("fsync", 2), ("link", 1), ("replace", 1)],
)
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


def test_no_module_has_source_that_is_not_proven(tmp_path: Path) -> None:
    """Whoever makes it: a plugin that is called without a build, too."""
    with pytest.raises(VerifyError, match="its source is plain text"):
        Emission("Net", str(EMISSION.source), None)
    with pytest.raises(VerifyError, match="its source is plain text"):
        replace(EMISSION, source=EMISSION.source.replace("Net", "Other"))
    assert isinstance(EMISSION.source, Proven)


def test_a_build_looks_twice_at_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it reads anything, and when it has locked the folder."""
    out, looked = tmp_path / "net.py", list[Path]()
    EMISSION.write(out)
    look = under_test._must_be_ours

    def counted(path: Path) -> None:
        looked.append(path)
        look(path)

    monkeypatch.setattr(under_test, "_must_be_ours", counted)
    under_test.check_path(out)
    EMISSION.write(out)
    assert looked == [out, out]


# --- what is not ours -----------------------------------------------------------------------------


def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("print('a day of work')")
    with pytest.raises(CompileError, match="not made by ccompile"):
        EMISSION.write(mine)
    assert mine.read_text() == "print('a day of work')"


def edited_in_the_middle(text: str) -> str:
    return text.replace("A module", "An edited module", 1)


EDITS: dict[str, Callable[[str], str]] = {
    "middle": edited_in_the_middle,
    "end": lambda text: text + "MORE = 1\n",
    "before the last line": lambda text: text.replace(SEAL, f"MORE = 1\n{SEAL}"),
    "hash": lambda text: text[:-10] + "0" * 9 + "\n",
    "all but the statement": lambda text: f"{MARK}}}\n",
    "last line": lambda text: text[: text.index(SEAL)],
}


@pytest.mark.parametrize("how", EDITS)
def test_an_edited_module_is_not_built_over(how: str, tmp_path: Path) -> None:
    out = tmp_path / "net.py"
    EMISSION.write(out)
    out.write_text(EDITS[how](out.read_text()))
    standing = listing(tmp_path)
    with pytest.raises(CompileError, match=r"was edited since|edits cannot be detected") as raised:
        fake(None).write(out)
    assert listing(tmp_path) == standing
    # The hint is true: under another name it lives on, with its arrays, whatever is built here.
    assert re.match(r"(rename|move) net\.py ", raised.value.hint)
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
        fake(arrays, f"# {k}").write(tmp_path / "net.py")
        assert theirs.read_bytes() == b"somebody's weights"


def test_what_has_the_name_of_the_arrays_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / BESIDE).write_bytes(b"somebody's weights")
    with pytest.raises(CompileError, match="content does not match the hash in its name"):
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


@pytest.mark.parametrize("name", ["copy.py", "net.py.bak", ".net.py.swp", "README", "link"])
def test_arrays_that_another_file_names_stay(name: str, tmp_path: Path) -> None:
    EMISSION.write(tmp_path / "net.py")
    kept = tmp_path / name
    if name == "link":
        kept.symlink_to(shutil.copy(tmp_path / "net.py", tmp_path.parent / "elsewhere.py"))
    else:
        shutil.copy(tmp_path / "net.py", kept)
    for _ in range(3):
        fake(None).write(tmp_path / "net.py")
    assert (tmp_path / BESIDE).exists()
    kept.unlink()
    fake(None).write(tmp_path / "net.py")
    assert not (tmp_path / BESIDE).exists()


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


STANDING = ("nothing", "inline", "arrays")
SHORT = {("nothing", False), ("arrays", False), ("inline", True)}  # run always
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
        old = emitted(0, standing == "inline", monkeypatch).contents("net.py")
    theirs = {"net.safetensors": b"somebody's weights"}
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
        assert listing(folder) == {**theirs, **third.contents("net.py")}
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


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("inline", [True, False])
def test_a_module_of_version_0_1_0_verifies_and_is_not_built_over(
    inline: bool, edited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its layers may have been edited: it has hashes of its statement and header alone."""
    standing = legacy(emitted(0, inline, monkeypatch))
    if edited:
        standing["net.py"] += b"EDITED = 1\n"
    if inline:
        standing["net.safetensors"] = b"somebody's weights"
    for name, data in standing.items():
        (tmp_path / name).write_bytes(data)
    out, away = tmp_path / "net.py", tmp_path / "away"
    assert validate(out).n_connections > 0
    with pytest.raises(CompileError, match="edits cannot be detected") as raised:
        fake(None).write(out)
    assert listing(tmp_path) == standing
    moved = ["net.py"] if inline else ["net.py", "net.safetensors"]
    assert raised.value.hint.startswith(f"move {' and '.join(moved)} away, ")
    away.mkdir()  # The hint is true.
    for name in moved:
        (tmp_path / name).rename(away / name)
    for k in range(3):
        fake(b"%d" % k).write(out)
    assert validate(away / "net.py").n_connections > 0
    assert inline == (tmp_path / "net.safetensors").exists()


def test_weights_saved_beside_an_old_module_stay_where_it_is_moved_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be a copy of its arrays, made by whoever was to train them."""
    standing = legacy(emitted(0, False, monkeypatch))
    (tmp_path / "net.safetensors").write_bytes(standing["net.safetensors"])
    for k in range(3):
        fake(standing["net.safetensors"] if k == 0 else None).write(tmp_path / "net.py")
    assert (tmp_path / "net.safetensors").read_bytes() == standing["net.safetensors"]


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[4:]
from connectome_compiler import files
from fake_modules import fake
me, n = int(sys.argv[2]), int(sys.argv[3])
files.PATIENCE_S = float(me % 2)  # some go on beside the others at once
for k in range(n):
    data = b"%d %d " % (me // 2, k) * 20000
    fake(data, "# pad\\n" * 5000).write(Path(sys.argv[1]))
"""


def write_and_read(path: Path, n_writers: int, n_writes: int) -> int:
    """Let several processes build one module, and read it all the time; return how often."""
    command = [sys.executable, "-c", WRITER, str(path)]
    homes = [str(Path(under_test.__file__).parents[2]), str(Path(__file__).parents[1])]
    writers = [
        subprocess.Popen(
            [*command, str(k), str(n_writes), *homes], stderr=subprocess.PIPE, text=True
        )
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
        if not beside.exists():
            raise CompileError(str(path), "its arrays are missing")

    while any(w.poll() is None for w in writers):
        if path.exists():
            files.settled(path, read)
            n_reads += 1
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said
        assert all("continuing without the lock" in line for line in said.splitlines()), said
    for k in range(2):  # what those left that went on beside others, who are gone
        fake(b"last", f"# {k}").write(path)
    assert len(listing(path.parent)) <= 3
    return n_reads


def test_builds_at_the_same_time_all_succeed_and_readers_see_whole_ones(tmp_path: Path) -> None:
    assert write_and_read(tmp_path / "net.py", 4, 8) > 10


@pytest.mark.slow
def test_many_builds_at_the_same_time(tmp_path: Path) -> None:
    for n_writers in (1, 2, 4, 8):
        path = tmp_path / str(n_writers) / "net.py"
        assert write_and_read(path, n_writers, 60) > 100
