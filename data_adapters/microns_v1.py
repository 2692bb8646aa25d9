"""The V1 column of MICrONS, from the best source that can be had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from connectome_compiler.errors import CompileError

if TYPE_CHECKING:
    from connectome_compiler.ir import Graph

    from .microns_files import MicronsFiles
    from .microns_release import MicronsRelease


@dataclass(frozen=True, slots=True)
class MicronsV1:
    """Mouse V1 column: ``release`` (public export, measured), ``files`` or ``statistics``.

    ``auto`` takes ``files`` where ``edges`` and ``cells`` are given, else the ``release``, cached
    or downloaded. Only when nothing of it is cached and not a single byte can be had from the
    network does it fall back to ``statistics``: a column that is modelled, and named
    ``microns-v1-surrogate``. A broken or altered download is an error.
    """

    name: ClassVar[str] = "microns-v1"

    source: Literal["auto", "release", "files", "statistics"] = "auto"
    # release
    version: int = 1507  # materialization version; never "the latest"
    address: str = ""  # another folder with the release's files; their hashes must be the same
    # The column: the cells that this table of the release typed; else those in a leaning square
    # prism, where the data allow neither all cells.
    column: Literal["auto", "types", "prism", "all"] = "auto"
    cell_type_source: str = "allen_v1_column_types_slanted_ref"
    prism_width_um: float = 100.0
    coverage: Literal["proofread", "all"] = "proofread"  # whose output connections are kept
    # files
    edges: str | None = None
    cells: str | None = None
    cortical_layer: str | None = None  # of all cells for which the tables tell none
    unconnected: Literal["drop", "keep"] = "drop"  # neurons without any connection
    unknown_neurons: Literal["error", "drop"] = "error"  # connections with cells not in the table
    # statistics
    seed: int = 0
    calibrated: bool = True

    def load(self) -> Graph:
        """Return the graph; raise `CompileError` if the source that is asked for has none."""
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
                hint = f"connect and repeat, or take source=statistics on purpose; {error.hint}"
                raise CompileError(error.where, problem, hint) from error
            # Not the system's own words: they differ between machines, and builds must not.
            return self._modelled(f"nothing is cached, and {error.where} cannot be reached")
        return release.read()

    def fetch(self, progress: bool | None = None) -> list[Path]:
        """Fill the cache and return its files; ``progress`` none: shown on a terminal."""
        return self._release().fetch(progress)

    def _chosen(self) -> str:
        """Return the source to use, ``auto`` standing for release or statistics."""
        given = [key for key in ("edges", "cells", "cortical_layer") if getattr(self, key)]
        if self.source not in ("auto", "files"):
            if given:
                problem = f"{given[0]}= belongs to source=files, not source={self.source}"
                raise CompileError(self.name, problem)
            return self.source
        if not given and self.source == "auto":
            return "auto"
        for key in ("edges", "cells"):
            if key not in given:
                raise CompileError(self.name, f"source=files needs {key}=", f"--set {key}=FILE")
        return "files"

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
            edges=self.edges or "",
            cells=self.cells or "",
            cortical_layer=self.cortical_layer,
            column=self.column,
            cell_type_source=self.cell_type_source,
            prism_width_um=self.prism_width_um,
            coverage=self.coverage,
            unconnected=self.unconnected,
            unknown_neurons=self.unknown_neurons,
        )

    def _modelled(self, why: str) -> Graph:
        """Return the surrogate; ``why`` is added to its history if nobody asked for it."""
        from connectome_compiler.ir.provenance import FALLBACK, Step

        from .microns_statistics import MicronsStatistics

        graph = MicronsStatistics(seed=self.seed, calibrated=self.calibrated).load()
        if not why:
            return graph
        n, m = graph.n_neurons, graph.n_connections
        fallback = Step(FALLBACK, "", n, n, m, m, (why,))
        return replace(graph, provenance=graph.provenance.with_step(fallback))
