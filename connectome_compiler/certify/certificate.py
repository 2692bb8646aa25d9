"""Translation validation: an emitted module does what its graph says.

The module is imported in a fresh process, without the compiler's own layers, and its effective
weights and responses are compared with what ``PROVENANCE`` states, or with the whole graph. The
outcome is a short `Certificate`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectome_compiler.certify.again import follows
from connectome_compiler.certify.findings import Wrong
from connectome_compiler.certify.fresh import run_fresh
from connectome_compiler.errors import CompileError, VerifyError
from connectome_compiler.files import settled
from connectome_compiler.text import Row, counted, html_heading, html_table


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was checked of a module, and what was counted on the way."""

    module: str  # file name
    class_name: str
    style: str  # its name, and the distribution whose reading of it was compared with
    measured: bool
    n_parameters: int  # all trainable numbers
    n_connections: int
    n_projections: int
    n_pulses: int  # neurons that were pulsed, of all that have outputs in a projection
    n_neurons: int
    checks: tuple[str, ...]
    notes: tuple[str, ...]  # unproofread axons, free signs

    def lines(self) -> list[str]:
        """Return the certificate as text."""
        sizes = [
            counted(self.n_connections, "connection"),
            counted(self.n_projections, "projection"),
            counted(self.n_parameters, "parameter"),
        ]
        return [
            f"verified {self.module}: {', '.join(sizes)}",
            f"  style {self.style}",
            *(f"  ok  {check}" for check in self.checks),
            *(f"  note  {note}" for note in self.notes),
        ]

    def _repr_html_(self) -> str:
        head, style, *_ = self.lines()
        rows: list[Row] = [("", "check"), *(("ok", check) for check in self.checks)]
        rows += [("note", note) for note in self.notes]
        return html_heading(head) + html_table(rows, caption=style.strip())


def validate(module: Path, graph: Path | None = None, shown: str = "") -> Certificate:
    """Check the module at ``module``, in full against the saved ``graph`` if one is given.

    ``shown`` is what to call it, where it is checked elsewhere than it will stand.
    Raises `VerifyError` naming the projection and what is wrong with it, `CompileError` if there
    is nothing to check.
    """
    if module.is_dir():
        raise CompileError(str(module), "is a folder", "name a module in it, such as model.py")
    if not module.is_file():
        raise CompileError(str(module), "no such file", "ccompile build RECIPE --out model.py")
    if graph is not None and not (graph / "graph.json").is_file():
        raise CompileError(str(graph), "is not a saved graph", "it has no graph.json")
    return settled(module, lambda: _certificate(module, graph, shown))  # it may be built meanwhile


def _certificate(module: Path, graph: Path | None, shown: str) -> Certificate:
    command = [
        sys.executable,
        "-P",
        "-m",
        "connectome_compiler.certify.process",
        str(module.resolve()),
    ]
    if graph is not None:
        command.append(str(graph.resolve()))
    hint = _DEFECT if shown else "the module or its arrays were altered: build it again"
    word = secrets.token_hex(16)
    done = run_fresh(command, word)
    try:
        answer: dict[str, Any] = json.loads(done.out.splitlines()[-1])
        genuine = done.code == 0 and answer.pop("word") == word
    except (IndexError, KeyError, AttributeError, json.JSONDecodeError):
        genuine = False
    if not genuine:
        if trouble := done.trouble:  # which says nothing about the module
            raise CompileError(f"check of {shown or module}", *trouble)
        reason = done.last_words or f"exit code {done.code}"
        raise VerifyError(shown or str(module), f"cannot be imported: {reason}", hint)
    if "problem" in answer:
        if answer["where"] == "module":  # there is nothing to check: it is not one of ours
            hint = answer["hint"] or "give it a built module"
            raise VerifyError(shown or str(module), answer["problem"], hint)
        if answer["hint"]:
            hint = answer["hint"]
        elif answer["where"] == "graph" and graph is not None:
            hint = _stage(graph, answer.get("wanted", ""))
        raise VerifyError(f"{shown or module}: {answer['where']}", answer["problem"], hint)
    ran = answer.pop("statement")
    if graph is not None:
        try:
            same, line = follows(module, graph, ran)
        except Wrong as wrong:
            raise VerifyError(f"{shown or module}: {wrong.where}", wrong.problem, hint) from wrong
        answer["checks" if same else "notes"] += [line] if line else []
    answer["checks"], answer["notes"] = tuple(answer["checks"]), tuple(answer["notes"])
    return Certificate(module=Path(shown or module).name, **answer)


_DEFECT = "the module as built is not what the graph says: a defect of its template, please report"


def _stage(graph: Path, digest: str) -> str:
    """Say which saved graph a module is to be compared with: one beside ``graph``, if it is there.

    ``--save-after all`` saves the graph after each pass, all of them in one folder.
    """
    for page in sorted(graph.resolve().parent.glob("*/graph.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if json.loads(page.read_text(encoding="utf-8")).get("digest") == digest:
                right = graph.parent / page.parent.name
                return f"give it the graph after the last pass: --graph {right}"
    return "give it the graph after the last pass, saved by the build of this module (--save-after)"
