"""Matrices in files of arrays, each as its library writes it; nothing is unpickled."""

from __future__ import annotations

import gzip
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from raws import damaged
from scipy import sparse

from connectome_compiler.data_adapters import _arrays
from connectome_compiler.data_adapters._ask import UnsaidError
from connectome_compiler.data_adapters._raw import Raw
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of
from connectome_compiler.data_adapters.table import Table
from connectome_compiler.errors import CompileError, UnknownNameError

MATRIX = np.array([[0, 5, 0], [2, 0, 1], [0, 0, 4]])
EDGES = {(0, 1): 5, (1, 0): 2, (1, 2): 1, (2, 2): 4}
SAID = {"orientation": "pre-post", "kind": "chemical", "mirror": "no", "totals": "keep"}


def read(path: Path, **options: Any) -> Raw:
    reader = reader_of(path)
    assert reader is not None
    return reader.load(path, ReadOptions(**{**SAID, **options}))


def edges(raw: Raw) -> dict[tuple[Any, Any], float]:
    return {(e["pre"], e["post"]): e["weight"] for e in raw.edges.to_pylist()}


def mat73(path: Path, **variables: Any) -> None:
    """Write as MATLAB 7.3 does: HDF5 behind a block of its own, columns first."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            if hasattr(values, "todense"):
                made: Any = sparse.csc_matrix(np.asarray(values.todense()))
                group = file.create_group(name)
                group.attrs["MATLAB_sparse"] = made.shape[0]
                for key, part in (("data", made.data), ("ir", made.indices), ("jc", made.indptr)):
                    group[key] = part
            elif isinstance(values, list):
                refs = []
                for k, text in enumerate(values):
                    cell = file.create_dataset(f"#refs#/{name}{k}", data=[[ord(c)] for c in text])
                    refs.append(cell.ref)
                file.create_dataset(name, data=np.array([refs], h5py.ref_dtype))
                file[name].attrs["MATLAB_class"] = np.bytes_("cell")
            else:
                file[name] = np.asarray(values).T
    content = bytearray(path.read_bytes())
    content[:19] = b"MATLAB 7.3 MAT-file"
    path.write_bytes(content)


def cells(texts: list[str]) -> Any:
    made = np.empty((len(texts), 1), object)
    made[:, 0] = texts
    return made


WRITERS: dict[str, Any] = {
    "a.npy": lambda p, m: np.save(p, m),
    "f.npy": lambda p, m: np.save(p, np.asfortranarray(m.astype(np.float32))),
    "a.npz": lambda p, m: np.savez(p, m),
    "z.npz": lambda p, m: np.savez_compressed(p, A=m),
    "csr.npz": lambda p, m: sparse.save_npz(p, sparse.csr_matrix(m)),
    "coo.npz": lambda p, m: sparse.save_npz(p, sparse.coo_matrix(m)),
    "csc.npz": lambda p, m: sparse.save_npz(p, sparse.csc_array(m)),
    "a.mat": lambda p, m: scipy.io.savemat(p, {"A": m}),
    "z.mat": lambda p, m: scipy.io.savemat(p, {"A": m.astype(float)}, do_compression=True),
    "s.mat": lambda p, m: scipy.io.savemat(p, {"A": sparse.csc_matrix(m.astype(float))}),
    "a73.mat": lambda p, m: mat73(p, A=m),
    "s73.mat": lambda p, m: mat73(p, A=sparse.csc_matrix(m)),
    "a.mtx": lambda p, m: scipy.io.mmwrite(p, sparse.coo_matrix(m)),
    "d.mtx": lambda p, m: scipy.io.mmwrite(p, m),
}


@pytest.mark.parametrize("name", [*WRITERS, "a.h5", "csr.h5"])
def test_a_matrix_in_every_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.h5":
        with h5py.File(path, "w") as file:
            file["inner/A"] = MATRIX
    elif name == "csr.h5":
        with h5py.File(path, "w") as file:
            made, group = sparse.csr_matrix(MATRIX), file.create_group("A")
            group.attrs["shape"], group["data"] = made.shape, made.data
            group["indices"], group["indptr"] = made.indices, made.indptr
    else:
        WRITERS[name](path, MATRIX)
    raw = read(path)
    assert edges(raw) == EDGES
    assert (raw.facts.shape, raw.facts.numbered, raw.facts.n) == ("matrix", True, 3)
    assert edges(read(path, orientation="post-pre")) == {(b, a): w for (a, b), w in EDGES.items()}
    graph = Table(str(path), orientation="pre-post").load()
    assert (graph.n_neurons, graph.n_connections) == (3, 4)
    with pytest.raises(UnsaidError, match="in which direction"):
        Table(str(path)).load()


def test_gzipped_arrays(tmp_path: Path) -> None:
    for name in ("a.npy", "a.mtx"):
        WRITERS[name](tmp_path / name, MATRIX)
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        assert edges(read(path)) == EDGES


@pytest.mark.parametrize("name", ["two.npz", "two.mat", "two73.mat"])
def test_a_file_with_several_matrices_asks_which(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    both: dict[str, Any] = {"A": MATRIX, "B": 2 * MATRIX, "n": np.arange(4)}
    if name.endswith("npz"):
        np.savez(path, **both)
    elif "73" in name:
        mat73(path, **both)
    else:
        scipy.io.savemat(path, both)
    with pytest.raises(UnsaidError, match="2 variables that could be the matrix") as caught:
        read(path)
    assert [option for option, _ in caught.value.answers] == ["part=A", "part=B"]
    raw = read(path, part="B")
    assert edges(raw)[0, 1] == 10
    left = next(n for n in raw.notes if n.startswith("variables that are not read"))
    assert "A (3 x 3)" in left
    assert "n (" in left
    with pytest.raises(UnknownNameError, match="'C'"):
        read(path, part="C")


@pytest.mark.parametrize("name", ["l.npz", "l.mat", "l73.mat", "chars.mat"])
def test_a_text_per_neuron_gives_the_labels(tmp_path: Path, name: str) -> None:
    path, labels = tmp_path / name, ["AVAL", "PVCL", "DVA"]
    if name == "l.npz":
        np.savez(path, A=MATRIX, names=np.array(labels))
    elif name == "l73.mat":
        mat73(path, A=MATRIX, names=labels)
    else:
        texts = cells(labels) if name == "l.mat" else np.array(labels)
        scipy.io.savemat(path, {"A": MATRIX, "names": texts})
    raw = read(path)
    assert edges(raw)["AVAL", "PVCL"] == 5
    assert "labels from the variable names" in raw.notes


def test_labels_that_are_not_one_per_neuron_are_left(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", A=MATRIX, k=np.array(["K", "K", "P"]), two=np.array(["a", "b"]))
    raw = read(tmp_path / "a.npz")
    assert raw.facts.numbered
    assert "variables that are not read: k (3), two (2)" in raw.notes


def test_arrays_of_connections_are_lists(tmp_path: Path) -> None:
    fields = np.array([(1, 2, 5), (2, 3, 1)], [("pre", "i8"), ("post", "i8"), ("weight", "i4")])
    np.save(tmp_path / "f.npy", fields)
    graph = Table(str(tmp_path / "f.npy")).load()
    assert graph.projections[0].synapses.weight.tolist() == [5, 1]
    np.save(tmp_path / "n.npy", np.array([[1, 2, 5], [2, 3, 1], [3, 1, 4], [1, 3, 3]]))
    raw = read(tmp_path / "n.npy", orientation="")
    assert raw.edges.column_names == ["1", "2", "3"]
    graph = Table(str(tmp_path / "n.npy"), pre="1", post="2", weight="3").load()
    assert (graph.n_connections, graph.projections[0].synapses.weight.sum()) == (4, 13)


def test_what_numbers_say(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", MATRIX > 0)
    raw = read(tmp_path / "b.npy")
    assert set(edges(raw).values()) == {1}
    assert "true counts 1, false is no connection" in raw.notes
    np.save(tmp_path / "u.npy", np.array([[0, 2**63], [1, 0]], np.uint64))
    assert edges(read(tmp_path / "u.npy")) == {(0, 1): 2.0**63, (1, 0): 1}
    ends = np.array([0, 1, 1]), np.array([1, 0, 0])
    stored = sparse.coo_matrix((np.array([0, 3, 4]), ends), shape=(3, 3))
    sparse.save_npz(tmp_path / "z.npz", stored)
    raw = read(tmp_path / "z.npz")
    assert raw.edges.column("weight").to_pylist() == [3, 4]
    assert "1 stored zeros: no connection" in raw.notes
    scipy.io.mmwrite(tmp_path / "s.mtx", sparse.coo_matrix([[0, 2], [2, 0]]), symmetry="symmetric")
    raw = read(tmp_path / "s.mtx")
    assert edges(raw) == {(0, 1): 2, (1, 0): 2}
    assert raw.notes[0] == "stored as coordinate, integer, symmetric"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, np.nan], [1, 0]]), r"row 0, column 1 \(from 0\): nan is not a finite"),
        (np.array([[0, 1], [-np.inf, 0]]), r"row 1, column 0 \(from 0\): -inf is not a finite"),
        (np.zeros((2, 2, 2)), "an array of shape 2 x 2 x 2, not a matrix"),
        (np.zeros(3), "an array of shape 3, not a matrix"),
        (np.zeros((2, 9)), "has 2 rows and 9 columns"),
        (np.zeros((2, 2), complex), "an array of complex128, not of numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "not of numbers"),
    ],
)
def test_arrays_that_are_no_matrix(tmp_path: Path, values: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(CompileError, match=message):
        read(tmp_path / "a.npy")


def test_objects_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    objects = np.array([[Bomb(), 1], [2, 3]], object)
    np.save(tmp_path / "o.npy", objects)
    np.savez(tmp_path / "o.npz", A=objects)
    scipy.io.savemat(tmp_path / "o.mat", {"s": {"A": MATRIX}})
    for name in ("o.npy", "o.npz", "o.mat"):
        with pytest.raises(CompileError, match="object") as caught:
            read(tmp_path / name)
        assert "can run code" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_files_that_declare_more_than_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", MATRIX)
    content = (tmp_path / "a.npy").read_bytes()
    huge = content.replace(b"(3, 3), }   ", b"(3000000, 3000000), }"[:12].ljust(12))
    (tmp_path / "b.npy").write_bytes(huge)
    with pytest.raises(CompileError):
        read(tmp_path / "b.npy")
    (tmp_path / "a.mtx").write_text(
        "%%MatrixMarket matrix coordinate real general\n3 3 99999999999\n1 2 5\n"
    )
    with pytest.raises(CompileError, match="99,999,999,999 values"):
        read(tmp_path / "a.mtx")
    (tmp_path / "b.mtx").write_text(
        "%%MatrixMarket matrix coordinate real general\n999999999 999999999 1\n1 2 5\n"
    )
    with pytest.raises(CompileError, match="the limit is 134,217,728"):
        read(tmp_path / "b.mtx")
    np.savez_compressed(tmp_path / "a.npz", A=np.zeros((2000, 2000)))
    monkeypatch.setattr(_arrays, "MOST_UNPACKED", 1 << 20)
    with pytest.raises(CompileError, match="the limit is 1,048,576"):
        read(tmp_path / "a.npz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("A", (2**20, 2**20), "i8", chunks=(9, 9))
    with pytest.raises(CompileError, match="declares 1,099,511,627,776 values"):
        read(tmp_path / "a.h5")


def test_indices_that_point_outside(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        "format": b"csr",
        "shape": [2, 2],
        "data": [1.0, 2],
        "indptr": [0, 1, 2],
    }
    np.savez(tmp_path / "a.npz", indices=[0, 7], **parts)
    with pytest.raises(CompileError, match=r"is a broken sparse matrix|is a broken archive"):
        read(tmp_path / "a.npz")


def test_files_without_a_matrix(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.arange(4))
    with pytest.raises(CompileError, match=r"without a matrix of numbers: x \(3\), y \(4\)"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("name", WRITERS)
def test_files_that_were_cut_or_altered(tmp_path: Path, name: str) -> None:
    """Whatever is in them: a matrix, or an error of our own."""
    path, rng = tmp_path / name, random.Random(name)
    WRITERS[name](path, MATRIX)
    for content in damaged(path.read_bytes(), rng, 40):
        path.write_bytes(content)
        said = ""
        try:
            Table(str(path), orientation="pre-post", kind="chemical").load()
        except CompileError as error:
            said = str(error)
        assert len(said) < 2_000


def test_a_zip_with_a_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("A.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 60_000) + b"{" * 100)
    with pytest.raises(CompileError, match="is a broken archive of numpy"):
        read(path)
