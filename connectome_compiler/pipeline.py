"""The whole line: recipe -> graph -> passes -> module -> certificate."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectome_compiler import files
from connectome_compiler.certify.certificate import Certificate, validate
from connectome_compiler.emit.emission import Emission, check_path
from connectome_compiler.emit.names import recipe_name
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.provenance import NULL_MODEL, Evidence
from connectome_compiler.passes.runner import Ran, run
from connectome_compiler.reading import place
from connectome_compiler.recipe import Made, Recipe, as_settings, load_recipe


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made: the last graph, the module, the files written, the certificate."""

    recipe: str  # the name under which it shows: a modelled column has its own
    graph: Graph
    emission: Emission
    written: tuple[Path, ...]
    certificate: Certificate | None


def warn_if_modelled(graph: Graph) -> None:
    """Warn where modelled connectivity stands in for the measured one."""
    if graph.provenance.caveat:
        _warn(graph.provenance.caveat)


def warn_if_randomised(ran: Ran) -> None:
    """Warn where a null model has taken the place of the wiring; it has notes if it did."""
    if ran.step.name == NULL_MODEL and ran.step.notes:
        _warn(ran.graph.provenance.caveat)


def _warn(text: str) -> None:
    """Warn at the line outside this package that called it."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def load_graph(recipe: str | Path, **settings: Any) -> Graph:
    """Return the graph of a recipe after its passes: ``load_graph("microns-v1", min_synapses=2)``.

    Settings have public names, or ``stage.field`` in a dictionary passed to `load_recipe`. Of a
    folder, return the graph that was saved there.
    """
    if place("recipe", recipe).is_dir():
        return Graph.load(recipe)
    chosen = load_recipe(recipe, settings)
    return compile_graph(chosen, loaded=warn_if_modelled, after=warn_if_randomised)


def compile_graph(
    recipe: Recipe,
    *,
    loaded: Callable[[Graph], None] = lambda graph: None,
    after: Callable[[Ran], None] = lambda ran: None,
) -> Graph:
    """Load a recipe's source and run its passes; ``loaded`` and ``after`` see every stage."""
    return _graph_of(recipe, recipe.make(), loaded, after)


def _graph_of(
    recipe: Recipe,
    made: Made,  # wrong options show before data are read
    loaded: Callable[[Graph], None],
    after: Callable[[Ran], None],
) -> Graph:
    try:
        graph: Graph = made.source.load()
        graph.verify()
        loaded(graph)
        return run(graph, made.passes, after)
    except CompileError as error:
        recipe.put_in_words(error)
        raise


def build(
    recipe: str | Path | Recipe,
    out: str | Path = "model.py",
    *,
    settings: Mapping[str, Any] | Iterable[str] = (),
    verify: bool = True,
    require: str = "any",
    loaded: Callable[[Graph], None] = warn_if_modelled,
    after: Callable[[Ran], None] = warn_if_randomised,
    **options: Any,
) -> Built:
    """Compile ``recipe`` into the module ``out``, and check the module against the graph.

    ``settings`` are options as in ``--set``, and so are ``options``; ``require`` "measured" refuses
    modelled connectivity; ``verify`` False leaves the check out, and torch with it. A module that
    fails its check is not left behind. Raises `CompileError`.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    recipe = recipe.having(as_settings(settings, options))
    if require not in ("any", "measured"):
        raise UnknownNameError.among("--require", str(require), ("any", "measured"))
    out = place("out", out)
    check_path(out)  # wrong names show before anything is read
    made = recipe.make()

    def check(graph: Graph) -> None:
        if require == "measured" and not graph.provenance.measured:
            stood_in = shown_name(recipe, graph) != recipe.name
            hint = f"fill the cache: ccompile fetch {recipe.name}" if stood_in else ""
            if graph.provenance.connectivity is Evidence.UNKNOWN:
                hint = "if you vouch that the connections were measured: --set evidence=measured"
            raise CompileError(f"recipe {recipe.name}", graph.provenance.caveat, hint)
        loaded(graph)

    graph = _graph_of(recipe, made, check, after)
    if require == "measured" and not graph.provenance.measured:
        hint = "leave the null model out"
        raise CompileError(f"recipe {recipe.name}", graph.provenance.caveat, hint)
    name = shown_name(recipe, graph)
    emission: Emission = made.template.emit(graph, name)
    written, certificate = publish(emission, out, verify)
    return Built(name, graph, emission, written, certificate)


def shown_name(recipe: Recipe, graph: Graph) -> str:
    """Return the recipe's name, marked where a surrogate or null model took the data's place."""
    return recipe_name(recipe.name, graph.provenance.dataset)


def publish(
    emission: Emission, out: Path, verify: bool
) -> tuple[tuple[Path, ...], Certificate | None]:
    """Write the module, after it has passed its check in a folder of its own."""
    import tempfile

    if not verify:
        return emission.write(out), None
    with files.scratch(Path(tempfile.gettempdir())) as folder:
        try:
            for name, data in emission.contents(out.name).items():
                (folder / name).write_bytes(data)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise CompileError(str(folder), problem, "make room, or set TMPDIR") from error
        certificate = validate(folder / out.name, shown=str(out))
    return emission.write(out), certificate
