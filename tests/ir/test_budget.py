"""A network that no machine could hold is refused before anything of it is made."""

import pytest

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import AllToAll, Graph, Population, Projection
from connectome_compiler.ir.budget import MOST_UNITS, MOST_WEIGHTS, must_fit
from connectome_compiler.ir.provenance import Evidence, Provenance

ORIGIN = Provenance("toy", title="A toy", connectivity=Evidence.MODELLED, licence="none")


def graph(*sizes: int) -> Graph:
    populations = tuple(Population(f"p{k}", (n,), artificial=True) for k, n in enumerate(sizes))
    law = Projection("p0", "p1", AllToAll(), delay=0)
    return Graph(populations, (law,), ORIGIN)


def test_the_limits_themselves_fit() -> None:
    must_fit("here", units=MOST_UNITS, weights=MOST_WEIGHTS)
    for sizes in ({"units": MOST_UNITS + 1}, {"weights": MOST_WEIGHTS + 1}):
        with pytest.raises(CompileError, match=r"here: would have .*,.* the limit is .*,"):
            must_fit("here", **sizes)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((10**12, 1), "populations: would have 1,000,000,000,001 units"),
        ((10**5, 10**5), "projection p0->p1: all to all: would have 10,000,000,000 weights"),
    ],
)
def test_every_graph_is_held_to_them(sizes: tuple[int, int], words: str) -> None:
    graph(10, 10).verify()
    with pytest.raises(CompileError, match=words):
        graph(*sizes).verify()
