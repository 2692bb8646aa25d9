"""Modules as far as writing looks at them: ``from fake_modules import fake``."""

import hashlib

from connectome_compiler.emit.emission import Emission
from connectome_compiler.emit.literal import Source, code, docstring, literal
from connectome_compiler.statement import MARK


def fake(arrays: bytes | None, remark: str = "") -> Emission:
    """Make a module that is not a network; ``remark`` is more source."""
    stated = f'ARRAYS_SHA256 = "{hashlib.sha256(arrays).hexdigest()}"\n' if arrays else ""
    source = code(
        "{}\n{}{}\n\n\nclass Net:\n    {}\n\n\n{}{}\n",
        docstring("A module."),
        Source(MARK.removesuffix("{")),
        literal({}),
        docstring("No network.", 4),
        Source(stated),
        Source(remark),
    )
    return Emission("Net", source, arrays)
