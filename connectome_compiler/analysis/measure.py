"""Measure an emitted module: which of its parameters have an effect, and which units respond."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from connectome_compiler.analysis.follow import (
    ClosedForm,
    closed_form,
    names_of,
    too_large,
    what_reaches_the_output,
)
from connectome_compiler.analysis.inputs import Call, draw, first_output
from connectome_compiler.analysis.ramps import NoFormula
from connectome_compiler.analysis.report import (
    ClampedParameter,
    ParameterFinding,
    PopulationFinding,
    ProjectionFinding,
    Report,
)
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.importing import build_network, load_alone
from connectome_compiler.certify.meaning import meaning_of
from connectome_compiler.errors import CompileError
from connectome_compiler.options import guess
from connectome_compiler.recipe import parse_settings
from connectome_compiler.statement import expanded

FLAT = 0.01  # of the steepest slope
MOSTLY = 0.95  # of the inputs
NONE = "no closed form is known, and proofs are by masks and paths alone"
ROUNDS = 3  # of changes, until what is left changes nothing all together
Masks = dict[str, Tensor]


def analyse(
    module: Path | str | ModuleType | nn.Module,
    *,
    options: Mapping[str, Any] | Sequence[str] = (),
    n_inputs: int = 64,
    n_seeds: int = 3,
    n_changes: int = 4,
    state: Path | str | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Report:
    """Find what has no effect in a module that ccompile emitted.

    ``module`` is a file, which is imported and so run, an imported module, or a network, whose
    parameters are then taken as they are. ``options`` go to ``build()``: by name, or
    ``name=value`` as text. Each seed gives one start
    and ``n_inputs`` inputs; ``n_changes`` times the parameters are put elsewhere. A file with a
    saved ``state``, such as one that was trained, takes the place of the starts. torch's global
    generator stays as it is. ``say`` hears how far it is. Raises `CompileError`.
    """
    for name, n, least in (
        ("n_inputs", n_inputs, 2),
        ("n_seeds", n_seeds, 1),
        ("n_changes", n_changes, 1),
    ):
        if n < least:
            raise CompileError(name, f"is {n}", f"give {least} or more")
    given = _read(options)
    where, networks = _starts(module, given, n_seeds)
    if state is not None:
        for network in networks:
            _load_state(network, Path(state))
    with torch.random.fork_rng(devices=[]):
        runs = []
        for seed, network in enumerate(networks):
            say(f"analysing {where}: start {seed + 1} of {n_seeds}")
            runs.append(_Run.of(network, seed, n_inputs, n_changes))
    first = runs[0]
    stated: dict[str, Any] = expanded(_forward(first.network).__globals__.get("PROVENANCE", {}))
    proofs = _proofs(first, stated)
    formula, error, notes = _formula(first)
    if stated:
        notes += meaning_of(stated).stability(first.network, stated)
    return Report(
        module=where,
        class_name=type(first.network).__name__,
        options=given,
        parameters=tuple(_parameter(name, runs, proofs) for name in first.zero),
        clamped=tuple(_clamped(runs)),
        populations=tuple(_populations(runs, stated)),
        projections=tuple(_projections(runs, stated)),
        formula=formula.lines if formula else (),
        formula_error=error,
        inputs=tuple(
            f"{name} {' x '.join(map(str, t.shape))}" for name, t in first.call.tensors.items()
        ),
        n_inputs=n_inputs,
        n_seeds=n_seeds,
        n_changes=n_changes,
        notes=tuple(notes),
    )


def _read(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Return options of ``build()``; text becomes a truth, a number or nothing if it is one."""
    if isinstance(options, Mapping):
        return dict(options)
    return {name: guess(raw.text) for name, raw in parse_settings(options).items()}


def _starts(
    module: Path | str | ModuleType | nn.Module, options: dict[str, Any], n_seeds: int
) -> tuple[str, list[nn.Module]]:
    """Return the name of the module, and a network for every seed."""
    if isinstance(module, nn.Module):
        if options:
            raise CompileError(
                "options",
                "has no effect on a network, which is already built",
                "give the module instead",
            )
        copies = [copy.deepcopy(module).eval() for _ in range(n_seeds)]
        return type(module).__name__, copies
    if isinstance(module, ModuleType):
        source, where = module, Path(getattr(module, "__file__", None) or module.__name__).name
    else:
        path = Path(module)
        if not path.is_file():
            raise CompileError(str(path), "no such file", "ccompile build RECIPE --out model.py")
        try:
            source, where = load_alone(path), path.name
        except Wrong as wrong:
            raise CompileError(f"{path}: {wrong.where}", wrong.problem) from wrong
    networks = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(n_seeds):
            torch.manual_seed(seed)
            networks.append(build_network(where, source, options).eval())
    return where, networks


def _load_state(network: nn.Module, file: Path) -> None:
    """Load a state that was saved with safetensors or torch."""
    if not file.is_file():
        raise CompileError(str(file), "no such file", "save net.state_dict() there")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever these make of files that are none of theirs
        hint = "save net.state_dict() with torch.save, or to a file .safetensors"
        problem = f"holds no state: {next(iter(str(error).splitlines()), type(error).__name__)}"
        raise CompileError(str(file), problem, hint) from error
    try:
        network.load_state_dict(found)
    except (RuntimeError, TypeError, AttributeError) as error:
        problem = f"is no state of this network: {error}"
        raise CompileError(str(file), problem, "give it a state_dict() of it") from error


# --- one start ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What was measured at one start, number by number."""

    network: Any
    call: Call
    zero: Masks  # no gradient at the start
    inert: Masks
    clamps: dict[tuple[str, float | None, float | None], int]
    sites: dict[str, tuple[Tensor, Tensor]]

    @staticmethod
    def of(network: Any, seed: int, n_inputs: int, n_changes: int) -> _Run:
        """Measure one network."""
        call = draw(network, n_inputs, seed)
        watch = _Watch(network)
        try:
            with torch.no_grad(), watch:
                first_output(network, call)
        except CompileError:
            raise
        except Exception as error:  # what the module says of its input
            where = f"{type(network).__name__}.forward({', '.join(call.tensors)})"
            raise CompileError(where, f"{type(error).__name__}: {error}") from error
        generator = torch.Generator().manual_seed(seed)
        zero = _without_gradient(network, call, generator)
        inert = _inert(network, call, zero, n_changes, generator)
        return _Run(network, call, zero, inert, watch.clamps, watch.flat())


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def _without_gradient(network: Any, call: Call, generator: torch.Generator) -> Masks:
    """Return where no output changes with the parameter, to first order, for any input.

    The outputs are summed with random factors, so that gradients do not cancel.
    """
    parameters = _trained(network)
    output = first_output(network, call)
    factors = torch.randn(output.shape, generator=generator).to(output)
    if not output.requires_grad:
        return {name: torch.ones_like(p, dtype=torch.bool) for name, p in parameters.items()}
    found = torch.autograd.grad(
        (output * factors).sum(), list(parameters.values()), allow_unused=True
    )
    return {
        name: torch.ones_like(p, dtype=torch.bool) if g is None else g == 0
        for (name, p), g in zip(parameters.items(), found, strict=True)
    }


@contextmanager
def _elsewhere(
    network: nn.Module, at: Masks | None, generator: torch.Generator, far: float
) -> Iterator[None]:
    """Put parameters elsewhere for a while, both sides of 0: all numbers, or those ``at``."""
    parameters = _trained(network)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    with torch.no_grad():
        for name, p in parameters.items():
            if not p.numel():
                continue
            size = max(float(p.square().mean().sqrt()), 0.1)
            moved = torch.randn(p.shape, generator=generator).to(p) * (far * size)
            p.add_(moved if at is None else moved * at[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(before[name])


def _inert(
    network: Any, call: Call, zero: Masks, n_changes: int, generator: torch.Generator
) -> Masks:
    """Return which numbers of the parameters change nothing, of those without a gradient."""
    left = {name: mask.clone() for name, mask in zero.items()}
    for _ in range(ROUNDS):
        for k in range(n_changes):
            if not any(mask.any() for mask in left.values()):
                return left
            with _elsewhere(network, None if k % 2 else left, generator, 2.0 ** (k - 1)):
                now = _without_gradient(network, call, generator)
            left = {name: mask & now[name] for name, mask in left.items()}
        if _changes_nothing(network, call, left, n_changes, generator):
            return left
    # Some act after all, or together only: ask each parameter for itself.
    for name, mask in left.items():
        alone = {other: m & (other == name) for other, m in left.items()}
        if mask.any() and not _changes_nothing(network, call, alone, n_changes, generator):
            left[name] = torch.zeros_like(mask)
    return left


@torch.no_grad()
def _changes_nothing(
    network: Any, call: Call, at: Masks, n_changes: int, generator: torch.Generator
) -> bool:
    """Whether the output stays the same to the last bit wherever the numbers ``at`` are put.

    Each change is tried both ways. Every second time all other parameters are elsewhere, too.
    """
    others = {name: ~mask for name, mask in at.items()}
    nowhere = {name: torch.zeros_like(mask) for name, mask in at.items()}
    for k in range(n_changes):
        with _elsewhere(network, others if k % 2 else nowhere, generator, 0.5):
            before = first_output(network, call)
            there = generator.get_state()
            for way in (1, -1):
                generator.set_state(there)
                with _elsewhere(network, at, generator, way * 4.0**k):
                    after = first_output(network, call)
                if not torch.equal(torch.nan_to_num(before), torch.nan_to_num(after)):
                    return False
    return True


def _forward(network: nn.Module) -> Any:
    """Return the function that a network runs, which knows its module."""
    return type(network).forward


class _Watch(TorchDispatchMode):
    """Records what is clipped: parameters before they act, and activity, by line of source."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wanted = not hasattr(network, "rates")  # which say it by population
        self.names = {id(p): name for name, p in network.named_parameters()}
        self.file = _forward(network).__code__.co_filename
        self.clamps: dict[tuple[str, float | None, float | None], int] = {}
        self.lines: dict[str, list[Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what a clamp cuts off."""
        kwargs = kwargs or {}
        ends = CLAMPS.get(func.overloadpacket.__name__)
        if ends is not None and isinstance(args[0], Tensor):
            low, high = ends(*args[1:], **kwargs)
            if not isinstance(low, Tensor) and not isinstance(high, Tensor):
                self._cut(args[0], low, high)
        return func(*args, **kwargs)

    def _cut(self, x: Tensor, low: float | None, high: float | None) -> None:
        base = x if id(x) in self.names else x._base
        if base is not None and id(base) in self.names:
            beyond = torch.zeros_like(x, dtype=torch.bool)
            beyond |= x < low if low is not None else False
            beyond |= x > high if high is not None else False
            key = (self.names[id(base)], low, high)
            self.clamps[key] = max(self.clamps.get(key, 0), int(beyond.sum()))
            return
        if not self.wanted or not x.is_floating_point() or x.dim() < 2:
            return
        flat = torch.zeros_like(x, dtype=torch.bool)
        flat |= x <= low if low is not None else False
        flat |= x >= high if high is not None else False
        place = self._place()
        if place:
            dead = flat & (x <= low) if low == 0 else torch.zeros_like(flat)
            self.lines.setdefault(place, []).append(torch.stack((flat, dead)).flatten(2))

    def _place(self) -> str:
        """Return the line of the network that is at work, or ""."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename == self.file and "self" in frame.f_locals:
                line = frame.f_lineno
                text = Path(frame.f_code.co_filename).read_text(encoding="utf-8").splitlines()
                return f"line {line}: {text[line - 1].strip()}"
            frame = frame.f_back
        return ""

    def flat(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return per line the share of inputs at which each unit is flat, and dead."""
        found = {}
        for place, seen in self.lines.items():
            both = torch.cat(seen, 2).double().mean(1)  # (flat or dead, units)
            found[place] = (both[0], both[1])
        return found


CLAMPS: dict[str, Any] = {
    "clamp": lambda low=None, high=None, **ends: (ends.get("min", low), ends.get("max", high)),
    "clamp_min": lambda low: (low, None),
    "clamp_max": lambda high: (None, high),
    "relu": lambda: (0.0, None),
    "hardtanh": lambda low=-1.0, high=1.0: (low, high),
}


# --- findings -------------------------------------------------------------------------------------


def _parameter(name: str, runs: list[_Run], proofs: Mapping[str, _Proof]) -> ParameterFinding:
    """Put together what was found at all starts."""
    zero = torch.stack([run.zero[name] for run in runs]).all(0)
    inert = torch.stack([run.inert[name] for run in runs]).all(0)
    proof = proofs.get(name)
    proved = torch.zeros_like(zero) if proof is None else proof.numbers
    inert |= proved
    reasons = [] if proof is None else [proof.reason]
    if cornered := int((proved & ~zero).sum()):
        # Where clamps meet, torch passes a gradient that leads nowhere.
        reasons.append(f"{cornered:,} at the end of a clamp, where a gradient passes all the same")
    if tested := int((inert & ~proved).sum()):
        reasons.append(f"{tested:,} inert over the inputs and changes tried, not proved")
    return ParameterFinding(
        name,
        zero.numel(),
        int(zero.sum()),
        int(inert.sum()),
        int(proved.sum()),
        "; ".join(reasons),
    )


def _clamped(runs: list[_Run]) -> list[ClampedParameter]:
    keys = {key: None for run in runs for key in run.clamps}
    return [
        ClampedParameter(name, low, high, max(run.clamps.get((name, low, high), 0) for run in runs))
        for name, low, high in keys
    ]


# How steep each activation is where it puts out a, as a share of where it is steepest.
SLOPES: dict[str, Any] = {
    "relu": lambda a: (a > 0).double(),
    "tanh": lambda a: 1 - a.square(),
    "sigmoid": lambda a: 4 * a * (1 - a),
    "softplus": lambda a: -torch.expm1(-a),
    "graded": lambda a: ((a > 0) & (a < 1)).double(),
}


def _populations(runs: list[_Run], stated: dict[str, Any]) -> list[PopulationFinding]:
    """Return the flat parts by population; by line of the source where there are no ``rates()``."""
    if not hasattr(runs[0].network, "rates"):
        return [_at_line(place, [run.sites[place] for run in runs]) for place in runs[0].sites]
    activities = [_activities(run, stated) for run in runs]
    found = []
    for name, (kind, first) in activities[0].items():
        if kind not in SLOPES:
            continue
        all_of = [(SLOPES[kind](a[name][1].double()) < FLAT, a[name][1]) for a in activities]
        by_unit = [flat.double().mean(0) for flat, _ in all_of]
        always = torch.stack(by_unit).eq(1).all(0)
        silent = torch.stack([(a == 0).all(0) for _, a in all_of]).all(0)
        found.append(
            PopulationFinding(
                name,
                kind,
                first.shape[1],
                float(torch.stack(by_unit).mean()) if first.shape[1] else 0.0,
                int(torch.stack([share.ge(MOSTLY) for share in by_unit]).all(0).sum()),
                int(always.sum()),
                int((always & silent).sum()),
                _mean([(a == 0).all(0).double().mean() for _, a in all_of]),
                _mean([_signal(a) for _, a in all_of]),
            )
        )
    return found


def _signal(activity: Tensor) -> Tensor:
    """Return what share of the variance of activity ``(samples, units)`` is across samples."""
    whole = activity.double().var(correction=0)
    return activity.double().var(0, correction=0).mean() / whole if whole > 0 else whole


def _mean(of_starts: list[Tensor]) -> float:
    return float(torch.stack(of_starts).nan_to_num(0).mean())


def _at_line(place: str, shares: list[tuple[Tensor, Tensor]]) -> PopulationFinding:
    flat, dead = (torch.stack(part) for part in zip(*shares, strict=True))
    return PopulationFinding(
        place,
        "clamp",
        flat.shape[1],
        float(flat.mean()),
        int((flat >= MOSTLY).all(0).sum()),
        int((flat == 1).all(0).sum()),
        int((dead == 1).all(0).sum()),
    )


@torch.no_grad()
def _activities(run: _Run, stated: dict[str, Any]) -> dict[str, tuple[str, Tensor]]:
    """Return the activation of every population, and what it put out: ``(samples, units)``."""
    network = run.network
    reset = getattr(network, "reset", None)
    if callable(reset):
        reset()
    rates = network.rates(**run.call.tensors)
    return meaning_of(stated).activities(network, rates, stated) if stated else {}


def _projections(runs: list[_Run], stated: dict[str, Any]) -> list[ProjectionFinding]:
    """Return by projection how often its targets are in their flat part."""
    if not hasattr(runs[0].network, "rates"):
        return []
    shares: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for run in runs:
        flat = {
            name: (SLOPES[kind](a.double()) < FLAT).double().mean(0)
            for name, (kind, a) in _activities(run, stated).items()
            if kind in SLOPES
        }
        layers = {f"{pre}->{post}": layer for pre, post, layer in run.network.named_projections()}
        for key, weight in run.network.effective_weights().items():
            post = key.partition("->")[2].partition(":")[0]
            if post not in flat or not weight._nnz():
                continue
            transposed = isinstance(layers.get(key), nn.ConvTranspose2d)
            target = weight.coalesce().indices()[1 if transposed else 0]
            n_targets = weight.shape[1 if transposed else 0]
            by_target = flat[post].reshape(n_targets, -1).mean(1)  # a map is its channel's
            shares.setdefault(key, []).append(float(by_target[target].mean()))
            counts[key] = len(target)
    return [ProjectionFinding(key, counts[key], float(np.mean(s))) for key, s in shares.items()]


# --- proofs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Proof:
    """Which numbers of a parameter cannot act, whatever all numbers are, and why."""

    numbers: Tensor
    reason: str


def _proofs(run: _Run, stated: dict[str, Any]) -> dict[str, _Proof]:
    """Return what can be proved inert, by parameter."""
    found = _off_masks(run.network)
    if stated:
        idle = meaning_of(stated).idle(run.network, stated)
        found |= {name: _Proof(*proof) for name, proof in idle.items()}
    one = draw(run.network, 1, 0)
    if why := too_large(run.network, one):
        return found
    try:
        acting, n_cases = what_reaches_the_output(run.network, one)
    except NoFormula:
        return found
    why = (
        "proved: wherever it enters, it multiplies 0 or ends beyond a clamp, whatever all"
        f" parameters and inputs are (bounds in {n_cases} cases of the signs of the inputs)"
    )
    for name, p in _trained(run.network).items():
        if name not in acting:
            found[name] = _Proof(torch.ones_like(p, dtype=torch.bool), why)
    return found


def _off_masks(network: nn.Module) -> dict[str, _Proof]:
    """Return the numbers that a mask keeps from acting."""
    found = {}
    for name, layer in network.named_modules():
        weight, mask = getattr(layer, "weight", None), getattr(layer, "mask", None)
        live = getattr(layer, "live", None)
        if not isinstance(weight, nn.Parameter) or not isinstance(mask, Tensor):
            continue
        if isinstance(live, Tensor):  # packed: what the patches hold beside the mask
            mask = live.bool()
        if mask.shape != weight.shape[: mask.dim()]:
            continue
        off = ~mask.bool().reshape(*mask.shape, *[1] * (weight.dim() - mask.dim()))
        key = f"{name}.weight" if name else "weight"
        found[key] = _Proof(
            off.expand_as(weight).clone(),
            f"proved: {int(off.expand_as(weight).sum()):,} lie off the mask",
        )
    return {name: proof for name, proof in found.items() if proof.numbers.any()}


def _formula(run: _Run) -> tuple[ClosedForm | None, float, list[str]]:
    """Return the closed form, how far it is from the module over the inputs, and notes."""
    one = draw(run.network, 1, 0)
    if why := too_large(run.network, one):
        return None, 0.0, [f"{NONE}: {why}"]
    try:
        form = closed_form(run.network, one)
    except NoFormula as reason:
        return None, 0.0, [f"{NONE}: {reason}"]
    given: dict[str, Any] = {}
    for key, tensor in run.call.tensors.items():
        columns = tensor.double().flatten(1).t().numpy()
        given |= dict(zip(names_of(key, tensor[:1]), columns, strict=True))
    with torch.no_grad():
        wanted = first_output(run.network, run.call).double().flatten(1).numpy()
    error = float(np.abs(form.evaluate(given) - wanted).max(initial=0.0))
    if error > 1e-4 * (1 + float(np.abs(wanted).max(initial=0.0))):
        return None, 0.0, [f"{NONE}: the one found is off by {error:.2g}"]
    return form, error, []
