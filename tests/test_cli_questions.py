"""Questions on the command line: ask, explain, diff."""

import csv
import io
import json
from pathlib import Path

import pytest
from test_cli import Said, must_fail, run_inside
from worms import driven, worm

import connectome_compiler as cc
from connectome_compiler.ir import Graph

WORM = "celegans-cook2019"


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved graph, and a module built from another."""
    folder = tmp_path_factory.mktemp("toys")
    worm(12).save(folder / "graph")
    graph = driven(worm(12))
    cc.build(graph, folder / "net.py", style="recurrent", verify=False)
    graph.save(folder / "net.graphs" / "03-attach-ports")
    return folder


def said(toys: Path, *words: str) -> Said:
    done = run_inside(words, toys)
    assert (done.code, done.err) == (0, ""), done
    return done


def test_a_neuron_of_a_recipe_a_graph_and_a_module(toys: Path) -> None:
    out = said(toys, "ask", WORM, "neuron", "AVAL").out
    assert out.startswith("AVAL (AVA, ")
    for words in ("inputs", "outputs", "gap junctions", "EM sections", "PVCL"):
        assert words in out
    strong = said(toys, "ask", WORM, "neuron", "AVAL", "--set", "min_synapses=5").out
    assert strong != out
    graph = Graph.load(toys / "graph")
    assert said(toys, "ask", "graph", "neuron", "N3").out == f"{graph.neuron('N3')}\n"
    assert said(toys, "ask", "net.py", "neuron", "N3").out == f"{graph.neuron('N3')}\n"


def test_answers_as_json_and_csv(toys: Path) -> None:
    graph = Graph.load(toys / "graph")
    for words, answer in (
        (("neuron", "N3"), graph.neuron("N3")),
        (("paths", "AVA", "RIM", "--max-steps", "2", "--by", "min", "--strongest", "3"),
         graph.paths("AVA", "RIM", 2, by="min", strongest=3)),
        (("influence", "N1", "N2", "--unsigned"), graph.influence(["N1", "N2"], signed=False)),
        (("motifs", "--nulls", "2", "--model", "density", "--seed", "3"),
         graph.motifs(2, model="density", seed=3)),
    ):  # fmt: skip
        assert json.loads(said(toys, "ask", "graph", *words, "--json").out) == answer.as_dict()
        rows = list(csv.DictReader(io.StringIO(said(toys, "ask", "graph", *words, "--csv").out)))
        assert len(rows) == answer.table().num_rows
        assert list(rows[0]) == answer.table().column_names
        assert said(toys, "ask", "graph", *words).out == f"{answer}\n"


def test_a_module_of_a_recipe_of_ones_own_needs_its_graph(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "celegans-cook2019"\n')
    build = ("build", "mine.toml", "--out", "net.py", "--no-verify", "--set", "min_synapses=9")
    assert run_inside(build, tmp_path).code == 0
    asked = ("ask", "net.py", "neuron", "AVAL")
    must_fail(run_inside(asked, tmp_path), "is not a shipped recipe", "--save-after all")
    alone = said(tmp_path, "explain", "net.py", "neurons->neurons", "99", "53").out
    assert "--save-after all" in " ".join(alone.split())
    assert run_inside((*build, "--save-after", "all"), tmp_path).code == 0
    assert "AVAL (AVA, " in said(tmp_path, *asked).out
    assert "AVAL -> " in said(tmp_path, "explain", "net.py", "neurons->neurons", "99", "53").out


def test_select_shows_and_saves_a_graph(toys: Path, tmp_path: Path) -> None:
    place = tmp_path / "motor"
    out = said(toys, "ask", "graph", "select", 'role == "motor"', "--out", str(place)).out
    assert "4 neurons in 1 population" in out
    assert f"saved       {place}" in out
    assert Graph.load(place) == Graph.load(toys / "graph").select('role == "motor"')
    assert "2 neurons" in said(toys, "ask", "graph", "select", "N1", "N5").out


def test_explain_a_weight(toys: Path) -> None:
    graph = Graph.load(toys / "net.graphs" / "03-attach-ports")
    edges = graph.projection("neurons->neurons").synapses
    post, pre = int(edges.post[0]), int(edges.pre[0])
    by_place = said(toys, "explain", "net.py", "neurons->neurons", str(post), str(pre)).out
    assert f"N{pre} -> N{post}" in by_place
    assert "net.neurons_to_neurons.weight[0]" in by_place
    words = ("explain", "net.py", "neurons->neurons", f"N{post}", f"N{pre}")
    assert said(toys, *words).out == by_place
    assert json.loads(said(toys, *words, "--json").out)["facts"]["strength"]
    saved = ("--graph", "net.graphs/03-attach-ports")
    assert said(toys, *words, *saved).out.startswith("net.py: neurons->neurons")


def test_diff_has_the_exit_code_of_diff(toys: Path) -> None:
    same = said(toys, "diff", "net.py", "net.graphs/03-attach-ports")
    assert same.out == "toy-worm@1: equal\n"
    differ = run_inside(["diff", WORM, WORM, "--set", "min_synapses=3"], toys)
    assert (differ.code, differ.err) == (1, "")
    assert "connections lost" in differ.out
    told = run_inside(["diff", "graph", "net.py", "--json"], toys)
    assert told.code == 1
    assert json.loads(told.out)["settings"]


def test_a_graph_that_is_not_measured_is_told(toys: Path) -> None:
    done = run_inside(["ask", "synthetic", "motifs", "--nulls", "0"], toys)
    assert done.code == 0
    assert done.err.startswith("Warning: synthetic-window@seed-0 is modelled, not measured")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ask", "graph", "neuron", "N12"], ["neuron 'N12': no such name", "did you mean 'N2'"]),
        (["ask", WORM, "neuron", "AVAA"], ["did you mean 'AVA"]),
        (["ask", WORM, "neuron", "AVA"], ["is the cell type of 2 neurons", "AVAL, AVAR"]),
        (["ask", "graph", "paths", "N1", "N1l"], ["did you mean 'N1"]),
        (["ask", "graph", "paths", "N1", 'rol == "motor"'], ["did you mean 'role'"]),
        (["ask", "graph", "paths", "N1", "N2", "--max-steps", "99"], ["between 1 and 12"]),
        (["ask", "graph", "influence", 'role == "moter"'], ["no neuron has role 'moter'"]),
        (["ask", "graph", "select", "sensry"], ["'sensry': no such name"]),
        (["ask", "graph", "motifs", "--nulls", "1"], ["must be 0, or at least 2"]),
        (["ask", "graph", "motifs", "--model", "degree"], ["did you mean 'degrees'"]),
        (["ask", "graph", "motifs", "--model", "distance"], ["12 of 12 neurons"]),
        (["ask", "graphs", "neuron", "N1"], ["graphs"]),
        (["ask", "graph", "neuron", "N1", "--set", "a=1"], ["only a recipe can be changed"]),
        (["ask", "none.py", "neuron", "N1"], ["none.py: no such file"]),
        (["ask", "ncap-swimmer", "motifs"], ["not an edge list"]),
        (["ask", "mousenet", "neuron", "1"], ["joins channels of maps"]),
        (["explain", "net.py", "neurons->neurons", "12", "0"], ["no unit 12 among 12"]),
        (["explain", "net.py", "neurons", "1", "0"], ["did you mean 'neurons->neurons'"]),
        (["explain", "graph", "neurons->neurons", "1", "0"], ["graph"]),
        (["diff", "graph", "grph"], ["grph"]),
        (["diff", "graph", "graph", "--set", "a=1"], ["only a recipe can be changed"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_mistakes_are_told(words: list[str], expected: list[str], toys: Path) -> None:
    must_fail(run_inside(words, toys), *expected)


@pytest.mark.parametrize(
    "words",
    [
        ["ask"],
        ["ask", "graph"],
        ["ask", "graph", "neuron"],
        ["ask", "graph", "neurons", "N1"],
        ["ask", "graph", "influence"],
        ["ask", "graph", "paths", "N1", "N2", "--by", "max"],
        ["ask", "graph", "neuron", "N1", "--json", "--csv"],
        ["explain", "net.py", "neurons->neurons", "1"],
        ["diff", "graph"],
    ],
)
def test_misuse_is_exit_code_2(words: list[str], toys: Path) -> None:
    must_fail(run_inside(words, toys), "Usage: ccompile", code=2)
