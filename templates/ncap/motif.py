"""A graph read as a motif: cells that every joint has, and those that are one in all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from connectome_compiler.emit.literal import Source, code
from connectome_compiler.emit.names import MODULE, identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import AllToAll, OneToOne, Shift, units
from connectome_compiler.ir.nodes import Graded, SquareWave
from connectome_compiler.ir.weights import Named

HINT = "use the adapter ncap, or another style"
# What the emitted class has and calls where it takes its options.
OWN = {"self", "super", "range", "check_switches", "whole_number", "draw_weight", "torch", "every"}
OWN |= {"reach", "name", "weight", "start", "steps", "rates", "reset", "acting_weights", *MODULE}
OWN |= {"load_weights", "example_input", "named_projections", "effective_weights"}
SENSED = code("proprioception")  # the switch of what comes from the joints themselves


@dataclass(frozen=True, slots=True)
class Term:
    """What one projection adds to the drive of the cell at joint ``i``.

    Its source is the cell at joint ``i - shift`` of ``pre``; where ``shift`` is None, ``unit`` of
    it, the same for all. ``first``: it ends at the first so many joints alone. A fixed one, without
    ``weight``, adds its sign times its source.
    """

    pre: str
    post: str
    key: str
    sign: int
    weight: str  # the name of the number that it shares, "" if fixed
    side: str
    shift: int | None
    unit: int
    first: int | None


class Motif:
    """What the ncap style reads out of a graph of what it carries.

    Raises `CompileError` for what is not a motif.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.out = self._port_out()
        self.repeated = self._repeated()
        self._check_cells()
        self.terms = tuple(self._term(q) for q in graph.projections)
        self.joints, self.clock, self.commands = self._inputs()
        self._check_order()
        self._check_weights()

    @property
    def n_joints(self) -> int:
        """Number of joints of the graph."""
        return self.out.n_units

    @cached_property
    def weights(self) -> dict[str, list[Term]]:
        """The terms of each weight, in the order in which they first occur."""
        found: dict[str, list[Term]] = {}
        for term in self.terms:
            if term.weight:
                found.setdefault(term.weight, []).append(term)
        return found

    @cached_property
    def switches(self) -> dict[str, Source]:
        """The option that turns each weight's part on, "" for what is always on."""
        return {name: self._switch(name, terms) for name, terms in self.weights.items()}

    @property
    def mechanism(self) -> str:
        """How weights keep their sign."""
        return next(q.weights.sign for q in self.graph.projections if isinstance(q.weights, Named))

    def onto(self, population: str) -> list[Term]:
        """Return the terms of the drive of a population, in their order."""
        return [term for term in self.terms if term.post == population]

    def is_looped(self, population: str) -> bool:
        """Whether its cells have weights, so that they are computed joint by joint."""
        return any(term.weight for term in self.onto(population))

    def part(self, population: str) -> Source:
        """Return the switch without which a population has no targets, or ""."""
        if population == self.out.name:
            return code("")
        found = {
            self.switches[t.weight] if t.weight else self.part(t.post)
            for t in self.terms
            if t.pre == population
        }
        return found.pop() if len(found) == 1 else code("")

    # --- reading ----------------------------------------------------------------------------------

    def _port_out(self) -> Population:
        out = [port for port in self.graph.ports if port.direction == "out"]
        if len(out) != 1:
            raise CompileError("ncap", f"the graph has {len(out)} outputs, not one", HINT)
        return self.graph.population(out[0].population)

    def _repeated(self) -> set[str]:
        """Return the populations with one unit per joint: those paired with the output's units."""
        found = {self.out.name}
        while True:
            more = {
                end
                for q in self.graph.projections
                if q.connectivity == OneToOne() or isinstance(q.connectivity, Shift)
                if found & {q.pre, q.post}
                for end in (q.pre, q.post)
            }
            if more <= found:
                return found
            found |= more

    def _check_cells(self) -> None:
        for p in self.graph.populations:
            node = p.node
            driven = any(q.post == p.name for q in self.graph.projections)
            entered = any(o.population == p.name for o in self.graph.ports if o.direction == "in")
            if driven == entered:
                _refuse(p.name, "is driven and an input" if driven else "has no input")
            if entered and node != Graded("linear"):
                _refuse(p.name, "is an input: it is linear")

    def _term(self, q: Projection) -> Term:
        held = q.weights
        inner = any(q.key == other.key for other in self.graph.connectome)
        if held.trained != inner:
            problem = "is trained" if held.trained else "has a fixed weight"
            _refuse(q.key, problem, "between cells weights are trained, to and from others fixed")
        shift, unit, first = self._reach(q)
        paired = shift == 0 or (shift is None and q.connectivity in (OneToOne(), AllToAll()))
        if not held.trained and (not paired or (shift is None and q.post in self.repeated)):
            _refuse(q.key, f"is {q.connectivity.describe()}, with a fixed weight", "one to one")
        return Term(
            q.pre,
            q.post,
            q.key,
            held.polarity,
            held.name if isinstance(held, Named) else "",
            self._side(q),
            shift,
            unit,
            first,
        )

    def _reach(self, q: Projection) -> tuple[int | None, int, int | None]:
        """Return shift, unit and first: see `Term`."""
        law, n_pre = q.connectivity, self.graph.population(q.pre).n_units
        ends = [name in self.repeated for name in (q.pre, q.post)]
        if law == OneToOne() and ends[0] == ends[1]:
            return (0 if ends[0] else None), 0, None
        if isinstance(law, Shift):
            return law.by, 0, None
        if isinstance(law, AllToAll) and not ends[0]:
            heard = units(law.pre_units, n_pre, "pre").tolist()
            post = law.post_units
            if len(heard) == 1 and (post is None or post == tuple(range(len(post)))):
                return None, heard[0], None if post is None else len(post)
        problem = f"is {law.describe()}: every joint hears its own cell, the one a few joints ahead"
        return _refuse(q.key, f"{problem}, or one unit that is the same for the first joints")

    def _side(self, q: Projection) -> str:
        """Return what tells the projections of a weight apart: ``d`` of ``B.d``, if that does."""
        if not isinstance(q.weights, Named):
            return _last(q)
        alike = [o for o in self.graph.projections if o.weights == q.weights]
        for spelled in (_last, _post):
            if len({spelled(o) for o in alike}) == len(alike):
                return spelled(q)
        return _both(q)

    def _inputs(self) -> tuple[Population, Population | None, tuple[Population, ...]]:
        """Return the joints, the clock if there is one, and the commands."""
        entering = {port.population for port in self.graph.ports if port.direction == "in"}
        inputs = [p for p in self.graph.populations if p.name in entering]
        joints = [p for p in inputs if p.name in self.repeated]
        if len(joints) != 1:
            problem = f"{len(joints)} inputs have a unit per joint, not one"
            raise CompileError("ncap", problem, HINT)
        others = [p for p in inputs if p is not joints[0]]
        if wide := [p for p in others if p.n_units != 1]:
            _refuse(wide[0].name, f"has {wide[0].n_units} units: a clock or command has one")
        waves = {p.name for p in self.graph.populations if isinstance(p.node, SquareWave)}
        clocks = {t.pre for t in self.terms if t.post in waves}
        found = [p for p in others if p.name in clocks]
        if len(clocks) > 1 or clocks - {p.name for p in found}:
            raise CompileError("ncap", "square waves have more clocks than one input", HINT)
        for term in self.terms:
            if term.pre in clocks and term.post not in waves:
                _refuse(term.key, "leads from the clock to a population that is not a square wave")
        return joints[0], found[0] if found else None, tuple(p for p in others if p not in found)

    def _check_order(self) -> None:
        """Refuse cells that are neither computed for all joints at once, nor joint by joint."""
        for p in self.graph.populations:
            terms = self.onto(p.name)
            weighted = [t for t in terms if t.weight]
            if weighted and (len(weighted) < len(terms) or p.name not in self.repeated):
                problem = "has weights, so each joint has a cell, and all its inputs have weights"
                _refuse(p.name, problem)
            if isinstance(p.node, SquareWave) and len(terms) != 1:
                _refuse(p.name, "is a square wave: it has a clock as its only input")
        if self.is_looped(self.out.name):
            _refuse(self.out.name, "is the output: it reads cells with fixed weights")

    def _check_weights(self) -> None:
        if not self.weights:
            raise CompileError("ncap", "the graph has no weights to train", HINT)
        mechanisms = {
            q.weights.sign for q in self.graph.projections if isinstance(q.weights, Named)
        }
        if len(mechanisms) > 1:
            problem = f"weights keep their signs in several ways: {', '.join(sorted(mechanisms))}"
            raise CompileError("ncap", problem, "choose one for all")
        for name, terms in self.weights.items():
            if len({(t.shift, t.first) for t in terms}) > 1:
                problem = "its projections end at different joints"
                _refuse(f"weight {name}", problem, "give them two names")
        assert self.switches  # raises for drivers that are mixed

    def _switch(self, weight: str, terms: list[Term]) -> Source:
        found = {self._driver(term) for term in terms}
        if len(found) > 1:
            problem = "its projections belong to parts that are switched apart"
            _refuse(f"weight {weight}", problem, "give them two names")
        driver = found.pop()
        if driver == self.joints.name:
            return SENSED
        if self.clock is not None and driver == self.clock.name:
            (wave,) = identifiers([terms[0].pre], [*OWN, SENSED]).values()
            # What ends in "_control" is the switch of a command.
            return code("{}_wave", wave) if wave.endswith("_control") else wave
        return code("{}_control", identifiers(self.weights)[weight]) if driver else code("")

    def _driver(self, term: Term) -> str:
        """Return joints, clock or "command": what drives the source of a term; "" for cells."""
        if self.is_looped(term.pre):
            return ""
        found = set(self._sources(term.pre))
        commands = {p.name for p in self.commands}
        if len(found) > 1 and not found <= commands:
            _refuse(term.pre, f"is driven by {' and '.join(sorted(found))}: they have own parts")
        return "command" if found <= commands else found.pop()

    def _sources(self, population: str) -> Iterator[str]:
        terms = self.onto(population)
        if not terms:
            yield population
        for term in terms:
            yield from self._sources(term.pre)


def loops(motif: Motif) -> Iterator[list[Population]]:
    """Yield populations in their order: joint by joint several together, others one by one.

    Those that hear cells of a later joint wait until these are there.
    """
    together: list[Population] = []
    for p in motif.graph.populations:
        names = {other.name for other in together}
        looped = motif.is_looped(p.name)
        late = any(t.pre in names and (t.shift or 0) < 0 for t in motif.onto(p.name))
        if together and (late or (not looped and names & {t.pre for t in motif.onto(p.name)})):
            yield together
            together = []
        if looped:
            together.append(p)
        elif motif.onto(p.name):
            yield [p]
    if together:
        yield together


def _last(q: Projection) -> str:
    return _plain(q.post.rpartition(".")[2])


def _post(q: Projection) -> str:
    return _plain(q.post)


def _both(q: Projection) -> str:
    return f"{_plain(q.pre)}_to_{_plain(q.post)}"


def _plain(name: str) -> str:
    return next(iter(identifiers([name]).values()))


def _refuse(where: str, problem: str, hint: str = HINT) -> NoReturn:
    raise CompileError(f"ncap: {where}", problem, hint)
