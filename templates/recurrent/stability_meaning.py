"""How steps of leaky units amplify small differences, and what their length does to that.

Near its rest a network is linear: ``tau dr/dt = (S W + G - 1 - g) r``, with the slopes ``S`` of the
activation there, the gap junctions ``G`` and their sums ``g``; and a step multiplies small
differences by ``J = 1 + A (S W + G - 1 - g)``, with the part ``A`` of the way that each unit goes.
Differences die out if all eigenvalues of ``J`` are below 1 in magnitude, and in continuous time if
all of ``(S W + G - 1 - g) / tau`` have a negative real part. ``J`` comes as close to the latter as
one likes when the step is short: if steps are unstable where time is not, some shorter one is
stable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Parts = Callable[[float], Array]  # of the way that is gone in a step of so many ms
FEW = 512  # neurons; up to so many, all eigenvalues are looked at
LONGEST = {True: 2000, False: 200}  # steps until it rests, of few neurons and of many
HALVINGS = 40  # of the step, at most, in search of a stable one
BISECTIONS = 6  # of where it ends, of few neurons: to 1 %


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """The numbers of a network, all of its units in one row."""

    chemical: Any  # sparse, [post, pre]
    gaps: Any
    tau_ms: Array
    bias: Array
    dt_ms: float
    activation: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    parts: Parts

    def told(self) -> str:
        """Return what small differences do, and where steps are at fault, which one is not."""
        if not len(self.tau_ms):
            return ""
        pull, rests = self._linear()
        where = "at rest" if rests else "where rates are after a while without input"
        radius = self._radius(pull, self.dt_ms)
        if radius is None:
            return ""
        now = f"{where} small differences"
        if radius < 1:
            return (
                f"{now} shrink: a step of {self.dt_ms:g} ms has a spectral radius of {radius:.3g}"
            )
        growth = f"{now} grow: a step of {self.dt_ms:g} ms has a spectral radius of {radius:.3g}"
        fastest = _largest(_over(pull, self.tau_ms), "LR")
        if fastest is None or fastest >= 0:
            return f"{growth}; it is the network that is unstable, at any dt_ms, and not the step"
        return (
            f"{growth}; the step is too long, and dt_ms={_floored(self._stable(pull)):g} is stable"
        )

    def _linear(self) -> tuple[Any, bool]:
        """Return ``S W + G - 1 - g`` without input, and whether rates had come to rest there."""
        from scipy.sparse import diags_array

        out = self.gaps.sum(1)
        gone, rates, rests = self.parts(self.dt_ms), np.zeros(len(self.tau_ms)), False
        for _ in range(LONGEST[len(rates) <= FEW]):
            drive = self.chemical @ rates + self.bias
            change = gone * (self.activation(drive) + self.gaps @ rates - (1 + out) * rates)
            rates = rates + change
            rests = bool(np.abs(change).max() <= 1e-9 * (1 + np.abs(rates).max()))
            if rests or not np.isfinite(rates).all():
                break
        drive = self.chemical @ rates + self.bias if np.isfinite(rates).all() else self.bias
        slope = diags_array(self.slope(drive))
        return (slope @ self.chemical + self.gaps - diags_array(1 + out)).tocsr(), rests

    def _radius(self, pull: Any, dt_ms: float) -> float | None:
        """Return the spectral radius of a step; None where it is not found."""
        from scipy.sparse import eye_array

        return _largest(eye_array(len(self.tau_ms)) + _over(pull, 1 / self.parts(dt_ms)), "LM")

    def _stable(self, pull: Any) -> float:
        """Return a step that is stable; of few neurons the longest below that of the network."""

        def is_stable(dt_ms: float) -> bool:
            radius = self._radius(pull, dt_ms)
            return radius is not None and radius < 1

        high = self.dt_ms
        for _ in range(HALVINGS):
            low = high / 2
            if is_stable(low):
                break
            high = low
        for _ in range(BISECTIONS if len(self.tau_ms) <= FEW else 0):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if is_stable(middle) else (low, middle)
        return low


def _floored(x: float) -> float:
    """Return the number cut off after two digits."""
    digit = 10.0 ** (math.floor(math.log10(x)) - 1)
    return float(f"{math.floor(x / digit) * digit:.3g}")


def _over(matrix: Any, divisor: Array) -> Any:
    from scipy.sparse import diags_array

    return diags_array(1 / divisor) @ matrix


def _largest(matrix: Any, which: Literal["LM", "LR"]) -> float | None:
    """Return the largest magnitude ("LM") or real part ("LR") of an eigenvalue, if it is found."""
    from scipy.sparse.linalg import ArpackNoConvergence, eigs

    if (n := matrix.shape[0]) <= FEW:
        found = np.linalg.eigvals(matrix.toarray())
    else:
        start = np.random.default_rng(0).random(n)
        try:
            found = eigs(
                matrix, 1, which=which, ncv=64, v0=start, tol=1e-3, return_eigenvectors=False
            )
        except ArpackNoConvergence as error:
            found = error.eigenvalues
    if not len(found):
        return None
    return float(np.abs(found).max() if which == "LM" else found.real.max())
