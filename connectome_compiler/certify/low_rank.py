"""Put starts of low rank to the test: entries of a random matrix, known at the connections alone.

Few blocks of a sparse matrix are whole, so its rank shows in the numbers: how often they are small,
and how those of a row go together. They are compared with those of matrices drawn plainly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong

ENOUGH = 1024  # entries of a projection without a common row or column, if so many are worth it
MOST = 384  # networks to see
NUMBERS = 2**18  # at most, in all of them
CELLS = 2**22  # of the matrices to compare with
DRAWS = (64, 8192)  # such matrices, at least and at most
FAR = 7.0  # standard deviations
TOGETHER = 70.0  # squared, of all figures together, where enough matrices tell how they vary
FEW = 64  # entries, below which nothing can be told


def low_rank_starts(
    ranks: dict[str, int],
    seen: dict[str, list[Tensor]],
    now: dict[str, Tensor],
    built: Callable[[int], dict[str, Tensor]],
) -> None:
    """Compare starts with entries of random matrices of the ranks stated, by name.

    ``seen`` are the starts of some networks, ``now`` the state of one, and ``built`` gives that of
    another for each seed.
    """
    places = {name: _places(name, now) for name in ranks}
    free = [min(len(post.unique()), len(pre.unique())) for post, pre in places.values()]
    wanted = max((min(MOST, -(-ENOUGH // n)) for n in free if n), default=0)
    first = max(map(len, seen.values()), default=0)
    whole = sum(value.numel() for value in now.values())
    for seed in range(first, min(wanted, NUMBERS // whole)):
        state = built(seed)
        for name in ranks:
            seen[name].append(state[name])
    for name, (post, pre) in places.items():
        if post.numel():
            of = name.rpartition(".")[0]
            degree = now[f"{of}.ptr"].diff().clamp(min=1)[post]
            drawn = torch.stack(seen[name]).double() * (3 * degree).sqrt()
            signed = (now[f"{of}.sign"] != 0).expand(post.shape)
            _are_of_rank(name, ranks[name], signed, drawn, post, pre)


def _places(name: str, now: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    of = name.rpartition(".")[0]
    degree = now[f"{of}.ptr"].diff()
    return torch.arange(len(degree)).repeat_interleave(degree), now[f"{of}.pre"].long()


def _are_of_rank(
    name: str, rank: int, signed: Tensor, drawn: Tensor, post: Tensor, pre: Tensor
) -> None:
    """Compare entries ``(networks, connections)`` with those of matrices drawn plainly.

    Where connections are ``signed``, factors are positive.
    """
    if bool((drawn[:, signed] < 0).any()):
        raise Wrong(name, "does not start as is stated: factors are not positive")
    if len(drawn) * min(len(post.unique()), len(pre.unique())) < FEW:
        return
    n = min(DRAWS[1], max(DRAWS[0], CELLS // len(post)))
    found = _figures(drawn, post, pre)
    known = _figures(_plain(n, rank, signed, post, pre), post, pre)
    spread = known.std(0).clamp(min=1e-9) * math.sqrt(1 / len(found) + 1 / n)
    off = (found.mean(0) - known.mean(0)) / spread
    together = torch.linalg.pinv(torch.corrcoef(known.t()).nan_to_num(0), rtol=1e-6, hermitian=True)
    if bool((off.abs() > FAR).any()) or (n >= DRAWS[1] // 8 and off @ together @ off > TOGETHER):
        raise Wrong(name, f"does not start as is stated: its numbers are not those of rank {rank}")


def _plain(n: int, rank: int, signed: Tensor, post: Tensor, pre: Tensor) -> Tensor:
    """Return the entries of ``n`` random matrices, of a root mean square of 1."""
    generator = torch.Generator().manual_seed(12)
    total = torch.zeros(n, len(post), dtype=torch.float64)
    for _ in range(rank):
        for k, part in enumerate(total.split(256)):  # views
            rows, columns = (
                torch.randn(len(part), int(index.max()) + 1, generator=generator).double()
                for index in (post, pre)
            )
            product = rows[:, post] * columns[:, pre]
            total[256 * k : 256 * k + len(part)] += torch.where(signed, product.abs(), product)
    return total / (rank + signed.double() * rank * (rank - 1) * (2 / math.pi) ** 2).sqrt()


def _figures(drawn: Tensor, post: Tensor, pre: Tensor) -> Tensor:
    """Return what tells laws apart, ``(networks, figures)``: sizes, signs, and what goes together.

    Logarithms tell how many are small, and do not depend on the few that are very large.
    """
    sizes = drawn.abs().clamp(min=1e-12)
    logs = sizes.log().clamp(min=-12)
    centred = logs + 0.8  # about the mean for small ranks
    figures = [sizes.mean(1), sizes.sqrt().mean(1), logs.mean(1), logs.square().mean(1)]
    figures += [drawn.mean(1), drawn.sign().mean(1), centred.mean(1).square()]
    for index in (post, pre):  # of a row, of a column
        sums = drawn.new_zeros(len(drawn), int(index.max()) + 1).index_add(1, index, centred)
        figures.append(sums.square().sum(1) / len(index))
    return torch.stack(figures, 1)
