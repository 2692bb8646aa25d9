"""What the worm has for the edges of a motif: counts against a plain reading of its table."""

import csv
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.analysis.motif_support import (
    RULES,
    Support,
    as_text,
    segment_gains,
    support,
)
from connectome_compiler.cli import main
from connectome_compiler.data_adapters.celegans import Celegans
from connectome_compiler.data_adapters.ncap import Ncap
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    Graph,
    Named,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)

MUSCLES = {"d": ("MDL", "MDR"), "v": ("MVL", "MVR")}


@pytest.fixture(scope="module")
def worm() -> Graph:
    graph: Graph = Celegans(cells="neurons+muscles").load()
    return graph


@pytest.fixture(scope="module")
def found(worm: Graph) -> dict[str, Support]:
    return {f"{s.name} {s.edge}": s for s in support(Ncap().load(), worm)}


def table() -> list[tuple[str, str, str, float]]:
    """Return (pre, post, kind, weight) of the shipped file, as it stands there."""
    text = (
        files("connectome_compiler.data_adapters") / "facts" / "celegans_cook2019.csv"
    ).read_text()
    return [
        (r["pre"], r["post"], r["kind"], float(r["weight"]))
        for r in csv.DictReader(text.splitlines())
    ]


def total(pre: tuple[str, ...], post: tuple[str, ...]) -> tuple[int, float]:
    """Count chemical connections between cells whose names begin so, a number following."""

    def is_one(name: str, words: tuple[str, ...]) -> bool:
        return any(name.startswith(w) and name[len(w) :].isdigit() for w in words)

    rows = [r for r in table() if is_one(r[0], pre) and is_one(r[1], post) and r[2] == "chemical"]
    return len(rows), sum(r[3] for r in rows)


def made(edges: list[tuple[str, str, int]], signs: dict[str, int]) -> Graph:
    """Make a nervous system of named cells: (pre, post, synapses)."""
    names = sorted({name for pre, post, _ in edges for name in (pre, post)})
    place = {name: k for k, name in enumerate(names)}
    synapses = Synapses.from_edges(
        [place[post] for _, post, _ in edges],
        [place[pre] for pre, _, _ in edges],
        np.array([w for _, _, w in edges], np.int32),
    )
    cells = neuron_table({"neuron_id": names, "sign": [signs.get(name) for name in names]})
    population = Population("neurons", (len(names),), cells)
    return Graph(
        (population,), (Projection("neurons", "neurons", synapses),), Provenance("toy", "1")
    )


@pytest.mark.parametrize(("side", "cells"), [("d", "DB"), ("v", "VB")])
def test_b_type_neurons_drive_the_muscles_of_their_side(
    found: dict[str, Support], side: str, cells: str
) -> None:
    edge = found[f"ipsi B.{side}->muscle.{side}"]
    ((leg,),) = edge.paths
    assert (leg.n, leg.weight) == total((cells,), MUSCLES[side])
    assert (leg.excitatory, leg.inhibitory, leg.unsigned) == (leg.n, 0, 0)
    assert leg.unit == "EM sections"
    assert sum(weight for _, weight in leg.by_cell) == leg.weight
    assert [name for name, _ in leg.by_cell] == [
        f"{cells}{k}" for k in range(1, len(leg.by_cell) + 1)
    ]
    assert edge.verdict == "direct"


@pytest.mark.parametrize(("pre", "via", "post"), [("DB", "VD", "v"), ("VB", "DD", "d")])
def test_the_other_side_is_inhibited_in_two_steps(
    found: dict[str, Support], pre: str, via: str, post: str
) -> None:
    edge = found[f"contra B.{'d' if post == 'v' else 'v'}->muscle.{post}"]
    ((first, second),) = edge.paths
    assert (first.n, first.weight) == total((pre,), (via,))
    assert (second.n, second.weight) == total((via,), MUSCLES[post])
    assert (first.sign, second.sign) == (1, -1)
    assert edge.signs == (-1,)
    assert edge.verdict == "in two steps"


def test_what_the_worm_does_not_have_is_said(found: dict[str, Support]) -> None:
    verdicts = {name: s.verdict for name, s in found.items()}
    assert verdicts["turn turn.d->B.d"] == "none"
    assert verdicts["osc oscillator->B.d"] == "none"
    assert verdicts["speed brake->B.d"] == "only with another sign"
    assert verdicts["prop proprioceptor.d->B.d"] == "not by synapses"
    assert Counter(s.name for s in found.values()) == dict.fromkeys(RULES, 2)
    (gaps,) = found["prop proprioceptor.d->B.d"].paths[0]
    assert (gaps.kind, gaps.n) == ("electrical", 6)  # between seven neighbours, each once


def test_a_path_in_two_steps_passes_through_one_cell() -> None:
    edges = [("DB1", "VD1", 3), ("DB2", "VD2", 4), ("VD2", "MVL07", 5), ("VD3", "MVR08", 6)]
    worm = made([*edges, ("DB1", "MDL07", 1)], {"DB1": 1, "DB2": 1, "VD2": -1, "VD3": -1})
    by_edge = {f"{s.name} {s.edge}": s for s in support(Ncap().load(), worm)}
    ((first, second),) = by_edge["contra B.d->muscle.v"].paths
    assert (first.by_cell, second.by_cell) == ((("DB2", 4.0),), (("VD2", 5.0),))
    assert by_edge["contra B.v->muscle.d"].verdict.startswith("unknown")  # there is no VB


@pytest.mark.parametrize(
    ("sign", "verdict"),
    [(1, "direct"), (-1, "only with another sign"), (None, "only with another sign")],
)
def test_the_sign_has_to_be_that_of_the_motif(sign: int | None, verdict: str) -> None:
    worm = made([("DB1", "MDL07", 2)], {} if sign is None else {"DB1": sign})
    ipsi = next(
        s for s in support(Ncap().load(), worm) if s.edge == "B.d->muscle.d" and s.name == "ipsi"
    )
    assert ipsi.verdict == verdict


def test_edges_without_a_rule_are_listed_as_such(worm: Graph) -> None:
    graph = Ncap().load()
    other = [
        replace(q, weights=Named("pull", 1)) if q.weights == Named("osc", 1, "clamp") else q
        for q in graph.projections
    ]
    found = [s for s in support(graph.with_projections(other), worm) if s.name == "pull"]
    assert [s.verdict for s in found] == ["none", "none"]
    assert "no cells" in found[0].remark


@given(st.integers(1, 40))
def test_gains_have_a_mean_of_one_and_keep_the_share_of_synapses(n_joints: int) -> None:
    worm = made(
        [("DB1", "MDL07", 2), ("DB2", "MDR12", 6), ("VB1", "MVL09", 4), ("VB2", "MVR24", 8)], {}
    )
    gains = segment_gains(worm, n_joints)
    for gain in gains.values():
        assert gain.shape == (n_joints,)
        assert (gain >= 0).all()
        assert gain.mean() == pytest.approx(1.0)
    if n_joints == 18:  # rows 7 to 24, one each
        np.testing.assert_allclose(gains["ipsi.d"][[0, 5]] / 18, [0.25, 0.75])
        np.testing.assert_allclose(gains["ipsi.v"][[2, 17]] / 18, [1 / 3, 2 / 3])


def test_gains_of_two_joints_are_those_of_the_table(worm: Graph) -> None:
    rows = {side: np.zeros(25) for side in "dv"}
    for pre, post, kind, weight in table():
        for side, cells in (("d", "DB"), ("v", "VB")):
            if kind == "chemical" and pre[:2] == cells and post[:3] in MUSCLES[side]:
                rows[side][int(post[3:])] += weight
    reached = np.flatnonzero(rows["d"] + rows["v"])
    middle = (reached[0] + reached[-1] + 1) / 2
    gains = segment_gains(worm, 2)
    for side, of_row in rows.items():
        front = (of_row * np.clip(middle - np.arange(25), 0, 1)).sum()
        assert gains[f"ipsi.{side}"][0] == pytest.approx(2 * front / of_row.sum())


def test_bad_input_is_named(worm: Graph) -> None:
    with pytest.raises(CompileError, match="n_joints"):
        segment_gains(worm, 0)
    with pytest.raises(CompileError, match="neurons\\+muscles"):
        segment_gains(Celegans().load(), 5)
    with pytest.raises(CompileError, match="one population"):
        support(Ncap().load(), Ncap().load())


def test_inspect_prints_what_the_worm_has(worm: Graph) -> None:
    said = CliRunner().invoke(main, ["inspect", "ncap-swimmer"])
    assert said.exit_code == 0, said.output
    lines = as_text(Ncap().load(), worm)
    assert "\n".join(lines) in said.output
    assert lines[0].startswith("in the worm (celegans-cook2019")
    assert any("DB1 20" in line for line in lines)
    assert max(map(len, lines)) <= 104
    other = CliRunner().invoke(main, ["inspect", "celegans-cook2019"])
    assert "in the worm" not in other.output
