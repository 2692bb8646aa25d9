"""Controls: passes, such as null models, whose network is compared with the one without them.

`run_compared` runs the passes of a recipe, then again without each control, and states in the graph
how far the two are apart in what networks use. `void` compares what is emitted: a control that
changes nothing in it would compare a network with itself, and is refused with the reason.
"""

from __future__ import annotations

import ast
import base64
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import load

from connectome_compiler.emit.emission import Emission
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.control import Control, Shared
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.operators import Linear
from connectome_compiler.lower import Edges, lower
from connectome_compiler.options import option_types, spell
from connectome_compiler.passes.runner import Pass, Ran, run
from connectome_compiler.recipe import Made, Recipe, Stage

After = Callable[[Ran], None]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A graph after all passes, and the one without each control, by the control's id."""

    graph: Graph
    without: Mapping[str, Graph]
    source: Graph  # before any pass


def is_control(step: Any) -> bool:
    """Whether a pass declares that its network is to be compared with the one without it."""
    return bool(getattr(step, "control", False))


def run_compared(graph: Graph, made: Made, after: After = lambda ran: None) -> Compared:
    """Run the passes of a recipe; with controls, run them without as well, and state the result.

    A control without which no network can be made is not compared.
    """
    passes = made.passes
    controls = [k for k, step in enumerate(passes) if is_control(step)]
    if not controls:
        return Compared(run(graph, passes, after), {}, graph)
    graphs: list[Graph | None] = [graph]  # before each control, and the last
    without: dict[str, Graph] = {}

    def then(ran: Ran) -> None:
        if len(graphs) == len(passes):
            for k in controls:
                if (other := _rest(graphs[k], passes[k + 1 :])) is not None:
                    without[made.ids[k]] = other
            first = controls[0]
            plain = without.get(made.ids[first])
            if len(controls) > 1:
                plain = _rest(graphs[first], [s for s in passes[first:] if not is_control(s)])
            if plain is not None:
                told = difference(ran.graph, plain, tuple(passes[k].name for k in controls))
                ran = replace(ran, graph=_stating(ran.graph, told))
        wanted = len(graphs) <= controls[-1] or len(graphs) == len(passes)
        graphs.append(ran.graph if wanted else None)
        after(ran)

    run(graph, passes, then)
    assert graphs[-1] is not None
    return Compared(graphs[-1], without, graph)


def _stating(graph: Graph, told: Control | None) -> Graph:
    return replace(graph, provenance=replace(graph.provenance, control=told))


def _rest(graph: Graph | None, passes: Sequence[Pass]) -> Graph | None:
    """Return the graph after the passes, None if they do not get through."""
    try:
        return None if graph is None else run(graph, passes)
    except CompileError:
        return None


# --- how far two networks are apart in what they use ----------------------------------------------


def difference(graph: Graph, without: Graph, controls: tuple[str, ...]) -> Control:
    """Compare what the networks of ``graph`` use with what those ``without`` the controls do."""
    here, there = lower(graph).edges, lower(without).edges
    codes = _codes(graph, without, [*here.values()], [*there.values()])
    n = 1 + max(int(c.max(initial=0)) for numbers in codes for c in numbers.values())
    one, other = _flat(codes[0], n, here), _flat(codes[1], n, there)
    _, rows, others = np.intersect1d(one.key, other.key, assume_unique=True, return_indices=True)

    def differ(field: str) -> int | None:
        a, b = getattr(one, field), getattr(other, field)
        if np.isnan(a).all() and np.isnan(b).all():
            return None
        a, b = a[rows], b[others]
        return int(((a != b) & ~(np.isnan(a) & np.isnan(b))).sum())

    return Control(
        controls,
        _shared(_units(codes[0], graph), _units(codes[1], without)),
        (len(one.key), len(other.key), len(rows)),
        int((one.sign[rows] != other.sign[others]).sum()),
        differ("start"),
        differ("scale"),
        _inhibition(codes, graph, without),
        graph.digest(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """All connections of a graph, ``(n_connections,)``: which, and what holds for each."""

    key: Codes  # kind, post and pre
    sign: npt.NDArray[np.int8]
    start: npt.NDArray[np.float32]  # nan where it is drawn
    scale: npt.NDArray[np.float32]  # nan where weights are not multiplied


Numbers = Mapping[str, Codes]  # of the units of each population, the same for the same neuron


def _codes(
    graph: Graph, without: Graph, here: Sequence[Edges], there: Sequence[Edges]
) -> tuple[Numbers, Numbers]:
    """Return a number for each neuron by its id, and for units and channels without one."""
    names, parts = [], []
    for k, (g, edges) in enumerate(((graph, here), (without, there))):
        channels = {
            (name, n)
            for e in edges
            if not isinstance(e.projection.operator, Linear)
            for name, n in ((e.projection.post, e.n_post), (e.projection.pre, e.n_pre))
        }
        for p in g.populations:
            names.append((k, p.name))
            parts.append(_labels(p))
        for name, n in channels:
            names.append((k, _channels(name, n)))
            parts.append(_numbered(_channels(name, n), n))
    joined = pa.concat_arrays(parts).dictionary_encode()
    found = joined.indices.to_numpy().astype(np.int64)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    split = dict(zip(names, np.split(found, ends), strict=True))
    first, second = ({n: c for (j, n), c in split.items() if j == k} for k in (0, 1))
    return first, second


def _channels(name: str, n: int) -> str:
    return f"{name}\0{n} channels"


def _numbered(name: str, n: int) -> pa.Array:
    return pa.array([f"{name}\0{k}" for k in range(n)], pa.string())


def _labels(p: Population) -> pa.Array:
    return _numbered(p.name, p.n_units) if p.neurons is None else _text(p.column("neuron_id"))


def _text(ids: pa.Array) -> pa.Array:
    return ids.cast(pa.string())


def _flat(codes: Numbers, n: int, edges: Mapping[str, Edges]) -> _Flat:
    """Return the connections, of neurons with numbers below ``n``."""
    parts: list[tuple[Any, ...]] = [(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))]
    for e in edges.values():
        q = e.projection
        post, pre = q.post, q.pre
        if not isinstance(q.operator, Linear):
            post, pre = _channels(post, e.n_post), _channels(pre, e.n_pre)
        key = (codes[post][e.post] + n * (q.kind == "electrical")) * n + codes[pre][e.pre]
        missing = np.full(len(key), np.nan, np.float32)
        start = missing if e.start is None else e.start if e.group is None else e.start[e.group]
        parts.append((key, e.enforced, start, missing if e.scale is None else e.scale))
    key, sign, start, scale = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Flat(key, sign, start, scale)


def _units(codes: Numbers, graph: Graph) -> Codes:
    return np.concatenate([np.zeros(0, np.int64), *(codes[p.name] for p in graph.biological)])


def _shared(here: Codes, there: Codes) -> Shared:
    return len(here), len(there), len(np.intersect1d(here, there, assume_unique=True))


def _inhibition(codes: tuple[Numbers, Numbers], graph: Graph, without: Graph) -> int | None:
    """Return how many neurons of both graphs are inhibited otherwise; None: there is no such."""
    units, values, graded = [], [], False
    for of, g in zip(codes, (graph, without), strict=True):
        strength = [np.zeros(0, np.float32)]
        for p in g.biological:
            has = isinstance(p.node, Swept) and p.node.inhibition is not None
            graded |= has
            strength.append(p.attenuation() if has else np.zeros(p.n_units, np.float32))
        units.append(_units(of, g))
        values.append(np.concatenate(strength))
    if not graded:
        return None
    _, rows, others = np.intersect1d(units[0], units[1], assume_unique=True, return_indices=True)
    return int((values[0][rows] != values[1][others]).sum())


# --- controls that change nothing -----------------------------------------------------------------


def check_act(
    recipe: Recipe, made: Made, compared: Compared, emission: Emission, name: str
) -> None:
    """Raise `CompileError` if a control changes nothing in what was emitted under ``name``."""
    for id_, graph in compared.without.items():
        if not _acts(made, compared.graph, graph, name, emission):
            raise _void(recipe, made, compared, id_)


def checked(graph: Graph) -> Graph:
    """Return a graph that was made elsewhere, without what it states of another one.

    Raises `CompileError` if it states that its controls change nothing.
    """
    told = graph.provenance.control
    if told is None:
        return graph
    if told.graph_sha256 != graph.digest():
        return _stating(graph, None)
    if told.nothing:
        problem = "changes nothing that the network uses: it would be compared with itself"
        raise CompileError(" and ".join(told.controls), problem, "leave it out")
    return graph


def _acts(
    made: Made, graph: Graph, without: Graph, name: str, emission: Emission | None = None
) -> bool:
    """Whether a style emits two networks of these graphs; texts on their origin aside."""
    try:
        one = emission or made.template.emit(graph, name)
        other = made.template.emit(replace(without, provenance=graph.provenance), name)
    except CompileError:
        return emission is not None  # without the control there is no network
    return _used(one) != _used(other)


# What modules have beside the code that runs: their origin, who their neurons are, arrays.
TOLD = ("PROVENANCE", "NEURONS", "NEURON_COLUMNS", "ARRAYS", "ARRAYS_SHA256")
NEURONS = "neurons/"  # begins the names of arrays that tell who the neurons are


def _used(emission: Emission) -> tuple[str, dict[str, str]]:
    """Return what a module computes with: its code without docstrings, and hashes of its arrays."""
    tree = ast.parse(emission.source)
    data = emission.arrays or b""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for part in body:
            if _name(part) == "ARRAYS":  # inside the source, as text
                data = zlib.decompress(base64.b64decode(ast.literal_eval(part.value)))
        rest = [part for part in body if not _is_text(part) and _name(part) not in TOLD]
        node.body = rest  # type: ignore[attr-defined]
    arrays = load(data) if data else {}
    held = {k: array_digest(a) for k, a in arrays.items() if not k.startswith(NEURONS)}
    return ast.dump(tree), held


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _name(node: ast.AST) -> str:
    """Return the name that a statement gives a value, "" if it is no such one."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _void(recipe: Recipe, made: Made, compared: Compared, id_: str) -> CompileError:
    """Return the error of a control without effect: why it has none, and what would."""
    stage = recipe.stages[id_]
    word = _word(recipe, stage)
    reason, counts = _reason(made, compared, id_)
    tries = [*_alternatives(recipe, stage)]
    if counts:
        entering = [*_entering(recipe)]
        held = ", ".join(f"{_option(recipe, path)}={now}" for path, now, _ in entering)
        reason += f" ({held})" if held else ""
        tries = [(path, value, "they would") for path, _, value in entering] + tries
    for path, value, says in tries:
        if _would_act(recipe.having({path: value}), compared.source, id_):
            way = f"{_option(recipe, path)}={value}"
            hint = f"with {way} {says}" if says else f"another control would act: {way}"
            break
    else:
        hint = "leave it out"
    return CompileError(word, f"changes nothing in this network: {reason}", hint)


def _word(recipe: Recipe, stage: Stage) -> str:
    """Return how the user asked for a control: ``null=weights``, or the name of the pass."""
    asked = [key for key in stage.off if key in stage.words]
    made = recipe.made(stage)
    named = (f"{stage.words[key]}={spell(getattr(made, key)).strip(chr(34))}" for key in asked)
    return ", ".join(named) or stage.id


def _option(recipe: Recipe, path: str) -> str:
    return recipe.names(path)[0]


def _reason(made: Made, compared: Compared, id_: str) -> tuple[str, bool]:
    """Say why a control has no effect, and whether it is that synapse counts have none."""
    k = made.ids.index(id_)
    after = [g.digest() for g in _stages(compared.source, made.passes)]
    before = run(compared.source, made.passes[:k])
    if before.digest() == after[k]:
        return "the graph is the same with and without it", False
    plain = [g.digest() for g in _stages(before, made.passes[k + 1 :])]
    for name, one, other in zip(made.ids[k + 1 :], after[k + 1 :], plain, strict=True):
        if one == other:
            return f"what it changed is gone after {name}", False
    without = compared.without[id_]
    if _uncounted(compared.graph).digest() == _uncounted(without).digest():
        return "synapse counts enter it nowhere", True
    return "it uses nothing of what was changed", False


def _stages(graph: Graph, passes: Sequence[Pass]) -> list[Graph]:
    found: list[Graph] = []
    run(graph, passes, lambda ran: found.append(ran.graph))
    return found


def _uncounted(graph: Graph) -> Graph:
    """Return the graph with the same synapse count for all connections."""

    def counted(edges: Synapses) -> Synapses:
        one = np.ones(len(edges.post), np.int32)
        return Synapses(edges.post, edges.pre, one, edges.unit, None, edges.sign)

    return graph.map_connectome(
        lambda q: (
            replace(q, connectivity=counted(q.connectivity))
            if isinstance(q.connectivity, Synapses)
            else q
        )
    )


def _entering(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Yield options with which synapse counts would enter: path, value now, value then."""
    for stage in recipe.passes:
        made = recipe.made(stage)
        for key, value in getattr(stage.cls, "counts_enter", {}).items():
            if (now := getattr(made, key)) != value:
                yield f"{stage.id}.{key}", now, value


def _alternatives(recipe: Recipe, stage: Stage) -> Iterator[tuple[str, str, str]]:
    """Yield other values of the words that turn a control on."""
    made = recipe.made(stage)
    for key in stage.off:
        hint = option_types(stage.cls)[key]
        for value in get_args(hint) if get_origin(hint) is Literal else ():
            if value not in (getattr(made, key), stage.off[key]):
                yield f"{stage.id}.{key}", value, ""


def _would_act(recipe: Recipe, source: Graph, id_: str) -> bool:
    """Whether a control would change what another recipe emits."""
    try:
        made = recipe.make()
        compared = run_compared(source, made)
        without = compared.without[id_]
        return _acts(made, compared.graph, without, recipe.name)
    except (CompileError, KeyError):  # there is no such network
        return False
