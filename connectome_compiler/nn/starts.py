"""Initial weights of a recurrent network."""

import math

import torch
from torch import Tensor

from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import LeakyRates

FEW = 512  # neurons whose eigenvalues are computed all, in a fraction of a second
KRYLOV = 64  # vectors of the Arnoldi process, and multiplications before it


@torch.no_grad()
def draw_low_rank(layer: EdgeLinear, rank: int) -> None:
    """Initialise with the entries of a random matrix of ``rank``, scaled to the in-degrees.

    The matrix is never made: only its entries at the connections are. At connections that have a
    sign its factors are positive: so the weights that act are of this rank, too, if each neuron
    has one sign (Dale's principle).
    """
    post = torch.arange(layer.n_post, device=layer.ptr.device)
    post = post.repeat_interleave(layer.ptr.diff(), output_size=layer.pre.numel())
    signed = layer.sign != 0
    total = torch.zeros_like(layer.weight)
    for _ in range(rank):
        left, right = (torch.randn(n).to(total) for n in (layer.n_post, layer.n_pre))
        product = left.index_select(0, post) * right.index_select(0, layer.pre)
        total += torch.where(signed, product.abs(), product)
    square = rank + signed * rank * (rank - 1) * (2 / math.pi) ** 2  # expected, of a number
    degree = layer.ptr.diff().clamp(min=1).index_select(0, post)
    layer.weight.copy_(total / (3 * square * degree).sqrt())  # as of a uniform start


@torch.no_grad()
def scale_to_radius(units: LeakyRates, layers: list[EdgeLinear], radius: float) -> float:
    """Scale the weights of the chemical layers to a spectral radius; return the one before.

    Raises `ValueError` if it is 0, as in a network without cycles.
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"spectral_radius must be positive and finite, not {radius}")
    chemical = [layer for layer in layers if layer.kind == "chemical"]
    weights = [layer.effective_weight() for layer in layers]
    found = spectral_radius(
        units,
        [
            w if layer in chemical else torch.zeros_like(w)
            for layer, w in zip(layers, weights, strict=True)
        ],
    )
    if not found:
        raise ValueError("the spectral radius is 0: the network has no cycle")
    for layer in chemical:
        layer.weight.mul_(radius / found)
    return found


@torch.no_grad()
def spectral_radius(units: LeakyRates, weights: list[Tensor]) -> float:
    """Return the largest magnitude of an eigenvalue, 0 if the network has no cycle.

    Of many neurons it is found by the Arnoldi process (Arnoldi 1951, Quart. Appl. Math. 9:17).
    """
    if not _has_cycle(units, weights):
        return 0.0
    if units.n <= FEW:
        every = torch.eye(units.n, dtype=torch.float64, device=units.log_tau.device)
        matrix = units.multiply([w.double() for w in weights], every)
        return float(torch.linalg.eigvals(matrix).abs().max())
    source = torch.Generator().manual_seed(0)
    vector = torch.rand(units.n, 1, generator=source).to(units.log_tau)
    for _ in range(KRYLOV):  # towards the largest ones
        vector = units.multiply(weights, vector)
        length = vector.norm()
        if not float(length):
            return 0.0
        vector = vector / length
    size = KRYLOV
    basis = [vector]
    hessenberg = torch.zeros(size + 1, size, dtype=torch.float64)
    for k in range(size):
        vector = units.multiply(weights, basis[-1])
        for _ in range(2):  # once loses orthogonality to rounding
            for j, other in enumerate(basis):
                part = float((other * vector).sum())
                hessenberg[j, k] += part
                vector = vector - part * other
        hessenberg[k + 1, k] = length = float(vector.norm())
        if length < 1e-6 * float(hessenberg.abs().max()):
            size = k + 1
            break
        basis.append(vector / length)
    return float(torch.linalg.eigvals(hessenberg[:size, :size]).abs().max())


def _has_cycle(units: LeakyRates, weights: list[Tensor]) -> bool:
    """Whether the network has a cycle."""
    present = [(w != 0).to(units.log_tau) for w in weights]
    fed = torch.ones(units.n, 1).to(units.log_tau)
    while fed.any():  # those that get input from one of them
        still = (units.multiply(present, fed) > 0).to(fed)
        if torch.equal(still, fed):
            return True
        fed = still
    return False
