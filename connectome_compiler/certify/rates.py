"""The responses of whole networks: rates, outputs and gradients, for any batch and choice."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.layers import (
    BATCH,
    FEW,
    ROUGH,
    TOLERANCE,
    WIDE,
    agree,
    shake,
    source,
)
from connectome_compiler.certify.meaning import Case, Options, spelled
from connectome_compiler.certify.options import refuses_nonsense, rounds
from connectome_compiler.certify.state import starts_where_stated
from connectome_compiler.certify.stepping import Stepper
from connectome_compiler.certify.structure import key_of
from connectome_compiler.certify.ways import answers_in_every_way

LEARNT = 1e-6  # of gradients, relative to the largest: of what saturates, little is left
MANY = 500_000  # connections; above, networks in time are compared over fewer steps
SMALL = 2**13  # products; up to so many, more choices of options are tried, and in training
# Batches for which layers run other code (few columns, tiles of 64, several images at a time), and
# the most products for a sample up to which all those of a row are tried.
BATCHES: tuple[tuple[int, tuple[int, ...]], ...] = (
    (2**13, (1, 2, 5, 7, 8, 11, 12, 16, 31, 32, 33, 63, 64, 65, 100, 128, 129, 200, 257)),
    (2**17, (1, 2, 7, 8, 12, 33, 65, 129)),
    (2**62, (1, 33)),
)
# Of a large network, each batch repeats a few samples in an order of chance, which are run apart.
LARGE = (1, 130)  # where there are many connections: else kernels take most of the time
TOLD = 65  # samples of which a large network tells all its rates, which take memory
ROLLS = ((BATCH, 10), (65, 2), (1, 70))  # batches and steps of sequences
# In training or not, samples, and powers of ten by which all parameters are larger.
PASSES = (
    (False, BATCH, 0),
    (True, BATCH, 0),
    (False, WIDE, 0),
    *((False, 3, power) for power in (1, 4, -4)),
)
# Those of a large network: no two that run the same code, on fewer samples.
LARGE_PASSES = ((True, BATCH, 0), (False, WIDE, 0), (False, 3, 4), (False, 3, -4))
# Passes of networks in time for which other numbers of steps stand here, by samples.
LENGTHS = ((True, 2, 0), (True, 1, 0))
STEPS = {2: 1, 1: 14}
ENDS = ("inputs", "outputs")  # options that are a number of channels, or a list of neurons


def computes(
    case: Case, network: Any, passes: Sequence[tuple[bool, int, int]] | None = None
) -> None:
    """Compare rates, output and gradients with a plain reading, in evaluation and in training.

    Each of the ``passes`` says whether in training, with how many samples, and by how many powers
    of ten all parameters are too large.
    """
    meaning, stated = case.meaning, case.stated
    double = copy.deepcopy(network).double()
    shake(meaning, double)
    called: set[str] = set()
    layers = {key_of(a, b, layer): layer for a, b, layer in double.named_projections()}
    hooks = [
        layer.register_forward_pre_hook(lambda _, __, key=key: called.add(key))
        for key, layer in layers.items()
    ]
    left: set[str] = set()
    hooks += [
        layer.register_forward_hook(lambda _, __, ___, key=key: left.add(key))
        for key, layer in layers.items()
    ]
    with finding("units"):
        meaning.check_units(double, stated)
        meaning.quiet(double)  # so that training, too, can be compared
    # The plain reading keeps a number per connection, sample and step.
    large = meaning.in_time and case.n_connections > MANY
    few = case.large
    if passes is None:
        passes = LARGE_PASSES if few else PASSES
    small = meaning.in_time and not large
    for training, batch, power in (*passes, *(LENGTHS if small else ())):
        double.train(training)
        tested = _resized(double, 10.0**power) if power else double
        plain = copy.deepcopy(tested)  # with parameters of its own
        samples = 2 if large and training else batch
        if few:
            samples = 2 if batch == WIDE or (training and not meaning.in_time) else 1
        steps = (
            [2 if few and training else 3] if large else [STEPS[batch]] if batch in STEPS else []
        )
        image = double.example_input(samples, *steps)
        if batch != BATCH:
            image = _varied(image, _along(case, tested))
        state = None
        if meaning.in_time and (training or batch == 3):
            with torch.no_grad(), finding("forward"):
                state = torch.empty_like(tested(image)[1]).uniform_(generator=source(5))
            state *= 1 if training else 100  # beyond what activations reach
        ends = [[x] if state is None else [x, state] for x in (image, image.clone())]
        ends = [[x.detach().clone().requires_grad_(training) for x in many] for many in ends]
        # Only where gradients are compared: what is kept for them takes memory.
        with torch.set_grad_enabled(training):
            with finding("forward"):
                found = tested.rates(*ends[0])
            read = meaning.read(plain, stated, *ends[1])
            _statisticsagree(tested, plain)
            with finding("forward"):
                output = tested(*ends[0])
        for key in layers:
            if meaning.calls_layers and key not in called & left:
                raise Wrong(key, "is not used in the forward pass")
        for hook in hooks:  # layers without any may share work
            hook.remove()
        lasts: list[Tensor] = []
        expected = read.rates
        if read.state is not None:
            output, last = output
            lasts = [last, read.state]
            expected = {**expected, "the state at the end": read.state}
            found = {**found, "the state at the end": last}
        floor = 1e-3 * 10.0 ** (5 * min(0, power))
        for name, rates in {**expected, "the output": read.output}.items():
            other = output if name == "the output" else found.get(name)
            if other is None or other.shape != rates.shape:
                raise Wrong("rates()", f"has no rates of {name} of shape {tuple(rates.shape)}")
            along = _along(case, tested) if name != "the state at the end" else 0
            if not agree(other, rates, along, floor=floor):
                raise Wrong("forward", f"{name} is not what the graph says, from here on")
        if found.keys() != expected.keys():
            raise Wrong("rates()", "has rates of other populations than the graph")
        if training:
            answers = zip((tested, plain), (output, read.output), ends, strict=True)
            slack = 1e-4 if batch in STEPS else LEARNT  # many steps make more of a last bit
            twice = not meaning.in_time and case.n_connections + case.n_products < SMALL
            learn_alike(answers, lasts, twice, slack)


def learn_alike(
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
                one is None or agree(one, other, slack=slack)
            ):
                raise Wrong(name, "has another gradient than the graph gives it")


def _statisticsagree(found: Any, wanted: Any) -> None:
    """Compare what normalisations remember after one pass."""
    others = dict(wanted.named_buffers())
    for name, buffer in found.named_buffers():
        if buffer.is_floating_point() and not agree(buffer, others[name]):
            raise Wrong(name, "is not what the graph says after a pass")
        if name.endswith("num_batches_tracked") and not torch.equal(buffer, others[name]):
            raise Wrong(name, "does not count passes in training")


def _resized(network: Any, size: float) -> Any:
    """Return the network with all that its parameters stand for ``size`` times as large."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.rpartition(".")[2].startswith("log_"):
                parameter.add_(math.log(size))
            else:
                parameter.mul_(size)
    return network


def _along(case: Case, network: Any) -> int:
    """Return which dimension of rates and outputs the samples are in."""
    return int(case.meaning.in_time and not network.batch_first)


def _varied(x: Tensor, along: int) -> Tensor:
    """Return normal numbers in the shape of ``x``, of another size for each sample."""
    shape = [1] * x.dim()
    shape[along] = -1
    sizes = torch.logspace(-2, 2, x.shape[along], dtype=x.dtype).view(shape)
    return torch.randn(x.shape, generator=source(6), dtype=x.dtype) * sizes


def _answer(network: Any, x: Tensor) -> Tensor:
    """Return the output; networks in time return their state with it."""
    output = network(x)
    answer: Tensor = output[0] if isinstance(output, tuple) else output
    return answer


def goes_on(case: Case, network: Any) -> None:
    """Compare sequences with their two parts, and with their steps one by one."""
    network.eval()
    for batch, steps in ROLLS[:1] if case.n_connections > MANY else ROLLS:
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


def in_every_way(case: Case, network: Any) -> None:
    """Call the network as torch can, each way of which may be code of its own."""
    shake(case.meaning, network)
    size: tuple[int, ...] = (5,)
    if case.large:
        size = (2, 2) if case.meaning.in_time else (2,)
    answers_in_every_way(
        network, _answer, _along(case, network), case.meaning.smooth, size, case.large
    )


def any_batch(case: Case, network: Any) -> int:
    """Compare batches of many sizes with the same samples a few at a time, and two precisions."""
    in_time = case.meaning.in_time
    products = sum(p.numel() for p in network.parameters()) + case.n_products
    products += 3 * in_time * case.n_connections
    sizes = next(sizes for most, sizes in BATCHES if products <= most)
    sizes = LARGE if case.large and case.n_connections > MANY else sizes
    along = _along(case, network)
    more = (2 if case.large else 3,) if in_time else ()
    double = copy.deepcopy(network).double()
    shake(case.meaning, double)
    case.meaning.quiet(double)
    single = copy.deepcopy(double)
    single = single.float() if case.meaning.smooth else single
    few = double.example_input(FEW if case.large else max(sizes), *more)
    order = torch.arange(max(sizes))  # which of the few each sample is
    if case.large:
        order = torch.randint(FEW, order.shape, generator=source(7))
    many = 33 if case.large else min(65, max(sizes))
    counts = order[:many].bincount()
    # Over a batch that normalises, gradients of parts do not add up.
    training = not any(name.endswith("running_mean") for name, _ in network.named_buffers())
    parts = few.narrow(along, 0, len(counts)).split(WIDE, along)
    right, wanted = _learned(double.train(training), parts, along, counts)
    x = few.index_select(along, order[:many])
    found, grads = _learned(single.train(training), [x], along, torch.ones(many))
    if not agree(found, right.index_select(along, order[:many]), along, ROUGH):
        raise Wrong("forward", f"a batch of {many} is not what its samples are")
    for name, grad in wanted.items():
        # Some unit may be above 0 in one precision, and below in the other.
        if float((grads[name] - grad).norm()) > 0.05 * float(grad.norm()) + 1e-3:
            raise Wrong(name, f"has another gradient from a batch of {many}")
    del wanted, grads  # as large as the network
    told = TOLD if sizes is LARGE else max(sizes)
    _quiet_sizes(single.eval(), few, order, sizes, along, told)
    if len(sizes) > len(LARGE):
        _quiet_sizes(double.eval(), few, order, sizes[-3:], along, told)
    return max(sizes)


def _learned(
    network: Any, parts: Sequence[Tensor], along: int, counts: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the answers to a batch in parts, and the gradients of its parameters, summed.

    Each sample stands for as many as ``counts`` says.
    """
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    like, answers = next(network.parameters()), []
    totals = {n: torch.zeros(p.shape, dtype=torch.float64) for n, p in parameters.items()}
    sizes = [part.shape[along] for part in parts]
    for part, times in zip(parts, counts.to(like).split(sizes), strict=True):
        with finding("backward"):
            answer = _answer(network, part.to(like))
            loss = (answer.atan().movedim(along, -1) * times).sum()
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        answers.append(answer.detach().double())
        for name, grad in zip(parameters, found, strict=True):
            totals[name] += 0 if grad is None else grad
    return torch.cat(answers, along), totals


def _quiet_sizes(
    network: Any, few: Tensor, order: Tensor, sizes: Sequence[int], along: int, told: int
) -> None:
    """Compare batches of many sizes, without gradients, with their samples a few at a time.

    Of a batch of ``told`` samples all rates are compared.
    """
    few = few.to(next(network.parameters()))
    x, parts = few.index_select(along, order), few.split(WIDE, along)
    slack = ROUGH if x.dtype == torch.float32 else TOLERANCE
    with torch.no_grad(), finding("forward"):
        whole = torch.cat([_answer(network, part) for part in parts], along)
        for size in sizes:
            found, wanted = _answer(network, x.narrow(along, 0, size)), order[:size]
            if not agree(found, whole.index_select(along, wanted), along, slack):
                problem = f"a batch of {size} is not what its samples are {WIDE} at a time"
                raise Wrong("forward", problem)
        apart = [network.rates(part) for part in parts]
        x, order = x.narrow(along, 0, told), order[:told]
        for name, rates in network.rates(x).items():
            right = torch.cat([part[name] for part in apart], along).index_select(along, order)
            if not agree(rates, right, along, slack):
                raise Wrong("rates()", f"those of {name} depend on the size of the batch")


def other_options(case: Case) -> str:
    """Compare networks built with other options with what is stated of those."""
    meaning = case.meaning
    values, nonsense = meaning.choices(case)
    refuses_nonsense(case, nonsense)
    small = case.n_connections + case.n_products < SMALL
    choices = list(rounds(case, values, 4 if small else 2))
    for k, options in enumerate(choices):
        torch.manual_seed(0)
        other = case.chosen(options)
        network = other.build()
        try:
            if list(network.effective_weights()) != [p["key"] for p in other.stated["projections"]]:
                raise Wrong("projections", "are others than with these options")
            meaning.check_built(other, network)
            chosen = {name: v for name, v in options.items() if name in meaning.starts}
            if chosen and not (case.large and k):  # by the same laws, from other numbers
                starts_where_stated(replace(other, options=chosen))
            computes(other, network, PASSES[:2] if small else PASSES[:1])
            _sizes_are(network, options)
        except Wrong as wrong:
            raise Wrong(f"{spelled(options)}: {wrong.where}", wrong.problem) from wrong
    return f"{len(choices)} choices of other options give what is stated of them"


def _sizes_are(network: Any, options: Options) -> None:
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
    given |= {port: len(given[port]) for port in ENDS if isinstance(given.get(port), list)}
    for name, found in wanted.items():
        if name in options and found != given[name]:
            raise Wrong(name, f"is {found}, not {given[name]}")


def reports_all(network: Any) -> None:
    """Compare what is reported beside projections with parameters."""
    known = network.effective_weights()
    held = [p.detach() for p in network.parameters()]
    for key, weight in network.effective_weights(all=True).items():
        if key not in known:
            dense = weight.to_dense()
            same = any(dense.shape == p.shape and torch.equal(dense, p) for p in held)
            if not (same or any(_is_part(dense, p) for p in held)):
                raise Wrong(key, "is said to act, and is no parameter")


def _is_part(part: Tensor, whole: Tensor) -> bool:
    """Whether a matrix is some adjoining columns of another."""
    n = part.shape[-1]
    if part.dim() != 2 or whole.dim() != 2 or len(part) != len(whole) or n > whole.shape[1]:
        return False
    starts = (whole[:, : whole.shape[1] - n + 1] == part[:, :1]).all(0).nonzero()
    return any(torch.equal(whole[:, k : k + n], part) for k in starts.flatten().tolist())


def refuses_inputs(network: Any) -> None:
    """Give inputs of another size."""
    x = network.example_input(2)
    for other in (x[..., :-1], torch.cat((x, x[..., :1]), -1), x.unsqueeze(0).unsqueeze(0)):
        try:
            network(other)
        except Exception:  # whatever layers say of it
            continue
        raise Wrong("forward", f"takes inputs of {tuple(other.shape)} for {tuple(x.shape)}")


def train(case: Case, network: Any, kind: str) -> None:
    """Take three steps at a high rate, with weight decay."""
    network.train()
    shake(case.meaning, network)
    optimizer = Stepper(kind, network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(1 if case.large else 3):
        optimizer.zero_grad()
        x = network.example_input(2 if case.large else BATCH)
        _answer(network, x).tanh().mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def survives_saving(case: Case, network: Any) -> None:
    """Save the state, load it into a new network, and compare outputs and effective weights.

    A copy that was rounded and emptied is the same network, too, once it has the state: structure
    is nothing that torch converts.
    """
    network.eval()
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    torch.manual_seed(1)
    fresh = case.build()
    fresh.load_state_dict(state)
    emptied = copy.deepcopy(network).half().to("meta").to_empty(device="cpu").float()
    for number in (*emptied.parameters(), *emptied.buffers()):
        number.data.fill_(1)
    parameters = dict(network.named_parameters())
    with finding("state_dict"):
        emptied.load_state_dict(parameters, strict=False)
        emptied.load_state_dict(state)
    image = network.example_input(BATCH)
    with torch.no_grad():
        expected = _answer(network, image)
        for name, other in (("loaded", fresh.eval()), ("copied", copy.deepcopy(network))):
            if not torch.equal(_answer(other, image), expected):
                raise Wrong("state_dict", f"the {name} network answers differently")
    for one, other in zip(*(_learnt(net, image) for net in (network, emptied)), strict=True):
        # Products of matrices may differ in a last bit, by where they lie in memory.
        if not agree(one, other):
            raise Wrong("state_dict", "an emptied network answers differently once it is loaded")
    again = fresh.effective_weights(all=True)
    for key, weight in network.effective_weights(all=True).items():
        old, new = weight.coalesce(), again[key].coalesce()
        same = torch.equal(old.indices(), new.indices()) and torch.equal(old.values(), new.values())
        if not same:
            raise Wrong(key, "has other weights after saving and loading")


def _learnt(network: Any, x: Tensor) -> list[Tensor]:
    """Return what a network answers, and the gradients of its parameters."""
    answer = _answer(network, x)
    trained = [p for p in network.parameters() if p.requires_grad]
    found = torch.autograd.grad(answer.atan().sum(), trained, allow_unused=True)
    return [answer, *(torch.zeros(0) if grad is None else grad for grad in found)]
