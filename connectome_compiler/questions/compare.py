"""What differs between two graphs: neurons, connections, and how they are held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Kind, Projection
from connectome_compiler.ir.operators import Linear
from connectome_compiler.questions.answer import Answer
from connectome_compiler.questions.wiring import Floats, Numbers, Roll
from connectome_compiler.text import counted

KINDS: tuple[Kind, ...] = ("chemical", "electrical")
REST = "neurons, connections and settings are equal, their order or sizes of synapses are not"
Ints = npt.NDArray[np.int8]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Difference(Answer):
    """What the graph ``after`` has gained, lost or changed, compared with ``before``.

    Neurons are matched by their ids, connections by their ends and kind. ``neurons`` and
    ``connections`` list each that differs, ``populations`` and ``projections`` count them;
    ``settings`` has whatever else differs in these, before and after.
    """

    before: str  # source of the graph
    after: str
    equal: bool  # whether the graphs are equal, to the bit
    populations: pa.Table
    projections: pa.Table
    neurons: pa.Table
    connections: pa.Table
    settings: pa.Table

    @property
    def headline(self) -> str:
        """How much differs."""
        ends = self.before if self.before == self.after else f"{self.before} and {self.after}"
        if self.equal:
            return f"{ends}: equal"
        parts = []
        for noun, table in (("neuron", self.neurons), ("connection", self.connections)):
            tally = Counter(table.column("what").to_pylist())
            parts += [f"{counted(n, noun)} {what}" for what, n in sorted(tally.items())]
        if n := self.settings.num_rows:
            parts.append(counted(n, "setting") + " changed")
        return f"{ends}: {', '.join(parts) or REST}"

    @property
    def tables(self) -> dict[str, pa.Table]:
        """Counts first, then what they count."""
        return {
            "populations": self.populations,
            "projections": self.projections,
            "settings": self.settings,
            "neurons": self.neurons,
            "connections": self.connections,
        }


def compare(before: Graph, after: Graph) -> Difference:
    """Return what differs between two graphs; see `Graph.diff`."""
    old, new = _Named.of(before), _Named.of(after)
    ids, at_old, at_new = _matched(old.ids, new.ids)
    neurons = _neurons(old, new, ids, at_old, at_new)
    parts, counts = [], []
    for kind in KINDS:
        listed, tally = _connections(old, new, ids, at_old, at_new, kind)
        parts.append(listed)
        counts += tally
    return Difference(
        before.provenance.source,
        after.provenance.source,
        before == after,
        _populations(neurons, before, after),
        _table(
            counts,
            projection=pa.string(),
            gained=pa.int64(),
            lost=pa.int64(),
            weight_changed=pa.int64(),
            sign_changed=pa.int64(),
        ),
        neurons,
        pa.concat_tables(parts),
        _table(
            list(_settings(before, after)),
            where=pa.string(),
            what=pa.string(),
            before=pa.string(),
            after=pa.string(),
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """A graph and the ids of its neurons, as text."""

    graph: Graph
    roll: Roll
    ids: pa.Array

    @classmethod
    def of(cls, graph: Graph) -> _Named:
        roll = Roll.of(graph)
        return cls(graph, roll, roll.ids(np.arange(roll.n)).cast(pa.string()))


def _matched(old: pa.Array, new: pa.Array) -> tuple[pa.Array, Numbers, Numbers]:
    """Return all ids, those of ``old`` first, and where in them those of both are."""
    gained = new.filter(pc.invert(pc.is_in(new, value_set=old)))
    ids = pa.concat_arrays([old, gained])
    where = pc.index_in(new, value_set=ids).to_numpy(zero_copy_only=False).astype(np.int64)
    return ids, np.arange(len(old)), where


def _neurons(old: _Named, new: _Named, ids: pa.Array, at_old: Numbers, at_new: Numbers) -> pa.Table:
    """List the neurons that were gained, lost or changed, and in which columns."""
    in_old, in_new = (np.full(len(ids), -1) for _ in range(2))
    in_old[at_old], in_new[at_new] = np.arange(len(at_old)), np.arange(len(at_new))
    lost, gained = np.flatnonzero(in_new < 0), np.flatnonzero(in_old < 0)
    both = np.flatnonzero((in_old >= 0) & (in_new >= 0))
    one, other = in_old[both], in_new[both]
    changes: list[list[str]] = [[] for _ in both]
    for column in _columns(old.graph, new.graph):
        for k in np.flatnonzero(_differs(*_values(old, new, column, one, other))):
            changes[k].append(column)
    differ = np.array([bool(c) for c in changes], np.bool_)
    what = ["gained"] * len(gained) + ["lost"] * len(lost) + ["changed"] * int(differ.sum())
    which = np.concatenate([gained, lost, both[differ]]).astype(np.int64)
    return pa.table(
        {
            "what": pa.array(what, pa.string()),
            "neuron": ids.take(pa.array(which)),
            "population_before": _population(old, in_old[which]),
            "population_after": _population(new, in_new[which]),
            "columns": pa.array(
                [None] * (len(gained) + len(lost)) + [", ".join(c) for c in changes if c],
                pa.string(),
            ),
        }
    )


def _columns(old: Graph, new: Graph) -> list[str]:
    """Return the columns that neurons may differ in, ``population`` first."""
    found = dict.fromkeys(["population"])
    for graph in (old, new):
        for p in graph.populations:
            found |= dict.fromkeys([] if p.neurons is None else p.neurons.column_names)
    found.pop("neuron_id", None)
    return list(found)


def _values(
    old: _Named, new: _Named, column: str, one: Numbers, other: Numbers
) -> tuple[pa.Array, pa.Array]:
    if column == "population":
        return old.roll.places(one)[0], new.roll.places(other)[0]
    return old.roll.column(column, one), new.roll.column(column, other)


def _differs(one: pa.Array, other: pa.Array) -> npt.NDArray[np.bool_]:
    """Return where two columns differ, missing values being equal; text is compared with text."""
    if one.type != other.type and pa.types.is_string(one.type) | pa.types.is_string(other.type):
        one, other = one.cast(pa.string()), other.cast(pa.string())
    apart = pc.fill_null(pc.not_equal(one, other), False)
    found = pc.or_(apart, pc.not_equal(pc.is_null(one), pc.is_null(other)))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def _population(named: _Named, numbers: Numbers) -> pa.Array:
    """Return the population of each neuron, missing for number -1."""
    known = numbers >= 0
    if not named.roll.n:
        return pa.nulls(len(numbers), pa.string())
    names = named.roll.places(np.where(known, numbers, 0))[0]
    return pc.if_else(pa.array(known), names, None)


def _populations(neurons: pa.Table, before: Graph, after: Graph) -> pa.Table:
    """Count neurons by population, for those in which any differ."""
    tally: dict[str, Counter[str]] = {}
    for row in neurons.to_pylist():
        name = row["population_before"] if row["what"] == "lost" else row["population_after"]
        tally.setdefault(name, Counter())[row["what"]] += 1
    rows = []
    order = dict.fromkeys(p.name for g in (after, before) for p in g.populations)
    for name in order:
        sizes = [
            next((p.n_units for p in g.populations if p.name == name), 0) for g in (before, after)
        ]
        if name in tally or sizes[0] != sizes[1]:
            found = tally.get(name, Counter())
            counts = {what: found[what] for what in ("gained", "lost", "changed")}
            rows.append({"population": name, "before": sizes[0], "after": sizes[1], **counts})
    return _table(
        rows,
        population=pa.string(),
        before=pa.int64(),
        after=pa.int64(),
        gained=pa.int64(),
        lost=pa.int64(),
        changed=pa.int64(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """The listed connections of one kind, sorted by ``key``, a number for each pair of ids."""

    key: Numbers
    weight: Floats
    sign: Ints
    projection: Numbers  # index among the projections of the graph

    @classmethod
    def of(cls, named: _Named, at: Numbers, n: int, kind: Kind) -> _Edges:
        keys, weights, signs, places = [], [], [], []
        for k, q in enumerate(named.graph.projections):
            if q.kind != kind or not _is_listed(q):
                continue
            post = at[q.synapses.post + named.roll.start(q.post)]
            keys.append(post * n + at[q.synapses.pre + named.roll.start(q.pre)])
            weights.append(q.synapses.weight.astype(np.float64))
            signs.append(named.graph.signs(q).astype(np.int8))
            places.append(np.full(len(post), k))
        none = np.zeros(0, np.int64)
        key = np.concatenate([*keys, none])
        order = np.argsort(key, kind="stable")
        return cls(
            key[order],
            np.concatenate([*weights, none.astype(np.float64)])[order],
            np.concatenate([*signs, none.astype(np.int8)])[order],
            np.concatenate([*places, none])[order],
        )


def _is_listed(q: Projection) -> bool:
    return isinstance(q.connectivity, Synapses) and isinstance(q.operator, Linear)


def _connections(
    old: _Named, new: _Named, ids: pa.Array, at_old: Numbers, at_new: Numbers, kind: Kind
) -> tuple[pa.Table, list[Row]]:
    """List the connections that differ, and count them by projection."""
    n = max(len(ids), 1)
    a, b = _Edges.of(old, at_old, n, kind), _Edges.of(new, at_new, n, kind)
    _, in_a, in_b = np.intersect1d(a.key, b.key, assume_unique=True, return_indices=True)
    heavier, flipped = a.weight[in_a] != b.weight[in_b], a.sign[in_a] != b.sign[in_b]
    differ = heavier | flipped
    gained = np.setdiff1d(np.arange(len(b.key)), in_b, assume_unique=True)
    lost = np.setdiff1d(np.arange(len(a.key)), in_a, assume_unique=True)
    key = np.concatenate([b.key[gained], a.key[lost], b.key[in_b[differ]]])
    sizes = (len(gained), len(lost), int(differ.sum()))
    words = [w for w, k in zip(("gained", "lost", "changed"), sizes, strict=True) for _ in range(k)]
    gap, hole = np.full(len(gained), np.nan), np.full(len(lost), np.nan)
    same_a, same_b = in_a[differ], in_b[differ]
    sides = {
        "weight_before": [gap, a.weight[lost], a.weight[same_a]],
        "weight_after": [b.weight[gained], hole, b.weight[same_b]],
        "sign_before": [gap, a.sign[lost], a.sign[same_a]],
        "sign_after": [b.sign[gained], hole, b.sign[same_b]],
    }
    post, pre = np.divmod(key, n)
    table = pa.table(
        {
            "what": pa.array(words, pa.string()),
            "pre": ids.take(pa.array(pre)),
            "post": ids.take(pa.array(post)),
            "kind": pa.array([kind] * len(key), pa.string()),
            **{name: _nullable(name, parts) for name, parts in sides.items()},
        }
    )
    b_less_a = (np.nan_to_num(np.concatenate(sides[f"weight_{k}"])) for k in ("after", "before"))
    order = np.argsort(-np.abs(np.subtract(*b_less_a)), kind="stable")  # the largest change first
    table = table.take(pa.array(order))
    tally: dict[str, Counter[str]] = {}
    for what, edges, rows, graph in (
        ("gained", b, gained, new.graph),
        ("lost", a, lost, old.graph),
        ("weight_changed", b, in_b[heavier], new.graph),
        ("sign_changed", b, in_b[flipped], new.graph),
    ):
        for k, many in enumerate(np.bincount(edges.projection[rows])):
            if many:
                tally.setdefault(graph.projections[k].key, Counter())[what] = int(many)
    names = ("gained", "lost", "weight_changed", "sign_changed")
    return table, [
        {"projection": key, **{name: found[name] for name in names}} for key, found in tally.items()
    ]


def _nullable(name: str, parts: list[npt.NDArray[Any]]) -> pa.Array:
    """Return one column of numbers, NaN missing; signs as such."""
    column = pa.array(np.concatenate(parts).astype(np.float64), from_pandas=True)
    return column.cast(pa.int8()) if name.startswith("sign") else column


def _settings(before: Graph, after: Graph) -> Iterator[Row]:
    """Yield what differs in populations, projections and ports beside neurons and connections."""
    for noun, one, other, skipped in (
        (
            "population",
            {p.name: p for p in before.populations},
            {p.name: p for p in after.populations},
            {"name", "neurons", "shape"},
        ),
        (
            "projection",
            {q.key: q for q in before.projections},
            {q.key: q for q in after.projections},
            {"pre", "post", "kind"},
        ),
        ("port", {p.name: p for p in before.ports}, {p.name: p for p in after.ports}, {"name"}),
    ):
        for name in dict.fromkeys([*one, *other]):
            where = f"{noun} {name}"
            if name not in one or name not in other:
                there = ("-", "there") if name in other else ("there", "-")
                yield {"where": where, "what": noun, "before": there[0], "after": there[1]}
                continue
            for f in fields(one[name]):
                if f.name not in skipped:
                    sides = (getattr(side[name], f.name) for side in (one, other))
                    yield from _unequal(where, f.name, *sides)


def _unequal(where: str, what: str, before: Any, after: Any) -> Iterator[Row]:
    """Yield what differs of a setting: of records of one kind, field by field."""
    if is_dataclass(before) and type(before) is type(after) and not isinstance(before, Synapses):
        for f in fields(before):
            sides = (getattr(side, f.name) for side in (before, after))
            yield from _unequal(where, f"{what}.{f.name}", *sides)
    elif _spelled(before) != _spelled(after):
        spelled = {"before": _spelled(before), "after": _spelled(after)}
        yield {"where": where, "what": what, **spelled}


def _spelled(value: Any) -> str:
    """Spell a setting; of edge lists, which are compared one by one, what is left beside these."""
    if isinstance(value, Synapses):
        sized = "" if value.size is None else ", with sizes"
        return f"edge list in {value.unit}{sized}"
    return str(value)


def _table(rows: list[Row], **columns: pa.DataType) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))
