"""How often three neurons are joined in each way, against random connectomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.options import configure
from connectome_compiler.passes.null_model import NullModel
from connectome_compiler.questions.answer import Answer
from connectome_compiler.questions.wiring import Wiring, must_join_neurons
from connectome_compiler.text import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MOST_PRODUCTS = 20_000_000  # of two connections at once, about 500 MB
# The names of Holland & Leinhardt 1976 (Sociol. Methodol. 7:1): pairs that are joined both ways,
# one way, and not; and which way they point.
TRIADS = {
    "021D": "A <- B -> C",
    "021U": "A -> B <- C",
    "021C": "A -> B -> C",
    "111D": "A <-> B <- C",
    "111U": "A <-> B -> C",
    "030T": "A -> B -> C, A -> C: feed-forward loop",
    "030C": "A -> B -> C -> A: cycle",
    "201": "A <-> B <-> C",
    "120D": "A <- B -> C, A <-> C",
    "120U": "A -> B <- C, A <-> C",
    "120C": "A -> B -> C, A <-> C",
    "210": "A <-> B <-> C, A -> C",
    "300": "A <-> B <-> C <-> A",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Motifs(Answer):
    """How often each motif occurs, and how often in ``nulls`` random connectomes.

    ``counts`` has a row for "reciprocity" (the share of connections that are answered), for
    "mutual" (pairs of neurons joined both ways) and for each kind of three connected neurons: its
    number, and of the random ones the mean, the standard deviation, and how many of these lie
    between.
    """

    n_neurons: int
    n_connections: int  # chemical, autapses left out
    model: str
    nulls: int
    seed: int
    counts: pa.Table

    @property
    def headline(self) -> str:
        """Of what motifs were counted."""
        return (
            f"motifs of {counted(self.n_connections, 'chemical connection')} between "
            f"{counted(self.n_neurons, 'neuron')}"
        )

    @property
    def tables(self) -> dict[str, pa.Table]:
        """All counts."""
        return {"motifs": self.counts}

    @property
    def notes(self) -> tuple[str, ...]:
        """With what the counts are compared."""
        said = "Three neurons count once, by all connections among them; autapses are left out."
        if not self.nulls:
            return (f"{said} Compared with no null model.",)
        seeds = f"seeds {self.seed} to {self.seed + self.nulls - 1}"
        model = f"{counted(self.nulls, 'null model')} {self.model!r}, {seeds}"
        return (f"{said} Compared with {model}; z is (count - mean) / sd.",)


def motifs(graph: Graph, nulls: int, model: str, seed: int, say: Callable[[str], None]) -> Motifs:
    """Count motifs, also in ``nulls`` random connectomes; see `Graph.motifs`."""
    if nulls < 0 or nulls == 1:
        raise CompileError("motifs.nulls", f"must be 0, or at least 2, not {nulls}")
    if nulls and model == "none":
        raise CompileError("motifs.model", "none: changes nothing", "for example degrees")
    chemical = graph.with_projections([q for q in graph.connectome if q.kind == "chemical"])
    for q in chemical.projections:
        must_join_neurons(q)
    wired = Wiring.of(chemical)
    found = dict(_census(wired))
    random = []
    for k in range(nulls):
        say(f"counting motifs: null model {k + 1} of {nulls}")
        drawn = configure("motifs", NullModel, {"model": model, "null_seed": seed + k})(chemical)
        random.append(list(dict(_census(Wiring.of(drawn))).values()))
    columns = {
        "motif": list(found),
        "joined": ["answered connections", "A <-> B", *TRIADS.values()],
        "count": list(found.values()),
    }
    table = pa.table(columns)
    if nulls:
        mean, sd = np.mean(random, axis=0), np.std(random, axis=0, ddof=1)
        apart = np.array(columns["count"], np.float64) - mean
        z = np.divide(apart, sd, out=np.full_like(sd, np.nan), where=sd > 0)
        for name, values in (("mean", mean), ("sd", sd), ("z", z)):
            table = table.append_column(name, pa.array(values, from_pandas=True))
    n = int((wired.post != wired.pre).sum())
    return Motifs(wired.roll.n, n, model, nulls, seed, table)


def _census(wired: Wiring) -> Iterator[tuple[str, float]]:
    """Yield reciprocity, mutual pairs and the 13 kinds of connected triads, by sparse products.

    Triads in which all three pairs are joined are sums of masked products; the others follow from
    degrees, which count these as well.
    """
    apart = wired.keep(wired.post != wired.pre)
    all_of_them = apart.matrix(np.ones(len(apart.post)))  # [post, pre]
    mutual = all_of_them.multiply(all_of_them.T).tocsr()
    one_way = (all_of_them - mutual).tocsr()
    one_way.eliminate_zeros()
    back = one_way.T.tocsr()
    n_mutual = mutual.nnz / 2
    yield "reciprocity", mutual.nnz / max(all_of_them.nnz, 1)
    yield "mutual", n_mutual
    closed = {
        "030T": _closed(one_way, one_way, one_way),
        "030C": _closed(one_way, one_way, back) / 3,
        "120D": _closed(one_way, back, mutual) / 2,
        "120U": _closed(back, one_way, mutual) / 2,
        "120C": _closed(one_way, one_way, mutual),
        "210": _closed(mutual, mutual, one_way),
        "300": _closed(mutual, mutual, mutual) / 6,
    }
    n_in, n_out, m = (
        part.sum(axis=axis) for part, axis in ((one_way, 1), (one_way, 0), (mutual, 0))
    )
    t = closed
    shared = t["120C"] + t["210"]
    open_ones = {
        "021D": _pairs(n_out) - t["030T"] - t["120D"],
        "021U": _pairs(n_in) - t["030T"] - t["120U"],
        "021C": float(n_in @ n_out) - t["030T"] - 3 * t["030C"] - t["120C"],
        "111D": float(m @ n_in) - 2 * t["120D"] - shared,
        "111U": float(m @ n_out) - 2 * t["120U"] - shared,
        "201": _pairs(m) - t["210"] - 3 * t["300"],
    }
    both = {**closed, **open_ones}
    yield from ((name, both[name]) for name in TRIADS)


def _pairs(degree: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float((degree * (degree - 1)).sum() / 2)


def _closed(one: csr_array, other: csr_array, mask: csr_array) -> float:
    """Return the sum of ``(one @ other) * mask``, in blocks of rows that fit into memory."""
    rows_cost = one @ np.diff(other.indptr).astype(np.float64)
    rows_cost[np.diff(mask.indptr) == 0] = 0.0  # masked rows are left out
    block = (np.cumsum(rows_cost) // MOST_PRODUCTS).astype(np.int64)
    total = 0.0
    for rows in np.split(np.arange(len(block)), np.flatnonzero(np.diff(block)) + 1):
        rows = rows[rows_cost[rows] > 0]
        if len(rows):
            total += float((one[rows] @ other).multiply(mask[rows]).sum())
    return total
