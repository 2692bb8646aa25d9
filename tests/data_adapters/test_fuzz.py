"""Whatever a file holds, a reader makes a graph of it or says in a few words why not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_inputs import KINDS

SCRIPT = Path(__file__).parents[1] / "fuzz_inputs.py"
N_INPUTS, SECONDS = 60, 170


def tried(kind: str, seed: int, n: int, seconds: float) -> tuple[int, list[str]]:
    """Return how many inputs were tried, and what was wrong with any."""
    command = [sys.executable, str(SCRIPT), kind, str(seed), "0", str(n)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        output, ended = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:  # a busy machine: what was tried, counts
        output, ended = (error.stdout or b"").decode(), 0
    lines = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
    answers = [line for line in lines if "wrong" in line]
    wrong = [f"input {line['input']}: {line['wrong']}" for line in answers if line["wrong"]]
    if ended:
        wrong.append(f"input {len(answers)}: the process died, {ended}")
    return len(answers), wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_altered_inputs_give_a_graph_or_a_short_error(kind: str) -> None:
    n, wrong = tried(kind, seed=0, n=N_INPUTS, seconds=SECONDS)
    assert not wrong, "\n".join(wrong)
    assert n >= 10
