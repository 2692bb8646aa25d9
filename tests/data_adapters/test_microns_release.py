from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from connectome_compiler.data_adapters import microns_release
from connectome_compiler.data_adapters.microns_release import RELEASES, MicronsRelease
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph

MANUAL = "allen_v1_column_types_slanted_ref"
ROOT = 864691135000000001  # above 2**53
Rows = list[dict[str, Any]]

CELLS = (
    *("id", "pt_root_id", "nuc_volume", "broad_type", "broad_type_source"),
    *("cell_type", "cell_type_source", "mtype", "mtype_source", "dendrite_cleaned"),
    *("axon_cleaned", "axon_strategy", "visual_area"),
    *("pt_position_x", "pt_position_y", "pt_position_z"),
)
SYNAPSES = (
    *("id", "ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z", "size"),
    *("pre_pt_supervoxel_id", "pre_pt_root_id", "post_pt_supervoxel_id", "post_pt_root_id"),
    "strategy_axon",
)
PROOFREADING = (
    *("id", "valid", "valid_id", "status_dendrite", "status_axon"),
    *("strategy_dendrite", "strategy_axon"),
    *("pt_position_x", "pt_position_y", "pt_position_z", "pt_supervoxel_id", "pt_root_id"),
)
STRATEGIES = {
    "axon_partially_extended": "partial",
    "axon_interareal": "partial",
    "axon_fully_extended": "full",
}
TYPES = [
    ("excitatory", "23P", "L2/3"),
    ("excitatory", "5P-ET", "L5"),
    ("excitatory", "Unsure E", None),
    ("inhibitory", "BC", None),
    ("nonneuron", "astrocyte", None),
    ("excitatory", "Unsure", None),
    ("", "", None),
]


def made(seed: int = 0, manual: bool = True) -> dict[str, Rows]:
    """Make tables of the release's shape with its traps: a few hundred rows each."""
    rng = random.Random(seed)
    cells: Rows = []
    for k in range(300):
        broad, fine, _ = rng.choices(TYPES, (8, 4, 1, 4, 2, 1, 1))[0]
        # Somata within and around the prism of the column, at all depths.
        cell = dict.fromkeys(CELLS, "") | {
            "id": 200_000 + 7 * k,
            "pt_root_id": ROOT + rng.randrange(10**6) * 1000 + k,
            "nuc_volume": round(rng.uniform(100, 400), 3),
            "broad_type": broad,
            "cell_type": fine,
            "cell_type_source": (
                rng.choice([MANUAL, "aibs_metamodel_celltypes_v661"]) if manual else ""
            ),
            "dendrite_cleaned": rng.choice("tf"),
            "visual_area": "V1",
            "pt_position_x": 180_000 + rng.randrange(-20_000, 20_000),
            "pt_position_y": rng.randrange(90_000, 260_000),
            "pt_position_z": 21_500 + rng.randrange(-2_500, 2_500),
        }
        cells.append(cell)
    for k in (3, 50, 51):
        cells[k]["pt_root_id"] = 0
    cells[11]["pt_root_id"] = cells[10]["pt_root_id"]  # two somata on one segment
    cells[12]["pt_root_id"] = cells[10]["pt_root_id"]
    rng.shuffle(cells)

    roots = [c["pt_root_id"] for c in cells]
    proofreading: Rows = []
    for k, root in enumerate(rng.sample(roots, 200)):
        axon = rng.random() < 0.8
        edited = rng.random() < 0.1  # since the proofreading was assessed
        proofreading.append(
            dict.fromkeys(PROOFREADING, "1")
            | {
                "id": k,
                "valid": "t",
                "pt_root_id": root,
                "valid_id": root + 1 if edited else root,
                "status_dendrite": "t",
                "status_axon": "t" if axon else "f",
                "strategy_axon": rng.choice(list(STRATEGIES)) if axon else "none",
            }
        )
    read = [p["pt_root_id"] for p in proofreading if p["status_axon"] == "t"]
    synapses: Rows = []
    for k in range(3000):
        pre = rng.choice(read)
        post = rng.choice([*roots, pre, ROOT - 5])  # autapses; partners that are not cells
        synapse = dict.fromkeys(SYNAPSES, "1") | {
            "id": k,
            "size": rng.randrange(1, 20_000),
            "pre_pt_root_id": pre,
            "post_pt_root_id": post,
            "strategy_axon": "axon_partially_extended",
        }
        synapses.extend([synapse] * rng.choice((1, 1, 1, 2, 5)))
    return {"cells": cells, "synapses": synapses, "proofreading": proofreading}


COLUMNS = {"cells": CELLS, "synapses": SYNAPSES, "proofreading": PROOFREADING}


@pytest.fixture
def release(publish: Callable[..., Any]) -> Callable[..., Any]:
    def put(tables: dict[str, Rows], columns: dict[str, Any] = COLUMNS) -> Any:
        return publish(
            **{
                role: (list(columns[role]), [[str(r[c]) for c in columns[role]] for r in rows])
                for role, rows in tables.items()
            }
        )

    return put


def reference(tables: dict[str, Rows], coverage: str = "proofread") -> dict[str, Any]:
    """Choose and count by plain loops: the meaning of the adapter, slowly."""
    on_root = Counter(c["pt_root_id"] for c in tables["cells"])
    cells = [c for c in tables["cells"] if c["pt_root_id"] != 0]
    cells = [c for c in cells if on_root[c["pt_root_id"]] == 1]
    cells = [c for c in cells if c["cell_type_source"] == MANUAL]
    cells = [c for c in cells if c["broad_type"] in ("excitatory", "inhibitory")]
    cells = [c for c in cells if c["cell_type"] != "Unsure"]
    followed = {
        p["pt_root_id"]: STRATEGIES[p["strategy_axon"]]
        for p in tables["proofreading"]
        if p["status_axon"] == "t" and p["valid_id"] == p["pt_root_id"]
    }
    nucleus = {c["pt_root_id"]: c["id"] for c in cells}
    n, size = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for s in tables["synapses"]:
        pre, post = s["pre_pt_root_id"], s["post_pt_root_id"]
        if pre in nucleus and post in nucleus and (pre in followed or coverage == "all"):
            n[nucleus[post], nucleus[pre]] += 1
            size[nucleus[post], nucleus[pre]] += s["size"]
    unread: str | None = "none"
    told = {c["id"]: followed.get(c["pt_root_id"], unread) for c in cells}
    if coverage == "all":  # what an unread axon contacts is kept, wherever it ends
        listed = {nucleus.get(s["pre_pt_root_id"]) for s in tables["synapses"]}
        told |= {k: None for k, v in told.items() if v == "none" and k in listed}
    return {
        "coverage": told,
        "class": {c["id"]: c["broad_type"] for c in cells},
        "n": dict(n),
        "size": dict(size),
    }


def found(graph: Graph) -> dict[str, Any]:
    (population,), (projection,) = graph.populations, graph.projections
    ids = population.column("neuron_id").to_pylist()
    edges = projection.synapses
    assert edges.size is not None
    pairs = [(ids[i], ids[j]) for i, j in zip(edges.post, edges.pre, strict=True)]
    return {
        "coverage": dict(zip(ids, population.column("axon_coverage").to_pylist(), strict=True)),
        "class": dict(zip(ids, population.column("cell_class").to_pylist(), strict=True)),
        "n": dict(zip(pairs, edges.weight.tolist(), strict=True)),
        "size": dict(zip(pairs, edges.size.tolist(), strict=True)),
    }


@pytest.mark.parametrize("coverage", ["proofread", "all"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_a_slow_reference(
    release: Callable[..., Any], seed: int, coverage: Any
) -> None:
    tables = made(seed)
    release(tables)
    expected = reference(tables, coverage)
    assert found(MicronsRelease(coverage=coverage).load()) == expected
    assert any(post == pre for post, pre in expected["n"])  # autapses: a later pass drops them
    levels = {"none", "partial", "full"} | ({None} if coverage == "all" else set())
    assert set(expected["coverage"].values()) == levels


def test_what_was_dropped_is_counted(release: Callable[..., Any]) -> None:
    tables = made()
    release(tables)
    graph = MicronsRelease().load()
    steps = {s.name: s for s in graph.provenance.steps}
    assert list(steps) == [
        "read-cells",
        "drop-cells-without-segment",
        "drop-merged-cells",
        "select-column",
        "keep-typed-neurons",
        "read-proofreading",
        "read-synapses",
    ]
    assert steps["read-cells"].n_neurons_after == 300
    assert steps["drop-cells-without-segment"].n_neurons_after == 297
    merged = steps["drop-merged-cells"]
    assert merged.n_neurons_after == 294
    assert merged.notes == ("3 cells share 1 segments: merged neurons",)
    assert "1,351 to 1,355" in " ".join(steps["keep-typed-neurons"].notes)
    kinds = Counter(
        "unsure" if c["cell_type"] == "Unsure" else c["broad_type"]
        for c in tables["cells"]
        if c["cell_type_source"] == MANUAL and c["pt_root_id"]
    )
    typed = " ".join(steps["keep-typed-neurons"].notes)
    assert f"{kinds['nonneuron']} non-neurons" in typed
    assert f"{kinds['unsure']} neurons of unsure type" in typed
    last = steps["read-synapses"]
    assert last.n_connections_after == graph.n_connections
    assert f"{len(tables['synapses']):,} synapses of proofread axons" in last.notes[0]


def test_layers_positions_and_further_columns(release: Callable[..., Any]) -> None:
    tables = made()
    release(tables)
    (population,) = MicronsRelease().load().populations
    rows = {r["neuron_id"]: r for r in population.neurons.to_pylist()}
    cells = {c["id"]: c for c in tables["cells"]}
    layers = {fine: layer for _, fine, layer in TYPES}
    seen = defaultdict(set)
    for neuron, row in rows.items():
        cell = cells[neuron]
        assert row["root_id"] == cell["pt_root_id"]
        assert row["nuc_volume"] == cell["nuc_volume"]
        assert row["region"] == "V1"
        assert row["z_um"] == pytest.approx(cell["pt_position_z"] * 0.04)
        if layers[cell["cell_type"]]:
            assert row["cortical_layer"] == layers[cell["cell_type"]]
        else:
            seen[row["cortical_layer"]].add(row["y_um"])
    assert max(seen["L2/3"]) < 258 <= min(seen["L4"])
    assert max(seen["L5"]) < 506 <= min(seen["L6"])


def test_the_prism_where_no_table_typed_the_column(release: Callable[..., Any]) -> None:
    release(made(manual=False))
    graph = MicronsRelease().load()
    (step,) = (s for s in graph.provenance.steps if s.name == "select-column")
    assert "slanted prism of 100 x 100 um" in step.notes[0]
    assert 0 < step.n_neurons_after < step.n_neurons_before
    wider = MicronsRelease(prism_width_um=150).load()
    assert wider.n_neurons > graph.n_neurons
    assert MicronsRelease(column="all").load().n_neurons > wider.n_neurons
    with pytest.raises(CompileError, match="no cell was typed by"):
        MicronsRelease(column="types").load()


def test_provenance_says_what_and_whose_it_is(release: Callable[..., Any]) -> None:
    release(made())
    provenance = MicronsRelease().load().provenance
    assert provenance.source == "microns-v1@1507"
    assert provenance.connectivity is Evidence.MEASURED
    assert provenance.licence.startswith("CC BY 4.0")
    assert "10.1038/s41586-025-08790-w" in provenance.citations[0]
    files = {f.name: f for f in provenance.files}
    assert len(files) == 6
    pinned = RELEASES[1507].cells.table
    assert files[pinned.name].sha256 == pinned.sha256
    assert files[pinned.name].address == RELEASES[1507].address + pinned.name


def test_the_order_of_columns_is_read_not_assumed(release: Callable[..., Any]) -> None:
    tables = made()
    release(tables)
    expected = MicronsRelease().load().digest()
    # the header file names them, so another order is not a trap
    release(tables, COLUMNS | {"synapses": SYNAPSES[::-1], "proofreading": PROOFREADING[::-1]})
    assert MicronsRelease().load().digest() == expected


@pytest.mark.parametrize(
    ("role", "column", "value", "problem"),
    [
        ("cells", "broad_type", "V1", "'V1' is not a known class"),
        ("cells", "pt_root_id", "8.6e17", "1 rows have no whole number"),
        ("cells", "id", "", "1 rows have no whole number"),
        ("cells", "id", 200_000, "nucleus 200000 occurs twice"),
        ("proofreading", "status_axon", "yes", "'yes' must be t or f"),
        ("proofreading", "strategy_axon", "t", "'t' is not a known strategy"),
        ("proofreading", "valid_id", "t", "1 rows have no whole number"),
        ("synapses", "size", "", "1 rows have no size"),
        ("synapses", "size", -4, "1 rows have no size"),
        ("synapses", "pre_pt_root_id", "abc", "Could not convert"),
    ],
)
def test_a_column_that_does_not_hold_what_its_name_says_is_refused(
    release: Callable[..., Any], role: str, column: str, value: Any, problem: str
) -> None:
    tables = made()
    rows = tables[role]
    at = next(k for k, r in enumerate(rows) if str(r[column]) != str(value))
    rows[at] = rows[at] | {column: value}
    release(tables)
    with pytest.raises(CompileError, match=problem) as caught:
        MicronsRelease().load()
    assert RELEASES[1507].__getattribute__(role).table.name in caught.value.where


@pytest.mark.parametrize(
    ("role", "file", "columns"),
    [
        (
            "cells",
            "aibs_cell_info_merged_header.csv",
            (
                *("id", "pt_root_id", "broad_type", "cell_type", "mtype"),
                *("pt_position_x", "pt_position_y", "pt_position_z"),
            ),
        ),
        (
            "proofreading",
            "proofreading_status_and_strategy_merged_header.csv",
            ("pt_root_id", "valid_id", "status_axon", "strategy_axon"),
        ),
        (
            "synapses",
            "synapses_with_axon_proofreading_header.csv",
            ("pre_pt_root_id", "post_pt_root_id", "size"),
        ),
    ],
)
def test_a_header_without_a_column_that_is_needed_is_refused(
    release: Callable[..., Any], role: str, file: str, columns: tuple[str, ...]
) -> None:
    tables = made()
    for column in columns:
        release(tables, COLUMNS | {role: [c for c in COLUMNS[role] if c != column]})
        with pytest.raises(CompileError) as caught:
            MicronsRelease().load()
        assert (caught.value.where, caught.value.problem) == (file, f"names no column {column}")


def test_rows_are_counted(release: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    release(made())
    whole = RELEASES[1507]
    table = replace(whole.synapses.table, n_rows=5)
    short = replace(whole, synapses=replace(whole.synapses, table=table))
    monkeypatch.setitem(microns_release.RELEASES, 1507, short)
    with pytest.raises(CompileError, match=r"rows, expected 5"):
        MicronsRelease().load()


def test_two_loads_are_equal_and_the_cache_serves_the_second(
    release: Callable[..., Any],
) -> None:
    server = release(made())
    first = MicronsRelease().load()
    assert len(server.requests) == 6
    assert MicronsRelease().load().digest() == first.digest()
    assert len(server.requests) == 6


def test_an_unknown_version_names_the_known() -> None:
    with pytest.raises(CompileError, match="there is no known export of version 1300") as caught:
        MicronsRelease(version=1300).load()
    assert caught.value.hint == "known versions: 1507"
