from collections import defaultdict
from dataclasses import replace

import pytest
from areas import LAW, areas, mousenet
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import GaussianLaw, Graph
from connectome_compiler.passes.level_areas import LevelAreas
from connectome_compiler.passes.normalise_in_degree import NormaliseInDegree
from connectome_compiler.passes.runner import run
from connectome_compiler.passes.wire_levels import WireLevels


def laws_of(graph: Graph) -> list[GaussianLaw]:
    laws = [q.connectivity for q in graph.projections]
    assert all(isinstance(law, GaussianLaw) for law in laws)
    return laws  # type: ignore[return-value]


degrees = st.floats(1e-6, 1e6)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")),
        st.tuples(degrees, st.none() | st.floats(0.01, 1), st.integers(0, 1)),
    ),
    st.floats(1e-3, 1e6),
)
def test_every_target_has_the_same(
    given_: dict[tuple[str, str], tuple[float, float | None, int]], total: float
) -> None:
    laws = [(a, b, GaussianLaw(3.0, n, peak)) for (a, b), (n, peak, _) in given_.items()]
    graph = areas(dict.fromkeys("ABC", None), laws)
    delays = [delay for *_, delay in given_.values()]
    graph = graph.with_projections(
        replace(q, delay=delay if q.pre < q.post else 1)
        for q, delay in zip(graph.projections, delays, strict=True)
    )
    after = run(graph, [NormaliseInDegree(total)])
    sums: dict[tuple[str, bool], float] = defaultdict(float)
    ratios: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for q, old, law in zip(graph.projections, laws_of(graph), laws_of(after), strict=True):
        assert replace(law, in_degree=1.0) == replace(old, in_degree=1.0)
        if old.peak is not None:
            assert law == old
            continue
        target = q.post, q.delay > 0
        sums[target] += law.in_degree
        ratios[target].append(law.in_degree / old.in_degree)
    assert all(found == pytest.approx(total) for found in sums.values())
    for found in ratios.values():  # shares stay
        assert found == pytest.approx([found[0]] * len(found))
    again = NormaliseInDegree(total)(after)
    assert [law.in_degree for law in laws_of(again)] == pytest.approx(
        [law.in_degree for law in laws_of(after)]
    )
    assert len(after.provenance.steps[-1].notes) == len(sums)


def test_says_what_it_found() -> None:
    laws = [("A", "C", LAW), ("B", "C", GaussianLaw(1.0, 30.0)), ("A", "B", LAW)]
    after = run(areas(dict.fromkeys("ABC", None), laws), [NormaliseInDegree(50)])
    assert [law.in_degree for law in laws_of(after)] == [12.5, 37.5, 50]
    assert after.provenance.steps[-1].notes == (
        "C: 2 projections of feedback of in-degree 40, now 50",
        "B: 1 projection of feedback of in-degree 10, now 50",
    )


def test_the_published_in_degrees_stay_as_they_are() -> None:
    before = mousenet(LevelAreas(), WireLevels())
    after = run(before, [NormaliseInDegree()])
    for old, new in zip(laws_of(before), laws_of(after), strict=True):
        assert new.in_degree == pytest.approx(old.in_degree, rel=1e-12)


@pytest.mark.parametrize("total", [0, -1, float("nan"), float("inf")])
def test_no_total(total: float) -> None:
    with pytest.raises(
        CompileError, match=r"normalise-in-degree.total: must be positive and finite"
    ):
        NormaliseInDegree(total)
