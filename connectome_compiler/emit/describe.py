"""What every emitted module says of itself, whatever its style: its header and PROVENANCE."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from connectome_compiler import __version__
from connectome_compiler.emit.literal import printable
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.digest import statement_digest as statement_digest
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.laws import Window
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.provenance import (
    Evidence,
)
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.ir.ties import groups, n_junctions
from connectome_compiler.ir.weights import Named, Tied

WIDTH = 100
STATEMENT = 2  # the format of PROVENANCE: the first one had neither options nor state
MOST_FILES = 3  # named in the header
MODELLED = (
    "MODELLED, NOT MEASURED: {made}. No such network was seen in a brain, and results obtained with"
    " it say nothing about a particular brain."
)
NOT_SAID = "how the connections were made is not stated"
UNKNOWN = (
    "NOT KNOWN TO BE MEASURED: nothing says how these connections came about. Before results are"
    " taken for those of a brain, ask where the files are from."
)


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a template laid the graph out: what validation needs to interpret the module."""

    template: str  # its name and options, as a recipe would spell them
    layers: Mapping[str, str]  # attribute of each population
    read_in: Mapping[str, str]  # attribute of the read-in of each population that sees the input
    read_out: Mapping[str, str]
    more: dict[str, Any]  # what the style's semantics need: see `emit.reference`


def provenance(graph: Graph, recipe: str, wiring: Wiring, head: str) -> dict[str, Any]:
    """Return ``PROVENANCE``: origin, licence, every step, and digests to check the module by."""
    p = graph.provenance
    stated: dict[str, Any] = {
        "recipe": recipe,
        "dataset": p.dataset,
        "version": p.version,
        "title": p.title,
        "measured": p.measured,
        "connectivity": str(p.connectivity),
        "made": p.made,
        "signs": str(p.signs),
        "licence": p.licence,
        "citations": list(p.citations),
        "files": [
            {"name": f.name, "sha256": f.sha256, "bytes": f.n_bytes, "address": f.address}
            for f in p.files
        ],
        "steps": [
            {
                "name": s.name,
                "options": s.options,
                "neurons": [s.n_neurons_before, s.n_neurons_after],
                "connections": [s.n_connections_before, s.n_connections_after],
                "notes": list(s.notes),
            }
            for s in p.steps
        ],
        "template": wiring.template,
        "populations": [_population(graph, q, wiring.layers[q.name]) for q in graph.biological],
        "projections": [_projection(graph, q) for q in graph.connectome],
        "read_in": wiring.read_in,
        "read_out": wiring.read_out,
        **wiring.more,
        "graph_sha256": graph.digest(),
        "header_sha256": header_digest(head),
        "compiler": f"connectome-compiler {__version__}",
        "statement": STATEMENT,
    }
    return {**stated, "sha256": statement_digest(stated)}


def header_digest(docstring: str) -> str:
    """Return the hash of a module's docstring, however much of its margin Python kept."""
    return hashlib.sha256(inspect.cleandoc(docstring).encode()).hexdigest()


def _population(graph: Graph, q: Population, layer: str) -> dict[str, Any]:
    stated: dict[str, Any] = {"name": q.name, "units": q.n_units, "layer": layer}
    stated |= coverage(graph, q.name)
    if not isinstance(q.node, Swept):
        return stated  # what it does is stated by the style: under "dynamics", or "motif"
    stated |= {"normalisation": q.node.normalisation, "noise_std": q.node.noise_std}
    stated["inhibition"] = "none"
    if attenuation := q.node.inhibition:
        stated["inhibition"] = attenuation.form
        stated["inhibition_strength"] = attenuation.strength
        stated["inhibition_sha256"] = array_digest(inhibition(q))
    return stated


def inhibition(q: Population) -> npt.NDArray[np.float32]:
    """Return the attenuation of each neuron, 0 to 1, shape ``(n_units,)``."""
    column = q.column("inhibition").fill_null(0.0)
    values: npt.NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    return values


def scale(q: Projection) -> npt.NDArray[np.float32]:
    """Return by what each connection multiplies a shared weight: the size of its own."""
    return np.abs(q.synapses.weight).astype(np.float32)


def _projection(graph: Graph, q: Projection) -> dict[str, Any]:
    post, pre = q.connectivity.entries(*graph.shape(q))
    signs = graph.enforced_signs(q)
    stated = _connections(graph, q, post, pre, signs)
    group = groups(graph, q) if isinstance(q.connectivity, Synapses) else None
    if group is not None:
        stated["weights"] = int(group.max(initial=-1)) + 1
        stated["groups_sha256"] = array_digest(group)
    if isinstance(q.weights, Named):
        stated["weight"] = q.weights.name
    if isinstance(q.weights, Tied):
        stated["scale_sha256"] = array_digest(scale(q))
    if q.kind == "electrical":
        stated["junctions"] = n_junctions(q)
    if not isinstance(q.operator, Linear):
        stated["weights"] = stated["connections"] * q.operator.area
    if isinstance(q.connectivity, Window):
        stated["window"] = repr(q.connectivity.rule)
    if not q.weights.trained:
        stated["trained"] = False
    return stated


def _connections(
    graph: Graph,
    q: Projection,
    post: npt.NDArray[np.int32],
    pre: npt.NDArray[np.int32],
    signs: npt.NDArray[np.int8],
) -> dict[str, Any]:
    return {
        "key": q.key,
        "shape": list(graph.shape(q)),
        "delay": q.delay,
        "connections": len(post),
        "density": round(graph.density(q), 6),
        "excitatory": int((signs > 0).sum()),
        "inhibitory": int((signs < 0).sum()),
        "signs": asdict(count_signs(graph, [q])),
        "indices_sha256": array_digest(post.astype(np.int32), pre.astype(np.int32)),
        "signs_sha256": array_digest(signs.astype(np.int8)),
    }


def coverage(graph: Graph, population: str) -> dict[str, Any]:
    """Return how many axons were read: {"axons_read": n}, or None where nobody knows."""
    found = graph.population(population)
    if found.neurons is None or found.column("axon_coverage").null_count == found.n_units:
        return {"axons_read": None}
    return {"axons_read": int(found.has_outputs().sum())}


def header(
    graph: Graph, class_name: str, recipe: str, wiring: Wiring, paragraphs: list[str]
) -> str:
    """Return the text of the module's docstring; ``paragraphs`` are the template's own."""
    p = graph.provenance
    parts = [f"{class_name}: {p.title or p.source}."]
    if p.connectivity is Evidence.MODELLED:
        parts.append(MODELLED.format(made=p.made or NOT_SAID))
    elif p.connectivity is Evidence.UNKNOWN:
        parts.append(UNKNOWN)
    parts += paragraphs
    origin = [f"Data       {p.source} ({p.connectivity}; signs: {p.signs})"]
    origin += [f"Signs      {count_signs(graph)}"]
    origin += [f"File       {f.name}, sha256 {f.sha256[:16]}..." for f in p.files[:MOST_FILES]]
    if (more := len(p.files) - MOST_FILES) > 0:
        origin += [f"           and {more} more, listed with their hashes in PROVENANCE"]
    origin += [f"Licence    {p.licence or 'not stated by the source'}"]
    origin += [f"Cite       {c}" for c in p.citations]
    parts.append("\n".join(_hanging(line, 11) for line in origin))
    steps = [f"Made by connectome-compiler {__version__} from the recipe {recipe}:"]
    for step in p.steps:
        steps.append(_hanging(f"  {step}", 6))
        steps += [_hanging(f"    - {note}", 6) for note in step.notes]
    steps.append(_hanging(f"  {wiring.template}", 6))
    parts.append("\n".join(steps))
    text = "\n\n".join(part if "\n" in part else textwrap.fill(part, WIDTH) for part in parts)
    return printable("\n".join(line.rstrip() for line in text.splitlines()))


def _hanging(line: str, indent: int) -> str:
    return textwrap.fill(
        line, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
