"""The units of one population: from summed drive to firing rates."""

import torch
from torch import Tensor, nn

from connectome_compiler.nn.same_structure import SameStructure


class RateUnits(SameStructure):
    """Turn drive ``(batch, n)`` into rates ``(batch, n)``, which are never negative.

    The drive is normalised over the population and rectified. A layer of connections ``within`` the
    population then lets the rates settle once: ``relu(drive + within(rates))``. Last, each unit is
    attenuated by its ``inhibition`` ``r`` in 0..1: ``a (1 - strength r)`` ("multiplicative"), or
    ``relu(a - strength r)`` ("subtractive"). In training, Gaussian synaptic noise is added before
    the rates are rectified again.

    ``normalisation`` is "layer" (Ba et al. 2016), "rms" (division by the population's root mean
    square, without gain: no drive changes sign, but units compete, as in Carandini & Heeger 2012,
    Nat. Rev. Neurosci. 13:51) or "none".
    """

    inhibition: Tensor | None  # (n,), saved, never trained

    def __init__(
        self,
        n: int,
        *,
        normalisation: str = "layer",
        noise_std: float = 0.0,
        inhibition: Tensor | None = None,
        form: str = "multiplicative",
        strength: float = 0.0,
    ) -> None:
        super().__init__()
        normalisers: dict[str, nn.Module] = {
            "layer": nn.LayerNorm(n),
            "rms": nn.RMSNorm(n, eps=1e-5, elementwise_affine=False),
            "none": nn.Identity(),
        }
        if normalisation not in normalisers:
            raise ValueError(
                f"normalisation must be one of {', '.join(normalisers)}, not {normalisation!r}"
            )
        if form not in ("multiplicative", "subtractive"):
            raise ValueError(f"inhibition must be multiplicative or subtractive, not {form!r}")
        if not (noise_std >= 0 and 0 <= strength <= 1):
            raise ValueError(
                f"need noise_std >= 0 and strength in 0..1, not {noise_std} and {strength}"
            )
        self.normalise = normalisers[normalisation]
        self.noise_std, self.form, self.strength = noise_std, form, strength
        self.hold(inhibition=inhibition)

    def forward(self, drive: Tensor, within: nn.Module | None = None) -> Tensor:
        """Return the rates."""
        self.join(drive)
        drive = self.normalise(drive)
        rates = torch.relu(drive)
        if within is not None:
            rates = torch.relu(drive + within(rates))
        if self.inhibition is not None:
            amount = self.strength * self.inhibition
            subtract = self.form == "subtractive"
            rates = torch.relu(rates - amount) if subtract else rates * (1 - amount)
        if self.training and self.noise_std:
            rates = torch.relu(rates + self.noise_std * torch.randn_like(rates))
        return rates

    def _own_structure(self) -> dict[str, Tensor | None]:
        # Units without inhibition take a state that has it, if torch is told not to be strict.
        return {name: part for name, part in self.kept.items() if part is not None}

    def extra_repr(self) -> str:
        """Return what `print` shows of the units."""
        parts = [f"noise_std={self.noise_std}"]
        if self.inhibition is not None:
            parts.append(f"inhibition={self.form}, strength={self.strength}")
        return ", ".join(parts)
