"""Ways in which files go wrong, each from a small input: read right, or asked."""

from __future__ import annotations

# --- lists, rules, cells --------------------------------------------------------------------------


# --- matrices, networks, formats ------------------------------------------------------------------


# --- data in memory -------------------------------------------------------------------------------
