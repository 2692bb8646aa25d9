from collections.abc import Callable

import pytest

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    Fixed,
    Graph,
    LowRank,
    Named,
    PerConnection,
    Population,
    Projection,
    Provenance,
    Synapses,
    Tied,
    Weights,
)

REFUSED: dict[str, Callable[[], Weights]] = {
    "PerConnection.sign: must be 'none' or 'abs', not 'clamp'": (
        lambda: PerConnection(sign="clamp")  # type: ignore[arg-type]
    ),
    "PerConnection.start: must be 'uniform' or 'weight', not 'low-rank'": (
        lambda: PerConnection(start="low-rank")  # type: ignore[arg-type]
    ),
    "PerConnection.polarity: must be +1 or -1, or 0 where it is unknown, not 2": (
        lambda: PerConnection(polarity=2)
    ),
    "LowRank.rank: must be at least 1, not 0": lambda: LowRank(0),
    "LowRank.polarity: must be": lambda: LowRank(1, polarity=-2),
    "Tied.by: must be 'type-pair', 'pre-type' or 'kernel', not 'column'": (
        lambda: Tied("column")  # type: ignore[arg-type]
    ),
    "Named.name: must be one line of printable text, not ''": lambda: Named("", 1),
    "Named.name: must be one line of printable text, not 'a\\nb'": lambda: Named("a\nb", 1),
    "Named.polarity: must be +1 or -1, not 0": lambda: Named("gain", 0),
    "Named.sign: must be 'abs', 'clamp' or 'smooth', not 'none'": (
        lambda: Named("gain", 1, "none")  # type: ignore[arg-type]
    ),
    "Fixed.polarity: must be +1 or -1, not 0": lambda: Fixed(0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_weights_have_is_refused_where_it_is_said(message: str) -> None:
    with pytest.raises(CompileError) as caught:
        REFUSED[message]()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "weights",
    [
        PerConnection(start="weight", polarity=-1, trained=False),
        LowRank(3, trained=False),
        Tied("kernel", "region"),
        Named("gain", -1, "clamp"),
        Fixed(1),
    ],
)
def test_holding_signs_changes_nothing_else(weights: Weights) -> None:
    held = weights.holding_signs()
    assert held.holds_signs
    assert held.holding_signs() == held
    assert (type(held), held.polarity, held.trained) == (
        type(weights),
        weights.polarity,
        weights.trained,
    )
    assert {f for f in held.__dataclass_fields__ if getattr(held, f) != getattr(weights, f)} <= {
        "sign"
    }


def test_what_the_fewest_words_mean() -> None:
    for weights in (PerConnection(), LowRank(1), Tied("kernel")):
        assert (weights.sign, weights.polarity, weights.trained) == ("none", 0, True)
        assert not weights.holds_signs
    for held in (Named("gain", -1), Fixed(-1), PerConnection(sign="abs"), LowRank(1, sign="abs")):
        assert held.holds_signs
    assert Named("gain", 1).trained
    assert not Fixed(1).trained


def motif(*weights: Weights, sign: int = 0) -> Graph:
    """Return projections from ``a`` to populations of their own, of a connection each."""
    edge = Synapses([0], [0], [1], sign=[sign])  # type: ignore[arg-type]
    names = [f"b{k}" for k in range(len(weights))]
    return Graph(
        tuple(Population(name, (1,)) for name in ("a", *names)),
        tuple(Projection("a", n, edge, w) for n, w in zip(names, weights, strict=True)),
        Provenance("t"),
    )


OF_POLARITY = (
    PerConnection(polarity=-1),
    LowRank(1, polarity=-1),
    Tied("pre-type", polarity=-1),
    Named("gain", -1),
    Fixed(-1),
)


@pytest.mark.parametrize("weights", OF_POLARITY)
def test_a_sign_for_all_is_the_only_sign(weights: Weights) -> None:
    motif(weights).verify()
    with pytest.raises(VerifyError, match=r"^projection a->b0: has a polarity"):
        motif(weights, sign=1).verify()


def test_each_name_is_a_weight_of_its_own() -> None:
    free = PerConnection()
    motif(Named("gain", 1), free, Named("gain", 1), Named("loss", -1)).verify()
    for other in (Named("gain", -1), Named("gain", 1, "clamp")):
        with pytest.raises(VerifyError, match=r"^projection a->b0: .*a->b2 .*'gain'"):
            motif(Named("gain", 1), free, other).verify()
