"""What graphs a style makes modules of, said as data; and the one refusal of all others.

A style says it in ``carries``. What it does not carry is refused in one sentence, with a way out:
a pass, tried on the graph at hand before it is named, or the styles that do carry it, of all that
are installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.laws import AllToAll, Law, OneToOne
from connectome_compiler.ir.nodes import SWEPT, Swept
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.weights import PerConnection
from connectome_compiler.options import option_defaults, spell
from connectome_compiler.registry import find, known

Rule = Literal["ends", "ports", "units", "kinds", "operators", "connections", "weights", "timing"]
Timing = Literal["at once", "a step later", "by flow"]


@dataclass(frozen=True, slots=True)
class Only:
    """Records of one class, with the values that some of their fields may have."""

    kind: type[Any]
    values: Mapping[str, tuple[Any, ...]]
    called: str = ""  # in words, where its fields do not say it

    def __contains__(self, record: object) -> bool:
        return isinstance(record, self.kind) and all(
            getattr(record, name) in allowed for name, allowed in self.values.items()
        )

    def __str__(self) -> str:
        if self.called:
            return self.called
        values = ", ".join(
            f"{name} {' or '.join(map(_plain, allowed))}" for name, allowed in self.values.items()
        )
        return self.kind.__name__ + (f" ({values})" if values else "")


def only(kind: type[Any], /, **values: tuple[Any, ...]) -> Only:
    """Say which records are carried: of one class, and with which values of its fields.

    Fields that are not named may have any.
    """
    return Only(kind, values)


LISTS = Only(Synapses, {}, "edge lists")
LAWS = Only(Law, {"has_list": (True,)}, "laws that need no drawing")
WHOLE = Only(
    AllToAll, {"post_units": (None,), "pre_units": (None,)}, "all to all of whole populations"
)
TIMES: dict[Timing, str] = {
    "at once": "every connection acts within the step",
    "a step later": "every connection acts on the step before",
    "by flow": "connections to later populations act at once, all others on the sweep before",
}
# Passes that can make a graph one that is carried, with options: each is tried.
PASSES: dict[Rule, tuple[tuple[str, dict[str, Any]], ...]] = {
    "ends": (("attach-ports", {}), ("attach-ports", {"image": (1, 48, 48)})),
    "units": (("set-dynamics", {}), ("set-node-model", {})),
    "operators": (("lay-kernels", {}),),
    "connections": (("materialise-laws", {}),),
    "weights": (("set-weights", {}), ("apply-dale", {}), ("sign-channels", {})),
    "timing": (("split-flow", {}), ("wire-levels", {})),
}
# Passes that made it one that is not, where what they found is carried.
UNDONE: dict[Rule, tuple[str, ...]] = {
    "units": ("set-dynamics",),
    "timing": ("split-flow", "wire-levels"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Carries:
    """What a style makes modules of.

    ``ends`` are the populations beside the neurons, where input enters and output leaves, which
    layers of the style's own join to them, as ``ports`` say. A style without is one ``throughout``:
    what enters and leaves is made as all the rest, and stands in the graph's ports.
    """

    units: tuple[Only, ...]
    weights: tuple[Only, ...]
    connections: tuple[Only, ...] = (LISTS, LAWS)
    operators: tuple[Only, ...] = (only(Linear),)
    kinds: tuple[str, ...] = ("chemical",)
    timing: Timing = "a step later"
    ends: tuple[str, ...] = ()
    ports: tuple[Only, ...] = (only(AllToAll), only(OneToOne))

    @property
    def throughout(self) -> bool:
        """Whether what enters and leaves is made as all the rest."""
        return not self.ends

    def rows(self) -> list[tuple[str, str]]:
        """Return what is carried, in words, by rule."""
        ends = ", ".join(self.ends) or "any population with a port"
        records = ("units", "operators", "connections", "weights")
        told = {rule: "; ".join(map(str, getattr(self, rule))) for rule in records}
        told |= {"kinds": ", ".join(self.kinds), "timing": TIMES[self.timing]}
        joined = {} if self.throughout else {"ports": "; ".join(map(str, self.ports))}
        return [("ends", ends), *joined.items(), *told.items()]


class Style(Protocol):
    """What a style says of itself."""

    name: ClassVar[str]
    carries: ClassVar[Carries]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a graph that a style does not carry."""

    rule: Rule
    where: str
    problem: str


def must_carry(style: Style, graph: Graph) -> None:
    """Raise `CompileError` at the first thing in ``graph`` that ``style`` does not carry."""
    for fault in faults(style.carries, graph):
        where = f"{style.name}: {fault.where}" if fault.where else style.name
        hint = ", or ".join(_ways(style, fault, graph))
        raise CompileError(where, fault.problem, hint or "no installed style carries it")


def faults(carries: Carries, graph: Graph) -> Iterator[Fault]:
    """Yield what is not carried."""
    artificial = [p.name for p in graph.populations if p.artificial]
    if not carries.throughout:
        if odd := [name for name in artificial if name not in carries.ends]:
            yield Fault("ends", "", f"has no place for {odd[0]}: it has {_and(carries.ends)}")
        for name in carries.ends:
            if name not in artificial:
                yield Fault("ends", "", f"the graph has no {name}")
    for p in graph.populations:
        units = carries.units if carries.throughout or not p.artificial else (only(Swept),)
        if not _any(units, p.node):
            yield Fault("units", p.name, f"has units {p.node}; the style has {_or(units)}")
    inner = {q.key for q in graph.connectome}
    place = {p.name: k for k, p in enumerate(graph.populations)}
    for q in graph.projections:
        if carries.throughout or q.key in inner:
            yield from _of_projection(carries, q, place)
        else:
            if not _any(carries.ports, q.connectivity):
                problem = f"is {q.connectivity.describe()}; the style has {_or(carries.ports)}"
                yield Fault("ports", q.key, problem)
            if not isinstance(q.weights, PerConnection):
                problem = f"has weights held as {q.weights}; layers at the ends have free ones"
                yield Fault("weights", q.key, problem)


def _of_projection(carries: Carries, q: Projection, place: dict[str, int]) -> Iterator[Fault]:
    if q.kind not in carries.kinds:
        problem = f"is {q.kind}; the style has {_and(carries.kinds)} connections"
        yield Fault("kinds", q.key, problem)
    if not _any(carries.operators, q.operator):
        problem = f"acts as {q.operator}; the style has {_or(carries.operators)}"
        yield Fault("operators", q.key, problem)
    if not _any(carries.connections, q.connectivity):
        problem = f"is {q.connectivity.describe()}; the style has {_or(carries.connections)}"
        yield Fault("connections", q.key, problem)
    if not _any(carries.weights, q.weights):
        problem = f"has weights held as {q.weights}; the style has {_or(carries.weights)}"
        yield Fault("weights", q.key, problem)
    late = int(place[q.pre] >= place[q.post])
    if q.delay != {"at once": 0, "a step later": 1, "by flow": late}[carries.timing]:
        problem = f"has delay {q.delay}; in this style {TIMES[carries.timing]}"
        yield Fault("timing", q.key, problem)


def _ways(style: Style, fault: Fault, graph: Graph) -> Iterator[str]:
    """Yield what can be done: a pass that is added or left out, else another style."""
    done = _added(style.carries, fault, graph) or _left_out(style.carries, fault, graph)
    if done:
        yield done
    others = dict(_others(style.name))
    whole = [name for name, carries in others.items() if not any(faults(carries, graph))]
    if whole:
        yield f"use the {_or(whole)} style"
    elif not done and (some := [n for n, c in others.items() if not _again(fault, c, graph)]):
        verb = "styles carry" if len(some) > 1 else "style carries"
        yield f"the {_and(some)} {verb} this, but not all of the graph"


def _others(name: str) -> Iterator[tuple[str, Carries]]:
    """Yield what other styles carry, of all that are installed and say so."""
    for other in sorted(known("template").keys() - {name}):
        try:
            carries = getattr(find("template", other), "carries", None)
        except CompileError:  # a broken package must not hide the others
            continue
        if isinstance(carries, Carries):
            yield other, carries


def _again(fault: Fault, carries: Carries, graph: Graph) -> bool:
    """Whether there is a fault of this kind, for whom carries this."""
    return any(found.rule == fault.rule for found in faults(carries, graph))


def _added(carries: Carries, fault: Fault, graph: Graph) -> str:
    """Return the pass that makes the graph one that is carried, as far as the fault goes."""
    for name, options in PASSES.get(fault.rule, ()):
        cls = find("pass", name)
        for chosen in _options(cls, options, getattr(carries, fault.rule)):
            try:
                made = cls(**chosen)(graph)
            except CompileError:
                continue
            if not _again(fault, carries, made):
                given = " and ".join(f"{key} = {spell(value)}" for key, value in chosen.items())
                return f'add [[pass]] use = "{name}"' + (f" with {given}" if given else "")
    return ""


def _options(cls: type[Any], options: dict[str, Any], carried: Any) -> Iterator[dict[str, Any]]:
    """Yield options of a pass that ask for what is carried, where the defaults do not."""
    defaults = option_defaults(cls)
    for values in [one.values for one in carried if isinstance(one, Only)] or [{}]:
        asked = {k: v for k, v in values.items() if k in defaults and defaults[k] not in v}
        yield options | {key: allowed[0] for key, allowed in asked.items()}


def _left_out(carries: Carries, fault: Fault, graph: Graph) -> str:
    """Return the pass that made the graph what it is, where it was carried before."""
    before = {"units": _any(carries.units, SWEPT), "timing": carries.timing == "a step later"}
    taken = [step.name for step in graph.provenance.steps]
    if fault.rule == "ports" and "attach-ports" in taken:
        return "let into and out_of of attach-ports choose whole populations"
    if fault.rule == "ends" and "attach-ports" in taken:
        return "attach-ports makes image and classes with an image, else input and output"
    made = [name for name in UNDONE.get(fault.rule, ()) if name in taken]
    return f"leave {made[0]} out" if made and before[fault.rule] else ""


def _any(patterns: tuple[Only, ...], record: object) -> bool:
    return any(record in pattern for pattern in patterns)


def _plain(value: Any) -> str:
    return "none" if value is None else spell(value)


def _and(words: Any) -> str:
    return " and ".join(map(str, words))


def _or(words: Any) -> str:
    return " or ".join(map(str, words))
