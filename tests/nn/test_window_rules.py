"""Masks of windowed layers against plain readings of the published rules, and their figures."""

import hashlib
import math
import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectome_compiler.nn.window_rules import (
    FORMS,
    PER_WEIGHT,
    WindowRule,
    legacy_stream,
    widths_near,
)

Mask = npt.NDArray[np.bool_]

RADII = st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 1.0]) | st.floats(0.02, 1.4)
REDUCTIONS = st.sampled_from([0.0, 0.167, 0.333, 0.5, 0.6, 0.8, 0.925]) | st.floats(0, 0.99)
SIDES = st.integers(1, 9)


def grid(radius: float, pre_width: int, post_width: int, **options: Any) -> WindowRule:
    return WindowRule("2d", radius=radius, pre_width=pre_width, post_width=post_width, **options)


def mask_of(rule: WindowRule, n_post: int, n_pre: int) -> Mask:
    """Return the mask that the runs describe, and check that they are in order."""
    mask = np.zeros((n_post, n_pre), bool)
    runs = list(rule.runs(n_post, n_pre))
    for post, first, last in runs:
        assert 0 <= first < last <= n_pre
        mask[post, first:last] = True
    for (post, _, last), (next_post, first, _) in pairwise(runs):
        assert (post, last) <= (next_post, first)
    return mask


# --- the published rules, read literally ----------------------------------------------------------


def published_2d(nx: int, ny: int, a: int, b: int, r: float) -> Mask:
    """Return ``[x, y]``."""
    mask = np.zeros((nx, ny), bool)
    if ny == 1:
        return ~mask
    hx, hy = nx // a, ny // b
    for p in range(nx):
        u, v = (p % a) / a, math.floor(p / a) / hx
        for k in range(max(math.ceil((v - r) * hy), 0), min(math.ceil((v + r) * hy), hy)):
            t = r * r - (k / hy - v) * (k / hy - v)
            if not t > 0:
                continue
            s = math.sqrt(t)
            for j in range(max(math.ceil((u - s) * b), 0), min(math.ceil((u + s) * b), b)):
                mask[p, k * b + j] = True
    return mask


def published_diagonal(nx: int, ny: int, reduction: float) -> Mask:
    """Return ``[x, y]``."""
    mask = np.zeros((nx, ny), bool)
    if ny == 1:
        return ~mask
    h = (nx * ny / math.sqrt(nx**2 + ny**2)) * (1 - math.sqrt(reduction))
    s = (nx - 1) / (ny - 1)
    w = h * math.sqrt(s**2 + 1)
    for q in range(ny):
        lower = math.floor(s * q - w) + 1 if s * q - w >= 0 else 0
        upper = math.ceil(s * q + w) if s * q + w < nx else nx
        mask[lower:upper, q] = True
    return mask


def open_disc(n_post: int, n_pre: int, rule: WindowRule, *, exact: bool = True) -> Mask:
    """Return which centres are nearer than the radius, one pair after the other."""
    a, b = rule.pre_width, rule.post_width
    assert a
    assert b
    assert rule.radius is not None

    def apart(c: int, n: int, j: int, m: int) -> Any:
        if not exact:
            return c / n - j / m
        gap = abs(Fraction(c, n) - Fraction(j, m))
        return min(gap, 1 - gap) if rule.torus else gap

    radius: Any = Fraction(str(rule.radius)) if exact else rule.radius
    return np.array(
        [
            [
                apart(p % a, a, q % b, b) ** 2 + apart(p // a, n_pre // a, q // b, n_post // b) ** 2
                < radius * radius
                for p in range(n_pre)
            ]
            for q in range(n_post)
        ]
    )


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, RADII)
def test_grids_are_those_published(a: int, hx: int, b: int, hy: int, r: float) -> None:
    nx, ny = a * hx, b * hy
    wanted = published_2d(nx, ny, a, b, r)
    np.testing.assert_array_equal(mask_of(grid(r, a, b), ny, nx), wanted.T)
    # Transposed, x is the outputs.
    found = mask_of(grid(r, b, a, transposed=True), nx, ny)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("r", [0.3, 0.4, 0.5, 0.6])
@pytest.mark.parametrize(("nx", "ny", "a", "b"), [(512, 1024, 16, 32), (256, 512, 16, 32)])
def test_the_grids_of_the_papers(nx: int, ny: int, a: int, b: int, r: float) -> None:
    wanted = published_2d(nx, ny, a, b, r)
    np.testing.assert_array_equal(mask_of(grid(r, a, b), ny, nx), wanted.T)
    np.testing.assert_array_equal(mask_of(grid(r, b, a, transposed=True), nx, ny), wanted)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), REDUCTIONS)
def test_bands_are_those_published(nx: int, ny: int, reduction: float) -> None:
    wanted = published_diagonal(nx, ny, reduction)
    rule = WindowRule("diagonal", reduction=reduction)
    np.testing.assert_array_equal(mask_of(rule, ny, nx), wanted.T)
    transposed = WindowRule("diagonal", reduction=reduction, transposed=True)
    np.testing.assert_array_equal(mask_of(transposed, nx, ny), wanted)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), RADII, st.booleans()
)
def test_clean_is_the_open_disc(a: int, hx: int, b: int, hy: int, r: float, torus: bool) -> None:
    rule = grid(r, a, b, mode="clean", torus=torus)
    wanted = open_disc(b * hy, a * hx, rule)
    np.testing.assert_array_equal(mask_of(rule, b * hy, a * hx), wanted)


def test_a_clean_window_is_symmetric_and_a_torus_is_the_same_everywhere() -> None:
    clean = mask_of(grid(0.4, 10, 10, mode="clean"), 100, 100)
    np.testing.assert_array_equal(clean, clean.T)
    assert (mask_of(grid(0.4, 10, 10), 100, 100) != clean).any()
    torus = mask_of(grid(0.4, 10, 10, mode="clean", torus=True), 100, 100)
    assert set(torus.sum(0)) == set(torus.sum(1)) == {int(torus[0].sum())}


# --- figures that were published or measured on the originals -------------------------------------


@pytest.mark.parametrize(
    ("r", "square", "gan"),
    [
        (0.2, 9.24, 10.56),
        (0.3, 19.96, 21.71),
        (0.4, 32.68, 34.19),
        (0.5, 45.92, 47.88),
        (0.6, 60.80, 61.85),
        (0.8, 83.96, 85.08),
        (1.0, 97.64, 97.54),
    ],
)
def test_usage_is_that_of_the_originals(r: float, square: float, gan: float) -> None:
    assert round(100 * grid(r, 10, 10).usage(100, 100), 2) == square
    assert round(100 * grid(r, 32, 16).usage(512, 1024), 2) == gan
    assert round(100 * grid(r, 32, 16, transposed=True).usage(512, 1024), 2) == gan


def test_the_figures_that_the_notebooks_print() -> None:
    assert round(100 * grid(0.4, 32, 16).usage(512, 1024), 5) == 34.18846
    assert round(100 * grid(0.4, 3, 4).usage(16, 6), 5) == 33.33333
    layers = ((512, 256, 16, 16), (256, 128, 16, 8), (128, 64, 8, 8))
    found = [
        round(100 * grid(0.4, b, a, transposed=True).usage(n_post, n_pre), 5)
        for n_pre, n_post, a, b in layers
    ]
    assert found == [34.51538, 34.49707, 35.88867]


@pytest.mark.parametrize(
    ("n_post", "n_pre", "post_width", "pre_width", "r", "doubles", "exact", "total"),
    [
        (128, 256, 8, 16, 0.5, 64, 64, 15442),
        (100, 100, 10, 10, 0.5, 132, 172, 4592),
        (64, 64, 8, 8, 0.25, 48, 48, 532),
        (100, 100, 10, 10, 0.4, 60, 100, 3268),
    ],
)
def test_how_far_the_published_rule_is_from_the_disc(
    n_post: int,
    n_pre: int,
    post_width: int,
    pre_width: int,
    r: float,
    doubles: int,
    exact: int,
    total: int,
) -> None:
    rule = grid(r, pre_width, post_width)
    mask = mask_of(rule, n_post, n_pre)
    assert mask.sum() == total == rule.count(n_post, n_pre)
    assert (mask != open_disc(n_post, n_pre, rule, exact=False)).sum() == doubles
    clean = mask_of(grid(r, pre_width, post_width, mode="clean"), n_post, n_pre)
    assert (mask != clean).sum() == exact


def test_the_inputs_of_each_unit_of_the_gan() -> None:
    fan_in = mask_of(grid(0.4, 32, 16, transposed=True), 512, 1024).sum(1)
    assert (fan_in.min(), fan_in.max()) == (140, 509)


@pytest.mark.parametrize("r", [0.2, 0.4, 0.6, 1.0])
def test_usage_tends_to_the_formula(r: float) -> None:
    formula = r * r * (math.pi - 8 * r / 3 + r * r / 2)
    rule = grid(r, 60, 60, mode="clean")
    assert rule.usage(3600, 3600) == pytest.approx(formula, abs=0.012)


def test_usage_of_a_band() -> None:
    assert WindowRule("diagonal", reduction=0.5).usage(100, 100) == 0.5030
    assert WindowRule("diagonal", reduction=0.0).usage(100, 70) == 1
    assert WindowRule("diagonal", reduction=0.5).spread(100, 100) == pytest.approx(20.7106781)
    half = WindowRule("diagonal", halfbandwidth=20.710678118654755)
    assert half.usage(100, 100) == 0.5030


# --- what is drawn --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1500))
def test_the_stream_is_that_of_numpy(seed: int, n: int) -> None:
    stream = legacy_stream(seed)
    wanted = np.random.RandomState(seed).random_sample(n)
    np.testing.assert_array_equal([stream.random() for _ in range(n)], wanted)


@pytest.mark.parametrize("form", PER_WEIGHT)
@pytest.mark.parametrize("transposed", [False, True])
def test_weights_are_drawn_in_the_layout_of_torch(form: str, transposed: bool) -> None:
    rule = WindowRule(form, reduction=0.4, seed=7, transposed=transposed)
    shape = (12, 20) if transposed else (20, 12)
    draws = np.random.RandomState(7).random_sample(shape)
    wanted = draws >= 0.4
    found = mask_of(rule, 20, 12)
    np.testing.assert_array_equal(found, wanted.T if transposed else wanted)
    draws = np.random.RandomState(7).random_sample((*shape, 9))
    assert bytes(rule.draw(20, 12, 9)) == (draws >= 0.4).tobytes()


@pytest.mark.parametrize("transposed", [False, True])
def test_pairs_are_drawn_along_x_first(transposed: bool) -> None:
    stream = random.Random(3)
    n_post, n_pre = 7, 5
    wanted = np.zeros((n_post, n_pre), bool)
    for x in range(n_post if transposed else n_pre):
        for y in range(n_pre if transposed else n_post):
            wanted[(x, y) if transposed else (y, x)] = stream.random() > 0.3
    rule = WindowRule("kernel", reduction=0.3, seed=3, transposed=transposed)
    np.testing.assert_array_equal(mask_of(rule, n_post, n_pre), wanted)


def test_nothing_is_drawn_from_a_global_generator() -> None:
    before, ours = np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    for form in ("individual", "kernel"):
        WindowRule(form, reduction=0.5).count(10, 10)
    WindowRule("exact", width=3).count(10, 10)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert random.getstate() == ours


# --- the windows that were applied after training -------------------------------------------------


@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 5))
def test_windows_of_square_layers(n: int, d: int, seed: int) -> None:
    assume(d <= n)
    i, j = np.indices((n, n))
    band = mask_of(WindowRule("diagonal", width=d), n, n)
    np.testing.assert_array_equal(band, abs(i - j) < d)
    block = mask_of(WindowRule("block", width=d), n, n)
    inside = (abs(i - n / 2) <= d / 2) & (abs(j - n / 2) <= d / 2)
    np.testing.assert_array_equal(block, inside)
    stripes = np.ones((n, n), bool)
    for k in range(d):
        for pre in range(n):
            stripes[(pre + n * k // d) % n, pre] = False
    np.testing.assert_array_equal(mask_of(WindowRule("stripes", width=d), n, n), stripes)
    exact = mask_of(WindowRule("exact", width=d, seed=seed), n, n)
    assert (~exact).sum() == (n - d) ** 2


def test_bells() -> None:
    rule = WindowRule("gaussian", reduction=0.5)
    h = 1.5 * 20 * 30 / math.hypot(20, 30) * (1 - math.sqrt(0.5))
    slope = 29 / 19
    y, x = np.indices((20, 30))
    g = np.exp(-((x - slope * y) ** 2) / (2 * h * h))
    found = np.array(list(rule.values(20, 30)))
    np.testing.assert_allclose(found, g * (600 / g.sum()), rtol=1e-12)
    assert found.mean() == pytest.approx(1)
    given_h = np.array(list(WindowRule("gaussian", halfbandwidth=h).values(20, 30)))
    np.testing.assert_allclose(given_h, found, rtol=1e-12)
    turned = WindowRule("gaussian", reduction=0.5, transposed=True)
    np.testing.assert_allclose(np.array(list(turned.values(30, 20))), found.T, rtol=1e-12)
    assert list(rule.values(1, 4)) == [[1.0] * 4]
    wide = np.array(list(WindowRule("gaussian", width=2).values(9, 9)))
    i, j = np.indices((9, 9))
    bell = np.exp(-((i - j) ** 2) / (2 * 4.0**2))
    np.testing.assert_allclose(wide, bell / bell.mean(), rtol=1e-12)


# --- the rest of the interface --------------------------------------------------------------------

RULES = [
    grid(0.4, 4, 4),
    grid(0.4, 4, 4, transposed=True),
    grid(0.4, 4, 4, mode="clean", torus=True),
    WindowRule("diagonal", reduction=0.5),
    WindowRule("gaussian", reduction=0.5),
    WindowRule("individual", reduction=0.5, seed=2),
    WindowRule("kernel", reduction=0.5, transposed=True),
    WindowRule("block", width=4),
    WindowRule("stripes", width=4),
    WindowRule("exact", width=4),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rows_runs_count_and_digest_agree(rule: WindowRule) -> None:
    rule.check(16, 16)
    mask = mask_of(rule, 16, 16)
    assert b"".join(rule.rows(16, 16)) == mask.tobytes()
    assert rule.count(16, 16) == mask.sum()
    assert rule.usage(16, 16) == mask.mean()
    assert rule.dead(16, 16) == ((~mask.any(1)).sum(), (~mask.any(0)).sum())
    if rule.form != "gaussian":
        wanted = hashlib.sha256(b"16 16 1\n" + mask.tobytes()).hexdigest()
        assert rule.digest(16, 16) == wanted
    assert eval(repr(rule)) == rule
    assert hash(eval(repr(rule))) == hash(rule)
    assert rule.describe()


def test_digests_tell_rules_apart() -> None:
    assert len({rule.digest(16, 16) for rule in RULES}) >= len(RULES) - 1


def test_large_grids_need_no_matrix() -> None:
    rule = grid(0.05, 1000, 1000)
    runs = rule.runs(1_000_000, 1_000_000)
    assert next(runs) == (0, 0, 51)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "diagnal"}, "did you mean 'diagonal'"),
        ({"form": "2D"}, "did you mean '2d'"),
        ({"form": "column"}, "there are 2d, diagonal"),
        ({"form": "2d"}, "needs radius"),
        ({"form": "2d", "radius": 0.4, "pre_width": 4}, "needs post_width"),
        ({"form": "2d", "radius": 0.0, "pre_width": 4, "post_width": 4}, "0.4 keeps about a third"),
        ({"form": "2d", "radius": -1, "pre_width": 4, "post_width": 4}, "found -1"),
        ({"form": "2d", "radius": 40, "pre_width": 4, "post_width": 4}, "fraction of the grid"),
        ({"form": "2d", "radius": math.nan, "pre_width": 4, "post_width": 4}, "found nan"),
        ({"form": "2d", "radius": 0.4, "pre_width": 0, "post_width": 4}, "pre_width must be"),
        ({"form": "2d", "radius": 0.4, "pre_width": 4, "post_width": "10"}, "post_width must be"),
        ({"form": "2d", "radius": 0.4, "pre_width": 4, "post_width": 4, "torus": True}, "clean"),
        ({"form": "2d", "radius": 0.4, "pre_width": 4, "post_width": 4, "mode": "x"}, "mode"),
        ({"form": "2d", "radius": 0.4, "pre_width": 4, "post_width": 4, "seed": 1}, "no seed"),
        ({"form": "diagonal", "reduction": 1.0}, "such as 0.5"),
        ({"form": "diagonal", "reduction": -0.1}, "such as 0.5"),
        ({"form": "diagonal"}, "needs one of"),
        ({"form": "diagonal", "reduction": 0.5, "width": 3}, "reduction and width"),
        ({"form": "diagonal", "halfbandwidth": -2.0}, "positive"),
        ({"form": "random"}, "needs reduction"),
        ({"form": "individual", "reduction": 0.5, "seed": -1}, "seed"),
        ({"form": "individual", "reduction": 0.5, "radius": 0.4}, "no radius"),
        ({"form": "block"}, "needs width"),
        ({"form": "block", "width": 0}, "1 or more"),
    ],
)
def test_numbers_that_no_layer_could_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowRule(**options)


@pytest.mark.parametrize(
    ("rule", "n_post", "n_pre", "message"),
    [
        (grid(0.4, 10, 10), 105, 100, "post_width 10 does not divide the 105.*3, 5, 7, 15"),
        (grid(0.4, 10, 10), 100, 105, "pre_width 10 does not divide the 105"),
        (grid(0.4, 10, 8), 64, 3, "pre_width 10 is more than the 3 inputs.*1, 3"),
        (grid(0.05, 5, 20), 100, 100, "leaves 65 of 100 outputs.*0.16 leaves none"),
        (WindowRule("diagonal", width=3), 10, 12, "as many outputs as inputs"),
        (WindowRule("block", width=30), 10, 10, "use 1..10"),
        (WindowRule("stripes", width=10), 10, 10, "no connection is left.*width 5"),
        (WindowRule("individual", reduction=0.99), 2, 2, "smaller reduction, such as 0.5"),
        (WindowRule("kernel", reduction=0.99), 2, 2, "smaller reduction, such as 0.5"),
        (grid(0.4, 10, 10), 0, 100, "number of outputs"),
    ],
)
def test_sizes_that_do_not_work(rule: WindowRule, n_post: int, n_pre: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule.check(n_post, n_pre)


@pytest.mark.parametrize("wrong", ["4", None, True, 4.5, -1])
def test_numbers_that_are_none(wrong: Any) -> None:
    def message(**options: Any) -> str:
        with pytest.raises(ValueError, match="found") as caught:
            WindowRule(**options)
        return str(caught.value)

    assert "seed must be a whole number" in message(form="kernel", reduction=0.5, seed=wrong)
    if wrong is not None:
        for name in ("pre_width", "post_width"):
            grids = {"pre_width": 4, "post_width": 4, name: wrong}
            assert f"{name} must be a whole" in message(form="2d", radius=0.4, **grids)
    if wrong is True or isinstance(wrong, str):
        assert "reduction must be a number" in message(form="diagonal", reduction=wrong)
        widths = {"pre_width": 4, "post_width": 4}
        assert "radius must be a number" in message(form="2d", radius=wrong, **widths)


def test_numbers_of_any_library_are_the_same_rule() -> None:
    plain = WindowRule("2d", radius=0.5, pre_width=4, post_width=2)
    theirs: Any = np.float32(0.5), np.int64(4), np.int8(2)
    rule = WindowRule("2d", *theirs)
    assert rule == plain
    assert repr(rule) == repr(plain)
    seeded: Any = np.uint32(3)
    rule = WindowRule("individual", reduction=0.5, seed=seeded)
    assert rule.digest(4, 4) == WindowRule("individual", reduction=0.5, seed=3).digest(4, 4)


def test_the_numbers_that_are_named_would_work() -> None:
    for width in widths_near(105, 10):
        grid(0.5, 10, width).check(105, 100)
    grid(0.16, 5, 20).check(100, 100)
    WindowRule("stripes", width=5).check(10, 10)
    with pytest.raises(ValueError, match="leaves none"):
        grid(0.15, 5, 20).check(100, 100)


def test_one_unit_hears_all() -> None:
    grid(0.1, 10, 10).check(1, 64)
    assert grid(0.1, 10, 10).usage(1, 64) == 1
    assert grid(0.1, 10, 10, transposed=True).usage(64, 1) == 1
    with pytest.raises(ValueError, match="post_width 10"):
        grid(0.1, 10, 10, mode="clean").check(1, 64)


def test_the_forms_are_documented() -> None:
    assert WindowRule.__doc__
    assert all(f'"{form}"' in WindowRule.__doc__ for form in FORMS)
