"""What stands behind a weight of a module: its neurons, synapses and signs, and their origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.weights import Named
from connectome_compiler.lower import lower
from connectome_compiler.passes.assign_signs import AssignSigns
from connectome_compiler.questions.answer import MARKS, Answer
from connectome_compiler.questions.wiring import Roll, must_join_neurons
from connectome_compiler.statement import Statement
from connectome_compiler.text import counted
from connectome_compiler.views.modules import layer_of, read_arrays, read_statement
from connectome_compiler.views.targets import behind_module

Row = dict[str, Any]
DESCRIBED = ("cell_class", "neurotransmitter", "role")  # columns of neurons
STAGE = pa.schema(
    [
        ("stage", pa.string()),
        ("projection", pa.string()),
        ("weight", pa.float64()),
        ("unit", pa.string()),
        ("own_sign", pa.int8()),  # the sign that the connection has itself
        ("neuron_sign", pa.int8()),  # that of its presynaptic neuron
        ("sign", pa.int8()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Explanation(Answer):
    """The connection behind the weight ``[post, pre]`` of a projection, or that there is none.

    ``facts`` has what is known of it: its place in the vector of weights, the sign, its origin.
    ``ends`` has the neurons, ``stages`` the connection after each stage of the build; without the
    graph, which ``lacking`` explains, there is only what the module holds.
    """

    module: str
    projection: str
    post: int  # index in the population
    pre: int
    exists: bool
    said: Mapping[str, str]
    ends: pa.Table
    stages: pa.Table
    lacking: str

    @property
    def headline(self) -> str:
        """Whether there is a connection, and between whom."""
        at = f"{self.module}: {self.projection} [{self.post}, {self.pre}]"
        ids = self.ends.column("neuron").to_pylist() if self.ends.num_rows else []
        named = f", {ids[1]} -> {ids[0]}" if ids else ""
        return f"{at}{named}" if self.exists else f"{at}{named}: there is no such connection"

    @property
    def facts(self) -> Mapping[str, str]:
        """What is known of the weight."""
        return self.said

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The neurons, and the connection after each stage."""
        return {"neurons": self.ends, "stages": self.stages}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the module alone cannot say."""
        if not self.lacking:
            return ()
        return (f"The neurons, synapses and stages are not in the module. {self.lacking}",)


def explain(
    module: Path, key: str, post: str, pre: str, graph: Path | None = None, *, ids: bool = False
) -> Explanation:
    """Return what stands behind the weight ``[post, pre]`` of the projection ``key``.

    ``post`` and ``pre`` are places in their populations, as in the weight, or ids of neurons; with
    ``ids``, numbers are ids as well. The ``graph`` is the saved one of the build, or else the one
    beside the module, or what its recipe gives. Raises `CompileError`.
    """
    stated = read_statement(module)
    found = {q.key: q for q in stated.projections}
    if key not in found:
        raise UnknownNameError.among(f"{module}: projection", key, found)
    stages: list[tuple[str, Graph]] = []
    lacking = ""
    if graph is not None:
        last = Graph.load(graph)
        if last.digest() != stated.graph_sha256:
            hint = "give it the graph after the last pass, saved by the build of this module"
            raise CompileError(str(graph), f"is not the graph of {module}", hint)
        steps = last.provenance.steps
        stages.append((steps[-1].name if steps else "source", last))
    else:
        try:
            behind_module(module, lambda stage, made: stages.append((stage, made)))
        except CompileError as error:
            stages, lacking = [], f"{error.where}: {error.problem}; {error.hint}"
    n_post, n_pre = found[key].shape
    if not stages:
        at_post = _as_place("post", post, n_post, ids, lacking)
        at_pre = _as_place("pre", pre, n_pre, ids, lacking)
        return _of_module(module, stated, key, at_post, at_pre, lacking)
    last = stages[-1][1]
    q = last.projection(key)
    must_join_neurons(q)
    at_post = _place(last, "post", post, n_post, ids, q.post)
    at_pre = _place(last, "pre", pre, n_pre, ids, q.pre)
    return _of_graph(module, stages, q, at_post, at_pre)


def _as_place(side: str, text: str, n: int, ids: bool, lacking: str) -> int:
    """Return the place of a unit that is not an id."""
    if text.isdecimal() and not ids:
        if int(text) < n:
            return int(text)
        hint = "an id that is a number needs --ids"
        raise CompileError(side, f"there is no unit {text} among {n:,}, counted from 0", hint)
    problem = f"the id {text} needs the graph, which is not here"
    raise CompileError(side, problem, lacking)


def _place(graph: Graph, side: str, text: str, n: int, ids: bool, population: str) -> int:
    """Return the place of a unit in its population."""
    if text.isdecimal() and not ids:
        return _as_place(side, text, n, ids, "")
    roll = Roll.of(graph)
    (home,), (place,) = roll.places(np.array([roll.one(text)]))
    if home.as_py() != population:
        problem = f"{text} is in {home}, not in {population}"
        raise CompileError(side, problem, "the order is POST PRE, as in the weight")
    return int(place)


def _of_module(
    module: Path, stated: Statement, key: str, post: int, pre: int, lacking: str
) -> Explanation:
    """Explain a weight by what the module alone holds."""
    arrays = read_arrays(module)
    if f"{key}.ptr" not in arrays:
        hint = "give it the saved graph: --graph FOLDER"
        raise CompileError(f"{module}: {key}", "holds no list of connections, but a law", hint)
    ptr, sources = arrays[f"{key}.ptr"], arrays[f"{key}.pre"]
    along = np.arange(ptr[post], ptr[post + 1])
    found = along[sources[along] == pre]
    said: dict[str, str] = {}
    if len(found):
        k = int(found[0])
        signs = next(q.signs for q in stated.projections if q.key == key)
        alike = (1 if signs.excitatory else -1) if signs.enforced else 0
        sign = arrays.get(f"{key}.sign")
        enforced = alike if sign is None else int(sign[k])
        said = _held(module, key, k, enforced, arrays.get(f"{key}.group"))
    none = pa.table({"side": pa.array([], pa.string())})
    stages = STAGE.empty_table()
    return Explanation(module.name, key, post, pre, bool(len(found)), said, none, stages, lacking)


def _held(module: Path, key: str, place: int, enforced: int, group: Any) -> dict[str, str]:
    """Return how the module holds a connection."""
    weight = place if group is None else int(group[place])
    layer = layer_of(module, key)
    others = 0 if group is None else int((group == weight).sum()) - 1
    at = f"net.{layer}.weight[{weight}]" if layer else "as the layer holds it"
    said = {
        "place": f"{place:,}, among the connections sorted by post, then pre",
        "weight": f"{at}, shared with {counted(others, 'other connection')}" if others else at,
        "sign": f"{MARKS[enforced]}, enforced" if enforced else "free: training may change it",
    }
    if key.endswith(":electrical"):
        said["sign"] = "none: a conductance, which is never negative"
    return said


def _of_graph(
    module: Path, stages: Sequence[tuple[str, Graph]], q: Projection, post: int, pre: int
) -> Explanation:
    """Explain a weight by the graph of each stage."""
    last = stages[-1][1]
    edges = lower(last).edges[q.key]
    found = np.flatnonzero((edges.post == post) & (edges.pre == pre))
    roll = Roll.of(last)
    numbers = np.array([roll.start(q.post) + post, roll.start(q.pre) + pre])
    ends = pa.table(
        {
            "side": ["post", "pre"],
            **roll.described(numbers),
            "place": np.array([post, pre]),
            **{name: roll.column(name, numbers) for name in DESCRIBED},
            "sign": roll.column("sign", numbers).cast(pa.int8()).fill_null(0),
        }
    )
    ids = [str(v) for v in roll.ids(numbers).to_pylist()]
    history = [_at_stage(name, graph, q, *ids) for name, graph in stages]
    said: dict[str, str] = {}
    if len(found):
        k = int(found[0])
        said = _held(module, q.key, k, int(edges.enforced[k]), edges.group)
        if isinstance(q.weights, Named):
            shared = f"shared by all connections of the name {q.weights.name!r}"
            said["weight"] = f"one number, {shared}"
        if isinstance(q.connectivity, Synapses):
            size, unit = q.synapses.weight[k], q.synapses.unit
            said["strength"] = f"{size:,g} {unit.removesuffix('s') if size == 1 else unit}"
        if edges.scale is not None:
            said["scale"] = f"{edges.scale[k]:g}, by which the shared weight is multiplied"
        if q.kind == "chemical":
            said["sign from"] = _sign_from(last, history)
        if not q.weights.trained:
            said["training"] = "leaves the weight as it is"
    elif lost := [k for k, row in enumerate(history) if row["projection"]]:
        said["lost"] = f"in {history[lost[-1] + 1]['stage']}"
    there = [row for row in history if row["projection"]]
    table = pa.Table.from_pylist(there, schema=STAGE)
    return Explanation(module.name, q.key, post, pre, bool(len(found)), said, ends, table, "")


def _at_stage(stage: str, graph: Graph, last: Projection, post: str, pre: str) -> Row:
    """Return a connection as it was after a stage; its neurons are found by their ids."""
    row: Row = dict.fromkeys(STAGE.names) | {"stage": stage}
    roll = Roll.of(graph)
    try:
        numbers = np.array([roll.one(post), roll.one(pre)])
    except CompileError:  # it had other units then
        return row
    names, places = roll.places(numbers)
    home_post, home_pre = names.to_pylist()
    for q in graph.connectome:
        if (q.post, q.pre, q.kind) != (home_post, home_pre, last.kind):
            continue
        ends = q.connectivity.entries(*graph.shape(q))
        found = np.flatnonzero((ends[0] == places[0]) & (ends[1] == places[1]))
        if not len(found):
            continue
        k = int(found[0])
        row |= {"projection": q.key, "sign": int(graph.signs(q)[k])}
        if q.kind == "electrical":
            row["sign"] = None
        else:
            row["neuron_sign"] = roll.column("sign", numbers[1:]).cast(pa.int8())[0].as_py() or 0
            row["own_sign"] = 0
        if isinstance(q.connectivity, Synapses):
            row |= {"weight": float(q.synapses.weight[k]), "unit": q.synapses.unit}
            if q.synapses.sign is not None and q.kind == "chemical":
                row["own_sign"] = int(q.synapses.sign[k])
    return row


def _sign_from(last: Graph, history: Sequence[Row]) -> str:
    """Say what gave a connection its sign, and at which stage."""
    now = history[-1]
    if not now["sign"]:
        return "unknown: neither the connection nor its presynaptic neuron has one"
    if now["own_sign"]:
        of_what, same = "the connection's own", _since(history, "own_sign")
    elif now["neuron_sign"]:
        of_what, same = "that of the presynaptic neuron", _since(history, "neuron_sign")
    else:
        of_what, same = "the polarity of all weights of the projection", _since(history, "sign")
    evidence = f"signs of the data are {last.provenance.signs}"
    if same == history[0]["stage"] != "source":
        return f"{of_what}; {evidence}; which step gave it, only earlier stages tell"
    if same != "source":
        return f"{of_what}, since {same}"
    steps = {step.name for step in last.provenance.steps}
    assigned = f", assigned from transmitters ({AssignSigns.name})"
    return f"{of_what}, from the source{assigned * (AssignSigns.name in steps)}; {evidence}"


def _since(history: Sequence[Row], column: str) -> str:
    """Return the stage since which a value has been what it is at the end."""
    stage = ""
    for row in reversed(history):
        if row[column] != history[-1][column]:
            break
        stage = row["stage"]
    return stage
