"""What notebooks show: tables without script or colours, in which names are only text."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from strategies import graphs
from worms import driven, worm

import connectome_compiler as cc
from connectome_compiler.certify.certificate import Certificate
from connectome_compiler.ir import AllToAll, Graph, Population, Projection, neuron_table
from connectome_compiler.ir.provenance import SourceFile, Step
from connectome_compiler.statement import Statement

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>&\u202e"
PLAIN = {"p", "b", "small", "table", "caption", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.styles: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        for name, value in attrs:
            assert name == "style", name
            self.styles.add(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def page(shown: Any) -> Page:
    """Return what a notebook shows, once it is certain that it is only text in tables."""
    read = Page(shown._repr_html_())
    assert read.tags <= PLAIN
    assert not read.open
    # No colours: those of the notebook, light or dark, are used.
    assert read.styles <= {"text-align:left", "text-align:right", "caption-side:bottom"}
    assert "\u202e" not in read.text
    return read


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> cc.Built:
    out = tmp_path_factory.mktemp("built") / "toy.py"
    return cc.build(driven(worm(9)), out, style="recurrent", dt_ms=10.0)


def hostile(graph: Graph) -> Graph:
    """Return the graph with names, words and steps that a browser might obey."""
    step = Step(HOSTILE, HOSTILE, 1, 1, 1, 1, (HOSTILE,))
    origin = replace(
        graph.provenance,
        dataset=HOSTILE,
        title=HOSTILE,
        licence=HOSTILE,
        citations=(HOSTILE,),
        files=(SourceFile(HOSTILE, "0" * 64, 7),),
        steps=(step,),
    )
    table = neuron_table({"neuron_id": ["a", HOSTILE], "cell_type": [HOSTILE, None]})
    p = Population(HOSTILE, (2,), table)
    q = replace(graph.projections[0], pre=HOSTILE, post=HOSTILE)
    return replace(graph, populations=(p,), projections=(q,), provenance=origin)


@given(graphs())
def test_populations_and_projections_of_any_graph(g: Graph) -> None:
    for p in g.populations:
        assert p.name in page(p).text
    for q in g.projections:
        assert q.key in page(q).text


def test_a_population_shows_its_first_neurons() -> None:
    (p,) = worm().populations
    read = page(p)
    assert "N4" in read.text
    assert "N5" not in read.text
    assert "... and 7 neurons more" in read.text
    assert "x_um" not in read.text  # empty
    assert "artificial" in page(Population("image", (1, 4, 4), artificial=True)).text


def test_a_projection_shows_its_first_connections() -> None:
    q = worm().projections[0]
    read = page(q)
    assert "weight (synapses)" in read.text
    assert f"... and {len(q.synapses.post) - 5} connections more" in read.text
    assert "all to all" in page(Projection("a", "b", AllToAll())).text


def test_what_was_built_shows_files_graph_and_certificate(built: cc.Built) -> None:
    read = page(built)
    assert str(built.written[-1]) in read.text
    assert "toy-worm@1 (measured)" in read.text
    assert "verified toy.py" in read.text
    unchecked = page(replace(built, certificate=None))
    assert "not verified" in unchecked.text
    assert f"cc.verify({str(built.written[-1])!r})" in unchecked.text
    cc.verify(str(built.written[-1]))


def test_a_certificate_shows_every_check(built: cc.Built) -> None:
    assert isinstance(built.certificate, Certificate)
    read = page(built.certificate)
    for line in built.certificate.lines():
        assert line.removeprefix("  ok  ").removeprefix("  note  ").strip() in read.text


def test_a_module_shows_where_it_comes_from(built: cc.Built) -> None:
    module = built.load()
    statement = Statement.read(module.PROVENANCE, module.__doc__)
    read = page(statement)
    for word in ("toy-worm@1, measured", "CC0", "attach-ports", "neurons->neurons:electrical"):
        assert word in read.text


def test_hostile_names_stay_text(built: cc.Built) -> None:
    graph = hostile(worm(2))
    module = built.load()
    statement = Statement.read(module.PROVENANCE, module.__doc__)
    assert built.certificate
    shown = [
        graph,
        *graph.populations,
        *graph.projections,
        graph.provenance,
        replace(graph, populations=()),  # invalid, and shown as that
        replace(built.certificate, module=HOSTILE, checks=(HOSTILE,), notes=(HOSTILE,)),
        replace(statement, name=HOSTILE, provenance=graph.provenance, template=HOSTILE),
        replace(built, name=HOSTILE, graph=graph, written=(Path(HOSTILE),), certificate=None),
    ]
    for one in shown:
        assert "<script>" in page(one).text
