"""Areas and layers of a cortex, connected by laws of probability; the mouse's are included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, isfinite, pi
from pathlib import Path
from typing import ClassVar, Literal

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.graph import Graph, Place, Population, Port, Projection
from connectome_compiler.ir.laws import GaussianLaw
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.provenance import Evidence, Provenance, Step
from connectome_compiler.options import spell
from connectome_compiler.sources import Source, take_sources

from ._area_tables import AreaTable, Row, read_table
from ._citations import (
    BILLEH_2020,
    DURAND_2016,
    KNOX_2018,
    LEVY_REYES_2012,
    SHI_2022,
    STEPANYANTS_2008,
)

INPUT = "input"
PLACEHOLDER = 1000.0  # sources of one target neuron in other areas, as Shi et al. 2022 assume
IMAGE = Swept("linear")
MAP = Swept("relu", "batch")
# The papers behind each shipped table, beside the one that put them together.
PAPERS = {
    "interlaminar": (BILLEH_2020, STEPANYANTS_2008, LEVY_REYES_2012),
    "interareal": (KNOX_2018, DURAND_2016),
}
LICENCE = (
    "published numbers alone (Shi et al. 2022, CC BY 4.0); those between areas come from a model "
    "of the Allen Institute, see its terms of use"
)
Law = tuple[str, str, GaussianLaw]  # of the projection pre -> post


@dataclass(frozen=True, slots=True)
class Mesoscale:
    """Areas by cortical layers, joined by laws of probability; the mouse's visual areas ship.

    Without options: the thalamus (LGNd) and seven visual areas of the mouse, layers 2/3, 4 and 5,
    729,220 excitatory neurons, from the numbers of Shi et al. 2022 (MouseNet). No neuron or
    connection was observed: the connectivity counts as modelled, and nothing has a sign.

    Each table can be a CSV file of your own; ``docs/mousenet.md`` says more:
    ``populations``: area, layer, n_neurons; if known level, surface_mm2, output, also_called.
    ``interlaminar``, within areas: pre_layer, post_layer, probability, width_um; at_um.
    ``interareal``: pre, post, width; unit (um, or px of the source's map), and share (of the inputs
    that the target has from other areas), in_degree, or peak. The image is ``input``.

    ``in_degree`` is the number of sources of one target neuron in other areas, of which shares are
    fractions. It has not been measured; 1000 is a placeholder of the authors. ``input_channels``:
    3 for colour images.
    """

    name: ClassVar[str] = "mesoscale"

    #: CSV of areas and layers with their numbers of neurons; empty: the mouse's
    populations: Source = ""
    interlaminar: Source = ""  #: CSV of connection probabilities within areas; empty: the mouse's
    interareal: Source = ""  #: CSV of projections between areas; empty: the mouse's
    #: sources of one neuron in other areas, of which shares are fractions
    in_degree: float = PLACEHOLDER
    input_channels: int = 3  #: channels of the image: 1 (grey) or 3 (colour)

    def __post_init__(self) -> None:
        take_sources(self)
        if not (isfinite(self.in_degree) and self.in_degree > 0):
            raise CompileError(f"{self.name}.in_degree", f"must be positive, not {self.in_degree}")
        if self.input_channels < 1:
            raise CompileError(
                f"{self.name}.input_channels", f"must be at least 1, not {self.input_channels}"
            )

    def load(self) -> Graph:
        """Return the graph; raise `CompileError` naming file, line and column of what is wrong."""
        tables = {
            "populations": read_table(
                self.populations,
                "mouse_visual_populations",
                ("area", "layer", "n_neurons"),
                ("level", "surface_mm2", "output", "also_called"),
            ),
            "interlaminar": read_table(
                self.interlaminar,
                "mouse_visual_interlaminar",
                ("pre_layer", "post_layer", "probability", "width_um"),
                ("at_um",),
            ),
            "interareal": read_table(
                self.interareal,
                "mouse_visual_interareal",
                ("pre", "post", "width"),
                ("unit", "share", "in_degree", "peak"),
            ),
        }
        people = _read_populations(tables["populations"])
        image = Population(INPUT, (self.input_channels,), node=IMAGE, artificial=True)
        within, notes = _within_areas(tables["interlaminar"], people)
        between, more = self._between_areas(tables["interareal"], people)
        # In the order of the populations: the order of table rows has no effect.
        rank = {name: k for k, name in enumerate((INPUT, *people.cells))}
        laws = sorted((*within, *between), key=lambda law: (rank[law[0]], rank[law[1]]))
        graph = Graph(
            (image, *people.cells.values()),
            tuple(Projection(pre, post, law) for pre, post, law in laws),
            _provenance(tables),
            (Port(INPUT, INPUT, "in"), *(Port(name, name, "out") for name in people.read)),
        )
        graph.verify()
        areas = {_place(p).area for p in people.cells.values()}
        counted = f"{len(areas)} areas, {len(people.cells)} populations"
        step = Step.first(
            "read-areas",
            f"in_degree={spell(self.in_degree)}, input_channels={self.input_channels}",
            graph.n_neurons, graph.n_connections,
            (f"{counted}; connections are expected numbers", *notes, *more, *_origins(tables)),
        )  # fmt: skip
        provenance = graph.provenance.with_step(step)
        return Graph(graph.populations, graph.projections, provenance, graph.ports)

    def _between_areas(self, table: AreaTable, people: _People) -> tuple[list[Law], list[str]]:
        """Return the laws between areas and from the image, and what was counted."""
        laws: dict[tuple[str, str], GaussianLaw | None] = {}
        lines: dict[tuple[str, str], Row] = {}
        n_shares = 0
        for row in table.rows:
            pre, post = people.find(row, "pre"), people.find(row, "post")
            if post == INPUT:
                raise CompileError(
                    row.at("post"), "the input cannot be a target", "are the ends swapped?"
                )
            if pre != INPUT and _place(people.cells[pre]).area == _place(people.cells[post]).area:
                problem = f"{pre} and {post} are in the same area"
                hint = "connections within areas belong in the table interlaminar"
                raise CompileError(row.at("post"), problem, hint)
            if (first := lines.setdefault((pre, post), row)) is not row:
                raise CompileError(row.where, f"{pre} -> {post} occurs twice: see {first.where}")
            laws[pre, post] = self._law(row, None if pre == INPUT else people.cells[pre])
            n_shares += row.has("share")
        kept = [(*ends, law) for ends, law in laws.items() if law is not None]
        if not any(pre == INPUT for pre, _, _ in kept):
            problem = f"no row starts from {INPUT}: there is no image input"
            raise CompileError(table.where, problem, f"add one with pre = {INPUT}")
        notes = [f"between areas and from the image: {len(kept)} projections"]
        if n_none := len(laws) - len(kept):
            notes.append(f"rows with share 0 left out: {n_none}")
        if n_shares:
            guessed = ", a placeholder" * (self.in_degree == PLACEHOLDER)
            notes.append(f"in-degrees between areas are shares of {self.in_degree:g}{guessed}")
        return kept, notes

    def _law(self, row: Row, pre: Population | None) -> GaussianLaw | None:
        """Return a row's law from the population ``pre``, or the image; None for a share of 0."""
        unit = _unit(row)
        if pre is None and unit == "um":
            raise CompileError(
                row.at("unit"), "is um, but the image has no physical size", "give it in px"
            )
        given = [name for name in ("share", "in_degree", "peak") if row.has(name)]
        if not given:
            raise CompileError(row.where, "has no strength", "give share, in_degree or peak")
        if given[0] == "share" and len(given) > 1:
            problem = f"has {' and '.join(given)}, but only one can apply"
            raise CompileError(row.where, problem, "leave the others blank")
        if given == ["share"] and row.number("share", most=1) == 0:
            return None
        width = row.number("width", above=0)
        if given == ["share"]:
            return GaussianLaw(width, row.number("share") * self.in_degree, unit=unit)
        peak = row.number("peak", above=0, most=1) if row.has("peak") else None
        if row.has("in_degree"):
            return GaussianLaw(width, row.number("in_degree", above=0), peak, unit)
        if pre is None:
            density: float | None = self.input_channels
        else:
            density = _density(pre) if unit == "um" else None
        if density is None or peak is None:
            problem = f"is blank, and the density of {row.text('pre')} per {unit} is unknown"
            raise CompileError(row.at("in_degree"), problem, "give in_degree beside the peak")
        return GaussianLaw(width, _whole_gaussian(density, width, peak), peak, unit)


@dataclass(frozen=True, slots=True)
class _People:
    """Populations by name, their rows and other names, and those that are read, in this order."""

    cells: dict[str, Population]
    rows: dict[str, Row]
    aliases: dict[str, str]
    read: tuple[str, ...]

    def find(self, row: Row, column: str) -> str:
        """Return the population that a row names; raise `UnknownNameError` if there is none."""
        name = row.text(column)
        if name == INPUT or name in self.cells:
            return name
        if name in self.aliases:
            return self.aliases[name]
        known = (INPUT, *self.cells, *self.aliases)
        raise UnknownNameError.among(f"{row.at(column)}: population", name, known)


def _read_populations(table: AreaTable) -> _People:
    cells: dict[str, Population] = {}
    lines: dict[str, Row] = {}  # of every name
    levels: dict[str, tuple[int | None, Row]] = {}
    aliases: dict[str, str] = {}
    places: dict[int, tuple[str, Row]] = {}
    for row in table.rows:
        area, layer = row.text("area"), row.cells["layer"]
        name = area + layer
        if name == INPUT:
            raise CompileError(
                row.at("area"), f"{INPUT!r} is the name of the image", "rename the area"
            )
        if (first := lines.setdefault(name, row)) is not row:
            raise CompileError(row.where, f"{name} occurs twice: see {first.where}")
        n_neurons = row.whole("n_neurons", 1)
        level = row.whole("level", 0) if row.has("level") else None
        known, other = levels.setdefault(area, (level, row))
        if known != level:
            problem = f"{area} has a different level in {other.where}"
            raise CompileError(row.at("level"), problem, "an area has one level")
        surface = row.number("surface_mm2", above=0) if row.has("surface_mm2") else None
        place = Place(area, layer or None, level, n_neurons, surface)
        cells[name] = Population(name, (n_neurons,), node=MAP, place=place)
        if row.has("output"):
            output = row.whole("output", 1)
            taken, other = places.setdefault(output, (name, row))
            if taken != name:
                problem = f"{output} is also that of {taken}: see {other.where}"
                raise CompileError(
                    row.at("output"), problem, "number the outputs in the order of read-out"
                )
    for row in table.rows:
        if row.has("also_called"):
            alias = row.text("also_called")
            if (first := lines.setdefault(alias, row)) is not row or alias == INPUT:
                raise CompileError(
                    row.at("also_called"), f"{alias!r} is the name of another population"
                )
            aliases[alias] = row.text("area") + row.cells["layer"]
    if not places:
        hint = "number the populations that are read out, from 1, in the column output"
        raise CompileError(table.where, "no population is read out", hint)
    return _People(cells, lines, aliases, tuple(places[k][0] for k in sorted(places)))


def _within_areas(table: AreaTable, people: _People) -> tuple[list[Law], list[str]]:
    """Return the laws between and within the layers of every area, and what was counted."""
    pairs: dict[tuple[str, str], tuple[float, float] | None] = {}
    lines: dict[tuple[str, str], Row] = {}
    for row in table.rows:
        ends = row.text("pre_layer"), row.text("post_layer")
        if (first := lines.setdefault(ends, row)) is not row:
            raise CompileError(row.where, f"{' -> '.join(ends)} occurs twice: see {first.where}")
        pairs[ends] = _peak(row)
    layers = {layer for ends in pairs for layer in ends}
    by_area: dict[str, list[Population]] = {}
    for p in people.cells.values():
        place = _place(p)
        if place.cortical_layer is None:
            continue
        if place.cortical_layer not in layers:
            where = people.rows[p.name].at("layer")
            raise UnknownNameError.among(f"{where}: layer", place.cortical_layer, layers)
        by_area.setdefault(place.area, []).append(p)
    laws, unknown, left = [], 0, []
    for pre, post in (ends for ps in by_area.values() for ends in _pairs(ps)):
        joined = pairs.get((str(_place(pre).cortical_layer), str(_place(post).cortical_layer)))
        if joined is None:
            unknown += 1
        elif (density := _density(pre)) is None:
            left.append(f"{pre.name}->{post.name}")
        else:
            width, peak = joined
            in_degree = _whole_gaussian(density, width, peak)
            laws.append((pre.name, post.name, GaussianLaw(width, in_degree, peak)))
    notes = [f"within areas: {len(laws)} projections"]
    if unknown:
        notes.append(f"{unknown} pairs of layers without probability or width left out")
    if left:
        notes.append(f"{', '.join(left)} left out: the surface of the source is unknown")
    present = {_place(p).cortical_layer for ps in by_area.values() for p in ps}
    if absent := sorted(layers - {str(layer) for layer in present}):
        n = sum(not {*ends}.isdisjoint(absent) for ends in pairs)
        notes.append(f"{n} pairs of layers not used: no area has layer {', '.join(absent)}")
    return laws, notes


def _pairs(populations: list[Population]) -> Iterator[tuple[Population, Population]]:
    return ((pre, post) for pre in populations for post in populations)


def _peak(row: Row) -> tuple[float, float] | None:
    """Return width and probability at zero distance; None if there is none, or it is unknown.

    Probabilities are measured between cells at a distance (``at_um``), so the peak is higher.
    """
    if not (row.has("probability") and row.has("width_um")):
        return None
    probability, width = row.number("probability", most=1), row.number("width_um")
    if not (probability and width):
        return None
    apart = row.number("at_um") if row.has("at_um") else 0.0
    peak = probability * exp(min(apart**2 / (2 * width**2), 700.0))  # exp(710) is infinite
    if peak > 1:
        problem = (
            f"{probability:g} at {apart:g} um, with a width of {width:g} um, means {peak:.4g} at "
            "zero distance"
        )
        raise CompileError(row.at("probability"), problem, "a probability is at most 1")
    return width, peak


def _density(p: Population) -> float | None:
    """Return neurons per square micrometre, if the surface is known."""
    surface = _place(p).surface_mm2
    return None if surface is None else p.n_units / (surface * 1e6)


def _whole_gaussian(density: float, width: float, peak: float) -> float:
    """Return the expected number of sources: their density times the Gaussian's volume."""
    return density * 2 * pi * width**2 * peak


def _place(p: Population) -> Place:
    assert p.place is not None
    return p.place


def _unit(row: Row) -> Literal["um", "px"]:
    text = row.cells.get("unit") or "um"
    if text not in ("um", "px"):
        raise UnknownNameError.among(row.at("unit"), text, ("um", "px"))
    return "px" if text == "px" else "um"


def _origins(tables: dict[str, AreaTable]) -> Iterator[str]:
    """Report the origin of each table's numbers, and columns that were not read."""
    for table in tables.values():
        if told := table.origins():
            yield f"{table.file.name}: {told}"
        if table.unread:
            yield f"{table.file.name}: columns that are not read: {', '.join(table.unread)}"


def _provenance(tables: dict[str, AreaTable]) -> Provenance:
    own = [table for table in tables.values() if not table.shipped]
    shipped = [name for name, table in tables.items() if table.shipped]
    papers = [paper for name in shipped for paper in PAPERS.get(name, ())]
    licences = [LICENCE] * bool(shipped)
    if own:
        licences.append(f"{', '.join(table.file.name for table in own)}: not stated")
    stem = Path(own[0].file.name).stem.removeprefix("from ") if own else ""
    return Provenance(
        dataset=f"mesoscale:{stem}" if own else "mouse-visual",
        version="" if own else "mousenet-2022",
        title=f"Areas and layers of {stem}" if own else "Visual areas of the mouse by layer",
        connectivity=Evidence.MODELLED,
        made="areas and layers are connected as tables say, by laws of distance and probability",
        signs=Evidence.NONE,
        licence="; ".join(licences),
        citations=(SHI_2022, *papers) if shipped else (),
        files=tuple(table.file for table in tables.values()),
    )
