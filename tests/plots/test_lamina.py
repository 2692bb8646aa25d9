"""Somata are where the table says, depth pointing down."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph, Population, Provenance, neuron_table
from connectome_compiler.plots.lamina import borders

X = [0.0, 10.0, 20.0, 30.0, None]
Y = [100.0, 120.0, 300.0, 340.0, 5.0]
LAYERS = ["L2/3", "L2/3", "L4", "L4", None]


def cells(layers: bool = True) -> Graph:
    table = neuron_table(
        {
            "neuron_id": [1, 2, 3, 4, 5],
            "x_um": X,
            "y_um": Y,
            "z_um": [7.0] * 5,
            "sign": [1, -1, None, 1, 1],
            **({"cortical_layer": LAYERS} if layers else {}),
        }
    )
    origin = Provenance("cells", connectivity=Evidence.MEASURED)
    return Graph((Population("neurons", (5,), table),), (), origin)


def test_somata_are_where_they_are_by_sign() -> None:
    axes: Any = cells().plot("lamina")
    found = {str(c.get_label()): np.asarray(c.get_offsets()).tolist() for c in axes.collections}
    assert found == {
        "excitatory (2)": [[0, 100], [30, 340]],
        "inhibitory (1)": [[10, 120]],
        "sign unknown (1)": [[20, 300]],
    }
    assert axes.get_title("left").startswith("Somata of 4 neurons, 1 other without a position\n")
    assert axes.get_xlabel() == "x (µm)"
    assert axes.get_aspect() == 1


def test_the_pia_is_on_top_and_layers_are_named() -> None:
    axes: Any = cells().plot("lamina")
    low, high = axes.get_ylim()
    assert low > high
    assert axes.get_ylabel() == "depth, y (µm)"
    assert [text.get_text() for text in axes.texts] == ["L2/3", "L4"]
    ((border, _),) = [line.get_ydata() for line in axes.lines]
    assert 120 < border < 300


def test_layers_that_do_not_follow_each_other_are_not_named() -> None:
    for along in ("x_um", "z_um"):  # L4 beside L2/3; all at one depth
        axes: Any = cells().plot("lamina", across="y_um", along=along)
        assert [text.get_text() for text in axes.texts] == ["L2/3", "L4"]
    (p,) = cells().populations
    shuffled = neuron_table(
        {
            "neuron_id": range(3),
            "x_um": [0.0, 1.0, 2.0],
            "y_um": [1.0, 3.0, 2.0],
            "cortical_layer": ["L1", "L4", "L6"],
        }
    )
    graph = replace(cells(), populations=(replace(p, shape=(3,), neurons=shuffled),))
    axes = graph.plot("lamina")
    assert not axes.texts
    assert axes.get_ylabel() == "y (µm)"


def test_the_pia_is_on_top_whichever_way_the_axis_points() -> None:
    (p,) = cells().populations
    assert p.neurons is not None
    y = [None if v is None else -v for v in Y]
    table = p.neurons.set_column(p.neurons.column_names.index("y_um"), "y_um", [y])
    axes: Any = replace(cells(), populations=(replace(p, neurons=table),)).plot("lamina")
    low, high = axes.get_ylim()
    assert low < high
    assert [text.get_text() for text in axes.texts] == ["L2/3", "L4"]


def test_two_laminae_have_one_depth() -> None:
    (p,) = cells().populations
    assert p.neurons is not None
    half = replace(cells(), populations=(replace(p, shape=(2,), neurons=p.neurons.slice(0, 2)),))
    axes: Any = cells().plot("lamina", beside=half)
    left, right = axes.child_axes
    assert left.get_ylim() == right.get_ylim()
    low, high = left.get_ylim()
    assert low > 340 > 100 > high


def test_without_layers_it_is_a_map() -> None:
    axes: Any = cells(layers=False).plot("lamina", across="y_um", along="z_um")
    low, high = axes.get_ylim()
    assert low < high
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("y (µm)", "z (µm)")
    assert not axes.texts
    assert not axes.lines


def test_borders_lie_between_layers() -> None:
    depth = np.array([1.0, 2.0, 4.0, 6.0, 9.0])
    assert borders(depth, np.array(["L4"] * 5)) == []
    layers = np.array(["L1", "L1", "L4", "L4", ""])
    assert borders(depth, layers) == pytest.approx([3.0], abs=0.1)


def test_no_positions_are_refused_with_where_they_come_from() -> None:
    graph = cells()
    (p,) = graph.populations
    bare = replace(graph, populations=(replace(p, neurons=None),))
    with pytest.raises(CompileError, match="no neuron has a position: x_um and y_um") as caught:
        bare.plot("lamina")
    assert "table of cells" in caught.value.hint
