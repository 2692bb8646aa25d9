"""What a module states reads back as what was stated; what was altered, or is old, is refused."""

import ast
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutants.cases import CASES

from connectome_compiler.certify.importing import run_module
from connectome_compiler.emit.emission import Emission
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.digest import array_digest, statement_digest
from connectome_compiler.pipeline import compile_graph
from connectome_compiler.recipe import load_recipe
from connectome_compiler.statement import StatedPopulation, Statement, expanded, tabulated

# Those whose data come with the compiler, and what a build needs to be told.
SHIPPED: dict[str, dict[str, Any]] = {
    "synthetic": {},
    "ncap-swimmer": {},
    "mouse-mimetic-mlp": {},
    "mouse-mimetic-dcgan": {},
    "schizophrenia-mimetic": {},
    "microns-v1": {"source": "statistics"},
    "microns-v1-dale": {"source": "statistics"},
    "mousenet": {},
}


@cache
def case(name: str) -> Emission:
    return CASES[name].emit()[1]


def stated_in(source: str) -> dict[str, Any]:
    """Return ``PROVENANCE`` of a module's source."""
    found = [n for n in ast.parse(source).body if isinstance(n, ast.AnnAssign)]
    (text,) = (n.value for n in found if ast.unparse(n.target) == "PROVENANCE")
    assert text
    value: dict[str, Any] = ast.literal_eval(text)
    return value


def header_of(source: str) -> str:
    return ast.get_docstring(ast.parse(source), clean=False) or ""


# --- the file -------------------------------------------------------------------------------------


def in_reading_order(emission: Emission) -> None:
    """Check that the network begins on the first screens, and what follows it."""
    lines = emission.source.splitlines()
    first = next(
        k for k, line in enumerate(lines) if line.startswith(f"class {emission.class_name}(")
    )
    assert first < 150
    parts = [re.sub(r"^# --- (.*?) -+$", r"\1", line) for line in lines if line.startswith("# ---")]
    parts = [part for part in parts if part != "the circuit"]
    assert parts == ["the network", "layers", "provenance", "data"][: len(parts)]
    assert len(parts) > 2
    assert lines.index("# --- layers " + "-" * 87) > next(
        k for k, line in enumerate(lines) if line.startswith("def build(")
    )


@pytest.mark.parametrize("name", CASES)
def test_the_network_is_on_the_first_screens_in_every_style(name: str) -> None:
    in_reading_order(case(name))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.filterwarnings("ignore:.*not measured.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*leaves .* outputs without input:UserWarning")
def test_the_network_is_on_the_first_screens_in_shipped_recipes(name: str) -> None:
    recipe = load_recipe(name, SHIPPED[name])
    in_reading_order(recipe.template.make().emit(compile_graph(recipe), name))


@pytest.mark.parametrize("name", [*CASES][::5])
def test_it_runs_where_nobody_registers_it(name: str, tmp_path: Path) -> None:
    """As dataclasses of a module with string annotations would not."""
    path = case(name).write(tmp_path / "net.py")[-1]
    module = run_module(path, path.read_bytes())
    assert "net" not in sys.modules
    network = module.build()
    network(network.example_input(2))


def test_the_history_stands_once() -> None:
    source = case("bionic chain").source
    stated = stated_in(source)
    for step in stated["steps"]:
        assert step["name"] in header_of(source)
        for note in step["notes"]:
            assert note not in header_of(source)


# --- the statement --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_statement_reads_back(name: str) -> None:
    graph, _ = CASES[name].emit()
    source = case(name).source
    statement = Statement.read(stated_in(source), header_of(source))
    assert statement.provenance == graph.provenance
    assert statement.graph_sha256 == graph.digest()
    populations = [
        StatedPopulation.of(graph, p, q.layer)
        for p, q in zip(graph.biological, statement.populations, strict=True)
    ]
    assert list(statement.populations) == populations
    for q, stated in zip(graph.connectome, statement.projections, strict=True):
        signs = graph.enforced_signs(q)
        assert stated.key == q.key
        assert stated.shape == graph.shape(q)
        assert stated.signs_sha256 == array_digest(signs)
        assert stated.connections == len(signs) == graph.count(q)


def altered(stated: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change a statement, with a hash that fits."""
    new = {**stated, **changes}
    new = {key: value for key, value in new.items() if value is not None}
    return {**new, "sha256": statement_digest(new)}


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no statement": (lambda _: ["name"], "PROVENANCE: is not what ccompile wrote"),
    "no hash": (lambda _: {"name": "x"}, "PROVENANCE: lacks 'sha256'"),
    "another word": (lambda s: {**s, "licence": "mine"}, "PROVENANCE: was altered"),
    "no licence": (lambda s: altered(s, licence=None), "PROVENANCE: lacks 'licence'"),
    "no kind of evidence": (lambda s: altered(s, signs="guessed"), r"PROVENANCE\.signs: must be"),
    "measured after all": (lambda s: altered(s, measured=True), "is not what ccompile wrote"),
    "no table": (lambda s: altered(s, projections={"a": 1}), "is not what ccompile wrote"),
    "rows that are too short": (
        lambda s: altered(s, projections={**s["projections"], "rows": [["a"]]}),
        "PROVENANCE: lacks",
    ),
    "an earlier format": (lambda s: altered(s, statement=2), "has the format 2; this ccompile"),
    "the first format": (lambda s: altered(s, statement=None), "has the format 1; this ccompile"),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_no_statement_is_refused(how: str) -> None:
    source = case("ncap clamp").source
    change, problem = WRONG[how]
    with pytest.raises(CompileError, match=problem) as found:
        Statement.read(change(stated_in(source)), header_of(source), "net.py")
    assert str(found.value).startswith("net.py: PROVENANCE")
    assert "build it again" in found.value.hint or how == "no kind of evidence"


def test_another_header_is_refused() -> None:
    stated = stated_in(case("ncap clamp").source)
    with pytest.raises(CompileError, match=r"net\.py: header: was altered"):
        Statement.read(stated, "Another.", "net.py")


# --- tables ---------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, "a", "b", ""])
words = st.sampled_from(["name", "kind", "shape", "columns", "each", "rows"])
records = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(words, inner, max_size=5),
    max_leaves=40,
)


def same(one: Any, other: Any) -> bool:
    """Compare values and their types: 1 is not True."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(records)
def test_tables_are_read_back(value: Any) -> None:
    try:
        table = tabulated(value)
    except ValueError:  # it has the fields of a table
        assert "columns" in repr(value)
        return
    assert same(expanded(table), value)


def test_what_most_rows_have_stands_once() -> None:
    made = [{"name": f"p{k}", "units": k, "rest": 0.0, "op": {"n": k, "of": "x"}} for k in range(8)]
    made[3]["rest"] = 1.0
    table = tabulated(made)
    assert table["columns"] == ["name", "units", "op"]
    assert table["each"] == {"rest": 0.0, "op": {"of": "x"}}
    assert table["rows"][3] == ["p3", 3, {"n": 3}, {"rest": 1.0}]
    assert expanded(table) == made
