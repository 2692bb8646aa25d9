"""The structure of a module: its connections, signs and ties, against statement and graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.meaning import Case, Stated
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.control import Control
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.nodes import Swept, words
from connectome_compiler.ir.operators import Linear
from connectome_compiler.ir.records import made
from connectome_compiler.ir.signs import count_signs, stated_signs
from connectome_compiler.ir.ties import groups, scale
from connectome_compiler.ir.weights import PerConnection, Tied

# What nodes of any kind have: a statement that has it for others is refused.
NODE = {"activation", "normalisation", "noise_std", "inhibition", "inhibition_strength", "rest"}
NODE |= {"tau_ms", "tau_per", "bias_per"}
Signs = npt.NDArray[np.int8]
Index = npt.NDArray[np.int32]


def key_of(pre: str, post: str, layer: Any) -> str:
    """Return the key of a projection, as graph and statement have it."""
    kind = getattr(layer, "kind", "chemical")
    return f"{pre}->{post}" + ("" if kind == "chemical" else f":{kind}")


def operator_of(case: Case, key: str) -> dict[str, Any]:
    """Return how the connections of a projection act: kind and geometry."""
    return case.meaning.operators(case.stated).get(key, {"kind": "Linear"})


def compare(case: Case, network: Any) -> None:
    """Compare effective weights with the digests of indices and signs in ``PROVENANCE``."""
    weights: dict[str, Tensor] = network.effective_weights()
    layers = {key_of(a, b, layer): layer for a, b, layer in network.named_projections()}
    expected = {p["key"]: p for p in case.stated["projections"]}
    if list(weights) != list(expected):
        odd = set(weights) ^ set(expected)
        problem = (
            f"effective_weights() and PROVENANCE differ in {', '.join(sorted(odd)) or 'order'}"
        )
        raise Wrong("projections", problem)
    for key, want in expected.items():
        post, pre, values, sizes, order = _listed(weights[key], operator_of(case, key))
        if sizes != want["shape"]:
            raise Wrong(key, f"shape [post, pre] is {sizes}, not {want['shape']}")
        if len(post) != want["connections"]:
            raise Wrong(key, f"has {len(post):,} connections, not {want['connections']:,}")
        if array_digest(post, pre) != want["indices_sha256"]:
            raise Wrong(key, "connects other neurons than the graph")
        signs = _signs(layers[key], len(post))[order]
        if array_digest(signs) != want["signs_sha256"]:
            raise Wrong(key, "has other signs than the graph")
        for part, name in (("group", "groups_sha256"), ("scale", "scale_sha256")):
            held = getattr(layers[key], part, None)
            found = None if held is None else array_digest(held.numpy())
            if found != want.get(name):
                raise Wrong(key, f"shares its weights otherwise than the graph: {part} differs")
        held = getattr(layers[key], "count", None)
        found = None if held is None else array_digest(held.numpy())
        if found != case.stated.get("counts", {}).get(key):
            raise Wrong(key, "has other counts of synapses than the graph")
        if layers[key].weight.requires_grad != want.get("trained", True):
            raise Wrong(key, "is trained" if "trained" in want else "is not trained")
        if key.endswith(":electrical"):
            _conducts_both_ways(key, weights)
        if not np.isfinite(values).all():
            raise Wrong(key, "has weights that are not finite")
        flipped = (values * signs[:, None] < 0).sum()
        if flipped:
            raise Wrong(key, f"{flipped:,} weights act with the wrong sign")


def _ends_have_their_units(stated: dict[str, Any], network: Any, graph: Graph) -> None:
    """Compare how many units layers of read-in drive, and those of read-out see, with the graph."""
    inner = {q.key for q in graph.connectome}
    for q in graph.projections:
        if q.key in inner or not isinstance(q.operator, Linear):
            continue
        for part, name, other, axis in (("in", q.post, q.pre, 0), ("out", q.pre, q.post, 1)):
            layer = stated[f"read_{part}"].get(name) if graph.population(other).artificial else ""
            if not layer:  # there is none: what is direct is compared by its units
                continue
            asked = np.unique(q.connectivity.entries(*graph.shape(q))[axis]).size
            held = network.get_submodule(layer).weight.shape[axis]
            if held != asked:
                problem = f"has a read-{part} of {held:,} units, in the graph of {asked:,}"
                raise Wrong(q.key, problem)


def _listed(
    weight: Tensor, operator: dict[str, Any]
) -> tuple[Index, Index, npt.NDArray[Any], list[int], npt.NDArray[np.intp] | slice]:
    """Return post and pre of the connections, sorted, their weights, and how many there can be.

    Last comes the order in which what the layer has of each connection is sorted likewise.
    A convolution's connections join channels, and have a weight for each position of its kernel, or
    join them per position: then a source is a channel at one position.
    """
    listed = weight.coalesce()
    post, pre, *place = listed.indices().numpy().astype(np.int32)
    values, sizes = listed.values().numpy(), list(listed.shape[:2])
    if operator["kind"] != "Linear" and list(listed.shape[2:]) != operator["kernel"]:
        raise Wrong("kernel", f"is {list(listed.shape[2:])}, not {operator['kernel']}")
    values = values.reshape(len(values), math.prod(values.shape[1:]))  # there may be none
    if operator["kind"] == "ConvTranspose2d":  # torch has [pre, post]
        post, pre, sizes = pre, post, sizes[::-1]
    if operator.get("per_position"):
        high, wide = operator["kernel"]
        pre = (pre * high + place[0]) * wide + place[1]
        sizes[1] *= high * wide
    if operator["kind"] != "ConvTranspose2d":
        return post, pre, values, sizes, slice(None)
    order = np.lexsort((pre, post))
    return post[order], pre[order], values[order], sizes, order


def _conducts_both_ways(key: str, weights: dict[str, Tensor]) -> None:
    """Refuse gap junctions that are not symmetric, or have a conductance below zero."""
    pre, _, post = key.removesuffix(":electrical").partition("->")
    there, back = weights[key].coalesce(), weights[f"{post}->{pre}:electrical"].t().coalesce()
    same = torch.equal(there.indices(), back.indices())
    if not same or not torch.equal(there.values(), back.values()):
        raise Wrong(key, "has gap junctions that do not conduct equally both ways")
    if (there.values() < 0).any():
        raise Wrong(key, "has conductances below zero")


def _signs(layer: Any, n: int) -> Signs:
    if getattr(layer, "kind", "chemical") == "electrical":
        return np.zeros(n, np.int8)
    sign = getattr(layer, "sign", None)
    if sign is None:
        return np.zeros(n, np.int8)
    return np.broadcast_to(sign.numpy(), (n,)).astype(np.int8)


def stated_control(stated: Stated) -> Control | None:
    """Return how far the module is from one without its controls, if that is stated.

    Raises `Wrong` if it cannot be said of this module.
    """
    if "control" not in stated:
        return None
    control = made("control", Control, stated["control"])
    units = sum(p["units"] for p in stated["populations"])
    connections = sum(q["connections"] for q in stated["projections"])
    (neurons, _, _), (joined, _, both) = control.neurons, control.connections
    counted = (control.signs, control.starts, control.counts)
    right = (
        control.graph_sha256 == stated["graph_sha256"]
        and (neurons, joined) == (units, connections)
        and all(0 <= shared[2] <= min(shared) for shared in (control.neurons, control.connections))
        and all(0 <= n <= both for n in counted if n is not None)
        and 0 <= (control.inhibition or 0) <= control.neurons[2]
    )
    if not right:
        raise Wrong("PROVENANCE", "states of another network how far it is from the data")
    return control


def _has_what_is_compared(control: Control, graph: Graph) -> None:
    """Refuse differences in what networks of the graph do not have, or the reverse."""
    held = [q.weights for q in graph.connectome]
    graded = any(isinstance(p.node, Swept) and p.node.inhibition for p in graph.biological)
    for field, has in (
        ("starts", any(isinstance(w, PerConnection) and w.start == "weight" for w in held)),
        ("counts", any(isinstance(w, Tied) for w in held)),
        ("inhibition", graded),
    ):
        if has and getattr(control, field) is None:
            raise Wrong("PROVENANCE", f"does not state of {field} what the control changed")


def compare_with_graph(case: Case, network: Any, graph: Graph) -> None:
    """Compare every connection and sign with the saved graph."""
    stated = case.stated
    if (digest := graph.digest()) != (own := stated["graph_sha256"]):
        problem = f"is {digest[:12]}..., not the one that the module was made from, {own[:12]}..."
        raise Wrong("graph", problem, own)
    p = graph.provenance
    if stated.get("control") != (None if p.control is None else p.control.plain()):
        raise Wrong("PROVENANCE", "states another difference to the data than the graph")
    if p.control is not None:
        _has_what_is_compared(p.control, graph)
    for name, wanted in (
        ("made", p.made),
        ("dataset", p.dataset),
        ("version", p.version),
        ("title", p.title),
        ("measured", p.measured),
        ("signs", str(p.signs)),
        ("connectivity", str(p.connectivity)),
        ("licence", p.licence),
        ("citations", list(p.citations)),
    ):
        if stated[name] != wanted:
            raise Wrong("PROVENANCE", f"{name} is {stated[name]!r}, in the graph {wanted!r}")
    said = {word for p in graph.populations for word in words(p.node)} | NODE
    for name, unit in case.meaning.units(stated):
        meant = words(graph.population(name).node)
        for field in said & unit.keys():
            held, asked = unit[field], meant.get(field)
            if held != asked and (held or field in meant):  # nothing is said of what is not there
                raise Wrong(name, f"{field} is {held!r}, in the graph {asked!r}")
    for line, edges in zip(stated["projections"], graph.connectome, strict=True):
        if line.get("trained", True) != edges.weights.trained:
            raise Wrong(edges.key, "is trained, or not, otherwise than in the graph")
    if stated_signs(stated["projections"]) != (count := count_signs(graph)):
        raise Wrong("PROVENANCE", f"states other signs than those of the graph: {count}")
    _ends_have_their_units(stated, network, graph)
    weights = network.effective_weights()
    layers = {key_of(a, b, layer): layer for a, b, layer in network.named_projections()}
    for q in graph.connectome:
        post, pre = q.connectivity.entries(*graph.shape(q))
        found_post, found_pre, *_, order = _listed(weights[q.key], operator_of(case, q.key))
        for name, found, want in (("post", found_post, post), ("pre", found_pre, pre)):
            if found.shape != want.shape or (found != want).any():
                raise Wrong(q.key, f"{name} indices differ from the saved graph")
        if (_signs(layers[q.key], len(post))[order] != graph.enforced_signs(q)).any():
            raise Wrong(q.key, "signs differ from the saved graph")
        kept = getattr(layers[q.key], "count", None)
        if kept is not None and (kept.numpy() != q.synapses.weight).any():
            raise Wrong(q.key, "has other counts of synapses than the saved graph")
        tied = groups(graph, q) if isinstance(q.connectivity, Synapses) else None
        if tied is not None and (layers[q.key].group.numpy() != tied).any():
            raise Wrong(q.key, "shares its weights otherwise than the saved graph")
        if isinstance(q.weights, Tied) and (layers[q.key].scale.numpy() != scale(q)).any():
            raise Wrong(q.key, "multiplies its weights otherwise than the saved graph")
