"""The worm: the counts of its data sets, its signs, and what bad files get."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from connectome_compiler.data_adapters._cect import DATA_SETS, normal
from connectome_compiler.data_adapters.celegans import Celegans
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence, Graph, Projection
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.runner import run

FACTS = files("connectome_compiler.data_adapters") / "facts"


def fact(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((FACTS / f"{name}.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def worm() -> Graph:
    graph: Graph = Celegans().load()
    return graph


def notes(graph: Graph) -> str:
    return "\n".join(note for step in graph.provenance.steps for note in step.notes)


def named(graph: Graph, projection: Projection) -> dict[tuple[str, str], float]:
    """Return weights by names of pre and post."""
    ids = graph.populations[0].column("neuron_id").to_pylist()
    edges = projection.synapses
    return {
        (ids[i], ids[j]): float(w)
        for i, j, w in zip(edges.pre, edges.post, edges.weight, strict=True)
    }


# --- what ships -----------------------------------------------------------------------------------


def test_the_counts_of_cook_2019(worm: Graph) -> None:
    chemical, electrical = worm.projections

    assert worm.n_neurons == 302
    assert worm.count(chemical) == 3_709
    assert chemical.synapses.weight.sum() == 20_965
    assert worm.count(electrical) == 2 * 1_091
    assert {p.synapses.unit for p in worm.projections} == {"EM sections"}
    assert "4,879 chemical connections, 28,113 EM sections" in notes(worm)
    assert "1,450 electrical pairs, 11,680 EM sections; 17 of a cell with itself" in notes(worm)
    assert "dropped: 135 muscles, 36 other cells" in notes(worm)
    assert "14 of a cell with itself dropped: no current flows" in notes(worm)


def test_edges_are_those_of_the_table_and_point_the_right_way(worm: Graph) -> None:
    neurons = {r["name"] for r in fact("celegans_cells") if r["kind"] == "neuron"}
    rows = fact("celegans_cook2019")
    expected: dict[str, dict[tuple[str, str], float]] = {"chemical": {}, "electrical": {}}
    for row in rows:
        if {row["pre"], row["post"]} <= neurons:
            ends = row["pre"], row["post"]
            expected[row["kind"]][ends] = float(row["weight"])
            if row["kind"] == "electrical":
                expected[row["kind"]][ends[::-1]] = float(row["weight"])
    expected["electrical"] = {k: v for k, v in expected["electrical"].items() if k[0] != k[1]}
    for projection in worm.projections:
        assert named(worm, projection) == expected[projection.kind]

    weights = named(worm, worm.projections[0])
    of_aval = {post: w for (pre, post), w in weights.items() if pre == "AVAL"}
    assert max(of_aval, key=lambda post: of_aval[post]) == "PVCL"
    assert of_aval["PVCL"] == 21
    assert weights["SAAVL", "AVAL"] == 56


def test_facts_are_sorted_and_complete() -> None:
    cells, edges = fact("celegans_cells"), fact("celegans_cook2019")
    shipped = [r for r in cells if r["cook2019"] == "yes"]
    assert Counter(r["kind"] for r in shipped) == {"neuron": 302, "muscle": 135, "other": 36}
    roles = Counter(r["role"] for r in shipped if r["kind"] == "neuron")
    assert roles == {"motor": 123, "inter": 89, "sensory": 83, "": 7}
    names = [r["name"] for r in cells]
    assert names == sorted(set(names))
    keys = [(r["kind"], r["pre"], r["post"]) for r in edges]
    assert keys == sorted(set(keys))
    assert Counter(r["kind"] for r in edges) == {"chemical": 4_879, "electrical": 1_450}
    assert all(r["pre"] <= r["post"] for r in edges if r["kind"] == "electrical")
    signs = Counter(r["sign"] for r in fact("celegans_fenyves2020"))
    assert signs == {"+": 1_327, "-": 425, "complex": 471, "none": 1_415}
    ends = {r[end] for r in fact("celegans_fenyves2020") for end in ("pre", "post")}
    assert ends <= set(names)


def test_the_neuron_table(worm: Graph) -> None:
    table = worm.neurons().set_index("neuron_id")

    assert not table[["x_um", "y_um", "z_um"]].isna().any(axis=None)
    assert table.y_um.min() == pytest.approx(-311.6, abs=1)  # the head
    places = [table.loc["AVAL", column] for column in ("cell_type", "side", "role")]
    assert places == ["AVA", "left", "inter"]
    assert table.loc["AVL", "cell_type"] == "AVL"
    assert table.loc["AVL", "side"] is None  # no AVR: the L is not a side
    assert table.loc["RIML", "neurotransmitter"] == "glutamate+tyramine+betaine uptake"
    unknown = set(table.index[table["role"].isna()])
    assert unknown == {"CANL", "CANR", "MCL", "MCR", "MI", "NSML", "NSMR"}
    assert table.cell_type.nunique() == 118


def test_no_name_is_padded() -> None:
    assert [normal(n) for n in ("VA01", "DB07", "AS11", " AVAL ", "CA09", "MDL01", "R1AL")] == [
        *("VA1", "DB7", "AS11", "AVAL", "CA9", "MDL01", "R1AL")
    ]
    assert not [r["name"] for r in fact("celegans_cells") if normal(r["name"]) != r["name"]]


@pytest.mark.parametrize(
    ("cells", "n", "n_chemical", "n_pairs"),
    [
        ("neurons", 302, 3_709, 1_091),
        ("neurons+muscles", 437, 4_760, 1_267),
        ("all", 473, 4_879, 1_433),
    ],
)
def test_which_cells(cells: Any, n: int, n_chemical: int, n_pairs: int) -> None:
    graph = Celegans(cells=cells).load()
    assert graph.n_neurons == n
    assert [graph.count(p) for p in graph.projections] == [n_chemical, 2 * n_pairs]
    kinds = graph.neurons().groupby("kind").role.apply(lambda role: set(role.dropna()))
    if cells != "neurons":
        assert kinds["muscle"] == {"muscle"}
    assert kinds["neuron"] == {"sensory", "inter", "motor"}


def test_where_it_is_from(worm: Graph) -> None:
    origin = worm.provenance
    assert origin.source == "celegans-cook2019@2020-07"
    assert origin.connectivity is Evidence.MEASURED
    assert [f.name for f in origin.files] == [
        "facts/celegans_cook2019.csv",
        "facts/celegans_cells.csv",
    ]
    for file in origin.files:
        content = (FACTS / Path(file.name).name).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert any("Cook et al. (2019)" in c for c in origin.citations)
    assert any("Wang et al. (2024)" in c for c in origin.citations)


def test_equal_loads_are_equal_and_quick(worm: Graph) -> None:
    start = time.perf_counter()
    again = Celegans().load()
    assert time.perf_counter() - start < 0.5
    assert again.digest() == worm.digest()
    assert "cect" not in sys.modules


# --- signs ----------------------------------------------------------------------------------------


def n_breaking(graph: Graph) -> int:
    report = run(graph, [ApplyDale(policy="report")]).provenance.steps[-1].notes
    found = re.match(r"(\d+) connections? violates? Dale", report[0])
    assert found is not None, report[0]
    return int(found[1])


def test_signs_by_transmitter(worm: Graph) -> None:
    signs = worm.populations[0].column("sign").to_pylist()
    assert Counter(signs) == {1: 241, -1: 31, None: 30}
    of_edges = worm.signs(worm.projections[0])
    weight = worm.projections[0].synapses.weight
    assert {s: (int((of_edges == s).sum()), weight[of_edges == s].sum()) for s in (1, -1, 0)} == {
        1: (3_015, 18_189),
        -1: (214, 956),
        0: (480, 1_820),
    }
    assert worm.provenance.signs is Evidence.PREDICTED
    assert "241 excitatory, 31 inhibitory, 30 without sign (by neurotransmitter)" in notes(worm)
    assert "convention for the worm: acetylcholine, glutamate +; gaba -" in notes(worm)
    assert "no sign from no word (16), 'dopamine' (6), 'betaine uptake' (4)" in notes(worm)
    assert n_breaking(worm) == 0


def test_signs_of_fenyves() -> None:
    graph = Celegans(signs="fenyves").load()
    (projection, _), ids = graph.projections, graph.populations[0].column("neuron_id").to_pylist()
    listed = {(r["pre"], r["post"]): r["sign"] for r in fact("celegans_fenyves2020")}
    of_neuron = dict(zip(ids, graph.populations[0].column("sign").to_pylist(), strict=True))
    counts = Counter[str]()
    for i, j, sign in zip(
        projection.synapses.pre, projection.synapses.post, graph.signs(projection), strict=True
    ):
        word = listed.get((ids[i], ids[j]), "not listed")
        counts[word] += 1
        assert sign == {"+": 1, "-": -1}.get(word, of_neuron[ids[i]] or 0)

    assert counts == {"+": 1_296, "-": 409, "complex": 436, "none": 1_375, "not listed": 193}
    said = notes(graph)
    assert "by Fenyves et al. 2020: 1,296 connections +, 409 -" in said
    assert "436 that it calls complex, 1,375 without a prediction, 193 not listed" in said
    assert "122 of its 3,638 connections are not in it" in said
    assert any("Fenyves" in c for c in graph.provenance.citations)
    assert "facts/celegans_fenyves2020.csv" in [f.name for f in graph.provenance.files]
    assert n_breaking(graph) == 313


def test_no_signs() -> None:
    graph = Celegans(signs="none").load()
    assert graph.populations[0].column("sign").null_count == 302
    assert not graph.signs(graph.projections[0]).any()
    assert graph.provenance.signs is Evidence.NONE
    assert "no signs, as requested" in notes(graph)


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dataset": "cook2091"}, "did you mean 'cook2019'"),
        ({"cells": "muscles"}, "celegans.cells 'muscles'"),
        ({"signs": "fenives"}, "did you mean 'fenyves'"),
        ({"dataset": "bentley-peptides", "signs": "fenyves"}, "bentley-peptides is extrasynaptic"),
    ],
)
def test_wrong_options(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        Celegans(**options)


# --- a made package -------------------------------------------------------------------------------


def made(folder: Path, reader: str, nodes: list[str], **classes: Any) -> str:
    """Write a folder like that of cect with one file; rows are presynaptic."""
    cache = folder / "cect" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "cect-0.3.5.dist-info").mkdir(exist_ok=True)
    content = {"nodes": nodes, "connections": classes, "summary": ""}
    (cache / f"{reader}.json").write_text(json.dumps(content))
    return str(folder)


NODES = ["VA01", "AVAL", "MDL01", "hyp"]
CHEMICAL = [[0, 0, 3, 0], [5, 1, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]]
GAPS = [[2, 4, 0, 0], [4, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_a_folder_and_a_wheel_give_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", "VarshneyDataReader", NODES, Generic_CS=CHEMICAL, Generic_GJ=GAPS)
    wheel = tmp_path / "cect-0.3.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as out:
        for file in ("cect/cache/VarshneyDataReader.json",):
            out.write(Path(folder) / file, file)
        out.writestr("cect-0.3.5.dist-info/METADATA", "Version: 0.3.5")
    graphs = [Celegans("varshney", path=str(p)).load() for p in (folder, wheel)]

    for graph in graphs:
        assert graph.provenance.source == "celegans-varshney@cect-0.3.5"
        assert named(graph, graph.projections[0]) == {("AVAL", "VA1"): 5, ("AVAL", "AVAL"): 1}
        assert named(graph, graph.projections[1]) == {("AVAL", "VA1"): 4, ("VA1", "AVAL"): 4}
        assert graph.projections[0].synapses.weight.dtype == np.int32
        assert "2 electrical pairs" not in notes(graph)
        assert "3 electrical pairs, 7 gap junctions; 1 of a cell with itself" in notes(graph)
    assert graphs[0].digest() == graphs[1].digest()
    everything = Celegans("varshney", cells="all", path=folder).load()
    assert named(everything, everything.projections[0])["VA1", "MDL01"] == 3


def test_classes_are_merged_and_counted(tmp_path: Path) -> None:
    one = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    two = [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    nodes = ["ADAL", "ADAR", "AVAL"]
    folder = made(
        tmp_path, "Wang2024HermReader", nodes, Glutamate=one, Betaine=two, Dopamine=[[1] * 3] * 3
    )
    graph = Celegans("wang2024", path=folder).load()

    assert named(graph, graph.projections[0]) == {
        ("ADAL", "ADAR"): 2,
        ("ADAR", "AVAL"): 1,
        ("ADAL", "AVAL"): 1,
    }
    assert graph.projections[0].synapses.unit == "transmitters"
    assert len(graph.projections) == 1
    assert "merged: Glutamate 2, Betaine 2; 1 pairs are in more than one" in notes(graph)
    assert "9 connections of Dopamine left out" in notes(graph)


def test_responses_have_signs_of_their_own(tmp_path: Path) -> None:
    values = [[0, -0.5], [0.25, 0]]
    folder = made(tmp_path, "WormNeuroAtlasFuncReader", ["AVAL", "AVAR"], Functional=values)
    graph = Celegans("randi2023", path=folder).load()
    (projection,) = graph.projections

    assert named(graph, projection) == {("AVAL", "AVAR"): -0.5, ("AVAR", "AVAL"): 0.25}
    assert_array_equal(np.sign(projection.synapses.weight), graph.signs(projection))
    assert projection.synapses.unit == "dF/F"
    assert n_breaking(graph) == 1
    unsigned = Celegans("randi2023", signs="none", path=folder).load()
    assert not unsigned.signs(unsigned.projections[0]).any()


def test_what_acts_through_no_synapse_has_no_sign(tmp_path: Path) -> None:
    peptides = made(
        tmp_path, "Bentley2016PepReader", ["AVAL", "AVAR"], Peptidergic=[[0, 1], [0, 0]]
    )
    graph = Celegans("bentley-peptides", path=peptides).load()
    assert graph.populations[0].column("sign").null_count == 2
    assert graph.provenance.connectivity is Evidence.PREDICTED
    assert graph.provenance.signs is Evidence.NONE
    assert "no signs: monoamines and peptides have no fast transmitter" in notes(graph)


@pytest.mark.parametrize(
    ("nodes", "classes", "problem"),
    [
        (NODES, {"Generic_CS": CHEMICAL[:3]}, r"Generic_CS: is 3 x 4, but has 4 nodes"),
        (NODES[:3], {"Generic_CS": CHEMICAL}, r"Generic_CS: is 4 x 4, but has 3 nodes"),
        (NODES[:2], {"Generic_CS": [[0, float("nan")], [0, 0]]}, r"row 1, column 2: is nan"),
        (NODES[:2], {"Generic_CS": [[0, "x"], [0, 0]]}, "not a matrix of numbers"),
        (NODES[:2], {"Generic_CS": [[0, 1], [0]]}, "not a matrix of numbers"),
        (NODES[:2], {"Generic_CS": [[0, 0.5], [0, 0]]}, "0.5 is not a synapse count"),
        (NODES[:2], {"Generic_CS": [[0, -2], [0, 0]]}, "-2 is not a synapse count"),
        (["VA01", "VA1"], {"Generic_CS": [[0, 1], [0, 0]]}, "VA1 is the name of two cells"),
        (["AVAL", "AVAQ"], {"Generic_CS": [[0, 1], [0, 0]]}, "cell 'AVAQ'"),
        (NODES[:2], {"Generic_GJ": [[0, 1], [1, 0]]}, "none of the classes of varshney"),
        (
            NODES[:2],
            {"Generic_CS": [[0, 1], [0, 0]], "Generic_GJ": [[0, 3], [1, 0]]},
            "AVAL - VA1 has 1 one way, 3 the other",
        ),
        (["hyp", "int"], {"Generic_CS": [[0, 1], [0, 0]]}, "no cells of the requested kind"),
    ],
)
def test_bad_files(
    tmp_path: Path, nodes: list[str], classes: Mapping[str, Any], problem: str
) -> None:
    folder = made(tmp_path, "VarshneyDataReader", nodes, **classes)
    with pytest.raises(CompileError, match=problem):
        Celegans("varshney", path=folder).load()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"has no file cect/cache/White_whole\.json"):
        Celegans("white-whole", path=str(tmp_path)).load()
    text = tmp_path / "text.whl"
    text.write_text("no wheel")
    with pytest.raises(CompileError, match="is not a wheel"):
        Celegans("white-whole", path=str(text)).load()
    with pytest.raises(CompileError, match="no such file"):
        Celegans("white-whole", path=str(tmp_path / "absent.whl")).load()
    (tmp_path / "cect" / "cache").mkdir(parents=True)
    for content, problem in (("{", "is not JSON"), ("[]", "no lists of nodes")):
        (tmp_path / "cect" / "cache" / "White_whole.json").write_text(content)
        with pytest.raises(CompileError, match=problem):
            Celegans("white-whole", path=str(tmp_path)).load()


@pytest.mark.skipif(importlib.util.find_spec("cect") is not None, reason="cect is installed")
def test_without_the_package_the_error_says_what_to_do() -> None:
    with pytest.raises(CompileError, match="pip install cect") as error:
        Celegans("varshney").load()
    assert "set path to its wheel" in error.value.hint


# --- the real package, where it is at hand --------------------------------------------------------

CECT = os.environ.get("CCOMPILE_CECT", "")  # a wheel of cect, or a folder with its files
real = pytest.mark.skipif(
    not CECT and importlib.util.find_spec("cect") is None,
    reason="set CCOMPILE_CECT to a wheel of cect 0.3.5, or install it",
)
COUNTS = {  # neurons, connections, their weight, electrical pairs
    "cook2019": (302, 3_709, 20_965, 1_091),
    "cook2019-male": (381, 4_048, 36_979, 1_281),
    "cook2020-pharynx": (22, 149, 683, 28),
    "white-whole": (300, 2_266, 6_509, 563),
    "white-n2u": (188, 1_433, 3_772, 271),
    "white-jsh": (183, 1_293, 3_699, 289),
    "varshney": (280, 2_194, 6_394, 514),
    "witvliet1": (161, 675, 1_152, 81),
    "witvliet2": (162, 865, 1_687, 119),
    "witvliet3": (162, 887, 1_884, 92),
    "witvliet4": (168, 1_011, 2_521, 202),
    "witvliet5": (174, 1_324, 3_644, 283),
    "witvliet6": (175, 1_315, 3_894, 210),
    "witvliet7": (181, 1_944, 6_587, 261),
    "witvliet8": (180, 1_933, 7_099, 296),
    "wang2024": (302, 3_269, 3_543, 0),
    "wang2024-male": (382, 3_542, 3_911, 0),
    "brittin2021": (173, 3_850, 44_693_786, 0),
    "bentley-monoamines": (237, 1_952, 1_952, 0),
    "bentley-peptides": (239, 7_078, 7_078, 0),
    "ripoll-sanchez-short": (302, 31_417, 83_634, 0),
    "ripoll-sanchez-mid": (302, 40_425, 107_429, 0),
    "ripoll-sanchez-long": (302, 53_558, 145_834, 0),
    "randi2023": (181, 1_150, 192.245, 0),
    "yim2024": (179, 1_955, 2_367.199, 0),
    "yim2024-raw": (179, 1_955, 808_405_838.8, 0),
    "yim2024-contacts": (179, 9_908, 10_120.029, 0),
    "yim2024-contacts-raw": (179, 9_908, 3_321_258_208, 0),
}


def test_every_data_set_has_its_counts() -> None:
    assert COUNTS.keys() == DATA_SETS.keys()


@real
@pytest.mark.parametrize("dataset", sorted(COUNTS))
def test_counts_of_the_data_sets(dataset: str) -> None:
    graph = Celegans(dataset, path=CECT).load()
    n, n_chemical, weight, n_pairs = COUNTS[dataset]
    assert graph.n_neurons == n
    assert graph.count(graph.projections[0]) == n_chemical
    assert graph.projections[0].synapses.weight.sum() == pytest.approx(weight, rel=1e-5)
    assert sum(graph.count(p) for p in graph.projections[1:]) == 2 * n_pairs


@real
def test_varshney_has_the_published_neuromuscular_junctions() -> None:
    graph = Celegans("varshney", cells="neurons+muscles", path=CECT).load()
    weights = named(graph, graph.projections[0])
    assert sum(w for (_, post), w in weights.items() if post == "BWM") == 1_410


@real
def test_what_ships_is_what_the_package_has(worm: Graph) -> None:
    if not CECT:
        pytest.skip("set CCOMPILE_CECT")
    theirs = Celegans(path=CECT).load()
    for ours, read in zip(worm.projections, theirs.projections, strict=True):
        assert named(worm, ours) == named(theirs, read)
    assert worm.populations[0].neurons == theirs.populations[0].neurons


def test_the_script_gives_the_tables_that_ship(tmp_path: Path) -> None:
    wheels, workbook = os.environ.get("CCOMPILE_WHEELS"), os.environ.get("CCOMPILE_FENYVES")
    if not (wheels and workbook):
        pytest.skip("set CCOMPILE_WHEELS to a folder with wheels of cect and c302, CCOMPILE_FENYVES"
                    " to supplement S3 of Fenyves et al. 2020")  # fmt: skip
    script = Path(__file__).parents[2] / "scripts" / "make_celegans_facts.py"
    subprocess.run(
        [sys.executable, script, wheels, workbook, "--out", tmp_path], check=True, timeout=60
    )
    for name in ("celegans_cells", "celegans_cook2019", "celegans_fenyves2020"):
        assert (tmp_path / f"{name}.csv").read_bytes() == (FACTS / f"{name}.csv").read_bytes()


def test_unknown_names_are_errors_of_their_kind() -> None:
    with pytest.raises(UnknownNameError):
        Celegans("cook")
