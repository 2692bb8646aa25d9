"""Words for transmitters, and the sign that a transmitter has in a species.

The sign depends on the receptor, not on the transmitter. The tables hold the usual sign in a
species; comments mark those that are conventions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from connectome_compiler.errors import CompileError, UnknownNameError

# Lower-case spellings, by the word used here. Blanks, "-" and "_" do not count.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "acetylcholine": ("ach", "cholinergic"),
    "glutamate": ("glut", "glu", "glutamatergic"),
    "gaba": ("gabaergic", "gamma-aminobutyric acid"),
    "glycine": ("gly", "glycinergic"),
    "histamine": ("hist", "his", "histaminergic"),
    "dopamine": ("da", "dop", "dopaminergic"),
    "serotonin": ("ser", "5ht", "5-hydroxytryptamine", "serotonergic", "serotoninergic"),
    "octopamine": ("oct", "oa", "octopaminergic"),
    "tyramine": ("tyr", "ta", "tyraminergic"),
    "noradrenaline": ("ne", "norepinephrine", "noradrenergic"),
    "adrenaline": ("epinephrine",),
    "betaine": (),
    "5-htp": ("5-hydroxytryptophan",),
    "phenylethanolamine": ("peoh",),
    "unknown monoamine": (),
    "serotonin uptake": (),
    "gaba uptake": (),
    "betaine uptake": (),
    "nitric oxide": (),
    "peptide": ("neuropeptide", "peptidergic", "pep"),
}
_NOT_KNOWN = ("", "unknown", "unclear", "none", "null", "nan", "n/a", "na", "undefined", "orphan")
_SEPARATOR = re.compile(r"[,;+/]")

# Known transmitters without a fast sign: they act through G proteins, last for seconds, or are only
# known to be taken up.
_SLOW = dict.fromkeys(
    (
        *("dopamine", "serotonin", "octopamine", "tyramine", "noradrenaline", "adrenaline"),
        *("betaine", "5-htp", "phenylethanolamine", "unknown monoamine", "serotonin uptake"),
        *("gaba uptake", "betaine uptake", "nitric oxide", "peptide"),
    ),
    0,
)

_WORM = {
    **_SLOW,
    # Mostly excitatory, and so here: a convention. Channels ACC-1 to ACC-4 are inhibitory (Putrenko
    # et al. 2005, J Biol Chem 280:6392). By the receptors of the targets 738 connections are
    # positive, 289 negative, 304 mixed (Fenyves et al. 2020, PLoS Comput Biol 16:e1007974).
    "acetylcholine": +1,
    # A convention too: GluCl channels inhibit. By receptors 580 positive, 29 negative, 114 mixed
    # (Fenyves et al. 2020).
    "glutamate": +1,
    # UNC-49 inhibits; EXP-1 of the enteric muscles excites (Beg & Jorgensen 2003, Nat Neurosci
    # 6:1145).
    "gaba": -1,
}
_FLY = {
    **_SLOW,
    "acetylcholine": +1,
    "gaba": -1,
    # Through GluCl-alpha in the brain (Liu & Wilson 2013, PNAS 110:10294). A convention: it excites
    # muscles, and what it does at most central targets is not measured.
    "glutamate": -1,
    # Of photoreceptors, through HisCl channels (Hardie 1989, Nature 339:704).
    "histamine": -1,
}
_MAMMAL = {
    **_SLOW,
    "glutamate": +1,
    "gaba": -1,
    "glycine": -1,
    # Nicotinic or muscarinic, either sign by the receptor: no convention that holds in cortex.
    "acetylcholine": 0,
    "histamine": 0,
}

# Sign of each transmitter that is known in a species: +1, -1, or 0 where it has no fast sign.
SPECIES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "worm": MappingProxyType(_WORM),
        "fly": MappingProxyType(_FLY),
        "mouse": MappingProxyType(_MAMMAL),
        "mammal": MappingProxyType(_MAMMAL),
    }
)


def canonical(words: pa.Array) -> pa.Array:
    """Return transmitters as this project spells them: ``ACH``, ``ach`` become ``acetylcholine``.

    Several, joined by ``,`` ``;`` ``+`` or ``/``, come out joined by ``+`` in their order, each
    once. Empty, "unknown" and "unclear" become null. Other words are only lower-cased:
    `signs_of` refuses them.
    """
    return _by_word(words, pa.string(), lambda word, row: "+".join(_parts(word)) or None)


def signs_of(words: pa.Array, species: str, where: str) -> pa.Array:
    """Return the sign of each transmitter, int8, in a species of `SPECIES`: its first fast one's.

    Null where the word is null, or all its transmitters are slow. Raises `CompileError` at
    ``where`` naming the first row (from 1) whose word is not in the table of the species.
    """
    if species not in SPECIES:
        raise UnknownNameError.among(f"{where}: species", species, SPECIES)
    table = SPECIES[species]

    def sign(word: str, row: int) -> int | None:
        parts = _parts(word)
        for part in parts:
            if part not in table:
                problem = f"{word!r}: {part!r} is not a known transmitter of the {species}"
                known = {w: name for w, name in _WORDS.items() if name in table}
                close = get_close_matches(_plain(part), sorted(known), n=1)
                hint = f"did you mean {known[close[0]]!r}? " if close else ""
                hint += f"known: {', '.join(sorted(table))}"
                raise CompileError(f"{where}, row {row}", problem, hint)
        return next((table[part] for part in parts if table[part]), None)

    return _by_word(words, pa.int8(), sign)


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]", "", word.lower())


_WORDS = {_plain(s): name for name, every in _SPELLINGS.items() for s in (name, *every)}
_IGNORED = {_plain(word) for word in _NOT_KNOWN}


def _parts(word: str) -> tuple[str, ...]:
    """Return the transmitters that ``word`` lists, in order, each once."""
    if word.strip().lower() in _NOT_KNOWN:  # "n/a" is one word
        return ()
    parts = [part.strip().lower() for part in _SEPARATOR.split(word)]
    known = [_WORDS.get(_plain(p), p) for p in parts if _plain(p) not in _IGNORED]
    return tuple(dict.fromkeys(known))


def _by_word(
    words: pa.Array, dtype: pa.DataType, value: Callable[[str, int], str | int | None]
) -> pa.Array:
    """Return ``value(word, row)`` for each row, asked once per different word."""
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    if not isinstance(words, pa.DictionaryArray):
        words = words.cast(pa.string()).dictionary_encode()
    index = words.indices
    codes = index.drop_null().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(np.asarray(index.is_valid()))
    used, first = np.unique(codes, return_index=True)
    every = words.dictionary.to_pylist()
    made: list[str | int | None] = [None] * len(every)
    for k in np.argsort(first):  # the first wrong row is named, not the first wrong word
        code, row = int(used[k]), int(rows[first[k]]) + 1
        if every[code] is not None:
            made[code] = value(str(every[code]), row)
    return pa.array(made, dtype).take(index)
