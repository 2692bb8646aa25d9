from dataclasses import replace
from itertools import accumulate
from typing import Any

import networkx as nx
import pytest
from areas import LAW, WIRED, Joined, areas, mousenet, published_kernels
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import AllToAll, GaussianLaw, Graph, Population, Projection
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.wire_levels import WireLevels

PLAIN = WireLevels(skips=())
CHAIN: list[Joined] = [("input", "A4"), ("A4", "A2/3"), ("A2/3", "A5"), ("A2/3", "B4")]
CHAIN += [("B4", "B2/3"), ("B2/3", "B5")]
LAYERS = ("2/3", "4", "5")


def keys(graph: Graph, delay: int = 0) -> list[str]:
    return [q.key for q in graph.projections if q.delay == delay]


def _area(name: str) -> str:
    return name.rstrip("2345/")


def notes(graph: Graph) -> str:
    return "\n".join(graph.provenance.steps[-1].notes)


def test_the_published_network_in_its_order() -> None:
    graph = mousenet(*WIRED)
    assert keys(graph) == [f"{row['pre']}->{row['post']}" for row in published_kernels()]
    assert keys(graph, 1) == []
    areas_ = ("VISp", "VISl", "VISrl", "VISli", "VISpl", "VISal", "VISpor")
    layered = [area + layer for area in areas_ for layer in ("4", "2/3", "5")]
    assert [p.name for p in graph.populations] == ["input", "LGNd", *layered]
    assert [p.population for p in graph.ports] == [p.population for p in mousenet().ports]


def test_what_is_kept_and_dropped_is_counted() -> None:
    n = len(mousenet().projections) - 49
    graph = mousenet(LevelAreas(), WireLevels())
    assert graph.provenance.steps[-1].notes == (
        "49 projections forward: 1 from the input, 31 to the next level, 14 within areas, 3 skips",
        f"{n} projections dropped: {n} within areas",
    )


def test_mirrored_feedback() -> None:
    graph = mousenet(LevelAreas(), WireLevels(feedback="mirrored"))
    forward = {q.key: q for q in graph.projections if q.delay == 0}
    back = [q for q in graph.projections if q.delay]
    assert list(forward) == keys(mousenet(*WIRED))
    assert graph.projections[49:] == tuple(back)
    mirrored = [
        q for q in back if f"{q.post}->{q.pre}" in forward and _area(q.pre) != _area(q.post)
    ]
    n_within = sum(_area(q.pre) == _area(q.post) for q in back)
    assert len(mirrored) == len(back) - n_within == 33  # none of the image or the thalamus
    for q in mirrored:
        assert q.connectivity == forward[f"{q.post}->{q.pre}"].connectivity
    assert f"{n_within} within areas, 33 mirrored between areas (placeholders)" in notes(graph)
    again = run(graph, [WireLevels(feedback="mirrored")])
    assert again.digest() == graph.digest()


def test_feedback_of_the_table() -> None:
    back = GaussianLaw(50.0, 7.0)
    laws: list[Joined] = [*CHAIN, ("B5", "A5", back), ("B5", "B2/3", back), ("B4", "A4")]
    graph = areas({"A": 0, "B": 1}, laws, layers=LAYERS)
    assert keys(run(graph, [PLAIN]), 1) == []
    assert "2 to lower levels" in notes(run(graph, [PLAIN]))
    after = run(graph, [replace(PLAIN, feedback="table")])
    assert keys(after, 1) == ["B5->A5", "B5->B2/3", "B4->A4"]
    assert after.projections[-2].connectivity == back


def test_every_kind_of_loss_has_a_name() -> None:
    laws = [
        *CHAIN,
        ("input", "B4"),
        ("A4", "C4"),
        ("A4", "D4"),
        ("C4", "D4"),
        ("A4", "B5"),
        ("C4", "C5"),
        ("C4", "C2/3"),
        ("C2/3", "C5"),
        ("D4", "A4"),
        ("B4", "D4"),
        ("D4", "D2/3"),
        ("D2/3", "D5"),
    ]
    graph = areas({"A": 0, "B": 1, "C": 1, "D": 2}, laws, layers=LAYERS)
    after = run(graph, [PLAIN])
    assert notes(after).endswith(
        "5 projections dropped: 1 from the input to higher levels, 1 over more than one level, "
        "1 between areas from or to other layers, 1 within areas, 1 to lower levels"
    )
    skipping = run(graph, [WireLevels(skips=("A->D",))])
    assert set(keys(skipping)) - set(keys(after)) == {"A4->D4"}
    lateral = areas({"A": 0, "B": 0}, [("input", "A4"), ("input", "B4"), ("A4", "B4")], layers="4")
    wire = WireLevels(within=(), sources=("4",), skips=())
    assert "1 within levels" in notes(run(lateral, [wire]))


@st.composite
def hierarchies(draw: st.DrawFn) -> Graph:
    """Areas of random levels, in any order, that the input reaches one way or another."""
    n = draw(st.integers(1, 6))
    rises = draw(st.lists(st.integers(0, 1), min_size=n - 1, max_size=n - 1))
    steps = [0, *accumulate(rises)]
    order = draw(st.permutations(range(n)))
    layers = draw(st.permutations(LAYERS))
    levels = {f"A{k}": steps[k] for k in order}
    laws = [("input", f"A{k}4") for k in range(n) if not steps[k]]
    for k in range(n):
        laws += [(f"A{k}4", f"A{k}2/3"), (f"A{k}2/3", f"A{k}5")]
        below = [j for j in range(n) if steps[j] == steps[k] - 1]
        if below:
            laws.append((f"A{draw(st.sampled_from(below))}5", f"A{k}4"))
    ends = [f"A{k}{layer}" for k in range(n) for layer in LAYERS]
    pairs = st.tuples(st.sampled_from(ends), st.sampled_from(ends))
    laws += draw(st.lists(pairs, max_size=20))
    return areas(levels, draw(st.permutations(list(dict.fromkeys(laws)))), layers=layers)


@given(hierarchies(), st.sampled_from(["none", "table", "mirrored"]))
def test_order_and_choice(graph: Graph, feedback: Any) -> None:
    after = run(graph, [replace(PLAIN, feedback=feedback)])
    place = {p.name: p.place for p in graph.populations}
    wanted = set()
    for q in graph.projections:  # the rule, once more
        pre, post = place[q.pre], place[q.post]
        assert post is not None
        assert post.level is not None
        if pre is None:
            keep = post.level == 0
        elif pre.area == post.area:
            keep = (pre.cortical_layer, post.cortical_layer) in (("4", "2/3"), ("2/3", "5"))
        else:
            assert pre.level is not None
            keep = post.level - pre.level == 1 and post.cortical_layer == "4"
        wanted |= {q.key} if keep else set()
    assert set(keys(after)) == wanted
    position = {p.name: k for k, p in enumerate(after.populations)}
    assert position.keys() == place.keys()
    ranks = [place[p.name].level for p in after.biological]  # type: ignore[union-attr]
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    view: Any = nx.DiGraph()
    view.add_nodes_from(position)
    forward = [q for q in after.projections if not q.delay]
    for q in sorted(forward, key=lambda q: position[q.post]):
        view.add_edge(q.pre, q.post)
    walk = [f"{pre}->{post}" for pre, post in nx.edge_bfs(view, "input")]
    assert keys(after) == walk
    assert [q.delay for q in after.projections] == sorted(q.delay for q in after.projections)
    assert replace(PLAIN, feedback=feedback)(after).digest() == after.digest()


def test_populations_are_sorted_by_need() -> None:
    graph = areas({"B": 1, "A": 0}, CHAIN, layers=("5", "2/3", "4"))
    names = [p.name for p in run(graph, [PLAIN]).populations]
    assert names == ["input", "A4", "A2/3", "A5", "B4", "B2/3", "B5"]


def test_nuclei_without_layers_project_whole() -> None:
    thalamus = areas({"LP": 0, "V1": 1}, [("input", "LP"), ("LP", "V1")])
    assert keys(run(thalamus, [WireLevels((), (), (), ())])) == [
        "input->LP",
        "LP->V1",
    ]


def test_only_the_side_that_has_layers_is_asked_for_its_layer() -> None:
    cortex = areas({"V1": 1}, [("V14", "V12/3"), ("V12/3", "V15")], layers=LAYERS)
    nuclei = areas({"LP": 0, "SC": 2}, [("input", "LP")])
    ends = ("LP", "V14"), ("LP", "V12/3"), ("V15", "SC"), ("V14", "SC")
    graph = replace(
        cortex,
        populations=(*nuclei.populations, *cortex.biological),
        projections=(
            *nuclei.projections,
            *cortex.projections,
            *(Projection(pre, post, LAW) for pre, post in ends),
        ),
    )
    after = run(graph, [WireLevels(sources=("5",), targets=("4",), skips=())])
    assert keys(after) == ["input->LP", "LP->V14", "V14->V12/3", "V12/3->V15", "V15->SC"]
    assert "2 projections dropped: 2 between areas from or to other layers" in notes(after)


def test_what_the_input_misses_is_refused_by_name() -> None:
    graph = areas({"A": 0, "B": 1}, CHAIN[:3], layers=LAYERS)
    with pytest.raises(CompileError, match="the input does not reach B2/3, B4, B5"):
        run(graph, [PLAIN])
    graph = areas({"A": 0, "C": 2}, [*CHAIN[:3], ("A4", "C4")], layers=LAYERS)
    with pytest.raises(CompileError, match="does not reach C2/3, C4, C5"):
        run(graph, [PLAIN])


def test_cycles_within_an_area_are_refused_by_name() -> None:
    laws = [*CHAIN, ("A2/3", "A4")]
    graph = areas({"A": 0, "B": 1}, laws, layers=LAYERS)
    wire = WireLevels(("4->2/3", "2/3->4", "2/3->5"), skips=())
    with pytest.raises(CompileError, match=r"cycle: A\S+ -> A\S+ -> A") as error:
        run(graph, [wire])
    assert "within_feedback" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skips": ("VISp->VISport",)}, "skips: area 'VISport'.*\n.*did you mean 'VISpor'"),
        ({"sources": ("4", "23")}, "sources: layer '23'.*\n.*did you mean '2/3'"),
        ({"targets": ("IV",)}, "targets: layer 'IV'.*\n.*known: 2/3, 4, 5"),
        ({"within": ("4->L2/3",)}, "within: layer 'L2/3'.*\n.*did you mean '2/3'"),
        (
            {"feedback": "table", "within_feedback": ("6->4",)},
            "within_feedback: layer '6'",
        ),
    ],
)
def test_unknown_names(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        mousenet(LevelAreas(), WireLevels(**options))


def test_skips_that_do_nothing_are_refused() -> None:
    with pytest.raises(CompileError, match="VISp->VISl runs from level 1 to 2: it passes over"):
        mousenet(LevelAreas(), WireLevels(skips=("VISp->VISl",)))
    with pytest.raises(CompileError, match="LGNd->VISpor: the source has no projection"):
        mousenet(LevelAreas(), WireLevels(skips=("LGNd->VISpor",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"within": ("4-2/3",)}, "wire-levels.within: '4-2/3' is not a pair"),
        ({"skips": ("VISp->",)}, "wire-levels.skips: 'VISp->' is not a pair"),
        (
            {"within": ("2/3->4",), "feedback": "mirrored"},
            "wire-levels.within_feedback: '2/3->4' is already in within",
        ),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        WireLevels(**options)


def test_levels_come_first_and_read_outs_last() -> None:
    with pytest.raises(CompileError, match="the hierarchy level of A, B is unknown") as error:
        run(areas({"A": None, "B": None}, []), [PLAIN])
    assert "level-areas" in error.value.hint
    graph = areas({"A": 0}, [("input", "A4", LAW)], layers=("4",))
    out = Population("classes", (2,), artificial=True)
    read = Projection("A4", "classes", AllToAll())
    graph = replace(
        graph, populations=(*graph.populations, out), projections=(*graph.projections, read)
    )
    with pytest.raises(CompileError, match="A4->classes is a read-out"):
        run(graph, [WireLevels((), ("4",), ("4",), ())])
