"""Compile a connectome into a PyTorch module.

``build("microns-v1", "model.py")`` is the whole pipeline. Its parts: `load` and `load_graph` return
a `Graph`, which is run through ``passes`` and built in one of the ``styles``; `verify` checks a
module. docs/python.md shows each. Nothing heavy is imported until it is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import connectome_compiler.passes as passes
    import connectome_compiler.templates as styles
    from connectome_compiler.ir.graph import Graph as Graph
    from connectome_compiler.pipeline import Built as Built
    from connectome_compiler.pipeline import build as build
    from connectome_compiler.pipeline import load as load
    from connectome_compiler.pipeline import load_graph as load_graph
    from connectome_compiler.pipeline import verify as verify
    from connectome_compiler.recipe import Recipe as Recipe
    from connectome_compiler.recipe import load_recipe as load_recipe

__all__ = [
    "Built",
    "Graph",
    "Recipe",
    "__version__",
    "build",
    "load",
    "load_graph",
    "load_recipe",
    "passes",
    "styles",
    "verify",
]
__version__ = "0.1.0"

if __name__ != "connectome_compiler":
    raise ImportError(f"import connectome_compiler, not {__name__}")

_here = Path(__file__).resolve().parent
if not (_here / "cli.py").exists():
    # A checkout: what a wheel holds in this folder (cli.py, data_adapters/, templates/)
    # lies beside it.
    __path__.append(str(_here.parent))

_LAZY = {
    "Built": "connectome_compiler.pipeline",
    "Graph": "connectome_compiler.ir.graph",
    "Recipe": "connectome_compiler.recipe",
    "build": "connectome_compiler.pipeline",
    "load": "connectome_compiler.pipeline",
    "load_graph": "connectome_compiler.pipeline",
    "load_recipe": "connectome_compiler.recipe",
    "passes": "connectome_compiler.passes",
    "styles": "connectome_compiler.templates",
    "verify": "connectome_compiler.pipeline",
}
_PACKAGES = {"passes", "styles"}


def __getattr__(name: str) -> Any:
    """Import a part of the public interface when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(_LAZY[name])
    return module if name in _PACKAGES else getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
