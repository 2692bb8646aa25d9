"""Split a cortical connectome into layers, excitatory and inhibitory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import keep_neurons, regroup
from connectome_compiler.ir.graph import Graph

SUFFIX = {-1: "inh", 1: "exc", None: "unsigned"}


@dataclass(frozen=True, slots=True)
class LaminarPartition:
    """Make one population per cortical layer and sign: ``L4.inh``, ``L4.exc``, ``L2/3.inh``, ...

    ``order`` is the flow of information through the layers, by default the canonical circuit's
    (Douglas & Martin 2004, Annu. Rev. Neurosci. 27:419): L4 -> L2/3 -> L5 -> L6. Layers joined by
    "+" share a stage of it: L1 goes with L2/3, so that its few cells do not cut the way to L5.
    Within a stage inhibition comes first, so that feed-forward inhibition acts in the same sweep.
    Neurons of other layers, or of none, are refused or dropped (``others``).
    """

    name: ClassVar[str] = "laminar-partition"

    order: tuple[str, ...] = ("L4", "L2/3+L1", "L5", "L6")
    others: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        layers = list(self.stage_of())
        if (
            sum(len(stage.split("+")) for stage in self.order) > len(layers)
            or not all(layers)
            or not layers
        ):
            raise CompileError(
                f"{self.name}.order", f"{list(self.order)} names a layer twice or none"
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
        layers = list(stage_of)
        rank = {layer: k for k, layer in enumerate(layers)}
        outside = {
            p.name: np.array([v not in rank for v in p.column("cortical_layer").to_pylist()], bool)
            for p in graph.biological
        }
        if any(mask.any() for mask in outside.values()):
            if self.others == "error":
                raise CompileError(
                    self.name,
                    f"{_words(graph, rank)} are in none of the layers {', '.join(layers)}",
                    "name the layer in laminar-partition.order, or set laminar-partition.others"
                    ' to "drop"',
                )
            graph = keep_neurons(graph, {name: ~mask for name, mask in outside.items()})
        kinds = list(SUFFIX)
        labels = np.array(
            [
                (stage_of[layer] * len(kinds) + kinds.index(sign)) * len(layers) + rank[layer]
                for p in graph.biological
                for layer, sign in zip(
                    p.column("cortical_layer").to_pylist(),
                    p.column("sign").to_pylist(),
                    strict=True,
                )
            ],
            dtype=np.intp,
        )
        present, label = np.unique(labels, return_inverse=True)
        names = [f"{layers[k % len(layers)]}.{SUFFIX[_kind_of(k, layers)]}" for k in present]
        cut = regroup(graph, label.astype(np.intp), names)
        stages = [stage_of[layers[k % len(layers)]] for k in present]
        return replace(
            cut,
            populations=tuple(
                replace(p, stage=stage) for p, stage in zip(cut.populations, stages, strict=True)
            ),
        )

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """List the populations, and the layers that have no cell."""
        yield ", ".join(f"{p.name} {p.n_units:,}" for p in after.biological)
        lost = before.n_neurons - after.n_neurons
        if lost:
            yield f"{lost:,} neurons of other layers dropped"
        found = {p.name.rsplit(".", 1)[0] for p in after.biological}
        if empty := [layer for layer in self.stage_of() if layer not in found]:
            yield f"no neurons in {', '.join(empty)}"


def _kind_of(label: int, layers: list[str]) -> int | None:
    return list(SUFFIX)[label // len(layers) % len(SUFFIX)]


def _words(graph: Graph, rank: dict[str, int]) -> str:
    """Count the neurons outside, by layer: ``3 neurons of WM, 2 of no layer``."""
    layers = [v for p in graph.biological for v in p.column("cortical_layer").to_pylist()]
    counts: dict[str, int] = {}
    for layer in layers:
        if layer not in rank:
            word = "no layer" if layer is None else layer or '""'
            counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{n:,} neurons of {word}" for word, n in sorted(counts.items()))
