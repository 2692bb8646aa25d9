"""Algorithms on directed graphs given as arrays: neurons ``0..n-1``, connections ``pre -> post``.

There are no loops over neurons or connections: whole fronts are processed at once.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError

Ints = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.intp]
BATCH = 200  # one is placed at a time once so few neurons are left; fewer: faster, and worse
DECIMALS = 6  # of the signal flow: the last bits of sums differ between machines
SMALL = 1000  # neurons, up to which a dense system is solved if iterations fail


def strong_components(
    n: int, pre: Ints, post: Ints
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the component of each neuron, shape ``(n,)``, and the level of each component.

    In a strongly connected component every neuron reaches every other. A component's level is the
    length of the longest chain of components that leads to it: it grows along every connection
    between components. Components are numbered by level, then by their first neuron.
    """
    k, label = weak_or_strong(n, pre, post, "strong")
    between = label[pre] != label[post]
    level = levels(k, label[pre[between]], label[post[between]])
    along = np.argsort(level, kind="stable")
    number = np.empty(k, np.int32)
    number[along] = np.arange(k)
    return number[label], level[along]


def weak_or_strong(
    n: int, pre: Ints, post: Ints, connection: Literal["weak", "strong"]
) -> tuple[int, npt.NDArray[np.int32]]:
    """Return the number of components and each neuron's, numbered by their first neuron."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if n == 0:
        return 0, np.zeros(0, np.int32)
    matrix = csr_array((np.ones(len(pre), np.int8), (post, pre)), (n, n))
    k, label = connected_components(matrix, directed=True, connection=connection)
    _, first = np.unique(label, return_index=True)
    number = np.empty(k, np.int32)
    number[np.argsort(first)] = np.arange(k)
    return int(k), number[label]


def levels(n: int, pre: Ints, post: Ints) -> npt.NDArray[np.int32]:
    """Return the length of the longest path that leads to each node of an acyclic graph."""
    targets = _Neighbours(n, pre, post)
    waiting = np.bincount(post, minlength=n)
    level = np.zeros(n, np.int32)
    ready = np.flatnonzero(waiting == 0)
    depth = 0
    while len(ready):
        level[ready] = depth
        depth += 1
        reached = targets.of(ready)
        np.subtract.at(waiting, reached, 1)
        ready = np.unique(reached[waiting[reached] == 0])
    return level


def feedback_order(n: int, pre: Ints, post: Ints) -> Places:
    """Return each neuron's position in an order with few connections running back; no autapses.

    The greedy heuristic of Eades, Lin & Smyth 1993 (Inf. Process. Lett. 47:319), taken in batches:
    sources go to the front and sinks to the back; where there are none, the neurons whose outputs
    most outnumber their inputs go to the front, and those of the reverse kind to the back. Batches
    are a `BATCH`-th of the remaining neurons, one neuron when few remain. Ties go to the lower
    index. Of a reciprocal pair one connection runs back in any order: such pairs are left out
    first.
    """
    from scipy.sparse import csr_array

    all_of_them = csr_array((np.ones(len(pre), np.int8), (pre, post)), (n, n))
    pre, post = (all_of_them > all_of_them.T).nonzero()
    targets, sources = _Neighbours(n, pre, post), _Neighbours(n, post, pre)
    n_out, n_in = targets.degree(), sources.degree()
    alive = np.ones(n, np.bool_)
    left = np.arange(n)
    front, back = [], []
    first, last = np.flatnonzero((n_in == 0) & (n_out > 0)), np.flatnonzero(n_out == 0)
    while len(left):
        while len(first) or len(last):
            front.append(first)
            back.append(last)
            gone = np.concatenate([first, last])
            alive[gone] = False
            fewer_in, fewer_out = targets.of(gone), sources.of(gone)
            np.subtract.at(n_in, fewer_in, 1)
            np.subtract.at(n_out, fewer_out, 1)
            last = np.unique(fewer_out[alive[fewer_out] & (n_out[fewer_out] == 0)])
            start = alive[fewer_in] & (n_in[fewer_in] == 0) & (n_out[fewer_in] > 0)
            first = np.unique(fewer_in[start])
        left = left[alive[left]]
        surplus = n_out[left] - n_in[left]
        batch = len(left) // BATCH
        if batch > 1:
            first, last = left[_largest(surplus, batch)], left[_largest(-surplus, batch)]
        if len(left) and not len(first) and not len(last):
            high, low = surplus.argmax(), surplus.argmin()
            if surplus[high] >= -surplus[low]:
                first = left[[high]]
            else:
                last = left[[low]]
    return inverse(np.concatenate([*front, *(b[::-1] for b in reversed(back)), left]))


def sifted(n: int, pre: Ints, post: Ints, position: Places, sweeps: int) -> Places:
    """Return an order with as many connections running back, or fewer; no autapses.

    In each sweep the neurons that gain most move to their best position given that all others
    stay: at first half of those that gain, fewer if that many interfere with each other. Ends when
    no single move helps, or after ``sweeps`` sweeps.
    """
    fewest = (position[pre] > position[post]).sum()
    share = 0.5
    for _ in range(sweeps):
        gain, target = _best_places(n, pre, post, position)
        able = np.flatnonzero(gain > 0)
        if not len(able):
            break
        able = able[np.argsort(-gain[able], kind="stable")]
        while True:
            moved = able[: max(int(len(able) * share), 1)]
            key = position.astype(np.float64)
            key[moved] = target[moved]
            trial = inverse(np.argsort(key, kind="stable"))
            back = (trial[pre] > trial[post]).sum()
            if back < fewest:  # always true for a single move
                break
            share /= 2
        position, fewest, share = trial, back, min(share * 1.5, 0.5)
    return position


def _best_places(
    n: int, pre: Ints, post: Ints, position: Places
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return what each neuron gains by moving alone, in connections, and its best position."""
    from scipy.sparse import coo_array

    # Column v lists the neighbours of v from front to back: +1 if v must come before, -1 if after.
    # A reciprocal pair adds up to 0: one of the two runs back wherever v is.
    step = np.repeat(np.array([1, -1], np.int8), len(pre))
    ends = (position[np.concatenate([post, pre])], np.concatenate([pre, post]))
    by_column = coo_array((step, ends), (n, n)).tocsr().tocsc()
    start, place = by_column.indptr, by_column.indices
    own = np.repeat(np.arange(n), np.diff(start))
    total = np.concatenate([[0], np.cumsum(by_column.data, dtype=np.int32)])
    cost = total[1:] - total[start[own]]  # of the position right behind a neighbour; 0 at the front
    now = np.zeros(n, np.int64)
    before = place < position[own]
    np.add.at(now, own[before], by_column.data[before])
    best = np.zeros(n, np.int64)
    np.minimum.at(best, own, cost)
    target = np.full(n, -0.5)
    there = np.flatnonzero((cost == best[own]) & (cost < 0))[::-1]
    target[own[there]] = place[there] + 0.5  # of equally good positions, the first is written last
    return now - best, target


def inverse(order: Ints) -> Places:
    """Return the inverse of a permutation."""
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    return place


def signal_flow(n: int, pre: Ints, post: Ints, weight: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return how far upstream each neuron is, shape ``(n,)``: large near the input.

    The continuous hierarchy of Carmel, Harel & Koren 2004 (IEEE Trans. Vis. Comput. Graph. 10:46),
    as Varshney et al. 2011 (PLoS Comput. Biol. 7:e1001066) use it on the worm. With ``w_ij`` half
    the weight between ``i`` and ``j`` in both directions, it minimises ``sum w_ij (v_i - v_j -
    s_ij)^2``, ``s_ij`` being +1 if more runs from ``i`` to ``j``, -1 if less, 0 if the same: a
    Laplacian system. The mean is 0 in each connected component. Absolute values of weights are
    used. Rounded to `DECIMALS` decimals.
    """
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import cg

    if n == 0:
        return np.zeros(0)
    forth = csr_array((np.abs(weight).astype(np.float64), (pre, post)), (n, n))
    both = (forth + forth.T) / 2
    step = (forth - forth.T).sign().multiply(both)
    degree = both.sum(axis=1)
    laplacian = csr_array(diags_array(degree) - both)
    scale = diags_array(1 / np.where(degree > 0, degree, 1.0))
    flow, missed = cg(laplacian, step.sum(axis=1), rtol=1e-10, maxiter=10 * n + 100, M=scale)
    if missed and n <= SMALL:  # weights of very different sizes
        flow = np.linalg.lstsq(laplacian.toarray(), step.sum(axis=1), rcond=None)[0]
    elif missed:
        raise CompileError("signal flow", f"did not converge in {missed:,} steps")
    joined = weight != 0
    k, part = weak_or_strong(n, pre[joined], post[joined], "weak")
    mean = np.bincount(part, flow, k) / np.bincount(part, minlength=k)
    return np.asarray(np.round(flow - mean[part], DECIMALS) + 0.0)  # no negative zero


def in_core(n: int, ends: list[tuple[Ints, Ints]], k: int) -> npt.NDArray[np.bool_]:
    """Return which neurons are in the k-core, shape ``(n,)``: the largest set of degree ``k``.

    Within it, each neuron has degree ``k`` or more. Each pair of arrays in ``ends`` lists, by
    connection, a neuron whose degree it raises, and the neuron at the other end.
    """
    who = np.concatenate([a for a, _ in ends])
    degree = np.bincount(who, minlength=n)
    counted_by = _Neighbours(n, np.concatenate([b for _, b in ends]), who)
    alive = np.ones(n, np.bool_)
    gone = np.flatnonzero(degree < k)
    while len(gone):
        alive[gone] = False
        fewer = counted_by.of(gone)
        np.subtract.at(degree, fewer, 1)
        gone = np.unique(fewer[alive[fewer] & (degree[fewer] < k)])
    return alive


class _Neighbours:
    """The entries of ``column`` by row, in compressed rows."""

    def __init__(self, n: int, row: Ints, column: Ints) -> None:
        from scipy.sparse import coo_array

        # A matrix of row by connection, compressed: a counting sort, and repeated pairs stay apart.
        m = len(row)
        ends = (row, np.arange(m, dtype=np.int32))
        by_row = coo_array((np.ones(m, np.int8), ends), (n, m)).tocsr()
        self.column, self.start = column[by_row.indices], by_row.indptr.astype(np.intp)

    def degree(self) -> Places:
        return np.diff(self.start)

    def of(self, rows: Places) -> Ints:
        """Return the entries of some rows, concatenated."""
        start = self.start[rows]
        count = self.start[rows + 1] - start
        skip = np.repeat(start - np.cumsum(count) + count, count)
        found: Ints = self.column[skip + np.arange(len(skip))]
        return found


def _largest(values: Ints, k: int) -> Places:
    """Return the indices of the ``k`` largest values above 0, descending; ties in order."""
    # argpartition would be shorter, but its choice among equal values differs between machines.
    least = max(np.partition(values, -k)[-k], 1)
    above = np.flatnonzero(values > least)
    above = above[np.argsort(-values[above], kind="stable")]
    return np.concatenate([above, np.flatnonzero(values == least)[: k - len(above)]])
