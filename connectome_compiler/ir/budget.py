"""How large a network may be: a typo must not fill the memory, or run for days."""

from __future__ import annotations

from connectome_compiler.errors import CompileError

MOST_UNITS = 10**9  # all the neurons of a mouse are 10**8; indices of connections are int32
MOST_WEIGHTS = 2**32  # 17 GB as float32; a window over so many pairs takes a minute to list


def must_fit(where: str, *, units: int = 0, weights: int = 0) -> None:
    """Raise `CompileError` for more units, or more weights by a law, than can be compiled."""
    for n, most, what in ((units, MOST_UNITS, "units"), (weights, MOST_WEIGHTS, "weights")):
        if n > most:
            raise CompileError(where, f"would have {n:,} {what}; the limit is {most:,}")
