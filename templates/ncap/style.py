"""Decisions of the ncap style; `module.py.jinja` only places their text."""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from connectome_compiler.emit.carries import Carries, must_carry, only
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, literal
from connectome_compiler.emit.module import assemble
from connectome_compiler.emit.names import MODULE, identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.ir.laws import AllToAll, OneToOne, Shift
from connectome_compiler.ir.nodes import Graded, SquareWave
from connectome_compiler.ir.weights import Fixed, Named
from connectome_compiler.lower import lower
from connectome_compiler.options import spell_options
from connectome_compiler.statement import Wiring

from ..parts.stack import indented
from .motif import Motif, Term, loops

STYLE = (
    "Every joint has the same few cells. A weight stands for one connection of the motif, shared by"
    " all joints and sides, or not; its sign is held in every forward pass."
)
# What the emitted class calls by name itself.
OWN = [
    *("self", "torch", "nn", "w", "i", "drive", "zero", "reach", "name", "rates", "weight", "len"),
    *("list", "range", "check_input", "read_command", "square_wave"),
]
ATTRIBUTES = [
    *("steps", "reach", "rates", "reset", "acting_weights", "load_weights", "example_input"),
    *("named_projections", "effective_weights", *MODULE),
]
HOLD = {
    "clamp": code("clamp_to_sign"),
    "abs": code("size_with_sign"),
    "smooth": code("smooth_with_sign"),
}
WRONG = {
    "clamp": "acts as 0, and learns no more",
    "abs": "acts by its size",
    "smooth": "acts a little, and learns",
}
METHODS = {
    "graded": code(".clamp(0, 1)"),
    "relu": code(".relu()"),
    "tanh": code(".tanh()"),
    "sigmoid": code(".sigmoid()"),
}
PLAIN = (code("weight_sharing"), code("sign_constraints"), code("constant_init"))


@dataclass(frozen=True, slots=True)
class Ncap:
    """A motor circuit: a motif of cell classes, repeated along a body, with a handful of weights.

    Needs a graph as the adapter `ncap` makes it. All options but ``class_name``, which names the
    network, are defaults of the emitted ``build()``, as the numbers of joints and the period are.
    With ``weight_sharing`` a weight is one number for all joints and sides. ``sign_constraints``
    hold signs as the graph says; ``constant_init`` starts weights at +1 and -1, else they are drawn
    uniformly up to there. ``proprioception``, ``oscillator``, ``speed_control`` and
    ``turn_control`` are parts; what is off has no weights.
    """

    name: ClassVar[str] = "ncap"
    carries: ClassVar[Carries] = Carries(
        units=(only(Graded), only(SquareWave)),
        weights=(only(Named), only(Fixed)),
        connections=(only(OneToOne), only(Shift), only(AllToAll)),
        timing="at once",
    )

    weight_sharing: bool = True  #: one weight for all joints and sides
    sign_constraints: bool = True  #: hold weights to the signs of the graph
    constant_init: bool = True  #: start weights at +1 and -1; false: drawn uniformly up to there
    proprioception: bool = True  #: sense of the joint ahead
    oscillator: bool = True  #: oscillator at the head
    speed_control: bool = False  #: input that releases the brake
    turn_control: bool = False  #: input to turn
    class_name: str = ""  #: name of the network's class; empty: by the recipe

    def __post_init__(self) -> None:
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError(
                "template.class_name", f"{self.class_name!r} is not a valid Python name"
            )

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        must_carry(self, graph)
        motif = Motif(graph)
        text = _Text(motif)
        options = self._options(motif, text)
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers={p.name: "" for p in graph.biological},
            read_in={},
            read_out={},
            more={"motif": _stated(motif, text, options)},
        )
        layers = ["Connections", "Term", "check_input", "check_switches", "draw_weight"]
        layers += [HOLD[motif.mechanism], "joined", "matched_weights", "whole_number"]
        layers += ["square_wave"] if motif.clock else []
        layers += ["read_command"] if motif.commands else []
        return assemble(
            lower(graph),
            recipe,
            "ncap/module.py.jinja",
            layers=layers,
            class_name=self.class_name,
            wiring=wiring,
            paragraphs=[STYLE],
            arrays={},
            context=_context(motif, text, options),
        )

    def _options(self, motif: Motif, text: _Text) -> dict[str, int | bool]:
        """Return the options of the emitted ``build()`` with their defaults, in their order."""
        switches = [s for s in dict.fromkeys(motif.switches.values()) if s]
        switches.sort(key=lambda s: s.endswith("_control"))
        options: dict[str, int | bool] = {count["name"]: count["default"] for count in text.counts}
        options |= {name: getattr(self, name) for name in PLAIN}
        options |= {s: getattr(self, s, not s.endswith("_control")) for s in switches}
        if self.class_name in options:
            problem = f"{self.class_name!r} is an option of build()"
            raise CompileError("template.class_name", problem, "choose another name")
        if len(options) < len(text.counts) + len(PLAIN) + len(switches):
            raise CompileError("ncap", f"two options have one name: {', '.join(options)}")
        return options


class _Text:
    """How the parts of a motif are spelled in the emitted module."""

    def __init__(self, motif: Motif) -> None:
        self.motif = motif
        names = [p.name for p in motif.graph.populations]
        self.vars = identifiers(names, OWN)
        joints = self.vars[motif.joints.name]
        self.n = code("n_{}", joints)
        plain = identifiers(motif.weights)
        none = code("")
        # Where a command ends is an option; what else ends at the first joints does so by itself.
        self.firsts: dict[str, Source] = {}
        self.counts: list[dict[str, Any]] = [
            {"name": self.n, "default": motif.n_joints, "most": none, "doc": "joints of the body"}
        ]
        for weight, terms in motif.weights.items():
            first = terms[0].first
            self.firsts[weight] = none if first is None else code("{}", first)
            if first is not None and motif.switches[weight].endswith("_control"):
                self.firsts[weight] = name = code("n_{}_{}", plain[weight], joints)
                said = f"joints, counted from the head, that hear the command of {weight!r}"
                most = code(", {}", self.n)
                self.counts.append({"name": name, "default": first, "most": most, "doc": said})
        self.periods: dict[str, Source] = {}
        for p in motif.graph.populations:
            if isinstance(p.node, SquareWave):
                self.periods[p.name] = code("{}_period", self.vars[p.name])
                self.counts.append(
                    {
                        "name": self.periods[p.name],
                        "default": p.node.period_steps,
                        "most": none,
                        "doc": f"steps of a period of {p.name}; its first half is rounded down",
                    }
                )
        taken = [count["name"] for count in self.counts]
        taken += [*ATTRIBUTES, *PLAIN, *motif.switches.values()]
        self.attrs = identifiers(motif.weights, taken)

    def reach(self) -> list[dict[str, Source]]:
        """Return for each weight the joints at which it ends, and its switch."""
        found = []
        for weight, terms in self.motif.weights.items():
            shift = terms[0].shift or 0
            joints = code("every")
            if first := self.firsts[weight]:
                joints = code("every[:{}]", first)
            elif shift:
                joints = code("every[{}:]", shift) if shift > 0 else code("every[:{}]", shift)
            if switch := self.motif.switches[weight]:
                joints = code("{} if {} else None", joints, switch)
            found.append({"name": literal(self.attrs[weight]), "joints": joints})
        return found

    def term(self, term: Term) -> Source:
        """Return the row of a projection in the emitted table."""
        pre = self.motif.graph.population(term.pre)
        heard = (
            code("shift={}", term.shift)
            if term.shift is not None
            else code("unit={}, units={}", term.unit, pre.n_units)
        )
        row = (term.pre, term.post, self.attrs[term.weight], term.side)
        return code("Term({})", code(", ").join([*map(literal, row), heard]))

    def blocks(self) -> list[dict[str, Any]]:
        """Return the lines that compute all populations, and the switch that some of them need.

        What comes before the joints is put together by switch.
        """
        before: dict[str, list[Source]] = {"": []}
        for p in (*((self.motif.clock,) if self.motif.clock else ()), *self.motif.commands):
            before.setdefault(self.motif.part(p.name), []).extend(self._input(p))
        after: list[dict[str, Any]] = []
        for together in loops(self.motif):
            (first, *_) = together
            if self.motif.is_looped(first.name):
                after.append({"switch": "", "lines": self._loop(together)})
            elif after:
                after.append({"switch": self.motif.part(first.name), "lines": [self._whole(first)]})
            else:
                part = self.motif.part(first.name)
                before.setdefault(part, []).append(self._whole(first))
        return [*({"switch": s, "lines": lines} for s, lines in before.items()), *after]

    def _input(self, p: Population) -> list[Source]:
        name, joints = self.vars[p.name], self.vars[self.motif.joints.name]
        if p is not self.motif.clock:
            return [code("{} = read_command({}, {}, {})", name, literal(name), name, joints)]
        return [
            code("if {} is None:", name),
            code("    {} = self._count(len({}))", name, joints),
            code("check_input({}, {}, 1, len({}))", literal(name), name, joints),
        ]

    def _loop(self, together: list[Population]) -> list[Source]:
        """Return the lines that compute populations joint by joint."""
        names = [self.vars[p.name] for p in together]
        lines = [code("{}: list[Tensor] = []", name) for name in names]
        lines.append(code("for i in range(self.{}):", self.n))
        for p in together:
            lines += indented(self._cell(p))
        lines += [
            code("rates[{}] = torch.stack({}, 1)", literal(p.name), name)
            for p, name in zip(together, names, strict=True)
        ]
        return lines

    def _whole(self, p: Population) -> Source:
        """Return the line that computes all cells of a population that has no weights."""
        target, terms = code("rates[{}]", literal(p.name)), self.motif.onto(p.name)
        if any(term.pre == p.name for term in self.motif.terms):
            target = code("{} = {}", self.vars[p.name], target)
        if isinstance(p.node, SquareWave):
            joints, period = self.vars[self.motif.joints.name], self.periods[p.name]
            wave = code("square_wave({}, self.{})", self._all(terms[0].pre), period)
            return code("{} = {}.to({})", target, wave, joints)
        drive = _rest(p)
        for term in terms:
            source = self._all(term.pre)
            if drive:
                sign = code("+") if term.sign > 0 else code("-")
                drive = code("{} {} {}", drive, sign, source)
            else:
                drive = source if term.sign > 0 else code("-{}", source)
        return code("{} = {}", target, _activity(p, drive))

    def _all(self, population: str) -> Source:
        if self.motif.is_looped(population):
            return code("rates[{}]", literal(population))
        return self.vars[population]

    def _cell(self, p: Population) -> list[Source]:
        """Return the lines that compute the cell at joint ``i`` of a population with weights."""
        lines: list[Source] = []
        rest = _rest(p)
        drive = code("zero + {}", rest) if rest else code("zero")
        for term in self.motif.onto(p.name):
            name = literal(self.attrs[term.weight])
            source, side = self._source(term), literal(term.side)
            summand = code("{} * w[name({}, {}, i)]", source, name, side)
            if self.motif.switches[term.weight] or term.shift or term.first is not None:
                lines += [] if lines else [code("drive = {}", drive)]
                lines += [code("if i in reach[{}]:", name), code("    drive = drive + {}", summand)]
            elif lines or rest:
                before = code("drive") if lines else drive
                lines.append(code("drive = {} + {}", before, summand))
            else:
                lines.append(code("drive = {}", summand))
        return [*lines, code("{}.append({})", self.vars[p.name], _activity(p, code("drive")))]

    def _source(self, term: Term) -> Source:
        """Return what the cell at joint ``i`` hears, shape ``(batch,)``."""
        name = self.vars[term.pre]
        if term.shift is None:
            return code("{}[:, {}]", name, term.unit)
        place, far = code("i"), abs(term.shift)
        if far:
            place = code("i - {}", far) if term.shift > 0 else code("i + {}", far)
        if self.motif.is_looped(term.pre):
            return code("{}[{}]", name, place)
        return code("{}[:, {}]", name, place)


def _activity(p: Population, drive: Source) -> Source:
    activation = _graded(p).activation
    if activation == "linear":
        return drive
    if activation == "softplus":
        return code("nn.functional.softplus({})", drive)
    whole = drive if drive.isidentifier() else code("({})", drive)
    return code("{}{}", whole, METHODS[activation])


def _rest(p: Population) -> Source:
    """Return the drive without any input, "" for none."""
    rest = _graded(p).rest
    return literal(int(rest) if rest.is_integer() else rest) if rest else code("")


def _graded(p: Population) -> Graded:
    assert isinstance(p.node, Graded)  # a motif's units are these, or square waves
    return p.node


def _context(motif: Motif, text: _Text, options: dict[str, int | bool]) -> dict[str, Any]:
    """Return what the template places."""
    commands = [text.vars[p.name] for p in motif.commands]
    inputs = [text.vars[p.name] for p in (motif.joints, motif.clock) if p]
    return {
        "doc": docstring(_doc(motif, text), 4),
        "option_doc": docstring(_option_doc(motif, text, options), 4),
        "hold": HOLD[motif.mechanism],
        "options": [
            {
                "name": name,
                "type": code("bool") if isinstance(value, bool) else code("int"),
                "default": value,
            }
            for name, value in options.items()
        ],
        "counts": text.counts,
        "switches": [name for name, value in options.items() if isinstance(value, bool)],
        "signs": literal({a: motif.weights[w][0].sign for w, a in text.attrs.items()}, 0, 8),
        "reach": text.reach(),
        "terms": [text.term(term) for term in motif.terms if term.weight],
        "n": text.n,
        "joints": text.vars[motif.joints.name],
        "clock": text.vars[motif.clock.name] if motif.clock else "",
        "commands": commands,
        "arguments": code(", ").join([*inputs, *(code("{}={}", c, c) for c in commands)]),
        "blocks": text.blocks(),
        "output": literal(motif.out.name),
    }


def _stated(motif: Motif, text: _Text, options: dict[str, int | bool]) -> dict[str, Any]:
    """Return what `meaning` needs to compute the same for any body."""
    return {
        "joints": motif.joints.name,
        "clock": motif.clock.name if motif.clock else None,
        "commands": [p.name for p in motif.commands],
        "output": motif.out.name,
        "options": options,
        "mechanism": motif.mechanism,
        "arguments": {p.name: text.vars[p.name] for p in (motif.joints, *motif.commands)},
        "weights": {
            text.attrs[weight]: {"switch": motif.switches[weight], "sign": terms[0].sign}
            for weight, terms in motif.weights.items()
        },
        "populations": [
            {
                "name": p.name,
                "units": text.n if p.name in motif.repeated else p.n_units,
                **_activation(p),
                "period": text.periods.get(p.name),
                "switch": motif.part(p.name),
            }
            for p in motif.graph.populations
        ],
        "terms": [
            {
                **{name: value for name, value in asdict(term).items() if name != "key"},
                "weight": text.attrs.get(term.weight, ""),
                "first": text.firsts.get(term.weight) or None,
            }
            for term in motif.terms
        ],
    }


def _activation(p: Population) -> dict[str, Any]:
    if isinstance(p.node, SquareWave):
        return {"activation": "square-wave", "rest": 0.0}
    return {"activation": _graded(p).activation, "rest": _graded(p).rest}


def _doc(motif: Motif, text: _Text) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    joints = text.vars[motif.joints.name]
    takes = f"``{joints}`` ``(batch, {text.n})``"
    parts = [f"Maps {takes} to {motif.out.name} of that shape. Options are those of `build`."]
    if motif.clock:
        clock = text.vars[motif.clock.name]
        parts.append(
            f"Without ``{clock}`` ``(batch, 1)`` the network counts: ``steps``, a saved buffer, has"
            f" for each row of the batch how many calls there were since `reset`. Calls with"
            f" ``{clock}`` do not count. Rows that were always in step may change in number; after"
            f" a reset of some the batch must stay as it is."
        )
    if motif.commands:
        names = [f"``{text.vars[p.name]}``" for p in motif.commands]
        spelled = ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
        parts.append(
            f"The commands {spelled} ``(batch, 1)`` are 0 if left out; a part that is off ignores"
            " its own."
        )
    parts.append(
        "Weights are numbers of shape ``(1,)``. A weight of shape ``(batch,)`` in its place, by"
        " ``torch.func.functional_call``, gives every row its own."
    )
    head = f"A motor circuit of {len(motif.weights)} kinds of weights, the same at every joint."
    return "\n\n".join([head, *(_indented(part) for part in parts)])


def _option_doc(motif: Motif, text: _Text, options: dict[str, int | bool]) -> str:
    """Return the docstring of ``build()``: a line or more for each option."""
    said = {count["name"]: count["doc"] for count in text.counts}
    said["weight_sharing"] = "one number for all joints and sides, or one for each"
    said["sign_constraints"] = (
        f"a weight of the wrong sign {WRONG[motif.mechanism]}; or weights are free"
    )
    said["constant_init"] = (
        "weights start at their signs, if free at +1 or -1 by chance; or uniform"
    )
    for switch in options.keys() - said.keys():
        names = [text.attrs[w] for w, found in motif.switches.items() if found == switch]
        said[switch] = f"the part with {' and '.join(f'``{name}``' for name in names)}"
    lines = [
        f"    {line}"
        for name in options
        for line in textwrap.wrap(f"{name}: {said[name]}", 92, subsequent_indent="    ")
    ]
    return "\n".join(["Return the network for a body of so many joints.\n", *lines])


def _indented(text: str) -> str:
    whole = re.sub("``.+?``", lambda code: code[0].replace(" ", "\0"), text)  # no break in code
    lines = textwrap.fill(whole, 96, initial_indent="    ", subsequent_indent="    ")
    return lines.replace("\0", " ")
