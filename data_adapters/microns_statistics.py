"""A modelled column of mouse V1, drawn from published statistics: no such neuron exists.

How it is drawn, the source of each number, and how far it agrees with what was measured:
``docs/surrogate.md``. The tables: ``facts/README.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    Step,
    Synapses,
    neuron_table,
)

from ._citations import (
    CAMPAGNOLA_2022,
    ELABBADY_2025,
    MICRONS_2025,
    SCHNEIDER_MIZELL_2025,
    V1_MODEL_2026,
)
from ._column import PRISM_WIDTH_UM
from ._facts import Fact, read_fact

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]
Rows = tuple[dict[str, str], ...]

TABLES = (
    "cell_counts",
    "celltype_soma_depth",
    "column_axis",
    "column_census",
    "column_mtype_by_layer",
    "column_mtype_summary",
    "lateral_sigma",
    "pmax_v1dd",
    "reciprocity",
    "surrogate_calibration",
    "synapse_size",
    "synapses_per_connection_hist",
    "synapses_per_connection_mean",
)
LICENCE = (
    "CC BY 4.0 (numbers measured in MICrONS, www.microns-explorer.org/terms-and-conditions); "
    "BSD-3-Clause, Copyright (c) 2026 Allen Institute "
    "(peak probabilities and lateral widths, AllenInstitute/biorealistic-v1-model)"
)
CITATIONS = (
    MICRONS_2025,
    SCHNEIDER_MIZELL_2025,
    ELABBADY_2025,
    CAMPAGNOLA_2022,
    V1_MODEL_2026,
)

# Borders between cortical layers at which column_mtype_by_layer was counted, um from the pia.
LAYER_TOP_UM = {"L1": 0.0, "L2/3": 60.0, "L4": 262.0, "L5": 388.0, "L6": 500.0}
LAYER_BOTTOM_UM = {"L1": 60.0, "L2/3": 262.0, "L4": 388.0, "L5": 500.0, "L6": 715.0}


@dataclass(frozen=True, slots=True)
class ExcitatoryType:
    """The names of a manual type of the release in the tables."""

    cortical_layer: str
    kind: str  # in pmax_v1dd
    depth: str  # in celltype_soma_depth, else an M-type of column_mtype_summary
    mtypes: tuple[str, ...]  # how the names of its M-types begin, for the number of inputs


L6_MTYPES = ("L6short", "L6tall")  # none of L6wm has a published number of inputs
EXCITATORY = {
    "23P": ExcitatoryType("L2/3", "L2/3_Exc", "23P", ("L2", "L3")),
    "4P": ExcitatoryType("L4", "L4_Exc", "4P", ("L4",)),
    "5P-IT": ExcitatoryType("L5", "L5_IT", "5P_IT", ("L5a", "L5b")),
    "5P-PT": ExcitatoryType("L5", "L5_ET", "5P_PT", ("L5ET",)),
    "5P-NP": ExcitatoryType("L5", "L5_NP", "5P_NP", ("L5NP",)),
    "6P-IT": ExcitatoryType("L6", "L6_Exc", "6IT", L6_MTYPES),
    "6P-CT": ExcitatoryType("L6", "L6_Exc", "6CT", L6_MTYPES),
    "6P-U": ExcitatoryType("L6", "L6_Exc", "6P", L6_MTYPES),
    "WM-P": ExcitatoryType("L6", "L6_Exc", "L6wm", L6_MTYPES),
}
EXCITATORY_KINDS = sorted({t.kind for t in EXCITATORY.values()})
# Manual types and the M-types that they mostly are (Schneider-Mizell et al. 2025).
INHIBITORY_MTYPE = {"BC": "PTC", "MC": "DTC", "BPC": "ITC", "NGC": "STC"}
# Transmitter classes of pmax_v1dd by manual type; sparse cells are one class there, "L1_Inh".
INHIBITORY_KIND = {"BC": "{layer}_PV", "MC": "{layer}_SST", "BPC": "{layer}_VIP", "NGC": "L1_Inh"}


@dataclass(frozen=True, slots=True)
class MicronsStatistics:
    """A column of 1,347 neurons whose cells and connections are drawn, not measured.

    ``calibrated`` scales the connection probabilities, which were measured in another mouse
    (V1DD), to the numbers of connections counted in the MICrONS column. The totals by class then
    agree with MICrONS by construction, so they are not evidence for the model.
    """

    name: ClassVar[str] = "microns-v1-surrogate"

    seed: int = 0  #: seed of cells and connections
    calibrated: bool = True  #: scale connections to the numbers counted in MICrONS

    def load(self) -> Graph:
        """Draw the column: one population of neurons and one projection onto itself.

        Raise `CompileError` if the seed is negative.
        """
        if self.seed < 0:
            raise CompileError(self.name, f"seed {self.seed} is negative", "use 0 or more")
        facts = read_facts()
        rng = np.random.Generator(np.random.PCG64(self.seed))
        cells = _draw_cells(facts, rng)
        edges, notes = _draw_synapses(facts, cells, self.calibrated, rng)
        n, n_edges = len(cells.cell_type), len(edges.post)
        options = f"seed={self.seed}, calibrated={str(self.calibrated).lower()}"
        provenance = Provenance(
            dataset=self.name,
            version=f"seed={self.seed}" + ("" if self.calibrated else ",uncalibrated"),
            title="modelled column of mouse V1, drawn from published statistics of MICrONS",
            connectivity=Evidence.MODELLED,
            made="neurons and connections were drawn from published statistics of MICrONS",
            signs=Evidence.NONE,
            licence=LICENCE,
            citations=CITATIONS,
            files=tuple(f.file for f in facts.values()),
            steps=(Step.first(self.name, options, n, n_edges, notes),),
        )
        neurons = Population("neurons", (n,), cells.table(facts["column_axis"].rows))
        graph = Graph((neurons,), (Projection("neurons", "neurons", edges),), provenance)
        graph.verify()
        return graph


def read_facts() -> dict[str, Fact]:
    """Read every table that the column is drawn from."""
    return {name: read_fact(name) for name in TABLES}


# --- cells ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The cells of a column, shape ``(n,)`` each; ``x_um``, ``z_um`` are off the column's axis."""

    cell_type: Strings
    kind: Strings  # row and column of pmax_v1dd
    cortical_layer: Strings
    depth_um: Floats
    x_um: Floats
    z_um: Floats

    def table(self, axis: Rows) -> pa.Table:
        """Return the neuron table, positions in the pia-oriented frame of the release."""
        n = len(self.cell_type)
        axis_x, axis_z = column_axis(axis, self.depth_um)
        return neuron_table(
            {
                "neuron_id": np.arange(n, dtype=np.int64),
                "cell_type": self.cell_type,
                "cell_class": np.where(is_excitatory(self.kind), "excitatory", "inhibitory"),
                "cortical_layer": self.cortical_layer,
                "region": np.full(n, "V1"),
                "x_um": (self.x_um + axis_x).round(2),
                "y_um": self.depth_um,
                "z_um": (self.z_um + axis_z).round(2),
                "axon_coverage": np.full(n, "full"),  # the outputs of a modelled axon are all known
            }
        )


def is_excitatory(kind: Strings) -> Bools:
    """Return which kinds of ``pmax_v1dd`` are excitatory."""
    return np.isin(kind, EXCITATORY_KINDS)


def column_axis(axis: Rows, depth_um: Floats) -> tuple[Floats, Floats]:
    """Return the middle ``(x_um, z_um)`` of the column at each depth: its lower half leans."""
    knots = _numbers(axis, "depth_um")
    x, z = (np.interp(depth_um, knots, _numbers(axis, name)) for name in ("x_um", "z_um"))
    return x, z


def _draw_cells(facts: Mapping[str, Fact], rng: np.random.Generator) -> Cells:
    """Draw types in the numbers of the census, and a place for each cell."""
    cell_type: list[str] = []
    layer: list[str] = []
    depth: list[Floats] = []
    for name, n in _census(facts).items():
        if name in EXCITATORY:
            layers = [EXCITATORY[name].cortical_layer] * n
            soma = _soma_depth(facts, EXCITATORY[name].depth, n, rng)
        else:
            layers, soma = _draw_inhibitory(facts, INHIBITORY_MTYPE[name], n, rng)
        cell_type += [name] * n
        layer += layers
        depth.append(soma)
    kind = [
        EXCITATORY[t].kind if t in EXCITATORY else INHIBITORY_KIND[t].format(layer=c)
        for t, c in zip(cell_type, layer, strict=True)
    ]
    n = len(cell_type)
    # Rounded, so that the last bit of a library's interpolation does not reach the result.
    return Cells(
        np.array(cell_type),
        np.array(kind),
        np.array(layer),
        np.concatenate(depth).round(2),
        rng.uniform(-PRISM_WIDTH_UM / 2, PRISM_WIDTH_UM / 2, n).round(2),
        rng.uniform(-PRISM_WIDTH_UM / 2, PRISM_WIDTH_UM / 2, n).round(2),
    )


def _census(facts: Mapping[str, Fact]) -> dict[str, int]:
    """Return the number of cells per type: class and layer as counted, types by their shares."""
    counted = {r["cell_type"]: float(r["count"]) for r in facts["cell_counts"].rows}
    census: dict[str, int] = {}
    for row in facts["column_census"].rows:
        if row["cell_class"] == "excitatory":
            names = [t for t, e in EXCITATORY.items() if e.cortical_layer == row["cortical_layer"]]
        else:
            names = list(INHIBITORY_MTYPE)
        shares = apportion(int(row["cells"]), [counted[t] for t in names])
        census.update(zip(names, shares, strict=True))
    return census


def apportion(total: int, shares: list[float]) -> list[int]:
    """Split ``total`` into whole numbers in proportion to ``shares``, by largest remainder."""
    exact = total * np.array(shares) / sum(shares)
    whole = np.floor(exact).astype(int)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return [int(n) for n in whole]


def _soma_depth(facts: Mapping[str, Fact], name: str, n: int, rng: np.random.Generator) -> Floats:
    """Draw soma depths in um from the published quantiles of a type, from the pia downwards."""
    by_type = {r["cell_type"]: r for r in facts["celltype_soma_depth"].rows}
    if name in by_type:
        levels = {f"q{p:02}": p / 100 for p in (1, 5, 25, 50, 75, 95, 99)}
        row = by_type[name]
    else:
        levels = {f"depth_q{p:02}": p / 100 for p in (5, 25, 50, 75, 95)}
        levels = {"depth_min": 0.0, **levels, "depth_max": 1.0}
        row = next(r for r in facts["column_mtype_summary"].rows if r["mtype"] == name)
    at = list(levels.values())
    drawn = rng.uniform(at[0], at[-1], n)
    return np.sort(np.interp(drawn, at, [float(row[q]) for q in levels]))


def _draw_inhibitory(
    facts: Mapping[str, Fact], mtype: str, n: int, rng: np.random.Generator
) -> tuple[list[str], Floats]:
    """Draw the layers and soma depths of ``n`` cells of an inhibitory M-type.

    Layers as counted. Within a layer the depth is uniform over the range of the type, whose
    quantiles say little there (neurogliaform cells lie in layers 1 and 6, but not between).
    """
    counted = next(r for r in facts["column_mtype_by_layer"].rows if r["mtype"] == mtype)
    seen = next(r for r in facts["column_mtype_summary"].rows if r["mtype"] == mtype)
    shares = apportion(n, [float(counted[layer]) for layer in LAYER_TOP_UM])
    layers = [name for name, k in zip(LAYER_TOP_UM, shares, strict=True) for _ in range(k)]
    top = [max(LAYER_TOP_UM[name], float(seen["depth_min"])) for name in layers]
    bottom = [min(LAYER_BOTTOM_UM[name], float(seen["depth_max"])) for name in layers]
    return layers, np.sort(rng.uniform(top, bottom))


# --- connections ----------------------------------------------------------------------------------
# Arrays of n by n are allowed here: a modelled column is small, and every pair has a probability.


def connection_probabilities(
    facts: Mapping[str, Fact], kind: Strings, x_um: Floats, z_um: Floats
) -> Floats:
    """Return the probability that ``pre`` contacts ``post``, shape ``(n, n)`` as ``[post, pre]``.

    ``kind`` names a row of ``pmax_v1dd``; ``x_um``, ``z_um`` are off the column's axis, ``(n,)``
    each. Peak probability of the two kinds (measured in EM, V1DD) times a Gaussian of the lateral
    distance (Campagnola et al. 2022). It takes any cells: measured ones, too.
    """
    peaks = {r["pre\\post"]: r for r in facts["pmax_v1dd"].rows}
    kinds, code = np.unique(kind, return_inverse=True)
    peak = np.array([[float(peaks[pre][post]) for pre in kinds] for post in kinds])
    width = {(r["pre"], r["post"]): float(r["sigma_um"]) for r in facts["lateral_sigma"].rows}
    names = np.where(is_excitatory(kinds), "exc", "inh")
    sigma = np.array([[width[pre, post] for pre in names] for post in names])
    squared_um2 = (x_um[:, None] - x_um) ** 2 + (z_um[:, None] - z_um) ** 2
    pairs = np.ix_(code, code)
    p: Floats = peak[pairs] * np.exp(-squared_um2 / (2 * sigma[pairs] ** 2))
    np.fill_diagonal(p, 0.0)  # no autapses
    return p


def _draw_synapses(
    facts: Mapping[str, Fact], cells: Cells, calibrated: bool, rng: np.random.Generator
) -> tuple[Synapses, tuple[str, ...]]:
    """Draw connections, then the number and size of their synapses; return notes."""
    excitatory = is_excitatory(cells.kind)
    p = connection_probabilities(facts, cells.kind, cells.x_um, cells.z_um)
    p *= _propensity(facts, cells.cell_type, rng)[:, None]
    p, scaled = np.minimum(p, 1.0), "probabilities of V1DD, not scaled"
    if calibrated:
        p, scaled = _calibrate(facts, p, excitatory)

    reciprocity = _reciprocity(facts, p)
    connected = _draw_pairs(p, reciprocity, rng)
    post, pre = (axis.astype(np.int32) for axis in np.nonzero(connected))
    n_synapses = _draw_counts(facts, excitatory[post], excitatory[pre], rng)
    size = _draw_sizes(facts, n_synapses, rng)

    mutual = int((connected & connected.T).sum())
    notes = (
        scaled,
        f"{int((p == 1).sum()):,} of {p.size - len(p):,} connection probabilities clipped at 1",
        f"{len(post):,} connections drawn where {p.sum():,.0f} were expected",
        f"{mutual / len(post):.1%} of connections reciprocated ({reciprocity:.2f} times chance)",
        f"{n_synapses.mean():.2f} synapses per connection on average",
        "sizes are summed over the synapses of a connection, in voxels of 4 x 4 x 40 nm",
    )
    return Synapses(post, pre, n_synapses, "synapses", size), notes


def _propensity(facts: Mapping[str, Fact], cell_type: Strings, rng: np.random.Generator) -> Floats:
    """Draw each cell's share of input: log-normal, mean 1, as wide as its type's input synapses."""
    width = {t: _log_sd(facts, e.mtypes) for t, e in EXCITATORY.items()}
    width |= {t: _log_sd(facts, (mtype,)) for t, mtype in INHIBITORY_MTYPE.items()}
    sd = np.array([width[t] for t in cell_type])
    share: Floats = np.exp(sd * rng.standard_normal(len(sd)) - sd**2 / 2)
    return share


def _log_sd(facts: Mapping[str, Fact], mtypes: tuple[str, ...]) -> float:
    """Return the sd of ln(input synapses) over all cells of some M-types, within and between."""
    rows = facts["column_mtype_summary"].rows
    rows = tuple(r for r in rows if r["mtype"].startswith(mtypes) and r["syn_in_log_sd"])
    n, mean, sd = (_numbers(rows, name) for name in ("n", "syn_in_log_mean", "syn_in_log_sd"))
    middle = np.average(mean, weights=n)
    return float(np.sqrt(np.average(sd**2 + (mean - middle) ** 2, weights=n)))


def _calibrate(facts: Mapping[str, Fact], p: Floats, excitatory: Bools) -> tuple[Floats, str]:
    """Scale ``p`` so that each class expects the connections counted in MICrONS; say by how much.

    The published counts are of 1,355 cells, eight more than in the census: within one percent.
    """
    onto_excitatory = excitatory[:, None]
    classes = {
        ("E", "E"): onto_excitatory & excitatory,
        ("I", "E"): onto_excitatory & ~excitatory,
        ("E or I", "I"): np.broadcast_to(~onto_excitatory, p.shape),
    }
    rows = facts["surrogate_calibration"].rows
    counted = {(r["pre"], r["post"]): float(r["edges_measured_column_v1718"]) for r in rows}
    p = p.copy()
    factors: list[str] = []
    for (pre, post), chosen in classes.items():
        target, values = counted[pre, post], p[chosen]
        factors.append(f"{pre} -> {post} {target / values.sum():.3f}")
        for _ in range(8):  # what is clipped at 1 is made up by the others
            values = np.minimum(values * (target / values.sum()), 1.0)
        p[chosen] = values
    return p, "probabilities scaled to the counts of MICrONS: " + ", ".join(factors)


def _reciprocity(facts: Mapping[str, Fact], p: Floats) -> float:
    """Return how much more often reciprocal pairs must occur than ``p`` alone would give.

    Published is the excess over a graph of the same degrees. Types and distance, which are in
    ``p``, explain most of it; the rest is what the pairs themselves must add.
    """
    (row,) = facts["reciprocity"].rows
    by_degree = np.outer(p.sum(axis=1), p.sum(axis=0)) / p.sum()
    np.fill_diagonal(by_degree, 0.0)
    explained = (p * p.T).sum() / (by_degree * by_degree.T).sum()
    return float(row["ratio_to_chung_lu"]) / float(explained)


def _draw_pairs(p: Floats, reciprocity: float, rng: np.random.Generator) -> Bools:
    """Draw connections ``[post, pre]`` with probabilities ``p``.

    Both directions of a pair occur ``reciprocity`` (at least 1) times as often as if they were
    independent, or as often as the rarer one can; each direction keeps its probability.
    """
    back = p.T
    both = np.minimum(reciprocity * p * back, np.minimum(p, back))
    drawn = rng.random(p.shape)
    upper = np.triu(drawn < p, 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # in the branch that is not taken
        given = np.where(upper.T, both / back, (p - both) / (1 - back))
    return upper | np.tril(drawn < given, -1)


def _draw_counts(
    facts: Mapping[str, Fact], post: Bools, pre: Bools, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Draw the synapses of each connection; ``post`` and ``pre`` say which cells are excitatory.

    No histogram onto inhibitory cells is published; that of all connections stands in.
    """
    counts = np.zeros(len(post), np.int32)
    for chosen, graph, classes in (
        (post & pre, "column_v1718", ("E", "E")),
        (post & ~pre, "column_v1718", ("I", "E")),
        (~post, "proofread_graph_v1507", ("all", "all")),
    ):
        counts[chosen] = _from_histogram(facts, graph, classes, int(chosen.sum()), rng)
    return counts


def _from_histogram(
    facts: Mapping[str, Fact],
    graph: str,
    classes: tuple[str, str],
    n: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Draw ``n`` counts from a published histogram.

    Counts above its last bar, known from the published totals of connections and synapses, are
    distributed geometrically, so that the mean is the published one.
    """
    pair = "->".join(classes)
    bars = {
        int(r["synapses_per_connection"]): int(r["connections"])
        for r in facts["synapses_per_connection_hist"].rows
        if (r["graph"], r["pair"]) == (graph, pair)
    }
    total = next(
        r
        for r in facts["synapses_per_connection_mean"].rows
        if (r["graph"], r["pre"], r["post"]) == (graph, *classes)
    )
    beyond = int(total["edges"]) - sum(bars.values())
    beyond_mean = (int(total["synapses"]) - sum(k * c for k, c in bars.items())) / beyond
    last = max(bars)
    values = np.array([*bars, last + 1])
    weights = np.array([*bars.values(), beyond], dtype=np.float64)
    counts = rng.choice(values, n, p=weights / weights.sum())
    tail = counts > last
    counts[tail] = last + rng.geometric(1 / (beyond_mean - last), int(tail.sum()))
    return counts


def _draw_sizes(
    facts: Mapping[str, Fact], n_synapses: npt.NDArray[np.int32], rng: np.random.Generator
) -> Floats:
    """Draw the size of every synapse from two log-normals; return the sum of each connection."""
    (row,) = facts["synapse_size"].rows
    n = int(n_synapses.sum())
    small = rng.random(n) < float(row["mix1_weight"])
    mean = np.where(small, float(row["mix1_log10_mean"]), float(row["mix2_log10_mean"]))
    sd = np.where(small, float(row["mix1_log10_sd"]), float(row["mix2_log10_sd"]))
    voxels = np.maximum(np.rint(10.0 ** (mean + sd * rng.standard_normal(n))), 1.0)
    first = np.concatenate(([0], np.cumsum(n_synapses[:-1])))
    summed: Floats = np.add.reduceat(voxels, first)
    return summed


def _numbers(rows: Rows, name: str) -> Floats:
    return np.array([float(r[name]) for r in rows])
