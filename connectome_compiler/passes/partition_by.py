"""Split a connectome by the values of a column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.neurons import ROLES
from connectome_compiler.passes._edge_list import by_population
from connectome_compiler.passes._groups import into_groups, must_be_name, sizes
from connectome_compiler.text import counted

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PartitionBy:
    """Make one population per value of ``column``: ``sensory``, ``inter``, ``motor``, ``muscle``.

    ``order`` is the order of flow through them, and sets their stages; the default is that of
    roles. Values that it does not name follow, sorted. Neurons without a value form the last
    population ``unknown`` ("group"), are dropped, or refused (``missing``). With ``by_sign`` each
    population is split again, as laminar-partition does: ``inter.inh``, ``inter.exc``,
    ``inter.unsigned``. Numeric values are named as they print.
    """

    name: ClassVar[str] = "partition-by"

    column: str = "role"  #: column whose values become populations
    order: tuple[str, ...] = ()  #: values in the order of flow; empty: the order of roles
    missing: Literal["group", "drop", "error"] = "group"  #: what to do with neurons without a value
    by_sign: bool = False  #: also split each population by sign

    def __post_init__(self) -> None:
        if len(set(self.order)) < len(self.order):
            raise CompileError(
                f"{self.name}.order", f"must name each value once, not {list(self.order)}"
            )

    def __call__(self, graph: Graph) -> Graph:
        """Return the partitioned graph."""
        values = self._values(graph)
        absent = np.asarray(values.is_null().to_numpy(), np.bool_)
        if absent.any() and self.missing == "error":
            problem = f"{absent.sum():,} of {len(absent):,} neurons have no {self.column}"
            hint = f'set {self.name}.missing to "group" or "drop"'
            raise CompileError(f"{self.name}.column", problem, hint)
        if absent.any() and self.missing == "drop":
            graph = keep_neurons(graph, by_population(graph, ~absent))
            values = values.drop_null()
        found = pc.unique(values).drop_null()
        rank, names = self._ranked(found, missing=values.null_count > 0)
        place = pc.index_in(values, found).fill_null(len(found)).to_numpy()
        stages = list(range(len(names)))
        return into_groups(self.name, graph, rank[place], names, stages, by_sign=self.by_sign)

    def _values(self, graph: Graph) -> pa.ChunkedArray:
        """Return the column of all neurons; null where a population does not have it."""
        tables = [p.neurons for p in graph.biological if p.neurons is not None]
        known = {name for table in tables for name in table.column_names}
        if self.column not in known:
            raise UnknownNameError.among(f"{self.name}: column", self.column, known)
        if len(tables) < len(graph.biological):
            bare = next(p.name for p in graph.biological if p.neurons is None)
            raise CompileError(f"population {bare}", "has no neuron table")
        has = [t.select([self.column] if self.column in t.column_names else []) for t in tables]
        try:
            joined = pa.concat_tables(
                [
                    part if part.num_columns else pa.table({self.column: pa.nulls(len(table))})
                    for part, table in zip(has, tables, strict=True)
                ],
                promote_options="permissive",
            )
        except pa.ArrowException as error:
            where = f"{self.name}: column {self.column}"
            raise CompileError(where, f"differs between populations: {error}") from error
        return joined.column(self.column)

    def _ranked(self, found: pa.Array, missing: bool) -> tuple[Any, list[str]]:
        """Return the position of each distinct value (and of null) in the flow, and their names."""
        names = [_name(value) for value in found.to_pylist()]
        for name in names:
            must_be_name(f"{self.name}: column {self.column}", name)
        wanted = self.order or (ROLES if self.column == "role" else ())
        in_order = np.argsort(pc.sort_indices(found).to_numpy())
        places = [
            (wanted.index(name) if name in wanted else len(wanted), int(k))
            for name, k in zip(names, in_order, strict=True)
        ]
        if missing:
            if UNKNOWN in names:
                problem = f"{UNKNOWN!r} is a value, and also the name for neurons without one"
                hint = f'set {self.name}.missing to "drop" or "error"'
                raise CompileError(f"{self.name}: column {self.column}", problem, hint)
            names.append(UNKNOWN)
            places.append((len(wanted) + 1, 0))
        order = sorted(range(len(names)), key=lambda k: places[k])
        rank = np.empty(len(names) + (not missing), np.intp)
        rank[order] = np.arange(len(names))
        return rank, [names[k] for k in order]

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """List the populations, neurons without a value, and unused values of ``order``."""
        yield from sizes(after)
        values = self._values(before)
        if values.null_count:
            done = "dropped" if self.missing == "drop" else f"in {UNKNOWN}"
            yield f"{counted(values.null_count, 'neuron')} without {self.column}: {done}"
        present = [_name(value) for value in pc.unique(values).drop_null().to_pylist()]
        yield from (f"no neuron has {self.column} {w!r}" for w in self.order if w not in present)
        if self.order and (rest := [name for name in present if name not in self.order]):
            yield f"not in {self.name}.order: {', '.join(sorted(rest))}"


def _name(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
