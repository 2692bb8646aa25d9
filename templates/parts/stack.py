"""Stacks of layers in source: what styles of image networks write in the same way.

A stack is gone through population by population, in their order: the layers that reach one are
summed, then normalised, then rectified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from connectome_compiler.emit.carries import only
from connectome_compiler.emit.literal import Source, code, identifier, literal
from connectome_compiler.emit.names import identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph, Population, Projection
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d

WIDTH = 100
UNITS = only(Swept, normalisation=("none", "batch"), noise_std=(0.0,), inhibition=(None,))
# What `rates()` calls by name itself.
OWN = ("self", "torch", "nn", "tuple", "expected", "len", "range", "convolve_together")
ACTIVATIONS = {
    "relu": code("torch.relu"),
    "tanh": code("torch.tanh"),
    "sigmoid": code("torch.sigmoid"),
    "softplus": code("nn.functional.softplus"),
    "linear": code(""),
}


def call(
    function: Source, arguments: Sequence[Any], always: bool = False, room: int = 8
) -> list[Source]:
    """Return the lines of a call; one argument per line where it is long, or ``always``."""
    short = code("{}({})", function, code(", ").join(arguments))
    if not always and len(short) + room <= WIDTH and "\n" not in short:
        return [short]
    lines = [line for a in arguments for line in code("{},", a).lines()]
    return [code("{}(", function), *indented(lines), code(")")]


def indented(lines: Iterable[Source]) -> list[Source]:
    """Return the lines, one level deeper."""
    return [code("    {}", line) for line in lines]


def numbers(values: Iterable[int]) -> Source:
    """Return numbers with commas between them."""
    return code(", ").join(values)


def geometry(operator: Conv2d | ConvTranspose2d) -> list[Source]:
    """Return what torch's layer is told, but for what it has by default."""
    default = type(operator)(operator.kernel)
    given = [literal(short(operator.kernel))]
    for field in fields(operator)[1:]:
        value = getattr(operator, field.name)
        if field.name != "per_position" and value != getattr(default, field.name):
            given.append(code("{}={}", identifier(field.name), literal(short(value))))
    return given


def short(value: Any) -> Any:
    """Return one number for two that are the same."""
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value


def check_input(style: str, p: Population) -> None:
    """Refuse an input that is changed before it is seen."""
    if (swept(p).activation, swept(p).normalisation) != ("linear", "none"):
        problem = "is the input: it has neither activation nor normalisation"
        raise CompileError(f"{style}: {p.name}", problem, "leave them out")


def swept(p: Population) -> Swept:
    """Return the node model of a population: these are all that a stack carries."""
    assert isinstance(p.node, Swept)
    return p.node


def summed(var: Source, terms: Sequence[Source]) -> list[Source]:
    """Return the lines that add ``terms`` up, in their order."""
    first, *others = terms
    return [
        code("{} = {}", var, first),
        *(code("{} = {} + {}", var, var, term) for term in others),
    ]


def activity(p: Population, drive: Source, norm: Source) -> Source:
    """Return the expression for a population's activity, given its drive."""
    expression = code("self.{}({})", norm, drive) if norm else drive
    function = ACTIVATIONS[swept(p).activation]
    return code("{}({})", function, expression) if function else expression


def norms(graph: Graph, names: Mapping[str, Source]) -> dict[str, Source]:
    """Return the attribute of the normalisation of each population, "" of those without."""
    batch = {p.name for p in graph.populations if swept(p).normalisation == "batch"}
    return {
        p.name: code("{}_norm", names[p.name]) if p.name in batch else code("")
        for p in graph.populations
    }


def between(
    graph: Graph, names: Mapping[str, Source], taken: Iterable[str] = ()
) -> dict[str, Source]:
    """Return the attribute of the layer of each projection: ``v1_to_v2``, none of those taken."""
    words = {q.key: f"{names[q.pre]} to {names[q.post]}" for q in graph.projections}
    unique = identifiers(words.values(), taken)
    return {key: unique[spoken] for key, spoken in words.items()}


def norm_lines(graph: Graph, attributes: Mapping[str, Source]) -> list[Source]:
    """Return the lines that make the normalisations."""
    return [
        code(
            "self.{} = nn.BatchNorm{}d({})",
            attributes[p.name],
            2 if len(p.shape) == 3 else 1,
            p.shape[0],
        )
        for p in graph.populations
        if attributes[p.name]
    ]


def stated(
    populations: Iterable[Population],
    projections: Iterable[Projection],
    layers: Mapping[str, str],
    norms: Mapping[str, str],
) -> dict[str, Any]:
    """Return what `stack_meaning` needs to compute the same."""
    return {
        "units": [
            {
                "name": p.name,
                "shape": list(p.shape),
                "activation": swept(p).activation,
                "normalisation": norms[p.name],
            }
            for p in populations
        ],
        "layers": [
            {
                "pre": q.pre,
                "post": q.post,
                "layer": layers[q.key],
                "operator": {"kind": type(q.operator).__name__}
                | {
                    k: list(v) if isinstance(v, tuple) else v for k, v in asdict(q.operator).items()
                },
            }
            for q in projections
        ],
    }
