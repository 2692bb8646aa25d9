"""What an emitted module states of itself, ``PROVENANCE``: its format, mark and hashes."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

from connectome_compiler.ir.digest import statement_digest as statement_digest

STATEMENT = 2  # the format of PROVENANCE: the first one had neither options nor state
MARK = "PROVENANCE: dict[str, Any] = {"  # in every emitted module: no other file is overwritten


def header_digest(docstring: str) -> str:
    """Return the hash of a module's docstring, however much of its margin Python kept."""
    return hashlib.sha256(inspect.cleandoc(docstring).encode()).hexdigest()


def style_of(stated: dict[str, Any]) -> str:
    """Return the name of the style that a module says it was made with."""
    return str(stated["template"]).partition("(")[0]
