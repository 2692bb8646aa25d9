from __future__ import annotations

import csv
import hashlib
from importlib.resources import files
from pathlib import Path

import pytest

from connectome_compiler.data_adapters._facts import read_fact
from connectome_compiler.errors import UnknownNameError

FOLDER = files("connectome_compiler.data_adapters") / "facts"
TABLES = sorted(p.name.removesuffix(".csv") for p in FOLDER.iterdir() if p.name.endswith(".csv"))


def test_there_are_tables() -> None:
    assert "pmax_v1dd" in TABLES


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_every_column(name: str) -> None:
    header, *rows = csv.reader((FOLDER / f"{name}.csv").read_text("utf-8").splitlines())
    assert len(set(header)) == len(header)
    assert rows
    assert {len(row) for row in rows} == {len(header)}
    assert [tuple(r.values()) for r in read_fact(name).rows] == [tuple(row) for row in rows]


@pytest.mark.parametrize("name", TABLES)
def test_file_is_named_without_its_path_and_hashed(name: str) -> None:
    file = read_fact(name).file
    content = (FOLDER / f"{name}.csv").read_bytes()
    assert (file.name, file.n_bytes) == (f"facts/{name}.csv", len(content))
    assert file.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", TABLES)
def test_readme_tells_where_every_table_is_from(name: str) -> None:
    (line,) = [x for x in _readme().splitlines() if x.startswith("|") and f"`{name}.csv`" in x]
    *_, source, _ = line.split("|")
    assert "S" in source


def test_readme_carries_the_licences() -> None:
    text = _readme()
    assert "CC BY 4.0" in text
    assert "Copyright (c) 2026, Allen Institute" in text
    assert "Redistributions in binary form must reproduce" in text


def test_unknown_table_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pmax_v1dd'"):
        read_fact("pmax_v1d")


def test_peak_probabilities_are_square_and_are_probabilities() -> None:
    rows = read_fact("pmax_v1dd").rows
    posts = [name for name in rows[0] if name != "pre\\post"]
    assert [r["pre\\post"] for r in rows] == posts
    assert all(0 < float(r[post]) < 1 for r in rows for post in posts)


OF_V1 = {name for name in TABLES if not name.startswith(("celegans_", "mouse_visual_"))}


@pytest.mark.parametrize("name", sorted(OF_V1 - {"column_axis", "column_census"}))
def test_rows_are_as_collected(name: str, test_data: Path) -> None:
    collected = test_data / "v1_statistics" / f"{name}.csv"
    lines = (FOLDER / f"{name}.csv").read_text("utf-8").splitlines()
    assert set(lines) <= set(collected.read_text("utf-8").splitlines())


def _readme() -> str:
    return (FOLDER / "README.md").read_text("utf-8")
