"""A one-screen summary of a graph, as text and as HTML for notebooks."""

from __future__ import annotations

from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import GaussianLaw, OneToOne
from connectome_compiler.ir.provenance import Evidence
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.ir.ties import n_junctions
from connectome_compiler.text import Row, counted, cut, html_table, table

MOST_ROWS = 16  # of each table, so that any graph fits on a screen
MOST_LETTERS = 40  # of each cell


def headline(graph: Graph) -> str:
    """Return the graph in one line."""
    connectivity = graph.provenance.connectivity
    known = "evidence unknown" if connectivity is Evidence.UNKNOWN else str(connectivity)
    return (
        f"{graph.provenance.source} ({known}): {counted(graph.n_neurons, 'neuron')} in "
        f"{counted(len(graph.biological), 'population')}, "
        f"{counted(graph.n_connections, 'connection')} in "
        f"{counted(len(graph.connectome), 'projection')}"
    )


def population_rows(graph: Graph, most: int | None = None) -> list[Row]:
    """Return the table of populations, header first; at most the first ``most`` of them."""
    rows: list[Row] = [("population", "units", "sign", "axons read", "cell types")]
    for p in graph.populations[:most]:
        rows.append((p.name, _shape(p), _signs(p), _coverage(p), _types(p)))
    return rows


def projection_rows(graph: Graph, most: int | None = None) -> list[Row]:
    """Return the table of projections, header first; at most the first ``most`` of them."""
    head = ("projection", "connections", "density", "sign", "enforced", "delay", "weight")
    rows: list[Row] = [head]
    for q in graph.projections[:most]:
        rows.append(
            (
                q.key,
                f"{graph.count(q):,}",
                _density(graph, q),
                signs := _edge_signs(graph, q),
                "-" if signs in ("-", "free") else f"{count_signs(graph, [q]).enforced:,}",
                str(q.delay),
                _weight(q),
            )
        )
    return rows


def as_text(graph: Graph) -> str:
    """Return the summary as plain text."""
    lines = [headline(graph)]
    for rows, more in _tables(graph):
        lines += ["", *table([rows[0], None, *rows[1:]], indent=""), *filter(None, [more])]
    lines += ["", f"signs: {count_signs(graph)}"] if graph.connectome else []
    if graph.provenance.licence:
        lines += ["", f"licence: {graph.provenance.licence}"]
    return "\n".join(lines)


def as_html(graph: Graph) -> str:
    """Return the summary as HTML tables."""
    html = f"<p><b>{escape(headline(graph))}</b></p>"
    for rows, more in _tables(graph):
        html += html_table(rows, caption=more)
    if graph.connectome:
        html += f"<p>signs: {count_signs(graph)}</p>"
    return f"{html}<p><small>{escape(graph.provenance.licence)}</small></p>"


def _tables(graph: Graph) -> list[tuple[list[Row], str]]:
    """Return both tables, cut to a screen, each with a line on what was cut."""
    tables = []
    for rows, n in (
        (population_rows(graph, MOST_ROWS), len(graph.populations)),
        (projection_rows(graph, MOST_ROWS), len(graph.projections)),
    ):
        short = [tuple(cut(cell, MOST_LETTERS) for cell in row) for row in rows]
        more = f"... and {n - MOST_ROWS:,} more" if n > MOST_ROWS else ""
        if n:
            tables.append((short, more))
    return tables


def _shape(p: Population) -> str:
    return " x ".join(f"{n:,}" for n in p.shape)


def _counted(column: pa.Array) -> str:
    """Return the commonest values with their counts: ``266 23P, 12 ?``."""
    pairs = [(str(c["values"]), c["counts"]) for c in pc.value_counts(column).to_pylist()]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join(f"{n:,} {word}" for word, n in pairs[:4])
    return text + (", ..." if len(pairs) > 4 else "")


def _signs(p: Population) -> str:
    if p.neurons is None:
        return "-"
    words = pa.array(["-", "?", "+"]).take(pc.add(p.column("sign").fill_null(0), 1))
    return _counted(words) or "-"


def _coverage(p: Population) -> str:
    if p.neurons is None:
        return "-"
    coverage = p.column("axon_coverage")
    if coverage.null_count == len(coverage):
        return "not known"
    return f"{int(p.has_outputs().sum()):,}"


def _types(p: Population) -> str:
    if p.neurons is None:
        level = None if p.place is None else p.place.level
        return "artificial" if p.artificial else "-" if level is None else f"level {level}"
    return _counted(p.column("cell_type").fill_null("?"))


def _density(graph: Graph, q: Projection) -> str:
    if isinstance(q.connectivity, GaussianLaw) and q.connectivity.unit == "px":
        return "-"  # the map whose pixels they are does not exist yet
    return f"{graph.density(q):.4f}"


def _edge_signs(graph: Graph, q: Projection) -> str:
    known = bool(q.weights.polarity)
    if q.kind == "electrical" or (isinstance(q.connectivity, OneToOne) and not known):
        return "-"
    if not isinstance(q.connectivity, Synapses) and not known:
        return "free"
    count = count_signs(graph, [q])
    marks = (("+", count.excitatory), ("-", count.inhibitory), ("?", count.unknown))
    return ", ".join(f"{n:,} {mark}" for mark, n in marks if n) or "-"


def _weight(q: Projection) -> str:
    if not isinstance(q.connectivity, Synapses):
        return q.connectivity.describe()
    total = q.connectivity.weight.sum()
    if q.kind == "chemical":
        return f"{total:,.0f} {q.connectivity.unit}"
    if q.pre == q.post:  # every junction is listed twice, except autapses
        total -= q.connectivity.weight[q.connectivity.pre < q.connectivity.post].sum()
    return f"{total:,.0f} {q.connectivity.unit}, {n_junctions(q):,} junctions"
