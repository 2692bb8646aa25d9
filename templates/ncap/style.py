"""Decisions of the ncap style; `module.py.jinja` only places their text."""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from connectome_compiler.emit.describe import Wiring
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import literal
from connectome_compiler.emit.module import assemble
from connectome_compiler.emit.names import identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population
from connectome_compiler.options import spell_options

from .motif import Motif, Term, loops

STYLE = (
    "Every joint has the same few cells. A weight stands for one connection of the motif, shared by"
    " all joints and sides, or not; its sign is held in every forward pass."
)
# What the emitted class calls by name itself; no name of a graph has "->" in its own.
OWN = [
    *("self", "torch", "nn", "w", "i", "drive", "zero", "reach", "name", "rates", "weight", "len"),
    *("list", "range", "check_input", "read_command", "square_wave"),
]
ATTRIBUTES = [
    *("steps", "reach", "rates", "forward", "reset", "training", "train", "eval", "apply"),
    *("type", "to", "float", "half", "double", "parameters", "buffers", "modules", "children"),
]
HOLD = {"clamp": "clamp_to_sign", "abs": "size_with_sign", "smooth": "smooth_with_sign"}
WRONG = {
    "clamp": "acts as 0, and learns no more",
    "abs": "acts by its size",
    "smooth": "acts a little, and learns",
}
ACTIVATIONS = {
    "graded": "{}.clamp(0, 1)",
    "linear": "{}",
    "relu": "{}.relu()",
    "tanh": "{}.tanh()",
    "sigmoid": "{}.sigmoid()",
    "softplus": "nn.functional.softplus({})",
}
PLAIN = ("weight_sharing", "sign_constraints", "constant_init")


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

    weight_sharing: bool = True
    sign_constraints: bool = True
    constant_init: bool = True
    proprioception: bool = True
    oscillator: bool = True
    speed_control: bool = False
    turn_control: bool = False
    class_name: str = ""

    def __post_init__(self) -> None:
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError("template.class_name", f"{self.class_name!r} is no Python name")

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
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
        hold = HOLD[motif.mechanism]
        layers = ["Connections", "Term", "check_input", "check_switches", "draw_weight", hold]
        layers += ["joined", "matched_weights", "whole_number"]
        layers += ["square_wave"] if motif.clock else []
        layers += ["read_command"] if motif.commands else []
        commands = [text.vars[p.name] for p in motif.commands]
        inputs = [text.vars[p.name] for p in (motif.joints, motif.clock) if p]
        return assemble(
            graph,
            recipe,
            "ncap/module.py.jinja",
            layers=layers,
            class_name=self.class_name,
            wiring=wiring,
            paragraphs=[STYLE],
            arrays={},
            context={
                "doc": _doc(motif, text),
                "option_doc": _option_doc(motif, text, options),
                "hold": hold,
                "options": [
                    {"name": name, "type": type(value).__name__, "default": value}
                    for name, value in options.items()
                ],
                "counts": text.counts,
                "switches": [name for name, value in options.items() if isinstance(value, bool)],
                "signs": literal(
                    {a: motif.weights[w][0].sign for w, a in text.attrs.items()}, 0, 8
                ),
                "reach": text.reach(),
                "terms": [text.term(term) for term in motif.terms if term.weight],
                "n": text.n,
                "joints": text.vars[motif.joints.name],
                "clock": text.vars[motif.clock.name] if motif.clock else "",
                "commands": commands,
                "arguments": ", ".join([*inputs, *(f"{c}={c}" for c in commands)]),
                "blocks": text.blocks(),
                "output": literal(motif.out.name),
            },
        )

    def _options(self, motif: Motif, text: _Text) -> dict[str, int | bool]:
        """Return the options of the emitted ``build()`` with their defaults, in their order."""
        switches = [s for s in dict.fromkeys(motif.switches.values()) if s]
        switches.sort(key=lambda s: s.endswith("_control"))
        options: dict[str, int | bool] = {count["name"]: count["default"] for count in text.counts}
        options |= {name: getattr(self, name) for name in PLAIN}
        options |= {s: getattr(self, s, not s.endswith("_control")) for s in switches}
        if len(options) < len(text.counts) + len(PLAIN) + len(switches):
            raise CompileError("ncap", f"two options have one name: {', '.join(options)}")
        return options


class _Text:
    """How the parts of a motif are spelled in the emitted module."""

    def __init__(self, motif: Motif) -> None:
        self.motif = motif
        names = [p.name for p in motif.graph.populations]
        self.vars = _apart(OWN, names)
        joints = self.vars[motif.joints.name]
        self.n = f"n_{joints}"
        plain = identifiers(motif.weights)
        # Where a command ends is an option; what else ends at the first joints does so by itself.
        self.firsts: dict[str, str] = {}
        self.counts: list[dict[str, Any]] = [
            {"name": self.n, "default": motif.n_joints, "most": "", "doc": "joints of the body"}
        ]
        for weight, terms in motif.weights.items():
            first = terms[0].first
            self.firsts[weight] = "" if first is None else str(first)
            if first is not None and motif.switches[weight].endswith("_control"):
                self.firsts[weight] = name = f"n_{plain[weight]}_{joints}"
                said = f"joints, counted from the head, that hear the command of {weight!r}"
                most = f", {self.n}"
                self.counts.append({"name": name, "default": first, "most": most, "doc": said})
        self.periods: dict[str, str] = {}
        for p in motif.graph.populations:
            if p.node.activation == "square-wave":
                self.periods[p.name] = f"{self.vars[p.name]}_period"
                self.counts.append(
                    {
                        "name": self.periods[p.name],
                        "default": p.node.period_steps,
                        "most": "",
                        "doc": f"steps of a period of {p.name}; its first half is rounded down",
                    }
                )
        taken = [count["name"] for count in self.counts]
        taken += [*ATTRIBUTES, *PLAIN, *motif.switches.values()]
        self.attrs = _apart(taken, motif.weights)

    def reach(self) -> list[dict[str, str]]:
        """Return for each weight the joints at which it ends, and its switch."""
        found = []
        for weight, terms in self.motif.weights.items():
            shift = terms[0].shift or 0
            bounds = f"[{shift}:]" if shift > 0 else f"[:{shift}]" if shift < 0 else ""
            if first := self.firsts[weight]:
                bounds = f"[:{first}]"
            switch = self.motif.switches[weight]
            switched = f" if {switch} else None" if switch else ""
            found.append({"name": self.attrs[weight], "joints": f"every{bounds}{switched}"})
        return found

    def term(self, term: Term) -> str:
        """Return the row of a projection in the emitted table."""
        pre = self.motif.graph.population(term.pre)
        heard = (
            f"shift={term.shift}"
            if term.shift is not None
            else f"unit={term.unit}, units={pre.n_units}"
        )
        row = ", ".join(literal(s) for s in (term.pre, term.post, self.attrs[term.weight]))
        return f"Term({row}, {literal(term.side)}, {heard})"

    def blocks(self) -> list[dict[str, Any]]:
        """Return the lines that compute all populations, and the switch that some of them need.

        What comes before the joints is put together by switch.
        """
        before: dict[str, list[str]] = {"": []}
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

    def _input(self, p: Population) -> list[str]:
        name, joints = self.vars[p.name], self.vars[self.motif.joints.name]
        if p is not self.motif.clock:
            return [f"{name} = read_command({literal(name)}, {name}, {joints})"]
        return [
            f"if {name} is None:",
            f"    {name} = self._count(len({joints}))",
            f"check_input({literal(name)}, {name}, 1, len({joints}))",
        ]

    def _loop(self, together: list[Population]) -> list[str]:
        """Return the lines that compute populations joint by joint."""
        names = [self.vars[p.name] for p in together]
        lines = [f"{name}: list[Tensor] = []" for name in names]
        lines.append(f"for i in range(self.{self.n}):")
        for p in together:
            lines += [f"    {line}" for line in self._cell(p)]
        lines += [
            f"rates[{literal(p.name)}] = torch.stack({name}, 1)"
            for p, name in zip(together, names, strict=True)
        ]
        return lines

    def _whole(self, p: Population) -> str:
        """Return the line that computes all cells of a population that has no weights."""
        target, terms = f"rates[{literal(p.name)}]", self.motif.onto(p.name)
        if any(term.pre == p.name for term in self.motif.terms):
            target = f"{self.vars[p.name]} = {target}"
        if p.node.activation == "square-wave":
            wave = f"square_wave({self._all(terms[0].pre)}, self.{self.periods[p.name]})"
            return f"{target} = {wave}.to({self.vars[self.motif.joints.name]})"
        sources = [(term.sign, self._all(term.pre)) for term in terms]
        drive = f"{p.node.rest:g}" if p.node.rest else ""
        for sign, source in sources:
            if drive:
                drive += f" {'+' if sign > 0 else '-'} {source}"
            else:
                drive = source if sign > 0 else f"-{source}"
        return f"{target} = {_activity(p, drive)}"

    def _all(self, population: str) -> str:
        if self.motif.is_looped(population):
            return f"rates[{literal(population)}]"
        return self.vars[population]

    def _cell(self, p: Population) -> list[str]:
        """Return the lines that compute the cell at joint ``i`` of a population with weights."""
        lines: list[str] = []
        drive = f"zero + {p.node.rest:g}" if p.node.rest else "zero"
        for term in self.motif.onto(p.name):
            name = literal(self.attrs[term.weight])
            summand = f"{self._source(term)} * w[name({name}, {literal(term.side)}, i)]"
            if self.motif.switches[term.weight] or term.shift or term.first is not None:
                lines += [] if lines else [f"drive = {drive}"]
                lines += [f"if i in reach[{name}]:", f"    drive = drive + {summand}"]
            else:
                start = "" if drive == "zero" else f"{drive} + "
                lines.append(f"drive = drive + {summand}" if lines else f"drive = {start}{summand}")
        return [*lines, f"{self.vars[p.name]}.append({_activity(p, 'drive')})"]

    def _source(self, term: Term) -> str:
        """Return what the cell at joint ``i`` hears, shape ``(batch,)``."""
        name = self.vars[term.pre]
        if term.shift is None:
            return f"{name}[:, {term.unit}]"
        place = f"i {'-' if term.shift > 0 else '+'} {abs(term.shift)}" if term.shift else "i"
        return f"{name}[{place}]" if self.motif.is_looped(term.pre) else f"{name}[:, {place}]"


def _apart(taken: Any, names: Any) -> dict[str, str]:
    """Return an identifier for each name, none of those ``taken``."""
    found = identifiers([*(f"{word}->" for word in taken), *names])
    return {name: found[name] for name in names}


def _activity(p: Population, drive: str) -> str:
    function = ACTIVATIONS[p.node.activation]
    return function.format(drive if drive.isidentifier() or function == "{}" else f"({drive})")


def _stated(motif: Motif, text: _Text, options: dict[str, int | bool]) -> dict[str, Any]:
    """Return what `emit.reference_motif` needs to compute the same for any body."""
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
                "activation": p.node.activation,
                "rest": p.node.rest,
                "period": text.periods.get(p.name),
                "switch": motif.part(p.name),
            }
            for p in motif.graph.populations
        ],
        "terms": [
            {
                **asdict(term),
                "weight": text.attrs.get(term.weight, ""),
                "first": text.firsts.get(term.weight) or None,
            }
            for term in motif.terms
        ],
    }


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
            f"The commands {spelled} ``(batch, 1)`` are 0 if left out; a part that is off is deaf."
        )
    parts.append(
        "Weights are numbers of shape ``(1,)``. A weight of shape ``(batch,)`` in its place, by"
        " ``torch.func.functional_call``, gives every row its own."
    )
    head = f"A motor circuit of {len(motif.weights)} kinds of weights, the same at every joint."
    return "\n\n".join([head, *(_indented(part) for part in parts)])


def _option_doc(motif: Motif, text: _Text, options: dict[str, int | bool]) -> list[str]:
    """Return a line or more for each option of ``build()``."""
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
    return [
        line
        for name in options
        for line in textwrap.wrap(f"{name}: {said[name]}", 92, subsequent_indent="    ")
    ]


def _indented(text: str) -> str:
    whole = re.sub("``.+?``", lambda code: code[0].replace(" ", "\0"), text)  # no break in code
    lines = textwrap.fill(whole, 96, initial_indent="    ", subsequent_indent="    ")
    return lines.replace("\0", " ")
