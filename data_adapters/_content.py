"""Recognise files by their first bytes, and open them whether or not they are gzipped."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from xml.parsers import expat

from connectome_compiler.errors import CompileError
from connectome_compiler.reading import must_be_file

from ._matrix_layout import Layout, layout_of
from ._matrix_layout import is_number as is_number
from ._names import ENDS, plain

FETCH_AGAIN = "fetch or copy the file again"
GZIP = b"\x1f\x8b"
READ_BYTES, UNZIP_BYTES = 1 << 18, 1 << 20  # at a time
LONGEST_LINE = 1 << 24  # bytes; a row of a matrix of some million columns
HEAD_BYTES = 65536  # of a file, by which it is recognised
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


def is_node_link(head: bytes, path: Path) -> bool:
    """Whether this is node-link JSON: an object with nodes, links or edges."""
    inner = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    names = (b'"nodes"', b'"links"', b'"edges"')
    return inner[:1] == b"{" and b'"elements"' not in head and any(n in head for n in names)


def is_graphml(head: bytes, path: Path) -> bool:
    """Whether this is GraphML."""
    return _is_xml(head) and b"<graphml" in head


def is_gexf(head: bytes, path: Path) -> bool:
    """Whether this is GEXF."""
    return _is_xml(head) and b"<gexf" in head


def _is_xml(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<"


def is_gml(head: bytes, path: Path) -> bool:
    """Whether this is GML: keys and values, with a graph in square brackets."""
    inner = re.sub(rb"(?m)^\s*(#.*|(Creator|Version|comment)\s.*)$", b"", head).lstrip(
        b"\xef\xbb\xbf"
    )
    return re.match(rb"\s*graph\s*\[", inner) is not None


def is_pajek(head: bytes, path: Path) -> bool:
    """Whether this is a network of Pajek."""
    inner = re.sub(rb"(?m)^%.*$", b"", head).lstrip(b"\xef\xbb\xbf")
    return re.match(rb"(?i)\s*\*(network|vertices)\b", inner) is not None


def is_market(head: bytes, path: Path) -> bool:
    """Whether this is Matrix Market."""
    return head[:14].lower() == b"%%matrixmarket"


def is_numpy(head: bytes, path: Path) -> bool:
    """Whether this is an array of numpy."""
    return head.startswith(b"\x93NUMPY")


def is_matlab(head: bytes, path: Path) -> bool:
    """Whether this is a file of MATLAB, version 5 to 7."""
    return head.startswith(b"MATLAB 5.0 MAT-file")


def is_hdf5(head: bytes, path: Path) -> bool:
    """Whether this is HDF5, whatever its layout; MATLAB's begins with a block of its own."""
    return head.startswith(HDF5) or (head.startswith(b"MATLAB 7.3") and head[512:520] == HDF5)


def is_arrays_hdf5(head: bytes, path: Path) -> bool:
    """Whether this is HDF5, but not SONATA."""
    if not is_hdf5(head, path):
        return False
    if not head.startswith(HDF5):
        return True
    try:
        import h5py

        with h5py.File(path, "r") as file:
            return not {"nodes", "edges"} & set(file)
    except (ImportError, OSError, RuntimeError, KeyError, ValueError):
        return False  # the reader of SONATA says what is wrong


ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


def is_workbook(head: bytes, path: Path) -> bool:
    """Whether this is an Excel workbook (xlsx)."""
    names = _parts(head, path)
    # A workbook that was cut off lacks its list of parts.
    cut = not names and head.startswith(ZIP) and (b"[Content_Types].xml" in head or b"xl/" in head)
    return "xl/workbook.xml" in names or cut


def is_other_workbook(head: bytes, path: Path) -> bool:
    """Whether this is a workbook of another format: .xls, .xlsb, .ods."""
    names = _parts(head, path)
    return head.startswith(OLE) or "xl/workbook.bin" in names or (
        "content.xml" in names and b"opendocument.spreadsheet" in head[:200]
    )  # fmt: skip


def is_npz(head: bytes, path: Path) -> bool:
    """Whether this is an archive of arrays of numpy."""
    names = _parts(head, path)
    return bool(names) and all(name.endswith(".npy") for name in names)


def is_tvb(head: bytes, path: Path) -> bool:
    """Whether this is a connectivity of The Virtual Brain."""
    return "weights" in tvb_parts(_parts(head, path))


def is_zip(head: bytes, path: Path) -> bool:
    """Whether this is a zip archive, of whatever."""
    return head.startswith(ZIP)


def tvb_parts(names: Collection[str]) -> dict[str, str]:
    """Return the files of a connectivity of The Virtual Brain, by what they hold."""
    known = {
        "weights": "weights", "weight": "weights", "centres": "centres", "centers": "centres",
        "tract_lengths": "tract_lengths", "tract": "tract_lengths", "areas": "areas",
        "cortical": "cortical", "hemispheres": "hemispheres", "hemisphere": "hemispheres",
        "average_orientations": "average_orientations", "info": "info",
    }  # fmt: skip
    found = {}
    for name in names:
        stem, _, kind = PurePosixPath(name).name.partition(".")
        if kind == "txt" and stem in known and not name.startswith("__MACOSX"):
            found[known[stem]] = name
    return found


def _parts(head: bytes, path: Path) -> list[str]:
    """Return the names of the files in a zip archive; none if it is not one, or broken."""
    if not head.startswith(ZIP):
        return []
    try:
        with zipfile.ZipFile(path) as file:
            return file.namelist()
    except BROKEN_ZIP:
        return []


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
    return _text_layout(head, path) is not None


def could_be_matrix(head: bytes, path: Path) -> bool:
    """Whether this is a matrix if the user says so: also if rows and columns have other names."""
    layout = _text_layout(head, path, said=True)
    names = {plain(c) for c in beginning(head, path).cells()[0]} if layout else set()
    return layout is not None and not any(names >= set(ends) for ends in ENDS)


def _text_layout(head: bytes, path: Path, *, said: bool = False) -> Layout | None:
    try:
        start = beginning(head, path)
        return layout_of(start.cells(), start.whole, said=said)
    except (UnicodeDecodeError, csv.Error, CompileError):
        return None


# --- formats that are recognised, but not read ----------------------------------------------------

_FRAME = 'import pandas as pd; pd.{}(FILE){}.to_csv("edges.csv", index=False)'
_SQL = 'import pandas as pd, sqlite3 as s; pd.read_sql("SELECT * FROM x", s.connect(FILE))'
_GRAPH = 'import json, networkx as nx; nx.write_graphml({}, "net.graphml")'
_RDS = 'in R: write.csv(readRDS(FILE), "edges.csv", row.names=FALSE)'
_PAGE = "an HTML page, such as a server's error or login page"
# What the first bytes match, unzipped; what it is; how it becomes a file that is read.
NOT_READ: tuple[tuple[str, str, str], ...] = (
    (
        "SQLite format 3\0", "an SQLite database",
        _SQL + '.to_csv("edges.csv", index=False)',
    ),
    (
        "\x80[\x02-\x05]", "a pickle, which is never opened since it can run code",
        'where it was made, write a table: frame.to_parquet("edges.parquet")',
    ),
    (
        "FEA1", "a Feather file of the old version 1",
        'import pyarrow.feather as pf; pf.write_feather(pf.read_feather(FILE), "edges.feather")',
    ),
    ("PARE[^A-Za-z]", "an encrypted Parquet file", "write it without encryption"),
    ("ORC[^A-Za-z,;\t ]", "an ORC file", _FRAME.format("read_orc", "")),
    ("Obj\x01", "an Avro file", "write it as Parquet"),
    ("RD[AX][23]\n", "an .RData file of R",
     'in R: load(FILE); write.csv(x, "edges.csv", row.names=FALSE)'),
    ("X\n\0\0\0[\2\3]", "an .rds file of R", _RDS),
    ("A\n[23]\n\\d+\n", "an .rds file of R", _RDS),
    ("[\x28]\xb5/\xfd", "compressed with zstd", "unpack it: zstd -d FILE"),
    ("BZh[1-9]1AY&SY", "compressed with bzip2", "unpack it: bunzip2 FILE"),
    ("\xfd7zXZ\0", "compressed with xz", "unpack it: unxz FILE"),
    ("7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it: 7z x FILE"),
    ("Rar!\x1a", "a RAR archive", "unpack it: unrar x FILE"),
    ("(?s).{257}ustar", "a tar archive", "unpack it: tar xf FILE"),
    ("%PDF-", "a PDF document", "export its tables as CSV"),
    ("\x89PNG|\xff\xd8\xff|GIF8", "a picture", "a matrix has to be saved as numbers"),
    (r"\$FL[23]", "a file of SPSS", _FRAME.format("read_spss", "")),
    ("<stata_dta>", "a file of Stata", _FRAME.format("read_stata", "")),
    (r"\s*<(\?xml[^>]*>|!--.*?-->|\s)*<?neuroml\b", "NeuroML",
     "list its connections as CSV, with columns pre and post"),
    (r"(?is)\s*(<!doctype html|<html|<\?xml[^>]*>\s*<html)", _PAGE,
     "download the file again; a table in a page: " + _FRAME.format("read_html", "[0]")),
    (r"\s*<", "XML of another kind", "write its connections as CSV, with columns pre and post"),
    (r"(?s)\s*\{.*\"elements\"", "JSON of Cytoscape",
     _GRAPH.format("nx.cytoscape_graph(json.load(open(FILE)))")),
    (r"\s*(\{\s*[\"}]|\[\s*[\[{\]])", "JSON of another kind", _FRAME.format("read_json", "")),
    (r"(?i)\s*(strict\s+)?(di)?graph\b[^\[{]*\{", "DOT of Graphviz",
     _GRAPH.format("nx.nx_pydot.read_dot(FILE)")),
    (">>graph6<<", "graph6", _GRAPH.format("nx.read_graph6(FILE)")),
    (">>sparse6<<", "sparse6", _GRAPH.format("nx.read_sparse6(FILE)")),
    ("version https://git-lfs", "a pointer of Git LFS, not the data", "fetch them: git lfs pull"),
    ("nodedef>", "GDF of GUESS", "open it in Gephi and export GraphML"),
    (r"(?i)dl\s+n\s*=", "a network of UCINET", "export it as CSV"),
)  # fmt: skip


def refuse_unread(head: bytes, path: Path) -> None:
    """Raise `CompileError` for a format that is known but not read, with a way to convert it."""
    text = head.decode("latin-1").removeprefix("\xef\xbb\xbf")
    for pattern, what, how in NOT_READ:
        if re.match(pattern, text):
            hint = how.replace("FILE", repr(path.name))
            raise CompileError(str(path), f"cannot be read: it is {what}", hint)


# --- text -----------------------------------------------------------------------------------------

COMMENTS = ("#", "%")  # before the content, as numpy, MRtrix and MATLAB write them
UTF16 = (b"\xff\xfe", b"\xfe\xff")
COMMA_NUMBER = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first lines of a text, without blank ones, and without those before its content.

    ``whole``: there are no others. ``n_skipped`` lines before them are comments, or say what stands
    between values, as Excel reads it: ``sep=;``.
    """

    lines: list[str]
    whole: bool
    n_skipped: int
    encoding: str
    delimiter: str
    notes: tuple[str, ...] = ()

    def cells(self, decimal: str = "") -> list[list[str]]:
        """Return the lines as rows of values; a decimal comma becomes a point."""
        lines = self.lines
        if self.delimiter == " ":
            lines = [re.sub(r"[ \t]+", " ", line).strip() for line in lines]
        rows = list(csv.reader(lines, delimiter=self.delimiter))
        if self.has_comma(decimal):
            rows = [
                [c.replace(",", ".") if COMMA_NUMBER.fullmatch(c) else c for c in r] for r in rows
            ]
        return rows

    def has_comma(self, decimal: str = "") -> bool:
        """Whether numbers are written with a decimal comma."""
        if self.delimiter == "," or decimal == "point":
            return False
        return decimal == "comma" or any(
            COMMA_NUMBER.fullmatch(c.strip())
            for line in self.lines
            for c in line.split(None if self.delimiter == " " else self.delimiter)
        )

    def text(self, file: BinaryIO) -> Any:
        """Return a stream of the text from its content on, in UTF-8, with single blanks."""
        if self.encoding != "utf-8-sig":
            file = cast(BinaryIO, codecs.EncodedFile(file, "utf-8", self.encoding))
        for _ in range(self.n_skipped):
            file.readline()
        return _SingleBlanks(file) if self.delimiter == " " else file


class _SingleBlanks:
    """A stream in which runs of blanks are one, and lines neither begin nor end with any."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._rest = file, b""
        self.closed = False

    def read(self, n: int = -1) -> bytes:
        """Return at most ``n`` bytes."""
        while n < 0 or len(self._rest) < n:
            piece = self._file.read(READ_BYTES)
            if not piece:
                break
            piece += self._file.readline(LONGEST_LINE)
            piece = re.sub(rb"[ \t]+", b" ", piece)
            self._rest += re.sub(rb"(?m)^ | (?=\r?$)", b"", piece)
        n = len(self._rest) if n < 0 else n
        out, self._rest = self._rest[:n], self._rest[n:]
        return out


def beginning(head: bytes, path: Path) -> Beginning:
    """Return the first lines of a text, of which ``head`` are the first bytes; at least two.

    The header of a wide matrix alone can be longer than the bytes that were read. Raises
    `CompileError` or `UnicodeDecodeError` where it is none.
    """
    encoding = "utf-16" if head.startswith(UTF16) else "utf-8-sig"
    with unzipped(path) as file:
        whole = not file.read(len(head) + 1)[len(head) :]
        lines = head.splitlines(keepends=True)
        if encoding == "utf-16":
            lines = _decoded(head, encoding, whole).splitlines(keepends=True)
        if len(lines) < 4 and not whole:
            file.seek(0)
            text = file if encoding != "utf-16" else codecs.EncodedFile(file, "utf-8", encoding)
            lines = [line for line in (text.readline(LONGEST_LINE + 1) for _ in range(3)) if line]
        elif not whole:
            lines = lines[:-1]  # the last one may be cut
    if max(map(len, lines), default=0) > LONGEST_LINE:
        raise CompileError(str(path), f"has a line of more than {LONGEST_LINE:,} bytes")
    if any(b"\x00" in line for line in lines):
        raise CompileError(str(path), "holds binary data")
    texts = [line.decode("utf-8-sig" if k == 0 else "utf-8") for k, line in enumerate(lines)]
    n_skipped, between, notes = 0, "", []
    while (line := "".join(texts[n_skipped : n_skipped + 1])) and (
        line.startswith("sep=") or _is_comment(line, "".join(texts[n_skipped + 1 : n_skipped + 2]))
    ):
        if line.startswith("sep="):
            between = line[4:5]
        else:
            notes.append(f"comment not read: {line[:60].rstrip()}")
        n_skipped += 1
    kept = [line for line in texts[n_skipped:] if line.strip()]
    mark = between or (delimiter(kept[0]) if kept else ",")
    return Beginning(kept, whole, n_skipped, encoding, mark, tuple(notes[:3]))


def _is_comment(line: str, following: str) -> bool:
    """Whether a line is no header whose first name begins with a mark of comments."""
    mark = delimiter(following)
    return line.startswith(COMMENTS) and (mark == " " or line.count(mark) != following.count(mark))


def _decoded(head: bytes, encoding: str, whole: bool) -> bytes:
    return codecs.getincrementaldecoder(encoding)().decode(head, whole).encode()


def delimiter(line: str) -> str:
    """Return the delimiter of a line; a comma in numbers between others is a decimal one."""
    bare = re.sub(r'"[^"]*"', "", line)
    for mark in "\t;":
        cells = [c.strip() for c in bare.split(mark)]
        if len(cells) > 1 and "," in bare and all(
            not c or is_number(c) or COMMA_NUMBER.fullmatch(c) for c in cells
        ):  # fmt: skip
            return mark
    best = max(",\t;|", key=bare.count)
    return best if best in bare else " "


def refuse_doctype(path: Path) -> None:
    """Raise `CompileError` if XML declares a document type, with which it can expand at will."""
    parser, done = expat.ParserCreate(), False

    def started(*_: object) -> None:
        nonlocal done
        done = True

    def refuse(*_: object) -> None:
        where = f"{path}, line {parser.CurrentLineNumber}"
        raise CompileError(where, "declares a document type", "remove the <!DOCTYPE ...>")

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = started, refuse
    with unzipped(path) as file:
        try:
            while not done and (piece := file.read(HEAD_BYTES)):
                parser.Parse(piece)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise CompileError(str(path), f"is broken XML: {error}", FETCH_AGAIN) from error
