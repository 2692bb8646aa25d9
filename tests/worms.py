"""Small made nervous systems with both kinds of connections: ``from worms import worm``."""

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
from connectome_compiler.passes.attach_ports import AttachPorts
from connectome_compiler.passes.partition_by import PartitionBy
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_dynamics import SetDynamics
from connectome_compiler.passes.set_weights import SetWeights

SIGNS: tuple[int | None, ...] = (1, 1, -1, None)  # of one neuron after the other
TYPES = ("AVA", "AVB", "RIM", None, "AVB")


def worm(n: int = 12, density: float = 0.3, seed: int = 0, junctions: bool = True) -> Graph:
    """Make a connectome: sensory, inter and motor neurons, signs of neurons and of connections."""
    rng = np.random.default_rng(seed)
    post, pre = np.nonzero(rng.random((n, n)) < density)
    own = np.where(rng.random(len(post)) < 0.1, -1, 0)  # some connections have another sign
    chemical = Synapses.from_edges(post, pre, rng.integers(1, 6, len(post)), sign=own)
    projections = [Projection("neurons", "neurons", chemical)]
    if junctions:
        one, other = np.nonzero(np.triu(rng.random((n, n)) < density / 2, 1))
        size = np.tile(rng.integers(1, 6, len(one)), 2)
        ends = np.append(one, other), np.append(other, one)
        electrical = Synapses.from_edges(*ends, size)
        projections.append(Projection("neurons", "neurons", electrical, kind="electrical"))
    table = neuron_table(
        {
            "neuron_id": [f"N{k}" for k in range(n)],
            "cell_type": [TYPES[k % len(TYPES)] for k in range(n)],
            "role": [("sensory", "inter", "motor")[3 * k // n] for k in range(n)],
            "sign": [SIGNS[k % len(SIGNS)] for k in range(n)],
        }
    )
    made = Graph(
        (Population("neurons", (n,), table),),
        tuple(projections),
        Provenance("toy-worm", "1", "A toy worm", Evidence.MEASURED, licence="CC0"),
    )
    made.verify()
    return made


def driven(
    graph: Graph,
    *,
    weights: dict[str, Any] | None = None,
    dynamics: dict[str, Any] | None = None,
    ports: dict[str, Any] | None = None,
    partition: str = "",
) -> Graph:
    """Take ``graph`` through the passes of the recurrent recipes, each with its options."""
    return run(
        graph,
        (
            ApplyDale("report"),
            *((PartitionBy(partition),) if partition else ()),
            SetWeights(**(weights or {})),
            SetDynamics(**(dynamics or {})),
            AttachPorts(**{"inputs": 3, "outputs": 2, **(ports or {})}),
        ),
    )
