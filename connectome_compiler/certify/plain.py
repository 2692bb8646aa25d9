"""What a network of rate populations computes, written plainly: the measure of emitted ones.

One population after the other, in double precision, by the populations, projections and options
that ``PROVENANCE`` states, from the parameters of the module and none of its code. (Modules made
before options were stated have a front end of their own.)

Three kinds: `swept` populations, through which an image passes in a few sweeps, `leaky` ones, which
change in time, and a `stacked` network, whose layers act one after the other, once or in sweeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "linear": torch.clone,
}
EPSILON = 1e-5  # of all normalisations, as torch has it by default
MOMENTUM = 0.1  # of batch normalisation, likewise


def rates_and_output(
    network: Any, stated: dict[str, Any], x: Tensor, state: Tensor | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the rates of every population and what is read out of them, for the input ``x``.

    ``state`` is where leaky populations begin, 0 by default.
    """
    if "stack" in stated:
        return stacked(network, stated, x)
    if "dynamics" in stated:
        return leaky(network, stated, x, state)
    return swept(network, stated, x)


def stacked(network: Any, stated: dict[str, Any], x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the activity of every population, ``(batch, *shape)``, and what is read out."""
    stack = stated["stack"]
    rates = {p["name"]: x.new_zeros(len(x), *p["shape"]) for p in stack["units"]}
    for _ in range(stack.get("sweeps", 1)):
        for p in stack["units"]:
            drive = None
            for q in stack["layers"]:
                if q["post"] != p["name"]:
                    continue
                layer = getattr(network, q["layer"])
                term = acted(q["operator"], acting(layer), rates[q["pre"]])
                if layer.bias is not None:
                    term = term + layer.bias.reshape(-1, *[1] * (term.dim() - 2))
                term = term.unflatten(1, p["shape"]) if term.dim() == 2 else term
                drive = term if drive is None else drive + term
            if drive is None:  # the input
                rates[p["name"]] = x
                continue
            if p["normalisation"]:
                drive = _by_sample(drive, getattr(network, p["normalisation"]))
            rates[p["name"]] = PHI[p["activation"]](drive)
    if "read_out" not in stack:
        return rates, rates[p["name"]]
    read, layer = stack["read_out"], getattr(network, stack["read_out"]["layer"])
    seen = [averaged(rates[name], read["pool"]).flatten(1) for name in read["maps"]]
    return rates, torch.cat(seen, 1) @ layer.weight.t() + layer.bias


def averaged(x: Tensor, size: int) -> Tensor:
    """Return maps of ``size`` x ``size`` means, each over its share of the rows and columns."""
    for dim in (2, 3):
        n = x.shape[dim]
        ends = [(k * n // size, -(-(k + 1) * n // size)) for k in range(size)]
        x = torch.stack([x.narrow(dim, a, b - a).mean(dim) for a, b in ends], dim)
    return x


def acting(layer: Any) -> Tensor:
    """Return the weights of a layer that act, dense, in torch's layout: of what is on its mask."""
    mask: Tensor | None = getattr(layer, "mask", None)
    weight: Tensor = layer.weight
    if mask is None:
        return weight
    places = mask.flatten().nonzero().squeeze(1)
    if hasattr(layer, "live"):  # a list of patches, each of some outputs and the inputs they see
        posts, pres = (layer.order, layer.pre)
        n_posts, n_pres = zip(*layer.sizes, strict=True)
        parts = weight.split([a * b for a, b in layer.sizes])
        weight = weight.new_zeros(mask.shape)
        for part, post, pre in zip(parts, posts.split(n_posts), pres.split(n_pres), strict=True):
            shape = len(post), len(pre)
            weight = weight.index_put((post[:, None], pre), part.view(shape))
    elif weight.shape != mask.shape:  # a list of what is open
        cells = weight.new_zeros(mask.numel()).index_copy(0, places, weight)
        weight = cells.view(mask.shape)
    sign: Tensor | None = getattr(layer, "sign", None)
    if sign is not None:
        of_all = sign.new_zeros(mask.numel()).index_copy(0, places, sign).view(mask.shape)
        weight = torch.where(of_all == 0, weight, of_all * weight.abs())
    values: Tensor | None = getattr(layer, "values", None)
    if values is not None:
        weight = weight * values
    return torch.where(mask, weight, 0)


def connections(layer: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return post and pre of the connections that a layer lists, and the weights that act."""
    n = layer.pre.numel()
    post = torch.arange(layer.n_post).repeat_interleave(layer.ptr.diff(), output_size=n)
    weight: Tensor = layer.weight
    if (group := getattr(layer, "group", None)) is not None:
        weight = weight.index_select(0, group)
        weight = weight if layer.scale is None else weight * layer.scale
    return post, layer.pre.long(), torch.where(layer.sign == 0, weight, layer.sign * weight.abs())


def acted(operator: dict[str, Any], weight: Tensor, x: Tensor) -> Tensor:
    """Return what the weights make of ``x``, position by position of a convolution's kernel."""
    if operator["kind"] == "Linear":
        drive: Tensor = x.flatten(1) @ weight.t()
        return drive
    groups, transposed = operator["groups"], operator["kind"] == "ConvTranspose2d"
    if groups > 1:
        one = {**operator, "groups": 1}
        parts = zip(weight.chunk(groups, 0), x.chunk(groups, 1), strict=True)
        return torch.cat([acted(one, w, part) for w, part in parts], 1)
    (top, left), (high, wide) = operator["padding"], x.shape[2:]
    (down, right), (apart_y, apart_x) = operator["stride"], operator["dilation"]
    kernel_y, kernel_x = operator["kernel"]
    if transposed:
        more_y, more_x = operator["output_padding"]
        made = x.new_zeros(
            len(x),
            weight.shape[1],
            (high - 1) * down + apart_y * (kernel_y - 1) + 1 + more_y,
            (wide - 1) * right + apart_x * (kernel_x - 1) + 1 + more_x,
        )
    else:
        more_y, more_x = operator["end_padding"]
        x = torch.nn.functional.pad(x, (left, left + more_x, top, top + more_y))
        high = (x.shape[2] - apart_y * (kernel_y - 1) - 1) // down + 1
        wide = (x.shape[3] - apart_x * (kernel_x - 1) - 1) // right + 1
        made = x.new_zeros(len(x), weight.shape[0], high, wide)
    for i in range(kernel_y):
        for j in range(kernel_x):
            rows = slice(i * apart_y, i * apart_y + (high - 1) * down + 1, down)
            columns = slice(j * apart_x, j * apart_x + (wide - 1) * right + 1, right)
            if transposed:
                made[:, :, rows, columns] += torch.einsum("bphw,pq->bqhw", x, weight[:, :, i, j])
            else:
                seen = x[:, :, rows, columns]
                made = made + torch.einsum("bphw,qp->bqhw", seen, weight[:, :, i, j])
    if transposed:
        made = made[:, :, top : made.shape[2] - top, left : made.shape[3] - left]
    return made


def _by_sample(drive: Tensor, norm: Any) -> Tensor:
    """Normalise each unit or channel over samples and places: in training, over those at hand.

    Then means and variances are followed, the variance with the correction of torch.
    """
    over = [k for k in range(drive.dim()) if k != 1]
    shape = (-1, *[1] * (drive.dim() - 2))
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        mean, variance = drive.mean(over), drive.var(over, correction=0)
        n = drive.numel() // drive.shape[1]
        with torch.no_grad():
            norm.running_mean.lerp_(mean, MOMENTUM)
            norm.running_var.lerp_(variance * (n / (n - 1)), MOMENTUM)
            norm.num_batches_tracked += 1
    centred = drive - mean.reshape(shape)
    scale = norm.weight / (variance + EPSILON).sqrt()
    normalised: Tensor = centred * scale.reshape(shape) + norm.bias.reshape(shape)
    return normalised


def leaky(
    network: Any, stated: dict[str, Any], u: Tensor, state: Tensor | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Return rates ``(steps, batch, units)`` by population, and the output."""
    dynamics, units = stated["dynamics"], network.units
    phi = PHI[dynamics["activation"]]
    batch_first = stated.get("options", vars(network))["batch_first"]
    turned = u.transpose(0, 1) if batch_first else u
    sizes = {p["name"]: p["units"] for p in stated["populations"]}
    starts = dict(zip(sizes, torch.tensor([0, *sizes.values()]).cumsum(0).tolist(), strict=False))
    n, batch = sum(sizes.values()), turned.shape[1]
    # One time constant per unit, and the part of the way that is gone in one step.
    tau = units.log_tau.exp()
    tau = tau[units.tau_of] if units.tau_of is not None else tau.expand(n)
    gone = 1 - (-dynamics["dt_ms"] / tau).exp()
    bias = units.bias[units.bias_of] if units.bias is not None else torch.zeros_like(tau)
    layers = {
        f"{a}->{b}" + (":electrical" if w.kind == "electrical" else ""): (a, b, connections(w))
        for a, b, w in network.named_projections()
    }
    drive = turned
    if all(stated["read_in"].values()):  # else the input is the current of each driven unit
        parts = [_linear(getattr(network, name), turned) for name in stated["read_in"].values()]
        drive = torch.cat(parts, -1)
    state = turned.new_zeros(batch, n) if state is None else state
    rates = {name: state[:, starts[name] : starts[name] + size] for name, size in sizes.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in sizes}
    for step in drive:
        entering = turned.new_zeros(batch, n).index_add(1, network.input_units, step)
        new = {}
        for name, size in sizes.items():
            here = slice(starts[name], starts[name] + size)
            total = entering[:, here] + bias[here]
            for key, (pre, post, weight) in layers.items():
                if post != name:
                    continue
                total = total + _sum(weight, rates[pre], size)
                if key.endswith(":electrical"):
                    i, _, conductance = weight
                    loss = conductance.new_zeros(size).index_add(0, i, conductance)
                    total = total - loss * rates[name]
            new[name] = rates[name] + gone[here] * (phi(total) - rates[name])
        rates = new
        for name, now in rates.items():
            found[name].append(now)
    traces = {name: torch.stack(now) for name, now in found.items()}
    read = torch.cat(list(traces.values()), -1)[..., network.output_units]
    outputs, first = [], 0
    for name in stated["read_out"].values():
        if not name:  # the rates themselves
            outputs = [read]
            break
        last = first + getattr(network, name).weight.shape[1]
        outputs.append(_linear(getattr(network, name), read[..., first:last]))
        first = last
    output = sum(outputs[1:], outputs[0])
    if batch_first:
        traces = {name: x.transpose(0, 1) for name, x in traces.items()}
        output = output.transpose(0, 1)
    return traces, output


def swept(network: Any, stated: dict[str, Any], image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return rates ``(batch, units)`` by population, and the output."""
    layers = {f"{a}->{b}": layer for a, b, layer in network.named_projections()}
    weights = {key: connections(layer) for key, layer in layers.items()}
    features = _features(network.front_end, stated.get("options"), image)
    seen = {
        post: _linear(getattr(network, name), features) for post, name in stated["read_in"].items()
    }
    rates = {
        p["name"]: features.new_zeros(len(features), p["units"]) for p in stated["populations"]
    }
    for _ in range(stated["sweeps"]):
        for p in stated["populations"]:
            name = p["name"]
            drive = seen.get(name, torch.zeros_like(rates[name]))
            for key, layer in layers.items():
                pre, _, post = key.partition("->")
                if post == name != pre:
                    drive = drive + _sum(weights[key], rates[pre], p["units"])
                    drive = drive if layer.bias is None else drive + layer.bias
            units = getattr(network, p["layer"])
            drive = _normalised(drive, p["normalisation"], units)
            activity = drive.clamp(min=0)
            if f"{name}->{name}" in layers:
                settled = drive + _sum(weights[f"{name}->{name}"], activity, p["units"])
                activity = settled.clamp(min=0)
            rates[name] = _attenuated(activity, p, units)
    output = sum(
        _linear(getattr(network, name), rates[pre]) for pre, name in stated["read_out"].items()
    )
    assert isinstance(output, Tensor)
    return rates, output


def _features(front_end: Any, options: dict[str, Any] | None, image: Tensor) -> Tensor:
    """Return what the front end makes of images, ``(batch, features)``."""
    if options is None:
        made: Tensor = front_end(image)
        return made
    functional = torch.nn.functional
    x = functional.conv2d(image, front_end.conv1.weight, front_end.conv1.bias, padding=1)
    if strength := options["lateral_inhibition"]:
        high, wide = x.shape[2:]
        padded = functional.pad(x, (1, 1, 1, 1))
        shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
        around = sum(padded[:, :, i : i + high, j : j + wide] for i, j in shifts)
        x = x - strength / 8 * around
    x = functional.max_pool2d(torch.relu(x), 2)
    x = functional.conv2d(x, front_end.conv2.weight, front_end.conv2.bias, padding=1)
    x = functional.max_pool2d(torch.relu(x), 2)
    if options["attention"]:
        channels = [
            torch.relu(pooled @ front_end.attention.squeeze.weight.t())
            @ front_end.attention.excite.weight.t()
            for pooled in (x.mean((2, 3)), x.amax((2, 3)))
        ]
        x = x * (channels[0] + channels[1]).sigmoid()[:, :, None, None]
        places = torch.stack((x.mean(1), x.amax(1)), 1)
        place = functional.conv2d(places, front_end.attention.place.weight, padding=3)
        x = x * place.sigmoid()
    return x.flatten(1)


def _linear(layer: Any, x: Tensor) -> Tensor:
    """Return what a linear layer makes of ``x``."""
    drive: Tensor = x @ layer.weight.t()
    return drive if layer.bias is None else drive + layer.bias


def _sum(weight: tuple[Tensor, Tensor, Tensor], rates: Tensor, n: int) -> Tensor:
    """Return what each of ``n`` targets gets: ``(batch, n)``, connection by connection."""
    post, pre, values = weight
    return rates.new_zeros(len(rates), n).index_add(1, post, rates[:, pre] * values)


def _normalised(drive: Tensor, kind: str, units: Any) -> Tensor:
    if kind == "layer":
        centred = drive - drive.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + EPSILON).sqrt()
        drive = centred / scale * units.normalise.weight + units.normalise.bias
    elif kind == "rms":
        drive = drive / (drive.square().mean(1, keepdim=True) + EPSILON).sqrt()
    return drive


def _attenuated(activity: Tensor, p: dict[str, Any], units: Any) -> Tensor:
    if p["inhibition"] == "none":
        return activity
    amount: Tensor = p["inhibition_strength"] * units.inhibition
    if p["inhibition"] == "multiplicative":
        return activity * (1 - amount)
    return (activity - amount).clamp(min=0)
