"""Decisions of the mimetic style; `module.py.jinja` only places their text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from connectome_compiler.emit.describe import Wiring
from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import literal
from connectome_compiler.emit.module import assemble
from connectome_compiler.emit.names import identifiers
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import AllToAll
from connectome_compiler.ir.graph import Graph, NodeModel, Population, Projection, Weights
from connectome_compiler.ir.operators import Conv2d, ConvTranspose2d, Linear
from connectome_compiler.ir.window import Window
from connectome_compiler.nn.window_rules import WindowRule
from connectome_compiler.options import spell_options

STYLE = (
    "Where a layer has a window, only units (of maps: channels) near each other are joined. The"
    " mask of each is computed from the numbers of its rule, saved with the weights and applied in"
    " every forward pass, whatever draws or trains the weights."
)
WIDTH = 100
CLASSES = {Linear: "Linear", Conv2d: "Conv2d", ConvTranspose2d: "ConvTranspose2d"}
# What `rates()` calls by name itself; no population has "->" in its own.
OWN = ("self->", "torch->", "nn->", "tuple->", "expected->")
ACTIVATIONS = {
    "relu": "torch.relu",
    "tanh": "torch.tanh",
    "sigmoid": "torch.sigmoid",
    "softplus": "nn.functional.softplus",
    "linear": "",
}


@dataclass(frozen=True, slots=True)
class Mimetic:
    """A feed-forward stack of layers, of which some have windows.

    Needs a graph with one port in and one out, as the adapter `mimetic` makes it. Weights start as
    torch's do, times ``gain``, where a window keeps a share ``usage`` of them: "1/usage" is that of
    the papers, "1/sqrt(usage)" keeps the variance of the sums, "fan-in" that of each unit. Gain and
    ``kernel``, how linear layers multiply, are defaults of the emitted ``build()``. ``class_name``
    names the network; by default its recipe does.
    """

    name: ClassVar[str] = "mimetic"

    gain: Literal["none", "1/usage", "1/sqrt(usage)", "fan-in"] = "1/usage"
    kernel: Literal["auto", "dense", "patches"] = "auto"
    class_name: str = ""

    def __post_init__(self) -> None:
        if self.class_name and not self.class_name.isidentifier():
            raise CompileError("template.class_name", f"{self.class_name!r} is no Python name")

    def emit(self, graph: Graph, recipe: str) -> Emission:
        """Return the module for ``graph``; the text depends on graph, options and recipe alone."""
        first, last = _ends(graph)
        for p in graph.populations:
            _check_units(p, p is first)
        for q in graph.projections:
            _check_projection(q)
        names = identifiers([*OWN, *(p.name for p in graph.populations)])
        layers = {q.key: f"{names[q.pre]}_to_{names[q.post]}" for q in graph.projections}
        norms = {
            p.name: f"{names[p.name]}_norm" if p.node.normalisation == "batch" else ""
            for p in graph.populations
        }
        wiring = Wiring(
            template=f"{self.name}({spell_options(self)})",
            layers=norms,
            read_in={q.post: layers[q.key] for q in graph.projections if q.pre == first.name},
            read_out={q.pre: layers[q.key] for q in graph.projections if q.post == last.name},
            more={"stack": _stack(graph, layers, norms), "usage": _usage(graph)},
        )
        inner = {q.key for q in graph.connectome}
        return assemble(
            graph,
            recipe,
            "mimetic/module.py.jinja",
            layers=["sparse_weight", *_classes(graph)],
            class_name=self.class_name,
            wiring=wiring,
            paragraphs=[STYLE, _said(graph)],
            arrays={},
            context={
                "doc": _doc(graph, first, last),
                "gain": self.gain,
                "kernel": self.kernel if "WindowLinear" in _classes(graph) else "",
                "input": {"name": names[first.name], "shape": first.shape},
                "output": literal(last.name),
                "projections": [
                    {
                        "attr": layers[q.key],
                        "key": literal(q.key),
                        "pre": literal(q.pre),
                        "post": literal(q.post),
                        "made": _made(graph, q, layers[q.key]),
                        "inner": q.key in inner,
                    }
                    for q in graph.projections
                ],
                "norms": [
                    f"self.{norms[p.name]} = nn.BatchNorm{2 if len(p.shape) == 3 else 1}d"
                    f"({p.shape[0]})"
                    for p in graph.populations
                    if norms[p.name]
                ],
                "units": [
                    {
                        "var": names[p.name],
                        "name": literal(p.name),
                        "steps": _steps(graph, p, names, layers, norms[p.name]),
                    }
                    for p in graph.populations
                ],
            },
        )


def _ends(graph: Graph) -> tuple[Population, Population]:
    """Return where the input enters, and where the output leaves."""
    ends = []
    for direction in ("in", "out"):
        ports = [port for port in graph.ports if port.direction == direction]
        if len(ports) != 1:
            problem = f"has {len(ports)} ports of direction {direction!r}, not one"
            raise CompileError("mimetic", problem, "use the adapter mimetic")
        ends.append(graph.population(ports[0].population))
    first, last = ends
    if not graph.connectome:
        raise CompileError("mimetic", "the graph has no windows", "give a layer one")
    for p in graph.populations:
        arriving = sum(q.post == p.name for q in graph.projections)
        leaving = sum(q.pre == p.name for q in graph.projections)
        if bool(arriving) != (p is not first) or bool(leaving) != (p is not last):
            problem = "is not on a way from the input to the output"
            raise CompileError(f"mimetic: {p.name}", problem, "join it, or leave it out")
    return first, last


def _check_units(p: Population, is_input: bool) -> None:
    """Refuse units that a stack of layers does not have."""
    node = p.node
    plain = NodeModel(node.activation, node.normalisation, bias_per=node.bias_per)
    if node != plain or node.normalisation not in ("none", "batch"):
        problem = f"has {node}: the style has batch normalisation and an activation, no more"
        raise CompileError(f"mimetic: {p.name}", problem, "use another style")
    if is_input and (node.activation, node.normalisation) != ("linear", "none"):
        problem = "is the input: it has neither activation nor normalisation"
        raise CompileError(f"mimetic: {p.name}", problem, "leave them out")


def _check_projection(q: Projection) -> None:
    where = f"mimetic: {q.key}"
    if not isinstance(q.connectivity, Window) and q.connectivity != AllToAll():
        problem = f"is {q.connectivity.describe()}; layers have windows, or join all to all"
        raise CompileError(where, problem, "use the recurrent or the bionic style")
    if q.weights != Weights():
        raise CompileError(where, "has signs, or weights that are shared", "leave them free")
    if q.kind != "chemical" or q.delay:
        problem = f"is {q.kind}, with delay {q.delay}: layers act once, one after the other"
        raise CompileError(where, problem)


def _classes(graph: Graph) -> list[str]:
    windowed = [q for q in graph.projections if isinstance(q.connectivity, Window)]
    layers = {f"Window{CLASSES[type(q.operator)]}" for q in windowed}
    return sorted(layers | ({"WindowRule"} if layers else set()))


def _made(graph: Graph, q: Projection, attr: str) -> list[str]:
    """Return the lines that make one layer."""
    pre, post = graph.population(q.pre), graph.population(q.post)
    kind = CLASSES[type(q.operator)]
    if isinstance(q.operator, Linear):
        arguments = [str(pre.n_units), str(post.n_units)]
    else:
        arguments = [str(pre.shape[0]), str(post.shape[0]), *_geometry(q.operator)]
    if not isinstance(q.connectivity, Window):
        return _call(f"self.{attr} = nn.{kind}", arguments)
    arguments += [f"window={_rule(q.connectivity.rule)}", "gain=gain"]
    if isinstance(q.operator, Linear):
        arguments.append("kernel=kernel")
    return _call(f"self.{attr} = Window{kind}", arguments, always=True)


def _geometry(operator: Conv2d | ConvTranspose2d) -> list[str]:
    """Return what torch's layer is told, but for what it has by default."""
    default = type(operator)(operator.kernel)
    given = [literal(_short(operator.kernel))]
    for field in fields(operator)[1:]:
        value = getattr(operator, field.name)
        if value != getattr(default, field.name):
            given.append(f"{field.name}={literal(_short(value))}")
    return given


def _short(value: Any) -> Any:
    """Return one number for two that are the same."""
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value


def _rule(rule: WindowRule) -> str:
    text = repr(rule).replace("'", '"')
    inside = text.removeprefix("WindowRule(").removesuffix(")").split(", ")
    return "\n".join(_call("WindowRule", inside, room=20))


def _call(
    function: str, arguments: Sequence[str], always: bool = False, room: int = 8
) -> list[str]:
    """Return the lines of a call; one argument per line where it is long, or ``always``."""
    short = f"{function}({', '.join(arguments)})"
    if not always and len(short) + room <= WIDTH and "\n" not in short:
        return [short]
    lines = [line for a in arguments for line in f"{a},".split("\n")]
    return [f"{function}(", *(f"    {line}" for line in lines), ")"]


def _steps(
    graph: Graph, p: Population, names: dict[str, str], layers: dict[str, str], norm: str
) -> list[str]:
    """Return the lines that compute the activity of one population."""
    var = names[p.name]
    lines: list[str] = []
    for q in graph.projections:
        if q.post != p.name:
            continue
        source = names[q.pre]
        linear = isinstance(q.operator, Linear)
        if linear and len(graph.population(q.pre).shape) > 1:
            source += ".flatten(1)"
        term = f"self.{layers[q.key]}({source})"
        if linear and len(p.shape) > 1:
            term += f".unflatten(1, {p.shape})"
        lines.append(f"{var} = {var} + {term}" if lines else f"{var} = {term}")
    if not lines:
        return []
    activity = f"self.{norm}({var})" if norm else var
    if function := ACTIVATIONS[p.node.activation]:
        activity = f"{function}({activity})"
    return lines if activity == var else [*lines, f"{var} = {activity}"]


def _stack(
    graph: Graph, layers: dict[str, str], norms: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """Return what `emit.reference` needs to compute the same."""
    return {
        "units": [
            {
                "name": p.name,
                "shape": list(p.shape),
                "activation": p.node.activation,
                "normalisation": norms[p.name],
            }
            for p in graph.populations
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
            for q in graph.projections
        ],
    }


def _usage(graph: Graph) -> dict[str, list[int]]:
    """Return weights kept and weights of the dense layer, of each layer and of several."""
    usage = {}
    masked, everything = [0, 0], [0, 0]
    for q in graph.projections:
        n_post, n_pre = graph.shape(q)
        counts = [graph.count(q) * q.operator.area, n_post * n_pre * q.operator.area]
        usage[q.key] = counts
        for total in (masked, everything)[not isinstance(q.connectivity, Window) :]:
            total[:] = [a + b for a, b in zip(total, counts, strict=True)]
    return {**usage, "layers with a window": masked, "all layers": everything}


def _said(graph: Graph) -> str:
    """Return the share of weights that are kept, layer by layer, as the header states it."""
    usage = _usage(graph)
    width = max(len(key) for key in usage)
    lines = ["Weights kept of those of ordinary layers, biases apart:"]
    for key, (kept, dense) in usage.items():
        lines.append(f"  {key:<{width}}  {kept:>12,} of {dense:>12,}  {kept / dense:7.2%}")
    return "\n".join(lines)


def _doc(graph: Graph, first: Population, last: Population) -> str:
    """Return the class's docstring: what it maps, and which options it has."""
    takes, gives = (", ".join(["batch", *map(str, p.shape)]) for p in (first, last))
    windowed = sum(isinstance(q.connectivity, Window) for q in graph.projections)
    head = f"{len(graph.projections)} layers, {windowed} of them with a window."
    text = (
        f"Maps {first.name} ``({takes})`` to {last.name} ``({gives})``. ``gain`` is what weights on"
        ' a mask are multiplied by at the start: "1/usage", "1/sqrt(usage)", "fan-in" (of each'
        ' unit) or "none".'
    )
    if "WindowLinear" in _classes(graph):
        text += ' ``kernel`` is how linear layers multiply: "auto", "dense" or "patches".'
    whole = textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ")
    return f"{head}\n\n{whole}"
