"""What a motif over repeated joints computes, and how it is put to the test.

Bodies of several lengths, with several choices of parts, are each compared with `motif_meaning`,
to the last bit, before and after training.
"""

from __future__ import annotations

import copy
import inspect
import io
import math
import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.importing import alone
from connectome_compiler.certify.meaning import Case, Meaning, Read, Stated, listed, spelled
from connectome_compiler.certify.state import SKEW, unlike_uniform
from connectome_compiler.certify.stepping import OPTIMIZERS, Stepper

from .motif_meaning import motif_rates, signed, weight_names

BODIES = (1, 2, 3, 5, 8)  # joints, beside those of the graph
CHOICES = 24  # bodies with parts chosen at random
BATCHES = (5, 1, 2, 3, 4, 7, 8, 11, 12, 13, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129, 200, 257)
BATCH = BATCHES[0]
Options = dict[str, Any]


class Repeated(Meaning):
    """A motif of cells, the same at every joint of a body."""

    reads_neurons = False
    keys = frozenset({"motif"})

    def read(self, network: Any, stated: Stated, x: Tensor, state: Tensor | None = None) -> Read:
        """Compute the activity of a body at rest but for its joints."""
        motif = stated["motif"]
        weights, inputs = dict(network.named_parameters()), {motif["joints"]: x}
        rates = motif_rates(motif, motif["options"], weights, inputs)
        return Read(rates, rates[motif["output"]])

    def units(self, stated: Stated) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield activation and rest of each population."""
        yield from ((p["name"], p) for p in stated["motif"]["populations"])

    def wholes(self, stated: Stated) -> tuple[Options, ...]:
        """Return the options with which all parts are on, weights shared or not."""
        everything = _everything(stated["motif"])
        return tuple({**everything, "weight_sharing": sharing} for sharing in (True, False))

    def battery(self, case: Case) -> Iterator[str]:
        """Try bodies of many lengths, with many choices of parts."""
        emitted, motif = case.emitted, case.stated["motif"]
        _options_are_those_stated(emitted, motif["options"])
        yield "options and their defaults are those stated"
        _starts_by_law(emitted, motif)
        yield "weights start at their signs, or uniform up to there, or at +1 and -1 by chance"
        for options in self.wholes(case.stated):
            whole = _built(emitted, options)
            for seed, reach in ((1, 0.0), (2, 10.0)):
                _shake(whole, seed, reach)
                _weights_act(whole, motif)
        choices = list(_choices(motif))
        for seed, options in enumerate(choices):
            _agrees(emitted, motif, options, seed)
        *lengths, longest = sorted({options[_length(motif)] for options in choices})
        bodies = f"{', '.join(map(str, lengths))} and {longest} joints"
        yield (
            "weights by name, rates and gradients are those of a plain implementation:"
            f" {len(choices)} choices of options, {bodies}"
        )
        _answers_in_every_way(emitted, motif)
        _refuses(emitted, motif)
        yield "inputs of another shape, or not finite, and options of no meaning are refused"
        for kind in OPTIMIZERS:
            for options in choices[:6]:
                _trains(emitted, motif, options, kind)
        yield "all this holds after SGD, Adam and AdamW with weight decay from any start"
        if motif["clock"]:
            for training in (True, False):
                _counts(emitted, motif, training)
            yield "each row counts its own steps, also after a reset of some rows"
        _survives_saving(emitted, motif)
        yield "saved and loaded, copied, or spread over the joints, it is the same network"


MEANING = Repeated()


def _built(emitted: ModuleType, options: Options) -> Any:
    with alone(), finding(spelled(options)):
        return emitted.build(**options)


def _options_are_those_stated(emitted: ModuleType, stated: Options) -> None:
    parameters = inspect.signature(emitted.build).parameters
    found = {n: p.default for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY}
    if found != stated:
        raise Wrong("build()", f"has the options {listed(found)}, not {listed(stated)}")


def _everything(motif: dict[str, Any]) -> Options:
    """Return the options under which all that the graph has is there."""
    switches = {w["switch"] for w in motif["weights"].values()} - {""}
    return {**motif["options"], "sign_constraints": True, **dict.fromkeys(switches, True)}


def _periods(motif: dict[str, Any]) -> list[str]:
    """Return the options that are periods."""
    return [p["period"] for p in motif["populations"] if p["period"]]


def _length(motif: dict[str, Any]) -> str:
    """Return the option that is the number of joints."""
    return next(str(p["units"]) for p in motif["populations"] if p["name"] == motif["joints"])


def _choices(motif: dict[str, Any]) -> Iterator[Options]:
    """Yield options to try: those that are the default, all parts on, and others at random."""
    source, whole = random.Random(0), _everything(motif)
    yield motif["options"]
    yield whole
    length = _length(motif)
    firsts = {t["first"] for t in motif["terms"] if t["first"] in motif["options"]}
    for k in range(CHOICES):
        n = BODIES[k % len(BODIES)]
        yield {
            name: n
            if name == length
            else source.randint(1, n)
            if name in firsts
            else source.random() < 0.6
            if isinstance(value, bool)
            else source.choice([1, 7, value])
            for name, value in whole.items()
        }


def _shake(network: Any, seed: int, reach: float = 0.0) -> None:
    """Overwrite every weight by a foreign initialiser, of any sign.

    With a ``reach`` by numbers up to as many powers of ten larger or smaller, and some exactly 0.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            drawn = 1.5 * torch.randn(parameter.shape, generator=generator)
            if reach:
                chance, size = torch.rand(2, *parameter.shape, generator=generator)
                drawn = drawn * 10 ** (reach * (2 * size - 1)) * (chance > 0.1)
            parameter.copy_(drawn)


def _inputs(
    motif: dict[str, Any], options: Options, seed: int, batch: int = BATCH
) -> dict[str, Tensor]:
    """Return inputs by population, some beyond their range; steps half a step from an edge.

    Of each three rows of steps one is below 0, and one late.
    """
    generator = torch.Generator().manual_seed(seed)
    n = options[_length(motif)]
    found = {motif["joints"]: 1.5 * torch.randn(batch, n, generator=generator)}
    if motif["clock"]:
        periods = torch.tensor([options[period] for period in _periods(motif)])
        here = periods[torch.randint(0, len(periods), (batch, 1), generator=generator)]
        k, offset = (torch.randint(0, top, (batch, 1), generator=generator) for top in (9, 3))
        era = torch.tensor([0, -7, 4321])[torch.arange(batch)[:, None] % 3]
        found[motif["clock"]] = (era + k // 2) * here + k % 2 * (here // 2) + (offset - 1) / 2
    for name in motif["commands"]:
        found[name] = 0.5 + torch.randn(batch, 1, generator=generator)
    return found


def _called(function: Any, motif: dict[str, Any], inputs: dict[str, Tensor]) -> Any:
    """Call the network, or its rates, on inputs by population."""
    names = motif["arguments"]
    commands = {names[name]: inputs[name] for name in motif["commands"]}
    clock = [inputs[motif["clock"]]] if motif["clock"] in inputs else []
    return function(inputs[motif["joints"]], *clock, **commands)


def _agrees(emitted: ModuleType, motif: dict[str, Any], options: Options, seed: int) -> None:
    """Compare names, rates and gradients at the start, and with weights of any sign."""
    torch.manual_seed(seed)
    network = _built(emitted, options)
    where = spelled(options)
    names = dict(weight_names(motif, options))
    if [name for name, _ in network.named_parameters()] != list(names):
        raise Wrong(where, "has other weights, or in another order, than the graph")
    for name, parameter in network.named_parameters():
        if parameter.shape != (1,):
            raise Wrong(where, f"its weight {name} has shape {tuple(parameter.shape)}, not (1,)")
        _starts_right(
            f"{where}: {name}", float(parameter.detach()), options, motif["weights"][names[name]]
        )
    for precise in (False, True):
        tested = copy.deepcopy(network).double() if precise else network
        tested.train(bool(seed % 2) != precise)
        inputs = _inputs(motif, options, seed, BATCHES[seed % len(BATCHES)])
        inputs = {name: x.double() if precise else x for name, x in inputs.items()}
        _compare(where, tested, motif, options, inputs)
        for reach in (0.0, 3.0) if precise else (0.0,):
            _shake(tested, seed, reach)
            _compare(where, tested, motif, options, inputs)


def _starts_right(where: str, value: float, options: Options, stated: dict[str, Any]) -> None:
    sign = stated["sign"] if options["sign_constraints"] else (1 if value > 0 else -1)
    right = value == sign if options["constant_init"] else 0 <= sign * value <= 1
    if not right:
        raise Wrong(where, f"starts at {value}")


def _starts_by_law(emitted: ModuleType, motif: dict[str, Any]) -> None:
    """Compare starts that are drawn with their law, over the weights of several bodies."""
    options = _everything(motif) | {"weight_sharing": False, _length(motif): 8}
    for constrained, constant in ((True, False), (False, False), (False, True)):
        choice = {"sign_constraints": constrained, "constant_init": constant}
        drawn = []
        for seed in range(8):
            torch.manual_seed(seed)
            weights = [float(p.detach()) for p in _built(emitted, options | choice).parameters()]
            drawn.append(torch.tensor(weights, dtype=torch.float64))
        values, where = torch.stack(drawn), spelled(choice)
        if constant:
            apart = float(values.sum()) / values.numel() ** 0.5
            if not bool((values.abs() == 1).all()) or abs(apart) > SKEW:
                raise Wrong(where, "does not start at +1 and -1 with equal chances")
            continue
        shares = values.abs() if constrained else (values + 1) / 2
        if problem := unlike_uniform(shares):
            raise Wrong(where, f"does not start uniform: {problem}")


def _weights_act(network: Any, motif: dict[str, Any]) -> None:
    """Compare each weight that acts with what its sign makes of the one that is trained."""
    reported = network.effective_weights()
    for pre, post, layer in network.named_projections():
        wanted = signed(motif["mechanism"], int(layer.sign), layer.weight.detach())
        for found in (layer.effective_weight(), reported[f"{pre}->{post}"].coalesce().values()):
            if not torch.equal(found, wanted.expand_as(found)):
                raise Wrong(
                    f"{pre}->{post}",
                    "its effective weight is not what its sign makes of the trained one",
                )


def _compare(
    where: str, network: Any, motif: dict[str, Any], options: Options, inputs: dict[str, Tensor]
) -> None:
    """Compare rates with the plain reading's to the last bit, and gradients."""
    weights = dict(network.named_parameters())
    with finding(where), alone():
        found = _called(network.rates, motif, inputs)
        output = _called(network, motif, inputs)
    expected = motif_rates(motif, options, weights, inputs)
    if found.keys() != expected.keys():
        raise Wrong(where, f"has rates of {', '.join(found)}, not of {', '.join(expected)}")
    for name, rates in expected.items():
        if not torch.equal(found[name], rates):
            raise Wrong(where, f"{name} is not what the graph says, to the last bit")
    if not torch.equal(output, expected[motif["output"]]):
        raise Wrong(where, "its output is not that of the graph, to the last bit")
    if not output.requires_grad:
        return
    several = [
        torch.autograd.grad(y.sin().sum(), list(weights.values()), allow_unused=True)
        for y in (output, expected[motif["output"]])
    ]
    slack = 1e-6 * output.numel()  # a shared weight's gradient is a sum over joints and rows
    for name, one, other in zip(weights, *several, strict=True):
        one, other = (torch.zeros(1) if g is None else g for g in (one, other))
        if not torch.allclose(one.double(), other.double(), rtol=1e-4, atol=slack):
            raise Wrong(f"{where}: {name}", "has another gradient than the graph gives it")


def _answers_in_every_way(emitted: ModuleType, motif: dict[str, Any]) -> None:
    """Call a network as torch can, in each mode and precision: the answer is the same."""
    options = _everything(motif) | {"constant_init": False}  # as large as they start, all act
    for training in (True, False):
        torch.manual_seed(6)
        network = _built(emitted, options).train(training)
        for dtype in (torch.float32, torch.float64):
            network = network.to(dtype)
            inputs = {name: x.to(dtype) for name, x in _inputs(motif, options, 6).items()}
            before = {name: x.clone() for name, x in inputs.items()}
            weights = dict(network.named_parameters())
            wanted = motif_rates(motif, options, weights, inputs)[motif["output"]].detach()
            steps = {name: torch.stack((x, x), -1)[..., 0] for name, x in inputs.items()}
            with torch.no_grad(), finding("forward"):
                found = {
                    "without gradients": _called(network, motif, inputs),
                    "to inputs laid out in steps": _called(network, motif, steps),
                    "as a copy": _called(copy.deepcopy(network), motif, inputs),
                }
                with torch.inference_mode():
                    found["in inference mode"] = _called(network, motif, inputs).clone()
                none = {name: x[:0] for name, x in inputs.items()}
                found["of no rows"] = torch.cat((wanted, _called(network, motif, none)))
            for what, answer in found.items():
                if not torch.equal(answer, wanted):
                    raise Wrong("forward", f"answers differently {what}")
            if any(not torch.equal(x, before[name]) for name, x in inputs.items()):
                raise Wrong("forward", "changes its input")


def _trains(emitted: ModuleType, motif: dict[str, Any], options: Options, kind: str) -> None:
    """Take a few steps at a high rate from any start; signs must hold, and rates agree."""
    network = _built(emitted, options)
    if not list(network.parameters()):
        return
    _shake(network, 2)
    optimizer = Stepper(kind, network.parameters(), lr=0.5, weight_decay=0.1)
    where = spelled(options)
    for seed in range(3):
        inputs = _inputs(motif, options, seed)
        optimizer.zero_grad()
        output = _called(network, motif, inputs)
        if output.requires_grad:
            output.tanh().mean().backward()
        optimizer.step()
        _compare(where, network, motif, options, inputs)
        if not options["sign_constraints"]:
            continue
        for pre, post, layer in network.named_projections():
            if bool((layer.sparse_weight().values() * layer.sign < 0).any()):
                raise Wrong(f"{where}: {pre}->{post}", "acts with the wrong sign after training")


def _refuses(emitted: ModuleType, motif: dict[str, Any]) -> None:
    """Give inputs and options that mean nothing; each must be refused, and not clipped or spread.

    An input is tried with a column more and one less, with no dimension for the batch, with rows of
    another batch, and with a number that is none.
    """
    options = _everything(motif)
    network, inputs = _built(emitted, options), _inputs(motif, options, 0)
    for name, x in inputs.items():
        odd = [torch.cat((x, x[:, :1]), 1), x[:, :-1], x[0], x.unsqueeze(0)]
        odd += [] if name == motif["joints"] else [x[:-1], x[:1]]
        for value in (math.nan, math.inf, -math.inf):
            odd.append(x.clone())
            odd[-1][-1, -1] = value
        for other in odd:
            _must_refuse(name, _called, network.rates, motif, {**inputs, name: other})
    counts = [n for n, v in options.items() if isinstance(v, int) and not isinstance(v, bool)]
    for option in options:
        for odd_value in (0, -1, 2.5, True, "1") if option in counts else (0, 1, "yes", None):
            _must_refuse(option, emitted.build, **{option: odd_value})


def _must_refuse(name: str, call: Any, *given: Any, **options: Any) -> None:
    try:
        with alone():
            call(*given, **options)
    except (TypeError, ValueError):
        return
    raise Wrong(name, f"is not refused where it means nothing{_spelled_after(options)}")


def _spelled_after(options: Options) -> str:
    return f": {listed(options)}" if options else ""


def _counts(emitted: ModuleType, motif: dict[str, Any], training: bool) -> None:
    """Compare calls without a step with calls that say it, row by row."""
    options = _everything(motif)
    network, inputs = _built(emitted, options).train(training), _inputs(motif, options, 0)
    once = max(options[period] for period in _periods(motif))
    steps = torch.zeros(BATCH, 1)
    clock = inputs.pop(motif["clock"])
    with torch.no_grad(), finding("steps"):
        for call in range(once + 2):
            if call == once // 2:
                rows = torch.arange(BATCH) % 2 == 0
                network.reset(rows)
                steps[rows] = 0
            told = _called(network, motif, {**inputs, motif["clock"]: steps})
            if not torch.equal(_called(network, motif, inputs), told):
                raise Wrong("steps", f"call {call + 1} is not at the step that its rows are at")
            steps += 1
        if not torch.equal(network.steps.to(clock), steps):
            raise Wrong("steps", "are not those that were counted")
        network.reset()
        if bool(network.steps.any()):
            raise Wrong("steps", "are not 0 after reset()")


def _survives_saving(emitted: ModuleType, motif: dict[str, Any]) -> None:
    """Save and load, copy, and give the shared weights to each joint of this body and another."""
    options = _everything(motif) | {"weight_sharing": True}
    # Long enough that every weight has a place.
    n = options[_length(motif)] + max(abs(t["shift"] or 0) for t in motif["terms"])
    options[_length(motif)] = n
    network = _built(emitted, options)
    _shake(network, 3)
    inputs = _inputs(motif, options, 4)
    for _ in range(3):
        _called(network, motif, {k: x for k, x in inputs.items() if k != motif["clock"]})
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded, spread = _built(emitted, options), _built(emitted, options | {"weight_sharing": False})
    with finding("state_dict"):
        loaded.load_state_dict(torch.load(file, weights_only=True))
    with finding("load_weights()"):
        left = spread.load_weights(network.state_dict())
        back = _built(emitted, options)
        back.load_weights(spread.state_dict())
        longer = _built(emitted, options | {_length(motif): n + 3})
        longer.load_weights(network.state_dict())
    if left:
        raise Wrong("load_weights()", f"left {', '.join(left)} over")
    _takes_means(emitted, motif, options)
    expected = _called(network, motif, inputs)
    others = {"loaded": loaded, "copied": copy.deepcopy(network), "spread": spread, "shared": back}
    for name, other in others.items():
        if not torch.equal(_called(other, motif, inputs), expected):
            raise Wrong("state_dict", f"the {name} network answers differently")
    for name, value in longer.named_parameters():
        if not torch.equal(value, network.get_parameter(name)):
            raise Wrong("load_weights()", f"gives another body another {name}")
    if motif["clock"] and not torch.equal(loaded.steps, network.steps):
        raise Wrong("state_dict", "does not keep the steps")


def _takes_means(emitted: ModuleType, motif: dict[str, Any], options: Options) -> None:
    """Give the weights of joints that differ to a body that shares them: refused, or their mean."""
    each, shared = (_built(emitted, options | {"weight_sharing": v}) for v in (False, True))
    _shake(each, 5)
    _must_refuse("load_weights()", shared.load_weights, each.state_dict())
    with finding("load_weights()"):
        shared.load_weights(each.state_dict(), average=True)
    several: dict[str, list[Tensor]] = {}
    for name, weight in weight_names(motif, options | {"weight_sharing": False}):
        several.setdefault(weight, []).append(each.get_parameter(name).detach())
    for weight, values in several.items():
        if not torch.allclose(shared.get_parameter(weight).detach(), torch.stack(values).mean(0)):
            raise Wrong("load_weights()", f"does not take the mean of the joints' {weight}")
