"""A small, safe language to select neurons: columns, comparisons, ``and``, ``or``, ``not``, ``in``.

``cortical_layer == "L4" and not cell_type in ("BC", "MC")``. The text is parsed, never run.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.graph import Graph, Population

LONGEST = 10_000  # characters; recipes are untrusted, and deep nesting exhausts the parser
DEEPEST = 50  # levels of nesting; evaluation is recursive
POPULATION = "population"  # a column that is added to every table, unless the data have one
COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}


def matches(table: pa.Table, expression: str) -> npt.NDArray[np.bool_]:
    """Return the rows of ``table`` for which ``expression`` holds, shape ``(n_rows,)``.

    A comparison with a missing value does not hold, nor does its opposite; ``is None`` finds
    missing values. Raises `CompileError` for anything outside the language.
    """
    where = _where(expression)
    tree = parsed(expression)
    try:
        found = _Reader(table, where).truth(tree)
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise CompileError(where, f"cannot be read: {error}", _HINT) from error
    except pa.ArrowException as error:
        raise CompileError(where, f"cannot be compared: {error}", _HINT) from error
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False), np.bool_)


def select(where: str, graph: Graph, expression: str) -> dict[str, npt.NDArray[np.bool_]]:
    """Return for which neurons ``expression`` holds, by population, where there is a table.

    Raises `CompileError` at ``where`` if it holds for none.
    """
    found = {p.name: matches(table, expression) for p, table in _tables(graph)}
    if not any(np.any(mask) for mask in found.values()):
        problem = f"none of {graph.n_neurons:,} neurons matches {expression!r}"
        said = "; ".join(strangers_in(graph, expression))
        raise CompileError(where, problem, said or "ccompile inspect shows the columns")
    return found


def parsed(expression: str) -> ast.expr:
    """Return the syntax tree; raise `CompileError` for what is not an expression. Runs no code."""
    where = _where(expression)
    if len(expression) > LONGEST:
        raise CompileError(where, f"is longer than {LONGEST:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unknown escapes in strings
            tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        problem = f"is not an expression: {error.msg}"
        place = f", column {error.offset}" if error.offset else ""
        raise CompileError(where + place, problem, _HINT) from error
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise CompileError(where, f"cannot be read: {error}", _HINT) from error
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise CompileError(where, f"is nested more than {DEEPEST} deep", _HINT)


def strangers(table: pa.Table, expression: str) -> list[str]:
    """Return the words that an expression compares a column with and that the column lacks."""
    found = []
    for node in ast.walk(parsed(expression)):
        if not isinstance(node, ast.Compare) or not isinstance(node.left, ast.Name):
            continue
        words = [n.value for c in node.comparators for n in ast.walk(c) if _is_word(n)]
        if not words or node.left.id not in table.column_names:
            continue
        present = set(pc.unique(table.column(node.left.id)).to_pylist())
        found += [f"no neuron has {node.left.id} {w!r}" for w in words if w not in present]
    return found


def strangers_in(graph: Graph, expression: str) -> list[str]:
    """Return the `strangers` of an expression, over all neurons that have a table."""
    tables = [table for _, table in _tables(graph)]
    if not tables or not expression.strip():
        return []
    return strangers(pa.concat_tables(tables, promote_options="permissive"), expression)


def _tables(graph: Graph) -> Iterator[tuple[Population, pa.Table]]:
    """Yield the neuron tables, with the name of the population as an additional column."""
    for p in graph.biological:
        if p.neurons is not None:
            yield p, with_population(p.name, p.neurons)


def with_population(name: str, table: pa.Table) -> pa.Table:
    """Return a neuron table with the name of its population as an additional column."""
    if POPULATION in table.column_names:
        return table
    return table.append_column(POPULATION, pa.repeat(name, table.num_rows))


def _is_word(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _where(expression: str) -> str:
    return f"expression {expression[:80]!r}"


def _kind(dtype: pa.DataType) -> str | None:
    if pa.types.is_string(dtype):
        return "text"
    if pa.types.is_boolean(dtype):
        return "true or false"
    return "a number" if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) else None


_HINT = 'for example: cortical_layer == "L4" and not cell_type in ("BC", "MC")'


class _Reader:
    def __init__(self, table: pa.Table, where: str) -> None:
        self.table, self.where = table, where

    def truth(self, node: ast.expr) -> pa.Array:
        """Return a boolean column: true, false, or null where a value is missing."""
        if isinstance(node, ast.BoolOp):
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            result = self.truth(node.values[0])
            for part in node.values[1:]:
                result = join(result, self.truth(part))
            return result
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return pc.invert(self.truth(node.operand))
        if isinstance(node, ast.Compare):
            result = None
            left = node.left
            for op, right in zip(node.ops, node.comparators, strict=True):
                part = self.compare(left, op, right)
                result = part if result is None else pc.and_kleene(result, part)
                left = right
            return result
        if isinstance(node, ast.Name) and pa.types.is_boolean(self.column(node.id).type):
            return self.column(node.id)
        raise self.refuse(node)

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pa.Array:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise CompileError(self.where, "`is` compares only with None", "use ==")
            missing = pc.is_null(self.named(left))
            return missing if isinstance(op, ast.Is) else pc.invert(missing)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                raise CompileError(self.where, "`in` needs a list", 'for example ("L4", "L5")')
            column = self.named(left)
            inside = pc.if_else(pc.is_null(column), None, pa.scalar(False))
            for element in right.elts:
                wanted = pa.scalar(self.literal(element))
                self.must_be_alike(column, wanted, left, element)
                inside = pc.or_(inside, pc.equal(column, wanted))
            return inside if isinstance(op, ast.In) else pc.invert(inside)
        a, b = self.operand(left), self.operand(right)
        if isinstance(a, pa.Scalar) and isinstance(b, pa.Scalar):
            raise CompileError(self.where, "compares two constants", "name a column")
        self.must_be_alike(a, b, left, right)
        return COMPARE[type(op)](a, b)

    def must_be_alike(self, a: Any, b: Any, left: ast.expr, right: ast.expr) -> None:
        """Refuse to compare text with a number: they are never equal."""
        kinds = [_kind(side.type) for side in (a, b)]
        if kinds[0] != kinds[1] and None not in kinds:
            one, other = (ast.unparse(node)[:60] for node in (left, right))
            problem = f"compares {one} ({kinds[0]}) with {other} ({kinds[1]})"
            raise CompileError(self.where, problem, 'quote text: "L4"')

    def named(self, node: ast.expr) -> pa.Array:
        if not isinstance(node, ast.Name):
            problem = f"expected a column, not {ast.unparse(node)[:60]!r}"
            raise CompileError(self.where, problem, _HINT)
        return self.column(node.id)

    def operand(self, node: ast.expr) -> Any:
        return self.column(node.id) if isinstance(node, ast.Name) else pa.scalar(self.literal(node))

    def literal(self, node: ast.expr) -> str | int | float | bool:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):  # such as a list in a set
            raise self.refuse(node) from None
        if not isinstance(value, str | int | float | bool):
            raise self.refuse(node)
        return value

    def column(self, name: str) -> pa.Array:
        if name not in self.table.column_names:
            raise UnknownNameError.among(f"{self.where}: column", name, self.table.column_names)
        return self.table.column(name).combine_chunks()

    def refuse(self, node: ast.expr) -> CompileError:
        return CompileError(self.where, f"does not allow {ast.unparse(node)[:60]!r}", _HINT)
