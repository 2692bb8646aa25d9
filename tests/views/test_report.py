"""What the command line says, in the cases that an ordinary build does not show."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from columns import column, laminar, load_module
from fake_modules import fake
from worms import driven, worm

from connectome_compiler.certify.certificate import Certificate
from connectome_compiler.data_adapters.ncap import Ncap as Motif
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import Evidence, Graph
from connectome_compiler.ir.provenance import FALLBACK, Step
from connectome_compiler.pipeline import Built
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent
from connectome_compiler.text import WIDTH
from connectome_compiler.views import report

WHY = "nothing is cached"


def said_of(graph: Graph) -> list[str]:
    emission = fake(None)
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


@pytest.mark.parametrize("annotation", ["", ": dict[str, Any]"])
def test_reads_a_statement_without_running_anything(annotation: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    graph = laminar(column())
    source = Bionic().emit(graph, "toy").source
    source = source.replace("PROVENANCE: dict[str, Any] =", f"PROVENANCE{annotation} =")
    path.write_text(f"{source}\nraise SystemExit\n")
    assert report.read_statement(path).provenance == graph.provenance


@pytest.mark.parametrize("value", ["[1]", "dict(a=1)", "{**x}", "-" * 5000 + "1", "{[]: 1}"])
def test_refuses_what_it_did_not_write(value: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(f"PROVENANCE = {value}\n")
    with pytest.raises(CompileError, match=r"net.py"):
        report.read_statement(path)


def of_network(style: Any, graph: Graph, folder: Path) -> str:
    """Return what a build says, its lines joined, of a network that counts its own parameters."""
    path = folder / "net.py"
    emission = style.emit(graph, "toy")
    emission.write(path)
    net = load_module(path).build()
    total = sum(p.numel() for p in net.parameters() if p.requires_grad)
    certificate = Certificate("net.py", "Toy", "recurrent from us", True, total, 1, 1, 1, 1, (), ())
    lines = report.of_build(Built("toy", graph, emission, (path,), certificate))
    return " ".join(lines.split())


PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "one each": (
        {"junctions": False},
        "{n} connections, 12 time constants, 12 biases, 22 of read-in and read-out",
    ),
    "junctions": ({}, "{own} weights of {n} connections, 12 time constants, 12 biases"),
    "parts": (
        {"partition": "role", "dynamics": {"tau_per": "shared", "bias_per": "none"}},
        "{own} weights of {n} connections, 3 time constants, 22 of read-in and read-out",
    ),
    "types": (
        {"weights": {"share": "type-pair"}, "dynamics": {"tau_per": "fixed"}},
        "weights of {n} connections, 12 biases, 22 of read-in and read-out",
    ),
    "frozen": (
        {
            "weights": {"trained": False},
            "dynamics": {"tau_per": "cell_type"},
            "ports": {"read_in": "direct", "read_out": "direct"},
        },
        "16: {own} weights of {n} connections are frozen, 4 time constants, 12 biases verified",
    ),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters_are_named(case: str, tmp_path: Path) -> None:
    options, words = PARAMETERS[case]
    made = worm(12, junctions=options.pop("junctions", True))
    n, pairs = made.n_connections, made.n_connections - len(made.projections[0].synapses.post)
    graph = driven(made, **options)
    said = of_network(Recurrent(), graph, tmp_path)
    wanted = words.format(own=f"{n - pairs // 2:,}", n=f"{n:,}")
    assert wanted in said
    assert "-" not in said.partition("parameters")[2].partition(":")[0]


def test_parameters_of_the_other_style_are_named(tmp_path: Path) -> None:
    graph = laminar(column())
    said = of_network(Bionic(), graph, tmp_path)
    assert f": {graph.n_connections:,} connections, " in said
    assert "others (front end, read-in, read-out, normalisation, biases)" in said


def test_what_to_type_next_runs(tmp_path: Path) -> None:
    for style, graph in ((Recurrent(), driven(worm(12))), (Bionic(), laminar(column()))):
        path = tmp_path / "net.py"
        emission = style.emit(graph, "toy")
        emission.write(path)
        lines = report.of_build(Built("toy", graph, emission, (path,), None)).splitlines()
        code = next(line for line in lines if "import net as m" in line).partition("-c ")[2]
        alone = code.strip("'").removeprefix("import net as m; ")
        exec(alone, {"m": load_module(path)})  # what a user would paste


@pytest.mark.parametrize(
    ("returns", "words"),
    [("tuple[Tensor, Tensor]", "y, state = net("), ("Tensor", "print(net(")],
)
def test_what_to_type_next_follows_the_network(returns: str, words: str) -> None:
    """Whatever its units are: a style of a package can have any."""
    forward = "class {}:\n    def forward(self, u: Tensor) -> {}: ...\n"
    emission = fake(None)
    source = forward.format("Net", returns) + forward.format("Layer", "list[Tensor]")
    object.__setattr__(emission, "source", source)
    text = report.of_build(Built("toy", laminar(column()), emission, (Path("net.py"),), None))
    assert words in text


def test_a_network_says_how_its_parts_are_joined() -> None:
    said = "\n".join(said_of(driven(worm(12), ports={"read_in": "direct"})))
    assert "units, one to one, to 4 selected, not of the connectome" in said
    assert "weights, all to all, from 4 selected, not of the connectome" in said
    assert "gap junctions" in said
    assert "feedback" not in said  # every connection of a recurrent network acts a step later
    assert "feedback" in "\n".join(said_of(laminar(column(40), flow="keep")))


def test_a_motif_has_no_chain_and_counts_what_is_on(tmp_path: Path) -> None:
    words = of_network(Ncap(turn_control=True), Motif(n_joints=7).load(), tmp_path)
    assert "joints 7, step 1, right 1, left 1, speed 1, proprioceptor.d 7," in words
    assert "parameters 5; with all parts on, there are 6 kinds of weights on 58 conn" in words


def test_many_populations_are_cut() -> None:
    graph = driven(worm(40, 0.1), partition="neuron_id", ports={"into": "", "out_of": ""})
    words = " ".join("\n".join(said_of(graph)).split())
    assert "network input 3 -> N0 1 -> N1 1 -> N10 1" in words
    assert " -> 26 more -> " in words
    assert "-> N9 1 -> output 2 input->N0" in words


def test_a_recurrent_module_reads_well(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    graph = driven(
        worm(12),
        partition="role",
        weights={"share": "type-pair"},
        dynamics={"tau_per": "cell_type", "bias_per": "none"},
        ports={"read_in": "direct"},
    )
    Recurrent(spectral_radius=0.9).emit(graph, "toy").write(path)
    text = report.of_target(str(path))
    words = " ".join(text.split())
    assert "dynamics leaky rates, tanh, steps of 20 ms, spectral radius 0.9 at the start;" in words
    assert "time constants from 50 ms, one per cell type; no bias" in words
    assert "ports read-in direct into sensory; read-out linear out of motor" in words
    gaps = [q for q in graph.connectome if q.kind == "electrical"]
    junctions = sum(len(q.synapses.post) for q in gaps) // 2
    assert f"electrical {junctions} gap junctions, each in the list in both directions" in words
    signs = [int(x) for q in graph.connectome if q.kind == "chemical" for x in graph.signs(q)]
    known = len(signs) - signs.count(0)
    assert f"signs {known} known ({signs.count(1)} excitatory" in words
    assert f"{known} enforced, {signs.count(0)} unknown" in words
    assert max(map(len, text.splitlines())) <= WIDTH
    saved = report.of_target(str(graph.save(tmp_path / "graph")))
    assert f"{junctions} gap junctions" in saved
    assert f"{known} enforced, {signs.count(0)} unknown" in saved


def test_densities_are_the_same_wherever_they_stand(tmp_path: Path) -> None:
    graph = driven(worm())  # of neurons that connect to themselves as well
    path = tmp_path / "net.py"
    emission = Recurrent().emit(graph, "toy")
    emission.write(path)
    views = (
        report.of_build(Built("toy", graph, emission, (path,), None)),
        report.of_target(str(path)),
    )
    for q in graph.connectome:
        assert (q.synapses.post == q.synapses.pre).any() or q.kind == "electrical"
        for view in views:
            row = next(line for line in view.splitlines() if line.split()[:1] == [q.key])
            assert f"density {graph.density(q):.4f}" in row
