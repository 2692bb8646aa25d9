"""The reference itself: what its equations imply, and how many weights it has."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch


def reference() -> ModuleType:
    path = Path(__file__).with_name("ncap_reference.py")
    spec = importlib.util.spec_from_file_location("ncap_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_by_default_the_head_beats_and_each_joint_follows_the_one_ahead() -> None:
    net = reference().build(n_joints=6)
    q, t = torch.rand(500, 6) * 2.4 - 1.2, torch.randint(0, 1000, (500, 1)).float()
    torques = net(q, t)
    assert torch.equal(torques[:, :1], torch.where(t % 60 < 30, 1.0, -1.0))
    assert torch.equal(torques[:, 1:], q[:, :-1].clamp(-1, 1))


def test_without_a_step_it_counts() -> None:
    net = reference().build(n_joints=2, oscillator_period=3)
    head = [net(torch.zeros(4, 2))[0, 0].item() for _ in range(5)]
    assert head == [1, -1, -1, 1, -1]
    net.reset()
    assert net(torch.zeros(1, 2))[0, 0].item() == 1


@pytest.mark.parametrize("n", [2, 3, 5, 13])
def test_the_number_of_weights(n: int) -> None:
    build = reference().build
    assert [p for p, _ in build(n_joints=n).named_parameters()] == ["prop", "osc", "ipsi", "contra"]
    both = {"speed_control": True, "turn_control": True}
    assert len(list(build(n_joints=n, **both).parameters())) == 6
    assert len(list(build(n_joints=n, weight_sharing=False).parameters())) == 6 * n
    everything = build(n_joints=n, weight_sharing=False, **both)
    assert len(list(everything.parameters())) == 8 * n + 2
