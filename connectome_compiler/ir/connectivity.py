"""Which connections a projection has, as an edge list; see `laws` for those that need no list.

Both answer the same questions: which entries exist (`entries`), how many (`count`), and how it
prints (`describe`). Orientation is ``[post, pre]`` everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.records import fitted

Index = npt.NDArray[np.int32]
Values = npt.NDArray[np.int32] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Synapses:
    """An edge list: connection ``k`` runs from neuron ``pre[k]`` to neuron ``post[k]``.

    Sorted by ``post``, then ``pre``; every pair at most once. All arrays have shape
    ``(n_connections,)`` and are read-only.

    ``weight`` is an integer count where ``unit`` is "synapses", else a real number. ``size`` is the
    summed synapse size in the source's unit. ``sign`` is the sign of single connections (+1, -1, or
    0 where unknown); without it the sign of the presynaptic neuron applies.
    """

    post: Index
    pre: Index
    weight: Values
    unit: str = "synapses"
    size: npt.NDArray[np.float64] | None = None
    sign: npt.NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", fitted("synapses.unit", str, self.unit))
        counts = np.issubdtype(np.asarray(self.weight).dtype, np.integer)
        types: dict[str, Any] = {
            "post": np.int32,
            "pre": np.int32,
            "weight": np.int32 if counts else np.float64,
            "size": np.float64,
            "sign": np.int8,
        }
        for name, dtype in types.items():
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, _owned(name, values, dtype))

    @classmethod
    def from_edges(
        cls,
        post: npt.ArrayLike,
        pre: npt.ArrayLike,
        weight: npt.ArrayLike,
        *,
        unit: str = "synapses",
        size: npt.ArrayLike | None = None,
        sign: npt.ArrayLike | None = None,
    ) -> Synapses:
        """Sort edges given in any order. Repeated pairs are left for `Graph.verify` to refuse."""
        given = cls(post, pre, weight, unit, size, sign)  # type: ignore[arg-type]
        for name in ("pre", "weight", "size", "sign"):
            values = getattr(given, name)
            if values is not None and values.shape != given.post.shape:
                problem = f"shape {values.shape}, but post has {given.post.shape}"
                raise CompileError(f"synapses.{name}", problem, "one value per connection")
        return given.in_order()

    def in_order(self) -> Synapses:
        """Return the connections sorted by post, then pre."""
        return self._at(edge_order(self.post, self.pre))

    def keep(self, kept: npt.NDArray[np.bool_]) -> Synapses:
        """Return the connections where ``kept``, shape ``(n_connections,)``, is true."""
        if kept.dtype != np.bool_ or kept.shape != self.post.shape:
            problem = f"{kept.dtype} {kept.shape}, expected bool {self.post.shape}"
            raise CompileError("synapses.keep", problem)
        return self._at(kept)

    def _at(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Synapses:
        return Synapses(
            self.post[rows],
            self.pre[rows],
            self.weight[rows],
            self.unit,
            None if self.size is None else self.size[rows],
            None if self.sign is None else self.sign[rows],
        )

    def entries(self, n_post: int, n_pre: int) -> tuple[Index, Index]:
        """Return ``(post, pre)``, sorted by post, then pre."""
        return self.post, self.pre

    def count(self, n_post: int, n_pre: int) -> int:
        """Return the number of connections."""
        return len(self.post)

    def describe(self) -> str:
        """Return the number and the unit of the connections."""
        total = f"{self.weight.sum():,.0f} {self.unit}"
        return f"{len(self.post):,} connections, {total}"


def entries_ptr(post: npt.NDArray[Any], n_post: int) -> Index:
    """Return where the connections of each target begin, in edges sorted by post: ``(n + 1,)``."""
    ptr = np.zeros(n_post + 1, np.int32)
    np.cumsum(np.bincount(post, minlength=n_post), out=ptr[1:])
    return ptr


def edge_order(post: npt.NDArray[Any], pre: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the permutation that sorts edges by ``post``, then ``pre``; both within int32."""
    # One int64 key sorts several times faster than a two-column lexsort.
    width = int(pre.max(initial=0)) + 1
    key = post.astype(np.int64) * width + pre.astype(np.int64)
    return np.argsort(key, kind="stable")


def _owned(name: str, values: npt.ArrayLike, dtype: Any) -> npt.NDArray[Any]:
    """Return ``values`` as a read-only array that no other reference can write to."""
    given = np.asarray(values)
    if given.dtype == dtype and type(values) is np.ndarray and _frozen(values):
        return values
    if given.size:
        _must_fit(f"synapses.{name}", given, np.dtype(dtype))
    owned = np.array(given, dtype=dtype, order="C")
    owned.setflags(write=False)
    return owned


def _frozen(array: npt.NDArray[Any]) -> bool:
    """Whether neither ``array`` nor any array it is a view of is writeable."""
    base: Any = array
    while type(base) is np.ndarray and not base.flags.writeable:
        if base.base is None:
            return array.flags.c_contiguous
        base = base.base
    return False


def _must_fit(where: str, given: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Refuse what a cast would change silently: fractions, text, numbers out of range."""
    if given.dtype.kind not in ("iu" if dtype.kind == "i" else "biuf"):
        raise CompileError(where, f"holds {given.dtype}, expected {dtype}")
    if dtype.kind != "i" or given.dtype == dtype:
        return
    limits = np.iinfo(dtype)
    for extreme, at in ((given.min(), given.argmin()), (given.max(), given.argmax())):
        if not limits.min <= int(extreme) <= limits.max:
            raise CompileError(f"{where}, connection {at}", f"{extreme} does not fit {dtype}")
