"""Trace a small network operation by operation: what can reach its output, by which formula.

The network runs once on real numbers; beside them go bounds, or formulas, of every number. So it is
the module's own code that is traced, in any style, as long as its operations have a rule here.
Any other operation ends in `NoFormula`, never in a guess.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from connectome_compiler.analysis.inputs import Call, first_output
from connectome_compiler.analysis.ramps import INF, Formula, NoFormula, Variable

Array = npt.NDArray[Any]
MOST_NUMBERS = 4096  # parameters, inputs or outputs that are traced individually
MOST_CASES = 256
MOST_SPLIT = 6  # inputs of one output whose signs are distinguished: 64 cases


@dataclass(frozen=True, slots=True)
class Bounds:
    """The interval in which a number lies, and the names of what it may depend on.

    What can only have one value depends on nothing. Numbers are finite: 0 times any is 0.
    """

    low: float
    high: float
    on: frozenset[str]

    @staticmethod
    def _of(low: float, high: float, on: frozenset[str]) -> Bounds:
        return Bounds(low, high, frozenset() if low == high else on)

    @staticmethod
    def exactly(value: float) -> Bounds:
        """Return a number that is known."""
        return Bounds(float(value), float(value), frozenset())

    def __add__(self, other: Bounds | float) -> Bounds:
        b = other if isinstance(other, Bounds) else Bounds.exactly(other)
        return Bounds._of(self.low + b.low, self.high + b.high, self.on | b.on)

    __radd__ = __add__

    def __mul__(self, other: Bounds | float) -> Bounds:
        b = other if isinstance(other, Bounds) else Bounds.exactly(other)
        ends = [x * y if x and y else 0.0 for x in (self.low, self.high) for y in (b.low, b.high)]
        return Bounds._of(min(ends), max(ends), self.on | b.on)

    __rmul__ = __mul__

    def __neg__(self) -> Bounds:
        return Bounds(-self.high, -self.low, self.on)

    def __sub__(self, other: Bounds | float) -> Bounds:
        return self + (-other)

    def __rsub__(self, other: float) -> Bounds:
        return -self + other

    def clip(self, low: float, high: float) -> Bounds:
        """Return the number cut off below ``low`` and above ``high``."""
        return Bounds._of(min(max(self.low, low), high), min(max(self.high, low), high), self.on)

    def through(self, text: str, function: Callable[[Any], Any]) -> Bounds:
        """Return something else of it, of which nothing is known but what it depends on."""
        if self.low == self.high:
            return Bounds.exactly(float(function(np.array(self.low))))
        return Bounds(-INF, INF, self.on)


Value = Any  # Bounds or Formula; a Python number or bool where it is known


@dataclass(frozen=True, slots=True)
class Choice:
    """A comparison that could come out both ways, and how it did in this case."""

    text: str
    came_out: bool
    holds: Callable[[Any], Any] | None  # of inputs by name, in a formula
    on: frozenset[str]  # in bounds


class Follower(TorchDispatchMode):
    """Keeps a value beside every number of a run; ``prefix`` says how comparisons come out."""

    def __init__(self, known: list[tuple[Tensor, Array]], prefix: tuple[bool, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {id(tensor): (tensor, values) for tensor, values in known}
        self.prefix, self.choices = prefix, list[Choice]()

    def values(self, tensor: Any) -> Any:
        """Return the values of a tensor as an array of objects, shaped alike."""
        if not isinstance(tensor, Tensor):
            return tensor
        if id(tensor) in self.known:
            return self.known[id(tensor)][1]
        return _objects(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and its rule if it is about something followed."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not any(id(tensor) in self.known for tensor in tensors):
            return result
        name = func.overloadpacket.__name__
        if name in SHAPE_ONLY:
            return result
        if func._schema.is_mutable:
            raise NoFormula(f"it changes numbers in place ({name})")
        if name == "_local_scalar_dense":
            return self._one_number(self.values(args[0]).item())
        if name in MOVES:
            made = self._moved(func, args, kwargs, tensors)
        elif name in COMPARISONS:
            made = self._compared(name, *(self.values(a) for a in args))
        elif name in RULES:
            made = RULES[name](*tree_map(self.values, args), **tree_map(self.values, kwargs))
        else:
            raise NoFormula(f"it uses {name}, which cannot be traced")
        results = result if isinstance(result, list | tuple) else [result]
        for tensor, values in zip(results, made if results is result else [made], strict=True):
            array = np.empty(tuple(tensor.shape), object)
            array[...] = values
            self.known[id(tensor)] = (tensor, array)
        return result

    def _moved(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        """Do with the values what the operation does with places."""
        pool: list[Array] = []
        places = {}
        for tensor in tensors:
            first = sum(len(part) for part in pool)
            places[id(tensor)] = torch.arange(first, first + tensor.numel()).view(tensor.shape)
            pool.append(self.values(tensor).ravel())
        taken = np.concatenate(pool)
        args, kwargs = tree_map(
            lambda a: places[id(a)] if isinstance(a, Tensor) else a, (args, kwargs)
        )
        for name in ("dtype", "layout", "device", "memory_format"):
            kwargs.pop(name, None)
        moved = func(*args, **kwargs)
        if isinstance(moved, list | tuple):
            return [taken[part.numpy()] for part in moved]
        return taken[moved.numpy()]

    def _compared(self, name: str, left: Any, right: Any) -> Array:
        answer = np.frompyfunc(lambda a, b: self._compare(name, a, b), 2, 1)
        compared: Array = answer(left, right)
        return compared

    def _compare(self, name: str, left: Value, right: Value) -> bool:
        """Return how a comparison comes out: as it must, else as this case says."""
        compare, sign = COMPARISONS[name]
        if left is right:
            return bool(compare(0, 0))
        if not isinstance(right, Bounds | Formula) and abs(right) == INF:
            return bool(compare(0, right))  # numbers are finite
        if not isinstance(left, Bounds | Formula) and not isinstance(right, Bounds | Formula):
            return bool(compare(left, right))
        if isinstance(left, Bounds) or isinstance(right, Bounds):
            apart = left - right
            outcomes = {bool(compare(end, 0.0)) for end in (apart.low, apart.high)}
            if len(outcomes) == 1 and (apart.low == apart.high or apart.low * apart.high > 0):
                return outcomes.pop()
            if len(outcomes) == 1 and name not in ("eq", "ne"):
                return outcomes.pop()
            return self._choose("", None, apart.on)
        a, b = (v if isinstance(v, Formula) else Formula(float(v)) for v in (left, right))
        if not a.parts and not b.parts:
            return bool(compare(a.constant, b.constant))
        text = f"{a.text} {sign} {b.text}"
        for made in self.choices:
            if made.text == text:
                return made.came_out
        return self._choose(text, lambda given: compare(a.value(given), b.value(given)))

    def _choose(
        self,
        text: str,
        holds: Callable[[Any], Any] | None,
        on: frozenset[str] = frozenset(),
    ) -> bool:
        k = len(self.choices)
        came_out = self.prefix[k] if k < len(self.prefix) else True
        self.choices.append(Choice(text, came_out, holds, on))
        return came_out

    @staticmethod
    def _one_number(value: Value) -> Any:
        if isinstance(value, Formula) and not value.parts:
            return value.constant
        if isinstance(value, Bounds) and value.low == value.high:
            return value.low
        if isinstance(value, Formula | Bounds):
            raise NoFormula("its control flow depends on a computed number")
        return value


def _objects(tensor: Tensor) -> Array:
    array = np.empty(tuple(tensor.shape), object)
    array[...] = np.array(tensor.tolist(), object)
    return array


def _each(function: Callable[..., Value]) -> Callable[..., Array]:
    """Return ``function`` of single values as one of arrays."""
    return lambda *arrays: np.frompyfunc(function, len(arrays), 1)(*arrays)


def _clip(value: Value, low: float | None, high: float | None) -> Value:
    low, high = (-INF if low is None else low), (INF if high is None else high)
    if any(isinstance(end, Bounds | Formula) for end in (low, high)):
        raise NoFormula("a clamp has a variable bound")
    if isinstance(value, Bounds | Formula):
        return value.clip(float(low), float(high))
    return min(max(float(value), low), high)


def _through(text: str, function: Callable[[Any], Any]) -> Callable[[Value], Value]:
    def one(value: Value) -> Value:
        if isinstance(value, Bounds | Formula):
            return value.through(text, function)
        return float(function(np.array(value)))

    return one


def _remainder(x: Array, period: Any) -> Array:
    if isinstance(period, np.ndarray | Bounds | Formula):
        raise NoFormula("it takes a remainder of a variable")
    return _each(_through(f"{{}} mod {period:g}", lambda v: np.mod(v, period)))(x)


def _divided(x: Array, by: Any) -> Array:
    def one(a: Value, b: Value) -> Value:
        if isinstance(b, Bounds | Formula):
            raise NoFormula("it divides by a variable")
        return a * (1.0 / b)

    return _each(one)(x, by)


def _copied(x: Array, dtype: torch.dtype | None = None, **rest: Any) -> Array:
    if dtype is None or dtype == torch.bool:
        return x
    if not dtype.is_floating_point:
        raise NoFormula("it converts numbers to integers")
    return _each(lambda v: float(v) if isinstance(v, bool) else v)(x)


def _affine(bias: Array, x: Array, weight: Array, **rest: Any) -> Array:
    if rest:
        raise NoFormula("it uses addmm with factors")
    product: Array = x @ weight + bias
    return product


def _refuse_alpha(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda a, b, alpha=1: function(a, b if alpha == 1 else b * alpha)


SHAPE_ONLY = {
    "new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like",
    "empty_like", "sym_size", "sym_numel", "_assert_tensor_metadata",
}  # fmt: skip
MOVES = {
    "alias", "cat", "clone", "detach", "diagonal", "expand", "flip", "gather", "index_select",
    "permute", "repeat", "roll", "select", "slice", "split", "split_with_sizes", "squeeze",
    "stack", "t", "transpose", "unbind", "unsqueeze", "view", "_unsafe_view", "lift_fresh",
    "reshape", "_reshape_alias",
}  # fmt: skip
COMPARISONS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "lt": (operator.lt, "<"),
    "le": (operator.le, "<="),
    "gt": (operator.gt, ">"),
    "ge": (operator.ge, ">="),
    "eq": (operator.eq, "=="),
    "ne": (operator.ne, "!="),
}
RULES: dict[str, Callable[..., Any]] = {
    "add": _refuse_alpha(operator.add),
    "sub": _refuse_alpha(operator.sub),
    "rsub": _refuse_alpha(lambda a, b: b - a),
    "mul": operator.mul,
    "div": _divided,
    "neg": operator.neg,
    "abs": _each(lambda v: _clip(v, 0.0, None) + _clip(-v, 0.0, None)),
    "mm": operator.matmul,
    "addmm": _affine,
    "clamp": lambda x, low=None, high=None, **ends: _each(
        lambda v: _clip(v, ends.get("min", low), ends.get("max", high))
    )(x),
    "clamp_min": lambda x, low: _each(lambda v: _clip(v, low, None))(x),
    "clamp_max": lambda x, high: _each(lambda v: _clip(v, None, high))(x),
    "relu": lambda x: _each(lambda v: _clip(v, 0.0, None))(x),
    "hardtanh": lambda x, low=-1.0, high=1.0: _each(lambda v: _clip(v, low, high))(x),
    "where": _each(lambda condition, a, b: a if condition else b),
    "bitwise_not": _each(operator.not_),
    "logical_not": _each(operator.not_),
    "bitwise_and": _each(lambda a, b: bool(a and b)),
    "logical_and": _each(lambda a, b: bool(a and b)),
    "bitwise_or": _each(lambda a, b: bool(a or b)),
    "logical_or": _each(lambda a, b: bool(a or b)),
    "round": _each(_through("round({})", np.round)),
    "floor": _each(_through("floor({})", np.floor)),
    "remainder": _remainder,
    "_to_copy": _copied,
    # Numbers are finite: what it checks holds.
    "isnan": _each(lambda v: False),
    "isinf": _each(lambda v: False),
    "isfinite": _each(lambda v: True),
    "any": lambda x, *rest: np.array(any(x.ravel()), object),
    "all": lambda x, *rest: np.array(all(x.ravel()), object),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which comparisons can come out, and the values of the outputs then."""

    choices: tuple[Choice, ...]
    outputs: Array  # (n,), objects


def cases(network: Any, call: Call, known: list[tuple[Tensor, Array]]) -> Iterator[Case]:
    """Yield the values of the outputs for every outcome of what is compared."""
    waiting: list[tuple[bool, ...]] = [()]
    for _ in range(MOST_CASES):
        if not waiting:
            return
        prefix = waiting.pop()
        with torch.no_grad(), Follower(known, prefix) as follower:
            output = first_output(network, call)
            values = follower.values(output).ravel()
        choices = tuple(follower.choices)
        came_out = tuple(choice.came_out for choice in choices)
        waiting += [(*came_out[:k], not came_out[k]) for k in range(len(prefix), len(choices))]
        yield Case(choices, values)
    raise NoFormula(f"there are more than {MOST_CASES} cases")


def names_of(name: str, tensor: Tensor) -> list[str]:
    """Return the name of every number of an input of one sample, in order."""
    if tensor.numel() == 1:
        return [name]
    places = itertools.product(*(range(n) for n in tensor.shape[1:]))
    return [f"{name}[{', '.join(map(str, place))}]" for place in places]


def too_large(network: Any, call: Call) -> str:
    """Return why a network is not followed number by number, or ""."""
    sizes = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "inputs": sum(t.numel() for t in call.tensors.values()),
    }
    for what, n in sizes.items():
        if n > MOST_NUMBERS:
            return f"{n:,} {what} are too many to be traced individually"
    if any(len(tensor) != 1 for tensor in call.tensors.values()):
        return "its samples are not along the first dimension"
    return ""


def what_reaches_the_output(network: Any, call: Call) -> tuple[set[str], int]:
    """Return the names of the parameters that may act, and the number of cases looked at.

    All others are proved inert: whatever all parameters and inputs are (finite numbers), the output
    does not depend on them. Interval arithmetic, once for inputs of any sign, then for each output
    with the signs of the inputs that it depends on. Raises `NoFormula` where it cannot tell.
    """
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    inputs = {
        name: (key, k)
        for key, tensor in call.tensors.items()
        for k, name in enumerate(names_of(key, tensor))
    }
    signs: dict[str, int] = {}

    def reached() -> tuple[list[set[str]], int]:
        known = []
        for name, p in parameters.items():
            array = np.empty(tuple(p.shape), object)
            array[...] = Bounds(-INF, INF, frozenset([f"w {name}"]))
            known.append((p, array))
        for key, tensor in call.tensors.items():
            values = np.empty(tensor.numel(), object)
            for k, name in enumerate(names_of(key, tensor)):
                low = 0.0 if signs.get(name) == 1 else -INF
                high = 0.0 if signs.get(name) == -1 else INF
                values[k] = Bounds(low, high, frozenset([f"x {name}"]))
            known.append((tensor, values.reshape(tuple(tensor.shape))))
        found: list[set[str]] = []
        every = list(cases(network, call, known))
        for case in every:
            branches = frozenset[str]().union(*(choice.on for choice in case.choices))
            outputs = [
                (v.on if isinstance(v, Bounds) else frozenset()) | branches for v in case.outputs
            ]
            found = found or [set() for _ in outputs]
            for all_of, now in zip(found, outputs, strict=True):
                all_of |= now
        return found, len(every)

    first, n_cases = reached()
    acting: set[str] = set()
    split: dict[frozenset[str], list[int]] = {}
    for k, on in enumerate(first):
        weights = {name for name in on if name.startswith("w ")}
        seen = frozenset(name[2:] for name in on if name.startswith("x "))
        seen = frozenset(name for name in seen if inputs[name][0] != "step")
        if len(seen) > MOST_SPLIT:
            acting |= weights
        elif weights:
            split.setdefault(seen, []).append(k)
    for seen, outputs in split.items():
        for pattern in itertools.product((1, -1), repeat=len(seen)):
            signs = dict(zip(sorted(seen), pattern, strict=True))
            found, n = reached()
            n_cases += n
            acting |= {w for k in outputs for w in found[k] if w.startswith("w ")}
    return {name[2:] for name in acting}, n_cases


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The outputs as formulas of the inputs, at the parameters as they are."""

    lines: tuple[str, ...]
    evaluate: Callable[[dict[str, npt.NDArray[np.float64]]], npt.NDArray[np.float64]]


def closed_form(network: Any, call: Call) -> ClosedForm:
    """Return the outputs as formulas; raise `NoFormula` where none is found."""
    known = [(p, _objects(p)) for p in network.parameters()]
    for key, tensor in call.tensors.items():
        values = np.empty(tensor.numel(), object)
        for k, name in enumerate(names_of(key, tensor)):
            values[k] = Formula.of(Variable(name, itemgetter(name)))
        known.append((tensor, values.reshape(tuple(tensor.shape))))
    found = []
    for case in cases(network, call, known):
        as_formulas = [v if isinstance(v, Formula) else Formula(float(v)) for v in case.outputs]
        found.append((case.choices, as_formulas))
    n = len(found[0][1])
    return ClosedForm(
        tuple(_merged([_spelled([(c, f[k].text) for c, f in found]) for k in range(n)])),
        lambda given: _evaluated(found, given),
    )


def _evaluated(found: Any, given: Any) -> npt.NDArray[np.float64]:
    """Return the outputs, ``(n_samples, n_outputs)``, each sample in the case that it is in."""
    n_samples = len(next(iter(given.values())))
    total = np.zeros((n_samples, len(found[0][1])))
    for choices, formulas in found:
        here = np.ones(n_samples, np.bool_)
        for choice in choices:
            here &= np.broadcast_to(choice.holds(given), (n_samples,)) == choice.came_out
        for k, formula in enumerate(formulas):
            total[here, k] = np.broadcast_to(formula.value(given), (n_samples,))[here]
    return total


def _spelled(by_case: list[tuple[tuple[Choice, ...], str]]) -> str:
    """Spell one output: one formula, or one per case."""
    texts = [text for _, text in by_case]
    if len(set(texts)) == 1:
        return texts[0]
    parts = []
    for choices, text in by_case:
        words = " and ".join(c.text if c.came_out else f"not {c.text}" for c in choices)
        parts.append(f"{text} where {words}")
    if len(by_case) == 2 and len(by_case[0][0]) == 1:
        parts[1] = f"else {by_case[1][1]}"
    return ", ".join(parts)


def _merged(texts: list[str]) -> Iterator[str]:
    """Spell outputs, those that differ by their place alone in one line."""

    def general(k: int) -> str:
        def place(match: re.Match[str]) -> str:
            by = int(match[1]) - k
            return f"[i {'+' if by > 0 else '-'} {abs(by)}]" if by else "[i]"

        return re.sub(r"\[(\d+)\]", place, texts[k])

    for _, run in itertools.groupby(range(len(texts)), general):
        members = list(run)
        first, last = members[0], members[-1]
        if first == last:
            yield f"output[{first}] = {texts[first]}"
        elif texts[first] == texts[last]:
            yield f"output[{first}..{last}] = {texts[first]}"
        else:
            yield f"output[i] = {general(first)}, i = {first}..{last}"
