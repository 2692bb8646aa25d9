"""Names for emitted source: identifiers from populations, class names from recipes."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterable

from connectome_compiler.emit.literal import Source, identifier, is_name
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.provenance import NULL_MODELS


def identifiers(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, Source]:
    """Return one Python identifier per name: ``L2/3.exc`` becomes ``l2_3_exc``.

    None occurs twice, none is one of those ``taken``.
    """
    found: dict[str, Source] = {}
    used = set(taken)
    for name in names:
        plain = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_") or "unnamed"
        if plain[0].isdigit() or keyword.iskeyword(plain) or keyword.issoftkeyword(plain):
            plain = f"p_{plain}"
        unique, k = plain, 1
        while unique in used:
            k += 1
            unique = f"{plain}_{k}"
        used.add(unique)
        found[name] = identifier(unique)
    return found


# What every `torch.nn.Module` has, and every network: no attribute may take its place.
_MODULE = """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters parameters register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type xpu
    zero_grad be_plain parameter_groups
"""
MODULE = frozenset(_MODULE.split())
# The last words in the name of a data set that is not the measured one: drawn from statistics, or
# with its wiring randomised by one null model after the other.
MARK = rf"surrogate|null(?:-(?:{'|'.join(NULL_MODELS)}))*"


def marks(dataset: str) -> list[str]:
    """Return the marks that end a data set's name: ``surrogate`` and ``null-degrees``."""
    tail = re.search(rf"(?<=.)(?:-(?:{MARK}))+$", dataset)
    return re.findall(rf"-({MARK})(?=-|$)", tail[0]) if tail else []


def recipe_name(recipe: str, dataset: str) -> str:
    """Return the name under which a recipe shows: with the marks of the data that it came to."""
    for mark in marks(dataset):
        if not re.search(rf"-{mark}(?![a-z])", recipe):
            begun = mark.startswith("null-") and recipe.endswith("-null")
            recipe += mark.removeprefix("null") if begun else f"-{mark}"
    return recipe


def network_name(chosen: str, recipe: str, dataset: str) -> str:
    """Return the class to emit: ``chosen``, else the recipe's; it always has the data's marks."""
    name = chosen or class_name(recipe)
    for mark in marks(dataset):
        words = mark.split("-")
        if not re.search(rf"(?i:{'_?'.join(words)})(?![a-z])", name):  # Nullcline is no null model
            begun = words[0] == "null" and re.search(r"(?i:null)$", name)
            name += "".join(word.capitalize() for word in words[bool(begun) :])
    return name


RESERVED = {"PROVENANCE", "ARRAYS", "ARRAYS_SHA256", "build", "read_arrays"}  # of every module
RESERVED |= {"NEURONS", "NEURON_COLUMNS", "read_neurons"}  # where units are neurons
RESERVED |= {"SIGNS", "TERMS", "READ_OUT"}  # of motifs, and of maps that are read


def check_class_name(name: str, source: str) -> None:
    """Raise `CompileError` unless a class may be called ``name`` beside ``source``."""
    if not is_name(name) or name.startswith("__"):
        raise CompileError(f"class name {name!r}", "is not a valid Python name", "set class_name")
    taken: set[str] = set()
    for node in ast.walk(ast.parse(source)) if name in source else ():
        if isinstance(node, ast.Name):
            taken.add(node.id)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            taken.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            taken.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
    if name in taken | set(dir(builtins)) | RESERVED:
        raise CompileError(f"class name {name!r}", "is taken in the module", "set class_name")


def class_name(recipe: str) -> str:
    """Return the class of a recipe: ``microns-v1-surrogate`` becomes ``MicronsV1Surrogate``."""
    words = re.findall(r"[A-Za-z0-9]+", recipe)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and not name[0].isdigit() else f"Network{name}"
