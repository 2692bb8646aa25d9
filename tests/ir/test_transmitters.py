"""Words for transmitters, and the signs that species give them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.ir.transmitters import SPECIES, canonical, signs_of

FAST = {
    "worm": {"acetylcholine": 1, "glutamate": 1, "gaba": -1},
    "fly": {"acetylcholine": 1, "gaba": -1, "glutamate": -1, "histamine": -1},
    "mouse": {"glutamate": 1, "gaba": -1, "glycine": -1},
}
FAST["mammal"] = FAST["mouse"]


@pytest.mark.parametrize("species", sorted(SPECIES))
def test_only_these_transmitters_are_fast(species: str) -> None:
    assert {word: sign for word, sign in SPECIES[species].items() if sign} == FAST[species]


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        *((word, "acetylcholine") for word in ("ACH", "ach", "acetylcholine", " Acetylcholine ")),
        *((word, "glutamate") for word in ("glut", "GLUT", "Glu", "glutamate")),
        *((word, "gaba") for word in ("GABA", "gaba", "GABAergic")),
        *((word, "serotonin") for word in ("SER", "5HT", "5-HT", "5 ht", "serotonin")),
        *((word, "dopamine") for word in ("DA", "dopamine")),
        ("OCT", "octopamine"),
        ("hist", "histamine"),
        ("Gaba; ACH", "gaba+acetylcholine"),
        ("glut/ach,da + glut", "glutamate+acetylcholine+dopamine"),
        ("unknown, ach", "acetylcholine"),
        *(
            (word, None)
            for word in ("", " ", "unclear", "Unknown", "none", "n/a", "NA", "nan", ",")
        ),
        ("Unobtainium", "unobtainium"),
    ],
)
def test_spellings(word: str, ours: str | None) -> None:
    assert canonical(pa.array([word])).to_pylist() == [ours]


def test_missing_stays_missing_in_every_kind_of_column() -> None:
    words = pa.array([None, "ach", None, "gaba"])
    for column in (words, words.dictionary_encode(), pa.chunked_array([words[:1], words[1:]])):
        assert canonical(column).to_pylist() == [None, "acetylcholine", None, "gaba"]
        assert signs_of(column, "fly", "here").to_pylist() == [None, 1, None, -1]
    assert signs_of(pa.nulls(2), "fly", "here").type == pa.int8()
    assert len(canonical(pa.array([], pa.string()))) == 0


@given(
    st.sampled_from(sorted(SPECIES)).flatmap(
        lambda species: st.tuples(
            st.just(species),
            st.lists(
                st.none()
                | st.lists(st.sampled_from([*SPECIES[species], "unclear"]), max_size=3).map(
                    "; ".join
                ),
                max_size=8,
            ),
        )
    )
)
def test_the_first_fast_transmitter_counts(case: tuple[str, list[str | None]]) -> None:
    species, words = case
    table = SPECIES[species]
    expected = []
    for word in words:
        signs = [table.get(part, 0) for part in (word or "").split("; ")]
        expected.append(next((sign for sign in signs if sign), None))
    column = pa.array(words, pa.string())
    once = canonical(column)

    assert signs_of(column, species, "here").to_pylist() == expected
    assert signs_of(once, species, "here").to_pylist() == expected
    assert canonical(once).to_pylist() == once.to_pylist()


def test_glutamate_depends_on_the_species() -> None:
    glutamate = pa.array(["GLUT"])
    assert signs_of(glutamate, "worm", "").to_pylist() == [1]
    assert signs_of(glutamate, "fly", "").to_pylist() == [-1]


def test_a_word_that_the_table_lacks_is_named_with_its_row() -> None:
    words = pa.array(["gaba", None, "acetylcoline", "ach", "zzz"])
    with pytest.raises(CompileError) as error:
        signs_of(words, "fly", "cells.csv, column nt")
    assert error.value.where == "cells.csv, column nt, row 3"
    assert "'acetylcoline'" in error.value.problem
    assert "did you mean 'acetylcholine'?" in error.value.hint


def test_what_another_species_has_is_not_taken_for_granted() -> None:
    with pytest.raises(
        CompileError, match=r"row 1: 'HIST'.*'histamine' is not a known transmitter of the worm"
    ):
        signs_of(pa.array(["HIST"]), "worm", "cells")


def test_an_unknown_species() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'worm'"):
        signs_of(pa.array(["ach"]), "worn", "cells")
