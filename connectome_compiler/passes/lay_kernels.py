"""Turn Gaussian laws between areas into the kernels of convolutions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite, pi, prod, sqrt
from typing import ClassVar

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import GaussianKernel, GaussianLaw
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Pair


@dataclass(frozen=True, slots=True)
class LayKernels:
    """Turn every Gaussian law between maps into a kernel whose weights are open at random.

    A map's pixels per micrometre are ``sqrt(neurons / channels)`` over the side of a square of its
    surface. The kernel reaches ``floor(z * width)`` pixels to each side; its stride is the ratio
    of the maps' sizes, and uneven padding is added at the bottom and right. A law keeps its peak,
    if it has one. Otherwise the peak is chosen such that the kernel's probabilities, over all
    source channels, sum to the in-degree; if it exceeds 1, probabilities are clipped, and the
    shortfall of the in-degree is reported.

    If the target's map is larger (feedback), the convolution is transposed and the width counts
    in pixels of the target. A target unit then sees one in ``stride^2`` positions of the kernel,
    so a peak derived from the in-degree is higher by that factor.
    """

    name: ClassVar[str] = "lay-kernels"

    z: float = 1.0  #: extent of kernels, in standard deviations

    def __post_init__(self) -> None:
        if not (isfinite(self.z) and self.z > 0):
            raise CompileError(f"{self.name}.z", f"must be positive and finite, not {self.z}")

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph of convolutions; raise `CompileError` for what is not a map."""
        return graph.with_projections(
            self._laid(graph, q, q.connectivity) if isinstance(q.connectivity, GaussianLaw) else q
            for q in graph.projections
        )

    def _laid(self, graph: Graph, q: Projection, law: GaussianLaw) -> Projection:
        where = f"{self.name}, projection {q.key}"
        pre, post = graph.population(q.pre), graph.population(q.post)
        for p in (pre, post):
            if len(p.shape) != 3:
                problem = f"{p.name} of shape {p.shape} is not a map"
                raise CompileError(
                    where, problem, 'add [[pass]] use = "size-maps" before this pass'
                )
        stride, transposed = _stride(where, pre, post)
        grid = post if transposed else pre  # the map whose pixels are the kernel's positions
        if law.unit == "um":
            width = law.width * pixels_per_um(where, grid)
        else:
            width = law.width * (stride[0] if transposed else 1)
        half = int(self.z * width)
        if half >= min(grid.shape[1:]):
            problem = f"a kernel reaching {half:,} pixels to each side of a map of {grid.shape[1:]}"
            hint = "check the width, its unit and surface_mm2, or lower z"
            raise CompileError(where, problem, hint)
        kernel = (2 * half + 1, 2 * half + 1)
        operator = _operator(kernel, stride, transposed)
        peak = law.peak
        if peak is None:
            unit = GaussianKernel(1.0, width, kernel)
            peak = law.in_degree / _in_degree(unit.gaussian().sum(), pre, operator)
        return replace(q, connectivity=GaussianKernel(peak, width, kernel), operator=operator)

    def report(self, before: Graph, after: Graph) -> Iterator[str]:
        """Count the kernels, and the inputs that are missing where probability was clipped at 1."""
        laid = [
            (q, law, old.connectivity)
            for old, q in zip(before.projections, after.projections, strict=True)
            if isinstance(law := q.connectivity, GaussianKernel) and q is not old
        ]
        if not laid:
            yield "no projection has a Gaussian law"
            return
        sides = [law.kernel[0] for _, law, _ in laid]
        n_weights = sum(prod(after.shape(q)) for q, _, _ in laid)
        n_open = sum(prod(after.shape(q)) * law.probability().mean() for q, law, _ in laid)
        yield (
            f"{len(laid)} kernels of {min(sides)} to {max(sides)} pixels: {n_open:,.0f} of "
            f"{n_weights:,} weights open on average ({n_open / n_weights:.2%})"
        )
        yield "from here on a connection is one kernel weight, shared by all positions of a map"
        shares = [
            law.gaussian().sum() / (2 * pi * law.peak * law.width**2)
            for _, law, given in laid
            if isinstance(given, GaussianLaw) and given.peak is not None
        ]
        if shares:
            some = f"{len(shares)} keep their peak and cover"
            yield f"{some} {min(shares):.0%} to {max(shares):.0%} of their Gaussian"
        yield from _shortfalls(after, [(q, law) for q, law, _ in laid])


def pixels_per_um(where: str, population: Population) -> float:
    """Return the pixels per micrometre of a map, from its neurons and its surface."""
    place = population.place
    for field in ("n_neurons", "surface_mm2"):
        if place is None or not getattr(place, field):
            problem = (
                f"{field} of {population.name} is unknown: the width cannot be converted to pixels"
            )
            raise CompileError(where, problem, "give it in the source, or give the width in px")
    assert place is not None
    assert place.n_neurons is not None
    assert place.surface_mm2 is not None
    return sqrt(place.n_neurons / population.shape[0]) / (1000 * sqrt(place.surface_mm2))


def _stride(where: str, pre: Population, post: Population) -> tuple[Pair, bool]:
    """Return the ratio of two maps' sizes, (height, width), and whether ``post`` is the larger."""
    sizes = tuple(zip(pre.shape[1:], post.shape[1:], strict=True))
    if all(a % b == 0 for a, b in sizes):
        return (sizes[0][0] // sizes[0][1], sizes[1][0] // sizes[1][1]), False
    if all(b % a == 0 for a, b in sizes):
        return (sizes[0][1] // sizes[0][0], sizes[1][1] // sizes[1][0]), True
    problem = f"maps of {pre.shape[1:]} do not divide maps of {post.shape[1:]}"
    raise CompileError(where, problem, "one size must be a multiple of the other")


def _operator(kernel: Pair, stride: Pair, transposed: bool) -> Conv2d | ConvTranspose2d:
    """Return the convolution whose map sizes are exactly in the ratio ``stride``."""
    excess = [k - s for k, s in zip(kernel, stride, strict=True)]
    if transposed:
        sides = [max(0, (e + 1) // 2) for e in excess]
        ends = [2 * side - e for side, e in zip(sides, excess, strict=True)]
        padding, further = (sides[0], sides[1]), (ends[0], ends[1])
        return ConvTranspose2d(kernel, stride, padding, further, per_position=True)
    total = [max(0, e) for e in excess]  # a kernel smaller than its stride needs none
    padding, further = (total[0] // 2, total[1] // 2), (total[0] % 2, total[1] % 2)
    return Conv2d(kernel, stride, padding, end_padding=further, per_position=True)


def _in_degree(summed: float, pre: Population, operator: Conv2d | ConvTranspose2d) -> float:
    """Return the sources of a target neuron if a kernel's probabilities sum to ``summed``."""
    unseen = prod(operator.stride) if isinstance(operator, ConvTranspose2d) else 1
    return pre.shape[0] * summed / unseen


def _shortfalls(graph: Graph, laid: list[tuple[Projection, GaussianKernel]]) -> Iterator[str]:
    """List targets that get fewer inputs than their laws say, and the kernels responsible."""
    wanted, found = defaultdict[str, float](float), defaultdict[str, float](float)
    n, cut = defaultdict[str, int](int), defaultdict[str, list[str]](list)
    for q, law in laid:
        assert isinstance(q.operator, Conv2d | ConvTranspose2d)
        target = q.post + (" (feedback)" if q.delay else "")
        pre = graph.population(q.pre)
        wanted[target] += _in_degree(law.gaussian().sum(), pre, q.operator)
        found[target] += _in_degree(law.probability().sum(), pre, q.operator)
        n[target] += 1
        if law.peak > 1:
            cut[target].append(f"{q.key} at {law.peak:.3g}")
    for target, keys in cut.items():
        inputs = f"{found[target]:,.1f} of {wanted[target]:,.1f} inputs per neuron"
        yield f"{target}: {inputs}, {len(keys)} of {n[target]} kernels clipped: {', '.join(keys)}"
