"""Only regular files are opened, and no more is read than was meant."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from connectome_compiler.data_adapters._cect import read_matrices
from connectome_compiler.data_adapters.fly_visual import FlyVisual
from connectome_compiler.data_adapters.mesoscale import Mesoscale
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.reading import must_be_file, read_bytes
from connectome_compiler.recipe import load_recipe
from connectome_compiler.text import LONGEST

READERS: dict[str, Callable[[str], object]] = {
    "edges": lambda p: Table(p).load(),
    "recipe": load_recipe,
    "areas": lambda p: Mesoscale(populations=p).load(),
    "flyvis": lambda p: FlyVisual(path=p).load(),
    "cect": lambda p: read_matrices("White_whole", p),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes among files")
@pytest.mark.parametrize("reader", READERS)
def test_no_pipe_is_opened(tmp_path: Path, reader: str) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    with pytest.raises(CompileError, match="pipe, socket or device"):
        READERS[reader](str(pipe))


@pytest.mark.skipif(sys.platform == "win32", reason="no devices among files")
def test_no_table_of_cells_is_a_pipe_and_no_recipe_a_device(tmp_path: Path) -> None:
    edges, pipe, zero = tmp_path / "e.csv", tmp_path / "pipe", tmp_path / "zero.toml"
    edges.write_text("pre,post\n1,2\n")
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    with pytest.raises(CompileError, match="pipe, socket or device"):
        Table(str(edges), cells=str(pipe)).load()
    with pytest.raises(CompileError, match="pipe, socket or device"):
        load_recipe(zero)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(CompileError, match="pipe, socket or device"):
            must_be_file(tmp_path / "socket")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a\x00b.toml", "x" * 5_000 + ".toml"])
def test_names_that_no_file_can_have(reader: str, name: str) -> None:
    with pytest.raises(CompileError, match="cannot be read") as caught:
        READERS[reader](name)
    assert caught.value.where.isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="names are text")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "e_") + b"\xe9.csv"
    Path(os.fsdecode(path)).write_text("pre,post\n1,2\n")
    with pytest.raises(CompileError, match="not UTF-8"):
        Table(os.fsdecode(path)).load()


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("pre,post\n1,2\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "e.csv")
    assert Table(str(tmp_path / "link.csv")).load().n_connections == 1


def test_no_more_is_read_than_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 11)
    assert read_bytes(path, 11) == b"x" * 11
    with pytest.raises(CompileError, match="has 11 bytes; the limit is 10"):
        read_bytes(path, 10)
    with pytest.raises(CompileError, match="Is a directory"):
        read_bytes(tmp_path, 10)


def test_messages_leave_out_the_middle_of_what_is_long() -> None:
    error = CompileError("where", "x" * 10**6 + " is not an id", "y" * LONGEST)
    assert len(str(error)) < 3 * LONGEST
    assert str(error).startswith("where: xxx")
    assert "characters left out ...] xxx" in str(error)
    assert "x is not an id\n  hint: " + "y" * LONGEST in str(error)
    assert len(error.problem) > 10**6  # the error itself keeps all
