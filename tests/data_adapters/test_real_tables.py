"""Files that people published: the counts of a right reading. They do not ship."""

from __future__ import annotations

# --- lists, rules, cells --------------------------------------------------------------------------


# --- matrices, networks, formats ------------------------------------------------------------------


# --- data in memory -------------------------------------------------------------------------------
