"""Copied layers are complete, in order, and named after their content."""

import ast
import re

import pytest

from connectome_compiler.emit.source import copy_definitions, merge_imports
from connectome_compiler.errors import UnknownNameError


def test_what_a_layer_needs_comes_along() -> None:
    copied = copy_definitions(["EdgeLinear"])
    space: dict[str, object] = {}
    exec("\n".join([*copied.imports, "", copied.text]), space)
    assert "EdgeLinear" in space
    assert "ImageFrontEnd" not in space


def test_nothing_else_comes_along() -> None:
    copied = copy_definitions(["RateUnits"])
    names = [n.name for n in ast.parse(copied.text).body if isinstance(n, ast.ClassDef)]
    assert names == ["SameStructure", "RateUnits"]
    assert not any("math" in line for line in copied.imports)


def test_operators_carry_the_hash_of_the_source() -> None:
    copied = copy_definitions(["EdgeLinear"])
    assert re.search(r'OP_LIBRARY = "connectome_compiler_[0-9a-f]{12}"', copied.text)
    assert copy_definitions(["EdgeLinear"]) == copied


def test_what_is_wanted_comes_first_and_helpers_last() -> None:
    names = [
        n.name
        for n in ast.parse(copy_definitions(["TiedEdgeLinear"]).text).body
        if isinstance(n, ast.ClassDef | ast.FunctionDef)
    ]
    bases = ["SameStructure", "EdgeLinear"]  # which are needed at once
    assert names[:3] == [*bases, "TiedEdgeLinear"]
    public = {"has_shape", "is_stand_in", "is_taken_apart", "plain_product"}
    assert {*names[3:9]} == {*public, "size_with_sign", "start_as_sizes"}
    assert names.index("_operator") < names.index("connection_product")  # and so is a decorator
    assert all(name.startswith(("_", "connection_")) for name in names[9:])


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="EdgeLinear"):
        copy_definitions(["EdgeLinaer"])


def test_imports_are_sorted_and_merged() -> None:
    merged = merge_imports(
        [
            "from torch import nn",
            "import torch",
            "from torch import Tensor",
            "from collections.abc import Iterator",
            "import hashlib",
            "import torch",
        ]
    )
    assert merged == (
        "import hashlib",
        "from collections.abc import Iterator",
        "",
        "import torch",
        "from torch import Tensor, nn",
    )
