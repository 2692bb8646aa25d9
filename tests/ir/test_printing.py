from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import graphs

from connectome_compiler.ir import (
    AllToAll,
    Evidence,
    Fixed,
    GaussianLaw,
    Graph,
    OneToOne,
    PerConnection,
    Place,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)
from connectome_compiler.ir.graph import Kind
from connectome_compiler.ir.printing import MOST_ROWS, population_rows, projection_rows

SCREEN_LINES, SCREEN_LETTERS = 48, 200


def column() -> Graph:
    exc = neuron_table(
        {
            "neuron_id": [1, 2, 3],
            "cell_type": ["23P", "23P", None],
            "sign": [1, 1, None],
            "axon_coverage": ["full", "none", "partial"],
        }
    )
    inh = neuron_table({"neuron_id": [4, 5], "cell_type": ["BC", "MC"], "sign": [-1, -1]})
    image = Population("image", (1, 48, 48), artificial=True)
    edges = Synapses([0, 1], [0, 2], [2, 1])  # type: ignore[arg-type]
    return Graph(
        (image, Population("L2/3.exc", (3,), exc), Population("L2/3.inh", (2,), inh)),
        (
            Projection("image", "L2/3.exc", AllToAll(), delay=0),
            Projection("L2/3.exc", "L2/3.inh", edges),
        ),
        Provenance("column", "7", connectivity=Evidence.MODELLED, licence="CC BY 4.0"),
    )


def test_repr_is_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("printing/column.txt", repr(column()) + "\n")
    golden("printing/column.html", column()._repr_html_() + "\n")


@given(graphs())
def test_any_graph_fits_on_a_screen(g: Graph) -> None:
    lines = repr(g).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_LETTERS
    assert g._repr_html_()


def test_a_graph_of_many_populations_fits_too() -> None:
    edges = Synapses([0], [0], [1])  # type: ignore[arg-type]
    names = [f"{'very ' * 30}long name {k}" for k in range(120)]
    many = tuple(
        Population(name, (1,), neuron_table({"neuron_id": [k], "cell_type": [name]}))
        for k, name in enumerate(names)
    )
    projections = tuple(Projection(a, b, edges) for a in names[:50] for b in names)
    g = Graph(many, projections, Provenance("many"))
    lines = repr(g).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_LETTERS
    assert "... and 104 more" in lines
    assert "... and 5,984 more" in lines
    assert g._repr_html_().count("<tr>") <= SCREEN_LINES


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


def test_names_cannot_become_html() -> None:
    evil = "<script>alert('x')</script>&"
    table = neuron_table({"neuron_id": [1], "cell_type": [evil]})
    edges = Synapses([0], [0], [1], "<b>")  # type: ignore[arg-type]
    g = Graph(
        (Population(evil, (1,), table),),
        (Projection(evil, evil, edges),),
        Provenance(evil, evil, licence=evil),
    )
    broken = Graph((*g.populations, *g.populations), (), Provenance(evil))
    for page in (g._repr_html_(), broken._repr_html_()):
        tags = Tags()
        tags.feed(page)
        known = {"p", "b", "small", "table", "caption", "thead", "tbody", "tr", "th", "td"}
        assert tags.seen <= known


def test_the_empty_graph() -> None:
    g = Graph((), (), Provenance("t"))
    empty = "0 neurons in 0 populations, 0 connections in 0 projections"
    assert repr(g) == f"t (evidence unknown): {empty}"


def test_density_leaves_out_unread_axons() -> None:
    row = next(line for line in repr(column()).splitlines() if line.startswith("L2/3.exc->"))
    assert f"{2 / (2 * 2):.4f}" in row
    assert np.isclose(column().density(column().projections[1]), 0.5)


def test_gap_junctions_are_counted_once_and_have_no_sign() -> None:
    post, pre = np.array([[0, 1], [1, 0], [1, 2], [2, 1], [2, 2]]).T
    gaps = Synapses.from_edges(post, pre, [3, 3, 4, 4, 5])
    exc = column().population("L2/3.exc")
    junctions = Projection("L2/3.exc", "L2/3.exc", gaps, kind="electrical")
    g = Graph((exc,), (junctions,), Provenance("t"))
    row = next(line for line in repr(g).splitlines() if ":electrical" in line)
    assert row.split()[1:] == ["5", "0.5000", "-", "-", "1", "12", "synapses,", "3", "junctions"]


NEURONS = Population(
    "neurons",
    (6,),
    neuron_table(
        {
            "neuron_id": range(6),
            "cell_type": ["E", "B", "B", "D", "A", "C"],
            "sign": [1, -1, None, None, None, -1],
            "axon_coverage": ["none", *["full"] * 5],
        }
    ),
)
AREA = Population("area", (6,), place=Place("V1", level=0))
PLACELESS = Population("placeless", (1_000, 1, 2), place=Place("V1"))
EMPTY = Population("empty", (0,), neuron_table({"neuron_id": np.array([], np.int64)}))


@pytest.mark.parametrize(
    ("population", "cells"),
    [
        (NEURONS, ("6", "3 ?, 2 -, 1 +", "5", "2 B, 1 A, 1 C, 1 D, ...")),
        (AREA, ("6", "-", "-", "level 0")),
        (PLACELESS, ("1,000 x 1 x 2", "-", "-", "-")),
        (Population("image", (2,), artificial=True), ("2", "-", "-", "artificial")),
        (Population("units", (2,)), ("2", "-", "-", "-")),
        (EMPTY, ("0", "-", "not known", "")),
    ],
)
def test_a_population_is_a_row(population: Population, cells: tuple[str, ...]) -> None:
    graph = Graph((population,), (), Provenance("t"))
    assert population_rows(graph)[1:] == [(population.name, *cells)]


# From neurons 0, 1 and 2, with signs +1, -1 and none.
THREE = Synapses([0, 1, 2], [0, 1, 2], [1.0, 2.0, 1000.0], "um2")  # type: ignore[arg-type]
PIXELS = GaussianLaw(2.0, 3.0, unit="px")


@pytest.mark.parametrize(
    ("pre", "connectivity", "weights", "signs", "enforced"),
    [
        ("neurons", THREE, PerConnection(), "1 +, 1 -, 1 ?", "0"),
        ("neurons", THREE, PerConnection(sign="abs"), "1 +, 1 -, 1 ?", "2"),
        ("area", THREE, PerConnection(), "3 ?", "0"),
        ("area", THREE, Fixed(-1), "3 -", "3"),
        ("area", AllToAll(), Fixed(1), "36 +", "36"),
        ("area", AllToAll(), PerConnection(), "free", "-"),
        ("area", OneToOne(), PerConnection(), "-", "-"),
        ("area", OneToOne(), Fixed(1), "6 +", "6"),
        ("area", PIXELS, PerConnection(), "free", "-"),
    ],
)
def test_signs_are_shown_where_there_are_any(
    pre: str, connectivity: Any, weights: Any, signs: str, enforced: str
) -> None:
    q = Projection(pre, "target", connectivity, weights)
    graph = Graph((NEURONS, AREA, Population("target", (6,))), (q,), Provenance("t"))
    (row,) = projection_rows(graph)[1:]
    assert (row[3], row[4]) == (signs, enforced)


@pytest.mark.parametrize(
    ("connectivity", "kind", "density", "weight"),
    [
        (THREE, "chemical", "0.0833", "1,003 um2"),
        (AllToAll(), "chemical", "1.0000", "all to all"),
        (PIXELS, "chemical", "-", PIXELS.describe()),
        (GaussianLaw(2.0, 3.0), "chemical", "0.5000", GaussianLaw(2.0, 3.0).describe()),
        (THREE, "electrical", "0.0833", "1,003 um2, 3 junctions"),
    ],
)
def test_strengths_are_shown_in_their_unit(
    connectivity: Any, kind: Kind, density: str, weight: str
) -> None:
    q = Projection("area", "target", connectivity, kind=kind)
    graph = Graph((AREA, Population("target", (6,))), (q,), Provenance("t"))
    (row,) = projection_rows(graph)[1:]
    assert (row[2], row[6]) == (density, weight)


@pytest.mark.parametrize("n", [MOST_ROWS, MOST_ROWS + 1])
def test_what_was_cut_is_counted(n: int) -> None:
    graph = Graph(tuple(Population(f"p{k}", (1,)) for k in range(n)), (), Provenance("t"))
    lines = repr(graph).splitlines()
    assert sum(line.startswith("p") and " 1 " in line for line in lines) == MOST_ROWS
    assert (
        ("... and 1 more" in lines) == ("... and 1 more" in graph._repr_html_()) == (n > MOST_ROWS)
    )


def test_only_connections_between_neurons_have_signs_to_count() -> None:
    graph = column()
    bare = graph.with_projections(graph.projections[:1])
    for shown in (repr(bare), bare._repr_html_()):
        assert "signs:" not in shown
        assert "CC BY 4.0" in shown
    assert "licence" not in repr(Graph(graph.populations, (), Provenance("t")))
