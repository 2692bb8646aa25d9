import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal
from references import small
from strategies import graphs

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import (
    AllToAll,
    Graph,
    LowRank,
    OneToOne,
    PerConnection,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.passes.drop_weak_connections import DropWeakConnections
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_weights import SetWeights

CELLS = Population(
    "cells",
    (4,),
    neuron_table(
        {
            "neuron_id": [1, 2, 3, 4],
            "sign": [1, -1, None, 1],
            "axon_coverage": ["full", None, "none", "partial"],
        }
    ),
)
EDGES = Projection("cells", "cells", Synapses([0, 1, 3], [1, 0, 2], [1, 1, 1]))  # type: ignore[arg-type]


def graph(projection: Projection = EDGES) -> Graph:
    return Graph((CELLS,), (projection,), Provenance("test"))


@given(graphs())
def test_random_graphs_are_valid_and_survive_copies(g: Graph) -> None:
    g.verify()
    assert copy.deepcopy(g).digest() == g.digest()
    assert pickle.loads(pickle.dumps(g)).digest() == g.digest()
    assert g.n_neurons == sum(p.n_units for p in g.populations if not p.artificial)
    for q in g.projections:
        post, pre = q.connectivity.entries(*g.shape(q))
        assert g.count(q) == len(post) == len(pre) == len(g.signs(q))


def test_lists_become_tuples() -> None:
    populations, projections = [CELLS], [EDGES]
    g = Graph(populations, projections, Provenance("test"))  # type: ignore[arg-type]
    populations.clear()
    projections.clear()
    assert g.n_neurons == 4
    assert g.n_connections == 3
    assert Population("map", [1, np.int64(2), 3]).shape == (1, 2, 3)  # type: ignore[arg-type]


def test_unread_axons_have_no_known_outputs() -> None:
    assert_array_equal(CELLS.has_outputs(), [True, True, False, True])
    # three known axons, three possible partners each; the axon of the third connection is not known
    assert graph().density(EDGES) == pytest.approx(2 / 9)


def test_density_counts_only_what_it_could_reach() -> None:
    post, pre = np.divmod(np.arange(16), 4)
    every = Projection("cells", "cells", Synapses(post, pre, np.ones(16, np.int32)))
    assert graph(every).density(every) == 1  # neither autapses nor the axon that was not read
    law = Projection("cells", "cells", AllToAll())
    assert graph(law).density(law) == 1
    other = Population("other", (2,))
    read_out = Projection("cells", "other", AllToAll())
    assert Graph((CELLS, other), (read_out,), Provenance("t")).density(read_out) == 1


@given(graphs())
def test_density_is_a_share_and_agrees_with_a_loop(g: Graph) -> None:
    for q in g.projections:
        post, pre = (axis.tolist() for axis in q.connectivity.entries(*g.shape(q)))
        n_post, n_pre = g.shape(q)
        known = g.population(q.pre).has_outputs()
        allowed = {
            (i, j)
            for i in range(n_post)
            for j in range(n_pre)
            if known[j] and not (q.pre == q.post and i == j)
        }
        n = len(allowed & set(zip(post, pre, strict=True)))
        assert g.density(q) == (n / len(allowed) if allowed else 0)


def test_density_of_nothing_is_zero() -> None:
    nobody = Population("cells", (0,), neuron_table({"neuron_id": []}))
    none = Projection("cells", "cells", Synapses([], [], []))  # type: ignore[arg-type]
    assert Graph((nobody,), (none,), Provenance("test")).density(none) == 0


def test_signs_come_from_the_connection_then_from_its_neuron() -> None:
    assert_array_equal(graph().signs(EDGES), [-1, 1, 0])
    assert_array_equal(graph().enforced_signs(EDGES), [0, 0, 0])
    own = Synapses([0, 1, 3], [1, 0, 2], [1, 1, 1], sign=[1, 0, -1])  # type: ignore[arg-type]
    q = Projection("cells", "cells", own, PerConnection(sign="abs"))
    assert_array_equal(graph(q).signs(q), [1, 1, -1])
    assert_array_equal(graph(q).enforced_signs(q), [1, 1, -1])


def test_gap_junctions_have_no_sign() -> None:
    gap = Synapses([0, 1], [1, 0], [1, 1])  # type: ignore[arg-type]
    q = Projection("cells", "cells", gap, PerConnection(sign="abs"), kind="electrical")
    assert_array_equal(graph(q).signs(q), [0, 0])
    assert_array_equal(graph(q).enforced_signs(q), [0, 0])
    assert q.key == "cells->cells:electrical"


def test_ranks_are_whole_numbers() -> None:
    assert type(LowRank(np.int64(2)).rank) is int  # type: ignore[arg-type]
    with pytest.raises(CompileError, match=r"LowRank.rank: is 1.5, expected a whole number"):
        LowRank(1.5)  # type: ignore[arg-type]


def test_artificial_parts_are_no_neurons() -> None:
    image = Population("image", (1, 2, 2), artificial=True)
    g = Graph((image, CELLS), (Projection("image", "cells", AllToAll()), EDGES), Provenance("t"))
    assert (g.n_neurons, g.n_connections) == (4, 3)
    assert g.connectome == (EDGES,)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cells'"):
        graph().population("cell")
    with pytest.raises(UnknownNameError, match="did you mean 'cell_type'"):
        CELLS.column("celltype")
    with pytest.raises(UnknownNameError):
        Population("image", (3,)).column("sign")


def test_a_law_has_no_edge_list() -> None:
    with pytest.raises(CompileError, match="all to all, not an edge list"):
        _ = Projection("a", "b", AllToAll()).synapses


def test_with_projections_takes_their_place() -> None:
    graph = small({"a": {"sign": [1, 1]}}, [("a", "a", [(0, 1)])])
    assert graph.with_projections([]).projections == ()


def test_parts_are_looked_up_by_name() -> None:
    g = graph()
    assert g["cells"] is g.population("cells")
    assert g.projection("cells->cells") is EDGES
    with pytest.raises(UnknownNameError, match=r"population 'cell': .*\n.*did you mean 'cells'"):
        g["cell"]
    with pytest.raises(UnknownNameError, match="did you mean 'cells->cells'"):
        g.projection("cells->cell")
    with pytest.raises(UnknownNameError, match="population '0'"):
        g[0]  # type: ignore[index]


def test_graphs_are_equal_where_their_contents_are() -> None:
    g, other = graph(), replace(graph(), provenance=Provenance("elsewhere"))
    assert g == other
    assert len({g, other}) == 1
    assert g != replace(g, projections=())
    assert g != "a graph"


def test_maps_change_every_part_and_nothing_else() -> None:
    image = Population("image", (4,), artificial=True)
    seen = Projection("image", "cells", OneToOne())
    g = Graph((image, CELLS), (seen, EDGES), Provenance("t"))
    later = g.map_connectome(lambda q: replace(q, delay=q.delay + 1))
    assert later.projections == (seen, later.projections[1])
    assert later.projection("cells->cells").delay == 2
    staged = g.map_populations(lambda p: replace(p, stage=3))
    assert [p.stage for p in staged.populations] == [3, 3]
    assert staged.projections == g.projections


def test_passes_run_in_order_and_are_recorded() -> None:
    g = graph().run(DropWeakConnections(1), SetWeights(start="weight"))
    assert [s.name for s in g.provenance.steps] == ["drop-weak-connections", "set-weights"]
    assert g.provenance.steps[0].options.startswith("min_")
    assert g == run(graph(), [DropWeakConnections(1), SetWeights(start="weight")])
    assert graph().run() == graph()
