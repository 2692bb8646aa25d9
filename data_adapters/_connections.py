"""Rows of a table of connections become pairs of neurons: looked up, summed, checked, filtered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError

from ._ask import unsaid
from ._ids import refuse_id, refuse_rounded_ends
from ._names import CHEMICAL, KIND_WORDS, RECEIVED, SIGN_WORDS, squeezed
from ._tables import INTEGERS, Edges, Table, arrow, first_row, identifier, query, quoted

# Codes for an end of an edge that is not a kept neuron.
DROPPED, UNKNOWN, MALFORMED = -1, -2, -3
BELOW = -4  # both ends of the one row that stands for all pairs below a threshold
ZERO = -5  # both ends of a row of weight 0, which is no connection


@dataclass(frozen=True, slots=True, eq=False)
class Connections:
    """Connections among the neurons that are kept, sorted by post, then pre (then kind).

    Arrays of shape ``(n_connections,)``. ``n_rows`` were read; in ``n_dropped_rows`` one end or
    both was a cell that is not kept, in ``n_unknown_rows`` one that is not in the cell table.
    ``weight`` is int32 where it counts synapses, else float64. ``kind`` is `CHEMICAL` or
    `ELECTRICAL`; ``n_received_rows`` were the second mention of a synapse.
    ``size`` is none where the table has none, or lacks it in ``n_rows_without_size``. ``sign`` is
    none if the table has none, and 0 where no row of a pair gives it, or where the rows of a pair
    disagree, as in ``n_sign_conflicts`` pairs. ``n_repeated_rows`` have counts and repeat a pair of
    an earlier row; ``n_zero_rows`` have a weight of 0, and are no connection. ``listed`` are the
    neurons with any row as pre, whatever its post. ``n_below`` pairs, of ``weight_below`` in
    all, were below the threshold.
    """

    post: npt.NDArray[np.int32]
    pre: npt.NDArray[np.int32]
    weight: npt.NDArray[np.int32] | npt.NDArray[np.float64]
    kind: npt.NDArray[np.int8]
    size: npt.NDArray[np.float64] | None
    sign: npt.NDArray[np.int8] | None
    listed: npt.NDArray[np.int32]
    n_rows: int
    n_dropped_rows: int
    n_unknown_rows: int
    n_received_rows: int
    n_rows_without_size: int
    n_repeated_rows: int
    n_sign_conflicts: int
    n_below: int
    weight_below: float
    n_zero_rows: int = 0


def read_connections(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    drop_unknown: bool,
    *,
    are_counts: bool = True,
    at_least: float = 0,
    repeated: Literal["sum", "error"] = "sum",
    listed: bool = True,
) -> Connections:
    """Sum the weights of every pair of kept neurons, and keep pairs of magnitude ``at_least``.

    Electrical pairs are all kept: both directions must be joined before they are compared.

    ``codes`` is a table of the database with columns ``key`` (an id, unique) and ``code`` (the
    index of a kept neuron, or `DROPPED`). Both ends are looked up before the rows are grouped: that
    is several times faster, and memory is bounded by what is kept instead of what is in the file.
    Weights are whole numbers of synapses where they ``are_counts``, else real. Without ``listed``,
    which a caller may not need, rows of unknown cells are not even looked at where that is cheaper.
    """
    table, where = edges.table, str(edges.table.path)
    # Text is parsed once only; the number of rows of a binary table is known.
    inner = not listed and not table.is_text
    got = _summed(db, edges, codes, as_text, are_counts, at_least, inner)
    worst = np.minimum(got["post"], got["pre"])
    special = (DROPPED, UNKNOWN, MALFORMED, ZERO)
    rows = {c: int(got["n_rows"][worst == c].sum()) for c in special}
    n_rows = int(got["n_rows"].sum())
    if inner:
        ((n_all,),) = query(db, where, f"SELECT count(*) FROM {table.name}")
        if n_all > n_rows:
            rows[MALFORMED] = _malformed(db, edges, as_text)
            rows[UNKNOWN], n_rows = n_all - n_rows, n_all

    if rows[MALFORMED]:
        refuse_id(db, table, _which_end(db, edges, as_text, "{0} IS NULL"), as_text)
    if rows[UNKNOWN]:
        column = _which_end(db, edges, as_text, f"{{0}} NOT IN (SELECT key FROM {codes})")
        key = table.key(column, as_text)
        missing = f"{key} NOT IN (SELECT key FROM {codes})"
        refuse_rounded_ends(db, edges, codes, as_text, column, missing)
        if not drop_unknown:
            row, value = first_row(db, table, column, missing)
            some = f"{rows[UNKNOWN]:,} rows have such an end"
            problem = f"{value} is not in the cell table ({some})"
            hint = "add the cells, or drop such connections with unknown_neurons=drop"
            raise CompileError(table.at(row, column), problem, hint)
    if edges.kind and np.any(got["kind"] < 0):
        row, value = first_row(db, table, edges.kind, f"{_kind(table, edges.kind)} < 0")
        known = ", ".join(w for words in KIND_WORDS.values() for w in words)
        problem = f"{_shown(value)} is not a kind of synapse"
        hint = f"known: {known}; or kind=none, if the column means something else"
        raise CompileError(table.at(row, edges.kind), problem, hint)
    used = (worst >= DROPPED) | (worst == BELOW)
    if (
        edges.count
        and edges.signed == ""
        and (got["negative"][used].any() or (are_counts and got["bad_n"][used].any()))
    ):
        _ask_for_signs(db, edges, are_counts)
    if edges.count and got["bad_n"][used].any():
        _refuse_weight(db, edges, are_counts)
    if edges.size and got["bad_s"][used].any():
        size = table.number(edges.size)
        wrong = f"{table.value(edges.size)} IS NOT NULL AND ({size} >= 0) IS NOT TRUE"
        row, value = first_row(db, table, edges.size, wrong)
        raise CompileError(
            table.at(row, edges.size), f"{value!r} is not a size (a number of at least 0)"
        )
    if edges.sign and got["bad_sign"][used].any():
        row, value = first_row(db, table, edges.sign, f"{_sign(table, edges.sign)} IS NULL")
        hint = "use 1, -1, 0, +, -, excitatory or inhibitory; blank if unknown"
        raise CompileError(table.at(row, edges.sign), f"{value!r} is not a sign", hint)

    kept = (worst >= 0) & (got["kind"] != RECEIVED)
    if repeated == "error" and (got["n_rows"][kept] > 1).any():
        _refuse_repeated(db, edges, codes, as_text, {c: v[kept] for c, v in got.items()})
    weight = got["n"][kept]
    if are_counts and weight.max(initial=0) > np.iinfo(np.int32).max:
        raise CompileError(where, "a connection has more than 2,147,483,647 synapses")
    without = int(got["no_size"][kept].sum())
    has_size = edges.size is not None and without == 0
    plus, minus = got["plus"][kept], got["minus"][kept]
    if edges.signed == "weight" and (plus & minus).any():
        _refuse_both_signs(db, edges, codes, as_text, {c: v[kept] for c, v in got.items()})
    below = worst == BELOW
    sources = np.unique(got["pre"][got["pre"] >= 0]) if listed else np.empty(0)
    return Connections(
        post=got["post"][kept],
        pre=got["pre"][kept],
        weight=weight.astype(np.int32 if are_counts else np.float64),
        kind=np.full(int(kept.sum()), edges.every, np.int8)
        if edges.kind is None
        else got["kind"][kept].astype(np.int8),
        size=got["size"][kept].astype(np.float64) if has_size else None,
        sign=plus.astype(np.int8) - minus.astype(np.int8) if _is_signed(edges) else None,
        listed=sources.astype(np.int32),
        n_rows=n_rows,
        n_dropped_rows=rows[DROPPED],
        n_unknown_rows=rows[UNKNOWN],
        n_received_rows=int(got["n_rows"][(worst >= 0) & (got["kind"] == RECEIVED)].sum()),
        n_rows_without_size=without,
        n_repeated_rows=int((got["n_rows"][kept] - 1).sum()) if edges.count else 0,
        n_sign_conflicts=int((plus & minus).sum()),
        n_below=int(got["pairs"][below].sum()),
        weight_below=float(got["n"][below].sum()),
        n_zero_rows=rows[ZERO],
    )


def _is_signed(edges: Edges) -> bool:
    """Whether connections have signs, of a column or of their weights."""
    return edges.sign is not None or (edges.signed == "weight" and edges.count is not None)


def _summed(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    are_counts: bool,
    at_least: float,
    inner: bool,
) -> dict[str, npt.NDArray[Any]]:
    """Return one row per pair and kind as arrays, sorted by post, then pre, then kind.

    ``n`` is the summed weight, ``n_rows`` the number of rows, ``bad_n`` whether any has no weight,
    and so on. Where pairs are too weak, one row with ends `BELOW` sums them up; ``pairs`` is how
    many they are. With ``inner`` rows of unknown and malformed ids are left out.
    """
    sql = _grouped(edges, codes, as_text, are_counts, at_least, inner)
    found = arrow(db, str(edges.table.path), sql)
    n = found.num_rows
    got: dict[str, npt.NDArray[Any]] = {
        **{name: np.zeros(n, np.int8) for name in ("kind", "pairs", "no_size")},
        **{name: np.zeros(n, np.bool_) for name in ("bad_n", "bad_s", "bad_sign")},
        **{name: np.zeros(n, np.bool_) for name in ("plus", "minus", "negative")},
    }
    for name in found.column_names:
        got[name] = found.column(name).to_numpy()
        found = found.drop_columns([name])  # so that memory holds one column twice, not all
    return {"n": got["n_rows"], **got}


def _grouped(
    edges: Edges, codes: str, as_text: bool, are_counts: bool, at_least: float, inner: bool
) -> str:
    """Return SQL for `_summed`: only what the table has, since each sum costs memory per pair."""
    table = edges.table
    taken = {c: table.key(getattr(edges, c), as_text) for c in ("pre", "post")}
    sums = {"n_rows": "count(*)::UINTEGER"}
    strength = "n_rows"
    if edges.count:
        strength = "n"
        taken["n"] = table.real(edges.count)
        if edges.signed == "weight":
            taken["w"], taken["n"] = taken["n"], f"abs({taken['n']})"
            sums["plus"] = "coalesce(bool_or(w > 0), false)"
            sums["minus"] = "coalesce(bool_or(w < 0), false)"
        good = _good_weight("n", are_counts)
        sums["n"] = f"sum(CASE WHEN {good} THEN n::BIGINT ELSE 0 END)::BIGINT"
        sums["bad_n"] = f"bool_or(({good}) IS NOT TRUE)"
        if not are_counts:  # in one order, since a sum of real numbers depends on it
            sums["n"] = f"coalesce(sum(n ORDER BY n) FILTER ({good}), 0)"
            if edges.signed == "":
                sums["negative"] = "coalesce(bool_or(n < 0), false)"
        elif table.columns[edges.count] in INTEGERS:  # the same, several times faster
            sums["n"] = "coalesce(sum(n), 0)::BIGINT"
            sums["bad_n"] = "count(n) < count(*) OR min(n) < 1"
    if edges.size:
        taken["s"] = table.number(edges.size)
        taken["given"] = table.value(edges.size)
        sums["size"] = "sum(s)::DOUBLE"
        sums["no_size"] = "(count(*) - count(s))::UINTEGER"
        sums["bad_s"] = "coalesce(min(s) < 0, false) OR count(given) > count(s)"
    if edges.sign and "plus" not in sums:
        taken["sign"] = _sign(table, edges.sign)
        sums["plus"] = "coalesce(bool_or(sign > 0), false)"
        sums["minus"] = "coalesce(bool_or(sign < 0), false)"
        sums["bad_sign"] = "bool_or(sign IS NULL)"
    if edges.kind:
        taken["kind"] = _kind(table, edges.kind)
    columns = ", ".join(f"{source} AS {name}" for name, source in taken.items())
    values = ", ".join(f"{value} AS {name}" for name, value in sums.items())
    code = f"CASE WHEN {{0}} IS NULL THEN {MALFORMED} ELSE coalesce({{0}}_cell.code, {UNKNOWN}) END"
    code, join = ("{0}_cell.code", "JOIN") if inner else (code, "LEFT JOIN")
    if edges.count:
        code = f"CASE WHEN n = 0 THEN {ZERO} ELSE {code} END"
    ends = ", ".join(f"{code.format(end)} AS {end}" for end in ("post", "pre"))
    key = "post, pre, kind" if edges.kind else "post, pre"
    grouped = f"""
        SELECT {ends}, {"e.kind AS kind, " if edges.kind else ""} {values}
        FROM (SELECT {columns} FROM {table.name}) e
             {join} {codes} pre_cell ON e.pre = pre_cell.key
             {join} {codes} post_cell ON e.post = post_cell.key
        GROUP BY ALL"""
    if at_least <= (1 if are_counts else 0):
        return f"{grouped} ORDER BY {key}"
    strong = f"least(post, pre) < 0 OR abs({strength}) >= {at_least!r}"
    if edges.kind:
        strong += f" OR kind <> {CHEMICAL}"
    elif edges.every != CHEMICAL:
        return f"{grouped} ORDER BY {key}"
    total = {
        "size": "NULL",
        "n": "sum(n)::BIGINT" if are_counts else "sum(n ORDER BY n)",
        **{name: f"sum({name})::UINTEGER" for name in ("n_rows", "no_size")},
    }
    totals = ", ".join(total.get(name, f"bool_or({name})") for name in sums)
    return f"""
        WITH pairs AS MATERIALIZED ({grouped})
        SELECT *, 1::UINTEGER AS pairs FROM pairs WHERE {strong}
        UNION ALL
        SELECT {BELOW}, {BELOW}, {f"{CHEMICAL}::TINYINT, " if edges.kind else ""} {totals},
               count(*)::UINTEGER
        FROM pairs WHERE NOT ({strong}) HAVING count(*) > 0
        ORDER BY {key}"""


def _malformed(db: duckdb.DuckDBPyConnection, edges: Edges, as_text: bool) -> int:
    """Return the number of rows in which an id is missing or invalid."""
    table = edges.table
    wrong = " OR ".join(f"{table.key(c, as_text)} IS NULL" for c in (edges.pre, edges.post))
    ((n,),) = query(db, str(table.path), f"SELECT count(*) FROM {table.name} WHERE {wrong}")
    return int(n)


def _which_end(db: duckdb.DuckDBPyConnection, edges: Edges, as_text: bool, condition: str) -> str:
    """Return the column, pre or else post, of which any id meets an SQL condition on ``{0}``."""
    table = edges.table
    bad = condition.format(table.key(edges.pre, as_text))
    found = query(db, str(table.path), f"SELECT 1 FROM {table.name} WHERE {bad} LIMIT 1")
    return edges.pre if found else edges.post


def _good_weight(n: str, are_counts: bool) -> str:
    """Return SQL for whether ``n`` is a weight. NaN is larger than all numbers."""
    whole = f"({n} >= 1 AND {n} = floor({n}) AND {n} < 1e15)"
    return whole if are_counts else f"isfinite(({n})::DOUBLE)"


def _ask_for_signs(db: duckdb.DuckDBPyConnection, edges: Edges, are_counts: bool) -> None:
    """Ask what negative weights are, if there are any."""
    assert edges.count is not None
    table, where = edges.table, str(edges.table.path)
    weight = table.real(edges.count)
    sql = f"SELECT count(*) FILTER ({weight} < 0), count(*) FROM {table.name}"
    ((n, n_all),) = query(db, where, sql)
    if not n:
        return
    shown = [edges.pre, edges.post, edges.count]
    columns = ", ".join(identifier(c) for c in shown)
    sql = f"SELECT {columns} FROM {table.name} WHERE {weight} < 0 LIMIT 3"
    raise unsaid(
        where,
        f"{n:,} of {n_all:,} weights are negative: are these connections inhibitory?",
        [shown, *query(db, where, sql)],
        ("signs=weight", "yes: the sign is kept, for good, and the weight is its magnitude"),
        ("signs=none --set unit=a.u." if are_counts else "signs=none",
         "no: they are numbers like others, and signs are not known"),
    )  # fmt: skip


def _refuse_both_signs(
    db: duckdb.DuckDBPyConnection, edges: Edges, codes: str, as_text: bool, pairs: dict[str, Any]
) -> None:
    """Raise `CompileError` naming the first pair whose rows have weights of both signs."""
    assert edges.count is not None
    table = edges.table
    both = pairs["plus"] & pairs["minus"]
    ends, same = _pair(db, edges, codes, as_text, pairs, int(np.argmax(both)))
    row, _ = first_row(db, table, edges.count, f"{same} AND {table.real(edges.count)} < 0")
    problem = (
        f"the weight of {ends[0]} -> {ends[1]} is negative here and positive in another row "
        f"({int(both.sum()):,} such pairs), so it has no sign"
    )
    hint = "give such pairs one sign; or signs=none, if a negative weight is not inhibition"
    raise CompileError(table.at(row, edges.count), problem, hint)


def _refuse_weight(db: duckdb.DuckDBPyConnection, edges: Edges, are_counts: bool) -> None:
    assert edges.count is not None
    table = edges.table
    good = _good_weight(table.real(edges.count), are_counts)
    bad = f"({good}) IS NOT TRUE"
    row, value = first_row(db, table, edges.count, bad)
    place = table.at(row, edges.count)
    if not table.is_file:
        pre, post = (first_row(db, table, end, bad)[1] for end in (edges.pre, edges.post))
        place += f", from {pre} to {post}"
    if isinstance(value, str) and not table.decimal and re.fullmatch(r"[-+]?\d*,[\d,.]*", value):
        raise _commas(place, value, are_counts)
    if isinstance(value, bool):
        hint = "write numbers, or leave the column out to count each row as 1"
        raise CompileError(place, f"weights must be numbers, not {value}", hint)
    if are_counts:
        problem = f"{_shown(value)} is not a synapse count (a whole number of at least 1)"
        if value is None:
            hint = "write the count, or 0 where there is no connection; or remove the row"
            raise CompileError(place, problem, hint)
        try:
            is_finite = isfinite(float(value))
        except (TypeError, ValueError):
            is_finite = False
        if not is_finite:
            hint = "write a number alone, or remove the row if it is no connection"
            raise CompileError(place, problem, hint)
        raise NoCountError(place, problem)
    raise CompileError(place, f"{_shown(value)} is not finite")


def _commas(where: str, value: str, are_counts: bool) -> CompileError:
    """Return the question whether commas are decimal points, or stand between thousands."""
    point = float(value.replace(".", "").replace(",", ".", 1).replace(",", ""))
    unit = " --set unit=a.u." if are_counts and point % 1 else ""
    answers = [(f"decimal=comma{unit}", f"{value} is {point:.15g}")]
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", value):
        answers.append(("decimal=point", f"{value} is {float(value.replace(',', '')):.15g}"))
    return unsaid(where, f"{value!r} has a comma, which can be a decimal point", (), *answers)


def _shown(value: Any) -> str:
    return "a blank" if value is None else repr(value)


TRUE, FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0")


class NoCountError(CompileError):
    """A weight is not a synapse count."""


def _refuse_repeated(
    db: duckdb.DuckDBPyConnection, edges: Edges, codes: str, as_text: bool, pairs: dict[str, Any]
) -> None:
    """Raise `CompileError` naming the first pair that occurs twice, and the row where it does."""
    table = edges.table
    ends, same = _pair(db, edges, codes, as_text, pairs, int(np.argmax(pairs["n_rows"] > 1)))
    row, _ = first_row(db, table, edges.pre, same, skip=1)
    n = int((pairs["n_rows"] > 1).sum())
    problem = f"the connection {ends[0]} -> {ends[1]} occurs twice ({n:,} such pairs)"
    raise CompileError(table.at(row), problem, "sum such rows with duplicates=sum")


def _pair(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    pairs: dict[str, Any],
    k: int,
) -> tuple[list[Any], str]:
    """Return the ends of a pair, and SQL for its rows."""
    table = edges.table
    ends, same = [], []
    for end in ("pre", "post"):
        sql = f"SELECT key FROM {codes} WHERE code = {pairs[end][k]}"
        ((key,),) = query(db, str(table.path), sql)
        ends.append(key)
        value = quoted(key) if isinstance(key, str) else str(key)
        same.append(f"{table.key(getattr(edges, end), as_text)} = {value}")
    if edges.kind:
        same.append(f"{_kind(table, edges.kind)} = {pairs['kind'][k]}")
    return ends, " AND ".join(same)


def _kind(table: Table, column: str) -> str:
    """Return SQL for the kind of a synapse, -1 where the word is unknown."""
    text = f"regexp_replace(lower({table.value(column)}::VARCHAR), '[ -]+', '_', 'g')"
    words = " ".join(
        f"WHEN {text} IN ({', '.join(map(quoted, known))}) THEN {kind}"
        for kind, known in KIND_WORDS.items()
    )
    return f"(CASE {words} ELSE -1 END)::TINYINT"


def _sign(table: Table, column: str) -> str:
    """Return SQL for a sign: 1, -1, 0 where it is not given, null where it is invalid."""
    text = f"lower({table.value(column)}::VARCHAR)"
    meant = dict(SIGN_WORDS)
    for name, yes in (("excitatory", 1), ("inhibitory", -1)):
        if squeezed(column).endswith(name):  # true or false; Shiu et al. 2024 have 1 and -1
            meant[yes] = (*meant[yes], *TRUE)
            meant[-yes] = (*meant[-yes], *FALSE, *(("-1",) if yes == 1 else ()))
    words = " ".join(
        f"WHEN {text} IN ({', '.join(map(quoted, known))}) THEN {sign}"
        for sign, known in meant.items()
    )
    number = f"TRY_CAST({text} AS DOUBLE)"
    return (
        f"CASE WHEN {text} IS NULL THEN 0 {words} "
        f"WHEN {number} IN (-1, 0, 1) THEN {number}::TINYINT END"
    )
