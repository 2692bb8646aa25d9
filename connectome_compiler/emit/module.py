"""From a template's decisions to the module: what every style does in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectome_compiler.emit.arrays import MOST_INLINE_EDGES, Arrays, pack
from connectome_compiler.emit.describe import header
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, identifier, literal, packed
from connectome_compiler.emit.names import check_class_name, network_name
from connectome_compiler.emit.neurons import Neurons
from connectome_compiler.emit.render import render
from connectome_compiler.emit.source import copy_definitions
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.operators import Linear
from connectome_compiler.lower import Edges, Lowered
from connectome_compiler.statement import Statement, Wiring

IMPORTS = (
    "from collections.abc import Iterator",
    "from typing import Any",
    "import torch",
    "from torch import Tensor, nn",
)
OFFERED = ("build_network", "decay_groups", "set_plain")  # of every network
ARRAY_IMPORTS = ("import hashlib", "from safetensors.torch import load")
INLINE_IMPORTS = ("import base64", "import zlib")
FILE_IMPORTS = ("from pathlib import Path",)
NEURON_IMPORTS = ("from functools import cache",)


def assemble(
    lowered: Lowered,
    recipe: str,
    template: str,
    *,
    layers: Iterable[str],
    class_name: str,
    wiring: Wiring,
    paragraphs: list[str],
    arrays: Arrays,
    context: Mapping[str, Any],
    neurons: Neurons | None = None,
    imports: Iterable[str] = (),
    allow_free_signs: bool = False,
) -> Emission:
    """Return the module that ``template`` makes of a graph and of ``context``.

    A sign that is known and not enforced is an error, unless ``allow_free_signs``.

    ``imports`` are statements that the text of ``template`` needs. To ``context`` are added what
    all templates need: ``header``, ``imports``, ``provenance``, ``class_name``, the source of the
    ``layers``, the arrays, if any, inline or by hash, and the ``neurons``, if any, by name.
    Text in ``context`` is source: see `emit.literal`.
    """
    if not allow_free_signs:
        _refuse_free_signs(lowered, option="allow_free_signs=" in wiring.template)
    graph = lowered.graph
    n_edges = sum(len(edges.post) for edges in lowered.edges.values())
    table, stored = neurons.placed(n_edges <= MOST_INLINE_EDGES) if neurons else (None, {})
    arrays = {**arrays, **stored}
    data = pack(arrays, n_edges)
    used = (*IMPORTS, *imports, *(NEURON_IMPORTS if neurons else ()))
    if arrays:
        used += ARRAY_IMPORTS + (INLINE_IMPORTS if data.inline else FILE_IMPORTS)
    told = [table["reader"]] if table else []
    copied = copy_definitions([*layers, *told, *OFFERED], used)
    name = network_name(class_name, recipe, graph.provenance.dataset)
    check_class_name(name, "\n".join([*copied.imports, copied.text]))
    head = header(lowered, name, recipe, wiring, paragraphs)
    made = render(
        template,
        {
            **context,
            "header": docstring(head),
            "imports": copied.imports,
            "provenance": packed(Statement.of(lowered, recipe, wiring, head).stated()),
            "layers": copied.text,
            "class_name": identifier(name),
            "neurons": table,
            "inline": Source(data.inline),  # base64
            "sha256": Source(data.sha256),  # hexadecimal
        },
    )
    beside = None if data.inline or not arrays else data.data
    return Emission(name, made, beside)


def _refuse_free_signs(lowered: Lowered, option: bool) -> None:
    """Refuse weights that training could give another sign than the one that is known.

    ``option``: the style has one that allows them.
    """
    if not (free := lowered.signs.free):
        return
    first = next(e.projection for e in lowered.edges.values() if e.signs.free)
    problem = f"signs of {free:,} connections are known but not enforced, so training may flip them"
    hints = ["allow it: --set template.allow_free_signs=true"] if option else []
    if isinstance(first.operator, Linear):  # the pass is for neurons, not for channels
        hints.insert(
            0, 'add [[pass]] use = "apply-dale" (policy = "report" keeps signs of connections)'
        )
    raise CompileError(f"projection {first.key}", problem, ", or ".join(hints))


def array(name: str) -> Source:
    """Return the source that reads one array."""
    return code("arrays[{}]", literal(name))


def sign(edges: Edges) -> Source:
    """Return the source of the sign that all connections share, or of the array of their signs."""
    return array(f"{edges.key}.sign") if edges.sign is None else literal(edges.sign)
