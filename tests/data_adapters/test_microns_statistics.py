from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.data_adapters import microns_statistics
from connectome_compiler.data_adapters._facts import Fact, read_fact
from connectome_compiler.data_adapters.microns_statistics import (
    EXCITATORY,
    INHIBITORY_KIND,
    INHIBITORY_MTYPE,
    LAYER_TOP_UM,
    MicronsStatistics,
    apportion,
    column_axis,
    connection_probabilities,
    is_excitatory,
    read_facts,
)
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph, Population, Synapses

SEEDS = range(6)


@cache
def draw(seed: int = 0, calibrated: bool = True) -> Graph:
    graph: Graph = MicronsStatistics(seed, calibrated).load()
    return graph


def column(graph: Graph) -> Population:
    (population,) = graph.populations
    return population


def edges(graph: Graph) -> Synapses:
    (projection,) = graph.projections
    return projection.synapses


def strings(graph: Graph, name: str) -> npt.NDArray[np.str_]:
    return np.array(column(graph).column(name).to_pylist())


def numbers(graph: Graph, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(column(graph).column(name), dtype=np.float64)


# --- cells ----------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_census() -> None:
    layer, cell_class = strings(draw(), "cortical_layer"), strings(draw(), "cell_class")
    exc = cell_class == "excitatory"
    assert {k: int((layer[exc] == k).sum()) for k in ("L4", "L2/3", "L5", "L6")} == {
        "L4": 266,
        "L2/3": 349,
        "L5": 185,
        "L6": 383,
    }
    assert int((cell_class == "inhibitory").sum()) == 164
    assert column(draw()).shape == (1347,)


def test_layer_1_has_inhibitory_cells_only() -> None:
    first = strings(draw(), "cortical_layer") == "L1"
    assert first.sum() == 9
    assert set(strings(draw(), "cell_class")[first]) == {"inhibitory"}


def test_types_are_the_words_of_the_release_in_their_proportions() -> None:
    cell_type = strings(draw(), "cell_type")
    for row in read_fact("cell_counts").rows:
        assert abs(int((cell_type == row["cell_type"]).sum()) - int(row["count"])) <= 2
    assert len(set(cell_type)) == 13


def test_table_says_what_is_known_and_no_more() -> None:
    population = column(draw())
    assert population.column("sign").null_count == 1347
    assert population.column("neurotransmitter").null_count == 1347
    assert set(population.column("axon_coverage").to_pylist()) == {"full"}
    assert set(population.column("region").to_pylist()) == {"V1"}
    assert population.column("neuron_id").to_pylist() == list(range(1347))


def test_somata_lie_in_a_leaning_prism_of_100_um() -> None:
    depth = numbers(draw(), "y_um")
    axis_x, axis_z = column_axis(read_fact("column_axis").rows, depth)
    assert np.abs(numbers(draw(), "x_um") - axis_x).max() <= 50.01
    assert np.abs(numbers(draw(), "z_um") - axis_z).max() <= 50.01
    assert axis_z.max() - axis_z.min() > 100
    assert 0 < depth.min() < 100
    assert 700 < depth.max() < 760


def test_inhibitory_cells_lie_within_their_layer() -> None:
    layer, depth = strings(draw(), "cortical_layer"), numbers(draw(), "y_um")
    inhibitory = strings(draw(), "cell_class") == "inhibitory"
    tops = np.array(list(LAYER_TOP_UM.values()))
    by_depth = np.array(list(LAYER_TOP_UM))[np.searchsorted(tops, depth, side="right") - 1]
    assert (by_depth == layer)[inhibitory].all()


def test_soma_depth_has_the_published_quartiles() -> None:
    cell_type = strings(draw(), "cell_type")
    for name, kind in EXCITATORY.items():
        published = {r["cell_type"]: r for r in read_fact("celltype_soma_depth").rows}
        if kind.depth in published and (n := int((cell_type == name).sum())) > 100:
            drawn = np.concatenate(
                [numbers(draw(seed), "y_um")[cell_type == name] for seed in SEEDS]
            )
            for p in (25, 50, 75):
                wanted = float(published[kind.depth][f"q{p}"])
                assert abs(np.percentile(drawn, p) - wanted) < 8, (name, p, n)


@given(st.integers(0, 500), st.lists(st.floats(0.1, 100), min_size=1, max_size=9))
def test_apportion_gives_all_and_is_off_by_less_than_one(total: int, shares: list[float]) -> None:
    given_out = apportion(total, shares)
    assert sum(given_out) == total
    exact = total * np.array(shares) / sum(shares)
    assert (np.abs(np.array(given_out) - exact) < 1 + 1e-9).all()


# --- determinism ----------------------------------------------------------------------------------


def test_equal_fields_give_equal_graphs() -> None:
    again = MicronsStatistics(0).load()
    assert again.digest() == draw(0).digest()
    assert again.provenance == draw(0).provenance


def test_seed_and_calibration_change_the_graph() -> None:
    assert len({draw(0).digest(), draw(1).digest(), draw(0, False).digest()}) == 3


def test_calibration_leaves_the_cells_alone() -> None:
    assert column(draw(0)).neurons.equals(column(draw(0, False)).neurons)  # type: ignore[union-attr]


def test_another_process_with_other_threads_and_hashes_draws_the_same() -> None:
    code = (
        "from connectome_compiler.data_adapters.microns_statistics import MicronsStatistics;"
        "print(MicronsStatistics().load().digest())"
    )
    settings = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
    root = str(Path(__file__).resolve().parents[2])
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == draw().digest()


def test_negative_seed_is_refused() -> None:
    with pytest.raises(CompileError, match="seed -1 is negative"):
        MicronsStatistics(-1).load()


# --- provenance -----------------------------------------------------------------------------------


def test_nobody_can_take_it_for_measured() -> None:
    provenance = draw().provenance
    assert not provenance.measured
    assert provenance.connectivity is Evidence.MODELLED
    assert provenance.signs is Evidence.NONE
    assert provenance.dataset == "microns-v1-surrogate"
    assert "modelled" in provenance.title
    assert draw().provenance.source == "microns-v1-surrogate@seed=0"
    assert draw(0, False).provenance.source == "microns-v1-surrogate@seed=0,uncalibrated"


def test_provenance_names_licences_papers_and_files() -> None:
    provenance = draw().provenance
    assert "CC BY 4.0" in provenance.licence
    assert "BSD-3-Clause" in provenance.licence
    assert len(provenance.citations) > 1
    assert all("https://" in c for c in provenance.citations)
    folder = files("connectome_compiler.data_adapters")
    assert provenance.files
    for file in provenance.files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256
    assert "facts/column_typepair_synapses_v1718.csv" not in [f.name for f in provenance.files]


def test_step_counts_what_was_done() -> None:
    (step,) = draw().provenance.steps
    assert step.options == "seed=0, calibrated=true"
    assert step.n_connections_after == len(edges(draw()).post)
    notes = " | ".join(step.notes)
    for word in ("clipped at 1", "scaled to the counts of MICrONS", "reciprocated", "synapses per"):
        assert word in notes


# --- laws -----------------------------------------------------------------------------------------


def test_no_neuron_contacts_itself() -> None:
    for seed in SEEDS:
        assert (edges(draw(seed)).post != edges(draw(seed)).pre).all()


def test_direction_is_post_pre() -> None:
    """Layer 6 hardly reaches layer 2/3, and layer 2/3 cells contact 5P-PT cells often."""
    cell_type = strings(draw(), "cell_type")
    e = edges(draw())
    pairs = set(zip(cell_type[e.pre], cell_type[e.post], strict=True))
    assert ("23P", "5P-PT") in pairs
    down = ((cell_type[e.pre] == "23P") & (cell_type[e.post] == "5P-PT")).sum()
    up = ((cell_type[e.pre] == "5P-PT") & (cell_type[e.post] == "23P")).sum()
    assert down > 5 * up


def test_synapses_per_connection_are_the_published_means() -> None:
    for seed in SEEDS:
        e = edges(draw(seed))
        exc = strings(draw(seed), "cell_class") == "excitatory"
        post, pre = exc[e.post], exc[e.pre]
        assert e.weight.dtype == np.int32
        assert e.weight[post & pre].mean() == pytest.approx(1.138, abs=0.02)
        assert e.weight[post & ~pre].mean() == pytest.approx(2.71, abs=0.07)
        assert e.weight[~post].mean() == pytest.approx(1.921, abs=0.07)
        assert (e.weight[post & pre] == 1).mean() == pytest.approx(0.898, abs=0.01)
        assert (e.weight[post & ~pre] == 1).mean() == pytest.approx(0.473, abs=0.015)


def test_sizes_are_whole_voxels_summed_over_synapses() -> None:
    e = edges(draw())
    assert e.size is not None
    assert (e.size == np.rint(e.size)).all()
    assert (e.size >= e.weight).all()
    assert np.median(e.size[e.weight == 1]) == pytest.approx(4756, rel=0.1)
    assert e.size.sum() / e.weight.sum() == pytest.approx(7803, rel=0.1)
    assert e.size[e.weight == 4].mean() == pytest.approx(4 * e.size[e.weight == 1].mean(), rel=0.1)


def test_connections_fall_off_sideways() -> None:
    """Among 23P cells as exp(-d^2 / (2 127^2)): the near pairs 1.4 times as often as the far."""
    near_and_far = np.zeros((2, 2))
    expected = np.zeros(2)
    for seed in SEEDS:
        cells = np.flatnonzero(strings(draw(seed), "cell_type") == "23P")
        depth = numbers(draw(seed), "y_um")[cells]
        axis = column_axis(read_fact("column_axis").rows, depth)
        x, z = (numbers(draw(seed), f"{n}_um")[cells] - axis[k] for k, n in enumerate("xz"))
        apart = np.hypot(x[:, None] - x, z[:, None] - z)
        np.fill_diagonal(apart, np.nan)
        e = edges(draw(seed))
        inside = np.isin(e.post, cells) & np.isin(e.pre, cells)  # 23P are the first cells
        found = apart[e.post[inside], e.pre[inside]]
        for k, (low, high) in enumerate(((0, 40), (80, 142))):
            where = (apart >= low) & (apart < high)
            near_and_far[k] += ((found >= low) & (found < high)).sum(), where.sum()
            expected[k] += np.exp(-(apart[where] ** 2) / (2 * 127.0**2)).sum()
    fraction = near_and_far[:, 0] / near_and_far[:, 1]
    law = expected / near_and_far[:, 1]
    assert fraction[0] / fraction[1] == pytest.approx(law[0] / law[1], rel=0.06)
    assert fraction[0] / fraction[1] > 1.25


def test_input_varies_between_cells_of_a_type_as_published() -> None:
    facts = read_facts()
    cell_type = np.array(["23P"] * 20_000 + ["MC"] * 20_000)
    share = microns_statistics._propensity(facts, cell_type, np.random.default_rng(0))
    assert share[:20_000].mean() == pytest.approx(1, abs=0.01)
    assert np.log(share[20_000:]).std() == pytest.approx(0.5963, abs=0.01)  # DTC
    assert np.log(share[:20_000]).std() == pytest.approx(0.363, abs=0.03)  # V1DD: 0.363


def test_mutual_pairs_are_raised_and_densities_kept() -> None:
    rng = np.random.default_rng(0)
    p = np.where(np.arange(600)[:, None] % 2 == 0, 0.05, 0.2) * np.ones((600, 600))
    np.fill_diagonal(p, 0)
    for ratio in (1.0, 1.5, 2.0):
        drawn = microns_statistics._draw_pairs(p, ratio, rng)
        assert not drawn.diagonal().any()
        assert drawn[::2].mean() == pytest.approx(0.05, rel=0.03)
        assert drawn[1::2].mean() == pytest.approx(0.2, rel=0.03)
        mutual = (drawn & drawn.T).sum() / (p * p.T).sum()
        assert mutual == pytest.approx(ratio, rel=0.06)


def test_mutual_pairs_never_outnumber_the_rarer_direction() -> None:
    p = np.array([[0.0, 1.0], [0.3, 0.0]])
    rng = np.random.default_rng(0)
    drawn = [microns_statistics._draw_pairs(p, 5.0, rng) for _ in range(2000)]
    assert all(d[0, 1] for d in drawn)
    assert np.mean([d[1, 0] for d in drawn]) == pytest.approx(0.3, abs=0.04)


def test_what_types_explain_of_mutual_pairs_is_left_out() -> None:
    """Equal probabilities give n (n - 1) p^2 mutual pairs, and those of degrees alone fewer."""
    facts = read_facts()
    p = np.full((4, 4), 0.1)
    np.fill_diagonal(p, 0)
    published = float(facts["reciprocity"].rows[0]["ratio_to_chung_lu"])
    found = microns_statistics._reciprocity(facts, p)
    assert found == pytest.approx(published * (3 / 4) ** 2)


def test_mutual_pairs_of_the_column_exceed_chance() -> None:
    e = edges(draw())
    a = np.zeros((1347, 1347), np.bool_)
    a[e.post, e.pre] = True
    degrees = np.outer(a.sum(axis=1), a.sum(axis=0)) / a.sum()
    np.fill_diagonal(degrees, 0)
    ratio = (a & a.T).sum() / (np.minimum(degrees, 1) * np.minimum(degrees.T, 1)).sum()
    assert ratio == pytest.approx(2.10, abs=0.15)
    independent = microns_statistics._draw_pairs(
        microns_statistics._calibrate(*_probabilities())[0], 1.0, np.random.default_rng(0)
    )
    assert (a & a.T).sum() > 1.3 * (independent & independent.T).sum()


def _probabilities() -> tuple[dict[str, Fact], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    facts = read_facts()
    cells = microns_statistics._draw_cells(facts, np.random.default_rng(0))
    p = connection_probabilities(facts, cells.kind, cells.x_um, cells.z_um)
    return facts, p, is_excitatory(cells.kind)


# --- calibration ----------------------------------------------------------------------------------


def test_uncalibrated_draw_does_not_know_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, other = draw(0, False).digest(), draw(0).digest()

    def without_counts(name: str) -> Fact:
        fact = read_fact(name)
        if name != "surrogate_calibration":
            return fact
        rows = tuple({**r, "edges_measured_column_v1718": "9000"} for r in fact.rows)
        return replace(fact, rows=rows)

    monkeypatch.setattr(microns_statistics, "read_fact", without_counts)
    assert MicronsStatistics(0, calibrated=False).load().digest() == expected
    assert MicronsStatistics(0).load().digest() != other


def _agreement() -> ModuleType:
    """Load benchmarks/surrogate_agreement.py: the figures of the docs and of the tests are one."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "surrogate_agreement.py"
    if not path.exists():
        pytest.skip("benchmarks/ is not here")
    spec = importlib.util.spec_from_file_location("surrogate_agreement", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def figures() -> dict[bool, dict[str, list[float]]]:
    """The figures of all seeds, calibrated and not."""
    agreement = _agreement().agreement
    found: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for calibrated, by_name in found.items():
        for seed in SEEDS:
            for name, value in agreement(draw(seed, calibrated)).items():
                by_name.setdefault(name, []).append(value)
    return found


# Published figure; tolerance of a calibrated and of an uncalibrated column, relative.
GOLDENS = {
    "connections *": (78_928, 0.03, 0.2),
    "density *": (0.0430, 0.03, 0.2),
    "connections E->E *": (31_850, 0.03, 0.35),
    "connections I->E *": (26_850, 0.03, 0.06),
    "connections ->I *": (20_228, 0.03, 0.2),
    "synapses *": (146_711, 0.03, 0.15),
    "synapses E->I": (26_952, 0.25, 0.2),
    "synapses I->I": (9_071, 0.25, 0.35),
    "mutual pairs / same degrees +": (2.10, 0.08, 0.1),
    "mutual pairs / class, distance": (1.97, 0.2, 0.25),
}


@pytest.mark.parametrize("calibrated", [True, False])
def test_every_seed_is_near_the_published_figures(
    figures: dict[bool, dict[str, list[float]]], calibrated: bool
) -> None:
    for name, (published, tight, loose) in GOLDENS.items():
        tolerance = tight if calibrated else loose
        for value in figures[calibrated][name]:
            assert value == pytest.approx(published, rel=tolerance), name


def test_uncalibrated_column_has_too_few_connections_between_excitatory_cells(
    figures: dict[bool, dict[str, list[float]]],
) -> None:
    """What calibration is for; were it not so, the knob would do nothing."""
    assert max(figures[False]["connections E->E *"]) < 0.8 * 31_850
    assert np.mean(figures[False]["density *"]) == pytest.approx(0.0375, abs=0.001)


@pytest.mark.parametrize("calibrated", [True, False])
def test_type_pairs_correlate_with_those_counted(
    figures: dict[bool, dict[str, list[float]]], calibrated: bool
) -> None:
    assert min(figures[calibrated]["type pairs, r"]) > 0.94
    assert min(figures[calibrated]["type pairs, r of logs"]) > 0.86
    assert max(figures[calibrated]["type pairs without a synapse"]) <= 10  # of 144


def test_published_figures_are_those_of_the_tables() -> None:
    measured = _agreement().measured()
    for name, (published, _, _) in GOLDENS.items():
        assert measured[name] == pytest.approx(published, rel=0.001), name


# --- the recipe on measured cells -----------------------------------------------------------------


@pytest.fixture(scope="module")
def real_column(test_data: Path) -> list[dict[str, str]]:
    """The neurons of the real column whose place is known."""
    with (test_data / "microns" / "column_neurons_v795.csv").open() as lines:
        return [r for r in csv.DictReader(lines) if r["x_um"]]


def test_recipe_on_the_real_cells_gives_the_published_check(
    real_column: list[dict[str, str]],
) -> None:
    """The same law, on real places and types, uncalibrated: density 0.0375, r = 0.92."""
    facts = read_facts()
    depth, x, z = (
        np.array([float(r[n]) for r in real_column]) for n in ("depth_um", "x_um", "z_um")
    )
    axis_x, axis_z = column_axis(facts["column_axis"].rows, depth)
    kind = np.array([_kind(r["mtype"], float(r["depth_um"])) for r in real_column])
    p = connection_probabilities(facts, kind, x - axis_x, z - axis_z)

    n, exc = len(kind), is_excitatory(kind)
    assert n == 1322
    assert p.sum() / (n * (n - 1)) == pytest.approx(0.0375, abs=0.0002)

    # The published check gives totals for the 1,355 cells of the column.
    scale = 1355**2 / (n * (n - 1))
    predicted = {
        ("E", "E"): p[np.ix_(exc, exc)].sum(),
        ("I", "E"): p[np.ix_(exc, ~exc)].sum(),
        ("E or I", "I"): p[~exc].sum(),
    }
    for row in facts["surrogate_calibration"].rows[:3]:
        wanted = float(row["edges_predicted_v1dd"])
        assert scale * predicted[row["pre"], row["post"]] == pytest.approx(wanted, rel=0.005)

    coarse = np.array([_coarse(r["mtype"]) for r in real_column])
    counted: dict[tuple[str, str], float] = {}
    for r in read_fact("column_typepair_synapses_v1718").rows:
        key = (
            "6P" if r["pre_type"].startswith("6P") else r["pre_type"],
            "6P" if r["post_type"].startswith("6P") else r["post_type"],
        )
        edge_count = float(r["n_synapses"]) / float(r["synapses_per_connection_used"])
        counted[key] = counted.get(key, 0.0) + edge_count
    assert len(counted) == 100
    model = [p[np.ix_(coarse == post, coarse == pre)].sum() for pre, post in counted]
    assert np.corrcoef(model, list(counted.values()))[0, 1] == pytest.approx(0.92, abs=0.01)
    logs = np.corrcoef(np.log(model), np.log(list(counted.values())))[0, 1]
    assert logs == pytest.approx(0.89, abs=0.02)


def test_modelled_cells_are_like_the_real_ones(real_column: list[dict[str, str]]) -> None:
    """Excitatory layers agree in their middle depth; the modelled prism is as wide as the real."""
    layer, y = strings(draw(), "cortical_layer"), numbers(draw(), "y_um")
    exc = strings(draw(), "cell_class") == "excitatory"
    for name in ("L2/3", "L4", "L5", "L6"):
        mtypes = tuple("L" + digit for digit in name[1:].split("/"))
        real = [float(r["depth_um"]) for r in real_column if r["mtype"].startswith(mtypes)]
        assert abs(np.median(y[exc & (layer == name)]) - np.median(real)) < 25, name
    for axis in ("x_um", "z_um"):
        real = [float(r[axis]) for r in real_column]
        assert numbers(draw(), axis).mean() == pytest.approx(np.mean(real), abs=5)
        assert numbers(draw(), axis).std() == pytest.approx(np.std(real), rel=0.1)


def _kind(mtype: str, depth_um: float) -> str:
    """Return the row of ``pmax_v1dd`` for a measured cell."""
    tops = np.array(list(LAYER_TOP_UM.values()))
    layer = list(LAYER_TOP_UM)[int(np.searchsorted(tops, depth_um, side="right")) - 1]
    manual = _coarse(mtype)
    inhibitory: dict[str, str] = INHIBITORY_KIND
    if manual in inhibitory:
        return inhibitory[manual].format(layer=layer)
    excitatory: dict[str, str] = {name: t.kind for name, t in EXCITATORY.items()}
    return {**excitatory, "6P": "L6_Exc"}[manual]


def _coarse(mtype: str) -> str:
    """Return the manual type, those of layer 6 taken together."""
    by_mtype: dict[str, str] = {m: t for t, m in INHIBITORY_MTYPE.items()}
    by_mtype |= {"L5ET": "5P-PT", "L5NP": "5P-NP", "L5a": "5P-IT", "L5b": "5P-IT"}
    by_layer = {"L2": "23P", "L3": "23P", "L4": "4P", "L6": "6P"}
    return by_mtype[mtype] if mtype in by_mtype else by_layer[mtype[:2]]
