"""Read a release of MICrONS: the adapter against plain pandas, each in a fresh process.

The files are made (seeded) in the shape of the static export of version 1507: 144,120 cells,
2,182 proofread ones, 2,089,627 synapses of 2,141 axons. Times are CPU seconds with imports, memory
is the peak resident size. Run: python benchmarks/ingest.py [--rows N] [--repetitions N]
"""

import argparse
import gzip
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _readers import compare, measure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing

N_CELLS, N_PROOFREAD, N_ROWS = 144_120, 2_182, 2_089_627
N_COLUMN = 2_204  # nuclei of the column, glia included
MANUAL = "allen_v1_column_types_slanted_ref"
NAMES = {
    "cells": "aibs_cell_info_merged",
    "proofreading": "proofreading_status_and_strategy_merged",
    "synapses": "synapses_with_axon_proofreading",
}
Result = tuple[int, int, int, int]  # neurons, connections, synapses, summed size


def generate(folder: Path, n_rows: int) -> None:
    """Write the six files and, beside them, by what they are known."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    root = 864691135000000000 + rng.choice(10**9, N_CELLS, replace=False)
    in_column = np.arange(N_CELLS) < N_COLUMN
    broad = np.where(np.arange(N_CELLS) % 8 < 5, "excitatory", "inhibitory")
    broad[rng.random(N_CELLS) < 0.39] = "nonneuron"
    fine = np.select([broad == "excitatory", broad == "inhibitory"], ["23P", "BC"], "astrocyte")
    cells = pd.DataFrame(
        {
            "id": 200_000 + np.arange(N_CELLS),
            "pt_root_id": np.where(rng.random(N_CELLS) < 0.0012, 0, root),
            "nuc_volume": rng.uniform(50, 500, N_CELLS).round(2),
            "broad_type": broad,
            "cell_type": fine,
            "cell_type_source": np.where(in_column, MANUAL, "aibs_metamodel_celltypes_v661"),
            "mtype": np.where(fine == "23P", "L2a", ""),
            "visual_area": "V1",
            "pt_position_x": rng.integers(100_000, 400_000, N_CELLS),
            "pt_position_y": rng.integers(90_000, 260_000, N_CELLS),
            "pt_position_z": rng.integers(15_000, 27_000, N_CELLS),
        }
    )
    axon = np.arange(N_PROOFREAD) >= N_PROOFREAD - 2_141
    proofread = root[:N_PROOFREAD]
    status = pd.DataFrame(
        {
            "id": np.arange(N_PROOFREAD),
            "valid_id": np.where(rng.random(N_PROOFREAD) < 0.01, 1, proofread),
            "status_axon": np.where(axon, "t", "f"),
            "strategy_axon": np.where(axon, "axon_partially_extended", "none"),
            "pt_root_id": proofread,
        }
    )
    # A third of the synapses meet one of the proofread cells, as 290,354 of 2,089,627 do at least.
    near = rng.random(n_rows) < 1 / 3
    post = np.where(near, rng.choice(proofread, n_rows), rng.choice(root, n_rows))
    synapses = pd.DataFrame(
        {
            "id": np.sort(rng.choice(500_000_000, n_rows, replace=False)),
            "ctr_pt_position_x": rng.integers(100_000, 400_000, n_rows),
            "ctr_pt_position_y": rng.integers(90_000, 260_000, n_rows),
            "ctr_pt_position_z": rng.integers(15_000, 27_000, n_rows),
            "size": rng.lognormal(8.449, 1.098, n_rows).astype(int) + 1,
            "pre_pt_supervoxel_id": rng.integers(8 * 10**16, 9 * 10**16, n_rows),
            "pre_pt_root_id": rng.choice(proofread[axon], n_rows),
            "post_pt_supervoxel_id": rng.integers(8 * 10**16, 9 * 10**16, n_rows),
            "post_pt_root_id": post,
            "strategy_axon": "axon_partially_extended",
        }
    )
    pins = {}
    for role, table in (("cells", cells), ("proofreading", status), ("synapses", synapses)):
        path = folder / f"{NAMES[role]}.csv.gz"
        with gzip.open(path, "wb", compresslevel=3) as file:
            table.to_csv(file, header=False, index=False)
        header = folder / f"{NAMES[role]}_header.csv"
        header.write_text("".join(f"{c},text\n" for c in table.columns))
        pins[role] = [_pin(path, len(table)), _pin(header, 0)]
    (folder / "pins.json").write_text(json.dumps(pins))


def _pin(path: Path, n_rows: int) -> list[str | int]:
    content = path.read_bytes()
    return [path.name, len(content), hashlib.sha256(content).hexdigest(), n_rows]


def with_adapter(folder: Path) -> Result:
    """Load with the adapter, hash checks included."""
    from connectome_compiler.data_adapters import microns_release
    from connectome_compiler.data_adapters._download import RemoteFile

    pins = json.loads((folder / "pins.json").read_text())
    published = {
        role: microns_release.Published(*(RemoteFile(*pin) for pin in both))
        for role, both in pins.items()
    }
    microns_release.RELEASES[1507] = microns_release.Release("http://127.0.0.1:1/", **published)
    graph = microns_release.MicronsRelease().load()
    edges = graph.projections[0].synapses
    assert edges.size is not None
    return graph.n_neurons, graph.n_connections, int(edges.weight.sum()), int(edges.size.sum())


def with_pandas(folder: Path) -> Result:
    """Do the same as most notebooks do it: whole tables in memory."""
    import pandas as pd

    def read(role: str) -> pd.DataFrame:
        names = pd.read_csv(folder / f"{NAMES[role]}_header.csv", header=None)[0].tolist()
        return pd.read_csv(folder / f"{NAMES[role]}.csv.gz", names=names)

    cells = read("cells")
    cells = cells[cells.pt_root_id != 0]
    cells = cells[~cells.pt_root_id.duplicated(keep=False)]
    cells = cells[cells.cell_type_source == MANUAL]
    cells = cells[cells.broad_type.isin(["excitatory", "inhibitory"])]
    status = read("proofreading")
    status = status[(status.status_axon == "t") & (status.valid_id == status.pt_root_id)]
    s = read("synapses")
    s = s[s.pre_pt_root_id.isin(cells.pt_root_id) & s.post_pt_root_id.isin(cells.pt_root_id)]
    s = s[s.pre_pt_root_id.isin(status.pt_root_id)]
    pairs = s.groupby(["post_pt_root_id", "pre_pt_root_id"])["size"].agg(["count", "sum"])
    return len(cells), len(pairs), int(pairs["count"].sum()), int(pairs["sum"].sum())


VARIANTS: dict[str, Callable[[Path], Result]] = {"adapter": with_adapter, "pandas": with_pandas}


def main() -> None:
    """Generate, measure in turn, print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=N_ROWS)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        return measure(VARIANTS[options.only[0]], Path(options.only[1]))
    with tempfile.TemporaryDirectory() as cache:
        folder = Path(cache) / "minnie65-v1507"
        folder.mkdir()
        generate(folder, options.rows)
        size = (folder / f"{NAMES['synapses']}.csv.gz").stat().st_size / 1e6
        title = f"{options.rows:,} synapses in {size:.0f} MB; neurons, connections, synapses, size:"
        command = [sys.executable, __file__, "--only"]
        commands = {v: [*command, v, str(folder)] for v in VARIANTS}
        compare(title, commands, options.repetitions, environment={"CCOMPILE_CACHE": cache})
    return None


if __name__ == "__main__":
    main()
