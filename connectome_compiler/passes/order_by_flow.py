"""Sort neurons by the flow of information, and divide the flow into stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import reorder, set_column
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.passes._digraph import (
    Places,
    feedback_order,
    inverse,
    sifted,
    signal_flow,
    strong_components,
)
from connectome_compiler.passes._edge_list import by_population, edge_list, rank_of_ids, starts
from connectome_compiler.passes._groups import MOST, into_groups, sizes


@dataclass(frozen=True, slots=True)
class OrderByFlow:
    """Sort the neurons of each population from input to output; add the results as columns.

    ``component``: the strongly connected component, numbered along the flow; ``flow_level``: the
    length of the longest chain of components that leads to it; ``flow``: depends on the method.

    "feedback-arcs": connections between components all run forward, by level; within a component
    few run back (the heuristic of Eades, Lin & Smyth 1993, in batches; then up to ``sweeps`` rounds
    in which neurons move to their best position). ``flow`` is the position in the order, from 0
    (first) to 1 (last). "signal-flow": the continuous hierarchy of Carmel et al. 2004; ``flow`` is
    large at the input and falls by about 1 with each connection forward; ties are in the order of
    ids.

    Chemical connections of all populations count, each once for "feedback-arcs", by the magnitude
    of its weight for "signal-flow"; autapses do not count. The result does not depend on the
    previous order of the neurons. Idempotent.

    With ``stages`` the neurons are regrouped along the flow into that many populations ``stage1``,
    ``stage2``, ... of equal size (but for one neuron), which split-flow can tell forward from back.
    """

    name: ClassVar[str] = "order-by-flow"

    #: method that finds the order
    method: Literal["feedback-arcs", "signal-flow"] = "feedback-arcs"
    stages: int = 0  #: number of populations to regroup the neurons into; 0: none
    sweeps: int = 20  #: maximal number of rounds of improvement (feedback-arcs)

    def __post_init__(self) -> None:
        if not 0 <= self.stages <= MOST:
            raise CompileError(f"{self.name}.stages", f"{self.stages} is outside 0..{MOST}")
        if self.sweeps < 0:
            raise CompileError(f"{self.name}.sweeps", f"{self.sweeps} is negative")

    def __call__(self, graph: Graph) -> Graph:
        """Return the sorted graph."""
        if self.stages > graph.n_neurons:
            problem = f"{self.stages} stages for {graph.n_neurons:,} neurons"
            raise CompileError(f"{self.name}.stages", problem)
        graph, place = self._measured(graph)
        if self.stages:
            names = [f"stage{k + 1}" for k in range(self.stages)]
            stage = place * self.stages // len(place)
            graph = into_groups(self.name, graph, stage, names, range(self.stages))
            place = place[np.argsort(stage, kind="stable")]  # in the new order of the neurons
        places = by_population(graph, place)
        return reorder(graph, {name: np.argsort(at) for name, at in places.items()})

    def _measured(self, graph: Graph) -> tuple[Graph, Places]:
        """Return the graph with the columns, and each neuron's position in the flow."""
        rank = rank_of_ids(graph)
        edges = edge_list(graph).without_autapses().renumbered(rank)
        n, pre, post = edges.n, edges.pre, edges.post
        component, level = strong_components(n, pre, post)
        if self.method == "signal-flow":
            flow = signal_flow(n, pre, post, edges.weight)
            place = inverse(np.argsort(-flow, kind="stable"))
        else:
            inside = component[pre] == component[post]
            pre, post = pre[inside], post[inside]
            order = sifted(n, pre, post, feedback_order(n, pre, post), self.sweeps)
            place = inverse(np.lexsort((order, component)))  # components are numbered by level
            flow = place / max(n - 1, 1)
        columns = {
            "flow": by_population(graph, flow[rank]),
            "component": by_population(graph, component[rank]),
            "flow_level": by_population(graph, level[component][rank]),
        }

        def placed(p: Population) -> Population:
            for name, values in columns.items() if not p.artificial else ():
                p = set_column(p, name, pa.array(values[p.name]))
            return p

        return graph.map_populations(placed), place[rank]

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count components, and connections against the flow before and after."""
        parts = [p.column("component").to_numpy() for p in after.biological]
        levels = [p.column("flow_level").to_numpy() for p in after.biological]
        size = np.bincount(np.concatenate([np.zeros(0, np.int32), *parts]))
        n_levels = max((int(k.max(initial=-1)) for k in levels), default=-1) + 1
        largest = f", the largest of {size.max():,} neurons" if len(size) else ""
        yield f"{len(size):,} strongly connected components on {n_levels:,} levels{largest}"
        listed = {
            name: np.arange(first, first + before.population(name).n_units, dtype=np.float64)
            for name, first in starts(before).items()
        }
        down = -1.0 if self.method == "signal-flow" else 1.0
        flow = {p.name: down * p.column("flow").to_numpy() for p in after.biological}
        yield f"before: {_feedback(before, listed)}"
        yield f"after: {_feedback(after, flow)}"
        if self.stages:
            yield from sizes(after)


def _feedback(graph: Graph, flow: dict[str, npt.NDArray[np.float64]]) -> str:
    """Count the chemical connections that run from a later position to an earlier one."""
    edges = edge_list(graph)
    place = np.concatenate([np.zeros(0), *flow.values()])
    back = place[edges.pre] > place[edges.post]
    weight = np.abs(edges.weight)
    shares = [
        part / whole if whole else 0.0
        for part, whole in ((back.sum(), len(back)), (weight[back].sum(), weight.sum()))
    ]
    return (
        f"{back.sum():,} of {len(back):,} chemical connections run back"
        f" ({shares[0]:.1%}, {shares[1]:.1%} of the weight)"
    )
