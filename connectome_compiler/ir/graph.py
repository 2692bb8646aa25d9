"""The graph IR: populations, projections, ports and provenance, immutable at every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.laws import AllToAll, Connectivity, Law, OneToOne
from connectome_compiler.ir.neurons import canonical
from connectome_compiler.ir.nodes import SWEPT, Node
from connectome_compiler.ir.operators import LINEAR, Linear, Operator
from connectome_compiler.ir.provenance import Provenance
from connectome_compiler.ir.records import check_fields
from connectome_compiler.ir.weights import PER_CONNECTION, Weights
from connectome_compiler.text import html_heading

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from matplotlib.axes import Axes

    from connectome_compiler.passes.runner import Pass
    from connectome_compiler.questions.compare import Difference
    from connectome_compiler.questions.influence import Influence
    from connectome_compiler.questions.motifs import Motifs
    from connectome_compiler.questions.neuron import Neuron
    from connectome_compiler.questions.paths import By, Paths
    from connectome_compiler.questions.wiring import Term

Kind = Literal["chemical", "electrical"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the brain a population lies, for populations described by area rather than by cell.

    ``level`` is that of the area in the hierarchy of areas, 0 first. ``n_neurons`` is how many
    neurons the units stand for, ``surface_mm2`` the surface of the layer on a flat map, in square
    millimetres. Unknown values are None.
    """

    area: str
    cortical_layer: str | None = None
    level: int | None = None
    n_neurons: int | None = None
    surface_mm2: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Units treated alike: ``L4.exc``, or the pixels of an image.

    ``shape`` is ``(n,)`` for cells and ``(channels, height, width)`` for maps. ``neurons`` has one
    row per unit where the units are neurons of the data set. ``artificial`` marks units that no
    brain has: the pixels of an input image, the classes of a read-out.

    ``stage`` is the position in the flow of information, once a pass has set it: populations of
    one stage act in parallel (L1 goes with L2/3, which it modulates). ``place`` is its area.

    The table is kept in the plain form of `canonical`: one chunk, no dictionaries, no metadata.
    """

    name: str
    shape: tuple[int, ...]
    neurons: pa.Table | None = field(default=None, repr=False)
    node: Node = SWEPT
    artificial: bool = False
    stage: int | None = None
    place: Place | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.neurons is not None:
            object.__setattr__(self, "neurons", canonical(self.neurons))

    @property
    def n_units(self) -> int:
        """Number of units."""
        return prod(self.shape)

    def column(self, name: str) -> pa.Array:
        """Return one column of the neuron table; raise `UnknownNameError` if there is none."""
        known = [] if self.neurons is None else self.neurons.column_names
        if self.neurons is None or name not in known:
            raise UnknownNameError.among(f"{self.name}: column", name, known)
        return self.neurons.column(name).combine_chunks()

    def has_outputs(self) -> npt.NDArray[np.bool_]:
        """Return which neurons' output connections are known, shape ``(n_units,)``.

        An axon that was not proofread has ``axon_coverage`` "none": its targets are unknown, which
        is not the same as having none. Where coverage is unknown, the source is trusted.
        """
        if self.neurons is None:
            return np.ones(self.n_units, dtype=np.bool_)
        unread = pc.equal(self.column("axon_coverage"), "none").fill_null(False)
        return ~np.asarray(unread.to_numpy(zero_copy_only=False), np.bool_)

    def attenuation(self) -> npt.NDArray[np.float32]:
        """Return how strongly each neuron is inhibited, 0 to 1, shape ``(n_units,)``."""
        held = self.column("inhibition").fill_null(0.0).to_numpy(zero_copy_only=False)
        return np.asarray(held, np.float32)

    def _repr_html_(self) -> str:
        from connectome_compiler.ir.printing import population_html

        return population_html(self)


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """All connections of one kind from population ``pre`` to population ``post``.

    ``delay`` 0 acts within a sweep through the populations, in their order; 1 acts on the activity
    of the previous sweep. Within a population, delay 1 is one settling step in the same sweep.

    An "electrical" connection is a gap junction. It is listed in both directions, with one weight,
    its conductance, which is never negative and has no sign: ``g (r_pre - r_post)``.

    ``operator`` says how connections act: between units, or as a convolution between the channels
    of two maps, where each has as many weights as the kernel has positions.
    """

    pre: str
    post: str
    connectivity: Connectivity
    weights: Weights = PER_CONNECTION
    kind: Kind = "chemical"
    delay: int = 1
    operator: Operator = LINEAR

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def key(self) -> str:
        """``pre->post``, and ``:electrical`` appended to electrical ones."""
        return f"{self.pre}->{self.post}" + ("" if self.kind == "chemical" else f":{self.kind}")

    @property
    def synapses(self) -> Synapses:
        """The edge list; a law has none until a pass materialises it."""
        if not isinstance(self.connectivity, Synapses):
            problem = f"is {self.connectivity.describe()}, not an edge list"
            hint = 'add [[pass]] use = "materialise-laws"'
            raise CompileError(f"projection {self.key}", problem, hint)
        return self.connectivity

    def _repr_html_(self) -> str:
        from connectome_compiler.ir.printing import projection_html

        return projection_html(self)


@dataclass(frozen=True, slots=True)
class Port:
    """Where input enters (``direction`` "in") or output leaves ("out")."""

    name: str
    population: str
    direction: Literal["in", "out"]

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A connectome as populations and projections, in the order in which they are evaluated."""

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    provenance: Provenance
    ports: tuple[Port, ...] = ()
    _by_name: dict[str, Population] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("populations", "projections", "ports"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_fields(self)
        object.__setattr__(self, "_by_name", {p.name: p for p in self.populations})

    def population(self, name: str) -> Population:
        """Return the population called ``name``; raise `UnknownNameError` if there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownNameError.among("population", name, self._by_name) from None

    def __getitem__(self, name: str) -> Population:
        """Return the population called ``name``: ``graph["L4.exc"]``."""
        return self.population(str(name))

    def projection(self, key: str) -> Projection:
        """Return the projection ``pre->post``; raise `UnknownNameError` if there is none."""
        for q in self.projections:
            if q.key == key:
                return q
        raise UnknownNameError.among("projection", key, (q.key for q in self.projections))

    @property
    def biological(self) -> tuple[Population, ...]:
        """The populations of neurons, without images and classes."""
        return tuple(p for p in self.populations if not p.artificial)

    @property
    def connectome(self) -> tuple[Projection, ...]:
        """The projections between neurons, without read-in and read-out.

        An image whose connections onto neurons come from a brain counts as a source of neurons.
        """
        return tuple(
            p
            for p in self.projections
            if not (
                self.population(p.post).artificial
                or (
                    self.population(p.pre).artificial
                    and isinstance(p.connectivity, AllToAll | OneToOne)
                )
            )
        )

    @property
    def n_neurons(self) -> int:
        """Number of neurons, artificial units left out."""
        return sum(p.n_units for p in self.biological)

    @property
    def n_connections(self) -> int:
        """Number of connections between neurons."""
        return sum(self.count(p) for p in self.connectome)

    def shape(self, projection: Projection) -> tuple[int, int]:
        """Return ``(n_post, n_pre)`` of ``projection``: of units, or of a convolution's channels.

        With groups, a convolution has ``(post, pre per group)``, a transposed one ``(post per
        group, pre)``; one that is joined per position has as many sources for each position.
        """
        post, pre = self.population(projection.post), self.population(projection.pre)
        return projection.operator.pairs(post.shape, pre.shape)

    def count(self, projection: Projection) -> int:
        """Return the number of connections of ``projection``: for a convolution, between channels.

        Each connection of a convolution has ``projection.operator.area`` weights.
        """
        return projection.connectivity.count(*self.shape(projection))

    def density(self, projection: Projection) -> float:
        """Return connections per possible connection, 0 to 1.

        Neurons whose axons were not proofread are left out, with their connections: outputs that
        the data lack are unknown, not absent. Autapses do not count, neither as connections nor
        as possible ones.
        """
        n_post, n_pre = self.shape(projection)
        if not isinstance(projection.operator, Linear):  # channels have no axons
            return self.count(projection) / (n_post * n_pre) if n_post * n_pre else 0.0
        known = self.population(projection.pre).has_outputs()
        within = projection.pre == projection.post
        possible = int(known.sum()) * (n_post - within)
        if not possible:
            return 0.0
        law = projection.connectivity
        bare = isinstance(law, Law) and not law.has_list  # no possible connection
        if bare or (known.all() and not within):
            return self.count(projection) / possible  # a law need not list its connections
        post, pre = law.entries(n_post, n_pre)
        counted = known[pre]
        if within:
            counted &= post != pre
        return int(counted.sum()) / possible

    def own_signs(self, projection: Projection) -> npt.NDArray[np.int8]:
        """Return the sign of every connection according to the data; 0 = unknown.

        The connection's own sign where the source has one, else that of its presynaptic neuron. Gap
        junctions have none, and channels are not neurons.
        """
        if projection.kind == "electrical":
            return np.zeros(self.count(projection), np.int8)
        _, pre = projection.connectivity.entries(*self.shape(projection))
        population = self.population(projection.pre)
        if population.neurons is None or not isinstance(projection.operator, Linear):
            signs = np.zeros(len(pre), np.int8)
        else:
            column = population.column("sign").fill_null(0)
            signs = np.asarray(column.to_numpy(zero_copy_only=False), np.int8)[pre]
        if isinstance(projection.connectivity, Synapses):
            own = projection.connectivity.sign
            if own is not None:
                signs = np.where(own != 0, own, signs)
        return signs

    def signs(self, projection: Projection) -> npt.NDArray[np.int8]:
        """Return the sign of every connection, shape ``(n_connections,)``; 0 = unknown.

        Where the data do not give it, it is the polarity of the projection's weights.
        """
        signs, polarity = self.own_signs(projection), projection.weights.polarity
        return np.where(signs != 0, signs, np.int8(polarity)) if polarity else signs

    def enforced_signs(self, projection: Projection) -> npt.NDArray[np.int8]:
        """Return the signs that the weights must keep; 0 where they may take any."""
        signs = self.signs(projection)
        return signs if projection.weights.holds_signs else np.zeros_like(signs)

    def with_projections(self, projections: Iterator[Projection] | Sequence[Projection]) -> Graph:
        """Return the graph with other projections."""
        return replace(self, projections=tuple(projections))

    def map_populations(self, change: Callable[[Population], Population]) -> Graph:
        """Return the graph with every population ``p`` replaced by ``change(p)``."""
        return replace(self, populations=tuple(change(p) for p in self.populations))

    def map_connectome(self, change: Callable[[Projection], Projection]) -> Graph:
        """Return the graph with every projection ``q`` between neurons replaced by ``change(q)``.

        Read-in and read-out stay as they are; see `connectome`.
        """
        inner = {q.key for q in self.connectome}
        return self.with_projections(change(q) if q.key in inner else q for q in self.projections)

    def run(self, *passes: Pass) -> Graph:
        """Return the graph after all ``passes``, each recorded in the provenance."""
        from connectome_compiler.passes.runner import run

        return run(self, passes)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same content, to the bit, however they were made: see `digest`."""
        if not isinstance(other, Graph):
            return NotImplemented
        return self is other or self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    # --- what each method does lives in a module of its own -----------------------------------

    def verify(self) -> None:
        """Raise `VerifyError` naming the first rule that is broken, and where."""
        from connectome_compiler.ir.verify import verify

        verify(self)

    def digest(self) -> str:
        """Return a hash of the content: equal graphs have equal digests, whatever made them."""
        from connectome_compiler.ir.digest import digest

        return digest(self)

    def save(self, folder: Path | str) -> Path:
        """Write the graph as a folder of Parquet tables and one JSON page; see `load`."""
        from connectome_compiler.ir.storage import save

        return save(self, Path(folder))

    @staticmethod
    def load(folder: Path | str) -> Graph:
        """Read a folder written by `save`; raise `CompileError` if anything in it was altered."""
        from connectome_compiler.files import settled
        from connectome_compiler.ir.storage import PAGE, load

        return settled(Path(folder) / PAGE, lambda: load(Path(folder)))  # it may be saved meanwhile

    def neurons(self) -> pd.DataFrame:
        """Return all neurons as a pandas table, one row each, with their population."""
        from connectome_compiler.ir.interop import neurons

        return neurons(self)

    def connections(self) -> pd.DataFrame:
        """Return all connections as a pandas table, one row each, by neuron id."""
        from connectome_compiler.ir.interop import connections

        return connections(self)

    def to_networkx(self, level: Literal["population", "neuron"] = "population") -> nx.DiGraph[Any]:
        """Return a networkx view, edges from presynaptic to postsynaptic."""
        from connectome_compiler.ir.interop import to_networkx

        return to_networkx(self, level)

    def neuron(self, name: str | int) -> Neuron:
        """Return the neuron with this id, and its partners; raise `UnknownNameError` if none has.

        A neuron of a population without ids is called by its place: ``"L4.exc[12]"``.
        """
        from connectome_compiler.questions.neuron import neuron

        return neuron(self, name)

    def select(self, which: Term) -> Graph:
        """Return the graph of some neurons, and the connections among them.

        ``which`` is an expression of the pass `select-neurons` (``'region == "V1" and x_um <
        500'``), an id, a cell type, the name of a population, or several of these. The step is
        recorded in the provenance. Raises `CompileError` if there are no such neurons.
        """
        from connectome_compiler.questions.select import select

        return select(self, which)

    def paths(
        self,
        sources: Term,
        targets: Term,
        max_steps: int = 3,
        *,
        by: By = "product",
        strongest: int = 10,
    ) -> Paths:
        """Return how many paths of chemical connections lead from ``sources`` to ``targets``.

        Both are as in `select`. Paths have at most ``max_steps`` connections; they are counted by
        length, and the ``strongest`` are listed: by the "product" of the share that each connection
        has of its target's input, or by the "min", the least weight on the way.
        """
        from connectome_compiler.questions.paths import paths

        return paths(self, sources, targets, max_steps, by, strongest)

    def influence(self, seed: Term, *, signed: bool = True) -> Influence:
        """Return the steady state that constant drive of ``seed``, as in `select`, leads to.

        The model is linear, ``tau dr/dt = -r + W r + s``, with weights W scaled to a largest real
        eigenvalue of 0.99; without signs all of them are positive.
        """
        from connectome_compiler.questions.influence import influence

        return influence(self, seed, signed)

    def motifs(
        self,
        nulls: int = 20,
        *,
        model: str = "degrees",
        seed: int = 0,
        say: Callable[[str], None] = lambda words: None,
    ) -> Motifs:
        """Return how often neurons are joined in each way, in pairs and in threes.

        That is compared with as many random connectomes of the ``model`` of the pass `null-model`,
        which begin with ``seed``. ``say`` hears of progress.
        """
        from connectome_compiler.questions.motifs import motifs

        return motifs(self, nulls, model, seed, say)

    def diff(self, other: Graph) -> Difference:
        """Return what ``other`` has gained, lost or changed, compared with this graph.

        Neurons are matched by their ids, whatever their populations are.
        """
        from connectome_compiler.questions.compare import compare

        return compare(self, other)

    def plot(
        self,
        kind: str = "populations",
        ax: Axes | None = None,
        *,
        beside: Graph | None = None,
        **options: Any,
    ) -> Axes:
        """Draw a picture of the graph with matplotlib, and return its axes, ``ax`` if given.

        A notebook shows them; ``axes.figure.savefig("picture.svg")`` saves. ``beside`` is another
        graph on the same scales, such as that after a pass. docs/pictures.md shows the kinds and
        their options. Raises `CompileError`.
        """
        from connectome_compiler.plots import plot

        return plot(self, kind, ax, beside=beside, options=options)

    def __repr__(self) -> str:
        from connectome_compiler.ir.printing import as_text

        try:
            self.verify()
        except CompileError as error:  # a debugger must still be able to show it
            return f"<invalid Graph: {error}>"
        return as_text(self)

    def _repr_html_(self) -> str:
        from connectome_compiler.ir.printing import as_html

        try:
            self.verify()
        except CompileError as error:
            return html_heading("Invalid graph: ", str(error))
        return as_html(self)
