from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from connectome_compiler.data_adapters._cells import (
    Kind,
    class_of_type,
    class_of_word,
    column_cells,
    in_prism,
    kinds,
    layer_of_depth,
    layer_of_type,
    layer_of_word,
    oriented,
    words_of,
)
from connectome_compiler.errors import CompileError


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("excitatory_neuron", Kind.EXCITATORY),
        ("excitatory", Kind.EXCITATORY),
        ("aibs_coarse_excitatory", Kind.EXCITATORY),
        ("exc", Kind.EXCITATORY),
        ("E", Kind.EXCITATORY),
        ("e", Kind.EXCITATORY),
        ("inhibitory_neuron", Kind.INHIBITORY),
        ("Inhibitory", Kind.INHIBITORY),
        ("aibs_coarse_inhibitory", Kind.INHIBITORY),
        ("inh", Kind.INHIBITORY),
        ("i", Kind.INHIBITORY),
        ("nonneuron", Kind.GLIA),
        ("aibs_coarse_nonneuronal", Kind.GLIA),
        ("g", Kind.GLIA),
        ("OPC", Kind.GLIA),
        ("Unsure", Kind.UNSURE),
        ("uncertain", Kind.UNSURE),
        ("thalamic", None),
    ],
)
def test_knows_the_spellings_of_a_class(word: str, kind: Kind | None) -> None:
    assert class_of_word(word) == kind


@pytest.mark.parametrize(
    ("word", "kind", "layer"),
    [
        ("23P", Kind.EXCITATORY, "L2/3"),
        ("4P", Kind.EXCITATORY, "L4"),
        ("5P-IT", Kind.EXCITATORY, "L5"),
        ("5P-ET", Kind.EXCITATORY, "L5"),
        ("5P_PT", Kind.EXCITATORY, "L5"),
        ("6P-CT", Kind.EXCITATORY, "L6"),
        ("6P-U", Kind.EXCITATORY, "L6"),
        ("6IT", Kind.EXCITATORY, "L6"),
        ("WM-P", Kind.EXCITATORY, "L6"),
        ("L2a", Kind.EXCITATORY, "L2/3"),
        ("L3b", Kind.EXCITATORY, "L2/3"),
        ("L6tall-c", Kind.EXCITATORY, "L6"),
        ("L6wm", Kind.EXCITATORY, "L6"),
        ("L5ET", Kind.EXCITATORY, "L5"),
        ("BC", Kind.INHIBITORY, None),
        ("MC", Kind.INHIBITORY, None),
        ("PTC", Kind.INHIBITORY, None),
        ("NGC", Kind.INHIBITORY, None),
        ("Unsure E", Kind.EXCITATORY, None),
        ("Unsure I", Kind.INHIBITORY, None),
        ("Unsure", Kind.UNSURE, None),
        ("astrocyte", Kind.GLIA, None),
        ("thalamic", None, None),
        ("e", Kind.EXCITATORY, None),
    ],
)
def test_a_cell_type_implies_class_and_layer(
    word: str, kind: Kind | None, layer: str | None
) -> None:
    assert class_of_type(word) == kind
    assert layer_of_type(word) == layer


@pytest.mark.parametrize(
    ("word", "layer"),
    [
        ("L2/3", "L2/3"),
        ("23", "L2/3"),
        ("layer 2/3", "L2/3"),
        ("2", "L2/3"),
        ("4", "L4"),
        ("L6a", "L6"),
        ("l1", "L1"),
        ("hilus", "hilus"),
        ("L7", "L7"),
    ],
)
def test_spells_layers_in_one_way(word: str, layer: str) -> None:
    assert layer_of_word(word) == layer


def test_layers_by_depth() -> None:
    depth = np.array([-5, 0, 59.9, 60, 257.9, 258, 381, 505.9, 506, 708, 800])
    layers = ["L1", "L1", "L1", "L2/3", "L2/3", "L4", "L5", "L5", "L6", "L6", "L6"]
    assert layer_of_depth(depth).tolist() == layers


def test_the_class_wins_but_an_unsure_type_is_unsure() -> None:
    classes = np.array(["excitatory", "inhibitory", None, None, "excitatory", None], object)
    types = np.array(["BC", None, "BC", "thalamic", "Unsure", "Unsure I"], object)
    expected = ["excitatory", "inhibitory", "inhibitory", None, "unsure", "inhibitory"]
    assert kinds(classes, types).tolist() == expected


def test_class_and_types_tell_alone_and_the_first_that_tells_wins() -> None:
    classes, types, more = (
        np.array(words, object)
        for words in (
            ["exc", None, None, "inh"],
            ["BC", None, "23P", "Unsure"],
            ["4P", "MC", "BC", ""],
        )
    )
    assert kinds(classes).tolist() == ["excitatory", None, None, "inhibitory"]
    assert kinds(None, types).tolist() == ["inhibitory", None, "excitatory", "unsure"]
    both = ["inhibitory", "inhibitory", "excitatory", "unsure"]
    assert kinds(None, None, types, more).tolist() == both
    assert kinds(classes, more, types).tolist() == [
        "excitatory",
        "inhibitory",
        "inhibitory",
        "unsure",
    ]
    with pytest.raises(ValueError, match="neither"):
        kinds(None, None)


def test_words_are_looked_up_once_each_and_missing_ones_stay_missing() -> None:
    asked: list[str] = []

    def meaning(word: str) -> str | None:
        asked.append(word)
        return "A" if word == "a" else None

    column = pa.array(["a", None, "b", "a"])
    assert words_of(column, meaning).tolist() == ["A", None, None, "A"]
    assert asked == ["a", "b"]


def test_the_column_is_told_by_types_else_prism_else_all() -> None:
    sources = np.array(["manual", None, "model"], object)
    position = (np.array([660.0, 660, 900]), np.array([350.0, np.nan, 350]), np.full(3, 858.0))
    for choice in ("auto", "types"):
        mask, how = column_cells("t", choice, sources, "manual", position, 100)
        assert mask is not None
        assert mask.tolist() == [True, False, False]
        assert "typed by manual" in how
    mask, how = column_cells("t", "auto", sources, "another", position, 100)
    assert mask is not None
    assert mask.tolist() == [True, False, False]
    assert "prism" in how
    mask, how = column_cells("t", "auto", None, "manual", None, 100)
    assert mask is None
    assert "all cells" in how
    with pytest.raises(CompileError, match="no cell was typed by 'another'") as caught:
        column_cells("t", "types", sources, "another", position, 100)
    assert "manual, model" in caught.value.hint
    with pytest.raises(CompileError, match="has no positions"):
        column_cells("t", "prism", sources, "manual", None, 100)


def test_the_volume_is_turned_by_five_degrees_and_the_pia_lies_at_depth_0() -> None:
    pia_x, pia_y = 183013 * 0.004, 83535 * 0.004
    cos, sin = np.cos(np.pi / 36), np.sin(np.pi / 36)
    # A point on the pia, and 100 um from it along each axis of the volume.
    x = np.array([pia_x, pia_x + 100, pia_x, pia_x])
    y = np.array([pia_y, pia_y, pia_y + 100, pia_y])
    z = np.array([40.0, 40.0, 40.0, 140.0])
    along, depth, across = oriented(x, y, z)
    np.testing.assert_allclose(depth, [0, 100 * sin, 100 * cos, 0], atol=1e-9)
    np.testing.assert_allclose(along - along[0], [0, 100 * cos, -100 * sin, 0], atol=1e-9)
    assert across.tolist() == z.tolist()


def test_orientation_and_prism_agree_with_the_measured_column(test_data: Path) -> None:
    with (test_data / "microns" / "column_neurons_v795.csv").open() as lines:
        rows = [r for r in csv.DictReader(lines) if r["x_um"]]
    xyz = [np.array([float(r[f"soma_{a}_nm"]) for r in rows]) / 1000 for a in "xyz"]
    made = oriented(*xyz)
    for got, name in zip(made, ("x_um", "depth_um", "z_um"), strict=True):
        np.testing.assert_allclose(got, [float(r[name]) for r in rows], atol=0.01)
    # The published column has no exact border; nearly all its neurons lie in the prism.
    assert in_prism(*made, 100.0).mean() > 0.95
    assert in_prism(*made, 120.0).mean() == 1.0
