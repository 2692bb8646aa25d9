from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from references import edges, neurons, small
from strategies import connectomes, graphs

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.keep_core import KeepCore
from connectome_compiler.passes.runner import run

degrees = st.sampled_from(["total", "in", "out"])


def core(graph: Graph, k: int, degree: str) -> set[Any]:
    """Take neurons of a lower degree off, one after the other."""
    left = set(neurons(graph))
    while True:
        count = dict.fromkeys(left, 0)
        for _, pre, post in edges(graph):
            if pre != post and {pre, post} <= left:
                count[post] += degree != "out"
                count[pre] += degree != "in"
        weak = [i for i, n in count.items() if n < k]
        if not weak:
            return left
        left.discard(weak[0])


# A ring of three, a neuron that only receives, and one that only sends: each core is another.
RING = small(
    {"cells": {"sign": [1] * 5}},
    [("cells", "cells", [(0, 1), (1, 2), (2, 0), (2, 3), (4, 0)])],
)


@example(RING, "in", 1)
@example(RING, "out", 1)
@given(graphs(), degrees, st.integers(0, 5))
def test_agrees_with_a_slow_reading(graph: Graph, degree: Any, k: int) -> None:
    digest = graph.digest()
    kept = core(graph, k, degree)
    step = KeepCore(k, degree)
    if graph.n_neurons and not kept:
        most = max(j for j in range(k) if core(graph, j, degree))
        with pytest.raises(CompileError, match=rf"degree {k}\n.*k={most}$"):
            step(graph)
        return
    after = step(graph)
    after.verify()
    assert neurons(after) == {i: row for i, row in neurons(graph).items() if i in kept}
    wanted = {e: v for e, v in edges(graph).items() if {e[1], e[2]} <= kept}
    assert edges(after) == wanted
    assert step(after).digest() == after.digest()
    assert graph.digest() == digest


@given(connectomes(min_populations=1))
def test_cores_lie_inside_each_other(graph: Graph) -> None:
    kept = set(neurons(graph))
    for k in range(4):
        try:
            inner = set(neurons(KeepCore(k)(graph)))
        except CompileError:
            return
        assert inner <= kept
        kept = inner


def test_counts_and_bad_options() -> None:
    arcs = [(0, 1), (1, 2), (2, 0), (3, 0), (3, 3)]
    graph = small({"cells": {"sign": [1] * 4}}, [("cells", "cells", arcs)])
    after = run(graph, [KeepCore()])
    assert list(neurons(after)) == [1, 2, 3]
    notes = after.provenance.steps[0].notes
    assert notes == ("1 neuron outside the core of total degree 2 dropped",)
    with pytest.raises(CompileError, match="the innermost core has k=2"):
        KeepCore(10**30)(graph)
    with pytest.raises(CompileError, match=r"keep-core.k: -1 is negative"):
        KeepCore(-1)
