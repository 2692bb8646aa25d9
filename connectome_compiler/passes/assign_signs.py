"""Assign signs to neurons by transmitter or by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.edit import set_column
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.provenance import Evidence
from connectome_compiler.ir.transmitters import SPECIES, signs_of

MOST_WORDS = 5  # of words without a sign that the report names
EXCITATORY, INHIBITORY = ("excitatory",), ("inhibitory",)


@dataclass(frozen=True, slots=True)
class AssignSigns:
    """Set the ``sign`` of neurons from a column of words; signs that are already known stay.

    With a ``species`` the words are transmitters, and a neuron has the usual sign, in that
    species, of its first fast one. Otherwise they are classes, ``excitatory`` and ``inhibitory``.
    Neurons with any other word have no sign, and are counted. In a modelled data set the signs
    are modelled too; otherwise they are predicted, since neither a transmitter nor a class is a
    recording. Idempotent.
    """

    name: ClassVar[str] = "assign-signs"

    column: str = ""  #: column that gives the sign; empty: neurotransmitter or cell_class
    excitatory: tuple[str, ...] = EXCITATORY  #: words for excitatory neurons
    inhibitory: tuple[str, ...] = INHIBITORY  #: words for inhibitory neurons
    #: species whose transmitters the words are; none: the words are classes
    species: Literal["", "worm", "fly", "mouse", "mammal"] = ""

    def __post_init__(self) -> None:
        if both := set(self.excitatory) & set(self.inhibitory):
            raise CompileError(self.name, f"{min(both)!r} is both excitatory and inhibitory")
        if self.species and self.species not in SPECIES:
            raise UnknownNameError.among(f"{self.name}.species", self.species, SPECIES)
        if self.species and (self.excitatory, self.inhibitory) != (EXCITATORY, INHIBITORY):
            problem = "has both classes and a species, but a column holds one or the other"
            raise CompileError(self.name, problem, "use the pass twice")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with signs."""
        changed = graph.map_populations(
            lambda p: (
                set_column(p, "sign", pc.coalesce(p.column("sign"), self._told(p)))
                if _has_neurons(p)
                else p
            )
        )
        known, left = n_unsigned(graph), n_unsigned(changed)
        if left == known and (graph.provenance.signs != Evidence.NONE or left == _n(graph)):
            return changed  # the source already gave all signs
        modelled = graph.provenance.connectivity is Evidence.MODELLED
        signs = Evidence.MODELLED if modelled else Evidence.PREDICTED
        return replace(changed, provenance=replace(graph.provenance, signs=signs))

    @property
    def _words(self) -> str:
        """The column of words."""
        return self.column or ("neurotransmitter" if self.species else "cell_class")

    def _told(self, population: Population) -> pa.Array:
        """Return the signs that the words stand for; null where they have none."""
        words = population.column(self._words)
        if not pa.types.is_string(words.type):
            raise CompileError(
                f"{self.name}.column", f"{self._words} must hold text, not {words.type}"
            )
        if self.species:
            where = f"population {population.name}, column {self._words}"
            return signs_of(words, self.species, where)
        return pc.case_when(
            pc.make_struct(
                pc.is_in(words, value_set=pa.array(self.excitatory, pa.string())),
                pc.is_in(words, value_set=pa.array(self.inhibitory, pa.string())),
            ),
            pa.scalar(1, pa.int8()),
            pa.scalar(-1, pa.int8()),
        )

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the signs, and name the words that gave none."""
        signs = Counter[int | None]()
        words = Counter[str]()
        differ = 0
        for p in filter(_has_neurons, after.biological):
            sign, column = p.column("sign"), p.column(self._words)
            signs.update(_counts(sign))
            unsigned = _counts(column.filter(pc.is_null(sign)))
            words.update({repr(w) if w else "no word": n for w, n in unsigned.items()})
            differ += pc.sum(pc.not_equal(sign, self._told(p))).as_py() or 0
        yield (
            f"{signs[1]:,} excitatory, {signs[-1]:,} inhibitory, "
            f"{signs[None]:,} without sign (by {self._words})"
        )
        if self.species:
            usual = SPECIES[self.species].items()
            plus, minus = (", ".join(w for w, sign in usual if sign == s) for s in (1, -1))
            yield f"convention for the {self.species}: {plus} +; {minus} -"
        if differ:
            yield f"{differ:,} signs that were already known differ from these, and are kept"
        if words:
            most = words.most_common(MOST_WORDS)
            more = f" and {len(words) - len(most)} more" if len(words) > len(most) else ""
            yield "no sign from " + ", ".join(f"{w} ({n:,})" for w, n in most) + more


def n_unsigned(graph: Graph) -> int:
    """Return the number of neurons without a sign."""
    return sum(p.column("sign").null_count for p in graph.biological if _has_neurons(p))


def _n(graph: Graph) -> int:
    return sum(p.n_units for p in graph.biological if _has_neurons(p))


def _has_neurons(population: Population) -> bool:
    return not population.artificial and population.neurons is not None


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    return {c["values"]: c["counts"] for c in pc.value_counts(column).to_pylist()}
