"""Known, enforced and unknown are three numbers, and every view has the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from columns import column, laminar
from hypothesis import given
from strategies import graphs
from worms import driven, worm

from connectome_compiler.certify.certificate import validate
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph, PerConnection
from connectome_compiler.ir.signs import SignCount, count_signs, stated_signs
from connectome_compiler.passes.apply_dale import ApplyDale
from connectome_compiler.passes.runner import run
from connectome_compiler.pipeline import Built
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.recurrent.style import Recurrent
from connectome_compiler.views import report


def freed(graph: Graph) -> Graph:
    """Return the graph as it is without apply-dale: what is known stays known."""
    return graph.with_projections(replace(q, weights=PerConnection()) for q in graph.projections)


STYLES: dict[str, tuple[Callable[..., Any], Callable[[], Graph]]] = {
    "recurrent": (Recurrent, lambda: driven(worm())),
    "bionic": (Bionic, lambda: laminar(column(unsigned=3), inhibition="units", flow="keep")),
}


@given(graphs())
def test_counts_are_those_of_the_connections(graph: Graph) -> None:
    total = SignCount()
    for q in graph.connectome:
        one = count_signs(graph, [q])
        total += one
        if q.kind == "electrical":
            assert one == SignCount()
            continue
        signs = graph.signs(q).tolist()
        assert (one.excitatory, one.inhibitory) == (signs.count(1), signs.count(-1))
        assert one.unknown == signs.count(0)
        assert one.enforced == int((graph.enforced_signs(q) != 0).sum())
        assert one.known + one.unknown == graph.count(q)
    assert count_signs(graph) == total


@pytest.mark.parametrize("style", STYLES)
def test_known_but_free_is_an_error_that_names_the_pass(style: str) -> None:
    template, make = STYLES[style]
    graph = freed(make())
    n = count_signs(make()).enforced
    assert n == count_signs(graph).free > 0
    with pytest.raises(CompileError, match=f"signs of {n:,} connections are known but") as caught:
        template().emit(graph, "toy")
    assert 'use = "apply-dale"' in caught.value.hint
    assert "template.allow_free_signs=true" in caught.value.hint
    template().emit(run(graph, [ApplyDale("report")]), "toy")  # as the hint says


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("style", STYLES)
def test_every_view_has_the_same_numbers(style: str, held: bool, tmp_path: Path) -> None:
    template, make = STYLES[style]
    graph = make() if held else freed(make())
    count = count_signs(graph)
    assert count.unknown
    assert count.free == (0 if held else count.known)
    emission = template(allow_free_signs=not held).emit(graph, "toy")
    path = tmp_path / "net.py"
    emission.write(path)
    certificate = validate(path, graph.save(tmp_path / "graph"))
    views = {
        "summary": repr(graph),
        "html": graph._repr_html_(),
        "build": report.of_build(Built("toy", graph, emission, (path,), certificate)),
        "module": report.of_target(str(path)),
        "graph": report.of_target(str(tmp_path / "graph")),
        "header": emission.source,
    }
    for name, text in views.items():
        assert str(count) in " ".join(text.split()), name
    notes = [f"{count.unknown:,} connections have no known sign: their weights are free"]
    if not held:
        what = "connections have a known sign that is not enforced"
        notes.append(f"{count.free:,} {what}: their weights are free")
    assert [n for n in certificate.notes if "sign" in n] == notes
    assert stated_signs(report.read_statement(path).plain()["projections"]) == count


def test_three_numbers_as_text() -> None:
    assert str(SignCount(1200, 300, 500, 30)) == (
        "1,500 known (1,200 excitatory, 60%; 300 inhibitory, 15%), 30 enforced, 500 unknown"
    )


def test_the_summary_shows_what_holds_each_projection() -> None:
    graph = worm(junctions=False)
    (row,) = (line for line in repr(graph).splitlines() if line.startswith("neurons->neurons"))
    assert row.split()[-4] == "0"  # nothing, before apply-dale
    held = run(graph, [ApplyDale("report")])
    (row,) = (line for line in repr(held).splitlines() if line.startswith("neurons->neurons"))
    assert row.split()[-4] == f"{count_signs(held).enforced}"


# --- origin in modules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"licence": "CC0"', '"licence": "MIT"'),
        ('"measured": True', '"measured": False'),
        ('"citations": []', '"citations": ["Me"]'),
        ('"connectivity": "measured"', '"connectivity": "modelled"'),
        ("Licence    CC0", "Licence    MIT"),
    ],
)
def test_an_altered_origin_is_refused(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    Recurrent().emit(driven(worm()), "toy").write(path)
    report.of_target(str(path))
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    for look in (lambda: report.of_target(str(path)), lambda: validate(path)):
        with pytest.raises(CompileError, match="was altered: it does not have the hash"):
            look()


def test_what_nobody_vouches_for_says_so(tmp_path: Path) -> None:
    graph = driven(worm())
    unknown = replace(graph.provenance, connectivity=Evidence.UNKNOWN)
    graph = replace(graph, provenance=unknown)
    emission = Recurrent().emit(graph, "toy")
    assert emission.class_name == "Toy"  # no mark: it is not a surrogate
    assert "NOT KNOWN TO BE MEASURED" in emission.source
    assert "Not known to be measured: 12 neurons" in emission.source
    emission.write(tmp_path / "net.py")
    certificate = validate(tmp_path / "net.py")
    assert "the connectivity is not known to be measured" in certificate.notes
    said = report.of_build(Built("toy", graph, emission, (tmp_path / "net.py",), certificate))
    assert "toy-worm@1, NOT KNOWN TO BE MEASURED" in said
    assert said.splitlines()[-1] == "toy-worm@1 is not known to be measured"
    assert "toy-worm@1, not known to be measured" in report.of_target(str(tmp_path / "net.py"))
    assert "(evidence unknown)" in repr(graph)
