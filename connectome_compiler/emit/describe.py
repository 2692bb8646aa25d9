"""What every emitted module says of itself first, whatever its style: its header."""

from __future__ import annotations

import textwrap

from connectome_compiler import __version__
from connectome_compiler.emit.literal import printable
from connectome_compiler.ir.provenance import FALLBACK, Evidence
from connectome_compiler.lower import Lowered
from connectome_compiler.statement import Wiring

WIDTH = 100
MOST_FILES = 3  # named in the header
MODELLED = (
    "MODELLED, NOT MEASURED: {made}. No such network was seen in a brain, and results obtained with"
    " it say nothing about a particular brain."
)
NOT_SAID = "how the connections were made is not stated"
UNKNOWN = (
    "NOT KNOWN TO BE MEASURED: how these connections were obtained is not stated. Check the origin"
    " of the files before you interpret results as those of a brain."
)


def header(
    lowered: Lowered, class_name: str, recipe: str, wiring: Wiring, paragraphs: list[str]
) -> str:
    """Return the text of the module's docstring; ``paragraphs`` are the template's own."""
    p = lowered.graph.provenance
    parts = [f"{class_name}: {p.title or p.source}."]
    if p.connectivity is Evidence.MODELLED:
        parts.append(MODELLED.format(made=p.made or NOT_SAID))
    elif p.connectivity is Evidence.UNKNOWN:
        parts.append(UNKNOWN)
    parts += paragraphs
    origin = [f"Data       {p.source} ({p.connectivity}; signs: {p.signs})"]
    origin += [f"Because    {why}" for why in p.first_notes(FALLBACK)]
    origin += [f"Control    {p.control}"] if p.control else []
    origin += [f"Signs      {lowered.signs}"]
    origin += [f"File       {f.name}, sha256 {f.sha256[:16]}..." for f in p.files[:MOST_FILES]]
    if (more := len(p.files) - MOST_FILES) > 0:
        origin += [f"           and {more} more, listed with their hashes in PROVENANCE"]
    origin += [f"Licence    {p.licence or 'not stated by the source'}"]
    origin += [f"Cite       {c}" for c in p.citations]
    parts.append("\n".join(_hanging(line, 11) for line in origin))
    steps = [*(step.name for step in p.steps), wiring.template.partition("(")[0]]
    made = f"Made by connectome-compiler {__version__} as {recipe}: {', '.join(steps)}."
    parts.append(_hanging(f"{made} What each step did stands below, in PROVENANCE.", 0))
    text = "\n\n".join(part if "\n" in part else textwrap.fill(part, WIDTH) for part in parts)
    return printable("\n".join(line.rstrip() for line in text.splitlines()))


def _hanging(line: str, indent: int) -> str:
    return textwrap.fill(
        line, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
