"""Which neuron each unit is, and what is done to neurons that are called by name."""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

MANY = 10_000  # words among which the nearest take seconds to find


class NeuronTable:
    """The neurons of a network as columns, with an item for each unit; None is not known.

    ``sizes`` are how many units each population has, in their order.
    """

    def __init__(self, sizes: Mapping[str, int], columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns: dict[str, list[Any]] = {
            "population": [name for name, n in sizes.items() for _ in range(n)],
            "index": [k for n in sizes.values() for k in range(n)],
            "unit": list(range(sum(sizes.values()))),
            **{name: list(column) for name, column in columns.items()},
        }
        ids = self.columns.get("neuron_id", [])
        self.unit_of: dict[Any, int] = dict(zip(ids, range(len(ids)), strict=True))

    def index(self, neurons: Any = None, **where: Any) -> Any:
        """Return the unit of a neuron, by id or name, or of a list of them, as a tensor.

        Keywords choose by column: ``cell_type="PVC"``. Units in a tensor are returned as integers.
        """
        if (neurons is None) != bool(where):
            raise ValueError('index() takes "AVAL", or ["AVAL", "AVAR"], or cell_type="AVA"')
        if where:
            return self._chosen(where)
        if isinstance(neurons, Tensor):
            n = len(self.columns["unit"])
            odd = neurons.is_floating_point() or neurons.dtype == torch.bool
            if odd or bool(((neurons < 0) | (neurons >= n)).any()):
                raise ValueError(f"a tensor has units, from 0 to {n - 1}, not {neurons}")
            return neurons.long()
        if isinstance(neurons, str) or not isinstance(neurons, Iterable):
            return self._unit(neurons)
        units = [self._unit(neuron) for neuron in neurons]
        return torch.tensor(units, dtype=torch.int64, device="cpu")

    def _unit(self, neuron: Any) -> int:
        if (unit := self.unit_of.get(neuron)) is not None:
            return unit
        names = self.columns.get("name", [])
        found = [unit for unit, name in enumerate(names) if name == neuron]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(repr(self.columns["neuron_id"][unit]) for unit in found[:4])
            raise ValueError(f"{neuron!r} is the name of {len(found)} neurons: use ids, {ids}")
        for name, column in self.columns.items():
            if isinstance(neuron, str) and neuron in column:
                n = column.count(neuron)
                hint = f"it is the {name} of {n}: index({name}={neuron!r})"
                raise ValueError(f"there is no neuron {neuron!r}; {hint}")
        raise ValueError(
            f"there is no neuron {neuron!r}{_nearest(neuron, [*self.unit_of, *names])}"
        )

    def _chosen(self, where: Mapping[str, Any]) -> Tensor:
        """Return the units whose columns have these values."""
        chosen = self.columns["unit"]
        for name, value in where.items():
            if (column := self.columns.get(name)) is None:
                raise ValueError(f"there is no column {name!r}; known: {', '.join(self.columns)}")
            if value not in column:
                raise ValueError(f"no neuron has {name} {value!r}{_nearest(value, column)}")
            chosen = [unit for unit in chosen if column[unit] == value]
        return torch.tensor(chosen, dtype=torch.int64, device="cpu")


def _nearest(word: Any, words: Iterable[Any]) -> str:
    """Return a hint at what may have been meant."""
    known = {str(other): other for other in words if other is not None}
    nearest = difflib.get_close_matches(str(word), known if len(known) < MANY else [], 3)
    return f"; nearest: {', '.join(repr(known[other]) for other in nearest)}" if nearest else ""


def listed_neurons(names: Sequence[str], runs: Mapping[str, Sequence[Any]]) -> NeuronTable:
    """Read, by population, runs of neurons that are alike: their ids, then what they share."""
    sizes = {name: sum(len(ids) for ids, *_ in some) for name, some in runs.items()}
    rows = [(one, *alike) for some in runs.values() for ids, *alike in some for one in ids]
    return NeuronTable(sizes, dict(zip(names, zip(*rows, strict=True), strict=True)))


def stored_neurons(
    names: Sequence[str], sizes: Mapping[str, int], arrays: Mapping[str, Tensor]
) -> NeuronTable:
    """Read numbers, of which NaN is not known, and words, as JSON in bytes.

    With ``/of`` a column has the place of each neuron's word, -1 where it is not known.
    """
    columns: dict[str, list[Any]] = {}
    for name in names:
        column, of = arrays[f"neurons/{name}"], arrays.get(f"neurons/{name}/of")
        if column.dtype == torch.uint8:
            words = [*json.loads(bytes(column.tolist())), None]
            columns[name] = words[:-1] if of is None else [words[k] for k in of.tolist()]
        else:
            columns[name] = [None if x != x else x for x in column.tolist()]
    return NeuronTable(sizes, columns)


def port_units(
    port: str, neurons: Any, units: Tensor, channels: bool, table: Callable[[], NeuronTable]
) -> Tensor:
    """Return the units of a port: of the ``neurons`` that are named, else ``units``.

    Where ``channels``, a number is how many channels a linear layer has.
    """
    if isinstance(neurons, int) if channels else neurons is None:
        return units
    if not channels and isinstance(neurons, int):
        raise ValueError(f"{port} is {neurons}: it takes a list of neurons, each its own channel")
    found = torch.as_tensor(table().index(neurons), device="cpu").reshape(-1)
    if not len(found) or len(found.unique()) < len(found):
        raise ValueError(f"{port} must name neurons, each once, not {neurons!r}")
    return found.to(units)


def named_currents(
    table: NeuronTable, current: Any, like: Tensor, batch_first: bool
) -> tuple[Tensor, Tensor]:
    """Return units, and the current into each: laid out as ``like``, an input, is."""
    size = like.shape[:-1]
    shapes = {(): (1,) * like.dim(), tuple(size): (*size, 1)}
    if like.dim() == 3:
        steps = size[batch_first]
        shapes |= {(steps,): (1, steps, 1) if batch_first else (steps, 1, 1)}
    return _spread(table, "current", current, shapes, like)


def held_rates(
    table: NeuronTable, silence: Any, clamp: Any, drive: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the units whose rates are held, and at what: 0 where silent, ``(batch, n_held)``.

    ``drive`` is ``(steps, batch, n_inputs)``.
    """
    silent = torch.as_tensor(table.index([] if silence is None else silence)).reshape(-1)
    batch, precision = drive.shape[1], torch.promote_types(drive.dtype, torch.float32)
    like = drive.new_empty(batch, 1, dtype=precision)
    shapes = {(): (1, 1), (batch,): (batch, 1)}
    units, levels = _spread(table, "clamp", {} if clamp is None else clamp, shapes, like)
    units = torch.cat([silent.to(units), units])
    names = table.columns.get("neuron_id", table.columns["unit"])
    if twice := [names[k] for k, n in enumerate(units.bincount().tolist()) if n > 1]:
        raise ValueError(f"{twice[0]!r} is silenced or clamped twice")
    return units, torch.cat([levels.new_zeros(batch, len(silent)), levels], 1)


def _spread(
    table: NeuronTable,
    what: str,
    given: Any,
    shapes: Mapping[tuple[int, ...], tuple[int, ...]],
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the units that are named, and the value of each in all places of ``like``."""
    if not isinstance(given, Mapping):
        raise TypeError(f'{what} is {given!r}: it takes neurons with numbers, {{"AVAL": 0.5}}')
    units, values = [like.new_empty(0, dtype=torch.int64)], [like[..., :0]]
    for neurons, value in given.items():
        found = torch.as_tensor(table.index(neurons), device=like.device).reshape(-1)
        value = torch.as_tensor(value).to(like)
        if (shape := shapes.get(tuple(value.shape))) is None:
            wanted = "a number or " + " or ".join(str(one) for one in shapes if one)
            raise ValueError(f"{what} of {neurons!r} is {tuple(value.shape)}, expected {wanted}")
        units.append(found)
        values.append(value.reshape(shape).expand(*like.shape[:-1], len(found)))
    return torch.cat(units), torch.cat(values, -1)
