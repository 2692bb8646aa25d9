"""What is installed: recipes, adapters, passes and templates, and their options."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.options import (
    Raw,
    option_defaults,
    option_docs,
    option_types,
    required,
    spell,
)
from connectome_compiler.recipe import SUFFIX, Recipe, load_recipe, shipped
from connectome_compiler.registry import Kind, docstring, find, known, recipe_names
from connectome_compiler.sources import takes
from connectome_compiler.text import table, wrapped

KINDS: tuple[Kind, ...] = ("adapter", "pass", "template")
WORDS = {int: "integer", float: "number", str: "text", bool: "true | false", type(None): "none"}


def everything() -> str:
    """Return one line for each installed recipe, adapter, pass and template."""
    lines = ["recipes (ccompile build NAME)", *table(list(shipped().items()))]
    for kind in KINDS:
        plural = "passes" if kind == "pass" else f"{kind}s"
        lines += [
            "",
            plural,
            *table([(name, _summary(kind, name)) for name in sorted(known(kind))]),
        ]
    return "\n".join([*lines, "", "options of each: ccompile list NAME"])


def one(name: str) -> str:
    """Return what ``name`` does, and its options: those of a recipe by stage, or of a stage."""
    recipe = load_recipe(name) if name in recipe_names() or name.endswith(SUFFIX) else None
    pages = [_recipe(recipe)] if recipe else []
    for kind in KINDS:
        if name in known(kind):
            cls = find(kind, name)
            shown = recipe is not None and any(s.cls is cls for s in recipe.stages.values())
            pages.append(f"{kind} {name}\n\n{_words(cls)}" + f"\n\n{_options(cls)}" * (not shown))
            if carries := getattr(cls, "carries", None):
                pages.append("\n".join(["carries", *table(carries.rows())]))
    if not pages:
        names = {*recipe_names(), *(n for kind in KINDS for n in known(kind))}
        raise UnknownNameError.among("name", name, names)
    return "\n\n".join(pages)


def _recipe(recipe: Recipe) -> str:
    """List every option under its stage, by the names that set it."""
    lines = [f"recipe {recipe.name}: {recipe.title}", ""]
    for k, (word, text) in enumerate(told := recipe.source.about()):
        same = k and told[k - 1][0] == word
        lines += wrapped(text, "" if same else f"{word:10}", " " * 10)
    lines += [""] * bool(told) + ["options: --set OPTION=VALUE"]
    lines += [
        f"  {alias} sets {', '.join(paths)}"
        for alias, paths in recipe.aliases.items()
        if len(paths) > 1
    ]
    for stage in recipe.stages.values():
        use = stage.kind if stage.use == stage.id else f"{stage.kind} {stage.use}"
        left_out = ""
        if stage.off:
            words = (recipe.names(f"{stage.id}.{key}")[0] for key in stage.off)
            left_out = f": left out unless {' or '.join(words)} is set"
        names = {
            key: ", ".join(recipe.names(f"{stage.id}.{key}")) for key in option_types(stage.cls)
        }
        lines += ["", f"{stage.id} ({use}){left_out}", *_rows(stage.cls, stage.options, names)]
    return "\n".join(lines)


def _options(cls: type[Any]) -> str:
    return "\n".join(_rows(cls, {}, {})) or "no options"


def _rows(cls: type[Any], given: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Return a line for each option: its name, value, meaning and type."""
    types_, docs, needed = option_types(cls), option_docs(cls), required(cls)
    values = {**option_defaults(cls), **given}
    return table(
        [
            (
                names.get(key, key),
                "(needed)" if key in needed and key not in given else _value(values[key]),
                f"{docs.get(key, '')} ({_type(types_[key])})".strip(),
            )
            for key in types_
        ]
    )


def _summary(kind: Kind, name: str) -> str:
    try:
        return docstring(kind, name).replace("``", "").split("\n")[0]
    except CompileError as error:  # one broken plugin must not hide all else
        return error.problem


def _words(cls: type[Any]) -> str:
    """Return a docstring for a terminal, without code markup."""
    return inspect.cleandoc(cls.__doc__ or "").replace("``", "")


def _value(value: Any) -> str:
    if isinstance(value, tuple | list) and value and isinstance(value[0], dict):
        return f"[{len(value)} tables]"
    return value.text if isinstance(value, Raw) else spell(value)


def _type(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return str(takes(hint) or _type(get_args(hint)[0]))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_type(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return " | ".join(str(value) for value in get_args(hint))
    if get_origin(hint) in (tuple, list):
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        many = f"{len(parts)} x " if len(parts) > 1 else "list of "
        return many + _type(parts[0])
    return WORDS.get(hint) or str(getattr(hint, "__name__", hint))
