"""How the connections of a file are known: files cannot say, so the user has to."""

from __future__ import annotations

from typing import Literal

Vouched = Literal["unknown", "measured", "predicted", "modelled"]

# The attribute that `Graph.to_networkx` writes is trusted only if it lowers the evidence: anyone
# can write "measured" into a file.
LESS_THAN_MEASURED = ("predicted", "modelled")


def vouched(evidence: Vouched) -> str:
    """Return the note that says who stated the evidence."""
    if evidence == "unknown":
        return "neither the files nor the user say how the connections are known (evidence)"
    return f"{evidence} according to the user (evidence); the files do not say"
