"""What the columns of cell tables mean, through the adapter ``table``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph

PAIR = "pre,post;1,2"


def write(path: Path, text: str) -> str:
    """Write rows that are separated by ``;``."""
    path.write_text(text.replace(";", "\n") + "\n")
    return str(path)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(*cells: str, edges: str = PAIR, **options: Any) -> Graph:
        files = [write(tmp_path / f"{'abc'[k]}.csv", text) for k, text in enumerate(cells)]
        graph: Graph = Table(write(tmp_path / "e.csv", edges), ",".join(files), **options).load()
        return graph

    return load


def columns(graph: Graph) -> dict[str, list[Any]]:
    """Return the columns in which anything is known."""
    table = graph.populations[0].neurons
    assert table is not None
    return {k: v for k, v in table.to_pydict().items() if any(x is not None for x in v)}


def notes(graph: Graph) -> list[str]:
    return [note for step in graph.provenance.steps for note in step.notes]


# --- positions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "values", "um"),
    [
        ("x_um,y_um,z_um", "1,2.5,-3", (1, 2.5, -3)),
        ("x_um,depth_um,z_um", "1,2,3", (1, 2, 3)),
        ("X_nm,y_nm,z_nm", "1000,2000,40000", (1, 2, 40)),
        ("soma_x_nm,soma_y_nm,soma_z_nm", "1000,0,1e3", (1, 0, 1)),
        ("pt_position_x,pt_position_y,pt_position_z", "1000,2000,30000", (4, 8, 1200)),
        ("pt_position_x,pt_position_y,pt_position_z", "1000,2000,30001", (1, 2, 30.001)),
    ],
)
def test_positions_are_in_micrometres(
    load: Any, names: str, values: str, um: tuple[float, ...]
) -> None:
    found = columns(load(f"id,{names};1,{values};2,,,;3, ,nan,inf"))
    for axis, value in zip(("x_um", "y_um", "z_um"), um, strict=True):
        assert found.pop(axis) == [pytest.approx(value), None, None]
    assert list(found) == ["neuron_id"]  # nothing stands there twice


@pytest.mark.parametrize("word", ["abc", "1_000", "1e", "1,5"])
def test_a_position_that_is_no_number_is_named(load: Any, word: str) -> None:
    with pytest.raises(CompileError, match=f"'{word}'") as caught:
        load(f'id,x_um,y_um,z_um;1,1,2,3;2,1,"{word}",3;3,1,2,x')
    assert caught.value.where.endswith("a.csv, line 3, column y_um")


def test_two_axes_are_no_position(load: Any) -> None:
    found = columns(load("id,x_nm,y_nm;1,1000,2;2,3,4"))
    assert (found["x_nm"], found["y_nm"]) == ([1000, 3], [2, 4])
    assert "x_um" not in found


# --- names ----------------------------------------------------------------------------------------


def test_a_standard_column_comes_from_its_best_name_and_the_others_stay(load: Any) -> None:
    graph = load("id,type,cell_type,class,ei,layer,area;1,t,u,c,d,5,V1;2,,,,,,")
    found = columns(graph)
    assert {name: values[0] for name, values in found.items()} == {
        "neuron_id": 1,
        "cell_type": "u",
        "cell_class": "c",
        "region": "V1",
        "cortical_layer": "L5",
        "layer": 5,  # whose words are the source's own
        "type": "t",
        "ei": "d",
    }
    assert all(values[1] is None for name, values in found.items() if name != "neuron_id")
    said = [note for note in notes(graph) if "is renamed" in note]
    pairs = [("class", "cell_class"), ("area", "region")]
    for note, (name, standard) in zip(said, pairs, strict=True):
        assert {name, standard} <= set(note.split())


def test_no_column_of_the_source_hides_one_of_ours(load: Any) -> None:
    found = columns(load("root_id,neuron_id,x_um,x_nm,y_nm,z_nm;1,9,7,1000,2000,3000;2,8,6,,,"))
    assert found["neuron_id"] == [1, 2]
    assert found["neuron_id_2"] == [9, 8]
    assert (found["x_um"], found["x_um_2"]) == ([1, None], [7, 6])


def test_files_that_agree_on_a_column_share_it(load: Any) -> None:
    one, two = "id,side,note;1,L,x;2,R,y", "id,side,note;2,R,v;1,L,w"
    found = columns(load(one, two, two))
    assert found["side"] == ["L", "R"]
    assert (found["note"], found["note_2"]) == (["x", "y"], ["w", "v"])
    assert set(found) == {"neuron_id", "side", "note", "note_2"}


# --- words ----------------------------------------------------------------------------------------


def test_roles_are_spelled_in_many_ways(load: Any) -> None:
    words = ["Sensory-Neuron", "motoneuron", "intrinsic", "MUSCLE", ""]
    rows = ";".join(f"{k},{word}" for k, word in enumerate(words, 1))
    assert columns(load(f"id,role;{rows}"))["role"] == ["sensory", "motor", "inter", "muscle", None]


def test_coverage_is_one_of_its_words(load: Any) -> None:
    cells = "id,axon_coverage;1,FULL;2,t;3,f;4,"
    edges = "pre,post;1,2;2,4"  # of 3 no axon is listed
    assert columns(load(cells, edges=edges))["axon_coverage"] == ["full", "partial", "none", None]
    with pytest.raises(CompileError, match="'half'") as caught:
        load("id,axon_coverage;1,full;2,half;3,zero")
    assert caught.value.where.endswith("a.csv, line 3, column axon_coverage")


def test_signs_of_cells_are_words_or_numbers(load: Any) -> None:
    words = ["+", "Exc", "1.0", "-", "-1", "i", "0", "unsure", ""]
    rows = ";".join(f"{k},{word}" for k, word in enumerate(words, 1))
    graph = load(f"id,sign;{rows}")
    assert columns(graph)["sign"] == [1, 1, 1, -1, -1, -1, None, None, None]
    assert any(note.startswith("signs of 6 cells") for note in notes(graph))


def test_the_first_column_that_knows_tells_the_transmitter(load: Any) -> None:
    cells = "id,predicted_nt,nt_type,known_nt;1,gaba,ach,glut;2,gaba,ach,;3,gaba,,;4,,,"
    graph = load(cells)
    found = columns(graph)
    assert found["neurotransmitter"] == ["glutamate", "acetylcholine", "gaba", None]
    assert found["predicted_nt"] == ["gaba", "gaba", "gaba", None]  # as they were
    (note,) = (note for note in notes(graph) if note.startswith("transmitters: "))
    for told in ("1 from column known_nt", "1 from column nt_type", "1 from column predicted_nt"):
        assert told in note
    assert "; 1 " in note


def test_a_consensus_that_does_not_know_is_the_last_word(load: Any) -> None:
    cells = "id,consensus_nt,predicted_nt,known_nt;1,ach,gaba,;2,,gaba,;3,,gaba,dopamine"
    found = columns(load(cells))
    assert found["neurotransmitter"] == ["acetylcholine", None, "dopamine"]


# --- rows -----------------------------------------------------------------------------------------


def test_rows_without_an_id_are_no_cells(load: Any) -> None:
    graph = load("id,mine;2,b;,c;1,a;,d", "id,more;1,x;2,y;3,z")
    assert columns(graph)["mine"] == ["a", "b", None]
    first, second = (next(n for n in notes(graph) if n.startswith(f)) for f in ("a.csv", "b.csv"))
    assert "2 rows, " in first
    assert "; 2 rows without" in first
    assert "3 rows, " in second
    assert "without" not in second
    assert any(n.startswith("1 cells") and n.endswith("a.csv") for n in notes(graph))
    assert not any(n.endswith("not in b.csv") for n in notes(graph))


def test_cells_that_occur_twice_are_counted_and_the_first_is_named(load: Any) -> None:
    with pytest.raises(CompileError, match=r"cell 3 .* line 3") as caught:
        load("id,mine;1,a;3,b;2,c;2,d;3,e;3,f")
    assert caught.value.where.endswith("a.csv, line 6, column id")
    assert "2 of 3" in caught.value.hint


def test_ids_are_written_alike_in_all_files(load: Any, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        load("id;x;y", "id;1;2", edges="pre,post;x,1;y,2")
    assert caught.value.where in {str(tmp_path / "a.csv"), str(tmp_path / "b.csv")}
