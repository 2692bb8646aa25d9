"""What a network computes, as a long list of numbers: two that differ in it are not the same.

`behaviour` builds an emitted module's network, and calls, differentiates, trains, saves, loads and
copies it in every way that its user may. It knows nothing of graphs, nor of the certificate.
"""

# ruff: noqa: B023  what is yielded is called before its loop goes on

from __future__ import annotations

import copy
import inspect
import io
import itertools
import math
import pickle
import random
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

FINE, COARSE = 1e-9, 1e-3  # of differences in double and in single precision, to the largest
LONG = 1e-6  # in double precision, after several steps of training
BATCHES = (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129, 257)
STEPS = (1, 2, 3, 8, 41)
OPTIONS: dict[str, tuple[Any, ...]] = {
    "activation": ("relu", "tanh", "sigmoid", "softplus", "linear"),
    "attention": (True, False),
    "balanced": (False, True),
    "batch_first": (True, False),
    "channels": (3,),
    "classes": (7,),
    "dt_ms": (7.0,),
    "fan_in": ("dense", "open"),
    "filters": ((4, 6),),
    "gain": ("none", "1/usage", "1/sqrt(usage)", "fan-in"),
    "graded_inhibition": (False,),
    "image_size": (12,),
    "inhibition_strength": (0.25,),
    "inputs": (5,),
    "kernel": ("dense", "patches"),
    "lateral_inhibition": (0.0, 0.4),
    "noise_std": (0.0, 0.3),
    "normalisation": ("layer", "rms", "none"),
    "outputs": (4,),
    "spectral_radius": (None, 0.7),
    "steps": (2, 5),
    "tau_ms": (33.0,),
    "within": (False,),
}
Found = Iterator[tuple[str, Callable[[], Any], float]]


def behaviour(module: ModuleType) -> Iterator[tuple[str, Any, float]]:
    """Yield a label, what was found, and how far it may lie from what another module gives.

    What raises an error is that error's kind.
    """
    parts = _motif(module) if "motif" in module.PROVENANCE else _network(module)
    for label, make, slack in parts:
        torch.manual_seed(7)
        try:
            found = _plain(make())
        except Exception as error:
            found = f"raises {type(error).__name__}"
        yield label, found, slack


def differ(one: Any, other: Any, slack: float) -> bool:
    """Say whether two findings are more than rounding apart."""
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) != len(other) or any(differ(a, b, slack) for a, b in pairs)
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return type(one) is not type(other) or bool(one != other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return True
    if not one.numel():
        return False
    if not one.is_floating_point():
        return not torch.equal(one, other)
    one, other = one.double(), other.double()
    odd = ~(one.isfinite() & other.isfinite())
    if bool((odd & ~((one == other) | (one.isnan() & other.isnan()))).any()):
        return True
    one, other = one.masked_fill(odd, 0), other.masked_fill(odd, 0)
    return bool((one - other).abs().max() > slack * (1e-2 + other.abs().max()))


def _plain(found: Any) -> Any:
    """Return tensors, numbers and words in lists, and nothing else."""
    if isinstance(found, dict):
        return [_plain(part) for pair in found.items() for part in pair]
    if isinstance(found, list | tuple):
        return [_plain(part) for part in found]
    if isinstance(found, Tensor):
        if found.is_sparse:
            found = found.coalesce()
            return [found.indices(), found.values().detach().clone(), list(found.shape)]
        return found.detach().clone()
    return found


def _built(module: ModuleType, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return module.build(**options)


def _shaken(network: nn.Module, seed: int = 1, size: float = 1.0) -> Any:
    """Return the network with weights of a foreign initialiser, a few of them 0."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in network.named_parameters():
            drawn = torch.randn(p.shape, generator=source, dtype=torch.float64)
            drawn = drawn.masked_fill(torch.rand(p.shape, generator=source) < 0.05, 0)
            fan_in = p[0].numel() if p.dim() > 1 else 3
            p.copy_(size * drawn / fan_in**0.5 + (3.5 if name.endswith("log_tau") else 0))
    return network


def _inputs(network: Any, kind: str, *size: int) -> Tensor:
    """Return inputs of a kind, of the shape that the network gives as an example."""
    x = network.example_input(*size)
    source = torch.Generator().manual_seed(5 + sum(size))
    noise = torch.randn(x.shape, generator=source, dtype=torch.float64)
    kinds: dict[str, Tensor] = {
        "normal": noise,
        "large": 50 * noise,
        "negative": -noise.abs(),
        "positive": noise.abs(),
        "small": 1e-3 * noise,
        "zero": torch.zeros_like(noise),
        "one row": noise * (torch.arange(len(noise)) == 0).view(-1, *[1] * (noise.dim() - 1)),
        "outlier": noise.masked_fill(torch.rand(x.shape, generator=source) < 0.02, 1e3),
        "strided": torch.stack((noise, noise + 1), -1)[..., 0],
    }
    return kinds[kind].to(x.dtype)


def _answer(network: Any, x: Tensor) -> Tensor:
    output = network(x)
    answer: Tensor = output[0] if isinstance(output, tuple) else output
    return answer


def _state(network: nn.Module) -> list[Any]:
    trained = [[n, p.requires_grad, list(p.shape)] for n, p in network.named_parameters()]
    buffers = [[n, list(b.shape), str(b.dtype)] for n, b in network.named_buffers()]
    modes = [m.training for m in network.modules()]
    return [_plain(dict(network.state_dict())), trained, buffers, all(modes)]


def _gradients(network: Any, x: Tensor, answer: Callable[..., Any] = _answer) -> list[Any]:
    x = x.clone().requires_grad_()
    output = answer(network, x)
    weigh = torch.randn(
        output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    p = [w for w in network.parameters() if w.requires_grad]
    found = torch.autograd.grad((output * weigh.to(output)).sum(), [x, *p], allow_unused=True)
    return [output, ["none" if g is None else g for g in found]]


def _neurons(network: Any) -> list[Any]:
    """Return the table of neurons, and where it finds them."""
    columns = network.neurons()
    found = [network.index(one) for one in columns["neuron_id"]]
    found.append(network.index(columns["neuron_id"]))
    for name, column in columns.items():
        found += [network.index(**{name: value}) for value in {*column} - {None}]
    try:
        found.append(network.index("no such neuron"))
    except ValueError as error:
        found.append(str(error))
    return [columns, found]


def _by_name(module: ModuleType, network: Any) -> list[Any]:
    """Return what neurons do that are named: all of them, each in turn."""
    u = _inputs(network, "normal", 3, 4)
    ids = network.neurons()["neuron_id"]
    found: list[Any] = []
    for one, other in itertools.pairwise(ids):
        size = u.shape[:2]
        value = torch.linspace(-1, 2, size.numel(), dtype=u.dtype).view(size)
        done = {"current": {one: value}, "silence": [other], "clamp": {ids[0]: 0.3}}
        done = {**done, "clamp": {}} if ids[0] in (one, other) else done
        found += [network(u, **done), network.rates(u, neurons=[one, other], **done)]
    ports = _shaken(_built(module, inputs=ids[:3][::-1], outputs=ids[-2:])).double()
    return [found, ports(_inputs(ports, "normal", 3, 4))]


def _calibrated(network: Any) -> list[Any]:
    """Return a network's state after calibration, and what training would draw then."""
    network.calibrate(_inputs(network, "positive", 9))
    return [*_state(network), network.training, torch.rand(1)]


def _network(module: ModuleType) -> Found:
    """Yield what networks that map a batch of inputs are tried with."""
    recurrent = "dynamics" in module.PROVENANCE

    def fresh(double: bool = True, shaken: bool = True, **options: Any) -> Any:
        network = _built(module, **options)
        network = _shaken(network) if shaken else network
        return (network.double() if double else network).eval()

    def forward(kind: str, *size: int, double: bool = True, grad: bool = False) -> Any:
        network = fresh(double)
        with torch.set_grad_enabled(grad):
            return network(_inputs(network, kind, *size))

    for seed in range(3):
        yield f"start {seed}", lambda: _state(_built(module, seed)), COARSE * 1e-3
    yield "start, double", lambda: _started_in_double(module), FINE
    yield "example input", lambda: [_built(module).example_input(n) for n in (1, 6)], FINE
    yield "weights", lambda: _weights(fresh()), FINE
    yield "weights after tiny steps", lambda: _weights(_shaken(fresh(), 4, 1e-9)), FINE * 1e-9
    yield "rates", lambda: fresh().rates(_inputs(fresh(), "normal", 5)), FINE
    for kind in ("normal", "large", "negative", "positive", "small", "zero", "one row", "outlier",
                 "strided"):  # fmt: skip
        yield f"{kind} inputs", lambda: forward(kind, 6), FINE
    for n in BATCHES:
        yield f"batch of {n}", lambda: forward("normal", n), FINE
    for n in (1, 6, 40):
        yield f"single, {n}", lambda: forward("normal", n, double=False), COARSE
        yield f"with gradient, {n}", lambda: forward("normal", n, grad=True), FINE
    yield "empty batch", lambda: forward("normal", 0), FINE
    yield "in inference mode", lambda: _inferred(fresh()), FINE
    yield "from the start", lambda: _answer(n := fresh(shaken=False), _inputs(n, "normal", 6)), FINE
    yield (
        "large weights",
        lambda: _answer(_shaken(n := fresh(), 6, 30.0), _inputs(n, "normal", 6)),
        FINE,
    )
    yield "layers", lambda: _layers(fresh()), FINE
    if "neurons" in module.PROVENANCE:
        yield "neurons", lambda: _neurons(fresh()), FINE
    yield "input kept", lambda: _keeps(fresh()), FINE
    yield "many calls", lambda: _calls(fresh()), FINE
    if recurrent:
        for steps in STEPS:
            yield f"{steps} steps", lambda: forward("normal", 3, steps), FINE
            yield f"gradients, {steps} steps", lambda: _over_time(fresh(), steps), LONG
        yield "one step", lambda: _one_step(fresh()), FINE
        yield "by name", lambda: _by_name(module, fresh()), FINE
        yield "state", lambda: _from_state(fresh()), LONG
    for training in (False, True):
        word = "training" if training else "evaluation"
        for n in (1, 2, 9, 33):
            yield (
                f"gradients in {word}, {n}",
                lambda: _gradients(w := fresh().train(training), _inputs(w, "normal", n)),
                LONG,
            )
        yield (
            f"gradients of {word}, single",
            lambda: _gradients(w := fresh(False).train(training), _inputs(w, "normal", 9)),
            5 * COARSE,
        )
        yield (
            f"gradients of {word}, large",
            lambda: _gradients(
                w := _shaken(fresh(), 6, 5.0).train(training), _inputs(w, "large", 9)
            ),
            LONG,
        )
    yield (
        "noise",
        lambda: [_answer(w := fresh().train(), _inputs(w, "normal", n)) for n in (4, 50)],
        FINE,
    )
    optimizers: tuple[Any, ...] = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
    for optimizer in optimizers:
        yield f"trained by {optimizer.__name__}", lambda: _trained(fresh(), optimizer), LONG
    if hasattr(_built(module), "calibrate"):
        for training in (False, True):
            yield "calibrated", lambda: _calibrated(fresh().train(training)), LONG
    yield "after reset", lambda: _reset(_built(module)), COARSE * 1e-3
    yield "saved", lambda: _saved(module, fresh()), FINE
    yield "loaded off the mask", lambda: _loaded(module), FINE
    yield (
        "copied",
        lambda: [
            _answer(w := copy.deepcopy(fresh()), _inputs(w, "normal", 5)),
            _answer(w := pickle.loads(pickle.dumps(fresh())), _inputs(w, "normal", 5))
            if module.__name__ in __import__("sys").modules
            else 0,
        ],
        FINE,
    )
    yield "refusals", lambda: _refusals(module), FINE
    yield "wrong inputs", lambda: _wrong_inputs(fresh()), FINE
    known = inspect.signature(type(_built(module)).__init__).parameters
    for name, values in OPTIONS.items():
        for value in values if name in known else ():
            yield (
                f"option {name}={value}",
                lambda: _optional(module, {name: value}),
                COARSE,
            )
    yield (
        "option refused",
        lambda: [_refused(lambda: module.build(**o)) for o in _nonsense(known)],
        FINE,
    )
    yield "bfloat16", lambda: _answer(w := fresh().bfloat16(), _inputs(w, "normal", 5)), 0.1
    yield "autocast", lambda: _autocast(fresh(False)), 0.05
    yield "torch.func", lambda: _functional(fresh()), LONG
    if not recurrent:
        yield "second gradient", lambda: _second(fresh()), LONG


def _started_in_double(module: ModuleType) -> Any:
    torch.set_default_dtype(torch.float64)
    try:
        return _state(_built(module))
    finally:
        torch.set_default_dtype(torch.float32)


def _weights(network: Any) -> Any:
    layers = [
        [pre, post, getattr(q, "kind", ""), getattr(q, "sign", None), type(q).__name__]
        for pre, post, q in network.named_projections()
    ]
    dense = [
        q.effective_weight() for *_, q in network.named_projections()
        if hasattr(q, "effective_weight")
    ]  # fmt: skip
    return [network.effective_weights(), network.effective_weights(all=True), layers, dense]


def _layers(network: Any) -> Any:
    """Return what each layer of connections makes of activity, one number of it infinite."""
    found = []
    for *_, layer in network.named_projections():
        if not hasattr(layer, "n_pre"):
            continue
        x = torch.randn(5, layer.n_pre, dtype=torch.float64)
        x[2, 0] = torch.inf
        found += [layer(x), layer(x[0]), layer(x.view(5, 1, -1)), layer(torch.zeros_like(x))]
    return found


def _inferred(network: Any) -> Any:
    with torch.inference_mode():
        return _answer(network, _inputs(network, "normal", 6)).clone()


def _keeps(network: Any) -> Any:
    x = _inputs(network, "normal", 6)
    before = x.clone()
    state = copy.deepcopy(dict(network.state_dict()))
    _answer(network, x)
    kept = [torch.equal(v, state[k]) for k, v in network.state_dict().items()]
    return [torch.equal(x, before), all(kept)]


def _calls(network: Any) -> Any:
    x = _inputs(network, "normal", 3)
    with torch.no_grad():
        return [_answer(network, x) for _ in range(40)][-1]


def _over_time(network: Any, steps: int) -> Any:
    found = _gradients(network, _inputs(network, "normal", 3, steps))
    x = _inputs(network, "normal", 14, steps)
    last = network(x)[1]
    p = [w for w in network.parameters() if w.requires_grad]
    more = torch.autograd.grad(last.tanh().sum(), p, allow_unused=True)
    return [found, ["none" if g is None else g for g in more]]


def _one_step(network: Any) -> Any:
    x = _inputs(network, "normal", 5, 1)
    return network(x.squeeze(1 if network.batch_first else 0))


def _from_state(network: Any) -> Any:
    x = _inputs(network, "normal", 4, 6)
    _, last = network(x)
    start = last.detach().clone().requires_grad_()
    output, end = network(x, start)
    grad = torch.autograd.grad(output.sum() + end.tanh().sum(), [start])
    return [output, end, grad, network.rates(x, start.detach())]


def _trained(network: Any, kind: Any) -> Any:
    network.train()
    more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    optimizer = kind(network.parameters(), lr=0.02, weight_decay=0.01, **more)
    for k in range(4):
        optimizer.zero_grad()
        torch.manual_seed(k)
        _answer(network, _inputs(network, "normal", 6 + k)).tanh().mean().backward()
        optimizer.step()
    x = _inputs(network.eval(), "normal", 5)
    return [dict(network.state_dict()), _answer(network, x)]


def _reset(network: nn.Module) -> Any:
    _shaken(network)
    torch.manual_seed(11)
    for part in network.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()  # type: ignore[operator]
    return dict(network.state_dict())


def _saved(module: ModuleType, network: Any) -> Any:
    file = io.BytesIO()
    torch.save(network.float().state_dict(), file)
    file.seek(0)
    other = _built(module, 1)
    answer = other.load_state_dict(torch.load(file, weights_only=True))
    x = _inputs(other.eval(), "normal", 5)
    return [list(answer), _answer(other.double(), x.double())]


def _loaded(module: ModuleType) -> Any:
    network = _built(module, 1)
    state = dict(network.state_dict())
    source = torch.Generator().manual_seed(2)
    state = {
        k: torch.randn(v.shape, generator=source) if v.is_floating_point() and
        k in dict(network.named_parameters()) else v
        for k, v in state.items()
    }  # fmt: skip
    network.load_state_dict(state)
    x = _inputs(network.eval(), "normal", 5)
    return [_answer(network.double(), x.double()), dict(network.state_dict())]


def _refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Exception:
        return True
    return False


def _refusals(module: ModuleType) -> Any:
    """Return which foreign states are refused."""
    network = _built(module)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    trained = dict(network.named_parameters())
    found: list[Any] = []

    def tried(strict: bool = True, **changed: Any) -> bool:
        new = {k: v for k, v in {**state, **changed}.items() if v is not None}
        return _refused(lambda: network.load_state_dict(new, strict=strict))

    for key, value in state.items():
        others: list[Any] = [None, torch.cat((value.reshape(-1), value.reshape(-1)[:1]))]
        if key not in trained and value.numel():
            changed = value.clone().reshape(-1)
            changed[-1] = not changed[-1] if value.dtype == torch.bool else changed[-1] + 1
            others += [changed.view(value.shape), value.flip(0) if value.dim() else -value]
        found.append(
            [key, [tried(**{key: other}) for other in others], tried(False, **{key: None})]
        )
    return [found, tried(foreign=torch.zeros(1))]


def _wrong_inputs(network: Any) -> Any:
    x = _inputs(network, "normal", 3)
    several = [x[..., :-1], x[..., 0], x.unsqueeze(0), x[:, :1]]
    return [_refused(lambda: _answer(network, y)) for y in several]


def _optional(module: ModuleType, options: dict[str, Any]) -> Any:
    network = _built(module, 2, **options)
    state = _plain(dict(network.state_dict()))
    training = _answer(network.train(), _inputs(network, "normal", 6))
    answer = _answer(_shaken(network).double().eval(), _inputs(network, "normal", 5))
    return [state, training, answer]


def _nonsense(known: Any) -> list[dict[str, Any]]:
    odd: dict[str, Any] = {
        "activation": "no", "classes": 0, "fan_in": "no", "gain": "no", "kernel": "no",
        "normalisation": "no", "steps": 1, "tau_ms": 0.0, "dt_ms": -1.0, "noise_std": -1.0,
        "inhibition_strength": 2.0, "image_size": 3,
    }  # fmt: skip
    return [{k: v} for k, v in odd.items() if k in known] + [{"no_such": 1}]


def _autocast(network: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return _answer(network, _inputs(network, "normal", 5)).float()


def _functional(network: Any) -> Any:
    x = _inputs(network, "normal", 4)
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    trained = {k: p.detach() for k, p in network.named_parameters() if p.requires_grad}

    def loss(p: Any) -> Any:
        output = torch.func.functional_call(network, {**state, **p}, (x,))
        return (output[0] if isinstance(output, tuple) else output).sin().sum()

    return [torch.func.functional_call(network, state, (x,)), torch.func.grad(loss)(trained)]


def _second(network: Any) -> Any:
    x = _inputs(network, "normal", 4).requires_grad_()
    p = [w for w in network.parameters() if w.requires_grad]
    first = torch.autograd.grad(
        _answer(network, x).tanh().sum(), [x, *p], create_graph=True, allow_unused=True
    )
    total = torch.stack([g.square().sum() for g in first if g is not None]).sum()
    second = torch.autograd.grad(total, [x, *p], allow_unused=True)
    return ["none" if g is None else g for g in second]


# --- motifs ---------------------------------------------------------------------------------------


def _bodies(module: ModuleType) -> list[dict[str, Any]]:
    """Return options to build with: the defaults, all parts, and others at random."""
    given = {k: p.default for k, p in inspect.signature(module.build).parameters.items()}
    source = random.Random(3)
    found: list[dict[str, Any]] = [{}, {k: True for k, v in given.items() if v is False}]
    for k in range(14):
        n = (1, 2, 3, 5, 8, 13)[k % 6]
        switches = {k: source.random() < 0.6 for k, v in given.items() if isinstance(v, bool)}
        counts = {"n_joints": n, "n_turn_joints": source.randint(1, n)}
        found.append({**switches, **counts, "oscillator_period": source.choice([1, 2, 7, 60])})
    return found


def _called(
    network: Any, batch: int, size: float = 1.0, clock: bool = True, rates: bool = False
) -> Any:
    source = torch.Generator().manual_seed(batch)
    like = next(network.parameters()).dtype

    def noise(*shape: int) -> Tensor:
        return size * torch.randn(shape, generator=source, dtype=torch.float64).to(like)

    joints = noise(batch, network.n_joints)
    step = torch.randint(-9, 200, (batch, 1), generator=source).to(like) / 2
    commands = {name: noise(batch, 1) + 0.5 for name in ("right", "left", "speed")}
    function = network.rates if rates else network
    return function(joints, step, **commands) if clock else function(joints, **commands)


def _motif(module: ModuleType) -> Found:
    """Yield what motifs of any number of joints are tried with."""
    bodies = _bodies(module)

    def body(k: int, shaken: bool = True, double: bool = True) -> Any:
        network = _built(module, k, **bodies[k])
        network = _shaken(network, k, 3.0) if shaken else network
        return network.double() if double else network

    yield "options", lambda: str(inspect.signature(module.build)), FINE
    for k in range(len(bodies)):
        yield (
            f"start {k}",
            lambda: [_state(_built(module, s, **bodies[k])) for s in (k, 50)],
            FINE,
        )
        yield f"rates {k}", lambda: _called(body(k), 5, rates=True), FINE
        yield f"output {k}", lambda: [_called(body(k), n) for n in (1, 3, 40)], FINE
        yield f"output at the start {k}", lambda: _called(body(k, False), 6), FINE
        yield f"large {k}", lambda: _called(body(k), 6, 20.0), FINE
        yield f"single {k}", lambda: _called(body(k, double=False), 6), COARSE
        yield (
            f"gradients {k}",
            lambda: [
                _gradients(n := body(k), torch.zeros(1), lambda n, x: _called(n, 7) + 0 * x),
                _gradients(_shaken(n, k, 1e-3), torch.zeros(1), lambda n, x: _called(n, 7) + 0 * x),
            ],
            FINE,
        )
        yield f"counted {k}", lambda: _counted(body(k)), FINE
        yield f"weights {k}", lambda: _weights(body(k)), FINE
        yield f"trained {k}", lambda: _motif_trained(body(k)), LONG
        yield f"saved {k}", lambda: _motif_saved(module, bodies[k]), FINE
        yield f"refusals {k}", lambda: _motif_refusals(body(k)), FINE
    yield "example input", lambda: [_built(module).example_input(n) for n in (1, 6)], FINE
    odd: list[dict[str, Any]] = [
        {"n_joints": 0}, {"n_joints": True}, {"n_turn_joints": 99}, {"oscillator_period": 0},
        {"oscillator": 1}, {"weight_sharing": "no"}, {"n_joints": 2.5},
    ]  # fmt: skip
    yield "option refused", lambda: [_refused(lambda: module.build(**o)) for o in odd], FINE
    yield "torch.func", lambda: _own_weights(body(0)), FINE


def _counted(network: Any) -> Any:
    found = [_called(network, 4, clock=False) for _ in range(70)]
    if not hasattr(network, "steps"):
        return found
    network.reset(torch.tensor([True, False, True, False]))
    found += [_called(network, 4, clock=False), network.steps]
    found.append(_refused(lambda: _called(network, 6, clock=False)))
    network.reset()
    found += [_called(network, 3, clock=False), network.steps, _called(network, 9, clock=False)]
    with torch.inference_mode():
        found.append(_called(network, 2, clock=False).clone())
    return [*found, network.steps, _refused(lambda: network.reset(torch.zeros(9)))]


def _motif_trained(network: Any) -> Any:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1)
    for k in range(4):
        optimizer.zero_grad()
        output = _called(network, 5 + k)
        if output.requires_grad:
            output.sin().sum().backward()
        optimizer.step()
    return [dict(network.state_dict()), _called(network, 3)]


def _motif_saved(module: ModuleType, options: dict[str, Any]) -> Any:
    network = _shaken(_built(module, **options), 5)
    _called(network, 3, clock=False)
    other = _built(module, **options)
    answer = other.load_state_dict(network.state_dict())
    found: list[Any] = [list(answer), dict(other.state_dict()), _called(other, 4)]
    found.append(_called(copy.deepcopy(network), 4))
    for sharing in (True, False):
        for average in (True, False):
            body = _built(module, **{**options, "weight_sharing": sharing, "n_joints": 9})

            def call() -> list[str]:
                left: list[str] = body.load_weights(network.state_dict(), average=average)
                return left

            found += ["refused" if _refused(call) else call(), dict(body.state_dict())]
    return found


def _motif_refusals(network: Any) -> Any:
    n = network.n_joints
    wrong = [torch.zeros(2, n + 1), torch.zeros(n), torch.full((2, n), math.nan), [0.0] * n]
    tries = [_refused(lambda: network(x, torch.zeros(2, 1))) for x in wrong]
    x = torch.zeros(2, n).to(next(network.parameters()))
    steps = torch.zeros(3, 1), torch.full((2, 1), math.nan)
    return [*tries, *[_refused(lambda: network(x, s)) for s in steps],
            _refused(lambda: network(x, right=torch.zeros(3, 1)))]  # fmt: skip


def _own_weights(network: Any) -> Any:
    """Return what rows with weights of their own give."""
    source = torch.Generator().manual_seed(1)
    own = {
        k: torch.randn(6, generator=source, dtype=torch.float64)
        for k, _ in network.named_parameters()
    }
    joints = torch.randn(6, network.n_joints, generator=source, dtype=torch.float64)
    return torch.func.functional_call(network, own, (joints, torch.arange(6.0)[:, None].double()))
