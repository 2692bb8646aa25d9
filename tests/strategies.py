"""Hypothesis strategies for small random valid graphs: ``from strategies import graphs``."""

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from connectome_compiler.ir import (
    AllToAll,
    Connectivity,
    Evidence,
    Graph,
    OneToOne,
    PerConnection,
    Population,
    Port,
    Projection,
    Provenance,
    Swept,
    Synapses,
    neuron_table,
)

# What has broken file names and JSON before, beside ordinary names.
NAMES = (
    "L2/3.exc",
    "L4.inh",
    "l4.inh",
    "L5",
    "a/b",
    "..",
    ".",
    "a b",
    "µ-Zelle",
    "Ü",
    'q"\\',
    "con",
)
WORDS = st.none() | st.sampled_from(["23P", "BC", "MC", "", "é"])
WEIGHTS = {
    "synapses": st.integers(1, 9),
    "um2": st.floats(-9, 9, allow_nan=False).map(lambda x: x + 0.0),
}


@st.composite
def synapses(
    draw: st.DrawFn,
    n_post: int,
    n_pre: int,
    *,
    unit: str = "synapses",
    size: bool | None = None,
    sign: bool | None = None,
) -> Synapses:
    """Edge lists between that many neurons; ``size`` and ``sign`` None: with or without."""
    cells = st.integers(0, max(n_post * n_pre - 1, 0))
    flat = sorted(draw(st.sets(cells, max_size=12))) if n_post * n_pre else []
    post, pre = np.divmod(np.array(flat, np.int64), max(n_pre, 1))

    def values(elements: st.SearchStrategy[Any], dtype: Any) -> npt.NDArray[Any]:
        n = len(flat)
        return np.array(draw(st.lists(elements, min_size=n, max_size=n)), dtype)

    return Synapses(
        post,
        pre,
        values(WEIGHTS[unit], np.int64 if unit == "synapses" else np.float64),
        unit,
        values(st.integers(0, 99), np.float64) if draw(_or_any(size)) else None,
        values(st.integers(-1, 1), np.int8) if draw(_or_any(sign)) else None,
    )


@st.composite
def populations(
    draw: st.DrawFn, names: tuple[str, ...], first_ids: list[int], text_ids: bool
) -> tuple[Population, ...]:
    """Populations of at most five neurons with all kinds of columns, nulls among them."""
    extra = draw(st.booleans())
    made = []
    for name, first in zip(names, first_ids, strict=True):
        n = draw(st.integers(0, 5))

        def values(elements: st.SearchStrategy[Any], n: int = n) -> list[Any]:
            return draw(st.lists(elements, min_size=n, max_size=n))

        ids = [first + k for k in range(n)]
        columns: dict[str, Any] = {
            "neuron_id": [f"n{i}" for i in ids] if text_ids else np.array(ids, np.int64),
            "cell_type": values(WORDS),
            "sign": values(st.sampled_from([1, -1, None])),
            "cortical_layer": values(st.sampled_from(["L4", "L2/3", "L5", None])),
            "x_um": values(st.none() | st.integers(0, 500)),
            "axon_coverage": values(st.sampled_from(["none", "partial", "full", None])),
        }
        if extra:
            columns["nucleus_id"] = values(st.none() | st.integers(2**53, 2**63 - 1))
            columns["checked"] = values(st.none() | st.booleans())
        made.append(Population(name, (n,), neuron_table(columns)))
    return tuple(made)


@st.composite
def connectomes(draw: st.DrawFn, min_populations: int = 0) -> Graph:
    """Graphs of neurons alone, as adapters load them: any pass may take them."""
    few = st.lists(st.sampled_from(NAMES), min_size=min_populations, max_size=3, unique=True)
    names = tuple(draw(few))
    base = draw(st.sampled_from([0, 2**53, 2**62]))
    first_ids = [base + 1 + 10 * k for k in range(len(names))]
    people = draw(populations(names, first_ids, draw(st.booleans())))
    unit, size = draw(st.sampled_from(list(WEIGHTS))), draw(st.booleans())
    projections = [
        Projection(
            pre.name, post.name, draw(synapses(post.n_units, pre.n_units, unit=unit, size=size))
        )
        for post in people
        for pre in people
        if draw(st.booleans())
    ]
    if draw(st.booleans()):
        projections += draw(gap_junctions(people, unit))
    return Graph(people, tuple(projections), Provenance("random", connectivity=Evidence.MODELLED))


@st.composite
def gap_junctions(
    draw: st.DrawFn, people: tuple[Population, ...], unit: str
) -> tuple[Projection, ...]:
    """Electrical projections between any pairs of populations, each with its mirror image."""
    made = []
    for k, one in enumerate(people):
        for other in people[k:]:
            if not draw(st.booleans()):
                continue
            half = draw(synapses(other.n_units, one.n_units, unit=unit, size=False, sign=False))
            weight = np.abs(half.weight)
            if one is other:  # one triangle, and its mirror image
                low = half.pre < half.post
                ends = half.post[low], half.pre[low]
                post, pre = (np.concatenate(both) for both in (ends, ends[::-1]))
                whole = Synapses.from_edges(post, pre, np.tile(weight[low], 2), unit=unit)
                made.append(Projection(one.name, one.name, whole, kind="electrical"))
            else:
                there = Synapses(half.post, half.pre, weight, unit)
                back = Synapses.from_edges(half.pre, half.post, weight, unit=unit)
                made.append(Projection(one.name, other.name, there, kind="electrical"))
                made.append(Projection(other.name, one.name, back, kind="electrical"))
    return tuple(made)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs of any kind that `Graph.verify` allows: also images, read-outs, laws, no delays."""
    core = draw(connectomes())
    if not draw(st.booleans()):
        return core
    image = Population("image", (1, 2, 3), artificial=True)
    copy = Population("copy", (6,), artificial=True)
    classes = Population("classes", (4,), node=Swept("linear"), artificial=True)
    laws: list[tuple[str, str, Connectivity]] = [
        ("image", "copy", OneToOne()),
        *(("copy", p.name, AllToAll()) for p in core.populations),
        *((p.name, "classes", AllToAll()) for p in core.populations),
    ]
    held = draw(st.sampled_from([PerConnection(), PerConnection(sign="abs")]))
    return Graph(
        (image, copy, *core.populations, classes),
        (
            *(Projection(p.pre, p.post, p.connectivity, held, p.kind) for p in core.projections),
            *(Projection(pre, post, law, delay=0) for pre, post, law in laws),
        ),
        core.provenance,
        (Port("image", "image", "in"), Port("classes", "classes", "out")),
    )


def masks(n: int) -> st.SearchStrategy[npt.NDArray[np.bool_]]:
    """Which of ``n`` things to keep."""
    flags = st.lists(st.booleans(), min_size=n, max_size=n)
    return flags.map(lambda kept: np.array(kept, np.bool_))


def _or_any(given: bool | None) -> st.SearchStrategy[bool]:
    return st.booleans() if given is None else st.just(given)
