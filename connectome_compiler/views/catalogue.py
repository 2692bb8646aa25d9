"""What is installed: recipes, adapters, passes and templates, and what each takes."""

from __future__ import annotations

import inspect
import types
from typing import Any, get_args, get_origin

from connectome_compiler.errors import UnknownNameError
from connectome_compiler.options import option_defaults, option_types
from connectome_compiler.recipe import load_recipe, shipped
from connectome_compiler.registry import Kind, find, known

KINDS: tuple[Kind, ...] = ("adapter", "pass", "template")


def everything() -> str:
    """Return one line for each thing there is."""
    lines = ["recipes (ccompile build NAME)", *_table(shipped())]
    for kind in KINDS:
        plural = "passes" if kind == "pass" else f"{kind}s"
        lines += ["", plural, *_table({n: _summary(find(kind, n)) for n in sorted(known(kind))})]
    return "\n".join([*lines, "", "ccompile list NAME tells what each takes"])


def one(name: str) -> str:
    """Return what ``name`` does and takes: a recipe's stages, or a stage's options."""
    recipes = shipped()
    pages = [_recipe(name)] if name in recipes else []
    pages += [_stage(kind, name) for kind in KINDS if name in known(kind)]
    if not pages:
        names = {*recipes, *(n for kind in KINDS for n in known(kind))}
        raise UnknownNameError.among("name", name, names)
    return "\n\n".join(pages)


def _recipe(name: str) -> str:
    recipe = load_recipe(name)
    lines = [f"recipe {name}: {recipe.title}", "", "options (--set NAME=VALUE)"]
    rows = {}
    for short, path in recipe.public.items():
        stage_id, _, option = path.rpartition(".")
        stage = recipe.stages[stage_id]
        cls = find(stage.kind, stage.use)
        value = stage.options.get(option, option_defaults(cls)[option])
        rows[short] = f"{value!r:<12} {_type(option_types(cls)[option])}  ({path})"
    lines += [*_table(rows), "", "stages (--set STAGE.FIELD=VALUE)"]
    stages = {}
    for id_, stage in recipe.stages.items():
        given = ", ".join(f"{k}={v!r}" for k, v in stage.options.items())
        stages[id_] = f"{stage.kind} {stage.use}" + (f" ({given})" if given else "")
    return "\n".join([*lines, *_table(stages)])


def _stage(kind: Kind, name: str) -> str:
    cls = find(kind, name)
    types_, defaults = option_types(cls), option_defaults(cls)
    lines = [f"{kind} {name}", "", inspect.cleandoc(cls.__doc__ or ""), "", "options"]
    rows = {key: f"{defaults[key]!r:<12} {_type(types_[key])}" for key in types_}
    return "\n".join([*lines, *(_table(rows) or ["  none"])])


def _summary(cls: type[Any]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").split("\n")[0]


def _type(hint: Any) -> str:
    if get_origin(hint) is types.UnionType:
        return " | ".join(_type(part) for part in get_args(hint))
    if hint is type(None):
        return "none"
    if get_origin(hint) is not None and "Literal" in str(get_origin(hint)):
        return " | ".join(str(value) for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {_type(get_args(hint)[0])}"
    return getattr(hint, "__name__", str(hint))


def _table(rows: dict[str, str]) -> list[str]:
    width = max((len(name) for name in rows), default=0) + 2
    return [f"  {name:<{width}}{text}".rstrip() for name, text in rows.items()]
