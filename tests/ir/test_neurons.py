from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Population, neuron_table
from connectome_compiler.ir.neurons import STANDARD

BIG = 864691135000000001  # a root id of MICrONS; as a float it is another one


@pytest.mark.parametrize(
    "ids",
    [
        [BIG, BIG + 1],
        np.array([BIG, BIG + 1], np.uint64),
        pd.Series([BIG, BIG + 1], dtype="Int64"),
        pa.chunked_array([[BIG], [BIG + 1]]),
        pa.array([BIG, BIG + 1]).dictionary_encode(),
    ],
)
def test_large_ids_stay_exact(ids: Any) -> None:
    table = neuron_table({"neuron_id": ids})
    assert table["neuron_id"].type == pa.int64()
    assert table["neuron_id"].to_pylist() == [BIG, BIG + 1]
    assert table.column_names == ["neuron_id", *STANDARD]


def test_text_ids_stay_text() -> None:
    ids = np.array(["001", "AVAL"])
    assert neuron_table({"neuron_id": ids})["neuron_id"].to_pylist() == ["001", "AVAL"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no column neuron_id"),
        ({"neuron_id": [float(BIG)]}, "ids must be integers or text, not double"),
        ({"neuron_id": [True]}, "ids must be integers or text, not bool"),
        ({"neuron_id": np.array([2**63], np.uint64)}, "column neuron_id"),
        ({"neuron_id": [1, "a"]}, "column neuron_id"),
        ({"neuron_id": [1, 2], "region": ["V1"]}, "column region: 1 values for 2 neurons"),
        ({"neuron_id": [1], "x_um": ["left"]}, "column x_um"),
        ({"neuron_id": [1], "sign": [300]}, "column sign"),
        ({"neuron_id": [1], "mine": [object()]}, "column mine"),
    ],
)
def test_bad_columns_are_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        neuron_table(columns)


def test_missing_is_null() -> None:
    values = {"neuron_id": [1, 2], "x_um": np.array([np.nan, 2.0]), "cell_type": [None, "BC"]}
    table = neuron_table(values)
    assert table["x_um"].to_pylist() == [None, 2.0]
    assert table["cell_type"].to_pylist() == [None, "BC"]
    assert table["region"].to_pylist() == [None, None]


def test_the_callers_array_is_not_shared() -> None:
    x, mine = np.array([1.0, 2.0]), np.array([5, 6])
    table = neuron_table({"neuron_id": [1, 2], "x_um": x, "mine": mine})
    x[0], mine[0] = 9.0, 9
    assert table["x_um"].to_pylist() == [1.0, 2.0]
    assert table["mine"].to_pylist() == [5, 6]


def test_what_is_read_from_a_population_cannot_be_written() -> None:
    population = Population("a", (2,), neuron_table({"neuron_id": [1, 2], "x_um": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="read-only"):
        population.column("x_um").to_numpy()[0] = 5.0


def test_a_population_holds_plain_columns() -> None:
    table = neuron_table({"neuron_id": [1, 2, 3], "word": pa.array(["a", "b", "a"])})
    fancy = pa.table(
        {
            **{n: table[n] for n in table.column_names},
            "word": pa.chunked_array([["a"], ["b", "a"]], pa.large_string()).dictionary_encode(),
        }
    ).replace_schema_metadata({"pandas": "{}"})
    held = Population("a", (3,), fancy).neurons
    assert held is not None
    assert held["word"].type == pa.string()
    assert held["word"].num_chunks == 1
    assert held.schema.metadata is None
    assert held.equals(table)
