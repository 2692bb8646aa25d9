"""What is installed: recipes, adapters, passes and templates, and what each takes."""

from __future__ import annotations

import inspect
import types
from typing import Any, Literal, Union, get_args, get_origin

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.options import Raw, option_defaults, option_types, spell
from connectome_compiler.recipe import SUFFIX, Recipe, load_recipe, shipped, shipped_names
from connectome_compiler.registry import Kind, docstring, find, known
from connectome_compiler.text import table

KINDS: tuple[Kind, ...] = ("adapter", "pass", "template")
WORDS = {int: "integer", float: "number", str: "text", bool: "true | false", type(None): "none"}


def everything() -> str:
    """Return one line for each thing there is."""
    lines = ["recipes (ccompile build NAME)", *table(list(shipped().items()))]
    for kind in KINDS:
        plural = "passes" if kind == "pass" else f"{kind}s"
        lines += [
            "",
            plural,
            *table([(name, _summary(kind, name)) for name in sorted(known(kind))]),
        ]
    return "\n".join([*lines, "", "What each takes: ccompile list NAME"])


def one(name: str) -> str:
    """Return what ``name`` does and takes: a recipe's stages, or a stage's options."""
    is_recipe = name in shipped_names() or name.endswith(SUFFIX)
    pages = [_recipe(load_recipe(name))] if is_recipe else []
    pages += [_stage(kind, name) for kind in KINDS if name in known(kind)]
    if not pages:
        names = {*shipped_names(), *(n for kind in KINDS for n in known(kind))}
        raise UnknownNameError.among("name", name, names)
    return "\n\n".join(pages)


def _recipe(recipe: Recipe) -> str:
    lines = [f"recipe {recipe.name}: {recipe.title}", ""]
    rows = []
    for short, paths in recipe.public.items():
        stage_id, _, option = paths[0].rpartition(".")
        stage = recipe.stages[stage_id]
        cls = find(stage.kind, stage.use)
        value = stage.options.get(option, option_defaults(cls)[option])
        rows.append((short, _value(value), _type(option_types(cls)[option]), ", ".join(paths)))
    if rows:
        head = ("option", "value", "may be", "is")
        lines += ["options: --set OPTION=VALUE", *table([head, *rows]), ""]
    lines += ["stages, in order: --set STAGE.FIELD=VALUE sets any field (ccompile list STAGE)"]
    stages = []
    for id_, stage in recipe.stages.items():
        given = ", ".join(f"{k}={_value(v)}" for k, v in stage.options.items())
        use = stage.kind if stage.use == id_ else f"{stage.kind} {stage.use}"
        stages.append((id_, use, given))
    return "\n".join([*lines, *table(stages)])


def _stage(kind: Kind, name: str) -> str:
    cls = find(kind, name)
    types_, defaults = option_types(cls), option_defaults(cls)
    lines = [f"{kind} {name}", "", _words(cls), ""]
    if not types_:
        return "\n".join([*lines, "no options"])
    rows = [(key, _value(defaults[key]), _type(types_[key])) for key in types_]
    return "\n".join([*lines, *table([("option", "default", "may be"), *rows])])


def _summary(kind: Kind, name: str) -> str:
    try:
        return docstring(kind, name).replace("``", "").split("\n")[0]
    except CompileError as error:  # one broken plugin must not hide all else
        return error.problem


def _words(cls: type[Any]) -> str:
    """Return a docstring for a terminal, without the marks of code."""
    return inspect.cleandoc(cls.__doc__ or "").replace("``", "")


def _value(value: Any) -> str:
    return value.text if isinstance(value, Raw) else spell(value)


def _type(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_type(part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return " | ".join(str(value) for value in get_args(hint))
    if get_origin(hint) in (tuple, list):
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        many = f"{len(parts)} x " if len(parts) > 1 else "list of "
        return many + _type(parts[0])
    return WORDS.get(hint) or str(getattr(hint, "__name__", hint))
