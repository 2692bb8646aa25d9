"""Published connectomes whose files the adapter ``table`` recognises by their headers.

The headers are those that the releases document; file names do not matter, since browsers change
them. A header is spelled as in the file: Codex writes ``pre_root_id`` for FlyWire and
``Pre Root ID`` for other data sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeVar

from connectome_compiler.errors import CompileError

from ._citations import (
    BATES_2026,
    BERG_2025,
    DORKENWALD_2024,
    ECKSTEIN_2024,
    MATSLIAH_2023,
    PEDIGO_2023,
    SCHEFFER_2020,
    SCHLEGEL_2024,
    SHIU_2024,
    WINDING_2023,
)
from ._names import NM_UM, VOXEL_UM

Columns = Mapping[str, str]
Scale = tuple[float, float, float]  # micrometres per unit along x, y and z

# The six transmitters that Eckstein et al. (2024) score at every synapse, by column.
SCORES = {
    "ach_avg": "acetylcholine",
    "da_avg": "dopamine",
    "gaba_avg": "gaba",
    "glut_avg": "glutamate",
    "oct_avg": "octopamine",
    "ser_avg": "serotonin",
}


@dataclass(frozen=True, slots=True)
class EdgeLayout:
    """A table of connections: recognised where a file has all columns of ``header``."""

    what: str
    header: tuple[str, ...]
    pre: str
    post: str
    weight: str  # empty: a row is one synapse
    transmitter: str = ""  # column with the transmitter of each row's synapses
    scores: Columns = field(default_factory=dict)  # columns of mean scores of each row's synapses
    sign: str = ""
    citations: tuple[str, ...] = ()  # beside those of the data set
    fills_down: bool = False  # a blank id is that of the row above
    overlapping: bool = False  # its regions (column roi) may contain each other


@dataclass(frozen=True, slots=True)
class CellLayout:
    """A table of cells: recognised where a file has all columns of ``header``."""

    what: str
    header: tuple[str, ...]
    cell_id: str
    repeats: bool = False  # several rows per cell; the first is taken
    position: tuple[str, str, str] | str = ""  # three columns, or one of "[x y z]"


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known about a data set beyond its columns."""

    name: str
    edges: tuple[EdgeLayout, ...]
    cells: tuple[CellLayout, ...]
    species: str = ""
    dataset: str = ""
    title: str = ""
    licence: str = ""
    citations: tuple[str, ...] = ()
    required: str = ""  # column of cells: those without a value there are not neurons
    n_sections: int = 0  # of the volume: voxels are 4 x 4 x 40 nm, and a larger z is in nm
    page: str = ""  # where its files are
    files: str = ""  # which of them are read: "edges=..., cells=..."
    orientation: Literal["", "pre-post", "post-pre"] = ""  # of its matrices

    def scale(self, largest_z: float) -> Scale | None:
        """Return the unit of the positions; none if it is not known."""
        if not self.n_sections:
            return None
        return VOXEL_UM if largest_z <= self.n_sections else NM_UM


FLYWIRE = Preset(
    name="flywire",
    species="fly",
    dataset="flywire",
    title="Whole brain of an adult female fruit fly (FAFB, FlyWire)",
    licence=(
        "not settled: Codex states CC BY-NC 4.0 (as does the EM volume), the Zenodo record "
        "10676866 is cited as CC BY 4.0; take the stricter, or ask the FlyWire consortium"
    ),
    citations=(DORKENWALD_2024, SCHLEGEL_2024, ECKSTEIN_2024),
    n_sections=7_062,  # of FAFB: Zheng et al. 2018, Cell 174:730
    page="https://codex.flywire.ai/api/download, or https://zenodo.org/records/10676866",
    files=(
        "edges=connections_princeton.csv.gz (Codex) or proofread_connections_783.feather (Zenodo); "
        "cells=neurons.csv.gz,classification.csv.gz,consolidated_cell_types.csv.gz,"
        "coordinates.csv.gz (Codex, any of its tables of cells)"
    ),
    edges=(
        EdgeLayout(
            "connections of FlyWire Codex",
            ("pre_root_id", "post_root_id", "neuropil", "syn_count", "nt_type"),
            *("pre_root_id", "post_root_id", "syn_count"),
            transmitter="nt_type",
        ),
        EdgeLayout(
            "proofread connections of FlyWire on Zenodo",
            ("pre_pt_root_id", "post_pt_root_id", "neuropil", "syn_count", *SCORES),
            *("pre_pt_root_id", "post_pt_root_id", "syn_count"),
            scores=SCORES,
        ),
        EdgeLayout(
            "connectivity of the model of Shiu et al. 2024",
            (
                *("Presynaptic_ID", "Postsynaptic_ID", "Presynaptic_Index"),
                *("Postsynaptic_Index", "Connectivity", "Excitatory"),
            ),
            *("Presynaptic_ID", "Postsynaptic_ID", "Connectivity"),
            sign="Excitatory",
            citations=(SHIU_2024,),
        ),
        EdgeLayout(
            "coordinates of synapses of FlyWire Codex",
            ("pre_root_id", "post_root_id", "x", "y", "z"),
            *("pre_root_id", "post_root_id", ""),
            fills_down=True,
        ),
    ),
    cells=(
        CellLayout("neurons of Codex", ("root_id", "group", "nt_type", "nt_type_score"), "root_id"),
        CellLayout(
            "classification of Codex",
            ("root_id", "flow", "super_class", "class", "sub_class", "hemilineage", "side"),
            "root_id",
        ),
        CellLayout(
            "consolidated cell types of Codex",
            ("root_id", "primary_type", "additional_type(s)"),
            "root_id",
        ),
        CellLayout(
            "coordinates of Codex",
            ("root_id", "position", "supervoxel_id"),
            "root_id",
            repeats=True,
            position="position",
        ),
        CellLayout("cell statistics of Codex", ("root_id", "length_nm", "area_nm"), "root_id"),
        CellLayout("names of Codex", ("root_id", "name", "group"), "root_id"),
        CellLayout(
            "visual neuron types of Codex", ("root_id", "type", "family", "subsystem"), "root_id"
        ),
        CellLayout("columns of Codex", ("root_id", "hemisphere", "type", "column_id"), "root_id"),
        CellLayout(
            "connectivity tags of Codex", ("root_id", "connectivity_tag"), "root_id", repeats=True
        ),
        CellLayout(
            "processed labels of Codex", ("root_id", "processed_labels"), "root_id", repeats=True
        ),
        CellLayout(
            "annotations of FlyWire",
            ("root_id", "pos_x", "pos_y", "pos_z", "super_class", "top_nt", "known_nt"),
            "root_id",
            position=("pos_x", "pos_y", "pos_z"),
        ),
    ),
)

CODEX = Preset(
    name="codex",
    species="fly",
    dataset="codex",
    title="A data set of the fruit fly as Codex exports it",
    licence="not stated by the file: see the page of the data set on Codex",
    citations=(MATSLIAH_2023,),
    edges=(
        EdgeLayout(
            "connections of Codex, other than FlyWire's",
            ("Pre Root ID", "Post Root ID", "Neuropil", "Syn Count", "NT Type"),
            *("Pre Root ID", "Post Root ID", "Syn Count"),
            transmitter="NT Type",
        ),
    ),
    cells=(
        CellLayout(
            "cells of Codex, other than FlyWire's",
            ("Root ID", "Flow", "Super Class", "Class"),
            "Root ID",
        ),
    ),
)

BANC = Preset(
    name="banc",
    species="fly",
    dataset="banc",
    title="Brain and nerve cord of an adult female fruit fly (BANC)",
    licence="CC BY 4.0",
    citations=(BATES_2026,),
    page="https://doi.org/10.7910/DVN/7WTH1N, or https://codex.flywire.ai/api/download?dataset=banc",
    files=(
        "edges=banc_746_simple_edgelist.feather, cells=banc_746_meta.feather; or the connections "
        "and the neurons of Codex"
    ),
    edges=(
        EdgeLayout(
            "simple edge list of BANC",
            ("pre", "post", "count", "norm", "total_input"),
            *("pre", "post", "count"),
        ),
        *CODEX.edges,
    ),
    cells=(
        CellLayout(
            "metadata of BANC",
            ("root_id", "flow", "super_class", "cell_class", "cell_type"),
            "root_id",
        ),
        *CODEX.cells,
    ),
)

LARVA = Preset(
    name="larva",
    species="fly",
    dataset="larva-winding2023",
    title="Brain of a larval fruit fly (Winding et al. 2023)",
    licence=(
        "not stated for the supplement in Science; the tables of Pedigo et al. 2023 are CC BY 4.0, "
        "their repository is MIT"
    ),
    citations=(WINDING_2023,),
    page=(
        "https://doi.org/10.1126/science.add9330 (Data S1), or "
        "https://github.com/neurodata/bilateral-connectome"
    ),
    files=(
        "edges=all-all_connectivity_matrix.csv; or a list pre,post,weight, with "
        "cells=id,name,class,...; or the list with syn_num of LocalConnectome"
    ),
    orientation="pre-post",  # of the supplement: rows are presynaptic
    edges=(
        EdgeLayout(
            "connections by compartment, as in LocalConnectome",
            ("pre_id", "post_id", "pre_class_label", "post_class_label", "syn_num"),
            *("pre_id", "post_id", "syn_num"),
        ),
        EdgeLayout(
            "connections of Pedigo et al. 2023",
            ("pre", "post", "weight"),
            *("pre", "post", "weight"),
            citations=(PEDIGO_2023,),
        ),
    ),
    cells=(
        CellLayout("neurons as in LocalConnectome", ("id", "x", "y", "z", "type"), "id"),
        CellLayout("neurons of Pedigo et al. 2023", ("id", "name", "class", "io", "pair"), "id"),
    ),
)

MALECNS = Preset(
    name="malecns",
    species="fly",
    dataset="malecns",
    title="Central nervous system of an adult male fruit fly (MaleCNS)",
    licence="CC BY 4.0",
    citations=(BERG_2025,),
    required="superclass",
    page="https://male-cns.janelia.org/download",
    files=(
        "edges=connectome-weights-...-traced-only.feather, cells=body-annotations-....feather,"
        "body-neurotransmitters-....feather (flat connectome)"
    ),
    edges=(
        EdgeLayout(
            "flat connectome of MaleCNS",
            ("body_pre", "body_post", "weight"),
            *("body_pre", "body_post", "weight"),
        ),
    ),
    cells=(
        CellLayout(
            "body annotations of MaleCNS",
            ("bodyId", "type", "instance", "superclass", "status", "flywireType", "mancType"),
            "bodyId",
        ),
        CellLayout(
            "body neurotransmitters of MaleCNS",
            ("body", "predicted_nt", "celltype_predicted_nt", "consensus_nt"),
            "body",
        ),
    ),
)

_NEUPRINT_EDGES = EdgeLayout(
    "connections as neuPrint exports them",
    ("bodyId_pre", "bodyId_post", "weight"),
    *("bodyId_pre", "bodyId_post", "weight"),
    overlapping=True,
)

NEUPRINT = Preset(
    name="neuprint",
    dataset="neuprint",
    title="A data set as neuPrint exports it",
    licence="not stated by the file: see the data set's page on neuPrint",
    citations=(),
    edges=(_NEUPRINT_EDGES,),
    cells=(
        CellLayout("neurons as neuPrint exports them", ("bodyId", "type", "instance"), "bodyId"),
    ),
)

HEMIBRAIN = Preset(
    name="hemibrain",
    species="fly",
    dataset="hemibrain",
    title="Half of the central brain of an adult female fruit fly (hemibrain, traced neurons)",
    licence="CC BY 4.0",
    citations=(SCHEFFER_2020,),
    page="https://www.janelia.org/project-team/flyem/hemibrain",
    files=(
        "exported-traced-adjacencies-v1.2: edges=traced-total-connections.csv, "
        "cells=traced-neurons.csv"
    ),
    edges=(_NEUPRINT_EDGES,),
    cells=NEUPRINT.cells,
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {p.name: p for p in (FLYWIRE, CODEX, BANC, LARVA, MALECNS, HEMIBRAIN, NEUPRINT)}
)
# The columns of hemibrain are those of neuPrint, those of BANC on Codex like others there, and the
# list of the larva is like any: they must be requested by name.
AUTOMATIC = (FLYWIRE, CODEX, MALECNS, NEUPRINT)


def find_preset(
    choice: str, where: str, columns: Iterable[str]
) -> tuple[Preset, EdgeLayout] | None:
    """Return the preset that the columns of an edge table fit; raise if ``choice`` does not."""
    given = list(columns)
    if choice == "none":
        return None
    for preset in AUTOMATIC if choice == "auto" else (PRESETS[choice],):
        if (layout := _first(preset.edges, given)) is not None:
            return preset, layout
    if choice == "auto":
        return None
    accepted = "; ".join(f"{x.what}: {', '.join(x.header)}" for x in PRESETS[choice].edges)
    problem = f"is not a connection table of preset {choice}; its columns are {', '.join(given)}"
    raise CompileError(where, problem, f"accepted: {accepted}; or preset=auto")


def published(choice: str) -> Preset | None:
    """Return a preset whose data set is published as a matrix, too."""
    preset = PRESETS.get(choice)
    return preset if preset is not None and preset.orientation else None


def about(choice: str) -> tuple[tuple[str, str], ...]:
    """Return where the files of a preset's data set are, which are read, and how to cite them."""
    preset = PRESETS.get(choice)
    if preset is None or not preset.page:
        return ()
    told = [("download", preset.page), ("files", preset.files), ("licence", preset.licence)]
    return (*told, *(("cite", paper) for paper in preset.citations))


def cell_layout(preset: Preset | None, columns: Iterable[str]) -> CellLayout | None:
    """Return the layout that the columns of a cell table fit, of ``preset`` or, if none, of any."""
    given = list(columns)
    presets = AUTOMATIC if preset is None else (preset,)
    every = [found for p in presets if (found := _first(p.cells, given)) is not None]
    return every[0] if every else None


Layout = TypeVar("Layout", EdgeLayout, CellLayout)


def _first(layouts: tuple[Layout, ...], columns: list[str]) -> Layout | None:
    """Return the first layout whose columns are all there."""
    return next((x for x in layouts if set(x.header) <= set(columns)), None)


# The labels of Codex name the people who wrote them: such tables are not read.
PERSONAL = ("user_name", "user_affiliation")

# --- roles ----------------------------------------------------------------------------------------

# Roles that a super class implies (Dorkenwald et al. 2024, Schlegel et al. 2024; MaleCNS
# writes cb_intrinsic, vnc_motor, ...). Ascending and descending neurons are interneurons between
# brain and nerve cord; in a brain alone they are its way in and out, which column "flow" tells.
_INTER = ("optic", "central", "intrinsic", "projection", "centrifugal", "ascending", "descending")


def role_of(super_class: str) -> str | None:
    """Return the role that a super class of the fly implies; none for endocrine and efferent."""
    words = super_class.strip().lower().replace("_", " ").split()
    if "sensory" in words:
        return "sensory"
    if "motor" in words:
        return "motor"
    if "efferent" in words or "endocrine" in words:
        return None
    return "inter" if any(word in _INTER for word in words) else None
