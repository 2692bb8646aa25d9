from typing import Any

import numpy as np
import pytest
from areas import LAID, mousenet
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Conv2d,
    Evidence,
    Graph,
    PerConnection,
    Population,
    Projection,
    Provenance,
    Synapses,
)
from connectome_compiler.passes.materialise_laws import MaterialiseLaws
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.sign_channels import SignChannels


def conv(channels: int, *, per_position: bool = True) -> Graph:
    """Return two maps, all of whose weights are open."""
    n_pre = channels * (9 if per_position else 1)
    post, pre = np.divmod(np.arange(2 * n_pre), n_pre)
    operator = Conv2d((3, 3), padding=(1, 1), per_position=per_position)
    edges = Synapses(post, pre, np.ones(len(post), np.int32))
    return Graph(
        (Population("a", (channels, 4, 4)), Population("b", (2, 4, 4))),
        (Projection("a", "b", edges, operator=operator, delay=0),),
        Provenance("by hand"),
    )


@given(st.integers(1, 40), st.floats(0, 1), st.booleans())
def test_the_last_channels_inhibit(channels: int, share: float, per_position: bool) -> None:
    graph = conv(channels, per_position=per_position)
    after = run(graph, [SignChannels("dale", share)])
    (q,) = after.projections
    signs = after.enforced_signs(q).reshape(2, channels, -1)
    first = channels - int(np.floor(np.nextafter(share * channels, np.inf) + 1e-9))
    assert (signs[:, :first] == 1).all()
    assert (signs[:, first:] == -1).all()
    assert (after.signs(q) == after.enforced_signs(q)).all()
    assert q.weights == PerConnection(sign="abs")
    assert SignChannels("dale", share)(after).digest() == after.digest()


def test_shares_are_not_lost_to_rounding() -> None:
    after = run(conv(100), [SignChannels("dale", 0.29)])  # 0.29 * 100 < 29
    assert after.provenance.steps[-1].notes[0] == "73 channels are excitatory, 29 inhibitory"


def test_no_policy_changes_nothing() -> None:
    graph = conv(3)
    after = run(graph, [SignChannels()])
    assert after.digest() == graph.digest()
    assert after.provenance.signs is Evidence.NONE


def test_the_mouse() -> None:
    graph = mousenet(*LAID, MaterialiseLaws(), SignChannels("dale", 0.2))
    assert graph.projections[0].weights == PerConnection()  # what comes from the image
    assert all(q.weights.holds_signs for q in graph.projections[1:])
    assert not graph.enforced_signs(graph.projections[0]).any()
    for q in graph.projections[1:]:
        assert graph.enforced_signs(q).all()
    assert graph.provenance.signs is Evidence.MODELLED
    assert graph.provenance.steps[-1].notes == (
        "313 channels are excitatory, 68 inhibitory",
        "too few channels for any to be inhibitory: VISpl4",
    )


def test_laws_have_no_signs_yet() -> None:
    with pytest.raises(CompileError, match="not an edge list") as error:
        mousenet(*LAID, SignChannels("dale", 0.2))
    assert "materialise-laws" in error.value.hint


def test_units_are_no_channels() -> None:
    edges = Synapses(np.array([0]), np.array([0]), np.array([1]))
    graph = Graph(
        (Population("a", (2,)), Population("b", (2,))),
        (Projection("a", "b", edges),),
        Provenance("by hand"),
    )
    with pytest.raises(CompileError, match=r"a->b: is Linear\(\), not a convolution"):
        run(graph, [SignChannels("dale")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "dale", "inhibitory": 1.5}, "must be between 0 and 1, not 1.5"),
        ({"policy": "dale", "inhibitory": float("nan")}, "must be between 0 and 1, not nan"),
        ({"inhibitory": 0.2}, "0.2 has no effect with policy=none"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        SignChannels(**options)
