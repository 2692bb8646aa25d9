"""What readers make of files, to compare; and files that were damaged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connectome_compiler.data_adapters._raw import Raw
from connectome_compiler.data_adapters._readers import ReadOptions, reader_of

# Made matrices may be symmetric or half of a symmetric one, or have totals, by chance.
BY_CHANCE = {"kind": "chemical", "mirror": "no", "totals": "keep"}
PRE_POST = ReadOptions(orientation="pre-post", **BY_CHANCE)


def read(path: Path, options: ReadOptions = PRE_POST) -> Raw:
    """Read a file by the reader that recognises it."""
    reader = reader_of(path)
    assert reader is not None, "not recognised"
    return reader.load(path, options)


def edges(raw: Raw) -> dict[tuple[Any, Any], float]:
    """Return weights by pre and post, each pair of which occurs once."""
    found = {(e["pre"], e["post"]): e["weight"] for e in raw.edges.to_pylist()}
    assert len(found) == raw.edges.num_rows
    return found


def ids(raw: Raw) -> list[Any]:
    """Return the ids of the cells, in their order."""
    assert raw.cells is not None
    return list(raw.cells.column("neuron_id").to_pylist())


def damaged(whole: bytes, rng: random.Random, n: int) -> Iterator[bytes]:
    """Yield ``n`` times a file with a few other bytes, every second one cut."""
    for k in range(n):
        content = bytearray(whole)
        if k % 2:
            del content[rng.randrange(len(content)) :]
        for _ in range(rng.randint(1, 4)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        yield bytes(content)
