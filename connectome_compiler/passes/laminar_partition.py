"""Split a cortical connectome into layers, excitatory and inhibitory."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._groups import into_groups, sizes
from connectome_compiler.text import counted


@dataclass(frozen=True, slots=True)
class LaminarPartition:
    """Make one population per cortical layer and sign: ``L4.inh``, ``L4.exc``, ``L2/3.inh``, ...

    ``order`` is the flow of information through the layers, by default the canonical circuit's
    (Douglas & Martin 2004, Annu. Rev. Neurosci. 27:419): L4 -> L2/3 -> L5 -> L6. Layers joined by
    "+" share a stage: L1 goes with L2/3, so that its few cells do not interrupt the path to L5.
    Within a stage inhibition comes first, so that feed-forward inhibition acts in the same sweep.
    Neurons of other layers, or without a layer, are refused or dropped (``others``).
    """

    name: ClassVar[str] = "laminar-partition"

    #: cortical layers in the order of flow; + joins layers into one stage
    order: tuple[str, ...] = ("L4", "L2/3+L1", "L5", "L6")
    #: what to do with neurons of other layers, or without a layer
    others: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        layers = list(self.stage_of())
        if (
            sum(len(stage.split("+")) for stage in self.order) > len(layers)
            or not all(layers)
            or not layers
        ):
            raise CompileError(
                f"{self.name}.order", f"must name layers, each once, not {list(self.order)}"
            )

    def stage_of(self) -> dict[str, int]:
        """Return the stage of each layer, the layers in the order of flow."""
        return {
            layer.strip(): stage
            for stage, layers in enumerate(self.order)
            for layer in layers.split("+")
        }

    def __call__(self, graph: Graph) -> Graph:
        """Return the partitioned graph; populations without cells are not made."""
        stage_of = self.stage_of()
        layers = pa.array(list(stage_of), pa.string())
        rank = {
            p.name: pc.index_in(p.column("cortical_layer"), layers, skip_nulls=True)
            for p in graph.biological
        }
        outside = {name: np.asarray(known.is_null(), np.bool_) for name, known in rank.items()}
        if any(mask.any() for mask in outside.values()):
            if self.others == "error":
                raise CompileError(
                    self.name,
                    f"{_words(graph, stage_of)} are in none of the layers {', '.join(stage_of)}",
                    "name the layer in laminar-partition.order, or set laminar-partition.others"
                    ' to "drop"',
                )
            graph = keep_neurons(graph, {name: ~mask for name, mask in outside.items()})
        known = [np.asarray(places.drop_null(), np.intp) for places in rank.values()]
        group = np.concatenate([np.zeros(0, np.intp), *known])
        stages = list(stage_of.values())
        return into_groups(self.name, graph, group, list(stage_of), stages, by_sign=True)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """List the populations, and the layers without cells."""
        yield from sizes(after)
        lost = before.n_neurons - after.n_neurons
        if lost:
            yield f"{counted(lost, 'neuron')} of other layers dropped"
        found = {p.name.rsplit(".", 1)[0] for p in after.biological}
        if empty := [layer for layer in self.stage_of() if layer not in found]:
            yield f"no neurons in {', '.join(empty)}"


def _words(graph: Graph, known: Container[str]) -> str:
    """Count the neurons outside, by layer: ``3 neurons of WM, 2 of no layer``."""
    layers = [v for p in graph.biological for v in p.column("cortical_layer").to_pylist()]
    counts: dict[str, int] = {}
    for layer in layers:
        if layer not in known:
            word = "no layer" if layer is None else layer or '""'
            counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{counted(n, 'neuron')} of {word}" for word, n in sorted(counts.items()))
