import subprocess
import sys

import pytest

from connectome_compiler.certify.no_compiler import without_compiler

DIFFERENTIATED = """
def differentiated():
    double = torch.func.grad(torch.func.grad(lambda x: (2 * x).abs() ** 3))
    assert double(torch.tensor(1.0)) == 48
    twice = torch.library.custom_op("test::twice", lambda x: 2 * x, mutates_args=(), schema=SCHEMA)
    assert twice(torch.tensor(1.0)) == 2
"""
START = f"""
import sys, torch
from connectome_compiler.certify.no_compiler import without_compiler
SCHEMA = "(Tensor x) -> Tensor"
{DIFFERENTIATED}
"""
SPARED = """
with without_compiler():
    differentiated()
assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
"""
WANTED = {
    "a call": "torch._dynamo.reset()",
    "a submodule": "import torch._dynamo.config as config; config.cache_size_limit",
    "another of its parts": "torch._dynamo.compiled_autograd.compiled_autograd_enabled",
}


def _runs(text: str) -> None:
    done = subprocess.run([sys.executable, "-c", START + text], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_the_compiler_is_not_imported_to_be_left_alone() -> None:
    _runs(SPARED)


@pytest.mark.parametrize("use", [pytest.param(use, id=name) for name, use in WANTED.items()])
def test_the_compiler_is_there_as_soon_as_it_is_wanted(use: str) -> None:
    _runs(
        "with without_compiler():\n"
        f"    {use}\n"
        "    assert torch._dynamo is sys.modules['torch._dynamo']\n"
        "assert torch._dynamo is sys.modules['torch._dynamo'] and torch._dynamo.optimize\n"
        "differentiated()"
    )


def test_a_compiler_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = object()
    monkeypatch.setitem(sys.modules, "torch._dynamo", loaded)
    with without_compiler():
        assert sys.modules["torch._dynamo"] is loaded
    assert sys.modules["torch._dynamo"] is loaded
