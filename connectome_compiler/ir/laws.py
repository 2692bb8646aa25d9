"""Laws: connectivity given by a few numbers instead of a list, and listed only on demand.

`AllToAll`, `OneToOne` and `Shift` pair units by their index in the population, `Window` by a rule
on indices or on grids; the Gaussian ones are laws of probability. A law of another package is a
`Law` as well, listed by the name of its class under the entry points
``connectome_compiler.laws``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar, Literal, NoReturn, Self

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.budget import must_fit
from connectome_compiler.ir.connectivity import Index, Synapses
from connectome_compiler.ir.operators import ConvTranspose2d, Linear, Operator
from connectome_compiler.ir.records import check_fields
from connectome_compiler.nn.window_rules import FORMS, PER_WEIGHT, SEEDS, WindowRule

Unit = Literal["um", "px"]
Generator = np.random.Generator | np.random.RandomState
HINT = 'add [[pass]] use = "materialise-laws"'


@dataclass(frozen=True, slots=True)
class Law(ABC):
    """What a law is: a frozen dataclass, defined entirely by its fields, plain numbers and words.

    Sizes are those of `Graph.shape`: units, or the channels of a convolution.
    """

    has_list: ClassVar[bool] = True  # a law of probability has none until it is drawn

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return ``(post, pre)`` of all connections, sorted by post, then pre."""

    @abstractmethod
    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of connections; raise `CompileError` for sizes that do not fit."""

    @abstractmethod
    def describe(self) -> str:
        """Return the law in a few words."""

    def check(self, n_post: int, n_pre: int, operator: Operator) -> None:
        """Raise `CompileError` where the law does not fit these sizes, or the operator."""
        self.count(n_post, n_pre)

    def drawn_anew(self, further: int) -> Self:
        """Return the law with ``further`` added to its seed, if it has one."""
        return self

    def synapses(self, n_post: int, n_pre: int, generator: Generator) -> Synapses:
        """Return the connections as a list, of one synapse each.

        Random choices are drawn from ``generator``.
        """
        post, pre = self.entries(n_post, n_pre)
        return Synapses(post, pre, np.ones(len(post), np.int32))


@dataclass(frozen=True, slots=True)
class AllToAll(Law):
    """Every unit of ``pre`` to every unit of ``post``: read-in and read-out.

    Of a population whose units are listed in ``pre_units`` or ``post_units``, ascending, only these
    take part.
    """

    post_units: tuple[int, ...] | None = None
    pre_units: tuple[int, ...] | None = None

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return all pairs, sorted by post, then pre."""
        post, pre = units(self.post_units, n_post, "post"), units(self.pre_units, n_pre, "pre")
        return np.repeat(post, len(pre)), np.tile(pre, len(post))

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of pairs."""
        return _n_units(self.post_units, n_post, "post") * _n_units(self.pre_units, n_pre, "pre")

    def describe(self) -> str:
        """Return the name of the law."""
        return "all to all" + _selected(self.post_units, self.pre_units)

    def check(self, n_post: int, n_pre: int, operator: Operator) -> None:
        """Refuse what would not fit in memory."""
        must_fit("all to all", weights=n_post * n_pre * operator.area)
        self.count(n_post, n_pre)


@dataclass(frozen=True, slots=True)
class OneToOne(Law):
    """The first unit of ``pre`` to the first of ``post``, and so on; both have as many.

    Of a population whose units are listed in ``pre_units`` or ``post_units``, ascending, only these
    take part.
    """

    post_units: tuple[int, ...] | None = None
    pre_units: tuple[int, ...] | None = None

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return the pairs."""
        self.count(n_post, n_pre)
        return units(self.post_units, n_post, "post"), units(self.pre_units, n_pre, "pre")

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of pairs."""
        post, pre = (
            _n_units(self.post_units, n_post, "post"),
            _n_units(self.pre_units, n_pre, "pre"),
        )
        if post != pre:
            raise CompileError("one-to-one", f"{pre} units cannot be paired with {post}")
        return post

    def describe(self) -> str:
        """Return the name of the law."""
        return "one to one" + _selected(self.post_units, self.pre_units)


@dataclass(frozen=True, slots=True)
class Shift(Law):
    """Unit ``i`` of ``pre`` to unit ``i + by`` of ``post``; both have as many: body segments.

    Units that would be beyond the end have no partner.
    """

    by: int

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return the pairs, sorted by post."""
        pre = np.arange(max(0, -self.by), n_pre - max(0, self.by), dtype=np.int32)
        self.count(n_post, n_pre)
        return (pre + self.by).astype(np.int32), pre

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of pairs."""
        if n_post != n_pre:
            raise CompileError("shift", f"{n_pre} units cannot be paired with {n_post}")
        return max(0, n_post - abs(self.by))

    def describe(self) -> str:
        """Return the name of the law."""
        return f"one to one, shifted by {self.by}"


@dataclass(frozen=True, slots=True)
class Window(Law):
    """The units, or channels, that ``rule`` joins.

    No connection is listed until it is needed. A random rule has its own seed.
    """

    rule: WindowRule

    @classmethod
    def of(cls, where: str, **numbers: Any) -> Window:
        """Return the window of a rule; raise `CompileError` at ``where`` for invalid numbers.

        ``numbers`` are the fields of `WindowRule`.
        """
        try:
            return cls(WindowRule(**numbers))
        except ValueError as error:
            raise CompileError(where, str(error)) from error

    def check(self, n_post: int, n_pre: int, operator: Operator) -> None:
        """Refuse a rule that would make a different mask in the layer than in the graph."""
        rule, kind = self.rule, type(operator).__name__
        must_fit("window", weights=n_post * n_pre * operator.area)  # it visits all pairs
        if rule.transposed != isinstance(operator, ConvTranspose2d):
            problem = f"transposed={rule.transposed} does not fit the operator, {kind}"
            raise CompileError("window", problem, "transposed convolutions have transposed windows")
        if not isinstance(operator, Linear):
            if rule.form in PER_WEIGHT and not operator.per_position:
                problem = f"form {rule.form!r} has a mask for each weight of a kernel"
                hint = "a connection joins two channels: use form 'kernel'"
                raise CompileError("window", problem, hint)
            if operator.per_position and (rule.form not in PER_WEIGHT or rule.transposed):
                problem = f"form {rule.form!r} joins whole channels, not single weights of a kernel"
                raise CompileError("window", problem, "set per_position to false")
        self.count(n_post, n_pre)

    def drawn_anew(self, further: int) -> Window:
        """Return the window with ``further`` added to its seed, if its rule is random."""
        if "seed" not in FORMS[self.rule.form]:
            return self
        return Window(replace(self.rule, seed=(self.rule.seed + further) % SEEDS))

    def synapses(self, n_post: int, n_pre: int, generator: Generator) -> Synapses:
        """Return the connections as a list; those of a Gaussian window have its factor as weight.

        A random rule has a seed of its own.
        """
        post, pre = self.entries(n_post, n_pre)
        if self.rule.form != "gaussian":
            return Synapses(post, pre, np.ones(len(post), np.int32))
        factors = np.array(list(self.rule.values(n_post, n_pre)), np.float64).reshape(-1)
        return Synapses(post, pre, factors, "factor")

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return ``(post, pre)``, sorted by post, then pre; memory grows with the connections."""
        _fits(self.rule.check, n_post, n_pre)
        flat = chain.from_iterable(self.rule.runs(n_post, n_pre))
        runs = np.fromiter(flat, np.int64).reshape(-1, 3)
        post, first, length = runs[:, 0], runs[:, 1], runs[:, 2] - runs[:, 1]
        # Each run counts up from its first source: subtract where the run begins in the list.
        begins = np.cumsum(length) - length
        pre = np.arange(length.sum()) - np.repeat(begins - first, length)
        return np.repeat(post, length).astype(np.int32), pre.astype(np.int32)

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of connections; raise `CompileError` where the rule does not fit."""
        _fits(self.rule.check, n_post, n_pre)
        return self.rule.count(n_post, n_pre)

    def describe(self) -> str:
        """Return the rule in a few words."""
        return self.rule.describe()


@dataclass(frozen=True, slots=True)
class GaussianLaw(Law):
    """Connections whose probability falls off with distance as a Gaussian, on a sheet of neurons.

    ``width`` is its standard deviation, in micrometres or in pixels of the source map.
    ``in_degree`` is the mean number of sources of a target, over the whole Gaussian. ``peak`` is
    the probability at zero distance, if that is what was measured: a kernel then keeps the peak,
    otherwise the in-degree.
    """

    has_list: ClassVar[bool] = False

    width: float
    in_degree: float
    peak: float | None = None
    unit: Unit = "um"

    def __post_init__(self) -> None:
        check_fields(self)
        _positive("Gaussian law, width", self.width)
        _positive("Gaussian law, in_degree", self.in_degree)
        if self.peak is not None and not 0 < self.peak <= 1:
            problem = f"must be a probability above 0, not {self.peak}"
            raise CompileError("Gaussian law, peak", problem, "0 < peak <= 1")
        if self.unit not in ("um", "px"):
            raise CompileError("Gaussian law, unit", f"must be um or px, not {self.unit!r}")

    def entries(self, n_post: int, n_pre: int) -> NoReturn:
        """Raise `CompileError`: neurons have no positions yet."""
        hint = "give it a kernel first: size-maps, lay-kernels, then materialise-laws"
        raise CompileError("Gaussian law", f"{self.describe()} has no list of connections", hint)

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the expected number of connections."""
        return round(self.in_degree * n_post)

    def describe(self) -> str:
        """Return width and strength in a few words."""
        peak = "" if self.peak is None else f", peak {self.peak:.4g}"
        return f"Gaussian, {self.width:.4g} {self.unit}, in-degree {self.in_degree:.4g}{peak}"


@dataclass(frozen=True, slots=True)
class GaussianKernel(Law):
    """Weights of a kernel, each open with a probability that is Gaussian around the centre.

    ``peak`` is the probability at the centre, and may exceed 1 where a kernel is too small for
    its in-degree: probabilities are clipped at 1. ``width`` is the standard deviation in pixels,
    ``kernel`` the size (height, width) of the operator. Each pair of channels is drawn separately.
    """

    has_list: ClassVar[bool] = False

    peak: float
    width: float
    kernel: tuple[int, int]

    def __post_init__(self) -> None:
        check_fields(self)
        _positive("Gaussian kernel, peak", self.peak)
        _positive("Gaussian kernel, width", self.width)
        if min(self.kernel) < 1:
            raise CompileError(
                "Gaussian kernel",
                f"kernel must be (height, width), both at least 1, not {self.kernel}",
            )

    def gaussian(self) -> npt.NDArray[np.float64]:
        """Return ``peak * exp(-(x^2 + y^2) / (2 width^2))`` at every position, not clipped."""
        y, x = (np.arange(k) - (k - 1) / 2 for k in self.kernel)
        squared: npt.NDArray[np.float64] = y[:, None] ** 2 + x**2
        return self.peak * np.exp(-squared / (2 * self.width**2))

    def probability(self) -> npt.NDArray[np.float64]:
        """Return the probability that each position is open, at most 1, shape ``kernel``."""
        return np.minimum(self.gaussian(), 1.0)

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Raise `CompileError`: the open weights are drawn by a pass, which has the seed."""
        raise CompileError("Gaussian kernel", f"{self.describe()} is a law of probability", HINT)

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the expected number of open weights; ``n_pre`` counts channels times positions."""
        return round(n_post * n_pre * float(self.probability().mean()))

    def describe(self) -> str:
        """Return peak and width in a few words."""
        return f"Gaussian kernel, peak {self.peak:.4g}, {self.width:.4g} px"

    def check(self, n_post: int, n_pre: int, operator: Operator) -> None:
        """Refuse an operator whose single weights are not those of this kernel."""
        if isinstance(operator, Linear) or not operator.per_position:
            problem = f"its operator is {operator}"
            raise CompileError("Gaussian kernel", problem, "a convolution with per_position")
        if self.kernel != operator.kernel:
            problem = (
                f"has size {self.kernel}, but the kernel of its convolution has {operator.kernel}"
            )
            raise CompileError("Gaussian kernel", problem, "use one size for both")
        self.count(n_post, n_pre)

    def synapses(self, n_post: int, n_pre: int, generator: Generator) -> Synapses:
        """Draw the weights: target channel by source channel by position, in this order.

        A weight is open where a uniform number of ``generator`` is below its probability.
        """
        chance = self.probability().reshape(-1)
        drawn = generator.random((n_post, n_pre // len(chance), len(chance)))
        post, pre = np.nonzero((drawn < chance).reshape(n_post, n_pre))
        ones = np.ones(len(post), np.int32)
        return Synapses(post.astype(np.int32), pre.astype(np.int32), ones)


Connectivity = Synapses | Law

# What `connectome_compiler.registry` finds here, by the names that saved graphs have for them.
BUILTIN = {
    law.__name__: f"{__name__}:{law.__name__}"
    for law in (AllToAll, OneToOne, Shift, Window, GaussianLaw, GaussianKernel)
}


def units(selected: tuple[int, ...] | None, n: int, side: str) -> Index:
    """Return the indices of the selected units of a population of ``n``, by default all."""
    if selected is None:
        return np.arange(n, dtype=np.int32)
    chosen = np.array(selected, np.int64)
    if chosen.size and (chosen[0] < 0 or chosen[-1] >= n or (np.diff(chosen) <= 0).any()):
        problem = f"the selected units must be ascending indices within 0..{n - 1}"
        raise CompileError(f"selected {side} units", problem)
    return chosen.astype(np.int32)


def _n_units(selected: tuple[int, ...] | None, n: int, side: str) -> int:
    return n if selected is None else len(units(selected, n, side))


def _selected(post: tuple[int, ...] | None, pre: tuple[int, ...] | None) -> str:
    words = [
        f"{side} {len(chosen):,}"
        for side, chosen in (("from", pre), ("to", post))
        if chosen is not None
    ]
    return f", {' '.join(words)} selected" if words else ""


def _fits(check: Callable[[int, int], None], n_post: int, n_pre: int) -> None:
    try:
        check(n_post, n_pre)
    except ValueError as error:
        raise CompileError("window", str(error)) from error


def _positive(where: str, value: float) -> None:
    if not 0 < value < 2.0**63:  # so that counts computed from it stay finite
        raise CompileError(where, f"must be positive and finite, not {value}")
