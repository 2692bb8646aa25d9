from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from strategies import masks, synapses

from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Synapses


def one(**changed: Any) -> Synapses:
    return Synapses(**{"post": [0, 1], "pre": [1, 0], "weight": [3, 4], **changed})


@given(synapses(5, 7), st.randoms(use_true_random=False))
def test_from_edges_sorts_any_order(edges: Synapses, random: Any) -> None:
    order = np.array(random.sample(range(len(edges.post)), len(edges.post)), np.intp)
    shuffled = Synapses.from_edges(
        edges.post[order],
        edges.pre[order],
        edges.weight[order],
        unit=edges.unit,
        size=None if edges.size is None else edges.size[order],
        sign=None if edges.sign is None else edges.sign[order],
    )
    for name in ("post", "pre", "weight", "size", "sign"):
        assert_array_equal(getattr(shuffled, name), getattr(edges, name))


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.uint16, ">i4"])
def test_any_integer_type_is_sorted_exactly(dtype: Any) -> None:
    top = 2**31 - 1 if np.dtype(dtype).itemsize > 2 else 2**16 - 1
    post, pre = np.array([top, top, 0], dtype), np.array([top, top - 1, 5], dtype)
    made = Synapses.from_edges(post, pre, np.array([1, 2, 3]))
    assert_array_equal(made.weight, [3, 2, 1])
    assert_array_equal(made.pre, [5, top - 1, top])


@given(st.data())
def test_keep_is_a_filter_of_rows(data: st.DataObject) -> None:
    edges = data.draw(synapses(4, 4))
    mask = data.draw(masks(len(edges.post)))
    rows = list(zip(edges.post, edges.pre, edges.weight, strict=True))
    kept = edges.keep(mask)
    expected = [row for row, keep in zip(rows, mask, strict=True) if keep]
    assert list(zip(kept.post, kept.pre, kept.weight, strict=True)) == expected


def test_keep_takes_a_mask_not_row_numbers() -> None:
    with pytest.raises(CompileError, match="expected bool"):
        one().keep(np.array([0, 1]))
    with pytest.raises(CompileError, match=r"expected bool \(2,\)"):
        one().keep(np.array([True]))


@pytest.mark.parametrize("field", ["post", "pre", "weight", "size", "sign"])
@pytest.mark.parametrize("way", ["array", "view", "hidden base", "slice"])
def test_no_array_of_the_caller_reaches_inside(field: str, way: str) -> None:
    dtypes = {"size": np.float64, "sign": np.int8}
    mine = np.ones(4, dtypes.get(field, np.int32))
    given = {
        "array": mine[:],
        "view": mine.view(np.ndarray)[:2],
        "hidden base": mine[1:3],
        "slice": mine[::2],
    }[way]
    if way == "hidden base":
        given.setflags(write=False)  # a read-only view of what is still writeable
    shape = given.shape
    edges = one(
        **{**{n: np.ones(shape, np.int32) for n in ("post", "pre", "weight")}, field: given}
    )
    mine[:] = 0
    held = getattr(edges, field)
    assert (held == 1).all()
    assert not held.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 5


def test_frozen_arrays_are_not_copied() -> None:
    edges = one()
    assert one(post=edges.post).post is edges.post


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"post": [0, 2**31]}, "synapses.post, connection 1: 2147483648 does not fit int32"),
        ({"pre": [-(2**40), 0]}, "synapses.pre, connection 0"),
        ({"weight": np.array([1, 2**32 + 1])}, "synapses.weight, connection 1"),
        ({"sign": [1, 257]}, "synapses.sign, connection 1: 257"),
        ({"post": [0.0, 1.5]}, "synapses.post: holds float64, expected int32"),
        ({"pre": ["a", "b"]}, "synapses.pre: holds"),
        ({"weight": ["1", "2"]}, "synapses.weight: holds"),
        ({"size": [1j, 0]}, "synapses.size: holds complex128"),
    ],
)
def test_what_does_not_fit_is_refused_not_wrapped(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        one(**changed)


def test_lengths_must_agree() -> None:
    with pytest.raises(CompileError, match=r"synapses.weight: shape \(3,\)"):
        Synapses.from_edges([0, 1], [1, 0], [1, 2, 3])


def test_empty() -> None:
    edges = Synapses.from_edges([], [], [])
    assert edges.count(0, 0) == 0
    assert edges.post.dtype == np.int32
    assert edges.describe() == "0 connections, 0 synapses"
