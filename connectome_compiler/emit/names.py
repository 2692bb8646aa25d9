"""Names for emitted source: identifiers from populations, class names from recipes."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return one Python identifier per name: ``L2/3.exc`` becomes ``l2_3_exc``; none twice."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_") or "unnamed"
        if plain[0].isdigit() or keyword.iskeyword(plain) or keyword.issoftkeyword(plain):
            plain = f"p_{plain}"
        unique, k = plain, 1
        while unique in found.values():
            k += 1
            unique = f"{plain}_{k}"
        found[name] = unique
    return found


def class_name(recipe: str) -> str:
    """Return the class of a recipe: ``microns-v1-surrogate`` becomes ``MicronsV1Surrogate``."""
    words = re.findall(r"[A-Za-z0-9]+", recipe)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and not name[0].isdigit() else f"Network{name}"
