"""The graph that a command is asked about: of a recipe, of a saved folder, or behind a module."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from connectome_compiler.emit.names import marks
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.storage import PAGE
from connectome_compiler.pipeline import compile_graph
from connectome_compiler.recipe import Recipe, load_recipe
from connectome_compiler.registry import recipe_names
from connectome_compiler.statement import Statement
from connectome_compiler.views.modules import read_statement

See = Callable[[str, Graph], None]


def graph_of(target: str, settings: Sequence[str] = (), passes: Sequence[str] = ()) -> Graph:
    """Return the graph of a recipe (name or file), a saved graph's folder, or a built module.

    ``settings`` and ``passes`` change a recipe, as in ``ccompile build``. Raises `CompileError`.
    """
    must_be_changeable(target, settings, passes)
    if is_saved_graph(target):
        return Graph.load(target)
    if target.endswith(".py"):
        return behind_module(Path(target))
    return compile_graph(load_recipe(target, settings, passes))


def is_saved_graph(target: str) -> bool:
    """Whether ``target`` is the folder of a graph; a recipe of that name comes first."""
    path = Path(target)
    return (path / PAGE).is_file() or (path.is_dir() and target not in recipe_names())


def must_be_changeable(target: str, settings: Sequence[str], passes: Sequence[str]) -> None:
    """Refuse changes of what is no recipe."""
    given = [f"--set {text}" for text in settings] + [f"--pass {text}" for text in passes]
    if given and (target.endswith(".py") or is_saved_graph(target)):
        what = "a saved graph" if is_saved_graph(target) else "a built module"
        raise CompileError(given[0], f"{target} is {what}", "only a recipe can be changed")


def behind_module(path: Path, see: See = lambda stage, graph: None) -> Graph:
    """Return the graph that a module was built from; ``see`` is given every stage that is found.

    That is the saved one beside it (``build --save-after``), or what the recipe that the module
    names comes to, with the options that it states. Raises `CompileError` if neither has the hash
    that the module states: a module holds its connections, but not what they join.
    """
    stated = read_statement(path)
    saved = sorted(page.parent for page in path.with_name(f"{path.stem}.graphs").glob(f"*/{PAGE}"))
    if saved and _digest(saved[-1]) == stated.graph_sha256:
        for folder in saved:
            see(folder.name.partition("-")[2], graph := Graph.load(folder))
        return graph
    return _rebuilt(path, stated, see)


def _digest(folder: Path) -> str:
    try:
        return str(json.loads((folder / PAGE).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _rebuilt(path: Path, stated: Statement, see: See) -> Graph:
    hint = "use the graph that its build saves: ccompile build ... --save-after all"
    name = stated.name
    for mark in reversed(marks(stated.provenance.dataset)):  # it shows with the marks of the data
        name = name if name in recipe_names() else name.removesuffix(f"-{mark}")
    if name not in recipe_names():
        problem = f"was built from {stated.name!r}, which is not a shipped recipe"
        raise CompileError(str(path), problem, hint)
    recipe = _as_stated(load_recipe(name), stated)
    graph = compile_graph(
        recipe,
        loaded=lambda graph: see("source", graph),
        after=lambda ran: see(ran.step.name, ran.graph),
    )
    if graph.digest() != stated.graph_sha256:
        problem = f"the recipe {name} gives another graph than the module states"
        raise CompileError(str(path), problem, hint)
    return graph


def _as_stated(recipe: Recipe, stated: Statement) -> Recipe:
    """Return the recipe with the options of the passes that a module says were run."""
    settings = {}
    steps = {step.name: step for step in stated.provenance.steps}
    for stage in recipe.passes:
        if (step := steps.get(stage.use)) is None:
            continue
        text = re.sub(r"(^|, )\w+=none(?=,|$)", "", step.options).removeprefix(", ")
        try:
            options = tomllib.loads(f"step = {{{text}}}")["step"]
        except tomllib.TOMLDecodeError:  # the recipe may say the same; the hash tells
            continue
        settings.update({f"{stage.id}.{key}": value for key, value in options.items()})
    return recipe.having(settings)
