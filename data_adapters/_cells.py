"""The words of cell tables: excitatory or inhibitory, glia or neuron, cortical layer, coverage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectome_compiler.errors import CompileError

from ._column import Column

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.object_]  # text, or None where it is missing


class Kind(StrEnum):
    """What a cell is, according to one word of a table."""

    EXCITATORY = "excitatory"
    INHIBITORY = "inhibitory"
    GLIA = "glia"  # and every other cell that is not a neuron: pericytes, endothelium
    UNSURE = "unsure"  # the source's word for "could not be determined"


# Lower case, without "_", "-" and spaces: "aibs_coarse_excitatory" is looked up as
# "aibscoarseexcitatory". The first spellings are those of the tables of MICrONS and V1DD.
CLASS_WORDS: dict[str, Kind] = {
    "excitatory": Kind.EXCITATORY,
    "excitatoryneuron": Kind.EXCITATORY,
    "aibscoarseexcitatory": Kind.EXCITATORY,
    "exc": Kind.EXCITATORY,
    "e": Kind.EXCITATORY,
    "glutamatergic": Kind.EXCITATORY,
    "pyramidal": Kind.EXCITATORY,
    "inhibitory": Kind.INHIBITORY,
    "inhibitoryneuron": Kind.INHIBITORY,
    "aibscoarseinhibitory": Kind.INHIBITORY,
    "inh": Kind.INHIBITORY,
    "i": Kind.INHIBITORY,
    "gabaergic": Kind.INHIBITORY,
    "interneuron": Kind.INHIBITORY,
    "nonneuron": Kind.GLIA,
    "nonneuronal": Kind.GLIA,
    "aibscoarsenonneuronal": Kind.GLIA,
    "glia": Kind.GLIA,
    "glial": Kind.GLIA,
    "g": Kind.GLIA,
    "astrocyte": Kind.GLIA,
    "microglia": Kind.GLIA,
    "oligo": Kind.GLIA,
    "oligodendrocyte": Kind.GLIA,
    "opc": Kind.GLIA,
    "pericyte": Kind.GLIA,
    "endothelial": Kind.GLIA,
    "vascular": Kind.GLIA,
    "unsure": Kind.UNSURE,
    "uncertain": Kind.UNSURE,
    "unknown": Kind.UNSURE,
}

# Cell types that imply a class. Excitatory: manual and predicted types of MICrONS (5P-PT and 5P-ET
# are two names of one type); inhibitory: manual types, M-types, subclasses of the multifeature
# table (Schneider-Mizell et al. 2025, Nature 640:448; Elabbady et al. 2025, Nature 640:478).
EXCITATORY_TYPE = re.compile(r"(23|4|5|6)p|6(it|ct)|wm-?p|l(2|3|4|5|6)|unsure e$")
INHIBITORY_TYPE = re.compile(
    r"(bc|mc|bpc|ngc|ptc|dtc|itc|stc|pv|sst|vip|sncg|lamp5|nmdc|nmc|chc|unsure i)$"
)

# Where a type names its layer. White-matter pyramids are counted with layer 6.
TYPE_LAYER = re.compile(r"(?P<p>23|4|5|6)p|(?P<six>6)(?:it|ct)|l(?P<l>[1-6])|(?P<wm>wm)-?p")
LAYER_BY_DIGIT = {"1": "L1", "2": "L2/3", "3": "L2/3", "4": "L4", "5": "L5", "6": "L6"}
LAYER_WORD = re.compile(r"(?:layer|l)?\s*(2\s*/\s*3|2-3|23|[1-6])[ab]?", re.IGNORECASE)

# Lower borders of the layers, um below the pia, in the frame of `oriented`: the depths that best
# separate the excitatory M-types of neighbouring layers in the column (1,351 neurons of
# Schneider-Mizell et al. 2025; balanced error 1 to 6 %). Below 709 um lies white matter, whose
# scattered neurons are counted with layer 6.
LAYER_BOTTOM_UM = {"L1": 60.0, "L2/3": 258.0, "L4": 381.0, "L5": 506.0, "L6": 709.0}

# minnie65, as in the package standard-transform 2.0.0 (Allen Institute, MIT): the volume is turned
# by 5 degrees about z, and the pia is put at depth 0.
TILT_DEGREES = 5.0
PIA_UM = (183013 * 0.004, 83535 * 0.004)  # x, y of a point on the pia; its z does not matter

# How much of an axon was followed (tables proofreading_status_and_strategy and aibs_cell_info).
# "Interareal" axons were followed towards other areas first, so local branches may be missing.
STRATEGIES: dict[str, str] = {
    "none": "none",
    "axon_partially_extended": "partial",
    "axon_interareal": "partial",
    "axon_fully_extended": "full",
}
COVERAGE_WORDS: dict[str, str] = {
    **STRATEGIES,
    "partial": "partial",
    "full": "full",
    # Proofread or cleaned, but how far the axon was followed is not stated.
    "t": "partial",
    "true": "partial",
    "f": "none",
    "false": "none",
}


def class_of_word(word: str) -> Kind | None:
    """Return the class that a word such as ``aibs_coarse_excitatory`` or ``i`` stands for."""
    plain = re.sub(r"[\s_-]", "", word).lower()
    return CLASS_WORDS.get(plain)


def signs_by_class(words: Iterable[str], species: str) -> dict[str, Kind]:
    """Return the words of a column that mean excitatory or inhibitory, with their meaning.

    An interneuron of the mouse's cortex inhibits, one of a worm need not; glutamate excites in the
    mouse and not in the fly; "e" may stand for anything. So words count if they spell it out;
    single letters if all other words in the column are classes too; any class if it is a mouse.
    """
    kind = {word: class_of_word(word) for word in words}
    all_known = None not in kind.values()

    def says(word: str) -> bool:
        short = re.sub(r"[\s_-]", "", word).lower()
        spelled = "exc" in short or "inh" in short
        return spelled or (all_known and (species == "mouse" or len(short) == 1))

    return {
        word: what
        for word, what in kind.items()
        if what in (Kind.EXCITATORY, Kind.INHIBITORY) and says(word)
    }


def class_of_type(word: str) -> Kind | None:
    """Return the class that a cell type such as ``23P``, ``BC`` or ``L5ET`` implies."""
    if (kind := class_of_word(word)) is not None:
        return kind
    plain = _plain_type(word)
    if INHIBITORY_TYPE.match(plain):
        return Kind.INHIBITORY
    return Kind.EXCITATORY if EXCITATORY_TYPE.match(plain) else None


def layer_of_type(word: str) -> str | None:
    """Return the layer in a cell type's name: ``L5`` for ``5P-ET``, none for ``BC``."""
    found = TYPE_LAYER.match(_plain_type(word))
    if found is None:
        return None
    digit = found["p"] or found["six"] or found["l"] or "6"
    return LAYER_BY_DIGIT[digit[0]]


def layer_of_word(word: str) -> str:
    """Return ``L2/3`` for ``2/3``, ``L23`` or ``layer 2``; other words come back unchanged."""
    found = LAYER_WORD.fullmatch(word.strip())
    return word.strip() if found is None else LAYER_BY_DIGIT[found[1][0]]


def layer_of_depth(depth_um: Floats) -> npt.NDArray[np.str_]:
    """Return the layer of each depth below the pia, shape ``(n,)``."""
    names = np.array(list(LAYER_BOTTOM_UM))
    borders = list(LAYER_BOTTOM_UM.values())[:-1]
    return np.asarray(names[np.searchsorted(borders, depth_um, side="right")])


def layers_told(own: Words | None, types: Iterable[Words | None], depth_um: Floats) -> Words:
    """Return each cell's layer: its own, else that of its types, else by its depth, NaN if unknown.

    ``own`` are layers as `layer_of_word` spells them; unknown ones are None.
    """
    by_depth = layer_of_depth(depth_um).astype(object)
    by_depth[np.isnan(depth_um)] = None
    by_type = (_each(t, layer_of_type) for t in types if t is not None)
    return first_known(*(() if own is None else (own,)), *by_type, by_depth)


def oriented(x_um: Floats, y_um: Floats, z_um: Floats) -> tuple[Floats, Floats, Floats]:
    """Turn positions in the volume minnie65 so that ``y_um`` is the depth below the pia."""
    angle = np.deg2rad(TILT_DEGREES)
    cos, sin = np.cos(angle), np.sin(angle)
    pia_depth = sin * PIA_UM[0] + cos * PIA_UM[1]
    return cos * x_um - sin * y_um, sin * x_um + cos * y_um - pia_depth, z_um


def in_prism(x_um: Floats, depth_um: Floats, z_um: Floats, width_um: float) -> Bools:
    """Return which cells lie in the slanted square prism of the V1 column.

    Positions as `oriented` gives them. The prism's axis is the mean place of the column's somata
    at each depth (``facts/column_axis.csv``), straight between the depths listed there.
    """
    from ._facts import read_fact

    rows = read_fact("column_axis").rows
    depths, xs, zs = ([float(r[name]) for r in rows] for name in ("depth_um", "x_um", "z_um"))
    half = width_um / 2
    near_x = np.abs(x_um - np.interp(depth_um, depths, xs)) <= half
    inside: Bools = near_x & (np.abs(z_um - np.interp(depth_um, depths, zs)) <= half)
    return inside


def column_cells(
    where: str,
    choice: Column,
    sources: Words | None,
    cell_type_source: str,
    position_um: tuple[Floats, Floats, Floats] | None,
    width_um: float,
) -> tuple[Bools | None, str]:
    """Return which cells belong to the V1 column (none: all of them), and the criterion.

    By ``types``, the column is the cells that the table ``cell_type_source`` typed; by ``prism``,
    those whose oriented position lies inside it; ``auto`` takes the first that the data allows.
    """
    if choice in ("auto", "types") and sources is not None:
        typed = sources == cell_type_source
        if typed.any():
            return typed, f"the V1 column is the cells typed by {cell_type_source}"
    if choice == "types":
        problem = f"no cell was typed by {cell_type_source!r}"
        found = ", ".join(sorted({str(s) for s in sources if s})) if sources is not None else ""
        raise CompileError(where, problem, f"cell_type_source names {found or 'no table'}")
    if choice in ("auto", "prism") and position_um is not None:
        # An unknown position compares false: such a cell lies outside.
        inside = in_prism(*position_um, width_um)
        return inside, f"the V1 column is a slanted prism of {width_um:g} x {width_um:g} um"
    if choice == "prism":
        raise CompileError(
            where, "has no positions, so the cells in the prism cannot be determined"
        )
    return None, "all cells are taken: the column is not known, or was not requested"


def believed(coverage: Words, listed: Bools) -> tuple[Words, str]:
    """Return coverages with outputs of axons that were not proofread kept, and a note.

    ``listed`` says which axons have any synapse in the source, shape ``(n,)``. "none" would say
    that their outputs are unknown; how far they were followed is not known: None.
    """
    unread = listed & np.asarray(coverage == "none", np.bool_)
    note = (
        f"outputs of {unread.sum():,} axons that were not proofread kept: their coverage counts "
        "as unknown"
    )
    told = coverage.copy()
    told[unread] = None
    return told, note


def words_of(column: pa.Array, meaning: Callable[[str], str | None]) -> Words:
    """Apply ``meaning`` to every word of a column, once per distinct word."""
    encoded = column.cast(pa.string()).dictionary_encode()
    table = [meaning(word) for word in encoded.dictionary.to_pylist()]
    found: Words = np.array([*table, None], object)[encoded.indices.fill_null(-1).to_numpy()]
    return found


def missing(words: Words) -> Bools:
    """Return where a word is missing."""
    return np.asarray(words == None, np.bool_)  # noqa: E711  (elementwise)


def first_known(*columns: Words) -> Words:
    """Return the first word that is not missing, row by row."""
    best = columns[0].copy()
    for column in columns[1:]:
        best = np.where(missing(best), column, best)
    return best


def kinds(class_words: Words | None, *types: Words | None) -> Words:
    """Return every cell's `Kind`, or None, from its class and its types (cell type, M-type).

    The class wins, but a cell whose type is "unsure" is unsure whatever its class. "Unsure E" and
    "Unsure I" are not: their class is known. Words of the class column must be known already.
    """
    given = [t for t in types if t is not None]
    by_type = [_each(t, class_of_type) for t in given]
    by_class = [] if class_words is None else [_each(class_words, class_of_word)]
    if not by_class and not by_type:
        raise ValueError("neither class nor type")
    best = first_known(*by_class, *by_type)
    for words in by_type:
        best = np.where(words == Kind.UNSURE, Kind.UNSURE, best)
    return best


def _each(words: Words, meaning: Callable[[str], str | None]) -> Words:
    return words_of(pa.array(words, pa.string()), meaning)


def _plain_type(word: str) -> str:
    return word.strip().lower().replace("_", "-")
