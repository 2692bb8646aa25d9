"""Weights: how the strengths of a projection's connections are held, and where training starts.

A record for each way, with the fields that this way has and no others. Another package's record is
one of `Weights` as well, listed by the name of its class under the entry points
``connectome_compiler.weights``.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir.laws import Law
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.records import check_fields

if TYPE_CHECKING:
    from connectome_compiler.ir.graph import Graph, Projection

BUILTIN = {
    name: f"connectome_compiler.ir.weights:{name}"
    for name in ("PerConnection", "LowRank", "Tied", "Named", "Fixed")
}


@runtime_checkable
class Weights(Protocol):
    """What a way of holding weights is: a frozen dataclass of plain numbers and words."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def polarity(self) -> int:
        """The sign of all connections, where neither they nor neurons have one; 0: not known."""

    @property
    def trained(self) -> bool:
        """Whether training changes the weights."""

    @property
    def holds_signs(self) -> bool:
        """Whether no training step can flip a sign that is known."""

    def holding_signs(self) -> Weights:
        """Return the same, held to the signs that are known."""

    def check(self, graph: Graph, projection: Projection) -> None:
        """Raise `VerifyError` where the weights of ``projection`` cannot be held so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfSynapses:
    """Weights whose signs, where they have any, are data.

    ``sign`` "none": free real numbers. "abs": ``sign * |w|``, the sign being that of the
    connection, else of its presynaptic neuron, else ``polarity``, so that no training step can flip
    it; a connection whose sign is not known stays free, and is counted. ``polarity`` is the sign of
    all connections, +1 or -1, where neither they nor neurons have one of their own; 0: not known.
    Without ``trained`` weights stay at their start.
    """

    sign: Literal["none", "abs"] = "none"
    polarity: int = 0
    trained: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        _must_be_sign(self, (1, -1, 0))

    @property
    def holds_signs(self) -> bool:
        """Whether no training step can flip a sign that is known."""
        return self.sign != "none"

    def holding_signs(self) -> Self:
        """Return the same, held to the signs that are known."""
        return replace(self, sign="abs")

    def check(self, graph: Graph, projection: Projection) -> None:
        """Refuse a polarity beside signs from data."""
        _one_sign(graph, projection)


@dataclass(frozen=True, slots=True)
class PerConnection(_OfSynapses):
    """Each connection has a weight of its own; of a convolution, one at each place of a kernel.

    ``start`` "uniform": drawn within 1 / sqrt(fan-in); "weight": at the synapse counts divided by
    each neuron's sum.
    """

    start: Literal["uniform", "weight"] = "uniform"


@dataclass(frozen=True, slots=True)
class LowRank(_OfSynapses):
    """Each connection has a weight of its own, which starts as in a random matrix of ``rank``.

    Signs are applied to it afterwards.
    """

    rank: int

    def __post_init__(self) -> None:
        _OfSynapses.__post_init__(self)
        if self.rank < 1:
            raise CompileError("LowRank.rank", f"must be at least 1, not {self.rank}")


@dataclass(frozen=True, slots=True)
class Tied(_OfSynapses):
    """Connections of one type share a weight; each acts by that, times its own synapse count.

    ``by`` "type-pair": those from one value of ``column`` in the neuron table to one other;
    "pre-type": those from one value; "kernel": those of a type pair whose ends are equally far
    apart in the columns ``u`` and ``v``, a convolution over a hexagonal grid. Weights start
    uniformly, drawn so that drives vary as much as they do without ties.
    """

    by: Literal["type-pair", "pre-type", "kernel"]
    column: str = "cell_type"

    def check(self, graph: Graph, projection: Projection) -> None:
        """Refuse channels, which have no types, and a polarity beside signs from data."""
        _between_units(projection)
        _one_sign(graph, projection)


@dataclass(frozen=True, slots=True)
class Named:
    """Of a motif: all connections of all projections with one ``name`` share one number.

    It starts at its ``polarity``, +1 or -1, and keeps that sign. ``sign`` is how: "abs" is
    ``sign * |w|``; with "clamp" a number of the wrong sign acts as 0, and gets no gradient from
    then on; "smooth" is ``sign * softplus(sign w) / softplus(1)``.
    """

    trained: ClassVar[bool] = True
    holds_signs: ClassVar[bool] = True

    name: str
    polarity: int
    sign: Literal["abs", "clamp", "smooth"] = "abs"

    def __post_init__(self) -> None:
        check_fields(self)
        _must_be_sign(self, (1, -1))
        if not (self.name and self.name.isprintable()):
            problem = f"must be one line of printable text, not {self.name!r}"
            raise CompileError("Named.name", problem)

    def holding_signs(self) -> Named:
        """Return the same."""
        return self

    def check(self, graph: Graph, projection: Projection) -> None:
        """Refuse projections that share a number and differ in how they hold it."""
        where = f"projection {projection.key}"
        if projection.kind == "electrical":
            problem = "shares its weights by name: gap junctions have conductances of their own"
            raise VerifyError(where, problem)
        _between_units(projection)
        _one_sign(graph, projection)
        for other in graph.projections:
            held = other.weights
            if isinstance(held, Named) and held.name == self.name and held != self:
                problem = f"and {other.key} share the weight {self.name!r}, but differ in it"
                raise VerifyError(where, problem, "give them two names")


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every weight is ``polarity``, +1 or -1, and stays so: what enters and leaves a motif."""

    trained: ClassVar[bool] = False
    holds_signs: ClassVar[bool] = True

    polarity: int

    def __post_init__(self) -> None:
        check_fields(self)
        _must_be_sign(self, (1, -1))

    def holding_signs(self) -> Fixed:
        """Return the same."""
        return self

    def check(self, graph: Graph, projection: Projection) -> None:
        """Refuse a polarity beside signs from data."""
        _one_sign(graph, projection)


def _must_be_sign(weights: Weights, allowed: tuple[int, ...]) -> None:
    if weights.polarity not in allowed:
        words = "+1 or -1" + (", or 0 where it is not known" if 0 in allowed else "")
        problem = f"must be {words}, not {weights.polarity}"
        raise CompileError(f"{type(weights).__name__}.polarity", problem)


def _between_units(projection: Projection) -> None:
    if not isinstance(projection.operator, Linear):
        problem = "is a convolution: its channels have no types, and share no weights"
        raise VerifyError(f"projection {projection.key}", problem, "use PerConnection weights")


def _one_sign(graph: Graph, projection: Projection) -> None:
    """Refuse a sign for all where there are signs of connections or neurons, or can be none."""
    if not projection.weights.polarity:
        return
    where = f"projection {projection.key}"
    if projection.kind == "electrical":
        raise VerifyError(where, "has a polarity: current flows through a gap junction both ways")
    law = projection.connectivity
    listed = not isinstance(law, Law) or law.has_list  # what is drawn later is looked at then
    if listed and graph.own_signs(projection).any():
        problem = "has a polarity, and connections or neurons with signs of their own"
        raise VerifyError(where, problem, "leave one of them out")


PER_CONNECTION = PerConnection()
