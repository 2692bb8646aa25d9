"""A module reaches the disk whole, or not at all."""

from pathlib import Path

import pytest

from connectome_compiler.emit.emission import MARK, Emission
from connectome_compiler.errors import CompileError

SOURCE = f"{MARK}}}\n"
EMISSION = Emission("Net", SOURCE, b"arrays")


def test_writes_both_files_and_their_folder(tmp_path: Path) -> None:
    written = EMISSION.write(tmp_path / "new" / "folder" / "net.py")
    assert [p.name for p in written] == ["net.safetensors", "net.py"]
    assert [p.read_bytes() for p in written] == [b"arrays", SOURCE.encode()]
    assert sorted(p.name for p in written[0].parent.iterdir()) == ["net.py", "net.safetensors"]


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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_what_was_there(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = EMISSION.write(tmp_path / "net.py")
    calls = []

    def fail(draft: Path, mode: int) -> None:
        calls.append(draft)
        if len(calls) == 2:  # the arrays are written, the source is not
            raise error

    monkeypatch.setattr(Path, "chmod", fail)
    with pytest.raises((CompileError, KeyboardInterrupt)) as raised:
        Emission("Net", "new", b"new").write(tmp_path / "net.py")
    if isinstance(error, OSError):
        assert "No space left" in str(raised.value)
    assert [p.read_bytes() for p in old] == [b"arrays", SOURCE.encode()]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("print('a day of work')")
    with pytest.raises(CompileError, match="not made by ccompile"):
        EMISSION.write(mine)
    assert mine.read_text() == "print('a day of work')"


def test_arrays_of_an_older_build_go_with_it(tmp_path: Path) -> None:
    EMISSION.write(tmp_path / "net.py")
    Emission("Net", SOURCE, None).write(tmp_path / "net.py")
    assert [p.name for p in tmp_path.iterdir()] == ["net.py"]


@pytest.mark.parametrize("name", ["class.py", "torch.py", "random.py", "safetensors.py"])
def test_names_that_would_hide_what_it_needs_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"cannot be imported|would hide"):
        EMISSION.write(tmp_path / name)


def test_a_failure_between_the_two_renames_restores_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EMISSION.write(tmp_path / "net.py")
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target).name == "net.py" and ".old" not in self.name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(CompileError, match="No space left"):
        Emission("Net", SOURCE + "#", b"new").write(tmp_path / "net.py")
    monkeypatch.undo()
    assert (tmp_path / "net.py").read_text() == SOURCE
    assert (tmp_path / "net.safetensors").read_bytes() == b"arrays"
    assert len(list(tmp_path.iterdir())) == 2


def test_arrays_that_are_not_ours_are_never_touched(tmp_path: Path) -> None:
    theirs = tmp_path / "model.safetensors"
    theirs.write_bytes(b"somebody's weights")
    for arrays in (b"ours", None):
        with pytest.raises(CompileError, match=r"model\.safetensors: is there"):
            Emission("Net", SOURCE, arrays).write(tmp_path / "model.py")
    assert theirs.read_bytes() == b"somebody's weights"
