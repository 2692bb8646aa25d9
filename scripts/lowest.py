"""Prepare an environment of the lowest versions that pyproject.toml allows: for make test-lowest.

    python scripts/lowest.py FOLDER

FOLDER is a new virtual environment of the same Python. Writes FOLDER/lowest.txt, a pin for each
dependency and each of the extra [test], and FOLDER/others.txt, constraints.txt without these. What
KEPT names is not lowered: the environment gets links to it, and to what it needs, in the one that
runs this script. Needs packaging (pytest brings it).
"""

from __future__ import annotations

import re
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
EXTRA = "test"
KEPT = "torch"  # large, and its old versions need old GPU libraries: not installed twice
FREE = {"pydantic-core"}  # bound to one version of what is lowered
PIN = re.compile(r"^([\w.-]+)==\S+$", re.MULTILINE)


def requirements(project: dict[str, Any], texts: list[str]) -> Iterator[Requirement]:
    """Yield what applies to this Python, extras of the project's own unfolded."""
    for requirement in map(Requirement, texts):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        if requirement.name != project["name"]:
            yield requirement
            continue
        for extra in sorted(requirement.extras):
            yield from requirements(project, project["optional-dependencies"][extra])


def floor(requirement: Requirement) -> str:
    """Return the lowest version that is allowed; each requirement states one."""
    (version,) = (s.version for s in requirement.specifier if s.operator in (">=", "=="))
    return version


def lowest() -> dict[str, str]:
    """Return the lowest version of everything but what is kept, by canonical name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"][EXTRA]]
    found = {canonicalize_name(r.name): floor(r) for r in requirements(project, texts)}
    return {name: version for name, version in found.items() if name != KEPT}


def needed(name: str, but: set[str]) -> set[str]:
    """Return the names of a distribution and of all that it needs here, without those in *but*."""
    found: set[str] = set()
    todo = {name}
    while todo:
        found.add(now := todo.pop())
        for requirement in map(Requirement, distribution(now).requires or ()):
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                todo |= {canonicalize_name(requirement.name)} - found - but
    return found


def link(name: str, folder: Path) -> None:
    """Link the files of an installed distribution into a folder."""
    installed = distribution(name)
    for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
        if not (folder / top).exists():  # a namespace that several share
            (folder / top).symlink_to(str(installed.locate_file(top)))


def main(folder: Path) -> None:
    """Write the pins, and link what is kept."""
    pins = lowest()
    exact = (ROOT / "constraints.txt").read_text("utf-8")
    but = FREE | set(pins)
    others = [m[0] for m in PIN.finditer(exact) if canonicalize_name(m[1]) not in but]
    lowered = (f"{name}=={version}\n" for name, version in sorted(pins.items()))
    (folder / "lowest.txt").write_text("".join(lowered), "utf-8")
    (folder / "others.txt").write_text("\n".join(others) + "\n", "utf-8")
    kept = folder.resolve() / "kept"
    kept.mkdir()
    for name in sorted(needed(KEPT, set(pins))):
        link(name, kept)
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder.resolve())})
    Path(site, "kept.pth").write_text(f"{kept}\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
