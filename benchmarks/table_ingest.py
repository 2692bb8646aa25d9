"""Read synapses into filtered, thresholded connections: the adapter ``table`` against pandas.

The files are made (seeded): rows of 75,000 cells, two per pair on average, ids as long as
FlyWire's; four tenths of the cells are in the cell table, pairs of one synapse are dropped. Each
variant runs in a fresh process; times are CPU seconds with imports, memory is the peak resident
size. "scan" decodes the columns and no more. The adapter's files are hashed too.

Run: python benchmarks/table_ingest.py [--rows N] [--only VARIANT] [--fly]

--fly reads 4 million connections of 140,000 neurons instead (4 of 5 within a tenth of the brain).
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _readers import compare, measure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing

N_CELLS, CHOSEN = 75_000, 0.4
FLY_NEURONS, FLY_CONNECTIONS = 140_000, 4_000_000
FIRST_ID = 720575940600000000
Result = tuple[int, int, int]  # neurons, connections, synapses


def generate(folder: Path, n_rows: int) -> None:
    """Write synapses and cells, in pieces, so that memory stays small."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    ids = FIRST_ID + rng.choice(10**9, N_CELLS, replace=False)
    chosen = rng.random(N_CELLS) < CHOSEN
    pq.write_table(pa.table({"root_id": ids[chosen]}), folder / "cells.parquet")
    pool = max(1000, n_rows // 2)
    pre = rng.integers(0, N_CELLS, pool, dtype=np.int32)
    post = (N_CELLS * rng.beta(1, 2, pool)).astype(np.int32)
    schema = pa.schema([(name, pa.int64()) for name in ("pre_root_id", "post_root_id", "size")])
    with pq.ParquetWriter(folder / "edges.parquet", schema, compression="zstd") as writer:
        for start in range(0, n_rows, 2_000_000):
            n = min(2_000_000, n_rows - start)
            k = rng.integers(0, pool, n)
            size = rng.lognormal(6, 1, n).astype(np.int64)
            writer.write_table(pa.table([ids[pre[k]], ids[post[k]], size], schema=schema))


def generate_fly(folder: Path) -> None:
    """Write connections with counts, four of five to near neurons, and all cells."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    n = FLY_NEURONS
    ids = FIRST_ID + rng.choice(10**9, n, replace=False)
    pre = rng.integers(0, n, FLY_CONNECTIONS * 11 // 10)
    near = (pre + rng.integers(-n // 20, n // 20, len(pre))) % n
    post = np.where(rng.random(len(pre)) < 0.8, near, rng.integers(0, n, len(pre)))
    pairs = np.unique(pre * n + post)
    pre, post = np.divmod(rng.choice(pairs, FLY_CONNECTIONS, replace=False), n)
    count = rng.geometric(0.08, len(pre)) + 4
    columns = {"pre_root_id": ids[pre], "post_root_id": ids[post], "syn_count": count}
    pq.write_table(pa.table(columns), folder / "edges.parquet")
    pq.write_table(pa.table({"root_id": ids}), folder / "cells.parquet")


def with_adapter(folder: Path) -> Result:
    """Load with the adapter."""
    from connectome_compiler.data_adapters.table import Table

    graph = Table(
        str(folder / "edges.parquet"),
        str(folder / "cells.parquet"),
        min_weight=2,
        unknown_neurons="drop",
    ).load()
    (projection,) = graph.projections
    return graph.n_neurons, graph.n_connections, int(projection.synapses.weight.sum())


def with_pandas(folder: Path) -> Result:
    """Do the same as most notebooks do it: whole tables in memory, one step after the other."""
    import pandas as pd

    cells = pd.read_parquet(folder / "cells.parquet").sort_values("root_id", ignore_index=True)
    cells["index"] = cells.index
    place = cells.set_index("root_id")["index"]
    s = pd.read_parquet(folder / "edges.parquet")
    ends = ["post_root_id", "pre_root_id"]
    if "syn_count" in s:
        pairs = s.groupby(ends, sort=False)["syn_count"].agg(["sum"])
        pairs.columns = pd.Index(["n"])
    else:
        pairs = s.groupby(ends, sort=False)["size"].agg(["size", "sum"])
        pairs.columns = pd.Index(["n", "size"])
    pairs = pairs[pairs["n"] >= 2].reset_index()
    for end in ends:
        pairs = pairs.join(place.rename(f"{end}_index"), on=end, how="inner")
    pairs = pairs.sort_values([f"{end}_index" for end in ends])
    return len(cells), len(pairs), int(pairs["n"].sum())


def scan(folder: Path) -> Result:
    """Read all columns and add them up: what no reader can do without."""
    import duckdb

    db = duckdb.connect()
    db.execute("SET threads=1")
    path = folder / "edges.parquet"
    db.execute(f"SELECT sum(COLUMNS(*) % 7) FROM read_parquet('{path}')").fetchall()
    return (0, 0, 0)


VARIANTS: dict[str, Callable[[Path], Result]] = {
    "adapter": with_adapter,
    "pandas": with_pandas,
    "scan": scan,
}


def main() -> None:
    """Generate, measure in turn, print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=VARIANTS, help="leave the others out")
    parser.add_argument("--fly", action="store_true")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return measure(VARIANTS[options.run[0]], Path(options.run[1]))
    variants = [options.only] if options.only else list(VARIANTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.fly:
            generate_fly(folder)
        else:
            generate(folder, options.rows)
        size = (folder / "edges.parquet").stat().st_size / 1e6
        rows = FLY_CONNECTIONS if options.fly else options.rows
        title = f"{rows:,} rows in {size:.0f} MB; neurons, connections, synapses:"
        command = [sys.executable, __file__, "--run"]
        commands = {v: [*command, v, str(folder)] for v in variants}
        compare(title, commands, options.repetitions, apart=["scan"])
    return None


if __name__ == "__main__":
    main()
