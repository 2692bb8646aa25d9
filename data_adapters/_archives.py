"""Zip archives: the connectivity of The Virtual Brain; any other is refused by what it holds."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError

from ._content import BROKEN_ZIP, FETCH_AGAIN, must_not_burst, tvb_parts
from ._matrix import matrix_of, raw_of, shown_of
from ._raw import Raw
from ._readers import ReadOptions

WHAT = "a connectivity of The Virtual Brain"
# Tables of cells by the name of their file: one row per region.
OF_REGIONS = {
    "areas": ("area",), "cortical": ("cortical",), "hemispheres": ("right_hemisphere",),
    "average_orientations": ("orientation_x", "orientation_y", "orientation_z"),
}  # fmt: skip


def read_tvb(path: Path, options: ReadOptions) -> Raw:
    """Read weights, tract lengths and regions of an archive of The Virtual Brain."""
    try:
        with zipfile.ZipFile(path) as archive:
            must_not_burst(archive, str(path))
            parts = tvb_parts(archive.namelist())
            texts = {part: archive.read(name).decode("utf-8") for part, name in parts.items()}
    except (*BROKEN_ZIP, UnicodeDecodeError) as error:
        raise CompileError(str(path), f"is a broken zip file: {error}", FETCH_AGAIN) from error
    where = f"{path}, {parts['weights']}"
    weights = _numbers(where, texts["weights"])
    matrix = matrix_of(where, weights, WHAT)
    names, columns, notes = _regions(path, texts, len(weights))
    unit = re.search(r"weights_unit\s*=\s*[\"']?([^\"'\n]+)", texts.get("info", ""))
    if unit:
        notes.append(f"unit of the weights according to info.txt: {unit[1].strip()}")
    raw = raw_of(
        where,
        replace(matrix, rows=names, columns=names, unit=unit[1].strip() if unit else "",
                said=(*notes, *matrix.said), shown=shown_of(weights)),
        options,
    )  # fmt: skip
    edges = raw.edges
    if lengths := texts.get("tract_lengths"):
        place = f"{path}, {parts['tract_lengths']}"
        length = _numbers(place, lengths)
        if length.shape != weights.shape:
            raise CompileError(place, "has another shape than the weights")
        edges = edges.append_column("tract_length", pa.array(length[matrix.row, matrix.column]))
    assert raw.cells is not None
    cells = raw.cells
    for name, values in columns.items():
        cells = cells.append_column(name, values)
    return replace(raw, edges=edges, cells=cells)


def _numbers(where: str, text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return a matrix of numbers, separated by blanks or commas."""
    try:
        return np.loadtxt(io.StringIO(text.replace(",", " ")), ndmin=2)
    except ValueError as error:
        raise CompileError(where, f"is not a matrix of numbers: {error}") from error


def _regions(
    path: Path, texts: dict[str, str], n: int
) -> tuple[list[str] | None, dict[str, pa.Array], list[str]]:
    """Return the names of regions, and what else is told of them."""
    columns: dict[str, pa.Array] = {}
    names, notes = None, []
    if "centres" in texts:
        rows = [line.split() for line in texts["centres"].splitlines() if line.strip()]
        if len(rows) != n or any(len(row) != 4 for row in rows):
            problem = f"needs {n} rows of a name and three numbers, one per row of the weights"
            raise CompileError(f"{path}, centres", problem)
        names = [row[0] for row in rows]
        try:
            for k, axis in enumerate("xyz"):
                columns[f"{axis}_mm"] = pa.array([float(row[k + 1]) for row in rows])
        except ValueError as error:
            raise CompileError(f"{path}, centres", f"holds no position: {error}") from error
        notes.append("regions and their centres from centres.txt")
    for part, called in OF_REGIONS.items():
        if part in texts:
            values = _numbers(f"{path}, {part}", texts[part])
            if values.shape != (n, len(called)):
                problem = f"has shape {values.shape}, expected {n} rows of {len(called)}"
                raise CompileError(f"{path}, {part}", problem)
            columns |= {name: pa.array(values[:, k]) for k, name in enumerate(called)}
    return names, columns, notes


def refuse(path: Path) -> None:
    """Raise `CompileError` that says what a zip archive holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [i.filename for i in archive.infolist() if not i.is_dir()]
    except BROKEN_ZIP as error:
        raise CompileError(str(path), f"is a broken zip file: {error}", FETCH_AGAIN) from error
    names = [n for n in names if not PurePosixPath(n).name.startswith((".", "__MACOSX"))]
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    problem = f"is a zip archive of {len(names):,} files: {some}" if len(names) != 1 else (
        f"is a zip archive that holds one file, {names[0]}"
    )  # fmt: skip
    first = names[0] if names else "FILE"
    raise CompileError(str(path), problem, f"unpack it, then set edges={first}")
