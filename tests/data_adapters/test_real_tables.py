"""Files that people published: the counts of a right reading. They do not ship."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from connectome_compiler import load_graph
from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph


def real(name: str) -> str:
    """Return the path of a published file; skip the test without it."""
    folder = os.environ.get("CCOMPILE_TEST_DATA", "")
    path = Path(folder) / "real_tables" / name
    if not folder or not path.exists():
        pytest.skip(f"{name} is not here")
    return str(path)


def counts(graph: Graph, kind: str = "chemical") -> tuple[int, int, float]:
    """Return neurons, connections (of gap junctions: pairs) and the sum of their weights."""
    found = [p.synapses for p in graph.projections if p.kind == kind]
    if not found:
        return graph.n_neurons, 0, 0
    once = found[0] if kind == "chemical" else found[0].keep(found[0].pre <= found[0].post)
    return graph.n_neurons, len(once.post), float(once.weight.sum())


def asked(**options: Any) -> list[str]:
    """Return the answers to the question that stops the reading."""
    with pytest.raises(UnsaidError) as caught:
        Table(**options).load()
    return [option for option, _ in caught.value.answers]


# --- lists, rules, cells --------------------------------------------------------------------------


def test_larva() -> None:
    edges, cells = (real(f"larva_localconnectome_{x}.csv") for x in ("edges", "neurons"))
    assert counts(Table(edges, cells).load()) == (2956, 110_677, 352_611)


def test_larva_by_its_recipe() -> None:
    edges, cells = (real(f"larva_localconnectome_{x}.csv") for x in ("edges", "neurons"))
    graph = load_graph("larva", after="source", edges=edges, cells=cells)
    assert counts(graph) == (2956, 110_677, 352_611)
    frames = load_graph(
        "larva", after="source", edges=pd.read_csv(edges), cells=pd.read_csv(cells).set_index("id")
    )
    assert frames == graph
    folder = Path(edges).parents[1] / "drosophila_larva_winding2023"
    if folder.is_dir():
        paths = {"edges": folder / "edges.csv.gz", "cells": folder / "neurons.csv.gz"}
        graph = load_graph("larva", after="source", **paths)
        assert counts(graph) == (3013, 111_243, 353_859)


def test_worm_of_openworm() -> None:
    graph = Table(real("openworm_connectome.csv")).load()
    assert counts(graph)[1:] == (2279, 6465)
    sign = graph.projections[0].synapses.sign
    assert sign is not None
    assert ((sign == -1).sum(), (sign == 1).sum()) == (200, 2079)


def test_worm_of_emmons() -> None:
    path = real("emmons_herm_full_edgelist.csv")
    with pytest.raises(CompileError, match="13 such pairs"):
        Table(path).load()
    assert asked(edges=path)[0] == "unequal=max"
    graph = Table(path, unequal="max").load()
    assert counts(graph)[1:] == (4681, 27_019)
    assert counts(graph, "electrical")[1:] == (1359, 6377)


def test_worm_of_varshney() -> None:
    graph = Table(real("varshney_neuronconnect.csv")).load()
    neurons = graph.populations[0].column("neuron_id").to_pylist()
    edges = graph.projections[0].synapses
    muscle = edges.post == neurons.index("NMJ")
    assert (int((~muscle).sum()), int(edges.weight[~muscle].sum())) == (2194, 6394)
    assert int(muscle.sum()) == 115
    _, pairs, _ = counts(graph, "electrical")
    gaps = graph.projections[1].synapses
    assert (pairs, int((gaps.pre == gaps.post).sum())) == (517, 3)
    notes = graph.provenance.steps[-1].notes
    assert any("3 rows of weight 0" in n for step in graph.provenance.steps for n in step.notes)
    assert notes


def test_worm_without_header() -> None:
    path = real("worm_chemical_headerless.csv")
    assert asked(edges=path) == ["header=none", "header=first"]
    assert counts(Table(path, header="none").load())[1] == 2284


def test_worm_as_a_matrix_with_labels_beside_it() -> None:
    matrix, labels = real("celegans277matrix.csv"), real("celegans277labels.csv")
    graph = Table(matrix, labels=labels, orientation="pre-post").load()
    assert counts(graph)[:2] == (277, 2105)
    assert "ADAL" in graph.populations[0].column("neuron_id").to_pylist()


def test_mushroom_body_of_the_larva() -> None:
    matrix, labels = real("larva_mb_left_adjacency.txt"), real("larva_mb_left_labels.csv")
    graph = Table(matrix, labels, cell_id="order", orientation="pre-post").load()
    assert counts(graph) == (209, 7425, 25_322)
    assert graph.populations[0].column("label").to_pylist().count("K") > 50


def test_h01() -> None:
    edges, cells = real("h01_edges.csv"), real("h01_neurons.csv")
    with pytest.raises(CompileError, match="occurs twice") as caught:
        Table(edges, cells).load()
    assert "37 of 13,329 ids" in caught.value.hint
    graph = Table(edges, cells, repeated_cells="first").load()
    assert counts(graph) == (13_329, 27_141, 36_614)
    assert {2, 3} <= set(graph.populations[0].column("layer").to_pylist())
    told = [n for step in graph.provenance.steps for n in step.notes]
    assert any("125 rows without an id dropped" in note for note in told)
    fewer = Table(edges, cells, repeated_cells="drop").load()
    assert fewer.n_neurons == 13_329 - 37


def test_hemibrain() -> None:
    path = real("hemibrain_cx_edgelist.csv")
    assert asked(edges=path)[0] == "unit=fraction"
    assert counts(Table(path, unit="fraction").load())[1] == 195


def test_flywire() -> None:
    edges, cells = (real(f"flywire_subset_{x}.parquet") for x in ("edges", "nodes"))
    graph = Table(edges, cells, species="fly").load()
    assert counts(graph) == (32_281, 49_439, 570_118)
    words = graph.populations[0].column("neurotransmitter").to_pylist()
    signs = graph.populations[0].column("sign").to_pylist()
    by_word = {w: signs[words.index(w)] for w in ("acetylcholine", "gaba", "glutamate")}
    assert by_word == {"acetylcholine": 1, "gaba": -1, "glutamate": -1}
    assert [words.count(w) for w in by_word] == [22_792, 1593, 4617]


def test_ids_of_shiu_stand_in_the_unnamed_column() -> None:
    cells = real("shiu_completeness_783.csv.gz")
    edges = real("flywire_subset_edges.parquet")
    graph = Table(edges, cells, unknown_neurons="drop").load()
    assert "ids in column0" in graph.provenance.steps[0].notes[0]
    assert graph.n_neurons > 100_000


def test_mouse() -> None:
    path = real("mouse_dti.edgelist")
    assert asked(edges=path) == ["header=none", "header=first"]
    assert counts(Table(path, header="none").load())[:2] == (332, 36_390)


def test_microns_cells_that_occur_twice() -> None:
    cells = real("microns_soma_valence_v185.csv")
    edges = Path(cells).parents[1] / "microns" / "layer23_phase1_synapses_v185.csv"
    with pytest.raises(CompileError, match="occurs twice") as caught:
        Table(str(edges), cells).load()
    assert "3 of 453 ids" in caught.value.hint
    graph = Table(str(edges), cells, species="mouse", repeated_cells="first").load()
    assert counts(graph) == (453, 1736, 1961)


# --- matrices, networks, formats ------------------------------------------------------------------

PRE_POST = {"orientation": "pre-post"}


def test_worm_of_cook_as_text() -> None:
    path = real("cook2019_herm_chem_adj.csv")
    assert asked(edges=path) == ["orientation=pre-post", "orientation=post-pre"]
    graph = Table(path, **PRE_POST).load()  # 300 rows, 454 columns: muscles have no outputs
    assert counts(graph) == (454, 4879, 28_113)
    path = real("cook2019_herm_elec_adj.csv")
    assert asked(edges=path) == ["kind=electrical", "kind=chemical"]
    assert counts(Table(path, kind="electrical").load(), "electrical")[:2] == (469, 1450)


def test_worm_with_labels_beside_the_matrix() -> None:
    path, labels = real("celegans277matrix.csv"), real("celegans277labels.csv")
    graph = Table(path, labels=labels, **PRE_POST).load()
    assert counts(graph)[:2] == (277, 2105)
    assert graph.populations[0].column("neuron_id").to_pylist()[:2] == ["ADAL", "ADAR"]


def test_larval_mushroom_body() -> None:
    graph = Table(real("larva_mb_left_adjacency.txt"), **PRE_POST).load()
    assert counts(graph) == (209, 7425, 25_322)
    graph = Table(
        real("larva_mb_left_adjacency.txt"), real("larva_mb_left_labels.csv"), cell_id="order",
        **PRE_POST,
    ).load()  # fmt: skip
    assert counts(graph) == (209, 7425, 25_322)


def test_pristionchus() -> None:
    path = real("pristionchus_bumbarger2013.xlsx")
    parts = [f'part="P. pacificus specimen {n}"' for n in (107, 148)]
    assert asked(edges=path) == parts
    rows = pd.read_excel(path, header=2)
    for n, part in ((107, rows.iloc[:, :3]), (148, rows.iloc[:, 3:])):
        pairs = part.dropna().iloc[:, 1:]
        graph = Table(path, part=f"P. pacificus specimen {n}").load()
        assert counts(graph)[1:] == (len(pairs.drop_duplicates()), len(pairs))


def test_arrays_of_numpy_and_matlab() -> None:
    graph = Table(real("bct_sample_directed.npy"), **PRE_POST).load()
    assert counts(graph) == (95, 2126, 3410)
    graph = Table(real("C_Macaque.npy"), unit="FLN", **PRE_POST).load()
    assert counts(graph) == pytest.approx((29, 536, 14.682001148413807))
    graph = Table(real("varshney_A_sendjoint.mat"), unit="synapses, joint ones by half", **PRE_POST)
    assert counts(graph.load()) == (279, 2194, 3911)


def test_networks_of_networkx() -> None:
    graph = Table(real("celegansneural.gml"), weight="value").load()
    assert counts(graph) == (297, 2345, 8799)
    path = real("ciona_nodelink.json")  # 17 of its weights are NaN
    with pytest.raises(CompileError, match="nan is not finite"):
        Table(path, unit="um").load()
    assert counts(Table(path, weight="none").load())[1] == 3122


def test_brain_of_tvb() -> None:
    path = real("tvb_connectivity_76.zip")
    assert asked(edges=path) == ["orientation=pre-post", "orientation=post-pre"]
    graph = Table(path, **PRE_POST).load()
    assert counts(graph) == pytest.approx((76, 1560, 2988.8456621165))
    assert graph.projections[0].synapses.unit == "au"
    assert graph.populations[0].column("neuron_id").to_pylist()[0] == "lA1"


def test_circuits_of_sonata() -> None:
    edges, cells = (real(f"sonata_300_pointneurons/internal_{x}.h5") for x in
                    ("internal_edges", "nodes"))  # fmt: skip
    options: dict[str, Any] = {"edges": edges, "cells": cells}
    assert asked(**options)[0] == "signs=weight"
    graph = Table(**options, signs="weight", unit="nS").load()
    e = graph.projections[0].synapses
    assert e.sign is not None
    assert (len(e.post), int((e.sign == -1).sum())) == (27_588, 8_972)
    assert float((e.weight * e.sign).sum()) == pytest.approx(19_700.5)
    edges, cells = (real(f"sonata_300_intfire/v1_{x}.h5") for x in ("v1_edges", "nodes"))
    graph = Table(edges, cells).load()
    assert counts(graph)[1:] == (61_560, 615_600)
    assert set(graph.populations[0].column("sign").to_pylist()) == {1, -1}
    edges, cells = (real(f"sonata_layer4/l4_{x}.h5") for x in ("l4_edges", "nodes"))
    graph = Table(edges, cells, weight="none").load()
    assert counts(graph) == (449, 9417, 47_020)
    angle = graph.populations[0].column("tuning_angle")
    assert 0 < angle.null_count < 449


# --- data in memory -------------------------------------------------------------------------------
