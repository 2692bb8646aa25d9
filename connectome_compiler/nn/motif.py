"""Parts of motifs over repeated joints: scalar weights, square waves, checked inputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


def draw_weight(sign: int, constrained: bool, constant: bool) -> nn.Parameter:
    """Return a weight ``(1,)`` at its start, from torch's generator.

    ``constant``: its sign, or without constraints +1 or -1 with equal chances. Else uniform between
    0 and its sign, or without constraints between -1 and 1.
    """
    if constant and constrained:
        return nn.Parameter(torch.full((1,), float(sign)))
    if constant:
        return nn.Parameter(2 * torch.bernoulli(torch.full((1,), 0.5)) - 1)
    low, high = (min(sign, 0), max(sign, 0)) if constrained else (-1, 1)
    return nn.Parameter(torch.empty(1).uniform_(low, high))


def square_wave(step: Tensor, period: int) -> Tensor:
    """Return ``(batch, 2)``, bool: the first half of each period, and the second.

    The first has ``period // 2`` steps. ``step`` ``(batch, 1)`` is rounded, halves to even.
    """
    first = step.round().remainder(period) < period // 2
    return torch.cat([first, ~first], 1)


def whole_number(name: str, value: int, most: int = 2**31 - 1) -> int:
    """Return an integer option; raise `ValueError` unless it is from 1 to ``most``."""
    try:
        whole = -1 if isinstance(value, bool) else value.__index__()
    except (AttributeError, TypeError):
        whole = -1
    if not 1 <= whole <= most:
        raise ValueError(f"{name} is {value!r}, expected an integer from 1 to {most}")
    return whole


def check_switches(**switches: bool) -> None:
    """Raise `TypeError` for an option that is neither True nor False."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}, expected True or False")


def check_input(name: str, x: Tensor, width: int, batch: int | None = None) -> Tensor:
    """Return ``x``; raise `ValueError` unless it is ``(batch, width)`` and finite.

    Compiled and exported modules check the shape alone: there NaN runs through to the output.
    """
    shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
    if len(shape) != 2 or shape != (shape[0] if batch is None else batch, width):
        expected = f"({'batch' if batch is None else batch}, {width})"
        raise ValueError(f"{name} is {shape}, expected a tensor {expected}")
    if not torch.compiler.is_compiling() and not bool(x.isfinite().all()):
        row, unit = (~x.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"{name}[{row}, {unit}] is {float(x[row, unit])}, expected finite numbers")
    return x


def read_command(name: str, x: Tensor | None, joints: Tensor) -> Tensor:
    """Return a command ``(batch, 1)``, 0 where it is left out; see `check_input`."""
    return joints.new_zeros(len(joints), 1) if x is None else check_input(name, x, 1, len(joints))


class Term(NamedTuple):
    """A projection of a motif: from joint ``i - shift`` of ``pre``, or one unit, to joint ``i``."""

    pre: str
    post: str
    weight: str
    side: str
    shift: int | None = None
    unit: int = 0
    units: int = 0  # of ``pre``, if all joints receive from one


def joined(weights: list[Tensor]) -> Tensor:
    """Return weights ``(1,)`` as one ``(n,)``; a body may be too short for any."""
    return torch.cat(weights) if weights else nn.Parameter(torch.empty(0))


class Connections:
    """Connections of a projection with its current weights, to be called on rates of its sources.

    ``weight`` is as it is trained, one number for each connection, or one for all. Connection ``k``
    runs from unit ``pre[k]`` to unit ``post[k]``.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        post: Sequence[int],
        pre: Sequence[int],
        weight: Tensor,
        acting: Tensor,
        sign: int,
    ) -> None:
        ends = [list(post), list(pre)]
        self.shape = shape
        self.indices = torch.tensor(ends, dtype=torch.int64, device=weight.device)
        self.weight, self._acting = weight, acting
        self.sign = torch.tensor(sign)  # 0: free

    def __call__(self, x: Tensor) -> Tensor:
        """Map rates ``(batch, n_pre)`` to the drive ``(batch, n_post)`` that they add."""
        post, pre = self.indices
        return x.new_zeros(len(x), self.shape[0]).index_add(1, post, x[:, pre] * self._acting)

    def effective_weight(self) -> Tensor:
        """Return the weight of every connection, ``(n_connections,)``."""
        return self._acting

    def sparse_weight(self) -> Tensor:
        """Return what acts as a sparse COO tensor ``[post, pre]``."""
        return torch.sparse_coo_tensor(
            self.indices, self._acting, self.shape, check_invariants=False
        ).coalesce()


def matched_weights(
    wanted: Iterable[tuple[str, str]],
    sides: Mapping[str, Iterable[str]],
    given: Mapping[str, Tensor],
    average: bool,
) -> tuple[dict[str, Tensor], set[str]]:
    """Return a value for each of the ``wanted`` pairs (parameter, weight), and the names it took.

    They are those of another body. A shared weight serves every joint and side. The weights of
    joints make a shared one if they are equal, or by their mean if ``average``. ``sides`` are those
    that each weight has. Raises `ValueError` naming what is missing, or differs.
    """
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, weight in wanted:
        if name in given or weight in given:
            source = name if name in given else weight
            found[name] = given[source]
            used.add(source)
            continue
        of_joints = re.compile(rf"{weight}_({'|'.join(sides[weight])})_\d+")
        names = [key for key in given if of_joints.fullmatch(key)]
        several = [given[key] for key in names]
        if name != weight or not several:
            raise ValueError(f"the other body has no weight {name!r}")
        if not average and any(not torch.equal(value, several[0]) for value in several):
            spread = f"{float(min(several)):.3g} to {float(max(several)):.3g}"
            problem = f"its joints have {len(several)} different ones, {spread}"
            raise ValueError(f"{weight!r} is shared here, but {problem}: set average=True")
        found[name] = torch.stack(several).mean(0) if average else several[0]
        used.update(names)
    return found, used
