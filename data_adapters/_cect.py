"""The data sets of C. elegans that the package cect carries: its cached JSON, not its readers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import SourceFile
from connectome_compiler.reading import must_be_file, read_bytes

from . import _citations as cite
from ._content import BROKEN_ZIP, must_not_burst

PACKAGE = "cect==0.3.5"
ELECTRICAL = "Generic_GJ"
MOST_BYTES = 1 << 28  # of a file; the largest has 10 MB
# Of Wang et al. 2024 in cect; the monoamines beside them are those of Bentley et al. 2016.
ANATOMICAL = ("Acetylcholine", "Glutamate", "GABA", "Betaine")
# The kind of connection: only anatomical ones have a transmitter that acts between the two cells.
Nature = Literal["anatomical", "extrasynaptic", "contact", "functional"]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set: the file of cect that has it, what its connections are, and their unit."""

    reader: str
    title: str
    citation: str
    unit: str = "synapses"
    electrical_unit: str = "gap junctions"
    nature: Nature = "anatomical"
    classes: tuple[str, ...] = ()  # of chemical connections; empty: all there are


_WITVLIET = {
    f"witvliet{k}": DataSet(
        f"WitvlietDataReader{k}", f"C. elegans brain, animal {k} of 8 ({stage})", cite.WITVLIET_2021
    )
    for k, stage in enumerate(("L1", "L1", "L1", "L1", "L2", "L3", "adult", "adult"), 1)
}
_RIPOLL = {
    f"ripoll-sanchez-{reach}": DataSet(
        f"RipollSanchez{reach.capitalize()}RangeReader",
        f"C. elegans, neuropeptides and their receptors, {reach} range",
        cite.RIPOLL_SANCHEZ_2023,
        unit="ligand-receptor pairs",
        nature="extrasynaptic",
    )
    for reach in ("short", "mid", "long")
}
_YIM = {
    "yim2024": ("", "Generic_CS", "normalised volume"),
    "yim2024-raw": ("NonNorm", "Generic_CS", "nm3 of active zone"),
    "yim2024-contacts": ("Contactome", "Contact", "normalised area"),
    "yim2024-contacts-raw": ("ContactomeNonNorm", "Contact", "nm2"),
}
DATA_SETS: Mapping[str, DataSet] = {
    "cook2019": DataSet(
        "Cook2019HermReader", "C. elegans, adult hermaphrodite, whole animal", cite.COOK_2019,
        "EM sections", "EM sections",
    ),
    "cook2019-male": DataSet(
        "Cook2019MaleReader", "C. elegans, adult male, whole animal", cite.COOK_2019,
        "EM sections", "EM sections",
    ),
    "cook2020-pharynx": DataSet(
        "Cook2020DataReader", "C. elegans, pharynx", cite.COOK_2020, "EM sections", "EM sections"
    ),
    "white-whole": DataSet(
        "White_whole", "C. elegans hermaphrodite, after White et al. 1986", cite.WHITE_1986
    ),
    "white-n2u": DataSet(
        "DurbinN2UDataReader", "C. elegans, adult N2U, nerve ring and cord", cite.DURBIN_1987
    ),
    "white-jsh": DataSet(
        "DurbinJSHDataReader", "C. elegans, L4 larva JSH, nerve ring and cord", cite.DURBIN_1987
    ),
    "varshney": DataSet(
        "VarshneyDataReader", "C. elegans hermaphrodite, somatic neurons", cite.VARSHNEY_2011
    ),
    **_WITVLIET,
    "wang2024": DataSet(
        "Wang2024HermReader", "C. elegans hermaphrodite, connections by transmitter",
        cite.WANG_2024, "transmitters", classes=ANATOMICAL,
    ),
    "wang2024-male": DataSet(
        "Wang2024MaleReader", "C. elegans male, connections by transmitter", cite.WANG_2024,
        "transmitters", classes=ANATOMICAL,
    ),
    "brittin2021": DataSet(
        "BrittinDataReader", "C. elegans nerve ring, membrane contacts", cite.BRITTIN_2021,
        "contact area", nature="contact",
    ),
    "bentley-monoamines": DataSet(
        "Bentley2016MAReader", "C. elegans, monoamines and their receptors", cite.BENTLEY_2016,
        "monoamines", nature="extrasynaptic",
    ),
    "bentley-peptides": DataSet(
        "Bentley2016PepReader", "C. elegans, neuropeptides and their receptors", cite.BENTLEY_2016,
        "present", nature="extrasynaptic",
    ),
    **_RIPOLL,
    "randi2023": DataSet(
        "WormNeuroAtlasFuncReader", "C. elegans, calcium responses to stimulated neurons",
        cite.RANDI_2023, "dF/F", nature="functional",
    ),
    **{
        name: DataSet(
            f"Yim2024{part}DataReader", "C. elegans dauer larva, nerve ring", cite.YIM_2024, unit,
            nature="contact" if kind == "Contact" else "anatomical",
        )
        for name, (part, kind, unit) in _YIM.items()
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """A file of cect: names of its cells, and one matrix ``[pre, post]`` per class."""

    names: tuple[str, ...]
    by_class: dict[str, npt.NDArray[np.float64]]
    file: SourceFile
    version: str  # of cect; empty if unknown


def read_matrices(reader: str, path: str) -> Matrices:
    """Read a cached file of cect: of the wheel or the folder ``path``, else the installed one.

    The file itself is dense; it has a few hundred cells. Raises `CompileError` naming the file.
    """
    name = f"{reader}.json"
    content, version = _installed(name) if not path else _from_path(Path(path), name)
    file = SourceFile(f"cect/cache/{name}", hashlib.sha256(content).hexdigest(), len(content))
    where = f"{path}: {file.name}" if path else file.name
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CompileError(where, f"is not JSON: {error}", f"use {PACKAGE}") from error
    nodes = data.get("nodes") if isinstance(data, dict) else None
    given = data.get("connections") if isinstance(data, dict) else None
    if not (isinstance(nodes, list) and isinstance(given, dict)):
        problem = "has no lists of nodes and of connections"
        raise CompileError(where, problem, f"use {PACKAGE}")
    names = tuple(normal(str(n)) for n in nodes)
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise CompileError(where, f"{twice} is the name of two cells")
    matrices = {k: _matrix(f"{where}, {k}", m, len(names)) for k, m in given.items()}
    return Matrices(names, matrices, file, version)


def normal(name: str) -> str:
    """Return a cell's name without padding: ``VA01`` is ``VA1``. Muscles keep it (``MDL01``)."""
    return re.sub(r"^([A-Z]{2})0(\d)$", r"\1\2", name.strip())


def _matrix(where: str, rows: Any, n: int) -> npt.NDArray[np.float64]:
    try:
        matrix = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    except (TypeError, ValueError, OverflowError) as error:
        raise CompileError(where, f"is not a matrix of numbers: {error}") from error
    if matrix.shape != (n, n):
        raise CompileError(where, f"is {matrix.shape[0]} x {matrix.shape[1]}, but has {n} nodes")
    if not np.isfinite(matrix).all():
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise CompileError(f"{where}, row {i + 1}, column {j + 1}", f"is {matrix[i, j]}")
    return matrix


def _installed(name: str) -> tuple[bytes, str]:
    """Read from the installed package; its code is not imported."""
    hint = f"install it (pip install {PACKAGE}), or set path to its wheel"
    hint += f" (pip download --no-deps {PACKAGE})"
    try:
        package = metadata.distribution("cect")
    except metadata.PackageNotFoundError as error:
        raise CompileError("cect", "is not installed, but provides this data set", hint) from error
    try:
        content = Path(str(package.locate_file(f"cect/cache/{name}"))).read_bytes()
    except OSError as error:
        problem = f"version {package.version} has no file cache/{name}"
        raise CompileError("cect", problem, hint) from error
    return content, package.version


def _from_path(path: Path, name: str) -> tuple[bytes, str]:
    if os.path.isdir(path):  # noqa: PTH112  (a name can be too long for pathlib)
        for folder in (path / "cect" / "cache", path / "cache", path):
            if (folder / name).is_file():
                notes = [p.name for p in path.glob("cect-*.dist-info")]
                return read_bytes(folder / name, MOST_BYTES), _version(notes)
        raise CompileError(str(path), f"has no file cect/cache/{name}", f"unpack {PACKAGE}")
    must_be_file(path)
    try:
        with zipfile.ZipFile(path) as wheel:
            must_not_burst(wheel, str(path), [f"cect/cache/{name}"])
            content = wheel.read(f"cect/cache/{name}")
            return content, _version(wheel.namelist())
    except BROKEN_ZIP as error:
        raise CompileError(
            str(path), "is not a wheel", f"pip download --no-deps {PACKAGE}"
        ) from error
    except KeyError as error:
        problem = f"has no file cect/cache/{name}"
        raise CompileError(str(path), problem, f"pip download --no-deps {PACKAGE}") from error


def _version(names: list[str]) -> str:
    found = (re.match(r"cect-([^-/]+)\.dist-info", name) for name in names)
    return next((m[1] for m in found if m), "")
