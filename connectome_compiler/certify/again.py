"""What a module must state, made again: its style emits the saved graph a second time.

A module is tested against its statement, and its statement against this one, so that no number in
it is the module's own word. Nothing of the module runs here, and torch is not needed.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

from connectome_compiler import __version__
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.options import configure
from connectome_compiler.registry import find
from connectome_compiler.statement import expanded

OWN = ("sha256", "header_sha256", "compiler")  # these differ wherever anything does
SAME = "its statement is the one that its template makes of the saved graph, field by field"


def follows(module: Path, saved: Path, ran: str) -> tuple[bool, str]:
    """Compare what a module states with what its template states of the ``saved`` graph.

    ``ran`` is the hash of the statement that stood in the module when it ran. Returns whether the
    two agree, and a line for the certificate; where they differ, the module is of another version
    of the compiler, or cannot be emitted here. Raises `Wrong` naming the first field that differs.
    """
    stated = _stated(module.read_text(encoding="utf-8"))
    if stated.get("sha256") != ran:
        raise Wrong("PROVENANCE", "is another in its text than where it runs")
    maker = stated["compiler"]
    elsewhere = "" if maker == f"connectome-compiler {__version__}" else f"made by {maker}"
    try:
        style = _style(stated["template"])
    except (CompileError, ValueError) as error:
        why = f"its template cannot be made here ({error}), so its statement was not made again"
        return False, f"{elsewhere}: {why}" if elsewhere else why
    try:
        emission: Any = style.emit(Graph.load(saved), stated["name"])
        wanted = _stated(emission.source)
        odd = _first({**stated, **dict.fromkeys(OWN)}, {**wanted, **dict.fromkeys(OWN)})
        odd = odd or ("" if elsewhere else _first(stated, wanted))
    except CompileError as error:
        odd = f"cannot be: of the saved graph its template makes no module, {error}"
    if odd and elsewhere:
        return False, f"{elsewhere}; version {__version__} states something else: {odd}"
    if odd:
        raise Wrong("PROVENANCE", odd)
    return True, SAME


def _stated(source: str) -> dict[str, Any]:
    """Return ``PROVENANCE``, which is one literal (`emit.proven`), without running anything."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "PROVENANCE":
            stated: dict[str, Any] = ast.literal_eval(node.value or ast.Constant(None))
            return {key: expanded(value) for key, value in stated.items()}
    raise Wrong("PROVENANCE", "is not one literal")


def _style(template: str) -> Any:
    """Return the style as a statement spells it: ``name(option=true, other="")``."""
    spelled = re.fullmatch(r"([\w.-]+)\((.*)\)", template, re.DOTALL)
    if spelled is None:
        raise ValueError(f"{template} is not spelled as a template")
    options = tomllib.loads(f"options = {{{spelled[2]}}}")["options"]
    return configure("template", find("template", spelled[1]), options)


def _first(found: Any, wanted: Any, where: str = "") -> str:
    """Return the first field in which two statements differ, "" if they do not."""
    pairs: list[tuple[str, Any, Any]]
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [*wanted, *(key for key in found if key not in wanted)]
        pairs = [(f"{where}.{key}".strip("."), found.get(key), wanted.get(key)) for key in keys]
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = [
            (f"{where}[{_name(other, k)}]", one, other)
            for k, (one, other) in enumerate(zip(found, wanted, strict=True))
        ]
    else:
        same = type(found) is type(wanted) and found == wanted
        return "" if same else f"{where} is {found!r}; of the saved graph follows {wanted!r}"
    return next((odd for name, *two in pairs if (odd := _first(two[0], two[1], name))), "")


def _name(part: Any, k: int) -> str:
    """Return what an item of a list is called."""
    named = part if isinstance(part, dict) else {}
    return str(named.get("key", named.get("name", k)))
