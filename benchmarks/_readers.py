"""What the benchmarks of readers share: each variant in a fresh process, in turn, and its costs."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path


def measure(variant: Callable[[Path], tuple[int, ...]], folder: Path) -> None:
    """Run one variant in this process and print what it took, and what it found."""
    wall = time.perf_counter()
    result = variant(folder)
    wall = time.perf_counter() - wall
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e3
    print(json.dumps([time.process_time(), wall, peak, result]))


def compare(
    title: str,
    commands: Mapping[str, Sequence[str]],
    repetitions: int,
    *,
    environment: Mapping[str, str] | None = None,
    apart: Iterable[str] = (),
) -> None:
    """Run the commands of all variants, which call `measure`, in turn; print medians.

    Exit with an error where variants disagree in what they found; those ``apart`` find nothing.
    """
    runs: dict[str, list[list[float]]] = {name: [] for name in commands}
    results = set()
    for _ in range(repetitions):
        for name, command in commands.items():
            env = os.environ | dict(environment or {})
            run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            *numbers, result = json.loads(run.stdout)
            runs[name].append(numbers)
            if name not in apart:
                results.add(tuple(result))
    print(title, *(f"  {r}" for r in results), sep="\n")
    print(f"{'':10}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}")
    for name, measured in runs.items():
        cpu, wall, peak = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{name:10}{cpu:8.2f}{wall:8.2f}{peak:9.0f}")
    if len(results) > 1:
        sys.exit("the variants disagree")
