"""Random inputs of a network, and how it is called with them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.errors import CompileError

MOST_STEPS = 10_000  # step numbers are drawn below it


@dataclass(frozen=True, slots=True)
class Call:
    """What ``forward`` gets, by the names of its arguments."""

    tensors: Mapping[str, Tensor]


def first_output(network: Any, call: Call) -> Tensor:
    """Return the output of the network, after resetting its state; the first of several outputs."""
    reset = getattr(network, "reset", None)
    if callable(reset):
        reset()
    answer = network(**call.tensors)
    first = answer[0] if isinstance(answer, tuple | list) else answer
    if not isinstance(first, Tensor):
        raise CompileError("forward", f"returned {type(first).__name__}, not a tensor")
    return first


def draw(network: Any, n: int, seed: int) -> Call:
    """Draw ``n`` inputs.

    Numbers are drawn from those of ``example_input``, one by one, so they have its range and
    shape. Where arguments of ``forward`` have a known meaning they have their own range: ``joints``
    -1 to 1, ``step`` halves of whole numbers. Arguments that only go by keyword, commands, get
    numbers from 0 to 1, the ends among them, wherever the network takes them.
    """
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            example = network.example_input(n)
    except AttributeError as error:
        hint = "give it a module that ccompile built"
        raise CompileError(
            type(network).__name__, f"has no example_input(): {error}", hint
        ) from error
    parameters = inspect.signature(network.forward).parameters
    if isinstance(example, Mapping):
        given = dict(example)
    else:
        in_order = example if isinstance(example, tuple | list) else (example,)
        given = dict(zip(parameters, in_order, strict=False))
    tensors = {name: _drawn(name, t, generator) for name, t in given.items() if t is not None}
    size = (n, 1)
    like = next(iter(tensors.values()))
    if "step" in parameters and "step" not in tensors:
        tensors["step"] = _drawn("step", like.new_zeros(size), generator)
    commands = [
        p.name
        for p in parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is None and p.name not in tensors
    ]
    drawn = {c: (torch.rand(size, generator=generator) * 1.5 - 0.25).clamp(0, 1) for c in commands}
    for how_many in range(len(commands), -1, -1):
        for chosen in itertools.combinations(commands, how_many):
            call = Call({**tensors, **{c: drawn[c].to(like) for c in chosen}})
            if _takes(network, call) or not commands:
                return call
    return Call(tensors)  # it refuses all of them: calling it will show why


def _takes(network: nn.Module, call: Call) -> bool:
    try:
        with torch.no_grad():
            first_output(network, call)
    except Exception:
        return False
    return True


def _drawn(name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    if name == "joints":
        return torch.empty_like(like).uniform_(-1, 1, generator=generator)
    if name == "step":
        halves = torch.randint(0, 2 * MOST_STEPS, like.shape, generator=generator)
        return (halves / 2).to(like)
    if not like.numel():
        return like
    pool = like.flatten()
    places = torch.randint(0, len(pool), like.shape, generator=generator)
    return pool[places]
