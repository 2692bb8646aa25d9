"""Neurons on a ring, and the law by which they are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph, Population, Projection, Provenance, neuron_table
from connectome_compiler.ir.connectivity import Index
from connectome_compiler.ir.laws import Law


@dataclass(frozen=True, slots=True)
class Near(Law):
    """A law: neurons at most ``radius`` places apart on a ring, but not a neuron and itself."""

    radius: int

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return ``(post, pre)`` of all connections, sorted by post, then pre."""
        places = np.delete(np.arange(-self.radius, self.radius + 1), self.radius)
        pre = np.sort((np.arange(n_post)[:, None] + places) % n_pre)
        post = np.arange(n_post).repeat(len(places))
        return post.astype(np.int32), pre.ravel().astype(np.int32)

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of connections."""
        return n_post * 2 * self.radius

    def describe(self) -> str:
        """Return a few words for summaries."""
        return f"within {self.radius} places on a ring"


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring of ``n_neurons``, every third one inhibitory, joined up to ``radius`` places away."""

    name: ClassVar[str] = "ring"

    n_neurons: int = 64  #: neurons on the ring
    radius: int = 3  #: places from a neuron to the farthest that it is joined to

    def __post_init__(self) -> None:
        if not 0 < 2 * self.radius < self.n_neurons:
            problem = f"a ring of {self.n_neurons} neurons does not hold a radius of {self.radius}"
            raise CompileError(self.name, problem, "use a smaller radius, above 0")

    def load(self) -> Graph:
        """Return the graph."""
        n = self.n_neurons
        table = neuron_table(
            {
                "neuron_id": [f"N{k}" for k in range(n)],
                "sign": [-1 if k % 3 == 2 else 1 for k in range(n)],
            }
        )
        origin = Provenance(
            self.name,
            "1",
            "A ring of neurons",
            Evidence.MODELLED,
            made=f"each neuron was joined to all at most {self.radius} places away",
        )
        neurons = Population("neurons", (n,), table)
        return Graph((neurons,), (Projection("neurons", "neurons", Near(self.radius)),), origin)
