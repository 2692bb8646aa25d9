"""One neuron: what it is, and its partners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.ir.graph import Graph
from connectome_compiler.questions.answer import MARKS, Answer
from connectome_compiler.questions.wiring import Numbers, Wiring
from connectome_compiler.text import counted

SHOWN = ("cell_type", "cell_class", "neurotransmitter", "cortical_layer", "region", "role")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Neuron(Answer):
    """A neuron and its partners, the strongest first.

    ``inputs`` and ``outputs`` are its chemical connections, ``junctions`` its gap junctions: a row
    for each partner, with the ``weight`` of the connection, its ``share`` of the whole input (of
    the whole output), and its sign.
    """

    neuron_id: str | int
    population: str
    index: int  # in the population, as in the rows and columns of its weights
    known: Mapping[str, Any]  # the columns of the neuron table that have a value
    inputs: pa.Table
    outputs: pa.Table
    junctions: pa.Table
    unit: str

    @property
    def headline(self) -> str:
        """What the neuron is, and how many partners it has."""
        what = [str(self.known[name]) for name in SHOWN if name in self.known]
        what.append(f"sign {MARKS[self.known.get('sign', 0)]}")
        joined = counted(self.inputs.num_rows, "input")
        joined += f" and {counted(self.outputs.num_rows, 'output')}"
        if self.junctions.num_rows:
            joined += f", {counted(self.junctions.num_rows, 'gap junction')}"
        place = f"{self.population}[{self.index}]"
        return f"{self.neuron_id} ({', '.join(what)}), {place}: {joined}; in {self.unit}"

    @property
    def tables(self) -> dict[str, pa.Table]:
        """Partners, by how they are joined."""
        return {"inputs": self.inputs, "outputs": self.outputs, "gap junctions": self.junctions}


def neuron(graph: Graph, name: str | int) -> Neuron:
    """Return the neuron with this id, and its partners; see `Graph.neuron`."""
    wired = Wiring.of(graph)
    roll = wired.roll
    at = roll.one(name)
    number = np.array([at])
    (population,), (index,) = roll.places(number)
    home = graph.population(population.as_py())
    row = {} if home.neurons is None else home.neurons.slice(int(index), 1).to_pylist()[0]
    gaps = Wiring.of(graph, "electrical")
    inward, outward = (np.flatnonzero(end == at) for end in (wired.post, wired.pre))
    return Neuron(
        roll.ids(number)[0].as_py(),
        home.name,
        int(index),
        {k: v for k, v in row.items() if v is not None and k != "neuron_id"},
        _partners(wired, wired.pre, inward),
        _partners(wired, wired.post, outward),
        _partners(gaps, gaps.pre, np.flatnonzero(gaps.post == at)).drop_columns(["sign"]),
        ", ".join(dict.fromkeys([wired.unit, *([gaps.unit] if len(gaps.post) else [])])),
    )


def _partners(wired: Wiring, partner: Numbers, rows: Numbers) -> pa.Table:
    weight = wired.weight[rows]
    order = np.argsort(-weight, kind="stable")
    rows, weight = rows[order], weight[order]
    return pa.table(
        {
            **wired.roll.described(partner[rows], "partner"),
            "weight": weight,
            "share": weight / max(weight.sum(), np.finfo(float).tiny),
            "sign": wired.sign[rows],
        }
    )
