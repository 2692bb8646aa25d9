"""What the command line reports about a build, a graph or a module."""

from __future__ import annotations

import ast
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from connectome_compiler.analysis.motif_support import in_the_worm
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.laws import OneToOne, Window
from connectome_compiler.ir.nodes import Leaky
from connectome_compiler.ir.provenance import Evidence, Step, standing
from connectome_compiler.ir.signs import SignCount, count_signs
from connectome_compiler.ir.ties import constants, is_mirror, n_junctions, n_weights
from connectome_compiler.ir.weights import Named
from connectome_compiler.statement import ALTERED, REBUILD, StatedProjection, Statement, style_of
from connectome_compiler.text import Row, beside, counted, notes, table, wrapped
from connectome_compiler.views.modules import read_statement as read_statement

if TYPE_CHECKING:
    from connectome_compiler.emit.emission import Emission
    from connectome_compiler.pipeline import Built

MOST_NOTES = 3  # of a step, so that a build fits on a screen and a half
MOST_ROWS = 16  # of the table of projections


def of_build(built: Built, saved: Sequence[Path] = ()) -> str:
    """Return what was made: data, passes, network, files, and what to type next."""
    graph, p = built.graph, built.graph.provenance
    module = next(path for path in built.written if path.suffix == ".py")
    known = "measured" if p.measured else standing(p.connectivity).upper()
    inspect = f"{_command('ccompile')} inspect {shlex.quote(str(module))}"
    lines = [
        f"{built.name}: {p.title}",
        "",
        *beside("data", f"{p.source}, {known}"),
        *beside("licence", p.licence or "not stated by the source"),
        "",
        "passes",
        *_steps(p.steps),
        "",
        *_network(graph),
        *beside("signs", str(count_signs(graph))),
        *(beside("control", str(p.control)) if p.control else []),
        "",
    ]
    if built.certificate:
        lines += [*_parameters(graph, built.certificate.n_parameters), ""]
        lines += built.certificate.lines()
    else:
        check = f"{_command('ccompile')} verify {shlex.quote(str(module))}"
        lines += [f"not verified: run `{check}` before you trust it"]
    lines += ["", "written     " + ", ".join(str(path) for path in built.written)]
    lines += [f"saved       {path}" for path in saved]
    lines += [
        f"next        {inspect}",
        f"            {_try(module, _returns_state(built.emission))}",
    ]
    if not p.measured:
        unreal = "" if p.connectivity is Evidence.UNKNOWN else ": no real brain has this wiring"
        lines += ["", f"{p.source} is {standing(p.connectivity)}{unreal}"]
    return "\n".join(lines)


def _network(graph: Graph) -> list[str]:
    chain = [f"{p.name} {' x '.join(f'{n:,}' for n in p.shape)}" for p in graph.populations]
    if (more := len(chain) - MOST_ROWS) > 0:
        chain[MOST_ROWS // 2 : -MOST_ROWS // 2] = [f"{more} more"]
    rows: list[Row] = []
    inner = {q.key for q in graph.connectome}
    for q in graph.projections:
        what = f"connections, density {graph.density(q):.4f}" + ", within" * (q.pre == q.post)
        if q.key not in inner:
            law = q.connectivity.describe()
            noun = "units" if isinstance(q.connectivity, OneToOne) else "weights"
            what = f"{noun}, {law}, not of the connectome"
        elif q.kind == "electrical":
            what += f", {n_junctions(q):,} gap junctions"
        elif q.operator.area > 1:
            what += f", {graph.count(q) * q.operator.area:,} weights"
        elif not has_memory(graph):
            what += ", feedback" * (q.delay > 0 and q.pre != q.post)
        rows.append((q.key, f"{graph.count(q):,}", what))
    # Inputs of repeated parts are not consecutive.
    between = ", " if _shares_by_name(graph) else " -> "
    lines = [*beside("network", between.join(chain)), *table(rows[:MOST_ROWS], "<><")]
    if (more := len(rows) - MOST_ROWS) > 0:
        lines += [f"  and {more} more, which `ccompile inspect` shows"]
    return lines


def _steps(steps: Iterable[Step]) -> list[str]:
    """Return what each pass did, briefly."""
    rows: list[tuple[str, Step | None]] = []
    idle: list[str] = []
    for k, step in enumerate(steps):
        same = (step.n_neurons_before, step.n_connections_before) == (
            step.n_neurons_after,
            step.n_connections_after,
        )
        if same and k and not step.notes:
            idle.append(step.name)
            continue
        rows += [(", ".join(idle), None)] * bool(idle) + [(step.name, step)]
        idle = []
    rows += [(", ".join(idle), None)] * bool(idle)
    width = max((len(name) for name, step in rows if step), default=0)
    lines = []
    for name, ran in rows:
        if ran is None:
            lines += [f"  {name}: no change"]
            continue
        counts = f"{ran.n_neurons_after:>9,} neurons {ran.n_connections_after:>12,} connections"
        lines += [f"  {name:<{width}} {counts}"]
        lines += notes(ran.notes[:MOST_NOTES])
        if (more := len(ran.notes) - MOST_NOTES) > 0:
            lines += notes([f"and {more} more, which `ccompile inspect` shows"])
    return lines


def has_memory(graph: Graph) -> bool:
    """Whether the neurons have a memory: their network maps sequences, and returns its state."""
    return any(isinstance(p.node, Leaky) for p in graph.biological)


def _shares_by_name(graph: Graph) -> bool:
    """Whether connections of several projections share their numbers by name."""
    return any(isinstance(q.weights, Named) for q in graph.connectome)


def _parameters(graph: Graph, total: int) -> list[str]:
    """Return how many parameters are trained, and what they are."""
    own = n_weights(graph)
    if _shares_by_name(
        graph
    ):  # the options of the module say which parts are on, and what is shared
        whole = f"{own:,} kinds of weights on {graph.n_connections:,} connections"
        return beside("parameters", f"{total:,}; with all parts on, there are {whole}")
    trained = n_weights(graph.with_projections([q for q in graph.connectome if q.weights.trained]))
    shared = "" if own == graph.n_connections else f" of {graph.n_connections:,} connections"
    others = total - trained
    parts = [counted(trained, "weight") + shared if shared else counted(trained, "connection")]
    if frozen := own - trained:
        parts = [*parts[: bool(trained)], f"{frozen:,} weights{shared * (not trained)} are frozen"]
    for index, noun, several in (
        (constants(graph, "tau_per"), "time constant", "time constants"),
        (constants(graph, "bias_per"), "bias", "biases"),
    ):
        n = int(index.max(initial=-1)) + 1
        parts += [counted(n, noun, several)] * (n > 0)
        others -= n
    if others and has_memory(graph):
        parts.append(f"{others:,} of read-in and read-out")
    elif others:
        nouns = "front end, read-in, read-out, normalisation, biases"
        if any(isinstance(q.connectivity, Window) for q in graph.connectome):
            nouns = "layers without a window, normalisation, biases, and weights off the masks"
        elif any(getattr(q.operator, "per_position", False) for q in graph.connectome):
            nouns = "read-out, normalisation, biases, and weights off the masks, if they are kept"
        parts.append(f"{others:,} others ({nouns})")
    return beside("parameters", f"{total:,}: {', '.join(parts)}")


def _try(module: Path, in_time: bool) -> str:
    """Return a command that runs the module."""
    code = f"import {module.stem} as m; net = m.build(); "
    if in_time:
        code += "y, state = net(net.example_input(4)); print(y.shape)"
    else:
        code += "print(net(net.example_input(4)).shape)"
    path = "" if module.parent == Path() else f"PYTHONPATH={shlex.quote(str(module.parent))} "
    return f"{path}{_command('python')} -c '{code}'"


def _returns_state(emission: Emission) -> bool:
    """Whether forward passes of the network return its state beside the output."""
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == "forward"
        and isinstance(node.returns, ast.Subscript)
        for network in ast.parse(emission.source).body
        if isinstance(network, ast.ClassDef) and network.name == emission.class_name
        for node in network.body
    )


def _command(name: str) -> str:
    """Return how to call a command of this environment, which may not be on the path."""
    path = Path(sys.executable).parent / name
    if not path.exists() or shutil.which(name) == str(path):
        return name
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def of_target(target: str, settings: Sequence[str] = (), passes: Sequence[str] = ()) -> str:
    """Return a summary of a recipe, a saved graph, an emitted module or a file of connections."""
    from connectome_compiler.views.targets import graph_of, is_saved_graph, must_be_changeable

    path = Path(target)
    must_be_changeable(target, settings, passes)
    if path.is_file() and path.suffix not in (".py", ".toml"):
        return _of_source(path, settings, passes)
    if target.endswith(".py") and not is_saved_graph(target):
        return _of_module(path)
    return of_graph(graph_of(target, settings, passes))


def _of_source(path: Path, settings: Sequence[str], passes: Sequence[str]) -> str:
    """Return how the recipe ``table`` would read a file."""
    from connectome_compiler.recipe import load_recipe

    recipe = load_recipe("table", [f"edges={path}", *settings], passes)
    return str(recipe.source.make().outline())


def of_graph(graph: Graph) -> str:
    """Return a summary of a graph."""
    import numpy as np

    lines = []
    for line in repr(graph).splitlines():
        lines += wrapped(line) if line.startswith("licence:") else [line]
    lines.append("")
    gaps = [n_junctions(q) for q in graph.connectome if q.kind == "electrical" and not is_mirror(q)]
    if gaps:
        lines.append(_electrical(sum(gaps)))
    neurons = [p for p in graph.biological if p.neurons is not None]
    unread = sum(int((~p.has_outputs()).sum()) for p in neurons)
    known = any(p.column("axon_coverage").null_count < p.n_units for p in neurons)
    lines.append(
        f"coverage    {unread:,} of {graph.n_neurons:,} axons not proofread: outputs unknown"
        if known
        else "coverage    unknown"
    )
    degree = {p.name: np.zeros(p.n_units, np.int64) for p in graph.biological}
    for q in graph.connectome:
        n_post, _ = graph.shape(q)  # of a convolution, channels: their units have equal inputs
        if isinstance(q.connectivity, Synapses):
            inputs = np.bincount(q.synapses.post, minlength=n_post) * q.operator.area
            degree[q.post] += np.repeat(inputs, len(degree[q.post]) // max(1, n_post))
        else:
            degree[q.post] += graph.count(q) * q.operator.area // max(1, n_post)
    if graph.n_neurons:
        degrees = np.concatenate(list(degree.values()))
        lines.append(
            f"in-degree   median {np.median(degrees):.0f}, largest {degrees.max():,}, "
            f"{int((degrees == 0).sum()):,} neurons without input from neurons"
        )
    lines += in_the_worm(graph)
    lines += ["", "steps"]
    for step in graph.provenance.steps:
        lines += [*wrapped(str(step), "  ", "      "), *notes(step.notes)]
    return "\n".join(lines)


def _electrical(n: int) -> str:
    return f"electrical  {n:,} gap junctions, each in the list in both directions"


def _of_module(path: Path) -> str:
    stated = read_statement(path)
    try:
        return "\n".join(_stated(path, stated))
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # in what is the style's own
        raise CompileError(f"{path}: PROVENANCE", ALTERED, REBUILD) from error


def _stated(path: Path, stated: Statement) -> list[str]:
    """Return what a module states of itself."""
    p = stated.provenance
    units = [
        (
            q.name,
            f"{q.units:,} units",
            "axons read: " + ("not known" if q.axons_read is None else f"{q.axons_read:,}"),
        )
        for q in stated.populations
    ]
    rows = []
    for q in stated.projections:
        what = f"connections, density {q.density:.4f}"
        if q.junctions is not None:
            what += f", {q.junctions:,} gap junctions"
        if q.weights not in (None, q.junctions):
            what += f", {q.weights:,} weights"
        what += ", frozen" * (not q.trained)
        rows.append((q.key, f"{q.connections:,}", what))
    steps = []
    for step in p.steps:
        steps += [*wrapped(str(step), "  ", "      "), *notes(step.notes)]
    signs = sum((q.signs for q in stated.projections), SignCount())
    gaps = _n_gaps(stated.projections)
    return [
        f"{path.name}: {stated.name}, {p.title}",
        "",
        *beside("data", f"{p.source}, {standing(p.connectivity)}; signs: {p.signs}"),
        *beside("licence", p.licence or "not stated by the source"),
        "",
        "populations",
        *table(units, "<><"),
        "",
        "projections",
        *table(rows, "<><"),
        "",
        *beside("signs", str(signs)),
        *(beside("control", str(p.control)) if p.control else []),
        *([_electrical(gaps)] if gaps else []),
        *_of_style(stated),
        "",
        "steps",
        *steps,
    ]


def _n_gaps(projections: Iterable[StatedProjection]) -> int:
    """Count gap junctions once, where a projection and its mirror image both list them."""
    total = 0
    for q in projections:
        pre, _, post = q.key.removesuffix(":electrical").partition("->")
        total += (q.junctions or 0) * (pre <= post)
    return total


def _of_style(stated: Statement) -> list[str]:
    """Return what the module's style adds to the report, if it is installed."""
    from connectome_compiler.registry import find, known

    plain = stated.plain()
    name = style_of(plain)
    told = getattr(find("template", name), "told", None) if name in known("template") else None
    said: dict[str, str] = told(plain) if told else {}
    return [line for word, text in said.items() for line in beside(word, text)]
