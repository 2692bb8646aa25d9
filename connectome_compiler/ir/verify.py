"""The rules of a well-formed graph, each checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir.budget import must_fit
from connectome_compiler.ir.connectivity import Synapses, edge_order
from connectome_compiler.ir.graph import (
    Graph,
    Place,
    Population,
    Projection,
)
from connectome_compiler.ir.neurons import COVERAGES, ROLES, STANDARD, is_supported
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.records import must_be_record


def verify(graph: Graph) -> None:
    """Raise `VerifyError` naming the first rule that ``graph`` breaks, and where."""
    _unique("populations", [p.name for p in graph.populations])
    for population in graph.populations:
        _population(population)
    must_fit("populations", units=sum(p.n_units for p in graph.populations))
    _neuron_ids(graph)
    _unique("projections", [p.key for p in graph.projections])
    names = {p.name for p in graph.populations}
    by_key = {p.key: p for p in graph.projections}
    for projection in graph.projections:
        for end in (projection.pre, projection.post):
            if end not in names:
                raise VerifyError(f"projection {projection.key}", f"no population {end!r}")
        _projection(graph, projection, by_key)
        projection.weights.check(graph, projection)
    _no_instant_cycle(graph)
    _unique("ports", [f"{p.direction} {p.name}" for p in graph.ports])
    for port in graph.ports:
        if port.population not in names:
            raise VerifyError(f"port {port.name}", f"no population {port.population!r}")


def _unique(where: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise VerifyError(where, f"{name!r} occurs twice")
        seen.add(name)


def _population(population: Population) -> None:
    name = population.name
    where = f"population {name}"
    if not name:
        raise VerifyError("populations", "a population has no name")
    # The kind at the end of a projection's key must not be mistaken for part of a name.
    if not name.isprintable() or "->" in name or name.endswith(":electrical"):
        hint = "a name is one line of printable text without '->', and not a kind of connection"
        raise VerifyError(f"population {name!r}", "is not a name", hint)
    if any(n < 0 for n in population.shape) or not population.shape:
        raise VerifyError(where, f"invalid shape {population.shape}")
    must_be_record(f"{where}, node", population.node)
    population.node.check(population)
    if population.place is not None:
        _place(where, population.place)
    if population.neurons is not None:
        _neurons(where, population.neurons, population.n_units)


def _place(where: str, place: Place) -> None:
    for field in ("level", "n_neurons"):
        if (number := getattr(place, field)) is not None and number < 0:
            raise VerifyError(where, f"{field} {number} is negative")
    surface = place.surface_mm2
    if surface is not None and not (isfinite(surface) and surface > 0):
        raise VerifyError(where, f"surface_mm2 must be positive and finite, not {surface}")


def _neurons(where: str, table: pa.Table, n_units: int) -> None:
    if table.num_rows != n_units:
        raise VerifyError(where, f"{n_units} units, but {table.num_rows} neurons")
    _unique(f"{where}, columns", table.column_names)
    missing = [name for name in ("neuron_id", *STANDARD) if name not in table.column_names]
    if missing:
        raise VerifyError(where, f"neuron table lacks {', '.join(missing)}", "use neuron_table()")
    for name, dtype in STANDARD.items():
        if table.schema.field(name).type != dtype:
            problem = f"must be {dtype}, not {table.schema.field(name).type}"
            raise VerifyError(f"{where}.{name}", problem, "use neuron_table()")
    ids = table.column("neuron_id")
    if ids.type not in (pa.int64(), pa.string()):
        problem = f"must be int64 or string, not {ids.type}"
        raise VerifyError(f"{where}.neuron_id", problem, "use neuron_table()")
    _no_row(f"{where}.neuron_id", ids.is_null(), "an id is missing")
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not is_supported(column.type):
            problem = f"a neuron table cannot hold {column.type}"
            raise VerifyError(
                f"{where}.{name}", problem, "use numbers or text, one value per neuron"
            )
        if pa.types.is_floating(column.type):
            _no_row(f"{where}.{name}", column.is_null(nan_is_null=True), "NaN", column.is_null())
    _among(where, table, "sign", (1, -1))
    _among(where, table, "axon_coverage", COVERAGES)
    _among(where, table, "role", ROLES)


def _no_row(where: str, bad: Any, problem: str, but: Any = None) -> None:
    """Refuse the first row where ``bad`` is true and ``but`` is not."""
    if but is not None:
        bad = pc.and_not(bad, but)
    if (row := pc.index(bad, True).as_py()) >= 0:
        hint = "use null for missing values" if problem == "NaN" else ""
        raise VerifyError(f"{where}, row {row}", problem, hint)


def _among(where: str, table: pa.Table, name: str, allowed: tuple[Any, ...]) -> None:
    column = table.column(name)
    for value in pc.unique(column).to_pylist():
        if value is not None and value not in allowed:
            row = pc.index(column, value).as_py()
            problem = f"must be one of {', '.join(map(str, allowed))}, not {value!r}"
            raise VerifyError(f"{where}.{name}, row {row}", problem, "use null where it is unknown")


def _neuron_ids(graph: Graph) -> None:
    """Refuse an id of two neurons, within a population or across populations."""
    with_ids = [p for p in graph.populations if p.neurons is not None]
    columns = [p.column("neuron_id") for p in with_ids]
    if len({c.type for c in columns}) > 1:
        raise VerifyError("neuron_id", "is a number in one population and a string in another")
    if not columns:
        return
    ids = pa.chunked_array(columns)
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
    places = [
        f"{p.name}, row {row}"
        for p, column in zip(with_ids, columns, strict=True)
        for row in pc.indices_nonzero(pc.equal(column, twice)).to_pylist()
    ]
    problem = f"{twice.as_py()!r} stands for {len(places)} neurons"
    raise VerifyError(f"population {places[0]}, and {places[1]}", f"neuron_id {problem}")


def _projection(graph: Graph, projection: Projection, by_key: Mapping[str, Projection]) -> None:
    where = f"projection {projection.key}"
    must_be_record(f"{where}, weights", projection.weights)
    if projection.delay < 0:
        raise VerifyError(where, f"delay {projection.delay} is negative")
    try:
        projection.operator.check(
            graph.population(projection.post).shape, graph.population(projection.pre).shape
        )
    except CompileError as error:  # a geometry that does not fit these populations
        raise VerifyError(where, f"{error.where} {error.problem}", error.hint) from error
    if projection.kind == "electrical" and not isinstance(projection.operator, Linear):
        problem = "is a convolution, whose channels have no gap junctions"
        raise VerifyError(where, problem, "use kind chemical")
    n_post, n_pre = graph.shape(projection)
    law = projection.connectivity
    if isinstance(law, Synapses):
        _synapses(where, law, n_post, n_pre)
        if projection.kind == "electrical":
            _electrical(where, projection, by_key)
        return
    if projection.kind == "electrical":
        problem = f"is {law.describe()}, but gap junctions need an edge list"
        raise VerifyError(where, problem)
    # The numbers of a class that is not itself a dataclass would be neither hashed nor saved.
    must_be_record(f"{where}, connectivity", law)
    try:
        law.check(n_post, n_pre, projection.operator)
    except CompileError as error:  # a law that does not fit these populations
        raise VerifyError(where, f"{error.where}: {error.problem}", error.hint) from error


def _synapses(where: str, edges: Synapses, n_post: int, n_pre: int) -> None:
    n = edges.post.size
    for name in ("post", "pre", "weight", "size", "sign"):
        values = getattr(edges, name)
        if values is not None and values.shape != (n,):
            raise VerifyError(f"{where}.{name}", f"shape {values.shape}, expected ({n},)")
    for name, values, limit in (("post", edges.post, n_post), ("pre", edges.pre, n_pre)):
        if n and (values.min() < 0 or values.max() >= limit):
            at = _first((values < 0) | (values >= limit))
            hint = "post and pre seem to be swapped" if _fits_swapped(edges, n_post, n_pre) else ""
            problem = f"{name} index {values[at]} is outside 0..{limit - 1}"
            raise VerifyError(f"{where}, connection {at}", problem, hint)
    post, pre = edges.post, edges.pre
    bad = (post[1:] < post[:-1]) | ((post[1:] == post[:-1]) & (pre[1:] <= pre[:-1]))
    if bad.any():
        at = _first(bad)
        twice = post[at] == post[at + 1] and pre[at] == pre[at + 1]
        raise VerifyError(
            f"{where}, connection {at + 1}",
            "occurs twice" if twice else "not sorted by post, then pre",
            "sum the synapses of a pair first" if twice else "use Synapses.from_edges",
        )
    for name, values in (("weight", edges.weight), ("size", edges.size)):
        if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
            at = _first(~np.isfinite(values))
            raise VerifyError(f"{where}, connection {at}", f"{name} is {values[at]}")
    if edges.unit == "synapses":
        if not np.issubdtype(edges.weight.dtype, np.integer):
            raise VerifyError(f"{where}.weight", "counts of synapses must be integers")
        if n and edges.weight.min() < 1:
            at = _first(edges.weight < 1)
            raise VerifyError(f"{where}, connection {at}", f"{edges.weight[at]} synapses")
    if edges.sign is not None and n and not -1 <= edges.sign.min() <= edges.sign.max() <= 1:
        at = _first(abs(edges.sign) > 1)
        problem = f"sign must be +1, -1 or 0 (unknown), not {edges.sign[at]}"
        raise VerifyError(f"{where}, connection {at}", problem)


def _electrical(where: str, projection: Projection, by_key: Mapping[str, Projection]) -> None:
    """Refuse a gap junction that conducts in only one direction, or not equally in both."""
    hint = "list gap junctions in both directions, with the same conductance"
    back = f"{projection.post}->{projection.pre}:electrical"
    if (mirror := by_key.get(back)) is None:
        raise VerifyError(where, f"has no mirror image {back}", hint)
    edges, other = projection.synapses, mirror.synapses
    if edges.unit != other.unit or projection.weights != mirror.weights:
        raise VerifyError(where, f"and {back} differ in their unit or weights", hint)
    if edges.sign is not None and edges.sign.any():
        raise VerifyError(
            where, "has signs, but current flows through a gap junction in both directions"
        )
    turned = edge_order(other.pre, other.post)
    n = len(edges.post)
    if (
        len(turned) != n
        or (other.pre[turned] != edges.post).any()
        or (other.post[turned] != edges.pre).any()
    ):
        raise VerifyError(where, f"is not the mirror image of {back}", hint)
    if n and edges.weight.min() < 0:
        at = _first(edges.weight < 0)
        raise VerifyError(
            f"{where}, connection {at}", f"conductance {edges.weight[at]} is negative"
        )
    unequal = edges.weight != other.weight[turned]
    if unequal.any():
        at = _first(unequal)
        both = f"{edges.weight[at]} in one direction and {other.weight[turned[at]]} in the other"
        problem = f"conducts {both}"
        raise VerifyError(f"{where}, connection {at}", problem, hint)


def _fits_swapped(edges: Synapses, n_post: int, n_pre: int) -> bool:
    return bool(edges.post.max() < n_pre and edges.pre.max() < n_post)


def _first(bad: npt.NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(bad)[0])


def _no_instant_cycle(graph: Graph) -> None:
    """Refuse populations that would need activity before it is computed."""
    order: dict[str, set[str]] = {}
    for p in graph.projections:
        if p.delay == 0:
            order.setdefault(p.post, set()).add(p.pre)
    try:
        TopologicalSorter(order).prepare()
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise VerifyError("projections", f"a cycle without delay: {cycle}") from None
    position = {p.name: k for k, p in enumerate(graph.populations)}
    for p in graph.projections:
        if p.delay == 0 and position[p.pre] >= position[p.post]:
            raise VerifyError(
                f"projection {p.key}",
                f"has no delay, but {p.pre} is evaluated after {p.post}",
                "list populations in the order of evaluation",
            )
