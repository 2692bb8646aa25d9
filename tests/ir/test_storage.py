import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kills import deaths
from strategies import graphs

from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.ir import (
    AllToAll,
    Evidence,
    Graded,
    Graph,
    Leaky,
    LowRank,
    Named,
    OneToOne,
    Population,
    Projection,
    Provenance,
    Shift,
    SourceFile,
    SquareWave,
    Step,
    Swept,
    Synapses,
    Tied,
    neuron_table,
)
from connectome_compiler.ir.digest import statement_digest
from connectome_compiler.ir.nodes import Attenuation
from connectome_compiler.ir.storage import FORMAT, file_name

BIG = 864691135000000001


@contextmanager
def new_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}


def small(*names: str) -> Graph:
    names = names or ("a",)
    people = [
        Population(name, (2,), neuron_table({"neuron_id": [10 * k + 1, 10 * k + 2]}))
        for k, name in enumerate(names)
    ]
    edges = Synapses([0, 1], [1, 0], [3, 4])  # type: ignore[arg-type]
    return Graph(
        tuple(people),
        tuple(Projection(p.name, q.name, edges) for p in people for q in people),
        Provenance("t"),
    )


@given(graphs())
@settings(max_examples=30)
def test_round_trip(g: Graph) -> None:
    with new_folder() as folder:
        assert g.save(folder / "g") == folder / "g"
        again = Graph.load(folder / "g")
        assert again.digest() == g.digest()
        assert again.provenance == g.provenance
        for p, q in zip(g.populations, again.populations, strict=True):
            assert (p.name, p.shape, p.node, p.artificial) == (
                q.name,
                q.shape,
                q.node,
                q.artificial,
            )
            assert (p.neurons is None) == (q.neurons is None)
            assert p.neurons is None or p.neurons.equals(q.neurons)
        again.save(folder / "again")
        assert files(folder / "again") == files(folder / "g")


def test_equal_graphs_make_equal_files(tmp_path: Path) -> None:
    g = small()
    table = g.populations[0].neurons
    assert table is not None
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1)]).replace_schema_metadata(
        {"a": "b"}
    )
    other = replace(g, populations=(replace(g.populations[0], neurons=pieces),))
    g.save(tmp_path / "one")
    other.save(tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_all_kinds_of_columns_survive(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([BIG, None], pa.int64()),
        "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
        "small": pa.array([1, None], pa.int8()),
        "half": pa.array([0.5, None], pa.float16()),
        "single": pa.array([0.1, None], pa.float32()),
        "flag": pa.array([True, None]),
        "word": pa.array(["é", None]),
        "large word": pa.array(["é", None], pa.large_string()),
        "category": pa.array(["é", None]).dictionary_encode(),
        "bytes": pa.array([b"\x00", None]),
        "nothing": pa.nulls(2),
        "seconds": pa.array([1, None], pa.timestamp("s")),
        "zone": pa.array([1, None], pa.timestamp("ns", "UTC")),
        "day": pa.array([1, None], pa.date32()),
        "time": pa.array([1, None], pa.time32("s")),
        "a/b": pa.array([1.5, None]),
    }
    table = neuron_table({"neuron_id": ["x", "y"], **columns})
    g = Graph((Population("a", (2,), table),), (), Provenance("t"))
    g.save(tmp_path / "g")
    held = g.populations[0].neurons
    read = Graph.load(tmp_path / "g").populations[0].neurons
    assert held is not None
    assert read is not None
    assert read.equals(held)
    for name, column in columns.items():
        assert read.column(name).to_pylist() == column.to_pylist()


def test_provenance_survives(tmp_path: Path) -> None:
    known = Provenance(
        "microns-v1",
        "1507",
        "a title with µ and \n",
        Evidence.PREDICTED,
        Evidence.MEASURED,
        "CC BY 4.0",
        ("one", "two"),
        (SourceFile("f", "00", 3, "https://example.org"),),
        (Step("s", "k=1", 1, 2, 3, 4, ("note",)),),
    )
    replace(small(), provenance=known).save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").provenance == known


def test_the_empty_graph(tmp_path: Path) -> None:
    Graph((), (), Provenance("t")).save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").n_neurons == 0


def test_names_of_files_are_safe_and_apart(tmp_path: Path) -> None:
    names = (
        "L2/3.exc",
        "L2-3.exc",
        "l2-3.EXC",
        "..",
        ".",
        "a/b",
        "\u00e9",
        "e\u0301",
        "é" * 99,
        "/etc",
    )
    g = small(*names)
    g.save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").digest() == g.digest()
    written = [p.name.rsplit(".", 2)[0] for p in (tmp_path / "g" / "neurons").iterdir()]
    assert len({n.casefold() for n in written}) == len(names)
    assert {"L2-3.exc", "L2-3.exc-2", "l2-3.EXC-3"} <= set(written)
    assert [p.name for p in tmp_path.iterdir()] == ["g"]


@given(st.lists(st.text(), unique=True, max_size=6))
def test_file_names(names: list[str]) -> None:
    taken: set[str] = set()
    made = [file_name(name, taken) for name in names]
    assert len({m.casefold() for m in made}) == len(names)
    for m in made:
        assert m
        assert not m.startswith(".")
        assert not set(m) & set('/\\:*?"<>|\0')
        assert len(m.encode()) <= 210


def test_a_folder_on_the_way_may_look_like_a_partition(tmp_path: Path) -> None:
    g = small()
    g.save(tmp_path / "seed=1" / "g")
    assert Graph.load(tmp_path / "seed=1" / "g").digest() == g.digest()


# --- what was altered is found and named ----------------------------------------------------------


def edit_page(
    change: Callable[[dict[str, Any]], object], forged: bool = True
) -> Callable[[Path], object]:
    """Alter the page; ``forged``: and give it the hash that fits."""

    def work(folder: Path) -> None:
        page = json.loads((folder / "graph.json").read_text())
        change(page)
        if forged:
            page["sha256"] = statement_digest(page)
        (folder / "graph.json").write_text(json.dumps(page))

    return work


def table(folder: Path, name: str) -> Path:
    """Find a table by its name without the hash in it."""
    (found,) = folder.glob(f"{name}.*.parquet")
    return found


def edit_table(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    def work(folder: Path) -> None:
        path = table(folder, name)
        pq.write_table(change(pq.read_table(path)), path)

    return work


CONNECTIONS = "connections/a_to_a"
ALTERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no page": (lambda f: (f / "graph.json").unlink(), "is not a saved graph"),
    "page cut": (
        lambda f: (f / "graph.json").write_text('{"format": 1,\n "digest": '),
        "graph.json, line 2, column 12",
    ),
    "page of bytes": (lambda f: (f / "graph.json").write_bytes(b"\xff\xfe"), "graph.json: cannot"),
    "page of another kind": (lambda f: (f / "graph.json").write_text("[]"), "format None"),
    "other format": (
        edit_page(lambda p: p.update(format=99)),
        "format 99; this version reads format 6",
    ),
    "lacks a field": (edit_page(lambda p: p.pop("ports")), "graph.json: lacks 'ports'"),
    "field too many": (
        edit_page(lambda p: p["populations"][0]["node"].update(magic=1)),
        "graph.json: populations.0..node: has no field 'magic'",
    ),
    "delay is not a number": (
        edit_page(lambda p: p["projections"][0].update(delay="1")),
        "projections.0..delay: is '1', expected a whole number",
    ),
    "populations is not a list": (
        edit_page(lambda p: p.update(populations=3)),
        "populations: is 3, expected a list",
    ),
    "unknown law": (
        edit_page(lambda p: p["projections"][0].update(connectivity={"kind": "AllToAl"})),
        "did you mean 'AllToAll'",
    ),
    "unknown evidence": (
        edit_page(lambda p: p["provenance"].update(signs="guessed")),
        "provenance.signs: must be one of measured, predicted, modelled, unknown, none, not 'gues",
    ),
    "other name": (edit_page(lambda p: p["populations"][0].update(artificial=True)), "altered"),
    "other digest": (edit_page(lambda p: p.update(digest="0" * 64)), "a file was altered"),
    "outside": (
        edit_page(lambda p: p["populations"][0].update(neurons="../../secret.parquet")),
        "'../../secret.parquet': lies outside the folder",
    ),
    "absolute": (
        edit_page(lambda p: p["populations"][0].update(neurons="/etc/passwd")),
        "'/etc/passwd': lies outside the folder",
    ),
    "table missing": (
        lambda f: table(f, CONNECTIONS).unlink(),
        r"'connections/a_to_a\.\w+\.parquet': cannot be read: No such file",
    ),
    "table cut": (
        lambda f: table(f, CONNECTIONS).write_bytes(table(f, CONNECTIONS).read_bytes()[:-20]),
        r"g/connections/a_to_a\.\w+\.parquet: cannot be read",
    ),
    "table empty": (
        lambda f: table(f, CONNECTIONS).write_bytes(b""),
        r"a_to_a\.\w+\.parquet: cannot be read",
    ),
    "one weight": (
        edit_table(CONNECTIONS, lambda t: t.set_column(2, "weight", pa.array([3, 5], pa.int32()))),
        "the tables do not match the digest",
    ),
    "a null": (
        edit_table(
            CONNECTIONS, lambda t: t.set_column(2, "weight", pa.array([3, None], pa.int32()))
        ),
        "weight: a connection has a missing value",
    ),
    "a column more": (
        edit_table(CONNECTIONS, lambda t: t.append_column("extra", pa.array([1, 2]))),
        "has columns 'post, pre, weight, extra'",
    ),
    "a column less": (
        edit_table(CONNECTIONS, lambda t: t.drop_columns(["weight"])),
        r"a_to_a\.\w+\.parquet: lacks 'weight'",
    ),
    "too large": (
        edit_table(CONNECTIONS, lambda t: t.set_column(0, "post", pa.array([0, 2**32 + 1]))),
        "synapses.post, connection 1: 4294967297 does not fit int32",
    ),
    "a neuron less": (edit_table("neurons/a", lambda t: t.slice(1)), "altered"),
    "other id": (
        edit_table("neurons/a", lambda t: t.set_column(0, "neuron_id", pa.array([1, 3]))),
        "altered",
    ),
}


@pytest.mark.parametrize("how", ALTERED)
def test_altered_folders_are_refused(how: str, tmp_path: Path) -> None:
    alter, message = ALTERED[how]
    small().save(tmp_path / "g")
    alter(tmp_path / "g")
    with pytest.raises(CompileError, match=message):
        Graph.load(tmp_path / "g")


@given(st.data())
@settings(max_examples=40)
def test_no_byte_of_a_table_changes_unseen(data: st.DataObject) -> None:
    g = small()
    with new_folder() as folder:
        g.save(folder / "g")
        path = table(folder / "g", CONNECTIONS)
        raw = bytearray(path.read_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(raw)
        with suppress(CompileError):
            assert Graph.load(folder / "g").digest() == g.digest()  # a byte that says nothing


def test_a_consistent_page_still_has_to_keep_the_rules(tmp_path: Path) -> None:
    small().save(tmp_path / "g")
    broken = replace(small(), projections=(replace(small().projections[0], delay=-1),))
    edit_page(lambda p: p["projections"][0].update(delay=-1) or p.update(digest=broken.digest()))(
        tmp_path / "g"
    )
    with pytest.raises(VerifyError, match="delay -1 is negative"):
        Graph.load(tmp_path / "g")


# --- where it comes from is under a hash, too -----------------------------------------------------

MADE = Provenance(
    "cells",
    "7",
    "A title",
    Evidence.MODELLED,
    licence="CC0",
    citations=("Somebody 2020",),
    files=(SourceFile("f.csv", "00", 3),),
    steps=(Step("attach-ports", "", 1, 2, 3, 4, ("a note",)),),
)
ORIGIN: dict[str, Callable[[dict[str, Any]], object]] = {
    "evidence": lambda p: p["provenance"].update(connectivity="measured"),
    "title": lambda p: p["provenance"].update(title="Another"),
    "licence": lambda p: p["provenance"].update(licence=""),
    "citations": lambda p: p["provenance"]["citations"].clear(),
    "version": lambda p: p["provenance"].update(version="8"),
    "file": lambda p: p["provenance"]["files"][0].update(sha256="01"),
    "note": lambda p: p["provenance"]["steps"][0]["notes"].clear(),
    "number of connections": lambda p: p["projections"][0]["connectivity"].update(n_connections=9),
}


@pytest.mark.parametrize("what", ORIGIN)
def test_no_word_of_the_origin_changes_unseen(what: str, tmp_path: Path) -> None:
    replace(small(), provenance=MADE).save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").provenance == MADE
    edit_page(ORIGIN[what], forged=False)(tmp_path / "g")
    with pytest.raises(CompileError, match=r"graph.json: was altered"):
        Graph.load(tmp_path / "g")


def test_a_graph_of_an_older_version_says_what_it_was_made_from(tmp_path: Path) -> None:
    replace(small(), provenance=MADE).save(tmp_path / "g")
    edit_page(lambda p: p.update(format=4), forged=False)(tmp_path / "g")
    with pytest.raises(CompileError, match="format 4; this version reads format 6") as caught:
        Graph.load(tmp_path / "g")
    made_by = "ccompile build RECIPE --save-after all"
    assert caught.value.hint == f"it holds cells@7, after attach-ports; make it again: {made_by}"


@pytest.mark.parametrize("title", [["a"], 3, None, {"a": 1}, True, "\ud800", 10**4000])
def test_what_is_no_text_is_found_where_a_record_is_made(title: Any, tmp_path: Path) -> None:
    small().save(tmp_path / "g")
    edit_page(lambda p: p["provenance"].update(title=title))(tmp_path / "g")
    with pytest.raises(CompileError, match=r"provenance.title: ") as caught:
        Graph.load(tmp_path / "g")
    assert len(str(caught.value)) < 1000
    with pytest.raises(CompileError, match=r"Provenance.title: "):
        Provenance("t", title=title)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting(opening: str, tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(opening * 100_000)
    with pytest.raises(CompileError, match="is nested too deeply"):
        Graph.load(tmp_path)


@pytest.mark.parametrize("place", ["graph.json", "neurons/a"])
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link elsewhere", "circle"])
def test_only_files_of_the_folder_are_opened(place: str, kind: str, tmp_path: Path) -> None:
    small().save(tmp_path / "g")
    path = tmp_path / "g" / place
    path = path if path.exists() else table(tmp_path / "g", place)
    path.rename(tmp_path / "moved")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        ends = {"link to a device": Path("/dev/zero"), "link elsewhere": tmp_path / "moved"}
        path.symlink_to(ends.get(kind, path))
    with pytest.raises(
        CompileError, match=r"regular file|outside the folder|cannot be|not a saved"
    ):
        Graph.load(tmp_path / "g")


def test_a_table_of_broken_text(tmp_path: Path) -> None:
    small().save(tmp_path / "g")
    broken = pa.StringArray.from_buffers(
        2, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")
    )
    path = table(tmp_path / "g", "neurons/a")
    neurons = pq.read_table(path)
    at = neurons.column_names.index("role")
    pq.write_table(neurons.set_column(at, "role", broken), path)
    with pytest.raises(CompileError, match=r"a\.\w+\.parquet: cannot be read: .*UTF8"):
        Graph.load(tmp_path / "g")


ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 10**18, 10**30, 10**4000, 0.5, -0.5, 1e308, 5e-324),
    *(
        float("nan"),
        float("inf"),
        "",
        "a",
        "\0",
        "\ud800",
        "a->b",
        "../../x",
        "/dev/zero",
        "x" * 300,
    ),
    *([], [1], ["a"], [[]], [[[[1]]]], {}, {"a": 1}, {"kind": "Window"}, {"kind": "Synapses"}),
    *("Window", "GaussianLaw", "Conv2d", "measured", "relu", "named", "kernel", "electrical"),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (holder, key) in a page, at any depth."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@pytest.mark.slow
def test_nothing_in_a_page_is_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd values anywhere in graphs of all styles, hashes made to fit, and the graph looked at."""
    from columns import column, laminar
    from worms import driven, worm

    from connectome_compiler.pipeline import compile_graph
    from connectome_compiler.recipe import load_recipe
    from connectome_compiler.views import report

    areas = {"halve_at": [], "input_size": 8}
    grids = {"layers": ["a"], "grids": [[8, 8]]}
    made = [
        driven(worm()),
        driven(worm(junctions=False), weights={"share": "type-pair"}),
        laminar(column(), inhibition="units", flow="keep"),
        compile_graph(load_recipe("ncap-swimmer")),
        compile_graph(load_recipe("mouse-mimetic-mlp")),
        compile_graph(load_recipe("synthetic", grids)),
        load_recipe("mousenet", areas).source.make().load(),
    ]
    digest = Graph.digest
    monkeypatch.setattr(Graph, "digest", lambda graph: digest(graph) and "fits")
    rng, refused = random.Random(5), list[str]()
    for graph in made:
        graph.save(tmp_path / "g")
        page_of = (tmp_path / "g" / "graph.json").read_text()
        for _ in range(FUZZED):
            page = json.loads(page_of)
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                holder, key = rng.choice([*places(page)])
                if rng.random() < 0.1:
                    del holder[key]
                else:
                    holder[key] = rng.choice(ODD)
            page.update(format=FORMAT, digest="fits")
            page["sha256"] = statement_digest(page)
            (tmp_path / "g" / "graph.json").write_text(json.dumps(page))
            try:
                found = Graph.load(tmp_path / "g")
                report.of_target(str(tmp_path / "g"))
                found.neurons()
            except CompileError as error:
                refused.append(str(error))
    assert len(refused) > len(made) * FUZZED // 2
    assert max(map(len, refused)) < 5000


FUZZED = 150  # altered pages of each graph


# --- whole or not at all --------------------------------------------------------------------------


def test_saving_again_replaces_all(tmp_path: Path) -> None:
    small("a", "b").save(tmp_path / "g")
    small("c").save(tmp_path / "g")
    assert [p.name for p in Graph.load(tmp_path / "g").populations] == ["c"]
    assert sorted(re.sub(r"\.[0-9a-f]{12}\.", ".", name) for name in files(tmp_path)) == [
        "g/connections/c_to_c.parquet",
        "g/graph.json",
        "g/neurons/c.parquet",
    ]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError, OSError(28, "No space left")])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("call", range(1, 6))
def test_what_stops_midway_leaves_nothing_and_keeps_the_old(
    stop: Any, before: bool, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        small("old").save(tmp_path / "g")
    standing = files(tmp_path)
    calls = iter(range(1, 99))

    def sometimes(work: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(*args: Any, **options: Any) -> Any:
            if next(calls) == call:
                raise stop
            return work(*args, **options)

        return attempt

    monkeypatch.setattr(pq, "write_table", sometimes(pq.write_table))  # 1 and 2
    monkeypatch.setattr(os, "link", sometimes(os.link))  # of tables: 3 and 4
    monkeypatch.setattr(Path, "replace", sometimes(Path.replace))  # of the page: 5
    expected = CompileError if isinstance(stop, OSError) else stop
    with pytest.raises(expected, match="No space left" if expected is CompileError else None):
        small("new").save(tmp_path / "g")
    assert files(tmp_path) == standing
    assert [p.name for p in tmp_path.iterdir()] == (["g"] if before else [])


def old_format(graph: Graph, folder: Path) -> None:
    """Save as version 0.1.0 did: tables without a hash in their names."""
    graph.save(folder)
    page = (folder / "graph.json").read_text()
    for path in folder.rglob("*.parquet"):
        plain = f"{path.name.rsplit('.', 2)[0]}.parquet"
        page = page.replace(path.name, plain)
        path.rename(path.with_name(plain))
    (folder / "graph.json").write_text(page)


def test_a_graph_of_an_older_version_is_not_replaced(tmp_path: Path) -> None:
    small("old").save(tmp_path / "g")
    edit_page(lambda p: p.update(format=4))(tmp_path / "g")
    standing = files(tmp_path)
    with pytest.raises(CompileError, match="g: holds a graph of format 4") as caught:
        small("new").save(tmp_path / "g")
    assert caught.value.hint == "choose another folder, or remove it"
    assert files(tmp_path) == standing


def test_tables_that_are_not_ours_are_never_touched(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    small("a", "b").save(folder)
    mine = {
        "neurons/a.parquet": b"1",
        f"connections/a_to_a.{'0' * 12}.parquet": b"2",
        "connections/notes.txt": b"3",
    }
    for name, data in mine.items():
        (folder / name).write_bytes(data)
    small("c").save(folder)
    small("d").save(folder)
    assert files(folder).items() >= mine.items()
    assert len(files(folder)) == len(mine) + 3


@pytest.mark.parametrize(
    "standing",
    [
        "graph",
        pytest.param("nothing", marks=pytest.mark.slow),
        pytest.param("old format", marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_call_leaves_the_old_or_the_new_graph(
    standing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow, and of no use against kills
    old, new, third = small("a", "b"), small("a", "c"), small("d")
    digests = {old.digest(): "old", new.digest(): "new"}
    third.save(tmp_path / "third")
    pa.set_cpu_count(1)  # the children have no threads
    states: list[str] = []
    folder = tmp_path / "0"

    def start(k: int) -> None:
        nonlocal folder
        folder = tmp_path / str(k) / "g"
        if standing == "graph":
            old.save(folder)
        elif standing == "old format":
            old_format(old, folder)

    start(0)
    for n in deaths(lambda: new.save(folder)):
        if standing == "nothing" and not (folder / "graph.json").exists():
            states.append("nothing")
        else:
            states.append(digests[Graph.load(folder).digest()])
        third.save(folder)
        left = files(folder)
        if standing == "old format" and states[-1] == "new":  # no page names them any more
            left = {k: v for k, v in left.items() if re.search(r"\.[0-9a-f]{12}\.|json", k)}
        assert left == files(tmp_path / "third")
        assert not [p for p in folder.iterdir() if p.name.startswith(".")]
        start(n)
    assert Graph.load(folder).digest() == new.digest()
    swap = states.index("new") if "new" in states else len(states)
    assert set(states[:swap]) == {"nothing" if standing == "nothing" else "old"}
    assert set(states[swap:]) <= {"new"}
    assert len(states) > 20


SAVER = """
import sys
sys.path[:0] = sys.argv[3:]
from connectome_compiler.ir import Graph
graphs = [Graph.load(folder) for folder in sys.argv[2].split("|")]
for k in range(8):
    graphs[k % 2].save(sys.argv[1])
"""


def test_a_reader_sees_whole_graphs_while_others_save(tmp_path: Path) -> None:
    graphs = [small("a", "b"), small("a", "c")]
    folders = [str(g.save(tmp_path / f"{k}")) for k, g in enumerate(graphs)]
    digests = {g.digest() for g in graphs}
    graphs[0].save(tmp_path / "g")
    command = [sys.executable, "-c", SAVER, str(tmp_path / "g"), "|".join(folders)]
    home = str(Path(__file__).parents[2])
    savers = [subprocess.Popen([*command, home], stderr=subprocess.PIPE, text=True) for _ in "ab"]
    n_reads = 0
    while any(s.poll() is None for s in savers):
        assert Graph.load(tmp_path / "g").digest() in digests
        n_reads += 1
    for saver in savers:
        _, said = saver.communicate()
        assert saver.returncode == 0, said
    assert n_reads > 5


def test_a_full_disk(tmp_path: Path) -> None:
    # A limit on the size of files, in a process of its own, is a disk that fills up.
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import numpy as np
from pathlib import Path
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import *
table = neuron_table({{"neuron_id": np.arange(50000), "x_um": np.random.rand(50000)}})
graph = Graph((Population("a", (50000,), table),), (), Provenance("t"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    graph.save(sys.argv[1])
except CompileError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "g")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "cannot be written" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")  # root, who may run this, is never refused

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CompileError, match="g: cannot be written: Permission denied"):
        small().save(tmp_path / "g")


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CompileError, match=r"cannot be written: (Not a directory|File exists)"):
        small().save(tmp_path / "file" / "g")


@pytest.mark.parametrize("mine", ["notes.txt", "graph.json", "g/notes.txt", "neurons/x", ""])
def test_only_a_saved_graph_is_replaced(mine: str, tmp_path: Path) -> None:
    folder = tmp_path / "g"
    if mine.startswith("g/"):
        small().save(folder)
        mine = mine[2:]
    path = folder / mine
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"nodes": []}')
    standing = files(tmp_path)
    with pytest.raises(CompileError):
        small().save(folder)
    assert files(tmp_path) == standing


def test_an_empty_folder_and_a_link_are_welcome(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "g")
    small().save(tmp_path / "link")
    small("b").save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert Graph.load(tmp_path / "g").populations[0].name == "b"


def test_the_folder_is_as_readable_as_others(tmp_path: Path) -> None:
    small().save(tmp_path / "g")
    (tmp_path / "other").mkdir()
    assert (tmp_path / "g").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_invalid_graph_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(VerifyError):
        Graph((Population("", (1,)),), (), Provenance("t")).save(tmp_path / "g")
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_none(tmp_path: Path) -> None:
    # A name of a file that is not UTF-8 comes with such letters.
    with pytest.raises(CompileError, match=r"Provenance.dataset: is not valid text: '\\ud800'"):
        Provenance("\ud800")


def test_selected_units_and_ties_are_stored(tmp_path: Path) -> None:
    cells = Population(
        "cells",
        (4,),
        neuron_table({"neuron_id": [1, 2, 3, 4]}),
        Leaky(20.0, "tanh", "cell_type", "shared"),
    )
    drive = Population("drive", (2,), artificial=True)
    edges = Synapses([0, 3], [1, 0], [2, 1])  # type: ignore[arg-type]
    held = Tied("type-pair", "region", sign="abs", trained=False)
    g = Graph(
        (drive, cells),
        (
            Projection("drive", "cells", OneToOne((0, 3)), delay=0),
            Projection("cells", "cells", edges, held),
            Projection("cells", "drive", AllToAll((), (1, 2)), LowRank(3)),
        ),
        Provenance("t"),
    )
    g.save(tmp_path / "g")
    back = Graph.load(tmp_path / "g")
    assert back.digest() == g.digest()
    for one, other in zip(back.projections, g.projections, strict=True):
        assert one.weights == other.weights
    assert [back.projections[k].connectivity for k in (0, 2)] == [
        OneToOne((0, 3)),
        AllToAll((), (1, 2)),
    ]
    assert back.population("cells").node == cells.node
    # Which units a law selects is part of what a graph is.
    moved = replace(g.projections[0], connectivity=OneToOne((1, 3)))
    assert g.with_projections([moved, *g.projections[1:]]).digest() != g.digest()


def test_graded_inhibition_is_stored(tmp_path: Path) -> None:
    table = neuron_table({"neuron_id": [1, 2]}).append_column("inhibition", pa.array([0.5, None]))
    node = Swept(noise_std=0.1, inhibition=Attenuation("subtractive", 0.5))
    g = Graph((Population("cells", (2,), table, node),), (), Provenance("t"))
    g.save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").population("cells").node == node
    assert Graph.load(tmp_path / "g") == g


def test_motifs_are_stored(tmp_path: Path) -> None:
    wave = SquareWave(7)
    cells = [
        Population("wave", (2,), node=wave),
        Population("a", (3,), node=Graded(rest=0.5)),
        Population("b", (3,)),
    ]
    held = Named("gain", -1, "clamp")
    g = Graph(
        tuple(cells),
        (
            Projection("wave", "a", AllToAll((0,), (1,)), held, delay=0),
            Projection("a", "b", Shift(-2), held, delay=0),
        ),
        Provenance("t"),
    )
    g.save(tmp_path / "g")
    back = Graph.load(tmp_path / "g")
    assert back.digest() == g.digest()
    assert [p.node for p in back.populations] == [p.node for p in cells]
    assert [q.weights for q in back.projections] == [held] * 2
    assert back.projections[1].connectivity == Shift(-2)


def test_laws_are_stored_by_name(tmp_path: Path) -> None:
    image = Population("image", (1, 2, 2), node=Swept("linear"), artificial=True)
    g = Graph((image,), (Projection("image", "image", AllToAll()),), Provenance("t"))
    g.save(tmp_path / "g")
    assert Graph.load(tmp_path / "g").projections[0].connectivity == AllToAll()
