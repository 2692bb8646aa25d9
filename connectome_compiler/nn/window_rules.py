"""Masks of windowed layers as rules: which of two lists of units are connected.

Two modes. "paper" is the rule that ran in the mouse-mimetic layers (Saiga et al. 2025, Sci. Rep.
15:25091) and in the schizophrenia-mimetic ones (Mizutani et al. 2022, Front. Neurorobot.
16:851471), in their order of floating-point operations, since rounding decides there. "clean" is
what it was meant to be: an open disc on two grids.

Everything here is `[post, pre]`, like `nn.Linear.weight`, and computed row by row from the formula,
with the standard library alone: the compiler and the layers share this file.
"""

import hashlib
import math
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fractions import Fraction
from numbers import Integral, Real

# Which fields a form reads, beside `form` and `transposed`.
FORMS: dict[str, tuple[str, ...]] = {
    "2d": ("radius", "pre_width", "post_width", "mode", "torus"),
    "diagonal": ("reduction", "halfbandwidth", "width"),
    "gaussian": ("reduction", "halfbandwidth", "width"),
    "individual": ("reduction", "seed"),
    "random": ("reduction", "seed"),
    "kernel": ("reduction", "seed"),
    "block": ("width",),
    "stripes": ("width",),
    "exact": ("width", "seed"),
}
# One number per weight, so each position of a convolution's kernel has its own.
PER_WEIGHT = ("individual", "random")
SEEDS = 2**32  # what the legacy generator takes

Runs = Iterator[tuple[int, int, int]]


@dataclass(frozen=True, slots=True, repr=False)
class WindowRule:
    """One family of masks with its numbers.

    ``form`` is one of

    - "2d": both lists of units fill a grid over the unit square, row by row, ``pre_width`` and
      ``post_width`` units wide; a unit hears those less than ``radius`` away. ``mode`` "paper"
      decides ties as the published layers do and "clean" by the exact distance, taking the radius
      as the decimal that it prints as. ``torus`` (clean only) joins opposite sides.
    - "diagonal": a band around the diagonal. ``reduction`` is about the share of weights to
      remove; or ``halfbandwidth`` is the half-width measured at a right angle to the diagonal; or
      ``width`` keeps ``|post - pre| < width`` of a square layer.
    - "gaussian": a factor for each weight, of mean 1, that falls off from the diagonal with
      ``halfbandwidth`` (from ``reduction``: 1.5 times that of "diagonal"; or twice ``width``).
    - "individual" and "random": each weight by itself, removed with probability ``reduction``, in
      the stream of ``numpy.random.RandomState(seed).random_sample``, in the layout of torch.
    - "kernel": the same for each pair of channels, from ``random.Random(seed)``.
    - "block", "stripes", "exact", of square layers with ``n`` units: the central ``width`` units
      with each other; all but ``width`` diagonals, evenly spaced and closed round the edge; all but
      ``(n - width)**2`` connections, drawn from the same stream as "individual".

    ``transposed`` is the layout of `nn.ConvTranspose2d`: it changes the order of the draws and, in
    the published rules of "2d", "diagonal" and "gaussian", which side is the first axis. The
    widths keep their meaning: ``pre_width`` is always that of the inputs.

    Raises `ValueError` for numbers that no layer could use, and for numbers that ``form`` ignores.
    """

    form: str
    radius: float | None = None
    pre_width: int | None = None
    post_width: int | None = None
    mode: str = "paper"
    torus: bool = False
    reduction: float | None = None
    halfbandwidth: float | None = None
    width: int | None = None
    seed: int = 0
    transposed: bool = False

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            close = get_close_matches(str(self.form).lower(), FORMS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(FORMS)}"
            raise ValueError(f"no window form {self.form!r}; {hint}")
        read = FORMS[self.form]
        for field in fields(self):
            if field.name in ("form", "transposed", *read):
                continue
            if getattr(self, field.name) != field.default:
                raise ValueError(
                    f"form {self.form!r} has no {field.name}; it has {', '.join(read)}"
                )
        self._take_numbers()
        if self.form == "2d":
            self._check_grid_numbers()
            return
        if self.form in ("diagonal", "gaussian"):
            given = [name for name in read if getattr(self, name) is not None]
            if len(given) != 1:
                found = " and ".join(given) or "none"
                raise ValueError(
                    f"form {self.form!r} needs one of {', '.join(read)}, found {found}"
                )
        elif getattr(self, read[0]) is None:
            raise ValueError(f"form {self.form!r} needs {read[0]}")
        if self.reduction is not None and not 0 <= self.reduction < 1:
            raise ValueError(
                "reduction is the share of weights to remove and must lie in 0..1, 1 excluded, "
                f"such as 0.5; found {self.reduction}"
            )
        if self.halfbandwidth is not None and not 0 < self.halfbandwidth < math.inf:
            raise ValueError(f"halfbandwidth must be positive, found {self.halfbandwidth}")

    def _take_numbers(self) -> None:
        """Make numbers of all libraries plain ones: others round otherwise, or cannot be saved."""
        for name in ("radius", "reduction", "halfbandwidth"):
            if (value := getattr(self, name)) is not None:
                if isinstance(value, bool) or not isinstance(value, Real):
                    raise ValueError(f"{name} must be a number, found {value!r}")
                object.__setattr__(self, name, float(value))
        for name in ("pre_width", "post_width", "width"):
            if (value := getattr(self, name)) is not None:
                _check_count(name, value)
                object.__setattr__(self, name, int(value))
        if not _is_whole(self.seed) or not 0 <= self.seed < SEEDS:
            raise ValueError(f"seed must be a whole number in 0..{SEEDS - 1}, found {self.seed!r}")
        object.__setattr__(self, "seed", int(self.seed))

    def _check_grid_numbers(self) -> None:
        for name in ("radius", "pre_width", "post_width"):
            if getattr(self, name) is None:
                raise ValueError(f"form '2d' needs {name}")
        assert self.radius is not None
        if not 0 < self.radius <= 2:
            raise ValueError(
                "radius is a fraction of the grid's side and must lie in 0..2, 0 excluded: 0.4 "
                f"keeps about a third of the weights, 1.4 all; found {self.radius}"
            )
        if self.mode not in ("paper", "clean"):
            raise ValueError(f"mode must be 'paper' or 'clean', found {self.mode!r}")
        if self.torus and self.mode == "paper":
            raise ValueError("the published rule has no torus; use mode='clean'")

    def __repr__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)[1:]
            if getattr(self, field.name) != field.default
        ]
        return f"WindowRule({', '.join([repr(self.form), *given])})"

    def describe(self) -> str:
        """Return the rule in one line for reports."""
        if self.form == "2d":
            torus = ", torus" if self.torus else ""
            grids = f"grid width {self.pre_width} to {self.post_width}"
            return f"2d window of radius {self.radius:g}, {grids} ({self.mode}{torus})"
        given = [f"{n} {v:g}" for n in FORMS[self.form] if (v := getattr(self, n)) is not None]
        return f"{self.form} window, {', '.join(given)}"

    # --- the mask ---------------------------------------------------------------------------------

    def runs(self, n_post: int, n_pre: int) -> Runs:
        """Yield ``(post, first pre, last pre, excluded)``, ascending by post, then pre.

        A unit can have several runs and none is empty. For "individual" and "random" it is the
        mask of a linear layer; "gaussian" is not zero anywhere. Raises what `check_grids` raises.
        """
        self.check_grids(n_post, n_pre)
        return self._runs(n_post, n_pre)

    def _runs(self, n_post: int, n_pre: int) -> Runs:
        if self.form == "2d":
            if self.mode == "clean":
                return self._disc(n_post, n_pre)
            if self.transposed:
                return self._paper_by_x(n_post, n_pre)
            return self._paper_by_y(n_post, n_pre)
        if self.form == "diagonal":
            return self._band(n_post, n_pre)
        if self.form == "gaussian":
            return _full(n_post, n_pre)
        if self.form == "block":
            inside = [k for k in range(n_post) if abs(k - n_post / 2) <= self._width / 2]
            return ((k, inside[0], inside[-1] + 1) for k in inside)
        if self.form == "stripes":
            return self._stripes(n_post)
        return _runs_of_rows(self.rows(n_post, n_pre))

    def rows(self, n_post: int, n_pre: int) -> Iterator[bytes]:
        """Yield the mask row by row, one byte per connection, 0 or 1."""
        self.check_grids(n_post, n_pre)
        if self.form in (*PER_WEIGHT, "kernel", "exact"):
            yield from self._drawn_rows(n_post, n_pre)
            return
        row, at = bytearray(n_pre), 0
        for post, first, last in self._runs(n_post, n_pre):
            while at < post:
                yield bytes(row)
                row, at = bytearray(n_pre), at + 1
            row[first:last] = b"\1" * (last - first)
        while at < n_post:
            yield bytes(row)
            row, at = bytearray(n_pre), at + 1

    def draw(self, n_post: int, n_pre: int, n_positions: int) -> bytearray:
        """Return the mask of "individual" and "random" in torch's layout, one byte per weight.

        That is ``[post, pre, position]``, transposed ``[pre, post, position]``: positions are those
        of a convolution's kernel.
        """
        uniform, p = legacy_stream(self.seed).random, self._reduction
        return bytearray(uniform() >= p for _ in range(n_post * n_pre * n_positions))

    def values(self, n_post: int, n_pre: int) -> Iterator[list[float]]:
        """Yield the factors of "gaussian" row by row; their mean is 1."""
        self.check_grids(n_post, n_pre)
        spread = self.spread(n_post, n_pre)
        flat = self.width is None and (n_pre if self.transposed else n_post) == 1
        slope = 1.0 if flat else self._slope(n_post, n_pre)

        def row(post: int) -> list[float]:
            if flat:
                return [1.0] * n_pre
            if self.transposed:  # the first axis, x, is that of the outputs
                return [_bell(post - slope * pre, spread) for pre in range(n_pre)]
            return [_bell(pre - slope * post, spread) for pre in range(n_pre)]

        total = math.fsum(math.fsum(row(post)) for post in range(n_post))
        scale = n_post * n_pre / total
        return ([g * scale for g in row(post)] for post in range(n_post))

    def count(self, n_post: int, n_pre: int) -> int:
        """Return how many connections the mask of a linear layer has."""
        if self.form in (*PER_WEIGHT, "kernel", "exact"):
            return sum(row.count(1) for row in self.rows(n_post, n_pre))
        return sum(last - first for _, first, last in self.runs(n_post, n_pre))

    def usage(self, n_post: int, n_pre: int) -> float:
        """Return the share of connections that the mask keeps."""
        return self.count(n_post, n_pre) / (n_post * n_pre)

    def digest(self, n_post: int, n_pre: int) -> str:
        """Return the SHA-256 of shape and mask (of the factors for "gaussian"), in hexadecimal."""
        sha = hashlib.sha256(f"{n_post} {n_pre} 1\n".encode())
        if self.form == "gaussian":
            for factors in self.values(n_post, n_pre):
                sha.update(struct.pack(f"<{n_pre}d", *factors))
        else:
            for row in self.rows(n_post, n_pre):
                sha.update(row)
        return sha.hexdigest()

    # --- what is refused --------------------------------------------------------------------------

    def check(self, n_post: int, n_pre: int, n_positions: int = 1) -> None:
        """Raise `ValueError` if a layer of these sizes would not work, naming numbers that would.

        That is what `check_grids` refuses, a mask without a connection and, on grids, a unit
        without one. ``n_positions`` are those of a convolution's kernel.
        """
        self.check_grids(n_post, n_pre)
        if self.form == "2d":
            no_input, no_output = self.dead(n_post, n_pre)
            if no_input or no_output:
                raise ValueError(
                    f"radius {self.radius:g} leaves {no_input} of {n_post} outputs without input "
                    f"and {no_output} of {n_pre} inputs without output; "
                    f"{self._radius_that_works(n_post, n_pre):g} leaves none"
                )
        elif not self._has_any(n_post, n_pre, n_positions):
            smaller = {
                "reduction": "a smaller reduction",
                "halfbandwidth": f"halfbandwidth {max(n_post, n_pre) / 4:g}",
                "width": f"width {max(1, n_post // 2)}",
            }
            name = next(n for n in smaller if getattr(self, n) is not None)
            hint = smaller[name] + (", such as 0.5" if name == "reduction" else "")
            raise ValueError(
                f"no connection is left of {n_post} outputs x {n_pre} inputs ({self.describe()}); "
                f"use {hint}"
            )

    def check_grids(self, n_post: int, n_pre: int) -> None:
        """Raise `ValueError` if grids do not tile the units, or a square is not one."""
        _check_count("the number of outputs", n_post)
        _check_count("the number of inputs", n_pre)
        if self.form == "2d":
            if self.mode == "paper" and (n_pre if self.transposed else n_post) == 1:
                return  # the published rule connects all
            _check_tiles("post_width", self._post_width, n_post, "outputs")
            _check_tiles("pre_width", self._pre_width, n_pre, "inputs")
        elif self.width is not None:
            if n_post != n_pre:
                raise ValueError(
                    f"form {self.form!r} with a width is for as many outputs as inputs, found "
                    f"{n_post} and {n_pre}"
                )
            if self.width > n_post:
                raise ValueError(
                    f"width {self.width} is more than the {n_post} units; use 1..{n_post}"
                )

    def dead(self, n_post: int, n_pre: int) -> tuple[int, int]:
        """Return how many outputs have no input and how many inputs have no output."""
        fed, ends = bytearray(n_post), [0] * (n_pre + 1)
        for post, first, last in self.runs(n_post, n_pre):
            fed[post] = 1
            ends[first] += 1
            ends[last] -= 1
        open_runs = unread = 0
        for step in ends[:-1]:
            open_runs += step
            unread += not open_runs
        return fed.count(0), unread

    def _has_any(self, n_post: int, n_pre: int, n_positions: int) -> bool:
        if self.form in PER_WEIGHT:  # the first draws decide, nearly always
            uniform, p = legacy_stream(self.seed).random, self._reduction
            return any(uniform() >= p for _ in range(n_post * n_pre * n_positions))
        return next(self.runs(n_post, n_pre), None) is not None

    def _radius_that_works(self, n_post: int, n_pre: int) -> float:
        assert self.radius is not None
        for hundredths in range(math.floor(self.radius * 100) + 1, 151):
            others = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "radius"}
            if WindowRule(radius=hundredths / 100, **others).dead(n_post, n_pre) == (0, 0):
                return hundredths / 100
        return 1.4

    # --- the formulas -----------------------------------------------------------------------------

    @property
    def _pre_width(self) -> int:
        assert self.pre_width is not None
        return self.pre_width

    @property
    def _post_width(self) -> int:
        assert self.post_width is not None
        return self.post_width

    @property
    def _width(self) -> int:
        assert self.width is not None
        return self.width

    @property
    def _reduction(self) -> float:
        assert self.reduction is not None
        return self.reduction

    def spread(self, n_post: int, n_pre: int) -> float:
        """Return the half-width of "diagonal" and "gaussian" in units, across the diagonal."""
        if self.width is not None:
            return 2.0 * self.width if self.form == "gaussian" else self.width / math.sqrt(2)
        if self.halfbandwidth is not None:
            return self.halfbandwidth
        nx, ny = (n_post, n_pre) if self.transposed else (n_pre, n_post)
        h = (nx * ny / math.sqrt(nx * nx + ny * ny)) * (1.0 - math.sqrt(self._reduction))
        return h * 1.5 if self.form == "gaussian" else h

    def _slope(self, n_post: int, n_pre: int) -> float:
        if self.width is not None:
            return 1.0
        nx, ny = (n_post, n_pre) if self.transposed else (n_pre, n_post)
        return (nx - 1) / (ny - 1)

    def _band(self, n_post: int, n_pre: int) -> Runs:
        nx, ny = (n_post, n_pre) if self.transposed else (n_pre, n_post)
        if self.width is not None:
            reach, w = 1.0, float(self.width)
        elif ny == 1:
            yield from _full(n_post, n_pre)
            return
        else:
            reach = self._slope(n_post, n_pre)
            w = self.spread(n_post, n_pre) * math.sqrt(reach * reach + 1.0)
        spans = []  # of x, for each y; both ends ascend
        for y in range(ny):
            low, high = reach * y - w, reach * y + w
            spans.append(
                (math.floor(low) + 1 if low >= 0 else 0, math.ceil(high) if high < nx else nx)
            )
        if not self.transposed:
            yield from ((y, first, last) for y, (first, last) in enumerate(spans) if first < last)
            return
        for x, (first, last) in enumerate(_other_way(spans, nx)):
            if first < last:
                yield x, first, last

    def _stripes(self, n: int) -> Runs:
        offsets = {n * k // self._width for k in range(self._width)}
        for post in range(n):
            # Counted from the input: it is not heard by the outputs these offsets further on.
            cuts = sorted((post - offset) % n for offset in offsets)
            for first, last in zip((0, *(cut + 1 for cut in cuts)), (*cuts, n), strict=True):
                if first < last:
                    yield post, first, last

    def _drawn_rows(self, n_post: int, n_pre: int) -> Iterator[bytes]:
        outer, inner = (n_pre, n_post) if self.transposed else (n_post, n_pre)
        if self.form == "exact":
            uniform = legacy_stream(self.seed).random
            draws = [uniform() for _ in range(outer * inner)]
            order = sorted(range(outer * inner), key=draws.__getitem__)
            flat = bytearray(b"\1" * (outer * inner))
            for cell in order[: (n_post - self._width) ** 2]:
                flat[cell] = 0
        elif self.form == "kernel":  # x is the outer loop: inputs, transposed outputs
            outer, inner = inner, outer
            uniform, p = random.Random(self.seed).random, self._reduction
            flat = bytearray(uniform() > p for _ in range(outer * inner))
        else:
            flat = self.draw(n_post, n_pre, 1)
        if outer == n_post and self.transposed == (self.form == "kernel"):
            yield from (bytes(flat[k * inner : (k + 1) * inner]) for k in range(outer))
        else:
            yield from (bytes(flat[k::inner]) for k in range(inner))

    def _paper_rows(self, i: int, n_x_rows: int, n_y_rows: int) -> Iterator[tuple[int, float]]:
        """Yield the rows of y that a row of x reaches, and the half-width of its window there."""
        assert self.radius is not None
        r, v = self.radius, i / n_x_rows
        for k in range(
            max(math.ceil((v - r) * n_y_rows), 0),
            min(math.ceil((v + r) * n_y_rows), n_y_rows),
        ):
            t = r * r - (k / n_y_rows - v) * (k / n_y_rows - v)
            if t > 0:
                yield k, math.sqrt(t)

    def _paper_spans(self, a: int, b: int) -> Callable[[float], list[tuple[int, int]]]:
        """Return the columns of y ``(first, last)`` of each column of x, by half-width."""
        known: dict[float, list[tuple[int, int]]] = {}

        def spans(s: float) -> list[tuple[int, int]]:
            if s not in known:
                known[s] = [
                    (max(math.ceil((c / a - s) * b), 0), min(math.ceil((c / a + s) * b), b))
                    for c in range(a)
                ]
            return known[s]

        return spans

    def _paper_by_x(self, n_post: int, n_pre: int) -> Runs:
        """Transposed: x is the outputs."""
        if n_pre == 1:
            yield from _full(n_post, n_pre)
            return
        a, b = self._post_width, self._pre_width
        spans = self._paper_spans(a, b)
        for i in range(n_post // a):
            reach = list(self._paper_rows(i, n_post // a, n_pre // b))
            for c in range(a):
                for k, s in reach:
                    first, last = spans(s)[c]
                    if first < last:
                        yield i * a + c, k * b + first, k * b + last

    def _paper_by_y(self, n_post: int, n_pre: int) -> Runs:
        """Linear and convolution: x is the inputs, so the published loop is turned round."""
        if n_post == 1:
            yield from _full(n_post, n_pre)
            return
        a, b = self._pre_width, self._post_width
        n_x_rows, n_y_rows = n_pre // a, n_post // b
        spans = self._paper_spans(a, b)
        known: dict[float, list[tuple[int, int]]] = {}
        reach: list[list[tuple[int, float]]] = [[] for _ in range(n_y_rows)]
        for i in range(n_x_rows):
            for k, s in self._paper_rows(i, n_x_rows, n_y_rows):
                reach[k].append((i, s))
                if s not in known:
                    known[s] = _other_way(spans(s), b)
        for k in range(n_y_rows):
            for j in range(b):
                for i, s in reach[k]:
                    first, last = known[s][j]
                    if first < last:
                        yield k * b + j, i * a + first, i * a + last

    def _disc(self, n_post: int, n_pre: int) -> Runs:
        """Decide the open disc in integers: distances in steps of the finest grid."""
        a, b = self._pre_width, self._post_width
        n_i, n_k = n_pre // a, n_post // b
        fine, fine_rows = math.lcm(a, b), math.lcm(n_i, n_k)
        square = Fraction(str(float(self.radius or 0))) ** 2
        known: dict[int, list[list[tuple[int, int]]]] = {}  # runs of columns by distance of rows
        for k in range(n_k):
            reach = []
            for i in range(n_i):
                rows = abs(i * (fine_rows // n_i) - k * (fine_rows // n_k))
                if self.torus:
                    rows = min(rows, fine_rows - rows)
                room = (square - Fraction(rows, fine_rows) ** 2) * fine * fine
                if room <= 0:
                    continue
                if rows not in known:  # m * m < room
                    m = math.isqrt(math.ceil(room) - 1)
                    known[rows] = [self._disc_columns(j, m, a, b, fine) for j in range(b)]
                reach.append((i, known[rows]))
            for j in range(b):
                for i, columns in reach:
                    for first, last in columns[j]:
                        yield k * b + j, i * a + first, i * a + last

    def _disc_columns(self, j: int, m: int, a: int, b: int, fine: int) -> list[tuple[int, int]]:
        """Return the runs of columns of pre at most ``m`` fine steps from column ``j`` of post."""
        step, centre = fine // a, j * (fine // b)
        if self.torus and 2 * m + 1 >= fine:
            return [(0, a)]
        first, last = -((m - centre) // step), (centre + m) // step + 1
        if first >= last:
            return []
        if not self.torus:
            first, last = max(first, 0), min(last, a)
            return [(first, last)] if first < last else []
        turns = first // a * a  # whole turns round the torus; at most `a` columns are left
        first, last = first - turns, last - turns
        if last <= a:
            return [(first, last)]
        return [(0, last - a), (first, a)] if last - a < first else [(0, a)]


def legacy_stream(seed: int) -> random.Random:
    """Return a generator whose ``random()`` repeats ``numpy.random.RandomState(seed)``.

    Both are MT19937 and make a double of 53 bits in the same way; they differ in how a number
    becomes a state. This is ``init_genrand`` (Matsumoto & Nishimura 2002).
    """
    state = [seed]
    for k in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + k) % 2**32)
    stream = random.Random()
    stream.setstate((3, (*state, 624), None))
    return stream


def widths_near(n: int, width: int, how_many: int = 4) -> list[int]:
    """Return the grid widths that tile ``n`` units and are nearest to ``width``, ascending."""
    divisors = {d for k in range(1, math.isqrt(n) + 1) if n % k == 0 for d in (k, n // k)}
    return sorted(sorted(divisors, key=lambda d: (abs(d - width), d))[:how_many])


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_count(name: str, value: int) -> None:
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, found {value!r}")


def _check_tiles(name: str, width: int, n: int, units: str) -> None:
    if n % width:
        what = "is more than" if width > n else "does not divide"
        near = ", ".join(map(str, widths_near(n, width)))
        raise ValueError(f"{name} {width} {what} the {n} {units}; near it, these do: {near}")


def _bell(distance: float, spread: float) -> float:
    return math.exp(-(distance * distance) / (2.0 * spread * spread))


def _full(n_post: int, n_pre: int) -> Runs:
    return ((post, 0, n_pre) for post in range(n_post))


def _other_way(spans: list[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """Return, for each of ``n`` places, which spans hold it: a range, as both their ends ascend."""
    first = last = 0
    turned = []
    for place in range(n):
        while last < len(spans) and spans[last][0] <= place:
            last += 1
        while first < len(spans) and spans[first][1] <= place:
            first += 1
        turned.append((first, last))
    return turned


def _runs_of_rows(rows: Iterator[bytes]) -> Runs:
    for post, row in enumerate(rows):
        first = row.find(1)
        while first >= 0:
            last = row.find(0, first)
            last = len(row) if last < 0 else last
            yield post, first, last
            first = row.find(1, last)
