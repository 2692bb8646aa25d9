"""What the command line says, in the cases that an ordinary build does not show."""

from dataclasses import replace
from pathlib import Path

import pytest
from columns import column, laminar

from connectome_compiler.emit.emission import Emission
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph
from connectome_compiler.ir.provenance import FALLBACK, Step
from connectome_compiler.pipeline import Built
from connectome_compiler.views import report

WHY = "nothing is cached"


def said_of(graph: Graph) -> list[str]:
    emission = Emission("Toy", "", None)
    return report.of_build(Built("toy", graph, emission, (Path("a b") / "net.py",), None)).split(
        "\n"
    )


def test_a_fall_back_says_why() -> None:
    graph = column()
    assert graph.provenance.caveat == "toy@1 is modelled, not measured"
    step = Step(FALLBACK, "", 1, 1, 1, 1, (WHY,))
    fallen = replace(graph, provenance=graph.provenance.with_step(step))
    assert fallen.provenance.caveat == "toy@1 is modelled, not measured: nothing is cached"


def test_idle_passes_share_a_line_and_long_lists_are_cut() -> None:
    graph = laminar(column(60, 0.5), inhibition="units", flow="keep")
    steps = [
        Step("load", "", 60, 60, 9, 9, tuple(f"note {k}" for k in range(9))),
        Step("a", "", 60, 60, 9, 9),
        Step("b", "", 60, 60, 9, 9),
        Step("c", "", 60, 50, 9, 8),
        Step("d", "", 50, 50, 8, 8),
    ]
    lines = said_of(replace(graph, provenance=replace(graph.provenance, steps=tuple(steps))))
    assert "      note 2" in lines
    assert "      note 3" not in lines
    assert "      and 6 more, which `ccompile inspect` shows" in lines
    assert "  a, b: no change" in lines
    assert "  d: no change" in lines
    more = len(graph.projections) - report.MOST_ROWS
    assert more > 0
    assert f"  and {more} more, which `ccompile inspect` shows" in lines


def test_paths_with_spaces_can_be_pasted() -> None:
    lines = said_of(laminar(column()))
    assert any("inspect 'a b/net.py'" in line for line in lines)
    assert any("PYTHONPATH='a b' " in line for line in lines)


def test_measured_data_need_no_warning() -> None:
    graph = laminar(column())
    known = replace(graph.provenance, connectivity=Evidence.MEASURED)
    lines = said_of(replace(graph, provenance=known))
    assert "data        toy@1, measured" in lines
    assert not any("not measured" in line.lower() for line in lines)


@pytest.mark.parametrize(
    "source",
    [
        "PROVENANCE: dict = {'a': 1}",
        "PROVENANCE = {'a': 1}",
        "import os\nx, y = 1, 2\nPROVENANCE = {'a': 1}",
    ],
)
def test_reads_provenance_without_running_anything(source: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(f"{source}\nraise SystemExit\n")
    assert report.read_provenance(path) == {"a": 1}


@pytest.mark.parametrize("value", ["[1]", "dict(a=1)", "{**x}", "-" * 5000 + "1", "{[]: 1}"])
def test_refuses_what_it_did_not_write(value: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(f"PROVENANCE = {value}\n")
    with pytest.raises(CompileError, match=r"net.py"):
        report.read_provenance(path)
