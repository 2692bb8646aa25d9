"""Derive the shipped tables of C. elegans from the packages and the supplement that hold them.

    pip download --no-deps --dest wheels cect==0.3.5 c302==0.12.1
    python scripts/make_celegans_facts.py wheels journal.pcbi.1007974.s003.xlsx

The workbook is supplement S3 of Fenyves et al. (2020), doi:10.1371/journal.pcbi.1007974. Needs this
project and openpyxl. Nothing of the packages is imported: their files are read inside the wheels.
Equal inputs give equal bytes; the sha256 of each table that is written is printed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import sys
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from connectome_compiler import files
from connectome_compiler.data_adapters._cect import normal

FACTS = Path(__file__).parent.parent / "data_adapters" / "facts"
CONNECTIONS = "cect/cache/Cook2019HermReader.json"
CELLS = "cect/data/all_cell_info.csv"
# Workbook, sheet and the first of the three columns with transmitters (from 0) of Wang et al. 2024.
WANG = (
    ("cect/data/elife-95402-supp2-v1.xlsx", "Supp File 2", 20),  # hermaphrodite
    ("cect/data/elife-95402-supp3-v1.xlsx", "Supp File 3", 21),  # neurons that only males have
)
SIGNS = "5. Sign prediction"
POLARITY = {"+": "+", "-": "-", "complex": "complex", "no pred": "none"}

# The source's word for a cell (WormAtlas, Cook et al. 2019), and its role. A role that is not here
# is not known: polymodal neurons of the pharynx, and the canal neurons.
ROLES = {
    "sensory": (
        "Amphid", "Amphid, nociceptive", "Cephalic", "Mechanosensory", "Phasmid", "Touch",
        "O2, CO2, social signals, touch", "Male sensory neuron", "Male head sensory neuron",
    ),
    "inter": (
        "Layer 1 interneuron", "Layer 2 interneuron", "Layer 3 interneuron",
        "Category 4 interneuron", "Linker to pharynx", "Pharyngeal interneuron",
        "Layer 1 interneuron; motorneuron in White et al., 1986",
        "Male interneuron", "Male head interneuron",
    ),
    "motor": (
        "Ventral cord motor neuron", "Head motor neuron", "Sublateral motor neuron",
        "Sublateral motor neuron; interneuron in White et al., 1986",
        "Hermaphrodite specific motor neuron", "Pharyngeal motor neuron",
    ),
    "": ("Pharyngeal polymodal neuron", "Canal neuron"),
}  # fmt: skip
ROLE = {word: role for role, words in ROLES.items() for word in words}

# Words of Wang et al. 2024 without marks: "*" (dim or variable), "NEW", "(new)", "?". A word for
# nothing known is empty; what is said of males in the hermaphrodite's table is left out.
TRANSMITTERS = {
    "ach": "acetylcholine",
    "glu": "glutamate",
    "gaba": "gaba",
    "da": "dopamine",
    "5-ht": "serotonin",
    "5-ht (synthesis + uptake)": "serotonin",
    "5-ht (alternative synthesis/uptake mechanism)": "serotonin",
    "male - 5-ht (alternative synthesis/uptake mechanism)": "",
    "5-ht (uptake)": "serotonin uptake",
    "5-htp": "5-htp",
    "5-htp (synthesis) and 5-ht (uptake)": "5-htp+serotonin uptake",
    "octopamine": "octopamine",
    "tyramine": "tyramine",
    "tyramine (synthesis + uptake)": "tyramine",
    "gaba (uptake)": "gaba uptake",
    "betaine (uptake)": "betaine uptake",
    "peoh": "phenylethanolamine",
    "unknown monoamine": "unknown monoamine",
    "bas-1-depen unknown monoamine": "unknown monoamine",
    "unknown (orphan)": "",
    "unknown (orphan, unc-46 expression)": "",
    "unknown (orphan, unc-47 expression)": "",
    "unknown (orphan; unc-47 positive)": "",
}
# Rows of Wang et al. 2024 that name two cells: which of them each row is.
SHARED = {
    "DB1/3": ("DB1",), "DB3/1": ("DB3",), "DX1/2": ("DX1", "DX2"), "DX3/4": ("DX3", "DX4"),
    "EF1/2": ("EF1", "EF2"), "EF3/4": ("EF3", "EF4"),
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Write the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", type=Path, help="folder with the wheels of cect and c302")
    parser.add_argument("signs", type=Path, help="supplement S3 of Fenyves et al. 2020 (.xlsx)")
    parser.add_argument("--out", type=Path, default=FACTS)
    given = parser.parse_args(arguments)
    with wheel(given.wheels, "cect") as cect, wheel(given.wheels, "c302") as c302:
        data = json.loads(cect.read(CONNECTIONS))
        cells = list(read_cells(cect, c302, {normal(n) for n in data["nodes"]}))
        edges = read_connections(data)
    signs = read_signs(given.signs)
    header = (
        "name", "cook2019", "kind", "role", "type", "class", "side", "transmitters",
        "x_um", "y_um", "z_um",
    )  # fmt: skip
    write(given.out / "celegans_cells.csv", header, cells)
    write(given.out / "celegans_cook2019.csv", ("pre", "post", "kind", "weight"), edges)
    write(given.out / "celegans_fenyves2020.csv", ("pre", "post", "sign"), signs)


def wheel(folder: Path, name: str) -> zipfile.ZipFile:
    """Open the wheel of a package in ``folder``."""
    found = sorted(folder.glob(f"{name}-*.whl"))
    if len(found) != 1:
        sys.exit(f"{folder}: {len(found)} wheels of {name}, expected one")
    return zipfile.ZipFile(found[0])


def read_connections(data: dict[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    """Yield ``pre, post, kind, weight``, sorted; gap junctions once per pair, first name first."""
    names = [normal(n) for n in data["nodes"]]
    rows = []
    for kind, key in (("chemical", "Generic_CS"), ("electrical", "Generic_GJ")):
        matrix = data["connections"][key]  # [pre][post]
        for i, row in enumerate(matrix):
            for j, weight in enumerate(row):
                if not weight:
                    continue
                if weight != int(weight) or weight < 0:
                    sys.exit(f"{key}: {names[i]} -> {names[j]} has weight {weight}")
                if kind == "electrical" and matrix[j][i] != weight:
                    sys.exit(f"{key}: {names[i]} - {names[j]} is not symmetric")
                if kind == "chemical" or names[i] <= names[j]:
                    rows.append((names[i], names[j], kind, int(weight)))
    yield from sorted(rows, key=lambda r: (r[2], r[0], r[1]))


def read_cells(
    cect: zipfile.ZipFile, c302: zipfile.ZipFile, shipped: set[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield one row per cell that the toolbox knows; ``shipped`` are those of Cook et al. 2019."""
    listed = list(csv.DictReader(io.StringIO(cect.read(CELLS).decode("utf-8-sig"))))
    types = {normal(row["Cell name"]): row["Type"].strip() for row in listed}
    if missing := shipped - set(types):
        sys.exit(f"{CELLS} lacks {', '.join(sorted(missing))}")
    wang = read_wang(cect)
    if unknown := set(wang) - set(types):
        print(f"without a row in {CELLS}, left out: {', '.join(sorted(unknown))}")
    for name in sorted(types):
        word = types[name]
        kind = "neuron" if word in ROLE else "muscle" if is_muscle(word) else "other"
        if kind == "other" and "neuron" in word.lower():
            sys.exit(f"{CELLS}: {name} is {word!r}, which has no role here")
        role = "muscle" if kind == "muscle" else ROLE.get(word, "")
        cell_class, transmitters = wang.get(name, ("", ""))
        where = position(c302, name) if kind == "neuron" else ("", "", "")
        used = "yes" if name in shipped else "no"
        yield (
            *(name, used, kind, role, word, cell_class, side(name, set(types))),
            *(transmitters, *where),
        )


def is_muscle(word: str) -> bool:
    """Whether the source's word for a cell is that of a muscle."""
    male = ("oblique", "gubernacular", "longitudinal", "protractor", "retractor")
    return "muscle" in word.lower() or any(part in word.lower() for part in male)


def side(name: str, known: set[str]) -> str:
    """Return left or right where a cell's name says so, and its partner's name is a cell too."""
    words = {"L": ("left", "R"), "R": ("right", "L")}
    if muscle := re.fullmatch(r"M[DV]([LR])\d\d", name):
        return words[muscle[1]][0]
    if name[-1] in words and name[:-1] + words[name[-1]][1] in known:
        return words[name[-1]][0]
    return ""


def read_wang(cect: zipfile.ZipFile) -> dict[str, tuple[str, str]]:
    """Return class and transmitters by cell, in the order of the source, joined by ``+``."""
    found: dict[str, tuple[str, str]] = {}
    for path, title, column in WANG:
        cell_class, seen = "", dict.fromkeys(SHARED, 0)
        for row in sheet(io.BytesIO(cect.read(path)), title)[4:]:
            cell = str(row[2] or "").strip()
            if row[1]:
                cell_class = str(row[1]).strip("* ")
            if not re.fullmatch(r"[A-Z0-9/]+", cell):
                continue  # a blank, or the legend
            if cell in SHARED:
                seen[cell] += 1
                cell = SHARED[cell][seen[cell] - 1]
            words = [transmitter(path, w) for w in row[column : column + 3] if w]
            kept = [part for w in words if w for part in w.split("+")]
            found[normal(cell)] = (cell_class, "+".join(dict.fromkeys(kept)))
    return found


def transmitter(path: str, word: str) -> str:
    """Return our word for one of the source's."""
    plain = re.sub(r"\*|\?|\(new\)|-\s*new\b", " ", word.lower())
    plain = " ".join(plain.split()).replace(" )", ")")
    if plain not in TRANSMITTERS:
        sys.exit(f"{path}: {word!r} is no transmitter that is known")
    return TRANSMITTERS[plain]


def position(c302: zipfile.ZipFile, name: str) -> tuple[str, str, str]:
    """Return the soma's place in um, empty if not known.

    x is positive on the left for nearly all cells, y grows from head to tail, z from belly to back.
    """
    path = f"c302/NeuroML2/{name}.cell.nml"
    if path not in c302.namelist():
        return ("", "", "")
    space = "{http://www.neuroml.org/schema/neuroml2}"
    root = ElementTree.fromstring(c302.read(path))
    somas = [s for s in root.iter(f"{space}segment") if s.get("name") == "Seg0_soma_0"]
    start = somas[0].find(f"{space}proximal")
    if start is None:
        sys.exit(f"{path}: the soma has no position")
    x, y, z = (repr(float(start.attrib[axis])) for axis in "xyz")
    return (x, y, z)


def read_signs(workbook: Path) -> Iterator[tuple[str, str, str]]:
    """Yield ``pre, post, sign``, sorted: ``+``, ``-``, ``complex``, ``none`` (no prediction)."""
    rows = sheet(workbook, SIGNS)
    if rows[1][0] != "Neuron" or rows[0][16] != "Predicted polarity":
        sys.exit(f"{workbook}: sheet {SIGNS!r} has another layout")
    found = [(normal(r[0]), normal(r[3]), POLARITY[r[16]]) for r in rows[2:] if r[0]]
    if len({(pre, post) for pre, post, _ in found}) != len(found):
        sys.exit(f"{workbook}: a connection occurs twice")
    yield from sorted(found)


def sheet(workbook: Path | io.BytesIO, title: str) -> list[tuple[Any, ...]]:
    """Return the values of one sheet."""
    from openpyxl import load_workbook

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # extensions that are not about values
        opened = load_workbook(workbook, read_only=True, data_only=True)
        return [tuple(row) for row in opened[title].iter_rows(values_only=True)]


def write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Write a table with plain line ends, and say what was written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    content = text.getvalue().encode()
    files.write(path, content)
    n_rows = content.count(b"\n") - 1
    print(f"{path.name}: {n_rows:,} rows, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main(sys.argv[1:])
