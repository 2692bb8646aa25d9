"""The graphs of a build's stages, ``model.graphs/03-apply-dale``: those of the last build."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from connectome_compiler import files
from connectome_compiler.errors import CompileError
from connectome_compiler.ir.graph import Graph
from connectome_compiler.ir.storage import PAGE, move, must_be_ours, remove

STAGE = re.compile(r"\d\d+-([a-z0-9-]+)")
Keep = Callable[[str, Graph], Path]


@contextlib.contextmanager
def kept_stages(folder: Path) -> Iterator[Keep]:
    """Yield a function that saves the graph of a stage, by name, and returns its final path.

    If the body succeeds, the stages replace those of an earlier build in ``folder``; otherwise
    that is left as it was. If no stage is saved, no folder is made.
    """
    with contextlib.ExitStack() as stack:
        drafts: list[Path] = []

        def keep(name: str, graph: Graph) -> Path:
            _must_be_free(folder / name)
            if not drafts:
                with _writing(folder):
                    drafts.append(stack.enter_context(files.scratch(folder.parent, hidden=True)))
            graph.save(drafts[0] / name)
            return folder / name

        yield keep
        if drafts:
            with _writing(folder), files.locked(folder):
                _swap(drafts[0], folder)


def _must_be_free(place: Path) -> None:
    """Refuse a path that exists and is not a stage of an earlier build."""
    if place.parent.exists() and not place.parent.is_dir():
        raise CompileError(str(place.parent), "is a file, not a folder", "move it away")
    if not os.path.lexists(place):
        return
    if not place.is_symlink():
        must_be_ours(place, f"move {place.parent} away")
    # Without a page it is the remains of a killed save: `must_be_ours` saw nothing else in it.
    if place.is_symlink() or ((place / PAGE).exists() and not _is_stage(place)):
        raise CompileError(str(place), "is not a stage that ccompile saved", "move it away")


def _swap(drafts: Path, folder: Path) -> None:
    """Save the graphs in ``drafts`` to ``folder``, then remove earlier stages.

    Graph by graph: a kill may leave stages of two builds, but each is complete.
    """
    new = sorted(p.name for p in drafts.iterdir())
    for name in new:
        move(drafts / name, folder / name)
    for stage in sorted(folder.iterdir()):
        if stage.name not in new and _is_stage(stage):
            remove(stage)


def _is_stage(folder: Path) -> bool:
    """Return whether a folder is the saved stage of a build, under its original name."""
    match = STAGE.fullmatch(folder.name)
    if match is None or folder.is_symlink():
        return False
    try:
        must_be_ours(folder)
        page = json.loads((folder / PAGE).read_text(encoding="utf-8"))
        steps = [step["name"] for step in page["provenance"]["steps"]]
    except (CompileError, OSError, ValueError, KeyError, TypeError):
        return False
    return match[1] in ("source", *steps[-1:])


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        hint = files.way_out(error, "choose another --out")
        raise CompileError(str(folder), problem, hint) from error
