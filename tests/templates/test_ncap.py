"""The emitted text is as recorded; run, it is the published equations to the last bit."""

import copy
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from columns import load_module
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.process import probe
from connectome_compiler.data_adapters.ncap import Ncap as Source
from connectome_compiler.errors import CompileError
from connectome_compiler.ir import (
    AllToAll,
    Evidence,
    Fixed,
    Graded,
    Graph,
    Named,
    Node,
    OneToOne,
    PerConnection,
    Population,
    Port,
    Projection,
    Provenance,
    Shift,
    SquareWave,
    Swept,
    Synapses,
    Weights,
)
from connectome_compiler.templates.bionic.style import Bionic
from connectome_compiler.templates.ncap.style import Ncap
from connectome_compiler.templates.recurrent.style import Recurrent

REFERENCE: Any = load_module(Path(__file__).parents[1] / "tasks" / "ncap_reference.py")
SWITCHES = ("proprioception", "oscillator", "speed_control", "turn_control")
PLAIN = ("weight_sharing", "sign_constraints", "constant_init")


def written(path: Path, graph: Graph, **options: Any) -> Path:
    Ncap(**options).emit(graph, "ncap-swimmer").write(path)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("ncap") / "swimmer.py", Source().load())


@pytest.fixture(scope="module")
def swimmer(path: Path) -> Any:
    return load_module(path)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def overwrite(net: Any, seed: int = 1) -> None:
    for k, p in enumerate(net.parameters()):
        p.data.copy_(1.5 * noise(1, seed=1000 * seed + k))


# --- the text -------------------------------------------------------------------------------------


def test_source_is_as_recorded(golden: Callable[[str, str], None]) -> None:
    source = Ncap().emit(Source().load(), "ncap-swimmer").source
    layers = re.compile(r"(# --- layers -+\n).*(?=# --- the circuit)", re.DOTALL)
    golden("ncap_swimmer.py", layers.sub(r"\1\n# as in connectome_compiler.nn\n\n", source))


def test_source_is_clean_and_stands_alone(path: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run([*ruff, "check", "--isolated", path], check=True)
    subprocess.run(
        [*ruff, "format", "--isolated", "--check", "--line-length=100", path], check=True
    )
    imported = set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"torch"}
    assert not path.with_suffix(".safetensors").exists()


def test_build_and_forward_have_the_published_options(swimmer: Any) -> None:
    parameters = inspect.signature(swimmer.build).parameters
    asked = {n: p.default for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY}
    assert asked == {
        "n_joints": 5, "n_turn_joints": 1, "oscillator_period": 60, "weight_sharing": True,
        "sign_constraints": True, "constant_init": True, "proprioception": True,
        "oscillator": True, "speed_control": False, "turn_control": False,
    }  # fmt: skip
    forward = inspect.signature(swimmer.build().forward).parameters
    assert list(forward) == ["joints", "step", "right", "left", "speed"]
    assert [p.kind for p in forward.values()][2:] == [inspect.Parameter.KEYWORD_ONLY] * 3


def test_options_of_the_recipe_are_defaults_of_build(tmp_path: Path) -> None:
    options: dict[str, Any] = dict.fromkeys(("constant_init", "weight_sharing"), False)
    graph = Source(n_joints=3, n_turn_joints=2, oscillator_period=7).load()
    module = load_module(written(tmp_path / "n.py", graph, turn_control=True, **options))
    net = module.build()
    assert (net.n_joints, net.n_turn_joints, net.oscillator_period) == (3, 2, 7)
    assert net.turn_control
    assert not net.weight_sharing
    assert not net.constant_init


# --- the equations --------------------------------------------------------------------------------


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.sampled_from([1, 2, 3, 5, 9]))
    return {
        "n_joints": n,
        "n_turn_joints": draw(st.integers(1, n)),
        "oscillator_period": draw(st.sampled_from([1, 2, 3, 31, 60])),
        **{name: draw(st.booleans()) for name in (*PLAIN, *SWITCHES)},
    }


@settings(max_examples=80)
@given(bodies(), st.integers(0, 99), st.booleans(), st.sampled_from([1, 4]))
@example({"oscillator_period": 1}, 0, True, 1)
def test_agrees_with_the_equations_to_the_last_bit(
    swimmer: Any, options: dict[str, Any], seed: int, foreign: bool, batch: int
) -> None:
    torch.manual_seed(seed)
    net, plain = swimmer.build(**options), REFERENCE.build(**options)
    if foreign:
        overwrite(net, seed)
    assert [n for n, _ in net.named_parameters()] == [n for n, _ in plain.named_parameters()]
    plain.load_state_dict({n: p.detach().clone() for n, p in net.named_parameters()})
    joints = noise(batch, net.n_joints, seed=seed)
    step = torch.arange(batch)[:, None] * 7 + seed / 2  # halves among them, another in each row
    commands = {n: noise(batch, 1, seed=seed + k) for k, n in enumerate(("right", "left", "speed"))}
    found, wanted = (f(joints, step, **commands) for f in (net, plain))
    assert torch.equal(found, wanted)
    assert found.shape == (batch, net.n_joints)
    if wanted.requires_grad:
        gradients = [
            torch.autograd.grad(y.sum(), list(f.parameters()), allow_unused=True)
            for y, f in ((found, net), (wanted, plain))
        ]
        for one, other in zip(*gradients, strict=True):
            one, other = (torch.zeros(1) if g is None else g for g in (one, other))
            torch.testing.assert_close(one, other)


def test_default_weights_pass_each_bend_on_to_the_joint_behind(swimmer: Any) -> None:
    net, joints = swimmer.build(), 2 * noise(500, 5)
    steps = torch.arange(500.0)[:, None]
    torques = net(joints, steps)
    head = torch.where(steps % 60 < 30, 1.0, -1.0)
    assert torch.equal(torques, torch.cat([head, joints[:, :-1].clamp(-1, 1)], 1))


def test_odd_periods_give_the_last_step_to_the_ventral_side(swimmer: Any) -> None:
    heads = {
        period: [swimmer.build(oscillator_period=period)(torch.zeros(1, 5), t)[0, 0].item()
                 for t in torch.arange(6.0).reshape(6, 1, 1)]
        for period in (1, 3)
    }  # fmt: skip
    assert heads == {1: [-1.0] * 6, 3: [1.0, -1.0, -1.0] * 2}
    halves = swimmer.build(oscillator_period=2)
    steps = torch.tensor([[0.5], [1.5], [2.5], [3.5]])  # rounded to 0, 2, 2, 4
    assert halves(torch.zeros(4, 5), steps)[:, 0].tolist() == [1.0] * 4


@pytest.mark.parametrize("sharing", [True, False])
def test_contra_is_inert_without_commands_to_turn(swimmer: Any, sharing: bool) -> None:
    net = swimmer.build(weight_sharing=sharing)
    joints, steps = noise(300, 5), torch.arange(300.0)[:, None]
    answers = []
    for strength in (0.0, -0.1, -3.0, -50.0):
        for name, p in net.named_parameters():
            if name.startswith("contra"):
                p.data.fill_(strength)
        answers.append(net(joints, steps))
    assert all(torch.equal(y, answers[0]) for y in answers)
    answers[-1].sin().sum().backward()
    assert all(not p.grad.any() for n, p in net.named_parameters() if n.startswith("contra"))
    turning = swimmer.build(turn_control=True)
    half = torch.full((300, 1), 0.5)
    before = turning(joints, steps, right=half)
    turning.contra.data.fill_(-0.1)
    assert not torch.equal(turning(joints, steps, right=half), before)


def test_a_weight_of_the_wrong_sign_is_dead_and_zero_is_not(swimmer: Any) -> None:
    net, step = swimmer.build(), torch.zeros(1, 1)
    joints = torch.tensor([[0.5, -0.25, 0.5, -0.5, 0.5]])
    for raw, learns in ((-1e-6, False), (0.0, True)):
        net.zero_grad()
        net.prop.data.fill_(raw)
        net(joints, step).sin().sum().backward()
        assert (float(net.prop.grad) != 0) is learns
    assert all((w.to_dense() == 0).all() for k, w in net.effective_weights().items() if "prop" in k)


def test_at_zero_both_sides_pass_the_gradient_of_a_shared_weight(swimmer: Any) -> None:
    net = swimmer.build()
    net.ipsi.data.fill_(0.0)
    net(torch.full((1, 5), 0.5), torch.zeros(1, 1))[:, 0].sum().backward()
    assert float(net.ipsi.grad) == 1.0


COUNTS = {"shared": [4, 5, 5, 6], 2: [12, 14, 16, 18], 5: [30, 32, 40, 42], 13: [78, 80, 104, 106]}


@pytest.mark.parametrize("n", [2, 5, 13])
def test_numbers_of_parameters_are_those_published(swimmer: Any, n: int) -> None:
    for sharing in (True, False):
        found = [
            sum(
                p.numel()
                for p in swimmer.build(
                    n, weight_sharing=sharing, turn_control=turn, speed_control=speed
                ).parameters()
            )
            for speed in (False, True)
            for turn in (False, True)
        ]
        assert found == COUNTS["shared" if sharing else n]


def test_parameters_come_in_the_order_of_their_making(swimmer: Any) -> None:
    options = {"speed_control": True, "turn_control": True}
    shared = [n for n, _ in swimmer.build(**options).named_parameters()]
    assert shared == ["prop", "speed", "turn", "osc", "ipsi", "contra"]
    names = [n for n, _ in swimmer.build(2, weight_sharing=False, **options).named_parameters()]
    assert names == [
        "speed_d_0", "speed_v_0", "turn_d_0", "turn_v_0", "osc_d_0", "osc_v_0",
        "ipsi_d_0", "contra_d_0", "ipsi_v_0", "contra_v_0",
        "prop_d_1", "prop_v_1", "speed_d_1", "speed_v_1",
        "ipsi_d_1", "contra_d_1", "ipsi_v_1", "contra_v_1",
    ]  # fmt: skip
    assert {p.shape for p in swimmer.build(weight_sharing=False).parameters()} == {(1,)}


def test_starts_are_drawn_from_the_generator(swimmer: Any) -> None:
    def drawn(seed: int, **options: Any) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        nets = [swimmer.build(9, weight_sharing=False, **options) for _ in range(20)]
        stacked = [torch.cat(list(values)) for values in zip(*(n.parameters() for n in nets),
                                                             strict=True)]  # fmt: skip
        return dict(zip((n for n, _ in nets[0].named_parameters()), stacked, strict=True))

    uniform = drawn(0, constant_init=False)
    assert all(torch.equal(a, b) for a, b in zip(uniform.values(), drawn(0, constant_init=False)
                                                 .values(), strict=True))  # fmt: skip
    for name, values in uniform.items():
        sign = -1 if name.startswith("contra") else 1
        assert ((sign * values >= 0) & (sign * values <= 1)).all()
    assert 0.45 < float(torch.cat(list(uniform.values())).abs().mean()) < 0.55
    free = torch.cat(list(drawn(1, constant_init=False, sign_constraints=False).values()))
    assert 0.45 < float((free < 0).float().mean()) < 0.55
    coins = torch.cat(list(drawn(2, sign_constraints=False).values()))
    assert set(coins.tolist()) == {1.0, -1.0}
    assert 0.45 < float((coins < 0).float().mean()) < 0.55


def test_every_row_can_have_weights_of_its_own(swimmer: Any) -> None:
    net, joints, step = swimmer.build(), noise(4, 5), torch.arange(4.0)[:, None]
    many = {
        n: noise(4, seed=k).abs() * p.detach() for k, (n, p) in enumerate(net.named_parameters())
    }
    together = torch.func.functional_call(net, many, (joints, step))
    for row in range(4):
        net.load_weights({n: w[row : row + 1] for n, w in many.items()})
        assert torch.equal(net(joints[row, None], step[row, None]), together[row, None])


# --- state ----------------------------------------------------------------------------------------


def test_each_row_counts_its_steps(swimmer: Any) -> None:
    net, joints = swimmer.build(oscillator_period=4), noise(3, 5)
    for t in range(5):
        assert torch.equal(net(joints), net(joints, torch.full((3, 1), float(t))))
    over = torch.tensor([False, True, False])
    for rows in (over, over.numpy(), over.tolist()):  # as simulators say which episodes are over
        net.reset(rows)
        assert net.steps.tolist() == [[5], [0], [5]]
    assert torch.equal(net(joints), net(joints, torch.tensor([[5.0], [0.0], [5.0]])))
    with pytest.raises(ValueError, match=r"3 rows of steps of their own, and a batch of 2"):
        net(joints[:2])
    net.reset()
    assert torch.equal(net(joints[:2]), net(joints[:2], torch.zeros(2, 1)))
    with pytest.raises(ValueError, match=r"rows is torch.int64 \(3,\), expected bool"):
        net.reset(torch.tensor([0, 1, 0]))


def test_rows_in_step_go_on_in_another_batch(swimmer: Any) -> None:
    net = swimmer.build()
    for batch in (4, 4, 1, 13):
        net(noise(batch, 5))
    assert net.steps.flatten().tolist() == [4] * 13
    net(noise(0, 5))  # nobody took a step
    net(noise(2, 5))
    assert net.steps.tolist() == [[5], [5]]


def test_state_survives_saving_copies_and_inference(swimmer: Any) -> None:
    net, joints = swimmer.build(oscillator_period=6), noise(3, 5)
    with torch.inference_mode():
        net(joints)
        net.reset(torch.tensor([True, False, False]))
        net(joints)
    net(joints)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = swimmer.build(oscillator_period=6)
    other.load_state_dict(torch.load(file, weights_only=True))
    for same in (other, copy.deepcopy(net)):
        assert same.steps.tolist() == [[2], [3], [3]]
        assert torch.equal(same(joints), copy.deepcopy(net)(joints))
    assert net.steps.tolist() == [[2], [3], [3]]
    with pytest.raises(RuntimeError, match="size mismatch for steps"):
        net.load_state_dict({**net.state_dict(), "steps": torch.zeros(3, dtype=torch.int64)})


def test_compiled_and_exported_it_does_the_same(swimmer: Any) -> None:
    net, joints = swimmer.build(oscillator_period=4, turn_control=True), noise(3, 5)
    step, right = torch.arange(3.0)[:, None], torch.ones(3, 1)
    whole: Any = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(whole(joints, step, right=right), net(joints, step, right=right))
    net(joints)
    expected = [net(joints) for _ in range(6)]
    net.reset()
    net(joints)
    assert all(torch.equal(whole(joints), y) for y in expected)
    net.reset()
    net(joints)
    exported: Any = torch.export.export(copy.deepcopy(net), (joints,)).module()
    assert all(torch.equal(exported(joints), y) for y in expected)
    assert whole(joints * torch.nan, step).isnan().any()  # unchecked, but not unseen


# --- weights of other bodies ----------------------------------------------------------------------


def test_shared_weights_swim_in_any_body(swimmer: Any) -> None:
    net = swimmer.build(speed_control=True)
    overwrite(net)
    for other in (swimmer.build(9, speed_control=True), swimmer.build(3, weight_sharing=False)):
        left = other.load_weights(net.state_dict())
        assert left == ([] if other.speed_control else ["speed"])
        for name, p in other.named_parameters():
            assert torch.equal(p, net.get_parameter(name.split("_")[0]))
    net(noise(1, 5))
    steps = net.steps.clone()
    net.load_weights(swimmer.build(speed_control=True).state_dict())
    assert torch.equal(net.steps, steps)


def test_weights_of_joints_become_one_if_they_agree(swimmer: Any) -> None:
    shared, own = swimmer.build(), swimmer.build(weight_sharing=False)
    assert shared.load_weights(own.state_dict()) == []
    own.prop_d_2.data.fill_(3.0)
    before = {n: p.detach().clone() for n, p in shared.named_parameters()}
    with pytest.raises(ValueError, match=r"'prop' is shared here, but its joints have 8 different"):
        shared.load_weights(own.state_dict())
    assert all(torch.equal(p, before[n]) for n, p in shared.named_parameters())
    shared.load_weights(own.state_dict(), average=True)
    assert float(shared.prop) == 1.25
    longer = swimmer.build(7, weight_sharing=False)
    with pytest.raises(ValueError, match=r"the other body has no weight 'prop_d_5'"):
        longer.load_weights(own.state_dict())
    shorter = swimmer.build(4, weight_sharing=False)
    assert [n.split("_")[2] for n in shorter.load_weights(own.state_dict())] == ["4"] * 6


# --- bad input ------------------------------------------------------------------------------------

BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "fraction of a step": (
        {"oscillator_period": 60.5},
        "oscillator_period is 60.5, expected an in",
    ),
    "whole float": ({"oscillator_period": 60.0}, "oscillator_period is 60.0, expected an integer"),
    "no period": ({"oscillator_period": 0}, "oscillator_period is 0, expected an integer from 1"),
    "period in words": ({"oscillator_period": "60"}, "oscillator_period is '60', expected an int"),
    "truth for a number": ({"oscillator_period": True}, "oscillator_period is True, expected an "),
    "no joints": ({"n_joints": 0}, "n_joints is 0, expected an integer from 1 to 2147483647"),
    "more turn than are": ({"n_turn_joints": 6}, "n_turn_joints is 6, expected .* from 1 to 5"),
    "word for a switch": ({"oscillator": "no"}, "oscillator is 'no', expected True or False"),
    "unknown": ({"joints": 5}, "unexpected keyword argument 'joints'"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused(swimmer: Any, case: str) -> None:
    options, message = BAD_OPTIONS[case]
    with pytest.raises((TypeError, ValueError), match=message):
        swimmer.build(**options)


BAD_INPUT: dict[str, tuple[dict[str, Any], str]] = {
    "joints": (
        {"joints": torch.zeros(2, 4)},
        r"joints is \(2, 4\), expected a tensor \(batch, 5\)",
    ),
    "no batch": ({"joints": torch.zeros(5)}, r"joints is \(5,\), expected a tensor \(batch, 5\)"),
    "list": ({"joints": [0.0] * 5}, r"joints is list, expected a tensor"),
    "nan": ({"joints": torch.full((2, 5), torch.nan)}, r"joints\[0, 0\] is nan, expected finite"),
    "inf": ({"joints": torch.tensor([[0, 0, torch.inf, 0, 0]] * 2)}, r"joints\[0, 2\] is inf"),
    "step of all": ({"step": torch.zeros(1, 1)}, r"step is \(1, 1\), expected a tensor \(2, 1\)"),
    "flat step": ({"step": torch.zeros(2)}, r"step is \(2,\), expected a tensor \(2, 1\)"),
    "nan step": ({"step": torch.full((2, 1), torch.nan)}, r"step\[0, 0\] is nan"),
    "command": ({"right": torch.zeros(2, 2)}, r"right is \(2, 2\), expected a tensor \(2, 1\)"),
    "nan command": ({"speed": torch.full((2, 1), torch.nan)}, r"speed\[0, 0\] is nan"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_refused(swimmer: Any, case: str) -> None:
    given_, message = BAD_INPUT[case]
    net = swimmer.build(turn_control=True, speed_control=True)
    with pytest.raises(ValueError, match=message):
        net(**{"joints": torch.zeros(2, 5), **given_})


def test_parts_that_are_off_are_deaf(swimmer: Any) -> None:
    net, joints, step = swimmer.build(oscillator=False), noise(2, 5), torch.zeros(2, 1)
    nothing = torch.full((2, 1), torch.nan)
    assert torch.equal(net(joints, nothing, speed=nothing), net(joints, step))
    assert net.steps.tolist() == [[0]]  # nobody listens to the count


# --- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", [True, False])
def test_layers_are_the_connections_of_the_graph(swimmer: Any, sharing: bool) -> None:
    graph = Source().load()
    net = swimmer.build(weight_sharing=sharing, speed_control=True, turn_control=True)
    overwrite(net)
    found = {f"{a}->{b}": layer for a, b, layer in net.named_projections()}
    assert list(found) == [q.key for q in graph.connectome]
    weights = net.effective_weights()
    for q in graph.connectome:
        post, pre = q.connectivity.entries(*graph.shape(q))
        dense, polarity = weights[q.key].to_dense(), q.weights.polarity
        assert dense.shape == graph.shape(q)
        listed = set(zip(*(i.tolist() for i in weights[q.key].indices()), strict=True))
        assert listed == set(zip(post.tolist(), pre.tolist(), strict=True))
        assert (dense * polarity >= 0).all()
        x = noise(3, dense.shape[1])
        torch.testing.assert_close(found[q.key](x), x @ dense.t())
        assert found[q.key].weight.shape == ((1,) if sharing else (len(post),))
    assert net.effective_weights(all=True).keys() == weights.keys()
    assert len(list(swimmer.build().named_projections())) == 8


# --- verification ---------------------------------------------------------------------------------


def test_verification_compares_with_the_saved_graph(path: Path, tmp_path: Path) -> None:
    answer = probe(path, Source().load().save(tmp_path / "g"))
    assert (answer["n_connections"], answer["n_parameters"], answer["n_projections"]) == (42, 4, 12)
    with pytest.raises(Wrong, match="not the one that the module"):
        probe(path, Source(oscillator_period=61).load().save(tmp_path / "other"))


SABOTAGE = {
    "another joint ahead": ("proprioceptor_d[:, i - 1] *", "proprioceptor_d[:, i - 2] *"),
    "sides swapped": ('drive = b_d[i] * w[name("ipsi"', 'drive = b_v[i] * w[name("ipsi"'),
    "no saturation": ("b_d.append(drive.clamp(0, 1))", "b_d.append(drive.relu())"),
    "brake without rest": ("(1 - speed)", "(0 - speed)"),
    "wave by another half": ("period // 2", "(period + 1) // 2"),
    "steps not rounded": ("step.round()", "step.floor()"),
    "turn at all joints": ("every[:n_turn_joints]", "every"),
    "sign not held": ("weight.clamp(min=0) if sign > 0", "weight if sign > 0"),
    "sign held by size": ("weight.clamp(max=0)", "-weight.abs()"),
    "gradient let through": ("drive.clamp(0, 1)", "(drive + (drive.clamp(0, 1) - drive).detach())"),
    "steps that stand still": ("self.steps.add_(1)", "self.steps.add_(0)"),
    "reset of all": ("masked_fill_(rows[:, None].to(self.steps.device), 0)", "zero_()"),
    "part by another switch": ("every if speed_control else", "every if turn_control else"),
    "another start": ("torch.full((1,), float(sign))", "torch.full((1,), 0.5 * sign)"),
    "another default": ("constant_init: bool = True", "constant_init: bool = False"),
    "weights not spread": ("getattr(self, name).copy_(value)", "pass"),
    "another last bit": ("drive + b_v[i] * w", "drive + b_v[i] * 1.0000001 * w"),
}


@pytest.mark.parametrize("how", SABOTAGE)
def test_what_does_not_do_as_the_graph_says_is_found(how: str, path: Path, tmp_path: Path) -> None:
    old, new = SABOTAGE[how]
    source = path.read_text()
    assert old in source
    broken = tmp_path / "broken.py"
    broken.write_text(source.replace(old, new))
    with pytest.raises(Wrong):
        probe(broken, None)


# --- other motifs ---------------------------------------------------------------------------------

GRADED, LINEAR = Graded("graded"), Graded("linear")


def motif(
    cells: dict[str, tuple[int, Node]],
    fixed: list[tuple[str, str, int]],
    weighted: list[tuple[str, str, str, int, Any]],
    sign: Any = "clamp",
) -> Graph:
    """Make a graph whose inputs begin with "in", and whose output is "out"."""
    return Graph(
        tuple(
            Population(name, (n,), node=node, artificial=name.startswith(("in", "out")))
            for name, (n, node) in cells.items()
        ),
        (
            *(
                Projection(pre, post, OneToOne(), Fixed(polarity), delay=0)
                for pre, post, polarity in fixed
            ),
            *(
                Projection(pre, post, law, Named(name, polarity, sign), delay=0)
                for pre, post, name, polarity, law in weighted
            ),
        ),
        Provenance("other", connectivity=Evidence.MODELLED),
        tuple(
            Port(name, name, "out" if name == "out" else "in")
            for name in cells
            if name.startswith(("in", "out"))
        ),
    )


def crawler(n: int = 6, **options: Any) -> Graph:
    """Waves from tail to head, an interneuron that hears two joints behind, and one command."""
    return motif(
        {
            "in bend": (n, LINEAR),
            "in go": (1, LINEAR),
            "stretch": (n, GRADED),
            "drive/AVB": (1, Graded("sigmoid", rest=-0.5)),
            "VB": (n, Graded("tanh", rest=0.1)),
            "relay": (n, Graded("relu")),
            "muscle": (n, GRADED),
            "out": (n, LINEAR),
        },
        [("in bend", "stretch", -1), ("in go", "drive/AVB", 1), ("muscle", "out", 1)],
        [
            ("stretch", "VB", "class", 1, Shift(-2)),
            ("drive/AVB", "VB", "go", 1, AllToAll((0, 1, 2))),
            ("VB", "relay", "lateral", -1, Shift(-1)),
            ("VB", "muscle", "out", 1, OneToOne()),
            ("relay", "muscle", "out", 1, Shift(0)),
        ][: options.pop("most", 5)],
        **options,
    )


@pytest.mark.parametrize("sign", ["clamp", "abs", "smooth"])
def test_another_motif_compiles(tmp_path: Path, sign: str) -> None:
    g = crawler(sign=sign)
    g.verify()
    path = written(tmp_path / "crawler.py", g)
    answer = probe(path, g.save(tmp_path / "g"))
    assert answer["n_projections"] == 5
    module = load_module(path)
    assert module.PROVENANCE["motif"]["clock"] is None
    options = inspect.signature(module.build).parameters
    assert list(options)[:2] == ["n_in_bend", "n_go_in_bend"]
    assert {"proprioception", "go_control"} < options.keys()
    net = module.build(go_control=True)
    names = [n for n, _ in net.named_parameters()]
    assert names == ["p_class", "go", "lateral", "out"]
    overwrite(net)
    x, go = noise(4, 6), noise(4, 1)
    w = net.acting_weights()
    stretch, avb = (-x).clamp(0, 1), torch.sigmoid(go - 0.5)
    behind = torch.cat([stretch[:, 2:], torch.zeros(4, 2)], 1) * w["p_class"]
    first = (torch.arange(6) < 3) * avb * w["go"]
    vb = torch.tanh(0.1 + behind + first)
    relay = torch.relu(torch.cat([vb[:, 1:], torch.zeros(4, 1)], 1) * w["lateral"])
    expected = ((vb + relay) * w["out"]).clamp(0, 1)
    torch.testing.assert_close(net(x, in_go=go), expected)
    for tool in (["check"], ["format", "--check", "--line-length=100"]):
        subprocess.run([sys.executable, "-m", "ruff", *tool, "--isolated", path], check=True)


def test_two_waves_have_two_periods_and_one_clock(tmp_path: Path) -> None:
    wave = SquareWave(4)
    g = motif(
        {
            "in q": (3, LINEAR), "in t": (1, LINEAR), "fast": (2, wave),
            "slow": (2, SquareWave(10)), "B": (3, GRADED), "out": (3, LINEAR),
        },
        [("B", "out", -1)],
        [("fast", "B", "a", 1, AllToAll((0,), (0,))), ("slow", "B", "b", 1, AllToAll((0, 1), (1,))),
         ("in q", "B", "c", 1, Shift(1))],
    )  # fmt: skip
    ticks = Fixed(1)
    clock = [Projection("in t", w, AllToAll(), ticks, delay=0) for w in ("fast", "slow")]
    g = g.with_projections([*clock, *g.projections])
    path = written(tmp_path / "net.py", g)
    probe(path, None)
    net = load_module(path).build(slow_period=6)
    answers = [net(torch.zeros(1, 3), torch.tensor([[t]]))[0].tolist() for t in (0.0, 2.0, 3.0)]
    assert answers == [[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-1.0, -1.0, 0.0]]


def test_names_never_become_code(tmp_path: Path) -> None:
    g = Source(n_joints=2).load()
    odd = ["self", "torch", 'a"""b', "class", "{{ 1 }}", "drive", "w", "zero", "reach", "name"]
    odd += ["rates", "i", "len", "list", "B.1", "check_input"]
    renamed = dict(zip([p.name for p in g.populations], odd, strict=True))
    other = {"osc": "steps", "ipsi": "forward"}
    held = {
        q.key: replace(w, name=other.get(w.name, f"to{w.name}"[:6])) if isinstance(w, Named) else w
        for q in g.projections
        for w in [q.weights]
    }
    g = Graph(
        tuple(replace(p, name=renamed[p.name]) for p in g.populations),
        tuple(
            replace(q, pre=renamed[q.pre], post=renamed[q.post], weights=held[q.key])
            for q in g.projections
        ),
        g.provenance,
        tuple(replace(port, population=renamed[port.population]) for port in g.ports),
    )
    path = written(tmp_path / "net.py", g)
    probe(path, None)
    net = load_module(path).build()
    assert net(net.example_input(3)).shape == (3, 2)


def refused(g: Graph) -> str:
    g.verify()
    with pytest.raises(CompileError) as caught:
        Ncap().emit(g, "net")
    return str(caught.value)


def changed(key: str, **parts: Any) -> Graph:
    """Return the swimmer's graph with one projection changed."""
    g: Graph = Source().load()
    assert any(q.key == key for q in g.projections)
    return g.with_projections(replace(q, **parts) if q.key == key else q for q in g.projections)


def held(key: str, weights: Weights) -> Graph:
    """Return the swimmer's graph with one weight, wherever it stands, held otherwise."""
    g: Graph = Source().load()
    now = g.projection(key).weights
    return g.with_projections(
        replace(q, weights=weights) if q.weights == now else q for q in g.projections
    )


NO_MOTIF: dict[str, tuple[Callable[[], Graph], str]] = {
    "no output": (
        lambda: replace(Source().load(), ports=Source().load().ports[:-1]),
        "ncap: the graph has 0 outputs, not one",
    ),
    "no joints": (
        lambda: replace(Source().load(), ports=Source().load().ports[1:]),
        "ncap: joints: has no input",
    ),
    "driven input": (
        lambda: replace(Source().load(), ports=(*Source().load().ports, Port("x", "brake", "in"))),
        "ncap: brake: is driven and an input",
    ),
    "edge list": (
        lambda: changed("brake->B.d", connectivity=Synapses([0], [0], [1])),  # type: ignore[arg-type]
        "ncap: brake->B.d: is 1 connections",
    ),
    "some joints": (
        lambda: changed("turn.d->B.d", connectivity=AllToAll((1, 3))),
        "ncap: turn.d->B.d: is all to all, to 2 selected",
    ),
    "two units": (
        lambda: changed("oscillator->B.d", connectivity=AllToAll((0,))),
        "ncap: oscillator->B.d: is all to all, to 1 selected",
    ),
    "delay": (
        lambda: changed("brake->B.d", delay=1),
        "ncap: brake->B.d: has delay 1",
    ),
    "uniform": (
        lambda: held("brake->B.d", PerConnection(sign="abs", polarity=-1)),
        "ncap: brake->B.d: has weights held as PerConnection(",
    ),
    "free": (
        lambda: held("brake->B.d", PerConnection()),
        "ncap: brake->B.d: has weights held as PerConnection(",
    ),
    "fixed": (lambda: held("brake->B.d", Fixed(-1)), "ncap: brake->B.d: has a fixed weight"),
    "two mechanisms": (
        lambda: held("brake->B.d", Named("speed", -1, "abs")),
        "ncap: weights keep their signs in several ways: abs, clamp",
    ),
    "another reach": (
        lambda: changed("proprioceptor.v->B.v", connectivity=Shift(2)),
        "ncap: weight prop: its projections end at different joints",
    ),
    "two parts": (
        lambda: changed("brake->B.d", weights=Named("osc", 1, "clamp")),
        "ncap: weight osc: its projections",
    ),
    "noise": (
        lambda: replace(
            Source().load(),
            populations=tuple(
                replace(p, node=Swept(noise_std=1.0)) if p.name == "B.d" else p
                for p in Source().load().populations
            ),
        ),
        "ncap: B.d: has units Swept(",
    ),
}


@pytest.mark.parametrize("case", NO_MOTIF)
def test_what_is_no_motif_is_refused(case: str) -> None:
    make, message = NO_MOTIF[case]
    assert refused(make()).startswith(message)


@pytest.mark.parametrize("style", [Bionic(), Recurrent()])
def test_other_styles_refuse_a_motif(style: Any) -> None:
    with pytest.raises(CompileError):
        style.emit(Source().load(), "net")
