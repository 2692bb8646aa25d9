"""How far the modelled column agrees with what was counted in the MICrONS column.

Prints the table of docs/surrogate.md: mean and standard deviation over seeds, with and without
calibration. Figures marked * enter the calibrated draw, so that their agreement says nothing;
those marked + enter both.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without installing

import numpy as np
import numpy.typing as npt

from connectome_compiler.data_adapters._facts import read_fact
from connectome_compiler.data_adapters.microns_statistics import MicronsStatistics
from connectome_compiler.ir import Graph

CLASSES = {"E->E": ("E", "E"), "I->E": ("I", "E"), "->I": ("E or I", "I")}


def measured() -> dict[str, float]:
    """Return the published figures (sources: data_adapters/facts/README.md)."""
    edges = {
        (r["pre"], r["post"]): float(r["edges_measured_column_v1718"])
        for r in read_fact("surrogate_calibration").rows
    }
    synapses = {
        (r["pre"], r["post"]): float(r["synapses"])
        for r in read_fact("synapses_per_connection_mean").rows
        if r["graph"] == "column_v1718"
    }
    by_class: dict[tuple[str, str], float] = {}
    for r in read_fact("column_typepair_synapses_v1718").rows:
        key = (r["pre_ei"], r["post_ei"])
        by_class[key] = by_class.get(key, 0.0) + float(r["n_synapses"])
    (reciprocity,) = read_fact("reciprocity").rows
    (size,) = read_fact("synapse_size").rows
    return {
        "connections *": edges["all", "all"],
        "density *": edges["all", "all"] / (1355 * 1354),  # cells of the column, version 1718
        **{f"connections {name} *": edges[key] for name, key in CLASSES.items()},
        "synapses *": synapses["all", "all"],
        **{f"synapses {name} *": synapses[key] for name, key in CLASSES.items()},
        "synapses E->I": by_class["exc", "inh"],
        "synapses I->I": by_class["inh", "inh"],
        **{
            f"synapses per connection {name} +": synapses[key] / edges[key]
            for name, key in CLASSES.items()
        },
        "type pairs, r": 1.0,
        "type pairs, r of logs": 1.0,
        "type pairs without a synapse": 0.0,
        "mutual pairs / same degrees +": float(reciprocity["ratio_to_chung_lu"]),
        "mutual pairs / class, distance": float(reciprocity["ratio_to_distance_x_class"]),
        "connections reciprocated": float(reciprocity["reciprocated_edge_fraction"]),
        "median size, one synapse +": float(size["median"]),
    }


def agreement(graph: Graph) -> dict[str, float]:
    """Return the same figures of a modelled column."""
    (column,), (projection,) = graph.populations, graph.projections
    edges, n = projection.synapses, column.n_units
    count, size = edges.weight, edges.size
    assert size is not None
    cell_class = _strings(column.column("cell_class"))
    exc = cell_class == "excitatory"
    chosen = {
        "E->E": exc[edges.post] & exc[edges.pre],
        "I->E": exc[edges.post] & ~exc[edges.pre],
        "->I": ~exc[edges.post],
    }
    modelled, counted = type_pairs(graph)
    both = (modelled > 0) & (counted > 0)
    return {
        "connections *": len(edges.post),
        "density *": len(edges.post) / (n * (n - 1)),
        **{f"connections {name} *": int(where.sum()) for name, where in chosen.items()},
        "synapses *": int(count.sum()),
        **{f"synapses {name} *": int(count[where].sum()) for name, where in chosen.items()},
        "synapses E->I": int(count[chosen["->I"] & exc[edges.pre]].sum()),
        "synapses I->I": int(count[chosen["->I"] & ~exc[edges.pre]].sum()),
        **{
            f"synapses per connection {name} +": float(count[where].mean())
            for name, where in chosen.items()
        },
        "type pairs, r": _r(modelled, counted),
        "type pairs, r of logs": _r(np.log(modelled[both]), np.log(counted[both])),
        "type pairs without a synapse": int((modelled == 0).sum()),
        **_mutual(graph, exc),
        "median size, one synapse +": float(np.median(size[count == 1])),
    }


def type_pairs(graph: Graph) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the synapses per ordered pair of cell types: modelled, and counted in MICrONS."""
    edges = graph.projections[0].synapses
    types, code = np.unique(_strings(graph.populations[0].column("cell_type")), return_inverse=True)
    place = {str(name): k for k, name in enumerate(types)}
    pair = code[edges.pre] * len(types) + code[edges.post]
    total = np.bincount(pair, weights=edges.weight, minlength=len(types) ** 2)
    rows = read_fact("column_typepair_synapses_v1718").rows
    at = [place[r["pre_type"]] * len(types) + place[r["post_type"]] for r in rows]
    return total[at].astype(np.float64), np.array([float(r["n_synapses"]) for r in rows])


def yardstick() -> tuple[float, float]:
    """Return r and r of logs, over type pairs, of a model that knows the class densities alone."""
    rows = read_fact("column_typepair_synapses_v1718").rows
    counted = np.array([float(r["n_synapses"]) for r in rows])
    pairs = np.array([float(r["n_pre_est"]) * float(r["n_post_est"]) for r in rows])
    classes = np.array([r["pre_ei"] + r["post_ei"] for r in rows])
    model = np.zeros_like(counted)
    for name in np.unique(classes):
        chosen = classes == name
        model[chosen] = pairs[chosen] * (counted[chosen].sum() / pairs[chosen].sum())
    return _r(model, counted), _r(np.log(model), np.log(counted))


def _mutual(graph: Graph, exc: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Compare mutual pairs with two graphs that have none on purpose.

    One has the same degrees; the other the same densities by classes and distance between somata
    (bins of 50 um; those of the published figure are not known). Dense: the column is small.
    """
    (column,), edges = graph.populations, graph.projections[0].synapses
    n = column.n_units
    connected = np.zeros((n, n), np.bool_)
    connected[edges.post, edges.pre] = True
    degrees = np.outer(connected.sum(axis=1), connected.sum(axis=0)) / connected.sum()
    place = [np.asarray(column.column(f"{axis}_um")) for axis in "xyz"]
    distance = np.sqrt(sum((p[:, None] - p) ** 2 for p in place))
    bins = (distance // 50).astype(int)
    code = bins * 4 + exc[:, None] * 2 + exc
    apart = ~np.eye(n, dtype=np.bool_)
    pairs, hits = (np.bincount(code[where]) for where in (apart, connected))
    by_class = (np.pad(hits, (0, len(pairs) - len(hits))) / np.maximum(pairs, 1))[code]
    mutual = int((connected & connected.T).sum())
    return {
        "mutual pairs / same degrees +": mutual / _expected(np.minimum(degrees, 1), apart),
        "mutual pairs / class, distance": mutual / _expected(by_class, apart),
        "connections reciprocated": mutual / len(edges.post),
    }


def _expected(p: npt.NDArray[np.float64], apart: npt.NDArray[np.bool_]) -> float:
    return float((p * p.T)[apart].sum())


def _strings(column: Any) -> npt.NDArray[np.str_]:
    return np.array(column.to_pylist())


def _r(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def main() -> None:
    """Draw columns and print the table, in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="columns to draw of each kind")
    seeds = range(parser.parse_args().seeds)
    drawn = {
        calibrated: [agreement(MicronsStatistics(seed, calibrated).load()) for seed in seeds]
        for calibrated in (True, False)
    }
    print(
        f"| {len(seeds)} seeds | MICrONS | calibrated | not calibrated |\n| --- | --- | --- | --- |"
    )
    for name, value in measured().items():
        spreads = (_spread([a[name] for a in drawn[kind]]) for kind in (True, False))
        print(f"| {name} | {_number(value)} | {' | '.join(spreads)} |")
    r, r_logs = yardstick()
    print(f"\nA model of the class densities alone: type pairs r {r:.3f}, of logs {r_logs:.3f}")


def _spread(values: list[float]) -> str:
    return f"{_number(statistics.mean(values))} ± {_number(statistics.stdev(values), 2)}"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"


if __name__ == "__main__":
    main()
