"""Run passes in order: verify, count and time each, and name the pass that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import ClassVar, Protocol

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.provenance import Step
from connectome_compiler.options import pass_class, spell_options


class Pass(Protocol):
    """A mapping from a valid graph to a valid graph.

    A pass may have more that a build asks for. ``control`` true: its network is compared with the
    one without it, and refused if it is the same. ``counts_enter``: for an option, the value with
    which synapse counts enter networks.
    """

    name: ClassVar[str]

    def __call__(self, graph: Graph) -> Graph:
        """Return the changed graph; the given one is not modified."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One pass that has run: what it did, how long it took, and the graph after it."""

    step: Step
    seconds: float  # wall-clock time; never stored, since it differs between runs
    graph: Graph


def run(
    graph: Graph, pipeline: Sequence[Pass], after: Callable[[Ran], None] = lambda ran: None
) -> Graph:
    """Return ``graph`` after all passes of ``pipeline``; call ``after`` with each one's result.

    Raises `CompileError` with the note "in pass NAME" where a pass fails or leaves a graph that
    breaks a rule or has no neurons.
    """
    for step in pipeline:
        cls = pass_class("run", step)
        if isinstance(step, type):
            hint = f"call it with its options: {cls.__name__}(...)"
            raise CompileError("run", f"{cls.__name__} is the class of a pass", hint)
    graph.verify()
    for step in pipeline:
        started = perf_counter()
        try:
            changed = step(graph)
            if not isinstance(changed, Graph):
                problem = f"returned {type(changed).__name__}, not a graph"
                raise CompileError(step.name, problem, "a pass returns the changed graph")
            changed.verify()
            if not changed.n_neurons:
                raise CompileError(step.name, "no neuron is left", "relax the selection")
            notes = tuple(step.report(graph, changed)) if hasattr(step, "report") else ()
            notes += (step.own_code,) if hasattr(step, "own_code") else ()
        except CompileError as error:
            error.add_note(f"in pass {step.name}")
            raise
        record = Step(
            name=step.name,
            options=spell_options(step),
            n_neurons_before=graph.n_neurons,
            n_neurons_after=changed.n_neurons,
            n_connections_before=graph.n_connections,
            n_connections_after=changed.n_connections,
            notes=notes,
        )
        graph = replace(changed, provenance=changed.provenance.with_step(record))
        after(Ran(record, perf_counter() - started, graph))
    return graph
