"""What the saved state of a module holds, name by name, and where its numbers start.

Styles state it in ``PROVENANCE``, `certify.state` compares it. A number that is drawn has a law:
"uniform" up to ``1 / sqrt(fan_in)``, "he-normal", "low-rank", "conductance" from 0 up to ``1 /
fan_in``; "data" are arrays of the module. ``fan_in`` is a number, or the rule that gives one:
"in-degree" of a connection's target, "shared" by connections that share weights, "junctions" of the
end that has more of them, "open" of what a kernel has open. Gap junctions have ``ends``, the
populations of targets and sources. What is ``held`` is structure, which a state that is loaded must
agree in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectome_compiler.ir.weights import LowRank
from connectome_compiler.lower import Edges

State = dict[str, dict[str, Any]]


def drawn(shape: Sequence[int], fan_in: int | str, **more: Any) -> dict[str, Any]:
    """State a parameter that starts uniform within ``1 / sqrt(fan_in)``."""
    return {"shape": list(shape), "start": "uniform", "fan_in": fan_in, **more}


def constant(shape: Sequence[int], start: float, **more: Any) -> dict[str, Any]:
    """State what starts at one number."""
    return {"shape": list(shape), "start": start, **more}


def held(shape: Sequence[int]) -> dict[str, Any]:
    """State a buffer without which the numbers could be of any network."""
    return {"shape": list(shape), "held": True}


def linear(name: str, n_post: int, n_pre: int, bias: bool = True) -> State:
    """State an ``nn.Linear``."""
    weight = {f"{name}.weight": drawn([n_post, n_pre], n_pre)}
    return weight | ({f"{name}.bias": drawn([n_post], n_pre)} if bias else {})


def convolution(name: str, n_post: int, n_pre: int, size: int, bias: bool = True) -> State:
    """State an ``nn.Conv2d`` with a square kernel of ``size``."""
    fan_in = n_pre * size**2
    weight = {f"{name}.weight": drawn([n_post, n_pre, size, size], fan_in)}
    return weight | ({f"{name}.bias": drawn([n_post], fan_in)} if bias else {})


def affine(name: str, n: int) -> State:
    """State gain and bias of a normalisation."""
    return {f"{name}.weight": constant([n], 1.0), f"{name}.bias": constant([n], 0.0)}


def batch_norm(name: str, n: int) -> State:
    """State an ``nn.BatchNorm1d`` or ``2d``."""
    return affine(name, n) | {
        f"{name}.running_mean": constant([n], 0.0, trained=False),
        f"{name}.running_var": constant([n], 1.0, trained=False),
        f"{name}.num_batches_tracked": constant([], 0, trained=False),
    }


def edges(e: Edges, name: str, *, bias: bool = False, of: str = "") -> State:
    """State an `EdgeLinear` or, of connections that share weights, a layer with a ``group``.

    ``of`` is the layer whose weights it uses, if they are not its own.
    """
    q, n, n_weights = e.projection, len(e.post), e.n_weights
    weight = drawn([n_weights], "in-degree" if e.group is None else "shared")
    if q.kind == "electrical":
        weight = {"shape": [n_weights], "start": "conductance", "fan_in": "junctions"}
    if e.start is not None:
        weight = {"shape": [n_weights], "start": "data", "sha256": e.start_sha256}
    elif isinstance(q.weights, LowRank) and q.kind == "chemical":
        weight = {"shape": [n_weights], "start": "low-rank", "rank": q.weights.rank}
    if of:
        weight = {"shape": [n_weights], "of": f"{of}.weight"}
    if q.kind == "electrical":
        weight["ends"] = [q.post, q.pre]
    if not q.weights.trained:
        weight["trained"] = False
    state = {f"{name}.weight": weight}
    if bias:
        state[f"{name}.bias"] = drawn([e.n_post], "in-degree")
    state |= {f"{name}.ptr": held([e.n_post + 1]), f"{name}.pre": held([n])}
    one_sign = q.kind == "electrical" or e.sign is not None  # 0: all are free
    state[f"{name}.sign"] = held([] if one_sign else [n])
    if e.group is not None:
        state[f"{name}.group"] = held([n])
    if e.scale is not None:
        state[f"{name}.scale"] = held([n])
    return state
