"""Every hint, followed: what comes out is right."""

from __future__ import annotations

# --- lists, rules, cells --------------------------------------------------------------------------


# --- matrices, networks, formats ------------------------------------------------------------------


# --- data in memory -------------------------------------------------------------------------------
