"""Layers of connections that share their weights: by cell type, by kernel, both ways."""

from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.signs import start_as_sizes


class TiedEdgeLinear(EdgeLinear):
    """`EdgeLinear` whose connections share weights: ``weight[group[k]] * scale[k]`` acts at ``k``.

    ``group`` is the index of each connection's weight, int, ``(n_connections,)``; ``scale`` its
    factor, such as its number of synapses, 1 by default, never negative. Signs are those of the
    connections. ``start`` gives the weights to start from, ``(n_groups,)``; ``weight`` makes the
    layer use a parameter that another layer has.
    """

    weight: nn.Parameter  # (n_groups,), before scale and sign are applied
    group: Tensor  # int32, (n_connections,)
    scale: Tensor | None  # float, (n_connections,)

    structure = ("ptr", "pre", "sign", "group", "scale")

    def __init__(
        self,
        n_pre: int,
        ptr: Tensor,
        pre: Tensor,
        group: Tensor,
        *,
        scale: Tensor | None = None,
        sign: Tensor | int = 0,
        kernel: str = "edges",
        start: Tensor | None = None,
        weight: nn.Parameter | None = None,
    ) -> None:
        nothing = torch.zeros(pre.numel(), device=ptr.device)
        super().__init__(n_pre, ptr, pre, sign=sign, kernel=kernel, start=nothing)
        if group.shape != pre.shape or (scale is not None and scale.shape != pre.shape):
            raise ValueError(f"group and scale must have a value for each of {pre.numel()}")
        if group.numel() and int(group.min()) < 0:
            raise ValueError("group must not be negative")
        if scale is not None and not bool((scale >= 0).all()):
            raise ValueError("scale must not be negative")
        n_groups = int(group.max()) + 1 if group.numel() else 0
        scale = None if scale is None else scale.to(self.weight.dtype)
        self.hold(self.weight.device, group=group.int(), scale=scale)
        if weight is None:
            self.weight = nn.Parameter(self.weight.detach().new_empty(n_groups))
            if start is None:
                self.reset_parameters()
            elif start.shape != self.weight.shape:
                raise ValueError(f"start is {tuple(start.shape)}, not {tuple(self.weight.shape)}")
            else:
                with torch.no_grad():
                    self.weight.copy_(start)
        elif weight.numel() < n_groups:
            raise ValueError(f"weight has {weight.numel()} numbers for {n_groups} groups")
        else:
            self.weight = weight

    def reset_parameters(self) -> None:
        """Draw weights uniformly, so that drives vary as they do with weights of their own.

        A weight starts at 0 or above where all connections that share it have a sign.
        """
        degree, scale = self.kept["ptr"].diff(), self.kept["scale"]
        strength = degree if scale is None else scale.square()
        total = strength.sum() / max(1, int((degree > 0).sum()))
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_(total.clamp(min=1e-12).rsqrt())
            free = (self.sign == 0).expand(self.group.shape).to(self.weight.dtype)
            any_free = torch.zeros_like(self.weight).index_add(0, self.group, free)
            start_as_sizes(self.weight, 1 - any_free.clamp(max=1))

    def effective_weight(self) -> Tensor:
        """Return the weights that act, ``(n_connections,)``; differentiable."""
        self.join(self.weight)
        weight = self.weight.index_select(0, self.group)
        if self.scale is not None:
            weight = weight * self.scale
        return self._signed(weight)

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer."""
        return f"{super().extra_repr()}, n_weights={self.weight.numel()}"


class GapJunctions(TiedEdgeLinear):
    """Electrical connections: symmetric, with conductances ``|weight|`` that no update can flip.

    Both directions of a junction are in the list, and share a weight. ``forward`` gives the current
    that flows in, ``sum over j of g[i, j] * x[j]``; the units subtract the current that flows out.
    Conductances are drawn so that those of a neuron add up to at most 1, the leak's.
    """

    kind = "electrical"

    def __init__(
        self,
        n_pre: int,
        ptr: Tensor,
        pre: Tensor,
        group: Tensor,
        *,
        scale: Tensor | None = None,
        kernel: str = "edges",
        start: Tensor | None = None,
        weight: nn.Parameter | None = None,
    ) -> None:
        options: dict[str, Any] = {"kernel": kernel, "start": start, "weight": weight}
        super().__init__(n_pre, ptr, pre, group, scale=scale, sign=1, **options)

    def reset_parameters(self) -> None:
        """Draw conductances from 0 to 1, over the most junctions that any of its neurons has."""
        strength = self.strengths()
        post = torch.arange(self.n_post, device=self.ptr.device)
        post = post.repeat_interleave(self.ptr.diff(), output_size=self.pre.numel())
        pre = self.pre.long()
        received, sent = strength.new_zeros(self.n_post), strength.new_zeros(self.n_pre)
        received, sent = received.index_add(0, post, strength), sent.index_add(0, pre, strength)
        self.draw(self.group.long(), torch.maximum(received[post], sent[pre]))

    def strengths(self) -> Tensor:
        """Return what each junction counts, ``(n_connections,)``: its ``scale``, or 1."""
        if self.scale is not None:
            return self.scale
        return torch.ones_like(self.pre, dtype=self.weight.dtype)

    def draw(self, group: Tensor, total: Tensor) -> None:
        """Draw weights from 0 to 1, each over the largest ``total`` of those of its ``group``."""
        most = torch.zeros_like(self.weight, requires_grad=False)
        most.scatter_reduce_(0, group, total, "amax")
        with torch.no_grad():
            self.weight.uniform_().div_(most.clamp(min=1e-12))
