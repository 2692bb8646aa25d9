"""A layer's structure, without which its weights mean nothing: nothing changes or rounds it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.eager import has_shape


class SameStructure(nn.Module):
    """A layer that keeps its structure, whatever becomes of its weights.

    The structure lies beside parameters and buffers, so that nothing averages, rounds, empties or
    shards it. Its tensors are attributes, which go along to other devices and precisions; they are
    copies of what the layer was made with, which is what states have, and are compared with. A
    state that differs in a part is refused whole, strict or not; one that lacks a part is refused
    if torch is told to be strict.
    """

    structure: tuple[str, ...] = ()  # what is saved; a part that is None must not be in a state
    advice = ""  # what to do with the weights of another layer
    kept: Mapping[str, Any] = {}  # the structure as it was made, on the CPU; tensors, or None
    _at = torch.device("cpu")  # where the attributes are

    def hold(self, device: torch.device | str | None = None, **parts: Tensor | None) -> None:
        """Make tensors part of the structure; ``device`` is torch's default one, if not given."""
        made = {name: None if part is None else part.cpu() for name, part in parts.items()}
        self.kept = {**self.kept, **made}
        for name, part in made.items():
            setattr(self, name, part)
        self.follow(torch.get_default_device() if device is None else torch.device(device))

    def follow(self, device: torch.device) -> None:
        """Have the structure on a device."""
        self._at = device
        for name, part in self.kept.items():
            if (now := getattr(self, name)) is not None:
                setattr(self, name, part.to(device, now.dtype))

    def join(self, x: Tensor) -> None:
        """Have the structure where ``x`` is: not everything that moves parameters asks layers."""
        if has_shape(x) and x.device != self._at:
            self.follow(x.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Convert as torch does; the structure is converted from what it was made as."""
        before = dict(self._parameters)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._share_again(before)
        for name, part in self.kept.items():
            if (now := getattr(self, name)) is not None:
                like = fn(now.new_empty(0))
                self._at = like.device
                setattr(self, name, part.to(like.device, like.dtype))
        return self

    def _share_again(self, before: Mapping[str, nn.Parameter | None]) -> None:
        """Let layers that shared a parameter share the one that torch has put in its place."""
        for name, old in before.items():
            new = self._parameters[name]
            if old is not None and new is not old:
                vars(new).pop("_replaced_by", None)  # it may have been here before
                self._parameters[name] = vars(old).setdefault("_replaced_by", new)

    def _own_structure(self) -> dict[str, Tensor | None]:
        """Return the parts of a saved state that must match, by name."""
        return {name: self.kept[name] for name in self.structure}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, own in self._own_structure().items():
            if own is not None:
                destination[prefix + name] = own.clone()  # what is done to a state stays there

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: Any
    ) -> None:
        """Load a state, or report how its structure differs."""
        missing, _, errors = lists
        rest = dict(state_dict)
        for name, own in self._own_structure().items():
            stored = rest.pop(prefix + name, None)
            if stored is None and own is not None:
                missing.append(prefix + name)
            elif problem := self._foreign(stored, own):
                errors.append(f"{prefix}{name} {problem}{self.advice}")
                return
        before = dict(self._parameters)
        self._load_same(rest, prefix, metadata, strict, *lists)
        self._share_again(before)
        for parameter in self.parameters(recurse=False):  # assigned, they may be elsewhere
            self.join(parameter)

    def _load_same(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state of the same structure, which is not in it."""
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _foreign(self, stored: Any, own: Tensor | None) -> str:
        """Return why one part of a state is not this layer's, or "" if it is."""
        if own is None:
            return "" if stored is None else "is not of this layer, which has none"
        if not isinstance(stored, Tensor):
            return f"is of type {type(stored).__name__}, not a tensor"
        if stored.is_meta:
            return "is on the meta device: it cannot be compared"
        return self._difference(stored, own)

    def _difference(self, stored: Tensor, own: Tensor) -> str:
        """Return how a part of a state differs from this layer's, or "" if it does not."""
        where, stored = "", stored.to(own.device)
        floats = stored.is_floating_point() and own.is_floating_point()
        if stored.shape != own.shape:
            where = f"in shape, {tuple(stored.shape)} instead of {tuple(own.shape)}"
        elif stored.dtype != own.dtype and not floats:
            where = f"in type, {stored.dtype} instead of {own.dtype}"
        elif not _same_numbers(stored, own):
            kind = max(stored.dtype, own.dtype, key=_coarseness)
            n = int((stored.to(kind) != own.to(kind)).sum()) or own.numel()
            where = f"in {n} of {own.numel()} places"
        return where and f"differs {where}: the weights are of another network"


def _coarseness(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0


def _same_numbers(stored: Tensor, own: Tensor) -> bool:
    """Return whether numbers are equal, or one of them is the other in a lower precision."""
    if torch.equal(stored.to(own.dtype), own):
        return True
    kinds = (torch.float32, torch.float16, torch.bfloat16) if own.is_floating_point() else ()
    return any(torch.equal(stored.double(), own.to(kind).double()) for kind in kinds)
