"""Run in a fresh process: import an emitted module and put it to the test.

``python -m connectome_compiler.emit.probe MODULE [GRAPH]`` prints one line of JSON, the
certificate or ``{"where": ..., "problem": ...}``. The module must stand alone, so imports of the
compiler are refused while it is imported.
"""

from __future__ import annotations

import ast
import copy
import io
import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from connectome_compiler.emit.building import run_module
from connectome_compiler.emit.describe import STATEMENT, header_digest, scale, statement_digest
from connectome_compiler.emit.emission import MARK
from connectome_compiler.emit.findings import Wrong as Wrong
from connectome_compiler.emit.findings import alone, finding
from connectome_compiler.emit.fresh import tied_to_parent
from connectome_compiler.emit.probe_options import STARTS, refuses_nonsense, restated, rounds
from connectome_compiler.emit.probe_state import (
    gradients_are_its_own,
    holds_what_is_stated,
    noise_is_normal,
    options_are_those_stated,
    refuses_foreign_states,
    remembers_nothing,
    starts_where_stated,
)
from connectome_compiler.emit.reference import acted, acting, connections, rates_and_output
from connectome_compiler.emit.stepping import OPTIMIZERS, Stepper
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.nodes import Swept
from connectome_compiler.ir.provenance import standing
from connectome_compiler.ir.signs import count_signs, stated_signs
from connectome_compiler.ir.ties import groups
from connectome_compiler.ir.weights import Tied
from connectome_compiler.nn.window_rules import WindowRule

BATCH = 4
WIDE = 13  # another batch, for which other code runs in the layers
TOLERANCE = 1e-8  # of rates in double precision, relative to the largest
LEARNT = 1e-6  # of gradients, likewise: of what saturates, little is left
PULSES = 4096  # neurons pulsed per projection; above it a sample with a fixed seed
MANY = 500_000  # connections; above, recurrent networks are compared over fewer steps
HEAVY = 500_000_000  # products for one sample; above, stacks are compared over fewer samples
FEW = 512  # neurons; up to so many, all eigenvalues are looked at
CELLS = 2**22  # numbers in a batch of pulses: 16 MB, whatever the number of neurons
CHANNELS = 128  # pulsed per convolution; above it a sample with a fixed seed
SMALL = 2**13  # connections; up to so many, more choices of options are tried, and in training
ROUGH = 2e-3  # of rates in single precision, relative to the largest
# Batches for which layers run other code (few columns, tiles of 64, several images at a time), and
# the most products for a sample up to which all those of a row are tried.
BATCHES = (
    (2**13, (1, 2, 5, 7, 8, 11, 12, 16, 31, 32, 33, 63, 64, 65, 100, 128, 129, 200, 257)),
    (2**17, (1, 2, 7, 8, 12, 33, 65, 129)),
    (2**62, (1, 33)),
)
ROLLS = ((BATCH, 10), (65, 2), (1, 70))  # batches and steps of sequences
# In training or not, samples, and powers of ten by which all parameters are larger.
PASSES = (
    (False, BATCH, 0),
    (True, BATCH, 0),
    (False, WIDE, 0),
    *((False, 3, power) for power in (1, 4, -4)),
)
# Passes of recurrent networks for which other numbers of steps stand here, by samples.
LENGTHS = ((True, 2, 0), (True, 1, 0))
STEPS = {2: 1, 1: 14}
COLUMNS = (1, 7, WIDE, 65)  # samples for which gradients of layers are compared
# What a module states of its units, in the words of the graph's node models.
NODE = {"normalisation", "noise_std", "inhibition", "inhibition_strength"}
NODE |= {"activation", "tau_ms", "tau_per", "bias_per"}
Signs = npt.NDArray[np.int8]
Index = npt.NDArray[np.int32]


def probe(module: Path, saved: Path | None) -> dict[str, Any]:
    """Return the fields of the certificate; raise `Wrong` at the first finding."""
    emitted = load_alone(module)
    stated: dict[str, Any] = emitted.PROVENANCE
    if stated.get("sha256") != statement_digest(stated):
        raise Wrong("PROVENANCE", "was altered: it does not have the hash that it was written with")
    if stated["header_sha256"] != header_digest(emitted.__doc__ or ""):
        raise Wrong("header", "was altered: it does not have the hash that it was written with")
    _is_complete(stated)
    if "motif" in stated:
        from connectome_compiler.emit.probe_motif import probe_motif

        return probe_motif(emitted, saved)
    torch.manual_seed(0)
    with alone(), finding("build()"):
        network: Any = emitted.build()
    checks = ["imports and builds alone, without the compiler; its statement is unaltered"]
    new = "statement" in stated
    gradients_are_its_own(network)
    if not all(layer.training for layer in network.modules()):
        raise Wrong("build()", "does not give a network in training mode")
    _structure(network, stated)
    checks.append("connections and signs are those stated, none more, none less")
    if saved is not None:
        with finding("graph"):
            graph = Graph.load(saved)
        _against_graph(network, stated, graph)
        checks.append("connections, signs and origin are those of the saved graph, one by one")
    if "dynamics" in stated:
        _dynamics_are_those_stated(network, stated["dynamics"])
        _starts(emitted, network, stated)
        checks.append("time constants, and weights that come from data, start where it is stated")
    if new:
        options_are_those_stated(emitted, network, stated)
        holds_what_is_stated(network, stated["state"])
        checks.append("options, parameters and saved buffers are those stated, none more")
        starts_where_stated(emitted, stated)
        checks.append("all numbers start where it is stated, those drawn by their law and size")
    _wild(network)
    _weights_act(network, stated)
    _pulses(network, stated, limit=64)
    _shake(network)
    _weights_act(network, stated)
    checks.append("each weight acts as its sign times its size times its count; none is dead")
    pulsed, neurons = _pulses(network, stated)
    checks.append(f"{pulsed:,} unit pulses came out at their targets alone, with their signs")
    with finding("forward"), alone():
        network(network.example_input(BATCH))
    if "dynamics" in stated:
        _goes_on(network, stated)
        checks.append("a sequence in parts, the state passed on, is the sequence in one")
    _computes(network, stated)
    checks.append("rates, output and gradients are those of a plain reading of the graph")
    remembers_nothing(emitted, network, lambda: network(network.example_input(2)))
    _refuses_inputs(network, stated)
    _reports_all(network)
    if new:
        checks.append(_other_options(emitted, stated))
    sizes = _any_batch(network, stated)
    checks.append(f"samples do not depend on others: batches of up to {sizes}, in two precisions")
    if not {"stack", "dynamics"} & stated.keys():
        _noise(network, stated)
        checks.append("noise in training is normal, of the size stated")
    _gradients(network, stated)
    checks.append("gradients of every projection are those of its connections")
    for kind in OPTIMIZERS:
        _train(network, kind)
        _structure(network, stated)
        _weights_act(network, stated)
        _pulses(network, stated, limit=64)
    checks.append("all this holds after SGD, Adam and AdamW with weight decay from any start")
    _survives_saving(emitted, network)
    checks.append("saved and loaded, or copied, it is the same network")
    if new:
        refuses_foreign_states(network, stated["state"])
        checks.append("states of other connections, signs or counts are refused")
    projections = stated["projections"]
    return {
        "class_name": type(network).__name__,
        "measured": bool(stated["measured"]),
        "n_parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "n_connections": sum(p["connections"] for p in projections),
        "n_projections": len(projections),
        "n_pulses": pulsed,
        "n_neurons": neurons,
        "checks": checks,
        "notes": list(_notes(stated)),
    }


def load_alone(path: Path) -> ModuleType:
    """Run the module at ``path`` with the compiler out of its reach."""
    text = path.read_bytes()
    if MARK.encode() not in text:
        raise Wrong("module", "has no PROVENANCE: it was not made by ccompile")
    with alone(), finding("import"):
        module = run_module(path, text)
    for name in ("PROVENANCE", "build"):
        if not hasattr(module, name):
            raise Wrong("module", f"has no {name}: it was not made by ccompile")
    return module


def _is_complete(stated: dict[str, Any]) -> None:
    """Refuse a statement that leaves out what its format has; the first had no format."""
    if (form := stated.get("statement")) is None:
        return
    if form != STATEMENT:
        raise Wrong("PROVENANCE", f"has the format {form}; this ccompile reads {STATEMENT}")
    if "motif" not in stated and not {"options", "state"} <= stated.keys():
        raise Wrong("PROVENANCE", "does not state options and state, as its format does")


def _key(pre: str, post: str, layer: Any) -> str:
    kind = getattr(layer, "kind", "chemical")
    return f"{pre}->{post}" + ("" if kind == "chemical" else f":{kind}")


def _structure(network: Any, stated: dict[str, Any]) -> None:
    """Compare effective weights with the digests of indices and signs in ``PROVENANCE``."""
    weights: dict[str, Tensor] = network.effective_weights()
    layers = {_key(a, b, layer): layer for a, b, layer in network.named_projections()}
    expected = {p["key"]: p for p in stated["projections"]}
    if list(weights) != list(expected):
        odd = set(weights) ^ set(expected)
        problem = (
            f"effective_weights() and PROVENANCE differ in {', '.join(sorted(odd)) or 'order'}"
        )
        raise Wrong("projections", problem)
    for key, want in expected.items():
        post, pre, values, sizes, order = _listed(weights[key], _operator(stated, key))
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
        if layers[key].weight.requires_grad != want.get("trained", True):
            raise Wrong(key, "is trained" if "trained" in want else "is not trained")
        if key.endswith(":electrical"):
            _conducts_both_ways(key, weights)
        if not np.isfinite(values).all():
            raise Wrong(key, "has weights that are not finite")
        flipped = (values * signs[:, None] < 0).sum()
        if flipped:
            raise Wrong(key, f"{flipped:,} weights act with the wrong sign")


def _operator(stated: dict[str, Any], key: str) -> dict[str, Any]:
    """Return how the connections of a projection act: kind and geometry."""
    layers = stated.get("stack", {}).get("layers", ())
    found = (q["operator"] for q in layers if f"{q['pre']}->{q['post']}" == key)
    return next(found, {"kind": "Linear"})


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


def _against_graph(network: Any, stated: dict[str, Any], graph: Graph) -> None:
    """Compare every connection and sign with the saved graph."""
    if (digest := graph.digest()) != (own := stated["graph_sha256"]):
        problem = f"is {digest[:12]}..., not the one that the module was made from, {own[:12]}..."
        raise Wrong("graph", problem, own)
    p = graph.provenance
    told = {"made": p.made, **stated}  # which modules of version 0.1.0 do not tell
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
        if told[name] != wanted:
            raise Wrong("PROVENANCE", f"{name} is {told[name]!r}, in the graph {wanted!r}")
    dynamics = stated.get("dynamics", {})
    for unit, population in zip(stated["populations"], graph.biological, strict=True):
        meant = _of_node(population.node)
        for field, held in {**unit, **dynamics}.items():
            if field in NODE and held != meant.get(field):
                problem = f"{field} is {held!r}, in the graph {meant.get(field)!r}"
                raise Wrong(population.name, problem)
    for line, edges in zip(stated["projections"], graph.connectome, strict=True):
        if line.get("trained", True) != edges.weights.trained:
            raise Wrong(edges.key, "is trained, or not, otherwise than in the graph")
    if stated_signs(stated["projections"]) != (count := count_signs(graph)):
        raise Wrong("PROVENANCE", f"states other signs than those of the graph: {count}")
    weights = network.effective_weights()
    layers = {_key(a, b, layer): layer for a, b, layer in network.named_projections()}
    for q in graph.connectome:
        post, pre = q.connectivity.entries(*graph.shape(q))
        found_post, found_pre, *_, order = _listed(weights[q.key], _operator(stated, q.key))
        for name, found, want in (("post", found_post, post), ("pre", found_pre, pre)):
            if found.shape != want.shape or (found != want).any():
                raise Wrong(q.key, f"{name} indices differ from the saved graph")
        if (_signs(layers[q.key], len(post))[order] != graph.enforced_signs(q)).any():
            raise Wrong(q.key, "signs differ from the saved graph")
        tied = groups(graph, q) if isinstance(q.connectivity, Synapses) else None
        if tied is not None and (layers[q.key].group.numpy() != tied).any():
            raise Wrong(q.key, "shares its weights otherwise than the saved graph")
        if isinstance(q.weights, Tied) and (layers[q.key].scale.numpy() != scale(q)).any():
            raise Wrong(q.key, "multiplies its weights otherwise than the saved graph")


def _of_node(node: Any) -> dict[str, Any]:
    """Return what a module states of units of this kind, by the words of `NODE`."""
    meant = asdict(node)
    if isinstance(node, Swept):
        attenuation = node.inhibition
        meant["inhibition"] = attenuation.form if attenuation else "none"
        meant["inhibition_strength"] = attenuation.strength if attenuation else 0.0
    return meant


def _starts(
    emitted: ModuleType, network: Any, stated: dict[str, Any], options: dict[str, Any] | None = None
) -> None:
    """Compare what a recurrent network starts with, its spectral radius among it.

    ``options`` are those that it was built with, directly after a seed of 0.
    """
    dynamics = stated["dynamics"]
    found = network.units.log_tau.detach()
    wanted = torch.full_like(found, dynamics["tau_ms"]).log()
    if bool(((found - wanted).abs() > 1e-7 * (1 + wanted.abs())).any()):  # the last bit
        raise Wrong("units", f"do not start at a time constant of {dynamics['tau_ms']} ms")
    torch.manual_seed(0)
    with alone(), finding("build()"):
        plain = emitted.build(**{**(options or {}), "spectral_radius": None})
    for a, b, layer in plain.named_projections():
        want = dynamics["starts_sha256"].get(_key(a, b, layer))
        if want is not None and array_digest(layer.weight.detach().numpy()) != want:
            raise Wrong(_key(a, b, layer), "does not start at the weights of the graph")
    radius = dynamics["spectral_radius"]
    factor = 1.0
    if radius:
        few = network.units.n <= FEW
        before = _spectral_radius(plain, stated)
        factor = radius / before
        after = _spectral_radius(network, stated)
        if abs(after - radius) > (1e-4 if few else 0.02) * radius:
            raise Wrong("build()", f"starts at a spectral radius of {after:.5g}, not {radius:.5g}")
        factor = factor if few else float(_chemical(network).norm() / _chemical(plain).norm())
    for (*_, layer), (*_, other) in zip(
        network.named_projections(), plain.named_projections(), strict=True
    ):
        if layer.kind == "electrical" and not torch.equal(layer.weight, other.weight):
            raise Wrong("build()", "scales gap junctions to the spectral radius, too")
    if not torch.allclose(_chemical(network), factor * _chemical(plain), rtol=1e-4, atol=0):
        raise Wrong("build()", "scales some of its weights otherwise than others at the start")


def _chemical(network: Any) -> Tensor:
    """Return the weights of all chemical projections."""
    layers = [layer for _, _, layer in network.named_projections() if layer.kind == "chemical"]
    return torch.cat([layer.weight.detach().double() for layer in layers] or [torch.zeros(0)])


def _spectral_radius(network: Any, stated: dict[str, Any]) -> float:
    """Return the largest magnitude of an eigenvalue of the chemical weights, all in one matrix."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import eigs

    first, n = {}, 0
    for p in stated["populations"]:
        first[p["name"]], n = n, n + p["units"]
    rows, columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for pre, post, layer in network.named_projections():
        if layer.kind == "chemical":
            i, j, weights = (x.detach().numpy() for x in connections(layer))
            rows.append(i + first[post])
            columns.append(j + first[pre])
            values.append(weights.astype(np.float64))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    matrix = csr_array(entries, (n, n))
    if n <= FEW:
        return float(abs(np.linalg.eigvals(matrix.toarray())).max())
    start = np.random.default_rng(0).random(n)
    return float(abs(eigs(matrix, 4, ncv=64, v0=start, tol=1e-4, return_eigenvectors=False)).max())


def _wild(network: Any) -> None:
    """Overwrite the weights of all projections by numbers of all sizes, some of them exactly 0."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for _, _, layer in network.named_projections():
            shape = layer.weight.shape
            size = 10 ** (20 * torch.rand(shape, generator=generator) - 10)
            drawn = torch.randn(shape, generator=generator).sign() * size
            layer.weight.copy_(drawn * (torch.rand(shape, generator=generator) > 0.1))


def _weights_act(network: Any, stated: dict[str, Any]) -> None:
    """Compare each weight that acts with ``sign * |raw| * scale``, or ``raw * scale``, to the bit.

    A convolution's are those on its mask, times its factors.
    """
    reported = network.effective_weights()
    for a, b, layer in network.named_projections():
        key = _key(a, b, layer)
        with finding(key), torch.no_grad():
            if hasattr(layer, "ptr"):
                post, pre, wanted = connections(layer)
                listed = reported[key].coalesce()
                told, found = listed.values(), layer.effective_weight()
                if not torch.equal(listed.indices(), torch.stack((post, pre))):
                    raise Wrong(key, "connects other neurons than it says")
            else:
                wanted = acting(layer)
                found = layer.effective_weight() if hasattr(layer, "effective_weight") else wanted
                told = reported[key].to_dense()
                _factors_are_those_of_the_rule(key, layer, stated)
            for what, values in (("acts", found), ("is said to act", told)):
                if values.shape != wanted.shape or not torch.equal(values, wanted):
                    where = "" if values.shape != wanted.shape else _first(values, wanted)
                    raise Wrong(key, f"what {what} is not sign x |weight| x scale{where}")


def _first(found: Tensor, wanted: Tensor) -> str:
    k = int((found != wanted).flatten().nonzero()[0])
    n = int((found != wanted).sum())
    values = f"{float(found.flatten()[k]):.6g}, expected {float(wanted.flatten()[k]):.6g}"
    return f": {n:,} of {wanted.numel():,} differ, the first is {values}"


def _factors_are_those_of_the_rule(key: str, layer: Any, stated: dict[str, Any]) -> None:
    """Compare the factors of a window with those that its rule gives."""
    (projection,) = (p for p in stated["projections"] if p["key"] == key)
    held, rule = getattr(layer, "values", None), None
    if "window" in projection:
        call: Any = ast.parse(projection["window"], mode="eval").body
        given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        rule = WindowRule(*map(ast.literal_eval, call.args), **given)
    if (held is not None) != (rule is not None and rule.form == "gaussian"):
        raise Wrong(key, "has factors, and its window none, or the reverse")
    if held is None or rule is None:
        return
    wanted = torch.tensor(list(rule.values(*projection["shape"])), dtype=torch.float64)
    found = held.double().reshape(held.shape[:2])
    found = found.t() if _operator(stated, key)["kind"] == "ConvTranspose2d" else found
    if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-6, atol=1e-30):
        raise Wrong(key, "has other factors than its window")


def _pulses(network: Any, stated: dict[str, Any], limit: int = PULSES) -> tuple[int, int]:
    """Pulse presynaptic neurons one by one; each must reach its targets alone, with their sign.

    Into a convolution goes a map of noise, in one channel; into others nothing.
    """
    network.eval()
    weights = network.effective_weights()
    pulsed = neurons = 0
    for pre, post, layer in network.named_projections():
        with finding(_key(pre, post, layer)):
            key = _key(pre, post, layer)
            operator = _operator(stated, key)
            if operator["kind"] != "Linear":
                n_pre = layer.in_channels
                chosen = _sample(n_pre, min(limit, CHANNELS))
                _pulse_channels(key, layer, operator, weights[key].to_dense(), chosen)
                pulsed, neurons = pulsed + len(chosen), neurons + n_pre
                continue
            weight = weights[key].coalesce().to_sparse_csc()
            n_pre = weight.shape[1]
            chosen = _sample(n_pre, limit)
            rest = layer(torch.zeros(1, n_pre)).detach()
            for part in torch.split(chosen, max(1, CELLS // max(weight.shape))):
                pulse = torch.zeros(len(part), n_pre)
                pulse[torch.arange(len(part)), part] = 1.0
                answer = (layer(pulse) - rest).detach()
                wanted = torch.zeros_like(answer)
                for row, j in enumerate(part.tolist()):
                    a, b = int(weight.ccol_indices()[j]), int(weight.ccol_indices()[j + 1])
                    wanted[row, weight.row_indices()[a:b]] = weight.values()[a:b]
                close = (answer - wanted).abs() <= 1e-4 * wanted.abs() + 1e-6 * rest.abs()
                bad = ~close | ((wanted == 0) & (answer != 0))
                if bad.any():
                    row, i = (int(v) for v in bad.nonzero()[0])
                    raise Wrong(
                        key,
                        f"a pulse into neuron {int(part[row])} gives {float(answer[row, i]):.3g} "
                        f"at neuron {i}, expected {float(wanted[row, i]):.3g}",
                    )
            pulsed, neurons = pulsed + len(chosen), neurons + n_pre
    return pulsed, neurons


def _sample(n: int, limit: int) -> Tensor:
    """Return all of ``0..n-1``, or ``limit`` of them, the same at every call."""
    if n <= limit:
        return torch.arange(n)
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(n, generator=generator)[:limit].sort().values


def _map_size(operator: dict[str, Any]) -> tuple[int, int]:
    """Return the size of a small map on which every position of the kernel acts."""
    reach = zip(operator["dilation"], operator["kernel"], strict=True)
    size = [d * (k - 1) + 1 for d, k in reach]
    if operator["kind"] == "ConvTranspose2d":  # what is cut off at the border is a place each
        cut = zip(operator["padding"], operator["stride"], strict=True)
        size = [2 * math.ceil(p / s) + 1 for p, s in cut]
    return size[0], size[1]


def _pulse_channels(
    key: str, layer: Any, operator: dict[str, Any], weight: Tensor, chosen: Tensor
) -> None:
    """Compare what noise in one channel gives with a plain reading of the kernels."""
    generator = torch.Generator().manual_seed(0)
    size = _map_size(operator)
    rest = layer(torch.zeros(1, layer.in_channels, *size)).detach()
    at_once = max(1, CELLS // max(layer.in_channels * math.prod(size), rest.numel()))
    for part in torch.split(chosen, at_once):
        pulse = torch.zeros(len(part), layer.in_channels, *size)
        noise = torch.randn(len(part), *size, generator=generator)
        pulse[torch.arange(len(part)), part] = noise
        answer = (layer(pulse) - rest).detach()
        wanted = acted(operator, weight, pulse)
        wrong = (answer - wanted).abs() > 1e-4 * wanted.abs().amax() + 1e-6
        reached = answer.flatten(2).any(2) & ~wanted.flatten(2).any(2)
        bad = wrong.flatten(2).any(2) | reached
        if bad.any():
            row, channel = (int(v) for v in bad.nonzero()[0])
            raise Wrong(
                key,
                f"a pulse into channel {int(part[row])} gives channel {channel} another answer"
                " than its kernels",
            )


def _computes(
    network: Any, stated: dict[str, Any], passes: Sequence[tuple[bool, int, int]] = PASSES
) -> None:
    """Compare rates, output and gradients with the reference's, in evaluation and in training.

    Each of the ``passes`` says whether in training, with how many samples, and by how many powers
    of ten all parameters are too large.
    """
    double = copy.deepcopy(network).double()
    _shake(double)
    called: set[str] = set()
    layers = {_key(a, b, layer): layer for a, b, layer in double.named_projections()}
    hooks = [
        layer.register_forward_pre_hook(lambda _, __, key=key: called.add(key))
        for key, layer in layers.items()
    ]
    left: set[str] = set()
    hooks += [
        layer.register_forward_hook(lambda _, __, ___, key=key: left.add(key))
        for key, layer in layers.items()
    ]
    _units_are_those_stated(double, stated)
    # The plain reading keeps a number per connection, sample and step.
    n_connections = sum(p["connections"] for p in stated["projections"])
    large = "dynamics" in stated and n_connections > MANY
    few = _products(stated) > HEAVY
    small = "dynamics" in stated and n_connections <= MANY
    for training, batch, power in (*passes, *(LENGTHS if small else ())):
        double.train(training)
        tested = _resized(double, 10.0**power) if power else double
        plain = copy.deepcopy(tested)  # with parameters of its own
        size = (2 if training else batch, 3) if large else (2 + (batch == WIDE) if few else batch,)
        image = double.example_input(*size, *([STEPS[batch]] if batch in STEPS else ()))
        if batch != BATCH:
            image = _varied(image, _along(tested, stated))
        state = None
        if "dynamics" in stated and (training or batch == 3):
            state = image.new_ones(size[0], double.units.n).uniform_(generator=_source(5))
            state *= 1 if training else 100  # beyond what activations reach
        ends = [[x] if state is None else [x, state] for x in (image, image.clone())]
        ends = [[x.detach().clone().requires_grad_(training) for x in many] for many in ends]
        # Only where gradients are compared: what is kept for them takes memory.
        with torch.set_grad_enabled(training):
            with finding("forward"):
                found = tested.rates(*ends[0])
            expected, wanted = rates_and_output(plain, stated, *ends[1])
            _statistics_agree(tested, plain)
            with finding("forward"):
                output = tested(*ends[0])
        for key in layers:
            if (
                key not in called & left and "dynamics" not in stated
            ):  # those roll weights, not layers
                raise Wrong(key, "is not used in the forward pass")
        for hook in hooks:  # layers without any may share work
            hook.remove()
        lasts: list[Tensor] = []
        if "dynamics" in stated:
            output, last = output
            step = -1 if _along(tested, stated) else (slice(None), -1)
            lasts = [last, torch.cat([rates[step] for rates in expected.values()], -1)]
            expected = {**expected, "the state at the end": lasts[1]}
            found = {**found, "the state at the end": last}
        floor = 1e-3 * 10.0 ** (5 * min(0, power))
        for name, rates in {**expected, "the output": wanted}.items():
            other = output if name == "the output" else found.get(name)
            if other is None or other.shape != rates.shape:
                raise Wrong("rates()", f"has no rates of {name} of shape {tuple(rates.shape)}")
            along = _along(tested, stated) if name != "the state at the end" else 0
            if not _agree(other, rates, along, floor=floor):
                raise Wrong("forward", f"{name} is not what the graph says, from here on")
        if found.keys() != expected.keys():
            raise Wrong("rates()", "has rates of other populations than the graph")
        if training:
            answers = zip((tested, plain), (output, wanted), ends, strict=True)
            slack = 1e-4 if batch in STEPS else LEARNT  # many steps make more of a last bit
            twice = "dynamics" not in stated and n_connections + _products(stated) < SMALL
            _learn_alike(answers, lasts, twice, slack)


def _other_options(emitted: ModuleType, stated: dict[str, Any]) -> str:
    """Compare networks built with other options with what is stated of those."""
    refuses_nonsense(emitted, stated)
    connected = sum(p["connections"] for p in stated["projections"])
    small = connected + _products(stated) < SMALL
    choices = list(rounds(stated, 4 if small else 2))
    for options in choices:
        where = "build(" + ", ".join(f"{k}={v!r}" for k, v in options.items()) + ")"
        torch.manual_seed(0)
        with alone(), finding(where):
            network = emitted.build(**options)
        other = restated(stated, options)
        try:
            if list(network.effective_weights()) != [p["key"] for p in other["projections"]]:
                raise Wrong("projections", "are others than with these options")
            if "dynamics" in other:
                _starts(emitted, network, other, options)
            if chosen := {k: v for k, v in options.items() if k in STARTS}:
                starts_where_stated(emitted, other, chosen)
            _computes(network, other, PASSES[:2] if small else PASSES[:1])
            _sizes_are(network, options)
        except Wrong as wrong:
            raise Wrong(f"{where}: {wrong.where}", wrong.problem) from wrong
    return f"{len(choices)} choices of other options give what is stated of them"


def _sizes_are(network: Any, options: dict[str, Any]) -> None:
    """Compare the sizes of inputs and outputs with options."""
    x = network.example_input(2)
    with torch.no_grad():
        y = _answer(network, x)
    size = options.get("image_size", x.shape[-2:])
    wanted = {
        "channels": x.shape[1],
        "image_size": tuple(x.shape[-2:]),
        "inputs": x.shape[-1],
        "classes": y.shape[-1],
        "outputs": y.shape[-1],
    }
    given = {**options, "image_size": (size, size) if isinstance(size, int) else tuple(size)}
    for name, found in wanted.items():
        if name in options and found != given[name]:
            raise Wrong(name, f"is {found}, not {given[name]}")


def _reports_all(network: Any) -> None:
    """Compare what is reported beside projections with parameters."""
    known = network.effective_weights()
    held = [p.detach() for p in network.parameters()]
    for key, weight in network.effective_weights(all=True).items():
        if key not in known:
            dense = weight.to_dense()
            same = any(dense.shape == p.shape and torch.equal(dense, p) for p in held)
            parts = [p for p in held if p.numel() > dense.numel() and len(p) == len(dense)]
            if not (same or any(bool(torch.isin(dense, p).all()) for p in parts)):
                raise Wrong(key, "is said to act, and is no parameter")


def _refuses_inputs(network: Any, stated: dict[str, Any]) -> None:
    """Give inputs of another size."""
    if "stack" not in stated and "dynamics" not in stated:
        return  # images have the size that their features have
    x = network.example_input(2)
    for other in (x[..., :-1], torch.cat((x, x[..., :1]), -1), x.unsqueeze(0).unsqueeze(0)):
        try:
            network(other)
        except Exception:  # whatever layers say of it
            continue
        raise Wrong("forward", f"takes inputs of {tuple(other.shape)} for {tuple(x.shape)}")


def _resized(network: Any, size: float) -> Any:
    """Return the network with all its parameters, and time constants, ``size`` times as large."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("log_tau"):
                parameter.add_(math.log(size))
            else:
                parameter.mul_(size)
    return network


def _learn_alike(
    answers: Iterable[tuple[Any, Tensor, list[Tensor]]],
    lasts: list[Tensor],
    twice: bool,
    slack: float,
) -> None:
    """Compare gradients of parameters and inputs; ``twice``, also those of their squares."""
    orders = []
    for (net, y, given), last in zip(answers, lasts or (None, None), strict=True):
        parameters = {n: p for n, p in net.named_parameters() if p.requires_grad}
        asked = {**parameters, **{f"the input {k}": x for k, x in enumerate(given)}}
        # Of tanh where it is flat, and of sin far out, rounding leaves no digit of the slope.
        loss = y.atan().sum() + (0 if last is None else last.atan().sum())
        order = []
        for again in (False, True)[: 1 + twice]:
            if not loss.requires_grad:
                break
            with finding("backward"):
                many = list(asked.values())
                grads = torch.autograd.grad(
                    loss, many, allow_unused=True, create_graph=twice and not again
                )
            order.append(dict(zip(asked, grads, strict=True)))
            squares = [g.square().sum() for g in grads if g is not None]
            loss = sum(squares, y.new_zeros(()))
        orders.append(order)
    for name in (name for order in orders[1] for name in order):
        for one, other in zip(*([order[name] for order in many] for many in orders), strict=True):
            if (one is None) != (other is None) or not (
                one is None or _agree(one, other, slack=slack)
            ):
                raise Wrong(name, "learns by another gradient than the graph's")


def _source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _along(network: Any, stated: dict[str, Any]) -> int:
    """Return which dimension of rates and outputs the samples are in."""
    return int("dynamics" in stated and not network.batch_first)


def _varied(x: Tensor, along: int) -> Tensor:
    """Return normal numbers in the shape of ``x``, of another size for each sample."""
    shape = [1] * x.dim()
    shape[along] = -1
    sizes = torch.logspace(-2, 2, x.shape[along], dtype=x.dtype).view(shape)
    return torch.randn(x.shape, generator=_source(6), dtype=x.dtype) * sizes


def _statistics_agree(found: Any, wanted: Any) -> None:
    """Compare what normalisations remember after one pass."""
    others = dict(wanted.named_buffers())
    for name, buffer in found.named_buffers():
        if buffer.is_floating_point() and not _agree(buffer, others[name]):
            raise Wrong(name, "is not what the graph says after a pass")
        if name.endswith("num_batches_tracked") and not torch.equal(buffer, others[name]):
            raise Wrong(name, "does not count passes in training")


def _any_batch(network: Any, stated: dict[str, Any]) -> int:
    """Compare batches of many sizes with the same samples a few at a time, and two precisions."""
    dynamic = "dynamics" in stated
    products = sum(p.numel() for p in network.parameters()) + _products(stated)
    products += 3 * dynamic * sum(p["connections"] for p in stated["projections"])
    sizes = next(sizes for most, sizes in BATCHES if products <= most)
    along, more = _along(network, stated), (3,) if dynamic else ()
    double = copy.deepcopy(network).double()
    _shake(double)
    _quiet(double, stated)
    single = copy.deepcopy(double).float()
    samples = double.example_input(max(sizes), *more)
    x = samples.narrow(along, 0, min(65, max(sizes)))
    # Over a batch that normalises, gradients of parts do not add up.
    training = not any(p["normalisation"] for p in stated.get("stack", {"units": ()})["units"])
    right, wanted = _learned(double.train(training), x.split(WIDE, along), along)
    found, grads = _learned(single.train(training), [x], along)
    if not _agree(found, right, along, ROUGH):
        raise Wrong("forward", f"a batch of {x.shape[along]} is not what its samples are")
    for name, grad in wanted.items():
        # Some unit may be above 0 in one precision, and below in the other.
        if float((grads[name] - grad).norm()) > 0.05 * float(grad.norm()) + 1e-3:
            raise Wrong(name, f"learns by another gradient from a batch of {x.shape[along]}")
    _quiet_sizes(single.eval(), samples, sizes, along)
    if len(sizes) > 2:
        _quiet_sizes(double.eval(), samples, sizes[-3:], along)
    return max(sizes)


def _learned(network: Any, parts: Sequence[Tensor], along: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the answers to a batch in parts, and the gradients of its parameters, summed."""
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    like, answers = next(network.parameters()), []
    totals = {n: torch.zeros(p.shape, dtype=torch.float64) for n, p in parameters.items()}
    for part in parts:
        with finding("backward"):
            answer = _answer(network, part.to(like))
            loss = answer.atan().sum()
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        answers.append(answer.detach().double())
        for name, grad in zip(parameters, found, strict=True):
            totals[name] += 0 if grad is None else grad
    return torch.cat(answers, along), totals


def _quiet_sizes(network: Any, samples: Tensor, sizes: Sequence[int], along: int) -> None:
    """Compare batches of many sizes, without gradients, with their samples a few at a time."""
    x = samples.to(next(network.parameters()))
    slack = ROUGH if x.dtype == torch.float32 else TOLERANCE
    with torch.no_grad(), finding("forward"):
        whole = torch.cat([_answer(network, part) for part in x.split(WIDE, along)], along)
        for size in sizes:
            found = _answer(network, x.narrow(along, 0, size))
            if not _agree(found, whole.narrow(along, 0, size), along, slack):
                problem = f"a batch of {size} is not what its samples are {WIDE} at a time"
                raise Wrong("forward", problem)
        few = [network.rates(part) for part in x.split(WIDE, along)]
        for name, rates in network.rates(x).items():
            if not _agree(rates, torch.cat([part[name] for part in few], along), along, slack):
                raise Wrong("rates()", f"those of {name} depend on the size of the batch")


def _quiet(network: Any, stated: dict[str, Any]) -> None:
    """Put out the noise, so that runs compare."""
    for p in stated["populations"]:
        units: Any = network.get_submodule(p["layer"]) if p["layer"] else None
        if hasattr(units, "noise_std"):
            units.noise_std = 0.0


def _noise(network: Any, stated: dict[str, Any]) -> None:
    """Compare the noise of the units with its law."""
    double = copy.deepcopy(network).double()
    _shake(double)
    for p in stated["populations"]:
        units = double.get_submodule(p["layer"])
        units.noise_std = p["noise_std"] or 0.1  # an option of build(), also where it is 0
        with finding(p["name"]):
            noise_is_normal(p["name"], units, p["units"], units.noise_std)


def _products(stated: dict[str, Any]) -> int:
    """Return how many products the convolutions of a stack need for one sample."""
    stack = stated.get("stack", {"units": (), "layers": ()})
    shapes = {p["name"]: p["shape"] for p in stack["units"]}
    return sum(
        math.prod(q["operator"]["kernel"]) * shapes[q["pre"]][0] * math.prod(shapes[q["post"]])
        for q in stack["layers"]
        if q["operator"]["kind"] == "Conv2d"
    )


def _goes_on(network: Any, stated: dict[str, Any]) -> None:
    """Compare sequences with their two parts, and with their steps one by one."""
    network.eval()
    large = sum(p["connections"] for p in stated["projections"]) > MANY
    for batch, steps in ROLLS[:1] if large else ROLLS:
        if steps > 20:  # single precision may not do over so many
            network = copy.deepcopy(network).double()
        u = network.example_input(batch, steps)
        along = 1 if network.batch_first else 0
        with torch.no_grad(), finding("state"):
            whole, last = network(u)
            parts, state = [], None
            for part in u.split((steps + 1) // 2, along):
                output, state = network(part, state)
                parts.append(output)
            single, now = [], None
            for step in u.unbind(along):
                output, now = network(step, now)
                single.append(output)
        for outputs, end in ((torch.cat(parts, along), state), (torch.stack(single, along), now)):
            if not _agree_roughly(outputs, whole) or not _agree_roughly(end, last):
                raise Wrong("state", "a sequence that goes on from its state is another one")


def _agree_roughly(one: Any, other: Tensor) -> bool:
    return one is not None and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _units_are_those_stated(double: Any, stated: dict[str, Any]) -> None:
    """Compare what single units have of their own, and put out their noise."""
    if "dynamics" in stated:
        return
    for p in stated["populations"]:
        units = double.get_submodule(p["layer"])
        if not hasattr(units, "inhibition"):
            continue
        held = units.inhibition
        if held is not None and array_digest(held.float().numpy()) != p.get("inhibition_sha256"):
            raise Wrong(p["name"], "its neurons are inhibited otherwise than in the graph")
        if units.noise_std != p["noise_std"]:
            raise Wrong(p["name"], f"noise_std is {units.noise_std}, not {p['noise_std']}")
    _quiet(double, stated)  # so that training, too, can be compared


def _dynamics_are_those_stated(network: Any, stated: dict[str, Any]) -> None:
    """Compare which units are driven, read, and share a time constant or bias."""
    units = network.units
    for holder, part in (
        (network, "input_units"),
        (network, "output_units"),
        (units, "tau_of"),
        (units, "bias_of"),
    ):
        held = getattr(holder, part)
        found = None if held is None else array_digest(held.int().numpy())
        if found != stated.get(f"{part}_sha256"):
            raise Wrong(part, "are other units than the graph's")
    wanted = {"log_tau": stated["tau_per"] != "fixed", "bias": stated["bias_per"] != "none"}
    if {name for name, _ in units.named_parameters()} != {k for k, v in wanted.items() if v}:
        raise Wrong("units", "train other constants than is stated")


def _answer(network: Any, x: Tensor) -> Tensor:
    """Return the output; recurrent networks return their state with it."""
    output = network(x)
    answer: Tensor = output[0] if isinstance(output, tuple) else output
    return answer


def _agree(
    one: Tensor, other: Tensor, along: int = -1, slack: float = TOLERANCE, floor: float = 1e-3
) -> bool:
    """Whether two tensors are the same up to rounding; nan is not.

    ``along`` is the dimension of the samples, if each is measured by its own largest number; one
    that is far below ``floor`` is not looked at.
    """
    if one.shape != other.shape:
        return False
    if not one.numel():  # of a projection that has lost all its connections
        return True
    size, apart = other.abs(), (one - other).abs()
    if along >= 0 and one.dim() > 1:
        size, apart = (x.movedim(along, 0).flatten(1).amax(1) for x in (size, apart))
        return bool((apart <= slack * (floor + size)).all())
    return bool(apart.max() <= slack * (1 + size.max()))


def _gradients(network: Any, stated: dict[str, Any]) -> None:
    """Compare each layer's answers and gradients with those of its listed connections."""
    _shake(network)
    with torch.no_grad():  # a weight of exactly 0 learns, too
        for _, _, layer in network.named_projections():
            if hasattr(layer, "ptr"):
                layer.weight[::5] = 0.0
    double = copy.deepcopy(network).double()
    for net, columns in ((network, COLUMNS), (double, (WIDE,))):
        for k, batch in enumerate(columns):
            for a, b, layer in net.train(bool(k % 2)).named_projections():
                key = _key(a, b, layer)
                with finding(key):
                    if not hasattr(layer, "ptr"):
                        _dense_gradients(key, layer, _operator(stated, key), batch)
                    else:
                        _list_gradients(key, layer, batch)
    network.zero_grad()


def _list_gradients(key: str, layer: Any, batch: int) -> None:
    """Compare answer and gradients of a layer that lists its connections."""
    generator, raw = _source(2 + batch), layer.weight.detach()
    post, pre, values = (t.detach() for t in connections(layer))
    x = torch.randn(batch, layer.n_pre, generator=generator, dtype=raw.dtype).requires_grad_()
    g = torch.randn(batch, layer.n_post, generator=generator, dtype=raw.dtype)
    layer.weight.grad = None
    answer = layer(x)
    answer.backward(g)
    size = layer.n_post, layer.n_pre
    matrix = torch.sparse_coo_tensor(torch.stack((post, pre)), values, size, check_invariants=False)
    bias = 0 if layer.bias is None else layer.bias.detach()
    of_connections = (g[:, post] * x.detach()[:, pre]).sum(0)
    group, scale = getattr(layer, "group", None), getattr(layer, "scale", None)
    if scale is not None:
        of_connections = of_connections * scale
    free, held = layer.sign == 0, raw if group is None else raw[group]
    up = torch.where(free | (held < 0), torch.where(free, 1, -layer.sign), layer.sign)
    # A weight of 0 has a slope, too: up or down.
    turned = [of_connections * factor for factor in (up, torch.where(held == 0, 1, up))]
    if group is not None:
        turned = [torch.zeros_like(raw).index_add(0, group, parts) for parts in turned]
    found = layer.weight.grad
    if layer.weight.requires_grad and not (  # else frozen
        found is not None and bool((_close(found, turned[0]) | _close(found, turned[1])).all())
    ):
        raise Wrong(key, "the gradient of its weights is not that of its connections")
    right = torch.sparse.mm(matrix.t(), g.t()).t()
    if x.grad is None or not bool(_close(x.grad, right).all()):
        raise Wrong(key, "the gradient of its input is not that of its connections")
    right = torch.sparse.mm(matrix, x.detach().t()).t() + bias
    if not bool(_close(answer.detach(), right).all()):
        raise Wrong(key, f"what it makes of {batch} samples is not what its connections make")


def _close(one: Tensor, other: Tensor) -> Tensor:
    return torch.isclose(one, other, rtol=1e-3, atol=1e-3)


def _dense_gradients(key: str, layer: Any, operator: dict[str, Any], batch: int) -> None:
    """Compare answer and gradients of a layer that holds a matrix, or kernels."""
    if operator["kind"] == "Linear":
        shape: tuple[int, ...] = (batch, layer.in_features)
    else:
        batch = min(batch, 2 * BATCH)
        shape = (batch, layer.in_channels, *_map_size(operator))
    generator = _source(2 + batch)
    x = torch.randn(shape, generator=generator, dtype=layer.weight.dtype).requires_grad_()
    answer = layer(x)
    g = torch.randn(answer.shape, generator=generator, dtype=x.dtype)
    held = {"weights": layer.weight, "input": x, "bias": layer.bias}
    parts = {k: v for k, v in held.items() if v is not None and v.requires_grad}
    plain = acted(operator, acting(layer), x)
    if layer.bias is not None:
        plain = plain + layer.bias.reshape(-1, *[1] * (plain.dim() - 2))
    if not _agree(answer, plain, 0, ROUGH):
        raise Wrong(key, f"what it makes of {batch} samples is not what its connections make")
    found = torch.autograd.grad(answer, list(parts.values()), g)
    right = torch.autograd.grad(plain, list(parts.values()), g)
    for what, one, other in zip(parts, found, right, strict=True):
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max())):
            raise Wrong(key, f"the gradient of its {what} is not that of its connections")


def _shake(network: Any) -> None:
    """Overwrite every parameter by a foreign initialiser, keeping clear of zero.

    Connections shrink with the in-degree, so that no activity explodes over many sweeps.
    """
    degree = {}
    for _, _, layer in network.named_projections():
        if (mask := getattr(layer, "mask", None)) is not None:
            degree[id(layer.weight)] = max(1.0, int(mask.sum()) / len(mask)) ** 0.5
        elif hasattr(layer, "n_post"):
            degree[id(layer.weight)] = max(1.0, layer.pre.numel() / max(1, layer.n_post))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            # One normal number in some ten million is exactly zero, so not `drawn.sign()`.
            drawn = drawn + torch.where(drawn < 0, -0.1, 0.1)
            parameter.copy_(drawn / degree.get(id(parameter), fan_in**0.5))
        log_tau = getattr(getattr(network, "units", None), "log_tau", None)
        if isinstance(log_tau, nn.Parameter):  # some fast beside the step of time, some slow
            log_tau.add_(math.log(network.units.dt_ms))
        for _, _, layer in network.named_projections():
            if getattr(layer, "scale", None) is not None:  # a shared weight times many synapses
                layer.weight /= max(1.0, float(layer.scale.mean()))


def _train(network: Any, kind: str) -> None:
    """Take three steps at a high rate, with weight decay."""
    network.train()
    _shake(network)
    optimizer = Stepper(kind, network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        _answer(network, network.example_input(BATCH)).tanh().mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def _survives_saving(emitted: ModuleType, network: Any) -> None:
    """Save the state, load it into a new network, and compare outputs and effective weights."""
    network.eval()
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    torch.manual_seed(1)
    fresh = emitted.build()
    fresh.load_state_dict(state)
    image = network.example_input(BATCH)
    with torch.no_grad():
        expected = _answer(network, image)
        for name, other in (("loaded", fresh.eval()), ("copied", copy.deepcopy(network))):
            if not torch.equal(_answer(other, image), expected):
                raise Wrong("state_dict", f"the {name} network answers differently")
    again = fresh.effective_weights(all=True)
    for key, weight in network.effective_weights(all=True).items():
        old, new = weight.coalesce(), again[key].coalesce()
        same = torch.equal(old.indices(), new.indices()) and torch.equal(old.values(), new.values())
        if not same:
            raise Wrong(key, "has other weights after saving and loading")


def _notes(stated: dict[str, Any]) -> Iterator[str]:
    if "statement" not in stated:
        yield (
            "made by an earlier ccompile, which stated neither options nor starts: these, and which"
            " states are refused, were not checked; build it again"
        )
    populations = stated["populations"]
    units = sum(p["units"] for p in populations)
    unread = sum(p["units"] - p["axons_read"] for p in populations if p["axons_read"] is not None)
    drawn = "stack" in stated or "motif" in stated  # nothing was read, nor missed
    if all(p["axons_read"] is None for p in populations) and not drawn:
        yield "axon coverage not known: absent connections may be unread ones"
    elif unread:
        yield f"{unread:,} of {units:,} axons not proofread: their outputs are missing, not zero"
    chemical = [p for p in stated["projections"] if not p["key"].endswith(":electrical")]
    if junctions := sum(p["connections"] for p in stated["projections"] if p not in chemical):
        yield f"{junctions:,} connections are gap junctions, counted in both directions"
    yield from stated_signs(chemical).notes()
    if not stated["measured"]:
        yield f"the connectivity is {standing(stated['connectivity'])}"


def main() -> None:
    """Print the outcome as one line of JSON, with the word that came on standard input."""
    warnings.simplefilter("ignore")
    word = tied_to_parent()  # so that nothing the module prints can pass for the outcome
    module, *graph = (Path(a) for a in sys.argv[1:])
    try:
        with finding("module"):
            answer = probe(module, graph[0] if graph else None)
    except Wrong as wrong:
        answer = {"where": wrong.where, "problem": wrong.problem}
        answer |= {"wanted": wrong.wanted, "hint": wrong.hint}
    print(json.dumps({"word": word, **answer}))


if __name__ == "__main__":
    main()
