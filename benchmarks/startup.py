"""CPU time of the command line: its help, and a build with and without verification.

    python benchmarks/startup.py [--repetitions 9] [--builds 3]

User and system time of whole processes, children included, all variants in turn. Help is compared
with the smallest program that says something as useful: bare Python with argparse.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CCOMPILE = str(Path(sys.executable).parent / "ccompile")
ARGPARSE = """
import argparse
p = argparse.ArgumentParser(description="Compile a connectome into a PyTorch module.")
s = p.add_subparsers()
for name in ("build", "fetch", "inspect", "list", "verify"):
    s.add_parser(name, help="One of the commands.").add_argument("recipe")
p.parse_args(["--help"])
"""
HELP = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "argparse": [sys.executable, "-c", ARGPARSE],
    "click": [sys.executable, "-c", "import click; click.Group('x').main(['--help'])"],
    "ccompile --help": [CCOMPILE, "--help"],
    "ccompile list": [CCOMPILE, "list"],
}
LINE = [CCOMPILE, "build", "microns-v1-surrogate"]
BUILDS = {
    "build --no-verify": [*LINE, "--no-verify"],
    "build": LINE,
    "import torch": [sys.executable, "-c", "import torch"],
}


def cpu_seconds(command: Sequence[str], folder: str) -> float:
    """Return the CPU time of a process and its children."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(commands: Mapping[str, Sequence[str]], repetitions: int) -> dict[str, list[float]]:
    """Run all commands in turn, in an order drawn anew each time, after one warm-up."""
    names, shuffle = list(commands), random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repetitions + 1):
            shuffle(names)
            for name in names:
                used = cpu_seconds(commands[name], folder)
                if turn:
                    times[name].append(used)
    return times


def report(times: Mapping[str, Sequence[float]], baseline: str) -> None:
    """Print medians, ranges and ratios to ``baseline``."""
    base = statistics.median(times[baseline])
    for name, values in times.items():
        middle = statistics.median(values)
        print(
            f"{name:<20}{middle:8.3f} s   {min(values):.3f} - {max(values):.3f}"
            f"   {middle / base:6.2f} x {baseline}",
            flush=True,
        )


def main() -> None:
    """Measure help, then builds."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--repetitions", type=int, default=9)
    p.add_argument("--builds", type=int, default=3)
    options = p.parse_args()
    report(measure(HELP, options.repetitions), "argparse")
    print()
    report(measure(BUILDS, options.builds), "build --no-verify")


if __name__ == "__main__":
    main()
