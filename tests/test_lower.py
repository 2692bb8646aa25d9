"""What is computed once of each projection."""

from dataclasses import replace

import numpy as np
import pytest
from areas import LAID, mousenet
from columns import column, laminar
from numpy.testing import assert_allclose, assert_array_equal
from stacks import stack
from worms import driven, worm

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.ir.weights import PerConnection, Tied
from connectome_compiler.lower import lower
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.set_weights import SetWeights


def test_it_has_all_connections_and_no_others() -> None:
    graph = driven(worm())
    lowered = lower(graph)
    assert list(lowered.edges) == [q.key for q in graph.connectome]  # no read-in, no read-out
    for q in graph.connectome:
        e = lowered.edges[q.key]
        assert (e.n_post, e.n_pre) == graph.shape(q)
        assert_array_equal(e.post, q.synapses.post)
        assert_array_equal(e.pre, q.synapses.pre)
        assert_array_equal(e.enforced, graph.enforced_signs(q))
        assert e.indices_sha256 == array_digest(e.post, e.pre)
        assert e.signs_sha256 == array_digest(e.enforced)
    assert lowered.signs == count_signs(graph)
    chemical, electrical = lowered.edges.values()
    assert (chemical.group, chemical.n_weights) == (None, len(chemical.post))
    assert 2 * electrical.n_weights == len(electrical.post)  # one for both directions


def test_a_sign_that_all_share_is_one() -> None:
    graph = laminar(column())
    for key, e in lower(graph).edges.items():
        assert e.sign == (-1 if ".inh->" in key else 1)
    assert lower(driven(worm())).edges["neurons->neurons"].sign is None
    free = graph.map_connectome(lambda q: replace(q, weights=PerConnection()))
    assert {e.sign for e in lower(free).edges.values()} == {0}


def test_weights_start_at_shares_of_what_a_neuron_receives() -> None:
    graph = run(driven(worm(), partition="role"), [SetWeights(start="weight")])
    edges = lower(graph).edges.values()
    for p in graph.biological:
        onto = [e for e in edges if e.projection.post == p.name and e.group is None]
        sums = np.sum([np.bincount(e.post, e.start, p.n_units) for e in onto], axis=0)
        assert_allclose(sums[sums > 0], 1, rtol=1e-6)
        assert (sums > 0).any()
    for e in edges:
        borrowed = e.projection.kind == "electrical" and e.projection.pre > e.projection.post
        assert (e.start is None) == borrowed == (e.start_sha256 is None)


def test_shared_weights_act_by_the_size_of_each_connection() -> None:
    (e, _) = lower(run(driven(worm()), [SetWeights(share="pre-type")])).edges.values()
    assert isinstance(e.projection.weights, Tied)
    assert e.group is not None
    assert e.scale is not None
    assert e.n_weights == len(set(e.group.tolist())) < len(e.post)
    assert_array_equal(e.scale, e.projection.synapses.weight)


def test_a_connection_of_a_convolution_has_a_weight_at_each_place_of_the_kernel() -> None:
    graph = stack()
    kernels = {q.key: q.operator.area for q in graph.connectome}
    for key, e in lower(graph).edges.items():
        assert e.n_weights == len(e.post) * kernels[key]
    assert max(kernels.values()) == 9


def test_what_is_not_drawn_has_no_connections() -> None:
    with pytest.raises(CompileError, match="materialise-laws"):
        lower(mousenet(*LAID))
