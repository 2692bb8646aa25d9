"""Every block of code in the README and the docs runs, in order, as a reader would run it.

Blocks marked ``sh`` set machines up; `.ci/run` does what they say. All others are run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    bin_folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "CCOMPILE_CACHE": str(tmp_path / "cache"),
        # No network: a proxy that is not there refuses at once.
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        "no_proxy": "",
    }
    code = [
        ("set -euo pipefail\n" + text, ["bash", "-c"])
        if language == "bash"
        else (text, [sys.executable, "-c"])
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]
    for text, command in code:
        done = subprocess.run(
            [*command, text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
