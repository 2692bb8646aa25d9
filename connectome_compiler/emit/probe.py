"""Run in a fresh process: import an emitted module and put it to the test.

``python -m connectome_compiler.emit.probe MODULE [GRAPH]`` prints one line of JSON, the
certificate or ``{"where": ..., "problem": ...}``. The module must stand alone, so imports of the
compiler are refused while it is imported.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from connectome_compiler.emit.describe import header_digest, scale, statement_digest
from connectome_compiler.emit.emission import MARK
from connectome_compiler.emit.findings import Wrong as Wrong
from connectome_compiler.emit.findings import alone, finding
from connectome_compiler.emit.fresh import tied_to_parent
from connectome_compiler.emit.reference import acted, acting, rates_and_output
from connectome_compiler.ir.connectivity import Synapses
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.provenance import standing
from connectome_compiler.ir.signs import count_signs, stated_signs
from connectome_compiler.ir.ties import groups

BATCH = 4
WIDE = 13  # another batch, for which other code runs in the layers
TOLERANCE = 1e-6  # of rates in double precision, relative to the largest
PULSES = 4096  # neurons pulsed per projection; above it a sample with a fixed seed
MANY = 500_000  # connections; above, recurrent networks are compared over fewer steps
HEAVY = 500_000_000  # products for one sample; above, stacks are compared over fewer samples
FEW = 512  # neurons; up to so many, all eigenvalues are looked at
CELLS = 2**22  # numbers in a batch of pulses: 16 MB, whatever the number of neurons
CHANNELS = 128  # pulsed per convolution; above it a sample with a fixed seed
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
    if "motif" in stated:
        from connectome_compiler.emit.probe_motif import probe_motif

        return probe_motif(emitted, saved)
    torch.manual_seed(0)
    with alone(), finding("build()"):
        network: Any = emitted.build()
    checks = ["imports and builds alone, without the compiler; its statement is unaltered"]
    _structure(network, stated)
    checks.append("connections and signs are those stated, none more, none less")
    if saved is not None:
        with finding("graph"):
            graph = Graph.load(saved)
        _against_graph(network, stated, graph)
        checks.append("connections, signs and origin are those of the saved graph, one by one")
    if "dynamics" in stated:
        _starts(emitted, network, stated)
        checks.append("time constants, and weights that come from data, start where it is stated")
    _shake(network)
    pulsed, neurons = _pulses(network, stated)
    checks.append(f"{pulsed:,} unit pulses came out at their targets alone, with their signs")
    with finding("forward"), alone():
        network(network.example_input(BATCH))
    if "dynamics" in stated:
        _goes_on(network)
        checks.append("a sequence in two parts, the state passed on, is the sequence in one")
    _computes(network, stated)
    checks.append("rates, output and gradients are those of a plain reading of the graph")
    _gradients(network, stated)
    checks.append("gradients of every projection are those of its connections")
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        _train(network, kind)
        _structure(network, stated)
        _pulses(network, stated, limit=64)
    checks.append("all this holds after SGD, Adam and AdamW with weight decay from any start")
    _survives_saving(emitted, network)
    checks.append("saved and loaded, or copied, it is the same network")
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
    """Import the module at ``path`` with the compiler out of its reach."""
    if MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise Wrong("module", "has no PROVENANCE: it was not made by ccompile")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise Wrong("module", "is no Python file")
    module = importlib.util.module_from_spec(spec)
    with alone(), finding("import"):
        spec.loader.exec_module(module)
    for name in ("PROVENANCE", "build"):
        if not hasattr(module, name):
            raise Wrong("module", f"has no {name}: it was not made by ccompile")
    return module


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
    if stated["graph_sha256"] != graph.digest():
        raise Wrong("graph", "is not the one that the module was made from: the digests differ")
    p = graph.provenance
    for name, wanted in (
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
        scaled = q.weights.tie not in ("none", "named")
        if scaled and (layers[q.key].scale.numpy() != scale(q)).any():
            raise Wrong(q.key, "multiplies its weights otherwise than the saved graph")


def _starts(emitted: ModuleType, network: Any, stated: dict[str, Any]) -> None:
    """Compare what a recurrent network starts with, its spectral radius among it."""
    dynamics = stated["dynamics"]
    tau = network.units.log_tau.detach().exp()
    if not torch.allclose(tau, torch.full_like(tau, dynamics["tau_ms"])):
        raise Wrong("units", f"do not start at a time constant of {dynamics['tau_ms']} ms")
    with alone(), finding("build()"):
        plain = emitted.build(spectral_radius=None)
    for a, b, layer in plain.named_projections():
        want = dynamics["starts_sha256"].get(_key(a, b, layer))
        if want is not None and array_digest(layer.weight.detach().numpy()) != want:
            raise Wrong(_key(a, b, layer), "does not start at the weights of the graph")
    radius = dynamics["spectral_radius"]
    if radius and network.units.n <= FEW:
        found = _spectral_radius(network, stated)
        if abs(found - radius) > 0.02 * radius:
            raise Wrong("build()", f"starts at a spectral radius of {found:.3g}, not {radius:.3g}")


def _spectral_radius(network: Any, stated: dict[str, Any]) -> float:
    """Return the largest magnitude of an eigenvalue of the chemical weights, all in one matrix."""
    first, n = {}, 0
    for p in stated["populations"]:
        first[p["name"]], n = n, n + p["units"]
    matrix = np.zeros((n, n))
    for pre, post, layer in network.named_projections():
        if layer.kind == "chemical":
            i, j = layer.sparse_weight().indices().numpy()
            matrix[i + first[post], j + first[pre]] = layer.effective_weight().detach().numpy()
    return float(abs(np.linalg.eigvals(matrix)).max())


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
                close = (answer - wanted).abs() <= 1e-4 * wanted.abs() + 1e-6
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


def _computes(network: Any, stated: dict[str, Any]) -> None:
    """Compare rates, output and gradients with the reference's, in evaluation and in training."""
    double = copy.deepcopy(network).double()
    _shake(double)
    called: set[str] = set()
    layers = {_key(a, b, layer): layer for a, b, layer in double.named_projections()}
    hooks = [
        layer.register_forward_pre_hook(lambda _, __, key=key: called.add(key))
        for key, layer in layers.items()
    ]
    _units_are_those_stated(double, stated)
    # The plain reading keeps a number per connection, sample and step.
    n_connections = sum(p["connections"] for p in stated["projections"])
    large = "dynamics" in stated and n_connections > MANY
    few = _products(stated) > HEAVY
    for training, batch in ((False, BATCH), (True, BATCH), (False, WIDE)):
        double.train(training)
        size = (2 if training else batch, 3) if large else (2 + (batch == WIDE) if few else batch,)
        image = double.example_input(*size)
        # Only where gradients are compared: what is kept for them takes memory.
        with torch.set_grad_enabled(training), finding("forward"):
            found, output = double.rates(image), _answer(double, image)
        for key in layers:
            if key not in called and "dynamics" not in stated:  # those roll weights, not layers
                raise Wrong(key, "is not used in the forward pass")
        for hook in hooks:  # layers without any may share work
            hook.remove()
        with torch.set_grad_enabled(training):
            expected, wanted = rates_and_output(double, stated, image)
        for name, rates in {**expected, "the output": wanted}.items():
            other = output if name == "the output" else found.get(name)
            if other is None or other.shape != rates.shape:
                raise Wrong("rates()", f"has no rates of {name} of shape {tuple(rates.shape)}")
            if not _agree(other, rates):
                raise Wrong("forward", f"{name} is not what the graph says, from here on")
        if training:
            parameters = {n: p for n, p in double.named_parameters() if p.requires_grad}
            answers = [
                torch.autograd.grad(
                    y.tanh().sum(), list(parameters.values()), allow_unused=True, retain_graph=True
                )
                for y in (output, wanted)
            ]
            for name, one, other in zip(parameters, *answers, strict=True):
                if (one is None) != (other is None) or not (one is None or _agree(one, other)):
                    raise Wrong(name, "learns by another gradient than the graph's")


def _products(stated: dict[str, Any]) -> int:
    """Return how many products the convolutions of a stack need for one sample."""
    stack = stated.get("stack", {"units": (), "layers": ()})
    shapes = {p["name"]: p["shape"] for p in stack["units"]}
    return sum(
        math.prod(q["operator"]["kernel"]) * shapes[q["pre"]][0] * math.prod(shapes[q["post"]])
        for q in stack["layers"]
        if q["operator"]["kind"] == "Conv2d"
    )


def _goes_on(network: Any) -> None:
    """Compare a sequence with its two halves, and with its steps one by one."""
    network.eval()
    u = network.example_input(BATCH)
    along = 1 if network.batch_first else 0
    with torch.no_grad(), finding("state"):
        whole, last = network(u)
        halves, state = [], None
        for part in u.split((u.shape[along] + 1) // 2, along):
            output, state = network(part, state)
            halves.append(output)
        single, now = [], None
        for step in u.unbind(along):
            output, now = network(step, now)
            single.append(output)
    for outputs, end in ((torch.cat(halves, along), state), (torch.stack(single, along), now)):
        if not _agree_roughly(outputs, whole) or not _agree_roughly(end, last):
            raise Wrong("state", "a sequence that goes on from its state is another one")


def _agree_roughly(one: Any, other: Tensor) -> bool:
    return one is not None and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _units_are_those_stated(double: Any, stated: dict[str, Any]) -> None:
    """Compare what single units have of their own; put out the noise, so that runs compare."""
    if "dynamics" in stated:
        _dynamics_are_those_stated(double, stated["dynamics"])
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
        with torch.no_grad(), finding("forward"):
            units.noise_std = 1.0
            if bool((units.train()(torch.zeros(BATCH, p["units"]).double()) < 0).any()):
                raise Wrong(p["name"], "has rates below zero in training")
        units.noise_std = 0.0  # so that training, too, can be compared


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


def _agree(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same up to rounding in double precision; nan is not."""
    if not one.numel():  # of a projection that has lost all its connections
        return True
    return bool((one - other).abs().max() <= TOLERANCE * (1 + other.abs().max()))


def _gradients(network: Any, stated: dict[str, Any]) -> None:
    """Compare each layer's gradients with those of its listed connections."""
    generator = torch.Generator().manual_seed(2)
    _shake(network)
    weights = network.effective_weights()
    for a, b, layer in network.named_projections():
        key = _key(a, b, layer)
        if layer.weight.dim() > 1 or hasattr(layer, "mask"):
            _dense_gradients(key, layer, _operator(stated, key), generator)
            continue
        weight = weights[key].coalesce()
        n_post, n_pre = weight.shape
        x = torch.randn(BATCH, n_pre, generator=generator).requires_grad_()
        g = torch.randn(BATCH, n_post, generator=generator)
        layer.weight.grad = None
        with finding(key):
            layer(x).backward(g)
        post, pre = weight.indices()
        of_connections = (g[:, post] * x.detach()[:, pre]).sum(0)
        raw = layer.weight.detach()
        group = getattr(layer, "group", None)
        if group is None:
            turned = torch.sign(weight.values() * raw) * of_connections
        else:  # what acts is a multiple of what is shared
            factor = weight.values() / raw[group]
            turned = torch.zeros_like(raw).index_add(0, group, factor * of_connections)
        wanted = {
            "weights": (layer.weight.grad, turned),
            "input": (x.grad, torch.sparse.mm(weight.t(), g.t()).t()),
        }
        if not layer.weight.requires_grad:  # frozen
            del wanted["weights"]
        for what, (found, right) in wanted.items():
            if found is None or not torch.allclose(found, right, rtol=1e-3, atol=1e-3):
                raise Wrong(key, f"the gradient of its {what} is not that of its connections")
    network.zero_grad()


def _dense_gradients(
    key: str, layer: Any, operator: dict[str, Any], generator: torch.Generator
) -> None:
    """Compare the gradients of a layer that holds a matrix, or kernels, with a plain reading's."""
    if operator["kind"] == "Linear":
        shape: tuple[int, ...] = (BATCH, layer.in_features)
    else:
        shape = (BATCH, layer.in_channels, *_map_size(operator))
    x = torch.randn(shape, generator=generator).requires_grad_()
    with finding(key):
        answer = layer(x)
    g = torch.randn(answer.shape, generator=generator)
    parts = (layer.weight, x) if layer.weight.requires_grad else (x,)
    found = torch.autograd.grad(answer, parts, g)
    right = torch.autograd.grad(acted(operator, acting(layer), x), parts, g)
    for what, one, other in zip(("weights", "input")[-len(parts) :], found, right, strict=True):
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


def _train(network: Any, kind: type[torch.optim.Optimizer]) -> None:
    """Take three steps at a high rate, with weight decay."""
    network.train()
    _shake(network)
    optimizer = kind(network.parameters(), lr=0.1, weight_decay=0.1)  # type: ignore[call-arg]
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
    populations = stated["populations"]
    units = sum(p["units"] for p in populations)
    unread = sum(p["units"] - p["axons_read"] for p in populations if p["axons_read"] is not None)
    drawn = "stack" in stated  # nothing was read, nor missed
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
    print(json.dumps({"word": word, **answer}))


if __name__ == "__main__":
    main()
