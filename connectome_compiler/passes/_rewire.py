"""Random wirings that preserve what a null model promises, for one projection.

Every function takes the ends of the connections and returns new ones: connection ``k`` moves, and
its attributes (weight, size) move with it. No pair occurs twice, and there are no autapses. There
are no loops over connections and no arrays over all pairs of neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from connectome_compiler.ir.connectivity import Index

Numbers = npt.NDArray[np.int64]
Positions = npt.NDArray[np.float64]  # in um, (n_neurons, 3)
Ends = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # (post, pre), each (n_connections,)

BATCH = 1 << 18  # pairs drawn at once: their positions fit in the cache
TRIES = 32  # pairs drawn per connection before rare bins are enumerated
FEWEST_TRIES = 1_000_000
CHUNK = 128  # presynaptic neurons whose partners are enumerated at once


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The pairs of neurons that the connections of one projection may join.

    ``post`` and ``pre`` are the indices of eligible neurons. ``within``: both are of the same
    population, and autapses are excluded. ``mutual``: (i, j) and (j, i) are the same junction.
    """

    post: Index
    pre: Index
    n_pre: int  # of the whole population
    within: bool
    mutual: bool

    def key(self, post: npt.NDArray[Any], pre: npt.NDArray[Any]) -> Numbers:
        """Return a unique number for each pair."""
        if self.mutual:
            post, pre = np.maximum(post, pre), np.minimum(post, pre)
        key: Numbers = post.astype(np.int64) * self.n_pre + pre
        return key

    def ends(self, key: Numbers) -> Ends:
        """Invert `key`; for a junction, the end with the higher index is ``post``."""
        post, pre = np.divmod(key, max(self.n_pre, 1))
        return post.astype(np.int32), pre.astype(np.int32)

    def allowed(self, post: npt.NDArray[Any], pre: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which pairs join two different neurons."""
        two: npt.NDArray[np.bool_] = (post != pre) | (not self.within)
        return two


def swap_ends(
    pairs: Pairs, post: Index, pre: Index, swaps: float, rng: np.random.Generator
) -> Ends:
    """Let pairs of connections exchange their postsynaptic ends: all degrees are preserved.

    ``swaps`` are proposed per connection, after Maslov & Sneppen 2002 (Science 296:910), but many
    at once: in a round, connections are paired at random, and a pair exchanges ends if the four
    pairs of neurons involved (two old, two new) belong to no other connection or proposal. A
    round and its reverse are then equally probable, so the chain samples all reachable wirings
    uniformly. Unreachable are wirings that differ only in the direction of 3-cycles that no other
    connection can open (Rao et al. 1996, Sankhya A 58:225).
    """
    post, pre = post.copy(), pre.copy()
    n = len(post)
    if n < 2:
        return post, pre
    every = np.arange(n, dtype=np.int32)
    density = n * (1 + pairs.mutual) / (len(pairs.post) * len(pairs.pre))
    # The fraction that is paired: proposals must not block each other, and some rounds must leave
    # connections out, or two connections would always exchange.
    share = (1 - 1 / n) / (1 + 4 * density)
    rounds = ceil(2 * swaps / share)
    share = 2 * swaps / rounds
    for _ in range(rounds):
        if pairs.mutual:  # a junction has no direction: either end may go
            turned = rng.random(n) < 0.5
            post, pre = np.where(turned, pre, post), np.where(turned, post, pre)
        order = rng.permutation(every)
        half = rng.binomial(n // 2, share)
        a, b = order[:half], order[half : 2 * half]
        post_a, post_b, pre_a, pre_b = post[a], post[b], pre[a], pre[b]
        new_a, new_b = pairs.key(post_b, pre_a), pairs.key(post_a, pre_b)
        alone = _alone(np.concatenate([pairs.key(post, pre), new_a, new_b]))
        able = alone[a] & alone[b] & alone[n : n + half] & alone[n + half :]
        able &= pairs.allowed(post_b, pre_a) & pairs.allowed(post_a, pre_b)
        post[a[able]], post[b[able]] = post_b[able], post_a[able]
    return post, pre


def scatter(
    pairs: Pairs,
    post: Index,
    pre: Index,
    group_post: npt.NDArray[np.intp],
    group_pre: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> Ends:
    """Redraw pairs, uniformly among those that join the same two groups.

    ``group_post`` and ``group_pre`` are the group indices of all neurons of both populations.
    """
    if pairs.mutual:  # the end in the higher group first, so that a pair of groups is one block
        turned = group_post[post] < group_pre[pre]
        post, pre = np.where(turned, pre, post), np.where(turned, post, pre)
    rows, columns = _Groups.of(pairs.post, group_post), _Groups.of(pairs.pre, group_pre)
    n_columns = len(columns.size)
    block = group_post[post] * n_columns + group_pre[pre]
    blocks, which, wanted = np.unique(block, return_inverse=True, return_counts=True)
    row, column = np.divmod(blocks, n_columns)
    room = rows.size[row] * columns.size[column]
    if pairs.within:
        same = row == column
        room -= np.where(same, np.minimum(rows.size[row], columns.size[column]), 0)
        room //= np.where(same & pairs.mutual, 2, 1)
    full = 2 * wanted > room  # where a drawn pair would often be taken already

    def draw(k: Numbers) -> Numbers:
        """Return a random pair in the block of each connection ``k``, -1 where it is not valid."""
        b = which[k]
        i, j = rows.draw(row[b], rng), columns.draw(column[b], rng)
        return np.where(pairs.allowed(i, j), pairs.key(i, j), -1)

    place = np.empty(len(post), np.int64)
    slots = np.flatnonzero(~full[which])
    place[full[which]] = -2 - np.arange(full[which].sum())  # unequal and not a pair: left alone
    while len(slots):
        place[slots] = draw(slots)
        slots = _repeated(place)

    crowded = np.flatnonzero(full)
    if len(crowded):
        label, i, j = _all_pairs(rows, columns, row[crowded], column[crowded])
        valid = pairs.allowed(i, j)
        if pairs.mutual:  # within a group every junction occurs twice
            valid &= (row[crowded][label] != column[crowded][label]) | (i > j)
        listed = pairs.key(i, j)[valid]
        slots = np.flatnonzero(full[which])
        slots = slots[np.argsort(which[slots], kind="stable")]
        place[slots] = _sample(label[valid], listed, wanted[crowded], rng)
    return pairs.ends(place)


def scatter_by_distance(
    pairs: Pairs,
    post: Index,
    pre: Index,
    at_post: Positions,
    at_pre: Positions,
    n_bins: int,
    rng: np.random.Generator,
) -> Ends:
    """Redraw pairs, uniformly among those whose distance is in the same bin.

    ``at_post`` and ``at_pre`` are the positions of all neurons of both populations. The bins hold
    equal numbers of connections; they begin at 0 and end at the longest.
    """
    if not len(post):
        return post, pre
    bins = _Bins(pairs, at_post, at_pre, _limits(_lengths(at_post[post] - at_pre[pre]), n_bins))
    given = bins.of(post, pre)
    order = np.argsort(given, kind="stable")
    wanted = given[order]  # the bin of each slot
    place = np.full(len(post), -1)
    slots = np.arange(len(post))
    tries = max(TRIES * len(post), FEWEST_TRIES)
    tries = min(tries, len(pairs.post) * len(pairs.pre))  # listing all pairs costs no more
    while len(slots) and tries > 0:
        place[slots], tries = bins.draw(wanted[slots], tries, rng)
        slots = _repeated(place)
    if len(slots):  # bins with few pairs, or few that are not taken
        rare = np.unique(wanted[slots])
        label, listed = bins.list_pairs(rare)
        redrawn = np.isin(wanted, rare)
        n_wanted = np.bincount(np.searchsorted(rare, wanted[redrawn]))
        place[redrawn] = _sample(label, listed, n_wanted, rng)
    scattered = np.empty_like(place)
    scattered[order] = place
    return pairs.ends(scattered)


# --- drawing without repetition -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Neurons sorted by group."""

    members: Index
    start: Numbers
    size: Numbers

    @classmethod
    def of(cls, chosen: Index, group: npt.NDArray[np.intp]) -> _Groups:
        """Sort the ``chosen`` neurons by ``group``, which numbers the groups of all neurons."""
        size = np.bincount(group[chosen], minlength=int(group.max(initial=-1)) + 1)
        members = chosen[np.argsort(group[chosen], kind="stable")]
        return cls(members, np.cumsum(size) - size, size)

    def draw(self, group: npt.NDArray[np.intp], rng: np.random.Generator) -> Index:
        """Return a random member of each of the groups."""
        # The product stays below the size, since the random number is at most 1 - 2**-53.
        nth = (rng.random(len(group)) * self.size[group]).astype(np.int64)
        drawn: Index = self.members[self.start[group] + nth]
        return drawn


def _repeated(place: Numbers) -> Numbers:
    """Return, ascending, the slots to redraw: an earlier one has their place, or it is -1.

    The choice does not depend on the places. So if draws are uniform, all ways to fill the slots
    with different places are equally probable.
    """
    order = np.argsort(place, kind="stable")
    ordered = place[order]
    again = np.concatenate([[False], ordered[1:] == ordered[:-1]])
    return np.sort(order[again | (ordered == -1)])


def _alone(keys: Numbers) -> npt.NDArray[np.bool_]:
    """Return which of ``keys`` occur once."""
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    alone = np.ones(len(keys), np.bool_)
    alone[order[1:][same]] = False
    alone[order[:-1][same]] = False
    return alone


def _sample(
    label: npt.NDArray[np.intp],
    listed: Numbers,
    wanted: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> Numbers:
    """Choose ``wanted[c]`` of the places ``listed`` with label ``c``; label 0 first."""
    order = np.lexsort((rng.random(len(label)), label))
    rank, size = _rank(label[order], len(wanted))
    chosen: Numbers = listed[order[rank < np.repeat(wanted, size)]]
    return chosen


def _rank(label: npt.NDArray[np.intp], n: int) -> tuple[Numbers, Numbers]:
    """Return the rank of each sorted label among its equals, and the count of each."""
    size = np.bincount(label, minlength=n)
    return np.arange(len(label)) - np.repeat(np.cumsum(size) - size, size), size


def _all_pairs(
    rows: _Groups, columns: _Groups, row: npt.NDArray[np.intp], column: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], Index, Index]:
    """List all pairs of the blocks ``(row[c], column[c])``, with ``c``."""
    width = columns.size[column]
    size = rows.size[row] * width
    label = np.repeat(np.arange(len(row)), size)
    inside, _ = _rank(label, len(row))
    i, j = np.divmod(inside, width[label])
    return (
        label,
        rows.members[rows.start[row[label]] + i],
        columns.members[columns.start[column[label]] + j],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Bins:
    """Bins of distance up to each of ``limits``, and the pairs of neurons in them."""

    pairs: Pairs
    at_post: Positions
    at_pre: Positions
    limits: npt.NDArray[np.float64]

    def of(self, post: npt.NDArray[Any], pre: npt.NDArray[Any]) -> Numbers:
        """Return the bin of each pair, ``len(limits)`` beyond the last limit."""
        return np.searchsorted(self.limits, _lengths(self.at_post[post] - self.at_pre[pre]))

    def draw(self, wanted: Numbers, tries: int, rng: np.random.Generator) -> tuple[Numbers, int]:
        """Return a random pair in each of the bins ``wanted``, ascending, and the tries left.

        When no tries are left, the pair is -1.
        """
        n = len(self.limits)
        found = np.full(len(wanted), -1)
        missing = np.bincount(wanted, minlength=n + 1)
        at = np.cumsum(missing) - missing
        batch = min(BATCH, 4 * len(wanted) + 1024)
        while missing.any() and tries > 0:
            tries -= batch
            i = self.pairs.post[rng.integers(0, len(self.pairs.post), batch)]
            j = self.pairs.pre[rng.integers(0, len(self.pairs.pre), batch)]
            b = np.where(self.pairs.allowed(i, j), self.of(i, j), n)
            useful = np.flatnonzero(missing[b])
            order = np.argsort(b[useful].astype(np.min_scalar_type(n)), kind="stable")
            useful = useful[order]
            rank, n_found = _rank(b[useful], n + 1)
            useful, rank = (x[rank < missing[b[useful]]] for x in (useful, rank))
            found[at[b[useful]] + rank] = self.pairs.key(i[useful], j[useful])
            n_taken = np.minimum(n_found, missing)
            at += n_taken
            missing -= n_taken
        return found, tries

    def list_pairs(self, bins: Numbers) -> tuple[Numbers, Numbers]:
        """List all pairs in ``bins``, ascending: the index of their bin there, and their keys."""
        from scipy.spatial import cKDTree

        reach = self.limits[bins[-1]] * (1 + 1e-9)  # the tree rounds differently
        tree = cKDTree(self.at_post[self.pairs.post])
        labels, keys = [], []
        for k in range(0, len(self.pairs.pre), CHUNK):
            some = self.pairs.pre[k : k + CHUNK]
            here = cKDTree(self.at_pre[some])
            near = here.sparse_distance_matrix(tree, reach, output_type="ndarray")
            i, j = self.pairs.post[near["j"]], some[near["i"]]
            b = self.of(i, j)
            kept = np.isin(b, bins) & self.pairs.allowed(i, j) & ((i > j) | (not self.pairs.mutual))
            labels.append(np.searchsorted(bins, b[kept]))
            keys.append(self.pairs.key(i[kept], j[kept]))
        return np.concatenate(labels), np.concatenate(keys)


def _limits(distance: npt.NDArray[np.float64], n_bins: int) -> npt.NDArray[np.float64]:
    """Return the upper limits of at most ``n_bins`` bins that hold equal numbers of distances."""
    last = (np.arange(1, n_bins + 1) * len(distance) - 1) // n_bins  # of each bin, in order
    return np.unique(np.sort(distance)[last])


def _lengths(apart: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the lengths of vectors, shape ``(n, 3)``."""
    # Not einsum, whose last digit may depend on memory alignment.
    x, y, z = apart.T
    squares: npt.NDArray[np.float64] = x * x + y * y + z * z
    return np.sqrt(squares)
