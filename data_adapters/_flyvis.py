"""The connectome files of flyvis: average filters between cell types, tiled over a hexagonal eye.

A file has cell types, each with the pattern in which it repeats over the columns of the eye, and
for each pair of types a sign and offsets ``[[du, dv], count]``: every source cell in column
``(u, v)`` contacts the target cell in column ``(u + du, v + dv)`` with ``count`` synapses on
average. Columns have axial coordinates with ``|u|, |v|, |u + v| <= extent``
(Lappalainen et al. 2024, Nature 634:1132; layout of flyvis 1.2.0).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence

from ._content import FETCH_AGAIN, unzipped
from ._raw import Facts, Raw
from ._readers import ReadOptions

Ints = npt.NDArray[np.int64]
Fill = Literal["none", "hull"]

EXTENT = 15  # the published network: 721 columns, about as many as a fly's eye has
MAX_BYTES = 100_000_000  # of a connectome file; the published one has 618,148
MAX_EXTENT = 100  # 30,301 columns; the published file gives 2 million neurons there
MAX_OFFSET = 2 * MAX_EXTENT  # offsets beyond it lie outside any eye
MAX_COUNT = 1e6  # mean synapses; the published ones are at most 144
FILL_COUNT = 1.0  # synapses assumed in a gap of a filter (n_syn_fill of flyvis)


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """What each cell of type ``pre`` contacts among the cells of type ``post``."""

    pre: int  # index of a type
    post: int
    sign: int  # +1, -1, or 0 where not known
    offsets: Ints  # (n, 2): columns (du, dv) from the source to the target
    counts: npt.NDArray[np.float64]  # (n,): mean synapses


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A file of flyvis: ``strides`` says in which columns a type has a cell; none: in (0, 0)."""

    types: tuple[str, ...]
    strides: tuple[tuple[int, int] | None, ...]
    filters: tuple[Filter, ...]
    inputs: frozenset[str]
    outputs: frozenset[str]

    @property
    def n_offsets(self) -> int:
        """Number of offsets in all filters."""
        return sum(len(f.counts) for f in self.filters)

    def type_signs(self) -> list[int | None]:
        """Return the sign of all outputs of each type; None if they differ."""
        signs: list[set[int]] = [set() for _ in self.types]
        for f in self.filters:
            signs[f.pre].add(f.sign)
        return [next(iter(s)) if s in ({1}, {-1}) else None for s in signs]

    def filled(self) -> Template:
        """Return the template with `FILL_COUNT` synapses in the gaps of each filter.

        Gaps are columns inside the convex hull of a filter's offsets. flyvis fills them because
        reconstructed columns were few and incomplete.
        """
        return replace(self, filters=tuple(_filled(f) for f in self.filters))


@dataclass(frozen=True, slots=True, eq=False)
class Tiling:
    """A template over the whole eye: cells by type, then u, then v; edges in no order."""

    type_index: Ints  # (n_cells,)
    u: Ints
    v: Ints
    pre: npt.NDArray[np.int32]  # (n_edges,), indices of cells
    post: npt.NDArray[np.int32]
    count: npt.NDArray[np.float64]  # mean synapses
    sign: npt.NDArray[np.int8]
    types: tuple[str, ...] = field(repr=False)

    def ids(self) -> pa.Array:
        """Return the name of each cell, such as ``T4a(3,-2)``."""
        u, v = (pa.array(x).cast(pa.string()) for x in (self.u, self.v))
        at = pc.binary_join_element_wise(u, v, ",")
        return pc.binary_join_element_wise(self.words(), "(", at, ")", "")

    def words(self) -> pa.Array:
        """Return the type of each cell."""
        return pa.array(self.types, pa.string()).take(pa.array(self.type_index))


def tile(template: Template, extent: int) -> Tiling:
    """Repeat a template over all columns within ``extent`` of the middle one.

    Connections whose target would lie outside the eye do not exist.
    """
    grids = [_grid(extent, stride) for stride in template.strides]
    sizes = [len(u) for u, _ in grids]
    first = np.concatenate([[0], np.cumsum(sizes)])
    side = 2 * extent + 1
    cell_at = np.full((len(grids), side, side), -1, np.int32)  # as many as there are cells
    for k, (u, v) in enumerate(grids):
        cell_at[k, u + extent, v + extent] = np.arange(first[k], first[k + 1])

    pre, post, count, sign = [], [], [], []
    for f in template.filters:
        u, v = grids[f.pre]
        to_u = u + f.offsets[:, :1] + extent  # (n_offsets, n_source_cells)
        to_v = v + f.offsets[:, 1:] + extent
        offset, source = np.nonzero((to_u >= 0) & (to_u < side) & (to_v >= 0) & (to_v < side))
        target = cell_at[f.post, to_u[offset, source], to_v[offset, source]]
        offset, source, target = (x[target >= 0] for x in (offset, source, target))
        pre.append((first[f.pre] + source).astype(np.int32))
        post.append(target)
        count.append(f.counts[offset])
        sign.append(np.full(len(target), f.sign, np.int8))
    return Tiling(
        np.repeat(np.arange(len(grids)), sizes),
        np.concatenate([u for u, _ in grids]),
        np.concatenate([v for _, v in grids]),
        np.concatenate([np.zeros(0, np.int32), *pre]),
        np.concatenate([np.zeros(0, np.int32), *post]),
        np.concatenate([np.zeros(0), *count]),
        np.concatenate([np.zeros(0, np.int8), *sign]),
        template.types,
    )


def _grid(extent: int, stride: tuple[int, int] | None) -> tuple[Ints, Ints]:
    """Return the columns ``(u, v)`` in which a type has a cell, by u, then v."""
    if stride is None:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    axis = np.arange(-extent, extent + 1, dtype=np.int64)
    u, v = (a.ravel() for a in np.meshgrid(axis, axis, indexing="ij"))
    kept = (abs(u + v) <= extent) & (u % stride[0] == 0) & (v % stride[1] == 0)
    return u[kept], v[kept]


def _filled(given: Filter) -> Filter:
    corners = _hull(given.offsets)
    if len(corners) < 3:  # all on one line: nothing is inside
        return given
    low, high = given.offsets.min(axis=0), given.offsets.max(axis=0) + 1
    axes = (np.arange(a, b, dtype=np.int64) for a, b in zip(low, high, strict=True))
    box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = box[_within(corners, box)]
    known = set(map(tuple, given.offsets.tolist()))
    gaps = np.array([p for p in inside.tolist() if tuple(p) not in known], np.int64).reshape(-1, 2)
    return replace(
        given,
        offsets=np.concatenate([given.offsets, gaps]),
        counts=np.concatenate([given.counts, np.full(len(gaps), FILL_COUNT)]),
    )


def _hull(points: Ints) -> Ints:
    """Return the corners of the convex hull, counterclockwise (Andrew 1979, IPL 9:216)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return points

    def half(way: list[Any]) -> list[Any]:
        corners: list[Any] = []
        for x, y in way:
            while len(corners) > 1:
                (ax, ay), (bx, by) = corners[-2:]
                if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                    break
                corners.pop()
            corners.append((x, y))
        return corners[:-1]

    return np.array(half(ordered) + half(ordered[::-1]), np.int64)


def _within(corners: Ints, points: Ints) -> npt.NDArray[np.bool_]:
    """Return which points a polygon contains, by the number of its sides that a ray crosses.

    Some sides belong to the polygon and others do not, as in the function of matplotlib that flyvis
    calls: with another rule the number of filled columns is another.
    """
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    falls_from, falls_to = y0 >= y, y1 >= y
    left = (y1 - y) * (x0 - x1) >= (x1 - x) * (y0 - y1)
    crossed = (falls_from != falls_to) & (left == falls_to)
    return np.asarray(crossed.sum(axis=1) % 2 == 1)


# --- the file -------------------------------------------------------------------------------------


def read(path: Path, options: ReadOptions) -> Raw:
    """Tile a file over an eye of the published size, for the adapter ``table``."""
    with unzipped(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise CompileError(
            str(path), f"has more than {MAX_BYTES:,} bytes, too many for a connectome file"
        )
    template = parse(str(path), content)
    eye = tile(template, EXTENT)
    ids = eye.ids()
    edges = {
        "pre": ids.take(pa.array(eye.pre)),
        "post": ids.take(pa.array(eye.post)),
        "weight": eye.count,
        "sign": eye.sign,
    }
    notes = (
        f"tiled over an eye of extent {EXTENT}; the adapter fly-visual offers others",
        "weights are mean synapse counts over columns: the connectivity is modelled",
    )
    cells = pa.table({"neuron_id": ids, **columns(template, eye)})
    facts = Facts("a connectome of flyvis", "network", "pre", "post", "weight", cell_id="neuron_id")
    return Raw(pa.table(edges), cells, facts, notes, Evidence.MODELLED)


def columns(template: Template, eye: Tiling) -> dict[str, pa.Array]:
    """Return what is known of each cell, for a neuron table."""

    def of_type(values: Sequence[Any], dtype: pa.DataType) -> pa.Array:
        return pa.array(values, dtype).take(pa.array(eye.type_index))

    roles = ["sensory" if t in template.inputs else "inter" for t in template.types]
    outputs = [t in template.outputs for t in template.types]
    return {
        "cell_type": eye.words(),
        "sign": of_type(template.type_signs(), pa.int8()),
        "role": of_type(roles, pa.string()),
        "u": pa.array(eye.u),
        "v": pa.array(eye.v),
        "output": of_type(outputs, pa.bool_()),
    }


def parse(where: str, content: bytes) -> Template:
    """Read a file of flyvis; raise `CompileError` naming the place in it that is wrong."""
    try:
        spec = json.loads(content)
    except UnicodeDecodeError as error:
        raise CompileError(where, "is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise CompileError(where, f"is broken JSON: {error}", FETCH_AGAIN) from error
    nodes, edges = (_part(where, spec, name) for name in ("nodes", "edges"))
    types, strides = [], []
    for k, node in enumerate(nodes):
        types.append(_text(f"{where}, nodes[{k}]", node, "name"))
        strides.append(_stride(f"{where}, nodes[{k}] {types[-1]}", node))
    if twice := sorted(t for t, n in Counter(types).items() if n > 1):
        raise CompileError(f"{where}, nodes", f"cell type {twice[0]!r} occurs twice")
    if not types:
        raise CompileError(f"{where}, nodes", "no cell type")
    index = {name: k for k, name in enumerate(types)}
    inputs, outputs = (
        frozenset(types[_index(f"{where}, {group}", n, index)] for n in _part(where, spec, group))
        for group in ("input_units", "output_units")
    )
    filters = []
    seen: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for k, edge in enumerate(edges):
        at = f"{where}, edges[{k}]"
        pre, post = (_index(at, _text(at, edge, end), index) for end in ("src", "tar"))
        at += f" {types[pre]} -> {types[post]}"
        filters.append(_filter(at, edge, pre, post, seen.setdefault((pre, post), set())))
    return Template(tuple(types), tuple(strides), tuple(filters), inputs, outputs)


def _part(where: str, spec: Any, name: str) -> list[Any]:
    if not isinstance(spec, dict) or not isinstance(spec.get(name), list):
        found = f"it has {', '.join(map(repr, spec))[:200]}" if isinstance(spec, dict) else ""
        raise CompileError(where, f"is not a flyvis connectome: it has no list {name!r}", found)
    return list(spec[name])


def _text(where: str, item: Any, key: str) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise CompileError(where, f"{key} must be the name of a cell type, not {value!r}")
    return value


def _index(where: str, name: Any, index: dict[str, int]) -> int:
    if not isinstance(name, str) or name not in index:
        raise UnknownNameError.among(f"{where}: cell type", str(name), index)
    return index[name]


def _stride(where: str, node: Any) -> tuple[int, int] | None:
    """Return in which columns a type has a cell: where u and v are multiples of these."""
    match node.get("pattern"):
        case ["single", _]:
            return None
        case ["tile", int(n)] if n > 0:
            return n, n
        case ["stride", [int(n), int(m)]] if n > 0 and m > 0:
            return n, m
        case other:
            hint = 'known: ["stride", [u, v]], ["tile", n], ["single", null]'
            raise CompileError(where, f"unknown pattern {other!r}", hint)


def _filter(where: str, edge: Any, pre: int, post: int, seen: set[tuple[int, int]]) -> Filter:
    """Check one pair of types; ``seen`` are its offsets so far, kept up to date."""
    sign = edge.get("alpha")
    if sign not in (1, -1, 0):
        raise CompileError(where, f"alpha must be 1, -1 or 0 (unknown), not {sign!r}")
    kind = edge.get("edge_type", "chem")
    if kind != "chem":
        raise CompileError(where, f"unknown edge_type {kind!r}", 'known: "chem"')
    given = edge.get("offsets")
    if not isinstance(given, list):
        raise CompileError(where, f"offsets must be [[[du, dv], count], ...], not {given!r}")
    for k, item in enumerate(given):
        match item:
            case [[int(du), int(dv)], int() | float() as count] if (
                max(abs(du), abs(dv)) <= MAX_OFFSET and 0 < count <= MAX_COUNT
            ):
                if (du, dv) in seen:
                    problem = f"[{du}, {dv}] occurs twice for this pair of types"
                    raise CompileError(f"{where}, offsets[{k}]", problem, "sum the counts")
                seen.add((du, dv))
            case _:
                hint = "use [[du, dv], count]: integer columns, and a count above 0"
                raise CompileError(f"{where}, offsets[{k}]", f"{item!r} is not an offset", hint)
    return Filter(
        pre,
        post,
        int(sign),
        np.array([o for o, _ in given], np.int64).reshape(-1, 2),
        np.array([n for _, n in given], np.float64),
    )
