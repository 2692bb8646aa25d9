"""What a style's networks compute: each style says so itself, in its own folder.

`meaning_of` finds it by the style's name: ``MEANING`` in the module ``meaning`` beside the one in
which the style's class stands, or, if there is none, in the class's own module. So it may use all
of `certify`, and nothing of `emit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar, Protocol

from torch import Tensor

from connectome_compiler.certify.findings import Wrong, finding
from connectome_compiler.certify.importing import alone
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.registry import entry
from connectome_compiler.statement import style_of

MANY = 1_000_000  # connections, each of which is gathered, and kept with its indices
HEAVY = 100_000_000  # products for one sample
Stated = dict[str, Any]  # PROVENANCE
Options = Mapping[str, Any]  # of build()
Values = Mapping[str, tuple[Any, ...]]  # of options, to try


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What a plain reading of the graph makes of an input; ``state`` is that at the end."""

    rates: dict[str, Tensor]  # of every population
    output: Tensor
    state: Tensor | None = None  # of networks in time


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A module that is put to the test: what it states, for the options that it is built with."""

    emitted: ModuleType
    stated: Stated
    meaning: Meaning
    options: Options

    @property
    def n_connections(self) -> int:
        """How many connections are stated."""
        return sum(p["connections"] for p in self.stated["projections"])

    @property
    def n_products(self) -> int:
        """How many products a sample needs, beside one for each connection."""
        return self.meaning.n_products(self.stated)

    @property
    def large(self) -> bool:
        """Whether whole networks are run fewer times: for one check of each kind."""
        return self.n_connections > MANY or self.n_products > HEAVY

    def build(self, **others: Any) -> Any:
        """Return a new network, with ``others`` in the place of options of the case."""
        options = {**self.options, **others}
        with alone(), finding(spelled(options)):
            return self.emitted.build(**options)

    def chosen(self, options: Options) -> Case:
        """Return the case of networks that are built with ``options``."""
        stated = {**self.stated, "options": {**self.stated["options"], **options}}
        return replace(self, stated=self.meaning.restated(stated), options=options)


def spelled(options: Options) -> str:
    """Return how networks with these options are built."""
    return f"build({listed(options)})"


def listed(options: Options) -> str:
    """Return options as arguments of a call."""
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


class Meaning(Protocol):
    """What the certificate and the analysis ask a style. A style's class derives from this one.

    Only `read` must be written. ``stated`` is always what a module has as ``PROVENANCE``; what a
    style adds to it there, its meaning alone reads. Parameters whose name begins with ``log_`` are
    taken for logarithms.

    Networks have ``named_projections()``, ``effective_weights(all)``, ``example_input(batch)`` and
    ``rates(x)``. Those ``in_time`` map a sequence ``(steps, batch, channels)`` and a state, or the
    one at rest, to outputs and the state at the end; ``rates(u, state)`` are laid out as outputs,
    ``example_input(batch, steps)`` as inputs, and ``batch_first`` says if steps come second.
    Those that know their neurons state hashes of the columns of ``neurons()`` as "neurons", and
    ``index(...)`` finds units by them.
    """

    in_time: ClassVar[bool] = False
    calls_layers: ClassVar[bool] = True  # else forward passes take weights out of them
    smooth: ClassVar[bool] = True  # else a last bit can change everything, as where units spike
    reads_neurons: ClassVar[bool] = True  # units are neurons, whose axons were read or missed
    knows_neurons: ClassVar[bool] = False  # ids and names are stated, and found in the module
    refuses_sizes: ClassVar[bool] = True  # inputs of another size
    keys: ClassVar[frozenset[str]] = frozenset({"options", "state"})  # that the statement must have

    # Values for options of build(), of which some are not the default: all options are tried at
    # once, each round with the next value of each. Some options are of what networks start with,
    # and `unscaled` are those under which weights start by the law that is stated of them.
    values: ClassVar[Values] = {}
    nonsense: ClassVar[Options] = {}  # what must be refused
    starts: ClassVar[frozenset[str]] = frozenset()
    unscaled: ClassVar[Options] = {}

    def read(self, network: Any, stated: Stated, x: Tensor, state: Tensor | None = None) -> Read:
        """Compute, from the parameters of ``network`` and none of its code."""
        ...

    def check_built(self, case: Case, network: Any) -> tuple[str, ...]:
        """Check what is particular in a network just built, from a seed of 0; say what it was."""
        return ()

    def check_shaken(self, case: Case, network: Any) -> tuple[str, ...]:
        """Check what is particular in a network with other weights; say what it was."""
        return ()

    def check_units(self, network: Any, stated: Stated) -> None:
        """Compare what single units have of their own."""
        return

    def quiet(self, network: Any) -> None:
        """Put out noise, so that runs compare."""
        return

    def shaken(self, network: Any) -> None:
        """Move parameters with foreign values to where they matter."""
        return

    def choices(self, case: Case) -> tuple[Values, Options]:
        """Return the values of options to try in this network, and those that it must refuse."""
        return self.values, self.nonsense

    def start(self, law: str, stated: Stated) -> float:
        """Return where a number starts by a law that only this style has."""
        raise Wrong("state", f"has starts by a law that is not known: {law!r}")

    def operators(self, stated: Stated) -> dict[str, dict[str, Any]]:
        """Return how connections act, by projection: kind and geometry, where not linear."""
        return {}

    def n_products(self, stated: Stated) -> int:
        """Return how many products a sample needs, beside one for each connection."""
        return 0

    def units(self, stated: Stated) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what is stated of the units of each population, in words of the graph's nodes."""
        yield from ((p["name"], p) for p in stated["populations"])

    def restated(self, stated: Stated) -> Stated:
        """Return what modules would state, had they these ``stated["options"]`` as defaults."""
        return stated

    def wholes(self, stated: Stated) -> tuple[Options, ...]:
        """Return the options under which networks have all connections of the graph."""
        return ({},)

    def battery(self, case: Case) -> Iterator[str] | None:
        """Check all but structure and pulses in a way of its own; None for the usual one."""
        return None

    def activities(
        self, network: Any, rates: dict[str, Tensor], stated: Stated
    ) -> dict[str, tuple[str, Tensor]]:
        """Return the activation of each population, and what it put out: ``(samples, units)``."""
        kinds = {name: node.get("activation", "relu") for name, node in self.units(stated)}
        return {
            name: (kinds.get(name, "linear"), x.flatten(1))
            for name, x in rates.items()
            if x.dim() > 1
        }

    def stability(self, network: Any, stated: Stated) -> Iterator[str]:
        """Say how small differences grow or shrink in time, with the parameters as they are."""
        yield from ()

    def idle(self, network: Any, stated: Stated) -> dict[str, tuple[Tensor, str]]:
        """Return, by parameter, which of its numbers provably do nothing, and why."""
        return {}


def meaning_of(stated: Stated) -> Meaning:
    """Return the meaning of the style that a module says it was made with."""
    name = style_of(stated)
    try:
        point = entry("template", name, "style")
        beside = f"{point.module.rpartition('.')[0]}.meaning"
        here = beside[0] != "." and find_spec(beside) is not None
        found: Meaning = import_module(beside if here else point.module).MEANING
    except UnknownNameError as error:
        problem = f"was made with the style {name!r}, which is not installed here"
        raise Wrong("PROVENANCE", problem, hint="install the package that has it") from error
    except AttributeError as error:
        problem = f"has no meaning: {error}"
        raise CompileError(f"style {name!r}", problem, "reinstall what provides it") from error
    except Exception as error:  # whatever code of a plugin raises on import, a typing error too
        problem = f"has a meaning that cannot be imported: {type(error).__name__}: {error}"
        raise CompileError(f"style {name!r}", problem, "mend what provides it") from error
    return found
