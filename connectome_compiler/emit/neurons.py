"""The neurons of a module, by name: written in its text where few, else among its arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.emit.arrays import Arrays
from connectome_compiler.emit.literal import Source, code, literal, packed
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.names import WORDS, told, told_digests

MOST_WRITTEN = 2_000  # neurons; of so many one still scrolls past their names


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """What a module tells of its neurons."""

    sizes: dict[str, int]  # of each population
    columns: dict[str, pa.Array]  # with an item for each unit

    @classmethod
    def of(cls, graph: Graph, places: bool = False) -> Neurons:
        """Return what is known of the neurons of ``graph``; with ``places``, where they lie."""
        return cls({p.name: p.n_units for p in graph.biological}, told(graph, places))

    def stated(self) -> dict[str, str]:
        """Return the hash of each column."""
        return told_digests(self.columns)

    def placed(self, inline: bool) -> tuple[dict[str, Source], Arrays]:
        """Return what the template places, and what goes among the arrays.

        ``inline``: the arrays are in the text as well.
        """
        few = inline and sum(self.sizes.values()) <= MOST_WRITTEN
        written = few and WORDS[0] in self.columns and self.columns.keys() <= set(WORDS)
        table = self._runs() if written else self.sizes
        reader = code("listed_neurons") if written else code("stored_neurons")
        placed = {"reader": reader, "columns": literal(tuple(self.columns)), "table": packed(table)}
        return placed, {} if written else self._arrays()

    def _runs(self) -> dict[str, Any]:
        """Return runs of neurons that are alike, by population: ids, then what they share."""
        rows = list(zip(*(column.to_pylist() for column in self.columns.values()), strict=True))
        runs, first = {}, 0
        for name, n in self.sizes.items():
            alike = groupby(rows[first : first + n], key=lambda row: row[1:])
            runs[name] = [[[one for one, *_ in run], *shared] for shared, run in alike]
            first += n
        return runs

    def _arrays(self) -> Arrays:
        """Return the columns as arrays: numbers as they are, words once each, as JSON in bytes."""
        arrays: Arrays = {}
        for name, column in self.columns.items():
            if not pa.types.is_string(column.type) and not column.null_count:
                arrays[f"neurons/{name}"] = column.to_numpy()
                continue
            if pa.types.is_floating(column.type):
                arrays[f"neurons/{name}"] = column.to_numpy(zero_copy_only=False)  # null is NaN
                continue
            coded = column.dictionary_encode()
            of, words = coded.indices.fill_null(-1).to_numpy(), coded.dictionary.to_pylist()
            if not np.array_equal(of, np.arange(len(words))):
                arrays[f"neurons/{name}/of"] = of.astype(np.min_scalar_type(-len(words) or -1))
            text = json.dumps(words, ensure_ascii=False, separators=(",", ":"))
            arrays[f"neurons/{name}"] = np.frombuffer(text.encode(), np.uint8)
        return arrays
