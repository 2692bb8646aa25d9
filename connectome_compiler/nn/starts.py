"""Where the weights of a recurrent network can start."""

import torch
from torch import Tensor

from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import LeakyRates

KRYLOV = 64  # vectors of the Arnoldi process, and multiplications before it


@torch.no_grad()
def draw_low_rank(layer: EdgeLinear, rank: int) -> None:
    """Start at the entries of a random matrix of ``rank``, scaled to the in-degrees.

    The matrix is never made: only its entries at the connections are.
    """
    post = torch.arange(layer.n_post, device=layer.ptr.device)
    post = post.repeat_interleave(layer.ptr.diff(), output_size=layer.pre.numel())
    total = torch.zeros_like(layer.weight)
    for _ in range(rank):
        left, right = (torch.randn(n).to(total) for n in (layer.n_post, layer.n_pre))
        total += left.index_select(0, post) * right.index_select(0, layer.pre)
    degree = layer.ptr.diff().clamp(min=1).index_select(0, post)
    layer.weight.copy_(total / (3 * rank * degree).sqrt())  # the variance of a uniform start


@torch.no_grad()
def scale_to_radius(units: LeakyRates, layers: list[EdgeLinear], radius: float) -> float:
    """Scale the weights of the chemical layers to a spectral radius; return the one before.

    Raises `ValueError` if it is 0, as in a network without cycles.
    """
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
        raise ValueError("spectral radius: is 0, since no activity comes back to where it started")
    for layer in chemical:
        layer.weight.mul_(radius / found)
    return found


@torch.no_grad()
def spectral_radius(units: LeakyRates, weights: list[Tensor]) -> float:
    """Return the largest magnitude of an eigenvalue, by the Arnoldi process (Arnoldi 1951)."""
    source = torch.Generator().manual_seed(0)
    vector = torch.rand(units.n, 1, generator=source).to(units.log_tau)
    for _ in range(KRYLOV):  # towards the largest ones; where there is no cycle, nothing is left
        vector = units.multiply(weights, vector)
        length = vector.norm()
        if not float(length):
            return 0.0
        vector = vector / length
    size = min(KRYLOV, units.n)
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
