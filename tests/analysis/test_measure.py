"""Analyses of emitted modules of every style, and of networks with known faults."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from columns import load_module
from faulty_nets import Faulty, Layered, Small
from worms import driven, worm

from connectome_compiler.analysis import ParameterFinding, Report, analyse
from connectome_compiler.cli import main
from connectome_compiler.data_adapters.ncap import Ncap as Motif
from connectome_compiler.errors import CompileError, UnknownNameError
from connectome_compiler.pipeline import build
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent

REFERENCE: Any = load_module(Path(__file__).parents[1] / "tasks" / "ncap_reference.py")
SMALL: Any = {"n_inputs": 16, "n_seeds": 2}


@pytest.fixture(scope="module")
def swimmer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("analysis") / "swimmer.py"
    Ncap().emit(Motif().load(), "ncap-swimmer").write(path)
    return path


def of(report: Report, name: str) -> ParameterFinding:
    return next(p for p in report.parameters if p.name == name)


def findings(report: Report) -> dict[str, tuple[int, int, int]]:
    return {p.name: (p.zero_gradient, p.inert, p.proved) for p in report.parameters}


# --- the swimmer ----------------------------------------------------------------------------------


def test_a_swimmer_as_it_starts_is_a_wave_and_a_chain_and_contra_is_inert(swimmer: Path) -> None:
    report = analyse(swimmer, **SMALL)
    assert report.formula == (
        "output[0] = 1 where round(step) mod 60 < 30, else -1",
        "output[i] = clamp(joints[i - 1], -1, 1), i = 1..4",
    )
    assert report.formula_error == 0.0
    assert report.inert == ("contra",)
    assert findings(report)["contra"] == (1, 1, 1)
    assert {(c.name, c.low, c.high) for c in report.clamped} == {
        ("prop", 0, None),
        ("osc", 0, None),
        ("ipsi", 0, None),
        ("contra", None, 0),
    }
    assert not any(c.beyond for c in report.clamped)
    muscle = next(p for p in report.populations if p.name == "muscle.d")
    assert (muscle.units, muscle.always, muscle.dead) == (5, 1, 0)  # the head is always at an end


def test_what_is_proved_inert_may_get_a_gradient_where_clamps_end(swimmer: Path) -> None:
    network = load_module(swimmer).build()
    network.contra.data.fill_(0.0)
    report = analyse(network, **SMALL)
    assert report.inert == ("contra",)
    assert findings(report)["contra"] == (0, 1, 1)
    assert "1 at the end of a clamp, where a gradient passes" in of(report, "contra").reason


@pytest.mark.parametrize(
    ("options", "inert"),
    [
        ({"oscillator_period": 7, "n_joints": 2}, {"contra"}),
        ({"speed_control": True}, {"contra"}),
        ({"turn_control": True}, set()),
        ({"sign_constraints": False}, set()),
        ({"proprioception": False, "n_joints": 2}, {"contra"}),
        (
            {"weight_sharing": False, "n_joints": 2, "constant_init": False},
            {f"contra_{side}_{i}" for side in "dv" for i in range(2)},
        ),
    ],
)
def test_contra_is_inert_where_both_sides_are_never_active_together(
    swimmer: Path, options: dict[str, Any], inert: set[str]
) -> None:
    report = analyse(swimmer, options=options, **SMALL)
    assert {p.name for p in report.parameters if p.proved} == inert
    assert set(report.inert) == inert
    assert report.formula
    assert report.formula_error < 1e-6


def test_an_uneven_period_and_other_weights_are_in_the_formula(swimmer: Path) -> None:
    net = load_module(swimmer).build(n_joints=3, oscillator_period=7)
    with torch.no_grad():
        net.prop.fill_(0.5)
        net.osc.fill_(-0.1)
        net.contra.fill_(0.25)
    report = analyse(net, **SMALL)
    assert report.formula == (
        "output[0] = 0",
        "output[i] = clamp(0.5 * joints[i - 1], -0.5, 0.5), i = 1..2",
    )
    assert {c.name: c.beyond for c in report.clamped if c.beyond} == {"osc": 1, "contra": 1}
    assert of(report, "osc").zero_gradient == 1
    assert of(report, "osc").inert == 0  # it would act above 0
    assert "dead to gradients" in str(report)


def test_a_network_without_rates_is_read_line_by_line() -> None:
    class Reference(REFERENCE.Ncap):  # type: ignore[misc]
        def example_input(self, batch: int = 1) -> torch.Tensor:
            return torch.zeros(batch, self.n_joints)

    report = analyse(Reference(n_joints=3), **SMALL)
    assert report.formula[1] == "output[i] = clamp(joints[i - 1], -1, 1), i = 1..2"
    assert report.inert == ("contra",)
    drive = next(p for p in report.populations if "graded(drive)" in p.name)
    assert drive.units == 2 * 3  # both sides of every joint
    assert 0.4 < drive.flat < 0.9


# --- known faults ---------------------------------------------------------------------------------


def test_inert_asleep_and_wrong_are_told_apart() -> None:
    report = analyse(Faulty(), **SMALL)
    assert findings(report) == {
        "scale": (0, 0, 0),
        "unused": (1, 1, 1),
        "cancelled": (1, 1, 1),
        "asleep": (1, 0, 0),
        "wrong": (1, 0, 0),
    }
    assert {c.name: c.beyond for c in report.clamped} == {"cancelled": 1, "wrong": 1}


def test_what_is_inert_by_test_alone_is_not_called_proved() -> None:
    class Hidden(Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            never = (x.abs().sum(1, keepdim=True) > 1e6).to(x)  # not among the inputs tried
            return torch.tanh(x) * self.a + never * self.b

    report = analyse(Hidden(a=1.0, b=1.0), **SMALL)
    assert findings(report) == {"a": (0, 0, 0), "b": (1, 1, 0)}
    assert "not proved" in of(report, "b").reason
    assert report.inert == ("b",)
    assert not report.formula
    assert "no closed form is known" in str(report)


def test_a_dead_unit_has_no_gradient_and_is_not_inert() -> None:
    report = analyse(Layered(), **SMALL)
    zero = {p.name: p.zero_gradient for p in report.parameters}
    assert zero == {"first.weight": 3, "first.bias": 1, "second.weight": 1, "second.bias": 0}
    assert not report.inert
    assert report.formula


def test_nothing_outside_is_changed(swimmer: Path) -> None:
    net = load_module(swimmer).build()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = analyse(net, **SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert first == analyse(net, **SMALL)


# --- other styles ---------------------------------------------------------------------------------


def test_what_lies_off_a_mask_is_proved(tmp_path: Path) -> None:
    build("mouse-mimetic-mlp", tmp_path / "mouse.py", verify=False)
    net = load_module(tmp_path / "mouse.py").build()
    report = analyse(net, n_inputs=4, n_seeds=1, n_changes=1)
    window = of(report, "sheet1_to_sheet2.weight")
    off = net.sheet1_to_sheet2.weight.numel() - 179_246
    assert window.proved >= off > 300_000
    assert window.inert >= window.proved
    assert "off the mask" in window.reason
    sheet = next(p for p in report.populations if p.name == "sheet1")
    assert sheet.activation == "relu"
    assert 0.3 < sheet.flat < 0.7
    share = {q.name: q.blocked for q in report.projections}
    assert 0.2 < share["sheet1->sheet2"] < 0.8


def test_neurons_that_lead_nowhere_are_proved_inert(tmp_path: Path) -> None:
    graph = driven(
        worm(16, 0.08, seed=1, junctions=False),
        dynamics={"tau_per": "neuron", "bias_per": "neuron"},
    )
    Recurrent().emit(graph, "toy").write(tmp_path / "net.py")
    net = load_module(tmp_path / "net.py").build()

    # Plainly: which neurons a change can spread to the read ones from.
    seen = set(net.units.output_units.tolist())
    edges = [
        (int(i), int(j))
        for _, _, layer in net.named_projections()
        for i, j in zip(*layer.sparse_weight().detach().coalesce().indices(), strict=True)
    ]
    while more := {j for i, j in edges if i in seen} - seen:
        seen |= more
    lost = 16 - len(seen)
    assert 0 < lost < 16, "the graph has to have some of both"

    report = analyse(tmp_path / "net.py", **SMALL)
    assert of(report, "units.bias").proved == lost
    assert of(report, "units.log_tau").proved == lost
    assert all(p.inert >= p.proved for p in report.parameters)
    assert "no path leads" in of(report, "units.bias").reason


def test_saturation_of_leaky_units_is_that_of_their_activation(tmp_path: Path) -> None:
    graph = driven(worm(12), dynamics={"bias_per": "neuron"})
    Recurrent().emit(graph, "toy").write(tmp_path / "net.py")
    net = load_module(tmp_path / "net.py").build()
    assert analyse(net, **SMALL).populations[0].flat < 0.2
    with torch.no_grad():
        net.units.bias[:6] = 50.0
    (found,) = analyse(net, **SMALL).populations
    assert found.activation == "tanh"
    assert (found.always, found.dead) == (6, 0)
    assert found.flat >= 0.5


def test_silent_units_and_what_depends_on_the_input(tmp_path: Path) -> None:
    graph = driven(worm(12), dynamics={"activation": "relu", "bias_per": "neuron"})
    Recurrent().emit(graph, "toy").write(tmp_path / "net.py")
    net = load_module(tmp_path / "net.py").build()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0)
        net.units.bias[:3], net.units.bias[3:6] = -1.0, 1.0  # three are silent, three all alike
    report = analyse(net, **SMALL)
    (found,) = report.populations
    assert found.silent == pytest.approx(9 / 12)
    assert found.signal == 0
    assert "activity: silent units" in str(report)
    with torch.no_grad():
        net.units.bias.zero_()
        for parameter in net.parameters():
            parameter.add_(0.5)
    (found,) = analyse(net, **SMALL).populations
    assert found.silent == 0
    assert found.signal is not None
    assert 0.05 < found.signal < 1


# --- the command, and bad input -------------------------------------------------------------------


def test_the_command_prints_text_or_json(swimmer: Path) -> None:
    words = [str(swimmer), "--set", "n_joints=3", "--inputs", "8", "--seeds", "1"]
    text = CliRunner().invoke(main, ["analyse", *words])
    assert text.exit_code == 0, text.output
    assert "NcapSwimmer(n_joints=3)" in text.output
    assert "output[0] = 1 where round(step) mod 60 < 30, else -1" in text.output
    assert max(map(len, text.output.splitlines())) <= 100
    found = json.loads(CliRunner().invoke(main, ["analyse", *words, "--json"]).output)
    assert found["inert"] == ["contra"]
    assert found["options"] == {"n_joints": 3}
    assert found["parameters"][-1]["proved"] == 1


def test_bad_input_is_named(swimmer: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("x = 1\n")
    for module, options, error, words in (
        (tmp_path / "none.py", {}, CompileError, "no such file"),
        (other, {}, CompileError, "not made by ccompile"),
        (swimmer, {"n_joint": 3}, UnknownNameError, "n_joints"),
        (swimmer, {"n_joints": 0}, CompileError, "n_joints=0"),
        (swimmer, ["n_joints"], CompileError, "key=value"),
        (Small(a=1.0), {"a": 2}, CompileError, "already built"),
        (sys, {}, CompileError, "has no build"),
    ):
        with pytest.raises(error, match=words):
            analyse(module, options=options)
    for field in ("n_inputs", "n_seeds", "n_changes"):
        none: Any = {field: 0}
        with pytest.raises(CompileError, match=field):
            analyse(swimmer, **none)


def test_a_network_that_refuses_its_input_is_named() -> None:
    class Refusing(Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("not this input")

    with pytest.raises(CompileError, match="not this input"):
        analyse(Refusing(a=1.0))

    class Blind(torch.nn.Module):
        pass

    with pytest.raises(CompileError, match="example_input"):
        analyse(Blind())
