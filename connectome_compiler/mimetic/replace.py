"""Put windows into an existing network, and count the weights it uses.

plan(net, rules)           the table of what would be used, without building anything
mimic(net, rules)          a copy of the network whose chosen layers are windowed
usage_table(net)           the table of what is used, with every denominator named
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from connectome_compiler.errors import CompileError
from connectome_compiler.mimetic.rules import KEEP, KINDS, Rule
from connectome_compiler.mimetic.usage import LayerUsage, UsageTable
from connectome_compiler.nn.window_layers import (
    WindowConv2d,
    WindowConvTranspose2d,
    WindowLinear,
)
from connectome_compiler.nn.window_rules import PER_WEIGHT, WindowRule, widths_near

OURS = {"mask", "values", "window", "gain", "kernel", "usage", "sizes"}  # of windowed layers
OURS |= {"factor", "live", "pre", "order", "place", "kept"}
WINDOWED = (WindowLinear, WindowConv2d, WindowConvTranspose2d)
MOST_GRIDS = 64  # pairs of widths tried before a layer is refused

Plain = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
Windowed = WindowLinear | WindowConv2d | WindowConvTranspose2d
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def mimic(module: ModuleT, rules: Rule | Sequence[Rule], *, inplace: bool = False) -> ModuleT:
    """Return ``module`` with the layers that ``rules`` choose windowed; the rest stays as it is.

    Weights on the mask are kept (times the gain of the rule), and so are biases, hooks, training
    mode, device, dtype, ``requires_grad``, and modules that appear in several places. Works on a
    deep copy; ``inplace=True`` changes ``module`` itself and keeps its parameters, the same
    tensors, so that an optimiser goes on; kernels are then "dense". If ``module`` itself is the
    layer, a new layer is returned.

    Raises `CompileError` for a rule that fits no layer, for a window that cannot work in a layer,
    and for chosen layers whose weight is not a plain parameter: parametrised, pruned, quantised,
    lazy, tied to another module, of a class derived from torch's, or windowed already.
    """
    chosen = _choose(module, _as_rules(rules))  # all errors come before any change
    if inplace:
        for c in chosen:
            if c.layer is module:
                raise CompileError("mimic", "the module is itself the layer to replace inplace")
            if c.kernel == "patches":
                problem = "patches need a different parameter, which an optimiser would not know"
                raise CompileError(f"layer {c.name!r}", problem, 'kernel="dense", or a copy')
        chosen = [replace(c, kernel="dense") for c in chosen]
    else:
        module = copy.deepcopy(module)
    windowed: dict[int, nn.Module] = {}
    for c in chosen:
        layer = cast(Plain, module.get_submodule(c.name))
        windowed[id(layer)] = _windowed(layer, c)
    if id(module) in windowed:
        return cast(ModuleT, windowed[id(module)])
    for parent in list(module.modules()):
        for key, child in parent._modules.items():
            if id(child) in windowed:
                parent._modules[key] = windowed[id(child)]
    return module


def plan(module: nn.Module, rules: Rule | Sequence[Rule]) -> UsageTable:
    """Return the usage before and after ``mimic(module, rules)``, without building anything.

    Raises what `mimic` raises.
    """
    chosen = {c.name: c for c in _choose(module, _as_rules(rules))}
    table = usage_table(module)
    rows = []
    for u in table.layers:
        if (c := chosen.get(u.name)) is not None:
            u = replace(u, window=c.window, n_kept=c.n_kept(), note=c.note)
        rows.append(u)
    return replace(table, layers=tuple(rows))


def usage_table(module: nn.Module) -> UsageTable:
    """Count the weights that act in every linear and convolution layer of ``module``.

    "all weights" are all parameters of two or more dimensions; "all parameters" adds biases and
    normalisation. A "gaussian" window has no zero, so it uses all of its weights.
    """
    layers, seen = [], set()
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear | _ConvNd):
            continue
        weight = layer._parameters.get("weight")
        if weight is None or id(weight) in seen or _is_lazy(layer):
            continue
        seen.add(id(weight))
        shape, n_kept, window = tuple(weight.shape), weight.numel(), None
        if isinstance(layer, WINDOWED):  # its weight may be packed
            shape, window = tuple(layer.mask.shape), layer.window
            n_kept = round(layer.usage * layer.mask.numel())
        layers.append(
            LayerUsage(
                name=name,
                kind=type(layer).__name__,
                shape=shape,
                window=window,
                n_weights=math.prod(shape),
                n_before=n_kept,
                n_kept=n_kept,
                is_convolution=isinstance(layer, _ConvNd),
            )
        )
    others = [p for p in module.parameters() if id(p) not in seen and not _is_lazy(p)]
    return UsageTable(
        tuple(layers),
        n_other=sum(p.numel() for p in others),
        n_other_weights=sum(p.numel() for p in others if p.dim() >= 2),
    )


# --- choosing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Choice:
    """A layer by name, and the window it gets."""

    name: str
    layer: nn.Module
    window: WindowRule
    gain: str
    kernel: str
    note: str = ""

    def n_kept(self) -> int:
        n_post, n_pre, n_positions = _sizes(self.layer)
        if self.window.form in PER_WEIGHT:
            return self.window.draw(n_post, n_pre, n_positions).count(1)
        return self.window.count(n_post, n_pre) * n_positions


def _as_rules(rules: Rule | Sequence[Rule]) -> tuple[Rule, ...]:
    rules = (rules,) if isinstance(rules, Rule) else tuple(rules)
    for rule in rules:
        if not isinstance(rule, Rule):
            raise CompileError(
                "mimic", f"{rule!r} is not a rule", "Rule('names', form='2d', radius=0.4)"
            )
    return rules


def _choose(module: nn.Module, rules: tuple[Rule, ...]) -> list[_Choice]:
    """Return the layers that get a window, in the order of `named_modules`."""
    names: dict[int, list[str]] = {}  # a shared layer has several
    layers: dict[int, nn.Module] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        if _kind(layer) is not None:
            names.setdefault(id(layer), []).append(name)
            layers[id(layer)] = layer
    taken: dict[int, tuple[Rule, int]] = {}
    for rule in rules:
        fit = [key for key, layer in layers.items() if _fits(rule, layer, names[key])]
        fit = fit[rule.skip_first : len(fit) - rule.skip_last][:: rule.every]
        if not fit:
            known = ", ".join(n or "." for ns in names.values() for n in ns[:1])
            raise CompileError(
                rule.where,
                "it matches no layer: check names, kinds, min_channels and positions",
                f"there are {known or 'no linear or convolution layers'}",
            )
        for key in fit:
            taken.setdefault(key, (rule, sum(r is rule for r, _ in taken.values())))
    owners: dict[int, list[str]] = {}
    for name, owner in module.named_modules():
        for parameter in owner._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(name)
    elsewhere = _in_plain_lists(module)
    chosen = []
    for key, layer in layers.items():
        if key not in taken or (rule := taken[key][0]).form == KEEP:
            continue
        name = names[key][0]
        _refuse(layer, name, owners, elsewhere)
        chosen.append(_choice(rule, taken[key][1], name, layer))
    return chosen


def _kind(layer: nn.Module) -> str | None:
    """Return the kind of a layer; other libraries' layers of the same class name count."""
    for kind, cls in KINDS.items():
        if isinstance(layer, cls) or type(layer).__name__ == cls.__name__:
            return kind
    return None


def _fits(rule: Rule, layer: nn.Module, names: list[str]) -> bool:
    if _kind(layer) not in rule.kinds:
        return False
    if not any(fnmatchcase(name, pattern) for name in names for pattern in rule.names):
        return False
    weight = getattr(layer, "weight", None)
    known = isinstance(weight, Tensor) and not _is_lazy(weight) and weight.dim() >= 2
    known = known or isinstance(layer, WINDOWED)
    return not known or min(_sizes(layer)[:2]) >= rule.min_channels


def _in_plain_lists(module: nn.Module) -> dict[int, str]:
    """Return the lists, tuples and dicts that hold layers unknown to torch."""
    found = {}
    for name, owner in module.named_modules():
        for key, value in vars(owner).items():
            if key == "_modules" or not isinstance(value, list | tuple | dict):
                continue
            for held in value.values() if isinstance(value, dict) else value:
                found[id(held)] = f"{name}.{key}".lstrip(".")
    return found


def _refuse(
    layer: nn.Module, name: str, owners: dict[int, list[str]], elsewhere: dict[int, str]
) -> None:
    """Raise `CompileError` if a window could not hold in this layer, or would change more."""
    kind = _kind(layer)
    assert kind is not None
    cls = KINDS[kind]
    problem, hint = "", f"leave it as it is: Rule({name!r}, form='keep') before the others"
    if isinstance(layer, WINDOWED):
        problem = f"it has a window already, {layer.window!r}"
    elif _is_lazy(layer):
        problem, hint = "it is lazy and has no shape yet", "call the network once, then mimic it"
    elif isinstance(layer, cls) and layer._parameters.get("weight") is None:
        problem = "its weight is computed (parametrised, normalised, pruned), not a plain parameter"
        hint = "remove the parametrisation, mimic, then put it back; or " + hint
    elif type(layer) is not cls:
        found = f"{type(layer).__module__}.{type(layer).__qualname__}"
        problem = f"it is a {found}, not a torch.nn.{cls.__name__}"
    elif "forward" in vars(layer):
        problem = "its forward was replaced on the instance, which would bypass the window"
    elif own := sorted(OURS & {*vars(layer), *layer._buffers, *layer._parameters, *layer._modules}):
        problem = f"it has {' and '.join(own)}, names that the window needs"
    elif id(layer) in elsewhere:
        problem = (
            f"it is also in {elsewhere[id(layer)]!r}, not a torch container, and would stay there"
        )
        hint = f"make that an nn.ModuleList or an nn.ModuleDict; or {hint}"
    elif len(tied := owners[id(layer.weight)]) > 1:
        problem = f"its weight is tied: {' and '.join(tied)} share it"
    if problem:
        raise CompileError(f"layer {name or '.'!r}", problem, hint)


def _choice(rule: Rule, k: int, name: str, layer: nn.Module) -> _Choice:
    """Return the window that ``rule`` gives to the ``k``-th layer it takes."""
    n_post, n_pre, n_positions = _sizes(layer)
    transposed, note = _transposed(layer), ""
    try:
        if rule.form == "2d":
            window, note = _on_grids(rule, n_post, n_pre, transposed)
        else:
            window = rule.window(0, 0, drawn=k, transposed=transposed)
        window.check(n_post, n_pre, n_positions)
        if rule.kernel == "patches":  # which some layers do not have
            with warnings.catch_warnings(action="ignore"):
                _build(
                    cast(Plain, layer), {"window": window, "kernel": "patches", "device": "meta"}
                )
    except ValueError as error:
        raise CompileError(
            f"layer {name or '.'!r}, {rule.where}",
            str(error),
            f"or leave it as it is: Rule({name!r}, form='keep') before the others",
        ) from None
    return _Choice(name, layer, window, rule.gain, rule.kernel, note)


def _on_grids(rule: Rule, n_post: int, n_pre: int, transposed: bool) -> tuple[WindowRule, str]:
    """Return the first window, the best first, that reaches all units, and why if it had to move.

    If none does, the best one: its check says what is wrong.
    """
    windows = [
        rule.window(*widths, transposed=transposed)
        for widths in _grids(rule.grid_widths, n_post, n_pre)
    ]
    best = windows[0]
    dead = best.dead(n_post, n_pre)
    if dead == (0, 0):
        return best, ""
    what = ("outputs without input", "inputs without output")
    lost = " and ".join(f"{n} {w}" for n, w in zip(dead, what, strict=True) if n)
    for window in windows[1:]:
        if window.dead(n_post, n_pre) == (0, 0):
            widths = f"{best.pre_width} to {best.post_width}"
            return window, f"grids nearer to square, {widths} wide, would leave {lost}"
    return best, ""


def _grids(widths: str | tuple[int, int], n_post: int, n_pre: int) -> list[tuple[int, int]]:
    """Return the widths (inputs, outputs) to try, the best first."""
    if widths == "paper":
        width = 2 ** round(math.log2(n_post) / 2)
        return [(width, width)]
    if not isinstance(widths, str):
        return [widths]

    def apart(width: int, n: int) -> float:
        return abs(width / math.sqrt(n) - 1)

    pairs = product(widths_near(n_pre, 1, n_pre), widths_near(n_post, 1, n_post))  # all divisors
    key = {pair: (apart(pair[0], n_pre) + apart(pair[1], n_post), *pair) for pair in pairs}
    return sorted(key, key=key.__getitem__)[:MOST_GRIDS]


def _sizes(layer: nn.Module) -> tuple[int, int, int]:
    """Return outputs, inputs (each as the weight has them, per group) and kernel positions."""
    weight = layer.mask if isinstance(layer, WINDOWED) else cast(Tensor, layer.weight)
    first, second, *kernel = weight.shape
    if _transposed(layer):
        first, second = second, first
    return first, second, math.prod(kernel)


def _transposed(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvTransposeNd)


def _is_lazy(thing: nn.Module | Tensor) -> bool:
    if isinstance(thing, nn.Module):
        return any(_is_lazy(p) for p in thing._parameters.values() if p is not None)
    return isinstance(thing, nn.parameter.UninitializedParameter)


# --- replacing ------------------------------------------------------------------------------------


def _build(layer: Plain, options: dict[str, Any]) -> Windowed:
    if isinstance(layer, nn.Linear):
        return WindowLinear(layer.in_features, layer.out_features, **options)
    cls: type[WindowConv2d | WindowConvTranspose2d] = WindowConv2d
    options |= {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    options |= {"groups": layer.groups, "padding_mode": layer.padding_mode}
    if isinstance(layer, nn.ConvTranspose2d):
        cls = WindowConvTranspose2d
        options["output_padding"] = layer.output_padding
    size = cast(tuple[int, int], layer.kernel_size)
    return cls(layer.in_channels, layer.out_channels, size, **options)


def _windowed(layer: Plain, c: _Choice) -> Windowed:
    """Return the windowed twin of ``layer``, with its parameters, buffers, hooks and mode."""
    weight = layer.weight
    options: dict[str, Any] = {
        "bias": layer.bias is not None,
        "window": c.window,
        "gain": c.gain,
        "kernel": c.kernel,
        "device": weight.device,
        "dtype": weight.dtype,
    }
    # What it draws is overwritten: the caller's stream stays where it is.
    devices = [weight.device] if weight.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        twin = _build(layer, options)
    with torch.no_grad():
        twin.start_from(weight, twin.mask)  # a copy, or to be changed in place
        if twin.kernel == "dense":
            twin.weight = weight
        else:
            twin.set_weight(weight)
            twin.weight.requires_grad_(weight.requires_grad)
    twin._parameters.update({n: p for n, p in layer._parameters.items() if n != "weight"})
    for name, value in vars(layer).items():
        mine = vars(twin).get(name)
        if name == "_parameters":
            continue
        if isinstance(mine, dict):  # hooks, buffers, submodules
            mine |= {key: entry for key, entry in value.items() if key not in mine}
        elif isinstance(mine, set):
            mine |= value
        elif name not in vars(twin) or name in ("training", "_is_full_backward_hook"):
            vars(twin)[name] = value
    return twin
