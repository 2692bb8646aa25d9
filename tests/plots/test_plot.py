"""`Graph.plot`: one call for every kind, in its own figure or in the caller's axes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from columns import column, laminar
from hypothesis import given, settings
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from strategies import graphs
from worms import worm

from connectome_compiler.errors import CompileError, UnknownNameError, VerifyError
from connectome_compiler.ir import Graph, Population, Provenance
from connectome_compiler.plots import INSTALL, KINDS
from connectome_compiler.plots.canvas import Sheet, quoted

OF_NEURONS = ("populations", "raster", "degrees", "weights")


def figure_of(axes: Axes) -> Sheet:
    assert isinstance(axes.figure, Sheet)
    return axes.figure


def texts(axes: Axes) -> str:
    """Return all that is written in a picture."""
    found = [str(t.get_text()) for t in axes.figure.findobj(mpl.text.Text)]
    return "\n".join(found)


@pytest.mark.parametrize("kind", OF_NEURONS)
def test_every_picture_says_what_it_is_and_whether_it_was_measured(kind: str) -> None:
    assert "toy-worm@1: measured" in worm().plot(kind).get_title("left")
    assert "toy@1: modelled, not measured" in column().plot(kind).get_title("left")


@pytest.mark.parametrize("kind", OF_NEURONS)
def test_the_axes_of_the_caller_are_used_and_no_others(kind: str) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert worm().plot(kind, ax=right) is right
    assert not left.has_data()
    assert right.get_title("left")
    assert figure.axes == [left, right]


@pytest.mark.parametrize("kind", OF_NEURONS)
def test_nothing_global_changes(kind: str) -> None:
    before = dict(mpl.rcParams)
    figure_of(worm().plot(kind)).in_format("svg")
    assert dict(mpl.rcParams) == before


def test_pyplot_is_not_imported() -> None:
    code = (
        "import sys; sys.path.append('tests')\n"
        "from worms import worm\n"
        "graph = worm(); assert 'matplotlib' not in sys.modules\n"
        "graph.plot('raster').figure.in_format('png')\n"
        "assert 'matplotlib' in sys.modules; print('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_graphs_are_equal_files(suffix: str, tmp_path: Path) -> None:
    one = figure_of(worm().plot("populations")).in_format(suffix)
    axes: Any = worm().plot("populations")
    axes.figure.savefig(tmp_path / f"worm.{suffix}")
    assert (tmp_path / f"worm.{suffix}").read_bytes() == one
    assert one != figure_of(worm(seed=1).plot("populations")).in_format(suffix)


def test_a_notebook_shows_the_axes() -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(worm().plot("raster"))
    assert data["image/png"].startswith(b"\x89PNG")
    data, _ = formatters.DisplayFormatter().format(worm().plot("raster").figure)
    assert data["image/png"].startswith(b"\x89PNG")


def test_two_graphs_stand_side_by_side_on_one_scale() -> None:
    after = worm(30, 0.05)
    axes: Any = worm(12, 0.5).plot("degrees", beside=after)
    left, right = axes.child_axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert "12 neurons" in left.get_title("left")
    assert "30 neurons" in right.get_title("left")

    axes = column(24, 1.0).plot("raster", beside=column(1300, 0.1))
    first, second = (panel.images[0].get_clim() for panel in axes.child_axes)
    assert first == second
    assert first[1] > 2


def test_two_graphs_share_the_axes_of_the_caller() -> None:
    ax = Figure().subplots()
    assert worm().plot("weights", ax=ax, beside=worm(seed=1)) is ax
    assert len(ax.child_axes) == 2


@given(graphs())
@settings(max_examples=8)
def test_any_graph_is_drawn_or_refused_with_a_way_out(g: Graph) -> None:
    for kind in KINDS:
        refused: CompileError | None = None
        try:
            axes: Any = g.plot(kind)
        except CompileError as error:
            refused = error
        if refused is None:
            figure_of(axes).draw_without_rendering()
        else:
            assert refused.hint, (kind, str(refused))


@pytest.mark.parametrize("kind", OF_NEURONS)
def test_names_from_data_are_text_alone(kind: str) -> None:
    evil = r"$\frac{$ ^_& <script>" + "long " * 40
    graph = worm()
    (p,) = graph.populations
    graph = Graph(
        (replace(p, name=evil),),
        tuple(replace(q, pre=evil, post=evil) for q in graph.projections),
        replace(graph.provenance, dataset=evil + "\x1b[31m\n"),
    )
    axes: Any = graph.plot(kind)
    figure_of(axes).in_format("svg")
    assert "\x1b" not in texts(axes)
    assert all(len(line) < 200 for line in texts(axes).split("\n"))


def test_a_dollar_is_a_dollar() -> None:
    assert quoted("a$b$") == r"a\$b\$"
    assert "\n" not in quoted("a\nb")


def test_unknown_kinds_and_options_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'raster'"):
        worm().plot("rastr")
    with pytest.raises(CompileError, match="did you mean 'colour'"):
        worm().plot("raster", color="sign")
    with pytest.raises(CompileError, match="population"):
        worm().plot("raster", by="layer")


def test_a_broken_graph_is_refused() -> None:
    p = Population("a", (1,))
    with pytest.raises(VerifyError, match="a"):
        Graph((p, p), (), Provenance("twice")).plot()


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CompileError, match="need the package matplotlib") as caught:
        worm().plot()
    assert caught.value.hint == INSTALL
    assert INSTALL.startswith("pip install -c constraints.txt '.[")
    root = Path(__file__).parents[2]
    extra = INSTALL.partition("[")[2].partition("]")[0]
    assert f'{extra} = ["matplotlib' in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert "\nmatplotlib==" in (root / "constraints.txt").read_text(encoding="utf-8")


def test_colours_are_told_apart_by_any_vision() -> None:
    from connectome_compiler.plots import canvas

    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00"}
    assert {*canvas.COLOURS.values(), *canvas.SERIES} <= {*okabe_ito, "#CC79A7", canvas.GREY}
    assert len(set(canvas.COLOURS.values())) == len(canvas.COLOURS)
    assert len(set(canvas.STYLES.values())) == len(canvas.STYLES)


def test_an_image_and_classes_are_drawn_apart_from_neurons() -> None:
    graph = laminar(column(60, 0.4))
    shown: Any = graph.plot("populations")
    assert "read-in, read-out" in texts(shown)
    assert np.isfinite(shown.get_xlim()).all()
