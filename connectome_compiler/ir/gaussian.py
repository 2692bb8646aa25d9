"""Laws of probability: a neuron contacts others around its own place, the nearer the likelier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Index
from connectome_compiler.ir.records import check_fields

Unit = Literal["um", "px"]
HINT = 'add [[pass]] use = "materialise-laws"'


@dataclass(frozen=True, slots=True)
class GaussianLaw:
    """Contacts whose probability falls off with distance as a Gaussian, on a sheet of neurons.

    ``width`` is its standard deviation, in micrometres, or in pixels of the map that the sources
    are. ``in_degree`` is the mean number of sources of a target, over the whole Gaussian. ``peak``
    is the probability at no distance, where that is what was measured: then a kernel keeps the
    peak, else it keeps the in-degree.
    """

    width: float
    in_degree: float
    peak: float | None = None
    unit: Unit = "um"

    def __post_init__(self) -> None:
        check_fields(self)
        _positive("Gaussian law, width", self.width)
        _positive("Gaussian law, in_degree", self.in_degree)
        if self.peak is not None and not 0 < self.peak <= 1:
            problem = f"{self.peak} is no probability above 0"
            raise CompileError("Gaussian law, peak", problem, "0 < peak <= 1")
        if self.unit not in ("um", "px"):
            raise CompileError("Gaussian law, unit", f"{self.unit!r} is neither um nor px")

    def entries(self, n_post: int, n_pre: int) -> NoReturn:
        """Raise `CompileError`: neurons have no places yet."""
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
class GaussianKernel:
    """Weights of a kernel that are open with the probability of a Gaussian around its centre.

    ``peak`` is the probability at the centre, and may be above 1 where a kernel is too small for
    its in-degree: what is above 1 is cut. ``width`` is the standard deviation in pixels, ``kernel``
    the size (height, width), as the operator has it. Each pair of channels is drawn for itself.
    """

    peak: float
    width: float
    kernel: tuple[int, int]

    def __post_init__(self) -> None:
        check_fields(self)
        _positive("Gaussian kernel, peak", self.peak)
        _positive("Gaussian kernel, width", self.width)
        if min(self.kernel) < 1:
            raise CompileError("Gaussian kernel", f"{self.kernel} is no size (height, width)")

    def gaussian(self) -> npt.NDArray[np.float64]:
        """Return ``peak * exp(-(x^2 + y^2) / (2 width^2))`` at every position, uncut."""
        y, x = (np.arange(k) - (k - 1) / 2 for k in self.kernel)
        squared: npt.NDArray[np.float64] = y[:, None] ** 2 + x**2
        return self.peak * np.exp(-squared / (2 * self.width**2))

    def probability(self) -> npt.NDArray[np.float64]:
        """Return the probability that each position is open, at most 1, shape ``kernel``."""
        return np.minimum(self.gaussian(), 1.0)

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Raise `CompileError`: which weights are open is drawn by a pass that owns the seed."""
        raise CompileError("Gaussian kernel", f"{self.describe()} is a law of probability", HINT)

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the expected number of open weights; ``n_pre`` counts channels times positions."""
        return round(n_post * n_pre * float(self.probability().mean()))

    def describe(self) -> str:
        """Return peak and width in a few words."""
        return f"Gaussian kernel, peak {self.peak:.4g}, {self.width:.4g} px"


def _positive(where: str, value: float) -> None:
    if not 0 < value < 2.0**63:  # counts that are made of it stay finite
        raise CompileError(where, f"{value} is not a positive number")
