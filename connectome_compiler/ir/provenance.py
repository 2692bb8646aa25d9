"""Where a graph comes from, and every step that changed it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from connectome_compiler.ir.control import Control
from connectome_compiler.ir.records import check_fields, made
from connectome_compiler.text import Row, counted, html_table

FALLBACK = "fall-back-to-statistics"  # the step with which an adapter declares a substitute
NULL_MODEL = "null-model"  # the step that randomises the wiring; its first note says how
NULL_MODELS = ("degrees", "density", "blocks", "distance", "weights")
_NULL = re.compile(rf"-null(-({'|'.join(NULL_MODELS)}))*$")  # ends the name of a data set


class Evidence(StrEnum):
    """How well a property of the graph is known."""

    MEASURED = "measured"
    PREDICTED = "predicted"  # by a classifier or from a transmitter, cell by cell
    MODELLED = "modelled"  # drawn from statistics: no such neuron exists
    UNKNOWN = "unknown"  # neither the source nor the user says how it was obtained
    NONE = "none"  # the graph does not have the property


def null_of(dataset: str, model: str) -> str:
    """Return what a data set is called once a null model was applied: ``worm-null-degrees``."""
    if dataset.endswith(f"-{model}") and _NULL.search(dataset):
        return dataset
    return f"{dataset}-{model}" if _NULL.search(dataset) else f"{dataset}-null-{model}"


def standing(connectivity: str) -> str:
    """Return how well connections are known, as text: "modelled, not measured"."""
    if connectivity == Evidence.UNKNOWN:
        return "not known to be measured"
    return "measured" if connectivity == Evidence.MEASURED else f"{connectivity}, not measured"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read: its name, never its path, so that builds agree across machines."""

    name: str
    sha256: str
    n_bytes: int
    address: str = ""  # where it can be downloaded, if it is public

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Step:
    """One adapter or pass, with its effect on the numbers of neurons and connections."""

    name: str
    options: str  # "min_synapses=2", as the recipe would spell it
    n_neurons_before: int
    n_neurons_after: int
    n_connections_before: int
    n_connections_after: int
    notes: tuple[str, ...] = ()  # what was counted: "3 glial cells dropped"

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def first(
        cls, name: str, options: str, n_neurons: int, n_connections: int, notes: Iterable[str] = ()
    ) -> Step:
        """Return a step that starts from nothing: the first one of an adapter."""
        return cls(name, options, 0, n_neurons, 0, n_connections, tuple(notes))

    def then(
        self, name: str, options: str, n_neurons: int, n_connections: int, notes: Iterable[str] = ()
    ) -> Step:
        """Return the step that starts where this one ended."""
        n, m = self.n_neurons_after, self.n_connections_after
        return Step(name, options, n, n_neurons, m, n_connections, tuple(notes))

    def __str__(self) -> str:
        head = f"{self.name}({self.options})" if self.options else self.name
        return (
            f"{head}: {change(self.n_neurons_before, self.n_neurons_after, 'neuron')}, "
            f"{change(self.n_connections_before, self.n_connections_after, 'connection')}"
        )


def change(before: int, after: int, noun: str) -> str:
    """Spell a count before and after a step: ``1,736 -> 1,734 connections``."""
    return ("" if before == after else f"{before:,} -> ") + counted(after, noun)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of a graph's origin; it travels into every emitted module.

    ``dataset`` is the data set's name ("microns-v1"); a modelled data set has a name of its own
    ("microns-v1-surrogate"), so that it can never be taken for the measured one. Whoever models
    connections, an adapter or a pass that redraws them, says in ``made`` how. ``control`` is how
    far the graph is from the one without its controls, where that was compared.
    """

    dataset: str
    version: str = ""
    title: str = ""  # one line for people: "V1 column of the MICrONS volume minnie65"
    connectivity: Evidence = Evidence.UNKNOWN
    signs: Evidence = Evidence.NONE
    licence: str = ""
    citations: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    steps: tuple[Step, ...] = ()
    made: str = ""  # how modelled connections were made, as a clause: "they follow a rule"
    control: Control | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def _repr_html_(self) -> str:
        """Return the steps as a table, for notebooks."""
        rows: list[Row] = [("step", "options", "neurons", "connections", "notes")]
        rows += [
            (
                step.name,
                step.options,
                f"{step.n_neurons_after:,}",
                f"{step.n_connections_after:,}",
                "; ".join(step.notes),
            )
            for step in self.steps
        ]
        return html_table(rows, "<<>><", caption=f"{self.source}, {standing(self.connectivity)}")

    @property
    def measured(self) -> bool:
        """Whether every connection was observed, not predicted or drawn, and stated to be."""
        return self.connectivity is Evidence.MEASURED

    @property
    def source(self) -> str:
        """Data set and version: ``microns-v1@1507``."""
        return f"{self.dataset}@{self.version}" if self.version else self.dataset

    @property
    def caveat(self) -> str:
        """Say that the connectivity is not measured, and why it is used; empty if it is."""
        if self.measured:
            return ""
        reasons = self.first_notes(FALLBACK, NULL_MODEL)
        because = f": {'; '.join(reasons)}" if reasons else ""
        return f"{self.source} is {standing(self.connectivity)}{because}"

    def first_notes(self, *names: str) -> list[str]:
        """Return the first note of every step with one of these names, if it has any."""
        return [s.notes[0] for s in self.steps if s.name in names and s.notes]

    def with_step(self, step: Step) -> Provenance:
        """Append ``step`` to the history; what was compared was the graph before it."""
        return replace(self, steps=(*self.steps, step), control=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {
            **asdict(self),
            "connectivity": str(self.connectivity),
            "signs": str(self.signs),
        }
        control = {} if self.control is None else {"control": self.control.plain()}
        return {k: v for k, v in values.items() if k != "control"} | control

    @classmethod
    def from_dict(cls, values: Any, where: str = "provenance") -> Provenance:
        """Undo `to_dict`; raise `CompileError` at ``where`` if ``values`` are not from there."""
        ready = dict(values) if isinstance(values, dict) else values
        for name, kind in (("files", SourceFile), ("steps", Step)):
            if isinstance(ready, dict) and isinstance(many := ready.get(name), list):
                ready[name] = [made(f"{where}.{name}[{k}]", kind, v) for k, v in enumerate(many)]
        return made(where, cls, ready)
