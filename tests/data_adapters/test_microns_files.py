from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from connectome_compiler.data_adapters.microns_files import MicronsFiles
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph

BIG = 864691135000000001  # above 2**53


def write(path: Path, text: str) -> str:
    """Write rows that are separated by spaces, fields by commas."""
    path.write_text("\n".join(text.split()) + "\n")
    return str(path)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(edges: str, cells: str, **options: Any) -> Graph:
        edge_file = write(tmp_path / "edges.csv", edges)
        graph = MicronsFiles(edge_file, write(tmp_path / "cells.csv", cells), **options).load()
        assert isinstance(graph, Graph)
        return graph

    return load


def notes(graph: Graph) -> str:
    return "\n".join(note for step in graph.provenance.steps for note in step.notes)


def column(graph: Graph, name: str) -> list[Any]:
    values: list[Any] = graph.populations[0].column(name).to_pylist()
    return values


@pytest.fixture(scope="module")
def layer23(test_data: Path) -> MicronsFiles:
    start = str(test_data / "microns" / "layer23_phase1_")
    edges, cells = f"{start}synapses_v185.csv", f"{start}neurons_v185.csv"
    return MicronsFiles(edges, cells, cortical_layer="L2/3")


def test_the_real_layer_23_graph(layer23: MicronsFiles) -> None:
    graph = layer23.load()
    (projection,) = graph.projections
    edges = projection.synapses
    assert graph.n_neurons == 334
    assert graph.n_connections == 1736
    assert edges.weight.sum() == 1961
    assert (edges.weight == 1).sum() == 1547
    assert edges.weight.max() == 5
    assert edges.size is not None
    assert edges.size.sum() == 705597
    assert (edges.post == edges.pre).sum() == 2
    assert set(column(graph, "cell_class")) == {"excitatory"}
    assert set(column(graph, "cortical_layer")) == {"L2/3"}
    assert set(column(graph, "axon_coverage")) == {None}
    assert graph.provenance.connectivity is Evidence.UNKNOWN  # nobody vouches for a file
    assert graph.provenance.dataset == "files:layer23_phase1_synapses_v185"
    assert [f.sha256[:8] for f in graph.provenance.files] == ["d77dfc50", "85d1a7f5"]
    for note in (
        "59 glia and other non-neurons dropped",
        "3 ids of glia occur more than once",
        "1 cells of uncertain class dropped",
        "364 excitatory, 32 inhibitory neurons",
        "62 neurons without any connection dropped",
        "2 autapses",
        "axon coverage unknown",
        "matched by root_id",
    ):
        assert note in notes(graph)


def test_the_real_layer_23_graph_with_unconnected_cells(layer23: MicronsFiles) -> None:
    graph = MicronsFiles(
        layer23.edges, layer23.cells, cortical_layer="L2/3", unconnected="keep"
    ).load()
    assert graph.n_neurons == 396
    assert graph.n_connections == 1736


def test_the_real_layer_23_tables_in_other_formats_give_the_same_graph(
    layer23: MicronsFiles, tmp_path: Path
) -> None:
    edges = csv.read_csv(layer23.edges)
    pf.write_feather(edges, tmp_path / "e.feather")
    pq.write_table(csv.read_csv(layer23.cells), tmp_path / "c.parquet")
    shuffled = edges.take(np.random.default_rng(0).permutation(edges.num_rows))
    pq.write_table(shuffled, tmp_path / "e.parquet")
    expected = layer23.load().digest()
    for name in ("e.feather", "e.parquet"):
        cells = str(tmp_path / "c.parquet")
        other = MicronsFiles(str(tmp_path / name), cells, cortical_layer="L2/3").load()
        assert other.digest() == expected


def test_the_real_layer_23_tables_name_no_layer(layer23: MicronsFiles) -> None:
    with pytest.raises(CompileError, match="cortical layer of 334 of 334 neurons") as caught:
        MicronsFiles(layer23.edges, layer23.cells).load()
    assert "cortical_layer=L2/3" in caught.value.hint


CELLS = f"""
id,pt_root_id,broad_type,cell_type,depth_um,axon_strategy,soma_volume
10,{BIG + 2},excitatory,23P,100,axon_fully_extended,1.5
11,{BIG + 1},inhibitory,BC,450,none,2
12,{BIG},excitatory,4P,300,axon_partially_extended,
13,{BIG + 3},nonneuron,astrocyte,300,,3
14,{BIG + 3},nonneuron,astrocyte,300,,3
15,{BIG + 4},excitatory,Unsure,300,,3
16,0,excitatory,23P,300,,3
17,{BIG + 5},,,300,,3
"""
EDGES = f"""
pre_pt_root_id,post_pt_root_id,size
{BIG},{BIG + 1},5
{BIG},{BIG + 1},6
{BIG + 1},{BIG + 2},7
{BIG + 2},{BIG},8
{BIG + 3},{BIG},9
{BIG},{BIG + 4},9
"""


def test_a_small_made_connectome(load: Any) -> None:
    graph = load(EDGES, CELLS, cortical_layer="L9")
    edges = graph.projections[0].synapses
    # sorted by the id that the edges use; [post, pre]
    assert column(graph, "neuron_id") == [BIG, BIG + 1, BIG + 2]
    assert column(graph, "cell_type") == ["4P", "BC", "23P"]
    assert column(graph, "cell_class") == ["excitatory", "inhibitory", "excitatory"]
    assert column(graph, "cortical_layer") == ["L4", "L5", "L2/3"]
    assert column(graph, "axon_coverage") == ["partial", "none", "full"]
    assert column(graph, "soma_volume") == [None, 2.0, 1.5]
    assert column(graph, "id") == [12, 11, 10]
    # the axon of the inhibitory cell was not proofread: what it contacts is not known
    assert [(p, q) for p, q in zip(edges.post, edges.pre, strict=True)] == [(0, 2), (1, 0)]
    assert edges.weight.tolist() == [1, 2]
    assert edges.size is not None
    assert edges.size.tolist() == [8, 11]
    for note in (
        "1 cells without an id dropped",
        "2 glia and other non-neurons dropped",
        "1 cells of uncertain class dropped",
        "1 cells without a known class dropped",
        "2 rows from or to cells that are not kept",
        "1 connections of axons that were not proofread",
    ):
        assert note in notes(graph)
    everything = load(EDGES, CELLS, cortical_layer="L9", coverage="all")
    assert everything.n_connections == 3
    # ... and if they are kept all the same, nobody knows how far that axon was followed
    assert column(everything, "axon_coverage") == ["partial", None, "full"]
    assert "outputs of 1 axons that were not proofread kept" in notes(everything)
    assert everything.density(everything.projections[0]) == pytest.approx(3 / 6)


def test_each_step_tells_what_it_did_to_the_numbers(load: Any) -> None:
    graph = load(EDGES, CELLS, cortical_layer="L9")
    told = [
        (s.n_neurons_before, s.n_neurons_after, s.n_connections_before, s.n_connections_after)
        for s in graph.provenance.steps
    ]
    assert told == [(0, 8, 0, 0), (8, 3, 0, 0), (3, 3, 0, 2), *[(3, 3, 2, 2)] * 2]


def test_an_unread_axon_without_any_row_stays_unread_even_with_all_coverage(load: Any) -> None:
    cells = "id,class,axon_coverage 1,e,none 2,i,none 3,e,none 4,g,"
    graph = load("pre,post 1,2 3,4", cells, cortical_layer="L4", coverage="all")
    assert column(graph, "axon_coverage") == [None, "none"]  # neuron 3 has no connections left
    graph = load("pre,post 1,2 3,4", cells, cortical_layer="L4", coverage="all", unconnected="keep")
    assert column(graph, "axon_coverage") == [None, "none", None]


def test_signs_of_connections_reach_the_graph(load: Any) -> None:
    edges = "pre,post,sign 1,2,+ 2,1,- 2,1,- 3,2,+ 3,2,- 5,1,1 1,3,"
    cells = "id,class 1,e 2,i 3,e 4,e 5,i"  # 4 has no connections: the others move up
    graph = load(edges, cells, cortical_layer="L4")
    synapses = graph.projections[0].synapses
    assert synapses.sign is not None
    signs = zip(synapses.pre.tolist(), synapses.post.tolist(), synapses.sign.tolist(), strict=True)
    assert sorted(signs) == [(0, 1, 1), (0, 2, 0), (1, 0, -1), (2, 1, 0), (3, 0, 1)]
    assert graph.provenance.signs is Evidence.PREDICTED
    assert "signs of connections from column sign: 2 +1, 1 -1, 2 unknown" in notes(graph)
    assert "signs count as predicted" in notes(graph)
    assert "1 connections whose rows disagree on the sign" in notes(graph)


def test_without_signs_there_is_no_evidence_for_them(load: Any) -> None:
    for edges in ("pre,post 1,2", "pre,post,sign 1,2,0"):
        graph = load(edges, "id,class 1,e 2,i", cortical_layer="L4")
        assert graph.provenance.signs is Evidence.NONE


def test_signs_and_transmitters_of_cells_are_read(load: Any) -> None:
    cells = "id,broad_type,sign,nt 1,exc,-, 2,inh,,GABA"
    graph = load("pre,post 1,2", cells, cortical_layer="L4")
    assert column(graph, "sign") == [-1, None]
    assert column(graph, "neurotransmitter") == [None, "gaba"]
    assert column(graph, "cell_class") == ["excitatory", "inhibitory"]
    assert graph.provenance.signs is Evidence.PREDICTED
    assert "column broad_type is renamed to cell_class" in notes(graph)


def test_what_is_not_used_or_summed_is_said(load: Any) -> None:
    edges = "pre,post,n_syn,weight,roi 1,2,3,9,V1 1,2,4,9,V1 2,1,1,9,V1"
    graph = load(edges, "id,class 1,e 2,i", cortical_layer="L4")
    assert "ignored columns: weight, roi" in notes(graph)
    assert "1 rows repeat a pair: their counts are summed" in notes(graph)
    assert graph.projections[0].synapses.weight.tolist() == [1, 7]
    plain = notes(load("pre,post 1,2 1,2", "id,class 1,e 2,i", cortical_layer="L4"))
    assert "ignored" not in plain
    assert "repeat" not in plain


def test_positions_that_are_no_numbers_are_counted(load: Any) -> None:
    cells = "id,class,x_um,y_um,z_um,depth_um 1,e,abc,?,3,4 2,i,1,2,,NaN 3,e,1,2,3,deep"
    graph = load("pre,post 1,2 3,2", cells, cortical_layer="L4")
    assert column(graph, "x_um") == [None, 1, 1]
    note = "2 cells whose position is not a number (x_um, y_um, depth_um): taken as unknown"
    assert note in notes(graph)
    fine = load("pre,post 1,2", "id,class,x_um,y_um,z_um 1,e,1,2,3 2,i,,,", cortical_layer="L4")
    assert "no number" not in notes(fine)


def test_it_is_said_how_many_cells_were_given_a_layer(load: Any) -> None:
    cells = "id,class,layer 1,e,4 2,i, 3,e,"  # 3 has no connections
    assert "1 of 2 neurons given the requested layer" in notes(
        load("pre,post 1,2", cells, cortical_layer="6")
    )
    named = load("pre,post 1,2", "id,class,layer 1,e,4 2,i,4", cortical_layer="L6")
    assert "cortical_layer=L6 was not needed" in notes(named)
    assert column(named, "cortical_layer") == ["L4", "L4"]


def test_the_depth_tells_the_layer_where_the_type_does_not(load: Any) -> None:
    cells = "id,class,x_um,depth_um,z_um 1,e,0,100,0 2,i,0,400,0"
    assert column(load("pre,post 1,2", cells), "cortical_layer") == ["L2/3", "L5"]
    cells = "id,class,layer,x_um,depth_um,z_um 1,e,6,0,100,0 2,i,,0,,0"
    graph = load("pre,post 1,2", cells, cortical_layer="layer4")
    assert column(graph, "cortical_layer") == ["L6", "L4"]


def test_nucleus_ids_are_the_neuron_ids_where_there_are_any(load: Any) -> None:
    graph = load("pre,post 5,6", "nucleus_id,root_id,ei 31,6,exc 32,5,inh", cortical_layer="L4")
    assert column(graph, "neuron_id") == [32, 31]
    assert column(graph, "root_id") == [5, 6]
    assert graph.projections[0].synapses.pre.tolist() == [0]


def test_an_id_stands_once_in_the_table_of_neurons(load: Any) -> None:
    for key, names in (("neuron_id", ["neuron_id"]), ("root_id", ["neuron_id", "root_id"])):
        graph = load("pre,post 1,2", f"{key},class 1,e 2,i", cortical_layer="L4")
        assert graph.populations[0].neurons is not None
        found = graph.populations[0].neurons.column_names
        assert [name for name in found if "_id" in name] == names


def test_ids_may_be_text(load: Any) -> None:
    graph = load("pre,post b,a", "neuron_id,class a,e b,i", cortical_layer="L4")
    assert column(graph, "neuron_id") == ["a", "b"]
    assert graph.projections[0].synapses.pre.tolist() == [1]


def test_the_column_is_chosen_by_the_table_that_typed_the_cells(load: Any) -> None:
    source = "allen_v1_column_types_slanted_ref"
    cells = f"id,class,cell_type_source 1,e,{source} 2,i,{source} 3,e,model"
    graph = load("pre,post 1,2 1,3 3,2", cells, cortical_layer="L4")
    assert column(graph, "neuron_id") == [1, 2]
    assert graph.n_connections == 1
    assert "1 neurons outside the column dropped" in notes(graph)
    graph = load("pre,post 1,2 1,3 3,2", cells, cortical_layer="L4", column="all")
    assert graph.n_neurons == 3


def test_the_prism_is_taken_only_when_asked_for(load: Any) -> None:
    cells = "id,class,x_um,y_um,z_um 1,e,660,350,858 2,i,670,350,858 3,e,900,350,858"
    edges = "pre,post 1,2 2,3"
    assert load(edges, cells, cortical_layer="L4").n_neurons == 3
    assert load(edges, cells, cortical_layer="L4", column="prism").n_neurons == 2


def test_voxels_and_nanometres_are_told_apart(load: Any) -> None:
    for z, scale in ((20_000, (0.004, 0.04)), (800_000, (0.001, 0.001))):
        cells = f"id,class,pt_position_x,pt_position_y,pt_position_z 1,e,1000,2000,{z} 2,i,1,2,{z}"
        graph = load("pre,post 1,2", cells, cortical_layer="L4")
        assert column(graph, "x_um")[0] == pytest.approx(1000 * scale[0])
        assert column(graph, "z_um")[0] == pytest.approx(z * scale[1])


@pytest.mark.parametrize(
    ("edges", "cells", "problem", "place"),
    [
        ("pre,post 1,2", "id,class 1,e 2,i 2,e", "neuron 2 occurs twice", "line 4, column id"),
        ("pre,post 1,2", "id,class 1,e 2,g 2,i", "neuron 2 occurs twice", "line 4, column id"),
        ("pre,post 1,9", "id,class 1,e 2,i", "9 is not in the cell table", "line 2, column"),
        (
            "pre,post 1,2",
            "id,class 1,e 2,blue",
            "'blue' is not a known class",
            "line 3, column class",
        ),
        ("pre,post 1,2", "id,soma 1,5 2,6", "no cell is known to be excitatory", "cells.csv"),
        ("pre,post 1,2", "id,class 1,g 2,g", "no cell is known to be excitatory", "cells.csv"),
        ("pre,post 1,2", "soma,class 1,e 2,i", "no column of ids", "cells.csv"),
        ("id,class 1,e", "pre,post 1,2", "no columns for both ends", "edges.csv"),
        ("pre,post,n_syn 1,2,-1", "id,class 1,e 2,i", "is not a synapse count", "line 2"),
        ("pre,post 1,3", "id,class 1,e 2,i 3,g", "no connection joins two neurons", "edges.csv"),
        (
            "pre,post 1,2",
            "id,class,axon_strategy 1,e,none 2,i,odd",
            "'odd' is not a known extent",
            "cells",
        ),
    ],
)
def test_bad_tables_are_refused_by_name_and_place(
    load: Any, edges: str, cells: str, problem: str, place: str
) -> None:
    with pytest.raises(CompileError, match=problem) as caught:
        load(edges, cells, cortical_layer="L4")
    assert place in caught.value.where


def test_connections_with_unknown_cells_can_be_dropped(load: Any) -> None:
    edges, cells = "pre,post 1,2 1,9 9,8", "id,class 1,e 2,i"
    graph = load(edges, cells, cortical_layer="L4", unknown_neurons="drop")
    assert graph.n_connections == 1
    assert "2 rows from or to cells not in the cell table" in notes(graph)


@pytest.mark.parametrize("ids", ["nucleus_id", "root_id_v795"])
def test_the_real_column_neurons_as_cells(test_data: Path, tmp_path: Path, ids: str) -> None:
    cells = test_data / "microns" / "column_neurons_v795.csv"
    real = csv.read_csv(cells)
    first, last = real[ids][0].as_py(), real[ids][-1].as_py()
    edges = write(tmp_path / "e.csv", f"pre,post {first},{last}")
    options: dict[str, Any] = {"unconnected": "keep", "cortical_layer": "unknown"}
    graph = MicronsFiles(edges, str(cells), **options).load()
    assert graph.n_neurons == 1351
    assert Counter(column(graph, "cell_class")) == {"excitatory": 1188, "inhibitory": 163}
    assert sorted(column(graph, "neuron_id")) == sorted(real["nucleus_id"].to_pylist())
    # M-types by layer, as published; one inhibitory cell has neither a position nor a layer.
    layers = Counter(
        layer
        for layer, kind in zip(
            column(graph, "cortical_layer"), column(graph, "cell_class"), strict=True
        )
        if kind == "excitatory"
    )
    assert layers == {"L2/3": 367, "L4": 299, "L5": 123, "L6": 399}
    assert column(graph, "cortical_layer").count("unknown") == 1


def test_many_rows_agree_with_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    ids = BIG + np.arange(1000)
    table = {"pre_root_id": rng.choice(ids, n), "post_root_id": rng.choice(ids, n)}
    edges = pa.table(table | {"size": rng.integers(1, 9999, n)})
    csv.write_csv(edges, tmp_path / "e.csv")
    csv.write_csv(pa.table({"root_id": ids, "class": ["e"] * 1000}), tmp_path / "c.csv")
    graph = MicronsFiles(
        str(tmp_path / "e.csv"), str(tmp_path / "c.csv"), cortical_layer="L4"
    ).load()
    synapses = graph.projections[0].synapses
    key = (edges["post_root_id"].to_numpy() - BIG) * 1000 + edges["pre_root_id"].to_numpy() - BIG
    pairs, counts = np.unique(key, return_counts=True)
    np.testing.assert_array_equal(synapses.post * 1000 + synapses.pre, pairs)
    np.testing.assert_array_equal(synapses.weight, counts)
    sizes = np.bincount(np.searchsorted(pairs, key), weights=edges["size"].to_numpy())
    np.testing.assert_array_equal(synapses.size, sizes)
