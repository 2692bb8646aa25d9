from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from raws import BY_CHANCE, PRE_POST, edges, ids, read

from connectome_compiler.data_adapters import _text_matrix
from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError

POST_PRE = ReadOptions(orientation="post-pre", **BY_CHANCE)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def lines(matrix: npt.NDArray[Any], mark: str, labels: list[str] | None) -> str:
    rows = [[f"{x:g}" for x in row] for row in matrix]
    if labels is not None:
        rows = [["", *labels], *([name, *row] for name, row in zip(labels, rows, strict=True))]
    return "".join(mark.join(row) + "\n" for row in rows)


# --- text -----------------------------------------------------------------------------------------

LABELLED = ",A,B,C\nA,0,2,0\nB,1,0,0.5\nC,,0,-3\n"


def test_a_labelled_matrix(tmp_path: Path) -> None:
    raw = read(write(tmp_path / "m.csv", LABELLED))
    assert ids(raw) == ["A", "B", "C"]
    assert edges(raw) == {("A", "B"): 2, ("B", "A"): 1, ("B", "C"): 0.5, ("C", "C"): -3}
    assert "1 blank cells: no connection" in raw.notes
    assert "a matrix of 3 rows and 3 columns, pre-post" in raw.notes


@pytest.mark.parametrize(
    ("labels", "ids_are"),
    [
        (["7", "8"], [7, 8]),
        (["7", str(2**63 - 1)], [7, 2**63 - 1]),
        (["7", str(2**63)], ["7", str(2**63)]),  # beyond 64 bits
        (["7", "x"], ["7", "x"]),
        (["1.5", "x"], ["1.5", "x"]),
    ],
)
def test_labels_are_numbers_where_all_are(
    tmp_path: Path, labels: list[str], ids_are: list[Any]
) -> None:
    raw = read(write(tmp_path / "m.csv", lines(np.eye(2), ",", labels)))
    assert ids(raw) == ids_are


def test_labels_that_a_float_rounded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"'8.6e17'"):
        read(write(tmp_path / "m.csv", lines(np.eye(2), ",", ["7", "8.6e17"])))


def test_the_other_orientation(tmp_path: Path) -> None:
    raw = read(write(tmp_path / "m.csv", LABELLED), POST_PRE)
    assert edges(raw) == {("B", "A"): 2, ("A", "B"): 1, ("C", "B"): 0.5, ("C", "C"): -3}


def test_whoever_does_not_say_the_orientation_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UnsaidError, match="in which direction connections run") as caught:
        read(write(tmp_path / "m.csv", LABELLED), ReadOptions())
    assert caught.value.answers == (
        ("orientation=pre-post", "row i, column j is the connection from i to j"),
        ("orientation=post-pre", "row i, column j is the connection from j to i"),
    )
    assert [line.split() for line in caught.value.shown[:2]] == [
        ["A", "B", "C"],
        ["A", "0", "2", "0"],
    ]


@st.composite
def matrices(draw: st.DrawFn) -> tuple[npt.NDArray[np.float64], list[str] | None]:
    n = draw(st.integers(4, 7))
    some = st.sampled_from([0, 0, 0, 1, 2, 300, 0.25, -1.5])
    matrix = draw(arrays(np.float64, (n, n), elements=some))
    kinds = [
        [f"n{k}" for k in range(n)],
        [str(2**62 + k) for k in range(n)],
        [f'{k}, "x" é' for k in range(n)],
        None,
    ]
    return matrix, draw(st.sampled_from(kinds))


@given(matrices(), st.sampled_from(",\t;"), st.booleans(), st.booleans())
def test_equals_the_matrix_that_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[npt.NDArray[np.float64], list[str] | None],
    mark: str,
    zipped: bool,
    transposed: bool,
) -> None:
    matrix, labels = made
    quoted = None if labels is None else [f'"{x.replace(chr(34), chr(34) * 2)}"' for x in labels]
    text = lines(matrix, mark, quoted).encode()
    path = tmp_path_factory.mktemp("made") / "m.txt"
    path.write_bytes(gzip.compress(text) if zipped else text)

    raw = read(path, POST_PRE if transposed else PRE_POST)

    known: list[Any] = list(range(len(matrix)))
    if labels is not None:
        known = [int(x) for x in labels] if labels[0].isdigit() else labels
    assert ids(raw) == known
    pre_post = matrix.T if transposed else matrix
    assert edges(raw) == {
        (known[i], known[j]): pre_post[i, j] for i, j in zip(*np.nonzero(pre_post), strict=True)
    }
    whole = not (matrix % 1).any()
    assert str(raw.edges.schema.field("weight").type) == ("int64" if whole else "double")


def test_columns_in_another_order_are_told_by_name(tmp_path: Path) -> None:
    raw = read(write(tmp_path / "m.csv", "x,B,A\nA,1,2\nB,0,4\n"))
    assert edges(raw) == {("A", "B"): 1, ("A", "A"): 2, ("B", "A"): 4}


def test_a_matrix_in_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_text_matrix, "BLOCK_BYTES", 1000)
    matrix = np.random.default_rng(0).poisson(0.02, (500, 500))
    labels = [f"n{k}" for k in range(500)]
    blocks: list[int] = []
    collect = _text_matrix._collect

    def counting(path: Path, found: Any, dense: Any, *rest: Any) -> None:
        blocks.append(len(dense))
        collect(path, found, dense, *rest)

    monkeypatch.setattr(_text_matrix, "_collect", counting)
    raw = read(write(tmp_path / "m.csv", lines(matrix, ",", labels)))
    assert len(blocks) > 3
    assert sum(blocks) == 500
    assert edges(raw) == {
        (f"n{i}", f"n{j}"): matrix[i, j] for i, j in zip(*np.nonzero(matrix), strict=True)
    }


def test_a_header_longer_than_what_is_looked_at_first(tmp_path: Path) -> None:
    n = 5000
    labels = [str(7 * 10**17 + k) for k in range(n)]
    rows = [",".join(["", *labels])]
    rows += [",".join([label, *("1" if j == k else "0" for j in range(n))])
             for k, label in enumerate(labels[:3])]  # fmt: skip
    path = write(tmp_path / "m.csv", "\n".join(rows) + "\n")
    reader = reader_of(path)
    assert reader is not None
    assert reader.what == "an adjacency matrix"
    raw = read(path)
    assert len(ids(raw)) == n
    assert sum(edges(raw).values()) == 3
    said = "0 neurons have a row but no column, 4,997 a column but no row: 700000000000000003, "
    assert any(note.startswith(said) for note in raw.notes)


def test_what_numpy_writes(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "m.txt", np.array([[0, 1.5], [2, 0]]))
    raw = read(tmp_path / "m.txt")
    assert edges(raw) == {(0, 1): 1.5, (1, 0): 2}
    assert "no labels: neurons are numbered from 0" in raw.notes


def test_a_matrix_without_names_must_be_square(tmp_path: Path) -> None:
    """Muscles have a column and no row: only without names is it certain that rows are missing."""
    with pytest.raises(CompileError, match="has 3 rows and 4 columns") as caught:
        read(write(tmp_path / "m.csv", "0,0,0,1\n" * 3))
    assert "is the file complete" in caught.value.hint
    for text in (",0,1,2\n0,1,2,3\n1,2,3,4\n", ",0,1\n0,1,2\n1,2,3\n2,3,4\n"):
        with pytest.raises(CompileError, match="has no"):  # pandas numbers what has no name
            read(write(tmp_path / "n.csv", text))


def test_numbers_with_zeros_in_front_are_names(tmp_path: Path) -> None:
    raw = read(write(tmp_path / "m.csv", ",007,008\n007,0,1\n008,0,0\n"))
    assert edges(raw) == {("007", "008"): 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",A,B\nA,1,2\nC,3,4\n", r"row 'C' has no column \(2 rows, 2 columns; 2 differ\)"),
        (",A,A\nA,1,2\nB,3,4\n", "column label 'A' occurs twice"),
        (",A,B\nA,1,2\nA,3,4\n", "row label 'A' occurs twice"),
        (",A,\nA,1,2\nB,3,4\n", "column 2 of the matrix: has no label"),
        (",A,B\nA,1,2\n,3,4\n", "row 2 of the matrix: has no label"),
        (",A,B\nA,1,2\nB,3\n", r"line 3: has 2 values, expected 3"),
        (",A,B\nA,1,2\nB,3,4,5\n", r"line 3: has 4 values, expected 3"),
        (",A,B\nA,1,2\nB,x,4\n", r"line 3, column A: 'x' is not a number"),
        (",A,B\nA,1,2\nB,3,inf\n", r"line 3, column B: inf is not a finite weight"),
        (",A,B\nA,1,2\nB,nan,\n", r"line 3, column A: nan is not a finite weight"),
        ("1,2,3,4\n" * 3, "has 3 rows and 4 columns"),
        ("1,2,3,4\n" * 3 + "1,2,3,x\n", "line 4, column 4: 'x' is not a number"),
        (",7.2e17,8.1e17\n7.2e17,1,1\n8.1e17,1,1\n", r"'7.2e17' is an id that was converted"),
    ],
)
def test_a_bad_matrix_names_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CompileError, match=message) as caught:
        read(write(tmp_path / "m.csv", text))
    assert caught.value.where.startswith(str(tmp_path / "m.csv"))


def test_a_truncated_gzip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    text = lines(rng.integers(0, 9, (300, 300)), ",", [f"n{k}" for k in range(300)])
    path = tmp_path / "m.csv.gz"
    path.write_bytes(gzip.compress(text.encode())[:-20_000])
    with pytest.raises(CompileError, match="is a broken gzip file") as caught:
        read(path)
    assert "again" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "pre,post,n_syn\n1,2,3\n4,5,6\n",
        ",pre,post,weight\n0,1,2,3\n1,4,5,6\n",  # with the index of pandas
        "1,2,3\n4,5,6\n",  # connections without a header
        "id,x_um,y_um\n1,2,3\n",
        "A,B\n",
        "",
        "A\nB\n",
        "\n\n",
        "pre\tpost\nA\tB\n",
    ],
)
def test_tables_are_no_matrices(tmp_path: Path, text: str) -> None:
    assert reader_of(write(tmp_path / "t.csv", text)) is None


def test_through_the_adapter_table(tmp_path: Path) -> None:
    path = str(write(tmp_path / "m.csv", "n,10,9,11\n10,0,2,0\n9,1,0,3\n11,0,0,0\n"))
    graph = Table(path, orientation="post-pre").load()
    e = graph.projections[0].synapses
    assert graph.populations[0].column("neuron_id").to_pylist() == [9, 10, 11]
    made = list(zip(e.post.tolist(), e.pre.tolist(), e.weight.tolist(), strict=True))
    assert made == [(0, 1, 1), (0, 2, 3), (1, 0, 2)]
    with pytest.raises(CompileError, match="-2"):
        Table(
            str(write(tmp_path / "n.csv", ",A,B\nA,0,-2\nB,1,0\n")), orientation="pre-post"
        ).load()


def test_a_weight_that_is_no_count_is_named_by_its_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "n,a,b\na,0,-2\nb,1,0\n")
    with pytest.raises(CompileError, match="-2 is not a synapse count") as caught:
        Table(str(path), orientation="pre-post", signs="none").load()
    assert caught.value.where == f"{path}, from a to b"


def test_a_matrix_of_zeros_has_no_connection(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "n,a,b\na,0,0\nb,0,0\n")
    with pytest.raises(CompileError, match="has no connections"):
        Table(str(path), orientation="pre-post").load()


def test_names_of_columns_alone_are_those_of_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "a,b,c\n0,1,0\n1,0,0\n4,2,0\n")
    graph = Table(str(path), orientation="pre-post").load()
    assert graph.populations[0].column("neuron_id").to_pylist() == ["a", "b", "c"]
    assert graph.projections[0].synapses.weight.sum() == 8
    told = [note for step in graph.provenance.steps for note in step.notes]
    assert "rows have no names: they are taken in the order of the columns" in told
    four = write(tmp_path / "n.csv", "A1,A2,A3,A4\n0,1,0,0\n2,0,0,3\n0,0,0,1\n1,0,0,0\n")
    with pytest.raises(UnsaidError, match="in which direction"):
        Table(str(four)).load()
    rows = "0,1,0\n0,0,5\n" * 9000  # more than is looked at
    long = write(tmp_path / "o.csv", "a,b,c\n" + rows)
    with pytest.raises(CompileError, match="18,000 rows without names and 3 names of columns"):
        Table(str(long), orientation="pre-post").load()


def test_sums_under_any_name_are_totals(tmp_path: Path) -> None:
    text = ",a,b,c,outdegree\na,0,5,2,7\nb,1,0,3,4\nc,0,2,0,2\n"
    path = str(write(tmp_path / "m.csv", text))
    with pytest.raises(UnsaidError, match="last column looks like totals"):
        Table(path, orientation="pre-post").load()
    assert Table(path, orientation="pre-post", totals="drop").load().n_neurons == 3
    turned = str(write(tmp_path / "t.csv", ",a,b\na,0,5\nb,1,0\nc,2,3\nin,3,8\n"))
    assert Table(turned, orientation="pre-post").load().n_neurons == 4  # two rows lack a column
    below = str(write(tmp_path / "b.csv", ",a,b,c\na,0,5,1\nb,1,0,4\nc,2,3,0\nin,3,8,5\n"))
    with pytest.raises(UnsaidError, match="last row looks like totals"):
        Table(below, orientation="pre-post").load()
