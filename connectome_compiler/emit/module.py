"""From a template's decisions to the module: what every style does in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from connectome_compiler.emit.arrays import Arrays, pack
from connectome_compiler.emit.describe import header
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, identifier, literal, packed
from connectome_compiler.emit.names import check_class_name, network_name
from connectome_compiler.emit.render import render
from connectome_compiler.emit.source import copy_definitions
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Projection
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.signs import count_signs
from connectome_compiler.ir.ties import groups, is_mirror, scale
from connectome_compiler.ir.weights import PerConnection, Tied
from connectome_compiler.statement import Statement, Wiring

IMPORTS = (
    "from collections.abc import Iterator",
    "from typing import Any",
    "import torch",
    "from torch import Tensor, nn",
)
ARRAY_IMPORTS = ("import hashlib", "from safetensors.torch import load")
INLINE_IMPORTS = ("import base64", "import zlib")
FILE_IMPORTS = ("from pathlib import Path",)


def assemble(
    graph: Graph,
    recipe: str,
    template: str,
    *,
    layers: Iterable[str],
    class_name: str,
    wiring: Wiring,
    paragraphs: list[str],
    arrays: Arrays,
    context: Mapping[str, Any],
    imports: Iterable[str] = (),
    allow_free_signs: bool = False,
) -> Emission:
    """Return the module that ``template`` makes of ``context``.

    A sign that is known and not enforced is an error, unless ``allow_free_signs``.

    ``imports`` are statements that the text of ``template`` needs. To ``context`` are added what
    all templates need: ``header``, ``imports``, ``provenance``, ``class_name``, the source of the
    ``layers``, and the arrays, if any, inline or by hash.
    Text in ``context`` is source: see `emit.literal`.
    """
    if not allow_free_signs:
        _refuse_free_signs(graph, option="allow_free_signs=" in wiring.template)
    data = pack(arrays, sum(graph.count(q) for q in graph.connectome))
    used = (*IMPORTS, *imports)
    if arrays:
        used += ARRAY_IMPORTS + (INLINE_IMPORTS if data.inline else FILE_IMPORTS)
    copied = copy_definitions(layers, used)
    name = network_name(class_name, recipe, graph.provenance.dataset)
    check_class_name(name, "\n".join([*copied.imports, copied.text]))
    head = header(graph, name, recipe, wiring, paragraphs)
    made = render(
        template,
        {
            **context,
            "header": docstring(head),
            "imports": copied.imports,
            "provenance": packed(Statement.of(graph, recipe, wiring, head).stated()),
            "layers": copied.text,
            "class_name": identifier(name),
            "inline": Source(data.inline),  # base64
            "sha256": Source(data.sha256),  # hexadecimal
        },
    )
    beside = None if data.inline or not arrays else data.data
    return Emission(name, made, beside)


def _refuse_free_signs(graph: Graph, option: bool) -> None:
    """Refuse weights that training could give another sign than the one that is known.

    ``option``: the style has one that allows them.
    """
    if not (free := count_signs(graph).free):
        return
    first = next(q for q in graph.connectome if count_signs(graph, [q]).free)
    problem = f"signs of {free:,} connections are known but not enforced, so training may flip them"
    hints = ["allow it: --set template.allow_free_signs=true"] if option else []
    if isinstance(first.operator, Linear):  # the pass is for neurons, not for channels
        hints.insert(
            0, 'add [[pass]] use = "apply-dale" (policy = "report" keeps signs of connections)'
        )
    raise CompileError(f"projection {first.key}", problem, ", or ".join(hints))


def weight_arrays(graph: Graph) -> Arrays:
    """Return which connections share a weight, by what they multiply it, and where weights start.

    ``group`` is the index of each connection's weight, ``scale`` its factor. ``start`` is one
    number per weight: the connection's own, over the sum of all that its target receives. Gap
    junctions are divided by the mean of those sums, so that they stay symmetric.
    """
    arrays: Arrays = {}
    received = {kind: _received(graph, kind) for kind in ("chemical", "electrical")}
    for q in graph.connectome:
        group = groups(graph, q)
        if group is not None:
            arrays[f"{q.key}.group"] = group
        if isinstance(q.weights, Tied):
            arrays[f"{q.key}.scale"] = scale(q)
        elif starts_from_data(q):
            own = q.synapses.weight.astype(np.float64)
            total = received[q.kind][q.post][q.synapses.post]
            if group is not None:
                sums = np.concatenate(list(received[q.kind].values()))
                total = np.full(len(own), sums[sums > 0].mean() if sums.any() else 0.0)
                _, first = np.unique(group, return_index=True)
                own, total = own[first], total[first]
            start = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
            arrays[f"{q.key}.start"] = start.astype(np.float32)
    return arrays


def starts_from_data(q: Projection) -> bool:
    """Whether its weights start at the numbers of its connections, and are not its mirror's."""
    own = isinstance(q.weights, PerConnection) and q.weights.start == "weight"
    return own and not is_mirror(q)


def _received(graph: Graph, kind: str) -> dict[str, npt.NDArray[np.float64]]:
    """Return the summed size of the connections onto each neuron, by population."""
    sums = {p.name: np.zeros(p.n_units) for p in graph.biological}
    for q in graph.connectome:
        if q.kind == kind:
            size, n_post = np.abs(q.synapses.weight), len(sums[q.post])
            sums[q.post] += np.bincount(q.synapses.post, size, n_post)
    return sums


def array(name: str) -> Source:
    """Return the source that reads one array."""
    return code("arrays[{}]", literal(name))


def sign(graph: Graph, q: Projection) -> Source:
    """Return the source of the sign that all connections share, or of the array of their signs."""
    shared = shared_sign(graph, q)
    return array(f"{q.key}.sign") if shared is None else literal(shared)


def shared_sign(graph: Graph, q: Projection) -> int | None:
    """Return the sign that all connections share, or None where they differ."""
    found = np.unique(graph.enforced_signs(q))
    return int(found.sum()) if len(found) < 2 else None
