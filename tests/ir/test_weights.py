from collections.abc import Callable

import pytest

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Fixed, LowRank, Named, PerConnection, Tied, Weights

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
