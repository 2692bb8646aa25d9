"""What modules hold of their neurons is what graphs know, in few bytes, and read at once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from columns import column, laminar
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from connectome_compiler.emit.arrays import pack
from connectome_compiler.emit.neurons import MOST_WRITTEN, Neurons
from connectome_compiler.nn.neurons import NeuronTable, listed_neurons, stored_neurons

WORDS = st.none() | st.text(max_size=4)


def read(neurons: Neurons, inline: bool) -> tuple[str, NeuronTable]:
    """Return how a module reads its neurons, and what it finds, after all was written."""
    placed, arrays = neurons.placed(inline)
    columns, table = (eval(placed[name]) for name in ("columns", "table"))
    if placed["reader"] == "listed_neurons":
        assert not arrays
        return "listed", listed_neurons(columns, table)
    held = load(pack(arrays, 0).data) if arrays else {}
    return "stored", stored_neurons(columns, table, held)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8), st.booleans(), st.integers(0, 8))
def test_columns_come_back_as_they_were(
    rows: list[tuple[str | None, str | None]], numbered: bool, cut: int
) -> None:
    ids: list[Any] = [2**62 + k if numbered else f"n{k} \N{SNOWMAN}" for k in range(len(rows))]
    columns = {"neuron_id": ids, "cell_type": [a for a, _ in rows], "role": [b for _, b in rows]}
    sizes = {"one": min(cut, len(rows)), "other": len(rows) - min(cut, len(rows))}
    kinds = (pa.int64() if numbered else pa.string(), pa.string(), pa.string())
    known = {
        name: pa.array(column, kind)
        for (name, column), kind in zip(columns.items(), kinds, strict=True)
    }
    neurons = Neurons(sizes, known)
    for inline in (True, False):  # networks have neurons
        how, found = read(neurons, inline)
        assert how == ("listed" if inline else "stored")
        assert {name: found.columns[name] for name in columns} == columns
        assert found.columns["population"] == [p for p, n in sizes.items() for _ in range(n)]


def test_neurons_are_in_the_order_of_units() -> None:
    graph = laminar(column())
    _, found = read(Neurons.of(graph), True)
    frame = graph.neurons()
    assert found.columns["neuron_id"] == frame["neuron_id"].tolist()
    assert found.columns["population"] == frame["population"].tolist()
    assert found.columns["index"] == frame["index"].tolist()


def test_neurons_without_ids_are_counted() -> None:
    how, found = read(Neurons({"a": 1, "b": 2}, {}), True)
    assert how == "stored"
    assert found.columns["population"] == ["a", "b", "b"]
    with pytest.raises(ValueError, match="no neuron 'N1'"):
        found.index("N1")


def brain(n: int, seed: int = 0) -> Neurons:
    """Return a brain of ``n`` neurons with ids as long as FlyWire's."""
    rng = np.random.default_rng(seed)
    words: dict[str, int] = {"cell_type": 8_000, "cell_class": 60, "role": 4, "region": 80}
    columns = {
        name: pa.array(np.char.add(f"{name} ", rng.integers(0, many, n).astype(str)).tolist())
        for name, many in words.items()
    }
    ids = pa.array(720575940600000000 + rng.permutation(n))
    return Neurons({"neurons": n}, {"neuron_id": ids, **columns})


def test_many_neurons_are_stored_in_few_bytes_the_same_each_time() -> None:
    n = MOST_WRITTEN + 1
    placed, arrays = brain(n).placed(True)
    assert placed["reader"] == "stored_neurons"
    again = brain(n).placed(True)
    assert again[0] == placed
    assert pack(again[1], 0).data == pack(arrays, 0).data
    codes = [name for name in arrays if name.endswith("/of")]
    assert {name: arrays[name].dtype.itemsize for name in codes} == {
        "neurons/cell_type/of": 2,
        "neurons/cell_class/of": 1,
        "neurons/role/of": 1,
        "neurons/region/of": 1,
    }


@pytest.mark.slow
def test_a_whole_brain_is_read_in_a_moment() -> None:
    neurons = brain(140_000)
    placed, arrays = neurons.placed(False)
    data = load(pack(arrays, 10**6).data)
    names = eval(placed["columns"])
    begin = time.process_time()
    found = stored_neurons(names, eval(placed["table"]), data)
    took = time.process_time() - begin
    assert found.columns["neuron_id"] == neurons.columns["neuron_id"].to_pylist()
    assert found.index(720575940600000000) == found.columns["neuron_id"].index(720575940600000000)
    assert sum(array.nbytes for array in arrays.values()) < 15 * 140_000
    assert took < 0.5, f"{took:.3f} s"
