"""A layer's weights mean nothing without its structure: states of another one are refused."""

from typing import Any

import torch
from torch import Tensor, nn


class SameStructure(nn.Module):
    """A layer that loads only states of its own structure.

    A state that lacks a part of the structure, or differs in one, is refused whole, strict or not.
    """

    structure: tuple[str, ...] = ()  # the buffers; one that is None must not be in the state
    advice = ""  # what to do with the weights of another layer

    def _own_structure(self) -> dict[str, Tensor | None]:
        """Return the parts of a saved state that must match, by name."""
        return {name: getattr(self, name) for name in self.structure}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state, or report how its structure differs."""
        for name, own in self._own_structure().items():
            if problem := self._foreign(state_dict.get(prefix + name), own):
                errors: list[str] = rest[-1]
                errors.append(f"{prefix}{name} {problem}{self.advice}")
                return
        self._load_same(state_dict, prefix, *rest)

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state of the same structure."""
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _foreign(self, stored: Any, own: Tensor | None) -> str:
        """Return why one part of a state is not this layer's, or "" if it is."""
        if own is None:
            return "" if stored is None else "is not of this layer, which has none"
        if stored is None:
            return "is missing: the weights could be of any network"
        if not isinstance(stored, Tensor):
            return f"is of type {type(stored).__name__}, not a tensor"
        if own.is_meta or stored.is_meta:
            return "is on the meta device: it cannot be compared"
        return self._difference(stored, own)

    def _difference(self, stored: Tensor, own: Tensor) -> str:
        """Return how a part of a state differs from this layer's, or "" if it does not."""
        dtype, where = own.dtype, ""
        if stored.is_floating_point() and own.is_floating_point():
            # In the precision of the less precise one: a layer rounds buffers with its weights.
            dtype = max(stored.dtype, dtype, key=lambda kind: torch.finfo(kind).eps)
        elif stored.dtype != dtype:
            where = f"in type, {stored.dtype} instead of {dtype}"
        if stored.shape != own.shape:
            where = f"in shape, {tuple(stored.shape)} instead of {tuple(own.shape)}"
        elif not where and (n := int((stored.to(own.device, dtype) != own.to(dtype)).sum())):
            where = f"in {n} of {own.numel()} places"
        return where and f"differs {where}: the weights are of another network"
