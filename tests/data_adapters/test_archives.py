"""Zip archives: a connectivity of The Virtual Brain is read, others are named by what they hold."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from connectome_compiler.data_adapters._readers import reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError

PARTS = {
    "weights.txt": "0 2 0\n1.5 0 3\n0 0 0\n",
    "tract_lengths.txt": "0 20 0\n15 0 30\n0 0 0\n",
    "centres.txt": "rA1 1 2 3\nrA2 4 5 6\nlA1 7 8 9\n",
    "cortical.txt": "1\n1\n0\n",
    "average_orientations.txt": "0 0 1\n0 1 0\n1 0 0\n",
    "info.txt": 'weights_unit = "au"\nlength_unit = "mm"',
}


def archive(path: Path, parts: dict[str, Any], folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(f"{folder}{name}", text)
    return path


def test_weights_regions_and_what_is_told_of_them(tmp_path: Path) -> None:
    for folder in ("", "connectivity_3/"):
        path = archive(tmp_path / "c.zip", PARTS, folder)
        graph = Table(str(path), orientation="post-pre").load()
        e = graph.projections[0].synapses
        ids = graph.populations[0].column("neuron_id").to_pylist()
        made = {
            (ids[a], ids[b]): w
            for a, b, w in zip(e.pre.tolist(), e.post.tolist(), e.weight.tolist(), strict=True)
        }
        assert made == {("rA2", "rA1"): 2, ("rA1", "rA2"): 1.5, ("lA1", "rA2"): 3}
        assert e.unit == "au"
        told = {c: graph.populations[0].column(c).to_pylist() for c in ("x_mm", "cortical")}
        assert told == {"x_mm": [7, 1, 4], "cortical": [0, 1, 1]}
    reader = reader_of(path)
    assert reader is not None
    assert reader.what == "a connectivity of The Virtual Brain"


def test_without_centres_regions_are_numbered(tmp_path: Path) -> None:
    path = archive(tmp_path / "c.zip", {"weights.txt": PARTS["weights.txt"]})
    graph = Table(str(path), orientation="pre-post", unit="au").load()
    assert graph.populations[0].column("neuron_id").to_pylist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights.txt": "0 x\n1 0\n"}, "weights.txt: is not a matrix of numbers"),
        ({"weights.txt": "0 2\n1 0\n"}, "needs 2 rows of a name and three numbers"),
        ({"centres.txt": "a 1 2\n" * 3}, "needs 3 rows of a name and three numbers"),
        ({"centres.txt": "a 1 2 x\nb 1 2 3\nc 1 2 3\n"}, "holds no position"),
        ({"tract_lengths.txt": "0 1\n1 0\n"}, "has another shape than the weights"),
        ({"cortical.txt": "1\n1\n"}, "expected 3 rows of 1"),
        ({"weights.txt": b"\xff\xfe"}, "is a broken zip file"),
    ],
)
def test_a_bad_archive_names_the_part(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(CompileError, match=message):
        Table(str(archive(tmp_path / "c.zip", PARTS | changed)), orientation="pre-post").load()


def test_archives_that_burst_or_were_cut(tmp_path: Path) -> None:
    path = archive(tmp_path / "c.zip", PARTS | {"areas.txt": "0\n" * (1 << 24)})
    with pytest.raises(CompileError, match="more than real data do"):
        Table(str(path), orientation="pre-post").load()
    whole = archive(tmp_path / "d.zip", PARTS).read_bytes()
    for k in range(4, len(whole), 97):
        (tmp_path / "e.zip").write_bytes(whole[:k])
        with pytest.raises(CompileError, match="is a broken zip file"):
            Table(str(tmp_path / "e.zip"), orientation="pre-post").load()


def test_another_archive_says_what_it_holds(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"data/edges.csv": "pre,post\na,b\n", "__MACOSX/._e": "x"})
    with pytest.raises(CompileError, match=r"holds one file, data/edges\.csv") as caught:
        Table(str(path)).load()
    assert caught.value.hint == "unpack it, then set edges=data/edges.csv"
    path = archive(tmp_path / "b.zip", {f"{k}.csv": "" for k in range(7)})
    with pytest.raises(CompileError, match=r"7 files: 0\.csv, .*4\.csv, \.\.\."):
        Table(str(path)).load()
