"""Recipes: the whole line from a data set to a module, as data (TOML).

A recipe names a source, passes in order, and a template, each with its options; and it gives short
public names to the options that users need. `load_recipe` reads a shipped one by name or a user's
by path, checks every key, and applies settings such as ``min_synapses=2`` or
``split-flow.feedback=keep``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.options import Raw, configure, must_exist
from connectome_compiler.reading import read_bytes
from connectome_compiler.registry import Kind, find

KEYS = ("name", "title", "extends", "source", "pass", "template", "options", "set")
SUFFIX = ".toml"
MOST_BYTES = 1 << 20  # of a recipe
MOST_PASSES = 100
DEEPEST = 16  # tables in tables; stages have options, and these may be tables or lists
LONGEST_CHAIN = 16  # recipes that extend each other; one file can have several paths


@dataclass(frozen=True, slots=True)
class Stage:
    """One adapter, pass or template of a recipe, with its options, not yet made."""

    kind: Kind
    use: str  # its name in the registry
    id: str  # its name in this recipe: ``id.field`` reaches its options
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Return the configured adapter, pass or template."""
        return configure(self.id, find(self.kind, self.use), self.options)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A source, passes in order, and a template."""

    name: str
    title: str
    source: Stage
    passes: tuple[Stage, ...]
    template: Stage
    # Short names of options: {"min_synapses": ("drop-weak-connections.min_weight",)}.
    public: dict[str, tuple[str, ...]]

    @property
    def stages(self) -> dict[str, Stage]:
        """All stages by the name that reaches their options."""
        return {s.id: s for s in (self.source, *self.passes, self.template)}

    def having(self, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe with options set: by public name, or by ``stage.field``.

        A name that reaches several fields, such as ``seed``, gives way to one that reaches one.
        """
        recipe, by = self, dict[str, str]()
        reach = {key: self.public.get(key, (key,)) for key in settings}
        for key in sorted(settings, key=lambda key: -len(reach[key])):
            for path in reach[key]:
                if len(reach[key]) == 1 and path in by:
                    problem = f"{by[path]} and {key} both set {path}"
                    raise CompileError(f"recipe {self.name}", problem, "leave one out")
                if len(reach[key]) == 1:
                    by[path] = key
                recipe = recipe._set(key, path, settings[key])
        return recipe

    def _set(self, key: str, path: str, value: Any) -> Recipe:
        stage_id, dot, option = path.rpartition(".")
        if not dot:
            raise UnknownNameError.among(f"recipe {self.name}: option", key, self.public)
        if stage_id not in self.stages:
            known = self.stages
            raise UnknownNameError.among(f"recipe {self.name}: stage", stage_id, known)
        old = self.stages[stage_id]
        must_exist(f"recipe {self.name}: {stage_id}", find(old.kind, old.use), {option: value})
        new = replace(old, options={**old.options, option: value})
        swap = {stage_id: new}
        return replace(
            self,
            source=swap.get(self.source.id, self.source),
            passes=tuple(swap.get(p.id, p) for p in self.passes),
            template=swap.get(self.template.id, self.template),
        )


def shipped_names() -> list[str]:
    """Return the names of the shipped recipes, without reading them."""
    folder = resources.files("connectome_compiler.recipes")
    names = (f.name for f in folder.iterdir() if f.name.endswith(SUFFIX))
    return sorted(name.removesuffix(SUFFIX) for name in names)


def shipped() -> dict[str, str]:
    """Return the names and titles of the shipped recipes, without a look at their stages."""
    return {name: tomllib.loads(_shipped_text(name))["title"] for name in shipped_names()}


def _shipped_text(name: str) -> str:
    folder = resources.files("connectome_compiler.recipes")
    return folder.joinpath(name + SUFFIX).read_text(encoding="utf-8")


def load_recipe(name: str | Path, settings: Mapping[str, Any] | Iterable[str] = ()) -> Recipe:
    """Read the shipped recipe ``name``, or the file if ``name`` ends in ``.toml``.

    ``settings`` are values by option, or texts such as ``"min_synapses=2"``. Raises `CompileError`
    for a recipe or option that does not exist, naming the nearest that does.
    """
    recipe = _load(str(name), ())
    given = settings if isinstance(settings, Mapping) else _listed(settings)
    if not all(isinstance(key, str) for key in given):
        raise _no_settings(settings)
    return recipe.having(given if isinstance(given, Mapping) else parse_settings(given))


def _listed(settings: Iterable[str]) -> list[str]:
    if isinstance(settings, str) or not isinstance(settings, Iterable):
        raise _no_settings(settings)
    return list(settings)


def _no_settings(given: object) -> CompileError:
    hint = 'such as {"min_synapses": 2}, or ["min_synapses=2"]'
    return CompileError("settings", f"is {given!r}, not options by name", hint)


def _load(name: str, children: tuple[str, ...]) -> Recipe:
    """Read a recipe that the recipes ``children`` extend."""
    if name in children or len(children) > LONGEST_CHAIN:
        chain = " -> ".join((*children, name)[:4])
        raise CompileError(children[0], f"extends itself: {chain}", "extend another recipe")
    if name.endswith(SUFFIX):
        content = read_bytes(Path(name), MOST_BYTES, "shipped recipes: ccompile list")
        try:
            # Some editors mark UTF-8 with a BOM, which TOML does not know.
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CompileError(name, f"cannot be read: {error}", "save it as UTF-8") from error
    else:
        if name not in shipped_names():
            if os.path.isfile(name + SUFFIX):  # noqa: PTH113  (a name can be too long for pathlib)
                raise CompileError(
                    f"recipe {name!r}", "no such name", f"the file is {name}{SUFFIX}"
                )
            where = f"{children[-1]}: recipe" if children else "recipe"
            raise UnknownNameError.among(where, name, shipped_names())
        text = _shipped_text(name)
    return parse(name, text, children)


def parse(where: str, text: str, children: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from TOML; ``where`` names it in errors, ``children`` extend it."""
    try:
        page = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CompileError(where, f"is not TOML: {error}") from error
    except ValueError as error:  # Python converts no number of thousands of digits
        raise CompileError(where, "holds a number of too many digits") from error
    _must_be_shallow(where, page)
    for key in page:
        if key not in KEYS:
            raise UnknownNameError.among(f"{where}: key", key, KEYS)
    name = _text(where, page, "name", Path(where).stem)
    if not name.strip() or not name.isprintable():
        raise CompileError(f"{where}: name", f"{name!r} is no name", "write one line of text")
    title = _text(where, page, "title", "")
    changes = _flat(_table(where, page, "set"))
    if "extends" in page:
        for key in ("source", "pass", "template"):
            if key in page:
                problem = f"has both extends and {key}"
                raise CompileError(where, problem, "change the other recipe under [set]")
        other = _text(where, page, "extends", "")
        if other.endswith(SUFFIX):  # a path in a file starts where the file is
            other = str(Path(where).parent / other)
        parent = _load(other, (*children, where))
        named = replace(parent, name=name, title=title or parent.title)
        return _with_options(where, named, _table(where, page, "options")).having(changes)
    for key in ("source", "template"):
        if key not in page:
            raise CompileError(where, f"has no [{key}]")
    entries = page.get("pass", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CompileError(f"{where}: pass", "is no list of tables", "write [[pass]] above each")
    if len(entries) > MOST_PASSES:
        problem = f"has {len(entries):,} passes, at most {MOST_PASSES} are run"
        raise CompileError(f"{where}: pass", problem)
    recipe = Recipe(
        name=name,
        title=title,
        source=_stage(where, "adapter", "source", _table(where, page, "source")),
        passes=tuple(_stage(where, "pass", None, entry) for entry in entries),
        template=_stage(where, "template", "template", _table(where, page, "template")),
        public={},
    )
    ids = [s.id for s in (recipe.source, *recipe.passes, recipe.template)]
    for k, repeated in enumerate(ids):
        if repeated in ids[:k]:
            raise CompileError(where, f"{repeated!r} occurs twice", 'give one another id = "..."')
    return _with_options(where, recipe, _table(where, page, "options")).having(changes)


def _must_be_shallow(where: str, page: dict[str, Any]) -> None:
    """Raise `CompileError` if tables and lists lie so deep that they cannot be printed."""
    level: list[Any] = [page]
    for _ in range(DEEPEST):
        inner = [v for x in level for v in (x.values() if isinstance(x, dict) else x)]
        level = [v for v in inner if isinstance(v, dict | list)]
        if not level:
            return
    raise CompileError(where, f"has tables or lists more than {DEEPEST} deep")


def _with_options(where: str, recipe: Recipe, public: dict[str, Any]) -> Recipe:
    """Return the recipe with more short names of options, each checked."""
    reach: dict[str, tuple[str, ...]] = {}
    for short, given in public.items():
        place = f"{where}: options.{short}"
        paths = tuple(given) if isinstance(given, list) else (given,)
        for path in paths or (given,):
            if not isinstance(path, str) or "." not in path:
                raise CompileError(place, f"is {path!r}", 'such as "split-flow.feedback"')
            id_, _, option = path.rpartition(".")
            if id_ not in recipe.stages:
                raise UnknownNameError.among(f"{place}: stage", id_, recipe.stages)
            stage = recipe.stages[id_]
            must_exist(place, find(stage.kind, stage.use), {option: None})
        reach[short] = paths
    return replace(recipe, public={**recipe.public, **reach})


def parse_settings(texts: Sequence[str]) -> dict[str, Raw]:
    """Read ``key=value`` texts of a command line."""
    settings: dict[str, Raw] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise CompileError(f"--set {text}", "is not key=value", "such as --set min_synapses=2")
        if key.strip() in settings:
            raise CompileError(f"--set {key.strip()}", "is given twice", "leave one out")
        settings[key.strip()] = Raw(value.strip())
    return settings


def _stage(where: str, kind: Kind, id_: str | None, entry: dict[str, Any]) -> Stage:
    options = dict(entry)
    use = options.pop("use", None)
    if not isinstance(use, str):
        problem = "has no use" if use is None else f"use is {use!r}, not text"
        raise CompileError(f"{where}: {id_ or kind}", problem, f'such as use = "{_EXAMPLE[kind]}"')
    own = id_ or options.pop("id", use)
    if not isinstance(own, str) or not own:
        raise CompileError(f"{where}: {kind} {use}", f"id is {own!r}, not a name")
    must_exist(f"{where}: {own}", find(kind, use, where), options)
    return Stage(kind, use, own, options)


_EXAMPLE = {"adapter": "microns-v1", "pass": "drop-autapses", "template": "bionic"}


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    """Undo what TOML makes of ``split-flow.feedback = "keep"``: a table in a table."""
    flat = {}
    for key, value in table.items():
        inner = _flat(value) if isinstance(value, dict) else None
        flat.update({key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()})
    return flat


def _table(where: str, page: dict[str, Any], key: str) -> dict[str, Any]:
    table = page.get(key, {})
    if not isinstance(table, dict):
        raise CompileError(f"{where}: {key}", "is no table", f"write [{key}]")
    return table


def _text(where: str, page: dict[str, Any], key: str, default: str) -> str:
    value = page.get(key, default)
    if not isinstance(value, str):
        raise CompileError(f"{where}: {key}", f"is {value!r}, not text")
    return value
