"""Build the same networks with two versions of the compiler, and train them, in turn.

Each recipe is built by this checkout and by another, in processes of their own and in turn, without
the certificate (small ones with it, too): CPU seconds with imports. Then both modules are imported
into one process, and the steps of both take turns (forward, backward, fused Adam; one thread,
float32). Medians; the ratio is this version over the other, with its quartiles over the turns.

Run: python benchmarks/module_versions.py OTHER_CHECKOUT [column worm mousenet brain] [--builds N]

brain: 140,000 neurons and 4 million connections, most of them local, from a table in Parquet.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from _common import time_in_turn

HERE = Path(__file__).resolve().parents[1]
COMPILE = """
import sys
checkout = sys.argv.pop(1)
sys.path.insert(0, checkout)
import connectome_compiler
assert connectome_compiler.__file__.startswith(checkout), connectome_compiler.__file__
from connectome_compiler.cli import main
main()
"""
CASES: dict[str, tuple[tuple[str, ...], tuple[int, ...], int | None]] = {
    # what is built; batches; steps in time
    "column": (("microns-v1",), (16, 64), None),
    "worm": (("celegans-cook2019",), (16,), 50),
    "mousenet": (
        ("mousenet", "--set", "classes=1000", "--set", "rng=legacy", "--set", "mask_seed=2021"),
        (2,),
        None,
    ),
    "brain": (("table", "--set", "edges=brain.parquet"), (4,), 5),
}
CERTIFIED = ("column", "worm")


def write_brain(folder: Path) -> None:
    """Write the connections of the case ``brain`` as a table."""
    import pandas as pd
    from recurrent import brain

    c = brain(140_000, 4_000_000)
    table = pd.DataFrame({"pre": c.pre.numpy(), "post": c.post.numpy()})
    table.assign(weight=1).to_parquet(folder / "brain.parquet")


def build(checkout: Path, folder: Path, words: tuple[str, ...], out: str) -> float:
    """Build a module there; return the CPU seconds of the process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", COMPILE, str(checkout), "build", *words, "--out", out]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def step(file: Path, batch: int, steps: int | None) -> Callable[[], None]:
    """Return a training step of the network in a module, as one call."""
    import torch

    spec = spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network = module.build()
    x = network.example_input(batch) if steps is None else network.example_input(batch, steps)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-6, fused=True)

    def run() -> None:
        out = network(x)
        (out if steps is None else out[0]).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return run


def main() -> None:
    """Build and measure in turn; print medians and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("cases", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--builds", type=int, default=5)
    options = parser.parse_args()
    sides = {"this": HERE, "other": options.other.resolve()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "brain" in options.cases:
            write_brain(folder)
        for case in options.cases:
            words, batches, steps = CASES[case]
            for how in (("--no-verify",), ()) if case in CERTIFIED else (("--no-verify",),):
                took: dict[str, list[float]] = {side: [] for side in sides}
                for _ in range(options.builds):
                    for side, checkout in sides.items():
                        out = f"{case}_{side}.py"
                        took[side].append(build(checkout, folder, (*words, *how), out))
                told(f"{case}: {'build' if how else 'build and verify'}, CPU s", took)
            for batch in batches:
                runs = {s: step(folder / f"{case}_{s}.py", batch, steps) for s in sides}
                times = time_in_turn(runs, repetitions=41, budget_s=120, clock=time.process_time)
                told(f"{case}: step, batch {batch}, CPU ms", times)


def told(what: str, took: dict[str, list[float]]) -> None:
    """Print the medians of both sides, and their ratio turn by turn."""
    ratios = [a / b for a, b in zip(took["this"], took["other"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    this, other = (statistics.median(took[side]) for side in ("this", "other"))
    print(
        f"{what:34} {this:9.2f} {other:9.2f}   {this / other:.3f} of medians,"
        f" {middle:.3f} ({low:.3f} to {high:.3f}) by turn",
        flush=True,
    )


if __name__ == "__main__":
    main()
