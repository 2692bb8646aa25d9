"""What stands behind a weight, with the graph and by the module alone; graphs behind modules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from columns import load_module
from hypothesis import given, settings
from hypothesis import strategies as st
from worms import driven, worm

import connectome_compiler as cc
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.views.explain import explain
from connectome_compiler.views.targets import behind_module, graph_of

CHEMICAL, ELECTRICAL = "neurons->neurons", "neurons->neurons:electrical"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph, Any]:
    """A module of a toy worm, its graph, saved beside it, and its network."""
    folder = tmp_path_factory.mktemp("explained")
    graph = driven(worm(14))
    cc.build(graph, folder / "net.py", style="recurrent", verify=False)
    graph.save(folder / "graph")
    return folder / "net.py", graph, load_module(folder / "net.py").build()


@settings(max_examples=20)
@given(post=st.integers(0, 13), pre=st.integers(0, 13), key=st.sampled_from([CHEMICAL, ELECTRICAL]))
def test_it_says_what_the_network_has(
    made: tuple[Path, Graph, Any], post: int, pre: int, key: str
) -> None:
    path, graph, network = made
    told = explain(path, key, str(post), str(pre), path.parent / "graph")
    by_name = explain(path, key, f"N{post}", f"N{pre}", path.parent / "graph")
    alone = explain(path, key, str(post), str(pre))
    assert str(by_name) == str(told)
    weights = network.effective_weights()[key].coalesce()
    at = (weights.indices()[0] == post) & (weights.indices()[1] == pre)
    assert told.exists == alone.exists == bool(at.any())
    if not told.exists:
        assert "there is no such connection" in str(told)
        return
    q = graph.projection(key)
    k = int(np.flatnonzero((q.synapses.post == post) & (q.synapses.pre == pre))[0])
    assert told.facts["place"].startswith(f"{k:,},")
    # The parameter that it names is the one that the effective weight follows.
    attribute, index = (
        told.facts["weight"].partition(",")[0].removeprefix("net.")[:-1].split(".weight[")
    )
    held = getattr(network, attribute).weight
    value = float(weights.values()[at])
    assert abs(value) == pytest.approx(abs(float(held[int(index)].detach())))
    size = q.synapses.weight[k]
    assert told.facts["strength"] == ("1 synapse" if size == 1 else f"{size} synapses")
    enforced = int(graph.enforced_signs(q)[k])
    if key == CHEMICAL:
        assert told.facts["sign"].startswith({1: "+", -1: "-", 0: "free"}[enforced])
    else:
        assert told.facts["sign"].startswith("none")
    for word in ("place", "weight", "sign"):
        assert alone.facts[word] == told.facts[word]
    assert "are not in the module" in str(alone)
    assert [row["neuron"] for row in told.ends.to_pylist()] == [f"N{post}", f"N{pre}"]


def test_signs_say_where_they_come_from(tmp_path: Path) -> None:
    graph = driven(worm(14))
    path = tmp_path / "net.py"
    cc.build(graph, path, style="recurrent", verify=False)
    saved = graph.save(tmp_path / "graph")
    q = graph.projection(CHEMICAL)
    own = q.synapses.sign
    assert own is not None
    of_neuron = np.array([s or 0 for s in graph["neurons"].column("sign").to_pylist()])
    cases = {
        "the connection's own": own != 0,
        "that of the presynaptic neuron": (own == 0) & (of_neuron[q.synapses.pre] != 0),
        "unknown": (own == 0) & (of_neuron[q.synapses.pre] == 0),
    }
    for words, which in cases.items():
        k = int(np.flatnonzero(which)[0])
        ends = (str(q.synapses.post[k]), str(q.synapses.pre[k]))
        told = explain(path, CHEMICAL, *ends, saved)
        assert told.facts["sign from"].startswith(words)
        assert words == "unknown" or "only earlier stages tell" in told.facts["sign from"]


def test_stages_tell_when_a_connection_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "worm.py"
    cc.build("celegans-cook2019", path, min_synapses=4, verify=False)
    told = explain(path, CHEMICAL, "AVBL", "AVAL")
    assert not told.exists
    assert told.facts == {"lost": "in drop-weak-connections"}
    (row,) = told.stages.to_pylist()
    assert (row["stage"], row["weight"]) == ("source", 2.0)
    kept = explain(path, CHEMICAL, "DA5", "AVAL")
    assert kept.facts["strength"] == "14 EM sections"
    assert "from the source, assigned from transmitters" in kept.facts["sign from"]
    assert "predicted" in kept.facts["sign from"]
    assert kept.stages.column("stage").to_pylist()[:2] == ["source", "drop-weak-connections"]


def test_shared_weights_and_laws(tmp_path: Path) -> None:
    path = tmp_path / "swimmer.py"
    cc.build("ncap-swimmer", path, verify=False)
    told = explain(path, "proprioceptor.d->B.d", "1", "0")
    assert told.facts["weight"] == "one number, shared by all connections of the name 'prop'"
    assert told.facts["sign from"].startswith("the polarity of all weights of the projection")
    assert not explain(path, "proprioceptor.d->B.d", "0", "0").exists
    by_name = explain(path, "proprioceptor.d->B.d", "B.d[1]", "proprioceptor.d[0]")
    assert str(by_name) == str(told)
    graph = cc.load_graph("ncap-swimmer", n_joints=7)
    cc.build(graph, path, style="ncap", name="mine", verify=False)
    with pytest.raises(CompileError, match="holds no list of connections, but a law"):
        explain(path, "proprioceptor.d->B.d", "1", "0")


def test_the_graph_behind_a_module(tmp_path: Path) -> None:
    path = tmp_path / "worm.py"
    for options in ({"min_synapses": 4}, {"null": "degrees"}, {"where": 'role == "motor"'}):
        built = cc.build("celegans-cook2019", path, verify=False, **options)
        assert behind_module(path) == built.graph == graph_of(str(path))
    own = cc.build(driven(worm(8)), path, style="recurrent", verify=False)
    with pytest.raises(CompileError, match="'toy-worm', which is not a shipped recipe"):
        behind_module(path)
    own.graph.save(tmp_path / "worm.graphs" / "03-attach-ports")
    seen: list[str] = []
    assert behind_module(path, lambda stage, graph: seen.append(stage)) == own.graph
    assert seen == ["attach-ports"]
    worm(9).save(tmp_path / "worm.graphs" / "04-other")  # of another build
    with pytest.raises(CompileError, match="not a shipped recipe"):
        behind_module(path)


def test_arrays_beside_the_module_are_read(tmp_path: Path) -> None:
    graph, path = driven(worm(190, 0.5)), tmp_path / "net.py"
    built = cc.build(graph, path, style="recurrent", verify=False)
    assert len(built.written) == 2
    edges = graph.projection(CHEMICAL).synapses
    k = len(edges.post) - 1
    told = explain(path, CHEMICAL, str(edges.post[k]), str(edges.pre[k]))
    assert told.facts["place"].startswith(f"{k:,},")
    built.written[0].unlink()
    with pytest.raises(CompileError, match="no such file: it holds the connections"):
        explain(path, CHEMICAL, "0", "0")


def test_mistakes_are_told(made: tuple[Path, Graph, Any], tmp_path: Path) -> None:
    path, _, _ = made
    saved = path.parent / "graph"
    wrong: list[tuple[tuple[str, str, str], Path | None, str]] = [
        (("neurons->neuron", "0", "0"), saved, "did you mean 'neurons->neurons'"),
        ((CHEMICAL, "14", "0"), saved, "there is no unit 14 among 14"),
        ((CHEMICAL, "0", "N14"), saved, "neuron 'N14': no such name"),
        ((CHEMICAL, "0", "N1"), None, "the id N1 needs the graph"),
        ((CHEMICAL, "0", "14"), None, "an id that is a number needs --ids"),
        ((CHEMICAL, "0", "0"), worm(5).save(tmp_path / "other"), "is not the graph of"),
        ((CHEMICAL, "0", "0"), tmp_path, "is not a saved graph"),
    ]
    for words, graph, message in wrong:
        with pytest.raises(CompileError, match=message.replace("(", r"\(")):
            explain(path, *words, graph)
    altered = tmp_path / "altered.py"
    text = path.read_text(encoding="utf-8")
    at = text.index('ARRAYS_SHA256 = "') + 17
    altered.write_text(text[:at] + "0" * 64 + text[at + 64 :], encoding="utf-8")
    with pytest.raises(CompileError, match="ARRAYS: was altered"):
        explain(altered, CHEMICAL, "0", "0")
