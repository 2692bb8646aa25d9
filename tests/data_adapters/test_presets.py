"""Presets, on small made files with the headers that the releases document."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as pf
import pytest
from references import edges

from connectome_compiler.data_adapters._presets import PRESETS, about, find_preset, role_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.recipe import load_recipe, shipped
from connectome_compiler.views import catalogue

ROOT = Path(__file__).parents[2]
A, B, C, D = (720575940600000000 + k for k in (27034171, 21039145, 38471639, 5567277))


def csv(path: Path, header: str, *rows: tuple[Any, ...]) -> str:
    lines = [header, *(",".join("" if v is None else str(v) for v in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def feather(path: Path, header: str, *rows: tuple[Any, ...]) -> str:
    columns = zip(*rows, strict=True)
    pf.write_feather(pa.table(dict(zip(header.split(","), map(list, columns), strict=True))), path)
    return str(path)


def column(graph: Graph, name: str) -> list[Any]:
    values: list[Any] = graph.populations[0].column(name).to_pylist()
    return values


def column_by_id(graph: Graph, name: str) -> dict[Any, Any]:
    return dict(zip(column(graph, "neuron_id"), column(graph, name), strict=True))


def weights(graph: Graph) -> dict[tuple[Any, Any], Any]:
    return {key[1:]: value[0] for key, value in edges(graph).items()}


def notes(graph: Graph) -> str:
    return "\n".join(note for step in graph.provenance.steps for note in step.notes)


CODEX = "pre_root_id,post_root_id,neuropil,syn_count,nt_type"
NEURONS = "root_id,group,nt_type,nt_type_score,da_avg,ser_avg,gaba_avg,glut_avg,ach_avg,oct_avg"
CLASSIFICATION = "root_id,flow,super_class,class,sub_class,hemilineage,side,nerve"
TYPES = "root_id,primary_type,additional_type(s)"
COORDINATES = "root_id,position,supervoxel_id"


@pytest.fixture
def codex(tmp_path: Path) -> dict[str, str]:
    """Files of Codex for FlyWire, under names of a browser's choice."""
    return {
        "edges": csv(
            tmp_path / "data (3).csv", CODEX,
            (A, B, "AL_R", 3, "ACH"), (A, B, "LH_R", 2, "ACH"), (B, A, "AL_R", 4, "GABA"),
            (C, A, "AL_R", 9, "ACH"), (C, A, "MB_CA_R", 1, "DA"), (A, D, "AL_R", 5, ""),
        ),
        "neurons": csv(
            tmp_path / "n.csv", NEURONS,
            (A, "AL.LH", "ACH", 0.8, 0, 0, 0.1, 0.1, 0.8, 0),
            (B, "AL", "GLUT", 0.6, 0, 0, 0.3, 0.6, 0.1, 0),
            (C, "AL", "", "", "", "", "", "", "", ""),
            (D, "AL", "SER", 0.5, 0, 0.5, 0, 0, 0.4, 0),
        ),
        "classification": csv(
            tmp_path / "c.csv", CLASSIFICATION,
            (A, "intrinsic", "central", "ALPN", "uni", "ALad1", "right", ""),
            (B, "intrinsic", "central", "ALLN", "", "", "left", ""),
            (C, "afferent", "sensory", "olfactory", "", "", "left", "AN"),
            (D, "efferent", "motor", "", "", "", "left", ""),
        ),
        "types": csv(tmp_path / "t.csv", TYPES, (A, "DM1_lPN", ""), (C, "ORN_DM1", "x")),
        "coordinates": csv(
            tmp_path / "k.csv", COORDINATES,
            (A, "[100000 50000 2500]", 1), (A, "[1 1 1]", 2), (B, "[200000 1000 100]", 3),
        ),
    }  # fmt: skip


def test_flywire_codex(codex: dict[str, str]) -> None:
    cells = ",".join(codex[k] for k in ("neurons", "classification", "types", "coordinates"))
    graph = Table(codex["edges"], cells, min_weight=5).load()
    # Rows of a pair are summed over neuropils before the threshold.
    assert weights(graph) == {(A, B): 5, (C, A): 10, (A, D): 5}
    by_id = partial(column_by_id, graph)
    # What the neurons' own table leaves open, most of the output synapses tell.
    assert by_id("neurotransmitter") == {
        A: "acetylcholine", B: "glutamate", C: "acetylcholine", D: "serotonin"
    }  # fmt: skip
    assert by_id("sign") == {A: 1, B: -1, C: 1, D: None}
    assert by_id("role") == {A: "inter", B: "inter", C: "sensory", D: "motor"}
    assert by_id("super_class") == {A: "central", B: "central", C: "sensory", D: "motor"}
    assert by_id("cell_type") == {A: "DM1_lPN", B: None, C: "ORN_DM1", D: None}
    assert by_id("cell_class") == {A: "ALPN", B: "ALLN", C: "olfactory", D: None}
    assert by_id("side") == {A: "right", B: "left", C: "left", D: "left"}
    assert by_id("x_um") == {A: 400, B: 800, C: None, D: None}
    assert by_id("z_um") == {A: 100, B: 4, C: None, D: None}
    origin = graph.provenance
    assert origin.dataset == "flywire"
    assert "BY-NC" in origin.licence
    assert "CC BY 4.0" in origin.licence
    assert any("Dorkenwald" in c for c in origin.citations)
    text = notes(graph)
    assert "preset flywire" in text
    assert "connections of FlyWire Codex" in text
    assert "coordinates of Codex: 3 rows, ids in root_id; 1 additional rows of a cell" in text
    assert "3 from column nt_type, 1 from the transmitters of the synapses; 0 unknown" in text


def test_the_order_of_files_of_cells_does_not_matter(codex: dict[str, str]) -> None:
    files = [codex[k] for k in ("neurons", "classification", "types", "coordinates")]
    one, two = (Table(codex["edges"], ",".join(order)).load() for order in (files, files[::-1]))
    for name in ("neuron_id", "neurotransmitter", "sign", "role", "cell_type", "x_um"):
        assert column(one, name) == column(two, name)


def test_without_files_of_cells_the_synapses_tell_the_transmitters(codex: dict[str, str]) -> None:
    graph = Table(codex["edges"]).load()
    assert column_by_id(graph, "sign") == {A: 1, B: -1, C: 1, D: None}
    assert column(Table(codex["edges"], species="none").load(), "sign") == [None] * 4
    plain = Table(codex["edges"], preset="none")
    assert column(plain.load(), "neurotransmitter") == column(graph, "neurotransmitter")
    without = replace(plain, transmitter="none").load()
    assert set(column(without, "neurotransmitter")) == {None}


def test_positions_in_nanometres_are_told_by_their_size(
    codex: dict[str, str], tmp_path: Path
) -> None:
    rows = csv(tmp_path / "k2.csv", COORDINATES, (A, "[400000 200000 100000]", 1))
    graph = Table(codex["edges"], f"{codex['neurons']},{rows}").load()
    assert [z for z in column(graph, "z_um") if z is not None] == [pytest.approx(100)]
    wrong = csv(tmp_path / "k3.csv", COORDINATES, (A, "somewhere", 1))
    with pytest.raises(CompileError, match="'somewhere' is not a position") as caught:
        Table(codex["edges"], f"{codex['neurons']},{wrong}").load()
    assert caught.value.where.endswith("k3.csv, line 2, column position")


def test_names_of_people_are_never_read(codex: dict[str, str], tmp_path: Path) -> None:
    header = (
        "root_id,label,user_id,position,supervoxel_id,label_id,date_created,user_name,"
        "user_affiliation"
    )
    labels = csv(tmp_path / "l.csv", header, (A, "x", 1, "[1 2 3]", 2, 3, "d", "N. N.", "here"))
    with pytest.raises(CompileError, match=r"names people .column user_name") as caught:
        Table(codex["edges"], f"{codex['neurons']},{labels}").load()
    assert caught.value.where.endswith("l.csv")


ZENODO = (
    "pre_pt_root_id,post_pt_root_id,neuropil,syn_count,gaba_avg,ach_avg,glut_avg,oct_avg,"
    "ser_avg,da_avg"
)
ANNOTATIONS = (
    "supervoxel_id,root_id,pos_x,pos_y,pos_z,soma_x,soma_y,soma_z,nucleus_id,flow,super_class,"
    "cell_class,cell_sub_class,supertype,cell_type,hemibrain_type,ito_lee_hemilineage,"
    "hartenstein_hemilineage,top_nt,top_nt_conf,known_nt,known_nt_source,side,nerve,vfb_id,"
    "fbbt_id,status"
)


def annotation(root: int, **given: Any) -> tuple[Any, ...]:
    filled = {"root_id": root, "supervoxel_id": root - 1, **given}
    return tuple(filled.get(name) for name in ANNOTATIONS.split(","))


def test_flywire_zenodo_prefers_known_transmitters_then_the_synapses(tmp_path: Path) -> None:
    """The trap: ``top_nt`` of Kenyon cells is dopamine, ``known_nt`` acetylcholine."""
    rows = feather(
        tmp_path / "p", ZENODO,
        (A, B, "MB", 2, 0.0, 0.2, 0.0, 0.0, 0.0, 0.8),
        (A, C, "MB", 8, 0.1, 0.2, 0.1, 0.1, 0.1, 0.4),
        # By rows glutamate would win, by synapses GABA does.
        (B, A, "MB", 9, 0.6, 0.1, 0.3, 0.0, 0.0, 0.0),
        (B, A, "LH", 1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
        (C, A, "MB", 5, 0.0, 0.9, 0.0, 0.0, 0.1, 0.0),
    )  # fmt: skip
    tsv = tmp_path / "a.tsv"
    annotations = csv(
        tsv, ANNOTATIONS,
        annotation(A, top_nt="dopamine", known_nt="acetylcholine", cell_class="Kenyon_Cell",
                   pos_x=1000, pos_y=2000, pos_z=100, super_class="central"),
        annotation(B, top_nt="glutamate"),
        annotation(C, top_nt="dopamine", super_class="ascending", known_nt="serotonin, GABA"),
        annotation(D, top_nt="gaba", super_class="endocrine"),
    )  # fmt: skip
    text = tsv.read_text()
    tsv.write_text(text.replace(",", "\t").replace("serotonin\t GABA", "serotonin, GABA"))
    graph = Table(rows, annotations).load()
    by_id = partial(column_by_id, graph)
    assert by_id("neurotransmitter") == {
        A: "acetylcholine", B: "gaba", C: "serotonin+gaba", D: "gaba"
    }  # fmt: skip
    assert by_id("sign") == {A: 1, B: -1, C: -1, D: -1}
    assert by_id("role") == {A: "inter", B: None, C: "inter", D: None}
    assert by_id("x_um")[A] == 4
    assert by_id("z_um")[A] == 4
    assert by_id("top_nt")[A] == "dopamine"
    assert weights(graph)[B, A] == 10
    told = "2 from column known_nt, 1 from the transmitters of the synapses, 1 from column top_nt"
    assert told in notes(graph)


def test_the_model_of_shiu_has_signs_of_connections(tmp_path: Path) -> None:
    header = (
        "Presynaptic_ID,Postsynaptic_ID,Presynaptic_Index,Postsynaptic_Index,Connectivity,"
        "Excitatory,Excitatory x Connectivity"
    )
    rows = feather(tmp_path / "c", header, (A, B, 0, 1, 7, 1, 7), (B, A, 1, 0, 5, -1, -5))
    graph = Table(rows).load()
    assert {k[1:]: (v[0], v[2]) for k, v in edges(graph).items()} == {
        (A, B): (7, 1),
        (B, A): (5, -1),
    }
    assert any("Shiu" in c for c in graph.provenance.citations)


def test_codex_of_other_data_sets_is_not_flywire(tmp_path: Path) -> None:
    rows = csv(
        tmp_path / "e", "Pre Root ID,Post Root ID,Neuropil,Syn Count,NT Type",
        (10, 20, "AL", 4, "ACH"), (20, 10, "AL", 2, "GLUT"),
    )  # fmt: skip
    cells = csv(
        tmp_path / "c",
        "Root ID,Flow,Super Class,Class,Soma side,Primary Cell Type,Predicted NT type,"
        "Predicted NT confidence,Verified NT type",
        (10, "intrinsic", "cb_intrinsic", "x", "L", "T1", "GABA", 0.9, ""),
        (20, "efferent", "vnc_motor", "y", "R", "T2", "ACH", 0.9, "GLUT"),
    )
    graph = Table(rows, cells).load()
    assert column(graph, "cell_type") == ["T1", "T2"]
    assert column(graph, "neurotransmitter") == ["acetylcholine", "glutamate"]
    assert column(graph, "role") == ["inter", "motor"]
    assert graph.provenance.dataset == "codex"
    assert "FlyWire" not in graph.provenance.title


ANNOTATED = (
    "bodyId,type,instance,somaSide,superclass,class,subclass,status,statusLabel,flywireType,"
    "hemibrainType,mancType,somaLocation"
)
PREDICTED = (
    "body,cell_type,total_nt_predictions,predicted_nt_confidence,predicted_nt,ground_truth,"
    "celltype_total_nt_predictions,celltype_predicted_nt,celltype_predicted_nt_confidence,"
    "consensus_nt"
)


@pytest.mark.parametrize("types", [False, True])
def test_malecns_keeps_what_has_a_superclass(tmp_path: Path, types: bool) -> None:
    header = "body_pre,body_post,weight" + (",type_pre,type_post" if types else "")
    more = ("a", "b") if types else ()
    rows = feather(
        tmp_path / "w", header,
        *((a, b, n, *more) for a, b, n in ((1, 2, 3), (2, 1, 1), (3, 1, 9), (1, 77, 2))),
    )  # fmt: skip

    def word(i: int, superclass: str | None, soma: list[int] | None) -> tuple[Any, ...]:
        return i, f"T{i}", "x", "L", superclass, "c", "s", "Traced", "t", "f", "h", "m", soma

    annotations = feather(
        tmp_path / "a", ANNOTATED,
        word(2, "vnc_motor", [1, 2, 3]), word(1, "cb_intrinsic", [4, 5, 6]), word(3, None, None),
    )  # fmt: skip

    def nt(i: int, predicted: str, consensus: str) -> tuple[Any, ...]:
        return i, "T", 9, 0.9, predicted, None, 9, predicted, 0.9, consensus

    predictions = feather(
        tmp_path / "n", PREDICTED,
        nt(1, "gaba", "histamine"), nt(2, "acetylcholine", "unclear"), nt(3, "gaba", "gaba"),
    )  # fmt: skip
    cells = f"{predictions},{annotations}"
    with pytest.raises(CompileError, match="77 is not in the cell table") as caught:
        Table(rows, cells).load()
    assert "unknown_neurons=drop" in caught.value.hint
    graph = Table(rows, cells, unknown_neurons="drop").load()
    assert column(graph, "neuron_id") == [1, 2]
    assert weights(graph) == {(1, 2): 3, (2, 1): 1}
    assert column(graph, "sign") == [-1, None]  # a consensus that is unclear stays so
    assert column(graph, "role") == ["inter", "motor"]
    assert column(graph, "somaLocation") == ["[4, 5, 6]", "[1, 2, 3]"]
    assert graph.provenance.licence == "CC BY 4.0"
    text = notes(graph)
    assert "1 cells without a superclass dropped" in text
    assert "1 rows from or to cells that are not kept" in text
    assert "1 rows from or to cells not in the cell table" in text


def test_malecns_without_a_superclass(tmp_path: Path) -> None:
    rows = feather(tmp_path / "w", "body_pre,body_post,weight", (1, 2, 3))
    graph = Table(rows, feather(tmp_path / "a", "bodyId,side", (1, "L"), (2, "R"))).load()
    assert column(graph, "neuron_id") == [1, 2]
    assert "no column superclass: every cell counts" in notes(graph)
    nobody = feather(tmp_path / "b", "bodyId,side,superclass", (1, "L", ""), (2, "R", " "))
    with pytest.raises(CompileError, match="no neuron is left") as caught:
        Table(rows, nobody).load()
    assert caught.value.where == nobody
    assert "2 cells without a superclass" in caught.value.hint


def test_hemibrain_and_neuprint_have_the_same_columns(tmp_path: Path) -> None:
    rows = csv(
        tmp_path / "r.csv", "bodyId_pre,bodyId_post,roi,weight",
        (200326126, 264878097, "FB", 4), (200326126, 264878097, "EB", 3),
    )  # fmt: skip
    cells = csv(
        tmp_path / "n.csv", "bodyId,type,instance", (200326126, "CX", "a"), (264878097, "", "")
    )
    with pytest.raises(CompileError, match=r"once per region \(EB, FB\)"):
        Table(rows, cells).load()
    graph = Table(rows, cells, roi="sum").load()
    assert graph.provenance.dataset == "neuprint"
    assert weights(graph) == {(200326126, 264878097): 7}
    assert column(graph, "cell_type") == ["CX", None]
    assert "preset=hemibrain" in notes(graph)
    graph = Table(rows, cells, preset="hemibrain", roi="sum").load()
    assert graph.provenance.dataset == "hemibrain"
    assert graph.provenance.licence == "CC BY 4.0"


def test_neuprint_node_properties(tmp_path: Path) -> None:
    rows = csv(tmp_path / "r.csv", "bodyId_pre,bodyId_post,weight", (1, 2, 4), (2, 1, 1))
    cells = csv(
        tmp_path / "n.csv",
        "bodyId,type,instance,somaSide,superclass,class,status,consensusNt,predictedNt,pre,post",
        (1, "T", "T_L", "L", "cb_intrinsic", "", "Traced", "GABA", "ACH", 5, 6),
        (2, "U", "U_R", "R", "cb_motor", "", "Traced", "", "ACH", 7, 8),
    )
    graph = Table(rows, cells, species="fly").load()
    assert column(graph, "sign") == [-1, None]
    assert column(graph, "post") == [6, 8]


def test_the_larva_is_read_in_each_layout(tmp_path: Path) -> None:
    compartments = csv(
        tmp_path / "a", "pre_id,post_id,pre_class_label,post_class_label,syn_num,excitation_type",
        (29, 37365, "AXON", "DENDRITE", 2, 1), (29, 37365, "AXON", "AXON", 1, 1),
        (37365, 29, "AXON", "DENDRITE", 2, 0),
    )  # fmt: skip
    listed = csv(tmp_path / "b", "pre,post,weight", (29, 37365, 3), (37365, 29, 2))
    matrix = csv(tmp_path / "c", ",29,37365", (29, 0, 3), (37365, 2, 0))
    cells = csv(
        tmp_path / "d", "id,name,class,subclass,group,io,hemisphere,pair",
        (29, "KC #0", "KC", "", "KCs", "inter", "R", -1),
        (37365, "Rh6", "sens", "", "", "", "L", -1),
    )  # fmt: skip
    for path, papers in ((compartments, 1), (listed, 2), (matrix, 1)):
        graph = Table(path, preset="larva").load()
        assert weights(graph) == {(29, 37365): 3, (37365, 29): 2}
        assert graph.provenance.dataset == "larva-winding2023"
        assert len(graph.provenance.citations) == papers
        assert "Winding et al." in graph.provenance.citations[0]
    graph = Table(listed, cells, preset="larva").load()
    assert column_by_id(graph, "cell_class") == {29: "KC", 37365: "sens"}
    other = Table(matrix, preset="larva", orientation="post-pre").load()
    assert weights(other) == {(37365, 29): 3, (29, 37365): 2}
    with pytest.raises(CompileError, match=r"preset: does not apply to c, which is an adjacency"):
        Table(matrix, preset="flywire", orientation="pre-post").load()


def test_banc_is_read_from_its_edge_list_and_from_codex(tmp_path: Path) -> None:
    simple = feather(
        tmp_path / "e", "pre,post,count,norm,total_input",
        (str(A), str(B), 3, 0.5, 6), (str(B), str(A), 2, 0.4, 5),
    )  # fmt: skip
    meta = feather(
        tmp_path / "m", "root_id,flow,super_class,cell_class,cell_type,neurotransmitter_predicted",
        (str(A), "afferent", "sensory", "x", "y", "acetylcholine"),
        (str(B), "efferent", "motor", "x", "z", "gaba"),
    )  # fmt: skip
    graph = Table(simple, meta, preset="banc").load()
    assert weights(graph) == {(A, B): 3, (B, A): 2}
    assert column_by_id(graph, "role") == {A: "sensory", B: "motor"}
    assert graph.provenance.dataset == "banc"
    assert graph.provenance.licence == "CC BY 4.0"
    codex = csv(
        tmp_path / "x", "Pre Root ID,Post Root ID,Neuropil,Syn Count,NT Type",
        (A, B, "AL", 1, "ACH"), (A, B, "LH", 2, "ACH"), (B, A, "AL", 2, "GABA"),
    )  # fmt: skip
    assert weights(Table(codex, preset="banc").load()) == {(A, B): 3, (B, A): 2}


@pytest.mark.parametrize("name", ["larva", "flywire", "banc", "malecns", "hemibrain"])
def test_a_named_recipe_says_what_to_download_and_how_to_cite_it(name: str) -> None:
    preset = PRESETS[name]
    told = " ".join(catalogue.one(name).split())
    for fact in (preset.page, preset.files, preset.licence, *preset.citations):
        assert fact in told
    title = shipped()[name]
    assert title.rpartition(" ")[2] in preset.page  # the page that `ccompile list` names
    with pytest.raises(CompileError) as caught:
        load_recipe(name).make()
    assert caught.value.where == "edges"
    assert f"download from {preset.page}; then --set edges=FILE" in caught.value.hint
    source = load_recipe(name, edges="e.csv").make().source
    assert (source.preset, source.edges) == (name, "e.csv")
    page = re.search(r"https://\S+?(?=[,\s]|$)", preset.page)
    assert page
    assert page[0] in (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_a_hint_without_a_preset_names_the_option_alone() -> None:
    with pytest.raises(CompileError) as caught:
        load_recipe("table").make()
    assert caught.value.hint == "--set edges=FILE"
    with pytest.raises(CompileError) as caught:
        load_recipe("table", preset="malecns").make()
    assert "male-cns.janelia.org" in caught.value.hint
    assert about("neuprint") == about("auto") == ()


def test_a_preset_that_does_not_fit_says_what_would(codex: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="is not a connection table of preset malecns") as e:
        Table(codex["edges"], preset="malecns").load()
    assert "body_pre, body_post, weight" in e.value.hint
    assert "neuropil" in e.value.problem
    plain = csv(tmp_path / "e", "pre,post,weight", (1, 2, 3))
    assert "preset" not in notes(Table(plain).load())


def test_presets_are_found_by_header_alone() -> None:
    for preset in PRESETS.values():
        for layout in preset.edges:
            found = find_preset(preset.name, "file", [*layout.header, "more"])
            assert found == (preset, layout)
            if preset.name in ("hemibrain", "banc", "larva"):  # others have the same columns
                continue
            assert find_preset("auto", "file", [*layout.header, "more"]) == (preset, layout)
            assert find_preset("none", "file", layout.header) is None
    assert find_preset("auto", "file", ["pre_root_id", "post_root_id", "syn_count"]) is None


@pytest.mark.parametrize(
    ("word", "role"),
    [
        *((w, "inter") for w in ("optic", "central", "visual_projection", "visual_centrifugal")),
        *((w, "inter") for w in ("ascending", "descending_neuron", "ol_intrinsic")),
        *((w, "sensory") for w in ("sensory", "sensory_ascending", "vnc_sensory")),
        *((w, "motor") for w in ("motor", "cb_motor")),
        *((w, None) for w in ("endocrine", "efferent_ascending", "something new")),
    ],
)
def test_roles_of_super_classes(word: str, role: str | None) -> None:
    assert role_of(word) == role
