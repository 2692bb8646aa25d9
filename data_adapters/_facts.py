"""The small published tables that ship with the package: ``facts/*.csv``, sources in its README."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from importlib.resources import files

from connectome_compiler.errors import UnknownNameError
from connectome_compiler.ir import SourceFile


@dataclass(frozen=True, slots=True)
class Fact:
    """One published table: its rows as text, by column name, and the file that it came from."""

    rows: tuple[dict[str, str], ...]
    file: SourceFile


def read_fact(name: str) -> Fact:
    """Read ``facts/<name>.csv``; raise `UnknownNameError` if no such table ships."""
    folder = files("connectome_compiler.data_adapters") / "facts"
    table = folder / f"{name}.csv"
    if not table.is_file():
        known = [p.name.removesuffix(".csv") for p in folder.iterdir() if p.name.endswith(".csv")]
        raise UnknownNameError.among("table of facts", name, known)
    content = table.read_bytes()
    rows = tuple(csv.DictReader(content.decode("utf-8").splitlines()))
    file = SourceFile(f"facts/{name}.csv", hashlib.sha256(content).hexdigest(), len(content))
    return Fact(rows, file)
