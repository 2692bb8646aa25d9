"""The certificate put to the test: every mutant that computes something else is refused.

A mutant counts where a battery of inputs, starts, gradients, trainings and saved states shows a
difference from the original; what shows none is no mutant. `pytest -s` prints the table.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from mutants.automatic import by_rule
from mutants.cases import CASES
from mutants.catalogue import CATALOGUE, by_hand
from mutants.forged import forged
from mutants.judge import Court, Mutant, Verdict

# One of each kind of fault, in two small modules: so many as every run of the tests has time for.
SOME: dict[str, tuple[str, ...]] = {
    "bionic chain": (
        "all weights 0",
        "the last connection 0",
        "negative raw weights 0",
        "wrong above batch 32",
        "starts a hundred times as large",
        "bias starts at 1",
        "noise doubled",
        "uniform noise",
        "a population's bias dropped",
        "another epsilon",
        "foreign connections taken",
        "logits by another way",
        "another gradient under torch.func",
        "a tenth less under autocast",
    ),
    "recurrent parts": (
        "scaled weights doubled",
        "counts squared",
        "counts not used",
        "signed weights 0",
        "starts at 0",
        "foreign counts taken",
        "inputs clamped",
        "a neuron renamed",
        "two names changed places",
        "index off by one",
        "a clamp that is ignored",
        "a current added to another neuron",
    ),
    "ncap clamp": (
        "inhibition 0",
        "constant starts biased",
        "uniform starts of half the range",
        "wrong above batch 16",
        "the wrong side",
        "steps not saved",
        "half in inference mode",
    ),
}
PER_CASE = 6  # automatic mutants
STYLES = ("bionic", "recurrent", "mimetic", "mousenet", "ncap")


def table(verdicts: Sequence[Verdict]) -> str:
    """Return how many mutants of each style compute something else, and which survive."""
    counted: Counter[tuple[str, str]] = Counter()
    for v in verdicts:
        style = v.mutant.case.split()[0]
        for what, holds in (
            ("mutants", True),
            ("differ", bool(v.differs)),
            ("refused", bool(v.refused)),
            ("survive", v.survives),
        ):
            counted[style, what] += holds
            counted["all", what] += holds
    heads = ("mutants", "differ", "refused", "survive")
    lines = ["", f"{'style':<12}" + "".join(f"{head:>10}" for head in heads)]
    for style in dict.fromkeys(style for style, _ in counted):
        lines.append(f"{style:<12}" + "".join(f"{counted[style, head]:>10}" for head in heads))
    lines += survivors(verdicts)
    equal = [f"{v.mutant.case}: {v.mutant.name}" for v in verdicts if not v.differs]
    return "\n".join([*lines, *(f"computes the same: {name}" for name in equal)])


def survivors(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the mutants that compute something else and are certified, with what differs."""
    return [
        f"survives: {v.mutant.case}: {v.mutant.name} ({', '.join(v.differs[:4])})"
        for v in verdicts
        if v.survives
    ]


def check(verdicts: Sequence[Verdict], enough: int) -> None:
    """Print the table; fail if a mutant survives, or too few were tried."""
    print(table(verdicts))
    assert len([v for v in verdicts if v.differs]) >= enough
    assert not survivors(verdicts)


def test_every_mutant_made_by_hand_is_made() -> None:
    """Their texts are those that are emitted now; `by_hand` raises naming those that are not."""
    mutants = list(by_hand())
    assert len(mutants) == sum(map(len, CATALOGUE.values()))
    assert len({m.case + m.source for m in mutants}) == len(mutants)


def test_some_mutants_are_refused(tmp_path: Path) -> None:
    chosen = [m for m in by_hand(SOME) if m.name in SOME[m.case]]
    assert len(chosen) == sum(map(len, SOME.values()))
    with Court(tmp_path, battery=False) as court:
        check(court.judge(chosen), len(chosen))


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_mutant_made_by_hand_is_refused(style: str, tmp_path: Path) -> None:
    mutants = list(by_hand(case for case in CATALOGUE if case.startswith(style)))
    with Court(tmp_path) as court:
        check(court.judge(mutants), 9 * len(mutants) // 10)


@pytest.mark.slow
def test_every_forged_origin_is_refused(tmp_path: Path) -> None:
    """Modules that are right in themselves, but of another graph than they say."""
    mutants = list(forged())
    with Court(tmp_path) as court:
        check(court.judge(mutants), len(mutants))


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_mutant_made_by_rule_is_refused(style: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.startswith(style)]
    with Court(tmp_path) as court:
        lines = court.hear(cases, lines=True)
        mutants: list[Mutant] = [m for c in cases for m in by_rule(c, lines[c], PER_CASE)]
        check(court.judge(mutants), len(mutants) // 2)
