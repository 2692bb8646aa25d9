"""Node models: how a unit turns its summed input, its drive, into activity.

One record for each kind of unit, with the fields of that kind and no others. A record of another
package is a `Node` as well, listed by the name of its class under the entry points
``connectome_compiler.nodes``: a spiking unit brings its threshold, its reset and its refractory
period.
"""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir.records import check_fields

if TYPE_CHECKING:
    from connectome_compiler.ir.graph import Population

BUILTIN = {
    name: f"connectome_compiler.ir.nodes:{name}"
    for name in ("Swept", "Leaky", "Graded", "SquareWave")
}


@runtime_checkable
class Node(Protocol):
    """What a node model is: a frozen dataclass, defined entirely by its plain fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def check(self, population: Population) -> None:
        """Raise `VerifyError` where the units of ``population`` cannot be of this kind."""


@dataclass(frozen=True, slots=True)
class Attenuation:
    """Graded inhibition, by the column ``inhibition`` ``r`` of the neuron table, 0 to 1.

    "multiplicative": activity ``a`` becomes ``a (1 - strength r)``; "subtractive": ``a - strength
    r``, and not below 0.
    """

    form: Literal["multiplicative", "subtractive"]
    strength: float

    def __post_init__(self) -> None:
        check_fields(self)
        if not isfinite(self.strength):
            raise CompileError("Attenuation.strength", f"must be finite, not {self.strength}")


@dataclass(frozen=True, slots=True)
class Swept:
    """A unit without memory: its activity follows from its drive, once per sweep of the network.

    The drive is normalised, rectified (or whatever ``activation`` names) and attenuated by
    ``inhibition``, and noise is added in training. Normalisation "layer" and "rms" is over the
    population, "batch" over samples (and the positions of a map), for each unit or channel.
    """

    activation: Literal["relu", "linear", "tanh", "sigmoid", "softplus"] = "relu"
    normalisation: Literal["layer", "rms", "batch", "none"] = "none"
    noise_std: float = 0.0  # standard deviation, in units of activity; training only
    inhibition: Attenuation | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not (isfinite(self.noise_std) and self.noise_std >= 0):
            problem = f"must be finite and at least 0, not {self.noise_std}"
            raise CompileError("Swept.noise_std", problem)

    def check(self, population: Population) -> None:
        """Refuse graded inhibition where no table gives its strength."""
        table = population.neurons
        if self.inhibition and (table is None or "inhibition" not in table.column_names):
            problem = "has graded inhibition, but no column 'inhibition'"
            hint = 'add [[pass]] use = "fold-inhibition", which adds it'
            raise VerifyError(f"population {population.name}", problem, hint)


SWEPT = Swept()


@dataclass(frozen=True, slots=True)
class Leaky:
    """A leaky rate unit: ``tau dr/dt = -r + activation(drive + bias)``.

    The time constant starts at ``tau_ms``. Like the bias, it is trained, with one value for the
    population ("shared"), one per "cell_type", or one per "neuron". "fixed" keeps tau at its
    start, "none" omits the bias.
    """

    tau_ms: float  # milliseconds
    activation: Literal["relu", "linear", "tanh", "sigmoid", "softplus"] = "tanh"
    tau_per: Literal["fixed", "shared", "cell_type", "neuron"] = "neuron"
    bias_per: Literal["none", "shared", "cell_type", "neuron"] = "neuron"

    def __post_init__(self) -> None:
        check_fields(self)
        if not (isfinite(self.tau_ms) and self.tau_ms > 0):
            problem = f"must be positive and finite, not {self.tau_ms}"
            raise CompileError("Leaky.tau_ms", problem)

    def check(self, population: Population) -> None:
        """Refuse constants per cell type where units have no types."""
        if population.neurons is None and "cell_type" in (self.tau_per, self.bias_per):
            problem = "has constants per cell type, but no neuron table"
            raise VerifyError(f"population {population.name}", problem, "use shared, or neuron")


@dataclass(frozen=True, slots=True)
class Graded:
    """A non-spiking unit of a motif: its activity is a function of its drive in the same step.

    "graded" is the drive clipped to 0..1. ``rest`` is the drive without any input.
    """

    activation: Literal["graded", "relu", "linear", "tanh", "sigmoid", "softplus"] = "graded"
    rest: float = 0.0  # in units of drive

    def __post_init__(self) -> None:
        check_fields(self)
        if not isfinite(self.rest):
            raise CompileError("Graded.rest", f"must be finite, not {self.rest}")

    def check(self, population: Population) -> None:
        """Accept any units."""


@dataclass(frozen=True, slots=True)
class SquareWave:
    """Two units of a motif that alternate; their drive is a step counter.

    The first is 1 during the first ``period_steps // 2`` steps of a period, the second during the
    others.
    """

    period_steps: int

    def __post_init__(self) -> None:
        check_fields(self)
        if self.period_steps < 1:
            problem = f"must be at least 1, not {self.period_steps}"
            raise CompileError("SquareWave.period_steps", problem)

    def check(self, population: Population) -> None:
        """Refuse any number of units but two."""
        if population.shape != (2,):
            problem = f"must have two units for a square wave, not shape {population.shape}"
            raise VerifyError(f"population {population.name}", problem)


def words(node: Node) -> dict[str, Any]:
    """Return what modules state of units of this kind: its fields, and their values."""
    told = asdict(node)
    if isinstance(node, Swept):
        held = node.inhibition
        told["inhibition"] = held.form if held else "none"
        told |= {"inhibition_strength": held.strength} if held else {}
    if isinstance(node, SquareWave):
        told["activation"] = "square-wave"
    return told
