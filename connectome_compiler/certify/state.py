"""Put the state of an emitted module to the test: what it holds, where it starts, what it refuses.

Numbers that are drawn are compared with their law over several builds, by the largest distance
between distribution functions (Kolmogorov & Smirnov), by their extremes, and one with the next.
Seeds are fixed, and a sound module fails one of these tests once in some 10^8.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.low_rank import low_rank_starts
from connectome_compiler.certify.meaning import Case, listed
from connectome_compiler.ir.digest import array_digest

SAMPLES = 256  # numbers to see of each parameter, if so many builds are worth it
BUILDS = 24  # at most
NUMBERS = 2**18  # at most, in the states of all builds, but for the first two
MOST = 2**15  # compared of one parameter
FAR = 3.3  # of a Kolmogorov-Smirnov distance times the root of n: once in 10^9
LEAST = 21.0  # of n times the share of a law beyond the extremes seen: once in 10^9
SKEW = 6.5  # standard deviations
CUT = 2.0  # standard deviations, where "he-normal" is cut off
State = dict[str, dict[str, Any]]


def options_are_those_stated(case: Case, network: Any) -> None:
    """Compare the options of ``build()`` and their defaults."""
    signature = inspect.signature(type(network))
    found = {n: _plain(p.default) for n, p in signature.parameters.items()}
    if found != _plain(case.stated["options"]):
        raise Wrong("build()", f"has the options {listed(found)}, not those stated")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def holds_what_is_stated(network: nn.Module, stated: State) -> None:
    """Compare names and shapes of parameters and saved buffers, and what is trained."""
    found = network.state_dict()
    if odd := sorted(found.keys() ^ stated.keys()):
        name = odd[0]
        problem = "is in the state, and is not stated" if name in found else "is not in the state"
        raise Wrong(name, problem)
    trained = {n for n, s in stated.items() if "of" not in s and _is_parameter(s)}
    frozen = {n for n in trained if not stated[n].get("trained", True)}
    known = dict(network.named_parameters())
    # A layer that starts frozen is a parameter; a constant that is held is none.
    if odd := sorted(known.keys() ^ {n for n in trained if n in known or n not in frozen}):
        raise Wrong(odd[0], "is trained otherwise than is stated, or shared with others")
    for name, entry in stated.items():
        shape = list(found[name].shape)
        if shape != entry["shape"]:
            raise Wrong(name, f"has shape {shape}, not {entry['shape']}")
        parameter = known.get(name)
        if parameter is None:
            continue
        if parameter.dtype != torch.float32:
            raise Wrong(name, f"is {parameter.dtype}, not torch.float32")
        if parameter.requires_grad != (name not in frozen):
            raise Wrong(name, "is trained" if parameter.requires_grad else "is not trained")


def _is_parameter(entry: dict[str, Any]) -> bool:
    return "start" in entry and not (entry.get("trained") is False and entry["start"] in (0, 1))


def gradients_are_its_own(network: nn.Module) -> None:
    """Refuse hooks on parameters: what changes their gradients belongs into the forward pass."""
    for name, parameter in network.named_parameters():
        hooks = (parameter._backward_hooks, getattr(parameter, "_post_accumulate_grad_hooks", None))
        if any(hooks):
            raise Wrong(name, "has a hook, which changes how it learns")


def remembers_nothing(emitted: ModuleType, network: nn.Module, call: Callable[[], Any]) -> None:
    """Refuse calls that leave anything behind: a counter, in the module or in its layers.

    Buffers may change, as those of normalisations do; what they hold is compared elsewhere.
    """
    for training in (False, True):
        network.train(training)
        with finding("forward"):
            call()  # torch itself keeps something of the first
        before = dict(_held(emitted, network))
        with finding("forward"):
            call()
        after = dict(_held(emitted, network))
        if odd := [name for name in {**before, **after} if before.get(name) != after.get(name)]:
            raise Wrong(odd[0], "changes with each call, so that calls depend on those before")


def _held(emitted: ModuleType, network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what may remember: attributes of layers, and globals, attributes and cells of code."""
    for name, module in network.named_modules():
        for key, value in vars(module).items():
            if key not in ("_buffers", "_modules", "_parameters"):
                yield f"{name}.{key}".strip("."), _told(value)
    for name, value in vars(emitted).items():
        if name == "__builtins__" or isinstance(value, ModuleType):
            continue
        yield name, _told(value)
        inside = getattr(value, "__dict__", {})
        if isinstance(value, type) and value.__module__ == emitted.__name__:
            for key, part in inside.items():
                yield f"{name}.{key}", _told(part)


def _told(value: Any, depth: int = 4) -> Any:
    """Return what can be compared of a value, of containers and functions with their parts."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if not depth or (depth < 2 and isinstance(value, FunctionType)):
        return id(value)
    if isinstance(value, dict):
        return [(_told(k, depth - 1), _told(v, depth - 1)) for k, v in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [_told(part, depth - 1) for part in value]
    if isinstance(value, staticmethod | classmethod):
        return _told(value.__func__, depth - 1)
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        parts = (value.__defaults__, value.__kwdefaults__, value.__dict__, cells)
        return [_told(part, depth - 1) for part in parts]
    if isinstance(value, type | nn.Module | torch.Generator):  # layers are looked at one by one
        state = value.get_state() if isinstance(value, torch.Generator) else None
        return id(value) if state is None else state.tolist()
    inside = getattr(value, "__dict__", None)
    return _told(inside, depth - 1) if inside else repr(value)


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not bound yet
        return False


# --- starts ---------------------------------------------------------------------------------------


def starts_where_stated(case: Case) -> None:
    """Compare what new networks start with, number by number or by their law."""
    state: State = case.stated["state"]
    random = {
        name: entry for name, entry in state.items() if entry.get("start") in (*_LAWS, "low-rank")
    }
    seen: defaultdict[str, list[Tensor]] = defaultdict(list)
    for seed in range(_n_builds(random, state)):
        now = _built(case, seed)
        if not seed:
            again = _built_apart(case, seed)
            for name, value in now.items():
                if not _same(value, again[name]):
                    raise Wrong(name, "starts elsewhere with the same seed")
        for name, entry in state.items():
            if name in random:
                seen[name].append(now[name])
            else:
                _starts_at(name, entry, now, case)
    pooled: defaultdict[Any, list[Tensor]] = defaultdict(list)  # by the rule of the fan-in
    for name, values in seen.items():
        entry = random[name]
        if entry["start"] == "low-rank":
            _has_rank(name, entry["rank"], values, now)
        elif len(values[0]):
            rule = entry["fan_in"] if isinstance(entry["fan_in"], str) else "a number"
            pooled[rule].append(_follows(name, state, values, now))
    ranks = {n: e["rank"] for n, e in random.items() if e["start"] == "low-rank"}
    if ranks and not case.options:  # many networks: other options do not change the law
        low_rank_starts(ranks, seen, now, lambda seed: _built(case, seed))
    for rule, many in pooled.items():  # small layers say something together
        excess = torch.cat(many)
        if abs(float(excess.sum())) > SKEW * math.sqrt(len(excess)):
            raise Wrong("build()", f"weights start too large or small for their fan-in: {rule}")


def _n_builds(random: State, state: State) -> int:
    sizes = [n for entry in random.values() if (n := math.prod(entry["shape"]))]
    if not sizes:
        return 1
    whole = sum(math.prod(entry["shape"]) for entry in state.values())
    return max(2, min(BUILDS, -(-SAMPLES // min(sizes)), NUMBERS // whole))


def _built(case: Case, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = case.build(**case.meaning.unscaled)
    return {name: value.clone() for name, value in network.state_dict().items()}


def _built_apart(case: Case, seed: int) -> dict[str, Tensor]:
    """Return the state of a network that draws from a generator of its own, if it can."""
    if "seed" not in inspect.signature(case.emitted.build).parameters:
        return _built(case, seed)
    torch.manual_seed(seed + 1)
    before = torch.get_rng_state()
    network = case.build(**case.meaning.unscaled, seed=seed)
    if not torch.equal(torch.get_rng_state(), before):
        raise Wrong("build(seed)", "draws from torch's own generator, too")
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _starts_at(name: str, entry: dict[str, Any], now: dict[str, Tensor], case: Case) -> None:
    """Compare a start that is no matter of chance."""
    start, found = entry.get("start"), now[name]
    if start == "data":
        if array_digest(found.numpy()) != entry["sha256"]:
            raise Wrong(name, "does not start at the weights of the graph")
        return
    if isinstance(start, str):
        wanted = torch.full_like(found, case.meaning.start(start, case.stated))
        if not bool(((found - wanted).abs() <= 1e-7 * (1 + wanted.abs())).all()):
            raise Wrong(name, f"does not start at {float(wanted.flatten()[0]):.6g}, as {start!r}")
        return
    if "of" in entry:
        if not torch.equal(found, now[entry["of"]]):
            raise Wrong(name, f"is not {entry['of']}")
    elif start is not None and not bool((found == start).all()):
        raise Wrong(name, f"starts at {float(found.flatten()[0]):.3g}, not {start:g}")


def _bound(name: str, state: State, now: dict[str, Tensor]) -> Tensor:
    """Return how far from 0 each number may start; 0 is where there is nothing to start."""
    of, _, part = name.rpartition(".")
    entry = state[name]
    fan_in, shape = entry["fan_in"], now[name].shape
    if fan_in == "junctions":
        return _most_conductance(name, state, now)
    if fan_in == "in-degree":
        degree = now[f"{of}.ptr"].diff()
        bound = degree.clamp(min=1).double().rsqrt()
        return bound.repeat_interleave(degree) if part == "weight" else bound * (degree > 0)
    if fan_in == "shared":
        degree, scale = now[f"{of}.ptr"].diff(), now.get(f"{of}.scale")
        strength = float(degree.sum()) if scale is None else float(scale.double().square().sum())
        variance = max(strength, 1e-12) / max(1, int((degree > 0).sum()))
        return torch.full(shape, variance**-0.5, dtype=torch.float64)
    factors = _factors(of, entry, now)
    axis = entry.get("post_axis", 0)
    if fan_in == "open":  # of each output
        rest = [d for d in range(factors.dim()) if d != axis]
        of_output = factors.sum(rest).clamp(min=1).rsqrt()
        if part == "bias":
            return of_output
        bound = factors * of_output.view([-1 if d == axis else 1 for d in range(factors.dim())])
    elif part == "bias":
        return torch.full(shape, fan_in**-0.5, dtype=torch.float64)
    else:
        bound = factors * fan_in**-0.5 * _gain(entry, factors, axis)
    index = now.get(f"{of}.index")
    return bound if index is None else bound.flatten()[index]


def _act_by_size(name: str, now: dict[str, Tensor]) -> Tensor:
    """Return which numbers of a parameter act by their size, as their connections have a sign."""
    of, _, part = name.rpartition(".")
    sign, weight = now.get(f"{of}.sign"), now[name]
    if part != "weight" or sign is None:
        return torch.zeros((), dtype=torch.bool)
    signed = sign != 0
    if (group := now.get(f"{of}.group")) is not None:  # each of those that share the weight
        free = torch.zeros(weight.shape, dtype=torch.bool)
        free[group[~signed.expand(group.shape)].long()] = True
        return ~free
    if (mask := now.get(f"{of}.mask")) is None:
        return signed
    whole = torch.zeros(mask.shape, dtype=torch.bool)
    whole[mask] = signed
    return whole


def _most_conductance(name: str, state: State, now: dict[str, Tensor]) -> Tensor:
    """Return the conductances with which no neuron has more than 1 in all its projections."""
    of_neurons: dict[str, Tensor | float] = defaultdict(float)
    junctions = {}
    for other, entry in state.items():
        if "ends" not in entry:
            continue
        of = other.rpartition(".")[0]
        ptr, pre, group = (now[f"{of}.{part}"] for part in ("ptr", "pre", "group"))
        scale = now.get(f"{of}.scale")
        post = torch.arange(len(ptr) - 1).repeat_interleave(ptr.diff())
        size = torch.ones(len(pre)).double() if scale is None else scale.double()
        of_neurons[entry["ends"][0]] += size.new_zeros(len(ptr) - 1).index_add(0, post, size)
        junctions[other] = post, pre.long(), group.long()
    ends, (*places, group) = state[name]["ends"], junctions[name]
    found = torch.zeros(now[name].shape, dtype=torch.float64)
    for end, place in zip(ends, places, strict=True):
        total = torch.as_tensor(of_neurons[end])
        found.scatter_reduce_(0, group, total[place], "amax")
    return 1 / found


def _factors(of: str, entry: dict[str, Any], now: dict[str, Tensor]) -> Tensor:
    """Return what the numbers that torch draws are multiplied by: mask, or factors."""
    for part in ("values", "mask"):
        if (held := now.get(f"{of}.{part}")) is not None:
            return held.double().expand(now[f"{of}.weight"].shape)
    if (index := now.get(f"{of}.index")) is not None:
        mask = torch.zeros(math.prod(entry["kernel"]), dtype=torch.float64)
        mask[index] = 1
        return mask.view(entry["kernel"])
    return torch.ones(entry["shape"], dtype=torch.float64)


def _gain(entry: dict[str, Any], factors: Tensor, axis: int) -> Tensor | float:
    gain = entry.get("gain", "none")
    if gain == "fan-in":
        rest = [d for d in range(factors.dim()) if d != axis]
        dense = factors.numel() / factors.shape[axis]
        of_output: Tensor = (dense / factors.sum(rest, keepdim=True).clamp(min=1e-300)).sqrt()
        return of_output
    if gain == "none" or not bool(((factors == 0) | (factors == 1)).all()):
        return 1.0
    usage = float(factors.mean())
    return 1 / usage if gain == "1/usage" else usage**-0.5


def _uniform(x: Tensor) -> Tensor:
    return (x + 1) / 2


def _he_normal(x: Tensor) -> Tensor:
    """Return the share of a cut normal distribution below ``x``, in units of 1 / sqrt(fan-in)."""
    cut = torch.tensor(CUT, dtype=torch.float64)
    density = math.exp(-(CUT**2) / 2) / math.sqrt(2 * math.pi)
    inside = float(torch.special.ndtr(cut) - torch.special.ndtr(-cut))
    spread = math.sqrt(2 / (1 - 2 * CUT * density / inside))  # so that the variance is 2 / fan-in
    low = torch.special.ndtr(-cut)
    share: Tensor = (torch.special.ndtr(x / spread) - low) / inside
    return share


# Of conductances, which act by their size, with random signs.
_LAWS = {"uniform": _uniform, "he-normal": _he_normal, "conductance": _uniform}


def _follows(name: str, state: State, values: list[Tensor], now: dict[str, Tensor]) -> Tensor:
    """Compare numbers that were drawn with the law that is stated; return `_excess`.

    Weights that act by their size start at 0 or above; with random signs they follow the law.
    """
    entry = state[name]
    bound, sizes = _bound(name, state, now), _act_by_size(name, now)
    there = bound != 0
    if any(bool(value[~there].any()) for value in values):
        raise Wrong(name, "starts with weights where there are none")
    at = there.flatten().nonzero().squeeze(1)
    at = at[:: max(1, len(at) * len(values) // MOST)]
    scaled = torch.stack([value.flatten()[at].double() / bound.flatten()[at] for value in values])
    by_size = sizes.expand(bound.shape).flatten()[at]
    if bool((scaled[:, by_size] < 0).any()):
        raise Wrong(name, "starts below 0 where a weight acts by its size")
    flips = torch.randint(2, scaled.shape, generator=torch.Generator().manual_seed(5)) * 2 - 1
    shares = _LAWS[entry["start"]](torch.where(by_size, flips * scaled, scaled))
    problem = unlike_uniform(shares)
    if not problem and _depends(shares, bound.flatten()[at].log()):
        problem = "its size does not follow the fan-in"
    if problem:
        raise Wrong(name, f"does not start as is stated ({entry['start']}): {problem}")
    return _excess(shares).flatten()


def _depends(shares: Tensor, sizes: Tensor) -> bool:
    """Whether numbers are larger, or smaller, than uniform ones where ``sizes`` are large."""
    apart = sizes - sizes.mean()
    length = float(apart.norm())
    if length < 1e-6:
        return False
    return abs(float((_excess(shares) * apart).sum())) > SKEW * length * math.sqrt(len(shares))


def _excess(shares: Tensor) -> Tensor:
    """Return by how much squares are too large, in standard deviations."""
    return (12 * (shares - 0.5).square() - 1) / math.sqrt(0.8)


def unlike_uniform(shares: Tensor) -> str:
    """Say how draws ``(times, n)`` differ from independent uniform ones from 0 to 1, if they do."""
    n = shares.numel()
    if not n:
        return ""
    slack = 1e-5  # single precision
    if not bool(((shares >= -slack) & (shares <= 1 + slack)).all()):  # also where it is no number
        return "numbers lie beyond its bounds"
    ordered = shares.flatten().sort().values
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    distance = torch.maximum(ordered - steps[:-1], steps[1:] - ordered).max()
    if float(distance) > FAR / math.sqrt(n) + 1 / n:
        return f"its distribution is another, by up to {float(distance):.2f}"
    if n * float(ordered[0]) > LEAST or n * (1 - float(ordered[-1])) > LEAST:
        return "its extremes are not reached"
    if n >= 4 and len(ordered.unique()) < 0.9 * n - 1:
        return "numbers come again"
    if n >= 64:
        if abs(float(_excess(shares).sum())) > SKEW * math.sqrt(n):
            return "its spread is another"
        centred = (shares - 0.5) * math.sqrt(12)
        for one, other in ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1])):
            together = float((one * other).sum()) / math.sqrt(max(1, one.numel()))
            if abs(together) > SKEW:
                return "numbers depend on each other"
    return ""


def _has_rank(name: str, rank: int, values: list[Tensor], now: dict[str, Tensor]) -> None:
    """Compare a block that is whole with the rank: `low_rank` compares its numbers."""
    of = name.rpartition(".")[0]
    ptr, pre = (now[f"{of}.{part}"] for part in ("ptr", "pre"))
    degree = ptr.diff()
    post = torch.arange(len(degree)).repeat_interleave(degree)
    if not len(post):
        return
    scaled = torch.stack(values).double() * degree.clamp(min=1)[post].sqrt() * math.sqrt(3)
    # Those that have a sign are of a matrix of their own.
    signed = (now[f"{of}.sign"] != 0).expand(pre.shape)
    for alike in (signed, ~signed):
        _block_has_rank(name, rank, scaled[:, alike], post[alike], pre[alike])


def _block_has_rank(name: str, rank: int, scaled: Tensor, post: Tensor, pre: Tensor) -> None:
    """Compare entries ``(networks, connections)`` with a rank, where a block of them is whole."""
    if not len(post):
        return
    listed: defaultdict[int, set[int]] = defaultdict(set)
    for i, j in zip(post.tolist(), pre.tolist(), strict=True):
        listed[i].add(j)
    sources = [listed[i] for i in range(min(int(post[-1]) + 1, MOST))]
    place = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(post, pre, strict=True))}
    for size in (rank, rank + 1):
        for rows, columns in _blocks(sources, size):
            block = torch.tensor([[place[i, j] for j in columns] for i in rows])
            sizes = torch.linalg.svdvals(scaled[:, block])
            small = sizes[:, -1] < 1e-4 * sizes[:, 0]
            if size > rank and not bool(small.all()):
                raise Wrong(name, f"does not start as is stated: its rank is above {rank}")
            if size == rank and bool(small.all()):
                raise Wrong(name, f"does not start as is stated: its rank is below {rank}")
            break


def _blocks(sources: list[set[int]], size: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield targets that have as many sources in common, beginning at each one."""
    for first in range(len(sources)):
        rows, common = [first], sources[first]
        for i in range(first + 1, len(sources)):
            if len(shared := common & sources[i]) >= size:
                rows, common = [*rows, i], shared
            if len(rows) == size:
                yield rows, sorted(common)[: size + 4]
                break


# --- foreign states -------------------------------------------------------------------------------


def refuses_foreign_states(network: nn.Module, stated: State) -> None:
    """Load states of which one structural number is another, or missing; each must be refused."""
    network = network.eval()
    layers: defaultdict[str, list[str]] = defaultdict(list)
    for name, entry in stated.items():
        if entry.get("held") and math.prod(entry["shape"]):
            of, _, part = name.rpartition(".")
            layers[of].append(part)
    tried = set()
    for of, parts in layers.items():
        layer = network.get_submodule(of)
        state = layer.state_dict()
        for part in parts:
            others = _others(state[part])
            for other in others:
                _must_refuse(f"{of}.{part}", layer, {**state, part: other})
            _must_refuse(f"{of}.{part}", layer, {k: v for k, v in state.items() if k != part})
            kind = (type(layer), part)
            if kind not in tried:  # the network as a whole asks its layers
                tried.add(kind)
                whole = network.state_dict()
                for strict in (True, False):
                    altered = {**whole, f"{of}.{part}": others[0]}
                    _must_refuse(f"{of}.{part}", network, altered, strict=strict)
        layer.load_state_dict(state)
        if (mask := state.get("mask")) is not None and mask.shape == state["weight"].shape:
            layer.load_state_dict({**state, "weight": torch.ones_like(state["weight"])})
            if bool(layer.state_dict()["weight"][~mask].any()):
                raise Wrong(f"{of}.weight", "keeps weights that are loaded where there are none")
            layer.load_state_dict(state)
    whole = network.state_dict()
    _must_refuse("state_dict", network, {**whole, "foreign": torch.zeros(1)})
    tried = set()
    for name in whole:
        if name.endswith("num_batches_tracked"):  # torch takes states from before it had them
            continue
        of, _, part = name.rpartition(".")
        layer = network.get_submodule(of)
        whole_asks = (kind := (type(layer), part)) not in tried  # it asks its layers
        tried.add(kind)
        asked, left_out = (network, name) if whole_asks else (layer, part)
        state = whole if whole_asks else layer.state_dict()
        _must_refuse(name, asked, {k: v for k, v in state.items() if k != left_out})


def _others(held: Tensor) -> list[Tensor]:
    """Return a buffer with one number changed, first or last, and of another shape."""
    found = []
    for place in (0, held.numel() - 1):
        other = held.clone()
        flat = other.view(-1)
        if held.dtype == torch.bool:
            flat[place] = ~flat[place]
        elif held.dtype == torch.int8:  # a sign
            flat[place] = -flat[place] if int(flat[place]) else 1
        else:
            flat[place] = flat[place] + 1 if held.dtype.is_floating_point else flat[place] ^ 1
        found.append(other)
    whole = held if held.dim() else held.view(1)
    return [*found, torch.cat([whole, whole])]


def _must_refuse(
    name: str, layer: nn.Module, state: dict[str, Tensor], strict: bool = True
) -> None:
    try:
        layer.load_state_dict(state, strict=strict)
    except (RuntimeError, ValueError):  # what torch raises, with the messages of all layers
        return
    raise Wrong(name, "a state of another network, which differs in it or lacks it, is not refused")


# --- noise ----------------------------------------------------------------------------------------


def noise_is_normal(name: str, units: Any, n: int, std: float) -> None:
    """Compare what training adds to the rates with normal noise of standard deviation ``std``.

    Rates below 0 are cut off: of the others, the share of the law below each is uniform between
    that of 0 and 1.
    """
    rows = max(2, -(-4096 // n))
    torch.manual_seed(3)
    drive = torch.rand(rows, n, dtype=torch.float64, requires_grad=True)
    calm = units.eval()(drive)
    noisy = [units.train()(drive) for _ in range(2)]
    for rates in noisy:
        least = torch.special.ndtr(-calm / std).detach()
        share = torch.special.ndtr((rates - calm) / std).detach()
        above = (rates > 0) & (least < 1 - 1e-9)
        shares = ((share - least) / (1 - least))[above].detach()
        if problem := unlike_uniform(shares.unsqueeze(0)):
            raise Wrong(name, f"has other noise in training than normal of {std:g}: {problem}")
        expected, found = float(least.sum()), float((rates <= 0).sum())
        slack = SKEW * math.sqrt(float((least * (1 - least)).sum())) + 1
        if abs(found - expected) > slack:
            raise Wrong(name, f"has other noise in training than normal of {std:g}")
        passed = (rates > 0).double()
        wanted = torch.autograd.grad(calm, drive, passed, retain_graph=True)[0]
        got = torch.autograd.grad(rates.sum(), drive, retain_graph=True)[0]
        if not torch.allclose(got, wanted, rtol=1e-6, atol=1e-9):
            raise Wrong(name, "has another gradient in training, with noise")
    if np.array_equal(*(rates.detach().numpy() for rates in noisy)):
        raise Wrong(name, "has the same noise at every call")
