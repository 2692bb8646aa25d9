"""Initial weights of a recurrent network."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from connectome_compiler.nn.edge_linear import EdgeLinear
from connectome_compiler.nn.leaky_rates import LeakyRates
from connectome_compiler.nn.tied_edge_linear import GapJunctions

FEW = 512  # neurons whose eigenvalues are computed all, in a fraction of a second
KRYLOV = 64  # vectors of the Arnoldi process, and multiplications before it


@torch.no_grad()
def draw_low_rank(layer: EdgeLinear, rank: int) -> None:
    """Initialise with the entries of a random matrix of ``rank``, scaled to the in-degrees.

    The matrix is never made: only its entries at the connections are. At connections that have a
    sign its factors are positive: so the weights that act are of this rank, too, if each neuron
    has one sign (Dale's principle).
    """
    if layer.weight.is_meta:
        return  # numbers are to come from a state
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
def draw_conductances(
    units: LeakyRates, layers: Sequence[EdgeLinear], drawn: Sequence[GapJunctions]
) -> None:
    """Draw conductances as `GapJunctions` do, where those of a neuron are in several layers.

    ``layers`` are all layers of the network; those that are ``drawn`` have weights of their own.
    """
    gaps = [layer for layer in layers if isinstance(layer, GapJunctions)]
    total = units.conductance(torch.cat([layer.strengths() for layer in gaps]))
    at_targets = total[units.gap_post].split([layer.pre.numel() for layer in gaps])
    for layer in drawn:
        ends = layer.group.long().new_empty(0), total[:0]
        for other, part in zip(gaps, at_targets, strict=True):
            if other.weight is layer.weight:  # both directions, in two layers
                ends = torch.cat((ends[0], other.group.long())), torch.cat((ends[1], part))
        layer.draw(*ends)


@torch.no_grad()
def scale_to_radius(units: LeakyRates, layers: list[EdgeLinear], radius: float) -> float:
    """Scale the weights of the chemical layers to a `spectral_radius`; return the one before.

    Raises `ValueError` if they have no cycle, or if gap junctions alone have a larger one.
    """
    if units.log_tau.is_meta:
        return math.nan  # numbers are to come from a state
    if not 0 < radius < math.inf:
        raise ValueError(f"spectral_radius must be positive and finite, not {radius}")
    weights = [layer.effective_weight() for layer in layers]
    chemical = [layer.kind == "chemical" for layer in layers]
    if not _has_cycle(units, weights):
        raise ValueError("the spectral radius is 0: the network has no cycle")

    def apart(scale: float) -> float:
        """Return by how much the radius is too large, of chemical weights times ``scale``."""
        scaled = [w * scale if own else w for w, own in zip(weights, chemical, strict=True)]
        return spectral_radius(units, scaled) - radius

    before = apart(1.0) + radius
    scale = radius / before
    if not all(chemical):
        if (alone := apart(0.0)) >= 0:
            problem = f"gap junctions alone have a spectral radius of {alone + radius:.3g}"
            raise ValueError(f"{problem}, which is not below {radius:g}: ask for more")
        scale = _root(apart, alone, before - radius, (1e-6 if units.n <= FEW else 1e-3) * radius)
    for layer, own in zip(layers, chemical, strict=True):
        if own:
            layer.weight.mul_(scale)
    return before


def _root(function: Callable[[float], float], at_0: float, at_1: float, slack: float) -> float:
    """Return where a function is 0 that is below at 0 and above far out: by false position.

    Of an end that stays, the value is halved (Illinois: Dowell & Jarratt 1971, BIT 11:168).
    """
    low, below, high, above = 0.0, at_0, 1.0, at_1
    while above < 0:
        low, below, high = high, above, 2 * high
        above = function(high)
    middle, found = high, above
    while abs(found) > slack and low < high:
        middle = (low * above - high * below) / (above - below)
        before, found = found, function(middle)
        if found < 0:
            low, below, above = middle, found, above / (1 + (before < 0))
        else:
            high, above, below = middle, found, below / (1 + (before >= 0))
    return middle


@torch.no_grad()
def spectral_radius(units: LeakyRates, weights: list[Tensor]) -> float:
    """Return the largest magnitude of an eigenvalue of ``(W + G) / (1 + g)``, by rows.

    That is what rates are pulled to, to first order where the activation has a slope of 1: ``W``
    where there are no gap junctions. It is 0 if the network has no cycle. Of many neurons it is
    found by the Arnoldi process (Arnoldi 1951, Quart. Appl. Math. 9:17).
    """
    if not units.gap_layers and not _has_cycle(units, weights):
        return 0.0
    if units.n <= FEW:
        every = torch.eye(units.n, dtype=torch.float64, device=units.log_tau.device)
        matrix = units.pull([w.double() for w in weights], every)
        return float(torch.linalg.eigvals(matrix).abs().max())
    source = torch.Generator().manual_seed(0)
    vector = torch.rand(units.n, 1, generator=source).to(units.log_tau)
    for _ in range(KRYLOV):  # towards the largest ones
        vector = units.pull(weights, vector)
        length = vector.norm()
        if not float(length):
            return 0.0
        vector = vector / length
    size = KRYLOV
    basis = [vector]
    hessenberg = torch.zeros(size + 1, size, dtype=torch.float64)
    for k in range(size):
        vector = units.pull(weights, basis[-1])
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
    """Whether the network has a cycle of chemical connections."""
    present = [(w != 0).to(units.log_tau) for w in weights]
    fed = torch.ones(units.n, 1).to(units.log_tau)
    while fed.any():  # those that get input from one of them
        still = (units.multiply(present, fed) > 0).to(fed)
        if torch.equal(still, fed):
            return True
        fed = still
    return False
