"""Pictures as files: readable, sealed, and never over what somebody else made or edited."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from worms import worm

from connectome_compiler.errors import CompileError
from connectome_compiler.plots.saving import FORMATS, check_path, is_ours, sealed, write


@pytest.mark.parametrize("suffix", FORMATS)
def test_only_what_is_as_it_was_written_is_ours(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"worm.{suffix}"
    assert write(worm().plot("raster"), path) == path
    data = path.read_bytes()
    assert is_ours(data, suffix)
    for at in (len(data) // 2, len(data) - 20):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert not is_ours(altered, suffix)
    for other in (data + b"\n", data[:-1], b"", b"<svg></svg>"):
        assert not is_ours(other, suffix)
    write(worm(seed=1).plot("raster"), path)
    assert path.read_bytes() != data
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_somebody_else_stays(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine.{suffix}"
    axes: Any = worm().plot("raster")
    axes.figure.savefig(path)
    mine = path.read_bytes()
    with pytest.raises(CompileError, match="was not made by ccompile") as caught:
        write(worm().plot("raster"), path)
    assert path.read_bytes() == mine
    assert "choose another --out" in caught.value.hint
    write(worm().plot("raster"), tmp_path / f"other.{suffix}")


def test_a_sealed_png_is_still_a_png(tmp_path: Path) -> None:
    path = write(worm().plot("raster"), tmp_path / "worm.png")
    Image.open(path).verify()
    axes: Any = worm().plot("raster")
    bare = axes.figure.in_format("png")
    assert Image.open(io.BytesIO(bare)).tobytes() == Image.open(path).tobytes()
    assert len(sealed(bare, "png")) == path.stat().st_size
    image = Image.open(path)
    image.load()
    assert len(image.info["ccompile sha256"]) == 64


def test_where_no_picture_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, problem in (
        ("", "is a folder"),
        ("a.jpg", "ends in"),
        ("file/a.svg", "not a folder"),
    ):
        with pytest.raises(CompileError, match=problem) as caught:
            check_path(tmp_path / name)
        assert caught.value.hint
    assert check_path(tmp_path / "new" / "a.SVG") == "svg"


def test_a_link_leads_to_the_picture(tmp_path: Path) -> None:
    (tmp_path / "link.svg").symlink_to("real.svg")
    write(worm().plot("raster"), tmp_path / "link.svg")
    assert (tmp_path / "link.svg").is_symlink()
    assert is_ours((tmp_path / "real.svg").read_bytes(), "svg")
