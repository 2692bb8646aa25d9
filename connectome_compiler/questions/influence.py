"""How far the activity of some neurons spreads, in a linear model of the whole connectome.

After the ConnectomeInfluenceCalculator of the BANC consortium (Bates et al. 2025, bioRxiv
2025.07.31.667571; its README and version of 2026): ``tau dr/dt = -r + W r + s``, with the number of
synapses from j to i in ``W[i, j]``, scaled so that its largest real eigenvalue is 0.99, and s = 1
at the seeds; the influence is the steady state ``r = (1 - W)^-1 s``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.passes._digraph import weak_or_strong
from connectome_compiler.questions.answer import Answer
from connectome_compiler.questions.wiring import Floats, Numbers, Term, Wiring
from connectome_compiler.text import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LARGEST = 0.99  # real eigenvalue of W
SMALL = 1000  # neurons, up to which eigenvalues and solution are those of dense matrices
TOLERANCE = 1e-8  # of the solution's residual, relative to the seeds
PRECISION = 1e-5  # of the largest eigenvalue, relative
HINT = "ask with signs left out (signed=False, --unsigned), or of fewer neurons (graph.select)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Influence(Answer):
    """The steady state that constant activity of the ``seed`` neurons leads to.

    ``neurons`` has the ``influence`` on each, the largest magnitude first: in multiples of the
    drive of a seed, 0 if no path leads there. ``populations`` has its mean in each.
    ``eigenvalue`` is the largest real part of those of the weights before they were scaled.
    """

    seed: pa.Array  # ids
    signed: bool
    eigenvalue: float
    unit: str
    n_unknown: int  # connections of unknown sign
    neurons: pa.Table
    populations: pa.Table

    @property
    def headline(self) -> str:
        """From what, and over how many neurons, influence spreads."""
        called = ", ".join(map(str, self.seed[:4].to_pylist())) + ", ..." * (len(self.seed) > 4)
        n = int((self.neurons.column("influence").to_numpy() != 0).sum())
        kind = "signed" if self.signed else "unsigned"
        return (
            f"influence of {called} on {n:,} of {counted(self.neurons.num_rows, 'neuron')}, {kind}"
        )

    @property
    def tables(self) -> dict[str, pa.Table]:
        """Neurons and populations."""
        return {"neurons": self.neurons, "populations": self.populations}

    @property
    def notes(self) -> tuple[str, ...]:
        """The model, and what had to be assumed."""
        scaled = (
            f"their largest real eigenvalue, {self.eigenvalue:,.4g}, scaled to {LARGEST}"
            if self.eigenvalue > 0
            else "not scaled, as no eigenvalue is positive"
        )
        said = f"Steady state of tau dr/dt = -r + W r + s; W: {self.unit} of chemical connections, "
        unknown = f" {counted(self.n_unknown, 'connection')} of unknown sign count as excitatory."
        return (f"{said}{scaled}.{unknown * bool(self.signed and self.n_unknown)}",)


def influence(graph: Graph, seed: Term, signed: bool) -> Influence:
    """Return the influence of ``seed``; see `Graph.influence`."""
    wired = Wiring.of(graph)
    roll = wired.roll
    seeds = roll.find(seed)
    weight = np.where(wired.sign < 0, -wired.weight, wired.weight) if signed else wired.weight
    matrix = wired.matrix(weight)
    largest = largest_real_eigenvalue(matrix)
    if largest > 0:
        matrix = matrix * (LARGEST / largest)
    drive = np.zeros(roll.n)
    drive[seeds] = 1.0
    rates = _steady_state(matrix, drive)
    order = np.argsort(-np.abs(rates), kind="stable")
    neurons = pa.table(
        {
            **roll.described(order),
            "influence": rates[order],
            "seed": pa.array(drive[order] > 0),
        }
    )
    unknown = int((wired.sign == 0).sum())
    populations = _populations(wired, rates, drive > 0)
    return Influence(roll.ids(seeds), signed, largest, wired.unit, unknown, neurons, populations)


def _populations(
    wired: Wiring, rates: Floats, seeds: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> pa.Table:
    rows = []
    roll = wired.roll
    for p, first, last in zip(roll.populations, roll.first, roll.first[1:], strict=False):
        others = rates[first:last][~seeds[first:last]]
        if len(others):
            mean, size = float(others.mean()), float(np.abs(others).mean())
            rows.append((p.name, len(others), mean, size, int((others != 0).sum())))
    rows.sort(key=lambda row: -row[3])
    names = ("population", "neurons", "mean", "mean_magnitude", "reached")
    kinds = (pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.int64())
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table(
        {name: pa.array(c, kind) for name, c, kind in zip(names, columns, kinds, strict=True)}
    )


def largest_real_eigenvalue(matrix: csr_array) -> float:
    """Return the largest real part of the eigenvalues of a sparse matrix; 0 if it has no cycle.

    Only neurons on cycles have eigenvalues other than zero, so the rest is left out.
    """
    cyclic = _on_cycles(matrix)
    inner = matrix[cyclic][:, cyclic]
    n = inner.shape[0]
    if n == 0:
        return 0.0
    if n <= SMALL:
        largest = float(np.linalg.eigvals(inner.toarray()).real.max())
    else:
        largest = _by_iteration(inner)
    return max(largest, 0.0) if n < matrix.shape[0] else largest


def _by_iteration(matrix: csr_array) -> float:
    """Return the largest real part of the eigenvalues of a large matrix."""
    from scipy.sparse.linalg import ArpackNoConvergence, eigs

    start = np.random.default_rng(0).random(matrix.shape[0])
    how: dict[str, Any] = {"ncv": 60, "tol": PRECISION, "maxiter": 200}
    try:
        found = eigs(matrix, k=1, which="LR", v0=start, return_eigenvectors=False, **how)
    except ArpackNoConvergence as error:
        raise CompileError("influence", "the largest eigenvalue was not found", HINT) from error
    return float(found[0].real)


def _on_cycles(matrix: csr_array) -> Numbers:
    """Return the neurons that a path leads back to."""
    post, pre = matrix.nonzero()
    n, label = weak_or_strong(matrix.shape[0], pre, post, "strong")
    several = np.bincount(label, minlength=n) > 1
    on_cycle = several[label]
    on_cycle[post[post == pre]] = True
    return np.flatnonzero(on_cycle)


def _steady_state(matrix: csr_array, drive: Floats) -> Floats:
    """Solve ``(1 - W) r = s``, for the neurons alone that any path reaches from the seeds."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import gmres

    members = _reached(matrix, np.flatnonzero(drive))
    inner, wanted = matrix[members][:, members], drive[members]
    system = eye_array(len(members), format="csr") - inner
    if len(members) <= SMALL:
        found = np.linalg.solve(system.toarray(), wanted)
    else:
        found, failed = gmres(system, wanted, rtol=TOLERANCE, atol=0.0, restart=80, maxiter=40)
        if failed:
            raise CompileError("influence", "the steady state was not found", HINT)
    rates = np.zeros(len(drive))
    rates[members] = found
    return rates


def _reached(matrix: csr_array, seeds: Numbers) -> Numbers:
    """Return the neurons that a path leads to from any seed, and the seeds, in ascending order."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    n = matrix.shape[0]
    post, pre = matrix.nonzero()
    start, ends = np.append(pre, np.full(len(seeds), n)), np.append(post, seeds)
    outward = csr_array((np.ones(len(ends), np.int8), (start, ends)), (n + 1, n + 1))
    found = breadth_first_order(outward, n, return_predecessors=False)  # n is joined to all seeds
    return np.sort(found[found != n])
