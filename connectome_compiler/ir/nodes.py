"""Node models: how a unit turns its summed input, its drive, into activity.

A record for each kind of unit, with the fields that this kind has and no others. Another package's
record is a `Node` as well, listed by the name of its class under the entry points
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
    """What a node model is: a frozen dataclass whose fields, plain numbers and words, say all."""

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
    """A unit without memory: its activity follows its drive, once in each sweep of the network.

    The drive is normalised, rectified (or whatever ``activation`` names) and attenuated by
    ``inhibition``, and noise is added in training. Normalisation "layer" and "rms" is over the
    population, "batch" over samples (and the places of a map), for each unit or channel.
    """

    activation: Literal["relu", "linear", "tanh", "sigmoid", "softplus"] = "relu"
    normalisation: Literal["layer", "rms", "batch", "none"] = "none"
    noise_std: float = 0.0  # standard deviation, in units of activity; training only
    inhibition: Attenuation | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not (isfinite(self.noise_std) and self.noise_std >= 0):
            problem = f"must be a standard deviation, finite and not negative, not {self.noise_std}"
            raise CompileError("Swept.noise_std", problem)

    def check(self, population: Population) -> None:
        """Refuse graded inhibition of units for which no table says how strong it is."""
        table = population.neurons
        if self.inhibition and (table is None or "inhibition" not in table.column_names):
            problem = "has graded inhibition, but no column 'inhibition'"
            hint = 'add [[pass]] use = "fold-inhibition", which makes it'
            raise VerifyError(f"population {population.name}", problem, hint)


SWEPT = Swept()


@dataclass(frozen=True, slots=True)
class Leaky:
    """A leaky rate unit: ``tau dr/dt = -r + activation(drive + bias)``.

    Its time constant starts at ``tau_ms`` and, like its bias, is trained one for all neurons of the
    population ("shared"), one per "cell_type", or one per "neuron". "fixed" keeps tau as it is,
    "none" leaves the bias out.
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
        """Refuse constants per cell type of units without types."""
        if population.neurons is None and "cell_type" in (self.tau_per, self.bias_per):
            problem = "has constants per cell type, but no neuron table"
            raise VerifyError(f"population {population.name}", problem, "share them, or use neuron")


@dataclass(frozen=True, slots=True)
class Graded:
    """A non-spiking unit of a motif: its activity follows its drive within the same step.

    "graded" is the drive between 0 and 1, cut off outside. ``rest`` is the drive without any input.
    """

    activation: Literal["graded", "relu", "linear", "tanh", "sigmoid", "softplus"] = "graded"
    rest: float = 0.0  # in units of drive

    def __post_init__(self) -> None:
        check_fields(self)
        if not isfinite(self.rest):
            raise CompileError("Graded.rest", f"must be finite, not {self.rest}")

    def check(self, population: Population) -> None:
        """Any unit can be of this kind."""


@dataclass(frozen=True, slots=True)
class SquareWave:
    """Two units of a motif that take turns; their drive is a count of steps.

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
        """Refuse all but two units."""
        if population.shape != (2,):
            problem = f"has shape {population.shape}: a square wave has two units"
            raise VerifyError(f"population {population.name}", problem)


def words(node: Node) -> dict[str, Any]:
    """Return what modules state of units of this kind: its fields, and what stands for them."""
    told = asdict(node)
    if isinstance(node, Swept):
        held = node.inhibition
        told["inhibition"] = held.form if held else "none"
        told |= {"inhibition_strength": held.strength} if held else {}
    if isinstance(node, SquareWave):
        told["activation"] = "square-wave"
    return told
