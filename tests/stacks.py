"""A stack of layers in which every operator occurs: ``from stacks import stack``."""

from typing import Any

from connectome_compiler.data_adapters.mimetic import Layer, Mimetic
from connectome_compiler.ir import Graph


def stack(**options: Any) -> Graph:
    """Make a network in which every operator occurs with and without a window."""
    on_grids = options.get("form", "2d") == "2d"
    widths = (lambda *w: w) if on_grids else (lambda *w: ())
    graph: Graph = Mimetic(
        (
            Layer("seed", (6,)),
            Layer("maps", (8, 3, 3), activation="relu", normalisation="batch"),
            Layer("wide", (16, 6, 6), "conv-transpose2d", 3, 2, 1, 1, window=True,
                  widths=widths(4, 4), activation="relu", normalisation="batch"),
            Layer("same", (12, 6, 6), "conv2d", 3, 1, 1, groups=2, window=True,
                  widths=widths(4, 4), activation="tanh"),
            Layer("more", (6, 3, 3), "conv2d", 2, 2, activation="softplus"),
            Layer("flat", (18,), window=True, widths=widths(9, 6), normalisation="batch",
                  activation="sigmoid"),
            Layer("classes", (3,)),
        ),
        **{"dataset": "small", **({"radius": 0.6} if on_grids else {}), **options},
    ).load()  # fmt: skip
    return graph
