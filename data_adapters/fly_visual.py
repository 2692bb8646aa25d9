"""The fly's visual system: a measured template of 65 cell types, tiled over the eye."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    SourceFile,
    Step,
    Synapses,
    neuron_table,
)
from connectome_compiler.reading import must_be_file, read_bytes

from ._citations import LAPPALAINEN_2024, RIVERA_ALBA_2011, SHINOMIYA_2019, TAKEMURA_2015
from ._content import BROKEN_ZIP
from ._flyvis import EXTENT, MAX_BYTES, MAX_EXTENT, Fill, columns, parse, tile

# flyvis/connectome/fib25-fib19_v2.2.json of flyvis 1.2.0
PUBLISHED = "bfbb0766251ff09e22723d0ebbf7b14793e70b3ae8ad0eea64eac9d28223351a"
FOLDER = "flyvis/connectome/"
HINT = (
    "pip install -c constraints.txt '.[fly-visual]', or pip download --no-deps flyvis and "
    "--set path=flyvis-1.2.0-py3-none-any.whl"
)


@dataclass(frozen=True, slots=True)
class FlyVisual:
    """The motion pathways of the fly's optic lobe, signed, at any size (Lappalainen et al. 2024).

    Every column of a hexagonal eye gets the same 65 cell types and the same connections, with the
    mean synapse counts of a few columns reconstructed by electron microscopy. So the filters are
    measured but individual neurons are not: each is a copy, and the connectivity counts as
    modelled. Signs come from transmitters and receptors, and count as predicted.

    ``extent`` is the radius of the eye in columns: 15 gives the published 45,669 neurons, 23 gives
    104,921. ``fill="hull"`` puts one synapse into each gap inside a filter's hull, as the published
    network does; "none" keeps only what was observed. ``path`` is a connectome file of flyvis
    (JSON) or its wheel; without it the installed package flyvis is looked up, and not imported.

    Neurons have the columns ``u`` and ``v`` (axial coordinates of their column of the eye) and
    ``output`` (true for the 34 types that flyvis decodes from). Photoreceptors have the role
    "sensory", all others "inter": none of them is a motor neuron.
    """

    name: ClassVar[str] = "fly-visual"

    extent: int = EXTENT  #: radius of the eye, in columns
    path: str = ""  #: connectome file of flyvis (JSON), or its wheel; empty: the installed package
    #: one synapse in every gap inside a filter's hull (hull), or only observed ones (none)
    fill: Fill = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.extent <= MAX_EXTENT:
            hint = f"0 to {MAX_EXTENT}; a fly's eye is about {EXTENT}"
            raise CompileError(f"{self.name}.extent", f"is {self.extent}", hint)

    def load(self) -> Graph:
        """Tile the eye; raise `CompileError` if the file is not found or is not one of flyvis."""
        where, file_name, content = _find(self.path) if self.path else _installed()
        digest = hashlib.sha256(content).hexdigest()
        template = parse(where, content)
        counted = f"{len(template.filters)} filters with {template.n_offsets:,} offsets"
        notes = [
            f"{len(template.types)} cell types, {counted}",
            "connectivity counts as modelled: every column is a copy of the mean of a few columns",
            "signs count as predicted, from transmitters and receptors",
            "left out: parameters of flyvis's own model (bias, time_constant, lambda_mult)",
        ]
        if self.fill == "hull":
            n_seen, template = template.n_offsets, template.filled()
            n_assumed = template.n_offsets - n_seen
            notes.append(f"{n_assumed:,} offsets assumed, one synapse each, in gaps of filters")
        eye = tile(template, self.extent)
        edges = Synapses.from_edges(
            eye.post, eye.pre, eye.count, unit="mean synapses", sign=eye.sign
        )
        table = neuron_table({"neuron_id": eye.ids(), **columns(template, eye)})
        neurons = Population("neurons", (len(eye.u),), table)
        n_columns = 3 * self.extent * (self.extent + 1) + 1
        notes.append(f"{n_columns:,} columns; connections end at the edge of the eye")
        if n_unsigned := int((eye.sign == 0).sum()):
            notes.append(f"{n_unsigned:,} connections without a sign")
        stem = file_name.removesuffix(".json")
        options = f'extent={self.extent}, fill="{self.fill}"'
        step = Step.first("tile-columns", options, neurons.n_units, len(edges.post), notes)
        published = digest == PUBLISHED
        papers = (LAPPALAINEN_2024, RIVERA_ALBA_2011, TAKEMURA_2015, SHINOMIYA_2019)
        graph = Graph(
            (neurons,),
            (Projection("neurons", "neurons", edges),),
            Provenance(
                dataset=self.name if published else f"flyvis:{stem}",
                version=stem if published else "",
                title=f"Visual system of the fly, a template tiled over {n_columns:,} columns",
                connectivity=Evidence.MODELLED,
                made="the mean connections of a few columns were copied to every column of the eye",
                signs=Evidence.PREDICTED,
                licence="MIT (flyvis)" if published else "not stated by the file: see its source",
                citations=papers if published else (),
                files=(SourceFile(file_name, digest, len(content)),),
                steps=(step,),
            ),
        )
        graph.verify()
        return graph


def _find(path: str) -> tuple[str, str, bytes]:
    """Return where the file is, its name and its content, of a JSON file or of a wheel."""
    must_be_file(Path(path), HINT)
    try:
        with Path(path).open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise CompileError(path, f"cannot be read: {error.strerror}") from error
    if not zipped:
        return path, Path(path).name, read_bytes(Path(path), MAX_BYTES)
    try:
        with zipfile.ZipFile(path) as wheel:
            name = _the_one(path, (n for n in wheel.namelist() if _is_connectome(n)))
            if (size := wheel.getinfo(name).file_size) > MAX_BYTES:
                raise CompileError(
                    f"{path}, {name}", f"has {size:,} bytes, too many for a connectome file"
                )
            return f"{path}, {name}", Path(name).name, wheel.read(name)
    except BROKEN_ZIP as error:
        raise CompileError(path, f"is a broken wheel: {error}", "download it again") from error


def _installed() -> tuple[str, str, bytes]:
    try:
        package = metadata.distribution("flyvis")
    except metadata.PackageNotFoundError:
        raise CompileError("fly-visual", "the package flyvis is not installed", HINT) from None
    places = {str(f): f.locate() for f in package.files or () if _is_connectome(f.as_posix())}
    name = _the_one(f"flyvis {package.version}", iter(places))
    return _find(str(places[name]))


def _is_connectome(name: str) -> bool:
    return name.startswith(FOLDER) and name.endswith(".json")


def _the_one(where: str, names: Iterator[str]) -> str:
    found = list(names)
    if len(found) == 1:
        return found[0]
    problem = f"has {len(found)} files {FOLDER}*.json, expected 1"
    hint = "unpack the one you mean, and give it as path" if found else HINT
    raise CompileError(where, problem, hint)
