"""The usual names of columns, best first, and the words in them."""

from __future__ import annotations

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
)
COUNT = (
    *("n_syn", "n_synapses", "syn_count", "synapses", "count", "weight"),
    *("number_of_connections", "nbr"),
)
SIZE = ("sum_size", "size", "cleft_vx", "cleft_size")
SIGN = ("sign", "synapse_sign")

KIND = ("kind", "type", "synclass", "synapse_type")

# What kinds of synapses are written as, lower case, blanks and "-" as "_". The list of Varshney et
# al. (2011, PLoS Comput Biol 7:e1001066) has chemical synapses twice: as sent (S, Sp) and, seen
# from the target, as received (R, Rp).
CHEMICAL, ELECTRICAL, RECEIVED = 0, 1, 2
KIND_WORDS: dict[int, tuple[str, ...]] = {
    CHEMICAL: (
        *("chemical", "chem", "chemical_synapse", "synapse", "generic_cs", "cs"),
        *("s", "sp", "send", "send_joint", "nmj"),
    ),
    ELECTRICAL: (
        *("electrical", "electric", "electrical_synapse", "ej", "gap", "gap_junction"),
        *("gapjunction", "generic_gj", "gj"),
    ),
    RECEIVED: ("r", "rp", "receive", "receive_joint"),
}

# Words for signs, besides numbers; lower case. pandas writes NaN for a missing number.
SIGN_WORDS: dict[int, tuple[str, ...]] = {
    1: ("+", "excitatory", "exc", "e"),
    -1: ("-", "\u2212", "inhibitory", "inh", "i"),
    0: ("unknown", "unsure", "nan"),
}

CELL_ID = (
    *("nucleus_id", "nuc_id", "target_id", "neuron_id", "cell_id"),
    *("pt_root_id", "root_id", "segment_id", "id"),
    *("bodyid", "body", "neuron", "cell", "cell_name", "name"),
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
# The volume minnie65 has 27,904 sections, so a larger z cannot be one.
N_SECTIONS = 30_000


def plain(name: str) -> str:
    """Return a column's name as synonyms are spelled: lower case, ``_`` for blanks."""
    return name.strip().lower().replace(" ", "_")
