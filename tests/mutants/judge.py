"""Put mutants to the certificate and to the battery, on two processes at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mutants.cases import CASES

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Mutant:
    """An altered module, as text."""

    case: str
    name: str
    source: str
    needs_graph: bool = False  # its own statement was altered with it: only the graph can tell


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the certificate said of a mutant, and in what it differs from the original."""

    mutant: Mutant
    refused: str  # why, "" if it was certified
    without_graph: bool  # whether it was refused without looking at the graph
    differs: tuple[str, ...]  # labels of the battery; of one that was refused, the first

    @property
    def survives(self) -> bool:
        """Whether it computes something else, and is certified."""
        return bool(self.differs) and not self.refused


class _Workers:
    """Processes that have torch in them; each answers one line at a time."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        root = Path(__file__).parents[2]
        environment["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
        self.all = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for _ in range(PROCESSES)
        ]
        self.free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        for worker in self.all:
            self.free.put(worker)

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        worker = self.free.get()
        try:
            assert worker.stdin
            assert worker.stdout
            worker.stdin.write(json.dumps(job) + "\n")
            worker.stdin.flush()
            answer: dict[str, Any] = json.loads(worker.stdout.readline())
            return answer
        finally:
            self.free.put(worker)

    def end(self) -> None:
        for worker in self.all:
            worker.kill()
            worker.communicate()


class Court:
    """Judge mutants of all cases in ``folder``; a context manager, since it keeps processes.

    Without ``battery`` every mutant counts as one that computes something else. Raises
    `AssertionError` if an original is refused.
    """

    def __init__(self, folder: Path, battery: bool = True) -> None:
        self._battery = battery
        self._folder = folder
        self._workers = _Workers()
        self._jobs: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Court:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.end()

    def hear(self, cases: Iterable[str], lines: bool = False) -> dict[str, set[int]]:
        """Record what the originals compute; return which lines they run, where asked for."""
        new = [case for case in dict.fromkeys(cases) if case not in self._jobs]
        for case in new:
            here = self._folder / case.replace(" ", "_")
            here.mkdir()
            graph, emission = CASES[case].emit()
            assert emission.arrays is None, f"{case}: has a file of arrays"
            (here / "net.py").write_text(emission.source, encoding="utf-8")
            self._jobs[case] = {
                "module": str(here / "net.py"),
                "graph": str(graph.save(here / "graph")),
                "record": str(here / "behaviour.pt") if self._battery else "",
            }
        jobs = [{**self._jobs[case], "kind": "record", "lines": lines} for case in new]
        found = {}
        with ThreadPoolExecutor(PROCESSES) as pool:
            for case, answer in zip(new, pool.map(self._workers.ask, jobs), strict=True):
                assert not answer["refused"], f"{case}: {answer['refused']}"
                assert not answer["failed"], f"{case}: {answer['failed']}"
                found[case] = set(answer["lines"])
        return found

    def judge(self, mutants: Sequence[Mutant]) -> list[Verdict]:
        """Return the verdicts on all mutants, in their order."""
        self.hear(m.case for m in mutants)

        def tried(pair: tuple[int, Mutant]) -> Verdict:
            number, mutant = pair
            path = self._folder / mutant.case.replace(" ", "_") / f"m{number}" / "net.py"
            path.parent.mkdir()
            path.write_text(mutant.source, encoding="utf-8")
            job = {**self._jobs[mutant.case], "kind": "mutant", "module": str(path)}
            answer = self._workers.ask({**job, "needs_graph": mutant.needs_graph})
            shutil.rmtree(path.parent)
            told = bool(answer["without_graph"])
            return Verdict(mutant, answer["refused"], told, tuple(answer["differs"]))

        with ThreadPoolExecutor(PROCESSES) as pool:
            return list(pool.map(tried, enumerate(mutants)))
