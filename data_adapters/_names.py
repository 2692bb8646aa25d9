"""The usual names of columns, best first, and the words in them."""

from __future__ import annotations

import re

ENDS = (  # (pre, post)
    ("pre_pt_root_id", "post_pt_root_id"),
    ("pre_root_id", "post_root_id"),
    ("pre_nucleus_id", "post_nucleus_id"),
    ("pre_nuc_id", "post_nuc_id"),
    ("pre_neuron_id", "post_neuron_id"),
    ("pre_id", "post_id"),
    ("id_pre", "id_post"),
    ("pre", "post"),
    ("source", "target"),
    ("from", "to"),
    ("src", "dst"),
    ("src", "tgt"),
    ("origin", "target"),
    ("bodyid_pre", "bodyid_post"),
    ("body_pre", "body_post"),
    ("presynaptic_id", "postsynaptic_id"),
    ("presynaptic", "postsynaptic"),
    ("neuron_1", "neuron_2"),
    ("neuron", "target"),
    ("source_id", "target_id"),
    ("from_id", "to_id"),
    ("source_neuron", "target_neuron"),
    ("pre_neuron", "post_neuron"),
    ("presynaptic_neuron", "postsynaptic_neuron"),
    ("pre_cell", "post_cell"),
    ("presynaptic_cell", "postsynaptic_cell"),
    ("pre_name", "post_name"),
)
# Columns of weights: what counts synapses for sure; what may be anything, and is only taken where
# none of these is there; and what is no count, with the unit to ask for. Compared as `squeezed`.
COUNT = (
    *("n_syn", "n_syns", "n_synapse", "n_synapses", "num_syn", "num_syns", "num_synapses"),
    *("syn_count", "syn_counts", "syn_cnt", "syn_num", "syn_number", "syn_sum", "syns"),
    *("synapse_count", "synapse_counts", "synapse_number", "synapse_num", "synapses"),
    *("number_of_synapses", "total_synapses", "sum_synapses", "count", "counts", "nbr"),
    *("weight", "weights", "synapse_weight", "syn_weight", "edge_weight", "connection_weight"),
    *("total_weight", "sum_weight", "sum_weights", "weight_sum", "number_of_connections"),
)
ANY_WEIGHT = (
    *("n", "w", "num", "number", "value", "strength", "connection_strength", "synaptic_strength"),
    *("synapse_strength", "connectivity", "n_contacts", "num_contacts", "number_of_contacts"),
    *("contacts", "n_connections", "multiplicity"),
)
NO_COUNT = {
    **dict.fromkeys(("sections", "n_sections", "em_sections", "section_count"), "sections"),
    **dict.fromkeys(("contact_area", "area", "surface_area"), "um2"),
    **dict.fromkeys(
        (
            *("weight_relative", "relative_weight", "weight_fraction", "fraction", "normalized"),
            *("weight_normalized", "normalized_weight", "weight_norm", "norm_weight"),
            *("weight_normalised", "normalised_weight", "input_fraction", "proportion"),
        ),
        "fraction",
    ),
    **dict.fromkeys(("percent", "percentage", "input_percent"), "percent"),
    **dict.fromkeys(("probability", "connection_probability"), "probability"),
    **dict.fromkeys(("correlation", "corr"), "correlation"),
    **dict.fromkeys(("number_of_fibers", "n_fibers", "fiber_count", "fibers"), "fibers"),
    **dict.fromkeys(("number_of_streamlines", "streamline_count", "streamlines"), "streamlines"),
    **dict.fromkeys(("conductance", "gmax"), "nS"),
}
# Last words of names whose numbers are no weights: ids, places, what one synapse measures, dates.
NO_WEIGHT = frozenset(
    (
        *("id", "ids", "index", "idx", "row", "x", "y", "z", "position", "pos", "coordinate"),
        *("score", "confidence", "probability", "prob", "label", "cluster", "layer", "class"),
        *("type", "group", "side", "supervoxel", "segment", "size", "cleft", "volume", "valid"),
        *("created", "deleted", "distance", "dist", "delay", "length", "time", "date", "year"),
        *("version", "nm", "um", "um3", "vx"),
    )
)
SIZE = ("sum_size", "size", "cleft_vx", "cleft_size")
SIGN = ("sign", "synapse_sign", "excitatory", "is_excitatory", "inhibitory", "is_inhibitory", "ei")

KIND = (
    *("kind", "type", "synclass", "synapse_type", "synapse_class", "syn_type", "edge_type"),
    *("connection_type", "synapse_kind"),
)
DIRECTED = {"directed": False, "undirected": True, "mutual": True}  # as Gephi writes it

# What kinds of synapses are written as, lower case, blanks and "-" as "_". The list of Varshney et
# al. (2011, PLoS Comput Biol 7:e1001066) has chemical synapses twice: as sent (S, Sp) and, seen
# from the target, as received (R, Rp).
CHEMICAL, ELECTRICAL, RECEIVED = 0, 1, 2
KIND_WORDS: dict[int, tuple[str, ...]] = {
    CHEMICAL: (
        *("chemical", "chem", "chemical_synapse", "synapse", "generic_cs", "cs"),
        *("s", "sp", "send", "send_joint", "nmj", "c"),
    ),
    ELECTRICAL: (
        *("electrical", "electric", "electrical_synapse", "ej", "gap", "gap_junction"),
        *("gapjunction", "gap_junctions", "generic_gj", "gj", "e"),
    ),
    RECEIVED: ("r", "rp", "receive", "receive_joint"),
}

# Words for signs, besides numbers; lower case. pandas writes NaN for a missing number.
SIGN_WORDS: dict[int, tuple[str, ...]] = {
    1: ("+", "excitatory", "exc", "e"),
    -1: ("-", "\u2212", "inhibitory", "inh", "i"),
    0: ("unknown", "unsure", "nan"),
}

# Columns that give a neuron's transmitter, best first; a later one fills the gaps of earlier ones.
# Measured and reviewed calls come before the votes of a neuron's own synapses, and these before
# one word per neuron from a classifier: in FlyWire's annotations top_nt is "dopamine" for every
# Kenyon cell of the right mushroom body, known_nt acetylcholine.
VOTES = "votes"  # of the synapses, from the table of connections
TRANSMITTER = (
    *("neurotransmitter", "transmitter", "known_nt", "verified_nt_type", "consensus_nt"),
    *("consensusnt", "nt_type", "nt", VOTES, "top_nt"),
    *("predicted_nt_type", "predictednt", "predicted_nt"),
)

CELL_ID = (
    *("nucleus_id", "nuc_id", "target_id", "neuron_id", "cell_id"),
    *("pt_root_id", "root_id", "segment_id", "id"),
    *("bodyid", "body", "neuron", "cell", "cell_name", "name"),
    *("column0", "index", "label"),  # pandas writes its index unnamed
)
CELL = {
    "class": ("cell_class", "broad_type", "classification_system", "class", "ei"),
    "type": ("cell_type", "type"),
    "mtype": ("mtype", "m_type"),
    "type_source": ("cell_type_source",),
    "layer": ("cortical_layer", "layer"),
    "region": ("region", "visual_area", "brain_area", "area"),
    "coverage": (
        *("axon_coverage", "axon_strategy", "strategy_axon"),
        *("status_axon", "axon_proofread", "axon_cleaned"),
    ),
}
# Positions, with micrometres per unit along x, y and z. The pt_position of MICrONS is in voxels of
# 4 x 4 x 40 nm; a client that was asked for nanometres writes them under the same name.
VOXEL_UM = (0.004, 0.004, 0.04)
NM_UM = (0.001, 0.001, 0.001)
POSITION: tuple[tuple[tuple[str, str, str], tuple[float, float, float]], ...] = (
    (("x_um", "y_um", "z_um"), (1.0, 1.0, 1.0)),
    (("x_um", "depth_um", "z_um"), (1.0, 1.0, 1.0)),
    (("x_nm", "y_nm", "z_nm"), NM_UM),
    (("soma_x_nm", "soma_y_nm", "soma_z_nm"), NM_UM),
    (("pt_position_x", "pt_position_y", "pt_position_z"), VOXEL_UM),
)
POSITIONS = "pt_position"  # the same in one column: [x, y, z]
# The volume minnie65 has 27,904 sections, so a larger z cannot be one.
N_SECTIONS = 30_000


def squeezed(name: str) -> str:
    """Return a column's name as it is compared: ``Synapse Count`` and ``syn.count`` lose all marks.

    >>> squeezed("SynapseCount") == squeezed("synapse_count") == squeezed("Synapse Count")
    True
    """
    return re.sub(r"[\W_]+", "", name).lower()


def is_no_weight(name: str) -> bool:
    """Whether the numbers of a column are no weights, by its name.

    >>> [is_no_weight(n) for n in ("ctr_pt_position_x", "bodyId", "Unnamed: 0", "sum")]
    [True, True, True, False]
    """
    words = re.findall(r"[a-z]+\d*|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    return (
        not words
        or words[-1] in NO_WEIGHT
        or words[-1].endswith(("rootid", "bodyid", "cellid"))
        or re.fullmatch(r"column\d+|unnamed\d*", squeezed(name)) is not None
    )


def plain(name: str) -> str:
    """Return a column's name as synonyms are spelled: lower case, ``_`` for blanks."""
    return name.strip().lower().replace(" ", "_")
