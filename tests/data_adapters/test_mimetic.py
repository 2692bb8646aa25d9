"""A table of layers becomes a graph; the published networks have the published counts."""

from typing import Any

import pytest

from connectome_compiler.data_adapters.mimetic import Layer, Mimetic
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import AllToAll, Window
from connectome_compiler.pipeline import load_graph
from connectome_compiler.recipe import load_recipe

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

IMAGE = Layer("image", (1, 28, 28))
HIDDEN = Layer("hidden", (64,), window=True)


def usage(name: str, **settings: Any) -> list[tuple[int, int]]:
    """Return weights kept and of the dense layer, layer by layer."""
    g = load_graph(name, **settings)
    return [
        (g.count(q) * q.operator.area, g.shape(q)[0] * g.shape(q)[1] * q.operator.area)
        for q in g.projections
    ]


def test_the_mlp_keeps_what_was_printed() -> None:
    (_, (kept, dense), _) = usage("mouse-mimetic-mlp")
    assert f"{100 * kept / dense:.5f}" == "34.18846"


def test_the_generator_has_both_published_figures() -> None:
    layers = usage("mouse-mimetic-dcgan")
    windowed = layers[1:4]
    shares = [100 * kept / dense for kept, dense in windowed]
    assert [round(s, 2) for s in shares] == [34.19, 34.15, 34.69]
    kept, dense = (sum(column) for column in zip(*windowed, strict=True))
    assert round(100 * kept / dense, 2) == 34.21
    kept, dense = (sum(column) for column in zip(*layers, strict=True))
    assert round(100 * kept / dense, 2) == 39.96


def test_the_band_is_about_what_is_left() -> None:
    for reduction in (0.167, 0.5, 0.8, 0.925):
        (kept, dense), _ = usage("schizophrenia-mimetic", reduction=reduction)
        assert kept / dense == pytest.approx(1 - reduction, abs=0.02)


def test_layers_that_windows_join_are_neurons() -> None:
    g = load_graph("mouse-mimetic-dcgan")
    assert [p.name for p in g.populations if p.artificial] == ["latent", "picture"]
    assert [isinstance(q.connectivity, Window) for q in g.projections] == [
        False,
        *[True] * 3,
        False,
    ]
    assert all(q.connectivity == AllToAll() for q in (g.projections[0], g.projections[-1]))
    assert not g.provenance.measured
    assert "Saiga" in g.provenance.citations[0]


def test_grids_are_near_the_square_root_by_default() -> None:
    g = Mimetic((IMAGE, HIDDEN)).load()
    (q,) = g.projections
    assert isinstance(q.connectivity, Window)
    assert (q.connectivity.rule.pre_width, q.connectivity.rule.post_width) == (28, 8)


def test_a_drawn_mask_differs_between_layers() -> None:
    layers = (IMAGE, HIDDEN, Layer("more", (64,), window=True), Layer("last", (64,), window=True))
    g = Mimetic(layers, form="random", seed=3).load()
    rules = [q.connectivity.rule for q in g.projections if isinstance(q.connectivity, Window)]
    assert [rule.seed for rule in rules] == [3, 4, 5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "random"}, ["widths are ignored"]),
        ({"radius": 1.5}, ["keeps every weight"]),
        ({"form": "diagonal", "reduction": 0.9999}, ["outputs without input", "are ignored"]),
        ({}, []),
    ],
)
def test_what_is_odd_about_a_window_is_noted(options: dict[str, Any], words: list[str]) -> None:
    layers = (Layer("a", (64,)), Layer("b", (36,), window=True, widths=(8, 6)), Layer("c", (2,)))
    first, *odd, last = Mimetic(layers, **options).load().provenance.steps[-1].notes
    assert first.startswith("a->b: ")
    assert last.startswith("b->c: ")
    assert len(odd) == len(words)
    assert all(word in note for word, note in zip(words, odd, strict=True))


def test_a_control_of_drawn_weights_keeps_as_many() -> None:
    _, windowed, _ = usage("mouse-mimetic-mlp")
    _, drawn, _ = usage("mouse-mimetic-mlp", form="random", reduction=1 - windowed[0] / windowed[1])
    assert drawn[0] == pytest.approx(windowed[0], rel=0.01)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Mimetic(()), "no layer"),
        (lambda: Mimetic((HIDDEN, IMAGE)), "no layer"),
        (lambda: Mimetic((IMAGE, HIDDEN, HIDDEN)), "occurs twice"),
        (lambda: Layer("a", (2, 3)), "shape"),
        (lambda: Layer("a", (2,), widths=(1, 2)), "no window"),
        (lambda: Layer("a", (2,), window=True, widths=(1,)), "widths"),
        (
            lambda: Mimetic((IMAGE, Layer("h", (64,), window=True, widths=(28, 10)))).load(),
            "post_width 10 does not divide the 64 outputs",
        ),
        (lambda: Mimetic((IMAGE, HIDDEN), seed=3), "mimetic.seed: has no effect with form '2d'"),
        (
            lambda: Mimetic((IMAGE, HIDDEN), form="diagonal", radius=0.3),
            "mimetic.radius: has no effect with form 'diagonal'\n  hint: options of this form: red",
        ),
        (
            lambda: Mimetic(
                (Layer("a", (4, 8, 8)), Layer("b", (4, 8, 8), "conv2d", 3, window=True)), radius=1.4
            ).load(),
            "makes maps of 6 x 6",
        ),
        (lambda: Mimetic((IMAGE, HIDDEN), radius=0.001).load(), "without"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, problem: str) -> None:
    with pytest.raises(CompileError) as found:
        make()
    assert problem in str(found.value)


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        ([{"name": "a", "shape": [3], "wdith": 3}], r"layers\[0\].wdith"),
        ([{"name": "a", "shape": [3, "x"]}], r"layers\[0\].shape\[1\]"),
        ([{"name": "a"}], r"layers\[0\].shape"),
        ([{"name": "a", "shape": [3], "operator": "conv3d"}], r"layers\[0\].operator"),
    ],
)
def test_a_slip_in_the_table_is_named(layers: list[Any], where: str) -> None:
    with pytest.raises(CompileError, match=rf"source.{where}"):
        load_recipe("mouse-mimetic-mlp", {"source.layers": layers}).source.make()
