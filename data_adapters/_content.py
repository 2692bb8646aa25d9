"""Recognise files by their first bytes, and open them whether or not they are gzipped."""

from __future__ import annotations

import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from connectome_compiler.errors import CompileError
from connectome_compiler.reading import must_be_file

FETCH_AGAIN = "fetch or copy the file again"
GZIP = b"\x1f\x8b"
READ_BYTES, UNZIP_BYTES = 1 << 18, 1 << 20  # at a time
LONGEST_LINE = 1 << 24  # bytes; a row of a matrix of some million columns
HDF5 = b"\x89HDF\r\n\x1a\n"


@contextmanager
def unzipped(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, unzipped; raise `CompileError` on failure."""
    zipped = False
    must_be_file(path)
    try:
        with path.open("rb") as file:
            zipped = is_gzip(file.read(len(GZIP)))
        with gzip.open(path) if zipped else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as error:
        if zipped:
            problem = f"is a broken gzip file: {error}"
            raise CompileError(str(path), problem, FETCH_AGAIN) from error
        why = getattr(error, "strerror", None) or error
        raise CompileError(str(path), f"cannot be read: {why}") from error


def gunzipped(path: Path) -> Iterator[bytes]:
    """Yield the content of a gzip file, checking the checksum and length of each member.

    Raises `CompileError` where it is damaged, cut, or followed by anything else.
    """

    def broken(why: str) -> CompileError:
        return CompileError(str(path), f"is a truncated or broken gzip file: {why}", FETCH_AGAIN)

    with path.open("rb") as file:
        member, rest = zlib.decompressobj(wbits=31), b""  # 31: gzip
        while piece := rest or file.read(READ_BYTES):
            if member.eof:
                piece += file.read(1) if len(piece) < len(GZIP) else b""
                if not is_gzip(piece):
                    raise broken("other data follow the compressed data")
                member = zlib.decompressobj(wbits=31)
            try:
                yield member.decompress(piece, UNZIP_BYTES)
            except zlib.error as error:
                raise broken(str(error)) from error
            rest = member.unconsumed_tail or member.unused_data
        while not member.eof and (more := member.decompress(b"", UNZIP_BYTES)):
            yield more
        if not member.eof:
            raise broken("its end is missing")


def is_gzip(head: bytes) -> bool:
    """Whether this is compressed with gzip."""
    return head.startswith(GZIP)


def is_flyvis(head: bytes, path: Path) -> bool:
    """Whether this is a connectome file of flyvis: JSON with patterns or offsets."""
    return head.lstrip()[:1] == b"{" and (b'"pattern"' in head or b'"offsets"' in head)


def is_graphml(head: bytes, path: Path) -> bool:
    """Whether this is GraphML."""
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<" and b"<graphml" in head


def is_hdf5(head: bytes, path: Path) -> bool:
    """Whether this is HDF5, whatever its layout."""
    return head.startswith(HDF5)


def is_workbook(head: bytes, path: Path) -> bool:
    """Whether this is an Excel workbook (xlsx)."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return "xl/workbook.xml" in file.namelist()
    except BROKEN_ZIP:  # a workbook that was cut off lacks its list of parts
        return b"[Content_Types].xml" in head or b"xl/" in head


# What the standard library raises for a truncated or altered archive.
BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(ValueError, NotImplementedError, RuntimeError),  # names, methods, passwords
)
MOST_UNPACKED = 1 << 30  # bytes of all of an archive; a sheet of 30 million numbers
MOST_RATIO = 200  # unpacked to packed, of what is large: sheets have about 10


def must_not_burst(file: zipfile.ZipFile, where: str, names: Collection[str] = ()) -> None:
    """Raise `CompileError` if ``names`` of an archive, or all of it, unpack to too much.

    No more than the declared size is ever unpacked.
    """
    inner = [i for i in file.infolist() if not names or i.filename in names]
    total, packed = (sum(getattr(i, f) for i in inner) for f in ("file_size", "compress_size"))
    if total > MOST_UNPACKED:
        problem = f"unpacks to {total:,} bytes; the limit is {MOST_UNPACKED:,}"
        raise CompileError(where, problem, "export it as CSV")
    if total > MOST_RATIO * packed + (1 << 24):
        problem = f"unpacks to {total:,} bytes from {packed:,}, more than real data do"
        raise CompileError(where, problem, FETCH_AGAIN)


def is_text_matrix(head: bytes, path: Path) -> bool:
    """Whether this is an adjacency matrix as text, with labels or without."""
    if b"\x00" in head:
        return False
    try:
        return matrix_layout(*first_lines(head, path)) is not None
    except (UnicodeDecodeError, csv.Error, CompileError):
        return False


Layout = Literal["labelled", "plain"]


def matrix_layout(lines: list[str], whole: bool) -> Layout | None:
    """Return the layout of a text matrix, from its first lines, or None if it is not one.

    With labels, the header names the columns, and some row has the label of a column, unlike any
    row of a table of connections. Without, everything is numbers; three columns or fewer could be
    a table of connections without its header, so then the matrix must be square.
    """
    if len(lines) < 2:
        return None
    first, *rest = csv.reader(lines, delimiter=delimiter(lines[0]))
    n = len(first)
    if n < 2:
        return None
    if all(is_number(cell) for cell in first):
        return "plain" if n > 3 or (whole and len(lines) == n) else None
    labels = {cell.strip() for cell in first[1:]} - {""}
    named = any(row and row[0].strip() in labels for row in rest)
    numeric = any(all(not c.strip() or is_number(c) for c in row[1:]) for row in rest)
    return "labelled" if named and numeric else None


def first_lines(head: bytes, path: Path) -> tuple[list[str], bool]:
    """Return the lines in the first bytes of a text, at least two, and whether these are all.

    The header of a wide matrix alone can be longer than the bytes that were read.
    """
    lines = head.splitlines(keepends=True)
    with unzipped(path) as file:
        whole = not file.read(len(head) + 1)[len(head) :]
        if len(lines) < 4 and not whole:
            file.seek(0)
            lines = [line for line in (file.readline(LONGEST_LINE + 1) for _ in range(3)) if line]
        elif not whole:
            lines = lines[:-1]  # the last one may be cut
    if max(map(len, lines), default=0) > LONGEST_LINE:
        raise CompileError(str(path), f"has a line of more than {LONGEST_LINE:,} bytes")
    texts = [line.decode("utf-8-sig" if k == 0 else "utf-8") for k, line in enumerate(lines)]
    return [line for line in texts if line.strip()], whole


def delimiter(line: str) -> str:
    """Return the delimiter of a line."""
    bare = re.sub(r'"[^"]*"', "", line)
    best = max(",\t;|", key=bare.count)
    return best if best in bare else " "


def is_number(text: str) -> bool:
    """Whether a text is a number in ASCII notation; Python would accept 1_000 and other digits."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text
