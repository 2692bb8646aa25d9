"""Module files as policies: what their networks see, and files that are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from connectome_compiler.errors import CompileError

pytest.importorskip("gymnasium")

import torch

from connectome_compiler.tasks.policy import (
    MlpPolicy,
    acting,
    digest,
    load_policy,
    network,
)

SPY = """
import torch
from torch import nn

class Spy(nn.Module):
    def __init__(self, n_joints):
        super().__init__()
        self.gain = nn.Parameter(torch.rand(1))
        self.seen = []
    def forward(self, joints{step}):
        self.seen.append((joints{step_value}))
        return self.gain * joints
    def reset(self):
        self.seen.clear()

def build(n_joints=3, gain=1.0):
    return Spy(n_joints)
"""


@pytest.fixture
def spy(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "spy.py"
        path.write_text(text)
        return path

    return write


def test_the_network_sees_shares_of_the_range_and_whole_steps(spy: Callable[[str], Path]) -> None:
    path = spy(SPY.format(step=", step", step_value=", step"))
    policy = load_policy(path, {})
    steps = np.arange(1001)
    observations = np.zeros((1001, 3 + 12 + 1), np.float32)
    observations[:, :3] = (np.pi / 2, -np.pi / 4, 9)  # the limit, half of it, beyond
    observations[:, -1] = steps / 1000 * 2 - 1
    torques = acting(policy)(observations)
    ((joints, step),) = network(policy).seen  # type: ignore[misc]
    assert torch.equal(joints, torch.tensor([[1.0, -0.5, 1.0]]).expand(1001, 3))
    assert torch.equal(step, torch.arange(1001.0)[:, None])
    assert torques.shape == (1001, 3)
    acting(policy)
    assert network(policy).seen == []  # reset


def test_a_network_may_do_without_steps(spy: Callable[[str], Path]) -> None:
    policy = load_policy(spy(SPY.format(step="", step_value=",")), {"n_joints": 4})
    assert policy.n_joints == 4
    assert acting(policy)(np.zeros((2, 4 + 15 + 1), np.float32)).shape == (2, 4)


def test_a_seed_is_a_start(spy: Callable[[str], Path]) -> None:
    path = spy(SPY.format(step="", step_value=","))
    before = torch.random.get_rng_state()
    starts = [float(next(load_policy(path, {}, seed=s).parameters()).detach()) for s in (0, 0, 1)]
    assert starts[0] == starts[1] != starts[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_perceptron_has_the_published_number_of_weights() -> None:
    # Bhattasali et al. 2022: 5 joints, time included.
    for n_hidden, n_weights in ((64, 6085), (256, 73_477)):
        assert sum(p.numel() for p in MlpPolicy(5, n_hidden).parameters()) == n_weights


def test_the_digest_is_that_of_the_module_and_not_of_weights_beside_it(tmp_path: Path) -> None:
    module = tmp_path / "net.py"
    module.write_text('ARRAYS_SHA256 = "00"')
    alone = digest(module)
    module.with_suffix(".safetensors").write_bytes(b"weights that were trained")
    assert digest(module) == alone
    module.write_text('ARRAYS_SHA256 = "01"')
    assert digest(module) != alone


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("1 +", {}, "cannot be imported: SyntaxError"),
        ("import no_such_thing", {}, "cannot be imported: ModuleNotFoundError"),
        ("x = 1", {}, "has no build"),
        ("def build(): return 7", {}, "returned int"),
        (SPY.format(step="", step_value=","), {"n_joint": 4}, "did you mean 'n_joints'"),
        ("def build(n): raise ValueError(f'{n} is odd')", {"n": 3}, r"build\(n=3\): 3 is odd"),
        ("import torch\ndef build(): return torch.nn.Identity()", {}, "no weights to train"),
        ("import torch\ndef build(): return torch.nn.Linear(5, 4)", {}, r"returned \(1, 4\)"),
        ("import torch\ndef build(): return torch.nn.Linear(4, 5)", {}, "does not take joints"),
    ],
)
def test_files_that_cannot_be_trained(
    text: str, options: dict[str, int], problem: str, spy: Callable[[str], Path]
) -> None:
    with pytest.raises(CompileError, match=problem):
        load_policy(spy(text), options)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no such file"):
        load_policy(tmp_path / "nothing.py", {})
    text = tmp_path / "net.txt"
    text.write_text("hello")
    with pytest.raises(CompileError, match="not a Python file"):
        load_policy(text, {})
