"""Neurons are found by what they are called, and what is done to them reaches them alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.nn.neurons import (
    NeuronTable,
    held_rates,
    listed_neurons,
    named_currents,
    port_units,
    stored_neurons,
)

COLUMNS: dict[str, list[Any]] = {
    "neuron_id": ["ASEL", "ASER", "AVAL", "AVAR", "RIM"],
    "name": ["salt", "salt", "back", None, "RIM"],
    "cell_type": ["ASE", "ASE", "AVA", "AVA", None],
}


def table() -> NeuronTable:
    return NeuronTable({"sensory": 2, "inter": 3}, COLUMNS)


def test_columns_say_where_units_stand() -> None:
    assert table().columns == {
        "population": ["sensory"] * 2 + ["inter"] * 3,
        "index": [0, 1, 0, 1, 2],
        "unit": [0, 1, 2, 3, 4],
        **COLUMNS,
    }


@pytest.mark.parametrize(
    ("neurons", "units"),
    [
        ("AVAL", 2),
        ("back", 2),
        ("RIM", 4),  # its id and its name: one neuron
        (["AVAR", "ASEL"], [3, 0]),
        (("salty", "AVAR")[1:], [3]),
        ([], []),
        (torch.tensor([4, 1], dtype=torch.int32), [4, 1]),
    ],
)
def test_neurons_are_found_by_id_and_name(neurons: Any, units: Any) -> None:
    found = table().index(neurons)
    if isinstance(units, int):
        assert type(found) is int
        assert found == units
    else:
        assert found.dtype == torch.int64
        assert found.tolist() == units


def test_neurons_are_found_by_column() -> None:
    assert table().index(cell_type="AVA").tolist() == [2, 3]
    assert table().index(population="inter", index=1).tolist() == [3]
    assert table().index(cell_type="ASE", population="inter").tolist() == []


def test_numbers_are_ids() -> None:
    numbered = NeuronTable({"cells": 2}, {"neuron_id": [864691135000000001, 7]})
    assert numbered.index(864691135000000001) == 0
    assert numbered.index([7, 864691135000000001]).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"there is no neuron 0$"):
        numbered.index(0)
    with pytest.raises(ValueError, match="nearest: 864691135000000001"):
        numbered.index("864691135000000002")


@pytest.mark.parametrize(
    ("neurons", "where", "problem"),
    [
        ("AVAK", {}, "there is no neuron 'AVAK'; nearest: 'AVAR', 'AVAL'"),
        ("zzz", {}, "there is no neuron 'zzz'$"),
        (["ASEL", "ASEK"], {}, "'ASEK'; nearest: 'ASER', 'ASEL'"),
        ("salt", {}, "'salt' is the name of 2 neurons: use ids, 'ASEL', 'ASER'"),
        ("ASE", {}, "no neuron 'ASE'; it is the cell_type of 2: index\\(cell_type='ASE'\\)"),
        (None, {"cell_type": "AVB"}, "no neuron has cell_type 'AVB'; nearest: 'AVA'"),
        (None, {"type": "AVA"}, "no column 'type'; known: population, index, unit, neuron_id, "),
        (None, {}, "index\\(\\) takes"),
        ("AVAL", {"cell_type": "AVA"}, "index\\(\\) takes"),
        (torch.tensor([5]), {}, "units, from 0 to 4"),
        (torch.tensor([-1]), {}, "units, from 0 to 4"),
        (torch.tensor([1.0]), {}, "units, from 0 to 4"),
        (torch.tensor([True] * 5), {}, "units, from 0 to 4"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(
    neurons: Any, where: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        table().index(neurons, **where)


def test_runs_of_neurons_are_read_in_their_order() -> None:
    found = listed_neurons(
        ("neuron_id", "cell_type"),
        {"sensory": [[["ASEL", "ASER"], "ASE"]], "inter": [[["AVAL"], "AVA"], [["RIM"], None]]},
    )
    assert found.columns["neuron_id"] == ["ASEL", "ASER", "AVAL", "RIM"]
    assert found.columns["cell_type"] == ["ASE", "ASE", "AVA", None]
    assert found.columns["population"] == ["sensory", "sensory", "inter", "inter"]


def test_stored_columns_are_read() -> None:
    arrays = {
        "neurons/neuron_id": torch.tensor([3, 1], dtype=torch.int64),
        "neurons/cell_type": torch.tensor(list('["é b"]'.encode()), dtype=torch.uint8),
        "neurons/cell_type/of": torch.tensor([-1, 0], dtype=torch.int8),
        "neurons/name": torch.tensor(list(b'["x",null]'), dtype=torch.uint8),
        "neurons/x_um": torch.tensor([float("nan"), 2.5], dtype=torch.float64),
    }
    names = ("neuron_id", "cell_type", "name", "x_um")
    found = stored_neurons(names, {"cells": 2}, arrays).columns
    assert [found[name] for name in names] == [[3, 1], [None, "é b"], ["x", None], [None, 2.5]]


# --- what is done to neurons ----------------------------------------------------------------------


@given(st.booleans(), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2))
def test_currents_are_laid_out_as_the_input_is(
    batch_first: bool, steps: int, batch: int, form: int
) -> None:
    size = (batch, steps) if batch_first else (steps, batch)
    u = torch.zeros(*size, 7, dtype=torch.float64)
    shape = ((), (steps,), size)[form]
    value = torch.rand(shape, dtype=torch.float64)
    units, currents = named_currents(
        table(), {"AVAL": value, ("ASER", "RIM"): 0.25}, u, batch_first
    )
    assert units.tolist() == [2, 1, 4]
    assert currents.shape == (*size, 3)
    for at in torch.cartesian_prod(*(torch.arange(n) for n in size)).tolist():
        step = at[1] if batch_first else at[0]
        wanted = (value, value[step] if form == 1 else value, value)[form]
        assert currents[tuple(at)][0] == (wanted[tuple(at)] if form == 2 else wanted)
        assert currents[tuple(at)][1:].tolist() == [0.25, 0.25]


def test_currents_of_one_step_are_numbers_or_of_each_sample() -> None:
    u = torch.zeros(3, 7)
    units, currents = named_currents(table(), {"AVAL": torch.arange(3)}, u, False)
    assert units.tolist() == [2]
    assert currents.tolist() == [[0.0], [1.0], [2.0]]
    assert named_currents(table(), {}, u, False)[1].shape == (3, 0)


def test_currents_of_another_shape_are_refused() -> None:
    u = torch.zeros(4, 3, 7)
    problem = r"current of 'AVAL' is \(3,\), expected a number or \(4, 3\) or \(4,\)"
    with pytest.raises(ValueError, match=problem):
        named_currents(table(), {"AVAL": torch.zeros(3)}, u, False)
    with pytest.raises(TypeError, match=r"current is \['AVAL'\]: it takes neurons with numbers"):
        named_currents(table(), ["AVAL"], u, False)
    with pytest.raises(ValueError, match="nearest: 'AVAR', 'AVAL'"):
        named_currents(table(), {"AVAK": 1.0}, u, False)


def test_rates_are_held_in_full_precision() -> None:
    drive = torch.zeros(5, 2, 7, dtype=torch.bfloat16)
    units, levels = held_rates(table(), "AVAL", {"RIM": 0.3, "ASEL": torch.ones(2)}, drive)
    assert units.tolist() == [2, 4, 0]
    assert levels.dtype == torch.float32
    assert torch.equal(levels, torch.tensor([[0.0, 0.3, 1.0]] * 2))
    units, levels = held_rates(table(), torch.tensor([3, 1]), None, drive)
    assert units.tolist() == [3, 1]
    assert levels.tolist() == [[0.0, 0.0]] * 2


def test_a_neuron_is_held_once() -> None:
    drive = torch.zeros(5, 2, 7)
    for silence, clamp in ((["AVAL"], {"AVAL": 1.0}), (["AVAL", "back"], None)):
        with pytest.raises(ValueError, match="'AVAL' is silenced or clamped twice"):
            held_rates(table(), silence, clamp, drive)
    with pytest.raises(ValueError, match=r"clamp of 'RIM' is \(5,\), expected a number or \(2,\)"):
        held_rates(table(), None, {"RIM": torch.zeros(5)}, drive)


def test_ports_are_the_neurons_that_are_named() -> None:
    own = torch.tensor([4], dtype=torch.int32)
    assert port_units("inputs", 3, own, True, table) is own
    assert port_units("inputs", None, own, False, table) is own
    found = port_units("inputs", ["AVAR", "ASEL"], own, True, table)
    assert found.dtype == own.dtype
    assert found.tolist() == [3, 0]
    assert port_units("inputs", "AVAR", own, False, table).tolist() == [3]
    with pytest.raises(ValueError, match="inputs is 3: it takes a list of neurons"):
        port_units("inputs", 3, own, False, table)
    for names in ([], ["AVAL", "back"]):
        with pytest.raises(ValueError, match="outputs must name neurons, each once"):
            port_units("outputs", names, own, True, table)
