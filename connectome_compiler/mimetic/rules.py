"""Which layers of a network get a window, and which window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.nn.window_layers import GAINS, WINDOW_KERNELS
from connectome_compiler.nn.window_rules import FORMS, WindowRule

KEEP = "keep"
KINDS: dict[str, type[nn.Module]] = {
    "linear": nn.Linear,
    "conv2d": nn.Conv2d,
    "conv_transpose2d": nn.ConvTranspose2d,
}
CHOOSING = ("names", "kinds", "min_channels", "skip_first", "skip_last", "every", "form")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which layers, and which window they get. Of several rules, the first that fits a layer wins.

    Which layers: all conditions must hold.

    - ``names``: one pattern or several for the dotted name, as in `named_modules`; ``*`` also
      matches dots, so "up.*.conv?" is every ``conv1`` and ``conv2`` below ``up``.
    - ``kinds``: any of "linear", "conv2d", "conv_transpose2d".
    - ``min_channels``: both the inputs (of one group) and the outputs are at least so many.
    - ``skip_first``, ``skip_last``, ``every``: of the layers that the conditions above choose, in
      the order of `named_modules`, leave out so many at either end, then take every k-th of the
      rest, starting with its first.

    Which window: ``form``, and the numbers of `WindowRule` that belong to it; or ``form="keep"``,
    which leaves the layer as it is. Here ``mode`` is "clean" unless "paper" is asked for. Layers
    that draw their mask get ``seed``, ``seed + 1``, ... in order.

    ``grid_widths`` are those of a "2d" window: "root" takes the divisor of the number of
    channels that is nearest to its square root, for inputs and outputs each, and, where that window
    would leave a unit unconnected, the nearest pair that does not (the table says so). "paper" is
    ``2**round(log2(outputs) / 2)`` on both sides, as the published diffusion model has it. A pair
    of numbers is (inputs, outputs). ``gain`` rescales the weights once, and ``kernel`` is how the
    product is computed: see `WindowLinear`.

    Raises `CompileError` for numbers that no layer could use, and for those that ``form`` ignores.
    """

    names: str | Sequence[str] = "*"
    kinds: str | Sequence[str] = tuple(KINDS)
    min_channels: int = 1
    skip_first: int = 0
    skip_last: int = 0
    every: int = 1
    form: str = "2d"
    radius: float = 0.5
    mode: str = "clean"
    torus: bool = False
    grid_widths: str | tuple[int, int] = "root"
    reduction: float | None = None
    halfbandwidth: float | None = None
    width: int | None = None
    seed: int = 0
    gain: str = "1/usage"
    kernel: str = "auto"

    def __post_init__(self) -> None:
        for name in ("names", "kinds"):
            given = getattr(self, name)
            words = (given,) if isinstance(given, str) else given
            if not isinstance(words, Sequence) or not all(isinstance(w, str) for w in words):
                raise CompileError("rule", f"{name} must be one or several strings, not {given!r}")
            object.__setattr__(self, name, tuple(words))
        named = [("window form", self.form, (*FORMS, KEEP)), ("gain", self.gain, GAINS)]
        named += [("kernel", self.kernel, WINDOW_KERNELS)]
        named += [("kind of layer", kind, tuple(KINDS)) for kind in self.kinds]
        if isinstance(self.grid_widths, str):
            named += [("choice of grid widths", self.grid_widths, ("root", "paper"))]
        for what, name, known in named:
            if name not in known:
                raise UnknownNameError.among(what, name, known)
        for name, least in (("min_channels", 1), ("skip_first", 0), ("skip_last", 0), ("every", 1)):
            if not isinstance(value := getattr(self, name), int) or value < least:
                problem = f"{name} must be a whole number of at least {least}, not {value!r}"
                raise CompileError(self.where, problem)
        numbers = [] if self.form == KEEP else [*FORMS[self.form], "gain", "kernel"]
        if self.form == "2d":
            numbers = [n for n in numbers if n not in ("pre_width", "post_width")] + ["grid_widths"]
        for option in fields(self):
            if option.name in (*CHOOSING, *numbers):
                continue
            if getattr(self, option.name) != option.default:
                problem = f"form {self.form!r} has no {option.name}"
                raise CompileError(self.where, problem, f"it has {', '.join(numbers) or 'none'}")
        if self.form == "gaussian" and self.kernel == "patches":
            problem = "form 'gaussian' keeps all weights, so there are no patches"
            raise CompileError(self.where, problem, "kernel='auto'")
        if self.form != KEEP:
            self._check_numbers()

    def _check_numbers(self) -> None:
        """Refuse what no layer could use."""
        widths = (1, 1) if isinstance(self.grid_widths, str) else self.grid_widths
        if not isinstance(widths, Sequence) or len(widths) != 2:
            problem = f"grid_widths must be two, of inputs and outputs, not {widths!r}"
            raise CompileError(self.where, problem, "such as (16, 16), or 'root'")
        try:
            self.window(*widths)
        except ValueError as error:
            raise CompileError(self.where, str(error)) from None

    def window(
        self, pre_width: int, post_width: int, *, drawn: int = 0, transposed: bool = False
    ) -> WindowRule:
        """Return the window of a layer; ``drawn`` counts those that drew a mask before it."""
        numbers: dict[str, Any] = {"pre_width": pre_width, "post_width": post_width}
        numbers = {n: numbers[n] if n in numbers else getattr(self, n) for n in FORMS[self.form]}
        if "seed" in numbers:
            numbers["seed"] += drawn
        return WindowRule(self.form, **numbers, transposed=transposed)

    @property
    def where(self) -> str:
        """Return how errors name the rule."""
        return f"rule for {', '.join(self.names)}"
