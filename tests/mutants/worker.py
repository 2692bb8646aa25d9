"""Judge mutants, each in a process of its own, forked from this one, which has torch in it.

Reads lines of JSON and answers each with one: ``python worker.py``, as `judge` starts it. Nothing
here runs a gradient or imports an emitted module, so that the processes made of it can.
"""

# ruff: noqa: B023  each is called before the loop goes on

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
import torch._dynamo
from mutants.battery import behaviour, differ

from connectome_compiler.certify.again import follows
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.meaning import meaning_of
from connectome_compiler.certify.process import probe
from connectome_compiler.registry import known

for style in known("template"):  # once, not in each process
    meaning_of({"template": style})

SECONDS = 90  # of computing, for one mutant; one that needs longer hangs


def imported(path: Path) -> Any:
    """Import the file at ``path``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def apart(call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns in a process forked for it, as JSON carries it."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if not child:
            code = 1
            try:
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                file.write(json.dumps(call()).encode())
                file.flush()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        file.seek(0)
        answer = file.read()
    return json.loads(answer) if answer and not status else f"ends with status {status}"


def refused(module: Path, saved: Path | None) -> str:
    """Return why the certificate refuses a module, "" if it does not."""
    try:
        ran = probe(module, saved)["statement"]
        if saved is not None:
            follows(module, saved, ran)
    except Wrong as wrong:
        return f"{wrong.where}: {wrong.problem}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return ""


def record(module: Path, to: Path) -> str:
    """Write down the behaviour of a module."""
    torch.save(list(behaviour(imported(module))), to)
    return ""


def executed(module: Path) -> list[int]:
    """Return the lines of a module that run while it is tried."""
    lines: set[int] = set()

    def inside(frame: Any, event: str, _: Any) -> Any:
        lines.add(frame.f_lineno)
        return inside

    def entered(frame: Any, event: str, _: Any) -> Any:
        return inside(frame, event, _) if frame.f_code.co_filename == str(module) else None

    sys.settrace(entered)
    try:
        for label, *_ in behaviour(imported(module)):
            if label == "after reset":  # what comes then are states and options: seldom new lines
                break
    finally:
        sys.settrace(None)
    return sorted(lines)


def differences(module: Path, known: list[tuple[str, Any, float]], every: bool) -> list[str]:
    """Return in what a module differs from the recorded one: all of it, or the first found."""
    found: list[str] = []
    try:
        parts = behaviour(imported(module))
        for label, value, slack in known:
            same_label, other, _ = next(parts)
            if same_label != label or differ(other, value, slack):
                found.append(label)
                if not every:
                    break
    except BaseException as error:
        found.append(f"{type(error).__name__}")
    return found


def main() -> None:
    """Answer line by line."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    records: dict[str, Any] = {}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what modules print is not an answer
    for line in sys.stdin:
        job = json.loads(line)
        module, graph, file = Path(job["module"]), Path(job["graph"]), Path(job["record"])
        answer: dict[str, Any] = {}
        if job["kind"] == "record":
            answer["refused"] = apart(lambda: refused(module, graph))
            answer["failed"] = job["record"] and apart(lambda: record(module, file))
            answer["lines"] = apart(lambda: executed(module)) if job["lines"] else []
            records.pop(str(file), None)
        else:
            why = "" if job["needs_graph"] else apart(lambda: refused(module, None))
            answer["without_graph"] = why
            answer["refused"] = why or apart(lambda: refused(module, graph))
            answer["differs"] = ["not looked for"]
            if job["record"]:
                if str(file) not in records:
                    records = {str(file): torch.load(file, weights_only=False)}
                known, every = records[str(file)], not answer["refused"]
                answer["differs"] = apart(lambda: differences(module, known, every))
            if isinstance(answer["differs"], str):
                answer["differs"] = [answer["differs"]]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
