"""The arrays of an emitted module: inside its source where small, beside it where not."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import save

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import entries_ptr
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.lower import Lowered

# Up to here a one-file model stays under about 100 kB (measured: performance notes in docs/).
MOST_INLINE_EDGES = 16_000
LINE = 96  # characters of base64 per line


@dataclass(frozen=True, slots=True)
class Packed:
    """Arrays as safetensors bytes: the same bytes for the same arrays."""

    data: bytes
    sha256: str
    inline: str  # base64 of the deflated bytes, in lines; empty where a file is better


Arrays = dict[str, np.ndarray[Any, Any]]


def pack(arrays: Arrays, n_edges: int) -> Packed:
    """Pack ``arrays``, by name; ``n_edges`` decides whether they go inside the source."""
    data = save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})
    inline = ""
    if n_edges <= MOST_INLINE_EDGES:
        text = base64.b64encode(zlib.compress(data, 9)).decode("ascii")
        inline = "\n".join(text[k : k + LINE] for k in range(0, len(text), LINE))
    return Packed(data, hashlib.sha256(data).hexdigest(), inline)


def edge_arrays(lowered: Lowered) -> Arrays:
    """Return what layers need of each projection: rows and sources, and what not all share.

    These are signs that differ, which connections share a weight, by what they multiply it, and
    where weights start.
    """
    arrays: Arrays = {}
    for key, e in lowered.edges.items():
        held = {
            "ptr": entries_ptr(e.post, e.n_post),
            "pre": e.pre.astype(np.int32, copy=False),
            "sign": e.enforced if e.sign is None else None,
            "group": e.group,
            "scale": e.scale,
            "start": e.start,
        }
        arrays |= {f"{key}.{part}": a for part, a in held.items() if a is not None}
    return arrays


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How many synapses each connection has, by projection, where modules are to hold it."""

    of_each: Arrays

    @classmethod
    def of(cls, lowered: Lowered, kept: bool) -> Counts:
        """Return those of a graph; raise `CompileError` if it has numbers of another kind."""
        counts: Arrays = {}
        for key, e in lowered.edges.items() if kept else ():
            synapses = e.projection.synapses
            counts[key] = synapses.weight.astype(np.int32)
            if (counts[key] != synapses.weight).any() or (counts[key] < 0).any():
                problem = f"its connections have numbers that are not counts ({synapses.unit})"
                raise CompileError(
                    f"projection {key}", problem, "leave counts out of template.keep"
                )
        return cls(counts)

    def stated(self) -> dict[str, dict[str, str]]:
        """Return the hash of each projection's counts, if there are any."""
        hashes = {key: array_digest(count) for key, count in self.of_each.items()}
        return {"counts": hashes} if hashes else {}

    def arrays(self) -> Arrays:
        """Return the arrays as modules store them."""
        return {f"{key}.count": count for key, count in self.of_each.items()}
