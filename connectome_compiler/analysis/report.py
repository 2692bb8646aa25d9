"""What an analysis found, as data and as text."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from connectome_compiler.text import beside, table, wrapped

MOST_LINES = 16  # of a closed form


@dataclass(frozen=True, slots=True)
class ParameterFinding:
    """Of one parameter, how many of its numbers do nothing.

    ``zero_gradient``: the gradient of every output is exactly 0 for all inputs, at all starts.
    ``inert``: changing them, all that are inert together, changed no output by a bit, and their
    gradient stayed 0, wherever else the parameters were put. ``proved``: they cannot act, whatever
    the parameters and the (finite) inputs, even where a clamp that ends passes a gradient;
    ``reason`` says why, and for all others what was tried.
    """

    name: str
    numbers: int
    zero_gradient: int
    inert: int
    proved: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClampedParameter:
    """A parameter that is cut off at ``low`` and ``high`` before it acts.

    ``beyond`` counts its numbers outside at the start, the most over all seeds. They act as the end
    does and get no gradient: a method that goes by gradients alone never brings them back.
    """

    name: str
    low: float | None
    high: float | None
    beyond: int

    @property
    def remark(self) -> str:
        """Where it is cut off, and what is there."""
        ends = ("below", self.low), ("above", self.high)
        words = " and ".join(f"{word} {end:g}" for word, end in ends if end is not None)
        if not self.beyond:
            return f"cut off {words} before it acts; none is there at the start"
        return (
            f"cut off {words} before it acts; {self.beyond:,} there at the start: dead to gradients"
        )


@dataclass(frozen=True, slots=True)
class PopulationFinding:
    """How far the units of one population, or of one place in the source, are in a flat part.

    ``flat`` is the share of unit-inputs with under 1 % of the steepest slope; ``mostly``
    and ``always`` are how many units are there for 95 % and for all of the inputs, at every start;
    ``dead`` how many of the latter put out 0. Of leaky units it is the activation that counts.

    ``silent`` is the share of units that put out 0 for all inputs of a start, and ``signal`` what
    of the variance of activity, over units and inputs (and steps), is of single units across
    inputs: the rest is an offset of each unit, the same for all inputs. Both are means over starts;
    None where units are known by a place in the source alone.
    """

    name: str
    activation: str
    units: int
    flat: float
    mostly: int
    always: int
    dead: int
    silent: float | None = None
    signal: float | None = None


@dataclass(frozen=True, slots=True)
class ProjectionFinding:
    """Share of connection-inputs that end at a unit in its flat part."""

    name: str
    connections: int
    blocked: float


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, over how much, and what was found. ``formula`` is empty if none is known.

    ``formula_error`` is the largest difference between formula and module over the inputs.
    """

    module: str
    class_name: str
    options: dict[str, Any]
    parameters: tuple[ParameterFinding, ...]
    clamped: tuple[ClampedParameter, ...]
    populations: tuple[PopulationFinding, ...]
    projections: tuple[ProjectionFinding, ...]
    formula: tuple[str, ...]
    formula_error: float
    inputs: tuple[str, ...]
    n_inputs: int  # per seed
    n_seeds: int
    n_changes: int  # per seed
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts and numbers."""
        return {**json.loads(json.dumps(asdict(self))), "inert": list(self.inert)}

    @property
    def inert(self) -> tuple[str, ...]:
        """The parameters of which all numbers are inert, by proof or by test."""
        return tuple(p.name for p in self.parameters if max(p.inert, p.proved) == p.numbers)

    def lines(self) -> list[str]:
        """Return the report as text."""
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        total = sum(p.numbers for p in self.parameters)
        sizes = f"{total:,} numbers in {len(self.parameters)} parameters"
        lines = [
            f"{self.module}: {self.class_name}({given}), {sizes}",
            *beside(
                "looked at",
                f"{self.n_inputs:,} random inputs ({', '.join(self.inputs)}) and {self.n_changes}"
                f" changes of the parameters at each of {self.n_seeds} starts; in evaluation mode",
            ),
            "",
        ]
        found = [p for p in self.parameters if p.zero_gradient or p.inert or p.proved]
        rows: list[tuple[str, ...]] = [("parameter", "numbers", "no gradient", "inert", "proved")]
        rows += [
            (p.name, *(f"{n:,}" for n in (p.numbers, p.zero_gradient, p.inert, p.proved)))
            for p in found
        ]
        if found:
            lines += table(rows, "<>")
            if rest := len(self.parameters) - len(found):
                lines.append(f"  all numbers of the {rest} others have a gradient")
            remarks = _by_remark([(p.name, p.reason) for p in found if p.reason])
            lines += ["", *remarks] if remarks else []
        else:
            lines.append("all parameters have a gradient at the start")
        lines += _by_remark([(c.name, c.remark) for c in self.clamped])
        if self.populations:
            lines += ["", "flat parts of activations"]
            head = ("population", "units", "of unit-inputs", "95 % of inputs", "all", "dead")
            lines += table(
                [
                    head,
                    *(
                        (
                            f"{p.name} ({p.activation})",
                            f"{p.units:,}",
                            f"{p.flat:.1%}",
                            *(f"{n:,}" for n in (p.mostly, p.always, p.dead)),
                        )
                        for p in self.populations
                    ),
                ],
                "<>",
            )
        known = [p for p in self.populations if p.silent is not None and p.signal is not None]
        if known:
            lines += [
                "",
                "activity: silent units, and the part that depends on the input; mean of starts",
            ]
            rows = [("population", "silent", "of the input")]
            rows += [(p.name, f"{p.silent:.1%}", f"{p.signal:.1%}") for p in known]
            lines += table(rows, "<>")
        if self.projections:
            lines += ["", "connections onto units in their flat part"]
            lines += table(
                [
                    ("projection", "connections", "of connection-inputs"),
                    *((q.name, f"{q.connections:,}", f"{q.blocked:.1%}") for q in self.projections),
                ],
                "<>",
            )
        lines += ["", "closed form, at the first start"] if self.formula else [""]
        lines += [
            line for text in self.formula[:MOST_LINES] for line in wrapped(text, "  ", "    ")
        ]
        if (more := len(self.formula) - MOST_LINES) > 0:
            lines.append(f"  and {more} more, which --json lists")
        if self.formula:
            exact = (
                "to the last bit" if not self.formula_error else f"up to {self.formula_error:.1g}"
            )
            lines.append(f"  checked: what the module computes, {exact}, over the inputs above")
        for note in self.notes:
            lines += beside("note", note)
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _by_remark(rows: list[tuple[str, str]]) -> list[str]:
    """Spell remarks, each once, after the names that it is about."""
    lines = []
    for remark in dict.fromkeys(remark for _, remark in rows):
        names = ", ".join(name for name, other in rows if other == remark)
        lines += wrapped(f"{names}: {remark}", "    ", "    ")
    return lines
