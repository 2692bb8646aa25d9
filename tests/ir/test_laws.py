"""A law lists what it counts, and only where it has a list; what does not fit is refused."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from connectome_compiler import registry
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    AllToAll,
    Conv2d,
    ConvTranspose2d,
    GaussianKernel,
    GaussianLaw,
    Graph,
    Law,
    Linear,
    OneToOne,
    Place,
    Population,
    Projection,
    Provenance,
    Shift,
    Synapses,
    Window,
)
from connectome_compiler.ir.connectivity import Index
from connectome_compiler.ir.edit import keep_neurons
from connectome_compiler.nn.window_rules import SEEDS, WindowRule
from connectome_compiler.passes.materialise_laws import MaterialiseLaws


@given(st.integers(0, 4), st.integers(0, 4))
def test_laws_list_what_they_count(n_post: int, n_pre: int) -> None:
    post, pre = AllToAll().entries(n_post, n_pre)
    expected = [(i, j) for i in range(n_post) for j in range(n_pre)]
    assert list(zip(post, pre, strict=True)) == expected
    assert AllToAll().count(n_post, n_pre) == len(expected)
    if n_post == n_pre:
        assert_array_equal(OneToOne().entries(n_post, n_pre), [range(n_post)] * 2)
        assert OneToOne().count(n_post, n_pre) == n_post
    else:
        with pytest.raises(CompileError, match="cannot be paired"):
            OneToOne().count(n_post, n_pre)


@st.composite
def selected(draw: st.DrawFn, n: int) -> tuple[int, ...] | None:
    return draw(st.none() | st.sets(st.integers(0, n - 1)).map(lambda s: tuple(sorted(s))))


@given(st.data())
def test_laws_over_selected_units(data: st.DataObject) -> None:
    n_post, n_pre = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    chosen = data.draw(selected(n_post)), data.draw(selected(n_pre))
    post, pre = (range(n) if c is None else c for n, c in zip((n_post, n_pre), chosen, strict=True))
    law = AllToAll(*chosen)
    pairs = list(zip(*law.entries(n_post, n_pre), strict=True))
    assert pairs == [(i, j) for i in post for j in pre]
    assert law.count(n_post, n_pre) == len(pairs)
    one = OneToOne(*chosen)
    if len(post) != len(pre):
        with pytest.raises(
            CompileError, match=f"{len(pre)} units cannot be paired with {len(post)}"
        ):
            one.entries(n_post, n_pre)
        return
    pairs = list(zip(*one.entries(n_post, n_pre), strict=True))
    assert pairs == list(zip(post, pre, strict=True))
    assert one.count(n_post, n_pre) == len(pairs)
    assert all(x.dtype == np.int32 for x in one.entries(n_post, n_pre))


@pytest.mark.parametrize("units", [(1, 0), (0, 0), (-1, 0), (0, 3), (2**40,)])
@pytest.mark.parametrize("law", [AllToAll, OneToOne])
def test_selected_units_ascend_within_the_population(law: Any, units: tuple[int, ...]) -> None:
    with pytest.raises(CompileError, match=r"selected pre units: .* ascending indices within 0..2"):
        law(pre_units=units).count(3, 3)
    with pytest.raises(
        CompileError, match=r"selected post units: .* ascending indices within 0..2"
    ):
        law(post_units=units).entries(3, 3)


def test_laws_say_what_they_select() -> None:
    assert AllToAll().describe() == "all to all"
    assert AllToAll(pre_units=(0, 2)).describe() == "all to all, from 2 selected"
    assert OneToOne((1,), (0,)).describe() == "one to one, from 1 to 1 selected"


@given(st.integers(0, 6), st.integers(-8, 8))
def test_shift_pairs_each_unit_with_the_one_so_many_places_on(n: int, by: int) -> None:
    post, pre = Shift(by).entries(n, n)
    assert list(zip(post, pre, strict=True)) == [(i + by, i) for i in range(n) if 0 <= i + by < n]
    assert Shift(by).count(n, n) == len(post)
    assert post.dtype == pre.dtype == np.int32


def test_shift_needs_as_many_units_on_both_sides() -> None:
    for ask in (Shift(1).entries, Shift(1).count):
        with pytest.raises(CompileError, match="3 units cannot be paired with 2"):
            ask(2, 3)
    assert Shift(-2).describe() == "one to one, shifted by -2"
    with pytest.raises(CompileError, match=r"Shift.by: is 0.5, expected a whole number"):
        Shift(0.5)  # type: ignore[arg-type]


# --- windows --------------------------------------------------------------------------------------

RULES = st.sampled_from(
    [
        WindowRule("2d", radius=0.4, pre_width=4, post_width=6),
        WindowRule("2d", radius=0.6, pre_width=4, post_width=6, mode="clean", torus=True),
        WindowRule("diagonal", reduction=0.5),
        WindowRule("diagonal", reduction=0.3, transposed=True),
        WindowRule("random", reduction=0.5, seed=3),
        WindowRule("kernel", reduction=0.2, seed=4, transposed=True),
        WindowRule("gaussian", reduction=0.5),
        WindowRule("stripes", width=4),
        WindowRule("exact", width=5, seed=1),
        WindowRule("block", width=6),
    ]
)


@given(RULES, st.sampled_from([(24, 24), (12, 16), (36, 20)]))
def test_entries_are_those_of_the_mask(rule: WindowRule, shape: tuple[int, int]) -> None:
    law, square = Window(rule), shape[0] == shape[1]
    if rule.form in ("stripes", "exact", "block") and not square:
        with pytest.raises(CompileError, match="as many outputs as inputs"):
            law.count(*shape)
        return
    if rule.form == "gaussian":
        mask = np.ones(shape, bool)
    else:
        mask = np.array([list(row) for row in rule.rows(*shape)], bool)
    post, pre = law.entries(*shape)
    assert post.dtype == pre.dtype == np.int32
    np.testing.assert_array_equal(np.nonzero(mask), (post, pre))
    assert law.count(*shape) == mask.sum()
    assert law.describe() == rule.describe()


@pytest.mark.parametrize("transposed", [False, True])
def test_only_the_factors_of_a_gaussian_window_are_weights(transposed: bool) -> None:
    generator = np.random.default_rng(0)
    rule = WindowRule("gaussian", reduction=0.5, transposed=transposed)
    listed = Window(rule).synapses(4, 6, generator)
    assert listed.unit == "factor"
    assert_array_equal(listed.weight.reshape(4, 6), [list(row) for row in rule.values(4, 6)])
    assert len(np.unique(listed.weight)) > 1
    for law in (Window(WindowRule("diagonal", reduction=0.5)), AllToAll()):
        listed = law.synapses(4, 6, generator)
        assert listed.unit == "synapses"
        assert listed.weight.dtype == np.int32
        assert_array_equal([listed.post, listed.pre], law.entries(4, 6))
        assert (listed.weight == 1).all()


def test_only_what_has_a_seed_is_drawn_anew() -> None:
    drawn = Window(WindowRule("kernel", reduction=0.2, seed=SEEDS - 1))
    assert drawn.drawn_anew(1) == Window(replace(drawn.rule, seed=0))
    assert drawn.drawn_anew(3) == Window(replace(drawn.rule, seed=2))
    for law in (Window(WindowRule("block", width=6)), AllToAll(), GaussianLaw(1.0, 2.0)):
        assert law.drawn_anew(1) == law


def windowed(rule: WindowRule, **options: Any) -> Graph:
    shapes = options.pop("shapes", ((24,), (24,)))
    a, b = (Population(name, shape) for name, shape in zip("ab", shapes, strict=True))
    return Graph((a, b), (Projection("a", "b", Window(rule), delay=0, **options),), Provenance("t"))


@given(RULES)
def test_saved_and_hashed(tmp_path_factory: pytest.TempPathFactory, rule: WindowRule) -> None:
    rule = replace(rule, transposed=False)
    g = windowed(rule)
    again = Graph.load(g.save(tmp_path_factory.mktemp("g") / "g"))
    assert again.projections[0].connectivity == Window(rule)
    assert again.digest() == g.digest()


def test_every_number_counts() -> None:
    rule = WindowRule("2d", radius=0.4, pre_width=4, post_width=6)
    others = [
        replace(rule, radius=0.41),
        replace(rule, pre_width=6),
        replace(rule, mode="clean"),
        WindowRule("diagonal", reduction=0.4),
        WindowRule("random", reduction=0.4),
        WindowRule("random", reduction=0.4, seed=1),
    ]
    digests = {windowed(r).digest() for r in (rule, *others)}
    assert len(digests) == len(others) + 1


def test_a_large_window_needs_memory_for_its_connections_alone() -> None:
    import tracemalloc

    rule = WindowRule("2d", radius=0.03, pre_width=100, post_width=100, mode="clean")
    tracemalloc.start()
    post, _ = Window(rule).entries(10_000, 10_000)  # as a matrix: 100 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 200_000 < len(post) < 400_000
    assert peak < 25e6


MAPS = ((24, 4, 4), (24, 4, 4))


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (lambda: windowed(WindowRule("2d", radius=0.4, pre_width=5, post_width=6)), "divide"),
        (lambda: windowed(WindowRule("2d", radius=0.01, pre_width=4, post_width=6)), "without"),
        (
            lambda: windowed(
                WindowRule("diagonal", reduction=0.5),
                operator=ConvTranspose2d((1, 1)),
                shapes=MAPS,
            ),
            "transposed=False",
        ),
        (
            lambda: windowed(
                WindowRule("kernel", reduction=0.5, transposed=True),
                operator=Conv2d((1, 1)),
                shapes=MAPS,
            ),
            "transposed=True",
        ),
        (
            lambda: windowed(
                WindowRule("random", reduction=0.5), operator=Conv2d((1, 1)), shapes=MAPS
            ),
            "form 'kernel'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(graph: Any, problem: str) -> None:
    with pytest.raises(VerifyError, match=r"projection a->b") as found:
        graph().verify()
    assert problem in str(found.value)


def test_what_needs_a_list_says_so(tmp_path: Path) -> None:
    g = windowed(WindowRule("diagonal", reduction=0.5))
    for edit in (
        lambda: g.projections[0].synapses,
        lambda: keep_neurons(g, {"a": np.arange(24) < 3}),
    ):
        with pytest.raises(CompileError, match="not an edge list") as found:
            edit()
        assert "materialise-laws" in found.value.hint


def test_numbers_of_no_rule_are_refused() -> None:
    with pytest.raises(CompileError, match="layer x: radius is a fraction"):
        Window.of("layer x", form="2d", radius=-1.0, pre_width=2, post_width=2)


# --- laws of probability, places, kernels joined position by position -----------------------------

PLACE = Place("VISp", "4", level=1, n_neurons=108_623, surface_mm2=4.3271)
KERNEL = GaussianKernel(peak=0.5, width=1.5, kernel=(3, 3))
CONV = Conv2d((3, 3), padding=(1, 1), per_position=True)


def maps(connectivity: Any = KERNEL, operator: Any = CONV, **changed: Any) -> Graph:
    """Two channels of 6 x 6 onto three."""
    pre = Population("a", (2, 6, 6), place=PLACE)
    post = Population("b", changed.pop("post", (3, 6, 6)))
    q = Projection("a", "b", connectivity, operator=operator, delay=0)
    return Graph((replace(pre, **changed), post), (q,), Provenance("t"))


@given(
    st.floats(0.01, 5),
    st.floats(0.3, 12),
    st.integers(0, 5).map(lambda h: 2 * h + 1),
)
def test_the_probability_is_the_gaussian_cut_at_one(peak: float, width: float, k: int) -> None:
    law = GaussianKernel(peak, width, (k, k))
    p = law.probability()
    for y in range(k):
        for x in range(k):
            dy, dx = y - k // 2, x - k // 2
            plain = peak * np.exp(-(dx**2 + dy**2) / (2 * width**2))
            assert p[y, x] == pytest.approx(min(plain, 1), rel=1e-12)
    assert law.count(3, 2 * k * k) == round(3 * 2 * p.sum())


def test_laws_have_no_list_until_they_are_drawn() -> None:
    with pytest.raises(CompileError, match="materialise-laws"):
        KERNEL.entries(3, 18)
    with pytest.raises(CompileError, match="lay-kernels"):
        GaussianLaw(100.0, 20.0).entries(3, 4)
    assert GaussianLaw(100.0, 20.5).count(10, 4) == 205


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: GaussianLaw(0.0, 1.0), "width"),
        (lambda: GaussianLaw(1.0, float("nan")), "in_degree"),
        (lambda: GaussianLaw(1.0, 1.0, peak=1.2), "must be a probability above 0, not 1.2"),
        (lambda: GaussianLaw(1.0, 1.0, unit="mm"), "must be 'um' or 'px'"),  # type: ignore[arg-type]
        (lambda: GaussianKernel(0.0, 1.0, (1, 1)), "peak"),
        (lambda: GaussianKernel(1.0, 1.0, (0, 1)), r"must be \(height, width\)"),
        (lambda: Conv2d((1, 1), per_position=2), "must be true or false"),  # type: ignore[arg-type]
    ],
)
def test_laws_that_are_none_are_refused(make: Any, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        make()


def test_a_connection_per_position_is_one_weight() -> None:
    graph = maps()
    (q,) = graph.projections
    assert graph.shape(q) == (3, 2 * 9)
    assert q.operator.area == 1
    assert graph.count(q) == round(3 * 2 * KERNEL.probability().sum())
    whole = maps(AllToAll(), replace(CONV, per_position=False)).projections[0]
    assert whole.operator.area == 9
    turned = ConvTranspose2d((4, 4), (2, 2), (1, 1), per_position=True)
    assert turned.pairs((3, 12, 12), (2, 6, 6)) == (3, 2 * 16)


@given(st.integers(1, 7), st.integers(1, 3), st.integers(4, 11))
def test_end_padding_counts_as_torch_counts_zeros(k: int, stride: int, size: int) -> None:
    total = max(k - stride, 0)
    before, after = total // 2, total - total // 2
    made = (size + total - k) // stride + 1
    op = Conv2d((k, k), (stride,) * 2, (before,) * 2, end_padding=(after - before,) * 2)
    op.check((1, made, made), (1, size, size))
    with pytest.raises(CompileError, match="makes maps of"):
        op.check((1, made + 1, made), (1, size, size))


def test_laws_of_other_kernels_are_refused() -> None:
    maps().verify()
    with pytest.raises(VerifyError, match="use one size for both"):
        maps(replace(KERNEL, kernel=(5, 5))).verify()
    with pytest.raises(VerifyError, match="per_position"):
        maps(operator=replace(CONV, per_position=False)).verify()
    with pytest.raises(VerifyError, match="per_position"):
        maps(operator=Linear()).verify()
    disc = Window(WindowRule("2d", radius=0.5, pre_width=1, post_width=1))
    with pytest.raises(VerifyError, match="set per_position to false"):
        maps(disc).verify()
    drawn = Window(WindowRule("individual", reduction=0.5, seed=0))
    maps(drawn).verify()
    assert drawn.count(3, 18) == len(drawn.entries(3, 18)[0])


@pytest.mark.parametrize("wrong", [{"level": -1}, {"n_neurons": -1}, {"surface_mm2": 0.0}])
def test_places_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VerifyError, match=next(iter(wrong))):
        maps(place=replace(PLACE, **wrong)).verify()


@pytest.mark.parametrize(
    "connectivity", [KERNEL, Synapses.from_edges([0, 2], [17, 3], [1, 1])], ids=["law", "list"]
)
def test_saved_and_loaded_it_is_the_same(connectivity: Any, tmp_path: Path) -> None:
    graph = maps(connectivity)
    again = Graph.load(graph.save(tmp_path / "g"))
    assert again.digest() == graph.digest()
    assert again.population("a").place == PLACE
    law = Graph(
        (Population("a", (9,)),), (Projection("a", "a", GaussianLaw(9.5, 2.0)),), Provenance("t")
    )
    assert Graph.load(law.save(tmp_path / "l")).projections[0].connectivity == GaussianLaw(9.5, 2.0)


def test_places_are_part_of_the_digest() -> None:
    found = {maps(place=p).digest() for p in (None, PLACE, replace(PLACE, level=2))}
    assert len(found) == 3


def test_an_image_wired_as_a_brain_is_counts_as_source() -> None:
    image = maps(artificial=True)
    assert image.connectome == image.projections
    dense = maps(AllToAll(), replace(CONV, per_position=False), artificial=True)
    assert dense.connectome == ()


# --- laws of other packages -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ring(Law):
    """Every unit to those at most ``radius`` places away on a ring, itself left out."""

    radius: int = 1

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        far = np.abs(np.arange(n_post)[:, None] - np.arange(n_pre))
        near = np.minimum(far, n_post - far)
        post, pre = np.nonzero((near > 0) & (near <= self.radius))
        return post.astype(np.int32), pre.astype(np.int32)

    def count(self, n_post: int, n_pre: int) -> int:
        if n_post != n_pre or n_post < 2 * self.radius + 1:
            raise CompileError("ring", f"{n_pre} units cannot surround {n_post}")
        return 2 * self.radius * n_post

    def describe(self) -> str:
        return f"ring, radius {self.radius}"


def ringed(law: Any, n: int = 6) -> Graph:
    return Graph((Population("a", (n,)),), (Projection("a", "a", law),), Provenance("t"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that lists classes as a package does, under the names of the classes."""

    def install(**listed: str) -> None:
        def points(group: str) -> list[EntryPoint]:
            named = listed.items() if group == "connectome_compiler.laws" else ()
            return [EntryPoint(name, value, group) for name, value in named]

        monkeypatch.setattr(registry, "entry_points", points)
        registry._plugins.cache_clear()

    monkeypatch.setitem(sys.modules, "rings", SimpleNamespace(Ring=Ring, Fraction=Fraction))
    yield install
    registry._plugins.cache_clear()


def test_a_law_of_another_package_is_one_like_ours(tmp_path: Path, installed: Any) -> None:
    installed(Ring="rings:Ring")
    graph = ringed(Ring(2))
    graph.verify()
    assert graph.n_connections == 24
    assert graph.density(graph.projections[0]) == 24 / 30
    assert graph.digest() != ringed(Ring(1)).digest()
    assert "ring, radius 2" in repr(graph)

    again = Graph.load(graph.save(tmp_path / "g"))
    assert again.projections[0].connectivity == Ring(2)
    assert again.digest() == graph.digest()

    listed = MaterialiseLaws()(graph).projections[0].synapses
    np.testing.assert_array_equal((listed.post, listed.pre), Ring(2).entries(6, 6))


def test_a_law_says_itself_where_it_does_not_fit() -> None:
    with pytest.raises(VerifyError, match=r"projection a->a: ring: 6 units cannot surround 6"):
        ringed(Ring(3)).verify()
    with pytest.raises(CompileError, match=r"Ring.radius: is 0.5, expected a whole number"):
        Ring(0.5)  # type: ignore[arg-type]


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path, installed: Any) -> None:
    for listed in ({}, {"Ring": "rings:Fraction"}):
        installed(**listed)
        with pytest.raises(CompileError, match=r"law Ring could not be loaded again") as found:
            ringed(Ring()).save(tmp_path / "g")
        assert f'Ring = "{Ring.__module__}:Ring"' in found.value.hint
        assert not (tmp_path / "g").exists()


def test_a_graph_of_a_package_that_is_not_installed_is_refused_in_words(
    tmp_path: Path, installed: Any
) -> None:
    installed(Ring="rings:Ring")
    folder = ringed(Ring()).save(tmp_path / "g")
    where = re.escape("projections[0].connectivity")
    for listed, problem in (
        ({}, "holds the law 'Ring', which no installed package provides"),
        (
            {"Ring": "rings:Fraction"},
            "the law 'Ring', but <class 'fractions.Fraction'> does not make one",
        ),
        ({"Ring": "no_such_package:Ring"}, "cannot be imported: No module named"),
    ):
        installed(**listed)
        with pytest.raises(CompileError, match=f"{where}.*{problem}"):
            Graph.load(folder)


def test_a_law_whose_numbers_nobody_could_see_is_refused() -> None:
    class Hidden(Ring):
        def __init__(self, radius: int) -> None:
            object.__setattr__(self, "radius", radius)

    with pytest.raises(VerifyError, match="Hidden is not a frozen dataclass"):
        ringed(Hidden(2)).verify()
