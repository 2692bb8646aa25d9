"""Where names and numbers of a matrix stand, from its first rows."""

from __future__ import annotations

import pytest

from connectome_compiler.data_adapters._matrix_layout import (
    LABELLED,
    PLAIN,
    SHORT,
    Layout,
    is_number,
    is_weight,
    layout_of,
)


def rows(text: str) -> list[list[str]]:
    return [line.split(",") for line in text.split(";")]


@pytest.mark.parametrize(
    ("text", "whole", "layout"),
    [
        (",a,b;a,0,1;b,1,0", True, LABELLED),
        (",a,b;a,0,;b, ,0", True, LABELLED),  # blanks are zeros
        (",a,b;a,NA,1;b,1,NA", True, LABELLED),  # and NA of R
        (",a,b;c,0,1;b,1,0", True, LABELLED),  # one row is called like a column
        (",a,b;c,0,1;d,1,0", True, None),
        (",a,b;a,x,y;b,y,x", True, None),
        ("a,b;a,0,1;b,1,0", True, SHORT),  # as R writes it
        ("V1,V2;1,0,1;2,1,0", True, SHORT),
        (",V1,V2;1,0,1;2,1,0", True, LABELLED),
        ("a,b;c,0,1;d,1,0", True, None),
        ("pre,post;pre,1", True, None),
        ("0,1;1,0", True, PLAIN),
        ("0,1;1,0", False, None),  # a table that lost its header?
        ("1,2;2,1;1,1", True, None),
        ("0,1,2;0,1,2;0,1,2", True, PLAIN),
        ("0,1,2;0,1,2;0,1,2", False, None),
        ("0,1,2,3;0,1,2,3", False, PLAIN),
        ("0,1,2,3;0,1,2,3", True, PLAIN),
        ("0,1,2,x;0,1,2,3", True, None),
        (",3,5;3,,2;5,2,", True, LABELLED),  # numbers that could be names
        (",3,5;4,,2;6,7,", True, PLAIN),  # and some that cannot
        ("0;1", True, None),
        ("0,1,2,3", True, None),
    ],
)
def test_a_matrix_is_square_or_has_names(text: str, whole: bool, layout: Layout | None) -> None:
    assert layout_of(rows(text), whole) == layout


@pytest.mark.parametrize(
    ("text", "header", "layout"),
    [
        (",3,5;3,,2;5,2,", "none", PLAIN),
        (",3,5;4,,2;6,7,", "first", LABELLED),
        ("x,3,5;4,,2;6,7,", "first", LABELLED),
        ("x,3,5;4,,2;6,7,", "none", None),
    ],
)
def test_the_user_says_whether_there_are_names(
    text: str, header: str, layout: Layout | None
) -> None:
    assert layout_of(rows(text), True, header=header) == layout


def test_names_of_rows_and_columns_may_differ_if_it_is_said_to_be_a_matrix() -> None:
    assert layout_of(rows(",o1,o2;i1,0,1;i2,1,0"), True, said=True) == LABELLED
    assert layout_of(rows(",o1,o2;i1,0,1;,1,0"), True, said=True) is None


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        (",a,b;a,0,1;b,1,0", LABELLED),
        # Cook et al. 2019, with names again at the right border
        (",,,H,;,,,,;,,,a,b;H,,a,0,1,a;,,b,1,0,b", Layout(2, 2, 3, 3)),
        # Yim et al. 2024: numbers between the names and the matrix
        (",,a,b,c;,,1,2,3;a,1,0,5,6;b,2,8,0,9;c,3,1,2,0", Layout(0, 0, 2, 2)),
        ("a title,;,;,a,b;a,0,1;b,1,0", Layout(2, 0, 3, 1)),
        ("cell_1,cell_2,weight;a,b,5;b,c,2", None),
    ],
)
def test_names_of_a_sheet_may_begin_further_in(text: str, layout: Layout | None) -> None:
    assert layout_of(rows(text), True, deep=True) == layout
    assert (layout is not None and layout.is_cook) == text.startswith(",,,H")


def test_numbers_are_written_as_matrices_have_them() -> None:
    assert all(map(is_weight, ["1", "-1.5", " 2 ", "1e-3", "nan", "", " ", "NA"]))
    assert not any(map(is_number, ["", " ", "1_000", "\u0661", "0x1", "1,5", "x", "NA"]))
