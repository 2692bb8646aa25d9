"""The V1 column of MICrONS, from the best available source."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from connectome_compiler.errors import CompileError
from connectome_compiler.sources import Source, take_sources

from ._column import CELL_TYPE_SOURCE, PRISM_WIDTH_UM, Column
from ._evidence import Vouched

if TYPE_CHECKING:
    from connectome_compiler.ir import Graph

    from .microns_files import MicronsFiles
    from .microns_release import MicronsRelease

# The sources that use an option. Options not listed are accepted with all of them: recipes
# give the column's cell_type_source and prism_width_um whatever the source.
BELONGS: dict[str, tuple[str, ...]] = {
    "version": ("release",),
    "address": ("release",),
    "column": ("release", "files"),
    "coverage": ("release", "files"),
    "edges": ("files",),
    "cells": ("files",),
    "cortical_layer": ("files",),
    "unconnected": ("files",),
    "unknown_neurons": ("files",),
    "evidence": ("files",),
    "calibrated": ("statistics",),
}


@dataclass(frozen=True, slots=True)
class MicronsV1:
    """Mouse V1 column: ``release`` (public export, measured), ``files`` or ``statistics``.

    ``auto`` takes ``files`` where ``edges`` and ``cells`` are given, else the ``release``, cached
    or downloaded. Only if nothing is cached and nothing at all can be received from the network
    does it fall back to ``statistics``: a column that is modelled, and named
    ``microns-v1-surrogate``. A broken or altered download is an error.
    """

    name: ClassVar[str] = "microns-v1"

    #: origin of the column: public release, your files, or statistics (modelled)
    source: Literal["auto", "release", "files", "statistics"] = "auto"
    # release
    version: int = 1507  #: materialization version of the release, never the latest
    address: str = ""  #: URL or folder with the release's files, which must have the same hashes
    # The column: the cells that this table of the release typed; else those in a slanted square
    # prism, where the data allow neither all cells.
    #: which cells form the column: those typed by cell_type_source, a prism, or all
    column: Column = "auto"
    #: table of the release whose typed cells form the column
    cell_type_source: str = CELL_TYPE_SOURCE
    prism_width_um: float = PRISM_WIDTH_UM  #: width of the slanted square prism, in um
    #: axons whose output connections are kept: proofread ones, or all
    coverage: Literal["proofread", "all"] = "proofread"
    # files
    edges: Source = ""  #: connections, for source files
    cells: Source = ""  #: cells, for source files
    #: cortical layer of cells for which the file gives none: L2/3
    cortical_layer: str | None = None
    unconnected: Literal["drop", "keep"] = "drop"  #: what to do with neurons without connections
    #: what to do with connections to cells that are not in the table
    unknown_neurons: Literal["error", "drop"] = "error"
    evidence: Vouched = "unknown"  #: how the connections in your files are known, on your word
    # statistics
    seed: int = 0  #: seed of the column drawn from statistics
    calibrated: bool = True  #: scale drawn connections to the numbers counted in MICrONS

    def __post_init__(self) -> None:
        take_sources(self)

    def load(self) -> Graph:
        """Return the graph; raise `CompileError` if the requested source has none."""
        source = self._chosen()
        if source == "files":
            return self._files().load()
        if source == "statistics":
            return self._modelled("")
        if self.source == "release":
            return self._release().load()
        from ._download import UnreachableError, has_anything

        release = self._release()
        try:
            release.fetch()
        except UnreachableError as error:
            if has_anything(release.folder):
                problem = f"{error.problem}, and {release.folder} does not have all files"
                hint = f"connect and try again, or set source=statistics; {error.hint}"
                raise CompileError(error.where, problem, hint) from error
            # Not the system's message, which differs between machines: builds must not.
            return self._modelled(f"nothing is cached, and {error.where} cannot be reached")
        return release.read()

    def fetch(self, progress: bool | None = None) -> list[Path]:
        """Fill the cache and return its files; ``progress`` none: shown on a terminal.

        Raise `CompileError` if the source is not downloaded.
        """
        if (source := self._chosen()) in ("files", "statistics"):
            problem = f"source={source} has nothing to download"
            raise CompileError(self.name, problem, "only the release is downloaded")
        return self._release().fetch(progress)

    def _chosen(self) -> str:
        """Return the source to use, ``auto`` standing for release, else statistics.

        Raise `CompileError` if an option is set that the source does not use.
        """
        named = [key for key in ("edges", "cells", "cortical_layer") if getattr(self, key)]
        source = "files" if self.source == "auto" and named else self.source
        used_by = ("release", "statistics") if source == "auto" else (source,)
        for field in fields(self):
            owners = BELONGS.get(field.name, used_by)
            if getattr(self, field.name) != field.default and not set(owners) & set(used_by):
                those = " or ".join(owners)
                problem = f"{field.name} is an option of source={those}, not source={source}"
                hint = f"leave out {field.name}, or set source={owners[0]}"
                raise CompileError(self.name, problem, hint)
        if source == "files":
            for key in ("edges", "cells"):
                if key not in named:
                    raise CompileError(self.name, f"source=files needs {key}", f"--set {key}=FILE")
        return source

    def _release(self) -> MicronsRelease:
        from .microns_release import MicronsRelease

        return MicronsRelease(
            version=self.version,
            address=self.address,
            column=self.column,
            cell_type_source=self.cell_type_source,
            prism_width_um=self.prism_width_um,
            coverage=self.coverage,
        )

    def _files(self) -> MicronsFiles:
        from .microns_files import MicronsFiles

        return MicronsFiles(
            edges=self.edges,
            cells=self.cells,
            cortical_layer=self.cortical_layer,
            column=self.column,
            cell_type_source=self.cell_type_source,
            prism_width_um=self.prism_width_um,
            coverage=self.coverage,
            unconnected=self.unconnected,
            unknown_neurons=self.unknown_neurons,
            evidence=self.evidence,
        )

    def _modelled(self, why: str) -> Graph:
        """Return the surrogate; ``why`` is added to its history if it was not requested."""
        from connectome_compiler.ir.provenance import FALLBACK

        from .microns_statistics import MicronsStatistics

        graph = MicronsStatistics(seed=self.seed, calibrated=self.calibrated).load()
        if not why:
            return graph
        n, m = graph.n_neurons, graph.n_connections
        fallback = graph.provenance.steps[-1].then(FALLBACK, "", n, m, (why,))
        return replace(graph, provenance=graph.provenance.with_step(fallback))
