"""How the connections of a file are known: no file vouches for itself, so the user has to say."""

from __future__ import annotations

from typing import Literal

Vouched = Literal["unknown", "measured", "predicted", "modelled"]

# What `Graph.to_networkx` says of a graph is believed where it makes less of it: anybody can write
# "measured" into a file.
LESS_THAN_MEASURED = ("predicted", "modelled")


def vouched(evidence: Vouched) -> str:
    """Return the note that says whose word it is."""
    if evidence == "unknown":
        return "the files do not say how the connections are known, nor did anybody else (evidence)"
    return f"taken for {evidence} on the word of whoever built this (evidence): files do not say"
