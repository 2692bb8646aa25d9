"""Where a matrix has its names and its numbers, from its first rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._names import ENDS, plain

MOST_ROWS = 20  # that are looked at
DEEPEST = 4  # rows and columns in which names may stand, of a sheet
MISSING = "NA"  # as R writes it
PREFIXES = ("V", "X")  # that R puts before numbers: no names of columns there

Cells = Sequence[Sequence[str]]  # rows of texts, blank where there is nothing


@dataclass(frozen=True, slots=True)
class Layout:
    """Names stand in row ``header`` and column ``labels``, from 0; none: there are no names.

    Numbers begin at ``row`` and ``column``. Where the header ``is_short``, as R writes it, it has
    no cell above the names of rows.
    """

    header: int | None
    labels: int | None
    row: int
    column: int
    is_short: bool = False

    @property
    def is_cook(self) -> bool:
        """Whether this is the layout of Cook et al. 2019, SI 5: names in row 3 and column C."""
        return (self.header, self.labels, self.row, self.column) == (2, 2, 3, 3)


PLAIN = Layout(None, None, 0, 0)
LABELLED = Layout(0, 0, 1, 1)
SHORT = Layout(0, 0, 1, 1, is_short=True)
HEADED = Layout(0, None, 1, 0)  # names of columns alone, as pandas writes without its index


def layout_of(
    rows: Cells, whole: bool, *, header: str = "", deep: bool = False, said: bool = False
) -> Layout | None:
    """Return the layout of a matrix that begins with ``rows``; none: it is not one.

    ``whole``: there are no others. With names, some row has the name of a column, unlike any row of
    a table of connections; without, everything is a number, and where there are three columns or
    fewer, which could also be connections, it is square. ``deep``: names may begin further in.
    ``said``: somebody said that it is a matrix, so that names of rows and columns need not be the
    same. ``header`` is the option of that name.
    """
    if len(rows) < 2 or max(map(len, rows)) < 2:
        return None
    width = max(map(len, rows))
    numeric = all(is_weight(c) for row in rows for c in row)
    if header != "first" and (numeric or all(is_number(c) for c in rows[0])):
        square = whole and len(rows) == width
        is_plain = width > 3 or square or said
        n = _names_match(rows, LABELLED) if header != "none" and is_blank(rows[0][0]) else 0
        # Numbers that stand in the first row and column are names, until they are looked at again.
        if n and (n == len(rows) - 1 or not square):
            return LABELLED
        return PLAIN if is_plain else None
    if header == "none":
        return PLAIN if said else None
    if _is_headed(rows, whole, said=said):
        return HEADED
    if all(len(row) == len(rows[0]) + 1 for row in rows[1:]) and "" not in rows[0]:
        return SHORT if _names_match(rows, SHORT, read=said, said=said) else None
    if not deep:
        said |= header == "first"
        return LABELLED if _names_match(rows, LABELLED, read=said, said=said) else None
    found = [
        (n, layout)
        for at in range(min(DEEPEST, len(rows) - 1))
        for column in range(min(DEEPEST, width - 1))
        if (layout := _corner(rows, at, column))
        and (n := _names_match(rows, layout, deep=True, read=said))
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _is_headed(rows: Cells, whole: bool, *, said: bool) -> bool:
    """Return whether line 1 has a name for each column, and below are numbers alone.

    The first column has no names, then: there are as many rows as columns, or it repeats itself.
    """
    header, body = rows[0], rows[1:]
    n = len(header)
    if any(is_weight(c) for c in header) or any(len(row) != n for row in body):
        return False
    if not all(is_weight(c) for row in body for c in row):
        return False
    square = whole and len(body) == n
    if not said:
        names = {plain(c) for c in header}
        return square and n > 3 and not any(names >= set(ends) for ends in ENDS)
    first = [row[0].strip() for row in body]
    return square or len(set(first)) < len(first)


def _corner(rows: Cells, header: int, labels: int) -> Layout | None:
    """Return the layout with names in this row and column, of at least two columns and a row."""
    named = [j for j in range(labels + 1, len(rows[header])) if not is_blank(rows[header][j])]
    below = [i for i in range(header + 1, len(rows)) if not is_blank(_cell(rows[i], labels))]
    if len(named) < 2 or named[1] != named[0] + 1 or not below:
        return None
    return Layout(header, labels, below[0], named[0])


def _names_match(
    rows: Cells, layout: Layout, *, deep: bool = False, read: bool = False, said: bool = False
) -> int:
    """Return how many rows have the name of a column, if some row has numbers alone; else 0.

    ``read``: whatever the rows hold. ``said``: whatever they are called.
    """
    listed = names_of(rows[layout.header or 0], layout, deep)
    names = {*listed, *(name[1:] for name in listed if name[:1] in PREFIXES)} - {""}
    body, end = rows[layout.row :], layout.column + len(listed)
    numeric = any(all(is_weight(c) for c in row[layout.column : end]) for row in body)
    labels = [_cell(row, layout.labels or 0).strip() for row in body]
    n = sum(label in names for label in labels)
    return (n or int(said and "" not in labels)) if numeric or read else 0


def names_of(row: Sequence[str], layout: Layout, deep: bool = False) -> list[str]:
    """Return the names of columns in the header; with ``deep``, those before the first blank."""
    names = [name.strip() for name in row[0 if layout.is_short else layout.column :]]
    return names[: names.index("")] if deep and "" in names else names


def _cell(row: Sequence[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def is_blank(text: str) -> bool:
    """Whether a cell of a matrix says that there is no connection, without a zero."""
    return not text.strip() or text.strip() == MISSING


def is_weight(text: str) -> bool:
    """Whether a text is a cell of a matrix: a number or blank."""
    return is_blank(text) or is_number(text)


def is_number(text: str) -> bool:
    """Whether a text is a number in ASCII notation; Python would accept 1_000 and other digits."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text
