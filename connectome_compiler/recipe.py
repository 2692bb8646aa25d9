"""Recipes: the whole pipeline from a data set to a module, as data (TOML).

A recipe names a source, passes in order, and a template, each with its options. An option is
reached by its own name if only one stage has it (``min_weight=2``), otherwise as ``stage.field``
(``split-flow.feedback=keep``); ``[options]`` gives other names. `load_recipe` reads a shipped
recipe by name or a user's by path, checks every key, adds passes and applies settings.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from connectome_compiler.errors import (
    CompileError,
    Faults,
    RecipeError,
    UnknownNameError,
    nearest,
)
from connectome_compiler.options import (
    Raw,
    configure,
    must_exist,
    option_defaults,
    option_types,
    pass_class,
    placeholder,
    required,
)
from connectome_compiler.own_code import FILE
from connectome_compiler.reading import read_bytes
from connectome_compiler.registry import Kind, find, known, recipe_names, recipe_text
from connectome_compiler.sources import data

KEYS = ("name", "title", "extends", "source", "pass", "template", "options", "set")
SUFFIX = ".toml"
MOST_BYTES = 1 << 20  # of a recipe
MOST_PASSES = 100
DEEPEST = 16  # nesting of tables; options of stages may be tables or lists
LONGEST_CHAIN = 16  # recipes that extend each other; one file can have several paths

PLACED = re.compile(
    r"(?P<use>.+?)\s+(?P<side>after|before)\s+(?P<anchor>\S+)(\s+as\s+(?P<id>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One adapter, pass or template of a recipe, with its options, not yet instantiated."""

    kind: Kind
    use: str  # its name in the registry
    id: str  # its name in this recipe: ``id.field`` reaches its options
    cls: type[Any]
    options: dict[str, Any] = field(default_factory=dict)
    # A pass with fields here is left out while all of them have these values.
    off: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)  # the names by which the user set fields
    anchor: str = ""  # the stage after which it was added to a recipe

    def make(self) -> Any:
        """Return the configured adapter, pass or template."""
        return configure(self.id, self.cls, self.options)

    def about(self) -> tuple[tuple[str, str], ...]:
        """Return what an adapter knows of the data set that its options choose: rows of text."""
        tell = getattr(self.cls, "about", None)
        values = {k: v.text if isinstance(v, Raw) else v for k, v in self.options.items()}
        return tell(values) if tell else ()

    def runs(self, made: Any) -> bool:
        """Whether the pass ``made`` from this stage is run."""
        return not self.off or any(getattr(made, key) != value for key, value in self.off.items())


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for a stage that cannot be read, so that the rest of its recipe is checked."""

    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A recipe's adapter, the passes that are run, and its template."""

    source: Any
    passes: tuple[Any, ...]
    ids: tuple[str, ...]  # of the passes
    template: Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """A source, passes in order, and a template."""

    name: str
    title: str
    source: Stage
    passes: tuple[Stage, ...]
    template: Stage
    # Other names of options: {"null": ("null-model.model",)}.
    aliases: dict[str, tuple[str, ...]]

    @property
    def stages(self) -> dict[str, Stage]:
        """All stages by id."""
        return {s.id: s for s in (self.source, *self.passes, self.template)}

    @property
    def options(self) -> dict[str, tuple[str, ...]]:
        """Every option name without a stage, and the ``stage.field`` that it sets.

        If several stages have a field, its name alone sets none of them, unless it is an alias.
        """
        found: dict[str, list[str]] = {}
        for stage in self.stages.values():
            for key in option_types(stage.cls):
                found.setdefault(key, []).append(f"{stage.id}.{key}")
        alone = {key: tuple(paths) for key, paths in found.items() if len(paths) == 1}
        return {**self.aliases, **{k: paths for k, paths in alone.items() if k not in self.aliases}}

    def names(self, path: str) -> list[str]:
        """Return the names by which a user can set the option ``stage.field`` and no other."""
        return [key for key, paths in self.options.items() if paths == (path,)] or [path]

    def having(self, settings: Mapping[str, Any]) -> Recipe:
        """Return the recipe with options set: by name, or by ``stage.field``.

        A name of several fields, such as ``seed``, gives way to a name of one.
        Raises `CompileError` naming all options that cannot be set.
        """
        faults = Faults()
        recipe = self._having(settings, faults)
        recipe._note_values(faults)
        faults.raise_any()
        return recipe

    def _note_values(self, faults: Faults) -> None:
        """Add wrong values to ``faults`` of names, if any; alone, they are told when it is made."""
        for stage in self.stages.values() if faults.errors else ():
            with faults.noted():
                if all(key in stage.options for key in required(stage.cls)):
                    self.made(stage)

    def _having(self, settings: Mapping[str, Any], faults: Faults) -> Recipe:
        """Return the recipe with those options set that can be; the others are noted."""
        reach: dict[str, tuple[str, ...]] = {}
        for key in settings:
            with faults.noted():
                reach[key] = self._reached(key)
        recipe, by = self, dict[str, str]()
        for key in sorted(reach, key=lambda key: -len(reach[key])):
            for path in reach[key]:
                with faults.noted():
                    if len(reach[key]) == 1 and path in by:
                        problem = f"{by[path]} and {key} both set {path}"
                        raise CompileError(f"recipe {self.name}", problem, "leave one out")
                if len(reach[key]) == 1:
                    by[path] = key
                recipe = recipe._set(key, path, settings[key])
        return recipe

    def _reached(self, key: str) -> tuple[str, ...]:
        """Return the ``stage.field`` that ``key`` sets."""
        where = f"recipe {self.name}"
        options = self.options
        if key in options:
            return options[key]
        stage_id, dot, option = key.rpartition(".")
        if not dot:
            if several := [s.id for s in self.stages.values() if key in option_types(s.cls)]:
                ways = _listed([f"{id_}.{key}" for id_ in several], "or")
                problem = f"is an option of {_listed(several, 'and')}"
                raise CompileError(f"{where}: option {key!r}", problem, f"set {ways}")
            if not nearest(key, options) and any(s.cls is Unread for s in self.stages.values()):
                return ()  # it may be an option of what could not be read, which is reported
            raise UnknownNameError.among(f"{where}: option", key, options)
        if stage_id not in self.stages:
            raise UnknownNameError.among(f"{where}: stage", stage_id, self.stages)
        if self.stages[stage_id].cls is Unread:
            return ()
        must_exist(f"{where}: {stage_id}", self.stages[stage_id].cls, option)
        return (key,)

    def _set(self, word: str, path: str, value: Any) -> Recipe:
        stage_id, _, option = path.rpartition(".")
        old = self.stages[stage_id]
        new = replace(
            old,
            options={**old.options, option: data(value) or value},
            words={**old.words, option: word},
        )
        swap = {stage_id: new}
        return replace(
            self,
            source=swap.get(self.source.id, self.source),
            passes=tuple(swap.get(p.id, p) for p in self.passes),
            template=swap.get(self.template.id, self.template),
        )

    def with_pass(
        self,
        use: Any,
        *,
        after: str | None = None,
        before: str | None = None,
        called: str | None = None,
        **options: Any,
    ) -> Recipe:
        """Return the recipe with one more pass, after or before the named stage.

        Passes added after the same stage run in the order in which they were added.
        ``use`` is a pass's name, ``"FILE.py:NAME"``, a class, or a pass that has been made;
        ``options`` are its fields. ``called`` is its name in this recipe, if not its own.
        """
        where = f"recipe {self.name}"
        if isinstance(use, str):
            stage = _stage(where, "pass", None, {"use": use, **options}, Path())
        else:
            cls = pass_class(where, use)
            own = (
                {} if use is cls else {f.name: getattr(use, f.name) for f in fields(cls) if f.init}
            )
            for key in options:
                must_exist(f"{where}: {cls.name}", cls, key)
            stage = Stage("pass", cls.name, cls.name, cls, {**own, **options})
        stage = replace(stage, id=called or stage.id)
        return self._with(where, stage, after, before, 'called="..."')

    def _with(
        self,
        where: str,
        stage: Stage,
        after: str | None,
        before: str | None,
        naming: str = 'id = "..."',
    ) -> Recipe:
        """Return the recipe with ``stage``, behind those that were added at its place already."""
        order = list(self.stages)
        place = f"{where}: pass {stage.use}"
        if (after is None) == (before is None):
            example = f'after = "{order[-2]}", or before = "{order[-1]}"'
            raise CompileError(place, "needs either after or before", f"such as {example}")
        anchor = before if after is None else after
        if anchor not in order:
            raise UnknownNameError.among(f"{place}: stage", str(anchor), order)
        if after == self.template.id or before == self.source.id:
            problem = (
                f"cannot run {'after the template' if before is None else 'before the source'}"
            )
            raise CompileError(place, problem)
        if stage.id in order:
            waits = [
                f"set {self.names(f'{stage.id}.{k}')[0]}, or " for k in self.stages[stage.id].off
            ]
            hint = "".join(waits[:1]) + f"give this one another id: {naming}"
            raise CompileError(place, f"is already in the recipe, as {stage.id!r}", hint)
        at = order.index(anchor) - (before is not None)  # of the passes: the source is none
        if before is None:
            here = {anchor}
            while at < len(self.passes) and self.passes[at].anchor in here:
                here.add(self.passes[at].id)
                at += 1
            stage = replace(stage, anchor=anchor)
        return replace(self, passes=(*self.passes[:at], stage, *self.passes[at:]))

    def make(self) -> Made:
        """Return the adapter, passes and template; raise `CompileError` naming all errors."""
        faults, made = Faults(), dict[str, Any]()
        for stage in self.stages.values():
            if missing := [key for key in required(stage.cls) if key not in stage.options]:
                for key in missing:
                    with faults.noted():
                        word = self.names(f"{stage.id}.{key}")[0]
                        value = placeholder(option_types(stage.cls)[key])
                        hint = f"--set {word}={value}"
                        if value == "FILE" and (told := dict(stage.about())):
                            hint = (
                                f"download from {told['download']}; then {hint} ({told['files']})"
                            )
                        raise CompileError(word, "is not set and has no default", hint)
                continue
            with faults.noted():
                made[stage.id] = self.made(stage)
        if len(made) == len(self.stages):
            for stage in self.passes:
                if not stage.runs(made[stage.id]):
                    with faults.noted():
                        self._must_not_be_in_vain(stage, made)
        faults.raise_any()
        ids = tuple(stage.id for stage in self.passes if stage.runs(made[stage.id]))
        passes = tuple(made[id_] for id_ in ids)
        return Made(made[self.source.id], passes, ids, made[self.template.id])

    def made(self, stage: Stage) -> Any:
        """Return what ``stage`` makes; errors name options as the user did."""
        try:
            return stage.make()
        except CompileError as error:
            self.put_in_words(error, stage)
            raise

    def _must_not_be_in_vain(self, stage: Stage, made: Mapping[str, Any]) -> None:
        """Raise `CompileError` if a user set an option of a pass that is not run."""
        if any(key in stage.words for key in stage.off):
            return  # left out on purpose: null=none
        for word in stage.words.values():
            reached = {path.rpartition(".")[0] for path in self.options.get(word, (word,))}
            if not any(self.stages[id_].runs(made[id_]) for id_ in reached if id_ in made):
                asks = _listed([self.names(f"{stage.id}.{key}")[0] for key in stage.off], "or")
                problem = f"has no effect: {stage.id} is left out unless {asks} is set"
                raise CompileError(word, problem, f"set {asks} as well")

    def put_in_words(self, error: CompileError, stage: Stage | None = None) -> None:
        """Rename the option of ``stage`` in ``error`` to the name that the user used."""
        for each in error.errors if isinstance(error, RecipeError) else (error,):
            each.where = self._in_words(each.where, stage)

    def _in_words(self, where: str, stage: Stage | None) -> str:
        uses = [s.use for s in self.stages.values()]
        for s in (stage,) if stage else self.stages.values():
            heads = {s.id, s.use} if stage or uses.count(s.use) == 1 else {s.id}
            own = {key: f"{s.id}.{key}" for key in s.options}
            for key, word in {**own, **s.words}.items():
                for path in (f"{head}.{key}" for head in heads):
                    rest = where.removeprefix(path)
                    if rest != where and not rest[:1].isidentifier():
                        return word + rest
        return where


def _listed(words: Sequence[str], joint: str) -> str:
    return f" {joint} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def shipped() -> dict[str, str]:
    """Return the names and titles of the installed recipes, without reading their stages."""
    return {name: _title(name) for name in recipe_names()}


def _title(name: str) -> str:
    try:
        return str(tomllib.loads(recipe_text(name)).get("title", ""))
    except CompileError as error:  # one broken plugin must not hide everything else
        return error.problem
    except ValueError:
        return "is not TOML"


def load_recipe(
    name: str | Path,
    settings: Mapping[str, Any] | Iterable[str] = (),
    passes: Iterable[str] = (),
    **options: Any,
) -> Recipe:
    """Read the shipped recipe ``name``, or the file if ``name`` ends in ``.toml``.

    ``settings`` are values by option, or texts such as ``"min_synapses=2"``; ``options`` are more
    of them. ``passes`` are added, as text such as ``"keep-core after source"``. Raises
    `CompileError` for names that do not exist, suggesting the nearest that does.
    """
    return _with_passes(_load(str(name), ()), passes).having(as_settings(settings, options))


def as_settings(
    settings: Mapping[str, Any] | Iterable[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return values by option, given in either form."""
    given = settings if isinstance(settings, Mapping) else _texts(settings)
    if not all(isinstance(key, str) for key in given):
        raise _no_settings(settings)
    values = given if isinstance(given, Mapping) else parse_settings(given)
    if both := sorted(set(values) & set(options)):
        raise CompileError(f"option {both[0]!r}", "is given twice", "leave one out")
    return {**values, **options}


def _with_passes(recipe: Recipe, passes: Iterable[str]) -> Recipe:
    """Return the recipe with more passes: ``keep-core after source as core``."""
    for text in passes:
        where = f"--pass {text!r}"
        found = PLACED.fullmatch(text.strip())
        if found is None:
            hint = "for example --pass 'keep-core after source' (stages: ccompile list RECIPE)"
            raise CompileError(where, "is not PASS after STAGE, or PASS before STAGE", hint)
        stage = _stage(where, "pass", None, {"use": found["use"]}, Path())
        stage = replace(stage, id=found["id"] or stage.id)
        side = {"after": None, "before": None, found["side"]: found["anchor"]}
        recipe = recipe._with(where, stage, **side, naming="... as NAME")
    return recipe


def _texts(settings: Iterable[str]) -> list[str]:
    if isinstance(settings, str) or not isinstance(settings, Iterable):
        raise _no_settings(settings)
    return list(settings)


def _no_settings(given: object) -> CompileError:
    hint = 'for example {"min_synapses": 2}, or ["min_synapses=2"]'
    return CompileError("settings", f"must be options by name, not {given!r}", hint)


def read_recipe(name: str, children: tuple[str, ...] = ()) -> str:
    """Return the text of a recipe by its name, or by its path; ``children`` extend it."""
    if name.endswith(SUFFIX):
        content = read_bytes(Path(name), MOST_BYTES, "shipped recipes: ccompile list")
        try:
            # Some editors mark UTF-8 with a BOM, which TOML does not know.
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CompileError(name, f"cannot be read: {error}", "save it as UTF-8") from error
    if name not in recipe_names():
        if os.path.isfile(name + SUFFIX):  # noqa: PTH113  (a name can be too long for pathlib)
            raise CompileError(f"recipe {name!r}", "no such name", f"the file is {name}{SUFFIX}")
        where = f"{children[-1]}: recipe" if children else "recipe"
        if hint := _other_than_a_recipe(name):
            raise CompileError(f"{where} {name!r}", "is not a recipe", hint)
        raise UnknownNameError.among(where, name, recipe_names(), shipped())
    return recipe_text(name)


def _other_than_a_recipe(name: str) -> str:
    """Return what to do with the name of something else, "" if nothing has it."""
    if os.path.isfile(os.path.join(name, "graph.json")):  # noqa: PTH113, PTH118  (as above)
        return "a saved graph is built from Python, and the way is in docs/python.md"
    if name.endswith(".py") and os.path.isfile(name):  # noqa: PTH113
        return "ccompile inspect and ccompile verify take built modules"
    if os.path.isfile(name):  # noqa: PTH113
        return f"a table of connections is built with: ccompile build table --set edges={name}"
    if kinds := [kind for kind in ("adapter", "pass", "template") if name in known(kind)]:
        return f"it is the name of a {kinds[0]}, and ccompile list {name} shows its options"
    return ""


def _load(name: str, children: tuple[str, ...]) -> Recipe:
    """Read a recipe that the recipes ``children`` extend."""
    if name in children or len(children) > LONGEST_CHAIN:
        chain = " -> ".join((*children, name)[:4])
        raise CompileError(children[0], f"extends itself: {chain}", "extend another recipe")
    return parse(name, read_recipe(name, children), children)


def parse(where: str, text: str, children: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from TOML; ``where`` names it in errors, ``children`` extend it.

    Raises `CompileError` naming all errors that can be found.
    """
    try:
        page = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CompileError(where, f"is not TOML: {error}") from error
    except ValueError as error:  # Python does not convert numbers with thousands of digits
        raise CompileError(where, "contains a number with too many digits") from error
    _must_be_shallow(where, page)
    faults = Faults()
    for key in [key for key in page if key not in KEYS]:
        with faults.noted():
            if (close := nearest(key, KEYS)) not in page:  # it is read as what it probably means
                page[close] = page[key]
            raise UnknownNameError.among(f"{where}: key", key, KEYS)
    name, title = Path(where).stem, ""
    with faults.noted():
        name = _text(where, page, "name", name)
        if not name.strip() or not name.isprintable():
            raise CompileError(
                f"{where}: name", f"{name!r} is not a name", "write one line of text"
            )
    with faults.noted():
        title = _text(where, page, "title", "")
    read = _extending if "extends" in page else _whole
    recipe = read(where, page, children, faults)
    if recipe is None:
        faults.raise_any()
        raise AssertionError("a recipe that cannot be read has an error")
    recipe = replace(recipe, name=name, title=title or recipe.title)
    aliases: dict[str, Any] = {}
    with faults.noted():
        aliases = _table(where, page, "options")
        recipe = _with_aliases(where, recipe, aliases, faults)
    with faults.noted():
        changes = _flat(_table(where, page, "set"))
        wrong = {*aliases} - {*recipe.aliases}
        recipe = recipe._having({k: v for k, v in changes.items() if k not in wrong}, faults)
    recipe._note_values(faults)
    faults.raise_any()
    return recipe


def _whole(where: str, page: dict[str, Any], children: tuple[str, ...], faults: Faults) -> Recipe:
    """Return the recipe that a page spells out; what cannot be read is noted."""
    folder = Path(where).parent
    ends = {}
    kinds: dict[str, Kind] = {"source": "adapter", "template": "template"}
    for key, kind in kinds.items():
        ends[key] = Stage(kind, "", key, Unread)
        with faults.noted():
            if key not in page:
                raise CompileError(where, f"has no [{key}]")
            ends[key] = _stage(where, kind, key, _table(where, page, key), folder, faults)
    passes = []
    for entry in _entries(where, page, faults):
        with faults.noted():
            for key in ("after", "before"):
                if key in entry:
                    problem, hint = (
                        f"has {key}, but no extends",
                        "passes run in the order in which they are listed",
                    )
                    raise CompileError(f"{where}: pass {entry.get('use', '')}", problem, hint)
        own = {key: value for key, value in entry.items() if key not in ("after", "before")}
        passes.append(_read_pass(where, own, folder, faults))
    ids = [s.id for s in (ends["source"], *passes, ends["template"])]
    for k, repeated in enumerate(ids):
        with faults.noted():
            if repeated in ids[:k]:
                problem, hint = f"{repeated!r} occurs twice", 'give one another id = "..."'
                raise CompileError(where, problem, hint)
    return Recipe("", "", ends["source"], tuple(passes), ends["template"], {})


def _extending(
    where: str, page: dict[str, Any], children: tuple[str, ...], faults: Faults
) -> Recipe | None:
    """Return the recipe that a page extends, with the passes that it adds."""
    for key in ("source", "template"):
        with faults.noted():
            if key in page:
                problem = f"has both extends and {key}"
                raise CompileError(where, problem, "change the other recipe under [set]")
    recipe = None
    with faults.noted():
        other = _text(where, page, "extends", "")
        if other.endswith(SUFFIX):  # a path in a file starts where the file is
            other = str(Path(where).parent / other)
        recipe = _load(other, (*children, where))
    for given in _entries(where, page, faults):
        entry = dict(given)
        side = {key: entry.pop(key, None) for key in ("after", "before")}
        stage = _read_pass(where, entry, Path(where).parent, faults)
        if recipe is not None:
            with faults.noted():
                recipe = recipe._with(where, stage, **side)
            if stage.id not in recipe.stages:  # it has no place, but its options are known
                recipe = replace(recipe, passes=(*recipe.passes, stage))
    return recipe


def _entries(where: str, page: dict[str, Any], faults: Faults) -> list[dict[str, Any]]:
    """Return the tables under ``[[pass]]``."""
    with faults.noted():
        entries = page.get("pass", [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise CompileError(
                f"{where}: pass", "is not a list of tables", "write [[pass]] above each"
            )
        if len(entries) > MOST_PASSES:
            problem = f"has {len(entries):,} passes; the limit is {MOST_PASSES}"
            raise CompileError(f"{where}: pass", problem)
        return entries
    return []


def _must_be_shallow(where: str, page: dict[str, Any]) -> None:
    """Raise `CompileError` if tables and lists are nested too deeply to be printed."""
    level: list[Any] = [page]
    for _ in range(DEEPEST):
        inner = [v for x in level for v in (x.values() if isinstance(x, dict) else x)]
        level = [v for v in inner if isinstance(v, dict | list)]
        if not level:
            return
    raise CompileError(where, f"has tables or lists nested more than {DEEPEST} deep")


def _with_aliases(where: str, recipe: Recipe, given: dict[str, Any], faults: Faults) -> Recipe:
    """Return the recipe with aliases of options; invalid ones are noted as errors."""
    reach: dict[str, tuple[str, ...]] = {}
    for alias, target in given.items():
        with faults.noted():
            reach[alias] = _alias(f"{where}: options.{alias}", recipe, target)
    return replace(recipe, aliases={**recipe.aliases, **reach})


def _alias(place: str, recipe: Recipe, given: Any) -> tuple[str, ...]:
    paths = tuple(given) if isinstance(given, list) else (given,)
    for path in paths or (given,):
        if not isinstance(path, str) or "." not in path:
            raise CompileError(
                place, f"must be stage.field, not {path!r}", 'for example "split-flow.feedback"'
            )
        id_, _, option = path.rpartition(".")
        if id_ not in recipe.stages:
            raise UnknownNameError.among(f"{place}: stage", id_, recipe.stages)
        if recipe.stages[id_].cls is not Unread:
            must_exist(place, recipe.stages[id_].cls, option)
    return paths


def parse_settings(texts: Sequence[str]) -> dict[str, Raw]:
    """Read ``key=value`` texts of a command line."""
    settings: dict[str, Raw] = {}
    faults = Faults()
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        with faults.noted():
            if not equals or not key:
                hint = "for example --set min_synapses=2"
                raise CompileError(f"--set {text}", "is not key=value", hint)
            if key in settings:
                raise CompileError(f"--set {key}", "is given twice", "leave one out")
            settings[key] = Raw(value)
    faults.raise_any()
    return settings


def _read_pass(where: str, entry: Mapping[str, Any], folder: Path, faults: Faults) -> Stage:
    """Return the pass of a table, or what stands for it, with its error noted."""
    with faults.noted():
        return _stage(where, "pass", None, entry, folder, faults)
    return Stage("pass", "", str(entry.get("id", entry.get("use", "pass"))), Unread)


def _stage(
    where: str,
    kind: Kind,
    id_: str | None,
    entry: Mapping[str, Any],
    folder: Path,
    faults: Faults | None = None,
) -> Stage:
    """Return the stage of a table; its unknown names are noted in ``faults``, if given.

    It is then read as what it probably means. ``folder`` is where paths to files start.
    """
    options = dict(entry)
    use = options.pop("use", None)
    if not isinstance(use, str):
        problem = "has no use" if use is None else f"use must be text, not {use!r}"
        raise CompileError(
            f"{where}: {id_ or kind}", problem, f'for example use = "{_EXAMPLE[kind]}"'
        )
    close = "" if FILE.fullmatch(use) else nearest(use, known(kind))
    if faults is not None and close not in ("", use):
        n_before = len(faults.errors)
        with faults.noted():
            find(kind, use, where, folder)
        use = close if len(faults.errors) > n_before else use
    cls = find(kind, use, where, folder)
    name = use if use in known(kind) else cls.name
    own = id_ or options.pop("id", name)
    if not isinstance(own, str) or not own:
        raise CompileError(f"{where}: {kind} {use}", f"id must be a name, not {own!r}")
    when = options.pop("when", []) if kind == "pass" else []
    found = Faults()
    for key in (*options, *(when := when if isinstance(when, list) else [when])):
        with found.noted():
            if not isinstance(key, str):
                raise CompileError(
                    f"{where}: {own}: when", f"must be the name of an option, not {key!r}"
                )
            must_exist(f"{where}: {own}", cls, key)
    if faults is None:
        found.raise_any()
    else:
        faults.errors += found.errors
    defaults = option_defaults(cls)
    for key in [key for key in options if key not in defaults]:
        options.setdefault(nearest(key, defaults), options[key])
    options = {key: value for key, value in options.items() if key in defaults}
    off = {key: options.get(key, defaults[key]) for key in when if key in defaults}
    off = {key: tuple(v) if isinstance(v, list) else v for key, v in off.items()}  # as fields do
    return Stage(kind, name, own, cls, options, off)


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
        raise CompileError(f"{where}: {key}", "is not a table", f"write [{key}]")
    return table


def _text(where: str, page: dict[str, Any], key: str, default: str) -> str:
    value = page.get(key, default)
    if not isinstance(value, str):
        raise CompileError(f"{where}: {key}", f"must be text, not {value!r}")
    return value
