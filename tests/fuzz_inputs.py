"""Give readers files that were cut, altered or made up, in a process with little memory.

``python tests/fuzz_inputs.py KIND SEED FIRST LAST`` tries inputs of one kind and prints a line of
JSON for each: its number before it is tried, and after it what is wrong with the outcome, if
anything. So whoever started it knows what a process that died was at.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from connectome_compiler.data_adapters._area_tables import read_table
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError
from connectome_compiler.passes._expression import matches, strangers
from connectome_compiler.recipe import load_recipe

SECONDS, MEMORY = 20, 4 << 30  # for one input; of address space, most of it reserved by libraries
LONGEST = 2_000  # characters of an error

WORDS = [
    *("", " ", "0", "-0", "-1", "1.5", "1_000", "1e3", "1e19", "1e309", "nan", "inf", "-inf"),
    *("9" * 19, "9" * 30, "9" * 5_000, "x" * 140_000, "TRUE", "=1+1", "0x10", "٣", "²", "é"),
    *("\x00", "\x1b[2J", "'", '"', '""', ",", "\t", "\n", "\r", ";", "{", "%s", "\\", "*", "?"),
    *("weight", "sign", "kind", "electrical", "pre", "id", "none", "&lt;", "<", ">", "&x;", "]]>"),
]
Rng = random.Random
CSV = "pre,post,weight,sign,kind\na,b,3,1,chemical\nb,c,2,-1,electrical\nc,a,1,,chemical\n"
CELLS = (
    "id,cell_type,layer,x_um,y_um,z_um,sign,role\n"
    "a,E,L4,1,2,3,1,sensory\nb,I,L5,1,2,3,-1,\nc,,,,,,,motor\n"
)
MATRIX = ",a,b,c\na,0,1,2\nb,3,,0\nc,1,0,0\n"
AREAS = "area,layer,n_neurons,level,surface_mm2,output\nV1,L4,100,1,2.5,1\nLM,L4,50,2,1.5,2\n"
GRAPHML = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="w" for="edge" attr.name="weight" attr.type="double"><default>1</default></key>
<key id="t" for="node" attr.name="cell_type" attr.type="string"/>
<key id="k" for="edge" attr.name="kind" attr.type="string"/>
<graph edgedefault="directed">
<node id="a"><data key="t">E</data></node><node id="b"/>
<edge source="a" target="b"><data key="w">3</data><data key="k">chemical</data></edge>
<edge source="b" target="a" directed="false"><data key="k">electrical</data></edge>
</graph></graphml>
"""
GML = 'graph [ directed 1 node [ id 0 label "a" ] node [ id 1 label "b" ]\n'
GML += "edge [ source 0 target 1 weight 3 ] edge [ source 1 target 0 weight 2 ] ]\n"
GEXF = """<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">
<graph defaultedgetype="directed"><nodes><node id="a" label="A"/><node id="b" label="B"/></nodes>
<edges><edge id="0" source="a" target="b" weight="3.0"/></edges></graph></gexf>
"""
PAJEK = '*Vertices 3\n1 "a"\n2 "b"\n3 "c"\n*Arcs\n1 2 5\n*Edges\n2 3 2\n'
NODE_LINK = '{"directed": true, "nodes": [{"id": "a"}, {"id": "b"}], "links": '
NODE_LINK += '[{"source": "a", "target": "b", "weight": 3}, {"source": "b", "target": "a"}]}'
MARKET = "%%MatrixMarket matrix coordinate integer general\n3 3 3\n1 2 5\n2 3 1\n3 1 2\n"
FLYVIS = json.dumps(
    {
        "nodes": [
            {"name": "R1", "pattern": ["stride", [1, 1]]},
            {"name": "L1", "pattern": ["tile", 2]},
        ],
        "edges": [{"src": "R1", "tar": "L1", "alpha": 1, "offsets": [[[0, 0], 4.5], [[1, 0], 2]]}],
        "input_units": ["R1"],
        "output_units": ["L1"],
    }
)
RECIPE = """name = "toy"
title = "A toy"
[source]
use = "synthetic"
grids = [[2, 3]]
[[pass]]
use = "drop-weak-connections"
min_weight = 1
[[pass]]
use = "attach-ports"
inputs = 2
[template]
use = "recurrent"
[options]
inputs = "attach-ports.inputs"
[set]
inputs = 3
"""
EXPRESSION = 'layer == "L4" and not kind in ("BC", "MC") or x >= 1 and sign is not None'
NEURONS = pa.table(
    {"layer": ["L4", None, "L5"], "kind": ["BC", "E", None], "x": [1.0, 2.0, None],
     "sign": pa.array([1, -1, None], pa.int8()), "checked": [True, False, None]}
)  # fmt: skip


def mutated(rng: Rng, content: bytes) -> bytes:
    """Return bytes that were flipped, cut out, doubled or replaced in one to four places."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        length = min(rng.choice((1, 1, 2, 8, 64)), len(data) - at)
        word = rng.choice(WORDS).encode("utf-8", "surrogatepass")
        match rng.randrange(7):
            case 0 if length:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * rng.choice((1, 3, 1000))
            case 3:
                data[at : at + length] = word
            case 4:
                data[at:at] = word
            case 5:
                del data[at:]
            case _:
                data[at:at] = rng.randbytes(length)
    return bytes(data)


def reworded(rng: Rng, text: str, marks: str) -> bytes:
    """Return a text of which one to three parts, between ``marks``, are other words."""
    for _ in range(rng.randint(1, 3)):
        places = [k for k, c in enumerate(text) if c in marks] + [len(text)]
        k = rng.randrange(len(places))
        start = places[k - 1] + 1 if k else 0
        text = text[:start] + rng.choice(WORDS) + text[places[k] :]
    return text.encode("utf-8", "surrogatepass")


def of_text(text: str, marks: str) -> Callable[[Rng], bytes]:
    """Return how a text is altered: by bytes or by words."""
    return lambda rng: (
        mutated(rng, text.encode()) if rng.random() < 0.5 else reworded(rng, text, marks)
    )


def column(rng: Rng, n: int) -> pa.Array:
    """Return a column of any type."""
    kind = rng.randrange(12)
    words = [rng.choice(WORDS) for _ in range(n)]
    numbers = [rng.choice((0, 1, 2, -1, 2**31, 2**53 + 1, 2**62, None)) for _ in range(n)]
    match kind:
        case 0:
            return pa.array(words)
        case 1:
            return pa.array(words).dictionary_encode()
        case 2:
            return pa.array([None] * n)
        case 3:
            return pa.array([rng.choice((True, False, None)) for _ in range(n)])
        case 4:
            return pa.array([[x] for x in numbers])
        case 5:
            return pa.array([{"a": x} for x in numbers])
        case 6:
            return pa.array(words, pa.large_string())
        case 7:
            return pa.array([w.encode() for w in words], pa.binary())
        case 8:
            return pa.array(
                [float(rng.choice((1, 0, -1.5, "nan", "inf", 1e300))) for _ in range(n)]
            )
        case 9:
            return pa.array([0, 1, 2][:n], pa.timestamp("us"))
        case 10:
            return pa.array([1, 2, 3][:n], pa.decimal128(38, 9))
        case _:
            return pa.array(numbers, pa.int64())


def arrow_file(write: Callable[[pa.Table, Any], None]) -> Callable[[Rng], bytes]:
    """Return how a table in a binary format is altered: its bytes, or the types of its columns."""

    def make(rng: Rng) -> bytes:
        columns = {
            "pre": pa.array([1, 2, 3]),
            "post": pa.array([2, 3, 1]),
            "weight": pa.array([3, 1, 2]),
            "sign": pa.array([1, -1, 0], pa.int8()),
        }
        alter = rng.random() < 0.5
        if alter:
            for _ in range(rng.randint(1, 2)):
                columns[rng.choice([*columns, "kind", "size", "=1"])] = column(rng, 3)
        out = io.BytesIO()
        write(pa.table(columns), out)
        return out.getvalue() if alter else mutated(rng, out.getvalue())

    return make


def zipped(rng: Rng) -> bytes:
    """Return gzip of a table, altered before or after."""
    if rng.random() < 0.5:
        return gzip.compress(of_text(CSV, ",\n")(rng), mtime=0)
    return mutated(rng, gzip.compress(CSV.encode(), mtime=0) * rng.randint(1, 2))


def workbook(rng: Rng) -> bytes:
    """Return a workbook with altered bytes, parts or cells."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    for line in MATRIX.splitlines():
        sheet.append([int(c) if c.isdigit() else c or None for c in line.split(",")])
    for _ in range(rng.randint(0, 2)):
        value: Any = rng.choice([*WORDS[:14], True, 1e300, -3, 10**18])
        sheet.cell(rng.randint(1, 6), rng.randint(1, 6)).value = value
    out = io.BytesIO()
    book.save(out)
    if rng.random() < 0.4:
        return mutated(rng, out.getvalue())
    made = io.BytesIO()
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        parts = old.namelist()
        victim = rng.choice(["xl/worksheets/sheet1.xml", rng.choice(parts)])
        for name in parts:
            content = old.read(name)
            if name == victim:
                text = content.decode()
                content = of_text(text, '"<>')(rng)
            new.writestr(name, content)
    return made.getvalue()


def array_file(write: Callable[[Any, Any], None]) -> Callable[[Rng], bytes]:
    """Return how a matrix in a file of arrays is altered: its bytes, or its numbers."""

    def make(rng: Rng) -> bytes:
        values: Any = np.array([[0, 5.0, 0], [2, 0, 1], [0, 3, 4]])
        alter = rng.random() < 0.5
        if alter:
            dtype = rng.choice(["f4", "i8", "u1", "?", "c16", "U3", "S3"])
            values[rng.randrange(3), rng.randrange(3)] = rng.choice((np.nan, -np.inf, 1e300, -1))
            values = values.astype(dtype)[: rng.randint(0, 3)]
        out = io.BytesIO()
        write(out, values)
        return out.getvalue() if alter else mutated(rng, out.getvalue())

    return make


def _write_matlab(out: Any, values: Any) -> None:
    import scipy.io
    from scipy import sparse

    made = {"A": values, "names": np.array(["a", "b", "c"], object)}
    if values.dtype.kind == "f":
        made["S"] = sparse.csc_matrix(values)
    scipy.io.savemat(out, made, do_compression=bool(values.size % 2))


def tvb(rng: Rng) -> bytes:
    """Return a connectivity of The Virtual Brain with an altered part."""
    parts = {"weights.txt": "0 2 0\n1 0 3\n0 0 0\n", "centres.txt": "a 1 2 3\nb 4 5 6\nc 7 8 9\n"}
    victim = rng.choice([*parts, ""])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, of_text(text, " \n")(rng) if name == victim else text)
    return out.getvalue() if victim else mutated(rng, out.getvalue())


def sonata(rng: Rng) -> bytes:
    """Return a SONATA file with altered bytes, data sets or attributes."""
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        nodes, edges = file.create_group("nodes/v1"), file.create_group("edges/e")
        nodes["node_type_id"] = np.array([1, 1, 2])
        nodes["0/cell_type"] = np.array([b"E", b"I", b"E"])
        edges["source_node_id"], edges["target_node_id"] = np.array([0, 1]), np.array([1, 2])
        for end in ("source_node_id", "target_node_id"):
            edges[end].attrs["node_population"] = "v1"
        edges["edge_group_id"], edges["edge_group_index"] = np.array([0, 0]), np.array([0, 1])
        edges["0/nsyns"] = np.array([3, 4])
        if alter := rng.random() < 0.7:
            places: list[str] = []
            file.visit(places.append)
            for _ in range(rng.randint(1, 2)):
                place = rng.choice(places)
                if place.startswith("edges/e/") and rng.random() < 0.3:
                    with contextlib.suppress(Exception):
                        file["edges/e/source_node_id"].attrs["node_population"] = rng.choice(
                            [1.5, b"\xff", "nope", h5py.Empty("f"), np.array([1, 2]), "v1"]
                        )
                with contextlib.suppress(Exception):  # what h5py itself does not write
                    if place in file:
                        del file[place]
                    _put(rng, h5py, file, rng.choice([place, place.rsplit("/", 1)[0] + "/²"]))
    return out.getvalue() if alter else mutated(rng, out.getvalue())


def _put(rng: Rng, h5py: Any, file: Any, place: str) -> None:
    match rng.randrange(8):
        case 0:
            file.create_dataset(place, (2 ** rng.choice((10, 30, 40, 62)),), "i8", chunks=(1024,))
        case 1:
            file[place] = np.array([0, -1, 2**62])
        case 2:
            file[place] = np.array([0, 2**63 + 5], np.uint64)
        case 3:
            file[place] = np.array([0.0, np.nan])
        case 4:
            file[place] = rng.choice([b"x", 3, "text"])
        case 5:
            file[place] = h5py.SoftLink(rng.choice(["/", "/nodes", "/" + place, "/none"]))
        case 6:
            file[place] = h5py.ExternalLink("/dev/zero", "/x")
        case _:
            file.create_group(place)


def expression(rng: Rng) -> bytes:
    """Return an expression, altered, deep, or long."""
    word = rng.choice(["not ", "(", "-", "x < ", "x in (", "checked and ", "[", "~", "x.", '"'])
    if rng.random() < 0.3:
        return (word * rng.choice((3, 60, 900, 3_000)) + "x" + ")" * rng.choice((0, 60))).encode()
    if rng.random() < 0.2:
        words = ", ".join(rng.choice(("1", "1.5", '"a"', "None", "x")) for _ in range(900))
        return f"x in ({words})".encode()
    return of_text(EXPRESSION, " ()")(rng)


def setting(rng: Rng) -> bytes:
    """Return what follows ``--set``."""
    name = rng.choice(["inputs", "source.grids", "source.layers", "attach-ports.into", "x", ""])
    value = rng.choice(
        [*WORDS, "[[1,2],[3]]", "[" * 900, "[1, " * 40, "10" * 10, "[[99999,99999]]"]
    )
    return f"{name}={value}".encode()


def _table(name: str, **options: str) -> Callable[[bytes, Path, Rng], None]:
    def load(content: bytes, folder: Path, rng: Rng) -> None:
        (folder / name).write_bytes(content)
        more = {"unit": "um2"} if rng.random() < 0.3 else {}
        if name == "cells.csv":
            (folder / "edges.csv").write_text(CSV)
            more |= {"edges": str(folder / "edges.csv"), "cells": str(folder / name)}
            more |= {"species": rng.choice(("", "fly"))}
        Table(**{"edges": str(folder / name), **options, **more}).load()

    return load


def _areas(content: bytes, folder: Path, rng: Rng) -> None:
    from connectome_compiler.data_adapters.mesoscale import Mesoscale

    (folder / "a.csv").write_bytes(content)
    read_table(str(folder / "a.csv"), "", ("area", "layer", "n_neurons"), ())
    Mesoscale(populations=str(folder / "a.csv")).load()


def _recipe(content: bytes, folder: Path, rng: Rng) -> None:
    (folder / "r.toml").write_bytes(content)
    for stage in load_recipe(folder / "r.toml").stages.values():
        stage.make()


def _setting(content: bytes, folder: Path, rng: Rng) -> None:
    (folder / "r.toml").write_text(RECIPE)
    recipe = load_recipe(folder / "r.toml", [content.decode("utf-8", "surrogateescape")])
    for stage in recipe.stages.values():
        made = stage.make()
        if stage.kind == "adapter":
            made.load()


def _expression(content: bytes, folder: Path, rng: Rng) -> None:
    text = content.decode("utf-8", "surrogateescape")
    matches(NEURONS, text)
    strangers(NEURONS, text)


Try = Callable[[bytes, Path, Rng], None]
KINDS: dict[str, tuple[Callable[[Rng], bytes], Try]] = {
    "csv": (of_text(CSV, ",\n"), _table("e.csv")),
    "tsv": (of_text(CSV.replace(",", "\t"), "\t\n"), _table("e.tsv")),
    "gzip": (zipped, _table("e.csv.gz")),
    "parquet": (arrow_file(pa.parquet.write_table), _table("e.parquet")),
    "feather": (arrow_file(pa.feather.write_feather), _table("e.feather")),
    "matrix": (of_text(MATRIX, ",\n"), _table("m.csv", orientation="pre-post")),
    "workbook": (workbook, _table("m.xlsx", orientation="pre-post")),
    "graphml": (of_text(GRAPHML, '"<>'), _table("g.graphml")),
    "sonata": (sonata, _table("s.h5")),
    "gml": (of_text(GML, ' "\n[]'), _table("g.gml")),
    "gexf": (of_text(GEXF, '"<>'), _table("g.gexf")),
    "pajek": (of_text(PAJEK, ' "\n*'), _table("g.net")),
    "nodelink": (of_text(NODE_LINK, ' ",[]{}:'), _table("g.json")),
    "market": (of_text(MARKET, " \n"), _table("m.mtx", orientation="pre-post")),
    "npy": (array_file(np.save), _table("m.npy", orientation="pre-post")),
    "npz": (array_file(np.savez_compressed), _table("m.npz", orientation="pre-post")),
    "matlab": (array_file(_write_matlab), _table("m.mat", orientation="pre-post", part="A")),
    "tvb": (tvb, _table("c.zip", orientation="pre-post")),
    "flyvis": (of_text(FLYVIS, ' ",[]'), _table("f.json", unit="synapses on average")),
    "cells": (of_text(CELLS, ",\n"), _table("cells.csv")),
    "areas": (of_text(AREAS, ",\n"), _areas),
    "recipe": (of_text(RECIPE, ' "\n=[]'), _recipe),
    "setting": (setting, _setting),
    "expression": (expression, _expression),
}


class Hang(BaseException):
    """An input took longer than it may."""


def _hang(*_: object) -> None:
    raise Hang


def problem(attempt: Callable[[], None]) -> str:
    """Return what is wrong with an outcome, which is a graph or a short `CompileError`."""
    signal.alarm(SECONDS)
    try:
        attempt()
    except CompileError as error:
        text = str(error)
        return f"an error of {len(text):,} characters" if len(text) > LONGEST else ""
    except Hang:
        return f"longer than {SECONDS} s: {traceback.format_exc()[-1500:]}"
    except Exception:
        return traceback.format_exc()[-1500:]
    finally:
        signal.alarm(0)
    return ""


def main(kind: str, seed: int, first: int, last: int) -> None:
    """Try inputs ``first`` to ``last`` and print what each one came to."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    make, attempt = KINDS[kind]
    for k in range(first, last):
        print(json.dumps({"input": k}), flush=True)
        rng = Rng(f"{kind} {seed} {k}")
        content = make(rng)
        with tempfile.TemporaryDirectory() as folder:
            wrong = problem(lambda c=content, f=folder, r=rng: attempt(c, Path(f), r))  # type: ignore[misc]
        print(json.dumps({"input": k, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
