"""Small cortical columns to compile: ``from columns import column, laminar``."""

import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from connectome_compiler.ir import (
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.assign_signs import AssignSigns
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.fold_inhibition import FoldInhibition
from connectome_compiler.passes.laminar_partition import LaminarPartition
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_node_model import SetNodeModel
from connectome_compiler.passes.split_flow import SplitFlow

_count = itertools.count()


def column(
    n: int = 24,
    density: float = 0.3,
    seed: int = 0,
    layers: tuple[str, ...] = ("L4", "L2/3", "L5", "L6"),
    unsigned: int = 0,
) -> Graph:
    """Make a random column: every fourth neuron inhibitory, the first ``unsigned`` of no class."""
    rng = np.random.default_rng(seed)
    post, pre = np.nonzero(rng.random((n, n)) < density)
    classes: list[str | None] = ["inhibitory" if k % 4 == 3 else "excitatory" for k in range(n)]
    classes[:unsigned] = [None] * unsigned
    table = neuron_table(
        {
            "neuron_id": np.arange(1000, 1000 + n),
            "cell_class": classes,
            "cortical_layer": [layers[k * len(layers) // n] for k in range(n)],
        }
    )
    counts = rng.integers(1, 5, len(post))
    made = Graph(
        (Population("neurons", (n,), table),),
        (Projection("neurons", "neurons", Synapses.from_edges(post, pre, counts)),),
        Provenance("toy", "1", "A toy column", connectivity=Evidence.MODELLED, licence="CC0"),
    )
    made.verify()
    return made


def laminar(
    graph: Graph,
    *,
    inhibition: Any = "graded",
    form: Any = "multiplicative",
    flow: Any = "drop",
    normalisation: Any = "layer",
    size: int = 8,
    classes: int = 3,
) -> Graph:
    """Take ``graph`` through the passes of microns-v1; ``flow``: of skips and feedback."""
    return run(
        graph,
        (
            AssignSigns(),
            ApplyDale(),
            LaminarPartition(),
            SetNodeModel(normalisation=normalisation, noise_std=0.0),
            FoldInhibition(policy=inhibition, form=form),
            SplitFlow(skip=flow, feedback=flow),
            AttachPorts(image=(1, size, size), outputs=classes),
        ),
    )


def placed(graph: Graph, seed: int = 0) -> Graph:
    """Give every neuron a position."""
    rng = np.random.default_rng(seed)

    def at(p: Population) -> Population:
        if p.neurons is None:
            return p
        axes = {axis: rng.uniform(0, 100, p.n_units) for axis in ("x_um", "y_um", "z_um")}
        rows = {**p.neurons.to_pydict(), **axes}
        return replace(p, neurons=neuron_table(rows))

    return graph.map_populations(at)


def load_module(path: Path) -> ModuleType:
    """Import the file at ``path`` under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"emitted_{next(_count)}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
