"""What is said of the stability of a step, against numbers worked out by hand and against runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from columns import load_module
from scipy.sparse import csr_array
from worms import driven, worm

from connectome_compiler.analysis import analyse
from connectome_compiler.certify.process import probe
from connectome_compiler.errors import CompileError
from connectome_compiler.templates.recurrent import stability_meaning as stability
from connectome_compiler.templates.recurrent.stability_meaning import Array, Dynamics
from connectome_compiler.templates.recurrent.style import Recurrent


def linear(
    chemical: Any, dt_ms: float, tau_ms: float = 50.0, gaps: Any = None, bias: float = 0.0
) -> Dynamics:
    """Return linear units of one time constant."""
    weights = np.array(chemical, float)
    n = len(weights)
    coupled = np.zeros((n, n)) if gaps is None else np.array(gaps, float)

    def parts(dt_ms: float) -> Array:
        alone = 1 - np.exp(-dt_ms / np.full(n, tau_ms))
        return alone / np.sqrt(1 + alone**2 * ((1 + 2 * coupled.sum(1)) ** 2 - 1))

    return Dynamics(
        csr_array(weights),
        csr_array(coupled),
        np.full(n, tau_ms),
        np.full(n, bias),
        dt_ms,
        lambda drive: drive,
        np.ones_like,
        parts,
    )


def test_a_unit_that_inhibits_itself_is_stable_for_short_steps_alone() -> None:
    """The factor of a step is 1 - a (1 + 8): stable below a = 2 / 9, which is 12.57 ms."""
    words = linear([[-8.0]], 20.0).told()
    assert "grow: a step of 20 ms has a spectral radius of 1.97" in words
    (stable,) = map(float, re.findall(r"the step is too long, and dt_ms=(\S+) is stable", words))
    assert 12.0 <= stable < 12.57
    assert "shrink" in linear([[-8.0]], stable).told()  # the hint, followed
    assert "grow" in linear([[-8.0]], 12.7).told()


def test_a_unit_that_excites_itself_is_unstable_at_any_step() -> None:
    for dt_ms in (0.1, 20.0, 500.0):
        assert "the network that is unstable, at any dt_ms" in linear([[1.1]], dt_ms).told()
    assert "shrink: a step of 20 ms has a spectral radius of 0.934" in linear([[0.8]], 20.0).told()


def test_a_ring_that_oscillates() -> None:
    """A pair of eigenvalues +-3i: in time it spirals in, in long steps out."""
    words = linear([[0, -3.0], [3.0, 0]], 20.0).told()
    (stable,) = map(float, re.findall(r"dt_ms=(\S+) is stable", words))
    exact = -50 * np.log(1 - 2 / 10)  # |1 - a + 3 a i| < 1 for a < 2 / (1 + 9)
    assert 0.95 * exact < stable <= exact


@pytest.mark.parametrize("dt_ms", [1.0, 20.0, 1000.0])
def test_gap_junctions_alone_are_stable_at_any_step(dt_ms: float) -> None:
    gaps = 50.0 * (np.ones((6, 6)) - np.eye(6))
    assert "shrink" in linear(np.zeros((6, 6)), dt_ms, gaps=gaps).told()


def test_many_neurons_are_told_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    chemical = rng.normal(size=(200, 200)) * 0.9 / 200**0.5
    few = linear(chemical, 20.0, bias=0.1).told()
    monkeypatch.setattr(stability, "FEW", 0)
    many = linear(chemical, 20.0, bias=0.1).told()
    numbers = [float(re.findall(r"radius of ([\d.]+)", words)[0]) for words in (few, many)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.01)
    assert "dt_ms=" in linear(chemical - 30 * np.eye(200), 20.0).told()


def test_rates_that_never_rest_are_said_to_do_so() -> None:
    words = linear([[1.5]], 20.0, bias=1.0).told()
    assert words.startswith("where rates are after a while without input small differences grow")
    assert linear(np.zeros((0, 0)), 20.0).told() == ""


def test_a_module_is_told_what_its_step_does_at_the_start_and_trained(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    Recurrent(spectral_radius=0.9).emit(driven(worm()), "toy").write(path)
    (note,) = [note for note in probe(path, None)["notes"] if "spectral radius" in note]
    assert note.startswith("at rest small differences shrink: a step of 20 ms")
    net = load_module(path).build()
    with torch.no_grad():  # every neuron is inhibited by others, and by far too much
        net.neurons_to_neurons.weight.fill_(-40.0)
        net.units.log_tau.fill_(np.log(10.0))
    for file in (tmp_path / "net.pt", tmp_path / "net.safetensors"):
        if file.suffix == ".pt":
            torch.save(net.state_dict(), file)
        else:
            from safetensors.torch import save_file

            save_file(net.state_dict(), file)
        found = analyse(path, n_inputs=4, n_seeds=1, n_changes=1, state=file)
        (words,) = [note for note in found.notes if "spectral radius" in note]
        assert "grow" in words
    fresh = analyse(path, n_inputs=4, n_seeds=1, n_changes=1)
    assert any("small differences shrink" in note for note in fresh.notes)


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    Recurrent().emit(driven(worm()), "toy").write(path)
    with pytest.raises(CompileError, match=r"no such file\n.*save net.state_dict"):
        analyse(path, state=tmp_path / "lacks.pt")
    (tmp_path / "text.pt").write_text("no state")
    with pytest.raises(CompileError, match=r"holds no state: .*\n.*torch.save"):
        analyse(path, state=tmp_path / "text.pt")
    other = tmp_path / "other.py"
    Recurrent().emit(driven(worm(seed=1)), "toy").write(other)
    torch.save(load_module(other).build().state_dict(), tmp_path / "other.pt")
    with pytest.raises(CompileError, match=r"is no state of this network: [\s\S]*another network"):
        analyse(path, state=tmp_path / "other.pt")
