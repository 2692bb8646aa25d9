"""What a training must keep to be resumed: tensors and JSON in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from connectome_compiler.errors import CompileError
from connectome_compiler.files import write

ADAM = "adam"


def stream(seed: int, iteration: int) -> np.random.Generator:
    """Return the random stream of one iteration, so that none has to be kept between them."""
    return np.random.default_rng([seed, iteration])


def adam_state(adam: torch.optim.Adam) -> dict[str, Tensor]:
    """Return the steps and moments of Adam, by the place of the weight."""
    state = adam.state_dict()["state"]
    return {
        f"{ADAM}.{k}.{name}": torch.as_tensor(value).clone().contiguous()
        for k, values in state.items()
        for name, value in values.items()
    }


def load_adam_state(adam: torch.optim.Adam, state: dict[str, Tensor]) -> None:
    """Put back what `adam_state` returned."""
    nested: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith(f"{ADAM}."):
            _, place, name = key.split(".")
            nested.setdefault(int(place), {})[name] = value
    adam.load_state_dict({"state": nested, "param_groups": adam.state_dict()["param_groups"]})


def write_tensors(path: Path, tensors: dict[str, Tensor], run: dict[str, Any]) -> Path:
    """Write tensors and a JSON record; equal contents give equal bytes."""
    return write(path, save(tensors, {"run": json.dumps(run, sort_keys=True)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote; raise `CompileError` if it is not that."""
    try:
        with safe_open(path, framework="pt") as file:
            run = json.loads(file.metadata()["run"])
            return {name: file.get_tensor(name) for name in file.keys()}, run  # noqa: SIM118
    except FileNotFoundError:
        raise CompileError(str(path), "no such file", "start without --resume") from None
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        problem = f"is not a checkpoint: {error}"
        raise CompileError(str(path), problem, "start again in another folder") from error
