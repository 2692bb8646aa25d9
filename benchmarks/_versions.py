"""What benchmarks of two versions print: CPU seconds and peak memory of each side."""

import statistics
from collections.abc import Mapping, Sequence


def told(runs: Mapping[tuple[str, str], Sequence[tuple[float, float]]]) -> None:
    """Print medians, with the least and the most, of (CPU s, peak MB) by what and by side."""
    print(f"{'':22}{'CPU s':>8}{'least':>8}{'most':>8}{'peak MB':>9}")
    for (what, side), measured in runs.items():
        cpu, peak = zip(*measured, strict=True)
        row = f"{statistics.median(cpu):8.2f}{min(cpu):8.2f}{max(cpu):8.2f}"
        print(f"{what:16}{side:6}{row}{statistics.median(peak):9.0f}", flush=True)
