"""What the command line says of a build, a graph or a module."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph

if TYPE_CHECKING:
    from connectome_compiler.pipeline import Built


def modelled(graph: Graph) -> str:
    """Return the warning that a data set is not measured, and why it is used."""
    p = graph.provenance
    reasons = [note for step in p.steps for note in step.notes if "fell back" in note]
    because = f" ({reasons[0]})" if reasons else ""
    return f"{p.source} is {p.connectivity}, not measured{because}"


def of_build(built: Built, saved: Sequence[Path] = ()) -> str:
    """Return what was made: data, passes, network, files, and what to type next."""
    graph, p = built.graph, built.graph.provenance
    known = "measured" if p.measured else f"{str(p.connectivity).upper()}, NOT MEASURED"
    lines = [f"{built.recipe}: {p.title}", "", f"data        {p.source}, {known}"]
    lines.append(f"licence     {p.licence or 'not stated by the source'}")
    lines += ["", "passes"]
    for step in p.steps:
        lines.append(
            f"  {step.name:<24}{step.n_neurons_after:>9,} neurons"
            f"{step.n_connections_after:>12,} connections"
        )
        lines += [f"      {note}" for note in step.notes]
    lines += ["", "network     " + _chain(graph)]
    free = {"image": "read-in", "classes": "read-out"}
    for q in graph.projections:
        artificial = free.get(q.pre) or free.get(q.post)
        what = f"all to all ({artificial}, not of the connectome)"
        count = graph.count(q)
        lines.append(
            f"  {q.key:<26}"
            + (what if artificial else f"{count:>8,} connections, density {graph.density(q):.4f}")
        )
    if built.certificate:
        total, own = built.certificate.n_parameters, graph.n_connections
        others = f"{total - own:,} others (front end, read-in, read-out, norms, biases)"
        lines += ["", f"parameters  {total:,}: {own:,} connections, {others}", ""]
        lines += built.certificate.lines()
    else:
        lines += ["", "not verified: run `ccompile verify` before you trust it"]
    lines += ["", "written     " + ", ".join(str(path) for path in built.written)]
    lines += [f"saved       {path}" for path in saved]
    module = next(path for path in built.written if path.suffix == ".py")
    lines += [
        f"next        ccompile inspect {shlex.quote(str(module))}",
        f"            python -c 'import {module.stem} as m; net = m.build(); "
        "print(net(net.example_input(4)).shape)'"
        + ("" if module.parent == Path() else f"  (in {module.parent})"),
    ]
    if not p.measured:
        lines += [
            "",
            f"{built.recipe} is {p.connectivity}, not measured: not a real brain's wiring",
        ]
    return "\n".join(lines)


def of_target(target: str, settings: Sequence[str] = ()) -> str:
    """Return a summary of a recipe, a saved graph or an emitted module."""
    path = Path(target)
    if target.endswith(".py"):
        return _of_module(path)
    if path.is_dir():
        return _of_graph(Graph.load(path))
    from connectome_compiler.pipeline import compile_graph
    from connectome_compiler.recipe import load_recipe

    return _of_graph(compile_graph(load_recipe(target, settings)))


def _of_graph(graph: Graph) -> str:
    import numpy as np

    lines = [repr(graph), ""]
    excitatory = inhibitory = unsigned = 0
    for q in graph.connectome:
        signs = graph.signs(q)
        excitatory += int((signs > 0).sum())
        inhibitory += int((signs < 0).sum())
        unsigned += int((signs == 0).sum())
    lines.append(_balance(excitatory, inhibitory, unsigned))
    neurons = [p for p in graph.biological if p.neurons is not None]
    unread = sum(int((~p.has_outputs()).sum()) for p in neurons)
    known = any(p.column("axon_coverage").null_count < p.n_units for p in neurons)
    lines.append(
        f"coverage    {unread:,} of {graph.n_neurons:,} axons not proofread: outputs unknown"
        if known
        else "coverage    not known"
    )
    degree = np.zeros(graph.n_neurons, np.int64)
    offset = dict(
        zip(
            (p.name for p in graph.biological),
            np.cumsum([0, *(p.n_units for p in graph.biological)]),
            strict=False,
        )
    )
    for q in graph.connectome:
        post, _ = q.connectivity.entries(*graph.shape(q))
        degree += np.bincount(post + offset[q.post], minlength=len(degree))
    if len(degree):
        lines.append(
            f"in-degree   median {np.median(degree):.0f}, largest {degree.max()}, "
            f"{int((degree == 0).sum()):,} neurons without input from others"
        )
    lines += ["", *_steps(graph)]
    return "\n".join(lines)


def _steps(graph: Graph) -> list[str]:
    lines = ["steps"]
    for step in graph.provenance.steps:
        lines += [f"  {step}", *(f"      {note}" for note in step.notes)]
    return lines


def _balance(excitatory: int, inhibitory: int, unsigned: int) -> str:
    total = max(1, excitatory + inhibitory + unsigned)
    return (
        f"balance     {excitatory:,} excitatory ({excitatory / total:.0%}), "
        f"{inhibitory:,} inhibitory ({inhibitory / total:.0%}), "
        f"{unsigned:,} of unresolved sign ({unsigned / total:.0%})"
    )


def read_provenance(path: Path) -> dict[str, Any]:
    """Return ``PROVENANCE`` of an emitted module, read as text: nothing is executed."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CompileError(str(path), "no such file") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise CompileError(str(path), f"cannot be read: {error}") from error
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "PROVENANCE" and node.value is not None:
            value: dict[str, Any] = ast.literal_eval(node.value)
            return value
    raise CompileError(str(path), "has no PROVENANCE: it was not made by ccompile")


def _of_module(path: Path) -> str:
    stated = read_provenance(path)
    known = "measured" if stated["measured"] else f"{stated['connectivity']}, not measured"
    version = f"@{stated['version']}" if stated["version"] else ""
    lines = [
        f"{path.name}: {stated['recipe']}, {stated['title']}",
        f"data        {stated['dataset']}{version} ({known}; signs: {stated['signs']})",
        f"licence     {stated['licence'] or 'not stated by the source'}",
        "",
        "populations",
    ]
    for p in stated["populations"]:
        read = "not known" if p["axons_read"] is None else f"{p['axons_read']:,}"
        lines.append(f"  {p['name']:<14}{p['units']:>8,} units, axons read: {read}")
    lines += ["", "projections"]
    read_of = {p["name"]: p["axons_read"] for p in stated["populations"]}
    for q in stated["projections"]:
        n_post, n_pre = q["shape"]
        pre, _, post = q["key"].partition("->")
        known_pre = n_pre if read_of.get(pre) is None else read_of[pre]
        possible = known_pre * (n_post - (pre == post))
        density = q["connections"] / possible if possible else 0.0
        lines.append(f"  {q['key']:<26}{q['connections']:>8,} connections, density {density:.4f}")
    total = {
        k: sum(q[k] for q in stated["projections"])
        for k in ("connections", "excitatory", "inhibitory")
    }
    unsigned = total["connections"] - total["excitatory"] - total["inhibitory"]
    lines += ["", _balance(total["excitatory"], total["inhibitory"], unsigned), "", "steps"]
    for s in stated["steps"]:
        counts = f"{s['neurons'][1]:,} neurons, {s['connections'][1]:,} connections"
        lines += [f"  {s['name']}: {counts}", *(f"      {note}" for note in s["notes"])]
    return "\n".join(lines)


def _chain(graph: Graph) -> str:
    return " -> ".join(f"{p.name} {' x '.join(str(n) for n in p.shape)}" for p in graph.populations)
