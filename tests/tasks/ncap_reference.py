"""NCAP of the swimmer, plainly: what emitted modules are compared with, to the last bit.

The equations of Bhattasali, Zador & Engel (2022), Neural Circuit Architectural Priors for Embodied
Control, NeurIPS. It has the contract of an emitted module, so that it can be trained in its place.
"""

import torch
from torch import Tensor, nn

NEGATIVE = {"speed", "contra"}
SIDES = ("d", "v")


def graded(x: Tensor) -> Tensor:
    return x.clamp(0, 1)


class Ncap(nn.Module):
    """Joints ``(batch, n_joints)`` in [-1, 1] to torques of the same shape."""

    def __init__(
        self,
        n_joints: int = 5,
        n_turn_joints: int = 1,
        oscillator_period: int = 60,
        weight_sharing: bool = True,
        sign_constraints: bool = True,
        constant_init: bool = True,
        proprioception: bool = True,
        oscillator: bool = True,
        speed_control: bool = False,
        turn_control: bool = False,
    ) -> None:
        super().__init__()
        self.n_joints, self.n_turn_joints, self.period = n_joints, n_turn_joints, oscillator_period
        self.shared, self.constrained, self.constant = (
            weight_sharing,
            sign_constraints,
            constant_init,
        )
        self.has_prop, self.has_osc = proprioception, oscillator
        self.has_speed, self.has_turn = speed_control, turn_control
        self.count = 0
        for name in self._names():
            self.register_parameter(name, nn.Parameter(self._start(name.split("_")[0])))

    def _names(self) -> list[str]:
        """Return the weights in the order of their creation."""
        has = {
            "prop": self.has_prop,
            "speed": self.has_speed,
            "turn": self.has_turn,
            "osc": self.has_osc,
        }
        if self.shared:
            return [*(kind for kind in has if has[kind]), "ipsi", "contra"]
        names = []
        for i in range(self.n_joints):
            here = {"prop": i > 0, "speed": True, "turn": i < self.n_turn_joints, "osc": i == 0}
            kinds = [kind for kind in has if has[kind] and here[kind]]
            names += [f"{kind}_{side}_{i}" for kind in kinds for side in SIDES]
            names += [f"{kind}_{side}_{i}" for side in SIDES for kind in ("ipsi", "contra")]
        return names

    def _start(self, kind: str) -> Tensor:
        low, high = (-1.0, 0.0) if kind in NEGATIVE else (0.0, 1.0)
        if not self.constrained:
            low, high = -1.0, 1.0
        if not self.constant:
            return torch.empty(1).uniform_(low, high)
        if not self.constrained:
            return 2 * torch.bernoulli(torch.full((1,), 0.5)) - 1
        return torch.full((1,), -1.0 if kind in NEGATIVE else 1.0)

    def reset(self) -> None:
        self.count = 0

    def weight(self, kind: str, side: str, i: int) -> Tensor:
        raw: Tensor = getattr(self, kind if self.shared else f"{kind}_{side}_{i}")
        if not self.constrained:
            return raw
        return raw.clamp(max=0) if kind in NEGATIVE else raw.clamp(min=0)

    def forward(
        self,
        joints: Tensor,
        step: Tensor | None = None,
        *,
        right: Tensor | None = None,
        left: Tensor | None = None,
        speed: Tensor | None = None,
    ) -> Tensor:
        sensed = {"d": joints.clamp(0, 1), "v": -joints.clamp(-1, 0)}
        t = joints.new_full((len(joints), 1), float(self.count)) if step is None else step
        self.count += 1
        dorsal = torch.remainder(torch.round(t), self.period) < self.period // 2
        wave = {"d": dorsal.to(joints), "v": (~dorsal).to(joints)}
        command = {"d": right, "v": left}
        torques = []
        for i in range(self.n_joints):
            neuron, muscle = {}, {}
            for side in SIDES:
                drive = joints.new_zeros(len(joints), 1)
                if self.has_prop and i > 0:
                    drive = drive + sensed[side][:, i - 1, None] * self.weight("prop", side, i)
                if self.has_speed:
                    assert speed is not None
                    drive = drive + (1 - speed.clamp(0, 1)) * self.weight("speed", side, i)
                if self.has_turn and i < self.n_turn_joints:
                    turn = command[side]
                    assert turn is not None
                    drive = drive + turn.clamp(0, 1) * self.weight("turn", side, i)
                if self.has_osc and i == 0:
                    drive = drive + wave[side] * self.weight("osc", side, i)
                neuron[side] = graded(drive)
            for side, other in zip(SIDES, reversed(SIDES), strict=True):
                ipsi = neuron[side] * self.weight("ipsi", side, i)
                muscle[side] = graded(ipsi + neuron[other] * self.weight("contra", side, i))
            torques.append(muscle["d"] - muscle["v"])
        return torch.cat(torques, dim=1)


def build(**options: bool | int) -> Ncap:
    return Ncap(**options)  # type: ignore[arg-type]
