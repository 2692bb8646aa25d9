"""A connectome of the size of a fly's brain, and small ones by hand."""

from collections.abc import Sequence

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


def brain(n: int = 140_000, n_drawn: int = 4_200_000, seed: int = 0) -> Graph:
    """Draw a connectome with hubs: in- and out-degrees and weights are log-normal."""
    rng = np.random.default_rng(seed)
    ends = (rng.lognormal(size=n) for _ in range(2))
    post, pre = (rng.choice(n, n_drawn, p=p / p.sum()) for p in ends)
    post, pre = np.divmod(np.unique(post.astype(np.int64) * n + pre), n)
    weight = np.minimum(1 + rng.lognormal(1.2, 1.0, len(post)).astype(np.int64), 500)
    table = neuron_table(
        {
            "neuron_id": 720575940600000000 + np.arange(n),
            "cell_type": [f"T{k % 8000}" for k in range(n)],
            "sign": rng.choice([1, 1, 1, -1], n),
        }
    )
    return Graph(
        (Population("brain", (n,), table),),
        (Projection("brain", "brain", Synapses.from_edges(post, pre, weight)),),
        Provenance("toy-brain", "1", "A toy brain", Evidence.MODELLED),
    )


def wired(
    edges: Sequence[tuple[str, str, int]], signs: dict[str, int] | None = None, more: str = ""
) -> Graph:
    """Make a graph of ``(pre, post, synapses)``; ``more`` are letters of further neurons."""
    names = sorted({name for pre, post, _ in edges for name in (pre, post)} | set(more))
    post = [names.index(b) for _, b, _ in edges]
    pre = [names.index(a) for a, _, _ in edges]
    known = signs or {}
    table = neuron_table({"neuron_id": names, "sign": [known.get(name) for name in names]})
    return Graph(
        (Population("neurons", (len(names),), table),),
        (
            Projection(
                "neurons", "neurons", Synapses.from_edges(post, pre, [w for _, _, w in edges])
            ),
        ),
        Provenance("toy", "1", "A toy", Evidence.MEASURED),
    )
