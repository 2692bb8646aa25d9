"""The default definition of the V1 column of MICrONS; importing this is light."""

from __future__ import annotations

from typing import Literal

# How its cells are selected: by the table that typed them, by position in a prism, or by the first
# of these that the data allow.
Column = Literal["auto", "types", "prism", "all"]

# The table of the release with the manual types of the column's cells.
CELL_TYPE_SOURCE = "allen_v1_column_types_slanted_ref"
# Side of the square column, um (Schneider-Mizell et al. 2025, Nature 640:448).
PRISM_WIDTH_UM = 100.0
