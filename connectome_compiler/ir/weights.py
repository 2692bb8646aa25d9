"""Weights: how the strengths of a projection's connections are held, and where training starts.

One record for each way, with the fields of that way and no others. A record of another package is
a `Weights` as well, listed by the name of its class under the entry points
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
    """How weights are held: a frozen dataclass of plain numbers and words."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def polarity(self) -> int:
        """The sign of all connections where neither they nor their neurons have one; 0: unknown."""

    @property
    def trained(self) -> bool:
        """Whether training changes the weights."""

    @property
    def holds_signs(self) -> bool:
        """Whether no training step can flip a known sign."""

    def holding_signs(self) -> Weights:
        """Return the same, with known signs enforced."""

    def check(self, graph: Graph, projection: Projection) -> None:
        """Raise `VerifyError` if the weights of ``projection`` cannot be held in this way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfSynapses:
    """Weights whose signs, where they have any, come from the data.

    ``sign`` "none": free real numbers. "abs": ``sign * |w|``, the sign being that of the
    connection, else of its presynaptic neuron, else ``polarity``, so that no training step can flip
    it; a connection of unknown sign stays free, and is counted. ``polarity`` is the sign of all
    connections, +1 or -1, where neither they nor their neurons have one; 0: unknown. If
    ``trained`` is false, weights stay at their start.
    """

    sign: Literal["none", "abs"] = "none"
    polarity: int = 0
    trained: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        _must_be_sign(self, (1, -1, 0))

    @property
    def holds_signs(self) -> bool:
        """Whether no training step can flip a known sign."""
        return self.sign != "none"

    def holding_signs(self) -> Self:
        """Return the same, with known signs enforced."""
        return replace(self, sign="abs")

    def check(self, graph: Graph, projection: Projection) -> None:
        """Refuse a polarity together with signs from data."""
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
    """Connections of one type share a weight; each acts by it times its own synapse count.

    ``by`` "type-pair": those from one value of ``column`` in the neuron table to one other;
    "pre-type": those from one value; "kernel": those of a type pair whose ends are equally far
    apart in the columns ``u`` and ``v``, a convolution over a hexagonal grid. Weights start
    uniformly, drawn so that drives vary as much as they do without ties.
    """

    by: Literal["type-pair", "pre-type", "kernel"]
    column: str = "cell_type"

    def check(self, graph: Graph, projection: Projection) -> None:
        """Refuse channels, which have no types, and a polarity together with signs from data."""
        _between_units(projection)
        _one_sign(graph, projection)


@dataclass(frozen=True, slots=True)
class Named:
    """In a motif, all connections of all projections with the same ``name`` share one number.

    It starts at its ``polarity``, +1 or -1, and keeps that sign. ``sign`` says how: "abs" is
    ``sign * |w|``; with "clamp" a number of the wrong sign acts as 0 and gets no gradient from
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
        """Refuse projections that share a number but differ in how it is held."""
        where = f"projection {projection.key}"
        if projection.kind == "electrical":
            problem = "shares its weights by name, but gap junctions need their own conductances"
            raise VerifyError(where, problem)
        _between_units(projection)
        _one_sign(graph, projection)
        for other in graph.projections:
            held = other.weights
            if isinstance(held, Named) and held.name == self.name and held != self:
                problem = f"and {other.key} share the weight {self.name!r}, but hold it differently"
                raise VerifyError(where, problem, "give them different names")


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every weight is fixed at ``polarity``, +1 or -1: the inputs and outputs of a motif."""

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
        """Refuse a polarity together with signs from data."""
        _one_sign(graph, projection)


def _must_be_sign(weights: Weights, allowed: tuple[int, ...]) -> None:
    if weights.polarity not in allowed:
        words = "+1 or -1" + (", or 0 where it is unknown" if 0 in allowed else "")
        problem = f"must be {words}, not {weights.polarity}"
        raise CompileError(f"{type(weights).__name__}.polarity", problem)


def _between_units(projection: Projection) -> None:
    if not isinstance(projection.operator, Linear):
        problem = "is a convolution, whose channels have no types and cannot share weights"
        raise VerifyError(f"projection {projection.key}", problem, "use PerConnection weights")


def _one_sign(graph: Graph, projection: Projection) -> None:
    """Refuse a polarity where connections or neurons have signs, or cannot have any."""
    if not projection.weights.polarity:
        return
    where = f"projection {projection.key}"
    if projection.kind == "electrical":
        raise VerifyError(
            where, "has a polarity, but current flows through a gap junction in both directions"
        )
    law = projection.connectivity
    listed = (
        not isinstance(law, Law) or law.has_list
    )  # connections that are drawn later are checked then
    if listed and graph.own_signs(projection).any():
        problem = "has a polarity, but its connections or neurons have signs of their own"
        raise VerifyError(where, problem, "leave one of them out")


PER_CONNECTION = PerConnection()
