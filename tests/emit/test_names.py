"""Names are valid, unique and what one would choose by hand."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.emit.names import class_name, identifiers


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
