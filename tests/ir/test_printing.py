from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
from hypothesis import given
from strategies import graphs

from connectome_compiler.ir import (
    AllToAll,
    Evidence,
    Graph,
    Population,
    Projection,
    Provenance,
    Synapses,
    neuron_table,
)

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
