"""How far a network is from the one that its data would have given without a control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from connectome_compiler.ir.records import check_fields
from connectome_compiler.text import counted

Shared = tuple[int, int, int]  # in the network, in the one without the controls, in both


@dataclass(frozen=True, slots=True)
class Control:
    """What a network uses otherwise than it would without its ``controls``, passes by name.

    Neurons and connections are compared by the neurons' ids, each gap junction in both directions.
    ``signs``, ``starts`` and ``counts`` are numbers of connections in both networks: those whose
    weights keep another sign, start elsewhere, or are multiplied by another synapse count; and
    ``inhibition`` is the number of neurons of both whose graded inhibition differs. None: the
    network has no such thing. ``graph_sha256`` is the graph of which all this is said.
    """

    controls: tuple[str, ...]
    neurons: Shared
    connections: Shared
    signs: int
    starts: int | None
    counts: int | None
    inhibition: int | None
    graph_sha256: str

    def __post_init__(self) -> None:
        check_fields(self)

    def plain(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def nothing(self) -> bool:
        """Whether nothing differs."""
        same = all(len({*shared}) == 1 for shared in (self.neurons, self.connections))
        return same and not (self.signs or self.starts or self.counts or self.inhibition)

    def __str__(self) -> str:
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        without = f"the network without {' and '.join(self.controls)}"
        for noun, (here, there, both) in (
            ("neuron", self.neurons),
            ("connection", self.connections),
        ):
            if here == there == both:
                if noun == "connection":
                    yield f"all {counted(here, noun)} are those of {without}"
                continue
            share = f" ({both / here:.1%})" if here else ""
            yield f"of {counted(here, noun)} {both:,}{share} are among the {there:,} of {without}"
        yield f"of these, {self.signs:,} have another sign"
        if self.starts is not None:
            yield f"{self.starts:,} start at another weight"
        if self.counts is not None:
            yield f"{self.counts:,} are multiplied by another synapse count"
        if self.inhibition is not None:
            yield f"graded inhibition differs in {counted(self.inhibition, 'neuron')}"
        if self.starts is None and self.counts is None:
            yield "no weight starts from synapse counts or is multiplied by them"
