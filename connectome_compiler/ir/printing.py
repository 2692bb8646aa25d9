"""A one-screen summary of a graph, as text and as HTML for notebooks."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import GaussianLaw, OneToOne
from connectome_compiler.ir.provenance import Evidence
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.ir.ties import n_junctions
from connectome_compiler.text import (
    Row,
    counted,
    cut,
    html_heading,
    html_table,
    in_html,
    table,
)

MOST_ROWS = 16  # of each table, so that any graph fits on a screen
MOST_LETTERS = 40  # of each cell
MOST_WORDS = 120  # letters of each cell, of a population or projection by itself
MOST_EXAMPLES = 5  # neurons or connections of one


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
    html = html_heading(headline(graph))
    for rows, more in _tables(graph):
        html += html_table(rows, caption=more)
    if graph.connectome:
        html += f"<p>signs: {count_signs(graph)}</p>"
    return f"{html}<p><small>{in_html(graph.provenance.licence)}</small></p>"


def population_html(p: Population) -> str:
    """Return one population as HTML: what it is, and its first neurons."""
    rows: list[Row] = [("units", _shape(p)), ("node", str(p.node))]
    rows += [("place", str(p.place))] if p.place is not None else []
    rows += [("stage", str(p.stage))] if p.stage is not None else []
    if p.neurons is None:
        return html_heading(p.name, ", artificial" * p.artificial) + html_table(
            [("", "population"), *rows]
        )
    rows += [("signs", _signs(p)), ("axons read", _coverage(p)), ("cell types", _types(p))]
    known = [c for c in p.neurons.column_names if p.neurons.column(c).null_count < p.n_units]
    shown: list[Row] = [tuple(known)]
    for row in p.neurons.select(known).slice(0, MOST_EXAMPLES).to_pylist():
        shown.append(tuple("" if row[c] is None else str(row[c]) for c in known))
    more = p.n_units - MOST_EXAMPLES
    left = f"... and {counted(more, 'neuron')} more" if more > 0 else ""
    return (
        html_heading(p.name)
        + html_table(_short([("", "population"), *rows]))
        + (html_table(_short(shown), caption=left) if known else "")
    )


def projection_html(q: Projection) -> str:
    """Return one projection as HTML: what it is, and its first connections."""
    rows: list[Row] = [
        ("", "projection"),
        ("connections", q.connectivity.describe()),
        ("kind", q.kind),
        ("weights", str(q.weights)),
        ("operator", str(q.operator)),
        ("delay", str(q.delay)),
    ]
    html = html_heading(q.key) + html_table(_short(rows))
    if not isinstance(q.connectivity, Synapses):
        return html
    edges = q.connectivity
    columns: dict[str, Any] = {
        "post": edges.post,
        "pre": edges.pre,
        f"weight ({edges.unit})": edges.weight,
    }
    columns |= {n: v for n, v in (("size", edges.size), ("sign", edges.sign)) if v is not None}
    shown: list[Row] = [tuple(columns)]
    for k in range(min(MOST_EXAMPLES, len(edges.post))):
        shown.append(tuple(f"{values[k]:g}" for values in columns.values()))
    more = len(edges.post) - MOST_EXAMPLES
    left = f"... and {counted(more, 'connection')} more" if more > 0 else ""
    return html + html_table(_short(shown), ">", caption=left)


def _short(rows: list[Row]) -> list[Row]:
    return [tuple(cut(cell, MOST_WORDS) for cell in row) for row in rows]


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
