"""Compile a connectome into a PyTorch module.

``build("microns-v1", out="model.py")`` is the whole pipeline; ``load_graph``, ``load_recipe`` and
the sub-packages ``ir``, ``passes`` and ``emit`` are its parts. Nothing heavy is imported until it
is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connectome_compiler.pipeline import build as build
    from connectome_compiler.pipeline import load_graph as load_graph
    from connectome_compiler.recipe import load_recipe as load_recipe

__all__ = ["__version__", "build", "load_graph", "load_recipe"]
__version__ = "0.1.0"

if __name__ != "connectome_compiler":
    raise ImportError(f"import connectome_compiler, not {__name__}")

_here = Path(__file__).resolve().parent
if not (_here / "cli.py").exists():
    # A checkout: what a wheel holds in this folder (cli.py, data_adapters/, templates/)
    # lies beside it.
    __path__.append(str(_here.parent))

_LAZY = {
    "build": "connectome_compiler.pipeline",
    "load_graph": "connectome_compiler.pipeline",
    "load_recipe": "connectome_compiler.recipe",
}


def __getattr__(name: str) -> Any:
    """Import a part of the public interface when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
