"""Mutants made by rule: one node of the syntax tree changed, in code that the network runs."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator

from mutants.cases import CASES
from mutants.judge import Mutant

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
REPLACED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
}  # fmt: skip
METHODS = {
    "mul_": "div_", "add_": "sub_", "relu": "tanh", "sigmoid": "tanh", "min": "max", "max": "min",
    "mean": "sum", "amax": "amin", "rsqrt": "sqrt", "sqrt": "square", "exp": "expm1",
    "abs": "neg", "floor": "ceil", "ones_like": "zeros_like", "new_ones": "new_zeros",
    "rand": "randn", "randn_like": "rand_like", "unsqueeze": "squeeze", "t": "clone",
}  # fmt: skip
# What is another text, and no other law: not a mutant.
EQUIVALENT = {
    "rates + self.noise_std * torch.randn_like(rates) -> "
    "(rates - self.noise_std * torch.randn_like(rates))": "a normal number is as often below 0"
}
WORDS = ("ValueError", "TypeError", "RuntimeError")  # a message is not what a network computes


def by_rule(case: str, lines: set[int], n: int) -> Iterator[Mutant]:
    """Yield ``n`` mutants of a case, drawn of all that change something on the given ``lines``."""
    source = CASES[case].emit()[1].source
    made = [m for m in _mutations(source, lines) if m[0].partition(": ")[2] not in EQUIVALENT]
    random.Random(case).shuffle(made)
    yield from (Mutant(case, name, text) for name, text in made[:n])


def _mutations(source: str, lines: set[int]) -> Iterator[tuple[str, str]]:
    data = source.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for top in ast.parse(source).body:
        if not isinstance(top, ast.ClassDef | ast.FunctionDef):
            continue
        for node in _reached(top):
            if getattr(node, "lineno", -1) not in lines:
                continue
            a = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
            b = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
            was = data[a:b].decode()
            for to in _changed(node):
                text = (data[:a] + to.encode() + data[b:]).decode()
                short = " ".join(was.split())[:50], " ".join(to.split())[:50]
                yield f"line {node.lineno}: {short[0]} -> {short[1]}", text  # type: ignore[attr-defined]


def _reached(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may be changed: no annotations, docstrings, decorators, errors or their words."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in WORDS:
        return
    yield node
    skipped = ("annotation", "returns", "decorator_list")
    for field, value in ast.iter_fields(node):
        if field not in skipped:
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ast.AST):
                    yield from _reached(part)


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield the texts that may stand in a node's place."""
    other = copy.deepcopy(node)
    if isinstance(other, ast.Compare) and len(other.ops) == 1:
        other.ops = [COMPARED[type(other.ops[0])]()]
        yield f"({ast.unparse(other)})"
    elif isinstance(other, ast.BinOp) and type(other.op) in REPLACED:
        other.op = REPLACED[type(other.op)]()
        yield f"({ast.unparse(other)})"
    elif isinstance(other, ast.UnaryOp):
        yield f"({ast.unparse(other.operand)})"
    elif isinstance(other, ast.BoolOp):
        other.op = ast.Or() if isinstance(other.op, ast.And) else ast.And()
        yield f"({ast.unparse(other)})"
    elif isinstance(other, ast.Constant) and isinstance(other.value, bool):
        yield str(not other.value)
    elif isinstance(other, ast.Constant) and isinstance(other.value, int):
        yield str(other.value + 1)
    elif isinstance(other, ast.Constant) and isinstance(other.value, float):
        yield str(2 * other.value or 1.0)
    elif isinstance(other, ast.IfExp):
        yield f"({ast.unparse(other.orelse)})"
        yield f"({ast.unparse(other.body)})"
    elif isinstance(other, ast.Attribute) and other.attr in METHODS:
        other.attr = METHODS[other.attr]
        yield ast.unparse(other)
    elif isinstance(other, ast.Call) and len(other.args) > 1:
        if not any(isinstance(x, ast.Starred) for x in other.args[:2]):
            other.args[:2] = other.args[1::-1]
            yield ast.unparse(other)
    elif (
        isinstance(other, ast.AugAssign)
        or (isinstance(other, ast.Expr) and not isinstance(other.value, ast.Constant | ast.Yield))
        or (
            isinstance(other, ast.If)
            and len(other.body) == 1
            and not (other.orelse or isinstance(other.body[0], ast.Raise))
        )
    ):
        yield "pass"
