"""Give neurons their sign by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import set_column
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.provenance import Evidence

MOST_WORDS = 5  # named in the report, of those that gave no sign


@dataclass(frozen=True, slots=True)
class AssignSigns:
    """Set the ``sign`` of neurons from a column of words; a sign that is known already stays.

    Neurons with any other word keep no sign, and are counted. In a modelled data set the signs are
    modelled too; else those given here are predicted, since a class is not a recording. Idempotent.
    """

    name: ClassVar[str] = "assign-signs"

    column: str = "cell_class"
    excitatory: tuple[str, ...] = ("excitatory",)
    inhibitory: tuple[str, ...] = ("inhibitory",)

    def __post_init__(self) -> None:
        if both := set(self.excitatory) & set(self.inhibitory):
            raise CompileError(self.name, f"{min(both)!r} is both excitatory and inhibitory")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with signs."""
        changed = graph.map_populations(
            lambda p: p if p.artificial or p.neurons is None else self._signed(p)
        )
        if n_unsigned(changed) == n_unsigned(graph) and graph.provenance.signs != Evidence.NONE:
            return changed  # the source knew all that this pass could tell
        modelled = graph.provenance.connectivity is Evidence.MODELLED
        signs = Evidence.MODELLED if modelled else Evidence.PREDICTED
        return replace(changed, provenance=replace(graph.provenance, signs=signs))

    def _signed(self, population: Population) -> Population:
        words = population.column(self.column)
        if not pa.types.is_string(words.type):
            raise CompileError(f"{self.name}.column", f"{self.column} holds {words.type}, no words")
        by_word = pc.case_when(
            pc.make_struct(
                pc.is_in(words, value_set=pa.array(self.excitatory, pa.string())),
                pc.is_in(words, value_set=pa.array(self.inhibitory, pa.string())),
            ),
            pa.scalar(1, pa.int8()),
            pa.scalar(-1, pa.int8()),
        )
        return set_column(population, "sign", pc.coalesce(population.column("sign"), by_word))

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the signs, and name the words that gave none."""
        tables = [p.neurons for p in after.biological if p.neurons is not None]
        signs = Counter[int | None]()
        words = Counter[str]()
        for table in tables:
            signs.update(_counts(table.column("sign")))
            unsigned = table.filter(pc.is_null(table.column("sign"))).column(self.column)
            words.update({repr(w) if w else "no word": n for w, n in _counts(unsigned).items()})
        yield (
            f"{signs[1]:,} excitatory, {signs[-1]:,} inhibitory, "
            f"{signs[None]:,} without sign (by {self.column})"
        )
        if words:
            most = words.most_common(MOST_WORDS)
            more = f" and {len(words) - len(most)} more" if len(words) > len(most) else ""
            yield "no sign from " + ", ".join(f"{w} ({n:,})" for w, n in most) + more


def n_unsigned(graph: Graph) -> int:
    """Return the number of neurons without sign."""
    tables = [p.neurons for p in graph.biological if p.neurons is not None]
    return sum(table.column("sign").null_count for table in tables)


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    return {c["values"]: c["counts"] for c in pc.value_counts(column).to_pylist()}
