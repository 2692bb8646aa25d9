"""Split a graph into named groups of neurons, and each by sign; shared by the partition passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError
from connectome_compiler.ir.edit import regroup
from connectome_compiler.ir.graph import Graph

KINDS = ("inh", "exc", "unsigned")  # inhibition first: it acts in the same sweep
MOST = 4096  # populations; each pair of them may have a projection


def into_groups(
    where: str,
    graph: Graph,
    group: npt.NDArray[np.integer],
    names: Sequence[str],
    stages: Sequence[int] | None = None,
    *,
    by_sign: bool = False,
) -> Graph:
    """Return the graph with one population per group that has neurons, or per group and sign.

    ``group[i]``, shape ``(n_neurons,)``, is the index in ``names`` of neuron ``i``, counted through
    the populations. Without ``stages`` populations have no stage, and the order of ``names``;
    otherwise they are ordered by stage, sign and name.
    """
    n = len(names)
    stage = np.arange(n) if stages is None else np.array(stages, np.intp)
    kind = _kinds(graph) if by_sign else np.zeros(len(group), np.intp)
    label = (stage[group] * len(KINDS) + kind) * n + group
    present, label = np.unique(label, return_inverse=True)
    if len(present) > MOST:
        problem = f"would make {len(present):,} populations; the limit is {MOST:,}"
        raise CompileError(where, problem, "group the neurons more coarsely")
    made = [names[k % n] + (f".{KINDS[k // n % len(KINDS)]}" if by_sign else "") for k in present]
    cut = regroup(graph, label.astype(np.intp), made)
    if stages is None:
        return cut
    staged = (
        replace(p, stage=int(stage[k % n])) for p, k in zip(cut.populations, present, strict=True)
    )
    return replace(cut, populations=tuple(staged))


def sizes(graph: Graph) -> Iterator[str]:
    """List the populations with their numbers of neurons: ``L4.exc 12, L4.inh 3``."""
    yield ", ".join(f"{p.name} {p.n_units:,}" for p in graph.biological)


def must_be_name(where: str, name: str) -> None:
    """Raise `CompileError` for what cannot be the name of a population."""
    if not name or not name.isprintable() or "->" in name:
        problem = f"{name!r} cannot name a population"
        raise CompileError(where, problem, "a name is one line of printable text without '->'")


def _kinds(graph: Graph) -> npt.NDArray[np.intp]:
    """Return the index in `KINDS` of each neuron's sign."""
    signs = [p.column("sign").fill_null(0).to_numpy() for p in graph.biological]
    of_sign = np.array([2, 1, 0], np.intp)  # of 0, 1, -1
    kinds: npt.NDArray[np.intp] = of_sign[np.concatenate([np.zeros(0, np.int8), *signs])]
    return kinds
