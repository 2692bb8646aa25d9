"""Options that take data: a path, or what a program holds in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from connectome_compiler.errors import CompileError
from connectome_compiler.options import Raw, configure, option_types
from connectome_compiler.recipe import load_recipe
from connectome_compiler.sources import (
    Data,
    Names,
    Source,
    Sources,
    called,
    data,
    located,
    stem,
    take_sources,
    takes,
)
from connectome_compiler.views import catalogue

FRAME = pd.DataFrame({"pre": ["a"], "post": ["b"], "weight": [1]})


@dataclass(frozen=True)
class Stage:
    name: ClassVar[str] = "stage"

    one: Source
    many: Sources = ()
    names: Names = ""
    number: float = 0
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        take_sources(self)


def made(**options: Any) -> Any:
    return configure("stage", Stage, {"one": "x", **options})


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (FRAME, "pandas frame, 1 x 3"),
        (FRAME["pre"], "pandas series, 1"),
        (FRAME.index, "pandas rangeindex, 1"),
        (pl.from_pandas(FRAME), "polars frame, 1 x 3"),
        (pl.LazyFrame({"a": [1]}), "polars lazy frame"),
        (pa.Table.from_pandas(FRAME), "pyarrow table, 1 x 3"),
        (pa.RecordBatch.from_pandas(FRAME), "pyarrow table, 1 x 3"),
        (nx.MultiDiGraph([(1, 2), (1, 2)]), "networkx graph, 2 nodes, 2 edges"),
        (sparse.eye_array(2000).tocsr(), "scipy sparse matrix, 2,000 x 2,000"),
        (sparse.coo_matrix((2, 3)), "scipy sparse matrix, 2 x 3"),
        (np.zeros((2, 3)), "numpy array, 2 x 3"),
        (pa.Table.from_pandas(FRAME).to_reader(), "Arrow stream of pyarrow"),
    ],
)
def test_data_are_known_by_their_type_and_shown_in_a_few_words(value: Any, what: str) -> None:
    found = data(value)
    assert found is not None
    assert found.what == str(found) == what
    assert str(made(one=value).one) == f"one ({what})"
    assert repr(made(one=value)).startswith(f"Stage(one=<{what}>")


@pytest.mark.parametrize("value", [5, "a", None, [1], {"a": 1}, np.int64(3), np.float64(1)])
def test_other_values_are_no_data(value: Any) -> None:
    assert data(value) is None


def test_a_path_is_text_and_data_stay_the_same_object() -> None:
    assert made(one=Path("a/b.csv")).one == "a/b.csv"
    assert made(one=Raw("a,b.csv")).one == "a,b.csv"
    assert made(one=FRAME).one.value is FRAME
    assert Stage(FRAME).one.value is FRAME
    assert Stage(FRAME) == Stage(FRAME)
    assert Stage(FRAME) != Stage(FRAME.copy())
    assert len({Stage(FRAME), Stage(FRAME)}) == 1


def test_several_are_files_and_data_in_any_mixture() -> None:
    assert made(many="a.csv, b.csv").many == ("a.csv", "b.csv")
    assert made(many=Raw("a.csv,b.csv")).many == ("a.csv", "b.csv")
    assert made(many=Raw('["a,1.csv", "b.csv"]')).many == ("a,1.csv", "b.csv")
    assert made(many=Path("a,b.csv")).many == ("a,b.csv",)
    assert made(many="").many == made(many=[]).many == made().many == ()
    both = made(many=[Path("a.csv"), FRAME]).many
    assert both[0] == "a.csv"
    assert str(both[1]) == "many[1] (pandas frame, 1 x 3)"
    assert str(made(many=FRAME).many[0]) == "many (pandas frame, 1 x 3)"


def test_names_are_a_file_or_a_list() -> None:
    assert made(names="labels.csv").names == "labels.csv"
    assert made(names=["a", "b"]).names.value == ["a", "b"]
    assert str(made(names=("a", "b")).names) == "names (list, 2)"
    assert made(names=np.array(["a"])).names.kind == "numpy array"


@pytest.mark.parametrize(
    ("options", "where", "words"),
    [
        ({"one": 5}, "stage.one", "is 5: neither a file nor data"),
        ({"one": None}, "stage.one", "is None"),
        ({"one": {"a": [1] * 100}}, "stage.one", "is a dict"),
        ({"one": [("a", "b", 1)]}, "stage.one", "is a list of 1"),
        ({"one": b"a.csv"}, "stage.one", "is b'a.csv'"),
        ({"many": ["a", 5]}, "stage.many[1]", "is 5"),
        ({"number": FRAME}, "stage.number", "is a pandas frame, 1 x 3: it takes no data"),
        ({"words": FRAME}, "stage.words", "is a pandas frame"),
        ({"one": "a" * 70_000}, "stage.one", "characters"),
    ],
)
def test_what_is_neither_is_refused_in_a_line(
    options: dict[str, Any], where: str, words: str
) -> None:
    with pytest.raises(CompileError) as caught:
        made(**options)
    assert caught.value.where == where
    assert words in caught.value.problem
    assert len(caught.value.problem) < 100


def test_the_type_of_an_option_says_that_it_takes_data() -> None:
    types = option_types(Stage)
    assert [takes(hint) is not None for hint in types.values()] == [True] * 3 + [False] * 2
    page = catalogue.one("table")
    assert "(file, or data in memory)" in page
    assert "(files, or data in memory)" in page
    assert "(file, or list of names)" in page
    for name in ("microns-v1", "mesoscale"):
        assert "(file, or data in memory)" in catalogue.one(name)


def test_a_recipe_that_holds_data_prints_in_a_line() -> None:
    large = pd.DataFrame(np.zeros((1000, 30)))
    recipe = load_recipe("table", edges=large)
    assert "<pandas frame, 1,000 x 30>" in repr(recipe)
    assert "0.0" not in repr(recipe.source)
    assert recipe.make().source.edges.value is large


def test_data_stand_where_a_path_stands() -> None:
    place = located(made(one=FRAME).one)
    assert isinstance(place, Data)
    assert (place.name, stem(place), called(place)) == ("from memory", "memory", "one from memory")
    path = located("a/b.csv.gz")
    assert (path, stem(path), called(path)) == (Path("a/b.csv.gz"), "b", "b.csv.gz")
