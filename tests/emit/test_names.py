"""Names are valid, unique and what one would choose by hand."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.emit.names import class_name, identifiers, marks, network_name, recipe_name


@given(st.lists(st.text(), unique=True))
def test_identifiers_are_valid_and_unique(names: list[str]) -> None:
    found = identifiers(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert all(n.isidentifier() and not keyword.iskeyword(n) for n in found.values())


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("L2/3.exc", "l2_3_exc"), ("L4.inh", "l4_inh"), ("class", "p_class"), ("5P-IT", "p_5p_it")],
)
def test_identifiers_read_well(name: str, identifier: str) -> None:
    assert identifiers([name]) == {name: identifier}


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("microns-v1", "MicronsV1"),
        ("microns-v1-surrogate", "MicronsV1Surrogate"),
        ("3 layers", "Network3Layers"),
        ("-", "Network"),
    ],
)
def test_classes_are_named_after_recipes(recipe: str, name: str) -> None:
    assert class_name(recipe) == name


@pytest.mark.parametrize(
    ("dataset", "found"),
    [
        ("worm", []),
        ("worm-null", ["null"]),
        ("worm-surrogate-null", ["surrogate", "null"]),
        ("worm-null-degrees", ["null-degrees"]),
        ("worm-surrogate-null-degrees-weights", ["surrogate", "null-degrees-weights"]),
        ("worm-degrees", []),
        ("worm-null-island", []),
        ("null-degrees", []),
        ("null", []),
        ("null-mutant", []),
        ("wormnull", []),
    ],
)
def test_marks_end_the_name_of_a_data_set(dataset: str, found: list[str]) -> None:
    assert marks(dataset) == found


@pytest.mark.parametrize(
    ("recipe", "dataset", "shown"),
    [
        ("worm", "worm", "worm"),
        ("worm", "worm-null", "worm-null"),
        ("worm-null", "worm-null", "worm-null"),
        ("worm-nullcline", "worm-null", "worm-nullcline-null"),
        ("worm", "worm-null-blocks", "worm-null-blocks"),
        ("worm-null-blocks", "worm-null-blocks", "worm-null-blocks"),
        ("worm-null", "worm-null-blocks", "worm-null-blocks"),
        ("worm-blocks", "worm-null-blocks", "worm-blocks-null-blocks"),
        ("worm-nullcline", "worm-null-blocks", "worm-nullcline-null-blocks"),
        ("worm-surrogate", "worm-surrogate-null", "worm-surrogate-null"),
        ("worm", "worm-surrogate-null", "worm-surrogate-null"),
    ],
)
def test_recipes_show_what_their_data_are(recipe: str, dataset: str, shown: str) -> None:
    assert recipe_name(recipe, dataset) == shown


@pytest.mark.parametrize(
    ("chosen", "recipe", "dataset", "name"),
    [
        ("", "celegans-cook2019", "celegans-cook2019", "CelegansCook2019"),
        ("", "celegans-cook2019-null", "celegans-cook2019-null", "CelegansCook2019Null"),
        ("Mine", "worm-null", "worm-null", "MineNull"),
        ("NullOfMine", "worm-null", "worm-null", "NullOfMine"),
        ("Nullcline", "worm-null", "worm-null", "NullclineNull"),
        ("", "worm-null-weights", "worm-null-weights", "WormNullWeights"),
        ("Mine", "worm", "worm-surrogate-null-density", "MineSurrogateNullDensity"),
        ("MyNull", "worm", "worm-null-density", "MyNullDensity"),
        ("my_null_density", "worm", "worm-null-density", "my_null_density"),
        ("NullOfMine", "worm", "worm-null-density", "NullOfMineNullDensity"),
        ("my_surrogate", "worm", "worm-surrogate", "my_surrogate"),
        ("Mine", "worm", "worm-surrogate-null", "MineSurrogateNull"),
    ],
)
def test_classes_say_what_their_data_are(chosen: str, recipe: str, dataset: str, name: str) -> None:
    assert network_name(chosen, recipe, dataset) == name
