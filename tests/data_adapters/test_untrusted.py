"""Files that mislead, by where they lie or what they leave out, and small files that exhaust."""

from __future__ import annotations

import errno
import gzip
import random
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq
import pytest

from connectome_compiler.data_adapters import _content, _tables, _workbook
from connectome_compiler.data_adapters.mesoscale import Mesoscale
from connectome_compiler.data_adapters.microns_release import MicronsRelease
from connectome_compiler.data_adapters.ncap import Ncap
from connectome_compiler.data_adapters.synthetic import Synthetic
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Graph

EDGES = "pre,post,weight\n1,2,3\n2,1,1\n2,3,2\n"


def written(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


# --- where a file lies ----------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["weight=99", "pre=2", "sign=-1", "kind=electrical", "run=5"])
@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz", "e.parquet", "e.feather"])
def test_a_folder_is_no_column(tmp_path: Path, folder: str, name: str) -> None:
    def load(place: Path) -> Graph:
        place.mkdir()
        columns = pa.table({"pre": [1, 2, 2], "post": [2, 1, 3], "weight": [3, 1, 2]})
        match name.removeprefix("e"):
            case ".parquet":
                pq.write_table(columns, place / name)
            case ".feather":
                pf.write_feather(columns, place / name)
            case ".csv":
                (place / name).write_text(EDGES)
            case _:
                (place / name).write_bytes(gzip.compress(EDGES.encode()))
        graph: Graph = Table(str(place / name)).load()
        return graph

    plain, named = load(tmp_path / "plain"), load(tmp_path / folder)
    assert named.digest() == plain.digest()
    assert named.provenance.steps == plain.provenance.steps


def test_a_cache_in_a_folder_is_no_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: Any
) -> None:
    ids = ["11", "12"]
    publish(
        cells=(
            ["id", "pt_root_id", "broad_type", "cell_type", "mtype",
             *(f"pt_position_{a}" for a in "xyz")],
            [[k, f"9{k}", "excitatory", "23P", "", "100", "200", "300"] for k in ids],
        ),
        proofreading=(
            ["pt_root_id", "valid_id", "status_axon", "strategy_axon"],
            [[f"9{k}", f"9{k}", "t", "axon_fully_extended"] for k in ids],
        ),
        synapses=(
            ["pre_pt_root_id", "post_pt_root_id", "size"],
            [["911", "912", "70"], ["912", "911", "8"]],
        ),
    )  # fmt: skip
    monkeypatch.setenv("CCOMPILE_CACHE", str(tmp_path / "size=5"))
    (projection,) = MicronsRelease(column="all").load().projections
    assert projection.synapses.size is not None
    assert sorted(projection.synapses.size.tolist()) == [8, 70]


def test_the_database_loads_nothing_by_itself() -> None:
    with _tables.database() as db:
        for name in _tables.OFF:
            ((value,),) = db.execute(f"SELECT current_setting('{name}')").fetchall()
            assert value is False


# --- gzip -----------------------------------------------------------------------------------------


def test_gzip_is_checked_to_its_end(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = (
        f"{rng.randrange(9**6)},{rng.randrange(9**6)},{rng.randrange(1, 90)}\n"
        for _ in range(9_000)
    )
    whole = gzip.compress(("pre,post,weight\n" + "".join(rows)).encode(), 1, mtime=0)
    digest = Table(written(tmp_path / "e.csv.gz", whole)).load().digest()
    for k in range(12):
        damaged = bytearray(whole)
        at = len(whole) - 1 - k if k < 8 else rng.randrange(len(whole) // 2, len(whole) - 8)
        damaged[at] ^= 1 << rng.randrange(8)
        with pytest.raises(CompileError):
            Table(written(tmp_path / "e.csv.gz", bytes(damaged))).load()
    for tail in (b"x", b"\x1f", b"\x1f\x8b", b"\x00\x00"):
        with pytest.raises(CompileError, match="gzip"):
            Table(written(tmp_path / "e.csv.gz", whole + tail)).load()
    half = len("pre,post,weight\n1,2,3\n")
    parts = gzip.compress(EDGES[:half].encode()) + gzip.compress(EDGES[half:].encode())
    one, many = (written(tmp_path / f"{k}.csv.gz", c) for k, c in
                 enumerate((gzip.compress(EDGES.encode()), parts)))  # fmt: skip
    assert Table(many).load().digest() == Table(one).load().digest() != digest


@pytest.mark.parametrize("read", [1, 2, 7, 4096])
@pytest.mark.parametrize("unzipped", [1, 100, 1 << 20])
def test_gzip_is_unzipped_and_checked_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, unzipped: int
) -> None:
    monkeypatch.setattr(_content, "READ_BYTES", read)
    monkeypatch.setattr(_content, "UNZIP_BYTES", unzipped)
    text = b"a" * 5_000 + b"b"
    whole = gzip.compress(text[:-1]) + gzip.compress(b"") + gzip.compress(text[-1:])
    path = tmp_path / "f.gz"
    path.write_bytes(whole)
    assert b"".join(_content.gunzipped(path)) == text
    for damaged in (whole[:-1], whole[:-8], whole + b"\x1f", whole + b"\x1f\x8c", whole + b"\0\0"):
        path.write_bytes(damaged)
        with pytest.raises(CompileError, match="gzip"):
            list(_content.gunzipped(path))


def test_gzip_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    rows = b"1,2,3\n" * (1 << 22)
    bomb = written(tmp_path / "e.csv.gz", gzip.compress(b"pre,post,weight\n" + rows))
    with pytest.raises(CompileError, match="unpacks to more than"):
        Table(bomb).load()
    assert not (tmp_path / "temporary").exists()


def test_a_full_temporary_folder_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Iterator[bytes]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_tables, "gunzipped", full)
    zipped = written(tmp_path / "e.csv.gz", gzip.compress(EDGES.encode()))
    with pytest.raises(CompileError, match=r"cannot be written into .*: No space left") as caught:
        Table(zipped).load()
    assert "TMPDIR" in caught.value.hint


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("pre,post," + "x" * 140_000 + "\n1,2,3\n", "a name of more than 131,072 characters"),
        ('pre,post,"weight\n1,2,3\n', "line 1: has a quote that is never closed"),
        ("pre,post" + ",c" * 20_000, "has 20,002 columns; the limit is 16,384"),
        ("pre,post,weight\n1,2,1_000\n", "'1_000' is not a synapse count"),
        ("pre,post,weight\n1,2," + "9" * 10**6 + "\n", "is not a synapse count"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(CompileError, match=words) as caught:
        Table(written(tmp_path / "e.csv", content)).load()
    assert len(str(caught.value)) < 2_000


def test_true_is_no_number_of_synapses(tmp_path: Path) -> None:
    columns = {"pre": [1, 2], "post": [2, 1], "weight": [True, True]}
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    for unit in ("synapses", "um2"):
        with pytest.raises(CompileError, match="weights must be numbers, not True"):
            Table(str(tmp_path / "e.parquet"), unit=unit).load()


def test_underscores_make_no_numbers_elsewhere(tmp_path: Path) -> None:
    edges = written(tmp_path / "e.csv", "pre,post,weight,size\n1,2,3,1_0\n")
    with pytest.raises(CompileError, match="'1_0' is not a size"):
        Table(edges).load()
    edges = written(tmp_path / "e.csv", EDGES)
    cells = written(tmp_path / "c.csv", "id,x_um,y_um,z_um\n1,1_0,2,3\n2,1,2,3\n3,1,2,3\n")
    with pytest.raises(CompileError, match="'1_0' is not a number"):
        Table(edges, cells=cells).load()
    areas = written(tmp_path / "a.csv", "area,layer,n_neurons\nV1,L4,1_0\n")
    with pytest.raises(CompileError, match="'1_0' is not a number"):
        Mesoscale(populations=areas).load()


def test_wide_tables_of_cells_take_time_by_their_width(tmp_path: Path) -> None:
    """Thousands of columns were read in a time that grew with their square, and in no memory."""
    n = 4_000
    head = "id," + ",".join(f"c{k}" for k in range(n))
    cells = written(
        tmp_path / "c.csv", f"{head}\n" + "".join(f"{k}{', x' * n}\n" for k in (1, 2, 3))
    )
    started = time.process_time()
    (neurons,) = Table(written(tmp_path / "e.csv", EDGES), cells=cells).load().populations
    assert time.process_time() - started < 40  # was more than 100, had there been the memory
    assert neurons.neurons is not None
    assert set(neurons.column("c3999").to_pylist()) == {"x"}


def test_a_text_without_lines_is_not_read_whole(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(_content, "LONGEST_LINE", 100_000)
    path = tmp_path / "e.csv.gz"
    path.write_bytes(gzip.compress(b"1" * 10**6))
    with pytest.raises(CompileError, match="line of more than 100,000 bytes"):
        _content.beginning(b"1" * 65_536, path)
    with pytest.raises(CompileError):
        Table(str(path)).load()


# --- Excel ----------------------------------------------------------------------------------------


def workbook(path: Path, edit: Any = lambda text: text) -> str:
    book = openpyxl.Workbook()
    for row in ([None, "a", "b"], ["a", 0, 7], ["b", 2, 0]):
        book.active.append(row)
    book.save(path)
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = edit(parts[sheet].decode()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return str(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<v>7</v>", "<f>1+1</f><v></v>", "cell C2: has a formula whose value is not stored"),
        ("<v>7</v>", "<f>1+1</f>", "cell C2: has a formula whose value is not stored"),
        ('t="n"><v>7</v>', 't="b"><v>1</v>', "cell C2: True is not a number"),
        ('t="n"><v>0</v>', 't="b"><v>0</v>', "cell B2: False is not a number"),
        ('<row r="3"', '<row r="1000000000000"', "a row 1,000,000,000,000"),
        ('r="C2"', 'r="XFE2"', "16,385 columns"),
        ("<v>7</v>", "<v>1e999</v>", "cell C2: inf is not a number"),
        ("<v>7</v>", "<v>" + "9" * 400 + "</v>", "is not a number"),
    ],
)
def test_workbooks_that_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    started = time.process_time()
    with pytest.raises(CompileError, match=words):
        Table(workbook(tmp_path / "m.xlsx", edit), orientation="pre-post").load()
    assert time.process_time() - started < 20


def test_a_formula_with_its_value_and_a_gap_are_read(tmp_path: Path) -> None:
    made = workbook(tmp_path / "m.xlsx", lambda t: t.replace("<v>7</v>", "<f>3+4</f><v>7</v>"))
    graph = Table(made, orientation="pre-post").load()
    assert sorted(graph.projections[0].synapses.weight.tolist()) == [2, 7]
    far = workbook(tmp_path / "n.xlsx", lambda t: t.replace(
        "</sheetData>", '<row r="9"><c r="B9"><v>5</v></c></row></sheetData>'))  # fmt: skip
    graph = Table(far, orientation="pre-post").load()
    assert any("1 numbers outside" in n for s in graph.provenance.steps for n in s.notes)


def test_a_workbook_that_bursts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blank = workbook(tmp_path / "m.xlsx", lambda t: t + " " * (30 << 20))
    with pytest.raises(CompileError, match="more than real data do"):
        Table(blank, orientation="pre-post").load()
    monkeypatch.setattr(_content, "MOST_UNPACKED", 1_000)
    with pytest.raises(CompileError, match="the limit is 1,000"):
        Table(workbook(tmp_path / "n.xlsx"), orientation="pre-post").load()


def test_weights_beyond_int64_stay_real(tmp_path: Path) -> None:
    for name, content in (
        ("m.csv", ",a,b\na,0,1e19\nb,1e300,0\n"),
        ("g.graphml", graphml('<edge source="a" target="b"><data key="w">1e19</data></edge>'
                              '<edge source="b" target="a"><data key="w">1e300</data></edge>')),
    ):  # fmt: skip
        options: dict[str, Any] = {"orientation": "pre-post"} if name == "m.csv" else {}
        graph = Table(written(tmp_path / name, content), unit="um2", **options).load()
        assert sorted(graph.projections[0].synapses.weight.tolist()) == [1e19, 1e300]
        with pytest.raises(CompileError, match="is not a synapse count"):
            Table(str(tmp_path / name), **options).load()
    assert _workbook.MOST_ROWS == 2**20


# --- GraphML --------------------------------------------------------------------------------------


def graphml(inner: str, keys: str = "", head: str = "") -> str:
    key = '<key id="w" for="edge" attr.name="weight" attr.type="double"/>' + keys
    nodes = '<node id="a"/><node id="b"/>'
    return f'{head}<graphml>{key}<graph edgedefault="directed">{nodes}{inner}</graph></graphml>'


TWICE = '<key id="v" for="edge" attr.name="weight" attr.type="int"/>'
DEFAULT = '<key id="u" for="edge" attr.name="n" attr.type="double"><default>x</default></key>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (graphml('<edge source="a" target="b"/>', DEFAULT), "the default: n is 'x'"),
        (
            graphml(
                '<edge source="a" target="b"><data key="w">1</data><data key="v">2</data></edge>',
                TWICE,
            ),
            "line 1: has two values of weight, of two keys",
        ),
        (graphml("", head='<?xml version="1.0" encoding="shift_jis"?>'), "encoding"),
        (graphml("", head='<?xml version="1.0" encoding="idna"?>'), "encoding"),
        (graphml(f'<node id="c" z="{"x" * (3 << 20)}"/>'), "more than 1,048,576 bytes"),
        (graphml(f"<!--{'x' * (3 << 20)}-->"), "more than 1,048,576 bytes"),
        (graphml(f'<node id="c"><data key="w">{"1" * (2 << 20)}</data></node>'), "1,048,576 char"),
    ],
)
def test_graphml_that_is_refused(tmp_path: Path, content: str, words: str) -> None:
    started = time.process_time()
    with pytest.raises(CompileError, match=words):
        Table(written(tmp_path / "g.graphml", content)).load()
    assert time.process_time() - started < 5


# --- SONATA ---------------------------------------------------------------------------------------


def sonata(path: Path, edit: Any) -> str:
    with h5py.File(path, "w") as file:
        file["nodes/v1/node_type_id"] = [1, 1, 2]
        for end, ids in (("source", [0, 1]), ("target", [1, 2])):
            file[f"edges/e/{end}_node_id"] = ids
            file[f"edges/e/{end}_node_id"].attrs["node_population"] = "v1"
        file["edges/e/0/nsyns"] = [3, 4]
        edit(file)
    return str(path)


def swapped(place: str, **made: Any) -> Any:
    def edit(file: Any) -> None:
        attributes = dict(file[place].attrs)
        del file[place]
        file.create_dataset(place, **made).attrs.update(attributes)

    return edit


def attribute(value: Any) -> Any:
    return lambda file: file["edges/e/source_node_id"].attrs.create("node_population", value)


def linked(file: Any) -> None:
    del file["edges/e/0"]
    file["edges/e/0"] = h5py.ExternalLink("/dev/zero", "/")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        *(
            (swapped(place, shape=(2**40,), dtype="i8", chunks=(9,)), "declares 1,099,511,627,776")
            for place in ("edges/e/source_node_id", "nodes/v1/node_type_id", "edges/e/0/nsyns")
        ),
        (swapped("edges/e/0/nsyns", data=np.zeros((2, 2))), "has no|each counts|no attribute"),
        (swapped("edges/e/0", data=[1, 2]), "0: is not a group"),
        (swapped("edges/e/source_node_id", data=np.array([0, 2**63], np.uint64)), "the limit is"),
        (attribute(1.5), "expected a name"),
        (attribute(np.array([1, 2])), "expected a name"),
        (attribute(h5py.Empty("f")), "expected a name"),
        (attribute(np.void(b"\xff\xfe")), "expected a name|no such name"),
        (linked, "link into another file"),
    ],
)  # fmt: skip
def test_sonata_that_is_refused(tmp_path: Path, edit: Any, words: str) -> None:
    path = sonata(tmp_path / "s.h5", edit)
    if "each counts" in words:  # a matrix is not a column of attributes
        assert Table(path).load().n_connections == 2
        return
    started = time.process_time()
    with pytest.raises(CompileError, match=words):
        Table(path).load()
    assert time.process_time() - started < 10


def test_a_group_that_looks_like_a_number_is_none(tmp_path: Path) -> None:
    graph = Table(sonata(tmp_path / "s.h5", lambda f: f.create_group("edges/e/²"))).load()
    assert graph.projections[0].synapses.weight.tolist() == [3, 4]


# --- sizes ----------------------------------------------------------------------------------------


def test_networks_beyond_all_memory_are_refused_before_they_are_made() -> None:
    for source, words in (
        (Synthetic(grids=((100_000, 100_000),)), "10,000,000,000 units"),
        (Synthetic(grids=((1_000, 1_000),)), "1,000,000,000,000 weights"),
        (Ncap(n_joints=2_000_000_000), "20,000,000,000 units"),
    ):
        with pytest.raises(CompileError, match=words):
            source.load()
