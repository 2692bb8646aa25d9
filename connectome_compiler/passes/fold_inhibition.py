"""Turn inhibitory neurons into an attenuation of their targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import drop_populations, set_column
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.nodes import Attenuation, Swept
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class FoldInhibition:
    """Replace inhibitory populations by their effect on each excitatory neuron.

    Policy "graded" (BioNIC-style): neuron ``j`` gets ``inhibition`` ``r_j``, its inhibitory
    in-degree (``measure``: synapses or connections) divided by the largest of its population, and
    its activity becomes ``a (1 - strength r)`` (form "multiplicative") or ``a - strength r``
    ("subtractive"). Without inhibitory input there is no attenuation. "drop": inhibition is left
    out. "units": nothing is folded, inhibitory neurons stay units, and Dale's principle holds.

    Connections onto removed inhibitory neurons (E -> I, I -> I) are removed and counted.
    """

    name: ClassVar[str] = "fold-inhibition"
    counts_enter: ClassVar[Mapping[str, str]] = {"policy": "graded", "measure": "synapses"}

    #: inhibitory neurons: folded into their targets, kept as units, or dropped
    policy: Literal["graded", "units", "drop"] = "graded"
    #: what the inhibitory in-degree counts
    measure: Literal["synapses", "connections"] = "synapses"
    #: effect of inhibition on activity a: a (1 - strength r), or a - strength r
    form: Literal["multiplicative", "subtractive"] = "multiplicative"
    strength: float = 0.5  #: strength of folded inhibition, 0 to 1

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise CompileError(
                f"{self.name}.strength", f"must be between 0 and 1, not {self.strength}"
            )

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph without inhibitory populations, unless ``policy`` is "units"."""
        if self.policy == "units":
            return graph
        inhibitory = inhibitory_populations(graph)
        if self.policy == "graded":
            graph = graph.map_populations(
                lambda p: (
                    p
                    if p.name in inhibitory or p.artificial
                    else self._attenuated(p, in_degree(graph, p, inhibitory, self.measure))
                )
            )
        return drop_populations(graph, inhibitory)

    def _attenuated(self, population: Population, received: npt.NDArray[np.float64]) -> Population:
        most = received.max(initial=0.0)
        if most == 0:
            return population
        if not isinstance(population.node, Swept):
            problem = f"has {population.node}: only units without memory can have graded inhibition"
            hint = "policy=units or drop, or leave out the pass that set it, such as set-dynamics"
            raise CompileError(f"population {population.name}", problem, hint)
        inhibition = Attenuation(self.form, float(self.strength))
        node = replace(population.node, inhibition=inhibition)
        return replace(set_column(population, "inhibition", pa.array(received / most)), node=node)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the connections that were folded and those that were dropped."""
        inhibitory = inhibitory_populations(before)
        if self.policy == "units":
            yield f"{sum(before.population(p).n_units for p in inhibitory):,} inhibitory units kept"
            return
        count = Counter[str]()
        for q in before.connectome:
            if q.pre in inhibitory or q.post in inhibitory:
                ends = ("I" if end in inhibitory else "E" for end in (q.pre, q.post))
                count["->".join(ends) if q.kind == "chemical" else q.kind] += before.count(q)
        done = (
            "folded into the attenuation of their targets" if self.policy == "graded" else "dropped"
        )
        yield f"{count['I->E']:,} I->E connections {done}"
        yield f"{count['E->I']:,} E->I and {count['I->I']:,} I->I connections dropped"
        if electrical := count["electrical"]:
            yield f"{electrical:,} electrical connections of inhibitory neurons dropped"
        none = sum(p.n_units for p in after.biological if not getattr(p.node, "inhibition", None))
        if self.policy == "graded" and none:
            where = "in populations without inhibitory input"
            yield f"{counted(none, 'neuron')} {where}: no attenuation"
        if mixed := sum(signs.count(-1) for signs in _signs(after).values()):
            yield f"{mixed:,} inhibitory neurons not folded: their populations are mixed"


def inhibitory_populations(graph: Graph) -> list[str]:
    """Return the names of the populations whose neurons all have sign -1."""
    return [name for name, signs in _signs(graph).items() if set(signs) == {-1}]


def _signs(graph: Graph) -> dict[str, list[int | None]]:
    """Return the sign of every neuron, by population."""
    known = (p for p in graph.biological if p.neurons is not None)
    return {p.name: p.column("sign").to_pylist() for p in known}


def in_degree(
    graph: Graph, population: Population, sources: list[str], measure: str
) -> npt.NDArray[np.float64]:
    """Return the synapses (or connections) each neuron gets from ``sources``, shape ``(n,)``."""
    received = np.zeros(population.n_units)
    for q in graph.connectome:
        if q.post == population.name and q.pre in sources and q.kind == "chemical":
            edges = q.synapses
            strength = np.abs(edges.weight) if measure == "synapses" else None
            received += np.bincount(edges.post, strength, population.n_units)
    return received
