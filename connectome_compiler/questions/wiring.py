"""A whole connectome on arrays: every neuron has one number, every connection one place.

Nothing here is as large as the square of the number of neurons.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import MOST_NAMES, CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Kind, Population, Projection
from connectome_compiler.ir.operators import Linear
from connectome_compiler.passes._expression import matches, strangers_in, with_population
from connectome_compiler.text import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Term = str | int | Iterable[str | int]  # what names neurons: see `Roll.find`
UNIT = re.compile(r"(.+)\[(\d+)\]", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Roll:
    """The neurons of a graph, numbered through its populations.

    An image whose connections onto neurons come from a brain counts as neurons. Units without an
    id are called by their place: ``L4.exc[12]``.
    """

    graph: Graph
    populations: tuple[Population, ...]
    first: Numbers  # the number of each population's first neuron; at the end, how many there are

    @classmethod
    def of(cls, graph: Graph) -> Roll:
        """Return the neurons of ``graph``."""
        sources = {q.pre for q in graph.connectome}
        taking_part = [p for p in graph.populations if not p.artificial or p.name in sources]
        first = np.cumsum([0, *(p.n_units for p in taking_part)], dtype=np.int64)
        return cls(graph, tuple(taking_part), first)

    @property
    def n(self) -> int:
        """How many neurons there are."""
        return int(self.first[-1])

    def start(self, population: str) -> int:
        """Return the number of a population's first neuron."""
        names = [p.name for p in self.populations]
        return int(self.first[names.index(population)])

    def find(self, term: Term) -> Numbers:
        """Return the numbers, ascending, of the neurons that ``term`` names.

        That is the id of a neuron, or else a cell type, the name of a population, a place such as
        ``L4.exc[12]``, or an expression as in `select-neurons`; or several of these. Raises
        `CompileError` if it names none, with the nearest name.
        """
        if isinstance(term, str | int | np.integer):
            return self._one(str(term))
        found = [self._one(str(part)) for part in term]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def one(self, name: str | int) -> int:
        """Return the number of a single neuron, by its id or place."""
        text = str(name)
        found = self._by_id(text)
        if not len(found):
            found = self._by_place(text)
        if not len(found) and len(several := self._by_type(text)):
            named = ", ".join(str(v) for v in self.ids(several[:MOST_NAMES]).to_pylist())
            problem = f"is the cell type of {counted(len(several), 'neuron')}"
            raise CompileError(f"neuron {text!r}", problem, f"name one of them: {named}")
        if not len(found):
            raise self._unknown(text, groups=False)
        return int(found[0])

    def _one(self, text: str) -> Numbers:
        for look in (self._by_id, self._by_type, self._by_population, self._by_place):
            if len(found := look(text)):
                return found
        if not is_expression(text):
            raise self._unknown(text, groups=True)
        parts = [
            first + np.flatnonzero(matches(with_population(p.name, p.neurons), text))
            for p, first in zip(self.populations, self.first[:-1], strict=True)
            if p.neurons is not None
        ]
        found = np.concatenate([*parts, np.zeros(0, np.int64)])
        if not len(found):
            problem = f"none of {self.n:,} neurons matches {text!r}"
            said = "; ".join(strangers_in(self.graph, text))
            raise CompileError("neurons", problem, said or "ccompile inspect shows the columns")
        return found

    def _by_id(self, text: str) -> Numbers:
        return self._equal("neuron_id", text)[:1]

    def _by_type(self, text: str) -> Numbers:
        return self._equal("cell_type", text)

    def _by_population(self, text: str) -> Numbers:
        names = [p.name for p in self.populations]
        if text not in names:
            return np.zeros(0, np.int64)
        k = names.index(text)
        return np.arange(self.first[k], self.first[k + 1])

    def _by_place(self, text: str) -> Numbers:
        if not (found := UNIT.fullmatch(text)):
            return np.zeros(0, np.int64)
        members = self._by_population(found[1])
        return members[int(found[2]) :][:1] if len(found[2]) < 12 else members[:0]

    def _equal(self, column: str, text: str) -> Numbers:
        found = []
        for p, first in zip(self.populations, self.first[:-1], strict=True):
            if p.neurons is None or column not in p.neurons.column_names:
                continue
            values = p.column(column)
            if pa.types.is_integer(values.type):
                if not re.fullmatch(r"-?\d{1,19}", text) or abs(int(text)) >= 2**63:
                    continue
                same = pc.equal(values, int(text))
            elif pa.types.is_string(values.type):
                same = pc.equal(values, text)
            else:
                continue
            rows = np.flatnonzero(same.fill_null(False).to_numpy(zero_copy_only=False))
            found.append(first + rows)
        return np.concatenate([*found, np.zeros(0, np.int64)])

    def _unknown(self, text: str, *, groups: bool) -> UnknownNameError:
        known: set[str] = {p.name for p in self.populations} if groups else set()
        for p in self.populations:
            if p.neurons is not None:
                known |= {str(v) for v in p.column("neuron_id").to_pylist()}
                types = p.column("cell_type").to_pylist() if groups else []
                known |= {v for v in types if v}
            else:
                known.add(f"{p.name}[0]")
        return UnknownNameError.among("neuron", text, known)

    def ids(self, numbers: Numbers) -> pa.Array:
        """Return how neurons are called: int64 if all of the graph are, else text."""
        tables = [p for p in self.populations if p.neurons is not None]
        numeric = len(tables) == len(self.populations) and all(
            pa.types.is_integer(p.column("neuron_id").type) for p in tables
        )
        kind = pa.int64() if numeric else pa.string()
        parts = [
            pa.array([f"{p.name}[{k}]" for k in range(p.n_units)], kind)
            if p.neurons is None
            else p.column("neuron_id").cast(kind)
            for p in self.populations
        ]
        return pa.concat_arrays([*parts, pa.array([], kind)]).take(pa.array(numbers))

    def places(self, numbers: Numbers) -> tuple[pa.Array, Numbers]:
        """Return the population of each neuron, and its index in that."""
        which = np.searchsorted(self.first, numbers, side="right") - 1
        names = pa.array([p.name for p in self.populations], pa.string())
        return names.take(pa.array(which)), numbers - self.first[which]

    def column(self, name: str, numbers: Numbers) -> pa.Array:
        """Return a column of the neuron tables, missing where a table lacks it."""
        parts = [
            p.column(name)
            if p.neurons is not None and name in p.neurons.column_names
            else pa.nulls(p.n_units)
            for p in self.populations
        ]
        kinds = [part.type for part in parts if not pa.types.is_null(part.type)]
        kind = kinds[0] if kinds else pa.string()
        whole = pa.concat_arrays([*(part.cast(kind) for part in parts), pa.array([], kind)])
        return whole.take(pa.array(numbers))

    def described(self, numbers: Numbers, called: str = "neuron") -> dict[str, pa.Array]:
        """Return the columns with which a table names neurons."""
        return {
            called: self.ids(numbers),
            "population": self.places(numbers)[0],
            "cell_type": self.column("cell_type", numbers),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """All connections of one kind between the neurons of a graph, as numbers of a `Roll`.

    Arrays have shape ``(n_connections,)``. ``weight`` is a magnitude, in ``unit``, and 1 for the
    connections of a law; ``sign`` is that of `Graph.signs`.
    """

    roll: Roll
    kind: Kind
    post: Numbers
    pre: Numbers
    weight: Floats
    sign: npt.NDArray[np.int8]
    unit: str

    @classmethod
    def of(cls, graph: Graph, kind: Kind = "chemical") -> Wiring:
        """Return the connections; raise `CompileError` where they join channels, not neurons."""
        roll = Roll.of(graph)
        posts, pres, weights, signs, unit_names = [], [], [], [], []
        for q in graph.connectome:
            if q.kind != kind:
                continue
            must_join_neurons(q)
            post, pre = q.connectivity.entries(*graph.shape(q))
            posts.append(post + roll.start(q.post))
            pres.append(pre + roll.start(q.pre))
            signs.append(graph.signs(q).astype(np.int8))
            if isinstance(q.connectivity, Synapses):
                weights.append(np.abs(q.connectivity.weight).astype(np.float64))
                unit_names.append(q.connectivity.unit)
            else:
                weights.append(np.ones(len(post)))
                unit_names.append("connections")
        none = np.zeros(0)
        return cls(
            roll,
            kind,
            np.concatenate([*posts, none.astype(np.int64)]),
            np.concatenate([*pres, none.astype(np.int64)]),
            np.concatenate([*weights, none]),
            np.concatenate([*signs, none.astype(np.int8)]),
            ", ".join(dict.fromkeys(unit_names)) or "synapses",
        )

    def keep(self, kept: npt.NDArray[np.bool_]) -> Wiring:
        """Return the connections where ``kept`` is true."""
        columns = (self.post[kept], self.pre[kept], self.weight[kept], self.sign[kept])
        return Wiring(self.roll, self.kind, *columns, self.unit)

    def matrix(self, values: npt.NDArray[Any]) -> csr_array:
        """Return ``values``, one for each connection, as a sparse matrix ``[post, pre]``."""
        from scipy.sparse import csr_array

        n = self.roll.n
        return csr_array((values, (self.post, self.pre)), shape=(n, n))


def must_join_neurons(q: Projection) -> None:
    """Raise `CompileError` for a convolution: it joins channels, and its units have no names."""
    if not isinstance(q.operator, Linear):
        hint = "ask the graph before its maps are made: cc.load_graph(RECIPE, after=STAGE)"
        raise CompileError(f"projection {q.key}", "joins channels of maps, not neurons", hint)


def is_expression(text: str) -> bool:
    """Whether ``text`` compares something, as `select-neurons` does; a name does not."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    negated = isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
    return negated or isinstance(tree, ast.Compare | ast.BoolOp)
