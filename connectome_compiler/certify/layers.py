"""The responses of single layers: pulses, answers and gradients, weight by weight."""

from __future__ import annotations

import ast
import copy
import math
from typing import Any

import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.meaning import Case, Meaning
from connectome_compiler.certify.plain import acted, acting, connections, summed
from connectome_compiler.certify.structure import key_of, operator_of
from connectome_compiler.certify.ways import layers_act_in_every_way
from connectome_compiler.nn.window_rules import WindowRule

BATCH = 4
WIDE = 13  # another batch, for which other code runs in the layers
TOLERANCE = 1e-8  # of rates in double precision, relative to the largest
ROUGH = 2e-3  # of rates in single precision, likewise
PULSES = 4096  # neurons pulsed per projection; above it a sample with a fixed seed
CELLS = 2**22  # numbers in a batch of pulses: 16 MB, whatever the number of neurons
CHANNELS = 128  # pulsed per convolution; above it a sample with a fixed seed
COLUMNS = (1, 7, WIDE, 65)  # samples for which gradients of layers are compared
FEW = 3  # samples that those of a large network, or layer, repeat
PULSED = 2**31  # products of all pulses into a projection that has many connections, at most
LEAST = 64  # neurons pulsed, however many connections there are


def shake(meaning: Meaning, network: Any) -> None:
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
        meaning.shaken(network)
        for _, _, layer in network.named_projections():
            if getattr(layer, "scale", None) is not None:  # a shared weight times many synapses
                layer.weight /= max(1.0, float(layer.scale.mean()))


def in_every_way(case: Case, network: Any) -> None:
    """Call layers as torch can, each way of which may be code of its own."""
    shake(case.meaning, network)
    layers_act_in_every_way(
        (key, layer, operator, _input_shape(layer, operator))
        for a, b, layer in network.named_projections()
        for key in (key_of(a, b, layer),)
        for operator in (operator_of(case, key),)
    )


def _input_shape(layer: Any, operator: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of one sample that a layer takes; of a convolution, a small map."""
    if operator["kind"] != "Linear":
        return (layer.in_channels, *_map_size(operator))
    return (layer.n_pre if hasattr(layer, "ptr") else layer.in_features,)


def make_wild(network: Any) -> None:
    """Overwrite the weights of all projections by numbers of all sizes, some of them exactly 0."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for _, _, layer in network.named_projections():
            shape = layer.weight.shape
            size = 10 ** (20 * torch.rand(shape, generator=generator) - 10)
            drawn = torch.randn(shape, generator=generator).sign() * size
            layer.weight.copy_(drawn * (torch.rand(shape, generator=generator) > 0.1))


def weights_act(case: Case, network: Any) -> None:
    """Compare each weight that acts with ``sign * |raw| * scale``, or ``raw * scale``, to the bit.

    A convolution's are those on its mask, times its factors.
    """
    reported = network.effective_weights()
    for a, b, layer in network.named_projections():
        key = key_of(a, b, layer)
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
                _factors_are_those_of_the_rule(key, layer, case)
            for what, values in (("acts", found), ("is said to act", told)):
                if values.shape != wanted.shape or not torch.equal(values, wanted):
                    where = "" if values.shape != wanted.shape else _first(values, wanted)
                    raise Wrong(key, f"what {what} is not sign x |weight| x scale{where}")


def _first(found: Tensor, wanted: Tensor) -> str:
    k = int((found != wanted).flatten().nonzero()[0])
    n = int((found != wanted).sum())
    values = f"{float(found.flatten()[k]):.6g}, expected {float(wanted.flatten()[k]):.6g}"
    return f": {n:,} of {wanted.numel():,} differ, the first is {values}"


def _factors_are_those_of_the_rule(key: str, layer: Any, case: Case) -> None:
    """Compare the factors of a window with those that its rule gives."""
    (projection,) = (p for p in case.stated["projections"] if p["key"] == key)
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
    found = found.t() if operator_of(case, key)["kind"] == "ConvTranspose2d" else found
    if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-6, atol=1e-30):
        raise Wrong(key, "has other factors than its window")


def pulses(case: Case, network: Any, limit: int = PULSES) -> tuple[int, int]:
    """Pulse presynaptic neurons one by one; each must reach its targets alone, with their sign.

    Into a convolution goes a map of noise, in one channel; into others nothing.
    """
    network.eval()
    weights = network.effective_weights()
    pulsed = neurons = 0
    for pre, post, layer in network.named_projections():
        with finding(key_of(pre, post, layer)):
            key = key_of(pre, post, layer)
            operator = operator_of(case, key)
            if operator["kind"] != "Linear":
                n_pre = layer.in_channels
                chosen = _sample(n_pre, min(limit, CHANNELS))
                _pulse_channels(key, layer, operator, weights[key].to_dense(), chosen)
                pulsed, neurons = pulsed + len(chosen), neurons + n_pre
                continue
            weight = weights[key].coalesce()
            (i, j), n_pre = weight.indices(), weight.shape[1]
            many = max(LEAST, PULSED // max(1, len(i)))
            chosen = _sample(n_pre, min(limit, many))
            row = torch.full((n_pre,), -1).index_put((chosen,), torch.arange(len(chosen)))[j]
            i, row, sizes = (x[row >= 0] for x in (i, row, weight.values()))
            first = 0
            rest = layer(torch.zeros(1, n_pre)).detach()
            for part in torch.split(chosen, max(1, CELLS // max(weight.shape))):
                pulse = torch.zeros(len(part), n_pre)
                pulse[torch.arange(len(part)), part] = 1.0
                answer = (layer(pulse) - rest).detach()
                wanted = torch.zeros_like(answer)
                here = (row >= first) & (row < first + len(part))
                wanted[row[here] - first, i[here]] = sizes[here]
                first += len(part)
                close = (answer - wanted).abs() <= 1e-4 * wanted.abs() + 1e-6 * rest.abs()
                bad = ~close | ((wanted == 0) & (answer != 0))
                if bad.any():
                    k, at = (int(v) for v in bad.nonzero()[0])
                    raise Wrong(
                        key,
                        f"a pulse into neuron {int(part[k])} gives {float(answer[k, at]):.3g} "
                        f"at neuron {at}, expected {float(wanted[k, at]):.3g}",
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


def gradients(case: Case, network: Any) -> None:
    """Compare each layer's answers and gradients with those of its listed connections."""
    shake(case.meaning, network)
    with torch.no_grad():  # a weight of exactly 0 learns, too
        for _, _, layer in network.named_projections():
            if hasattr(layer, "ptr"):
                layer.weight[::5] = 0.0
    double = copy.deepcopy(network).double()
    for net, columns in ((network, COLUMNS), (double, (WIDE,))):
        for k, batch in enumerate(columns):
            for a, b, layer in net.train(bool(k % 2)).named_projections():
                key = key_of(a, b, layer)
                with finding(key):
                    operator = operator_of(case, key)
                    if hasattr(layer, "ptr"):
                        _list_gradients(key, layer, batch)
                    elif operator["kind"] == "Linear" or batch <= WIDE:
                        _dense_gradients(key, layer, operator, batch)
    network.zero_grad()


def _list_gradients(key: str, layer: Any, batch: int) -> None:
    """Compare answer and gradients of a layer that lists its connections.

    A large layer sees a few samples again and again, in an order of chance.
    """
    generator, raw = source(2 + batch), layer.weight.detach()
    post, pre, values = (t.detach() for t in connections(layer))
    order = torch.arange(batch)
    if batch * len(values) > CELLS:
        order = torch.randint(min(batch, FEW), order.shape, generator=generator)
    counts = order.bincount()
    sent = torch.randn(len(counts), layer.n_pre, generator=generator, dtype=raw.dtype)
    learnt = torch.randn(len(counts), layer.n_post, generator=generator, dtype=raw.dtype)
    x = sent[order].requires_grad_()
    layer.weight.grad = None
    answer = layer(x)
    answer.backward(learnt[order])
    of_connections = torch.zeros_like(values)
    for n, one, other in zip(counts, learnt, sent, strict=True):  # all at once would be large
        of_connections += (n * one)[post] * other[pre]
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
    layer.weight.grad = None
    with torch.no_grad():
        right = summed((pre, post, values), learnt, layer.n_pre)[order]
        if x.grad is None or not bool(_close(x.grad, right).all()):
            raise Wrong(key, "the gradient of its input is not that of its connections")
        right = summed((post, pre, values), sent, layer.n_post)[order]
        right = right if layer.bias is None else right + layer.bias
        if not bool(_close(answer, right).all()):
            raise Wrong(key, f"what it makes of {batch} samples is not what its connections make")


def _dense_gradients(key: str, layer: Any, operator: dict[str, Any], batch: int) -> None:
    """Compare answer and gradients of a layer that holds a matrix, or kernels."""
    if operator["kind"] == "Linear":
        shape: tuple[int, ...] = (batch, layer.in_features)
    else:
        batch = min(batch, 2 if layer.weight.dtype == torch.float64 else 2 * BATCH)
        shape = (batch, layer.in_channels, *_map_size(operator))
    generator = source(2 + batch)
    x = torch.randn(shape, generator=generator, dtype=layer.weight.dtype).requires_grad_()
    answer = layer(x)
    g = torch.randn(answer.shape, generator=generator, dtype=x.dtype)
    held = {"weights": layer.weight, "input": x, "bias": layer.bias}
    parts = {k: v for k, v in held.items() if v is not None and v.requires_grad}
    plain = acted(operator, acting(layer), x)
    if layer.bias is not None:
        plain = plain + layer.bias.reshape(-1, *[1] * (plain.dim() - 2))
    if not agree(answer, plain, 0, ROUGH):
        raise Wrong(key, f"what it makes of {batch} samples is not what its connections make")
    found = torch.autograd.grad(answer, list(parts.values()), g)
    right = torch.autograd.grad(plain, list(parts.values()), g)
    for what, one, other in zip(parts, found, right, strict=True):
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max())):
            raise Wrong(key, f"the gradient of its {what} is not that of its connections")


def _close(one: Tensor, other: Tensor) -> Tensor:
    return torch.isclose(one, other, rtol=1e-3, atol=1e-3)


def source(seed: int) -> torch.Generator:
    """Return a generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def agree(
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
