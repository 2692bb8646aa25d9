"""Read rows in memory into connections: frames of three libraries against the same rows in Parquet.

The rows are those of `table_ingest.py --fly`: 4 million connections of 140,000 neurons, with ids as
long as FlyWire's; and the same with text for ids. Frames are made before the clock starts, the file
is in the system's cache. All variants run in turn in one process; medians of wall and CPU seconds.

Run: python benchmarks/table_memory.py [--repetitions N] [--text]
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing


def sources(folder: Path, text: bool) -> dict[str, Any]:
    """Return the rows as a file and as data in memory, by what holds them."""
    import pyarrow.parquet as pq
    from table_ingest import generate_fly

    generate_fly(folder)
    path = folder / "edges.parquet"
    table = pq.read_table(path)
    if text:
        for k, name in enumerate(("pre_root_id", "post_root_id")):
            table = table.set_column(k, name, table.column(name).cast("string"))
        pq.write_table(table, path)
    found = {"parquet": str(path), "pyarrow": table, "pandas": table.to_pandas()}
    try:
        import polars
    except ImportError:
        return found
    return {**found, "polars": polars.from_arrow(table)}


def main() -> None:
    """Make the rows, read them in turn, print medians and their ratios to Parquet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--text", action="store_true", help="ids are text")
    options = parser.parse_args()
    from connectome_compiler.data_adapters.table import Table

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        given = sources(Path(name), options.text)
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in given}
        counts = set()
        for k in range(options.repetitions + 1):
            for kind, edges in given.items():
                wall, cpu = time.perf_counter(), time.process_time()
                graph = Table(edges).load()
                took = (time.perf_counter() - wall, time.process_time() - cpu)
                weight = graph.projections[0].synapses.weight
                counts.add((graph.n_neurons, graph.n_connections, int(weight.sum())))
                if k:  # the first one imports
                    times[kind].append(took)
    print("neurons, connections, synapses:", *counts)
    print(f"{'':10}{'wall s':>8}{'CPU s':>8}{'of Parquet':>12}")
    first = statistics.median(wall for wall, _ in times["parquet"])
    for kind, measured in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{kind:10}{wall:8.2f}{cpu:8.2f}{wall / first:12.2f}")
    if len(counts) > 1:
        sys.exit("the variants disagree")


if __name__ == "__main__":
    main()
