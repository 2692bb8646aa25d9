"""How a list is written as text: encoding, separator, comments, and which line names the columns.

Text that DuckDB can read as it is stays where it is; any other is rewritten as UTF-8, with one
separator, into the temporary folder.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from connectome_compiler.errors import CompileError

from ._ask import unsaid
from ._content import COMMENTS, HEAD_BYTES, UTF16, is_number, unzipped
from ._names import ENDS, squeezed

Header = Literal["", "none", "first"]

MAX_HEADER = 1 << 24  # bytes of a line
LONGEST_CELL = csv.field_size_limit()  # of a header; 131,072 characters
BLANK = " "  # the delimiter of columns that are separated by runs of blanks and tabs
SAMPLE_LINES = 200  # below the header, that are looked at


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text is laid out: names of columns, and what lies above its first row.

    ``n_above`` lines (sep=;, comments) come before the line of names, where there is one
    (``header``). With ``comments``, further lines that begin with ``#`` are no rows.
    """

    columns: tuple[str, ...]
    delimiter: str
    header: bool
    n_above: int = 0
    encoding: str = "utf-8-sig"
    comments: bool = False
    notes: tuple[str, ...] = ()

    @property
    def rewritten(self) -> bool:
        """Whether DuckDB needs the text in another form."""
        return self.delimiter == BLANK or self.comments or self.encoding != "utf-8-sig"


def layout_of(path: Path, header: Header = "first", formats: str = "") -> Layout:
    """Return how a text is laid out; raise `CompileError` where it is none, or leaves it unsaid.

    With ``header`` "", a first line that could be data is asked about; with "first" it has names.
    """
    lines, encoding = _head(path, formats)
    notes: list[str] = []
    n_above, told = 0, ""
    if found := re.fullmatch(r'"?sep=(.)"?\s*', lines[0], re.IGNORECASE):
        n_above, told = 1, found[1]
        notes.append(f"line 1 says that columns are separated by {told!r}")
    above = n_above
    while above < len(lines) and _is_comment(lines[above]):
        above += 1
    rows = [line for line in lines[above:] if line.strip()]
    if above > n_above and not rows:
        raise CompileError(str(path), "is empty: comments and no rows")
    if not rows or not lines[above].strip():
        raise CompileError(str(path), "begins with an empty line, not a header")
    comments = any(map(_is_comment, rows))
    sample = [line for line in rows if not _is_comment(line)]
    delimiter = told or delimiter_of(sample)
    where = f"{path}, line {above + 1}"
    first = _cells(where, sample[0], delimiter)
    if above > n_above and _names_ends(named := _uncommented(lines[above - 1], delimiter)):
        above, first = above - 1, named  # "# source target weight": a header that is a comment
        sample = [lines[above].lstrip("".join(COMMENTS)), *sample]
        delimiter_lines, comments = True, True
    else:
        delimiter_lines = False
    if skipped := above - n_above:
        notes.append(f"{skipped:,} lines of comments above the first row left out")
    must_be_narrow(where, len(first))
    if any(re.search(r"\s\{.*\}\s*$", line) for line in sample[:1]):
        hint = f"import networkx as nx; nx.write_graphml(nx.read_edgelist({path.name!r}, "
        hint += 'create_using=nx.DiGraph), "net.graphml")'
        raise CompileError(where, "is an edge list of networkx with data in braces", hint)
    below = _rows(sample[1 : SAMPLE_LINES + 1], delimiter)
    is_header = header == "first" or (header == "" and must_be_header(where, first, below))
    names = first if is_header else [str(k + 1) for k in range(len(first))]
    longer = is_header and bool(below) and all(len(row) == len(first) + 1 for row in below)
    if longer and not any(row[-1] for row in below):
        names = [*first, ""]
        notes.append("rows end with a delimiter, which the header lacks")
    elif longer:
        names = ["", *first]  # R's write.table: rows have names, and their column has none
        notes.append("the header has one name fewer than the rows have values: rows have names")
    if is_header:
        _must_be_names(where, sample[0], first)
    columns = [n or f"column{k}" for k, n in enumerate(names)]  # pandas writes its index unnamed
    times = Counter(map(squeezed, columns))
    if twice := sorted(n for n in columns if squeezed(n) and times[squeezed(n)] > 1):
        raise CompileError(where, f"column {twice[0]!r} occurs twice")
    return Layout(
        tuple(columns),
        delimiter,
        is_header and not delimiter_lines,
        above + delimiter_lines,
        encoding,
        comments,
        tuple(notes),
    )


MOST_COLUMNS = 16_384  # of a table, as in a spreadsheet


def must_be_narrow(where: str, n_columns: int) -> None:
    """Raise `CompileError` if a table has too many columns."""
    if n_columns > MOST_COLUMNS:
        problem = f"has {n_columns:,} columns; the limit is {MOST_COLUMNS:,}"
        raise CompileError(where, problem, "remove those that are not needed")


def delimiter_of(lines: list[str]) -> str:
    """Return what separates the columns: the most frequent mark, else blanks."""
    bare = re.sub(r'"[^"]*"', "", lines[0])
    best = max(",\t;|", key=bare.count)
    if best not in bare:
        first, *rest = [len(row) for row in _rows(lines[:SAMPLE_LINES], BLANK)] or [0]
        n = set(rest)
        # A name of two words is one column: rows must agree with the number of words.
        return BLANK if first > 1 and n <= {first, first + 1} else ","
    if best == "\t" and len({len(line.split("\t")) for line in lines}) > 1:
        words = {len(line.split()) for line in lines[:SAMPLE_LINES]}
        return BLANK if len(words) == 1 else best  # tabs and blanks for the eye
    return best


def opened(path: Path, layout: Layout) -> Iterator[str]:
    """Yield the lines of a text below its header, without comments, as UTF-8 with one separator.

    The header comes first where there is one.
    """
    with _lines(path, layout.encoding, "strict") as lines:
        try:
            for k, line in enumerate(islice(lines, layout.n_above, None), layout.n_above + 1):
                if len(line) >= MAX_HEADER:
                    problem = f"is longer than {MAX_HEADER:,} characters"
                    raise CompileError(f"{path}, line {k}", problem)
                if not layout.comments or not _is_comment(line):
                    yield " ".join(line.split()) + "\n" if layout.delimiter == BLANK else line
        except UnicodeError as error:
            what = "UTF-16" if layout.encoding == "utf-16" else "UTF-8"
            raise CompileError(str(path), f"is not {what} text", "save it as UTF-8") from error


def line_of_row(path: Path, layout: Layout, row: int) -> int:
    """Return the line where a row ends: blank lines are not rows, quoted text may have many."""
    with _lines(path, layout.encoding, "replace") as lines:
        rest = islice(lines, layout.n_above, None)
        reader = csv.reader(rest, delimiter=layout.delimiter, skipinitialspace=True)
        try:
            ends = (
                reader.line_num
                for cells in reader
                if cells and not (layout.comments and _is_comment(cells[0]))
            )
            at = next(islice(ends, row - 1 + layout.header, None))
        except (csv.Error, StopIteration):  # a field of more than 131,072 characters
            at = row + layout.header
    return layout.n_above + at


# --- the first lines ------------------------------------------------------------------------------


@contextmanager
def _lines(path: Path, encoding: str, errors: str) -> Iterator[Iterator[str]]:
    """Open the lines of a text, those that are too long in pieces."""
    with unzipped(path) as file:
        text = io.TextIOWrapper(file, encoding, errors=errors, newline="")
        yield iter(lambda: text.readline(MAX_HEADER), "")


def _head(path: Path, formats: str) -> tuple[list[str], str]:
    """Return the first lines of a text, whole ones, and its encoding."""
    with unzipped(path) as file:
        head = file.read(HEAD_BYTES)
        encoding = "utf-16" if head.startswith(UTF16) else "utf-8-sig"
        if encoding == "utf-8-sig" and b"\x00" in head:
            problem = "is not a table: it holds binary data"
            if head[1::2].count(0) > len(head) // 4 or head[::2].count(0) > len(head) // 4:
                problem, formats = "seems to be UTF-16 without its mark", "save it as UTF-8"
            raise CompileError(str(path), problem, formats)
        if encoding == "utf-8-sig" and not re.search(rb"[\r\n]", head):  # thousands of columns
            head += file.readline(MAX_HEADER)
        whole = len(head) < HEAD_BYTES or not file.read(1)
    if not head.strip():
        raise CompileError(str(path), "is empty")
    cut = head if whole else head[: len(head) // 2 * 2]
    try:
        first = cut.splitlines()[0] if encoding == "utf-8-sig" else cut
        first.decode(encoding)
    except UnicodeDecodeError as error:
        problem = "is not UTF-8 text" if encoding == "utf-8-sig" else "is broken UTF-16"
        raise CompileError(f"{path}, line 1", problem, "save it as UTF-8") from error
    lines = cut.decode(encoding, errors="replace").splitlines()
    lines = lines if whole or len(lines) == 1 else lines[:-1]  # the last one may be cut
    if len(lines[0]) >= MAX_HEADER:
        raise CompileError(f"{path}, line 1", f"is longer than {MAX_HEADER:,} characters")
    return lines, encoding


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENTS)


def _uncommented(line: str, delimiter: str) -> list[str]:
    return next(iter(_rows([line.lstrip().lstrip("".join(COMMENTS)).strip()], delimiter)), [])


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    """Return the values of rows, in which quoted text may have several lines."""
    texts = [" ".join(line.split()) if delimiter == BLANK else line for line in lines]
    rows = csv.reader((f"{text}\n" for text in texts), delimiter=delimiter)
    try:
        return [[cell.strip() for cell in row] for row in rows if row]
    except csv.Error:  # DuckDB tells where
        return []


def _cells(where: str, line: str, delimiter: str) -> list[str]:
    """Return the values of a header; raise `CompileError` if its quotes do not match."""
    text = " ".join(line.split()) if delimiter == BLANK else line
    try:
        return [n.strip() for n in next(csv.reader([text], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        problem = f"is not a header: {error}"
        if "field larger" in str(error):
            problem = f"has a name of more than {LONGEST_CELL:,} characters"
        if "unexpected end" in str(error):
            problem = "has a quote that is never closed"
        raise CompileError(where, problem, "line 1 must hold the names of the columns") from error


def _names_ends(names: list[str]) -> bool:
    given = {squeezed(n) for n in names}
    return any({squeezed(pre), squeezed(post)} <= given for pre, post in ENDS)


def must_be_header(where: str, first: list[str], below: list[list[str]]) -> bool:
    """Return whether the first line names the columns; ask where it could be data.

    Names of both ends are certain. Numbers, and words that occur again below, are not names.
    """
    if _names_ends(first) or len(first) < 2:
        return True
    seen = {word for row in below for word in row[:2]}
    numbers = [word for word in first if is_number(word)]
    again = [word for word in first[:2] if word and word in seen]
    if not numbers and not again:
        return True
    why = [f"{again[0]} occurs again below it"] if again else []
    why += [f"{numbers[0]} is a number"] if numbers else []
    columns = [str(k + 1) for k in range(len(first))]
    weighted = len(first) == 3 and all(
        is_number(row[2]) for row in below if len(row) > 2 and row[2]
    )
    said = f"columns are {', '.join(columns[:4])}{' ...' if len(columns) > 4 else ''}; "
    said += "from 1 to 2" + (", weights in 3" if weighted else "")
    raise unsaid(
        where,
        f"could be data or the names of the columns: {', and '.join(why)}",
        [columns, first, *below],
        ("header=none", f"it is data: {said}"),
        ("header=first", "it names the columns"),
    )


def square_of_numbers(path: Path) -> list[list[str]]:
    """Return the rows of a small text of 2 x 2 or 3 x 3 numbers, which could be a list or a matrix.

    Empty if it is anything else: a list has whole numbers as ids, and no weight of 0.
    """
    with unzipped(path) as file:
        head = file.read(MOST_SQUARE + 1)
    if len(head) > MOST_SQUARE:
        return []
    try:
        lines = [line for line in head.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        return []
    if len(lines) not in (2, 3):
        return []
    rows = _rows(lines, delimiter_of(lines))
    if any(len(row) != len(lines) or not all(map(is_number, row)) for row in rows):
        return []
    ids = all(value.lstrip("+-").isdigit() for row in rows for value in row[:2])
    return rows if ids and all(float(row[-1]) for row in rows) else []


MOST_SQUARE = 4096  # bytes


def _must_be_names(where: str, line: str, names: list[str]) -> None:
    if all(re.fullmatch(r"[-+.\deE]*", n) for n in names):
        problem, hint = f"is not a header: {line[:60]!r}", "put the names of the columns in line 1"
        raise CompileError(where, problem, hint)
