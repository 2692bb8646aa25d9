"""Areas and layers by hand, and the published MouseNet: ``from areas import areas, mousenet``."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from connectome_compiler.data_adapters.mesoscale import Mesoscale
from connectome_compiler.ir import GaussianLaw, Graph, Place, Population, Projection, Provenance
from connectome_compiler.ir.operators import Conv2d
from connectome_compiler.passes.lay_kernels import LayKernels
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import Pass, run
from connectome_compiler.passes.size_maps import SizeMaps
from connectome_compiler.passes.wire_levels import WireLevels

Joined = tuple[str, str] | tuple[str, str, GaussianLaw]  # pre, post and, if not `LAW`, its law
LAW = GaussianLaw(100.0, 10.0)
WIRED: tuple[Pass, ...] = (LevelAreas(), WireLevels(), NormaliseInDegree())
LAID: tuple[Pass, ...] = (*WIRED, SizeMaps(), LayKernels())
KERNELS = Path(__file__).parent / "published" / "mousenet_kernels.csv"


def areas(
    levels: Mapping[str, int | None],
    laws: Sequence[Joined],
    *,
    layers: Sequence[str] = (),
    n_neurons: int | dict[str, int] = 10_000,
    surface_mm2: float | None = 1.0,
) -> Graph:
    """Make areas by level, each with ``layers``, and an ``input`` of three channels."""
    people = [Population("input", (3,), artificial=True)]
    for area, level in levels.items():
        for layer in layers or ("",):
            name = area + layer
            n = n_neurons if isinstance(n_neurons, int) else n_neurons[name]
            place = Place(area, layer or None, level, n, surface_mm2)
            people.append(Population(name, (n,), place=place))
    projections = [Projection(pre, post, law[0] if law else LAW) for pre, post, *law in laws]
    graph = Graph(tuple(people), tuple(projections), Provenance("areas by hand"))
    graph.verify()
    return graph


def mousenet(*passes: Pass) -> Graph:
    """Return the shipped visual areas of the mouse after ``passes``."""
    return run(Mesoscale().load(), passes)


def published_kernels() -> list[dict[str, Any]]:
    """Return the published projections in their order (Shi et al. 2022, its public parameters).

    Open weights are those of mask seed 2021. The in-degree counts probabilities cut at 1.
    """
    with KERNELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    words = ("pre", "post")
    real = ("peak", "width_px", "in_degree_cut")
    return [
        {k: v if k in words else float(v) if k in real else int(v) for k, v in row.items()}
        for row in rows
    ]


def convolution(projection: Projection) -> Conv2d:
    """Return the operator of what must be a convolution."""
    assert isinstance(projection.operator, Conv2d)
    return projection.operator
