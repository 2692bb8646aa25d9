"""What the columns of connections mean: the one set of rules for lists, matrices and networks.

What the source or the user says is taken; what names and words say beyond doubt is taken and
noted; anything else stops with a question (`_ask`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir import Evidence
from connectome_compiler.ir.transmitters import canonical, signs_of

from ._ask import unsaid
from ._connections import Connections
from ._ids import SAMPLE_ROWS
from ._names import (
    ANY_WEIGHT,
    CHEMICAL,
    COUNT,
    DIRECTED,
    ELECTRICAL,
    ENDS,
    KIND,
    KIND_WORDS,
    NO_COUNT,
    SIGN,
    SIGN_WORDS,
    SIZE,
    TRANSMITTER,
    VOTES,
    is_no_weight,
    plain,
    squeezed,
)
from ._presets import EdgeLayout, Preset, find_preset, published
from ._raw import Facts
from ._tables import (
    FLOATS,
    INTEGERS,
    Edges,
    Signed,
    Table,
    filled_down,
    identifier,
    query,
    quoted,
    rows_in_order,
)

MOST_LOOKED_AT = 64  # columns of a list
MOST_WORDS = 200  # different ones, of a column that says a kind, a sign or a transmitter
FEW_REPEATS = 0.2  # share of rows that repeat a pair; lists of synapses have more
SYNAPSES = "synapses"  # the unit whose weights are counts
KINDS = {"chemical": CHEMICAL, "electrical": ELECTRICAL}
SURE_SEQUENCE = 10  # so many numbers 1, 2, 3, ... are no weights


@dataclass(frozen=True, slots=True)
class Said:
    """Options of the user about columns; empty where nothing is said."""

    preset: str = "auto"
    pre: str = ""
    post: str = ""
    weight: str = ""
    kind: str = ""
    sign: str = ""
    transmitter: str = ""
    signs: Signed = ""
    roi: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Recognised:
    """Connections with the meaning of their columns. ``notes`` say what was taken from where."""

    edges: Edges
    unit: str
    preset: Preset | None = None
    layout: EdgeLayout | None = None
    weightless: bool = False  # nobody said that a row is one synapse
    undirected: str | None = None  # column that says which rows run both ways
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Connections, with what their columns mean and what their format tells."""

    known: Recognised
    facts: Facts
    evidence: Evidence = Evidence.UNKNOWN  # what the file tells, if it is less than measured

    @property
    def edges(self) -> Edges:
        """The connections with their columns."""
        return self.known.edges

    @property
    def preset(self) -> Preset | None:
        """The published data set."""
        return self.known.preset

    @property
    def layout(self) -> EdgeLayout | None:
        """The table of the published data set."""
        return self.known.layout

    @property
    def are_counts(self) -> bool:
        """Whether weights count synapses."""
        return self.known.unit == SYNAPSES


def recognise(db: duckdb.DuckDBPyConnection, table: Table, facts: Facts, said: Said) -> Recognised:
    """Return what the columns mean; raise `UnsaidError` where that is not said."""
    where = str(table.path)
    preset, layout = (
        find_preset(said.preset, where, table.columns) if facts.shape == "list" else None
    ) or (published(said.preset) if facts.shape == "matrix" else None, None)
    notes = [] if table.layout is None else list(table.layout.notes)
    pre, post = _ends(db, table, facts, said, layout)
    if layout is not None and layout.fills_down:
        table = filled_down(db, table, (pre, post), notes)
    table = _one_level_of_regions(db, table, said.roi, layout, (pre, post), notes)
    taken = {pre, post}
    roles = _Roles(db, table, taken)

    weight, weightless = _weight(db, table, facts, said, layout, taken)
    if weight is not None:
        taken.add(weight)
    unit = _unit(db, table, facts, said, layout, weight)
    if weight is None and unit != SYNAPSES:
        problem = f"no column of weights, so rows would be counted instead of {unit}"
        raise CompileError(where, problem, "name it with weight=COLUMN")

    every = KINDS.get(said.kind, KINDS.get(facts.kind, CHEMICAL))
    kind = sign = transmitter = undirected = None
    if said.kind not in ("", "none", *KINDS):
        kind = roles.named(said.kind)
    if said.sign not in ("", "none"):
        sign = roles.named(said.sign)
    elif layout is not None and layout.sign:
        sign = layout.sign
    if said.transmitter not in ("", "none"):
        transmitter = roles.named(said.transmitter)
    elif layout is not None and layout.transmitter:
        transmitter = layout.transmitter
    taken |= {c for c in (kind, sign, transmitter) if c is not None}
    if layout is None:
        found = roles.by_words(
            kind=kind is None and not (said.kind or facts.kind),
            sign=sign is None and not said.sign,
            transmitter=transmitter is None and not said.transmitter,
        )
        kind, sign = kind or found.get("kind"), sign or found.get("sign")
        transmitter = transmitter or found.get("transmitter")
        undirected = found.get("undirected")
        read = {c for c in (kind, sign, transmitter, undirected) if c is not None}
        if facts.shape == "list":
            roles.refuse_unread(
                read,
                kind=kind is None and not (said.kind or facts.kind),
                sign=sign is None and not said.sign,
                transmitter=transmitter is None and not said.transmitter,
            )
    if weight is not None and kind is None and not (said.kind or facts.kind):
        _refuse_gaps(db, table, weight)
    if facts.undirected or undirected is not None:
        both = identifier(facts.undirected) if facts.undirected else ""
        if undirected is not None:
            words = _listed(word for word, both_ways in DIRECTED.items() if both_ways)
            both = f"lower({table.value(undirected)}::VARCHAR) IN ({words})"
            notes.append(f"directed or undirected by column {undirected}")
        table = _both_ways(db, table, pre, post, both, notes)
    size = table.find(*SIZE) if layout is None else None
    if size in taken:
        size = None
    roles.refuse_twice(
        pre=pre, post=post, weight=weight, kind=kind, sign=sign, transmitter=transmitter
    )
    edges = Edges(
        table, pre, post, weight, size, sign, kind, every, said.signs, transmitter,
        {} if layout is None else layout.scores,
    )  # fmt: skip
    if facts.shape == "list" and weight is None and size is not None:
        weightless = False  # the size is that of one synapse
    undirected = undirected or facts.undirected or None
    if ignored := [c for c in edges.ignored if c != undirected]:
        notes.insert(0, f"ignored columns: {', '.join(ignored)}")
    return Recognised(edges, unit, preset, layout, weightless, undirected, tuple(notes))


# --- ends -----------------------------------------------------------------------------------------


def _ends(
    db: duckdb.DuckDBPyConnection,
    table: Table,
    facts: Facts,
    said: Said,
    layout: EdgeLayout | None,
) -> tuple[str, str]:
    if facts.pre:
        return facts.pre, facts.post
    if said.pre:
        return named(table, said.pre), named(table, said.post)
    if layout is not None:
        return layout.pre, layout.post
    if _unnamed(table):
        if len(table.columns) < 2:
            raise CompileError(str(table.path), "has one column, which cannot be two ends")
        if "3" in table.columns and _is_between(db, table):
            raise unsaid(
                str(table.path),
                "the ends of a connection could be columns 1 and 3, which share their words, or 1 "
                "and 2",
                first_rows(db, table),
                ("pre=1 --set post=3", "from 1 to 3; 2 says what the connection is"),
                ("pre=1 --set post=2", "from 1 to 2"),
            )
        return "1", "2"
    ends = [
        (pre, post)
        for names in ENDS
        if (pre := table.find(names[0])) and (post := table.find(names[1])) and pre != post
    ]
    certain = [*dict.fromkeys(ends)]
    if len(certain) == 1:
        return certain[0]
    pairs = certain or _likely_ends(table)
    if pairs:
        spelled = " or ".join(" and ".join(pair) for pair in pairs)
        problem = f"the ends of a connection could be {spelled}"
        if not certain:
            problem = f"no known names of both ends among its columns, but {spelled} could be them"
        answers = [
            (f"pre={_cli(a)} --set post={_cli(b)}", f"from {a} to {b}") for a, b in pairs[:4]
        ]
        raise unsaid(
            str(table.path), problem, first_rows(db, table), *answers, *_no_header(table, certain)
        )
    problem = f"no columns for both ends of a connection among: {', '.join(table.columns)}"
    raise unsaid(
        str(table.path),
        problem,
        first_rows(db, table),
        ("pre=COLUMN --set post=COLUMN", f"name them; known without: {KNOWN_ENDS}"),
        *_no_header(table),
    )


def _no_header(table: Table, certain: Sequence[Any] = ()) -> tuple[tuple[str, str], ...]:
    """Return the answer that line 1 of a text is data, where it was taken for names."""
    text = table.layout is not None and table.layout.header and not certain
    return (("header=none", "line 1 is data: from column 1 to column 2"),) if text else ()


def _is_between(db: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether column 2 shares no word with 1, but 3 does, as in the format SIF of Cytoscape."""
    words = [f"list(DISTINCT ({table.value(c)})::VARCHAR)" for c in ("1", "2", "3")]
    sql = f"SELECT {', '.join(words)} FROM (SELECT * FROM {table.name} LIMIT {SAMPLE_ROWS})"
    ((one, two, three),) = query(db, str(table.path), sql)
    texts = {w for w in three or () if TRY_NUMBER.fullmatch(w) is None}
    return bool(texts & {*one}) and not {*one} & {*two}


TRY_NUMBER = re.compile(r"[-+.\deE]+")
KNOWN_ENDS = "pre and post, source and target, from and to, pre_id and post_id, ..."

# Pairs of words that tell two ends apart, within names that are equal otherwise.
PAIRED = (
    *(("presynaptic", "postsynaptic"), ("pre", "post"), ("source", "target"), ("from", "to")),
    *(("src", "dst"), ("src", "dest"), ("src", "tgt"), ("upstream", "downstream")),
    *(("input", "output"), ("afferent", "efferent"), ("sender", "receiver"), ("in", "out")),
    *(("start", "end"), ("tail", "head"), ("parent", "child")),
)
PAIRED_AT_END = (("1", "2"), ("a", "b"), ("i", "j"), ("0", "1"), ("x", "y"))


def _likely_ends(table: Table) -> list[tuple[str, str]]:
    """Return pairs of columns whose names differ in a pair of words only, best first."""
    spelled = {squeezed(c): c for c in table.columns}
    found = []
    for one, other in PAIRED:
        for name, column in spelled.items():
            if one in name and (twin := spelled.get(name.replace(one, other, 1))):
                found.append((column, twin))
    for one, other in PAIRED_AT_END:
        for name, column in spelled.items():
            stem = name.removesuffix(one)
            twin = spelled.get(stem + other) if name.endswith(one) else None
            if twin is not None and (not stem or len(stem) > 2):
                found.append((column, twin))
    return [(a, b) for a, b in dict.fromkeys(found) if a != b]


def _unnamed(table: Table) -> bool:
    if table.layout is None:
        return table.unnamed
    return not table.layout.header and "1" in table.columns


# --- weights --------------------------------------------------------------------------------------


def _weight(
    db: duckdb.DuckDBPyConnection,
    table: Table,
    facts: Facts,
    said: Said,
    layout: EdgeLayout | None,
    taken: set[str],
) -> tuple[str | None, bool]:
    """Return the column of weights, and whether nobody says what a row weighs."""
    if said.weight == "none":
        return None, False
    if said.weight:
        return named(table, said.weight), False
    if facts.weight:
        return facts.weight, False
    if layout is not None:
        return layout.weight or None, False
    rest = [c for c in table.columns if c not in taken]
    if _unnamed(table):
        numeric = _numeric(db, table, rest)
        return ("3", False) if len(rest) == 1 and numeric else (None, bool(rest))
    for known in (COUNT, ANY_WEIGHT, NO_COUNT):
        names = {squeezed(name) for name in known}
        found = [c for c in rest if squeezed(c) in names]
        if known is not COUNT:
            found = _numeric(db, table, found)
        if len(found) > 1:
            problem = f"columns {' and '.join(found)} could both be the weight"
            answers = [(f"weight={_cli(c)}", f"the weight is {c}") for c in found]
            none = ("weight=none", "neither: a row is one synapse")
            raise unsaid(str(table.path), problem, first_rows(db, table), *answers, none)
        if found:
            return found[0], False
    return None, facts.rows_are != "synapses"


def _unit(
    db: duckdb.DuckDBPyConnection,
    table: Table,
    facts: Facts,
    said: Said,
    layout: EdgeLayout | None,
    weight: str | None,
) -> str:
    """Return the unit of the weights; ask where their name says that they count no synapses."""
    if said.unit or facts.unit:
        return said.unit or facts.unit
    if weight is None or layout is not None or facts.weight:
        return SYNAPSES
    likely = {squeezed(name): unit for name, unit in NO_COUNT.items()}.get(squeezed(weight))
    if likely is None:
        return SYNAPSES
    problem = f"the weights in {weight} do not count synapses, by their name, but have no unit"
    raise unsaid(
        str(table.path),
        problem,
        first_rows(db, table),
        (f"unit={likely}", "for example"),
        ("unit=synapses", "they do count synapses"),
    )


def refuse_unread_weights(
    db: duckdb.DuckDBPyConnection, found: Recognised, read: Connections
) -> None:
    """Ask if rows that were counted as one synapse each seem to be connections with a weight.

    Lists of synapses repeat their pairs; where these hardly do, a column of numbers that nobody
    has read is probably the weight.
    """
    edges, table = found.edges, found.edges.table
    if not found.weightless or edges.count is not None:
        return
    n_pairs = len(read.weight) + read.n_below
    n_rows = int(read.weight.sum()) + int(read.weight_below)
    if n_rows - n_pairs > FEW_REPEATS * n_rows:
        return
    unread = [c for c in edges.ignored if not is_no_weight(c)]
    if not (numeric := _numeric(db, table, unread)):
        return
    problem = (
        f"no column of weights is known, but {' and '.join(numeric)} "
        f"{'holds' if len(numeric) == 1 else 'hold'} numbers, and of {n_rows:,} rows "
        f"{n_rows - n_pairs:,} repeat a pair: rows do not seem to be single synapses"
    )
    answers = [(f"weight={_cli(c)}", f"the numbers in {c} are weights") for c in numeric[:4]]
    none = ("weight=none", "a row is one synapse")
    raise unsaid(str(table.path), problem, first_rows(db, table), *answers, none)


def _numeric(db: duckdb.DuckDBPyConnection, table: Table, columns: Iterable[str]) -> list[str]:
    """Return the columns that hold numbers, in the first rows; running numbers are left out."""
    wanted = [c for c in columns if table.columns[c] in INTEGERS | FLOATS | {"VARCHAR"}
              or table.columns[c].startswith("DECIMAL")]  # fmt: skip
    if not wanted:
        return []
    # Numbers in any notation: 1,200 and 0,5 are asked about later.
    tests = []
    for c in wanted:
        value = f"({table.value(c)})::VARCHAR"
        plain_number = rf"regexp_full_match({value}, {quoted(NUMBER)})"
        number = f"TRY_CAST({value} AS DOUBLE)"
        tests += [
            f"count({value}) > 0 AND bool_and({plain_number} OR {value} IS NULL)",
            f"count(*) >= {SURE_SEQUENCE} AND bool_and(({number} - place) IN (0, -1))",
        ]
    sql = f"SELECT {', '.join(tests)} FROM (SELECT *, row_number() OVER () AS place FROM "
    sql += f"(SELECT * FROM {table.name} LIMIT {SAMPLE_ROWS}))"
    with rows_in_order(db, str(table.path)):
        (row,) = query(db, str(table.path), sql)
    return [c for k, c in enumerate(wanted) if row[2 * k] and not row[2 * k + 1]]


NUMBER = r"(?i)[-+]?([0-9]+[0-9.,]*|[.,][0-9]+)(e[-+]?[0-9]+)?|nan|[-+]?inf(inity)?"


# --- kinds, signs, transmitters -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Roles:
    """Finds the columns that say something in words; ``taken`` have a role already."""

    db: duckdb.DuckDBPyConnection
    table: Table
    taken: set[str]

    def named(self, column: str) -> str:
        """Return a column that the user named."""
        return named(self.table, column)

    def by_words(self, kind: bool, sign: bool, transmitter: bool) -> dict[str, str]:
        """Return columns by role, found by name and confirmed by their words.

        A column called ``type`` can say chemical, undirected, or excitatory; its words tell.
        """
        found: dict[str, list[str]] = {}
        for column in self.table.columns:
            name = squeezed(column)
            if column in self.taken:
                continue
            role = next((r for r, names in _NAMES.items() if name in names), None)
            if role == "kind" and kind:
                role = self._meaning(column)
            elif role == "transmitter" and (words := self._words(column)):
                role = "sign" if words <= _SIGN_WORDS else "transmitter"
            wanted = {"kind": kind, "sign": sign, "transmitter": transmitter, "undirected": kind}
            if role is not None and wanted[role]:
                found.setdefault(role, []).append(column)
        for role, columns in found.items():
            if len(columns) > 1:
                problem = f"columns {' and '.join(columns)} could both be the {role}"
                option = "kind" if role == "undirected" else role
                answers = [(f"{option}={_cli(c)}", f"it is {c}") for c in columns]
                none = (f"{option}=none", "neither")
                shown = first_rows(self.db, self.table)
                raise unsaid(str(self.table.path), problem, shown, *answers, none)
        return {role: columns[0] for role, columns in found.items()}

    def refuse_unread(self, read: set[str], **wanted: bool) -> None:
        """Ask about a column of any name whose words are kinds, signs or transmitters.

        Only words that mean nothing else count. ``wanted`` are the roles that nothing has yet; a
        transmitter of the target says nothing about a connection.
        """
        for column in list(self.table.columns)[:MOST_LOOKED_AT]:
            if column in self.taken | read or self.table.columns[column] != "VARCHAR":
                continue
            if not (words := self._words(column)):
                continue
            named_so = re.search(r"post|target|dst|recei", column.lower())
            if wanted["kind"] and words <= YES_NO and _is_of_gaps(column):
                raise unsaid(
                    str(self.table.path),
                    f"column {column} ({', '.join(sorted(words))}) may say which connections are "
                    "electrical: write these words into it instead, chemical and electrical",
                    first_rows(self.db, self.table),
                    ("kind=none", "all are chemical"),
                    ("kind=electrical", "all are electrical"),
                )
            if wanted["kind"] and words <= LONG_KINDS:
                role, means = "kind", "says whether synapses are chemical or electrical"
            elif wanted["sign"] and words <= LONG_SIGNS and not named_so:
                role, means = "sign", "says whether connections excite or inhibit"
            elif wanted["transmitter"] and not named_so and _are_certain_transmitters(words):
                role, means = "transmitter", "has the transmitter of the presynaptic neuron"
            else:
                continue
            shown = ", ".join(sorted(words)[:3])
            raise unsaid(
                str(self.table.path),
                f"column {column} ({shown}) seems to say the {role}, but is not known by its name",
                first_rows(self.db, self.table),
                (f"{role}={_cli(column)}", f"it {means}"),
                (f"{role}=none", "it means something else"),
            )

    def _meaning(self, column: str) -> str | None:
        """Return what the words of a column called ``type`` or so say."""
        words = self._words(column)
        if not words:
            return None
        if words == {"e"}:
            problem = f"column {column} says E alone: electrical, or excitatory?"
            raise unsaid(
                str(self.table.path),
                problem,
                first_rows(self.db, self.table),
                ("kind=electrical", "all are electrical"),
                (f"sign={_cli(column)} --set kind=none", "all are excitatory"),
            )
        if words <= _KIND_WORDS:
            return "kind"
        if words <= DIRECTED.keys():
            return "undirected"
        if words <= _SIGN_WORDS:
            return "sign"
        if _are_transmitters(words):
            return "transmitter"
        if words & _KIND_WORDS:
            return "kind"  # the first wrong word is named where the rows are read
        shown = ", ".join(sorted(words)[:3])
        problem = f"column {column} ({shown} ...) does not say whether synapses are chemical"
        raise unsaid(
            str(self.table.path),
            problem,
            first_rows(self.db, self.table),
            ("kind=none", "it means something else: all are chemical"),
            ("kind=electrical", "all are electrical"),
        )

    def _words(self, column: str) -> set[str]:
        """Return the different words of the first rows, in lower case, with ``_`` for blanks."""
        value = f"lower(({self.table.value(column)})::VARCHAR)"
        sql = f"SELECT DISTINCT {value} FROM (SELECT * FROM {self.table.name} LIMIT {SAMPLE_ROWS})"
        rows = query(self.db, str(self.table.path), f"{sql} LIMIT {MOST_WORDS}")
        words = {plain(word).replace("-", "_") for (word,) in rows if word is not None}
        return words - set(SIGN_WORDS[0])

    def refuse_twice(self, **roles: str | None) -> None:
        """Raise `CompileError` if one column has two roles."""
        columns = [c for c in roles.values() if c is not None]
        if twice := [c for c in columns if columns.count(c) > 1]:
            known = ", ".join(list(roles)[:3])
            problem = f"cannot be two of {known} and kind"
            hint = "name a different column for each"
            raise CompileError(f"{self.table.path}, column {twice[0]}", problem, hint)


_NAMES = {
    "kind": {squeezed(name) for name in KIND},
    "sign": {squeezed(name) for name in SIGN},
    "transmitter": {squeezed(name) for name in TRANSMITTER if name != VOTES},
}
_KIND_WORDS = {word for words in KIND_WORDS.values() for word in words}
_SIGN_WORDS = {word for sign, words in SIGN_WORDS.items() if sign for word in words}


# Words that say a kind or a sign whatever their column is called.
LONG_KINDS = {w for k in (CHEMICAL, ELECTRICAL) for w in KIND_WORDS[k] if len(w) > 3} - {
    "synapse", "electric", "send", "send_joint"
}  # fmt: skip
YES_NO = {"true", "false", "yes", "no", "0", "1"}
LONG_SIGNS = {"excitatory", "inhibitory", "exc", "inh"}
LONG_TRANSMITTERS = re.compile(r"acetylcholine|ach|glutamate|glut|gaba")


def _are_certain_transmitters(words: set[str]) -> bool:
    return any(LONG_TRANSMITTERS.fullmatch(w) for w in words) and _are_transmitters(words)


def _is_of_gaps(column: str) -> bool:
    return re.search(r"gap_?j|^gaps?$|_gaps?$|electric", plain(column)) is not None


def _refuse_gaps(db: duckdb.DuckDBPyConnection, table: Table, weight: str) -> None:
    """Ask whether connections are electrical where the name of their weights says so."""
    if not _is_of_gaps(weight):
        return
    raise unsaid(
        str(table.path),
        f"the weights in {weight} are of gap junctions, by their name",
        first_rows(db, table),
        ("kind=electrical", "they are: connections run both ways"),
        ("kind=chemical", "they are not: all are chemical"),
    )


def _are_transmitters(words: set[str]) -> bool:
    known = canonical(pa.array(sorted(words), pa.string())).drop_null()
    try:
        signs_of(known, "fly", "")  # whose table has all that have a name
    except CompileError:
        return False
    return len(known) > 0


# --- rows -----------------------------------------------------------------------------------------


def _both_ways(
    db: duckdb.DuckDBPyConnection, table: Table, pre: str, post: str, both: str, notes: list[str]
) -> Table:
    """Return a table in which rows where ``both`` (SQL) is true also run the other way."""
    where = str(table.path)
    apart = f"({table.value(pre)})::VARCHAR <> ({table.value(post)})::VARCHAR"
    ((n,),) = query(db, where, f"SELECT count(*) FROM {table.name} WHERE {both}")
    if not n:
        return table
    notes.append(f"{n:,} undirected rows used as connections in both directions")
    one, other = identifier(pre), identifier(post)
    numbered = _numbered(table)
    sql = (
        f"SELECT * FROM ({numbered}) UNION ALL SELECT * REPLACE ({other} AS {one}, {one} AS "
        f"{other}) FROM ({numbered}) WHERE {both} AND {apart}"
    )
    return _view(db, table, "both_ways", sql)


def _numbered(table: Table) -> str:
    """Return SQL for the rows with their numbers in the source."""
    if table.place:
        return f"SELECT * FROM {table.name}"
    return f"SELECT *, row_number() OVER () AS {identifier(PLACE)} FROM {table.name}"


PLACE = "\ue000place"  # no source has a column of this name


def _view(db: duckdb.DuckDBPyConnection, table: Table, name: str, sql: str) -> Table:
    query(db, str(table.path), f"CREATE TEMP VIEW {name} AS {sql}")
    return replace(table, name=name, place=PLACE)


def _one_level_of_regions(
    db: duckdb.DuckDBPyConnection,
    table: Table,
    roi: str,
    layout: EdgeLayout | None,
    ends: tuple[str, str],
    notes: list[str],
) -> Table:
    """Return the rows of the regions that are to be summed; ask where these may overlap.

    neuPrint lists a pair once per region, and regions contain each other.
    """
    column = table.find("roi") if layout is None or layout.overlapping else None
    where = str(table.path)
    if column is None:
        if roi:
            hint = "leave it out: no column is called roi"
            raise CompileError("table.roi", f"does not apply to {table.path.name}", hint)
        return table
    region = f"({table.value(column)})::VARCHAR"
    if roi and roi != "sum":
        chosen = [part.strip() for part in roi.split(",") if part.strip()]
        known = [r for (r,) in query(db, where, f"SELECT DISTINCT {region} FROM {table.name}")]
        for name in chosen:
            if name not in known:
                raise UnknownNameError.among(f"{where}: region", name, filter(None, known))
        kept = f"{region} IN ({_listed(chosen)})"
        ((n_out,),) = query(
            db, where, f"SELECT count(*) FROM {table.name} WHERE ({kept}) IS NOT TRUE"
        )
        notes.append(f"{n_out:,} rows of regions other than {', '.join(chosen)} left out")
        sql = f"SELECT * FROM ({_numbered(table)}) WHERE {kept}"
        return _view(db, table, "some_regions", sql)
    if roi == "sum":
        notes.append(f"rows of a pair in several regions ({column}) are summed, as roi=sum says")
        return table
    pre, post = (f"({table.value(c)})::VARCHAR" for c in ends)
    sql = f"SELECT {region} AS r, count(*) FROM {table.name} GROUP BY r ORDER BY 2 DESC, 1"
    regions = query(db, where, f"{sql} LIMIT 12")
    repeat = f"SELECT 1 FROM {table.name} GROUP BY {pre}, {post} HAVING count(*) > 1 LIMIT 1"
    if len(regions) < 2 or not query(db, where, repeat):
        return table
    names = [str(r) for r, _ in regions]
    problem = (
        f"lists pairs once per region ({', '.join(names[:6])}{' ...' if len(names) > 6 else ''}): "
        "if regions contain each other, their sum counts synapses twice"
    )
    raise unsaid(
        where,
        problem,
        first_rows(db, table),
        ("roi=sum", "no region contains another: rows of a pair are summed"),
        (f"roi={_cli(','.join(names[:2]))}", "only these regions, for example"),
    )


def first_rows(db: duckdb.DuckDBPyConnection, table: Table, n: int = 3) -> list[list[Any]]:
    """Return the names of the columns and the first rows, to show them."""
    columns = ", ".join(identifier(c) for c in table.columns)
    with rows_in_order(db, str(table.path)):
        rows = query(db, str(table.path), f"SELECT {columns} FROM {table.name} LIMIT {n}")
    return [list(table.columns), *(list(row) for row in rows)]


def named(table: Table, name: str) -> str:
    """Return the column called ``name``; raise `UnknownNameError` if there is none."""
    found = name if name in table.columns else table.find(name)
    if found is None:
        raise UnknownNameError.among(f"{table.path}: column", name, table.columns)
    return found


def _listed(words: Iterable[str]) -> str:
    return ", ".join(quoted(word) for word in words)


def _cli(value: str) -> str:
    """Return an option's value as a shell takes it."""
    return value if value.replace("_", "").replace(",", "").isalnum() else f'"{value}"'
