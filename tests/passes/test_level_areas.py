import pytest
from areas import LAW, areas, mousenet
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.runner import run


def level_of(graph: Graph) -> dict[str, int | None]:
    return {p.name: p.place.level for p in graph.biological if p.place is not None}


def test_the_table_and_the_flow_of_the_mouse_agree() -> None:
    by_table, by_flow = mousenet(LevelAreas()), mousenet(LevelAreas("flow"))
    assert by_table.digest() == by_flow.digest() == mousenet().digest()
    assert by_table.provenance.steps[-1].notes == (
        "level 0: LGNd",
        "level 1: VISp",
        "level 2: VISl, VISrl, VISli, VISpl, VISal",
        "level 3: VISpor",
    )


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20), st.randoms())
def test_the_flow_is_the_longest_way(pairs: set[tuple[int, int]], random: object) -> None:
    pairs = {(low, high) for low, high in pairs if low < high}
    names = [f"area{k}" for k in range(7)]
    random.shuffle(names)  # type: ignore[attr-defined]
    laws = [(names[low] + "2", names[high] + "4") for low, high in sorted(pairs)]
    laws += [(f"{name}4", f"{name}2") for name in names]  # within areas nothing rises
    laws += [(f"{name}2", f"{name}4") for name in names]
    graph = areas(dict.fromkeys(sorted(names), None), laws, layers=("2", "4"))

    def longest(k: int) -> int:
        return max((longest(low) + 1 for low, high in pairs if high == k), default=0)

    after = run(graph, [LevelAreas("flow")])
    wanted = {f"{names[k]}{layer}": longest(k) for k in range(7) for layer in "24"}
    assert level_of(after) == wanted
    assert LevelAreas("table")(after).digest() == after.digest()
    assert LevelAreas("flow")(after).digest() == after.digest()


def test_the_flow_overrules_the_table() -> None:
    graph = areas({"A": 5, "B": 3}, [("B", "A")])
    assert level_of(LevelAreas("flow")(graph)) == {"A": 1, "B": 0}


def test_all_layers_of_an_area_share_its_level() -> None:
    graph = areas({"A": None}, [], layers=("2", "4"))
    known = areas({"A": 2}, [], layers=("4",)).populations[1]
    mixed = Graph((*graph.populations[:2], known), (), graph.provenance)
    assert level_of(LevelAreas()(mixed)) == {"A2": 2, "A4": 2}


def test_a_cycle_is_refused_by_name() -> None:
    laws = [("LP", "V1"), ("V1", "V2"), ("V2", "V3"), ("V3", "V1")]
    graph = areas(dict.fromkeys(("LP", "V1", "V2", "V3"), None), laws)
    with pytest.raises(CompileError, match=r"cycle: V\d -> V\d -> V\d -> V\d") as error:
        LevelAreas("flow")(graph)
    assert error.value.where == "level-areas.by"


def test_missing_levels_are_refused_by_name() -> None:
    graph = areas({"V1": 0, "V2": None, "V3": None}, [("V1", "V2")])
    with pytest.raises(CompileError, match="no level for V2, V3"):
        LevelAreas()(graph)


def test_two_levels_of_one_area_are_refused() -> None:
    one, other = areas({"V1": 0}, [], layers=("4",)), areas({"V1": 1}, [], layers=("5",))
    graph = Graph((*one.populations, other.populations[1]), (), one.provenance)
    with pytest.raises(CompileError, match="populations of V1 have levels 0, 1"):
        LevelAreas()(graph)


def test_cells_have_no_areas() -> None:
    graph = areas({"V1": 0}, [("input", "V1", LAW)])
    homeless = Graph(
        (graph.populations[0], type(graph.populations[1])("V1", (3,))),
        graph.projections,
        graph.provenance,
    )
    for by in ("table", "flow"):
        with pytest.raises(CompileError, match="the area of V1 is unknown"):
            LevelAreas(by)(homeless)
