"""Ids of cells: exact integers or text; ids rounded by a float are detected and refused."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from connectome_compiler.errors import CompileError

from ._ask import unsaid
from ._names import CELL_ID, plain, squeezed
from ._tables import FLOATS, INTEGERS, Edges, Table, arrow, first_row, identifier, query, quoted

SAMPLE_ROWS = 10_000  # of a table, that are looked at to tell what a column is

# An id written by a program that treats all numbers as floats: 7.2057594e+17, 72057594.0.
FLOAT_ID = r"^\d(\.\d+)?[eE]\+?\d\d$|^\d+\.0*$"


def refuse_id(
    db: duckdb.DuckDBPyConnection, table: Table, column: str, as_text: bool, condition: str = ""
) -> None:
    """Raise `CompileError` at the first invalid id, or that meets an SQL condition."""
    condition = condition or f"{table.key(column, as_text)} IS NULL"
    row, value = first_row(db, table, column, condition)
    where, text = table.at(row, column), str(value).strip()
    if value is None or not text:
        raise CompileError(where, "the id is missing")
    if isinstance(value, float) or re.fullmatch(r"\d+(\.\d*)?[eE]\+?\d+|\d+\.\d*", text):
        problem = f"{value} is not an exact id: it was written as a floating-point number"
        raise CompileError(where, problem, "write ids as whole numbers or as text")
    problem = f"{text!r} is not a number, unlike other ids"
    if re.fullmatch(r"[-+]?\d+", text):
        problem = f"{text!r} is not an int64 in plain digits, unlike other ids"
    raise CompileError(where, problem, "use such numbers for all ids, or text for all")


def how_rounded(ids: npt.NDArray[Any]) -> str:
    """Return how integers seem to have been rounded, if they do.

    Above 2^53 a float holds multiples of 2, 4, ... 128 (near 7.2e17) only; a spreadsheet keeps 15
    digits. Ids that are all such multiples were one: the chance of a coincidence is below 1e-6.
    """
    if ids.dtype != np.int64:
        return ""
    big = np.unique(ids[ids > 2**53])
    if not len(big):
        return ""
    spacing = np.spacing(big.astype(np.float64)).astype(np.int64)
    thousands = 10 ** (np.floor(np.log10(big)).astype(np.int64) - 14)
    for unit, what in (
        (thousands, "to 15 digits, as in a spreadsheet"),
        (spacing, "through float64"),
    ):
        if not np.any(big % unit) and np.log2(unit).sum() >= 20:
            return what
    return ""


def refuse_rounded(where: str, ids: npt.NDArray[Any]) -> None:
    """Raise `CompileError` if ids seem to have been rounded."""
    if how := how_rounded(ids):
        problem = f"ids seem to be rounded {how}: all end like {ids[ids > 2**53][0]}"
        hint = "export them again as whole numbers or text; pandas needs dtype=str or Int64"
        raise CompileError(where, problem, hint)


def refuse_rounded_ends(
    db: duckdb.DuckDBPyConnection,
    edges: Edges,
    codes: str,
    as_text: bool,
    column: str,
    missing: str,
) -> None:
    """Raise `CompileError` if the ids that no cell has, or those of all cells, look rounded."""
    table = edges.table
    if as_text:
        return
    key = table.key(column, as_text)
    for where, sql in (
        (
            f"{table.path}, column {column}",
            f"SELECT {key} AS key FROM {table.name} WHERE {missing}",
        ),
        ("cell table", f"SELECT key FROM {codes}"),
    ):
        found = arrow(db, str(table.path), f"{sql} LIMIT {SAMPLE_ROWS}")
        refuse_rounded(where, found.column("key").drop_null().to_numpy())


def ends_are_text(db: duckdb.DuckDBPyConnection, edges: Edges) -> bool:
    """Return whether the ids of the first rows' ends are text; raise if only some of them are."""
    table, numbers, every = edges.table, 0, 0
    if table.text_ids:
        return True
    head = f"(SELECT * FROM {table.name} LIMIT {SAMPLE_ROWS})"
    for column in (edges.pre, edges.post):
        as_number, as_text = table.key(column, False), table.key(column, True)
        sql = f"SELECT count({as_number}), count({as_text}) FROM {head}"
        ((n_numbers, n_all),) = query(db, str(table.path), sql)
        if table.columns[column] in INTEGERS | FLOATS and n_numbers < n_all:
            refuse_id(db, table, column, as_text=False)
        _refuse_float_text(db, table, column, head)
        numbers, every = numbers + n_numbers, every + n_all
    if 0 < numbers < every:
        for column in (edges.pre, edges.post):
            condition = f"{table.key(column, False)} IS NULL"
            if query(db, str(table.path), f"SELECT 1 FROM {head} WHERE {condition} LIMIT 1"):
                refuse_id(db, table, column, as_text=False)
    return numbers == 0


# What a program writes where it has no value, or for a name that it took for a date; totals.
NO_NAMES = (
    ("nan", "nan is how a missing value is written"),
    ("<NA>", "<NA> is how a missing value is written"),
    ("None", "None is how a missing value is written"),
    ("NULL", "NULL is how a missing value is written"),
    ("#N/A", "#N/A is how a missing value is written"),
    ("#REF!", "#REF! is how a spreadsheet writes an error"),
    ("#NAME?", "#NAME? is how a spreadsheet writes an error"),
    ("Total", "Total is how a row of totals begins"),
    ("Grand Total", "Grand Total is how a row of totals begins"),
)
DATE = r"\d{4}-\d\d-\d\d( 00:00:00)?"


def refuse_no_names(db: duckdb.DuckDBPyConnection, edges: Edges, keys: npt.NDArray[Any]) -> None:
    """Raise `CompileError` if an end has a name that no neuron has: ``keys`` are those of all.

    Such are words for missing values, totals, dates of a spreadsheet, and the header, where a text
    that was put together from several has it again.
    """
    table, present = edges.table, set(keys.tolist())
    heads = {edges.pre, edges.post} <= present
    words = [(w, why) for w, why in NO_NAMES if w in present]
    for column in (edges.pre, edges.post):
        key = table.key(column, True)
        if heads:
            both = " AND ".join(
                f"{table.key(c, True)} = {quoted(c)}" for c in (edges.pre, edges.post)
            )
            if query(db, str(table.path), f"SELECT 1 FROM {table.name} WHERE {both} LIMIT 1"):
                row, _ = first_row(db, table, column, both)
                problem = "repeats the names of the columns: this row is no connection"
                raise CompileError(table.at(row), problem, "remove such rows")
        for word, why in words:
            same = f"{key} = {quoted(word)}"
            if query(db, str(table.path), f"SELECT 1 FROM {table.name} WHERE {same} LIMIT 1"):
                row, _ = first_row(db, table, column, same)
                hint = "remove the row, or give the neuron another name"
                raise CompileError(table.at(row, column), f"{why}, not the name of a neuron", hint)
    dates = [k for k in keys.tolist() if re.fullmatch(DATE, k)]
    if dates and len(dates) < len(keys):
        for column in (edges.pre, edges.post):
            same = f"{table.key(column, True)} = {quoted(dates[0])}"
            if query(db, str(table.path), f"SELECT 1 FROM {table.name} WHERE {same} LIMIT 1"):
                row, _ = first_row(db, table, column, same)
                problem = (
                    f"{dates[0]} is a date: a spreadsheet may have changed the name of a neuron"
                )
                hint = "format the column as text and write the name again"
                raise CompileError(table.at(row, column), problem, hint)


def _refuse_float_text(db: duckdb.DuckDBPyConnection, table: Table, column: str, rows: str) -> None:
    """Raise `CompileError` if an id among ``rows`` (SQL) was written as a floating-point number."""
    rounded = f"regexp_matches({table.key(column, True)}, {quoted(FLOAT_ID)})"
    is_text = table.columns[column] == "VARCHAR"
    if is_text and query(db, str(table.path), f"SELECT 1 FROM {rows} WHERE {rounded} LIMIT 1"):
        refuse_id(db, table, column, True, rounded)


def ids_are_text(db: duckdb.DuckDBPyConnection, table: Table, column: str) -> bool:
    """Return whether the ids of a column are text; raise `CompileError` if only some are."""
    if table.text_ids and table.columns[column] == "VARCHAR":
        return True
    as_number, as_text = table.key(column, False), table.key(column, True)
    sql = f"SELECT count({as_number}), count({as_text}) FROM {table.name}"
    ((n_numbers, n_all),) = query(db, str(table.path), sql)
    if n_numbers == n_all:
        return False
    if n_numbers or table.columns[column] in INTEGERS | FLOATS:
        condition = f"{as_number} IS NULL AND {as_text} IS NOT NULL"
        refuse_id(db, table, column, False, condition)
    _refuse_float_text(db, table, column, table.name)
    return True


def matching_id(
    db: duckdb.DuckDBPyConnection, cells: Table, edges: Edges, asks: bool = False
) -> tuple[str, bool]:
    """Return which column of ``cells`` has the ids that ``edges`` uses, and if they are text.

    Cell tables often have several ids (nucleus, segment, row). The one that contains most of the
    ends of the first rows of ``edges`` is taken; raises `CompileError` if none contains any, or if
    another one contains at least half as many and differs from it; ``asks`` says that the option
    ``cell_id`` can choose.
    """
    names = {squeezed(name) for name in CELL_ID}
    candidates = [c for c in cells.columns if squeezed(c) in names or "_id" in plain(c)]
    if not candidates:
        problem = f"no column of ids among: {', '.join(cells.columns)}"
        if asks:
            answers = [(f"cell_id={c}", f"the ids are in {c}") for c in list(cells.columns)[:3]]
            by_order = ("cell_id=order", "rows are in the order of a matrix or network")
            raise unsaid(str(cells.path), problem, _first(db, cells), *answers, by_order)
        raise CompileError(str(cells.path), problem, f"accepted: {', '.join(CELL_ID)}")
    share: dict[str, float] = {}
    texts: dict[str, bool] = {}
    where = str(edges.table.path)
    refused: list[CompileError] = []
    for column in tuple(candidates):
        try:
            as_text = texts[column] = ids_are_text(db, cells, column)
        except CompileError as error:  # a better error than that no column matches
            refused.append(error)
            candidates.remove(column)
            continue
        ends = ", ".join(edges.table.key(c, as_text) for c in (edges.pre, edges.post))
        sql = f"""
            WITH sample AS (SELECT unnest([{ends}]) AS key
                            FROM (SELECT * FROM {edges.table.name} LIMIT {SAMPLE_ROWS})),
                 ends AS (SELECT DISTINCT key FROM sample WHERE key IS NOT NULL)
            SELECT avg((key IN (SELECT {cells.key(column, as_text)} FROM {cells.name}))::INTEGER)
            FROM ends"""
        share[column] = query(db, where, sql)[0][0] or 0.0
    if refused and not any(share.values()):
        raise refused[0]
    if not any(share.values()):
        _refuse_mismatch(db, cells, edges, {c: texts[c] for c in candidates})
    # A column whose values repeat is no column of ids, if another has them once.
    once = [c for c in candidates if share[c] and _occurs_once(db, cells, c)]
    best = max(candidates, key=lambda c: (share[c], c in once))  # the first of equals
    if once and best not in once and share[other := max(once, key=share.__getitem__)]:
        best = other if share[other] >= share[best] / 2 else best
    for other in candidates:
        repeats = best in once and other not in once
        if other != best and share[other] >= share[best] / 2 and not repeats:
            mine, theirs = (cells.key(c, texts[c]) for c in (best, other))
            differs = f"({mine})::VARCHAR IS DISTINCT FROM ({theirs})::VARCHAR"
            if query(db, where, f"SELECT 1 FROM {cells.name} WHERE {differs} LIMIT 1"):
                problem = f"columns {best} and {other} both have ids that {where} uses"
                if asks:
                    answers = [(f"cell_id={c}", f"the ids are in {c}") for c in (best, other)]
                    raise unsaid(str(cells.path), problem, _first(db, cells), *answers)
                raise CompileError(str(cells.path), problem, "remove the wrong one")
    return best, texts[best]


def _occurs_once(db: duckdb.DuckDBPyConnection, cells: Table, column: str) -> bool:
    value = f"({cells.value(column)})::VARCHAR"
    sql = f"SELECT count({value}), count(DISTINCT {value}) FROM {cells.name}"
    ((n, different),) = query(db, str(cells.path), sql)
    return bool(n == different)


def _first(db: duckdb.DuckDBPyConnection, table: Table) -> list[list[Any]]:
    rows = query(db, str(table.path), f"SELECT * FROM {table.name} LIMIT 3")
    return [list(table.columns), *(list(row) for row in rows)]


def _refuse_mismatch(
    db: duckdb.DuckDBPyConnection, cells: Table, edges: Edges, candidates: dict[str, bool]
) -> None:
    """Raise `CompileError` that says why no column of ``candidates`` has the ids of ``edges``.

    These are the columns of ids with whether they are text. A wrong id explains itself better than
    a table that does not fit, so such are looked for first.
    """
    table, where = edges.table, str(edges.table.path)
    ((pre,),) = query(db, where, f"SELECT {identifier(edges.pre)} FROM {table.name} LIMIT 1")
    if pre is not None and not all(candidates.values()):
        bad = f"{table.key(edges.pre, False)} IS NULL"
        if query(db, where, f"SELECT 1 FROM {table.name} WHERE {bad} LIMIT 1"):
            refuse_id(db, table, edges.pre, False)
    numbers = [(cells, column) for column, as_text in candidates.items() if not as_text]
    for given, column in ((table, edges.pre), *numbers):
        key = f"SELECT {given.key(column, False)} AS key FROM {given.name} LIMIT {SAMPLE_ROWS}"
        sample = arrow(db, where, key).column("key").drop_null()
        refuse_rounded(f"{given.path}, column {column}", sample.to_numpy())
    problem = f"no end of a connection, for example {pre}, is an id of {cells.path}"
    hint = (
        f"its id columns are {', '.join(candidates)}; name another with cell_id=COLUMN, or, if its "
        "rows are in the order of the neurons, cell_id=order; do the files belong together?"
    )
    raise CompileError(where, problem, hint)
