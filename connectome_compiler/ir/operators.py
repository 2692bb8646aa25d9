"""How a projection's connections act: unit by unit, or as a convolution over maps.

Connectivity and operator are independent. A connection of a convolution joins two channels of two
maps, and has one weight for each position of the kernel (`area`); its connectivity is one over
channels, whatever the size of the maps. Where it is ``per_position``, a connection is a single
weight of a kernel: it joins a post channel and a pre channel at one position, and counts as the pre
index ``channel * positions + row * width + column``. Orientation is ``[post, pre]``, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import index
from typing import Any

from connectome_compiler.errors import CompileError

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Linear:
    """A weight for every connection between two units; maps count as lists of units."""

    @property
    def area(self) -> int:
        """Number of weights of one connection."""
        return 1

    def pairs(self, post: Shape, pre: Shape) -> Pair:
        """Return how many units can be joined, ``(n_post, n_pre)``, of populations so shaped."""
        return _product(post), _product(pre)

    def check(self, post: Shape, pre: Shape) -> None:
        """Any population can drive any other."""


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A convolution of maps ``(channels, height, width)``, as `torch.nn.Conv2d` computes it.

    ``kernel``, ``stride``, ``padding`` and ``dilation`` are of (height, width). With ``groups``,
    each group of post channels sees its own group of pre channels. ``end_padding`` is additional
    padding at the bottom and at the right.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    end_padding: Pair = (0, 0)
    per_position: bool = False

    def __post_init__(self) -> None:
        _own_numbers(self)

    @property
    def area(self) -> int:
        """Number of weights of one connection: one for each position that it has."""
        return 1 if self.per_position else self.kernel[0] * self.kernel[1]

    def pairs(self, post: Shape, pre: Shape) -> Pair:
        """Return how many channels can be joined: ``(post, pre per group)``, times positions."""
        n_post, n_pre = _channels(self, post, pre)
        return n_post, n_pre // self.groups * _positions(self)

    def check(self, post: Shape, pre: Shape) -> None:
        """Raise `CompileError` unless maps shaped ``pre`` become maps shaped ``post``."""
        _channels(self, post, pre)
        made = tuple(
            (
                pre[k + 1]
                + 2 * self.padding[k]
                + self.end_padding[k]
                - self.dilation[k] * (self.kernel[k] - 1)
                - 1
            )
            // self.stride[k]
            + 1
            for k in range(2)
        )
        _must_make(self, made, post, pre)


@dataclass(frozen=True, slots=True)
class ConvTranspose2d:
    """A transposed convolution of maps, as `torch.nn.ConvTranspose2d` computes it.

    Fields are those of `Conv2d`; ``output_padding`` extends one side of the result. With
    ``groups``, each group of pre channels drives its own group of post channels.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    per_position: bool = False

    def __post_init__(self) -> None:
        _own_numbers(self)
        for k in range(2):
            if self.output_padding[k] >= max(self.stride[k], self.dilation[k]):
                problem = (
                    f"output_padding {self.output_padding} must be smaller than stride or dilation"
                )
                raise CompileError("ConvTranspose2d", problem)

    @property
    def area(self) -> int:
        """Number of weights of one connection: one for each position that it has."""
        return 1 if self.per_position else self.kernel[0] * self.kernel[1]

    def pairs(self, post: Shape, pre: Shape) -> Pair:
        """Return how many channels can be joined: ``(post per group, pre)``, times positions."""
        n_post, n_pre = _channels(self, post, pre)
        return n_post // self.groups, n_pre * _positions(self)

    def check(self, post: Shape, pre: Shape) -> None:
        """Raise `CompileError` unless maps shaped ``pre`` become maps shaped ``post``."""
        _channels(self, post, pre)
        made = tuple(
            (pre[k + 1] - 1) * self.stride[k]
            - 2 * self.padding[k]
            + self.dilation[k] * (self.kernel[k] - 1)
            + self.output_padding[k]
            + 1
            for k in range(2)
        )
        _must_make(self, made, post, pre)


Operator = Linear | Conv2d | ConvTranspose2d
LINEAR = Linear()
OPERATORS: dict[str, type[Any]] = {
    "Linear": Linear,
    "Conv2d": Conv2d,
    "ConvTranspose2d": ConvTranspose2d,
}


def _own_numbers(geometry: Conv2d | ConvTranspose2d) -> None:
    """Turn what was given into pairs of integers; refuse values that no convolution can have."""
    kind = type(geometry).__name__
    for field in fields(geometry):
        value = getattr(geometry, field.name)
        if field.name == "per_position":
            if not isinstance(value, bool):
                raise CompileError(kind, f"per_position must be true or false, not {value!r}")
            continue
        try:
            if field.name == "groups":
                numbers: Any = index(value)
            else:
                both = value if isinstance(value, Sequence) else (value, value)
                numbers = tuple(index(v) for v in both)
        except TypeError:
            raise CompileError(
                kind, f"{field.name} must be a whole number, not {value!r}"
            ) from None
        least = 0 if field.name.endswith("padding") else 1
        flat = (numbers,) if field.name == "groups" else numbers
        if (field.name != "groups" and len(flat) != 2) or min(flat, default=0) < least:
            raise CompileError(
                kind, f"{field.name} must be two numbers of at least {least}, not {value!r}"
            )
        object.__setattr__(geometry, field.name, numbers)


def _positions(geometry: Conv2d | ConvTranspose2d) -> int:
    """Return how many pre indices one channel has."""
    return geometry.kernel[0] * geometry.kernel[1] if geometry.per_position else 1


def _channels(geometry: Conv2d | ConvTranspose2d, post: Shape, pre: Shape) -> Pair:
    """Return the channels of both maps; refuse non-maps and uneven groups."""
    kind = type(geometry).__name__
    for end, shape in (("post", post), ("pre", pre)):
        if len(shape) != 3:
            problem = f"{end} population of shape {shape} is not a map"
            raise CompileError(kind, problem, "a map has the shape (channels, height, width)")
        if shape[0] % geometry.groups:
            problem = f"{shape[0]} {end} channels cannot be divided into {geometry.groups} groups"
            raise CompileError(kind, problem)
    return post[0], pre[0]


def _must_make(geometry: Conv2d | ConvTranspose2d, made: Shape, post: Shape, pre: Shape) -> None:
    if made != post[1:]:
        sizes = [" x ".join(str(n) for n in shape) for shape in (pre[1:], made, post[1:])]
        problem = f"makes maps of {sizes[1]} from maps of {sizes[0]}, not of {sizes[2]}"
        raise CompileError(type(geometry).__name__, problem, "change kernel, stride or padding")


def _product(shape: Shape) -> int:
    n = 1
    for side in shape:
        n *= side
    return n
