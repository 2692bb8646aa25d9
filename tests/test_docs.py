"""Every block of code in the README, the docs and the notebooks runs, as a reader would run it.

Blocks marked ``sh`` set machines up; `.ci/run` does what they say. All others are run.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import connectome_compiler as cc

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path) -> None:
    """Run a command in ``folder``, with the installed ``ccompile`` and without network."""
    bin_folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "CCOMPILE_CACHE": str(folder / "cache"),
        "MPLBACKEND": "agg",
        # No network: a proxy that is not there refuses at once.
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        "no_proxy": "",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "bash":
            run(["bash", "-c", "set -euo pipefail\n" + text], tmp_path)
        else:
            run([sys.executable, "-c", text], tmp_path)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.name)
def test_notebooks_run(notebook: Path, tmp_path: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    run([sys.executable, "-c", "\n".join(code)], tmp_path)
    assert not any(cell.get("outputs") for cell in cells), "clear the outputs before committing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_shows_the_module_that_is_built(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """``pytest --update-golden`` takes as many lines from where each part begins."""
    page = ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    found = re.search(r"<!-- worm.py -->\n```py\n(.*?)\n```\n", text, re.DOTALL)
    assert found
    shown = [part.split("\n") for part in found[1].split("\n...\n")]

    cc.build("celegans-cook2019", tmp_path / "worm.py", verify=False)
    lines = (tmp_path / "worm.py").read_text(encoding="utf-8").split("\n")

    starts = [lines.index(part[0]) for part in shown]
    built = [lines[k : k + len(part)] for k, part in zip(starts, shown, strict=True)]
    assert starts == sorted(starts)
    if request.config.getoption("--update-golden"):
        now = "\n...\n".join("\n".join(part) for part in built)
        page.write_text(text.replace(found[1], now), encoding="utf-8")
    else:
        assert shown == built
