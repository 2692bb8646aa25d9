"""The whole line: recipe -> graph -> passes -> module -> certificate.

What is public in it is the package's own interface: `connectome_compiler.build` and its parts.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from connectome_compiler import files
from connectome_compiler.certify.certificate import Certificate, validate
from connectome_compiler.controls import Compared, check_act, checked, run_compared
from connectome_compiler.emit.emission import Emission, check_path
from connectome_compiler.emit.names import recipe_name
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.provenance import NULL_MODEL, Evidence
from connectome_compiler.options import configure
from connectome_compiler.passes.runner import Ran
from connectome_compiler.reading import place
from connectome_compiler.recipe import Made, Recipe, as_settings, load_recipe
from connectome_compiler.registry import find, known
from connectome_compiler.text import Row, html_heading, html_table


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made: the last graph, the module, the files written, the certificate."""

    name: str  # under which it shows: of the recipe or data, with the marks of modelled ones
    graph: Graph
    emission: Emission
    written: tuple[Path, ...]  # the module is the last
    certificate: Certificate | None

    def load(self) -> ModuleType:
        """Import the module that was written: ``built.load().build()`` is the network.

        Like any import it is then known by the file's name, where `pickle` looks for its classes.
        Raises `CompileError` if another module is, one that was not built.
        """
        from connectome_compiler.certify.importing import run_module

        path = self.written[-1]
        known_one = sys.modules.get(path.stem)
        if known_one is not None and not hasattr(known_one, "PROVENANCE"):
            problem = f"has the name of a module that is imported already, {path.stem}"
            raise CompileError(str(path), problem, "build it under another name")
        return run_module(path, path.read_bytes(), path.stem)

    def _repr_html_(self) -> str:
        from connectome_compiler.ir.printing import as_html

        rows: list[Row] = [("", self.name)]
        rows += [("written", str(path)) for path in self.written]
        checked = (
            self.certificate._repr_html_()
            if self.certificate
            else html_heading("not verified: ", f"cc.verify({str(self.written[-1])!r}) checks it")
        )
        return html_table(rows) + as_html(self.graph) + checked


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


def load(adapter: str, /, **options: Any) -> Graph:
    """Return the graph that an adapter reads, before any pass: ``load("celegans")``.

    ``options`` are the adapter's: see ``ccompile list ADAPTER``. Raises `CompileError`.
    """
    graph: Graph = configure(adapter, find("adapter", adapter), options).load()
    graph.verify()
    warn_if_modelled(graph)
    return graph


def load_graph(recipe: str | Path | Recipe, /, *, after: str = "", **settings: Any) -> Graph:
    """Return the graph of a recipe after its passes: ``load_graph("microns-v1", min_synapses=2)``.

    ``after`` stops earlier: after the stage of that name, or "source", before any pass. Settings
    have the names that ``ccompile list RECIPE`` shows; ``**{"stage.field": value}`` reaches any.
    Of a folder, return the graph that was saved there. Raises `CompileError`.
    """
    if not isinstance(recipe, Recipe) and place("recipe", recipe).is_dir():
        for given in (*settings, *(["after"] if after else [])):
            raise CompileError(given, f"{recipe} is a saved graph", "only a recipe can be changed")
        return Graph.load(recipe)
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    return compile_graph(
        chosen.having(settings),
        until=after,
        loaded=warn_if_modelled,
        after=warn_if_randomised,
    )


def compile_graph(
    recipe: Recipe,
    *,
    until: str = "",
    loaded: Callable[[Graph], None] = lambda graph: None,
    after: Callable[[Ran], None] = lambda ran: None,
) -> Graph:
    """Load a recipe's source and run its passes, all or ``until`` the stage of that name has run.

    ``loaded`` and ``after`` see every stage.
    """
    made = recipe.make()
    if until:
        order = [recipe.source.id, *(stage.id for stage in recipe.passes)]
        if until not in order:
            raise UnknownNameError.among(f"recipe {recipe.name}: stage", until, order)
        reached = order[: order.index(until) + 1]
        taken = sum(id_ in reached for id_ in made.ids)
        made = replace(made, passes=made.passes[:taken], ids=made.ids[:taken])
    return _compared(recipe, made, loaded, after).graph


def _compared(
    recipe: Recipe,
    made: Made,  # wrong options show before data are read
    loaded: Callable[[Graph], None],
    after: Callable[[Ran], None],
) -> Compared:
    try:
        graph: Graph = made.source.load()
        graph.verify()
        loaded(graph)
        return run_compared(graph, made, after)
    except CompileError as error:
        recipe.put_in_words(error)
        raise


def build(
    source: str | Path | Recipe | Graph,
    /,  # "source" is an option of recipes as well
    out: str | Path = "model.py",
    *,
    style: Any = None,
    name: str = "",
    settings: Mapping[str, Any] | Iterable[str] = (),
    verify: bool = True,
    require: str = "any",
    loaded: Callable[[Graph], None] = warn_if_modelled,
    after: Callable[[Ran], None] = warn_if_randomised,
    **options: Any,
) -> Built:
    """Compile a recipe, by name or path, or a graph, into the module ``out``, and check it.

    A graph needs a ``style``: one that was made, such as ``styles.Recurrent(dt_ms=10)``, or the
    name of one, whose options are then given here. Its module is called by ``name``, or else by
    its data set. A recipe has its style; ``settings`` are its options as in ``--set``, and so are
    ``options``.

    A control, such as a null model, is refused if the module would be the same without it.
    ``require`` "measured" refuses modelled connectivity; ``verify`` False leaves the check out, and
    torch with it. A module that fails its check is not left behind. Raises `CompileError`.
    """
    if require not in ("any", "measured"):
        raise UnknownNameError.among("--require", str(require), ("any", "measured"))
    out = place("out", out)
    check_path(out)  # wrong names show before anything is read
    if isinstance(source, Graph):
        template = _style(style, as_settings(settings, options))
        graph, name = source, name or source.provenance.dataset
        graph.verify()
        loaded(graph)
        _must_be_measured(graph, require)
        graph = checked(graph)
        name = recipe_name(name, graph.provenance.dataset)
        emission: Emission = template.emit(graph, name)
    else:
        recipe = source if isinstance(source, Recipe) else load_recipe(source)
        if style is not None:
            hint = f"of its graph: build(load_graph({recipe.name!r}), style=...)"
            raise CompileError("style", f"the recipe {recipe.name} has its own", hint)
        recipe = recipe.having(as_settings(settings, options))
        made = recipe.make()
        template, name = made.template, name or recipe.name

        def check(graph: Graph) -> None:
            _must_be_measured(graph, require, recipe)
            loaded(graph)

        compared = _compared(recipe, made, check, after)
        graph = compared.graph
        _must_be_measured(graph, require)
        name = recipe_name(name, graph.provenance.dataset)
        emission = template.emit(graph, name)
        check_act(recipe, made, compared, emission, name)
    written, certificate = publish(emission, out, verify)
    return Built(name, graph, emission, written, certificate)


def _style(style: Any, options: Mapping[str, Any]) -> Any:
    """Return the style to build a graph in: as it was given, or made of its name and options."""
    if style is None:
        known_ones = ", ".join(sorted(known("template")))
        hint = f'such as style="recurrent"; there are {known_ones}'
        raise CompileError(
            "style", "is not given: a graph alone does not say what it becomes", hint
        )
    if isinstance(style, str):
        return configure(style, find("template", style), options)
    if not callable(getattr(style, "emit", None)) or isinstance(style, type):
        hint = 'such as styles.Recurrent(dt_ms=10), or "recurrent"'
        raise CompileError("style", f"{style!r} is not a style", hint)
    for key in options:
        raise CompileError(key, "is given beside a style that was made", "give it to the style")
    return style


def _must_be_measured(graph: Graph, require: str, recipe: Recipe | None = None) -> None:
    """Refuse modelled connectivity; ``recipe`` where the ``graph`` is that of its source alone."""
    if require != "measured" or graph.provenance.measured:
        return
    randomised = any(step.name == NULL_MODEL and step.notes for step in graph.provenance.steps)
    hint = "leave the null model out" if randomised else ""
    where = f"recipe {recipe.name}" if recipe else f"graph {graph.provenance.dataset}"
    if recipe:
        stood_in = shown_name(recipe, graph) != recipe.name
        hint = f"fill the cache: ccompile fetch {recipe.name}" if stood_in else ""
    if graph.provenance.connectivity is Evidence.UNKNOWN:
        hint = "if you vouch that the connections were measured: --set evidence=measured"
    raise CompileError(where, graph.provenance.caveat, hint)


def verify(module: str | Path, graph: str | Path | Graph | None = None) -> Certificate:
    """Check a module against what it states, or in full against its ``graph``, saved or not.

    Raises `VerifyError` naming what is wrong; returns what was checked: ``print(*cert.lines())``.
    """
    if not isinstance(graph, Graph):
        return validate(place("module", module), None if graph is None else place("graph", graph))
    with files.scratch(Path(tempfile.gettempdir())) as folder:
        return validate(place("module", module), graph.save(folder / "graph"))


def shown_name(recipe: Recipe, graph: Graph) -> str:
    """Return the recipe's name, marked where a surrogate or null model took the data's place."""
    return recipe_name(recipe.name, graph.provenance.dataset)


def publish(
    emission: Emission, out: Path, verify: bool
) -> tuple[tuple[Path, ...], Certificate | None]:
    """Write the module, after it has passed its check in a folder of its own."""
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
