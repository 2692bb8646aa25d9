from __future__ import annotations

import json
import os
import sys
import zipfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from references import edges, neurons

from connectome_compiler.data_adapters import _flyvis, fly_visual
from connectome_compiler.data_adapters._flyvis import Template, parse, tile
from connectome_compiler.data_adapters.fly_visual import FOLDER, FlyVisual
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence, Graph

# --- a small made file ----------------------------------------------------------------------------


def node(name: str, pattern: Any = ("stride", (1, 1))) -> dict[str, Any]:
    return {"name": name, "pattern": pattern, "bias": 0.5}


def filter_(src: str, tar: str, offsets: Any, alpha: int = 1, **more: Any) -> dict[str, Any]:
    return {"src": src, "tar": tar, "alpha": alpha, "offsets": offsets, **more}


SMALL: dict[str, Any] = {
    "nodes": [node("R1"), node("Mi1"), node("Law", ["stride", [3, 2]]), node("CT", ["single", 0])],
    "edges": [
        filter_("R1", "Mi1", [[[0, 0], 40], [[2, -1], 1.5]], -1),
        filter_("Mi1", "Mi1", [[[1, 0], 3]]),
        filter_("Mi1", "Law", [[[0, 1], 2]], -1),
        filter_("Law", "CT", [[[-3, 0], 7]], 1),
    ],
    "input_units": ["R1"],
    "output_units": ["Mi1", "CT"],
}


@pytest.fixture
def small(tmp_path: Path) -> str:
    return write(tmp_path, SMALL)


def write(folder: Path, spec: Any) -> str:
    path = folder / "small_v1.json"
    path.write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return str(path)


def changed(**parts: Any) -> dict[str, Any]:
    return {**SMALL, **parts}


Cell = tuple[str, int, int]


def plain(spec: dict[str, Any], extent: int) -> dict[tuple[Cell, Cell], tuple[float, int]]:
    """Tile a file as slowly and as plainly as can be: (pre, post) to (count, sign)."""
    cells = set()
    for n in spec["nodes"]:
        pattern, step = n["pattern"]
        radius = 0 if pattern == "single" else extent
        su, sv = {"single": (1, 1), "tile": (step, step)}.get(pattern, step)
        for u in range(-radius, radius + 1):
            for v in range(-radius, radius + 1):
                if abs(u + v) <= radius and u % su == 0 and v % sv == 0:
                    cells.add((n["name"], u, v))
    made = {}
    for e in spec["edges"]:
        for (du, dv), count in e["offsets"]:
            for name, u, v in cells:
                target = (e["tar"], u + du, v + dv)
                if name == e["src"] and target in cells:
                    made[(name, u, v), target] = (count, e["alpha"])
    return made


def found(graph: Graph) -> dict[tuple[Cell, Cell], tuple[float, int]]:
    cell = {k: (r["cell_type"], r["u"], r["v"]) for k, r in neurons(graph).items()}
    return {
        (cell[pre], cell[post]): (weight, sign)
        for (_, pre, post), (weight, _, sign) in edges(graph).items()
    }


@pytest.mark.parametrize("extent", [0, 1, 2, 5])
def test_equals_a_plain_tiling(small: str, extent: int) -> None:
    graph = FlyVisual(extent=extent, path=small).load()
    assert found(graph) == plain(SMALL, extent)


types = st.sampled_from("ABC")
steps = st.integers(1, 3)
patterns = st.one_of(
    st.tuples(st.just("stride"), st.tuples(steps, steps)),
    st.tuples(st.just("tile"), steps),
    st.just(("single", None)),
)
ways = st.tuples(st.integers(-4, 4), st.integers(-4, 4))
counts = st.floats(0.01, 100)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    pairs = draw(st.lists(st.tuples(types, types), unique=True, max_size=4))
    filters = []
    for src, tar in pairs:
        offsets = draw(st.dictionaries(ways, counts, max_size=5))
        filters.append(filter_(src, tar, [*offsets.items()], draw(st.sampled_from([1, 0, -1]))))
    nodes = [node(name, draw(patterns)) for name in "ABC"]
    return {"nodes": nodes, "edges": filters, "input_units": [], "output_units": []}


def read(spec: Any) -> Template:
    return parse("made", json.dumps(spec).encode())


@given(specs(), st.integers(0, 4))
def test_equals_a_plain_tiling_of_any_file(spec: dict[str, Any], extent: int) -> None:
    eye = tile(read(spec), extent)
    cells = list(zip(eye.words().to_pylist(), eye.u.tolist(), eye.v.tolist(), strict=True))
    ends = zip(eye.pre, eye.post, eye.count, eye.sign, strict=True)
    made = {(cells[pre], cells[post]): (count, sign) for pre, post, count, sign in ends}
    assert len(made) == len(eye.pre)
    assert made == plain(json.loads(json.dumps(spec)), extent)
    assert eye.ids().to_pylist() == [f"{name}({u},{v})" for name, u, v in cells]


def test_the_neuron_table(small: str) -> None:
    graph = FlyVisual(extent=3, path=small).load()
    table = neurons(graph)
    assert len(table) == 37 + 37 + 7 + 1
    assert list(table)[:3] == ["R1(-3,0)", "R1(-3,1)", "R1(-3,2)"]
    row = table["Law(0,-2)"]
    assert {k: row[k] for k in ("cell_type", "role", "sign", "u", "v", "output")} == {
        "cell_type": "Law", "role": "inter", "sign": 1, "u": 0, "v": -2, "output": False,
    }  # fmt: skip
    assert table["R1(0,0)"]["role"] == "sensory"
    assert table["R1(0,0)"]["sign"] == -1
    assert table["Mi1(0,0)"]["sign"] is None  # +1 to Mi1, -1 to Law
    assert table["Mi1(0,0)"]["output"] is table["CT(0,0)"]["output"] is True
    assert table["CT(0,0)"]["sign"] is None  # it has no outputs
    schema = graph.populations[0].neurons.schema
    assert [str(schema.field(c).type) for c in ("u", "v", "output")] == ["int64", "int64", "bool"]


def test_its_provenance_says_that_it_is_no_measured_brain(small: str) -> None:
    graph = FlyVisual(extent=2, path=small).load()
    origin = graph.provenance
    assert origin.connectivity is Evidence.MODELLED
    assert origin.signs is Evidence.PREDICTED
    assert "modelled" in origin.caveat
    assert origin.source == "flyvis:small_v1"  # a file of one's own is not the published one
    assert origin.citations == ()
    assert [f.name for f in origin.files] == ["small_v1.json"]
    (step,) = origin.steps
    assert step.options == 'extent=2, fill="none"'
    assert "4 cell types, 4 filters with 5 offsets" in step.notes


def test_the_adapter_table_reads_such_a_file(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flyvis, "EXTENT", 2)
    graph = Table(small, unit="mean synapses").load()
    assert graph.provenance.connectivity is Evidence.MODELLED
    assert graph.provenance.dataset == "table:small_v1-modelled"
    expected = FlyVisual(extent=2, path=small).load()
    assert edges(graph) == edges(expected)
    for name, row in neurons(expected).items():
        assert neurons(graph)[name] == row
    assert any("fly-visual offers others" in note for note in graph.provenance.steps[0].notes)


def test_signs_that_are_not_known_are_counted(tmp_path: Path) -> None:
    spec = changed(edges=[filter_("R1", "Mi1", [[[0, 0], 2]], 0)])
    graph = FlyVisual(extent=1, path=write(tmp_path, spec)).load()
    assert graph.signs(graph.projections[0]).tolist() == [0] * 7
    assert "7 connections without a sign" in graph.provenance.steps[0].notes


def test_equal_options_give_equal_graphs(small: str) -> None:
    first, second = (FlyVisual(extent=4, path=small).load().digest() for _ in range(2))
    assert first == second != FlyVisual(extent=3, path=small).load().digest()


# --- gaps -----------------------------------------------------------------------------------------


def inside(corners: list[tuple[int, int]], x: int, y: int) -> float:
    """Return the least distance, up to a factor, from the sides; negative outside. Any polygon."""
    sides = zip(corners, corners[1:] + corners[:1], strict=True)
    return min((bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in sides)


@given(st.lists(ways, max_size=9, unique=True))
def test_gaps_are_columns_within_the_hull(offsets: list[tuple[int, int]]) -> None:
    spec = changed(edges=[filter_("R1", "Mi1", [(o, 5) for o in offsets])])
    filled = read(spec).filled().filters[0]
    after = [(int(u), int(v)) for u, v in filled.offsets]
    assert after[: len(offsets)] == offsets
    assert len(set(after)) == len(after)
    assert filled.counts.tolist() == [5] * len(offsets) + [1] * (len(after) - len(offsets))
    corners = [(int(u), int(v)) for u, v in _flyvis._hull(np.array(offsets))]
    if len(corners) < 3:  # all on one line: no inside
        assert after == offsets
        return
    box = [(u, v) for u in range(-4, 5) for v in range(-4, 5)]
    assert {p for p in box if inside(corners, *p) > 0} <= set(after)
    assert all(inside(corners, *p) >= 0 for p in after)


@given(st.lists(ways, min_size=3, max_size=9, unique=True))
def test_columns_on_the_border_of_a_hull_count_as_in_flyvis(offsets: list[tuple[int, int]]) -> None:
    path = pytest.importorskip("matplotlib.path")
    corners = _flyvis._hull(np.array(offsets))
    assume(len(corners) > 2)
    box = np.array([(u, v) for u in range(-4, 5) for v in range(-4, 5)])
    assert (_flyvis._within(corners, box) == path.Path(corners).contains_points(box)).all()


def test_one_gap(tmp_path: Path) -> None:
    ring = [[[u, v], 3] for u, v in [(1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1)]]
    path = write(tmp_path, changed(edges=[filter_("R1", "Mi1", ring, -1)]))
    graph = FlyVisual(extent=2, path=path, fill="hull").load()
    own = {k: v for k, v in found(graph).items() if k[0][1:] == k[1][1:]}
    assert set(own.values()) == {(1.0, -1)}
    assert len(own) == 19
    assert any("1 offsets assumed" in note for note in graph.provenance.steps[0].notes)


# --- the published file ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> str:
    """A wheel of flyvis, or "" where the package is installed."""
    if path := os.environ.get("CCOMPILE_FLYVIS", ""):
        return path
    try:
        metadata.distribution("flyvis")
    except metadata.PackageNotFoundError:
        pytest.skip("needs flyvis, or CCOMPILE_FLYVIS=its wheel or its connectome file")
    return ""


@pytest.mark.parametrize(
    ("extent", "n_neurons", "n_connections"),
    [(3, 2345, 57_663), (15, 45_669, 1_357_269), (23, 104_921, 3_173_770)],
)
def test_published_counts(published: str, extent: int, n_neurons: int, n_connections: int) -> None:
    graph = FlyVisual(extent=extent, path=published).load()
    assert (graph.n_neurons, graph.n_connections) == (n_neurons, n_connections)


def test_filled_it_is_the_published_network(published: str) -> None:
    # 1,513,231 edges: Lappalainen et al. 2024, and flyvis itself.
    graph = FlyVisual(path=published, fill="hull").load()
    assert (graph.n_neurons, graph.n_connections) == (45_669, 1_513_231)
    assert any("238 offsets assumed" in note for note in graph.provenance.steps[0].notes)
    assert graph.provenance.source == "fly-visual@fib25-fib19_v2.2"
    assert graph.provenance.licence == "MIT (flyvis)"


def test_the_published_cells(published: str) -> None:
    graph = FlyVisual(extent=3, path=published).load()
    table = list(neurons(graph).values())
    by_type = {r["cell_type"]: r for r in table}
    assert len(by_type) == 65
    assert [r["sign"] for r in by_type.values()].count(None) == 6  # 4 mixed, 2 without outputs
    assert {t for t, r in by_type.items() if r["role"] == "sensory"} == {
        f"R{k}" for k in range(1, 9)
    }
    assert sum(r["output"] for r in by_type.values()) == 34
    notes = graph.provenance.steps[0].notes
    assert "65 cell types, 605 filters with 2,140 offsets" in notes


def test_inputs_of_one_motion_detector_by_hand(published: str) -> None:
    # The file has Mi9 -> T4b [[0, 1], 6.67], [[-1, 1], 8.2], ... and Mi4 -> T4b [[0, -1], 6.09],
    # [[1, -1], 5.75], ...: the two arms of the detector lie on opposite sides of its column.
    graph = FlyVisual(extent=3, path=published).load()
    inputs: dict[str, dict[tuple[int, int], float]] = defaultdict(dict)
    for ((source, u, v), target), (count, sign) in found(graph).items():
        if target == ("T4b", 0, 0) and source in ("Mi4", "Mi9"):
            inputs[source][u, v] = round(count, 3)
            assert sign == -1
    assert inputs["Mi9"] == {
        (0, -1): 6.667, (1, -1): 8.2, (1, -2): 3.857, (0, 1): 1.379, (0, 0): 1.759,
    }  # fmt: skip
    assert inputs["Mi4"] == {
        (1, 0): 1.4, (-1, 0): 1.25, (0, 1): 6.091, (-1, 1): 5.75, (0, 0): 1.364,
    }  # fmt: skip


def test_the_graph_is_a_convolution_between_types(published: str) -> None:
    extent = 2
    graph = FlyVisual(extent=extent, path=published).load()
    table = list(neurons(graph).values())
    kernel: dict[tuple[str, str, int, int], float] = {}
    e = graph.projections[0].synapses
    signed = e.weight * graph.signs(graph.projections[0])
    for post, pre, weight in zip(e.post, e.pre, signed, strict=True):
        a, b = table[pre], table[post]
        key = (a["cell_type"], b["cell_type"], b["u"] - a["u"], b["v"] - a["v"])
        assert kernel.setdefault(key, weight) == weight  # one number per pair of types and offset

    rates = np.random.default_rng(0).normal(size=len(table))
    by_cell = {(r["cell_type"], r["u"], r["v"]): x for r, x in zip(table, rates, strict=True)}
    filters = defaultdict(list)
    for (a, b, du, dv), weight in kernel.items():
        filters[b].append((a, du, dv, weight))
    convolved = [
        sum(w * by_cell.get((a, r["u"] - du, r["v"] - dv), 0) for a, du, dv, w in filters[name])
        for r in table
        for name in [r["cell_type"]]
    ]
    product = np.bincount(e.post, signed * rates[e.pre], len(table))
    np.testing.assert_allclose(product, convolved, rtol=1e-12, atol=1e-9)


# --- where the file is ----------------------------------------------------------------------------


def wheel(path: Path, *names: str) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, json.dumps(SMALL))
    return str(path)


def test_a_wheel_is_read(small: str, tmp_path: Path) -> None:
    path = wheel(tmp_path / "f.whl", "flyvis/__init__.py", f"{FOLDER}small_v1.json", "other.json")
    from_wheel = FlyVisual(extent=2, path=path).load()
    assert from_wheel.provenance == FlyVisual(extent=2, path=small).load().provenance


def test_the_installed_package_is_read_and_not_imported(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    Path(small).rename(tmp_path / FOLDER / "small_v1.json")
    (tmp_path / "flyvis/__init__.py").write_text("raise RuntimeError('imported')")
    info = tmp_path / "flyvis-1.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: flyvis\nVersion: 1.2.0\n")
    (info / "RECORD").write_text(f"flyvis/__init__.py,,\n{FOLDER}small_v1.json,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert FlyVisual(extent=1).load().n_neurons == 7 + 7 + 1 + 1
    assert "flyvis" not in sys.modules
    (tmp_path / FOLDER / "small_v1.json").unlink()
    # From Python 3.12 on, a missing file is not even listed as one of the package's.
    with pytest.raises(CompileError, match=r"no such file|has 0 files"):
        FlyVisual(extent=1).load()


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(CompileError, match="not installed") as caught:
        FlyVisual().load()
    assert "'.[fly-visual]'" in caught.value.hint
    assert "pip download --no-deps flyvis" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "problem"),
    [(["a.json"], "has 0 files"), ([f"{FOLDER}{x}.json" for x in "ab"], "has 2 files")],
)
def test_a_wheel_without_the_one_file(tmp_path: Path, names: list[str], problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        FlyVisual(path=wheel(tmp_path / "f.whl", *names)).load()


def test_a_truncated_wheel(tmp_path: Path) -> None:
    path = Path(wheel(tmp_path / "f.whl", f"{FOLDER}a.json"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CompileError, match="broken wheel"):
        FlyVisual(path=str(path)).load()


def test_a_wheel_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, n_bytes = wheel(tmp_path / "f.whl", f"{FOLDER}a.json"), len(json.dumps(SMALL))
    monkeypatch.setattr(fly_visual, "MAX_BYTES", n_bytes)
    FlyVisual(extent=1, path=path).load()
    monkeypatch.setattr(fly_visual, "MAX_BYTES", n_bytes - 1)
    with pytest.raises(CompileError, match=f"has {n_bytes} bytes, too many") as error:
        FlyVisual(extent=1, path=path).load()
    assert error.value.where == f"{path}, {FOLDER}a.json"


@pytest.mark.parametrize("extent", [-1, 101])
def test_an_eye_of_no_size(extent: int) -> None:
    with pytest.raises(CompileError, match=r"fly-visual\.extent"):
        FlyVisual(extent=extent)


# --- bad files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "broken JSON"),
        ('{"nodes": [', "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ("[]", "is not a flyvis connectome"),
        ({"nodes": []}, "no list 'edges'"),
        (changed(nodes=[]), "no cell type"),
        (changed(nodes=[3]), r"nodes\[0\]: name must be the name of a cell type, not None"),
        (changed(nodes=[node("A"), node("A")]), "'A' occurs twice"),
        (changed(nodes=[node("A", ["stride", [1, 0]])]), r"nodes\[0\] A: unknown pattern"),
        (changed(nodes=[node("A", "spiral")]), "unknown pattern 'spiral"),
        (changed(edges=[3]), r"edges\[0\]: src must be the name of a cell type, not None"),
        (changed(edges=[filter_("R1", "Mi1", [], 2)]), r"R1 -> Mi1: alpha must be .*, not 2"),
        (changed(edges=[filter_("R1", "Mi1", None)]), "offsets must be .*, not None"),
        (
            changed(edges=[filter_("R1", "Mi1", [[[0, 0], 0]])]),
            r"offsets\[0\]: .* is not an offset",
        ),
        (changed(edges=[filter_("R1", "Mi1", [[[0, 0], -1]])]), "is not an offset"),
        (changed(edges=[filter_("R1", "Mi1", [[[0, 0.5], 1]])]), "is not an offset"),
        (changed(edges=[filter_("R1", "Mi1", [[[0, 0], float("nan")]])]), "is not an offset"),
        (changed(edges=[filter_("R1", "Mi1", [[[0, 10**30], 1]])]), "is not an offset"),
        (changed(edges=[filter_("R1", "Mi1", [[[0, 0], 10**400]])]), "is not an offset"),
        (
            changed(edges=[filter_("R1", "Mi1", [[[1, 2], 1]])] * 2),
            r"edges\[1\] R1 -> Mi1, offsets\[0\]: \[1, 2\] occurs twice",
        ),
        (changed(edges=[filter_("R1", "Mi1", [], edge_type="gap")]), "edge_type 'gap'"),
        (changed(output_units=7), "no list 'output_units'"),
    ],
)
def test_a_bad_file_names_the_place(tmp_path: Path, spec: Any, message: str) -> None:
    with pytest.raises(CompileError, match=message) as caught:
        FlyVisual(path=write(tmp_path, spec)).load()
    assert "small_v1.json" in caught.value.where


@pytest.mark.parametrize(
    "spec", [changed(edges=[filter_("R1", "Mi2", [])]), changed(input_units=["Mi2"])]
)
def test_an_unknown_type_gets_the_nearest(tmp_path: Path, spec: Any) -> None:
    with pytest.raises(UnknownNameError, match="Mi2") as caught:
        FlyVisual(path=write(tmp_path, spec)).load()
    assert caught.value.hint == "did you mean 'Mi1'?"
