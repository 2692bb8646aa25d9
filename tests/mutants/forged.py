"""Modules of another graph that say they are of this one, with every hash made to fit."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from mutants.cases import CASES
from mutants.judge import Mutant

from connectome_compiler.ir import Graph, PerConnection, Population, Projection, Swept, Tied
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.digest import statement_digest
from connectome_compiler.options import option_types

Change = Callable[[Graph], Graph]


def forged() -> Iterator[Mutant]:
    """Yield a module for each change of a graph."""
    for case, changes in CHANGES.items():
        graph, _ = CASES[case].emit()
        for name, change in changes.items():
            other = change(graph)
            style = CASES[case].style
            if "allow_free_signs" in option_types(type(style)):  # what is forged may have lost some
                style = replace(style, allow_free_signs=True)
            source = style.emit(other, "mutants").source
            assert other.digest() != graph.digest(), f"{case}: {name} changes nothing"
            yield Mutant(case, name, _passed_off(source, graph.digest()), needs_graph=True)


def _passed_off(source: str, digest: str) -> str:
    """Let a module say that it is of the graph with this digest."""
    source = re.sub(r'"graph_sha256": "\w+"', f'"graph_sha256": "{digest}"', source, count=1)
    stated: dict[str, Any] = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign)
        and node.value
        and ast.unparse(node.target) == "PROVENANCE"
    )
    return source.replace(stated["sha256"], statement_digest(stated))


def _edges(key: int, **changed: Callable[[Any], Any]) -> Change:
    """Change arrays of the edge list of one projection."""

    def change(graph: Graph) -> Graph:
        projections = list(graph.projections)
        chosen = [k for k, q in enumerate(projections) if isinstance(q.connectivity, Synapses)][key]
        e = projections[chosen].synapses
        arrays = {"post": e.post, "pre": e.pre, "weight": e.weight, "size": e.size, "sign": e.sign}
        if "keep" in changed:
            kept = changed["keep"](e.post)
            arrays = {k: None if v is None else v[kept] for k, v in arrays.items()}
        for name in changed.keys() - {"keep"}:
            if arrays[name] is not None:
                arrays[name] = changed[name](np.array(arrays[name]))
        made = Synapses.from_edges(
            arrays["post"], arrays["pre"], arrays["weight"],  # type: ignore[arg-type]
            unit=e.unit, size=arrays["size"], sign=arrays["sign"],
        )  # fmt: skip
        projections[chosen] = replace(projections[chosen], connectivity=made)
        return replace(graph, projections=tuple(projections))

    return change


def _nodes(**fields: Any) -> Change:
    """Change the model of all neurons."""

    def change(graph: Graph) -> Graph:
        return graph.map_populations(
            lambda p: p if p.artificial else replace(p, node=replace(p.node, **fields))
        )

    return change


def _attenuated(**fields: Any) -> Change:
    """Change the graded inhibition of all neurons that have any."""

    def changed(p: Population) -> Population:
        if not (isinstance(p.node, Swept) and p.node.inhibition):
            return p
        return replace(p, node=replace(p.node, inhibition=replace(p.node.inhibition, **fields)))

    return lambda graph: graph.map_populations(changed)


def _renamed(graph: Graph) -> Graph:
    """Call the first neuron by another id."""

    def renamed(p: Population) -> Population:
        if p.neurons is None or p.name != graph.biological[0].name:
            return p
        ids = ["another", *p.column("neuron_id").to_pylist()[1:]]
        return replace(p, neurons=p.neurons.set_column(0, "neuron_id", [ids]))

    return graph.map_populations(renamed)


def _held(**fields: Any) -> Change:
    """Change how the weights of the connectome are held."""

    def change(graph: Graph) -> Graph:
        return graph.map_connectome(lambda q: replace(q, weights=replace(q.weights, **fields)))

    return change


def _untied(graph: Graph) -> Graph:
    """Give all connections weights of their own."""

    def untied(q: Projection) -> Projection:
        assert isinstance(q.weights, Tied)
        return replace(q, weights=PerConnection(sign=q.weights.sign, trained=q.weights.trained))

    return graph.map_connectome(untied)


def _last_dropped(post: Any) -> Any:
    return np.arange(len(post)) < len(post) - 1


CHANGES: dict[str, dict[str, Change]] = {
    "bionic chain": {
        "a connection less, all hashes fit": _edges(1, keep=_last_dropped),
        "another noise, all hashes fit": _nodes(noise_std=0.2),
        "another strength of inhibition, all hashes fit": _attenuated(strength=0.25),
        "inhibition of another form, all hashes fit": _attenuated(form="subtractive"),
        "another norm, all hashes fit": _nodes(normalisation="rms"),
        "no norm, all hashes fit": _nodes(normalisation="none"),
        "free weights, all hashes fit": _held(sign="none"),
    },
    "bionic units": {
        "another norm, all hashes fit": _nodes(normalisation="layer"),
        "a connection less, all hashes fit": _edges(2, keep=_last_dropped),
    },
    "recurrent chemical": {
        "a connection less, all hashes fit": _edges(0, keep=_last_dropped),
        "an edge from its neighbour, all hashes fit": _edges(0, pre=lambda x: (x + 1) % 12),
        "signs turned, all hashes fit": _edges(0, sign=lambda x: -x),
        "another time constant, all hashes fit": _nodes(tau_ms=40.0),
        "another activation, all hashes fit": _nodes(activation="sigmoid"),
        "fixed time constants, all hashes fit": _nodes(tau_per="fixed"),
        "no biases, all hashes fit": _nodes(bias_per="none"),
        "frozen weights, all hashes fit": _held(trained=False),
        "starts at the counts, all hashes fit": _held(start="weight"),
        "free weights, all hashes fit": _held(sign="none"),
    },
    "recurrent parts": {
        "other counts, all hashes fit": _edges(0, weight=lambda x: x + 1),
        "weights of their own, all hashes fit": _untied,
        "a neuron of another name, all hashes fit": _renamed,
        "ties by the sender, all hashes fit": _held(by="pre-type"),
    },
    "recurrent reservoir": {
        "other starts, all hashes fit": _edges(0, weight=lambda x: x[::-1].copy() * 2 + 1),
        "weights that are trained, all hashes fit": _held(trained=True),
    },
    "mousenet masked": {
        "no norm, all hashes fit": _nodes(normalisation="none"),
        "another activation, all hashes fit": _nodes(activation="tanh"),
    },
    "mimetic paper": {
        "no norm, all hashes fit": _nodes(normalisation="none"),
        "another activation, all hashes fit": _nodes(activation="sigmoid"),
    },
}
