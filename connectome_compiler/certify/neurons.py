"""Put to the test which neurons a module says its units are, and how it finds them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.meaning import Case
from connectome_compiler.ir.digest import column_digest
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.names import PLACES, told

COUNTED = ("population", "index", "unit")  # columns that follow from the sizes of populations
KEYS = ("neuron_id", "name")  # columns by which a neuron is called
SOME = 2_000  # neurons to look for one by one, of those that are more
UNKNOWN = "no such neuron"


def know_their_names(case: Case, network: Any, graph: Graph | None) -> None:
    """Compare the table of neurons with its hashes, or with the graph, and look neurons up."""
    with finding("neurons()"):
        columns: Mapping[str, list[Any]] = network.neurons()
    _count(case, columns)
    stated: Mapping[str, str] = case.stated["neurons"]
    if list(columns) != [*COUNTED, *stated]:
        raise Wrong("neurons()", f"has the columns {', '.join(columns)}, not those stated")
    for name, digest in stated.items():
        if column_digest(name, _arrow(name, columns[name])) != digest:
            raise Wrong("neurons()", f"{name} differs from what is stated")
    if graph is not None:
        wanted = told(graph, places=any(name in PLACES for name in stated))
        for name, column in wanted.items():
            if columns.get(name) != column.to_pylist():
                raise Wrong("neurons()", f"{name} differs from the saved graph")
    _are_found(network, columns)


def called(columns: Mapping[str, list[Any]]) -> dict[Any, list[int]]:
    """Return the units that each id calls, and each name that is no id."""
    units: dict[Any, list[int]] = {}
    for key in KEYS:
        known = set(units)
        for unit, word in enumerate(columns.get(key, [])):
            if word is not None and word not in known:
                units.setdefault(word, []).append(unit)
    return units


def _count(case: Case, columns: Mapping[str, list[Any]]) -> None:
    """Compare the columns that say where units stand."""
    places = [(p["name"], k) for p in case.stated["populations"] for k in range(p["units"])]
    wanted = [*zip(*places, strict=True)] if places else [(), ()]
    for name, column in zip(COUNTED, (*wanted, range(len(places))), strict=True):
        if columns.get(name) != list(column):
            raise Wrong("neurons()", f"{name} does not count units as populations have them")


def _arrow(name: str, column: list[Any]) -> pa.Array:
    kind = pa.float64() if name in PLACES else None
    if kind is None:
        kind = pa.int64() if any(isinstance(x, int) for x in column) else pa.string()
    try:
        return pa.array(column, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise Wrong("neurons()", f"{name} is not a column of {kind}: {error}") from error


def _are_found(network: Any, columns: Mapping[str, list[Any]]) -> None:
    """Look neurons up by all that they are called, and by their columns."""
    units = called(columns)
    some = list(units)[:: -(-len(units) // SOME) or 1]
    with finding("index()"):
        for word in (word for word in some if len(units[word]) == 1):
            if network.index(word) != units[word][0]:
                raise Wrong("index()", f"{word!r} is not unit {units[word][0]}")
        one = [word for word in some if len(units[word]) == 1][::-1]
        if network.index(one).tolist() != [units[word][0] for word in one]:
            raise Wrong("index()", "finds others in a list than one by one")
        for name, column in columns.items():
            for value in list(dict.fromkeys(x for x in column if x is not None))[:8]:
                wanted = [unit for unit, x in enumerate(column) if x == value]
                if network.index(**{name: value}).tolist() != wanted:
                    raise Wrong("index()", f"finds others of {name} {value!r}")
    refused = [UNKNOWN, *(word for word in some if len(units[word]) > 1)]
    for word in refused:
        try:
            found = network.index(word)
        except ValueError:
            continue
        raise Wrong("index()", f"takes {word!r} for unit {found}")


def some_called(network: Any, n: int) -> list[Any]:
    """Return ids of some neurons, far from each other; none where they have no ids."""
    columns = network.neurons()
    ids = [word for word in columns.get("neuron_id", []) if word is not None]
    step = max(1, len(ids) // n)
    return ids[step // 2 :: step][:n]


def units_of(network: Any, names: list[Any]) -> torch.Tensor:
    """Return the units of neurons by id, from the table alone."""
    units = called(network.neurons())
    return torch.tensor([units[name][0] for name in names])
