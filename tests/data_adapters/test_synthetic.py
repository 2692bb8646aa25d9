"""Sheets of neurons, joined by windows: what they are, and that every style takes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectome_compiler.data_adapters.synthetic import Synthetic
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph
from connectome_compiler.pipeline import build
from connectome_compiler.recipe import parse


def places(g: Graph) -> np.ndarray[Any, Any]:
    (p,) = g.populations
    return np.stack([p.column(c).to_numpy() for c in ("x_um", "y_um")], 1)


def joined(g: Graph) -> np.ndarray[Any, Any]:
    dense = np.zeros((g.n_neurons, g.n_neurons), bool)
    edges = g.projections[0].synapses
    dense[edges.post, edges.pre] = True
    return dense


@pytest.mark.parametrize("torus", [False, True])
def test_neurons_near_each_other_are_joined(torus: bool) -> None:
    g = Synthetic(grids=((8, 12),), radius=0.3, torus=torus, side_um=600).load()
    apart = np.abs(places(g)[:, None] - places(g)[None]) / 600
    if torus:
        apart = np.minimum(apart, 1 - apart)
    squared = (apart**2).sum(2)
    assert np.abs(squared - 0.09).min() > 1e-9  # no ties: rounding does not matter here
    wanted = (squared < 0.09) & ~np.eye(96, dtype=bool)
    np.testing.assert_array_equal(joined(g), wanted)
    assert (g.projections[0].synapses.weight == 1).all()


def test_layers_are_joined_as_it_is_said() -> None:
    sizes = {"L4": 16, "L2/3": 36, "L5": 4}
    grids = ((4, 4), (6, 6), (2, 2))
    for within in (True, False):
        for feedback in (True, False):
            g = Synthetic(tuple(sizes), grids, within, feedback, radius=0.6).load()
            layer = np.repeat(np.arange(3), list(sizes.values()))
            post, pre = np.nonzero(joined(g))
            steps = set((layer[post] - layer[pre]).tolist())
            assert steps == {1} | ({0} if within else set()) | ({-1} if feedback else set())
    (p,) = g.populations
    assert (
        p.column("cortical_layer").to_pylist() == np.repeat(list(sizes), [*sizes.values()]).tolist()
    )


def test_signs_are_drawn_by_share() -> None:
    g = Synthetic(layers=("a", "b"), grids=((10, 10),), exc_fraction=0.75).load()
    (p,) = g.populations
    sign = p.column("sign").to_numpy().reshape(2, 100)
    assert (sign == 1).sum(1).tolist() == [75, 75]
    assert (sign[0] != sign[1]).any()
    classes = np.where(sign == 1, "excitatory", "inhibitory").ravel()
    assert p.column("cell_class").to_pylist() == classes.tolist()
    assert p.has_outputs().all()
    assert (Synthetic(exc_fraction=1).load().populations[0].column("sign").to_numpy() == 1).all()


def test_equal_options_give_equal_graphs() -> None:
    for form in ("2d", "diagonal", "random"):
        made = [Synthetic(form=form, seed=s).load().digest() for s in (0, 0, 1)]
        assert made[0] == made[1] != made[2]


def test_other_forms() -> None:
    g = Synthetic(form="diagonal", reduction=0.6).load()
    post, pre = np.nonzero(joined(g))
    assert np.abs(post - pre).max() < 256 * (1 - 0.6**0.5) * 1.01
    share = Synthetic(form="random", reduction=0.75).load().n_connections / (256 * 255)
    assert share == pytest.approx(0.25, abs=0.01)


def test_a_radius_just_above_that_of_the_hint_joins_neighbours() -> None:
    degree = joined(Synthetic(grids=((8, 16),), radius=0.0626).load()).sum(1)
    assert (degree == 2).all()  # left and right; rows are twice as far apart


def test_it_says_that_no_brain_is_so() -> None:
    p = Synthetic().load().provenance
    assert p.dataset == "synthetic-window"
    assert str(p.connectivity) == str(p.signs) == "modelled"
    assert not p.measured


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"layers": ()}, "layers"),
        ({"layers": ("a", "a")}, "must be different names"),
        ({"layers": ("a", "b", "c"), "grids": ((4, 4), (5, 5))}, "2 grids for 3 layers"),
        ({"grids": ((4, 0),)}, "is not a grid"),
        ({"exc_fraction": 1.5}, "must be between 0 and 1"),
        ({"side_um": 0.0}, "must be positive and finite"),
        ({"seed": -1}, "negative"),
        ({"within": False}, "nothing would be connected"),
        ({"radius": -0.1}, "radius"),
        ({"form": "random", "reduction": 1.5}, "reduction"),
        ({"radius": 0.0625}, "within L1\n  hint: use a radius above 0.0625"),
        ({"grids": ((1, 1),)}, "more than one neuron"),
        ({"form": "random", "reduction": 0.99999}, "use a smaller reduction"),
        (
            {"form": "diagonal", "radius": 0.4},
            "synthetic.radius: has no effect with form 'diagonal'",
        ),
        ({"reduction": 0.6}, "synthetic.reduction: has no effect with form '2d'"),
        (
            {"radius": 0.01, "within": False, "layers": ("a", "b"), "grids": ((4, 4), (6, 6))},
            "without",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CompileError, match=r"synthetic|window") as found:
        Synthetic(**options).load()
    assert problem in str(found.value)


BIONIC = """
[source]
use = "synthetic"
layers = ["L4", "L2/3", "L5"]
grids = [[6, 6], [5, 5], [4, 4]]
radius = 0.5

[[pass]]
use = "apply-dale"
policy = "report"

[[pass]]
use = "laminar-partition"
order = ["L4", "L2/3", "L5"]

[[pass]]
use = "set-node-model"

[[pass]]
use = "fold-inhibition"
policy = "units"

[[pass]]
use = "split-flow"
feedback = "keep"

[[pass]]
use = "attach-ports"
image = [1, 8, 8]

[template]
use = "bionic"
"""


def test_the_bionic_style_takes_it(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="modelled"):
        made = build(parse("columns.toml", BIONIC), tmp_path / "net.py")
    assert made.certificate is not None
    assert made.certificate.n_connections == made.graph.n_connections
    assert (
        "MODELLED, NOT MEASURED: neurons on grids are connected within windows"
        in made.emission.source
    )


def test_the_recurrent_style_takes_it(tmp_path: Path) -> None:
    settings = {"grids": [[4, 4], [3, 3]], "layers": ["a", "b"], "radius": 0.4, "null": "degrees"}
    with pytest.warns(UserWarning, match="modelled"):
        made = build("synthetic", tmp_path / "net.py", settings=settings)
    assert made.certificate is not None
    assert made.graph.provenance.dataset == "synthetic-window-null-degrees"
    assert "null model" in made.emission.source
