"""Emitted source is read back before anything imports it: no word of it is of data."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right

from connectome_compiler.emit.literal import Datum, Source
from connectome_compiler.errors import VerifyError

HINT = "a defect of its template, please report"


class Proven(Source):
    """Source that `proven` has read back."""

    __slots__ = ()


def proven(source: str, class_name: str) -> Proven:
    """Return ``source`` if it means what its template meant, whatever the data say.

    Source states where data stand in it. Where Python reads exactly one literal from exactly the
    first to the last character of each, and reads the value meant, all other tokens are wholly of
    the template: no name, attribute, call or comment comes from data, and none can hide in how the
    text shows. The module and its class begin with the docstrings meant, and ``PROVENANCE`` is one
    literal. Raises `VerifyError`.
    """
    if isinstance(source, Proven):
        return source
    where = f"class {class_name}"
    if not isinstance(source, Source):
        problem = "its source is plain text: names from data could be code in it"
        raise VerifyError(where, problem, "let emit.module.assemble make it, or emit.render")
    if not source.replace("\n", "").isprintable():
        raise VerifyError(where, "its source contains invisible characters", HINT)
    try:
        tree = ast.parse(source.encode())  # the bytes that will be imported
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise VerifyError(where, f"its source is not valid Python: {error}", HINT) from error
    read = _literals(where, tree, source)
    docstrings = (tree, *(n for n in tree.body if isinstance(n, ast.ClassDef)))
    made = [n for n in docstrings if n is tree or getattr(n, "name", "") == class_name]
    if len(made) != 2 or any(_docstring(node) not in read for node in made):
        raise VerifyError(where, "module or class lack the docstring that was meant", HINT)
    stated = [n for n in tree.body if isinstance(n, ast.AnnAssign) and _is_provenance(n)]
    if len(stated) != 1 or stated[0].value not in read:
        raise VerifyError(where, "PROVENANCE is not one literal", HINT)
    return Proven(source, source.data)


def _literals(where: str, tree: ast.Module, source: Source) -> set[ast.AST]:
    """Return the nodes of all data in ``source``; raise `VerifyError` unless each has its own."""
    ends = [found.start() for found in re.finditer("\n", source)]

    def position(at: int) -> tuple[int, int]:
        line = bisect_left(ends, at)
        start = ends[line - 1] + 1 if line else 0
        return line + 1, len(source[start:at].encode())

    waiting: dict[tuple[int, ...], Datum] = {
        (*position(d.start), *position(d.end)): d for d in source.data
    }
    lines = sorted(place[0] for place in waiting)
    found: set[ast.AST] = set()
    # Only where data stand: not in the layers, the bulk of a module.
    nodes: list[ast.AST] = [
        n for n in tree.body if bisect_left(lines, n.lineno) < bisect_right(lines, _last(n))
    ]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Constant | ast.Dict | ast.List | ast.Tuple):
            place = node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0
            datum = waiting.get(place)
            if datum is not None and ast.literal_eval(node) == datum.value:
                del waiting[place]
                found.add(node)
                continue
        nodes += ast.iter_child_nodes(node)
    if waiting or len(found) < len(source.data):
        line = min(waiting, default=(1,))[0]
        problem = f"line {line} of its source: what comes from data is not one literal of its own"
        raise VerifyError(where, problem, HINT)
    return found


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _docstring(node: ast.AST) -> ast.AST | None:
    body = getattr(node, "body", [])
    return body[0].value if body and isinstance(body[0], ast.Expr) else None


def _is_provenance(node: ast.AnnAssign) -> bool:
    return isinstance(node.target, ast.Name) and node.target.id == "PROVENANCE"
