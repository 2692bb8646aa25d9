"""What errors say is short enough to read."""

import pytest

from connectome_compiler.errors import (
    CompileError,
    Faults,
    RecipeError,
    UnknownNameError,
    nearest,
    out_of_memory,
)
from connectome_compiler.text import LONGEST


def test_long_texts_lose_their_middle() -> None:
    said = str(CompileError("w" * 10**6, "p" * 10**6 + "!", "h" * 10**6))
    assert len(said) < 4 * LONGEST
    assert "999,401 characters left out" in said
    assert said.splitlines()[0].endswith("p!")
    assert len(said.splitlines()) == 2


def test_a_text_of_usual_length_is_whole() -> None:
    assert str(CompileError("w", "p" * LONGEST, "h")) == f"w: {'p' * LONGEST}\n  hint: h"


def test_many_names_are_counted_not_listed() -> None:
    error = UnknownNameError.among("column", "zzz", [f"c{k:06}" for k in range(100_000)])
    assert error.hint.startswith("known: c000000, ")
    assert error.hint.endswith("c000049 and 99,950 more")
    assert UnknownNameError.among("column", "zzz", ["a", "b"]).hint == "known: a, b"
    assert UnknownNameError.among("column", "zzz", []).hint == "known: none"


def test_a_lack_of_memory_is_known_in_many_words() -> None:
    deep = ImportError("numpy could not be imported")
    deep.__cause__ = ImportError("libx.so: failed to map segment from shared object")
    for error in (
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        deep,
    ):
        assert out_of_memory(error)
    for other in (ValueError("out of memory"), OSError(28, "No space left"), RuntimeError("no")):
        assert not out_of_memory(other)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("microns-v", "microns-v1"),
        ("fly", "fly-visual"),  # too short to be alike
        ("dale", "apply-dale"),
        ("v1", ""),  # so short that it can be anything
        ("drop", ""),  # inside two
        ("", ""),
        ("x" * 10_000, ""),
    ],
)
def test_what_a_word_was_meant_to_be(word: str, meant: str) -> None:
    names = ["microns-v1", "fly-visual", "apply-dale", "drop-autapses", "drop-weak-connections"]
    assert nearest(word, names) == meant


def test_errors_are_collected_and_shown_together() -> None:
    faults = Faults()
    faults.raise_any()
    for error in (
        CompileError("a", "is wrong", "mend it"),
        CompileError("a", "is wrong", "mend it"),
        RecipeError([CompileError("b", "is bad"), CompileError("c", "is worse")]),
    ):
        with faults.noted():
            raise error
    with pytest.raises(RecipeError) as caught:
        faults.raise_any()
    lines = ["3 errors:", "  a: is wrong", "    hint: mend it", "  b: is bad", "  c: is worse"]
    assert str(caught.value).splitlines() == lines
    alone = Faults()
    with alone.noted():
        raise UnknownNameError.among("pass", "x", ["y"])
    with pytest.raises(UnknownNameError):
        alone.raise_any()
    with pytest.raises(KeyError), faults.noted():
        raise KeyError("a bug")
