"""What leaky rate units compute, written plainly, and what of them alone is checked.

    tau dr/dt = -r + phi(W r + u + b) + sum over j of g[i, j] (r[j] - r[i])

In a step rates go a part ``a`` of the way: ``1 - exp(-dt / tau)`` without gap junctions, and with a
total conductance ``g`` less, ``1 / a^2 = 1 / (1 - exp(-dt / tau))^2 + (1 + 2 g)^2 - 1``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from connectome_compiler.certify.balanced import DONE, starts_balanced
from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.layers import agree, source
from connectome_compiler.certify.meaning import Case, Meaning, Options, Read, Stated, Values
from connectome_compiler.certify.neurons import some_called, units_of
from connectome_compiler.certify.plain import PHI, connections, linear, summed
from connectome_compiler.certify.rates import LEARNT, learn_alike
from connectome_compiler.certify.structure import key_of
from connectome_compiler.ir.digest import array_digest
from connectome_compiler.templates.recurrent.stability_meaning import Array, Dynamics

REST = 0.1  # drive of rectified units without input, where a network starts balanced
FEW = 512  # neurons; up to so many, all eigenvalues are looked at


class Leaky(Meaning):
    """Leaky units, chemical synapses inside their activation, gap junctions beside it."""

    in_time = True
    calls_layers = False
    keys = Meaning.keys | {"dynamics"}
    knows_neurons = True
    values: ClassVar[Values] = {
        "activation": ("sigmoid", "softplus", "relu", "linear", "tanh"),
        "balanced": (False, True),
        "batch_first": (True, False),
        "dt_ms": (7.0, 33.0),
        "inputs": (5, 2),
        "outputs": (4, 3),
        "spectral_radius": (0.7, None),
        "tau_ms": (33.0, 5.0),
    }
    nonsense: ClassVar[Options] = {
        "activation": "?",
        "dt_ms": -1.0,
        "spectral_radius": -1.0,
        "tau_ms": 0.0,
    }
    starts = frozenset({"spectral_radius", "tau_ms"})
    unscaled: ClassVar[Options] = {"balanced": False, "spectral_radius": None}

    def read(self, network: Any, stated: Stated, x: Tensor, state: Tensor | None = None) -> Read:
        """Compute step by step, population by population, connection by connection."""
        return leaky(network, stated, x, state)

    def check_built(self, case: Case, network: Any) -> tuple[str, ...]:
        """Compare constants of units, and what a network starts with, with what is stated."""
        _dynamics_are_those_stated(network, case.stated["dynamics"])
        _starts(case, network)
        rest = REST if case.stated["dynamics"]["activation"] == "relu" else 0.0
        starts_balanced(
            case,
            lambda pre, post: post,
            lambda drawn: {k: x + rest for k, x in drawn.items() if k == "units.bias"},
        )
        data = "time constants, and weights that come from data, start where it is stated"
        return (data, DONE)

    def check_shaken(self, case: Case, network: Any) -> tuple[str, ...]:
        """Drive, silence and clamp neurons by name, and read them."""
        if not (names := some_called(network, 3)):
            return ()
        _acts_on(network, case.stated, names, case.large)
        return ("neurons that are named are driven, silenced, clamped and read, and no others",)

    def choices(self, case: Case) -> tuple[Values, Options]:
        """Return what to try and what to refuse: ports by name, and spectral radii with a cycle."""
        network = case.build(**self.unscaled)
        values, nonsense = dict(self.values), dict(self.nonsense)
        names = some_called(network, 3)
        for port in ("inputs", "outputs"):
            channels = () if case.stated["options"][port] is None else self.values[port]
            chosen = ([names[::-1], names[:1]][port == "outputs"],) if names else ()
            values[port] = (*channels[:1], *chosen, *channels[1:])
            nonsense[port] = ["no such neuron"] if channels else 3
        values = {name: some for name, some in values.items() if some}
        if not _has_cycle(network, case.stated):
            del values["spectral_radius"]
            nonsense["spectral_radius"] = 0.7
        return values, nonsense

    def shaken(self, network: Any) -> None:
        """Make some units fast beside the step of time, and some slow."""
        if isinstance(network.units.log_tau, nn.Parameter):
            network.units.log_tau.add_(math.log(network.units.dt_ms))

    def start(self, law: str, stated: Stated) -> float:
        """Return where the logarithms of time constants start."""
        if law != "log-tau":
            return super().start(law, stated)
        return math.log(stated["dynamics"]["tau_ms"])

    def units(self, stated: Stated) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the same for each population: units are alike."""
        yield from ((p["name"], stated["dynamics"]) for p in stated["populations"])

    def restated(self, stated: Stated) -> Stated:
        """State the dynamics and ports that the options choose."""
        chosen = stated["options"]
        own = ("activation", "dt_ms", "tau_ms", "spectral_radius")
        dynamics = {**stated["dynamics"], **{k: chosen[k] for k in own}}
        ports = {}
        for part, port in (("in", "inputs"), ("out", "outputs")):
            if isinstance(chosen[port], list):  # each neuron by itself
                ports[f"read_{part}"] = {p["name"]: "" for p in stated["populations"]}
                dynamics[f"{port[:-1]}_units_sha256"] = chosen[port]
        return {**stated, **ports, "dynamics": dynamics}

    def activities(
        self, network: Any, rates: dict[str, Tensor], stated: Stated
    ) -> dict[str, tuple[str, Tensor]]:
        """Return what activations put out, from the rates of one step and the next.

        r' = r + a (phi + current - r), so phi = r + (r' - r) / a - current.
        """
        first = _first(stated)
        n = sum(p["units"] for p in stated["populations"])
        gone = _gone(network, stated, network.units.dt_ms)
        now = torch.cat([rates[name] for name in first], -1)
        now = now.transpose(0, 1) if network.batch_first else now
        before = torch.cat((torch.zeros_like(now[:1]), now[:-1]))
        current = torch.zeros_like(now)
        for post, pre, weight in _junctions(network, first):
            apart = before[..., pre] - before[..., post]
            current = current.index_add(-1, post, apart * weight)
        phi = (before + (now - before) / gone - current).flatten(0, 1)
        ends = [*list(first.values())[1:], n]
        kind = network.units.activation
        return {
            name: (kind, phi[:, start:end])
            for (name, start), end in zip(first.items(), ends, strict=True)
        }

    def stability(self, network: Any, stated: Stated) -> Iterator[str]:
        """Say how small differences grow or shrink from step to step, at rest."""
        if words := _dynamics(network, stated).told():
            yield words

    def idle(self, network: Any, stated: Stated) -> dict[str, tuple[Tensor, str]]:
        """Return the numbers of units from which no path leads to one that is read."""
        return _without_way_out(network, stated)


MEANING = Leaky()


def leaky(
    network: Any,
    stated: dict[str, Any],
    u: Tensor,
    state: Tensor | None = None,
    currents: Mapping[int, Tensor] | None = None,
    held: Mapping[int, Tensor] | None = None,
) -> Read:
    """Return rates ``(steps, batch, units)`` by population, the output, and the last rates.

    ``currents`` ``(steps, batch)`` enter units beside the input; those ``held`` keep their rates,
    ``(batch,)``.
    """
    dynamics, units = stated["dynamics"], network.units
    phi = PHI[dynamics["activation"]]
    batch_first = stated.get("options", vars(network))["batch_first"]
    turned = u.transpose(0, 1) if batch_first else u
    sizes, starts = {p["name"]: p["units"] for p in stated["populations"]}, _first(stated)
    n, batch = sum(sizes.values()), turned.shape[1]
    gone = _gone(network, stated, dynamics["dt_ms"])
    bias = units.bias[units.bias_of] if units.bias is not None else torch.zeros_like(gone)
    layers = {key_of(a, b, w): (a, b, connections(w)) for a, b, w in network.named_projections()}
    drive = turned
    if all(stated["read_in"].values()):  # else the input is the current of each driven unit
        parts = [linear(getattr(network, name), turned) for name in stated["read_in"].values()]
        drive = torch.cat(parts, -1)
    state = turned.new_zeros(batch, n) if state is None else state
    currents, held = currents or {}, held or {}
    if held:
        at = torch.tensor([*held])
        state = state.index_copy(1, at, torch.stack([*held.values()], 1))
        gone = gone.index_fill(0, at, 0)
    rates = {name: state[:, starts[name] : starts[name] + size] for name, size in sizes.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in sizes}
    for t, step in enumerate(drive):
        entering = turned.new_zeros(batch, n).index_add(1, units.input_units, step)
        for unit, current in currents.items():
            entering = entering.index_add(1, torch.tensor([unit]), current[t].unsqueeze(1))
        new = {}
        for name, size in sizes.items():
            here = slice(starts[name], starts[name] + size)
            total, current = entering[:, here] + bias[here], torch.zeros_like(rates[name])
            for key, (pre, post, weight) in layers.items():
                if post != name:
                    continue
                flow = summed(weight, rates[pre], size)
                if key.endswith(":electrical"):
                    i, _, conductance = weight
                    out = conductance.new_zeros(size).index_add(0, i, conductance)
                    current = current + flow - out * rates[name]
                else:
                    total = total + flow
            new[name] = rates[name] + gone[here] * (phi(total) + current - rates[name])
        rates = new
        for name, now in rates.items():
            found[name].append(now)
    traces = {name: torch.stack(now) for name, now in found.items()}
    read = torch.cat(list(traces.values()), -1)[..., units.output_units]
    outputs, first = [], 0
    for name in stated["read_out"].values():
        if not name:  # the rates themselves
            outputs = [read]
            break
        last = first + getattr(network, name).weight.shape[1]
        outputs.append(linear(getattr(network, name), read[..., first:last]))
        first = last
    output = sum(outputs[1:], outputs[0])
    if batch_first:
        traces = {name: x.transpose(0, 1) for name, x in traces.items()}
        output = output.transpose(0, 1)
    return Read(traces, output, torch.cat(list(rates.values()), -1))


def _acts_on(network: Any, stated: Stated, names: list[Any], large: bool) -> None:
    """Drive the first of some neurons, silence the second, clamp the third, and read them all.

    A ``large`` network is given one kind of current alone, for each step and sample.
    """
    network = copy.deepcopy(network).double()
    batch, steps = (2, 2) if large else (3, 5)
    numbers = source(11)
    u, turned = network.example_input(batch, steps), network.batch_first
    places = units_of(network, names).tolist()
    sizes = ((), (steps,), tuple(u.shape[:2]))  # of the current: that of the input, or less
    for size in sizes[-1:] if large else sizes:
        shapes = (size, (batch,) if len(size) == 1 else (), (batch, network.units.n))
        drawn = [torch.randn(shape, generator=numbers, dtype=u.dtype) for shape in shapes]
        ends = [[x.clone().requires_grad_() for x in drawn] for _ in range(2)]
        current, level, state = ends[0]
        given: dict[str, Any] = {"current": {names[0]: current}}
        given |= {"silence": names[1:2], "clamp": dict.fromkeys(names[2:], level)}
        with finding("forward"):
            found, last = network(u, state, **given)
            rates = network.rates(u, state, neurons=names, **given)
        current, level, state = ends[1]
        current = current.unsqueeze(1) if len(size) == 1 else current
        current = current.t() if len(size) == 2 and turned else current
        rates_held = (torch.zeros_like(level), level)[: len(places) - 1]
        held = {k: x.expand(batch) for k, x in zip(places[1:], rates_held, strict=True)}
        plain = copy.deepcopy(network)
        currents = {places[0]: current.expand(steps, batch)}
        read = leaky(plain, stated, u, state, currents, held)
        wanted = torch.cat(list(read.rates.values()), -1)[..., places]
        if list(rates) != names or not agree(torch.stack([*rates.values()], -1), wanted):
            raise Wrong("rates()", "are not those of neurons that are named, driven or held")
        if not (agree(found, read.output) and read.state is not None and agree(last, read.state)):
            raise Wrong("forward", "neurons that are named are driven or held otherwise than said")
        answers = zip((network, plain), (found, read.output), ends, strict=True)
        learn_alike(answers, [last, read.state], False, LEARNT)


def _first(stated: dict[str, Any]) -> dict[str, int]:
    """Return the place of each population's first unit among those of all."""
    first, n = {}, 0
    for p in stated["populations"]:
        first[p["name"]], n = n, n + p["units"]
    return first


def _junctions(network: Any, first: dict[str, int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield both ends of the gap junctions, among all units, and their conductances."""
    for pre, post, layer in network.named_projections():
        if layer.kind == "electrical":
            i, j, conductance = connections(layer)
            yield i + first[post], j + first[pre], conductance


def _taus(network: Any) -> Tensor:
    """Return the time constant of each unit, in ms."""
    units = network.units
    tau: Tensor = units.log_tau.exp()
    return tau[units.tau_of] if units.tau_of is not None else tau.expand(units.n)


def _dynamics(network: Any, stated: dict[str, Any]) -> Dynamics:
    """Return the numbers of the network as it is, in double precision."""
    network = copy.deepcopy(network).double()
    units, phi = network.units, PHI[network.units.activation]

    def slope(drive: Array) -> Array:
        x = torch.from_numpy(drive + 1e-12).requires_grad_()  # of a kink, that above
        found: Array = torch.autograd.grad(phi(x).sum(), x)[0].numpy()
        return found

    with torch.no_grad():
        tau = _taus(network)
        bias = units.bias[units.bias_of] if units.bias is not None else torch.zeros_like(tau)
    return Dynamics(
        _matrix(network, stated),
        _matrix(network, stated, "electrical"),
        tau.numpy(),
        bias.numpy(),
        units.dt_ms,
        lambda drive: phi(torch.from_numpy(drive)).numpy(),
        slope,
        lambda dt_ms: _gone(network, stated, dt_ms).detach().numpy(),
    )


def _gone(network: Any, stated: dict[str, Any], dt_ms: float) -> Tensor:
    """Return the part of the way to where it is pulled that each unit goes in one step."""
    alone = 1 - (-dt_ms / _taus(network)).exp()
    out = torch.zeros_like(alone)
    for post, _, conductance in _junctions(network, _first(stated)):
        out = out.index_add(0, post, conductance)
    gone: Tensor = (alone.square() / (1 + alone.square() * ((1 + 2 * out).square() - 1))).sqrt()
    return gone


def _starts(case: Case, network: Any) -> None:
    """Compare what a network starts with, its spectral radius among it."""
    dynamics = case.stated["dynamics"]
    found = network.units.log_tau.detach()
    wanted = torch.full_like(found, dynamics["tau_ms"]).log()
    if bool(((found - wanted).abs() > 1e-7 * (1 + wanted.abs())).any()):  # the last bit
        raise Wrong("units", f"do not start at a time constant of {dynamics['tau_ms']} ms")
    torch.manual_seed(0)
    drawn = case.build(**case.meaning.unscaled)
    for a, b, layer in drawn.named_projections():
        want = dynamics["starts_sha256"].get(key := key_of(a, b, layer))
        if want is not None and array_digest(layer.weight.detach().numpy()) != want:
            raise Wrong(key, "does not start at the weights of the graph")
    total = torch.zeros(network.units.n).double()
    for post, _, conductance in _junctions(network, _first(case.stated)):
        total.index_add_(0, post, conductance.detach().double())
    if len(total) and float(total.max()) > 1 + 1e-5:
        problem = f"starts with a neuron of {total.max():.5g} conductance, which is above 1"
        raise Wrong("build()", problem)
    torch.manual_seed(0)
    plain = case.build(spectral_radius=None)
    radius = dynamics["spectral_radius"]
    factor = 1.0
    if radius:
        few = network.units.n <= FEW
        factor = _size(network) / _size(plain)  # of all weights, as is seen below
        after = _spectral_radius(network, case.stated)
        if abs(after - radius) > (1e-4 if few else 0.02) * radius:
            raise Wrong("build()", f"starts at a spectral radius of {after:.5g}, not {radius:.5g}")
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


def _size(network: Any) -> float:
    return float(_chemical(network).norm())


def _spectral_radius(network: Any, stated: dict[str, Any]) -> float:
    """Return the largest magnitude of an eigenvalue of what rates are pulled to.

    That is ``(W + G) / (1 + g)`` by rows, of all weights, conductances and their sums.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigs

    gaps = _matrix(network, stated, "electrical")
    matrix = diags_array(1 / (1 + gaps.sum(1))) @ (_matrix(network, stated) + gaps)
    if (n := matrix.shape[0]) <= FEW:
        return float(abs(np.linalg.eigvals(matrix.toarray())).max())
    start = np.random.default_rng(0).random(n)
    found = eigs(matrix, 1, ncv=64, v0=start, tol=1e-3, return_eigenvectors=False)
    return float(abs(found).max())


def _has_cycle(network: Any, stated: dict[str, Any]) -> bool:
    """Return whether chemical connections lead from some unit back to it."""
    from scipy.sparse.csgraph import connected_components

    matrix = _matrix(network, stated)
    loops, _ = connected_components(matrix, connection="strong")
    return bool(loops < matrix.shape[0] or matrix.diagonal().any())


def _matrix(network: Any, stated: dict[str, Any], kind: str = "chemical") -> Any:
    """Return the weights of all projections of a kind as one sparse matrix, ``[post, pre]``."""
    from scipy.sparse import csr_array

    first, n = _first(stated), network.units.n
    rows, columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for pre, post, layer in network.named_projections():
        if layer.kind == kind:
            i, j, weights = (x.detach().numpy() for x in connections(layer))
            rows.append(i + first[post])
            columns.append(j + first[pre])
            values.append(weights.astype(np.float64))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, (n, n))


def _dynamics_are_those_stated(network: Any, stated: dict[str, Any]) -> None:
    """Compare which units are driven, read, and share a time constant or bias."""
    units = network.units
    for holder, part in (
        (units, "input_units"),
        (units, "output_units"),
        (units, "tau_of"),
        (units, "bias_of"),
    ):
        held, wanted = getattr(holder, part), stated.get(f"{part}_sha256")
        found = None if held is None else array_digest(held.int().numpy())
        if isinstance(wanted, list):  # neurons by name
            wanted = array_digest(units_of(network, wanted).int().numpy())
        if found != wanted:
            raise Wrong(part, "are other units than the graph's")
    wanted = {"log_tau": stated["tau_per"] != "fixed", "bias": stated["bias_per"] != "none"}
    if {name for name, _ in units.named_parameters()} != {k for k, v in wanted.items() if v}:
        raise Wrong("units", "train other constants than is stated")


def _without_way_out(network: Any, stated: dict[str, Any]) -> dict[str, tuple[Tensor, str]]:
    """Return the numbers of units from which no connections lead to a unit that is read."""
    first, n = _first(stated), network.units.n
    layers, ends = [], []
    for pre, post, layer in network.named_projections():
        i, j = layer.sparse_weight().detach().coalesce().indices()
        layers.append(layer)
        ends.append((i + first[post], j + first[pre]))
    seen = torch.zeros(n, dtype=torch.bool)
    seen[network.units.output_units] = True
    while True:
        before = int(seen.sum())
        for post, pre in ends:
            seen[pre[seen[post]]] = True
        if int(seen.sum()) == before:
            break
    if bool(seen.all()):
        return {}
    why = f"proved: of units from which no path leads to one that is read ({n - before:,} of {n:,})"
    names = {id(p): name for name, p in network.named_parameters()}
    found: dict[str, tuple[Tensor, str]] = {}

    def shared(parameter: Any, lost: Tensor, group: Tensor | None) -> None:
        """Note a parameter of which each number acts through one or several places."""
        if id(parameter) not in names or not parameter.requires_grad:
            return
        if group is not None:
            acting = torch.zeros(len(parameter), dtype=torch.bool)
            acting[group.long()[~lost]] = True
            lost = ~acting
        if lost.shape == parameter.shape and lost.any():
            found[names[id(parameter)]] = lost, why

    for layer, (post, _) in zip(layers, ends, strict=True):
        shared(layer.weight, ~seen[post], getattr(layer, "group", None))
    units = network.units
    for part, group in (("log_tau", units.tau_of), ("bias", units.bias_of)):
        shared(getattr(units, part, None), ~seen, group)
    return found
