"""Draw the graph of ``celegans-cook2019``, as it is compiled: ``docs/worm.png``.

Left: neurons by how far upstream they are (signal flow; Carmel et al. 2004, IEEE Trans. Vis.
Comput. Graph. 10:46) and by the second eigenvector of the normalised Laplacian, as in Varshney et
al. 2011 (PLoS Comput. Biol. 7:e1001066), Fig. 2. Right: the adjacency matrix, ``[post, pre]``.

    python scripts/draw_worm.py [FILE.png]
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image
from scipy.sparse import csr_array
from scipy.stats import rankdata

import connectome_compiler as cc
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes.order_by_flow import OrderByFlow

ROLES = {"sensory": "tab:green", "inter": "tab:orange", "motor": "tab:purple", "other": "0.4"}
SIGNS = {1: "tab:red", -1: "tab:blue", 0: "0.6"}
OUT = Path(__file__).resolve().parent.parent / "docs" / "worm.png"


def positions(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Return the second eigenvector of the normalised Laplacian, as ranks, and the signal flow."""
    edges = graph.projection("neurons->neurons").synapses
    n = graph.n_neurons
    weight = csr_array((edges.weight.astype(float), (edges.post, edges.pre)), shape=(n, n))
    both = (weight + weight.T).toarray()
    scale = 1 / np.sqrt(np.maximum(both.sum(0), 1))
    vectors = np.linalg.eigh(np.eye(n) - scale[:, None] * both * scale)[1]
    flow = graph["neurons"].column("flow").to_numpy()
    return rankdata(vectors[:, 1] * scale), flow


def draw(graph: Graph, path: Path) -> None:
    """Draw both panels."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    graph = graph.run(OrderByFlow(method="signal-flow"))
    chemical = graph.projection("neurons->neurons")
    edges, sign = chemical.synapses, graph.signs(chemical)
    x, y = positions(graph)
    role = np.array(graph["neurons"].column("role").fill_null("other").to_pylist())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    for value, colour in SIGNS.items():
        of = sign == value
        ends = np.stack([edges.pre[of], edges.post[of]])
        left.plot(x[ends], y[ends], color=colour, linewidth=0.3, alpha=0.12, zorder=1)
    for name, colour in ROLES.items():
        left.scatter(x[role == name], y[role == name], s=14, color=colour, label=name, zorder=2)
    left.set(ylabel="signal flow, input at the top", xlabel="Laplacian eigenvector (rank)")
    left.set(xticks=[])
    left.legend(frameon=False, loc="lower left")
    order = np.lexsort((-y, [list(ROLES).index(r) for r in role]))
    place = np.argsort(order)
    words = {1: "excitatory", -1: "inhibitory", 0: "sign unknown"}
    for value, colour in SIGNS.items():
        of = sign == value
        style = {"color": colour, "label": f"{words[value]}: {of.sum():,}"}
        size = 0.6 * np.sqrt(edges.weight[of])
        right.scatter(place[edges.pre[of]], place[edges.post[of]], s=size, **style)
    starts = np.cumsum([0, *(int((role == name).sum()) for name in ROLES)])
    for line in starts[1:-1]:
        right.axhline(line - 0.5, color="0.8", linewidth=0.6)
        right.axvline(line - 0.5, color="0.8", linewidth=0.6)
    middle = (starts[1:] + starts[:-1]) / 2
    right.set_xticks(middle, list(ROLES))
    right.set_yticks(middle, list(ROLES), rotation=90, va="center")
    right.set(xlabel="presynaptic", ylabel="postsynaptic", aspect="equal")
    right.set(xlim=(-1, graph.n_neurons), ylim=(graph.n_neurons, -1))
    handles = right.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower right", ncols=3, markerscale=4)
    figure.suptitle(f"{graph.provenance.source}: {graph.n_neurons} neurons, chemical connections")
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110)
    Image.open(buffer).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    draw(cc.load_graph("celegans-cook2019"), Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
