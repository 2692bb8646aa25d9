"""Piecewise-linear functions and sums of them: closed forms of networks of clamps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Values = Mapping[str, Numbers]
INF = float("inf")
SMALL = 1e-9  # slopes and values that differ by less are one; weights are single precision


class NoFormula(Exception):  # noqa: N818  not an error: an outcome
    """What is computed is not piecewise linear, or cannot be followed; says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """What a formula is about: an input, or something computed of one that is not a clamp.

    Two variables of one text are the same.
    """

    text: str
    value: Callable[[Values], Numbers]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variable) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@dataclass(frozen=True, slots=True)
class Ramps:
    """A piecewise-linear function of one number: its corners, and its slopes beyond them."""

    corners: tuple[tuple[float, float], ...]  # (x, y), at least one, by x
    left: float
    right: float

    def at(self, x: Numbers) -> Numbers:
        """Return the values at ``x``."""
        xs, ys = (np.array(column) for column in zip(*self.corners, strict=True))
        below, above = np.minimum(x - xs[0], 0), np.maximum(x - xs[-1], 0)
        values: Numbers = np.interp(x, xs, ys) + self.left * below + self.right * above
        return values

    def __add__(self, other: Ramps) -> Ramps:
        xs = sorted({x for x, _ in (*self.corners, *other.corners)})
        ys = self.at(np.array(xs)) + other.at(np.array(xs))
        return Ramps._of(xs, list(ys), self.left + other.left, self.right + other.right)

    def times(self, factor: float, plus: float = 0.0) -> Ramps:
        """Return ``factor * self + plus``."""
        corners = tuple((x, y * factor + plus) for x, y in self.corners)
        return Ramps(corners, self.left * factor, self.right * factor)

    def clip(self, low: float, high: float) -> Ramps:
        """Return the function cut off below ``low`` and above ``high``."""
        (x0, y0), (x1, y1) = self.corners[0], self.corners[-1]
        ends = [(x0 - 1, y0 - self.left), *self.corners, (x1 + 1, y1 + self.right)]
        xs = {x for x, _ in self.corners}
        last = len(ends) - 2
        for k, ((xa, ya), (xb, yb)) in enumerate(pairwise(ends)):
            for level in (low, high):
                if abs(level) == INF or abs(yb - ya) <= SMALL * (xb - xa):
                    continue
                x = xa + (level - ya) * (xb - xa) / (yb - ya)
                # The first and the last piece go on beyond what stands for them here.
                if (x > xa or k == 0) and (x < xb or k == last):
                    xs.add(x)
        ordered = sorted(xs)
        ys = np.clip(self.at(np.array(ordered)), low, high)
        towards = (-self.left, self.right)  # upwards or downwards, far to the left and right
        kept = [t if (high if t > 0 else -low) == INF else 0.0 for t in towards]
        return Ramps._of(ordered, list(ys), -kept[0], kept[1])

    @staticmethod
    def _of(xs: list[float], ys: list[float], left: float, right: float) -> Ramps:
        """Leave out the corners that are none."""
        slopes = [left]
        for k in range(len(xs) - 1):
            slopes.append((ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k]))
        slopes.append(right)
        slopes = [0.0 if abs(s) < SMALL else s for s in slopes]
        keep = [k for k in range(len(xs)) if abs(slopes[k + 1] - slopes[k]) > SMALL]
        if not keep:  # a line: its corner stands at 0
            return Ramps(((0.0, float(ys[0] - slopes[0] * xs[0])),), slopes[0], slopes[0])
        corners = tuple((float(xs[k]), float(ys[k])) for k in keep)
        return Ramps(corners, float(slopes[keep[0]]), float(slopes[keep[-1] + 1]))

    @property
    def is_constant(self) -> bool:
        """Whether the value is the same everywhere."""
        return len(self.corners) == 1 and self.left == self.right == 0

    def text(self, x: str) -> str:
        """Spell the function of ``x``."""
        (x0, y0), (x1, y1) = self.corners[0], self.corners[-1]
        if len(self.corners) == 1 and self.left == self.right:
            return _line(self.left, y0 - self.left * x0, x)
        if len(self.corners) == 2 and self.left == self.right == 0:
            slope = (y1 - y0) / (x1 - x0)
            line = _line(slope, y0 - slope * x0, x)
            return f"clamp({line}, {_number(min(y0, y1))}, {_number(max(y0, y1))})"
        if len(self.corners) == 1 and not (self.left and self.right):
            slope = self.left or self.right
            word = "max" if (slope > 0) == (self.left == 0) else "min"
            return f"{word}({_line(slope, y0 - slope * x0, x)}, {_number(y0)})"
        places = ", ".join(f"({_number(a)}, {_number(b)})" for a, b in self.corners)
        beyond = f"slopes {_number(self.left)} and {_number(self.right)} beyond"
        return f"piecewise({x}: {places}; {beyond})"


IDENTITY = Ramps(((0.0, 0.0),), 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Formula:
    """``constant`` and the sum of piecewise-linear functions of one variable each.

    A variable may be a sum itself, of which a clamp was taken.
    """

    constant: float = 0.0
    parts: tuple[tuple[Variable, Ramps], ...] = ()

    @staticmethod
    def of(variable: Variable) -> Formula:
        """Return the variable itself."""
        return Formula(0.0, ((variable, IDENTITY),))

    @staticmethod
    def _sum(constant: float, parts: dict[Variable, Ramps]) -> Formula:
        kept = []
        for variable, ramps in parts.items():
            if ramps.is_constant:
                constant += ramps.corners[0][1]
            else:
                kept.append((variable, ramps))
        return Formula(constant, tuple(kept))

    def __add__(self, other: Formula | float) -> Formula:
        if not isinstance(other, Formula):
            return Formula(self.constant + float(other), self.parts)
        parts = dict(self.parts)
        for variable, ramps in other.parts:
            parts[variable] = parts[variable] + ramps if variable in parts else ramps
        return Formula._sum(self.constant + other.constant, parts)

    __radd__ = __add__

    def __mul__(self, other: Formula | float) -> Formula:
        if isinstance(other, Formula):
            if self.parts and other.parts:
                raise NoFormula("two things that the input changes are multiplied")
            if other.parts:
                return other * self.constant
            other = other.constant
        factor = float(other)
        scaled = {variable: ramps.times(factor) for variable, ramps in self.parts}
        return Formula._sum(self.constant * factor, scaled if factor else {})

    __rmul__ = __mul__

    def __neg__(self) -> Formula:
        return self * -1.0

    def __sub__(self, other: Formula | float) -> Formula:
        return self + other * -1.0

    def __rsub__(self, other: float) -> Formula:
        return self * -1.0 + other

    def clip(self, low: float, high: float) -> Formula:
        """Return the sum cut off below ``low`` and above ``high``."""
        if not self.parts:
            return Formula(min(max(self.constant, low), high))
        if len(self.parts) == 1:
            ((variable, ramps),) = self.parts
            return Formula._sum(0.0, {variable: ramps.times(1.0, self.constant).clip(low, high)})
        whole = Variable(self.text, self.value)
        return Formula(0.0, ((whole, IDENTITY.clip(low, high)),))

    def through(self, text: str, function: Callable[[Numbers], Numbers]) -> Formula:
        """Return something else of the sum, as a variable; ``text`` has {} where it stands."""
        if not self.parts:
            return Formula(float(function(np.array(self.constant))))
        inner = self.value
        return Formula.of(Variable(text.format(self.text), lambda given: function(inner(given))))

    def value(self, given: Values) -> Numbers:
        """Return its values, for inputs by name."""
        total = np.array(self.constant)
        for variable, ramps in self.parts:
            total = total + ramps.at(variable.value(given))
        return total

    @cached_property
    def text(self) -> str:
        """The formula, spelled."""
        if len(self.parts) == 1:
            ((variable, ramps),) = self.parts
            return ramps.times(1.0, self.constant).text(variable.text)
        terms = [ramps.text(variable.text) for variable, ramps in self.parts]
        if self.constant or not terms:
            terms.append(_number(self.constant))
        return " + ".join(terms).replace("+ -", "- ")


def _line(slope: float, constant: float, x: str) -> str:
    if not slope:
        return _number(constant)
    if (slope != 1 or constant) and (" + " in x or " - " in x) and not x.endswith("]"):
        x = f"({x})"
    words = x if slope == 1 else f"-{x}" if slope == -1 else f"{_number(slope)} * {x}"
    if abs(constant) < SMALL:
        return words
    return f"{words} {'+' if constant > 0 else '-'} {_number(abs(constant))}"


def _number(value: Any) -> str:
    return f"{float(value) + 0.0:.5g}"  # + 0.0: no minus before a zero
