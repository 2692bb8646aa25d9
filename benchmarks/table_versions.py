"""Read one table in each format with two versions of the adapter ``table``, in turn.

The synapses are those of `table_ingest`, without a threshold; each file is read by this checkout
and by another, in a fresh process each time. Times are CPU seconds with imports (user and system),
memory is the peak resident size. Medians, with the least and the most.

Run: python benchmarks/table_versions.py OTHER_CHECKOUT [--rows N] [--repetitions N]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from _versions import told
from table_ingest import generate

HERE = Path(__file__).resolve().parents[1]
FORMATS = ("parquet", "counts.parquet", "csv", "csv.gz")  # counts: with a weight in each row


def measure(checkout: Path, edges: Path) -> None:
    """Load a table with one version in this process, and print what it took."""
    sys.path.insert(0, str(checkout))
    import connectome_compiler
    from connectome_compiler.data_adapters.table import Table

    assert Path(connectome_compiler.__file__).is_relative_to(checkout)
    table = Table(str(edges), str(edges.with_name("cells.parquet")), unknown_neurons="drop")
    graph = table.load()
    used = resource.getrusage(resource.RUSAGE_SELF)
    result = [graph.n_neurons, graph.n_connections]
    print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3, result]))


def written(folder: Path, n_rows: int, formats: list[str]) -> None:
    """Write the same table in some formats."""
    import duckdb

    generate(folder, n_rows)
    db = duckdb.connect()
    source = folder / "edges.parquet"
    for name, options in (("csv", "HEADER"), ("csv.gz", "HEADER, COMPRESSION gzip")):
        if name in formats:
            db.execute(f"COPY (FROM '{source}') TO '{folder / f'edges.{name}'}' ({options})")
    counted = f"SELECT * EXCLUDE (size), 1 + size % 5 AS n_syn FROM '{source}'"
    db.execute(f"COPY ({counted}) TO '{folder / 'edges.counts.parquet'}'")


def main() -> None:
    """Generate, measure in turn, print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("--rows", type=int, default=30_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return measure(options.other, options.run)
    sides = {"this": HERE, "other": options.other.resolve()}
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    results: dict[str, set[tuple[int, ...]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written(folder, options.rows, options.formats)
        for _ in range(options.repetitions):
            for form in options.formats:
                for side, checkout in sides.items():
                    edges = folder / f"edges.{form}"
                    command = [sys.executable, __file__, str(checkout), "--run", str(edges)]
                    run = subprocess.run(command, capture_output=True, text=True, check=True)
                    cpu, peak, result = json.loads(run.stdout)
                    runs.setdefault((form, side), []).append((cpu, peak))
                    results.setdefault(form, set()).add(tuple(result))
    print(f"{options.rows:,} rows; neurons, connections: {results}")
    told(runs)
    if any(len(found) > 1 for found in results.values()):
        sys.exit("the versions disagree")
    return None


if __name__ == "__main__":
    main()
